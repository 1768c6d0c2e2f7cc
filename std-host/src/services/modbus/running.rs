//! A running server as whoever is on its loop sees it: everything that can be asked of it or done to it.

use super::connection::Peer;
use super::connections::drive;
use super::event::{ConnectionId, Event, Operation, Statistics};
use super::faults::FaultReport;
use super::handlers::{Function, FunctionRefused, Given, MAX_DATA, Request, Wrong, complaint, set_function};
use super::{Metrics, Shared, Unit, listeners};
use crate::config::modbus as plant;
use crate::event_loop::{LoopMut, SocketId};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::{Input, Reason, State};
use wharf_core::modbus::units::Cause;

/// A running server, on its loop. A [`Handle`](super::Handle) brings others there.
pub struct Running<'a> {
    site: &'a mut dyn Site,
}

impl std::fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A connection at one moment.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    /// Its name.
    pub id: ConnectionId,
    /// The other side.
    pub peer: SocketAddr,
    /// This side, if the system told.
    pub local: Option<SocketAddr>,
    /// What it is doing.
    pub state: State,
    /// Requests that are accepted and not answered yet.
    pub outstanding: usize,
    /// What it did so far.
    pub statistics: Statistics,
}

impl<'a> Running<'a> {
    pub(super) fn new(site: &'a mut dyn Site) -> Self {
        Self { site }
    }

    pub(super) fn shared(&self) -> &Shared {
        self.site.shared()
    }

    /// The name of the server.
    #[must_use]
    pub fn name(&self) -> String {
        self.site.shared().common.name.clone()
    }

    /// Adds a unit, or puts it in the place of the one with its id, which comes back. Connections see it with their next
    /// request; what the old one has deferred will still be answered.
    pub fn add_unit(&mut self, mut unit: Unit) -> Option<Unit> {
        let shared = self.site.shared();
        shared.settle(&mut unit);
        let id = unit.id;
        let replaced = shared.change_units(|units| match units.binary_search_by_key(&id, |unit| unit.id) {
            Ok(at) => {
                let mut replaced = std::mem::replace(&mut units[at], unit);
                replaced.retire();
                Some(replaced)
            }
            Err(at) => {
                units.insert(at, unit);
                None
            }
        });
        shared.emit(&Event::UnitAdded { unit: id, replaced: replaced.is_some() });
        replaced
    }

    /// Takes a unit out, data and all, if it is there.
    pub fn remove_unit(&mut self, id: u8) -> Option<Unit> {
        let shared = self.site.shared();
        let removed = shared.change_units(|units| {
            let at = units.binary_search_by_key(&id, |unit| unit.id).ok()?;
            let mut removed = units.remove(at);
            removed.retire();
            Some(removed)
        });
        if removed.is_some() {
            shared.emit(&Event::UnitRemoved { unit: id });
        }
        removed
    }

    /// Lets `f` act on a unit, if it is there; clients see all of it or nothing.
    pub fn with_unit<R>(&mut self, id: u8, f: impl FnOnce(&mut Unit) -> R) -> Option<R> {
        let shared = self.site.shared();
        shared.step(Cause::Api, |units| {
            let unit = units.unit_mut(id)?;
            let outcome = f(unit);
            // The list is in order of the ids, and stays so.
            unit.id = id;
            shared.settle(unit);
            shared.faults.borrow_mut().units_changed(units);
            Some(outcome)
        })
    }

    /// The addresses really bound, in order of the description.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.site.shared().common.local_addrs().to_vec()
    }

    /// How many connections there are.
    #[must_use]
    pub fn active(&self) -> usize {
        self.site.shared().active()
    }

    /// Says who answers a function code of a unit, from its next request on.
    ///
    /// # Errors
    /// When the code is no function code, has no built-in function, or there is no such unit.
    pub fn set_function(&mut self, unit: u8, code: u8, function: Function) -> Result<(), FunctionRefused> {
        let set = self.with_unit(unit, |unit| set_function(unit, code, function));
        set.unwrap_or(Err(FunctionRefused::NoUnit(unit)))
    }

    /// Hands over what an answerer has to say.
    pub(super) fn answer(&mut self, request: &Request, given: Given) {
        let dropped = matches!(given, Given::Dropped);
        let (pdu, wrong) = match given {
            Given::Reply(data) if data.len() <= MAX_DATA => (Ok(data), None),
            Given::Reply(data) => (Err(Exception::SERVER_DEVICE_FAILURE), Some(Wrong::Length(data.len()))),
            Given::Exception(code) => {
                let exception = Exception::new(code);
                let wrong = if exception.is_some() { None } else { Some(Wrong::Exception) };
                (Err(exception.unwrap_or(Exception::SERVER_DEVICE_FAILURE)), wrong)
            }
            Given::Dropped => (Err(Exception::SERVER_DEVICE_FAILURE), None),
        };
        let socket = self.site.shared().sockets.borrow().get(&request.connection).copied();
        let waited = socket.filter(|_| request.is_armed()).is_some_and(|socket| match pdu {
            Ok(mut data) => {
                data.insert(0, request.function);
                self.site.answer(socket, Input::Replied { id: request.id, pdu: &data })
            }
            Err(exception) => self.site.answer(socket, Input::Failed { id: request.id, exception }),
        });
        match wrong {
            Some(wrong) if waited => {
                self.handler_failed(complaint(request.connection, request.unit, request.function, wrong));
            }
            _ if waited || dropped => {}
            _ => self.site.shared().metrics.borrow_mut().late_replies += 1,
        }
    }

    /// Tells of a handler that has given a wrong answer.
    pub(super) fn handler_failed(&self, message: String) {
        self.site.shared().emit(&Event::Error { operation: Operation::Handler, message });
    }

    /// The ids of the units, ascending.
    #[must_use]
    pub fn units(&self) -> Vec<u8> {
        self.site.shared().units.borrow().units().iter().map(|unit| unit.id).collect()
    }

    /// The connections, in order of their ids.
    #[must_use]
    pub fn connections(&mut self) -> Vec<ConnectionReport> {
        self.connections_behind(0, usize::MAX)
    }

    /// The first `most` connections whose ids are above `last`, in order of their ids: for who cannot keep the loop as long
    /// as all of them take.
    #[must_use]
    pub fn connections_behind(&mut self, last: ConnectionId, most: usize) -> Vec<ConnectionReport> {
        let behind = |(id, socket): (&ConnectionId, &SocketId)| (*id > last).then_some((*id, *socket));
        let mut sockets: Vec<_> = self.site.shared().sockets.borrow().iter().filter_map(behind).collect();
        sockets.sort_unstable_by_key(|(id, _)| *id);
        sockets.into_iter().filter_map(|(_, socket)| self.site.report(socket)).take(most).collect()
    }

    /// Ends a connection at once, by a reset; false if there is none of this name.
    pub fn close(&mut self, id: ConnectionId) -> bool {
        let socket = self.site.shared().sockets.borrow().get(&id).copied();
        socket.is_some_and(|socket| self.site.input(socket, Input::Abort { reason: Reason::Kicked }))
    }

    /// What was counted so far.
    #[must_use]
    pub fn metrics(&mut self) -> Metrics {
        let now = self.site.clock();
        let shared = self.site.shared();
        let mut metrics = shared.metrics.borrow().clone();
        metrics.uptime = now.saturating_duration_since(shared.epoch.0);
        metrics.connections_active = shared.active() as u64;
        metrics.events_missed = shared.common.subscribers.missed();
        metrics.units = shared.units.borrow().units().len() as u64;
        metrics.faults = shared.faults.borrow().list(now, |at| shared.world_time(at));
        metrics
    }

    /// As [`Server::shutdown`](super::Server::shutdown).
    pub fn shutdown(&mut self) {
        self.site.shared().common.ask_to_shut_down();
        self.site.shutdown();
    }

    /// Every fault with what it has done, in the order in which they act.
    #[must_use]
    pub fn faults(&mut self) -> Vec<FaultReport> {
        let now = self.site.clock();
        let shared = self.site.shared();
        shared.faults.borrow().list(now, |at| shared.world_time(at))
    }

    /// Switches a fault off or on, be it for a while only; false if there is none of this name. It is in force from the next
    /// request on.
    pub fn fault(&mut self, name: &str, on: bool, span: Option<Duration>) -> bool {
        let until = span.map(|span| self.site.clock().saturating_add(span));
        let known = self.site.shared().faults.borrow_mut().switch(name, on, until);
        self.site.follow_faults();
        known
    }

    /// Adds a fault behind all others, or changes the one of its name, which keeps its place and its counters; whether there
    /// was one.
    pub fn put_fault(&mut self, fault: &plant::Fault) -> bool {
        let shared = self.site.shared();
        let changed = shared.faults.borrow_mut().put(&fault.name, fault.seeded(shared.seed));
        self.site.follow_faults();
        changed
    }

    /// Takes a fault out, if it is there.
    pub fn remove_fault(&mut self, name: &str) -> bool {
        let known = self.site.shared().faults.borrow_mut().remove(name);
        self.site.follow_faults();
        known
    }

    /// Takes all faults out.
    pub fn clear_faults(&mut self) {
        self.site.shared().faults.borrow_mut().clear();
        self.site.follow_faults();
    }
}

/// A server and its loop, whatever the loop's data are.
pub(super) trait Site {
    fn shared(&self) -> &Shared;
    /// The loop's clock, read anew.
    fn clock(&mut self) -> Instant;
    /// Gives a connection an input; false if it has ended.
    fn input(&mut self, socket: SocketId, input: Input<'_>) -> bool;
    /// Gives a connection the answer to a request that was put off; false if nobody waits for it any more.
    fn answer(&mut self, socket: SocketId, input: Input<'_>) -> bool;
    fn report(&mut self, socket: SocketId) -> Option<ConnectionReport>;
    /// Faults have been changed: listeners may have to follow.
    fn follow_faults(&mut self);
    fn shutdown(&mut self);
}

/// The one kind of [`Site`].
pub(super) struct OnLoop<'l, 'a, T: 'static> {
    pub(super) lp: &'l mut LoopMut<'a, T>,
    pub(super) shared: Rc<Shared>,
}

impl<T> Site for OnLoop<'_, '_, T> {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn clock(&mut self) -> Instant {
        self.lp.clock()
    }

    fn input(&mut self, socket: SocketId, input: Input<'_>) -> bool {
        let shared = &self.shared;
        let mut open = false;
        let found = self.lp.with_socket(shared.key(), socket, |s| {
            drive(s, |peer, stream| {
                open = !peer.is_over();
                peer.input(shared, stream, input);
            });
        });
        found.is_ok() && open
    }

    fn answer(&mut self, socket: SocketId, input: Input<'_>) -> bool {
        let shared = &self.shared;
        let mut waited = false;
        let found = self.lp.with_socket(shared.key(), socket, |s| {
            drive(s, |peer, stream| waited = peer.answered(shared, stream, input));
        });
        found.is_ok() && waited
    }

    fn report(&mut self, socket: SocketId) -> Option<ConnectionReport> {
        let local = self.lp.stream(socket).and_then(|stream| stream.local_addr()).ok();
        let peer = self.lp.user(self.shared.key(), socket).ok()?;
        Some(ConnectionReport { local, ..report(&peer)? })
    }

    fn follow_faults(&mut self) {
        listeners::follow(self.lp, &self.shared);
    }

    fn shutdown(&mut self) {
        shutdown(self.lp, &self.shared);
    }
}

fn report(peer: &Peer) -> Option<ConnectionReport> {
    Some(ConnectionReport {
        id: peer.id,
        peer: peer.address?,
        local: None,
        state: peer.state(),
        outstanding: peer.outstanding(),
        statistics: peer.statistics(),
    })
}

/// The first time closes the listeners and drains the connections; any other time cuts them.
pub(super) fn shutdown<T>(lp: &mut LoopMut<'_, T>, shared: &Rc<Shared>) {
    if shared.stopping.replace(true) {
        return cut(lp, shared);
    }
    listeners::close(lp, shared);
    each(lp, shared, || Input::Drain);
    shared.stopped();
    if let Some(timeout) = shared.shutdown_timeout.filter(|_| shared.active() > 0) {
        let shared = Rc::clone(shared);
        let timer = lp.add_timer(timeout, None, move |lp, _| cut(lp, &shared));
        // It must not keep a loop alive whose connections have all ended.
        let unref = timer.and_then(|timer| lp.unref_timer(timer, true));
        unref.expect("a timeout of the plant is within the range of timers");
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

impl Shared {
    /// Tells the handlers of a unit where they are.
    fn settle(&self, unit: &mut Unit) {
        if let Some(home) = self.handle.get() {
            unit.handlers.iter_mut().for_each(|entry| entry.handler.settle(home));
        }
    }

    /// Lets `f` change the list of units, which it keeps in order of their ids.
    fn change_units<R>(&self, f: impl FnOnce(&mut Vec<Unit>) -> R) -> R {
        let mut units = self.units.borrow_mut();
        let mut list = units.replace(Vec::new()).expect("no units are in order");
        let outcome = f(&mut list);
        units.replace(list).expect("the list has been kept in order");
        self.faults.borrow_mut().units_changed(&units);
        outcome
    }
}
