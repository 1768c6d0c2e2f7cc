//! What one iteration does, and that it is bounded.

use crate::harness::{any, bench, bench_with, echo, quiet, roomy_bench};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::{Error, ListenOptions, LoopMut, LoopOptions, Stats};
use wharf_tests::sim_net::{Ended, Faults, Peer, Sim};

/// What `f` says of every iteration while `run` runs, as far as it changed.
fn each_iteration(
    bench: &mut crate::harness::Bench,
    f: impl Fn(Stats) -> u64 + 'static,
    run: impl FnOnce(&mut crate::harness::Bench),
) -> Vec<u64> {
    let steps = Rc::new(RefCell::new(Vec::new()));
    let (seen, last) = (Rc::clone(&steps), Cell::new(f(bench.lp().stats())));
    bench.lp().after_poll(move |lp| {
        let now = f(lp.stats());
        let before = last.replace(now);
        if now > before {
            seen.borrow_mut().push(now - before);
        }
    });
    run(bench);
    steps.take()
}

#[test]
fn one_iteration_fires_at_most_1024_timers() {
    let mut bench = bench(quiet);
    for _ in 0..3000 {
        bench.lp().add_timer(Duration::from_millis(5), None, |_, _| ()).unwrap();
    }
    let fired = each_iteration(&mut bench, |stats| stats.timers_fired, |bench| bench.sim.run_until_idle());
    assert_eq!(fired, [1024, 1024, 952]);
    // The rest did not wait for anything.
    assert_eq!(bench.sim.world.now(), Instant::from_millis(5));
}

#[test]
fn one_iteration_accepts_at_most_64_per_listener() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let other = bench.lp().listen(any(), key, ListenOptions::default()).unwrap();
    let other = bench.lp().listener(other).unwrap().local_addr();
    let both = [bench.addr, other];
    let peers: Vec<_> = (0..150).flat_map(|_| both.map(|addr| bench.sim.world.connect(addr).unwrap())).collect();
    let accepted = each_iteration(&mut bench, |stats| stats.accepted, |bench| bench.sim.run_until_idle());
    assert_eq!(accepted, [128, 128, 44]);
    assert_eq!(peers.len(), 300);
}

#[test]
fn one_iteration_reads_at_most_64_kib_per_socket() {
    let mut bench = roomy_bench(300_000, quiet);
    let peers = [bench.connect(), bench.connect()];
    bench.sim.run_until_idle();
    for peer in &peers {
        assert_eq!(peer.send(&[7; 300_000]), 300_000);
    }
    let read = each_iteration(&mut bench, |stats| stats.bytes_in, |bench| bench.sim.run_until_idle());
    assert_eq!(read, [131_072, 131_072, 131_072, 131_072, 75_712]);
}

#[test]
fn the_sockets_served_first_rotate() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&order);
    let options = LoopOptions { read_budget: 2, ..LoopOptions::default() };
    let mut bench = bench_with(Sim::strict(), options, move |what, _, bytes| {
        if what == "data" {
            seen.borrow_mut().push(bytes[0]);
        }
    });
    let peers: Vec<Peer> = (0..5).map(|_| bench.connect()).collect();
    bench.sim.run_until_idle();
    // Four of them have more to say than their share, whenever they began.
    for (peer, name) in peers[..4].iter().zip(b"abcd") {
        assert_eq!(peer.send(&[*name; 40]), 40);
    }
    assert!(bench.sim.step());
    order.take();
    let mut first = Vec::new();
    for _ in 0..8 {
        // Who has little to say waits for none of them.
        assert_eq!(peers[4].send(b"e"), 1);
        assert!(bench.sim.step());
        let round = order.take();
        assert_eq!((round.len(), round[0]), (5, b'e'), "{round:?}");
        first.push(round[1]);
    }
    for four in first.windows(4) {
        let mut four = four.to_vec();
        four.sort_unstable();
        assert_eq!(four, b"abcd", "{first:?}");
    }
}

/// How many iterations pass until each of 100 peers has its echo.
fn latencies(bench: &mut crate::harness::Bench, slow: &[Peer], mut before: impl FnMut()) -> Vec<u64> {
    let mut all = Vec::new();
    for peer in slow {
        assert_eq!(peer.send(b"ping"), 4);
        let begin = bench.iterations();
        let mut back = Vec::new();
        while back.len() < 4 {
            before();
            assert!(bench.iterations() - begin < 100, "no echo in a hundred iterations");
            bench.sim.step();
            back.extend(peer.receive());
        }
        all.push(bench.iterations() - begin);
    }
    all
}

#[test]
fn a_fast_client_cannot_starve_the_rest() {
    let mut bench = roomy_bench(200_000, echo);
    let slow: Vec<Peer> = (0..100).map(|_| bench.connect()).collect();
    let fast = bench.connect();
    bench.sim.run_until_idle();
    let alone = latencies(&mut bench, &slow, || ());
    // Its bytes never run out, and it takes all that comes back.
    let beside = latencies(&mut bench, &slow, || {
        let _ = fast.send(&[1; 200_000]);
        let _ = fast.receive();
    });
    assert_eq!(alone, [1; 100]);
    assert_eq!(beside, alone);
    // Nor can a hundred fast ones.
    let many: Vec<Peer> = (0..100).map(|_| bench.connect()).collect();
    bench.sim.run_until_idle();
    let beside = latencies(&mut bench, &slow[..10], || {
        for fast in &many {
            let _ = fast.send(&[1; 200_000]);
            let _ = fast.receive();
        }
    });
    assert_eq!(beside, [1; 10]);
}

#[test]
fn a_deferring_call_cannot_starve_io() {
    fn again(lp: &mut LoopMut<'_>) {
        lp.handle().defer_fn(again).unwrap();
    }
    let mut bench = bench(echo);
    let peers: Vec<Peer> = (0..10).map(|_| bench.connect()).collect();
    bench.sim.run_until_idle();
    bench.lp().handle().defer_fn(again).unwrap();
    assert_eq!(latencies(&mut bench, &peers, || ()), [1; 10]);
    // Two batches an iteration, each with the one call that was present at the swap.
    let (run, begin) = (bench.lp().stats().deferred_run, bench.iterations());
    for _ in 0..100 {
        bench.sim.step();
    }
    assert_eq!(bench.iterations() - begin, 100);
    assert_eq!(bench.lp().stats().deferred_run - run, 200);
    // And it does not stop time: a timer has its turn as soon as it is due.
    let fired = Rc::new(Cell::new(false));
    let seen = Rc::clone(&fired);
    bench.lp().add_timer(Duration::from_millis(3), None, move |_, _| seen.set(true)).unwrap();
    bench.sim.world.jump(Duration::from_millis(3));
    bench.sim.step();
    assert!(fired.get());
}

#[test]
fn a_deferred_call_and_a_signal_end_a_wait() {
    fn end(lp: &mut LoopMut<'_>) {
        lp.stop();
    }
    let mut bench = bench(quiet);
    bench.sim.run_until_idle();
    let (log, handle) = (Rc::clone(&bench.log), bench.lp().handle());
    let seen = Rc::clone(&log);
    bench
        .lp()
        .on_signal(&[wharf_host::event_loop::Signal::User1], move |_, _| seen.borrow_mut().push("signal".into()))
        .unwrap();
    bench.sim.run_until_idle();
    handle.defer_fn(end).unwrap();
    bench.sim.world.raise(wharf_host::event_loop::Signal::User1);
    bench.sim.world.raise(wharf_host::event_loop::Signal::User2);
    bench.sim.run_until_idle();
    assert!(bench.sim.has_ended(0));
    assert_eq!(*log.borrow(), ["signal"]);
}

#[test]
fn timers_are_never_early_and_keep_their_phase_when_the_clock_jumps() {
    let mut bench = bench(quiet);
    let ticks = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&ticks);
    bench
        .lp()
        .add_timer(Duration::from_millis(10), Some(Duration::from_millis(10)), move |lp, tick| {
            assert!(lp.now() >= tick.scheduled);
            seen.borrow_mut().push((lp.now().as_micros() / 1000, tick.scheduled.as_micros() / 1000, tick.missed));
        })
        .unwrap();
    bench.sim.run_for(Duration::from_millis(25));
    bench.sim.world.jump(Duration::from_millis(30));
    bench.sim.run_for(Duration::from_millis(10));
    assert_eq!(*ticks.borrow(), [(10, 10, 0), (20, 20, 0), (55, 50, 2), (60, 60, 0)]);
    assert_eq!(bench.sim.world.now(), Instant::from_millis(65));
}

#[test]
fn a_timer_that_is_put_off_is_on_time_and_wakes_the_loop_once_more() {
    let mut bench = bench(quiet);
    let ticks = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&ticks);
    let ms = Duration::from_millis;
    let id = bench.lp().add_idle_timer(move |lp, _| seen.borrow_mut().push(lp.now().as_micros() / 1000));
    for (put_off_to, fetched_back_to) in [(500, None), (800, Some(300)), (7_200_000, Some(7_000_000))] {
        let begin = bench.sim.world.now();
        for delay in (0..100).map(|at| ms(20 + at)).chain([ms(put_off_to)]).chain(fetched_back_to.map(ms)) {
            bench.lp().reset(id, delay, None).unwrap();
        }
        let before = bench.lp().stats().polls;
        bench.sim.run_until_idle();
        let due = begin.as_micros() / 1000 + fetched_back_to.unwrap_or(put_off_to);
        assert_eq!(ticks.take(), [due]);
        // For the place that the timer had, for the list in the wheel where it then lies, and for its tick.
        assert!(bench.lp().stats().polls - before <= 6, "{}", bench.lp().stats().polls - before);
    }
}

#[test]
fn a_panic_in_a_callback_closes_all_sockets() {
    let mut bench = bench(|what, _, _| assert!(what != "data", "on purpose"));
    let peers = [bench.connect(), bench.connect()];
    bench.sim.run_until_idle();
    assert_eq!((peers[0].send(b"x"), bench.sim.world.open()), (1, 3));
    assert!(catch_unwind(AssertUnwindSafe(|| bench.sim.step())).is_err());
    assert_eq!(bench.sim.world.open(), 0);
    assert_eq!(peers[1].ended(), Some(Ended::InOrder));
    let key = bench.key;
    assert!(matches!(bench.lp().listen(any(), key, ListenOptions::default()), Err(Error::Ended)));
}

#[test]
fn nobody_has_two_turns_in_one_iteration() {
    let options = LoopOptions { read_budget: 2, ..LoopOptions::default() };
    let mut bench = bench_with(Sim::new(0, Faults { false_events: 1000, ..Faults::none() }), options, quiet);
    let (other, greedy) = (bench.connect(), bench.connect());
    bench.sim.run_until_idle();
    let read = each_iteration(
        &mut bench,
        |stats| stats.bytes_in,
        |bench| {
            assert_eq!(greedy.send(&[7; 40]), 40);
            for _ in 0..20 {
                // With this event comes one for the greedy one, whose turn comes anyway.
                assert_eq!(other.send(b"x"), 1);
                bench.sim.step();
            }
        },
    );
    assert_eq!(read, [3; 20]);
}

#[test]
fn what_is_written_to_a_socket_that_waits_for_its_turn_waits_for_its_queue() {
    let faults = Faults { capacity: 8..=8, ..Faults::none() };
    let options = LoopOptions { read_budget: 2, ..LoopOptions::default() };
    let mut greedy = None;
    let mut bench = bench_with(Sim::new(0, faults), options, move |what, s, bytes| match (what, bytes) {
        ("open", _) => greedy = greedy.or(Some(s.id())),
        ("data", b"z") => {
            let greedy = greedy.expect("the greedy one opened first");
            assert_eq!(s.loop_mut().stream(greedy).unwrap().write(b"z").unwrap(), 1);
        }
        ("data", b"ab") => assert_eq!(s.write(b"0123456789").unwrap(), 10),
        _ => {}
    });
    let (greedy, other) = (bench.connect(), bench.connect());
    bench.sim.run_until_idle();
    assert_eq!(greedy.send(b"abcdefgh"), 8);
    bench.sim.step();
    // Eight bytes have left and two are queued, and six have not been read. Now there is room again.
    let mut back = greedy.receive();
    assert_eq!(other.send(b"z"), 1);
    bench.sim.run_until_idle();
    back.extend(greedy.receive());
    assert_eq!(String::from_utf8(back).unwrap(), "0123456789z");
}

#[test]
fn a_long_callback_moves_now_and_is_counted_without_samples() {
    let sim = Sim::strict();
    let (world, times) = (sim.world.clone(), Rc::new(RefCell::new(Vec::new())));
    let seen = Rc::clone(&times);
    let options = LoopOptions { sample_every: 0, slow_callback: Duration::from_millis(2), ..LoopOptions::default() };
    let mut bench = bench_with(sim, options, move |what, s, _| {
        if what == "data" {
            seen.borrow_mut().push((s.now().as_micros(), s.loop_mut().stats().slow_callbacks));
            world.jump(Duration::from_millis(3));
        }
    });
    let peers: Vec<Peer> = (0..3).map(|_| bench.connect()).collect();
    bench.sim.run_until_idle();
    let begin = bench.sim.world.now().as_micros();
    for peer in &peers {
        assert_eq!(peer.send(b"x"), 1);
    }
    bench.sim.step();
    assert_eq!(*times.borrow(), [(begin, 0), (begin + 3000, 1), (begin + 6000, 2)]);
}
