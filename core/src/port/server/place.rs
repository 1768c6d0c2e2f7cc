//! One slot with all that belongs to it, opened up to be worked on.

use super::client::{Class, Client, State};
use super::storage::Seat;
use crate::port::framing::Terminator;
use crate::slots::SlotId;

/// A client, its seat and its queues. What an input does to one client is done here: the bytes in `bytes`, messages in
/// `written`, the end in `ending`. What a socket can do is in `bytes` too, and what the driver must do in `poll`; both are
/// matters of the client alone.
pub(super) struct Place<'a> {
    pub(super) id: SlotId,
    pub(super) client: &'a mut Client,
    pub(super) seat: &'a mut Seat,
    /// The memory of its receive queue.
    pub(super) rx: &'a mut [u8],
    /// The memory of its send queue.
    pub(super) tx: &'a mut [u8],
    /// Where lengths of queued messages are kept; empty unless some may be dropped.
    pub(super) boundaries: &'a mut [u32],
    /// What is put behind a message; off if terminators do not count.
    pub(super) output_eos: &'a Terminator,
    /// The number of this turn.
    pub(super) turn: u16,
}

impl Place<'_> {
    pub(super) fn rx_capacity(&self) -> u32 {
        u32::try_from(self.rx.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn tx_capacity(&self) -> u32 {
        u32::try_from(self.tx.len()).unwrap_or(u32::MAX)
    }

    /// Counts the client under the class that it has now: that before and that after, if it has changed.
    pub(super) fn reclassify(&mut self) -> Option<(Class, Class)> {
        let after = self.client.class_now();
        let before = core::mem::replace(&mut self.client.class, after);
        (before != after).then_some((before, after))
    }

    pub(super) fn is(&self, state: State) -> bool {
        self.client.state == state
    }
}
