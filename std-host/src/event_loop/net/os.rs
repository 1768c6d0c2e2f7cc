//! The real system: `mio` over epoll or kqueue.

use super::{Clock, ConnectOptions, ListenOptions, Net, NetId, Ready, Wake};
use crate::event_loop::{Error, Signal};
use crate::sys::errno;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    origin: std::time::Instant,
    sockets: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Given up for the moment when an accept finds no descriptor.
    reserve: Option<File>,
    signals: Option<Signals>,
}

struct Entry {
    socket: Kind,
    token: u64,
    watched: bool,
}

enum Kind {
    Listener(mio::net::TcpListener),
    Stream(mio::net::TcpStream),
}

struct Signals {
    pipe: mio::net::UnixStream,
    /// Duplicated for every signal that is watched.
    sender: UnixStream,
    watched: Vec<(Signal, Arc<AtomicBool>, Vec<signal_hook::SigId>)>,
    /// The pipe has reported something: flags may be up.
    pending: bool,
}

impl OsNet {
    pub(in crate::event_loop) fn new() -> Result<Self, Error> {
        let poll = Poll::new().map_err(|source| Error::io("create", "the system's poll", source))?;
        let waker =
            mio::Waker::new(poll.registry(), WAKER).map_err(|source| Error::io("create", "the waker", source))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker: Arc::new(move || {
                // It can fail only if the kernel has no memory for a counter that exists already.
                if let Err(error) = waker.wake() {
                    tracing::error!(%error, "cannot wake the loop");
                }
            }),
            origin: std::time::Instant::now(),
            sockets: Vec::new(),
            free: Vec::new(),
            reserve: open_reserve(),
            signals: None,
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

    fn stream(&mut self, id: NetId) -> io::Result<&mut mio::net::TcpStream> {
        match self.sockets.get_mut(id.0 as usize) {
            Some(Some(Entry { socket: Kind::Stream(stream), .. })) => Ok(stream),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn listener(&self, id: NetId) -> io::Result<&mio::net::TcpListener> {
        match self.entry(id) {
            Some(Entry { socket: Kind::Listener(listener), .. }) => Ok(listener),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn remove(&mut self, id: NetId) -> Option<Entry> {
        let mut entry = self.sockets.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        if entry.watched {
            let registry = self.poll.registry();
            let done = match &mut entry.socket {
                Kind::Listener(listener) => registry.deregister(listener),
                Kind::Stream(stream) => registry.deregister(stream),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "cannot take a socket out of the poll");
            }
        }
        Some(entry)
    }
}

impl Net for OsNet {
    fn now(&mut self) -> Instant {
        Instant::ORIGIN.saturating_add(self.origin.elapsed())
    }

    fn clock(&self) -> Option<Clock> {
        let origin = self.origin;
        Some(Arc::new(move || Instant::ORIGIN.saturating_add(origin.elapsed())))
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
            ready.push(Ready {
                token: entry.token,
                read: event.is_readable() || event.is_read_closed() || error,
                write: event.is_writable() || event.is_write_closed() || error,
                hung_up: event.is_read_closed() || event.is_write_closed() || error,
            });
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        Arc::clone(&self.waker)
    }

    fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> io::Result<NetId> {
        let socket = new_socket(addr)?;
        socket.set_reuse_address(true)?;
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
        self.reserve = None;
        let shed = self.listener(listener).and_then(mio::net::TcpListener::accept);
        let peer = shed.ok().map(|(_, peer)| peer);
        self.reserve = open_reserve();
        peer
    }

    fn connect(&mut self, to: SocketAddr, options: &ConnectOptions) -> io::Result<NetId> {
        let socket = new_socket(to)?;
        socket.set_tcp_nodelay(options.nodelay)?;
        if let Some(source) = options.source {
            socket.bind(&source.into())?;
        }
        match socket.connect(&to.into()) {
            Err(error) if !errno::is_in_progress(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(self.insert(Kind::Stream(mio::net::TcpStream::from_std(socket.into()))))
    }

    fn connected(&mut self, id: NetId) -> io::Result<bool> {
        let stream = self.stream(id)?;
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
        match (&mut entry.socket, entry.watched) {
            (Kind::Listener(listener), false) => registry.register(listener, name, interest)?,
            (Kind::Listener(listener), true) => registry.reregister(listener, name, interest)?,
            (Kind::Stream(stream), false) => registry.register(stream, name, interest)?,
            (Kind::Stream(stream), true) => registry.reregister(stream, name, interest)?,
        }
        (entry.token, entry.watched) = (token, true);
        Ok(())
    }

    fn read(&mut self, id: NetId, buf: &mut [u8]) -> io::Result<usize> {
        self.stream(id)?.read(buf)
    }

    fn write(&mut self, id: NetId, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let stream = self.stream(id)?;
        if let [piece] = pieces { stream.write(piece) } else { stream.write_vectored(pieces) }
    }

    fn end_output(&mut self, id: NetId) -> io::Result<()> {
        self.stream(id)?.shutdown(Shutdown::Write)
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
        match self.entry(id) {
            Some(Entry { socket: Kind::Stream(stream), .. }) => stream.local_addr(),
            Some(Entry { socket: Kind::Listener(listener), .. }) => listener.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn fd(&self, id: NetId) -> Option<BorrowedFd<'_>> {
        Some(match &self.entry(id)?.socket {
            Kind::Stream(stream) => stream.as_fd(),
            Kind::Listener(listener) => listener.as_fd(),
        })
    }

    fn take(&mut self, id: NetId) -> Option<OwnedFd> {
        Some(match self.remove(id)?.socket {
            Kind::Stream(stream) => TcpStream::from(stream).into(),
            Kind::Listener(listener) => std::net::TcpListener::from(listener).into(),
        })
    }

    fn watch_signal(&mut self, signal: Signal) -> io::Result<()> {
        let signals = match &mut self.signals {
            Some(signals) => signals,
            none => {
                let (sender, receiver) = UnixStream::pair()?;
                sender.set_nonblocking(true)?;
                receiver.set_nonblocking(true)?;
                let mut pipe = mio::net::UnixStream::from_std(receiver);
                self.poll.registry().register(&mut pipe, SIGNALS, Interest::READABLE)?;
                none.insert(Signals { pipe, sender, watched: Vec::new(), pending: false })
            }
        };
        if signals.watched.iter().all(|(known, ..)| *known != signal) {
            let arrived = Arc::new(AtomicBool::new(false));
            // Actions run in the order of their registration: the flag stands before the poll ends.
            let flag = signal_hook::flag::register(signal.number(), Arc::clone(&arrived))?;
            let sender = signals.sender.try_clone()?;
            let wake = signal_hook::low_level::pipe::register(signal.number(), sender)?;
            signals.watched.push((signal, arrived, vec![flag, wake]));
        }
        Ok(())
    }

    fn next_signal(&mut self) -> Option<Signal> {
        let signals = self.signals.as_mut().filter(|signals| signals.pending)?;
        // Emptied before the flags are looked at: a signal that comes after that makes a new edge.
        let mut scrap = [0; 64];
        while matches!(signals.pipe.read(&mut scrap), Ok(1..)) {}
        let arrived = signals.watched.iter().find(|(_, arrived, _)| arrived.swap(false, Ordering::AcqRel));
        signals.pending = arrived.is_some();
        arrived.map(|(signal, ..)| *signal)
    }
}

impl Drop for OsNet {
    fn drop(&mut self) {
        for (.., actions) in self.signals.iter().flat_map(|signals| &signals.watched) {
            for action in actions {
                signal_hook::low_level::unregister(*action);
            }
        }
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
