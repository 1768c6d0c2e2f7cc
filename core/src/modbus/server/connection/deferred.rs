//! Replies that come late, and those that overtake them.

use super::{Connection, split_mut};
use crate::modbus::mbap::HEADER_LEN;
use crate::modbus::pdu::Exception;
use crate::modbus::server::transactions::{Ending, Request, Transaction};
use crate::modbus::server::{Outcome, Output};
use crate::modbus::service::RequestId;
use crate::time::Instant;

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    /// Answers with an exception that overtakes held replies.
    pub(super) fn refuse_ahead(&mut self, now: Instant, request: &Request, exception: Exception) {
        let pdu = exception.reply(request.function);
        self.make_room(pdu.len());
        let bytes_out = self.insert(now, self.replies.ready(), request, &pdu);
        self.transactions.shift(usize::from(bytes_out), false);
        self.release_ready();
        self.note(Output::Processed(request.processed(Outcome::Exception(exception), bytes_out)));
    }

    /// Ends a deferred request; `pdu` is its reply, if one is to be sent.
    pub(super) fn answer_deferred(
        &mut self,
        now: Instant,
        id: RequestId,
        pdu: &[u8],
        outcome: Outcome,
        timed_out: bool,
    ) {
        self.make_room(pdu.len());
        let Some((request, at)) = self.transactions.find(id) else { return };
        let bytes_out = if pdu.is_empty() { 0 } else { self.insert(now, at, &request, pdu) };
        self.transactions.end(id, now, Ending { outcome, bytes_out, timed_out });
        self.transactions.move_up(id, usize::from(bytes_out));
        self.release_ready();
    }

    pub(super) fn fail_deferred(&mut self, now: Instant, id: RequestId, exception: Exception, timed_out: bool) {
        let Some((request, _)) = self.transactions.find(id) else { return };
        let pdu = exception.reply(request.function);
        self.answer_deferred(now, id, &pdu, Outcome::Exception(exception), timed_out);
    }

    /// Moves the queue to the front if a frame of this PDU would not fit behind it.
    fn make_room(&mut self, pdu_len: usize) {
        let [_, queue] = split_mut(self.buffer.as_mut());
        if self.replies.end().saturating_add(HEADER_LEN).saturating_add(pdu_len) > queue.len() {
            let moved = self.replies.compact(queue);
            self.transactions.shift(moved, true);
        }
    }

    fn insert(&mut self, now: Instant, at: usize, request: &Request, pdu: &[u8]) -> u16 {
        let [_, queue] = split_mut(self.buffer.as_mut());
        let was_ready = self.replies.is_ready();
        if !self.replies.insert(queue, at, request.transaction, request.unit, pdu) {
            return 0;
        }
        if !was_ready {
            self.stuck_since = now;
        }
        u16::try_from(HEADER_LEN.saturating_add(pdu.len())).unwrap_or(u16::MAX)
    }

    /// Lets go of the replies before the first hole.
    pub(super) fn release_ready(&mut self) {
        self.replies.release(self.transactions.first_hole().map_or(self.replies.end(), |(at, _)| at));
    }
}
