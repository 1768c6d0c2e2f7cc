//! What clients cost that do nothing: memory of the host, the records of a slot, processor time, and what one that is
//! active feels of them.
//!
//! Two ports run, one of them with all the idle clients. The latency of an active client is measured at both in turn.

use super::servers;
use crate::loops::echo::{self, Load};
use crate::loops::servers::Counts;
use crate::loops::{Common, span};
use crate::machine;
use crate::measure::Measurement;
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio};
use clap::Args;
use std::fmt::Display;
use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use wharf_core::port::server::{BOUNDARIES, Client, Seat};
use wharf_core::slots::Entry;
use wharf_core::timers::Node;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// What every command has.
    #[command(flatten)]
    pub common: Common,
    /// How many
    #[arg(long, default_value_t = 10_000)]
    clients: u64,
    /// How long nothing happens
    #[arg(long, default_value = "60s", value_parser = span)]
    wait: Duration,
    /// Counted time of one run of the active client
    #[arg(long, default_value = "1s", value_parser = span)]
    duration: Duration,
    /// Its time before that
    #[arg(long, default_value = "200ms", value_parser = span)]
    warmup: Duration,
}

/// Descriptors that either side needs besides its sockets.
const BESIDES: u64 = 64;
/// How long the server may take to accept what has connected.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two questions.
const AGAIN: Duration = Duration::from_millis(20);
const ROUNDS: usize = 9;
const SIZE: usize = 12;

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let asked = common.pick(arguments.clients, 200);
    let mut report = Report::new("idle");
    // The servers inherit the limit.
    let clients = asked.min(machine::raise_descriptors(asked + BESIDES).saturating_sub(BESIDES));
    if clients < asked {
        report.fact("limited", format!("{clients} clients and not {asked}: the limit on descriptors allows no more"));
    }
    let wait = common.pick(arguments.wait, Duration::from_millis(50));
    let time =
        common.pick((arguments.duration, arguments.warmup), (Duration::from_millis(60), Duration::from_millis(20)));
    let rounds = common.rounds(ROUNDS);
    report.fact(
        "method",
        format!(
            "queues of the default size; resident memory above a port of one slot and no client; one run of {wait:?}; \
             latency of {SIZE} B on one connection: medians of {rounds} rounds of {:?} after {:?} of warm-up, ratios are \
             medians of the ratios within a round [and their quartiles]",
            time.0, time.1
        ),
    );
    let columns = ["clients", "MiB above empty", "of it before they came", "server CPU s", "wake-ups", "<note"];
    let mut cost = Table::new("Idle clients", &columns);
    let head = vec![Cell::count(clients)];
    let with = |slots: u64| servers::port(&[("slots", &slots.to_string()), ("mode", "echo")]);
    let (empty, full) = (with(1)?, with(clients + 1)?);
    let start =
        |command: &[_]| ServerProcess::start(command, &[common.server_core]).map_err(|why| format!("not run: {why}"));
    let both = start(&empty).and_then(|empty| start(&full).map(|full| (empty, full)));
    match both.and_then(|(empty, mut full)| {
        let (held, figures) = fill(&empty, &mut full, clients, wait)?;
        cost.rows.push(head.iter().cloned().chain(figures).chain([Cell::Empty]).collect());
        let latency = latency(common, &empty, &full, rounds, time);
        drop(held);
        Ok(latency)
    }) {
        Ok(latency) => report.tables.extend([cost, latency]),
        Err(trouble) => {
            cost.push_trouble(head, &trouble);
            report.tables.push(cost);
        }
    }
    report.tables.push(records());
    Ok(report)
}

/// Fills a port with clients; they, and what they cost.
fn fill(
    empty: &ServerProcess,
    full: &mut ServerProcess,
    clients: u64,
    wait: Duration,
) -> Result<(Vec<TcpStream>, [Cell; 4]), String> {
    let not_run = |why: &dyn Display| format!("not run: {why}");
    let wrong = |why: String| format!("wrong: {why}");
    let resident = |pid| machine::resident(pid).ok_or_else(|| not_run(&"there is no VmRSS"));
    let (base, before) = (resident(empty.pid())?, resident(full.pid())?);
    let connect = |_| TcpStream::connect_timeout(&full.address, PATIENCE);
    let held: Vec<TcpStream> = (0..clients).map(connect).collect::<Result<_, _>>().map_err(|error| not_run(&error))?;
    let begin = Instant::now();
    let quiet = loop {
        let counts: Counts = full.ask().map_err(wrong)?;
        if counts.sockets >= clients {
            break counts;
        }
        if begin.elapsed() > PATIENCE {
            return Err(wrong(format!("{} sockets were accepted", counts.sockets)));
        }
        thread::sleep(AGAIN);
    };
    let after = resident(full.pid())?;
    let cpu = machine::cpu_time(full.pid());
    thread::sleep(wait);
    let used = machine::cpu_time(full.pid()).zip(cpu).map(|(now, then)| now.saturating_sub(then).as_secs_f64());
    let still: Counts = full.ask().map_err(wrong)?;
    // Asking has woken it once.
    let wake_ups = (still.iterations - quiet.iterations).saturating_sub(1);
    #[expect(clippy::cast_precision_loss, reason = "bytes of a process fit 52 bits")]
    let mebibytes = |bytes: u64| Cell::Number(bytes.saturating_sub(base) as f64 / f64::from(1 << 20), 2);
    Ok((held, [mebibytes(after), mebibytes(before), Cell::number(used, 4), Cell::count(wake_ups)]))
}

/// What an active client feels, at a port by itself and at one with many others.
fn latency(
    common: &Common,
    empty: &ServerProcess,
    full: &ServerProcess,
    rounds: usize,
    time: (Duration, Duration),
) -> Table {
    let servers = [("nobody", empty), ("all of them", full)];
    let say = |round: usize, _| eprintln!("round {}/{rounds}", round + 1);
    let figures = rounds::run((2, 1, rounds), say, |peer, _| {
        let client = echo::client(servers[peer].1, Load::new(SIZE, 1), time);
        let mut client = client.map_err(|error| format!("not run: {error}"))?;
        let (client, _) = process::start_client(&mut client, common.client_core)?;
        process::outcome::<Measurement>(client)
    });
    let columns = ["<beside", "p50 us", "p99 us", "CPU us/message", "p50 to that beside nobody", "<note"];
    let mut table = Table::new("An active client beside them", &columns);
    let p50 = |rounds: &Rounds<Measurement>| rounds.column(|measurement| Some(measurement.latency.p50));
    for ((beside, _), rounds) in servers.into_iter().zip(&figures[0]) {
        table.push(vec![beside.into()], rounds.trouble(), || {
            let alone = figures[0].first().filter(|_| beside != "nobody").and_then(p50);
            let p99 = rounds.column(|measurement| Some(measurement.latency.p99));
            let cpu = rounds.column(|measurement| measurement.server_cpu_us);
            vec![
                Cell::number(p50(rounds).map(median), 1),
                Cell::number(p99.map(median), 1),
                Cell::number(cpu.map(median), 2),
                Cell::ratio(p50(rounds).zip(alone).and_then(|(beside, alone)| ratio(&beside, &alone)), 3),
                Cell::Empty,
            ]
        });
    }
    table
}

/// Sizes of what the machine keeps for a slot, its queues aside.
fn records() -> Table {
    let parts = [
        ("client", size_of::<Entry<Client>>()),
        ("seat, which outlasts the client", size_of::<Seat>()),
        ("timer", size_of::<Node>()),
        ("message boundaries, untouched without drop_oldest", BOUNDARIES * size_of::<u32>()),
    ];
    let mut table = Table::new("Records of a slot", &["<record", "bytes"]);
    let sum = parts[..3].iter().map(|(_, bytes)| bytes).sum();
    for (name, bytes) in parts.into_iter().chain([("client, seat and timer", sum)]) {
        table.rows.push(vec![name.into(), Cell::count(bytes as u64)]);
    }
    table
}
