//! Section 3.1, the checks that are the connection's own: what comes first, whoever is asked.

use crate::talk::{open, read, value};
use wharf_core::modbus::server::{Config, Outcome, Reason};
use wharf_core::modbus::service::Discard;
use wharf_core::rate::Rate;
use wharf_tests::fixture::{LATER, Plant};
use wharf_tests::vectors::{frame, hex};
use wharf_tests::world::{Ending, Script};

/// Requests that would be thrown away or refused otherwise, were they looked at, and their function codes.
fn others() -> [(Vec<u8>, u8); 6] {
    [
        (frame(10, 9, &[3, 0, 0, 0, 1]), 3),       // nobody's unit
        (frame(10, 1, &[100]), 100),               // an unknown function
        (frame(10, 1, &[0]), 0),                   // no function
        (frame(10, 1, &[3, 0]), 3),                // too short
        (frame(10, 1, &[3, 0, 0, 0, 0]), 3),       // nothing asked for
        (frame(10, 1, &[3, 0x13, 0x88, 0, 1]), 3), // not there
    ]
}

#[test]
fn without_a_free_place_a_request_is_06_before_anything_else_is_asked() {
    let config = Config { max_outstanding: 1, ..Config::DEFAULT };
    for (asked, function) in others() {
        let script = Script::new().send([frame(1, 1, &[LATER]), asked.clone()].concat());
        let (_, mut world, id) = open(&Plant::standard(), config, script);
        world.run_until_quiet();
        let expected = frame(10, asked[6], &[function | 0x80, 6]);
        assert_eq!(hex(world.connection(id).peer.received()), hex(&expected));
        let end = &world.connection(id).end;
        assert!(matches!(end.processed[0].outcome, Outcome::Exception(exception) if exception.code() == 6));
    }
}

#[test]
fn beyond_the_request_rate_a_request_is_06_before_anything_else_is_asked() {
    let rate = Some(Rate { per_second: 1, burst: 1 });
    let config = Config { request_rate: rate, ..Config::DEFAULT };
    for (asked, function) in others() {
        let (_, mut world, id) =
            open(&Plant::standard(), config, Script::new().send([read(1), asked.clone()].concat()));
        world.run_until_quiet();
        let expected = [value(1), frame(10, asked[6], &[function | 0x80, 6])].concat();
        assert_eq!(hex(world.connection(id).peer.received()), hex(&expected));
    }
}

#[test]
fn a_unit_that_only_listens_is_busy_like_any_other() {
    let config = Config { max_outstanding: 1, ..Config::DEFAULT };
    let stream = [frame(1, 2, &[8, 0, 4, 0, 0]), frame(2, 1, &[LATER]), frame(3, 2, &[3, 0, 0, 0, 1])].concat();
    let (_, mut world, id) = open(&Plant::standard(), config, Script::new().send(stream));
    world.run_until_quiet();
    assert_eq!(hex(world.connection(id).peer.received()), hex(&frame(3, 2, &[0x83, 6])));
    assert_eq!(world.connection(id).end.discarded, []);
}

#[test]
fn framing_goes_before_a_free_place() {
    let config = Config { max_outstanding: 1, ..Config::DEFAULT };
    let foreign = [0, 2, 0, 1, 0, 6, 1, 3, 0, 0, 0, 1];
    let stream = [frame(1, 1, &[LATER]), foreign.to_vec(), vec![0, 3, 0, 0, 0, 0], read(4)].concat();
    let (_, mut world, id) = open(&Plant::standard(), config, Script::new().send(stream));
    world.run_until_quiet();
    assert_eq!(world.connection(id).end.discarded, [Discard::ProtocolId, Discard::LengthShort]);
    world.touch(id, |end, now| end.answer(now, 0, Ok(&[LATER]))).unwrap();
    world.run_until_over();
    let connection = world.connection(id);
    assert_eq!(hex(connection.peer.received()), hex(&frame(1, 1, &[LATER])), "and no 06");
    assert_eq!(connection.peer.ended().map(|(_, how)| how), Some(Ending::Fin));
    assert_eq!(connection.end.closed, Some((Reason::BadFrame, false)));
}

#[test]
fn a_request_that_was_busy_counts_for_its_unit() {
    let config = Config { max_outstanding: 1, ..Config::DEFAULT };
    let counter = |sub_function| frame(3, 1, &[8, 0, sub_function, 0, 0]);
    let counters = [13, 14, 17].map(counter).concat();
    let stream = [frame(1, 1, &[LATER]), frame(2, 1, &[100]), frame(2, 9, &[100])].concat();
    let (_, mut world, id) = open(&Plant::standard(), config, Script::new().send(stream).until_read(18).send(counters));
    while world.connection(id).peer.received().len() < 18 {
        world.step().unwrap();
    }
    world.touch(id, |end, now| end.answer(now, 0, Ok(&[LATER]))).unwrap();
    world.run_until_quiet();
    let count = |sub_function, value| frame(3, 1, &[8, 0, sub_function, 0, value]);
    // Unit 1 was asked twice before, and one of those was 06; the other 06 was for nobody.
    let expected = [frame(2, 1, &[0xE4, 6]), frame(2, 9, &[0xE4, 6]), frame(1, 1, &[LATER])].concat();
    let expected = [expected, count(13, 1), count(14, 4), count(17, 1)].concat();
    assert_eq!(hex(world.connection(id).peer.received()), hex(&expected));
}
