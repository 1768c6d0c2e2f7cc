//! Messages for subscribers, with `consumer = "push"` or `"both"`.
//!
//! Pushed messages are taken out of the machine's queue. With `both` a reader takes its own share from there, at its own
//! pace and perhaps in pieces, so what is for subscribers is kept and cut a second time.

use super::options::Consumer;
use super::running::Running;
use super::subscribers::Subscribers;
use std::collections::HashMap;
use wharf_core::port::framing::{Eom, Flow, Scan, Terminator};
use wharf_core::port::server::Command;
use wharf_core::slots::SlotId;

/// What is under way to subscribers.
#[derive(Default)]
pub(super) struct Delivery {
    /// One message.
    message: Vec<u8>,
    /// What clients with `both` have sent and is no message yet.
    copies: HashMap<SlotId, Copied>,
}

struct Copied {
    bytes: Vec<u8>,
    scan: Scan,
    terminator: Terminator,
    ended: bool,
}

impl Delivery {
    /// A client with `both` has sent something.
    pub(super) fn copy(&mut self, slot: SlotId, bytes: &[u8]) {
        self.copied(slot).bytes.extend_from_slice(bytes);
    }

    /// Its input has ended.
    pub(super) fn end(&mut self, slot: SlotId) {
        self.copied(slot).ended = true;
    }

    /// It has left.
    pub(super) fn forget(&mut self, slot: SlotId) {
        self.copies.remove(&slot);
    }

    fn copied(&mut self, slot: SlotId) -> &mut Copied {
        self.copies.entry(slot).or_insert_with(|| Copied {
            bytes: Vec::new(),
            scan: Scan::START,
            terminator: Terminator::OFF,
            ended: false,
        })
    }

    /// Gives the subscribers every message of a client that is complete.
    pub(super) fn deliver(&mut self, subscribers: &mut Subscribers, port: &mut Running<'_>, slot: SlotId) {
        match port.consumer(slot.index()) {
            Consumer::Pull => {}
            Consumer::Push => self.push(subscribers, port, slot),
            Consumer::Both => self.cut(subscribers, port, slot),
        }
    }

    fn push(&mut self, subscribers: &mut Subscribers, port: &mut Running<'_>, slot: SlotId) {
        while let Some(piece) = port.piece(slot, usize::MAX) {
            if piece.eom == Eom::END {
                // Refused only by a port without such a slot.
                let _ = port.command(Command::TakeEnd { index: slot.index() });
                return;
            }
            self.message.resize(piece.len, 0);
            port.copy(slot, &mut self.message);
            if port.command(Command::Consume { slot, len: piece.taken() }).is_err() {
                return;
            }
            subscribers.message(port, slot, &self.message, piece.eom);
        }
    }

    fn cut(&mut self, subscribers: &mut Subscribers, port: &mut Running<'_>, slot: SlotId) {
        let capacity = port.rx_queue();
        let Some(Copied { bytes, scan, terminator, ended }) = self.copies.get_mut(&slot) else { return };
        port.with_terminator(slot.index(), |eos| {
            if terminator.as_bytes() != eos {
                // No option has a terminator that is too long.
                *terminator = Terminator::new(eos).unwrap_or(Terminator::OFF);
                scan.restart();
            }
        });
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            let flow = match *ended {
                true => Flow::Ended,
                false if rest.len() >= capacity => Flow::Full,
                false => Flow::Open,
            };
            let Some(piece) = scan.next(terminator, [rest, &[]], usize::MAX, flow) else { break };
            if piece.eom == Eom::END {
                break;
            }
            scan.consumed(piece.taken());
            subscribers.message(port, slot, &rest[..piece.len], piece.eom);
            done += piece.taken();
        }
        bytes.drain(..done);
    }
}
