//! The system's monotonic clock.
//!
//! A loop reads it after every callback. `std::time::Instant` reads the same clock and takes about four times as many
//! instructions for the way from seconds and nanoseconds to a span and on to microseconds.

#![expect(unsafe_code, reason = "the clock is read by a call of the C library")]

/// The clock in microseconds since some instant of the past. Never goes back.
pub(crate) fn monotonic_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` of this function, which the call fills and does not keep.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(outcome, 0, "every system has a monotonic clock");
    // Neither is ever negative; how wide they are differs between systems.
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_step_with_the_clock_of_the_standard_library() {
        let (before, origin) = (monotonic_micros(), std::time::Instant::now());
        while origin.elapsed() < std::time::Duration::from_millis(2) {
            assert!(monotonic_micros() >= before);
        }
        assert!(monotonic_micros() - before >= 2000);
    }
}
