//! Listeners, and who may come in.

use crate::harness::{bench, quiet};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{Error, Handler, ListenOptions, Loop, Opened, PreOpen, RawSocket, Socket};

#[test]
fn a_listener_pauses_by_hand_and_at_max_sockets() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let options = ListenOptions { max_sockets: Some(1), ..ListenOptions::default() };
    let id = bench.lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, options).unwrap();
    let mut set = bench.lp.loop_mut();
    let mut listener = set.listener(id).unwrap();
    let addr = listener.local_addr();
    listener.pause();
    let clients = [TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap()];
    bench.lp.turn(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(bench.lp.loop_mut().stats().accepted, 0);
    bench.lp.loop_mut().listener(id).unwrap().resume();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(bench.lp.loop_mut().stats().accepted, 1);
    assert_eq!(bench.lp.loop_mut().listener(id).unwrap().sockets(), 1);
    let [first, second] = clients;
    drop(first);
    assert!(bench.lp.run_until(|lp| lp.stats().accepted == 2).unwrap());
    drop(second);
    bench.lp.loop_mut().listener(id).unwrap().close();
    bench.run_to_closed(2);
    assert!(matches!(bench.lp.loop_mut().listener(id), Err(Error::Stale)));
    assert!(TcpStream::connect(addr).is_err());
}

/// Rejects the first connection and takes the second out.
#[derive(Default)]
struct Doorman {
    seen: u32,
    taken: Rc<RefCell<Vec<std::os::fd::OwnedFd>>>,
}

impl Handler for Doorman {
    type Data = ();

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        self.seen += 1;
        assert!(raw.peer_addr().ip().is_loopback() && raw.as_fd().is_some());
        raw.set_buffers(Some(65_536), None).unwrap();
        if self.seen == 1 {
            return PreOpen::Reject;
        }
        self.taken.borrow_mut().push(raw.take().unwrap());
        assert!(raw.take().is_none() && raw.as_fd().is_none());
        PreOpen::Take
    }

    fn open(&mut self, _: &mut Socket<'_, (), ()>, _: Opened) {
        panic!("nothing is kept");
    }
}

#[test]
fn pre_open_rejects_and_takes() {
    let mut lp = Loop::new().unwrap();
    let doorman = Doorman::default();
    let taken = Rc::clone(&doorman.taken);
    let mut set = lp.loop_mut();
    let key = set.context(doorman);
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    let (mut first, mut second) = (TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap());
    assert!(lp.run_until(|lp| (lp.stats().refused, lp.stats().taken) == (1, 1)).unwrap());
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
    let mut out = TcpStream::from(taken.borrow_mut().pop().unwrap());
    out.set_nonblocking(false).unwrap();
    second.write_all(b"x").unwrap();
    assert_eq!(out.read(&mut [0; 1]).unwrap(), 1);
}
