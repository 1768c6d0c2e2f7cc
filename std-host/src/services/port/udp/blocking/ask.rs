//! What the calls of a UDP port ask for, and what they are told.

use crate::services::port::calls;
use crate::services::port::udp::running::Origin;
use crate::services::port::udp::site::Site;
use std::net::SocketAddr;
use wharf_core::port::datagrams::{Outcome, Pending};
use wharf_core::port::framing::Eom;

/// One call of a UDP port.
pub(super) type Transfer = calls::Transfer<Site>;
/// What its thread and the loop tell each other.
pub(super) type State = calls::State<Site>;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::services::port::udp) enum Ask {
    Connect,
    Disconnect,
    Read,
    /// A datagram for the sender of the one last read.
    Write,
    Reply(SocketAddr),
    Broadcast,
    Drain,
    Flush,
    Leave,
    Peer,
    Pending,
}

impl Ask {
    /// Whether its first attempt is its last.
    pub(super) const fn is_instant(self) -> bool {
        match self {
            Self::Flush | Self::Leave | Self::Peer | Self::Pending => true,
            Self::Connect
            | Self::Disconnect
            | Self::Read
            | Self::Write
            | Self::Reply(_)
            | Self::Broadcast
            | Self::Drain => false,
        }
    }
}

/// What the loop says. Each call has its own part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::services::port::udp) struct Answer {
    /// Bytes that were read, or discarded.
    pub(super) len: usize,
    pub(super) eom: Eom,
    pub(super) from: Option<Origin>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) pending: Pending,
}

impl Answer {
    /// There is nothing to say.
    pub(super) const DONE: Self =
        Self { len: 0, eom: Eom::NONE, from: None, peer: None, pending: Pending { rx: 0, tx: 0 } };
}

/// What the loop writes down about a call.
#[derive(Debug, Default)]
pub(in crate::services::port::udp) struct Notes {
    /// Whom a write answers: another may read something else while it waits.
    pub(super) to: Option<SocketAddr>,
    /// A datagram for all: whether it has begun to go out, and what became of it for each peer.
    pub(super) is_shared: bool,
    pub(super) outcomes: Vec<(SocketAddr, Outcome)>,
    /// A drain: the number of the first datagram for which it need not wait.
    pub(super) end: u64,
}

impl calls::Notes for Notes {
    fn clear(&mut self) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        outcomes.clear();
        *self = Self { outcomes, ..Self::default() };
    }
}
