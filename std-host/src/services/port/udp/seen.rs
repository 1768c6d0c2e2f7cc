//! What the host sees of a UDP port besides what its machine counts: trace, log, bytes sent, the longest queues.

use super::describe::describe;
use crate::services::port::log::Messages;
use crate::services::port::options::{Options, SlotOptions};
use crate::services::port::tally::Watch;
use crate::services::port::trace::{Direction, Levels};
use crate::services::port::traces::{Traces, Whom};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use wharf_core::port::datagrams::{Event, Pending, Reason};

/// What is seen of one port.
pub(super) struct Seen {
    name: String,
    pub(super) traces: Traces,
    /// Where datagrams go with `mode = "log"`.
    pub(super) log: Option<Messages>,
    /// Bytes that the system has taken.
    sent: Cell<u64>,
    queues: Cell<Watch>,
}

impl Seen {
    pub(super) fn new(options: &Options, log: Option<Messages>) -> Self {
        let traces = Traces::new(&options.name);
        traces.set(std::iter::once(&options.slot));
        Self { name: options.name.clone(), traces, log, sent: Cell::new(0), queues: Cell::default() }
    }

    /// The queues are this long.
    pub(super) fn queues(&self, Pending { rx, tx }: Pending) {
        let mut queues = self.queues.get();
        queues.see([rx, tx].map(|len| u32::try_from(len).unwrap_or(u32::MAX)));
        self.queues.set(queues);
    }

    /// The most bytes that were ever queued, received and to be sent.
    pub(super) fn longest(&self) -> [u32; 2] {
        self.queues.get().longest
    }

    /// The system has taken so many bytes.
    pub(super) fn sent(&self, len: usize) {
        self.sent.set(self.sent.get() + len as u64);
    }

    pub(super) const fn sent_bytes(&self) -> u64 {
        self.sent.get()
    }

    /// Traces bytes that went one way, if that is wanted.
    pub(super) fn trace(
        &self,
        options: &RefCell<Options>,
        peer: Option<SocketAddr>,
        level: Levels,
        direction: Direction,
        bytes: [&[u8]; 2],
        source: &str,
    ) {
        if self.traces.is_on() {
            self.traces.bytes(self.whom(peer, &options.borrow().slot), level, direction, bytes, source);
        }
    }

    /// Traces an event.
    pub(super) fn event(&self, options: &RefCell<Options>, event: &Event) {
        if let Some(level) = level(event) {
            self.tell(options, level, |text| text.push_str(&describe(&self.name, event)));
        }
    }

    /// Traces what is no event and may be wrong.
    pub(super) fn warn(&self, options: &RefCell<Options>, what: std::fmt::Arguments<'_>) {
        self.tell(options, Levels::WARNING, |text| text.push_str(&format!("{}: {what}", self.name)));
    }

    fn tell(&self, options: &RefCell<Options>, level: Levels, describe: impl FnOnce(&mut String)) {
        if self.traces.is_on() {
            self.traces.event(self.whom(None, &options.borrow().slot), Some(level), describe);
        }
    }

    /// Has the files of trace and log opened again, if there are any; whether there are.
    pub(super) fn reopen_files(&self, options: &Options) -> bool {
        let traces = self.traces.reopen(std::iter::once(&options.slot));
        self.log.iter().for_each(Messages::reopen);
        traces || self.log.is_some()
    }

    fn whom<'a>(&'a self, peer: Option<SocketAddr>, options: &'a SlotOptions) -> Whom<'a> {
        Whom { port: &self.name, slot: None, peer, options }
    }
}

/// The level at which an event is traced. That a datagram has come is told by its bytes.
const fn level(event: &Event) -> Option<Levels> {
    match event {
        Event::PortUp { .. } | Event::PortDown { reason: Reason::PortClosed } => Some(Levels::FLOW),
        Event::PortDown { reason: Reason::Failed(_) | Reason::NotOpened(_) } => Some(Levels::ERROR),
        Event::Overflowed { .. } => Some(Levels::WARNING),
        Event::DataReady => None,
    }
}
