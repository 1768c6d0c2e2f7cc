//! `port-bench`: device ports beside bare `mio` and `ncat --broker`.
//!
//! The figures come from `cargo run --release -p wharf-benches --bin port-bench -- COMMAND`; each command prints tables,
//! or JSON with `--json`.
//!
//! Exit statuses: 0 done, 1 something went wrong in a run, 2 usage, 3 the system refused something, 4 a load found
//! something wrong.

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use wharf_benches::loops::servers::bare;
use wharf_benches::loops::{client, span};
use wharf_benches::measure::Failure;
use wharf_benches::ports::{broadcast, deaf, echo, fan, idle, servers};
use wharf_benches::report::Report;

/// How long a load waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures Wharf's device ports beside others.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Echo beside bare mio: rate, latency, CPU time and system calls for each message
    Echo(echo::Arguments),
    /// A broker with many clients beside `ncat --broker`
    Broadcast(broadcast::Arguments),
    /// Clients of a broker beside one that never reads
    Deaf(deaf::Arguments),
    /// Ten thousand clients that do nothing: memory, CPU time, and an active client beside them
    Idle(idle::Arguments),
    /// Serve as one of the peers; prints `listening ADDRESS`
    #[command(hide = true, subcommand)]
    Serve(Server),
    /// Load one echo server and print the figures as JSON
    #[command(hide = true)]
    Client(ClientArguments),
    /// Load one broker and print the figures as JSON
    #[command(hide = true)]
    FanClient(FanArguments),
}

#[derive(Subcommand)]
enum Server {
    /// A device port with these options
    Port {
        #[arg(value_name = "KEY=VALUE", value_parser = setting)]
        settings: Vec<(String, String)>,
    },
    /// Echo on bare mio
    Mio,
}

#[derive(Args)]
struct Load {
    address: SocketAddr,
    #[arg(long)]
    size: usize,
    #[arg(long, value_parser = span)]
    duration: Duration,
    #[arg(long, value_parser = span)]
    warmup: Duration,
    /// The server's process, to show its CPU time
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Args)]
struct ClientArguments {
    #[command(flatten)]
    load: Load,
    #[arg(long)]
    connections: usize,
}

#[derive(Args)]
struct FanArguments {
    #[command(flatten)]
    load: Load,
    #[arg(long)]
    receivers: usize,
    #[arg(long, default_value_t = 0)]
    deaf: usize,
    #[arg(long, default_value_t = 0)]
    filling: usize,
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Echo(arguments) => show(echo::run(&arguments), arguments.common.json),
        Verb::Broadcast(arguments) => show(broadcast::run(&arguments), arguments.common.json),
        Verb::Deaf(arguments) => show(deaf::run(&arguments), arguments.common.json),
        Verb::Idle(arguments) => show(idle::run(&arguments), arguments.common.json),
        Verb::Serve(Server::Port { settings }) => done(servers::serve(&settings)),
        Verb::Serve(Server::Mio) => done(bare::serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))),
        Verb::Client(ClientArguments { load: Load { address, size, duration, warmup, pid }, connections }) => {
            tell(&client::run(&client::Options {
                address,
                connections,
                size,
                duration,
                warmup,
                pid,
                patience: PATIENCE,
            }))
        }
        Verb::FanClient(arguments) => {
            let Load { address, size, duration, warmup, pid } = arguments.load;
            let FanArguments { receivers, deaf, filling, .. } = arguments;
            let patience = PATIENCE;
            tell(&fan::run(&fan::Options { address, receivers, deaf, size, filling, duration, warmup, pid, patience }))
        }
    }
}

fn show(report: io::Result<Report>, json: bool) -> ExitCode {
    match report.and_then(|report| report.print(&mut io::stdout().lock(), json).map(|()| report.is_right())) {
        Ok(right) => ExitCode::from(u8::from(!right)),
        Err(error) => refused(&error),
    }
}

fn done(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refused(&error),
    }
}

fn refused(error: &io::Error) -> ExitCode {
    eprintln!("port-bench: {error}");
    ExitCode::from(3)
}

fn tell<M: Serialize>(outcome: &Result<M, Failure>) -> ExitCode {
    println!("{}", serde_json::to_string(outcome).expect("the figures are plain numbers and text"));
    ExitCode::from(if outcome.is_ok() { 0 } else { 4 })
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}
