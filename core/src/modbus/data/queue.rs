//! FIFO queues of registers (AP 6.18). The application pushes and pops; clients only look.

use super::{BuildError, Storage};

/// A queue at a pointer address of its own, apart from the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Queue {
    /// The address that Read FIFO Queue names.
    pub pointer: u16,
    /// Most entries it can hold. A client can read a queue of at most 31.
    pub capacity: u16,
    offset: usize,
    head: u16,
    len: u16,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub const fn new(pointer: u16, capacity: u16) -> Self {
        Self { pointer, capacity, offset: 0, head: 0, len: 0 }
    }

    /// Where the entry `at` places behind the oldest lies in the slice of all queues.
    fn place(self, at: u16) -> usize {
        let at = usize::from(self.head).saturating_add(usize::from(at));
        let capacity = usize::from(self.capacity);
        let inside = if at >= capacity { at.saturating_sub(capacity) } else { at };
        self.offset.saturating_add(inside)
    }
}

/// The queues of a device, in ascending order of pointer.
pub struct Queues<S: Storage> {
    queues: S::Of<Queue>,
    values: S::Of<u16>,
}

impl<S: Storage> core::fmt::Debug for Queues<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.queues.as_ref()).finish()
    }
}

/// A queue did not take an entry: there is no such queue, or it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PushError {
    /// No queue at this pointer.
    Absent,
    /// The queue is full; nothing was dropped.
    Full,
}

impl core::fmt::Display for PushError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Absent => "no queue at this pointer",
            Self::Full => "queue is full",
        })
    }
}

impl core::error::Error for PushError {}

impl<S: Storage> Queues<S> {
    /// Queues over the values of all of them.
    ///
    /// # Errors
    /// When pointers are not ascending or the values are too few.
    pub fn new(mut queues: S::Of<Queue>, values: S::Of<u16>) -> Result<Self, BuildError> {
        let mut needed = 0usize;
        let mut last = None;
        for queue in queues.as_mut() {
            if last.is_some_and(|last| queue.pointer <= last) {
                return Err(BuildError::Overlap { start: queue.pointer });
            }
            last = Some(queue.pointer);
            *queue = Queue { offset: needed, ..Queue::new(queue.pointer, queue.capacity) };
            needed = needed.saturating_add(usize::from(queue.capacity));
        }
        let got = values.as_ref().len();
        if got < needed {
            return Err(BuildError::StorageShort { needed, got });
        }
        Ok(Self { queues, values })
    }

    /// Appends a register.
    ///
    /// # Errors
    /// When there is no such queue or it is full.
    pub fn push(&mut self, pointer: u16, value: u16) -> Result<(), PushError> {
        let values = self.values.as_mut();
        let queue = find_mut(self.queues.as_mut(), pointer).ok_or(PushError::Absent)?;
        if queue.len >= queue.capacity {
            return Err(PushError::Full);
        }
        let slot = values.get_mut(queue.place(queue.len)).ok_or(PushError::Full)?;
        *slot = value;
        queue.len = queue.len.saturating_add(1);
        Ok(())
    }

    /// Takes the oldest register away.
    pub fn pop(&mut self, pointer: u16) -> Option<u16> {
        let values = self.values.as_ref();
        let queue = find_mut(self.queues.as_mut(), pointer)?;
        queue.len = queue.len.checked_sub(1)?;
        let value = values.get(queue.place(0)).copied();
        queue.head = queue.head.saturating_add(1);
        if queue.head >= queue.capacity {
            queue.head = 0;
        }
        value
    }

    /// Empties a queue; false if there is none.
    pub fn clear(&mut self, pointer: u16) -> bool {
        find_mut(self.queues.as_mut(), pointer).map(|queue| queue.len = 0).is_some()
    }

    /// How many registers a queue holds, if there is one.
    #[must_use]
    pub fn len(&self, pointer: u16) -> Option<usize> {
        self.find(pointer).map(|queue| usize::from(queue.len))
    }

    /// Whether there are no queues at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.as_ref().is_empty()
    }

    /// Fills `out` with the registers of a queue, oldest first.
    pub fn read(&self, pointer: u16, out: &mut [u8]) {
        let Some(queue) = self.find(pointer) else { return };
        for (at, pair) in (0..queue.len).zip(out.as_chunks_mut::<2>().0) {
            if let Some(value) = self.values.as_ref().get(queue.place(at)) {
                *pair = value.to_be_bytes();
            }
        }
    }

    fn find(&self, pointer: u16) -> Option<Queue> {
        let queues = self.queues.as_ref();
        queues.get(queues.binary_search_by_key(&pointer, |queue| queue.pointer).ok()?).copied()
    }
}

fn find_mut(queues: &mut [Queue], pointer: u16) -> Option<&mut Queue> {
    let at = queues.binary_search_by_key(&pointer, |queue| queue.pointer).ok()?;
    queues.get_mut(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::data::Static;

    #[test]
    fn queues_keep_order_across_their_end_and_refuse_when_full() {
        let list = std::vec![Queue::new(5, 3), Queue::new(9, 2)].leak();
        let mut queues: Queues<Static> = Queues::new(list, std::vec![0; 5].leak()).unwrap();
        for round in 0..7 {
            for value in 0..3 {
                assert_eq!(queues.push(5, round * 10 + value), Ok(()));
            }
            assert_eq!(queues.push(5, 99), Err(PushError::Full));
            assert_eq!(queues.push(6, 99), Err(PushError::Absent));
            assert_eq!(queues.push(9, round), Ok(()));
            let mut out = [0; 6];
            queues.read(5, &mut out);
            let expected: std::vec::Vec<u8> = (0..3).flat_map(|at| (round * 10 + at).to_be_bytes()).collect();
            assert_eq!(out[..], expected);
            assert_eq!(
                (queues.pop(5), queues.pop(5), queues.pop(9)),
                (Some(round * 10), Some(round * 10 + 1), Some(round))
            );
            assert_eq!(queues.len(5), Some(1));
            if round % 2 == 0 {
                assert_eq!((queues.pop(5), queues.pop(5)), (Some(round * 10 + 2), None));
            } else {
                assert!(queues.clear(5));
            }
        }
    }
}
