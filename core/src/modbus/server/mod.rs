//! One connection of a Modbus TCP server, as a machine.
//!
//! Bytes from the peer go in with a [`Service`] that answers at once or later; reply bytes gather in the machine until
//! the driver has sent them. The machine knows no socket and no store.
//!
//! # States
//!
//! * *Open*: requests are taken. While no largest reply would fit, or a place for a deferred request or a permit of the
//!   rate is waited for, the connection is *paused*: it takes nothing, and says so with [`Output::Pause`] and
//!   [`Output::Resume`].
//! * *Draining*: nothing new runs; what was accepted is answered and sent, then the connection ends with a FIN. So it
//!   goes after [`Input::Drain`], after the peer's own FIN, and after a frame whose length cannot be.
//! * *Closing*: our FIN is sent; input is thrown away until the peer's FIN or `linger`, because a socket closed over
//!   unread input sends a reset, and a reset destroys replies that the peer has not read yet.
//! * *Closed*: [`Output::Close`] was the last output.
//!
//! # Replies
//!
//! Requests start in order of arrival and do not wait for deferred ones; replies leave in order of arrival (MG
//! 4.4.2.1). A reply behind a deferred one is held. Only the 06 for lack of a place leaves at once.
//!
//! # Storage
//!
//! A connection stands on a buffer of at least [`MIN_BUFFER`] bytes, for one partial frame and for replies, and on one
//! [`Transaction`] per request that may be deferred at the same time; none are needed where nothing is ever deferred.
//! While it is [vacant](Connection::is_vacant) both can be [exchanged](Connection::exchange), so that idle connections
//! need not own any. A connection [at rest](Connection::rest) needs not even its machine: a few can serve many.
//!
//! It paces requests, if told to; it does not limit connections, which is its driver's part, or authorise, which is its
//! service's.

mod connection;
mod replies;
mod transactions;

#[cfg(test)]
mod tests;

pub use connection::{Connection, Rest};
pub use transactions::Transaction;

use super::mbap::MAX_FRAME;
use super::pdu::{Exception, Span};
use super::service::{Answerer, Discard, RequestId, Service};
use crate::rate::Rate;
use core::time::Duration;

/// Least bytes of a connection's buffer: a partial frame and a largest reply.
pub const MIN_BUFFER: usize = 2 * MAX_FRAME;

/// How a connection behaves. A span of zero turns its timeout off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    /// Accepted requests whose reply is not yet queued, 1..=16; also limited by the transactions that the connection
    /// stands on (NumberMaxOfServerTransaction, MG 4.4.2.2).
    pub max_outstanding: u8,
    /// What happens to a request beyond them.
    pub overflow: Overflow,
    /// Requests that may be served; those beyond it meet `rate_action`.
    pub request_rate: Option<Rate>,
    /// What happens to a request beyond the rate.
    pub rate_action: RateAction,
    /// Whether replies made from one read leave together, rather than each by itself (MG 4.2.1.1).
    pub coalesce: bool,
    /// From a request's deferral to its reply with exception 06.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub request_timeout: Duration,
    /// From the first byte of a frame to its last.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub frame_timeout: Duration,
    /// From the last whole frame or the last byte sent, with nothing outstanding.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub idle_timeout: Duration,
    /// How long the peer may take no byte while output waits.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub write_timeout: Duration,
    /// How long to wait for the peer's FIN after ours; with zero there is no wait.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub linger: Duration,
}

impl Config {
    /// 16 outstanding, busy beyond, any rate, coalesced; 5 s, 10 s, 300 s, 10 s and 1 s.
    pub const DEFAULT: Self = Self {
        max_outstanding: 16,
        overflow: Overflow::Busy,
        request_rate: None,
        rate_action: RateAction::Busy,
        coalesce: true,
        request_timeout: Duration::from_secs(5),
        frame_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(300),
        write_timeout: Duration::from_secs(10),
        linger: Duration::from_secs(1),
    };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What happens to a request that finds every place for outstanding ones taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Overflow {
    /// It is answered with exception 06 at once, ahead of pending replies.
    #[default]
    Busy,
    /// It waits unread.
    Wait,
}

/// What happens to a request beyond the rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RateAction {
    /// It is answered with exception 06 at once, ahead of pending replies.
    #[default]
    Busy,
    /// It waits unread.
    Pause,
}

/// What the driver reports.
pub enum Input<'a> {
    /// Bytes came, or are offered again. [`Connection::taken`] tells how many of them are done with; the rest is to be
    /// offered again, before anything newer, once the outputs are drained and reading is not paused.
    Received {
        /// The bytes, at least one.
        bytes: &'a [u8],
        /// Whoever answers.
        service: &'a mut dyn Service,
    },
    /// The answer to [`Output::Transmit`]: the peer's socket took this many bytes, at least one.
    Transmitted {
        /// How many of those that [`Connection::transmit`] showed.
        len: usize,
    },
    /// A deferred request is answered.
    Replied {
        /// The request.
        id: RequestId,
        /// The reply, 1..=253 bytes.
        pdu: &'a [u8],
    },
    /// A deferred request is refused.
    Failed {
        /// The request.
        id: RequestId,
        /// Why.
        exception: Exception,
    },
    /// The peer has ended its side; all of its bytes have been taken.
    PeerClosed,
    /// The connection is gone.
    PeerReset,
    /// Answer what is accepted, take nothing new, then end.
    Drain,
    /// End at once; what is not sent is lost.
    Abort {
        /// Why.
        reason: Reason,
    },
}

impl core::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Received { bytes, .. } => f.debug_struct("Received").field("bytes", bytes).finish_non_exhaustive(),
            Self::Transmitted { len } => f.debug_struct("Transmitted").field("len", len).finish(),
            Self::Replied { id, pdu } => f.debug_struct("Replied").field("id", id).field("pdu", pdu).finish(),
            Self::Failed { id, exception } => {
                f.debug_struct("Failed").field("id", id).field("exception", exception).finish()
            }
            Self::PeerClosed => f.write_str("PeerClosed"),
            Self::PeerReset => f.write_str("PeerReset"),
            Self::Drain => f.write_str("Drain"),
            Self::Abort { reason } => f.debug_struct("Abort").field("reason", reason).finish(),
        }
    }
}

/// What the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Output {
    /// Send what [`Connection::transmit`] shows, and report how much of it left. Where the socket takes nothing now,
    /// try again when it does; no second `Transmit` comes before the report. A driver may put this off until it has
    /// offered all of the bytes of one read, so that their replies leave together; or send what is shown before it drains,
    /// and not be asked.
    Transmit,
    /// Stop reading.
    Pause,
    /// Read again.
    Resume,
    /// Send a FIN, and go on reading.
    CloseWrite,
    /// Close the connection. The last output.
    Close {
        /// Why.
        reason: Reason,
        /// Whether by a reset rather than a FIN.
        reset: bool,
    },
    /// A request is done with.
    Processed(Processed),
    /// Something was thrown away.
    Discarded(Discard),
}

/// A request that is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Processed {
    /// The unit asked for.
    pub unit: u8,
    /// The function code.
    pub function: u8,
    /// The addresses named, where the function has any.
    pub span: Option<Span>,
    /// How it ended.
    pub outcome: Outcome,
    /// Microseconds from the input that completed the request to the reply in the transmit storage, saturating.
    pub micros: u32,
    /// Bytes of the request's frame.
    pub bytes_in: u16,
    /// Bytes of the reply's frame, 0 if there is none.
    pub bytes_out: u16,
    /// Whether it was answered later.
    pub deferred: bool,
    /// Whether its `request_timeout` ran out.
    pub timed_out: bool,
    /// Whether its reply was kept back for a fault. It has left by now, and `micros` says when.
    pub kept: bool,
    /// How many faults acted on it.
    pub faults: u8,
    /// Who put it off, where it was answered later.
    pub answerer: Answerer,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// A normal reply.
    Ok,
    /// An exception reply.
    Exception(Exception),
    /// No reply.
    #[default]
    None,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum State {
    /// It takes requests.
    Open,
    /// It takes nothing for now: there is no room for a reply, or no place for a request.
    Paused,
    /// It answers what it has accepted and takes nothing new.
    Draining,
    /// A fault holds it: what comes is thrown away, and nothing is answered.
    Held,
    /// Our FIN is sent, and the peer's is waited for.
    Closing,
    /// It is over.
    Closed,
}

impl State {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Held => "held",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// Why a connection ended (the label `reason` of the metrics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// The peer ended it.
    PeerClosed,
    /// The peer or the network reset it.
    PeerReset,
    /// Nothing happened for `idle_timeout`.
    Idle,
    /// A frame was not complete within `frame_timeout`.
    FrameTimeout,
    /// The peer took nothing for `write_timeout`.
    WriteStuck,
    /// A length field that cannot be.
    BadFrame,
    /// It made room for another.
    Evicted,
    /// The server shut down in order.
    Shutdown,
    /// The server shut down without waiting any longer.
    ShutdownForced,
    /// A fault said so.
    Fault,
    /// An operator said so.
    Kicked,
    /// The system failed.
    IoError,
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 12] = [
        Self::PeerClosed,
        Self::PeerReset,
        Self::Idle,
        Self::FrameTimeout,
        Self::WriteStuck,
        Self::BadFrame,
        Self::Evicted,
        Self::Shutdown,
        Self::ShutdownForced,
        Self::Fault,
        Self::Kicked,
        Self::IoError,
    ];

    /// The name in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::PeerReset => "peer_reset",
            Self::Idle => "idle",
            Self::FrameTimeout => "frame_timeout",
            Self::WriteStuck => "write_stuck",
            Self::BadFrame => "bad_frame",
            Self::Evicted => "evicted",
            Self::Shutdown => "shutdown",
            Self::ShutdownForced => "shutdown_forced",
            Self::Fault => "fault",
            Self::Kicked => "kicked",
            Self::IoError => "io_error",
        }
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an input was refused. The connection goes on as if it had not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The request has been answered, has timed out, or was never this connection's: the answer is late.
    Stale {
        /// The name that names nothing now.
        id: RequestId,
    },
    /// A reply PDU has 1..=253 bytes.
    ReplyLength {
        /// The bytes of this one.
        len: usize,
    },
    /// More bytes than were shown cannot have been sent, and fewer than one are no progress.
    Transmitted {
        /// Reported.
        len: usize,
        /// Shown.
        shown: usize,
    },
    /// The peer has already ended its side.
    InputEnded,
    /// The connection is closed.
    Closed,
    /// The buffer is too short to take anything.
    BufferShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        got: usize,
    },
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Stale { id } => write!(f, "request {}.{} is no longer open", id.index, id.generation),
            Self::ReplyLength { len } => write!(f, "reply of {len} bytes is not 1..=253 bytes"),
            Self::Transmitted { len, shown } => write!(f, "{len} bytes reported sent of {shown} shown"),
            Self::InputEnded => f.write_str("peer has already ended its side"),
            Self::Closed => f.write_str("connection is closed"),
            Self::BufferShort { needed, got } => write!(f, "buffer of {got} bytes is below {needed}"),
        }
    }
}

impl core::error::Error for Error {}
