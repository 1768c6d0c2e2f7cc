//! What is sent, and to whom.

use super::*;

#[test]
fn a_port_in_asyn_mode_is_read_only() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"one"]);
    rig.bytes();
    for to in [To::Peer(peer(1)), To::LastRead, To::Everyone] {
        assert_eq!(rig.refused(Input::Requested(Command::Write { to, bytes: b"x" })), Error::ReadOnly);
    }
    assert!(rig.wire.is_empty());
}

#[test]
fn sending_and_receiving_have_budgets_of_their_own() {
    let mut rig = Rig::up(Config { budget: 100, ..FIFO }, 4096, 64);
    rig.takes = false;
    for _ in 0..4 {
        rig.write(To::Peer(peer(1)), &[0; 60]);
    }
    rig.takes = true;
    rig.input(Input::Writable);
    assert_eq!((rig.wire.len(), rig.yields), (2, 1));
    rig.arrive(&[b"x"]);
    assert_eq!((rig.kernel.len(), rig.yields), (0, 1));
    rig.input(Input::TurnStarted);
    assert_eq!((rig.wire.len(), rig.port.pending().tx), (4, 0));
}

#[test]
fn a_socket_that_takes_nothing_is_left_alone_until_it_does() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.takes = false;
    rig.write(To::Peer(peer(1)), b"one");
    rig.write(To::Peer(peer(2)), b"");
    assert_eq!(rig.drain(), None);
    rig.takes = true;
    assert_eq!((rig.drain(), rig.wire.len(), rig.port.pending().tx), (None, 0, 3));
    rig.input(Input::Writable);
    assert_eq!(rig.wire, [(peer(1), b"one".to_vec()), (peer(2), vec![])]);
    assert_eq!(rig.port.counters().sent, 2);
}

#[test]
fn output_has_64_places_and_its_bytes_and_then_is_full() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.takes = false;
    let write = |bytes| Input::Requested(Command::Write { to: To::Peer(peer(1)), bytes });
    for _ in 0..63 {
        rig.input(write(b"x"));
    }
    assert_eq!(rig.refused(write(b"xx")), Error::Full { places: 1, room: 1 });
    rig.input(write(b""));
    assert_eq!(rig.refused(write(b"")), Error::Full { places: 0, room: 1 });
    assert_eq!(rig.refused(write(&[0; 65])), Error::TooLong { len: 65, max: 64 });
    rig.command(Command::Close);
    assert_eq!((rig.port.pending().tx, rig.port.counters().failed), (0, 64));
}

#[test]
fn a_payload_is_bounded_by_the_peers_protocol() {
    let mut rig = Rig::up(FIFO, 256 << 10, 4);
    let write = |to, bytes| Input::Requested(Command::Write { to: To::Peer(to), bytes });
    let longest = vec![0; MAX_PAYLOAD + 1];
    let v6 = SocketAddr::from((core::net::Ipv6Addr::LOCALHOST, 9));
    for (to, max) in [(peer(1), MAX_PAYLOAD_V4), (v6, MAX_PAYLOAD)] {
        assert_eq!(rig.refused(write(to, &longest[..=max])), Error::TooLong { len: max + 1, max });
        rig.input(write(to, &longest[..max]));
        rig.input(Input::TurnStarted);
    }
    assert_eq!(rig.wire.len(), 2);
}

#[test]
fn a_write_to_the_last_read_answers_its_sender() {
    let mut rig = Rig::up(FIFO, 64, 4);
    let write = Input::Requested(Command::Write { to: To::LastRead, bytes: b"answer" });
    assert_eq!(rig.refused(write), Error::NoPeer);
    rig.arrive_from(peer(1), &[b"a"]);
    rig.arrive_from(peer(2), &[b"b"]);
    assert_eq!((rig.refused(write), rig.port.last_read()), (Error::NoPeer, None));
    rig.bytes();
    rig.input(write);
    assert_eq!(rig.port.last_read(), Some(peer(1)));
    rig.bytes();
    rig.input(write);
    assert_eq!(rig.port.last_read(), Some(peer(2)));
    assert_eq!(rig.wire, [(peer(1), b"answer".to_vec()), (peer(2), b"answer".to_vec())]);
}

#[test]
fn a_broadcast_tells_each_outcome_and_stores_its_payload_once() {
    let mut rig = Rig::up(FIFO, 64, 1);
    rig.write(To::Everyone, b"nobody");
    assert_eq!((rig.wire.len(), rig.port.outcomes().count()), (0, 0));
    (1..=3).for_each(|port| rig.arrive_from(peer(port), &[b"x"]));
    rig.takes = false;
    (0..62).for_each(|_| rig.write(To::Peer(peer(9)), b""));
    let broadcast = |bytes| Input::Requested(Command::Write { to: To::Everyone, bytes });
    rig.port.handle_input(rig.now, broadcast(&[7; 64])).unwrap();
    let outcomes = |rig: &Rig| rig.port.outcomes().map(|(peer, outcome)| (peer.port(), outcome)).collect::<Vec<_>>();
    assert_eq!(outcomes(&rig), [(1, Outcome::Queued), (2, Outcome::Queued), (3, Outcome::Full)]);
    assert_eq!(rig.port.pending().tx, 128);
    rig.port.handle_input(rig.now, broadcast(&[7; 65])).unwrap();
    assert_eq!(outcomes(&rig), [1, 2, 3].map(|port| (port, Outcome::TooLong)));
    rig.port.handle_input(rig.now, Input::TurnStarted).unwrap();
    assert_eq!(outcomes(&rig), []);
    rig.takes = true;
    rig.input(Input::Writable);
    assert_eq!(rig.wire[62..], [(peer(1), vec![7; 64]), (peer(2), vec![7; 64])]);
    rig.write(To::Peer(peer(4)), &[8; 64]);
    assert_eq!(rig.wire[64], (peer(4), vec![8; 64]));
}

#[test]
fn a_broadcast_reaches_64_peers_of_the_last_minute() {
    let mut rig = Rig::up(FIFO, 64, 1);
    for port in 1..=64 {
        rig.arrive_from(peer(port), &[b"x"]);
    }
    rig.arrive_from(peer(1), &[b"x"]);
    rig.arrive_from(peer(65), &[b"x"]);
    rig.write(To::Everyone, b"all");
    let mut reached: Vec<u16> = rig.wire.drain(..).map(|(peer, _)| peer.port()).collect();
    reached.sort_unstable();
    assert_eq!(reached, [&[1][..], &(3..=65).collect::<Vec<_>>()].concat());
    rig.now = rig.now.saturating_add(Duration::from_micros(59_999_999));
    rig.arrive_from(peer(7), &[b"x"]);
    rig.write(To::Everyone, b"still");
    assert_eq!(rig.wire.drain(..).count(), 64);
    rig.now = rig.now.saturating_add(Duration::from_micros(1));
    rig.write(To::Everyone, b"late");
    assert_eq!(rig.wire, [(peer(7), b"late".to_vec())]);
}

#[test]
fn the_room_of_a_broadcast_is_free_with_its_last_copy() {
    let mut rig = Rig::up(FIFO, 64, 1);
    (1..=2).for_each(|port| rig.arrive_from(peer(port), &[b"x"]));
    rig.takes = false;
    rig.write(To::Everyone, &[7; 64]);
    rig.port.handle_input(rig.now, Input::Writable).unwrap();
    let write = Input::Requested(Command::Write { to: To::Peer(peer(1)), bytes: b"x" });
    for (port, places) in [(1, 62), (2, 63)] {
        assert_eq!(rig.refused(write), Error::Full { places, room: 0 });
        assert_eq!(rig.port.poll_output(), Step::Do(Output::Send { peer: peer(port) }));
        assert_eq!(rig.port.transmit().concat(), [7; 64]);
        rig.port.handle_input(rig.now, Input::Sent).unwrap();
    }
    rig.input(write);
    assert_eq!(rig.port.pending().tx, 1);
}
