//! A Modbus server inside of a program: described in code, changed while it runs.
//!
//! `cargo run --example modbus_server`, and in another terminal, with the port that it prints:
//! `wharf modbus read 127.0.0.1:PORT input 0 --every 1s`

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::{Duration, Instant};
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::services::modbus::Server;

fn main() -> Result<(), Box<dyn Error>> {
    let described = Described {
        listen: vec!["127.0.0.1:0".parse()?],
        units: vec![Unit::with_size(1, 100)],
        ..Described::new("example")
    };
    // The server has a thread of its own; what reaches it can be cloned and sent to any other.
    let server = Server::spawn(described)?;
    let events = server.subscribe(1024);
    println!("listening on {}", server.local_addrs()[0]);

    // Once a second the first input register counts, until a client writes 1 to the first coil.
    let mut next = Instant::now();
    for seconds in 0_u16.. {
        let switched = server.with_unit(1, move |unit| {
            unit.device.input.set_register(0, seconds);
            unit.device.coils.bit(0) == Some(true)
        })?;
        if switched != Some(false) {
            break;
        }
        next += Duration::from_secs(1);
        while let Some(event) = events.next_within(next.saturating_duration_since(Instant::now())) {
            println!("{event}");
        }
    }
    server.stop()?;
    while let Some(event) = events.try_next() {
        println!("{event}");
    }
    Ok(())
}
