//! Modbus client connections in the simulated world: servers that answer out of order, twice, late, in crumbs, or with
//! what is no answer, and a clock that is exact.

use core::time::Duration;
use wharf_core::modbus::client::{
    Breach, Config, Connection, Counters, Input, MIN_BUFFER, Outcome, Output, Reason, Transaction,
};
use wharf_core::modbus::mbap::{self, Decoded};
use wharf_core::modbus::pdu::{Exception, Reply, ReplyError, Request};
use wharf_core::{Instant, Machine, Step};
use wharf_tests::fixture::{LATER, Plant, SILENT};
use wharf_tests::modbus::Core;
use wharf_tests::requests;
use wharf_tests::rng::{Rng, SEED_VARIABLE, seeds};
use wharf_tests::vectors::{Server as _, frame};
use wharf_tests::world::{Cut, End, Ending, Link, Order, Script, World};

const READ: [u8; 5] = [3, 0, 0, 0, 1];
const SECOND: Duration = Duration::from_secs(1);

fn reply(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &[3, 2, 0, 42])
}

/// A connection that asks, and what became of what it asked.
struct Asker {
    connection: Connection<Vec<u8>, Vec<Transaction>>,
    done: Vec<(u64, Outcome, Instant)>,
    closed: Option<Reason>,
}

impl Asker {
    fn new(places: usize) -> Self {
        let buffer = vec![0; MIN_BUFFER + 260 * places];
        let config = Config { max_outstanding: places.try_into().expect("few places"), ..Config::DEFAULT };
        let connection = Connection::new(config, buffer, vec![Transaction::EMPTY; places]);
        Self { connection, done: Vec::new(), closed: None }
    }

    /// One that has asked to read one register, under tags from 1 on, which are the transaction ids too.
    fn asking(count: u16, timeout: Duration, retries: u8) -> Self {
        let mut asker = Self::new(count.into());
        (1..=count).for_each(|tag| asker.ask(Instant::ORIGIN, tag.into(), timeout, retries));
        asker
    }

    fn ask(&mut self, now: Instant, tag: u64, timeout: Duration, retries: u8) {
        let input = Input::Ask { tag, unit: 1, pdu: &READ, timeout, retries };
        self.connection.handle_input(now, input).expect("there is a place and room");
    }

    fn outcomes(&self) -> Vec<(u64, Outcome)> {
        let mut outcomes: Vec<_> = self.done.iter().map(|(tag, outcome, _)| (*tag, *outcome)).collect();
        outcomes.sort_by_key(|(tag, _)| *tag);
        outcomes
    }
}

impl End for Asker {
    fn received(&mut self, now: Instant, bytes: &[u8]) -> usize {
        self.connection.handle_input(now, Input::Received { bytes }).expect("the connection is open");
        self.connection.taken()
    }

    fn peer_closed(&mut self, now: Instant) {
        self.connection.handle_input(now, Input::PeerClosed).expect("the connection is open");
    }

    fn peer_reset(&mut self, now: Instant) {
        self.connection.handle_input(now, Input::PeerReset).expect("the connection is open");
    }

    fn timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
    }

    fn poll(&mut self, now: Instant) -> Step<Order> {
        Step::Do(match self.connection.poll_output() {
            Step::Wait(deadline) => return Step::Wait(deadline),
            Step::Do(Output::Transmit) => Order::Transmit,
            Step::Do(Output::Done(done)) => {
                self.done.push((done.tag, done.outcome, now));
                Order::Nothing
            }
            Step::Do(Output::Discarded { .. }) => Order::Nothing,
            Step::Do(Output::Close { reason }) => {
                self.closed = Some(reason);
                Order::Close { reset: false }
            }
        })
    }

    fn transmit(&mut self) -> Vec<u8> {
        self.connection.transmit().concat()
    }

    fn transmitted(&mut self, now: Instant, len: usize) {
        self.connection.handle_input(now, Input::Transmitted { len }).expect("what was shown may leave");
    }
}

#[test]
fn on_any_path_replies_in_any_order_and_number_find_their_requests() {
    for seed in seeds(150) {
        let mut rng = Rng::new(seed);
        let count = u16::try_from(rng.between(1, 30)).expect("few");
        let mut replies: Vec<Vec<u8>> = (1..=count).map(reply).collect();
        for at in (1..replies.len()).rev() {
            replies.swap(at, rng.index(at + 1));
        }
        let twice = rng.index(replies.len());
        replies.push(replies[twice].clone());
        replies.insert(rng.index(replies.len()), reply(count + 1));
        let script = Script::new().until_read(12 * usize::from(count)).send(replies.concat()).shut();
        let mut world = World::new(seed);
        let id = world.connect(Asker::asking(count, Duration::ZERO, 0), Link::random(&mut rng), script);
        world.run_until_over();
        let end = &world.connection(id).end;
        let expected: Vec<_> = (1..=u64::from(count)).map(|tag| (tag, Outcome::Reply)).collect();
        assert_eq!(end.outcomes(), expected, "{SEED_VARIABLE}={seed}");
        assert_eq!(end.connection.counters(), Counters { late: 1, unsolicited: 1, protocol_id: 0 });
        assert_eq!(end.closed, Some(Reason::PeerClosed), "{SEED_VARIABLE}={seed}");
        let asked: Vec<u8> = (1..=count).flat_map(|id| frame(id, 1, &READ)).collect();
        assert_eq!(world.connection(id).peer.received(), asked, "{SEED_VARIABLE}={seed}");
    }
}

#[test]
fn what_a_server_of_the_core_answers_is_what_its_client_sees() {
    for seed in seeds(150) {
        let mut rng = Rng::new(seed);
        let mut server = Core::new(&Plant::standard());
        let mut asker = Asker::new(8);
        for tag in 0..60 {
            let pdu = requests::draw(&mut rng);
            if matches!(pdu[0], LATER | SILENT) || pdu.starts_with(&[8, 0, 4]) || pdu.starts_with(&[8, 0, 1]) {
                continue;
            }
            let input = Input::Ask { tag, unit: 1, pdu: &pdu, timeout: SECOND, retries: 0 };
            asker.connection.handle_input(Instant::ORIGIN, input).expect("nothing is outstanding");
            assert_eq!(asker.poll(Instant::ORIGIN), Step::Do(Order::Transmit));
            let asked = asker.transmit();
            asker.transmitted(Instant::ORIGIN, asked.len());
            let answered = server.bytes(&asked);
            let Ok(Decoded::Frame { frame, .. }) = mbap::decode(&answered) else {
                panic!("{SEED_VARIABLE}={seed}: {pdu:02X?} is answered {answered:02X?}")
            };
            let expected = match Request::decode(&pdu).map(|request| Reply::decode(&request, frame.pdu)) {
                Ok(Ok(_)) => Outcome::Reply,
                Ok(Err(ReplyError::Exception(exception))) => Outcome::Exception(exception),
                Ok(Err(error)) => panic!("{SEED_VARIABLE}={seed}: {pdu:02X?} is answered {answered:02X?}: {error}"),
                Err(_) if pdu[0] < 0x80 && frame.pdu[0] == pdu[0] => Outcome::Reply,
                Err(_) => Outcome::Exception(Exception::new(frame.pdu[1]).expect("no exception is 0")),
            };
            let mut rest = &answered[..];
            while !rest.is_empty() {
                let len = 1 + rng.index(rest.len());
                rest = &rest[asker.received(Instant::ORIGIN, &rest[..len])..];
            }
            assert_eq!(asker.poll(Instant::ORIGIN), Step::Do(Order::Nothing));
            assert_eq!(asker.done.pop(), Some((tag, expected, Instant::ORIGIN)), "{SEED_VARIABLE}={seed}: {pdu:02X?}");
        }
    }
}

#[test]
fn a_server_that_dribbles_for_ever_costs_each_request_its_timeout_and_the_connection_the_frame_timeout() {
    let mut script = Script::new().until_read(24);
    for byte in frame(1, 1, &[3; 200]) {
        script = script.wait(Duration::from_millis(100)).send([byte]);
    }
    let mut world = World::new(1);
    let id = world.connect(Asker::asking(2, SECOND, 0), Link::direct(), script);
    world.run_for(Duration::from_secs(5));
    let timeout = |tag| (tag, Outcome::Timeout, Instant::from_millis(1000));
    assert_eq!(world.connection(id).end.done, [timeout(1), timeout(2)]);
    world.touch(id, |end, now| end.ask(now, 3, Duration::ZERO, 0));
    world.run_until_over();
    let connection = world.connection(id);
    let began = Instant::from_millis(100);
    assert_eq!(connection.closed_at(), Some(began.saturating_add(Config::DEFAULT.frame_timeout)));
    assert_eq!(connection.end.outcomes()[2], (3, Outcome::Lost(Reason::FrameTimeout)));
}

#[test]
fn a_server_that_sends_for_ever_what_nobody_asked_delays_no_answer_and_is_counted() {
    let flood: Vec<u8> = (0..1000).flat_map(|nth| reply(nth + 5)).collect();
    let script = Script::new().until_read(12).send([flood.clone(), reply(1), flood].concat());
    let mut world = World::new(1);
    let id = world.connect(Asker::asking(1, SECOND, 0), Link::direct(), script);
    world.run_until_over();
    let end = &world.connection(id).end;
    assert_eq!(end.done, [(1, Outcome::Reply, Instant::ORIGIN)]);
    assert_eq!(end.connection.counters().unsolicited, 2000);
    assert_eq!(end.closed, None);
}

#[test]
fn silence_is_asked_again_on_time_and_the_reply_to_either_answers() {
    let script = Script::new().until_read(24).wait(Duration::from_millis(300)).send([reply(1), reply(1)].concat());
    let mut world = World::new(1);
    let id = world.connect(Asker::asking(1, SECOND, 3), Link::direct(), script);
    world.run_until_over();
    let connection = world.connection(id);
    assert_eq!(connection.end.done, [(1, Outcome::Reply, Instant::from_millis(1300))]);
    assert_eq!(connection.end.connection.counters().late, 1);
    assert_eq!(connection.peer.received(), frame(1, 1, &READ).repeat(2));
}

#[test]
fn a_server_that_takes_nothing_gets_no_second_copy_and_never_what_was_given_up() {
    let script = Script::new().stop_reading().wait(3 * SECOND).read_again();
    let link = Link { window: 30, ..Link::direct() };
    let mut world = World::new(1);
    let id = world.connect(Asker::asking(5, SECOND, 1), link, script);
    world.run_until_over();
    let connection = world.connection(id);
    let timeouts: Vec<_> = (1..=5).map(|tag| (tag, Outcome::Timeout)).collect();
    assert_eq!(connection.end.outcomes(), timeouts);
    // Two and a half left at once; the retries of the first three were queued behind and withdrawn at the end.
    let begun: Vec<u8> = (1..=3).flat_map(|id| frame(id, 1, &READ)).collect();
    assert_eq!(connection.peer.received(), begun);
}

#[test]
fn a_broken_reply_costs_its_own_request_and_a_broken_length_all() {
    let wrong = [frame(1, 9, &[3, 2, 0, 1]), frame(2, 1, &[4, 2, 0, 1]), frame(3, 1, &[3, 1, 0])].concat();
    let length = [0, 9, 0, 0, 0xFF, 0xFF];
    let script = Script::new().until_read(60).send([&wrong[..], &reply(4), &length].concat());
    let mut world = World::new(1);
    let id = world.connect(Asker::asking(5, SECOND, 0), Link::direct(), script);
    world.run_until_over();
    let bad = Reason::BadFrame(mbap::decode(&length).unwrap_err());
    let expected = [
        Outcome::Broken(Breach::WrongUnit { asked: 1, got: 9 }),
        Outcome::Broken(Breach::WrongFunction { asked: 3, got: 4 }),
        Outcome::Broken(Breach::Malformed),
        Outcome::Reply,
        Outcome::Lost(bad),
    ];
    let connection = world.connection(id);
    assert_eq!(connection.end.outcomes().into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>(), expected);
    assert_eq!(connection.end.closed, Some(bad));
}

#[test]
fn wherever_a_connection_is_cut_every_request_ends_once() {
    for seed in seeds(100) {
        let mut rng = Rng::new(seed);
        let after = rng.index(34);
        let how = *rng.pick(&[Ending::Fin, Ending::Reset]);
        let link = Link { cut_to_host: Some(Cut { after, how }), ..Link::random(&mut rng) };
        let script = Script::new().until_read(36).send([reply(1), reply(2), reply(3)].concat());
        let mut world = World::new(seed);
        let id = world.connect(Asker::asking(3, Duration::ZERO, 0), link, script);
        world.run_until_over();
        let end = &world.connection(id).end;
        let answered = end.done.iter().filter(|(_, outcome, _)| *outcome == Outcome::Reply).count();
        assert_eq!((end.done.len(), end.closed.is_some()), (3, true), "{SEED_VARIABLE}={seed}");
        assert!(answered <= after / 11, "{SEED_VARIABLE}={seed}: {:?}", end.done);
        if how == Ending::Fin {
            assert_eq!(answered, (after / 11).min(3), "{SEED_VARIABLE}={seed}");
            let reason = if after.is_multiple_of(11) { Reason::PeerClosed } else { Reason::Truncated };
            assert_eq!(end.closed, Some(reason), "{SEED_VARIABLE}={seed}");
        }
    }
}
