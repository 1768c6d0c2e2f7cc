//! Who sits in a slot, and who does not any more.

use super::harness::{Bench, Got, plain};
use wharf_core::Machine;
use wharf_core::port::server::{Command, Error, Event, Failure, Input, Mode, OnFull, Reason, SlotOption, State, To};
use wharf_core::slots::SlotId;

#[test]
fn a_stale_id_never_reaches_the_next_client() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let first = bench.client();
    let stale = bench.slot(first);
    bench.ask(Command::Abort { slot: stale }).unwrap();
    let second = bench.client();
    let slot = bench.slot(second);
    assert_eq!((stale.index(), slot.index()), (0, 0));
    bench.sends(second, b"mine");
    bench.run();
    let error = Error::Stale { slot: stale };
    let commands = [
        Command::Write { to: To::Slot(stale), bytes: b"x", mode: Mode::Policy, terminate: true },
        Command::Write { to: To::Slot(stale), bytes: b"x", mode: Mode::Feed, terminate: false },
        Command::Consume { slot: stale, len: 1 },
        Command::Consume { slot: stale, len: 0 },
        Command::Flush { slot: stale },
        Command::ShutDown { slot: stale },
        Command::Drop { slot: stale, reason: Reason::LocalClosed },
        Command::Abort { slot: stale },
    ];
    for command in commands {
        assert_eq!(bench.ask(command), Err(error), "{command:?}");
    }
    let inputs = [
        Input::Readable { slot: stale },
        Input::Writable { slot: stale },
        Input::HungUp { slot: stale },
        Input::Received { slot: stale, bytes: b"y", more: true },
        Input::ReadBlocked { slot: stale },
        Input::Ended { slot: stale },
        Input::Transmitted { slot: stale, len: 1 },
        Input::WriteBlocked { slot: stale },
        Input::Failed { slot: stale, kind: Failure::Reset },
        Input::Closed { slot: stale },
    ];
    for input in inputs {
        assert_eq!(bench.server.handle_input(bench.now, input), Err(error), "{input:?}");
    }
    assert_eq!(bench.server.state(slot), Some(State::Open));
    assert_eq!(bench.read_all(0), b"mine");
    assert_eq!(bench.peers[second].got, b"");
    assert_eq!((bench.server.state(stale), bench.server.counters(stale), bench.server.peer(stale)), (None, None, None));
    assert!(bench.server.received(stale).concat().is_empty() && bench.server.transmit(stale).concat().is_empty());
    assert_eq!(bench.server.room(stale), 0);
    let beyond = SlotId::from_bits(1);
    assert!(bench.ask(Command::Abort { slot: beyond }).is_err(), "a slot that is not there");
}

#[test]
fn an_index_that_is_not_there_is_no_slot() {
    let mut bench = Bench::new(plain(OnFull::Close), 2);
    let error = Error::NoSuchSlot { index: 2, slots: 2 };
    assert_eq!(bench.ask(Command::TakeEnd { index: 2 }), Err(error));
    assert_eq!(bench.ask(Command::Set { index: Some(2), option: SlotOption::IdleRx(1) }), Err(error));
    assert_eq!(bench.read(2), Got::NotConnected);
    assert_eq!(bench.server.id_at(2), None);
}

#[test]
fn peer_and_stream_change_together() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    for round in 0..20 {
        let who = bench.come();
        bench.sends(who, format!("hello {round}").as_bytes());
        bench.deafen(who);
        bench.run();
        let slot = bench.slot(who);
        let counters = bench.server.counters(slot).unwrap();
        assert_eq!(bench.server.peer(slot), Some(bench.peers[who].address));
        assert_eq!((counters.consumed, counters.accepted, counters.sent), (0, 0, 0), "its counters begin with it");
        assert_eq!(bench.read_all(0), format!("hello {round}").as_bytes(), "nothing of the one before");
        bench.write(slot, b"never taken").unwrap();
        bench.sends(who, b"never read");
        bench.run();
        bench.ask(Command::Abort { slot }).unwrap();
        let left = Event::Disconnected { slot, reason: Reason::LocalAborted, unread: 10, unsent: 11 };
        assert_eq!(bench.events.last(), Some(&left));
        assert_eq!((bench.server.id_at(0), bench.server.peer(slot)), (None, None));
        assert_eq!(bench.read(0), Got::NotConnected);
    }
}

#[test]
fn each_id_is_connected_once_and_disconnected_once_and_then_never_heard_of() {
    let mut bench = Bench::new(plain(OnFull::KickOldest), 2);
    for round in 0..30 {
        let who = bench.come();
        bench.sends(who, b"abc");
        bench.run();
        if round % 4 == 0 {
            bench.breaks(who, Failure::Reset);
        }
        bench.broadcast(b"def").unwrap();
        bench.sleep(100);
    }
    bench.sleep(20_000);
    let mut known = Vec::new();
    let mut gone = Vec::new();
    for event in &bench.events {
        match *event {
            Event::Connected { slot, .. } => {
                assert!(!known.contains(&slot) && !gone.contains(&slot), "{slot} twice");
                known.push(slot);
            }
            Event::Disconnected { slot, .. } => {
                assert!(known.contains(&slot), "{slot} was not there");
                known.retain(|other| *other != slot);
                gone.push(slot);
            }
            Event::DataReady { slot } | Event::InputEnded { slot } | Event::HighWater { slot } => {
                assert!(known.contains(&slot), "{event:?} of somebody who is not there");
            }
            _ => {}
        }
    }
    assert_eq!(gone.len() + known.len(), 30);
}

#[test]
fn answers_that_fit_no_question_are_refused_and_change_nothing() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    bench.write(slot, b"abc").unwrap();
    let before = bench.server.counters(slot);
    let mut refused = |input: Input<'_>| bench.server.handle_input(bench.now, input).expect_err("it fits no question");
    for input in [
        Input::Received { slot, bytes: b"x", more: true },
        Input::ReadBlocked { slot },
        Input::Ended { slot },
        Input::Transmitted { slot, len: 4 },
        Input::Transmitted { slot, len: 3 },
        Input::WriteBlocked { slot },
        Input::Closed { slot },
        Input::Opened { local: bench.peers[who].address },
        Input::Shut,
    ] {
        assert_eq!(refused(input), Error::Unasked, "{input:?}");
    }
    assert_eq!(bench.server.counters(slot), before);
}
