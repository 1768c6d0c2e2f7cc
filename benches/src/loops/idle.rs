//! What sockets cost that do nothing: user-space memory of each on the server's side, by a counting allocator, and how
//! often the loop wakes for them.
//!
//! The allocator is the whole program's, so the server is a program of its own, `loop-idle`.

use super::servers::Counts;
use super::{Common, span};
use crate::machine;
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// What every command has.
    #[command(flatten)]
    pub common: Common,
    /// How many
    #[arg(long, default_value_t = 10_000)]
    sockets: u64,
    /// How long nothing happens
    #[arg(long, default_value = "10s", value_parser = span)]
    wait: Duration,
}

/// What `loop-idle` answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Bytes that are allocated now.
    pub bytes: u64,
    /// What the loop has counted. Asking takes one iteration.
    pub counts: Counts,
}

/// Descriptors that either side needs besides its sockets.
const BESIDES: u64 = 64;
/// How long the server may take to accept what has connected.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let asked = common.pick(arguments.sockets, 200);
    let wait = common.pick(arguments.wait, Duration::from_millis(50));
    let mut report = Report::new("idle");
    // The server inherits the limit.
    let sockets = asked.min(machine::raise_descriptors(asked + BESIDES).saturating_sub(BESIDES));
    if sockets < asked {
        let said = format!("{sockets} sockets and not {asked}: the limit on descriptors allows no more");
        eprintln!("loop-bench idle: {said}");
        report.fact("limited", said);
    }
    report.fact("method", format!("one run of {wait:?}; `Data = ()`; the server's side alone, by counting allocator"));
    let columns = ["sockets", "bytes allocated per socket", "wake-ups", "server CPU ms", "<note"];
    let mut table = Table::new("Accepted plain connections without traffic or timers", &columns);
    let program = std::env::current_exe()?;
    let head = vec![Cell::count(sockets)];
    match measure(common, sockets, wait, &program) {
        Ok(figures) => table.rows.push(head.into_iter().chain(figures).chain([Cell::Empty]).collect()),
        Err(trouble) => table.push_trouble(head, &trouble),
    }
    report.tables.push(table);
    Ok(report)
}

fn measure(common: &Common, sockets: u64, wait: Duration, program: &std::path::Path) -> Result<[Cell; 3], String> {
    let not_run = |why: &dyn std::fmt::Display| format!("not run: {why}");
    let wrong = |why: String| format!("wrong: {why}");
    let server = process::locate(program, "wharf-benches", "loop-idle").map_err(|why| not_run(&why))?;
    let mut server = ServerProcess::start(&[server.into()], &[common.server_core]).map_err(|why| not_run(&why))?;
    let before: Answer = server.ask().map_err(wrong)?;
    let connect = |_| TcpStream::connect_timeout(&server.address, PATIENCE);
    let clients: Vec<TcpStream> =
        (0..sockets).map(connect).collect::<Result<_, _>>().map_err(|error| not_run(&error))?;
    let begin = Instant::now();
    let full = loop {
        let answer: Answer = server.ask().map_err(wrong)?;
        if answer.counts.sockets == sockets {
            break answer;
        }
        if begin.elapsed() > PATIENCE {
            return Err(wrong(format!("{} sockets were accepted", answer.counts.sockets)));
        }
    };
    let cpu = machine::cpu_time(server.pid());
    thread::sleep(wait);
    let used = machine::cpu_time(server.pid()).zip(cpu).map(|(after, before)| after.saturating_sub(before));
    let after: Answer = server.ask().map_err(wrong)?;
    drop(clients);
    // Asking has woken it once.
    let wake_ups = (after.counts.iterations - full.counts.iterations).saturating_sub(1);
    #[expect(clippy::cast_precision_loss, reason = "bytes of a process fit 52 bits")]
    let per_socket = full.bytes.saturating_sub(before.bytes) as f64 / sockets.max(1) as f64;
    let millis = used.map(|used| used.as_secs_f64() * 1e3);
    Ok([Cell::Number(per_socket, 1), Cell::count(wake_ups), Cell::number(millis, 2)])
}
