//! A good client beside a bad one: what it feels of [`Neighbour`]s on the same server.
//!
//! The server is a fresh process on one core. The good client asks, waits for the reply, verifies it and asks again, on a
//! core that it shares with the neighbour, which runs only when the good one waits, if `chrt` can have it so.

use crate::measure::Measurement;
use crate::neighbour::{Deeds, Neighbour};
use crate::peers::REGISTERS;
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio};
use crate::runner::Peer;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers.
    pub peers: Vec<Peer>,
    /// Who else is there.
    pub neighbours: Vec<Neighbour>,
    /// How often each is beside each.
    pub rounds: usize,
    /// The counted time of one run.
    pub duration: Duration,
    /// Time before that, the neighbour at work already.
    pub warmup: Duration,
    /// The core of every server.
    pub server_core: usize,
    /// The core of the clients.
    pub client_core: usize,
    /// This program, which is also both clients.
    pub program: PathBuf,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    good: Measurement,
    deeds: Deeds,
    seconds: f64,
}

const COLUMNS: [&str; 11] = [
    "<neighbour",
    "<server",
    "good requests/s",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "max us",
    "p99 to that beside nobody",
    "neighbour KB/s",
    "neighbour connections/s",
    "<remark",
];

/// Measures and reports.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let mut report = Report::new("beside");
    let (mut pinned, idle) = (true, has_chrt());
    let say = |round: usize, load: usize| {
        eprintln!("round {}/{}: beside {}", round + 1, plan.rounds, plan.neighbours[load].name());
    };
    let size = (plan.peers.len(), plan.neighbours.len(), plan.rounds);
    let figures = rounds::run(size, say, |peer, load| {
        let outcome = measure(plan, &plan.peers[peer], plan.neighbours[load], idle, &mut pinned);
        if let Err(trouble) = &outcome {
            eprintln!("  {}: {trouble}", plan.peers[peer].name);
        }
        outcome
    });
    let cores = format!("servers on core {}, both clients on core {}", plan.server_core, plan.client_core);
    report.fact("pinned", if pinned { cores } else { "NO, the figures mean little".to_owned() });
    report.fact("priority of the neighbour", if idle { "the lowest, by chrt" } else { "NO lower than the good one's" });
    let Plan { rounds, duration, warmup, .. } = plan;
    report.fact(
        "method",
        format!(
            "one connection, one request (FC3 x10) at a time, every reply verified; medians of {rounds} rounds of \
         {duration:?} after {warmup:?}; the ratio is the median of those within a round [and their quartiles]"
        ),
    );
    report.tables.push(table(plan, &figures));
    report
}

fn has_chrt() -> bool {
    let mut command = Command::new("chrt");
    command.args(["--idle", "0", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn measure(plan: &Plan, peer: &Peer, neighbour: Neighbour, idle: bool, pinned: &mut bool) -> Result<Outcome, String> {
    let command = peer.command.clone().map_err(|why| format!("not run: {why}"))?;
    let server = ServerProcess::start(&command, &[plan.server_core]).map_err(|why| format!("not run: {why}"))?;
    *pinned &= server.pinned;
    let address = server.address.to_string();
    let millis = |span: Duration| format!("{}ms", span.as_millis());
    let span = plan.warmup + plan.duration + Duration::from_millis(100);
    let mut other = if idle { Command::new("chrt") } else { Command::new(&plan.program) };
    if idle {
        other.args(["--idle", "0"]).arg(&plan.program);
    }
    other.arg("neighbour").arg(neighbour.name()).arg(&address).arg("--span").arg(millis(span));
    let mut good = Command::new(&plan.program);
    good.arg("client").arg(&address).arg("--json").arg("--mix").arg("fc3x10");
    good.arg("--duration").arg(millis(plan.duration)).arg("--warmup").arg(millis(plan.warmup));
    good.arg("--registers").arg(REGISTERS.to_string());
    // The good client prepares the server first; the neighbour comes while it warms up.
    let (good, good_pinned) = process::start_client(&mut good, plan.client_core)?;
    let (other, other_pinned) = process::start_client(&mut other, plan.client_core)?;
    *pinned &= good_pinned && other_pinned;
    let good = process::outcome(good);
    let deeds = process::outcome(other);
    Ok(Outcome { good: good?, deeds: deeds?, seconds: span.as_secs_f64() })
}

fn table(plan: &Plan, figures: &[Vec<Rounds<Outcome>>]) -> Table {
    let mut table = Table::new("", &COLUMNS);
    let calm = plan.neighbours.iter().position(|neighbour| *neighbour == Neighbour::Nobody);
    for (neighbour, rows) in plan.neighbours.iter().zip(figures) {
        for (at, (peer, rounds)) in plan.peers.iter().zip(rows).enumerate() {
            let head = vec![neighbour.name().into(), peer.name.as_str().into()];
            let beside_nobody = calm.filter(|_| *neighbour != Neighbour::Nobody).map(|calm| &figures[calm][at]);
            table.push(head, rounds.trouble(), || row(rounds, beside_nobody));
        }
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
fn row(rounds: &Rounds<Outcome>, calm: Option<&Rounds<Outcome>>) -> Vec<Cell> {
    let column = |rounds: &Rounds<Outcome>, figure: fn(&Outcome) -> f64| rounds.column(|outcome| Some(figure(outcome)));
    let cell = |digits, figure| Cell::number(column(rounds, figure).map(median), digits);
    let p99 = |outcome: &Outcome| outcome.good.latency.p99;
    let to_calm = calm.and_then(|calm| column(rounds, p99).zip(column(calm, p99)));
    vec![
        cell(0, |outcome| outcome.good.rate),
        cell(1, |outcome| outcome.good.latency.p50),
        cell(1, p99),
        cell(1, |outcome| outcome.good.latency.p999),
        cell(1, |outcome| outcome.good.latency.max),
        Cell::ratio(to_calm.and_then(|(ours, theirs)| ratio(&ours, &theirs)), 2),
        cell(0, |outcome| outcome.deeds.bytes as f64 / 1e3 / outcome.seconds),
        cell(0, |outcome| outcome.deeds.connections as f64 / outcome.seconds),
        Cell::Empty,
    ]
}
