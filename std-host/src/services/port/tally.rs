//! What a port has come to so far, beyond what the machine counts: sums over clients that have left, and what the host sees
//! of the sockets.

use wharf_core::Instant;
use wharf_core::port::server::{Event, Reason};

/// The names of the reasons for which clients leave, as [`Reason`] shows them. The last stands for all failures.
pub const REASONS: [&str; KNOWN.len() + 1] = [
    "PeerClosed",
    "PeerReset",
    "LocalClosed",
    "LocalAborted",
    "PortClosed",
    "Kicked",
    "IdleRx",
    "IdleAny",
    "WriteStuck",
    "ReadTimeout",
    "Overflow",
    "Failed",
];

/// The same but the last.
const KNOWN: [Reason; 11] = [
    Reason::PeerClosed,
    Reason::PeerReset,
    Reason::LocalClosed,
    Reason::LocalAborted,
    Reason::PortClosed,
    Reason::Kicked,
    Reason::IdleRx,
    Reason::IdleAny,
    Reason::WriteStuck,
    Reason::ReadTimeout,
    Reason::Overflow,
];

/// Sums over all clients since the port was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes taken from the network.
    pub rx: u64,
    /// Bytes given to the network.
    pub tx: u64,
    /// Bytes received that nobody had read when they were given up.
    pub unread: u64,
    /// Bytes queued that the system had not taken when the connection ended.
    pub unsent: u64,
    /// Bytes dropped from send queues for newer ones.
    pub overflowed: u64,
    /// Clients that have left, by [`REASONS`].
    pub departed: [u64; REASONS.len()],
}

/// What the host sees of a slot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// The most bytes that were ever queued, received and to be sent.
    pub(super) longest: [u32; 2],
    /// Since when the system takes nothing of what is queued; it took all that it was given before.
    pub(super) stuck: Option<Instant>,
}

impl Totals {
    /// Counts what happened.
    pub(super) fn count(&mut self, event: &Event) {
        if let Event::Overflowed { lost, .. } = event {
            self.overflowed += lost;
        } else if let Event::Disconnected { reason, unread, unsent, .. } = event {
            self.unread += unread;
            self.unsent += unsent;
            self.departed[place(*reason)] += 1;
        }
    }
}

impl Watch {
    /// The queues are this long; only the longest ever is kept.
    pub(super) fn see(&mut self, queued: [u32; 2]) {
        for (longest, queued) in self.longest.iter_mut().zip(queued) {
            *longest = (*longest).max(queued);
        }
    }

    /// The system has taken so many of the bytes that it was shown.
    pub(super) fn took(&mut self, now: Instant, taken: usize, shown: usize) {
        self.stuck = match taken {
            _ if taken == shown => None,
            0 => self.stuck.or(Some(now)),
            _ => Some(now),
        };
    }
}

fn place(reason: Reason) -> usize {
    KNOWN.iter().position(|known| *known == reason).unwrap_or(KNOWN.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_core::port::server::Failure;

    #[test]
    fn every_reason_is_counted_under_its_own_name() {
        for (at, name) in REASONS.iter().enumerate() {
            let reason = KNOWN.get(at).copied().unwrap_or(Reason::Failed(Failure::TimedOut));
            assert_eq!(reason.to_string().split('(').next(), Some(*name));
            let slot = wharf_core::slots::SlotId::from_bits(0);
            let mut totals = Totals::default();
            totals.count(&Event::Disconnected { slot, reason, unread: 2, unsent: 3 });
            assert_eq!((totals.departed[at], totals.unread, totals.unsent), (1, 2, 3));
            assert_eq!(totals.departed.iter().sum::<u64>(), 1);
        }
    }

    #[test]
    fn a_client_is_stuck_since_the_last_byte_that_the_system_took() {
        let [one, two, three] = [1, 2, 3].map(Instant::from_millis);
        let mut watch = Watch::default();
        watch.took(one, 10, 10);
        assert_eq!(watch.stuck, None);
        watch.took(one, 0, 10);
        watch.took(two, 0, 10);
        assert_eq!(watch.stuck, Some(one));
        watch.took(three, 4, 10);
        assert_eq!(watch.stuck, Some(three));
        watch.took(three, 6, 6);
        assert_eq!(watch.stuck, None);
    }
}
