//! Metrics as text, in version 0.0.4 of the format of Prometheus.
//!
//! A service writes its samples into an [`Exposition`]; those of all services are merged, so that each family has one
//! `HELP` and one `TYPE` line with all its samples behind them, as the format demands. Families stand in the order in
//! which they were begun, samples in the order in which they were added. Names are the caller's business; what stands
//! in labels may be anything.

use std::fmt::{self, Write};
use std::time::Duration;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families of samples.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    families: Vec<Family>,
}

#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    /// A line for each sample.
    samples: String,
}

/// One family, to which samples are added.
#[derive(Debug)]
pub struct Samples<'a> {
    family: &'a mut Family,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// Anything else.
    Real(f64),
}

impl Exposition {
    /// A number that only grows; its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Samples<'_> {
        self.family(name, help, "counter")
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Samples<'_> {
        self.family(name, help, "gauge")
    }

    /// A distribution: [`Samples::distribution`].
    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> Samples<'_> {
        self.family(name, help, "histogram")
    }

    /// Quantiles of a distribution: [`Samples::quantiles`].
    pub fn summary(&mut self, name: &'static str, help: &'static str) -> Samples<'_> {
        self.family(name, help, "summary")
    }

    /// Adds the samples of another, behind those of this one.
    pub fn merge(&mut self, other: Self) {
        for family in other.families {
            self.family(family.name, family.help, family.kind).family.samples.push_str(&family.samples);
        }
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: &'static str) -> Samples<'_> {
        let known = self.families.iter().position(|family| family.name == name);
        let index = known.unwrap_or_else(|| {
            self.families.push(Family { name, help, kind, samples: String::new() });
            self.families.len() - 1
        });
        Samples { family: &mut self.families[index] }
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Family { name, help, kind, samples } in &self.families {
            f.write_str("# HELP ")?;
            f.write_str(name)?;
            f.write_char(' ')?;
            escape(f, help, false)?;
            writeln!(f, "\n# TYPE {name} {kind}")?;
            f.write_str(samples)?;
        }
        Ok(())
    }
}

impl Samples<'_> {
    /// Adds one sample.
    pub fn add(&mut self, labels: &[(&str, &str)], value: impl Into<Number>) -> &mut Self {
        self.line("", labels, None, value.into());
        self
    }

    /// Adds one distribution: for each upper bound how many values lie at or below it, then the number and the sum of all.
    pub fn distribution(
        &mut self,
        labels: &[(&str, &str)],
        cumulative: impl IntoIterator<Item = (Duration, u64)>,
        count: u64,
        sum: Duration,
    ) -> &mut Self {
        for (bound, below) in cumulative {
            let bound = bound.as_secs_f64().to_string();
            self.line("_bucket", labels, Some(("le", &bound)), below.into());
        }
        self.line("_bucket", labels, Some(("le", "+Inf")), count.into());
        self.totals(labels, count, sum)
    }

    /// Adds one distribution by its quantiles, each with its label such as `0.99`, in seconds.
    pub fn quantiles(
        &mut self,
        labels: &[(&str, &str)],
        quantiles: impl IntoIterator<Item = (&'static str, f64)>,
        count: u64,
        sum: Duration,
    ) -> &mut Self {
        for (quantile, value) in quantiles {
            self.line("", labels, Some(("quantile", quantile)), value.into());
        }
        self.totals(labels, count, sum)
    }

    fn totals(&mut self, labels: &[(&str, &str)], count: u64, sum: Duration) -> &mut Self {
        self.line("_sum", labels, None, sum.as_secs_f64().into());
        self.line("_count", labels, None, count.into());
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], last: Option<(&str, &str)>, value: Number) {
        let Family { name, samples, .. } = &mut *self.family;
        let all = labels.iter().copied().chain(last);
        let line = || {
            write!(samples, "{name}{suffix}")?;
            let mut open = '{';
            for (label, value) in all {
                write!(samples, "{open}{label}=\"")?;
                escape(samples, value, true)?;
                samples.push('"');
                open = ',';
            }
            let close = if open == ',' { "}" } else { "" };
            writeln!(samples, "{close} {value}")
        };
        line().expect("a string takes whatever is written to it");
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) if value.is_finite() => value.fmt(f),
            Self::Real(value) if value.is_nan() => f.write_str("NaN"),
            Self::Real(value) => f.write_str(if *value > 0.0 { "+Inf" } else { "-Inf" }),
        }
    }
}

/// Writes what stands in a `HELP` line or, with its quotes, in a label.
fn escape(out: &mut impl Write, text: &str, quoted: bool) -> fmt::Result {
    for character in text.chars() {
        match character {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '"' if quoted => out.write_str("\\\"")?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_one_head_with_the_samples_of_all_services_behind_it() {
        let of = |server: &str, requests: u64| {
            let mut all = Exposition::default();
            all.counter("a_total", "First.").add(&[("server", server), ("function", "3")], requests);
            all.gauge("b", "Second.").add(&[("server", server)], 0.5);
            all
        };
        let mut all = of("x", 1);
        all.merge(of("y", u64::MAX));
        assert_eq!(
            all.to_string(),
            "# HELP a_total First.\n# TYPE a_total counter\na_total{server=\"x\",function=\"3\"} 1\n\
             a_total{server=\"y\",function=\"3\"} 18446744073709551615\n\
             # HELP b Second.\n# TYPE b gauge\nb{server=\"x\"} 0.5\nb{server=\"y\"} 0.5\n"
        );
    }

    #[test]
    fn nothing_in_a_label_or_a_help_text_breaks_out_of_its_line() {
        let mut all = Exposition::default();
        all.gauge("a", "Say \"no\" \\ or\nyes.").add(&[("server", "\"}\\\n{")], 1.0).add(&[], 2.0);
        assert_eq!(
            all.to_string(),
            "# HELP a Say \"no\" \\\\ or\\nyes.\n# TYPE a gauge\na{server=\"\\\"}\\\\\\n{\"} 1\na 2\n"
        );
    }

    #[test]
    fn a_distribution_has_bounds_in_seconds_and_ends_with_all() {
        let mut all = Exposition::default();
        let micros = Duration::from_micros;
        let cumulative = [(micros(10), 1), (micros(2_500), 3), (micros(5_000_000), 3)];
        all.histogram("t_seconds", "Times.").distribution(&[("server", "x")], cumulative, 4, micros(12_000_010));
        assert_eq!(
            all.to_string(),
            "# HELP t_seconds Times.\n# TYPE t_seconds histogram\nt_seconds_bucket{server=\"x\",le=\"0.00001\"} 1\n\
             t_seconds_bucket{server=\"x\",le=\"0.0025\"} 3\nt_seconds_bucket{server=\"x\",le=\"5\"} 3\n\
             t_seconds_bucket{server=\"x\",le=\"+Inf\"} 4\nt_seconds_sum{server=\"x\"} 12.00001\n\
             t_seconds_count{server=\"x\"} 4\n"
        );
    }

    #[test]
    fn what_is_no_finite_number_is_spelled_as_the_format_has_it() {
        let spelled = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|real| Number::from(real).to_string());
        assert_eq!(spelled, ["NaN", "+Inf", "-Inf"]);
    }
}
