//! What can be asked of a running port, and done to it, from outside: its status, its metrics, and the verbs of `wharf port`.
//!
//! Everything acts on the running port, on its own loop, and answers from there. A verb reads all of its arguments before
//! it does anything, so a wrong one changes nothing. What differs between TCP and UDP ports is in `tcp` and `udp`.

mod metrics;
mod tcp;
mod udp;

use super::error::Error;
use super::report::Level;
use super::running::Addr;
use super::server::Server;
use super::udp::UdpServer;
use crate::admin::answer::{Call, Outcome, Refusal};
use crate::admin::arguments::Arguments;
use crate::admin::exposition::Exposition;
use crate::admin::registry::Registry;
use crate::event_loop::Handle;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::sync::Arc;

/// The system of the entries.
const SYSTEM: &str = "port";
/// The most slots in one reply: more would hold up the loop.
const PAGE: u32 = 128;

/// A port of either kind, on its loop.
trait Port {
    fn name(&self) -> &str;

    /// How many slots it has; a UDP port has none.
    fn slots(&self) -> u32;

    /// What `wharf status` shows of it.
    fn status(&self) -> Map<String, Value>;

    /// What it has counted, and what it is.
    fn metrics(&self) -> Exposition;

    /// A report with these of its slots, as a text or as an object.
    fn report(&self, level: Level, slots: Range<u32>, as_text: bool) -> Value;

    /// Closes the client of a slot.
    fn drop_client(&mut self, slot: u16) -> Result<(), Refusal>;

    fn option(&self, addr: Addr, key: &str) -> Result<String, Error>;

    fn set_option(&mut self, addr: Addr, key: &str, value: &str) -> Result<(), Error>;
}

/// What a loop is to do with its port.
type Job = Box<dyn FnOnce(&mut dyn Port) + Send>;

/// A port, reached from another thread. A loop that has ended or has too much to do drops the job, and the answer with it.
type Remote = Arc<dyn Fn(Job) + Send + Sync>;

/// A verb that the loop of the port carries out.
type Act = fn(&mut dyn Port, Arguments) -> Outcome;

const VERBS: [(&str, Act); 3] = [("report", report), ("drop", drop_client), ("set", set)];

/// Gives a port that is yet to be made its place among the entries.
pub fn announce(registry: &Registry, name: &str) {
    let _ = registry.entry(SYSTEM, name);
}

/// Registers a TCP port, which lives on the loop of this handle.
pub fn register<T: 'static>(registry: &Registry, handle: &Handle<T>, server: &Server) {
    enter(registry, server.name(), &tcp::remote(handle.clone(), server.context()));
}

/// Registers a UDP port, which lives on the loop of this handle.
pub fn register_udp<T: 'static>(registry: &Registry, handle: &Handle<T>, server: &UdpServer) {
    enter(registry, server.name(), &udp::remote(handle.clone(), server.context()));
}

fn enter(registry: &Registry, name: &str, remote: &Remote) {
    let (telling, counting) = (Arc::clone(remote), Arc::clone(remote));
    let entry = registry
        .entry(SYSTEM, name)
        .status(move |answer| telling(Box::new(move |port| answer.give(port.status()))))
        .metrics(move |answer| counting(Box::new(move |port| answer.give(port.metrics()))));
    VERBS.into_iter().fold(entry, |entry, (verb, act)| {
        let remote = Arc::clone(remote);
        entry.verb(verb, move |Call { arguments, reply }| {
            remote(Box::new(move |port| reply.send(&act(port, Arguments(arguments)))));
        })
    });
}

/// As text or as an object, with the slots from `from` on; what is left is asked for from `next` on.
fn report(port: &mut dyn Port, mut arguments: Arguments) -> Outcome {
    let level = arguments.option_number("level", 2)?.and_then(Level::new).unwrap_or_default();
    let from = slot_number(arguments.option_number("from", u16::MAX.into())?).unwrap_or(0);
    let as_text = arguments.flag("text")?;
    arguments.end()?;
    let to = from.saturating_add(PAGE);
    let next = (level >= Level::Slots && to < port.slots()).then_some(to);
    Ok(json!({ "report": port.report(level, from..to, as_text), "next": next }))
}

fn drop_client(port: &mut dyn Port, mut arguments: Arguments) -> Outcome {
    let slot = arguments.number("slot", u16::MAX.into())?;
    arguments.end()?;
    port.drop_client(u16::try_from(slot).unwrap_or(u16::MAX)).map(|()| Value::Null)
}

fn set(port: &mut dyn Port, mut arguments: Arguments) -> Outcome {
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

fn refusal(port: &dyn Port, error: &Error) -> Refusal {
    let name = port.name();
    Refusal::refused(match (error, port.slots()) {
        (Error::OutOfRange { addr, .. }, 0) => {
            format!("there is no {name}:{addr}: {name} is a UDP port, without slots")
        }
        (Error::OutOfRange { addr, .. }, slots) => {
            format!("there is no {name}:{addr}: the slots of {name} are {name}:0 to {name}:{}", slots - 1)
        }
        (error, _) => format!("{name}: {error}"),
    })
}

/// Where a port is, or why it is nowhere, for its status.
fn place(about: &super::report::About) -> (String, Value) {
    match about.local {
        Some(local) => ("listen".to_owned(), local.to_string().into()),
        None => ("down".to_owned(), about.failure.as_ref().unwrap_or(&about.address).as_str().into()),
    }
}
