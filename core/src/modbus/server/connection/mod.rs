//! The machine itself: what each input and deadline does to a connection.
//!
//! What an input does is in `frames` (bytes in, replies queued) and `deferred` (replies that come late); how a connection
//! ends is in `phases`, when it wants to be called in `deadlines`, and what faults may do to it in `kept`.

mod deadlines;
mod deferred;
mod frames;
mod kept;
mod phases;

use super::replies::Replies;
use super::transactions::{Transaction, Transactions};
use super::{Config, Error, Input, MIN_BUFFER, Outcome, Output, Overflow, Reason, State};
use crate::machine::{Machine, Step};
use crate::modbus::mbap::{MAX_FRAME, MAX_PDU};
use crate::modbus::pdu::Exception;
use crate::modbus::service::Discard;
use crate::rate::Bucket;
use crate::time::Instant;
use deadlines::{Timeouts, is_due};
use heapless::Deque;
use phases::Phase;

/// Reports that may wait for the driver.
const REPORTS: usize = 8;
/// How many of them frames may cause; the last place is for the one report that an ending makes.
const FRAME_REPORTS: usize = REPORTS - 1;

/// One connection over a buffer `B` of bytes and a list `T` of [`Transaction`]s.
#[derive(Debug)]
pub struct Connection<B, T> {
    config: Config,
    timeouts: Timeouts,
    buffer: B,
    transactions: Transactions<T>,
    replies: Replies,
    reports: Deque<Output, REPORTS>,
    phase: Phase,
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
    frame_since: Instant,
    /// The last whole frame, or the last byte sent.
    active_since: Instant,
    /// Since when the peer takes nothing of what waits.
    stuck_since: Instant,
    /// Somebody above keeps the peer from taking it.
    withheld: bool,
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

impl<B, T> Connection<B, T> {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub const fn new(config: Config, buffer: B, transactions: T, now: Instant) -> Self {
        Self {
            config,
            timeouts: Timeouts::new(&config),
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
        self.go_on(rest);
        Ok(())
    }

    /// The same for a machine that is known to serve nobody, or a connection at rest.
    pub(in crate::modbus) const fn go_on(&mut self, rest: Rest) {
        self.active_since = rest.active_since;
        self.transactions.set_order(rest.order);
        self.permits = rest.permits;
        self.transmit_asked = false;
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    /// What may leave now, in at most two parts.
    #[must_use]
    pub fn transmit(&self) -> [&[u8]; 2] {
        [self.replies.transmit(self.queue(), self.config.coalesce), &[]]
    }

    /// Whether anything may leave now.
    #[must_use]
    pub const fn has_output(&self) -> bool {
        self.replies.is_ready()
    }

    /// The next report, if there is one: the first of the outputs.
    #[inline]
    pub(in crate::modbus) fn report(&mut self) -> Option<Output> {
        if let Some(report) = self.reports.pop_front() {
            return Some(report);
        }
        self.transactions.report().map(Output::Processed)
    }

    fn queue(&self) -> &[u8] {
        let [_, queue] = split(self.buffer.as_ref());
        queue
    }

    /// Whether an open connection has no room for another request. One that stands on no storage at present has nothing to
    /// send either, and nothing to wait for.
    #[inline]
    fn is_blocked(&self) -> bool {
        let len = self.buffer.as_ref().len();
        if self.phase != Phase::Open {
            return false;
        }
        if self.paced_until.is_some() {
            return true;
        }
        if len < MIN_BUFFER {
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
            Input::Transmitted { len } => self.transmitted(now, len)?,
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
        let due = |deadline| is_due(deadline, now);
        if due(self.write_deadline()) {
            return self.close(now, Reason::WriteStuck, true);
        }
        let was_blocked = self.is_blocked();
        let (frame, idle, linger) = (self.frame_deadline(), self.idle_deadline(), self.linger_deadline());
        self.paced_until = self.paced_until.filter(|until| !due(*until));
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

    #[inline]
    fn poll_output(&mut self) -> Step<Output> {
        match self.report() {
            Some(report) => Step::Do(report),
            None => self.poll_reported(),
        }
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    fn transmitted(&mut self, now: Instant, len: usize) -> Result<(), Error> {
        let [shown, _] = self.transmit().map(<[u8]>::len);
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
        Ok(())
    }

    /// The deadline of an open connection that has nothing to say once there is nothing to report, which is what most of
    /// them are found to be.
    #[inline]
    pub(in crate::modbus) fn waits(&self) -> Option<Option<Instant>> {
        let sends = self.replies.is_ready() && !self.transmit_asked;
        let quiet = matches!(self.phase, Phase::Open) && !sends && self.pause_said == self.is_blocked();
        quiet.then(|| self.deadline())
    }

    /// What is to be done once there is nothing to report.
    pub(in crate::modbus) fn poll_reported(&mut self) -> Step<Output> {
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
