//! What a loop needs of the system, and nothing else.
//!
//! [`Net`] shows in no handler, socket or [`LoopMut`](super::LoopMut) type, so the same handlers run over the real
//! system and over a simulated one.

mod datagrams;
mod os;

pub use datagrams::{Arena, Ecn, Membership, More, Out, PacketInfo, UdpOptions, UdpSetting};
pub use os::Lookup;

pub(super) use os::OsNet;

use super::{Address, AnyStream, Signal};
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use wharf_core::Instant;

/// Ends the poll of a loop; called from any thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Reads the time of a [`Net`]; called from any thread.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Names a socket of a [`Net`], from its making to [`Net::close`]. An index: small, and used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetId(pub u32);

/// One event of [`Net::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What [`Net::watch`] was given for this socket.
    pub token: u64,
    /// Reading may bring something: bytes, the end or an error.
    pub read: bool,
    /// Writing may be possible, or say why not.
    pub write: bool,
    /// A hang-up or an error is pending, so that a short read does not mean that there is no more.
    pub hung_up: bool,
}

/// How to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that the system completes before they are accepted. 512.
    pub backlog: u32,
    /// Lets several listeners share the address (`SO_REUSEPORT`). Closing one first accepts what waits for it. Off.
    pub reuse_port: bool,
    /// Shares the address with nobody, not even with connections that an earlier listener left behind (no
    /// `SO_REUSEADDR`). Contradicts `reuse_port`. Off.
    pub exclusive: bool,
    /// An IPv6 listener takes no IPv4 connections. Off.
    pub v6only: bool,
    /// Accepted sockets send small packets at once (`TCP_NODELAY`). On.
    pub nodelay: bool,
    /// Accepting pauses while so many sockets of this listener exist. No limit.
    pub max_sockets: Option<u32>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 512, reuse_port: false, exclusive: false, v6only: false, nodelay: true, max_sockets: None }
    }
}

/// How to listen on a UNIX socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixListenOptions {
    /// Connections that the system completes before they are accepted. 512.
    pub backlog: u32,
    /// The mode bits of the path: who may connect. 0600.
    pub mode: u32,
    /// Accepting pauses while so many sockets of this listener exist. No limit.
    pub max_sockets: Option<u32>,
}

impl Default for UnixListenOptions {
    fn default() -> Self {
        Self { backlog: 512, mode: 0o600, max_sockets: None }
    }
}

/// How to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The longest wait for the connection, over resolving and all addresses, in whole milliseconds. 30 s.
    pub timeout: Duration,
    /// The address to connect from; only addresses of its family are tried then. Any.
    pub source: Option<SocketAddr>,
    /// Small packets leave at once (`TCP_NODELAY`). On.
    pub nodelay: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), source: None, nodelay: true }
    }
}

/// The answer to [`Net::resolve`].
#[derive(Debug)]
pub struct Resolved {
    /// What the query was called.
    pub query: u64,
    /// The addresses, best first, or why there are none.
    pub outcome: io::Result<Vec<SocketAddr>>,
}

/// The system as a loop sees it. No call but [`Net::poll`] waits: what cannot be done now is
/// [`io::ErrorKind::WouldBlock`].
///
/// Readiness is edge-triggered: an event comes when something has become possible, not while it is. Calls with an id
/// that is not open are [`io::ErrorKind::NotConnected`].
///
/// What a system may lack has a default body that says so.
#[expect(unused_variables, reason = "the defaults ignore what the names document")]
pub trait Net {
    /// The time since the loop's origin. Never goes back.
    fn now(&mut self) -> Instant;

    /// [`Net::now`] for whoever looks all the time: possibly up to 0.1 ms less, and so less than an earlier `now`.
    fn glance(&mut self) -> Instant {
        self.now()
    }

    /// What reads [`Net::now`] on any thread; without it the delay of deferred calls is not measured.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// Waits for events, at most `wait` (for ever if `None`), and appends them to `ready`.
    ///
    /// # Errors
    /// Whatever the system says; an interruption by a signal is none.
    fn poll(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// What ends a poll from any thread.
    fn waker(&self) -> Wake;

    /// A listener on `addr`.
    ///
    /// # Errors
    /// Whatever the system says.
    fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> io::Result<NetId>;

    /// The next connection of a listener.
    ///
    /// # Errors
    /// Whatever the system says.
    fn accept(&mut self, listener: NetId) -> io::Result<(NetId, SocketAddr)>;

    /// Refuses one connection with the help of the reserve descriptor, when there is no other. Whose, if there was one.
    fn shed(&mut self, listener: NetId) -> Option<SocketAddr>;

    /// Begins to connect. A write event follows; then [`Net::connected`] tells how it went.
    ///
    /// # Errors
    /// Whatever the system says.
    fn connect(&mut self, to: SocketAddr, options: &ConnectOptions) -> io::Result<NetId>;

    /// Whether a connection is established; false if it is still being tried.
    ///
    /// # Errors
    /// Why it failed.
    fn connected(&mut self, id: NetId) -> io::Result<bool>;

    /// Takes a connected stream over.
    ///
    /// # Errors
    /// Whatever the system says.
    fn adopt(&mut self, stream: TcpStream) -> io::Result<NetId>;

    /// Reports events of `id` from now on, and once for what is possible already: always for reading, for writing if
    /// asked. A repeated call changes the interest.
    ///
    /// # Errors
    /// Whatever the system says.
    fn watch(&mut self, id: NetId, token: u64, write: bool) -> io::Result<()>;

    /// Reads into `buf`; 0 is the end of the input.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read(&mut self, id: NetId, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes the beginning of `pieces` in one call.
    ///
    /// # Errors
    /// Whatever the system says.
    fn write(&mut self, id: NetId, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the output.
    ///
    /// # Errors
    /// Whatever the system says.
    fn end_output(&mut self, id: NetId) -> io::Result<()>;

    /// A UDP socket on `addr`.
    ///
    /// # Errors
    /// Whatever the system says.
    fn bind_udp(&mut self, addr: SocketAddr, options: &UdpOptions) -> io::Result<NetId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Connects a UDP socket to `peer`, or to nobody. The local address that it was bound to stays.
    ///
    /// # Errors
    /// Whatever the system says; it is connected to nobody then.
    fn connect_udp(&mut self, id: NetId, peer: Option<SocketAddr>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Changes a UDP socket.
    ///
    /// # Errors
    /// Whatever the system says.
    fn set_udp(&mut self, id: NetId, setting: &UdpSetting) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Receives at most `max` packets into the free places of `arena`: none only if there is no free place.
    ///
    /// # Errors
    /// Whatever the system says, an earlier packet that reached nobody included. Nothing was received then.
    fn receive_packets(&mut self, id: NetId, arena: &mut Arena, max: usize) -> io::Result<More> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends the first of `packets` and returns how many, at least one.
    ///
    /// # Errors
    /// Whatever the system says of the first packet, or of an earlier one that reached nobody. Nothing was sent then.
    fn send_packets(&mut self, id: NetId, packets: &[Out<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The next packet of a UDP socket that reached nobody, where the system keeps them: where it went, and why it did
    /// not arrive. Taking the last one takes the error along that the next call would have reported.
    fn next_unreached(&mut self, id: NetId) -> Option<(SocketAddr, io::Error)> {
        None
    }

    /// Gives `id` back; with `reset` the peer sees a reset in place of an end.
    fn close(&mut self, id: NetId, reset: bool);

    /// The address of this side.
    ///
    /// # Errors
    /// Whatever the system says.
    fn local_addr(&self, id: NetId) -> io::Result<SocketAddr>;

    /// The descriptor behind `id`, if there is one.
    fn fd(&self, id: NetId) -> Option<BorrowedFd<'_>>;

    /// Takes the descriptor out, which is not watched any more; `id` is given back. `None`, and nothing has changed, if
    /// the system has none to give.
    fn take(&mut self, id: NetId) -> Option<OwnedFd>;

    /// Ends polls when `signal` arrives.
    ///
    /// # Errors
    /// Whatever the system says.
    fn watch_signal(&mut self, signal: Signal) -> io::Result<()>;

    /// The next watched signal that has arrived. Signals of one kind may be merged.
    fn next_signal(&mut self) -> Option<Signal>;

    /// A listener on a UNIX socket. A path without an answer is replaced; the path goes with the listener.
    ///
    /// # Errors
    /// Whatever the system says.
    fn listen_unix(&mut self, at: &Address, options: &UnixListenOptions) -> io::Result<NetId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The next connection of a listener on a UNIX socket.
    ///
    /// # Errors
    /// Whatever the system says.
    fn accept_unix(&mut self, listener: NetId) -> io::Result<(NetId, Address)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// [`Net::shed`] on a UNIX socket.
    fn shed_unix(&mut self, listener: NetId) -> Option<Address> {
        None
    }

    /// [`Net::connect`] to a UNIX socket. [`io::ErrorKind::WouldBlock`]: its backlog is full.
    ///
    /// # Errors
    /// Whatever the system says.
    fn connect_unix(&mut self, to: &Address) -> io::Result<NetId> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// [`Net::adopt`] of what need not be a TCP stream.
    ///
    /// # Errors
    /// Whatever the system says.
    fn adopt_any(&mut self, stream: AnyStream) -> io::Result<NetId> {
        match stream {
            AnyStream::Tcp(stream) => self.adopt(stream),
            AnyStream::Unix(_) | AnyStream::Other(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// [`Net::local_addr`] of what need not have an IP address.
    ///
    /// # Errors
    /// Whatever the system says.
    fn local(&self, id: NetId) -> io::Result<Address> {
        self.local_addr(id).map(Address::Inet)
    }

    /// The address of the other side of a stream; [`Address::Unnamed`] if it has none, or none any more.
    ///
    /// # Errors
    /// Whatever the system says.
    fn peer(&self, id: NetId) -> io::Result<Address> {
        Ok(Address::Unnamed)
    }

    /// Begins to look a host up. The answer ends a poll and comes by [`Net::next_resolved`].
    ///
    /// # Errors
    /// [`io::ErrorKind::QuotaExceeded`] if too many names are waiting, else whatever the system says.
    fn resolve(&mut self, query: u64, host: &str, port: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The answer to a query is not wanted any more. It may come nevertheless.
    fn forget(&mut self, query: u64) {}

    /// The next answer to a query.
    fn next_resolved(&mut self) -> Option<Resolved> {
        None
    }
}
