//! What the port tells its subscribers and the log.

use crate::slots::SlotId;
use core::fmt;
use core::net::SocketAddr;

/// Something happened. Of one client: [`Event::Connected`] first, [`Event::Disconnected`] last, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The port listens. It comes before any client.
    PortUp {
        /// Where.
        local: SocketAddr,
    },
    /// The port does not listen, or could not.
    PortDown {
        /// Why.
        reason: DownReason,
    },
    /// A connection was turned away.
    Refused {
        /// Whose.
        peer: SocketAddr,
        /// Why.
        why: Refusal,
    },
    /// Connections wait in the system's backlog from now on.
    AcceptPaused,
    /// They are accepted again.
    AcceptResumed,
    /// A client has its slot.
    Connected {
        /// Its id.
        slot: SlotId,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// Bytes have arrived since the last event of this kind.
    DataReady {
        /// Whose.
        slot: SlotId,
    },
    /// The client has ended its output; what it sent before may still be unread.
    InputEnded {
        /// Whose.
        slot: SlotId,
    },
    /// The send queue has reached the high watermark.
    HighWater {
        /// Whose.
        slot: SlotId,
    },
    /// The send queue is down to the low watermark, after `HighWater`.
    LowWater {
        /// Whose.
        slot: SlotId,
    },
    /// Queued messages were dropped for a newer one.
    Overflowed {
        /// Whose.
        slot: SlotId,
        /// Bytes lost since the last event of this kind.
        lost: u64,
    },
    /// The client has left and nothing of it can be read any more.
    Disconnected {
        /// Its id, stale from now on.
        slot: SlotId,
        /// Why.
        reason: Reason,
        /// Bytes received that nobody has read.
        unread: u64,
        /// Bytes queued that the system has not taken.
        unsent: u64,
    },
}

/// Why a client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Reason {
    /// It ended its output, and so the connection.
    PeerClosed,
    /// It reset the connection.
    PeerReset,
    /// The connection broke.
    Failed(Failure),
    /// The program dropped it.
    LocalClosed,
    /// The program aborted it.
    LocalAborted,
    /// The port was closed.
    PortClosed,
    /// It made room for another one.
    Kicked,
    /// It sent nothing for `idle_rx`.
    IdleRx,
    /// Nothing was sent either way for `idle_any`.
    IdleAny,
    /// It took nothing of what was queued for `write_stuck`.
    WriteStuck,
    /// A read that waits had its time, with `disconnect_on_read_timeout`.
    ReadTimeout,
    /// A message did not fit, with `overflow = "disconnect"`.
    Overflow,
}

impl Reason {
    /// Whether the connection was ended from the other side, so that what was received remains to be read.
    #[must_use]
    pub const fn is_from_peer(self) -> bool {
        matches!(self, Self::PeerClosed | Self::PeerReset | Self::Failed(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerClosed => "PeerClosed",
            Self::PeerReset => "PeerReset",
            Self::Failed(kind) => return write!(f, "Failed({kind})"),
            Self::LocalClosed => "LocalClosed",
            Self::LocalAborted => "LocalAborted",
            Self::PortClosed => "PortClosed",
            Self::Kicked => "Kicked",
            Self::IdleRx => "IdleRx",
            Self::IdleAny => "IdleAny",
            Self::WriteStuck => "WriteStuck",
            Self::ReadTimeout => "ReadTimeout",
            Self::Overflow => "Overflow",
        })
    }
}

/// How a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Failure {
    /// The peer reset it.
    Reset,
    /// The peer takes nothing any more.
    BrokenPipe,
    /// The system gave up on a peer that is silent.
    TimedOut,
    /// The network says that the peer cannot be reached.
    Unreachable,
    /// Anything else.
    Other,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "Reset",
            Self::BrokenPipe => "BrokenPipe",
            Self::TimedOut => "TimedOut",
            Self::Unreachable => "Unreachable",
            Self::Other => "Other",
        })
    }
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// No slot is free.
    Full,
    /// The allow list does not name its address.
    Denied,
    /// The port is down, or going down.
    Down,
}

/// Why the port is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DownReason {
    /// It was asked to be.
    Closed,
    /// It could not listen.
    OpenFailed(OpenFailure),
    /// Its listening socket broke.
    AcceptFailed,
}

/// Why the port could not listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OpenFailure {
    /// Somebody else listens there.
    InUse,
    /// The address is none of this machine's.
    NotAvailable,
    /// The system does not permit it.
    Denied,
    /// The name has no address.
    Unresolved,
    /// Anything else.
    Other,
}
