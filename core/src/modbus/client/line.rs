//! Request frames on their way out, in the order in which they were asked.
//!
//! ```text
//!   0      sent              end
//!   | gone | may leave now … | free |
//! ```
//!
//! Where a frame stands is kept as its distance from the first byte that ever left, which stays true while the line moves
//! to the front of its buffer.

use crate::modbus::mbap::{HEADER_LEN, header};
use crate::modbus::moves::shift_down;

/// Where the parts of the line begin and end, in a buffer that its owner passes in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    /// How many bytes had left before the one at the front of the buffer.
    gone: u64,
    sent: usize,
    end: usize,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self { gone: 0, sent: 0, end: 0 }
    }

    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.end
    }

    /// How many bytes have left.
    pub(super) const fn left(&self) -> u64 {
        self.gone.saturating_add(self.sent as u64)
    }

    /// Whether `len` more bytes fit.
    pub(super) const fn has_room(&self, capacity: usize, len: usize) -> bool {
        self.end.saturating_sub(self.sent).saturating_add(len) <= capacity
    }

    /// What may leave now.
    pub(super) fn shown<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        buffer.get(self.sent..self.end).unwrap_or_default()
    }

    /// Puts a frame at the end, and says where it begins; `None` if there is no room.
    pub(super) fn push(&mut self, buffer: &mut [u8], transaction: u16, unit: u8, pdu: &[u8]) -> Option<u64> {
        let len = HEADER_LEN.saturating_add(pdu.len());
        if !self.has_room(buffer.len(), len) {
            return None;
        }
        if self.end.saturating_add(len) > buffer.len() {
            shift_down(buffer.get_mut(..self.end)?, self.sent);
            self.forget_sent();
        }
        let end = self.end.saturating_add(len);
        let (head, body) = buffer.get_mut(self.end..end)?.split_first_chunk_mut::<HEADER_LEN>()?;
        *head = header(transaction, unit, pdu.len());
        for (slot, byte) in body.iter_mut().zip(pdu) {
            *slot = *byte;
        }
        let begin = self.gone.saturating_add(self.end as u64);
        self.end = end;
        Some(begin)
    }

    /// The first `len` of the bytes that may leave have left.
    pub(super) const fn advance(&mut self, len: usize) {
        self.sent = self.sent.saturating_add(len);
        if self.is_empty() {
            self.forget_sent();
        }
    }

    /// Takes out a frame of which nothing has left. The frames behind it begin `len` bytes earlier from now on.
    pub(super) fn withdraw(&mut self, buffer: &mut [u8], begin: u64, len: usize) {
        let at = usize::try_from(begin.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        let Some(tail) = buffer.get_mut(at..self.end) else { return };
        shift_down(tail, len);
        self.end = self.end.saturating_sub(len);
        if self.is_empty() {
            self.forget_sent();
        }
    }

    /// The line stands at the front of its buffer now.
    const fn forget_sent(&mut self) {
        self.gone = self.left();
        self.end = self.end.saturating_sub(self.sent);
        self.sent = 0;
    }
}
