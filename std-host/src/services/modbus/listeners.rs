//! The listening sockets of a server, what goes wrong at them, and what faults make of them.

use super::Shared;
use super::event::{Event, Operation, Rejection};
use crate::config::modbus as plant;
use crate::event_loop::{AcceptFailed, Error, ListenOptions, ListenerId, LoopMut, MAX_SPAN, TimerId};
use std::any::Any;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::modbus::faults::Listening;

/// How long an address that somebody else has taken meanwhile is left alone before it is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// The listeners of a server.
pub(super) struct Listeners {
    /// With the addresses really bound; one that a fault has closed has none.
    pub(super) sockets: Vec<(Option<ListenerId>, SocketAddr)>,
    options: ListenOptions,
    /// What the faults said last.
    listening: Listening,
    /// Runs until they may say something else.
    timer: Option<TimerId>,
    /// Keeps the loop alive while listeners are closed that will be opened again.
    keeper: Option<Box<dyn Any>>,
}

impl Listeners {
    pub(super) fn new(described: &plant::Server) -> Self {
        let options = ListenOptions {
            backlog: described.backlog.into(),
            v6only: true,
            nodelay: described.nodelay,
            ..ListenOptions::default()
        };
        Self { sockets: Vec::new(), options, listening: Listening::Open, timer: None, keeper: None }
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(_, address)| *address).collect()
    }
}

/// Opens all listeners, or none.
pub(super) fn open<T>(lp: &mut LoopMut<'_, T>, shared: &Shared, described: &plant::Server) -> Result<(), Error> {
    for address in &described.listen {
        let opened = listen(lp, shared, *address);
        match opened.and_then(|id| Ok((Some(id), lp.listener(id)?.local_addr()))) {
            Ok(listener) => shared.listeners.borrow_mut().sockets.push(listener),
            Err(error) => {
                close(lp, shared);
                return Err(error);
            }
        }
    }
    Ok(())
}

fn listen<T>(lp: &mut LoopMut<'_, T>, shared: &Shared, address: SocketAddr) -> Result<ListenerId, Error> {
    let options = shared.listeners.borrow().options;
    lp.listen(address, shared.key(), options)
}

/// Closes all of them for good.
pub(super) fn close<T>(lp: &mut LoopMut<'_, T>, shared: &Shared) {
    let mut listeners = shared.listeners.borrow_mut();
    for (id, _) in listeners.sockets.drain(..) {
        close_one(lp, id);
    }
    listeners.keeper = None;
    if let Some(timer) = listeners.timer.take() {
        // It is closed nowhere else.
        let _ = lp.close(timer);
    }
}

fn close_one<T>(lp: &mut LoopMut<'_, T>, id: Option<ListenerId>) {
    if let Some(Ok(listener)) = id.map(|id| lp.listener(id)) {
        listener.close();
    }
}

/// Does what the faults say about listeners, and comes back when they may say something else.
pub(super) fn follow<T>(lp: &mut LoopMut<'_, T>, shared: &Rc<Shared>) {
    if shared.stopping.get() {
        return;
    }
    let now = lp.clock();
    let (listening, mut next, begun) = shared.faults.borrow_mut().listening(now);
    for fault in begun {
        shared.emit(&Event::Fault { id: None, fault, request: None });
    }
    let was = std::mem::replace(&mut shared.listeners.borrow_mut().listening, listening);
    if listening == Listening::Refused {
        refuse(lp, shared);
    } else if !(reopen(lp, shared) && listening == was) {
        stall(lp, shared, listening == Listening::Stalled);
    }
    if listening != Listening::Refused && shared.listeners.borrow().keeper.is_some() {
        let retry = now.saturating_add(RETRY);
        next = Some(next.map_or(retry, |next| next.min(retry)));
    }
    let Some(due) = next else { return };
    let due = due.min(lp.now().saturating_add(MAX_SPAN));
    let timer = shared.listeners.borrow().timer;
    let timer = timer.unwrap_or_else(|| {
        let again = Rc::clone(shared);
        lp.add_idle_timer(move |lp, _| follow(lp, &again))
    });
    shared.listeners.borrow_mut().timer = Some(timer);
    // A loop on which nothing else is left ends.
    let armed = lp.unref_timer(timer, true).and_then(|()| lp.reset_at(timer, due));
    armed.expect("the timer lives as long as the server listens");
}

/// Closes the listeners, to open them again.
fn refuse<T>(lp: &mut LoopMut<'_, T>, shared: &Shared) {
    let mut listeners = shared.listeners.borrow_mut();
    for (id, _) in &mut listeners.sockets {
        close_one(lp, id.take());
    }
    if listeners.keeper.is_none() {
        let handle = lp.handle();
        handle.keep_alive(true);
        listeners.keeper = Some(Box::new(handle));
    }
}

/// Opens the listeners that were closed; false if any of them was. An address that cannot be had is asked for again.
fn reopen<T>(lp: &mut LoopMut<'_, T>, shared: &Shared) -> bool {
    if shared.listeners.borrow().keeper.is_none() {
        return true;
    }
    let mut all = true;
    let addresses = shared.listeners.borrow().addresses();
    for (at, address) in addresses.into_iter().enumerate() {
        if shared.listeners.borrow().sockets[at].0.is_some() {
            continue;
        }
        match listen(lp, shared, address) {
            Ok(id) => shared.listeners.borrow_mut().sockets[at].0 = Some(id),
            Err(error) => {
                all = false;
                shared.emit(&Event::Error { operation: Operation::Accept, message: error.to_string() });
            }
        }
    }
    if all {
        shared.listeners.borrow_mut().keeper = None;
    }
    false
}

/// Accepts nobody, or everybody again.
fn stall<T>(lp: &mut LoopMut<'_, T>, shared: &Shared, stall: bool) {
    for (id, _) in &shared.listeners.borrow().sockets {
        if let Some(Ok(mut listener)) = id.map(|id| lp.listener(id)) {
            if stall {
                listener.pause();
            } else {
                listener.resume();
            }
        }
    }
}

/// Tells of a connection that could not be accepted.
pub(super) fn accept_failed(shared: &Shared, failed: AcceptFailed) {
    let (error, advice) = match failed {
        AcceptFailed::Transient(error) | AcceptFailed::Fatal(error) => (error, String::new()),
        AcceptFailed::Exhausted { error, pause, refused } => {
            if let Some(peer) = refused.and_then(|address| address.inet()) {
                shared.emit(&Event::Rejected { peer, reason: Rejection::Descriptors });
            }
            let advice = format!(
                "; accepting goes on in {pause:?} (if descriptors are short, raise the limit on open files: ulimit -n)"
            );
            (error, advice)
        }
    };
    shared.emit(&Event::Error { operation: Operation::Accept, message: format!("{error}{advice}") });
}
