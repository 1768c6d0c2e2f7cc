//! An HTTP server with one answer, whatever it is asked. Requests may be pipelined.
//!
//! `cargo run --example http -- 127.0.0.1:7000`, then `curl http://127.0.0.1:7000/`. Ctrl-C ends it.

#![forbid(unsafe_code)]

use std::error::Error;
use wharf_host::event_loop::{Handler, ListenOptions, Loop, Signal, Socket};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
/// What a request without a body ends with.
const END: &[u8] = b"\r\n\r\n";

/// The data of a client is how much of [`END`] has been seen.
struct Http;

impl Handler for Http {
    type Data = usize;

    fn data(&mut self, s: &mut Socket<'_, (), usize>, bytes: &[u8]) {
        // Answers to pipelined requests leave together, at the end of the callback.
        let _ = s.cork();
        for byte in bytes {
            let seen = s.data();
            *seen = if *byte == END[*seen] { *seen + 1 } else { usize::from(*byte == END[0]) };
            if *seen == END.len() {
                *seen = 0;
                if s.write(ANSWER).is_ok_and(|taken| taken < ANSWER.len()) {
                    return s.close(1); // it asks and does not listen
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let mut http = Loop::new()?;
    let mut lp = http.loop_mut();
    let key = lp.context(Http);
    let id = lp.listen(addr, key, ListenOptions::default())?;
    println!("listening on {}", lp.listener(id)?.local_addr());
    lp.on_signal(&[Signal::Interrupt, Signal::Terminate], |lp, _| lp.stop())?;
    http.run()?;
    Ok(())
}
