//! What can be asked of a running server from outside: its status and its metrics.

use super::handle::Handle;
use super::running::Running;
use crate::admin::exposition::Exposition;
use crate::admin::registry::Registry;
use serde_json::{Map, Value};

/// The system of the entries.
const SYSTEM: &str = "modbus";

/// Gives a server that is yet to be opened its place among the entries.
pub fn announce(registry: &Registry, name: &str) {
    let _ = registry.entry(SYSTEM, name);
}

/// Registers a server.
pub fn register(registry: &Registry, handle: &Handle) {
    let (telling, counting) = (handle.clone(), handle.clone());
    registry
        .entry(SYSTEM, handle.name())
        .status(move |answer| {
            let addresses: Vec<Value> =
                telling.local_addrs().iter().map(|address| address.to_string().into()).collect();
            // A call that is refused is dropped, and the answer with it.
            let _ = telling.defer(move |server| answer.give(status(server, addresses)));
        })
        .metrics(move |answer| {
            let _ = counting.defer(move |server| {
                let mut all = Exposition::default();
                server.metrics().expose(&mut all);
                answer.give(all);
            });
        });
}

fn status(server: &mut Running<'_>, addresses: Vec<Value>) -> Map<String, Value> {
    Map::from_iter([
        ("listen".to_owned(), addresses.into()),
        ("connections".to_owned(), server.active().into()),
        ("units".to_owned(), server.units().into()),
        ("metrics".to_owned(), server.metrics().to_json().into()),
    ])
}
