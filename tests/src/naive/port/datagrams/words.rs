//! What a UDP port is asked, says and keeps.

use std::net::SocketAddr;

/// Choices of a port.
#[derive(Clone, Debug)]
pub struct Choices {
    /// Asyn mode, else FIFO.
    pub asyn: bool,
    /// Bytes of the receive queue.
    pub rx: usize,
    /// Datagrams of the ring.
    pub depth: usize,
    /// Bytes of the output queue.
    pub tx: usize,
    /// Bytes a turn and direction.
    pub budget: u64,
    /// Timeouts, 0 being off.
    pub cache_hold: u64,
    /// As above.
    pub peer_ttl: u64,
    /// As above.
    pub reopen: u64,
    /// Whether a socket that could not be opened is tried again.
    pub auto_connect: bool,
    /// Whether the rest of a datagram is lost.
    pub discard_rest: bool,
    /// Whether the oldest is dropped.
    pub drop_oldest: bool,
}

/// What a port asks for or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Open the socket.
    Bind,
    /// Close it.
    Unbind,
    /// Receive a datagram.
    Receive,
    /// Send a datagram.
    Send(SocketAddr, Vec<u8>),
    /// Another turn.
    Yield,
    /// The port is up.
    Up(SocketAddr),
    /// The port is down.
    Down(Why),
    /// There is something to read.
    Ready,
    /// So many were dropped.
    Overflowed(u64),
}

/// Why a port is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// On request.
    Closed,
    /// It failed.
    Failed(u8),
    /// It was not opened.
    NotOpened(u8),
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The port is down.
    NotConnected,
    /// It was not asked for.
    NotAsked,
    /// The datagram cannot be.
    Oversized,
    /// There is no buffer.
    EmptyBuffer,
    /// Nothing is sent in asyn mode.
    ReadOnly,
    /// Nobody to answer.
    NoPeer,
    /// Too long to be sent ever.
    TooLong(usize),
    /// No place or no bytes left.
    Full(usize, usize),
}

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// CNT is 1, END is 4.
    pub eom: u8,
    /// The sender.
    pub peer: SocketAddr,
    /// Whether it was cut.
    pub cut: bool,
    /// When it came.
    pub at: u64,
}

/// One peer's share of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// It waits.
    Queued,
    /// No room.
    Full,
    /// Never any room.
    TooLong,
}

/// To whom to write.
#[derive(Clone, Copy, Debug)]
pub enum Whom {
    /// This one.
    Peer(SocketAddr),
    /// The sender of what was read last.
    LastRead,
    /// All that were heard.
    Everyone,
}

/// The counters by their names in the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub struct Counts {
    pub received: u64,
    pub bytes: u64,
    pub empty: u64,
    pub truncated: u64,
    pub dropped_full: u64,
    pub unread: u64,
    pub kernel_dropped: u64,
    pub failed: u64,
    pub sent: u64,
}

/// Where the socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    No,
    Wanted,
    Opening,
    Open(SocketAddr),
    /// And whether it is wanted again: at once, later, or not.
    Unwanted(Again),
    Closing(Again),
    /// From then on it is wanted again.
    NotBefore(Option<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    No,
    Now,
    Later,
}

#[derive(Clone, Debug)]
pub(super) struct Gram {
    pub(super) number: u64,
    pub(super) peer: SocketAddr,
    pub(super) bytes: Vec<u8>,
    pub(super) cut: bool,
    pub(super) at: u64,
    /// Whether the reader is done with it, and how much of it the reader has.
    pub(super) done: bool,
    pub(super) read: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) peer: SocketAddr,
    pub(super) bytes: Vec<u8>,
    /// The same for all that were written at once.
    pub(super) write: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) peer: SocketAddr,
    pub(super) at: u64,
    pub(super) nth: u64,
}
