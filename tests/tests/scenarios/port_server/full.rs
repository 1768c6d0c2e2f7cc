//! What becomes of a client that comes when no slot is free.

use super::harness::{Bench, Peer, plain};
use wharf_core::port::server::{
    AcceptFailure, Command, Event, Failure, How, OnFull, Output, PortOption, Reason, Refusal, State,
};
use wharf_core::slots::SlotId;

fn is_left(bench: &Bench, who: usize) -> Option<Reason> {
    bench.events.iter().find_map(|event| match event {
        Event::Disconnected { slot, reason, .. } if *slot == bench.slot(who) => Some(*reason),
        _ => None,
    })
}

#[test]
fn a_client_of_a_full_port_is_accepted_and_closed() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let first = bench.client();
    let second = bench.come();
    bench.run();
    assert_eq!(bench.peers[second].refused, Some(Refusal::Full));
    assert_eq!(bench.peers[second].got, b"");
    let peer = bench.peers[second].address;
    assert_eq!(bench.events.last(), Some(&Event::Refused { peer, why: Refusal::Full }));
    assert_eq!(bench.server.state(bench.slot(first)), Some(State::Open));
    assert_eq!(bench.descriptors, 2);
    assert_eq!(bench.server.totals().full, 1);
}

#[test]
fn it_is_told_why_with_text() {
    let mut bench = Bench::new(plain(OnFull::Text), 1);
    bench.ask(Command::SetPort(PortOption::FullText(b"busy, try later\r\n"))).unwrap();
    bench.client();
    for _ in 0..100 {
        let who = bench.come();
        bench.run();
        assert_eq!(bench.peers[who].got, b"busy, try later\r\n");
    }
    bench.ask(Command::SetPort(PortOption::FullText(&[b'x'; 256]))).unwrap();
    assert!(bench.ask(Command::SetPort(PortOption::FullText(&[b'x'; 257]))).is_err());
    let who = bench.come();
    bench.run();
    assert_eq!(bench.peers[who].got.len(), 256, "the longest text stays");
}

#[test]
fn it_waits_in_the_backlog_with_hold_until_a_slot_is_free() {
    let mut bench = Bench::new(plain(OnFull::Hold), 2);
    let first = bench.client();
    assert!(bench.is_listening());
    let second = bench.client();
    assert!(!bench.is_listening(), "accepting pauses when the last slot is taken");
    assert_eq!(bench.events.last(), Some(&Event::AcceptPaused));
    let third = bench.come();
    bench.sleep(60_000);
    assert_eq!((bench.peers[third].slot, bench.peers[third].refused), (None, None));
    bench.ask(Command::Abort { slot: bench.slot(second) }).unwrap();
    assert_eq!(bench.slot(third).index(), 1);
    assert!(!bench.is_listening());
    bench.ask(Command::Abort { slot: bench.slot(first) }).unwrap();
    assert!(bench.is_listening());
    let is_told = |event: &&Event| matches!(event, Event::AcceptPaused | Event::AcceptResumed);
    assert_eq!(bench.events.iter().filter(is_told).count(), 4);
}

#[test]
fn a_held_port_whose_only_client_never_came_to_anything_accepts_again() {
    let mut bench = Bench::new(plain(OnFull::Hold), 1);
    bench.admission_fails = true;
    bench.come();
    bench.run();
    bench.admission_fails = false;
    let second = bench.come();
    bench.run();
    assert_eq!(bench.peers[second].slot.map(SlotId::index), Some(0), "nothing else would ever begin a turn");
}

#[test]
fn kick_oldest_replaces_a_dead_client() {
    let mut bench = Bench::new(plain(OnFull::KickOldest), 2);
    let dead = bench.client();
    bench.sleep(10);
    let alive = bench.client();
    bench.sleep(10);
    let newcomer = bench.come();
    bench.run();
    assert!(bench.peers[dead].closed.is_some());
    assert_eq!(is_left(&bench, dead), Some(Reason::Kicked));
    assert_eq!(bench.slot(newcomer).index(), bench.slot(dead).index());
    assert!(bench.outputs.contains(&Output::Park), "it is parked until the slot is free");
    assert_eq!(bench.server.state(bench.slot(alive)), Some(State::Open));
    bench.sends(newcomer, b"new");
    bench.run();
    assert_eq!(bench.read_all(0), b"new");
}

#[test]
fn kick_idle_replaces_who_has_been_idle_the_longest_but_not_before_kick_after() {
    let mut bench = Bench::new(plain(OnFull::KickIdle), 2);
    bench.ask(Command::SetPort(PortOption::KickAfter(1000))).unwrap();
    let first = bench.client();
    let second = bench.client();
    bench.sleep(500);
    bench.sends(first, b"x");
    bench.run();
    bench.sleep(499);
    let early = bench.come();
    bench.run();
    assert_eq!(bench.peers[early].refused, Some(Refusal::Full), "999 ms is not long enough");
    bench.sleep(1);
    let late = bench.come();
    bench.run();
    assert_eq!(bench.slot(late).index(), bench.slot(second).index());
    assert_eq!(is_left(&bench, second), Some(Reason::Kicked));
    bench.sleep(499);
    bench.write(bench.slot(first), b"y").unwrap();
    bench.sleep(600);
    let last = bench.come();
    bench.run();
    assert_eq!(bench.slot(last).index(), bench.slot(late).index(), "what is sent to a client counts as well");
}

#[test]
fn a_parked_connection_is_decided_about_although_accepting_fails() {
    use AcceptFailure::{Exhausted, Fatal, Transient};
    for (on_full, kind) in [OnFull::KickOldest, OnFull::KickIdle]
        .into_iter()
        .flat_map(|on_full| [Transient, Exhausted, Fatal].map(|kind| (on_full, kind)))
    {
        let mut bench = Bench::new(plain(on_full), 1);
        bench.ask(Command::SetPort(PortOption::KickAfter(1000))).unwrap();
        let first = bench.client();
        bench.sleep(1000);
        let parked = bench.come();
        bench.turn();
        assert_eq!(bench.outputs.last(), Some(&Output::Yield), "{on_full:?} {kind:?}: the next turn decides");
        assert_eq!((bench.peers[parked].slot, bench.peers[parked].refused), (None, None), "{on_full:?} {kind:?}");
        bench.cannot_accept(kind);
        // No time passes: the pause of a port without descriptors is not waited for.
        bench.run();
        assert_eq!(is_left(&bench, first), Some(Reason::Kicked), "{on_full:?} {kind:?}");
        let Peer { slot, refused, .. } = bench.peers[parked];
        let (seated, open) = (slot.map(SlotId::index), bench.descriptors);
        if kind == Fatal {
            assert_eq!((seated, refused, open), (None, Some(Refusal::Down), 0), "{on_full:?}: nothing is left open");
        } else {
            assert_eq!(
                (seated, refused, open),
                (Some(0), None, 2),
                "{on_full:?} {kind:?}: the listener and the client"
            );
        }
    }
}

#[test]
fn a_residue_gives_way_to_a_newcomer() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let first = bench.client();
    bench.sends(first, b"unread");
    bench.breaks(first, Failure::Reset);
    bench.run();
    assert_eq!(bench.server.state(bench.slot(first)), Some(State::Residue));
    let second = bench.come();
    bench.run();
    assert_eq!(bench.slot(second).index(), 0);
    let slot = bench.slot(first);
    let left = Event::Disconnected { slot, reason: Reason::PeerReset, unread: 6, unsent: 0 };
    assert!(bench.events.contains(&left), "what it left is counted: {:?}", bench.events);
    assert_eq!(bench.read_all(0), b"");
}

#[test]
fn a_slot_that_only_awaits_the_peers_end_gives_way_after_the_residues() {
    let mut bench = Bench::new(plain(OnFull::Close), 3);
    let [waits, residue, open] = core::array::from_fn(|_| bench.client());
    bench.ask(Command::Drop { slot: bench.slot(waits), reason: Reason::LocalClosed }).unwrap();
    assert_eq!(bench.server.state(bench.slot(waits)), Some(State::Flushing));
    bench.sends(residue, b"unread");
    bench.breaks(residue, Failure::Reset);
    bench.run();
    for given_up in [residue, waits] {
        let newcomer = bench.come();
        bench.run();
        assert_eq!(bench.slot(newcomer).index(), bench.slot(given_up).index());
    }
    assert_eq!(is_left(&bench, waits), Some(Reason::LocalClosed));
    assert_eq!(bench.peers[waits].closed, Some(How::Graceful));
    let third = bench.come();
    bench.run();
    assert_eq!(bench.peers[third].refused, Some(Refusal::Full));
    assert_eq!(bench.server.state(bench.slot(open)), Some(State::Open));
}

#[test]
fn a_slot_with_output_to_be_sent_does_not_give_way() {
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let first = bench.client();
    bench.deafen(first);
    bench.write(bench.slot(first), b"last words").unwrap();
    bench.ask(Command::Drop { slot: bench.slot(first), reason: Reason::LocalClosed }).unwrap();
    let second = bench.come();
    bench.run();
    assert_eq!(bench.peers[second].refused, Some(Refusal::Full));
    bench.takes(first, 100);
    bench.run();
    assert_eq!(bench.peers[first].got, b"last words");
}

#[test]
fn sixty_clients_rush_eight_slots_without_hang() {
    for on_full in [OnFull::Close, OnFull::Text, OnFull::Hold, OnFull::KickOldest, OnFull::KickIdle] {
        let mut bench = Bench::new(plain(on_full), 8);
        let all: Vec<_> = (0..60).map(|_| bench.come()).collect();
        bench.run();
        // Each client that has a slot is served and leaves; whoever waits takes its place.
        for _ in 0..60 {
            let seated: Vec<_> = all.iter().copied().filter(|&who| is_seated(&bench, who)).collect();
            for who in seated {
                let slot = bench.slot(who);
                bench.sends(who, b"ping");
                bench.run();
                if !is_seated(&bench, who) {
                    continue;
                }
                assert_eq!(bench.read_all(slot.index()), b"ping");
                bench.write(slot, b"pong").unwrap();
                assert_eq!(bench.peers[who].got, b"pong");
                bench.ends(who);
                bench.ask(Command::Drop { slot, reason: Reason::LocalClosed }).unwrap();
            }
            bench.sleep(1);
        }
        for &who in &all {
            let peer = &bench.peers[who];
            assert!(peer.closed.is_some() || peer.refused.is_some(), "{on_full:?}: nobody is left hanging: {peer:?}");
        }
        let served = all.iter().filter(|&&who| bench.peers[who].got == b"pong").count();
        assert!(if on_full == OnFull::Hold { served == 60 } else { served >= 8 }, "{on_full:?}: {served} served");
        assert_eq!((bench.descriptors, bench.server.taken()), (1, 0), "{on_full:?}");
    }
}

fn is_seated(bench: &Bench, who: usize) -> bool {
    bench.peers[who].slot.is_some_and(|slot| bench.server.state(slot) == Some(State::Open))
}
