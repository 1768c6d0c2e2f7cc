//! Modbus TCP servers on the event loop.
//!
//! A [`Server`] listens, admits, and drives one machine of the core per connection; who answers, and what, is decided in
//! the core. It belongs to one loop, and everything that it shares lies in one place that its sockets and timers reach.

mod connection;
mod device;
mod event;
mod storage;
#[cfg(test)]
mod tests;

pub use event::{ConnectionId, Event, Rejection, Statistics};
pub use storage::Heap;

use crate::config::modbus as plant;
use crate::event_loop::{
    AcceptFailed, CloseReason, Closed, ContextKey, Error, Handler, Keepalive, ListenOptions, ListenerId, LoopMut,
    Opened, PreOpen, RawSocket, Socket, SocketId,
};
use connection::Peer;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use storage::Pool;
use wharf_core::modbus::server::{Config, Input, Reason};
use wharf_core::modbus::units::Units;

/// What all connections of a server share.
struct Shared {
    /// The context of the sockets; set before there are any.
    key: OnceCell<ContextKey<Connections>>,
    units: RefCell<Units<Heap>>,
    pool: RefCell<Pool>,
    config: Config,
    observer: Box<dyn Fn(&Event)>,
    active: Cell<u32>,
    accepted: Cell<ConnectionId>,
    stopping: Cell<bool>,
    cut: Cell<u64>,
}

impl Shared {
    fn key(&self) -> ContextKey<Connections> {
        *self.key.get().expect("a server has its context before it listens")
    }

    fn emit(&self, event: &Event) {
        (self.observer)(event);
    }

    /// Says that the server has ended, once nothing is left of it.
    fn stopped(&self) {
        if self.stopping.get() && self.active.get() == 0 {
            let cut = self.cut.get();
            self.emit(&Event::Stopped { graceful: cut == 0, cut });
        }
    }
}

/// A running server. Dropping it changes nothing: the loop keeps its sockets.
pub struct Server {
    shared: Rc<Shared>,
    listeners: Vec<(ListenerId, SocketAddr)>,
    shutdown_timeout: Option<Duration>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the listeners of a server; all of them, or none. `observer` sees every event of the server, on the loop.
    ///
    /// # Errors
    /// [`Error::Io`] with operation, address and cause.
    ///
    /// # Panics
    /// If the description contradicts itself, as one that was read from a file never does: overlapping blocks, units
    /// twice.
    pub fn bind<T>(
        lp: &mut LoopMut<'_, T>,
        described: &plant::Server,
        observer: impl Fn(&Event) + 'static,
    ) -> Result<Self, Error> {
        let units = device::units(described).expect("the plant was checked when it was read");
        let shared = Rc::new(Shared {
            key: OnceCell::new(),
            units: RefCell::new(units),
            pool: RefCell::new(Pool::new(described.max_outstanding.into())),
            config: device::connection(described),
            observer: Box::new(observer),
            active: Cell::new(0),
            accepted: Cell::new(0),
            stopping: Cell::new(false),
            cut: Cell::new(0),
        });
        let key = lp.context(Connections { shared: Rc::clone(&shared), admission: Admission::new(described) });
        shared.key.get_or_init(|| key);
        let mut server = Self { shared, listeners: Vec::new(), shutdown_timeout: described.shutdown_timeout };
        for address in &described.listen {
            match server.listen(lp, *address, described) {
                Ok(listener) => server.listeners.push(listener),
                Err(error) => {
                    server.close_listeners(lp);
                    return Err(error);
                }
            }
        }
        for (_, address) in &server.listeners {
            server.shared.emit(&Event::Started { address: *address });
        }
        Ok(server)
    }

    /// The addresses really bound, in order of the description.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|(_, address)| *address)
    }

    /// The first call closes the listeners and lets every connection end in order, by force after `shutdown_timeout`. The
    /// second call, and any other, cuts at once. [`Event::Stopped`] comes last.
    pub fn shutdown<T>(&mut self, lp: &mut LoopMut<'_, T>) {
        if self.shared.stopping.replace(true) {
            return cut(lp, &self.shared);
        }
        self.close_listeners(lp);
        each(lp, &self.shared, || Input::Drain);
        self.shared.stopped();
        if let Some(timeout) = self.shutdown_timeout.filter(|_| self.shared.active.get() > 0) {
            let shared = Rc::clone(&self.shared);
            let timer = lp.add_timer(timeout, None, move |lp, _| cut(lp, &shared));
            // It must not keep a loop alive whose connections have all ended.
            let unref = timer.and_then(|timer| lp.unref_timer(timer, true));
            unref.expect("a timeout of the plant is within the range of timers");
        }
    }

    fn listen<T>(
        &self,
        lp: &mut LoopMut<'_, T>,
        address: SocketAddr,
        described: &plant::Server,
    ) -> Result<(ListenerId, SocketAddr), Error> {
        let options = ListenOptions {
            backlog: described.backlog.into(),
            v6only: true,
            nodelay: described.nodelay,
            ..ListenOptions::default()
        };
        let id = lp.listen(address, self.shared.key(), options)?;
        Ok((id, lp.listener(id)?.local_addr()))
    }

    fn close_listeners<T>(&mut self, lp: &mut LoopMut<'_, T>) {
        for (id, _) in &self.listeners {
            if let Ok(listener) = lp.listener(*id) {
                listener.close();
            }
        }
    }
}

/// Ends every connection at once.
fn cut<T>(lp: &mut LoopMut<'_, T>, shared: &Shared) {
    each(lp, shared, || Input::Abort { reason: Reason::ShutdownForced });
}

/// Gives every connection an input.
fn each<T>(lp: &mut LoopMut<'_, T>, shared: &Shared, input: impl Fn() -> Input<'static>) {
    let key = shared.key();
    let ids: Vec<SocketId> = lp.sockets(key).collect();
    for id in ids {
        // One that has closed meanwhile needs no input.
        let _ = lp.with_socket(key, id, |s| drive(s, |peer, stream| peer.input(shared, stream, input())));
    }
}

/// Who may connect.
struct Admission {
    max_connections: u32,
    reset: bool,
    keepalive: Option<Keepalive>,
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
}

impl Admission {
    fn new(described: &plant::Server) -> Self {
        let keepalive = described.keepalive.map(|keepalive| {
            let seconds = |seconds: u32| Duration::from_secs(seconds.into());
            Keepalive {
                idle: seconds(keepalive.idle_seconds),
                interval: seconds(keepalive.interval_seconds),
                probes: keepalive.probes,
            }
        });
        Self {
            max_connections: described.max_connections,
            reset: described.reject_with == plant::RejectWith::Reset,
            keepalive,
            receive_buffer: described.receive_buffer.map(|bytes| bytes as usize),
            send_buffer: described.send_buffer.map(|bytes| bytes as usize),
        }
    }

    fn options(&self, raw: &RawSocket<'_>) -> Result<(), Error> {
        raw.set_keepalive(self.keepalive)?;
        raw.set_buffers(self.send_buffer, self.receive_buffer)
    }
}

/// The callbacks of a server's sockets.
struct Connections {
    shared: Rc<Shared>,
    admission: Admission,
}

/// Lets `f` act on a connection, then sees to its timer.
fn drive<T>(s: &mut Socket<'_, T, Peer>, f: impl FnOnce(&mut Peer, &mut crate::event_loop::Stream<'_, T>)) {
    let (peer, stream) = s.split();
    f(peer, stream);
    let (peer, lp) = s.parts();
    if let Some(timer) = peer.timer {
        peer.arm(lp, timer);
    }
}

impl<T: 'static> Handler<T> for Connections {
    type Data = Peer;

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        let shared = &self.shared;
        if shared.active.get() >= self.admission.max_connections {
            shared.emit(&Event::Rejected { peer: raw.peer_addr(), reason: Rejection::Limit });
            if self.admission.reset {
                return PreOpen::Reset;
            }
            return PreOpen::Reject;
        }
        if let Err(error) = self.admission.options(raw) {
            shared.emit(&Event::Error { message: error.to_string() });
        }
        PreOpen::Keep
    }

    fn open(&mut self, s: &mut Socket<'_, T, Peer>, _: Opened) {
        let shared = &self.shared;
        let id = shared.accepted.get() + 1;
        shared.accepted.set(id);
        shared.active.set(shared.active.get() + 1);
        let (socket, peer, local) = (s.id(), s.peer_addr(), s.local_addr().ok());
        let lp = s.loop_mut();
        let mut connection = Peer::new(id, peer, shared.config, lp.now());
        connection.timer = Some(self.timer(lp, socket));
        *s.data() = connection;
        if let Some(peer) = peer {
            shared.emit(&Event::Connected { id, peer, local });
        }
        drive(s, |peer, stream| peer.opened(shared, stream));
    }

    fn data(&mut self, s: &mut Socket<'_, T, Peer>, bytes: &[u8]) {
        drive(s, |peer, stream| peer.received(&self.shared, stream, bytes));
    }

    fn writable(&mut self, s: &mut Socket<'_, T, Peer>) {
        drive(s, |peer, stream| peer.writable(&self.shared, stream));
    }

    fn end(&mut self, s: &mut Socket<'_, T, Peer>) {
        drive(s, |peer, stream| peer.input(&self.shared, stream, Input::PeerClosed));
    }

    fn close(&mut self, lp: &mut LoopMut<'_, T>, closed: Closed<Peer>) {
        let shared = &self.shared;
        let mut peer = closed.data;
        if let Some(timer) = peer.timer {
            // The timer is this connection's own, and nothing else ends it.
            let _ = lp.close(timer);
        }
        let input = match closed.reason {
            CloseReason::PeerReset => Input::PeerReset,
            CloseReason::LoopEnded => Input::Abort { reason: Reason::ShutdownForced },
            CloseReason::Failed(error) | CloseReason::HandshakeFailed(error) => {
                shared.emit(&Event::Error { message: error.to_string() });
                Input::Abort { reason: Reason::IoError }
            }
            CloseReason::Peer
            | CloseReason::Local { .. }
            | CloseReason::Aborted
            | CloseReason::Detached
            | CloseReason::HandshakeTimeout
            | CloseReason::Truncated => Input::Abort { reason: Reason::IoError },
        };
        let reason = peer.gone(shared, lp.now(), input);
        if reason == Reason::ShutdownForced {
            shared.cut.set(shared.cut.get() + 1);
        }
        shared.active.set(shared.active.get() - 1);
        if let Some(address) = peer.address {
            let statistics = peer.statistics;
            shared.emit(&Event::Disconnected { id: peer.id, peer: address, reason, statistics });
        }
        shared.stopped();
    }

    fn accept_error(&mut self, _: &mut LoopMut<'_, T>, _: ListenerId, failed: AcceptFailed) {
        let message = match failed {
            AcceptFailed::Transient(error) | AcceptFailed::Fatal(error) => error.to_string(),
            AcceptFailed::Exhausted { error, pause, refused } => {
                if let Some(peer) = refused.and_then(|address| address.inet()) {
                    self.shared.emit(&Event::Rejected { peer, reason: Rejection::Descriptors });
                }
                format!(
                    "{error}; accepting goes on in {pause:?} (if descriptors are short, raise the limit on open files: ulimit -n)"
                )
            }
        };
        self.shared.emit(&Event::Error { message });
    }
}

impl Connections {
    fn timer<T: 'static>(&self, lp: &mut LoopMut<'_, T>, socket: SocketId) -> crate::event_loop::TimerId {
        let shared = Rc::clone(&self.shared);
        lp.add_idle_timer(move |lp, _| {
            let _ = lp.with_socket(shared.key(), socket, |s| drive(s, |peer, stream| peer.timeout(&shared, stream)));
        })
    }
}
