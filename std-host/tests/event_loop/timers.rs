//! Timers.

use crate::harness::{Probe, bench};
use std::cell::RefCell;
use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{ContextKey, Error, Loop};

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
                let until = std::time::Instant::now() + ms(9);
                while std::time::Instant::now() < until {
                    std::hint::spin_loop();
                }
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
