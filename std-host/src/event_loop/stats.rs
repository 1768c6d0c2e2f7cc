//! Counters of one loop.

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
    /// Connections that `pre_open` rejected or took, or that were shed for want of descriptors.
    pub refused: u64,
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
    /// Sockets closed from this side, in order.
    pub closed_local: u64,
    /// Sockets closed by `abort`.
    pub closed_aborted: u64,
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
    /// Packets received.
    pub datagrams_in: u64,
    /// Packets that the system took for sending.
    pub datagrams_out: u64,
    /// Received packets that were longer than `udp_payload`.
    pub datagrams_truncated: u64,
    /// Packets that the system dropped for want of room, where it tells.
    pub datagrams_dropped: u64,
    /// Calls of the system that receive packets, those that found nothing included.
    pub datagram_reads: u64,
    /// Calls of the system that send packets, those that it refused included.
    pub datagram_writes: u64,
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
