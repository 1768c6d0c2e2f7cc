//! Handshakes: a few steps in an iteration, so that a rush of them leaves the loop alive.
//!
//! A socket that has something to shake hands with waits in an order: the newest has its turn first, because its client
//! is the likeliest to be still there, but nobody waits longer than a second for others.

use super::{LastWord, Phase};
use crate::event_loop::handler::Opened;
use crate::event_loop::state::{Core, Object};
use crate::event_loop::timers::{Action, TimerId};
use crate::event_loop::tls::Step;
use crate::event_loop::{CloseReason, Error};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::slots::SlotId;

/// Handshakes older than this come before the newest.
const PATIENCE: Duration = Duration::from_secs(1);
/// Sockets that are looked at for a step in an iteration, whether there is one to take or not.
const LOOKS: u32 = 64;
/// No step is begun in an iteration once its steps have taken so long together. One with a signature takes longer than
/// that by itself.
const SPELL: Duration = Duration::from_micros(50);
/// Ciphertext that one step may read: more than a usual flight.
const FLIGHT: usize = 16 * 1024;

/// Sockets that wait for a handshake step, in the order in which their handshakes began.
#[derive(Default)]
pub(in crate::event_loop) struct Handshakes {
    waiting: BTreeMap<(Instant, u64), SlotId>,
    begun: u64,
}

impl Handshakes {
    pub(in crate::event_loop) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(in crate::event_loop) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(in crate::event_loop) fn clear(&mut self) {
        self.waiting.clear();
    }

    fn begin(&mut self, now: Instant) -> (Instant, u64) {
        self.begun += 1;
        (now, self.begun)
    }

    fn next(&mut self, now: Instant) -> Option<SlotId> {
        let oldest = self.waiting.first_key_value()?.0.0;
        let impatient = now.saturating_duration_since(oldest) >= PATIENCE;
        let next = if impatient { self.waiting.pop_first() } else { self.waiting.pop_last() };
        next.map(|(_, id)| id)
    }
}

impl<T> Core<T> {
    /// The descriptor of a socket is connected: it opens, or shakes hands first.
    pub(in crate::event_loop) fn begin(&mut self, id: SlotId, how: Opened) {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return };
        stream.writable = true;
        let Some(tls) = &mut stream.tls else { return self.open_stream(id, how) };
        (tls.how, tls.began, stream.phase) = (how, self.handshakes.begin(self.now), Phase::Handshaking);
        if let Some(TimerId(connecting)) = stream.timer.take() {
            self.timers.remove(connecting);
        }
        let timer = self.add_internal(Action::Stream(id), self.options.handshake_timeout);
        if let Some(stream) = self.stream_mut(id) {
            stream.timer = Some(timer);
        }
        self.serve_handshake(id);
    }

    /// Sends what is left of the last step, and lets the socket wait for its next.
    #[cold]
    pub(super) fn serve_handshake(&mut self, id: SlotId) {
        self.flush(id);
        let Some(stream) = self.stream(id).filter(|stream| stream.phase == Phase::Handshaking) else { return };
        if let Some(tls) = &stream.tls
            && (tls.is_readable() || tls.session.speaks_first())
        {
            let began = tls.began;
            self.handshakes.waiting.insert(began, id);
        }
    }

    /// The handshake steps of one iteration: as many as the budget says, and fewer if they take long.
    #[inline]
    pub(in crate::event_loop) fn run_handshakes(&mut self) {
        if !self.handshakes.is_empty() {
            self.take_handshake_steps();
        }
    }

    #[inline(never)]
    fn take_handshake_steps(&mut self) {
        let (mut left, end) = (self.options.handshake_budget, self.net.now().saturating_add(SPELL));
        let mut stepped = Vec::new();
        for _ in 0..LOOKS.max(left) {
            if left == 0 || !stepped.is_empty() && self.net.now() >= end {
                break;
            }
            let Some(id) = self.handshakes.next(self.now) else { break };
            if self.handshake_step(id) {
                self.stats.handshake_steps += 1;
                left -= 1;
                stepped.push(id);
            }
        }
        // One step each: what is left to do waits for the next iteration.
        for id in stepped {
            self.serve_stream(id);
        }
    }

    /// One step; false if there was nothing to take it with.
    fn handshake_step(&mut self, id: SlotId) -> bool {
        let Some(stream) = self.stream(id).filter(|stream| stream.phase == Phase::Handshaking) else { return false };
        let Some(how) = stream.tls.as_ref().map(|tls| tls.how) else { return false };
        let mut cipher = std::mem::take(&mut self.cipher);
        let outcome = self.shake(id, &mut cipher);
        self.cipher = cipher;
        let Some(outcome) = outcome else { return false };
        self.after_callback("handshake");
        self.flush(id);
        match outcome {
            Ok(Step::Blocked) => {}
            Ok(Step::Done) => {
                let resumed =
                    self.stream(id).and_then(|stream| stream.tls.as_ref()).is_some_and(|tls| tls.session.resumed());
                self.stats.handshakes += 1;
                self.stats.handshakes_resumed += u64::from(resumed);
                self.open_stream(id, how);
            }
            Err(error) => self.handshake_failed(id, error),
        }
        true
    }

    /// Reads what the step needs, and steps. `None` if there is nothing to read yet.
    fn shake(&mut self, id: SlotId, cipher: &mut Vec<u8>) -> Option<Result<Step, Error>> {
        let stream = self.stream(id)?;
        let (net, context) = (stream.net?, stream.context);
        let session = &stream.tls.as_ref()?.session;
        let mut count = 0;
        if !session.speaks_first() && !session.has_input() {
            cipher.resize(cipher.len().max(FLIGHT), 0);
            let read = self.read_wire(id, net, &mut cipher[..FLIGHT]);
            if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return None;
            }
            let read =
                read.and_then(|count| if count > 0 { Ok(count) } else { Err(io::ErrorKind::UnexpectedEof.into()) });
            match read {
                Ok(read) => count = read,
                Err(source) => return Some(Err(self.stream(id)?.handshake_error(source))),
            }
        }
        let handler = self.context(context);
        let stream = self.stream_mut(id)?;
        let tls = stream.tls.as_mut()?;
        let outcome = tls.session.handshake(&cipher[..count], |hello| handler.server_name(hello));
        stream.readable = tls.is_readable();
        Some(outcome.map_err(|failure| stream.tls_error(failure.into_source())))
    }

    /// A connection that was asked for has failed; one that came by itself is closed.
    pub(super) fn handshake_failed(&mut self, id: SlotId, error: Error) {
        self.end_handshake(id, error, CloseReason::HandshakeFailed);
    }

    pub(super) fn handshake_timed_out(&mut self, id: SlotId) {
        let Some(stream) = self.stream(id) else { return };
        let error = stream.handshake_error(io::ErrorKind::TimedOut.into());
        self.end_handshake(id, error, |_| CloseReason::HandshakeTimeout);
    }

    fn end_handshake(&mut self, id: SlotId, error: Error, reason: impl FnOnce(Error) -> CloseReason) {
        self.stats.handshakes_failed += 1;
        let last_word = self.unopened(id, error, reason);
        self.leave(id, Some(last_word));
    }

    /// What is told of a socket whose handshake ends: that connecting failed, if it was connected by us.
    pub(super) fn unopened(&self, id: SlotId, error: Error, reason: impl FnOnce(Error) -> CloseReason) -> LastWord {
        match self.stream(id).and_then(|stream| stream.tls.as_ref()) {
            Some(tls) if tls.how == Opened::Connected => LastWord::ConnectError(Box::new((error, tls.tried))),
            _ => LastWord::Close(reason(error)),
        }
    }

    /// The socket leaves: it waits for no step any more.
    pub(super) fn forget_handshake(&mut self, id: SlotId) {
        if let Some(began) = self.stream(id).and_then(|stream| stream.tls.as_ref()).map(|tls| tls.began) {
            self.handshakes.waiting.remove(&began);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_core::slots::SlotId;

    #[test]
    fn the_newest_comes_first_unless_one_has_waited_for_a_second() {
        let mut handshakes = Handshakes::default();
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        for number in 0..4 {
            let began = handshakes.begin(at(number * 300));
            handshakes.waiting.insert(began, SlotId::from_bits(number));
        }
        let mut next = |now| handshakes.next(at(now)).map(SlotId::to_bits);
        assert_eq!(next(999), Some(3));
        // Begun at 0 and waiting for a second, and the one after it not yet.
        assert_eq!(next(1000), Some(0));
        assert_eq!(next(1299), Some(2));
        assert_eq!(next(1300), Some(1));
        assert_eq!(next(1300), None);
    }

    #[test]
    fn handshakes_of_one_instant_are_told_apart() {
        let mut handshakes = Handshakes::default();
        for number in 0..3 {
            let began = handshakes.begin(Instant::default());
            handshakes.waiting.insert(began, SlotId::from_bits(number));
        }
        assert_eq!(handshakes.len(), 3);
        assert_eq!(handshakes.next(Instant::default()).map(SlotId::to_bits), Some(2));
    }
}
