//! Datagrams that wait to be sent, in order.
//!
//! The payload of a broadcast is stored once, however many peers it goes to.

use super::ring::{read, wrap, write};
use super::{MAX_PAYLOAD, MAX_PAYLOAD_V4, OUTPUT_DEPTH};
use core::net::SocketAddr;
use core::ops::Range;
use heapless::Deque;

/// What became of one peer's copy of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// It will be sent.
    Queued,
    /// The output queue had no room.
    Full,
    /// The peer's protocol, or the output queue, never has room for so many bytes.
    TooLong,
}

/// One datagram for one peer.
#[derive(Clone, Copy, Debug)]
struct Entry {
    peer: SocketAddr,
    start: usize,
    len: usize,
    /// Whether it is the last one of its payload, whose room is free with it.
    last: bool,
}

/// Datagrams over bytes `T`.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    bytes: T,
    entries: Deque<Entry, OUTPUT_DEPTH>,
    used: usize,
    tail: usize,
    /// Bytes of all entries, those of a broadcast once for each peer.
    waiting: usize,
    /// Entries that were here and are not any more.
    gone: u64,
}

impl<T> Outbox<T> {
    pub(super) const fn new(bytes: T) -> Self {
        Self { bytes, entries: Deque::new(), used: 0, tail: 0, waiting: 0, gone: 0 }
    }

    /// Bytes to be sent.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// The numbers of the datagrams that wait.
    pub(super) fn numbers(&self) -> Range<u64> {
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        self.gone..self.gone.saturating_add(count)
    }

    /// To whom the first datagram goes.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.entries.front().map(|entry| entry.peer)
    }

    /// Datagrams for which there are places.
    pub(super) fn places(&self) -> usize {
        OUTPUT_DEPTH.saturating_sub(self.entries.len())
    }

    /// Forgets all datagrams and tells how many there were.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.entries.len();
        self.gone = self.numbers().end;
        self.entries.clear();
        (self.used, self.tail, self.waiting) = (0, 0, 0);
        count
    }

    /// Takes the first datagram out and gives its length.
    pub(super) fn pop(&mut self) -> Option<usize> {
        let Entry { len, last, .. } = self.entries.pop_front()?;
        self.gone = self.gone.saturating_add(1);
        self.waiting = self.waiting.saturating_sub(len);
        if last {
            self.used = self.used.saturating_sub(len);
        }
        Some(len)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Outbox<T> {
    /// Bytes of the storage.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// Bytes for which there is room.
    pub(super) fn room(&self) -> usize {
        self.capacity().saturating_sub(self.used)
    }

    /// The most bytes that a datagram to this peer may ever have.
    pub(super) fn max(&self, peer: SocketAddr) -> usize {
        self.capacity().min(if peer.is_ipv4() { MAX_PAYLOAD_V4 } else { MAX_PAYLOAD })
    }

    /// What would become of a datagram to this peer.
    pub(super) fn judge(&self, peer: SocketAddr, len: usize) -> Outcome {
        if len > self.max(peer) {
            Outcome::TooLong
        } else if self.places() == 0 || len > self.room() {
            Outcome::Full
        } else {
            Outcome::Queued
        }
    }

    /// Queues one datagram. The caller has judged it.
    pub(super) fn push(&mut self, peer: SocketAddr, bytes: &[u8]) {
        self.share(core::iter::once((peer, &mut None)), bytes);
    }

    /// Queues the same bytes for several peers as far as they fit, and writes down what became of each.
    pub(super) fn share<'p>(
        &mut self,
        peers: impl Iterator<Item = (SocketAddr, &'p mut Option<Outcome>)>,
        bytes: &[u8],
    ) {
        let (start, len) = (self.tail, bytes.len());
        let mut stored = false;
        for (peer, outcome) in peers {
            // The payload takes its room once, with its last entry, so that each is judged as if it were the first.
            let judged = self.judge(peer, len);
            let queued =
                judged == Outcome::Queued && self.entries.push_back(Entry { peer, start, len, last: false }).is_ok();
            stored |= queued;
            self.waiting = self.waiting.saturating_add(if queued { len } else { 0 });
            *outcome = Some(judged);
        }
        if stored && let Some(entry) = self.entries.back_mut() {
            entry.last = true;
            write(self.bytes.as_mut(), start, bytes);
            self.used = self.used.saturating_add(len);
            self.tail = wrap(start.saturating_add(len), self.capacity());
        }
    }

    /// The first datagram's bytes, which may lie in two parts.
    pub(super) fn transmit(&self) -> [&[u8]; 2] {
        self.entries.front().map_or([&[]; 2], |entry| read(self.bytes.as_ref(), entry.start, entry.len))
    }
}
