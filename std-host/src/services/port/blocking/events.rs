//! What happens at a port, for threads: a bounded queue that never makes the loop wait.

use crate::services::port::running::Running;
use crate::services::port::subscribers::Subscriber;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use wharf_core::port::framing::Eom;
use wharf_core::port::server::Event;
use wharf_core::slots::SlotId;

/// What one who hears late still finds.
const CAPACITY: usize = 1024;

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// Something happened.
    Event(Event),
    /// A client with `consumer` `"push"` or `"both"` has sent a message.
    Message {
        /// Who.
        slot: SlotId,
        /// Without its terminator.
        bytes: Vec<u8>,
        /// Why it ends there.
        eom: Eom,
    },
    /// So many of the above came before the next one and were not taken in time.
    Missed(u64),
}

/// A subscription of a thread. It keeps the latest 1024 things that nobody has taken. Dropping it ends it.
pub struct Events {
    queue: Arc<Queue>,
}

struct Queue {
    told: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    told: VecDeque<Told>,
    missed: u64,
    /// Nothing comes any more.
    ended: bool,
}

/// A subscription and what feeds it on the loop.
pub(super) fn pair() -> (Events, impl Subscriber + Send) {
    let waiting = Waiting { told: VecDeque::with_capacity(CAPACITY), ..Waiting::default() };
    let queue = Arc::new(Queue { told: Mutex::new(waiting), came: Condvar::new() });
    let feed = Feed(Arc::downgrade(&queue));
    (Events { queue }, feed)
}

impl Events {
    /// The oldest that is here.
    #[must_use]
    pub fn try_next(&self) -> Option<Told> {
        self.queue.waiting().take()
    }

    /// The oldest, waiting for one until the timeout, or for ever; `None` also once the loop has ended.
    #[must_use]
    pub fn next(&self, timeout: Option<Duration>) -> Option<Told> {
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

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("waiting", &self.queue.waiting().told.len()).finish_non_exhaustive()
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic under this lock leaves the queue whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Told> {
        match std::mem::take(&mut self.missed) {
            0 => self.told.pop_front(),
            missed => Some(Told::Missed(missed)),
        }
    }
}

/// The subscriber on the loop.
struct Feed(Weak<Queue>);

impl Feed {
    fn tell(&self, told: impl FnOnce() -> Told) {
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
}

impl Subscriber for Feed {
    fn event(&mut self, _: &mut Running<'_>, event: &Event) {
        self.tell(|| Told::Event(*event));
    }

    fn message(&mut self, _: &mut Running<'_>, slot: SlotId, bytes: &[u8], eom: Eom) {
        self.tell(|| Told::Message { slot, bytes: bytes.to_vec(), eom });
    }

    fn has_left(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Drop for Feed {
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
        let (events, subscriber) = pair();
        assert!(!subscriber.has_left());
        drop(events);
        assert!(subscriber.has_left());
    }
}
