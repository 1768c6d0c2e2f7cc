//! Why a call of a port was refused.

use std::fmt;
use wharf_core::port::{datagrams, server};

/// Why a call of a port was refused, or came to nothing. Nothing has changed then, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The address is neither -1 nor a slot of the port.
    OutOfRange {
        /// What was given.
        addr: i32,
        /// The number of slots; valid ones are below it.
        slots: u32,
    },
    /// The call is about one slot, and the address names the whole port.
    NotASlot,
    /// Nobody is there, or the input of who is there has ended and been read.
    NotConnected,
    /// The client that was meant has left.
    Stale,
    /// The buffer has no room for a byte.
    EmptyBuffer,
    /// There is nothing yet: an event will tell.
    WouldBlock,
    /// The time was over. Of a write, so many bytes had been taken; of a drain, so many were left.
    Timeout {
        /// Those bytes.
        bytes: usize,
    },
    /// The send queue has no room for the message.
    Full {
        /// Bytes that would fit.
        room: usize,
    },
    /// The send queue could never hold the message.
    TooLong {
        /// Bytes of the message with its terminator.
        len: usize,
        /// Bytes of the queue.
        max: usize,
    },
    /// A UDP port in asyn mode sends nothing.
    ReadOnly,
    /// Nothing has been read from the UDP port yet, so there is nobody to answer.
    NobodyToAnswer,
    /// Output to the client has ended, or is about to.
    OutputEnded,
    /// The port is down.
    PortDown {
        /// Why it could not be opened the last time, if it could not.
        why: Option<String>,
    },
    /// An option is not what it could be; the text says which and why.
    Option(String),
    /// The call waits, and was made on the loop's own thread, which would then wait for itself.
    OnLoopThread,
    /// The loop has ended.
    Ended,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { addr, slots } => write!(f, "address {addr} is neither -1 nor a slot below {slots}"),
            Self::NotASlot => f.write_str("this is about one slot, not the whole port"),
            Self::NotConnected => f.write_str("no client is connected"),
            Self::Stale => f.write_str("the client has left its slot"),
            Self::EmptyBuffer => f.write_str("the buffer has no room"),
            Self::WouldBlock => f.write_str("nothing yet"),
            Self::Timeout { .. } => f.write_str("timed out"),
            Self::Full { room } => write!(f, "the send queue has room for {room} bytes only"),
            Self::TooLong { len, max } => write!(f, "{len} bytes are more than the send queue of {max} can hold"),
            Self::ReadOnly => f.write_str("a UDP port with udp = \"asyn\" is read-only: choose udp = \"fifo\" to send"),
            Self::NobodyToAnswer => {
                f.write_str("nothing has been read yet that could be answered: read first, or reply")
            }
            Self::OutputEnded => f.write_str("output to the client has ended"),
            Self::PortDown { why: None } => f.write_str("the port is down"),
            Self::PortDown { why: Some(why) } => write!(f, "the port is down: {why}"),
            Self::Option(what) => f.write_str(what),
            Self::OnLoopThread => f.write_str("this waits, and the loop would wait for itself"),
            Self::Ended => f.write_str("the loop has ended"),
        }
    }
}

impl std::error::Error for Error {}

impl From<server::Error> for Error {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are about what a program has set")]
    fn from(error: server::Error) -> Self {
        match error {
            server::Error::Stale { .. } => Self::Stale,
            server::Error::NoSuchSlot { index, slots } => {
                Self::OutOfRange { addr: i32::try_from(index).unwrap_or(i32::MAX), slots }
            }
            server::Error::PortDown => Self::PortDown { why: None },
            server::Error::OutputEnded { .. } => Self::OutputEnded,
            server::Error::Full { room } => Self::Full { room },
            server::Error::TooLong { len, max } => Self::TooLong { len, max },
            other => Self::Option(other.to_string()),
        }
    }
}

impl From<datagrams::Error> for Error {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are about what a program has set")]
    fn from(error: datagrams::Error) -> Self {
        match error {
            datagrams::Error::NotConnected => Self::NotConnected,
            datagrams::Error::EmptyBuffer => Self::EmptyBuffer,
            datagrams::Error::ReadOnly => Self::ReadOnly,
            datagrams::Error::NoPeer => Self::NobodyToAnswer,
            datagrams::Error::TooLong { len, max } => Self::TooLong { len, max },
            // Without a place for a datagram there is no room for its bytes either.
            datagrams::Error::Full { places: 0, .. } => Self::Full { room: 0 },
            datagrams::Error::Full { room, .. } => Self::Full { room },
            other => Self::Option(other.to_string()),
        }
    }
}
