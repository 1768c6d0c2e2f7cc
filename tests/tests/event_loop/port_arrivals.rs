//! Connections of a TCP port about which nothing is decided yet: what they say meanwhile, and that none is forgotten.

use crate::port_bench::{Bench, FIRST, bench, send};
use std::time::Duration;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Reason, Refusal};
use wharf_host::services::port::{Addr, Event};
use wharf_tests::sim_net::{Ended, Peer};

/// So many clients at once, each with its words; nothing has been decided about any.
fn rush(bench: &Bench, count: usize, words: &[u8]) -> Vec<Peer> {
    let to = bench.port.local_addr().expect("the port is up");
    let come = |_| {
        let peer = bench.sim.world.connect(to).expect("the backlog has room");
        send(&peer, words);
        peer
    };
    (0..count).map(come).collect()
}

/// All that a slot has to say, to its end.
fn read_to_the_end(bench: &mut Bench, slot: Addr) -> Vec<u8> {
    let (mut buffer, mut all) = ([0; 64], Vec::new());
    loop {
        let read = bench.with(|port| port.read(slot, &mut buffer)).expect("its end has come");
        if read.eom == Eom::END {
            return all;
        }
        all.extend_from_slice(&buffer[..read.len]);
    }
}

#[test]
fn what_is_said_by_one_who_is_parked_is_heard_to_its_end() {
    for on_full in ["kick_oldest", "kick_idle"] {
        let mut bench = bench(&[("slots", "1"), ("on_full", on_full), ("kick_after", "1s")]);
        let old = bench.connect();
        bench.sim.run_for(Duration::from_secs(1));
        let new = rush(&bench, 1, b"last words").remove(0);
        // It has said all and ended before the slot is its own, so that no other edge follows.
        new.end();
        bench.settle();
        assert_eq!(bench.with(|port| port.peer(FIRST)), Ok(Some(new.local_addr())), "{on_full}");
        assert_eq!((old.ended(), bench.left()), (Some(Ended::InOrder), vec![(0, Reason::Kicked, 0, 0)]), "{on_full}");
        assert_eq!(read_to_the_end(&mut bench, FIRST), b"last words", "{on_full}");
    }
}

#[test]
fn what_is_said_by_one_who_is_refused_later_is_thrown_away_and_the_text_arrives() {
    // The clients that are admitted use up two turns, so that the last one has been heard of before it is decided about it.
    let texts = [("slots", "32"), ("on_full", "text"), ("full_text", "busy")];
    let mut bench = bench(&[&texts[..], &[("rx_queue", "64")]].concat());
    let mut peers = rush(&bench, 33, b"some words of a client that is heard or refused");
    bench.settle();
    let refused = peers.pop().unwrap();
    assert_eq!((bench.refusals(), refused.receive()), (vec![Refusal::Full], b"busy".to_vec()));
    // A reset would have taken the text away from a client that had not read it.
    bench.sim.run_for(Duration::from_millis(250));
    assert_eq!(refused.ended(), Some(Ended::InOrder));
    assert_eq!(bench.sim.world.open(), 33, "the listener and the clients");
    for (index, peer) in (0..32).zip(&peers) {
        let mut buffer = [0; 64];
        let read = bench.with(|port| port.read(Addr::Slot(index), &mut buffer)).unwrap();
        assert_eq!(&buffer[..read.len], b"some words of a client that is heard or refused");
        assert_eq!(peer.ended(), None);
    }
}

#[test]
fn one_who_says_too_much_before_it_is_refused_is_cut_and_no_other() {
    let mut bench = bench(&[("slots", "32"), ("on_full", "text"), ("full_text", "busy")]);
    let peers = rush(&bench, 33, &[b'x'; 5000]);
    bench.settle();
    let ended: Vec<_> = peers.iter().map(Peer::ended).collect();
    assert_eq!(ended, [vec![None; 32], vec![Some(Ended::Reset)]].concat(), "it was cut with bytes unread");
    assert_eq!(bench.sim.world.open(), 33, "the listener and the clients");
}

#[test]
fn one_who_is_parked_gets_its_slot_although_accepting_fails() {
    for on_full in ["kick_oldest", "kick_idle"] {
        let mut bench = bench(&[("slots", "1"), ("on_full", on_full), ("kick_after", "1s")]);
        let old = bench.connect();
        bench.sim.run_for(Duration::from_secs(1));
        // There is a descriptor for the one and none for the other, who comes in the same turn.
        bench.sim.world.limit_descriptors(Some(bench.sim.world.open() + 1));
        let both = rush(&bench, 2, b"hello");
        bench.settle();
        assert_eq!(bench.with(|port| port.totals().exhausted), 1, "{on_full}");
        assert!(bench.events.borrow().contains(&Event::AcceptPaused), "{on_full}");
        assert_eq!(bench.with(|port| port.peer(FIRST)), Ok(Some(both[0].local_addr())), "{on_full}");
        assert_eq!(bench.with(|port| port.read(FIRST, &mut [0; 9])).map(|read| read.len), Ok(5), "{on_full}");
        assert_eq!((old.ended(), both[0].ended()), (Some(Ended::InOrder), None), "{on_full}");
        assert_eq!(both[1].ended(), Some(Ended::Reset), "{on_full}: it is let in and closed with its words unread");
        assert_eq!(bench.sim.world.open(), 2, "{on_full}: the listener and the client");
    }
}

#[test]
fn one_who_is_parked_and_resets_its_connection_is_heard_and_leaves_a_free_slot() {
    let mut bench = bench(&[("slots", "1"), ("on_full", "kick_oldest")]);
    let old = bench.connect();
    rush(&bench, 1, b"hello").remove(0).reset();
    bench.settle();
    assert_eq!(old.ended(), Some(Ended::InOrder), "it had to make room all the same");
    assert_eq!(bench.sim.world.open(), 1, "the listener");
    assert_eq!(bench.with(|port| port.read(FIRST, &mut [0; 9])).map(|read| read.len), Ok(5));
    bench.settle();
    assert_eq!(bench.left(), [(0, Reason::Kicked, 0, 0), (0, Reason::PeerReset, 0, 0)]);
    let next = bench.connect();
    assert_eq!(bench.with(|port| port.peer(FIRST)), Ok(Some(next.local_addr())));
}
