//! What happens at a port, for threads: a bounded queue that never makes the loop wait.

use crate::services::port::Told;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What one who hears late still finds.
const CAPACITY: usize = 1024;

/// A subscription of a thread. It keeps the latest 1024 things that nobody has taken. Dropping it ends it.
pub struct Events<T = Told> {
    queue: Arc<Queue<T>>,
}

struct Queue<T> {
    told: Mutex<Waiting<T>>,
    came: Condvar,
}

struct Waiting<T> {
    told: VecDeque<T>,
    missed: u64,
    /// How many were missed, as something that is told.
    tell_missed: fn(u64) -> T,
    /// Nothing comes any more.
    ended: bool,
}

/// A subscription and what feeds it on the loop.
pub(in crate::services::port) fn pair<T>(tell_missed: fn(u64) -> T) -> (Events<T>, Feed<T>) {
    let waiting = Waiting { told: VecDeque::with_capacity(CAPACITY), missed: 0, tell_missed, ended: false };
    let queue = Arc::new(Queue { told: Mutex::new(waiting), came: Condvar::new() });
    let feed = Feed(Arc::downgrade(&queue));
    (Events { queue }, feed)
}

impl<T> Events<T> {
    /// The oldest that is here.
    #[must_use]
    pub fn try_next(&self) -> Option<T> {
        self.queue.waiting().take()
    }

    /// The oldest, waiting for one until the timeout, or for ever; `None` also once the loop has ended.
    #[must_use]
    pub fn next(&self, timeout: Option<Duration>) -> Option<T> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let came = &self.queue.came;
        let mut waiting = self.queue.waiting();
        loop {
            if let Some(told) = waiting.take() {
                return Some(told);
            }
            if waiting.ended {
                return None;
            }
            waiting = match end {
                None => came.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
                    came.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl<T> Debug for Events<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("waiting", &self.queue.waiting().told.len()).finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        // A panic under this lock leaves the queue whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Waiting<T> {
    fn take(&mut self) -> Option<T> {
        match std::mem::take(&mut self.missed) {
            0 => self.told.pop_front(),
            missed => Some((self.tell_missed)(missed)),
        }
    }
}

/// What a subscriber on the loop tells a thread by.
pub(in crate::services::port) struct Feed<T>(Weak<Queue<T>>);

impl<T> Feed<T> {
    pub(in crate::services::port) fn tell(&self, told: impl FnOnce() -> T) {
        let Some(queue) = self.0.upgrade() else { return };
        let told = told();
        let mut waiting = queue.waiting();
        if waiting.told.len() >= CAPACITY {
            waiting.told.pop_front();
            waiting.missed += 1;
        }
        waiting.told.push_back(told);
        drop(waiting);
        queue.came.notify_one();
    }

    /// Nobody hears it any more.
    pub(in crate::services::port) fn has_left(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        if let Some(queue) = self.0.upgrade() {
            queue.waiting().ended = true;
            queue.came.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_has_left_when_it_is_dropped() {
        let (events, subscriber) = pair(Told::Missed);
        assert!(!subscriber.has_left());
        drop(events);
        assert!(subscriber.has_left());
    }
}
