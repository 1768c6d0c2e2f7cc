//! The life of one stream: what it sees, in which order, and that nothing is forgotten.

use crate::harness::{Bench, any, bench, bench_in, bench_with, echo, quiet, roomy_bench};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{ConnectOptions, Error, LoopOptions, Socket, SocketId};
use wharf_tests::rng::{Rng, seeds};
use wharf_tests::sim_net::{Ended, Faults, Sim};

/// The ids of the sockets in the order in which they opened.
type Ids = Rc<RefCell<Vec<SocketId>>>;

fn note_opening(ids: &Ids, what: &str, s: &Socket<'_, (), Vec<u8>>) {
    if what == "open" {
        ids.borrow_mut().push(s.id());
    }
}

/// A bench whose first socket is paused from the beginning, and its id.
fn paused(room: u64) -> (Bench, Ids) {
    let ids = Ids::default();
    let seen = Rc::clone(&ids);
    let bench = roomy_bench(room, move |what, s, _| {
        note_opening(&seen, what, s);
        if what == "open" {
            s.pause().unwrap();
        }
    });
    (bench, ids)
}

#[test]
fn a_hang_up_while_paused_is_not_polled_for_again_and_the_data_behind_it_arrives() {
    let (mut bench, ids) = paused(65_536);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    assert_eq!(peer.send(&[1; 1000]), 1000);
    peer.end();
    let before = bench.iterations();
    bench.sim.run_for(Duration::from_secs(3600));
    // One for the event and one that waits.
    assert_eq!(bench.iterations() - before, 2);
    assert_eq!(bench.log(), ["open Accepted"]);
    let id = ids.borrow()[0];
    bench.lp().stream(id).unwrap().resume().unwrap();
    bench.sim.run_until_idle();
    assert_eq!(bench.log()[1..], ["end after 1000", "close Peer with 1000 bytes"]);
}

#[test]
fn a_reset_while_paused_is_not_polled_for_again() {
    let (mut bench, ids) = paused(65_536);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    assert_eq!(peer.send(&[1; 1000]), 1000);
    peer.reset();
    let before = bench.iterations();
    bench.sim.run_for(Duration::from_secs(3600));
    assert_eq!(bench.iterations() - before, 2);
    let id = ids.borrow()[0];
    bench.lp().stream(id).unwrap().resume().unwrap();
    bench.sim.run_until_idle();
    assert_eq!(bench.log()[1..], ["close PeerReset with 1000 bytes"]);
}

#[test]
fn a_paused_side_is_served_later_without_a_new_edge() {
    let (mut bench, ids) = paused(65_536);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    assert_eq!(peer.send(&[1; 5000]), 5000);
    bench.sim.run_until_idle();
    let (id, events) = (ids.borrow()[0], bench.lp().stats().events);
    for (limit, total) in [(1, 1), (1999, 2000), (0, 2000), (u64::MAX, 5000)] {
        bench.lp().stream(id).unwrap().limit_read(limit).unwrap();
        bench.sim.run_until_idle();
        assert_eq!(bench.lp().stats().bytes_in, total);
    }
    assert_eq!(bench.lp().stats().events, events);
}

#[test]
fn a_side_stopped_by_its_budget_is_served_later_without_a_new_edge() {
    let mut bench = roomy_bench(300_000, quiet);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    let events = bench.lp().stats().events;
    assert_eq!(peer.send(&[1; 300_000]), 300_000);
    bench.sim.run_until_idle();
    let stats = bench.lp().stats();
    assert_eq!((stats.bytes_in, stats.events - events), (300_000, 1));
}

#[test]
fn a_request_takes_one_read_and_its_answer_one_write() {
    let mut bench = bench(echo);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    let before = bench.sim.world.calls();
    for _ in 0..100 {
        assert_eq!(peer.send(b"request"), 7);
        bench.sim.run_until_idle();
        assert_eq!(peer.receive(), b"request");
    }
    let after = bench.sim.world.calls();
    assert_eq!((after.reads - before.reads, after.writes - before.writes), (100, 100));
}

#[test]
fn bytes_behind_a_half_close_arrive() {
    let shuts = |what: &str, s: &mut Socket<'_, (), Vec<u8>>, _: &[u8]| {
        if what == "open" {
            s.shutdown().unwrap();
        }
    };
    let talk = |mut bench: Bench| {
        let peer = bench.connect();
        bench.sim.run_until(|_| peer.ended().is_some());
        let mut sent = 0;
        while sent < 1000 {
            sent += peer.send(&[1; 1000][sent..]);
            bench.sim.step();
        }
        peer.end();
        bench.sim.run_until_idle();
        bench.log()
    };
    let seen = ["open Accepted", "end after 1000", "close Peer with 1000 bytes"];
    assert_eq!(talk(bench(shuts)), seen);
    for seed in seeds(100) {
        let faults = Faults::harmless(&mut Rng::new(seed));
        assert_eq!(talk(bench_in(Sim::new(seed, faults), shuts)), seen, "seed {seed}");
    }
}

/// A socket sends `much` by `send`, which is called in `open` and in `writable` until all is taken.
fn arrives_whole(sim: Sim, much: usize, send: fn(&mut Socket<'_, (), Vec<u8>>, &[u8]) -> usize) -> u64 {
    let all: Vec<u8> = (0..=250).cycle().take(much).collect();
    let (source, mut at) = (all.clone(), 0);
    let mut bench = bench_in(sim, move |what, s, _| {
        if (what == "open" || what == "writable") && at < source.len() {
            at += send(s, &source[at..]);
            if at == source.len() {
                s.shutdown().unwrap();
            }
        }
    });
    let peer = bench.connect();
    let mut back = Vec::new();
    while peer.ended().is_none() {
        let goes_on = bench.sim.step();
        let more = peer.receive();
        // What was just read makes room, and so an edge.
        assert!(goes_on || !more.is_empty(), "at rest after {} of {much} bytes", back.len());
        back.extend(more);
    }
    back.extend(peer.receive());
    assert!(back == all);
    drop(peer);
    bench.sim.run_until_idle();
    assert_eq!(bench.log(), ["open Accepted", "end after 0", "close Peer with 0 bytes"]);
    let stats = bench.lp().stats();
    assert_eq!((stats.bytes_out, stats.queued), (much as u64, 0));
    stats.short_writes
}

#[test]
fn a_short_write_in_writable_is_resumed() {
    let ways: [fn(&mut Socket<'_, (), Vec<u8>>, &[u8]) -> usize; 4] = [
        |s, rest| s.write(rest).unwrap(),
        |s, rest| s.write2(&rest[..rest.len() / 3], &rest[rest.len() / 3..]).unwrap(),
        |s, rest| s.write_now(rest).unwrap(),
        |s, rest| s.write_now2(&rest[..1], &rest[1..]).unwrap(),
    ];
    for send in ways {
        assert!(arrives_whole(Sim::strict(), 8 << 20, send) > 100);
        for seed in seeds(20) {
            let mut rng = Rng::new(seed);
            let faults = Faults { short: 900, would_block: 300, ..Faults::harmless(&mut rng) };
            let least = 1 << rng.below(17);
            let faults = Faults { capacity: least..=least * 2, ..faults };
            arrives_whole(Sim::new(seed, faults), 5000, send);
        }
    }
}

#[test]
fn an_event_of_the_last_batch_hits_nobody() {
    // The first socket that gets "kill" closes the other and connects a third in its place.
    let ids = Ids::default();
    let seen = Rc::clone(&ids);
    let target = Rc::new(Cell::new(None));
    let to = Rc::clone(&target);
    let mut bench = bench(move |what, s, bytes| {
        note_opening(&seen, what, s);
        if let ("data", b"kill") = (what, bytes) {
            let me = s.id();
            let other = *seen.borrow().iter().find(|id| **id != me).unwrap();
            let (addr, key) = to.get().unwrap();
            let mut victim = s.loop_mut().stream(other).unwrap();
            victim.close(7);
            assert!(victim.is_closed());
            let third = s.loop_mut().connect(addr, key, b"third".to_vec(), ConnectOptions::default()).unwrap();
            assert_ne!(third, other);
        }
    });
    let listener = bench.sim.world.listen(any());
    target.set(Some((listener.addr(), bench.key)));
    let peers = [bench.connect(), bench.connect()];
    bench.sim.run_until_idle();
    // Both have an event in the same batch, whichever is served first.
    assert_eq!((peers[0].send(b"kill"), peers[1].send(b"kill")), (4, 4));
    bench.sim.run_until_idle();
    let log = bench.log();
    assert_eq!(log[2..], ["close Local { code: 7 } with 0 bytes", "open Connected"], "{log:?}");
    let third = listener.accept().unwrap();

    // The place and the descriptor of the closed one are used again by the next, which hears nothing of old events.
    let closed = ids.borrow().iter().copied().find(|id| bench.lp().stream(*id).is_err()).unwrap();
    let fourth = bench.connect();
    bench.sim.run_until_idle();
    let newest = *ids.borrow().last().unwrap();
    assert_eq!(bench.sim.world.open(), 4);
    assert!(matches!(bench.lp().stream(closed), Err(Error::Stale)));
    bench.sim.world.set_faults(Faults { stale_events: 1000, ..Faults::none() });
    let before = bench.lp().stats();
    assert_eq!(fourth.send(b"mine"), 4);
    bench.sim.run_until_idle();
    let stats = bench.lp().stats();
    assert!(stats.events - before.events > 1, "no stale event came");
    assert_eq!((stats.reads - before.reads, stats.bytes_in - before.bytes_in), (1, 4));
    let key = bench.key;
    assert_eq!(*bench.lp().user(key, newest).unwrap(), b"mine");
    assert_eq!(third.send(b"?"), 1);
    bench.sim.run_until_idle();
    assert_eq!(bench.sim.world.calls().strays, 0);
}

#[test]
fn callbacks_never_nest_and_what_they_cause_comes_later_in_the_same_iteration() {
    let (depth, ids) = (Rc::new(Cell::new(0)), Ids::default());
    let (inside, seen) = (Rc::clone(&depth), Rc::clone(&ids));
    let mut bench = bench_with(Sim::strict(), LoopOptions::default(), move |what, s, _| {
        assert_eq!(inside.replace(inside.get() + 1), 0, "{what} inside another callback");
        note_opening(&seen, what, s);
        if what == "data" {
            let me = s.id();
            for other in seen.borrow().iter().filter(|other| **other != me) {
                let mut other = s.loop_mut().stream(*other).unwrap();
                other.write(b"bye").unwrap();
                other.close(1);
            }
            s.close(2);
        }
        inside.set(0);
    });
    let peers = [bench.connect(), bench.connect(), bench.connect()];
    bench.sim.run_until_idle();
    assert_eq!(peers[1].send(b"x"), 1);
    bench.sim.step();
    let closes =
        ["close Local { code: 1 } with 0 bytes"; 2].into_iter().chain(["close Local { code: 2 } with 1 bytes"]);
    assert_eq!(bench.log()[3..], closes.collect::<Vec<_>>());
    assert_eq!(peers.each_ref().map(|peer| peer.receive()), [&b"bye"[..], b"", b"bye"]);
    assert_eq!(peers.each_ref().map(|peer| peer.ended()), [Some(Ended::InOrder); 3]);
}

#[test]
fn a_failed_write_lets_the_bytes_that_came_before_it_arrive() {
    let (mut bench, ids) = paused(65_536);
    let peer = bench.connect();
    bench.sim.run_until_idle();
    let id = ids.borrow()[0];
    bench.lp().stream(id).unwrap().resume().unwrap();
    bench.sim.run_until_idle();
    assert_eq!(peer.send(&[1; 1000]), 1000);
    peer.reset();
    // It meets the reset before the loop has heard of it.
    assert_eq!(bench.lp().stream(id).unwrap().write(b"too late").unwrap(), 0);
    assert!(matches!(bench.lp().stream(id).unwrap().write(b"still"), Err(Error::Closed)));
    bench.sim.run_until_idle();
    assert_eq!(bench.log()[1..], ["close PeerReset with 1000 bytes"]);
}

#[test]
fn finish_waits_two_seconds_for_a_peer_that_does_not_answer() {
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            s.finish().unwrap();
        }
    });
    let peer = bench.connect();
    bench.sim.run_for(Duration::from_micros(1_999_999));
    assert_eq!((bench.log().len(), peer.ended()), (1, Some(Ended::InOrder)));
    bench.sim.run_for(Duration::from_millis(1));
    assert_eq!(bench.log()[1..], ["close Local { code: 0 } with 0 bytes"]);
}
