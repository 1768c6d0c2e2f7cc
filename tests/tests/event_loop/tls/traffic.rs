//! Bytes, ends and limits over TLS.

use super::{Guest, bench, bench_with, builder, roomy_bench};
use crate::harness::quiet;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{Error, LoopMut, LoopOptions};
use wharf_tests::sim_net::{Ended, Faults, Sim};

#[test]
fn a_tls_socket_sees_open_then_its_bytes_then_end_then_one_close() {
    let mut bench = roomy_bench(quiet);
    let mut guest = Guest::open(&mut bench);
    guest.write(&[7; 300_000]);
    guest.end(&mut bench);
    bench.sim.run_until_idle();
    assert_eq!(bench.log(), ["open Accepted", "end after 300000", "close Peer with 300000 bytes"]);
    assert_eq!(guest.peer.ended(), Some(Ended::InOrder));
}

#[test]
fn a_missing_close_notify_is_truncation() {
    for limit in [u64::MAX, 100_000] {
        let mut bench = roomy_bench(move |what, s, _| {
            if what == "open" {
                s.limit_read(limit).unwrap();
            }
            if s.data().len() == 100_000 && what == "data" {
                let id = s.id();
                let resume = move |lp: &mut LoopMut<'_>, _| lp.stream(id).unwrap().resume().unwrap();
                s.loop_mut().add_timer(Duration::from_secs(5), None, resume).unwrap();
            }
        });
        let mut guest = Guest::open(&mut bench);
        guest.write(&[7; 300_000]);
        while guest.exchange() {}
        guest.peer.end();
        bench.sim.run_until_idle();
        assert_eq!(bench.log(), ["open Accepted", "close Truncated with 300000 bytes"]);
    }
}

#[test]
fn a_record_that_is_cut_off_is_truncation_after_the_whole_ones() {
    let mut bench = bench(quiet);
    let mut guest = Guest::open(&mut bench);
    guest.write(b"whole");
    while guest.exchange() {}
    guest.write(b"cut off");
    let record = guest.sealed();
    assert_eq!(guest.peer.send(&record[..record.len() - 1]), record.len() - 1);
    guest.peer.end();
    bench.sim.run_until_idle();
    assert_eq!(bench.log(), ["open Accepted", "close Truncated with 5 bytes"]);
}

#[test]
fn limit_read_counts_plain_bytes() {
    let (got, stops) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (seen, stopped) = (Rc::clone(&got), Rc::clone(&stops));
    let mut bench = roomy_bench(move |what, s, bytes| {
        if what == "open" {
            s.limit_read(3).unwrap();
        }
        seen.set(seen.get() + bytes.len());
        let next = match s.data().len() {
            3 => 20_000,
            20_003 => u64::MAX,
            _ => return,
        };
        if what == "data" {
            stopped.set(stopped.get() + 1);
            let id = s.id();
            let go_on = move |lp: &mut LoopMut<'_>, _| lp.stream(id).unwrap().limit_read(next).unwrap();
            s.loop_mut().add_timer(Duration::from_secs(1), None, go_on).unwrap();
        }
    });
    let mut guest = Guest::open(&mut bench);
    guest.write(&[0; 50_008]);
    guest.end(&mut bench);
    let mut totals = Vec::new();
    for _ in 0..3 {
        totals.push(got.get());
        bench.sim.run_for(Duration::from_secs(1));
    }
    assert_eq!((totals, stops.get()), (vec![3, 20_003, 50_008], 2));
    bench.sim.run_until_idle();
    assert_eq!(bench.log()[1..], ["end after 50008", "close Peer with 50008 bytes"]);
}

#[test]
fn bytes_behind_a_half_close_arrive() {
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            s.write(b"bye").unwrap();
            s.shutdown().unwrap();
            assert!(matches!(s.write(b"x"), Err(Error::ShutDown)));
        }
    });
    let mut guest = Guest::open(&mut bench);
    assert_eq!((&guest.plain[..], guest.peer.ended()), (&b"bye"[..], Some(Ended::InOrder)));
    guest.write(&[1; 1000]);
    guest.tls.send_close_notify();
    while guest.exchange() {}
    guest.peer.end();
    bench.sim.run_until_idle();
    assert_eq!(bench.log(), ["open Accepted", "end after 1000", "close Peer with 1000 bytes"]);
}

#[test]
fn bytes_written_after_the_peers_end_arrive() {
    let mut bench = roomy_bench(|what, s, _| {
        if what == "end" {
            assert_eq!(s.write(&[2; 500_000]).unwrap(), 500_000);
        }
    });
    let mut guest = Guest::open(&mut bench);
    guest.write(b"bye");
    guest.end(&mut bench);
    guest.talk(&mut bench);
    bench.sim.run_until_idle();
    assert!(guest.plain == [2; 500_000]);
    assert_eq!(guest.peer.ended(), Some(Ended::InOrder));
    assert_eq!(bench.log(), ["open Accepted", "end after 3", "close Peer with 3 bytes"]);
}

#[test]
fn write_more_fills_one_record() {
    for small in [false, true] {
        let builder = if small { builder().low_memory() } else { builder() };
        let sim = Sim::strict();
        let mut bench = bench_with(sim, LoopOptions::default(), &builder.server().unwrap(), |what, s, _| {
            if what == "data" {
                for _ in 0..1000 {
                    assert_eq!(s.write_more(b"0123456789").unwrap(), 10);
                }
            }
        });
        let mut guest = Guest::open(&mut bench);
        guest.records.clear();
        guest.write(b"x");
        guest.talk(&mut bench);
        assert_eq!(guest.plain.len(), 10_000);
        // Five bytes of header, a byte that says what is inside, and 16 that seal it.
        let expected = if small { vec![4096 + 22, 4096 + 22, 10_000 - 2 * 4096 + 22] } else { vec![10_000 + 22] };
        assert_eq!(guest.records, expected);
    }
}

#[test]
fn a_reset_closes_after_the_bytes_before_it() {
    let mut bench = bench(quiet);
    let mut guest = Guest::open(&mut bench);
    guest.write(&[1; 5000]);
    while guest.exchange() {}
    guest.peer.reset();
    bench.sim.run_until_idle();
    assert_eq!(bench.log(), ["open Accepted", "close PeerReset with 5000 bytes"]);
}

#[test]
fn a_slow_peer_takes_all_that_was_queued_and_drained_comes_once() {
    let drained = Rc::new(Cell::new(0));
    let count = Rc::clone(&drained);
    let sim = Sim::new(0, Faults { capacity: 4000..=4000, ..Faults::none() });
    let mut bench = bench_with(sim, LoopOptions::default(), &super::server(), move |what, s, _| match what {
        "data" => assert_eq!(s.write(&[3; 200_000]).unwrap(), 200_000),
        "drained" => {
            count.set(count.get() + 1);
            assert_eq!(s.queued(), 0);
        }
        _ => {}
    });
    let mut guest = Guest::open(&mut bench);
    drained.set(0);
    guest.write(b"x");
    guest.talk(&mut bench);
    assert!(guest.plain == [3; 200_000]);
    assert_eq!((drained.get(), bench.lp().stats().queued), (1, 0));
}
