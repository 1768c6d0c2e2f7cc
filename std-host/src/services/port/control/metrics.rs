//! The metrics of a port, by the names that a monitoring system knows them by.

use crate::admin::exposition::Exposition;
use crate::services::port::report::{Level, Report};
use crate::services::port::running::Running;
use crate::services::port::tally::REASONS;

/// What a port has counted, and what it is.
pub(super) fn of(port: &Running<'_>) -> Exposition {
    let report = port.report_of(Level::Line, 0..0);
    let mut all = Exposition::default();
    counters(&mut all, &report);
    lines(&mut all, &report);
    let label = [("port", report.name.as_str())];
    all.gauge("wharf_port_up", "Whether the port listens.").add(&label, u64::from(report.local.is_some()));
    all.gauge("wharf_port_slots", "Slots of the port.").add(&label, u64::from(report.slots));
    all.gauge("wharf_port_clients", "Slots that are taken.").add(&label, u64::from(report.taken));
    all
}

fn counters(all: &mut Exposition, report: &Report) {
    let (port, totals) = (&report.counters, &report.totals);
    let name = report.name.as_str();
    let label = [("port", name)];
    let by = |label, value| [("port", name), (label, value)];
    all.counter("wharf_port_connections_total", "Clients that were given a slot.").add(&label, port.accepted);
    all.counter("wharf_port_connections_refused_total", "Connections that were turned away.")
        .add(&by("reason", "full"), port.full)
        .add(&by("reason", "denied"), port.denied);
    all.counter("wharf_port_accept_failures_total", "Connections that could not be accepted.")
        .add(&by("reason", "lost"), port.lost)
        .add(&by("reason", "exhausted"), port.exhausted);
    let mut closed = all.counter("wharf_port_connections_closed_total", "Clients that have left.");
    for (reason, count) in REASONS.iter().zip(totals.departed) {
        closed.add(&by("reason", reason), count);
    }
    all.counter("wharf_port_bytes_total", "Bytes received and sent.")
        .add(&by("direction", "rx"), totals.rx)
        .add(&by("direction", "tx"), totals.tx);
    all.counter("wharf_port_bytes_lost_total", "Bytes that were given up unread, unsent, or for newer ones.")
        .add(&by("reason", "unread"), totals.unread)
        .add(&by("reason", "unsent"), totals.unsent)
        .add(&by("reason", "overflow"), totals.overflowed);
}

fn lines(all: &mut Exposition, report: &Report) {
    for (kind, counts) in [("trace", Some(report.trace)), ("log", report.log)] {
        let Some(counts) = counts else { continue };
        let label = [("port", report.name.as_str()), ("kind", kind)];
        all.counter("wharf_port_lines_total", "Lines of trace and log that were written.").add(&label, counts.written);
        all.counter("wharf_port_lines_lost_total", "Lines that a slow or broken sink has cost.")
            .add(&label, counts.lost);
    }
}
