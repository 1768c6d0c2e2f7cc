//! A Modbus server in steady state allocates nothing: its own test binary, because the allocator is counted for the
//! whole process, the client's thread included, and without the test harness, whose thread allocates when it likes.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::event_loop::{Loop, LoopOptions, Stats};
use wharf_host::services::modbus::Server;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const DEPTH: usize = 16;
/// FC3 of 10 registers from 0, and its reply when they hold 1..=10.
const READ: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 10];
const READ_REPLY: [u8; 29] = [0, 1, 0, 0, 0, 23, 1, 3, 20, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10];
/// FC16 of the same registers with the same values, and its reply.
const WRITE: [u8; 33] =
    [0, 2, 0, 0, 0, 27, 1, 16, 0, 0, 0, 10, 20, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10];
const WRITE_REPLY: [u8; 12] = [0, 2, 0, 0, 0, 6, 1, 16, 0, 0, 0, 10];

/// One write of one request, or of sixteen, and all its replies.
struct Exchange {
    requests: Vec<u8>,
    replies: Vec<u8>,
    count: usize,
}

impl Exchange {
    fn all() -> [Self; 4] {
        let of = |request: &[u8], reply: &[u8], count| Self {
            requests: request.repeat(count),
            replies: reply.repeat(count),
            count,
        };
        [
            of(&WRITE, &WRITE_REPLY, 1),
            of(&READ, &READ_REPLY, 1),
            of(&WRITE, &WRITE_REPLY, DEPTH),
            of(&READ, &READ_REPLY, DEPTH),
        ]
    }
}

/// Makes at least this many requests of each exchange.
fn exchange(stream: &mut TcpStream, exchanges: &[Exchange], requests: usize, buffer: &mut [u8]) {
    for exchange in exchanges {
        for _ in 0..requests.div_ceil(exchange.count) {
            stream.write_all(&exchange.requests).unwrap();
            let replies = &mut buffer[..exchange.replies.len()];
            stream.read_exact(replies).unwrap();
            assert_eq!(replies, exchange.replies);
        }
    }
}

/// Ten thousand requests of each kind on a warm server must not allocate. Returns what the loop counted.
fn allocates_nothing(options: LoopOptions) -> Stats {
    let described = Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 100)],
        ..Described::new("warm")
    };
    let mut lp = Loop::with_options((), options).unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &described, |_| ()).unwrap();
    let address = server.local_addrs().next().unwrap();
    let handle = lp.handle();
    let client = thread::spawn(move || {
        let exchanges = Exchange::all();
        let mut buffer = vec![0; DEPTH * READ_REPLY.len()];
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        exchange(&mut stream, &exchanges, 100, &mut buffer);
        let region = Region::new(ALLOCATOR);
        exchange(&mut stream, &exchanges, 10_000, &mut buffer);
        let change = region.change();
        handle.stop();
        change
    });
    lp.run().unwrap();
    let change = client.join().unwrap();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    lp.loop_mut().stats()
}

fn ten_thousand_requests_of_each_kind_on_a_warm_server_allocate_nothing() {
    allocates_nothing(LoopOptions::default());
    // No read can hold a whole request, so that every frame is put together from several.
    let stats = allocates_nothing(LoopOptions { receive_buffer: 7, ..LoopOptions::default() });
    assert!(stats.reads > 2 * 40_000, "{stats:?}");
}

fn main() {
    ten_thousand_requests_of_each_kind_on_a_warm_server_allocate_nothing();
}
