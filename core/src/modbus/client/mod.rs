//! One connection of a Modbus TCP client, as a machine: it asks, and pairs what comes with what was asked.
//!
//! Requests go in as PDUs, each under a `tag` that the caller chose; their frames gather in the machine until the driver
//! has sent them. Of every request it says exactly once how it ended ([`Output::Done`]). The bytes of a reply stay in the
//! machine, where [`Connection::reply`] and [`Connection::frame`] show them. The machine knows no socket and no clock.
//!
//! # States
//!
//! * *Open*: requests are taken, up to `max_outstanding` (NumberMaxOfClientTransaction of MG 4.4.1), and replies.
//! * *Draining*: after [`Input::Drain`] nothing more is taken; when the last request has ended, so does the connection.
//! * *Closed*: [`Output::Close`] was the last output. What was outstanding has ended as [`Outcome::Lost`]. So it goes when
//!   the server ends or breaks the connection (MG 4.2.2), since no reply can come any more; when a length field cannot
//!   be or a frame is never finished, since frame boundaries are lost; and when the driver says so.
//!
//! # Matching (MG 4.4.1.3)
//!
//! Each request has a transaction id of the connection's own, which counts upwards and skips those that are outstanding.
//! A reply is paired by that id alone, in any order. It must then have the unit and the function of the request and fit
//! it, as [`Reply::decode`] says; else the request ends as [`Outcome::Broken`] and the connection goes on. Of a function
//! code that is not public only the code is judged.
//!
//! What belongs to no request is dropped and counted ([`Counters`]): a late or second reply, one that nothing asked for
//! or whose request has not left yet, a frame of another protocol. However much of it comes, nothing grows.
//!
//! # Time (MG 4.4.1.4)
//!
//! A request's timeout runs from [`Input::Ask`], whether its bytes have left or not. When it runs out and there are
//! retries, the same frame leaves again under the same transaction id: the reply to either answers it, and the other one
//! is late. When there are none left it ends as [`Outcome::Timeout`], and if nothing of its frame has left by then,
//! nothing of it ever will.
//!
//! # Storage
//!
//! A buffer of at least [`MIN_BUFFER`] bytes, for one received frame and for requests on their way out, and one
//! [`Transaction`] for each request that may be outstanding. A buffer of [`MIN_BUFFER`] and 260 bytes for each further
//! transaction never refuses for lack of room, unless the server takes nothing.
//!
//! It does not connect, does not connect again, and does not pace; that is its driver's part. It expects a reply to every
//! request: a server that takes unit 0 for a broadcast leaves it waiting until the timeout.

mod connection;
mod line;
mod requests;

#[cfg(test)]
mod tests;

pub use connection::Connection;
pub use requests::Transaction;

use super::mbap::{self, MAX_FRAME};
use super::pdu::Exception;
#[cfg(doc)]
use super::pdu::Reply;
use core::time::Duration;

/// Least bytes of a connection's buffer: a received frame and a request, each of the greatest length.
pub const MIN_BUFFER: usize = 2 * MAX_FRAME;

/// How a connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    /// Requests that have not ended, at least 1; also limited by the transactions that the connection stands on.
    pub max_outstanding: u16,
    /// From the first byte of a frame to its last; zero turns it off.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub frame_timeout: Duration,
}

impl Config {
    /// 16 outstanding; 10 s.
    pub const DEFAULT: Self = Self { max_outstanding: 16, frame_timeout: Duration::from_secs(10) };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the driver reports.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Somebody wants to know something, or have it done.
    Ask {
        /// The caller's own name for the request; it need not be unique.
        tag: u64,
        /// The unit asked.
        unit: u8,
        /// The request, 1..=253 bytes, such as [`Request::encode`](super::pdu::Request::encode) writes.
        pdu: &'a [u8],
        /// How long each attempt may take; zero is for ever.
        timeout: Duration,
        /// How often the frame is sent again when no reply comes.
        retries: u8,
    },
    /// Bytes came, or are offered again. [`Connection::taken`] tells how many of them are done with: at most one frame is
    /// taken at a time, and none before the outputs are drained. The rest is to be offered again, before anything newer.
    /// What was sent is reported before what came after it.
    Received {
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The answer to [`Output::Transmit`]: the server's socket took this many bytes, at least one.
    Transmitted {
        /// How many of those that [`Connection::transmit`] showed last.
        len: usize,
    },
    /// The server has ended its side; all of its bytes have been taken.
    PeerClosed,
    /// The connection is gone.
    PeerReset,
    /// Take no more requests, and end when the last one has.
    Drain,
    /// End at once.
    Abort,
}

/// What the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Output {
    /// Send what [`Connection::transmit`] shows, and report how much of it left. Where the socket takes nothing now, look
    /// again when it does, because a request may have been withdrawn; no second `Transmit` comes before the report.
    Transmit,
    /// A request has ended.
    Done(Done),
    /// A frame was thrown away. [`Connection::frame`] shows it until more bytes are taken.
    Discarded {
        /// Why.
        reason: Discard,
        /// The transaction id in it.
        transaction: u16,
    },
    /// Close the connection. The last output.
    Close {
        /// Why.
        reason: Reason,
    },
}

/// A request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Done {
    /// The caller's name for it.
    pub tag: u64,
    /// The unit asked.
    pub unit: u8,
    /// The function code asked for.
    pub function: u8,
    /// Its transaction id on the wire.
    pub transaction: u16,
    /// How often its time ran out and began anew.
    pub retried: u8,
    /// How it ended.
    pub outcome: Outcome,
    /// Microseconds from [`Input::Ask`] to its end, saturating.
    pub micros: u32,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// A normal reply, which [`Connection::reply`] shows until the next input.
    Reply,
    /// The server refused.
    Exception(Exception),
    /// No reply came in time.
    Timeout,
    /// A frame with its transaction id came and is no reply to it. [`Connection::frame`] shows it until the next input.
    Broken(Breach),
    /// The connection ended before a reply came. After [`Reason::BadFrame`], [`Reason::Truncated`] and
    /// [`Reason::FrameTimeout`], what came last is in [`Connection::frame`].
    Lost(Reason),
}

/// What is wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Breach {
    /// Another unit answers.
    WrongUnit {
        /// The unit asked.
        asked: u8,
        /// The unit in the reply.
        got: u8,
    },
    /// It has another function code, and is no exception either.
    WrongFunction {
        /// The code asked for.
        asked: u8,
        /// The code that came.
        got: u8,
    },
    /// Lengths, counts or echoed fields are not what the request calls for.
    Malformed,
}

impl core::fmt::Display for Breach {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::WrongUnit { asked, got } => write!(f, "unit id {got} instead of {asked}"),
            Self::WrongFunction { asked, got } => write!(f, "reply of function {got} to a request of function {asked}"),
            Self::Malformed => f.write_str("reply does not fit its request"),
        }
    }
}

/// Why a frame was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Discard {
    /// Its request has ended: the reply is late, or the second one.
    Late,
    /// No request had this transaction id lately, or it has not left yet.
    Unsolicited,
    /// Another protocol.
    ProtocolId {
        /// The id, not 0.
        protocol: u16,
    },
}

impl Discard {
    /// The name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Unsolicited => "unsolicited",
            Self::ProtocolId { .. } => "protocol_id",
        }
    }
}

/// How many frames a connection has thrown away. The counts stop at their greatest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Replies to requests that had ended.
    pub late: u32,
    /// Replies that nothing asked for.
    pub unsolicited: u32,
    /// Frames of another protocol.
    pub protocol_id: u32,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// The server ended it between two frames.
    PeerClosed,
    /// The server or the network reset it.
    PeerReset,
    /// The server ended it inside a frame.
    Truncated,
    /// A frame was not complete within `frame_timeout`.
    FrameTimeout,
    /// A length field that cannot be.
    BadFrame(mbap::Error),
    /// The driver wanted no more, and every request has ended.
    Finished,
    /// The driver said so.
    Aborted,
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("the server closed the connection"),
            Self::PeerReset => f.write_str("the connection was reset"),
            Self::Truncated => f.write_str("the connection ended inside the reply"),
            Self::FrameTimeout => f.write_str("a reply was never finished"),
            Self::BadFrame(error) => error.fmt(f),
            Self::Finished => f.write_str("finished"),
            Self::Aborted => f.write_str("aborted"),
        }
    }
}

/// Why an input was refused. The connection goes on as if it had not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// A request PDU has 1..=253 bytes.
    PduLength {
        /// The bytes of this one.
        len: usize,
    },
    /// As many requests are outstanding as may be. Ask again when one has ended.
    Full {
        /// How many that is.
        limit: usize,
    },
    /// The requests before it have not left yet. Ask again when they have.
    NoRoom {
        /// Bytes needed.
        needed: usize,
    },
    /// More bytes than were shown cannot have been sent, and fewer than one are no progress.
    Transmitted {
        /// Reported.
        len: usize,
        /// Shown.
        shown: usize,
    },
    /// The connection takes no more requests.
    Draining,
    /// The connection is closed.
    Closed,
    /// The buffer is too short to do anything.
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
            Self::PduLength { len } => write!(f, "request of {len} bytes is not 1..=253 bytes"),
            Self::Full { limit } => write!(f, "{limit} requests are outstanding already"),
            Self::NoRoom { needed } => write!(f, "no room for a frame of {needed} bytes"),
            Self::Transmitted { len, shown } => write!(f, "{len} bytes reported sent of {shown} shown"),
            Self::Draining => f.write_str("connection takes no more requests"),
            Self::Closed => f.write_str("connection is closed"),
            Self::BufferShort { needed, got } => write!(f, "buffer of {got} bytes is below {needed}"),
        }
    }
}

impl core::error::Error for Error {}
