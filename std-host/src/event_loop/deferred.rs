//! The queue between a [`Handle`](super::Handle) and its loop.
//!
//! Senders append to one queue under a short lock while the loop runs the other; a batch is a swap. Only the first call
//! after a swap writes to the waker, and a call from the loop's own thread never does: the loop looks at the queue
//! before it waits.

use super::LoopMut;
use super::net::Wake;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A deferred call.
pub(super) enum Call<T: 'static> {
    Boxed(Box<Once<T>>),
    Shared(Arc<Repeatable<T>>),
    Plain(Plain<T>),
}

type Once<T> = dyn FnOnce(&mut LoopMut<'_, T>) + Send;
type Repeatable<T> = dyn Fn(&mut LoopMut<'_, T>) + Send + Sync;
/// A deferred call that is a plain function.
pub type Plain<T> = fn(&mut LoopMut<'_, T>);

impl<T> Call<T> {
    pub(super) fn run(self, lp: &mut LoopMut<'_, T>) {
        match self {
            Self::Boxed(f) => f(lp),
            Self::Shared(f) => f(lp),
            Self::Plain(f) => f(lp),
        }
    }
}

/// Why a deferred call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The loop has ended.
    Ended,
    /// As many calls as `deferred_limit` are waiting.
    Full,
}

/// A deferred call that was refused, given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rejected<F> {
    /// Why it was refused.
    pub why: Why,
    /// What was to be called.
    pub f: F,
}

impl<F> fmt::Debug for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Why::Ended => "the loop has ended",
            Why::Full => "the queue of deferred calls is full",
        })
    }
}

impl<F> std::error::Error for Rejected<F> {}

/// What a loop and its handles share.
pub(super) struct Shared<T: 'static> {
    queue: Mutex<Queue<T>>,
    /// A copy of "the queue is not empty", so that a loop without deferred calls takes no lock.
    waiting: AtomicBool,
    wake: Wake,
    limit: usize,
    /// The number of the thread inside `run` or `turn`, 0 if there is none.
    thread: AtomicU64,
    running: AtomicBool,
    stop: AtomicBool,
    keepers: AtomicUsize,
    pub(super) rejected: AtomicU64,
    pub(super) wake_ups: AtomicU64,
    pub(super) coalesced: AtomicU64,
}

struct Queue<T: 'static> {
    calls: Vec<Call<T>>,
    woken: bool,
    ended: bool,
}

impl<T> Shared<T> {
    pub(super) fn new(wake: Wake, limit: usize) -> Self {
        Self {
            queue: Mutex::new(Queue { calls: Vec::new(), woken: false, ended: false }),
            waiting: AtomicBool::new(false),
            wake,
            limit,
            thread: AtomicU64::new(0),
            running: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            keepers: AtomicUsize::new(0),
            rejected: AtomicU64::new(0),
            wake_ups: AtomicU64::new(0),
            coalesced: AtomicU64::new(0),
        }
    }

    /// Queues what `call` makes of `value`, or gives `value` back.
    pub(super) fn push<V>(&self, value: V, call: impl FnOnce(V) -> Call<T>) -> Result<(), (Why, V)> {
        let on_loop = self.is_on_loop_thread();
        let mut queue = self.lock();
        let why = if queue.ended {
            Why::Ended
        } else if queue.calls.len() >= self.limit {
            Why::Full
        } else {
            queue.calls.push(call(value));
            self.waiting.store(true, Ordering::Release);
            let wake = !on_loop && !queue.woken;
            queue.woken |= wake;
            drop(queue);
            if wake {
                self.wake();
            } else {
                self.coalesced.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(());
        };
        drop(queue);
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Err((why, value))
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Exchanges the queue for `batch`, which must be empty.
    pub(super) fn swap(&self, batch: &mut Vec<Call<T>>) {
        if self.is_waiting() {
            let mut queue = self.lock();
            std::mem::swap(&mut queue.calls, batch);
            queue.woken = false;
            self.waiting.store(false, Ordering::Release);
        }
    }

    /// Refuses all further calls and returns those that were not run, for the caller to drop outside the lock.
    pub(super) fn end(&self) -> Vec<Call<T>> {
        let mut queue = self.lock();
        queue.ended = true;
        self.waiting.store(false, Ordering::Release);
        self.running.store(false, Ordering::Release);
        std::mem::take(&mut queue.calls)
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
        self.keepers.fetch_add(1, Ordering::AcqRel);
    }

    /// The loop may have nothing left to live for, so it has to look.
    pub(super) fn remove_keeper(&self) {
        if self.keepers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing under this lock can panic half-way but an allocation, which leaves the queue whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number of the calling thread, from 1, never used again.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed));
    // A thread that is being torn down has lost its number, and is inside no loop.
    NUMBER.try_with(|number| *number).unwrap_or(u64::MAX)
}
