//! `wharf modbus bench`: as many requests as a server answers, every reply checked.
//!
//! Each connection keeps `--depth` requests outstanding: when one ends, the next leaves; those that become due while one
//! read is worked off leave in one write. The clock runs from the moment when all connections are open until `--duration`
//! is over; what is outstanding then is waited for and not counted. A connection that is lost is an error for each of its
//! requests, and is opened again, at most every [`PAUSE`].
//!
//! A signal ends the measuring early, and what has been measured until then counts; before all connections are open there is
//! nothing to tell. The next signal ends the wait for what is outstanding.

use super::PatienceArgs;
use super::figures::{Errors, Figures, Times};
use super::mix::Load;
use crate::cli::interrupts::Interrupts;
use crate::cli::target::{Every, Host};
use crate::cli::transport::new_loop;
use crate::cli::{Failure, complain};
use clap::Args;
use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::modbus::client::{Config, Discard, Done, Outcome};
use wharf_core::modbus::mbap::MAX_PDU;
use wharf_host::event_loop::{Error, Loop, LoopMut, SocketId};
use wharf_host::run::Status;
use wharf_host::services::modbus_client::{Asker, Clients, Ended, Line};

/// Between two rounds of opening what was lost.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the end waits for what is outstanding, if requests have no timeout.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(in crate::cli) struct Bench {
    /// Name or address of the server; the port is 502 unless it is given.
    #[arg(value_name = "HOST[:PORT]")]
    host: Host,
    /// The unit id.
    #[arg(long, value_name = "ID", default_value = "1")]
    unit: u8,
    /// Connections.
    #[arg(long, value_name = "C", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Requests outstanding on each.
    #[arg(long, value_name = "D", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    depth: u16,
    /// Requests, taken in turn: functions 1 to 6, 15, 16, 22 and 23 with their quantity. All but reads write.
    #[arg(long, value_name = "REQUESTS", default_value = "fc3x10", value_delimiter = ',')]
    mix: Vec<Load>,
    /// The first address of every request.
    #[arg(long, value_name = "ADDRESS", default_value = "0", value_parser = address)]
    address: u16,
    /// How long to measure.
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    duration: Every,
    #[command(flatten)]
    patience: PatienceArgs,
}

fn address(text: &str) -> Result<u16, String> {
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u16::from_str_radix(digits, 16));
    parsed.map_err(|_| "expected 0..=65535, decimal or 0x".to_owned())
}

/// Carries out `wharf modbus bench`.
pub(in crate::cli) fn bench(bench: &Bench, out: &mut dyn Write) -> Result<Status, Failure> {
    for load in &bench.mix {
        let last = u32::from(bench.address) + u32::from(load.quantity()) - 1;
        if last > u32::from(u16::MAX) {
            return Err(Failure::Usage(format!("{load} from {} on: the last address is 65535", bench.address)));
        }
    }
    let system = |error: Error| Failure::System(error.to_string());
    wharf_host::run::raise_descriptor_limit(bench.connections.into(), 1);
    let mut lp = new_loop().map_err(system)?;
    let interrupts = Interrupts::watch(&mut lp.loop_mut()).map_err(system)?;
    let config = Config { max_outstanding: bench.depth, ..Config::DEFAULT };
    let clients = Clients::new(&mut lp.loop_mut(), config, Loader::new(bench));
    let loaded = run(bench, &mut lp, &clients, &interrupts).map_err(system)?;
    if let Some(why) = loaded {
        complain(&format!("{}: {why}", bench.host));
        return Ok(Status::Unreachable);
    }
    let figures = clients.asker().figures(bench);
    if bench.patience.json {
        writeln!(out, "{}", figures.object())?;
    } else {
        write!(out, "{figures}")?;
    }
    Ok(figures.status())
}

/// Opens, loads, and lets end. `Some` says why there is nothing to measure.
fn run(
    bench: &Bench,
    lp: &mut Loop,
    clients: &Clients<Loader>,
    interrupts: &Interrupts,
) -> Result<Option<String>, Error> {
    let mut ids = Vec::new();
    for _ in 0..bench.connections {
        match connect(bench, &mut lp.loop_mut(), clients) {
            Ok(id) => ids.push(id),
            Err(error) => return Ok(Some(format!("cannot {error}"))),
        }
    }
    lp.run_until(|_| {
        let loader = clients.asker();
        loader.open == bench.connections || loader.failed.is_some() || interrupts.any()
    })?;
    if interrupts.any() {
        return Ok(Some("interrupted before all connections were open".to_owned()));
    }
    if let Some(why) = clients.asker().failed.take() {
        return Ok(Some(why));
    }

    let over = Rc::new(Cell::new(false));
    alarm(lp, bench.duration.0, &over)?;
    // Wakes the loop to open again what was lost.
    lp.loop_mut().add_timer(PAUSE, Some(PAUSE), |_, _| {})?;
    let begin = lp.loop_mut().now();
    clients.asker().phase = Phase::Measuring;
    for id in &ids {
        // One that has been lost since is opened again below.
        let _ = clients.with(&mut lp.loop_mut(), *id, |line| clients.asker().fill(line));
    }
    let mut last_round = begin;
    lp.run_until(|lp| {
        if clients.asker().lost > 0 && lp.now().saturating_duration_since(last_round) >= PAUSE {
            last_round = lp.now();
            for _ in 0..std::mem::take(&mut clients.asker().lost) {
                match connect(bench, lp, clients) {
                    Ok(id) => ids.push(id),
                    Err(_) => clients.asker().not_connected(),
                }
            }
        }
        over.get() || interrupts.any()
    })?;

    {
        let mut loader = clients.asker();
        loader.elapsed = lp.loop_mut().now().saturating_duration_since(begin);
        loader.interrupted = !over.get();
        loader.phase = Phase::Ending;
    }
    // Of the signals, the one that has ended the measuring ends nothing else.
    let heard = u32::from(interrupts.any());
    for id in &ids {
        clients.drain(&mut lp.loop_mut(), *id);
    }
    over.set(false);
    alarm(lp, bench.patience.timeout.0.unwrap_or(GRACE), &over)?;
    lp.run_until(|_| clients.asker().open == 0 || over.get() || interrupts.count() > heard)?;
    Ok(None)
}

fn connect(bench: &Bench, lp: &mut LoopMut<'_, ()>, clients: &Clients<Loader>) -> Result<SocketId, Error> {
    let to = (bench.host.name.as_str(), bench.host.port);
    clients.connect(lp, to, (), bench.patience.timeout.0)
}

fn alarm(lp: &mut Loop, after: Duration, flag: &Rc<Cell<bool>>) -> Result<(), Error> {
    let flag = Rc::clone(flag);
    lp.loop_mut().add_timer(after, None, move |_, _| flag.set(true)).map(drop)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Measuring,
    Ending,
}

/// Asks, checks and counts.
struct Loader {
    unit: u8,
    address: u16,
    timeout: Duration,
    retries: u8,
    depth: u16,
    mix: Vec<Load>,
    phase: Phase,
    /// Connections that are there.
    open: u32,
    /// Connections that are to be opened again.
    lost: u32,
    /// Why the load cannot begin.
    failed: Option<String>,
    sequence: u32,
    elapsed: Duration,
    /// Whether the user did not wait until the end.
    interrupted: bool,
    times: Times,
    errors: Errors,
    strays: u64,
}

impl Loader {
    fn new(bench: &Bench) -> Self {
        Self {
            unit: bench.unit,
            address: bench.address,
            timeout: bench.patience.timeout.0.unwrap_or_default(),
            retries: bench.patience.retries,
            depth: bench.depth,
            mix: bench.mix.clone(),
            phase: Phase::Opening,
            open: 0,
            lost: 0,
            failed: None,
            sequence: 0,
            elapsed: Duration::ZERO,
            interrupted: false,
            times: Times::new(),
            errors: Errors::default(),
            strays: 0,
        }
    }

    /// Asks until the depth is reached.
    fn fill(&mut self, line: &mut Line<'_, ()>) {
        while line.outstanding() < usize::from(self.depth) && self.ask(line) {}
    }

    /// Asks the next of the mix; whether it could be asked. Its tag says which it is and what it writes.
    fn ask(&mut self, line: &mut Line<'_, ()>) -> bool {
        let kind = self.sequence as usize % self.mix.len();
        let [_, _, high, low] = self.sequence.to_be_bytes();
        let value = u16::from_be_bytes([high, low]);
        let mut pdu = [0; MAX_PDU];
        let len = self.mix[kind].encode(self.address, value, &mut pdu);
        self.sequence = self.sequence.wrapping_add(1);
        let tag = (kind as u64) << 16 | u64::from(value);
        line.ask(tag, self.unit, &pdu[..len], self.timeout, self.retries).is_ok()
    }

    fn not_connected(&mut self) {
        self.errors.connect += 1;
        self.lost += 1;
    }

    fn figures(&self, bench: &Bench) -> Figures {
        Figures {
            connections: bench.connections,
            depth: self.depth,
            mix: self.mix.clone(),
            elapsed: self.elapsed,
            interrupted: self.interrupted,
            times: self.times.clone(),
            errors: self.errors.clone(),
            strays: self.strays,
        }
    }
}

impl Asker for Loader {
    type Data = ();

    fn opened(&mut self, line: &mut Line<'_, ()>) {
        self.open += 1;
        match self.phase {
            Phase::Opening => {}
            Phase::Measuring => self.fill(line),
            Phase::Ending => line.drain(),
        }
    }

    fn done(&mut self, line: &mut Line<'_, ()>, done: &Done) {
        if self.phase != Phase::Measuring {
            return line.drain();
        }
        let load = usize::try_from(done.tag >> 16).ok().and_then(|kind| self.mix.get(kind));
        let [.., high, low] = done.tag.to_be_bytes();
        let is_right = load.is_some_and(|load| load.is_right(line.reply(), u16::from_be_bytes([high, low])));
        if done.outcome == Outcome::Reply && is_right {
            self.times.record(done.micros);
        } else {
            self.errors.count(done.outcome);
        }
        self.ask(line);
    }

    fn discarded(&mut self, _: &mut Line<'_, ()>, _: Discard, _: u16) {
        self.strays += 1;
    }

    fn closed(&mut self, _: SocketId, (): (), ended: Ended) {
        let (was_open, why) = match ended {
            Ended::NotConnected(error) => (false, format!("cannot {error}")),
            Ended::Closed(reason) => (true, reason.to_string()),
            Ended::Failed(error) => (true, error.to_string()),
        };
        self.open -= u32::from(was_open);
        match self.phase {
            Phase::Opening => self.failed = Some(why),
            Phase::Measuring if was_open => self.lost += 1,
            Phase::Measuring => self.not_connected(),
            Phase::Ending => {}
        }
    }
}
