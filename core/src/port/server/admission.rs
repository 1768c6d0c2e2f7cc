//! Who comes in: the connection that awaits a decision, and whether others may follow it.

use super::client::{Class, Client, State};
use super::event::{Event, Reason, Refusal};
use super::machine::Server;
use super::options::{OnFull, Pick};
use super::storage::Storage;
use super::{ACCEPT_BUDGET, AcceptFailure, Error, How, Output};
use crate::slots::SlotId;
use crate::time::{self, Instant};
use core::net::SocketAddr;
use core::time::Duration;

/// Milliseconds for which accepting pauses when the system has no descriptors; twice as long each time.
const FIRST_PAUSE: u32 = 100;
/// The longest such pause.
const LAST_PAUSE: u32 = 5_000;

/// The connection that awaits a decision, and what keeps others from coming.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door {
    waiting: Option<Waiting>,
    /// Connections that may still be admitted in this turn.
    left: u8,
    /// The next slot to be picked, with [`Pick::Rotate`].
    next: u32,
    /// The length of the last pause, in milliseconds; 0 once a connection has come.
    pause: u32,
    paused_until: Option<Instant>,
    /// `PauseAccept` has been said.
    paused: bool,
    /// An event that goes with what has been said.
    event: Option<Event>,
}

/// A connection that awaits a decision.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    peer: SocketAddr,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Admit(SlotId),
    Refuse(Refusal),
    /// Not in this turn.
    Park {
        said: bool,
    },
}

impl Door {
    pub(super) const OPEN: Self =
        Self { waiting: None, left: ACCEPT_BUDGET, next: 0, pause: 0, paused_until: None, paused: false, event: None };

    const fn parked(&self) -> Option<SocketAddr> {
        match self.waiting {
            Some(Waiting { peer, verdict: Verdict::Park { .. } }) => Some(peer),
            _ => None,
        }
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
    }
}

impl<S: Storage> Server<S> {
    pub(super) fn accepted(&mut self, now: Instant, peer: SocketAddr) -> Result<(), Error> {
        if self.door.waiting.is_some() {
            return Err(Error::Undecided);
        }
        self.door.pause = 0;
        let verdict = self.judge(now, peer);
        self.door.waiting = Some(Waiting { peer, verdict });
        Ok(())
    }

    pub(super) fn accept_failed(&mut self, now: Instant, kind: AcceptFailure) -> Result<(), Error> {
        if !self.listener.is_up() {
            return Err(Error::Unasked);
        }
        match kind {
            AcceptFailure::Transient => self.totals.lost = self.totals.lost.saturating_add(1),
            AcceptFailure::Exhausted => {
                self.totals.exhausted = self.totals.exhausted.saturating_add(1);
                self.door.pause = self.door.pause.saturating_mul(2).clamp(FIRST_PAUSE, LAST_PAUSE);
                self.door.paused_until = time::expiry(now, Duration::from_millis(self.door.pause.into()));
            }
            AcceptFailure::Fatal => {
                self.listener.broke();
                self.shut_door();
            }
        }
        Ok(())
    }

    /// A turn begins: a connection that was parked is judged again.
    pub(super) fn open_door(&mut self, now: Instant) {
        self.door.left = ACCEPT_BUDGET;
        if let Some(peer) = self.door.parked() {
            let verdict = match self.judge(now, peer) {
                Verdict::Park { .. } => Verdict::Park { said: true },
                decided @ (Verdict::Admit(_) | Verdict::Refuse(_)) => decided,
            };
            self.door.waiting = Some(Waiting { peer, verdict });
        }
    }

    /// The port goes down: nobody is admitted any more.
    pub(super) fn shut_door(&mut self) {
        if let Some(peer) = self.door.parked() {
            self.door.waiting = Some(Waiting { peer, verdict: Verdict::Refuse(Refusal::Down) });
        }
    }

    /// Whether the next turn would bring somebody in who waits: a connection that is parked, or one in the backlog.
    pub(super) fn door_wants_turn(&self) -> bool {
        let parked = self.door.parked().is_some();
        let frees = self.clients.retired() > 0;
        // While somebody is leaving, nobody else has to make room. Unless it is held, a connection does not wait for more.
        let decides = self.tally(Class::Leaving) == 0 && (!self.is_taken() || self.port.on_full != OnFull::Hold);
        (parked && (self.door.left == 0 || frees || decides)) || (self.door.paused && frees)
    }

    /// What comes next of the decision.
    pub(super) fn poll_decision(&mut self) -> Option<Output> {
        // It is asked with every message, and `take` would write each time.
        if self.door.event.is_some() {
            return self.door.event.take().map(Output::Notify);
        }
        let Waiting { peer, verdict } = self.door.waiting?;
        match verdict {
            Verdict::Admit(slot) => {
                self.door.waiting = None;
                Some(Output::Admit { slot })
            }
            Verdict::Refuse(why) => {
                self.door.waiting = None;
                self.door.event = Some(Event::Refused { peer, why });
                Some(Output::Refuse { why })
            }
            Verdict::Park { said: false } => {
                self.door.waiting = Some(Waiting { peer, verdict: Verdict::Park { said: true } });
                Some(Output::Park)
            }
            Verdict::Park { said: true } => None,
        }
    }

    /// Whether accepting must be paused or may go on.
    pub(super) fn poll_pause(&mut self) -> Option<Output> {
        if !self.listener.is_up() {
            self.door.paused = false;
            return None;
        }
        let waits = self.is_taken() || (self.free() == 0 && self.door.parked().is_some());
        let pauses = self.door.paused_until.is_some() || (self.port.on_full == OnFull::Hold && waits);
        if pauses == self.door.paused {
            return None;
        }
        self.door.paused = pauses;
        let (output, event) = match pauses {
            true => (Output::PauseAccept, Event::AcceptPaused),
            false => (Output::ResumeAccept, Event::AcceptResumed),
        };
        self.door.event = Some(event);
        Some(output)
    }

    /// Whether a newcomer would have to wait for somebody to leave of his own accord.
    fn is_taken(&self) -> bool {
        self.free() == 0 && self.tally(Class::Residue) == 0 && self.tally(Class::Drained) == 0
    }

    /// Slots that a newcomer may have now.
    fn free(&self) -> u32 {
        self.clients.capacity().saturating_sub(self.clients.len()).saturating_sub(self.clients.retired())
    }

    /// The order is: port, allow list, slot.
    fn judge(&mut self, now: Instant, peer: SocketAddr) -> Verdict {
        if !self.listener.is_up() {
            return Verdict::Refuse(Refusal::Down);
        }
        let allow = self.allow.as_ref();
        if !allow.is_empty() && !allow.iter().any(|network| network.contains(peer.ip())) {
            self.totals.denied = self.totals.denied.saturating_add(1);
            return Verdict::Refuse(Refusal::Denied);
        }
        if self.door.left == 0 {
            return Verdict::Park { said: false };
        }
        let start = match self.config.pick {
            Pick::First => 0,
            Pick::Rotate => self.door.next,
        };
        match self.clients.insert_from(start, Client::new(peer, now)) {
            Ok(slot) => {
                self.door.left = self.door.left.saturating_sub(1);
                self.door.next = slot.index().saturating_add(1);
                self.totals.accepted = self.totals.accepted.saturating_add(1);
                self.welcome(slot);
                Verdict::Admit(slot)
            }
            Err(_) => self.make_room(now),
        }
    }

    /// No slot is free: whether one will be.
    fn make_room(&mut self, now: Instant) -> Verdict {
        let park = Verdict::Park { said: false };
        if self.clients.retired() > 0 || self.tally(Class::Leaving) > 0 {
            return park;
        }
        for class in [Class::Residue, Class::Drained] {
            if self.tally(class) > 0 {
                return self.replace(now, |client| (client.class == class).then_some(Instant::ORIGIN));
            }
        }
        let kick_after = Duration::from_millis(self.port.kick_after.into());
        match self.port.on_full {
            OnFull::Close | OnFull::Text => self.refuse_full(),
            OnFull::Hold => park,
            OnFull::KickOldest => self.replace(now, |client| Some(client.opened)),
            OnFull::KickIdle => self.replace(now, |client| {
                (now.saturating_duration_since(client.last_any) >= kick_after).then_some(client.last_any)
            }),
        }
    }

    fn refuse_full(&mut self) -> Verdict {
        self.totals.full = self.totals.full.saturating_add(1);
        Verdict::Refuse(Refusal::Full)
    }

    /// Ends the client for which `rank` gives the earliest instant; of several the one in the lowest slot.
    fn replace(&mut self, now: Instant, rank: impl Fn(&Client) -> Option<Instant>) -> Verdict {
        let ranked = self.clients.iter().filter_map(|(slot, client)| Some((rank(client)?, slot)));
        let Some((_, slot)) = ranked.min_by_key(|(rank, _)| *rank) else { return self.refuse_full() };
        // It has just been found in its slot.
        let _ = self.with(slot, |place| {
            let reason = if place.is(State::Flushing) { place.client.reason() } else { Reason::Kicked };
            place.end(now, reason, How::Graceful);
            Ok(())
        });
        Verdict::Park { said: false }
    }
}
