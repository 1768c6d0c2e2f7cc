//! The two ends of a connection, and the bounded pipes between them.

use super::poll::Edge;
use super::world::{EndKey, Flight, State};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use wharf_core::Instant;
use wharf_host::event_loop::Address;
use wharf_host::event_loop::net::NetId;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Failed,
    /// Established with this other end, which may be gone since.
    Up(EndKey),
}

/// One side of a connection.
#[derive(Debug)]
pub(super) struct End {
    /// The socket of a loop that it belongs to; that of a peer or a ticket has none.
    pub(super) owner: Option<(usize, NetId)>,
    pub(super) local: Address,
    pub(super) remote: Address,
    pub(super) link: Link,
    /// Arrived and not read.
    arrived: VecDeque<u8>,
    /// The peer's end has arrived.
    ended: bool,
    /// The connection is reset.
    pub(super) reset: bool,
    /// What the next operation reports.
    pub(super) error: Option<ErrorKind>,
    /// Our end has been sent.
    output_ended: bool,
    /// Until the release what has arrived does not show, and there is no room to write.
    read_held: bool,
    write_held: bool,
    /// A write came up short, and nothing has been announced since.
    wrote_short: bool,
    /// Bytes that fit on the way to this end and into it.
    capacity: usize,
    /// Bytes on the way.
    travelling: usize,
    /// Arrivals under way, and when the last of them is due: nothing overtakes.
    flights: usize,
    last_arrival: Instant,
}

impl End {
    pub(super) fn is_readable(&self) -> bool {
        match self.link {
            Link::Connecting => false,
            Link::Failed => true,
            Link::Up(_) => !self.read_held && (!self.arrived.is_empty() || self.ended || self.reset),
        }
    }

    /// What [`Ready::hung_up`](wharf_host::event_loop::net::Ready::hung_up) says.
    pub(super) fn is_hung_up(&self) -> bool {
        self.reset || self.link == Link::Failed || (self.ended && !self.read_held)
    }

    /// Whether both ends are on one machine, where nothing comes between them.
    pub(super) const fn is_unix(&self) -> bool {
        self.local.inet().is_none()
    }

    /// The other side's address, as far as the system knows it still or already.
    pub(super) fn peer(&self) -> Address {
        match self.link {
            Link::Up(_) if self.is_unix() || !self.reset => self.remote.clone(),
            Link::Up(_) | Link::Connecting | Link::Failed => Address::Unnamed,
        }
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.arrived.len() + self.travelling)
    }
}

impl State {
    pub(super) fn add_end(&mut self, local: Address, remote: Address, link: Link) -> EndKey {
        let key = EndKey(self.fresh());
        let (least, most) = (*self.faults.capacity.start(), *self.faults.capacity.end());
        let capacity = usize::try_from(self.rng.between(least, most)).expect("a buffer fits into memory");
        let end = End {
            owner: None,
            local,
            remote,
            link,
            arrived: VecDeque::new(),
            ended: false,
            reset: false,
            error: None,
            output_ended: false,
            read_held: false,
            write_held: false,
            wrote_short: false,
            capacity,
            travelling: 0,
            flights: 0,
            last_arrival: Instant::ORIGIN,
        };
        self.ends.insert(key, end);
        key
    }

    pub(super) fn is_writable(&self, key: EndKey) -> bool {
        let end = &self.ends[&key];
        match end.link {
            Link::Connecting => false,
            Link::Failed => true,
            Link::Up(peer) => end.reset || end.output_ended || (!end.write_held && self.room_towards(peer) > 0),
        }
    }

    /// Whatever is written to an end that is gone fits; a reset comes back.
    fn room_towards(&self, peer: EndKey) -> usize {
        self.ends.get(&peer).map_or(65_536, End::room)
    }

    pub(super) fn read(&mut self, key: EndKey, buf: &mut [u8]) -> io::Result<usize> {
        if self.strikes_loop(key, self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let would_block = self.strikes_loop(key, self.faults.would_block);
        let short = self.strikes_loop(key, self.faults.short);
        let end = self.end(key);
        if let Link::Connecting = end.link {
            return Err(ErrorKind::WouldBlock.into());
        }
        if end.arrived.is_empty() {
            return match end.error.take() {
                Some(error) => Err(error.into()),
                None if (end.ended && !end.read_held) || end.reset => Ok(0),
                None => Err(ErrorKind::WouldBlock.into()),
            };
        }
        if end.read_held {
            return Err(ErrorKind::WouldBlock.into());
        }
        if would_block && !end.reset {
            self.hold_read(key);
            return Err(ErrorKind::WouldBlock.into());
        }
        let possible = end.arrived.len().min(buf.len());
        let count = if short { self.some_of(possible) } else { possible };
        let end = self.end(key);
        let (front, back) = end.arrived.as_slices();
        let split = front.len().min(count);
        buf[..split].copy_from_slice(&front[..split]);
        buf[split..count].copy_from_slice(&back[..count - split]);
        end.arrived.drain(..count);
        if count < buf.len() && !end.arrived.is_empty() && !end.reset {
            self.hold_read(key);
        }
        self.room_has_come(key);
        Ok(count)
    }

    pub(super) fn write(&mut self, key: EndKey, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        if self.strikes_loop(key, self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.strikes_loop(key, self.faults.resets) && !self.end(key).is_unix() {
            self.break_connection(key);
        }
        let would_block = self.strikes_loop(key, self.faults.would_block);
        let short = self.strikes_loop(key, self.faults.short);
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let end = self.end(key);
        if end.reset || end.output_ended || end.link == Link::Failed {
            return Err(end.error.take().unwrap_or(ErrorKind::BrokenPipe).into());
        }
        let Link::Up(peer) = end.link else { return Err(ErrorKind::WouldBlock.into()) };
        if self.end(key).is_unix() && !self.ends.contains_key(&peer) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = if self.end(key).write_held { 0 } else { self.room_towards(peer) };
        if would_block && room > 0 {
            self.hold_write(key);
        }
        if would_block || room == 0 {
            self.end(key).wrote_short = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let possible = offered.min(room);
        let count = if short { self.some_of(possible) } else { possible };
        if count < possible {
            self.hold_write(key);
        }
        self.end(key).wrote_short |= count < offered;
        let mut bytes = Vec::with_capacity(count);
        for piece in pieces {
            bytes.extend_from_slice(&piece[..piece.len().min(count - bytes.len())]);
        }
        self.send(peer, Flight::Bytes { to: peer, bytes });
        if !self.ends.contains_key(&peer) {
            self.reset_end(key);
        }
        Ok(count)
    }

    pub(super) fn end_output(&mut self, key: EndKey) -> io::Result<()> {
        let end = self.end(key);
        let Link::Up(peer) = end.link else { return Err(ErrorKind::NotConnected.into()) };
        if end.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        if !std::mem::replace(&mut end.output_ended, true) {
            self.send(peer, Flight::Fin { to: peer });
        }
        Ok(())
    }

    /// Gives an end up, by a reset if it is asked for and UNIX sockets have none.
    pub(super) fn close_socket(&mut self, key: EndKey, reset: bool) {
        let reset = reset && self.ends.get(&key).is_some_and(|end| !end.is_unix());
        self.close_end(key, reset);
    }

    /// Gives an end up. Over input that nobody has read it leaves a reset, as a kernel does.
    pub(super) fn close_end(&mut self, key: EndKey, reset: bool) {
        let Some(end) = self.ends.remove(&key) else { return };
        let Link::Up(peer) = end.link else { return };
        if end.reset {
            return;
        }
        if reset || !end.arrived.is_empty() {
            self.send(peer, Flight::Reset { to: peer });
        } else {
            // Between UNIX sockets a hang-up shows, though the end was told before.
            if !end.output_ended || end.is_unix() {
                self.send(peer, Flight::Fin { to: peer });
            }
            if end.travelling > 0 {
                // It will find nobody here.
                self.send(peer, Flight::Reset { to: peer });
            }
        }
    }

    pub(super) fn bytes_arrive(&mut self, to: EndKey, bytes: &[u8]) {
        let Some(end) = self.landed(to) else { return };
        end.travelling -= bytes.len();
        if end.reset {
            return;
        }
        let before = end.is_readable();
        end.arrived.extend(bytes);
        if !before && end.is_readable() {
            self.edge(to, Edge::READ);
        }
    }

    pub(super) fn fin_arrives(&mut self, to: EndKey) {
        let Some(end) = self.landed(to) else { return };
        end.ended = true;
        if end.is_readable() {
            self.edge(to, Edge::READ);
        }
    }

    pub(super) fn reset_arrives(&mut self, to: EndKey) {
        if self.landed(to).is_some() {
            self.reset_end(to);
        }
    }

    fn reset_end(&mut self, key: EndKey) {
        let discards = self.strikes(self.faults.reset_discards);
        let Some(end) = self.ends.get_mut(&key).filter(|end| !end.reset) else { return };
        if discards {
            end.arrived.clear();
        }
        (end.reset, end.error) = (true, Some(ErrorKind::ConnectionReset));
        (end.read_held, end.write_held) = (false, false);
        self.edge(key, Edge::BOTH);
    }

    pub(super) fn release_read(&mut self, key: EndKey) {
        let Some(end) = self.ends.get_mut(&key) else { return };
        if std::mem::replace(&mut end.read_held, false) && end.is_readable() {
            self.edge(key, Edge::READ);
        }
    }

    pub(super) fn release_write(&mut self, key: EndKey) {
        let Some(end) = self.ends.get_mut(&key) else { return };
        end.write_held = false;
        self.announce_room(key);
    }

    /// Somebody between the two has lost his memory.
    fn break_connection(&mut self, key: EndKey) {
        if let Link::Up(peer) = self.end(key).link {
            self.reset_end(peer);
            self.reset_end(key);
        }
    }

    /// The connection has come about, or has failed with the end's error.
    pub(super) fn edge_of_connect(&mut self, key: EndKey) {
        self.edge(key, Edge::BOTH);
    }

    /// Faults meet the sockets of loops; peers are in the hands of the test.
    fn strikes_loop(&mut self, key: EndKey, chance: u64) -> bool {
        self.ends[&key].owner.is_some() && self.strikes(chance)
    }

    fn end(&mut self, key: EndKey) -> &mut End {
        self.ends.get_mut(&key).expect("an end exists while something names it")
    }

    /// An end, for something that has arrived there.
    fn landed(&mut self, to: EndKey) -> Option<&mut End> {
        let end = self.ends.get_mut(&to)?;
        end.flights = end.flights.saturating_sub(1);
        Some(end)
    }

    /// Sends something on its way; at once if there is no way to go.
    fn send(&mut self, to: EndKey, flight: Flight) {
        let at = self.now.saturating_add(self.span(self.faults.latency));
        let now = self.now;
        let Some(end) = self.ends.get_mut(&to) else { return };
        if let Flight::Bytes { bytes, .. } = &flight {
            end.travelling += bytes.len();
        }
        let overtakes = end.flights > 0;
        end.flights += 1;
        end.last_arrival = end.last_arrival.max(at);
        let at = end.last_arrival;
        if at > now || overtakes {
            return self.depart(at, flight);
        }
        self.arrive(flight);
    }

    /// What `key` has read makes room for its peer.
    fn room_has_come(&mut self, key: EndKey) {
        if let Link::Up(peer) = self.end(key).link
            && self.ends.contains_key(&peer)
        {
            self.announce_room(peer);
        }
    }

    fn announce_room(&mut self, key: EndKey) {
        if self.end(key).wrote_short && self.is_writable(key) {
            self.end(key).wrote_short = false;
            self.edge(key, Edge::WRITE);
        }
    }

    fn hold_read(&mut self, key: EndKey) {
        self.end(key).read_held = true;
        let at = self.now.saturating_add(self.span(self.faults.hold));
        self.depart(at, Flight::ReleaseRead(key));
    }

    fn hold_write(&mut self, key: EndKey) {
        self.end(key).write_held = true;
        let at = self.now.saturating_add(self.span(self.faults.hold));
        self.depart(at, Flight::ReleaseWrite(key));
    }

    /// At least one of `possible`, which is not 0.
    pub(super) fn some_of(&mut self, possible: usize) -> usize {
        if self.rng.chance(1, 2) { 1 } else { 1 + self.rng.index(possible) }
    }

    fn edge(&mut self, key: EndKey, edge: Edge) {
        if let Some((net, id)) = self.end(key).owner {
            self.nets[net].edge(id, edge);
        }
    }
}
