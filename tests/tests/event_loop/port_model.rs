//! A TCP port under random scripts, held against a ledger: in the simulated world and over loopback.
//!
//! Peers come, send, read or do not, end, reset; the program reads, writes, flushes, drops, closes the port and opens it
//! again. Every byte has its place in a text, so that one which is lost, doubled or another's is found at once; in the
//! end the books must balance for every client that there was.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{OnFull, Reason};
use wharf_core::slots::SlotId;
use wharf_host::event_loop::{Loop, LoopMut, LoopOptions};
use wharf_host::services::port::options::{Millis, Options};
use wharf_host::services::port::{Addr, Error, Event, OnClose, Running, Server, Subscriber};
use wharf_tests::rng::{self, Rng};
use wharf_tests::sim_net::{self, Faults, Sim};
use wharf_tests::text::text;

/// Steps of one script.
const STEPS: usize = 300;
/// Peers at a time.
const PEERS: usize = 7;

/// Where a script is played.
trait World {
    type Peer: Peer;

    fn connect(&mut self, to: SocketAddr) -> Option<Self::Peer>;
    fn lp(&mut self) -> LoopMut<'_>;
    /// Lets a while pass, in which something may happen.
    fn pass(&mut self, span: Duration);
}

/// One who connects to the port.
trait Peer {
    fn addr(&self) -> SocketAddr;
    fn send(&mut self, bytes: &[u8]) -> usize;
    fn receive(&mut self, most: usize) -> Vec<u8>;
    fn end(&mut self);
    fn reset(self);
    /// Whether the port has ended its side in order; `None` while it has not ended, or was reset.
    fn has_ended(&mut self) -> bool;
    fn was_reset(&mut self) -> bool;
}

/// What there is to know about a client.
#[derive(Debug)]
struct Client {
    peer: SocketAddr,
    /// Bytes read or flushed by the program.
    taken: u64,
    /// Bytes that the port has accepted for it.
    written: Vec<u8>,
    ended: bool,
    end_read: bool,
    left: Option<(Reason, u64, u64)>,
}

#[derive(Debug, Default)]
struct Ledger {
    up: bool,
    downs: u32,
    clients: BTreeMap<SlotId, Client>,
    refused: Vec<SocketAddr>,
}

impl Ledger {
    /// A client of which an event tells: one that has not left.
    fn client(&mut self, slot: SlotId) -> &mut Client {
        let client = self.any(slot);
        assert_eq!(client.left, None, "{slot} has left");
        client
    }

    fn any(&mut self, slot: SlotId) -> &mut Client {
        self.clients.get_mut(&slot).unwrap_or_else(|| panic!("{slot} was never connected"))
    }

    fn of(&self, peer: SocketAddr) -> Option<&Client> {
        self.clients.values().find(|client| client.peer == peer)
    }
}

struct Clerk(Rc<RefCell<Ledger>>);

impl Subscriber for Clerk {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what else happens is no matter of the books")]
    fn event(&mut self, port: &mut Running<'_>, event: &Event) {
        let mut ledger = self.0.borrow_mut();
        match *event {
            Event::PortUp { .. } => {
                assert!(!ledger.up);
                ledger.up = true;
            }
            Event::PortDown { .. } => {
                ledger.up = false;
                ledger.downs += 1;
            }
            Event::Refused { peer, .. } => ledger.refused.push(peer),
            Event::Connected { slot, peer } => {
                assert!(ledger.up, "a client before the port is up");
                assert!(slot.index() < port.slots());
                assert_eq!(port.peer(Addr::Slot(slot.index().try_into().unwrap())), Ok(Some(peer)));
                let seated =
                    ledger.clients.iter().any(|(id, client)| id.index() == slot.index() && client.left.is_none());
                assert!(!seated, "two clients in one slot");
                let client = Client { peer, taken: 0, written: Vec::new(), ended: false, end_read: false, left: None };
                assert!(ledger.clients.insert(slot, client).is_none(), "an id twice");
            }
            Event::InputEnded { slot } => assert!(!std::mem::replace(&mut ledger.client(slot).ended, true)),
            Event::Disconnected { slot, reason, unread, unsent } => {
                ledger.client(slot).left = Some((reason, unread, unsent));
            }
            Event::DataReady { slot }
            | Event::HighWater { slot }
            | Event::LowWater { slot }
            | Event::Overflowed { slot, .. } => {
                ledger.client(slot);
            }
            _ => {}
        }
    }
}

/// A peer, and what it has done.
struct Caller<P> {
    number: u64,
    peer: P,
    sent: u64,
    got: Vec<u8>,
    deaf: bool,
    ended: bool,
}

/// What became of a peer that is no more.
struct Past {
    number: u64,
    sent: u64,
    /// It has sent its end, and read all up to that of the port.
    in_order: bool,
    ended: bool,
    got: Vec<u8>,
}

struct Play<W: World> {
    world: W,
    port: Server,
    ledger: Rc<RefCell<Ledger>>,
    callers: Vec<Caller<W::Peer>>,
    past: BTreeMap<SocketAddr, Past>,
    numbers: u64,
    rng: Rng,
}

fn options(rng: &mut Rng) -> Options {
    let mut options = Options::new("p", "127.0.0.1:0").unwrap();
    options.slots = rng.between(1, 4).try_into().unwrap();
    options.rx_queue = rng.between(64, 600).try_into().unwrap();
    options.tx_queue = rng.between(64, 600).try_into().unwrap();
    let policies = [OnFull::Close, OnFull::Text, OnFull::Hold, OnFull::KickOldest, OnFull::KickIdle];
    options.on_full = *rng.pick(&policies);
    options.full_text = b"full".to_vec();
    let span = |rng: &mut Rng| Millis(if rng.chance(1, 2) { rng.between(1, 50).try_into().unwrap() } else { 200 });
    options.slot.linger = span(rng);
    options.slot.half_close_linger = span(rng);
    options.slot.unread = span(rng);
    if rng.chance(1, 4) {
        options.slot.idle_any = span(rng);
    }
    options
}

impl<W: World> Play<W> {
    fn new(mut world: W, mut rng: Rng) -> Self {
        let options = options(&mut rng);
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let clerk = Clerk(Rc::clone(&ledger));
        let port = Server::bind(&mut world.lp(), &options, |port| port.subscribe(Box::new(clerk))).unwrap();
        Self { world, port, ledger, callers: Vec::new(), past: BTreeMap::new(), numbers: 0, rng }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..=2 => self.connect(),
            3..=6 => self.send(),
            7 | 8 => self.receive(),
            9 => self.end_or_reset(),
            10..=13 => self.read(),
            14 | 15 => self.write(),
            16 => self.operate(),
            _ => {
                let span = Duration::from_millis(self.rng.below(20));
                self.world.pass(span);
            }
        }
    }

    fn connect(&mut self) {
        let Some(to) = self.port.local_addr().filter(|_| self.callers.len() < PEERS) else { return };
        let Some(peer) = self.world.connect(to) else { return };
        self.numbers += 1;
        let (number, deaf) = (self.numbers, self.rng.chance(1, 4));
        self.callers.push(Caller { number, peer, sent: 0, got: Vec::new(), deaf, ended: false });
    }

    fn send(&mut self) {
        let (at, len) = (self.rng.index(self.callers.len()), self.rng.index(500));
        let Some(caller) = self.callers.get_mut(at).filter(|caller| !caller.ended) else { return };
        caller.sent += caller.peer.send(&text(caller.number, caller.sent, len)) as u64;
    }

    fn receive(&mut self) {
        let (at, most) = (self.rng.index(self.callers.len()), self.rng.index(700));
        if let Some(caller) = self.callers.get_mut(at).filter(|caller| !caller.deaf) {
            let got = caller.peer.receive(most);
            caller.got.extend(got);
        }
    }

    fn end_or_reset(&mut self) {
        let at = self.rng.index(self.callers.len());
        if self.rng.chance(2, 3) {
            if let Some(caller) = self.callers.get_mut(at) {
                caller.peer.end();
                caller.ended = true;
            }
        } else if at < self.callers.len() {
            let caller = self.callers.swap_remove(at);
            let Caller { number, peer, sent, got, ended, .. } = caller;
            self.past.insert(peer.addr(), Past { number, sent, in_order: false, ended, got });
            peer.reset();
        }
    }

    fn number(&self, peer: SocketAddr) -> u64 {
        let here = self.callers.iter().find(|caller| caller.peer.addr() == peer).map(|caller| caller.number);
        here.or_else(|| self.past.get(&peer).map(|past| past.number)).expect("every client is one of the peers")
    }

    fn addr(&mut self) -> Addr {
        Addr::Slot(self.rng.below(4).try_into().unwrap())
    }

    fn read(&mut self) {
        let (addr, room, now) = (self.addr(), self.rng.index(300), self.rng.chance(1, 2));
        let mut buffer = vec![0; room];
        let mut at = 0;
        let read = self.port.with(&mut self.world.lp(), |port| {
            let id = port.slot_id(addr);
            if let Ok(Some(slot)) = id {
                let (_, counters) = port.seated(slot.index()).unwrap();
                // What nobody has read in time is given up, and reading goes on behind it.
                at = counters.consumed + counters.flushed + counters.unread;
            }
            let read = if now { port.read_now(addr, &mut buffer) } else { port.read(addr, &mut buffer) };
            read.inspect(|read| assert!(read.slot.is_none() || Ok(read.slot) == id))
        });
        match read {
            Ok(read) if read.eom == Eom::END => {
                assert_eq!(read.len, 0);
                if let Some(slot) = read.slot {
                    let mut ledger = self.ledger.borrow_mut();
                    assert!(!std::mem::replace(&mut ledger.any(slot).end_read, true), "an end twice");
                    assert!(ledger.any(slot).ended);
                }
            }
            Ok(read) => {
                assert_eq!(read.eom == Eom::CNT, read.len == room);
                let slot = read.slot.expect("bytes come from somebody");
                let peer = self.ledger.borrow_mut().any(slot).peer;
                let number = self.number(peer);
                let mut ledger = self.ledger.borrow_mut();
                let client = ledger.any(slot);
                assert_eq!(&buffer[..read.len], text(number, at, read.len), "what {slot} has sent");
                client.taken += read.len as u64;
            }
            Err(Error::EmptyBuffer) => assert_eq!(room, 0),
            Err(Error::WouldBlock) => assert!(!now),
            Err(Error::Timeout { .. }) => assert!(now),
            Err(Error::NotConnected | Error::OutOfRange { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    fn write(&mut self) {
        let (addr, bytes) = (self.addr(), {
            let len = self.rng.index(200);
            self.rng.bytes(len)
        });
        let all = self.rng.chance(1, 4);
        let ledger = Rc::clone(&self.ledger);
        self.port.with(&mut self.world.lp(), |port| {
            let written = |slot: SlotId| ledger.borrow_mut().client(slot).written.extend(&bytes);
            if all {
                let Ok(broadcast) = port.broadcast(&bytes) else { return };
                let queued = (0..)
                    .zip(broadcast.outcomes)
                    .filter(|(_, outcome)| *outcome == wharf_core::port::server::Outcome::Queued);
                let slots: Vec<_> =
                    queued.map(|(index, _)| port.slot_id(Addr::Slot(index)).unwrap().unwrap()).collect();
                assert_eq!(slots.len(), broadcast.queued as usize);
                assert_eq!(broadcast.accepted, slots.len() * bytes.len());
                slots.into_iter().for_each(written);
            } else if let Ok(Some(slot)) = port.slot_id(addr) {
                match port.write(addr, &bytes) {
                    Ok(accepted) => {
                        assert_eq!(accepted, bytes.len());
                        written(slot);
                    }
                    Err(Error::Full { room }) => assert!(room < bytes.len()),
                    Err(Error::OutputEnded | Error::Stale | Error::TooLong { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
    }

    fn operate(&mut self) {
        let (addr, what) = (self.addr(), self.rng.below(10));
        let ledger = Rc::clone(&self.ledger);
        self.port.with(&mut self.world.lp(), |port| match what {
            0 | 1 => {
                let Ok(Some(slot)) = port.slot_id(addr) else { return };
                if let Ok(flushed) = port.flush(addr) {
                    ledger.borrow_mut().client(slot).taken += u64::from(flushed);
                }
            }
            2 | 3 => drop(port.drop_client(addr)),
            4 => drop(port.abort_client(addr)),
            5 => drop(port.shutdown(addr)),
            6 => port.disconnect(OnClose::Drop),
            7 => port.disconnect(OnClose::Keep),
            _ => port.connect(),
        });
    }

    /// The port closes for good, the peers that listen hear everything, and the books balance. Why clients have left.
    fn finish(mut self) -> Vec<Reason> {
        self.port.with(&mut self.world.lp(), |port| port.disconnect(OnClose::Drop));
        let patience = Instant::now() + Duration::from_secs(60);
        while self.port.with(&mut self.world.lp(), |port| port.has_clients()) || self.ledger.borrow().up {
            self.world.pass(Duration::from_millis(5));
            self.hear();
            assert!(Instant::now() < patience, "clients that never leave: {:?}", self.ledger);
        }
        self.world.pass(Duration::from_millis(5));
        self.hear();
        let callers = std::mem::take(&mut self.callers);
        for mut caller in callers {
            let in_order = caller.peer.has_ended() && !caller.peer.was_reset() && !caller.deaf;
            let Caller { number, peer, sent, got, ended, .. } = caller;
            self.past.insert(peer.addr(), Past { number, sent, in_order, ended, got });
        }
        let ledger = self.ledger.borrow();
        for (slot, client) in &ledger.clients {
            let (reason, unread, unsent) = client.left.expect("every client has left");
            let past = &self.past[&client.peer];
            let received = client.taken + unread;
            assert!(received <= past.sent, "{slot}: {received} of {} bytes", past.sent);
            if reason == Reason::PeerClosed && past.ended && past.in_order {
                assert_eq!(received, past.sent, "{slot} ended in order");
            }
            assert!(client.written.starts_with(&past.got), "{slot} got what was not written");
            if past.in_order && reason != Reason::LocalAborted {
                assert_eq!(past.got.len() as u64, client.written.len() as u64 - unsent, "{slot} {reason}");
            }
        }
        for peer in &ledger.refused {
            assert!(ledger.of(*peer).is_none(), "a client that was refused");
        }
        ledger.clients.values().filter_map(|client| Some(client.left?.0)).collect()
    }

    fn hear(&mut self) {
        for caller in self.callers.iter_mut().filter(|caller| !caller.deaf) {
            let got = caller.peer.receive(usize::MAX);
            caller.got.extend(got);
            // A peer that has heard the end ends as well.
            if caller.peer.has_ended() && !caller.ended {
                caller.peer.end();
                caller.ended = true;
            }
        }
    }
}

struct Simulated(Sim);

impl World for Simulated {
    type Peer = sim_net::Peer;

    fn connect(&mut self, to: SocketAddr) -> Option<sim_net::Peer> {
        self.0.world.connect(to)
    }

    fn lp(&mut self) -> LoopMut<'_> {
        self.0.lp(0)
    }

    fn pass(&mut self, span: Duration) {
        self.0.run_for(span);
    }
}

impl Peer for sim_net::Peer {
    fn addr(&self) -> SocketAddr {
        self.local_addr()
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        sim_net::Peer::send(self, bytes)
    }

    fn receive(&mut self, most: usize) -> Vec<u8> {
        self.receive_at_most(most)
    }

    fn end(&mut self) {
        sim_net::Peer::end(self);
    }

    fn reset(self) {
        sim_net::Peer::reset(self);
    }

    fn has_ended(&mut self) -> bool {
        self.ended() == Some(sim_net::Ended::InOrder)
    }

    fn was_reset(&mut self) -> bool {
        self.ended() == Some(sim_net::Ended::Reset)
    }
}

struct Loopback(Loop);

struct RealPeer {
    stream: TcpStream,
    addr: SocketAddr,
    ended: bool,
    reset: bool,
}

impl World for Loopback {
    type Peer = RealPeer;

    fn connect(&mut self, to: SocketAddr) -> Option<RealPeer> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).ok()?;
        stream.set_nonblocking(true).unwrap();
        let addr = stream.local_addr().unwrap();
        Some(RealPeer { stream, addr, ended: false, reset: false })
    }

    fn lp(&mut self) -> LoopMut<'_> {
        self.0.loop_mut()
    }

    /// Real time is dear: a tenth of the span.
    fn pass(&mut self, span: Duration) {
        let end = Instant::now() + span / 10;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.0.turn(Some(left)).unwrap();
            if left.is_zero() {
                return;
            }
        }
    }
}

impl Peer for RealPeer {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        match self.stream.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => {
                self.reset = true;
                0
            }
        }
    }

    fn receive(&mut self, most: usize) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        while all.len() < most {
            let asked = part.len().min(most - all.len());
            match self.stream.read(&mut part[..asked]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => all.extend_from_slice(&part[..count]),
                Err(error) => {
                    self.reset |= error.kind() != ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        all
    }

    fn end(&mut self) {
        // Refused by a connection that is reset.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.ended
    }

    fn was_reset(&mut self) -> bool {
        self.reset
    }
}

fn play<W: World>(world: W, rng: Rng) -> Vec<Reason> {
    let mut play = Play::new(world, rng);
    (0..STEPS).for_each(|_| play.step());
    play.finish()
}

/// Scripts that never saw a client leave in one of these ways have said nothing about it.
fn check_coverage(seen: &[Reason]) {
    if std::env::var_os(rng::SEED_VARIABLE).is_some() || std::env::var_os(rng::COUNT_VARIABLE).is_some() {
        return;
    }
    let ways = [
        Reason::PeerClosed,
        Reason::PeerReset,
        Reason::LocalClosed,
        Reason::LocalAborted,
        Reason::PortClosed,
        Reason::Kicked,
        Reason::IdleAny,
    ];
    let missing: Vec<_> = ways.iter().filter(|way| !seen.contains(way)).collect();
    assert!(missing.is_empty(), "no client left by {missing:?}");
}

#[test]
fn under_random_scripts_no_byte_is_lost_doubled_or_anothers_in_the_simulated_world() {
    let mut seen = Vec::new();
    for seed in rng::seeds(150) {
        println!("{}={seed}", rng::SEED_VARIABLE);
        let mut rng = Rng::new(seed);
        let mut sim = Sim::new(seed, Faults::harmless(&mut rng));
        sim.add_loop((), LoopOptions::default());
        seen.extend(play(Simulated(sim), rng));
    }
    check_coverage(&seen);
}

#[test]
fn under_random_scripts_no_byte_is_lost_doubled_or_anothers_over_loopback() {
    for seed in rng::seeds(40) {
        println!("{}={seed}", rng::SEED_VARIABLE);
        // How they leave depends on the time that everything takes.
        play(Loopback(Loop::new().unwrap()), Rng::new(seed));
    }
}
