//! Replies on their way into a socket, and when their requests came.
//!
//! Replies that a fault has altered are not among them: the machine says when one of those has left. Bytes are counted
//! against the others in the order in which these were made. Replies that were held behind a deferred one
//! leave behind it all the same, so that where a write ends among them their times may change places.

use super::metrics::Response;
use std::collections::VecDeque;
use std::time::Duration;
use wharf_core::Instant;

/// The replies of one connection that its socket has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    runs: VecDeque<Run>,
    /// Bytes of the first reply that have left.
    part: usize,
}

/// Replies of equal length and kind to requests of one input.
#[derive(Debug)]
struct Run {
    arrived: Instant,
    bytes: u16,
    status: Response,
    replies: u32,
}

impl Unsent {
    pub(super) fn push(&mut self, arrived: Instant, bytes: u16, status: Response) {
        match self.runs.back_mut() {
            Some(run) if (run.arrived, run.bytes, run.status) == (arrived, bytes, status) => run.replies += 1,
            _ => self.runs.push_back(Run { arrived, bytes, status, replies: 1 }),
        }
    }

    /// The socket has taken bytes; `told` hears of the replies that have left whole.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant, mut told: impl FnMut(Response, u32, Duration)) {
        self.part += bytes;
        while let Some(run) = self.runs.front_mut() {
            let whole = u32::try_from(self.part / usize::from(run.bytes.max(1))).unwrap_or(u32::MAX).min(run.replies);
            if whole > 0 {
                told(run.status, whole, now.saturating_duration_since(run.arrived));
            }
            self.part -= whole as usize * usize::from(run.bytes);
            run.replies -= whole;
            if run.replies > 0 {
                return;
            }
            self.runs.pop_front();
        }
    }

    /// Forgets all; how many replies they were.
    pub(super) fn drop_all(&mut self) -> u32 {
        self.part = 0;
        self.runs.drain(..).map(|run| run.replies).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// What is told of so many bytes at a time.
    fn told(unsent: &mut Unsent, bytes: usize, now: u64) -> Vec<(Response, u32, u128)> {
        let mut told = Vec::new();
        unsent.sent(bytes, at(now), |status, replies, took| told.push((status, replies, took.as_micros())));
        told
    }

    #[test]
    fn a_reply_has_left_with_its_last_byte() {
        let mut unsent = Unsent::default();
        for _ in 0..3 {
            unsent.push(at(100), 29, Response::Ok);
        }
        unsent.push(at(100), 9, Response::Exception);
        unsent.push(at(400), 9, Response::Exception);
        assert_eq!(told(&mut unsent, 28, 110), []);
        assert_eq!(told(&mut unsent, 30, 120), [(Response::Ok, 2, 20)]);
        assert_eq!(told(&mut unsent, 28, 130), []);
        assert_eq!(told(&mut unsent, 11, 500), [(Response::Ok, 1, 400), (Response::Exception, 1, 400)]);
        assert_eq!(unsent.drop_all(), 1);
        unsent.push(at(600), 2, Response::Ok);
        assert_eq!(told(&mut unsent, 2, 600), [(Response::Ok, 1, 0)]);
    }
}
