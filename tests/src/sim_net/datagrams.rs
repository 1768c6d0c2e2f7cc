//! UDP sockets: by address, with bounded queues, groups, and packets that reach nobody.

use super::connection::NO_DESCRIPTORS;
use super::poll::{Edge, What};
use super::world::{Flight, State};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::net::{Arena, Ecn, Membership, More, NetId, Out, PacketInfo, UdpOptions, UdpSetting};

/// The only interface there is.
const INTERFACE: u32 = 1;
/// The most packets of one call.
const BATCH: usize = 64;
/// The longest payload of an IPv4 packet; of an IPv6 packet it is 20 bytes more.
const LONGEST: usize = 65_507;
/// A packet that is overtaken is late by up to this and the latency.
const OVERTAKEN: Duration = Duration::from_millis(1);

/// A UDP socket. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UdpKey(u64);

/// A UDP socket of a loop or of a test.
#[derive(Debug)]
pub(super) struct UdpSocket {
    /// The socket of a loop that it belongs to; a peer's has none.
    owner: Option<(usize, NetId)>,
    bound: SocketAddr,
    v6only: bool,
    shared: bool,
    peer: Option<SocketAddr>,
    broadcast: bool,
    loops_back: bool,
    pub(super) ecn: Ecn,
    groups: Vec<Membership>,
    /// Arrived and not received.
    arrived: VecDeque<(PacketInfo, Vec<u8>)>,
    /// Packets that fit there.
    queue: usize,
    dropped: u32,
    /// Until the release what has arrived does not show, and there is no room to send.
    read_held: bool,
    write_held: bool,
    /// A packet was not taken, and nothing has been announced since.
    turned_away: bool,
    /// Packets that were sent and have not left, and how many may be.
    leaving: usize,
    buffer: usize,
    /// When the last of them leaves.
    last_departure: Instant,
    /// Packets under way that nothing overtakes, and when the last of them is due.
    flights: usize,
    last_arrival: Instant,
    /// What the next call reports in place of what it was to do.
    error: Option<ErrorKind>,
    /// Packets that reached nobody and that were not asked for.
    unreached: VecDeque<(SocketAddr, ErrorKind)>,
}

/// A packet under way.
#[derive(Debug)]
pub(super) struct Datagram {
    sender: UdpKey,
    from: SocketAddr,
    to: SocketAddr,
    ecn: Ecn,
    payload: Vec<u8>,
    /// Nothing of the same sender overtakes it.
    in_order: bool,
    /// Members on this host hear it, if it goes to a group.
    loops_back: bool,
}

impl UdpSocket {
    pub(super) fn local(&self) -> SocketAddr {
        // Connecting chooses an address.
        let chosen = self.peer.filter(|_| self.bound.ip().is_unspecified());
        chosen.map_or(self.bound, |peer| self.from(peer))
    }

    /// Where a packet to `to` comes from.
    fn from(&self, to: SocketAddr) -> SocketAddr {
        let ip = match (self.bound.ip(), to.ip()) {
            (bound, _) if !bound.is_unspecified() => bound,
            (_, IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
            (_, IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, self.bound.port())
    }

    pub(super) fn forget_error(&mut self) {
        self.error = None;
    }

    pub(super) fn is_readable(&self) -> bool {
        self.is_hung_up() || (!self.read_held && !self.arrived.is_empty())
    }

    /// As on Linux: room is announced when half the buffer is free.
    pub(super) const fn is_writable(&self) -> bool {
        !self.write_held && (self.leaving == 0 || self.leaving * 2 < self.buffer)
    }

    pub(super) fn is_hung_up(&self) -> bool {
        self.error.is_some() || !self.unreached.is_empty()
    }

    /// Whether its address takes in all addresses of `ip`'s family.
    const fn is_any(&self, ip: IpAddr) -> bool {
        match (self.bound.ip(), ip) {
            (IpAddr::V4(bound), IpAddr::V4(_)) => bound.is_unspecified(),
            (IpAddr::V6(bound), IpAddr::V6(_)) => bound.is_unspecified(),
            (IpAddr::V6(bound), IpAddr::V4(_)) => bound.is_unspecified() && !self.v6only,
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }

    /// Whether both could get the same packet.
    fn overlaps(&self, other: &Self) -> bool {
        let covers = |one: &Self, other: &Self| {
            let (ip, dual) = (other.bound.ip(), other.bound.is_ipv6() && !other.v6only);
            one.bound == other.bound || one.is_any(ip) || (dual && other.is_any(one.bound.ip()))
        };
        self.bound.port() == other.bound.port() && (covers(self, other) || covers(other, self))
    }

    /// How well a packet suits the socket; not at all is `None`.
    fn suits(&self, packet: &Datagram) -> Option<u8> {
        let to = packet.to.ip();
        if self.bound.port() != packet.to.port() || self.peer.is_some_and(|peer| peer != packet.from) {
            return None;
        }
        if to.is_multicast() {
            let member = self.groups.iter().any(|membership| {
                membership.group == to && membership.source.is_none_or(|source| source == packet.from.ip())
            });
            return (member && (self.bound.ip() == to || self.is_any(to))).then_some(0);
        }
        let connected = if self.peer.is_some() { 4 } else { 0 };
        match to {
            to if self.bound.ip() == to => Some(connected + 3),
            to if self.is_any(to) => Some(connected + if self.bound.is_ipv4() == to.is_ipv4() { 2 } else { 1 }),
            _ => None,
        }
    }

    /// What the system says of a packet before it leaves, or where it goes.
    fn check(&self, packet: &Out<'_>) -> io::Result<SocketAddr> {
        let to = packet.to.or(self.peer).ok_or(ErrorKind::InvalidInput)?;
        let longest = if to.is_ipv6() { LONGEST + 20 } else { LONGEST };
        match (self.bound.is_ipv6(), to.is_ipv6()) {
            (false, true) => return Err(ErrorKind::Unsupported.into()),
            (true, false) if self.v6only => return Err(ErrorKind::NetworkUnreachable.into()),
            _ => {}
        }
        if is_broadcast(to.ip()) && !self.broadcast {
            return Err(ErrorKind::PermissionDenied.into());
        }
        if to.port() == 0 || packet.payload.len() > longest {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(to)
    }

    fn set(&mut self, setting: &UdpSetting) -> io::Result<()> {
        match *setting {
            UdpSetting::Broadcast(on) => self.broadcast = on,
            UdpSetting::MulticastLoop(on) => self.loops_back = on,
            // There are no routers.
            UdpSetting::MulticastTtl(_) => {}
            UdpSetting::Join(membership) => {
                let mut families = [Some(self.bound.ip()), membership.source].into_iter().flatten();
                let fits = families.all(|ip| ip.is_ipv4() == membership.group.is_ipv4());
                if !membership.group.is_multicast() || !fits {
                    return Err(ErrorKind::InvalidInput.into());
                }
                if membership.interface.is_some_and(|index| index != INTERFACE) {
                    return Err(ErrorKind::NotFound.into());
                }
                if self.groups.contains(&membership) {
                    return Err(ErrorKind::AddrInUse.into());
                }
                self.groups.push(membership);
            }
            UdpSetting::Leave(membership) => {
                let at = self.groups.iter().position(|group| *group == membership);
                self.groups.remove(at.ok_or(ErrorKind::AddrNotAvailable)?);
            }
        }
        Ok(())
    }
}

impl State {
    pub(super) fn bind_udp(&mut self, addr: SocketAddr, options: &UdpOptions) -> io::Result<UdpKey> {
        let key = UdpKey(self.fresh());
        let mut drawn = |range: std::ops::RangeInclusive<u64>| {
            usize::try_from(self.rng.between(*range.start(), *range.end())).expect("a queue fits into memory")
        };
        let (queue, buffer) = (drawn(self.faults.receive_queue.clone()), drawn(self.faults.send_buffer.clone()));
        let mut socket = UdpSocket {
            owner: None,
            bound: addr,
            v6only: options.v6only,
            shared: options.reuse_port,
            peer: None,
            broadcast: false,
            loops_back: true,
            ecn: Ecn::NotCapable,
            groups: Vec::new(),
            arrived: VecDeque::new(),
            queue,
            dropped: 0,
            read_held: false,
            write_held: false,
            turned_away: false,
            leaving: 0,
            buffer,
            last_departure: Instant::ORIGIN,
            flights: 0,
            last_arrival: Instant::ORIGIN,
            error: None,
            unreached: VecDeque::new(),
        };
        let in_use = |state: &Self, socket: &UdpSocket| {
            state.datagrams.values().any(|other| other.overlaps(socket) && !(other.shared && socket.shared))
        };
        while addr.port() == 0 && (socket.bound.port() == 0 || in_use(self, &socket)) {
            socket.bound.set_port(self.fresh_port());
        }
        if in_use(self, &socket) {
            return Err(ErrorKind::AddrInUse.into());
        }
        self.datagrams.insert(key, socket);
        Ok(key)
    }

    /// A UDP socket of a loop.
    pub(super) fn open_udp(&mut self, net: usize, addr: SocketAddr, options: &UdpOptions) -> io::Result<NetId> {
        if !self.has_descriptor() {
            return Err(io::Error::from_raw_os_error(NO_DESCRIPTORS));
        }
        let key = self.bind_udp(addr, options)?;
        let id = self.nets[net].insert(What::Udp(key));
        self.udp(key).owner = Some((net, id));
        Ok(id)
    }

    /// What it has sent goes on.
    pub(super) fn close_udp(&mut self, key: UdpKey) {
        self.datagrams.remove(&key);
    }

    pub(super) fn connect_udp(&mut self, key: UdpKey, peer: Option<SocketAddr>) -> io::Result<()> {
        self.udp(key).peer = None;
        if let Some(to) = peer {
            let socket = self.udp(key);
            // What cannot be sent to cannot be connected to, but for the right to broadcast.
            let outcome = socket.check(&Out::to(to, b"")).map(|_| ());
            if !is_broadcast(to.ip()) || socket.broadcast {
                outcome?;
            }
            socket.peer = peer;
        }
        Ok(())
    }

    pub(super) fn set_udp(&mut self, key: UdpKey, setting: &UdpSetting) -> io::Result<()> {
        self.udp(key).set(setting)
    }

    pub(super) fn receive_packets(&mut self, key: UdpKey, arena: &mut Arena, max: usize) -> io::Result<More> {
        self.calls.receives += 1;
        let asked = max.min(arena.room()).min(BATCH);
        if asked == 0 {
            return Ok(More::Maybe);
        }
        if self.strikes_udp(key, self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if let Some(error) = self.receive_failure.or_else(|| self.udp(key).error.take()) {
            return Err(error.into());
        }
        let possible = self.udp(key).arrived.len().min(asked);
        if possible == 0 || self.udp(key).read_held {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.strikes_udp(key, self.faults.would_block) {
            self.hold_udp(key, false);
            return Err(ErrorKind::WouldBlock.into());
        }
        let short = self.strikes_udp(key, self.faults.short);
        let count = if short { self.some_of(possible) } else { possible };
        for (info, payload) in self.udp(key).arrived.drain(..count) {
            assert!(arena.push(info, &payload), "there is room for as many as were asked for");
        }
        let none_left = self.udp(key).arrived.is_empty();
        match (count < asked, none_left, short) {
            // As of a system that tells nothing of the rest.
            (true, true, true) | (false, ..) => Ok(More::Maybe),
            (true, true, false) => Ok(More::No),
            (true, false, _) if self.rng.chance(1, 2) => {
                self.hold_udp(key, false);
                Ok(More::No)
            }
            (true, false, _) => Ok(More::Maybe),
        }
    }

    pub(super) fn send_packets(&mut self, key: UdpKey, packets: &[Out<'_>]) -> io::Result<usize> {
        self.calls.sends += 1;
        let Some(first) = packets.first() else { return Ok(0) };
        if self.strikes_udp(key, self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if let Some(error) = self.udp(key).error.take() {
            return Err(error.into());
        }
        self.udp(key).check(first)?;
        let socket = self.udp(key);
        let room = if socket.write_held { 0 } else { socket.buffer.saturating_sub(socket.leaving) };
        let possible = room.min(packets.len()).min(BATCH);
        if possible > 0 && self.strikes_udp(key, self.faults.would_block) {
            self.hold_udp(key, true);
            self.udp(key).turned_away = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        if possible == 0 {
            self.udp(key).turned_away = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let short = self.strikes_udp(key, self.faults.short);
        let offered = if short { self.some_of(possible) } else { possible };
        let mut sent = 0;
        for packet in &packets[..offered] {
            // What comes in place of a later packet is said by the next call.
            let Ok(to) = self.udp(key).check(packet) else { break };
            self.transmit(key, to, packet.payload);
            sent += 1;
            if self.udp(key).error.is_some() {
                break;
            }
        }
        Ok(sent)
    }

    /// The next packet that reached nobody. Taking the last takes the socket's error along, as on Linux.
    pub(super) fn next_unreached(&mut self, key: UdpKey) -> Option<(SocketAddr, ErrorKind)> {
        let socket = self.udp(key);
        let taken = socket.unreached.pop_front()?;
        socket.error = socket.unreached.front().map(|(_, why)| *why);
        Some(taken)
    }

    /// Everything that has arrived at a peer's socket.
    pub(super) fn take_arrived(&mut self, key: UdpKey) -> Vec<(PacketInfo, Vec<u8>)> {
        self.udp(key).arrived.drain(..).collect()
    }

    pub(super) fn udp(&mut self, key: UdpKey) -> &mut UdpSocket {
        self.datagrams.get_mut(&key).expect("a UDP socket exists while something names it")
    }

    /// One packet begins its way. Whether it arrives is another matter.
    fn transmit(&mut self, key: UdpKey, to: SocketAddr, payload: &[u8]) {
        let (now, mut pace) = (self.now, self.faults.pace);
        let socket = self.udp(key);
        if socket.owner.is_none() {
            pace = Duration::ZERO;
        }
        if pace.is_zero() {
            socket.last_departure = now;
        } else {
            socket.leaving += 1;
            socket.last_departure = socket.last_departure.max(now).saturating_add(pace);
        }
        let (leaves, from, ecn, loops_back) = (socket.last_departure, socket.from(to), socket.ecn, socket.loops_back);
        if !pace.is_zero() {
            self.depart(leaves, Flight::DatagramLeft(key));
        }
        if self.strikes(self.faults.lost) {
            return;
        }
        let copies = 1 + u64::from(self.strikes(self.faults.duplicated));
        for _ in 0..copies {
            let mut at = leaves.saturating_add(self.span(self.faults.latency));
            let in_order = !self.strikes(self.faults.overtaken);
            if in_order {
                let socket = self.udp(key);
                socket.last_arrival = socket.last_arrival.max(at);
                at = socket.last_arrival;
            } else {
                at = at.saturating_add(self.span(self.faults.latency.saturating_add(OVERTAKEN)));
            }
            let payload = payload.to_vec();
            let packet = Datagram { sender: key, from, to, ecn, payload, in_order, loops_back };
            let flights = &mut self.udp(key).flights;
            let overtakes = *flights > 0 && in_order;
            *flights += usize::from(in_order);
            if at > now || overtakes {
                self.depart(at, Flight::Datagram(packet));
            } else {
                self.arrive(Flight::Datagram(packet));
            }
        }
    }

    pub(super) fn datagram_left(&mut self, key: UdpKey) {
        if let Some(socket) = self.datagrams.get_mut(&key) {
            socket.leaving -= 1;
            self.announce_udp_room(key);
        }
    }

    pub(super) fn datagram_arrives(&mut self, packet: &Datagram) {
        if let Some(sender) = self.datagrams.get_mut(&packet.sender) {
            sender.flights -= usize::from(packet.in_order);
        }
        let to = packet.to.ip();
        let mut suited: Vec<_> =
            self.datagrams.iter().filter_map(|(key, socket)| Some((socket.suits(packet)?, *key))).collect();
        if to.is_multicast() || is_broadcast(to) {
            if !to.is_multicast() || packet.loops_back {
                suited.into_iter().for_each(|(_, key)| self.queue_packet(key, packet));
            }
            return;
        }
        let Some(best) = suited.iter().map(|(rank, _)| *rank).max() else {
            return self.nobody_reached(packet);
        };
        suited.retain(|(rank, _)| *rank == best);
        // Of several that share an address each sender has its own.
        let (_, key) = suited[usize::from(packet.from.port()) % suited.len()];
        self.queue_packet(key, packet);
    }

    fn queue_packet(&mut self, key: UdpKey, packet: &Datagram) {
        let socket = self.udp(key);
        if socket.arrived.len() >= socket.queue {
            socket.dropped = socket.dropped.wrapping_add(1);
            return;
        }
        let before = socket.is_readable();
        let info = PacketInfo {
            peer: packet.from,
            local: Some(packet.to.ip()),
            interface: Some(INTERFACE),
            ecn: Some(packet.ecn),
            truncated: false,
            dropped: Some(socket.dropped),
        };
        socket.arrived.push_back((info, packet.payload.clone()));
        if !before && socket.is_readable() {
            self.udp_edge(key, Edge::READ);
        }
    }

    fn nobody_reached(&mut self, packet: &Datagram) {
        let nameless = self.strikes(self.faults.nameless);
        let Some(sender) = self.datagrams.get_mut(&packet.sender) else { return };
        if !nameless {
            sender.unreached.push_back((packet.to, ErrorKind::ConnectionRefused));
        }
        sender.error = Some(ErrorKind::ConnectionRefused);
        self.udp_edge(packet.sender, Edge::READ);
    }

    pub(super) fn release_udp(&mut self, key: UdpKey, write: bool) {
        let Some(socket) = self.datagrams.get_mut(&key) else { return };
        if write {
            socket.write_held = false;
            self.announce_udp_room(key);
        } else if std::mem::replace(&mut socket.read_held, false) && socket.is_readable() {
            self.udp_edge(key, Edge::READ);
        }
    }

    fn announce_udp_room(&mut self, key: UdpKey) {
        let socket = self.udp(key);
        if socket.turned_away && socket.is_writable() {
            socket.turned_away = false;
            self.udp_edge(key, Edge::WRITE);
        }
    }

    fn hold_udp(&mut self, key: UdpKey, write: bool) {
        let socket = self.udp(key);
        *(if write { &mut socket.write_held } else { &mut socket.read_held }) = true;
        let at = self.now.saturating_add(self.span(self.faults.hold));
        self.depart(at, Flight::ReleaseUdp { key, write });
    }

    /// Faults of calls meet the sockets of loops; those of the way meet every packet.
    fn strikes_udp(&mut self, key: UdpKey, chance: u64) -> bool {
        self.datagrams[&key].owner.is_some() && self.strikes(chance)
    }

    fn udp_edge(&mut self, key: UdpKey, edge: Edge) {
        if let Some((net, id)) = self.udp(key).owner {
            self.nets[net].edge(id, edge);
        }
    }
}

/// To everybody: of the network at hand, or of loopback.
fn is_broadcast(ip: IpAddr) -> bool {
    ip == Ipv4Addr::BROADCAST || ip == Ipv4Addr::new(127, 255, 255, 255)
}
