//! Listeners, and who may come in.

use crate::harness::{bench, quiet};
use crate::scripted::Scripted;
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    AcceptFailed, Context, Error, Handler, Hook, ListenOptions, Loop, LoopMut, LoopOptions, Opened, PreOpen, RawSocket,
    Socket,
};

#[test]
fn a_listener_pauses_by_hand_and_at_max_sockets() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let options = ListenOptions { max_sockets: Some(1), ..ListenOptions::default() };
    let id = bench.lp.loop_mut().listen((wharf_tests::loopback::own(), 0).into(), key, options).unwrap();
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

#[test]
fn a_closed_listener_refuses_before_anything_else_leaves() {
    let listener = Rc::new(Cell::new(None));
    let seen = Rc::clone(&listener);
    let mut bench = bench(move |what, s, _| {
        if what == "data" {
            // The socket first, so that its end would leave first if closes had an order of their own.
            s.close(0);
            s.loop_mut().listener(seen.get().unwrap()).unwrap().close();
        }
    });
    let (key, options) = (bench.key, ListenOptions::default());
    let id = bench.lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, options).unwrap();
    listener.set(Some(id));
    let addr = bench.lp.loop_mut().listener(id).unwrap().local_addr();
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(b"x").unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        TcpStream::connect(addr).is_err()
    });
    bench.run_to_closed(1);
    assert!(client.join().unwrap());
}

#[test]
fn one_of_several_listeners_empties_its_backlog_before_it_goes() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let mut set = bench.lp.loop_mut();
    let first = set.listen("127.0.0.1:0".parse().unwrap(), key, shared).unwrap();
    let addr = set.listener(first).unwrap().local_addr();
    let second = set.listen(addr, key, shared).unwrap();
    // Neither accepts, so all wait, some with the one and some with the other.
    for id in [first, second] {
        set.listener(id).unwrap().pause();
    }
    let clients: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(addr).unwrap()).collect();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    for id in [first, second] {
        bench.lp.loop_mut().listener(id).unwrap().close();
        assert!(matches!(bench.lp.loop_mut().listener(id), Err(Error::Stale)));
    }
    // Nothing was called back by `close` itself.
    assert!(bench.log().is_empty());
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(bench.lp.loop_mut().stats().accepted, 40);
    drop(clients);
    bench.run_to_closed(40);
}

#[test]
fn an_exclusive_address_is_shared_with_nobody() {
    // Bound and not listening: what lets both be bound is that both would share.
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.set_reuse_address(true).unwrap();
    other.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = other.local_addr().unwrap().as_socket().unwrap();
    let mut bench = bench(quiet);
    let key = bench.key;
    let exclusive = ListenOptions { exclusive: true, ..ListenOptions::default() };
    let refused = bench.lp.loop_mut().listen(addr, key, exclusive).unwrap_err();
    assert_eq!(refused.to_string(), format!("listen on {addr}: address in use"));
    bench.lp.loop_mut().listen(addr, key, ListenOptions::default()).unwrap();

    let both = ListenOptions { reuse_port: true, ..exclusive };
    let refused = bench.lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, both).unwrap_err();
    assert_eq!(refused.to_string(), "listen on 127.0.0.1:0: an exclusive address cannot be shared");
}

#[test]
fn a_shared_listener_that_is_closed_as_the_loop_ends_refuses() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let mut set = bench.lp.loop_mut();
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, shared).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    set.stop();
    set.after_poll(move |lp| lp.listener(id).unwrap().close());
    bench.lp.run().unwrap();
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_client_that_goes_away_in_time_costs_no_pause_however_small_the_budget() {
    let (transient, exhausted) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let seen = (Rc::clone(&transient), Rc::clone(&exhausted));
    let count = move |_: &mut LoopMut<'_>, _, failed| {
        let counter = if matches!(failed, AcceptFailed::Transient(_)) { &seen.0 } else { &seen.1 };
        counter.set(counter.get() + 1);
    };
    let system = Scripted::default();
    let options = LoopOptions { accept_budget: 1, ..LoopOptions::default() };
    let mut lp = Loop::with_net((), options, Box::new(system.clone()));
    let key = lp.loop_mut().context(Context::builder::<(), ()>().on_accept_error(count));
    lp.loop_mut().listen("192.0.2.1:80".parse().unwrap(), key, ListenOptions::default()).unwrap();
    system.0.borrow_mut().aborting = 63;
    for _ in 0..70 {
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!((transient.get(), exhausted.get()), (63, 0));
}

#[test]
fn a_long_backlog_is_drained_within_the_budget_and_the_loop_lives_until_it_is() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    // Nobody stays, so that only what is left of the backlog keeps the loop alive.
    let key = set.context(Context::builder::<(), ()>().on_pre_open(|_| PreOpen::Reject));
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, shared).unwrap();
    set.listener(id).unwrap().pause();
    set.listener(id).unwrap().unref(true);
    let addr = set.listener(id).unwrap().local_addr();
    let clients: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let counts = Rc::clone(&seen);
    set.before_poll(move |lp| {
        if let Ok(listener) = lp.listener(id) {
            listener.close();
            assert!(matches!(lp.listener(id), Err(Error::Stale)));
        }
        Hook::Idle
    });
    set.after_poll(move |lp| counts.borrow_mut().push(lp.stats().refused));
    lp.run().unwrap();
    assert_eq!(*seen.borrow(), [64, 128, 192, 200]);
    assert!(TcpStream::connect(addr).is_err());
    drop(clients);
}

#[test]
fn a_loop_that_is_stopped_waits_for_no_backlog() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let mut set = bench.lp.loop_mut();
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, shared).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    let _clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(addr).unwrap()).collect();
    set.listener(id).unwrap().close();
    set.stop();
    bench.lp.run().unwrap();
    let stats = bench.lp.loop_mut().stats();
    assert_eq!((stats.accepted, stats.closed_ended, stats.sockets), (64, 64, 0));
    assert!(TcpStream::connect(addr).is_err());
}
