//! A chat room: what one client says, line by line, all others hear.
//!
//! `cargo run --example chat -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000` in several terminals. Ctrl-C ends it.

#![forbid(unsafe_code)]

use std::error::Error;
use wharf_host::event_loop::{Closed, Handler, ListenOptions, Loop, LoopMut, Opened, Signal, Socket, SocketId};

/// Who is in the room: the value of the loop.
type Room = Vec<SocketId>;

/// The data of a client is the beginning of its present line.
struct Chat;

impl Handler<Room> for Chat {
    type Data = Vec<u8>;

    fn open(&mut self, s: &mut Socket<'_, Room, Vec<u8>>, _: Opened) {
        let id = s.id();
        let room = s.loop_mut().data();
        room.push(id);
        let greeting = format!("{} in the room\n", room.len());
        let _ = s.write(greeting.as_bytes());
    }

    fn data(&mut self, s: &mut Socket<'_, Room, Vec<u8>>, bytes: &[u8]) {
        let me = s.id();
        let (line, lp) = s.parts();
        line.extend_from_slice(bytes);
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            tell(lp, me, &line[..=end]);
            line.drain(..=end);
        }
        if line.len() > 1000 {
            s.close(1); // nobody says so much in a breath
        }
    }

    fn close(&mut self, lp: &mut LoopMut<'_, Room>, closed: Closed<Vec<u8>>) {
        lp.data().retain(|id| *id != closed.id);
    }
}

fn tell(lp: &mut LoopMut<'_, Room>, from: SocketId, line: &[u8]) {
    for id in lp.data().clone() {
        if id != from
            && let Ok(mut other) = lp.stream(id)
            && !other.write(line).is_ok_and(|taken| taken == line.len())
        {
            other.close(2); // it does not listen
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let mut chat = Loop::with_data(Room::new())?;
    let mut lp = chat.loop_mut();
    let key = lp.context(Chat);
    let id = lp.listen(addr, key, ListenOptions::default())?;
    println!("listening on {}", lp.listener(id)?.local_addr());
    lp.on_signal(&[Signal::Interrupt, Signal::Terminate], |lp, _| lp.stop())?;
    chat.run()?;
    Ok(())
}
