//! Readiness: what each loop is told, and when its poll ends.

use super::datagrams::UdpKey;
use super::world::{EndKey, ListenerKey, State};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::Signal;
use wharf_host::event_loop::net::{NetId, Ready, Resolved};

/// Polls without hope after which the world gives up: of a loop that is run by `run`, which would not end.
const REST_BOUND: u32 = 10_000;
/// Sockets that are remembered after their close, for events that come too late.
const REMEMBERED: usize = 8;

/// What a socket of a loop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Listener(ListenerKey),
    Stream(EndKey),
    Udp(UdpKey),
}

/// What has become possible and was not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    read: bool,
    write: bool,
}

impl Edge {
    const NONE: Self = Self { read: false, write: false };
    pub(super) const READ: Self = Self { read: true, write: false };
    pub(super) const WRITE: Self = Self { read: false, write: true };
    pub(super) const BOTH: Self = Self { read: true, write: true };
}

/// What a [`NetId`] names.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) what: What,
    token: u64,
    /// Watched, and for writing too.
    watched: Option<bool>,
    edge: Edge,
}

/// Whether a loop has anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// It may have; only its next poll can tell.
    No,
    /// Not before this instant, unless something happens.
    Until(Option<Instant>),
    /// The loop is gone.
    Forever,
}

/// One loop's part of the world.
#[derive(Debug)]
pub(super) struct NetState {
    slots: Vec<Option<Slot>>,
    /// Used again at once, the last first, to show who holds on to an old one.
    free: Vec<u32>,
    /// Tokens of the sockets closed last.
    closed: VecDeque<u64>,
    pub(super) woken: Arc<AtomicBool>,
    waits: Waits,
    watched_signals: Vec<Signal>,
    pub(super) arrived_signals: Vec<Signal>,
    /// What names stand for, to be told.
    answers: VecDeque<Resolved>,
}

impl NetState {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            closed: VecDeque::new(),
            woken: Arc::new(AtomicBool::new(false)),
            waits: Waits::No,
            watched_signals: Vec::new(),
            arrived_signals: Vec::new(),
            answers: VecDeque::new(),
        }
    }

    pub(super) fn insert(&mut self, what: What) -> NetId {
        let slot = Some(Slot { what, token: 0, watched: None, edge: Edge::NONE });
        if let Some(index) = self.free.pop() {
            self.slots[index as usize] = slot;
            return NetId(index);
        }
        self.slots.push(slot);
        NetId(u32::try_from(self.slots.len() - 1).expect("a test has fewer than 2^32 sockets"))
    }

    pub(super) fn remove(&mut self, id: NetId) -> Option<Slot> {
        let slot = self.slots.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        if slot.watched.is_some() {
            self.closed.push_back(slot.token);
            if self.closed.len() > REMEMBERED {
                self.closed.pop_front();
            }
        }
        Some(slot)
    }

    pub(super) fn slot(&self, id: NetId) -> Option<&Slot> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn ids(&self) -> Vec<NetId> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.is_some()).map(|(index, _)| NetId(index)).collect()
    }

    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn edge(&mut self, id: NetId, edge: Edge) {
        let Some(slot) = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        if let Some(write) = slot.watched {
            slot.edge.read |= edge.read;
            slot.edge.write |= edge.write && write;
        }
    }

    /// An answer ends one poll, whether the loop asks for it or not.
    pub(super) fn answer(&mut self, answer: Resolved) {
        self.answers.push_back(answer);
        self.woken.store(true, Ordering::Release);
    }

    pub(super) fn next_answer(&mut self) -> Option<Resolved> {
        self.answers.pop_front()
    }

    pub(super) fn leave(&mut self) {
        self.waits = Waits::Forever;
    }

    pub(super) fn ask_again(&mut self) {
        if self.waits != Waits::Forever {
            self.waits = Waits::No;
        }
    }

    pub(super) fn watch_signal(&mut self, signal: Signal) {
        self.watched_signals.push(signal);
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.waits {
            Waits::Until(deadline) => deadline,
            Waits::No | Waits::Forever => None,
        }
    }

    /// Whether a poll would find something at `now` or may do so.
    fn is_stirred(&self, now: Instant) -> bool {
        match self.waits {
            Waits::Forever => false,
            Waits::No => true,
            Waits::Until(deadline) => deadline.is_some_and(|at| at <= now) || self.has_news(),
        }
    }

    fn has_news(&self) -> bool {
        self.woken.load(Ordering::Acquire)
            || !self.arrived_signals.is_empty()
            || self.slots.iter().flatten().any(|slot| slot.edge != Edge::NONE)
    }
}

impl State {
    /// The poll of one loop. Nothing waits: either the clock moves, or another loop has to run first.
    pub(super) fn poll(&mut self, net: usize, wait: Option<Duration>, ready: &mut Vec<Ready>) {
        self.calls.polls += 1;
        self.at_rest = false;
        self.nets[net].waits = Waits::No;
        let until = wait.map(|wait| self.now.saturating_add(wait));
        self.close_dropped_tickets();
        loop {
            self.deliver_due();
            self.collect(net, ready);
            let woken = self.nets[net].woken.swap(false, Ordering::AcqRel);
            let over = until.is_some_and(|until| until <= self.now);
            if woken || over || !ready.is_empty() || self.nets[net].has_news() {
                (self.nets[net].waits, self.rests) = (Waits::No, 0);
                return;
            }
            self.nets[net].waits = Waits::Until(until);
            if self.is_stirred() {
                return;
            }
            if !self.advance() {
                self.rests += 1;
                assert!(self.rests < REST_BOUND, "the loop waits for ever: nothing can happen any more");
                return;
            }
        }
    }

    /// Whether some loop has something to do at this moment.
    pub(super) fn is_stirred(&self) -> bool {
        self.nets.iter().any(|net| net.is_stirred(self.now))
    }

    /// Reports `id` from now on, and what is possible at this moment.
    pub(super) fn watch(&mut self, net: usize, id: NetId, token: u64, write: bool) -> bool {
        let Some(what) = self.nets[net].slot(id).map(|slot| slot.what) else { return false };
        let (readable, writable, _) = self.possible(what);
        let slot = self.nets[net].slots[id.0 as usize].as_mut().expect("it was just found");
        (slot.token, slot.watched) = (token, Some(write));
        slot.edge = Edge { read: slot.edge.read || readable, write: write && (slot.edge.write || writable) };
        true
    }

    pub(super) fn raise(&mut self, signal: Signal) {
        for net in &mut self.nets {
            if net.watched_signals.contains(&signal) && !net.arrived_signals.contains(&signal) {
                net.arrived_signals.push(signal);
                net.woken.store(true, Ordering::Release);
            }
        }
    }

    /// Reading, writing, and whether a hang-up is pending.
    fn possible(&self, what: What) -> (bool, bool, bool) {
        match what {
            What::Listener(key) => (self.listeners[&key].is_ready(), false, false),
            What::Stream(key) => {
                let end = &self.ends[&key];
                (end.is_readable(), self.is_writable(key), end.is_hung_up())
            }
            What::Udp(key) => {
                let socket = &self.datagrams[&key];
                (socket.is_readable(), socket.is_writable(), socket.is_hung_up())
            }
        }
    }

    fn collect(&mut self, net: usize, ready: &mut Vec<Ready>) {
        for index in 0..self.nets[net].slots.len() {
            let Some(Slot { what, token, watched: Some(write), edge }) = self.nets[net].slots[index] else { continue };
            if edge == Edge::NONE {
                self.announce_nothing(token, write, ready);
                continue;
            }
            if self.strikes(self.faults.late_events) {
                continue;
            }
            self.nets[net].slots[index].as_mut().expect("it was just looked at").edge = Edge::NONE;
            let (readable, writable, hung_up) = self.possible(what);
            let merged = self.strikes(self.faults.merged);
            let read = readable && (edge.read || merged);
            let write = writable && write && (edge.write || merged);
            if read && write && self.strikes(self.faults.split) {
                ready.push(Ready { token, read, write: false, hung_up });
                ready.push(Ready { token, read: false, write, hung_up });
            } else if read || write {
                ready.push(Ready { token, read, write, hung_up });
            }
        }
        for at in 0..self.nets[net].closed.len() {
            // As above: not alone.
            if !ready.is_empty() && self.strikes(self.faults.stale_events) {
                let token = self.nets[net].closed[at];
                ready.push(Ready { token, read: true, write: true, hung_up: true });
            }
        }
        if self.faults.shuffled {
            for last in (1..ready.len()).rev() {
                ready.swap(last, self.rng.index(last + 1));
            }
        }
    }

    /// At times there is an event without a cause.
    fn announce_nothing(&mut self, token: u64, write: bool, ready: &mut Vec<Ready>) {
        // A poll that has nothing else to tell has to wait, or a faulty world would never rest.
        if !ready.is_empty() && self.strikes(self.faults.false_events) {
            let write = write && self.rng.chance(1, 2);
            ready.push(Ready { token, read: !write || self.rng.chance(1, 2), write, hung_up: false });
        }
    }
}
