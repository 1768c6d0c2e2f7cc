//! The metrics of a port, by the names that a monitoring system knows them by.

use crate::admin::exposition::Exposition;
use crate::services::port::report::{About, Report};
use crate::services::port::tally::REASONS;
use crate::services::port::udp::UdpReport;

/// Of a TCP port.
pub(super) fn of(report: &Report) -> Exposition {
    let mut all = Exposition::default();
    clients(&mut all, report);
    bytes(&mut all, &report.about, report.totals.rx, report.totals.tx);
    lost(&mut all, report);
    about(&mut all, &report.about);
    let label = [("port", report.about.name.as_str())];
    all.gauge("wharf_port_slots", "Slots of the port.").add(&label, u64::from(report.slots));
    all.gauge("wharf_port_clients", "Slots that are taken.").add(&label, u64::from(report.taken));
    all
}

/// Of a UDP port.
pub(super) fn of_udp(report: &UdpReport) -> Exposition {
    let mut all = Exposition::default();
    datagrams(&mut all, report);
    bytes(&mut all, &report.about, report.counters.bytes, report.sent_bytes);
    about(&mut all, &report.about);
    all
}

fn clients(all: &mut Exposition, report: &Report) {
    let (port, totals) = (&report.counters, &report.totals);
    let name = report.about.name.as_str();
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
}

fn lost(all: &mut Exposition, report: &Report) {
    let totals = &report.totals;
    let by = |reason| [("port", report.about.name.as_str()), ("reason", reason)];
    all.counter("wharf_port_bytes_lost_total", "Bytes that were given up unread, unsent, or for newer ones.")
        .add(&by("unread"), totals.unread)
        .add(&by("unsent"), totals.unsent)
        .add(&by("overflow"), totals.overflowed);
}

fn datagrams(all: &mut Exposition, report: &UdpReport) {
    let counters = &report.counters;
    let name = report.about.name.as_str();
    let label = [("port", name)];
    let by = |label, value| [("port", name), (label, value)];
    all.counter("wharf_port_datagrams_total", "Datagrams received and sent.")
        .add(&by("direction", "rx"), counters.received)
        .add(&by("direction", "tx"), counters.sent);
    all.counter("wharf_port_datagrams_empty_total", "Datagrams received without a byte.").add(&label, counters.empty);
    all.counter("wharf_port_datagrams_truncated_total", "Datagrams received that were cut.")
        .add(&label, counters.truncated);
    all.counter(
        "wharf_port_datagrams_lost_total",
        "Datagrams dropped by a full ring or the system, or given up unread.",
    )
    .add(&by("reason", "full"), counters.dropped_full)
    .add(&by("reason", "kernel"), counters.kernel_dropped)
    .add(&by("reason", "unread"), counters.unread);
    all.counter("wharf_port_failures_total", "Calls that failed, and datagrams given up unsent.")
        .add(&label, counters.failed);
}

fn bytes(all: &mut Exposition, about: &About, rx: u64, tx: u64) {
    let by = |direction| [("port", about.name.as_str()), ("direction", direction)];
    all.counter("wharf_port_bytes_total", "Bytes received and sent.").add(&by("rx"), rx).add(&by("tx"), tx);
}

/// What every port has.
fn about(all: &mut Exposition, about: &About) {
    for (kind, counts) in [("trace", Some(about.trace)), ("log", about.log)] {
        let Some(counts) = counts else { continue };
        let label = [("port", about.name.as_str()), ("kind", kind)];
        all.counter("wharf_port_lines_total", "Lines of trace and log that were written.").add(&label, counts.written);
        all.counter("wharf_port_lines_lost_total", "Lines that a slow or broken sink has cost.")
            .add(&label, counts.lost);
    }
    let label = [("port", about.name.as_str())];
    all.gauge("wharf_port_up", "Whether the port listens.").add(&label, u64::from(about.local.is_some()));
}
