//! `loop-bench`: the event loop beside bare `mio`, tokio and C uSockets.
//!
//! The figures come from `cargo run --release -p wharf-benches --features peers --bin loop-bench -- COMMAND`; each command
//! prints tables, or JSON with `--json`.
//!
//! Exit statuses: 0 done, 1 something of Wharf's went wrong, 2 usage, 3 the system refused something.

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use wharf_benches::loops::{self, client, deferred, echo, idle, rush, sampling, scaling, servers, timers, udp};
use wharf_benches::measure::Failure;
use wharf_benches::report::Report;
use wharf_host::event_loop::LoopOptions;

/// Measures Wharf's event loop beside others.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Echo servers: rate, latency, CPU time and system calls for each message
    Echo(echo::Arguments),
    /// UDP echo servers at saturation: rate, CPU time and system calls for each datagram, in batches and one by one
    Udp(udp::Arguments),
    /// Calls from other threads: latency and throughput
    Deferred(deferred::Arguments),
    /// Timers: insert, reset and cancel among many
    Timers(timers::Arguments),
    /// Ten thousand sockets that do nothing: memory and wake-ups
    Idle(idle::Arguments),
    /// A plain echo without and with a rush of TLS handshakes on the same loop
    Rush(rush::Arguments),
    /// What the loop's histograms cost: instructions, CPU time and rate with and without
    Sampling(sampling::Arguments),
    /// Two loops on two cores against one
    Scaling(scaling::Arguments),
    /// Serve as one of the peers; prints `listening ADDRESS`
    #[command(hide = true)]
    Serve(ServeArguments),
    /// Load one echo server and print the figures as JSON
    #[command(hide = true)]
    Client(ClientArguments),
    /// Load one echo server with plain echoes and rushes of TLS handshakes and print the figures as JSON
    #[command(hide = true)]
    RushClient(RushClientArguments),
    /// Go round a loop: what `sampling` runs under valgrind
    #[command(hide = true)]
    SamplingBody(SamplingBodyArguments),
    /// Load one UDP echo server and print the figures as JSON
    #[command(hide = true)]
    UdpClient(UdpClientArguments),
}

#[derive(Args)]
struct ServeArguments {
    server: Server,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Wharf only: a loop on each of these cores
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// Datagrams instead of streams; Wharf takes up to so many with one call
    #[arg(long, value_name = "BATCH")]
    datagrams: Option<usize>,
    /// At a second address, TLS; wharf and tokio only
    #[arg(long, conflicts_with_all = ["cores", "datagrams"])]
    tls: bool,
    /// Wharf with `--tls` only
    #[arg(long, default_value_t = 5)]
    handshake_budget: u32,
    /// Wharf on one loop only: one of so many iterations is measured; 0 is none
    #[arg(long, conflicts_with_all = ["cores", "datagrams", "tls"])]
    sample_every: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Server {
    Wharf,
    Mio,
    /// Needs the feature `peers`
    Tokio,
}

#[derive(Args)]
struct ClientArguments {
    address: SocketAddr,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    size: usize,
    #[arg(long, value_parser = loops::span)]
    duration: Duration,
    #[arg(long, value_parser = loops::span)]
    warmup: Duration,
    /// The server's process, to show its CPU time
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Args)]
struct RushClientArguments {
    plain: SocketAddr,
    tls: SocketAddr,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    handshakes: usize,
    #[arg(long)]
    rushes: usize,
    #[arg(long, value_parser = loops::span)]
    calm: Duration,
}

#[derive(Args)]
struct SamplingBodyArguments {
    work: sampling::Work,
    rounds: u64,
    sample_every: u32,
}

#[derive(Args)]
struct UdpClientArguments {
    address: SocketAddr,
    #[arg(long)]
    size: usize,
    #[arg(long, value_parser = loops::span)]
    duration: Duration,
    #[arg(long, value_parser = loops::span)]
    warmup: Duration,
    /// The server's process, to show its CPU time
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Echo(arguments) => show(echo::run(&arguments), arguments.common.json),
        Verb::Udp(arguments) => show(udp::run(&arguments), arguments.common.json),
        Verb::Deferred(arguments) => show(deferred::run(&arguments), arguments.common.json),
        Verb::Timers(arguments) => show(timers::run(&arguments), arguments.common.json),
        Verb::Idle(arguments) => show(idle::run(&arguments), arguments.common.json),
        Verb::Rush(arguments) => show(rush::run(&arguments), arguments.common.json),
        Verb::Sampling(arguments) => show(sampling::run(&arguments), arguments.common.json),
        Verb::Scaling(arguments) => show(scaling::run(&arguments), arguments.common.json),
        Verb::Serve(arguments) => done(serve(&arguments)),
        Verb::SamplingBody(arguments) => {
            done(sampling::body(arguments.work, arguments.rounds, arguments.sample_every).map_err(io::Error::other))
        }
        Verb::RushClient(arguments) => rush_in(&arguments),
        Verb::Client(arguments) => load(&arguments),
        Verb::UdpClient(arguments) => load_udp(&arguments),
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
    eprintln!("loop-bench: {error}");
    ExitCode::from(3)
}

fn serve(arguments: &ServeArguments) -> io::Result<()> {
    let address = arguments.listen;
    if arguments.tls {
        return match arguments.server {
            Server::Wharf => rush::servers::wharf(address, arguments.handshake_budget),
            #[cfg(feature = "peers")]
            Server::Tokio => rush::servers::tokio(address),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "no TLS with this server")),
        };
    }
    match (arguments.server, arguments.datagrams) {
        (Server::Wharf, None) => {
            let mut options = LoopOptions::default();
            options.sample_every = arguments.sample_every.unwrap_or(options.sample_every);
            servers::wharf::serve(address, &arguments.cores, options)
        }
        (Server::Wharf, Some(batch)) => udp::servers::wharf(address, batch),
        (Server::Mio, None) => servers::bare::serve(address),
        (Server::Mio, Some(_)) => udp::servers::bare(address),
        #[cfg(feature = "peers")]
        (Server::Tokio, None) => servers::tokio::serve(address),
        #[cfg(feature = "peers")]
        (Server::Tokio, Some(_)) => udp::servers::tokio(address),
        #[cfg(not(feature = "peers"))]
        (Server::Tokio, _) => Err(io::Error::new(io::ErrorKind::Unsupported, "built without the feature `peers`")),
    }
}

fn load(arguments: &ClientArguments) -> ExitCode {
    tell(&client::run(&client::Options {
        address: arguments.address,
        connections: arguments.connections,
        size: arguments.size,
        duration: arguments.duration,
        warmup: arguments.warmup,
        pid: arguments.pid,
        patience: Duration::from_secs(5),
    }))
}

fn rush_in(arguments: &RushClientArguments) -> ExitCode {
    tell(&rush::client::run(&rush::client::Options {
        plain: arguments.plain,
        tls: arguments.tls,
        connections: arguments.connections,
        handshakes: arguments.handshakes,
        rushes: arguments.rushes,
        calm: arguments.calm,
        patience: Duration::from_secs(20),
    }))
}

fn load_udp(arguments: &UdpClientArguments) -> ExitCode {
    tell(&udp::client::run(&udp::client::Options {
        address: arguments.address,
        size: arguments.size,
        duration: arguments.duration,
        warmup: arguments.warmup,
        pid: arguments.pid,
        patience: Duration::from_millis(50),
    }))
}

fn tell<M: Serialize>(outcome: &Result<M, Failure>) -> ExitCode {
    println!("{}", serde_json::to_string(outcome).expect("the figures are plain numbers and text"));
    ExitCode::from(if outcome.is_ok() { 0 } else { 4 })
}
