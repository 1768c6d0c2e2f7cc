//! What a loop and its handles share: the queue of deferred calls, the waker and a few flags.
//!
//! Senders append to one queue under a short lock while the loop runs the other; a batch is a swap. Only the first call
//! after the loop has begun to wait writes to the waker, and a call from the loop's own thread never does: the loop looks
//! at the queue before it waits.
//!
//! Two flags decide who wakes whom; both change only under the lock and are read without it. `waiting` says that the
//! queue is not empty: the loop asks it before it swaps. `awake` says that nobody has to wake the loop: it is at work and
//! will look at the queue, or somebody has woken it, or is about to. The loop lowers it as it finds the queue empty and
//! before it waits ([`Shared::park`]), and the next sender raises it, after its call is in the queue and before it wakes.
//! So a loop that finds it down needs no lock to wait again. `model.rs` goes through the interleavings.

use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, lock, this_thread};
use crate::event_loop::deferred::Why;
use crate::event_loop::histograms::Sampler;
use crate::event_loop::net::{Clock, Wake};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use wharf_core::Instant;

/// What a loop and its handles share; `C` is a deferred call.
pub(super) struct Shared<C> {
    queue: Mutex<Queue<C>>,
    /// A copy of "the queue is not empty", so that a loop without deferred calls takes no lock.
    waiting: AtomicBool,
    /// Nobody has to wake the loop.
    awake: AtomicBool,
    wake: Wake,
    /// Tells when the first call of a measured batch was queued.
    clock: Option<Clock>,
    limit: usize,
    /// The number of the thread inside `run` or `turn`, 0 if there is none.
    thread: AtomicU64,
    running: AtomicBool,
    stop: AtomicBool,
    keepers: AtomicUsize,
    pub(super) rejected: AtomicU64,
    pub(super) wake_ups: AtomicU64,
}

struct Queue<C> {
    calls: VecDeque<C>,
    ended: bool,
    /// Calls that needed no write to the waker.
    coalesced: u64,
    sampler: Sampler,
    /// When the first of `calls` was queued, if this batch is measured.
    since: Option<Instant>,
}

impl<C> Shared<C> {
    pub(super) fn new(wake: Wake, clock: Option<Clock>, limit: usize, sampler: Sampler) -> Self {
        let queue = Queue { calls: VecDeque::new(), ended: false, coalesced: 0, sampler, since: None };
        Self {
            queue: Mutex::new(queue),
            waiting: AtomicBool::new(false),
            awake: AtomicBool::new(true),
            wake,
            clock,
            limit,
            thread: AtomicU64::new(0),
            running: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            keepers: AtomicUsize::new(0),
            rejected: AtomicU64::new(0),
            wake_ups: AtomicU64::new(0),
        }
    }

    /// Queues what `call` makes of `value`, or gives `value` back.
    pub(super) fn push<V>(&self, value: V, call: impl FnOnce(V) -> C) -> Result<(), (Why, V)> {
        self.push_below(self.limit, value, call)
    }

    /// [`Shared::push`], however many calls are waiting.
    pub(super) fn push_always<V>(&self, value: V, call: impl FnOnce(V) -> C) -> Result<(), (Why, V)> {
        self.push_below(usize::MAX, value, call)
    }

    fn push_below<V>(&self, limit: usize, value: V, call: impl FnOnce(V) -> C) -> Result<(), (Why, V)> {
        let on_loop = self.is_on_loop_thread();
        let mut queue = lock(&self.queue);
        let why = if queue.ended {
            Why::Ended
        } else if queue.calls.len() >= limit {
            Why::Full
        } else {
            let first = queue.calls.is_empty();
            if first && queue.sampler.is_due() {
                queue.since = self.clock.as_ref().map(|clock| clock());
            }
            // Made once there is room for it, the call goes straight to its place.
            queue.calls.extend(std::iter::once_with(|| call(value)));
            if first {
                self.waiting.store(true, Ordering::Release);
            }
            let wake = !on_loop && !self.awake.load(Ordering::Acquire);
            if wake {
                self.awake.store(true, Ordering::Release);
            }
            queue.coalesced += u64::from(!wake);
            drop(queue);
            if wake {
                self.wake();
            }
            return Ok(());
        };
        drop(queue);
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Err((why, value))
    }

    /// Calls that needed no write to the waker.
    pub(super) fn coalesced(&self) -> u64 {
        lock(&self.queue).coalesced
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Exchanges the queue for `batch`, which must be empty. Returns when the first call was queued, if this batch is
    /// measured.
    pub(super) fn swap(&self, batch: &mut VecDeque<C>) -> Option<Instant> {
        if !self.is_waiting() {
            return None;
        }
        let mut queue = lock(&self.queue);
        std::mem::swap(&mut queue.calls, batch);
        self.waiting.store(false, Ordering::Release);
        queue.since.take()
    }

    /// Whether the loop may wait: nothing is queued, and whoever queues the next call wakes it.
    pub(super) fn park(&self) -> bool {
        if !self.awake.load(Ordering::Acquire) {
            return !self.is_waiting();
        }
        let queue = lock(&self.queue);
        let idle = queue.calls.is_empty();
        if idle {
            self.awake.store(false, Ordering::Release);
        }
        drop(queue);
        idle
    }

    /// Refuses all further calls and returns those that were not run, for the caller to drop outside the lock.
    pub(super) fn end(&self) -> VecDeque<C> {
        let mut queue = lock(&self.queue);
        queue.ended = true;
        self.waiting.store(false, Ordering::Release);
        self.running.store(false, Ordering::Release);
        std::mem::take(&mut queue.calls)
    }

    pub(super) fn has_ended(&self) -> bool {
        lock(&self.queue).ended
    }

    pub(super) fn wake(&self) {
        self.wake_ups.fetch_add(1, Ordering::Relaxed);
        (self.wake)();
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if !self.is_on_loop_thread() {
            self.wake();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Marks the calling thread as the loop's, until [`Shared::leave`].
    pub(super) fn enter(&self) {
        self.thread.store(this_thread(), Ordering::Release);
        self.running.store(true, Ordering::Release);
    }

    pub(super) fn leave(&self) {
        self.thread.store(0, Ordering::Release);
    }

    pub(super) fn is_on_loop_thread(&self) -> bool {
        self.thread.load(Ordering::Acquire) == this_thread()
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(super) fn is_kept_alive(&self) -> bool {
        self.keepers.load(Ordering::Acquire) > 0
    }

    pub(super) fn add_keeper(&self) {
        // Two threads that set one handle may come here in the wrong order. Then the loop has seen a keeper too many.
        if self.keepers.fetch_add(1, Ordering::AcqRel) == usize::MAX {
            self.wake();
        }
    }

    /// The loop may have nothing left to live for, so it has to look.
    pub(super) fn remove_keeper(&self) {
        if self.keepers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }
}
