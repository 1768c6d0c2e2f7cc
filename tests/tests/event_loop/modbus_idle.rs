//! Ten thousand idle Modbus connections on one loop: they all live through an hour, and all end when the server does.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::modbus::server::Reason;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::modbus::{Event, Server};
use wharf_tests::sim_net::{Ended, Peer, Sim};

const COUNT: u16 = 10_000;
const HOUR: Duration = Duration::from_secs(3600);
const LINGER: Duration = Duration::from_secs(1);

/// What the server has said about the ends of its connections.
#[derive(Debug, Default)]
struct Ends {
    graceful: u16,
    otherwise: Vec<Reason>,
    stopped: Option<bool>,
}

struct Scene {
    sim: Sim,
    server: Server,
    peers: Vec<Peer>,
    ends: Rc<RefCell<Ends>>,
}

/// A server that closes nobody for being idle, and all its peers.
fn scene() -> Scene {
    let mut sim = Sim::strict();
    sim.add_loop((), LoopOptions::default());
    let described = Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 100)],
        idle_timeout: None,
        linger: Some(LINGER),
        ..Described::new("idle")
    };
    let ends = Rc::new(RefCell::new(Ends::default()));
    let seen = Rc::clone(&ends);
    let server = Server::bind(&mut sim.lp(0), &described, move |event| {
        let mut ends = seen.borrow_mut();
        if let Event::Disconnected { reason: Reason::Shutdown, .. } = event {
            ends.graceful += 1;
        } else if let Event::Disconnected { reason, .. } = event {
            ends.otherwise.push(*reason);
        } else if let Event::Stopped { graceful, .. } = event {
            ends.stopped = Some(*graceful);
        }
    })
    .unwrap();
    let address = server.local_addrs().next().unwrap();
    let mut peers = Vec::new();
    for _ in 0..COUNT {
        peers.push(sim.world.connect(address).expect("the backlog has room"));
        if peers.len() % 500 == 0 {
            sim.run_until_idle();
        }
    }
    Scene { sim, server, peers, ends }
}

impl Scene {
    /// Each connection asks for a register under a transaction of its own, and gets its reply alone.
    fn all_are_answered(&mut self) {
        for (peer, transaction) in self.peers.iter().zip(0_u16..) {
            let [high, low] = transaction.to_be_bytes();
            assert_eq!(peer.send(&[high, low, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]), 12);
        }
        self.sim.run_until_idle();
        for (peer, transaction) in self.peers.iter().zip(0_u16..) {
            let [high, low] = transaction.to_be_bytes();
            assert_eq!(peer.receive(), [high, low, 0, 0, 0, 5, 1, 3, 2, 0, 0], "connection {transaction}");
        }
    }

    fn shut_down(&mut self) {
        self.server.shutdown(&mut self.sim.lp(0));
    }

    fn run_until_stopped(&mut self) {
        let ends = Rc::clone(&self.ends);
        self.sim.run_until(|_| ends.borrow().stopped.is_some());
    }

    fn assert_all_ended_gracefully(&self) {
        let ends = self.ends.borrow();
        assert_eq!((ends.graceful, &ends.otherwise[..], ends.stopped), (COUNT, &[][..], Some(true)));
    }
}

#[test]
fn ten_thousand_connections_are_answered_after_an_idle_hour() {
    let mut scene = scene();
    scene.sim.run_for(HOUR);
    scene.all_are_answered();
    scene.sim.run_for(HOUR);
    scene.all_are_answered();
    assert!(scene.peers.iter().all(|peer| peer.ended().is_none()));
}

#[test]
fn ten_thousand_idle_connections_end_in_the_turn_of_the_shutdown_if_their_peers_end_too() {
    let mut scene = scene();
    scene.sim.run_for(HOUR);
    let asked = scene.sim.world.now();
    scene.shut_down();
    // Nothing but the loop has run: every peer has its FIN, and nobody a reset.
    assert!(scene.peers.iter().all(|peer| peer.ended() == Some(Ended::InOrder)));
    for peer in &scene.peers {
        peer.end();
    }
    scene.run_until_stopped();
    scene.assert_all_ended_gracefully();
    assert_eq!(scene.sim.world.now(), asked, "no time has passed");
}

#[test]
fn ten_thousand_peers_that_ignore_the_shutdown_hold_it_up_for_the_linger_time() {
    let mut scene = scene();
    scene.sim.run_for(HOUR);
    let asked = scene.sim.world.now();
    scene.shut_down();
    scene.run_until_stopped();
    scene.assert_all_ended_gracefully();
    let took = scene.sim.world.now().saturating_duration_since(asked);
    assert!(took >= LINGER, "{took:?}");
    assert!(took < LINGER + Duration::from_millis(10), "{took:?}");
}
