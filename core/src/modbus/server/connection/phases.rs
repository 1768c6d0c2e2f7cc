//! How a connection goes from open to closed.

use super::Connection;
use crate::modbus::server::replies::Replies;
use crate::modbus::server::transactions::{Ending, Transaction};
use crate::modbus::server::{Outcome, Reason};
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Requests are taken.
    Open,
    /// Nothing new runs; what is owed is sent.
    Draining { reason: Reason },
    /// Our FIN is due, or sent.
    Closing { reason: Reason, since: Instant, said: bool },
    /// Over.
    Closed { reason: Reason, reset: bool, said: bool },
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    /// Takes nothing new; what is owed is still sent. The first reason stays.
    pub(super) fn end_with(&mut self, reason: Reason) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining { reason };
        }
    }

    /// The same, and frames are not looked for any more.
    pub(super) fn break_off(&mut self, reason: Reason) {
        self.partial = 0;
        self.deaf = true;
        self.end_with(reason);
    }

    /// Ends at once; deferred requests end without a reply.
    pub(super) fn close(&mut self, now: Instant, reason: Reason, reset: bool) {
        self.drop_deferred(now);
        self.partial = 0;
        self.replies = Replies::new();
        self.phase = Phase::Closed { reason, reset, said: false };
    }

    /// Deferred requests end without a reply.
    pub(super) fn drop_deferred(&mut self, now: Instant) {
        while let Some(id) = self.transactions.any() {
            self.transactions.end(id, now, Ending { outcome: Outcome::None, bytes_out: 0, timed_out: false });
        }
    }

    /// Goes on as far as nothing is owed any more. Ends every input and timeout.
    pub(super) fn settle(&mut self, now: Instant, was_blocked: bool) {
        if was_blocked && !self.is_blocked() {
            // The peer could not finish its frame while nothing was read.
            self.frame_since = now;
        }
        match self.phase {
            Phase::Draining { reason } if self.replies.is_empty() && self.transactions.deferred() == 0 => {
                self.partial = 0;
                self.phase = Phase::Closing { reason, since: now, said: false };
                self.settle_closing();
            }
            Phase::Closing { .. } => self.settle_closing(),
            Phase::Open | Phase::Draining { .. } | Phase::Closed { .. } => {}
        }
    }

    /// Over, if both sides have ended, or nobody waits for the peer. Closing a socket whose peer has ended sends our FIN,
    /// so it need not be asked for.
    pub(super) fn settle_closing(&mut self) {
        if let Phase::Closing { reason, said, .. } = self.phase
            && (self.peer_closed || (said && self.config.linger.is_zero()))
        {
            self.phase = Phase::Closed { reason, reset: false, said: false };
        }
    }
}
