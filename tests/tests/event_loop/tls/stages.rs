//! Handshakes that end at each of their stages: cancelled by us, or broken off by the peer.

use super::{Guest, bench, bench_with, client, probe, server};
use crate::harness::{Bench, Log, Probe, any, quiet};
use std::time::Duration;
use wharf_host::event_loop::{ConnectOptions, LoopOptions, SocketId};
use wharf_tests::sim_net::{Faults, Peer, Sim};

/// A server and a client, with what each is told. All takes its time, and flights arrive in pieces.
fn meeting() -> (Bench, SocketId, Log) {
    let millis = Duration::from_millis;
    let faults = Faults { capacity: 100..=100, latency: millis(1), slow_connect: millis(3), ..Faults::none() };
    let mut bench = bench_with(Sim::new(1, faults), LoopOptions::default(), &server(), quiet);
    let (said, to) = (Log::default(), bench.addr);
    let key = bench.lp().context(Probe::new(&said, quiet));
    let id = bench.lp().connect_tls(to, key, Vec::new(), &client(), ConnectOptions::default()).unwrap();
    (bench, id, said)
}

/// Nothing is left of a handshake but the listener.
fn check_gone(bench: &mut Bench, id: SocketId) {
    assert!(bench.lp().stream(id).is_err());
    let stats = bench.lp().stats();
    assert_eq!((stats.sockets, stats.handshakes_waiting, stats.queued), (0, 0, 0));
    assert_eq!((bench.sim.world.open(), bench.sim.world.calls().strays), (1, 0));
}

#[test]
fn a_client_can_be_cancelled_at_every_stage_of_its_handshake() {
    for stages in 0..1000 {
        let (mut bench, id, said) = meeting();
        for _ in 0..stages {
            bench.sim.step();
        }
        if bench.lp().cancel(id).is_err() {
            assert!(stages > 5 && *said.borrow() == ["open Connected"], "{stages} {said:?}");
            return;
        }
        bench.sim.run_until_idle();
        check_gone(&mut bench, id);
        assert!(said.borrow().is_empty(), "{stages}: {said:?}");
        let log = bench.log();
        let failed = log.len() == 1 && log[0].starts_with("close HandshakeFailed(");
        assert!(log.is_empty() || failed, "{stages}: {log:?}");
    }
    panic!("it never opens");
}

#[test]
fn a_server_can_be_cancelled_at_every_stage_of_its_handshake() {
    let mut cancelled = 0;
    for stages in 0..1000 {
        let (mut bench, _, said) = meeting();
        for _ in 0..stages {
            bench.sim.step();
        }
        let key = bench.key;
        let Some(id) = bench.lp().sockets(key).next() else { continue };
        if bench.lp().cancel(id).is_err() {
            assert!(cancelled > 5 && bench.log() == ["open Accepted"], "{cancelled} {:?}", bench.log());
            return;
        }
        cancelled += 1;
        bench.sim.run_until_idle();
        check_gone(&mut bench, id);
        assert!(bench.log().is_empty(), "{stages}: {:?}", bench.log());
        match &said.borrow()[..] {
            [error] => assert!(error.starts_with("connect_error after 1 with 0 bytes: "), "{error}"),
            // Its part was done.
            [open, close] => {
                let breaks = ["close Truncated with 0 bytes", "close PeerReset with 0 bytes"];
                assert!(open == "open Connected" && breaks.contains(&close.as_str()), "{close}");
            }
            more => panic!("{stages}: {more:?}"),
        }
    }
    panic!("it never opens");
}

/// Sends the begin of a flight and goes.
fn break_off(bench: &mut Bench, peer: Peer, flight: &[u8], resets: bool) {
    assert_eq!(peer.send(flight), flight.len());
    bench.sim.run_for(Duration::ZERO);
    // Over bytes that nobody has read an end would be a reset.
    let _ = peer.receive();
    if resets {
        peer.reset();
    } else {
        drop(peer);
    }
    bench.sim.run_until_idle();
}

#[test]
fn a_client_is_told_once_wherever_its_server_breaks_off() {
    for (resets, last) in [(false, "close Truncated with 0 bytes"), (true, "close PeerReset with 0 bytes")] {
        for at in (0..).step_by(17) {
            let mut bench = bench(quiet);
            let listener = bench.sim.world.listen(any());
            let (key, to) = (probe(&mut bench, quiet), listener.addr());
            bench.lp().connect_tls(to, key, Vec::new(), &client(), ConnectOptions::default()).unwrap();
            bench.sim.run_for(Duration::ZERO);
            let mut server = Guest::serve(listener.accept().unwrap());
            assert!(server.exchange(), "the hello is there");
            let flight = server.sealed();
            let sent = &flight[..at.min(flight.len())];
            break_off(&mut bench, server.peer, sent, resets);
            drop(listener);
            assert_eq!(bench.sim.world.open(), 1);
            let log = bench.log();
            if sent.len() == flight.len() {
                assert_eq!(log, ["open Connected", last]);
                break;
            }
            assert!(log.len() == 1 && log[0].starts_with("connect_error after 1"), "{at} of {}: {log:?}", flight.len());
        }
    }
}

#[test]
fn a_server_closes_once_wherever_the_last_flight_breaks_off() {
    for (resets, last) in [(false, "close Truncated with 0 bytes"), (true, "close PeerReset with 0 bytes")] {
        for at in 0.. {
            let mut bench = bench(quiet);
            let mut guest = Guest::new(&bench);
            assert!(guest.exchange());
            bench.sim.run_for(Duration::ZERO);
            assert!(guest.exchange(), "the answer is there");
            let flight = guest.sealed();
            let sent = &flight[..at.min(flight.len())];
            break_off(&mut bench, guest.peer, sent, resets);
            assert_eq!(bench.sim.world.open(), 1);
            let log = bench.log();
            if sent.len() == flight.len() {
                assert_eq!(log, ["open Accepted", last]);
                break;
            }
            assert!(
                log.len() == 1 && log[0].starts_with("close HandshakeFailed("),
                "{at} of {}: {log:?}",
                flight.len()
            );
        }
    }
}
