//! Who may do what: engineers everything, everybody else reads tables and writes a few setpoints.
//!
//! `cargo run --example modbus_authorisation`. Described in docs/modbus-handlers.md.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::services::modbus::{AccessRequest, Area, Event, Server, TableKind};

fn main() -> Result<(), Box<dyn Error>> {
    let described = Described {
        listen: vec!["127.0.0.1:0".parse()?],
        units: vec![Unit::with_size(1, 100)],
        ..Described::new("example")
    };
    // Nobody is let in before the hook is there.
    let server = Server::spawn_with(described, |server| server.set_authorisation(permits))?;
    let events = server.subscribe(1024);

    println!("listening on {}", server.local_addrs()[0]);
    // It serves until its first client has gone.
    while let Some(event) = events.next_within(Duration::from_secs(60)) {
        println!("{event}");
        if matches!(event, Event::Disconnected { .. }) {
            break;
        }
    }
    Ok(server.stop()?)
}

/// The setpoints are holding registers 0 to 9 of unit 1.
fn permits(request: &AccessRequest<'_>) -> bool {
    let setpoints = Area::Table(TableKind::Holding);
    match (request.role, request.function()) {
        (Some("engineer"), _) | (_, 1..=4) => true,
        (_, 6 | 16) => {
            request.unit == Some(1)
                && request.accesses().all(|access| access.area == setpoints && access.span.end() <= 10)
        }
        _ => false,
    }
}
