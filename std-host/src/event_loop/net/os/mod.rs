//! The real system: `mio` over epoll or kqueue.

mod resolver;
mod signals;
mod start_lock;
mod udp;
mod unix;

pub use resolver::Lookup;

use super::{Arena, More, Out, UdpOptions, UdpSetting};
use super::{Clock, ConnectOptions, ListenOptions, Net, NetId, Ready, Resolved, UnixListenOptions, Wake};
use crate::event_loop::{Address, AnyStream, Error, Signal};
use crate::sys::datagrams::Datagrams;
use crate::sys::{clock, errno};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use resolver::Resolver;
use signals::Signals;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;
use wharf_core::Instant;

/// Events taken from the system at a time.
const EVENTS: usize = 1024;
const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);

/// The system that this process runs on.
///
/// Events of `mio` carry the index of a socket here. That is safe because a loop gives sockets back only between two
/// polls, and closing one takes its pending events with it.
pub(in crate::event_loop) struct OsNet {
    poll: Poll,
    events: Events,
    waker: Wake,
    /// The system's clock when the loop was made, in microseconds.
    origin: u64,
    glances: clock::Glances,
    sockets: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Given up for the moment when an accept finds no descriptor.
    reserve: Option<File>,
    signals: Option<Signals>,
    resolver: Resolver,
    /// Made at the first bind.
    datagrams: Option<Datagrams>,
}

struct Entry {
    socket: Kind,
    token: u64,
    watched: bool,
}

enum Kind {
    Listener(mio::net::TcpListener),
    Stream(mio::net::TcpStream),
    /// Boxed, or its path would make every entry larger.
    UnixListener(Box<unix::Listener>),
    UnixStream(mio::net::UnixStream),
    /// No socket: a pseudo-terminal, a FIFO.
    File(File),
    Udp(Box<udp::UdpSocket>),
}

impl Kind {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
            Self::UnixListener(listener) => listener.socket.as_fd(),
            Self::UnixStream(stream) => stream.as_fd(),
            Self::File(file) => file.as_fd(),
            Self::Udp(udp) => udp.fd(),
        }
    }
}

impl OsNet {
    /// Names are looked up by `lookup`, or else by the system, on so many threads.
    pub(in crate::event_loop) fn new(threads: usize, lookup: Option<Lookup>) -> Result<Self, Error> {
        let poll = Poll::new().map_err(|source| Error::io("create", "the system's poll", source))?;
        let waker =
            mio::Waker::new(poll.registry(), WAKER).map_err(|source| Error::io("create", "the waker", source))?;
        let waker: Wake = Arc::new(move || {
            // It can fail only if the kernel has no memory for a counter that exists already.
            if let Err(error) = waker.wake() {
                tracing::error!(%error, "cannot wake the loop");
            }
        });
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            resolver: Resolver::new(lookup.unwrap_or_else(resolver::system), threads, &waker),
            waker,
            origin: clock::monotonic_micros(),
            glances: clock::Glances::new(),
            sockets: Vec::new(),
            free: Vec::new(),
            reserve: open_reserve(),
            signals: None,
            datagrams: None,
        })
    }

    fn insert(&mut self, socket: Kind) -> NetId {
        let entry = Some(Entry { socket, token: 0, watched: false });
        if let Some(index) = self.free.pop() {
            self.sockets[index as usize] = entry;
            return NetId(index);
        }
        let index = u32::try_from(self.sockets.len()).expect("there are fewer than 2^32 descriptors");
        self.sockets.push(entry);
        NetId(index)
    }

    fn entry(&self, id: NetId) -> Option<&Entry> {
        self.sockets.get(id.0 as usize)?.as_ref()
    }

    fn kind(&mut self, id: NetId) -> io::Result<&mut Kind> {
        match self.sockets.get_mut(id.0 as usize) {
            Some(Some(entry)) => Ok(&mut entry.socket),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn listener(&self, id: NetId) -> io::Result<&mio::net::TcpListener> {
        match self.entry(id) {
            Some(Entry { socket: Kind::Listener(listener), .. }) => Ok(listener),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn unix_listener(&self, id: NetId) -> io::Result<&mio::net::UnixListener> {
        match self.entry(id) {
            Some(Entry { socket: Kind::UnixListener(listener), .. }) => Ok(&listener.socket),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// A UDP socket, and what its calls need.
    fn udp(&mut self, id: NetId) -> io::Result<(&mut udp::UdpSocket, &mut Datagrams)> {
        match (self.sockets.get_mut(id.0 as usize), &mut self.datagrams) {
            (Some(Some(Entry { socket: Kind::Udp(udp), .. })), Some(datagrams)) => Ok((udp, datagrams)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Does what needs one descriptor more than there are, by giving the reserve up for the moment. `f` must have
    /// closed what it opened when it returns.
    fn with_reserve<R>(&mut self, f: impl FnOnce(&Self) -> io::Result<R>) -> Option<R> {
        self.reserve = None;
        let done = f(self).ok();
        self.reserve = open_reserve();
        done
    }

    fn remove(&mut self, id: NetId) -> Option<Entry> {
        let entry = self.sockets.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        if entry.watched
            && let Err(error) = self.poll.registry().deregister(&mut SourceFd(&entry.socket.fd().as_raw_fd()))
        {
            tracing::warn!(%error, "cannot take a socket out of the poll");
        }
        Some(entry)
    }
}

impl Net for OsNet {
    fn now(&mut self) -> Instant {
        Instant::from_micros(clock::monotonic_micros().saturating_sub(self.origin))
    }

    fn glance(&mut self) -> Instant {
        Instant::from_micros(self.glances.micros().saturating_sub(self.origin))
    }

    fn clock(&self) -> Option<Clock> {
        let origin = self.origin;
        Some(Arc::new(move || Instant::from_micros(clock::monotonic_micros().saturating_sub(origin))))
    }

    fn poll(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            if let (SIGNALS, Some(signals)) = (event.token(), &mut self.signals) {
                signals.pending = true;
            }
            // The waker has done its work by ending the poll.
            let Some(Some(entry)) = self.sockets.get(event.token().0) else { continue };
            let error = event.is_error();
            // What went wrong with a packet makes no room for others.
            let unwritable = matches!(entry.socket, Kind::Udp(_)) && !event.is_writable();
            ready.push(Ready {
                token: entry.token,
                read: event.is_readable() || event.is_read_closed() || error,
                write: !unwritable && (event.is_writable() || event.is_write_closed() || error),
                hung_up: event.is_read_closed() || event.is_write_closed() || error,
            });
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        Arc::clone(&self.waker)
    }

    fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> io::Result<NetId> {
        if options.exclusive && options.reuse_port {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an exclusive address cannot be shared"));
        }
        let socket = new_socket(addr)?;
        socket.set_reuse_address(!options.exclusive)?;
        if addr.is_ipv6() {
            socket.set_only_v6(options.v6only)?;
        }
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(options.nodelay)?;
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(self.insert(Kind::Listener(mio::net::TcpListener::from_std(socket.into()))))
    }

    fn accept(&mut self, listener: NetId) -> io::Result<(NetId, SocketAddr)> {
        let (stream, peer) = self.listener(listener)?.accept()?;
        Ok((self.insert(Kind::Stream(stream)), peer))
    }

    fn shed(&mut self, listener: NetId) -> Option<SocketAddr> {
        self.with_reserve(|net| net.listener(listener)?.accept().map(|(_, peer)| peer))
    }

    fn connect(&mut self, to: SocketAddr, options: &ConnectOptions) -> io::Result<NetId> {
        let socket = new_socket(to)?;
        socket.set_tcp_nodelay(options.nodelay)?;
        if let Some(source) = options.source {
            // Attempts at several addresses share a port that was asked for.
            socket.set_reuse_address(source.port() != 0)?;
            socket.bind(&source.into())?;
        }
        match socket.connect(&to.into()) {
            Err(error) if !errno::is_in_progress(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(self.insert(Kind::Stream(mio::net::TcpStream::from_std(socket.into()))))
    }

    fn connected(&mut self, id: NetId) -> io::Result<bool> {
        let stream = self.entry(id).ok_or(io::ErrorKind::NotConnected)?.socket.fd();
        let stream = SockRef::from(&stream);
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn adopt(&mut self, stream: TcpStream) -> io::Result<NetId> {
        stream.set_nonblocking(true)?;
        Ok(self.insert(Kind::Stream(mio::net::TcpStream::from_std(stream))))
    }

    fn watch(&mut self, id: NetId, token: u64, write: bool) -> io::Result<()> {
        let interest = if write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let Some(Some(entry)) = self.sockets.get_mut(id.0 as usize) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let (registry, name) = (self.poll.registry(), Token(id.0 as usize));
        let fd = entry.socket.fd().as_raw_fd();
        if entry.watched {
            registry.reregister(&mut SourceFd(&fd), name, interest)?;
        } else {
            registry.register(&mut SourceFd(&fd), name, interest)?;
        }
        (entry.token, entry.watched) = (token, true);
        Ok(())
    }

    fn read(&mut self, id: NetId, buf: &mut [u8]) -> io::Result<usize> {
        match self.kind(id)? {
            Kind::Stream(stream) => stream.read(buf),
            Kind::UnixStream(stream) => stream.read(buf),
            Kind::File(file) => match file.read(buf) {
                Err(error) if errno::is_end_of_file(&error) => Ok(0),
                other => other,
            },
            Kind::Listener(_) | Kind::UnixListener(_) | Kind::Udp(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn write(&mut self, id: NetId, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        fn write(mut to: impl Write, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            if let [piece] = pieces { to.write(piece) } else { to.write_vectored(pieces) }
        }
        match self.kind(id)? {
            Kind::Stream(stream) => write(stream, pieces),
            Kind::UnixStream(stream) => write(stream, pieces),
            Kind::File(file) => write(file, pieces),
            Kind::Listener(_) | Kind::UnixListener(_) | Kind::Udp(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn end_output(&mut self, id: NetId) -> io::Result<()> {
        match self.kind(id)? {
            Kind::Stream(stream) => stream.shutdown(Shutdown::Write),
            Kind::UnixStream(stream) => stream.shutdown(Shutdown::Write),
            Kind::File(_) => Err(io::ErrorKind::Unsupported.into()),
            Kind::Listener(_) | Kind::UnixListener(_) | Kind::Udp(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn bind_udp(&mut self, addr: SocketAddr, options: &UdpOptions) -> io::Result<NetId> {
        let socket = udp::UdpSocket::bind(addr, options)?;
        self.datagrams.get_or_insert_with(Datagrams::new);
        Ok(self.insert(Kind::Udp(Box::new(socket))))
    }

    fn connect_udp(&mut self, id: NetId, peer: Option<SocketAddr>) -> io::Result<()> {
        self.udp(id)?.0.connect(peer)
    }

    fn set_udp(&mut self, id: NetId, setting: &UdpSetting) -> io::Result<()> {
        self.udp(id)?.0.set(setting)
    }

    fn receive_packets(&mut self, id: NetId, arena: &mut Arena, max: usize) -> io::Result<More> {
        let (socket, datagrams) = self.udp(id)?;
        datagrams.receive(socket.fd(), arena, max)
    }

    fn send_packets(&mut self, id: NetId, packets: &[Out<'_>]) -> io::Result<usize> {
        let (socket, datagrams) = self.udp(id)?;
        datagrams.send(socket.fd(), packets, socket.is_v6())
    }

    #[cfg(target_os = "linux")]
    fn next_unreached(&mut self, id: NetId) -> Option<(SocketAddr, io::Error)> {
        crate::sys::datagrams::next_unreached(self.udp(id).ok()?.0.fd())
    }

    fn close(&mut self, id: NetId, reset: bool) {
        if let Some(Entry { socket: Kind::Stream(stream), .. }) = self.remove(id)
            && reset
            && let Err(error) = SockRef::from(&stream).set_linger(Some(Duration::ZERO))
        {
            tracing::debug!(%error, "closing without the reset that was asked for");
        }
    }

    fn local_addr(&self, id: NetId) -> io::Result<SocketAddr> {
        self.local(id)?.inet().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn fd(&self, id: NetId) -> Option<BorrowedFd<'_>> {
        Some(self.entry(id)?.socket.fd())
    }

    fn take(&mut self, id: NetId) -> Option<OwnedFd> {
        Some(match self.remove(id)?.socket {
            Kind::Stream(stream) => TcpStream::from(stream).into(),
            Kind::Listener(listener) => std::net::TcpListener::from(listener).into(),
            Kind::UnixStream(stream) => UnixStream::from(stream).into(),
            Kind::UnixListener(listener) => UnixListener::from(listener.socket).into(),
            Kind::File(file) => file.into(),
            Kind::Udp(udp) => udp.into_fd(),
        })
    }

    fn watch_signal(&mut self, signal: Signal) -> io::Result<()> {
        let signals = match &mut self.signals {
            Some(signals) => signals,
            none => none.insert(Signals::new(self.poll.registry(), SIGNALS)?),
        };
        signals.watch(signal)
    }

    fn next_signal(&mut self) -> Option<Signal> {
        self.signals.as_mut()?.next()
    }

    fn listen_unix(&mut self, at: &Address, options: &UnixListenOptions) -> io::Result<NetId> {
        let listener = unix::Listener::new(at, options)?;
        Ok(self.insert(Kind::UnixListener(Box::new(listener))))
    }

    fn accept_unix(&mut self, listener: NetId) -> io::Result<(NetId, Address)> {
        let (stream, peer) = self.unix_listener(listener)?.accept()?;
        Ok((self.insert(Kind::UnixStream(stream)), peer.into()))
    }

    fn shed_unix(&mut self, listener: NetId) -> Option<Address> {
        self.with_reserve(|net| net.unix_listener(listener)?.accept().map(|(_, peer)| peer.into()))
    }

    fn connect_unix(&mut self, to: &Address) -> io::Result<NetId> {
        let stream = unix::connect(to)?;
        Ok(self.insert(Kind::UnixStream(stream)))
    }

    fn adopt_any(&mut self, stream: AnyStream) -> io::Result<NetId> {
        let kind = match stream {
            AnyStream::Tcp(stream) => return self.adopt(stream),
            AnyStream::Unix(stream) => {
                stream.set_nonblocking(true)?;
                Kind::UnixStream(mio::net::UnixStream::from_std(stream))
            }
            AnyStream::Other(fd) => {
                rustix::io::ioctl_fionbio(&fd, true)?;
                Kind::File(File::from(fd))
            }
        };
        Ok(self.insert(kind))
    }

    fn local(&self, id: NetId) -> io::Result<Address> {
        match self.entry(id).map(|entry| &entry.socket) {
            Some(Kind::Stream(stream)) => stream.local_addr().map(Address::Inet),
            Some(Kind::Udp(udp)) => udp.local_addr().map(Address::from),
            Some(Kind::Listener(listener)) => listener.local_addr().map(Address::Inet),
            Some(Kind::UnixStream(stream)) => stream.local_addr().map(Address::from),
            Some(Kind::UnixListener(listener)) => listener.socket.local_addr().map(Address::from),
            Some(Kind::File(_)) => Ok(Address::Unnamed),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn peer(&self, id: NetId) -> io::Result<Address> {
        match self.entry(id).map(|entry| &entry.socket) {
            Some(Kind::Stream(stream)) => match stream.peer_addr() {
                // Both ends are over, or it was reset: it has no name any more, but what it sent may wait to be read.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(Address::Unnamed),
                named => named.map(Address::Inet),
            },
            Some(Kind::UnixStream(stream)) => stream.peer_addr().map(Address::from),
            Some(Kind::File(_) | Kind::Listener(_) | Kind::UnixListener(_) | Kind::Udp(_)) => Ok(Address::Unnamed),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn resolve(&mut self, query: u64, host: &str, port: u16) -> io::Result<()> {
        self.resolver.resolve(query, host, port)
    }

    fn forget(&mut self, query: u64) {
        self.resolver.forget(query);
    }

    fn next_resolved(&mut self) -> Option<Resolved> {
        self.resolver.next()
    }
}

/// A socket for the family of `addr` that never blocks.
fn new_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Any descriptor will do. Without one the loop still works, but cannot turn clients away when descriptors run out.
fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        // Without optimization mio's sockets carry a check of their own, of 8 bytes.
        assert!(size_of::<Option<Entry>>() <= 40, "{} bytes", size_of::<Option<Entry>>());
    }
}
