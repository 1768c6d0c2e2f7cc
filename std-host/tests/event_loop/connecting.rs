//! Connecting: names, several addresses, timeouts and second thoughts.

use crate::harness::{Act, Log, Probe, bench, quiet};
use crate::scripted::{Does, Scripted};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{
    ConnectFailed, ConnectOptions, ContextKey, Error, Handler, Lookup, Loop, LoopMut, LoopOptions, SocketId, Target,
};

const FIRST: &str = "192.0.2.1:80";
const SECOND: &str = "192.0.2.2:80";
const THIRD: &str = "[2001:db8::1]:80";

/// A loop over a system of the test's making.
struct Stage {
    lp: Loop,
    log: Log,
    key: ContextKey<Probe>,
    system: Scripted,
}

impl Stage {
    fn new(addresses: &[(&str, Does)], delay: u64) -> Self {
        let system = Scripted::new(addresses, delay);
        let mut lp = Loop::with_net((), LoopOptions::default(), Box::new(system.clone()));
        let log = Log::default();
        let key = lp.loop_mut().context(Probe::new(&log, quiet).wordy());
        Self { lp, log, key, system }
    }

    fn connect(&mut self, target: impl Into<Target>, options: ConnectOptions) -> SocketId {
        self.lp.loop_mut().connect(target, self.key, b"data".to_vec(), options).unwrap()
    }

    /// Turns until the socket is open or gone, and returns what the system was asked for.
    fn run(&mut self) -> Vec<String> {
        let done = |lp: &mut LoopMut<'_>| lp.stats().opened + lp.stats().connect_failed > 0;
        assert!(self.lp.run_until(done).unwrap());
        self.system.0.borrow().log.clone()
    }

    fn told(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}

#[test]
fn the_second_address_is_tried() {
    for (first, at, closed) in
        [(Does::Refuse(0), 0, None), (Does::Refuse(100), 100, Some(100)), (Does::Nothing, 250, Some(257))]
    {
        let mut stage = Stage::new(&[(FIRST, first), (SECOND, Does::Accept(7))], 0);
        stage.connect("two.example:80", ConnectOptions::default());
        let log = stage.run();
        let mut expected =
            vec!["0 resolve two.example".to_owned(), format!("0 connect {FIRST}"), format!("{at} connect {SECOND}")];
        if let Some(closed) = closed {
            expected.push(format!("{closed} close {FIRST}"));
        }
        expected.sort();
        let mut sorted = log.clone();
        sorted.sort();
        assert_eq!(sorted, expected, "in order: {log:?}");
        assert_eq!(stage.told(), ["open Connected", "opened"]);
        let id = stage.lp.loop_mut().sockets(stage.key).next().unwrap();
        assert_eq!(stage.lp.loop_mut().stream(id).unwrap().peer_addr(), SECOND.parse().ok());
    }
}

#[test]
fn families_take_turns_and_the_first_that_connects_wins() {
    let addresses = [(FIRST, Does::Nothing), (SECOND, Does::Accept(20)), (THIRD, Does::Accept(600))];
    let mut stage = Stage::new(&addresses, 40);
    stage.connect("three.example:80", ConnectOptions::default());
    let log = stage.run();
    assert_eq!(
        log,
        [
            "0 resolve three.example".to_owned(),
            format!("40 connect {FIRST}"),
            format!("290 connect {THIRD}"),
            format!("540 connect {SECOND}"),
            format!("560 close {FIRST}"),
            format!("560 close {THIRD}"),
        ]
    );
    assert_eq!(stage.told(), ["open Connected", "opened"]);
}

#[test]
fn a_winner_among_losers_sees_no_hang_up_of_theirs() {
    // Both answers are in one batch of events.
    let mut stage = Stage::new(&[(FIRST, Does::Refuse(300)), (SECOND, Does::Accept(50))], 0);
    let id = stage.connect("two.example:80", ConnectOptions::default());
    stage.run();
    stage.lp.turn(Some(Duration::ZERO)).unwrap();
    assert!(!stage.lp.loop_mut().stream(id).unwrap().is_hung_up());
    assert_eq!(stage.told(), ["open Connected", "opened"]);
}

#[test]
fn a_failure_tells_the_last_error_and_how_many_were_tried() {
    let mut stage = Stage::new(&[(FIRST, Does::Refuse(300)), (SECOND, Does::Refuse(0))], 0);
    stage.connect("two.example:80", ConnectOptions::default());
    stage.run();
    assert_eq!(
        stage.told(),
        [format!("connect_error after 2 with 4 bytes: connect to {FIRST}: connection refused")],
        "the first fails after the second"
    );
    assert!(stage.system.0.borrow().is_empty());
}

#[test]
fn the_timeout_is_over_resolving_and_all_addresses() {
    let options = ConnectOptions { timeout: Duration::from_millis(400), ..ConnectOptions::default() };
    let mut stage = Stage::new(&[(FIRST, Does::Nothing), (SECOND, Does::Nothing)], 100);
    stage.connect("two.example:80", options);
    let log = stage.run();
    assert_eq!(stage.told(), ["connect_error after 2 with 4 bytes: connect to two.example:80: timed out"]);
    let expected = ["100 connect", "350 connect", "400 close", "400 close"];
    let expected = expected.iter().zip([FIRST, SECOND, FIRST, SECOND]).map(|(what, addr)| format!("{what} {addr}"));
    assert_eq!(log[1..], expected.collect::<Vec<_>>());

    let mut stage = Stage::new(&[(FIRST, Does::Accept(0))], 5000);
    stage.connect("slow.example:80", options);
    stage.run();
    assert_eq!(stage.told(), ["connect_error after 0 with 4 bytes: resolve slow.example:80: timed out"]);
    assert!(stage.system.0.borrow().is_empty());
}

#[test]
fn only_addresses_of_the_source_s_family_are_tried() {
    let addresses = [(THIRD, Does::Nothing), (FIRST, Does::Accept(1))];
    let options = |source: &str| ConnectOptions { source: source.parse().ok(), ..ConnectOptions::default() };
    let mut stage = Stage::new(&addresses, 0);
    stage.connect("both.example:80", options("192.0.2.9:0"));
    assert_eq!(stage.run()[1..], [format!("0 connect {FIRST}")]);

    let mut stage = Stage::new(&[(THIRD, Does::Nothing)], 0);
    stage.connect("six.example:80", options("192.0.2.9:0"));
    stage.run();
    assert_eq!(stage.told(), ["connect_error after 0 with 4 bytes: connect to six.example:80: address not available"]);
}

#[test]
fn connect_can_be_cancelled() {
    let addresses = [(FIRST, Does::Nothing), (SECOND, Does::Nothing), (THIRD, Does::Refuse(5))];
    // Before the loop turns, while the name is resolved, with one attempt, and with all of them.
    for millis in [0, 1, 30, 1000] {
        for target in ["three.example:80", FIRST] {
            let mut stage = Stage::new(&addresses, 20);
            let id = stage.connect(target, ConnectOptions::default());
            if millis > 0 {
                let key = stage.key;
                let at = Duration::from_millis(millis);
                stage.lp.loop_mut().add_timer(at, None, move |lp, _| cancel(lp, key, id)).unwrap();
            } else {
                cancel(&mut stage.lp.loop_mut(), stage.key, id);
            }
            // It ends, because nothing that was begun is left to keep it alive.
            stage.lp.run().unwrap();
            assert_eq!(stage.told(), Vec::<String>::new(), "{target} after {millis} ms");
            assert!(stage.system.0.borrow().is_empty(), "{target} after {millis} ms");
            let stats = stage.lp.loop_mut().stats();
            assert_eq!((stats.connect_failed, stats.sockets), (0, 0));
        }
    }
}

fn cancel(lp: &mut LoopMut<'_>, key: ContextKey<Probe>, id: SocketId) {
    assert_eq!(*lp.user(key, id).unwrap(), b"data");
    lp.cancel(id).unwrap();
    assert!(matches!(lp.cancel(id), Err(Error::Closed)));
    let after = move |lp: &mut LoopMut<'_>, _| {
        assert!(matches!(lp.cancel(id), Err(Error::Stale)));
        assert!(matches!(lp.user(key, id), Err(Error::Stale)));
        assert_eq!(lp.sockets(key).count(), 0);
    };
    lp.add_timer(Duration::from_millis(1), None, after).unwrap();
}

#[test]
fn the_end_of_the_loop_ends_what_connects_and_resolves() {
    let mut stage = Stage::new(&[(FIRST, Does::Nothing)], 20);
    stage.connect(FIRST, ConnectOptions::default());
    stage.connect("slow.example:80", ConnectOptions::default());
    let heard = Rc::new(RefCell::new(Vec::new()));
    for name in ["slow.example:80", FIRST] {
        let heard = Rc::clone(&heard);
        stage.lp.loop_mut().resolve(name, move |_, outcome| heard.borrow_mut().push(outcome)).unwrap();
    }
    stage.lp.loop_mut().stop();
    stage.lp.run().unwrap();
    let ended = |tried| format!("connect_error after {tried} with 4 bytes: the loop has ended");
    assert_eq!(stage.told(), [ended(1), ended(0)]);
    // An address is its own answer, so it came before the end.
    let heard = heard.borrow();
    assert!(matches!(heard.as_slice(), [Ok(literal), Err(Error::Ended)] if *literal == [FIRST.parse().unwrap()]));
    drop(stage.lp);
    assert!(stage.system.0.borrow().is_empty());
}

/// A lookup that waits for leave, whose answers are `addrs`; and what gives leave.
fn slow_lookup(addrs: Vec<SocketAddr>) -> (Lookup, mpsc::Sender<()>, mpsc::Receiver<String>) {
    let (leave, leaves) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let leaves = Mutex::new(leaves);
    let lookup: Lookup = Arc::new(move |host, _| {
        begun.send(host.to_owned()).map_err(io::Error::other)?;
        leaves.lock().unwrap().recv().map_err(io::Error::other)?;
        Ok(addrs.clone())
    });
    (lookup, leave, begins)
}

fn loop_with(lookup: Lookup, act: Act) -> (Loop, ContextKey<Probe>, Log) {
    let mut lp = Loop::with_lookup((), LoopOptions::default(), lookup).unwrap();
    let log = Log::default();
    let key = lp.loop_mut().context(Probe::new(&log, act).wordy());
    (lp, key, log)
}

#[test]
fn a_slow_resolver_stalls_nobody() {
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let (lookup, leave, begins) = slow_lookup(vec![there.local_addr().unwrap()]);
    let echo = |what: &str, s: &mut wharf_host::event_loop::Socket<'_, (), Vec<u8>>, bytes: &[u8]| {
        if what == "data" {
            s.write(bytes).unwrap();
        }
    };
    let (mut lp, key, log) = loop_with(lookup, Box::new(echo));
    let options = wharf_host::event_loop::ListenOptions::default();
    let id = lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, options).unwrap();
    let addr = lp.loop_mut().listener(id).unwrap().local_addr();

    // What an echo costs with both threads idle, and with both of them stuck.
    let mut iterations = Vec::new();
    let mut client = TcpStream::connect(addr).unwrap();
    assert!(lp.run_until(|lp| lp.stats().opened == 1).unwrap());
    for stuck in [false, true] {
        if stuck {
            for _ in 0..3 {
                lp.loop_mut().connect("slow.example:80", key, Vec::new(), ConnectOptions::default()).unwrap();
            }
            assert_eq!(
                (begins.recv().unwrap(), begins.recv().unwrap()),
                ("slow.example".into(), "slow.example".into())
            );
            // The timers of the three are armed in this one.
            lp.turn(Some(Duration::ZERO)).unwrap();
        }
        let before = lp.loop_mut().stats();
        for round in 1..=100 {
            client.write_all(&[5; 12]).unwrap();
            let bytes = before.bytes_out + 12 * round;
            assert!(lp.run_until(|lp| lp.stats().bytes_out == bytes).unwrap());
            client.read_exact(&mut [0; 12]).unwrap();
        }
        iterations.push(lp.loop_mut().stats().iterations - before.iterations);
    }
    assert_eq!(iterations[0], iterations[1], "iterations of a hundred echoes");
    assert!(!log.borrow().iter().any(|said| said == "open Connected"));
    for _ in 0..3 {
        leave.send(()).unwrap();
    }
    assert!(lp.run_until(|lp| lp.stats().opened == 4).unwrap());
    assert_eq!(log.borrow().iter().filter(|said| *said == "open Connected").count(), 3);
}

#[test]
fn the_end_of_the_loop_waits_for_no_name() {
    let (lookup, leave, begins) = slow_lookup(Vec::new());
    let (mut lp, key, _) = loop_with(lookup, Box::new(quiet));
    lp.loop_mut().connect("slow.example:80", key, Vec::new(), ConnectOptions::default()).unwrap();
    begins.recv().unwrap();
    drop(lp);
    // The thread is still in the lookup, and ends after it.
    leave.send(()).unwrap();
    assert!(begins.recv().is_err());
}

#[test]
fn the_queue_of_names_is_bounded_and_a_cancelled_one_leaves_it() {
    let (lookup, _leave, _begins) = slow_lookup(Vec::new());
    let (mut lp, key, _) = loop_with(lookup, Box::new(quiet));
    let mut set = lp.loop_mut();
    let connect = |lp: &mut LoopMut<'_>| lp.connect("a.example:80", key, Vec::new(), ConnectOptions::default());
    let mut last = None;
    for _ in 0..256 + 2 {
        last = Some(connect(&mut set).unwrap());
    }
    assert!(matches!(connect(&mut set), Err(Error::Full)));
    assert!(matches!(set.resolve("a.example:80", |_, _| ()), Err(Error::Full)));
    assert_eq!(set.sockets(key).count(), 258);
    set.cancel(last.unwrap()).unwrap();
    connect(&mut set).unwrap();
    assert!(matches!(connect(&mut set), Err(Error::Full)));
}

#[test]
fn a_name_is_resolved_by_itself_and_a_literal_without_a_thread() {
    let lookup: Lookup = Arc::new(|host, port| match host {
        "two.example" => Ok(vec![([127, 0, 0, 1], port).into(), ([127, 0, 0, 2], port).into()]),
        "none.example" => Ok(Vec::new()),
        _ => panic!("on purpose"),
    });
    let (mut lp, ..) = loop_with(lookup, Box::new(quiet));
    let heard: Rc<RefCell<Vec<String>>> = Rc::default();
    for name in ["[::1]:5", "two.example:5", "none.example:5", "bad.example:5"] {
        let heard = Rc::clone(&heard);
        let say = move |_: &mut LoopMut<'_>, outcome: Result<Vec<SocketAddr>, Error>| {
            heard.borrow_mut().push(outcome.map_or_else(|error| error.to_string(), |addrs| format!("{addrs:?}")));
        };
        lp.loop_mut().resolve(name, say).unwrap();
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(heard.borrow()[0], "[[::1]:5]", "a literal is answered in the next turn");
    // The wait keeps the loop alive, and nothing else does.
    lp.run().unwrap();
    let mut heard = heard.borrow().clone();
    heard.sort();
    assert_eq!(
        heard,
        [
            "[127.0.0.1:5, 127.0.0.2:5]",
            "[[::1]:5]",
            "resolve bad.example:5: the resolver panicked",
            "resolve none.example:5: the name has no address",
        ]
    );
}

#[test]
fn the_system_s_resolver_knows_localhost() {
    let mut bench = bench(quiet);
    let (key, port) = (bench.key, bench.addr.port());
    bench.lp.loop_mut().connect(("localhost", port), key, Vec::new(), ConnectOptions::default()).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 2).unwrap());
}

#[test]
fn a_source_address_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut bench = bench(quiet);
    let options = ConnectOptions { source: "127.0.0.9:0".parse().ok(), ..ConnectOptions::default() };
    let key = bench.key;
    let id = bench.lp.loop_mut().connect(addr, key, Vec::new(), options).unwrap();
    let peer = thread::spawn(move || listener.accept().unwrap());
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 1).unwrap());
    let local = bench.lp.loop_mut().stream(id).unwrap().local_addr().unwrap();
    assert_eq!(local.ip().to_string(), "127.0.0.9");
    let (_stream, seen) = peer.join().unwrap();
    assert_eq!(seen, local);
}

/// Connects anew as soon as it has failed, until it has done so five times.
struct Stubborn;

#[derive(Default)]
struct Attempts {
    key: Option<ContextKey<Stubborn>>,
    /// The iterations in which an attempt failed.
    failed: Vec<u64>,
}

impl Handler<Attempts> for Stubborn {
    type Data = ();

    fn connect_error(&mut self, lp: &mut LoopMut<'_, Attempts>, _: ConnectFailed<()>) {
        let iteration = lp.iteration();
        lp.data().failed.push(iteration);
        let key = lp.data().key.expect("it was set when the context was made");
        if lp.data().failed.len() < 5 {
            lp.connect(FIRST, key, (), ConnectOptions::default()).unwrap();
        }
    }
}

#[test]
fn whoever_connects_again_at_every_failure_leaves_turns_to_others() {
    let system = Scripted::new(&[(FIRST, Does::Refuse(0))], 0);
    let mut lp = Loop::with_net(Attempts::default(), LoopOptions::default(), Box::new(system));
    let key = lp.loop_mut().context(Stubborn);
    lp.loop_mut().data().key = Some(key);
    lp.loop_mut().connect(FIRST, key, (), ConnectOptions::default()).unwrap();
    lp.run().unwrap();
    assert_eq!(lp.loop_mut().data().failed, [1, 2, 3, 4, 5]);
}

#[test]
fn a_panic_takes_back_what_was_asked_of_the_resolver() {
    let mut stage = Stage::new(&[(FIRST, Does::Nothing)], 20);
    stage.connect("slow.example:80", ConnectOptions::default());
    stage.connect(FIRST, ConnectOptions::default());
    let mut set = stage.lp.loop_mut();
    set.resolve("slow.example:80", |_, _| panic!("nobody is told")).unwrap();
    set.add_timer(Duration::from_millis(5), None, |_, _| panic!("on purpose")).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| stage.lp.run())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert!(stage.system.0.borrow().is_empty());
    assert_eq!(stage.told(), Vec::<String>::new());
}

#[test]
fn an_answer_that_nobody_waits_for_is_thrown_away() {
    let mut stage = Stage::new(&[(FIRST, Does::Nothing)], 20);
    stage.system.0.borrow_mut().never_forgets = true;
    let id = stage.connect("slow.example:80", ConnectOptions::default());
    stage.lp.loop_mut().cancel(id).unwrap();
    stage.lp.loop_mut().add_timer(Duration::from_millis(50), None, |_, _| ()).unwrap();
    let busy = stage.lp.run_until(|lp| lp.iteration() == 10).unwrap();
    assert!(!busy, "an answer that is left lying keeps the loop busy");
    assert!(stage.system.0.borrow().is_empty());
}
