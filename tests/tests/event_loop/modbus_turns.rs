//! What shares the loop of a Modbus server with a client: one that asks for much at once, and an observer that takes its
//! time.

use std::time::Duration;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::modbus::{Event, Server};
use wharf_tests::sim_net::{Peer, Sim};

const REPLY: usize = 11;

fn server(sim: &mut Sim) -> Server {
    observed(sim, |_| ())
}

fn observed(sim: &mut Sim, observer: impl Fn(&Event) + 'static) -> Server {
    sim.add_loop((), LoopOptions::default());
    let described = Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 100)],
        ..Described::new("turns")
    };
    Server::bind(&mut sim.lp(0), &described, observer).unwrap()
}

fn connect(sim: &mut Sim, server: &Server) -> Peer {
    let peer = sim.world.connect(server.local_addrs().next().unwrap()).unwrap();
    sim.run_for(Duration::from_millis(1));
    peer
}

/// FC3 of one register.
fn request(transaction: u16) -> [u8; 12] {
    let [high, low] = transaction.to_be_bytes();
    [high, low, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]
}

fn reply(transaction: u16) -> [u8; REPLY] {
    let [high, low] = transaction.to_be_bytes();
    [high, low, 0, 0, 0, 5, 1, 3, 2, 0, 0]
}

#[test]
fn a_client_that_asks_for_thousands_at_once_gets_them_by_turns_with_others() {
    let mut sim = Sim::strict();
    let server = server(&mut sim);
    let (greedy, modest) = (connect(&mut sim, &server), connect(&mut sim, &server));
    let count = 5_000;
    let all: Vec<u8> = (0..count).flat_map(request).collect();
    assert_eq!(greedy.send(&all), all.len());
    let mut replies = Vec::new();
    // While the one is busy, the other is answered in every turn or two.
    for transaction in 0..20 {
        assert_eq!(modest.send(&request(transaction)), 12);
        let mut got = Vec::new();
        for _ in 0..3 {
            sim.step();
            got.extend(modest.receive());
        }
        assert_eq!(got, reply(transaction));
        let new = greedy.receive();
        // A read and a timer of the same iteration are a turn each.
        assert!(new.len() <= 2 * 3 * 70 * REPLY, "{} replies in three iterations", new.len() / REPLY);
        replies.extend(new);
    }
    assert!(replies.len() < usize::from(count) * REPLY, "the greedy one is not through yet");
    sim.run_for(Duration::from_secs(1));
    replies.extend(greedy.receive());
    assert_eq!(replies, (0..count).flat_map(reply).collect::<Vec<u8>>());
}

#[test]
fn what_waits_for_its_turn_when_the_client_ends_its_side_is_still_answered() {
    let mut sim = Sim::strict();
    let server = server(&mut sim);
    let peer = connect(&mut sim, &server);
    let all: Vec<u8> = (0..500).flat_map(request).collect();
    assert_eq!(peer.send(&all), all.len());
    peer.end();
    sim.run_for(Duration::from_secs(1));
    assert_eq!(peer.receive(), (0..500).flat_map(reply).collect::<Vec<u8>>());
    assert!(peer.ended().is_some());
}

#[test]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
fn a_slow_observer_does_not_make_a_reply_late_that_has_left() {
    let mut sim = Sim::strict();
    let world = sim.world.clone();
    let server = observed(&mut sim, move |event| {
        if matches!(event, Event::Processed { .. }) {
            world.jump(Duration::from_secs(1));
        }
    });
    let peer = connect(&mut sim, &server);
    let begun = sim.world.now();
    assert_eq!(peer.send(&request(1)), 12);
    sim.run_until(|_| peer.receive() == reply(1));
    assert!(sim.world.now() >= begun.saturating_add(Duration::from_secs(1)), "the observer was slow");
    let metrics = server.with(&mut sim.lp(0), |running| running.metrics());
    assert_eq!((metrics.durations().count(), metrics.durations().sum()), (1, Duration::ZERO));
}
