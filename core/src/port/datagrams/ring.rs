//! Datagrams in the order in which they came, over records and bytes of the caller's.
//!
//! Bytes of one datagram lie one after another and may go on at the begin of the storage. Retained datagrams are, in
//! order, those that the reader is done with, and those that are kept for it. Only the former make room by themselves.

use crate::time::Instant;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// What is known of one received datagram. Storage is made of [`Record::EMPTY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    peer: SocketAddr,
    at: Instant,
    /// The how manieth datagram it is, those that were dropped included.
    number: u64,
    start: usize,
    len: usize,
    truncated: bool,
}

impl Record {
    /// A place for what is known of a datagram.
    pub const EMPTY: Self = Self {
        peer: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
        at: Instant::ORIGIN,
        number: 0,
        start: 0,
        len: 0,
        truncated: false,
    };
}

impl Default for Record {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// How far a subscriber has got. It belongs to the port that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cursor(u64);

/// What is next for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A whole datagram.
    Datagram(Datagram<'a>),
    /// So many datagrams are gone: they were dropped, or the subscriber came too late.
    Lost(u64),
}

/// A whole datagram. The bytes may lie in two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The bytes; none if it is empty.
    pub bytes: [&'a [u8]; 2],
    /// Who sent it.
    pub peer: SocketAddr,
    /// Whether it was longer than what was kept of it.
    pub truncated: bool,
    /// When it came.
    pub at: Instant,
}

/// What the reader took of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) peer: SocketAddr,
    pub(super) at: Instant,
    pub(super) truncated: bool,
    pub(super) start: usize,
    pub(super) len: usize,
    /// Bytes behind it.
    pub(super) left: usize,
}

/// Datagrams over bytes `B` and [`Record`]s `R`.
#[derive(Debug)]
pub(super) struct Ring<B, R> {
    bytes: B,
    records: R,
    /// The place of the oldest record.
    first: usize,
    /// Records retained.
    count: usize,
    /// The first of them with which the reader is done.
    done: usize,
    /// Bytes of the retained ones.
    used: usize,
    /// Bytes of those that are kept for the reader, what it has read of the first one included.
    kept_bytes: usize,
    /// Bytes that the reader has read of the first one kept.
    offset: usize,
    /// Where the next datagram begins.
    tail: usize,
    /// The number of the next datagram.
    next: u64,
}

impl<B, R> Ring<B, R> {
    pub(super) const fn new(bytes: B, records: R) -> Self {
        Self { bytes, records, first: 0, count: 0, done: 0, used: 0, kept_bytes: 0, offset: 0, tail: 0, next: 0 }
    }

    /// Datagrams kept for the reader.
    pub(super) const fn kept(&self) -> usize {
        self.count.saturating_sub(self.done)
    }

    /// Bytes that the reader has yet to read.
    pub(super) const fn unread_bytes(&self) -> usize {
        self.kept_bytes.saturating_sub(self.offset)
    }

    /// Whether the reader has read a part of the first datagram kept.
    pub(super) const fn is_begun(&self) -> bool {
        self.offset > 0
    }

    /// A cursor in front of the next datagram to come.
    pub(super) const fn end(&self) -> Cursor {
        Cursor(self.next)
    }

    /// Counts a datagram that is not stored.
    pub(super) const fn pass(&mut self) {
        self.next = self.next.saturating_add(1);
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, R: AsRef<[Record]> + AsMut<[Record]>> Ring<B, R> {
    /// Bytes of the storage.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// Datagrams for which there are records.
    pub(super) fn depth(&self) -> usize {
        self.records.as_ref().len()
    }

    /// Whether a datagram fits beside those that are kept.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.kept() < self.depth() && len <= self.capacity().saturating_sub(self.kept_bytes)
    }

    /// Stores a datagram, for the reader or, if it is not `kept`, for subscribers alone. Retained ones with which the
    /// reader is done make way. The caller has seen that it fits, and keeps none behind one that is kept.
    pub(super) fn push(&mut self, now: Instant, peer: SocketAddr, bytes: &[u8], truncated: bool, kept: bool) {
        while self.done > 0 && (self.count >= self.depth() || bytes.len() > self.capacity().saturating_sub(self.used)) {
            self.forget();
        }
        let place = self.place(self.count);
        let record = Record { peer, at: now, number: self.next, start: self.tail, len: bytes.len(), truncated };
        self.pass();
        let Some(free) = self.records.as_mut().get_mut(place) else { return };
        *free = record;
        write(self.bytes.as_mut(), self.tail, bytes);
        self.tail = wrap(self.tail.saturating_add(bytes.len()), self.capacity());
        self.count = self.count.saturating_add(1);
        self.used = self.used.saturating_add(bytes.len());
        self.kept_bytes = self.kept_bytes.saturating_add(bytes.len());
        if !kept {
            self.skip();
        }
    }

    /// Makes the reader done with the first datagram that is kept. False if none is.
    pub(super) fn skip(&mut self) -> bool {
        let Some(&Record { len, .. }) = self.first_kept() else { return false };
        self.done = self.done.saturating_add(1);
        self.kept_bytes = self.kept_bytes.saturating_sub(len);
        self.offset = 0;
        true
    }

    /// Takes at most `room` bytes of the first datagram that is kept.
    pub(super) fn take(&mut self, room: usize) -> Option<Taken> {
        let &Record { peer, at, truncated, start, len, .. } = self.first_kept()?;
        let start = wrap(start.saturating_add(self.offset), self.capacity());
        let unread = len.saturating_sub(self.offset);
        let taken = unread.min(room);
        let left = unread.saturating_sub(taken);
        self.offset = self.offset.saturating_add(taken);
        if left == 0 {
            self.skip();
        }
        Some(Taken { peer, at, truncated, start, len: taken, left })
    }

    /// Bytes of the storage, which may go on at its begin.
    pub(super) fn show(&self, start: usize, len: usize) -> [&[u8]; 2] {
        read(self.bytes.as_ref(), start, len)
    }

    /// A cursor in front of the first datagram that is kept.
    pub(super) fn unread(&self) -> Cursor {
        self.first_kept().map_or(self.end(), |record| Cursor(record.number))
    }

    /// What is next for a subscriber.
    pub(super) fn next(&self, cursor: &mut Cursor) -> Option<Next<'_>> {
        let record = self.record(self.position(cursor.0));
        let reached = record.map_or(self.next, |record| record.number);
        let lost = reached.saturating_sub(cursor.0);
        if lost > 0 {
            cursor.0 = reached;
            return Some(Next::Lost(lost));
        }
        let &Record { peer, at, number, start, len, truncated } = record?;
        cursor.0 = number.saturating_add(1);
        Some(Next::Datagram(Datagram { bytes: self.show(start, len), peer, truncated, at }))
    }

    fn first_kept(&self) -> Option<&Record> {
        self.record(self.done)
    }

    /// The retained datagrams in order, the oldest being 0.
    fn record(&self, nth: usize) -> Option<&Record> {
        self.records.as_ref().get(self.place(nth)).filter(|_| nth < self.count)
    }

    fn place(&self, nth: usize) -> usize {
        wrap(self.first.saturating_add(nth), self.depth())
    }

    /// How many retained datagrams come before this number. Numbers rise, with gaps.
    fn position(&self, number: u64) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.record(middle).is_some_and(|record| record.number < number) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low
    }

    /// Gives the place of the oldest datagram away, with which the reader is done.
    fn forget(&mut self) {
        let len = self.record(0).map_or(0, |record| record.len);
        self.first = self.place(1);
        self.count = self.count.saturating_sub(1);
        self.done = self.done.saturating_sub(1);
        self.used = self.used.saturating_sub(len);
    }
}

/// A position that is less than twice the length, within the length.
pub(super) const fn wrap(position: usize, len: usize) -> usize {
    if position < len { position } else { position.saturating_sub(len) }
}

/// `len` bytes from `start` on, which may go on at the begin.
pub(super) fn read(storage: &[u8], start: usize, len: usize) -> [&[u8]; 2] {
    let (begin, end) = storage.split_at_checked(start).unwrap_or_default();
    let first = len.min(end.len());
    let [first_part, second_part] = [end.get(..first), begin.get(..len.saturating_sub(first))];
    [first_part.unwrap_or_default(), second_part.unwrap_or_default()]
}

/// Puts bytes from `start` on, and at the begin where the end is reached.
pub(super) fn write(storage: &mut [u8], start: usize, bytes: &[u8]) {
    let (begin, end) = storage.split_at_mut_checked(start).unwrap_or_default();
    let (first, second) = bytes.split_at_checked(end.len()).unwrap_or((bytes, &[]));
    for (part, from) in [(end, first), (begin, second)] {
        if let Some(place) = part.get_mut(..from.len()) {
            place.copy_from_slice(from);
        }
    }
}
