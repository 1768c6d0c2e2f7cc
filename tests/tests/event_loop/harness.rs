//! A loop in a world, with one handler that writes down what happens to it.

pub(crate) use wharf_tests::probe::*;

use std::net::SocketAddr;
use wharf_host::event_loop::{ContextKey, ListenOptions, ListenerId, LoopMut, LoopOptions, Socket};
use wharf_tests::sim_net::{Faults, Peer, Sim};

/// One loop with one listener.
pub(crate) struct Bench {
    pub(crate) sim: Sim,
    pub(crate) log: Log,
    pub(crate) key: ContextKey<Probe>,
    pub(crate) listener: ListenerId,
    pub(crate) addr: SocketAddr,
}

pub(crate) fn bench(act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static) -> Bench {
    bench_in(Sim::strict(), act)
}

/// In a strict world but for the room between two sockets.
pub(crate) fn roomy_bench(room: u64, act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static) -> Bench {
    bench_in(Sim::new(0, Faults { capacity: room..=room, ..Faults::none() }), act)
}

pub(crate) fn bench_in(sim: Sim, act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static) -> Bench {
    bench_with(sim, LoopOptions::default(), act)
}

pub(crate) fn bench_with(
    mut sim: Sim,
    options: LoopOptions,
    act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static,
) -> Bench {
    sim.add_loop((), options);
    let log = Log::default();
    let mut lp = sim.lp(0);
    let key = lp.context(Probe::new(&log, act));
    let listener = lp.listen(any(), key, ListenOptions::default()).unwrap();
    let addr = lp.listener(listener).unwrap().local_addr();
    Bench { sim, log, key, listener, addr }
}

impl Bench {
    pub(crate) fn connect(&self) -> Peer {
        self.sim.world.connect(self.addr).expect("the backlog has room")
    }

    pub(crate) fn lp(&mut self) -> LoopMut<'_> {
        self.sim.lp(0)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    pub(crate) fn iterations(&mut self) -> u64 {
        self.lp().iteration()
    }
}

/// The act that answers what it gets. What does not fit its queue it gives up.
pub(crate) fn echo(what: &str, s: &mut Socket<'_, (), Vec<u8>>, bytes: &[u8]) {
    if what == "data" {
        assert_eq!(s.write(bytes).unwrap(), bytes.len());
    }
}

pub(crate) fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}
