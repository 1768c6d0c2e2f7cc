//! 8.1: which matches a fault acts on, and what is counted.

use super::*;
use crate::random::Probability;

fn limited(quota: Quota) -> Fault {
    Fault { quota, ..fault(SILENCE) }
}

/// Which of so many matches it acts on, counted from 1.
fn acted_on(fault: Fault, matches: u64) -> Vec<u64> {
    let mut server = Server::new([fault]);
    (1..=matches).filter(|_| server.ask(&asks(3, 0, 1)).is_silent()).collect()
}

#[test]
fn skip_passes_the_first_matches_and_every_counts_behind_them() {
    for (skip, every, expected) in [
        (0, 1, vec![1, 2, 3, 4, 5, 6, 7, 8]),
        (3, 1, vec![4, 5, 6, 7, 8]),
        (0, 3, vec![3, 6]),
        (2, 3, vec![5, 8]),
        (8, 1, vec![]),
        (0, 0, vec![1, 2, 3, 4, 5, 6, 7, 8]),
        (u64::MAX, 1, vec![]),
        (0, u64::MAX, vec![]),
    ] {
        assert_eq!(acted_on(limited(Quota { skip, every, ..Quota::EVERY }), 8), expected, "skip {skip}, every {every}");
    }
}

#[test]
fn max_stops_it_after_so_many_actions() {
    for (skip, every, max, expected) in
        [(0, 1, 0, vec![]), (0, 1, 2, vec![1, 2]), (1, 2, 2, vec![3, 5]), (0, 4, 9, vec![4, 8])]
    {
        let quota = Quota { skip, every, max: Some(max), ..Quota::EVERY };
        assert_eq!(acted_on(limited(quota), 8), expected, "{quota:?}");
    }
}

#[test]
fn a_match_that_is_passed_over_is_matched_and_not_applied() {
    let mut server = Server::new([limited(Quota { skip: 2, every: 2, max: Some(1), scope: Scope::Server })]);
    for _ in 0..10 {
        server.ask(&asks(3, 0, 1));
    }
    assert_eq!(server.counts(0), [10, 10, 1, 0]);
}

#[test]
fn only_what_it_is_aimed_at_is_counted_off() {
    let target = Target { functions: Some([3].into_iter().collect()), ..Target::ANY };
    let mut server = Server::new([Fault { target, ..limited(Quota { every: 2, ..Quota::EVERY }) }]);
    let seen: Vec<bool> = [3, 4, 4, 3, 4, 3, 3].map(|code| server.ask(&asks(code, 0, 1)).is_silent()).into();
    assert_eq!(seen, [false, false, false, true, false, false, true]);
    assert_eq!(server.counts(0), [7, 4, 2, 0]);
}

#[test]
fn connections_count_together_or_each_by_itself() {
    for (scope, expected) in [
        (Scope::Server, [false, true, false, true, false, true]),
        (Scope::Connection, [false, false, true, true, false, false]),
    ] {
        let mut server = Server::new([limited(Quota { every: 2, scope, ..Quota::EVERY })]);
        assert_eq!(server.plan.tallies(), usize::from(scope == Scope::Connection));
        let seen: Vec<bool> = [0, 1, 0, 1, 0, 1]
            .map(|nth| server.ask_on(nth, Instant::ORIGIN, &asks(3, 0, 1), Ended::Normal).is_silent())
            .into();
        assert_eq!(seen, expected, "{scope:?}");
        let counted = server.tallies[0].iter().map(Tally::fault);
        assert!(counted.eq((scope == Scope::Connection).then_some(Some(FaultId(1)))), "{scope:?}");
    }
    assert_eq!(Tally::EMPTY.fault(), None);
}

#[test]
fn skip_of_n_less_one_ends_each_connection_after_n_requests() {
    let close = Kind::Close { how: How::Fin, when: Order::After, delay: Duration::ZERO };
    let quota = Quota { skip: 2, scope: Scope::Connection, ..Quota::EVERY };
    let mut server = Server::new([Fault { quota, ..fault(close) }]);
    for connection in 0..3 {
        let ends = |_| server.ask_on(connection, Instant::ORIGIN, &asks(3, 0, 1), Ended::Normal).ending().is_some();
        assert_eq!([1, 2, 3].map(ends), [false, false, true], "connection {connection}");
    }
}

#[test]
fn several_faults_count_for_each_connection_apart_from_each_other() {
    let quota = |skip| Quota { skip, scope: Scope::Connection, ..Quota::EVERY };
    let delay = Kind::Delay { delay: micros(1), jitter: Duration::ZERO };
    let mut server = Server::new(
        [(0, delay), (1, delay), (2, delay)].map(|(skip, kind)| Fault { quota: quota(skip), ..fault(kind) }),
    );
    let seen = [(); 3].map(|()| named(&server.ask(&asks(3, 0, 1))));
    assert_eq!(seen, [vec![1], vec![1, 2], vec![1, 2, 3]]);
}

#[test]
fn a_fault_without_a_place_for_its_counts_does_not_act() {
    let mut server = Server::new([limited(Quota { scope: Scope::Connection, ..Quota::EVERY })]);
    server.tallies[0].clear();
    assert!(server.ask(&asks(3, 0, 1)).is_empty());
    assert_eq!(server.counts(0), [1, 1, 0, 0]);
}

#[test]
fn probability_0_never_acts_and_1_always() {
    let with = |probability| Fault { probability, ..fault(SILENCE) };
    assert_eq!(acted_on(with(Probability::NEVER), 200), []);
    assert_eq!(acted_on(with(Probability::ALWAYS), 200).len(), 200);
}

#[test]
fn a_probability_is_that_of_each_match_and_follows_from_the_seed() {
    let with = |seed| acted_on(Fault { probability: Probability::from_f64(0.25), seed, ..fault(SILENCE) }, 4000);
    for seed in 0..8 {
        let acted = with(seed);
        // Five standard deviations, which no seed here reaches.
        assert!((860..1140).contains(&acted.len()), "{} of 4000 with seed {seed}", acted.len());
        assert_eq!(acted, with(seed), "again with seed {seed}");
    }
    assert_ne!(with(1), with(2));
}

#[test]
fn the_seed_of_a_fault_without_one_follows_from_that_of_the_server_and_from_its_name() {
    // FNV-1a of the empty text and of "foobar", as its authors publish them.
    for (name, hash) in [("", 0xCBF2_9CE4_8422_2325), ("foobar", 0x8594_4171_F739_67E8)] {
        for server in [0, 1, u64::MAX] {
            assert_eq!(seed_of(server, name), SplitMix64::new(server ^ hash).draw(), "{name} on {server}");
        }
    }
}

#[test]
fn what_chance_passes_over_does_not_use_up_max() {
    let probability = Probability::from_f64(0.1);
    let quota = Quota { max: Some(3), ..Quota::EVERY };
    assert_eq!(acted_on(Fault { probability, ..limited(quota) }, 2000).len(), 3);
}

#[test]
fn chance_comes_after_every_and_decides_on_the_nth_alone() {
    let probability = Probability::from_f64(0.5);
    let quota = Quota { every: 5, ..Quota::EVERY };
    let acted = acted_on(Fault { probability, ..limited(quota) }, 2000);
    assert!(acted.iter().all(|nth| nth % 5 == 0), "{acted:?}");
    assert!((150..250).contains(&acted.len()), "{}", acted.len());
}

#[test]
fn counts_and_chances_go_on_when_a_fault_comes_back() {
    let quota = Quota { every: 2, ..Quota::EVERY };
    let mut server = Server::new([limited(quota)]);
    let mut seen = Vec::new();
    for on in [true, false, false, true, true, false, true] {
        server.plan.entries[0].enable(on, None);
        seen.push(server.ask(&asks(3, 0, 1)).is_silent());
    }
    assert_eq!(seen, [false, false, false, true, false, false, true]);
}

#[test]
fn what_is_suppressed_is_not_applied_and_not_an_action() {
    let quota = Quota { max: Some(2), ..Quota::EVERY };
    let loser = Fault { quota, ..fault(exception(2, true)) };
    let first = Fault { quota, ..fault(SILENCE) };
    let mut server = Server::new([first, loser]);
    let seen = [1, 2, 3, 4, 5].map(|now| {
        let decision = server.ask_on(0, at(now), &asks(3, 0, 1), Ended::Normal);
        named(&decision).first().copied()
    });
    assert_eq!(seen, [Some(1), Some(1), Some(2), Some(2), None]);
    assert_eq!([server.counts(0), server.counts(1)], [[5, 5, 2, 0], [5, 5, 2, 2]]);
    assert_eq!(server.plan.entries[0].statistics.last, Some(at(2)));
    assert_eq!(server.plan.entries[1].statistics.last, Some(at(4)));
}

#[test]
fn the_last_time_is_not_one_at_which_it_lost() {
    let window = Window { from: micros(5), ..Window::ALWAYS };
    let mut server = Server::new([Fault { window, ..fault(SILENCE) }, fault(exception(2, true))]);
    for now in [1, 4, 7] {
        server.ask_on(0, at(now), &asks(3, 0, 1), Ended::Normal);
    }
    assert_eq!(server.counts(1), [3, 3, 2, 1]);
    assert_eq!(server.plan.entries[1].statistics.last, Some(at(4)));
}

#[test]
fn a_fault_is_found_by_its_name_and_a_plan_without_any_is_empty() {
    let server = Server::new([fault(SILENCE), fault(exception(2, true))]);
    assert!(!server.plan.is_empty());
    assert_eq!(server.plan.entry(FaultId(2)).map(|entry| entry.fault().kind), Some(exception(2, true)));
    assert_eq!(server.plan.entry(FaultId(3)), None);
    assert!(Server::new([]).plan.is_empty());
}

#[test]
fn bytes_altered_add_up() {
    let mut server = Server::new([fault(SILENCE)]);
    let mut acting = server.plan.acting(None, &mut []);
    acting.altered(FaultId(1), 7);
    acting.altered(FaultId(9), 100);
    acting.altered(FaultId(1), usize::MAX);
    acting.altered(FaultId(1), 1);
    assert_eq!(server.plan.entries[0].statistics.bytes, u64::MAX);
}

#[test]
fn a_new_connection_is_ended_by_the_first_fault_that_is_aimed_at_its_peer() {
    let accept = |how, peer: &str| {
        let mut target = Target::ANY;
        if !peer.is_empty() {
            target.peers.push(peer.parse().unwrap()).unwrap();
        }
        Fault { target, ..fault(Kind::AcceptClose { how, delay: micros(3) }) }
    };
    let mut server =
        Server::new([accept(How::Rst, "10.0.0.0/8"), accept(How::Fin, ""), accept(How::Rst, ""), fault(SILENCE)]);
    let mut accepted = |peer: &str| server.plan.acting(Some(peer.parse().unwrap()), &mut []).accepted(Instant::ORIGIN);
    assert_eq!(accepted("10.0.0.1"), Some((How::Rst, micros(3))));
    assert_eq!(accepted("11.0.0.1"), Some((How::Fin, micros(3))));
    let counts = [0, 1, 2, 3].map(|place| server.counts(place));
    assert_eq!(
        counts,
        [[2, 1, 1, 0], [2, 2, 1, 1], [2, 2, 0, 2], [0; 4]],
        "each is counted, and what loses is suppressed"
    );
}

#[test]
fn every_nth_new_connection_is_ended_whoever_asks_in_between() {
    let quota = Quota { every: 2, ..Quota::EVERY };
    let mut server =
        Server::new([Fault { quota, ..fault(Kind::AcceptClose { how: How::Fin, delay: Duration::ZERO }) }]);
    let seen = [(); 5].map(|()| {
        server.ask(&asks(3, 0, 1));
        server.plan.acting(None, &mut []).accepted(Instant::ORIGIN).is_some()
    });
    assert_eq!(seen, [false, true, false, true, false]);
}

/// One fault, told without arithmetic that could go wrong: every match is a tick of counters that run down.
struct Naive {
    quota: Quota,
    /// Of the server, and of each connection.
    places: [Place; 4],
    counts: [u64; 4],
}

#[derive(Clone, Copy)]
struct Place {
    to_skip: u128,
    until_next: u128,
    left: u128,
}

impl Naive {
    fn new(quota: Quota) -> Self {
        let place = Place {
            to_skip: quota.skip.into(),
            until_next: quota.every.max(1).into(),
            left: quota.max.map_or(u128::MAX, u128::from),
        };
        Self { quota, places: [place; 4], counts: [0; 4] }
    }

    fn place(&mut self, connection: usize) -> &mut Place {
        let at = match self.quota.scope {
            Scope::Server => 3,
            Scope::Connection => connection,
        };
        &mut self.places[at]
    }

    fn acts(&mut self, connection: usize, is_aimed_at: bool) -> bool {
        self.counts[0] += 1;
        if !is_aimed_at {
            return false;
        }
        self.counts[1] += 1;
        let every = self.quota.every.max(1).into();
        let place = self.place(connection);
        if place.to_skip > 0 {
            place.to_skip -= 1;
            return false;
        }
        place.until_next -= 1;
        if place.until_next > 0 {
            return false;
        }
        place.until_next = every;
        if place.left == 0 {
            return false;
        }
        place.left -= 1;
        self.counts[2] += 1;
        true
    }

    fn loses(&mut self, connection: usize) {
        self.place(connection).left += 1;
        self.counts[2] -= 1;
        self.counts[3] += 1;
    }
}

#[test]
fn any_quota_acts_when_the_naive_one_does() {
    let mut source = SplitMix64::new(2);
    for round in 0..1500 {
        let mut draw = |most: u32| u64::from(source.up_to(most));
        let quotas: Vec<Quota> = (0..=draw(3))
            .map(|_| Quota {
                skip: draw(1) * draw(5),
                every: draw(4),
                max: (draw(1) == 0).then(|| draw(6)),
                scope: if draw(1) == 0 { Scope::Server } else { Scope::Connection },
            })
            .collect();
        let only_3 = |nth: usize| nth % 2 == 1;
        let mut naive: Vec<Naive> = quotas.iter().map(|quota| Naive::new(*quota)).collect();
        let mut server = Server::new(quotas.iter().enumerate().map(|(nth, quota)| {
            let functions = only_3(nth).then(|| [3].into_iter().collect());
            let delay = Kind::Delay { delay: micros(1), jitter: Duration::ZERO };
            Fault { quota: *quota, target: Target { functions, ..Target::ANY }, ..fault(delay) }
        }));
        for _ in 0..60 {
            let connection = draw(2) as usize;
            let code = 3 + draw(1) as u8;
            let decision = server.ask_on(connection, Instant::ORIGIN, &asks(code, 0, 1), Ended::Normal);
            let expected: Vec<u32> = (1..)
                .zip(&mut naive)
                .filter_map(|(id, naive)| naive.acts(connection, !only_3(id as usize - 1) || code == 3).then_some(id))
                .collect();
            assert_eq!(named(&decision), expected, "round {round}: {quotas:?}");
            for id in expected.into_iter().filter(|_| draw(3) == 0) {
                server.plan.acting(None, &mut server.tallies[connection]).suppressed(FaultId(id));
                naive[id as usize - 1].loses(connection);
            }
        }
        for (place, naive) in naive.iter().enumerate() {
            assert_eq!(server.counts(place), naive.counts, "round {round}: {quotas:?}, fault {place}");
        }
    }
}
