//! Ports that serve their clients by themselves: echo and broker.

use super::error::Error;
use super::running::Running;
use super::subscribers::Subscriber;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Command, Event, Mode, Reason, To};
use wharf_core::slots::SlotId;

/// Bytes that are moved at a time.
const CHUNK: usize = 64 * 1024;

/// Sends each client its own bytes, and after its end what is left; then it closes. A client that does not read is not
/// read any more once both its queues are full.
#[derive(Debug)]
pub(super) struct Echo {
    buffer: Vec<u8>,
}

/// Sends each client's bytes to all others, in its order, never back to it. A client without room for a piece misses it:
/// no other waits for it. With an input terminator pieces are whole messages.
#[derive(Debug)]
pub(super) struct Broker {
    buffer: Vec<u8>,
}

impl Default for Echo {
    fn default() -> Self {
        Self { buffer: vec![0; CHUNK] }
    }
}

impl Broker {
    /// For queues of so many bytes: a piece takes a quarter of one at most, so that a client which reads has room.
    pub(super) fn new(tx_queue: u32) -> Self {
        Self { buffer: vec![0; CHUNK.min(tx_queue as usize / 4)] }
    }
}

impl Subscriber for Echo {
    fn event(&mut self, port: &mut Running<'_>, event: &Event) {
        if let Event::DataReady { slot } | Event::InputEnded { slot } | Event::LowWater { slot } = *event {
            forward(port, slot, &mut self.buffer, |port, bytes| {
                port.queue(To::Slot(slot), bytes, Mode::Feed, false).map(|receipt| receipt.accepted)
            });
        }
    }
}

impl Subscriber for Broker {
    fn event(&mut self, port: &mut Running<'_>, event: &Event) {
        if let Event::DataReady { slot } | Event::InputEnded { slot } = *event {
            forward(port, slot, &mut self.buffer, |port, bytes| {
                // A port that is going down has nobody left to tell.
                let _ = port.queue(To::Others(slot), bytes, Mode::Policy, false);
                Ok(bytes.len())
            });
        }
    }
}

/// Gives what a client has sent to `sink`, which says how much of it is done with, terminators and all. A client whose
/// input is over and passed on is dropped.
fn forward(
    port: &mut Running<'_>,
    slot: SlotId,
    buffer: &mut [u8],
    mut sink: impl FnMut(&mut Running<'_>, &[u8]) -> Result<usize, Error>,
) {
    while let Some(piece) = port.piece(slot, buffer.len()) {
        if piece.eom == Eom::END {
            // Both are refused only if the client has just left.
            let _ = port.command(Command::TakeEnd { index: slot.index() });
            let _ = port.command(Command::Drop { slot, reason: Reason::PeerClosed });
            return;
        }
        // A terminator that does not fit comes with the next piece.
        let len = piece.taken().min(buffer.len());
        let bytes = &mut buffer[..len];
        port.copy(slot, bytes);
        let passed = match sink(port, bytes) {
            Ok(passed) => passed,
            // There will be room.
            Err(Error::Full { .. }) => return,
            // They stay unread, and what is left of a client that is gone makes room for another.
            Err(_) => {
                let _ = port.command(Command::Drop { slot, reason: Reason::LocalClosed });
                return;
            }
        };
        let consumed = port.command(Command::Consume { slot, len: passed });
        if consumed.is_err() || passed < bytes.len() {
            return;
        }
    }
}
