//! Function codes of one's own: one that is answered at once, and one that is answered later by another thread.
//!
//! `cargo run --example modbus_handler`. Described in docs/modbus-handlers.md.

#![forbid(unsafe_code)]

use std::error::Error;
use std::thread;
use std::time::Duration;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::services::modbus::{Answer, Call, Device, Event, Function, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let described = Described {
        listen: vec!["127.0.0.1:0".parse()?],
        units: vec![Unit::with_size(1, 100)],
        ..Described::new("example")
    };
    let server = Server::spawn(described)?;
    let events = server.subscribe(1024);

    // Function 100 adds up holding registers: first address, count.
    let sum = Function::handler(|call: &Call<'_>, device: &mut Device| {
        let &[first, count] = call.data else { return Answer::Exception(3) };
        let mut sum = 0_u32;
        for address in u16::from(first)..u16::from(first) + u16::from(count) {
            let Some(value) = device.holding.register(address) else { return Answer::Exception(2) };
            sum += u32::from(value);
        }
        Answer::Reply(sum.to_be_bytes().to_vec())
    });
    server.set_function(1, 100, sum)??;

    // Function 101 asks a machine that takes its time.
    let slow = Function::handler(move |call: &Call<'_>, _: &mut Device| {
        let (answer, answerer) = call.later();
        let data = call.data.to_vec();
        thread::spawn(move || match ask_the_machine(&data) {
            Some(reply) => answerer.reply(reply),
            None => answerer.exception(4),
        });
        answer
    });
    server.set_function(1, 101, slow)??;

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

/// Gives back what it is asked, in reverse; it cannot do anything with nothing.
fn ask_the_machine(question: &[u8]) -> Option<Vec<u8>> {
    thread::sleep(Duration::from_millis(50));
    (!question.is_empty()).then(|| question.iter().rev().copied().collect())
}
