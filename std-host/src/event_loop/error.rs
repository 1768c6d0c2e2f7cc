//! What can go wrong on the loop, and why a socket was closed.

use std::fmt;
use std::io;

/// Why an operation was refused or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system refused. Prints like `connect to 10.0.0.1:80: connection refused`.
    Io {
        /// The operation, as a verb with its preposition: `connect to`.
        op: &'static str,
        /// What it was done to: an address or a name.
        object: String,
        /// What the system said.
        source: io::Error,
    },
    /// TLS refused: a handshake or a record. Prints like `TLS with 10.0.0.1:443: received fatal alert: ...`.
    Tls {
        /// The peer: an address or a name.
        object: String,
        /// What TLS said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A setting is unknown, missing, or does not go with the others.
    Config {
        /// The setting.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name has no address, or is none. Prints like `resolve nowhere.example:80: no such name`.
    Resolve {
        /// The name, with its port.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The id names something that is closed, or a key that is not this loop's.
    Stale,
    /// The data is in use further up the call stack: a callback's own data asked for through `user`.
    Busy,
    /// The socket has not opened yet.
    NotOpen,
    /// Our side of the stream has been ended by `shutdown` or `finish`.
    ShutDown,
    /// `write_now` while bytes are queued: they would overtake the queue.
    NotEmpty,
    /// The socket has been closed in this batch, or can no longer send.
    Closed,
    /// There is nothing to read now.
    WouldBlock,
    /// A number is out of its range. Spans of timers and of `connect` are in milliseconds, those of sockets in the unit
    /// in which they are set.
    OutOfRange {
        /// What was asked for.
        asked: u64,
        /// The greatest value, or the least if `asked` is below it.
        max: u64,
    },
    /// A blocking call on the loop's own thread would wait for itself.
    OnLoopThread,
    /// The loop has ended.
    Ended,
    /// The queue is full: of deferred calls, or of names that wait to be resolved.
    Full,
}

impl Error {
    pub(super) fn io(op: &'static str, object: impl fmt::Display, source: io::Error) -> Self {
        Self::Io { op, object: object.to_string(), source }
    }

    pub(super) fn config(key: &str, reason: impl fmt::Display) -> Self {
        Self::Config { key: key.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn resolve(name: impl Into<String>, source: io::Error) -> Self {
        Self::Resolve { name: name.into(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { op, object, source } => write!(f, "{op} {object}: {}", Cause(source)),
            Self::Tls { object, source } => write!(f, "TLS with {object}: {source}"),
            Self::Config { key, reason } => write!(f, "{key}: {reason}"),
            Self::Resolve { name, source } => write!(f, "resolve {name}: {}", Cause(source)),
            Self::Stale => f.write_str("the id names nothing that is open"),
            Self::Busy => f.write_str("the data is in use by a callback that is still running"),
            Self::NotOpen => f.write_str("the socket is not open yet"),
            Self::ShutDown => f.write_str("the sending side has been shut down"),
            Self::NotEmpty => f.write_str("queued bytes have to leave first"),
            Self::Closed => f.write_str("the socket is closed"),
            Self::WouldBlock => f.write_str("there is nothing to read now"),
            Self::OutOfRange { asked, max } if asked > max => write!(f, "{asked} is out of range, at most {max}"),
            Self::OutOfRange { asked, max } => write!(f, "{asked} is out of range, at least {max}"),
            Self::OnLoopThread => f.write_str("a blocking call on the loop's own thread"),
            Self::Ended => f.write_str("the loop has ended"),
            Self::Full => f.write_str("the queue is full"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Io { source, .. } | Self::Resolve { source, .. } = self {
            Some(source)
        } else if let Self::Tls { source, .. } = self {
            Some(&**source)
        } else {
            None
        }
    }
}

/// An `io::Error` in lower case and without its number where the standard library has a name for it.
struct Cause<'a>(&'a io::Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.kind();
        // The kind of an error the library does not classify cannot be named, but it prints as this.
        let unnamed = kind == io::ErrorKind::Other || kind.to_string() == "uncategorized error";
        if unnamed || self.0.raw_os_error().is_none() { self.0.fmt(f) } else { kind.fmt(f) }
    }
}

/// Why a socket was closed.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended its side, and ours is ended too.
    Peer,
    /// The peer reset the connection.
    PeerReset,
    /// `close(code)`, or `finish()` with code 0.
    Local {
        /// The number given to `close`.
        code: u32,
    },
    /// `abort()`.
    Aborted,
    /// `detach()`: the stream lives on outside of the loop.
    Detached,
    /// Reading or writing failed.
    Failed(Error),
    /// The TLS handshake of a socket that was accepted or adopted failed. It never opened.
    HandshakeFailed(Error),
    /// The same for want of time.
    HandshakeTimeout,
    /// The connection ended without the end of TLS: bytes may be missing.
    Truncated,
    /// The loop has ended.
    LoopEnded,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_names_operation_object_and_cause() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = Error::io("connect to", "10.0.0.1:80", refused);
        assert_eq!(error.to_string(), "connect to 10.0.0.1:80: connection refused");
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        let error = Error::io("connect to", "10.0.0.1:80", refused);
        assert_eq!(error.to_string(), "connect to 10.0.0.1:80: connection refused");
    }

    #[test]
    fn a_cause_without_a_name_keeps_its_text() {
        let source = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        let error = Error::io("accept on", "127.0.0.1:1", source);
        assert!(error.to_string().contains("open files"), "{error}");
    }

    #[test]
    fn a_range_error_says_which_end_was_passed() {
        assert_eq!(Error::OutOfRange { asked: 9, max: 8 }.to_string(), "9 is out of range, at most 8");
        assert_eq!(Error::OutOfRange { asked: 0, max: 1 }.to_string(), "0 is out of range, at least 1");
    }
}
