//! The calendar: a moment as date and time of day in UTC.

use std::fmt;
use std::time::SystemTime;

/// The days of 400 years, after which the calendar repeats.
const CYCLE_DAYS: u64 = 146_097;

/// A moment in UTC. It shows itself as RFC 3339 has it, to the microsecond: `2031-05-06T07:08:09.123456Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Utc {
    pub(crate) year: u64,
    /// From 0.
    pub(crate) month: usize,
    /// From 1.
    pub(crate) day: u64,
    /// Days since a Thursday, below 7.
    pub(crate) weekday: usize,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
    pub(crate) micros: u32,
}

impl Utc {
    /// A moment; one before 1970 is the first of that year.
    pub(crate) fn at(moment: SystemTime) -> Self {
        let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (days, of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (mut year, mut day) = (1970 + 400 * (days / CYCLE_DAYS), days % CYCLE_DAYS);
        while day >= days_of_year(year) {
            day -= days_of_year(year);
            year += 1;
        }
        let mut month = 0;
        while day >= days_of_month(year, month) {
            day -= days_of_month(year, month);
            month += 1;
        }
        Self {
            year,
            month,
            day: day + 1,
            weekday: (days % 7) as usize,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            micros: since.subsec_micros(),
        }
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, micros, .. } = self;
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z", month + 1)
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Months count from 0.
const fn days_of_month(year: u64, month: usize) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shown(seconds: u64, micros: u64) -> String {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
        Utc::at(moment).to_string()
    }

    #[test]
    fn a_moment_is_shown_to_the_microsecond() {
        assert_eq!(shown(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(shown(1_935_817_689, 123_456), "2031-05-06T07:08:09.123456Z");
        assert_eq!(shown(951_782_399, 999_999), "2000-02-28T23:59:59.999999Z");
        assert_eq!(shown(951_782_400, 7), "2000-02-29T00:00:00.000007Z");
        assert_eq!(shown(4_107_542_399, 0), "2100-02-28T23:59:59.000000Z");
    }

    #[test]
    fn the_calendar_repeats_after_400_years() {
        let cycle = CYCLE_DAYS * 86_400;
        assert_eq!(shown(951_782_400 + cycle, 0), "2400-02-29T00:00:00.000000Z");
        assert_eq!(shown(cycle - 1, 0), "2369-12-31T23:59:59.000000Z");
        assert_eq!(shown(cycle, 0), "2370-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_moment_before_1970_is_the_first_of_that_year() {
        let moment = SystemTime::UNIX_EPOCH - Duration::from_micros(1);
        assert_eq!(Utc::at(moment).to_string(), "1970-01-01T00:00:00.000000Z");
    }
}
