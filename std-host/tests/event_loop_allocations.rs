//! A warm loop allocates nothing: its own test binary, because the allocator is counted for the whole process.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use wharf_host::event_loop::{Handler, ListenOptions, Loop, LoopMut, Socket};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        assert_eq!(s.write(bytes).unwrap(), bytes.len());
    }
}

fn echo(stream: &mut TcpStream, times: usize) {
    let mut back = [0; 12];
    for _ in 0..times {
        stream.write_all(&[5; 12]).unwrap();
        stream.read_exact(&mut back).unwrap();
    }
}

fn nothing(_: &mut LoopMut<'_>) {}

#[test]
fn ten_thousand_echoes_and_deferred_calls_on_a_warm_loop_allocate_nothing() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Echo);
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    let handle = lp.handle();
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        let mut rounds = |times| {
            for _ in 0..times {
                echo(&mut stream, 10);
                handle.defer_fn(nothing).unwrap();
            }
        };
        rounds(100);
        let region = Region::new(ALLOCATOR);
        rounds(1000);
        let change = region.change();
        handle.stop();
        change
    });
    lp.run().unwrap();
    let change = client.join().unwrap();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
}
