//! The examples without sockets: timer, deferred.

use crate::Example;

#[test]
fn the_timer_ticks_five_times_and_is_done() {
    let mut timer = Example::start("timer", &[]);
    let mut last = 0;
    while last < 5 {
        let line = timer.line();
        let ticks: u64 = line.strip_suffix(" ticks").and_then(|count| count.parse().ok()).expect("a count of ticks");
        assert!(ticks > last, "{line}");
        last = ticks;
    }
    assert_eq!(timer.line(), "done");
    timer.ends();
}

#[test]
fn the_loop_collects_what_the_workers_send() {
    let mut deferred = Example::start("deferred", &[]);
    for (worker, sum) in [(1, 500_500), (2, 2_001_000), (3, 4_501_500), (4, 8_002_000)] {
        assert_eq!(deferred.line(), format!("worker {worker}: {sum}"));
    }
    assert_eq!(deferred.line(), "");
    deferred.ends();
}
