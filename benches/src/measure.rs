//! What every load generator shares: the phases of a run, its figures, and why there may be none.
//!
//! A run has three phases: warm-up, the counted time, and the rest, in which no more is asked but every outstanding
//! reply is still awaited and verified.

use crate::machine;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, Instant};

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Verified replies within the counted time.
    pub requests: u64,
    /// The counted time in seconds.
    pub seconds: f64,
    /// Requests per second.
    pub rate: f64,
    /// Time from a request's write to its reply's read.
    pub latency: Latency,
    /// CPU time of the server per request in microseconds, if its process was named.
    pub server_cpu_us: Option<f64>,
    /// Part of the counted time for which the server's process was on a CPU (above 1 with more than one thread).
    pub server_busy: Option<f64>,
    /// Part of the counted time for which this client was on a CPU: near 1, it may be the limit itself.
    pub client_busy: Option<f64>,
}

/// Percentiles of latency, each in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say all there is to say")]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Latency {
    /// The percentiles of a histogram of nanoseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a run fit 52 bits")]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: micros(0.5),
            p90: micros(0.9),
            p99: micros(0.99),
            p999: micros(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// A histogram of nanoseconds: one to one minute; what takes longer counts as one minute.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are constant and right")
}

/// Why there are no figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum Failure {
    /// The options contradict each other or ask too much.
    Usage(String),
    /// No connection, or a call of the system failed.
    Unreachable(String),
    /// The server gave a wrong reply, none in time, or closed early.
    Wrong(String),
}

impl Failure {
    /// How a table says it.
    #[must_use]
    pub fn in_a_table(&self) -> String {
        match self {
            Self::Wrong(detail) => format!("wrong: {detail}"),
            Self::Usage(detail) | Self::Unreachable(detail) => format!("not run: {detail}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(detail) => write!(f, "{detail}"),
            Self::Unreachable(detail) => write!(f, "not reachable: {detail}"),
            Self::Wrong(detail) => write!(f, "wrong: {detail}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Under load, not counted.
    WarmUp,
    /// Counted.
    Counted,
    /// Nothing new is asked.
    Rest,
}

/// What the replies leave behind, shared by all connections of a client.
#[derive(Debug)]
pub struct Tally {
    /// Where the run is.
    pub phase: Phase,
    duration: Duration,
    pid: Option<u32>,
    due: Instant,
    from: Option<Mark>,
    to: Option<Mark>,
    requests: u64,
    latency: Histogram<u64>,
}

/// Readings at one end of the counted time.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    server: Option<Duration>,
    client: Option<Duration>,
}

impl Mark {
    fn now(pid: Option<u32>) -> Self {
        Self {
            at: Instant::now(),
            server: pid.and_then(machine::cpu_time),
            client: machine::cpu_time(std::process::id()),
        }
    }
}

impl Tally {
    /// A run of `duration` after `warmup`, which begins now. `pid` is the server whose CPU time is wanted.
    #[must_use]
    pub fn begin(warmup: Duration, duration: Duration, pid: Option<u32>) -> Self {
        Self {
            phase: Phase::WarmUp,
            duration,
            pid,
            due: Instant::now() + warmup,
            from: None,
            to: None,
            requests: 0,
            latency: histogram(),
        }
    }

    /// Counts a right reply to what was sent at `sent`.
    pub fn reply(&mut self, sent: Instant, now: Instant) {
        if self.phase == Phase::Counted {
            self.requests += 1;
            let nanos = now.saturating_duration_since(sent).as_nanos();
            self.latency.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
    }

    /// Goes on to the next phase if it is time.
    pub fn tick(&mut self, now: Instant) {
        match self.phase {
            Phase::WarmUp if now >= self.due => {
                let mark = Mark::now(self.pid);
                self.due = mark.at + self.duration;
                self.from = Some(mark);
                self.phase = Phase::Counted;
            }
            Phase::Counted if now >= self.due => {
                self.to = Some(Mark::now(self.pid));
                self.phase = Phase::Rest;
            }
            Phase::WarmUp | Phase::Counted | Phase::Rest => {}
        }
    }

    /// The figures, once the counted time is over.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
    pub fn measurement(&self) -> Option<Measurement> {
        let (from, to) = (self.from?, self.to?);
        let seconds = (to.at - from.at).as_secs_f64();
        let used = |to: Option<Duration>, from| to.zip(from).map(|(to, from)| to.saturating_sub(from).as_secs_f64());
        let server = used(to.server, from.server);
        Some(Measurement {
            requests: self.requests,
            seconds,
            rate: self.requests as f64 / seconds,
            latency: Latency::of(&self.latency),
            server_cpu_us: server.filter(|_| self.requests > 0).map(|seconds| seconds * 1e6 / self.requests as f64),
            server_busy: server.map(|server| server / seconds),
            client_busy: used(to.client, from.client).map(|client| client / seconds),
        })
    }
}
