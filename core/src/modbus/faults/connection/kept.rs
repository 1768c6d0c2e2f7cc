//! Replies that are kept back: from the answer of a request until the last byte for it has left.

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the states of a reply")]

use super::super::held::{Emission, Held, State};
use super::super::interceptor::{Interceptor, made};
use super::super::{Ended, Faults};
use super::{Connection, Phase};
use crate::machine::Machine;
use crate::modbus::pdu::Exception;
use crate::modbus::server::{self, Error, Outcome, Transaction};
use crate::modbus::service::{RequestId, Service};
use crate::time::{Instant, earliest, expiry};
use core::time::Duration;

impl<B, T, H> Connection<B, T, H>
where
    B: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[Transaction]> + AsMut<[Transaction]>,
    H: AsRef<[Held]> + AsMut<[Held]>,
{
    pub(super) fn shown(&self) -> usize {
        self.transmit().iter().fold(0, |sum, part| sum.saturating_add(part.len()))
    }

    pub(super) fn receive(
        &mut self,
        now: Instant,
        bytes: &[u8],
        service: &mut dyn Service,
        faults: Option<&mut dyn Faults>,
    ) -> Result<(), Error> {
        if let Phase::Stopped { .. } = self.phase {
            self.untaken = true;
            return if self.is_closed() { Err(Error::Closed) } else { Ok(()) };
        }
        let discards = !self.sends();
        if faults.is_none() && !discards {
            self.inner.handle_input(now, server::Input::Received { bytes, service })?;
        } else {
            let held = self.held.as_mut();
            let service = &mut Interceptor { now, service, faults, held, discards };
            self.inner.handle_input(now, server::Input::Received { bytes, service })?;
            self.count();
            loop {
                let next = made(self.held()).next();
                let Some((at, id)) = next else { break };
                self.inner.keep(id, true, false);
                self.make_due(now, at, id);
            }
        }
        self.untaken = false;
        self.active_since = now;
        Ok(())
    }

    /// A request that faults have chosen, or may yet choose, is answered later. False if there is nothing to be done to its
    /// reply, which then goes the usual way.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        at: usize,
        id: RequestId,
        honest: (&[u8], Outcome),
        faults: Option<&mut dyn Faults>,
        timed_out: bool,
    ) -> bool {
        let Some(held) = self.held.as_mut().get_mut(at) else { return false };
        let ended = if honest.1 == Outcome::Ok { Ended::Normal } else { Ended::Exception };
        match faults {
            Some(faults) => {
                faults.judge(now, &held.asked, ended, &mut held.decision);
                held.make(Some(honest), &[], |fault, bytes| faults.altered(fault, bytes));
            }
            None => {
                while held.decision.settle().is_some() {}
                held.make(Some(honest), &[], |_, _| ());
            }
        }
        if held.decision.is_empty() {
            held.state = State::Free;
            self.count();
            return false;
        }
        self.inner.keep(id, false, timed_out);
        self.make_due(now, at, id);
        true
    }

    /// Ends an awaited request with an exception; false if no fault has to do with it.
    pub(super) fn fail(
        &mut self,
        now: Instant,
        id: RequestId,
        exception: Exception,
        faults: Option<&mut dyn Faults>,
        timed_out: bool,
    ) -> bool {
        let Some(at) = self.awaited(id) else { return false };
        let function = self.place(at).map_or(0, |held| held.asked.function);
        let pdu = exception.reply(function);
        self.answered(now, at, id, (&pdu, Outcome::Exception(exception)), faults, timed_out)
    }

    /// Refuses a second answer to a request whose reply is kept back.
    pub(super) fn check_open(&self, id: RequestId) -> Result<(), Error> {
        if self.find(id).is_some() { Err(Error::Stale { id }) } else { Ok(()) }
    }

    pub(super) fn transmitted(&mut self, now: Instant, len: usize) -> Result<(), Error> {
        if self.is_plain() {
            self.inner.handle_input(now, server::Input::Transmitted { len })?;
            self.transmit_asked = false;
            (self.active_since, self.stuck_since) = (now, now);
            return Ok(());
        }
        let shown = self.shown();
        if len == 0 || len > shown {
            return Err(Error::Transmitted { len, shown });
        }
        self.transmit_asked = false;
        self.active_since = now;
        self.stuck_since = now;
        let Some(emission) = self.emission else {
            let counts = self.is_passed();
            self.inner.handle_input(now, server::Input::Transmitted { len })?;
            if counts && !self.inner.is_mid_frame() {
                self.passed_by();
            }
            return Ok(());
        };
        let Some(held) = self.held.as_ref().get(emission.place) else { return Ok(()) };
        let sent = emission.sent.saturating_add(u16::try_from(len).unwrap_or(u16::MAX));
        self.emission = emission.advance(held, now, len);
        match &mut self.emission {
            Some(next) if self.hurry => next.hurry(now),
            Some(_) => {}
            None => self.left(now, emission.place, sent),
        }
        Ok(())
    }

    /// Lets kept replies leave whose turn has come, and does what is due. Ends every input and timeout.
    #[inline]
    pub(super) fn advance(&mut self, now: Instant) {
        if self.is_plain() {
            self.inner.withhold(now, false);
        } else {
            self.advance_kept(now);
        }
    }

    fn advance_kept(&mut self, now: Instant) {
        self.lapse(now);
        if self.is_closed() {
            return self.drop_held();
        }
        if let Some(emission) = self.emission.as_mut().filter(|emission| !emission.open && emission.due <= now) {
            emission.open = true;
            self.stuck_since = now;
        }
        // Each round ends a reply that has nothing to send, or lets one be passed, so there are not more of them than places.
        while self.sends() && self.emission.is_none() && !self.inner.is_mid_frame() && self.in_use > 0 {
            if !self.step(now) {
                break;
            }
            self.lapse(now);
        }
        let withheld = self.emission.is_some() || !self.sends();
        self.inner.withhold(now, withheld);
        if self.is_closed() {
            self.drop_held();
        }
    }

    pub(super) fn drop_held(&mut self) {
        self.emission = None;
        for held in self.held_in_use_mut() {
            held.state = State::Free;
        }
        self.in_use = 0;
    }

    /// When something that is kept back may go on.
    pub(super) fn kept_deadline(&self) -> Option<Instant> {
        if self.in_use == 0 || !self.sends() {
            return None;
        }
        if let Some(emission) = &self.emission {
            return if emission.open { self.stuck_deadline() } else { Some(emission.due) };
        }
        if self.inner.is_mid_frame() {
            return None;
        }
        let passed = self.held().iter().fold(None, |next, held| match held.state {
            State::Passed(_, _, until) => earliest(next, Some(until)),
            _ => next,
        });
        if self.inner.transmit().iter().any(|part| !part.is_empty()) {
            return passed;
        }
        let turn = self.inner.first_hole().and_then(|id| self.place(self.find(id)?));
        let due = match turn.map(|held| held.state) {
            Some(State::Due(_, due)) => Some(due),
            _ => None,
        };
        earliest(passed, earliest(due, self.quiet_at().map(|(_, due)| due)))
    }

    pub(super) fn stuck_deadline(&self) -> Option<Instant> {
        let timeout = self.inner.config().write_timeout;
        let stuck = self.emission.is_some_and(|emission| emission.open) && self.sends();
        expiry(self.stuck_since, timeout).filter(|_| stuck)
    }

    pub(super) fn is_passed(&self) -> bool {
        self.held().iter().any(|held| matches!(held.state, State::Passed(..)))
    }

    /// The places, if any is in use.
    pub(super) fn held(&self) -> &[Held] {
        if self.in_use == 0 { &[] } else { self.held.as_ref() }
    }

    pub(super) fn held_in_use_mut(&mut self) -> &mut [Held] {
        if self.in_use == 0 { &mut [] } else { self.held.as_mut() }
    }

    pub(super) fn place(&self, at: usize) -> Option<&Held> {
        self.held.as_ref().get(at)
    }

    pub(super) fn find(&self, id: RequestId) -> Option<usize> {
        self.held().iter().position(|held| match held.state {
            State::Awaited(other) | State::Made(other) | State::Due(other, _) | State::Passed(other, ..) => other == id,
            State::Free | State::Leaving(_) | State::Quiet(_) => false,
        })
    }

    pub(super) fn awaited(&self, id: RequestId) -> Option<usize> {
        let is_awaited = |held: &Held| held.state == State::Awaited(id);
        self.held().iter().position(is_awaited).filter(|_| self.inner.is_deferred(id))
    }

    /// An awaited request whose time is over.
    pub(super) fn overdue(&self, now: Instant) -> Option<RequestId> {
        let awaited = |held: &Held| match held.state {
            State::Awaited(id) => Some(id),
            _ => None,
        };
        self.held().iter().filter_map(awaited).find(|id| self.inner.is_overdue(*id, now))
    }

    pub(super) fn count(&mut self) {
        self.in_use = self.held.as_ref().iter().filter(|held| !held.is_free()).count();
    }

    /// A reply is made; when it leaves at the earliest.
    fn make_due(&mut self, now: Instant, at: usize, id: RequestId) {
        let hurry = self.hurry;
        if let Some(held) = self.held.as_mut().get_mut(at) {
            let delay = if hurry { Duration::ZERO } else { held.decision.delay() };
            held.state = State::Due(id, now.saturating_add(delay));
        }
    }

    /// Begins what may begin between two frames; false if nothing may.
    fn step(&mut self, now: Instant) -> bool {
        let over = |held: &Held| matches!(held.state, State::Passed(_, left, until) if left == 0 || until <= now);
        if let Some(at) = self.held().iter().position(over) {
            self.leave(now, at);
            return true;
        }
        if self.inner.transmit().iter().any(|part| !part.is_empty()) {
            return false;
        }
        let turn = self.inner.first_hole().and_then(|id| Some((id, self.find(id)?)));
        if let Some((id, at)) = turn {
            let Some(held) = self.held.as_mut().get_mut(at) else { return false };
            if !matches!(held.state, State::Due(_, due) if due <= now) {
                return false;
            }
            match held.decision.reorder().filter(|_| !self.hurry && !held.is_mute()) {
                Some((behind, wait)) => {
                    held.state = State::Passed(id, behind, now.saturating_add(wait));
                    self.inner.pass(now, id);
                }
                None => self.leave(now, at),
            }
            return true;
        }
        let quiet = self.quiet_at().filter(|(_, due)| *due <= now);
        quiet.map(|(at, _)| self.leave(now, at)).is_some()
    }

    /// The frame that waits for a quiet time, and when that is over.
    fn quiet_at(&self) -> Option<(usize, Instant)> {
        if self.inner.outstanding() > 0 {
            return None;
        }
        self.held().iter().enumerate().find_map(|(at, held)| match held.state {
            State::Quiet(span) => Some((at, self.active_since.saturating_add(span))),
            _ => None,
        })
    }

    /// Begins to send what is kept at a place.
    fn leave(&mut self, now: Instant, at: usize) {
        let Some(held) = self.held.as_mut().get_mut(at) else { return };
        let id = match held.state {
            State::Due(id, _) | State::Passed(id, ..) => Some(id),
            State::Free | State::Awaited(_) | State::Made(_) | State::Leaving(_) | State::Quiet(_) => None,
        };
        let mute = id.is_some() && held.is_mute();
        held.state = State::Leaving(id);
        match Emission::begin(held, at, now).filter(|_| !mute) {
            Some(mut emission) => {
                if self.hurry {
                    emission.hurry(now);
                }
                emission.open = emission.due <= now;
                self.stuck_since = now;
                self.emission = Some(emission);
            }
            None => self.left(now, at, 0),
        }
    }

    /// All that was to be sent for a place has left.
    fn left(&mut self, now: Instant, at: usize, sent: u16) {
        self.emission = None;
        let Some(held) = self.held.as_mut().get_mut(at) else { return };
        let left = core::mem::take(held);
        let (state, outcome, ending) = (left.state, left.outcome, left.decision.ending());
        let faults = left.decision.count();
        if let (State::Leaving(Some(_)), Some(span)) = (state, left.decision.quiet().filter(|_| sent > 0)) {
            self.keep_quiet(Held { state: State::Quiet(span), ..left });
        }
        if let State::Leaving(Some(id)) = state {
            self.inner.release(now, id, outcome, sent, faults);
            if sent > 0 {
                self.passed_by();
            }
            self.begin_ending(now, ending);
        }
        self.count();
    }

    /// Keeps a frame for a quiet time, in the last place; one that waits there already is forgotten.
    fn keep_quiet(&mut self, quiet: Held) {
        let last = self.held.as_mut().last_mut();
        if let Some(last) = last.filter(|last| matches!(last.state, State::Free | State::Quiet(_)) && !self.hurry) {
            *last = quiet;
        }
    }

    /// A reply has left before those that let others pass.
    fn passed_by(&mut self) {
        for held in self.held_in_use_mut() {
            if let State::Passed(id, left, until) = held.state {
                held.state = State::Passed(id, left.saturating_sub(1), until);
            }
        }
    }
}
