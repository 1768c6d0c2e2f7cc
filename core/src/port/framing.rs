//! Where a message ends: a terminator in a stream of bytes, and what a read of that stream gives.
//!
//! The bytes stay in a queue that its owner shows as two slices, because a ring wraps. A [`Scan`] remembers how far the
//! front of the queue has been searched, and answers what a reader gets next as a [`Piece`]. Nothing is copied, and
//! nothing is taken before the owner says so by [`Scan::consumed`]: until then the same question has the same answer.
//!
//! # What is known of a byte
//!
//! From the front of the queue on, bytes are first *decided*: they are data whatever comes. Behind them stand bytes that
//! match the beginning of the terminator, or all of it. A beginning is *held back*, for only the next bytes tell whether
//! it is data; so a reader is never given a byte that would have to be taken back. Behind them nothing has been searched.
//!
//! Matches are leftmost and do not overlap. They depend on the stream alone: neither on how the network cut it nor on
//! how much room a reader had, since a read takes decided bytes or a whole terminator and leaves the search where it was.
//! The search is that of Knuth, Morris and Pratt. No byte is searched twice, and the work is linear in the bytes, whatever
//! the terminator and however they come.
//!
//! # What it does not do
//!
//! It owns no bytes, knows no time and waits for nobody: [`Flow`] tells it what else is known of the queue. Which
//! terminator is in force, and when each message is handed to subscribers, is for its owner to say. Datagrams use
//! [`Eom`] alone.

use core::fmt;

/// The bytes that end a message: 0 to 255 of any value, none of them meaning that the terminator is off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Terminator {
    /// Zero behind the first `len`.
    bytes: [u8; Self::MAX_LEN],
    /// For each beginning of the terminator, by its length less one: how long a shorter beginning also ends it.
    fallback: [u8; Self::MAX_LEN],
    len: u8,
}

/// Why a terminator cannot be. The one in force stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// It has too many bytes for any queue.
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The greatest length, [`Terminator::MAX_LEN`].
        max: usize,
    },
    /// It has too many bytes for this receive queue, of which it may take half.
    AboveHalf {
        /// Its length in bytes.
        len: usize,
        /// The bytes for which the queue has room.
        capacity: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, max } => write!(f, "terminator of {len} bytes is longer than {max}"),
            Self::AboveHalf { len, capacity } => {
                write!(f, "terminator of {len} bytes is longer than half of a queue of {capacity}")
            }
        }
    }
}

impl core::error::Error for Error {}

#[expect(clippy::len_without_is_empty, reason = "one without bytes is said to be off")]
impl Terminator {
    /// The greatest length in bytes.
    pub const MAX_LEN: usize = 255;

    /// None: every byte is data, and no message ends.
    pub const OFF: Self = Self { bytes: [0; Self::MAX_LEN], fallback: [0; Self::MAX_LEN], len: 0 };

    /// The terminator of these bytes; [`Terminator::OFF`] for none.
    ///
    /// # Errors
    /// [`Error::TooLong`] above [`Terminator::MAX_LEN`] bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        let too_long = Error::TooLong { len: bytes.len(), max: Self::MAX_LEN };
        let mut new = Self { len: u8::try_from(bytes.len()).map_err(|_| too_long)?, ..Self::OFF };
        new.bytes.get_mut(..bytes.len()).ok_or(too_long)?.copy_from_slice(bytes);
        // The terminator is searched in itself, from its second byte on; a step needs only what stands before it.
        let mut matched = 0;
        for (at, &byte) in bytes.iter().enumerate().skip(1) {
            matched = new.step(matched, byte);
            if let Some(fallback) = new.fallback.get_mut(at) {
                *fallback = matched;
            }
        }
        Ok(new)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// Its length in bytes, 0 if it is off.
    #[must_use]
    pub const fn len(&self) -> usize {
        // Lossless, and `usize::from` is not const.
        self.len as usize
    }

    /// Whether there is no terminator.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.len == 0
    }

    /// Judges whether a receive queue with room for `capacity` bytes can do with it. It takes at most half of one, so that
    /// a full queue always has a decided byte to give.
    ///
    /// # Errors
    /// [`Error::AboveHalf`] if it takes more.
    pub const fn check_queue(&self, capacity: usize) -> Result<(), Error> {
        if self.len() > capacity / 2 {
            return Err(Error::AboveHalf { len: self.len(), capacity });
        }
        Ok(())
    }

    /// The bytes that an output queue takes for a message of `len` bytes with its terminator, which enter it together or
    /// not at all.
    #[must_use]
    pub const fn framed_len(&self, len: usize) -> usize {
        len.saturating_add(self.len())
    }

    /// How many bytes of the terminator are matched once `byte` has come behind `matched` of them, which are not all.
    fn step(&self, mut matched: u8, byte: u8) -> u8 {
        loop {
            note_comparisons(1);
            if self.bytes.get(usize::from(matched)) == Some(&byte) {
                return matched.saturating_add(1);
            }
            let Some(last) = matched.checked_sub(1) else { return 0 };
            // Always less than what it replaces, so this comes to an end.
            matched = self.fallback.get(usize::from(last)).copied().unwrap_or_default();
        }
    }
}

impl fmt::Debug for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Terminator(\"{}\")", self.as_bytes().escape_ascii())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Terminator {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Terminator({=[u8]:a})", self.as_bytes());
    }
}

/// Why a message, or a piece of one, ended: a set of reasons, with the values that asyn gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Eom(u8);

impl Eom {
    /// No reason: there is more to come.
    pub const NONE: Self = Self(0);
    /// The caller's buffer was filled, or a full queue holds no terminator.
    pub const CNT: Self = Self(1);
    /// The terminator was found and removed.
    pub const EOS: Self = Self(2);
    /// TCP: the client's input has ended, always alone and without a byte. UDP: the last byte of a datagram.
    pub const END: Self = Self(4);

    /// The sum of the values of its reasons, 0..=7.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether there is no reason.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every reason of `other` is among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The reasons of both, which `|` gives too.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::ops::BitOr for Eom {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Display for Eom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut between = "";
        for (reason, name) in [(Self::CNT, "CNT"), (Self::EOS, "EOS"), (Self::END, "END")] {
            if self.contains(reason) {
                write!(f, "{between}{name}")?;
                between = "|";
            }
        }
        Ok(())
    }
}

/// What a reader is given next, from the front of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Piece {
    /// Bytes to be given, never more than the reader's room.
    pub len: usize,
    /// Bytes of the terminator behind them, to be removed and given to nobody.
    pub skip: usize,
    /// Why it ends there.
    pub eom: Eom,
}

impl Piece {
    /// The bytes that leave the queue with it, which is what [`Scan::consumed`] is told.
    #[must_use]
    pub const fn taken(&self) -> usize {
        self.len.saturating_add(self.skip)
    }
}

/// What is known of a queue, and of who reads it. Where several are true, the first of `Ended`, `Full`, `TimedOut`,
/// `Open` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Flow {
    /// More bytes may come, and the reader can wait for them.
    Open,
    /// The queue has no room for another byte, so that waiting would last for ever.
    Full,
    /// The input has ended: behind the queue there is nothing, and there never will be.
    Ended,
    /// The reader can wait no longer.
    TimedOut,
}

/// How far the front of one queue has been searched for a terminator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Scan {
    /// Bytes at the front that are data whatever comes.
    decided: u32,
    /// Bytes behind them that match the beginning of the terminator. It has been found when this is its length.
    matched: u8,
}

impl Scan {
    /// Nothing has been searched.
    pub const START: Self = Self { decided: 0, matched: 0 };

    /// Searches the queue anew from its front: after a flush, for another terminator, for another client.
    ///
    /// Without it a new terminator would be sought only behind what the old one had been sought in, and the front of the
    /// queue would still be held back on the old one's account.
    pub const fn restart(&mut self) {
        *self = Self::START;
    }

    /// Says that `taken` bytes have left the front of the queue. Of a piece, these are [`Piece::taken`].
    ///
    /// Another number is no error. If it ends among bytes that were held back, what is left of them is searched anew.
    pub fn consumed(&mut self, taken: usize) {
        match u32::try_from(taken).ok().and_then(|taken| self.decided.checked_sub(taken)) {
            Some(decided) => self.decided = decided,
            None => self.restart(),
        }
    }

    /// Searches what is new in `queue`, and says what a reader with room for `room` bytes is given now. `None` if that is
    /// nothing yet, and for a reader without room.
    ///
    /// A reader whose room is `usize::MAX` is given whole messages. The slices of `queue` follow each other, begin with the
    /// first byte that has not been consumed, and hold less than 4 GiB. A piece never reaches beyond them.
    ///
    /// * `room` bytes of data or more: `room` of them, CNT alone.
    /// * A terminator behind fewer: the bytes before it and the terminator, EOS. There may be no byte before it.
    /// * Otherwise it depends on `flow`. `Open`: nothing. `Full`: the decided bytes, CNT. `TimedOut`: the decided bytes,
    ///   without a reason. `Ended`: all bytes, CNT if they fill the room; from an empty queue END.
    ///
    /// With the terminator off, every byte is decided and given at once, CNT if the room is filled.
    pub fn next(&mut self, terminator: &Terminator, queue: [&[u8]; 2], room: usize, flow: Flow) -> Option<Piece> {
        let [front, back] = queue;
        let queued = front.len().saturating_add(back.len());
        if room == 0 {
            return None;
        }
        if !terminator.is_off() {
            self.search(terminator, front, back);
            let decided = self.decided();
            if decided >= room {
                return Some(Piece { len: room, skip: 0, eom: Eom::CNT });
            }
            if self.has_found(terminator) {
                return Some(Piece { len: decided, skip: terminator.len(), eom: Eom::EOS });
            }
            let known = |eom| (decided > 0).then_some(Piece { len: decided, skip: 0, eom });
            match flow {
                Flow::Open => return None,
                Flow::Full => return known(Eom::CNT),
                Flow::TimedOut => return known(Eom::NONE),
                Flow::Ended => {
                    // What was held back cannot become a terminator any more.
                    self.restart();
                    self.decide(queued);
                }
            }
        }
        match queued.min(room) {
            0 => (flow == Flow::Ended).then_some(Piece { len: 0, skip: 0, eom: Eom::END }),
            len => Some(Piece { len, skip: 0, eom: if len == room { Eom::CNT } else { Eom::NONE } }),
        }
    }

    /// Goes on with the search where it was left, up to the end of the first terminator or of the queue.
    fn search(&mut self, terminator: &Terminator, front: &[u8], back: &[u8]) {
        let searched = self.decided().saturating_add(usize::from(self.matched));
        let (front, back) = match front.split_at_checked(searched) {
            Some((_, rest)) => (rest, back),
            None => match back.split_at_checked(searched.saturating_sub(front.len())) {
                Some((_, rest)) => (rest, [].as_slice()),
                // Bytes have left without a word: the only way in which more can have been searched than is there.
                None => {
                    self.restart();
                    (front, back)
                }
            },
        };
        for bytes in [front, back] {
            self.advance(terminator, bytes);
        }
    }

    /// Searches in `bytes`, which stand behind all that was searched, unless a terminator has been found.
    fn advance(&mut self, terminator: &Terminator, mut bytes: &[u8]) {
        let [first, ..] = terminator.bytes;
        while !self.has_found(terminator) {
            if self.matched == 0 {
                // Most bytes are not even the first of a terminator, and this way past them is a tight loop.
                let before = bytes.iter().position(|&byte| byte == first).unwrap_or(bytes.len());
                note_comparisons(before.saturating_add(1).min(bytes.len()));
                self.decide(before);
                bytes = bytes.get(before..).unwrap_or_default();
            }
            let Some((&byte, rest)) = bytes.split_first() else { return };
            let matched = terminator.step(self.matched, byte);
            // One byte more has been searched, and each is either decided or matched.
            self.decide(usize::from(self.matched).saturating_add(1).saturating_sub(usize::from(matched)));
            self.matched = matched;
            bytes = rest;
        }
    }

    fn decide(&mut self, bytes: usize) {
        self.decided = self.decided.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    fn decided(&self) -> usize {
        // On a machine of 16 bits no queue is longer either.
        usize::try_from(self.decided).unwrap_or(usize::MAX)
    }

    fn has_found(&self, terminator: &Terminator) -> bool {
        self.matched >= terminator.len
    }
}

/// Counts comparisons of bytes, for the test that the search is linear.
fn note_comparisons(count: usize) {
    #[cfg(test)]
    tests::COMPARISONS.with(|comparisons| comparisons.set(comparisons.get() + count));
    #[cfg(not(test))]
    let _ = count;
}

#[cfg(test)]
mod tests;
