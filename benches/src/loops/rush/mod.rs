//! A rush of TLS handshakes: what it does to the latency of a plain echo on the same loop.
//!
//! Each server is a fresh process on one core and the [`client`] is another on its own. Calm and rush take turns within
//! every run, and are compared within it.

pub mod client;
pub mod servers;

use super::{Common, span};
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio};
use clap::Args;
use client::Outcome;
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
    /// TLS clients that come at once
    #[arg(long, default_value_t = 500)]
    handshakes: usize,
    /// How often they come in a run
    #[arg(long, default_value_t = 4)]
    rushes: usize,
    /// Counted time without them before each
    #[arg(long, default_value = "150ms", value_parser = span)]
    calm: Duration,
    /// Plain connections that echo meanwhile
    #[arg(long, value_delimiter = ',', default_value = "1")]
    connections: Vec<usize>,
    /// Wharf's `handshake_budget`; with several, each is a peer
    #[arg(long, value_delimiter = ',', default_value = "5")]
    budgets: Vec<u32>,
}

const ROUNDS: usize = 11;

/// A server to measure: Wharf's with its budget, or tokio's. The first is the one that the others are compared to.
#[derive(Clone, Copy)]
enum Peer {
    Wharf(u32),
    Tokio,
}

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let arguments = &Arguments {
        handshakes: common.pick(arguments.handshakes, 20),
        rushes: common.pick(arguments.rushes, 1),
        calm: common.pick(arguments.calm, Duration::from_millis(30)),
        ..arguments.clone()
    };
    let peers: Vec<Peer> = arguments.budgets.iter().copied().map(Peer::Wharf).chain([Peer::Tokio]).collect();
    let loads = &arguments.connections;
    let program = std::env::current_exe()?.into_os_string();
    let mut report = Report::new("rush");
    let (mut pinned, mut stepped_back) = (true, true);
    let rounds = common.rounds(ROUNDS);
    let say = |round: usize, load: usize| eprintln!("round {}/{rounds}: {} plain connections", round + 1, loads[load]);
    let figures = rounds::run((peers.len(), loads.len(), rounds), say, |peer, load| {
        let outcome = measure(arguments, &program, peers[peer], loads[load], &mut pinned);
        match &outcome {
            Ok(outcome) => stepped_back &= outcome.stepped_back,
            Err(trouble) => eprintln!("  {}: {trouble}", peers[peer].name()),
        }
        outcome
    });
    report.fact("pinned", common.cores(pinned));
    let Arguments { handshakes, rushes, calm, .. } = arguments;
    report.fact(
        "method",
        format!(
            "medians of {rounds} rounds of {rushes} rushes of {handshakes} handshakes, {calm:?} of calm before each; \
             a full handshake of TLS 1.3 (P-256), one echo of 12 B over it; ratios are medians of the ratios within a \
             round [and their quartiles]"
        ),
    );
    let priority = if stepped_back { "the lowest, by chrt" } else { "NO lower than that of the plain ones" };
    report.fact("priority of the TLS clients, on the core of the plain ones", priority);
    report.tables.push(table(&peers, loads, &figures));
    Ok(report)
}

fn measure(
    arguments: &Arguments,
    program: &OsString,
    peer: Peer,
    connections: usize,
    pinned: &mut bool,
) -> Result<Outcome, String> {
    if matches!(peer, Peer::Tokio) && !cfg!(feature = "peers") {
        return Err("not run: built without the feature `peers`".into());
    }
    let common = &arguments.common;
    let mut command = vec![program.clone()];
    command.extend(["serve", peer.name(), "--tls"].map(OsString::from));
    if let Peer::Wharf(budget) = peer {
        command.extend(["--handshake-budget".into(), budget.to_string().into()]);
    }
    let mut server = ServerProcess::start(&command, &[common.server_core]).map_err(|why| format!("not run: {why}"))?;
    *pinned &= server.pinned;
    let answer: servers::Answer = server.ask().map_err(|why| format!("not run: {why}"))?;
    let mut client = Command::new(program);
    client.arg("rush-client").arg(server.address.to_string()).arg(answer.tls.to_string());
    client.arg("--connections").arg(connections.to_string());
    client.arg("--handshakes").arg(arguments.handshakes.to_string());
    client.arg("--rushes").arg(arguments.rushes.to_string());
    client.arg("--calm").arg(format!("{}ms", arguments.calm.as_millis()));
    let (client, client_pinned) = process::start_client(&mut client, common.client_core)?;
    *pinned &= client_pinned;
    process::outcome(client)
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Wharf(_) => "wharf",
            Self::Tokio => "tokio",
        }
    }
}

const COLUMNS: [&str; 14] = [
    "conns",
    "<server",
    "budget",
    "calm p50 us",
    "calm p99 us",
    "calm max us",
    "rush p50 us",
    "rush p99 us",
    "rush max us",
    "echoes in rushes",
    "rush ms",
    "rush p99 to calm",
    "wharf's rush p99 to it",
    "wharf's rush ms to it",
];

fn table(peers: &[Peer], loads: &[usize], figures: &[Vec<Rounds<Outcome>>]) -> Table {
    let mut table = Table::new("Plain echo of 12 B without and with a rush of TLS handshakes", &COLUMNS);
    for (connections, rows) in loads.iter().zip(figures) {
        for (at, (peer, rounds)) in peers.iter().zip(rows).enumerate() {
            let budget = if let Peer::Wharf(budget) = peer { Cell::count((*budget).into()) } else { Cell::Missing };
            let head = vec![Cell::count(*connections as u64), peer.name().into(), budget];
            table.push(head, rounds.trouble(), || row(rounds, Some(&rows[0]).filter(|_| at > 0)));
        }
    }
    table
}

fn row(rounds: &Rounds<Outcome>, first: Option<&Rounds<Outcome>>) -> Vec<Cell> {
    let column = |rounds: &Rounds<Outcome>, figure: fn(&Outcome) -> f64| rounds.column(|outcome| Some(figure(outcome)));
    let cell = |digits, figure| Cell::number(column(rounds, figure).map(median), digits);
    let between = |ours: Option<Vec<f64>>, theirs: Option<Vec<f64>>| {
        Cell::ratio(ours.zip(theirs).and_then(|(ours, theirs)| ratio(&ours, &theirs)), 2)
    };
    let to_first = |figure| between(first.and_then(|first| column(first, figure)), column(rounds, figure));
    vec![
        cell(1, |outcome| outcome.calm.p50),
        cell(1, |outcome| outcome.calm.p99),
        cell(1, |outcome| outcome.calm.max),
        cell(1, |outcome| outcome.rush.p50),
        cell(1, |outcome| outcome.rush.p99),
        cell(1, |outcome| outcome.rush.max),
        #[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
        cell(0, |outcome| outcome.echoes as f64),
        cell(1, |outcome| outcome.rush_ms),
        between(column(rounds, |outcome| outcome.rush.p99), column(rounds, |outcome| outcome.calm.p99)),
        to_first(|outcome| outcome.rush.p99),
        to_first(|outcome| outcome.rush_ms),
    ]
}
