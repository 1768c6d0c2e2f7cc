//! The trace of a port: which transfers and events are written, how, and where to.
//!
//! Only what has `trace` on and its level in `trace_mask` is written. Events of the port and its clients are at the levels
//! flow, warning and error, whatever the direction.

use super::lines::{LineCounts, Lines, Sink};
use super::options::{STDERR, SlotOptions, Traced};
use super::trace::{Direction, FileName, Levels, Parts, Style, Transfer};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::SystemTime;
use wharf_core::port::server::{DownReason, Event, Reason};
use wharf_core::slots::SlotId;

/// The trace of a port and its slots.
#[derive(Debug)]
pub(super) struct Traces {
    /// Something is traced, of the port or of any slot.
    on: Cell<bool>,
    lines: RefCell<Lines>,
    /// Where the lines of slots go that have had any. `None` is the port as a whole.
    sinks: RefCell<HashMap<Option<u16>, Sink>>,
}

/// Of whom something is traced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whom<'a> {
    pub(super) port: &'a str,
    /// `None` is the port as a whole.
    pub(super) slot: Option<u16>,
    /// Who is at the other end of a port without slots.
    pub(super) peer: Option<SocketAddr>,
    pub(super) options: &'a SlotOptions,
}

impl Traces {
    /// For the port of this name.
    pub(super) fn new(name: &str) -> Self {
        Self { on: Cell::new(false), lines: RefCell::new(Lines::new(name)), sinks: RefCell::default() }
    }

    /// Whether anything is traced at all.
    pub(super) const fn is_on(&self) -> bool {
        self.on.get()
    }

    /// The options that there are have changed to these.
    pub(super) fn set<'a>(&self, mut options: impl Iterator<Item = &'a SlotOptions>) {
        self.on.set(options.any(|options| options.trace != Traced::None));
        self.sinks.borrow_mut().clear();
    }

    /// Has the files opened again, if there are any with these options; whether there are.
    pub(super) fn reopen<'a>(&self, mut options: impl Iterator<Item = &'a SlotOptions>) -> bool {
        let any = options.any(has_file);
        if any {
            self.lines.borrow().reopen();
        }
        any
    }

    pub(super) fn counts(&self) -> LineCounts {
        self.lines.borrow().counts()
    }

    /// Traces bytes that went one way.
    pub(super) fn bytes(&self, whom: Whom<'_>, level: Levels, direction: Direction, bytes: [&[u8]; 2], source: &str) {
        let directions: &[_] = match direction {
            Direction::Rx => &[Traced::Rx, Traced::Both],
            Direction::Tx => &[Traced::Tx, Traced::Both],
        };
        if !directions.contains(&whom.options.trace) || !whom.options.trace_mask.contains(level) {
            return;
        }
        self.put(whom, source, |style, transfer, text| style.write(&Transfer { direction, bytes, ..transfer }, text));
    }

    /// Traces what happened, if it has a level. `describe` appends it in words, with the name of the port or its child.
    pub(super) fn event(&self, whom: Whom<'_>, level: Option<Levels>, describe: impl FnOnce(&mut String)) {
        let wanted = level.is_some_and(|level| whom.options.trace_mask.contains(level));
        if whom.options.trace == Traced::None || !wanted {
            return;
        }
        self.put(whom, "event", |style, transfer, text| {
            // The words name it by themselves.
            let parts = Parts::from_bits(style.parts.bits() & !Parts::PORT.bits()).unwrap_or(Parts::NONE);
            Style { parts, ..style }.write_parts(&transfer, text);
            describe(text);
        });
    }

    fn put(&self, whom: Whom<'_>, source: &str, write: impl FnOnce(Style, Transfer<'_>, &mut String)) {
        let mut sinks = self.sinks.borrow_mut();
        let sink = sinks.entry(whom.slot).or_insert_with(|| whom.sink());
        let thread = std::thread::current();
        let transfer = Transfer {
            at: SystemTime::now(),
            port: whom.port,
            slot: whom.slot,
            peer: whom.peer,
            source,
            thread: thread.name().unwrap_or("unnamed"),
            direction: Direction::Rx,
            bytes: [&[]; 2],
        };
        self.lines.borrow_mut().put(sink, |text| write(whom.options.trace_style(), transfer, text));
    }
}

impl Whom<'_> {
    fn sink(self) -> Sink {
        match self.options.trace_file.as_str() {
            "" => Sink::Log,
            STDERR => Sink::Stderr,
            pattern => {
                let name = FileName::parse(pattern).map(|pattern| pattern.of(self.port, self.slot));
                Sink::File(name.unwrap_or_else(|_| pattern.to_owned()).into())
            }
        }
    }
}

/// Whether lines with these options go to a file.
fn has_file(options: &SlotOptions) -> bool {
    options.trace != Traced::None && !["", STDERR].contains(&options.trace_file.as_str())
}

/// Whose event it is; `None` is the port as a whole.
pub(super) fn slot_of(event: &Event) -> Option<SlotId> {
    if let Event::Connected { slot, .. }
    | Event::DataReady { slot }
    | Event::InputEnded { slot }
    | Event::HighWater { slot }
    | Event::LowWater { slot }
    | Event::Overflowed { slot, .. }
    | Event::Disconnected { slot, .. } = *event
    {
        Some(slot)
    } else {
        None
    }
}

/// The level at which an event of a TCP port is traced. That bytes have come is told by the bytes.
pub(super) fn level(event: &Event) -> Option<Levels> {
    let failed = Levels::ERROR;
    match *event {
        Event::PortDown { reason } if reason != DownReason::Closed => Some(failed),
        Event::Disconnected { reason: Reason::Failed(_), .. } => Some(failed),
        Event::Disconnected { unread, unsent, .. } if unread > 0 || unsent > 0 => Some(Levels::WARNING),
        Event::Refused { .. } | Event::AcceptPaused | Event::HighWater { .. } | Event::Overflowed { .. } => {
            Some(Levels::WARNING)
        }
        Event::PortUp { .. }
        | Event::PortDown { .. }
        | Event::AcceptResumed
        | Event::Connected { .. }
        | Event::InputEnded { .. }
        | Event::LowWater { .. }
        | Event::Disconnected { .. } => Some(Levels::FLOW),
        Event::DataReady { .. } => None,
        // What a later core tells besides.
        _ => Some(Levels::FLOW),
    }
}
