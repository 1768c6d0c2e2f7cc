//! What goes wrong with one reply: the faults that were chosen for it, in file order.

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the kinds of faults")]

use super::alter::{self, Frame};
use super::asked::Asked;
use super::fault::{CutPoints, Fault, Kind, Moment, Stage};
use super::plan::FaultId;
use crate::modbus::pdu::Exception;
use crate::random::SplitMix64;
use core::time::Duration;
use heapless::Vec;

/// Most faults that act on one reply; what is beyond them is suppressed.
pub const MAX_CHOICES: usize = 12;
/// Most bytes that they bring along together.
const MAX_PAYLOADS: usize = 2 * super::fault::MAX_PAYLOAD;

/// A fault that acts on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub fault: FaultId,
    /// What it does.
    pub kind: Kind,
    /// Its place in the file.
    place: u16,
    /// Of its random choices.
    seed: u64,
    /// Where its payload is.
    payload: (u16, u16),
}

/// What goes wrong with one reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    choices: Vec<Choice, MAX_CHOICES>,
    payloads: Vec<u8, MAX_PAYLOADS>,
}

impl Decision {
    /// Nothing.
    pub const NONE: Self = Self { choices: Vec::new(), payloads: Vec::new() };

    /// Whether all goes well.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// How many faults of the plan act.
    #[must_use]
    pub fn count(&self) -> u8 {
        let of_plan = self.choices.iter().filter(|choice| choice.fault != FaultId::OF_UNIT);
        u8::try_from(of_plan.count()).unwrap_or(u8::MAX)
    }

    /// The faults that act, in file order.
    #[must_use]
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Adds a fault at its place in the file; false if there is no room. What it decides at random follows from `seed`.
    pub fn add(&mut self, place: u16, id: FaultId, fault: &Fault, seed: u64) -> bool {
        let begin = self.payloads.len();
        if self.choices.is_full() || self.payloads.extend_from_slice(&fault.payload).is_err() {
            return false;
        }
        let at = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        let payload = (at(begin), at(self.payloads.len()));
        let choice = Choice { fault: id, kind: fault.kind, place, seed, payload };
        let before = self.choices.iter().filter(|other| other.place <= place).count();
        self.choices.insert(before, choice).is_ok()
    }

    /// Takes out one fault that loses against the others, and names it; call it until there is none.
    ///
    /// A `no_response` beats all that would be done to the reply; of several exceptions, and of several faults on the
    /// connection, the first acts; an exception has no quantity. Several `no_response` want the same, and none loses.
    pub fn settle(&mut self) -> Option<FaultId> {
        let silent = self.choices.iter().any(is_silence);
        let exception = self.choices.iter().position(|choice| matches!(choice.kind, Kind::Exception { .. }));
        let connection = self.choices.iter().position(|choice| choice.kind.stage() == Stage::Connection);
        let loses = |(at, choice): (usize, &Choice)| match choice.kind.stage() {
            Stage::Connection => Some(at) != connection,
            Stage::Accept | Stage::Listener => true,
            _ if silent => !is_silence(choice),
            Stage::Answer => exception.is_some() && Some(at) != exception,
            Stage::Pdu | Stage::Header | Stage::Delay | Stage::Wire => false,
        };
        let at = self.choices.iter().enumerate().position(loses)?;
        Some(self.choices.remove(at).fault)
    }

    /// There is no reply to do anything to: takes out one fault of stages 1 to 5, and names it; call it until there is none.
    pub fn settle_without_reply(&mut self) -> Option<FaultId> {
        let at = self.choices.iter().position(|choice| choice.kind.stage() != Stage::Connection)?;
        Some(self.choices.remove(at).fault)
    }

    /// Whether the request must not take effect, as one of the faults that win says.
    #[must_use]
    pub fn prevents_execution(&self) -> bool {
        if self.is_silent() {
            return self.choices.iter().any(|choice| is_silence(choice) && choice.kind.prevents_execution());
        }
        let exception = self.find(|kind| matches!(kind, Kind::Exception { .. }).then_some(kind));
        exception.is_some_and(|kind| kind.prevents_execution())
    }

    /// Whether there is no reply.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.choices.iter().any(is_silence)
    }

    /// The exception in place of the reply.
    #[must_use]
    pub fn exception(&self) -> Option<Exception> {
        self.find(|kind| if let Kind::Exception { code, .. } = kind { Some(code) } else { None })
    }

    /// The greatest quantity that a `wrong_count` makes of the one that was asked for, if it is greater.
    #[must_use]
    pub fn widest(&self, asked: &Asked) -> Option<u16> {
        let (most, honest) = (alter::most(asked.function)?, asked.quantity()?);
        let (mut present, mut widest) = (honest, honest);
        for choice in &self.choices {
            if let Kind::WrongCount(count) = choice.kind {
                present = alter::counted(present, count, most);
                widest = widest.max(present);
            }
        }
        (widest > honest).then_some(widest)
    }

    /// Does what the faults of stages 1 to 3 do to a frame, whose quantity can grow by what is in `further`, a reply of the
    /// [widest](Self::widest) quantity, or by zeros; tells `note` how many bytes each of them has changed.
    pub fn alter(&self, asked: &Asked, further: &[u8], frame: &mut Frame, mut note: impl FnMut(FaultId, usize)) {
        let (honest, mut quantity) = (frame.clone(), asked.quantity());
        for stage in [Stage::Answer, Stage::Pdu, Stage::Header] {
            for choice in self.choices.iter().filter(|choice| choice.kind.stage() == stage) {
                let source = SplitMix64::new(choice.seed);
                let changed =
                    alter::apply(&choice.kind, self.payload(choice), source, &mut quantity, (&honest, further), frame);
                note(choice.fault, changed);
            }
        }
    }

    /// How much later the reply leaves.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.choices.iter().fold(Duration::ZERO, |sum, choice| match choice.kind {
            Kind::Delay { delay, jitter } => {
                let most = u32::try_from(jitter.as_micros()).unwrap_or(u32::MAX);
                let more = SplitMix64::new(choice.seed).up_to(most);
                sum.saturating_add(delay).saturating_add(Duration::from_micros(more.into()))
            }
            _ => sum,
        })
    }

    /// How many times more the frame is sent, and how long after the one before.
    #[must_use]
    pub fn copies(&self) -> (u16, Duration) {
        self.choices.iter().fold((0, Duration::ZERO), |(sum, longest), choice| match choice.kind {
            Kind::Duplicate { copies, gap } => (sum.saturating_add(copies.into()), longest.max(gap)),
            _ => (sum, longest),
        })
    }

    /// Behind how many later replies this one leaves, or after how long.
    #[must_use]
    pub fn reorder(&self) -> Option<(u16, Duration)> {
        self.choices.iter().fold(None, |found: Option<(u16, Duration)>, choice| match choice.kind {
            Kind::Reorder { behind, wait } => {
                let (sum, longest) = found.unwrap_or_default();
                Some((sum.saturating_add(behind), longest.max(wait)))
            }
            _ => found,
        })
    }

    /// The unsolicited frames of one moment, in file order: what each sends in place of the reply, if not that under another
    /// transaction id.
    pub fn unsolicited(&self, moment: fn(Moment) -> bool) -> impl Iterator<Item = Unsolicited<'_>> {
        self.choices.iter().filter_map(move |choice| match choice.kind {
            Kind::Unsolicited { when, transaction } if moment(when) => {
                Some(match (self.payload(choice), choice.payload) {
                    ([], _) => Unsolicited::Reply { transaction },
                    (bytes, _) => Unsolicited::Bytes(bytes),
                })
            }
            _ => None,
        })
    }

    /// How long the connection must be quiet for the unsolicited frame that waits for it.
    #[must_use]
    pub fn quiet(&self) -> Option<Duration> {
        self.find(|kind| match kind {
            Kind::Unsolicited { when: Moment::Idle(span), .. } if !span.is_zero() => Some(span),
            _ => None,
        })
    }

    /// Where the frame is cut.
    #[must_use]
    pub fn cuts(&self) -> Cuts<'_> {
        Cuts { choices: &self.choices }
    }

    /// What becomes of the connection.
    #[must_use]
    pub fn ending(&self) -> Option<Kind> {
        self.find(|kind| (kind.stage() == Stage::Connection).then_some(kind))
    }

    fn find<T>(&self, f: impl Fn(Kind) -> Option<T>) -> Option<T> {
        self.choices.iter().find_map(|choice| f(choice.kind))
    }

    fn payload(&self, choice: &Choice) -> &[u8] {
        let (begin, end) = choice.payload;
        self.payloads.get(usize::from(begin)..usize::from(end)).unwrap_or_default()
    }
}

/// A frame that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsolicited<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The reply once more.
    Reply {
        /// Under this transaction id.
        transaction: u16,
    },
}

/// Where a frame is cut into pieces: at the cut points of all faults together.
#[derive(Clone, Copy, Debug)]
pub struct Cuts<'a> {
    choices: &'a [Choice],
}

impl Cuts<'_> {
    /// How long each piece waits; `None` if nothing is cut.
    #[must_use]
    pub fn gap(&self) -> Option<Duration> {
        let gap = |choice: &Choice| match choice.kind {
            Kind::Split { gap, .. } | Kind::Dribble { gap, .. } => Some(gap),
            _ => None,
        };
        self.choices.iter().filter_map(gap).max()
    }

    /// The end of the piece that begins at `from` in a frame of `len` bytes.
    #[must_use]
    pub fn next(&self, from: usize, len: usize) -> usize {
        let cut = |choice: &Choice| match choice.kind {
            Kind::Split { at, .. } => first_behind(at, from),
            Kind::Dribble { chunk, .. } => {
                let chunk = usize::from(chunk.max(1));
                Some(from.saturating_sub(from.checked_rem(chunk).unwrap_or(0)).saturating_add(chunk))
            }
            _ => None,
        };
        self.choices.iter().filter_map(cut).fold(len, usize::min)
    }
}

fn is_silence(choice: &Choice) -> bool {
    matches!(choice.kind, Kind::NoResponse { .. })
}

fn first_behind(at: CutPoints, from: usize) -> Option<usize> {
    at.into_iter().map(usize::from).filter(|cut| *cut > from).min()
}
