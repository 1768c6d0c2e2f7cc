//! Points in time, counted by the driver.
//!
//! A machine has no clock. Its driver picks an origin (power-on, process start, the begin of a simulation) and passes
//! the microseconds since then; 64 bits of them last half a million years. Spans are [`core::time::Duration`].

use core::time::Duration;

/// A point in time: microseconds since an origin that the driver chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin.
    pub const ORIGIN: Self = Self(0);
    /// The last point that can be named; additions saturate here.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point `millis` milliseconds after the origin; saturates at [`Instant::MAX`].
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// `self + span`, or [`Instant::MAX`] where that lies beyond it. Parts of a microsecond are dropped.
    #[must_use]
    pub const fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(whole_micros(span)))
    }

    /// `self + span`, or `None` where that lies beyond [`Instant::MAX`]. Parts of a microsecond are dropped.
    #[must_use]
    pub const fn checked_add(self, span: Duration) -> Option<Self> {
        match self.0.checked_add(whole_micros(span)) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// The span from `earlier` to `self`; zero if `earlier` is in fact later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// When a timeout that runs from `since` is over; never if it is off, which is zero, or ends beyond time. One below the
/// resolution of time takes a microsecond, because a deadline that is not later than its beginning would come again and
/// again.
pub(crate) fn expiry(since: Instant, timeout: Duration) -> Option<Instant> {
    let end = since.saturating_add(timeout.max(Duration::from_micros(1)));
    (!timeout.is_zero() && end < Instant::MAX).then_some(end)
}

/// The whole microseconds of a span, `u64::MAX` where there are more than that.
pub(crate) const fn whole_micros(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1_000_000).saturating_add(span.subsec_micros() as u64)
}

/// The earlier of two optional deadlines, where `None` means never.
#[must_use]
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_saturate_and_differences_never_go_below_zero() {
        assert_eq!(Instant::MAX.saturating_add(Duration::from_secs(1)), Instant::MAX);
        assert_eq!(Instant::ORIGIN.saturating_add(Duration::MAX), Instant::MAX);
        assert_eq!(Instant::MAX.checked_add(Duration::from_micros(1)), None);
        assert_eq!(Instant::ORIGIN.saturating_duration_since(Instant::from_micros(7)), Duration::ZERO);
        assert_eq!(
            Instant::from_millis(3).saturating_duration_since(Instant::from_micros(500)),
            Duration::from_micros(2500)
        );
    }

    #[test]
    fn a_timeout_takes_a_microsecond_at_least_and_never_ends_if_it_is_off_or_ends_beyond_time() {
        let (begin, late) = (Instant::from_micros(5), Instant::from_micros(u64::MAX - 2));
        assert_eq!(expiry(begin, Duration::ZERO), None);
        assert_eq!(expiry(begin, Duration::from_nanos(1)), Some(Instant::from_micros(6)));
        assert_eq!(expiry(begin, Duration::from_micros(7)), Some(Instant::from_micros(12)));
        assert_eq!(expiry(late, Duration::from_nanos(1)), Some(Instant::from_micros(u64::MAX - 1)));
        assert_eq!(expiry(late, Duration::from_micros(2)), None);
        assert_eq!(expiry(begin, Duration::MAX), None);
    }

    #[test]
    fn the_earliest_deadline_wins_and_none_means_never() {
        let (a, b) = (Instant::from_micros(1), Instant::from_micros(2));
        assert_eq!(earliest(Some(b), Some(a)), Some(a));
        assert_eq!(earliest(None, Some(b)), Some(b));
        assert_eq!(earliest(None, None), None);
    }
}
