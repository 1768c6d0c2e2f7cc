//! The listening socket, and who is let in.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule names the few cases that it is about")]

use super::judging::Wrong;
use super::{Listening, Port, Waiting};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use wharf_core::port::server::{
    AcceptFailure, DownReason, Error, Event, OnClose, OnFull, OpenFailure, Output, Reason, Refusal, State,
};

/// How long accepting pauses for want of descriptors, at first and at most.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Port {
    pub(super) fn open(&mut self) {
        self.wanted = true;
        if matches!(self.listening, Listening::Yes { .. } | Listening::Asked) {
            return;
        }
        self.listen_from = Some(self.now);
        // What fails at this moment is tried again in its time.
        if self.going_down.is_none() || self.going_down == Some(DownReason::Closed) {
            self.listen_by = Some(self.now);
        }
    }

    /// The port asks for its socket.
    pub(super) fn listens(&mut self) -> Result<(), Wrong> {
        let may = self.listen_from.is_some_and(|from| from <= self.now);
        if self.listening != Listening::No || self.going_down.is_some() || !may {
            return Err(format!("{:?}, from {:?} on", self.listening, self.listen_from));
        }
        self.listening = Listening::Asked;
        (self.listen_from, self.listen_by) = (None, None);
        Ok(())
    }

    /// Whether it should have done so.
    pub(super) fn must_listen(&self) -> bool {
        self.listening == Listening::No && self.going_down.is_none() && self.listen_by.is_some_and(|by| by <= self.now)
    }

    pub(super) fn opened(&mut self, local: SocketAddr) -> Result<(), Error> {
        self.was_asked(None, Listening::Asked)?;
        self.listening = Listening::Yes { local };
        if self.wanted {
            self.tell(Event::PortUp { local });
        } else {
            self.going_down = Some(DownReason::Closed);
            self.end_listening();
        }
        Ok(())
    }

    pub(super) fn open_failed(&mut self, kind: OpenFailure) -> Result<(), Error> {
        self.was_asked(None, Listening::Asked)?;
        self.listening = Listening::No;
        let reason = if self.wanted { DownReason::OpenFailed(kind) } else { DownReason::Closed };
        self.going_down = Some(reason);
        self.plan_retry();
        Ok(())
    }

    pub(super) fn shut(&mut self) -> Result<(), Error> {
        self.was_asked(Some(Output::Unlisten), Listening::Ending)?;
        self.listening = Listening::No;
        if self.going_down == Some(DownReason::AcceptFailed) {
            self.plan_retry();
        }
        Ok(())
    }

    /// An answer has to follow its question.
    fn was_asked(&self, question: Option<Output>, state: Listening) -> Result<(), Error> {
        let is_due = self.owed.iter().any(|owed| Some(owed.output) == question);
        if self.listening != state || is_due { Err(Error::Unasked) } else { Ok(()) }
    }

    pub(super) fn unlisten(&mut self, clients: OnClose) {
        self.wanted = false;
        // A port that is down already will not say so once more.
        self.dropping |= clients == OnClose::Drop && (self.listening != Listening::No || self.going_down.is_some());
        (self.listen_from, self.listen_by, self.reopen) = (None, None, None);
        if let Listening::Yes { .. } = self.listening {
            self.going_down = Some(DownReason::Closed);
            self.end_listening();
        }
    }

    fn end_listening(&mut self) {
        self.listening = Listening::Ending;
        self.muted = false;
        // Who is parked hears of it in the next turn.
        if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.parked) {
            waiting.due = false;
        }
        self.owe(Output::Unlisten);
    }

    fn plan_retry(&mut self) {
        let tries = self.wanted && self.options.auto_connect && self.options.reopen > 0;
        self.reopen = tries.then(|| Duration::from_millis(u64::from(self.options.reopen)));
        let from = self.reopen.map(|reopen| self.now.saturating_add(reopen));
        self.listen_from = self.listen_from.or(from);
    }

    pub(super) fn accept_failed(&mut self, kind: AcceptFailure) -> Result<(), Error> {
        if !matches!(self.listening, Listening::Yes { .. }) {
            return Err(Error::Unasked);
        }
        match kind {
            AcceptFailure::Transient => {}
            AcceptFailure::Exhausted => {
                self.exhausted = Some(self.now.saturating_add(self.pause));
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            AcceptFailure::Fatal => {
                self.going_down = Some(DownReason::AcceptFailed);
                self.end_listening();
            }
        }
        Ok(())
    }

    pub(super) fn time_out_port(&mut self) {
        let now = self.now;
        if self.exhausted.is_some_and(|at| at <= now) {
            self.exhausted = None;
        }
    }

    pub(super) fn follow_port(&mut self) {
        let nobody = self.slots.iter().all(|slot| slot.client.is_none());
        if self.listening == Listening::No
            && let Some(reason) = self.going_down
            && (nobody || !self.dropping)
        {
            self.going_down = None;
            self.dropping = false;
            self.tell(Event::PortDown { reason });
            let reopen = self.reopen.take().map(|reopen| self.now.saturating_add(reopen));
            self.listen_by = self.listen_by.or(reopen);
        }
    }

    /// Whether connections are to wait in the system's backlog.
    pub(super) fn wants_mute(&self) -> bool {
        let full = self.options.on_full == OnFull::Hold && self.free_slots().is_empty() && self.victims().is_empty();
        full || self.exhausted.is_some()
    }

    /// Slots that a newcomer may have now.
    pub(super) fn free_slots(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|&at| self.slots[at].client.is_none() && !self.slots[at].resting).collect()
    }

    pub(super) fn accepted(&mut self, peer: SocketAddr) -> Result<(), Error> {
        if self.waiting.is_some() {
            return Err(Error::Undecided);
        }
        self.pause = FIRST_PAUSE;
        self.waiting = Some(Waiting { peer, parked: false, due: true, may_evict: true });
        Ok(())
    }

    /// The slot that the next newcomer gets, if there is one.
    pub(super) fn pick(&self) -> Option<usize> {
        let free = self.free_slots();
        let from = if self.rotate { self.rotor } else { 0 };
        free.iter().copied().find(|&at| at >= from).or_else(|| free.first().copied())
    }

    pub(super) fn is_allowed(&self, peer: SocketAddr) -> bool {
        self.setup.allow.is_empty() || self.setup.allow.iter().any(|&(base, len)| lies_in(peer.ip(), base, len))
    }

    /// What the waiting connection must be told, if it cannot have a slot and waiting does not help.
    pub(super) fn refusal(&self, waiting: Waiting) -> Option<Refusal> {
        if !matches!(self.listening, Listening::Yes { .. }) || !self.wanted {
            return Some(Refusal::Down);
        }
        if !self.is_allowed(waiting.peer) {
            return Some(Refusal::Denied);
        }
        let waits = self.options.on_full == OnFull::Hold || self.will_be_free();
        let full = self.pick().is_none() && self.victims().is_empty() && !waits;
        full.then_some(Refusal::Full)
    }

    /// Whether a slot that cannot be had now can be had later without doing anything for it.
    pub(super) fn will_be_free(&self) -> bool {
        let leaves = |client: &super::Client| client.closing && client.state != State::Residue;
        self.slots.iter().any(|slot| slot.resting || slot.client.as_ref().is_some_and(leaves))
    }

    /// Any one of these slots may be freed for a newcomer, because the port is full.
    pub(super) fn victims(&self) -> Vec<usize> {
        let all = |wanted: &dyn Fn(&super::Client) -> bool| -> Vec<usize> {
            (0..self.slots.len()).filter(|&at| self.slots[at].client.as_ref().is_some_and(wanted)).collect()
        };
        let residues = all(&|client| client.state == State::Residue);
        if !residues.is_empty() {
            return residues;
        }
        let done = all(&|client| client.state == State::Flushing && client.tx.is_empty());
        if !done.is_empty() {
            return done;
        }
        let sitting = all(&|client| !client.closing);
        let key = |at: usize, idle: bool| {
            self.slots[at].client.as_ref().map(
                |client| {
                    if idle { client.last_rx.max(client.last_tx) } else { client.connected }
                },
            )
        };
        let idle = match self.options.on_full {
            OnFull::KickOldest => false,
            OnFull::KickIdle => true,
            OnFull::Close | OnFull::Text | OnFull::Hold => return Vec::new(),
        };
        let first = sitting.iter().filter_map(|&at| key(at, idle)).min();
        let enough = Duration::from_millis(u64::from(self.options.kick_after));
        let long = |since| !idle || self.now.saturating_duration_since(since) >= enough;
        sitting.into_iter().filter(|&at| key(at, idle) == first && first.is_some_and(long)).collect()
    }

    /// Takes a slot from who is in it.
    pub(super) fn evict(&mut self, at: usize) {
        let Some(client) = &mut self.slots[at].client else { return };
        match client.state {
            State::Residue => client.give_up_input(),
            State::Flushing if client.tx.is_empty() => client.close(Reason::LocalClosed, None),
            _ => client.close(Reason::Kicked, None),
        }
    }
}

/// Whether an address shares the first bits of another.
fn lies_in(address: IpAddr, base: IpAddr, len: u8) -> bool {
    let bits = |address: IpAddr| -> Vec<bool> {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0)).collect()
    };
    let (address, base, len) = (bits(address), bits(base), usize::from(len));
    address.len() == base.len() && address[..len] == base[..len]
}
