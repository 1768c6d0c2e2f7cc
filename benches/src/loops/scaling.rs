//! Two loops on two cores against one. The listeners share the address, and the system spreads the connections.
//!
//! With four cores the clients have two of their own. With two or three there is no room for that, so everything is
//! doubled: one loop and one client on one core against a loop and a client on each of two. Two servers that know nothing
//! of each other, one on each core, are beside it there: what the computer has to give.

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
    #[arg(long, default_value = "400ms", value_parser = span)]
    duration: Duration,
    /// Use no more than so many cores
    #[arg(long)]
    cores: Option<usize>,
}

const ROUNDS: usize = 15;
const LOAD: Load = Load::new(64, 100);
const WARM_UP: Duration = Duration::from_millis(150);

/// Who runs where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    name: &'static str,
    /// The cores of the loops of each server, one loop on each.
    servers: Vec<Vec<usize>>,
    /// The core of each client and the server that it loads.
    clients: Vec<(usize, usize)>,
}

/// The plans for a computer with so many cores, one loop first; none if that is too few.
fn plans(cores: usize) -> Vec<Plan> {
    let plan = |name, servers: &[&[usize]], clients: &[(usize, usize)]| Plan {
        name,
        servers: servers.iter().map(|cores| cores.to_vec()).collect(),
        clients: clients.to_vec(),
    };
    match cores {
        0 | 1 => Vec::new(),
        2 | 3 => vec![
            plan("1", &[&[0]], &[(0, 0)]),
            plan("2", &[&[0, 1]], &[(0, 0), (1, 0)]),
            plan("1 in each of 2 servers", &[&[0], &[1]], &[(0, 0), (1, 1)]),
        ],
        _ => vec![plan("1", &[&[0]], &[(2, 0), (3, 0)]), plan("2", &[&[0, 1]], &[(2, 0), (3, 0)])],
    }
}

/// Measures and reports.
///
/// # Errors
/// When this program cannot find itself.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let mut report = Report::new("scaling");
    let columns = ["<loops", "clients", "messages/s", "spread", "to one loop"];
    let mut table = Table::new("Echo of 64 B, 100 connections of each client", &columns);
    let have = machine::cores();
    let cores = arguments.cores.map_or(have, |most| most.min(have));
    let plans = plans(cores);
    if plans.is_empty() {
        let trouble = "not run: it takes two cores and there is one";
        eprintln!("loop-bench scaling: {trouble}");
        table.push_trouble(vec!["1 and 2".into(), Cell::Missing], trouble);
        report.tables.push(table);
        return Ok(report);
    }
    let duration = common.pick(arguments.duration, Duration::from_millis(60));
    let rounds = common.rounds(ROUNDS);
    let say = |round: usize, _: usize| eprintln!("round {}/{rounds}", round + 1);
    let mut pinned = true;
    let figures = rounds::run((plans.len(), 1, rounds), say, |plan, _| measure(&plans[plan], duration, &mut pinned));
    let where_ = if cores < 4 {
        "everything is doubled: one loop and one client on core 0, against a loop and a client on each of cores 0 and 1"
    } else {
        "loops on core 0, or 0 and 1; clients on cores 2 and 3"
    };
    report.fact("pinned", if pinned { "yes" } else { "NO, the figures mean little" });
    report.fact(
        "method",
        format!(
            "{where_}; medians of {rounds} rounds of {duration:?} after {WARM_UP:?} of warm-up; the ratio is the median \
             of those within a round [and its quartiles]"
        ),
    );
    let rates: Vec<_> = figures[0].iter().map(|rounds| rounds.column(|rate| Some(*rate))).collect();
    for (at, (plan, rounds)) in plans.iter().zip(&figures[0]).enumerate() {
        let head = vec![plan.name.into(), Cell::count(plan.clients.len() as u64)];
        match (&rates[at], rounds.trouble()) {
            (Some(ours), None) => {
                let to_one = rates[0].as_ref().filter(|_| at > 0).and_then(|one| ratio(ours, one));
                let rate = Cell::Number(median(ours.clone()), 0);
                let figures = [rate, Cell::Percent(spread(ours)), Cell::ratio(to_one, 2)];
                table.rows.push(head.into_iter().chain(figures).collect());
            }
            (_, trouble) => table.push_trouble(head, trouble.unwrap_or("not run")),
        }
    }
    report.tables.push(table);
    Ok(report)
}

/// Messages per second of all clients together.
fn measure(plan: &Plan, duration: Duration, pinned: &mut bool) -> Result<f64, String> {
    let not_run = |why: &dyn std::fmt::Display| format!("not run: {why}");
    let program = std::env::current_exe().map_err(|error| not_run(&error))?;
    let mut servers = Vec::new();
    for cores in &plan.servers {
        let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let mut command: Vec<OsString> = vec![program.clone().into()];
        command.extend(["serve", "wharf", "--cores", &list].map(OsString::from));
        let server = ServerProcess::start(&command, cores).map_err(|why| not_run(&why))?;
        *pinned &= server.pinned;
        servers.push(server);
    }
    let mut clients = Vec::new();
    for &(core, server) in &plan.clients {
        let mut client = echo::client(&servers[server], LOAD, (duration, WARM_UP)).map_err(|error| not_run(&error))?;
        let (client, client_pinned) = process::start_client(&mut client, core)?;
        *pinned &= client_pinned;
        clients.push(client);
    }
    let rates: Result<Vec<f64>, String> =
        clients.into_iter().map(|client| process::outcome(client).map(|measured: Measurement| measured.rate)).collect();
    Ok(rates?.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_have_everything_doubled_four_have_clients_apart_and_one_has_nothing() {
        assert_eq!(plans(1), []);
        assert_eq!(plans(2), plans(3));
        for cores in [2, 4, 64] {
            for plan in plans(cores) {
                let loops: Vec<usize> = plan.servers.concat();
                let clients: Vec<usize> = plan.clients.iter().map(|&(core, _)| core).collect();
                assert!(loops.iter().chain(&clients).all(|&core| core < cores), "{plan:?}");
                assert!(plan.clients.iter().all(|&(_, server)| server < plan.servers.len()), "{plan:?}");
                if cores < 4 {
                    assert_eq!(loops, clients, "{plan:?}");
                } else {
                    assert!(loops.iter().all(|core| !clients.contains(core)), "{plan:?}");
                }
            }
        }
    }
}
