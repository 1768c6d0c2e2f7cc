//! What can be asked of a running port, and done to it, from outside: its status, its metrics, and the verbs of `wharf port`.
//!
//! Everything acts on the running port, on its own loop, and answers from there. A verb reads all of its arguments before
//! it does anything, so a wrong one changes nothing.

mod metrics;

use super::clients::Clients;
use super::error::Error;
use super::report::Level;
use super::running::{Addr, Running};
use super::server::Server;
use crate::admin::answer::{Call, Outcome, Refusal};
use crate::admin::arguments::Arguments;
use crate::admin::registry::Registry;
use crate::event_loop::{ContextKey, Handle};
use serde_json::{Map, Value, json};
use std::rc::Rc;

/// The system of the entries.
const SYSTEM: &str = "port";
/// The most slots in one reply: more would hold up the loop.
const PAGE: u32 = 128;

/// A verb that the loop of the port carries out.
type Act = fn(&mut Running<'_>, Arguments) -> Outcome;

const VERBS: [(&str, Act); 3] = [("report", report), ("drop", drop_client), ("set", set)];

/// Gives a port that is yet to be made its place among the entries.
pub fn announce(registry: &Registry, name: &str) {
    let _ = registry.entry(SYSTEM, name);
}

/// Registers a port, which lives on the loop of this handle.
pub fn register<T: 'static>(registry: &Registry, handle: &Handle<T>, server: &Server) {
    let remote = Remote { handle: handle.clone(), key: server.context() };
    let (telling, counting) = (remote.clone(), remote.clone());
    let entry = registry
        .entry(SYSTEM, server.name())
        // A call that is refused is dropped, and the answer with it.
        .status(move |answer| telling.defer(move |port| answer.give(status(port))))
        .metrics(move |answer| counting.defer(move |port| answer.give(metrics::of(port))));
    VERBS.into_iter().fold(entry, |entry, (verb, act)| {
        let remote = remote.clone();
        entry.verb(verb, move |Call { arguments, reply }| {
            remote.defer(move |port| reply.send(&act(port, Arguments(arguments))));
        })
    });
}

/// A port on its loop, reached from another thread.
struct Remote<T: 'static> {
    handle: Handle<T>,
    key: ContextKey<Clients>,
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), key: self.key }
    }
}

impl<T> Remote<T> {
    /// Has the loop call `f`, unless it has ended or has too much to do: then `f` is dropped.
    fn defer(&self, f: impl FnOnce(&mut Running<'_>) + Send + 'static) {
        let key = self.key;
        let _ = self.handle.defer(move |lp| {
            let site = lp.handler(key).map(|clients| Rc::clone(&clients.site));
            let site = site.expect("a deferred call runs on its own loop, and inside no callback");
            site.with(lp, f);
        });
    }
}

fn status(port: &mut Running<'_>) -> Map<String, Value> {
    let report = port.report_of(Level::Line, 0..0);
    let mut all = Map::new();
    match report.local {
        Some(local) => all.insert("listen".to_owned(), local.to_string().into()),
        None => all.insert("down".to_owned(), report.failure.unwrap_or(report.address).into()),
    };
    all.insert("clients".to_owned(), format!("{} of {}", report.taken, report.slots).into());
    all
}

/// As text or as an object, with the slots from `from` on; what is left is asked for from `next` on.
fn report(port: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let level = arguments.option_number("level", 2)?.and_then(Level::new).unwrap_or_default();
    let from = slot_number(arguments.option_number("from", u16::MAX.into())?).unwrap_or(0);
    let as_text = arguments.flag("text")?;
    arguments.end()?;
    let to = from.saturating_add(PAGE);
    let report = port.report_of(level, from..to);
    let next = (level >= Level::Slots && to < port.slots()).then_some(to);
    let told = match as_text {
        true if from == 0 => Value::String(report.to_string()),
        true => Value::String(report.seats_to_string()),
        false => report.to_json().into(),
    };
    Ok(json!({ "report": told, "next": next }))
}

fn drop_client(port: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let slot = arguments.number("slot", u16::MAX.into())?;
    arguments.end()?;
    let slot = u16::try_from(slot).unwrap_or(u16::MAX);
    match port.drop_client(Addr::Slot(slot)) {
        Ok(true) => Ok(Value::Null),
        Ok(false) => Err(Refusal::refused(format!("nobody is connected to {}:{slot}", port.name()))),
        Err(error) => Err(refusal(port, &error)),
    }
}

fn set(port: &mut Running<'_>, mut arguments: Arguments) -> Outcome {
    let slot = arguments.option_number("slot", u16::MAX.into())?;
    let (key, value) = (arguments.text("key")?, arguments.text("value")?);
    arguments.end()?;
    let addr = slot_number(slot).and_then(|slot| u16::try_from(slot).ok()).map_or(Addr::Port, Addr::Slot);
    port.set_option(addr, &key, &value).map_err(|error| refusal(port, &error))?;
    // What is set may be written in another way: "1000ms" is "1s".
    port.option(addr, &key).map(|value| json!({ "value": value })).map_err(|error| refusal(port, &error))
}

fn slot_number(number: Option<u64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn refusal(port: &Running<'_>, error: &Error) -> Refusal {
    let name = port.name();
    Refusal::refused(if let Error::OutOfRange { addr, slots } = error {
        format!("there is no {name}:{addr}: the slots of {name} are {name}:0 to {name}:{}", slots.saturating_sub(1))
    } else {
        format!("{name}: {error}")
    })
}
