//! Replies that are kept back beside others, in a connection that stops, ends, or has no time left.

use super::super::super::{Addresses, Relation, Reply, UnitMode};
use super::*;

const HOLD: Kind = Kind::HoldOpen { span: Duration::from_secs(30), then: Then::Resume };

/// A fault on reads of one register.
fn on(register: u16, kind: Kind) -> Fault {
    let addresses = Addresses { first: register, last: register, relation: Relation::Overlap };
    Fault { target: Target { addresses: Some(addresses), ..Target::ANY }, ..Fault::new(kind) }
}

fn behind(behind: u16, wait: u64) -> Kind {
    Kind::Reorder { behind, wait: MS(wait) }
}

fn later(driver: &mut Driver, pdu: &[u8], faults: bool) -> Result<(), Error> {
    let id = driver.service.later[0];
    let mut tallies = [];
    let mut acting = driver.plan.acting(None, &mut tallies);
    let faults: Option<&mut dyn Faults> = if faults { Some(&mut acting) } else { None };
    driver.machine.handle_input(driver.now, Input::Replied { id, pdu, faults })?;
    driver.drain();
    driver.send();
    Ok(())
}

fn reports(driver: &Driver) -> Vec<(bool, u8)> {
    let report = |output: &Output| match output {
        Output::Processed(request) => Some((request.kept, request.faults)),
        _ => None,
    };
    driver.outputs.iter().filter_map(report).collect()
}

#[test]
fn a_report_says_whether_a_reply_was_kept_back_and_how_many_faults_acted_on_it() {
    let mut driver = Driver::new(vec![on(100, delayed(10).kind), on(100, Kind::WrongProtocol(1))]);
    driver.ask(&[(1, 0), (2, 100)]);
    driver.run(MS(10));
    assert_eq!(reports(&driver), [(false, 0), (true, 2)]);
}

#[test]
fn replies_before_one_that_is_kept_back_leave_in_one_write() {
    let mut driver = Driver::new(vec![delayed(800)]);
    driver.ask(&[(1, 0), (2, 0), (3, 100)]);
    assert_eq!(driver.sent, [(0, [reply(1, 0), reply(2, 0)].concat())]);
}

#[test]
fn a_reply_that_comes_later_keeps_its_transaction() {
    let mut driver = Driver::new(vec![Fault::new(delayed(10).kind)]);
    driver.offer(&request(0x1234, 65, 0));
    let id = driver.service.later[0];
    driver.input(Input::Replied { id, pdu: &[65, 1], faults: None }).unwrap();
    driver.run(MS(10));
    assert_eq!(driver.sent, [(10, vec![0x12, 0x34, 0, 0, 0, 3, 1, 65, 1])]);
}

#[test]
fn a_reply_that_is_kept_back_cannot_be_made_a_second_time() {
    let mut driver = Driver::new(vec![Fault::new(delayed(10).kind)]);
    driver.offer(&request(1, 65, 0));
    later(&mut driver, &[65, 1], false).unwrap();
    let id = driver.service.later[0];
    assert_eq!(later(&mut driver, &[65, 2], false), Err(Error::Stale { id }));
    driver.run(MS(10));
    assert_eq!(driver.bytes(), [0, 1, 0, 0, 0, 3, 1, 65, 1]);
}

#[test]
fn a_fault_that_asks_for_the_outcome_sees_that_of_a_request_answered_later() {
    let mut judged = Fault::new(Kind::WrongTransaction(TransactionMode::Fixed(9)));
    judged.target.reply = Reply::Normal;
    for (fails, transaction) in [(false, 9), (true, 1)] {
        let mut driver = Driver::new(vec![judged.clone()]);
        driver.offer(&request(1, 65, 0));
        let id = driver.service.later[0];
        if fails {
            let mut tallies = [];
            let mut acting = driver.plan.acting(None, &mut tallies);
            let exception = Exception::ACKNOWLEDGE;
            let input = Input::Failed { id, exception, faults: Some(&mut acting) };
            driver.machine.handle_input(driver.now, input).unwrap();
            driver.drain();
            driver.send();
        } else {
            later(&mut driver, &[65, 1], true).unwrap();
        }
        assert_eq!(driver.ids(), [transaction]);
    }
}

#[test]
fn the_deadline_of_another_reply_does_not_end_a_request_that_waits_for_its_answer() {
    let mut driver = Driver::new(vec![on(100, delayed(10).kind), Fault::new(Kind::WrongUnit(UnitMode::Swap))]);
    driver.offer(&[request(1, 3, 100), request(2, 65, 0)].concat());
    driver.run(MS(4999));
    assert_eq!(driver.ids(), [1]);
    driver.run(MS(1));
    assert_eq!(driver.ids(), [1, 2], "its own comes after five seconds");
}

#[test]
fn no_more_can_have_left_of_a_kept_reply_than_was_shown() {
    let mut driver = Driver::new(vec![on(100, Kind::WrongProtocol(1))]);
    driver.window = 0;
    driver.ask(&[(1, 100)]);
    for len in [0, 12] {
        assert_eq!(driver.input(Input::Transmitted { len }), Err(Error::Transmitted { len, shown: 11 }));
    }
}

#[test]
fn a_reply_that_leaves_in_several_writes_overtakes_once() {
    let mut driver = Driver::new(vec![on(100, behind(2, 5000))]);
    driver.window = 4;
    driver.ask(&[(1, 100), (2, 0), (3, 0), (4, 0)]);
    assert_eq!(driver.ids(), [2, 3, 1, 4]);
}

#[test]
fn a_reply_whose_wait_is_over_does_not_leave_inside_of_another() {
    let dribble = Kind::Dribble { chunk: 4, gap: MS(20) };
    let mut driver = Driver::new(vec![on(100, behind(9, 30)), on(50, dribble)]);
    driver.ask(&[(1, 100), (2, 50), (3, 0)]);
    driver.run(MS(1000));
    assert_eq!(driver.bytes(), [reply(2, 50), reply(1, 100), reply(3, 0)].concat());
}

#[test]
fn a_request_without_a_reply_overtakes_nothing() {
    let mut driver = Driver::new(vec![on(100, behind(1, 5000)), on(50, Kind::NoResponse { execute: true })]);
    driver.ask(&[(1, 100), (2, 50)]);
    assert_eq!(driver.sent, []);
    driver.ask(&[(3, 0)]);
    assert_eq!(driver.ids(), [3, 1]);
}

#[test]
fn what_is_kept_back_in_a_connection_that_is_held_waits_until_it_is_let_go() {
    let mut driver = Driver::new(vec![on(100, HOLD), on(50, delayed(10).kind)]);
    driver.ask(&[(1, 100), (2, 50)]);
    driver.run(MS(29_999));
    assert_eq!(driver.ids(), [1]);
    driver.run(MS(1));
    assert_eq!(driver.ids(), [1, 2]);
}

#[test]
fn a_connection_that_is_held_throws_input_away_whether_there_are_faults_or_not() {
    let mut driver = Driver::new(vec![on(100, HOLD)]);
    driver.ask(&[(1, 100)]);
    let Driver { machine, service, .. } = &mut driver;
    let bytes = &request(2, 3, 0);
    machine.handle_input(Instant::ORIGIN, Input::Received { bytes, service, faults: None }).unwrap();
    driver.drain();
    assert_eq!(driver.outputs.last(), Some(&Output::Discarded(Discard::Held)));
    assert_eq!((driver.service.served, driver.machine.transmit()), (1, [&[][..], &[]]));
}

#[test]
fn a_peer_that_takes_nothing_is_stuck_though_there_are_faults() {
    let mut driver = Driver::new(vec![delayed(10)]);
    driver.window = 0;
    driver.ask(&[(1, 0)]);
    driver.run(MS(5000));
    driver.ask(&[(2, 0)]);
    driver.run(MS(5000));
    assert_eq!(driver.closed(), Some((Reason::WriteStuck, true)), "asking for more does not help it");
}

#[test]
fn a_peer_has_its_time_for_what_was_withheld_from_then_on() {
    let mut driver = Driver::new(vec![aimed(Kind::Dribble { chunk: 6, gap: MS(20_000) })]);
    let requests: Vec<_> = (1..=16).map(|id| (id, 100)).collect();
    driver.ask(&requests);
    driver.run(MS(20_000));
    // The 06 for this one waits until the frame is finished.
    driver.ask(&[(17, 100)]);
    driver.window = 0;
    driver.run(MS(25_000));
    driver.machine.handle_input(driver.now, Input::Transmitted { len: 5 }).unwrap();
    driver.drain();
    assert_eq!(driver.machine.transmit().concat(), [0, 17, 0, 0, 0, 3, 1, 0x83, 6]);
    driver.run(MS(9_999));
    assert_eq!(driver.closed(), None);
    driver.run(MS(1));
    assert_eq!(driver.closed(), Some((Reason::WriteStuck, true)));
}

#[test]
fn a_request_whose_reply_is_kept_back_is_outstanding_until_it_has_left() {
    let mut driver = Driver::new(vec![delayed(10)]);
    driver.ask(&[(1, 100), (2, 100), (3, 0)]);
    assert_eq!((driver.machine.outstanding(), driver.machine.is_vacant()), (2, false));
    assert!(!driver.machine.sends_kept());
    driver.window = 0;
    driver.run(MS(10));
    assert!(driver.machine.sends_kept());
    driver.window = usize::MAX;
    driver.send();
    assert_eq!((driver.machine.outstanding(), driver.machine.is_vacant()), (0, true));
    assert_eq!((driver.ids(), driver.machine.sends_kept()), (vec![1, 2, 3], false));
}

#[test]
fn a_frame_that_waits_for_a_quiet_time_needs_its_storage() {
    let idle = Kind::Unsolicited { when: Moment::Idle(MS(100)), transaction: 7 };
    let mut driver = Driver::new(vec![on(100, idle)]);
    driver.ask(&[(1, 100)]);
    assert_eq!((driver.machine.outstanding(), driver.machine.is_vacant()), (0, false));
}

#[test]
fn the_exception_of_a_request_answered_later_is_kept_back_as_it_is() {
    for function in [65, 0xC1] {
        let mut driver = Driver::new(vec![Fault::new(delayed(10).kind)]);
        driver.offer(&request(1, function, 0));
        let id = driver.service.later[0];
        driver.input(Input::Failed { id, exception: Exception::ACKNOWLEDGE, faults: None }).unwrap();
        driver.run(MS(10));
        assert_eq!(driver.sent, [(10, vec![0, 1, 0, 0, 0, 3, 1, function | 0x80, 5])]);
    }
}

#[test]
fn a_peer_is_stuck_with_a_reply_since_it_may_leave_and_not_since_it_was_made() {
    let mut driver = Driver::new(vec![on(100, delayed(3000).kind), on(100, behind(1, 60_000))]);
    driver.window = 0;
    driver.ask(&[(1, 100), (2, 0)]);
    driver.run(MS(12_999));
    assert_eq!(driver.closed(), None);
    driver.run(MS(1));
    assert_eq!(driver.closed(), Some((Reason::WriteStuck, true)));
}

#[test]
fn a_connection_that_has_ended_keeps_nothing_back() {
    let mut driver = Driver::new(vec![delayed(1000)]);
    driver.ask(&[(1, 100)]);
    driver.input(Input::Abort { reason: Reason::Kicked }).unwrap();
    assert!(driver.machine.is_vacant());
}

#[test]
fn a_connection_on_which_a_reply_is_owed_is_not_quiet() {
    let idle = Kind::Unsolicited { when: Moment::Idle(MS(100)), transaction: 7 };
    let mut driver = Driver::new(vec![on(100, idle)]);
    driver.offer(&[request(1, 3, 100), request(2, 65, 0)].concat());
    driver.run(MS(200));
    assert_eq!(driver.ids(), [1]);
    later(&mut driver, &[65, 1], false).unwrap();
    driver.run(MS(99));
    assert_eq!(driver.ids(), [1, 2]);
    driver.run(MS(1));
    assert_eq!(driver.ids(), [1, 2, 7]);
}

#[test]
fn a_reply_made_while_the_connection_drains_waits_for_nothing_any_more() {
    let idle = Kind::Unsolicited { when: Moment::Idle(MS(100)), transaction: 7 };
    for kind in [behind(3, 5000), delayed(5000).kind, idle, HOLD] {
        let mut driver = Driver::new(vec![Fault::new(kind)]);
        driver.offer(&request(1, 65, 0));
        driver.input(Input::Drain).unwrap();
        later(&mut driver, &[65, 1], true).unwrap();
        assert_eq!(driver.ids(), [1], "{kind:?}");
        assert!(driver.machine.is_vacant(), "{kind:?}");
        assert_eq!(driver.outputs.last(), Some(&Output::CloseWrite), "{kind:?}");
    }
    let close = Kind::Close { how: How::Rst, when: Order::After, delay: MS(5000) };
    let mut driver = Driver::new(vec![Fault::new(close)]);
    driver.offer(&request(1, 65, 0));
    driver.input(Input::Drain).unwrap();
    later(&mut driver, &[65, 1], true).unwrap();
    assert_eq!(driver.closed(), Some((Reason::Fault, true)), "a fault that ends it does so at once");
}
