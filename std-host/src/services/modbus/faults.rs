//! What goes wrong on purpose: the plan of a server, the names of its faults, and what stands between the plan and one
//! connection. What a fault does is decided in the core.
//!
//! A unit whose replies are late by its `response_delay` is served by a fault that no list names.

use super::Shared;
use super::event::{ConnectionId, Event};
use super::storage::Heap;
use crate::config::modbus as plant;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use wharf_core::Instant;
use wharf_core::modbus::faults::{
    Acting, Asked, Decision, Ended, Entry, Fault, FaultId, Faults, How, Kind, Listening, Plan, Tally,
};
use wharf_core::modbus::units::Units;

/// A fault at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultReport {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub fault: Fault,
    /// Whether it is switched on, be it in its window or not.
    pub enabled: bool,
    /// When a fault that was switched on for a while goes off.
    pub until: Option<SystemTime>,
    /// Requests that it was switched on for and in its window.
    pub checked: u64,
    /// Those of them that it is aimed at.
    pub matched: u64,
    /// Those that it acted on.
    pub applied: u64,
    /// Those that it would have acted on, had not another fault won.
    pub suppressed: u64,
    /// Bytes of replies that it changed, added or took away.
    pub bytes: u64,
    /// When it acted last.
    pub last: Option<SystemTime>,
}

/// The faults of a server.
#[derive(Debug)]
pub(super) struct Board {
    plan: Plan<Vec<Entry>>,
    /// In the order of the plan.
    names: Vec<Arc<str>>,
    next: u32,
    /// Another one whenever a fault has come or gone.
    edition: u32,
    /// How much later replies leave, by the unit asked for; none if none does.
    delays: Option<Box<[Duration; 256]>>,
    told: Vec<Told>,
}

/// A fault that acts on a request.
#[derive(Debug)]
struct Told {
    fault: FaultId,
    unit: u8,
    function: u8,
}

/// What a connection keeps for the faults that count for each connection by itself: nothing where there are none.
#[derive(Debug, Default)]
pub(super) struct Tallies(Option<Box<Places>>);

#[derive(Debug, Default)]
struct Places {
    tallies: Vec<Tally>,
    edition: u32,
}

impl Board {
    /// The faults of a server that started at `started`.
    pub(super) fn new(described: &plant::Server, units: &Units<Heap>, started: Instant) -> Self {
        let mut board = Self {
            plan: Plan::new(Vec::new(), started),
            names: Vec::new(),
            next: 0,
            edition: 0,
            delays: None,
            told: Vec::new(),
        };
        for fault in &described.faults {
            board.put(&fault.name, fault.seeded(described.seed));
        }
        board.units_changed(units);
        board
    }

    /// Whether any reply may differ from an honest one.
    pub(super) const fn is_active(&self) -> bool {
        !self.names.is_empty() || self.delays.is_some()
    }

    /// Adds a fault, at the end of the plan, or changes the one of this name, which keeps its place and what it has counted;
    /// true if there was one. What it skips and how often it may act begins anew.
    pub(super) fn put(&mut self, name: &str, fault: Fault) -> bool {
        let id = FaultId(self.next);
        self.next += 1;
        self.edition = self.edition.wrapping_add(1);
        let entry = Entry::new(id, fault);
        match self.place(name) {
            Some(at) => {
                let statistics = self.plan.entries[at].statistics;
                self.plan.entries[at] = entry;
                self.plan.entries[at].statistics = statistics;
                true
            }
            None => {
                self.plan.entries.push(entry);
                self.names.push(name.into());
                false
            }
        }
    }

    /// Takes a fault out; whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let at = self.place(name);
        if let Some(at) = at {
            self.plan.entries.remove(at);
            self.names.remove(at);
            self.edition = self.edition.wrapping_add(1);
        }
        at.is_some()
    }

    /// Takes all faults out.
    pub(super) fn clear(&mut self) {
        self.plan.entries.clear();
        self.names.clear();
        self.edition = self.edition.wrapping_add(1);
    }

    /// Switches a fault; whether it is there.
    pub(super) fn switch(&mut self, name: &str, on: bool, until: Option<Instant>) -> bool {
        let at = self.place(name);
        if let Some(at) = at {
            self.plan.entries[at].enable(on, until.filter(|_| on));
        }
        at.is_some()
    }

    /// Every fault as it is now, in the order of the plan.
    pub(super) fn list(&self, now: Instant, world: impl Fn(Instant) -> SystemTime) -> Vec<FaultReport> {
        let report = |(entry, name): (&Entry, &Arc<str>)| FaultReport {
            name: Arc::clone(name),
            fault: entry.fault().clone(),
            enabled: entry.is_enabled(now),
            until: entry.until().filter(|until| now < *until).map(&world),
            checked: entry.statistics.checked,
            matched: entry.statistics.matched,
            applied: entry.statistics.applied,
            suppressed: entry.statistics.suppressed,
            bytes: entry.statistics.bytes,
            last: entry.statistics.last.map(&world),
        };
        self.plan.entries.iter().zip(&self.names).map(report).collect()
    }

    /// What stands between the plan and a connection; `None` if nothing can go wrong.
    pub(super) fn deciding<'b>(&'b mut self, peer: Option<IpAddr>, local: &'b mut Tallies) -> Option<Deciding<'b>> {
        if !self.is_active() {
            return None;
        }
        let acting = self.plan.acting(peer, local.fit(&self.plan, self.edition));
        Some(Deciding { acting, delays: self.delays.as_deref(), told: &mut self.told })
    }

    /// How a connection that was just accepted is to end, after how long, and by which faults.
    pub(super) fn accepted(
        &mut self,
        now: Instant,
        peer: Option<IpAddr>,
        local: &mut Tallies,
    ) -> Option<(How, Duration, Arc<str>)> {
        if self.plan.is_empty() {
            return None;
        }
        let before = self.applied();
        let local = local.fit(&self.plan, self.edition);
        let (how, delay) = self.plan.acting(peer, local).accepted(now)?;
        let name = self.acted_since(&before).next()?;
        Some((how, delay, name))
    }

    /// Whether anybody can connect now, when that may change by itself, and the faults that have just begun to say so.
    pub(super) fn listening(&mut self, now: Instant) -> (Listening, Option<Instant>, Vec<Arc<str>>) {
        let before = self.applied();
        let listening = self.plan.listening(now);
        (listening, self.plan.listening_changes(now), self.acted_since(&before).collect())
    }

    /// Units have come, gone or changed.
    pub(super) fn units_changed(&mut self, units: &Units<Heap>) {
        let delay = |id| units.answering(id).map_or(Duration::ZERO, |unit| unit.response_delay);
        let all = units.units().iter().chain(units.own_default());
        let any = all.map(|unit| unit.response_delay).any(|delay| !delay.is_zero());
        self.delays = any.then(|| {
            let mut delays = Box::new([Duration::ZERO; 256]);
            delays.iter_mut().zip(0..=u8::MAX).for_each(|(slot, id)| *slot = delay(id));
            delays
        });
    }

    fn applied(&self) -> Vec<u64> {
        self.plan.entries.iter().map(|entry| entry.statistics.applied).collect()
    }

    fn acted_since(&self, before: &[u64]) -> impl Iterator<Item = Arc<str>> {
        let acted = self.plan.entries.iter().zip(before).map(|(entry, before)| entry.statistics.applied > *before);
        acted.zip(&self.names).filter(|(acted, _)| *acted).map(|(_, name)| Arc::clone(name))
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name)
    }
}

impl Tallies {
    /// Keeps counts of faults that the plan has, and has room for those that it has none of yet.
    fn fit(&mut self, plan: &Plan<Vec<Entry>>, edition: u32) -> &mut [Tally] {
        if self.0.as_ref().is_none_or(|places| places.edition != edition) {
            let mut tallies = self.0.take().map_or_else(Vec::new, |places| places.tallies);
            tallies.retain(|tally| tally.fault().is_some_and(|id| plan.entry(id).is_some()));
            tallies.resize(plan.tallies(), Tally::EMPTY);
            if !tallies.is_empty() {
                self.0 = Some(Box::new(Places { tallies, edition }));
            }
        }
        self.0.as_mut().map_or(&mut [], |places| &mut places.tallies)
    }
}

/// A plan at the service of one connection.
pub(super) struct Deciding<'b> {
    acting: Acting<'b>,
    delays: Option<&'b [Duration; 256]>,
    told: &'b mut Vec<Told>,
}

impl Faults for Deciding<'_> {
    fn choose(&mut self, now: Instant, asked: &Asked, decision: &mut Decision) {
        let delay = self.delays.map_or(Duration::ZERO, |delays| delays[usize::from(asked.unit)]);
        if !delay.is_zero() {
            // The first one, so that there is room for it.
            decision.add(0, FaultId::OF_UNIT, &Fault::new(Kind::Delay { delay, jitter: Duration::ZERO }), 0);
        }
        self.acting.choose(now, asked, decision);
    }

    fn judge(&mut self, now: Instant, asked: &Asked, ended: Ended, decision: &mut Decision) {
        self.acting.judge(now, asked, ended, decision);
        let acting = decision.choices().iter().map(|choice| choice.fault).filter(|fault| *fault != FaultId::OF_UNIT);
        self.told.extend(acting.map(|fault| Told { fault, unit: asked.unit, function: asked.function }));
    }

    fn suppressed(&mut self, fault: FaultId) {
        self.acting.suppressed(fault);
        if let Some(last) = self.told.iter().rposition(|told| told.fault == fault) {
            self.told.remove(last);
        }
    }

    fn altered(&mut self, fault: FaultId, bytes: usize) {
        self.acting.altered(fault, bytes);
    }
}

impl Shared {
    /// Tells of the faults that have acted on requests of a connection since the last time.
    pub(super) fn tell_faults(&self, id: ConnectionId) {
        let mut told = std::mem::take(&mut self.faults.borrow_mut().told);
        for Told { fault, unit, function } in told.drain(..) {
            let board = self.faults.borrow();
            let at = board.plan.entries.iter().position(|entry| entry.id() == fault);
            let name = at.map(|at| Arc::clone(&board.names[at]));
            drop(board);
            if let Some(fault) = name {
                self.emit(&Event::Fault { id: Some(id), fault, request: Some((unit, function)) });
            }
        }
        self.faults.borrow_mut().told = told;
    }
}
