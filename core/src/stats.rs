//! Counters and distributions of fixed size.
//!
//! | type | answers |
//! | --- | --- |
//! | [`Counter`] | how often, or how much |
//! | [`Histogram`] | quantiles of a latency, with a bounded relative error, without knowing beforehand where it lies |
//! | [`Buckets`] | how many values lie at or below each of the caller's bounds, exactly: a Prometheus histogram |
//!
//! Values are spans, counted in whole microseconds; a part of one counts as a whole one, so that a value above a bound
//! never counts as one at it. Counts and sums stop at `u64::MAX`. Nothing here is shared between threads, reads a clock
//! or prints.

use core::fmt;
use core::time::Duration;

/// A number that only grows. It stops at `u64::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counter(u64);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds `amount`.
    pub const fn add(&mut self, amount: u64) {
        self.0 = self.0.saturating_add(amount);
    }

    /// Adds one.
    pub const fn increment(&mut self) {
        self.add(1);
    }

    /// What was added so far.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// A latency histogram of fixed size whose buckets grow with the value, eight to an octave.
///
/// Up to 2^37 microseconds (38 hours) a quantile is never less than the true one and at most 1/8 above it; values up to
/// 15 microseconds are exact. Longer values share the last bucket; `count`, `sum`, `min` and `max` are exact for all.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; CELLS],
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [0; CELLS], count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Takes one value.
    pub fn record(&mut self, value: Duration) {
        let micros = micros_rounded_up(value);
        if let Some(cell) = self.counts.get_mut(cell_of(micros)) {
            *cell = cell.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(micros);
        self.min = self.min.min(micros);
        self.max = self.max.max(micros);
    }

    /// The number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum)
    }

    /// The least value; `None` if there is none.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then_some(Duration::from_micros(self.min))
    }

    /// The greatest value; `None` if there is none.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then_some(Duration::from_micros(self.max))
    }

    /// The arithmetic mean, rounded down to whole microseconds; `None` if there is no value.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count).map(Duration::from_micros)
    }

    /// The least bucket bound that at least `ppm` millionths of all values do not exceed: 500 000 asks for the median.
    ///
    /// 0 gives the least value, 1 000 000 and above the greatest; `None` if there is no value. The error is stated at
    /// [`Histogram`].
    #[must_use]
    pub fn quantile_ppm(&self, ppm: u32) -> Option<Duration> {
        if ppm == 0 {
            return self.min();
        }
        let rank = rank(self.count, ppm)?;
        let cell = position_of_rank(&self.counts, rank);
        let bound = cell.and_then(last_of_cell).unwrap_or(self.max);
        Some(Duration::from_micros(bound.min(self.max)))
    }

    /// Takes all values of `other` as well.
    pub fn merge(&mut self, other: &Self) {
        for (cell, more) in self.counts.iter_mut().zip(other.counts) {
            *cell = cell.saturating_add(more);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Forgets all values.
    pub const fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// How many values lie at or below each of a list of bounds, exactly.
///
/// The bounds are the caller's, in microseconds, and ascend. Beyond the last one there is always the bucket of
/// [`Bound::Infinite`].
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'b, S> {
    bounds: &'b [u64],
    /// Values above the previous bound and at or below this one.
    counts: S,
    count: u64,
    sum: u64,
}

/// The upper bound of a bucket, included: the `le` of a Prometheus histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Bound {
    /// This many microseconds.
    Micros(u64),
    /// No bound.
    Infinite,
}

/// Why [`Buckets`] could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// A bound is not greater than the one before it.
    NotAscending {
        /// The position of the offending bound.
        position: usize,
    },
    /// The storage does not have one count per bound.
    WrongLength {
        /// The number of counts.
        counts: usize,
        /// The number of bounds.
        bounds: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotAscending { position } => write!(f, "bound {position} is not greater than the one before it"),
            Self::WrongLength { counts, bounds } => write!(f, "{counts} counts for {bounds} bounds"),
        }
    }
}

impl core::error::Error for Error {}

impl<'b, S: AsRef<[u64]> + AsMut<[u64]>> Buckets<'b, S> {
    /// Empty buckets with the given bounds, in microseconds. What `counts` holds is overwritten.
    ///
    /// # Errors
    /// [`Error::NotAscending`] if the bounds do not ascend strictly, [`Error::WrongLength`] if `counts` is not as long as
    /// they are.
    pub fn new(bounds: &'b [u64], counts: S) -> Result<Self, Error> {
        if let Some(before) = bounds.windows(2).position(|pair| pair.first() >= pair.last()) {
            return Err(Error::NotAscending { position: before.saturating_add(1) });
        }
        if counts.as_ref().len() != bounds.len() {
            return Err(Error::WrongLength { counts: counts.as_ref().len(), bounds: bounds.len() });
        }
        let mut buckets = Self { bounds, counts, count: 0, sum: 0 };
        buckets.reset();
        Ok(buckets)
    }

    /// Takes one value.
    pub fn record(&mut self, value: Duration) {
        self.record_many(value, 1);
    }

    /// Takes one value so many times.
    pub fn record_many(&mut self, value: Duration, times: u64) {
        let micros = micros_rounded_up(value);
        let position = self.bounds.partition_point(|&bound| bound < micros);
        // Above the last bound, the total alone counts it.
        if let Some(count) = self.counts.as_mut().get_mut(position) {
            *count = count.saturating_add(times);
        }
        self.count = self.count.saturating_add(times);
        self.sum = self.sum.saturating_add(micros.saturating_mul(times));
    }

    /// The number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum)
    }

    /// The arithmetic mean, rounded down to whole microseconds; `None` if there is no value.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count).map(Duration::from_micros)
    }

    /// Every bound in ascending order, with the number of values at or below it; [`Bound::Infinite`] comes last.
    pub fn cumulative(&self) -> impl Iterator<Item = (Bound, u64)> {
        let counts = self.counts.as_ref().iter().scan(0_u64, |total, &count| {
            *total = total.saturating_add(count);
            Some(*total)
        });
        let finite = self.bounds.iter().map(|&bound| Bound::Micros(bound)).zip(counts);
        finite.chain(core::iter::once((Bound::Infinite, self.count)))
    }

    /// The least bound that at least `ppm` millionths of all values do not exceed: 950 000 asks for p95.
    ///
    /// `None` if there is no value.
    #[must_use]
    pub fn quantile_ppm(&self, ppm: u32) -> Option<Bound> {
        let rank = rank(self.count, ppm)?;
        let position = position_of_rank(self.counts.as_ref(), rank);
        let bound = position.and_then(|position| self.bounds.get(position));
        Some(bound.map_or(Bound::Infinite, |&bound| Bound::Micros(bound)))
    }

    /// Takes all values of `other` as well. False, and nothing has changed, if its bounds differ.
    pub fn merge<R: AsRef<[u64]>>(&mut self, other: &Buckets<'_, R>) -> bool {
        if self.bounds != other.bounds {
            return false;
        }
        for (count, more) in self.counts.as_mut().iter_mut().zip(other.counts.as_ref()) {
            *count = count.saturating_add(*more);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        true
    }

    /// Forgets all values.
    pub fn reset(&mut self) {
        self.counts.as_mut().fill(0);
        self.count = 0;
        self.sum = 0;
    }
}

/// Cells per octave, as a power of two.
const FINE_BITS: u32 = 3;
/// Values have one more bit than this where the cells end.
const LAST_OCTAVE: u32 = 36;
/// One cell per value below the first full octave, then `1 << FINE_BITS` per octave.
const CELLS: usize = ((LAST_OCTAVE - FINE_BITS + 2) << FINE_BITS) as usize;

/// The cell that counts a value.
fn cell_of(micros: u64) -> usize {
    let octave = micros.checked_ilog2().unwrap_or(0);
    let shift = octave.saturating_sub(FINE_BITS);
    if octave > LAST_OCTAVE {
        return CELLS - 1;
    }
    // The leading bits of the value, the topmost included: below the first full octave the value itself.
    let leading = micros.checked_shr(shift).unwrap_or(0);
    let cell = leading.saturating_add(u64::from(shift << FINE_BITS));
    usize::try_from(cell).unwrap_or(CELLS - 1)
}

/// The greatest value that a cell counts; `None` for the last one, which has no end.
fn last_of_cell(cell: usize) -> Option<u64> {
    let next = u32::try_from(cell).ok()?.checked_add(1).filter(|&next| (next as usize) < CELLS)?;
    let shift = (next >> FINE_BITS).saturating_sub(1);
    let leading = u64::from(next.saturating_sub(shift << FINE_BITS));
    leading.checked_shl(shift)?.checked_sub(1)
}

/// The position, from 1, of a quantile among `count` sorted values; `None` if there are none.
fn rank(count: u64, ppm: u32) -> Option<u64> {
    let rank = u128::from(count).saturating_mul(u128::from(ppm)).div_ceil(1_000_000);
    (count > 0).then(|| u64::try_from(rank).unwrap_or(u64::MAX).clamp(1, count))
}

/// The first of `counts` with which the running total reaches `rank`.
fn position_of_rank(counts: &[u64], rank: u64) -> Option<usize> {
    let mut total = 0_u64;
    counts.iter().position(|&count| {
        total = total.saturating_add(count);
        total >= rank
    })
}

fn micros_rounded_up(value: Duration) -> u64 {
    // Without the division of 128 bits that `as_nanos` would ask for: this runs for every sample.
    value.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(value.subsec_nanos().div_ceil(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SplitMix64;
    use std::vec::Vec;
    use std::{format, println};

    const fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    impl SplitMix64 {
        /// Every order of magnitude below 2^37 is about as likely as any other.
        fn micros(&mut self) -> u64 {
            let bits = self.next() % 38;
            self.next() % (1 << bits)
        }
    }

    #[test]
    fn a_counter_stops_at_its_end() {
        let mut counter = Counter::new();
        counter.increment();
        counter.add(41);
        assert_eq!(counter.value(), 42);
        counter.add(u64::MAX);
        assert_eq!(counter.value(), u64::MAX);
    }

    #[test]
    fn the_cells_cover_every_value_once_and_stay_within_an_eighth() {
        let mut first = 0;
        for cell in 0..CELLS - 1 {
            let last = last_of_cell(cell).unwrap();
            assert_eq!((cell_of(first), cell_of(last)), (cell, cell));
            assert!((last - first) * 8 <= first, "cell {cell}: {first} to {last}");
            assert!(last >= 16 || first == last, "cell {cell}: {first} to {last}");
            first = last + 1;
        }
        assert_eq!(last_of_cell(CELLS - 1), None);
        assert_eq!(cell_of(first), CELLS - 1);
        assert_eq!(cell_of((1 << 37) - 1), CELLS - 1);
        assert!((((1_u64 << 37) - 1) - first) * 8 <= first);
        assert_eq!(cell_of(u64::MAX), CELLS - 1);
    }

    #[test]
    fn quantiles_are_never_below_the_true_ones_and_at_most_an_eighth_above() {
        for seed in 0..60 {
            println!("seed {seed}");
            let mut random = SplitMix64::new(seed);
            let (mut whole, mut parts) = (Histogram::new(), [const { Histogram::new() }; 2]);
            let mut values: Vec<u64> = (0..=random.next() % 500).map(|_| random.micros()).collect();
            for (at, &value) in values.iter().enumerate() {
                whole.record(us(value));
                parts[at % 2].record(us(value));
            }
            let [mut merged, second] = parts;
            merged.merge(&second);
            values.sort_unstable();
            let sum: u64 = values.iter().sum();
            for histogram in [&whole, &merged] {
                assert_eq!(histogram.count(), values.len() as u64);
                assert_eq!(histogram.sum(), us(sum));
                assert_eq!(histogram.mean(), Some(us(sum / values.len() as u64)));
                assert_eq!(histogram.min(), Some(us(values[0])));
                assert_eq!(histogram.max(), values.last().map(|&last| us(last)));
                for ppm in [0, 1, 10_000, 500_000, 950_000, 990_000, 999_999, 1_000_000, u32::MAX] {
                    let rank = (values.len() * ppm.min(1_000_000) as usize).div_ceil(1_000_000).max(1);
                    let exact = us(values[rank - 1]);
                    let got = histogram.quantile_ppm(ppm).unwrap();
                    assert!(exact <= got && got <= exact + exact / 8, "{ppm} ppm: {got:?}, exactly {exact:?}");
                }
                assert_eq!(histogram.quantile_ppm(0), histogram.min());
                assert_eq!(histogram.quantile_ppm(1_000_000), histogram.max());
            }
        }
    }

    #[test]
    fn an_empty_or_reset_histogram_has_no_quantiles() {
        let mut histogram = Histogram::default();
        let ends = |h: &Histogram| (h.count(), h.min(), h.max(), h.mean(), h.quantile_ppm(500_000), h.quantile_ppm(0));
        assert_eq!(ends(&histogram), (0, None, None, None, None, None));
        histogram.record(us(5));
        assert_eq!(ends(&histogram), (1, Some(us(5)), Some(us(5)), Some(us(5)), Some(us(5)), Some(us(5))));
        histogram.record(us(1000));
        histogram.reset();
        assert_eq!(ends(&histogram), (0, None, None, None, None, None));
        assert_eq!(histogram.sum(), Duration::ZERO);
        histogram.merge(&Histogram::new());
        assert_eq!(ends(&histogram), (0, None, None, None, None, None));
    }

    #[test]
    fn the_ends_of_the_quantiles_are_the_exact_ends() {
        let mut histogram = Histogram::new();
        for value in [1000, 1001, 5000] {
            histogram.record(us(value));
        }
        assert_eq!(histogram.quantile_ppm(0), Some(us(1000)));
        assert_eq!(histogram.quantile_ppm(500_000), Some(us(1023)));
        assert_eq!(histogram.quantile_ppm(1_000_000), Some(us(5000)));
    }

    #[test]
    fn spans_beyond_the_last_cell_are_counted_and_bounded_by_the_greatest() {
        let mut histogram = Histogram::new();
        histogram.record(us(1 << 40));
        histogram.record(Duration::MAX);
        assert_eq!(histogram.count(), 2);
        assert_eq!(histogram.sum(), us(u64::MAX));
        assert_eq!(histogram.min(), Some(us(1 << 40)));
        assert_eq!(histogram.quantile_ppm(1), Some(us(u64::MAX)));
    }

    #[test]
    fn a_value_at_a_bound_is_within_it_and_any_part_above_is_not() {
        let bounds = [10, 25, 50];
        let mut buckets = Buckets::new(&bounds, [7; 3]).unwrap();
        for value in [us(10), Duration::from_nanos(10_001), us(25), us(50), us(51), Duration::ZERO] {
            buckets.record(value);
        }
        let expected = [(Bound::Micros(10), 2), (Bound::Micros(25), 4), (Bound::Micros(50), 5), (Bound::Infinite, 6)];
        assert!(buckets.cumulative().eq(expected));
        assert_eq!((buckets.count(), buckets.sum()), (6, us(10 + 11 + 25 + 50 + 51)));
        assert_eq!(buckets.mean(), Some(us(147 / 6)));
        buckets.reset();
        assert!(buckets.cumulative().all(|(_, count)| count == 0));
        assert_eq!((buckets.count(), buckets.sum(), buckets.mean()), (0, Duration::ZERO, None));
    }

    #[test]
    fn bucket_counts_agree_with_counting_by_hand() {
        const BOUNDS: [u64; 6] = [0, 10, 1000, 1 << 20, (1 << 20) + 1, 1 << 36];
        for seed in 0..40 {
            println!("seed {seed}");
            let mut random = SplitMix64::new(seed);
            let mut buckets = Buckets::new(&BOUNDS, [0; 6]).unwrap();
            let mut other = Buckets::new(&BOUNDS, std::vec![0; 6]).unwrap();
            let mut values: Vec<u64> = (0..=random.next() % 300).map(|_| random.micros()).collect();
            for (at, &value) in values.iter().enumerate() {
                if at % 3 == 0 { buckets.record(us(value)) } else { other.record(us(value)) }
            }
            assert!(buckets.merge(&other));
            values.sort_unstable();
            for (bound, count) in buckets.cumulative() {
                let below = values.iter().filter(|&&value| Bound::Micros(value) <= bound).count();
                assert_eq!(count, below as u64, "{bound:?}");
            }
            assert_eq!(buckets.sum(), us(values.iter().sum()));
            for ppm in [0, 500_000, 950_000, 990_000, 1_000_000] {
                let rank = (values.len() * ppm as usize).div_ceil(1_000_000).max(1);
                let bound = BOUNDS.iter().find(|&&bound| bound >= values[rank - 1]);
                let expected = bound.map_or(Bound::Infinite, |&bound| Bound::Micros(bound));
                assert_eq!(buckets.quantile_ppm(ppm), Some(expected), "{ppm} ppm");
            }
        }
    }

    #[test]
    fn bounds_and_counts_must_fit() {
        assert_eq!(Buckets::new(&[1, 2, 2], [0; 3]).unwrap_err(), Error::NotAscending { position: 2 });
        assert_eq!(Buckets::new(&[3, 1], [0; 2]).unwrap_err(), Error::NotAscending { position: 1 });
        let error = Buckets::new(&[1], [0; 2]).unwrap_err();
        assert_eq!(error, Error::WrongLength { counts: 2, bounds: 1 });
        assert_eq!(format!("{error}"), "2 counts for 1 bounds");
    }

    #[test]
    fn buckets_without_bounds_count_everything_as_infinite() {
        let mut none = Buckets::new(&[], [0; 0]).unwrap();
        assert_eq!(none.quantile_ppm(500_000), None);
        none.record(us(3));
        assert!(none.cumulative().eq([(Bound::Infinite, 1)]));
        assert_eq!(none.quantile_ppm(500_000), Some(Bound::Infinite));
        let mut one = Buckets::new(&[5], [0; 1]).unwrap();
        assert!(!one.merge(&none), "other bounds");
        assert_eq!(one.count(), 0);
    }
}
