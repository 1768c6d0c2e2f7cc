//! The machine itself: what each input and deadline does to a connection.

use super::line::Line;
use super::requests::{Question, Requests, Transaction};
use super::{Config, Counters, Discard, Error, Input, MIN_BUFFER, Outcome, Output, Reason};
use crate::machine::{Machine, Step};
use crate::modbus::mbap::{self, Decoded, HEADER_LEN, MAX_FRAME, MAX_PDU};
use crate::modbus::pdu::{Reply, Request};
use crate::time::{Instant, earliest, expiry};

/// One connection over a buffer `B` of bytes and a list `T` of [`Transaction`]s.
#[derive(Debug)]
pub struct Connection<B, T> {
    config: Config,
    buffer: B,
    requests: Requests<T>,
    line: Line,
    phase: Phase,
    counters: Counters,
    /// Bytes of a frame that has begun, at the front of the buffer.
    partial: usize,
    /// Bytes of the last frame, or of what was none, at the front of the buffer.
    frame: usize,
    /// The place of the request that the last frame answered.
    answered: Option<usize>,
    /// A frame that was thrown away, and is not yet said to be.
    discarded: Option<(Discard, u16)>,
    /// Bytes of the last `Received` that are done with.
    taken: usize,
    transmit_asked: bool,
    /// When the frame that has begun did so.
    frame_since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Requests are taken.
    Open,
    /// Those that were are waited for.
    Draining,
    /// Over.
    Closed { reason: Reason, said: bool },
}

impl<B, T> Connection<B, T> {
    /// A connection that has just been established.
    #[must_use]
    pub const fn new(config: Config, buffer: B, transactions: T) -> Self {
        Self {
            config,
            buffer,
            requests: Requests::new(transactions, config.max_outstanding),
            line: Line::new(),
            phase: Phase::Open,
            counters: Counters { late: 0, unsolicited: 0, protocol_id: 0 },
            partial: 0,
            frame: 0,
            answered: None,
            discarded: None,
            taken: 0,
            transmit_asked: false,
            frame_since: Instant::ORIGIN,
        }
    }

    /// How many bytes of the last [`Input::Received`] are done with. The driver offers the others again.
    #[must_use]
    pub const fn taken(&self) -> usize {
        self.taken
    }

    /// Requests that have not ended.
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        self.requests.waiting()
    }

    /// The transaction id of the request that was asked last; 0 before the first.
    #[must_use]
    pub const fn last_transaction(&self) -> u16 {
        self.requests.last_id()
    }

    /// What was thrown away so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether the connection has ended, or is told to.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    /// What may leave now, in at most two parts.
    #[must_use]
    pub fn transmit(&self) -> [&[u8]; 2] {
        let [_, line] = split(self.buffer.as_ref());
        [self.line.shown(line), &[]]
    }

    /// The frame that the last [`Output::Done`] or [`Output::Discarded`] spoke of, header and all; or, after the end
    /// inside a frame or in what is none, as many of its bytes as came, at most 260.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        let [received, _] = split(self.buffer.as_ref());
        received.get(..self.frame).unwrap_or_default()
    }

    /// The reply that the last [`Output::Done`] spoke of, until the next input; `None` if it ended otherwise, or if its
    /// function code is not public. Then [`Connection::frame`] has it from its eighth byte on.
    #[must_use]
    pub fn reply(&self) -> Option<Reply<'_>> {
        let place = self.requests.place(self.answered?)?;
        let request = Request::decode(place.pdu()).ok()?;
        Reply::decode(&request, self.frame().get(HEADER_LEN..)?).ok()
    }

    fn ask(&mut self, now: Instant, question: &Question<'_>) -> Result<(), Error> {
        let len = question.pdu.len();
        if !(1..=MAX_PDU).contains(&len) {
            return Err(Error::PduLength { len });
        }
        if self.phase == Phase::Draining {
            return Err(Error::Draining);
        }
        self.require_buffer()?;
        let id = self.requests.next_id().ok_or(Error::Full { limit: self.requests.capacity() })?;
        let [_, line] = split_mut(self.buffer.as_mut());
        let begin = self.line.push(line, id, question.unit, question.pdu);
        let begin = begin.ok_or(Error::NoRoom { needed: HEADER_LEN.saturating_add(len) })?;
        self.requests.add(now, id, question, begin);
        self.answered = None;
        Ok(())
    }

    /// Takes bytes up to the end of a frame, unless a frame before it is still to be spoken of.
    fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        self.require_buffer()?;
        self.taken = 0;
        if bytes.is_empty() || self.discarded.is_some() || self.requests.unsaid() > 0 {
            return Ok(());
        }
        if self.partial == 0 {
            self.frame_since = now;
        }
        self.show(0);
        let mut rest = bytes;
        while !rest.is_empty() {
            let have = self.partial;
            let need = match mbap::decode(self.received()) {
                Ok(Decoded::Incomplete { need }) => need,
                Ok(Decoded::Frame { .. } | Decoded::Foreign { .. }) | Err(_) => have,
            };
            let (part, after) = rest.split_at_checked(need.saturating_sub(have)).unwrap_or((rest, &[]));
            self.keep(part);
            rest = after;
            if self.act(now, rest) {
                break;
            }
        }
        self.taken = if self.is_closed() { bytes.len() } else { bytes.len().saturating_sub(rest.len()) };
        Ok(())
    }

    /// Acts on what has been received if that decides it; `rest` is what follows.
    fn act(&mut self, now: Instant, rest: &[u8]) -> bool {
        let [received, _] = split(self.buffer.as_ref());
        match mbap::decode(received.get(..self.partial).unwrap_or_default()) {
            Ok(Decoded::Incomplete { .. }) => return false,
            Ok(Decoded::Frame { frame, len }) => {
                let (transaction, resolved) = (frame.transaction, self.requests.resolve(now, &frame, self.line.left()));
                self.show(len);
                match resolved {
                    Ok((index, is_reply)) => {
                        self.withdraw(index);
                        self.answered = is_reply.then_some(index);
                    }
                    Err(reason) => self.discard(reason, transaction),
                }
            }
            Ok(Decoded::Foreign { protocol, len }) => {
                let transaction = received.first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id));
                self.show(len);
                self.discard(Discard::ProtocolId { protocol }, transaction);
            }
            Err(error) => {
                self.keep(rest);
                self.show(self.partial);
                self.close(now, Reason::BadFrame(error));
            }
        }
        self.partial = 0;
        true
    }

    fn received(&self) -> &[u8] {
        let [received, _] = split(self.buffer.as_ref());
        received.get(..self.partial).unwrap_or_default()
    }

    /// Adds as many bytes to what has been received as one frame can have.
    fn keep(&mut self, bytes: &[u8]) {
        let [received, _] = split_mut(self.buffer.as_mut());
        let room = received.get_mut(self.partial..).unwrap_or_default();
        self.partial = self.partial.saturating_add(room.len().min(bytes.len()));
        for (slot, byte) in room.iter_mut().zip(bytes) {
            *slot = *byte;
        }
    }

    fn require_buffer(&self) -> Result<(), Error> {
        let got = self.buffer.as_ref().len();
        if got < MIN_BUFFER { Err(Error::BufferShort { needed: MIN_BUFFER, got }) } else { Ok(()) }
    }

    fn discard(&mut self, reason: Discard, transaction: u16) {
        crate::log::discard("modbus client", reason.name());
        let counter = match reason {
            Discard::Late => &mut self.counters.late,
            Discard::Unsolicited => &mut self.counters.unsolicited,
            Discard::ProtocolId { .. } => &mut self.counters.protocol_id,
        };
        *counter = counter.saturating_add(1);
        self.discarded = Some((reason, transaction));
    }

    fn close(&mut self, now: Instant, reason: Reason) {
        self.requests.lose(now, reason);
        self.partial = 0;
        self.line = Line::new();
        self.phase = Phase::Closed { reason, said: false };
    }

    /// Tries again what may be tried again, and ends the others whose time is over.
    fn expire(&mut self, now: Instant) {
        let mut skip = 0;
        while let Some((before, index, again)) = self.requests.due(now, skip) {
            skip = before.saturating_add(1);
            let Some(place) = self.requests.place(index) else { return };
            if again {
                // A frame that waits to leave, or finds no room, needs no second copy: the server takes nothing.
                let [_, line] = split_mut(self.buffer.as_mut());
                let has_begun = place.begin() < self.line.left();
                let resent = if has_begun { self.line.push(line, place.id(), place.unit(), place.pdu()) } else { None };
                self.requests.retry(now, index, resent);
            } else {
                self.requests.time_out(now, index);
                self.withdraw(index);
            }
        }
        self.requests.find_earliest();
    }

    /// Takes the frame of a request that has ended out of the line, if nothing of it has left.
    fn withdraw(&mut self, index: usize) {
        let Some(place) = self.requests.place(index) else { return };
        let (begin, len) = (place.begin(), place.frame_len());
        if begin >= self.line.left() {
            let [_, line] = split_mut(self.buffer.as_mut());
            self.line.withdraw(line, begin, len);
            self.requests.withdrawn(begin, len);
            self.transmit_asked &= !self.line.is_empty();
        }
    }

    /// What the driver sees of what has been received.
    const fn show(&mut self, len: usize) {
        self.frame = len;
        self.answered = None;
    }

    /// Ends a connection that has nothing left to wait for. Ends every input and timeout.
    fn settle(&mut self, now: Instant) {
        if self.phase == Phase::Draining && self.requests.waiting() == 0 {
            self.close(now, Reason::Finished);
        }
    }

    fn frame_deadline(&self) -> Option<Instant> {
        expiry(self.frame_since, self.config.frame_timeout).filter(|_| self.partial > 0)
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Machine for Connection<B, T> {
    type Input<'a> = Input<'a>;
    type Output = Output;
    type Error = Error;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        match input {
            Input::Ask { tag, unit, pdu, timeout, retries } => {
                self.ask(now, &Question { tag, unit, pdu, timeout, retries })?;
            }
            Input::Received { bytes } => self.receive(now, bytes)?,
            Input::Transmitted { len } => {
                let shown = self.transmit().iter().map(|part| part.len()).sum();
                if len == 0 || len > shown {
                    return Err(Error::Transmitted { len, shown });
                }
                self.line.advance(len);
                self.transmit_asked = false;
            }
            Input::PeerClosed => {
                let reason = if self.partial > 0 { Reason::Truncated } else { Reason::PeerClosed };
                self.show(self.partial);
                self.close(now, reason);
            }
            Input::PeerReset => self.close(now, Reason::PeerReset),
            Input::Drain => self.phase = Phase::Draining,
            Input::Abort => self.close(now, Reason::Aborted),
        }
        self.settle(now);
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let frame = self.frame_deadline();
        if due(self.requests.deadline()) {
            self.expire(now);
        }
        if due(frame) {
            self.show(self.partial);
            self.close(now, Reason::FrameTimeout);
        }
        self.settle(now);
    }

    fn poll_output(&mut self) -> Step<Output> {
        if let Some((reason, transaction)) = self.discarded.take() {
            return Step::Do(Output::Discarded { reason, transaction });
        }
        if let Some(done) = self.requests.report() {
            self.answered = self.answered.filter(|_| done.outcome == Outcome::Reply);
            return Step::Do(Output::Done(done));
        }
        if let Phase::Closed { reason, said } = &mut self.phase {
            if core::mem::replace(said, true) {
                return Step::Wait(None);
            }
            return Step::Do(Output::Close { reason: *reason });
        }
        if !self.line.is_empty() && !core::mem::replace(&mut self.transmit_asked, true) {
            return Step::Do(Output::Transmit);
        }
        Step::Wait(earliest(self.requests.deadline(), self.frame_deadline()))
    }
}

/// The part for a received frame and the part for requests.
fn split(buffer: &[u8]) -> [&[u8]; 2] {
    let (received, line) = buffer.split_at_checked(MAX_FRAME).unwrap_or_default();
    [received, line]
}

fn split_mut(buffer: &mut [u8]) -> [&mut [u8]; 2] {
    let (received, line) = buffer.split_at_mut_checked(MAX_FRAME).unwrap_or_default();
    [received, line]
}
