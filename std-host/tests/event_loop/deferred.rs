//! Calls from other threads.

use crate::harness::bench;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{Error, Loop, LoopMut, LoopOptions, Why};

#[test]
fn defer_before_run_and_after_end() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let handle = lp.handle();
    handle.defer(|lp| lp.data().push(1)).unwrap();
    handle.defer_shared(Arc::new(|lp: &mut LoopMut<'_, Vec<i32>>| lp.data().push(2))).unwrap();
    handle.defer_fn(|lp| lp.data().push(3)).unwrap();
    assert!(!handle.is_running() && lp.loop_mut().data().is_empty());
    lp.run().unwrap();
    assert_eq!(*lp.loop_mut().data(), [1, 2, 3]);
    let owned = String::from("given back");
    let rejected = handle.defer(move |_| drop(owned)).unwrap_err();
    assert_eq!(rejected.why, Why::Ended);
    assert!(matches!(handle.call(|_| ()), Err(Error::Ended)));
    assert!(matches!(lp.run(), Err(Error::Ended)));
    assert!(!handle.is_running());
}

#[test]
fn a_full_queue_gives_the_closure_back() {
    let mut lp = Loop::with_options((), LoopOptions { deferred_limit: 2, ..LoopOptions::default() }).unwrap();
    let handle = lp.handle();
    handle.defer(|_| ()).unwrap();
    handle.defer(|_| ()).unwrap();
    assert_eq!(handle.defer(|_| ()).unwrap_err().why, Why::Full);
    lp.turn(Some(Duration::ZERO)).unwrap();
    handle.defer(|_| ()).unwrap();
    assert_eq!((lp.loop_mut().stats().deferred_rejected, lp.loop_mut().stats().deferred_run), (1, 2));
}

#[test]
fn calls_from_other_threads_are_all_run_in_order_with_fewer_wake_ups_than_calls() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    let senders: Vec<_> = (0..4_usize)
        .map(|sender| {
            let handle = handle.clone();
            thread::spawn(move || {
                for number in 0..5000_usize {
                    handle.defer(move |lp| lp.data().push((sender, number))).unwrap();
                }
                handle.call(|lp| lp.data().len()).unwrap()
            })
        })
        .collect();
    assert!(lp.run_until(|lp| lp.stats().deferred_run == 20_004).unwrap());
    for sender in senders {
        assert!(sender.join().unwrap() >= 5000);
    }
    for sender in 0..4 {
        let numbers: Vec<usize> = lp.loop_mut().data().iter().filter(|(s, _)| *s == sender).map(|(_, n)| *n).collect();
        assert!(numbers.iter().copied().eq(0..5000));
    }
    let stats = lp.loop_mut().stats();
    assert_eq!(stats.wake_ups + stats.coalesced, 20_004);
    assert!(stats.wake_ups < 20_004, "{stats:?}");
}

#[test]
fn a_handle_knows_its_thread_and_refuses_to_wait_for_itself() {
    let mut lp = Loop::with_data(None).unwrap();
    let handle = lp.handle();
    let inside = handle.clone();
    handle
        .defer(move |lp| {
            let refused = matches!(inside.call(|_| ()), Err(Error::OnLoopThread));
            let elsewhere = inside.clone();
            let other = thread::spawn(move || elsewhere.is_on_loop_thread()).join().unwrap();
            *lp.data() = Some((inside.is_on_loop_thread(), other, inside.is_running(), refused));
        })
        .unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*lp.loop_mut().data(), Some((true, false, true, true)));
    assert!(!handle.is_on_loop_thread() && handle.is_running());
}

#[test]
fn a_kept_loop_lives_until_its_handle_lets_it_go() {
    let mut lp = Loop::new().unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    let other = thread::spawn(move || handle.call(|lp| lp.iteration()).unwrap());
    lp.run().unwrap();
    assert!(other.join().unwrap() >= 1);
}

#[test]
fn a_deferring_call_cannot_starve_io() {
    fn again(lp: &mut LoopMut<'_>) {
        lp.handle().defer_fn(again).unwrap();
    }
    let mut bench = bench(|what, s, bytes| {
        if what == "data" {
            assert_eq!(s.write(bytes).unwrap(), bytes.len());
        }
    });
    bench.lp.handle().defer_fn(again).unwrap();
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        let mut back = [0; 5];
        for _ in 0..100 {
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"hello");
        }
    });
    bench.run_to_closed(1);
    client.join().unwrap();
    let mut lp = bench.lp.loop_mut();
    // One batch before the poll and one after it: never a call more.
    let (iterations, run) = (lp.iteration(), lp.stats().deferred_run);
    assert_eq!(run, 2 * iterations, "{:?}", lp.stats());
    lp.stop();
}
