//! Timers.

use crate::harness::{Probe, bench, spin};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::{ContextKey, Error, Loop, LoopMut, LoopOptions, MAX_SPAN, Tick};

#[test]
fn timers_fire_in_order_never_early_and_not_in_the_step_that_armed_them() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    let start = set.now();
    for (name, millis) in [("b", 5), ("a", 2), ("c", 5)] {
        set.add_timer(Duration::from_millis(millis), None, move |lp, tick| {
            assert!(lp.now() >= start.saturating_add(Duration::from_millis(millis)) && lp.now() >= tick.scheduled);
            let n = lp.iteration();
            lp.data().push((name, n));
            lp.add_timer(Duration::ZERO, None, move |lp, _| {
                assert_eq!(lp.iteration(), n + 1);
                lp.data().push(("next", n + 1));
            })
            .unwrap();
        })
        .unwrap();
    }
    lp.run().unwrap();
    let names: Vec<_> = lp.loop_mut().data().iter().map(|(name, _)| *name).filter(|name| *name != "next").collect();
    assert_eq!((names, lp.loop_mut().data().len()), (vec!["a", "b", "c"], 6));
}

#[test]
fn a_repeating_timer_keeps_its_phase_and_merges_what_it_missed() {
    let mut lp = Loop::with_data((Vec::new(), 0)).unwrap();
    let ms = Duration::from_millis;
    let id = lp
        .loop_mut()
        .add_timer(ms(2), Some(ms(2)), move |lp, tick| {
            if lp.data().0.is_empty() {
                // A callback that overruns several ticks.
                spin(ms(9));
            }
            lp.data().0.push(tick.scheduled);
            // What was missed before the first tick lies before the span that is measured.
            let first = lp.data().0.len() == 1;
            lp.data().1 += if first { 1 } else { 1 + tick.missed };
            if lp.data().0.len() == 4 {
                lp.close(tick.id).unwrap();
            }
        })
        .unwrap();
    lp.run().unwrap();
    assert!(matches!(lp.loop_mut().reset(id, ms(1), None), Err(Error::Stale)));
    let (ticks, counted) = lp.loop_mut().data().clone();
    let span = ticks[3].as_micros() - ticks[0].as_micros();
    assert_eq!(span, (counted - 1) * 2000);
    assert!(counted >= 4 + 3, "{counted}");
}

#[test]
fn a_timer_can_be_replaced_reset_disarmed_and_kept() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let ms = Duration::from_millis;
    let mut set = lp.loop_mut();
    let kept = set.add_idle_timer(move |lp, tick| {
        lp.data().push("kept");
        if lp.data().len() < 3 {
            lp.reset(tick.id, ms(1), None).unwrap();
        }
    });
    assert_eq!(set.remaining(kept).unwrap(), None);
    set.reset_at(kept, set.now()).unwrap();
    let other = set.add_timer(Duration::from_secs(1000), None, |lp, _| lp.data().push("never")).unwrap();
    assert!(set.remaining(other).unwrap().unwrap() > Duration::from_secs(999));
    set.disarm(other).unwrap();
    let own = set
        .add_timer(ms(1), None, |lp, tick| lp.replace(tick.id, |lp, _| lp.data().push("replaced")).unwrap())
        .unwrap();
    lp.turn(Some(ms(10))).unwrap();
    lp.run_until(|lp| lp.remaining(own).is_err()).unwrap();
    lp.run().unwrap();
    assert_eq!(*lp.loop_mut().data(), ["kept", "kept", "kept"]);
}

#[test]
fn timer_spans_out_of_range_are_refused() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let max = u64::from(u32::MAX);
    let longest = Duration::from_millis(max);
    let id = set.add_timer(longest, Some(longest), |_, _| ()).unwrap();
    assert!(set.remaining(id).unwrap().unwrap() >= longest);
    let asked = |result: Result<_, Error>| match result {
        Err(Error::OutOfRange { asked, max }) => (asked, max),
        _ => panic!("not refused"),
    };
    assert_eq!(asked(set.reset(id, longest + Duration::from_millis(1), None)), (max + 1, max));
    assert_eq!(asked(set.reset(id, Duration::ZERO, Some(Duration::ZERO))), (0, 1));
}

#[test]
fn timers_come_by_deadline_and_then_in_the_order_of_arming() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    let (start, ms) = (set.now(), Duration::from_millis);
    let mut ids = Vec::new();
    for (name, delay) in [("d", 3), ("b", 2), ("e", 3), ("a", 1), ("c", 2)] {
        let id = set.add_idle_timer(move |lp, _| lp.data().push(name));
        set.reset_at(id, start.saturating_add(ms(delay))).unwrap();
        ids.push(id);
    }
    // Armed anew, it is the last of its deadline.
    set.reset_at(ids[0], start.saturating_add(ms(3))).unwrap();
    spin(ms(4));
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*lp.loop_mut().data(), ["a", "b", "c", "e", "d"], "all in one iteration");
}

#[test]
fn a_timer_that_was_put_off_comes_in_its_order_of_arming() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    let (start, ms) = (set.now(), Duration::from_millis);
    let mut add = |name, delay| {
        let id = set.add_idle_timer(move |lp, _| lp.data().push(name));
        set.reset_at(id, start.saturating_add(delay)).unwrap();
        id
    };
    let (early, same, late) = (add("first", ms(1)), add("third", ms(4)), add("fifth", ms(40)));
    let put_off = |lp: &mut Loop<_>, id, delay| lp.loop_mut().reset_at(id, start.saturating_add(delay)).unwrap();
    let near = Duration::from_micros(4400);
    // Put off before and after the one that was armed in between; put off and fetched back; by less than a millisecond.
    put_off(&mut lp, early, ms(4));
    let mut set = lp.loop_mut();
    let second = set.add_idle_timer(|lp, _| lp.data().push("second"));
    set.reset_at(second, start.saturating_add(ms(4))).unwrap();
    put_off(&mut lp, same, ms(50));
    put_off(&mut lp, same, ms(4));
    put_off(&mut lp, late, ms(90));
    put_off(&mut lp, late, near);
    let mut set = lp.loop_mut();
    let fourth = set.add_idle_timer(|lp, _| lp.data().push("fourth"));
    set.reset_at(fourth, start.saturating_add(Duration::from_micros(4300))).unwrap();
    spin(ms(6));
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*lp.loop_mut().data(), ["first", "second", "third", "fourth", "fifth"], "all in one iteration");
}

#[test]
fn a_timer_that_was_put_off_does_not_overtake_at_the_budget() {
    let options = LoopOptions { timer_budget: 1, ..LoopOptions::default() };
    let mut lp = Loop::with_options(Vec::new(), options).unwrap();
    let mut set = lp.loop_mut();
    // Whole milliseconds of the clock, which is what the wheel holds timers at.
    let base = Instant::from_micros((set.now().as_micros() / 1000 + 3) * 1000);
    let at = |micros| base.saturating_add(Duration::from_micros(micros));
    let put_off = set.add_idle_timer(|lp, _| lp.data().push("put off"));
    set.reset_at(put_off, at(300)).unwrap();
    let other = set.add_idle_timer(|lp, _| lp.data().push("other"));
    set.reset_at(other, at(1100)).unwrap();
    set.reset_at(put_off, at(1200)).unwrap();
    spin(Duration::from_millis(10));
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*lp.loop_mut().data(), ["other"]);
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*lp.loop_mut().data(), ["other", "put off"]);
}

#[test]
fn what_is_left_of_a_budget_stays_in_order_with_what_is_armed_for_the_past() {
    let options = LoopOptions { timer_budget: 2, ..LoopOptions::default() };
    let mut lp = Loop::with_options(Vec::new(), options).unwrap();
    let mut set = lp.loop_mut();
    let (start, ms) = (set.now(), Duration::from_millis);
    let mut ids = Vec::new();
    for (name, delay) in [("a", 2), ("b", 2), ("c", 2), ("d", 2), ("e", 3)] {
        let id = set.add_idle_timer(move |lp, _| lp.data().push(name));
        set.reset_at(id, start.saturating_add(ms(delay))).unwrap();
        ids.push(id);
    }
    spin(ms(4));
    lp.turn(None).unwrap();
    let mut set = lp.loop_mut();
    assert_eq!(*set.data(), ["a", "b"]);
    // "c" is due and waits; then it is armed anew, "d" is closed, and "e" is fetched to the front.
    set.reset_at(ids[2], start.saturating_add(ms(1000))).unwrap();
    set.close(ids[3]).unwrap();
    set.reset_at(ids[4], start.saturating_add(ms(1))).unwrap();
    set.reset_at(ids[0], start.saturating_add(ms(1))).unwrap();
    set.reset_at(ids[1], start).unwrap();
    lp.turn(None).unwrap();
    assert_eq!(*lp.loop_mut().data(), ["a", "b", "b", "e"]);
    lp.turn(None).unwrap();
    assert_eq!(*lp.loop_mut().data(), ["a", "b", "b", "e", "a"]);
    assert!(lp.loop_mut().remaining(ids[2]).unwrap().is_some(), "it is not due");
}

#[test]
fn one_iteration_fires_no_more_timers_than_the_budget_and_waits_for_none_of_the_rest() {
    let options = LoopOptions { timer_budget: 2, ..LoopOptions::default() };
    let mut lp = Loop::with_options(Vec::new(), options).unwrap();
    for number in 0..5 {
        lp.loop_mut().add_timer(Duration::ZERO, None, move |lp, _| lp.data().push(number)).unwrap();
    }
    for fired in [2, 4, 5] {
        lp.turn(None).unwrap();
        assert!(lp.loop_mut().data().iter().copied().eq(0..fired));
    }
}

#[test]
fn a_timer_is_reset_replaced_and_closed_in_its_own_callback() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let (ms, hour) = (Duration::from_millis, Duration::from_secs(3600));
    let mut set = lp.loop_mut();
    let reset = set
        .add_timer(ms(1), None, move |lp, tick| {
            lp.data().push("once");
            assert_eq!(lp.remaining(tick.id).unwrap(), None, "it has fired");
            if lp.data().iter().filter(|name| **name == "once").count() < 3 {
                lp.reset(tick.id, ms(1), None).unwrap();
            }
        })
        .unwrap();
    let replaced = set
        .add_timer(ms(1), Some(ms(1)), move |lp, tick| {
            lp.data().push("before");
            lp.replace(tick.id, |lp, tick| {
                lp.data().push("after");
                lp.close(tick.id).unwrap();
                assert!(matches!(lp.close(tick.id), Err(Error::Stale)));
            })
            .unwrap();
            assert!(lp.remaining(tick.id).unwrap().is_some_and(|left| left <= ms(1)), "the next tick stays armed");
        })
        .unwrap();
    // Closed and another added in its place, which is not the one whose callback runs.
    let closed = set
        .add_timer(ms(1), Some(ms(1)), move |lp, tick| {
            lp.data().push("closed");
            lp.close(tick.id).unwrap();
            let other = lp.add_timer(hour, None, |_, _| ()).unwrap();
            assert_ne!(other, tick.id);
            assert!(lp.remaining(other).unwrap().is_some());
            lp.close(other).unwrap();
        })
        .unwrap();
    lp.run_until(|lp| [reset, replaced, closed].iter().all(|id| lp.remaining(*id).is_err())).unwrap();
    let mut data = lp.loop_mut().data().clone();
    data.sort_unstable();
    assert_eq!(data, ["after", "before", "closed", "once", "once", "once"]);
}

#[test]
fn a_timer_without_a_tick_to_come_goes_with_its_callback_unless_that_has_disarmed_it() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let ms = Duration::from_millis;
    let mut set = lp.loop_mut();
    let once = set.add_timer(ms(1), None, |lp, _| lp.data().push("once")).unwrap();
    // Disarmed before its tick, it is armed again and is a one-shot as before.
    let put_off = set.add_timer(ms(1), None, |lp, _| lp.data().push("put off")).unwrap();
    set.disarm(put_off).unwrap();
    assert_eq!(set.remaining(put_off).unwrap(), None);
    set.reset(put_off, ms(2), None).unwrap();
    // Disarmed in its callback, it stays for a `reset` from elsewhere, once each time.
    let kept = set.add_timer(ms(1), None, |lp, tick| {
        lp.data().push("kept");
        if lp.data().iter().filter(|name| **name == "kept").count() == 1 {
            lp.disarm(tick.id).unwrap();
        }
    });
    let stopped = set.add_timer(ms(1), Some(ms(1)), |lp, tick| {
        lp.data().push("stopped");
        lp.disarm(tick.id).unwrap();
    });
    let (kept, stopped) = (kept.unwrap(), stopped.unwrap());
    let idle = set.add_idle_timer(|lp, _| lp.data().push("idle"));
    set.reset(idle, ms(1), None).unwrap();
    assert!(lp.run_until(|lp| lp.data().len() == 5).unwrap());
    let mut set = lp.loop_mut();
    for id in [once, put_off] {
        assert!(matches!(set.remaining(id), Err(Error::Stale)));
        assert!(matches!(set.reset(id, ms(1), None), Err(Error::Stale)));
    }
    for id in [kept, stopped, idle] {
        assert_eq!(set.remaining(id).unwrap(), None);
        set.reset(id, ms(1), None).unwrap();
    }
    assert!(lp.run_until(|lp| lp.data().len() == 8).unwrap());
    let mut set = lp.loop_mut();
    assert!(matches!(set.remaining(kept), Err(Error::Stale)), "it was not disarmed this time");
    assert_eq!((set.remaining(stopped).unwrap(), set.remaining(idle).unwrap()), (None, None));
    // What is not armed keeps no loop alive.
    lp.run().unwrap();
    assert_eq!(lp.loop_mut().stats().timers_fired, 8);
}

#[test]
fn a_timer_is_reset_replaced_and_closed_by_another() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    let now = set.now();
    let late = set.add_timer(Duration::from_secs(3600), Some(Duration::from_secs(1)), |lp, _| lp.data().push("old"));
    let (late, gone) = (late.unwrap(), set.add_idle_timer(|lp, _| lp.data().push("gone")));
    let first = set.add_idle_timer(move |lp, _| {
        // Both are due in this very step.
        lp.close(gone).unwrap();
        lp.replace(late, |lp, _| lp.data().push("new")).unwrap();
        assert!(lp.remaining(late).unwrap() > Some(Duration::from_secs(3599)), "the deadline stays");
        lp.reset(late, Duration::ZERO, None).unwrap();
    });
    set.reset_at(first, now).unwrap();
    set.reset_at(gone, now).unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert!(lp.loop_mut().data().is_empty(), "a delay of 0 is the next step, never the present one");
    lp.turn(None).unwrap();
    assert_eq!(*lp.loop_mut().data(), ["new"]);
    assert!(matches!(lp.loop_mut().remaining(late), Err(Error::Stale)), "the repetition was reset away");
}

#[test]
fn ticks_missed_in_a_long_callback_become_one_call_and_the_phase_stays() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let ms = Duration::from_millis;
    let record = |lp: &mut LoopMut<'_, Vec<_>>, tick| {
        let iteration = lp.iteration();
        lp.data().push((iteration, tick));
    };
    lp.loop_mut().add_timer(ms(3), Some(ms(3)), record).unwrap();
    lp.turn(None).unwrap();
    for _ in 0..3 {
        spin(ms(10));
        lp.turn(None).unwrap();
    }
    let stats = lp.loop_mut().stats();
    let ticks = std::mem::take(lp.loop_mut().data());
    assert!(ticks.windows(2).all(|pair| pair[0].0 < pair[1].0), "a burst: {ticks:?}");
    let mut at = ticks[0].1.scheduled.as_micros() - 3000 * ticks[0].1.missed;
    let first = at;
    for (_, Tick { scheduled, missed, .. }) in &ticks {
        at += 3000 * missed;
        assert_eq!(scheduled.as_micros(), at, "first + k x 3 ms");
        at += 3000;
    }
    assert_eq!(stats.timers_missed, ticks.iter().map(|(_, tick)| tick.missed).sum::<u64>());
    assert!(ticks[1..].iter().all(|(_, tick)| tick.missed >= 2) && at - first >= 27_000, "{ticks:?}");
}

#[test]
fn time_is_taken_again_after_a_long_callback_and_so_the_next_timer_is_due() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let ms = Duration::from_millis;
    let mut set = lp.loop_mut();
    let start = set.now();
    let long = set.add_idle_timer(move |lp, _| {
        let before = lp.now();
        spin(ms(5));
        assert_eq!(lp.now(), before, "time stands still inside a callback");
        let n = lp.iteration();
        lp.data().push((n, before));
    });
    let next = set.add_idle_timer(|lp, tick| {
        let (n, now) = (lp.iteration(), lp.now());
        assert!(now >= tick.scheduled);
        lp.data().push((n, now));
    });
    set.reset_at(long, start).unwrap();
    set.reset_at(next, start.saturating_add(ms(4))).unwrap();
    lp.run_until(|lp| lp.data().len() == 2).unwrap();
    let [(first, before), (second, after)] = lp.loop_mut().data()[..] else { panic!("two timers") };
    assert_eq!(first, second, "both in one iteration");
    assert!(after >= before.saturating_add(ms(5)));
}

#[test]
fn a_slow_callback_is_counted_and_logged_with_its_kind() {
    let spins = |slow_callback| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || Lines(Arc::clone(&writer))).finish();
        let options = LoopOptions { slow_callback, ..LoopOptions::default() };
        let mut lp = Loop::with_options((), options).unwrap();
        lp.loop_mut().add_timer(Duration::ZERO, None, |_, _| spin(Duration::from_millis(2))).unwrap();
        lp.handle().defer(|_| spin(Duration::from_millis(2))).unwrap();
        tracing::subscriber::with_default(subscriber, || lp.turn(None).unwrap());
        let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        (lp.loop_mut().stats().slow_callbacks, text)
    };
    assert_eq!(spins(Duration::from_secs(3600)), (0, String::new()));
    let (counted, text) = spins(Duration::from_millis(1));
    assert_eq!((counted, text.lines().count()), (2, 2), "{text}");
    for (line, kind) in text.lines().zip(["deferred call", "timer"]) {
        assert!(line.contains("slow callback") && line.contains(&format!("kind=\"{kind}\"")), "{line}");
    }
}

#[test]
fn spans_reach_from_one_to_the_longest_and_no_further() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let (ms, now) = (Duration::from_millis, set.now());
    let id = set.add_timer(MAX_SPAN, Some(ms(1)), |_, _| panic!("in 49 days")).unwrap();
    // The span is counted from now, which the clock has left behind: the wheel alone would not reach so far.
    assert!(set.remaining(id).unwrap().unwrap() >= MAX_SPAN);
    let refused = |result: Result<(), Error>| matches!(result, Err(Error::OutOfRange { .. }));
    let moment = Duration::from_micros(1);
    let before = set.remaining(id).unwrap();
    assert!(refused(set.reset(id, MAX_SPAN + moment, None)));
    assert!(refused(set.reset(id, ms(1), Some(MAX_SPAN + moment))));
    assert!(refused(set.reset(id, ms(1), Some(ms(1) - moment))));
    assert!(refused(set.reset(id, Duration::MAX, None)));
    assert!(refused(set.reset_at(id, now.saturating_add(MAX_SPAN + moment))));
    assert!(refused(set.add_timer(MAX_SPAN + moment, None, |_, _| ()).map(drop)));
    assert_eq!(set.remaining(id).unwrap(), before, "what is refused changes nothing");
    set.reset_at(id, now.saturating_add(MAX_SPAN)).unwrap();
    assert_eq!(set.remaining(id).unwrap(), Some(MAX_SPAN));
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(lp.loop_mut().stats().timers_fired, 0);
}

#[test]
fn a_socket_is_reached_from_a_timer_and_its_own_data_is_busy_in_a_callback() {
    let found = Rc::new(RefCell::new(None));
    let (slot, key_slot) = (Rc::clone(&found), Rc::new(RefCell::new(None::<ContextKey<Probe>>)));
    let keys = Rc::clone(&key_slot);
    let mut bench = bench(move |what, s, _| {
        if what == "open" {
            let (id, key) = (s.id(), keys.borrow().unwrap());
            assert!(matches!(s.loop_mut().user(key, id), Err(Error::Busy)));
            assert!(matches!(s.loop_mut().with_socket(key, id, |_| ()), Err(Error::Busy)));
            let slot = Rc::clone(&slot);
            s.loop_mut()
                .add_timer(Duration::ZERO, None, move |lp, _| {
                    lp.user(key, id).unwrap().extend_from_slice(b"from the timer");
                    assert_eq!(lp.sockets(key).collect::<Vec<_>>(), [id]);
                    lp.with_socket(key, id, |s| {
                        let (data, stream) = s.split();
                        stream.write(data).unwrap();
                        stream.finish().unwrap();
                    })
                    .unwrap();
                    *slot.borrow_mut() = Some(id);
                })
                .unwrap();
        }
    });
    *key_slot.borrow_mut() = Some(bench.key);
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let mut text = String::new();
        TcpStream::connect(addr).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    bench.run_to_closed(1);
    assert_eq!(client.join().unwrap(), "from the timer");
    assert!(found.borrow().is_some());
}

/// Writes into memory what is logged.
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
