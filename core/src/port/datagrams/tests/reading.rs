//! What comes, who gets it, and what is dropped.

use super::*;

#[test]
fn a_cache_is_filled_only_while_it_is_empty_and_a_ring_always() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"one", b"two"]);
    assert_eq!((rig.kernel.len(), rig.port.pending().rx), (1, 3));
    assert_eq!(rig.bytes(), Some(b"one".to_vec()));
    assert_eq!((rig.kernel.len(), rig.port.pending().rx), (0, 3));
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.arrive(&[b"one", b"two"]);
    assert_eq!((rig.kernel.len(), rig.port.pending().rx), (0, 6));
}

#[test]
fn an_empty_datagram_is_counted_and_only_a_ring_keeps_it() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"", b"x"]);
    assert_eq!(rig.told(), [Event::DataReady]);
    assert_eq!(rig.read(9), Some((b"x".to_vec(), Eom::END)));
    assert_eq!(rig.read(9), None);
    assert_eq!(rig.port.counters().empty, 1);
    let mut cursor = rig.port.cursor();
    rig.command(Command::Subscribed { count: 1 });
    rig.arrive(&[b""]);
    assert_eq!((rig.told(), rig.all(&mut cursor)), (vec![Event::DataReady], vec![Ok(vec![])]));
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.arrive(&[b"", b"x"]);
    assert_eq!(rig.read(9), Some((vec![], Eom::END)));
    assert_eq!(rig.read(9), Some((b"x".to_vec(), Eom::END)));
    assert_eq!(rig.port.counters().empty, 1);
}

#[test]
fn the_longest_datagram_arrives_whole_and_one_that_is_longer_than_the_ring_is_cut_and_flagged() {
    for mode in [ASYN, FIFO] {
        let mut rig = Rig::up(mode, 256 << 10, 64);
        for len in [MAX_PAYLOAD_V4, MAX_PAYLOAD] {
            rig.arrive(&[&vec![7; len]]);
            assert_eq!(rig.bytes().map(|bytes| bytes.len()), Some(len));
            rig.input(Input::TurnStarted);
        }
        assert_eq!(rig.port.counters().truncated, 0);
        let mut rig = Rig::up(mode, 64, 4);
        rig.arrive(&[&[7; 65]]);
        rig.port.handle_input(rig.now, Input::Requested(Command::Read { room: 100 })).unwrap();
        let piece = rig.port.piece().unwrap();
        assert_eq!((piece.bytes.concat(), piece.truncated, piece.eom), (vec![7; 64], true, Eom::END));
        let Counters { truncated, bytes, .. } = rig.port.counters();
        assert_eq!((truncated, bytes), (1, 65));
    }
}

#[test]
fn what_the_system_has_cut_is_flagged() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.port.handle_input(rig.now, Input::Readable).unwrap();
    let _ = rig.port.poll_output();
    rig.port.handle_input(rig.now, Input::Datagram { peer: peer(3), bytes: b"cut", truncated: true }).unwrap();
    rig.port.handle_input(rig.now, Input::Requested(Command::Read { room: 3 })).unwrap();
    let piece = rig.port.piece().unwrap();
    assert_eq!((piece.truncated, piece.peer, piece.at), (true, peer(3), rig.now));
    assert_eq!(rig.port.counters().truncated, 1);
}

#[test]
fn a_full_ring_drops_the_newest_or_the_oldest_and_tells_how_many() {
    for (overflow, left) in [(Overflow::DropNewest, [b"1", b"2"]), (Overflow::DropOldest, [b"4", b"5"])] {
        let mut rig = Rig::up(Config { overflow, ..FIFO }, 64, 2);
        let mut cursor = rig.port.cursor();
        rig.command(Command::Read { room: 1 });
        rig.command(Command::Subscribed { count: 1 });
        for bytes in [b"1", b"2", b"3", b"4", b"5"] {
            rig.arrive(&[bytes]);
        }
        let overflows = rig.told().into_iter().filter(|event| *event == Event::Overflowed { lost: 1 }).count();
        assert_eq!((overflows, rig.port.counters().dropped_full), (3, 3));
        assert_eq!([rig.bytes(), rig.bytes(), rig.bytes()], [Some(left[0].to_vec()), Some(left[1].to_vec()), None]);
        let [first, second] = left.map(|bytes| Ok(bytes.to_vec()));
        let seen = rig.all(&mut cursor);
        match overflow {
            Overflow::DropNewest => assert_eq!(seen, [first, second, Err(3)]),
            Overflow::DropOldest => assert_eq!(seen, [Err(3), first, second]),
        }
    }
}

#[test]
fn bytes_can_be_what_is_full_and_as_many_go_as_must() {
    let mut rig = Rig::up(Config { overflow: Overflow::DropOldest, ..FIFO }, 64, 9);
    rig.arrive(&[&[1; 20], &[2; 20], &[3; 20], &[4; 40]]);
    assert_eq!(rig.port.counters().dropped_full, 2);
    assert_eq!([rig.bytes(), rig.bytes()], [Some(vec![3; 20]), Some(vec![4; 40])]);
    let mut rig = Rig::up(FIFO, 64, 9);
    rig.arrive(&[&[1; 20], &[2; 50], &[3; 44]]);
    assert_eq!([rig.bytes(), rig.bytes()], [Some(vec![1; 20]), Some(vec![3; 44])]);
}

#[test]
fn a_datagram_that_a_reader_has_begun_is_never_torn() {
    let mut rig = Rig::up(Config { overflow: Overflow::DropOldest, ..FIFO }, 64, 1);
    rig.arrive(&[b"0123"]);
    assert_eq!(rig.read(2), Some((b"01".to_vec(), Eom::CNT)));
    rig.arrive(&[b"4567"]);
    assert_eq!(rig.read(4), Some((b"23".to_vec(), Eom::END)));
    assert_eq!((rig.read(4), rig.port.counters().dropped_full), (None, 1));
}

#[test]
fn the_rest_of_a_datagram_is_kept_or_counted_as_lost() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.arrive(&[b"0123456789", b"x"]);
    assert_eq!(rig.read(4), Some((b"0123".to_vec(), Eom::CNT)));
    rig.command(Command::Set(Setting::Rest(Rest::Discard)));
    assert_eq!(rig.read(4), Some((b"4567".to_vec(), Eom::CNT)));
    assert_eq!(rig.read(1), Some((b"x".to_vec(), Eom::CNT | Eom::END)));
    assert_eq!(rig.port.counters().unread, 1);
}

#[test]
fn a_slow_subscriber_loses_alone_and_is_told_how_many() {
    let mut rig = Rig::up(FIFO, 64, 3);
    rig.command(Command::Subscribed { count: 2 });
    let (mut slow, mut quick) = (rig.port.cursor(), rig.port.cursor());
    for nth in 0..10 {
        rig.arrive(&[&[nth]]);
        assert_eq!(rig.all(&mut quick), [Ok(vec![nth])]);
    }
    assert_eq!(rig.all(&mut slow), [Err(7), Ok(vec![7]), Ok(vec![8]), Ok(vec![9])]);
    assert_eq!(rig.port.counters().dropped_full, 0);
}

#[test]
fn what_the_reader_has_read_or_flushed_is_still_there_for_subscribers() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.command(Command::Subscribed { count: 1 });
    let mut cursor = rig.port.cursor();
    rig.arrive(&[b"a", b"b", b"c"]);
    rig.bytes();
    let mut unread = rig.port.cursor_at_unread();
    rig.port.handle_input(rig.now, Input::Requested(Command::Flush)).unwrap();
    assert_eq!((rig.port.flushed(), rig.bytes()), (2, None));
    assert_eq!(rig.all(&mut cursor), [Ok(b"a".to_vec()), Ok(b"b".to_vec()), Ok(b"c".to_vec())]);
    assert_eq!(rig.all(&mut unread), [Ok(b"b".to_vec()), Ok(b"c".to_vec())]);
    assert_eq!(rig.port.counters().unread, 0);
}

#[test]
fn with_subscribers_a_slow_reader_has_the_cache_for_a_second() {
    let mut rig = Rig::up(ASYN, 64, 4);
    assert_eq!(rig.read(1), None);
    rig.command(Command::Subscribed { count: 1 });
    let mut cursor = rig.port.cursor();
    rig.arrive(&[b"AB", b"CD"]);
    let arrived = rig.now;
    assert_eq!(rig.read(1), Some((b"A".to_vec(), Eom::CNT)));
    assert_eq!(rig.all(&mut cursor), [Ok(b"AB".to_vec())]);
    assert_eq!(rig.wait(), arrived.saturating_add(SECOND));
    assert_eq!(rig.all(&mut cursor), [Ok(b"CD".to_vec())]);
    assert_eq!(rig.port.counters().unread, 1);
    assert_eq!(rig.read(9), Some((b"CD".to_vec(), Eom::END)));
    assert_eq!(rig.drain(), None);
}

#[test]
fn a_reader_that_leaves_lets_the_cache_go_and_without_subscribers_it_is_kept_for_ever() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"1", b"2", b"3"]);
    assert_eq!((rig.drain(), rig.port.pending().rx, rig.kernel.len()), (None, 1, 2));
    rig.read(1);
    rig.command(Command::Subscribed { count: 1 });
    assert_eq!(rig.kernel.len(), 1);
    rig.command(Command::Leave);
    assert_eq!((rig.kernel.len(), rig.port.pending().rx, rig.port.counters().unread), (0, 0, 0));
}

#[test]
fn what_is_kept_is_owed_to_a_reader_who_takes_part_or_may_come_yet() {
    let mut rig = Rig::up(FIFO, 64, 4);
    assert!(rig.port.is_owed());
    rig.command(Command::Subscribed { count: 1 });
    assert!(!rig.port.is_owed());
    rig.bytes();
    assert!(rig.port.is_owed());
    rig.command(Command::Leave);
    assert!(!rig.port.is_owed());
    rig.command(Command::Subscribed { count: 0 });
    assert!(rig.port.is_owed());
}

#[test]
fn the_first_subscriber_gets_what_was_cached_before_it_came() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"1", b"2"]);
    rig.told();
    let mut cursor = rig.port.cursor_at_unread();
    rig.command(Command::Subscribed { count: 1 });
    assert_eq!(rig.told(), [Event::DataReady, Event::DataReady]);
    assert_eq!(rig.all(&mut cursor), [Ok(b"1".to_vec()), Ok(b"2".to_vec())]);
}

#[test]
fn a_turn_has_its_budget_even_for_empty_datagrams() {
    let mut rig = Rig::up(Config { budget: 640, ..FIFO }, 4096, 64);
    rig.arrive(&[&[][..]; 25]);
    assert_eq!((rig.yields, rig.kernel.len()), (1, 15));
    rig.input(Input::TurnStarted);
    assert_eq!((rig.yields, rig.kernel.len()), (2, 5));
    rig.input(Input::TurnStarted);
    assert_eq!((rig.yields, rig.kernel.len()), (2, 0));
    rig.input(Input::TurnStarted);
    rig.arrive(&[&[0; 639], &[0; 600], &[0; 9]]);
    assert_eq!((rig.yields, rig.kernel.len()), (3, 1));
}

#[test]
fn a_read_into_nothing_is_refused_and_does_not_make_a_reader() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.command(Command::Subscribed { count: 1 });
    assert_eq!(rig.refused(Input::Requested(Command::Read { room: 0 })), Error::EmptyBuffer);
    rig.arrive(&[b"1", b"2"]);
    assert_eq!((rig.kernel.len(), rig.drain()), (0, None));
}
