//! A loop with one handler that writes down what happens to it.

pub(crate) use wharf_tests::probe::*;

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use wharf_host::event_loop::{ContextKey, ListenOptions, ListenerId, Loop, LoopMut, LoopOptions, Socket};

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
    let key = lp.loop_mut().context(Probe::new(&log, act).wordy());
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

/// Keeps the processor busy until the clock has gone on by `span`.
pub(crate) fn spin(span: Duration) {
    let until = Instant::now() + span;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
