//! Why an input was refused.

use super::{MAX_DEPTH, MAX_TIMEOUT, QUEUE_BYTES};
use core::fmt;
use core::time::Duration;

/// Why an input was refused, or a port could not be made. The port goes on as if the input had not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The socket is not open.
    NotConnected,
    /// The driver answered what was not asked, such as `Datagram` without a `Receive`.
    NotAsked,
    /// A datagram is longer than was asked for.
    Oversized {
        /// Its bytes.
        len: usize,
        /// As many were asked for.
        max: usize,
    },
    /// A read needs a buffer of at least one byte.
    EmptyBuffer,
    /// A port in asyn mode sends nothing.
    ReadOnly,
    /// Nothing has been read yet, so there is nobody to answer.
    NoPeer,
    /// A datagram can never be sent: it is longer than its protocol permits, or than the output queue.
    TooLong {
        /// Its bytes.
        len: usize,
        /// The most that would do.
        max: usize,
    },
    /// The output queue has no room now.
    Full {
        /// Datagrams that it could still take.
        places: usize,
        /// Bytes that it could still take.
        room: usize,
    },
    /// A timeout is too long.
    BadTimeout {
        /// This is what was asked for.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        asked: Duration,
    },
    /// There are no records, or more than a port may have.
    Depth {
        /// Records there.
        got: usize,
    },
    /// A queue has fewer or more bytes than a queue may have.
    QueueSize {
        /// Bytes there.
        got: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("port is down"),
            Self::NotAsked => f.write_str("answer fits no request"),
            Self::Oversized { len, max } => write!(f, "datagram of {len} bytes where at most {max} were asked for"),
            Self::EmptyBuffer => f.write_str("read into an empty buffer"),
            Self::ReadOnly => f.write_str("port is read-only"),
            Self::NoPeer => f.write_str("no datagram has been read that could be answered"),
            Self::TooLong { len, max } => write!(f, "datagram of {len} bytes is longer than {max}"),
            Self::Full { places, room } => write!(f, "output has room for {places} datagrams and {room} bytes"),
            Self::BadTimeout { asked } => write!(f, "timeout of {asked:?} is longer than {MAX_TIMEOUT:?}"),
            Self::Depth { got } => write!(f, "depth of {got} datagrams is not 1..={MAX_DEPTH}"),
            Self::QueueSize { got } => {
                write!(f, "queue of {got} bytes is not {}..={}", QUEUE_BYTES.start(), QUEUE_BYTES.end())
            }
        }
    }
}

impl core::error::Error for Error {}
