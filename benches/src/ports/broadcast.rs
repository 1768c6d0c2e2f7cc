//! The broker of a device port beside `ncat --broker`: one client says a message, and all others hear it.

use super::servers;
use crate::loops::servers::Counts;
use crate::loops::{Common, span};
use crate::machine;
use crate::measure::Measurement;
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio, spread};
use clap::Args;
use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::time::Duration;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// What every command has.
    #[command(flatten)]
    pub common: Common,
    /// Counted time of one run
    #[arg(long, default_value = "2s", value_parser = span)]
    duration: Duration,
    /// Time under load before that
    #[arg(long, default_value = "500ms", value_parser = span)]
    warmup: Duration,
    /// Clients that hear a message
    #[arg(long, default_value_t = 1000)]
    receivers: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 64)]
    size: usize,
}

const ROUNDS: usize = 3;
/// Descriptors of the load besides its connections.
const BESIDES: u64 = 64;

/// One run of one broker.
struct Outcome {
    measurement: Measurement,
    /// Its own counts.
    counts: Option<Counts>,
}

/// One load.
pub(super) struct Load {
    pub(super) receivers: usize,
    pub(super) deaf: usize,
    pub(super) size: usize,
    pub(super) filling: usize,
    pub(super) time: (Duration, Duration),
}

impl Load {
    /// Its connections: those that hear, those that do not, and the one that speaks.
    pub(super) const fn connections(&self) -> usize {
        self.receivers + self.deaf + 1
    }
}

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let time =
        common.pick((arguments.duration, arguments.warmup), (Duration::from_millis(60), Duration::from_millis(20)));
    let receivers = common.pick(arguments.receivers, 20);
    let load = Load { receivers, deaf: 0, size: arguments.size, filling: 0, time };
    let rounds = common.rounds(ROUNDS);
    let mut pinned = true;
    let slots = load.connections();
    let ours = servers::port(&[("slots", &slots.to_string()), ("mode", "broker")])?;
    let peers = ["port", "ncat"];
    let figures = rounds::run(
        (peers.len(), 1, rounds),
        |round, _| eprintln!("round {}/{rounds}", round + 1),
        |peer, _| {
            let command = if peer == 0 { Ok(ours.clone()) } else { servers::ncat(slots) };
            let command = command.map_err(|why| format!("not run: {why}"))?;
            let (measurement, counts) = measure(common, &command, &load, peer == 0, &mut pinned)?;
            Ok(Outcome { measurement, counts })
        },
    );
    let mut report = Report::new("broadcast");
    report.fact("pinned", common.cores(pinned));
    let (duration, warmup) = time;
    report.fact(
        "method",
        format!(
            "one client says {} B, the time is until the last of {receivers} has all of it, and then the next is said; \
             medians of {rounds} rounds of {duration:?} after {warmup:?} of warm-up; ratios are medians of the ratios \
             within a round [and their quartiles]",
            load.size
        ),
    );
    report.tables.push(table(&load, &peers, &figures[0]));
    Ok(report)
}

/// Runs a broker and a load; what was measured, and what the broker has counted if it `tells`.
pub(super) fn measure(
    common: &Common,
    command: &[OsString],
    load: &Load,
    tells: bool,
    pinned: &mut bool,
) -> Result<(Measurement, Option<Counts>), String> {
    // Both processes inherit the limit.
    let _ = machine::raise_descriptors(load.connections() as u64 + BESIDES);
    let mut server = ServerProcess::start(command, &[common.server_core]).map_err(|why| format!("not run: {why}"))?;
    let program = std::env::current_exe().map_err(|error| format!("not run: {error}"))?;
    let mut client = Command::new(program);
    client.arg("fan-client").arg(server.address.to_string());
    client.arg("--receivers").arg(load.receivers.to_string()).arg("--deaf").arg(load.deaf.to_string());
    client.arg("--size").arg(load.size.to_string()).arg("--filling").arg(load.filling.to_string());
    client.arg("--duration").arg(format!("{}ms", load.time.0.as_millis()));
    client.arg("--warmup").arg(format!("{}ms", load.time.1.as_millis()));
    client.arg("--pid").arg(server.pid().to_string());
    let (client, client_pinned) = process::start_client(&mut client, common.client_core)?;
    *pinned &= server.pinned && client_pinned;
    let measurement = process::outcome(client)?;
    let counts = if tells { Some(server.ask().map_err(|why| format!("wrong: {why}"))?) } else { None };
    Ok((measurement, counts))
}

fn table(load: &Load, peers: &[&str], figures: &[Rounds<Outcome>]) -> Table {
    let columns = [
        "bytes",
        "clients",
        "<broker",
        "broadcasts/s",
        "spread",
        "p50 us",
        "p99 us",
        "CPU us/copy",
        "writes/copy",
        "iterations/broadcast",
        "port's rate to it",
        "port's CPU to it",
    ];
    let mut table = Table::new("Broadcast", &columns);
    for (peer, rounds) in peers.iter().zip(figures) {
        let head = vec![Cell::count(load.size as u64), Cell::count(load.receivers as u64), (*peer).into()];
        table.push(head, rounds.trouble(), || row(load, rounds, figures.first().filter(|_| *peer != "port")));
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
fn row(load: &Load, rounds: &Rounds<Outcome>, ours: Option<&Rounds<Outcome>>) -> Vec<Cell> {
    let figure = |figure: fn(&Measurement) -> Option<f64>| {
        move |rounds: &Rounds<Outcome>| rounds.column(|outcome| figure(&outcome.measurement))
    };
    let cell = |digits, of: fn(&Measurement) -> Option<f64>| Cell::number(figure(of)(rounds).map(median), digits);
    let to_it = |of: fn(&Measurement) -> Option<f64>| {
        let both = ours.and_then(figure(of)).zip(figure(of)(rounds));
        Cell::ratio(both.and_then(|(ours, theirs)| ratio(&ours, &theirs)), 3)
    };
    // A message that came in is one broadcast.
    let said = |counts: &Counts| counts.bytes_in as f64 / load.size as f64;
    let counted = |of: &dyn Fn(&Counts) -> f64| {
        Cell::number(rounds.column(|outcome| outcome.counts.as_ref().map(of)).map(median), 2)
    };
    let copies = load.receivers as f64;
    let cpu = rounds.column(|outcome| outcome.measurement.server_cpu_us.map(|micros| micros / copies));
    let rates = figure(|measurement| Some(measurement.rate))(rounds).unwrap_or_default();
    vec![
        Cell::Number(median(rates.clone()), 0),
        Cell::Percent(spread(&rates)),
        cell(0, |measurement| Some(measurement.latency.p50)),
        cell(0, |measurement| Some(measurement.latency.p99)),
        Cell::number(cpu.map(median), 3),
        counted(&|counts| counts.writes as f64 / said(counts) / copies),
        counted(&|counts| counts.iterations as f64 / said(counts)),
        to_it(|measurement| Some(measurement.rate)),
        to_it(|measurement| measurement.server_cpu_us),
    ]
}
