//! 8.2, stages 1 to 3: what faults do to the bytes of a reply.

use super::*;
use crate::modbus::mbap::{self, MAX_PDU};

/// An honest reply of unit 0x11 in transaction 0x1234.
fn frame(pdu: &[u8]) -> Frame {
    let mut frame = Frame::new();
    frame.extend_from_slice(&mbap::header(0x1234, 0x11, pdu.len())).unwrap();
    frame.extend_from_slice(pdu).unwrap();
    frame
}

/// What these faults make of a reply, and how many bytes each says to have changed.
fn altered(faults: &[Fault], seed: u64, asked: &Asked, pdu: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let mut decision = Decision::NONE;
    for (place, fault) in (0..).zip(faults) {
        assert!(decision.add(place, FaultId(place.into()), fault, seed.wrapping_add(place.into())));
    }
    let mut bytes = frame(pdu);
    let mut notes = Vec::new();
    decision.alter(asked, &[], &mut bytes, |_, changed| notes.push(changed));
    (bytes.to_vec(), notes)
}

fn becomes(kind: Kind, pdu: &[u8]) -> Vec<u8> {
    altered(&[fault(kind)], 7, &asks(3, 0, 2), pdu).0
}

/// The PDU of what a fault makes of a reply, whose header must say what is there.
fn pdu(kind: Kind, asked: &Asked, honest: &[u8]) -> Vec<u8> {
    let bytes = altered(&[fault(kind)], 7, asked, honest).0;
    let length = u16::try_from(bytes.len() - 6).unwrap().to_be_bytes();
    assert_eq!(bytes[..7], [0x12, 0x34, 0, 0, length[0], length[1], 0x11], "{kind:?}");
    bytes[7..].to_vec()
}

const TWO: [u8; 6] = [3, 4, 0x11, 0x12, 0x21, 0x22];

/// Random choices of a fault, one for each seed.
fn drawn<T: PartialEq>(kind: Kind, honest: &[u8], look: impl Fn(&[u8]) -> T) -> Vec<T> {
    (0..6000).map(|seed| look(&altered(&[fault(kind)], seed, &asks(3, 0, 2), honest).0)).collect()
}

#[test]
fn without_a_fault_nothing_changes() {
    assert_eq!(altered(&[], 7, &asks(3, 0, 2), &TWO), (frame(&TWO).to_vec(), vec![]));
}

#[test]
fn kinds_of_the_other_stages_leave_the_bytes_alone() {
    let (delay, gap, wait) = (micros(1), micros(1), micros(1));
    let (how, then) = (How::Rst, Then::Reset);
    for kind in [
        Kind::NoResponse { execute: false },
        exception(4, false),
        Kind::Delay { delay, jitter: delay },
        Kind::Duplicate { copies: 3, gap },
        Kind::Reorder { behind: 3, wait },
        Kind::Unsolicited { when: Moment::Before, transaction: 9 },
        Kind::Split { at: [1; MAX_CUTS], gap },
        Kind::Dribble { chunk: 1, gap },
        Kind::Close { how, when: Order::Before, delay },
        Kind::CutFrame { bytes: 1, how, delay },
        Kind::HalfClose { span: delay },
        Kind::StopReading { span: delay, then },
        Kind::HoldOpen { span: delay, then },
        Kind::AcceptClose { how, delay },
        Kind::StallAccept,
        Kind::Refuse,
    ] {
        assert_eq!(becomes(kind, &TWO), frame(&TWO).to_vec(), "{kind:?}");
    }
}

#[test]
fn wrong_count_of_registers_is_consistent_in_itself() {
    for code in [3, 4, 23] {
        let honest = [&[code][..], &TWO[1..]].concat();
        let asked = asks(code, 0, 2);
        let of = |count| pdu(Kind::WrongCount(count), &asked, &honest);
        assert_eq!(of(Count::By(-1)), [code, 2, 0x11, 0x12]);
        assert_eq!(of(Count::Exactly(1)), [code, 2, 0x11, 0x12]);
        assert_eq!(of(Count::Exactly(2)), honest);
        assert_eq!(of(Count::Exactly(0)), [code, 2, 0x11, 0x12], "at least 1");
        assert_eq!(of(Count::By(i16::MIN)), [code, 2, 0x11, 0x12], "at least 1");
        for count in [Count::Exactly(3), Count::By(1)] {
            let more = of(count);
            assert_eq!((&more[..2], &more[2..6], more.len()), (&[code, 6][..], &TWO[2..], 8), "{count:?}");
        }
        for count in [Count::Exactly(u16::MAX), Count::Exactly(126), Count::By(i16::MAX)] {
            let most = of(count);
            assert_eq!((most.len(), most[1]), (252, 250), "{count:?}: at most what fits a reply");
        }
    }
}

#[test]
fn wrong_count_of_bits_is_consistent_in_itself() {
    for code in [1, 2] {
        let (asked, honest) = (asks(code, 0, 12), [code, 2, 0xFF, 0x0F]);
        let of = |count| pdu(Kind::WrongCount(count), &asked, &honest);
        assert_eq!(of(Count::By(-1)), [code, 2, 0xFF, 0x07], "spare bits are 0");
        assert_eq!(of(Count::By(-4)), [code, 1, 0xFF]);
        assert_eq!(of(Count::Exactly(1)), [code, 1, 1]);
        assert_eq!(of(Count::Exactly(0)), [code, 1, 1], "at least 1");
        assert_eq!(of(Count::Exactly(12)), honest);
        let more = of(Count::By(5));
        assert_eq!((more[1], more.len()), (3, 5));
        assert_eq!((more[2], more[3] & 0x0F, more[4] & 0xFE), (0xFF, 0x0F, 0), "what was read stays, spare bits are 0");
        assert_eq!((of(Count::Exactly(u16::MAX)).len(), of(Count::Exactly(u16::MAX))[1]), (252, 250));
    }
}

#[test]
fn wrong_counts_follow_each_other() {
    let by = |delta| fault(Kind::WrongCount(Count::By(delta)));
    let honest = [3, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(altered(&[by(-1), by(-1)], 0, &asks(3, 0, 4), &honest).0[7..], [3, 4, 1, 2, 3, 4]);
    assert_eq!(altered(&[by(-1), by(1)], 0, &asks(3, 0, 4), &honest).0[7..], [3, 8, 1, 2, 3, 4, 5, 6, 0, 0]);
    assert_eq!(altered(&[by(-5), by(-5)], 0, &asks(1, 0, 12), &[1, 2, 0xFF, 0x0F]).0[7..], [1, 1, 3]);
    let exactly = fault(Kind::WrongCount(Count::Exactly(3)));
    assert_eq!(altered(&[exactly, by(-1)], 0, &asks(3, 0, 4), &honest).0[7..], [3, 4, 1, 2, 3, 4]);
}

#[test]
fn wrong_count_leaves_exceptions_and_replies_without_a_quantity_alone() {
    for honest in [&[0x83, 2][..], &[6, 0, 1, 0, 2], &[16, 0, 1, 0, 2], &[17, 2, 1, 0xFF], &[100, 1]] {
        let (asked, count) = (asks(honest[0] & 0x7F, 0, 2), Kind::WrongCount(Count::By(-1)));
        assert_eq!(altered(&[fault(count)], 7, &asked, honest), (frame(honest).to_vec(), vec![0]), "{honest:?}");
    }
}

#[test]
fn wrong_function_counts_on_swaps_or_sets_the_code() {
    use FunctionMode::{Fixed, Increment, SwapReadWrite};
    for (mode, honest, expected) in [
        (Increment, 3, 4),
        (Increment, 127, 1),
        (Increment, 0x83, 0x84),
        (Increment, 0xFF, 0x81),
        (Fixed(0xFF), 3, 0xFF),
        (Fixed(0), 0x83, 0),
        (SwapReadWrite, 1, 5),
        (SwapReadWrite, 5, 1),
        (SwapReadWrite, 2, 15),
        (SwapReadWrite, 15, 2),
        (SwapReadWrite, 3, 16),
        (SwapReadWrite, 16, 3),
        (SwapReadWrite, 4, 6),
        (SwapReadWrite, 6, 4),
        (SwapReadWrite, 22, 3),
        (SwapReadWrite, 23, 3),
        (SwapReadWrite, 7, 8),
        (SwapReadWrite, 43, 44),
        (SwapReadWrite, 0x81, 0x85),
    ] {
        let honest = [honest, 2, 9, 9];
        let wrong = becomes(Kind::WrongFunction(mode), &honest);
        assert_eq!(wrong, frame(&[expected, 2, 9, 9]).to_vec(), "{mode:?} of {honest:?}");
    }
}

#[test]
fn a_random_function_is_any_other_of_1_to_127() {
    for honest in [1, 3, 64, 127] {
        let drawn = drawn(Kind::WrongFunction(FunctionMode::Random), &[honest, 0], |bytes| bytes[7]);
        let all: Vec<u8> = (1..=127).filter(|code| *code != honest).collect();
        assert!(all.iter().all(|code| drawn.contains(code)), "of {honest} every other is drawn");
        assert!(drawn.iter().all(|code| all.contains(code)), "of {honest} nothing else is");
    }
    let drawn = drawn(Kind::WrongFunction(FunctionMode::Random), &[0x83, 2], |bytes| bytes[7]);
    assert!(drawn.iter().all(|code| *code > 0x80 && *code != 0x83), "an exception stays one");
}

#[test]
fn corrupt_changes_bytes_behind_the_code() {
    let of = |mode, offset, count| becomes(Kind::Corrupt { mode, offset: Some(offset), count }, &TWO)[7..].to_vec();
    let set = CorruptMode::Set(0xEE);
    for (offset, count, expected) in [
        (0, 1, [3, 0xEE, 0x11, 0x12, 0x21, 0x22]),
        (4, 1, [3, 4, 0x11, 0x12, 0x21, 0xEE]),
        (1, 3, [3, 4, 0xEE, 0xEE, 0xEE, 0x22]),
        (3, 9, [3, 4, 0x11, 0x12, 0xEE, 0xEE]),
        (5, 1, TWO),
        (255, 255, TWO),
        (0, 0, TWO),
        (0, 255, [3, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE]),
    ] {
        assert_eq!(of(set, offset, count), expected, "{count} from {offset}");
    }
    for (mode, bits) in [(CorruptMode::Flip, 1..=1), (CorruptMode::Random, 1..=8)] {
        let wrong = of(mode, 1, 3);
        for (at, (old, new)) in TWO.iter().zip(&wrong).enumerate() {
            let changed = (old ^ new).count_ones();
            let expected = if (2..5).contains(&at) { bits.clone() } else { 0..=0 };
            assert!(expected.contains(&changed), "{mode:?}: {changed} bits of byte {at}");
        }
    }
}

#[test]
fn corrupt_at_random_hits_every_place_and_every_value_but_the_honest_one() {
    for (mode, values) in [(CorruptMode::Flip, 8), (CorruptMode::Random, 255)] {
        let one = Kind::Corrupt { mode, offset: None, count: 1 };
        let places = drawn(one, &TWO, |bytes| {
            let changed: Vec<usize> = (0..6).filter(|at| bytes[7 + at] != TWO[*at]).collect();
            assert_eq!(changed.len(), 1, "{mode:?}");
            changed[0]
        });
        assert!((1..6).all(|at| places.contains(&at)) && !places.contains(&0), "{mode:?}");
        let fixed = Kind::Corrupt { mode, offset: Some(0), count: 1 };
        let mut seen = drawn(fixed, &TWO, |bytes| bytes[8]);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), seen.contains(&4)), (values, false), "{mode:?}");
    }
    let run = Kind::Corrupt { mode: CorruptMode::Random, offset: None, count: 3 };
    for first in drawn(run, &TWO, |bytes| {
        let changed: Vec<usize> = (0..6).filter(|at| bytes[7 + at] != TWO[*at]).collect();
        assert_eq!(changed, [changed[0], changed[0] + 1, changed[0] + 2]);
        changed[0]
    }) {
        assert!((1..=3).contains(&first), "all three bytes are there");
    }
}

#[test]
fn a_code_alone_has_nothing_to_corrupt() {
    for (mode, offset) in [(CorruptMode::Flip, None), (CorruptMode::Random, Some(0)), (CorruptMode::Set(1), None)] {
        assert_eq!(becomes(Kind::Corrupt { mode, offset, count: 9 }, &[7]), frame(&[7]).to_vec());
    }
}

#[test]
fn truncate_keeps_what_it_says_and_at_least_the_code() {
    use Keep::{AllBut, FixedBytes, Fraction, HeaderOnly};
    let asked = asks(3, 0, 2);
    for (keep, honest, len) in [
        (HeaderOnly, &TWO[..], 1),
        (FixedBytes(1), &TWO, 1),
        (FixedBytes(0), &TWO, 1),
        (FixedBytes(4), &TWO, 4),
        (FixedBytes(255), &TWO, 6),
        (Fraction(500_000), &TWO, 3),
        (Fraction(500_000), &TWO[..5], 2),
        (Fraction(0), &TWO, 1),
        (Fraction(1_000_000), &TWO, 6),
        (Fraction(u32::MAX), &TWO, 6),
        (AllBut(1), &TWO, 5),
        (AllBut(0), &TWO, 6),
        (AllBut(5), &TWO, 1),
        (AllBut(6), &TWO, 1),
        (AllBut(255), &TWO, 1),
        (HeaderOnly, &[7], 1),
        (AllBut(1), &[7], 1),
    ] {
        let cut = pdu(Kind::Truncate { keep, relength: true }, &asked, honest);
        assert_eq!(cut, honest[..len], "{keep:?} of {} bytes", honest.len());
        let lying = becomes(Kind::Truncate { keep, relength: false }, honest);
        assert_eq!(lying, frame(honest)[..7 + len], "{keep:?}: the honest length stays");
    }
}

#[test]
fn extra_adds_bytes_behind_the_pdu() {
    let asked = asks(3, 0, 2);
    let extra = |mode, count, relength| Kind::Extra { mode, count, relength };
    let more = pdu(extra(ExtraMode::DuplicateLast, 3, true), &asked, &TWO);
    assert_eq!(more, [&TWO[..], &[0x22; 3]].concat());
    for count in [0, 1, 4, 255] {
        let more = pdu(extra(ExtraMode::Random, count, true), &asked, &TWO);
        assert_eq!((&more[..6], more.len()), (&TWO[..], 6 + usize::from(count)));
        let lying = becomes(extra(ExtraMode::Random, count, false), &TWO);
        assert_eq!((&lying[..13], lying.len()), (&frame(&TWO)[..], 13 + usize::from(count)));
    }
    let mut payload = fault(extra(ExtraMode::Append, 9, true));
    payload.payload.extend_from_slice(&[1, 2, 3]).unwrap();
    let (bytes, notes) = altered(&[payload], 7, &asked, &TWO);
    assert_eq!((&bytes[7..13], &bytes[13..]), (&TWO[..], &[1, 2, 3][..]), "those of the fault, however many");
    assert_eq!((bytes[5], notes), (10, vec![4]), "three bytes and the length changed");
    let empty = becomes(extra(ExtraMode::Append, 9, true), &TWO);
    assert_eq!(empty, frame(&TWO).to_vec());
    let random = drawn(extra(ExtraMode::Random, 2, true), &TWO, |bytes| bytes[13]);
    assert!((0..=255).all(|byte| random.contains(&byte)), "any byte comes");
}

#[test]
fn a_frame_grows_no_further_than_its_room() {
    let asked = asks(3, 0, 125);
    let honest = [3; MAX_PDU];
    let more = fault(Kind::Extra { mode: ExtraMode::Random, count: 255, relength: true });
    let (bytes, _) = altered(&[more.clone(), more.clone(), more.clone(), more], 7, &asked, &honest);
    assert_eq!(bytes.len(), MAX_ALTERED);
    assert_eq!(bytes[4..6], u16::try_from(MAX_ALTERED - 6).unwrap().to_be_bytes(), "the length says what is there");
    assert_eq!(bytes[7..260], honest);
}

#[test]
fn the_header_lies_and_the_bytes_stay() {
    use LengthMode::{Delta, Fixed};
    let header = |kind| {
        let bytes = becomes(kind, &TWO);
        assert_eq!((bytes.len(), &bytes[7..]), (13, &TWO[..]), "{kind:?}");
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        (word(0), word(2), word(4), bytes[6])
    };
    for (kind, expected) in [
        (Kind::WrongUnit(UnitMode::Increment), (0x1234, 0, 7, 0x12)),
        (Kind::WrongUnit(UnitMode::Fixed(0xFF)), (0x1234, 0, 7, 0xFF)),
        (Kind::WrongUnit(UnitMode::Swap), (0x1234, 0, 7, 255 - 0x11)),
        (Kind::WrongTransaction(TransactionMode::Increment), (0x1235, 0, 7, 0x11)),
        (Kind::WrongTransaction(TransactionMode::Fixed(0xFFFF)), (0xFFFF, 0, 7, 0x11)),
        (Kind::WrongTransaction(TransactionMode::SwapBytes), (0x3412, 0, 7, 0x11)),
        (Kind::WrongProtocol(1), (0x1234, 1, 7, 0x11)),
        (Kind::WrongProtocol(0xABCD), (0x1234, 0xABCD, 7, 0x11)),
        (Kind::WrongLength(Delta(1)), (0x1234, 0, 8, 0x11)),
        (Kind::WrongLength(Delta(-7)), (0x1234, 0, 0, 0x11)),
        (Kind::WrongLength(Delta(-8)), (0x1234, 0, 0xFFFF, 0x11)),
        (Kind::WrongLength(Fixed(0)), (0x1234, 0, 0, 0x11)),
    ] {
        assert_eq!(header(kind), expected, "{kind:?}");
    }
}

#[test]
fn ids_wrap_when_they_are_counted_on() {
    let last = |kind| {
        let mut decision = Decision::NONE;
        decision.add(0, FaultId(0), &fault(kind), 0);
        let mut bytes = Frame::new();
        bytes.extend_from_slice(&mbap::header(0xFFFF, 0xFF, 1)).unwrap();
        bytes.push(7).unwrap();
        decision.alter(&asks(7, 0, 0), &[], &mut bytes, |_, _| ());
        (bytes[0], bytes[1], bytes[6])
    };
    assert_eq!(last(Kind::WrongTransaction(TransactionMode::Increment)), (0, 0, 0xFF));
    assert_eq!(last(Kind::WrongUnit(UnitMode::Increment)), (0xFF, 0xFF, 0));
}

#[test]
fn random_ids_are_never_the_honest_ones() {
    let units = drawn(Kind::WrongUnit(UnitMode::Random), &TWO, |bytes| bytes[6]);
    assert!((0..=255).all(|unit| units.contains(&unit) == (unit != 0x11)));
    let kind = Kind::WrongTransaction(TransactionMode::Random);
    let mut ids = drawn(kind, &TWO, |bytes| [bytes[0], bytes[1]]);
    assert!(!ids.contains(&[0x12, 0x34]));
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 5500, "{} ids of 6000 draws", ids.len());
}

#[test]
fn random_values_differ_from_the_honest_ones_after_other_faults_too() {
    let flip = Kind::Corrupt { mode: CorruptMode::Flip, offset: Some(0), count: 1 };
    let random = Kind::Corrupt { mode: CorruptMode::Random, offset: Some(0), count: 1 };
    let set = Kind::Corrupt { mode: CorruptMode::Set(5), offset: Some(0), count: 1 };
    let (unit, id) = (Kind::WrongUnit(UnitMode::Increment), Kind::WrongTransaction(TransactionMode::Increment));
    let code = Kind::WrongFunction(FunctionMode::Increment);
    for (first, then, place) in [
        (flip, flip, 8..9),
        (random, flip, 8..9),
        (set, flip, 8..9),
        (set, random, 8..9),
        (random, random, 8..9),
        (unit, Kind::WrongUnit(UnitMode::Random), 6..7),
        (id, Kind::WrongTransaction(TransactionMode::Random), 0..2),
        (code, Kind::WrongFunction(FunctionMode::Random), 7..8),
    ] {
        let honest = frame(&TWO);
        // Enough that one of 65,536 ids would come.
        for seed in 0..if place.len() == 2 { 200_000 } else { 4000 } {
            let (bytes, notes) = altered(&[fault(first), fault(then)], seed, &asks(3, 0, 2), &TWO);
            assert_ne!(bytes[place.clone()], honest[place.clone()], "{first:?}, then {then:?}, seed {seed}");
            assert!(notes[1] > 0, "and from what was there before: {first:?}, then {then:?}, seed {seed}");
        }
    }
}

#[test]
fn random_bytes_in_place_of_those_cut_off_are_not_those() {
    let cut = fault(Kind::Truncate { keep: Keep::HeaderOnly, relength: true });
    let more = fault(Kind::Extra { mode: ExtraMode::Random, count: 5, relength: true });
    for seed in 0..2000 {
        let (bytes, _) = altered(&[cut.clone(), more.clone()], seed, &asks(3, 0, 2), &TWO);
        assert_eq!(bytes.len(), 13);
        assert!((8..13).all(|at| bytes[at] != frame(&TWO)[at]), "seed {seed}: {bytes:?}");
    }
}

#[test]
fn each_works_on_what_the_one_before_left() {
    let but = |bytes| fault(Kind::Truncate { keep: Keep::AllBut(bytes), relength: true });
    let half = fault(Kind::Truncate { keep: Keep::Fraction(500_000), relength: true });
    let last = fault(Kind::Extra { mode: ExtraMode::DuplicateLast, count: 1, relength: true });
    let set = |offset| fault(Kind::Corrupt { mode: CorruptMode::Set(9), offset: Some(offset), count: 1 });
    let honest = [3, 4, 1, 2, 3, 4];
    for (faults, expected) in [
        (vec![but(1), but(1)], &[3, 4, 1, 2][..]),
        (vec![half.clone(), half.clone()], &[3]),
        (vec![but(2), last.clone()], &[3, 4, 1, 2, 2]),
        (vec![last.clone(), but(2)], &[3, 4, 1, 2, 3]),
        (vec![set(4), last.clone()], &[3, 4, 1, 2, 3, 9, 9]),
        (vec![last, set(4)], &[3, 4, 1, 2, 3, 9, 4]),
        (vec![but(3), set(4)], &[3, 4, 1]),
        (vec![set(4), half, set(1)], &[3, 4, 9]),
    ] {
        assert_eq!(altered(&faults, 7, &asks(3, 0, 2), &honest).0[7..], *expected, "{faults:?}");
    }
}

#[test]
fn stages_follow_each_other_whatever_the_file_says() {
    let unit = fault(Kind::WrongLength(LengthMode::Fixed(99)));
    let cut = fault(Kind::Truncate { keep: Keep::AllBut(1), relength: true });
    let count = fault(Kind::WrongCount(Count::Exactly(1)));
    let (bytes, notes) = altered(&[unit, cut, count], 7, &asks(3, 0, 2), &TWO);
    assert_eq!(bytes[7..], [3, 2, 0x11], "first the quantity, then the cut");
    assert_eq!(bytes[4..6], [0, 99], "and the lie about the length last");
    assert_eq!(notes.len(), 3);
}

#[test]
fn the_honest_length_stays_where_a_fault_wants_it_to() {
    let cut = |relength| fault(Kind::Truncate { keep: Keep::AllBut(2), relength });
    let more = |relength| fault(Kind::Extra { mode: ExtraMode::DuplicateLast, count: 1, relength });
    for (faults, len, length) in [
        (vec![cut(false), more(false)], 12, 7),
        (vec![cut(false), more(true)], 12, 6),
        (vec![cut(true), more(false)], 12, 5),
        (vec![cut(false), cut(false)], 9, 7),
    ] {
        let (bytes, _) = altered(&faults, 7, &asks(3, 0, 2), &TWO);
        assert_eq!((bytes.len(), bytes[5]), (len, length), "{faults:?}");
    }
}

#[test]
fn the_bytes_that_each_fault_changed_are_told() {
    let set = fault(Kind::Corrupt { mode: CorruptMode::Set(4), offset: Some(0), count: 2 });
    let cut = fault(Kind::Truncate { keep: Keep::HeaderOnly, relength: false });
    let unit = fault(Kind::WrongUnit(UnitMode::Swap));
    let id = fault(Kind::WrongTransaction(TransactionMode::SwapBytes));
    let (_, notes) = altered(&[set, cut, unit, id], 7, &asks(3, 0, 2), &TWO);
    assert_eq!(notes, [1, 5, 1, 2], "4 was 4 before, and only one byte became another");
}

#[test]
fn one_seed_gives_one_reply_and_faults_differ() {
    let random = fault(Kind::Corrupt { mode: CorruptMode::Random, offset: None, count: 2 });
    let extra = fault(Kind::Extra { mode: ExtraMode::Random, count: 4, relength: true });
    let of = |seed| altered(&[random.clone(), extra.clone()], seed, &asks(3, 0, 2), &TWO).0;
    assert_eq!(of(3), of(3));
    assert_ne!(of(3), of(4));
    let mut server = Server::new([extra.clone(), Fault { seed: 1, ..extra }]);
    let mut bytes = frame(&TWO);
    server.ask(&asks(3, 0, 2)).alter(&asks(3, 0, 2), &[], &mut bytes, |_, _| ());
    let mut next = frame(&TWO);
    server.ask(&asks(3, 0, 2)).alter(&asks(3, 0, 2), &[], &mut next, |_, _| ());
    assert_ne!(bytes[13..17], bytes[17..21], "faults of other seeds choose otherwise");
    assert_ne!(bytes, next, "and so does one the next time");
}
