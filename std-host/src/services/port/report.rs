//! What a port tells of itself: as a value, as text for people, and as JSON (section 12 of the ports specification).

mod json;
mod text;

use super::lines::LineCounts;
use super::options::{OPTIONS, Options};
use super::running::Running;
use super::tally::Totals;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::port::server::{Counters, PortCounters, Reason, State};
use wharf_core::slots::SlotId;

/// The options that say what is traced, and how.
const MASKS: [&str; 4] = ["trace", "trace_mask", "trace_io", "trace_info"];

/// How much a report tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whether the port is up, and how many clients it has.
    Line,
    /// What it has come to, and every slot.
    #[default]
    Slots,
    /// Options that differ from their defaults, deadlines, trace, and the longest queues, too.
    All,
}

/// A port at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    /// How much it tells.
    pub level: Level,
    /// The name of the port.
    pub name: String,
    /// Where it listens; `None` while it is down.
    pub local: Option<SocketAddr>,
    /// Where it is to listen, as it was written.
    pub address: String,
    /// Why it could not be opened the last time, while it is down.
    pub failure: Option<String>,
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
    /// The lines of its trace.
    pub trace: LineCounts,
    /// The lines of `mode = "log"`; `None` in any other.
    pub log: Option<LineCounts>,
    /// At level 2: its options that are not the default, as texts.
    pub options: Vec<(&'static str, String)>,
    /// At level 2: what is traced of the port, and how, by the names of the options.
    pub masks: Vec<(&'static str, String)>,
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
            level,
            name: port.name().to_owned(),
            local: machine.local(),
            address: options.address.as_str().to_owned(),
            failure: if machine.is_up() { None } else { site.common.failure() },
            slots: port.slots(),
            taken: machine.taken(),
            on_full: options.option("on_full").unwrap_or_default(),
            counters: machine.totals(),
            totals: *site.totals.borrow(),
            trace: site.traces.counts(),
            log: site.log.get().map(|lines| lines.borrow().counts()),
            options: if level == Level::All { unusual(&options) } else { Vec::new() },
            masks: if level == Level::All { masks(&options) } else { Vec::new() },
            seats: slots.map(|index| seat(port, level, index)).collect(),
        }
    }

    /// The name of a slot.
    #[must_use]
    pub fn child_name(&self, index: u32) -> String {
        format!("{}:{index}", self.name)
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
            differing(&slot, &port)
        }
        None => Vec::new(),
    };
    Seat { index, client, last, longest: watch.longest, options }
}

/// The options that are not the default of such a port.
fn unusual(options: &Options) -> Vec<(&'static str, String)> {
    let usual = Options::with(options.name.clone(), options.address.clone());
    // What the report tells anyhow is no news.
    let usual = Options { udp: options.udp, slots: options.slots, on_full: options.on_full, ..usual };
    let mut found = differing(options, &usual);
    found.retain(|(key, _)| !MASKS.contains(key));
    found
}

/// What is traced, and how.
fn masks(options: &Options) -> Vec<(&'static str, String)> {
    MASKS.into_iter().filter_map(|name| Some((name, options.option(name).ok()?))).collect()
}

/// The options of one port or slot that another does not have.
fn differing(one: &Options, other: &Options) -> Vec<(&'static str, String)> {
    let differs = |key: &str| {
        let (value, usual) = (one.option(key).ok()?, other.option(key).ok()?);
        (value != usual).then_some(value)
    };
    OPTIONS.iter().filter_map(|key| Some((key.name, differs(key.name)?))).collect()
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
