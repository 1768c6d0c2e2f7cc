//! Section 11, row by row: what bad input is answered, how it is counted, and that nothing comes of it.

use crate::talk::{at, open, read, value};
use core::time::Duration;
use wharf_core::Instant;
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::{Config, Outcome, Reason};
use wharf_core::modbus::service::Discard;
use wharf_tests::fixture::Plant;
use wharf_tests::modbus::Server;
use wharf_tests::requests;
use wharf_tests::rng::{Rng, SEED_VARIABLE, seeds};
use wharf_tests::vectors::{frame, hex};
use wharf_tests::world::{Ending, Link, Script, World};

const COUNTER_13: [u8; 5] = [8, 0, 13, 0, 0];

fn request(function: u8, start: u16, quantity: u16, rest: &[u8]) -> Vec<u8> {
    let ([a, b], [c, d]) = (start.to_be_bytes(), quantity.to_be_bytes());
    [&[function, a, b, c, d], rest].concat()
}

/// A byte count and so many bytes.
fn data(count: u8) -> Vec<u8> {
    [vec![count], vec![0x5A; count.into()]].concat()
}

/// Holds that each of these requests gets an exception, which is counted once, and that it changes nothing; the connection
/// goes on.
fn all_refused(code: u8, pdus: &[Vec<u8>]) {
    for pdu in pdus {
        let stream = [frame(7, 1, pdu), frame(8, 1, &COUNTER_13)].concat();
        let (server, mut world, id) = open(&Plant::standard(), Config::DEFAULT, Script::new().send(stream));
        let untouched = data_of(&Server::new(&Plant::standard()));
        world.run_until_quiet();
        let expected = [frame(7, 1, &[pdu[0] | 0x80, code]), frame(8, 1, &[8, 0, 13, 0, 1])].concat();
        let connection = world.connection(id);
        assert_eq!(hex(connection.peer.received()), hex(&expected), "{}", hex(pdu));
        let outcomes: Vec<_> = connection.end.processed.iter().map(|request| request.outcome).collect();
        assert_eq!(outcomes, [Outcome::Exception(Exception::new(code).unwrap()), Outcome::Ok], "{}", hex(pdu));
        assert_eq!((&connection.end.discarded[..], connection.end.closed), (&[][..], None), "{}", hex(pdu));
        assert!(data_of(&server) == untouched, "{} has changed something", hex(pdu));
    }
}

/// What clients can write to unit 1: coils, holding registers and files, at all addresses that are used here.
fn data_of(server: &Server) -> (Vec<Option<bool>>, Vec<Option<u16>>, Vec<u16>) {
    let units = server.units.borrow();
    let device = &units.unit(1).expect("the plant has a unit 1").device;
    let addresses = || (0..700).chain(5000..5010).chain(65500..=65535);
    let records = [1, 2, 3, 4].map(|number| device.files.records(number).expect("the plant has it"));
    (
        addresses().map(|address| device.coils.bit(address)).collect(),
        addresses().map(|address| device.holding.register(address)).collect(),
        records.concat(),
    )
}

#[test]
fn a_length_that_cannot_be_gets_the_earlier_replies_and_fin_at_once() {
    let write_124 = frame(2, 1, &request(16, 0, 124, &data(248)));
    assert_eq!(write_124[4..6], [0, 255]);
    for (bytes, reason) in [
        (&[0, 2, 0, 0, 0, 0][..], Discard::LengthShort),
        (&[0, 2, 0, 0, 0, 1], Discard::LengthShort),
        (&[0, 2, 0, 0, 0, 255], Discard::LengthLong),
        (&[0, 2, 0, 0, 255, 255], Discard::LengthLong),
        (&write_124, Discard::LengthLong),
    ] {
        let script = Script::new().wait(Duration::from_millis(5)).send([&read(1), bytes].concat());
        let (server, mut world, id) = open(&Plant::standard(), Config::DEFAULT, script);
        world.run_until_over();
        let connection = world.connection(id);
        assert_eq!(hex(connection.peer.received()), hex(&value(1)));
        assert_eq!(connection.peer.ended(), Some((at(5), Ending::Fin)));
        assert_eq!(connection.end.discarded, [reason]);
        assert_eq!(connection.end.closed, Some((Reason::BadFrame, false)));
        assert!(data_of(&server) == data_of(&Server::new(&Plant::standard())), "nothing is written");
    }
}

#[test]
fn of_a_frame_of_another_protocol_and_a_good_one_only_the_good_one_is_answered() {
    let stream = [vec![0, 1, 0, 1, 0, 6, 1, 6, 0, 0, 0, 9], read(2)].concat();
    let (_, mut world, id) = open(&Plant::standard(), Config::DEFAULT, Script::new().send(stream));
    world.run_until_quiet();
    assert_eq!(hex(world.connection(id).peer.received()), hex(&value(2)));
    assert_eq!(world.connection(id).end.discarded, [Discard::ProtocolId]);
    assert_eq!(world.connection(id).end.closed, None);
}

#[test]
fn however_segments_fall_the_replies_are_those_of_whole_frames_in_order() {
    let three = || [read(1), read(2), read(3)].concat();
    let single =
        three().into_iter().fold(Script::new(), |script, byte| script.send([byte]).wait(Duration::from_millis(1)));
    let half = Script::new().send(&three()[..3]).wait(Duration::from_millis(500)).send(&three()[3..]);
    for script in [single, half, Script::new().send(three())] {
        let (_, mut world, id) = open(&Plant::standard(), Config::DEFAULT, script);
        world.run_for(Duration::from_secs(1));
        let connection = world.connection(id);
        assert_eq!(hex(connection.peer.received()), hex(&[value(1), value(2), value(3)].concat()));
        assert_eq!((&connection.end.discarded[..], connection.end.closed), (&[][..], None));
    }
}

#[test]
fn codes_that_are_none_are_01() {
    let codes = [vec![0], vec![0, 0, 0, 0, 1], vec![0x64], vec![0x64, 1, 2], vec![0x83], vec![0x83, 0, 0, 0, 1]];
    let within = [vec![43, 13], vec![43, 13, 1, 0], vec![43, 200, 1, 0], vec![8, 0, 19, 0, 0], vec![8, 0, 21, 0, 0]];
    all_refused(1, &codes);
    all_refused(1, &within);
}

#[test]
fn quantities_and_values_that_cannot_be_are_03_wherever_they_point() {
    for start in [0, 5000] {
        all_refused(
            3,
            &[
                request(3, start, 0, &[]),
                request(3, start, 126, &[]),
                request(1, start, 2001, &[]),
                request(15, start, 1969, &data(247)),
                request(5, start, 0x1234, &[]),
            ],
        );
    }
}

#[test]
fn lengths_and_byte_counts_that_do_not_fit_are_03() {
    let groups = |lengths: [u16; 2]| -> Vec<u8> {
        let group = |length: u16| [&[6, 0, 4, 0, 0][..], &length.to_be_bytes()].concat();
        [vec![20, 14], group(lengths[0]), group(lengths[1])].concat()
    };
    all_refused(
        3,
        &[
            vec![3, 0, 0],
            vec![3, 0, 0, 0, 1, 0, 0],
            groups([62, 62]),
            groups([1, 65535]),
            request(15, 0, 1, &data(2)),
            request(16, 0, 2, &data(3)),
            request(16, 0, 2, &data(6)),
            request(16, 0, 2, &data(4)[..4]),
            request(16, 0, 2, &[data(4), vec![0]].concat()),
        ],
    );
}

#[test]
fn the_longest_writes_are_normal() {
    let registers = request(16, 200, 123, &data(246));
    let group = [&[6, 0, 1, 0, 0, 0, 122][..], &[0x5A; 244]].concat();
    let records = [vec![21, 251], group].concat();
    for (pdu, reply, length) in [(&registers, &registers[..5], 253), (&records, &records, 254)] {
        let request = frame(1, 1, pdu);
        assert_eq!(request[4..6], [0, length]);
        let (_, mut world, id) = open(&Plant::standard(), Config::DEFAULT, Script::new().send(request));
        world.run_until_quiet();
        assert_eq!(hex(world.connection(id).peer.received()), hex(&frame(1, 1, reply)));
        assert_eq!(world.connection(id).end.processed[0].outcome, Outcome::Ok);
    }
}

#[test]
fn spans_that_are_not_there_are_02_and_nothing_is_written() {
    // 96 to 99 are there, 100 is not. The read span of function 23 is bad, its write span good.
    let read_write = [&[23, 0x13, 0x88, 0, 1, 0, 0, 0, 1][..], &data(2)].concat();
    let good = [&[6, 0, 1, 0, 0, 0, 1][..], &[0x5A; 2]].concat();
    let bad = [&[6, 0, 9, 0, 0, 0, 1][..], &[0x5A; 2]].concat();
    let records = [vec![21, 18], good, bad].concat();
    all_refused(2, &[request(3, 65535, 2, &[]), request(3, 96, 5, &[]), read_write, records]);
}

#[test]
fn other_protocols_get_fin_at_the_first_length_that_cannot_be() {
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
    let http = b"GET / HTTP/1.1\r\nHost: example.invalid\r\n\r\n";
    for (bytes, reason) in [(&http[..], Discard::LengthLong), (&hello, Discard::LengthShort)] {
        let (fifth, rest) = bytes.split_at(5);
        let script = Script::new().send(fifth).wait(Duration::from_secs(1)).send(rest);
        let (_, mut world, id) = open(&Plant::standard(), Config::DEFAULT, script);
        world.run_until_over();
        let connection = world.connection(id);
        assert_eq!((connection.peer.received(), connection.peer.ended()), (&[][..], Some((at(1000), Ending::Fin))));
        assert_eq!(connection.end.discarded, [reason]);
    }
}

#[test]
fn random_bytes_for_ever_get_fin_at_the_first_length_that_cannot_be() {
    for seed in seeds(60) {
        let mut rng = Rng::new(seed);
        let noise: Vec<u8> = (0..400).flat_map(|_| requests::noise(&mut rng)).collect();
        let server = Server::new(&Plant::standard());
        // Long enough for all that is on its way, so that no reset is seen in place of the FIN.
        let config = Config { linger: Duration::from_secs(3600), ..Config::DEFAULT };
        let served = server.accept(0, config, 600, 16, Instant::ORIGIN);
        let mut world = World::new(seed);
        let id = world.connect(served, Link::random(&mut rng), Script::new().stubborn().send(noise));
        world.run_until_over();
        let connection = world.connection(id);
        assert_eq!(connection.peer.ended().map(|(_, how)| how), Some(Ending::Fin), "{SEED_VARIABLE}={seed}");
        assert_eq!(connection.end.closed, Some((Reason::BadFrame, false)), "{SEED_VARIABLE}={seed}");
        let lost = [Discard::LengthShort, Discard::LengthLong];
        let reasons = &connection.end.discarded;
        assert_eq!(reasons.iter().filter(|reason| lost.contains(reason)).count(), 1, "{SEED_VARIABLE}={seed}");
        assert!(lost.contains(reasons.last().unwrap()), "{SEED_VARIABLE}={seed}: nothing is looked at behind it");
    }
}
