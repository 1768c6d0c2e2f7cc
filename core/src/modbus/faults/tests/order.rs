//! 8.2, stages 4 and 5, 8.3 and 8.4: how faults go together.

use super::*;

const LATER: Kind = Kind::Delay { delay: Duration::from_micros(5), jitter: Duration::ZERO };
const CLOSE: Kind = Kind::Close { how: How::Fin, when: Order::After, delay: Duration::ZERO };
const HOLD: Kind = Kind::HoldOpen { span: Duration::ZERO, then: Then::Close };

fn decided(kinds: &[Kind]) -> (Decision, Server) {
    let mut server = Server::new(kinds.iter().map(|kind| fault(*kind)));
    let decision = server.ask(&asks(3, 0, 2));
    (decision, server)
}

fn decide(kinds: &[Kind]) -> Decision {
    decided(kinds).0
}

#[test]
fn no_response_beats_stages_1_to_5_and_not_the_connection() {
    let wire = Kind::Dribble { chunk: 1, gap: micros(1) };
    let all = [
        exception(4, true),
        Kind::WrongCount(Count::By(-1)),
        Kind::WrongFunction(FunctionMode::Increment),
        Kind::WrongUnit(UnitMode::Swap),
        LATER,
        wire,
        CLOSE,
        SILENCE,
    ];
    let (decision, server) = decided(&all);
    assert_eq!(named(&decision), [7, 8]);
    assert!(decision.is_silent());
    assert_eq!(decision.ending(), Some(CLOSE));
    for (place, kind) in all.iter().enumerate().take(6) {
        assert_eq!(server.counts(place), [1, 1, 0, 1], "{kind:?}");
    }
    assert_eq!((server.counts(6), server.counts(7)), ([1, 1, 1, 0], [1, 1, 1, 0]));
}

#[test]
fn the_first_exception_acts() {
    let (decision, server) = decided(&[LATER, exception(2, true), exception(3, true), Kind::WrongCount(Count::By(1))]);
    assert_eq!(decision.exception().map(Exception::code), Some(2));
    assert_eq!(named(&decision), [1, 2], "and an exception has no quantity");
    assert_eq!([server.counts(2), server.counts(3)], [[1, 1, 0, 1]; 2]);
    assert_eq!(decide(&[LATER]).exception(), None);
}

#[test]
fn the_first_fault_on_the_connection_acts() {
    let all = [
        Kind::CutFrame { bytes: 4, how: How::Rst, delay: Duration::ZERO },
        Kind::HalfClose { span: micros(1) },
        Kind::StopReading { span: micros(1), then: Then::Resume },
        CLOSE,
        HOLD,
    ];
    for first in 0..all.len() {
        let mut kinds = all;
        kinds.rotate_left(first);
        let (decision, server) = decided(&kinds);
        assert_eq!(decision.ending(), Some(all[first]));
        assert_eq!(named(&decision), [1]);
        assert_eq!(server.counts(0), [1, 1, 1, 0]);
        assert!((1..5).all(|place| server.counts(place) == [1, 1, 0, 1]));
    }
}

#[test]
fn file_order_holds_for_faults_that_are_judged_after_execution_too() {
    let judged = |kind| Fault { target: Target { reply: Reply::Normal, ..Target::ANY }, ..fault(kind) };
    let mut server = Server::new([judged(exception(2, true)), fault(exception(3, true))]);
    let decision = server.ask(&asks(3, 0, 1));
    assert_eq!(decision.exception().map(Exception::code), Some(2));
    assert_eq!([server.counts(0), server.counts(1)], [[1, 1, 1, 0], [1, 1, 0, 1]]);
    let mut server = Server::new([judged(LATER), fault(LATER), judged(CLOSE), fault(HOLD), judged(LATER)]);
    let decision = server.ask(&asks(3, 0, 1));
    assert_eq!((named(&decision), decision.ending()), (vec![1, 2, 3, 5], Some(CLOSE)));
}

#[test]
fn a_fault_that_was_judged_to_stay_silent_beats_one_chosen_before() {
    let target = Target { reply: Reply::Exception, ..Target::ANY };
    let mut server = Server::new([fault(LATER), Fault { target, ..fault(SILENCE) }]);
    assert_eq!(server.ask_on(0, Instant::ORIGIN, &asks(3, 0, 1), Ended::Exception).delay(), Duration::ZERO);
    assert_eq!([server.counts(0), server.counts(1)], [[1, 1, 0, 1], [1, 1, 1, 0]]);
}

#[test]
fn one_applied_fault_that_says_so_prevents_execution() {
    let deaf = Kind::NoResponse { execute: false };
    for (kinds, expected) in [
        (&[][..], false),
        (&[LATER, CLOSE], false),
        (&[SILENCE], false),
        (&[deaf], true),
        (&[exception(4, false)], true),
        (&[exception(4, true)], false),
        (&[exception(4, true), exception(4, false)], false),
        (&[exception(4, false), exception(4, true)], true),
        (&[SILENCE, exception(4, false)], false),
        (&[exception(4, true), deaf], true),
        (&[SILENCE, deaf], true),
        (&[deaf, SILENCE], true),
        (&[LATER, deaf, CLOSE], true),
    ] {
        let mut server = Server::new(kinds.iter().map(|kind| fault(*kind)));
        let mut decision = Decision::NONE;
        server.plan.acting(None, &mut []).choose(Instant::ORIGIN, &asks(3, 0, 1), &mut decision);
        assert_eq!(decision.prevents_execution(), expected, "{kinds:?}, before it");
        server.plan.acting(None, &mut []).judge(Instant::ORIGIN, &asks(3, 0, 1), Ended::Silent, &mut decision);
        assert_eq!(decision.prevents_execution(), expected, "{kinds:?}, after it");
    }
}

#[test]
fn silences_do_not_lose_against_each_other() {
    let (_, server) = decided(&[SILENCE, Kind::NoResponse { execute: false }]);
    assert_eq!([server.counts(0), server.counts(1)], [[1, 1, 1, 0]; 2]);
}

#[test]
fn delays_add_and_jitter_stays_within_its_bound() {
    let delay = |delay, jitter| Kind::Delay { delay: micros(delay), jitter: micros(jitter) };
    assert_eq!(decide(&[]).delay(), Duration::ZERO);
    assert_eq!(decide(&[delay(800, 0)]).delay(), micros(800));
    assert_eq!(decide(&[delay(800, 0), CLOSE, delay(30, 0)]).delay(), micros(830));
    let longest = Kind::Delay { delay: Duration::MAX, jitter: Duration::MAX };
    assert_eq!(decide(&[longest, longest]).delay(), Duration::MAX);
    let mut server = Server::new([fault(delay(10, 3)), Fault { seed: 1, ..fault(delay(0, 1)) }]);
    let mut seen: Vec<u128> = (0..500).map(|_| server.ask(&asks(3, 0, 1)).delay().as_micros()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [10, 11, 12, 13, 14], "uniform over 0..=jitter, both ends too");
    let decision = server.ask(&asks(3, 0, 1));
    assert_eq!(decision.delay(), decision.delay(), "asked twice, one answer");
}

#[test]
fn jitter_is_uniform() {
    let mut server = Server::new([fault(Kind::Delay { delay: Duration::ZERO, jitter: micros(3) })]);
    let mut times = [0; 4];
    for _ in 0..4000 {
        times[server.ask(&asks(3, 0, 1)).delay().as_micros() as usize] += 1;
    }
    assert!(times.iter().all(|times| (860..1140).contains(times)), "{times:?}");
}

#[test]
fn duplicates_add_and_wait_for_the_longest_gap() {
    let again = |copies, gap| Kind::Duplicate { copies, gap: micros(gap) };
    assert_eq!(decide(&[]).copies(), (0, Duration::ZERO));
    assert_eq!(decide(&[again(1, 0)]).copies(), (1, Duration::ZERO));
    assert_eq!(decide(&[again(2, 7), again(255, 3)]).copies(), (257, micros(7)));
}

#[test]
fn a_reordered_reply_leaves_behind_later_ones_or_after_a_while() {
    let behind = |behind, wait| Kind::Reorder { behind, wait: micros(wait) };
    assert_eq!(decide(&[]).reorder(), None);
    assert_eq!(decide(&[behind(1, 50)]).reorder(), Some((1, micros(50))));
    assert_eq!(decide(&[behind(1, 50), behind(2, 10)]).reorder(), Some((3, micros(50))));
    assert_eq!(decide(&[behind(u16::MAX, 0), behind(1, 0)]).reorder(), Some((u16::MAX, Duration::ZERO)));
}

#[test]
fn frames_that_nobody_asked_for_leave_at_their_moment_in_file_order() {
    let frame = |when, bytes: &[u8], transaction| {
        let mut fault = fault(Kind::Unsolicited { when, transaction });
        fault.payload.extend_from_slice(bytes).unwrap();
        fault
    };
    let quiet = Moment::Idle(micros(9));
    let mut server = Server::new([
        frame(Moment::After, &[], 0xFFFF),
        frame(Moment::Before, &[1, 2], 0),
        frame(Moment::After, &[3], 0),
        frame(quiet, &[], 5),
        frame(Moment::Before, &[], 6),
    ]);
    let decision = server.ask(&asks(3, 0, 1));
    let at = |moment: fn(Moment) -> bool| decision.unsolicited(moment).collect::<Vec<_>>();
    let (bytes, reply) = (|bytes| Unsolicited::Bytes(bytes), |transaction| Unsolicited::Reply { transaction });
    assert_eq!(at(|moment| moment == Moment::Before), [bytes(&[1, 2]), reply(6)]);
    assert_eq!(at(|moment| moment == Moment::After), [reply(0xFFFF), bytes(&[3])]);
    assert_eq!(at(|moment| matches!(moment, Moment::Idle(_))), [reply(5)]);
    assert_eq!(decision.quiet(), Some(micros(9)));
    assert_eq!(decide(&[Kind::Unsolicited { when: Moment::Idle(Duration::ZERO), transaction: 1 }]).quiet(), None);
}

#[test]
fn a_payload_stays_with_its_fault_in_any_order() {
    let frame = |reply, bytes: &[u8]| {
        let mut fault = fault(Kind::Unsolicited { when: Moment::After, transaction: 0 });
        fault.payload.extend_from_slice(bytes).unwrap();
        fault.target.reply = reply;
        fault
    };
    let mut server = Server::new([
        frame(Reply::Normal, &[1; 3]),
        frame(Reply::Any, &[2; 5]),
        frame(Reply::Normal, &[3; 2]),
        frame(Reply::Any, &[4; 1]),
    ]);
    let decision = server.ask(&asks(3, 0, 1));
    let all: Vec<_> = decision.unsolicited(|_| true).collect();
    let expected: [&[u8]; 4] = [&[1; 3], &[2; 5], &[3; 2], &[4; 1]];
    assert_eq!(all, expected.map(Unsolicited::Bytes));
}

/// Where a frame is cut, as lengths of pieces.
fn pieces(kinds: &[Kind], len: usize) -> Vec<usize> {
    let decision = decide(kinds);
    let (mut from, mut pieces) = (0, Vec::new());
    while from < len {
        let end = decision.cuts().next(from, len);
        assert!(end > from && end <= len, "{kinds:?}: from {from} to {end} of {len}");
        pieces.push(end - from);
        from = end;
    }
    pieces
}

fn split(points: &[u16], gap: u64) -> Kind {
    let mut at = [0; MAX_CUTS];
    at[..points.len()].copy_from_slice(points);
    Kind::Split { at, gap: micros(gap) }
}

#[test]
fn cut_points_of_split_and_dribble_unite() {
    let dribble = |chunk, gap| Kind::Dribble { chunk, gap: micros(gap) };
    for (kinds, expected) in [
        (vec![], vec![13]),
        (vec![split(&[7], 1)], vec![7, 6]),
        (vec![split(&[9, 2, 2, 9, 1], 1)], vec![1, 1, 7, 4]),
        (vec![split(&[13, 14, 65535], 1)], vec![13]),
        (vec![split(&[0], 1)], vec![13]),
        (vec![split(&[], 1)], vec![13]),
        (vec![dribble(5, 1)], vec![5, 5, 3]),
        (vec![dribble(13, 1)], vec![13]),
        (vec![dribble(u16::MAX, 1)], vec![13]),
        (vec![dribble(1, 1)], vec![1; 13]),
        (vec![dribble(0, 1)], vec![1; 13]),
        (vec![split(&[3], 1), split(&[8], 1)], vec![3, 5, 5]),
        (vec![split(&[7], 1), dribble(5, 1)], vec![5, 2, 3, 3]),
        (vec![dribble(4, 1), dribble(6, 1)], vec![4, 2, 2, 4, 1]),
        (vec![split(&[1, 2, 3, 4, 5, 6, 7, 8], 1)], vec![1, 1, 1, 1, 1, 1, 1, 1, 5]),
    ] {
        assert_eq!(pieces(&kinds, 13), expected, "{kinds:?}");
    }
}

#[test]
fn a_piece_waits_for_the_longest_gap_asked() {
    assert_eq!(decide(&[LATER]).cuts().gap(), None);
    let dribble = |gap| Kind::Dribble { chunk: 4, gap: micros(gap) };
    assert_eq!(decide(&[dribble(0)]).cuts().gap(), Some(Duration::ZERO));
    assert_eq!(decide(&[split(&[7], 3), dribble(9), split(&[1], 5)]).cuts().gap(), Some(micros(9)));
}

#[test]
fn random_cuts_are_those_of_the_naive_set() {
    let mut source = SplitMix64::new(3);
    for _ in 0..2000 {
        let mut draw = |most: u32| source.up_to(most) as u16;
        let len = usize::from(draw(40)) + 1;
        let mut expected = vec![false; len];
        let mut kinds = vec![];
        for _ in 0..=draw(2) {
            if draw(1) == 0 {
                let points: Vec<u16> = (0..draw(8)).map(|_| draw(50)).collect();
                let inside = points.iter().filter(|at| (1..len).contains(&usize::from(**at)));
                inside.for_each(|at| expected[usize::from(*at)] = true);
                kinds.push(split(&points, 1));
            } else {
                let chunk = draw(50);
                (1..len).filter(|at| at % usize::from(chunk.max(1)) == 0).for_each(|at| expected[at] = true);
                kinds.push(Kind::Dribble { chunk, gap: micros(1) });
            }
        }
        let mut at = 0;
        let mut cuts = vec![false; len];
        for piece in pieces(&kinds, len) {
            cuts[at] = at > 0;
            at += piece;
        }
        assert_eq!(cuts, expected, "{kinds:?}");
    }
}

#[test]
fn what_finds_no_room_is_suppressed() {
    let (decision, server) = decided(&[LATER; MAX_CHOICES + 2]);
    assert_eq!(decision.choices().len(), MAX_CHOICES);
    assert_eq!(decision.delay(), micros(5 * MAX_CHOICES as u64));
    for place in 0..MAX_CHOICES {
        assert_eq!(server.counts(place), [1, 1, 1, 0], "fault {place}");
    }
    assert_eq!([server.counts(MAX_CHOICES), server.counts(MAX_CHOICES + 1)], [[1, 1, 0, 1]; 2]);

    let mut large = fault(Kind::Extra { mode: ExtraMode::Append, count: 0, relength: true });
    large.payload.resize(MAX_PAYLOAD, 0xAA).unwrap();
    let mut server = Server::new([large.clone(), large.clone(), large, fault(LATER)]);
    assert_eq!(named(&server.ask(&asks(3, 0, 1))), [1, 2, 4]);
    assert_eq!(server.counts(2), [1, 1, 0, 1]);
}

#[test]
fn every_kind_has_its_name_and_stage() {
    use Stage::{Accept, Answer, Connection, Delay, Header, Listener, Pdu, Wire};
    let (span, gap, how, then) = (micros(1), micros(1), How::Rst, Then::Close);
    let all = [
        (SILENCE, "no_response", Answer),
        (exception(4, true), "exception", Answer),
        (Kind::WrongCount(Count::By(-1)), "wrong_count", Answer),
        (Kind::WrongFunction(FunctionMode::Increment), "wrong_function", Pdu),
        (Kind::Corrupt { mode: CorruptMode::Flip, offset: None, count: 1 }, "corrupt", Pdu),
        (Kind::Truncate { keep: Keep::HeaderOnly, relength: true }, "truncate", Pdu),
        (Kind::Extra { mode: ExtraMode::Random, count: 4, relength: true }, "extra", Pdu),
        (Kind::WrongUnit(UnitMode::Increment), "wrong_unit", Header),
        (Kind::WrongTransaction(TransactionMode::Increment), "wrong_transaction", Header),
        (Kind::WrongProtocol(1), "wrong_protocol", Header),
        (Kind::WrongLength(LengthMode::Delta(1)), "wrong_length", Header),
        (LATER, "delay", Delay),
        (Kind::Duplicate { copies: 1, gap }, "duplicate", Wire),
        (Kind::Reorder { behind: 1, wait: span }, "reorder", Wire),
        (Kind::Unsolicited { when: Moment::After, transaction: 0xFFFF }, "unsolicited", Wire),
        (split(&[7], 1), "split", Wire),
        (Kind::Dribble { chunk: 1, gap }, "dribble", Wire),
        (CLOSE, "close", Connection),
        (Kind::CutFrame { bytes: 4, how, delay: span }, "cut_frame", Connection),
        (Kind::HalfClose { span }, "half_close", Connection),
        (Kind::StopReading { span, then }, "stop_reading", Connection),
        (HOLD, "hold_open", Connection),
        (Kind::AcceptClose { how, delay: span }, "accept_close", Accept),
        (Kind::StallAccept, "stall_accept", Listener),
        (Kind::Refuse, "refuse", Listener),
    ];
    for (kind, name, stage) in all {
        assert_eq!((kind.name(), kind.stage()), (name, stage));
    }
}

#[test]
fn where_there_is_no_reply_only_what_becomes_of_the_connection_acts() {
    let mut decision = decide(&[LATER, Kind::WrongUnit(UnitMode::Swap), CLOSE, split(&[7], 1)]);
    let losers: Vec<u32> = core::iter::from_fn(|| decision.settle_without_reply()).map(|id| id.0).collect();
    assert_eq!(losers, [1, 2, 4]);
    assert_eq!(named(&decision), [3]);
}

#[test]
fn what_a_unit_does_to_all_of_its_replies_is_no_fault_that_counts() {
    let mut decision = Decision::NONE;
    assert_eq!(decision.count(), 0);
    assert!(decision.add(0, FaultId::OF_UNIT, &fault(LATER), 0));
    assert_eq!(decision.count(), 0);
    assert!(decision.add(1, FaultId(1), &fault(LATER), 0));
    assert!(decision.add(2, FaultId(2), &fault(LATER), 0));
    assert_eq!(decision.count(), 2);
}

#[test]
fn only_a_quantity_that_grows_asks_for_a_wider_read() {
    let by = |delta| Kind::WrongCount(Count::By(delta));
    for (kinds, widest) in [
        (vec![LATER], None),
        (vec![by(-1)], None),
        (vec![Kind::WrongCount(Count::Exactly(2))], None),
        (vec![by(3)], Some(5)),
        (vec![by(3), by(-4)], Some(5)),
        (vec![by(-1), by(1)], None),
        (vec![by(i16::MAX)], Some(125)),
    ] {
        assert_eq!(decide(&kinds).widest(&asks(3, 0, 2)), widest, "{kinds:?}");
    }
    assert_eq!(decide(&[by(3)]).widest(&asks(16, 0, 2)), None, "a write has no quantity to read");
}
