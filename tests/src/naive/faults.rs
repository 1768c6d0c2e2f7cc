//! A second plan of faults, as plain as it can be, from section 8.1 and 8.4 alone: counters that run down, windows that
//! are walked through, and addresses looked at one by one.
//!
//! What chance decides it is told; it says whether chance was asked at all.

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the kinds of faults")]

use core::net::IpAddr;
use wharf_core::Instant;
use wharf_core::modbus::data::TableKind;
use wharf_core::modbus::faults::{Ended, Fault, Kind, Relation, Reply, Scope, Stage, Window};
use wharf_core::random::Probability;

/// One fault, its counts for the server and for each connection.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub fault: Fault,
    /// When it is over, if it was switched on for a while.
    pub until: Option<Instant>,
    /// Checked, matched, applied and suppressed.
    pub counts: [u64; 4],
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    to_skip: u64,
    until_next: u64,
    left: Option<u64>,
}

/// Whether a fault acts on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// If chance will have it.
    Perhaps,
}

/// A request, as far as faults look at it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Its unit.
    pub unit: u8,
    /// Its PDU, complete.
    pub pdu: &'a [u8],
    /// Who sent it.
    pub peer: Option<IpAddr>,
}

impl Entry {
    /// A fault of a server with so many connections.
    #[must_use]
    pub fn new(fault: Fault, connections: usize) -> Self {
        let quota = fault.quota;
        let place = Place { to_skip: quota.skip, until_next: quota.every.max(1), left: quota.max };
        Self { fault, until: None, counts: [0; 4], places: vec![place; connections + 1] }
    }

    /// Whether it is enabled and in its window, for a server that started at the origin.
    #[must_use]
    pub fn is_in_force(&self, now: Instant) -> bool {
        self.fault.enabled && self.until.is_none_or(|until| now < until) && is_open(&self.fault.window, now)
    }

    /// Looks at a request of a connection, before its execution or after; counts.
    pub fn look(&mut self, now: Instant, connection: usize, asked: &Asked<'_>, ended: Option<Ended>) -> Acts {
        let reply = self.fault.target.reply;
        let on_requests = !matches!(self.fault.kind.stage(), Stage::Accept | Stage::Listener);
        if !on_requests || (reply == Reply::Any) != ended.is_none() || !self.is_in_force(now) {
            return Acts::No;
        }
        self.counts[0] += 1;
        let ended_so = match (reply, ended) {
            (Reply::Normal, Some(ended)) => ended == Ended::Normal,
            (Reply::Exception, Some(ended)) => ended == Ended::Exception,
            _ => true,
        };
        if ended_so && is_aimed_at(&self.fault, asked) { self.matched(connection) } else { Acts::No }
    }

    /// Looks at a new connection.
    pub fn meet(&mut self, now: Instant, connection: usize, peer: Option<IpAddr>) -> Acts {
        if self.fault.kind.stage() != Stage::Accept || !self.is_in_force(now) {
            return Acts::No;
        }
        self.counts[0] += 1;
        if is_peer(&self.fault, peer) { self.matched(connection) } else { Acts::No }
    }

    fn place(&mut self, connection: usize) -> &mut Place {
        let at = if self.fault.quota.scope == Scope::Server { 0 } else { connection + 1 };
        &mut self.places[at]
    }

    fn matched(&mut self, connection: usize) -> Acts {
        self.counts[1] += 1;
        let (every, probability) = (self.fault.quota.every.max(1), self.fault.probability);
        let place = self.place(connection);
        if place.to_skip > 0 {
            place.to_skip -= 1;
            return Acts::No;
        }
        place.until_next -= 1;
        if place.until_next > 0 {
            return Acts::No;
        }
        place.until_next = every;
        if place.left == Some(0) || probability == Probability::NEVER {
            return Acts::No;
        }
        if probability == Probability::ALWAYS { Acts::Yes } else { Acts::Perhaps }
    }

    /// It has acted on a request of a connection.
    pub fn applied(&mut self, connection: usize) {
        self.counts[2] += 1;
        let place = self.place(connection);
        place.left = place.left.map(|left| left - 1);
    }

    /// It would have, had it not lost.
    pub const fn suppressed(&mut self) {
        self.counts[3] += 1;
    }
}

/// Which of the faults on one reply act, of those that want to, in file order.
#[must_use]
pub fn winners(kinds: &[Kind]) -> Vec<bool> {
    let silent = kinds.iter().any(is_silence);
    let (mut exceptions, mut endings) = (0, 0);
    let refused = kinds.iter().any(|kind| matches!(kind, Kind::Exception { .. }));
    let acts = |kind: &Kind| match kind {
        Kind::NoResponse { .. } => true,
        Kind::Exception { .. } => {
            exceptions += 1;
            !silent && exceptions == 1
        }
        kind if kind.stage() == Stage::Connection => {
            endings += 1;
            endings == 1
        }
        Kind::WrongCount(_) => !silent && !refused,
        _ => !silent,
    };
    kinds.iter().map(acts).collect()
}

/// Whether faults, as many as want to act, keep a request from taking effect.
#[must_use]
pub fn prevent_execution(kinds: &[Kind]) -> bool {
    let winners = winners(kinds);
    let says_so =
        |kind: &Kind| matches!(kind, Kind::NoResponse { execute: false } | Kind::Exception { execute: false, .. });
    kinds.iter().zip(winners).any(|(kind, acts)| acts && says_so(kind))
}

/// Where frames of a length are cut: the union of what all faults say.
#[must_use]
pub fn cuts(kinds: &[Kind], len: usize) -> Vec<usize> {
    let is_cut = |at: usize| {
        kinds.iter().any(|kind| match kind {
            Kind::Split { at: points, .. } => points.iter().any(|point| usize::from(*point) == at),
            Kind::Dribble { chunk, .. } => at.is_multiple_of(usize::from((*chunk).max(1))),
            _ => false,
        })
    };
    (1..len).filter(|at| is_cut(*at)).collect()
}

const fn is_silence(kind: &Kind) -> bool {
    matches!(kind, Kind::NoResponse { .. })
}

fn is_open(window: &Window, now: Instant) -> bool {
    let now = u128::from(now.as_micros());
    let from = window.from.as_micros();
    if now < from || window.until.is_some_and(|until| now >= until.as_micros()) {
        return false;
    }
    match window.cycle {
        Some((on, off)) if !off.is_zero() => (now - from) % (on + off).as_micros() < on.as_micros(),
        _ => true,
    }
}

fn is_peer(fault: &Fault, peer: Option<IpAddr>) -> bool {
    let peers = &fault.target.peers;
    peers.is_empty() || peer.is_some_and(|peer| peers.iter().any(|network| network.contains(peer)))
}

fn is_aimed_at(fault: &Fault, asked: &Asked<'_>) -> bool {
    let target = &fault.target;
    let word = |at: usize| u32::from(asked.pdu[at]) << 8 | u32::from(asked.pdu[at + 1]);
    let spans: Vec<(u32, u32)> = match asked.pdu[0] {
        1..=4 | 15 | 16 => vec![(word(1), word(3))],
        5 | 6 | 22 => vec![(word(1), 1)],
        23 => vec![(word(1), word(3)), (word(5), word(7))],
        _ => vec![],
    };
    let table = match asked.pdu[0] {
        1 | 5 | 15 => TableKind::Coils,
        2 => TableKind::Discrete,
        4 => TableKind::Input,
        _ => TableKind::Holding,
    };
    let near = |(start, quantity): &(u32, u32)| {
        let Some(addresses) = target.addresses else { return true };
        let is_inside = |at: u32| (u32::from(addresses.first)..=u32::from(addresses.last)).contains(&at);
        match addresses.relation {
            Relation::Overlap => (*start..start + quantity).any(is_inside),
            Relation::Within => (*start..start + quantity).all(is_inside),
            Relation::Start => is_inside(*start),
        }
    };
    let names_it = (target.table.is_none() && target.addresses.is_none())
        || (target.table.is_none_or(|wanted| wanted == table) && spans.iter().any(near));
    let quantity = spans.first().map(|(_, quantity)| *quantity);
    target.units.is_none_or(|units| units.contains(asked.unit))
        && target.functions.is_none_or(|codes| codes.contains(asked.pdu[0]))
        && is_peer(fault, asked.peer)
        && names_it
        && target.quantity.is_none_or(|(least, most)| quantity.is_some_and(|q| least as u32 <= q && q <= most as u32))
}
