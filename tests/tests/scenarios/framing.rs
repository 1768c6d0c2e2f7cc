//! Section 2, and the discards of each reason: what leaves, what is counted, and what becomes of the connection.

use crate::talk::{at, open, read, standard, takes_all, value};
use core::time::Duration;
use std::collections::BTreeSet;
use wharf_core::Instant;
use wharf_core::modbus::mbap::MAX_FRAME;
use wharf_core::modbus::server::{Config, Input, MIN_BUFFER, Reason};
use wharf_core::modbus::service::Discard;
use wharf_tests::fixture::{LATER, Plant, UnitLast, UnitZero, Unknown};
use wharf_tests::modbus::Server;
use wharf_tests::vectors::{frame, hex};
use wharf_tests::world::{End as _, Ending, Link, Script, World};

#[test]
fn a_length_that_no_frame_has_ends_the_connection_with_its_second_byte() {
    for (length, reason) in [
        (0, Discard::LengthShort),
        (1, Discard::LengthShort),
        (255, Discard::LengthLong),
        (256, Discard::LengthLong),
        (65535, Discard::LengthLong),
    ] {
        for protocol in [0, 1] {
            let [high, low] = u16::to_be_bytes(length);
            let first = [read(1), vec![0, 2, 0, protocol, high]].concat();
            let script = Script::new().send(first).wait(Duration::from_secs(1)).send([low]);
            let (_, mut world, id) = open(&Plant::standard(), Config::DEFAULT, script);
            world.run_for(Duration::from_millis(999));
            assert_eq!(world.connection(id).peer.ended(), None, "length {length}");
            world.run_until_over();
            let connection = world.connection(id);
            assert_eq!(hex(connection.peer.received()), hex(&value(1)), "length {length}");
            assert_eq!(connection.peer.ended(), Some((at(1000), Ending::Fin)), "length {length}");
            assert_eq!(
                connection.end.discarded,
                [reason],
                "length {length}, protocol {protocol}: the length goes first"
            );
            assert_eq!(connection.end.closed, Some((Reason::BadFrame, false)), "length {length}");
        }
    }
}

#[test]
fn the_shortest_and_the_longest_frame_are_whole_with_their_last_byte() {
    let longest = [&[8, 0, 0][..], &[0x77; 250]].concat();
    for (asked, answered) in [(&[7][..], &[7, 0x6D][..]), (&longest, &longest)] {
        let request = frame(3, 1, asked);
        let (last, front) = request.split_last().unwrap();
        let script = Script::new().send(front).wait(Duration::from_secs(1)).send([*last]);
        let (_, mut world, id) = open(&Plant::standard(), Config::DEFAULT, script);
        world.run_for(Duration::from_millis(999));
        assert!(world.connection(id).peer.received().is_empty(), "{} bytes", request.len());
        world.run_until_quiet();
        assert_eq!(hex(world.connection(id).peer.received()), hex(&frame(3, 1, answered)));
    }
}

#[test]
fn the_least_storage_takes_the_longest_frames_in_pieces_of_any_size() {
    let longest = |transaction| frame(transaction, 1, &[&[8, 0, 0][..], &[0x77; 250]].concat());
    let foreign = [&[0, 9, 0xFF, 0xFF, 0, 254, 1][..], &[0x11; 253]].concat();
    let stream = [longest(1), foreign, longest(2), read(3), longest(4)].concat();
    let expected = [longest(1), longest(2), value(3), longest(4)].concat();
    for piece in 1..=stream.len() {
        let (_, mut served) = standard(Config::DEFAULT, MIN_BUFFER);
        let got: Vec<u8> = stream.chunks(piece).flat_map(|bytes| takes_all(&mut served, bytes)).collect();
        assert!(got == expected, "pieces of {piece}: {} of {} bytes", got.len(), expected.len());
        assert_eq!(served.discarded, [Discard::ProtocolId], "pieces of {piece}");
        assert!(served.connection.is_vacant(), "pieces of {piece}: the last frame was whole");
    }
}

#[test]
fn of_what_cannot_be_answered_yet_no_more_than_one_partial_frame_is_taken() {
    for buffer in (MIN_BUFFER..4 * MIN_BUFFER).step_by(61) {
        for piece in [1, 7, 259, 260, 4000] {
            let (_, mut served) = standard(Config::DEFAULT, buffer);
            let stream = read(1).repeat(1000);
            let mut taken = 0;
            // The peer reads nothing, and what is not taken is not offered again.
            for bytes in stream.chunks(piece) {
                let some = served.received(Instant::ORIGIN, bytes);
                while !matches!(served.poll(Instant::ORIGIN), wharf_core::Step::Wait(_)) {}
                taken += some;
                if some < bytes.len() {
                    break;
                }
            }
            let whole = served.processed.len() * read(1).len();
            assert!(whole > 0 && taken < stream.len(), "{buffer} bytes of storage");
            assert!(taken - whole < MAX_FRAME, "{} bytes of a frame", taken - whole);
        }
    }
}

const COUNTER_12: [u8; 5] = [8, 0, 12, 0, 0];

/// A reason, what brings it about, and how the connection ends by it, if it does.
struct Case {
    reason: Discard,
    bytes: Vec<u8>,
    ends: Option<Reason>,
}

#[test]
fn every_reason_is_counted_once_and_ends_the_connection_or_not() {
    let plant = Plant {
        unknown_unit: Unknown::Silent,
        unit_0: UnitZero::Broadcast,
        unit_255: UnitLast::Ignore,
        ..Plant::standard()
    };
    let of = |unit| frame(2, unit, &[3, 0, 0, 0, 1]);
    let stays = |reason, bytes| Case { reason, bytes, ends: None };
    let ends = |reason, bytes, how| Case { reason, bytes, ends: Some(how) };
    let half = || read(2)[..9].to_vec();
    let listening = [frame(2, 2, &[8, 0, 4, 0, 0]), of(2)].concat();
    let cases = [
        stays(Discard::ProtocolId, vec![0, 2, 0, 1, 0, 2, 1, 7]),
        ends(Discard::LengthShort, vec![0, 2, 0, 0, 0, 1], Reason::BadFrame),
        ends(Discard::LengthLong, vec![0, 2, 0, 0, 0, 255], Reason::BadFrame),
        ends(Discard::Truncated, half(), Reason::PeerClosed),
        ends(Discard::FrameTimeout, half(), Reason::FrameTimeout),
        stays(Discard::UnknownUnit, of(9)),
        stays(Discard::IgnoredUnit, of(255)),
        stays(Discard::BroadcastRead, of(0)),
        stays(Discard::ListenOnly, listening),
    ];
    let mut seen: BTreeSet<_> = [Discard::Draining, Discard::Held].map(Discard::name).into();
    for Case { reason, bytes, ends } in cases {
        seen.insert(reason.name());
        let script = Script::new().send([read(1), bytes].concat());
        let script = match ends {
            None => script.wait(Duration::from_secs(1)).send(read(3)),
            Some(Reason::PeerClosed) => script.shut(),
            Some(_) => script,
        };
        let (_, mut world, id) = open(&plant, Config::DEFAULT, script);
        world.run_for(Duration::from_secs(20));
        let connection = world.connection(id);
        let expected = if ends.is_none() { [value(1), value(3)].concat() } else { value(1) };
        assert_eq!(hex(connection.peer.received()), hex(&expected), "{reason:?}");
        assert_eq!(connection.end.discarded, [reason]);
        assert_eq!(connection.end.closed, ends.map(|reason| (reason, false)), "{reason:?}");
    }
    // The other two have tests of their own, below and in `faults`.
    assert_eq!(seen, Discard::ALL.map(Discard::name).into());
}

#[test]
fn a_request_that_comes_while_the_connection_drains_is_counted_and_leaves_it_as_it_was() {
    let script = Script::new().send(frame(1, 1, &[LATER])).wait(Duration::from_secs(1)).send(read(2));
    let (server, mut world, id) = open(&Plant::standard(), Config::DEFAULT, script);
    world.run_for(Duration::from_millis(500));
    world.touch(id, |end, now| end.input(now, Input::Drain)).unwrap();
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.connection(id).end.discarded, [Discard::Draining]);
    assert_eq!((world.connection(id).end.closed, world.connection(id).peer.ended()), (None, None));
    assert_eq!(server.units.borrow().unit(1).unwrap().diagnostics.status(), 0xFFFF, "request 1 is still open");
}

#[test]
fn counter_12_is_of_frames_lost_to_their_header_or_to_the_end_of_their_stream_on_any_connection() {
    let server = Server::new(&Plant::standard());
    let mut world = World::new(1);
    let mut connect = |script: Script| {
        let served = server.accept(0, Config::DEFAULT, 2000, 16, world.now());
        let id = world.connect(served, Link::direct(), script);
        world.run_for(Duration::from_secs(20));
        world.connection(id).peer.received().to_vec()
    };
    let mut lose = |script: Script| {
        connect(script);
        let asked = connect(Script::new().send([frame(1, 1, &COUNTER_12), frame(1, 2, &COUNTER_12)].concat()));
        // Eleven bytes and a word each.
        [asked[11], asked[11 + 12]]
    };
    assert_eq!(lose(Script::new().send(read(1)).shut()), [0, 0]);
    assert_eq!(lose(Script::new().send(&read(1)[..11]).shut()), [1, 1], "truncated");
    assert_eq!(lose(Script::new().send([0, 2, 0, 0, 0, 1])), [2, 2], "length_short");
    assert_eq!(lose(Script::new().send([0, 2, 0, 0, 1, 0])), [3, 3], "length_long");
    assert_eq!(lose(Script::new().send([0, 2, 0, 1, 0, 2, 1, 7])), [4, 4], "protocol_id");
    assert_eq!(lose(Script::new().send(&read(1)[..11])), [4, 4], "frame_timeout is no loss that it counts");
    assert_eq!(lose(Script::new().send(&read(1)[..11]).reset()), [4, 4], "nor is a reset");
}
