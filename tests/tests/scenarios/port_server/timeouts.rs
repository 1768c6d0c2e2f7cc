//! What runs out, from when on, and that it never does so early.

use super::harness::{Bench, plain};
use super::questions::{by_hand, drain};
use wharf_core::port::server::{Command, Event, How, Input, OnFull, Output, Reason, SlotOption, State};
use wharf_core::{Instant, Machine, Step};

fn with(option: SlotOption<'_>) -> Bench {
    let mut bench = Bench::new(plain(OnFull::Close), 2);
    bench.ask(Command::Set { index: None, option }).unwrap();
    bench
}

/// How and when a client has left.
fn end(bench: &Bench, who: usize) -> Option<(Reason, How)> {
    let slot = bench.peers[who].slot?;
    bench.events.iter().find_map(|event| match event {
        Event::Disconnected { slot: other, reason, .. } if *other == slot => Some((*reason, bench.peers[who].closed?)),
        _ => None,
    })
}

#[test]
fn nothing_ends_a_client_that_is_merely_silent() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let who = bench.client();
    assert_eq!(bench.wakes_at(), None, "idle timeouts are off unless they are set");
    bench.sleep(86_400_000);
    assert_eq!(bench.server.state(bench.slot(who)), Some(State::Open));
}

#[test]
fn idle_rx_counts_from_the_last_byte_received() {
    let mut bench = with(SlotOption::IdleRx(1000));
    let who = bench.client();
    bench.sleep(600);
    bench.sends(who, b"x");
    bench.sleep(600);
    bench.write(bench.slot(who), b"y").unwrap();
    bench.sleep(399);
    assert_eq!(end(&bench, who), None);
    bench.sleep(1);
    assert_eq!(end(&bench, who), Some((Reason::IdleRx, How::Abort)), "output does not count");
}

#[test]
fn idle_any_counts_from_the_last_byte_in_either_direction() {
    let mut bench = with(SlotOption::IdleAny(1000));
    let who = bench.client();
    bench.sleep(600);
    bench.sends(who, b"x");
    bench.sleep(600);
    bench.write(bench.slot(who), b"y").unwrap();
    bench.sleep(999);
    assert_eq!(end(&bench, who), None);
    bench.sleep(1);
    assert_eq!(end(&bench, who), Some((Reason::IdleAny, How::Abort)));
}

#[test]
fn a_byte_that_is_only_queued_is_no_activity() {
    let mut bench = with(SlotOption::IdleAny(1000));
    let who = bench.client();
    bench.deafen(who);
    bench.sleep(600);
    bench.write(bench.slot(who), b"y").unwrap();
    bench.sleep(400);
    assert_eq!(end(&bench, who), Some((Reason::IdleAny, How::Abort)));
}

#[test]
fn write_stuck_counts_from_the_last_byte_taken_while_output_is_queued() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let who = bench.client();
    bench.sleep(100_000);
    bench.deafen(who);
    bench.write(bench.slot(who), b"0123456789").unwrap();
    bench.sleep(29_000);
    bench.takes(who, 1);
    bench.sleep(29_000);
    bench.write(bench.slot(who), b"more").unwrap();
    bench.sleep(999);
    assert_eq!(end(&bench, who), None);
    bench.sleep(1);
    assert_eq!(end(&bench, who), Some((Reason::WriteStuck, How::Abort)), "more output does not put it off");
    let left = Event::Disconnected { slot: bench.slot(who), reason: Reason::WriteStuck, unread: 0, unsent: 13 };
    assert_eq!(bench.events.last(), Some(&left));
}

#[test]
fn an_empty_queue_is_never_stuck() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let who = bench.client();
    bench.write(bench.slot(who), b"taken at once").unwrap();
    bench.sleep(3_600_000);
    assert_eq!(end(&bench, who), None);
}

#[test]
fn a_zero_turns_a_timeout_off_while_it_runs_and_a_new_one_counts_from_the_same_moment() {
    let mut bench = with(SlotOption::IdleRx(1000));
    let who = bench.client();
    bench.sleep(900);
    bench.ask(Command::Set { index: Some(0), option: SlotOption::IdleRx(0) }).unwrap();
    bench.sleep(10_000);
    assert_eq!(end(&bench, who), None);
    bench.ask(Command::Set { index: Some(0), option: SlotOption::IdleRx(11_000) }).unwrap();
    bench.sleep(99);
    assert_eq!(end(&bench, who), None);
    bench.sleep(1);
    assert_eq!(end(&bench, who), Some((Reason::IdleRx, How::Abort)));
}

#[test]
fn the_longest_timeout_is_4_294_967_295_ms_and_does_not_wrap() {
    let mut bench = with(SlotOption::IdleRx(u32::MAX));
    let who = bench.client();
    bench.sleep(4_294_967_294);
    assert_eq!(end(&bench, who), None);
    bench.sleep(1);
    assert_eq!(end(&bench, who), Some((Reason::IdleRx, How::Abort)));
}

#[test]
fn an_option_of_one_slot_leaves_the_others_alone() {
    let mut bench = Bench::new(plain(OnFull::Close), 2);
    bench.ask(Command::Set { index: Some(1), option: SlotOption::IdleRx(50) }).unwrap();
    let [first, second] = core::array::from_fn(|_| bench.client());
    bench.sleep(1000);
    assert_eq!((end(&bench, first), end(&bench, second)), (None, Some((Reason::IdleRx, How::Abort))));
    let third = bench.client();
    bench.sleep(50);
    assert_eq!(bench.slot(third).index(), 1);
    assert_eq!(end(&bench, third), Some((Reason::IdleRx, How::Abort)), "it belongs to the slot, whoever sits there");
}

#[test]
fn what_comes_after_unread_bytes_were_given_up_is_given_up_as_well_and_counted() {
    let (mut port, slot) = by_hand();
    port.handle_input(Instant::ORIGIN, Input::HungUp { slot }).unwrap();
    let outputs = drain(&mut port);
    assert_eq!(outputs, [], "the queue is full");
    let now = Instant::from_millis(5000);
    port.handle_timeout(now);
    assert!(matches!(drain(&mut port)[..], [Output::Read { .. }]));
    port.handle_input(now, Input::Received { slot, bytes: &[b'y'; 64], more: true }).unwrap();
    assert!(matches!(drain(&mut port)[..], [Output::Read { .. }]), "nobody is told of what nobody can read");
    let Step::Wait(deadline) = port.poll_output() else { panic!("drained") };
    assert!(deadline.is_none_or(|deadline| deadline > now), "a timeout is over once it has been handled");
    let counters = port.counters(slot).unwrap();
    assert_eq!((counters.received, counters.unread, counters.queued_rx), (128, 128, 0));
}

#[test]
fn a_timeout_that_comes_early_changes_no_later_deadline() {
    let deadline = |early: bool| {
        let mut bench = with(SlotOption::IdleRx(100_000));
        bench.client();
        if early {
            bench.server.handle_timeout(Instant::from_millis(520));
            bench.run();
        }
        bench.now = Instant::from_millis(521);
        let second = bench.client();
        bench.ask(Command::Set { index: Some(bench.slot(second).index()), option: SlotOption::IdleRx(231) }).unwrap();
        bench.wakes_at()
    };
    assert_eq!(deadline(true), deadline(false));
}
