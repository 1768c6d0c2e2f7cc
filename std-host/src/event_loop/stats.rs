//! Counters of one loop, and their sum over many.

use std::iter::Sum;
use std::ops::Add;

/// What a loop has done so far; a copy, read by [`LoopMut::stats`](super::LoopMut::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Iterations begun.
    pub iterations: u64,
    /// Calls of the system's poll.
    pub polls: u64,
    /// Events that poll reported.
    pub events: u64,
    /// Reads that found nothing although an event had announced something.
    pub false_events: u64,
    /// Connections accepted and kept.
    pub accepted: u64,
    /// Connections that `pre_open` rejected, or that were shed for want of descriptors.
    pub refused: u64,
    /// Connections that `pre_open` took out, those that were handed over to another loop included.
    pub taken: u64,
    /// Times that accepting ran out of descriptors or memory.
    pub exhausted: u64,
    /// Pauses of listeners for that reason.
    pub pauses: u64,
    /// Calls of the system's accept.
    pub accepts: u64,
    /// Sockets that opened.
    pub opened: u64,
    /// Sockets closed because the peer had ended.
    pub closed_peer: u64,
    /// Sockets closed by a reset of the peer.
    pub closed_reset: u64,
    /// Sockets closed from this side, `abort` included.
    pub closed_local: u64,
    /// Sockets closed by a failure.
    pub closed_failed: u64,
    /// Sockets closed by the end of the loop.
    pub closed_ended: u64,
    /// Connections that did not come about.
    pub connect_failed: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Calls of the system's read, those that found nothing or the end included.
    pub reads: u64,
    /// Bytes that were read and thrown away, by `shutdown_read` or `finish`.
    pub discarded: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Write calls that took bytes.
    pub writes: u64,
    /// Writes that took less than was offered.
    pub short_writes: u64,
    /// Queued bytes that were dropped by a close.
    pub unsent: u64,
    /// Bytes queued now.
    pub queued: u64,
    /// The most bytes that were queued at one time.
    pub queued_peak: u64,
    /// Deferred calls run.
    pub deferred_run: u64,
    /// Deferred calls refused.
    pub deferred_rejected: u64,
    /// Deferred calls that were still queued at the end.
    pub deferred_dropped: u64,
    /// Writes to the waker.
    pub wake_ups: u64,
    /// Deferred calls that needed no write to the waker.
    pub coalesced: u64,
    /// Timer callbacks.
    pub timers_fired: u64,
    /// Ticks that were merged into a later one.
    pub timers_missed: u64,
    /// Callbacks longer than `slow_callback`.
    pub slow_callbacks: u64,
    /// Sockets that exist now, listeners not counted.
    pub sockets: u64,
    /// The most sockets at one time.
    pub sockets_peak: u64,
}

/// What several loops have done together. A peak is the sum of their peaks, which they need not have reached at one time.
impl Add for Stats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // Every counter is named and there is no `..`: one that is forgotten here does not compile.
        Self {
            iterations: self.iterations + other.iterations,
            polls: self.polls + other.polls,
            events: self.events + other.events,
            false_events: self.false_events + other.false_events,
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            taken: self.taken + other.taken,
            exhausted: self.exhausted + other.exhausted,
            pauses: self.pauses + other.pauses,
            accepts: self.accepts + other.accepts,
            opened: self.opened + other.opened,
            closed_peer: self.closed_peer + other.closed_peer,
            closed_reset: self.closed_reset + other.closed_reset,
            closed_local: self.closed_local + other.closed_local,
            closed_failed: self.closed_failed + other.closed_failed,
            closed_ended: self.closed_ended + other.closed_ended,
            connect_failed: self.connect_failed + other.connect_failed,
            bytes_in: self.bytes_in + other.bytes_in,
            reads: self.reads + other.reads,
            discarded: self.discarded + other.discarded,
            bytes_out: self.bytes_out + other.bytes_out,
            writes: self.writes + other.writes,
            short_writes: self.short_writes + other.short_writes,
            unsent: self.unsent + other.unsent,
            queued: self.queued + other.queued,
            queued_peak: self.queued_peak + other.queued_peak,
            deferred_run: self.deferred_run + other.deferred_run,
            deferred_rejected: self.deferred_rejected + other.deferred_rejected,
            deferred_dropped: self.deferred_dropped + other.deferred_dropped,
            wake_ups: self.wake_ups + other.wake_ups,
            coalesced: self.coalesced + other.coalesced,
            timers_fired: self.timers_fired + other.timers_fired,
            timers_missed: self.timers_missed + other.timers_missed,
            slow_callbacks: self.slow_callbacks + other.slow_callbacks,
            sockets: self.sockets + other.sockets,
            sockets_peak: self.sockets_peak + other.sockets_peak,
        }
    }
}

impl Sum for Stats {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
