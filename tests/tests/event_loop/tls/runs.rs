//! Echoes over TLS with faults: what is lost, and what a seed repeats.

use super::{Probed, bench_with, client_builder, probe, server};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{ConnectOptions, Error, LoopMut, LoopOptions};
use wharf_tests::rng::{Rng, seeds};
use wharf_tests::sim_net::{Faults, Sim};

/// Bytes that each client sends.
const MUCH: usize = 20_000;

const VERSIONS: [&str; 2] = ["1.2", "1.3"];

/// What happened, with the time of each event.
type Trace = Rc<RefCell<Vec<String>>>;

fn say(trace: &Trace, who: &str, what: &str, s: &mut Probed<'_>, bytes: &[u8]) {
    let now = s.loop_mut().now().as_micros();
    trace.borrow_mut().push(format!("{now} {who} {:?} {what} {}", s.peer_addr(), bytes.len()));
}

/// Some clients of an echo that speak one version of TLS: the trace and the log.
fn run(seed: u64, faults: Faults, version: &str) -> (Vec<String>, Vec<String>) {
    let mut rng = Rng::new(seed);
    let trace = Trace::default();
    // A byte at a time and late, a handshake takes more than 10 s.
    let hour = Duration::from_secs(3600);
    let options = LoopOptions { tx_limit: 2 * MUCH, handshake_timeout: hour, ..LoopOptions::default() };
    let said = Rc::clone(&trace);
    let mut bench = bench_with(Sim::new(seed, faults), options, &server(), move |what, s, bytes| {
        say(&said, "server", what, s, bytes);
        if what == "data" {
            assert_eq!(s.write(bytes).unwrap_or(bytes.len()), bytes.len());
        }
    });
    let all: Vec<u8> = (0..=250).cycle().take(MUCH).collect();
    let said = Rc::clone(&trace);
    let key = probe(&mut bench, move |what, s, bytes| {
        say(&said, "client", what, s, bytes);
        assert!(all.starts_with(s.data()));
        if what == "open" {
            // The last flight of the handshake may have found the connection reset, of which reading will tell.
            assert!(
                s.write(&all).map_or_else(|error| matches!(error, Error::Closed), |taken| [0, MUCH].contains(&taken))
            );
            s.shutdown().unwrap();
        }
    });
    let config = client_builder().versions([version]).client().unwrap().expecting("localhost").unwrap();
    let to = bench.addr;
    for _ in 0..rng.between(1, 6) {
        let config = config.clone();
        let connect = move |lp: &mut LoopMut<'_>, _| {
            lp.connect_tls(to, key, Vec::new(), &config, ConnectOptions::default()).unwrap();
        };
        bench.lp().add_timer(Duration::from_micros(rng.below(100_000)), None, connect).unwrap();
    }
    bench.sim.run_until_idle();
    assert_eq!((bench.sim.world.open(), bench.sim.world.calls().strays), (1, 0), "seed {seed}");
    let stats = bench.lp().stats();
    assert_eq!((stats.sockets, stats.queued, stats.handshakes_waiting), (0, 0, 0), "seed {seed}");
    let log = bench.log();
    drop(bench);
    (trace.take(), log)
}

#[test]
fn no_fault_that_is_harmless_loses_a_byte() {
    for (seed, version) in seeds(15).into_iter().flat_map(|seed| VERSIONS.map(|version| (seed, version))) {
        let (_, log) = run(seed, Faults::harmless(&mut Rng::new(seed)), version);
        let count = |what: &str| log.iter().filter(|line| line.as_str() == what).count();
        let clients = count("open Connected");
        let end = format!("end after {MUCH}");
        assert_eq!((count("open Accepted"), count(&end)), (clients, 2 * clients), "seed {seed}: {log:?}");
        assert_eq!(count(&format!("close Peer with {MUCH} bytes")), 2 * clients, "seed {seed}: {log:?}");
    }
}

#[test]
fn one_byte_at_a_time_is_enough() {
    let faults = Faults { short: 1000, capacity: 1..=1, ..Faults::none() };
    let (_, log) = run(1, faults, "1.3");
    assert!(log.iter().all(|line| !line.starts_with("close") || line.starts_with("close Peer with")), "{log:?}");
}

#[test]
fn whatever_breaks_every_socket_ends_once() {
    for seed in seeds(30) {
        let mut faults = Faults::all(&mut Rng::new(seed));
        (faults.exhausted, faults.resets) = (0, faults.resets.max(1));
        let (_, log) = run(seed, faults, VERSIONS[usize::from(seed % 2 == 1)]);
        let count = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
        // One that did not open may have a close too, of its handshake.
        let failed = count("close HandshakeFailed") + count("close HandshakeTimeout");
        assert_eq!(count("close ") - failed, count("open "), "seed {seed}: {log:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_of_callbacks() {
    for seed in seeds(10) {
        for all in [false, true] {
            let faults = || {
                let mut rng = Rng::new(seed);
                if all { Faults { exhausted: 0, ..Faults::all(&mut rng) } } else { Faults::harmless(&mut rng) }
            };
            let version = VERSIONS[usize::from(seed % 2 == 1)];
            let [first, second] = [(); 2].map(|()| run(seed, faults(), version).0);
            let differs = first.iter().zip(&second).position(|(one, other)| one != other);
            assert_eq!((differs, first.len()), (None, second.len()), "seed {seed}");
            // Where everything breaks, it may be that nobody opens.
            assert!(all || !first.is_empty(), "seed {seed}");
        }
    }
}
