//! Connecting: slow, refused, silent, and cancelled at every stage.

use crate::harness::{Bench, any, bench, echo, quiet};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::{ConnectOptions, Error, SocketId};
use wharf_tests::sim_net::Route;

fn connect(bench: &mut Bench, to: SocketAddr) -> SocketId {
    let key = bench.key;
    bench.lp().connect(to, key, Vec::new(), ConnectOptions::default()).unwrap()
}

#[test]
fn a_slow_connection_opens_and_a_refused_or_silent_one_fails_in_its_time() {
    let mut bench = bench(quiet);
    let listener = bench.sim.world.listen(any());
    let silent = "10.0.0.2:2".parse().unwrap();
    bench.sim.world.route(listener.addr(), Route::Slow(Duration::from_secs(3)));
    bench.sim.world.route(silent, Route::Silent);
    connect(&mut bench, silent);
    connect(&mut bench, listener.addr());
    connect(&mut bench, "10.0.0.1:1".parse().unwrap());
    bench.sim.run_for(Duration::from_secs(2));
    assert_eq!(bench.log(), ["connect_error after 1 with 0 bytes: connect to 10.0.0.1:1: connection refused"]);
    bench.sim.run_for(Duration::from_secs(2));
    assert_eq!(bench.log()[1..], ["open Connected"]);
    bench.sim.run_until_idle();
    assert_eq!(bench.log()[2..], ["connect_error after 1 with 0 bytes: connect to 10.0.0.2:2: timed out"]);
    assert_eq!(bench.sim.world.now(), Instant::from_millis(30_000));
}

#[test]
fn a_connection_without_a_descriptor_fails() {
    let mut bench = bench(quiet);
    bench.sim.world.limit_descriptors(Some(1));
    let to = bench.addr;
    connect(&mut bench, to);
    bench.sim.run_until_idle();
    let log = bench.log();
    assert!(log.len() == 1 && log[0].contains("open files"), "{log:?}");
}

#[test]
fn connect_can_be_cancelled() {
    let mut bench = bench(quiet);
    let listener = bench.sim.world.listen(any());
    let silent = "10.0.0.2:2".parse().unwrap();
    bench.sim.world.route(silent, Route::Silent);
    bench.sim.world.route(listener.addr(), Route::Slow(Duration::from_secs(1)));
    let cancel = |bench: &mut Bench, id: SocketId| {
        bench.lp().stream(id).unwrap().cancel().unwrap();
        assert!(matches!(bench.lp().stream(id).unwrap().cancel(), Err(Error::Closed)));
        bench.sim.run_until_idle();
        assert!(matches!(bench.lp().stream(id), Err(Error::Stale)));
        assert_eq!((bench.log(), bench.sim.world.open()), (Vec::new(), 1));
        assert_eq!(bench.lp().stats().sockets, 0);
    };

    // Before the system has heard of it.
    let id = connect(&mut bench, silent);
    cancel(&mut bench, id);
    assert_eq!(bench.sim.world.calls().connects, 0);
    // On its way, to somebody and to nobody.
    for to in [silent, listener.addr()] {
        let id = connect(&mut bench, to);
        bench.sim.run_for(Duration::from_millis(500));
        cancel(&mut bench, id);
    }
    assert!(listener.accept().is_none());
    // Established, while the loop does not know it yet; then the other side sees an end.
    let id = connect(&mut bench, listener.addr());
    bench.sim.run_for(Duration::ZERO);
    let set = Rc::new(Cell::new(false));
    let armed = Rc::clone(&set);
    bench.lp().before_poll(move |lp| {
        if armed.replace(false) {
            lp.stream(id).unwrap().cancel().unwrap();
        }
        wharf_host::event_loop::Hook::Idle
    });
    bench.sim.run_for(Duration::from_millis(999));
    set.set(true);
    bench.sim.world.jump(Duration::from_millis(1));
    bench.sim.run_until_idle();
    assert_eq!((bench.log(), bench.sim.world.open()), (Vec::new(), 1));
    // And after `open` it is too late.
    let id = connect(&mut bench, listener.addr());
    bench.sim.run_until_idle();
    assert!(matches!(bench.lp().stream(id).unwrap().cancel(), Err(Error::Closed)));
    assert_eq!(bench.log(), ["open Connected"]);
    assert!(bench.lp().stats().connect_failed == 0);
}

#[test]
fn a_slow_resolver_stalls_nobody() {
    let mut bench = bench(echo);
    let port = bench.addr.port();
    bench.sim.world.name("slow", Duration::from_secs(5), &[bench.addr.ip()]);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    let key = bench.key;
    bench.lp().connect(("slow", port), key, Vec::new(), ConnectOptions::default()).unwrap();
    for _ in 0..49 {
        assert_eq!(peer.send(b"ping"), 4);
        bench.sim.step();
        assert_eq!(peer.receive(), b"ping");
        bench.sim.run_for(Duration::from_millis(100));
    }
    assert_eq!(bench.log(), ["open Accepted"]);
    bench.sim.run_for(Duration::from_millis(200));
    let log = bench.log();
    assert!(log.len() == 3 && log.contains(&"open Connected".to_owned()), "{log:?}");
}

#[test]
fn the_second_address_is_tried() {
    let mut bench = bench(quiet);
    let to = SocketAddr::new("10.0.0.2".parse().unwrap(), 502);
    let listener = bench.sim.world.listen(to);
    bench.sim.world.name("plant", Duration::ZERO, &["10.0.0.1".parse().unwrap(), to.ip()]);
    let key = bench.key;
    // The first address refuses, then it is silent: the second has its turn at once, or after 250 ms.
    bench.lp().connect("plant:502", key, Vec::new(), ConnectOptions::default()).unwrap();
    bench.sim.run_for(Duration::ZERO);
    assert_eq!(bench.log(), ["open Connected"]);
    bench.sim.world.route("10.0.0.1:502".parse().unwrap(), Route::Silent);
    bench.lp().connect("plant:502", key, Vec::new(), ConnectOptions::default()).unwrap();
    bench.sim.run_for(Duration::from_millis(249));
    assert_eq!(bench.log().len(), 1);
    bench.sim.run_for(Duration::from_millis(2));
    assert_eq!(bench.log(), ["open Connected"; 2]);
    // The loser is closed: two connections and the listener are left.
    assert_eq!(bench.sim.world.open(), 3);
    assert!(listener.accept().is_some() && listener.accept().is_some());
    bench.lp().connect("nobody:1", key, Vec::new(), ConnectOptions::default()).unwrap();
    bench.sim.run_until_idle();
    let log = bench.log();
    assert!(log.iter().any(|line| line.starts_with("connect_error ")), "{log:?}");
}

#[test]
fn a_connection_cancelled_while_its_name_is_looked_up_leaves_nothing() {
    let mut bench = bench(quiet);
    bench.sim.world.name("slow", Duration::from_secs(5), &[bench.addr.ip()]);
    let (key, port) = (bench.key, bench.addr.port());
    let id = bench.lp().connect(("slow", port), key, Vec::new(), ConnectOptions::default()).unwrap();
    bench.sim.run_for(Duration::from_secs(1));
    bench.lp().stream(id).unwrap().cancel().unwrap();
    bench.sim.run_until_idle();
    assert_eq!((bench.log(), bench.sim.world.open()), (Vec::new(), 1));
    assert_eq!((bench.sim.world.calls().connects, bench.lp().stats().sockets), (0, 0));
}

#[test]
fn a_connection_cancelled_in_the_batch_in_which_it_comes_about_opens_nobody() {
    // Both come about at the same instant; the first to open cancels the other.
    let ids = Rc::new(Cell::new([None::<SocketId>; 2]));
    let seen = Rc::clone(&ids);
    let mut bench = bench(move |what, s, _| {
        if what == "open" {
            let me = s.id();
            let other = seen.get().into_iter().flatten().find(|id| *id != me).unwrap();
            s.loop_mut().stream(other).unwrap().cancel().unwrap();
        }
    });
    let listener = bench.sim.world.listen(any());
    bench.sim.world.route(listener.addr(), Route::Slow(Duration::from_secs(1)));
    ids.set([Some(connect(&mut bench, listener.addr())), Some(connect(&mut bench, listener.addr()))]);
    bench.sim.run_until_idle();
    assert_eq!((bench.log(), bench.sim.world.open()), (vec!["open Connected".to_owned()], 2));
}
