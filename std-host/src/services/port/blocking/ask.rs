//! What the calls of a TCP port ask for, and what they are told.

use crate::services::port::calls;
use crate::services::port::running::Addr;
use crate::services::port::site::Site;
use std::net::SocketAddr;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{OnClose, Outcome};
use wharf_core::slots::SlotId;

/// One call of a TCP port.
pub(super) type Transfer = calls::Transfer<Site>;
/// What its thread and the loop tell each other.
pub(super) type State = calls::State<Site>;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::services::port) struct Whom {
    pub(super) addr: Addr,
    /// Exactly this client.
    pub(super) client: Option<SlotId>,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::services::port) enum Ask {
    Connect,
    Disconnect(OnClose),
    Read(Whom),
    Write(Whom),
    Broadcast,
    Drain(Whom),
    ShutDown(Whom),
    Flush(Whom),
    Drop(Whom),
    Abort(Whom),
    AwaitClient(Whom),
    Who(Whom),
    Pending(Whom),
}

impl Ask {
    /// What it is about; `None` if that can only be the whole port.
    pub(super) const fn whom(self) -> Option<Whom> {
        match self {
            Self::Connect | Self::Disconnect(_) | Self::Broadcast => None,
            Self::Read(whom)
            | Self::Write(whom)
            | Self::Drain(whom)
            | Self::ShutDown(whom)
            | Self::Flush(whom)
            | Self::Drop(whom)
            | Self::Abort(whom)
            | Self::AwaitClient(whom)
            | Self::Who(whom)
            | Self::Pending(whom) => Some(whom),
        }
    }

    /// Whether its first attempt is its last.
    pub(super) const fn is_instant(self) -> bool {
        match self {
            Self::ShutDown(_) | Self::Flush(_) | Self::Drop(_) | Self::Abort(_) | Self::Who(_) | Self::Pending(_) => {
                true
            }
            Self::Connect
            | Self::Disconnect(_)
            | Self::Read(_)
            | Self::Write(_)
            | Self::Broadcast
            | Self::Drain(_)
            | Self::AwaitClient(_) => false,
        }
    }
}

/// What the loop says. Each call has its own part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::services::port) struct Answer {
    /// Bytes that were read, or discarded.
    pub(super) len: usize,
    pub(super) eom: Eom,
    /// Whose they are, or who is there.
    pub(super) slot: Option<SlotId>,
    pub(super) peer: Option<SocketAddr>,
    /// Whether somebody was there.
    pub(super) found: bool,
    pub(super) pending: Pending,
}

impl Answer {
    /// There is nothing to say.
    pub(super) const DONE: Self =
        Self { len: 0, eom: Eom::NONE, slot: None, peer: None, found: false, pending: Pending { rx: 0, tx: 0 } };
}

/// Bytes that wait in the queues of a slot, or of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Received and unread.
    pub rx: u64,
    /// Queued and not taken by the system.
    pub tx: u64,
}

/// What has become of a message for all, for one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Whom it is for, who may have left meanwhile. `None` if nobody was there.
    pub(super) client: Option<SlotId>,
    /// [`Outcome::Full`] and [`Outcome::Partial`] as long as it waits.
    pub(super) outcome: Outcome,
}

/// What the loop writes down about a call.
#[derive(Debug, Default)]
pub(in crate::services::port) struct Notes {
    /// Bytes of the message that are queued.
    pub(super) done: usize,
    /// Whose bytes these are, or whose output is drained, since the first attempt.
    pub(super) client: Option<SlotId>,
    /// A drain: what its client must have sent, or the first slot that has not been seen empty.
    pub(super) mark: u64,
    /// A message for all: its slots, and how many of them it waits for.
    pub(super) shares: Vec<Share>,
    pub(super) awaited: usize,
}

impl calls::Notes for Notes {
    fn clear(&mut self) {
        let mut shares = std::mem::take(&mut self.shares);
        shares.clear();
        *self = Self { shares, ..Self::default() };
    }
}

impl Notes {
    /// Whether a message for all is to go to this slot and has not gone there whole.
    pub(super) fn awaits(&self, index: u32) -> bool {
        let share = self.shares.get(index as usize);
        share.is_some_and(|share| matches!(share.outcome, Outcome::Full | Outcome::Partial { .. }))
    }

    /// Whether some of a message is queued for this slot, and not all.
    pub(super) fn has_begun(&self, index: u32) -> bool {
        match self.shares.get(index as usize) {
            Some(share) => matches!(share.outcome, Outcome::Partial { .. }),
            None => self.done > 0,
        }
    }
}
