//! Scenarios of one connection, each small enough to read. The laws, the fuzz body and the simulated world are elsewhere.

use super::*;
use crate::machine::{Machine, Step};
use crate::modbus::pdu::{Reply, Request, Span};
use crate::time::Instant;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

const SECOND: Duration = Duration::from_secs(1);

/// A connection with its driver: what was sent, what was reported with the frame shown then, and the deadline.
struct Rig {
    connection: Connection<Vec<u8>, Vec<Transaction>>,
    now: Instant,
    wire: Vec<u8>,
    outputs: Vec<Output>,
    frames: Vec<Vec<u8>>,
    /// How many bytes the server takes; it has taken none of the others.
    appetite: usize,
}

impl Rig {
    fn new(places: usize) -> Self {
        let places = vec![Transaction::EMPTY; places];
        let connection = Connection::new(Config::DEFAULT, vec![0; MIN_BUFFER], places);
        let now = Instant::from_millis(1000);
        Self { connection, now, wire: vec![], outputs: vec![], frames: vec![], appetite: usize::MAX }
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.connection.poll_output() {
                Step::Wait(deadline) => return deadline,
                Step::Do(Output::Transmit) => self.write(),
                Step::Do(output) => {
                    self.frames.push(self.connection.frame().to_vec());
                    self.outputs.push(output);
                }
            }
        }
    }

    fn write(&mut self) {
        let shown = self.connection.transmit().concat();
        let len = shown.len().min(self.appetite);
        if len > 0 {
            self.appetite -= len;
            self.wire.extend(&shown[..len]);
            self.connection.handle_input(self.now, Input::Transmitted { len }).unwrap();
        }
    }

    /// The server takes bytes again.
    fn unblock(&mut self) {
        self.appetite = usize::MAX;
        self.write();
        let _ = self.drain();
    }

    fn input(&mut self, input: Input<'_>) {
        self.connection.handle_input(self.now, input).unwrap();
        let _ = self.drain();
    }

    fn ask(&mut self, tag: u64) {
        self.ask_for(tag, &READ, SECOND, 0);
    }

    fn ask_for(&mut self, tag: u64, pdu: &[u8], timeout: Duration, retries: u8) {
        self.input(Input::Ask { tag, unit: 1, pdu, timeout, retries });
    }

    /// Offers bytes until all are taken or the connection is closed.
    fn receive(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.connection.is_closed() {
            self.input(Input::Received { bytes: rest });
            rest = &rest[self.connection.taken()..];
        }
    }

    /// Waits for the deadline; where there is none, for ever.
    fn wait(&mut self) -> Option<Instant> {
        let deadline = self.drain();
        if let Some(deadline) = deadline {
            self.now = deadline;
            self.connection.handle_timeout(deadline);
            let _ = self.drain();
        }
        deadline
    }

    fn done(&self) -> Vec<(u64, Outcome)> {
        let done = |output: &Output| match output {
            Output::Done(done) => Some((done.tag, done.outcome)),
            Output::Transmit | Output::Discarded { .. } | Output::Close { .. } => None,
        };
        self.outputs.iter().filter_map(done).collect()
    }
}

const READ: [u8; 5] = [3, 0, 0, 0, 1];

fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    [&mbap::header(transaction, unit, pdu.len())[..], pdu].concat()
}

fn reply(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &[3, 2, 0, 42])
}

#[test]
fn a_request_leaves_under_an_id_of_its_own_and_its_reply_is_shown() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.connection.last_transaction(), 0);
    rig.ask(7);
    assert_eq!(rig.wire, frame(1, 1, &READ));
    assert_eq!(rig.connection.last_transaction(), 1);
    rig.now = Instant::from_millis(1003);
    rig.receive(&reply(1));
    let done = Done { tag: 7, unit: 1, function: 3, transaction: 1, retried: 0, outcome: Outcome::Reply, micros: 3000 };
    assert_eq!(rig.outputs, [Output::Done(done)]);
    let Some(Reply::Registers(words)) = rig.connection.reply() else { panic!("no reply") };
    assert!(words.iter().eq([42]));
    rig.ask(8);
    assert_eq!(rig.connection.reply(), None, "until the next input");
    assert_eq!(rig.wire[12..], frame(2, 1, &READ));
}

#[test]
fn replies_in_any_order_find_their_requests() {
    let mut rig = Rig::new(4);
    (0..4).for_each(|tag| rig.ask(tag));
    assert_eq!(rig.connection.outstanding(), 4);
    rig.receive(&[reply(3), reply(1), reply(4), reply(2)].concat());
    assert_eq!(rig.done(), [2, 0, 3, 1].map(|tag| (tag, Outcome::Reply)));
    assert_eq!(rig.connection.outstanding(), 0);
}

#[test]
fn a_segment_of_many_replies_is_taken_one_by_one() {
    let mut rig = Rig::new(2);
    rig.ask(0);
    rig.ask(1);
    let bytes = [reply(1), reply(2)].concat();
    rig.connection.handle_input(rig.now, Input::Received { bytes: &bytes }).unwrap();
    assert_eq!(rig.connection.taken(), 11);
    rig.connection.handle_input(rig.now, Input::Received { bytes: &bytes[11..] }).unwrap();
    assert_eq!(rig.connection.taken(), 0, "nothing before the outputs are drained");
    assert!(rig.connection.reply().is_some());
}

#[test]
fn nothing_is_taken_before_a_frame_that_was_thrown_away_is_spoken_of() {
    let mut rig = Rig::new(1);
    rig.connection.handle_input(rig.now, Input::Received { bytes: &reply(7) }).unwrap();
    rig.connection.handle_input(rig.now, Input::Received { bytes: &reply(8) }).unwrap();
    assert_eq!(rig.connection.taken(), 0);
    assert_eq!(rig.connection.frame(), reply(7));
    let _ = rig.drain();
    assert_eq!(rig.outputs, [Output::Discarded { reason: Discard::Unsolicited, transaction: 7 }]);
}

#[test]
fn no_more_than_the_limit_is_outstanding() {
    let mut rig = Rig::new(2);
    rig.ask(0);
    rig.ask(1);
    let third = Input::Ask { tag: 2, unit: 1, pdu: &READ, timeout: SECOND, retries: 0 };
    assert_eq!(rig.connection.handle_input(rig.now, third), Err(Error::Full { limit: 2 }));
    rig.receive(&reply(2));
    rig.input(third);
    assert_eq!(rig.wire.len(), 36);
    let config = Config { max_outstanding: 1, ..Config::DEFAULT };
    let mut one = Connection::new(config, [0; MIN_BUFFER], [Transaction::EMPTY; 9]);
    one.handle_input(rig.now, third).unwrap();
    assert_eq!(one.handle_input(rig.now, third), Err(Error::Full { limit: 1 }));
}

#[test]
fn ids_of_requests_that_wait_are_passed_over_when_they_come_round() {
    let mut rig = Rig::new(3);
    rig.ask_for(999, &READ, Duration::ZERO, 0);
    for tag in 0..70_000_u64 {
        rig.ask_for(tag, &READ, SECOND, 0);
        let id = rig.wire[..].last_chunk::<12>().map(|frame| u16::from_be_bytes([frame[0], frame[1]])).unwrap();
        assert_ne!(id, 1, "it is outstanding");
        rig.receive(&reply(id));
        rig.wire.clear();
    }
    assert_eq!(rig.done().len(), 70_000);
    rig.receive(&reply(1));
    assert_eq!(rig.done().last(), Some(&(999, Outcome::Reply)));
}

#[test]
fn silence_ends_at_the_timeout_and_the_late_reply_is_dropped_and_counted() {
    let mut rig = Rig::new(2);
    rig.ask(5);
    assert_eq!(rig.wait(), Some(Instant::from_millis(2000)));
    assert_eq!(rig.done(), [(5, Outcome::Timeout)]);
    rig.receive(&reply(1));
    assert_eq!(rig.outputs.last(), Some(&Output::Discarded { reason: Discard::Late, transaction: 1 }));
    assert_eq!(rig.frames.last(), Some(&reply(1)));
    rig.ask(6);
    rig.receive(&[reply(2), reply(2)].concat());
    assert_eq!(rig.done().last(), Some(&(6, Outcome::Reply)), "a request after it is answered by its own reply");
    assert_eq!(rig.connection.counters(), Counters { late: 2, unsolicited: 0, protocol_id: 0 });
}

#[test]
fn each_request_has_a_timeout_of_its_own() {
    let mut rig = Rig::new(3);
    rig.ask_for(0, &READ, 3 * SECOND, 0);
    rig.ask_for(1, &READ, SECOND, 0);
    rig.ask_for(2, &READ, Duration::ZERO, 0);
    assert_eq!(rig.wait(), Some(Instant::from_millis(2000)));
    assert_eq!(rig.wait(), Some(Instant::from_millis(4000)));
    assert_eq!(rig.done(), [(1, Outcome::Timeout), (0, Outcome::Timeout)]);
    assert_eq!(rig.wait(), None, "zero is for ever");
}

#[test]
fn a_retry_sends_the_same_frame_and_either_reply_answers_it() {
    let mut rig = Rig::new(1);
    rig.ask_for(0, &READ, SECOND, 2);
    rig.wait();
    assert_eq!(rig.wire, [frame(1, 1, &READ), frame(1, 1, &READ)].concat());
    assert_eq!(rig.outputs, []);
    rig.receive(&[reply(1), reply(1)].concat());
    assert_eq!(rig.done(), [(0, Outcome::Reply)]);
    let Some(Output::Done(done)) = rig.outputs.first().copied() else { panic!("not done") };
    assert_eq!((done.retried, done.micros), (1, 1_000_000));
    assert_eq!(rig.connection.counters().late, 1);

    rig.ask_for(1, &READ, SECOND, 2);
    assert_eq!((rig.wait(), rig.wait(), rig.wait()), {
        let at = |seconds: u64| Some(Instant::from_millis(1000 * seconds));
        (at(3), at(4), at(5))
    });
    assert_eq!(rig.done().last(), Some(&(1, Outcome::Timeout)));
    assert_eq!(rig.wire.len(), 5 * 12);
}

#[test]
fn an_exception_ends_its_request_alone() {
    let mut rig = Rig::new(2);
    rig.ask(0);
    rig.ask(1);
    rig.receive(&[frame(1, 1, &[0x83, 2]), reply(2)].concat());
    assert_eq!(rig.done(), [(0, Outcome::Exception(Exception::ILLEGAL_DATA_ADDRESS)), (1, Outcome::Reply)]);
}

#[test]
fn what_is_no_reply_to_its_request_is_broken_and_shown_and_the_connection_goes_on() {
    let cases: [(&[u8], u8, Breach); 6] = [
        (&[3, 2, 0, 42], 2, Breach::WrongUnit { asked: 1, got: 2 }),
        (&[4, 2, 0, 42], 1, Breach::WrongFunction { asked: 3, got: 4 }),
        (&[0x84, 2], 1, Breach::WrongFunction { asked: 3, got: 0x84 }),
        (&[3, 4, 0, 42, 0, 43], 1, Breach::Malformed),
        (&[0x83, 0], 1, Breach::Malformed),
        (&[3], 1, Breach::Malformed),
    ];
    for (pdu, unit, breach) in cases {
        let mut rig = Rig::new(2);
        rig.ask(0);
        rig.ask(1);
        rig.receive(&frame(1, unit, pdu));
        assert_eq!(rig.done(), [(0, Outcome::Broken(breach))]);
        assert_eq!(rig.frames, [frame(1, unit, pdu)]);
        assert_eq!(rig.connection.reply(), None);
        rig.receive(&reply(2));
        assert_eq!(rig.done()[1..], [(1, Outcome::Reply)]);
    }
}

#[test]
fn a_function_that_is_not_public_is_judged_by_its_code_alone() {
    let mut rig = Rig::new(1);
    for (tag, answer, outcome) in [
        (0, &[65, 9, 9][..], Outcome::Reply),
        (1, &[0xC1, 1], Outcome::Exception(Exception::ILLEGAL_FUNCTION)),
        (2, &[0xC1, 0], Outcome::Broken(Breach::Malformed)),
        (3, &[0xC1, 1, 1], Outcome::Broken(Breach::WrongFunction { asked: 65, got: 0xC1 })),
        (4, &[66], Outcome::Broken(Breach::WrongFunction { asked: 65, got: 66 })),
        (5, &[65, 9], Outcome::Reply),
        (6, &[66, 9], Outcome::Broken(Breach::WrongFunction { asked: 65, got: 66 })),
    ] {
        rig.ask_for(tag, &[65, 1], SECOND, 0);
        rig.receive(&frame(u16::try_from(tag).unwrap() + 1, 1, answer));
        assert_eq!(rig.done().last(), Some(&(tag, outcome)));
        assert_eq!(rig.connection.reply(), None);
        assert_eq!(&rig.connection.frame()[7..], answer);
    }
}

#[test]
fn the_exception_that_refuses_a_code_above_127_is_one() {
    let mut rig = Rig::new(1);
    rig.ask_for(0, &[0x83, 1], SECOND, 0);
    rig.receive(&frame(1, 1, &[0x83, 1]));
    assert_eq!(rig.done(), [(0, Outcome::Exception(Exception::ILLEGAL_FUNCTION))]);
    rig.ask_for(1, &[0x83, 1], SECOND, 0);
    rig.receive(&frame(2, 1, &[3, 1]));
    assert_eq!(rig.done()[1..], [(1, Outcome::Broken(Breach::WrongFunction { asked: 0x83, got: 3 }))]);
}

#[test]
fn frames_that_nothing_asked_for_are_dropped_and_counted_and_nothing_grows() {
    let mut rig = Rig::new(1);
    rig.ask(0);
    for transaction in [0, 2, 3, 0x8000, 0xFFFF] {
        rig.receive(&reply(transaction));
        assert_eq!(rig.outputs.last(), Some(&Output::Discarded { reason: Discard::Unsolicited, transaction }));
    }
    let mut foreign = reply(1);
    foreign[3] = 9;
    rig.receive(&foreign);
    let reason = Discard::ProtocolId { protocol: 9 };
    assert_eq!(rig.outputs.last(), Some(&Output::Discarded { reason, transaction: 1 }));
    assert_eq!(rig.connection.counters(), Counters { late: 0, unsolicited: 5, protocol_id: 1 });
    rig.receive(&reply(1));
    assert_eq!(rig.done(), [(0, Outcome::Reply)]);
}

#[test]
fn a_reply_before_its_request_has_left_is_nobodys() {
    let mut rig = Rig::new(1);
    rig.appetite = 11;
    rig.ask(0);
    rig.receive(&reply(1));
    assert_eq!(rig.outputs, [Output::Discarded { reason: Discard::Unsolicited, transaction: 1 }]);
    rig.unblock();
    rig.receive(&reply(1));
    assert_eq!(rig.done(), [(0, Outcome::Reply)]);
}

#[test]
fn a_length_that_cannot_be_ends_every_request_at_once_and_shows_what_came() {
    for length in [0_u16, 1, 255, 65_535] {
        let mut rig = Rig::new(2);
        rig.ask(0);
        rig.ask(1);
        let [high, low] = length.to_be_bytes();
        let bytes = [0, 1, 0, 0, high, low, 7, 8, 9];
        for byte in &bytes[..5] {
            rig.receive(&[*byte]);
        }
        assert_eq!(rig.outputs, []);
        rig.receive(&bytes[5..]);
        let error = mbap::decode(&bytes).unwrap_err();
        let lost = Outcome::Lost(Reason::BadFrame(error));
        assert_eq!(rig.done(), [(0, lost), (1, lost)]);
        assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::BadFrame(error) }));
        assert_eq!(rig.frames[0], bytes);
        assert_eq!(rig.connection.handle_input(rig.now, Input::PeerClosed), Err(Error::Closed));
    }
}

#[test]
fn a_reply_byte_by_byte_is_put_together_and_a_frame_never_finished_ends_the_connection() {
    let mut rig = Rig::new(2);
    rig.ask_for(0, &READ, Duration::ZERO, 0);
    for byte in reply(1) {
        rig.now = rig.now.saturating_add(SECOND / 2);
        rig.receive(&[byte]);
    }
    assert_eq!(rig.done(), [(0, Outcome::Reply)]);
    rig.ask_for(1, &READ, Duration::ZERO, 0);
    let began = rig.now;
    for byte in &reply(2)[..9] {
        rig.receive(&[*byte]);
        rig.now = rig.now.saturating_add(SECOND);
    }
    assert_eq!(rig.wait(), Some(began.saturating_add(10 * SECOND)));
    assert_eq!(rig.done()[1..], [(1, Outcome::Lost(Reason::FrameTimeout))]);
    assert_eq!(rig.frames[1], reply(2)[..9]);
}

#[test]
fn the_end_of_the_connection_ends_every_request() {
    let cases: [(&[u8], Input<'_>, Reason); 4] = [
        (&[], Input::PeerClosed, Reason::PeerClosed),
        (&[0, 1, 0], Input::PeerClosed, Reason::Truncated),
        (&[0, 1, 0], Input::PeerReset, Reason::PeerReset),
        (&[], Input::Abort, Reason::Aborted),
    ];
    for (bytes, input, reason) in cases {
        let mut rig = Rig::new(3);
        (0..3).for_each(|tag| rig.ask(tag));
        rig.receive(bytes);
        rig.input(input);
        assert_eq!(rig.done(), [0, 1, 2].map(|tag| (tag, Outcome::Lost(reason))));
        assert_eq!(rig.outputs.last(), Some(&Output::Close { reason }));
        assert_eq!(rig.wait(), None);
    }
}

#[test]
fn a_drain_waits_for_what_is_outstanding_and_takes_nothing_new() {
    let mut rig = Rig::new(2);
    rig.ask(0);
    rig.input(Input::Drain);
    let more = Input::Ask { tag: 1, unit: 1, pdu: &READ, timeout: SECOND, retries: 0 };
    assert_eq!(rig.connection.handle_input(rig.now, more), Err(Error::Draining));
    rig.receive(&reply(1));
    assert_eq!(rig.done(), [(0, Outcome::Reply)]);
    assert!(rig.connection.reply().is_some(), "the last reply can be read");
    assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::Finished }));
    let mut idle = Rig::new(1);
    idle.input(Input::Drain);
    assert_eq!(idle.outputs, [Output::Close { reason: Reason::Finished }]);
}

#[test]
fn a_request_that_times_out_unsent_is_never_sent() {
    let mut rig = Rig::new(4);
    rig.appetite = 5;
    rig.ask_for(0, &READ, SECOND, 0);
    rig.ask_for(1, &[6, 0, 0, 0, 1], SECOND, 0);
    rig.ask_for(2, &[6, 0, 0, 0, 2], 2 * SECOND, 1);
    rig.wait();
    assert_eq!(rig.done(), [(0, Outcome::Timeout), (1, Outcome::Timeout)]);
    rig.wait();
    assert_eq!(rig.done().len(), 2, "the retry of what has not left is more patience");
    rig.unblock();
    assert_eq!(rig.wire, [frame(1, 1, &READ), frame(3, 1, &[6, 0, 0, 0, 2])].concat(), "what has begun is finished");
    rig.receive(&frame(3, 1, &[6, 0, 0, 0, 2]));
    assert_eq!(rig.done()[2..], [(2, Outcome::Reply)]);
}

#[test]
fn an_emptied_line_is_asked_for_again() {
    let mut rig = Rig::new(1);
    rig.appetite = 0;
    rig.ask(0);
    rig.wait();
    assert_eq!(rig.connection.transmit().concat(), []);
    rig.appetite = usize::MAX;
    rig.ask(1);
    assert_eq!(rig.wire, frame(2, 1, &READ));
}

#[test]
fn the_second_copy_of_a_request_that_is_answered_meanwhile_does_not_leave() {
    let mut rig = Rig::new(1);
    rig.ask_for(0, &READ, SECOND, 1);
    rig.appetite = 0;
    rig.wait();
    assert_eq!(rig.connection.transmit().concat(), frame(1, 1, &READ));
    rig.receive(&reply(1));
    assert_eq!(rig.done(), [(0, Outcome::Reply)]);
    assert_eq!(rig.connection.transmit().concat(), []);
}

#[test]
fn a_request_that_waits_to_leave_needs_no_second_copy() {
    let mut rig = Rig::new(1);
    rig.appetite = 0;
    rig.ask_for(0, &READ, SECOND, 1);
    rig.wait();
    rig.unblock();
    assert_eq!(rig.wire, frame(1, 1, &READ));
    rig.receive(&reply(1));
    let Some(Output::Done(done)) = rig.outputs.first().copied() else { panic!("not done") };
    assert_eq!((done.retried, done.outcome), (1, Outcome::Reply));
}

#[test]
fn the_room_of_what_has_left_is_used_again() {
    // Room for nine frames of 27 bytes and 17 bytes more, and 20 bytes have left.
    let mut rig = Rig::new(16);
    rig.appetite = 0;
    let pdu = [65; 20];
    (0..9).for_each(|tag| rig.ask_for(tag, &pdu, SECOND, 0));
    rig.appetite = 20;
    rig.write();
    rig.ask_for(9, &pdu, SECOND, 0);
    let more = Input::Ask { tag: 10, unit: 1, pdu: &pdu, timeout: SECOND, retries: 0 };
    assert_eq!(rig.connection.handle_input(rig.now, more), Err(Error::NoRoom { needed: 27 }));
    rig.unblock();
    let all: Vec<u8> = (1..=10).flat_map(|transaction| frame(transaction, 1, &pdu)).collect();
    assert_eq!(rig.wire, all);
    (1..=10).for_each(|transaction| rig.receive(&frame(transaction, 1, &[65])));
    assert_eq!(rig.done().len(), 10);
}

#[test]
fn a_retry_is_to_the_same_unit_under_the_same_id() {
    let mut rig = Rig::new(2);
    rig.ask(0);
    rig.receive(&reply(1));
    rig.wire.clear();
    rig.input(Input::Ask { tag: 1, unit: 9, pdu: &READ, timeout: SECOND, retries: 1 });
    rig.wait();
    assert_eq!(rig.wire, [frame(2, 9, &READ), frame(2, 9, &READ)].concat());
}

#[test]
fn a_server_that_takes_nothing_costs_bounded_memory() {
    let mut rig = Rig::new(64);
    rig.appetite = 0;
    let pdu = [65; mbap::MAX_PDU];
    let ask = Input::Ask { tag: 0, unit: 1, pdu: &pdu, timeout: SECOND, retries: 9 };
    rig.input(ask);
    assert_eq!(rig.connection.handle_input(rig.now, ask), Err(Error::NoRoom { needed: 260 }));
    rig.unblock();
    rig.input(ask);
    assert_eq!(rig.wire.len(), 520);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut rig = Rig::new(1);
    for len in [0, 254] {
        let pdu = vec![3; len];
        let ask = Input::Ask { tag: 0, unit: 1, pdu: &pdu, timeout: SECOND, retries: 0 };
        assert_eq!(rig.connection.handle_input(rig.now, ask), Err(Error::PduLength { len }));
    }
    for len in [0, 1] {
        let refused = rig.connection.handle_input(rig.now, Input::Transmitted { len });
        assert_eq!(refused, Err(Error::Transmitted { len, shown: 0 }));
    }
    let mut bare = Connection::new(Config::DEFAULT, [0; 100], [Transaction::EMPTY; 1]);
    let refused = bare.handle_input(rig.now, Input::Received { bytes: &[0] });
    assert_eq!(refused, Err(Error::BufferShort { needed: MIN_BUFFER, got: 100 }));
    let mut none = Connection::new(Config::DEFAULT, [0; MIN_BUFFER], []);
    let ask = Input::Ask { tag: 0, unit: 1, pdu: &READ, timeout: SECOND, retries: 0 };
    assert_eq!(none.handle_input(rig.now, ask), Err(Error::Full { limit: 0 }));
}

#[test]
fn every_public_request_can_be_asked() {
    let mut rig = Rig::new(1);
    let mut pdu = [0; mbap::MAX_PDU];
    let len = Request::ReadCoils(Span { start: 5, quantity: 9 }).encode(&mut pdu).unwrap();
    rig.ask_for(0, &pdu[..len], SECOND, 0);
    rig.receive(&frame(1, 1, &[1, 2, 0xFF, 1]));
    assert_eq!(rig.connection.reply(), Some(Reply::Bits(&[0xFF, 1])));
}

#[test]
fn errors_breaches_and_ends_say_what_is_wrong() {
    let said = [
        Breach::WrongUnit { asked: 1, got: 2 }.to_string(),
        Breach::WrongFunction { asked: 3, got: 4 }.to_string(),
        Breach::Malformed.to_string(),
        Error::PduLength { len: 254 }.to_string(),
        Error::Full { limit: 16 }.to_string(),
        Error::NoRoom { needed: 12 }.to_string(),
        Error::Transmitted { len: 5, shown: 4 }.to_string(),
        Error::BufferShort { needed: 520, got: 100 }.to_string(),
        Reason::Truncated.to_string(),
        Reason::BadFrame(mbap::Error::LengthShort { length: 1 }).to_string(),
    ];
    assert_eq!(
        said,
        [
            "unit id 2 instead of 1",
            "reply of function 4 to a request of function 3",
            "reply does not fit its request",
            "request of 254 bytes is not 1..=253 bytes",
            "16 requests are outstanding already",
            "no room for a frame of 12 bytes",
            "5 bytes reported sent of 4 shown",
            "buffer of 100 bytes is below 520",
            "the connection ended inside the reply",
            "mbap length 1 is below 2",
        ]
    );
    let discards = [Discard::Late, Discard::Unsolicited, Discard::ProtocolId { protocol: 1 }];
    assert_eq!(discards.map(Discard::name), ["late", "unsolicited", "protocol_id"]);
}
