//! What goes wrong, and how often.

use crate::rng::Rng;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How a [`World`](super::World) misbehaves. Chances are out of 1000 occasions.
///
/// Whatever is drawn, the world keeps the contract of [`Net`](wharf_host::event_loop::net::Net): a read or write that
/// was cut short or refused is followed by an edge when it can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A read or write takes less than it could: half the time one byte, else any number.
    pub short: u64,
    /// A read, write, accept or connect to a UNIX socket that could do something says that it would block.
    pub would_block: u64,
    /// A read, write or accept says that a signal interrupted it.
    pub interrupted: u64,
    /// A poll announces something that is not there.
    pub false_events: u64,
    /// A poll announces something of a socket that is closed.
    pub stale_events: u64,
    /// An event waits for a later poll.
    pub late_events: u64,
    /// An event shows all that is possible and not only what has become possible, as epoll does.
    pub merged: u64,
    /// Reading and writing of one socket are announced by an event each, as kqueue does.
    pub split: u64,
    /// The events of one batch come in any order.
    pub shuffled: bool,
    /// A write finds that the connection has been reset. UNIX sockets are spared.
    pub resets: u64,
    /// A reset takes along what had arrived and was not read; it does on the BSDs and not on Linux.
    pub reset_discards: u64,
    /// An accept or connect finds no descriptor.
    pub exhausted: u64,
    /// A connection that could be made is refused.
    pub refused: u64,
    /// While time passes in a poll, it passes further than was asked, by at most [`Faults::jump`].
    pub jumps: u64,
    /// The furthest jump of the clock.
    pub jump: Duration,
    /// The longest time that bytes and ends are on their way.
    pub latency: Duration,
    /// The longest time that a connection takes to come about.
    pub slow_connect: Duration,
    /// How long a direction that was cut short is held.
    pub hold: Duration,
    /// Bytes that fit between two sockets in one direction.
    pub capacity: RangeInclusive<u64>,
    /// A datagram is lost.
    pub lost: u64,
    /// A datagram comes twice.
    pub duplicated: u64,
    /// A datagram is late by up to [`Faults::latency`] and a millisecond, and others of its sender overtake it.
    pub overtaken: u64,
    /// That a datagram reached nobody is heard of without its destination: there was no room to keep that.
    pub nameless: u64,
    /// What a datagram takes to leave its socket, one after the other. Until then it fills the send buffer.
    pub pace: Duration,
    /// Datagrams that wait at a socket until they are received; those beyond are dropped and counted.
    pub receive_queue: RangeInclusive<u64>,
    /// Datagrams that may wait to leave a socket.
    pub send_buffer: RangeInclusive<u64>,
}

impl Faults {
    /// A perfect world: no time passes on the way, and no edge comes without need. A loop that forgets a latch waits
    /// for ever in it.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            short: 0,
            would_block: 0,
            interrupted: 0,
            false_events: 0,
            stale_events: 0,
            late_events: 0,
            merged: 0,
            split: 0,
            shuffled: false,
            resets: 0,
            reset_discards: 0,
            exhausted: 0,
            refused: 0,
            jumps: 0,
            jump: Duration::ZERO,
            latency: Duration::ZERO,
            slow_connect: Duration::ZERO,
            hold: Duration::ZERO,
            capacity: 65_536..=65_536,
            lost: 0,
            duplicated: 0,
            overtaken: 0,
            nameless: 0,
            pace: Duration::ZERO,
            receive_queue: 4096..=4096,
            send_buffer: 64..=64,
        }
    }

    /// Faults that no correct program can see: whatever is sent arrives, a datagram if there is room for it where it
    /// comes, and every connection comes about.
    #[must_use]
    pub fn harmless(rng: &mut Rng) -> Self {
        let mut chance = |most| if rng.chance(1, 3) { 0 } else { rng.between(1, most) };
        let mut faults = Self {
            short: chance(900),
            would_block: chance(300),
            interrupted: chance(100),
            false_events: chance(200),
            stale_events: chance(200),
            late_events: chance(300),
            merged: chance(1000),
            split: chance(500),
            shuffled: true,
            latency: Duration::from_micros(chance(20_000)),
            slow_connect: Duration::from_micros(chance(500_000)),
            hold: Duration::from_micros(chance(5_000)),
            ..Self::none()
        };
        let least = *rng.pick(&[1, 10, 1000, 65_536]);
        faults.capacity = least..=rng.between(least, 70_000);
        faults.pace = Duration::from_micros(rng.below(2) * rng.below(1000));
        let least = *rng.pick(&[1, 4, 64]);
        faults.send_buffer = least..=rng.between(least, 100);
        faults
    }

    /// All of them: connections break and are refused, datagrams are lost, doubled and overtaken, descriptors run out,
    /// the clock jumps.
    #[must_use]
    pub fn all(rng: &mut Rng) -> Self {
        let mut faults = Self::harmless(rng);
        let mut chance = |most| if rng.chance(1, 2) { 0 } else { rng.between(1, most) };
        faults.resets = chance(5);
        faults.reset_discards = chance(1000);
        faults.exhausted = chance(100);
        faults.refused = chance(100);
        faults.jumps = chance(20);
        faults.jump = Duration::from_millis(chance(10_000));
        faults.lost = chance(300);
        faults.duplicated = chance(300);
        faults.overtaken = chance(300);
        faults.nameless = chance(1000);
        let least = *rng.pick(&[1, 10, 1000]);
        faults.receive_queue = least..=rng.between(least, 2000);
        faults
    }
}
