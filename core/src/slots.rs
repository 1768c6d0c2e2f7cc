//! A table of values that are named by index and generation.
//!
//! A [`SlotId`] names one stay of one value: the index says where it lies, the generation tells it from those that lay
//! there before. An id whose value is gone finds nothing, never somebody else's value.
//!
//! A slot is in one of three states:
//!
//! | state | leaves to |
//! | --- | --- |
//! | free | live, by [`SlotTable::insert`], the lowest index first |
//! | live | retired, by [`SlotTable::remove`], which changes the generation |
//! | retired | free, by [`SlotTable::reclaim`] |
//!
//! A driver calls `reclaim` after the batch of events in which slots were freed. Until then no index is used again, so
//! not even a name that carries the index alone can reach a newcomer.
//!
//! The table also keeps the live slots in the order of their last activity, for owners that make room by evicting. It
//! does not decide whom to evict, and it has no clock.

use core::fmt;

/// The name of one stay of a value in a [`SlotTable`].
///
/// The generation of a slot changes with every removal and wraps after 2^32 of them; an id kept for that long may match
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlotId {
    index: u32,
    generation: u32,
}

impl SlotId {
    /// Where the value lies.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many values lay there before, modulo 2^32, on top of what the slot started at.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Both numbers in one: the generation in the upper 32 bits, the index in the lower.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The id that [`SlotId::to_bits`] gave `bits` for.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "each half is what is wanted")]
        let (index, generation) = (bits as u32, (bits >> 32) as u32);
        Self { index, generation }
    }
}

/// Index and generation with a point between them, as in `3.7`.
impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A value that found no free slot. Retired slots are not free.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<T>(
    /// The value, handed back.
    pub T,
);

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no free slot")
    }
}

impl<T> core::error::Error for Full<T> {}

/// One slot of a [`SlotTable`]. Storage is made of [`Entry::EMPTY`], or of [`Entry::starting_at`].
#[derive(Clone, Debug)]
pub struct Entry<T> {
    content: Content<T>,
    generation: u32,
    /// The live slot that was active next before this one, or [`NIL`].
    older: u32,
    /// The live slot that was active next after this one; of a retired slot, the one retired before it; or [`NIL`].
    newer: u32,
    /// One word of the marks that tell which slots are free after use. It has nothing to do with the slot that it happens
    /// to lie in.
    marks: u32,
}

#[derive(Clone, Debug)]
enum Content<T> {
    Free,
    Live(T),
    Retired,
}

impl<T> Entry<T> {
    /// A slot that was never used.
    pub const EMPTY: Self = Self::starting_at(0);

    /// A slot that was never used and whose first value has this generation. Tables whose ids must not match each
    /// other's start far apart.
    #[must_use]
    pub const fn starting_at(generation: u32) -> Self {
        Self { content: Content::Free, generation, older: NIL, newer: NIL, marks: 0 }
    }

    fn value(&self) -> Option<&T> {
        match &self.content {
            Content::Live(value) => Some(value),
            Content::Free | Content::Retired => None,
        }
    }

    fn value_mut(&mut self) -> Option<&mut T> {
        match &mut self.content {
            Content::Live(value) => Some(value),
            Content::Free | Content::Retired => None,
        }
    }
}

impl<T> Default for Entry<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Values named by [`SlotId`]; see the [module](self). Const-constructible, so that it fits into a `static`.
///
/// Costs: [`insert`](Self::insert) looks at up to three words for every factor of 32 in the number of slots, so at 12 for
/// a million; [`reclaim`](Self::reclaim) at no more for each retired slot. Iterating in index order passes every slot. All
/// else is O(1).
///
/// Slots that are free after use are marked in words of 32 bits: one word on level 0 for 32 slots, and on each level
/// above for 32 words, saying which of them are not empty. The first word of a level is entered from the top, so it says
/// nothing of the first word below.
pub struct SlotTable<T, S> {
    entries: S,
    /// Slots from here on were never used: they are free and not marked.
    fresh: u32,
    /// The number of marked slots.
    free: u32,
    len: u32,
    /// The slot retired last; each names the one before.
    retired_last: u32,
    retired: u32,
    oldest: u32,
    newest: u32,
    value: core::marker::PhantomData<T>,
}

impl<T, S> SlotTable<T, S> {
    /// A table over `storage`, which holds one unused [`Entry`] per slot. Every slot is free.
    #[must_use]
    pub const fn new(storage: S) -> Self {
        Self {
            entries: storage,
            fresh: 0,
            free: 0,
            len: 0,
            retired_last: NIL,
            retired: 0,
            oldest: NIL,
            newest: NIL,
            value: core::marker::PhantomData,
        }
    }

    /// The number of live slots.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no slot is live.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of slots that were freed since the last [`SlotTable::reclaim`].
    #[must_use]
    pub const fn retired(&self) -> u32 {
        self.retired
    }
}

impl<T, S: AsRef<[Entry<T>]> + AsMut<[Entry<T>]>> SlotTable<T, S> {
    /// The number of slots, in whatever state.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.entries.as_ref().len()).unwrap_or(NIL)
    }

    /// Puts `value` into the free slot of the lowest index and makes it the most recently active one.
    ///
    /// # Errors
    /// [`Full`] with the value if no slot is free.
    pub fn insert(&mut self, value: T) -> Result<SlotId, Full<T>> {
        self.insert_from(0, value)
    }

    /// The same, in the lowest free slot from `start` on, or in the lowest of all if there is none. A start behind the first
    /// slot that was never used counts as that one.
    ///
    /// # Errors
    /// The value comes back if no slot is free.
    pub fn insert_from(&mut self, start: u32, value: T) -> Result<SlotId, Full<T>> {
        // What is marked was used before, so it lies below `fresh`.
        let marked = |start| if self.free > 0 { self.free_from(start) } else { None };
        let fresh = || (self.fresh < self.capacity()).then_some(self.fresh);
        let index = marked(start).or_else(fresh).or_else(|| marked(0)).unwrap_or(self.fresh);
        let Some(entry) = self.entry_mut(index) else { return Err(Full(value)) };
        entry.content = Content::Live(value);
        let id = SlotId { index, generation: entry.generation };
        if index == self.fresh {
            self.fresh = self.fresh.saturating_add(1);
        } else {
            self.unmark(index);
        }
        self.len = self.len.saturating_add(1);
        self.append(index);
        Ok(id)
    }

    /// Takes the value out and retires its slot; `None` if the id is stale.
    pub fn remove(&mut self, id: SlotId) -> Option<T> {
        if !self.contains(id) {
            return None;
        }
        self.detach(id.index);
        let before = self.retired_last;
        let entry = self.entry_mut(id.index)?;
        let content = core::mem::replace(&mut entry.content, Content::Retired);
        entry.generation = entry.generation.wrapping_add(1);
        entry.newer = before;
        self.retired_last = id.index;
        self.retired = self.retired.saturating_add(1);
        self.len = self.len.saturating_sub(1);
        match content {
            Content::Live(value) => Some(value),
            Content::Free | Content::Retired => None,
        }
    }

    /// Frees all retired slots.
    pub fn reclaim(&mut self) {
        for _ in 0..self.retired {
            let index = self.retired_last;
            let Some(entry) = self.entry_mut(index) else { break };
            entry.content = Content::Free;
            self.retired_last = entry.newer;
            self.mark_free(index);
        }
        self.retired = 0;
        self.retired_last = NIL;
    }

    /// The value; `None` if the id is stale.
    #[must_use]
    pub fn get(&self, id: SlotId) -> Option<&T> {
        self.entry(id.index).filter(|entry| entry.generation == id.generation)?.value()
    }

    /// The value; `None` if the id is stale.
    #[must_use]
    pub fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        self.entry_mut(id.index).filter(|entry| entry.generation == id.generation)?.value_mut()
    }

    /// Whether the id names a live slot.
    #[must_use]
    pub fn contains(&self, id: SlotId) -> bool {
        self.get(id).is_some()
    }

    /// The id of the live slot at `index`; `None` if it is not live.
    #[must_use]
    pub fn id_at(&self, index: u32) -> Option<SlotId> {
        let entry = self.entry(index)?;
        entry.value().map(|_| SlotId { index, generation: entry.generation })
    }

    /// The id and the value of the live slot at `index`; `None` if it is not live.
    #[must_use]
    pub fn at_mut(&mut self, index: u32) -> Option<(SlotId, &mut T)> {
        let entry = self.entry_mut(index)?;
        let generation = entry.generation;
        entry.value_mut().map(|value| (SlotId { index, generation }, value))
    }

    /// Makes the slot the most recently active one. False if the id is stale.
    pub fn touch(&mut self, id: SlotId) -> bool {
        if !self.contains(id) {
            return false;
        }
        if self.newest != id.index {
            self.detach(id.index);
            self.append(id.index);
        }
        true
    }

    /// The live slot that was inserted or touched the longest ago.
    #[must_use]
    pub fn least_recent(&self) -> Option<SlotId> {
        self.id_at(self.oldest)
    }

    /// The live slots, the least recently inserted or touched first.
    pub fn by_activity(&self) -> impl Iterator<Item = (SlotId, &T)> {
        let mut index = self.oldest;
        (0..self.len).map_while(move |_| {
            let entry = self.entry(index)?;
            let id = SlotId { index, generation: entry.generation };
            index = entry.newer;
            Some((id, entry.value()?))
        })
    }

    /// The live slots by index.
    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &T)> {
        (0..NIL).zip(self.entries.as_ref()).filter_map(|(index, entry)| {
            let id = SlotId { index, generation: entry.generation };
            entry.value().map(|value| (id, value))
        })
    }

    /// The live slots by index, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SlotId, &mut T)> {
        (0..NIL).zip(self.entries.as_mut()).filter_map(|(index, entry)| {
            let id = SlotId { index, generation: entry.generation };
            entry.value_mut().map(|value| (id, value))
        })
    }

    /// Lets `f` replace the storage by a longer one that begins with the same entries and goes on with unused ones.
    ///
    /// Storage only grows. If `f` leaves a shorter one, the values that are left are dropped as well, and ids of slots
    /// that are cut off may match again should the table ever be as long as before.
    pub fn grow(&mut self, f: impl FnOnce(&mut S)) {
        let before = self.entries.as_ref().len();
        f(&mut self.entries);
        let entries = self.entries.as_mut();
        if entries.len() >= before {
            return;
        }
        for entry in entries {
            let generation = entry.generation.wrapping_add(1);
            *entry = Entry { generation, ..Entry::EMPTY };
        }
        (self.fresh, self.free, self.len, self.retired) = (0, 0, 0, 0);
        (self.retired_last, self.oldest, self.newest) = (NIL, NIL, NIL);
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        self.entries.as_ref().get(usize::try_from(index).ok()?)
    }

    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        self.entries.as_mut().get_mut(usize::try_from(index).ok()?)
    }

    /// Puts a slot that is in no order at the recent end.
    fn append(&mut self, index: u32) {
        self.join(self.newest, index);
        self.join(index, NIL);
    }

    /// Takes a live slot out of the order of activity.
    fn detach(&mut self, index: u32) {
        if let Some(&Entry { older, newer, .. }) = self.entry(index) {
            self.join(older, newer);
        }
    }

    /// Makes two slots neighbours in the order of activity; [`NIL`] stands for either end.
    fn join(&mut self, older: u32, newer: u32) {
        match self.entry_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entry_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    /// Marks a slot as free after use.
    fn mark_free(&mut self, index: u32) {
        self.free = self.free.saturating_add(1);
        let mut bit = index;
        for level in 0..LEVELS {
            let (word, mask) = (bit / 32, 1 << (bit % 32));
            let before = self.word(level, word);
            self.set_word(level, word, before | mask);
            if before != 0 || word == 0 {
                return;
            }
            bit = word;
        }
    }

    /// The lowest marked slot from `start` on.
    fn free_from(&self, start: u32) -> Option<u32> {
        let mut bit = start;
        for level in 0..LEVELS {
            let word = bit / 32;
            let marks = self.word(level, word) & u32::MAX << (bit % 32);
            if marks != 0 {
                let found = word << 5 | marks.trailing_zeros();
                return Some(
                    (0..level).rev().fold(found, |word, level| word << 5 | self.word(level, word).trailing_zeros()),
                );
            }
            bit = word.saturating_add(1);
        }
        None
    }

    /// Takes the mark of a slot away.
    fn unmark(&mut self, index: u32) {
        self.free = self.free.saturating_sub(1);
        let mut bit = index;
        for level in 0..LEVELS {
            let word = bit / 32;
            let left = self.word(level, word) & !(1 << (bit % 32));
            self.set_word(level, word, left);
            if left != 0 || word == 0 {
                return;
            }
            bit = word;
        }
    }

    fn word(&self, level: u32, word: u32) -> u32 {
        self.entry(place(level, word)).map_or(0, |entry| entry.marks)
    }

    fn set_word(&mut self, level: u32, word: u32, marks: u32) {
        if let Some(entry) = self.entry_mut(place(level, word)) {
            entry.marks = marks;
        }
    }
}

impl<T, S> fmt::Debug for SlotTable<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotTable").field("len", &self.len).field("retired", &self.retired).finish_non_exhaustive()
    }
}

/// No slot.
const NIL: u32 = u32::MAX;
/// Levels of marks: 32^7 is more than there are slots.
const LEVELS: u32 = 7;

/// The slot in whose entry a word of marks lies: another one for each. A level is used from the slot 32^level on, so
/// no word in use lies behind the last slot.
const fn place(level: u32, word: u32) -> u32 {
    word.saturating_mul(8).saturating_add(level)
}

#[cfg(test)]
mod tests;
