//! A reply that is kept back, and how it leaves piece by piece.

use super::alter::Frame;
use super::asked::Asked;
use super::decision::{Decision, Unsolicited};
use super::fault::{Kind, Moment, Order};
use crate::modbus::mbap::{MAX_PDU, header};
use crate::modbus::server::Outcome;
use crate::modbus::service::RequestId;
use crate::time::Instant;
use core::time::Duration;

/// A place for one reply that a fault acts on.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub(super) state: State,
    pub(super) decision: Decision,
    pub(super) asked: Asked,
    pub(super) transaction: u16,
    /// The reply as it will leave; empty if there is none.
    pub(super) frame: Frame,
    /// How the request ended, as the peer can tell.
    pub(super) outcome: Outcome,
}

/// Where a held reply stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum State {
    #[default]
    Free,
    /// The answer is not there yet.
    Awaited(RequestId),
    /// It was made in this input, and the connection does not know yet that it is kept back.
    Made(RequestId),
    /// It leaves at its turn, and not before an instant.
    Due(RequestId, Instant),
    /// It lets so many others leave first, but waits no longer than until an instant.
    Passed(RequestId, u16, Instant),
    /// It is leaving, or the request is gone and a frame waits for a quiet time.
    Leaving(Option<RequestId>),
    /// The reply has left; a frame that nobody asked for follows once the connection has been quiet for so long.
    Quiet(Duration),
}

impl Held {
    /// A free place.
    pub const EMPTY: Self = Self {
        state: State::Free,
        decision: Decision::NONE,
        asked: Asked::NOTHING,
        transaction: 0,
        frame: Frame::new(),
        outcome: Outcome::None,
    };

    pub(super) fn is_free(&self) -> bool {
        self.state == State::Free
    }

    /// Makes the frame that leaves of the honest reply, if there is any, as the decision says; `further` is what it may grow
    /// by. Tells `note` how many bytes each fault has changed.
    pub(super) fn make(
        &mut self,
        honest: Option<(&[u8], Outcome)>,
        further: &[u8],
        note: impl FnMut(super::FaultId, usize),
    ) {
        let Self { decision, asked, frame, outcome, transaction, .. } = self;
        frame.clear();
        *outcome = Outcome::None;
        let instead = decision.exception().map(|code| (code.reply(asked.function), code));
        let (pdu, ended) = match (&instead, honest) {
            _ if decision.is_silent() => return,
            (Some((pdu, code)), _) => (&pdu[..], Outcome::Exception(*code)),
            (None, Some((pdu, ended))) => (pdu, ended),
            (None, None) => return,
        };
        let head = header(*transaction, asked.unit, pdu.len());
        // A frame has room for much more than the longest honest one.
        let _fits =
            frame.extend_from_slice(&head).and_then(|()| frame.extend_from_slice(pdu.get(..MAX_PDU).unwrap_or(pdu)));
        decision.alter(asked, further, frame, note);
        let lost = matches!(decision.ending(), Some(Kind::CutFrame { .. } | Kind::Close { when: Order::Before, .. }));
        *outcome = if lost { Outcome::None } else { ended };
    }

    /// Whether nothing is sent for it.
    pub(super) fn is_mute(&self) -> bool {
        self.frame.is_empty() || matches!(self.decision.ending(), Some(Kind::Close { when: Order::Before, .. }))
    }
}

/// A held reply on its way out.
///
/// What leaves is a list of parts: unsolicited frames before, the reply and its copies, unsolicited frames after. The reply
/// and its copies leave in pieces, each of which may have to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Emission {
    /// The place of the reply.
    pub(super) place: usize,
    /// Which part is leaving.
    part: usize,
    /// How much of it has left.
    offset: usize,
    /// Where the piece ends that leaves now.
    end: usize,
    /// When the piece may leave.
    pub(super) due: Instant,
    /// Whether it may.
    pub(super) open: bool,
    /// Bytes that have left in all.
    pub(super) sent: u16,
    /// What an unsolicited copy of the reply has in place of the transaction id.
    transaction: [u8; 2],
}

/// One part of what leaves.
enum Part<'a> {
    /// The reply, or the first bytes of it; a copy if `again`.
    Reply { bytes: &'a [u8], again: bool },
    /// A frame that nobody asked for.
    Unsolicited(Unsolicited<'a>),
}

impl Emission {
    /// The first piece of what leaves for a held reply; `None` if there is nothing to send.
    pub(super) fn begin(held: &Held, place: usize, now: Instant) -> Option<Self> {
        let begun = Self { place, part: 0, offset: 0, end: 0, due: now, open: false, sent: 0, transaction: [0; 2] };
        begun.enter(held, now)
    }

    /// What may leave now.
    pub(super) fn shown<'a>(&'a self, held: &'a Held) -> [&'a [u8]; 2] {
        if !self.open {
            return [&[], &[]];
        }
        match part(held, self.part) {
            Some(Part::Reply { bytes, .. } | Part::Unsolicited(Unsolicited::Bytes(bytes))) => {
                [bytes.get(self.offset..self.end).unwrap_or_default(), &[]]
            }
            Some(Part::Unsolicited(Unsolicited::Reply { .. })) => {
                let rest = self.offset.max(self.transaction.len());
                [
                    self.transaction.get(self.offset..).unwrap_or_default(),
                    held.frame.get(rest..self.end).unwrap_or_default(),
                ]
            }
            None => [&[], &[]],
        }
    }

    /// So many bytes have left; what comes next, `None` if that was all.
    pub(super) fn advance(mut self, held: &Held, now: Instant, len: usize) -> Option<Self> {
        self.offset = self.offset.saturating_add(len);
        self.sent = self.sent.saturating_add(u16::try_from(len).unwrap_or(u16::MAX));
        if self.offset < self.end {
            return Some(self);
        }
        match part(held, self.part) {
            Some(Part::Reply { bytes, .. }) if self.end < bytes.len() => {
                self.end = held.decision.cuts().next(self.offset, bytes.len());
                Some(self.wait(now, held.decision.cuts().gap().unwrap_or_default()))
            }
            _ => {
                self.part = self.part.saturating_add(1);
                self.offset = 0;
                self.enter(held, now)
            }
        }
    }

    /// Nothing waits any longer.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = self.due.min(now);
    }

    /// Comes to a part, or to the next one that has any bytes.
    fn enter(mut self, held: &Held, now: Instant) -> Option<Self> {
        loop {
            let cuts = held.decision.cuts();
            match part(held, self.part)? {
                Part::Reply { bytes: [], .. } | Part::Unsolicited(Unsolicited::Bytes([])) => {
                    self.part = self.part.saturating_add(1);
                }
                Part::Reply { bytes, again } => {
                    self.end = cuts.next(0, bytes.len());
                    let (_, apart) = held.decision.copies();
                    let gap = cuts.gap().unwrap_or_default();
                    return Some(self.wait(now, if again { apart.saturating_add(gap) } else { gap }));
                }
                Part::Unsolicited(Unsolicited::Bytes(bytes)) => {
                    self.end = bytes.len();
                    return Some(self.wait(now, Duration::ZERO));
                }
                Part::Unsolicited(Unsolicited::Reply { transaction }) => {
                    self.transaction = transaction.to_be_bytes();
                    self.end = held.frame.len();
                    return Some(self.wait(now, Duration::ZERO));
                }
            }
        }
    }

    fn wait(mut self, now: Instant, gap: Duration) -> Self {
        self.due = now.saturating_add(gap);
        self.open = false;
        self
    }
}

/// One of the parts that leave for a held reply, `None` behind the last.
fn part(held: &Held, at: usize) -> Option<Part<'_>> {
    let decision = &held.decision;
    if matches!(held.state, State::Leaving(None)) {
        let mut idle = decision.unsolicited(|moment| matches!(moment, Moment::Idle(span) if !span.is_zero()));
        return idle.nth(at).map(Part::Unsolicited);
    }
    if let Some(Kind::CutFrame { bytes, .. }) = decision.ending() {
        let most = held.frame.len().saturating_sub(1);
        let bytes = held.frame.get(..usize::from(bytes).min(most)).unwrap_or_default();
        return (at == 0).then_some(Part::Reply { bytes, again: false });
    }
    let before = || decision.unsolicited(|moment| moment == Moment::Before);
    if let Some(frame) = before().nth(at) {
        return Some(Part::Unsolicited(frame));
    }
    let at = at.saturating_sub(before().count());
    let (copies, _) = decision.copies();
    if at <= usize::from(copies) {
        return Some(Part::Reply { bytes: &held.frame, again: at > 0 });
    }
    let at = at.saturating_sub(usize::from(copies)).saturating_sub(1);
    decision.unsolicited(|moment| moment == Moment::After).nth(at).map(Part::Unsolicited)
}
