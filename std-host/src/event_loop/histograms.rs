//! Distributions of what a loop waits for and how long its work takes.
//!
//! One iteration of many is measured as a whole, the first and then every [`sample_every`](super::LoopOptions)th, so
//! that the loop hardly pays for being watched. Batches of deferred calls are begun by their senders, between
//! iterations, and are counted apart. What it costs:
//! `loop-bench sampling` in the benchmarks.

use std::fmt;
use wharf_core::stats::Histogram;

/// Distributions of fixed size, of a sample; read by [`LoopMut::histograms`](super::LoopMut::histograms).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Histograms {
    /// The time in the system's poll, whether it waited or not.
    pub poll_wait: Histogram,
    /// The time from one reading of the clock in the loop to that after a callback: the callback, and what the loop did
    /// for it before, such as reading.
    pub callback: Histogram,
    /// From when a timer's tick was due to its callback; of ticks that were merged, the first.
    pub timer_lateness: Histogram,
    /// From the queueing of a batch's first deferred call to its run: of all calls of the batch the longest delay.
    pub deferred_delay: Histogram,
}

impl Histograms {
    /// Takes all values of `other` as well.
    pub fn merge(&mut self, other: &Self) {
        self.poll_wait.merge(&other.poll_wait);
        self.callback.merge(&other.callback);
        self.timer_lateness.merge(&other.timer_lateness);
        self.deferred_delay.merge(&other.deferred_delay);
    }
}

impl fmt::Debug for Histograms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = |histogram: &Histogram| histogram.quantile_ppm(500_000);
        f.debug_struct("Histograms")
            .field("poll_wait", &median(&self.poll_wait))
            .field("callback", &median(&self.callback))
            .field("timer_lateness", &median(&self.timer_lateness))
            .field("deferred_delay", &median(&self.deferred_delay))
            .finish()
    }
}

/// Picks the first event and then every `every`th; none if that is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler {
    every: u32,
    left: u32,
}

impl Sampler {
    pub(super) const fn new(every: u32) -> Self {
        Self { every, left: 0 }
    }

    pub(super) const fn is_due(&mut self) -> bool {
        if self.left > 1 {
            self.left -= 1;
            return false;
        }
        self.left = self.every;
        self.every > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn picked(every: u32) -> Vec<usize> {
        let mut sampler = Sampler::new(every);
        (0..10).filter(|_| sampler.is_due()).collect()
    }

    #[test]
    fn a_sampler_picks_the_first_and_every_nth() {
        assert!(picked(0).is_empty());
        assert_eq!(picked(1), (0..10).collect::<Vec<_>>());
        assert_eq!(picked(4), [0, 4, 8]);
        assert_eq!(picked(u32::MAX), [0]);
    }

    #[test]
    fn merged_histograms_hold_the_values_of_both() {
        let (mut one, mut other) = (Histograms::default(), Histograms::default());
        one.callback.record(Duration::from_micros(3));
        other.callback.record(Duration::from_micros(5));
        other.poll_wait.record(Duration::from_micros(7));
        one.merge(&other);
        assert_eq!((one.callback.count(), one.callback.max()), (2, Some(Duration::from_micros(5))));
        assert_eq!((one.poll_wait.count(), one.timer_lateness.count(), one.deferred_delay.count()), (1, 0, 0));
    }
}
