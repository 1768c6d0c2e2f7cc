//! What `wharf modbus bench` has counted: replies, their times, and errors by kind.

use super::mix::Load;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use wharf_core::modbus::client::Outcome;
use wharf_core::modbus::pdu::Exception;
use wharf_host::run::Status;

/// Times below this many microseconds are kept to the microsecond, those above to the millisecond.
const FINE: usize = 100_000;

/// A distribution of round trips.
#[derive(Clone, Debug)]
pub(super) struct Times {
    fine: Vec<u64>,
    /// By whole milliseconds.
    coarse: BTreeMap<u32, u64>,
    count: u64,
    max: u32,
}

impl Times {
    pub(super) fn new() -> Self {
        Self { fine: vec![0; FINE], coarse: BTreeMap::new(), count: 0, max: 0 }
    }

    pub(super) fn record(&mut self, micros: u32) {
        match self.fine.get_mut(micros as usize) {
            Some(cell) => *cell += 1,
            None => *self.coarse.entry(micros / 1000).or_default() += 1,
        }
        self.count += 1;
        self.max = self.max.max(micros);
    }

    /// Microseconds that this many in a thousand do not exceed, rounded up within a millisecond; `None` if there are none.
    pub(super) fn per_mille(&self, share: u64) -> Option<u32> {
        let rank = (self.count * share).div_ceil(1000).max(1);
        let fine = self.fine.iter().zip(0..).map(|(count, micros)| (micros, *count));
        let coarse =
            self.coarse.iter().map(|(millis, count)| (millis.saturating_mul(1000).saturating_add(999), *count));
        let mut total = 0;
        let cell = fine.chain(coarse).find(|(_, count)| {
            total += count;
            total >= rank
        });
        cell.map(|(micros, _)| micros.min(self.max)).filter(|_| self.count > 0)
    }
}

/// Everything that went wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors {
    pub(super) exceptions: BTreeMap<u8, u64>,
    pub(super) timeout: u64,
    pub(super) protocol: u64,
    pub(super) connect: u64,
}

impl Errors {
    /// Counts the end of a request that is no right reply.
    pub(super) fn count(&mut self, outcome: Outcome) {
        use wharf_core::modbus::client::Reason;
        match outcome {
            Outcome::Exception(exception) => *self.exceptions.entry(exception.code()).or_default() += 1,
            Outcome::Timeout => self.timeout += 1,
            Outcome::Reply
            | Outcome::Broken(_)
            | Outcome::Lost(Reason::BadFrame(_) | Reason::Truncated | Reason::FrameTimeout) => self.protocol += 1,
            Outcome::Lost(Reason::PeerClosed | Reason::PeerReset | Reason::Finished | Reason::Aborted) => {
                self.connect += 1;
            }
        }
    }

    fn total(&self) -> u64 {
        self.exceptions.values().sum::<u64>() + self.timeout + self.protocol + self.connect
    }
}

/// The result of a run.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) connections: u32,
    pub(super) depth: u16,
    pub(super) mix: Vec<Load>,
    /// The time really measured.
    pub(super) elapsed: Duration,
    /// Whether the user did not wait until the end.
    pub(super) interrupted: bool,
    pub(super) times: Times,
    pub(super) errors: Errors,
    /// Frames that nobody asked for, and replies that were late.
    pub(super) strays: u64,
}

impl Figures {
    /// The status that the errors call for: of several kinds the one that weighs most.
    pub(super) fn status(&self) -> Status {
        let Errors { exceptions, timeout, protocol, connect } = &self.errors;
        if *protocol > 0 {
            Status::Protocol
        } else if *timeout > 0 || *connect > 0 {
            Status::Unreachable
        } else if !exceptions.is_empty() {
            Status::Refused
        } else if self.times.count == 0 {
            Status::Unreachable
        } else {
            Status::Done
        }
    }

    /// One line of JSON.
    pub(super) fn object(&self) -> Value {
        let Errors { exceptions, timeout, protocol, connect } = &self.errors;
        let exceptions: Map<_, _> = exceptions.iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
        let mix: Vec<_> = self.mix.iter().map(Load::to_string).collect();
        let mut object = Map::new();
        let mut put = |key: &str, value| drop(object.insert(key.to_owned(), value));
        put("connections", json!(self.connections));
        put("depth", json!(self.depth));
        put("mix", json!(mix));
        put("seconds", json!(rounded(self.elapsed.as_secs_f64(), 1e6)));
        put("interrupted", json!(self.interrupted));
        put("requests", json!(self.times.count));
        put("rate", json!(rounded(self.rate(), 10.0)));
        let mut errors = json!({ "timeout": timeout, "protocol": protocol, "connect": connect });
        errors["exception"] = Value::Object(exceptions);
        put("errors", errors);
        put("strays", json!(self.strays));
        for (name, share) in QUANTILES {
            put(&format!("{}_us", name.replace('.', "")), json!(self.times.per_mille(share)));
        }
        Value::Object(object)
    }

    /// Right replies a second.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 replies")]
    fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.times.count as f64 / seconds } else { 0.0 }
    }
}

const QUANTILES: [(&str, u64); 5] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999), ("max", 1000)];

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Errors { exceptions, timeout, protocol, connect } = &self.errors;
        let mix: Vec<_> = self.mix.iter().map(Load::to_string).collect();
        writeln!(f, "{:<12}{} connections, {} deep, {}", "load", self.connections, self.depth, mix.join(","))?;
        let interrupted = if self.interrupted { ", interrupted" } else { "" };
        writeln!(f, "{:<12}{:.3} s{interrupted}", "time", self.elapsed.as_secs_f64())?;
        writeln!(f, "{:<12}{}, {:.1}/s", "requests", self.times.count, self.rate())?;
        writeln!(f, "{:<12}{}", "errors", self.errors.total())?;
        for (code, count) in exceptions {
            let name = Exception::new(*code).map_or_else(String::new, |exception| exception.to_string());
            writeln!(f, "  {count} {name}")?;
        }
        for (name, count) in
            [("timeout", timeout), ("protocol", protocol), ("connect", connect), ("strays", &self.strays)]
        {
            if *count > 0 {
                writeln!(f, "  {count} {name}")?;
            }
        }
        for (name, share) in QUANTILES {
            let time = self.times.per_mille(share).map_or_else(|| "-".to_owned(), |micros| format!("{micros} us"));
            writeln!(f, "{name:<12}{time}")?;
        }
        Ok(())
    }
}

fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_the_microsecond_and_then_to_the_millisecond() {
        let mut times = Times::new();
        assert_eq!((times.per_mille(500), times.per_mille(1000)), (None, None));
        (1..=999).for_each(|micros| times.record(micros));
        times.record(5_000_123);
        let of = |share| times.per_mille(share).unwrap();
        assert_eq!([of(1), of(500), of(900), of(999), of(1000)], [1, 500, 900, 999, 5_000_123]);
        times.record(7_000_000);
        assert_eq!(times.per_mille(999), Some(5_000_999), "of 1001 the last but one");
        times.record(u32::MAX);
        assert_eq!(times.per_mille(1000), Some(u32::MAX));
    }

    #[test]
    fn the_status_is_that_of_the_worst_kind_of_error() {
        let mut figures = Figures {
            connections: 1,
            depth: 1,
            mix: vec![],
            elapsed: Duration::ZERO,
            interrupted: false,
            times: Times::new(),
            errors: Errors::default(),
            strays: 0,
        };
        assert_eq!(figures.status(), Status::Unreachable, "nothing was answered");
        figures.times.record(1);
        assert_eq!(figures.status(), Status::Done);
        figures.times = Times::new();
        figures.errors.count(Outcome::Exception(Exception::ILLEGAL_FUNCTION));
        assert_eq!(figures.status(), Status::Refused);
        figures.errors.count(Outcome::Timeout);
        assert_eq!(figures.status(), Status::Unreachable);
        figures.errors.count(Outcome::Reply);
        assert_eq!((figures.status(), figures.errors.total()), (Status::Protocol, 3));
    }
}
