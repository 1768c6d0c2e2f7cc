//! Scenarios of one connection, each small enough to read. The laws, the vectors and the simulated world are elsewhere.

use super::*;
use crate::machine::{Machine, Step};
use crate::modbus::mbap;
use crate::modbus::service::{Answer, Answerer, Indication, ReplyPdu};
use crate::rate::Rate;
use crate::time::Instant;
use core::time::Duration;
use std::vec;
use std::vec::Vec;

/// Answers function 3 at once with one byte per request, defers functions 65 and 0xC1, stays silent on 66, discards 67.
#[derive(Default)]
struct Stub {
    deferred: Vec<RequestId>,
    served: usize,
}

impl Service for Stub {
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        self.served += 1;
        match request.function() {
            65 | 0xC1 => {
                self.deferred.extend(request.id);
                Answer::Later(Answerer(7))
            }
            66 => Answer::Silent,
            67 => Answer::Discard(Discard::ListenOnly),
            code => {
                reply[0] = code;
                reply[1] = request.pdu[1];
                Answer::Reply { len: if code == 100 { MAX_FRAME - 7 } else { 2 } }
            }
        }
    }
}

/// A connection with its driver: what was sent, what was reported, and the deadline.
struct Rig {
    connection: Connection<Vec<u8>, Vec<Transaction>>,
    service: Stub,
    now: Instant,
    wire: Vec<u8>,
    outputs: Vec<Output>,
    /// Whether the peer takes bytes.
    peer_reads: bool,
}

impl Rig {
    fn new(config: Config, buffer: usize, places: usize) -> Self {
        let connection = Connection::new(config, vec![0; buffer], vec![Transaction::EMPTY; places], Instant::ORIGIN);
        let (service, now) = (Stub::default(), Instant::ORIGIN);
        Self { connection, service, now, wire: vec![], outputs: vec![], peer_reads: true }
    }

    /// Carries out outputs until there are none; the deadline.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.connection.poll_output() {
                Step::Wait(deadline) => return deadline,
                Step::Do(output) => {
                    self.outputs.push(output);
                    if output == Output::Transmit && self.peer_reads {
                        self.send(usize::MAX);
                    }
                }
            }
        }
    }

    fn send(&mut self, most: usize) {
        let bytes = self.connection.transmit().concat();
        let bytes = &bytes[..bytes.len().min(most)];
        self.wire.extend_from_slice(bytes);
        self.connection.handle_input(self.now, Input::Transmitted { len: bytes.len() }).unwrap();
    }

    fn input(&mut self, input: Input<'_>) -> Option<Instant> {
        self.connection.handle_input(self.now, input).unwrap();
        self.drain()
    }

    /// Offers bytes until the connection takes no more; how many are left.
    fn receive(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let input = Input::Received { bytes: rest, service: &mut self.service };
            self.connection.handle_input(self.now, input).unwrap();
            let taken = self.connection.taken();
            rest = &rest[taken..];
            self.drain();
            if taken == 0 {
                break;
            }
        }
        rest.len()
    }

    fn wait(&mut self) -> Option<Instant> {
        self.now = self.drain().expect("a deadline");
        self.connection.handle_timeout(self.now);
        self.drain()
    }

    fn take_wire(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.wire)
    }
}

fn request(transaction: u8, function: u8) -> [u8; 9] {
    [0, transaction, 0, 0, 0, 3, 1, function, transaction]
}

fn reply(transaction: u8, function: u8) -> [u8; 9] {
    request(transaction, function)
}

fn busy(transaction: u8, function: u8) -> [u8; 9] {
    [0, transaction, 0, 0, 0, 3, 1, function | 0x80, 6]
}

#[test]
fn any_split_of_a_stream_gives_the_same_replies() {
    let stream =
        [&request(1, 3)[..], &[9, 9, 0, 7, 0, 3, 1, 2, 3], &request(2, 3), &request(3, 66), &request(4, 3)].concat();
    for split in 1..stream.len() {
        let mut rig = Rig::new(Config::DEFAULT, 1024, 0);
        for piece in stream.chunks(split) {
            assert_eq!(rig.receive(piece), 0);
        }
        assert_eq!(rig.wire, [reply(1, 3), reply(2, 3), reply(4, 3)].concat(), "pieces of {split}");
        assert_eq!(rig.service.served, 4);
        assert!(rig.outputs.contains(&Output::Discarded(Discard::ProtocolId)));
    }
}

#[test]
fn a_driver_that_sends_unasked_is_asked_only_for_what_is_left() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 0);
    rig.peer_reads = false;
    let stream = [request(1, 3), request(2, 3)].concat();
    let Rig { connection, service, .. } = &mut rig;
    connection.handle_input(Instant::ORIGIN, Input::Received { bytes: &stream, service }).unwrap();
    assert!(rig.connection.has_output());
    rig.send(12);
    rig.drain();
    let asked = rig.outputs.iter().filter(|output| **output == Output::Transmit).count();
    assert_eq!((asked, rig.outputs.len()), (1, 3));
    rig.send(usize::MAX);
    rig.outputs.clear();
    rig.drain();
    assert_eq!(rig.outputs, []);
    assert!(!rig.connection.has_output());
    assert_eq!(rig.wire, [reply(1, 3), reply(2, 3)].concat());
}

#[test]
fn each_frame_of_a_long_segment_is_reported() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 0);
    assert_eq!(rig.receive(&[0, 1, 0, 9, 0, 3, 1, 2, 3].repeat(100)), 0);
    assert_eq!(rig.outputs, [Output::Discarded(Discard::ProtocolId)].repeat(100));
}

#[test]
fn replies_leave_in_order_of_arrival_whatever_the_order_of_answers() {
    let mut rig = Rig::new(Config::DEFAULT, 4096, 4);
    let stream = [request(1, 65), request(2, 3), request(3, 65), request(4, 65), request(5, 3)].concat();
    rig.receive(&stream);
    assert!(rig.wire.is_empty());
    let ids = rig.service.deferred.clone();
    rig.input(Input::Replied { id: ids[1], pdu: &[65, 3] });
    assert!(rig.wire.is_empty());
    rig.input(Input::Replied { id: ids[0], pdu: &[65, 1] });
    assert_eq!(rig.take_wire(), [reply(1, 65), reply(2, 3), reply(3, 65)].concat());
    let stale = rig.connection.handle_input(rig.now, Input::Replied { id: ids[0], pdu: &[65, 1] });
    assert_eq!(stale, Err(Error::Stale { id: ids[0] }));
    rig.input(Input::Failed { id: ids[2], exception: Exception::ACKNOWLEDGE });
    assert_eq!(rig.take_wire(), [[0, 4, 0, 0, 0, 3, 1, 65 | 0x80, 5], reply(5, 3)].concat());
    assert!(rig.connection.is_vacant());
}

#[test]
fn replies_to_neighbours_leave_in_order_of_arrival_in_whichever_order_they_are_made() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut rig = Rig::new(Config::DEFAULT, 4096, 4);
        rig.receive(&[request(1, 65), request(2, 65), request(3, 65)].concat());
        let ids = rig.service.deferred.clone();
        for at in order {
            rig.input(Input::Replied { id: ids[at], pdu: &[65, at as u8 + 1] });
        }
        assert_eq!(rig.wire, [reply(1, 65), reply(2, 65), reply(3, 65)].concat(), "{order:?}");
    }
}

#[test]
fn a_deferred_reply_of_the_greatest_length_finds_the_room_of_what_has_left() {
    let mut rig = Rig::new(Config::DEFAULT, MAX_FRAME + 600, 4);
    rig.peer_reads = false;
    rig.receive(&[request(1, 100), request(2, 65)].concat());
    rig.send(259);
    // Nine replies stand behind the hole, so 259 bytes are left behind them, and 259 before them.
    for transaction in 3..12 {
        assert_eq!(rig.receive(&request(transaction, 3)), 0);
    }
    let id = rig.service.deferred[0];
    rig.input(Input::Replied { id, pdu: &[65; 253] });
    rig.peer_reads = true;
    rig.send(usize::MAX);
    let small: Vec<u8> = (3..12).flat_map(|transaction| reply(transaction, 3)).collect();
    assert_eq!(rig.wire[260..], [&mbap::header(2, 1, 253)[..], &[65; 253], &small].concat());
}

#[test]
fn refusals_and_failures_mark_any_function_code() {
    let mut rig = Rig::new(Config { max_outstanding: 1, ..Config::DEFAULT }, 4096, 4);
    rig.receive(&[request(1, 0xC1), request(2, 0xC2)].concat());
    assert_eq!(rig.take_wire(), busy(2, 0xC2));
    let id = rig.service.deferred[0];
    rig.input(Input::Failed { id, exception: Exception::SERVER_DEVICE_BUSY });
    assert_eq!(rig.take_wire(), busy(1, 0xC1));
    let mut nowhere = Rig::new(Config::DEFAULT, 4096, 0);
    nowhere.receive(&request(3, 0xC1));
    assert_eq!(nowhere.take_wire(), busy(3, 0xC1), "there is no place to defer it");
}

#[test]
fn a_request_beyond_the_limit_is_busy_ahead_of_held_replies() {
    let mut rig = Rig::new(Config { max_outstanding: 2, ..Config::DEFAULT }, 4096, 16);
    rig.receive(&[request(1, 65), request(2, 65), request(3, 3), request(4, 65)].concat());
    assert_eq!(rig.take_wire(), [busy(3, 3), busy(4, 65)].concat());
    assert_eq!(rig.service.served, 2, "no unit saw the busy ones");
    for id in rig.service.deferred.clone() {
        rig.input(Input::Replied { id, pdu: &[65, 9] });
    }
    assert_eq!(rig.wire.len(), 18);
}

#[test]
fn with_overflow_wait_a_request_beyond_the_limit_stays_unread() {
    let mut rig = Rig::new(Config { max_outstanding: 1, overflow: Overflow::Wait, ..Config::DEFAULT }, 4096, 1);
    assert_eq!(rig.receive(&[request(1, 65), request(2, 3)].concat()), 9);
    assert_eq!(rig.outputs.last(), Some(&Output::Pause));
    let id = rig.service.deferred[0];
    rig.input(Input::Replied { id, pdu: &[65, 1] });
    assert_eq!(rig.outputs.last(), Some(&Output::Resume));
    assert_eq!(rig.receive(&request(2, 3)), 0);
    assert_eq!(rig.wire, [reply(1, 65), reply(2, 3)].concat());
}

#[test]
fn a_peer_that_never_reads_is_paused_and_then_reset() {
    let mut rig = Rig::new(Config::DEFAULT, MIN_BUFFER + 100, 0);
    rig.peer_reads = false;
    rig.now = Instant::from_millis(7);
    assert_eq!(rig.receive(&request(1, 100)), 0);
    assert_eq!(rig.receive(&request(2, 3)), 9, "no room for another largest reply");
    assert_eq!(rig.outputs[1..], [Output::Transmit, Output::Pause]);
    rig.send(1);
    rig.now = Instant::from_millis(5000);
    rig.send(1);
    assert_eq!(rig.wait(), None);
    assert_eq!(rig.now, Instant::from_millis(15_000), "ten seconds after the last byte taken");
    assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::WriteStuck, reset: true }));
}

#[test]
fn a_peer_is_stuck_since_output_began_to_wait_and_not_since_the_last_of_it_came() {
    let mut rig = Rig::new(Config::DEFAULT, 4096, 4);
    rig.peer_reads = false;
    for seconds in [5, 9] {
        rig.now = Instant::from_millis(1000 * seconds);
        rig.receive(&request(1, 3));
    }
    rig.wait();
    assert_eq!(rig.now, Instant::from_millis(15_000));
    assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::WriteStuck, reset: true }));

    let mut rig = Rig::new(Config::DEFAULT, 4096, 4);
    rig.peer_reads = false;
    rig.now = Instant::from_millis(4500);
    rig.receive(&[request(1, 65), request(2, 65)].concat());
    for (at, seconds) in [(0, 5), (1, 9)] {
        rig.now = Instant::from_millis(1000 * seconds);
        let id = rig.service.deferred[at];
        rig.input(Input::Replied { id, pdu: &[65, 1] });
    }
    rig.wait();
    assert_eq!(rig.now, Instant::from_millis(15_000), "deferred replies are no different");
}

#[test]
fn more_than_was_shown_or_nothing_at_all_cannot_have_left() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 0);
    rig.peer_reads = false;
    rig.receive(&request(1, 3));
    for len in [0, 10] {
        let refused = rig.connection.handle_input(rig.now, Input::Transmitted { len });
        assert_eq!(refused, Err(Error::Transmitted { len, shown: 9 }));
    }
    assert_eq!(rig.connection.transmit().concat(), reply(1, 3));
}

#[test]
fn an_end_at_once_leaves_deferred_requests_without_a_reply_and_resets_unless_another_needs_the_place() {
    for (reason, reset) in [(Reason::Evicted, false), (Reason::Kicked, true)] {
        let mut rig = Rig::new(Config::DEFAULT, 1024, 4);
        rig.receive(&[request(1, 65), request(2, 65)].concat());
        rig.input(Input::Abort { reason });
        let ended = |output: &&Output| match output {
            Output::Processed(ended) => ended.outcome == Outcome::None && ended.answerer == Answerer(7),
            Output::Transmit
            | Output::Pause
            | Output::Resume
            | Output::CloseWrite
            | Output::Close { .. }
            | Output::Discarded(_) => false,
        };
        assert_eq!(rig.outputs.iter().filter(ended).count(), 2);
        assert_eq!(rig.outputs.last(), Some(&Output::Close { reason, reset }));
    }
}

#[test]
fn a_partly_sent_queue_makes_room_again() {
    let mut rig = Rig::new(Config::DEFAULT, MIN_BUFFER + 100, 0);
    rig.peer_reads = false;
    rig.receive(&request(1, 100));
    let mut sent = 0;
    for transaction in 2..40 {
        while rig.receive(&request(transaction, 3)) > 0 {
            rig.send(50);
            sent += 50;
        }
    }
    rig.peer_reads = true;
    rig.send(usize::MAX);
    assert!(sent > 0 && rig.connection.is_vacant());
    let small: Vec<u8> = (2..40).flat_map(|transaction| reply(transaction, 3)).collect();
    assert_eq!(rig.wire[260..], small);
}

#[test]
fn without_coalescing_each_reply_is_shown_by_itself() {
    let mut rig = Rig::new(Config { coalesce: false, ..Config::DEFAULT }, 4096, 0);
    rig.peer_reads = false;
    rig.receive(&[request(1, 3), request(2, 3)].concat());
    assert_eq!(rig.connection.transmit().concat(), reply(1, 3));
    rig.send(4);
    assert_eq!(rig.connection.transmit().concat(), reply(1, 3)[4..]);
    rig.send(5);
    assert_eq!(rig.connection.transmit().concat(), reply(2, 3));
}

#[test]
fn a_length_that_cannot_be_ends_the_connection_after_earlier_replies() {
    for (length, reason) in [([0, 1], Discard::LengthShort), ([0, 255], Discard::LengthLong)] {
        let mut rig = Rig::new(Config::DEFAULT, 1024, 4);
        rig.receive(&[&request(1, 65)[..], &[0, 2, 0, 0, length[0], length[1]], &request(3, 3)].concat());
        assert_eq!(rig.outputs, [Output::Discarded(reason)]);
        let id = rig.service.deferred[0];
        rig.input(Input::Replied { id, pdu: &[65, 1] });
        assert_eq!(rig.wire, reply(1, 65));
        assert_eq!(rig.outputs.last(), Some(&Output::CloseWrite));
        assert_eq!(rig.receive(&request(4, 3)), 0, "input is thrown away");
        rig.input(Input::PeerClosed);
        assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::BadFrame, reset: false }));
        assert_eq!(rig.service.served, 1);
    }
}

#[test]
fn a_peer_that_has_ended_its_side_still_gets_every_reply() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 4);
    rig.receive(&[&request(1, 65)[..], &request(2, 3), &request(3, 3)[..5]].concat());
    rig.input(Input::PeerClosed);
    assert_eq!(rig.outputs.last(), Some(&Output::Discarded(Discard::Truncated)));
    let id = rig.service.deferred[0];
    rig.input(Input::Replied { id, pdu: &[65, 1] });
    assert_eq!(rig.wire, [reply(1, 65), reply(2, 3)].concat());
    assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::PeerClosed, reset: false }));
}

#[test]
fn a_drain_answers_what_is_accepted_and_runs_nothing_new() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 4);
    rig.receive(&request(1, 65));
    rig.input(Input::Drain);
    rig.receive(&request(2, 3));
    assert_eq!(rig.outputs.last(), Some(&Output::Discarded(Discard::Draining)));
    assert_eq!(rig.wait(), Some(Instant::from_millis(6000)), "the request times out, then the FIN lingers");
    assert_eq!(rig.wire, busy(1, 65));
    rig.wait();
    assert_eq!(
        rig.outputs[rig.outputs.len() - 2..],
        [Output::CloseWrite, Output::Close { reason: Reason::Shutdown, reset: false }]
    );
    let mut idle = Rig::new(Config { linger: Duration::ZERO, ..Config::DEFAULT }, 1024, 4);
    idle.input(Input::Drain);
    assert_eq!(idle.outputs, [Output::CloseWrite, Output::Close { reason: Reason::Shutdown, reset: false }]);
}

#[test]
fn a_deferred_request_times_out_and_its_late_answer_is_stale() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 4);
    rig.now = Instant::from_millis(100);
    rig.receive(&request(1, 65));
    rig.wait();
    assert_eq!((rig.now, rig.take_wire()), (Instant::from_millis(5100), busy(1, 65).to_vec()));
    let Some(Output::Processed(processed)) =
        rig.outputs.iter().find(|output| matches!(output, Output::Processed(_))).copied()
    else {
        panic!("no report")
    };
    assert!(processed.timed_out && processed.deferred);
    assert_eq!((processed.micros, processed.bytes_out), (5_000_000, 9));
    let id = rig.service.deferred[0];
    assert!(rig.connection.handle_input(rig.now, Input::Failed { id, exception: Exception::ACKNOWLEDGE }).is_err());
}

#[test]
fn a_request_beyond_the_rate_is_busy_ahead_of_held_replies() {
    let rate = Some(Rate { per_second: 10, burst: 2 });
    let mut rig = Rig::new(Config { request_rate: rate, ..Config::DEFAULT }, 4096, 4);
    rig.receive(&[request(1, 65), request(2, 3), request(3, 3), request(4, 65)].concat());
    assert_eq!(rig.take_wire(), [busy(3, 3), busy(4, 65)].concat());
    assert_eq!(rig.service.served, 2, "no unit saw the busy ones");
    let id = rig.service.deferred[0];
    rig.input(Input::Replied { id, pdu: &[65, 1] });
    assert_eq!(rig.take_wire(), [reply(1, 65), reply(2, 3)].concat());
    rig.now = Instant::from_millis(99);
    rig.receive(&request(5, 3));
    assert_eq!(rig.take_wire(), busy(5, 3));
    rig.now = Instant::from_millis(100);
    rig.receive(&[request(6, 3), request(7, 3)].concat());
    assert_eq!(rig.take_wire(), [&reply(6, 3)[..], &busy(7, 3)].concat());
}

#[test]
fn a_connection_at_its_rate_pauses_until_there_is_a_permit() {
    let rate = Some(Rate { per_second: 10, burst: 2 });
    let config = Config { request_rate: rate, rate_action: RateAction::Pause, ..Config::DEFAULT };
    let mut rig = Rig::new(config, 4096, 0);
    assert_eq!(rig.connection.state(), State::Open);
    let stream: Vec<u8> = (1..=4).flat_map(|number| request(number, 3)).collect();
    assert_eq!(rig.receive(&stream), 2 * 9);
    assert_eq!(rig.take_wire(), [reply(1, 3), reply(2, 3)].concat());
    assert_eq!(rig.outputs.last(), Some(&Output::Pause));
    assert_eq!(rig.connection.state(), State::Paused);
    // Without storage, which a paused connection does not need, it is paused all the same.
    let (buffer, places) = rig.connection.exchange(vec![], vec![]).unwrap();
    rig.drain();
    assert_eq!(rig.connection.state(), State::Paused);
    rig.connection.exchange(buffer, places).unwrap();
    rig.connection.handle_timeout(Instant::from_millis(99));
    assert_eq!((rig.connection.rest(), rig.receive(&stream[18..])), (None, 18), "its time is not over");
    for number in [3, 4] {
        let due = rig.drain().unwrap();
        rig.connection.handle_timeout(due);
        assert_eq!(rig.connection.rest(), None, "it has not said yet that it reads on");
        rig.now = due;
        rig.drain();
        assert!(rig.connection.rest().is_some());
        assert_eq!(rig.now, Instant::from_millis(100 * u64::from(number - 2)));
        assert_eq!(rig.outputs.last(), Some(&Output::Resume));
        let left = rig.receive(&stream[9 * usize::from(number - 1)..]);
        assert_eq!((left, rig.take_wire()), (9 * usize::from(4 - number), reply(number, 3).to_vec()));
        assert_eq!(rig.outputs.last(), Some(&Output::Pause));
    }
    rig.input(Input::Drain);
    assert_eq!(
        rig.outputs[rig.outputs.len() - 2..],
        [Output::Resume, Output::CloseWrite],
        "an end waits for no permit"
    );
}

#[test]
fn a_frame_never_finished_and_a_silent_peer_are_closed() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 0);
    rig.now = Instant::from_millis(40);
    rig.receive(&request(1, 3)[..8]);
    rig.wait();
    assert_eq!(rig.now, Instant::from_millis(10_040));
    assert_eq!(rig.outputs, [Output::Discarded(Discard::FrameTimeout), Output::CloseWrite]);
    rig.wait();
    assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::FrameTimeout, reset: false }));

    let mut rig = Rig::new(Config::DEFAULT, 1024, 0);
    rig.now = Instant::from_millis(1000);
    rig.receive(&request(1, 3));
    rig.wait();
    assert_eq!((rig.now, rig.outputs.last()), (Instant::from_millis(301_000), Some(&Output::CloseWrite)));
    rig.wait();
    assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::Idle, reset: false }));
}

#[test]
fn a_reset_that_answers_our_fin_does_not_change_why_the_connection_ends() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 4);
    rig.input(Input::Drain);
    assert_eq!(rig.outputs.last(), Some(&Output::CloseWrite));
    rig.input(Input::PeerReset);
    assert_eq!(rig.outputs.last(), Some(&Output::Close { reason: Reason::Shutdown, reset: false }));

    let mut owing = Rig::new(Config::DEFAULT, 1024, 4);
    owing.receive(&request(1, 65));
    owing.input(Input::Drain);
    owing.input(Input::PeerReset);
    assert_eq!(owing.outputs.last(), Some(&Output::Close { reason: Reason::PeerReset, reset: false }));
}

#[test]
fn a_span_below_the_resolution_of_time_still_ends_later_than_it_begins() {
    let mut rig = Rig::new(Config { linger: Duration::from_nanos(1), ..Config::DEFAULT }, 1024, 0);
    let deadline = rig.wait();
    assert_eq!(rig.outputs, [Output::CloseWrite]);
    assert_eq!(deadline, Some(Instant::from_micros(300_000_001)));
}

#[test]
fn a_vacant_connection_gives_its_storage_back_and_takes_nothing_without() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 4);
    rig.receive(&request(1, 3)[..4]);
    assert!(rig.connection.exchange(vec![], vec![]).is_err(), "half a frame is kept");
    rig.receive(&request(1, 3)[4..]);
    let (buffer, places) = rig.connection.exchange(vec![], vec![]).unwrap();
    assert_eq!(rig.connection.poll_output(), Step::Wait(Some(Instant::from_millis(300_000))), "it is not paused");
    let input = Input::Received { bytes: &[0], service: &mut rig.service };
    let refused = rig.connection.handle_input(rig.now, input);
    assert_eq!(refused, Err(Error::BufferShort { needed: MIN_BUFFER, got: 0 }));
    rig.connection.exchange(buffer, places).unwrap();
    rig.receive(&request(2, 3));
    assert_eq!(rig.wire, [reply(1, 3), reply(2, 3)].concat());
}

#[test]
fn a_connection_at_rest_goes_on_at_another_machine() {
    let config = Config { request_rate: Some(Rate { per_second: 1, burst: 2 }), ..Config::DEFAULT };
    let mut first = Rig::new(config, 1024, 4);
    first.now = Instant::from_millis(100);
    first.receive(&request(1, 65));
    assert_eq!(first.connection.rest(), None, "a reply is owed");
    first.wait();
    let stale = first.service.deferred[0];
    first.receive(&[request(2, 3), request(3, 3)].concat());
    let rest = first.connection.rest().unwrap();

    let mut second = Rig::new(config, 1024, 4);
    second.now = first.now;
    second.connection.resume(rest).unwrap();
    assert_eq!(second.drain(), first.drain(), "the deadline is the same");
    let late = Input::Failed { id: stale, exception: Exception::ACKNOWLEDGE };
    assert_eq!(second.connection.handle_input(second.now, late), Err(Error::Stale { id: stale }));
    second.receive(&request(4, 3));
    assert_eq!(second.take_wire(), busy(4, 3), "no permit is left");
    second.now = second.now.saturating_add(Duration::from_secs(1));
    second.receive(&request(5, 65));
    assert_ne!(second.service.deferred[0], stale);
}

#[test]
fn only_an_open_connection_with_nothing_on_its_way_is_at_rest() {
    let mut rig = Rig::new(Config::DEFAULT, 1024, 4);
    let rest = rig.connection.rest().unwrap();
    assert_eq!(rest, Rest::new(Instant::ORIGIN));
    rig.receive(&request(1, 3)[..4]);
    assert_eq!((rig.connection.rest(), rig.connection.resume(rest)), (None, Err(rest)), "half a frame is kept");
    rig.receive(&request(1, 3)[4..]);
    assert!(rig.connection.rest().is_some());
    let mut drained = Rig::new(Config::DEFAULT, 1024, 4);
    drained.input(Input::Drain);
    assert_eq!(drained.connection.rest(), None, "our FIN is sent");
    let mut halves = Rig::new(Config::DEFAULT, 1024, 4);
    halves.input(Input::PeerClosed);
    assert_eq!(halves.connection.rest(), None, "it has closed");
    assert_eq!(halves.outputs, [Output::Close { reason: Reason::PeerClosed, reset: false }], "inside of no frame");
}

#[test]
fn a_deadline_beyond_the_end_of_time_never_comes() {
    let config = Config { request_timeout: Duration::MAX, idle_timeout: Duration::ZERO, ..Config::DEFAULT };
    let mut rig = Rig::new(config, 2048, 4);
    rig.receive(&request(1, 65));
    assert_eq!(rig.drain(), None);
    rig.connection.handle_timeout(Instant::MAX);
    assert_eq!(rig.connection.poll_output(), Step::Wait(None));
    let config = Config {
        request_rate: Some(Rate { per_second: 0, burst: 1 }),
        rate_action: RateAction::Pause,
        idle_timeout: Duration::ZERO,
        ..Config::DEFAULT
    };
    let mut rig = Rig::new(config, 2048, 4);
    rig.receive(&request(1, 3));
    assert_eq!(rig.drain(), None);
    rig.connection.handle_timeout(Instant::MAX);
    assert_eq!(rig.connection.poll_output(), Step::Wait(None));
    assert_eq!(rig.connection.state(), State::Paused);
}
