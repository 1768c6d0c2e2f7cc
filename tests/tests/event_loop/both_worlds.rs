//! The same handlers on the real system and in the simulated world.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    Closed, ConnectOptions, Handler, ListenOptions, Loop, LoopMut, LoopOptions, Opened, Socket,
};
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

/// A client and an echo server on one loop: what the client saw.
fn echo_on(mut lp: Loop, much: usize) -> Vec<String> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut set = lp.loop_mut();
    let echo = set.context(Echo);
    let client = set.context(Client { all: (0..=250).cycle().take(much).collect(), log: Rc::clone(&log) });
    let listener = set.listen("127.0.0.1:0".parse().unwrap(), echo, ListenOptions::default()).unwrap();
    let addr = set.listener(listener).unwrap().local_addr();
    set.connect(addr, client, Progress::default(), ConnectOptions::default()).unwrap();
    set.add_timer(Duration::from_secs(3600), None, |_, _| panic!("the echo hangs")).unwrap();
    lp.run().unwrap();
    log.take()
}

#[test]
fn an_echo_is_the_same_in_both_worlds() {
    const MUCH: usize = 3 << 20;
    let expected =
        |much| ["Connected".to_owned(), format!("end after {much}"), format!("close Peer, {much} sent")].to_vec();
    let options = LoopOptions { tx_limit: 100_000, ..LoopOptions::default() };
    assert_eq!(echo_on(Loop::with_options((), options).unwrap(), MUCH), expected(MUCH));
    assert_eq!(echo_on(Loop::with_net((), options, Box::new(World::strict().net())), MUCH), expected(MUCH));
    for seed in wharf_tests::rng::seeds(50) {
        let world = World::new(seed, Faults::harmless(&mut Rng::new(seed)));
        let small = LoopOptions { tx_limit: 100, ..LoopOptions::default() };
        assert_eq!(echo_on(Loop::with_net((), small, Box::new(world.net())), 2000), expected(2000), "seed {seed}");
    }
}
