//! Calls that wait for a port allocate nothing: a test binary of its own, because the allocator is counted for the whole
//! process, the loop's thread included, and without the test harness, whose thread allocates when it likes.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use wharf_core::port::framing::Eom;
use wharf_host::services::port::options::Options;
use wharf_host::services::port::{Addr, Broadcast, Error, Port, Server};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PATIENT: Option<Duration> = Some(Duration::from_secs(30));
const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
const SLOT: Addr = Addr::Slot(0);
/// Longer than the queue, so that it goes in pieces.
const LONG: usize = 100_000;

/// Says what it is sent, line by line, until the end.
fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; LONG];
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return,
            len => stream.write_all(&buffer[..len]).unwrap(),
        }
    }
}

/// Every call that waits, and some that do not.
fn calls(port: &Port, rounds: usize, long: &[u8], buffer: &mut [u8], outcomes: &mut Broadcast) {
    for round in 0..rounds {
        let timeout = if round % 2 == 0 { None } else { PATIENT };
        let slot = port.wait_client(SLOT, timeout).unwrap();
        assert!(port.peer(SLOT).unwrap().is_some());
        assert_eq!(port.write(SLOT, b"one", timeout), Ok(3));
        assert_eq!(port.write_to(slot, b"two", timeout), Ok(3));
        port.broadcast_into(b"three", timeout, outcomes).unwrap();
        port.drain(Addr::Port, timeout).unwrap();
        for expected in ["one", "two", "three"] {
            let read = port.read(SLOT, buffer, timeout).unwrap();
            assert_eq!((&buffer[..read.len], read.eom), (expected.as_bytes(), Eom::EOS));
        }
        assert_eq!(port.read(SLOT, buffer, AT_ONCE), Err(Error::Timeout { bytes: 0 }));
        if round % 100 == 0 {
            assert_eq!(port.read(SLOT, buffer, Some(Duration::from_micros(1))), Err(Error::Timeout { bytes: 0 }));
            long_message(port, long, buffer);
        }
        assert_eq!((port.flush(SLOT).unwrap(), port.pending(SLOT).unwrap().rx), (0, 0));
    }
}

/// One that its reader gets piece by piece.
fn long_message(port: &Port, long: &[u8], buffer: &mut [u8]) {
    assert_eq!(port.write(SLOT, long, PATIENT), Ok(LONG));
    let mut got = 0;
    loop {
        let read = port.read(SLOT, buffer, PATIENT).unwrap();
        got += read.len;
        if read.eom == Eom::EOS {
            return assert_eq!(got, LONG);
        }
    }
}

fn calls_on_a_warm_handle_allocate_nothing() {
    let mut options = Options::new("warm", "127.0.0.1:0").unwrap();
    for (key, value) in [("slots", "3"), ("input_eos", r"\n"), ("output_eos", r"\n")] {
        options.set(key, value).unwrap();
    }
    let port = Server::spawn(options).unwrap();
    port.connect(PATIENT).unwrap();
    let stream = TcpStream::connect(port.local_addr().unwrap()).unwrap();
    stream.set_nodelay(true).unwrap();
    let client = thread::spawn(move || echo(stream));
    let (long, mut buffer, mut outcomes) = (vec![b'x'; LONG], vec![0; 4096], Broadcast::default());
    calls(&port, 200, &long, &mut buffer, &mut outcomes);
    let region = Region::new(ALLOCATOR);
    calls(&port, 5000, &long, &mut buffer, &mut outcomes);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    assert_eq!((outcomes.queued, outcomes.accepted), (1, 5));
    port.drop_client(SLOT).unwrap();
    client.join().unwrap();
    port.stop().unwrap();
}

fn main() {
    calls_on_a_warm_handle_allocate_nothing();
}
