//! A proxy: every client is joined to a connection of its own to one server, with half-closes and back-pressure in both
//! directions.
//!
//! `cargo run --example proxy -- 127.0.0.1:7001 127.0.0.1:7000`: listens on the first, connects to the second.

#![forbid(unsafe_code)]

use std::error::Error;
use std::net::SocketAddr;
use wharf_host::event_loop::{
    Closed, ConnectFailed, ConnectOptions, ContextKey, Handler, ListenOptions, Loop, LoopMut, Opened, Signal, Socket,
    SocketId, Stream,
};

/// The value of the loop: where clients are sent.
struct Server {
    addr: SocketAddr,
    key: Option<ContextKey<Pipe>>,
}

/// One side of a pipe; its data names the other side.
struct Pipe;

type Side<'a> = Socket<'a, Server, Option<SocketId>>;

impl Handler<Server> for Pipe {
    type Data = Option<SocketId>;

    fn open(&mut self, s: &mut Side<'_>, how: Opened) {
        let me = s.id();
        if how == Opened::Accepted {
            let _ = s.pause(); // until there is somebody to give the bytes to
            let (other, lp) = s.parts();
            let Server { addr, key: Some(key) } = *lp.data() else { return };
            *other = lp.connect(addr, key, Some(me), ConnectOptions::default()).ok();
        }
        if let Some(mut client) = other(s) {
            let _ = client.resume();
        }
    }

    fn data(&mut self, s: &mut Side<'_>, bytes: &[u8]) {
        let Some(mut other) = other(s) else { return };
        // Its queue is empty, or this side would be paused; so all bytes are taken.
        let _ = other.write(bytes);
        if other.queued() > 0 {
            let _ = s.pause();
        }
    }

    fn drained(&mut self, s: &mut Side<'_>) {
        if let Some(mut other) = other(s) {
            let _ = other.resume();
        }
    }

    fn end(&mut self, s: &mut Side<'_>) {
        if let Some(mut other) = other(s) {
            let _ = other.shutdown();
        }
    }

    fn close(&mut self, lp: &mut LoopMut<'_, Server>, closed: Closed<Option<SocketId>>) {
        part_from(lp, closed.data);
    }

    fn connect_error(&mut self, lp: &mut LoopMut<'_, Server>, failed: ConnectFailed<Option<SocketId>>) {
        eprintln!("{}", failed.error);
        part_from(lp, failed.data);
    }
}

fn other<'a>(s: &'a mut Side<'_>) -> Option<Stream<'a, Server>> {
    let (other, lp) = s.parts();
    lp.stream((*other)?).ok()
}

/// The side that is left ends when it has sent what it has.
fn part_from(lp: &mut LoopMut<'_, Server>, other: Option<SocketId>) {
    if let Some(id) = other
        && let Ok(mut other) = lp.stream(id)
        && other.finish().is_err()
    {
        let _ = other.cancel(); // it is still connecting
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else { return Err("usage: proxy LISTEN SERVER".into()) };
    let mut proxy = Loop::with_data(Server { addr: to.parse()?, key: None })?;
    let mut lp = proxy.loop_mut();
    let key = lp.context(Pipe);
    lp.data().key = Some(key);
    let id = lp.listen(from.parse()?, key, ListenOptions::default())?;
    println!("listening on {}", lp.listener(id)?.local_addr());
    lp.on_signal(&[Signal::Interrupt, Signal::Terminate], |lp, _| lp.stop())?;
    proxy.run()?;
    Ok(())
}
