//! Clients that get back what they send.

use super::harness::{Bench, Got, plain};
use wharf_core::Machine;
use wharf_core::port::server::{
    Command, Config, Counters, Event, Failure, Input, Mode, OnFull, Options, Output, Reason, State, To,
};
use wharf_core::port::server::{SlotOption, Watermarks};

fn echo() -> Bench {
    Bench::new(Config { slots: Options { echo: true, ..Options::DEFAULT }, ..plain(OnFull::Close) }, 2)
}

fn counters(bench: &Bench, who: usize) -> Counters {
    bench.server.counters(bench.slot(who)).expect("it is there")
}

/// Bytes that differ from their neighbours.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).expect("below 251")).collect()
}

/// How a client has left, and what was given up.
fn end(bench: &Bench) -> Option<(Reason, u64, u64)> {
    bench.events.iter().find_map(|event| match *event {
        Event::Disconnected { reason, unread, unsent, .. } => Some((reason, unread, unsent)),
        _ => None,
    })
}

#[test]
fn what_a_client_sends_comes_back_in_the_same_turn_and_nobody_is_told() {
    let mut bench = echo();
    let who = bench.client();
    bench.news();
    let turns = bench.turns;
    bench.sends(who, b"hello");
    bench.run();
    assert_eq!(bench.peers[who].got, b"hello");
    assert_eq!(bench.turns, turns + 1);
    assert_eq!(bench.news(), []);
    assert_eq!(
        counters(&bench, who),
        Counters { received: 5, consumed: 5, accepted: 5, sent: 5, ..Counters::default() }
    );
    assert_eq!(bench.read(0), Got::Nothing, "there is nothing to be read");
}

#[test]
fn everything_comes_back_in_order_whatever_the_client_takes_at_a_time() {
    for step in [1, 7, 63, 64, 65, 1000] {
        let mut bench = echo();
        let who = bench.client();
        bench.deafen(who);
        let text = text(1000);
        for piece in text.chunks(97) {
            bench.sends(who, piece);
            bench.run();
        }
        assert_eq!(
            (counters(&bench, who).queued_rx, counters(&bench, who).queued_tx),
            (64, 64),
            "both queues are full"
        );
        while bench.peers[who].got.len() < text.len() {
            let before = bench.peers[who].got.len();
            bench.takes(who, step);
            bench.run();
            assert!(bench.peers[who].got.len() > before, "it goes on, {step} bytes at a time");
        }
        assert_eq!(bench.peers[who].got, text);
    }
}

#[test]
fn a_client_that_has_ended_gets_the_rest_however_slowly_and_is_dropped() {
    let mut bench = echo();
    let who = bench.client();
    bench.deafen(who);
    let text = text(120);
    bench.sends(who, &text);
    bench.ends(who);
    for _ in 0..12 {
        // Longer than any span that counts from the peer's end.
        bench.sleep(20_000);
        assert_eq!((bench.server.state(bench.slot(who)), end(&bench)), (Some(State::PeerEnded), None));
        bench.takes(who, 10);
        bench.run();
    }
    assert_eq!(bench.peers[who].got, text);
    assert!(bench.peers[who].saw_end);
    assert_eq!(end(&bench), Some((Reason::PeerClosed, 0, 0)));
    assert_eq!(bench.read(0), Got::NotConnected, "no reader is owed the end");
}

#[test]
fn bytes_behind_full_queues_come_back_although_the_peer_has_hung_up_and_pauses() {
    let mut bench = echo();
    let who = bench.client();
    bench.deafen(who);
    let text = text(500);
    bench.sends(who, &text);
    bench.hangs_up(who);
    // Longer than `unread`: the end itself is still behind the bytes.
    bench.sleep(20_000);
    assert_eq!((bench.server.state(bench.slot(who)), end(&bench)), (Some(State::Open), None));
    bench.takes(who, usize::MAX);
    bench.run();
    assert_eq!(bench.peers[who].got, text);
    assert_eq!(end(&bench), Some((Reason::PeerClosed, 0, 0)));
}

#[test]
fn without_write_stuck_a_client_that_has_ended_is_let_go_by_the_spans_of_others() {
    let mut bench = echo();
    bench.ask(Command::Set { index: None, option: SlotOption::WriteStuck(0) }).unwrap();
    let who = bench.client();
    bench.deafen(who);
    bench.sends(who, &text(100));
    bench.ends(who);
    bench.run();
    bench.sleep(60_000);
    assert_eq!(end(&bench).map(|(reason, ..)| reason), Some(Reason::PeerClosed));
    assert_eq!(bench.server.taken(), 0, "its slot is free");
}

#[test]
fn a_client_that_has_ended_without_a_word_is_dropped_at_once() {
    let mut bench = echo();
    let who = bench.client();
    bench.ends(who);
    bench.run();
    assert_eq!((end(&bench), bench.millis()), (Some((Reason::PeerClosed, 0, 0)), 0));
    assert!(bench.peers[who].saw_end);
}

#[test]
fn one_that_takes_nothing_is_found_by_write_stuck_and_leaves_no_residue() {
    let mut bench = echo();
    let who = bench.client();
    bench.deafen(who);
    bench.sends(who, &text(500));
    bench.run();
    bench.sleep(29_999);
    assert_eq!(end(&bench), None);
    bench.sleep(1);
    assert_eq!(end(&bench), Some((Reason::WriteStuck, 64, 64)));
    let other = bench.client();
    bench.deafen(other);
    bench.sends(other, &text(128));
    bench.run();
    bench.news();
    let slot = bench.slot(other);
    bench.server.handle_input(bench.now, Input::Failed { slot, kind: Failure::Reset }).unwrap();
    bench.run();
    assert_eq!(end(&bench), Some((Reason::PeerReset, 64, 64)), "what could not go back is for nobody");
}

#[test]
fn others_may_write_to_it_too() {
    let mut bench = echo();
    let who = bench.client();
    bench.sends(who, b"one ");
    bench.run();
    bench.write(bench.slot(who), b"two ").unwrap();
    bench.sends(who, b"three");
    bench.run();
    assert_eq!(bench.peers[who].got, b"one two three");
}

#[test]
fn what_comes_after_our_output_has_ended_can_be_read() {
    let mut bench = echo();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.ask(Command::ShutDown { slot }).unwrap();
    bench.news();
    bench.sends(who, b"late");
    bench.run();
    assert_eq!(bench.news(), [Event::DataReady { slot }]);
    assert_eq!(bench.read_all(0), b"late");
    bench.sends(who, b"last");
    bench.ends(who);
    bench.run();
    assert_eq!(bench.read_all(0), b"last", "a residue, as after any other client");
}

#[test]
fn it_begins_and_ends_with_the_option_and_what_waits_changes_sides() {
    let mut bench = Bench::new(plain(OnFull::Close), 2);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.sends(who, b"first ");
    bench.run();
    let set = |echo| Command::Set { index: Some(0), option: SlotOption::Echo(echo) };
    bench.ask(set(true)).unwrap();
    assert_eq!(bench.peers[who].got, b"first ");
    bench.deafen(who);
    bench.sends(who, &text(100));
    bench.run();
    bench.news();
    bench.ask(set(false)).unwrap();
    assert_eq!(bench.news(), [Event::DataReady { slot }]);
    assert_eq!(bench.read_all(0), text(100)[64..], "what was not on its way back yet");
    bench.takes(who, usize::MAX);
    bench.run();
    assert_eq!(bench.peers[who].got[6..], text(100)[..64]);
}

#[test]
fn a_queue_that_is_filled_up_again_at_once_was_never_low() {
    let mut bench = echo();
    let option = SlotOption::Watermarks(Watermarks { high: 50, low: 49 });
    bench.ask(Command::Set { index: None, option }).unwrap();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    bench.news();
    bench.sends(who, &text(128));
    bench.run();
    assert_eq!(bench.news(), [Event::HighWater { slot }]);
    bench.takes(who, 64);
    bench.run();
    assert_eq!(bench.news(), []);
    bench.takes(who, 64);
    bench.run();
    assert_eq!(bench.news(), [Event::LowWater { slot }]);
}

#[test]
fn no_client_moves_more_in_a_turn_than_its_budget() {
    let config = Config { rx_queue: 1024, tx_queue: 1024, slot_budget: 100, ..plain(OnFull::Close) };
    let mut bench = Bench::new(Config { slots: Options { echo: true, ..Options::DEFAULT }, ..config }, 2);
    let who = bench.client();
    let (turns, reads) = (bench.turns, bench.outputs.len());
    bench.sends(who, &text(1000));
    bench.run();
    assert_eq!(bench.peers[who].got, text(1000));
    assert!(bench.turns - turns >= 10, "{} turns", bench.turns - turns);
    let asked = |output: &Output| matches!(output, Output::Read { max, .. } if *max > 100);
    assert!(!bench.outputs[reads..].iter().any(asked));
    let wrong = Config { slot_budget: 63, ..plain(OnFull::Close) };
    assert!(wharf_tests::port::server(wrong, wharf_tests::port::Memory::of(1)).is_err());
    let slot = bench.slot(who);
    let all = Command::Write { to: To::Slot(slot), bytes: &text(300), mode: Mode::Policy, terminate: false };
    let turns = bench.turns;
    bench.ask(all).unwrap();
    assert!(bench.turns - turns >= 2, "what is written goes out by the budget too");
}
