//! Messages on their way into the send queue, and what becomes of those that do not fit.

use super::client::{News, State};
use super::event::Reason;
use super::options::Overflow;
use super::place::Place;
use super::storage::to_usize;
use super::{Error, How, Mode};
use crate::time::Instant;

/// A message on its way into a send queue.
pub(super) struct Message<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) mode: Mode,
    /// Whether the terminator comes behind it.
    pub(super) terminate: bool,
}

/// What became of a message for every client, for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// All of it is queued.
    Queued,
    /// Some of it is.
    Partial {
        /// How many bytes.
        accepted: u32,
    },
    /// There was no room.
    Full,
    /// The client's output has ended, or it is leaving.
    Closed,
    /// There is no client, or it is the one that the message was not for.
    Free,
}

/// What the last command came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Receipt {
    /// Bytes of the message that were taken, its terminator not counted. Of a message for all: by all together.
    pub accepted: usize,
    /// Bytes of older messages that were dropped for it.
    pub lost: u64,
    /// Received bytes that a flush has discarded.
    pub discarded: u32,
}

/// How many clients a message for all has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Outcomes {
    /// Clients that have all of it queued.
    pub queued: u32,
    /// Clients that have some of it.
    pub partial: u32,
    /// Clients without room.
    pub full: u32,
    /// Clients whose output has ended.
    pub closed: u32,
}

impl Outcomes {
    pub(super) const fn count(&mut self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Queued => &mut self.queued,
            Outcome::Partial { .. } => &mut self.partial,
            Outcome::Full => &mut self.full,
            Outcome::Closed => &mut self.closed,
            Outcome::Free => return,
        };
        *counter = counter.saturating_add(1);
    }
}

impl Place<'_> {
    /// Bytes of a message that would fit now, with its terminator behind it.
    pub(super) fn room(&self) -> u32 {
        self.tx_room().saturating_sub(self.eos_len())
    }

    /// Bytes that fit now.
    pub(super) fn tx_room(&self) -> u32 {
        self.client.tx.room(self.tx_capacity())
    }

    fn eos_len(&self) -> u32 {
        u32::try_from(self.output_eos.as_bytes().len()).unwrap_or(u32::MAX)
    }

    /// Queues a message and its terminator, or what the policy lets in of it.
    pub(super) fn write(&mut self, now: Instant, message: &Message<'_>) -> Result<Receipt, Error> {
        let Message { bytes, mode, terminate } = message;
        if !self.client.takes_output() {
            return Err(Error::OutputEnded { slot: self.id });
        }
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let terminator = if *terminate { self.eos_len() } else { 0 };
        let total = len.saturating_add(terminator);
        if total <= self.tx_room() {
            self.queue(now, [bytes, &[]], *terminate);
            return Ok(Receipt { accepted: bytes.len(), ..Receipt::default() });
        }
        match (mode, self.seat.options.overflow) {
            (Mode::Feed, _) | (Mode::Policy, Overflow::Partial) => {
                // The last byte stays with the caller until the terminator fits as well.
                let fits = bytes.len().saturating_sub(1).min(to_usize(self.tx_room()));
                match bytes.get(..fits) {
                    Some(part) if !part.is_empty() => self.queue(now, [part, &[]], false),
                    _ => return Err(self.full(terminator)),
                }
                Ok(Receipt { accepted: fits, ..Receipt::default() })
            }
            (Mode::Policy, Overflow::Disconnect) => {
                self.end(now, Reason::Overflow, How::Abort);
                Ok(Receipt::default())
            }
            (Mode::Policy, _) if total > self.tx_capacity() => {
                Err(Error::TooLong { len: to_usize(total), max: self.tx.len() })
            }
            (Mode::Policy, Overflow::Reject) => Err(self.full(terminator)),
            (Mode::Policy, Overflow::DropOldest) => {
                let needed = total.saturating_sub(self.tx_room());
                let lost = self.drop_oldest(needed).ok_or_else(|| self.full(terminator))?;
                self.queue(now, [bytes, &[]], *terminate);
                Ok(Receipt { accepted: bytes.len(), lost: lost.into(), discarded: 0 })
            }
        }
    }

    /// The same for one of all.
    pub(super) fn write_one_of_all(&mut self, now: Instant, message: &Message<'_>) -> (Outcome, Receipt) {
        match self.write(now, message) {
            Ok(receipt) if self.is(State::Closing) => (Outcome::Closed, receipt),
            Ok(receipt) if receipt.accepted == message.bytes.len() => (Outcome::Queued, receipt),
            Ok(receipt) => {
                let accepted = u32::try_from(receipt.accepted).unwrap_or(u32::MAX);
                (Outcome::Partial { accepted }, receipt)
            }
            Err(Error::Full { .. } | Error::TooLong { .. }) => (Outcome::Full, Receipt::default()),
            Err(_) => (Outcome::Closed, Receipt::default()),
        }
    }

    fn full(&self, terminator: u32) -> Error {
        Error::Full { room: to_usize(self.tx_room().saturating_sub(terminator)) }
    }

    /// Puts into the queue what is known to fit: one message, in two parts.
    pub(super) fn queue(&mut self, now: Instant, [first, second]: [&[u8]; 2], terminated: bool) {
        if self.client.tx.is_empty() {
            self.client.stuck_since = now;
        }
        let mut queued = self.client.tx.push(self.tx, first);
        if !second.is_empty() {
            queued = queued.saturating_add(self.client.tx.push(self.tx, second));
        }
        if terminated {
            queued = queued.saturating_add(self.client.tx.push(self.tx, self.output_eos.as_bytes()));
        }
        self.client.accepted = self.client.accepted.saturating_add(queued.into());
        if self.seat.options.overflow == Overflow::DropOldest {
            self.client.boundaries.queued(self.boundaries, queued);
        }
        self.attended(now);
        let high = || self.seat.options.watermarks.lengths(self.tx_capacity()).0;
        if !self.client.above && self.client.tx.len() >= high() {
            self.client.above = true;
            // Of a queue that was low in between nobody need know.
            if !self.client.news.withdraw(News::LOW) {
                self.client.news.add(News::HIGH);
            }
        }
    }

    /// Output has left the queue.
    pub(super) fn watch_low(&mut self) {
        let low = || self.seat.options.watermarks.lengths(self.tx_capacity()).1;
        if self.client.above && self.client.tx.len() <= low() {
            self.client.above = false;
            if !self.client.news.withdraw(News::HIGH) {
                self.client.news.add(News::LOW);
            }
        }
    }

    /// Drops the oldest messages that have not begun to leave, until `needed` bytes are free; how many that were. `None`, and
    /// none is dropped, if all of them are not enough.
    fn drop_oldest(&mut self, needed: u32) -> Option<u32> {
        let kept = self.client.boundaries.kept(self.boundaries, self.client.offered);
        let lost = self.client.boundaries.drop_behind(self.boundaries, kept.messages, needed)?;
        self.client.tx.remove(self.tx, kept.bytes, lost);
        self.client.dropped = self.client.dropped.saturating_add(lost.into());
        self.client.lost = self.client.lost.saturating_add(lost);
        self.client.news.add(News::LOST);
        Some(lost)
    }

    /// From now on the lengths of messages are kept, or not. What is queued already is one message that has begun.
    pub(super) fn keep_boundaries(&mut self) {
        self.client.boundaries = Boundaries::NONE;
        if self.seat.options.overflow == Overflow::DropOldest && !self.client.tx.is_empty() {
            self.client.boundaries.queued(self.boundaries, self.client.tx.len());
            self.client.boundaries.begun = true;
        }
    }
}

/// The lengths of the messages in a send queue, as far as they have not left, in a ring of `u32` in the port's memory.
/// When it is full, the newest message joins the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boundaries {
    first: u8,
    count: u8,
    /// Some of the oldest message has left.
    begun: bool,
}

/// Messages at the front of a queue that are not to be dropped.
struct Kept {
    messages: usize,
    bytes: u32,
}

impl Boundaries {
    pub(super) const NONE: Self = Self { first: 0, count: 0, begun: false };

    fn queued(&mut self, lengths: &mut [u32], len: u32) {
        if len == 0 {
            return;
        }
        if usize::from(self.count) < lengths.len() {
            self.count = self.count.saturating_add(1);
            self.set(lengths, self.last(), len);
        } else {
            let before = self.length(lengths, self.last());
            self.set(lengths, self.last(), before.saturating_add(len));
        }
    }

    pub(super) fn sent(&mut self, lengths: &mut [u32], mut len: u32) {
        while len > 0 && self.count > 0 {
            let front = self.length(lengths, 0);
            if len < front {
                self.set(lengths, 0, front.saturating_sub(len));
                self.begun = true;
                return;
            }
            len = len.saturating_sub(front);
            self.take_first(lengths);
            self.begun = false;
        }
    }

    /// The messages of which some has left or is being shown to the driver.
    fn kept(&self, lengths: &[u32], shown: u32) -> Kept {
        let mut kept = Kept { messages: 0, bytes: 0 };
        while kept.messages < usize::from(self.count) && (kept.bytes < shown || (self.begun && kept.messages == 0)) {
            kept.bytes = kept.bytes.saturating_add(self.length(lengths, kept.messages));
            kept.messages = kept.messages.saturating_add(1);
        }
        kept
    }

    /// Forgets the oldest messages behind the first `kept` that make up `needed` bytes; how many bytes those have. `None`,
    /// and nothing is forgotten, if all of them are not enough.
    fn drop_behind(&mut self, lengths: &mut [u32], kept: usize, needed: u32) -> Option<u32> {
        let (mut lost, mut messages) = (0_u32, 0_usize);
        while lost < needed {
            let at = kept.saturating_add(messages);
            if at >= usize::from(self.count) {
                return None;
            }
            lost = lost.saturating_add(self.length(lengths, at));
            messages = messages.saturating_add(1);
        }
        // The kept ones move up to the place of the last that is forgotten.
        for at in (0..kept).rev() {
            self.set(lengths, at.saturating_add(messages), self.length(lengths, at));
        }
        for _ in 0..messages {
            self.take_first(lengths);
        }
        Some(lost)
    }

    fn last(&self) -> usize {
        usize::from(self.count.saturating_sub(1))
    }

    fn take_first(&mut self, lengths: &[u32]) {
        self.first = u8::try_from(place(self.first, 1, lengths.len())).unwrap_or_default();
        self.count = self.count.saturating_sub(1);
    }

    fn length(&self, lengths: &[u32], at: usize) -> u32 {
        lengths.get(place(self.first, at, lengths.len())).copied().unwrap_or_default()
    }

    fn set(&self, lengths: &mut [u32], at: usize, len: u32) {
        if let Some(length) = lengths.get_mut(place(self.first, at, lengths.len())) {
            *length = len;
        }
    }
}

/// Where the length of the message with number `at` lies.
fn place(first: u8, at: usize, capacity: usize) -> usize {
    usize::from(first).saturating_add(at).checked_rem(capacity).unwrap_or_default()
}
