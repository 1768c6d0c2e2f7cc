//! Who is let in, and where to.

use super::harness::{Bench, Got, plain};
use core::net::SocketAddr;
use wharf_core::port::server::{
    ACCEPT_BUDGET, AcceptFailure, Command, Config, Error, Event, Failure, MAX_QUEUE, MAX_SLOTS, MIN_QUEUE, OnFull,
    Output, Overflow, Pick, PortOption, Reason, Refusal, Watermarks,
};
use wharf_tests::port::{Memory, server};

fn open() -> Config {
    plain(OnFull::Close)
}

#[test]
fn a_client_is_accepted_unasked() {
    let mut bench = Bench::new(open(), 2);
    bench.news();
    let who = bench.client();
    let slot = bench.slot(who);
    assert_eq!((slot.index(), bench.server.id_at(0)), (0, Some(slot)));
    assert_eq!(bench.news(), [Event::Connected { slot, peer: bench.peers[who].address }]);
    let admit = bench.outputs.iter().position(|output| *output == Output::Admit { slot });
    let told = bench.outputs.iter().position(|output| matches!(output, Output::Notify(Event::Connected { .. })));
    assert!(admit < told, "it has its slot before anybody hears of it");
}

#[test]
fn zero_slots_is_refused() {
    assert_eq!(server(open(), Memory::of(0)).err(), Some(Error::Storage));
    assert!(server(open(), Memory::of(1)).is_ok());
}

#[test]
fn a_port_has_no_more_slots_than_numbers_below_65536() {
    assert_eq!(MAX_SLOTS, 65_535);
    assert_eq!(server(open(), Memory { boundaries: false, ..Memory::of(MAX_SLOTS + 1) }).err(), Some(Error::Storage));
}

#[test]
fn queues_have_64_bytes_to_16_mib() {
    assert_eq!((MIN_QUEUE, MAX_QUEUE), (64, 16 << 20));
    for (rx_queue, tx_queue, fits) in [
        (64, 64, true),
        (63, 64, false),
        (64, 63, false),
        (0, 64, false),
        (MAX_QUEUE, MAX_QUEUE, true),
        (MAX_QUEUE + 1, 64, false),
        (64, u32::MAX, false),
    ] {
        let made = server(Config { rx_queue, tx_queue, ..Config::default() }, Memory::of(1));
        assert_eq!(made.err(), if fits { None } else { Some(Error::BadValue) }, "{rx_queue} and {tx_queue}");
    }
}

#[test]
fn the_oldest_messages_can_be_dropped_only_where_boundaries_are_kept() {
    let mut config = open();
    config.slots.overflow = Overflow::DropOldest;
    let without = Memory { boundaries: false, ..Memory::of(1) };
    assert_eq!(server(config.clone(), without).err(), Some(Error::Storage));
    assert!(server(config, Memory::of(1)).is_ok());
}

#[test]
fn watermarks_are_percentages_the_low_one_below_the_high_one() {
    for (high, low, fits) in
        [(75, 25, true), (100, 0, true), (1, 0, true), (50, 50, false), (101, 1, false), (0, 0, false)]
    {
        let mut config = open();
        config.slots.watermarks = Watermarks { high, low };
        assert_eq!(server(config, Memory::of(1)).is_ok(), fits, "{high} and {low}");
    }
}

#[test]
fn a_client_gets_the_lowest_free_slot() {
    let mut bench = Bench::new(open(), 3);
    let [a, b, c] = core::array::from_fn(|_| bench.client());
    assert_eq!([a, b, c].map(|who| bench.slot(who).index()), [0, 1, 2]);
    for who in [b, a] {
        bench.ask(Command::Abort { slot: bench.slot(who) }).unwrap();
    }
    let [d, e] = core::array::from_fn(|_| bench.client());
    assert_eq!([d, e].map(|who| bench.slot(who).index()), [0, 1]);
}

#[test]
fn a_rotating_port_gives_the_next_slot_round_and_round() {
    let mut bench = Bench::new(Config { pick: Pick::Rotate, ..open() }, 3);
    let mut given = Vec::new();
    for _ in 0..7 {
        let who = bench.client();
        given.push(bench.slot(who).index());
        bench.ask(Command::Abort { slot: bench.slot(who) }).unwrap();
    }
    assert_eq!(given, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn the_allow_list_is_asked_before_the_slots() {
    let mut bench = Bench::allowing(open(), 1, "10.1.0.0/16");
    bench.ask(Command::SetPort(PortOption::DenyText(b"not you\r\n"))).unwrap();
    let from = |text: &str| text.parse::<SocketAddr>().unwrap();
    let friend = bench.come_from(from("10.1.2.3:9"));
    bench.run();
    assert_eq!(bench.slot(friend).index(), 0);
    for stranger in ["10.2.0.1:9", "11.1.0.1:9", "[2001:db8::1]:9"] {
        let who = bench.come_from(from(stranger));
        bench.run();
        assert_eq!(bench.peers[who].refused, Some(Refusal::Denied), "{stranger}, although the port is full as well");
        assert_eq!(bench.peers[who].got, b"not you\r\n");
    }
    let second = bench.come_from(from("10.1.2.3:10"));
    bench.run();
    assert_eq!(bench.peers[second].refused, Some(Refusal::Full));
    assert_eq!(bench.server.totals().denied, 3);
}

#[test]
fn sixteen_clients_are_accepted_in_a_turn_and_the_next_one_in_the_next() {
    assert_eq!(ACCEPT_BUDGET, 16);
    let mut bench = Bench::new(open(), 40);
    let all: Vec<_> = (0..20).map(|_| bench.come()).collect();
    bench.turn();
    let seated = |bench: &Bench| all.iter().filter(|&&who| bench.peers[who].slot.is_some()).count();
    assert_eq!(seated(&bench), 16);
    bench.run();
    assert_eq!(seated(&bench), 20, "the port asks for the next turn itself");
}

#[test]
fn a_slot_that_is_left_is_free_only_in_the_next_turn() {
    let mut bench = Bench::new(open(), 1);
    let first = bench.client();
    let turns = bench.turns;
    bench.ask(Command::Abort { slot: bench.slot(first) }).unwrap();
    assert_eq!((bench.turns, bench.server.id_at(0)), (turns, None));
    let second = bench.come();
    bench.run();
    assert_eq!(bench.slot(second).index(), 0);
    assert!(bench.slot(second).generation() > bench.slot(first).generation());
    assert!(bench.turns > turns);
}

#[test]
fn a_thousand_reconnects_admit_nobody_between_and_leak_nothing() {
    let mut bench = Bench::new(open(), 1);
    let mut before = None;
    for round in 0..1000_u32 {
        let who = bench.come();
        bench.run();
        assert_eq!(bench.peers[who].refused, None, "round {round}: the one before has left");
        let slot = bench.slot(who);
        assert_eq!(slot.index(), 0);
        assert!(before.is_none_or(|before| before < slot.generation()), "round {round}");
        before = Some(slot.generation());
        bench.sends(who, b"hello");
        bench.run();
        assert_eq!(bench.read_all(0), b"hello", "round {round}");
        match round % 3 {
            0 => bench.ask(Command::Abort { slot }).unwrap(),
            1 => bench.breaks(who, Failure::Reset),
            _ => {
                bench.ends(who);
                bench.run();
                bench.ask(Command::Drop { slot, reason: Reason::LocalClosed }).unwrap();
            }
        }
        bench.run();
        assert_eq!((bench.descriptors, bench.server.taken()), (1, 0), "round {round}");
    }
    let connected: Vec<_> = bench.events.iter().filter(|event| matches!(event, Event::Connected { .. })).collect();
    let left: Vec<_> = bench.events.iter().filter(|event| matches!(event, Event::Disconnected { .. })).collect();
    assert_eq!((connected.len(), left.len()), (1000, 1000));
    let alternate = bench.events.iter().filter_map(|event| match event {
        Event::Connected { slot, .. } => Some((*slot, true)),
        Event::Disconnected { slot, .. } => Some((*slot, false)),
        _ => None,
    });
    let alternate: Vec<_> = alternate.collect();
    assert!(alternate.chunks(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 && !pair[1].1), "nobody came between");
    assert_eq!(bench.server.totals().accepted, 1000);
}

#[test]
fn a_failed_admission_releases_its_descriptor() {
    let mut bench = Bench::new(open(), 2);
    bench.admission_fails = true;
    for _ in 0..10 {
        let who = bench.come();
        bench.run();
        let slot = bench.slot(who);
        assert!(bench.peers[who].closed.is_some(), "the port lets go of what could not be registered");
        assert_eq!((bench.descriptors, bench.server.state(slot)), (1, None));
        let reason = Reason::Failed(Failure::Other);
        assert_eq!(bench.events.last(), Some(&Event::Disconnected { slot, reason, unread: 0, unsent: 0 }));
    }
    bench.admission_fails = false;
    let who = bench.client();
    assert_eq!(bench.slot(who).index(), 0);
}

#[test]
fn exhaustion_pauses_without_spin_or_log_storm() {
    let mut bench = Bench::new(open(), 2);
    let waiting = bench.come();
    bench.news();
    bench.accept_fails.push_back(AcceptFailure::Exhausted);
    bench.run();
    assert_eq!(bench.news(), [Event::AcceptPaused], "one line for a pause");
    let mut at = 0;
    for pause in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        at += pause;
        assert!(!bench.is_listening());
        assert_eq!(bench.wakes_at(), Some(at), "the next pause is twice as long, up to 5 s");
        let turns = bench.turns;
        bench.sleep(pause - 1);
        assert_eq!((bench.news(), bench.turns), (vec![], turns), "nothing happens meanwhile");
        bench.accept_fails.push_back(AcceptFailure::Exhausted);
        bench.sleep(1);
        assert_eq!(bench.news(), [Event::AcceptResumed, Event::AcceptPaused]);
        assert!(bench.turns <= turns + 2);
    }
    bench.sleep(5000);
    assert_eq!(bench.slot(waiting).index(), 0, "whoever has waited is let in");
    assert_eq!(bench.server.totals().exhausted, 9);
    bench.accept_fails.push_back(AcceptFailure::Exhausted);
    bench.run();
    assert_eq!(bench.wakes_at(), Some(bench.millis() + 100), "after a success it begins anew");
}

#[test]
fn a_connection_that_is_lost_while_it_is_accepted_is_counted_and_the_next_is_accepted() {
    let mut bench = Bench::new(open(), 1);
    bench.accept_fails.push_back(AcceptFailure::Transient);
    let who = bench.client();
    assert_eq!(bench.slot(who).index(), 0);
    assert_eq!(bench.server.totals().lost, 1);
    assert!(bench.is_listening());
}

#[test]
fn reading_into_nothing_closes_nobody() {
    let mut bench = Bench::new(open(), 1);
    let who = bench.client();
    bench.news();
    for _ in 0..3 {
        assert_eq!(bench.read(0), Got::Nothing);
        // Readiness without a byte.
        bench.sends(who, b"");
        bench.run();
    }
    assert_eq!(bench.news(), []);
    bench.sends(who, b"at last");
    bench.run();
    assert_eq!(bench.read_all(0), b"at last");
    assert_eq!(bench.read(1), Got::NotConnected, "there is no such slot, and nobody in it");
}
