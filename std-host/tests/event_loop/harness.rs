//! A loop with one handler that writes down what happens to it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use wharf_host::event_loop::{
    Closed, ConnectFailed, ContextKey, Handler, ListenOptions, ListenerId, Loop, LoopMut, LoopOptions, Opened, Socket,
};

pub(crate) type Log = Rc<RefCell<Vec<String>>>;
pub(crate) type Act = Box<dyn FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8])>;

/// Writes down its callbacks, gathers the bytes in the data, and lets the test act in each callback.
pub(crate) struct Probe {
    pub(crate) log: Log,
    pub(crate) act: Act,
}

impl Probe {
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }
}

impl Handler for Probe {
    type Data = Vec<u8>;

    fn open(&mut self, s: &mut Socket<'_, (), Vec<u8>>, how: Opened) {
        self.say(format!("open {how:?}"));
        (self.act)("open", s, &[]);
        self.say("opened");
    }

    fn data(&mut self, s: &mut Socket<'_, (), Vec<u8>>, bytes: &[u8]) {
        s.data().extend_from_slice(bytes);
        (self.act)("data", s, bytes);
    }

    fn writable(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        (self.act)("writable", s, &[]);
    }

    fn drained(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        self.say("drained");
        (self.act)("drained", s, &[]);
    }

    fn end(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        self.say(format!("end after {}", s.data().len()));
        (self.act)("end", s, &[]);
        let _ = s.finish();
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<Vec<u8>>) {
        self.say(format!("close {:?} with {} bytes", closed.reason, closed.data.len()));
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_>, failed: ConnectFailed<Vec<u8>>) {
        let (tried, bytes) = (failed.tried, failed.data.len());
        self.say(format!("connect_error after {tried} with {bytes} bytes: {}", failed.error));
    }
}

pub(crate) struct Bench {
    pub(crate) lp: Loop,
    pub(crate) log: Log,
    pub(crate) key: ContextKey<Probe>,
    pub(crate) listener: ListenerId,
    pub(crate) addr: SocketAddr,
}

pub(crate) fn bench(act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static) -> Bench {
    bench_with(LoopOptions::default(), act)
}

pub(crate) fn bench_with(
    options: LoopOptions,
    act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static,
) -> Bench {
    bench_on(options, act, |lp, key, addr| lp.listen(addr, key, ListenOptions::default()).unwrap())
}

/// A bench whose listener is made by `listen`.
pub(crate) fn bench_on(
    options: LoopOptions,
    act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static,
    listen: impl FnOnce(&mut LoopMut<'_>, ContextKey<Probe>, SocketAddr) -> ListenerId,
) -> Bench {
    let mut lp = Loop::with_options((), options).unwrap();
    let log = Log::default();
    let key = lp.loop_mut().context(Probe { log: Rc::clone(&log), act: Box::new(act) });
    let id = listen(&mut lp.loop_mut(), key, "127.0.0.1:0".parse().unwrap());
    let addr = lp.loop_mut().listener(id).unwrap().local_addr();
    Bench { lp, log, key, listener: id, addr }
}

impl Bench {
    /// Runs until so many sockets have been closed.
    pub(crate) fn run_to_closed(&mut self, count: u64) {
        let closed = move |lp: &mut LoopMut<'_>| {
            let s = lp.stats();
            s.closed_peer + s.closed_reset + s.closed_local + s.closed_aborted + s.closed_failed >= count
        };
        assert!(self.lp.run_until(closed).unwrap());
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}

pub(crate) fn quiet(_: &str, _: &mut Socket<'_, (), Vec<u8>>, _: &[u8]) {}

/// Keeps the processor busy until the clock has gone on by `span`.
pub(crate) fn spin(span: Duration) {
    let until = Instant::now() + span;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
