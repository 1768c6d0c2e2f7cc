//! A connection at rest: another machine goes on for it, and its storage serves another one.

use super::*;

#[test]
fn a_connection_at_rest_goes_on_at_another_machine() {
    let mut first = Driver::new(vec![delayed(10)]);
    first.offer(&request(1, 65, 0));
    assert_eq!(first.machine.rest(), None, "a reply is owed");
    let id = first.service.later[0];
    first.input(Input::Replied { id, pdu: &[65, 1], faults: None }).unwrap();
    let rest = first.machine.rest().unwrap();

    let mut second = Driver::new(vec![delayed(10)]);
    second.machine.resume(rest).unwrap();
    second.drain();
    let late = second.input(Input::Replied { id, pdu: &[65, 1], faults: None });
    assert_eq!(late, Err(Error::Stale { id }));
    second.offer(&request(2, 65, 0));
    assert_ne!(second.service.later[0], id, "names do not begin anew");
    assert_eq!(second.machine.resume(rest), Err(rest), "a reply is owed here");
    let id = second.service.later[0];
    second.input(Input::Replied { id, pdu: &[65, 2], faults: None }).unwrap();
    second.ask(&[(3, 100)]);
    second.run(MS(10));
    assert_eq!(second.ids(), [2, 3]);
}

#[test]
fn a_connection_with_which_a_fault_has_to_do_is_not_at_rest() {
    let stop = Kind::StopReading { span: MS(10), then: Then::Resume };
    let hold = Kind::HoldOpen { span: MS(10), then: Then::Resume };
    let idle = Kind::Unsolicited { when: Moment::Idle(MS(10)), transaction: 7 };
    for kind in [delayed(10).kind, stop, hold, idle] {
        let mut driver = Driver::new(vec![aimed(kind)]);
        driver.ask(&[(1, 0)]);
        assert!(driver.machine.rest().is_some(), "{kind:?} is aimed at another request");
        driver.ask(&[(2, 100)]);
        driver.run(MS(9));
        assert_eq!(driver.machine.rest(), None, "{kind:?}");
        driver.run(MS(1));
        assert!(driver.machine.rest().is_some(), "{kind:?} is over");
    }
    let mut ending = Driver::new(vec![]);
    ending.input(Input::EndAfter { how: How::Fin, delay: MS(10) }).unwrap();
    assert_eq!(ending.machine.rest(), None, "it was accepted to be ended");
}

#[test]
fn a_connection_is_not_at_rest_before_it_has_said_that_it_reads_on() {
    let mut driver = Driver::new(vec![aimed(Kind::StopReading { span: MS(10), then: Then::Resume })]);
    driver.ask(&[(1, 100)]);
    let due = driver.deadline.unwrap();
    driver.machine.handle_timeout(due);
    assert_eq!(driver.machine.rest(), None);
    driver.drain();
    assert_eq!(driver.outputs.last(), Some(&Output::Resume));
    assert!(driver.machine.rest().is_some());
}

#[test]
fn the_storage_of_a_connection_can_be_exchanged_while_it_holds_nothing() {
    let mut driver = Driver::new(vec![delayed(10)]);
    driver.ask(&[(1, 100)]);
    let (buffer, places, held) = driver.machine.exchange(vec![1], vec![], vec![]).unwrap_err();
    assert_eq!((buffer, places.len(), held.len()), (vec![1], 0, 0), "a reply is kept back");
    driver.run(MS(10));
    let (buffer, places, held) = driver.machine.exchange(vec![], vec![], vec![]).unwrap();
    assert_eq!((buffer.len(), places.len(), held.len()), (18 * 260, 16, 17));
    driver.machine.exchange(buffer, places, held).unwrap();
    driver.ask(&[(2, 100)]);
    driver.run(MS(10));
    assert_eq!(driver.ids(), [1, 2]);
}

#[test]
fn a_driver_that_sends_unasked_is_asked_only_for_what_is_left() {
    let mut driver = Driver::new(Vec::new());
    let bytes = [request(1, 3, 10), request(2, 3, 11)].concat();
    let Driver { machine, service, .. } = &mut driver;
    machine.handle_input(Instant::ORIGIN, Input::Received { bytes: &bytes, service, faults: None }).unwrap();
    assert!(driver.machine.has_output());
    driver.machine.handle_input(Instant::ORIGIN, Input::Transmitted { len: 5 }).unwrap();
    driver.drain();
    let asked = driver.outputs.iter().filter(|output| **output == Output::Transmit).count();
    assert_eq!((asked, driver.outputs.len()), (1, 3));
    driver.send();
    driver.outputs.clear();
    driver.drain();
    assert_eq!(driver.outputs, []);
    assert!(!driver.machine.has_output());
}
