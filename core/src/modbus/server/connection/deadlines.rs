//! When a connection wants to be called.
//!
//! A deadline that never comes is [`Instant::MAX`] in here, so that the nearest of several is found without a branch.

use super::{Connection, Phase};
use crate::modbus::server::Config;
use crate::modbus::server::transactions::Transaction;
use crate::time::{Instant, whole_micros};
use core::time::Duration;

/// When what never happens is due.
const NEVER: Instant = Instant::MAX;

/// The timeouts of a [`Config`] in microseconds, for they are asked for again and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    frame: Timeout,
    idle: Timeout,
    write: Timeout,
    linger: Timeout,
}

impl Timeouts {
    pub(super) const fn new(config: &Config) -> Self {
        Self {
            frame: Timeout::new(config.frame_timeout),
            idle: Timeout::new(config.idle_timeout),
            write: Timeout::new(config.write_timeout),
            linger: Timeout::new(config.linger),
        }
    }
}

/// Microseconds, at least one, because a deadline that is not later than its beginning would come again and again;
/// `u64::MAX` if it is off.
#[derive(Clone, Copy, Debug)]
struct Timeout(u64);

impl Timeout {
    const fn new(span: Duration) -> Self {
        if span.is_zero() {
            return Self(u64::MAX);
        }
        let micros = whole_micros(span);
        Self(if micros == 0 { 1 } else { micros })
    }

    /// When it expires that runs from `since`.
    #[inline]
    const fn after(self, since: Instant) -> Instant {
        Instant::from_micros(since.as_micros().saturating_add(self.0))
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, T: AsRef<[Transaction]> + AsMut<[Transaction]>> Connection<B, T> {
    pub(super) fn frame_deadline(&self) -> Instant {
        if self.partial > 0 && !self.is_blocked() { self.timeouts.frame.after(self.frame_since) } else { NEVER }
    }

    #[inline]
    pub(super) fn idle_deadline(&self) -> Instant {
        let runs = self.phase == Phase::Open && self.replies.is_empty() && self.transactions.deferred() == 0;
        if runs { self.timeouts.idle.after(self.active_since) } else { NEVER }
    }

    #[inline]
    pub(super) fn write_deadline(&self) -> Instant {
        let runs = self.replies.is_ready() && !self.withheld;
        if runs { self.timeouts.write.after(self.stuck_since) } else { NEVER }
    }

    pub(super) fn linger_deadline(&self) -> Instant {
        match self.phase {
            Phase::Closing { since, .. } => self.timeouts.linger.after(since),
            Phase::Open | Phase::Draining { .. } | Phase::Closed { .. } => NEVER,
        }
    }

    /// The nearest of all.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Instant> {
        let mut next = self.idle_deadline().min(self.write_deadline());
        if self.partial > 0 {
            next = next.min(self.frame_deadline());
        }
        if self.transactions.deferred() > 0 {
            next = next.min(self.transactions.deadline().unwrap_or(NEVER));
        }
        if self.phase == Phase::Open {
            next = next.min(self.paced_until.unwrap_or(NEVER));
        } else {
            next = next.min(self.linger_deadline());
        }
        (next < NEVER).then_some(next)
    }
}

/// Whether a deadline has come.
pub(super) fn is_due(deadline: Instant, now: Instant) -> bool {
    deadline <= now && deadline < NEVER
}
