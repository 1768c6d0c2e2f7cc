//! What the others at a broker feel of a client that never reads, once all that is kept for it is full.

use super::broadcast::{self, Load};
use super::servers;
use crate::loops::{Common, span};
use crate::measure::Measurement;
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio};
use clap::Args;
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
    /// Time under load before that, the client's queue already full
    #[arg(long, default_value = "200ms", value_parser = span)]
    warmup: Duration,
    /// Clients that hear a message
    #[arg(long, default_value_t = 8)]
    receivers: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 1024)]
    size: usize,
}

const ROUNDS: usize = 9;
/// More than the system keeps for a client that does not read.
const FILLING: usize = 16 << 20;

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let time =
        common.pick((arguments.duration, arguments.warmup), (Duration::from_millis(60), Duration::from_millis(20)));
    let rounds = common.rounds(ROUNDS);
    let filling = common.pick(FILLING, 64 << 10);
    let mut pinned = true;
    let load = |deaf| Load { receivers: arguments.receivers, deaf, size: arguments.size, filling, time };
    let slots = load(1).connections().to_string();
    let command = servers::port(&[("slots", &slots), ("mode", "broker")])?;
    let say = |round: usize, _| eprintln!("round {}/{rounds}", round + 1);
    let figures = rounds::run((2, 1, rounds), say, |deaf, _| {
        broadcast::measure(common, &command, &load(deaf), false, &mut pinned).map(|(measurement, _)| measurement)
    });
    let mut report = Report::new("deaf");
    report.fact("pinned", common.cores(pinned));
    let (duration, warmup) = time;
    report.fact(
        "method",
        format!(
            "one client says {} B, the time is until the last of {} has all of it, and then the next is said; after \
             {filling} bytes, medians of {rounds} rounds of {duration:?} after {warmup:?} of warm-up; ratios are medians \
             of the ratios within a round [and their quartiles]",
            arguments.size, arguments.receivers
        ),
    );
    report.tables.push(table(&figures[0]));
    Ok(report)
}

fn table(figures: &[Rounds<Measurement>]) -> Table {
    let columns =
        ["<beside", "broadcasts/s", "p50 us", "p99 us", "CPU us/broadcast", "p99 to that beside nobody", "<note"];
    let mut table = Table::new("The others, beside a client that never reads", &columns);
    for (beside, rounds) in ["nobody", "one that never reads"].into_iter().zip(figures) {
        let head = vec![beside.into()];
        let column = |rounds: &Rounds<Measurement>, of: fn(&Measurement) -> Option<f64>| rounds.column(of);
        table.push(head, rounds.trouble(), || {
            let cell = |digits, of| Cell::number(column(rounds, of).map(median), digits);
            let p99 = |measurement: &Measurement| Some(measurement.latency.p99);
            let alone = figures.first().filter(|_| beside != "nobody").and_then(|alone| column(alone, p99));
            let both = column(rounds, p99).zip(alone);
            vec![
                cell(0, |measurement| Some(measurement.rate)),
                cell(1, |measurement| Some(measurement.latency.p50)),
                cell(1, p99),
                cell(2, |measurement| measurement.server_cpu_us),
                Cell::ratio(both.and_then(|(beside, alone)| ratio(&beside, &alone)), 3),
                Cell::Empty,
            ]
        });
    }
    table
}
