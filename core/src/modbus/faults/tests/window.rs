//! 8.1: when a fault is in force; 8.3: nobody is accepted.

use super::*;

fn windowed(kind: Kind, from: u64, until: Option<u64>, cycle: Option<(u64, u64)>) -> Fault {
    let cycle = cycle.map(|(on, off)| (micros(on), micros(off)));
    Fault { window: Window { from: micros(from), until: until.map(micros), cycle }, ..fault(kind) }
}

/// Whether it acts on a request at this time.
fn acts(server: &mut Server, now: u64) -> bool {
    server.ask_on(0, at(now), &asks(3, 0, 1), Ended::Normal).is_silent()
}

/// The same window, walked through step by step.
fn is_open(from: u64, until: Option<u64>, cycle: Option<(u64, u64)>, now: u64) -> bool {
    if now < from || until.is_some_and(|until| now >= until) {
        return false;
    }
    let Some((on, off)) = cycle.filter(|(_, off)| *off > 0) else { return true };
    let (mut edge, mut open) = (u128::from(from), true);
    loop {
        edge += u128::from(if open { on } else { off });
        if u128::from(now) < edge {
            return open;
        }
        open = !open;
    }
}

#[test]
fn a_window_begins_with_its_first_instant_and_ends_before_its_last() {
    let mut server = Server::new([windowed(SILENCE, 10, Some(20), None)]);
    for (now, expected) in [(0, false), (9, false), (10, true), (19, true), (20, false), (u64::MAX, false)] {
        assert_eq!(acts(&mut server, now), expected, "at {now}");
    }
    assert_eq!(server.counts(0), [2, 2, 2, 0], "outside it nothing is checked");
}

#[test]
fn a_window_counts_from_the_start_of_the_server() {
    let mut server = Server::new([windowed(SILENCE, 10, Some(20), None)]);
    server.plan = Plan::new(server.plan.entries, at(1000));
    for (now, expected) in [(0, false), (15, false), (1009, false), (1010, true), (1020, false)] {
        assert_eq!(acts(&mut server, now), expected, "at {now}");
    }
}

#[test]
fn a_cycle_is_on_first_and_then_off_over_and_over() {
    let mut server = Server::new([windowed(SILENCE, 0, None, Some((2, 3)))]);
    let seen: Vec<bool> = (0..12).map(|now| acts(&mut server, now)).collect();
    let (on, off) = (true, false);
    assert_eq!(seen, [on, on, off, off, off, on, on, off, off, off, on, on]);
    let mut server = Server::new([windowed(SILENCE, 3, Some(9), Some((2, 3)))]);
    let seen: Vec<bool> = (0..12).map(|now| acts(&mut server, now)).collect();
    assert_eq!(seen, [off, off, off, on, on, off, off, off, on, off, off, off]);
}

#[test]
fn a_fault_is_switched_off_and_on_and_on_for_a_while() {
    let mut server = Server::new([fault(SILENCE)]);
    let entry = |server: &mut Server, on, until: Option<u64>| {
        let entry = server.plan.entry_mut(FaultId(1)).unwrap();
        entry.enable(on, until.map(at));
        assert_eq!(entry.until(), until.map(at));
    };
    assert!(acts(&mut server, 0));
    entry(&mut server, false, None);
    assert!(!acts(&mut server, 1));
    assert_eq!(server.counts(0), [1, 1, 1, 0], "a fault that is off is not even checked");
    entry(&mut server, true, Some(10));
    assert!(acts(&mut server, 9));
    assert!(!acts(&mut server, 10), "the while is over");
    assert!(!acts(&mut server, 11));
    entry(&mut server, true, None);
    assert!(acts(&mut server, 12));
    entry(&mut server, false, Some(100));
    assert!(!acts(&mut server, 13), "off is off, whatever it was to be on until");
}

#[test]
fn a_while_ends_inside_a_window_and_a_window_inside_a_while() {
    let mut server = Server::new([windowed(SILENCE, 5, Some(15), None)]);
    server.plan.entries[0].enable(true, Some(at(10)));
    let seen: Vec<bool> = [4, 5, 9, 10, 14].map(|now| acts(&mut server, now)).into();
    assert_eq!(seen, [false, true, true, false, false]);
    server.plan.entries[0].enable(true, Some(at(100)));
    let seen: Vec<bool> = [14, 15, 99].map(|now| acts(&mut server, now)).into();
    assert_eq!(seen, [true, false, false]);
}

#[test]
fn any_window_is_open_when_the_naive_one_is() {
    let mut source = SplitMix64::new(1);
    let mut draw = |most: u32| u64::from(source.up_to(most));
    for _ in 0..1500 {
        let from = draw(12) * draw(1);
        let until = (draw(1) == 1).then(|| draw(40));
        let cycle = (draw(2) > 0).then(|| (draw(5), draw(5)));
        let mut server =
            Server::new([windowed(SILENCE, from, until, cycle), windowed(Kind::Refuse, from, until, cycle)]);
        for now in 0..60 {
            let expected = is_open(from, until, cycle, now);
            assert_eq!(acts(&mut server, now), expected, "{from} {until:?} {cycle:?} at {now}");
            let listening = if expected { Listening::Refused } else { Listening::Open };
            assert_eq!(server.plan.listening(at(now)), listening, "{from} {until:?} {cycle:?} at {now}");
            // Nothing changes before the instant that is named, and that is a later one.
            let next = server.plan.listening_changes(at(now));
            assert!(next.is_none_or(|next| next > at(now)), "{from} {until:?} {cycle:?} at {now}: {next:?}");
            let first = (now + 1..200).find(|later| is_open(from, until, cycle, *later) != expected);
            if let Some(first) = first {
                assert!(next.is_some_and(|next| next <= at(first)), "{from} {until:?} {cycle:?} at {now}: {next:?}");
            }
        }
    }
}

#[test]
fn windows_of_any_length_are_open_or_not_without_overflow() {
    let all = [0, 1, 2, 1 << 40, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    for from in all {
        for until in all.map(Some).into_iter().chain([None]) {
            for (on, off) in all.into_iter().flat_map(|on| all.map(|off| (on, off))) {
                let mut server = Server::new([windowed(SILENCE, from, until, Some((on, off)))]);
                let on = u128::from(on);
                for now in all {
                    let into = u128::from(now.saturating_sub(from));
                    let whole = on + u128::from(off);
                    let open = now >= from && until.is_none_or(|until| now < until) && (off == 0 || into % whole < on);
                    // A cycle longer than time itself may end with time.
                    if whole <= u128::from(u64::MAX) {
                        assert_eq!(acts(&mut server, now), open, "{from} {until:?} {on} {off} at {now}");
                    }
                    let _changes = server.plan.listening_changes(at(now));
                }
            }
        }
    }
    let mut server = Server::new([windowed(Kind::Refuse, 0, None, None)]);
    server.plan.entries[0].enable(true, None);
    let window =
        Window { from: Duration::MAX, until: Some(Duration::MAX), cycle: Some((Duration::MAX, Duration::MAX)) };
    let mut longest = Server::new([Fault { window, ..fault(Kind::Refuse) }]);
    assert_eq!(longest.plan.listening(Instant::MAX), Listening::Open);
    let _changes = longest.plan.listening_changes(Instant::MAX);
}

#[test]
fn a_cycle_that_is_never_on_or_never_off_has_no_edges() {
    for cycle in [(0, 5), (5, 0)] {
        let server = Server::new([windowed(Kind::Refuse, 0, None, Some(cycle))]);
        assert_eq!(server.plan.listening_changes(at(3)), None, "{cycle:?}");
    }
}

#[test]
fn at_the_end_of_time_no_edge_is_still_to_come() {
    let mut server = Server::new([windowed(Kind::Refuse, u64::MAX, None, None)]);
    server.plan = Plan::new(server.plan.entries, at(5));
    assert_eq!(server.plan.listening_changes(Instant::MAX), None);
}

#[test]
fn parts_of_a_microsecond_never_name_an_instant_that_has_come() {
    let nanos = Duration::from_nanos;
    for span in [1, 500, 999, 1001, 1500, 1999, 2001] {
        for (from, until, cycle) in [
            (nanos(span), None, None),
            (Duration::ZERO, Some(nanos(span)), None),
            (nanos(span), None, Some((nanos(span), nanos(700)))),
            (Duration::ZERO, None, Some((nanos(700), nanos(span)))),
        ] {
            let mut server = Server::new([Fault { window: Window { from, until, cycle }, ..fault(Kind::Refuse) }]);
            for now in 0..8 {
                let listening = server.plan.listening(at(now));
                let next = server.plan.listening_changes(at(now));
                assert!(next.is_none_or(|next| next > at(now)), "{from:?} {until:?} {cycle:?} at {now}: {next:?}");
                assert!(
                    next.is_some() || (now + 1..20).all(|later| server.plan.listening(at(later)) == listening),
                    "{from:?} {until:?} {cycle:?} changes behind {now}, and nobody says so"
                );
            }
        }
    }
}

#[test]
fn parts_of_a_microsecond_count_as_a_whole_one() {
    let window = Window { from: Duration::from_nanos(1500), until: Some(Duration::from_nanos(3001)), cycle: None };
    let mut server = Server::new([Fault { window, ..fault(SILENCE) }]);
    let seen: Vec<bool> = (0..6).map(|now| acts(&mut server, now)).collect();
    assert_eq!(seen, [false, false, true, true, false, false], "never early");
}

#[test]
fn refuse_beats_stall_accept_and_each_counts_its_begins() {
    let mut server = Server::new([
        windowed(Kind::Refuse, 10, Some(20), None),
        windowed(Kind::StallAccept, 5, Some(15), None),
        fault(SILENCE),
    ]);
    let seen: Vec<Listening> = [0, 5, 9, 10, 14, 15, 20].map(|now| server.plan.listening(at(now))).into();
    use Listening::{Open, Refused, Stalled};
    assert_eq!(seen, [Open, Stalled, Stalled, Refused, Refused, Refused, Open]);
    assert_eq!([server.counts(0), server.counts(1), server.counts(2)], [[1, 1, 1, 0], [1, 1, 1, 0], [0; 4]]);
    assert_eq!(server.plan.entries[0].statistics.last, Some(at(10)));
    assert_eq!(server.plan.listening_changes(at(0)), Some(at(5)));
    assert_eq!(server.plan.listening_changes(at(5)), Some(at(10)));
    assert_eq!(server.plan.listening_changes(at(10)), Some(at(15)));
    assert_eq!(server.plan.listening_changes(at(20)), None);
}

#[test]
fn listeners_come_back_when_the_while_is_over() {
    let mut server = Server::new([Fault { enabled: false, ..fault(Kind::StallAccept) }]);
    assert_eq!((server.plan.listening(at(0)), server.plan.listening_changes(at(0))), (Listening::Open, None));
    server.plan.entries[0].enable(true, Some(at(7)));
    assert_eq!(server.plan.listening(at(1)), Listening::Stalled);
    assert_eq!(server.plan.listening_changes(at(1)), Some(at(7)));
    assert_eq!((server.plan.listening(at(7)), server.plan.listening_changes(at(7))), (Listening::Open, None));
    server.plan.entries[0].enable(true, None);
    assert_eq!(server.plan.listening(at(9)), Listening::Stalled);
    assert_eq!(server.counts(0), [2, 2, 2, 0]);
}

#[test]
fn faults_on_listeners_and_new_connections_leave_requests_alone() {
    let accept = Kind::AcceptClose { how: How::Rst, delay: Duration::ZERO };
    let mut server = Server::new([fault(Kind::Refuse), fault(Kind::StallAccept), fault(accept)]);
    assert!(server.ask(&asks(3, 0, 1)).is_empty());
    assert_eq!([server.counts(0), server.counts(1), server.counts(2)], [[0; 4]; 3]);
}
