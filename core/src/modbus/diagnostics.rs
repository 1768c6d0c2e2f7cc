//! What a unit counts about itself: diagnostic counters, event counter and event log (AP 6.8 to 6.10).
//!
//! Counters are 16 bits, wrap, and count the request that reads them. Two of them concern the whole server, whatever
//! the unit; they live in [`Bus`], and a unit remembers only where it last zeroed them.

use super::pdu::{Exception, MAX_EVENTS, function, request::CounterKind};

/// Event: communications restarted.
const EVENT_RESTART: u8 = 0x00;
/// Event: listen-only mode entered.
const EVENT_LISTEN_ONLY: u8 = 0x04;
/// Event: sent, or would have been.
const EVENT_SEND: u8 = 0x40;
/// Event: received.
const EVENT_RECEIVE: u8 = 0x80;
/// In both kinds of event: the unit is in listen-only mode.
const IN_LISTEN_ONLY: u8 = 0x20;
/// In a receive event: a broadcast.
const BROADCAST: u8 = 0x40;

/// What the whole server has seen, whatever the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bus {
    frames: u16,
    errors: u16,
}

impl Bus {
    /// A well-formed frame came.
    pub const fn received(&mut self) {
        self.frames = self.frames.wrapping_add(1);
    }

    /// A frame was lost to its header or to the end of its stream.
    pub const fn lost(&mut self) {
        self.errors = self.errors.wrapping_add(1);
    }
}

/// How a request ended, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Completion {
    /// Executed, and a reply leaves.
    Replied,
    /// Executed, and no reply leaves.
    Silent,
    /// Refused.
    Exception {
        /// The exception.
        exception: Exception,
        /// Whether it leaves as a reply, or was a broadcast's.
        replied: bool,
    },
    /// Not executed, because the unit only listens.
    Ignored,
}

/// The diagnostics of one unit.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Diagnostics {
    /// What sub-function 2 returns; the application sets it.
    pub register: u16,
    listen_only: bool,
    delimiter: u8,
    deferred: u16,
    events: u16,
    messages: u16,
    exceptions: u16,
    no_response: u16,
    negative: u16,
    busy: u16,
    /// The server's counters when this unit last zeroed them.
    zeroed: Bus,
    log: EventLog,
}

impl Default for Diagnostics {
    fn default() -> Self {
        Self::new()
    }
}

impl Diagnostics {
    /// All zero, listening and answering.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            register: 0,
            listen_only: false,
            delimiter: b'\n',
            deferred: 0,
            events: 0,
            messages: 0,
            exceptions: 0,
            no_response: 0,
            negative: 0,
            busy: 0,
            zeroed: Bus { frames: 0, errors: 0 },
            log: EventLog::new(),
        }
    }

    /// Whether the unit only listens.
    #[must_use]
    pub const fn is_listen_only(&self) -> bool {
        self.listen_only
    }

    /// The end delimiter that sub-function 3 has set for the ASCII transmission mode; LF unless set.
    #[must_use]
    pub const fn ascii_delimiter(&self) -> u8 {
        self.delimiter
    }

    /// A request for the unit has come, and has not been executed yet.
    #[inline]
    pub fn received(&mut self, broadcast: bool) {
        self.messages = self.messages.wrapping_add(1);
        let broadcast = if broadcast { BROADCAST } else { 0 };
        self.log.push(EVENT_RECEIVE | broadcast | self.listening());
    }

    /// A request will be answered later.
    pub const fn deferred(&mut self) {
        self.deferred = self.deferred.saturating_add(1);
    }

    /// No request is deferred any more that would be counted here.
    pub(crate) const fn forget_deferred(&mut self) {
        self.deferred = 0;
    }

    /// A request that was deferred has ended; call [`Diagnostics::completed`] too.
    pub const fn resumed(&mut self) {
        self.deferred = self.deferred.saturating_sub(1);
    }

    /// A request has ended.
    #[inline]
    pub fn completed(&mut self, code: u8, completion: Completion) {
        let (executed, replied, bits) = match completion {
            Completion::Replied => (true, true, 0),
            Completion::Silent => (true, false, 0),
            Completion::Ignored => (false, false, 0),
            Completion::Exception { exception, replied } => {
                self.exceptions = self.exceptions.wrapping_add(1);
                if replied && exception == Exception::NEGATIVE_ACKNOWLEDGE {
                    self.negative = self.negative.wrapping_add(1);
                }
                if replied && exception == Exception::SERVER_DEVICE_BUSY {
                    self.busy = self.busy.wrapping_add(1);
                }
                (false, replied, exception_bits(exception))
            }
        };
        if executed && code != function::GET_COMM_EVENT_COUNTER {
            self.events = self.events.wrapping_add(1);
        }
        if !replied {
            self.no_response = self.no_response.wrapping_add(1);
        }
        self.log.push(EVENT_SEND | bits | self.listening());
    }

    /// FFFF while a request of the unit is deferred, else 0.
    #[must_use]
    pub const fn status(&self) -> u16 {
        if self.deferred > 0 { 0xFFFF } else { 0 }
    }

    /// Requests completed without exception, the event counter's own requests apart.
    #[must_use]
    pub const fn events(&self) -> u16 {
        self.events
    }

    /// The event log, newest first.
    pub fn log(&self) -> impl ExactSizeIterator<Item = u8> + '_ {
        self.log.iter()
    }

    /// The value of a counter.
    #[must_use]
    pub const fn counter(&self, kind: CounterKind, bus: &Bus) -> u16 {
        match kind {
            CounterKind::BusMessages => bus.frames.wrapping_sub(self.zeroed.frames),
            CounterKind::BusErrors => bus.errors.wrapping_sub(self.zeroed.errors),
            CounterKind::Exceptions => self.exceptions,
            CounterKind::Messages => self.messages,
            CounterKind::NoResponse => self.no_response,
            CounterKind::NegativeAcknowledges => self.negative,
            CounterKind::Busy => self.busy,
            CounterKind::Overruns => 0,
        }
    }

    /// Sub-function 1: ends listen-only mode and zeroes the counters; says whether the unit was listening only, in
    /// which case no reply is due.
    pub(crate) fn restart(&mut self, clear_log: bool, bus: &Bus) -> bool {
        self.zero(bus);
        if clear_log {
            self.log = EventLog::new();
        }
        self.log.push(EVENT_RESTART);
        core::mem::replace(&mut self.listen_only, false)
    }

    /// Sub-function 4.
    pub(crate) fn force_listen_only(&mut self) {
        self.listen_only = true;
        self.log.push(EVENT_LISTEN_ONLY);
    }

    /// Sub-function 10.
    pub(crate) const fn clear(&mut self, bus: &Bus) {
        self.zero(bus);
        self.register = 0;
    }

    /// Sub-function 3.
    pub(crate) const fn set_ascii_delimiter(&mut self, delimiter: u8) {
        self.delimiter = delimiter;
    }

    const fn zero(&mut self, bus: &Bus) {
        self.zeroed = *bus;
        self.events = 0;
        self.messages = 0;
        self.exceptions = 0;
        self.no_response = 0;
        self.negative = 0;
        self.busy = 0;
    }

    const fn listening(&self) -> u8 {
        if self.listen_only { IN_LISTEN_ONLY } else { 0 }
    }
}

/// The bits of a send event that tell of an exception (AP 6.10).
const fn exception_bits(exception: Exception) -> u8 {
    match exception.code() {
        1..=3 => 0x01,
        4 => 0x02,
        5 | 6 => 0x04,
        7 => 0x08,
        _ => 0,
    }
}

/// The last 64 events.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct EventLog {
    events: [u8; MAX_EVENTS],
    /// Where the next event goes.
    next: u8,
    len: u8,
}

impl EventLog {
    const fn new() -> Self {
        Self { events: [0; MAX_EVENTS], next: 0, len: 0 }
    }

    #[inline]
    fn push(&mut self, event: u8) {
        if let Some(slot) = self.events.get_mut(usize::from(self.next)) {
            *slot = event;
        }
        self.next = self.next.wrapping_add(1) % CAPACITY;
        self.len = self.len.saturating_add(1).min(CAPACITY);
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = u8> + '_ {
        (1..=self.len).map(|back| {
            let at = self.next.wrapping_sub(back) % CAPACITY;
            self.events.get(usize::from(at)).copied().unwrap_or(0)
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "64 fits a byte")]
const CAPACITY: u8 = MAX_EVENTS as u8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_log_keeps_the_newest_64_events_newest_first() {
        let mut log = EventLog::new();
        for event in 0..200u8 {
            log.push(event);
            let expected: Vec<u8> = (0..=event).rev().take(64).collect();
            assert_eq!(log.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_unit_zeroes_the_servers_counters_for_itself_alone() {
        let mut bus = Bus::default();
        let (mut one, two) = (Diagnostics::new(), Diagnostics::new());
        for _ in 0..70_000u32 {
            bus.received();
        }
        bus.lost();
        one.clear(&bus);
        bus.received();
        assert_eq!(one.counter(CounterKind::BusMessages, &bus), 1);
        assert_eq!(one.counter(CounterKind::BusErrors, &bus), 0);
        assert_eq!(two.counter(CounterKind::BusMessages, &bus), (70_001u32 % 65_536) as u16);
        assert_eq!(two.counter(CounterKind::BusErrors, &bus), 1);
    }
}
