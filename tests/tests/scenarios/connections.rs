//! Modbus connections in the simulated world: sockets that split, stall and break, and a clock that is exact.

use core::time::Duration;
use wharf_core::Instant;
use wharf_core::modbus::server::{Config, Error, Input, Outcome, Overflow, Reason};
use wharf_core::modbus::service::Discard;
use wharf_tests::fixture::{LATER, Plant};
use wharf_tests::modbus::{Core, Served, Server};
use wharf_tests::requests;
use wharf_tests::rng::{Rng, SEED_VARIABLE, seeds};
use wharf_tests::vectors::{Server as _, frame, hex};
use wharf_tests::world::{Cut, Ending, Link, Script, Split, World};

const READ: [u8; 5] = [3, 0, 0, 0, 1];
/// No timeout at all, for paths on which a byte may take its time.
const PATIENT: Config = Config {
    request_timeout: Duration::ZERO,
    frame_timeout: Duration::ZERO,
    idle_timeout: Duration::ZERO,
    write_timeout: Duration::ZERO,
    linger: Duration::ZERO,
    ..Config::DEFAULT
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn read(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &READ)
}

fn value(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &[3, 2, 0x11, 0])
}

fn reads(count: u16) -> Vec<u8> {
    (0..count).flat_map(read).collect()
}

fn values(count: u16) -> Vec<u8> {
    (0..count).flat_map(value).collect()
}

fn standard(config: Config, buffer: usize) -> (Server, Served) {
    let server = Server::new(&Plant::standard());
    let served = server.accept(0, config, buffer, 16, Instant::ORIGIN);
    (server, served)
}

/// Requests that are answered at once: a deferred one would wait for ever.
fn stream(rng: &mut Rng, count: u16) -> Vec<u8> {
    let mut stream = Vec::new();
    for transaction in 0..count {
        let pdu = requests::draw(rng);
        if pdu[0] != LATER {
            stream.extend(frame(transaction, *rng.pick(&[1, 1, 1, 2, 3, 4, 9, 255]), &pdu));
        }
    }
    stream
}

#[test]
fn any_path_gives_the_same_replies() {
    for seed in seeds(150) {
        let mut rng = Rng::new(seed);
        let stream = stream(&mut rng, 40);
        let expected = Core::new(&Plant::standard()).bytes(&stream);
        let link = Link::random(&mut rng);
        let config = Config { coalesce: rng.chance(1, 2), ..PATIENT };
        let (_, served) = standard(config, *rng.pick(&[520, 600, 2000, 8192]));
        let mut world = World::new(seed);
        let script = Script::new().send(stream).until_read(expected.len()).shut();
        let id = world.connect(served, link, script);
        world.run_until_over();
        let connection = world.connection(id);
        assert_eq!(hex(connection.peer.received()), hex(&expected), "{SEED_VARIABLE}={seed}, {link:?}");
        assert_eq!(connection.peer.ended().map(|(_, how)| how), Some(Ending::Fin), "{SEED_VARIABLE}={seed}");
        assert_eq!(connection.end.closed, Some((Reason::PeerClosed, false)), "{SEED_VARIABLE}={seed}");
    }
}

#[test]
fn a_peer_that_ends_its_side_after_its_requests_gets_every_reply_and_then_a_fin() {
    for seed in seeds(50) {
        let mut rng = Rng::new(seed);
        let link = Link::random(&mut rng);
        let (_, served) = standard(PATIENT, 600);
        let mut world = World::new(seed);
        let id = world.connect(served, link, Script::new().send(reads(100)).shut());
        world.run_until_over();
        let connection = world.connection(id);
        assert_eq!(hex(connection.peer.received()), hex(&values(100)), "{SEED_VARIABLE}={seed}, {link:?}");
        assert_eq!(connection.peer.ended().map(|(_, how)| how), Some(Ending::Fin), "{SEED_VARIABLE}={seed}");
    }
}

#[test]
fn a_peer_that_never_reads_is_not_read_either_and_is_reset_after_write_timeout() {
    let (_, served) = standard(Config::DEFAULT, 2000);
    let mut world = World::new(1);
    let link = Link { window: 1000, ..Link::direct() };
    let script = Script::new().stop_reading().wait(ms(250)).send(reads(2000));
    let id = world.connect(served, link, script);
    world.run_for(ms(9000));
    let connection = world.connection(id);
    assert!(connection.is_paused());
    assert_eq!(connection.unread_by_host(), 1000, "the rest waits with the peer");
    let answered = connection.end.processed.len();
    assert!(
        (1000 / 11..(1000 + 2000) / 11).contains(&answered),
        "as many as its storage and the window hold: {answered}"
    );
    world.run_until_over();
    assert_eq!(world.connection(id).closed_at(), Some(at(250 + 10_000)));
    assert_eq!(world.connection(id).end.closed, Some((Reason::WriteStuck, true)));
    assert_eq!(world.connection(id).peer.ended(), Some((at(250 + 10_000), Ending::Reset)));
}

#[test]
fn a_frame_that_is_never_finished_ends_the_connection_after_frame_timeout() {
    let (_, served) = standard(Config::DEFAULT, 2000);
    let mut world = World::new(2);
    let half = &read(2)[..7];
    let script = Script::new().send(read(1)).wait(ms(5)).send(half).wait(ms(4000)).send([3]).wait(ms(4000)).send([0]);
    let id = world.connect(served, Link::direct(), script);
    world.run_until_quiet();
    assert_eq!(world.step(), Some(at(10_005)), "from the first byte of the frame, whatever came later");
    world.run_until_over();
    let connection = world.connection(id);
    assert_eq!(connection.peer.received(), value(1));
    assert_eq!(connection.peer.ended(), Some((at(10_005), Ending::Fin)));
    assert_eq!(connection.end.closed, Some((Reason::FrameTimeout, false)));
    assert_eq!(connection.end.discarded, [Discard::FrameTimeout]);
}

#[test]
fn a_frame_in_time_is_answered_however_slowly_it_comes() {
    let (_, served) = standard(Config::DEFAULT, 2000);
    let mut world = World::new(3);
    let script = read(7).into_iter().fold(Script::new(), |script, byte| script.send([byte]).wait(ms(900)));
    let id = world.connect(served, Link::direct(), script);
    world.run_for(ms(9899));
    assert_eq!(world.connection(id).peer.received(), b"");
    world.run_for(ms(1));
    assert_eq!(world.connection(id).peer.received(), value(7));
}

#[test]
fn an_idle_connection_ends_exactly_after_idle_timeout_and_half_a_frame_does_not_help_it() {
    let config = Config { frame_timeout: Duration::ZERO, ..Config::DEFAULT };
    let (_, served) = standard(config, 2000);
    let mut world = World::new(4);
    let script = Script::new().wait(ms(1000)).send(read(1)).wait(ms(200_000)).send([0, 2, 0]);
    let id = world.connect(served, Link::direct(), script);
    world.run_until_over();
    assert_eq!(world.connection(id).peer.ended(), Some((at(301_000), Ending::Fin)));
    assert_eq!(world.connection(id).end.closed, Some((Reason::Idle, false)));
}

#[test]
fn sixteen_requests_are_outstanding_and_answered_in_any_order_they_leave_in_theirs() {
    for seed in seeds(30) {
        let mut rng = Rng::new(seed);
        let (_, served) = standard(Config::DEFAULT, 8192);
        let mut world = World::new(seed);
        let later: Vec<u8> = (0..17).flat_map(|transaction| frame(transaction, 1, &[LATER])).collect();
        let id = world.connect(served, Link { split: Split::Random(9), ..Link::direct() }, Script::new().send(later));
        world.run_until_quiet();
        let busy = frame(16, 1, &[LATER | 0x80, 6]);
        assert_eq!(hex(world.connection(id).peer.received()), hex(&busy), "{SEED_VARIABLE}={seed}");
        let mut order: Vec<usize> = (0..16).collect();
        while !order.is_empty() {
            let nth = order.swap_remove(rng.index(order.len()));
            let reply = [LATER, u8::try_from(nth).unwrap()];
            world.touch(id, |end, now| end.answer(now, nth, Ok(&reply))).unwrap();
        }
        world.run_until_quiet();
        let replies = (0..16_u8).flat_map(|nth| frame(u16::from(nth), 1, &[LATER, nth]));
        let expected: Vec<u8> = busy.into_iter().chain(replies).collect();
        assert_eq!(hex(world.connection(id).peer.received()), hex(&expected), "{SEED_VARIABLE}={seed}");
    }
}

#[test]
fn room_is_kept_for_the_largest_reply_to_every_deferred_request() {
    for buffer in (520..3000).step_by(97) {
        let (server, served) = standard(PATIENT, buffer);
        let mut world = World::new(12);
        let requests = (0..40).map(|i| if i % 3 == 2 { read(i) } else { frame(i, 1, &[LATER]) });
        let id = world.connect(served, Link::direct(), Script::new().send(requests.collect::<Vec<_>>().concat()));
        let largest = [&[LATER], [0x5A; 252].as_slice()].concat();
        let mut answered = 0;
        loop {
            world.run_until_quiet();
            // The newest first, so that each reply has to be held.
            let open = server.deferrals.borrow().len();
            if open == answered {
                break;
            }
            for nth in (answered..open).rev() {
                world.touch(id, |end, now| end.answer(now, nth, Ok(&largest))).unwrap();
            }
            answered = open;
        }
        let expected: Vec<u8> =
            (0..40).flat_map(|i| if i % 3 == 2 { value(i) } else { frame(i, 1, &largest) }).collect();
        let received = world.connection(id).peer.received();
        assert!(received == expected, "buffer {buffer}: {} of {} bytes", received.len(), expected.len());
    }
}

#[test]
fn with_overflow_wait_the_seventeenth_request_waits_for_a_place() {
    let config = Config { overflow: Overflow::Wait, ..Config::DEFAULT };
    let (server, served) = standard(config, 8192);
    let mut world = World::new(5);
    let later: Vec<u8> = (0..18).flat_map(|transaction| frame(transaction, 1, &[LATER])).collect();
    let id = world.connect(served, Link::direct(), Script::new().send(later));
    world.run_until_quiet();
    assert!(world.connection(id).is_paused());
    assert_eq!(server.deferrals.borrow().len(), 16);
    world.touch(id, |end, now| end.answer(now, 3, Ok(&[LATER]))).unwrap();
    assert_eq!(server.deferrals.borrow().len(), 17);
    assert_eq!(world.connection(id).peer.received(), b"", "request 0 is still open");
    world.touch(id, |end, now| end.answer(now, 0, Ok(&[LATER]))).unwrap();
    assert_eq!(server.deferrals.borrow().len(), 18);
    world.run_until_quiet();
    assert_eq!(world.connection(id).peer.received(), frame(0, 1, &[LATER]));
}

#[test]
fn a_request_that_is_never_answered_becomes_06_after_request_timeout_and_its_answer_is_late() {
    let (server, served) = standard(Config::DEFAULT, 2000);
    let mut world = World::new(6);
    let script = Script::new().wait(ms(30)).send([frame(1, 1, &[LATER]), read(2)].concat());
    let id = world.connect(served, Link::direct(), script);
    world.run_for(ms(5029));
    assert_eq!(world.connection(id).peer.received(), b"");
    world.run_for(ms(1));
    let expected = [frame(1, 1, &[LATER | 0x80, 6]), value(2)].concat();
    assert_eq!(hex(world.connection(id).peer.received()), hex(&expected));
    assert!(world.connection(id).end.processed.iter().any(|request| request.timed_out && request.deferred));
    let request = server.deferrals.borrow()[0].id;
    let late = world.touch(id, |end, now| end.answer(now, 0, Ok(&[LATER])));
    assert_eq!(late, Err(Error::Stale { id: request }));
}

#[test]
fn clients_that_misbehave_do_not_reach_the_good_one() {
    for seed in seeds(40) {
        let mut rng = Rng::new(seed);
        let server = Server::new(&Plant::standard());
        let mut world = World::new(seed);
        let link = Link { split: Split::Random(20), delay: (ms(0), ms(3)), ..Link::direct() };
        let good = world.connect(server.accept(0, Config::DEFAULT, 600, 16, world.now()), link, {
            (0..100).fold(Script::new(), |script, transaction| {
                script.send(read(transaction)).until_read(11 * (usize::from(transaction) + 1))
            })
        });
        let mut bad = Vec::new();
        for name in 1..12 {
            let script = match name % 4 {
                0 => (0..20).fold(Script::new(), |script, _| script.send(requests::noise(&mut rng)).wait(ms(1))),
                1 => Script::new().send(&read(1)[..6]).wait(ms(50)).reset(),
                2 => Script::new().stop_reading().send(reads(500)),
                _ => {
                    let bad = (0..300).flat_map(|i| frame(i, 1, &[3, 0x13, 0x88, 0xFF, 0xFF]));
                    Script::new().send(bad.collect::<Vec<_>>()).shut()
                }
            };
            let served = server.accept(name, Config::DEFAULT, 520, 0, world.now());
            bad.push(world.connect(served, Link { window: 300, ..Link::random(&mut rng) }, script));
        }
        world.run_for(ms(20_000));
        assert_eq!(hex(world.connection(good).peer.received()), hex(&values(100)), "{SEED_VARIABLE}={seed}");
        assert_eq!(world.connection(good).closed_at(), None, "{SEED_VARIABLE}={seed}");
        assert!(bad.iter().all(|id| world.connection(*id).closed_at().is_some()), "{SEED_VARIABLE}={seed}");
    }
}

#[test]
fn a_path_that_breaks_anywhere_ends_the_connection_and_nothing_else() {
    let bytes = reads(3).len();
    for after in 0..=bytes {
        for how in [Ending::Fin, Ending::Reset] {
            for to_host in [true, false] {
                let cut = Some(Cut { after, how });
                let link = Link { split: Split::Bytes, ..Link::direct() };
                let link = if to_host { Link { cut_to_host: cut, ..link } } else { Link { cut_to_peer: cut, ..link } };
                let (_, served) = standard(Config::DEFAULT, 520);
                let mut world = World::new(7);
                let id = world.connect(served, link, Script::new().send(reads(3)).until_ended());
                world.run_until_over();
                let connection = world.connection(id);
                assert!(connection.end.closed.is_some(), "{how:?} after {after}");
                let received = connection.peer.received();
                assert!(values(3).starts_with(received), "{how:?} after {after}: {}", hex(received));
                if to_host {
                    // A reset may overtake replies; nothing else may.
                    let whole = if how == Ending::Fin { after / 12 } else { 0 };
                    assert!(received.len() >= 11 * whole, "{how:?} after {after}: {}", hex(received));
                    let inside = how == Ending::Fin && after % 12 != 0;
                    let expected: &[Discard] = if inside { &[Discard::Truncated] } else { &[] };
                    assert_eq!(connection.end.discarded, expected, "{how:?} after {after}");
                }
            }
        }
    }
}

#[test]
fn a_drain_answers_what_was_accepted_and_ends_with_a_fin() {
    let (_, served) = standard(Config::DEFAULT, 2000);
    let mut world = World::new(8);
    let script = Script::new().send([frame(1, 1, &[LATER]), read(2)].concat()).wait(ms(100)).send(read(3));
    let id = world.connect(served, Link::direct(), script);
    world.run_for(ms(50));
    world.touch(id, |end, now| end.input(now, Input::Drain)).unwrap();
    world.run_for(ms(100));
    assert_eq!(world.connection(id).peer.received(), b"");
    assert_eq!(world.connection(id).end.discarded, [Discard::Draining]);
    world.touch(id, |end, now| end.answer(now, 0, Ok(&[LATER, 1]))).unwrap();
    world.run_until_over();
    let connection = world.connection(id);
    assert_eq!(hex(connection.peer.received()), hex(&[frame(1, 1, &[LATER, 1]), value(2)].concat()));
    assert_eq!(connection.peer.ended(), Some((at(150), Ending::Fin)));
    assert_eq!(connection.end.closed, Some((Reason::Shutdown, false)));
}

#[test]
fn replies_sent_before_a_bad_length_survive_a_peer_that_goes_on_sending() {
    let (_, served) = standard(Config::DEFAULT, 2000);
    let mut world = World::new(9);
    let link = Link { delay: (ms(20), ms(20)), ..Link::direct() };
    let garbage = [reads(5), vec![0, 1, 0, 0, 0, 0]].concat();
    let script = (0..20).fold(Script::new().stubborn().send(garbage), |script, _| script.wait(ms(5)).send([0xEE; 50]));
    let id = world.connect(served, link, script);
    world.run_until_over();
    let connection = world.connection(id);
    assert_eq!(hex(connection.peer.received()), hex(&values(5)));
    assert_eq!(connection.peer.ended(), Some((at(40), Ending::Fin)), "no reset destroyed them");
    assert_eq!(connection.closed_at(), Some(at(20 + 1000)), "linger, because the peer never ends its side");
    assert_eq!(connection.end.closed, Some((Reason::BadFrame, false)));
    assert_eq!(connection.end.discarded, [Discard::LengthShort]);
}

#[test]
fn every_request_is_reported_once() {
    let (_, served) = standard(PATIENT, 2000);
    let mut world = World::new(10);
    let stream = [read(1), frame(2, 1, &[3, 0, 0, 0, 0]), frame(3, 1, &[LATER]), frame(4, 9, &READ)].concat();
    let id = world.connect(served, Link { split: Split::Random(5), ..Link::direct() }, Script::new().send(stream));
    world.run_until_quiet();
    world.touch(id, |end, now| end.answer(now, 0, Ok(&[LATER, 7]))).unwrap();
    let outcomes: Vec<_> =
        world.connection(id).end.processed.iter().map(|p| (p.unit, p.function, p.bytes_in)).collect();
    assert_eq!(outcomes, [(1, 3, 12), (1, 3, 12), (9, 3, 12), (1, LATER, 8)]);
    let ok = world.connection(id).end.processed.iter().filter(|p| p.outcome == Outcome::Ok).count();
    assert_eq!(ok, 2);
}

#[test]
fn a_frame_cut_off_by_the_peers_end_is_discarded_once_and_nothing_comes_after_the_close() {
    let config = Config { request_timeout: Duration::ZERO, ..Config::DEFAULT };
    let (_, served) = standard(config, 2000);
    let mut world = World::new(11);
    let script = Script::new().send([frame(1, 1, &[LATER]), read(2)[..5].to_vec()].concat()).shut();
    let id = world.connect(served, Link::direct(), script);
    world.run_for(ms(20_000));
    assert_eq!(world.connection(id).end.discarded, [Discard::Truncated]);
    assert_eq!(world.connection(id).closed_at(), None, "a request is still to be answered");
    world.touch(id, |end, now| end.answer(now, 0, Ok(&[LATER]))).unwrap();
    world.run_until_over();
    assert_eq!(world.connection(id).peer.received(), frame(1, 1, &[LATER]));
    assert_eq!(world.connection(id).end.closed, Some((Reason::PeerClosed, false)));
}
