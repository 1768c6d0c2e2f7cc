//! The requests that are answered later, and the holes that their replies leave in the queue.

use super::{Outcome, Processed};
use crate::modbus::pdu::Span;
use crate::modbus::service::{Answerer, RequestId};
use crate::time::{Instant, expiry};
use core::time::Duration;

/// A place for one request that is answered later.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transaction {
    state: State,
    /// How many requests the connection had deferred before; its low half is the generation of the request's name.
    order: u32,
    /// Where the reply will stand in the queue.
    at: usize,
    deadline: Option<Instant>,
    arrived: Instant,
    request: Request,
    /// Whether its answerer has put it off, rather than a fault that keeps its reply back.
    put_off: bool,
    /// Whether its deadline came before its answer.
    timed_out: bool,
    /// Whether the replies behind it may leave before it.
    passed: bool,
    /// How many faults have acted on a reply that was kept back and has left.
    left: Option<u8>,
}

impl Transaction {
    /// A free place.
    pub const EMPTY: Self = Self {
        state: State::Free,
        order: 0,
        at: 0,
        deadline: None,
        arrived: Instant::ORIGIN,
        request: Request { transaction: 0, unit: 0, function: 0, span: None, bytes_in: 0, answerer: Answerer(0) },
        put_off: true,
        timed_out: false,
        passed: false,
        left: None,
    };
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Free,
    Deferred,
    /// Done with, and not yet said so.
    Done {
        outcome: Outcome,
        bytes_out: u16,
        micros: u32,
        timed_out: bool,
    },
}

/// What a connection remembers of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    pub(super) transaction: u16,
    pub(super) unit: u8,
    pub(super) function: u8,
    pub(super) span: Option<Span>,
    pub(super) bytes_in: u16,
    /// Who has put it off, if anybody.
    pub(super) answerer: Answerer,
}

impl Request {
    /// The report of a request that ended at once.
    pub(super) const fn processed(&self, outcome: Outcome, bytes_out: u16) -> Processed {
        Processed {
            unit: self.unit,
            function: self.function,
            span: self.span,
            outcome,
            micros: 0,
            bytes_in: self.bytes_in,
            bytes_out,
            deferred: false,
            timed_out: false,
            kept: false,
            faults: 0,
            answerer: self.answerer,
        }
    }
}

/// How a deferred request ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) bytes_out: u16,
    pub(super) timed_out: bool,
}

/// The transactions of one connection, over the caller's storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transactions<T> {
    places: T,
    order: u32,
    deferred: usize,
    unreported: usize,
}

impl<T> Transactions<T> {
    pub(super) const fn new(places: T) -> Self {
        Self { places, order: 0, deferred: 0, unreported: 0 }
    }

    pub(super) const fn deferred(&self) -> usize {
        self.deferred
    }

    /// Whether nothing is deferred, and nothing left to be said.
    pub(super) const fn is_vacant(&self) -> bool {
        self.deferred == 0 && self.unreported == 0
    }

    /// How many requests have been deferred, which gives the next its name.
    pub(super) const fn order(&self) -> u32 {
        self.order
    }

    pub(super) const fn set_order(&mut self, order: u32) {
        self.order = order;
    }

    pub(super) const fn exchange(&mut self, places: T) -> T {
        core::mem::replace(&mut self.places, places)
    }
}

impl<T: AsRef<[Transaction]> + AsMut<[Transaction]>> Transactions<T> {
    /// How many requests can be deferred at the same time.
    pub(super) fn capacity(&self) -> usize {
        self.places.as_ref().len()
    }

    /// The name that the next deferred request would get, if a place is free.
    pub(super) fn next_id(&self) -> Option<RequestId> {
        if self.deferred.saturating_add(self.unreported) >= self.capacity() {
            return None;
        }
        let index = self.places.as_ref().iter().position(|place| place.state == State::Free)?;
        Some(RequestId { index: u8::try_from(index).ok()?, generation: generation(self.order) })
    }

    /// Defers the request that [`Transactions::next_id`] has named.
    pub(super) fn defer(&mut self, id: RequestId, request: Request, at: usize, now: Instant, timeout: Duration) {
        let order = self.order;
        let Some(place) = self.places.as_mut().get_mut(usize::from(id.index)) else { return };
        let deadline = expiry(now, timeout);
        *place =
            Transaction { state: State::Deferred, order, at, deadline, arrived: now, request, ..Transaction::EMPTY };
        self.order = order.wrapping_add(1);
        self.deferred = self.deferred.saturating_add(1);
    }

    /// What is remembered of a deferred request, and where its reply goes.
    pub(super) fn find(&self, id: RequestId) -> Option<(Request, usize)> {
        let place = self.places.as_ref().get(usize::from(id.index))?;
        let open = place.state == State::Deferred && generation(place.order) == id.generation;
        open.then_some((place.request, place.at))
    }

    /// Its reply is kept back by a fault: no deadline runs any more. It was answered `at_once`, or too late.
    pub(super) fn keep(&mut self, id: RequestId, at_once: bool, timed_out: bool) {
        if let Some(place) = self.places.as_mut().get_mut(usize::from(id.index)) {
            place.deadline = None;
            place.put_off = !at_once;
            place.timed_out = timed_out;
        }
    }

    /// The replies behind it may leave before it.
    pub(super) fn pass(&mut self, id: RequestId) {
        if let Some(place) = self.places.as_mut().get_mut(usize::from(id.index)) {
            place.passed = true;
        }
    }

    /// Whether the deadline of a deferred request has come.
    pub(super) fn is_overdue(&self, id: RequestId, now: Instant) -> bool {
        let place = self.places.as_ref().get(usize::from(id.index));
        place.and_then(|place| place.deadline).is_some_and(|deadline| deadline <= now) && self.find(id).is_some()
    }

    /// The reply that was kept back has left, after so many faults have acted on it.
    pub(super) fn leave(&mut self, id: RequestId, faults: u8) {
        if let Some(place) = self.places.as_mut().get_mut(usize::from(id.index)) {
            place.left = Some(faults);
        }
    }

    /// Ends a deferred request.
    pub(super) fn end(&mut self, id: RequestId, now: Instant, ending: Ending) {
        let Some(place) = self.places.as_mut().get_mut(usize::from(id.index)) else { return };
        let Ending { outcome, bytes_out, timed_out } = ending;
        let span = now.saturating_duration_since(place.arrived);
        let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
        place.state = State::Done { outcome, bytes_out, micros, timed_out };
        self.deferred = self.deferred.saturating_sub(1);
        self.unreported = self.unreported.saturating_add(1);
    }

    /// The reply of a request that has ended stands in the queue now, with so many bytes.
    pub(super) fn move_up(&mut self, id: RequestId, len: usize) {
        let Some(place) = self.places.as_ref().get(usize::from(id.index)) else { return };
        let (at, order) = (place.at, place.order);
        for other in self.open_mut() {
            if other.at > at || (other.at == at && is_after(other.order, order)) {
                other.at = other.at.saturating_add(len);
            }
        }
    }

    /// Every hole has moved up or, if `down`, to the front.
    pub(super) fn shift(&mut self, by: usize, down: bool) {
        if by == 0 {
            return;
        }
        for place in self.open_mut() {
            place.at = if down { place.at.saturating_sub(by) } else { place.at.saturating_add(by) };
        }
    }

    /// Where the first hole is, and whose.
    pub(super) fn first_hole(&self) -> Option<(usize, RequestId)> {
        if self.deferred == 0 {
            return None;
        }
        let holes = self.open().filter(|(_, place)| !place.passed);
        holes.reduce(|a, b| if is_after(a.1.order, b.1.order) { b } else { a }).map(|(id, place)| (place.at, id))
    }

    /// The earliest deadline of a deferred request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open().filter_map(|(_, place)| place.deadline).min()
    }

    /// A deferred request whose deadline has come: of several the one that arrived first.
    pub(super) fn expired(&self, now: Instant) -> Option<RequestId> {
        let due = self.open().filter(|(_, place)| place.deadline.is_some_and(|deadline| deadline <= now));
        due.reduce(|first, other| if is_after(first.1.order, other.1.order) { other } else { first }).map(|(id, _)| id)
    }

    /// Any deferred request.
    pub(super) fn any(&self) -> Option<RequestId> {
        self.open().next().map(|(id, _)| id)
    }

    /// The report of a request that is done with, once.
    pub(super) fn report(&mut self) -> Option<Processed> {
        if self.unreported == 0 {
            return None;
        }
        let done = |place: &&mut Transaction| matches!(place.state, State::Done { .. });
        let place = self.places.as_mut().iter_mut().find(done)?;
        let State::Done { outcome, bytes_out, micros, timed_out } = place.state else { return None };
        place.state = State::Free;
        let (deferred, timed_out) = (place.put_off, timed_out || place.timed_out);
        let (kept, faults) = (place.left.is_some(), place.left.unwrap_or(0));
        self.unreported = self.unreported.saturating_sub(1);
        Some(Processed { micros, deferred, timed_out, kept, faults, ..place.request.processed(outcome, bytes_out) })
    }

    fn open(&self) -> impl Iterator<Item = (RequestId, &Transaction)> {
        let places = if self.deferred == 0 { &[] } else { self.places.as_ref() };
        (0..=u8::MAX)
            .zip(places)
            .filter(|(_, place)| place.state == State::Deferred)
            .map(|(index, place)| (RequestId { index, generation: generation(place.order) }, place))
    }

    fn open_mut(&mut self) -> impl Iterator<Item = &mut Transaction> {
        let places = if self.deferred == 0 { &mut [] } else { self.places.as_mut() };
        places.iter_mut().filter(|place| place.state == State::Deferred)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a generation is the low half of the order")]
const fn generation(order: u32) -> u16 {
    order as u16
}

/// Whether `a` was deferred after `b`; right while fewer than 2^31 lie between them.
const fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}
