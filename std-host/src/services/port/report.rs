//! What a port tells of itself: as a value, as text for people, and as JSON (section 12 of the ports specification).

mod about;
mod json;
mod text;

pub use about::About;
pub(super) use text::seconds;

use super::options::Options;
use super::running::Running;
use super::tally::Totals;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::port::server::{Counters, PortCounters, Reason, State};
use wharf_core::slots::SlotId;

/// How much a report tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whether the port is up, and how many clients it has, or what it keeps.
    Line,
    /// What it has come to, and every slot.
    #[default]
    Slots,
    /// Options that differ from their defaults, deadlines, trace, the longest queues, and all that a UDP port counts, too.
    All,
}

/// A TCP port at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it shares with ports of the other kind.
    pub about: About,
    /// The number of its slots.
    pub slots: u32,
    /// How many of them have a client, or something that is left of one.
    pub taken: u32,
    /// What happens to a client that comes when no slot is free.
    pub on_full: String,
    /// What has happened since the port was made.
    pub counters: PortCounters,
    /// Sums over all clients since then.
    pub totals: Totals,
    /// From level 1 on: the slots that were asked for.
    pub seats: Vec<Seat>,
}

/// A slot at one moment.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its number.
    pub index: u32,
    /// Who sits there.
    pub client: Option<Seated>,
    /// Why the client before left, and how long ago.
    pub last: Option<(Reason, Duration)>,
    /// Bytes that were ever queued at most: received ones, and those to be sent.
    pub longest: [u32; 2],
    /// At level 2: options that are not those of the port, as texts.
    pub options: Vec<(&'static str, String)>,
}

/// A client in its slot.
#[derive(Clone, Copy, Debug)]
pub struct Seated {
    /// Its id.
    pub slot: SlotId,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What it is doing.
    pub state: State,
    /// Since it was given the slot.
    pub up: Duration,
    /// Since the last byte either way.
    pub idle: Duration,
    /// What has become of its bytes.
    pub counters: Counters,
    /// For how long the system has taken nothing of what is queued, because the client does not read.
    pub stuck: Option<Duration>,
    /// Until it is looked at if nothing happens before.
    pub deadline: Option<Duration>,
}

impl Level {
    /// The level of this number.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Line),
            1 => Some(Self::Slots),
            2 => Some(Self::All),
            _ => None,
        }
    }
}

impl Report {
    /// Takes the report of a port and of these of its slots.
    pub(super) fn take(port: &Running<'_>, level: Level, slots: Range<u32>) -> Self {
        let site = port.site();
        let machine = site.machine.borrow();
        let options = site.options.borrow();
        let slots = if level >= Level::Slots { slots.start..slots.end.min(port.slots()) } else { 0..0 };
        Self {
            about: About::take(level, &site.common, &options, machine.local(), &site.traces, site.log.as_ref()),
            slots: port.slots(),
            taken: machine.taken(),
            on_full: options.option("on_full").unwrap_or_default(),
            counters: machine.totals(),
            totals: *site.totals.borrow(),
            seats: slots.map(|index| seat(port, level, index)).collect(),
        }
    }

    /// The name of a slot.
    #[must_use]
    pub fn child_name(&self, index: u32) -> String {
        format!("{}:{index}", self.about.name)
    }
}

fn seat(port: &Running<'_>, level: Level, index: u32) -> Seat {
    let (site, now) = (port.site(), port.now());
    let machine = site.machine.borrow();
    let mut watch = site.watch(index);
    let ago = |then: Instant| now.saturating_duration_since(then);
    let client = machine.id_at(index).and_then(|slot| {
        let (seated, counters) = (machine.seated(slot)?, machine.counters(slot)?);
        watch.see(machine.queued(slot));
        let sends = matches!(seated.state, State::Open | State::PeerEnded | State::Flushing);
        Some(Seated {
            slot,
            peer: seated.peer,
            state: seated.state,
            up: ago(seated.opened),
            idle: ago(seated.last_active),
            counters,
            stuck: watch.stuck.filter(|_| sends && counters.queued_tx > 0).map(ago),
            deadline: seated.deadline.map(|deadline| deadline.saturating_duration_since(now)),
        })
    });
    let last = machine.departed(index).map(|departed| (departed.reason, ago(departed.at)));
    let own = site.own_options.borrow();
    let options = match own.get(&index).filter(|_| level == Level::All) {
        Some(own) => {
            let port = site.options.borrow();
            let slot = Options { slot: own.clone(), ..port.clone() };
            about::differing(&slot, &port)
        }
        None => Vec::new(),
    };
    Seat { index, client, last, longest: watch.longest, options }
}

/// What a client is doing, in a word.
const fn word(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::PeerEnded => "peer-ended",
        State::LocalEnded => "local-ended",
        State::Flushing => "flushing",
        State::Closing => "closing",
        State::Residue => "residue",
        State::Gone => "gone",
    }
}
