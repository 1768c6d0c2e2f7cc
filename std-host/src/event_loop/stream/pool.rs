//! Blocks of memory for bytes that wait to be sent.
//!
//! A [`Queue`] is a chain of blocks of one [`Pool`]; an empty queue holds none, so an idle socket costs no buffer. A
//! queue must be emptied by [`Pool::clear`] or [`Pool::consume`] before it is dropped, or its blocks stay taken.

use std::io::IoSlice;

/// Bytes in a block.
pub(in crate::event_loop) const BLOCK: usize = 16 * 1024;
/// Free blocks kept for reuse, 4 MiB; what is freed beyond that goes back to the allocator.
const KEEP: usize = 256;
/// Blocks offered to one vectored write.
pub(in crate::event_loop) const GATHER: usize = 16;
const NIL: u32 = u32::MAX;

#[derive(Debug)]
pub(in crate::event_loop) struct Pool {
    blocks: Vec<Block>,
    free: u32,
    /// Places without memory of their own, below the free ones in use order.
    hollow: u32,
    kept: usize,
    queued: u64,
}

#[derive(Debug)]
struct Block {
    bytes: Box<[u8]>,
    next: u32,
}

/// Bytes in the order in which they will leave.
#[derive(Debug)]
pub(in crate::event_loop) struct Queue {
    head: u32,
    tail: u32,
    /// Bytes of the first block that have left already.
    start: usize,
    /// Bytes of the last block that are filled.
    end: usize,
    len: usize,
}

impl Queue {
    pub(in crate::event_loop) const fn new() -> Self {
        Self { head: NIL, tail: NIL, start: 0, end: 0, len: 0 }
    }

    pub(in crate::event_loop) const fn len(&self) -> usize {
        self.len
    }

    pub(in crate::event_loop) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Pool {
    pub(in crate::event_loop) const fn new() -> Self {
        Self { blocks: Vec::new(), free: NIL, hollow: NIL, kept: 0, queued: 0 }
    }

    /// Bytes in all queues of this pool.
    pub(in crate::event_loop) const fn queued(&self) -> u64 {
        self.queued
    }

    /// Blocks that queues hold at present.
    #[cfg(test)]
    fn taken(&self) -> usize {
        self.blocks.iter().filter(|block| !block.bytes.is_empty()).count() - self.kept
    }

    pub(super) fn append(&mut self, queue: &mut Queue, mut bytes: &[u8]) {
        queue.len += bytes.len();
        self.queued += bytes.len() as u64;
        while !bytes.is_empty() {
            if queue.tail == NIL || queue.end == BLOCK {
                let block = self.take();
                if queue.tail == NIL {
                    (queue.head, queue.start) = (block, 0);
                } else {
                    self.blocks[queue.tail as usize].next = block;
                }
                (queue.tail, queue.end) = (block, 0);
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - queue.end));
            self.blocks[queue.tail as usize].bytes[queue.end..queue.end + now.len()].copy_from_slice(now);
            queue.end += now.len();
            bytes = later;
        }
    }

    /// The first bytes of the queue, in as many of `pieces` as it takes; returns how many, and their length together.
    pub(super) fn front<'a>(&'a self, queue: &Queue, pieces: &mut [IoSlice<'a>]) -> (usize, usize) {
        let (mut count, mut total, mut at, mut start) = (0, 0, queue.head, queue.start);
        while at != NIL && count < pieces.len() {
            let block = &self.blocks[at as usize];
            let end = if at == queue.tail { queue.end } else { BLOCK };
            pieces[count] = IoSlice::new(&block.bytes[start..end]);
            (count, total) = (count + 1, total + end - start);
            (at, start) = (block.next, 0);
        }
        (count, total)
    }

    /// Removes the first `count` bytes, which must be there.
    pub(super) fn consume(&mut self, queue: &mut Queue, mut count: usize) {
        debug_assert!(count <= queue.len, "more was sent than was queued");
        queue.len -= count;
        self.queued -= count as u64;
        while queue.head != NIL {
            let end = if queue.head == queue.tail { queue.end } else { BLOCK };
            let here = end - queue.start;
            if count < here {
                queue.start += count;
                return;
            }
            count -= here;
            let next = self.blocks[queue.head as usize].next;
            self.give_back(queue.head);
            (queue.head, queue.start) = (next, 0);
            if next == NIL {
                *queue = Queue::new();
            }
        }
    }

    /// Drops all that is queued and returns how much it was.
    pub(super) fn clear(&mut self, queue: &mut Queue) -> usize {
        let dropped = queue.len;
        self.consume(queue, dropped);
        dropped
    }

    fn take(&mut self) -> u32 {
        if self.free != NIL {
            let index = self.free;
            self.free = std::mem::replace(&mut self.blocks[index as usize].next, NIL);
            self.kept -= 1;
            return index;
        }
        let bytes = vec![0; BLOCK].into_boxed_slice();
        if self.hollow != NIL {
            let index = self.hollow;
            self.hollow = self.blocks[index as usize].next;
            self.blocks[index as usize] = Block { bytes, next: NIL };
            return index;
        }
        let index = u32::try_from(self.blocks.len()).expect("64 TiB of queued bytes do not fit into memory");
        self.blocks.push(Block { bytes, next: NIL });
        index
    }

    fn give_back(&mut self, index: u32) {
        let block = &mut self.blocks[index as usize];
        if self.kept < KEEP {
            block.next = std::mem::replace(&mut self.free, index);
            self.kept += 1;
        } else {
            *block = Block { bytes: Box::default(), next: std::mem::replace(&mut self.hollow, index) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(pool: &mut Pool, queue: &mut Queue, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !queue.is_empty() {
            let mut pieces = [IoSlice::new(&[]); GATHER];
            let (count, total) = pool.front(queue, &mut pieces);
            let joined: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.to_vec()).collect();
            assert_eq!(joined.len(), total);
            let taken = step.min(total);
            out.extend_from_slice(&joined[..taken]);
            pool.consume(queue, taken);
        }
        out
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let bytes: Vec<u8> = (0_u32..100_000).flat_map(u32::to_le_bytes).collect();
        for (piece, step) in
            [(1000, 777), (BLOCK, BLOCK), (BLOCK + 1, 5000), (bytes.len(), usize::MAX), (40_000, 9_973)]
        {
            let (mut pool, mut queue) = (Pool::new(), Queue::new());
            for part in bytes.chunks(piece) {
                pool.append(&mut queue, part);
            }
            assert_eq!((queue.len(), pool.queued()), (bytes.len(), bytes.len() as u64));
            assert!(drain(&mut pool, &mut queue, step) == bytes, "pieces of {piece}, steps of {step}");
            assert_eq!((pool.taken(), pool.queued()), (0, 0));
        }
    }

    #[test]
    fn blocks_are_shared_and_given_back() {
        let (mut pool, mut a, mut b) = (Pool::new(), Queue::new(), Queue::new());
        for _ in 0..3 {
            pool.append(&mut a, &[1; 2 * BLOCK]);
            pool.append(&mut b, &[2; BLOCK / 2]);
            assert_eq!(pool.taken(), 3);
            assert_eq!(drain(&mut pool, &mut b, 100), [2; BLOCK / 2]);
            assert_eq!(pool.clear(&mut a), 2 * BLOCK);
            assert_eq!((pool.taken(), pool.blocks.len()), (0, 3));
        }
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_of_free_blocks() {
        let (mut pool, mut queue) = (Pool::new(), Queue::new());
        for _ in 0..2 {
            pool.append(&mut queue, &vec![7; (KEEP + 9) * BLOCK]);
            assert_eq!(pool.taken(), KEEP + 9);
            pool.clear(&mut queue);
            assert_eq!((pool.taken(), pool.kept, pool.blocks.len()), (0, KEEP, KEEP + 9));
            assert_eq!(pool.blocks.iter().filter(|block| !block.bytes.is_empty()).count(), KEEP);
        }
    }
}
