//! What holds timers: Wharf's loop, tokio's runtime, and an ordered map.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use wharf_host::event_loop::{Loop, TimerId};

/// Timers that do nothing when they are due.
pub(super) trait Timers {
    type Id;
    fn insert(&mut self, delay: Duration) -> Self::Id;
    fn reset(&mut self, id: &mut Self::Id, delay: Duration);
    fn cancel(&mut self, id: Self::Id);

    /// What the owner of cancelled timers does once for many of them.
    fn settle(&mut self) {}
}

pub(super) struct Wharf(Loop);

impl Wharf {
    pub(super) fn new() -> Result<Self, String> {
        Loop::new().map(Self).map_err(|error| format!("not run: {error}"))
    }
}

impl Timers for Wharf {
    type Id = TimerId;

    fn insert(&mut self, delay: Duration) -> TimerId {
        self.0.loop_mut().add_timer(delay, None, |_, _| ()).expect("the delay is in range")
    }

    fn reset(&mut self, id: &mut TimerId, delay: Duration) {
        self.0.loop_mut().reset(*id, delay, None).expect("the timer is armed");
    }

    fn cancel(&mut self, id: TimerId) {
        self.0.loop_mut().close(id).expect("the timer is armed");
    }

    /// Ids are free again after an iteration.
    fn settle(&mut self) {
        self.0.turn(Some(Duration::ZERO)).expect("polling does not fail");
    }
}

/// Deadlines and numbers in order.
pub(super) struct Map {
    set: BTreeSet<(Instant, u64)>,
    next: u64,
}

impl Map {
    pub(super) const fn new() -> Self {
        Self { set: BTreeSet::new(), next: 0 }
    }
}

impl Timers for Map {
    type Id = (Instant, u64);

    fn insert(&mut self, delay: Duration) -> Self::Id {
        self.next += 1;
        let id = (Instant::now() + delay, self.next);
        self.set.insert(id);
        id
    }

    fn reset(&mut self, id: &mut Self::Id, delay: Duration) {
        self.set.remove(id);
        id.0 = Instant::now() + delay;
        self.set.insert(*id);
    }

    fn cancel(&mut self, id: Self::Id) {
        self.set.remove(&id);
    }
}

#[cfg(feature = "peers")]
pub(super) use with_tokio::Tokio;

#[cfg(feature = "peers")]
mod with_tokio {
    use super::Timers;
    use std::pin::Pin;
    use std::task::{Context, Waker};
    use std::time::Duration;
    use tokio::runtime::{Builder, Runtime};
    use tokio::time::{Instant, Sleep, sleep};

    /// A `Sleep` that has been polled is in the runtime's wheel. It is polled outside of a task, where no budget of the
    /// scheduler's could put the registration off.
    pub(in super::super) struct Tokio(Runtime);

    impl Tokio {
        pub(in super::super) fn new() -> Result<Self, String> {
            Builder::new_current_thread().enable_time().build().map(Self).map_err(|error| format!("not run: {error}"))
        }
    }

    impl Timers for Tokio {
        type Id = Pin<Box<Sleep>>;

        fn insert(&mut self, delay: Duration) -> Self::Id {
            let _inside = self.0.enter();
            let mut sleep = Box::pin(sleep(delay));
            assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            sleep
        }

        fn reset(&mut self, id: &mut Self::Id, delay: Duration) {
            id.as_mut().reset(Instant::now() + delay);
        }

        fn cancel(&mut self, id: Self::Id) {
            drop(id);
        }
    }
}
