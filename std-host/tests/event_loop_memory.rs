//! What an idle connection costs: its own test binary, because the allocator is counted for the whole process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::net::TcpStream;
use std::time::Duration;
use wharf_host::event_loop::{Handler, ListenOptions, Loop};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct Plain;

impl Handler for Plain {
    type Data = ();
}

/// Bytes that one idle accepted plain connection without data may take.
const LIMIT: usize = 512;
const WANTED: usize = 10_000;
/// Descriptors for all else.
const BESIDES: u64 = 64;

/// As many connections as the limit on descriptors allows, two to a connection, and at most [`WANTED`].
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = 2 * WANTED as u64 + BESIDES;
    let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum }).unwrap();
    usize::try_from((current - BESIDES) / 2).unwrap().min(WANTED)
}

#[test]
fn an_idle_plain_connection_takes_less_than_512_bytes() {
    let count = connections();
    if count < WANTED {
        eprintln!("{count} connections and not {WANTED}: the limit on descriptors allows no more");
    }
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Plain);
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    lp.turn(Some(Duration::ZERO)).unwrap();

    let mut clients: Vec<TcpStream> = Vec::with_capacity(count);
    let region = Region::new(ALLOCATOR);
    while clients.len() < count {
        clients.push(TcpStream::connect(addr).unwrap());
        // The backlog never fills up, so connecting never waits for this thread.
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    while lp.loop_mut().stats().sockets < count as u64 {
        lp.turn(None).unwrap();
    }
    let change = region.change();
    let kept = change.bytes_allocated - change.bytes_deallocated;
    eprintln!("{count} connections take {kept} bytes, {} each", kept / count);
    assert!(kept < LIMIT * count, "{} bytes for each of {count}", kept / count);
}
