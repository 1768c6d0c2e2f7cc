//! Clients that get back what they send, with [`Options::echo`](super::Options::echo).
//!
//! Bytes go from the one queue into the other inside the machine: nobody is told of them and nobody has to ask. Only
//! what the send queue has no room for waits in the receive queue, which stops reading once it is full.

use super::client::{News, State};
use super::event::Reason;
use super::place::Place;
use crate::time::Instant;

impl Place<'_> {
    /// Moves what was received into the send queue as far as there is room, and drops a client that has ended and has
    /// everything back.
    #[inline]
    pub(super) fn echo(&mut self, now: Instant) {
        let may_move = !self.client.rx.is_empty() || self.is(State::PeerEnded);
        if may_move && self.client.echoes(&self.seat.options) {
            self.send_back(now);
        }
    }

    fn send_back(&mut self, now: Instant) {
        self.client.news.withdraw(News::DATA);
        let len = self.client.rx.len().min(self.tx_room());
        if len > 0 {
            let received = core::mem::take(&mut self.rx);
            let parts = self.client.rx.front(received, len);
            self.queue(now, parts, false);
            self.rx = received;
            self.client.rx.consume(self.rx_capacity(), len);
            self.client.scan.restart();
            self.client.read_at = now;
        }
        if self.is(State::PeerEnded) && self.client.rx.is_empty() && self.client.tx.is_empty() {
            self.seat.end_owed = false;
            self.drop_client(now, Reason::PeerClosed);
        }
    }

    /// Sends back what has just come without a detour, if nothing is waiting; what is left of it.
    pub(super) fn reflect<'a>(&mut self, now: Instant, bytes: &'a [u8]) -> &'a [u8] {
        if !self.client.rx.is_empty() || !self.client.echoes(&self.seat.options) {
            return bytes;
        }
        let fits = usize::try_from(self.tx_room()).unwrap_or(usize::MAX).min(bytes.len());
        let (back, rest) = bytes.split_at_checked(fits).unwrap_or((&[], bytes));
        if !back.is_empty() {
            self.queue(now, [back, &[]], false);
            self.client.read_at = now;
        }
        rest
    }
}
