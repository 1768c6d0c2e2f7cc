//! A connection with faults against what the faults that were chosen ask for.
//!
//! The model looks at the bytes alone, not at when they leave: each request makes one block of them, which is the honest
//! reply, what faults make of it, its copies, or nothing. Blocks leave whole and in order, but for those that let others
//! pass. Where no fault ends the connection, every block leaves in the end.
//!
//! # Script
//!
//! A byte of setting, how many faults, less one, and each as [`crate::faults`] reads it; then operations: the low half of a
//! byte names one, its operands follow.
//!
//! | low half | operation, operands |
//! | --- | --- |
//! | 0..=6 | requests come in one segment: how many, function, address, quantity |
//! | 7, 8 | a deferred request is answered, or fails: which, quantity or exception |
//! | 9 | the socket takes that many bytes at a time from now on; 255 stands for all |
//! | A, B | time passes: a span |
//! | C | the deadline comes |
//! | D | a fault is switched: which and how |
//! | E | a drain, or the peer's end: which |
//! | F | half a frame comes: how much of it |

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the kinds of faults")]

use super::Source;
use super::fault_plan::{reply, request};
use crate::faults::{self as random, KINDS, REPLY_KINDS};
use core::cell::RefCell;
use core::time::Duration;
use wharf_core::modbus::faults::{
    Acting, Asked, Connection, Decision, Ended, Entry, FaultId, Faults, Frame, Held, Input, Kind, Moment, Order, Plan,
    Tally, Then, Unsolicited,
};
use wharf_core::modbus::mbap;
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::{Config, Output, Overflow, State, Transaction};
use wharf_core::modbus::service::{Answer, Indication, ReplyPdu, RequestId, Service};
use wharf_core::{Instant, Machine, Step};

/// More operations than this prove nothing new and only slow the fuzzer down.
const MAX_OPERATIONS: usize = 200;
const MAX_FAULTS: u8 = 5;
const PLACES: usize = 16;
/// Outputs of one drain: less than a byte each of all that may be kept back.
const MAX_OUTPUTS: usize = 1 << 20;
/// Deadlines until nothing can be left to wait for.
const MAX_ROUNDS: usize = 1 << 20;
/// Reads, writes, one that is refused when its quantity is 0 modulo 7, one deferred and one never answered.
const FUNCTIONS: [u8; 8] = [3, 1, 6, 16, 23, LATER, SILENT, 4];
const LATER: u8 = 65;
const SILENT: u8 = 66;

/// Plays a script on a connection with faults.
///
/// # Panics
/// When bytes leave that no reply and no fault asks for, or in another order, when a reply is lost, or when the connection
/// breaks its contract.
pub fn faulty_connection(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(&mut source);
    rig.settle();
    for _ in 0..MAX_OPERATIONS {
        if source.is_empty() || rig.closed {
            break;
        }
        let operation = source.byte();
        rig.operate(operation, &mut source);
        rig.settle();
    }
    rig.finish();
}

/// All requests in order of arrival, as service and faults have seen them.
#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    /// Which of them is answered now, unless the last.
    answered: Option<usize>,
}

struct Request {
    transaction: u16,
    asked: Asked,
    pdu: Vec<u8>,
    id: Option<RequestId>,
    /// Kept by a fault from being executed.
    prevented: bool,
    /// The honest reply; none if there is none, or not yet.
    honest: Option<Vec<u8>>,
    decision: Option<Decision>,
}

struct Units<'l>(&'l RefCell<Log>);

impl Units<'_> {
    fn log(&self, indication: &Indication<'_>, prevented: bool, honest: Option<Vec<u8>>) {
        self.0.borrow_mut().requests.push(Request {
            transaction: indication.transaction,
            asked: Asked::new(indication.unit, indication.pdu),
            pdu: indication.pdu.to_vec(),
            id: indication.id,
            prevented,
            honest,
            decision: None,
        });
    }
}

impl Service for Units<'_> {
    fn serve(&mut self, request: &Indication<'_>, into: &mut ReplyPdu) -> Answer {
        let function = request.function();
        if matches!(function, LATER | SILENT) {
            self.log(request, false, None);
            return if function == LATER { Answer::LATER } else { Answer::Silent };
        }
        if request.pdu[4].is_multiple_of(7) {
            self.log(request, false, Some(vec![function | 0x80, 3]));
            return Answer::Exception(Exception::ILLEGAL_DATA_VALUE);
        }
        let honest = reply(request.pdu);
        into[..honest.len()].copy_from_slice(&honest);
        let len = honest.len();
        self.log(request, false, Some(honest));
        Answer::Reply { len }
    }

    fn prevented(&mut self, request: &Indication<'_>, _: Option<Exception>) {
        self.log(request, true, None);
    }
}

/// Writes down what is decided.
struct Recorder<'a, 'l> {
    acting: Acting<'a>,
    log: &'l RefCell<Log>,
}

impl Faults for Recorder<'_, '_> {
    fn choose(&mut self, now: Instant, asked: &Asked, decision: &mut Decision) {
        self.acting.choose(now, asked, decision);
    }

    fn judge(&mut self, now: Instant, asked: &Asked, ended: Ended, decision: &mut Decision) {
        self.acting.judge(now, asked, ended, decision);
        let mut log = self.log.borrow_mut();
        let at = log.answered.unwrap_or(log.requests.len() - 1);
        assert!(log.requests[at].decision.is_none(), "request {at} is judged once");
        log.requests[at].decision = Some(decision.clone());
    }

    fn suppressed(&mut self, fault: FaultId) {
        self.acting.suppressed(fault);
    }

    fn altered(&mut self, fault: FaultId, bytes: usize) {
        self.acting.altered(fault, bytes);
    }
}

struct Rig {
    connection: Connection<Vec<u8>, Vec<Transaction>, Vec<Held>>,
    plan: Plan<Vec<Entry>>,
    tallies: Vec<Tally>,
    log: RefCell<Log>,
    now: Instant,
    deadline: Option<Instant>,
    /// From the peer, not taken yet.
    incoming: Vec<u8>,
    reading: bool,
    appetite: usize,
    wire: Vec<u8>,
    transaction: u16,
    draining: bool,
    peer_closed: bool,
    fin: bool,
    closed: bool,
}

impl Rig {
    fn new(source: &mut Source<'_>) -> Self {
        let (setting, count) = (source.byte(), 1 + source.byte() % MAX_FAULTS);
        let kinds = if setting & 1 == 0 { REPLY_KINDS } else { KINDS };
        let faults = (0..count).map(|_| random::fault(kinds, &mut || source.byte()));
        let entries = (0..).map(FaultId).zip(faults).map(|(id, fault)| Entry::new(id, fault));
        let plan = Plan::new(entries.collect::<Vec<_>>(), Instant::ORIGIN);
        let off = Duration::ZERO;
        let config = Config {
            overflow: Overflow::Wait,
            coalesce: setting & 2 == 0,
            request_timeout: off,
            frame_timeout: off,
            idle_timeout: off,
            write_timeout: off,
            ..Config::DEFAULT
        };
        let (transactions, held) = (vec![Transaction::EMPTY; PLACES], vec![Held::EMPTY; PLACES + 1]);
        Self {
            connection: Connection::new(config, vec![0; 20 * 260], transactions, held, Instant::ORIGIN),
            tallies: vec![Tally::EMPTY; plan.tallies()],
            plan,
            log: RefCell::default(),
            now: Instant::ORIGIN,
            deadline: None,
            incoming: Vec::new(),
            reading: true,
            appetite: usize::MAX,
            wire: Vec::new(),
            transaction: 0,
            draining: false,
            peer_closed: false,
            fin: false,
            closed: false,
        }
    }

    fn operate(&mut self, operation: u8, source: &mut Source<'_>) {
        match operation & 15 {
            0..=6 => {
                let (count, function, start, quantity) = (source.byte(), source.byte(), source.byte(), source.byte());
                for nth in 0..=count % 6 {
                    let function = FUNCTIONS[usize::from(function.wrapping_add(nth)) % FUNCTIONS.len()];
                    let pdu = request(function, start.into(), 1 + u16::from(quantity) % 120);
                    self.transaction = self.transaction.wrapping_add(1);
                    self.incoming.extend(mbap::header(self.transaction, 1, pdu.len()));
                    self.incoming.extend(pdu);
                }
            }
            7 => {
                let (which, quantity) = (source.byte(), source.byte());
                self.answer(which, Ok(&vec![LATER; 1 + usize::from(quantity) % 253]));
            }
            8 => {
                let (which, code) = (source.byte(), source.byte());
                self.answer(which, Err(Exception::new(code).unwrap_or(Exception::SERVER_DEVICE_FAILURE)));
            }
            9 => {
                let most = usize::from(source.byte());
                self.appetite = if most == 255 { usize::MAX } else { most };
            }
            10 | 11 => self.run(random::span(source.byte())),
            12 => self.run(self.deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.now))),
            13 => {
                let which = source.byte();
                let at = usize::from(which >> 1) % self.plan.entries.len();
                self.plan.entries[at].enable(which & 1 == 0, None);
            }
            14 if source.byte() & 1 == 0 => self.drain_connection(),
            14 => self.end_of_peer(),
            _ => {
                let len = usize::from(source.byte()) % 12;
                let half = [0xEE, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1];
                self.incoming.extend_from_slice(&half[..len]);
                // The rest follows with the next request, so that frames stay frames.
                self.settle();
                self.incoming.extend_from_slice(&half[len..]);
            }
        }
    }

    /// Answers a deferred request that has no answer yet.
    fn answer(&mut self, which: u8, answer: Result<&[u8], Exception>) {
        let open: Vec<_> = self.open();
        if open.is_empty() || self.closed {
            return;
        }
        let (at, id) = open[usize::from(which) % open.len()];
        {
            let mut log = self.log.borrow_mut();
            let function = log.requests[at].pdu[0];
            log.requests[at].honest = Some(match answer {
                Ok(pdu) => pdu.to_vec(),
                Err(exception) => vec![function | 0x80, exception.code()],
            });
            log.answered = Some(at);
        }
        let mut faults = Recorder { acting: self.plan.acting(None, &mut self.tallies), log: &self.log };
        let faults: Option<&mut dyn Faults> = Some(&mut faults);
        let input = match answer {
            Ok(pdu) => Input::Replied { id, pdu, faults },
            Err(exception) => Input::Failed { id, exception, faults },
        };
        let answered = self.connection.handle_input(self.now, input);
        // A fault that ends the connection has ended its requests too.
        assert!(answered.is_ok() || self.log.borrow().ends(), "{answered:?} for a request that is open");
        self.log.borrow_mut().answered = None;
    }

    fn open(&self) -> Vec<(usize, RequestId)> {
        let log = self.log.borrow();
        let later = |request: &Request| request.pdu[0] == LATER && !request.prevented && request.honest.is_none();
        let open = log.requests.iter().enumerate().filter(|(_, request)| later(request));
        open.map(|(at, request)| (at, request.id.expect("there is a place for each"))).collect()
    }

    fn drain_connection(&mut self) {
        if !self.closed {
            self.draining = true;
            self.connection.handle_input(self.now, Input::Drain).expect("an open connection can be drained");
        }
    }

    fn end_of_peer(&mut self) {
        self.settle();
        if self.closed || self.peer_closed || !self.incoming.is_empty() {
            return;
        }
        self.peer_closed = true;
        self.connection.handle_input(self.now, Input::PeerClosed).expect("it ends once");
    }

    /// Lets time pass, deadline by deadline.
    fn run(&mut self, span: Duration) {
        let end = self.now.saturating_add(span);
        for _ in 0..MAX_ROUNDS {
            self.settle();
            let Some(due) = self.deadline.filter(|due| *due <= end && !self.closed) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            self.connection.handle_timeout(self.now);
            self.drain();
            assert!(self.deadline.is_none_or(|deadline| deadline > self.now), "a deadline stays after its timeout");
        }
        panic!("the deadlines do not end");
    }

    /// What a driver does after each event: carry outputs out, send, offer what is unread.
    fn settle(&mut self) {
        loop {
            self.drain();
            let before = (self.wire.len(), self.incoming.len());
            self.send();
            self.offer();
            if before == (self.wire.len(), self.incoming.len()) {
                return;
            }
        }
    }

    fn drain(&mut self) {
        for _ in 0..MAX_OUTPUTS {
            match self.connection.poll_output() {
                Step::Do(output) => self.carry_out(output),
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    assert!(!self.closed || deadline.is_none(), "a closed connection waits for nothing");
                    return;
                }
            }
        }
        panic!("the drain does not end");
    }

    fn carry_out(&mut self, output: Output) {
        assert!(!self.closed, "{output:?} after the last output");
        match output {
            Output::Transmit => {
                assert_ne!(self.connection.state(), State::Held, "nothing leaves a connection that is held");
                assert!(!self.fin, "nothing leaves behind a FIN");
                assert!(!self.connection.transmit().concat().is_empty(), "a transmit of nothing");
            }
            Output::Pause => self.reading = false,
            Output::Resume => self.reading = true,
            Output::CloseWrite => self.fin = true,
            Output::Close { .. } => self.closed = true,
            _ => {}
        }
    }

    fn send(&mut self) {
        if self.closed {
            return;
        }
        let shown = self.connection.transmit().concat();
        assert!(shown.is_empty() || self.connection.state() != State::Held, "bytes to send while held");
        let len = shown.len().min(self.appetite);
        if len > 0 {
            self.wire.extend_from_slice(&shown[..len]);
            self.connection.handle_input(self.now, Input::Transmitted { len }).expect("what was shown may leave");
            self.drain();
        }
    }

    fn offer(&mut self) {
        if self.closed || self.peer_closed || !self.reading || self.incoming.is_empty() {
            return;
        }
        let mut faults = Recorder { acting: self.plan.acting(None, &mut self.tallies), log: &self.log };
        let mut service = Units(&self.log);
        let input = Input::Received { bytes: &self.incoming, service: &mut service, faults: Some(&mut faults) };
        self.connection.handle_input(self.now, input).expect("an open connection takes bytes");
        let taken = self.connection.taken();
        assert!(taken <= self.incoming.len());
        self.incoming.drain(..taken);
        self.drain();
        assert!(taken > 0 || !self.reading || self.closed, "nothing was taken, and no pause was said");
    }

    /// Answers and sends all that is left, lets every wait pass, and compares.
    fn finish(&mut self) {
        self.appetite = usize::MAX;
        for _ in 0..MAX_ROUNDS {
            self.settle();
            while !self.open().is_empty() && !self.closed {
                self.answer(0, Ok(&[LATER]));
                self.settle();
            }
            let Some(due) = self.deadline.filter(|_| !self.closed) else { break };
            self.run(due.saturating_duration_since(self.now));
        }
        self.wire_is_as_told();
        // What a fault holds for ever, a drain ends.
        self.drain_connection();
        for _ in 0..MAX_ROUNDS {
            self.settle();
            if self.closed || (self.fin && self.deadline.is_none()) {
                return;
            }
            while !self.open().is_empty() && !self.closed {
                self.answer(0, Ok(&[LATER]));
                self.settle();
            }
            let Some(due) = self.deadline.filter(|_| !self.closed) else { break };
            self.run(due.saturating_duration_since(self.now));
        }
        assert!(self.closed, "a drain ends");
    }

    /// The bytes on the wire are those of the blocks, in order.
    fn wire_is_as_told(&self) {
        let log = self.log.borrow();
        let mut blocks: Vec<Block> = log.requests.iter().flat_map(Request::blocks).collect();
        blocks.retain(|block| !block.bytes.is_empty());
        let mut left = vec![true; blocks.len()];
        assert!(is_made_of(&self.wire, &blocks, &mut left, log.ends()), "{:02X?} is not {blocks:02X?}", self.wire);
    }
}

/// Whether bytes are those of the blocks that are left: all of them, unless the connection ends.
fn is_made_of(bytes: &[u8], blocks: &[Block], left: &mut [bool], ends: bool) -> bool {
    let at: Vec<usize> = (0..blocks.len()).filter(|at| left[*at]).collect();
    if bytes.is_empty() {
        return ends || at.iter().all(|at| blocks[*at].is_optional);
    }
    // Those that wait to be passed hold up nobody, and what need not leave does not either.
    let holds_up = |at: &usize| !blocks[*at].is_passed && !blocks[*at].is_optional;
    let candidates = at.iter().position(holds_up).map_or(at.len(), |last| last + 1);
    at[..candidates].iter().any(|at| {
        let block = &blocks[*at].bytes[..];
        // A connection that ends takes the rest of a frame with it.
        let Some(rest) = bytes.strip_prefix(block) else { return ends && block.starts_with(bytes) };
        left[*at] = false;
        let fits = is_made_of(rest, blocks, left, ends);
        left[*at] = !fits;
        fits
    })
}

/// What leaves for one request in one go.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    /// Later blocks may leave first.
    is_passed: bool,
    /// It may as well not leave: a frame for a quiet time that never comes.
    is_optional: bool,
}

impl Log {
    /// Whether a fault has ended the connection, or holds it for ever.
    fn ends(&self) -> bool {
        let endings = self.requests.iter().filter_map(|request| request.decision.as_ref()?.ending());
        endings.into_iter().any(|kind| match kind {
            Kind::StopReading { then, span } | Kind::HoldOpen { then, span } => then != Then::Resume || span.is_zero(),
            _ => true,
        })
    }
}

impl Request {
    /// The blocks that it makes: its reply, and what leaves at a quiet time.
    fn blocks(&self) -> Vec<Block> {
        let Some(decision) = &self.decision else { return Vec::new() };
        let instead = decision.exception().map(|code| vec![self.pdu[0] | 0x80, code.code()]);
        let honest = match (&self.honest, instead) {
            _ if decision.is_silent() => return Vec::new(),
            (None, None) => return Vec::new(),
            (None, Some(_)) if !self.prevented => return Vec::new(),
            (_, Some(instead)) => instead,
            (Some(honest), None) => honest.clone(),
        };
        let mut frame = Frame::new();
        let header = mbap::header(self.transaction, 1, honest.len());
        frame.extend_from_slice(&[&header[..], &honest].concat()).expect("an honest frame finds room");
        decision.alter(&self.asked, &[], &mut frame, |_, _| ());
        let at = |moment: fn(Moment) -> bool| {
            let frames = decision.unsolicited(moment).map(|unsolicited| match unsolicited {
                Unsolicited::Bytes(bytes) => bytes.to_vec(),
                Unsolicited::Reply { transaction } => [&transaction.to_be_bytes()[..], &frame[2..]].concat(),
            });
            frames.collect::<Vec<_>>().concat()
        };
        let whole = |copies: u16| {
            let replies = frame.repeat(1 + usize::from(copies));
            [at(|when| when == Moment::Before), replies, at(|when| when == Moment::After)].concat()
        };
        let bytes = match decision.ending() {
            Some(Kind::Close { when: Order::Before, .. }) => return Vec::new(),
            Some(Kind::CutFrame { bytes, .. }) => frame[..usize::from(bytes).min(frame.len() - 1)].to_vec(),
            _ => whole(decision.copies().0),
        };
        let quiet = at(|when| matches!(when, Moment::Idle(span) if !span.is_zero()));
        vec![
            Block { bytes, is_passed: decision.reorder().is_some(), is_optional: false },
            Block { bytes: quiet, is_passed: false, is_optional: true },
        ]
    }
}
