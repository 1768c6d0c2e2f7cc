//! One address on which all loops of a group listen.
//!
//! Either the system spreads the connections over a listener on each loop, or the first loop accepts them all and hands
//! them over in turn. Then the listener that each loop has is fed from an [`Inbox`] in place of a socket, and budget,
//! `max_sockets`, pauses and `pre_open` are the same for both: a handler cannot tell the difference.
//!
//! ```text
//! system ─► listener of the first loop ─► Acceptor ─┬─► inbox ─► listener of loop 0 ─► handler
//!                                                   └─► inbox ─► listener of loop 1 ─► handler
//! ```
//!
//! Each inbox holds the first listener, the door, open. When the last of them is gone, the door is closed, by a deferred
//! call: its loop may be another one. Whoever listens before that call has run takes the same door up again, because the
//! system would not give its address to a second one. Both happen under the lock of the [`State`].

use super::inbox::{Arrival, Inbox, Refusal};
use crate::event_loop::deferred::Why;
use crate::event_loop::handler::{Handler, PreOpen, RawSocket};
use crate::event_loop::net::ListenOptions;
use crate::event_loop::{ContextKey, Error, Handle, ListenerId, LoopMut, TlsConfig};
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Who spreads the connections of one address over the loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// The system, by `SO_REUSEPORT`: by a hash of the addresses, which is fair over many clients.
    System,
    /// The first loop that listens: it accepts, and hands over in turn.
    InTurn,
}

impl Default for Spread {
    /// The system where it does so, which is Linux; else in turn.
    fn default() -> Self {
        if cfg!(any(target_os = "linux", target_os = "android")) { Self::System } else { Self::InTurn }
    }
}

/// An address that all loops of a [`Group`](super::Group) listen on: clone it into the group's setup, and let each loop
/// [`listen`](GroupListener::listen).
pub struct GroupListener<T: 'static = ()> {
    options: ListenOptions,
    spread: Spread,
    state: Arc<Mutex<State<T>>>,
}

struct State<T: 'static> {
    addr: SocketAddr,
    /// Those who are served in turn.
    members: Vec<Member<T>>,
    next: usize,
    /// The listener that accepts for all, until it is closed.
    door: Option<Door<T>>,
    /// The context of the doors of the loop that opened one last.
    acceptors: Vec<ContextKey<Acceptor<T>>>,
    /// Connections that no loop had room for, since the last one that was taken.
    turned_away: u64,
}

/// The open listener of the loop that accepts for all.
struct Door<T: 'static> {
    handle: Handle<T>,
    listener: ListenerId,
    /// What its inboxes share.
    hold: Weak<Hold<T>>,
}

impl<T> GroupListener<T> {
    /// Nothing is opened yet. Port 0 lets the system choose for the first loop that listens, and the others use the
    /// same. The options are those of each loop: `max_sockets` is a limit per loop.
    #[must_use]
    pub fn new(addr: SocketAddr, options: ListenOptions, spread: Spread) -> Self {
        let state = State { addr, members: Vec::new(), next: 0, door: None, acceptors: Vec::new(), turned_away: 0 };
        Self { options, spread, state: Arc::new(Mutex::new(state)) }
    }

    /// Listens, on this loop; accepted sockets belong to the context `key`. What comes in before a loop runs waits.
    ///
    /// A loop that is at its `max_sockets` or paused lets others go first as soon as `backlog` connections wait for it;
    /// where all are, clients are turned away. A loop that has closed its listener may listen again at once.
    ///
    /// # Errors
    /// As for [`LoopMut::listen`].
    pub fn listen<H: Handler<T>>(&self, lp: &mut LoopMut<'_, T>, key: ContextKey<H>) -> Result<ListenerId, Error> {
        let mut state = lock(&self.state);
        match self.spread {
            Spread::System => {
                let id = lp.listen(state.addr, key, ListenOptions { reuse_port: true, ..self.options })?;
                state.addr = lp.listener(id)?.local_addr();
                Ok(id)
            }
            Spread::InTurn => {
                lp.core.refuse_if_ended()?;
                lp.typed(key)?;
                let hold = match self.take_up(&mut state) {
                    Some(hold) => hold,
                    None => self.open(&mut state, lp)?,
                };
                let inbox = Arc::new(Inbox::new(self.options.backlog, hold));
                let inlet = Arc::downgrade(&inbox);
                let id = lp.listen_to_inbox(state.addr, key, &self.options, inbox)?;
                state.members.retain(|member| member.inbox.strong_count() > 0);
                state.members.push(Member { handle: lp.handle(), listener: id, inbox: inlet });
                Ok(id)
            }
        }
    }

    /// [`GroupListener::listen`] for TLS, otherwise like [`LoopMut::listen_tls`]; a connection that is handed over shakes
    /// hands on the loop that gets it. Clones of one configuration, which is what a group's setup gives to its loops,
    /// share their server names, tickets and sessions: a name that is added on any thread is there for all loops, and a
    /// session that began on one goes on on another.
    ///
    /// # Errors
    /// As for [`LoopMut::listen`].
    pub fn listen_tls<H: Handler<T>>(
        &self,
        lp: &mut LoopMut<'_, T>,
        key: ContextKey<H>,
        tls: &TlsConfig,
    ) -> Result<ListenerId, Error> {
        let id = self.listen(lp, key)?;
        lp.speak_tls(id, tls);
        Ok(id)
    }

    /// The address; its port is 0 only if it was given so and no loop listens yet.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        lock(&self.state).addr
    }

    /// The door that is open, though it may be about to close. That of a loop that has ended is none.
    fn take_up(&self, state: &mut State<T>) -> Option<Arc<Hold<T>>> {
        let door = state.door.as_mut().filter(|door| !door.handle.has_ended())?;
        Some(door.hold.upgrade().unwrap_or_else(|| {
            let hold = Hold { handle: door.handle.clone(), listener: door.listener, state: Arc::clone(&self.state) };
            let hold = Arc::new(hold);
            door.hold = Arc::downgrade(&hold);
            hold
        }))
    }

    /// Lets this loop accept for all.
    fn open(&self, state: &mut State<T>, lp: &mut LoopMut<'_, T>) -> Result<Arc<Hold<T>>, Error> {
        let own = state.acceptors.iter().copied().find(|key| lp.typed(*key).is_ok());
        let key = own.unwrap_or_else(|| {
            let key = lp.context(Acceptor { state: Arc::clone(&self.state) });
            state.acceptors.push(key);
            key
        });
        let listener = lp.listen(state.addr, key, ListenOptions { max_sockets: None, ..self.options })?;
        state.addr = lp.listener(listener)?.local_addr();
        let hold = Arc::new(Hold { handle: lp.handle(), listener, state: Arc::clone(&self.state) });
        state.door = Some(Door { handle: lp.handle(), listener, hold: Arc::downgrade(&hold) });
        Ok(hold)
    }
}

impl<T> Clone for GroupListener<T> {
    fn clone(&self) -> Self {
        Self { options: self.options, spread: self.spread, state: Arc::clone(&self.state) }
    }
}

impl<T> fmt::Debug for GroupListener<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (addr, spread) = (self.local_addr(), self.spread);
        f.debug_struct("GroupListener").field("addr", &addr).field("spread", &spread).finish_non_exhaustive()
    }
}

/// Holds the door open. Asks its loop to close it when nobody is left to accept for.
struct Hold<T: 'static> {
    handle: Handle<T>,
    listener: ListenerId,
    state: Arc<Mutex<State<T>>>,
}

impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        let (listener, state) = (self.listener, Arc::clone(&self.state));
        // A loop that has ended has closed all its listeners.
        let _ = self.handle.defer_always(move |lp| lock(&state).close_unheld(lp, listener));
    }
}

/// A loop that is served in turn.
struct Member<T: 'static> {
    handle: Handle<T>,
    listener: ListenerId,
    inbox: Weak<Inbox>,
}

impl<T> Member<T> {
    fn give(&self, arrival: Arrival) -> Result<(), Refusal> {
        let Some(inbox) = self.inbox.upgrade() else { return Err(Refusal::Closed(arrival)) };
        inbox.put(arrival)?;
        let id = self.listener;
        match self.handle.defer(move |lp| lp.core.listener_filled(id)) {
            Ok(()) => Ok(()),
            // If it was taken meanwhile, an earlier call has told the loop.
            Err(rejected) => inbox.take_back().map_or(Ok(()), |arrival| {
                Err(if rejected.why == Why::Ended { Refusal::Closed(arrival) } else { Refusal::Full(arrival) })
            }),
        }
    }
}

impl<T> State<T> {
    /// Closes a door, unless it has been taken up again.
    fn close_unheld(&mut self, lp: &mut LoopMut<'_, T>, listener: ListenerId) {
        if let Some(door) = self.door.take_if(|door| door.listener == listener && door.hold.strong_count() == 0)
            && let Ok(listener) = lp.listener(door.listener)
        {
            listener.close();
        }
    }

    /// Gives a connection to the next loop that has room for it. With none it is closed.
    fn hand_over(&mut self, mut arrival: Arrival) {
        for _ in 0..self.members.len() {
            let at = self.next % self.members.len();
            match self.members[at].give(arrival) {
                Ok(()) => {
                    self.next = at + 1;
                    let turned_away = std::mem::take(&mut self.turned_away);
                    if turned_away > 0 {
                        tracing::warn!(turned_away, "there is room for connections again");
                    }
                    return;
                }
                Err(Refusal::Full(back)) => {
                    self.next = at + 1;
                    arrival = back;
                }
                Err(Refusal::Closed(back)) => {
                    self.members.remove(at);
                    self.next = at;
                    arrival = back;
                }
            }
        }
        if self.turned_away == 0 {
            tracing::warn!("{} is turned away: no loop has room for another connection", arrival.1);
        }
        self.turned_away += 1;
    }
}

/// Takes every connection out before it becomes a socket of the loop that accepts.
struct Acceptor<T: 'static> {
    state: Arc<Mutex<State<T>>>,
}

impl<T: 'static> Handler<T> for Acceptor<T> {
    type Data = ();

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        let peer = raw.peer_addr();
        if let Some(fd) = raw.take() {
            lock(&self.state).hand_over((TcpStream::from(fd), peer));
        }
        PreOpen::Take
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    // A panic under this lock leaves the list of members whole.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
