//! What a UDP port tells of itself: as a value, as text for people, and as JSON (section 12 of the ports specification).

use super::site::Site;
use crate::services::port::options::Udp;
use crate::services::port::report::{About, Level, seconds};
use serde_json::{Map, Value, json};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::port::datagrams::{Counters, Pending};

/// A UDP port at one moment.
#[derive(Clone, Debug)]
pub struct UdpReport {
    /// What it shares with TCP ports.
    pub about: About,
    /// What it keeps.
    pub mode: Udp,
    /// What has happened since the port was made.
    pub counters: Counters,
    /// Bytes sent since then.
    pub sent_bytes: u64,
    /// Bytes that wait for the reader, and to be sent. Without a reader nothing waits while there are subscribers.
    pub queued: Pending,
    /// Bytes that ever waited at most: received ones, and those to be sent.
    pub longest: [u32; 2],
    /// Until it is looked at if nothing happens before.
    pub deadline: Option<Duration>,
}

impl UdpReport {
    /// Takes the report of a port.
    pub(super) fn take(site: &Site, now: Instant, level: Level) -> Self {
        let (machine, options, seen) = (site.machine.borrow(), site.options.borrow(), &site.seen);
        let queued = site.queued();
        seen.queues(queued);
        Self {
            about: About::take(level, &site.common, &options, machine.local_addr(), &seen.traces, seen.log.as_ref()),
            mode: options.udp,
            counters: machine.counters(),
            sent_bytes: seen.sent_bytes(),
            queued,
            longest: seen.longest(),
            deadline: site.deadline().map(|deadline| deadline.saturating_duration_since(now)),
        }
    }

    /// The report as an object. Spans are in seconds, queues in bytes.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut all = Map::new();
        self.about.put_head(&mut all);
        all.insert("udp".to_owned(), word(self.mode).into());
        if self.about.level >= Level::Slots {
            let Counters { received, sent, bytes, .. } = self.counters;
            let Pending { rx, tx } = self.queued;
            let numbers = [("received", received), ("sent", sent), ("rx", bytes), ("tx", self.sent_bytes)];
            all.extend(numbers.map(|(key, number)| (key.to_owned(), number.into())));
            all.insert("queued".to_owned(), json!({ "rx": rx, "tx": tx }));
            self.about.put_lines(&mut all);
        }
        if self.about.level >= Level::All {
            let [rx, tx] = self.longest;
            all.extend(self.losses().map(|(key, number)| (key.to_owned(), number.into())));
            all.insert("longest".to_owned(), json!({ "rx": rx, "tx": tx }));
            all.insert("deadline".to_owned(), self.deadline.map(|deadline| deadline.as_secs_f64()).into());
            self.about.put_options(&mut all);
        }
        all
    }

    /// The counters that are told at level 2 alone.
    const fn losses(&self) -> [(&'static str, u64); 6] {
        let Counters { empty, truncated, dropped_full, unread, kernel_dropped, failed, .. } = self.counters;
        [
            ("empty", empty),
            ("truncated", truncated),
            ("dropped_full", dropped_full),
            ("unread", unread),
            ("kernel_dropped", kernel_dropped),
            ("failed", failed),
        ]
    }

    fn counts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Counters { received, sent, bytes, .. } = self.counters;
        let (tx_bytes, Pending { rx, tx }) = (self.sent_bytes, self.queued);
        self.about.write_failure(f)?;
        writeln!(f, "  received {received}  sent {sent}  rx {bytes} B  tx {tx_bytes} B  queued rx {rx} tx {tx}")?;
        self.about.write_lines(f)
    }

    fn details(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (key, number) in self.losses() {
            write!(f, "  {key} {number}")?;
        }
        let [rx, tx] = self.longest;
        write!(f, "\n  longest queues rx {rx} tx {tx}")?;
        if let Some(deadline) = self.deadline {
            write!(f, "  deadline in {} s", seconds(deadline))?;
        }
        writeln!(f)?;
        self.about.write_options(f)
    }
}

impl Display for UdpReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.about.write_head(f)?;
        writeln!(f, "  {}", word(self.mode))?;
        if self.about.level >= Level::Slots {
            self.counts(f)?;
        }
        if self.about.level >= Level::All {
            self.details(f)?;
        }
        Ok(())
    }
}

const fn word(mode: Udp) -> &'static str {
    match mode {
        Udp::Asyn => "asyn",
        Udp::Fifo => "fifo",
    }
}
