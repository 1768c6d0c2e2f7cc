//! Counters and distributions.

use crate::harness::{bench, spin};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use wharf_host::event_loop::{Histograms, Loop, LoopOptions};

const MOMENT: Duration = Duration::from_millis(2);

fn counts(histograms: &Histograms) -> [u64; 4] {
    let Histograms { poll_wait, callback, timer_lateness, deferred_delay, .. } = histograms;
    [poll_wait, callback, timer_lateness, deferred_delay].map(wharf_core::stats::Histogram::count)
}

/// A loop after three turns, each with a batch of two deferred calls and one timer.
fn three_turns(sample_every: u32) -> Loop {
    let mut lp = Loop::with_options((), LoopOptions { sample_every, ..LoopOptions::default() }).unwrap();
    for _ in 0..3 {
        lp.loop_mut().add_timer(Duration::ZERO, None, |_, _| spin(MOMENT)).unwrap();
        lp.handle().defer(|_| ()).unwrap();
        spin(MOMENT);
        lp.handle().defer(|_| ()).unwrap();
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    lp
}

#[test]
fn every_event_is_measured_if_so_asked() {
    let mut lp = three_turns(1);
    let histograms = lp.loop_mut().histograms().clone();
    // Of a batch only its first call, which has waited the longest.
    assert_eq!(counts(&histograms), [3, 9, 3, 3]);
    assert!(histograms.deferred_delay.min() >= Some(MOMENT), "{histograms:?}");
    assert!(histograms.timer_lateness.min() >= Some(MOMENT), "{histograms:?}");
    assert!(histograms.callback.quantile_ppm(1_000_000) >= Some(MOMENT), "{histograms:?}");
}

#[test]
fn of_many_events_a_sample_is_measured_and_none_if_so_asked() {
    assert_eq!(counts(three_turns(2).loop_mut().histograms()), [2, 6, 2, 2]);
    assert_eq!(counts(three_turns(17).loop_mut().histograms()), [1, 3, 1, 1]);
    assert_eq!(counts(three_turns(0).loop_mut().histograms()), [0; 4]);
}

#[test]
fn an_abort_is_counted_apart_from_a_close() {
    let mut bench = bench(|what, s, bytes| {
        if what == "data" && bytes == b"abort" {
            s.abort();
        } else if what == "data" {
            s.close(0);
        }
    });
    for text in ["abort", "close"] {
        let mut client = TcpStream::connect(bench.addr).unwrap();
        client.write_all(text.as_bytes()).unwrap();
        assert!(bench.lp.run_until(|lp| lp.stats().sockets == 0 && lp.stats().opened > 0).unwrap());
        let _ = client.read(&mut [0; 1]);
    }
    let stats = bench.lp.loop_mut().stats();
    assert_eq!((stats.closed_aborted, stats.closed_local, stats.opened), (1, 1, 2));
}
