//! A scripted connection against the naive server.
//!
//! # Script
//!
//! Four bytes of [`setting`], then operations: the low half of a byte names one, its operands follow.
//!
//! | low half | operation, operands |
//! | --- | --- |
//! | 0..=3 | a frame comes: unit, bytes of its PDU, the PDU |
//! | 4, 5 | any bytes come: how many, the bytes |
//! | 6 | up to 24 requests come that a handler answers later: how many |
//! | 7, 8 | a deferred request is answered, or fails: which, bytes of the reply or the exception |
//! | 9 | the socket takes that many bytes per operation from now on; 255 stands for all |
//! | A | time passes: how much, in microseconds, milliseconds or seconds |
//! | B | the deadline comes |
//! | C | a timeout comes before its deadline |
//! | D | inputs that must be refused |
//! | E | the peer's end, a reset, a drain or an abort: which |
//! | F | frames with a flaw in their header |

use super::framing::{Piece, by_the_specification};
use super::{Source, plant};
use crate::fixture::{LATER, UnitLast, UnitZero, Unknown, denials};
use crate::modbus::{Served, Server};
use crate::naive::Naive;
use crate::vectors::{Server as _, frame};
use core::time::Duration;
use wharf_core::modbus::mbap::{MAX_FRAME, MAX_PDU};
use wharf_core::modbus::server::{Config, Error, Input, MIN_BUFFER, Output, Overflow, Reason};
use wharf_core::modbus::service::Discard;
use wharf_core::{Instant, Machine, Step};

/// More operations than this prove nothing new and only slow the fuzzer down.
const MAX_OPERATIONS: usize = 500;

/// Plays a script on a connection and on the naive server.
///
/// # Panics
/// When they do not send the same bytes, or the connection breaks its contract.
pub fn connection(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(setting(&mut source));
    rig.settle();
    for _ in 0..MAX_OPERATIONS {
        if source.is_empty() || rig.closed.is_some() {
            break;
        }
        let operation = source.byte();
        rig.operate(operation, &mut source);
        rig.settle();
    }
    rig.finish();
}

struct Setting {
    plant: crate::fixture::Plant,
    config: Config,
    buffer: usize,
    places: usize,
}

fn setting(source: &mut Source<'_>) -> Setting {
    let (policies, how, limit, timeouts) = (source.byte(), source.byte(), source.byte(), source.byte());
    let mut plant = plant();
    plant.unit_0 =
        [UnitZero::Device, UnitZero::Broadcast, UnitZero::BroadcastReply, UnitZero::Ignore][usize::from(policies & 3)];
    plant.unit_255 =
        [UnitLast::Device, UnitLast::Unit, UnitLast::Ignore, UnitLast::Device][usize::from(policies >> 2 & 3)];
    plant.unknown_unit =
        [Unknown::NoTarget, Unknown::NoPath, Unknown::Silent, Unknown::Default][usize::from(policies >> 4 & 3)];
    plant.no_serial_functions = policies & 0x40 != 0;
    if policies & 0x80 != 0 {
        plant.denials = denials();
    }
    let timeout = |bit: u8, long: u64| {
        let micros = if timeouts >> bit & 1 == 0 { long } else { 500 };
        Duration::from_micros(if timeouts & 0x80 == 0 { micros } else { 0 })
    };
    let config = Config {
        max_outstanding: 1 + (limit & 15),
        overflow: if how & 1 == 0 { Overflow::Busy } else { Overflow::Wait },
        coalesce: how & 2 == 0,
        request_timeout: timeout(0, 5_000_000),
        frame_timeout: timeout(1, 10_000_000),
        idle_timeout: timeout(2, 300_000_000),
        write_timeout: timeout(3, 10_000_000),
        linger: timeout(4, 1_000_000),
        ..Config::DEFAULT
    };
    let spare = [0, 1, 260, 1000, 4000, 6000, 20_000, 70_000][usize::from(how >> 2 & 7)];
    Setting { plant, config, buffer: MIN_BUFFER + spare, places: 1 + usize::from(limit >> 4) }
}

/// A deferred request without an answer.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    nth: usize,
    arrived: Instant,
}

/// The connection, its driver, the naive server, and what the two have agreed on so far.
struct Rig {
    server: Server,
    served: Served,
    naive: Naive,
    config: Config,
    limit: usize,
    buffer: usize,
    now: Instant,
    deadline: Option<Instant>,
    /// From the peer, not taken yet.
    incoming: Vec<u8>,
    /// What follows the last whole frame that was taken, and when its first byte was.
    partial: Vec<u8>,
    partial_since: Instant,
    /// Frames taken, of any kind, each of which makes one report.
    pieces: usize,
    /// Whether frames are looked for no more.
    deaf: bool,
    draining: bool,
    peer_closed: bool,
    closing: bool,
    /// Ended at once, from outside.
    gone: bool,
    closed: Option<(Reason, bool)>,
    reading: bool,
    /// Every byte that may leave, in order; `sent` of them have, and a frame ends at `front`.
    expected: Vec<u8>,
    sent: usize,
    front: usize,
    open: Vec<Deferred>,
    /// What the socket takes for each operation, what of that is left, and whether a transmit waits for it.
    appetite: usize,
    room: usize,
    waiting: bool,
    last_sent: Instant,
    last_active: Instant,
    transaction: u16,
}

impl Rig {
    fn new(setting: Setting) -> Self {
        let Setting { plant, config, buffer, places } = setting;
        let server = Server::new(&plant);
        let limit = places.min(usize::from(config.max_outstanding));
        Self {
            served: server.accept(7, config, buffer, places, Instant::ORIGIN),
            server,
            naive: Naive::new(&plant).with_limit(limit),
            config,
            limit,
            buffer,
            now: Instant::ORIGIN,
            deadline: None,
            incoming: Vec::new(),
            partial: Vec::new(),
            partial_since: Instant::ORIGIN,
            pieces: 0,
            deaf: false,
            draining: false,
            peer_closed: false,
            closing: false,
            gone: false,
            closed: None,
            reading: true,
            expected: Vec::new(),
            sent: 0,
            front: 0,
            open: Vec::new(),
            appetite: usize::MAX,
            room: usize::MAX,
            waiting: false,
            last_sent: Instant::ORIGIN,
            last_active: Instant::ORIGIN,
            transaction: 0,
        }
    }

    fn operate(&mut self, operation: u8, source: &mut Source<'_>) {
        match operation & 15 {
            0..=3 => {
                let (unit, len) = (source.byte(), 1 + usize::from(source.byte()) % MAX_PDU);
                let pdu = source.take(len);
                self.request(unit, if pdu.is_empty() { &[7] } else { pdu });
            }
            4 | 5 => {
                let len = usize::from(source.byte());
                self.incoming.extend_from_slice(source.take(len));
            }
            6 => (0..source.byte() % 24).for_each(|_| self.request(1, &[LATER])),
            7 => {
                let (which, len) = (source.byte(), usize::from(source.byte()));
                self.answer(which, Ok(&vec![operation; len]));
            }
            8 => {
                let (which, code) = (source.byte(), source.byte().max(1));
                self.answer(which, Err(code));
            }
            9 => {
                let most = source.byte();
                self.appetite = if most == 255 { usize::MAX } else { usize::from(most) };
            }
            10 => {
                let micros = u64::from(source.byte()) * [1, 1000, 1_000_000, 0][usize::from(operation >> 4 & 3)];
                self.now = self.now.saturating_add(Duration::from_micros(micros));
            }
            11 => self.now = self.deadline.unwrap_or(self.now),
            12 => self.early_timeout(),
            13 => self.refusals(),
            14 => self.end(source.byte()),
            _ => {
                let flaw = source.byte();
                let mut bad = frame(self.transaction, 1, &[3, 0, 0, 0, 1]);
                // Protocol and length; a length of 6 is the right one.
                bad[2 + usize::from(flaw & 3)] = flaw >> 2;
                self.incoming.extend(bad);
            }
        }
    }

    fn request(&mut self, unit: u8, pdu: &[u8]) {
        self.transaction = self.transaction.wrapping_add(1);
        self.incoming.extend(frame(self.transaction, unit, pdu));
    }

    /// Answers a deferred request, open or not.
    fn answer(&mut self, which: u8, answer: Result<&[u8], u8>) {
        let nth = usize::from(which);
        let at = self.open.get(nth % 24).map(|deferred| deferred.nth);
        let nth = at.unwrap_or(nth);
        if nth >= self.naive.deferred() {
            return;
        }
        let is_open = self.open.iter().any(|deferred| deferred.nth == nth);
        let result = self.served.answer(self.now, nth, answer);
        match answer {
            Ok(pdu) if !(1..=MAX_PDU).contains(&pdu.len()) => {
                assert_eq!(result, Err(Error::ReplyLength { len: pdu.len() }));
            }
            _ if is_open => {
                assert_eq!(result, Ok(()));
                self.open.retain(|deferred| deferred.nth != nth);
                self.expected.extend(self.naive.answer(nth, answer));
            }
            _ => assert!(matches!(result, Err(Error::Stale { .. })), "{result:?} for request {nth}, which is gone"),
        }
    }

    fn early_timeout(&mut self) {
        if self.deadline.is_none_or(|deadline| deadline > self.now) {
            let shown = self.served.connection.transmit().concat();
            self.served.connection.handle_timeout(self.now);
            assert_eq!(self.served.connection.poll_output(), Step::Wait(self.deadline), "after an early timeout");
            assert_eq!(self.served.connection.transmit().concat(), shown);
        }
    }

    fn refusals(&mut self) {
        let shown = self.served.connection.transmit().concat().len();
        for len in [0, shown + 1, usize::MAX] {
            let refused = self.served.input(self.now, Input::Transmitted { len });
            assert_eq!(refused, Err(Error::Transmitted { len, shown }));
        }
        if self.peer_closed {
            assert_eq!(self.served.input(self.now, Input::PeerClosed), Err(Error::InputEnded));
            assert_eq!(self.served.offer(self.now, &[0]), Err(Error::InputEnded));
        }
        assert_eq!(self.served.connection.poll_output(), Step::Wait(self.deadline), "after refusals");
    }

    fn end(&mut self, which: u8) {
        let reason = Reason::ALL[usize::from(which / 8) % Reason::ALL.len()];
        let (input, gone) = match which % 8 {
            0..=2 => return self.end_of_peer(),
            3 => (Input::PeerReset, Some((Reason::PeerReset, false))),
            4 | 5 => (Input::Drain, None),
            _ => (Input::Abort { reason }, Some((reason, reason != Reason::Evicted))),
        };
        (self.draining, self.gone) = (true, gone.is_some());
        assert_eq!(self.served.input(self.now, input), Ok(()));
        self.drain();
        if gone == Some((Reason::PeerReset, false)) && self.closing {
            assert!(
                self.closed.is_some_and(|(reason, reset)| reason != Reason::PeerReset && !reset),
                "a reset that answers our FIN leaves the reason as it was: {:?}",
                self.closed
            );
        } else if gone.is_some() {
            assert_eq!(self.closed, gone, "the connection is gone at once");
        }
    }

    /// All of the peer's bytes come before its end.
    fn end_of_peer(&mut self) {
        self.settle();
        if self.peer_closed || self.closed.is_some() || !self.incoming.is_empty() {
            return;
        }
        let truncated = !self.partial.is_empty() && !self.deaf && !self.closing;
        let before = self.served.discarded.len();
        assert_eq!(self.served.input(self.now, Input::PeerClosed), Ok(()));
        self.peer_closed = true;
        if !self.draining && !self.deaf {
            self.expected.extend(self.naive.fin());
        }
        self.drain();
        let discarded = self.served.discarded.get(before..).unwrap_or_default();
        assert_eq!(discarded, if truncated { &[Discard::Truncated][..] } else { &[] });
        self.partial.clear();
    }

    /// What a driver does after each event: time out if it is time, offer what is unread, carry outputs out.
    fn settle(&mut self) {
        self.room = self.appetite;
        self.transmit();
        self.drain();
        if self.closed.is_none() && self.deadline.is_some_and(|deadline| deadline <= self.now) {
            self.time_out();
        }
        self.offer();
        self.check();
    }

    fn time_out(&mut self) {
        for Deferred { nth, arrived } in self.open.clone() {
            if !self.config.request_timeout.is_zero() && arrived.saturating_add(self.config.request_timeout) <= self.now
            {
                self.open.retain(|deferred| deferred.nth != nth);
                self.expected.extend(self.naive.answer(nth, Err(6)));
            }
        }
        self.served.connection.handle_timeout(self.now);
        self.drain();
        assert!(self.deadline.is_none_or(|deadline| deadline > self.now), "a deadline stays after its timeout");
    }

    fn offer(&mut self) {
        while !self.incoming.is_empty() && self.reading && !self.peer_closed && self.closed.is_none() {
            let taken = self.served.offer(self.now, &self.incoming).expect("an open connection takes bytes");
            assert!(taken <= self.incoming.len());
            let bytes: Vec<u8> = self.incoming.drain(..taken).collect();
            if !self.deaf && !self.closing {
                self.taken(&bytes);
            }
            self.drain();
            assert!(taken > 0 || !self.reading, "nothing was taken, and no pause was said");
        }
    }

    /// The connection has taken bytes in which frames are looked for.
    fn taken(&mut self, bytes: &[u8]) {
        if self.partial.is_empty() {
            self.partial_since = self.now;
        }
        self.partial.extend_from_slice(bytes);
        let (pieces, len) = by_the_specification(&self.partial);
        self.partial.drain(..len);
        if len > 0 {
            self.partial_since = self.now;
            self.last_active = self.now;
        }
        self.pieces += pieces.len();
        self.deaf = matches!(pieces.last(), Some(Piece::Lost { .. }));
        if self.draining {
            return;
        }
        let known = self.naive.deferred();
        self.expected.extend(self.naive.bytes(bytes));
        let arrived = self.now;
        self.open.extend((known..self.naive.deferred()).map(|nth| Deferred { nth, arrived }));
        assert_eq!(self.server.deferrals.borrow().len(), self.naive.deferred(), "requests that handlers have put off");
    }

    fn drain(&mut self) {
        let bound = 64 + self.buffer;
        for _ in 0..bound {
            match self.served.connection.poll_output() {
                Step::Do(output) => self.carry_out(output),
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    assert_eq!(self.served.connection.poll_output(), Step::Wait(deadline), "drained, and polled again");
                    return;
                }
            }
        }
        panic!("more than {bound} outputs in one drain");
    }

    fn carry_out(&mut self, output: Output) {
        assert!(self.closed.is_none(), "{output:?} after the last output");
        let _order = self.served.note(output);
        match output {
            Output::Transmit => {
                assert!(!self.waiting, "asked to transmit before the last time was answered");
                self.waiting = true;
                self.transmit();
            }
            Output::Pause => assert!(std::mem::take(&mut self.reading), "paused twice"),
            Output::Resume => assert!(!std::mem::replace(&mut self.reading, true), "resumed twice"),
            Output::CloseWrite => {
                assert!(!self.closing, "a second FIN");
                self.nothing_is_owed();
                self.closing = true;
            }
            Output::Close { reason, reset } => self.close(reason, reset),
            Output::Discarded(Discard::FrameTimeout) => {
                let since = self.now.saturating_duration_since(self.partial_since);
                assert!(
                    !self.partial.is_empty() && since >= self.config.frame_timeout,
                    "frame timeout after {since:?}"
                );
                self.deaf = true;
                self.partial.clear();
            }
            Output::Discarded(_) => {}
            Output::Processed(processed) => assert!(usize::from(processed.bytes_out) <= MAX_FRAME),
        }
    }

    fn close(&mut self, reason: Reason, reset: bool) {
        self.closed = Some((reason, reset));
        if self.gone {
            // Whoever asked for it compares the reason.
        } else if reason == Reason::WriteStuck {
            let stuck = self.now.saturating_duration_since(self.last_sent);
            assert!(reset && stuck >= self.config.write_timeout, "stuck after {stuck:?}");
        } else {
            assert!(!reset, "a reset for {reason}");
            self.nothing_is_owed();
            let idle = self.now.saturating_duration_since(self.last_active.max(self.last_sent));
            assert!(reason != Reason::Idle || idle >= self.config.idle_timeout, "idle after {idle:?}");
        }
        self.open.clear();
    }

    fn nothing_is_owed(&self) {
        assert!(self.open.is_empty(), "{} requests are owed an answer", self.open.len());
        assert_eq!(self.sent, self.expected.len(), "bytes are owed");
    }

    /// Lets the socket take what it will of what waits.
    fn transmit(&mut self) {
        if !self.waiting || self.room == 0 || self.closed.is_some() {
            return;
        }
        let shown = self.served.connection.transmit().concat();
        assert!(!shown.is_empty(), "asked to transmit nothing");
        let len = shown.len().min(self.room);
        self.room -= len;
        let expected = self.expected.get(self.sent..self.sent + len);
        assert_eq!(Some(&shown[..len]), expected, "after {} bytes, sent and expected", self.sent);
        self.sent += len;
        self.waiting = false;
        self.last_sent = self.now;
        assert_eq!(self.served.input(self.now, Input::Transmitted { len }), Ok(()));
    }

    /// What holds whenever the connection waits.
    fn check(&mut self) {
        if self.closed.is_some() {
            return self.accounts();
        }
        let shown = self.served.connection.transmit().concat();
        let unsent = &self.expected[self.sent..];
        while self.front <= self.sent && self.front < self.expected.len() {
            let length = &self.expected[self.front + 4..self.front + 6];
            self.front += 6 + usize::from(length[0]) * 256 + usize::from(length[1]);
        }
        let may_leave = if self.config.coalesce { unsent } else { &unsent[..unsent.len().min(self.front - self.sent)] };
        assert_eq!(shown, may_leave, "after {} bytes, shown and expected", self.sent);
        assert_eq!(self.waiting, !shown.is_empty(), "bytes wait, and nobody is told");
        assert!(shown.len() <= self.buffer - MAX_FRAME);
        assert_eq!(self.served.connection.outstanding(), self.open.len());
        assert!(self.open.len() <= self.limit, "{} requests outstanding of {}", self.open.len(), self.limit);

        let ends = self.draining || self.peer_closed || self.deaf || self.closing;
        let full = self.config.overflow == Overflow::Wait && self.open.len() >= self.limit;
        let wanted = unsent.len() + (self.open.len() + 1) * MAX_FRAME;
        let has_room = wanted <= self.buffer - MAX_FRAME;
        if ends {
            assert!(self.reading, "what comes is thrown away, but it is read");
        } else if self.open.is_empty() {
            assert_eq!(self.reading, has_room, "{wanted} bytes wanted of {}", self.buffer);
        } else if self.reading {
            assert!(has_room && !full, "no room, and yet it reads");
        }

        let runs = |since: Instant, timeout: Duration| {
            let by = since.saturating_add(timeout);
            assert!(timeout.is_zero() || self.deadline.is_some_and(|deadline| deadline <= by), "no deadline by {by:?}");
        };
        self.open.iter().for_each(|deferred| runs(deferred.arrived, self.config.request_timeout));
        if self.closing {
            runs(self.now, self.config.linger);
        } else if self.waiting {
            runs(self.now, self.config.write_timeout);
        } else if !self.partial.is_empty() && self.reading {
            runs(self.now, self.config.frame_timeout);
        } else if self.open.is_empty() && !ends {
            runs(self.now, self.config.idle_timeout);
        }
        assert!(self.deadline.is_none_or(|deadline| deadline > self.now), "a deadline in the past");
        self.accounts();
    }

    /// Every frame that was taken is reported once, or still open.
    fn accounts(&self) {
        let ends = [Discard::Truncated, Discard::FrameTimeout];
        let discarded = self.served.discarded.iter().filter(|reason| !ends.contains(reason)).count();
        assert_eq!(self.served.processed.len() + discarded + self.open.len(), self.pieces, "reports and frames");
        if self.closed.is_none() && self.open.is_empty() {
            let out: usize = self.served.processed.iter().map(|processed| usize::from(processed.bytes_out)).sum();
            assert_eq!(out, self.expected.len(), "bytes reported and bytes queued");
        }
    }

    /// Answers and sends all that is left, ends the peer's side, and sees the connection close.
    fn finish(&mut self) {
        self.appetite = usize::MAX;
        let mut rounds = 0;
        self.settle();
        while self.closed.is_none() && !(self.open.is_empty() && (self.incoming.is_empty() || self.peer_closed)) {
            while !self.open.is_empty() && self.closed.is_none() {
                self.answer(0, Ok(&[LATER]));
                self.drain();
            }
            self.settle();
            rounds += 1;
            assert!(rounds < 10_000, "{} bytes are never taken", self.incoming.len());
        }
        self.end_of_peer();
        if self.peer_closed && !self.closed.is_some_and(|(_, reset)| reset) {
            assert!(self.closed.is_some(), "both sides have ended, and the connection has not");
        }
        assert!(self.closed.is_some(), "still open");
        assert!(self.served.connection.is_closed());
        for input in [Input::PeerClosed, Input::PeerReset, Input::Drain, Input::Transmitted { len: 1 }] {
            assert_eq!(self.served.input(self.now, input), Err(Error::Closed));
        }
        self.served.connection.handle_timeout(Instant::MAX);
        assert_eq!(self.served.connection.poll_output(), Step::Wait(None), "after the last output");
    }
}
