//! What the loop's histograms cost, with one iteration of so many sampled as by default, against none.
//!
//! Once in instructions, counted by callgrind: the same on every run, whatever else the computer does, so that a part of a
//! per cent can be seen. Reading the clock is a system call there and costs no instructions: a sample of poll costs one
//! reading more, a sample of deferred calls two. And once in CPU time and rate of an echo server, readings of the clock
//! included, which differ by more than that from run to run: there the quartiles tell what the median is worth.

use super::echo::{self, Load};
use super::{Common, span};
use crate::count;
use crate::measure::Measurement;
use crate::process::{self, ServerProcess};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use wharf_host::event_loop::{Error, Loop, LoopOptions};

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
    #[arg(long, default_value = "100ms", value_parser = span)]
    warmup: Duration,
}

/// What an iteration does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Echo 12 bytes
    Echo,
    /// Run a timer
    Timer,
    /// Run a deferred call
    Deferred,
}

const WORKS: [Work; 3] = [Work::Echo, Work::Timer, Work::Deferred];
const LOADS: [usize; 2] = [1, 40];
const SIZE: usize = 12;
const ROUNDS: usize = 41;
/// Iterations of the shorter run under valgrind.
const STEPS: usize = 2000;

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself, or valgrind fails.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let mut report = Report::new("sampling");
    let sampled = LoopOptions::default().sample_every;
    if cfg!(debug_assertions) {
        report.fact("built without optimisation", "these figures mean nothing");
    }
    let instructions = instructions(common, sampled)?;
    let (duration, warmup) =
        common.pick((arguments.duration, arguments.warmup), (Duration::from_millis(60), Duration::from_millis(20)));
    let rounds = common.rounds(ROUNDS);
    let mut pinned = true;
    let say = |round: usize, load: usize| eprintln!("round {}/{rounds}: {} connections", round + 1, LOADS[load]);
    let figures = rounds::run((2, LOADS.len(), rounds), say, |peer, load| {
        let load = Load::new(SIZE, LOADS[load]);
        measure(common, [0, sampled][peer], load, (duration, warmup), &mut pinned)
    });
    report.fact("pinned", common.cores(pinned));
    report.fact(
        "method",
        format!(
            "one iteration of {sampled} sampled, against none; instructions by callgrind, user space alone; CPU time and \
             rate of an echo server: medians of {rounds} rounds of {duration:?} after {warmup:?} of warm-up, ratios are \
             medians of the ratios within a round [and their quartiles]"
        ),
    );
    report.tables.push(instructions);
    report.tables.push(table(&figures));
    Ok(report)
}

fn instructions(common: &Common, sampled: u32) -> io::Result<Table> {
    let columns = ["<work of an iteration", "without", "sampled", "more", "<note"];
    let mut table = Table::new("Instructions of an iteration", &columns);
    let program = std::env::current_exe()?;
    for work in WORKS {
        let name = work.to_possible_value().expect("none is skipped").get_name().to_owned();
        eprintln!("instructions: {name}");
        let count = |every: u32| {
            let arguments = |steps: usize| ["sampling-body".into(), name.clone(), steps.to_string(), every.to_string()];
            count::per_step(&program, common.pick(STEPS, STEPS / 10), arguments)
        };
        let head = name.as_str().into();
        match (count(0)?, count(sampled)?) {
            (Some(off), Some(on)) => table.rows.push(vec![
                head,
                Cell::Number(off, 0),
                Cell::Number(on, 0),
                Cell::Percent(100.0 * (on - off) / off),
                Cell::Empty,
            ]),
            _ => table.push_trouble(vec![head], "not run: there is no valgrind"),
        }
    }
    Ok(table)
}

fn measure(
    common: &Common,
    sample_every: u32,
    load: Load,
    time: (Duration, Duration),
    pinned: &mut bool,
) -> Result<Measurement, String> {
    let not_run = |why: &dyn std::fmt::Display| format!("not run: {why}");
    let program = std::env::current_exe().map_err(|error| not_run(&error))?;
    let mut command: Vec<OsString> = vec![program.into()];
    command.extend(["serve", "wharf", "--sample-every", &sample_every.to_string()].map(OsString::from));
    let server = ServerProcess::start(&command, &[common.server_core]).map_err(|why| not_run(&why))?;
    let mut client = echo::client(&server, load, time).map_err(|error| not_run(&error))?;
    let (client, client_pinned) = process::start_client(&mut client, common.client_core)?;
    *pinned &= server.pinned && client_pinned;
    process::outcome(client)
}

fn table(figures: &[Vec<Rounds<Measurement>>]) -> Table {
    let columns = [
        "bytes",
        "conns",
        "messages/s without",
        "messages/s sampled",
        "sampled's rate to without",
        "CPU us/msg without",
        "CPU us/msg sampled",
        "sampled's CPU to without",
    ];
    let mut table = Table::new("Echo, with a server process of its own for each", &columns);
    for (connections, peers) in LOADS.iter().zip(figures) {
        let head = vec![Cell::count(SIZE as u64), Cell::count(*connections as u64)];
        if let Some(trouble) = peers.iter().find_map(Rounds::trouble) {
            table.push_trouble(head, trouble);
            continue;
        }
        let rest = |digits, figure: fn(&Measurement) -> Option<f64>| {
            let columns: Vec<_> = peers.iter().map(|rounds| rounds.column(figure)).collect();
            let both = columns[1].as_ref().zip(columns[0].as_ref()).and_then(|(on, off)| ratio(on, off));
            let mut cells: Vec<_> =
                columns.into_iter().map(|column| Cell::number(column.map(median), digits)).collect();
            cells.push(Cell::ratio(both, 3));
            cells
        };
        let rate = rest(0, |measurement| Some(measurement.rate));
        let cpu = rest(3, |measurement| measurement.server_cpu_us);
        table.rows.push(head.into_iter().chain(rate).chain(cpu).collect());
    }
    table
}

/// Goes round a loop so many times, with some work for each.
///
/// # Errors
/// Those of the loop, and of loopback.
pub fn body(work: Work, rounds: u64, sample_every: u32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let options = LoopOptions { sample_every, ..LoopOptions::default() };
    match work {
        Work::Echo => {
            let (mut lp, address) =
                super::servers::wharf::echo(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false, options)?;
            let mut client = TcpStream::connect(address)?;
            lp.run_until(|lp| lp.stats().opened == 1)?;
            for _ in 0..rounds {
                client.write_all(&[5; SIZE])?;
                lp.turn(Some(Duration::ZERO))?;
            }
            let all = SIZE as u64 * rounds;
            // Most often there is nothing left to wait for.
            while lp.loop_mut().stats().bytes_out < all {
                lp.turn(None)?;
            }
            client.read_exact(&mut vec![0; usize::try_from(all)?])?;
        }
        Work::Timer => {
            let mut lp = Loop::with_options((), options)?;
            let id = lp.loop_mut().add_idle_timer(|_, _| ());
            turns(&mut lp, rounds, |lp| lp.loop_mut().reset(id, Duration::ZERO, None))?;
            assert_eq!(lp.loop_mut().stats().timers_fired, rounds, "a timer of no delay runs in the next iteration");
        }
        Work::Deferred => {
            let mut lp = Loop::with_options((), options)?;
            let handle = lp.handle();
            turns(&mut lp, rounds, |_| {
                assert!(handle.defer_fn(|_| ()).is_ok(), "one call always fits");
                Ok(())
            })?;
            assert_eq!(lp.loop_mut().stats().deferred_run, rounds, "a call runs in the next iteration");
        }
    }
    Ok(())
}

fn turns(lp: &mut Loop, rounds: u64, mut before: impl FnMut(&mut Loop) -> Result<(), Error>) -> Result<(), Error> {
    for _ in 0..rounds {
        before(lp)?;
        lp.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}
