//! Listeners: accepting, and what to do without descriptors.

use super::context::ContextKey;
use super::handler::{AcceptFailed, Handler, Opened, PreOpen, RawSocket};
use super::net::{ListenOptions, NetId};
use super::state::{Core, Object};
use super::stream::{Phase, StreamState};
use super::timers::{Action, TimerId};
use super::{Error, LoopMut};
use crate::sys::errno;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use wharf_core::slots::SlotId;

/// Names a listener; stale after its close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(super) SlotId);

/// The first pause after an accept that found no descriptor.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The pause at which doubling ends.
const LAST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct ListenerState {
    pub(super) net: Option<NetId>,
    context: u32,
    addr: SocketAddr,
    max_sockets: u32,
    /// Sockets of this listener that exist.
    sockets: u32,
    pub(super) latched: bool,
    pub(super) in_ready: bool,
    paused: bool,
    closed: bool,
    counts: bool,
    /// Runs while accepting pauses for want of descriptors.
    retry: Option<TimerId>,
    pause: Duration,
}

impl ListenerState {
    fn may_accept(&self) -> bool {
        self.latched && !self.paused && !self.closed && self.retry.is_none() && self.sockets < self.max_sockets
    }
}

/// A listener, reached by its id.
pub struct Listener<'a, T: 'static> {
    core: &'a mut Core<T>,
    id: ListenerId,
}

impl<T> LoopMut<'_, T> {
    /// Listens on `addr`; accepted sockets belong to the context `key`. Port 0 lets the system choose:
    /// [`Listener::local_addr`] tells what.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says, [`Error::Stale`] for the key of another loop, [`Error::Ended`].
    pub fn listen<H: Handler<T>>(
        &mut self,
        addr: SocketAddr,
        key: ContextKey<H>,
        options: ListenOptions,
    ) -> Result<ListenerId, Error> {
        self.core.refuse_if_ended()?;
        self.typed(key)?;
        let failed = |source| Error::io("listen on", addr, source);
        let net = self.core.net.listen(addr, &options).map_err(failed)?;
        let state = ListenerState {
            net: Some(net),
            context: key.index,
            addr: self.core.net.local_addr(net).unwrap_or(addr),
            max_sockets: options.max_sockets.unwrap_or(u32::MAX),
            sockets: 0,
            latched: false,
            in_ready: false,
            paused: false,
            closed: false,
            counts: true,
            retry: None,
            pause: FIRST_PAUSE,
        };
        let id = self.core.add_object(Object::Listener(state));
        if let Err(source) = self.core.net.watch(net, id.to_bits(), false) {
            self.core.objects.remove(id);
            self.core.net.close(net, false);
            return Err(failed(source));
        }
        self.core.alive += 1;
        Ok(ListenerId(id))
    }

    /// A listener by its id.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn listener(&mut self, id: ListenerId) -> Result<Listener<'_, T>, Error> {
        self.core.listener_mut(id.0).filter(|listener| !listener.closed).ok_or(Error::Stale)?;
        Ok(Listener { core: self.core, id })
    }
}

impl<T> Listener<'_, T> {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ListenerId {
        self.id
    }

    /// The address that it is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.state().addr
    }

    /// Sockets of this listener that exist.
    #[must_use]
    pub fn sockets(&self) -> u32 {
        self.state().sockets
    }

    /// Accepts nothing until [`Listener::resume`]; connections wait in the backlog.
    pub fn pause(&mut self) {
        self.state_mut().paused = true;
    }

    /// Accepts again.
    pub fn resume(&mut self) {
        self.state_mut().paused = false;
        if self.state().may_accept() {
            self.core.mark_ready(self.id.0);
        }
    }

    /// Ends listening. Sockets that were accepted stay; what waits in the backlog is refused by the system.
    pub fn close(self) {
        self.core.close_listener(self.id.0);
    }

    /// Whether the listener is left out when the loop looks for a reason to go on.
    pub fn unref(&mut self, unref: bool) {
        let counted = std::mem::replace(&mut self.state_mut().counts, !unref);
        self.core.alive = self.core.alive - usize::from(counted) + usize::from(!unref);
    }

    fn state(&self) -> &ListenerState {
        match self.core.objects.get(self.id.0) {
            Some(Object::Listener(listener)) => listener,
            _ => unreachable!("a listener that is borrowed here stays in the table"),
        }
    }

    fn state_mut(&mut self) -> &mut ListenerState {
        self.core.listener_mut(self.id.0).expect("a listener that is borrowed here stays in the table")
    }
}

impl<T> std::fmt::Debug for Listener<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("id", &self.id).field("local_addr", &self.local_addr()).finish()
    }
}

impl<T> Core<T> {
    fn listener_mut(&mut self, id: SlotId) -> Option<&mut ListenerState> {
        match self.objects.get_mut(id)? {
            Object::Listener(listener) => Some(listener),
            Object::Stream(_) => None,
        }
    }

    /// At most `accept_budget` accepts.
    pub(super) fn serve_listener(&mut self, id: SlotId) {
        let mut transient = 0;
        for _ in 0..self.options.accept_budget {
            let Some(listener) = self.listener_mut(id) else { return };
            if !listener.may_accept() {
                return;
            }
            let Some(net) = listener.net else { return };
            self.stats.accepts += 1;
            match self.net.accept(net) {
                Ok((socket, peer)) => {
                    transient = 0;
                    self.accepted(id, socket, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(listener) = self.listener_mut(id) {
                        listener.latched = false;
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if errno::is_exhaustion(&error) => {
                    self.exhausted(id, net, error);
                    return;
                }
                Err(error) if errno::is_not_listening(&error) => {
                    self.accept_failed(id, error, AcceptFailed::Fatal);
                    self.close_listener(id);
                    return;
                }
                Err(error) => {
                    transient += 1;
                    if transient == self.options.accept_budget {
                        // Nothing but failures in a whole round: that does not pass by trying again at once.
                        self.exhausted(id, net, error);
                        return;
                    }
                    self.accept_failed(id, error, AcceptFailed::Transient);
                }
            }
        }
        self.mark_ready(id);
    }

    fn accepted(&mut self, id: SlotId, socket: NetId, peer: SocketAddr) {
        let Some(listener) = self.listener_mut(id) else { return };
        listener.pause = FIRST_PAUSE;
        let context = listener.context;
        let handler = self.context(context);
        let answer = RawSocket::new(&mut *self.net, socket, peer).ask(|raw| handler.pre_open(raw));
        self.after_callback("pre_open");
        if answer != Some(PreOpen::Keep) {
            self.stats.refused += 1;
            if answer.is_some() {
                self.net.close(socket, answer == Some(PreOpen::Reset));
            }
            return;
        }
        let mut state = StreamState::new(Some(socket), context, handler.add_default(), Phase::Open);
        (state.peer, state.listener) = (Some(peer), Some(id));
        let place = state.place;
        let stream = self.add_stream(state);
        if let Err(error) = self.net.watch(socket, stream.to_bits(), false) {
            self.drop_stream(stream);
            handler.forget(place);
            self.accept_failed(id, error, AcceptFailed::Transient);
            return;
        }
        self.stats.accepted += 1;
        if let Some(listener) = self.listener_mut(id) {
            listener.sockets += 1;
        }
        self.open_stream(stream, Opened::Accepted);
    }

    /// Turns one client away with the help of the reserve, so that it does not wait for nothing, then pauses.
    fn exhausted(&mut self, id: SlotId, net: NetId, error: io::Error) {
        self.stats.exhausted += 1;
        self.stats.accepts += 1;
        let refused = self.net.shed(net);
        self.stats.refused += u64::from(refused.is_some());
        let Some(listener) = self.listener_mut(id) else { return };
        let pause = listener.pause;
        listener.pause = (pause * 2).min(LAST_PAUSE);
        let addr = listener.addr;
        tracing::warn!(%addr, %error, ?pause, "accepting pauses");
        self.stats.pauses += 1;
        let retry = self.add_internal(Action::Listener(id), pause);
        if let Some(listener) = self.listener_mut(id) {
            listener.retry = Some(retry);
        }
        self.accept_failed(id, error, |error| AcceptFailed::Exhausted { error, pause, refused });
    }

    fn accept_failed(&mut self, id: SlotId, source: io::Error, how: impl FnOnce(Error) -> AcceptFailed) {
        let Some(listener) = self.listener_mut(id) else { return };
        let (context, addr) = (listener.context, listener.addr);
        let failed = how(Error::io("accept on", addr, source));
        self.context(context).accept_error(self, ListenerId(id), failed);
        self.after_callback("accept_error");
    }

    /// The pause is over.
    pub(super) fn listener_timeout(&mut self, id: SlotId) {
        if let Some(listener) = self.listener_mut(id) {
            listener.retry = None;
            self.mark_ready(id);
        }
    }

    /// A socket of this listener is gone: there may be room for another.
    pub(super) fn socket_released(&mut self, id: SlotId) {
        if let Some(listener) = self.listener_mut(id) {
            listener.sockets -= 1;
            if listener.may_accept() {
                self.mark_ready(id);
            }
        }
    }

    pub(super) fn close_listener(&mut self, id: SlotId) {
        let Some(listener) = self.listener_mut(id) else { return };
        if std::mem::replace(&mut listener.closed, true) {
            return;
        }
        let (counts, retry) = (listener.counts, listener.retry.take());
        self.alive -= usize::from(counts);
        if let Some(TimerId(timer)) = retry {
            self.timers.remove(timer);
        }
        self.closing.push((id, None));
    }
}
