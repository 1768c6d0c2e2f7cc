//! The system's monotonic clock.
//!
//! A loop reads it after every callback. `std::time::Instant` reads the same clock and takes about four times as many
//! instructions for the way from seconds and nanoseconds to a span and on to microseconds.

#![expect(
    unsafe_code,
    reason = "the clock is read by a call of the C library, the counter of cycles by an instruction"
)]

use std::ops::RangeInclusive;

/// The clock in microseconds since some instant of the past. Never goes back.
pub(crate) fn monotonic_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` of this function, which the call fills and does not keep.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(outcome, 0, "every system has a monotonic clock");
    // Neither is ever negative; how wide they are differs between systems.
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// The lag of a glance at the most, in microseconds.
const LAG: u64 = 100;
/// What a processor counts in that time: none of this architecture counts slower than at 500 MHz or faster than at 5 GHz.
const CYCLES: RangeInclusive<u64> = 500 * LAG..=5000 * LAG;
/// How long the count is compared with the clock to learn its pace, in microseconds.
const LESSON: u64 = 10_000;

/// The clock for whoever looks at it all the time and can do with 0.1 ms less than it says. It is not read again while
/// the processor has counted few cycles since, and to ask for them takes less than half as long.
pub(crate) struct Glances {
    micros: u64,
    /// The count at the last reading; `None` if there is no cheap one on this architecture.
    cycles: Option<u64>,
    /// What the processor counts in [`LAG`], or less.
    few: u64,
    /// The reading with which the present lesson has begun.
    lesson: (u64, Option<u64>),
}

impl Glances {
    pub(crate) fn new() -> Self {
        let (micros, cycles) = (monotonic_micros(), cycles());
        Self { micros, cycles, few: *CYCLES.start(), lesson: (micros, cycles) }
    }

    /// The clock in microseconds, or up to 0.1 ms less.
    #[inline]
    pub(crate) fn micros(&mut self) -> u64 {
        let cycles = cycles();
        // A count that has gone back, as on another core, makes a difference that is not small.
        if self.cycles.zip(cycles).is_some_and(|(from, to)| to.wrapping_sub(from) < self.few) {
            return self.micros;
        }
        self.look(cycles)
    }

    /// Reads the clock, and learns from it how fast the processor counts.
    #[inline(never)]
    fn look(&mut self, cycles: Option<u64>) -> u64 {
        (self.micros, self.cycles) = (monotonic_micros(), cycles);
        let passed = self.micros - self.lesson.0;
        if passed >= LESSON {
            let counted = self.lesson.1.zip(cycles).map_or(0, |(from, to)| to.wrapping_sub(from));
            // A count that has jumped, as on another core, teaches nonsense, but only until the end of the next lesson.
            self.few = (counted / passed).saturating_mul(LAG).clamp(*CYCLES.start(), *CYCLES.end());
            self.lesson = (self.micros, cycles);
        }
        self.micros
    }
}

/// The processor's count of time. On processors of this century it goes on evenly, whatever they do to save power.
#[cfg(target_arch = "x86_64")]
fn cycles() -> Option<u64> {
    // SAFETY: the instruction is part of the architecture and touches no memory.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
const fn cycles() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_is_hardly_behind_the_clock_and_never_before_it() {
        let mut glances = Glances::new();
        let end = monotonic_micros() + 3 * LESSON;
        while monotonic_micros() < end {
            let before = monotonic_micros();
            let glance = glances.micros();
            assert!(glance + 100 >= before && glance <= monotonic_micros(), "{glance}, not {before}");
        }
    }

    #[test]
    fn it_keeps_step_with_the_clock_of_the_standard_library() {
        let (before, origin) = (monotonic_micros(), std::time::Instant::now());
        while origin.elapsed() < std::time::Duration::from_millis(2) {
            assert!(monotonic_micros() >= before);
        }
        assert!(monotonic_micros() - before >= 2000);
    }
}
