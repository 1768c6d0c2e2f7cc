//! Whom a fault is aimed at.

use super::Ended;
use super::asked::Asked;
use crate::modbus::data::TableKind;
use crate::modbus::pdu::Span;
use crate::network::Network;
use core::net::IpAddr;
use heapless::Vec;

/// Most entries of [`Target::peers`].
pub const MAX_PEERS: usize = 16;

/// The entries of [`Target::peers`].
pub type Peers = Vec<Network, MAX_PEERS>;

/// Whom a fault is aimed at. What is absent means any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Unit ids as requested.
    pub units: Option<ByteSet>,
    /// Function codes.
    pub functions: Option<ByteSet>,
    /// Peers; none means any.
    pub peers: Peers,
    /// The table that the request names. One that names none does not match.
    pub table: Option<TableKind>,
    /// The addresses that the request names. One that names none does not match.
    pub addresses: Option<Addresses>,
    /// The quantity asked for, first and last. A request without one does not match.
    pub quantity: Option<(u16, u16)>,
    /// How the request ended.
    pub reply: Reply,
}

/// Addresses, and what a request must have to do with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Addresses {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// How a span of the request must lie to them.
    pub relation: Relation,
}

/// How a request's span lies to a range of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Relation {
    /// They share an address.
    #[default]
    Overlap,
    /// The span lies within the range.
    Within,
    /// Its first address lies in the range.
    Start,
}

/// How a request must have ended; anything but `Any` is judged after its execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reply {
    /// No matter how.
    #[default]
    Any,
    /// With a normal reply.
    Normal,
    /// With an exception.
    Exception,
}

impl Reply {
    /// Whether it is a request that ended so.
    pub(super) fn is_of(self, ended: Ended) -> bool {
        match self {
            Self::Any => true,
            Self::Normal => ended == Ended::Normal,
            Self::Exception => ended == Ended::Exception,
        }
    }
}

impl Target {
    /// Everything.
    pub const ANY: Self = Self {
        units: None,
        functions: None,
        peers: Vec::new(),
        table: None,
        addresses: None,
        quantity: None,
        reply: Reply::Any,
    };

    /// Whether a peer is among those aimed at. One whose address is not known is only if any peer is.
    #[must_use]
    pub fn admits(&self, peer: Option<IpAddr>) -> bool {
        self.peers.is_empty() || peer.is_some_and(|peer| self.peers.iter().any(|network| network.contains(peer)))
    }

    /// Whether a request is aimed at, however it ended.
    #[must_use]
    pub fn matches(&self, asked: &Asked, peer: Option<IpAddr>) -> bool {
        let is_in = |set: Option<ByteSet>, value| set.is_none_or(|set| set.contains(value));
        is_in(self.units, asked.unit)
            && is_in(self.functions, asked.function)
            && self.admits(peer)
            && self.names(asked)
            && self.quantity.is_none_or(|(min, max)| asked.quantity().is_some_and(|q| (min..=max).contains(&q)))
    }

    /// Whether one span of the request is in the table and the addresses aimed at.
    fn names(&self, asked: &Asked) -> bool {
        if self.table.is_none() && self.addresses.is_none() {
            return true;
        }
        asked.spans().any(|(table, span)| {
            self.table.is_none_or(|wanted| wanted == table)
                && self.addresses.is_none_or(|addresses| addresses.holds(span))
        })
    }
}

impl Default for Target {
    fn default() -> Self {
        Self::ANY
    }
}

impl Addresses {
    fn holds(&self, span: Span) -> bool {
        let (start, end) = (u32::from(span.start), span.end());
        let (first, past) = (u32::from(self.first), u32::from(self.last).saturating_add(1));
        match self.relation {
            Relation::Overlap => start.max(first) < end.min(past),
            Relation::Within => first <= start && end <= past,
            Relation::Start => (first..past).contains(&start),
        }
    }
}

/// A set of bytes: unit ids or function codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ByteSet([u32; 8]);

impl ByteSet {
    /// No byte.
    pub const EMPTY: Self = Self([0; 8]);

    /// The set with `byte` in it.
    #[must_use]
    pub fn with(mut self, byte: u8) -> Self {
        if let Some(word) = self.0.get_mut(usize::from(byte / 32)) {
            *word |= 1 << (byte % 32);
        }
        self
    }

    /// Whether `byte` is in it.
    #[must_use]
    pub fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte / 32)).is_some_and(|word| word & 1 << (byte % 32) != 0)
    }

    /// Its bytes, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|byte| self.contains(*byte))
    }
}

impl FromIterator<u8> for ByteSet {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        bytes.into_iter().fold(Self::EMPTY, Self::with)
    }
}
