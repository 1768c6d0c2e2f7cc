//! What a layer of faults may do with a connection: keep replies back, send in their place, and end the connection in ways
//! that it would not end by itself.
//!
//! A reply that is kept back is a deferred request to the connection: it holds its transaction and its place in the order
//! of replies until it is [released](Connection::release), and by then the layer has sent what was to be sent.

use super::{Connection, Phase};
use crate::modbus::server::replies::Replies;
use crate::modbus::server::transactions::{Ending, Transaction};
use crate::modbus::server::{Config, Outcome, Reason};
use crate::modbus::service::RequestId;
use crate::time::Instant;

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    pub(in crate::modbus) const fn config(&self) -> &Config {
        &self.config
    }

    /// A deferred request is answered, be it `at_once` or after its deadline, and its reply is kept back.
    pub(in crate::modbus) fn keep(&mut self, id: RequestId, at_once: bool, timed_out: bool) {
        self.transactions.keep(id, at_once, timed_out);
    }

    /// Whether a deferred request is open.
    pub(in crate::modbus) fn is_deferred(&self, id: RequestId) -> bool {
        self.transactions.find(id).is_some()
    }

    /// Whether the time of a deferred request is over.
    pub(in crate::modbus) fn is_overdue(&self, id: RequestId, now: Instant) -> bool {
        self.transactions.is_overdue(id, now)
    }

    /// The unanswered request whose turn it is once all that may leave has left.
    pub(in crate::modbus) fn first_hole(&self) -> Option<RequestId> {
        self.transactions.first_hole().map(|(_, id)| id)
    }

    /// Lets the replies behind a request leave before it.
    pub(in crate::modbus) fn pass(&mut self, now: Instant, id: RequestId) {
        let was_ready = self.replies.is_ready();
        self.transactions.pass(id);
        self.release_ready();
        if !was_ready {
            self.stuck_since = now;
        }
    }

    /// Ends a request whose reply was kept back, after so many bytes were sent for it and so many faults have acted on it.
    pub(in crate::modbus) fn release(
        &mut self,
        now: Instant,
        id: RequestId,
        outcome: Outcome,
        bytes_out: u16,
        faults: u8,
    ) {
        if !self.is_deferred(id) {
            return;
        }
        let was_blocked = self.is_blocked();
        let was_ready = self.replies.is_ready();
        self.transactions.leave(id, faults);
        self.transactions.end(id, now, Ending { outcome, bytes_out, timed_out: false });
        self.release_ready();
        self.active_since = now;
        if !was_ready {
            self.stuck_since = now;
        }
        self.settle(now, was_blocked);
    }

    /// Whether a frame has left in part.
    pub(in crate::modbus) const fn is_mid_frame(&self) -> bool {
        self.replies.is_mid_frame()
    }

    /// Of what may leave, the frame at the front.
    pub(in crate::modbus) fn front(&self) -> &[u8] {
        self.replies.transmit(self.queue(), false)
    }

    /// Whether what may leave is withheld from the peer, which then cannot be blamed for not taking it.
    pub(in crate::modbus) const fn withhold(&mut self, now: Instant, on: bool) {
        if self.withheld && !on {
            self.stuck_since = now;
        }
        self.withheld = on;
    }

    /// Time goes on, after it stood still for this connection.
    pub(in crate::modbus) const fn thaw(&mut self, now: Instant) {
        self.frame_since = now;
        self.active_since = now;
        self.stuck_since = now;
        if let Phase::Closing { since, .. } = &mut self.phase {
            *since = now;
        }
    }

    /// Ends with a FIN; what was not sent is lost.
    pub(in crate::modbus) fn finish(&mut self, now: Instant, reason: Reason) {
        self.drop_deferred(now);
        self.replies = Replies::new();
        self.break_off(reason);
        self.settle(now, false);
    }

    /// Ends at once, with or without a reset; what was not sent is lost.
    pub(in crate::modbus) fn cut(&mut self, now: Instant, reason: Reason, reset: bool) {
        if !matches!(self.phase, Phase::Closed { .. }) {
            self.close(now, reason, reset);
        }
    }
}
