//! Messages and calls that wait for a port allocate nothing once it is warm: a test binary of its own, because the allocator is counted for the whole
//! process, the loop's thread included, and without the test harness, whose thread allocates when it likes.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::Outcome;
use wharf_core::slots::SlotId;
use wharf_host::services::port::options::Options;
use wharf_host::services::port::{Addr, Broadcast, Error, Events, Port, Running, Server, Subscriber, Threaded, Told};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PATIENT: Option<Duration> = Some(Duration::from_secs(30));
const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
const SLOT: Addr = Addr::Slot(0);
/// Longer than the queue, so that it goes in pieces.
const LONG: usize = 100_000;

/// A port of lines for three clients.
fn port(consumer: &str) -> Threaded {
    let mut options = Options::new("warm", "127.0.0.1:0").unwrap();
    for (key, value) in [("slots", "3"), ("input_eos", r"\n"), ("output_eos", r"\n"), ("consumer", consumer)] {
        options.set(key, value).unwrap();
    }
    let port = Server::spawn(options).unwrap();
    port.connect(PATIENT).unwrap();
    port
}

/// A client of it.
fn client(port: &Port) -> TcpStream {
    let stream = TcpStream::connect(port.local_addr().unwrap()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(PATIENT).unwrap();
    stream
}

fn echoing_client(port: &Port) -> JoinHandle<()> {
    let stream = client(port);
    let client = thread::spawn(move || echo(stream));
    port.wait_client(SLOT, PATIENT).unwrap();
    client
}

/// What `rounds` rounds of something allocate after the first `warm` ones, which is nothing.
fn allocates_nothing(what: &str, warm: usize, rounds: usize, mut play: impl FnMut(usize)) {
    play(warm);
    let region = Region::new(ALLOCATOR);
    play(rounds);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{what}: {change:?}");
}

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
    let port = port("pull");
    let client = echoing_client(&port);
    let (long, mut buffer, mut outcomes) = (vec![b'x'; LONG], vec![0; 4096], Broadcast::default());
    allocates_nothing("calls", 200, 5000, |rounds| calls(&port, rounds, &long, &mut buffer, &mut outcomes));
    assert_eq!((outcomes.queued, outcomes.accepted), (1, 5));
    port.drop_client(SLOT).unwrap();
    client.join().unwrap();
    port.stop().unwrap();
}

/// Takes messages as they come, of 1 to 100 bytes. With `reads` a reader has its copy of each.
fn hear(port: &Port, events: &Events, rounds: usize, told: &mut Told, reads: bool) {
    let mut buffer = [0; 200];
    for round in 0..rounds {
        let message = &[b'm'; 100][..=round % 100];
        port.write(SLOT, message, PATIENT).unwrap();
        loop {
            assert!(events.next_into(told, PATIENT));
            if let Told::Message { bytes, eom, .. } = &*told {
                assert_eq!((&bytes[..], *eom), (message, Eom::EOS));
                break;
            }
        }
        if reads {
            assert_eq!(port.read(SLOT, &mut buffer, PATIENT).unwrap().len, message.len());
        }
    }
}

/// One subscription is taken from as messages come, and another never, so that its oldest ones go.
fn messages_for_other_threads_allocate_nothing(consumer: &str) {
    let port = port(consumer);
    let (events, deaf) = (port.subscribe().unwrap(), port.subscribe().unwrap());
    let client = echoing_client(&port);
    let mut told = Told::Missed(0);
    allocates_nothing(consumer, 2000, 5000, |rounds| hear(&port, &events, rounds, &mut told, consumer == "both"));
    assert!(matches!(deaf.try_next(), Some(Told::Missed(missed)) if missed > 7000));
    port.drop_client(SLOT).unwrap();
    client.join().unwrap();
    port.stop().unwrap();
}

/// Passes each message on to all, twice.
struct Passer(Broadcast);

impl Subscriber for Passer {
    fn message(&mut self, port: &mut Running<'_>, _: SlotId, bytes: &[u8], _: Eom) {
        port.broadcast_into(bytes, &mut self.0).unwrap();
        assert_eq!((self.0.queued, self.0.accepted, self.0.outcomes.len()), (1, bytes.len(), 3));
        assert_eq!(port.write(Addr::Port, bytes), Ok(bytes.len()));
    }
}

/// To one who is in the middle of a message, and so gets no other, as well as to one who is not.
fn broadcasts_on_the_loop_allocate_nothing() {
    let port = port("push");
    port.run(|port| port.subscribe(Box::new(Passer(Broadcast::default())))).unwrap();
    let mut stream = client(&port);
    port.wait_client(SLOT, PATIENT).unwrap();
    let mut back = [0; 10];
    let mut pass = |rounds| {
        for _ in 0..rounds {
            stream.write_all(b"four\n").unwrap();
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"four\nfour\n");
        }
    };
    allocates_nothing("for all", 200, 2000, &mut pass);
    let deaf = client(&port);
    port.wait_client(Addr::Slot(1), PATIENT).unwrap();
    let (writer, endless) = (port.port(), vec![b'w'; 32 << 20]);
    thread::scope(|scope| {
        let writes = scope.spawn(|| writer.write(Addr::Slot(1), &endless, None));
        while port.run(|port| port.waiting()).unwrap() == 0 {
            thread::yield_now();
        }
        allocates_nothing("for all but one", 200, 2000, &mut pass);
        let outcomes = port.run(|port| port.broadcast(b"last").unwrap().outcomes).unwrap();
        assert_eq!(outcomes, [Outcome::Queued, Outcome::Full, Outcome::Free]);
        drop(deaf);
        writes.join().unwrap().unwrap_err();
    });
    port.stop().unwrap();
}

fn main() {
    calls_on_a_warm_handle_allocate_nothing();
    messages_for_other_threads_allocate_nothing("push");
    messages_for_other_threads_allocate_nothing("both");
    broadcasts_on_the_loop_allocate_nothing();
}
