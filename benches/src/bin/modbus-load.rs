//! `modbus-load`: a load generator that verifies every reply, servers to compare with, and the runner that puts them
//! side by side.
//!
//! The figures come from `cargo run --release -p wharf-benches --features peers --bin modbus-load -- run`.
//!
//! Exit statuses: 0 done, 1 Wharf or the echo server went wrong in a run, 2 usage, 3 not reachable, 4 a wrong reply.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use wharf_benches::beside;
use wharf_benches::client::{self, Failure, Measurement};
use wharf_benches::count::{self, Count};
use wharf_benches::echo;
use wharf_benches::loops::{Common, span};
use wharf_benches::micro::Part;
use wharf_benches::neighbour::Neighbour;
use wharf_benches::process;
use wharf_benches::runner::{self, Kind, Peer, Plan};
use wharf_benches::wire::Operation;

/// Loads Modbus TCP servers in a closed loop and verifies every reply.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Load one server and print the figures, or the first thing that was wrong
    Client(ClientArguments),
    /// Serve as one of the peers; prints `listening ADDRESS`
    Serve(ServeArguments),
    /// Measure all servers side by side and print a table
    Run(RunArguments),
    /// Measure a good client beside bad ones and print a table
    Beside(BesideArguments),
    /// Be a bad client; prints what it did as JSON
    #[command(hide = true)]
    Neighbour {
        kind: Neighbour,
        address: SocketAddr,
        #[arg(long, value_parser = span)]
        span: Duration,
    },
    /// Count instructions per request in wharf-core under valgrind, if there is one
    Count,
    /// Do one part of a request that many times, for `count`
    #[command(hide = true)]
    CountBody {
        #[arg(value_parser = part)]
        part: Part,
        steps: usize,
    },
}

#[derive(Args)]
struct ClientArguments {
    /// The server; it needs unit 1 with at least 1000 holding registers that may be written
    address: SocketAddr,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests outstanding on each connection
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Any of fc3x10, fc3x125, fc16x123, fc23, taken in turn
    #[arg(long, value_delimiter = ',', default_value = "fc3x10")]
    mix: Vec<Operation>,
    /// Counted time
    #[arg(long, default_value = "2s", value_parser = span)]
    duration: Duration,
    /// Time under load before that
    #[arg(long, default_value = "200ms", value_parser = span)]
    warmup: Duration,
    /// Unit id
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// Holding registers of the server, from 0 on
    #[arg(long, default_value_t = 1000)]
    registers: u16,
    /// The server is `modbus-load serve echo`
    #[arg(long)]
    echo: bool,
    /// The server's process, to show its CPU time
    #[arg(long)]
    pid: Option<u32>,
    /// How long one reply may take
    #[arg(long, default_value = "5s", value_parser = span)]
    patience: Duration,
    /// Print one JSON object, `{"Ok": figures}` or `{"Err": failure}`
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ServeArguments {
    server: Server,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Echo only: bytes of one request
    #[arg(long, default_value_t = 12)]
    reads: usize,
    /// Echo only: bytes of one reply
    #[arg(long, default_value_t = 29)]
    writes: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Server {
    /// tokio-modbus 0.17, current-thread runtime (needs the feature `peers`)
    TokioModbus,
    /// rmodbus 0.13, one thread per connection (needs the feature `peers`)
    Rmodbus,
    /// Bare mio: counts bytes and looks at none
    Echo,
}

/// Who is measured.
#[derive(Args)]
struct Servers {
    /// The wharf binary; without it the release binary of this workspace is built and taken
    #[arg(long)]
    wharf: Option<PathBuf>,
    /// A further peer, NAME=COMMAND with its arguments; it prints `listening ADDRESS`
    #[arg(long, value_name = "NAME=COMMAND", value_parser = further_peer)]
    peer: Vec<(String, Vec<OsString>)>,
    /// Only these of wharf, tokio-modbus, rmodbus, echo
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[derive(Args)]
struct BesideArguments {
    #[command(flatten)]
    servers: Servers,
    /// Any of nobody, garbage, quantities, halves, dribble, unread; without it all
    #[arg(long, value_delimiter = ',')]
    neighbours: Vec<Neighbour>,
    #[command(flatten)]
    common: Common,
    /// Counted time of one run
    #[arg(long, default_value = "1s", value_parser = span)]
    duration: Duration,
    /// Time under load before that
    #[arg(long, default_value = "300ms", value_parser = span)]
    warmup: Duration,
}

#[derive(Args)]
struct RunArguments {
    #[command(flatten)]
    servers: Servers,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Counted time of one run
    #[arg(long, default_value = "1s", value_parser = span)]
    duration: Duration,
    /// Time under load before that
    #[arg(long, default_value = "200ms", value_parser = span)]
    warmup: Duration,
    /// A smoke run of a few seconds: few loads, one short round
    #[arg(long)]
    quick: bool,
    #[arg(long, value_delimiter = ',', default_value = "fc3x10,fc3x125,fc16x123,fc23")]
    loads: Vec<Operation>,
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,512")]
    connections: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    depths: Vec<usize>,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, default_value_t = 1)]
    client_core: usize,
}

fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Client(arguments) => load(&arguments),
        Verb::Serve(arguments) => report(serve(&arguments).map(|()| true)),
        Verb::Run(arguments) => report(compare(arguments)),
        Verb::Beside(arguments) => report(beside(arguments)),
        Verb::Neighbour { kind, address, span } => {
            println!("{}", serde_json::to_string(&kind.run(address, span)).expect("the figures are plain numbers"));
            ExitCode::SUCCESS
        }
        Verb::Count => report(instructions().map(|()| true)),
        Verb::CountBody { part, steps } => {
            count::body(part, steps);
            ExitCode::SUCCESS
        }
    }
}

/// Status 0 or 1 by the outcome, 3 if the system refused something.
fn report(outcome: io::Result<bool>) -> ExitCode {
    match outcome {
        Ok(right) => ExitCode::from(u8::from(!right)),
        Err(error) => {
            eprintln!("modbus-load: {error}");
            ExitCode::from(3)
        }
    }
}

fn load(arguments: &ClientArguments) -> ExitCode {
    let outcome = client::run(&client::Options {
        address: arguments.address,
        connections: arguments.connections,
        depth: arguments.depth,
        mix: arguments.mix.clone(),
        duration: arguments.duration,
        warmup: arguments.warmup,
        unit: arguments.unit,
        registers: arguments.registers,
        echo: arguments.echo,
        pid: arguments.pid,
        patience: arguments.patience,
    });
    if arguments.json {
        println!("{}", serde_json::to_string(&outcome).expect("the figures are plain numbers and text"));
    } else {
        match &outcome {
            Ok(measurement) => print(measurement),
            Err(failure) => eprintln!("modbus-load: {failure}"),
        }
    }
    ExitCode::from(match outcome {
        Ok(_) => 0,
        Err(Failure::Usage(_)) => 2,
        Err(Failure::Unreachable(_)) => 3,
        Err(Failure::Wrong(_)) => 4,
    })
}

fn print(measurement: &Measurement) {
    let Measurement { requests, seconds, rate, latency, server_cpu_us, server_busy, client_busy } = measurement;
    println!("{requests} requests in {seconds:.3} s, all verified: {rate:.0} requests/s");
    println!(
        "latency us: p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}",
        latency.p50, latency.p90, latency.p99, latency.p999, latency.max
    );
    if let (Some(micros), Some(busy)) = (server_cpu_us, server_busy) {
        println!("server CPU: {micros:.2} us per request, busy {busy:.2}");
    }
    if let Some(busy) = client_busy {
        println!("client busy {busy:.2}");
    }
}

fn serve(arguments: &ServeArguments) -> io::Result<()> {
    match arguments.server {
        Server::Echo => {
            let server = echo::Server::bind(arguments.listen, arguments.reads, arguments.writes)?;
            println!("listening {}", server.local_addr()?);
            server.run()
        }
        #[cfg(feature = "peers")]
        Server::Rmodbus => {
            let listener = std::net::TcpListener::bind(arguments.listen)?;
            println!("listening {}", listener.local_addr()?);
            wharf_benches::peers::rmodbus::serve(&listener)
        }
        #[cfg(feature = "peers")]
        Server::TokioModbus => {
            wharf_benches::peers::tokio_modbus::serve(arguments.listen, |address| println!("listening {address}"))
        }
        #[cfg(not(feature = "peers"))]
        Server::Rmodbus | Server::TokioModbus => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "built without the feature `peers`"))
        }
    }
}

/// The servers asked for, which this `program` is too, but for Wharf.
fn peers(servers: Servers, program: &Path) -> Vec<Peer> {
    let ours = |server: &str| {
        let words = ["serve", server, "--listen", "127.0.0.1:0"].map(OsString::from);
        std::iter::once(program.as_os_str().to_owned()).chain(words).collect::<Vec<_>>()
    };
    let foreign = |server| {
        if cfg!(feature = "peers") { Ok(ours(server)) } else { Err("built without the feature `peers`".to_owned()) }
    };
    let wanted = |name: &str| servers.only.is_empty() || servers.only.iter().any(|only| only == name);
    let mut peers = Vec::new();
    let mut add = |name: &str, kind, command: &dyn Fn() -> Result<Vec<OsString>, String>| {
        if wanted(name) {
            peers.push(Peer { name: name.to_owned(), kind, command: command() });
        }
    };
    add("wharf", Kind::Wharf, &|| {
        let path = servers.wharf.clone().map_or_else(|| process::locate(program, "wharf-host", "wharf"), Ok)?;
        Ok(runner::wharf_command(&path))
    });
    add("tokio-modbus", Kind::Peer, &|| foreign("tokio-modbus"));
    add("rmodbus", Kind::Peer, &|| foreign("rmodbus"));
    add("echo", Kind::Echo, &|| Ok(ours("echo")));
    let further = servers.peer.into_iter();
    peers.extend(further.map(|(name, command)| Peer { name, kind: Kind::Peer, command: Ok(command) }));
    peers
}

fn beside(arguments: BesideArguments) -> io::Result<bool> {
    let program = std::env::current_exe()?;
    let common = &arguments.common;
    let mut peers = peers(arguments.servers, &program);
    // It answers anything, and so nobody is good or bad to it.
    peers.retain(|peer| peer.kind != Kind::Echo);
    let neighbours = if arguments.neighbours.is_empty() { Neighbour::ALL.to_vec() } else { arguments.neighbours };
    let report = beside::run(&beside::Plan {
        peers,
        neighbours,
        rounds: common.rounds(5),
        duration: common.pick(arguments.duration, Duration::from_millis(150)),
        warmup: common.pick(arguments.warmup, Duration::from_millis(100)),
        server_core: common.server_core,
        client_core: common.client_core,
        program,
    });
    report.print(&mut io::stdout().lock(), common.json)?;
    Ok(true)
}

fn compare(arguments: RunArguments) -> io::Result<bool> {
    let program = std::env::current_exe()?;
    let peers = peers(arguments.servers, &program);
    let full = || runner::loads(&arguments.loads, &arguments.connections, &arguments.depths);
    let (loads, rounds, duration, warmup) = if arguments.quick {
        (runner::quick_loads(), 1, Duration::from_millis(150), Duration::from_millis(50))
    } else {
        (full(), arguments.rounds, arguments.duration, arguments.warmup)
    };
    runner::run(&Plan {
        peers,
        loads,
        rounds,
        duration,
        warmup,
        server_core: arguments.server_core,
        client_core: arguments.client_core,
        program,
    })
}

fn instructions() -> io::Result<()> {
    let program = std::env::current_exe()?;
    if cfg!(debug_assertions) {
        eprintln!("modbus-load: built without optimisation, these counts mean nothing; use --release");
    }
    println!("| part of FC3 x10 | instructions per request |\n| --- | --: |");
    for part in Part::ALL {
        match count::count(&program, part)? {
            Count::Instructions(instructions) => println!("| {} | {instructions:.1} |", part.name()),
            Count::NoValgrind => {
                println!("| {} | not run: no valgrind here |", part.name());
            }
        }
    }
    Ok(())
}

fn part(text: &str) -> Result<Part, String> {
    Part::ALL.into_iter().find(|part| part.name() == text).ok_or_else(|| format!("no part {text:?}"))
}

fn further_peer(text: &str) -> Result<(String, Vec<OsString>), String> {
    let (name, command) = text.split_once('=').ok_or("NAME=COMMAND is wanted")?;
    let command: Vec<OsString> = command.split_whitespace().map(OsString::from).collect();
    if name.is_empty() || command.is_empty() {
        return Err("NAME=COMMAND is wanted".into());
    }
    Ok((name.to_owned(), command))
}
