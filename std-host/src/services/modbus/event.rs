//! What a Modbus server tells of itself.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use wharf_core::modbus::server::{Outcome, Processed, Reason};
use wharf_core::modbus::service::Discard;
use wharf_core::modbus::units::Change;

/// Names a connection of a server in events: counted from 1.
pub type ConnectionId = u64;

/// Something that happened to a server. Every event of a connection lies between its `Connected` and its
/// `Disconnected`; `Stopped` is the last of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A listener is open.
    Started {
        /// The address really bound.
        address: SocketAddr,
    },
    /// A connection was accepted.
    Connected {
        /// Its name.
        id: ConnectionId,
        /// The other side.
        peer: SocketAddr,
        /// This side, if the system told.
        local: Option<SocketAddr>,
    },
    /// A connection has ended.
    Disconnected {
        /// Its name.
        id: ConnectionId,
        /// The other side.
        peer: SocketAddr,
        /// Why.
        reason: Reason,
        /// What it did.
        statistics: Statistics,
    },
    /// A connection was turned away.
    Rejected {
        /// The other side.
        peer: SocketAddr,
        /// Why.
        reason: Rejection,
    },
    /// A request is done with.
    Processed {
        /// By which connection it came.
        id: ConnectionId,
        /// How it went.
        request: Processed,
    },
    /// Something from the wire was thrown away.
    Discarded {
        /// By which connection it came.
        id: ConnectionId,
        /// Why.
        reason: Discard,
    },
    /// A fault acts.
    Fault {
        /// On which connection; on the listeners if absent.
        id: Option<ConnectionId>,
        /// The name of the fault.
        fault: Arc<str>,
        /// On a request for this unit with this function code.
        request: Option<(u8, u8)>,
    },
    /// The system failed, or a handler; the server goes on.
    Error {
        /// What failed.
        operation: Operation,
        /// Operation, object and cause.
        message: String,
    },
    /// Something was written. The connection of a client is named as in the other events.
    Changed(Change),
    /// A unit was added.
    UnitAdded {
        /// Its id.
        unit: u8,
        /// Whether it took the place of another.
        replaced: bool,
    },
    /// A unit was removed.
    UnitRemoved {
        /// Its id.
        unit: u8,
    },
    /// The server has ended.
    Stopped {
        /// Whether every connection ended in order.
        graceful: bool,
        /// Connections that were cut.
        cut: u64,
    },
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// There are `max_connections` already.
    Limit,
    /// There are `max_per_address` of its address already.
    PerAddress,
    /// Its address is beyond the `accept_rate`.
    Rate,
    /// Its address is not on the list of `allow`.
    NotAllowed,
    /// There are no descriptors left.
    Descriptors,
}

impl Rejection {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 5] = [Self::Limit, Self::PerAddress, Self::Rate, Self::NotAllowed, Self::Descriptors];

    /// The name in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::PerAddress => "per_address",
            Self::Rate => "rate",
            Self::NotAllowed => "not_allowed",
            Self::Descriptors => "descriptors",
        }
    }
}

/// What can fail at a server (the label `operation` of the metrics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Accepting a connection.
    Accept,
    /// Reading from one.
    Read,
    /// Writing to one.
    Write,
    /// Setting an option of a socket.
    Option,
    /// Answering by a handler, which is no failure of the system and has no label.
    Handler,
}

impl Operation {
    /// Every operation of the system, in the order of the enum.
    pub const ALL: [Self; 4] = [Self::Accept, Self::Read, Self::Write, Self::Option];

    /// The name in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Read => "read",
            Self::Write => "write",
            Self::Option => "option",
            Self::Handler => "handler",
        }
    }
}

/// A set of unit ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitSet([u64; 4]);

impl UnitSet {
    /// Puts an id in.
    pub const fn insert(&mut self, unit: u8) {
        self.0[(unit / 64) as usize] |= 1 << (unit % 64);
    }

    /// Whether an id is in it.
    #[must_use]
    pub const fn contains(&self, unit: u8) -> bool {
        self.0[(unit / 64) as usize] & 1 << (unit % 64) != 0
    }

    /// The ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|unit| self.contains(*unit))
    }
}

/// What a connection did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// When it was accepted.
    pub connected_at: SystemTime,
    /// When its last whole request came, if there was one.
    pub last_request_at: Option<SystemTime>,
    /// The units that it asked for.
    pub units: UnitSet,
    /// Requests, whatever became of them.
    pub requests: u64,
    /// Normal replies.
    pub ok: u64,
    /// Exception replies.
    pub exceptions: u64,
    /// Requests that got no reply.
    pub unanswered: u64,
    /// Things thrown away.
    pub discards: u64,
    /// Bytes read, discarded or not.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Faults that acted on it or on its requests.
    pub faults: u64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            connected_at: SystemTime::UNIX_EPOCH,
            last_request_at: None,
            units: UnitSet::default(),
            requests: 0,
            ok: 0,
            exceptions: 0,
            unanswered: 0,
            discards: 0,
            bytes_in: 0,
            bytes_out: 0,
            faults: 0,
        }
    }
}

impl Statistics {
    /// Counts a request.
    pub(super) const fn processed(&mut self, request: &Processed) {
        self.requests += 1;
        self.faults += request.faults as u64;
        self.units.insert(request.unit);
        match request.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Exception(_) => self.exceptions += 1,
            Outcome::None => self.unanswered += 1,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { address } => write!(f, "listening on {address}"),
            Self::Connected { id, peer, .. } => write!(f, "connection {id} from {peer}"),
            Self::Disconnected { id, reason, statistics, .. } => write!(
                f,
                "connection {id} ended ({reason}): {} requests, {} ok, {} exceptions, {} unanswered, {} discards, \
                 {} bytes in, {} out",
                statistics.requests,
                statistics.ok,
                statistics.exceptions,
                statistics.unanswered,
                statistics.discards,
                statistics.bytes_in,
                statistics.bytes_out
            ),
            Self::Rejected { peer, reason } => write!(f, "connection from {peer} rejected ({})", reason.name()),
            Self::Processed { id, request } => {
                write!(f, "connection {id}: unit {} function {}", request.unit, request.function)?;
                if let Some(span) = request.span {
                    write!(f, " address {} quantity {}", span.start, span.quantity)?;
                }
                match request.outcome {
                    Outcome::Ok => f.write_str(": ok"),
                    Outcome::Exception(exception) => write!(f, ": {exception}"),
                    Outcome::None => f.write_str(": no reply"),
                }
            }
            Self::Discarded { id, reason } => write!(f, "connection {id}: discarded ({reason})"),
            Self::Fault { id, fault, request } => match (id, request) {
                (Some(id), Some((unit, function))) => {
                    write!(f, "connection {id}: fault {fault:?} on unit {unit} function {function}")
                }
                (Some(id), None) => write!(f, "connection {id}: fault {fault:?}"),
                (None, _) => write!(f, "fault {fault:?} on the listeners"),
            },
            Self::Error { message, .. } => f.write_str(message),
            Self::UnitAdded { unit, replaced: false } => write!(f, "unit {unit} added"),
            Self::UnitAdded { unit, replaced: true } => write!(f, "unit {unit} replaced"),
            Self::Changed(change) => {
                let (first, last) = (u32::from(change.start), u32::from(change.start) + change.len - 1);
                match change.unit {
                    Some(unit) => write!(f, "unit {unit}")?,
                    None => f.write_str("default device")?,
                }
                let unchanged = if change.changed { "" } else { ", unchanged" };
                write!(f, " {} {first}..={last} written by {}{unchanged}", change.place, change.cause)
            }
            Self::UnitRemoved { unit } => write!(f, "unit {unit} removed"),
            Self::Stopped { graceful: true, .. } => f.write_str("stopped"),
            Self::Stopped { graceful: false, cut } => write!(f, "stopped, {cut} connections cut"),
        }
    }
}
