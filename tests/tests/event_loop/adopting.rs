//! Streams that leave a loop and come back to it or to another one.

use crate::harness::{Bench, Log, Probe, any, bench, echo, quiet, roomy_bench};
use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    ConnectOptions, ContextKey, Detached, Error, GroupListener, Handle, Handler, ListenOptions, LoopOptions, Opened,
    PreOpen, RawSocket, Socket, SocketId, Spread,
};
use wharf_tests::sim_net::{Ended, Peer, Sim};

/// A second loop with a context of its own, and what is said there.
fn add_loop(
    bench: &mut Bench,
    act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static,
) -> (Handle, ContextKey<Probe>, Log) {
    let (number, log) = (bench.sim.add_loop((), LoopOptions::default()), Log::default());
    let mut lp = bench.sim.lp(number);
    let key = lp.context(Probe::new(&log, act));
    (lp.handle(), key, log)
}

/// The only socket of a bench.
fn only(bench: &mut Bench) -> SocketId {
    let key = bench.key;
    let lp = bench.lp();
    let mut ids = lp.sockets(key);
    let id = ids.next().expect("there is a socket");
    assert!(ids.next().is_none());
    id
}

/// Adopts a stream elsewhere, with what was queued as the data.
fn send_over(detached: Detached, (to, key): (&Handle, ContextKey<Probe>)) {
    let Detached { stream, unread, unsent, .. } = detached;
    assert!(unread.is_empty(), "it is left with the system");
    to.defer(move |lp| assert!(lp.adopt(stream, key, unsent).is_ok())).unwrap();
}

fn pauses(what: &str, s: &mut Socket<'_, (), Vec<u8>>, _: &[u8]) {
    if what == "open" {
        s.pause().unwrap();
    }
}

/// A paused socket that has this waiting for it, and the peer.
fn paused_with(bytes: &[u8]) -> (Bench, SocketId, Peer) {
    let mut bench = bench(pauses);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    assert_eq!(peer.send(bytes), bytes.len());
    bench.sim.run_until_idle();
    let id = only(&mut bench);
    (bench, id, peer)
}

#[test]
fn a_detached_socket_goes_on_in_another_loop_with_its_unread_bytes_and_its_queue() {
    let mut bench = roomy_bench(10, pauses);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    let id = only(&mut bench);
    assert_eq!(peer.send(b"unread"), 6);
    assert!(matches!(bench.lp().stream(id).unwrap().write(b"0123456789abcdef"), Ok(16)));
    bench.sim.run_until_idle();
    let (to, key, log) = add_loop(&mut bench, |what, s, bytes| {
        if what == "open" {
            let (unsent, stream) = s.split();
            assert_eq!((stream.write(unsent).unwrap(), unsent.len()), (6, 6));
            unsent.clear();
        }
        echo(what, s, bytes);
    });
    let addr = peer.local_addr();
    let detached = bench.lp().detach(id).unwrap();
    assert_eq!(detached.unsent, b"abcdef");
    assert!(matches!(bench.lp().detach(id), Err(Error::Closed)));
    send_over(detached, (&to, key));
    let mut back = Vec::new();
    for _ in 0..9 {
        bench.sim.run_until_idle();
        back.extend(peer.receive());
    }
    assert_eq!(back, b"0123456789abcdefunread");
    assert!(matches!(bench.lp().detach(id), Err(Error::Stale)));
    assert_eq!(bench.log(), ["open Accepted", "close Detached with 0 bytes"]);
    let adopted = bench.sim.lp(1).sockets(key).next().unwrap();
    assert_eq!(bench.sim.lp(1).stream(adopted).unwrap().peer_addr(), Some(addr));
    peer.end();
    bench.sim.run_until_idle();
    assert_eq!(*log.borrow(), ["open Adopted", "end after 6", "close Peer with 6 bytes"]);
    assert_eq!((bench.sim.world.open(), bench.sim.world.calls().strays), (1, 0));
}

#[test]
fn a_socket_whose_peer_has_ended_or_reset_is_adopted_to_its_last_byte() {
    for (resets, expected) in [
        (false, &["open Adopted", "end after 3", "close Peer with 3 bytes"][..]),
        (true, &["open Adopted", "close PeerReset with 3 bytes"]),
    ] {
        // The peer goes before it is detached, and while nobody has it.
        for late in [false, true] {
            let (mut bench, id, peer) = paused_with(b"abc");
            let (to, key, log) = add_loop(&mut bench, quiet);
            let go = move || if resets { peer.reset() } else { drop(peer) };
            let detached = if late {
                let detached = bench.lp().detach(id).unwrap();
                go();
                detached
            } else {
                go();
                bench.sim.run_until_idle();
                bench.lp().detach(id).unwrap()
            };
            bench.sim.run_until_idle();
            send_over(detached, (&to, key));
            bench.sim.run_until_idle();
            assert_eq!(*log.borrow(), expected, "reset {resets}, late {late}");
            assert_eq!(bench.sim.world.open(), 1);
        }
    }
}

#[test]
fn a_socket_comes_back_to_the_loop_that_it_has_left() {
    let own: Rc<Cell<Option<ContextKey<Probe>>>> = Rc::default();
    let key = Rc::clone(&own);
    let mut bench = bench(move |what, s, bytes| {
        echo(what, s, bytes);
        if what == "data" {
            let id = s.id();
            let handle = s.loop_mut().handle();
            let detached = s.loop_mut().detach(id).unwrap();
            send_over(detached, (&handle, key.get().unwrap()));
        }
    });
    own.set(Some(bench.key));
    let peer = bench.connect();
    for turn in 1..=3 {
        assert_eq!(peer.send(b"again"), 5);
        bench.sim.run_until_idle();
        assert_eq!(peer.receive(), b"again");
        assert_eq!(bench.lp().stats().opened, 1 + turn);
    }
}

#[test]
fn a_ticket_that_is_dropped_closes_its_socket() {
    let (mut bench, id, peer) = paused_with(b"");
    let detached = bench.lp().detach(id).unwrap();
    bench.sim.run_until_idle();
    assert_eq!((peer.ended(), bench.sim.world.open()), (None, 2));
    drop(detached);
    bench.sim.run_until_idle();
    assert_eq!((peer.ended(), bench.sim.world.open()), (Some(Ended::InOrder), 1));
}

#[test]
fn what_is_no_ticket_is_refused() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let (real, _other) = UnixStream::pair().unwrap();
    let refused = bench.lp().adopt(real, key, Vec::new()).unwrap_err();
    assert_eq!(refused.to_string(), "adopt a UNIX stream: unsupported");
    assert_eq!((bench.lp().stats().sockets, bench.lp().sockets(key).count()), (0, 0));
}

/// Takes every connection out before it opens.
struct Taker {
    taken: Rc<RefCell<Vec<OwnedFd>>>,
}

impl Handler for Taker {
    type Data = ();

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        assert!(raw.as_fd().is_none() && raw.set_nodelay(true).is_ok());
        self.taken.borrow_mut().extend(raw.take());
        assert!(raw.take().is_none());
        PreOpen::Take
    }

    fn open(&mut self, _: &mut Socket<'_, (), ()>, how: Opened) {
        panic!("{how:?} though it was taken");
    }
}

#[test]
fn what_pre_open_takes_out_is_adopted_elsewhere() {
    let mut bench = bench(quiet);
    let (to, key, log) = add_loop(&mut bench, echo);
    let taken = Rc::default();
    let mut lp = bench.lp();
    let taker = lp.context(Taker { taken: Rc::clone(&taken) });
    let listener = lp.listen(any(), taker, ListenOptions::default()).unwrap();
    let addr = lp.listener(listener).unwrap().local_addr();
    let peer = bench.sim.world.connect(addr).unwrap();
    let held = bench.sim.world.listen(any());
    bench.lp().connect(held.addr(), taker, (), ConnectOptions::default()).unwrap();
    bench.sim.run_until_idle();
    assert_eq!((taken.borrow().len(), bench.lp().stats().taken, bench.lp().stats().sockets), (2, 1, 0));
    for fd in taken.take() {
        to.defer(move |lp| assert!(lp.adopt(fd, key, Vec::new()).is_ok())).unwrap();
    }
    bench.sim.run_until_idle();
    let other = held.accept().unwrap();
    for peer in [peer, other] {
        assert_eq!(peer.send(b"hello"), 5);
        bench.sim.run_until_idle();
        assert_eq!(peer.receive(), b"hello");
    }
    bench.sim.run_until_idle();
    let closed = ["end after 5", "close Peer with 5 bytes"];
    assert_eq!(*log.borrow(), [["open Adopted"; 2], closed, closed].concat());
    assert_eq!(bench.sim.world.calls().strays, 0);
}

#[test]
fn one_loop_accepts_for_all_in_turn() {
    let mut sim = Sim::strict();
    let listener = GroupListener::new(any(), ListenOptions::default(), Spread::InTurn);
    let logs: Vec<Log> = (0..3)
        .map(|_| {
            let (number, log) = (sim.add_loop((), LoopOptions::default()), Log::default());
            let mut lp = sim.lp(number);
            let key = lp.context(Probe::new(&log, echo));
            listener.listen(&mut lp, key).unwrap();
            log
        })
        .collect();
    let peers: Vec<Peer> = (0..7).map(|_| sim.world.connect(listener.local_addr()).unwrap()).collect();
    sim.run_until_idle();
    for peer in peers {
        assert_eq!(peer.send(b"hello"), 5);
        sim.run_for(Duration::from_millis(1));
        assert_eq!(peer.receive(), b"hello");
    }
    sim.run_until_idle();
    let opened = |log: &Log| log.borrow().iter().filter(|said| *said == "open Accepted").count();
    assert_eq!(logs.iter().map(opened).collect::<Vec<_>>(), [3, 2, 2]);
    assert_eq!(sim.world.open(), 1);
}
