//! Echo servers side by side: the same client on its own core, each server in a fresh process on another.

use super::servers::Counts;
use super::{Common, span};
use crate::measure::Measurement;
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio, spread};
use clap::Args;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names the command of the echo server on C uSockets.
pub const USOCKETS: &str = "WHARF_PEER_USOCKETS";
/// Names the command of uSockets' own load generator; connections, host and port are added.
pub const LOAD_TEST: &str = "WHARF_TCP_LOAD_TEST";

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// What every command has.
    #[command(flatten)]
    pub common: Common,
    /// Counted time of one run
    #[arg(long, default_value = "300ms", value_parser = span)]
    duration: Duration,
    /// Time under load before that; with a third of the default Wharf's first steps show in its CPU time
    #[arg(long, default_value = "150ms", value_parser = span)]
    warmup: Duration,
    /// Only these of wharf, mio, tokio, usockets
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these loads, BYTESxCONNECTIONS; without it all of the specification's
    #[arg(long, value_delimiter = ',', value_parser = load)]
    loads: Vec<Load>,
}

/// Messages of `size` bytes on so many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    size: usize,
    connections: usize,
}

/// Many short rounds rather than a few long ones: what two servers are compared by lies half a second apart then, and the
/// median stands on more.
const ROUNDS: usize = 15;
const LOADS: [(usize, &[usize]); 4] =
    [(12, &[1, 40, 400]), (64, &[1, 40, 1000]), (1024, &[1, 40, 1000]), (65536, &[8])];
/// The connections of the runs with uSockets' load generator.
const FOREIGN: [usize; 3] = [1, 40, 400];
/// A rate takes it eight seconds, and there are as many runs as connections and servers.
const FOREIGN_ROUNDS: usize = 3;

/// A server to measure.
struct Peer {
    name: &'static str,
    command: Result<Vec<OsString>, String>,
}

/// One run of one server.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) measurement: Measurement,
    /// Its own counts, and the messages that they are of.
    counts: Option<(Counts, f64)>,
}

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let all =
        LOADS.iter().flat_map(|&(size, connections)| connections.iter().map(move |&n| Load { size, connections: n }));
    let loads: Vec<Load> = match (arguments.loads.is_empty(), common.quick) {
        (false, _) => arguments.loads.clone(),
        (true, false) => all.collect(),
        (true, true) => vec![Load { size: 12, connections: 4 }, Load { size: 65536, connections: 2 }],
    };
    let (duration, warmup) =
        common.pick((arguments.duration, arguments.warmup), (Duration::from_millis(60), Duration::from_millis(20)));
    let peers = peers(&arguments.only)?;
    let mut report = Report::new("echo");
    let mut pinned = true;
    let rounds = common.rounds(ROUNDS);
    let say = |round: usize, load: usize| eprintln!("round {}/{rounds}: {}", round + 1, loads[load]);
    let figures = rounds::run((peers.len(), loads.len(), rounds), say, |peer, load| {
        let outcome = measure(common, &peers[peer], loads[load], (duration, warmup), &mut pinned);
        if let Err(trouble) = &outcome {
            eprintln!("  {}: {trouble}", peers[peer].name);
        }
        outcome
    });
    report.fact("pinned", common.cores(pinned));
    let after = format!("medians of {rounds} rounds of {duration:?} after {warmup:?} of warm-up");
    report.fact("method", format!("{after}; ratios are medians of the ratios within a round [and their quartiles]"));
    report.tables.push(table(&peers, &loads, &figures));
    if let Some(table) = foreign(common, &peers)? {
        report.tables.push(table);
    } else {
        report.fact("load by uSockets' tcp_load_test", format!("not run: {LOAD_TEST} is not set"));
    }
    Ok(report)
}

fn peers(only: &[String]) -> io::Result<Vec<Peer>> {
    let program = std::env::current_exe()?;
    let ours = |server: &str| {
        let words = ["serve", server].map(OsString::from);
        std::iter::once(program.clone().into_os_string()).chain(words).collect::<Vec<_>>()
    };
    let tokio =
        if cfg!(feature = "peers") { Ok(ours("tokio")) } else { Err("built without the feature `peers`".into()) };
    let usockets = std::env::var(USOCKETS)
        .map(|command| command.split_whitespace().map(OsString::from).collect())
        .map_err(|_| format!("{USOCKETS} is not set"));
    let mut peers = vec![
        Peer { name: "wharf", command: Ok(ours("wharf")) },
        Peer { name: "mio", command: Ok(ours("mio")) },
        Peer { name: "tokio", command: tokio },
        Peer { name: "usockets", command: usockets },
    ];
    peers.retain(|peer| only.is_empty() || only.iter().any(|name| name == peer.name));
    Ok(peers)
}

fn measure(
    common: &Common,
    peer: &Peer,
    load: Load,
    (duration, warmup): (Duration, Duration),
    pinned: &mut bool,
) -> Result<Outcome, String> {
    let command = peer.command.clone().map_err(|why| format!("not run: {why}"))?;
    let mut server = ServerProcess::start(&command, &[common.server_core]).map_err(|why| format!("not run: {why}"))?;
    *pinned &= server.pinned;
    let mut client = client(&server, load, (duration, warmup)).map_err(|error| format!("not run: {error}"))?;
    let (client, client_pinned) = process::start_client(&mut client, common.client_core)?;
    *pinned &= client_pinned;
    let measurement = process::outcome(client)?;
    let mut counts = None;
    if peer.name == "wharf" {
        let counted: Counts = server.ask().map_err(|why| format!("wrong: {why}"))?;
        #[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
        let messages = counted.bytes_in as f64 / load.size as f64;
        counts = Some((counted, messages));
    }
    Ok(Outcome { measurement, counts })
}

/// The client process for one run; the time is how long to count, and how long to load before that.
pub(crate) fn client(server: &ServerProcess, load: Load, time: (Duration, Duration)) -> io::Result<Command> {
    let mut client = Command::new(std::env::current_exe()?);
    client.arg("client").arg(server.address.to_string());
    client.arg("--connections").arg(load.connections.to_string()).arg("--size").arg(load.size.to_string());
    client.arg("--duration").arg(format!("{}ms", time.0.as_millis()));
    client.arg("--warmup").arg(format!("{}ms", time.1.as_millis()));
    client.arg("--pid").arg(server.pid().to_string());
    Ok(client)
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} B on {} connections", self.size, self.connections)
    }
}

impl Load {
    pub(crate) const fn new(size: usize, connections: usize) -> Self {
        Self { size, connections }
    }

    pub(crate) const fn size(self) -> usize {
        self.size
    }

    pub(crate) const fn connections(self) -> usize {
        self.connections
    }
}

const COLUMNS: [&str; 14] = [
    "bytes",
    "conns",
    "<server",
    "messages/s",
    "spread",
    "p50 us",
    "p99 us",
    "server CPU us/msg",
    "server busy",
    "reads/msg",
    "writes/msg",
    "polls/msg",
    "wharf's rate to it",
    "wharf's CPU to it",
];

fn table(peers: &[Peer], loads: &[Load], figures: &[Vec<Rounds<Outcome>>]) -> Table {
    let mut table = Table::new("Echo", &COLUMNS);
    for (load, rows) in loads.iter().zip(figures) {
        let ours = peers.iter().position(|peer| peer.name == "wharf").map(|at| &rows[at]);
        for (peer, rounds) in peers.iter().zip(rows) {
            let head = vec![Cell::count(load.size as u64), Cell::count(load.connections as u64), peer.name.into()];
            table.push(head, rounds.trouble(), || row(rounds, ours.filter(|_| peer.name != "wharf")));
        }
    }
    table
}

fn row(rounds: &Rounds<Outcome>, ours: Option<&Rounds<Outcome>>) -> Vec<Cell> {
    let column = |figure: &dyn Fn(&Outcome) -> Option<f64>| rounds.column(figure);
    let cell = |digits, figure: &dyn Fn(&Outcome) -> Option<f64>| Cell::number(column(figure).map(median), digits);
    #[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
    let calls = |of: fn(&Counts) -> u64| {
        cell(2, &move |outcome| outcome.counts.as_ref().map(|(counts, messages)| of(counts) as f64 / messages))
    };
    let to_ours = |figure: fn(&Outcome) -> Option<f64>| {
        let both = ours.and_then(|ours| ours.column(figure)).zip(rounds.column(figure));
        Cell::ratio(both.and_then(|(ours, theirs)| ratio(&ours, &theirs)), 3)
    };
    let rates = column(&|outcome| Some(outcome.measurement.rate)).unwrap_or_default();
    vec![
        Cell::Number(median(rates.clone()), 0),
        Cell::Percent(spread(&rates)),
        cell(1, &|outcome| Some(outcome.measurement.latency.p50)),
        cell(1, &|outcome| Some(outcome.measurement.latency.p99)),
        cell(3, &|outcome| outcome.measurement.server_cpu_us),
        cell(2, &|outcome| outcome.measurement.server_busy),
        calls(|counts| counts.reads),
        calls(|counts| counts.writes),
        calls(|counts| counts.polls),
        to_ours(|outcome| Some(outcome.measurement.rate)),
        to_ours(|outcome| outcome.measurement.server_cpu_us),
    ]
}

/// The same servers under uSockets' own load generator, which prints a rate every four seconds: few rounds.
fn foreign(common: &Common, peers: &[Peer]) -> io::Result<Option<Table>> {
    let Ok(words) = std::env::var(LOAD_TEST) else { return Ok(None) };
    let loads = common.pick(&FOREIGN[..], &FOREIGN[1..2]);
    let rounds = common.rounds(FOREIGN_ROUNDS).min(FOREIGN_ROUNDS);
    let say = |round: usize, load: usize| {
        eprintln!("round {}/{rounds}: tcp_load_test with {} connections", round + 1, loads[load]);
    };
    let figures = rounds::run((peers.len(), loads.len(), rounds), say, |peer, load| {
        let command = peers[peer].command.clone().map_err(|why| format!("not run: {why}"))?;
        let server = ServerProcess::start(&command, &[common.server_core]).map_err(|why| format!("not run: {why}"))?;
        foreign_rate(common, &words, loads[load], &server)
    });
    let columns = ["conns", "<server", "messages/s", "spread", "wharf's rate to it"];
    let title = format!("Echo of 12 B, loaded by uSockets' tcp_load_test, medians of {rounds} rounds");
    let mut table = Table::new(title, &columns);
    for (connections, rows) in loads.iter().zip(&figures) {
        let ours =
            peers.iter().position(|peer| peer.name == "wharf").and_then(|at| rows[at].column(|rate| Some(*rate)));
        for (peer, rounds) in peers.iter().zip(rows) {
            let head = vec![Cell::count(*connections as u64), peer.name.into()];
            match (rounds.trouble(), rounds.column(|rate| Some(*rate))) {
                (None, Some(rates)) => {
                    let to_ours = ours.as_ref().filter(|_| peer.name != "wharf").and_then(|ours| ratio(ours, &rates));
                    let figures = [
                        Cell::Number(median(rates.clone()), 0),
                        Cell::Percent(spread(&rates)),
                        Cell::ratio(to_ours, 3),
                    ];
                    table.rows.push(head.into_iter().chain(figures).collect());
                }
                (trouble, _) => table.push_trouble(head, trouble.unwrap_or("not run")),
            }
        }
    }
    Ok(Some(table))
}

fn foreign_rate(common: &Common, words: &str, connections: usize, server: &ServerProcess) -> Result<f64, String> {
    let mut words = words.split_whitespace();
    let program = words.next().ok_or("not run: an empty command")?;
    let mut client = Command::new(program);
    client.args(words).arg(connections.to_string()).arg(server.address.ip().to_string());
    client.arg(server.address.port().to_string()).stdout(Stdio::piped());
    let (mut client, _) = process::start_client(&mut client, common.client_core)?;
    let out = BufReader::new(client.stdout.take().expect("stdout is piped by the lines above"));
    let mut rates =
        out.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("Req/sec: ")?.trim().parse().ok());
    // The first rate is that of the warm-up.
    let rate = rates.nth(common.pick(1, 0));
    let _ = client.kill();
    let _ = client.wait();
    rate.ok_or_else(|| "not run: it ended without a rate".to_owned())
}

pub(crate) fn load(text: &str) -> Result<Load, String> {
    let parse = |number: &str| number.parse().ok().filter(|number| *number > 0);
    let both = text.split_once('x').and_then(|(size, connections)| parse(size).zip(parse(connections)));
    both.map(|(size, connections)| Load { size, connections }).ok_or_else(|| format!("{text:?} is not like 64x40"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_bytes_and_connections() {
        assert_eq!(load("64x1000"), Ok(Load { size: 64, connections: 1000 }));
        assert!(load("0x1").is_err() && load("64").is_err() && load("64x").is_err());
    }
}
