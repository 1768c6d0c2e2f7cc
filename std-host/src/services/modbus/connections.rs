//! The callbacks of a server's sockets.

use super::Shared;
use super::admission::{Admission, Entry};
use super::connection::Peer;
use super::event::{ConnectionId, Event, Operation, Rejection};
use super::listeners;
use super::options::Options;
use crate::event_loop::{
    AcceptFailed, CloseReason, Closed, Error, Handler, ListenerId, LoopMut, Opened, PreOpen, RawSocket, Socket,
    SocketId, Stream, TimerId,
};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use wharf_core::modbus::server::{Input, Reason};

/// The handler of a server's sockets.
pub(super) struct Connections {
    pub(super) shared: Rc<Shared>,
    pub(super) admission: Admission,
    pub(super) options: Options,
}

/// Lets `f` act on a connection, then sees to its timer.
pub(super) fn drive<T>(s: &mut Socket<'_, T, Box<Peer>>, f: impl FnOnce(&mut Peer, &mut Stream<'_, T>)) {
    let (peer, stream) = s.split();
    f(peer, stream);
    let (peer, lp) = s.parts();
    if let Some(timer) = peer.timer {
        peer.arm(lp, timer);
    }
}

impl<T: 'static> Handler<T> for Connections {
    type Data = Box<Peer>;

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        let shared = &self.shared;
        let peer = raw.peer_addr();
        if let Err(reason) = self.admission.judge(raw.clock(), peer.ip()) {
            shared.emit(&Event::Rejected { peer, reason });
            return self.options.rejection();
        }
        if let Err(error) = self.options.set(raw) {
            shared.emit(&Event::Error { operation: Operation::Option, message: error.to_string() });
        }
        PreOpen::Keep
    }

    fn open(&mut self, s: &mut Socket<'_, T, Box<Peer>>, _: Opened) {
        let shared = &self.shared;
        let id = shared.accepted.get() + 1;
        let (socket, peer, local, now) = (s.id(), s.peer_addr(), s.local_addr().ok(), s.now());
        let mut connection = Peer::new(id, peer, now);
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        connection.activity = self.admission.activity(now);
        let entry = self.admission.enter(id, address, connection.activity.clone());
        if let (Entry::Refused, Some(peer)) = (entry, peer) {
            shared.emit(&Event::Rejected { peer, reason: Rejection::Limit });
            return if self.options.reset { s.abort() } else { s.close(0) };
        }
        shared.accepted.set(id);
        shared.sockets.borrow_mut().insert(id, socket);
        let lp = s.loop_mut();
        if let Entry::InPlaceOf(victim) = entry {
            evict(lp, shared, victim);
        }
        connection.timer = Some(self.timer(lp, socket));
        **s.data() = connection;
        if let Some(peer) = peer {
            shared.emit(&Event::Connected { id, peer, local });
        }
        drive(s, |peer, stream| peer.opened(shared, stream));
    }

    fn data(&mut self, s: &mut Socket<'_, T, Box<Peer>>, bytes: &[u8]) {
        drive(s, |peer, stream| peer.received(&self.shared, stream, bytes));
    }

    fn writable(&mut self, s: &mut Socket<'_, T, Box<Peer>>) {
        drive(s, |peer, stream| peer.writable(&self.shared, stream));
    }

    fn end(&mut self, s: &mut Socket<'_, T, Box<Peer>>) {
        drive(s, |peer, stream| peer.input(&self.shared, stream, Input::PeerClosed));
    }

    fn close(&mut self, lp: &mut LoopMut<'_, T>, closed: Closed<Box<Peer>>) {
        let shared = &self.shared;
        let mut peer = closed.data;
        if peer.id == 0 {
            // It was turned away as soon as it was there.
            return;
        }
        self.admission.leave(peer.id);
        if let Some(timer) = peer.timer {
            // The timer is this connection's own, and nothing else ends it.
            let _ = lp.close(timer);
        }
        let input = match closed.reason {
            CloseReason::PeerReset => Input::PeerReset,
            CloseReason::LoopEnded => Input::Abort { reason: Reason::ShutdownForced },
            CloseReason::Failed(error) | CloseReason::HandshakeFailed(error) => {
                shared.emit(&Event::Error { operation: operation(&error), message: error.to_string() });
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
        shared.sockets.borrow_mut().remove(&peer.id);
        if let Some(address) = peer.address {
            let statistics = peer.statistics();
            shared.emit(&Event::Disconnected { id: peer.id, peer: address, reason, statistics });
        }
        shared.stopped();
    }

    fn accept_error(&mut self, _: &mut LoopMut<'_, T>, _: ListenerId, failed: AcceptFailed) {
        listeners::accept_failed(&self.shared, failed);
    }
}

impl Connections {
    fn timer<T: 'static>(&self, lp: &mut LoopMut<'_, T>, socket: SocketId) -> TimerId {
        let shared = Rc::clone(&self.shared);
        lp.add_idle_timer(move |lp, _| {
            let _ = lp.with_socket(shared.key(), socket, |s| drive(s, |peer, stream| peer.timeout(&shared, stream)));
        })
    }
}

/// Ends a connection that makes room for another.
fn evict<T: 'static>(lp: &mut LoopMut<'_, T>, shared: &Shared, victim: ConnectionId) {
    let Some(socket) = shared.sockets.borrow().get(&victim).copied() else { return };
    // One that is closed already has made room.
    let _ = lp.with_socket(shared.key(), socket, |s| {
        drive(s, |peer, stream| peer.input(shared, stream, Input::Abort { reason: Reason::Evicted }));
    });
}

/// Whether reading or writing failed.
fn operation(error: &Error) -> Operation {
    if matches!(error, Error::Io { op, .. } if op.starts_with("write")) { Operation::Write } else { Operation::Read }
}
