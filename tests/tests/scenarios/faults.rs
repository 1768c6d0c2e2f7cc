//! Section 8 on whole servers in the simulated world: connections on which things go wrong, beside others, over units.

use crate::talk::{at, read, value};
use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;
use wharf_core::modbus::faults::{
    self, CorruptMode, Count, Entry, ExtraMode, Fault, FaultId, FunctionMode, Held, How, Input, Keep, Kind, LengthMode,
    Moment, Order as When, Plan, Quota, Scope, Tally, Target, Then, TransactionMode, UnitMode,
};
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::{Config, Output, Reason, Transaction};
use wharf_core::modbus::service::Discard;
use wharf_core::random::Probability;
use wharf_core::{Instant, Machine, Step};
use wharf_tests::fixture;
use wharf_tests::modbus::Server;
use wharf_tests::vectors::{frame, hex};
use wharf_tests::world::{End, Ending, Link, Order, Script, World};

const CONFIG: Config = Config { idle_timeout: Duration::ZERO, ..Config::DEFAULT };

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A server with faults, whose connections share their counts.
#[derive(Clone)]
struct Faulty {
    server: Server,
    plan: Rc<RefCell<Plan<Vec<Entry>>>>,
}

impl Faulty {
    fn new(faults: &[Fault]) -> Self {
        let entries = (1..).map(FaultId).zip(faults).map(|(id, fault)| Entry::new(id, fault.clone())).collect();
        let server = Server::new(&fixture::Plant::standard());
        Self { server, plan: Rc::new(RefCell::new(Plan::new(entries, Instant::ORIGIN))) }
    }

    fn accept(&self, now: Instant) -> Peer {
        let (places, held) = (vec![Transaction::EMPTY; 16], vec![Held::EMPTY; 17]);
        Peer {
            server: self.clone(),
            tallies: vec![Tally::EMPTY; self.plan.borrow().tallies()],
            machine: faults::Connection::new(CONFIG, vec![0; 18 * 260], places, held, now),
            discarded: Vec::new(),
            closed: None,
        }
    }

    /// Checked, matched, applied and suppressed, of the first fault.
    fn counts(&self) -> [u64; 4] {
        let statistics = self.plan.borrow().entries[0].statistics;
        [statistics.checked, statistics.matched, statistics.applied, statistics.suppressed]
    }
}

/// One connection to it.
struct Peer {
    server: Faulty,
    tallies: Vec<Tally>,
    machine: faults::Connection<Vec<u8>, Vec<Transaction>, Vec<Held>>,
    discarded: Vec<Discard>,
    closed: Option<(Reason, bool)>,
}

impl End for Peer {
    fn received(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let (mut units, mut plan) = (self.server.server.units.borrow_mut(), self.server.plan.borrow_mut());
        let (mut service, mut faults) = (units.serving(1), plan.acting(None, &mut self.tallies));
        let input = Input::Received { bytes, service: &mut service, faults: Some(&mut faults) };
        self.machine.handle_input(now, input).expect("bytes come before the peer's end");
        self.machine.taken()
    }

    fn peer_closed(&mut self, now: Instant) {
        self.machine.handle_input(now, Input::PeerClosed).expect("the peer ends its side once");
    }

    fn peer_reset(&mut self, now: Instant) {
        self.machine.handle_input(now, Input::PeerReset).expect("an open connection can be reset");
    }

    fn timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    fn poll(&mut self, _: Instant) -> Step<Order> {
        let output = match self.machine.poll_output() {
            Step::Do(output) => output,
            Step::Wait(deadline) => return Step::Wait(deadline),
        };
        Step::Do(match output {
            Output::Transmit => Order::Transmit,
            Output::Pause => Order::Pause,
            Output::Resume => Order::Resume,
            Output::CloseWrite => Order::CloseWrite,
            Output::Close { reason, reset } => {
                self.closed = Some((reason, reset));
                Order::Close { reset }
            }
            Output::Discarded(reason) => {
                self.discarded.push(reason);
                Order::Nothing
            }
            Output::Processed(_) => Order::Nothing,
        })
    }

    fn transmit(&mut self) -> Vec<u8> {
        self.machine.transmit().concat()
    }

    fn transmitted(&mut self, now: Instant, len: usize) {
        self.machine.handle_input(now, Input::Transmitted { len }).expect("what was shown may leave");
    }
}

/// A fault on function 4; function 3 is spared.
fn aimed(kind: Kind) -> Fault {
    Fault { target: Target { functions: Some([4].into_iter().collect()), ..Target::ANY }, ..Fault::new(kind) }
}

fn hit(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &[4, 0, 0, 0, 2])
}

fn honest(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &[4, 4, 0x80, 0, 0x80, 1])
}

/// A world with one connection to a server with these faults.
fn open(faults: &[Fault], link: Link, script: Script) -> (Faulty, World<Peer>, usize) {
    let server = Faulty::new(faults);
    let mut world = World::new(1);
    let id = world.connect(server.accept(Instant::ORIGIN), link, script);
    (server, world, id)
}

/// What the peer of one connection sees: bytes, when they came, and the end.
type Seen = (Vec<u8>, Vec<(Instant, usize)>, Option<(Instant, Ending)>);

fn seen(faults: &[Fault], script: Script) -> Seen {
    let (_, mut world, id) = open(faults, Link::direct(), script);
    world.run_for(ms(100_000));
    let peer = &world.connection(id).peer;
    (peer.received().to_vec(), peer.arrivals().to_vec(), peer.ended())
}

#[test]
fn every_reply_is_seen_the_exceptions_of_unknown_units_too() {
    let kind = Kind::WrongTransaction(TransactionMode::Fixed(0xBEEF));
    let stream = [read(1), frame(2, 9, &[3, 0, 0, 0, 1]), frame(3, 1, &[100]), frame(4, 1, &[3, 0x13, 0x88, 0, 1])];
    let (server, mut world, id) = open(&[Fault::new(kind)], Link::direct(), Script::new().send(stream.concat()));
    world.run_until_quiet();
    let wrong =
        [value(0xBEEF), frame(0xBEEF, 9, &[0x83, 0x0B]), frame(0xBEEF, 1, &[0xE4, 1]), frame(0xBEEF, 1, &[0x83, 2])];
    assert_eq!(hex(world.connection(id).peer.received()), hex(&wrong.concat()));
    assert_eq!(server.counts(), [4, 4, 4, 0]);
}

#[test]
fn requests_that_are_dropped_delayed_or_altered_are_counted_like_any_other() {
    let quota = |quota| move |kind| Fault { quota, ..Fault::new(kind) };
    let close = Kind::Close { how: How::Fin, when: When::After, delay: Duration::ZERO };
    let faults = [
        quota(Quota { skip: 4, scope: Scope::Connection, ..Quota::EVERY })(close),
        quota(Quota { every: 2, ..Quota::EVERY })(Kind::NoResponse { execute: true }),
        Fault::new(Kind::Delay { delay: ms(100), jitter: Duration::ZERO }),
        Fault::new(Kind::WrongTransaction(TransactionMode::Increment)),
    ];
    let script = (1..=5).fold(Script::new(), |script, id| script.send(read(id)).wait(ms(1000)));
    let (server, mut world, id) = open(&faults, Link::direct(), script);
    world.run_for(ms(20_000));
    let peer = &world.connection(id).peer;
    // Two and four are dropped, and five is the fifth all the same.
    assert_eq!(hex(peer.received()), hex(&[value(2), value(4), value(6)].concat()));
    assert_eq!(peer.ended(), Some((at(4100), Ending::Fin)));
    assert_eq!(server.counts(), [5, 5, 1, 0]);
}

#[test]
fn a_connection_ends_after_its_third_request_or_the_server_drops_every_third() {
    let close = Fault::new(Kind::Close { how: How::Fin, when: When::After, delay: Duration::ZERO });
    for quota in [
        Quota { skip: 2, scope: Scope::Connection, ..Quota::EVERY },
        Quota { every: 3, scope: Scope::Server, ..Quota::EVERY },
    ] {
        let server = Faulty::new(&[Fault { quota, ..close.clone() }]);
        let mut world = World::new(1);
        for _ in 0..3 {
            let script = (1..=9).fold(Script::new(), |script, id| script.send(read(id)).wait(ms(10)));
            let id = world.connect(server.accept(world.now()), Link::direct(), script);
            let begun = world.now();
            world.run_for(ms(1000));
            let peer = &world.connection(id).peer;
            assert_eq!(hex(peer.received()), hex(&[value(1), value(2), value(3)].concat()), "{quota:?}");
            assert_eq!(peer.ended(), Some((begun.saturating_add(ms(20)), Ending::Fin)), "{quota:?}");
        }
    }
}

/// A wait of a minute of each kind that waits.
fn waits() -> [Kind; 9] {
    let (span, how) = (ms(60_000), How::Fin);
    [
        Kind::Delay { delay: span, jitter: Duration::ZERO },
        Kind::Duplicate { copies: 1, gap: span },
        Kind::Reorder { behind: 9, wait: span },
        Kind::Dribble { chunk: 1, gap: span },
        Kind::Close { how, when: When::After, delay: span },
        Kind::CutFrame { bytes: 4, how, delay: span },
        Kind::HalfClose { span },
        Kind::StopReading { span, then: Then::Resume },
        Kind::HoldOpen { span, then: Then::Close },
    ]
}

#[test]
fn a_wait_holds_up_its_own_connection_alone_and_ends_at_shutdown() {
    for kind in waits() {
        let server = Faulty::new(&[aimed(kind)]);
        let mut world = World::new(1);
        let bad = Script::new().send(hit(1)).wait(ms(10)).send(read(2)).until_ended();
        // One that answers our FIN with its own has nothing left to wait for.
        let bad = if matches!(kind, Kind::HalfClose { .. }) { bad.stubborn() } else { bad };
        let bad = world.connect(server.accept(world.now()), Link::direct(), bad);
        let good = (1..=5).fold(Script::new(), |script, id| script.send(read(id)).wait(ms(100)));
        let good = world.connect(server.accept(world.now()), Link::direct(), good);
        world.run_for(ms(1000));
        let expected = [(0, 11), (100, 22), (200, 33), (300, 44), (400, 55)].map(|(millis, total)| (at(millis), total));
        assert_eq!(world.connection(good).peer.arrivals(), expected, "{kind:?}");
        assert_eq!(world.connection(bad).closed_at(), None, "{kind:?}: it waits");
        world.touch(bad, |end, now| end.machine.handle_input(now, Input::Drain)).unwrap();
        world.run_for(Duration::ZERO);
        assert_eq!(world.connection(bad).closed_at(), Some(at(1000)), "{kind:?}");
        let received = world.connection(bad).peer.received();
        let whole = received.windows(honest(1).len()).any(|bytes| bytes == honest(1));
        assert_eq!(whole, !matches!(kind, Kind::CutFrame { .. }), "{kind:?}: its reply leaves");
    }
}

#[test]
fn a_delay_moves_whatever_else_is_done_and_alters_nothing() {
    let (gap, how) = (ms(30), How::Fin);
    let mut points = [0; faults::MAX_CUTS];
    points[0] = 7;
    let unsolicited = |when| Kind::Unsolicited { when, transaction: 0xFFFF };
    for kind in [
        Kind::Exception { code: Exception::SERVER_DEVICE_BUSY, execute: false },
        Kind::WrongCount(Count::By(-1)),
        Kind::WrongFunction(FunctionMode::Random),
        Kind::Corrupt { mode: CorruptMode::Random, offset: None, count: 2 },
        Kind::Truncate { keep: Keep::FixedBytes(3), relength: false },
        Kind::Extra { mode: ExtraMode::Random, count: 4, relength: true },
        Kind::WrongUnit(UnitMode::Swap),
        Kind::WrongTransaction(TransactionMode::Random),
        Kind::WrongProtocol(7),
        Kind::WrongLength(LengthMode::Delta(3)),
        Kind::Duplicate { copies: 2, gap },
        Kind::Reorder { behind: 1, wait: gap },
        unsolicited(Moment::Before),
        unsolicited(Moment::After),
        unsolicited(Moment::Idle(gap)),
        Kind::Split { at: points, gap },
        Kind::Dribble { chunk: 3, gap },
        Kind::Close { how, when: When::After, delay: gap },
        Kind::CutFrame { bytes: 4, how, delay: gap },
        Kind::HalfClose { span: gap },
        Kind::StopReading { span: gap, then: Then::Close },
        Kind::HoldOpen { span: gap, then: Then::Reset },
    ] {
        let delay = aimed(Kind::Delay { delay: ms(700), jitter: Duration::ZERO });
        let fault = Fault { seed: 5, ..aimed(kind) };
        let script = || Script::new().send(hit(1));
        let (bytes, arrivals, ended) = seen(std::slice::from_ref(&fault), script());
        assert_ne!(bytes, b"", "{kind:?}");
        let later = |at: Instant| at.saturating_add(ms(700));
        let moved = (
            bytes,
            arrivals.into_iter().map(|(at, total)| (later(at), total)).collect(),
            ended.map(|(at, how)| (later(at), how)),
        );
        assert!(seen(&[fault.clone(), delay.clone()], script()) == moved, "{kind:?}, then the delay");
        assert!(seen(&[delay, fault], script()) == moved, "the delay, then {kind:?}");
    }
}

#[test]
fn the_same_plan_script_and_time_give_the_same_bytes() {
    let run = |seed: u64| {
        let fault = |nth: u64, kind| Fault {
            seed: seed.wrapping_mul(31).wrapping_add(nth),
            probability: Probability::from_f64(0.5),
            ..Fault::new(kind)
        };
        let faults = [
            fault(1, Kind::Corrupt { mode: CorruptMode::Random, offset: None, count: 1 }),
            fault(2, Kind::Delay { delay: ms(5), jitter: ms(50) }),
            fault(3, Kind::WrongTransaction(TransactionMode::Random)),
            fault(4, Kind::Dribble { chunk: 4, gap: ms(1) }),
            fault(5, Kind::Extra { mode: ExtraMode::Random, count: 3, relength: true }),
            fault(6, Kind::NoResponse { execute: true }),
            fault(7, Kind::Reorder { behind: 1, wait: ms(20) }),
        ];
        seen(&faults, (1..=40).fold(Script::new(), |script, id| script.send(hit(id)).wait(ms(7))))
    };
    for seed in 0..20 {
        assert!(run(seed) == run(seed), "seed {seed}");
        assert!(run(seed).0 != run(seed + 1).0, "seed {seed}");
    }
}

#[test]
fn the_window_of_a_peer_fills_while_its_connection_stops_reading() {
    for (then, ending) in [
        (Then::Resume, None),
        (Then::Close, Some((at(30_000), Ending::Fin))),
        (Then::Reset, Some((at(30_000), Ending::Reset))),
    ] {
        let link = Link { window: 120, ..Link::direct() };
        let more: Vec<u8> = (2..=50).flat_map(read).collect();
        let script = Script::new().stubborn().send(hit(1)).wait(ms(10)).send(more);
        let (_, mut world, id) = open(&[aimed(Kind::StopReading { span: ms(30_000), then })], link, script);
        world.run_for(ms(29_999));
        let connection = world.connection(id);
        assert!(connection.is_paused());
        assert_eq!((connection.unread_by_host(), connection.peer.ended()), (120, None), "{then:?}");
        assert_eq!(hex(connection.peer.received()), hex(&honest(1)), "{then:?}");
        world.run_for(ms(1));
        let connection = world.connection(id);
        assert_eq!(connection.peer.ended(), ending, "{then:?}");
        let rest: Vec<u8> = if then == Then::Resume { (2..=50).flat_map(value).collect() } else { Vec::new() };
        assert_eq!(hex(connection.peer.received()), hex(&[honest(1), rest].concat()), "{then:?}");
    }
}

#[test]
fn a_half_closed_connection_ends_its_side_reads_on_and_closes() {
    let script = Script::new().stubborn().send(hit(1)).wait(ms(10)).send([read(2), read(3)].concat());
    let (_, mut world, id) = open(&[aimed(Kind::HalfClose { span: ms(5000) })], Link::direct(), script);
    world.run_for(ms(4999));
    let connection = world.connection(id);
    assert_eq!(hex(connection.peer.received()), hex(&honest(1)));
    assert_eq!(connection.peer.ended(), Some((Instant::ORIGIN, Ending::Fin)));
    assert_eq!((connection.unread_by_host(), connection.closed_at()), (0, None), "it reads on");
    assert_eq!(connection.end.discarded, [Discard::Held; 2]);
    world.run_for(ms(1));
    let connection = world.connection(id);
    assert_eq!((connection.closed_at(), connection.end.closed), (Some(at(5000)), Some((Reason::Fault, false))));
}

#[test]
fn a_connection_that_is_held_open_reads_on_and_answers_nothing() {
    for (then, ending) in [(Then::Close, Some(Ending::Fin)), (Then::Reset, Some(Ending::Reset)), (Then::Resume, None)] {
        let script = Script::new().stubborn().send(hit(1)).wait(ms(10)).send([read(2), read(3)].concat());
        let script = script.wait(ms(31_000)).send(read(4));
        let (_, mut world, id) = open(&[aimed(Kind::HoldOpen { span: ms(30_000), then })], Link::direct(), script);
        world.run_for(ms(29_999));
        let connection = world.connection(id);
        assert_eq!((hex(connection.peer.received()), connection.peer.ended()), (hex(&honest(1)), None), "{then:?}");
        assert_eq!(connection.end.discarded, [Discard::Held; 2], "{then:?}");
        world.run_for(ms(1));
        assert_eq!(world.connection(id).peer.ended(), ending.map(|how| (at(30_000), how)), "{then:?}");
        world.run_for(ms(5000));
        let expected = if then == Then::Resume { [honest(1), value(4)].concat() } else { honest(1) };
        assert_eq!(hex(world.connection(id).peer.received()), hex(&expected), "{then:?}");
    }
}

#[test]
fn a_cut_frame_is_the_beginning_of_the_reply_itself_and_then_the_end() {
    for (how, ending) in [(How::Fin, Ending::Fin), (How::Rst, Ending::Reset)] {
        let cut = aimed(Kind::CutFrame { bytes: 4, how, delay: ms(50) });
        let altered = aimed(Kind::WrongTransaction(TransactionMode::Fixed(0xBEEF)));
        let (bytes, arrivals, ended) = seen(&[cut, altered], Script::new().send([read(1), hit(2), read(3)].concat()));
        assert_eq!(hex(&bytes), hex(&[&value(1), &honest(0xBEEF)[..4]].concat()));
        assert!(arrivals.iter().all(|(when, _)| *when == Instant::ORIGIN));
        assert_eq!(ended, Some((at(50), ending)));
    }
}
