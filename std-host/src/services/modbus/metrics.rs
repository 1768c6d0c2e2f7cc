//! What a server counts, and how it is told: as samples for Prometheus and as JSON.
//!
//! Most of it is counted from the events, in one place. What no event tells, bytes and times, is counted where it happens.

use super::event::{Event, Operation, Rejection};
use super::faults::FaultReport;
use crate::admin::exposition::Exposition;
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};
use wharf_core::modbus::server::{Outcome, Processed, Reason};
use wharf_core::modbus::service::Discard;
use wharf_core::stats::{Bound, Buckets};

/// The bounds of the histogram, in microseconds.
const BOUNDS: &[u64; 17] = &[
    10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

/// Counts by a function code, a unit or an exception code.
type ByCode = Box<[u64; 256]>;

/// What a server has counted since its start. It stands still: each call of [`Handle::metrics`](super::Handle::metrics)
/// makes a new one.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The name of the server, the label of every series.
    pub server: String,
    /// When it was bound.
    pub started_at: SystemTime,
    /// For how long it has been there.
    pub uptime: Duration,
    /// Connections that were admitted.
    pub connections: u64,
    /// Those that are there now.
    pub connections_active: u64,
    /// Bytes read, discarded or not.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Requests that wait for a deferred reply.
    pub requests_in_flight: u64,
    /// Answers that came when nobody waited for them any more.
    pub late_replies: u64,
    /// Events that subscribers have missed, all of them together.
    pub events_missed: u64,
    /// Units, enabled or not.
    pub units: u64,
    /// The faults of the plan, in its order.
    pub faults: Vec<FaultReport>,
    rejected: [u64; Rejection::ALL.len()],
    closed: [u64; Reason::ALL.len()],
    discards: [u64; Discard::ALL.len()],
    timeouts: [u64; TIMEOUTS.len()],
    errors: [u64; Operation::ALL.len()],
    responses: [u64; RESPONSES.len()],
    requests: ByCode,
    unit_requests: ByCode,
    exceptions: ByCode,
    durations: Buckets<'static, [u64; BOUNDS.len()]>,
}

/// What became of a request (the label `status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// A normal reply was taken by the socket.
    Ok,
    /// An exception reply was.
    Exception,
    /// No reply was, whatever the reason.
    None,
}

const RESPONSES: [(Response, &str); 3] =
    [(Response::Ok, "ok"), (Response::Exception, "exception"), (Response::None, "none")];

/// Which timeout ran out (the label `kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// `request_timeout`
    Request,
    /// `frame_timeout`
    Frame,
    /// `idle_timeout`
    Idle,
    /// `write_timeout`
    Write,
}

const TIMEOUTS: [(Timeout, &str); 4] =
    [(Timeout::Request, "request"), (Timeout::Frame, "frame"), (Timeout::Idle, "idle"), (Timeout::Write, "write")];

impl Metrics {
    pub(super) fn new(server: &str, started_at: SystemTime) -> Self {
        let zeroed = || Box::new([0; 256]);
        Self {
            server: server.to_owned(),
            started_at,
            uptime: Duration::ZERO,
            connections: 0,
            connections_active: 0,
            bytes_in: 0,
            bytes_out: 0,
            requests_in_flight: 0,
            late_replies: 0,
            events_missed: 0,
            units: 0,
            faults: Vec::new(),
            rejected: [0; _],
            closed: [0; _],
            discards: [0; _],
            timeouts: [0; _],
            errors: [0; _],
            responses: [0; _],
            requests: zeroed(),
            unit_requests: zeroed(),
            exceptions: zeroed(),
            durations: Buckets::new(BOUNDS, [0; BOUNDS.len()]).expect("the bounds ascend, one to a count"),
        }
    }

    /// Newcomers that were turned away.
    #[must_use]
    pub const fn rejected(&self, reason: Rejection) -> u64 {
        self.rejected[reason as usize]
    }

    /// Connections that have ended so.
    #[must_use]
    pub const fn closed(&self, reason: Reason) -> u64 {
        self.closed[reason as usize]
    }

    /// Things thrown away.
    #[must_use]
    pub const fn discards(&self, reason: Discard) -> u64 {
        self.discards[reason as usize]
    }

    /// Timeouts that ran out.
    #[must_use]
    pub const fn timeouts(&self, kind: Timeout) -> u64 {
        self.timeouts[kind as usize]
    }

    /// Failures of the system; those of handlers are events alone.
    #[must_use]
    pub fn errors(&self, operation: Operation) -> u64 {
        self.errors.get(operation as usize).copied().unwrap_or(0)
    }

    /// Requests that have ended so.
    #[must_use]
    pub const fn responses(&self, status: Response) -> u64 {
        self.responses[status as usize]
    }

    /// Requests of a function, whatever became of them.
    #[must_use]
    pub const fn requests(&self, function: u8) -> u64 {
        self.requests[function as usize]
    }

    /// Requests for a unit, whatever became of them.
    #[must_use]
    pub const fn unit_requests(&self, unit: u8) -> u64 {
        self.unit_requests[unit as usize]
    }

    /// Requests that were answered with an exception.
    #[must_use]
    pub const fn exceptions(&self, code: u8) -> u64 {
        self.exceptions[code as usize]
    }

    /// How long it took from the input that completed a request to the last byte of its reply in the socket.
    #[must_use]
    pub const fn durations(&self) -> &Buckets<'static, [u64; 17]> {
        &self.durations
    }

    /// Requests a second, on average since the start.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        let seconds = self.uptime.as_secs_f64();
        let all: u64 = self.requests.iter().sum();
        if seconds > 0.0 { as_real(all) / seconds } else { 0.0 }
    }

    pub(super) fn count(&mut self, event: &Event) {
        match event {
            Event::Connected { .. } => self.connections += 1,
            Event::Disconnected { reason, .. } => {
                self.closed[*reason as usize] += 1;
                if *reason == Reason::Idle {
                    self.timed_out(Timeout::Idle);
                } else if *reason == Reason::WriteStuck {
                    self.timed_out(Timeout::Write);
                }
            }
            Event::Rejected { reason, .. } => self.rejected[*reason as usize] += 1,
            Event::Discarded { reason, .. } => {
                self.discards[*reason as usize] += 1;
                if *reason == Discard::FrameTimeout {
                    self.timed_out(Timeout::Frame);
                }
            }
            Event::Error { operation: Operation::Handler, .. } => {}
            Event::Error { operation, .. } => self.errors[*operation as usize] += 1,
            // Requests are counted whether or not an event is made of them.
            Event::Processed { .. }
            | Event::Fault { .. }
            | Event::Started { .. }
            | Event::Changed(_)
            | Event::UnitAdded { .. }
            | Event::UnitRemoved { .. }
            | Event::Stopped { .. } => {}
        }
    }

    #[inline]
    pub(super) fn processed(&mut self, request: &Processed) {
        self.requests[usize::from(request.function)] += 1;
        self.unit_requests[usize::from(request.unit)] += 1;
        match request.outcome {
            Outcome::Ok => {}
            Outcome::Exception(exception) => self.exceptions[usize::from(exception.code())] += 1,
            Outcome::None => self.dropped(1),
        }
        if request.timed_out {
            self.timed_out(Timeout::Request);
        }
    }

    const fn timed_out(&mut self, kind: Timeout) {
        self.timeouts[kind as usize] += 1;
    }

    /// So many replies have left whole.
    pub(super) fn replied(&mut self, status: Response, replies: u32, took: Duration) {
        self.responses[status as usize] += u64::from(replies);
        self.durations.record_many(took, replies.into());
    }

    /// So many requests will get no reply.
    pub(super) fn dropped(&mut self, replies: u32) {
        self.responses[Response::None as usize] += u64::from(replies);
    }

    /// Writes every series.
    pub fn expose(&self, to: &mut Exposition) {
        let server = ("server", self.server.as_str());
        let own = [server];
        to.counter("wharf_modbus_connections_total", "Connections that were admitted.").add(&own, self.connections);
        let mut family =
            to.counter("wharf_modbus_connections_rejected_total", "Connections that were turned away, by reason.");
        for reason in Rejection::ALL {
            family.add(&[server, ("reason", reason.name())], self.rejected(reason));
        }
        let mut family = to.counter("wharf_modbus_connections_closed_total", "Connections that have ended, by reason.");
        for reason in Reason::ALL {
            family.add(&[server, ("reason", reason.name())], self.closed(reason));
        }
        to.counter("wharf_modbus_bytes_total", "Bytes read and written, discarded or not.")
            .add(&[server, ("direction", "in")], self.bytes_in)
            .add(&[server, ("direction", "out")], self.bytes_out);
        let mut by_code = |name, help, label, counts: &ByCode| {
            let mut family = to.counter(name, help);
            for (code, count) in seen(counts) {
                family.add(&[server, (label, &code)], count);
            }
        };
        by_code("wharf_modbus_requests_total", "Requests by function code.", "function", &self.requests);
        by_code("wharf_modbus_unit_requests_total", "Requests by the unit asked for.", "unit", &self.unit_requests);
        by_code("wharf_modbus_exceptions_total", "Exceptions by code.", "code", &self.exceptions);
        let mut family = to.counter("wharf_modbus_responses_total", "Requests by what they got, once they have.");
        for (status, name) in RESPONSES {
            family.add(&[server, ("status", name)], self.responses(status));
        }
        to.counter("wharf_modbus_late_replies_total", "Answers that came too late.").add(&own, self.late_replies);
        let mut family = to.counter("wharf_modbus_discards_total", "Frames and requests thrown away, by reason.");
        for reason in Discard::ALL {
            family.add(&[server, ("reason", reason.name())], self.discards(reason));
        }
        let mut family = to.counter("wharf_modbus_timeouts_total", "Timeouts that ran out, by kind.");
        for (kind, name) in TIMEOUTS {
            family.add(&[server, ("kind", name)], self.timeouts(kind));
        }
        let mut family = to.counter("wharf_modbus_errors_total", "Failures of the system, by operation.");
        for operation in Operation::ALL {
            family.add(&[server, ("operation", operation.name())], self.errors(operation));
        }
        to.counter("wharf_modbus_events_missed_total", "Events that subscribers were too slow for.")
            .add(&own, self.events_missed);
        let mut family =
            to.counter("wharf_modbus_faults_total", "Requests and connections by what a fault did with them.");
        for fault in &self.faults {
            for (outcome, count) in outcomes(fault) {
                family.add(&[server, ("fault", &fault.name), ("outcome", outcome)], count);
            }
        }
        to.gauge("wharf_modbus_connections_active", "Connections there are.").add(&own, self.connections_active);
        to.gauge("wharf_modbus_requests_in_flight", "Requests that wait for a deferred reply.")
            .add(&own, self.requests_in_flight);
        to.gauge("wharf_modbus_units", "Units there are.").add(&own, self.units);
        let started = self.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        to.gauge("wharf_modbus_start_time_seconds", "When the server was started, in seconds since 1970.")
            .add(&own, started.as_secs_f64());
        let finite = self.durations.cumulative().filter_map(|(bound, below)| match bound {
            Bound::Micros(micros) => Some((Duration::from_micros(micros), below)),
            Bound::Infinite => None,
        });
        to.histogram(
            "wharf_modbus_request_duration_seconds",
            "From the input that completed a request to the last byte of its reply in the socket.",
        )
        .distribution(&own, finite, self.durations.count(), self.durations.sum());
    }

    /// The same as an object, with the names of the series less `wharf_modbus_`, and besides `uptime_seconds`,
    /// `requests_per_second` and, in microseconds, `mean_us`, `p50_us`, `p95_us` and `p99_us`: upper bounds of buckets,
    /// `"+Inf"` beyond the last, null where nothing was measured.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let object = |pairs: Vec<(String, u64)>| Value::Object(pairs.into_iter().map(|(k, v)| (k, v.into())).collect());
        let named = |names: &mut dyn Iterator<Item = &'static str>, counts: &[u64]| {
            object(names.map(str::to_owned).zip(counts.iter().copied()).collect())
        };
        let by_code = |counts: &ByCode| object(seen(counts).collect());
        let quantile = |ppm| match self.durations.quantile_ppm(ppm) {
            None => Value::Null,
            Some(Bound::Micros(micros)) => micros.into(),
            Some(Bound::Infinite) => "+Inf".into(),
        };
        let mean = self.durations.sum().as_micros().checked_div(self.durations.count().into());
        let mean = mean.and_then(|mean| u64::try_from(mean).ok());
        let faults: Map<String, Value> = self
            .faults
            .iter()
            .map(|fault| {
                let outcomes = outcomes(fault).map(|(outcome, count)| (outcome.to_owned(), count));
                (fault.name.to_string(), object(outcomes.to_vec()))
            })
            .collect();
        let all = json!({
            "server": self.server,
            "uptime_seconds": self.uptime.as_secs_f64(),
            "requests_per_second": self.requests_per_second(),
            "mean_us": mean,
            "p50_us": quantile(500_000),
            "p95_us": quantile(950_000),
            "p99_us": quantile(990_000),
            "connections_total": self.connections,
            "connections_active": self.connections_active,
            "connections_rejected_total": named(&mut Rejection::ALL.iter().map(|r| r.name()), &self.rejected),
            "connections_closed_total": named(&mut Reason::ALL.iter().map(|r| r.name()), &self.closed),
            "bytes_total": { "in": self.bytes_in, "out": self.bytes_out },
            "requests_total": by_code(&self.requests),
            "unit_requests_total": by_code(&self.unit_requests),
            "requests_in_flight": self.requests_in_flight,
            "responses_total": named(&mut RESPONSES.iter().map(|(_, name)| *name), &self.responses),
            "exceptions_total": by_code(&self.exceptions),
            "late_replies_total": self.late_replies,
            "discards_total": named(&mut Discard::ALL.iter().map(|r| r.name()), &self.discards),
            "timeouts_total": named(&mut TIMEOUTS.iter().map(|(_, name)| *name), &self.timeouts),
            "errors_total": named(&mut Operation::ALL.iter().map(|o| o.name()), &self.errors),
            "events_missed_total": self.events_missed,
            "faults_total": faults,
            "units": self.units,
        });
        all.as_object().expect("braces make an object").clone()
    }
}

/// What a fault did (the label `outcome`).
const fn outcomes(fault: &FaultReport) -> [(&'static str, u64); 4] {
    [
        ("checked", fault.checked),
        ("matched", fault.matched),
        ("applied", fault.applied),
        ("suppressed", fault.suppressed),
    ]
}

/// The codes that were seen, as text, with their counts.
fn seen(counts: &ByCode) -> impl Iterator<Item = (String, u64)> {
    let seen = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    seen.map(|(code, count)| (code.to_string(), *count))
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
const fn as_real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_stands_at_the_place_of_its_count() {
        assert!(RESPONSES.iter().enumerate().all(|(at, (status, _))| *status as usize == at));
        assert!(TIMEOUTS.iter().enumerate().all(|(at, (kind, _))| *kind as usize == at));
        assert!(Rejection::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(Reason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(Discard::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(Operation::ALL.iter().enumerate().all(|(at, operation)| *operation as usize == at));
    }

    #[test]
    fn quantiles_are_upper_bounds_of_buckets() {
        let mut metrics = Metrics::new("m", SystemTime::UNIX_EPOCH);
        let quantiles = |metrics: &Metrics| {
            let json = metrics.to_json();
            ["mean_us", "p50_us", "p95_us", "p99_us"].map(|key| json[key].clone())
        };
        assert_eq!(quantiles(&metrics), [(); 4].map(|()| Value::Null));
        metrics.replied(Response::Ok, 94, Duration::from_micros(26));
        metrics.replied(Response::Exception, 4, Duration::from_micros(1000));
        metrics.replied(Response::Ok, 2, Duration::from_secs(6));
        let mean = (94 * 26 + 4 * 1000 + 2 * 6_000_000) / 100;
        assert_eq!(quantiles(&metrics), [json!(mean), json!(50), json!(1000), json!("+Inf")]);
        assert_eq!((metrics.responses(Response::Ok), metrics.responses(Response::Exception)), (96, 4));
    }
}
