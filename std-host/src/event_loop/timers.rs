//! Timers: callbacks on the wheel of `wharf-core`.
//!
//! A timer is due at an exact instant; the wheel holds it at the millisecond after, and never further away than it
//! reaches. A reset to a later instant only notes it: the timer keeps its place in the wheel. What the wheel reports
//! early is put where it belongs, so neither rounding nor range nor an old place shows, but that an idle loop wakes up
//! once for a timer that was put off, however often it was.
//!
//! What is due goes from the wheel into a heap, by deadline and then by arming, and from there to its callback.

use super::state::Core;
use super::stream::Which;
use super::{Error, LoopMut};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::slots::{Entry, Full, SlotId, SlotTable};
use wharf_core::timers::{MAX_SPAN, Node, Wheel};

/// What follows the begin of a millisecond of the wheel and belongs to it.
const REST_OF_TICK: Duration = Duration::from_micros(999);

/// Names a timer; stale after its close. A timer of [`LoopMut::add_timer`] is closed by the loop after a callback that
/// leaves it without a tick to come; see there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(pub(super) SlotId);

/// What a timer's callback is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The timer.
    pub id: TimerId,
    /// When this tick was due.
    pub scheduled: Instant,
    /// Ticks before this one that were due as well and are merged into it.
    pub missed: u64,
}

pub(super) type Callback<T> = Box<dyn FnMut(&mut LoopMut<'_, T>, Tick)>;

/// Whom a timer calls.
pub(super) enum Action<T: 'static> {
    /// `None` while the callback runs.
    User(Option<Callback<T>>),
    /// The connect or finish timeout of a socket.
    Stream(SlotId),
    /// A timeout that a socket's user has set.
    Timeout(SlotId, Which),
    /// The end of a UDP socket's pause.
    Udp(SlotId),
    /// The end of a listener's pause.
    Listener(SlotId),
}

pub(super) struct Timer<T: 'static> {
    action: Action<T>,
    /// When its next tick is due, if it is armed.
    due: Instant,
    /// In microseconds.
    repeat: Option<NonZeroU64>,
    /// Its arming among all armings.
    order: u64,
    armed: bool,
    /// The wheel has it, `lead` microseconds before it is due or, beyond its reach, earlier.
    held: bool,
    lead: u32,
    /// Stays until it is closed, however often it fires.
    stays: bool,
    /// Has had its last tick, and nobody has reset or disarmed it since.
    spent: bool,
    /// Keeps the loop alive while armed.
    counts: bool,
}

impl<T> Timer<T> {
    fn due(&self) -> Option<Instant> {
        self.armed.then_some(self.due)
    }
}

/// Reported by the wheel at or after the instant: the arming of that number of a timer. It may have been armed anew or
/// closed since.
type Due = Reverse<(Instant, u64, SlotId)>;

pub(super) struct Timers<T: 'static> {
    table: SlotTable<Timer<T>, Vec<Entry<Timer<T>>>>,
    wheel: Wheel<Vec<Node>>,
    /// At which ids start.
    generation: u32,
    /// As many fire in one step.
    budget: usize,
    /// The number of the next arming.
    order: u64,
    /// All of these come before what the wheel holds.
    due: BinaryHeap<Due>,
    /// Due, but armed in the present step.
    aside: Vec<Due>,
    /// Armed timers that keep the loop alive.
    pub(super) alive: usize,
}

impl<T> Timers<T> {
    /// Ids start at `generation`; at most `budget` timers fire in one step.
    pub(super) fn new(generation: u32, budget: u32) -> Self {
        Self {
            table: SlotTable::new(Vec::new()),
            wheel: Wheel::new(Vec::new()),
            generation,
            budget: budget as usize,
            order: 0,
            due: BinaryHeap::new(),
            aside: Vec::new(),
            alive: 0,
        }
    }

    /// Adds a timer that is not armed.
    pub(super) fn add(&mut self, action: Action<T>, stays: bool) -> SlotId {
        let counts = matches!(action, Action::User(_));
        let timer = Timer {
            action,
            due: Instant::ORIGIN,
            repeat: None,
            order: 0,
            armed: false,
            held: false,
            lead: 0,
            stays,
            spent: false,
            counts,
        };
        self.table.insert(timer).unwrap_or_else(|Full(timer)| {
            let capacity = (self.table.capacity() as usize * 2).max(16);
            let unused = || Entry::starting_at(self.generation);
            self.table.grow(|entries| entries.resize_with(capacity, unused));
            self.wheel.grow(|nodes| nodes.resize(capacity, Node::EMPTY));
            // For what one step fires, and not for all timers that there are, most of which are far from due. Only more than that
            // in one millisecond need more room, once.
            let room = capacity.min(self.budget);
            self.due.reserve(room.saturating_sub(self.due.len()));
            self.aside.reserve(room.saturating_sub(self.aside.len()));
            self.table.insert(timer).expect("the table has just grown")
        })
    }

    pub(super) fn arm(&mut self, id: SlotId, now: Instant, due: Instant, repeat: Option<Duration>) -> bool {
        let Some(timer) = self.table.get_mut(id) else { return false };
        self.alive += usize::from(!timer.armed && timer.counts);
        (timer.armed, timer.spent) = (true, false);
        timer.repeat = repeat.map(whole_micros).and_then(NonZeroU64::new);
        self.schedule(id, now, due);
        true
    }

    /// Has an armed timer wait for `due`. One that the wheel holds for an earlier instant stays there.
    fn schedule(&mut self, id: SlotId, now: Instant, due: Instant) {
        let timer = self.table.get_mut(id).expect("only timers that exist are armed");
        let held = timer.due.as_micros() - u64::from(timer.lead);
        let lead = due.as_micros().checked_sub(held).and_then(|lead| u32::try_from(lead).ok());
        (timer.due, timer.order) = (due, self.order);
        self.order += 1;
        match lead {
            // What is due already must not wait for the end of a millisecond.
            Some(lead) if timer.held && due > now => timer.lead = lead,
            _ => hold(&mut self.wheel, id.index(), timer, now),
        }
    }

    pub(super) fn disarm(&mut self, id: SlotId) -> bool {
        let Some(timer) = self.table.get_mut(id) else { return false };
        timer.spent = false;
        if std::mem::take(&mut timer.armed) {
            self.alive -= usize::from(timer.counts);
            timer.held = false;
            self.wheel.cancel(id.index());
        }
        true
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<Timer<T>> {
        self.disarm(id);
        self.table.remove(id)
    }

    /// What poll may wait for; possibly too early, never too late.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, ..))| *due).or_else(|| self.wheel.next())
    }

    pub(super) fn reclaim(&mut self) {
        self.table.reclaim();
    }

    /// Whether no timer is armed.
    fn is_idle(&self) -> bool {
        self.due.is_empty() && self.wheel.is_empty()
    }

    /// Removes all timers. Their ids stay stale, whatever is added later.
    pub(super) fn clear(&mut self) {
        let ids: Vec<SlotId> = self.table.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.remove(id);
        }
        self.table.reclaim();
        self.due.clear();
        self.aside.clear();
    }

    /// Moves what is due at `now` from the wheel into the heap: whole milliseconds, until there are `enough`.
    fn collect(&mut self, now: Instant, enough: u32) {
        loop {
            let next = self.wheel.next();
            let until = next.map_or(now, |next| now.min(next.saturating_add(REST_OF_TICK)));
            // A timer that was put off into the rest of this millisecond belongs to the next tick.
            let last = next.filter(|_| until < now).unwrap_or(now);
            while let Some(key) = self.wheel.expired(until) {
                let id = self.table.id_at(key).expect("only timers that exist are armed");
                let timer = self.table.get_mut(id).expect("the id was made from the table");
                timer.held = false;
                if timer.due > last {
                    hold(&mut self.wheel, key, timer, now);
                } else {
                    self.due.push(Reverse((timer.due, timer.order, id)));
                }
            }
            if until == now || self.due.len() >= enough as usize {
                return;
            }
        }
    }

    /// The next timer that is due at `now` and was armed before the arming `begin`, and since when it is due.
    fn take_due(&mut self, now: Instant, begin: u64, enough: u32) -> Option<(SlotId, Instant)> {
        loop {
            if self.due.is_empty() {
                self.collect(now, enough);
            }
            let Reverse((due, order, id)) = self.due.pop()?;
            if !self.table.get(id).is_some_and(|timer| timer.armed && timer.order == order) {
                continue;
            }
            if order < begin {
                return Some((id, due));
            }
            self.aside.push(Reverse((due, order, id)));
        }
    }

    fn user(&mut self, id: TimerId) -> Result<&mut Timer<T>, Error> {
        self.table.get_mut(id.0).filter(|timer| matches!(timer.action, Action::User(_))).ok_or(Error::Stale)
    }
}

impl<T> Core<T> {
    /// Step 6: at most `timer_budget` timers. Those armed by the callbacks of this step wait for the next.
    pub(super) fn run_timers(&mut self) {
        if !self.timers.is_idle() {
            self.run_due_timers();
        }
    }

    #[inline(never)]
    fn run_due_timers(&mut self) {
        let (begin, budget) = (self.timers.order, self.options.timer_budget);
        self.timers.collect(self.now, budget);
        for _ in 0..budget {
            let Some((id, due)) = self.timers.take_due(self.now, begin, budget) else { break };
            self.fire(id, due);
        }
        self.timers.due.extend(self.timers.aside.drain(..));
    }

    fn fire(&mut self, id: SlotId, due: Instant) {
        let timer = self.timers.table.get_mut(id).expect("the caller has found it");
        let (scheduled, missed) = match timer.repeat {
            Some(repeat) => {
                let period = repeat.get();
                let missed = whole_micros(self.now.saturating_duration_since(due)) / period;
                let scheduled = due.as_micros() + missed * period;
                let next = Instant::from_micros(scheduled + period);
                self.timers.schedule(id, self.now, next);
                (Instant::from_micros(scheduled), missed)
            }
            None => {
                (timer.armed, timer.spent) = (false, true);
                self.timers.alive -= usize::from(timer.counts);
                (due, 0)
            }
        };
        let timer = self.timers.table.get_mut(id).expect("it is still there");
        match &mut timer.action {
            Action::User(callback) => {
                let mut f = callback.take().expect("a timer does not fire inside its own callback");
                self.stats.timers_fired += 1;
                self.stats.timers_missed += missed;
                if self.is_measured() {
                    self.histograms.timer_lateness.record(self.now.saturating_duration_since(due));
                }
                f(&mut LoopMut { core: self }, Tick { id: TimerId(id), scheduled, missed });
                self.after_callback("timer");
                let Some(timer) = self.timers.table.get_mut(id) else { return };
                if let Action::User(callback @ None) = &mut timer.action {
                    *callback = Some(f);
                }
                if timer.spent && !timer.stays {
                    self.timers.remove(id);
                }
            }
            Action::Stream(socket) => {
                let socket = *socket;
                self.timers.remove(id);
                self.stream_timeout(socket);
            }
            Action::Timeout(socket, which) => {
                let (socket, which) = (*socket, *which);
                self.socket_timeout(socket, which);
            }
            Action::Udp(socket) => {
                let socket = *socket;
                self.timers.remove(id);
                self.udp_timeout(socket);
            }
            Action::Listener(listener) => {
                let listener = *listener;
                self.timers.remove(id);
                self.listener_timeout(listener);
            }
        }
    }

    /// Adds and arms a timer of the loop's own.
    pub(super) fn add_internal(&mut self, action: Action<T>, delay: Duration) -> TimerId {
        let id = self.timers.add(action, false);
        let due = self.net.now().saturating_add(delay);
        self.timers.arm(id, self.now, due, None);
        TimerId(id)
    }
}

impl<T> LoopMut<'_, T> {
    /// Calls `f` after `delay`, and then every `repeat` if there is one. A delay of 0 means the next timer step, never
    /// the present one.
    ///
    /// A timer that does not repeat has one tick, and the loop closes it after that callback: its id is stale then.
    /// Within the callback the id is still good, and [`LoopMut::reset`] gives the timer another tick,
    /// [`LoopMut::disarm`] keeps it without one. One that is to be armed from elsewhere, again and again, is an
    /// [idle timer](LoopMut::add_idle_timer).
    ///
    /// Never early; on an idle loop at most a millisecond late.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], in milliseconds, for spans above 4 294 967 295 ms or a `repeat` below 1 ms.
    pub fn add_timer(
        &mut self,
        delay: Duration,
        repeat: Option<Duration>,
        f: impl FnMut(&mut LoopMut<'_, T>, Tick) + 'static,
    ) -> Result<TimerId, Error> {
        check_spans(delay, repeat)?;
        let id = self.core.timers.add(Action::User(Some(Box::new(f))), false);
        self.arm_after(id, delay, repeat);
        Ok(TimerId(id))
    }

    /// A timer that is not armed and that stays until it is closed, however often it is reset and fires.
    pub fn add_idle_timer(&mut self, f: impl FnMut(&mut LoopMut<'_, T>, Tick) + 'static) -> TimerId {
        TimerId(self.core.timers.add(Action::User(Some(Box::new(f))), true))
    }

    /// Arms a timer anew, from now on, with this repetition or none. The callback stays.
    ///
    /// # Errors
    /// As for [`LoopMut::add_timer`], and [`Error::Stale`].
    pub fn reset(&mut self, id: TimerId, delay: Duration, repeat: Option<Duration>) -> Result<(), Error> {
        check_spans(delay, repeat)?;
        self.core.timers.user(id)?;
        self.arm_after(id.0, delay, repeat);
        Ok(())
    }

    /// Arms a timer for an instant of loop time, without repetition: what a machine's deadline asks for. An instant
    /// that has passed means the next timer step.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if it is more than 4 294 967 295 ms ahead, [`Error::Stale`].
    pub fn reset_at(&mut self, id: TimerId, due: Instant) -> Result<(), Error> {
        check_spans(due.saturating_duration_since(self.core.now), None)?;
        self.core.timers.user(id)?;
        self.core.timers.arm(id.0, self.core.now, due, None);
        Ok(())
    }

    /// Disarms a timer and keeps it: [`LoopMut::reset`] arms it again. What becomes of it after its next last tick is
    /// the same as before.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn disarm(&mut self, id: TimerId) -> Result<(), Error> {
        self.core.timers.user(id)?;
        self.core.timers.disarm(id.0);
        Ok(())
    }

    /// Gives a timer another callback; the deadline stays.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn replace(&mut self, id: TimerId, f: impl FnMut(&mut LoopMut<'_, T>, Tick) + 'static) -> Result<(), Error> {
        self.core.timers.user(id)?.action = Action::User(Some(Box::new(f)));
        Ok(())
    }

    /// Ends a timer. Its callback is not called again.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn close(&mut self, id: TimerId) -> Result<(), Error> {
        self.core.timers.user(id)?;
        self.core.timers.remove(id.0);
        Ok(())
    }

    /// How long it is from [`LoopMut::now`] to the next tick; `None` if the timer is not armed.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn remaining(&mut self, id: TimerId) -> Result<Option<Duration>, Error> {
        let now = self.core.now;
        Ok(self.core.timers.user(id)?.due().map(|due| due.saturating_duration_since(now)))
    }

    /// Whether the timer keeps the loop alive while it is armed. It does unless told otherwise.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn unref_timer(&mut self, id: TimerId, unref: bool) -> Result<(), Error> {
        let timer = self.core.timers.user(id)?;
        let (armed, counted) = (timer.armed, std::mem::replace(&mut timer.counts, !unref));
        if armed && counted && unref {
            self.core.timers.alive -= 1;
        } else if armed && !counted && !unref {
            self.core.timers.alive += 1;
        }
        Ok(())
    }

    fn arm_after(&mut self, id: SlotId, delay: Duration, repeat: Option<Duration>) {
        // The present reading of the clock and not `now`, or the timer would be early by the callback's length so far.
        let due = if delay.is_zero() { self.core.now } else { self.core.net.now().saturating_add(delay) };
        self.core.timers.arm(id, self.core.now, due, repeat);
    }
}

/// Puts a timer into the wheel.
fn hold<T>(wheel: &mut Wheel<Vec<Node>>, key: u32, timer: &mut Timer<T>, now: Instant) {
    (timer.held, timer.lead) = (true, 0);
    let reached = timer.due.min(now.saturating_add(MAX_SPAN));
    wheel.arm(key, now, reached).expect("the key has a node and the deadline is within reach");
}

pub(super) fn check_spans(delay: Duration, repeat: Option<Duration>) -> Result<(), Error> {
    let millis = |span: Duration| u64::try_from(span.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    let max = millis(MAX_SPAN);
    if let Some(span) = [Some(delay), repeat].into_iter().flatten().find(|span| *span > MAX_SPAN) {
        return Err(Error::OutOfRange { asked: millis(span), max });
    }
    match repeat {
        Some(repeat) if repeat < Duration::from_millis(1) => Err(Error::OutOfRange { asked: 0, max: 1 }),
        _ => Ok(()),
    }
}

fn whole_micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
