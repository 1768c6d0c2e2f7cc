//! A closed-loop load generator on one thread that verifies every byte of every reply.
//!
//! Each connection keeps `depth` requests outstanding: when a reply has come and is right, the next request leaves.
//! Requests that become due while one read is worked off leave in one write. A run has three phases: warm-up, the
//! counted time, and the rest, in which no more is asked but every outstanding reply is still awaited and verified.
//! The first wrong byte, lost connection or overdue reply ends the run: there are no figures for a server that errs.
//!
//! The client uses edge-triggered epoll through `mio`. A read that does not fill the buffer has emptied the socket
//! (epoll(7)), so a reply costs one wait, one read and one write.

mod connection;

use crate::machine;
use crate::prepare::Probe;
use crate::wire::{OWN_QUANTITY, OWN_START, Operation};
use connection::Connection;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What to do to which server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub address: SocketAddr,
    /// How many connections; at least 1.
    pub connections: usize,
    /// Requests outstanding on each connection; at least 1.
    pub depth: usize,
    /// Kinds of request, taken in turn on each connection; at least one.
    pub mix: Vec<Operation>,
    /// The counted time.
    pub duration: Duration,
    /// Time under full load before the counted time.
    pub warmup: Duration,
    /// The unit id in each request.
    pub unit: u8,
    /// Holding registers of the server, from 0 on; at least 1000.
    pub registers: u16,
    /// The server is the bare echo server: replies are of the right size and filled with one byte.
    pub echo: bool,
    /// The server's process on this machine, whose CPU time is wanted.
    pub pid: Option<u32>,
    /// How long one reply may take.
    pub patience: Duration,
}

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

/// Prepares the server, loads it and gives the figures.
///
/// # Errors
/// The first thing that went wrong; then the run has no figures.
pub fn run(options: &Options) -> Result<Measurement, Failure> {
    check(options)?;
    let mut probe = if options.echo {
        None
    } else {
        let mut probe = Probe::connect(options.address, options.unit, options.patience)?;
        probe.lay_pattern()?;
        Some(probe)
    };
    let mut load = Load::connect(options)?;
    let measurement = load.run(options)?;
    if let Some(probe) = &mut probe
        && options.mix.contains(&Operation::WriteMost)
    {
        let last: Vec<u16> = load.connections.iter().filter_map(Connection::last_write).collect();
        probe.find_last_write(&last)?;
    }
    Ok(measurement)
}

fn check(options: &Options) -> Result<(), Failure> {
    let usage = |text: String| Err(Failure::Usage(text));
    if options.connections == 0 || options.depth == 0 || options.mix.is_empty() {
        return usage("connections, depth and mix must each be at least one".into());
    }
    if options.connections > usize::from(u16::MAX) {
        return usage("at most 65535 connections".into());
    }
    let own = usize::from(options.registers.saturating_sub(OWN_START) / OWN_QUANTITY);
    if !options.echo && options.mix.contains(&Operation::ReadWrite) && options.connections > own {
        return usage(format!(
            "fc23 needs {OWN_QUANTITY} registers for each connection: {} registers serve at most {own} connections",
            options.registers
        ));
    }
    Ok(())
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Counted,
    Rest,
}

/// What the replies leave behind, shared by all connections.
struct Tally {
    phase: Phase,
    requests: u64,
    latency: Histogram<u64>,
}

struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    tally: Tally,
}

/// Readings at one end of the counted time.
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

impl Load {
    fn connect(options: &Options) -> Result<Self, Failure> {
        let system = |what: &str, error: std::io::Error| Failure::Unreachable(format!("{what}: {error}"));
        let poll = Poll::new().map_err(|error| system("epoll", error))?;
        let mut connections = Vec::with_capacity(options.connections);
        for index in 0..options.connections {
            let number = u16::try_from(index).expect("`check` has bounded the connections");
            let mut connection = Connection::open(options, number)
                .map_err(|error| system(&format!("connect {}, connection {index}", options.address), error))?;
            // Writable interest is armed for good: with edges it costs nothing until a write has found no room.
            poll.registry()
                .register(connection.source(), Token(index), Interest::READABLE | Interest::WRITABLE)
                .map_err(|error| system("epoll_ctl", error))?;
            connections.push(connection);
        }
        // One nanosecond to one minute; a longer latency counts as one minute, and patience is shorter.
        let latency =
            Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self { poll, connections, tally: Tally { phase: Phase::WarmUp, requests: 0, latency } })
    }

    fn run(&mut self, options: &Options) -> Result<Measurement, Failure> {
        let begin = Instant::now();
        for connection in &mut self.connections {
            connection.begin(options, begin)?;
        }
        let mut buffer = vec![0; 64 * 1024];
        let mut events = Events::with_capacity(1024);
        let mut due = begin + options.warmup;
        let mut last_reply = begin;
        let (mut from, mut to) = (None, None);
        loop {
            match self.poll.poll(&mut events, Some(Duration::from_millis(20))) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Unreachable(format!("epoll_wait: {error}"))),
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                last_reply = connection.ready(options, &mut buffer, &mut self.tally)?.unwrap_or(last_reply);
            }
            let now = Instant::now();
            if now.saturating_duration_since(last_reply) > options.patience {
                return Err(Failure::Wrong(format!("no reply within {:?}", options.patience)));
            }
            match self.tally.phase {
                Phase::WarmUp if now >= due => {
                    let mark = Mark::now(options.pid);
                    due = mark.at + options.duration;
                    from = Some(mark);
                    self.tally.phase = Phase::Counted;
                }
                Phase::Counted if now >= due => {
                    to = Some(Mark::now(options.pid));
                    self.tally.phase = Phase::Rest;
                }
                Phase::WarmUp | Phase::Counted | Phase::Rest => {}
            }
            if let (Some(from), Some(to)) = (&from, &to)
                && self.connections.iter().all(Connection::is_quiet)
            {
                return Ok(self.measurement(from, to));
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of a run fit 52 bits")]
    fn measurement(&self, from: &Mark, to: &Mark) -> Measurement {
        let seconds = (to.at - from.at).as_secs_f64();
        let requests = self.tally.requests;
        let server = to.server.zip(from.server).map(|(to, from)| to.saturating_sub(from).as_secs_f64());
        let client = to.client.zip(from.client).map(|(to, from)| to.saturating_sub(from).as_secs_f64());
        let latency = &self.tally.latency;
        let micros = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        Measurement {
            requests,
            seconds,
            rate: requests as f64 / seconds,
            latency: Latency {
                p50: micros(0.5),
                p90: micros(0.9),
                p99: micros(0.99),
                p999: micros(0.999),
                max: latency.max() as f64 / 1e3,
            },
            server_cpu_us: server.filter(|_| requests > 0).map(|seconds| seconds * 1e6 / requests as f64),
            server_busy: server.map(|server| server / seconds),
            client_busy: client.map(|client| client / seconds),
        }
    }
}
