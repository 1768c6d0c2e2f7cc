//! Spans of time and sizes, as a plant file spells them.
//!
//! A span is a number and a unit (`us`, `ms`, `s`, `m`, `h`), or `"0"`; a size is a number and a power of 1024 (`k`,
//! `M`, `G`, with or without `iB`). Both may have a fraction. A span must come to whole microseconds, because those are
//! what the machines count; a size is rounded down to whole bytes.

use std::time::Duration;

/// What a span may look like, for messages.
pub(super) const SPAN: &str = "a string with a unit (us, ms, s, m, h) such as \"500ms\", or \"0\" for off";
/// What a size may look like, for messages.
pub(super) const SIZE: &str = "bytes, or a string in powers of 1024 such as \"64k\" or \"4.4MiB\"";

/// The units of a span in microseconds, largest first.
const SPAN_UNITS: [(&str, u64); 5] =
    [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Reads a span such as `"1.5s"`. `None` if it is not one, or has parts of a microsecond.
#[must_use]
pub fn parse_span(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    if unit.is_empty() && number.mantissa == 0 {
        return Some(Duration::ZERO);
    }
    let (_, micros) = SPAN_UNITS.iter().find(|(name, _)| *name == unit)?;
    let scaled = number.mantissa.checked_mul(u128::from(*micros))?;
    if !scaled.is_multiple_of(number.divisor) {
        return None;
    }
    u64::try_from(scaled / number.divisor).ok().map(Duration::from_micros)
}

/// Writes a span in the largest unit that leaves no fraction; parts of a microsecond are dropped.
#[must_use]
pub fn format_span(span: Duration) -> String {
    let micros = span.as_micros();
    if micros == 0 {
        return "0".to_owned();
    }
    SPAN_UNITS
        .iter()
        .find(|(_, unit)| micros.is_multiple_of(u128::from(*unit)))
        .map_or_else(|| format!("{micros}us"), |(name, unit)| format!("{}{name}", micros / u128::from(*unit)))
}

/// Reads a size such as `"64k"` in bytes. `None` if it is not one.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "k" | "K" | "kiB" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    u64::try_from(number.mantissa.checked_mul(1 << shift)? / number.divisor).ok()
}

/// Writes a size in the largest unit that leaves no fraction.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .iter()
        .find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// A decimal number, `mantissa / divisor`.
struct Decimal {
    mantissa: u128,
    divisor: u128,
}

/// Splits `"4.4MiB"` into 44/10 and `MiB`. At most 9 digits may follow the point.
fn split_unit(text: &str) -> Option<(Decimal, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let divisor = 10_u128.pow(digits);
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = fraction.parse().ok()?;
    Some((Decimal { mantissa: u128::from(whole) * divisor + u128::from(fraction), divisor }, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_need_a_unit_unless_they_are_zero() {
        assert_eq!(parse_span("50us"), Some(Duration::from_micros(50)));
        assert_eq!(parse_span("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_span("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_span("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_span("3 h"), Some(Duration::from_secs(10_800)));
        assert_eq!(parse_span("0"), Some(Duration::ZERO));
        assert_eq!(parse_span("0s"), Some(Duration::ZERO));
        for wrong in ["", "5", "s", "1d", "-1s", "1.s", ".5s", "1.2.3s", "0.5us", "1 s s", "99999999999999999999h"] {
            assert_eq!(parse_span(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_written_span_reads_back() {
        for micros in [0, 1, 999, 1_000, 1_500, 60_000_000, 90_000_000, 3_600_000_000, u64::MAX] {
            let span = Duration::from_micros(micros);
            assert_eq!(parse_span(&format_span(span)), Some(span), "{micros}");
        }
        assert_eq!(format_span(Duration::from_millis(1500)), "1500ms");
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("64k"), Some(65_536));
        assert_eq!(parse_size("256 KiB"), Some(262_144));
        assert_eq!(parse_size("4.4MiB"), Some(4_613_734));
        assert_eq!(parse_size("1G"), Some(1 << 30));
        assert_eq!(parse_size("17"), Some(17));
        for wrong in ["", "k", "-1", "1T", "1e3", "1.k", "0x10"] {
            assert_eq!(parse_size(wrong), None, "{wrong:?}");
        }
        for bytes in [0, 1, 1023, 1024, 4_613_734, 1 << 20, 3 << 30] {
            assert_eq!(parse_size(&format_size(bytes)), Some(bytes), "{bytes}");
        }
    }
}
