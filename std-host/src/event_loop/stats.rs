//! Counters of one loop, and their sum over many.

use std::iter::Sum;
use std::ops::Add;

/// Declares the counters once, for the struct and for the sum.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a loop has done so far; a copy, read by [`LoopMut::stats`](super::LoopMut::stats).
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// What several loops have done together. A peak is the sum of their peaks, which they need not have reached at
        /// one time.
        impl Add for Stats {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

counters! {
    /// Iterations begun.
    iterations,
    /// Calls of the system's poll.
    polls,
    /// Events that poll reported.
    events,
    /// Reads that found nothing although an event had announced something.
    false_events,
    /// Connections accepted and kept.
    accepted,
    /// Connections that `pre_open` rejected, or that were shed for want of descriptors.
    refused,
    /// Connections that `pre_open` took out, those that were handed over to another loop included.
    taken,
    /// Times that accepting ran out of descriptors or memory.
    exhausted,
    /// Pauses of listeners for that reason.
    pauses,
    /// Calls of the system's accept.
    accepts,
    /// Sockets that opened.
    opened,
    /// Sockets closed because the peer had ended.
    closed_peer,
    /// Sockets closed by a reset of the peer.
    closed_reset,
    /// Sockets closed from this side, in order.
    closed_local,
    /// Sockets closed by `abort`.
    closed_aborted,
    /// Sockets closed by a failure.
    closed_failed,
    /// Sockets closed by the end of the loop.
    closed_ended,
    /// Steps of TLS handshakes.
    handshake_steps,
    /// TLS handshakes done.
    handshakes,
    /// TLS handshakes that failed, for want of time too.
    handshakes_failed,
    /// TLS handshakes done that went on from an earlier session.
    handshakes_resumed,
    /// Sockets that wait for a step of their handshake now.
    handshakes_waiting,
    /// Connections that did not come about.
    connect_failed,
    /// Bytes read.
    bytes_in,
    /// Calls of the system's read, those that found nothing or the end included.
    reads,
    /// Bytes that were read and thrown away, by `shutdown_read` or `finish`.
    discarded,
    /// Bytes written.
    bytes_out,
    /// Write calls that took bytes.
    writes,
    /// Writes that took less than was offered.
    short_writes,
    /// Queued bytes that were dropped by a close.
    unsent,
    /// Bytes queued now.
    queued,
    /// The most bytes that were queued at one time.
    queued_peak,
    /// Packets received.
    datagrams_in,
    /// Packets that the system took for sending.
    datagrams_out,
    /// Received packets that were longer than `udp_payload`.
    datagrams_truncated,
    /// Packets that the system dropped for want of room, where it tells.
    datagrams_dropped,
    /// Calls of the system that receive packets, those that found nothing included.
    datagram_reads,
    /// Calls of the system that send packets, those that it refused included.
    datagram_writes,
    /// Deferred calls run.
    deferred_run,
    /// Deferred calls refused.
    deferred_rejected,
    /// Deferred calls that were still queued at the end.
    deferred_dropped,
    /// Writes to the waker.
    wake_ups,
    /// Deferred calls that needed no write to the waker.
    coalesced,
    /// Timer callbacks.
    timers_fired,
    /// Ticks that were merged into a later one.
    timers_missed,
    /// Callbacks longer than `slow_callback`.
    slow_callbacks,
    /// Sockets that exist now, listeners not counted.
    sockets,
    /// The most sockets at one time.
    sockets_peak,
}

impl Sum for Stats {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
