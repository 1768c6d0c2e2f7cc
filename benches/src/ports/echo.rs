//! The echo of a device port beside bare `mio`: the same client on its own core, each server in a fresh process on
//! another.

use super::servers;
use crate::loops::echo::{self, Load};
use crate::loops::servers::Counts;
use crate::loops::{Common, span};
use crate::measure::Measurement;
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio, spread};
use clap::Args;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// What every command has.
    #[command(flatten)]
    pub common: Common,
    /// Counted time of one run
    #[arg(long, default_value = "1s", value_parser = span)]
    duration: Duration,
    /// Time under load before that
    #[arg(long, default_value = "200ms", value_parser = span)]
    warmup: Duration,
    /// Only these loads, BYTESxCONNECTIONS; without it those of the specification
    #[arg(long, value_delimiter = ',', value_parser = echo::load)]
    loads: Vec<Load>,
}

const ROUNDS: usize = 15;
const LOADS: [Load; 2] = [Load::new(12, 40), Load::new(65536, 8)];
/// Slots: more than any load has connections.
const SLOTS: &str = "1000";

struct Peer {
    name: &'static str,
    command: Vec<OsString>,
}

struct Outcome {
    measurement: Measurement,
    counts: Option<(Counts, f64)>,
}

/// The servers, the one to which the others are compared last.
fn peers() -> io::Result<Vec<Peer>> {
    let mode = ("mode", "echo");
    let slots = ("slots", SLOTS);
    Ok(vec![
        Peer { name: "port", command: servers::port(&[slots, mode])? },
        Peer {
            name: "port, 256 KiB queues",
            command: servers::port(&[slots, mode, ("rx_queue", "256k"), ("tx_queue", "256k")])?,
        },
        Peer { name: "mio", command: [std::env::current_exe()?.into(), "serve".into(), "mio".into()].to_vec() },
    ])
}

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let loads = match (arguments.loads.is_empty(), common.quick) {
        (false, _) => arguments.loads.clone(),
        (true, false) => LOADS.to_vec(),
        (true, true) => vec![Load::new(12, 4), Load::new(65536, 2)],
    };
    let (duration, warmup) =
        common.pick((arguments.duration, arguments.warmup), (Duration::from_millis(60), Duration::from_millis(20)));
    let peers = peers()?;
    let rounds = common.rounds(ROUNDS);
    let mut pinned = true;
    let say = |round: usize, load: usize| eprintln!("round {}/{rounds}: {}", round + 1, loads[load]);
    let figures = rounds::run((peers.len(), loads.len(), rounds), say, |peer, load| {
        measure(common, &peers[peer], loads[load], (duration, warmup), &mut pinned)
    });
    let mut report = Report::new("echo");
    report.fact("pinned", common.cores(pinned));
    report.fact(
        "method",
        format!(
            "medians of {rounds} rounds of {duration:?} after {warmup:?} of warm-up; ratios are medians of the ratios \
             within a round [and their quartiles]"
        ),
    );
    report.tables.push(table(&peers, &loads, &figures));
    Ok(report)
}

fn measure(
    common: &Common,
    peer: &Peer,
    load: Load,
    time: (Duration, Duration),
    pinned: &mut bool,
) -> Result<Outcome, String> {
    let mut server =
        ServerProcess::start(&peer.command, &[common.server_core]).map_err(|why| format!("not run: {why}"))?;
    let mut client = echo::client(&server, load, time).map_err(|error| format!("not run: {error}"))?;
    let (client, client_pinned) = process::start_client(&mut client, common.client_core)?;
    *pinned &= server.pinned && client_pinned;
    let measurement = process::outcome(client)?;
    let mut counts = None;
    if peer.name != "mio" {
        let counted: Counts = server.ask().map_err(|why| format!("wrong: {why}"))?;
        #[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
        let messages = counted.bytes_in as f64 / load.size() as f64;
        counts = Some((counted, messages));
    }
    Ok(Outcome { measurement, counts })
}

const COLUMNS: [&str; 13] = [
    "bytes",
    "conns",
    "<server",
    "messages/s",
    "spread",
    "p50 us",
    "p99 us",
    "server CPU us/msg",
    "reads/msg",
    "writes/msg",
    "polls/msg",
    "rate to mio's",
    "CPU to mio's",
];

fn table(peers: &[Peer], loads: &[Load], figures: &[Vec<Rounds<Outcome>>]) -> Table {
    let mut table = Table::new("Echo", &COLUMNS);
    for (load, rows) in loads.iter().zip(figures) {
        let mio = rows.last();
        for (peer, rounds) in peers.iter().zip(rows) {
            let head = vec![Cell::count(load.size() as u64), Cell::count(load.connections() as u64), peer.name.into()];
            table.push(head, rounds.trouble(), || row(rounds, mio.filter(|_| peer.name != "mio")));
        }
    }
    table
}

fn row(rounds: &Rounds<Outcome>, mio: Option<&Rounds<Outcome>>) -> Vec<Cell> {
    let cell = |digits, figure: fn(&Outcome) -> Option<f64>| Cell::number(rounds.column(figure).map(median), digits);
    #[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
    let calls = |of: fn(&Counts) -> u64| {
        let each = |outcome: &Outcome| outcome.counts.as_ref().map(|(counts, messages)| of(counts) as f64 / messages);
        Cell::number(rounds.column(each).map(median), 2)
    };
    let to_mio = |figure: fn(&Outcome) -> Option<f64>| {
        let both = rounds.column(figure).zip(mio.and_then(|mio| mio.column(figure)));
        Cell::ratio(both.and_then(|(ours, theirs)| ratio(&ours, &theirs)), 3)
    };
    let rates = rounds.column(|outcome| Some(outcome.measurement.rate)).unwrap_or_default();
    vec![
        Cell::Number(median(rates.clone()), 0),
        Cell::Percent(spread(&rates)),
        cell(1, |outcome| Some(outcome.measurement.latency.p50)),
        cell(1, |outcome| Some(outcome.measurement.latency.p99)),
        cell(3, |outcome| outcome.measurement.server_cpu_us),
        calls(|counts| counts.reads),
        calls(|counts| counts.writes),
        calls(|counts| counts.polls),
        to_mio(|outcome| Some(outcome.measurement.rate)),
        to_mio(|outcome| outcome.measurement.server_cpu_us),
    ]
}
