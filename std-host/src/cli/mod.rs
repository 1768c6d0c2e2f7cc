//! The command line: what may be typed, and who carries it out.
//!
//! Results go to standard output, everything else to standard error. Every command ends with a [`Status`].

mod admin;
mod control;
mod interrupts;
mod modbus;
mod plant;
mod port;
mod report;
mod rows;
mod status;
mod target;
mod transport;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use target::{Every, Host, Kind, Mask, Table, Timeout, Units};
use tracing_subscriber::filter::LevelFilter;
use wharf_core::modbus::typed::Order;
use wharf_host::config::event_loop::MAX_THREADS;
use wharf_host::run::Status;

const STATUSES: &str = "\
Exit status:
  0  done
  1  the remote side said no (an exception reply)
  2  usage, or a bad file
  3  not reachable, timed out, or an address or name that cannot be had
  4  the peer broke the protocol";

/// Joins devices, networks and programs.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, arg_required_else_help = true, after_help = help(
    "  wharf run hall.toml\n  wharf modbus serve --listen 127.0.0.1:5020\n  wharf modbus read 127.0.0.1:5020 holding 0 10"
))]
struct Cli {
    /// What to log to standard error [default: info for run, warn for all else].
    #[arg(long, global = true, value_name = "LEVEL", value_parser = level())]
    log: Option<LevelFilter>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a plant until SIGINT or SIGTERM.
    #[command(after_help = help(
        "  wharf run\n  wharf run hall.toml\n  wharf run --threads 4 hall.toml\n  wharf --log debug run hall.toml"
    ))]
    Run {
        /// The plant file [default: an embedded plant, Modbus on 127.0.0.1:5020].
        plant: Option<PathBuf>,
        /// Loops over which the entries of the plant are dealt, each on a thread of its own [default: 1, or what `threads`
        /// says in the plant].
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_THREADS)))]
        threads: Option<u16>,
    },
    /// Print the effective plant, every default filled in, or everything that is wrong with the file.
    #[command(after_help = help("  wharf check hall.toml\n  wharf check > my-first-plant.toml\n  wharf check --json hall.toml"))]
    Check {
        /// The plant file [default: the embedded plant].
        plant: Option<PathBuf>,
        /// Print one JSON object: {"plant": ...} or {"errors": [...]}.
        #[arg(long)]
        json: bool,
    },
    /// Show what a running host runs.
    #[command(after_help = help("  wharf status\n  wharf status --json\n  wharf status --admin /run/wharf/hall.sock"))]
    Status {
        #[command(flatten)]
        admin: AdminSocket,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Modbus: serve, read, write, scan, bench, control.
    #[command(subcommand, after_help = help(
        "  wharf modbus serve --listen 127.0.0.1:5020 --units 1,3-5\n  wharf modbus read 127.0.0.1:5020 input 0 4 --type f32 --order cdab\n  wharf modbus write 127.0.0.1:5020 coils 8 1 0 1"
    ))]
    Modbus(Modbus),
    /// Device ports: serve, report, drop, set.
    #[command(subcommand, after_help = help(
        "  wharf port serve dev :5025 --echo --slots 4\n  wharf port report dev -l 2\n  wharf port drop dev:0\n  wharf port set dev:0 idle_any 10m"
    ))]
    Port(port::Verb),
    /// Print the completions of a shell.
    #[command(after_help = help("  wharf completions bash > /etc/bash_completion.d/wharf\n  wharf completions fish | source"))]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum Modbus {
    /// Serve Modbus TCP: the servers of a plant alone, or one server of zeroed units.
    #[command(after_help = help(
        "  wharf modbus serve --listen 127.0.0.1:5020\n  wharf modbus serve --listen '[::1]:5020' --units 1,3-5 --size 100\n  wharf modbus serve hall.toml"
    ))]
    Serve(Serve),
    /// Read values from a server.
    #[command(after_help = help(
        "  wharf modbus read 192.0.2.7 holding 0 10\n  wharf modbus read 192.0.2.7 holding 40001 --ref\n  wharf modbus read 127.0.0.1:5020 holding 10 --type f32 --json\n  wharf modbus read 127.0.0.1:5020 holding 0 4 --every 500ms -n 10\n  wharf modbus read 127.0.0.1:5020 file:1 0 3\n  wharf modbus read 127.0.0.1:5020 diag:11"
    ))]
    Read(Read),
    /// Write values to a server.
    #[command(after_help = help(
        "  wharf modbus write 192.0.2.7 holding 100 17 0x2A\n  wharf modbus write 192.0.2.7 holding 10 --type f32 --order cdab 123456.0\n  wharf modbus write 127.0.0.1:5020 coils 3 true --single\n  wharf modbus write 127.0.0.1:5020 holding 4 --mask 0xF2,0x25"
    ))]
    Write(WriteValues),
    /// Find out which units of a server answer, and who they are.
    #[command(after_help = help(
        "  wharf modbus scan 192.0.2.7\n  wharf modbus scan 127.0.0.1:5020 --units 1-16,247 --probe input:0 --timeout 200ms --json"
    ))]
    Scan(modbus::Scan),
    /// Load a server with requests, check every reply, and say how many it answers and how fast.
    #[command(after_help = help(
        "  wharf modbus bench 127.0.0.1:5020\n  wharf modbus bench 127.0.0.1:5020 --connections 8 --depth 16 --mix fc3x10,fc16x123 --duration 5s --json"
    ))]
    Bench(modbus::Bench),
    /// Act on a running server: values, units, connections, faults, events.
    #[command(after_help = help(
        "  wharf modbus control status\n  wharf modbus control get 1/holding/40 --type f32\n  wharf modbus control set temperature 21.5\n  wharf modbus control --server hall unit add 7 --size 100\n  wharf modbus control fault on slow --for 30s\n  wharf modbus control connections --json\n  wharf modbus control watch --event Connected --event Disconnected"
    ))]
    Control(control::Control),
}

/// Which running host is meant.
#[derive(Debug, Args)]
struct AdminSocket {
    /// The admin socket of the host [default: the only one in the runtime directory on which a host answers].
    #[arg(long = "admin", global = true, value_name = "SOCKET")]
    path: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Serve {
    /// A plant file, whose Modbus servers alone are run.
    #[arg(conflicts_with_all = ["units", "size"])]
    plant: Option<PathBuf>,
    /// An address to listen on, port 0 lets the system choose; may be repeated [default: 0.0.0.0:502]. With PLANT it
    /// replaces the addresses of its only server.
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Vec<SocketAddr>,
    /// Unit ids to serve.
    #[arg(long, value_name = "IDS", default_value = "1")]
    units: Units,
    /// Zeroed entries in each table of each unit.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=65536))]
    size: u32,
}

/// What `read` and `write` have in common.
#[derive(Debug, Args)]
struct Shared {
    /// The unit id.
    #[arg(long, value_name = "ID", default_value = "1")]
    unit: u8,
    /// u16, i16, u32, i32, f32, u64, i64, f64, string(N) of N registers, or bool [default: bool for bits, else u16].
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// How the bytes of a value lie in its registers.
    #[arg(long, default_value = "abcd", value_parser = order())]
    order: Order,
    /// How long to wait for the connection, and for each reply; "0" is for ever.
    #[arg(long, value_name = "SPAN", default_value = "1s")]
    timeout: Timeout,
    /// How often to try again, on a new connection, when there is none or no reply comes.
    #[arg(long, value_name = "N", default_value = "0")]
    retries: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Addresses are reference numbers: 40001 is holding 0. Without it they are zero-based.
    #[arg(long = "ref")]
    reference: bool,
}

#[derive(Debug, Args)]
struct Read {
    /// Name or address of the server; the port is 502 unless it is given.
    #[arg(value_name = "HOST[:PORT]")]
    host: Host,
    /// coils, discrete, input, holding, file:N, fifo, identity, server-id, status, diag:SUB or events.
    table: Table,
    /// Address (decimal or 0x), record of a file, pointer of a FIFO, object of the identity, or data word of diag.
    address: Option<String>,
    /// How many values, decimal or 0x.
    #[arg(value_parser = count)]
    count: Option<u32>,
    /// Read again and again, at multiples of this span, until SIGINT or SIGTERM.
    #[arg(long, value_name = "SPAN")]
    every: Option<Every>,
    /// How often to read with --every [default: without end].
    #[arg(short = 'n', value_name = "N", requires = "every", value_parser = clap::value_parser!(u64).range(1..))]
    polls: Option<u64>,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct WriteValues {
    /// Name or address of the server; the port is 502 unless it is given.
    #[arg(value_name = "HOST[:PORT]")]
    host: Host,
    /// coils or holding.
    table: Table,
    /// Address, decimal or 0x.
    address: String,
    /// The values, of the type.
    #[arg(
        value_name = "VALUE",
        allow_negative_numbers = true,
        required_unless_present = "mask",
        conflicts_with = "mask"
    )]
    values: Vec<String>,
    /// Write one by one, with functions 5 and 6.
    #[arg(long, conflicts_with = "mask")]
    single: bool,
    /// Keep the bits of AND and set those of OR elsewhere, with function 22.
    #[arg(long, value_name = "AND,OR")]
    mask: Option<Mask>,
    #[command(flatten)]
    shared: Shared,
}

/// Why a command could not do its work.
#[derive(Debug)]
enum Failure {
    /// The command line asks for what cannot be.
    Usage(String),
    /// What was asked for did not come about: how the process ends, and why.
    Ended(Status, String),
    /// Standard output cannot be written.
    Output(io::Error),
    /// The system gives this process no more.
    System(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Parses the command line of this process and carries it out.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let usual = if matches!(cli.command, Command::Run { .. }) { LevelFilter::INFO } else { LevelFilter::WARN };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(is_colourful())
        .with_target(false)
        // The subscriber would complain of a standard error that cannot be written on standard error, and panic.
        .log_internal_errors(false)
        .with_max_level(cli.log.unwrap_or(usual))
        .init();
    // Not locked: what a host listens on is told from the threads of its loops.
    let mut out = io::stdout();
    let outcome = run(cli.command, &mut out).and_then(|status| {
        out.flush()?;
        Ok(status)
    });
    let status = match outcome {
        Ok(status) => status,
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Status::Done,
        Err(Failure::Output(error)) => {
            complain(&format!("cannot write to standard output: {error}"));
            Status::Usage
        }
        Err(Failure::Ended(status, message)) => {
            complain(&message);
            status
        }
        Err(Failure::Usage(message)) => {
            complain(&message);
            Status::Usage
        }
        Err(Failure::System(message)) => {
            complain(&message);
            Status::Unreachable
        }
    };
    ExitCode::from(status as u8)
}

fn run(command: Command, out: &mut dyn Write) -> Result<Status, Failure> {
    match command {
        Command::Run { plant, threads } => Ok(plant::run(plant.as_deref(), threads)),
        Command::Check { plant, json } => plant::check(plant.as_deref(), json, out),
        Command::Status { admin, json } => status::status(&admin, json, out),
        Command::Modbus(Modbus::Serve(serve)) => plant::serve(&serve),
        Command::Modbus(Modbus::Read(read)) => modbus::read(&read, out),
        Command::Modbus(Modbus::Write(write)) => modbus::write(&write, out),
        Command::Modbus(Modbus::Scan(scan)) => modbus::scan(&scan, out),
        Command::Modbus(Modbus::Bench(bench)) => modbus::bench(&bench, out),
        Command::Modbus(Modbus::Control(control)) => control::control(&control, out),
        Command::Port(verb) => port::carry_out(&verb, out),
        Command::Completions { shell } => {
            // The generator panics where it cannot write, and a closed pipe must not do that.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wharf", &mut script);
            out.write_all(&script)?;
            Ok(Status::Done)
        }
    }
}

/// Says what went wrong on standard error; with that closed too, there is nobody left to tell.
fn complain(message: &str) {
    drop(writeln!(io::stderr(), "wharf: {message}"));
}

fn help(examples: &str) -> String {
    format!("Examples:\n{examples}\n\n{STATUSES}")
}

/// Colours are for terminals, and for people who have not asked to be spared them (<https://no-color.org>).
fn is_colourful() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:5020 or [::1]:5020".to_owned())
}

fn count(text: &str) -> Result<u32, String> {
    let count = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u32::from_str_radix(digits, 16));
    count.ok().filter(|count| (1..=65_536).contains(count)).ok_or_else(|| "expected 1..=65536".to_owned())
}

fn level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}

fn order() -> impl TypedValueParser<Value = Order> {
    PossibleValuesParser::new(Order::ALL.map(Order::name)).map(|name| {
        let named = Order::ALL.into_iter().find(|order| order.name() == name);
        named.unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
