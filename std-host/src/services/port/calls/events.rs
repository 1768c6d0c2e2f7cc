//! What happens at a port, for threads: a bounded queue that never makes the loop wait.
//!
//! The bytes of messages lie one behind the other in memory of the queue, which grows to the most that ever waited there.
//! Nothing is allocated to tell of a message after that, whether or not anybody takes it; to take one, nothing is allocated
//! by [`Events::next_into`], which uses the memory of what it replaces.

use crate::services::port::Told;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What one who hears late still finds.
const CAPACITY: usize = 1024;
/// Buffers that are kept for messages to come: one for each thread that takes from one subscription at the same time.
const SPARES: usize = 8;

/// What a queue holds; for what is told of TCP and UDP ports alone.
pub trait Item: Sized {
    /// So many are gone that came before the next one.
    fn missed(count: u64) -> Self;

    /// The bytes of a message, if it is one. The queue keeps them apart until it is taken.
    fn bytes(&mut self) -> Option<&mut Vec<u8>>;
}

/// A subscription of a thread. It keeps the latest 1024 things that nobody has taken. Dropping it ends it.
pub struct Events<T = Told> {
    queue: Arc<Queue<T>>,
}

struct Queue<T> {
    told: Mutex<Waiting<T>>,
    came: Condvar,
}

struct Waiting<T> {
    /// Each with the length of its bytes, which it does not have yet.
    told: VecDeque<(T, usize)>,
    /// The bytes of all of them.
    bytes: VecDeque<u8>,
    /// Memory of messages that have been replaced.
    spares: Vec<Vec<u8>>,
    missed: u64,
    /// Nothing comes any more.
    ended: bool,
}

/// A subscription and what feeds it on the loop.
pub(in crate::services::port) fn pair<T: Item>() -> (Events<T>, Feed<T>) {
    let waiting = Waiting {
        told: VecDeque::with_capacity(CAPACITY),
        bytes: VecDeque::new(),
        spares: Vec::with_capacity(SPARES),
        missed: 0,
        ended: false,
    };
    let queue = Arc::new(Queue { told: Mutex::new(waiting), came: Condvar::new() });
    let feed = Feed(Arc::downgrade(&queue));
    (Events { queue }, feed)
}

impl<T: Item> Events<T> {
    /// The oldest that is here.
    #[must_use]
    pub fn try_next(&self) -> Option<T> {
        self.queue.waiting().take()
    }

    /// The oldest, waiting for one until the timeout, or for ever; `None` also once the loop has ended. A message has
    /// memory of its own.
    #[must_use]
    pub fn next(&self, timeout: Option<Duration>) -> Option<T> {
        self.wait(timeout, Waiting::take)
    }

    /// [`Events::next`] in place of what has been taken before, whose memory is used again, so that nothing is allocated
    /// for a message no longer than one before it. False where that gives `None`; `told` stays as it was then.
    #[must_use]
    pub fn next_into(&self, told: &mut T, timeout: Option<Duration>) -> bool {
        self.wait(timeout, |waiting| waiting.take_into(told).then_some(())).is_some()
    }

    /// What `take` takes, as soon as there is something.
    fn wait<R>(&self, timeout: Option<Duration>, mut take: impl FnMut(&mut Waiting<T>) -> Option<R>) -> Option<R> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let came = &self.queue.came;
        let mut waiting = self.queue.waiting();
        loop {
            if let Some(taken) = take(&mut waiting) {
                return Some(taken);
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

impl<T: Item> Waiting<T> {
    fn take(&mut self) -> Option<T> {
        match std::mem::take(&mut self.missed) {
            0 => self.pop(),
            missed => Some(T::missed(missed)),
        }
    }

    /// Exchanges `told` for the oldest that is here, if any is, and keeps its memory.
    fn take_into(&mut self, told: &mut T) -> bool {
        if self.missed == 0 && self.told.is_empty() {
            return false;
        }
        if self.spares.len() < SPARES
            && let Some(bytes) = told.bytes()
        {
            self.spares.push(std::mem::take(bytes));
        }
        self.take().is_some_and(|next| {
            *told = next;
            true
        })
    }

    fn pop(&mut self) -> Option<T> {
        let (mut told, len) = self.told.pop_front()?;
        if let Some(bytes) = told.bytes() {
            *bytes = self.spares.pop().unwrap_or_default();
            bytes.clear();
            bytes.reserve(len);
            let (front, behind) = self.bytes.as_slices();
            let front = &front[..len.min(front.len())];
            bytes.extend_from_slice(front);
            bytes.extend_from_slice(&behind[..len - front.len()]);
        }
        self.bytes.drain(..len);
        Some(told)
    }

    fn push(&mut self, told: T, bytes: &[u8]) {
        if self.told.len() >= CAPACITY
            && let Some((_, len)) = self.told.pop_front()
        {
            self.bytes.drain(..len);
            self.missed += 1;
        }
        self.bytes.extend(bytes);
        self.told.push_back((told, bytes.len()));
    }
}

/// What a subscriber on the loop tells a thread by.
pub(in crate::services::port) struct Feed<T>(Weak<Queue<T>>);

impl<T: Item> Feed<T> {
    /// Something that has no bytes.
    pub(in crate::services::port) fn tell(&self, told: T) {
        self.tell_with(told, &[]);
    }

    /// A message, whose bytes these are.
    pub(in crate::services::port) fn tell_with(&self, told: T, bytes: &[u8]) {
        let Some(queue) = self.0.upgrade() else { return };
        queue.waiting().push(told, bytes);
        queue.came.notify_one();
    }
}

impl<T> Feed<T> {
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
        let (events, subscriber) = pair::<Told>();
        assert!(!subscriber.has_left());
        drop(events);
        assert!(subscriber.has_left());
    }
}
