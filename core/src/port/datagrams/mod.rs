//! A UDP port as a machine: one socket, what it has received, and what it has yet to send.
//!
//! The driver owns the socket and carries out one call at a time: [`Output::Receive`] has exactly one answer, and so
//! has [`Output::Send`]. Reads and writes of the program are [`Command`]s; what they gave is shown by accessors until
//! the next input. The machine waits for nobody: a read that finds nothing says so, and how long a caller waits is the
//! driver's.
//!
//! # States
//!
//! | state | means | leaves to |
//! | --- | --- | --- |
//! | *Down* | nobody wants the socket | Opening ([`Command::Open`]) |
//! | *Opening* | [`Output::Bind`] is due or out | Up ([`Input::Opened`]); Waiting ([`Input::OpenFailed`]), Down without `auto_connect`; Closing, or Down if `Bind` is not out ([`Command::Close`]) |
//! | *Up* | datagrams go in and out | Closing (`Close`, or [`Failure::Fatal`]) |
//! | *Closing* | [`Output::Unbind`] is due or out | on [`Input::Shut`]: Down; Waiting after a failure; Opening if `Open` came meanwhile |
//! | *Waiting* | it could not be opened, or failed | Opening (`reopen` is over, or `Open`); Down (`Close`) |
//!
//! In every state but Up, reads and writes are refused as [`Error::NotConnected`]. Leaving Up gives up what has not
//! been read ([`Counters::unread`]) and what has not been sent ([`Counters::failed`]).
//!
//! # Who gets a datagram
//!
//! A datagram lies in a ring of records and bytes. There is one *reader*, which is all callers of [`Command::Read`]
//! together, and any number of *subscribers*, each with a [`Cursor`] of its own. What the reader is done with stays in
//! the ring until its room is needed, so that a subscriber may come later than the reader. A subscriber that comes too
//! late loses alone, and [`Datagrams::next`] tells it how many.
//!
//! The reader *takes part* from its first `Read` to [`Command::Leave`]. Datagrams are kept for it while it takes part,
//! and also while there are no subscribers, because then it may come yet. Otherwise nothing is owed to it: it may have
//! what happens to be there when it comes, and what it misses is not counted.
//!
//! * [`Mode::Asyn`] is a cache of one datagram: the socket is read only while nothing is kept for the reader, and the
//!   rest waits in the kernel. With subscribers, a slow reader loses the datagram after `cache_hold`, so that nothing
//!   stalls. The port is read-only. An empty datagram goes to subscribers alone.
//! * [`Mode::Fifo`] reads the socket always. A datagram for which there is no room beside those that are kept is
//!   dropped, or the oldest ones are ([`Overflow`]). One that the reader has begun is never torn: then the newest is
//!   dropped whatever was chosen. A datagram that is dropped on arrival is lost to subscribers too, and they are told.
//!
//! A datagram that is longer than all of the ring is cut to it and flagged.
//!
//! # Turns
//!
//! Readiness is edge-triggered: a latch for each direction is set by [`Input::Readable`] and [`Input::Writable`], and
//! cleared when the socket says that it would block. A socket that has just been opened counts as ready. In one turn
//! each direction carries [`Config::budget`] bytes, a datagram counting as 64 at least and a failure as 64; when one
//! has used it up and could go on, [`Output::Yield`] asks for the next turn.
//!
//! # Storage
//!
//! The caller gives bytes and records for what comes and bytes for what goes. The machine itself holds the 64 places of
//! the output and the 64 peers, which are some 7 KiB.
//!
//! # What it does not do
//!
//! It has no slots and no children, because a UDP port has none (section 9 of the specification of device ports, whose
//! names it uses). It frames nothing: a terminator is a matter of the bytes within a datagram. It knows no allow list,
//! resolves no name and joins no group. A peer's address is taken as it is: the driver makes an IPv4 address that
//! arrives on an IPv6 socket the IPv4 address that it is, before it reports it.

mod error;
mod machine;
mod outbox;
mod peers;
mod ring;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use machine::Datagrams;
pub use outbox::Outcome;
pub use ring::{Cursor, Datagram, Next, Record};

use super::framing::Eom;
use crate::time::Instant;
use core::net::SocketAddr;
use core::time::Duration;

/// The longest payload of a datagram over IPv4, in bytes.
pub const MAX_PAYLOAD_V4: usize = 65_507;
/// The longest payload of a datagram over IPv6, in bytes; nothing longer is ever received.
pub const MAX_PAYLOAD: usize = 65_527;
/// The most datagrams that a ring may hold.
pub const MAX_DEPTH: usize = 4096;
/// The bounds of a queue, in bytes.
pub const QUEUE_BYTES: core::ops::RangeInclusive<usize> = 64..=16 << 20;
/// Datagrams that may wait to be sent.
pub const OUTPUT_DEPTH: usize = 64;
/// Peers that a broadcast can reach.
pub const MAX_PEERS: usize = 64;
/// The longest timeout, in milliseconds.
pub const MAX_TIMEOUT: Duration = Duration::from_millis(u32::MAX as u64);

/// How a port behaves. A timeout is at most [`MAX_TIMEOUT`]; zero turns it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Config {
    /// Cache or ring. It cannot be set later.
    pub mode: Mode,
    /// How long a datagram is kept for the reader while there are subscribers, in asyn mode. Off, a reader that never
    /// comes back stalls the port.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub cache_hold: Duration,
    /// What becomes of what a read did not take, in FIFO mode.
    pub rest: Rest,
    /// What is dropped when the ring is full, in FIFO mode.
    pub overflow: Overflow,
    /// How long a broadcast reaches a peer after its last datagram. Off, it reaches it until another takes its place.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub peer_ttl: Duration,
    /// From a failure to the next attempt to open the socket. Off, there is none.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub reopen: Duration,
    /// Whether a socket that could not be opened is tried again after `reopen`. One that failed always is.
    pub auto_connect: bool,
    /// Bytes for each direction in a turn; 0 counts as 1.
    pub budget: u32,
}

impl Config {
    /// FIFO, which keeps rests and drops the newest; 1 s, 60 s, 1 s; 64 KiB a turn.
    pub const DEFAULT: Self = Self {
        mode: Mode::Fifo,
        cache_hold: Duration::from_secs(1),
        rest: Rest::Keep,
        overflow: Overflow::DropNewest,
        peer_ttl: Duration::from_secs(60),
        reopen: Duration::from_secs(1),
        auto_connect: true,
        budget: 64 << 10,
    };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Cache or ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// One datagram at a time; read-only.
    Asyn,
    /// As many datagrams as there are records and bytes for.
    Fifo,
}

/// What becomes of what a read did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Rest {
    /// The next read goes on with it.
    Keep,
    /// It is lost, and the datagram counts as unread.
    Discard,
}

/// What is dropped when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Overflow {
    /// The datagram that has just come.
    DropNewest,
    /// The oldest ones, as many as have to go; the one that has just come if the reader has begun with the oldest.
    DropOldest,
}

/// What the driver reports, in the order in which it happened: an edge that came before a call blocked is reported
/// before the block.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A batch of readiness begins: both budgets are full again.
    TurnStarted,
    /// The answer to [`Output::Bind`]: the socket is there.
    Opened {
        /// Its address, with the real port.
        local: SocketAddr,
    },
    /// The answer to [`Output::Bind`]: there is no socket.
    OpenFailed {
        /// Why.
        kind: OpenFailure,
    },
    /// The answer to [`Output::Unbind`]: the socket is gone, or was never there.
    Shut,
    /// The socket has something to receive.
    Readable,
    /// The socket takes datagrams again.
    Writable,
    /// An answer to [`Output::Receive`]: this came.
    Datagram {
        /// Who sent it.
        peer: SocketAddr,
        /// At most `max` bytes.
        bytes: &'a [u8],
        /// Whether the system cut it because it was longer.
        truncated: bool,
    },
    /// An answer to [`Output::Receive`]: nothing is there now.
    Blocked,
    /// An answer to [`Output::Receive`]: the call failed. It is neither data nor an end.
    Failed {
        /// How badly.
        failure: Failure,
    },
    /// An answer to [`Output::Send`]: the system has the whole datagram.
    Sent,
    /// An answer to [`Output::Send`]: the socket takes nothing now.
    SendBlocked,
    /// An answer to [`Output::Send`]: the datagram could not be sent and is given up.
    SendFailed {
        /// How badly.
        failure: Failure,
    },
    /// How many datagrams the system has dropped for want of room since this socket was opened.
    KernelDropped {
        /// All of them, not those since the last report.
        total: u64,
    },
    /// The program wants something.
    Requested(Command<'a>),
}

/// What the program wants.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// Open the socket. Nothing happens where it is open, or about to be.
    Open,
    /// Close the socket, and leave it closed.
    Close,
    /// Read into a buffer; [`Datagrams::piece`] shows what there was. The reader takes part from now on.
    Read {
        /// Bytes of the buffer, at least 1.
        room: usize,
    },
    /// Throw away what the reader has not read; [`Datagrams::flushed`] tells how much that was. Subscribers lose
    /// nothing.
    Flush,
    /// The reader has gone, and takes no part until it reads again.
    Leave,
    /// There are so many subscribers now.
    Subscribed {
        /// All of them, 0 if there are none.
        count: usize,
    },
    /// Send one datagram, or one to each peer.
    Write {
        /// To whom.
        to: To,
        /// Its payload; it may be empty.
        bytes: &'a [u8],
    },
    /// Change how the port behaves.
    Set(Setting),
}

/// To whom a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum To {
    /// To this peer, whether it has been heard or not.
    Peer(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] SocketAddr),
    /// To the sender of the datagram last read.
    LastRead,
    /// To every peer heard within `peer_ttl`; [`Datagrams::outcomes`] tells what became of each. With nobody there it
    /// succeeds.
    Everyone,
}

/// One field of a [`Config`] that can be set at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Setting {
    /// [`Config::cache_hold`]; it applies to what is kept at present, too.
    CacheHold(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] Duration),
    /// [`Config::rest`].
    Rest(Rest),
    /// [`Config::overflow`].
    Overflow(Overflow),
    /// [`Config::peer_ttl`].
    PeerTtl(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] Duration),
    /// [`Config::reopen`]; it applies from the next failure on.
    Reopen(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] Duration),
    /// [`Config::auto_connect`].
    AutoConnect(bool),
}

/// What the driver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Output {
    /// Open and bind the socket, and answer with [`Input::Opened`] or [`Input::OpenFailed`].
    Bind,
    /// Close the socket, or give up opening it, and answer with [`Input::Shut`].
    Unbind,
    /// Receive one datagram, and answer with [`Input::Datagram`], [`Input::Blocked`] or [`Input::Failed`].
    Receive {
        /// Longer ones are cut and flagged by the driver; a driver with a shorter buffer does so earlier.
        max: usize,
    },
    /// Send what [`Datagrams::transmit`] shows, as one datagram, and answer with [`Input::Sent`],
    /// [`Input::SendBlocked`] or [`Input::SendFailed`].
    Send {
        /// To whom.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        peer: SocketAddr,
    },
    /// Start the next turn without sleeping.
    Yield,
    /// Tell the subscribers and the log.
    Notify(Event),
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// The socket is bound.
    PortUp {
        /// To this address.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        local: SocketAddr,
    },
    /// The socket is gone, or could not be had.
    PortDown {
        /// Why.
        reason: Reason,
    },
    /// Something has come: subscribers call [`Datagrams::next`] until it gives `None`, and a reader that waits may
    /// read. In asyn mode it comes for each datagram, and before the next is received.
    DataReady,
    /// The ring was full.
    Overflowed {
        /// Datagrams dropped since this was last told.
        lost: u64,
    },
}

/// Why a port is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// It was asked to be.
    PortClosed,
    /// The socket failed.
    Failed(Kind),
    /// The socket could not be opened.
    NotOpened(OpenFailure),
}

/// How badly a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Failure {
    /// It says nothing about the next call, such as a peer's port that is unreachable. It is counted and work goes on.
    Transient,
    /// The socket is of no more use. The port goes down and is opened again after `reopen`.
    Fatal(Kind),
}

/// What a hard failure was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// The network or the interface is gone.
    Unreachable,
    /// Anything else.
    Other,
}

/// Why a socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OpenFailure {
    /// Somebody else has the address.
    AddressInUse,
    /// The system does not permit it.
    Denied,
    /// The host name has no address, or it is none of this system.
    NoAddress,
    /// Descriptors or memory have run out.
    Exhausted,
    /// Anything else.
    Other,
}

/// What a read gave. The bytes may lie in two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes, no more than there was room for; none of an empty datagram.
    pub bytes: [&'a [u8]; 2],
    /// CNT if the buffer was filled or more was left, END with the datagram's last byte, both on an exact fit.
    pub eom: Eom,
    /// Who sent the datagram.
    pub peer: SocketAddr,
    /// Whether the datagram was longer than what was kept of it.
    pub truncated: bool,
    /// When it came.
    pub at: Instant,
}

/// Bytes that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pending {
    /// To be read.
    pub rx: usize,
    /// To be sent, those of a broadcast once for each peer.
    pub tx: usize,
}

/// What has happened since the port was made. The counts stop at their greatest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Datagrams that came, whatever became of them.
    pub received: u64,
    /// Their bytes, as the driver handed them in.
    pub bytes: u64,
    /// Those of them that were empty.
    pub empty: u64,
    /// Those of them that were cut, by the system or to the size of the ring.
    pub truncated: u64,
    /// Those of them that were dropped because the ring was full, on arrival or later.
    pub dropped_full: u64,
    /// Those of them that were given up before the reader had read them whole: after `cache_hold`, with a rest
    /// discarded, or when the port went down. What is flushed is not among them.
    pub unread: u64,
    /// Datagrams that the system dropped before they came here.
    pub kernel_dropped: u64,
    /// Calls that failed, and datagrams that were given up unsent when the port went down.
    pub failed: u64,
    /// Datagrams sent.
    pub sent: u64,
}
