//! From bytes to answered requests: frames are cut, handed to the service, and their replies queued.

use super::{Connection, FRAME_REPORTS, Phase, split, split_mut};
use crate::modbus::access::first_span;
use crate::modbus::mbap::{self, Decoded, Frame, HEADER_LEN, MAX_FRAME, MAX_PDU};
use crate::modbus::pdu::Exception;
use crate::modbus::server::transactions::{Request, Transaction};
use crate::modbus::server::{Error, MIN_BUFFER, Outcome, Output, RateAction, Reason};
use crate::modbus::service::{Answer, Answerer, Discard, Indication, Service};
use crate::rate::Bucket;
use crate::time::Instant;

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    pub(super) fn receive(&mut self, now: Instant, bytes: &[u8], service: &mut dyn Service) -> Result<(), Error> {
        if self.peer_closed {
            return Err(Error::InputEnded);
        }
        let got = self.buffer.as_ref().len();
        if got < MIN_BUFFER {
            return Err(Error::BufferShort { needed: MIN_BUFFER, got });
        }
        self.taken = 0;
        while let Some(rest) = bytes.get(self.taken..).filter(|rest| !rest.is_empty()) {
            if !self.takes_frames() {
                self.taken = bytes.len();
                break;
            }
            if self.is_blocked() || self.reports.len() >= FRAME_REPORTS {
                break;
            }
            // What is gathered is copied out, because the service answers into the same buffer.
            let stored;
            let gathered = self.partial > 0;
            let stream = if gathered {
                stored = self.gather(rest);
                stored.get(..self.partial).unwrap_or_default()
            } else {
                rest
            };
            match mbap::decode(stream) {
                Ok(Decoded::Frame { frame, len }) => {
                    self.take(len, gathered);
                    self.active_since = now;
                    self.accept(now, &frame, len, service);
                }
                Ok(Decoded::Incomplete { .. }) => {
                    if !gathered {
                        self.frame_since = now;
                        self.keep_partial(rest);
                    }
                }
                Ok(Decoded::Foreign { len, .. }) => {
                    self.take(len, gathered);
                    self.active_since = now;
                    self.discard(Discard::ProtocolId, Some(service));
                }
                Err(error) => {
                    let reason = match error {
                        mbap::Error::LengthShort { .. } => Discard::LengthShort,
                        mbap::Error::LengthLong { .. } => Discard::LengthLong,
                    };
                    self.discard(reason, Some(service));
                    self.break_off(Reason::BadFrame);
                }
            }
        }
        Ok(())
    }

    /// A frame of `len` bytes is done with, which was `gathered` from several reads or stood whole at the front of one.
    const fn take(&mut self, len: usize, gathered: bool) {
        if gathered {
            self.partial = 0;
        } else {
            self.taken = self.taken.saturating_add(len);
        }
    }

    /// Whether frames are still looked for; otherwise input is thrown away.
    fn takes_frames(&self) -> bool {
        !self.deaf && matches!(self.phase, Phase::Open | Phase::Draining { .. })
    }

    /// Takes a permit of the request rate, if there is one or none is needed. A connection that is to pause does so with
    /// the last one, so that it always has one.
    fn is_permitted(&mut self, now: Instant) -> bool {
        let Some(rate) = self.config.request_rate else { return true };
        let permits = self.permits.get_or_insert_with(|| Bucket::full(rate, now));
        let permitted = permits.take(rate, now);
        if self.config.rate_action == RateAction::Pause {
            self.paced_until = Some(permits.next(rate, now).unwrap_or(Instant::MAX)).filter(|next| *next > now);
        }
        permitted
    }

    /// Adds to the frame that has begun what it lacks to be decided, or as much of that as there is.
    fn gather(&mut self, rest: &[u8]) -> [u8; MAX_FRAME] {
        let have = self.partial;
        let need = match mbap::decode(self.partial_frame()) {
            Ok(Decoded::Incomplete { need }) => need,
            Ok(Decoded::Frame { .. } | Decoded::Foreign { .. }) | Err(_) => have,
        };
        self.keep_partial(rest.get(..need.saturating_sub(have)).unwrap_or(rest));
        self.buffer.as_ref().first_chunk::<MAX_FRAME>().copied().unwrap_or([0; MAX_FRAME])
    }

    #[inline]
    fn accept(&mut self, now: Instant, frame: &Frame<'_>, len: usize, service: &mut dyn Service) {
        if self.phase != Phase::Open {
            return self.discard(Discard::Draining, Some(service));
        }
        let request = Request {
            transaction: frame.transaction,
            unit: frame.unit,
            function: frame.pdu.first().copied().unwrap_or(0),
            span: first_span(frame.pdu),
            bytes_in: u16::try_from(len).unwrap_or(u16::MAX),
            answerer: Answerer::default(),
        };
        let transaction = frame.transaction;
        if self.is_full() || !self.is_permitted(now) {
            let indication = Indication { transaction, id: None, unit: frame.unit, pdu: frame.pdu };
            service.refused(&indication, Exception::SERVER_DEVICE_BUSY);
            return self.refuse_ahead(now, &request, Exception::SERVER_DEVICE_BUSY);
        }
        let id = self.transactions.next_id();
        let indication = Indication { transaction, id, unit: frame.unit, pdu: frame.pdu };
        let [_, queue] = split_mut(self.buffer.as_mut());
        let Some((moved, head, pdu)) = self.replies.reserve(queue) else { return };
        let answer = service.serve(&indication, pdu);
        let (outcome, pdu_len) = match (answer, indication.id) {
            (Answer::Reply { len: len @ 1..=MAX_PDU }, _) => (Outcome::Ok, len),
            (Answer::Reply { .. }, _) => exception_pdu(pdu, request.function, Exception::SERVER_DEVICE_FAILURE),
            (Answer::Exception(exception), _) => exception_pdu(pdu, request.function, exception),
            (Answer::Later(_), None) => exception_pdu(pdu, request.function, Exception::SERVER_DEVICE_BUSY),
            (Answer::Later(_) | Answer::Silent | Answer::Discard(_), _) => (Outcome::None, 0),
        };
        if pdu_len > 0 {
            *head = mbap::header(request.transaction, request.unit, pdu_len);
        }
        self.transactions.shift(moved, true);
        let bytes_out = self.commit(now, pdu_len);
        match (answer, indication.id) {
            (Answer::Later(answerer), Some(id)) => {
                let timeout = self.config.request_timeout;
                self.transactions.defer(id, Request { answerer, ..request }, self.replies.end(), now, timeout);
            }
            (Answer::Discard(reason), _) => self.discard(reason, None),
            _ => self.note(Output::Processed(request.processed(outcome, bytes_out))),
        }
    }

    /// Queues the reply in the reserved room; returns the bytes of its frame.
    fn commit(&mut self, now: Instant, pdu_len: usize) -> u16 {
        if pdu_len == 0 {
            return 0;
        }
        let was_ready = self.replies.is_ready();
        let len = HEADER_LEN.saturating_add(pdu_len);
        self.replies.commit(len, self.transactions.first_hole().is_some());
        if !was_ready {
            self.stuck_since = now;
        }
        u16::try_from(len).unwrap_or(u16::MAX)
    }

    pub(super) fn discard(&mut self, reason: Discard, service: Option<&mut dyn Service>) {
        crate::log::discard("modbus", reason.name());
        if let Some(service) = service {
            service.discarded(reason);
        }
        self.note(Output::Discarded(reason));
    }

    pub(super) fn note(&mut self, report: Output) {
        // There is room: see FRAME_REPORTS.
        let _full = self.reports.push_back(report);
    }

    fn partial_frame(&self) -> &[u8] {
        let [partial, _] = split(self.buffer.as_ref());
        partial.get(..self.partial).unwrap_or_default()
    }

    fn keep_partial(&mut self, bytes: &[u8]) {
        let [partial, _] = split_mut(self.buffer.as_mut());
        let room = partial.get_mut(self.partial..).unwrap_or_default();
        for (slot, byte) in room.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        self.partial = self.partial.saturating_add(bytes.len());
        self.taken = self.taken.saturating_add(bytes.len());
    }
}

fn exception_pdu(pdu: &mut [u8; MAX_PDU], function: u8, exception: Exception) -> (Outcome, usize) {
    let [code, value, ..] = pdu;
    [*code, *value] = exception.reply(function);
    (Outcome::Exception(exception), 2)
}
