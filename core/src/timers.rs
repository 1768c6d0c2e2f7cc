//! Deadlines for many owners: a hierarchical timing wheel.
//!
//! An owner is a *key*, the index of a [`Node`] in the caller's storage, and has at most one deadline at a time. Arming
//! and cancelling cost the same with one key or a million. The resolution is one millisecond, called a *tick* here:
//! deadlines are rounded up to whole ticks, so no key is reported early, and at most one tick late by rounding.
//!
//! # How it is built
//!
//! Four levels of 256 lists. `current` is the tick up to which everything has been reported. A key lies on the level of
//! the highest byte in which its tick differs from `current`, in the list which that byte of its tick names:
//!
//! * level 0 lists hold keys of exactly one tick, in the order in which they were armed;
//! * when `current` reaches the begin of a list on a higher level, that list is *spread* over the levels below, in order;
//! * ticks that differ from `current` above their low 32 bits wait in one *far* list, which is spread when its earliest
//!   32-bit window begins.
//!
//! Where a key lies is a function of its tick and of `current` alone. So keys of one tick are always in one list, which
//! is why the order of arming survives, and a key is unlinked without having to remember its list.
//!
//! A bitmap per level names the occupied lists, so that a jump over a long span costs what it passes in occupied lists,
//! not in ticks. A key is spread at most once per level it descends and once per window that it waits for in the far
//! list; one call may have to spread many keys at once.
//!
//! # What it does not do
//!
//! It has no callbacks, no repeating timers and no clock. `now` must never go back; if it does all the same, nothing
//! breaks and nothing is reported until `now` has caught up.

use crate::time::Instant;
use core::fmt;
use core::time::Duration;

/// The longest span from `now` to a deadline: 4 294 967 295 milliseconds, a little less than 50 days.
pub const MAX_SPAN: Duration = Duration::from_millis(u32::MAX as u64);

/// Deadlines by key; see the [module](self).
///
/// It holds 4 KiB of list heads and is const-constructible, so that it fits into a `static`.
pub struct Wheel<S> {
    nodes: S,
    /// No armed key has a tick before this one.
    current: u64,
    /// The first key of every list, [`NIL`] if it is empty: the levels in order, then the far list.
    heads: [u32; LISTS],
    /// One bit per list of a level, set while the list is occupied.
    occupied: [[u64; 4]; LEVELS],
    /// No key of the far list has a tick whose bits above the 32nd are less than this.
    far_window: u64,
    len: u32,
}

/// One key's place in a [`Wheel`]. Storage is made of [`Node::EMPTY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    tick: u64,
    /// Lists are circular: the first key's `prev` is the last key. Both links are [`NIL`] while the key is not armed.
    prev: u32,
    next: u32,
}

impl Node {
    /// The node of a key that is not armed.
    pub const EMPTY: Self = Self { tick: 0, prev: NIL, next: NIL };
}

impl Default for Node {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Why a key could not be armed. Nothing has changed then: a key that was armed keeps its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The deadline is further from now than the wheel reaches.
    OutOfRange {
        /// The span from now to the deadline.
        asked: Duration,
        /// The longest span, [`MAX_SPAN`].
        max: Duration,
    },
    /// The storage has no node for the key.
    NoSuchKey {
        /// The key that was asked for.
        key: u32,
        /// The number of keys; valid ones are below it.
        capacity: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfRange { asked, max } => write!(f, "deadline is {asked:?} away, at most {max:?} is possible"),
            Self::NoSuchKey { key, capacity } => write!(f, "key {key} is not below the capacity {capacity}"),
        }
    }
}

impl core::error::Error for Error {}

impl<S> Wheel<S> {
    /// A wheel over `storage`, which holds one [`Node::EMPTY`] per key. Nothing is armed.
    #[must_use]
    pub const fn new(storage: S) -> Self {
        Self { nodes: storage, current: 0, heads: [NIL; LISTS], occupied: [[0; 4]; LEVELS], far_window: 0, len: 0 }
    }

    /// The number of armed keys.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no key is armed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When to call [`Wheel::expired`]: `None` if nothing is armed.
    ///
    /// It may name an earlier instant than the first deadline, never a later one. Once `expired(t)` has returned `None`,
    /// it names an instant after `t`.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.upcoming().map(|(_, start)| instant_of(start))
    }

    /// The occupied list that begins first, and the tick with which it begins.
    fn upcoming(&self) -> Option<(usize, u64)> {
        if self.len == 0 {
            return None;
        }
        // No tick is before `current`, so on every level the lowest occupied list comes first, and all of a lower level
        // comes before all of a higher one.
        for (level, words) in self.occupied.iter().enumerate() {
            if let Some(slot) = first_set(words) {
                let mut start = self.current.to_le_bytes();
                for (place, byte) in start.iter_mut().enumerate().take(level.saturating_add(1)) {
                    *byte = if place == level { slot } else { 0 };
                }
                return Some((list(level, slot), u64::from_le_bytes(start)));
            }
        }
        // Lossless: a window is a tick shifted right by 32 bits.
        (self.head(FAR) != NIL).then_some((FAR, self.far_window << 32))
    }

    /// The list in which a key of this tick lies at present.
    fn place(&self, tick: u64) -> usize {
        let differing = tick ^ self.current;
        let level = match differing {
            0..=0xff => 0,
            0x100..=0xffff => 1,
            0x1_0000..=0xff_ffff => 2,
            0x100_0000..=0xffff_ffff => 3,
            _ => return FAR,
        };
        list(level, tick.to_le_bytes().get(level).copied().unwrap_or_default())
    }

    fn head(&self, list: usize) -> u32 {
        self.heads.get(list).copied().unwrap_or(NIL)
    }

    /// Sets a list's first key and, with it, whether the list counts as occupied.
    fn set_head(&mut self, list: usize, key: u32) {
        if let Some(head) = self.heads.get_mut(list) {
            *head = key;
        }
        if let Some(word) = self.occupied.get_mut(list / SLOTS).and_then(|words| words.get_mut(list % SLOTS / 64)) {
            let bit = 1_u64 << (list % 64);
            *word = if key == NIL { *word & !bit } else { *word | bit };
        }
    }
}

impl<S: AsRef<[Node]> + AsMut<[Node]>> Wheel<S> {
    /// The number of keys; valid ones are below it.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.nodes.as_ref().len()).unwrap_or(NIL)
    }

    /// Arms `key` for `deadline`, in place of the deadline it may have had.
    ///
    /// The deadline is rounded up to a whole millisecond since the origin. One that is not after `now` is due at once.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the deadline is more than [`MAX_SPAN`] after `now`, [`Error::NoSuchKey`] if the storage
    /// has no such node.
    pub fn arm(&mut self, key: u32, now: Instant, deadline: Instant) -> Result<(), Error> {
        let asked = deadline.saturating_duration_since(now);
        if asked > MAX_SPAN {
            return Err(Error::OutOfRange { asked, max: MAX_SPAN });
        }
        if key >= self.capacity() {
            return Err(Error::NoSuchKey { key, capacity: self.capacity() });
        }
        self.unlink(key);
        if self.len == 0 {
            // Nobody need have moved an empty wheel on.
            self.current = self.current.max(tick_reached(now));
        }
        let tick = tick_at_or_after(deadline);
        // Rounding up must not delay what is due already.
        let tick = if deadline <= now { tick.min(tick_reached(now)) } else { tick };
        self.link(key, tick.max(self.current));
        Ok(())
    }

    /// Disarms `key`. False if it was not armed.
    pub fn cancel(&mut self, key: u32) -> bool {
        self.unlink(key).is_some()
    }

    /// The instant from which `key` is reported, a whole millisecond since the origin; `None` if it is not armed.
    #[must_use]
    pub fn deadline(&self, key: u32) -> Option<Instant> {
        self.armed(key).map(|node| instant_of(node.tick))
    }

    /// Disarms one key that is due at `now` and returns it; `None` if there is none.
    ///
    /// Keys come by deadline in whole milliseconds, then in the order in which they were armed. A key armed for an
    /// instant that has already been passed joins the end of the millisecond last reported, or, if nothing was armed
    /// before it, that of its arming. A driver calls this until it returns `None`, or leaves the rest for another turn; one
    /// whose wheel is empty may leave it out.
    pub fn expired(&mut self, now: Instant) -> Option<u32> {
        let target = tick_reached(now);
        if target < self.current {
            return None;
        }
        while let Some((list, start)) = self.upcoming() {
            if start > target {
                break;
            }
            self.current = start;
            if list < SLOTS {
                return self.unlink(self.head(list));
            }
            self.spread(list);
        }
        // Nothing starts before or at `target`, so no key's place changes with this step.
        self.current = target;
        None
    }

    /// Lets `f` replace the storage by a longer one that begins with the same nodes. What comes after them is made empty.
    ///
    /// Storage only grows. If `f` leaves a shorter one, every key is disarmed.
    pub fn grow(&mut self, f: impl FnOnce(&mut S)) {
        let before = self.nodes.as_ref().len();
        f(&mut self.nodes);
        let nodes = self.nodes.as_mut();
        if let Some(added) = nodes.get_mut(before..) {
            added.fill(Node::EMPTY);
        } else {
            nodes.fill(Node::EMPTY);
            self.heads = [NIL; LISTS];
            self.occupied = [[0; 4]; LEVELS];
            self.len = 0;
        }
    }

    /// Moves the keys of a list to where they lie now that `current` has changed, in order.
    fn spread(&mut self, list: usize) {
        let mut key = self.head(list);
        self.set_head(list, NIL);
        let Some(last) = self.armed(key).map(|node| node.prev) else { return };
        // A list is never longer than `len`: the bound holds even if the caller has spoilt the nodes.
        for _ in 0..self.len {
            let Some(&Node { tick, next, .. }) = self.armed(key) else { return };
            self.append(key, tick);
            if key == last {
                return;
            }
            key = next;
        }
    }

    /// Adds a key that is in no list.
    fn link(&mut self, key: u32, tick: u64) {
        self.append(key, tick);
        self.len = self.len.saturating_add(1);
    }

    /// Puts a key at the end of the list of its tick, whatever its links said before.
    fn append(&mut self, key: u32, tick: u64) {
        let list = self.place(tick);
        let first = self.head(list);
        if list == FAR {
            let window = tick >> 32;
            self.far_window = if first == NIL { window } else { self.far_window.min(window) };
        }
        let (prev, next) = match self.armed(first) {
            Some(node) => (node.prev, first),
            None => (key, key),
        };
        if let Some(node) = self.node_mut(key) {
            *node = Node { tick, prev, next };
        }
        if next == key {
            self.set_head(list, key);
        } else {
            self.join(prev, key);
            self.join(key, next);
        }
    }

    /// Takes a key out of its list; `None` if it is in none.
    fn unlink(&mut self, key: u32) -> Option<u32> {
        let &Node { tick, prev, next } = self.armed(key)?;
        let list = self.place(tick);
        if next == key {
            self.set_head(list, NIL);
        } else {
            self.join(prev, next);
            if self.head(list) == key {
                self.set_head(list, next);
            }
        }
        *self.node_mut(key)? = Node::EMPTY;
        self.len = self.len.saturating_sub(1);
        Some(key)
    }

    fn join(&mut self, left: u32, right: u32) {
        if let Some(node) = self.node_mut(left) {
            node.next = right;
        }
        if let Some(node) = self.node_mut(right) {
            node.prev = left;
        }
    }

    fn armed(&self, key: u32) -> Option<&Node> {
        let node = self.nodes.as_ref().get(usize::try_from(key).ok()?)?;
        (node.next != NIL).then_some(node)
    }

    fn node_mut(&mut self, key: u32) -> Option<&mut Node> {
        self.nodes.as_mut().get_mut(usize::try_from(key).ok()?)
    }
}

impl<S> fmt::Debug for Wheel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("current", &self.current)
            .field("len", &self.len)
            .field("next", &self.next())
            .finish_non_exhaustive()
    }
}

/// No key.
const NIL: u32 = u32::MAX;
const LEVELS: usize = 4;
/// Lists per level.
const SLOTS: usize = 256;
/// The index of the far list.
const FAR: usize = LEVELS * SLOTS;
const LISTS: usize = FAR + 1;
const MICROS_PER_TICK: u64 = 1000;
/// The tick in which [`Instant::MAX`] lies, rounded up like any deadline; it begins after the last nameable instant.
const LAST_TICK: u64 = u64::MAX.div_ceil(MICROS_PER_TICK);

/// The index of a level's list.
fn list(level: usize, slot: u8) -> usize {
    level.saturating_mul(SLOTS).saturating_add(usize::from(slot))
}

/// A deadline in ticks, rounded up.
fn tick_at_or_after(deadline: Instant) -> u64 {
    deadline.as_micros().div_ceil(MICROS_PER_TICK)
}

/// The last tick that has begun at `now`. At [`Instant::MAX`], after which nothing comes, all of them have.
fn tick_reached(now: Instant) -> u64 {
    if now == Instant::MAX { LAST_TICK } else { now.as_micros() / MICROS_PER_TICK }
}

fn instant_of(tick: u64) -> Instant {
    Instant::from_millis(tick)
}

/// The lowest set bit.
fn first_set(words: &[u64; 4]) -> Option<u8> {
    let (base, word) = (0_u8..=192).step_by(64).zip(words).find(|&(_, &word)| word != 0)?;
    base.checked_add(u8::try_from(word.trailing_zeros()).ok()?)
}

#[cfg(test)]
mod tests;
