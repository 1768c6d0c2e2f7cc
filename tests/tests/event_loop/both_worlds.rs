//! The same handlers on the real system and in the simulated world.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    Closed, ConnectOptions, Handler, ListenOptions, Loop, LoopMut, LoopOptions, Opened, Socket,
};
use wharf_host::event_loop::{Error, Out, Packets, Udp, UdpHandler, UdpOptions};
use wharf_tests::rng::Rng;
use wharf_tests::sim_net::{Faults, World};

/// Sends back what comes, and stops reading while its queue is full.
struct Echo;

impl Handler for Echo {
    /// Bytes that did not fit the queue.
    type Data = Vec<u8>;

    fn data(&mut self, s: &mut Socket<'_, (), Vec<u8>>, bytes: &[u8]) {
        let taken = s.write(bytes).unwrap();
        if taken < bytes.len() {
            s.data().extend_from_slice(&bytes[taken..]);
            s.pause().unwrap();
        }
    }

    fn writable(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        let (rest, socket) = s.split();
        let taken = socket.write(rest).unwrap();
        rest.drain(..taken);
        if rest.is_empty() {
            socket.resume().unwrap();
        }
    }
}

/// Sends a lot, ends its side, and checks what comes back.
struct Client {
    all: Vec<u8>,
    log: Rc<RefCell<Vec<String>>>,
}

#[derive(Default)]
struct Progress {
    sent: usize,
    back: usize,
}

impl Client {
    fn send(&self, s: &mut Socket<'_, (), Progress>) {
        let (progress, socket) = s.split();
        progress.sent += socket.write(&self.all[progress.sent..]).unwrap();
        if progress.sent == self.all.len() {
            socket.shutdown().unwrap();
        }
    }
}

impl Handler for Client {
    type Data = Progress;

    fn open(&mut self, s: &mut Socket<'_, (), Progress>, how: Opened) {
        self.log.borrow_mut().push(format!("{how:?}"));
        self.send(s);
    }

    fn writable(&mut self, s: &mut Socket<'_, (), Progress>) {
        self.send(s);
    }

    fn data(&mut self, s: &mut Socket<'_, (), Progress>, bytes: &[u8]) {
        let at = s.data().back;
        assert!(bytes == &self.all[at..at + bytes.len()]);
        s.data().back += bytes.len();
    }

    fn end(&mut self, s: &mut Socket<'_, (), Progress>) {
        self.log.borrow_mut().push(format!("end after {}", s.data().back));
        s.finish().unwrap();
    }

    fn close(&mut self, lp: &mut LoopMut<'_>, closed: Closed<Progress>) {
        self.log.borrow_mut().push(format!("close {:?}, {} sent", closed.reason, closed.sent));
        lp.stop();
    }
}

/// A client and an echo server on one loop: what the client saw. Without an end within `patience` it fails.
fn echo_on(mut lp: Loop, much: usize, patience: Duration) -> Vec<String> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut set = lp.loop_mut();
    let echo = set.context(Echo);
    let client = set.context(Client { all: (0..=250).cycle().take(much).collect(), log: Rc::clone(&log) });
    let listener = set.listen("127.0.0.1:0".parse().unwrap(), echo, ListenOptions::default()).unwrap();
    let addr = set.listener(listener).unwrap().local_addr();
    set.connect(addr, client, Progress::default(), ConnectOptions::default()).unwrap();
    set.add_timer(patience, None, |_, _| panic!("the echo hangs")).unwrap();
    lp.run().unwrap();
    log.take()
}

#[test]
fn an_echo_is_the_same_in_both_worlds() {
    const MUCH: usize = 3 << 20;
    let expected =
        |much| ["Connected".to_owned(), format!("end after {much}"), format!("close Peer, {much} sent")].to_vec();
    let minute = Duration::from_secs(60);
    let options = LoopOptions { tx_limit: 100_000, ..LoopOptions::default() };
    assert_eq!(echo_on(Loop::with_options((), options).unwrap(), MUCH, minute), expected(MUCH));
    assert_eq!(echo_on(Loop::with_net((), options, Box::new(World::strict().net())), MUCH, minute), expected(MUCH));
    for seed in wharf_tests::rng::seeds(50) {
        let world = World::new(seed, Faults::harmless(&mut Rng::new(seed)));
        let small = LoopOptions { tx_limit: 100, ..LoopOptions::default() };
        assert_eq!(
            echo_on(Loop::with_net((), small, Box::new(world.net())), 2000, 60 * minute),
            expected(2000),
            "seed {seed}"
        );
    }
}

/// Sends every packet back, and keeps those that the system does not take.
#[derive(Default)]
struct UdpEcho {
    kept: Vec<(SocketAddr, Vec<u8>)>,
}

impl UdpEcho {
    fn send(&mut self, u: &mut Udp<'_, ()>) {
        let out: Vec<_> = self.kept.iter().map(|(to, payload)| Out::to(*to, payload)).collect();
        let taken = u.send(&out).unwrap();
        self.kept.drain(..taken);
    }
}

impl UdpHandler for UdpEcho {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        self.kept.extend(batch.iter().map(|packet| (packet.peer, packet.payload.to_vec())));
        self.send(u);
    }

    fn drained(&mut self, u: &mut Udp<'_, ()>) {
        self.send(u);
    }
}

/// Sends numbers, so many at a time, and hears them come back in order. At last it sends to nobody.
struct Counter {
    to: SocketAddr,
    nobody: SocketAddr,
    sent: u32,
    back: u32,
    much: u32,
    log: Rc<RefCell<Vec<String>>>,
}

impl Counter {
    /// Packets that are under way at most: few enough for every buffer on the way.
    const WINDOW: u32 = 20;

    fn send(&mut self, u: &mut Udp<'_, ()>) {
        let last = self.much.min(self.back + Self::WINDOW);
        let numbers: Vec<_> = (self.sent..last).map(u32::to_be_bytes).collect();
        let out: Vec<_> = numbers.iter().map(|number| Out::to(self.to, number)).collect();
        self.sent += u32::try_from(u.send(&out).unwrap()).unwrap();
        if self.back == self.much {
            // It may have to wait for room.
            if u.send(&[Out::to(self.nobody, b"anybody?")]).unwrap() == 1 {
                self.log.borrow_mut().push(format!("{} back", self.back));
            }
        }
    }
}

impl UdpHandler for Counter {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        for packet in batch {
            assert_eq!((packet.payload, packet.peer), (&self.back.to_be_bytes()[..], self.to));
            self.back += 1;
        }
        self.send(u);
    }

    fn drained(&mut self, u: &mut Udp<'_, ()>) {
        self.send(u);
    }

    fn error(&mut self, u: &mut Udp<'_, ()>, error: Error) {
        let nobody = self.nobody.to_string();
        self.log.borrow_mut().push(error.to_string().replace(&nobody, "NOBODY"));
        u.loop_mut().stop();
    }
}

/// A counter and an echo server on one loop: what the counter saw.
fn count_on(mut lp: Loop, much: u32, patience: Duration) -> Vec<String> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut set = lp.loop_mut();
    let any = "127.0.0.1:0".parse().unwrap();
    let [echo, deaf] = [(); 2].map(|()| set.bind_udp(any, UdpEcho::default(), UdpOptions::default()).unwrap());
    let to = set.udp(echo).unwrap().local_addr().unwrap();
    let nobody = set.udp(deaf).unwrap().local_addr().unwrap();
    // It hears another peer alone, and keeps others from its address.
    set.udp(deaf).unwrap().connect("127.0.0.1:9".parse().unwrap()).unwrap();
    let counter = Counter { to, nobody, sent: 0, back: 0, much, log: Rc::clone(&log) };
    let id = set.bind_udp(any, counter, UdpOptions::default()).unwrap();
    set.with_udp(id, |counter: &mut Counter, u| counter.send(u)).unwrap();
    set.add_timer(patience, None, |_, _| panic!("the echo hangs")).unwrap();
    lp.run().unwrap();
    log.take()
}

#[test]
fn a_datagram_echo_is_the_same_in_both_worlds() {
    let expected = |much: u32| [format!("{much} back"), "reach NOBODY: connection refused".to_owned()].to_vec();
    let (minute, options) = (Duration::from_secs(60), LoopOptions::default());
    let strict = World::strict();
    assert_eq!(count_on(Loop::with_net((), options, Box::new(strict.net())), 3000, minute), expected(3000));
    for seed in wharf_tests::rng::seeds(50) {
        let world = World::new(seed, Faults::harmless(&mut Rng::new(seed)));
        let lp = Loop::with_net((), options, Box::new(world.net()));
        assert_eq!(count_on(lp, 300, 60 * minute), expected(300), "seed {seed}");
    }
    // Other systems than Linux do not tell who could not be reached by a socket that is not connected.
    if cfg!(target_os = "linux") {
        assert_eq!(count_on(Loop::with_options((), options).unwrap(), 3000, minute), expected(3000));
    }
}
