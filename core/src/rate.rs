//! Rates: how often something may happen, in bursts and in the long run.
//!
//! A [`Bucket`] holds up to `burst` permits and gains `per_second` of them each second (a token bucket). It counts in
//! millionths of a permit and whole microseconds, so nothing is lost to rounding.

use crate::time::Instant;
use core::time::Duration;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rate {
    /// Permits gained each second; with 0 there are never more than the first ones.
    pub per_second: u32,
    /// Permits that can be saved; at least one.
    pub burst: u32,
}

impl Rate {
    /// The most that a bucket holds.
    fn capacity(self) -> u64 {
        u64::from(self.burst.max(1)).saturating_mul(PERMIT)
    }
}

/// What a permit is counted in: a rate of one a second gains one of these in a microsecond.
const PERMIT: u64 = 1_000_000;

/// The permits of one party, at a rate that the caller keeps and always gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bucket {
    level: u64,
    /// When the level was that.
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(rate: Rate, now: Instant) -> Self {
        Self { level: rate.capacity(), at: now }
    }

    /// Takes a permit, if there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.level = self.level_at(rate, now);
        self.at = self.at.max(now);
        let left = self.level.checked_sub(PERMIT);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }

    /// When there will be a permit, if nobody takes one before: `now` or later, never if the rate is 0 and none is left.
    #[must_use]
    pub fn next(&self, rate: Rate, now: Instant) -> Option<Instant> {
        let missing = PERMIT.saturating_sub(self.level_at(rate, now));
        if missing == 0 {
            return Some(now);
        }
        let micros = missing.checked_add(u64::from(rate.per_second))?.checked_sub(1)?;
        now.checked_add(Duration::from_micros(micros.checked_div(rate.per_second.into())?))
    }

    /// Whether it is as good as new, so that it need not be remembered.
    #[must_use]
    pub fn is_full(&self, rate: Rate, now: Instant) -> bool {
        self.level_at(rate, now) >= rate.capacity()
    }

    fn level_at(&self, rate: Rate, now: Instant) -> u64 {
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        let gained = micros.saturating_mul(rate.per_second.into());
        self.level.saturating_add(gained).min(rate.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut bucket = Bucket::full(rate, at(0));
        assert_eq!([0, 0, 0, 0].map(|now| bucket.take(rate, at(now))), [true, true, true, false]);
        assert_eq!(bucket.next(rate, at(0)), Some(at(100_000)));
        assert_eq!([99_999, 100_000, 100_001].map(|now| bucket.take(rate, at(now))), [false, true, false]);
        assert!(!bucket.is_full(rate, at(399_999)) && bucket.is_full(rate, at(400_000)));
        // An hour saves no more than the burst.
        assert_eq!([0; 4].map(|_| bucket.take(rate, at(3_600_000_000))), [true, true, true, false]);
    }

    #[test]
    fn no_part_of_a_permit_is_lost_however_often_one_asks() {
        let rate = Rate { per_second: 7, burst: 1 };
        let mut bucket = Bucket::full(rate, at(0));
        let taken = (0..=10_000_000).step_by(13).filter(|now| bucket.take(rate, at(*now))).count();
        assert!((70..=71).contains(&taken), "{taken}");
    }

    #[test]
    fn the_next_permit_is_there_when_it_is_promised_and_not_before() {
        for per_second in [1, 3, 7, 999, 1_000_000, u32::MAX] {
            let rate = Rate { per_second, burst: 1 };
            let mut bucket = Bucket::full(rate, at(5));
            assert!(bucket.take(rate, at(5)));
            let next = bucket.next(rate, at(5)).unwrap();
            let mut early = bucket;
            assert!(next > at(5) && !early.take(rate, at(next.as_micros() - 1)), "{per_second}");
            assert!(bucket.take(rate, next), "{per_second}");
        }
    }

    #[test]
    fn a_rate_of_nothing_gives_its_burst_once_and_time_may_stand_still_or_go_back() {
        let rate = Rate { per_second: 0, burst: 0 };
        let mut bucket = Bucket::full(rate, at(9));
        assert!(bucket.take(rate, at(3)) && !bucket.take(rate, at(1_000_000_000)));
        assert_eq!(bucket.next(rate, Instant::MAX), None);
    }
}
