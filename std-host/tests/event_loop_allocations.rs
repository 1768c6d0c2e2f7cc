//! A warm loop allocates nothing: its own test binary, because the allocator is counted for the whole process, and
//! without the test harness, whose thread allocates when it likes.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{Handle, Handler, ListenOptions, Loop, LoopMut, Socket, Tick};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MILLION: usize = 1_000_000;

#[track_caller]
fn assert_nothing(change: Stats) {
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
}

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        assert_eq!(s.write(bytes).unwrap(), bytes.len());
    }
}

fn nothing(_: &mut LoopMut<'_>) {}

fn fill(lp: &mut LoopMut<'_>) {
    while lp.handle().defer_fn(nothing).is_ok() {}
}

/// Every connection has a message on its way before the first echo is awaited.
fn echo(streams: &mut [TcpStream], times: usize) {
    let mut back = [0; 12];
    for _ in 0..times.div_ceil(streams.len()) {
        for stream in &mut *streams {
            stream.write_all(&[5; 12]).unwrap();
        }
        for stream in &mut *streams {
            stream.read_exact(&mut back).unwrap();
        }
    }
}

fn defer(handle: &Handle, times: usize) {
    for _ in 0..times {
        while handle.defer_fn(nothing).is_err() {
            // Full: the loop needs the time more than we do.
            thread::yield_now();
        }
    }
}

fn a_million_echoes_deferred_functions_and_timer_resets_allocate_nothing() {
    echoes();
    deferred_functions();
    timer_resets();
    timers_put_aside();
}

fn echoes() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Echo);
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    let handle = lp.handle();
    let client = thread::spawn(move || {
        let mut streams: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(addr).unwrap()).collect();
        echo(&mut streams, 5000);
        let region = Region::new(ALLOCATOR);
        echo(&mut streams, MILLION);
        let change = region.change();
        handle.stop();
        change
    });
    lp.run().unwrap();
    assert!(lp.loop_mut().stats().bytes_in >= 12 * MILLION as u64);
    assert_nothing(client.join().unwrap());
}

fn deferred_functions() {
    let mut lp = Loop::new().unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    let caller = thread::spawn(move || {
        // Two queues alternate, and each has to have been full once: what runs from the one fills the other.
        let filled = handle.call(|lp| {
            lp.handle().defer_fn(fill).unwrap();
            fill(lp);
        });
        filled.unwrap();
        defer(&handle, 1);
        while handle.call(|_| ()).is_err() {}
        let ran = handle.call(|lp| lp.stats().deferred_run).unwrap();
        let region = Region::new(ALLOCATOR);
        defer(&handle, MILLION);
        let change = region.change();
        let ran = handle.call(|lp| lp.stats().deferred_run).unwrap() - ran;
        handle.stop();
        (ran, change)
    });
    lp.run().unwrap();
    let (ran, change) = caller.join().unwrap();
    assert!(ran >= MILLION as u64);
    assert_nothing(change);
}

fn timer_resets() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let delay = |at: usize| Duration::from_millis(1000 + (at as u64 * 7919) % 3_599_000);
    let ids: Vec<_> = (0..1000).map(|at| set.add_timer(delay(at), None, |_, _| ()).unwrap()).collect();
    let region = Region::new(ALLOCATOR);
    for at in 0..MILLION {
        lp.loop_mut().reset(ids[at % ids.len()], delay(at), None).unwrap();
        if at % 10_000 == 0 {
            lp.turn(Some(Duration::ZERO)).unwrap();
        }
    }
    assert_nothing(region.change());
}

/// A timer that is due again before its own step is over is put aside for the next: room for that came with the timer.
fn timers_put_aside() {
    let mut lp = Loop::new().unwrap();
    for _ in 0..16 {
        let again = |lp: &mut LoopMut<'_>, tick: Tick| lp.reset(tick.id, Duration::ZERO, None).unwrap();
        lp.loop_mut().add_timer(Duration::ZERO, None, again).unwrap();
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..1000 {
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_nothing(region.change());
}

fn main() {
    a_million_echoes_deferred_functions_and_timer_resets_allocate_nothing();
}
