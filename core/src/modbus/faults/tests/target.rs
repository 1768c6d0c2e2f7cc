//! 8.1: whom a fault is aimed at.

use super::*;
use crate::modbus::data::TableKind::{self, Coils, Discrete, Holding, Input};

fn hits(target: &Target, asked: &Asked) -> bool {
    target.matches(asked, None)
}

fn set(bytes: &[u8]) -> Option<ByteSet> {
    Some(bytes.iter().copied().collect())
}

fn addresses(first: u16, last: u16, relation: Relation) -> Target {
    Target { addresses: Some(Addresses { first, last, relation }), ..Target::ANY }
}

/// Function 23: reads so many registers from an address, and writes so many to another.
fn read_write(read: (u16, u16), write: (u16, u16)) -> Asked {
    let mut pdu = vec![23];
    [read.0, read.1, write.0, write.1].iter().for_each(|word| pdu.extend(word.to_be_bytes()));
    Asked::new(1, &pdu)
}

#[test]
fn an_absent_key_means_any() {
    for pdu in [&[1][..], &[3, 0, 0, 0, 1], &[100, 1, 2], &[0], &[255], &[23, 1], &[43, 14, 1, 0]] {
        for unit in [0, 1, 255] {
            assert!(hits(&Target::ANY, &Asked::new(unit, pdu)), "{pdu:?} to {unit}");
        }
    }
}

#[test]
fn units_are_those_asked_for_and_functions_any_byte() {
    let target = Target { units: set(&[0, 31, 32, 255]), ..Target::ANY };
    for unit in 0..=255 {
        assert_eq!(hits(&target, &Asked::new(unit, &[3])), [0, 31, 32, 255].contains(&unit), "unit {unit}");
    }
    let target = Target { functions: set(&[3, 127, 128, 255]), ..Target::ANY };
    for code in 0..=255 {
        assert_eq!(hits(&target, &Asked::new(1, &[code])), [3, 127, 128, 255].contains(&code), "code {code}");
    }
    assert!(!hits(&Target { units: set(&[]), ..Target::ANY }, &Asked::new(1, &[3])), "an empty list has no unit");
}

#[test]
fn every_key_must_fit() {
    let all = || Target {
        units: set(&[1]),
        functions: set(&[3]),
        quantity: Some((1, 2)),
        ..addresses(9, 9, Relation::Start)
    };
    assert!(hits(&all(), &asks(3, 9, 2)));
    assert!(!hits(&all(), &asks(4, 9, 2)), "another function");
    assert!(!hits(&all(), &asks(3, 8, 2)), "another address");
    assert!(!hits(&all(), &asks(3, 9, 3)), "another quantity");
    assert!(!hits(&all(), &Asked::new(2, &[3, 0, 9, 0, 2])), "another unit");
}

#[test]
fn a_peer_is_one_of_the_addresses_or_ranges() {
    let mut target = Target::ANY;
    for network in ["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"] {
        target.peers.push(network.parse().unwrap()).unwrap();
    }
    let asked = asks(3, 0, 1);
    for (peer, expected) in [
        ("10.1.255.255", true),
        ("10.2.0.0", false),
        ("192.0.2.7", true),
        ("192.0.2.6", false),
        ("::ffff:10.1.2.3", true),
        ("2001:db8:1::1", true),
        ("2001:db9::1", false),
    ] {
        assert_eq!(target.matches(&asked, Some(peer.parse().unwrap())), expected, "{peer}");
    }
    assert!(!target.matches(&asked, None), "a peer without an address is in no list");
}

#[test]
fn a_table_is_that_of_the_function() {
    let of = |code: u8| match code {
        1 | 5 | 15 => Some(Coils),
        2 => Some(Discrete),
        4 => Some(Input),
        3 | 6 | 16 | 22 | 23 => Some(Holding),
        _ => None,
    };
    for code in 0..=255 {
        let asked = Asked::new(1, &[code, 0, 5, 0, 1, 0, 5, 0, 1, 2, 0, 0]);
        for table in [Coils, Discrete, Input, Holding] {
            let target = Target { table: Some(table), ..Target::ANY };
            assert_eq!(hits(&target, &asked), of(code) == Some(table), "function {code}, {table:?}");
        }
        assert_eq!(hits(&addresses(0, 0xFFFF, Relation::Overlap), &asked), of(code).is_some(), "function {code}");
    }
}

#[test]
fn addresses_overlap_contain_or_begin_a_request() {
    use Relation::{Overlap, Start, Within};
    // The range is 10..=19 throughout.
    for (start, quantity, overlap, within, begins) in [
        (5, 5, false, false, false),
        (5, 6, true, false, false),
        (9, 12, true, false, false),
        (10, 1, true, true, true),
        (10, 10, true, true, true),
        (10, 11, true, false, true),
        (19, 1, true, true, true),
        (19, 2, true, false, true),
        (20, 1, false, false, false),
        (0, 65535, true, false, false),
    ] {
        let asked = asks(3, start, quantity);
        for (relation, expected) in [(Overlap, overlap), (Within, within), (Start, begins)] {
            assert_eq!(hits(&addresses(10, 19, relation), &asked), expected, "{relation:?} of {start}, {quantity}");
        }
    }
}

#[test]
fn the_ends_of_the_address_space_are_addresses_like_any_other() {
    use Relation::{Overlap, Start, Within};
    for relation in [Overlap, Within, Start] {
        assert!(hits(&addresses(65535, 65535, relation), &asks(3, 65535, 1)), "{relation:?}");
        assert!(hits(&addresses(0, 0, relation), &asks(3, 0, 1)), "{relation:?}");
        assert!(!hits(&addresses(0, 0, relation), &asks(3, 65535, 1)), "{relation:?}");
    }
    // 65535 and one behind it, which nothing contains.
    assert!(hits(&addresses(65535, 65535, Overlap), &asks(3, 65535, 2)));
    assert!(hits(&addresses(65535, 65535, Start), &asks(3, 65535, 2)));
    assert!(!hits(&addresses(0, 65535, Within), &asks(3, 65535, 2)));
    assert!(!hits(&addresses(0, 0, Overlap), &asks(3, 65535, 2)), "addresses do not wrap");
}

#[test]
fn a_request_for_nothing_shares_no_address() {
    for start in 4..12 {
        assert!(!hits(&addresses(5, 9, Relation::Overlap), &asks(3, start, 0)), "from {start}");
    }
    assert!(hits(&addresses(5, 9, Relation::Start), &asks(3, 5, 0)), "it begins somewhere all the same");
}

#[test]
fn single_writes_name_one_address_whatever_their_value() {
    for code in [5, 6, 22] {
        let asked = asks(code, 7, 0xFF00);
        assert!(hits(&addresses(7, 7, Relation::Within), &asked), "function {code}");
        assert!(!hits(&addresses(8, 0xFFFF, Relation::Overlap), &asked), "function {code}");
        assert_eq!(asked.quantity(), Some(1), "function {code}");
    }
}

#[test]
fn either_span_of_function_23_may_be_aimed_at() {
    let asked = read_write((10, 2), (40, 3));
    for (first, last, expected) in [(10, 11, true), (40, 42, true), (12, 39, false), (43, 50, false), (0, 99, true)] {
        assert_eq!(hits(&addresses(first, last, Relation::Overlap), &asked), expected, "{first}..={last}");
    }
    assert_eq!(asked.quantity(), Some(2), "the quantity is that of the read");
}

#[test]
fn the_table_and_the_addresses_are_of_one_span() {
    let target = |table: TableKind| Target { table: Some(table), ..addresses(100, 199, Relation::Overlap) };
    assert!(hits(&target(Input), &asks(4, 150, 1)));
    assert!(!hits(&target(Input), &asks(4, 200, 1)));
    assert!(!hits(&target(Input), &asks(3, 150, 1)));
}

#[test]
fn a_quantity_lies_between_the_least_and_the_greatest() {
    let target = || Target { quantity: Some((2, 4)), ..Target::ANY };
    for (quantity, expected) in [(0, false), (1, false), (2, true), (4, true), (5, false), (65535, false)] {
        assert_eq!(hits(&target(), &asks(3, 0, quantity)), expected, "{quantity}");
        assert_eq!(hits(&target(), &asks(16, 0, quantity)), expected, "{quantity} written");
    }
    assert!(!hits(&target(), &Asked::new(1, &[17])), "one that asks for no quantity");
    assert!(!hits(&target(), &Asked::new(1, &[3, 0, 0, 0])), "one that is cut short");
}

#[test]
fn a_request_cut_short_names_no_address() {
    let whole = [23, 0, 10, 0, 2, 0, 40, 0, 3];
    for len in 1..whole.len() {
        let asked = Asked::new(1, &whole[..len]);
        assert!(!hits(&addresses(40, 42, Relation::Overlap), &asked), "{len} bytes");
        assert_eq!(hits(&addresses(10, 11, Relation::Overlap), &asked), len >= 5, "{len} bytes");
    }
}

#[test]
fn the_outcome_is_tested_after_execution() {
    for (reply, normal, refused, silent) in
        [(Reply::Any, true, true, true), (Reply::Normal, true, false, false), (Reply::Exception, false, true, false)]
    {
        for (ended, expected) in [(Ended::Normal, normal), (Ended::Exception, refused), (Ended::Silent, silent)] {
            let target = Target { reply, ..Target::ANY };
            let mut server = Server::new([Fault { target, ..fault(SILENCE) }]);
            let decision = server.ask_on(0, Instant::ORIGIN, &asks(3, 0, 1), ended);
            assert_eq!(decision.is_silent(), expected, "{reply:?} and {ended:?}");
            let hit = u64::from(expected);
            assert_eq!(server.counts(0), [1, hit, hit, 0], "{reply:?} and {ended:?}: it is checked in any case");
        }
    }
}

#[test]
fn a_request_is_chosen_before_its_execution_and_judged_after_it() {
    let target = Target { reply: Reply::Normal, ..Target::ANY };
    let mut server = Server::new([fault(exception(4, true)), Fault { target, ..fault(Kind::WrongProtocol(1)) }]);
    let mut acting = server.plan.acting(None, &mut []);
    let mut decision = Decision::NONE;
    acting.choose(Instant::ORIGIN, &asks(3, 0, 1), &mut decision);
    assert_eq!(named(&decision), [1]);
    acting.judge(Instant::ORIGIN, &asks(3, 0, 1), Ended::Normal, &mut decision);
    assert_eq!(named(&decision), [1, 2]);
}
