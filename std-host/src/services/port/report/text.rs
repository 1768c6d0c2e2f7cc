//! A report for people.

use super::about::write_options;
use super::{Level, Report, Seat, Seated, word};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Columns of the word for what a client is doing.
const WORD: usize = 10;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        if self.about.level >= Level::Slots {
            self.counts(f)?;
        }
        if self.about.level >= Level::All {
            self.details(f)?;
        }
        self.seats(f)
    }
}

impl Report {
    /// The slots alone, as they stand in the text of the whole.
    pub(in crate::services::port) fn seats_to_string(&self) -> String {
        Seats(self).to_string()
    }

    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { slots, taken, on_full, .. } = self;
        self.about.write_head(f)?;
        writeln!(f, "  slots {taken} of {slots}  on_full {on_full}")
    }

    fn counts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (port, totals) = (&self.counters, &self.totals);
        self.about.write_failure(f)?;
        writeln!(
            f,
            "  accepted {}  refused full {} denied {}  exhausted {}  rx {} B  tx {} B",
            port.accepted, port.full, port.denied, port.exhausted, totals.rx, totals.tx
        )?;
        self.about.write_lines(f)
    }

    fn details(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (port, totals) = (&self.counters, &self.totals);
        writeln!(
            f,
            "  lost while accepted {}  unread {} B  unsent {} B  overflowed {} B",
            port.lost, totals.unread, totals.unsent, totals.overflowed
        )?;
        self.about.write_options(f)
    }

    /// The slots, whose names are as wide as that of the last.
    fn seats(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = self.child_name(self.slots.saturating_sub(1)).len();
        for seat in &self.seats {
            write!(f, "  {:width$}  ", self.child_name(seat.index))?;
            match &seat.client {
                Some(client) => {
                    write!(f, "{:WORD$}  ", word(client.state))?;
                    client.line(f)?;
                }
                None => match seat.last {
                    Some((reason, ago)) => {
                        writeln!(f, "{:WORD$}  last {reason} {} s ago", "free", seconds(ago))?;
                    }
                    None => writeln!(f, "free")?,
                },
            }
            if self.about.level >= Level::All {
                seat.details(f)?;
            }
        }
        Ok(())
    }
}

/// The slots of a report.
struct Seats<'a>(&'a Report);

impl Display for Seats<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.seats(f)
    }
}

impl Seated {
    fn line(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { slot, peer, counters, .. } = self;
        let (up, idle) = (seconds(self.up), seconds(self.idle));
        let (rx, tx) = (counters.received, counters.sent);
        let (queued_rx, queued_tx) = (counters.queued_rx, counters.queued_tx);
        write!(
            f,
            "{peer}  id {slot}  up {up} s  idle {idle} s  rx {rx}  tx {tx}  queued rx {queued_rx} tx {queued_tx}"
        )?;
        match self.stuck {
            Some(stuck) => writeln!(f, "  does not read: stuck {} s", seconds(stuck)),
            None => writeln!(f),
        }
    }
}

impl Seat {
    fn details(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [rx, tx] = self.longest;
        if rx > 0 || tx > 0 || self.client.is_some() {
            write!(f, "    longest queues rx {rx} tx {tx}")?;
            if let Some(deadline) = self.client.and_then(|client| client.deadline) {
                write!(f, "  deadline in {} s", seconds(deadline))?;
            }
            writeln!(f)?;
        }
        write_options(f, "    options", &self.options)
    }
}

/// Seconds with a tenth.
pub(in crate::services::port) fn seconds(span: Duration) -> String {
    format!("{:.1}", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::port::lines::LineCounts;
    use crate::services::port::report::{About, Seated};
    use crate::services::port::tally::Totals;
    use wharf_core::port::server::{Counters, PortCounters, Reason, State};
    use wharf_core::slots::SlotId;

    fn seat(index: u32) -> Seat {
        Seat { index, client: None, last: None, longest: [0, 0], options: Vec::new() }
    }

    fn client() -> Seated {
        let counters = Counters { received: 1520, sent: 3110, ..Counters::default() };
        Seated {
            slot: SlotId::from_bits(9 << 32),
            peer: "10.0.0.7:51044".parse().unwrap(),
            state: State::Open,
            up: Duration::from_millis(812_400),
            idle: Duration::from_millis(300),
            counters,
            stuck: None,
            deadline: None,
        }
    }

    fn report(level: Level) -> Report {
        let free = Seat { last: Some((Reason::PeerReset, Duration::from_secs(4))), ..seat(1) };
        Report {
            about: About {
                level,
                name: "dev".to_owned(),
                local: Some("0.0.0.0:5025".parse().unwrap()),
                address: "0.0.0.0:5025 tcp".to_owned(),
                failure: None,
                trace: LineCounts::default(),
                log: None,
                options: Vec::new(),
                masks: Vec::new(),
            },
            slots: 2,
            taken: 1,
            on_full: "close".to_owned(),
            counters: PortCounters { accepted: 31, ..PortCounters::default() },
            totals: Totals { rx: 48_211, tx: 90_774, ..Totals::default() },
            seats: if level >= Level::Slots {
                vec![Seat { client: Some(client()), ..seat(0) }, free]
            } else {
                Vec::new()
            },
        }
    }

    #[test]
    fn a_report_reads_as_it_is_specified() {
        let head = "port dev  connected  0.0.0.0:5025 tcp  slots 1 of 2  on_full close\n";
        let rest = "  accepted 31  refused full 1 denied 0  exhausted 0  rx 48211 B  tx 90774 B\n  \
                    dev:0  open        10.0.0.7:51044  id 0.9  up 812.4 s  idle 0.3 s  rx 1520  tx 3110  queued rx 0 tx 0\n  \
                    dev:1  free        last PeerReset 4.0 s ago\n";
        let mut report = report(Level::Slots);
        report.counters.full = 1;
        assert_eq!(report.to_string(), format!("{head}{rest}"));
        report.about.level = Level::Line;
        report.seats.clear();
        assert_eq!(report.to_string(), head);
    }

    #[test]
    fn who_does_not_read_and_lines_that_are_lost_are_named() {
        let mut report = report(Level::Slots);
        let counters = Counters { queued_tx: 16_384, ..client().counters };
        let stuck = Seated { stuck: Some(Duration::from_millis(12_340)), counters, ..client() };
        report.seats = vec![Seat { client: Some(stuck), ..seat(0) }];
        report.about.log = Some(LineCounts { written: 7, lost: 2 });
        report.about.trace = LineCounts { written: 8, lost: 1 };
        let text = report.to_string();
        assert!(text.ends_with("  queued rx 0 tx 16384  does not read: stuck 12.3 s\n"), "{text}");
        assert!(text.contains("\n  log lines 7 lost 2\n  trace lines 8 lost 1\n"), "{text}");
        report.about.trace.lost = 0;
        assert!(!report.to_string().contains("trace lines"), "what is no news is told at level 2");
    }

    #[test]
    fn a_port_that_is_down_says_why_and_names_stand_in_columns() {
        let mut report = report(Level::Slots);
        (report.about.local, report.about.failure, report.slots) = (None, Some("listen on :1: denied".to_owned()), 11);
        let text = report.to_string();
        assert!(text.starts_with("port dev  down  0.0.0.0:5025 tcp  slots 1 of 11  on_full close\n"), "{text}");
        assert!(text.contains("\n  last failure: listen on :1: denied\n"), "{text}");
        assert!(text.contains("\n  dev:0   open        10.0.0.7"), "{text}");
    }

    #[test]
    fn level_2_tells_options_deadlines_masks_and_the_longest_queues() {
        let mut report = report(Level::All);
        report.about.options = vec![("full_text", "busy\\r\\n".to_owned()), ("deny_text", "go away".to_owned())];
        report.about.masks = vec![("trace", "both".to_owned()), ("trace_mask", "error,driver".to_owned())];
        let deadline = Seated { deadline: Some(Duration::from_millis(1500)), ..client() };
        let options = vec![("idle_any", "10m".to_owned()), ("input_eos", String::new())];
        report.seats = vec![Seat { client: Some(deadline), longest: [80, 4096], options, ..seat(0) }, seat(1)];
        let text = report.to_string();
        let tail = text.split_once(" B\n").unwrap().1.split_once("overflowed 0 B\n").unwrap().1;
        assert_eq!(
            tail,
            "  masks  trace=both  trace_mask=error,driver\n  options  full_text=busy\\r\\n  deny_text=\"go away\"\n  \
             dev:0  open        10.0.0.7:51044  id 0.9  up 812.4 s  idle 0.3 s  rx 1520  tx 3110  queued rx 0 tx 0\n    \
             longest queues rx 80 tx 4096  deadline in 1.5 s\n    options  idle_any=10m  input_eos=\"\"\n  dev:1  free\n"
        );
    }
}
