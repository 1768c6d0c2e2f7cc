//! An echo server: every client gets back what it sends, and one that does not read is not read either.
//!
//! `cargo run --example echo -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000`. With a path it listens on a UNIX socket there.
//! Ctrl-C ends it.

#![forbid(unsafe_code)]

use std::error::Error;
use wharf_host::event_loop::{Handler, ListenOptions, Loop, Signal, Socket, UnixListenOptions};

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        // The queue is empty here, or the socket would be paused; so all bytes are taken.
        let _ = s.write(bytes);
        if s.queued() > 0 {
            let _ = s.pause();
        }
    }

    fn drained(&mut self, s: &mut Socket<'_, (), ()>) {
        let _ = s.resume();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let mut echo = Loop::new()?;
    let mut lp = echo.loop_mut();
    let key = lp.context(Echo);
    let id = if at.contains('/') {
        lp.listen_unix(&at, key, UnixListenOptions::default())?
    } else {
        lp.listen(at.parse()?, key, ListenOptions::default())?
    };
    println!("listening on {}", lp.listener(id)?.local());
    lp.on_signal(&[Signal::Interrupt, Signal::Terminate], |lp, _| lp.stop())?;
    echo.run()?;
    Ok(())
}
