//! One connection, a service that reads registers, and a driver that writes down what leaves and when.

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about one output")]

use super::super::{Entry, Fault, FaultId, Kind, Moment, Order, Plan, Quota, Target, Then, TransactionMode};
use super::*;
use crate::modbus::service::{Answer, Discard, Indication, ReplyPdu};
use std::vec;
use std::vec::Vec;

/// Answers a read with its address as the one register; function 65 later; function 66 never.
struct Registers {
    served: usize,
    prevented: usize,
    later: Vec<RequestId>,
}

impl Service for Registers {
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        self.served += 1;
        if request.function() >= 65 {
            self.later.extend(request.id);
            return Answer::LATER;
        }
        reply[..2].copy_from_slice(&[3, 2]);
        reply[2..4].copy_from_slice(&request.pdu[1..3]);
        Answer::Reply { len: 4 }
    }

    /// There are registers up to 1000.
    fn peek(&mut self, _: u8, pdu: &[u8], reply: &mut ReplyPdu) -> Option<usize> {
        let [3, high, low, 0, quantity] = *pdu else { return None };
        let start = u16::from_be_bytes([high, low]);
        let values: Vec<u8> = (start..start + u16::from(quantity)).flat_map(u16::to_be_bytes).collect();
        reply[..2].copy_from_slice(&[3, 2 * quantity]);
        reply[2..2 + values.len()].copy_from_slice(&values);
        (start + u16::from(quantity) <= 1001).then_some(2 + values.len())
    }

    fn prevented(&mut self, _: &Indication<'_>, _: Option<Exception>) {
        self.prevented += 1;
    }
}

mod kept;
mod rest;

type Subject = Connection<Vec<u8>, Vec<Transaction>, Vec<Held>>;

/// A connection with its driver in virtual time.
struct Driver {
    machine: Subject,
    plan: Plan<Vec<Entry>>,
    service: Registers,
    now: Instant,
    deadline: Option<Instant>,
    /// What left in one go, and when.
    sent: Vec<(u64, Vec<u8>)>,
    outputs: Vec<Output>,
    /// Bytes that the peer takes at a time; none while 0.
    window: usize,
}

const MS: fn(u64) -> Duration = Duration::from_millis;

impl Driver {
    fn new(faults: Vec<Fault>) -> Self {
        let entries = (1..).zip(faults).map(|(id, fault)| Entry::new(FaultId(id), fault)).collect();
        let places = vec![Transaction::EMPTY; 16];
        let held = vec![Held::EMPTY; 17];
        let config = Config { idle_timeout: Duration::ZERO, ..Config::DEFAULT };
        Self {
            machine: Connection::new(config, vec![0; 18 * 260], places, held, Instant::ORIGIN),
            plan: Plan::new(entries, Instant::ORIGIN),
            service: Registers { served: 0, prevented: 0, later: Vec::new() },
            now: Instant::ORIGIN,
            deadline: None,
            sent: Vec::new(),
            outputs: Vec::new(),
            window: usize::MAX,
        }
    }

    /// Sends these requests in one segment: transaction id and register each.
    fn ask(&mut self, requests: &[(u16, u16)]) {
        let bytes: Vec<u8> = requests.iter().flat_map(|(id, register)| request(*id, 3, *register)).collect();
        self.offer(&bytes);
    }

    fn offer(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Self { machine, plan, service, .. } = self;
            let mut tallies = [];
            let mut acting = plan.acting(None, &mut tallies);
            let input = Input::Received { bytes: rest, service, faults: Some(&mut acting) };
            if machine.handle_input(self.now, input).is_err() {
                return;
            }
            let taken = self.machine.taken();
            rest = &rest[taken..];
            self.drain();
            if taken == 0 {
                return;
            }
        }
        self.send();
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), Error> {
        self.machine.handle_input(self.now, input)?;
        self.drain();
        self.send();
        Ok(())
    }

    fn drain(&mut self) {
        for _ in 0..1000 {
            match self.machine.poll_output() {
                Step::Do(output) => self.outputs.push(output),
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
        panic!("the drain does not end");
    }

    fn send(&mut self) {
        loop {
            let shown = self.machine.transmit().concat();
            let len = shown.len().min(self.window);
            if len == 0 {
                return;
            }
            self.sent.push((self.now.as_micros() / 1000, shown[..len].to_vec()));
            self.machine.handle_input(self.now, Input::Transmitted { len }).unwrap();
            self.drain();
        }
    }

    /// Lets time pass, deadline by deadline.
    fn run(&mut self, span: Duration) {
        let end = self.now.saturating_add(span);
        while let Some(due) = self.deadline.filter(|due| *due <= end) {
            self.now = due;
            self.machine.handle_timeout(due);
            self.drain();
            self.send();
            assert!(self.deadline.is_none_or(|deadline| deadline > due), "{:?} again", self.deadline);
        }
        self.now = end;
    }

    fn closed(&self) -> Option<(Reason, bool)> {
        self.outputs.iter().find_map(|output| match output {
            Output::Close { reason, reset } => Some((*reason, *reset)),
            _ => None,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        self.sent.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Transaction ids of the frames that left, in order.
    fn ids(&self) -> Vec<u16> {
        let bytes = self.bytes();
        let mut rest = &bytes[..];
        let mut ids = Vec::new();
        while let [a, b, _, _, _, length, ..] = rest {
            ids.push(u16::from_be_bytes([*a, *b]));
            rest = &rest[usize::from(*length) + 6..];
        }
        assert!(rest.is_empty(), "the last frame is whole");
        ids
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |output: &Output| match output {
            Output::Processed(request) => Some(request.outcome),
            _ => None,
        };
        self.outputs.iter().filter_map(outcome).collect()
    }
}

fn request(id: u16, function: u8, register: u16) -> Vec<u8> {
    let [a, b] = id.to_be_bytes();
    let [c, d] = register.to_be_bytes();
    vec![a, b, 0, 0, 0, 6, 1, function, c, d, 0, 1]
}

fn reply(id: u16, register: u16) -> Vec<u8> {
    let [a, b] = id.to_be_bytes();
    let [c, d] = register.to_be_bytes();
    vec![a, b, 0, 0, 0, 5, 1, 3, 2, c, d]
}

/// A fault on reads of the registers 100 and above.
fn aimed(kind: Kind) -> Fault {
    let addresses = super::super::Addresses { first: 100, last: 65535, relation: super::super::Relation::Overlap };
    Fault { target: Target { addresses: Some(addresses), ..Target::ANY }, ..Fault::new(kind) }
}

fn delayed(delay: u64) -> Fault {
    aimed(Kind::Delay { delay: MS(delay), jitter: Duration::ZERO })
}

#[test]
fn without_faults_all_is_as_it_is() {
    let mut driver = Driver::new(vec![]);
    driver.ask(&[(1, 0), (2, 100)]);
    assert_eq!(driver.sent, [(0, [reply(1, 0), reply(2, 100)].concat())]);
    assert!(driver.machine.is_vacant());
}

#[test]
fn later_replies_wait_behind_a_delayed_one_and_earlier_ones_do_not() {
    let mut driver = Driver::new(vec![delayed(800)]);
    driver.ask(&[(1, 0), (2, 100), (3, 0)]);
    assert_eq!(driver.ids(), [1]);
    driver.run(MS(799));
    assert_eq!(driver.ids(), [1]);
    driver.run(MS(1));
    assert_eq!(driver.ids(), [1, 2, 3]);
    assert!(driver.machine.is_vacant());
    assert_eq!(driver.outcomes(), [Outcome::Ok; 3]);
}

#[test]
fn a_delayed_reply_keeps_its_transaction_and_is_no_deferred_request() {
    let mut driver = Driver::new(vec![delayed(20_000)]);
    let requests: Vec<_> = (1..=17).map(|id| (id, 100)).collect();
    driver.ask(&requests);
    assert_eq!(driver.bytes(), [0, 17, 0, 0, 0, 3, 1, 0x83, 6]);
    driver.run(MS(20_000));
    assert_eq!(driver.ids().len(), 17, "no request timeout runs while a reply is delayed");
    let deferred = |output: &Output| matches!(output, Output::Processed(request) if request.deferred);
    assert!(!driver.outputs.iter().any(deferred));
}

#[test]
fn delays_of_several_faults_add() {
    let mut driver = Driver::new(vec![delayed(300), delayed(200)]);
    driver.ask(&[(1, 100)]);
    driver.run(MS(499));
    assert_eq!(driver.sent, []);
    driver.run(MS(1));
    assert_eq!(driver.sent, [(500, reply(1, 100))]);
}

#[test]
fn an_exception_takes_the_place_of_the_reply() {
    let code = Exception::SERVER_DEVICE_BUSY;
    for execute in [true, false] {
        let mut driver = Driver::new(vec![aimed(Kind::Exception { code, execute })]);
        driver.ask(&[(1, 100)]);
        assert_eq!(driver.bytes(), [0, 1, 0, 0, 0, 3, 1, 0x83, 6]);
        assert_eq!((driver.service.served, driver.service.prevented), if execute { (1, 0) } else { (0, 1) });
        assert_eq!(driver.outcomes(), [Outcome::Exception(code)]);
    }
}

#[test]
fn an_exception_in_place_of_a_reply_marks_any_function_code() {
    let mut driver = Driver::new(vec![Fault::new(Kind::Exception { code: Exception::ACKNOWLEDGE, execute: false })]);
    driver.offer(&request(1, 0x83, 0));
    assert_eq!(driver.bytes(), [0, 1, 0, 0, 0, 3, 1, 0x83, 5]);
}

#[test]
fn no_response_leaves_a_gap_and_beats_what_would_be_done_to_the_reply() {
    let mut driver = Driver::new(vec![delayed(1000), aimed(Kind::NoResponse { execute: true })]);
    driver.ask(&[(1, 0), (2, 100), (3, 0)]);
    assert_eq!(driver.ids(), [1, 3]);
    assert_eq!(driver.outcomes(), [Outcome::Ok, Outcome::Ok, Outcome::None]);
    let [delay, silence] = &driver.plan.entries[..] else { panic!() };
    assert_eq!((delay.statistics.applied, delay.statistics.suppressed), (0, 1));
    assert_eq!((silence.statistics.applied, silence.statistics.suppressed), (1, 0));
}

#[test]
fn a_reply_that_grows_holds_what_a_longer_read_would_have_and_zeros_where_there_is_nothing() {
    let mut count = aimed(Kind::WrongCount(super::super::Count::Exactly(2)));
    count.target.addresses = None;
    let mut driver = Driver::new(vec![count]);
    driver.ask(&[(1, 7)]);
    assert_eq!(driver.bytes(), [0, 1, 0, 0, 0, 7, 1, 3, 4, 0, 7, 0, 8]);
    driver.sent.clear();
    driver.ask(&[(2, 1000)]);
    assert_eq!(driver.bytes(), [0, 2, 0, 0, 0, 7, 1, 3, 4, 3, 232, 0, 0]);
    assert_eq!(driver.service.served, 2);
}

#[test]
fn a_wrong_transaction_id_is_the_only_thing_wrong() {
    let mut driver = Driver::new(vec![aimed(Kind::WrongTransaction(TransactionMode::Increment))]);
    driver.ask(&[(1, 100)]);
    assert_eq!(driver.bytes(), reply(2, 100));
    assert_eq!(driver.plan.entries[0].statistics.bytes, 1);
}

#[test]
fn a_duplicate_follows_its_gap_and_holds_up_what_is_behind_it() {
    let mut driver = Driver::new(vec![aimed(Kind::Duplicate { copies: 2, gap: MS(30) })]);
    driver.ask(&[(1, 100), (2, 0)]);
    driver.run(MS(100));
    let expected = [(0, reply(1, 100)), (30, reply(1, 100)), (60, reply(1, 100)), (60, reply(2, 0))];
    assert_eq!(driver.sent, expected);
}

#[test]
fn pieces_are_cut_at_the_points_of_all_faults_and_each_waits_for_the_longest_gap() {
    let split = aimed(Kind::Split { at: [7, 3, 0, 0, 0, 0, 0, 0], gap: MS(20) });
    let mut driver = Driver::new(vec![split, aimed(Kind::Dribble { chunk: 5, gap: MS(5) })]);
    driver.ask(&[(1, 100)]);
    driver.run(MS(1000));
    let sizes: Vec<_> = driver.sent.iter().map(|(at, bytes)| (*at, bytes.len())).collect();
    assert_eq!(sizes, [(20, 3), (40, 2), (60, 2), (80, 3), (100, 1)]);
    assert_eq!(driver.bytes(), reply(1, 100));
}

#[test]
fn a_reply_is_overtaken_by_as_many_as_it_is_behind() {
    let mut driver = Driver::new(vec![aimed(Kind::Reorder { behind: 2, wait: MS(50) })]);
    driver.ask(&[(1, 0), (2, 100), (3, 0), (4, 0), (5, 0)]);
    assert_eq!(driver.ids(), [1, 3, 4, 2, 5]);
    assert!(driver.machine.is_vacant());
}

#[test]
fn a_reply_that_nobody_overtakes_waits_no_longer_than_it_may() {
    let mut driver = Driver::new(vec![aimed(Kind::Reorder { behind: 2, wait: MS(50) })]);
    driver.ask(&[(1, 100), (2, 0)]);
    assert_eq!(driver.ids(), [2]);
    driver.run(MS(50));
    assert_eq!(driver.ids(), [2, 1]);
    assert_eq!(driver.sent[1].0, 50);
}

#[test]
fn a_reply_overtaken_by_one_that_faults_act_on_counts_it_too() {
    let mut late = delayed(10);
    late.target.addresses = Some(super::super::Addresses { first: 50, last: 50, relation: Default::default() });
    let mut driver = Driver::new(vec![aimed(Kind::Reorder { behind: 1, wait: MS(500) }), late]);
    driver.ask(&[(1, 100), (2, 50), (3, 0)]);
    driver.run(MS(10));
    assert_eq!(driver.ids(), [2, 1, 3]);
}

#[test]
fn frames_that_nobody_asked_for_stand_before_and_after_the_reply() {
    let unsolicited = |when| aimed(Kind::Unsolicited { when, transaction: 0xFFFF });
    let mut junk = unsolicited(Moment::Before);
    junk.payload.extend_from_slice(&[1, 2, 3]).unwrap();
    let mut driver = Driver::new(vec![unsolicited(Moment::After), junk]);
    driver.ask(&[(1, 100)]);
    assert_eq!(driver.bytes(), [vec![1, 2, 3], reply(1, 100), reply(0xFFFF, 100)].concat());
}

#[test]
fn a_frame_for_a_quiet_time_waits_until_the_connection_has_been_quiet() {
    let idle = Kind::Unsolicited { when: Moment::Idle(MS(100)), transaction: 7 };
    let mut driver = Driver::new(vec![aimed(idle)]);
    driver.ask(&[(1, 100)]);
    driver.run(MS(60));
    driver.ask(&[(2, 0)]);
    driver.run(MS(99));
    assert_eq!(driver.ids(), [1, 2]);
    driver.run(MS(1000));
    assert_eq!(driver.ids(), [1, 2, 7]);
    assert_eq!(driver.sent[2].0, 160);
    assert!(driver.machine.is_vacant());
}

#[test]
fn a_connection_closes_after_its_reply_is_wholly_sent() {
    for (how, reset) in [(How::Fin, false), (How::Rst, true)] {
        let close = Kind::Close { how, when: Order::After, delay: MS(40) };
        let mut driver = Driver::new(vec![aimed(close)]);
        driver.window = 4;
        driver.ask(&[(1, 100), (2, 0)]);
        assert_eq!(driver.bytes(), reply(1, 100), "nothing follows it");
        assert_eq!(driver.closed(), None);
        driver.run(MS(40));
        if how == How::Fin {
            assert!(driver.outputs.contains(&Output::CloseWrite));
            driver.input(Input::PeerClosed).unwrap();
        }
        assert_eq!(driver.closed(), Some((Reason::Fault, reset)));
    }
}

#[test]
fn a_connection_that_closes_before_the_reply_sends_those_before_it() {
    let close = Kind::Close { how: How::Rst, when: Order::Before, delay: Duration::ZERO };
    let mut driver = Driver::new(vec![aimed(close)]);
    driver.ask(&[(1, 0), (2, 100)]);
    assert_eq!(driver.ids(), [1]);
    assert_eq!(driver.closed(), Some((Reason::Fault, true)));
    assert_eq!(driver.outcomes(), [Outcome::Ok, Outcome::None]);
}

#[test]
fn every_third_request_ends_the_connection() {
    let mut close = Fault::new(Kind::Close { how: How::Rst, when: Order::After, delay: Duration::ZERO });
    close.quota = Quota { skip: 2, ..Quota::EVERY };
    let mut driver = Driver::new(vec![close]);
    driver.ask(&[(1, 0), (2, 0), (3, 0), (4, 0)]);
    assert_eq!(driver.ids(), [1, 2, 3]);
    assert_eq!(driver.closed(), Some((Reason::Fault, true)));
}

#[test]
fn a_cut_frame_never_is_a_whole_one() {
    for bytes in [4, 10, 11, 1000] {
        let mut driver = Driver::new(vec![aimed(Kind::CutFrame { bytes, how: How::Rst, delay: MS(50) })]);
        driver.ask(&[(1, 0), (2, 100), (3, 0)]);
        let cut = usize::from(bytes).min(10);
        assert_eq!(driver.bytes(), [&reply(1, 0)[..], &reply(2, 100)[..cut]].concat());
        driver.run(MS(49));
        assert_eq!(driver.closed(), None);
        driver.run(MS(1));
        assert_eq!(driver.closed(), Some((Reason::Fault, true)));
    }
}

#[test]
fn a_half_closed_connection_reads_on_and_answers_nothing() {
    let mut driver = Driver::new(vec![aimed(Kind::HalfClose { span: MS(5000) })]);
    driver.ask(&[(1, 100)]);
    assert!(driver.outputs.contains(&Output::CloseWrite));
    driver.ask(&[(2, 0)]);
    assert_eq!(driver.ids(), [1]);
    assert!(driver.outputs.contains(&Output::Discarded(Discard::Held)));
    driver.run(MS(4999));
    assert_eq!(driver.closed(), None);
    driver.run(MS(1));
    assert_eq!(driver.closed(), Some((Reason::Fault, false)));
}

#[test]
fn a_connection_that_stops_reading_takes_nothing_and_goes_on_where_it_was() {
    let stop = Kind::StopReading { span: MS(30_000), then: Then::Resume };
    let mut driver = Driver::new(vec![aimed(stop)]);
    driver.ask(&[(1, 100)]);
    assert_eq!(driver.outputs.last(), Some(&Output::Pause));
    driver.ask(&[(2, 0)]);
    assert_eq!(driver.machine.taken(), 0);
    driver.run(MS(30_000));
    assert_eq!(driver.outputs.last(), Some(&Output::Resume));
    driver.ask(&[(2, 0)]);
    assert_eq!(driver.ids(), [1, 2]);
}

#[test]
fn a_connection_that_is_held_answers_nothing_until_it_is_let_go() {
    for (then, closed) in [(Then::Resume, None), (Then::Reset, Some((Reason::Fault, true)))] {
        let mut driver = Driver::new(vec![aimed(Kind::HoldOpen { span: MS(30_000), then })]);
        driver.ask(&[(1, 100)]);
        let broken = [request(2, 3, 0), request(3, 3, 0)].concat();
        let (front, back) = broken.split_at(15);
        driver.offer(front);
        driver.run(MS(29_999));
        assert_eq!((driver.ids(), driver.closed()), (vec![1], None), "not even an unfinished frame ends it");
        driver.run(MS(1));
        assert_eq!(driver.closed(), closed);
        if then == Then::Resume {
            driver.offer(back);
            assert_eq!(driver.ids(), [1, 3], "frames are still told apart");
        }
    }
}

#[test]
fn garbage_does_not_end_a_connection_that_is_held() {
    let mut driver = Driver::new(vec![aimed(Kind::HoldOpen { span: MS(1000), then: Then::Close })]);
    driver.ask(&[(1, 100)]);
    driver.offer(b"GET / HTTP/1.1\r\n\r\n");
    assert!(!driver.outputs.contains(&Output::CloseWrite));
    driver.run(MS(1000));
    assert!(driver.outputs.contains(&Output::CloseWrite));
}

#[test]
fn a_drain_cuts_every_wait_short_and_its_replies_leave() {
    let hold = Kind::HoldOpen { span: Duration::ZERO, then: Then::Close };
    let dribble = Kind::Dribble { chunk: 1, gap: MS(1000) };
    for kind in [hold, dribble, Kind::Reorder { behind: 9, wait: MS(9000) }, delayed(60_000).kind] {
        let mut driver = Driver::new(vec![aimed(kind)]);
        driver.ask(&[(1, 100)]);
        driver.input(Input::Drain).unwrap();
        assert_eq!(driver.bytes(), reply(1, 100), "{kind:?}");
        assert!(driver.outputs.contains(&Output::CloseWrite), "{kind:?}");
    }
}

#[test]
fn a_peer_that_takes_nothing_of_a_kept_reply_is_stuck() {
    let mut driver = Driver::new(vec![aimed(Kind::Duplicate { copies: 1, gap: MS(10) })]);
    driver.window = 0;
    driver.ask(&[(1, 100), (2, 0)]);
    driver.run(MS(9_999));
    assert_eq!(driver.closed(), None);
    driver.run(MS(1));
    assert_eq!(driver.closed(), Some((Reason::WriteStuck, true)));
}

#[test]
fn a_peer_cannot_be_stuck_with_what_is_withheld_from_it() {
    let mut driver = Driver::new(vec![aimed(Kind::Dribble { chunk: 6, gap: MS(20_000) })]);
    // The 06 for the request that finds no place may leave, but not inside of another frame.
    let requests: Vec<_> = (1..=17).map(|id| (id, 100)).collect();
    driver.ask(&requests);
    assert_eq!(driver.ids(), [17]);
    driver.run(MS(20_000));
    driver.ask(&[(18, 100)]);
    driver.run(MS(19_999));
    assert_eq!(driver.closed(), None);
    driver.run(MS(1));
    assert_eq!(driver.ids(), [17, 1, 18]);
}

#[test]
fn a_request_answered_later_gets_the_faults_that_were_chosen_for_it() {
    let mut driver = Driver::new(vec![Fault::new(Kind::WrongTransaction(TransactionMode::Fixed(9)))]);
    driver.offer(&request(1, 65, 0));
    let id = driver.service.later[0];
    let mut tallies = [];
    let mut acting = driver.plan.acting(None, &mut tallies);
    let input = Input::Replied { id, pdu: &[65, 1], faults: Some(&mut acting) };
    driver.machine.handle_input(driver.now, input).unwrap();
    driver.drain();
    driver.send();
    assert_eq!(driver.bytes(), [0, 9, 0, 0, 0, 3, 1, 65, 1]);
    let again = driver.input(Input::Replied { id, pdu: &[65, 1], faults: None });
    assert_eq!(again, Err(Error::Stale { id }));
    let Some(Output::Processed(request)) = driver.outputs.last() else { panic!("{:?}", driver.outputs) };
    assert!(request.deferred);
}

#[test]
fn a_request_that_times_out_gets_the_faults_that_were_chosen_for_it() {
    let mut driver = Driver::new(vec![Fault::new(Kind::NoResponse { execute: true })]);
    driver.offer(&request(1, 65, 0));
    driver.run(MS(5000));
    assert_eq!(driver.sent, []);
    let timed_out = |output: &Output| matches!(output, Output::Processed(request) if request.timed_out);
    assert!(driver.outputs.iter().any(timed_out));
    assert!(driver.machine.is_vacant());
}

#[test]
fn a_request_answered_later_that_no_fault_is_aimed_at_goes_the_usual_way() {
    let mut driver = Driver::new(vec![delayed(1000)]);
    driver.offer(&[request(1, 65, 0), request(2, 3, 0)].concat());
    let id = driver.service.later[0];
    driver.input(Input::Replied { id, pdu: &[65, 1], faults: None }).unwrap();
    assert_eq!(driver.ids(), [1, 2]);
    assert!(driver.machine.is_vacant());
}

#[test]
fn an_accepted_connection_is_ended_as_told() {
    let mut driver = Driver::new(vec![]);
    driver.input(Input::EndAfter { how: How::Rst, delay: MS(10) }).unwrap();
    driver.ask(&[(1, 0)]);
    driver.run(MS(10));
    assert_eq!(driver.sent, []);
    assert_eq!(driver.closed(), Some((Reason::Fault, true)));
}

#[test]
fn without_places_silence_and_exceptions_still_act_and_the_rest_is_suppressed() {
    let code = Exception::ACKNOWLEDGE;
    let exception = aimed(Kind::Exception { code, execute: true });
    let mut driver = Driver::new(vec![exception, delayed(50)]);
    driver.machine.held_mut().clear();
    driver.ask(&[(1, 100)]);
    assert_eq!(driver.bytes(), [0, 1, 0, 0, 0, 3, 1, 0x83, 5]);
    let suppressed: Vec<_> = driver.plan.entries.iter().map(|entry| entry.statistics.suppressed).collect();
    assert_eq!(suppressed, [0, 1]);
}
