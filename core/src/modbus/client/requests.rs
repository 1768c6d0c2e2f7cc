//! The requests that have not ended, each in a place of its own, and how they end.
//!
//! The place of a request follows from its transaction id: the id modulo the number of places. So a reply finds its
//! request at once, however many there are, and no id is outstanding twice.

use super::{Breach, Discard, Done, Outcome, Reason};
use crate::modbus::mbap::{Frame, HEADER_LEN, MAX_PDU};
use crate::modbus::pdu::{EXCEPTION_FLAG, Exception, Reply, ReplyError, Request};
use crate::time::{Instant, earliest, expiry};
use core::time::Duration;

/// How many of the latest transaction ids a reply may have to be called late; those before are taken for future ones.
const REMEMBERED: u16 = 1 << 15;

/// A place for one request that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    state: State,
    tag: u64,
    id: u16,
    unit: u8,
    retries: u8,
    retried: u8,
    timeout: Duration,
    asked: Instant,
    deadline: Option<Instant>,
    /// Where its frame, or the last copy of it, begins in the stream.
    begin: u64,
    /// Where the first copy ends, before which there can be no reply.
    end: u64,
    len: u8,
    pdu: [u8; MAX_PDU],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Free,
    Waiting,
    /// Ended, and not yet said so.
    Ended {
        outcome: Outcome,
        micros: u32,
    },
}

impl Transaction {
    /// A free place.
    pub const EMPTY: Self = Self {
        state: State::Free,
        tag: 0,
        id: 0,
        unit: 0,
        retries: 0,
        retried: 0,
        timeout: Duration::ZERO,
        asked: Instant::ORIGIN,
        deadline: None,
        begin: 0,
        end: 0,
        len: 0,
        pdu: [0; MAX_PDU],
    };

    pub(super) const fn id(&self) -> u16 {
        self.id
    }

    pub(super) const fn unit(&self) -> u8 {
        self.unit
    }

    pub(super) fn pdu(&self) -> &[u8] {
        self.pdu.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(super) const fn begin(&self) -> u64 {
        self.begin
    }

    /// Bytes of its frame.
    pub(super) fn frame_len(&self) -> usize {
        HEADER_LEN.saturating_add(self.len.into())
    }

    fn finish(&mut self, now: Instant, outcome: Outcome) {
        let span = now.saturating_duration_since(self.asked);
        self.state = State::Ended { outcome, micros: u32::try_from(span.as_micros()).unwrap_or(u32::MAX) };
    }

    /// What a frame with this transaction id is to the request.
    fn judge(&self, frame: &Frame<'_>) -> Outcome {
        if frame.unit != self.unit {
            return Outcome::Broken(Breach::WrongUnit { asked: self.unit, got: frame.unit });
        }
        let Ok(request) = Request::decode(self.pdu()) else { return self.judge_code(frame.pdu) };
        match Reply::decode(&request, frame.pdu) {
            Ok(_) => Outcome::Reply,
            Err(ReplyError::Exception(exception)) => Outcome::Exception(exception),
            Err(ReplyError::WrongFunction { asked, got }) => Outcome::Broken(Breach::WrongFunction { asked, got }),
            Err(ReplyError::Malformed) => Outcome::Broken(Breach::Malformed),
        }
    }

    /// The same for a request that is none of the public ones, or not as they are.
    fn judge_code(&self, reply: &[u8]) -> Outcome {
        let (asked, got) = (self.function(), reply.first().copied().unwrap_or(0));
        match *reply {
            [code, exception] if code == asked | EXCEPTION_FLAG => {
                Exception::new(exception).map_or(Outcome::Broken(Breach::Malformed), Outcome::Exception)
            }
            [code, ..] if code == asked => Outcome::Reply,
            [..] => Outcome::Broken(Breach::WrongFunction { asked, got }),
        }
    }

    fn function(&self) -> u8 {
        self.pdu().first().copied().unwrap_or(0)
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) tag: u64,
    pub(super) unit: u8,
    pub(super) pdu: &'a [u8],
    pub(super) timeout: Duration,
    pub(super) retries: u8,
}

/// The requests of one connection, over the caller's storage.
#[derive(Debug)]
pub(super) struct Requests<T> {
    places: T,
    limit: u16,
    /// The transaction id to try next.
    next: u16,
    /// How many ids were given out, up to [`REMEMBERED`].
    given: u16,
    waiting: usize,
    unsaid: usize,
    /// Where to look for the next one to be said.
    cursor: usize,
    /// Not after the earliest deadline; looked for again only when it has come, since most requests end before theirs.
    earliest: Option<Instant>,
}

impl<T> Requests<T> {
    pub(super) const fn new(places: T, limit: u16) -> Self {
        Self { places, limit, next: 1, given: 0, waiting: 0, unsaid: 0, cursor: 0, earliest: None }
    }

    /// The transaction id that was given out last.
    pub(super) const fn last_id(&self) -> u16 {
        self.next.wrapping_sub(1)
    }

    /// How many have not ended.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many have ended and are not yet said to have.
    pub(super) const fn unsaid(&self) -> usize {
        self.unsaid
    }

    /// When [`Requests::due`] is to be asked, if ever.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.earliest
    }
}

impl<T: AsRef<[Transaction]> + AsMut<[Transaction]>> Requests<T> {
    /// How many can be outstanding.
    pub(super) fn capacity(&self) -> usize {
        self.places.as_ref().len().min(usize::from(self.limit.max(1)))
    }

    pub(super) fn place(&self, index: usize) -> Option<&Transaction> {
        self.places.as_ref().get(index)
    }

    /// The transaction id that the next request would have; `None` if there is no place for one.
    pub(super) fn next_id(&self) -> Option<u16> {
        let capacity = self.capacity();
        if self.waiting.saturating_add(self.unsaid) >= capacity {
            return None;
        }
        // Where the ids wrap around, the places need not; so a few more than all of them are tried.
        let tries = u16::try_from(capacity).unwrap_or(u16::MAX).saturating_mul(2);
        (0..tries).map(|step| self.next.wrapping_add(step)).find(|id| {
            let place = index_of(*id, capacity).and_then(|index| self.place(index));
            place.is_some_and(|place| place.state == State::Free)
        })
    }

    /// Takes a request under the id that [`Requests::next_id`] has named; its frame begins at `begin`.
    pub(super) fn add(&mut self, now: Instant, id: u16, question: &Question<'_>, begin: u64) {
        let capacity = self.capacity();
        let Some(index) = index_of(id, capacity) else { return };
        let Some(place) = self.places.as_mut().get_mut(index) else { return };
        let Question { tag, unit, pdu, timeout, retries } = *question;
        place.state = State::Waiting;
        (place.tag, place.id, place.unit, place.begin) = (tag, id, unit, begin);
        (place.timeout, place.retries, place.retried) = (timeout, retries, 0);
        place.end = begin.saturating_add(HEADER_LEN as u64).saturating_add(pdu.len() as u64);
        place.asked = now;
        place.deadline = expiry(now, timeout);
        place.len = u8::try_from(pdu.len()).unwrap_or(u8::MAX);
        for (slot, byte) in place.pdu.iter_mut().zip(pdu) {
            *slot = *byte;
        }
        self.earliest = earliest(self.earliest, place.deadline);
        self.waiting = self.waiting.saturating_add(1);
        let skipped = id.wrapping_sub(self.next);
        self.given = self.given.saturating_add(skipped).saturating_add(1).min(REMEMBERED);
        self.next = id.wrapping_add(1);
    }

    /// Ends the request that this frame belongs to, and says in which place it is and whether this is its reply; `left`
    /// bytes have left so far.
    pub(super) fn resolve(&mut self, now: Instant, frame: &Frame<'_>, left: u64) -> Result<(usize, bool), Discard> {
        let known = self.last_id().wrapping_sub(frame.transaction) < self.given;
        let stray = if known { Discard::Late } else { Discard::Unsolicited };
        let index = index_of(frame.transaction, self.capacity()).ok_or(stray)?;
        let place = self.places.as_mut().get_mut(index).ok_or(stray)?;
        if place.state != State::Waiting || place.id != frame.transaction {
            return Err(stray);
        }
        if place.end > left {
            return Err(Discard::Unsolicited);
        }
        let outcome = place.judge(frame);
        place.finish(now, outcome);
        self.ended(index);
        Ok((index, outcome == Outcome::Reply))
    }

    /// Of the places in the order in which they were filled, or nearly so, and without the first `skip`: the first whose
    /// request's time is over. Says how many come before it, its index, and whether the request may be tried again.
    pub(super) fn due(&self, now: Instant, skip: usize) -> Option<(usize, usize, bool)> {
        let capacity = self.capacity();
        (skip..capacity).find_map(|step| {
            let index = usize::from(self.next).saturating_add(step).checked_rem(capacity)?;
            let place = self.place(index)?;
            let over = place.state == State::Waiting && place.deadline.is_some_and(|deadline| deadline <= now);
            over.then_some((step, index, place.retries > 0))
        })
    }

    /// Another attempt begins; `begin` if the frame is sent again.
    pub(super) fn retry(&mut self, now: Instant, index: usize, begin: Option<u64>) {
        let Some(place) = self.places.as_mut().get_mut(index) else { return };
        place.retries = place.retries.saturating_sub(1);
        place.retried = place.retried.saturating_add(1);
        place.deadline = expiry(now, place.timeout);
        place.begin = begin.unwrap_or(place.begin);
    }

    /// The time of a request is over for good.
    pub(super) fn time_out(&mut self, now: Instant, index: usize) {
        let Some(place) = self.places.as_mut().get_mut(index) else { return };
        place.finish(now, Outcome::Timeout);
        self.ended(index);
    }

    /// A frame of `len` bytes has been taken out of the line; those behind it begin earlier.
    pub(super) fn withdrawn(&mut self, begin: u64, len: usize) {
        for place in self.places.as_mut() {
            let earlier = |position: u64| if position > begin { position.saturating_sub(len as u64) } else { position };
            (place.begin, place.end) = (earlier(place.begin), earlier(place.end));
        }
    }

    /// Every deadline may have changed.
    pub(super) fn find_earliest(&mut self) {
        let waiting = self.places.as_ref().iter().filter(|place| place.state == State::Waiting);
        self.earliest = waiting.filter_map(|place| place.deadline).min();
    }

    /// Ends all that is left.
    pub(super) fn lose(&mut self, now: Instant, reason: Reason) {
        for place in self.places.as_mut().iter_mut().filter(|place| place.state == State::Waiting) {
            place.finish(now, Outcome::Lost(reason));
            self.unsaid = self.unsaid.saturating_add(1);
        }
        self.waiting = 0;
        self.earliest = None;
        // The one that was asked first, or nearly so, is said first.
        self.cursor = index_of(self.next, self.capacity()).unwrap_or(0);
    }

    /// The report of a request that has ended, once.
    pub(super) fn report(&mut self) -> Option<Done> {
        if self.unsaid == 0 {
            return None;
        }
        let (before, after) = self.places.as_mut().split_at_mut_checked(self.cursor)?;
        let start = self.cursor;
        let mut places = (start..).zip(after).chain((0..).zip(before));
        let (index, place, outcome, micros) = places.find_map(|(index, place)| match place.state {
            State::Ended { outcome, micros } => Some((index, place, outcome, micros)),
            State::Free | State::Waiting => None,
        })?;
        place.state = State::Free;
        let Transaction { tag, unit, id, retried, .. } = *place;
        let function = place.function();
        self.cursor = index;
        self.unsaid = self.unsaid.saturating_sub(1);
        Some(Done { tag, unit, function, transaction: id, retried, outcome, micros })
    }

    fn ended(&mut self, index: usize) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.unsaid == 0 {
            self.cursor = index;
        }
        self.unsaid = self.unsaid.saturating_add(1);
        if self.waiting == 0 {
            self.earliest = None;
        }
    }
}

fn index_of(id: u16, capacity: usize) -> Option<usize> {
    usize::from(id).checked_rem(capacity)
}
