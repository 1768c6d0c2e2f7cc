//! Handshakes: their time, their order, and how they fail.

use super::{Guest, bench, bench_with, client, probe, server};
use crate::harness::{Bench, any, echo, quiet};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{ConnectOptions, ListenOptions, LoopOptions};
use wharf_tests::rng::{Rng, seeds};
use wharf_tests::sim_net::Sim;

const STEP: Duration = Duration::from_micros(1);

#[test]
fn a_handshake_has_ten_seconds_and_no_less() {
    // One says nothing, and one says a byte of its hello every second.
    for talks in [false, true] {
        let mut bench = bench(quiet);
        let mut guest = Guest::new(&bench);
        let hello = guest.sealed();
        bench.sim.run_for(Duration::ZERO);
        for byte in &hello[..9] {
            bench.sim.run_for(Duration::from_secs(1));
            assert!(!talks || guest.peer.send(&[*byte]) == 1);
        }
        bench.sim.run_for(Duration::from_secs(1) - STEP);
        assert!(bench.log().is_empty());
        bench.sim.run_for(Duration::from_millis(1) + STEP);
        assert_eq!(bench.log(), ["close HandshakeTimeout with 0 bytes"]);
        bench.sim.run_until_idle();
        assert_eq!((bench.sim.world.open(), bench.lp().stats().handshakes_failed), (1, 1));
    }
}

#[test]
fn the_time_of_a_client_begins_when_it_is_connected() {
    for seed in seeds(20) {
        let mut rng = Rng::new(seed);
        let span = Duration::from_millis(rng.between(1, 100_000));
        let options = LoopOptions { handshake_timeout: span, ..LoopOptions::default() };
        let mut bench = bench_with(Sim::strict(), options, &server(), quiet);
        let silent = bench.sim.world.listen(any());
        let (key, to) = (probe(&mut bench, quiet), silent.addr());
        bench.lp().connect_tls(to, key, Vec::new(), &client(), ConnectOptions::default()).unwrap();
        bench.sim.run_for(span - STEP);
        assert!(bench.log().is_empty(), "seed {seed}: {:?}", bench.log());
        bench.sim.run_for(Duration::from_millis(1) + STEP);
        assert_eq!(bench.log().len(), 1, "seed {seed}");
        assert!(bench.log()[0].ends_with("timed out"), "{:?}", bench.log());
    }
}

/// Guests that have said hello and are accepted: what they said is heard of in the next iteration.
fn crowd(bench: &mut Bench, count: usize) -> Vec<Guest> {
    let said_hello = || {
        let mut guest = Guest::new(bench);
        assert!(guest.exchange());
        guest
    };
    let guests = std::iter::repeat_with(said_hello).take(count).collect();
    bench.sim.step();
    guests
}

/// Who has been answered since the last time.
fn answered(guests: &mut [Guest], before: &mut Vec<usize>) -> Vec<usize> {
    let new: Vec<usize> = (0..guests.len()).filter(|at| !before.contains(at)).collect();
    let new: Vec<usize> = new.into_iter().filter(|at| !guests[*at].peer.receive().is_empty()).collect();
    before.extend(&new);
    new
}

#[test]
fn five_steps_an_iteration_the_newest_first() {
    let mut bench = bench(quiet);
    let (mut guests, mut before) = (crowd(&mut bench, 12), Vec::new());
    let mut rounds = Vec::new();
    while before.len() < 12 {
        let steps = bench.lp().stats().handshake_steps;
        bench.sim.step();
        let took = bench.lp().stats().handshake_steps - steps;
        let round = answered(&mut guests, &mut before);
        assert_eq!((took, took <= 5), (round.len() as u64, true));
        rounds.push(round);
    }
    assert_eq!(rounds, [vec![7, 8, 9, 10, 11], vec![2, 3, 4, 5, 6], vec![0, 1]]);
}

#[test]
fn who_has_waited_for_a_second_comes_before_the_newest() {
    let newest = [vec![10, 11, 12, 13, 14], vec![20, 21, 22, 23, 24], vec![5, 6, 7, 8, 9]];
    let oldest = [vec![0, 1, 2, 3, 4], vec![5, 6, 7, 8, 9], vec![10, 11, 12, 13, 14]];
    for (waited, next) in [(999_999, newest), (1_000_000, oldest)] {
        let mut bench = bench(quiet);
        let (mut guests, mut before) = (crowd(&mut bench, 20), Vec::new());
        bench.sim.step();
        assert_eq!(answered(&mut guests, &mut before), [15, 16, 17, 18, 19]);
        bench.sim.world.jump(Duration::from_micros(waited));
        // Five of the old have their turn while the new are accepted.
        guests.extend(crowd(&mut bench, 5));
        for round in next {
            assert_eq!(answered(&mut guests, &mut before), round, "after {waited} us");
            bench.sim.step();
        }
    }
}

#[test]
fn who_is_cancelled_waits_for_no_step() {
    let mut bench = bench(quiet);
    let _guests = crowd(&mut bench, 12);
    bench.sim.step();
    assert_eq!(bench.lp().stats().handshakes_waiting, 7);
    let key = bench.key;
    let ids: Vec<_> = bench.lp().sockets(key).collect();
    assert_eq!(ids.len(), 12);
    for id in ids {
        bench.lp().cancel(id).unwrap();
    }
    assert_eq!((bench.lp().stats().handshakes_waiting, bench.log().len()), (0, 0));
    bench.sim.run_until_idle();
    assert_eq!((bench.lp().stats().handshake_steps, bench.log().len(), bench.sim.world.open()), (5, 0, 1));
}

#[test]
fn a_rush_of_handshakes_leaves_echo_alive() {
    const RUSH: usize = 500;
    let mut bench = bench(quiet);
    let key = probe(&mut bench, echo);
    let mut lp = bench.lp();
    let id = lp.listen(any(), key, ListenOptions::default()).unwrap();
    let addr = lp.listener(id).unwrap().local_addr();
    let plain = bench.sim.world.connect(addr).unwrap();
    bench.sim.run_for(Duration::ZERO);
    let _guests = crowd(&mut bench, RUSH);
    let (mut steps, mut iterations) = (0, 0);
    while steps < RUSH as u64 {
        assert_eq!(plain.send(b"x"), 1);
        bench.sim.step();
        iterations += 1;
        // In every iteration it is answered as if it were alone.
        assert_eq!(plain.receive(), b"x", "iteration {iterations}");
        let now = bench.lp().stats().handshake_steps;
        assert!(now - steps <= 5);
        steps = now;
    }
    assert_eq!(iterations, RUSH / 5);
}

#[test]
fn a_handshake_that_is_cut_off_anywhere_ends_once() {
    let whole = Guest::new(&bench(quiet)).sealed().len();
    for at in (0..=whole).step_by(13).chain([whole]) {
        for resets in [false, true] {
            let mut bench = bench(quiet);
            let mut guest = Guest::new(&bench);
            let hello = guest.sealed();
            assert_eq!(guest.peer.send(&hello[..at.min(hello.len())]), at.min(hello.len()));
            bench.sim.run_for(Duration::ZERO);
            assert!(bench.log().is_empty());
            if resets {
                guest.peer.reset();
            } else {
                drop(guest);
            }
            bench.sim.run_for(Duration::ZERO);
            let log = bench.log();
            assert!(log.len() == 1 && log[0].starts_with("close HandshakeFailed("), "{at} {resets} {log:?}");
            bench.sim.run_until_idle();
            assert_eq!((bench.log().len(), bench.sim.world.open()), (1, 1));
        }
    }
}

#[test]
fn who_says_nothing_keeps_a_place_no_longer_than_a_handshake_may_take() {
    let mut bench = bench(quiet);
    let key = probe(&mut bench, quiet);
    let options = ListenOptions { max_sockets: Some(1), ..ListenOptions::default() };
    let id = bench.lp().listen_tls(any(), key, &server(), options).unwrap();
    bench.addr = bench.lp().listener(id).unwrap().local_addr();
    let _silent = bench.connect();
    bench.sim.run_for(Duration::ZERO);
    let mut guest = Guest::new(&bench);
    guest.talk(&mut bench);
    assert!(guest.tls.is_handshaking());
    bench.sim.run_for(Duration::from_secs(10) + Duration::from_millis(1));
    guest.talk(&mut bench);
    assert_eq!(bench.log(), ["close HandshakeTimeout with 0 bytes", "open Accepted"]);
}

#[test]
fn sessions_are_resumed_and_names_are_known() {
    let config = server();
    config.add_server_name("localhost", &server(), 4).unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let says = Rc::clone(&seen);
    let mut bench = bench_with(Sim::strict(), LoopOptions::default(), &config, move |what, s, _| {
        if what == "open" {
            says.borrow_mut().push((s.server_name().map(str::to_owned), s.server_tag(), s.resumed()));
            s.write(b"hello").unwrap();
        }
    });
    let key = probe(&mut bench, |what, s, _| {
        if what == "data" {
            s.finish().unwrap();
        }
    });
    let (config, to) = (client(), bench.addr);
    for _ in 0..3 {
        bench.lp().connect_tls(to, key, Vec::new(), &config, ConnectOptions::default()).unwrap();
        bench.sim.run_until_idle();
    }
    let name = || Some("localhost".to_owned());
    assert_eq!(*seen.borrow(), [(name(), Some(4), false), (name(), Some(4), true), (name(), Some(4), true)]);
}
