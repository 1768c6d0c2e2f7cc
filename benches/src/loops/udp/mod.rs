//! UDP echo servers side by side, under a load that none of them can keep up with: what a batch is worth.
//!
//! As with streams, each server is a fresh process on one core and the [`client`] is another on its own.

pub mod client;
pub mod servers;

use super::{Common, span};
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio, spread};
use clap::Args;
use servers::Counts;
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
    #[arg(long, default_value = "300ms", value_parser = span)]
    duration: Duration,
    /// Time under load before that
    #[arg(long, default_value = "150ms", value_parser = span)]
    warmup: Duration,
}

/// Many short ones, as with streams.
const ROUNDS: usize = 15;
/// Bytes of a datagram.
const SIZES: [usize; 2] = [64, 1024];

/// A server to measure: its name, and the datagrams that it takes with one call. The first is the one that the others
/// are compared to.
#[derive(Clone, Copy)]
struct Peer(&'static str, usize);

const PEERS: [Peer; 4] = [Peer("wharf", 32), Peer("wharf", 1), Peer("mio", 1), Peer("tokio", 1)];

/// One run of one server.
#[derive(Clone, Debug)]
struct Outcome {
    client: client::Outcome,
    /// Calls that receive and calls that send, for each datagram.
    calls: [f64; 2],
}

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let (duration, warmup) =
        common.pick((arguments.duration, arguments.warmup), (Duration::from_millis(60), Duration::from_millis(20)));
    let program = std::env::current_exe()?.into_os_string();
    let mut report = Report::new("udp");
    let mut pinned = true;
    let rounds = common.rounds(ROUNDS);
    let say = |round: usize, load: usize| eprintln!("round {}/{rounds}: {} B", round + 1, SIZES[load]);
    let figures = rounds::run((PEERS.len(), SIZES.len(), rounds), say, |peer, load| {
        let outcome = measure(common, &program, PEERS[peer], SIZES[load], (duration, warmup), &mut pinned);
        if let Err(trouble) = &outcome {
            eprintln!("  {}: {trouble}", PEERS[peer].0);
        }
        outcome
    });
    report.fact("pinned", common.cores(pinned));
    let after = format!("medians of {rounds} rounds of {duration:?} after {warmup:?} of warm-up");
    report.fact(
        "method",
        format!("{after}; ratios are of batches to the row, medians of those within a round [and their quartiles]"),
    );
    let counted = "Wharf's are its own counts, of the whole run; the others make one for each datagram, and those that \
                   find nothing, which are not counted";
    report.fact("calls", counted);
    report.tables.push(table(&figures));
    Ok(report)
}

fn measure(
    common: &Common,
    program: &OsString,
    Peer(name, batch): Peer,
    size: usize,
    (duration, warmup): (Duration, Duration),
    pinned: &mut bool,
) -> Result<Outcome, String> {
    if name == "tokio" && !cfg!(feature = "peers") {
        return Err("not run: built without the feature `peers`".into());
    }
    let mut command = vec![program.clone()];
    command.extend(["serve", name, "--datagrams"].map(OsString::from));
    command.push(batch.to_string().into());
    let mut server = ServerProcess::start(&command, &[common.server_core]).map_err(|why| format!("not run: {why}"))?;
    *pinned &= server.pinned;
    let mut client = Command::new(program);
    client.arg("udp-client").arg(server.address.to_string()).arg("--size").arg(size.to_string());
    client.arg("--duration").arg(format!("{}ms", duration.as_millis()));
    client.arg("--warmup").arg(format!("{}ms", warmup.as_millis()));
    client.arg("--pid").arg(server.pid().to_string());
    let (client, client_pinned) = process::start_client(&mut client, common.client_core)?;
    *pinned &= client_pinned;
    let client: client::Outcome = process::outcome(client)?;
    let calls = if name == "wharf" {
        let counts: Counts = server.ask().map_err(|why| format!("wrong: {why}"))?;
        [per(counts.receives, counts.received), per(counts.sends, counts.sent)]
    } else {
        [1.0; 2]
    };
    Ok(Outcome { client, calls })
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
fn per(count: u64, whole: u64) -> f64 {
    count as f64 / whole.max(1) as f64
}

const COLUMNS: [&str; 12] = [
    "bytes",
    "<server",
    "batch",
    "datagrams/s",
    "spread",
    "server CPU us/datagram",
    "server busy",
    "receives/datagram",
    "sends/datagram",
    "loss",
    "wharf's rate to it",
    "wharf's CPU to it",
];

fn table(figures: &[Vec<Rounds<Outcome>>]) -> Table {
    let mut table = Table::new("Echo of datagrams, as fast as they can be echoed", &COLUMNS);
    for (size, rows) in SIZES.iter().zip(figures) {
        for (at, (Peer(name, batch), rounds)) in PEERS.iter().zip(rows).enumerate() {
            let head = vec![Cell::count(*size as u64), (*name).into(), Cell::count(*batch as u64)];
            table.push(head, rounds.trouble(), || row(rounds, Some(&rows[0]).filter(|_| at > 0)));
        }
    }
    table
}

fn row(rounds: &Rounds<Outcome>, ours: Option<&Rounds<Outcome>>) -> Vec<Cell> {
    let cell =
        |digits, figure: &dyn Fn(&Outcome) -> Option<f64>| Cell::number(rounds.column(figure).map(median), digits);
    let to_ours = |figure: fn(&Outcome) -> Option<f64>| {
        let both = ours.and_then(|ours| ours.column(figure)).zip(rounds.column(figure));
        Cell::ratio(both.and_then(|(ours, theirs)| ratio(&ours, &theirs)), 3)
    };
    let rates = rounds.column(|outcome| Some(outcome.client.measurement.rate)).unwrap_or_default();
    let losses = rounds.column(|outcome| Some(100.0 * per(outcome.client.lost, outcome.client.sent)));
    vec![
        Cell::Number(median(rates.clone()), 0),
        Cell::Percent(spread(&rates)),
        cell(3, &|outcome| outcome.client.measurement.server_cpu_us),
        cell(2, &|outcome| outcome.client.measurement.server_busy),
        cell(3, &|outcome| Some(outcome.calls[0])),
        cell(3, &|outcome| Some(outcome.calls[1])),
        losses.map_or(Cell::Missing, |losses| Cell::Percent(median(losses))),
        to_ours(|outcome| Some(outcome.client.measurement.rate)),
        to_ours(|outcome| outcome.client.measurement.server_cpu_us),
    ]
}
