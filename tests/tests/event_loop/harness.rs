//! A loop in a world, with one handler that writes down what happens to it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use wharf_host::event_loop::{
    AcceptFailed, Closed, ConnectFailed, ContextKey, Handler, ListenOptions, ListenerId, LoopMut, LoopOptions, Opened,
    Socket,
};
use wharf_tests::sim_net::{Faults, Peer, Sim};

pub(crate) type Log = Rc<RefCell<Vec<String>>>;
type Act = Box<dyn FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8])>;

/// Writes down its callbacks, gathers the bytes in the data, and lets the test act in each callback.
pub(crate) struct Probe {
    log: Log,
    act: Act,
}

impl Probe {
    pub(crate) fn new(log: &Log, act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static) -> Self {
        Self { log: Rc::clone(log), act: Box::new(act) }
    }

    fn say(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }
}

impl Handler for Probe {
    type Data = Vec<u8>;

    fn open(&mut self, s: &mut Socket<'_, (), Vec<u8>>, how: Opened) {
        self.say(format!("open {how:?}"));
        (self.act)("open", s, &[]);
    }

    fn data(&mut self, s: &mut Socket<'_, (), Vec<u8>>, bytes: &[u8]) {
        s.data().extend_from_slice(bytes);
        (self.act)("data", s, bytes);
    }

    fn writable(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        (self.act)("writable", s, &[]);
    }

    fn drained(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        (self.act)("drained", s, &[]);
    }

    fn end(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        self.say(format!("end after {}", s.data().len()));
        (self.act)("end", s, &[]);
        // One that was closed just now cannot be finished.
        let _ = s.finish();
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<Vec<u8>>) {
        self.say(format!("close {:?} with {} bytes", closed.reason, closed.data.len()));
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_>, failed: ConnectFailed<Vec<u8>>) {
        self.say(format!("connect_error: {}", failed.error));
    }

    fn accept_error(&mut self, _: &mut LoopMut<'_>, _: ListenerId, failed: AcceptFailed) {
        let AcceptFailed::Exhausted { pause, .. } = failed else { panic!("{failed:?}") };
        self.say(format!("accepting pauses {pause:?}"));
    }
}

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

pub(crate) fn quiet(_: &str, _: &mut Socket<'_, (), Vec<u8>>, _: &[u8]) {}

pub(crate) fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}
