//! What can be asked of a running server, and done to it, from outside: its status, its metrics, and the verbs of
//! `wharf modbus control`.
//!
//! Everything acts on the running server, on its own loop, and answers from there. A verb reads all of its arguments
//! before it does anything, so a wrong one changes nothing.

mod describe;
mod values;
mod watch;

use super::device::unit;
use super::handle::Handle;
use super::running::Running;
use crate::admin::answer::{Call, Outcome, Refusal};
use crate::admin::arguments::Arguments;
use crate::admin::exposition::Exposition;
use crate::admin::registry::Registry;
use crate::config::modbus::{UNCONFIGURED, Unit};

use serde_json::{Map, Value, json};
use std::time::Duration;
use values::Place;

/// The system of the entries.
const SYSTEM: &str = "modbus";
/// The most connections in one reply: more would hold up the loop.
const PAGE: usize = 250;

/// A verb that the loop of the server carries out.
type Act = fn(&mut Running<'_>, Arguments) -> Outcome;

const VERBS: [(&str, Act); 13] = [
    ("status", |server, arguments| arguments.end().map(|()| status(server).into())),
    ("units", units),
    ("points", |server, arguments| arguments.end().map(|()| server.points().into())),
    ("connections", connections),
    ("close", close),
    ("get", get),
    ("set", set),
    ("reset", reset),
    ("unit.add", add_unit),
    ("unit.remove", remove_unit),
    ("fault.list", faults),
    ("fault.on", fault_on),
    ("fault.off", fault_off),
];

/// Gives a server that is yet to be opened its place among the entries.
pub fn announce(registry: &Registry, name: &str) {
    let _ = registry.entry(SYSTEM, name);
}

/// Registers a server.
pub fn register(registry: &Registry, handle: &Handle) {
    let (telling, counting, watched) = (handle.clone(), handle.clone(), handle.clone());
    let entry = registry
        .entry(SYSTEM, handle.name())
        .status(move |answer| {
            // A call that is refused is dropped, and the answer with it.
            let _ = telling.defer(move |server| answer.give(status(server)));
        })
        .metrics(move |answer| {
            let _ = counting.defer(move |server| {
                let mut all = Exposition::default();
                server.metrics().expose(&mut all);
                answer.give(all);
            });
        })
        .verb("watch", move |call| watch::watch(&watched, call));
    VERBS.into_iter().fold(entry, |entry, (verb, act)| {
        let handle = handle.clone();
        entry.verb(verb, move |Call { arguments, reply }| {
            let _ = handle.defer(move |server| reply.send(&act(server, Arguments(arguments))));
        })
    });
}

fn status(server: &mut Running<'_>) -> Map<String, Value> {
    let addresses: Vec<Value> = server.local_addrs().iter().map(|address| address.to_string().into()).collect();
    Map::from_iter([
        ("listen".to_owned(), addresses.into()),
        ("connections".to_owned(), server.active().into()),
        ("units".to_owned(), server.units().into()),
        ("metrics".to_owned(), server.metrics().to_json().into()),
    ])
}

fn units(server: &mut Running<'_>, arguments: Arguments) -> Outcome {
    arguments.end()?;
    let ids = server.units();
    let unit = |id: &u8| server.with_unit(*id, |unit| json!({ "unit": unit.id, "enabled": unit.enabled }));
    Ok(ids.iter().filter_map(unit).collect())
}

/// Those behind `after`, in order of their ids; what is left is asked for behind the last of them.
fn connections(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let after = arguments.option_number("after", u64::MAX)?.unwrap_or(0);
    arguments.end()?;
    let found = server.connections_behind(after, PAGE + 1);
    let page: Vec<_> = found.iter().take(PAGE).map(describe::connection).collect();
    Ok(json!({ "connections": page, "more": found.len() > PAGE }))
}

fn close(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let id = arguments.number("id", u64::MAX)?;
    arguments.end()?;
    if server.close(id) { Ok(Value::Null) } else { Err(Refusal::refused(format!("there is no connection {id}"))) }
}

fn get(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let place = Place::read(&mut arguments)?;
    let count = arguments.option_number("count", u64::MAX)?;
    arguments.end()?;
    values::get(server, &place, count)
}

fn set(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let place = Place::read(&mut arguments)?;
    let values = arguments.texts("values")?;
    arguments.end()?;
    values::set(server, &place, &values)
}

fn reset(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let what = arguments.option_text("target")?;
    arguments.end()?;
    values::reset(server, what.as_deref())
}

fn add_unit(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let id = arguments.unit("unit")?;
    let size = arguments.option_number("size", 65_536)?.unwrap_or(UNCONFIGURED.into());
    let replace = arguments.flag("replace")?;
    arguments.end()?;
    if size == 0 {
        return Err(Refusal::usage("`size` is 1..=65536"));
    }
    if server.units().contains(&id) && !replace {
        return Err(Refusal::refused(format!("there is a unit {id} already: ask for it to be replaced")));
    }
    let described = Unit::with_size(id, u32::try_from(size).unwrap_or(UNCONFIGURED));
    let unit = unit(&described, 0).expect("zeroed tables of this size can be built");
    Ok(json!({ "replaced": server.add_unit(unit).is_some() }))
}

fn remove_unit(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let id = arguments.unit("unit")?;
    arguments.end()?;
    match server.remove_unit(id) {
        Some(_) => Ok(Value::Null),
        None => Err(Refusal::refused(format!("there is no unit {id}"))),
    }
}

fn faults(server: &mut Running<'_>, arguments: Arguments) -> Outcome {
    arguments.end()?;
    Ok(server.faults().iter().map(describe::fault).collect())
}

/// For a while, if `for` says how long, and then off again.
fn fault_on(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let name = arguments.text("name")?;
    let span = arguments.option_span("for")?;
    arguments.end()?;
    switch(server, &name, true, span)
}

fn fault_off(server: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let name = arguments.text("name")?;
    arguments.end()?;
    switch(server, &name, false, None)
}

fn switch(server: &mut Running<'_>, name: &str, on: bool, span: Option<Duration>) -> Outcome {
    if server.fault(name, on, span) {
        Ok(Value::Null)
    } else {
        Err(Refusal::refused(format!("there is no fault {name:?}")))
    }
}
