//! Errors: packets that reached nobody, and receiving that fails.
//!
//! A system that keeps the packets that reached nobody ([`Net::next_unreached`](crate::event_loop::net::Net)) is asked
//! for them at a hang-up event and whenever a call fails: an error behind which there is such a packet is not the
//! call's own. The same error may come a second time without a name, when the system keeps the packet a moment before
//! it raises the error; that is told once.
//!
//! Receiving that fails again at once, with nothing sent since that could be the reason, pauses: 100 ms, doubling to
//! 5 s. The error is told once, until receiving succeeds or fails otherwise.

use super::UdpState;
use crate::event_loop::Error;
use crate::event_loop::backoff::Backoff;
use crate::event_loop::state::Core;
use crate::event_loop::timers::{Action, TimerId};
use std::io;
use std::net::SocketAddr;
use wharf_core::slots::SlotId;

/// Errors that wait to be told; those beyond are merged into them.
const MOST_UNTOLD: usize = 256;
/// Errors that are told in one iteration, and packets that are asked for at a time.
const MOST_AT_ONCE: usize = 64;

/// What tells errors apart.
type Kind = (io::ErrorKind, Option<i32>);

/// What is known of errors of one socket and was not told, or must not be told again.
#[derive(Default)]
pub(super) struct Errors {
    /// Whom a packet did not reach, if that is known, and why.
    untold: Vec<(Option<SocketAddr>, io::Error)>,
    /// An event said that something is wrong.
    pub(super) hung_up: bool,
    /// An error with a name, which may come again without.
    echo: Option<Kind>,
    failing: Option<Failing>,
    /// A packet was sent since receiving failed.
    sent_since: bool,
    /// Receiving failed while nothing could be told.
    pub(super) failed_now: Option<io::Error>,
}

/// Receiving has failed, and nothing has succeeded since.
struct Failing {
    told: Kind,
    backoff: Backoff,
    /// Runs during a pause.
    retry: Option<TimerId>,
}

impl Errors {
    /// Whether receiving is tried at present.
    pub(super) fn may_receive(&self) -> bool {
        self.failing.as_ref().is_none_or(|failing| failing.retry.is_none())
    }

    pub(super) fn received(&mut self) {
        self.failing = None;
    }

    pub(super) const fn sent(&mut self) {
        self.sent_since = true;
    }

    pub(super) fn take_retry(&mut self) -> Option<TimerId> {
        self.failing.as_mut()?.retry.take()
    }

    fn add(&mut self, peer: Option<SocketAddr>, error: io::Error) {
        let is_known = |(whom, why): &(Option<SocketAddr>, io::Error)| *whom == peer && kind(why) == kind(&error);
        if self.untold.len() < MOST_UNTOLD && !self.untold.iter().any(is_known) {
            self.untold.push((peer, error));
        }
    }

    /// Whether `error` is one that was told with a name.
    fn is_echo(&mut self, error: &io::Error) -> bool {
        self.echo.take_if(|echo| *echo == kind(error)).is_some()
    }
}

impl<T> Core<T> {
    /// Tells what has been found out. Whether there was anything.
    pub(super) fn tell_errors(&mut self, id: SlotId) -> bool {
        let Some(udp) = self.udp_mut(id) else { return false };
        if std::mem::take(&mut udp.errors.hung_up) {
            self.gather_unreached(id);
        }
        let mut told = false;
        for _ in 0..MOST_AT_ONCE {
            let Some(udp) = self.udp_mut(id) else { return told };
            if udp.errors.untold.is_empty() {
                return told;
            }
            let (peer, source) = udp.errors.untold.remove(0);
            self.tell_error(id, peer, source);
            told = true;
        }
        self.mark_ready(id);
        told
    }

    /// Asks the system for packets that reached nobody. Whether there were any.
    pub(super) fn gather_unreached(&mut self, id: SlotId) -> bool {
        let Some(net) = self.udp(id).map(UdpState::net) else { return false };
        for count in 0..MOST_AT_ONCE {
            let Some((peer, error)) = self.net.next_unreached(net) else { return count > 0 };
            if let Some(udp) = self.udp_mut(id) {
                udp.errors.echo = Some(kind(&error));
                udp.errors.add(Some(peer), error);
            }
        }
        if let Some(udp) = self.udp_mut(id) {
            udp.errors.hung_up = true;
        }
        self.mark_ready(id);
        true
    }

    /// Keeps an error for the `error` callback, which cannot come inside another. The first of several is kept.
    pub(super) fn keep_late_error(&mut self, id: SlotId, error: Option<io::Error>) {
        let (Some(error), Some(udp)) = (error, self.udp_mut(id)) else { return };
        let is_known = udp.errors.untold.iter().any(|(peer, _)| peer.is_none());
        if !udp.errors.is_echo(&error) && !is_known {
            udp.errors.add(None, error);
            self.mark_ready(id);
        }
    }

    /// A receiving call has failed. Behind it may be packets that were sent.
    pub(super) fn receiving_failed(&mut self, id: SlotId, error: io::Error) {
        if self.gather_unreached(id) {
            self.tell_errors(id);
            return;
        }
        let Some(udp) = self.udp_mut(id) else { return };
        if udp.errors.is_echo(&error) {
            return;
        }
        let (now, sent_since) = (kind(&error), std::mem::take(&mut udp.errors.sent_since));
        let known = match &mut udp.errors.failing {
            Some(failing) if !sent_since => {
                let known = std::mem::replace(&mut failing.told, now) == now;
                self.pause_receiving(id, &error);
                known
            }
            failing => {
                *failing = Some(Failing { told: now, backoff: Backoff::new(), retry: None });
                false
            }
        };
        if !known {
            self.tell_error(id, None, error);
        }
    }

    fn pause_receiving(&mut self, id: SlotId, error: &io::Error) {
        let failing = self.udp_mut(id).and_then(|udp| udp.errors.failing.as_mut());
        let Some(pause) = failing.map(|failing| failing.backoff.pause()) else { return };
        tracing::warn!(%error, ?pause, "receiving packets pauses");
        let retry = self.add_internal(Action::Udp(id), pause);
        if let Some(failing) = self.udp_mut(id).and_then(|udp| udp.errors.failing.as_mut()) {
            failing.retry = Some(retry);
        }
    }

    /// The pause is over.
    pub(in crate::event_loop) fn udp_timeout(&mut self, id: SlotId) {
        if let Some(udp) = self.udp_mut(id) {
            udp.errors.take_retry();
            self.mark_ready(id);
        }
    }

    fn tell_error(&mut self, id: SlotId, unreached: Option<SocketAddr>, source: io::Error) {
        let Some(udp) = self.udp(id) else { return };
        let error = match (unreached.or(udp.peer), self.net.local_addr(udp.net)) {
            (Some(peer), _) => Error::io("reach", peer, source),
            (None, Ok(local)) => Error::io("receive on", local, source),
            (None, Err(_)) => Error::io("receive on", "a socket", source),
        };
        self.with_handler(id, "error", |handler, u| handler.error(u, error));
    }
}

/// What tells one error from another.
pub(super) fn kind(error: &io::Error) -> Kind {
    (error.kind(), error.raw_os_error())
}
