//! What a user of the loop writes: a [`Handler`] per kind of socket.

use super::net::{Net, NetId};
use super::{Address, ClientHello, CloseReason, Error, ListenerId, LoopMut, NameChoice, Socket, SocketId};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use wharf_core::Instant;

/// The callbacks of the sockets of one context, which share one `Handler` and have a `Data` value each.
///
/// Callbacks never nest. A socket sees `open` first, then all its bytes, then one `close`, then nothing; one that never
/// opened sees one `connect_error` instead, or nothing after `cancel`.
#[expect(unused_variables, reason = "the defaults ignore what the names document")]
pub trait Handler<T: 'static = ()>: 'static {
    /// What belongs to each socket.
    type Data: Default + 'static;

    /// Whether the handler reads by itself: then `readable` is called in place of `data`. Asked once, when the context
    /// is made.
    fn manual_read(&self) -> bool {
        false
    }

    /// A descriptor that was accepted, or that is connecting, before anything else: the place to set options.
    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        PreOpen::Keep
    }

    /// The socket is usable.
    fn open(&mut self, s: &mut Socket<'_, T, Self::Data>, how: Opened) {}

    /// Bytes have arrived. They lie in the loop's shared receive buffer and are valid during the call.
    fn data(&mut self, s: &mut Socket<'_, T, Self::Data>, bytes: &[u8]) {}

    /// Instead of `data`, if [`Handler::manual_read`] says so: something can be read by
    /// [`Stream::read`](super::Stream::read), or the end can. It comes again, without news from the system, as long as
    /// the handler reads something and leaves something.
    fn readable(&mut self, s: &mut Socket<'_, T, Self::Data>) {}

    /// After a write that took less than it was offered: there is room again, and at most half the queue's limit is in
    /// use.
    fn writable(&mut self, s: &mut Socket<'_, T, Self::Data>) {}

    /// The queue has become empty.
    fn drained(&mut self, s: &mut Socket<'_, T, Self::Data>) {}

    /// The peer has ended its side and all its bytes have been delivered. By default what is queued is sent, and then
    /// the socket is closed; a handler that keeps its own side open says so by an empty body.
    fn end(&mut self, s: &mut Socket<'_, T, Self::Data>) {
        finish_at_the_end(s);
    }

    /// The timeout set by [`Stream::set_timeout`](super::Stream::set_timeout) or
    /// [`Stream::set_idle_timeout`](super::Stream::set_idle_timeout) has passed. Once per setting.
    fn timeout(&mut self, s: &mut Socket<'_, T, Self::Data>) {}

    /// The timeout set by [`Stream::set_long_timeout`](super::Stream::set_long_timeout) has passed. Once per setting.
    fn long_timeout(&mut self, s: &mut Socket<'_, T, Self::Data>) {}

    /// The last call for a socket. Its id is stale from now on.
    fn close(&mut self, lp: &mut LoopMut<'_, T>, closed: Closed<Self::Data>) {}

    /// A connection did not come about. Its id is stale from now on.
    fn connect_error(&mut self, lp: &mut LoopMut<'_, T>, failed: ConnectFailed<Self::Data>) {}

    /// A TLS client whose server name none of [`TlsConfig::add_server_name`](super::TlsConfig::add_server_name) fits,
    /// or that gives none: which configuration answers.
    fn server_name(&mut self, hello: &ClientHello<'_>) -> NameChoice {
        NameChoice::Default
    }

    /// A connection could not be accepted.
    fn accept_error(&mut self, lp: &mut LoopMut<'_, T>, id: ListenerId, failed: AcceptFailed) {}
}

/// The default of [`Handler::end`].
pub(super) fn finish_at_the_end<T, D>(s: &mut Socket<'_, T, D>) {
    // A socket that is closed already cannot be finished, and need not be.
    let _ = s.finish();
}

/// What becomes of a descriptor after [`Handler::pre_open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreOpen {
    /// It becomes a socket of the loop.
    Keep,
    /// It is closed. Connecting goes on at the next address, and ends with `connect_error` if there is none.
    Reject,
    /// The same by a reset, so that the peer learns at once that it was turned away.
    Reset,
    /// The handler has it, by [`RawSocket::take`], and the loop forgets it without a callback. One that was not taken
    /// is closed.
    Take,
}

/// How the system finds out that a silent peer is gone. Spans are whole seconds to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// From one probe to the next.
    pub interval: Duration,
    /// Probes without an answer after which the connection is given up.
    pub probes: u32,
}

/// A descriptor before it is a socket of the loop.
pub struct RawSocket<'a> {
    net: &'a mut dyn Net,
    id: NetId,
    peer: &'a Address,
    taken: bool,
    answered: bool,
}

impl<'a> RawSocket<'a> {
    pub(super) fn new(net: &'a mut dyn Net, id: NetId, peer: &'a Address) -> Self {
        Self { net, id, peer, taken: false, answered: false }
    }

    /// The address of the other side.
    #[must_use]
    pub const fn peer(&self) -> &Address {
        self.peer
    }

    /// The IP address of the other side; `0.0.0.0:0` if it has none.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer.inet().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// The clock of the loop: [`LoopMut::clock`].
    #[must_use]
    pub fn clock(&mut self) -> Instant {
        self.net.now()
    }

    /// The descriptor, for setting options; `None` in a simulated world and after [`RawSocket::take`].
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.taken { None } else { self.net.fd(self.id) }
    }

    /// Whether small packets leave at once (`TCP_NODELAY`). Without a descriptor it does nothing.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says.
    pub fn set_nodelay(&self, on: bool) -> Result<(), Error> {
        self.set("set nodelay on", |socket| socket.set_tcp_nodelay(on))
    }

    /// Whether and how the system looks after a silent peer (`SO_KEEPALIVE`). Without a descriptor it does nothing.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> Result<(), Error> {
        self.set("set keepalive on", |socket| match keepalive {
            Some(Keepalive { idle, interval, probes }) => {
                let parameters = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval);
                socket.set_tcp_keepalive(&parameters.with_retries(probes))
            }
            None => socket.set_keepalive(false),
        })
    }

    /// The sizes in bytes of the system's send and receive buffers, where given. Without a descriptor it does nothing.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says.
    pub fn set_buffers(&self, send: Option<usize>, receive: Option<usize>) -> Result<(), Error> {
        self.set("set buffers on", |socket| {
            send.map_or(Ok(()), |bytes| socket.set_send_buffer_size(bytes))?;
            receive.map_or(Ok(()), |bytes| socket.set_recv_buffer_size(bytes))
        })
    }

    /// Takes the descriptor out, after which only [`PreOpen::Take`] can be the answer. `None` if it is gone already.
    pub fn take(&mut self) -> Option<OwnedFd> {
        let fd = if self.taken { None } else { self.net.take(self.id) };
        self.taken |= fd.is_some();
        fd
    }

    pub(super) const fn is_taken(&self) -> bool {
        self.taken
    }

    /// Asks the handler what is to become of the descriptor. `None`: it is gone.
    pub(super) fn ask(mut self, ask: impl FnOnce(&mut Self) -> PreOpen) -> Option<PreOpen> {
        let answer = ask(&mut self);
        self.answered = true;
        if self.taken { None } else { Some(answer) }
    }

    fn set(&self, op: &'static str, f: impl FnOnce(&socket2::SockRef<'_>) -> std::io::Result<()>) -> Result<(), Error> {
        let Some(fd) = self.as_fd() else { return Ok(()) };
        f(&socket2::SockRef::from(&fd.as_fd())).map_err(|source| Error::io(op, self.peer, source))
    }
}

/// A handler that panics leaves no answer, and nobody else knows of the descriptor yet.
impl Drop for RawSocket<'_> {
    fn drop(&mut self) {
        if !self.answered && !self.taken {
            self.net.close(self.id, false);
        }
    }
}

impl std::fmt::Debug for RawSocket<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawSocket").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// How a socket came to be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A listener accepted it.
    Accepted,
    /// `connect` succeeded.
    Connected,
    /// `adopt` took it over.
    Adopted,
}

/// The end of a socket, with its data handed back.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed<D> {
    /// Its id, stale now.
    pub id: SocketId,
    /// Its data.
    pub data: D,
    /// Why it was closed.
    pub reason: CloseReason,
    /// Bytes that were queued and are lost. With TLS, of records that have left in part the peer may have some.
    pub unsent: u64,
    /// Bytes received, those that were thrown away included.
    pub received: u64,
    /// Bytes that the system took for sending; with TLS, those of records that have left whole.
    pub sent: u64,
}

/// A connection that did not come about, with its data handed back.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectFailed<D> {
    /// Its id, stale now.
    pub id: SocketId,
    /// Its data.
    pub data: D,
    /// The last error.
    pub error: Error,
    /// The number of addresses that were tried.
    pub tried: u32,
}

/// Why a connection could not be accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptFailed {
    /// This connection failed; the next may not.
    Transient(Error),
    /// There are no descriptors or no memory: accepting pauses.
    Exhausted {
        /// What the system said.
        error: Error,
        /// The length of the pause.
        pause: Duration,
        /// The client that was turned away with the help of the reserve, so that it does not wait for nothing.
        refused: Option<Address>,
    },
    /// The listener is closed.
    Fatal(Error),
}
