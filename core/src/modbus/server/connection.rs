//! The machine itself: what each input and deadline does to a connection.

use super::replies::Replies;
use super::transactions::{Ending, Request, Transaction, Transactions};
use super::{Config, Error, Input, MIN_BUFFER, Outcome, Output, Overflow, RateAction, Reason, State};
use crate::machine::{Machine, Step};
use crate::modbus::mbap::{self, Decoded, Frame, HEADER_LEN, MAX_FRAME, MAX_PDU};
use crate::modbus::pdu::{EXCEPTION_FLAG, Exception, request::named_span};
use crate::modbus::service::{Answer, Answerer, Discard, Indication, RequestId, Service};
use crate::rate::Bucket;
use crate::time::{Instant, earliest};
use core::time::Duration;
use heapless::Deque;

/// Reports that may wait for the driver.
const REPORTS: usize = 8;
/// How many of them frames may cause; the last place is for the one report that an ending makes.
const FRAME_REPORTS: usize = REPORTS - 1;

/// One connection over a buffer `B` of bytes and a list `T` of [`Transaction`]s.
#[derive(Debug)]
pub struct Connection<B, T> {
    pub(super) config: Config,
    buffer: B,
    pub(super) transactions: Transactions<T>,
    pub(super) replies: Replies,
    reports: Deque<Output, REPORTS>,
    pub(super) phase: Phase,
    /// Bytes of a frame that has begun, at the front of the buffer.
    partial: usize,
    /// Bytes of the last `Received` that are done with.
    taken: usize,
    /// Frame boundaries are lost, or matter no more: input is thrown away.
    deaf: bool,
    peer_closed: bool,
    transmit_asked: bool,
    pause_said: bool,
    /// When the frame that has begun did so, or reading went on.
    pub(super) frame_since: Instant,
    /// The last whole frame, or the last byte sent.
    pub(super) active_since: Instant,
    /// Since when the peer takes nothing of what waits.
    pub(super) stuck_since: Instant,
    /// Somebody above keeps the peer from taking it.
    pub(super) withheld: bool,
    /// What is left of the request rate, if there is one.
    permits: Option<Bucket>,
    /// Until when the rate lets nothing be taken.
    paced_until: Option<Instant>,
}

/// A connection at rest: what [`Connection::rest`] keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    active_since: Instant,
    /// Of the next deferred request, so that the names of earlier ones stay stale.
    order: u32,
    permits: Option<Bucket>,
}

impl Rest {
    /// A connection that was accepted at `now` and has not asked for anything.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { active_since: now, order: 0, permits: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Requests are taken.
    Open,
    /// Nothing new runs; what is owed is sent.
    Draining { reason: Reason },
    /// Our FIN is due, or sent.
    Closing { reason: Reason, since: Instant, said: bool },
    /// Over.
    Closed { reason: Reason, reset: bool, said: bool },
}

impl<B, T> Connection<B, T> {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub const fn new(config: Config, buffer: B, transactions: T, now: Instant) -> Self {
        Self {
            config,
            buffer,
            transactions: Transactions::new(transactions),
            replies: Replies::new(),
            reports: Deque::new(),
            phase: Phase::Open,
            partial: 0,
            taken: 0,
            deaf: false,
            peer_closed: false,
            transmit_asked: false,
            pause_said: false,
            frame_since: now,
            active_since: now,
            stuck_since: now,
            withheld: false,
            permits: None,
            paced_until: None,
        }
    }

    /// How many bytes of the last [`Input::Received`] are done with. The driver offers the others again.
    #[must_use]
    pub const fn taken(&self) -> usize {
        self.taken
    }

    /// Requests that are accepted and not answered yet.
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        self.transactions.deferred()
    }

    /// Whether the storage holds nothing: no partial frame, no reply, nothing deferred.
    #[must_use]
    pub const fn is_vacant(&self) -> bool {
        self.partial == 0 && self.replies.is_empty() && self.transactions.is_vacant()
    }

    /// Whether the connection has ended, or is told to.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    /// What the connection is doing, as of its last output.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Open if self.pause_said => State::Paused,
            Phase::Open => State::Open,
            Phase::Draining { .. } => State::Draining,
            Phase::Closing { .. } => State::Closing,
            Phase::Closed { .. } => State::Closed,
        }
    }

    /// Replaces the storage of a [vacant](Self::is_vacant) connection and gives the old one back.
    ///
    /// # Errors
    /// The new storage comes back if the old one is in use.
    pub const fn exchange(&mut self, buffer: B, transactions: T) -> Result<(B, T), (B, T)> {
        if !self.is_vacant() {
            return Err((buffer, transactions));
        }
        Ok((core::mem::replace(&mut self.buffer, buffer), self.transactions.exchange(transactions)))
    }
}

impl<B, T> Connection<B, T> {
    /// What must be kept of a connection that is at rest, once drained: open, with nothing in its storage and reading not
    /// paused. Its machine can serve another connection meanwhile.
    #[must_use]
    pub fn rest(&self) -> Option<Rest> {
        let busy = self.deaf || self.peer_closed || self.pause_said || self.paced_until.is_some();
        let rests = self.phase == Phase::Open && self.is_vacant() && !busy && self.reports.is_empty();
        rests.then_some(Rest {
            active_since: self.active_since,
            order: self.transactions.order(),
            permits: self.permits,
        })
    }

    /// Goes on for a connection that rested, perhaps at another machine of the same configuration.
    ///
    /// # Errors
    /// The rest comes back if this machine serves a connection that is not at rest.
    pub fn resume(&mut self, rest: Rest) -> Result<(), Rest> {
        if self.rest().is_none() {
            return Err(rest);
        }
        self.active_since = rest.active_since;
        self.transactions.set_order(rest.order);
        self.permits = rest.permits;
        self.transmit_asked = false;
        Ok(())
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    /// What may leave now, in at most two parts.
    #[must_use]
    pub fn transmit(&self) -> [&[u8]; 2] {
        [self.replies.transmit(self.queue(), self.config.coalesce), &[]]
    }

    pub(super) fn queue(&self) -> &[u8] {
        let [_, queue] = split(self.buffer.as_ref());
        queue
    }

    fn receive(&mut self, now: Instant, bytes: &[u8], service: &mut dyn Service) -> Result<(), Error> {
        if self.peer_closed {
            return Err(Error::InputEnded);
        }
        let got = self.buffer.as_ref().len();
        if got < MIN_BUFFER {
            return Err(Error::BufferShort { needed: MIN_BUFFER, got });
        }
        self.taken = 0;
        while let Some(rest) = bytes.get(self.taken..).filter(|rest| !rest.is_empty()) {
            if !self.takes_frames() {
                self.taken = bytes.len();
            } else if self.is_blocked() || self.reports.len() >= FRAME_REPORTS {
                break;
            } else if self.partial > 0 {
                self.complete_partial(now, rest, service);
            } else {
                self.take_whole(now, rest, service);
            }
        }
        Ok(())
    }

    /// Whether frames are still looked for; otherwise input is thrown away.
    fn takes_frames(&self) -> bool {
        !self.deaf && matches!(self.phase, Phase::Open | Phase::Draining { .. })
    }

    /// Whether an open connection has no room for another request. One that stands on no storage at present has nothing to
    /// send either, and nothing to wait for.
    pub(super) fn is_blocked(&self) -> bool {
        let len = self.buffer.as_ref().len();
        if self.phase == Phase::Open && self.paced_until.is_some() {
            return true;
        }
        if self.phase != Phase::Open || len < MIN_BUFFER {
            return false;
        }
        let capacity = len.saturating_sub(MAX_FRAME);
        // One more than the holes, each of which may yet be filled by a reply of the greatest length.
        let frames = self.transactions.deferred().saturating_add(1);
        let waits = self.config.overflow == Overflow::Wait && self.is_full();
        waits || !self.replies.has_room(capacity, frames)
    }

    /// Whether no further request can be deferred; never so where none can be at all.
    fn is_full(&self) -> bool {
        let places = self.transactions.capacity().min(usize::from(self.config.max_outstanding));
        self.transactions.capacity() > 0 && self.transactions.deferred() >= places.max(1)
    }

    /// Takes a permit of the request rate, if there is one or none is needed. A connection that is to pause does so with
    /// the last one, so that it always has one.
    fn is_permitted(&mut self, now: Instant) -> bool {
        let Some(rate) = self.config.request_rate else { return true };
        let permits = self.permits.get_or_insert_with(|| Bucket::full(rate, now));
        let permitted = permits.take(rate, now);
        if self.config.rate_action == RateAction::Pause {
            self.paced_until = Some(permits.next(rate, now).unwrap_or(Instant::MAX)).filter(|next| *next > now);
        }
        permitted
    }

    /// Takes a frame, or the beginning of one, from the front of `rest`.
    fn take_whole(&mut self, now: Instant, rest: &[u8], service: &mut dyn Service) {
        let decoded = mbap::decode(rest);
        match decoded {
            Ok(Decoded::Incomplete { .. }) => {
                self.frame_since = now;
                self.keep_partial(rest);
            }
            Ok(Decoded::Frame { len, .. } | Decoded::Foreign { len, .. }) => {
                self.taken = self.taken.saturating_add(len);
                self.act(now, decoded, service);
            }
            Err(_) => self.act(now, decoded, service),
        }
    }

    /// Adds to the frame that has begun what it lacks to be decided, and acts on it if it is.
    fn complete_partial(&mut self, now: Instant, rest: &[u8], service: &mut dyn Service) {
        let have = self.partial;
        let need = match mbap::decode(self.partial_frame()) {
            Ok(Decoded::Incomplete { need }) => need,
            Ok(Decoded::Frame { .. } | Decoded::Foreign { .. }) | Err(_) => have,
        };
        self.keep_partial(rest.get(..need.saturating_sub(have)).unwrap_or(rest));
        // A copy, because the service answers into the same buffer.
        let stored = self.buffer.as_ref().first_chunk::<MAX_FRAME>().copied().unwrap_or([0; MAX_FRAME]);
        let decoded = mbap::decode(stored.get(..self.partial).unwrap_or_default());
        if !matches!(decoded, Ok(Decoded::Incomplete { .. })) {
            self.partial = 0;
            self.act(now, decoded, service);
        }
    }

    fn act(&mut self, now: Instant, decoded: Result<Decoded<'_>, mbap::Error>, service: &mut dyn Service) {
        match decoded {
            Ok(Decoded::Incomplete { .. }) => {}
            Ok(Decoded::Frame { frame, len }) => {
                self.active_since = now;
                self.accept(now, &frame, len, service);
            }
            Ok(Decoded::Foreign { .. }) => {
                self.active_since = now;
                self.discard(Discard::ProtocolId, Some(service));
            }
            Err(error) => {
                let reason = match error {
                    mbap::Error::LengthShort { .. } => Discard::LengthShort,
                    mbap::Error::LengthLong { .. } => Discard::LengthLong,
                };
                self.discard(reason, Some(service));
                self.break_off(Reason::BadFrame);
            }
        }
    }

    fn accept(&mut self, now: Instant, frame: &Frame<'_>, len: usize, service: &mut dyn Service) {
        if self.phase != Phase::Open {
            return self.discard(Discard::Draining, Some(service));
        }
        let request = Request {
            transaction: frame.transaction,
            unit: frame.unit,
            function: frame.pdu.first().copied().unwrap_or(0),
            span: named_span(frame.pdu),
            bytes_in: u16::try_from(len).unwrap_or(u16::MAX),
            answerer: Answerer::default(),
        };
        let transaction = frame.transaction;
        if self.is_full() || !self.is_permitted(now) {
            let indication = Indication { transaction, id: None, unit: frame.unit, pdu: frame.pdu };
            service.refused(&indication, Exception::SERVER_DEVICE_BUSY);
            return self.refuse_ahead(now, &request, Exception::SERVER_DEVICE_BUSY);
        }
        let id = self.transactions.next_id();
        let indication = Indication { transaction, id, unit: frame.unit, pdu: frame.pdu };
        let [_, queue] = split_mut(self.buffer.as_mut());
        let Some((moved, head, pdu)) = self.replies.reserve(queue) else { return };
        let answer = service.serve(&indication, pdu);
        let (outcome, pdu_len) = match (answer, indication.id) {
            (Answer::Reply { len: len @ 1..=MAX_PDU }, _) => (Outcome::Ok, len),
            (Answer::Reply { .. }, _) => exception_pdu(pdu, request.function, Exception::SERVER_DEVICE_FAILURE),
            (Answer::Exception(exception), _) => exception_pdu(pdu, request.function, exception),
            (Answer::Later(_), None) => exception_pdu(pdu, request.function, Exception::SERVER_DEVICE_BUSY),
            (Answer::Later(_) | Answer::Silent | Answer::Discard(_), _) => (Outcome::None, 0),
        };
        if pdu_len > 0 {
            *head = mbap::header(request.transaction, request.unit, pdu_len);
        }
        self.transactions.shift(moved, true);
        let bytes_out = self.commit(now, pdu_len);
        match (answer, indication.id) {
            (Answer::Later(answerer), Some(id)) => {
                let timeout = self.config.request_timeout;
                self.transactions.defer(id, Request { answerer, ..request }, self.replies.end(), now, timeout);
            }
            (Answer::Discard(reason), _) => self.discard(reason, None),
            _ => self.report(Output::Processed(request.processed(outcome, bytes_out))),
        }
    }

    /// Queues the reply in the reserved room; returns the bytes of its frame.
    fn commit(&mut self, now: Instant, pdu_len: usize) -> u16 {
        if pdu_len == 0 {
            return 0;
        }
        let was_ready = self.replies.is_ready();
        let len = HEADER_LEN.saturating_add(pdu_len);
        self.replies.commit(len, self.transactions.first_hole().is_some());
        if !was_ready {
            self.stuck_since = now;
        }
        u16::try_from(len).unwrap_or(u16::MAX)
    }

    /// Answers with an exception that overtakes held replies.
    fn refuse_ahead(&mut self, now: Instant, request: &Request, exception: Exception) {
        let pdu = [request.function | EXCEPTION_FLAG, exception.code()];
        self.make_room(pdu.len());
        let bytes_out = self.insert(now, self.replies.ready(), request, &pdu);
        self.transactions.shift(usize::from(bytes_out), false);
        self.release_ready();
        self.report(Output::Processed(request.processed(Outcome::Exception(exception), bytes_out)));
    }

    /// Ends a deferred request; `pdu` is its reply, if one is to be sent.
    fn answer_deferred(&mut self, now: Instant, id: RequestId, pdu: &[u8], outcome: Outcome, timed_out: bool) {
        self.make_room(pdu.len());
        let Some((request, at)) = self.transactions.find(id) else { return };
        let bytes_out = if pdu.is_empty() { 0 } else { self.insert(now, at, &request, pdu) };
        self.transactions.end(id, now, Ending { outcome, bytes_out, timed_out });
        self.transactions.move_up(id, usize::from(bytes_out));
        self.release_ready();
    }

    fn fail_deferred(&mut self, now: Instant, id: RequestId, exception: Exception, timed_out: bool) {
        let Some((request, _)) = self.transactions.find(id) else { return };
        let pdu = [request.function | EXCEPTION_FLAG, exception.code()];
        self.answer_deferred(now, id, &pdu, Outcome::Exception(exception), timed_out);
    }

    /// Moves the queue to the front if a frame of this PDU would not fit behind it.
    fn make_room(&mut self, pdu_len: usize) {
        let [_, queue] = split_mut(self.buffer.as_mut());
        if self.replies.end().saturating_add(HEADER_LEN).saturating_add(pdu_len) > queue.len() {
            let moved = self.replies.compact(queue);
            self.transactions.shift(moved, true);
        }
    }

    fn insert(&mut self, now: Instant, at: usize, request: &Request, pdu: &[u8]) -> u16 {
        let [_, queue] = split_mut(self.buffer.as_mut());
        let was_ready = self.replies.is_ready();
        if !self.replies.insert(queue, at, request.transaction, request.unit, pdu) {
            return 0;
        }
        if !was_ready {
            self.stuck_since = now;
        }
        u16::try_from(HEADER_LEN.saturating_add(pdu.len())).unwrap_or(u16::MAX)
    }

    /// Lets go of the replies before the first hole.
    pub(super) fn release_ready(&mut self) {
        self.replies.release(self.transactions.first_hole().map_or(self.replies.end(), |(at, _)| at));
    }

    fn discard(&mut self, reason: Discard, service: Option<&mut dyn Service>) {
        crate::log::discard("modbus", reason.name());
        if let Some(service) = service {
            service.discarded(reason);
        }
        self.report(Output::Discarded(reason));
    }

    fn report(&mut self, report: Output) {
        // There is room: see FRAME_REPORTS.
        let _full = self.reports.push_back(report);
    }

    /// Takes nothing new; what is owed is still sent. The first reason stays.
    fn end_with(&mut self, reason: Reason) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining { reason };
        }
    }

    /// The same, and frames are not looked for any more.
    pub(super) fn break_off(&mut self, reason: Reason) {
        self.partial = 0;
        self.deaf = true;
        self.end_with(reason);
    }

    /// Ends at once; deferred requests end without a reply.
    pub(super) fn close(&mut self, now: Instant, reason: Reason, reset: bool) {
        self.drop_deferred(now);
        self.partial = 0;
        self.replies = Replies::new();
        self.phase = Phase::Closed { reason, reset, said: false };
    }

    /// Deferred requests end without a reply.
    pub(super) fn drop_deferred(&mut self, now: Instant) {
        while let Some(id) = self.transactions.any() {
            self.transactions.end(id, now, Ending { outcome: Outcome::None, bytes_out: 0, timed_out: false });
        }
    }

    /// Goes on as far as nothing is owed any more. Ends every input and timeout.
    pub(super) fn settle(&mut self, now: Instant, was_blocked: bool) {
        if was_blocked && !self.is_blocked() {
            // The peer could not finish its frame while nothing was read.
            self.frame_since = now;
        }
        match self.phase {
            Phase::Draining { reason } if self.replies.is_empty() && self.transactions.deferred() == 0 => {
                self.partial = 0;
                self.phase = Phase::Closing { reason, since: now, said: false };
                self.settle_closing();
            }
            Phase::Closing { .. } => self.settle_closing(),
            Phase::Open | Phase::Draining { .. } | Phase::Closed { .. } => {}
        }
    }

    /// Over, if both sides have ended, or nobody waits for the peer. Closing a socket whose peer has ended sends our FIN,
    /// so it need not be asked for.
    fn settle_closing(&mut self) {
        if let Phase::Closing { reason, said, .. } = self.phase
            && (self.peer_closed || (said && self.config.linger.is_zero()))
        {
            self.phase = Phase::Closed { reason, reset: false, said: false };
        }
    }

    fn partial_frame(&self) -> &[u8] {
        let [partial, _] = split(self.buffer.as_ref());
        partial.get(..self.partial).unwrap_or_default()
    }

    fn keep_partial(&mut self, bytes: &[u8]) {
        let [partial, _] = split_mut(self.buffer.as_mut());
        let room = partial.get_mut(self.partial..).unwrap_or_default();
        for (slot, byte) in room.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        self.partial = self.partial.saturating_add(bytes.len());
        self.taken = self.taken.saturating_add(bytes.len());
    }

    fn frame_deadline(&self) -> Option<Instant> {
        let runs = self.partial > 0 && !self.is_blocked();
        after(self.frame_since, self.config.frame_timeout).filter(|_| runs)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        let runs = self.phase == Phase::Open && self.replies.is_empty() && self.transactions.deferred() == 0;
        after(self.active_since, self.config.idle_timeout).filter(|_| runs)
    }

    fn write_deadline(&self) -> Option<Instant> {
        after(self.stuck_since, self.config.write_timeout).filter(|_| self.replies.is_ready() && !self.withheld)
    }

    fn linger_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closing { since, .. } => after(since, self.config.linger),
            Phase::Open | Phase::Draining { .. } | Phase::Closed { .. } => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let request = self.transactions.deadline();
        let pace = self.paced_until.filter(|_| self.phase == Phase::Open);
        [pace, self.frame_deadline(), self.idle_deadline(), self.write_deadline(), self.linger_deadline()]
            .into_iter()
            .fold(request, earliest)
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
        let was_blocked = self.is_blocked();
        match input {
            Input::Received { bytes, service } => self.receive(now, bytes, service)?,
            Input::Transmitted { len } => {
                let shown = self.transmit().iter().map(|part| part.len()).sum();
                if len == 0 || len > shown {
                    return Err(Error::Transmitted { len, shown });
                }
                let [_, queue] = split(self.buffer.as_ref());
                self.replies.advance(queue, len);
                if self.replies.is_empty() {
                    let moved = self.replies.compact(&mut []);
                    self.transactions.shift(moved, true);
                }
                self.transmit_asked = false;
                self.active_since = now;
                self.stuck_since = now;
            }
            Input::Replied { id, pdu } => {
                if !(1..=MAX_PDU).contains(&pdu.len()) {
                    return Err(Error::ReplyLength { len: pdu.len() });
                }
                self.transactions.find(id).ok_or(Error::Stale { id })?;
                self.answer_deferred(now, id, pdu, Outcome::Ok, false);
            }
            Input::Failed { id, exception } => {
                self.transactions.find(id).ok_or(Error::Stale { id })?;
                self.fail_deferred(now, id, exception, false);
            }
            Input::PeerClosed => {
                if self.peer_closed {
                    return Err(Error::InputEnded);
                }
                self.peer_closed = true;
                if self.partial > 0 {
                    self.discard(Discard::Truncated, None);
                    self.partial = 0;
                }
                self.end_with(Reason::PeerClosed);
            }
            Input::PeerReset => {
                let reason = match self.phase {
                    // Nothing is owed any more; the reset is how this peer answers our FIN.
                    Phase::Closing { reason, .. } => reason,
                    Phase::Open | Phase::Draining { .. } | Phase::Closed { .. } => Reason::PeerReset,
                };
                self.close(now, reason, false);
            }
            Input::Drain => self.end_with(Reason::Shutdown),
            Input::Abort { reason } => self.close(now, reason, reason != Reason::Evicted),
        }
        self.settle(now, was_blocked);
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.write_deadline()) {
            return self.close(now, Reason::WriteStuck, true);
        }
        let was_blocked = self.is_blocked();
        let (frame, idle, linger) = (self.frame_deadline(), self.idle_deadline(), self.linger_deadline());
        self.paced_until = self.paced_until.filter(|until| *until > now);
        while let Some(id) = self.transactions.expired(now) {
            self.fail_deferred(now, id, Exception::SERVER_DEVICE_BUSY, true);
        }
        if due(frame) {
            self.discard(Discard::FrameTimeout, None);
            self.break_off(Reason::FrameTimeout);
        } else if due(idle) {
            self.end_with(Reason::Idle);
        }
        if let (true, Phase::Closing { reason, .. }) = (due(linger), self.phase) {
            self.phase = Phase::Closed { reason, reset: false, said: false };
        }
        self.settle(now, was_blocked);
    }

    fn poll_output(&mut self) -> Step<Output> {
        if let Some(report) = self.reports.pop_front() {
            return Step::Do(report);
        }
        if let Some(processed) = self.transactions.report() {
            return Step::Do(Output::Processed(processed));
        }
        if let Phase::Closed { reason, reset, said } = &mut self.phase {
            if core::mem::replace(said, true) {
                return Step::Wait(None);
            }
            return Step::Do(Output::Close { reason: *reason, reset: *reset });
        }
        if self.replies.is_ready() && !core::mem::replace(&mut self.transmit_asked, true) {
            return Step::Do(Output::Transmit);
        }
        let blocked = self.is_blocked();
        if core::mem::replace(&mut self.pause_said, blocked) != blocked {
            return Step::Do(if blocked { Output::Pause } else { Output::Resume });
        }
        if let Phase::Closing { said: said @ false, .. } = &mut self.phase {
            *said = true;
            self.settle_closing();
            return Step::Do(Output::CloseWrite);
        }
        Step::Wait(self.deadline())
    }
}

/// The part for a partial frame and the part for replies.
fn split(buffer: &[u8]) -> [&[u8]; 2] {
    let (partial, queue) = buffer.split_at_checked(MAX_FRAME).unwrap_or_default();
    [partial, queue]
}

fn split_mut(buffer: &mut [u8]) -> [&mut [u8]; 2] {
    let (partial, queue) = buffer.split_at_mut_checked(MAX_FRAME).unwrap_or_default();
    [partial, queue]
}

fn exception_pdu(pdu: &mut [u8; MAX_PDU], function: u8, exception: Exception) -> (Outcome, usize) {
    let [code, value, ..] = pdu;
    *code = function | EXCEPTION_FLAG;
    *value = exception.code();
    (Outcome::Exception(exception), 2)
}

/// When a timeout that runs from `since` expires; never if it is off. One below the resolution of time takes a microsecond,
/// because a deadline that is not later than its beginning would come again and again.
fn after(since: Instant, timeout: Duration) -> Option<Instant> {
    (!timeout.is_zero()).then(|| since.saturating_add(timeout.max(Duration::from_micros(1))))
}
