//! The port itself: one listening TCP socket and a fixed number of slots, each with two byte queues.
//!
//! [`Server`] is one machine for the whole port. Its driver owns the sockets and reports what happens to them; the
//! machine says what to do with them and keeps the bytes that nobody has taken yet. All memory is the caller's
//! ([`Storage`]) and fixed when the port is made.
//!
//! # Turns
//!
//! A *turn* is one batch of readiness events. The driver begins each with [`Input::TurnStarted`], which refills what a
//! slot may use of it, frees the slots that were left in the turn before, and decides a connection that was parked.
//! [`Output::Yield`] asks for the next turn at once. So no client can keep the others waiting, and no slot has two
//! clients in one turn: an event that was gathered for the one can never reach the other.
//!
//! # A client in a slot
//!
//! | state | input | output | leaves to |
//! | --- | --- | --- | --- |
//! | [`Open`](State::Open) | open | open | `PeerEnded` (`Ended`); `LocalEnded` (`ShutDown`, queue sent); `Flushing` (`Drop`); `Closing` (`Abort`, `Failed`, timeout, kick) |
//! | [`PeerEnded`](State::PeerEnded) | ended | open | `Flushing` (`Drop`, or half-close); `Closing` (`ShutDown` and queue sent, `Abort`, `Failed`, timeout, kick) |
//! | [`LocalEnded`](State::LocalEnded) | open | ended | `Flushing` (`Drop`); `Closing` (`Ended`, `Abort`, `Failed`, timeout, kick) |
//! | [`Flushing`](State::Flushing) | discarded | sending, then ended | `Closing` (queue sent and `Ended` seen, or `linger` over, or `Abort`, `Failed`, kick) |
//! | [`Closing`](State::Closing) | off | off | on `Closed`: `Residue` if the peer ended it and bytes are unread, else free |
//! | [`Residue`](State::Residue) | unread | off | free: consumed, flushed, dropped, or `unread` over |
//!
//! A slot is free for a newcomer from the turn after its [`Event::Disconnected`] on.
//!
//! # Bytes
//!
//! What is received lies in the slot's receive queue until [`Command::Consume`] or [`Command::Flush`]; a full queue stops
//! reading, so that TCP holds the peer back. What is written lies in its send queue until the system has taken it.
//! Readiness is edge-triggered: a latch for each direction remembers that a side whose turn is over, or whose queue is
//! full, can go on. [`Server::piece`] cuts what was received into messages.
//!
//! For every client, at every step: `received = consumed + flushed + unread + queued` and
//! `accepted = sent + unsent + dropped + queued` ([`Counters`]).
//!
//! # What it does not do
//!
//! It resolves no names, holds no descriptor and has no readers that wait: blocking calls, subscribers, trace and the
//! short farewell to a client that is refused ([`Server::farewell`]) are the driver's.

mod admission;
mod bytes;
mod client;
mod command;
mod echo;
mod ending;
mod event;
mod listener;
mod machine;
mod options;
mod place;
mod poll;
mod report;
mod ring;
mod schedule;
mod storage;
#[cfg(test)]
mod tests;
mod written;

pub use client::{Client, Counters, State};
pub use event::{DownReason, Event, Failure, OpenFailure, Reason, Refusal};
pub use machine::{Next, Server};
pub use options::{
    Config, HalfClose, OnFull, Options, Overflow, Pick, PortOption, PortOptions, SlotOption, Watermarks,
};
pub use report::{Departed, PortCounters, Seated};
pub use storage::{BOUNDARIES, Parts, Seat, Slices, Storage};
pub use written::{Outcome, Outcomes, Receipt};

use crate::slots::SlotId;
use core::fmt;
use core::net::SocketAddr;

/// The most slots of a port.
pub const MAX_SLOTS: usize = 65_535;
/// Bytes of the smallest queue.
pub const MIN_QUEUE: u32 = 64;
/// Bytes of the largest queue, 16 MiB.
pub const MAX_QUEUE: u32 = 16 << 20;
/// Bytes that one slot may move in each direction in a turn unless told otherwise.
pub const SLOT_BUDGET: u32 = 64 << 10;
/// Clients that may be accepted in a turn.
pub const ACCEPT_BUDGET: u8 = 16;
/// Bytes of the longest text for a client that is refused.
pub const MAX_TEXT: usize = 256;

/// What the driver reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input<'a> {
    /// A batch of readiness events begins.
    TurnStarted,
    /// After [`Output::Listen`]: the socket listens.
    Opened {
        /// The address it is bound to, with the port that the system picked.
        local: SocketAddr,
    },
    /// After [`Output::Listen`]: it does not.
    OpenFailed {
        /// Why.
        kind: OpenFailure,
    },
    /// After [`Output::Unlisten`]: the listening socket is gone.
    Shut,
    /// A connection awaits a decision, which is the next [`Output::Admit`], [`Output::Refuse`] or [`Output::Park`]. One at
    /// a time: the next may be reported once this one is admitted or refused.
    Accepted {
        /// The other side. An IPv4 client of an IPv6 socket is reported by its IPv4 address.
        peer: SocketAddr,
    },
    /// A connection could not be accepted.
    AcceptFailed {
        /// How bad that is.
        kind: AcceptFailure,
    },
    /// An edge: the slot's socket has bytes, an end or an error to be read.
    Readable {
        /// Whose.
        slot: SlotId,
    },
    /// An edge: the slot's socket has room. A new one counts as having room.
    Writable {
        /// Whose.
        slot: SlotId,
    },
    /// An edge: the peer has ended or reset the connection. It counts as both of the above and closes nothing by itself.
    HungUp {
        /// Whose.
        slot: SlotId,
    },
    /// The answer to [`Output::Read`]: 1..=`max` bytes.
    Received {
        /// Whose.
        slot: SlotId,
        /// The bytes.
        bytes: &'a [u8],
        /// Whether there may be more already. If not, this counts as [`Input::ReadBlocked`] too.
        more: bool,
    },
    /// The answer to [`Output::Read`]: nothing now. `Readable` will come.
    ReadBlocked {
        /// Whose.
        slot: SlotId,
    },
    /// The answer to [`Output::Read`]: the peer has ended its output.
    Ended {
        /// Whose.
        slot: SlotId,
    },
    /// The answer to [`Output::Transmit`]: so many bytes were taken. Fewer than shown count as [`Input::WriteBlocked`] too.
    Transmitted {
        /// Whose.
        slot: SlotId,
        /// 1..= the length of [`Server::transmit`].
        len: usize,
    },
    /// The answer to [`Output::Transmit`]: no room now. `Writable` will come.
    WriteBlocked {
        /// Whose.
        slot: SlotId,
    },
    /// The connection is broken. It may come at any time before [`Input::Closed`].
    Failed {
        /// Whose.
        slot: SlotId,
        /// By what.
        kind: Failure,
    },
    /// After [`Output::Close`]: the descriptor is released.
    Closed {
        /// Whose.
        slot: SlotId,
    },
    /// What the program asks for.
    Requested(Command<'a>),
}

/// How bad it is that a connection could not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AcceptFailure {
    /// This connection is lost; the next may not be. It is counted.
    Transient,
    /// There are no descriptors or no memory: accepting pauses for 100 ms, and twice as long each time up to 5 s.
    Exhausted,
    /// The listening socket is broken: the port goes down and comes up again after `reopen`.
    Fatal,
}

/// What the program asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// Listen. Nothing happens if the port is up.
    Open,
    /// Listen no more.
    Close(OnClose),
    /// Queue a message.
    Write {
        /// For whom.
        to: To,
        /// The message.
        bytes: &'a [u8],
        /// What happens if there is no room for all of it.
        mode: Mode,
        /// Whether the output terminator of each slot is put behind it.
        terminate: bool,
    },
    /// Bytes at the front of the receive queue are done with.
    Consume {
        /// Whose.
        slot: SlotId,
        /// How many; not more than are queued.
        len: usize,
    },
    /// The end of input that [`Server::piece`] has shown is done with.
    TakeEnd {
        /// The slot, which may be free by now.
        index: u32,
    },
    /// Discard what is received and unread. [`Server::receipt`] says how much that was.
    Flush {
        /// Whose.
        slot: SlotId,
    },
    /// End our output once the queue is sent. Input goes on.
    ShutDown {
        /// Whose.
        slot: SlotId,
    },
    /// Send the queue, for at most `linger`, then close.
    Drop {
        /// Whose.
        slot: SlotId,
        /// What [`Event::Disconnected`] will say.
        reason: Reason,
    },
    /// Close at once, by a reset.
    Abort {
        /// Whose.
        slot: SlotId,
    },
    /// Change an option of one slot.
    Set {
        /// The slot, which may be free; `None` changes the default and every slot.
        index: Option<u32>,
        /// The option and its new value.
        option: SlotOption<'a>,
    },
    /// Change an option of the port.
    SetPort(PortOption<'a>),
}

/// For whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum To {
    /// Exactly this client.
    Slot(SlotId),
    /// Every client: [`Server::outcomes`] says what became of it for each.
    All,
    /// Every client but this one, which may have left.
    Others(SlotId),
}

/// What happens to a message that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// What the slot's [`Overflow`] says.
    Policy,
    /// As much as fits is taken, whatever the policy; the terminator comes with the last byte. For callers that wait for
    /// room and bring the rest.
    Feed,
}

/// What becomes of the clients of a port that closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OnClose {
    /// They are dropped; [`Event::PortDown`] follows when the last is gone.
    Drop,
    /// They stay.
    Keep,
}

/// What the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Open the listening socket, then report [`Input::Opened`] or [`Input::OpenFailed`].
    Listen,
    /// Close the listening socket, then report [`Input::Shut`].
    Unlisten,
    /// Accept nothing for now.
    PauseAccept,
    /// Accept again.
    ResumeAccept,
    /// The connection that awaits a decision is the client of this slot from now on.
    Admit {
        /// Its id.
        slot: SlotId,
    },
    /// Close the connection that awaits a decision, after [`Server::farewell`] if that is not empty.
    Refuse {
        /// Why.
        why: Refusal,
    },
    /// Keep the connection that awaits a decision, without reading, until `Admit` or `Refuse` says in a later turn what
    /// becomes of it.
    Park,
    /// Read once from the slot's socket, then report `Received`, `ReadBlocked`, `Ended` or `Failed`.
    Read {
        /// Whose.
        slot: SlotId,
        /// Bytes to read at most.
        max: usize,
    },
    /// Write [`Server::transmit`] once, in one vectored write, then report `Transmitted`, `WriteBlocked` or `Failed`.
    Transmit {
        /// Whose.
        slot: SlotId,
    },
    /// End the output of the slot's socket. It is not answered.
    ShutdownWrite {
        /// Whose.
        slot: SlotId,
    },
    /// Close the slot's socket, then report [`Input::Closed`].
    Close {
        /// Whose.
        slot: SlotId,
        /// How.
        how: How,
    },
    /// Start the next turn without sleeping.
    Yield,
    /// Tell the subscribers and the log.
    Notify(Event),
}

/// How a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum How {
    /// What the system has taken is still sent.
    Graceful,
    /// At once, by a reset.
    Abort,
}

/// Why an input was refused. Nothing has changed then, for any client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The client has left its slot.
    Stale {
        /// Its id.
        slot: SlotId,
    },
    /// There is no such slot.
    NoSuchSlot {
        /// The index that was given.
        index: u32,
        /// The number of slots; valid indices are below it.
        slots: u32,
    },
    /// The driver reports what it was not asked for.
    Unasked,
    /// An answer is longer than what was asked for, or empty.
    Length {
        /// Its length in bytes.
        len: usize,
        /// The most that fits the question.
        max: usize,
    },
    /// A connection still awaits its decision.
    Undecided,
    /// The port is down.
    PortDown,
    /// Output to the client has ended, or is about to.
    OutputEnded {
        /// Its id.
        slot: SlotId,
    },
    /// The send queue has no room for the message and its terminator now.
    Full {
        /// Bytes that would fit.
        room: usize,
    },
    /// The send queue could never hold the message and its terminator.
    TooLong {
        /// Bytes of both.
        len: usize,
        /// Bytes of the queue.
        max: usize,
    },
    /// A value is out of its range; the option's documentation says which that is.
    BadValue,
    /// A terminator is longer than half of its queue.
    TerminatorTooLong {
        /// Its length in bytes.
        len: usize,
        /// The most that this port takes.
        max: usize,
    },
    /// The port has as many different terminators as its storage holds.
    TooManyTerminators {
        /// How many that are.
        max: usize,
    },
    /// The storage does not fit the configuration; see [`Parts`].
    Storage,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Stale { slot } => write!(f, "client {slot} has left its slot"),
            Self::NoSuchSlot { index, slots } => write!(f, "slot {index} is not below {slots}"),
            Self::Unasked => f.write_str("this answers no question of the port"),
            Self::Length { len, max } => write!(f, "length {len} is not in 1..={max}"),
            Self::Undecided => f.write_str("another connection awaits its decision"),
            Self::PortDown => f.write_str("port is down"),
            Self::OutputEnded { slot } => write!(f, "output to client {slot} has ended"),
            Self::Full { room } => write!(f, "send queue has room for {room} bytes only"),
            Self::TooLong { len, max } => write!(f, "message of {len} bytes is longer than the send queue of {max}"),
            Self::BadValue => f.write_str("value is out of range"),
            Self::TerminatorTooLong { len, max } => write!(f, "terminator of {len} bytes is longer than {max}"),
            Self::TooManyTerminators { max } => write!(f, "more than {max} different terminators"),
            Self::Storage => f.write_str("storage does not fit the configuration"),
        }
    }
}

impl core::error::Error for Error {}
