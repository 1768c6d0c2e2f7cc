//! Datagrams between a [`Net`](super::Net) and the loop: what is sent, what was received, and the settings of a socket.
//!
//! Nothing here is the system's: a simulated world fills the same [`Arena`] by [`Arena::push`].

use std::net::{IpAddr, SocketAddr};

/// How to bind a UDP socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpOptions {
    /// Lets several sockets share the address (`SO_REUSEPORT`). Off.
    pub reuse_port: bool,
    /// An IPv6 socket takes no IPv4 packets and sends none. Off.
    pub v6only: bool,
    /// Bytes of a received packet that there is room for, 1 to 65 535, if not `udp_payload` of the loop.
    pub payload: Option<usize>,
}

/// A packet to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Out<'a> {
    /// Where to; `None` is the peer that the socket is connected to.
    pub to: Option<SocketAddr>,
    /// What; nothing is a packet too.
    pub payload: &'a [u8],
}

impl<'a> Out<'a> {
    /// A packet to somebody.
    #[must_use]
    pub const fn to(peer: SocketAddr, payload: &'a [u8]) -> Self {
        Self { to: Some(peer), payload }
    }

    /// A packet to the peer that the socket is connected to.
    #[must_use]
    pub const fn connected(payload: &'a [u8]) -> Self {
        Self { to: None, payload }
    }
}

/// Explicit congestion notification: the two lowest bits of the traffic class (RFC 3168, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// The sender does not take part.
    NotCapable,
    /// ECT(1).
    Capable1,
    /// ECT(0).
    Capable0,
    /// A router on the way was congested.
    CongestionExperienced,
}

impl Ecn {
    /// The meaning of the two lowest bits of a traffic class.
    #[must_use]
    pub const fn from_traffic_class(class: u8) -> Self {
        match class & 0b11 {
            0b00 => Self::NotCapable,
            0b01 => Self::Capable1,
            0b10 => Self::Capable0,
            _ => Self::CongestionExperienced,
        }
    }
}

/// A multicast group to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The group's address.
    pub group: IpAddr,
    /// The index of the interface on which to be in it; `None` lets the system choose.
    pub interface: Option<u32>,
    /// The only sender to hear; `None` is everybody. Of the group's family.
    pub source: Option<IpAddr>,
}

impl Membership {
    /// In `group`, on the interface that the system chooses, hearing everybody.
    #[must_use]
    pub const fn of(group: IpAddr) -> Self {
        Self { group, interface: None, source: None }
    }
}

/// A setting of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpSetting {
    /// Packets may be sent to broadcast addresses.
    Broadcast(bool),
    /// Packets to a group are received by the members on this host too.
    MulticastLoop(bool),
    /// How many routers a packet to a group may pass, plus one.
    MulticastTtl(u8),
    /// Enter a group.
    Join(Membership),
    /// Leave a group that was entered with the same words.
    Leave(Membership),
}

/// What is known of a received packet besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo {
    /// Who sent it. An IPv4 sender is shown by its IPv4 address on an IPv6 socket too.
    pub peer: SocketAddr,
    /// The address that it was sent to: one of this host's, a group's or a broadcast address.
    pub local: Option<IpAddr>,
    /// The index of the interface by which it came.
    pub interface: Option<u32>,
    /// Its congestion notification.
    pub ecn: Option<Ecn>,
    /// It was longer than there was room for; the rest is lost.
    pub truncated: bool,
    /// Packets that the system has dropped on this socket for want of room since it was made, modulo 2^32.
    pub dropped: Option<u32>,
}

impl PacketInfo {
    /// A whole packet of which nothing but the sender is known.
    #[must_use]
    pub const fn from(peer: SocketAddr) -> Self {
        Self { peer, local: None, interface: None, ecn: None, truncated: false, dropped: None }
    }
}

/// Whether a receiving call has left packets behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// There may be more.
    Maybe,
    /// There were no more: what comes from now on makes a new event.
    No,
}

/// Room for one batch of received packets: so many places, each of the same size.
#[derive(Debug, Default)]
pub struct Arena {
    /// The places' bytes, one place after the other.
    bytes: Vec<u8>,
    size: usize,
    /// The packets received, at most as many as there are places.
    filled: Vec<(PacketInfo, usize)>,
    places: usize,
}

impl Arena {
    /// Room for `places` packets of at most `size` bytes. Nothing more is allocated later.
    #[must_use]
    pub fn new(places: usize, size: usize) -> Self {
        Self { bytes: vec![0; places * size], size, filled: Vec::with_capacity(places), places }
    }

    /// Places that are free.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.places - self.filled.len()
    }

    /// Packets that it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.filled.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// Takes a packet in, cut to the size of a place. False, and nothing happens, if there is no free place.
    pub fn push(&mut self, mut info: PacketInfo, payload: &[u8]) -> bool {
        let Some(place) = self.free().next() else { return false };
        let len = payload.len().min(place.len());
        place[..len].copy_from_slice(&payload[..len]);
        info.truncated |= len < payload.len();
        self.fill(info, len);
        true
    }

    /// The bytes of the free places, in order.
    pub(crate) fn free(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let size = self.size;
        let from = self.filled.len() * size;
        // Places without a byte are places too, which chunks of a slice cannot be.
        let mut rest = &mut self.bytes[from..];
        (self.filled.len()..self.places).map(move |_| {
            let (place, others) = std::mem::take(&mut rest).split_at_mut(size);
            rest = others;
            place
        })
    }

    /// Declares the first free place filled by a packet of `len` bytes, which lie there already.
    pub(crate) fn fill(&mut self, info: PacketInfo, len: usize) {
        assert!(self.room() > 0 && len <= self.size, "a packet lies in a free place");
        self.filled.push((info, len));
    }

    pub(crate) fn clear(&mut self) {
        self.filled.clear();
    }

    /// Makes all places free, each of `size` bytes, for which there is memory.
    pub(crate) fn divide(&mut self, size: usize) {
        assert!(self.has_room_for(size), "an arena is made for the longest packets");
        self.clear();
        self.size = size;
    }

    /// Whether it has places of so many bytes.
    pub(crate) const fn has_room_for(&self, size: usize) -> bool {
        self.places > 0 && self.places * size <= self.bytes.len()
    }

    pub(crate) fn packet(&self, index: usize) -> Option<(&PacketInfo, &[u8])> {
        let (info, len) = self.filled.get(index)?;
        let from = index * self.size;
        Some((info, &self.bytes[from..from + len]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7);

    #[test]
    fn an_arena_takes_as_many_packets_as_it_has_places_and_cuts_the_long_ones() {
        let mut arena = Arena::new(2, 3);
        assert!(arena.is_empty() && arena.room() == 2);
        assert!(arena.push(PacketInfo::from(PEER), b"abcd"));
        assert!(arena.push(PacketInfo::from(PEER), b""));
        assert!(!arena.push(PacketInfo::from(PEER), b"x"));
        let cut = PacketInfo { truncated: true, ..PacketInfo::from(PEER) };
        assert_eq!(arena.packet(0), Some((&cut, &b"abc"[..])));
        assert_eq!(arena.packet(1), Some((&PacketInfo::from(PEER), &b""[..])));
        assert_eq!((arena.packet(2), arena.len()), (None, 2));
        arena.clear();
        assert_eq!(arena.free().map(|place| place.len()).collect::<Vec<_>>(), [3, 3]);
        assert!(arena.has_room_for(3) && !arena.has_room_for(4));
        arena.divide(2);
        assert!(arena.push(PacketInfo::from(PEER), b"ab") && arena.push(PacketInfo::from(PEER), b"cde"));
        let cut = PacketInfo { truncated: true, ..PacketInfo::from(PEER) };
        assert_eq!(
            (arena.packet(0), arena.packet(1)),
            (Some((&PacketInfo::from(PEER), &b"ab"[..])), Some((&cut, &b"cd"[..])))
        );
    }

    #[test]
    fn the_two_lowest_bits_of_the_class_are_the_notification() {
        let all = [0, 1, 2, 3, 0xfe].map(Ecn::from_traffic_class);
        let meant = [Ecn::NotCapable, Ecn::Capable1, Ecn::Capable0, Ecn::CongestionExperienced, Ecn::Capable0];
        assert_eq!(all, meant);
    }
}
