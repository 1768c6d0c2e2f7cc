//! What happens to bytes between two ends: they are split, delayed and cut, never reordered or altered.

use crate::rng::Rng;
use core::time::Duration;
use std::collections::VecDeque;
use wharf_core::Instant;

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order: FIN.
    Fin,
    /// At once: RST.
    Reset,
}

/// How a write is cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Not at all.
    Whole,
    /// Into single bytes.
    Bytes,
    /// Into pieces of 1 to this many bytes.
    Random(usize),
}

/// The stream ends early: after so many bytes, whatever was still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes that still pass.
    pub after: usize,
    /// What follows them.
    pub how: Ending,
}

/// The properties of one connection's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// How writes are cut, in both directions.
    pub split: Split,
    /// The least and the most time a segment travels. Segments of one direction keep their order; those of two
    /// connections overtake each other where this differs.
    pub delay: (Duration, Duration),
    /// Bytes that fit into one direction before its writer has to wait for its reader.
    pub window: usize,
    /// An early end of what the peer sends.
    pub cut_to_host: Option<Cut>,
    /// An early end of what the host sends.
    pub cut_to_peer: Option<Cut>,
}

impl Link {
    /// No delay, whole segments, 64 KiB each way.
    #[must_use]
    pub const fn direct() -> Self {
        Self {
            split: Split::Whole,
            delay: (Duration::ZERO, Duration::ZERO),
            window: 65536,
            cut_to_host: None,
            cut_to_peer: None,
        }
    }

    /// A path drawn at random: any split, up to 20 ms, a window from 1 byte on.
    pub fn random(rng: &mut Rng) -> Self {
        let split = match rng.below(3) {
            0 => Split::Whole,
            1 => Split::Bytes,
            _ => Split::Random(1 + rng.index(64)),
        };
        let (a, b) = (rng.below(20_000), rng.below(20_000));
        let window = *rng.pick(&[1, 7, 260, 1000, 65536]);
        Self {
            split,
            delay: (Duration::from_micros(a.min(b)), Duration::from_micros(a.max(b))),
            window,
            ..Self::direct()
        }
    }
}

/// What arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Bytes(Vec<u8>),
    End(Ending),
}

/// One direction of a link: segments on their way, in order.
#[derive(Debug)]
pub(super) struct Way {
    link: Link,
    cut: Option<Cut>,
    rng: Rng,
    under_way: VecDeque<(Instant, Arrival)>,
    /// Bytes on their way or with the receiver, unread.
    occupied: usize,
    latest: Instant,
    ended: bool,
}

impl Way {
    pub(super) fn new(link: Link, cut: Option<Cut>, rng: Rng) -> Self {
        let mut way =
            Self { link, cut, rng, under_way: VecDeque::new(), occupied: 0, latest: Instant::ORIGIN, ended: false };
        way.cut_if_due(Instant::ORIGIN);
        way
    }

    pub(super) fn room(&self) -> usize {
        self.link.window.saturating_sub(self.occupied)
    }

    /// Takes as many bytes as the window has room for.
    pub(super) fn write(&mut self, now: Instant, bytes: &[u8]) -> usize {
        if self.ended {
            return bytes.len();
        }
        let accepted = bytes.len().min(self.room());
        let passing = accepted.min(self.cut.map_or(usize::MAX, |cut| cut.after));
        let mut rest = &bytes[..passing];
        while !rest.is_empty() {
            let len = match self.link.split {
                Split::Whole => rest.len(),
                Split::Bytes => 1,
                Split::Random(most) => rest.len().min(1 + self.rng.index(most)),
            };
            let (segment, after) = rest.split_at(len);
            rest = after;
            self.occupied += len;
            self.push(now, Arrival::Bytes(segment.to_vec()));
        }
        if let Some(cut) = &mut self.cut {
            cut.after -= passing;
        }
        self.cut_if_due(now);
        accepted
    }

    /// The writer's end of the stream. A reset destroys what is still on its way.
    pub(super) fn end(&mut self, now: Instant, how: Ending) {
        if self.ended && how == Ending::Fin {
            return;
        }
        if how == Ending::Reset {
            self.under_way.clear();
            self.latest = now;
        }
        self.ended = true;
        self.push(now, Arrival::End(how));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, _)| *at)
    }

    pub(super) fn arrive(&mut self) -> Option<Arrival> {
        self.under_way.pop_front().map(|(_, arrival)| arrival)
    }

    /// The receiver has read so many bytes: there is room again.
    pub(super) fn consumed(&mut self, len: usize) {
        self.occupied = self.occupied.saturating_sub(len);
    }

    /// The receiver is gone: nothing more arrives.
    pub(super) fn shut(&mut self) {
        self.ended = true;
        self.under_way.clear();
    }

    fn cut_if_due(&mut self, now: Instant) {
        if let Some(cut) = self.cut
            && cut.after == 0
            && !self.ended
        {
            self.ended = true;
            self.push(now, Arrival::End(cut.how));
        }
    }

    fn push(&mut self, now: Instant, arrival: Arrival) {
        let (least, most) = self.link.delay;
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let delay = self.rng.between(micros(least), micros(most));
        self.latest = self.latest.max(now.saturating_add(Duration::from_micros(delay)));
        self.under_way.push_back((self.latest, arrival));
    }
}
