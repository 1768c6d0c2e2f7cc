//! What becomes of the connection itself: its phases, and how they end.

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the phases")]

use super::super::fault::{How, Kind, Then};
use super::super::held::{Held, State};
use super::Connection;
use crate::modbus::server::{Reason, Transaction};
use crate::time::Instant;
use core::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Open,
    Stopped { until: Option<Instant>, then: Then },
    Holding { until: Option<Instant>, then: Then },
    HalfClosed { until: Option<Instant>, said: bool },
    Ending { at: Instant, how: How },
}

impl<B, T, H> Connection<B, T, H>
where
    B: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[Transaction]> + AsMut<[Transaction]>,
    H: AsRef<[Held]> + AsMut<[Held]>,
{
    /// Whether replies leave.
    pub(super) const fn sends(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Stopped { .. })
    }

    /// Whether nothing within times out.
    pub(super) const fn is_frozen(&self) -> bool {
        matches!(self.phase, Phase::Holding { .. } | Phase::HalfClosed { .. } | Phase::Ending { .. })
    }

    pub(super) fn begin_ending(&mut self, now: Instant, ending: Option<Kind>) {
        if self.hurry && !matches!(ending, Some(Kind::Close { .. } | Kind::CutFrame { .. })) {
            return;
        }
        let until = |span: Duration| (!span.is_zero()).then(|| now.saturating_add(span));
        let after = |delay| if self.hurry { now } else { now.saturating_add(delay) };
        self.phase = match ending {
            Some(Kind::Close { how, delay, .. } | Kind::CutFrame { how, delay, .. }) => {
                Phase::Ending { at: after(delay), how }
            }
            Some(Kind::HalfClose { span }) => Phase::HalfClosed { until: until(span), said: false },
            Some(Kind::StopReading { span, then }) => Phase::Stopped { until: until(span), then },
            Some(Kind::HoldOpen { span, then }) => Phase::Holding { until: until(span), then },
            _ => self.phase,
        };
    }

    /// Ends a phase whose time is over.
    pub(super) fn lapse(&mut self, now: Instant) {
        let over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let then = match self.phase {
            Phase::Ending { at, how } if at <= now => match how {
                How::Fin => Then::Close,
                How::Rst => Then::Reset,
            },
            Phase::Stopped { until, then } | Phase::Holding { until, then } if over(until) => then,
            Phase::HalfClosed { until, .. } if over(until) => {
                self.phase = Phase::Open;
                return self.inner.cut(now, Reason::Fault, false);
            }
            _ => return,
        };
        if self.is_frozen() {
            self.inner.thaw(now);
        }
        self.phase = Phase::Open;
        match then {
            Then::Resume => {}
            Then::Close => {
                self.drop_held();
                self.inner.finish(now, Reason::Fault);
            }
            Then::Reset => self.inner.cut(now, Reason::Fault, true),
        }
    }

    /// Ends every wait that faults have made.
    pub(super) fn drain(&mut self, now: Instant) {
        self.hurry = true;
        for held in self.held_in_use_mut() {
            held.state = match held.state {
                State::Due(id, _) => State::Due(id, now),
                State::Passed(id, ..) => State::Passed(id, 0, now),
                State::Quiet(_) => State::Free,
                other => other,
            };
        }
        self.count();
        if let Some(emission) = &mut self.emission {
            emission.hurry(now);
        }
        match self.phase {
            Phase::Open => {}
            Phase::Stopped { .. } => self.phase = Phase::Open,
            Phase::Holding { .. } => {
                self.phase = Phase::Open;
                self.inner.thaw(now);
            }
            Phase::HalfClosed { .. } => {
                self.phase = Phase::Open;
                self.inner.cut(now, Reason::Fault, false);
            }
            Phase::Ending { how, .. } => self.phase = Phase::Ending { at: now, how },
        }
    }
}
