//! Who hears of a server's events: bounded queues that never make the loop wait.

use super::event::Event;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

type Wake = Box<dyn Fn() + Send + Sync>;

/// One who hears of a server's events, in their order. When its queue is full the oldest event goes, and
/// [`Subscriber::missed`] grows. Dropping it ends the subscription.
pub struct Subscriber {
    queue: Arc<Queue>,
}

struct Queue {
    events: Mutex<VecDeque<Event>>,
    capacity: usize,
    missed: AtomicU64,
    came: Condvar,
    wake: Option<Wake>,
}

impl Queue {
    fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        // A panic under this lock leaves the queue whole.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    /// The oldest event that is here.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        self.queue.events().pop_front()
    }

    /// The oldest event, waiting for one so long at most.
    #[must_use]
    pub fn next_within(&self, wait: Duration) -> Option<Event> {
        let end = Instant::now() + wait;
        let mut events = self.queue.events();
        loop {
            if let Some(event) = events.pop_front() {
                return Some(event);
            }
            let left = end.checked_duration_since(Instant::now())?;
            events = self.queue.came.wait_timeout(events, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Events that were dropped because they were not taken in time.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.queue.missed.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber").field("missed", &self.missed()).finish_non_exhaustive()
    }
}

/// The subscribers of one server.
#[derive(Default)]
pub(super) struct Subscribers {
    queues: Mutex<Vec<Weak<Queue>>>,
    /// How many there are, so that the loop need not look where there is nobody.
    count: AtomicUsize,
    missed: AtomicU64,
}

impl Subscribers {
    pub(super) fn add(&self, capacity: usize, wake: Option<Wake>) -> Subscriber {
        let queue = Arc::new(Queue {
            events: Mutex::default(),
            capacity: capacity.max(1),
            missed: AtomicU64::new(0),
            came: Condvar::new(),
            wake,
        });
        let mut queues = self.queues();
        queues.push(Arc::downgrade(&queue));
        self.count.store(queues.len(), Ordering::Release);
        Subscriber { queue }
    }

    /// Whether nobody is there.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Tells everybody.
    pub(super) fn tell(&self, event: &Event) {
        if self.is_empty() {
            return;
        }
        let mut queues = self.queues();
        queues.retain(|queue| queue.upgrade().map(|queue| self.tell_one(&queue, event)).is_some());
        self.count.store(queues.len(), Ordering::Release);
    }

    /// Events that any subscriber has missed.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    fn tell_one(&self, queue: &Queue, event: &Event) {
        let mut events = queue.events();
        let was_empty = events.is_empty();
        if events.len() >= queue.capacity {
            events.pop_front();
            queue.missed.fetch_add(1, Ordering::Relaxed);
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        events.push_back(event.clone());
        drop(events);
        queue.came.notify_one();
        if let Some(wake) = queue.wake.as_ref().filter(|_| was_empty) {
            wake();
        }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Weak<Queue>>> {
        // A panic under this lock leaves the list whole.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
