//! UDP ports in the simulated world, called by threads: sockets that break or take nothing while somebody waits.
//!
//! The loop runs on the thread of the test. What a thread calls is seen in one of its iterations, in which no time need
//! pass.

use crate::harness::any;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wharf_core::port::framing::Eom;
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::port::options::Options;
use wharf_host::services::port::udp::{Outcome, RunningUdp, UdpPort, UdpServer};
use wharf_host::services::port::{Addr, Error};
use wharf_tests::sim_net::{Faults, Sim, UdpPeer};

const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
const SOON: Option<Duration> = Some(Duration::from_millis(5));
const ALL: Addr = Addr::Port;
const ONE: Addr = Addr::Slot(0);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a datagram takes to leave the socket, where one at a time may.
const PACE: Duration = Duration::from_millis(10);
/// Datagrams that wait in the port.
const RING: usize = 64;

/// A port in a world.
struct Stage {
    sim: Sim,
    server: UdpServer,
    port: UdpPort,
}

fn stage(faults: Faults, keys: &[(&str, &str)]) -> Stage {
    let mut sim = Sim::new(0, faults);
    sim.add_loop((), LoopOptions::default());
    let mut options = Options::new("dev", "127.0.0.1:7000 udp").unwrap();
    for (key, value) in keys {
        options.set(key, value).unwrap();
    }
    let server = UdpServer::bind(&mut sim.lp(0), &options, |_| {}).unwrap();
    let port = server.port();
    Stage { sim, server, port }
}

/// One whose socket sends a datagram every [`PACE`].
fn slow(keys: &[(&str, &str)]) -> Stage {
    stage(Faults { pace: PACE, send_buffer: 1..=1, ..Faults::none() }, keys)
}

impl Stage {
    fn local(&self) -> SocketAddr {
        self.port.local_addr().expect("the port is up")
    }

    /// One that the port has heard.
    fn caller(&mut self) -> UdpPeer {
        let peer = self.sim.world.bind_udp(any());
        peer.send(self.local(), b"hello");
        self.run(Duration::ZERO);
        assert_eq!(self.call(|port| port.read(ONE, &mut [0; 8], None)).map(|read| read.len), Ok(5));
        peer
    }

    fn run(&mut self, span: Duration) {
        self.sim.run_for(span);
    }

    fn with<R>(&mut self, f: impl FnOnce(&mut RunningUdp<'_>) -> R) -> R {
        self.server.with(&mut self.sim.lp(0), f)
    }

    /// Fills the ring, and the socket before it. Whether that was not so.
    fn fill(&mut self, to: SocketAddr) {
        while self.with(|port| port.reply(to, b"filler")).is_ok() {}
        assert!(matches!(self.with(|port| port.reply(to, b"filler")), Err(Error::Full { .. })));
    }

    /// What a thread gets that calls the port. No time passes for the port meanwhile.
    fn call<R: Send + 'static>(&mut self, call: impl FnOnce(&UdpPort) -> R + Send + 'static) -> R {
        let caller = self.begin(call);
        self.end(caller)
    }

    /// What a thread has got, whose call is to end without that time passes.
    fn end<R>(&mut self, caller: JoinHandle<R>) -> R {
        self.until(|_| caller.is_finished());
        caller.join().unwrap()
    }

    /// A thread that calls the port. It ends with the loop at the latest.
    fn begin<R: Send + 'static>(&self, call: impl FnOnce(&UdpPort) -> R + Send + 'static) -> JoinHandle<R> {
        let port = self.port.clone();
        thread::spawn(move || call(&port))
    }

    /// The same, whose call waits when this returns, as that of so many.
    fn begin_waiting<R: Send + 'static>(
        &mut self,
        count: usize,
        call: impl FnOnce(&UdpPort) -> R + Send + 'static,
    ) -> JoinHandle<R> {
        let caller = self.begin(call);
        self.until(|stage| stage.with(|port| port.waiting()) == count);
        caller
    }

    /// Lets the loop see what threads call until this is so. No time passes for the port meanwhile.
    fn until(&mut self, mut what: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !what(self) {
            assert!(Instant::now() < end, "it does not come to be");
            // A world in which nothing happens takes a loop that is run on and on for one that waits for ever.
            self.sim.lp(0).handle().defer(|_| ()).expect("the loop is there");
            self.run(Duration::ZERO);
            thread::yield_now();
        }
    }
}

#[test]
fn a_failure_ends_the_wait_of_a_reader_and_what_is_opened_again_is_read() {
    let mut stage = stage(Faults::none(), &[]);
    let (local, peer) = (stage.local(), stage.sim.world.bind_udp(any()));
    let waits = stage.begin_waiting(1, |port| port.read(ONE, &mut [0; 8], None));
    // What is counted and goes on is nothing to the reader.
    stage.sim.world.fail_receiving(Some(ErrorKind::OutOfMemory));
    peer.send(local, b"late");
    stage.run(Duration::from_millis(1));
    assert_eq!(stage.with(|port| (port.counters().failed, port.waiting())), (1, 1));
    stage.sim.world.fail_receiving(None);
    stage.run(Duration::from_secs(5));
    assert_eq!(stage.end(waits).map(|read| (read.len, read.eom)), Ok((4, Eom::END)));

    let waits = stage.begin_waiting(1, |port| port.read(ONE, &mut [0; 8], None));
    stage.sim.world.fail_receiving(Some(ErrorKind::PermissionDenied));
    peer.send(local, b"gone with the socket");
    stage.run(Duration::from_millis(1));
    assert_eq!(stage.end(waits), Err(Error::NotConnected));
    assert_eq!(stage.port.local_addr(), None);
    assert_eq!(stage.call(|port| port.read(ONE, &mut [0; 8], None)), Err(Error::NotConnected));
    stage.sim.world.fail_receiving(None);
    stage.run(Duration::from_secs(1));
    assert_eq!(stage.local(), local);
    let waits = stage.begin_waiting(1, |port| port.read(ONE, &mut [0; 8], None));
    peer.send(local, b"news");
    stage.run(Duration::ZERO);
    assert_eq!(stage.end(waits).map(|read| (read.len, read.eom)), Ok((4, Eom::END)));
}

#[test]
fn a_port_that_has_failed_is_opened_at_once_by_connect() {
    let mut stage = stage(Faults::none(), &[("auto_connect", "false")]);
    stage.call(|port| port.connect(None)).unwrap();
    let (local, peer) = (stage.local(), stage.sim.world.bind_udp(any()));
    stage.sim.world.fail_receiving(Some(ErrorKind::PermissionDenied));
    peer.send(local, b"x");
    stage.run(Duration::from_millis(1));
    assert_eq!(stage.port.local_addr(), None);
    stage.sim.world.fail_receiving(None);
    assert_eq!(stage.call(|port| port.connect(AT_ONCE)), Ok(()));
    assert_eq!(stage.port.local_addr(), Some(local));
}

#[test]
fn writers_wait_for_room_and_go_out_in_the_order_of_their_calls() {
    let mut stage = slow(&[]);
    let peer = stage.caller();
    let to = peer.addr();
    stage.fill(to);
    for timeout in [AT_ONCE, SOON] {
        let full = stage.call(move |port| port.reply(to, b"too late", timeout));
        assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    }
    let texts = ["one", "two", "three"];
    let writers: Vec<_> = (1..)
        .zip(texts)
        .map(|(count, text)| stage.begin_waiting(count, move |port| port.write(ONE, text.as_bytes(), None)))
        .collect();
    // One that cannot wait does not go before them.
    assert_eq!(stage.call(|port| port.write(ONE, b"first", AT_ONCE)), Err(Error::Full { room: 0 }));
    assert_eq!(stage.call(|port| port.write(ONE, b"first", SOON)), Err(Error::Full { room: 0 }));
    assert_eq!(stage.with(|port| port.waiting()), 3);
    for (left, writer) in (0..3).rev().zip(writers) {
        assert!(!writer.is_finished());
        stage.run(PACE);
        assert_eq!(stage.with(|port| port.waiting()), left);
        assert_eq!(stage.end(writer).map_err(|error| error.to_string()), Ok(texts[2 - left].len()));
    }
    stage.run(PACE * 100);
    let got: Vec<_> = peer.receive().into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes != b"filler").collect();
    assert_eq!(got, texts.map(|text| text.as_bytes().to_vec()));
}

#[test]
fn a_short_datagram_does_not_overtake_a_long_one_that_has_no_room() {
    let mut stage = slow(&[]);
    let peer = stage.caller();
    let to = peer.addr();
    // One is in the socket, and four in the port: too many for another long one, and room enough for a short one.
    for _ in 0..5 {
        stage.with(|port| port.reply(to, &[b'f'; 60_000])).unwrap();
    }
    let long = stage.begin_waiting(1, |port| port.write(ONE, &[b'l'; 60_000], None));
    let reply = stage.begin_waiting(2, move |port| port.reply(to, b"reply", None));
    for timeout in [AT_ONCE, SOON] {
        assert_eq!(stage.call(move |port| port.write(ONE, b"too early", timeout)), Err(Error::Full { room: 0 }));
    }
    let short = stage.begin_waiting(3, |port| port.write(ONE, b"short", None));
    stage.run(PACE);
    assert_eq!(stage.with(|port| port.waiting()), 0);
    assert_eq!((stage.end(long), stage.end(reply), stage.end(short)), (Ok(60_000), Ok(()), Ok(5)));
    stage.run(PACE * 100);
    let got: Vec<_> = peer.receive().into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes[0] != b'f').collect();
    assert_eq!(got, [vec![b'l'; 60_000], b"reply".to_vec(), b"short".to_vec()]);
}

#[test]
fn a_write_that_waits_answers_who_was_read_when_it_was_called() {
    let mut stage = slow(&[]);
    let (other, first) = (stage.caller(), stage.caller());
    let filler = stage.sim.world.bind_udp(any());
    stage.fill(filler.addr());
    let writer = stage.begin_waiting(1, |port| port.write(ONE, b"for the first", None));
    other.send(stage.local(), b"hello again");
    stage.run(Duration::ZERO);
    assert!(stage.call(|port| port.read(ONE, &mut [0; 16], AT_ONCE)).is_ok());
    assert_eq!(stage.call(|port| port.peer(ONE)), Ok(Some(other.addr())));
    stage.run(PACE * 100);
    assert_eq!(stage.end(writer), Ok(13));
    assert_eq!(first.receive(), [(stage.local(), b"for the first".to_vec())]);
    assert_eq!(other.receive(), []);
}

#[test]
fn a_broadcast_waits_for_those_that_had_no_room() {
    let mut stage = slow(&[]);
    let peers = [stage.caller(), stage.caller(), stage.caller()];
    let filler = stage.sim.world.bind_udp(any());
    let outcomes = |of: [Outcome; 3]| peers.iter().map(UdpPeer::addr).zip(of).collect::<Vec<_>>();
    use Outcome::{Full, Queued};

    // There is a place for one of them.
    stage.fill(filler.addr());
    stage.run(PACE);
    let told = stage.call(|port| port.broadcast(b"once", AT_ONCE)).unwrap();
    assert_eq!((told.queued, told.accepted, told.outcomes), (1, 4, outcomes([Queued, Full, Full])));
    stage.run(PACE);
    let waits = stage.begin_waiting(1, |port| port.broadcast(b"for all", None));
    stage.run(PACE);
    assert_eq!(stage.with(|port| port.waiting()), 1, "the last of them still has none");
    stage.run(PACE);
    let told = stage.end(waits).unwrap();
    assert_eq!((told.queued, told.accepted, told.outcomes), (3, 21, outcomes([Queued; 3])));

    // Its time is over: those that have it have it.
    stage.run(PACE);
    let told = stage.call(|port| port.broadcast(b"in part", SOON)).unwrap();
    assert_eq!((told.queued, told.outcomes), (1, outcomes([Queued, Full, Full])));

    // It does not overtake, and tells all the same.
    let writer = stage.begin_waiting(1, |port| port.write(ONE, b"ahead", None));
    let told = stage.call(|port| port.broadcast(b"behind", AT_ONCE)).unwrap();
    assert_eq!((told.queued, told.accepted, told.outcomes), (0, 0, outcomes([Full; 3])));
    let sum = stage.begin_waiting(2, |port| port.write(ALL, b"sum", None));
    stage.run(PACE * 10);
    assert_eq!((stage.end(writer), stage.end(sum)), (Ok(5), Ok(9)));
    stage.run(PACE * 200);
    let got = peers.map(|peer| peer.receive().into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>());
    let expected = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    assert_eq!(got[0], expected(&["once", "for all", "in part", "sum"]));
    assert_eq!(got[1], expected(&["for all", "sum"]));
    // The answer to who was read last.
    assert_eq!(got[2], expected(&["for all", "ahead", "sum"]));
}

#[test]
fn a_drain_waits_for_what_was_queued_when_it_was_called() {
    let mut stage = slow(&[]);
    let to = stage.caller().addr();
    // An empty datagram is waited for, too: it has no bytes, and is none the less on its way.
    for text in [b"with the system".as_slice(), b"12345", b""] {
        stage.call(move |port| port.reply(to, text, AT_ONCE)).unwrap();
    }
    for timeout in [AT_ONCE, SOON] {
        assert_eq!(stage.call(move |port| port.drain(ONE, timeout)), Err(Error::Timeout { bytes: 5 }));
    }
    let waits = stage.begin_waiting(1, |port| port.drain(ALL, None));
    stage.call(move |port| port.reply(to, b"after", AT_ONCE)).unwrap();
    stage.run(PACE);
    assert_eq!(stage.with(|port| (port.waiting(), port.pending().tx)), (1, 5), "the empty one is left");
    stage.run(PACE);
    assert_eq!(stage.end(waits), Ok(()));
    assert_eq!(stage.call(|port| port.pending(ONE)).unwrap().tx, 5);
    stage.run(PACE);
    assert_eq!(stage.call(|port| port.drain(ONE, None)), Ok(()));
}

#[test]
fn a_port_that_goes_down_ends_every_wait() {
    let mut stage = slow(&[]);
    let peers = [stage.caller(), stage.caller()];
    let filler = stage.sim.world.bind_udp(any());
    stage.fill(filler.addr());
    stage.run(PACE);
    let reader = stage.begin_waiting(1, |port| port.read(ONE, &mut [0; 8], None));
    let drain = stage.begin_waiting(2, |port| port.drain(ONE, None));
    let begun = stage.begin_waiting(3, |port| port.broadcast(b"begun", None));
    let writer = stage.begin_waiting(4, |port| port.write(ONE, b"x", None));
    let unbegun = stage.begin_waiting(5, |port| port.broadcast(b"x", None));
    // All at once: nobody sees the port that is opened right after.
    stage.with(|port| {
        port.disconnect();
        port.connect();
    });
    stage.until(|stage| stage.with(|port| port.waiting()) == 0);
    assert_eq!(stage.end(reader), Err(Error::NotConnected));
    assert_eq!(stage.end(drain), Err(Error::NotConnected));
    let outcomes = peers.iter().map(UdpPeer::addr).zip([Outcome::Queued, Outcome::Full]).collect::<Vec<_>>();
    assert_eq!(stage.end(begun).unwrap().outcomes, outcomes);
    assert_eq!(stage.end(writer), Err(Error::PortDown { why: None }));
    assert_eq!(stage.end(unbegun), Err(Error::PortDown { why: None }));
    assert_eq!(stage.with(|port| port.counters().failed), RING as u64);
}

#[test]
fn a_port_that_is_closed_and_opened_at_once_waits_until_its_address_is_free_and_no_longer() {
    let mut stage = stage(Faults::none(), &[]);
    let local = stage.local();
    for _ in 0..3 {
        stage.with(|port| {
            port.disconnect();
            port.connect();
        });
        // Whoever calls meanwhile waits for it. No time passes, and so nothing is tried again after a failure.
        assert_eq!(stage.call(|port| port.connect(None)), Ok(()));
        assert_eq!(stage.port.local_addr(), Some(local));
    }
    stage.with(|port| {
        port.disconnect();
        port.connect();
        port.disconnect();
    });
    stage.run(Duration::from_secs(5));
    assert_eq!(stage.port.local_addr(), None, "the last word counts");
    stage.with(|port| {
        port.connect();
        port.disconnect();
        port.connect();
    });
    stage.until(|stage| stage.port.local_addr() == Some(local));
}
