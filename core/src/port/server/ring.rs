//! A byte queue over a region of the port's memory. The ring knows where its bytes lie, not the bytes themselves.

/// Where the bytes of one queue lie in its region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ring {
    /// Below the length of the region. Of an empty ring 0, so that a queue that is used little touches little memory.
    start: u32,
    len: u32,
}

impl Ring {
    pub(super) const EMPTY: Self = Self { start: 0, len: 0 };

    pub(super) const fn len(self) -> u32 {
        self.len
    }

    pub(super) const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Bytes that fit behind those that are queued.
    pub(super) const fn room(self, capacity: u32) -> u32 {
        capacity.saturating_sub(self.len)
    }

    /// The queued bytes, the oldest first.
    pub(super) fn slices(self, region: &[u8]) -> [&[u8]; 2] {
        self.front(region, self.len)
    }

    /// The oldest of them, at most `count`.
    pub(super) fn front(self, region: &[u8], count: u32) -> [&[u8]; 2] {
        let (start, len) = (index(self.start), index(self.len.min(count)));
        let (before, after) = region.split_at_checked(start).unwrap_or((region, &[]));
        match after.split_at_checked(len) {
            Some((all, _)) => [all, &[]],
            None => [after, before.get(..len.saturating_sub(after.len())).unwrap_or(&[])],
        }
    }

    /// Appends as many of the bytes as fit; how many those are.
    pub(super) fn push(&mut self, region: &mut [u8], bytes: &[u8]) -> u32 {
        let capacity = u32::try_from(region.len()).unwrap_or(u32::MAX);
        let count = self.room(capacity).min(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let at = wrap(self.start.saturating_add(self.len), capacity);
        let (before, after) = region.split_at_mut_checked(index(at)).unwrap_or_default();
        let bytes = bytes.get(..index(count)).unwrap_or_default();
        let (first, second) = bytes.split_at(bytes.len().min(after.len()));
        for (place, piece) in [(after, first), (before, second)] {
            if let Some(place) = place.get_mut(..piece.len()) {
                place.copy_from_slice(piece);
            }
        }
        self.len = self.len.saturating_add(count);
        count
    }

    /// Takes bytes off the front; how many, at most those that are queued.
    pub(super) fn consume(&mut self, capacity: u32, count: u32) -> u32 {
        let count = count.min(self.len);
        self.len = self.len.saturating_sub(count);
        self.start = if self.len == 0 { 0 } else { wrap(self.start.saturating_add(count), capacity) };
        count
    }

    /// Takes `count` bytes out from behind the first `kept`, which move up.
    pub(super) fn remove(&mut self, region: &mut [u8], kept: u32, count: u32) {
        let capacity = u32::try_from(region.len()).unwrap_or(u32::MAX);
        for offset in (0..kept).rev() {
            let from = wrap(self.start.saturating_add(offset), capacity);
            let to = wrap(self.start.saturating_add(offset).saturating_add(count), capacity);
            let byte = region.get(index(from)).copied().unwrap_or_default();
            if let Some(place) = region.get_mut(index(to)) {
                *place = byte;
            }
        }
        self.consume(capacity, count);
    }
}

/// A place below twice the capacity, wrapped.
const fn wrap(place: u32, capacity: u32) -> u32 {
    if place >= capacity { place.saturating_sub(capacity) } else { place }
}

/// Lossless wherever a queue of that size can exist.
fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SplitMix64;
    use std::vec::Vec;

    #[test]
    fn it_holds_what_a_plain_list_holds_wherever_it_begins() {
        let mut rng = SplitMix64::new(7);
        for capacity in 1..40_u32 {
            let mut region = std::vec![0; capacity as usize];
            let (mut ring, mut list, mut next) = (Ring::EMPTY, Vec::new(), 0_u8);
            for _ in 0..400 {
                match rng.below(4) {
                    0 | 1 => {
                        let offered: Vec<u8> = (0..rng.below(20)).map(|at| next.wrapping_add(at as u8)).collect();
                        let room = ring.room(capacity) as usize;
                        let taken = ring.push(&mut region, &offered) as usize;
                        assert_eq!(taken, offered.len().min(room));
                        list.extend_from_slice(&offered[..taken]);
                        next = next.wrapping_add(taken as u8);
                    }
                    2 => {
                        let count = rng.below(20) as u32;
                        let taken = ring.consume(capacity, count) as usize;
                        assert_eq!(taken, list.len().min(count as usize));
                        list.drain(..taken);
                    }
                    _ => {
                        let kept = rng.index(list.len() + 1);
                        let count = rng.index(list.len() - kept + 1);
                        ring.remove(&mut region, kept as u32, count as u32);
                        list.drain(kept..kept + count);
                    }
                }
                assert_eq!(ring.slices(&region).concat(), list);
                let count = rng.index(capacity as usize + 2);
                assert_eq!(ring.front(&region, count as u32).concat(), list[..count.min(list.len())]);
                assert_eq!((ring.len() as usize, ring.is_empty()), (list.len(), list.is_empty()));
            }
        }
    }
}
