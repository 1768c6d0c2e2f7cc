//! Whether there is a socket, and how it comes and goes.

use super::{Datagrams, Record, count};
use crate::port::datagrams::{Failure, Reason};
use crate::time::{Instant, expiry};
use core::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Down,
    Opening { asked: bool },
    Up { local: SocketAddr },
    Closing { asked: bool, then: Then },
    Waiting { until: Option<Instant> },
}

/// What comes after a socket is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Then {
    Stay,
    Open,
    /// Open when `reopen` is over.
    Retry,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, R: AsRef<[Record]> + AsMut<[Record]>, T: AsRef<[u8]> + AsMut<[u8]>>
    Datagrams<B, R, T>
{
    pub(super) fn close(&mut self) {
        self.phase = match self.phase {
            Phase::Down | Phase::Waiting { .. } => Phase::Down,
            Phase::Opening { asked: false } => {
                self.untold.down = Some(Reason::PortClosed);
                Phase::Down
            }
            Phase::Opening { asked: true } | Phase::Up { .. } => {
                self.go_down(Reason::PortClosed, Then::Stay);
                return;
            }
            Phase::Closing { asked, then } => {
                if then == Then::Open {
                    self.untold.down = Some(Reason::PortClosed);
                }
                Phase::Closing { asked, then: Then::Stay }
            }
        };
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        count(&mut self.counters.failed, 1);
        if let Failure::Fatal(kind) = failure {
            self.go_down(Reason::Failed(kind), Then::Retry);
        }
    }

    /// Gives up what is unread and unsent, and the socket.
    pub(super) fn go_down(&mut self, reason: Reason, then: Then) {
        if self.is_owed() {
            count(&mut self.counters.unread, self.ring.kept());
        }
        self.skip_all();
        count(&mut self.counters.failed, self.outbox.clear());
        self.rx.blocked();
        self.tx.blocked();
        self.untold.down = Some(reason);
        self.phase = Phase::Closing { asked: false, then };
    }

    /// The phase of a port that is to be tried again later.
    pub(super) fn later(&self, now: Instant) -> Phase {
        Phase::Waiting { until: expiry(now, self.config.reopen) }
    }

    pub(super) const fn open_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until } => until,
            Phase::Down | Phase::Opening { .. } | Phase::Up { .. } | Phase::Closing { .. } => None,
        }
    }
}
