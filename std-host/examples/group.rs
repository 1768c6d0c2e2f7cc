//! An echo server on two threads: every client is told which loop it is on, then gets back what it sends.
//!
//! `cargo run --example group -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000`, twice. Ctrl-C ends it.

#![forbid(unsafe_code)]

use std::error::Error;
use wharf_host::event_loop::{Group, GroupListener, Handler, ListenOptions, Opened, Signal, Socket, Spread};

/// Nothing is shared: each loop has a handler of its own.
struct Echo {
    index: usize,
}

impl Handler for Echo {
    type Data = ();

    fn open(&mut self, s: &mut Socket<'_, (), ()>, _: Opened) {
        let _ = s.write(format!("loop {}\n", self.index).as_bytes());
    }

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        if s.write(bytes).is_ok_and(|taken| taken < bytes.len()) {
            s.close(1); // a client that sends and never reads
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    // Strictly in turn, to show it; `Spread::default()` leaves it to the system where the system can.
    let listener = GroupListener::new(addr, ListenOptions::default(), Spread::InTurn);
    let everywhere = listener.clone();
    let group = Group::start(2, move |index, lp| {
        let key = lp.context(Echo { index });
        everywhere.listen(lp, key)?;
        if index == 0 {
            // One loop is enough to hear the signals: when it stops, all do.
            lp.on_signal(&[Signal::Interrupt, Signal::Terminate], |lp, _| lp.stop())?;
        }
        Ok(())
    })?;
    println!("listening on {}", listener.local_addr());
    let stats = group.join()?;
    println!("{} clients", stats.accepted);
    Ok(())
}
