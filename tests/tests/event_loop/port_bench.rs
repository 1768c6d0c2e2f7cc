//! A TCP port on a loop in the simulated world, with somebody who writes down what it tells.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Reason, Refusal};
use wharf_core::slots::SlotId;
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::port::options::Options;
use wharf_host::services::port::{Addr, Event, Running, Server, Subscriber};
use wharf_tests::sim_net::{Peer, Sim};

type Log = Rc<RefCell<Vec<Event>>>;
type Messages = Rc<RefCell<Vec<(u32, Vec<u8>, Eom)>>>;

/// Writes down what it hears.
#[derive(Default)]
struct Ear {
    events: Log,
    messages: Messages,
}

impl Subscriber for Ear {
    fn event(&mut self, _: &mut Running<'_>, event: &Event) {
        self.events.borrow_mut().push(*event);
    }

    fn message(&mut self, _: &mut Running<'_>, slot: SlotId, bytes: &[u8], eom: Eom) {
        self.messages.borrow_mut().push((slot.index(), bytes.to_vec(), eom));
    }
}

/// A port on the only loop of a world, and what it has told.
pub(crate) struct Bench {
    pub(crate) sim: Sim,
    pub(crate) port: Server,
    pub(crate) events: Log,
    pub(crate) messages: Messages,
}

pub(crate) fn bench_in(mut sim: Sim, address: &str, set: &[(&str, &str)]) -> Bench {
    sim.add_loop((), LoopOptions::default());
    let mut options = Options::new("dev", address).unwrap();
    for (key, value) in set {
        options.set(key, value).unwrap();
    }
    let ear = Ear::default();
    let (events, messages) = (Rc::clone(&ear.events), Rc::clone(&ear.messages));
    let port = Server::bind(&mut sim.lp(0), &options, |port| port.subscribe(Box::new(ear))).unwrap();
    Bench { sim, port, events, messages }
}

pub(crate) fn bench(set: &[(&str, &str)]) -> Bench {
    bench_in(Sim::strict(), "127.0.0.1:0", set)
}

impl Bench {
    pub(crate) fn connect(&mut self) -> Peer {
        let peer =
            self.sim.world.connect(self.port.local_addr().expect("the port is up")).expect("the backlog has room");
        self.settle();
        peer
    }

    pub(crate) fn settle(&mut self) {
        self.sim.run_for(Duration::from_millis(1));
    }

    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut Running<'_>) -> R) -> R {
        self.port.with(&mut self.sim.lp(0), f)
    }

    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    pub(crate) fn connect_port(&mut self) {
        self.with(|port| port.connect());
    }

    pub(crate) fn left(&self) -> Vec<(u32, Reason, u64, u64)> {
        let left = |event: &Event| {
            let Event::Disconnected { slot, reason, unread, unsent } = *event else { return None };
            Some((slot.index(), reason, unread, unsent))
        };
        self.events.borrow().iter().filter_map(left).collect()
    }

    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let refused = |event: &Event| if let Event::Refused { why, .. } = *event { Some(why) } else { None };
        self.events.borrow().iter().filter_map(refused).collect()
    }
}

pub(crate) fn send(peer: &Peer, bytes: &[u8]) {
    assert_eq!(peer.send(bytes), bytes.len());
}

pub(crate) const FIRST: Addr = Addr::Slot(0);
