//! Timers: callbacks on the wheel of `wharf-core`.
//!
//! A timer is due at an exact instant; the wheel holds it at the millisecond after, and never further away than it
//! reaches. What the wheel reports early is armed again, so neither rounding nor range shows.

use super::state::Core;
use super::stream::Which;
use super::{Error, LoopMut};
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::slots::{Entry, Full, SlotId, SlotTable};
use wharf_core::timers::{MAX_SPAN, Node, Wheel};

/// Names a timer; stale after its close.
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
    due: Option<Instant>,
    repeat: Option<Duration>,
    /// The timer step in which it was armed: it must not fire in the same one.
    step: u64,
    /// Stays until it is closed, however often it fires.
    stays: bool,
    /// Keeps the loop alive while armed.
    counts: bool,
}

pub(super) struct Timers<T: 'static> {
    table: SlotTable<Timer<T>, Vec<Entry<Timer<T>>>>,
    wheel: Wheel<Vec<Node>>,
    step: u64,
    /// Due, but armed in the present step.
    aside: Vec<SlotId>,
    /// Armed timers that keep the loop alive.
    pub(super) alive: usize,
}

impl<T> Timers<T> {
    pub(super) fn new() -> Self {
        Self { table: SlotTable::new(Vec::new()), wheel: Wheel::new(Vec::new()), step: 0, aside: Vec::new(), alive: 0 }
    }

    /// Adds a timer that is not armed.
    pub(super) fn add(&mut self, action: Action<T>, stays: bool) -> SlotId {
        let counts = matches!(action, Action::User(_));
        let timer = Timer { action, due: None, repeat: None, step: 0, stays, counts };
        self.table.insert(timer).unwrap_or_else(|Full(timer)| {
            let capacity = (self.table.capacity() as usize * 2).max(16);
            self.table.grow(|entries| entries.resize_with(capacity, Entry::default));
            self.wheel.grow(|nodes| nodes.resize(capacity, Node::EMPTY));
            self.table.insert(timer).expect("the table has just grown")
        })
    }

    pub(super) fn arm(&mut self, id: SlotId, now: Instant, due: Instant, repeat: Option<Duration>) -> bool {
        let Some(timer) = self.table.get_mut(id) else { return false };
        if timer.due.is_none() && timer.counts {
            self.alive += 1;
        }
        (timer.due, timer.repeat, timer.step) = (Some(due), repeat, self.step);
        self.put(id, now, due);
        true
    }

    pub(super) fn disarm(&mut self, id: SlotId) -> bool {
        let Some(timer) = self.table.get_mut(id) else { return false };
        if timer.due.take().is_some() {
            self.alive -= usize::from(timer.counts);
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
        self.wheel.next()
    }

    pub(super) fn reclaim(&mut self) {
        self.table.reclaim();
    }

    pub(super) fn clear(&mut self) -> Self {
        std::mem::replace(self, Self::new())
    }

    fn put(&mut self, id: SlotId, now: Instant, due: Instant) {
        let reached = due.min(now.saturating_add(MAX_SPAN));
        self.wheel.arm(id.index(), now, reached).expect("the key has a node and the deadline is within reach");
    }

    fn user(&mut self, id: TimerId) -> Result<&mut Timer<T>, Error> {
        self.table.get_mut(id.0).filter(|timer| matches!(timer.action, Action::User(_))).ok_or(Error::Stale)
    }
}

impl<T> Core<T> {
    /// Step 6: at most `timer_budget` timers. Those armed by the callbacks of this step wait for the next.
    pub(super) fn run_timers(&mut self) {
        self.timers.step += 1;
        let mut budget = self.options.timer_budget;
        while budget > 0 {
            let Some(key) = self.timers.wheel.expired(self.now) else { break };
            let id = self.timers.table.id_at(key).expect("only timers that exist are armed");
            let timer = self.timers.table.get_mut(id).expect("the id was made from the table");
            let due = timer.due.expect("the wheel holds armed timers only");
            if timer.step == self.timers.step {
                self.timers.aside.push(id);
            } else if due > self.now {
                self.timers.put(id, self.now, due);
            } else {
                budget -= 1;
                self.fire(id, due);
            }
        }
        let mut aside = std::mem::take(&mut self.timers.aside);
        for id in aside.drain(..) {
            // It may have been closed or disarmed since.
            if let Some(due) = self.timers.table.get(id).and_then(|timer| timer.due) {
                self.timers.put(id, self.now, due);
            }
        }
        self.timers.aside = aside;
    }

    fn fire(&mut self, id: SlotId, due: Instant) {
        let timer = self.timers.table.get_mut(id).expect("the caller has found it");
        let (scheduled, missed) = match timer.repeat {
            Some(repeat) => {
                let period = whole_micros(repeat);
                let missed = whole_micros(self.now.saturating_duration_since(due)) / period;
                let scheduled = due.as_micros() + missed * period;
                let next = Instant::from_micros(scheduled + period);
                (timer.due, timer.step) = (Some(next), self.timers.step);
                self.timers.put(id, self.now, next);
                (Instant::from_micros(scheduled), missed)
            }
            None => {
                timer.due = None;
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
                if timer.due.is_none() && !timer.stays {
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
    /// the present one. A timer that does not repeat is closed after its tick, unless the callback has reset it.
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
        let id = TimerId(self.core.timers.add(Action::User(Some(Box::new(f))), false));
        self.reset(id, delay, repeat)?;
        Ok(id)
    }

    /// A timer that is not armed and that stays until it is closed, however often it is reset and fires.
    pub fn add_idle_timer(&mut self, f: impl FnMut(&mut LoopMut<'_, T>, Tick) + 'static) -> TimerId {
        TimerId(self.core.timers.add(Action::User(Some(Box::new(f))), true))
    }

    /// Arms a timer anew, from now on. The callback stays.
    ///
    /// # Errors
    /// As for [`LoopMut::add_timer`], and [`Error::Stale`].
    pub fn reset(&mut self, id: TimerId, delay: Duration, repeat: Option<Duration>) -> Result<(), Error> {
        check_spans(delay, repeat)?;
        self.core.timers.user(id)?;
        // The present reading of the clock and not `now`, or the timer would be early by the callback's length so far.
        let due = if delay.is_zero() { self.core.now } else { self.core.net.now().saturating_add(delay) };
        self.core.timers.arm(id.0, self.core.now, due, repeat);
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

    /// Disarms a timer and keeps it: [`LoopMut::reset`] arms it again.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn disarm(&mut self, id: TimerId) -> Result<(), Error> {
        self.core.timers.user(id)?.stays = true;
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
        Ok(self.core.timers.user(id)?.due.map(|due| due.saturating_duration_since(now)))
    }

    /// Whether the timer keeps the loop alive while it is armed. It does unless told otherwise.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn unref_timer(&mut self, id: TimerId, unref: bool) -> Result<(), Error> {
        let timer = self.core.timers.user(id)?;
        let (armed, counted) = (timer.due.is_some(), std::mem::replace(&mut timer.counts, !unref));
        if armed && counted && unref {
            self.core.timers.alive -= 1;
        } else if armed && !counted && !unref {
            self.core.timers.alive += 1;
        }
        Ok(())
    }
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
