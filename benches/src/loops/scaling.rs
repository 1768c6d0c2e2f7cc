//! Two loops on two cores against one, with clients on two other cores. The listeners share the address.

use super::echo::{self, Load};
use super::{Common, span};
use crate::machine;
use crate::measure::Measurement;
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, median, ratio, spread};
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
    /// Run with fewer cores than it takes; the figures mean nothing
    #[arg(long)]
    even_so: bool,
}

/// Two for loops, two for clients.
const CORES: usize = 4;
const LOAD: Load = Load::new(64, 100);

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let mut report = Report::new("scaling");
    let columns = ["<loops", "messages/s", "spread", "to one loop"];
    let mut table = Table::new("Echo of 64 B on 2 x 100 connections by one loop and by two", &columns);
    let have = machine::cores();
    if have < CORES && !arguments.even_so {
        let trouble = format!("not run: it takes {CORES} cores and there are {have}");
        eprintln!("loop-bench scaling: {trouble}");
        table.push_trouble(vec!["1 and 2".into()], &trouble);
        report.tables.push(table);
        return Ok(report);
    }
    let duration = common.pick(arguments.duration, Duration::from_millis(60));
    let rounds = common.rounds();
    let say = |round: usize, _: usize| eprintln!("round {}/{rounds}", round + 1);
    let figures = rounds::run((2, 1, rounds), say, |loops, _| measure(loops + 1, have, duration));
    report.fact("method", format!("medians of {rounds} rounds of {duration:?}; the ratio is that of the rounds"));
    let rates: Vec<_> = figures[0].iter().map(|rounds| rounds.column(|rate| Some(*rate))).collect();
    for (at, rounds) in figures[0].iter().enumerate() {
        let name = Cell::Text((at + 1).to_string());
        match (&rates[at], rounds.trouble()) {
            (Some(ours), None) => {
                let to_one = rates[0].as_ref().filter(|_| at > 0).and_then(|one| ratio(ours, one));
                let rate = Cell::Number(median(ours.clone()), 0);
                table.rows.push(vec![name, rate, Cell::Percent(spread(ours)), Cell::number(to_one, 2)]);
            }
            (_, trouble) => table.push_trouble(vec![name], trouble.unwrap_or("not run")),
        }
    }
    report.tables.push(table);
    Ok(report)
}

/// Messages per second of both clients together. Loops have the first cores, clients the next two.
fn measure(loops: usize, have: usize, duration: Duration) -> Result<f64, String> {
    let not_run = |why: &dyn std::fmt::Display| format!("not run: {why}");
    let program = std::env::current_exe().map_err(|error| not_run(&error))?;
    let cores: Vec<usize> = (0..loops).map(|core| core % have).collect();
    let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let command: Vec<OsString> = vec![program.into(), "serve".into(), "wharf".into(), "--cores".into(), list.into()];
    let server = ServerProcess::start(&command, &cores).map_err(|why| not_run(&why))?;
    let mut clients = Vec::new();
    for core in 2..4 {
        let mut client =
            echo::client(&server, LOAD, (duration, Duration::from_millis(150))).map_err(|error| not_run(&error))?;
        clients.push(process::start_client(&mut client, core % have)?.0);
    }
    let rates: Result<Vec<f64>, String> =
        clients.into_iter().map(|client| process::outcome(client).map(|measured: Measurement| measured.rate)).collect();
    Ok(rates?.iter().sum())
}
