//! `wharf modbus control`: verbs that act on a running server, through the admin socket of its host.

use super::admin::Client;
use super::{AdminSocket, Failure, complain};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::Write;
use wharf_host::run::Status;

/// What acts on which running server.
#[derive(Debug, Args)]
pub(super) struct Control {
    #[command(flatten)]
    admin: AdminSocket,
    /// The server, where the host has several.
    #[arg(long, global = true, value_name = "NAME")]
    server: Option<String>,
    /// Print JSON, an object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show addresses, units and counters.
    Status,
    /// List the units.
    Units,
    /// List the points, by name.
    Points,
    /// List the connections.
    Connections,
    /// Read values, whatever clients may read.
    Get {
        /// unit/table/address such as 1/holding/40, the name of a point, or server/point.
        target: String,
        /// How many values, one behind the other.
        count: Option<u64>,
        #[command(flatten)]
        typed: Typed,
    },
    /// Write values, whatever clients may write: all of them or none.
    Set {
        /// unit/table/address such as 1/holding/40, the name of a point, or server/point.
        target: String,
        /// The values, one behind the other.
        #[arg(value_name = "VALUE", required = true, allow_negative_numbers = true)]
        values: Vec<String>,
        #[command(flatten)]
        typed: Typed,
    },
    /// Put data back to what the plant says: everything, a unit, unit/table, the block at unit/table/address, or a point.
    Reset {
        /// What to put back [default: everything].
        target: Option<String>,
    },
    /// Add or remove a unit.
    #[command(subcommand)]
    Unit(UnitVerb),
    /// List faults, or switch them on and off.
    #[command(subcommand)]
    Fault(FaultVerb),
    /// End connections at once, by a reset.
    Close {
        /// Their ids, as `connections` shows them.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<u64>,
    },
    /// Print events as they come, until the server or this command ends.
    Watch {
        /// The events to print, such as Connected or Processed; may be repeated [default: all].
        #[arg(long = "event", value_name = "NAME")]
        events: Vec<String>,
        /// End after so many.
        #[arg(short = 'n', value_name = "N")]
        count: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
enum UnitVerb {
    /// Add a unit of zeroed entries.
    Add {
        /// Its id.
        unit: u8,
        /// Entries in each table.
        #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=65536))]
        size: u32,
        /// Take the place of the unit that is there.
        #[arg(long)]
        replace: bool,
    },
    /// Remove a unit, data and all.
    Remove {
        /// Its id.
        unit: u8,
    },
}

#[derive(Debug, Subcommand)]
enum FaultVerb {
    /// List the faults with what each has done.
    List,
    /// Switch faults on, from the next request on.
    On {
        /// Their names.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Switch them off again after this time.
        #[arg(long = "for", value_name = "SPAN")]
        span: Option<String>,
    },
    /// Switch faults off.
    Off {
        /// Their names.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

/// How to take what is at an address. A point has a type of its own.
#[derive(Debug, Args)]
struct Typed {
    /// u16, i16, u32, i32, f32, u64, i64, f64, string(N) of N registers, or bool [default: bool for bits, else u16].
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// abcd, cdab, badc or dcba: how the bytes of a value lie in its registers [default: abcd].
    #[arg(long)]
    order: Option<String>,
    /// The bit of a register, 0 to 15, for a bool there.
    #[arg(long, value_name = "BIT", value_parser = clap::value_parser!(u8).range(0..=15))]
    bit: Option<u8>,
}

/// Carries out `wharf modbus control`.
pub(super) fn control(control: &Control, out: &mut dyn Write) -> Result<Status, Failure> {
    let mut server = Server { client: Client::connect(&control.admin)?, name: control.server.clone() };
    match &control.verb {
        Verb::Status => {
            let told = server.ask("status", json!({}))?;
            if control.json {
                writeln!(out, "{told}")?;
            } else {
                out.write_all(flat("", &told).as_bytes())?;
            }
        }
        Verb::Units => list(&server.ask("units", json!({}))?, control.json, out)?,
        Verb::Points => {
            for name in elements(&server.ask("points", json!({}))?) {
                writeln!(out, "{}", if control.json { json!({ "point": name }).to_string() } else { plain(name) })?;
            }
        }
        Verb::Connections => connections(&mut server, control.json, out)?,
        Verb::Get { target, count, typed } => {
            let target = server.of_point(target);
            let told = server.ask("get", typed.arguments(&target, json!({ "count": count })))?;
            values(&target, &told, control.json, out)?;
        }
        Verb::Set { target, values: new, typed } => {
            let target = server.of_point(target);
            let told = server.ask("set", typed.arguments(&target, json!({ "values": new })))?;
            values(&target, &told, control.json, out)?;
        }
        Verb::Reset { target } => {
            let target = target.as_deref().map(|target| server.of_point(target));
            let told = server.ask("reset", json!({ "target": target }))?;
            done(&told, &format!("{} entries reset", told["entries"]), control.json, out)?;
        }
        Verb::Unit(UnitVerb::Add { unit, size, replace }) => {
            let told = server.ask("unit.add", json!({ "unit": unit, "size": size, "replace": replace }))?;
            let what = if told["replaced"] == true { "replaced" } else { "added" };
            done(&told, &format!("unit {unit} {what}"), control.json, out)?;
        }
        Verb::Unit(UnitVerb::Remove { unit }) => {
            server.ask("unit.remove", json!({ "unit": unit }))?;
            done(&json!({ "unit": unit }), &format!("unit {unit} removed"), control.json, out)?;
        }
        Verb::Fault(FaultVerb::List) => list(&server.ask("fault.list", json!({}))?, control.json, out)?,
        Verb::Fault(FaultVerb::On { names, span }) => {
            for name in names {
                server.ask("fault.on", json!({ "name": name, "for": span }))?;
                done(&json!({ "fault": name, "enabled": true }), &format!("fault {name} on"), control.json, out)?;
            }
        }
        Verb::Fault(FaultVerb::Off { names }) => {
            for name in names {
                server.ask("fault.off", json!({ "name": name }))?;
                done(&json!({ "fault": name, "enabled": false }), &format!("fault {name} off"), control.json, out)?;
            }
        }
        Verb::Close { ids } => {
            for id in ids {
                server.ask("close", json!({ "id": id }))?;
                done(&json!({ "id": id }), &format!("connection {id} closed"), control.json, out)?;
            }
        }
        Verb::Watch { events, count } => watch(&mut server, events, *count, control.json, out)?,
    }
    Ok(Status::Done)
}

/// The server that is meant, behind its host.
struct Server {
    client: Client,
    name: Option<String>,
}

impl Server {
    fn ask(&mut self, verb: &str, arguments: Value) -> Result<Value, Failure> {
        self.client.ask(&format!("modbus.{verb}"), self.name.as_deref(), &object(arguments))
    }

    /// The target on the server; `server/point` also says which server that is.
    fn of_point(&mut self, target: &str) -> String {
        match target.split_once('/') {
            Some((name, point)) if self.name.is_none() && !point.contains('/') && name.parse::<u8>().is_err() => {
                self.name = Some(name.to_owned());
                point.to_owned()
            }
            Some(_) | None => target.to_owned(),
        }
    }
}

impl Typed {
    fn arguments(&self, target: &str, more: Value) -> Value {
        let mut all = object(json!({ "target": target, "type": self.kind, "order": self.order, "bit": self.bit }));
        all.extend(object(more));
        Value::Object(all)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// One value a line, behind where it is.
fn values(target: &str, told: &Value, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if as_json {
        return Ok(writeln!(out, "{told}")?);
    }
    let (mut address, step) = (told["address"].as_u64().unwrap_or(0), told["step"].as_u64().unwrap_or(1));
    for value in elements(&told["values"]) {
        let at = match told.get("point") {
            Some(_) => target.to_owned(),
            None => format!("{}/{}/{address}", plain(&told["unit"]), plain(&told["table"])),
        };
        writeln!(out, "{at}  {}", plain(value))?;
        address += step;
    }
    Ok(())
}

fn connections(server: &mut Server, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let mut after = Value::Null;
    loop {
        let told = server.ask("connections", json!({ "after": after }))?;
        list(&told["connections"], as_json, out)?;
        let last = elements(&told["connections"]).last();
        match last.filter(|_| told["more"] == true) {
            Some(last) => after = last["id"].clone(),
            None => return Ok(()),
        }
    }
}

/// A line for each element.
fn list(told: &Value, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    for element in elements(told) {
        if as_json {
            writeln!(out, "{element}")?;
        } else {
            let facts: Vec<_> =
                element.as_object().into_iter().flatten().map(|(key, value)| fact(key, value)).collect();
            writeln!(out, "{}", facts.join("  "))?;
        }
    }
    Ok(())
}

fn watch(
    server: &mut Server,
    events: &[String],
    count: Option<u64>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    let arguments = if events.is_empty() { json!({}) } else { json!({ "events": events }) };
    let Server { client, name } = server;
    client.watch("modbus.watch", name.as_deref(), &object(arguments), |event, missed| {
        if missed > 0 && as_json {
            writeln!(out, "{}", json!({ "missed": missed }))?;
        } else if missed > 0 {
            complain(&format!("{missed} events were missed"));
        }
        if as_json {
            writeln!(out, "{event}")?;
        } else {
            writeln!(out, "{}", plain(&event["text"]))?;
        }
        out.flush()?;
        left -= 1;
        Ok(left > 0)
    })
}

fn done(told: &Value, sentence: &str, as_json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if as_json { writeln!(out, "{told}") } else { writeln!(out, "{sentence}") }?;
    Ok(())
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Every number of an object, a line each, behind the keys that lead there.
fn flat(path: &str, value: &Value) -> String {
    let mut text = String::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if value.is_object() {
            text += &flat(&path, value);
        } else {
            writeln!(text, "{path}  {}", plain(value)).expect("a string takes whatever is written to it");
        }
    }
    text
}

fn fact(key: &str, value: &Value) -> String {
    format!("{key} {}", plain(value))
}

/// A value for people.
fn plain(value: &Value) -> String {
    super::status::plain(value)
}
