//! Who may connect, and who must go for it.
//!
//! A newcomer passes `allow`, `accept_rate`, `max_per_address`, then `max_connections`; one from a `priority` address
//! with fewer than `priority_max` connections passes whatever the others say, and counts apart. Time is an input, and
//! nothing here touches a socket.

use super::event::{ConnectionId, Rejection};
use crate::config::modbus as plant;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use wharf_core::Instant;
use wharf_core::network::Network;
use wharf_core::rate::{Bucket, Rate};

/// Addresses that may be remembered for their rate before those that need not be are looked for.
const REMEMBERED: usize = 4096;

/// What a connection shows of itself to whoever looks for one that may go.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// The last whole request, or the beginning.
    pub(super) last_request: Cell<Instant>,
    /// Whether a request waits for its answer, or an answer for the socket.
    pub(super) in_flight: Cell<bool>,
}

/// What became of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is in.
    Admitted,
    /// It is in, and this one has to go for it.
    InPlaceOf(ConnectionId),
    /// There is no room for it.
    Refused,
}

/// The limits of a server, and who is in.
pub(super) struct Admission {
    rules: Rules,
    addresses: HashMap<IpAddr, Address>,
    members: HashMap<ConnectionId, Member>,
    /// Members that count against `max_connections`.
    ordinary: usize,
    /// Members that may have to go, by a last request that may be out of date, but never too late.
    candidates: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    /// How many addresses there may be before it is looked which can be forgotten.
    remembered: usize,
}

struct Rules {
    max_connections: usize,
    evicts: bool,
    max_per_address: Option<u32>,
    allow: Option<Vec<Network>>,
    priority: Vec<Network>,
    priority_max: u32,
    accept_rate: Option<Rate>,
}

#[derive(Default)]
struct Address {
    connections: u32,
    /// Those of them that are there by priority.
    by_priority: u32,
    permits: Option<Bucket>,
}

struct Member {
    address: IpAddr,
    by_priority: bool,
    /// Where somebody may have to go for another.
    activity: Option<Rc<Activity>>,
}

impl Admission {
    pub(super) fn new(described: &plant::Server) -> Self {
        let rules = Rules {
            max_connections: described.max_connections as usize,
            evicts: described.when_full == plant::WhenFull::Evict,
            max_per_address: described.max_per_address,
            allow: described.allow.clone(),
            priority: described.priority.clone(),
            priority_max: described.priority_max,
            accept_rate: described.accept_rate,
        };
        Self {
            rules,
            addresses: HashMap::new(),
            members: HashMap::new(),
            ordinary: 0,
            candidates: BinaryHeap::new(),
            remembered: REMEMBERED,
        }
    }

    /// Whether a newcomer may come in as far as that can be told before it has: why not, if not.
    pub(super) fn judge(&mut self, now: Instant, address: IpAddr) -> Result<(), Rejection> {
        let address = address.to_canonical();
        if self.has_priority(address) {
            return Ok(());
        }
        if self.rules.allow.as_ref().is_some_and(|allowed| !lies_in(allowed, address)) {
            return Err(Rejection::NotAllowed);
        }
        if let Some(rate) = self.rules.accept_rate {
            self.forget_idle_addresses(rate, now);
            let known = self.addresses.entry(address).or_default();
            if !known.permits.get_or_insert_with(|| Bucket::full(rate, now)).take(rate, now) {
                return Err(Rejection::Rate);
            }
        }
        let connections = self.addresses.get(&address).map_or(0, |known| known.connections);
        if self.rules.max_per_address.is_some_and(|max| connections >= max) {
            return Err(Rejection::PerAddress);
        }
        if self.is_full() && !self.rules.evicts {
            return Err(Rejection::Limit);
        }
        Ok(())
    }

    /// What a newcomer must show of itself, if anything.
    pub(super) fn activity(&self, now: Instant) -> Option<Rc<Activity>> {
        let activity = || Activity { last_request: Cell::new(now), in_flight: Cell::new(false) };
        self.rules.evicts.then(|| Rc::new(activity()))
    }

    /// Lets a newcomer in that was judged well.
    pub(super) fn enter(&mut self, id: ConnectionId, address: IpAddr, activity: Option<Rc<Activity>>) -> Entry {
        let address = address.to_canonical();
        let by_priority = self.has_priority(address);
        let entry = match by_priority || !self.is_full() {
            true => Entry::Admitted,
            false => match self.evict() {
                Some(victim) => Entry::InPlaceOf(victim),
                None => return Entry::Refused,
            },
        };
        let known = self.addresses.entry(address).or_default();
        known.connections += 1;
        known.by_priority += u32::from(by_priority);
        self.ordinary += usize::from(!by_priority);
        if let Some(activity) = &activity
            && !lies_in(&self.rules.priority, address)
        {
            self.candidates.push(Reverse((activity.last_request.get(), id)));
        }
        self.members.insert(id, Member { address, by_priority, activity });
        entry
    }

    /// A connection has ended. One that had to go has left already.
    pub(super) fn leave(&mut self, id: ConnectionId) {
        let Some(member) = self.members.remove(&id) else { return };
        self.ordinary -= usize::from(!member.by_priority);
        if let Some(known) = self.addresses.get_mut(&member.address) {
            known.connections -= 1;
            known.by_priority -= u32::from(member.by_priority);
            if known.connections == 0 && known.permits.is_none() {
                self.addresses.remove(&member.address);
            }
        }
        // Those who have left are found here only when somebody has to go.
        if self.candidates.len() > 2 * self.members.len() + REMEMBERED {
            let members = &self.members;
            self.candidates.retain(|Reverse((_, id))| members.contains_key(id));
        }
    }

    fn is_full(&self) -> bool {
        self.ordinary >= self.rules.max_connections
    }

    fn has_priority(&self, address: IpAddr) -> bool {
        let by_priority = || self.addresses.get(&address).map_or(0, |known| known.by_priority);
        lies_in(&self.rules.priority, address) && by_priority() < self.rules.priority_max
    }

    /// Lets the connection go whose last request is oldest, of those that wait for nothing.
    fn evict(&mut self) -> Option<ConnectionId> {
        let mut in_flight = Vec::new();
        let mut found = None;
        while let Some(Reverse((at, id))) = self.candidates.pop() {
            let Some(activity) = self.members.get(&id).and_then(|member| member.activity.as_ref()) else { continue };
            let last = activity.last_request.get();
            if last > at {
                self.candidates.push(Reverse((last, id)));
            } else if activity.in_flight.get() {
                in_flight.push(Reverse((at, id)));
            } else {
                found = Some(id);
                break;
            }
        }
        self.candidates.extend(in_flight);
        self.leave(found?);
        found
    }

    /// Keeps what is remembered of addresses bounded, however many there are.
    fn forget_idle_addresses(&mut self, rate: Rate, now: Instant) {
        if self.addresses.len() < self.remembered {
            return;
        }
        let connected = |known: &Address| known.connections > 0;
        let spent = |known: &Address| known.permits.is_some_and(|permits| !permits.is_full(rate, now));
        self.addresses.retain(|_, known| connected(known) || spent(known));
        if self.addresses.len() >= 4 * (self.members.len() + REMEMBERED) {
            // So many strangers at once are better met by a firewall.
            self.addresses.retain(|_, known| connected(known));
        }
        self.remembered = 2 * self.addresses.len() + REMEMBERED;
    }
}

fn lies_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn described() -> plant::Server {
        plant::Server::new("m")
    }

    /// Lets a newcomer in if that is possible.
    fn connect(admission: &mut Admission, id: ConnectionId, from: &str, millis: u64) -> Result<Entry, Rejection> {
        admission.judge(at(millis), ip(from))?;
        let activity = admission.activity(at(millis));
        Ok(admission.enter(id, ip(from), activity))
    }

    #[test]
    fn the_checks_come_in_their_order() {
        let rate = Rate { per_second: 1, burst: 1 };
        let strict = plant::Server {
            allow: Some(networks(&["10.0.0.0/8"])),
            accept_rate: Some(rate),
            max_per_address: Some(1),
            max_connections: 1,
            ..described()
        };
        let mut admission = Admission::new(&strict);
        assert_eq!(connect(&mut admission, 1, "10.0.0.1", 0), Ok(Entry::Admitted));
        // Whoever fails several checks learns of the first.
        assert_eq!(connect(&mut admission, 2, "11.0.0.1", 0), Err(Rejection::NotAllowed));
        assert_eq!(connect(&mut admission, 2, "10.0.0.1", 999), Err(Rejection::Rate));
        assert_eq!(connect(&mut admission, 2, "10.0.0.1", 1000), Err(Rejection::PerAddress));
        assert_eq!(connect(&mut admission, 2, "10.0.0.2", 1000), Err(Rejection::Limit));
        admission.leave(1);
        assert_eq!(connect(&mut admission, 2, "10.0.0.3", 1000), Ok(Entry::Admitted));
    }

    #[test]
    fn an_address_has_so_many_connections_and_gets_them_back() {
        let mut admission = Admission::new(&plant::Server { max_per_address: Some(2), ..described() });
        for (id, from) in [(1, "10.0.0.1"), (2, "::ffff:10.0.0.1"), (3, "10.0.0.2")] {
            assert_eq!(connect(&mut admission, id, from, 0), Ok(Entry::Admitted));
        }
        assert_eq!(connect(&mut admission, 4, "10.0.0.1", 0), Err(Rejection::PerAddress));
        admission.leave(2);
        admission.leave(2);
        assert_eq!(connect(&mut admission, 4, "10.0.0.1", 0), Ok(Entry::Admitted));
        assert_eq!(connect(&mut admission, 5, "10.0.0.1", 0), Err(Rejection::PerAddress));
    }

    #[test]
    fn each_address_has_a_rate_of_its_own() {
        let rate = Rate { per_second: 10, burst: 2 };
        let mut admission = Admission::new(&plant::Server { accept_rate: Some(rate), ..described() });
        let outcomes = |admission: &mut Admission, from: &str, millis| {
            [(); 3].map(|()| admission.judge(at(millis), ip(from)).is_ok())
        };
        assert_eq!(outcomes(&mut admission, "10.0.0.1", 0), [true, true, false]);
        assert_eq!(outcomes(&mut admission, "10.0.0.2", 0), [true, true, false]);
        assert_eq!(outcomes(&mut admission, "10.0.0.1", 100), [true, false, false]);
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let rate = Rate { per_second: 1, burst: 1 };
        let mut admission = Admission::new(&plant::Server { accept_rate: Some(rate), ..described() });
        for number in 0..200_000 {
            let address = IpAddr::V4(Ipv4Addr::from_bits(number));
            // All within a second: nobody's permit has come back.
            assert!(admission.judge(at(u64::from(number) / 300), address).is_ok());
            assert!(admission.addresses.len() <= 12 * REMEMBERED, "{}", admission.addresses.len());
        }
        // Whoever has a permit again need not be remembered.
        admission.remembered = 0;
        assert!(admission.judge(at(10_000), ip("10.0.0.1")).is_ok());
        assert_eq!(admission.addresses.len(), 1);
    }

    #[test]
    fn priority_is_admitted_whatever_the_limits_say_and_counts_apart() {
        let full = plant::Server {
            max_connections: 1,
            max_per_address: Some(1),
            allow: Some(networks(&["10.0.0.0/8"])),
            priority: networks(&["192.0.2.7", "10.0.0.7"]),
            priority_max: 2,
            ..described()
        };
        let mut admission = Admission::new(&full);
        assert_eq!(connect(&mut admission, 1, "10.0.0.7", 0), Ok(Entry::Admitted));
        assert_eq!(connect(&mut admission, 2, "10.0.0.1", 0), Ok(Entry::Admitted), "priority takes nobody's place");
        assert_eq!(connect(&mut admission, 3, "10.0.0.2", 0), Err(Rejection::Limit));
        assert_eq!(connect(&mut admission, 4, "192.0.2.7", 0), Ok(Entry::Admitted));
        assert_eq!(connect(&mut admission, 5, "192.0.2.7", 0), Ok(Entry::Admitted));
        assert_eq!(connect(&mut admission, 6, "192.0.2.7", 0), Err(Rejection::NotAllowed), "beyond priority_max");
        admission.leave(4);
        assert_eq!(connect(&mut admission, 7, "192.0.2.7", 0), Ok(Entry::Admitted));
    }

    #[test]
    fn whoever_asked_longest_ago_goes_unless_it_waits_for_something_or_has_priority() {
        let full = plant::Server {
            max_connections: 4,
            when_full: plant::WhenFull::Evict,
            priority: networks(&["192.0.2.7"]),
            priority_max: 1,
            ..described()
        };
        let mut admission = Admission::new(&full);
        let activities: Vec<_> = (1..=4_u64)
            .map(|id| {
                let activity = admission.activity(at(id)).unwrap();
                assert!(admission.judge(at(id), ip("10.0.0.1")).is_ok());
                let entry = admission.enter(id, ip("10.0.0.1"), Some(Rc::clone(&activity)));
                assert_eq!(entry, Entry::Admitted);
                activity
            })
            .collect();
        assert_eq!(connect(&mut admission, 5, "192.0.2.7", 5), Ok(Entry::Admitted));
        // The first has asked again, the second waits for an answer.
        activities[0].last_request.set(at(10));
        activities[1].in_flight.set(true);
        assert_eq!(connect(&mut admission, 6, "10.0.0.2", 11), Ok(Entry::InPlaceOf(3)));
        assert_eq!(connect(&mut admission, 7, "10.0.0.2", 12), Ok(Entry::InPlaceOf(4)));
        activities[1].in_flight.set(false);
        assert_eq!(connect(&mut admission, 8, "10.0.0.2", 13), Ok(Entry::InPlaceOf(2)));
        assert_eq!(connect(&mut admission, 9, "10.0.0.2", 14), Ok(Entry::InPlaceOf(1)));
        // One with priority that comes beyond its number takes a place like others, and is not evicted either.
        for (id, victim) in [(10, 6), (11, 7), (12, 8), (13, 9)] {
            assert_eq!(connect(&mut admission, id, "192.0.2.7", 20), Ok(Entry::InPlaceOf(victim)));
        }
        assert_eq!(connect(&mut admission, 14, "10.0.0.2", 21), Ok(Entry::Refused));
        admission.leave(3);
        assert_eq!(connect(&mut admission, 14, "10.0.0.2", 21), Ok(Entry::Refused), "it had left already");
        admission.leave(13);
        assert_eq!(connect(&mut admission, 14, "10.0.0.2", 21), Ok(Entry::Admitted));
    }

    #[test]
    fn those_who_have_left_are_not_kept() {
        let full = plant::Server { when_full: plant::WhenFull::Evict, ..described() };
        let mut admission = Admission::new(&full);
        for id in 0..100_000 {
            assert_eq!(connect(&mut admission, id, "10.0.0.1", id), Ok(Entry::Admitted));
            admission.leave(id);
        }
        assert!(admission.candidates.len() <= REMEMBERED + 1 && admission.addresses.is_empty());
    }
}
