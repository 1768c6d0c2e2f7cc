//! `wharf port`: a device port of its own, and verbs that act on those of a running host.

use super::admin::Client;
use super::{AdminSocket, Failure, help, plant};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::str::FromStr;
use wharf_core::port::address::Protocol;
use wharf_host::config::Plant;
use wharf_host::run::{Opening, Status};
use wharf_host::services::port::options::{Mode, OptionError, Options, STDERR};

/// Slots of a port that is not told how many.
const SLOTS: u16 = 16;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run one port until SIGINT or SIGTERM, and print where it listens once it does.
    #[command(after_help = help(
        "  wharf port serve dev 127.0.0.1:5025 --echo\n  wharf port serve bus :4000 --broker --slots 8 --allow 10.0.0.0/8\n  wharf port serve dev :5025 --log-file dev.log --eos '\\r\\n'\n  wharf port serve dev :5025 --echo --trace both:hex --set idle_any=10m --set on_full=kick_oldest"
    ))]
    Serve(Serve),
    /// Show the ports of a running host, and who is connected.
    #[command(after_help = help("  wharf port report\n  wharf port report dev -l 2\n  wharf port report dev --json"))]
    Report(Report),
    /// Close a client once what is queued for it has been sent.
    #[command(after_help = help("  wharf port drop dev:0"))]
    Drop {
        /// The slot.
        #[arg(value_name = "NAME:I")]
        child: Child,
        #[command(flatten)]
        admin: AdminSocket,
    },
    /// Set an option of a port and all its slots, or of one slot.
    #[command(after_help = help("  wharf port set dev idle_any 10m\n  wharf port set dev:0 input_eos '\\r\\n'"))]
    Set {
        /// The port, or a slot of it.
        #[arg(value_name = "NAME[:I]")]
        target: Target,
        /// The option, such as idle_any.
        key: String,
        /// Its value, as in a plant file.
        #[arg(allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        admin: AdminSocket,
    },
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// What the port is called: letters, digits, "_", "-" and ".".
    name: String,
    #[arg(
        help = "Where to listen, such as \":5025\", \"localhost:0\" or \"[::1]:7000 tcp\"; port 0 lets the system choose"
    )]
    address: String,
    #[command(flatten)]
    service: Service,
    /// How many clients there may be at a time [default: 16].
    #[arg(long, value_name = "N")]
    slots: Option<String>,
    /// What happens to a client that comes when no slot is free: close, text, hold, kick_oldest or kick_idle.
    #[arg(long, value_name = "P")]
    on_full: Option<String>,
    /// Who may connect; may be repeated [default: everybody].
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
    /// What ends a message, coming in and going out, with escapes such as \r\n and \x03.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    eos: Option<String>,
    /// Write transfers to standard error: rx, tx or both, and behind a colon how: ascii, escape or hex.
    #[arg(long, value_name = "WHAT[:HOW]")]
    trace: Option<String>,
    /// Set any other option, as in a plant file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<Setting>,
}

/// What the port does with what clients send.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Service {
    /// Send each client its own bytes.
    #[arg(long)]
    echo: bool,
    /// Send each client's bytes to all others.
    #[arg(long)]
    broker: bool,
    /// Append what clients send to this file, a line for each message.
    #[arg(long, value_name = "FILE")]
    log_file: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Report {
    /// The port [default: all].
    name: Option<String>,
    /// How much to tell: 0 is a line for each port, 1 the slots, too, 2 everything.
    #[arg(short = 'l', long, value_name = "LEVEL", default_value = "1", value_parser = clap::value_parser!(u8).range(0..=2))]
    level: u8,
    /// Print a JSON object for each port.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminSocket,
}

/// `KEY=VALUE`.
#[derive(Clone, Debug)]
struct Setting {
    key: String,
    value: String,
}

/// `NAME:I`.
#[derive(Clone, Debug)]
pub(super) struct Child {
    port: String,
    slot: u16,
}

/// `NAME` or `NAME:I`.
#[derive(Clone, Debug)]
pub(super) struct Target {
    port: String,
    slot: Option<u16>,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as idle_any=10m")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl FromStr for Child {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a port and a slot, such as dev:0".to_owned();
        match text.parse()? {
            Target { port, slot: Some(slot) } => Ok(Self { port, slot }),
            Target { slot: None, .. } => Err(expected()),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((port, slot)) = text.split_once(':') else {
            return Ok(Self { port: text.to_owned(), slot: None });
        };
        let number = Some(slot).filter(|slot| slot.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|slot| slot.parse().ok());
        let slot = number.ok_or_else(|| format!("{slot:?} is no slot: expected a number, such as dev:0"))?;
        Ok(Self { port: port.to_owned(), slot: Some(slot) })
    }
}

/// Carries out a verb.
pub(super) fn carry_out(verb: &Verb, out: &mut dyn Write) -> Result<Status, Failure> {
    match verb {
        Verb::Serve(serve) => {
            let port = serve.port().map_err(Failure::Usage)?;
            let plant = Plant { modbus: Vec::new(), ports: vec![port], ..Plant::default() };
            Ok(plant::start(&plant, "port", Opening::AtOnce))
        }
        Verb::Report(asked) => report(asked, out),
        Verb::Drop { child: Child { port, slot }, admin } => {
            Client::connect(admin)?.ask("port.drop", Some(port), &object(json!({ "slot": slot })))?;
            writeln!(out, "{port}:{slot} dropped")?;
            Ok(Status::Done)
        }
        Verb::Set { target: Target { port, slot }, key, value, admin } => {
            let arguments = object(json!({ "slot": slot, "key": key, "value": value }));
            let told = Client::connect(admin)?.ask("port.set", Some(port), &arguments)?;
            let slot = slot.map(|slot| format!(":{slot}")).unwrap_or_default();
            writeln!(out, "{port}{slot} {key} {}", told["value"].as_str().unwrap_or_default())?;
            Ok(Status::Done)
        }
    }
}

impl Serve {
    /// The port that is asked for.
    fn port(&self) -> Result<Options, String> {
        let wrong = |error: OptionError| error.to_string();
        let mut port = Options::new(&self.name, &self.address).map_err(wrong)?;
        let Service { echo, broker, log_file } = &self.service;
        port.set_mode(match (echo, broker) {
            (true, _) => Mode::Echo,
            (_, true) => Mode::Broker,
            _ => Mode::Log,
        });
        if port.address.protocol() == Protocol::Tcp {
            port.slots = SLOTS;
        }
        let allow = Some(self.allow.join(",")).filter(|allow| !allow.is_empty());
        let given = [
            ("log_file", log_file),
            ("slots", &self.slots),
            ("on_full", &self.on_full),
            ("allow", &allow),
            ("input_eos", &self.eos),
            ("output_eos", &self.eos),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                port.set(key, value).map_err(wrong)?;
            }
        }
        if let Some(trace) = &self.trace {
            // Whoever asks for it here wants to see it here.
            port.set("trace_file", STDERR).and_then(|()| port.set_trace(trace)).map_err(wrong)?;
        }
        for Setting { key, value } in &self.set {
            port.set(key, value).map_err(wrong)?;
        }
        if !port.auto_connect {
            return Err("serve opens its port by itself: auto_connect cannot be false".to_owned());
        }
        port.check().map_err(|conflict| format!("{conflict}; accepted: {}", conflict.accepted))?;
        Ok(port)
    }
}

fn report(asked: &Report, out: &mut dyn Write) -> Result<Status, Failure> {
    let mut client = Client::connect(&asked.admin)?;
    let names = match &asked.name {
        Some(name) => vec![name.clone()],
        None => names(&mut client)?,
    };
    if names.is_empty() {
        return Err(Failure::Ended(Status::Refused, "the host has no TCP port: only those have a report".to_owned()));
    }
    for name in &names {
        let mut page = |from: &Value| {
            let arguments = json!({ "level": asked.level, "text": !asked.json, "from": from });
            client.ask("port.report", Some(name), &object(arguments))
        };
        let mut told = page(&Value::Null)?;
        let mut whole = told["report"].take();
        while !told["next"].is_null() {
            if !asked.json {
                print(&whole, out)?;
            }
            told = page(&told["next"])?;
            let part = told["report"].take();
            whole = if asked.json { joined(whole, part) } else { part };
        }
        print(&whole, out)?;
    }
    Ok(Status::Done)
}

/// The ports of the host, in the order of its plant.
fn names(client: &mut Client) -> Result<Vec<String>, Failure> {
    let told = client.ask("status", None, &Map::new())?;
    let entries = told["entries"].as_array().map_or(&[][..], Vec::as_slice);
    let ports = entries.iter().filter(|entry| entry["system"] == "port");
    Ok(ports.filter_map(|entry| entry["name"].as_str()).map(str::to_owned).collect())
}

/// A report with the clients of its next page behind its own.
fn joined(mut whole: Value, mut part: Value) -> Value {
    if let (Some(clients), Some(more)) = (whole["clients"].as_array_mut(), part["clients"].as_array_mut()) {
        clients.append(more);
    }
    whole
}

/// Text ends its own lines.
fn print(told: &Value, out: &mut dyn Write) -> Result<(), Failure> {
    match told {
        Value::String(text) => out.write_all(text.as_bytes())?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            writeln!(out, "{told}")?;
        }
    }
    Ok(())
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}
