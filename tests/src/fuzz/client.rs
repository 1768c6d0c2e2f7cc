//! A client connection under a script, beside a model that keeps everything and is never clever.
//!
//! The first four bytes choose places, limit, buffer and timeouts; then come operations, the low four bits of each saying
//! which:
//!
//! | operation | reads | does |
//! | --- | --- | --- |
//! | 0..=3 | unit, length, PDU | asks; bits 4 and 5 choose the timeout, 6 and 7 the retries |
//! | 4 | length, bytes | the server sends these bytes |
//! | 5..=7 | which | the server answers a waiting request as it should, half of it first if bit 4 is set |
//! | 8 | which, what | the server answers it with an exception, another unit, another function, a byte too many, or twice |
//! | 9 | transaction | the server answers what nobody asked |
//! | 10 | bytes | the socket takes so many and then none; 255 is without end |
//! | 11 | span | time passes, in units that bits 4 and 5 choose |
//! | 12 | | the clock is put to the deadline |
//! | 13 | transaction | a frame of another protocol |
//! | 14 | how | FIN, reset, drain or abort |
//! | 15 | | inputs that must be refused |

use super::Source;
use crate::vectors::frame;
use core::time::Duration;
use wharf_core::modbus::client::{
    Breach, Config, Connection, Counters, Discard, Error, Input, MIN_BUFFER, Outcome, Output, Reason, Transaction,
};
use wharf_core::modbus::mbap::{self, MAX_PDU};
use wharf_core::modbus::pdu::{Exception, Reply, ReplyError, Request};
use wharf_core::{Instant, Machine, Step};

/// More operations than this prove nothing new and only slow the fuzzer down.
const MAX_OPERATIONS: usize = 500;

/// Plays a script on a client connection and on the model.
///
/// # Panics
/// When they differ, or the connection breaks its contract.
pub fn client(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(&mut source);
    for _ in 0..MAX_OPERATIONS {
        if source.is_empty() || rig.model.closed.is_some() {
            break;
        }
        let operation = source.byte();
        rig.operate(operation, &mut source);
    }
    rig.finish();
}

/// A request that has not ended.
#[derive(Clone, Debug)]
struct Asked {
    tag: u64,
    id: u16,
    unit: u8,
    pdu: Vec<u8>,
    timeout: Duration,
    retries: u8,
    deadline: Option<Instant>,
}

/// A copy of a frame that has not left.
#[derive(Clone, Debug)]
struct Leaving {
    tag: u64,
    first: bool,
    bytes: Vec<u8>,
    sent: usize,
}

/// What a client connection is to do, said the long way.
struct Model {
    capacity: usize,
    room: usize,
    frame_timeout: Duration,
    waiting: Vec<Asked>,
    leaving: Vec<Leaving>,
    next: u16,
    /// Ids that were given out or passed over.
    passed: Vec<u16>,
    inbox: Vec<u8>,
    inbox_since: Instant,
    draining: bool,
    closed: Option<Reason>,
    counters: Counters,
    /// What must come out, in order but for requests that end together.
    expected: Vec<Seen>,
}

/// An output, as far as the model knows it.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Done(u64, Outcome),
    Discarded(Discard, u16),
    Closed(Reason),
}

struct Rig {
    connection: Connection<Vec<u8>, Vec<Transaction>>,
    model: Model,
    now: Instant,
    deadline: Option<Instant>,
    /// What the socket still takes, and whether a transmit waits for it.
    appetite: usize,
    transmit: bool,
    tags: u64,
    seen: Vec<Seen>,
    ended: Vec<u64>,
}

impl Model {
    fn free(&self) -> usize {
        self.room - self.leaving.iter().map(|copy| copy.bytes.len() - copy.sent).sum::<usize>()
    }

    fn ask(&mut self, now: Instant, asked: &Asked) -> Result<(), Error> {
        if !(1..=MAX_PDU).contains(&asked.pdu.len()) {
            return Err(Error::PduLength { len: asked.pdu.len() });
        }
        if self.draining {
            return Err(Error::Draining);
        }
        if self.waiting.len() == self.capacity {
            return Err(Error::Full { limit: self.capacity });
        }
        let needed = asked.pdu.len() + 7;
        if needed > self.free() {
            return Err(Error::NoRoom { needed });
        }
        let taken = |id: u16| {
            self.waiting.iter().any(|other| usize::from(other.id) % self.capacity == usize::from(id) % self.capacity)
        };
        let mut id = self.next;
        while taken(id) {
            self.passed.push(id);
            id = id.wrapping_add(1);
        }
        self.passed.push(id);
        self.next = id.wrapping_add(1);
        let deadline = (!asked.timeout.is_zero()).then(|| now.saturating_add(asked.timeout));
        let asked = Asked { id, deadline, ..asked.clone() };
        let bytes = frame(id, asked.unit, &asked.pdu);
        self.leaving.push(Leaving { tag: asked.tag, first: true, bytes, sent: 0 });
        self.waiting.push(asked);
        Ok(())
    }

    fn transmitted(&mut self, mut len: usize) {
        while len > 0 {
            let copy = &mut self.leaving[0];
            let part = len.min(copy.bytes.len() - copy.sent);
            copy.sent += part;
            len -= part;
            if copy.sent == copy.bytes.len() {
                self.leaving.remove(0);
            }
        }
    }

    fn end(&mut self, at: usize, outcome: Outcome) {
        let tag = self.waiting.remove(at).tag;
        self.leaving.retain(|copy| copy.tag != tag || copy.sent > 0);
        self.expected.push(Seen::Done(tag, outcome));
    }

    fn close(&mut self, reason: Reason) {
        while !self.waiting.is_empty() {
            self.end(0, Outcome::Lost(reason));
        }
        self.leaving.clear();
        self.inbox.clear();
        self.closed = Some(reason);
        self.expected.push(Seen::Closed(reason));
    }

    fn settle(&mut self) {
        if self.draining && self.closed.is_none() && self.waiting.is_empty() {
            self.close(Reason::Finished);
        }
    }

    fn discard(&mut self, reason: Discard, id: u16) {
        let counter = match reason {
            Discard::Late => &mut self.counters.late,
            Discard::Unsolicited => &mut self.counters.unsolicited,
            Discard::ProtocolId { .. } => &mut self.counters.protocol_id,
        };
        *counter += 1;
        self.expected.push(Seen::Discarded(reason, id));
    }

    fn received(&mut self, now: Instant, bytes: &[u8]) {
        if self.inbox.is_empty() {
            self.inbox_since = now;
        }
        self.inbox.extend(bytes);
        while self.closed.is_none() && self.inbox.len() >= 6 {
            let length = u16::from_be_bytes([self.inbox[4], self.inbox[5]]);
            let error = match length {
                0 | 1 => Some(mbap::Error::LengthShort { length }),
                2..=254 => None,
                255.. => Some(mbap::Error::LengthLong { length }),
            };
            if let Some(error) = error {
                return self.close(Reason::BadFrame(error));
            }
            let len = 6 + usize::from(length);
            if self.inbox.len() < len {
                return;
            }
            let frame: Vec<u8> = self.inbox.drain(..len).collect();
            self.inbox_since = now;
            self.frame(&frame);
            self.settle();
        }
    }

    fn frame(&mut self, frame: &[u8]) {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (id, protocol) = (word(0), word(2));
        if protocol != 0 {
            return self.discard(Discard::ProtocolId { protocol }, id);
        }
        let Some(at) = self.waiting.iter().position(|asked| asked.id == id) else {
            let reason = if self.passed.contains(&id) { Discard::Late } else { Discard::Unsolicited };
            return self.discard(reason, id);
        };
        let asked = self.waiting[at].clone();
        if self.leaving.iter().any(|copy| copy.first && copy.tag == asked.tag) {
            return self.discard(Discard::Unsolicited, id);
        }
        let outcome = if frame[6] == asked.unit {
            judge(&asked.pdu, &frame[7..])
        } else {
            Outcome::Broken(Breach::WrongUnit { asked: asked.unit, got: frame[6] })
        };
        self.end(at, outcome);
    }

    fn timeout(&mut self, now: Instant) {
        let mut due: Vec<Asked> =
            self.waiting.iter().filter(|asked| asked.deadline.is_some_and(|at| at <= now)).cloned().collect();
        let oldest = usize::from(self.next) % self.capacity;
        due.sort_by_key(|asked| (usize::from(asked.id) % self.capacity + self.capacity - oldest) % self.capacity);
        for asked in due {
            let at = self.waiting.iter().position(|other| other.tag == asked.tag).expect("it waits");
            if asked.retries == 0 {
                self.end(at, Outcome::Timeout);
                continue;
            }
            let unsent = self.leaving.iter().any(|copy| copy.tag == asked.tag && copy.sent == 0);
            let bytes = frame(asked.id, asked.unit, &asked.pdu);
            if !unsent && bytes.len() <= self.free() {
                self.leaving.push(Leaving { tag: asked.tag, first: false, bytes, sent: 0 });
            }
            self.waiting[at].retries -= 1;
            self.waiting[at].deadline = Some(now.saturating_add(asked.timeout));
        }
        let frame_ends = self.inbox_since.saturating_add(self.frame_timeout);
        if !self.inbox.is_empty() && !self.frame_timeout.is_zero() && frame_ends <= now {
            self.close(Reason::FrameTimeout);
        }
        self.settle();
    }

    fn deadline(&self) -> Option<Instant> {
        let frame = (!self.inbox.is_empty() && !self.frame_timeout.is_zero())
            .then(|| self.inbox_since.saturating_add(self.frame_timeout));
        self.waiting.iter().filter_map(|asked| asked.deadline).chain(frame).min()
    }
}

fn judge(asked: &[u8], reply: &[u8]) -> Outcome {
    if let Ok(request) = Request::decode(asked) {
        return match Reply::decode(&request, reply) {
            Ok(_) => Outcome::Reply,
            Err(ReplyError::Exception(exception)) => Outcome::Exception(exception),
            Err(ReplyError::WrongFunction { asked, got }) => Outcome::Broken(Breach::WrongFunction { asked, got }),
            Err(_) => Outcome::Broken(Breach::Malformed),
        };
    }
    if reply.len() == 2 && reply[0] == asked[0] | 0x80 {
        return Exception::new(reply[1]).map_or(Outcome::Broken(Breach::Malformed), Outcome::Exception);
    }
    if reply[0] == asked[0] {
        return Outcome::Reply;
    }
    Outcome::Broken(Breach::WrongFunction { asked: asked[0], got: reply[0] })
}

impl Rig {
    fn new(source: &mut Source<'_>) -> Self {
        let (places, limit, spare, timeouts) = (source.byte(), source.byte(), source.byte(), source.byte());
        let (places, limit) = (1 + usize::from(places % 16), 1 + u16::from(limit % 24));
        let room = 260 + [0, 1, 12, 40, 260, 1000, 4000, 9000][usize::from(spare & 7)];
        let frame_timeout = Duration::from_micros([10_000_000, 0, 500, 1][usize::from(timeouts & 3)]);
        let config = Config { max_outstanding: limit, frame_timeout };
        let buffer = vec![0; MIN_BUFFER - 260 + room];
        Self {
            connection: Connection::new(config, buffer, vec![Transaction::EMPTY; places]),
            model: Model {
                capacity: places.min(limit.into()),
                room,
                frame_timeout,
                waiting: Vec::new(),
                leaving: Vec::new(),
                next: 1,
                passed: Vec::new(),
                inbox: Vec::new(),
                inbox_since: Instant::ORIGIN,
                draining: false,
                closed: None,
                counters: Counters::default(),
                expected: Vec::new(),
            },
            now: Instant::ORIGIN,
            deadline: None,
            appetite: usize::MAX,
            transmit: false,
            tags: 0,
            seen: Vec::new(),
            ended: Vec::new(),
        }
    }

    fn operate(&mut self, operation: u8, source: &mut Source<'_>) {
        match operation & 15 {
            0..=3 => {
                let (unit, len) = (source.byte(), usize::from(source.byte()));
                let pdu = source.take(len % (MAX_PDU + 2)).to_vec();
                let timeout = [1_000_000, 0, 1, 50_000][usize::from(operation >> 4 & 3)];
                let retries = [0, 1, 2, 255][usize::from(operation >> 6)];
                self.ask(unit, pdu, Duration::from_micros(timeout), retries);
            }
            4 => {
                let len = usize::from(source.byte());
                self.receive(source.take(len));
            }
            5..=7 => {
                if let Some(asked) = self.pick(source.byte()) {
                    let reply = frame(asked.id, asked.unit, &proper(&asked.pdu));
                    let half = if operation & 16 == 0 { 0 } else { reply.len() / 2 };
                    self.receive(&reply[..half]);
                    self.receive(&reply[half..]);
                }
            }
            8 => {
                let (which, what) = (source.byte(), source.byte());
                if let Some(asked) = self.pick(which) {
                    let proper = proper(&asked.pdu);
                    let (id, unit) = (asked.id, asked.unit);
                    let reply = match what % 5 {
                        0 => frame(id, unit, &[asked.pdu[0] | 0x80, what / 5]),
                        1 => frame(id, unit ^ 1, &proper),
                        2 => frame(id, unit, &[asked.pdu[0] ^ 4, what]),
                        3 => frame(id, unit, &[&proper[..proper.len().min(252)], &[what]].concat()),
                        _ => frame(id, unit, &proper).repeat(2),
                    };
                    self.receive(&reply);
                }
            }
            9 => {
                let id = u16::from_be_bytes([operation & 0x80, source.byte()]);
                self.receive(&frame(id, 1, &[3, 2, 0, 1]));
            }
            10 => {
                let most = source.byte();
                self.appetite = if most == 255 { usize::MAX } else { usize::from(most) };
                if self.transmit {
                    self.write();
                }
                self.settle();
            }
            11 => {
                let unit = [1, 1000, 100_000, 3_000_000][usize::from(operation >> 4 & 3)];
                self.pass(Duration::from_micros(u64::from(source.byte()) * unit));
            }
            12 => {
                if let Some(deadline) = self.deadline {
                    self.wake(deadline);
                }
            }
            13 => {
                let mut foreign = frame(source.byte().into(), 1, &[3, 2, 0, 1]);
                foreign[3] = 1;
                self.receive(&foreign);
            }
            14 => {
                let input = match source.byte() % 4 {
                    0 => {
                        let cut = !self.model.inbox.is_empty();
                        self.model.close(if cut { Reason::Truncated } else { Reason::PeerClosed });
                        Input::PeerClosed
                    }
                    1 => {
                        self.model.close(Reason::PeerReset);
                        Input::PeerReset
                    }
                    2 => {
                        self.model.draining = true;
                        self.model.settle();
                        Input::Drain
                    }
                    _ => {
                        self.model.close(Reason::Aborted);
                        Input::Abort
                    }
                };
                self.connection.handle_input(self.now, input).expect("the connection is not closed");
                self.settle();
            }
            _ => {
                let shown = self.connection.transmit().concat().len();
                for len in [0, shown + 1] {
                    let refused = self.connection.handle_input(self.now, Input::Transmitted { len });
                    assert_eq!(refused, Err(Error::Transmitted { len, shown }));
                }
                self.settle();
            }
        }
    }

    fn ask(&mut self, unit: u8, pdu: Vec<u8>, timeout: Duration, retries: u8) {
        self.tags += 1;
        let tag = self.tags;
        let input = Input::Ask { tag, unit, pdu: &pdu, timeout, retries };
        let taken = self.connection.handle_input(self.now, input);
        let asked = Asked { tag, id: 0, unit, pdu, timeout, retries, deadline: None };
        assert_eq!(taken, self.model.ask(self.now, &asked));
        if taken.is_err() {
            self.ended.push(tag);
        }
        self.settle();
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.model.closed.is_some() {
            return;
        }
        self.model.received(self.now, bytes);
        let mut rest = bytes;
        while !rest.is_empty() && !self.connection.is_closed() {
            self.connection.handle_input(self.now, Input::Received { bytes: rest }).expect("the connection is open");
            let taken = self.connection.taken();
            assert!(taken > 0, "a drained connection takes something");
            rest = &rest[taken..];
            self.drain();
        }
        self.settle();
    }

    /// Time passes; every deadline on the way is kept.
    fn pass(&mut self, span: Duration) {
        let until = self.now.saturating_add(span);
        while let Some(deadline) = self.deadline.filter(|deadline| *deadline <= until) {
            self.wake(deadline);
        }
        self.now = until;
    }

    fn wake(&mut self, at: Instant) {
        self.now = at;
        self.model.timeout(at);
        self.connection.handle_timeout(at);
        self.settle();
        assert!(self.deadline.is_none_or(|deadline| deadline > at), "a deadline that is not later");
    }

    fn pick(&self, which: u8) -> Option<Asked> {
        let waiting = &self.model.waiting;
        waiting.get(usize::from(which) % waiting.len().max(1)).cloned()
    }

    fn write(&mut self) {
        let shown = self.connection.transmit().concat();
        let len = shown.len().min(self.appetite);
        if len > 0 {
            self.appetite = if self.appetite == usize::MAX { usize::MAX } else { self.appetite - len };
            self.connection.handle_input(self.now, Input::Transmitted { len }).expect("what was shown may leave");
            self.model.transmitted(len);
            self.transmit = false;
        }
    }

    fn drain(&mut self) {
        loop {
            match self.connection.poll_output() {
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                Step::Do(Output::Transmit) => {
                    self.transmit = true;
                    self.write();
                }
                Step::Do(Output::Done(done)) => {
                    assert!(self.connection.reply().is_none() || done.outcome == Outcome::Reply, "{done:?}");
                    self.ended.push(done.tag);
                    self.seen.push(Seen::Done(done.tag, done.outcome));
                }
                Step::Do(Output::Discarded { reason, transaction }) => {
                    self.seen.push(Seen::Discarded(reason, transaction));
                }
                Step::Do(Output::Close { reason }) => self.seen.push(Seen::Closed(reason)),
            }
        }
    }

    /// Holds the connection against the model.
    fn settle(&mut self) {
        self.drain();
        let mut expected = std::mem::take(&mut self.model.expected);
        let mut seen = std::mem::take(&mut self.seen);
        sort_runs(&mut expected);
        sort_runs(&mut seen);
        assert_eq!(seen, expected);
        let leaving: Vec<u8> = self.model.leaving.iter().flat_map(|copy| copy.bytes[copy.sent..].to_vec()).collect();
        assert_eq!(self.connection.transmit().concat(), leaving);
        assert_eq!(self.connection.outstanding(), self.model.waiting.len());
        assert_eq!(self.connection.counters(), self.model.counters);
        if let Some(due) = self.model.deadline() {
            assert!(self.deadline.is_some_and(|deadline| deadline <= due), "{:?} after {due:?}", self.deadline);
        }
    }

    fn finish(&mut self) {
        if self.model.closed.is_none() {
            self.operate(14, &mut Source::new(&[0]));
        }
        self.ended.sort_unstable();
        assert!(self.ended.iter().copied().eq(1..=self.tags), "every request ends once: {:?}", self.ended);
        let closed = self.connection.handle_input(self.now, Input::Drain);
        assert_eq!((closed, self.connection.poll_output()), (Err(Error::Closed), Step::Wait(None)));
    }
}

/// Requests that end together may be said to in any order.
fn sort_runs(seen: &mut [Seen]) {
    for run in seen.chunk_by_mut(|a, b| matches!((a, b), (Seen::Done(..), Seen::Done(..)))) {
        run.sort_by_key(|seen| if let Seen::Done(tag, _) = seen { *tag } else { 0 });
    }
}

/// A reply that fits the request, or near enough.
fn proper(pdu: &[u8]) -> Vec<u8> {
    match *pdu {
        [code @ (3 | 4), _, _, 0, count @ 1..=125] => [vec![code, 2 * count], vec![7; 2 * usize::from(count)]].concat(),
        [code @ (15 | 16), a, b, c, d, ..] => vec![code, a, b, c, d],
        [..] => pdu.to_vec(),
    }
}
