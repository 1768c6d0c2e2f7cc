//! What an idle Modbus connection costs: its own test binary, because the allocator is counted for the whole process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::event_loop::Loop;
use wharf_host::services::modbus::Server;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that one idle connection may take, the loop's share included.
const LIMIT: usize = 1024;
const WANTED: usize = 10_000;
/// Descriptors for all else.
const BESIDES: u64 = 64;
/// FC3 of one register, and its reply while that is zero.
const READ: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1];
const READ_REPLY: [u8; 11] = [0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 0];

/// As many connections as the limit on descriptors allows, two to a connection, and at most [`WANTED`].
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = 2 * WANTED as u64 + BESIDES;
    let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum }).unwrap();
    usize::try_from((current - BESIDES) / 2).unwrap().min(WANTED)
}

#[test]
fn an_idle_connection_takes_less_than_a_kibibyte_before_and_after_its_requests() {
    let count = connections();
    if count < WANTED {
        eprintln!("{count} connections and not {WANTED}: the limit on descriptors allows no more");
    }
    let described = Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 100)],
        ..Described::new("memory")
    };
    let mut lp = Loop::new().unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &described, |_| ()).unwrap();
    let address = server.local_addrs().next().unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();

    let mut clients: Vec<TcpStream> = Vec::with_capacity(count);
    let region = Region::new(ALLOCATOR);
    let kept = |what: &str| {
        let change = region.change();
        let each = (change.bytes_allocated - change.bytes_deallocated) / count;
        eprintln!("{what}, each of {count} connections takes {each} bytes");
        each
    };
    while clients.len() < count {
        clients.push(TcpStream::connect(address).unwrap());
        // The backlog never fills up, so connecting never waits for this thread.
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    while lp.loop_mut().stats().sockets < count as u64 {
        lp.turn(None).unwrap();
    }
    let silent = kept("silent so far");

    // A frame in two halves, the second when every connection holds the first: all of them are busy at once.
    for half in [&READ[..5], &READ[5..]] {
        for client in &mut clients {
            client.write_all(half).unwrap();
        }
        let seen = lp.loop_mut().stats().reads + count as u64;
        while lp.loop_mut().stats().reads < seen {
            lp.turn(Some(Duration::ZERO)).unwrap();
        }
    }
    for client in &mut clients {
        let mut reply = [0; READ_REPLY.len()];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply, READ_REPLY);
    }
    let idle_again = kept("idle again");
    assert!(silent < LIMIT, "{silent} bytes each before any request");
    assert!(idle_again < LIMIT, "{idle_again} bytes each after a request");
}
