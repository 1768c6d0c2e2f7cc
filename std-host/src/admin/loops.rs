//! What a loop counts, as metrics: `wharf_loop_*`, with the index of the loop as the label `loop`.

use super::exposition::Exposition;
use super::registry::Registry;
use crate::event_loop::{Handle, Histograms, Stats};
use wharf_core::stats::Histogram;

type Count = fn(&Stats) -> u64;
type Distribution = fn(&Histograms) -> &Histogram;

/// Counters without further labels.
const COUNTERS: [(&str, &str, Count); 18] = [
    ("wharf_loop_iterations_total", "Iterations begun.", |s| s.iterations),
    ("wharf_loop_polls_total", "Calls of the system's poll.", |s| s.polls),
    ("wharf_loop_events_total", "Events that poll reported.", |s| s.events),
    ("wharf_loop_false_events_total", "Reads that found nothing although an event had announced something.", |s| {
        s.false_events
    }),
    ("wharf_loop_accepted_total", "Connections accepted and kept.", |s| s.accepted),
    ("wharf_loop_refused_total", "Connections turned away before they were opened.", |s| s.refused),
    ("wharf_loop_accept_pauses_total", "Pauses of listeners for want of descriptors or memory.", |s| s.pauses),
    ("wharf_loop_connect_failed_total", "Connections that did not come about.", |s| s.connect_failed),
    ("wharf_loop_reads_total", "Calls of the system's read.", |s| s.reads),
    ("wharf_loop_writes_total", "Write calls that took bytes.", |s| s.writes),
    ("wharf_loop_short_writes_total", "Writes that took less than was offered.", |s| s.short_writes),
    ("wharf_loop_unsent_bytes_total", "Queued bytes that were dropped by a close.", |s| s.unsent),
    ("wharf_loop_deferred_total", "Deferred calls run.", |s| s.deferred_run),
    ("wharf_loop_deferred_rejected_total", "Deferred calls refused.", |s| s.deferred_rejected),
    ("wharf_loop_wake_ups_total", "Writes to the waker.", |s| s.wake_ups),
    ("wharf_loop_timers_fired_total", "Timer callbacks.", |s| s.timers_fired),
    ("wharf_loop_timers_missed_total", "Ticks of timers that were merged into a later one.", |s| s.timers_missed),
    ("wharf_loop_slow_callbacks_total", "Callbacks longer than slow_callback.", |s| s.slow_callbacks),
];

/// Counters with a label: of one family those that stand together.
const LABELLED: [(&str, &str, &str, &str, Count); 14] = [
    ("wharf_loop_closed_total", "Sockets closed.", "reason", "peer", |s| s.closed_peer),
    ("wharf_loop_closed_total", "Sockets closed.", "reason", "reset", |s| s.closed_reset),
    ("wharf_loop_closed_total", "Sockets closed.", "reason", "local", |s| s.closed_local),
    ("wharf_loop_closed_total", "Sockets closed.", "reason", "aborted", |s| s.closed_aborted),
    ("wharf_loop_closed_total", "Sockets closed.", "reason", "failed", |s| s.closed_failed),
    ("wharf_loop_closed_total", "Sockets closed.", "reason", "ended", |s| s.closed_ended),
    ("wharf_loop_bytes_total", "Bytes read and written.", "direction", "in", |s| s.bytes_in),
    ("wharf_loop_bytes_total", "Bytes read and written.", "direction", "out", |s| s.bytes_out),
    ("wharf_loop_datagrams_total", "Packets received and sent.", "direction", "in", |s| s.datagrams_in),
    ("wharf_loop_datagrams_total", "Packets received and sent.", "direction", "out", |s| s.datagrams_out),
    ("wharf_loop_datagrams_lost_total", "Packets cut short or dropped.", "how", "truncated", |s| s.datagrams_truncated),
    ("wharf_loop_datagrams_lost_total", "Packets cut short or dropped.", "how", "dropped", |s| s.datagrams_dropped),
    ("wharf_loop_handshakes_total", "TLS handshakes.", "outcome", "done", |s| s.handshakes),
    ("wharf_loop_handshakes_total", "TLS handshakes.", "outcome", "failed", |s| s.handshakes_failed),
];

const GAUGES: [(&str, &str, Count); 5] = [
    ("wharf_loop_sockets", "Sockets, listeners not counted.", |s| s.sockets),
    ("wharf_loop_sockets_peak", "The most sockets at one time.", |s| s.sockets_peak),
    ("wharf_loop_queued_bytes", "Bytes queued for sending.", |s| s.queued),
    ("wharf_loop_queued_bytes_peak", "The most bytes queued at one time.", |s| s.queued_peak),
    ("wharf_loop_handshakes_waiting", "Sockets that wait for a step of their TLS handshake.", |s| s.handshakes_waiting),
];

const DISTRIBUTIONS: [(&str, &str, Distribution); 4] = [
    ("wharf_loop_poll_wait_seconds", "Time in the system's poll, sampled.", |h| &h.poll_wait),
    ("wharf_loop_callback_seconds", "Time of callbacks, sampled.", |h| &h.callback),
    ("wharf_loop_timer_lateness_seconds", "From when a timer was due to its callback, sampled.", |h| &h.timer_lateness),
    ("wharf_loop_deferred_delay_seconds", "From the making of a deferred call to its run, sampled.", |h| {
        &h.deferred_delay
    }),
];

/// In parts of a million, with their labels.
const QUANTILES: [(u32, &str); 3] = [(500_000, "0.5"), (990_000, "0.99"), (999_000, "0.999")];

/// Registers a loop as a source of metrics.
pub fn register<T: 'static>(registry: &Registry, index: usize, handle: &Handle<T>) {
    let handle = handle.clone();
    registry.entry("loop", &index.to_string()).metrics(move |answer| {
        // A call that is refused is dropped, and the answer with it.
        let _ = handle.defer(move |lp| answer.give(describe(index, &lp.stats(), lp.histograms())));
    });
}

fn describe(index: usize, stats: &Stats, histograms: &Histograms) -> Exposition {
    let index = index.to_string();
    let own = ("loop", index.as_str());
    let mut all = Exposition::default();
    for (name, help, count) in COUNTERS {
        all.counter(name, help).add(&[own], count(stats));
    }
    for (name, help, label, value, count) in LABELLED {
        all.counter(name, help).add(&[own, (label, value)], count(stats));
    }
    for (name, help, count) in GAUGES {
        all.gauge(name, help).add(&[own], count(stats));
    }
    for (name, help, of) in DISTRIBUTIONS {
        let histogram = of(histograms);
        let quantile = |(ppm, label)| (label, histogram.quantile_ppm(ppm).map_or(f64::NAN, |span| span.as_secs_f64()));
        let quantiles = QUANTILES.map(quantile);
        all.summary(name, help).quantiles(&[own], quantiles, histogram.count(), histogram.sum());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_family_stands_once_with_the_loop_as_its_label() {
        let mut histograms = Histograms::default();
        histograms.callback.record(Duration::from_micros(8));
        let stats = Stats { bytes_in: 5, sockets: 2, ..Stats::default() };
        let mut all = describe(0, &stats, &histograms);
        all.merge(describe(1, &stats, &histograms));
        let text = all.to_string();
        let heads: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let mut unique = heads.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(heads.len(), unique.len());
        assert!(text.lines().filter(|line| !line.starts_with('#')).all(|line| line.contains("{loop=\"")));
        for line in [
            "wharf_loop_bytes_total{loop=\"1\",direction=\"in\"} 5",
            "wharf_loop_sockets{loop=\"0\"} 2",
            "wharf_loop_callback_seconds{loop=\"0\",quantile=\"0.99\"} 0.000008",
            "wharf_loop_callback_seconds_count{loop=\"0\"} 1",
            "wharf_loop_poll_wait_seconds{loop=\"0\",quantile=\"0.5\"} NaN",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
