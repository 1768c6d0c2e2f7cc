//! Runs servers side by side: each server on one core, the client on another, peers in changing order in every round.
//!
//! For each round, load and peer a fresh server process is started, one client process loads and verifies it, and both
//! are gone before the next begins. The order of peers rotates with round and load, and every other round goes
//! backwards, so that no peer always follows the same one.

use crate::client::Measurement;
use crate::machine;
use crate::peers::REGISTERS;
use crate::process::{self, ServerProcess};
use crate::rounds;
use crate::table::{self, Row};
use crate::wire::Operation;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What a peer is, which decides what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server that the table is about.
    Wharf,
    /// The bare server of the same byte counts.
    Echo,
    /// Anybody else's server.
    Peer,
}

/// One server to measure.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name in the table.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Program and arguments; the program prints `listening ADDRESS` on its standard output. The echo server's byte
    /// counts are added for each load. An error says why there is no command.
    pub command: Result<Vec<OsString>, String>,
}

/// One row of loads in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// What is asked.
    pub operation: Operation,
    /// On how many connections.
    pub connections: usize,
    /// How many requests outstanding on each.
    pub depth: usize,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers.
    pub peers: Vec<Peer>,
    /// The loads.
    pub loads: Vec<Load>,
    /// How often each load is put on each server.
    pub rounds: usize,
    /// The counted time of one run.
    pub duration: Duration,
    /// Time under load before that.
    pub warmup: Duration,
    /// The core of every server.
    pub server_core: usize,
    /// The core of every client.
    pub client_core: usize,
    /// This program, which is also the client.
    pub program: PathBuf,
}

/// The full set of loads: each operation at each number of connections and depth.
#[must_use]
pub fn loads(operations: &[Operation], connections: &[usize], depths: &[usize]) -> Vec<Load> {
    let mut loads = Vec::new();
    for &operation in operations {
        for &connections in connections {
            for &depth in depths {
                loads.push(Load { operation, connections, depth });
            }
        }
    }
    loads
}

/// A few loads for a smoke run.
#[must_use]
pub fn quick_loads() -> Vec<Load> {
    let load = |operation, connections, depth| Load { operation, connections, depth };
    vec![
        load(Operation::ReadTen, 1, 1),
        load(Operation::ReadTen, 8, 16),
        load(Operation::ReadMost, 64, 1),
        load(Operation::WriteMost, 8, 16),
        load(Operation::ReadWrite, 8, 1),
    ]
}

/// Carries out `plan`, prints the table on standard output and progress on standard error.
///
/// True if Wharf and the echo server, as far as they were asked for, answered right in every row.
///
/// # Errors
/// Only those of writing the output; trouble with a server is shown in its row.
pub fn run(plan: &Plan) -> io::Result<bool> {
    let facts = machine::facts();
    let mut pinned = true;
    let say = |round: usize, load: usize| {
        let Load { operation, connections, depth } = plan.loads[load];
        eprintln!("round {}/{}: {operation}, {connections} connections, depth {depth}", round + 1, plan.rounds);
    };
    let size = (plan.peers.len(), plan.loads.len(), plan.rounds);
    let figures = rounds::run(size, say, |peer, load| {
        let outcome = measure(plan, &plan.peers[peer], &plan.loads[load], &mut pinned);
        if let Err(trouble) = &outcome {
            eprintln!("  {}: {trouble}", plan.peers[peer].name);
        }
        outcome
    });
    let rows = |figures: Vec<rounds::Rounds<Measurement>>| {
        let row = |(peer, rounds): (&Peer, _)| Row { peer: peer.name.clone(), kind: peer.kind, rounds };
        plan.peers.iter().zip(figures).map(row).collect::<Vec<_>>()
    };
    let results: Vec<(Load, Vec<Row>)> = plan.loads.iter().copied().zip(figures.into_iter().map(rows)).collect();
    let mut out = io::stdout().lock();
    for (name, value) in facts {
        writeln!(out, "* {name}: {value}")?;
    }
    let cores = format!("server on core {}, client on core {}", plan.server_core, plan.client_core);
    writeln!(out, "* pinned: {}", if pinned { cores.as_str() } else { "NO, the figures mean little" })?;
    writeln!(
        out,
        "* medians of {} rounds of {:?} after {:?} of warm-up; spread is (highest - lowest) / median\n",
        plan.rounds, plan.duration, plan.warmup
    )?;
    write!(out, "{}", table::render(&results))?;
    let ours = results.iter().flat_map(|(_, rows)| rows).filter(|row| row.kind != Kind::Peer);
    Ok(ours.filter_map(|row| row.rounds.trouble()).count() == 0)
}

fn measure(plan: &Plan, peer: &Peer, load: &Load, pinned: &mut bool) -> Result<Measurement, String> {
    let mut command = peer.command.clone().map_err(|why| format!("not run: {why}"))?;
    let operation = load.operation;
    if peer.kind == Kind::Echo {
        let reads = operation.request_len().to_string();
        let writes = operation.reply_len().to_string();
        command.extend(["--reads".into(), reads.into(), "--writes".into(), writes.into()]);
    }
    let server = ServerProcess::start(&command, &[plan.server_core]).map_err(|why| format!("not run: {why}"))?;
    *pinned &= server.pinned;
    let mut client = Command::new(&plan.program);
    client.arg("client").arg(server.address.to_string());
    client.arg("--connections").arg(load.connections.to_string());
    client.arg("--depth").arg(load.depth.to_string());
    client.arg("--mix").arg(operation.name());
    client.arg("--duration").arg(format!("{}ms", plan.duration.as_millis()));
    client.arg("--warmup").arg(format!("{}ms", plan.warmup.as_millis()));
    client.arg("--registers").arg(REGISTERS.to_string());
    client.arg("--pid").arg(server.pid().to_string());
    client.arg("--json");
    if peer.kind == Kind::Echo {
        client.arg("--echo");
    }
    let (client, client_pinned) = process::start_client(&mut client, plan.client_core)?;
    *pinned &= client_pinned;
    process::outcome(client)
}

/// The command that serves unit 1 with Wharf's own binary at `path`.
#[must_use]
pub fn wharf_command(path: &Path) -> Vec<OsString> {
    let mut command = vec![path.as_os_str().to_owned()];
    let arguments = ["modbus", "serve", "--listen", "127.0.0.1:0", "--units", "1", "--size", "10000"];
    command.extend(arguments.map(OsString::from));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_set_of_loads_is_the_product() {
        assert_eq!(loads(&Operation::ALL, &[1, 8, 64, 512], &[1, 16]).len(), 32);
    }
}
