//! Connections, faults and events as JSON.

use crate::services::modbus::FaultReport;
use crate::services::modbus::event::{Event, Statistics};
use crate::services::modbus::running::ConnectionReport;
use serde_json::{Map, Value, json};
use std::time::SystemTime;
use wharf_core::modbus::server::{Outcome, Processed};
use wharf_core::modbus::units::{Cause, Change, Place};

/// A connection at one moment.
pub(super) fn connection(report: &ConnectionReport) -> Value {
    let mut object = Map::from_iter([
        ("id".to_owned(), json!(report.id)),
        ("peer".to_owned(), json!(report.peer.to_string())),
        ("local".to_owned(), json!(report.local.map(|local| local.to_string()))),
        ("state".to_owned(), json!(report.state.name())),
        ("outstanding".to_owned(), json!(report.outstanding)),
    ]);
    object.extend(statistics(&report.statistics));
    Value::Object(object)
}

/// A fault at one moment.
pub(super) fn fault(report: &FaultReport) -> Value {
    json!({
        "name": *report.name,
        "kind": report.fault.kind.name(),
        "enabled": report.enabled,
        "until": report.until.map(seconds),
        "checked": report.checked,
        "matched": report.matched,
        "applied": report.applied,
        "suppressed": report.suppressed,
        "bytes": report.bytes,
        "last": report.last.map(seconds),
    })
}

/// Since the beginning of 1970.
fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn statistics(statistics: &Statistics) -> Map<String, Value> {
    Map::from_iter([
        ("connected_at".to_owned(), json!(seconds(statistics.connected_at))),
        ("last_request_at".to_owned(), json!(statistics.last_request_at.map(seconds))),
        ("units".to_owned(), statistics.units.iter().map(|unit| json!(unit)).collect()),
        ("requests".to_owned(), json!(statistics.requests)),
        ("ok".to_owned(), json!(statistics.ok)),
        ("exceptions".to_owned(), json!(statistics.exceptions)),
        ("unanswered".to_owned(), json!(statistics.unanswered)),
        ("discards".to_owned(), json!(statistics.discards)),
        ("faults".to_owned(), json!(statistics.faults)),
        ("bytes_in".to_owned(), json!(statistics.bytes_in)),
        ("bytes_out".to_owned(), json!(statistics.bytes_out)),
    ])
}

/// The names of all events.
pub(super) const EVENTS: [&str; 12] = [
    "Started",
    "Connected",
    "Disconnected",
    "Rejected",
    "Processed",
    "Discarded",
    "Changed",
    "Fault",
    "Error",
    "UnitAdded",
    "UnitRemoved",
    "Stopped",
];

/// The name of an event, one of [`EVENTS`].
pub(super) const fn name(event: &Event) -> &'static str {
    match event {
        Event::Started { .. } => "Started",
        Event::Connected { .. } => "Connected",
        Event::Disconnected { .. } => "Disconnected",
        Event::Rejected { .. } => "Rejected",
        Event::Processed { .. } => "Processed",
        Event::Discarded { .. } => "Discarded",
        Event::Changed(_) => "Changed",
        Event::Fault { .. } => "Fault",
        Event::Error { .. } => "Error",
        Event::UnitAdded { .. } => "UnitAdded",
        Event::UnitRemoved { .. } => "UnitRemoved",
        Event::Stopped { .. } => "Stopped",
    }
}

/// An event: its name, its sentence, and its facts.
pub(super) fn event(event: &Event) -> Value {
    let mut object = json!({ "event": name(event), "text": event.to_string() });
    if let (Value::Object(object), Value::Object(facts)) = (&mut object, facts(event)) {
        object.extend(facts);
    }
    object
}

fn facts(event: &Event) -> Value {
    match event {
        Event::Started { address } => json!({ "address": address.to_string() }),
        Event::Connected { id, peer, local } => {
            json!({ "id": id, "peer": peer.to_string(), "local": local.map(|local| local.to_string()) })
        }
        Event::Disconnected { id, peer, reason, statistics: counted } => {
            let mut object = statistics(counted);
            object.insert("id".to_owned(), json!(id));
            object.insert("peer".to_owned(), json!(peer.to_string()));
            object.insert("reason".to_owned(), json!(reason.name()));
            Value::Object(object)
        }
        Event::Rejected { peer, reason } => json!({ "peer": peer.to_string(), "reason": reason.name() }),
        Event::Processed { id, request } => processed(*id, request),
        Event::Discarded { id, reason } => json!({ "id": id, "reason": reason.name() }),
        Event::Changed(change) => changed(change),
        Event::Fault { id, fault, request } => {
            json!({ "id": id, "fault": **fault, "unit": request.map(|(unit, _)| unit), "function": request.map(|(_, code)| code) })
        }
        Event::Error { operation, message } => json!({ "operation": operation.name(), "message": message }),
        Event::UnitAdded { unit, replaced } => json!({ "unit": unit, "replaced": replaced }),
        Event::UnitRemoved { unit } => json!({ "unit": unit }),
        Event::Stopped { graceful, cut } => json!({ "graceful": graceful, "cut": cut }),
    }
}

fn changed(change: &Change) -> Value {
    let file = if let Place::File(number) = change.place { Some(number) } else { None };
    let table = if let Place::Table(table) = change.place { Some(table.name()) } else { None };
    json!({
        "unit": change.unit.map_or_else(|| json!("default"), |unit| json!(unit)),
        "table": table,
        "file": file,
        "start": change.start,
        "len": change.len,
        "changed": change.changed,
        "cause": change.cause.name(),
        "id": if let Cause::Client(id) = change.cause { Some(id) } else { None },
    })
}

fn processed(id: u64, request: &Processed) -> Value {
    let (outcome, code) = match request.outcome {
        Outcome::Ok => ("ok", None),
        Outcome::Exception(exception) => ("exception", Some(exception.code())),
        Outcome::None => ("none", None),
    };
    json!({
        "id": id,
        "unit": request.unit,
        "function": request.function,
        "start": request.span.map(|span| span.start),
        "quantity": request.span.map(|span| span.quantity),
        "outcome": outcome,
        "code": code,
        "latency_us": request.micros,
        "bytes_in": request.bytes_in,
        "bytes_out": request.bytes_out,
        "faults": request.faults,
    })
}
