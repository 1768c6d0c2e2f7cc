//! TLS on the loop: the same laws as on a plain socket, and a few of its own.

mod agreeing;
mod handshakes;
mod listeners;
mod traffic;

use crate::certificates::{Authority, Client, dial};
use crate::harness::{Bench, bench_on};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{
    CloseReason, Closed, Error, Handler, ListenOptions, LoopMut, LoopOptions, Socket, TlsConfig,
};

pub(super) const MUCH: usize = 4 << 20;

pub(super) type Probed<'a> = Socket<'a, (), Vec<u8>>;

pub(super) fn pattern() -> Vec<u8> {
    (0..=250).cycle().take(MUCH).collect()
}

pub(super) fn bench(config: &TlsConfig, act: impl FnMut(&str, &mut Probed<'_>, &[u8]) + 'static) -> Bench {
    // However long a machine takes that has much else to do.
    let options = LoopOptions { handshake_timeout: Duration::from_secs(600), ..LoopOptions::default() };
    bench_with(config, options, act)
}

pub(super) fn bench_with(
    config: &TlsConfig,
    options: LoopOptions,
    act: impl FnMut(&str, &mut Probed<'_>, &[u8]) + 'static,
) -> Bench {
    bench_on(options, act, |lp, key, addr| lp.listen_tls(addr, key, config, ListenOptions::default()).unwrap())
}

/// Everything up to the orderly end.
pub(super) fn read_all(client: &mut Client) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    all
}

/// Ends the client's side in the orderly way.
pub(super) fn end(client: &mut Client) {
    client.conn.send_close_notify();
    client.flush().unwrap();
}

/// Runs `f` with a client of `localhost` in another thread until the loop has seen so many closes.
pub(super) fn with_client<R: Send + 'static>(
    bench: &mut Bench,
    authority: &Authority,
    f: impl FnOnce(&mut Client) -> R + Send + 'static,
) -> R {
    let (addr, config) = (bench.addr, authority.client());
    let client = thread::spawn(move || f(&mut dial(addr, &config, "localhost")));
    bench.run_to_closed(1);
    client.join().unwrap()
}

/// Takes what there is by hand, seven bytes at a time.
pub(super) struct Reader(pub(super) Rc<RefCell<Vec<u8>>>);

impl Handler for Reader {
    type Data = ();

    fn manual_read(&self) -> bool {
        true
    }

    fn readable(&mut self, s: &mut Socket<'_, (), ()>) {
        match s.read(7) {
            Ok(bytes) => self.0.borrow_mut().extend_from_slice(&bytes),
            Err(error) => assert!(matches!(error, Error::WouldBlock), "{error}"),
        }
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<()>) {
        assert!(matches!(closed.reason, CloseReason::Peer), "{closed:?}");
    }
}
