//! Listeners without descriptors.

use crate::harness::{Bench, any, bench, quiet};
use std::time::Duration;
use wharf_host::event_loop::ListenOptions;
use wharf_tests::sim_net::{Ended, Peer};

const PAUSES: [&str; 5] = [
    "accepting pauses 100ms",
    "accepting pauses 200ms",
    "accepting pauses 400ms",
    "accepting pauses 800ms",
    "accepting pauses 1.6s",
];

#[test]
fn exhaustion_does_not_spin() {
    let mut bench = bench(quiet);
    bench.sim.world.limit_descriptors(Some(1));
    let peers: Vec<Peer> = (0..20).map(|_| bench.connect()).collect();
    let before = (bench.sim.world.calls(), bench.iterations());
    bench.sim.run_for(Duration::from_secs(3));
    let iterations = bench.iterations() - before.1;
    // Nor does anything else make it try within a pause.
    for _ in 0..100 {
        let id = bench.listener;
        bench.lp().listener(id).unwrap().resume();
        bench.sim.run_for(Duration::ZERO);
    }
    let calls = bench.sim.world.calls();
    // Two for every pause: the one that failed and the one with the reserve.
    assert_eq!(calls.accepts - before.0.accepts, 10);
    assert!(iterations <= 20, "{iterations} iterations");
    assert_eq!(bench.log(), PAUSES);
    // One client was turned away for every pause, and heard of it.
    assert_eq!(peers.iter().filter(|peer| peer.ended() == Some(Ended::InOrder)).count(), 5);
    let stats = bench.lp().stats();
    assert_eq!((stats.pauses, stats.exhausted, stats.refused, stats.accepted), (5, 5, 5, 0));

    bench.sim.world.limit_descriptors(None);
    bench.sim.run_for(Duration::from_secs(5));
    assert_eq!(bench.lp().stats().accepted, 15);
    // The next exhaustion begins with the first pause again.
    bench.sim.world.limit_descriptors(Some(16));
    let _peer = bench.connect();
    bench.sim.run_for(Duration::from_millis(50));
    assert_eq!(bench.log().last().unwrap(), PAUSES[0]);
}

#[test]
fn a_backlog_that_cannot_be_drained_for_want_of_descriptors_is_told() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let id = bench.lp().listen(any(), key, shared).unwrap();
    let addr = bench.lp().listener(id).unwrap().local_addr();
    let peers: Vec<Peer> = (0..3).filter_map(|_| bench.sim.world.connect(addr)).collect();
    bench.sim.world.limit_descriptors(Some(2));
    bench.lp().listener(id).unwrap().close();
    bench.sim.run_for(Duration::ZERO);
    let log = bench.log();
    assert!(matches!(&log[..], [told] if told.starts_with("accept_error: Fatal(")), "{log:?}");
    assert_eq!((bench.lp().stats().exhausted, bench.lp().stats().accepted), (1, 0));
    assert_eq!(peers.iter().filter(|peer| peer.ended().is_some()).count(), 3, "nobody waits for ever");
}

#[test]
fn the_pause_doubles_to_five_seconds_and_no_further() {
    let mut bench = bench(quiet);
    bench.sim.world.limit_descriptors(Some(1));
    let _peers: Vec<Peer> = (0..20).map(|_| bench.connect()).collect();
    bench.sim.run_for(Duration::from_secs(30));
    let log = bench.log();
    assert_eq!(log[..5], PAUSES);
    assert_eq!(log[5..], ["accepting pauses 3.2s"].into_iter().chain(["accepting pauses 5s"; 5]).collect::<Vec<_>>());
}

fn listen_limited(bench: &mut Bench, most: u32) -> std::net::SocketAddr {
    let (key, options) = (bench.key, ListenOptions { max_sockets: Some(most), ..ListenOptions::default() });
    let id = bench.lp().listen(any(), key, options).unwrap();
    bench.lp().listener(id).unwrap().local_addr()
}

#[test]
fn a_listener_at_max_sockets_goes_on_below_it_without_a_new_edge() {
    let mut bench = bench(quiet);
    let addr = listen_limited(&mut bench, 2);
    let mut peers: Vec<Peer> = (0..5).map(|_| bench.sim.world.connect(addr).unwrap()).collect();
    bench.sim.run_until_idle();
    for accepted in [2, 3, 4, 5] {
        assert_eq!(bench.lp().stats().accepted, accepted);
        drop(peers.remove(0));
        bench.sim.run_until_idle();
    }
    assert_eq!(bench.lp().stats().sockets, 1);
}

#[test]
fn a_paused_listener_goes_on_without_a_new_edge() {
    let mut bench = bench(quiet);
    let id = bench.listener;
    bench.lp().listener(id).unwrap().pause();
    let _peers = [bench.connect(), bench.connect()];
    bench.sim.run_until_idle();
    assert_eq!(bench.lp().stats().accepted, 0);
    bench.lp().listener(id).unwrap().resume();
    bench.sim.run_until_idle();
    assert_eq!(bench.lp().stats().accepted, 2);
}

#[test]
fn a_closed_listener_turns_away_who_waits() {
    let mut bench = bench(quiet);
    let id = bench.listener;
    bench.lp().listener(id).unwrap().pause();
    let peer = bench.connect();
    bench.lp().listener(id).unwrap().close();
    bench.sim.run_until_idle();
    assert_eq!((peer.ended(), bench.sim.world.open()), (Some(Ended::Reset), 0));
    assert!(bench.sim.world.connect(bench.addr).is_none());
}
