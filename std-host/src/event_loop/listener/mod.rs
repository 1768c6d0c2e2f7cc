//! Listeners: accepting, and what to do without descriptors.

mod closing;

use super::backoff::Backoff;
use super::context::ContextKey;
use super::group::Inbox;
use super::handler::{AcceptFailed, Handler, Opened, PreOpen, RawSocket};
use super::net::{ListenOptions, NetId, UnixListenOptions};
use super::state::{Core, Object};
use super::stream::{Phase, StreamState, Tls};
use super::timers::{Action, TimerId};
use super::{Address, Error, LoopMut, TlsConfig};
use crate::sys::errno;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use wharf_core::slots::SlotId;

/// Names a listener; stale after its close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(super) SlotId);

/// So many failures one after the other do not pass by trying again at once.
const MOST_FAILURES: u32 = 64;

pub(super) struct ListenerState {
    pub(super) net: Option<NetId>,
    /// What comes in where there is no socket: another loop accepts for this one.
    inbox: Option<Arc<Inbox>>,
    context: u32,
    addr: Address,
    /// How many connections may wait that have to be accepted before the listener goes: others share its address.
    backlog: Option<u32>,
    /// How many of those a closed listener may still accept before it goes.
    draining: u32,
    max_sockets: u32,
    /// Sockets of this listener that exist.
    sockets: u32,
    pub(super) latched: bool,
    pub(super) in_ready: bool,
    paused: bool,
    closed: bool,
    counts: bool,
    /// What accepted sockets speak.
    tls: Option<TlsConfig>,
    /// Runs while accepting pauses for want of descriptors.
    retry: Option<TimerId>,
    backoff: Backoff,
    /// Accepts that have failed since the last one that did not.
    failures: u32,
}

impl ListenerState {
    fn new(context: u32, addr: Address, backlog: Option<u32>, max_sockets: Option<u32>) -> Self {
        Self {
            net: None,
            inbox: None,
            context,
            addr,
            backlog,
            draining: 0,
            max_sockets: max_sockets.unwrap_or(u32::MAX),
            sockets: 0,
            latched: false,
            in_ready: false,
            paused: false,
            closed: false,
            counts: true,
            tls: None,
            retry: None,
            backoff: Backoff::new(),
            failures: 0,
        }
    }

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
        let backlog = options.reuse_port.then_some(options.backlog);
        self.core.add_listener(net, addr.into(), key.index, backlog, options.max_sockets)
    }

    /// A listener on `addr` for which another loop accepts.
    pub(super) fn listen_to_inbox<H: Handler<T>>(
        &mut self,
        addr: SocketAddr,
        key: ContextKey<H>,
        options: &ListenOptions,
        inbox: Arc<Inbox>,
    ) -> Result<ListenerId, Error> {
        self.core.refuse_if_ended()?;
        self.typed(key)?;
        let mut state = ListenerState::new(key.index, addr.into(), Some(options.backlog), options.max_sockets);
        state.inbox = Some(inbox);
        self.core.alive += 1;
        Ok(ListenerId(self.core.add_object(Object::Listener(state))))
    }

    /// Listens on a UNIX socket: a path, or with a leading `@` a Linux abstract name ([`Address::unix`]). A socket that
    /// an earlier listener left at the path is removed if nobody answers on it; anything else there is an error. The
    /// path goes with the listener.
    ///
    /// Of several loops or processes that start on one path at once, one has it and the others are told that it is in
    /// use: each holds a lock (on the path with `.wharf-lock` behind it, which is gone again when this returns) while it
    /// looks, removes, binds and listens. What has no part in that are programs that take the path without the lock: one
    /// that binds it and does not listen yet loses it, and so does one that takes it between our look and our removal.
    /// The same holds on file systems without locks.
    ///
    /// # Errors
    /// As for [`LoopMut::listen`].
    pub fn listen_unix<H: Handler<T>>(
        &mut self,
        path: impl AsRef<Path>,
        key: ContextKey<H>,
        options: UnixListenOptions,
    ) -> Result<ListenerId, Error> {
        self.core.refuse_if_ended()?;
        self.typed(key)?;
        let at = Address::unix(path);
        let net = self.core.net.listen_unix(&at, &options);
        let net = net.map_err(|source| Error::io("listen on", &at, source))?;
        self.core.add_listener(net, at, key.index, None, options.max_sockets)
    }

    /// [`LoopMut::listen`] for TLS. `open` of an accepted socket follows its handshake; one whose handshake fails sees
    /// `close` alone, with the reason.
    ///
    /// # Errors
    /// As for [`LoopMut::listen`].
    pub fn listen_tls<H: Handler<T>>(
        &mut self,
        addr: SocketAddr,
        key: ContextKey<H>,
        tls: &TlsConfig,
        options: ListenOptions,
    ) -> Result<ListenerId, Error> {
        let id = self.listen(addr, key, options)?;
        self.speak_tls(id, tls);
        Ok(id)
    }

    /// [`LoopMut::listen_unix`] for TLS, otherwise like [`LoopMut::listen_tls`].
    ///
    /// # Errors
    /// As for [`LoopMut::listen`].
    pub fn listen_unix_tls<H: Handler<T>>(
        &mut self,
        path: impl AsRef<Path>,
        key: ContextKey<H>,
        tls: &TlsConfig,
        options: UnixListenOptions,
    ) -> Result<ListenerId, Error> {
        let id = self.listen_unix(path, key, options)?;
        self.speak_tls(id, tls);
        Ok(id)
    }

    /// Makes a listener one for TLS. It has just been made: nothing is accepted before the call that this is a part of
    /// has returned.
    pub(super) fn speak_tls(&mut self, ListenerId(id): ListenerId, tls: &TlsConfig) {
        if let Some(listener) = self.core.listener_mut(id) {
            listener.tls = Some(tls.clone());
        }
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
    pub fn local(&self) -> &Address {
        &self.state().addr
    }

    /// The IP address that it is bound to; `0.0.0.0:0` for a UNIX socket.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local().inet().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
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

    /// Ends listening at once. Sockets that were accepted stay; what waits in the backlog is refused by the system. A
    /// listener that shares its port (`reuse_port`) accepts it first, paused or not: `accept_budget` connections in an
    /// iteration, during which the loop stays alive. Its id is stale from now on all the same.
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
        f.debug_struct("Listener").field("id", &self.id).field("local", self.local()).finish()
    }
}

impl<T> Core<T> {
    fn add_listener(
        &mut self,
        net: NetId,
        asked: Address,
        context: u32,
        backlog: Option<u32>,
        max_sockets: Option<u32>,
    ) -> Result<ListenerId, Error> {
        let addr = self.net.local(net).unwrap_or_else(|_| asked.clone());
        let mut state = ListenerState::new(context, addr, backlog, max_sockets);
        state.net = Some(net);
        let id = self.add_object(Object::Listener(state));
        if let Err(source) = self.net.watch(net, id.to_bits(), false) {
            self.objects.remove(id);
            self.net.close(net, false);
            return Err(Error::io("listen on", asked, source));
        }
        self.alive += 1;
        Ok(ListenerId(id))
    }

    fn listener_mut(&mut self, id: SlotId) -> Option<&mut ListenerState> {
        match self.objects.get_mut(id)? {
            Object::Listener(listener) => Some(listener),
            Object::Stream(_) | Object::Udp(_) => None,
        }
    }

    /// At most `accept_budget` accepts.
    #[inline(never)]
    pub(super) fn serve_listener(&mut self, id: SlotId) {
        if self.listener_mut(id).is_some_and(|listener| listener.closed) {
            return self.drain_listener(id);
        }
        for _ in 0..self.options.accept_budget {
            let Some(listener) = self.listener_mut(id) else { return };
            if !listener.may_accept() {
                return;
            }
            match self.accept(id) {
                Ok((socket, peer)) => self.accepted(id, socket, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(listener) = self.listener_mut(id) {
                        (listener.latched, listener.failures) = (false, 0);
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if errno::is_exhaustion(&error) => {
                    self.exhausted(id, error);
                    return;
                }
                Err(error) if errno::is_not_listening(&error) => {
                    self.accept_failed(id, error, AcceptFailed::Fatal);
                    self.close_listener(id);
                    return;
                }
                Err(error) => {
                    let Some(listener) = self.listener_mut(id) else { return };
                    listener.failures += 1;
                    if listener.failures == MOST_FAILURES {
                        self.exhausted(id, error);
                        return;
                    }
                    self.accept_failed(id, error, AcceptFailed::Transient);
                }
            }
        }
        self.mark_ready(id);
    }

    /// The next connection: from the system, or handed over by another loop.
    fn accept(&mut self, id: SlotId) -> io::Result<(NetId, Address)> {
        let listener = self.listener_mut(id).ok_or(io::ErrorKind::WouldBlock)?;
        if let Some(inbox) = &listener.inbox {
            let (stream, peer) = inbox.take().ok_or(io::ErrorKind::WouldBlock)?;
            return Ok((self.net.adopt(stream)?, peer.into()));
        }
        let net = listener.net.ok_or(io::ErrorKind::WouldBlock)?;
        self.stats.accepts += 1;
        if self.is_inet(id) {
            self.net.accept(net).map(|(socket, peer)| (socket, peer.into()))
        } else {
            self.net.accept_unix(net)
        }
    }

    /// Something has been put into the inbox of a listener.
    pub(super) fn listener_filled(&mut self, ListenerId(id): ListenerId) {
        if let Some(listener) = self.listener_mut(id) {
            listener.latched = true;
            self.mark_ready(id);
        }
    }

    fn is_inet(&mut self, id: SlotId) -> bool {
        self.listener_mut(id).is_some_and(|listener| listener.addr.inet().is_some())
    }

    fn accepted(&mut self, id: SlotId, socket: NetId, peer: Address) {
        let Some(listener) = self.listener_mut(id) else { return };
        (listener.backoff, listener.failures) = (Backoff::new(), 0);
        let (context, tls) = (listener.context, listener.tls.as_ref().map(Tls::server));
        let handler = self.context(context);
        let mut kept = None;
        let answer = RawSocket::new(&mut *self.net, socket, &peer).ask(|raw| {
            let answer = handler.pre_open(raw);
            if answer == PreOpen::Keep && !raw.is_taken() {
                // The user's code too, so that a panic in it finds somebody who closes the descriptor.
                kept = Some(handler.add_default());
            }
            answer
        });
        self.after_callback("pre_open");
        let Some(place) = kept else {
            match answer {
                Some(how) => {
                    self.stats.refused += 1;
                    self.net.close(socket, how == PreOpen::Reset);
                }
                None => self.stats.taken += 1,
            }
            return;
        };
        let mut state = StreamState::new(Some(socket), context, place, Phase::Open);
        (state.peer, state.listener, state.tls) = (peer, Some(id), tls);
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
        self.begin(stream, Opened::Accepted);
    }

    /// Turns one client away with the help of the reserve, so that it does not wait for nothing, then pauses.
    fn exhausted(&mut self, id: SlotId, error: io::Error) {
        self.stats.exhausted += 1;
        let net = self.listener_mut(id).and_then(|listener| listener.net);
        self.stats.accepts += u64::from(net.is_some());
        let is_inet = self.is_inet(id);
        let refused = net.and_then(|net| match is_inet {
            true => self.net.shed(net).map(Address::Inet),
            false => self.net.shed_unix(net),
        });
        self.stats.refused += u64::from(refused.is_some());
        let Some(listener) = self.listener_mut(id) else { return };
        let pause = listener.backoff.pause();
        listener.failures = 0;
        let addr = &listener.addr;
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
        let context = listener.context;
        let failed = how(Error::io("accept on", &listener.addr, source));
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
}
