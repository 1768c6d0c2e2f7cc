//! The calls on the socket: one at a time for each direction, within the budget of a turn.

use super::{Datagrams, Record};
use crate::port::datagrams::{MAX_PAYLOAD, Mode, Output};

/// One direction of the socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direction {
    /// The latch: as far as is known, a call would not block.
    pub(super) ready: bool,
    /// Whether a call is out.
    pub(super) asked: bool,
    /// Bytes of this turn.
    pub(super) spent: u32,
}

impl Direction {
    pub(super) const NEW: Self = Self { ready: false, asked: false, spent: 0 };

    /// The call that was out has ended, having cost this many bytes.
    pub(super) fn answered(&mut self, bytes: usize) {
        self.asked = false;
        let cost = u32::try_from(bytes).unwrap_or(u32::MAX).max(LEAST_COST);
        self.spent = self.spent.saturating_add(cost);
    }

    pub(super) const fn blocked(&mut self) {
        (self.asked, self.ready) = (false, false);
    }
}

/// What a call costs of a turn's budget, even if it carried nothing: a flood of empty datagrams must end a turn too.
const LEAST_COST: u32 = 64;

impl<B: AsRef<[u8]> + AsMut<[u8]>, R: AsRef<[Record]> + AsMut<[Record]>, T: AsRef<[u8]> + AsMut<[u8]>>
    Datagrams<B, R, T>
{
    /// The next call on the socket, or on the next turn to go on.
    pub(super) fn call(&mut self) -> Option<Output> {
        let budget = self.config.budget.max(1);
        let send = self.outbox.peer().filter(|_| self.tx.ready && !self.tx.asked);
        let receive = self.rx.ready && !self.rx.asked && (self.config.mode == Mode::Fifo || self.ring.kept() == 0);
        if let Some(peer) = send
            && self.tx.spent < budget
        {
            self.tx.asked = true;
            return Some(Output::Send { peer });
        }
        if receive && self.rx.spent < budget {
            self.rx.asked = true;
            return Some(Output::Receive { max: MAX_PAYLOAD });
        }
        let more = send.is_some() || receive;
        (more && !core::mem::replace(&mut self.yielded, true)).then_some(Output::Yield)
    }
}
