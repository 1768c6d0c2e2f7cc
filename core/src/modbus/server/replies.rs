//! Reply bytes on their way out, in the order in which they may leave.
//!
//! ```text
//!   0      sent          ready                 end
//!   | gone | may leave now | held, hole, held … | free |
//! ```
//!
//! A deferred request leaves a *hole* at the place where its reply will stand; the holes are kept by the transactions.
//! What stands behind the first hole is held. When a hole is filled, everything behind it moves up; that is the one
//! copy that a reply out of order costs, and it never happens where nothing is deferred.

use crate::modbus::mbap::{HEADER_LEN, MAX_FRAME, header};
use crate::modbus::moves::{shift_down, shift_up};
use crate::modbus::service::ReplyPdu;

/// Where the parts of the queue begin and end, in a buffer that its owner passes in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replies {
    sent: usize,
    ready: usize,
    end: usize,
    /// Where the frame at the front ends, if some of it has left.
    front: usize,
}

impl Replies {
    pub(super) const fn new() -> Self {
        Self { sent: 0, ready: 0, end: 0, front: 0 }
    }

    /// Whether nothing waits, held bytes included.
    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.end
    }

    /// Whether bytes may leave.
    pub(super) const fn is_ready(&self) -> bool {
        self.sent < self.ready
    }

    /// Where the next reply, or hole, will stand.
    pub(super) const fn end(&self) -> usize {
        self.end
    }

    /// Where bytes that overtake held ones go.
    pub(super) const fn ready(&self) -> usize {
        self.ready
    }

    /// Whether `frames` more replies of the greatest length fit, besides those that may yet fill holes.
    pub(super) fn has_room(&self, capacity: usize, frames: usize) -> bool {
        let used = self.end.saturating_sub(self.sent);
        used.saturating_add(frames.saturating_mul(MAX_FRAME)) <= capacity
    }

    /// What may leave now; with `coalesce` off, only the frame at the front.
    pub(super) fn transmit<'b>(&self, buffer: &'b [u8], coalesce: bool) -> &'b [u8] {
        let end = if coalesce { self.ready } else { self.front_end(buffer) };
        buffer.get(self.sent..end).unwrap_or_default()
    }

    /// The first `len` of the bytes that may leave have left. Where that was all, [`Replies::compact`] it.
    pub(super) fn advance(&mut self, buffer: &[u8], len: usize) {
        let target = self.sent.saturating_add(len);
        // Where all has left, the next frame begins at a boundary.
        let mut front = if target == self.ready { target } else { self.front_end(buffer) };
        while front < target {
            self.sent = front;
            front = self.front_end(buffer);
        }
        self.sent = target;
        self.front = front;
    }

    /// Whether some of the frame at the front has left.
    pub(super) const fn is_mid_frame(&self) -> bool {
        self.front > self.sent
    }

    /// Room for a largest reply at the end: its header and its PDU. Moves the queue to the front of the buffer if that
    /// makes the room; says how far, for the holes.
    pub(super) fn reserve<'b>(
        &mut self,
        buffer: &'b mut [u8],
    ) -> Option<(usize, &'b mut [u8; HEADER_LEN], &'b mut ReplyPdu)> {
        let moved = if self.end.saturating_add(MAX_FRAME) > buffer.len() { self.compact(buffer) } else { 0 };
        let room = buffer.get_mut(self.end..)?;
        let (head, rest) = room.split_first_chunk_mut::<HEADER_LEN>()?;
        let (pdu, _) = rest.split_first_chunk_mut::<{ MAX_FRAME - HEADER_LEN }>()?;
        Some((moved, head, pdu))
    }

    /// The reserved room holds a frame of `len` bytes now. It may leave if nothing before it is missing.
    pub(super) fn commit(&mut self, len: usize, holes: bool) {
        self.end = self.end.saturating_add(len);
        if !holes {
            self.ready = self.end;
        }
    }

    /// Puts a whole frame at `at`, moving what is behind it up; false if there is no room. The owner moves its holes.
    pub(super) fn insert(&mut self, buffer: &mut [u8], at: usize, transaction: u16, unit: u8, pdu: &[u8]) -> bool {
        let len = HEADER_LEN.saturating_add(pdu.len());
        let Some(tail) = buffer.get_mut(at..self.end.saturating_add(len)) else { return false };
        shift_up(tail, len);
        let Some((head, rest)) = tail.split_first_chunk_mut::<HEADER_LEN>() else { return false };
        *head = header(transaction, unit, pdu.len());
        for (slot, byte) in rest.iter_mut().zip(pdu) {
            *slot = *byte;
        }
        self.end = self.end.saturating_add(len);
        true
    }

    /// Nothing before `at` is missing any more.
    pub(super) const fn release(&mut self, at: usize) {
        self.ready = at;
    }

    /// Moves the queue to the front of the buffer, which an empty queue does not need; says how far, for the holes.
    pub(super) fn compact(&mut self, buffer: &mut [u8]) -> usize {
        let by = self.sent;
        if by > 0 {
            shift_down(buffer.get_mut(..self.end).unwrap_or_default(), by);
            self.sent = 0;
            self.ready = self.ready.saturating_sub(by);
            self.end = self.end.saturating_sub(by);
            self.front = self.front.saturating_sub(by);
        }
        by
    }

    /// Where the frame at the front ends.
    fn front_end(&self, buffer: &[u8]) -> usize {
        if self.front > self.sent {
            return self.front;
        }
        let length = buffer.get(self.sent..self.ready).and_then(|bytes| bytes.get(4..6));
        match length {
            Some(&[high, low]) => {
                self.sent.saturating_add(6).saturating_add(usize::from(u16::from_be_bytes([high, low])))
            }
            _ => self.ready,
        }
    }
}
