//! Connecting: one name or address, several attempts, one winner.
//!
//! The addresses of a name are tried in order, families alternating, each a quarter of a second after the one before or
//! as soon as that one fails. The first that connects wins and the others are closed. One timer serves both the next
//! attempt and the timeout over the whole.

use super::{LastWord, Phase, StreamState};
use crate::event_loop::context::ContextKey;
use crate::event_loop::handler::{Handler, Opened, PreOpen, RawSocket};
use crate::event_loop::net::{ConnectOptions, NetId};
use crate::event_loop::resolve::not_empty;
use crate::event_loop::state::Core;
use crate::event_loop::timers::{Action, TimerId, check_spans};
use crate::event_loop::{Address, Error, LoopMut, SocketId, Target};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::slots::SlotId;

/// From the begin of one attempt to that of the next, unless it fails before. RFC 8305, 5 recommends it.
const STAGGER: Duration = Duration::from_millis(250);

/// What a socket has until it is open.
pub(in crate::event_loop) struct Connecting {
    target: Target,
    options: ConnectOptions,
    deadline: Instant,
    /// The query that has not been answered.
    query: Option<u64>,
    /// Addresses that have not been tried.
    left: VecDeque<Address>,
    next_attempt: Instant,
    attempts: Vec<(NetId, Address)>,
    tried: u32,
    /// Of the last attempt that failed.
    error: Option<Error>,
}

impl Connecting {
    /// The sockets of the attempts.
    pub(in crate::event_loop) fn nets(&self) -> impl Iterator<Item = NetId> {
        self.attempts.iter().map(|(net, _)| *net)
    }

    fn failed(&mut self, to: &Address, source: io::Error) {
        self.error = Some(Error::io("connect to", to, source));
    }
}

impl<T> LoopMut<'_, T> {
    /// Connects to `to`, in the context `key`: an address, a `host:port` or the path of a UNIX socket ([`Target`]).
    /// `open` or `connect_error` follows, or nothing after [`LoopMut::cancel`]. `pre_open` is called for every address
    /// that is tried. A UNIX socket whose backlog is full is tried again until the timeout.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for the timeout, [`Error::Full`] if 256 names wait for a thread, [`Error::Resolve`] for a
    /// text that is no `host:port`, [`Error::Stale`] for the key of another loop, [`Error::Ended`].
    pub fn connect<H: Handler<T>>(
        &mut self,
        to: impl Into<Target>,
        key: ContextKey<H>,
        data: H::Data,
        options: ConnectOptions,
    ) -> Result<SocketId, Error> {
        self.core.refuse_if_ended()?;
        check_spans(options.timeout, None)?;
        let place = self.typed(key)?.table.add(data);
        let now = self.core.net.now();
        let connecting = Connecting {
            target: to.into(),
            options,
            deadline: now.saturating_add(options.timeout),
            query: None,
            left: VecDeque::new(),
            next_attempt: now,
            attempts: Vec::new(),
            tried: 0,
            error: None,
        };
        let state = StreamState::new(None, key.index, place, Phase::Starting);
        let id = self.core.add_stream(state);
        if let Err(error) = self.core.begin_connecting(id, connecting) {
            self.core.drop_stream(id);
            self.core.context(key.index).forget(place);
            return Err(error);
        }
        Ok(SocketId(id))
    }

    /// Ends a connection that has not opened, whatever it waits for, without a callback.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::Closed`] if it is open or closed.
    pub fn cancel(&mut self, id: SocketId) -> Result<(), Error> {
        self.stream(id)?.cancel()
    }
}

impl<T> Core<T> {
    fn begin_connecting(&mut self, id: SlotId, mut connecting: Connecting) -> Result<(), Error> {
        let mut peer = Address::Unnamed;
        match &connecting.target {
            Target::Name(name) => connecting.query = Some(self.resolve_for(id, name)?),
            Target::Address(address) => {
                peer = address.clone();
                connecting.left.push_back(peer.clone());
                self.opening.push(id);
            }
        }
        let Some(stream) = self.stream_mut(id) else { return Ok(()) };
        if connecting.query.is_some() {
            stream.phase = Phase::Connecting;
        }
        (stream.peer, stream.connecting) = (peer, Some(Box::new(connecting)));
        self.arm_connecting(id);
        Ok(())
    }

    /// The callback in which `connect` was called is over.
    pub(super) fn start_connecting(&mut self, id: SlotId) {
        if let Some(stream) = self.stream_mut(id) {
            stream.phase = Phase::Connecting;
            self.try_next(id);
        }
    }

    /// The addresses of the socket's name, or why there are none.
    pub(in crate::event_loop) fn resolved(&mut self, id: SlotId, outcome: io::Result<Vec<SocketAddr>>) {
        let Some(connecting) = self.connecting_mut(id) else { return };
        connecting.query = None;
        match outcome.and_then(not_empty) {
            Ok(addrs) => {
                let source = connecting.options.source;
                connecting.left = alternating(addrs.into_iter().filter(|addr| can_reach(source, addr)));
                self.try_next(id);
            }
            Err(source) => {
                connecting.error = Some(Error::resolve(connecting.target.to_string(), source));
                self.connect_failed(id);
            }
        }
    }

    /// Looks at the attempts; true if one of them has won and the socket is open, or shakes hands.
    #[cold]
    pub(super) fn serve_connecting(&mut self, id: SlotId) -> bool {
        let (mut at, mut lost) = (0, false);
        while let Some(connecting) = self.connecting_mut(id) {
            let Some(&(net, _)) = connecting.attempts.get(at) else { break };
            let alone = connecting.tried == 1;
            let outcome = match self.net.connected(net) {
                Ok(true) if !alone => self.see_alone(id, net).map(|()| true),
                other => other,
            };
            match outcome {
                Ok(true) => {
                    self.attempt_won(id, at);
                    return true;
                }
                Ok(false) => at += 1,
                Err(error) => {
                    lost = true;
                    self.net.close(net, false);
                    if let Some(connecting) = self.connecting_mut(id) {
                        let (_, to) = connecting.attempts.remove(at);
                        connecting.failed(&to, error);
                    }
                }
            }
        }
        if lost {
            self.try_next(id);
        }
        false
    }

    /// The timer of a socket that connects.
    pub(super) fn connecting_timeout(&mut self, id: SlotId) {
        let now = self.now;
        let Some(connecting) = self.connecting_mut(id) else { return };
        if now < connecting.deadline {
            return self.try_next(id);
        }
        let (object, source) = (connecting.target.to_string(), io::ErrorKind::TimedOut.into());
        connecting.error = Some(match connecting.query {
            Some(_) => Error::resolve(object, source),
            None => Error::io("connect to", object, source),
        });
        self.connect_failed(id);
    }

    /// How many addresses were tried.
    pub(super) fn tried(&self, id: SlotId) -> u32 {
        self.stream(id).and_then(|stream| stream.connecting.as_ref()).map_or(0, |connecting| connecting.tried)
    }

    /// Gives back what connecting holds: it is won, lost or cancelled.
    pub(super) fn end_connecting(&mut self, connecting: &Connecting) {
        for net in connecting.nets() {
            self.net.close(net, false);
        }
        if let Some(query) = connecting.query {
            self.forget_query(query);
        }
    }

    /// Begins with the next address that lets itself be begun with.
    fn try_next(&mut self, id: SlotId) {
        while let Some(connecting) = self.connecting_mut(id) {
            let Some(to) = connecting.left.pop_front() else { break };
            if self.attempt(id, to) {
                break;
            }
        }
        match self.connecting_mut(id) {
            Some(connecting) if connecting.attempts.is_empty() && connecting.left.is_empty() => self.connect_failed(id),
            Some(_) => self.arm_connecting(id),
            None => {}
        }
    }

    /// Begins to connect to one address. False if that failed at once.
    fn attempt(&mut self, id: SlotId, to: Address) -> bool {
        let next_attempt = self.net.now().saturating_add(STAGGER);
        let Some(stream) = self.stream_mut(id) else { return true };
        let context = stream.context;
        let Some(connecting) = stream.connecting.as_mut() else { return true };
        // The one path of a target may be tried again, and is one address still.
        connecting.tried = if to.inet().is_some() { connecting.tried + 1 } else { 1 };
        connecting.next_attempt = next_attempt;
        let options = connecting.options;
        let begun = match to {
            Address::Inet(addr) => self.net.connect(addr, &options),
            Address::Path(_) | Address::Abstract(_) | Address::Unnamed => self.net.connect_unix(&to),
        };
        let error = match begun {
            Ok(net) => match self.ask_pre_open(net, context, &to) {
                Some(PreOpen::Keep) => match self.net.watch(net, id.to_bits(), true) {
                    Ok(()) => {
                        if let Some(connecting) = self.connecting_mut(id) {
                            connecting.attempts.push((net, to));
                        }
                        return true;
                    }
                    Err(error) => {
                        self.net.close(net, false);
                        error
                    }
                },
                Some(answer @ (PreOpen::Reject | PreOpen::Reset)) => {
                    self.net.close(net, answer == PreOpen::Reset);
                    io::ErrorKind::ConnectionAborted.into()
                }
                taken @ (Some(PreOpen::Take) | None) => {
                    if taken.is_some() {
                        self.net.close(net, false);
                    }
                    self.cancel(id);
                    return true;
                }
            },
            Err(error) => error,
        };
        let full = to.inet().is_none() && error.kind() == io::ErrorKind::WouldBlock;
        let Some(connecting) = self.connecting_mut(id) else { return true };
        connecting.failed(&to, error);
        if full {
            connecting.left.push_back(to);
        }
        full
    }

    /// The attempts shared their latches. What has happened on this one is to be reported again, for it alone.
    fn see_alone(&mut self, id: SlotId, net: NetId) -> io::Result<()> {
        self.net.watch(net, id.to_bits(), true)?;
        if let Some(stream) = self.stream_mut(id) {
            (stream.readable, stream.hung_up, stream.has_hung_up) = (false, false, false);
            if let Some(tls) = &mut stream.tls {
                tls.wire = false;
            }
        }
        Ok(())
    }

    fn ask_pre_open(&mut self, net: NetId, context: u32, to: &Address) -> Option<PreOpen> {
        let handler = self.context(context);
        let answer = RawSocket::new(&mut *self.net, net, to).ask(|raw| handler.pre_open(raw));
        self.after_callback("pre_open");
        answer
    }

    fn attempt_won(&mut self, id: SlotId, at: usize) {
        let Some(stream) = self.stream_mut(id) else { return };
        let Some(mut connecting) = stream.connecting.take() else { return };
        let (net, peer) = connecting.attempts.remove(at);
        (stream.net, stream.peer, stream.watches_write) = (Some(net), peer, true);
        if let Some(tls) = &mut stream.tls {
            tls.tried = connecting.tried;
        }
        self.end_connecting(&connecting);
        self.begin(id, Opened::Connected);
    }

    /// Nothing is left to try. What is told is the last error.
    fn connect_failed(&mut self, id: SlotId) {
        let tried = self.tried(id);
        let Some(connecting) = self.connecting_mut(id) else { return };
        let error = connecting.error.take().unwrap_or_else(|| {
            // The name has addresses, but none that can be reached from the source.
            Error::io("connect to", &connecting.target, io::ErrorKind::AddrNotAvailable.into())
        });
        self.leave(id, Some(LastWord::ConnectError(Box::new((error, tried)))));
    }

    /// Arms the one timer for the next attempt or the timeout, whichever comes first.
    fn arm_connecting(&mut self, id: SlotId) {
        let Some(stream) = self.stream(id) else { return };
        let (Some(connecting), timer) = (&stream.connecting, stream.timer) else { return };
        let staggered = (!connecting.left.is_empty()).then_some(connecting.next_attempt);
        let due = staggered.map_or(connecting.deadline, |next| next.min(connecting.deadline));
        let timer = timer.unwrap_or_else(|| TimerId(self.timers.add(Action::Stream(id), false)));
        self.timers.arm(timer.0, self.now, due, None);
        if let Some(stream) = self.stream_mut(id) {
            stream.timer = Some(timer);
        }
    }

    fn connecting_mut(&mut self, id: SlotId) -> Option<&mut Connecting> {
        let stream = self.stream_mut(id).filter(|stream| stream.phase == Phase::Connecting)?;
        stream.connecting.as_deref_mut()
    }
}

/// Whether a socket bound to `source` can connect to `addr`.
fn can_reach(source: Option<SocketAddr>, addr: &SocketAddr) -> bool {
    source.is_none_or(|source| source.is_ipv4() == addr.is_ipv4())
}

/// The addresses in their order, but the families in turn, beginning with that of the first.
fn alternating(addrs: impl Iterator<Item = SocketAddr>) -> VecDeque<Address> {
    let addrs: Vec<SocketAddr> = addrs.collect();
    let Some(first) = addrs.first() else { return VecDeque::new() };
    let (same, other): (Vec<_>, Vec<_>) = addrs.iter().partition(|addr| addr.is_ipv4() == first.is_ipv4());
    let (mut same, mut other) = (same.into_iter().copied(), other.into_iter().copied());
    let turns = std::iter::repeat_with(|| [same.next(), other.next()]).take(addrs.len());
    turns.flatten().flatten().map(Address::Inet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_keep_their_order() {
        let order = |addrs: &[&str]| -> Vec<String> {
            alternating(addrs.iter().map(|addr| addr.parse().unwrap())).iter().map(Address::to_string).collect()
        };
        let six = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"];
        assert_eq!(order(&six), ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        let four = ["1.1.1.1:1", "1.1.1.2:1", "[::1]:1", "[::2]:1"];
        assert_eq!(order(&four), ["1.1.1.1:1", "[::1]:1", "1.1.1.2:1", "[::2]:1"]);
        assert!(order(&[]).is_empty());
    }
}
