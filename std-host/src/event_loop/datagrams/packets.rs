//! Received packets as handlers see them.

use crate::event_loop::net::{Arena, Ecn};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// What was sent; of nothing there are packets too.
    pub payload: &'a [u8],
    /// Who sent it. An IPv4 sender is shown by its IPv4 address on an IPv6 socket too.
    pub peer: SocketAddr,
    /// The address that it was sent to: one of this host's, a group's or a broadcast address. `None` where the system
    /// does not tell.
    pub local: Option<IpAddr>,
    /// The index of the interface by which it came. `None` where the system does not tell.
    pub interface: Option<u32>,
    /// Its congestion notification. `None` where the system does not tell.
    pub ecn: Option<Ecn>,
    /// It was longer than `udp_payload`, and the rest is lost.
    pub truncated: bool,
}

/// A batch of received packets, in the order of their arrival.
#[derive(Clone, Copy)]
pub struct Packets<'a> {
    arena: &'a Arena,
}

impl<'a> Packets<'a> {
    pub(super) const fn new(arena: &'a Arena) -> Self {
        Self { arena }
    }

    /// The number of packets, from 1 to `udp_batch`.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether there are none, which no handler sees.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.arena.is_empty()
    }

    /// The packet at `index`, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Packet<'a>> {
        let (info, payload) = self.arena.packet(index)?;
        Some(Packet {
            payload,
            peer: info.peer,
            local: info.local,
            interface: info.interface,
            ecn: info.ecn,
            truncated: info.truncated,
        })
    }

    /// The packets.
    pub fn iter(&self) -> Iter<'a> {
        Iter { packets: *self, at: 0 }
    }
}

impl<'a> IntoIterator for Packets<'a> {
    type Item = Packet<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Packets<'a> {
    type Item = Packet<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Packets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The packets of a batch, one after the other.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    packets: Packets<'a>,
    at: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let packet = self.packets.get(self.at)?;
        self.at += 1;
        Some(packet)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.packets.len() - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
