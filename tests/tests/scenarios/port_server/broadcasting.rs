//! Messages for one client and for all, and what becomes of those that do not fit.

use super::harness::{Bench, plain};
use wharf_core::port::server::{
    Command, Config, Error, Event, Mode, OnFull, Outcome, Output, Overflow, Reason, SlotOption, State, To, Watermarks,
};

fn with(overflow: Overflow) -> Config {
    let mut config = plain(OnFull::Close);
    config.slots.overflow = overflow;
    config
}

fn counts(bench: &Bench, who: usize) -> [u64; 5] {
    let counters = bench.server.counters(bench.slot(who)).expect("it is there");
    [counters.accepted, counters.sent, counters.unsent, counters.dropped, counters.queued_tx]
}

#[test]
fn a_deaf_client_does_not_stall_a_broadcast() {
    let mut bench = Bench::new(with(Overflow::Reject), 3);
    let [a, deaf, c] = core::array::from_fn(|_| bench.client());
    bench.deafen(deaf);
    for round in 1..=100_usize {
        let outcomes = bench.broadcast(b"to everybody").unwrap();
        let queued = if round <= 5 { Outcome::Queued } else { Outcome::Full };
        assert_eq!(outcomes, [Outcome::Queued, queued, Outcome::Queued], "round {round}");
        for who in [a, c] {
            assert_eq!(bench.peers[who].got.len(), 12 * round, "round {round}");
        }
    }
    bench.takes(deaf, usize::MAX);
    bench.run();
    assert_eq!(bench.peers[deaf].got, b"to everybody".repeat(5), "it has what was queued, whole and in order");
}

#[test]
fn a_broadcast_tells_each_outcome() {
    let mut bench = Bench::new(with(Overflow::Reject), 6);
    let [_queued, full, partial, shut, gone] = core::array::from_fn(|_| bench.client());
    for who in [full, partial] {
        bench.deafen(who);
        bench.write(bench.slot(who), &[b'-'; 60]).unwrap();
    }
    bench.ask(Command::Set { index: Some(2), option: SlotOption::Overflow(Overflow::Partial) }).unwrap();
    bench.ask(Command::ShutDown { slot: bench.slot(shut) }).unwrap();
    bench.ask(Command::Abort { slot: bench.slot(gone) }).unwrap();
    let outcomes = bench.broadcast(b"twelve bytes").unwrap();
    let expected = [
        Outcome::Queued,
        Outcome::Full,
        Outcome::Partial { accepted: 4 },
        Outcome::Closed,
        Outcome::Free,
        Outcome::Free,
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(bench.server.state(bench.slot(shut)), Some(State::LocalEnded), "and nobody is closed for it");
}

#[test]
fn the_totals_of_a_broadcast_are_those_of_its_outcomes() {
    let mut bench = Bench::new(with(Overflow::Reject), 3);
    let [_, full] = core::array::from_fn(|_| bench.client());
    bench.deafen(full);
    bench.write(bench.slot(full), &[0; 64]).unwrap();
    bench.broadcast(b"x").unwrap();
    let message = Command::Write { to: To::All, bytes: b"y", mode: Mode::Policy, terminate: true };
    bench.ask(message).unwrap();
    let totals = bench.server.outcome_totals();
    assert_eq!((totals.queued, totals.partial, totals.full, totals.closed), (1, 0, 1, 0));
}

#[test]
fn a_message_for_all_others_leaves_one_out() {
    let mut bench = Bench::new(with(Overflow::Reject), 3);
    let all: [_; 3] = core::array::from_fn(|_| bench.client());
    let but = bench.slot(all[1]);
    bench.ask(Command::Write { to: To::Others(but), bytes: b"hm", mode: Mode::Policy, terminate: true }).unwrap();
    assert_eq!(all.map(|who| bench.peers[who].got.len()), [2, 0, 2]);
}

#[test]
fn reject_refuses_a_message_whole_and_says_how_much_would_fit() {
    let mut bench = Bench::new(with(Overflow::Reject), 1);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    assert_eq!(bench.write(slot, &[1; 65]), Err(Error::TooLong { len: 65, max: 64 }));
    assert_eq!(bench.write(slot, &[1; 40]).unwrap().accepted, 40);
    assert_eq!(bench.write(slot, &[2; 25]), Err(Error::Full { room: 24 }));
    assert_eq!(bench.server.room(slot), 24);
    assert_eq!(counts(&bench, who), [40, 0, 0, 0, 40], "what was refused has changed nothing");
    assert_eq!(bench.write(slot, &[3; 24]).unwrap().accepted, 24);
    bench.takes(who, 1000);
    bench.run();
    assert_eq!(bench.peers[who].got, [vec![1; 40], vec![3; 24]].concat());
}

#[test]
fn partial_takes_what_fits_and_says_how_much() {
    let mut bench = Bench::new(with(Overflow::Partial), 1);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    assert_eq!(bench.write(slot, &[1; 100]).unwrap().accepted, 64);
    assert_eq!(bench.write(slot, &[2; 5]), Err(Error::Full { room: 0 }));
    bench.takes(who, 10);
    bench.run();
    assert_eq!(bench.write(slot, &[3; 100]).unwrap().accepted, 10);
    bench.takes(who, 1000);
    bench.run();
    assert_eq!(bench.peers[who].got, [vec![1; 64], vec![3; 10]].concat());
}

#[test]
fn disconnect_closes_the_slot_with_the_reason_overflow() {
    let mut bench = Bench::new(with(Overflow::Disconnect), 2);
    let [deaf, other] = core::array::from_fn(|_| bench.client());
    bench.deafen(deaf);
    bench.write(bench.slot(deaf), &[1; 60]).unwrap();
    let outcomes = bench.broadcast(&[2; 5]).unwrap();
    assert_eq!(outcomes, [Outcome::Closed, Outcome::Queued]);
    let left = Event::Disconnected { slot: bench.slot(deaf), reason: Reason::Overflow, unread: 0, unsent: 60 };
    assert_eq!(bench.events.last(), Some(&left));
    assert_eq!(bench.peers[other].got, [2; 5]);
}

#[test]
fn drop_oldest_drops_whole_messages_but_none_that_has_begun() {
    let mut bench = Bench::new(with(Overflow::DropOldest), 1);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    for byte in 1..=4 {
        bench.write(slot, &[byte; 16]).unwrap();
    }
    bench.takes(who, 3);
    bench.run();
    bench.news();
    let receipt = bench.write(slot, &[5; 20]).unwrap();
    assert_eq!((receipt.accepted, receipt.lost), (20, 32), "17 bytes are wanted: two whole messages");
    assert_eq!(bench.news()[0], Event::Overflowed { slot, lost: 32 });
    assert_eq!(counts(&bench, who), [84, 3, 0, 32, 49]);
    assert_eq!(bench.write(slot, &[6; 52]), Err(Error::Full { room: 15 }), "51 is what the begun one leaves");
    bench.takes(who, 1000);
    bench.run();
    assert_eq!(bench.peers[who].got, [vec![1; 16], vec![4; 16], vec![5; 20]].concat());
}

#[test]
fn sixty_four_boundaries_are_kept_and_what_is_dropped_is_whole_even_beyond() {
    let mut config = with(Overflow::DropOldest);
    config.tx_queue = 200;
    let mut bench = Bench::new(config, 1);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    // A hundred messages of two bytes each, told apart by their number.
    for number in 0..100_u8 {
        bench.write(slot, &[number, number]).unwrap();
    }
    bench.write(slot, &[200, 200]).unwrap();
    bench.takes(who, 1000);
    bench.run();
    let got = &bench.peers[who].got;
    assert!(got.chunks(2).all(|pair| pair[0] == pair[1]), "half a message: {got:?}");
    assert!(got.chunks(2).is_sorted_by(|a, b| a[0] < b[0]), "out of order: {got:?}");
    assert_eq!(got.last(), Some(&200));
    assert_eq!((got[0], got.len()), (1, 200), "one had to go, and it was the oldest");
}

#[test]
fn the_blocking_face_feeds_a_long_message_in_pieces_and_in_order() {
    let mut bench = Bench::new(with(Overflow::Reject), 1);
    bench.ask(Command::Set { index: None, option: SlotOption::OutputEos(b"\r\n") }).unwrap();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    let message: Vec<u8> = (0..=255).collect();
    let mut rest = &message[..];
    while !rest.is_empty() {
        let feed = Command::Write { to: To::Slot(slot), bytes: rest, mode: Mode::Feed, terminate: true };
        match bench.ask(feed) {
            Ok(()) => {
                // The receipt is gone once the next input came; the counters stay.
                let accepted = usize::try_from(counts(&bench, who)[0]).unwrap();
                rest = &message[accepted.min(256)..];
            }
            Err(Error::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        bench.takes(who, 7);
        bench.run();
    }
    bench.takes(who, 1000);
    bench.run();
    assert_eq!(bench.peers[who].got, [&message[..], b"\r\n"].concat(), "one terminator, at the very end");
}

#[test]
fn the_output_terminator_is_queued_with_its_message_or_not_at_all_and_uncounted() {
    let mut bench = Bench::new(with(Overflow::Reject), 1);
    bench.ask(Command::Set { index: None, option: SlotOption::OutputEos(b"\r\n") }).unwrap();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    assert_eq!(bench.write(slot, &[b'x'; 63]), Err(Error::TooLong { len: 65, max: 64 }));
    assert_eq!(bench.write(slot, &[b'x'; 40]).unwrap().accepted, 40);
    assert_eq!(counts(&bench, who)[4], 42);
    assert_eq!(bench.write(slot, &[b'y'; 21]), Err(Error::Full { room: 20 }));
    assert_eq!(bench.write(slot, &[b'y'; 20]).unwrap().accepted, 20);
    bench.takes(who, 1000);
    bench.run();
    assert_eq!(bench.peers[who].got, [&[b'x'; 40][..], b"\r\n", &[b'y'; 20], b"\r\n"].concat());
    bench.ask(Command::Set { index: None, option: SlotOption::ProcessEos(false) }).unwrap();
    bench.write(slot, b"z").unwrap();
    assert_eq!(bench.peers[who].got.last(), Some(&b'z'));
}

#[test]
fn high_water_is_told_at_75_percent_and_then_low_water_once_at_25() {
    let mut bench = Bench::new(with(Overflow::Reject), 1);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    bench.news();
    bench.write(slot, &[0; 47]).unwrap();
    assert_eq!(bench.news(), []);
    bench.write(slot, &[0; 1]).unwrap();
    assert_eq!(bench.news(), [Event::HighWater { slot }], "48 of 64");
    bench.write(slot, &[0; 10]).unwrap();
    for _ in 0..3 {
        bench.takes(who, 10);
        bench.run();
    }
    assert_eq!(bench.news(), [], "28 are left");
    bench.takes(who, 11);
    bench.run();
    assert_eq!(bench.news(), [], "17 are left");
    bench.takes(who, 1);
    bench.run();
    assert_eq!(bench.news(), [Event::LowWater { slot }], "16 of 64");
    bench.takes(who, 100);
    bench.run();
    assert_eq!(bench.news(), []);
    bench.ask(Command::Set { index: None, option: SlotOption::Watermarks(Watermarks { high: 50, low: 0 }) }).unwrap();
    bench.deafen(who);
    bench.write(slot, &[0; 32]).unwrap();
    assert_eq!(bench.news(), [Event::HighWater { slot }]);
}

#[test]
fn a_broadcast_leaves_in_one_write_for_each_client() {
    let mut config = with(Overflow::Reject);
    config.tx_queue = 4096;
    let mut bench = Bench::new(config, 20);
    for _ in 0..16 {
        bench.client();
    }
    let before = bench.outputs.len();
    bench.broadcast(&[7; 64]).unwrap();
    let writes = bench.outputs[before..].iter().filter(|output| matches!(output, Output::Transmit { .. })).count();
    assert_eq!(writes, 16);
    assert!(bench.peers.iter().all(|peer| peer.got == [7; 64]));
}
