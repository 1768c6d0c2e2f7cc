//! Calls from other threads.

use crate::harness::bench;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;
use wharf_host::event_loop::{Error, Loop, LoopMut, LoopOptions, Rejected, Turn, Why};

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
    const SENDERS: usize = 4;
    const CALLS: usize = if cfg!(debug_assertions) { 10_000 } else { 250_000 };
    let mut lp = Loop::with_data([0; SENDERS]).unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    let senders = [0, 1, 2, 3].map(|sender| {
        let handle = handle.clone();
        thread::spawn(move || {
            let mut refused = 0_u64;
            for number in 0..CALLS {
                let mut call = move |lp: &mut LoopMut<'_, [usize; SENDERS]>| {
                    assert_eq!(lp.data()[sender], number, "out of order");
                    lp.data()[sender] += 1;
                };
                while let Err(Rejected { why, f }) = handle.defer(call) {
                    assert_eq!(why, Why::Full);
                    (call, refused) = (f, refused + 1);
                    thread::yield_now();
                }
            }
            // More than `CALLS` would be another's.
            assert_eq!(handle.call(move |lp| lp.data()[sender]).unwrap(), CALLS);
            refused
        })
    });
    let total = (SENDERS * (CALLS + 1)) as u64;
    assert!(lp.run_until(|lp| lp.stats().deferred_run == total).unwrap());
    let refused: u64 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert_eq!(*lp.loop_mut().data(), [CALLS; SENDERS]);
    let stats = lp.loop_mut().stats();
    assert_eq!((stats.wake_ups + stats.coalesced, stats.deferred_rejected), (total, refused));
    assert!(stats.wake_ups < total, "{stats:?}");
}

#[test]
fn only_the_first_call_after_a_wait_has_begun_wakes_and_a_callback_never_does() {
    let mut lp = Loop::new().unwrap();
    let handle = lp.handle();
    for waits in 0..3 {
        for _ in 0..100 {
            handle.defer_fn(|_| ()).unwrap();
        }
        // The last one defers again, from the loop, in step 2; that runs in step 7.
        handle.defer(|lp| lp.handle().defer_fn(|_| ()).unwrap()).unwrap();
        lp.turn(Some(Duration::ZERO)).unwrap();
        let (stats, calls) = (lp.loop_mut().stats(), 102 * (waits + 1));
        assert_eq!((stats.wake_ups, stats.coalesced, stats.deferred_run), (waits, calls - waits, calls));
        // With nothing to do it waits, if only for so long.
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn what_a_call_has_done_is_seen_before_the_loop_waits() {
    let mut lp = Loop::with_data(false).unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    // A loop at work is not woken, and nothing else happens that would end a poll.
    assert!(handle.defer(|lp| *lp.data() = true).is_ok());
    assert!(lp.run_until(|lp| *lp.data()).unwrap());
    assert!(handle.defer(|lp| *lp.data() = false).is_ok());
    assert_eq!(lp.turn(None).unwrap(), Turn::Alive);
    assert!(!*lp.loop_mut().data());
}

#[test]
fn calls_of_all_senders_run_in_the_order_in_which_they_were_queued() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let handles = [lp.handle(), lp.handle(), lp.handle()];
    for number in 0..30 {
        let handle = handles[number % 3].clone();
        thread::spawn(move || handle.defer(move |lp| lp.data().push(number)).unwrap()).join().unwrap();
    }
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert!(lp.loop_mut().data().iter().copied().eq(0..30));
}

#[test]
fn a_call_that_defers_waits_for_the_next_batch() {
    fn generation(lp: &mut LoopMut<'_, Vec<u64>>) {
        let iteration = lp.iteration();
        lp.data().push(iteration);
        if lp.data().len() < 8 {
            lp.handle().defer_fn(generation).unwrap();
        }
    }
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let handle = lp.handle();
    handle.defer_fn(generation).unwrap();
    handle.defer_fn(generation).unwrap();
    // Nobody wakes the second turn, which does not wait all the same: half of its calls are queued by the other half.
    for _ in 0..2 {
        lp.turn(None).unwrap();
    }
    assert_eq!(*lp.loop_mut().data(), [1, 1, 1, 1, 2, 2, 2, 2]);
}

#[test]
fn a_refused_call_comes_back_whole() {
    let mut lp = Loop::with_options((), LoopOptions { deferred_limit: 0, ..LoopOptions::default() }).unwrap();
    let handle = lp.handle();
    let kept = Arc::new(());
    let shared = Arc::new(|_: &mut LoopMut<'_>| ());
    for why in [Why::Full, Why::Ended] {
        let inside = Arc::clone(&kept);
        let rejected = handle.defer(move |_| drop(inside)).unwrap_err();
        assert_eq!((rejected.why, Arc::strong_count(&kept)), (why, 2));
        drop(rejected.f);
        assert_eq!(Arc::strong_count(&kept), 1);
        let rejected = handle.defer_shared(Arc::clone(&shared)).unwrap_err();
        assert!(rejected.why == why && Arc::ptr_eq(&rejected.f, &shared));
        assert_eq!(handle.defer_fn(|_| ()).unwrap_err().why, why);
        let error = handle.call(|_| ()).unwrap_err();
        assert!(matches!((why, &error), (Why::Full, Error::Full) | (Why::Ended, Error::Ended)), "{error}");
        lp.loop_mut().stop();
        if why == Why::Full {
            lp.run().unwrap();
        }
    }
    assert_eq!(lp.loop_mut().stats().deferred_rejected, 8);
}

/// Tells on which thread it is dropped.
struct Dropped(mpsc::Sender<ThreadId>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn calls_queued_at_the_end_are_dropped_on_the_thread_of_the_loop_and_counted() {
    let (sender, dropped) = mpsc::channel();
    let mut lp = Loop::new().unwrap();
    let handle = lp.handle();
    lp.loop_mut().after_poll(move |lp| {
        lp.stop();
        // Step 7 is over: these have no batch any more.
        for _ in 0..3 {
            let (handle, guard) = (handle.clone(), Dropped(sender.clone()));
            thread::spawn(move || handle.defer(move |_| drop(guard)).unwrap()).join().unwrap();
        }
    });
    lp.run().unwrap();
    let stats = lp.loop_mut().stats();
    assert_eq!((stats.deferred_dropped, stats.deferred_run), (3, 0));
    assert_eq!(dropped.try_iter().collect::<Vec<_>>(), [thread::current().id(); 3]);
}

#[test]
fn calls_behind_one_that_panics_are_dropped_and_counted() {
    let (sender, dropped) = mpsc::channel();
    let mut lp = Loop::new().unwrap();
    let handle = lp.handle();
    handle.defer(|_| panic!("on purpose")).unwrap();
    for _ in 0..3 {
        let guard = Dropped(sender.clone());
        handle.defer(move |_| drop(guard)).unwrap();
    }
    catch_unwind(AssertUnwindSafe(|| lp.run())).unwrap_err();
    let stats = lp.loop_mut().stats();
    assert_eq!((stats.deferred_run, stats.deferred_dropped), (1, 3));
    assert_eq!(dropped.try_iter().count(), 3);
}

#[test]
fn a_loop_that_never_ran_drops_its_calls() {
    let (sender, dropped) = mpsc::channel();
    let lp = Loop::new().unwrap();
    let (handle, guard) = (lp.handle(), Dropped(sender));
    handle.defer(move |_| drop(guard)).unwrap();
    drop(lp);
    assert_eq!(dropped.try_iter().count(), 1);
    assert_eq!(handle.defer(|_| ()).unwrap_err().why, Why::Ended);
}

#[test]
fn a_call_while_the_loop_ends_returns_its_result_or_the_end() {
    let mut lp = Loop::with_data(0_u64).unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    let callers = [(); 3].map(|()| {
        let handle = handle.clone();
        thread::spawn(move || {
            let count = |lp: &mut LoopMut<'_, u64>| {
                *lp.data() += 1;
                *lp.data()
            };
            let mut answered = 0;
            loop {
                match handle.call(count) {
                    Ok(number) => {
                        answered += 1;
                        if number == 1000 {
                            handle.stop();
                        }
                    }
                    Err(error) => return (answered, error),
                }
            }
        })
    });
    lp.run().unwrap();
    let mut answered = 0;
    for caller in callers {
        let (count, error) = caller.join().unwrap();
        assert!(matches!(error, Error::Ended), "{error}");
        answered += count;
    }
    assert_eq!(answered, *lp.loop_mut().data(), "what ran was answered, and nothing else was");
}

#[test]
fn a_call_that_panics_tells_its_caller_that_the_loop_has_ended() {
    let mut lp = Loop::new().unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    let caller = thread::spawn(move || handle.call(|_| panic!("on purpose")));
    catch_unwind(AssertUnwindSafe(|| lp.run())).unwrap_err();
    assert!(matches!(caller.join().unwrap(), Err::<(), _>(Error::Ended)));
}

#[test]
fn wake_and_stop_come_from_any_thread_and_may_be_repeated() {
    let mut lp = Loop::new().unwrap();
    let handle = lp.handle();
    let other = handle.clone();
    thread::spawn(move || {
        other.wake();
        other.wake();
    })
    .join()
    .unwrap();
    // Without a wake this would wait for ever.
    assert_eq!(lp.turn(None).unwrap(), Turn::Idle);
    assert_eq!(lp.loop_mut().stats().wake_ups, 2);
    handle.keep_alive(true);
    let other = handle.clone();
    let other = thread::spawn(move || {
        other.call(|_| ()).unwrap();
        other.stop();
        other.stop();
    });
    lp.run().unwrap();
    other.join().unwrap();
    handle.stop();
    handle.wake();
    assert!(!handle.is_running());
}

#[test]
fn a_handle_goes_to_other_threads_whatever_the_loop_holds() {
    const fn goes_anywhere<H: Send + Sync + Clone + 'static>(_: &H) {}
    let mut lp = Loop::with_data(Rc::new(7)).unwrap();
    let handle = lp.handle();
    goes_anywhere(&handle);
    handle.keep_alive(true);
    let other = thread::spawn(move || handle.call(|lp| **lp.data()).unwrap());
    lp.run().unwrap();
    assert_eq!(other.join().unwrap(), 7);
}

#[test]
fn a_loop_is_kept_until_the_last_of_its_keepers_is_gone() {
    let mut lp = Loop::new().unwrap();
    let (first, second) = (lp.handle(), lp.handle());
    let turn = |lp: &mut Loop| lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(turn(&mut lp), Turn::Idle, "a handle alone keeps nothing alive");
    first.keep_alive(true);
    first.keep_alive(true);
    second.keep_alive(true);
    let clone = first.clone();
    assert_eq!(turn(&mut lp), Turn::Alive);
    first.keep_alive(false);
    assert_eq!(turn(&mut lp), Turn::Alive, "the second still does");
    drop(second);
    assert_eq!(turn(&mut lp), Turn::Idle, "a clone starts without the wish");
    drop(clone);
    assert!(!first.is_on_loop_thread() && first.is_running(), "running, but inside no turn");
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
