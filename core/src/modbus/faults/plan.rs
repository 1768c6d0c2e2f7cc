//! Which faults act on what: their order, counters and random choices.
//!
//! A [`Plan`] belongs to a server. A connection gets an [`Acting`] of it with every input, which is the plan together with
//! what belongs to that connection: its peer, and the counts of faults that count for each connection by itself.

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the kinds of faults")]

use super::asked::Asked;
use super::decision::Decision;
use super::fault::{Fault, How, Kind, Scope, Stage, Window};
use super::target::Reply;
use super::{Ended, Faults};
use crate::random::SplitMix64;
use crate::time::{Instant, earliest};
use core::net::IpAddr;
use core::time::Duration;

/// Names a fault of a plan. It outlives changes of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FaultId(pub u32);

impl FaultId {
    /// No fault of any plan, so that nothing counts it: what a driver does of its own accord to the replies of a unit.
    pub const OF_UNIT: Self = Self(u32::MAX);
}

/// A fault with its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    id: FaultId,
    fault: Fault,
    /// When a fault that was enabled for a while is over.
    until: Option<Instant>,
    source: SplitMix64,
    tally: Tally,
    /// When it acted before it did last, which counts again if it has lost that last time.
    before_last: Option<Instant>,
    /// Whether a fault on listeners has been found in force.
    in_force: bool,
    /// What it has done.
    pub statistics: Statistics,
}

/// What a fault has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Statistics {
    /// Requests that it was enabled for and in its window.
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
    pub last: Option<Instant>,
}

/// How often a fault has matched and acted, for all connections or for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tally {
    fault: Option<FaultId>,
    matches: u64,
    actions: u64,
}

impl Tally {
    /// A free place.
    pub const EMPTY: Self = Self { fault: None, matches: 0, actions: 0 };

    /// The fault that it counts, if the place is taken.
    #[must_use]
    pub const fn fault(&self) -> Option<FaultId> {
        self.fault
    }
}

/// Whether anybody can connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Listening {
    /// Yes.
    Open,
    /// The listeners are there and accept nobody.
    Stalled,
    /// There are no listeners.
    Refused,
}

impl Entry {
    /// A fault under a name that no other fault of the plan has or had.
    #[must_use]
    pub const fn new(id: FaultId, fault: Fault) -> Self {
        let source = SplitMix64::new(fault.seed);
        let statistics = Statistics { checked: 0, matched: 0, applied: 0, suppressed: 0, bytes: 0, last: None };
        Self { id, fault, until: None, source, tally: Tally::EMPTY, before_last: None, in_force: false, statistics }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> FaultId {
        self.id
    }

    /// The fault.
    #[must_use]
    pub const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Switches it on, for good or until an instant, or off. Its counts and random choices go on where they were.
    pub const fn enable(&mut self, on: bool, until: Option<Instant>) {
        self.fault.enabled = on;
        self.until = until;
    }

    /// When it goes off, if it was switched on for a while only.
    #[must_use]
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it is switched on now, be it in its window or not.
    #[must_use]
    pub fn is_enabled(&self, now: Instant) -> bool {
        self.fault.enabled && self.until.is_none_or(|until| now < until)
    }

    fn is_in_force(&self, now: Instant, started: Instant) -> bool {
        self.is_enabled(now) && is_within(&self.fault.window, micros_since(started, now))
    }

    /// Whether it acts on what it is in force for and aimed at; counts.
    fn acts(&mut self, now: Instant, local: &mut [Tally]) -> bool {
        self.statistics.matched = self.statistics.matched.saturating_add(1);
        let quota = self.fault.quota;
        let tally = match quota.scope {
            Scope::Server => &mut self.tally,
            Scope::Connection => match tally_of(local, self.id) {
                Some(tally) => tally,
                None => return false,
            },
        };
        tally.matches = tally.matches.saturating_add(1);
        let behind = tally.matches.saturating_sub(quota.skip);
        let acts = behind > 0
            && behind.is_multiple_of(quota.every.max(1))
            && quota.max.is_none_or(|max| tally.actions < max)
            && self.source.happens(self.fault.probability);
        if acts {
            tally.actions = tally.actions.saturating_add(1);
            self.statistics.applied = self.statistics.applied.saturating_add(1);
            self.before_last = self.statistics.last.replace(now);
        }
        acts
    }

    /// It has lost after all.
    fn suppressed(&mut self, local: &mut [Tally]) {
        self.statistics.applied = self.statistics.applied.saturating_sub(1);
        self.statistics.suppressed = self.statistics.suppressed.saturating_add(1);
        self.statistics.last = self.before_last;
        let tally = match self.fault.quota.scope {
            Scope::Server => Some(&mut self.tally),
            Scope::Connection => tally_of(local, self.id),
        };
        if let Some(tally) = tally {
            tally.actions = tally.actions.saturating_sub(1);
        }
    }
}

/// The place of a fault's counts, a free one if it has none yet.
fn tally_of(local: &mut [Tally], id: FaultId) -> Option<&mut Tally> {
    let at = local.iter().position(|tally| tally.fault == Some(id));
    let at = at.or_else(|| local.iter().position(|tally| tally.fault.is_none()))?;
    let tally = local.get_mut(at)?;
    tally.fault = Some(id);
    Some(tally)
}

fn is_within(window: &Window, since: u64) -> bool {
    let from = micros(window.from);
    if since < from || window.until.is_some_and(|until| since >= micros(until)) {
        return false;
    }
    let into = since.saturating_sub(from);
    window.cycle.is_none_or(|(on, off)| {
        let whole = micros(on).saturating_add(micros(off));
        off.is_zero() || into.checked_rem(whole).is_none_or(|into| into < micros(on))
    })
}

/// When a window next opens or closes, in microseconds from the start; always later than `since`.
fn next_edge(window: &Window, since: u64) -> Option<u64> {
    let from = micros(window.from);
    if since < from {
        return Some(from);
    }
    let until = window.until.map(micros);
    if until.is_some_and(|until| until <= since) {
        return None;
    }
    let cycle = window.cycle.filter(|(on, off)| !on.is_zero() && !off.is_zero()).and_then(|(on, off)| {
        let (on, off) = (micros(on), micros(off));
        let rest = since.saturating_sub(from).checked_rem(on.saturating_add(off))?;
        let edge = if rest < on { on } else { on.saturating_add(off) };
        Some(since.saturating_sub(rest).saturating_add(edge)).filter(|edge| *edge > since)
    });
    match (until, cycle) {
        (Some(until), Some(cycle)) => Some(until.min(cycle)),
        (one, other) => one.or(other),
    }
}

fn micros_since(started: Instant, now: Instant) -> u64 {
    now.as_micros().saturating_sub(started.as_micros())
}

/// Parts of a microsecond count as a whole one, as the clock knows no parts.
fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// The faults of a server, in file order, over the caller's storage.
#[derive(Clone, Debug)]
pub struct Plan<E> {
    /// The faults. Each id must stand here once.
    pub entries: E,
    started: Instant,
}

impl<E: AsRef<[Entry]> + AsMut<[Entry]>> Plan<E> {
    /// The plan of a server that started at `started`.
    #[must_use]
    pub const fn new(entries: E, started: Instant) -> Self {
        Self { entries, started }
    }

    /// Whether there are no faults at all, so that connections need not ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.as_ref().is_empty()
    }

    /// How many places a connection needs for counts of its own.
    #[must_use]
    pub fn tallies(&self) -> usize {
        let of_connection = |entry: &&Entry| entry.fault.quota.scope == Scope::Connection;
        self.entries.as_ref().iter().filter(of_connection).count()
    }

    /// The fault of this name.
    #[must_use]
    pub fn entry(&self, id: FaultId) -> Option<&Entry> {
        self.entries.as_ref().iter().find(|entry| entry.id == id)
    }

    /// The same, to be switched.
    pub fn entry_mut(&mut self, id: FaultId) -> Option<&mut Entry> {
        self.entries.as_mut().iter_mut().find(|entry| entry.id == id)
    }

    /// The plan for one connection, whose own counts are in `local`.
    pub fn acting<'p>(&'p mut self, peer: Option<IpAddr>, local: &'p mut [Tally]) -> Acting<'p> {
        Acting { entries: self.entries.as_mut(), started: self.started, peer, local }
    }

    /// Whether anybody can connect now. Of the faults on listeners only their window, and whether they are enabled, counts;
    /// `refuse` beats `stall_accept`.
    pub fn listening(&mut self, now: Instant) -> Listening {
        let started = self.started;
        let mut found = Listening::Open;
        for entry in self.entries.as_mut() {
            let listening = match entry.fault.kind {
                Kind::StallAccept => Listening::Stalled,
                Kind::Refuse => Listening::Refused,
                _ => continue,
            };
            let in_force = entry.is_in_force(now, started);
            if in_force && !entry.in_force {
                let statistics = &mut entry.statistics;
                statistics.checked = statistics.checked.saturating_add(1);
                statistics.matched = statistics.matched.saturating_add(1);
                statistics.applied = statistics.applied.saturating_add(1);
                statistics.last = Some(now);
            }
            entry.in_force = in_force;
            if in_force && found != Listening::Refused {
                found = listening;
            }
        }
        found
    }

    /// When [`Plan::listening`] may say something else without anybody changing the plan.
    #[must_use]
    pub fn listening_changes(&self, now: Instant) -> Option<Instant> {
        let since = micros_since(self.started, now);
        let on_listeners = |entry: &&Entry| entry.fault.kind.stage() == Stage::Listener && entry.is_enabled(now);
        self.entries.as_ref().iter().filter(on_listeners).fold(None, |next, entry| {
            let edge = next_edge(&entry.fault.window, since);
            let edge = edge.map(|edge| self.started.saturating_add(Duration::from_micros(edge)));
            earliest(next, earliest(edge.filter(|edge| *edge > now), entry.until))
        })
    }
}

/// A plan at the service of one connection.
#[derive(Debug)]
pub struct Acting<'p> {
    entries: &'p mut [Entry],
    started: Instant,
    peer: Option<IpAddr>,
    local: &'p mut [Tally],
}

impl Acting<'_> {
    /// How a connection that was just accepted is to end at once, and after how long. The first fault that would end it
    /// does; the others are suppressed.
    pub fn accepted(&mut self, now: Instant) -> Option<(How, Duration)> {
        let Self { entries, started, peer, local } = self;
        let mut end = None;
        for entry in entries.iter_mut() {
            let Kind::AcceptClose { how, delay } = entry.fault.kind else { continue };
            if !entry.is_in_force(now, *started) {
                continue;
            }
            entry.statistics.checked = entry.statistics.checked.saturating_add(1);
            if !entry.fault.target.admits(*peer) || !entry.acts(now, local) {
                continue;
            }
            if end.is_some() {
                entry.suppressed(local);
            } else {
                end = Some((how, delay));
            }
        }
        end
    }

    /// Adds the faults that act, of those for which it is now time to decide: before a request has ended, or after.
    fn add(&mut self, now: Instant, asked: &Asked, ended: Option<Ended>, decision: &mut Decision) {
        let Self { entries, started, peer, local } = self;
        for (place, entry) in (0..=u16::MAX).zip(entries.iter_mut()) {
            let reply = entry.fault.target.reply;
            let is_time = ended.is_some() == (reply != Reply::Any);
            if entry.fault.kind.stage() >= Stage::Accept || !is_time || !entry.is_in_force(now, *started) {
                continue;
            }
            entry.statistics.checked = entry.statistics.checked.saturating_add(1);
            let ended_so = ended.is_none_or(|ended| reply.is_of(ended));
            if ended_so && entry.fault.target.matches(asked, *peer) && entry.acts(now, local) {
                let seed = entry.source.draw();
                if !decision.add(place, entry.id, &entry.fault, seed) {
                    entry.suppressed(local);
                }
            }
        }
    }
}

impl Faults for Acting<'_> {
    fn choose(&mut self, now: Instant, asked: &Asked, decision: &mut Decision) {
        self.add(now, asked, None, decision);
        // What loses now loses for good. Others may lose to a fault that is chosen later.
        while let Some(id) = decision.settle() {
            self.suppressed(id);
        }
    }

    fn judge(&mut self, now: Instant, asked: &Asked, ended: Ended, decision: &mut Decision) {
        self.add(now, asked, Some(ended), decision);
        while let Some(id) = decision.settle() {
            self.suppressed(id);
        }
    }

    fn suppressed(&mut self, id: FaultId) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.suppressed(self.local);
        }
    }

    fn altered(&mut self, id: FaultId, bytes: usize) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.statistics.bytes = entry.statistics.bytes.saturating_add(bytes as u64);
        }
    }
}
