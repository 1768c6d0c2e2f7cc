//! Timeouts of sockets, over their whole range, in virtual time.

use crate::harness::{Bench, any, bench, quiet};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::{
    Context, ContextKey, Error, Handler, ListenOptions, LoopOptions, Socket, SocketId, Traffic,
};
use wharf_tests::rng::Rng;
use wharf_tests::sim_net::{Peer, Sim};

/// What was called, and when.
type Calls = Rc<RefCell<Vec<(&'static str, Duration)>>>;

/// A socket with a peer, and the times of its timeouts since it opened.
struct Scene {
    bench: Bench,
    peer: Peer,
    id: SocketId,
    calls: Calls,
    /// When the scene began, for the times of the calls.
    origin: Duration,
}

fn scene() -> Scene {
    let mut bench = bench(quiet);
    let calls = Calls::default();
    let (short, long) = (Rc::clone(&calls), Rc::clone(&calls));
    let handler = Context::builder::<(), ()>()
        .on_timeout(move |s| short.borrow_mut().push(("timeout", since_origin(s.now()))))
        .on_long_timeout(move |s| long.borrow_mut().push(("long_timeout", since_origin(s.now()))));
    let (key, addr) = listen(&mut bench, handler);
    let peer = bench.sim.world.connect(addr).unwrap();
    bench.sim.run_until(move |sim| sim.lp(0).sockets(key).count() == 1);
    let id = bench.lp().sockets(key).next().unwrap();
    let origin = since_origin(bench.sim.world.now());
    Scene { bench, peer, id, calls, origin }
}

fn listen<H: Handler>(bench: &mut Bench, handler: H) -> (ContextKey<H>, std::net::SocketAddr) {
    let mut lp = bench.lp();
    let key = lp.context(handler);
    let id = lp.listen(any(), key, ListenOptions::default()).unwrap();
    (key, lp.listener(id).unwrap().local_addr())
}

fn since_origin(now: wharf_core::Instant) -> Duration {
    Duration::from_micros(now.as_micros())
}

impl Scene {
    fn seconds(&mut self, seconds: u32) {
        self.bench.lp().stream(self.id).unwrap().set_timeout(seconds).unwrap();
    }

    fn idle(&mut self, seconds: u32, traffic: Traffic) {
        self.bench.lp().stream(self.id).unwrap().set_idle_timeout(seconds, traffic).unwrap();
    }

    fn minutes(&mut self, minutes: u32) {
        self.bench.lp().stream(self.id).unwrap().set_long_timeout(minutes).unwrap();
    }

    fn pass(&mut self, seconds: u64) {
        self.bench.sim.run_for(Duration::from_secs(seconds));
    }

    /// Asserts what was called since the last time, each never early and at most a second late.
    #[track_caller]
    fn assert_called(&mut self, expected: &[(&str, u64)]) {
        let calls = self.calls.take();
        let within = |due: u64, at: Duration| {
            let (due, at) = (Duration::from_secs(due), at - self.origin);
            due <= at && at <= due + Duration::from_secs(1)
        };
        let as_expected =
            calls.iter().zip(expected).all(|((called, at), (name, due))| called == name && within(*due, *at));
        assert!(
            as_expected && calls.len() == expected.len(),
            "expected {expected:?}, since {:?}: {calls:?}",
            self.origin
        );
    }
}

#[test]
fn a_thousand_second_timeout_waits_a_thousand_seconds() {
    let mut scene = scene();
    scene.seconds(1000);
    scene.pass(999);
    scene.assert_called(&[]);
    scene.pass(5000);
    scene.assert_called(&[("timeout", 1000)]);
}

fn up_to(rng: &mut Rng, most: u32) -> u32 {
    u32::try_from(rng.between(1, most.into())).expect("it is not more than `most`")
}

#[test]
fn timeouts_of_all_lengths_are_neither_early_nor_late() {
    let mut rng = Rng::new(7);
    for round in 0..40 {
        let (seconds, minutes) = match round {
            0 => (1, 1),
            1 => (4_294_967, 71_582),
            _ => (up_to(&mut rng, 4_294_967), up_to(&mut rng, 71_582)),
        };
        let mut scene = scene();
        scene.seconds(seconds);
        scene.minutes(minutes);
        scene.bench.sim.run_until_idle();
        let mut expected = [("timeout", u64::from(seconds)), ("long_timeout", u64::from(minutes) * 60)];
        expected.sort_by_key(|(_, due)| *due);
        scene.assert_called(&expected);
    }
}

#[test]
fn a_timeout_beyond_its_range_is_refused_and_changes_nothing() {
    let mut scene = scene();
    scene.seconds(5);
    scene.minutes(1);
    let mut lp = scene.bench.lp();
    let mut stream = lp.stream(scene.id).unwrap();
    for seconds in [4_294_968, u32::MAX] {
        let asked = u64::from(seconds);
        let refused = |error| matches!(error, Error::OutOfRange { asked: a, max: 4_294_967 } if a == asked);
        assert!(stream.set_timeout(seconds).is_err_and(refused));
        assert!(stream.set_idle_timeout(seconds, Traffic::Any).is_err_and(refused));
    }
    assert!(matches!(stream.set_long_timeout(71_583), Err(Error::OutOfRange { asked: 71_583, max: 71_582 })));
    scene.pass(100);
    scene.assert_called(&[("timeout", 5), ("long_timeout", 60)]);
}

#[test]
fn a_timeout_is_replaced_and_put_off_independently_of_the_other() {
    let mut scene = scene();
    scene.seconds(5);
    scene.minutes(1);
    scene.pass(3);
    scene.seconds(10);
    scene.pass(10);
    scene.seconds(7);
    scene.seconds(0);
    scene.pass(100);
    scene.assert_called(&[("timeout", 13), ("long_timeout", 60)]);
    scene.minutes(0);
    scene.minutes(1);
    scene.minutes(0);
    scene.pass(100);
    scene.assert_called(&[]);
}

#[test]
fn traffic_puts_an_idle_timeout_off() {
    let mut scene = scene();
    scene.idle(10, Traffic::Rx);
    for _ in 0..5 {
        scene.pass(9);
        assert_eq!(scene.peer.send(b"life"), 4);
    }
    // What leaves is no sign of life of the peer.
    scene.pass(5);
    scene.bench.lp().stream(scene.id).unwrap().write(b"hello?").unwrap();
    scene.pass(100);
    scene.assert_called(&[("timeout", 55)]);
    // Once per setting.
    assert_eq!(scene.peer.send(b"late"), 4);
    scene.pass(100);
    scene.assert_called(&[]);
    scene.origin = since_origin(scene.bench.sim.world.now());
    scene.idle(10, Traffic::Any);
    scene.pass(9);
    scene.bench.lp().stream(scene.id).unwrap().write(b"hello").unwrap();
    scene.pass(100);
    scene.assert_called(&[("timeout", 19)]);
}

#[test]
fn what_is_written_at_the_end_of_a_long_callback_puts_an_idle_timeout_off() {
    let mut sim = Sim::strict();
    sim.add_loop((), LoopOptions::default());
    let (world, timed_out) = (sim.world.clone(), Rc::new(Cell::new(None)));
    let (slow, at) = (world.clone(), Rc::clone(&timed_out));
    let context = Context::builder()
        .on_open(|s: &mut Socket<'_, (), ()>, _| s.set_idle_timeout(1, Traffic::Any).unwrap())
        .on_data(move |s, bytes| {
            slow.jump(Duration::from_millis(800));
            s.write(bytes).unwrap();
        })
        .on_timeout(move |_| at.set(Some(world.now())));
    let key = sim.lp(0).context(context);
    let listener = sim.lp(0).listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = sim.lp(0).listener(listener).unwrap().local_addr();
    let peer = sim.world.connect(addr).unwrap();
    sim.run_for(Duration::ZERO);
    assert_eq!(peer.send(b"life"), 4);
    sim.run_for(Duration::from_secs(5));
    let at = timed_out.get().expect("there was no more traffic").saturating_duration_since(Instant::ORIGIN);
    assert!((Duration::from_millis(1800)..=Duration::from_millis(2800)).contains(&at), "{at:?}");
}

#[test]
fn a_plain_timeout_takes_the_place_of_an_idle_one() {
    let mut scene = scene();
    scene.idle(10, Traffic::Any);
    scene.seconds(10);
    scene.pass(9);
    assert_eq!(scene.peer.send(b"life"), 4);
    scene.pass(100);
    scene.assert_called(&[("timeout", 10)]);
}

#[test]
fn a_socket_that_ends_has_no_timeouts() {
    for end in [
        |scene: &mut Scene| scene.bench.lp().stream(scene.id).unwrap().close(0),
        |scene: &mut Scene| {
            scene.bench.lp().stream(scene.id).unwrap().finish().unwrap();
            let mut lp = scene.bench.lp();
            let mut stream = lp.stream(scene.id).unwrap();
            assert!(matches!(stream.set_timeout(1), Err(Error::Closed)));
            assert!(matches!(stream.set_long_timeout(1), Err(Error::Closed)));
        },
    ] {
        let mut scene = scene();
        scene.seconds(1);
        scene.minutes(1);
        end(&mut scene);
        scene.bench.sim.run_until_idle();
        scene.assert_called(&[]);
    }
}

#[test]
fn a_timeout_may_set_itself_again_and_close_its_socket() {
    let mut bench = bench(quiet);
    let left = Rc::new(RefCell::new(3));
    let count = Rc::clone(&left);
    let handler = Context::builder::<(), ()>().on_open(|s, _| s.set_timeout(1).unwrap()).on_timeout(move |s| {
        *count.borrow_mut() -= 1;
        match *count.borrow() {
            0 => s.close(9),
            _ => s.set_timeout(1).unwrap(),
        }
    });
    let (key, addr) = listen(&mut bench, handler);
    let _peer = bench.sim.world.connect(addr).unwrap();
    bench.sim.run_until_idle();
    assert_eq!((*left.borrow(), bench.lp().sockets(key).count()), (0, 0));
}
