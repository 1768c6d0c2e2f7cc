//! The callbacks of a port's sockets: what the loop tells becomes an input of the machine.

use super::listening;
use super::options::SlotOptions;
use super::site::Site;
use crate::event_loop::{
    AcceptFailed, CloseReason, Closed, Error, Handler, Keepalive, ListenerId, LoopMut, Opened, PreOpen, RawSocket,
    Socket, SocketId, Stream,
};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;
use wharf_core::port::server::{Failure, Input, Refusal};
use wharf_core::slots::SlotId;

/// How long a connection that is refused may take to read why.
const FAREWELL: Duration = Duration::from_millis(200);
/// Bytes of its own that are thrown away meanwhile, so that no reset destroys the text on its way.
const FAREWELL_INPUT: usize = 4096;
/// Farewells at a time; beyond them connections are closed without a word.
const MOST_FAREWELLS: usize = 16;

/// The handler of a port's sockets.
pub(super) struct Clients {
    pub(super) site: Rc<Site>,
}

/// What a socket of a port is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Role {
    /// It is refused, or nothing is decided about it, or its own callback has not heard yet.
    #[default]
    New,
    Client(SlotId),
}

impl<T: 'static> Handler<T> for Clients {
    type Data = Role;

    fn manual_read(&self) -> bool {
        true
    }

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        let options = self.site.options.borrow();
        let set = raw.set_nodelay(options.slot.nodelay).and_then(|()| raw.set_keepalive(options.slot.keepalive));
        if let Err(error) = set {
            tracing::warn!("{}: {error}", self.site.common.name);
        }
        PreOpen::Keep
    }

    fn open(&mut self, s: &mut Socket<'_, T, Role>, _: Opened) {
        let (id, peer) = (s.id(), s.peer_addr());
        let Some(peer) = peer else { return s.close(0) };
        self.site.arrived(s.loop_mut(), id, peer);
    }

    fn readable(&mut self, s: &mut Socket<'_, T, Role>) {
        let Some(slot) = self.slot(s) else {
            self.site.stirred(s.id(), s.is_hung_up());
            return self.discard(s);
        };
        let input = if s.is_hung_up() { Input::HungUp { slot } } else { Input::Readable { slot } };
        self.site.input(s.loop_mut(), input);
    }

    fn writable(&mut self, s: &mut Socket<'_, T, Role>) {
        if let Some(slot) = self.slot(s) {
            self.site.input(s.loop_mut(), Input::Writable { slot });
        }
    }

    /// The machine has seen it, by a read.
    fn end(&mut self, s: &mut Socket<'_, T, Role>) {
        if self.slot(s).is_none() {
            s.close(0);
        }
    }

    fn close(&mut self, lp: &mut LoopMut<'_, T>, closed: Closed<Role>) {
        self.site.refused.borrow_mut().remove(&closed.id);
        self.site.left(lp, closed.id, failure(&closed.reason));
    }

    fn accept_error(&mut self, lp: &mut LoopMut<'_, T>, _: ListenerId, failed: AcceptFailed) {
        listening::accept_failed(lp, &self.site, &failed);
    }
}

impl Clients {
    /// The slot of the socket at hand, if it has one.
    fn slot<T: 'static>(&self, s: &mut Socket<'_, T, Role>) -> Option<SlotId> {
        if let Role::Client(slot) = *s.data() {
            return Some(slot);
        }
        let slot = self.site.slot(s.id())?;
        *s.data() = Role::Client(slot);
        Some(slot)
    }

    /// Throws away what a connection says that is told why it is refused. One that waits is not read.
    fn discard<T: 'static>(&self, s: &mut Socket<'_, T, Role>) {
        let mut refused = self.site.refused.borrow_mut();
        let Some(left) = refused.get_mut(&s.id()) else { return };
        discard(s, left);
    }
}

/// Throws away so much of what a connection says, and cuts it when that is used up.
fn discard<T: 'static>(stream: &mut Stream<'_, T>, left: &mut usize) {
    while let Ok(bytes) = stream.read(*left) {
        if bytes.is_empty() {
            return;
        }
        *left -= bytes.len();
        if *left == 0 {
            return stream.close(0);
        }
    }
}

/// Turns a connection away, with a few words if there are any.
pub(super) fn refuse<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Site, socket: SocketId, why: Refusal) {
    let machine = site.machine.borrow();
    let text = machine.farewell(why);
    let mut refused = site.refused.borrow_mut();
    let Ok(mut stream) = lp.stream(socket) else { return };
    if text.is_empty() || refused.len() >= MOST_FAREWELLS {
        return stream.close(0);
    }
    let left = refused.entry(socket).or_insert(FAREWELL_INPUT);
    // What fails here shows as the end of the socket.
    let _ = stream.write(text).and_then(|_| stream.shutdown());
    // What it said while nothing was decided about it has been told then, and is not told again.
    discard(&mut stream, left);
    let cut = lp.add_timer(FAREWELL, None, move |lp, _| {
        if let Ok(mut stream) = lp.stream(socket) {
            stream.close(0);
        }
    });
    cut.expect("the span is one that timers know");
}

/// Sets the options of a client's socket. Without a descriptor it does nothing.
pub(super) fn tune<T: 'static>(stream: &Stream<'_, T>, options: &SlotOptions) -> io::Result<()> {
    let Some(fd) = stream.raw() else { return Ok(()) };
    let socket = socket2::SockRef::from(&fd);
    socket.set_tcp_nodelay(options.nodelay)?;
    match options.keepalive {
        Some(Keepalive { idle, interval, probes }) => {
            let parameters = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval);
            socket.set_tcp_keepalive(&parameters.with_retries(probes))
        }
        None => socket.set_keepalive(false),
    }
}

fn failure(reason: &CloseReason) -> Failure {
    let io = if let CloseReason::Failed(Error::Io { source, .. }) = reason { Some(source.kind()) } else { None };
    let is = |kinds: &[ErrorKind]| io.is_some_and(|kind| kinds.contains(&kind));
    if matches!(reason, CloseReason::PeerReset) || is(&[ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted]) {
        Failure::Reset
    } else if is(&[ErrorKind::BrokenPipe]) {
        Failure::BrokenPipe
    } else if is(&[ErrorKind::TimedOut]) {
        Failure::TimedOut
    } else if is(&[ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable]) {
        Failure::Unreachable
    } else {
        Failure::Other
    }
}
