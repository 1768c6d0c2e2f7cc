//! A port that passes on what its clients send, to all others.

use super::running::Running;
use super::subscribers::Subscriber;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Command, Event, Mode, Reason, To};
use wharf_core::slots::SlotId;

/// Bytes that are moved at a time.
const CHUNK: usize = 64 * 1024;

/// Sends each client's bytes to all others, in its order, never back to it. A client without room for a piece misses it:
/// no other waits for it. With an input terminator pieces are whole messages.
#[derive(Debug)]
pub(super) struct Broker {
    buffer: Vec<u8>,
}

impl Broker {
    /// For queues of so many bytes: a piece takes a quarter of one at most, so that a client which reads has room.
    pub(super) fn new(tx_queue: u32) -> Self {
        Self { buffer: vec![0; CHUNK.min(tx_queue as usize / 4)] }
    }

    /// Passes on all that a client has sent and that is complete. A client whose input is over is dropped then.
    fn forward(&mut self, port: &mut Running<'_>, slot: SlotId) {
        while let Some(piece) = port.piece(slot, self.buffer.len()) {
            if piece.eom == Eom::END {
                // Both are refused only if the client has just left.
                let _ = port.command(Command::TakeEnd { index: slot.index() });
                let _ = port.command(Command::Drop { slot, reason: Reason::PeerClosed });
                return;
            }
            // A terminator that does not fit comes with the next piece.
            let len = piece.taken().min(self.buffer.len());
            let bytes = &mut self.buffer[..len];
            port.copy(slot, bytes);
            // A port that is going down has nobody left to tell.
            let _ = port.queue(To::Others(slot), bytes, Mode::Policy, false);
            if port.command(Command::Consume { slot, len }).is_err() {
                return;
            }
        }
    }
}

impl Subscriber for Broker {
    fn event(&mut self, port: &mut Running<'_>, event: &Event) {
        if let Event::DataReady { slot } | Event::InputEnded { slot } = *event {
            self.forward(port, slot);
        }
    }
}
