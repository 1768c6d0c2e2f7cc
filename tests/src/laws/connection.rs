//! A Modbus server connection under the laws.
//!
//! Its configuration, its storage and the socket's appetite follow from the seed: buffers from one that is too short to
//! roomy ones, 0..=16 places for deferred requests, timeouts from off to longer than a script. The service answers at
//! once, later, wrongly or not at all, as the function code says.

use super::Subject;
use crate::rng::Rng;
use core::time::Duration;
use wharf_core::modbus::mbap;
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::{
    Config, Connection, Error, Input, MIN_BUFFER, Output, Overflow, RateAction, Reason, Transaction,
};
use wharf_core::modbus::service::{Answer, Discard, Indication, ReplyPdu, RequestId, Service};
use wharf_core::rate::Rate;
use wharf_core::{Instant, Machine};

/// The greatest buffer, in bytes.
pub(super) const MAX_BUFFER: usize = 8192;
/// The shortest frame, in bytes.
const LEAST_FRAME: usize = 8;

/// A connection with a driver whose socket takes some bytes, all, or none.
#[derive(Debug)]
pub struct Served {
    connection: Connection<Vec<u8>, Vec<Transaction>>,
    service: Stub,
    /// Bytes that were offered and not taken.
    unread: Vec<u8>,
    /// How much the socket takes, transmit by transmit.
    appetite: Rng,
    /// Whether a `Transmit` waits for the socket.
    blocked: bool,
    /// What the peer has yet to send; only `draw` looks at it.
    planned: Vec<u8>,
}

/// One input. Requests are named by their place in the order of deferral.
#[derive(Clone, Debug)]
pub enum Op {
    /// Bytes come, behind those that are unread.
    Receive(Vec<u8>),
    /// What is unread is offered again.
    Offer,
    /// The socket took this many bytes.
    Sent(usize),
    /// The answer to a deferred request.
    Reply(usize, Vec<u8>),
    /// A refusal of a deferred request.
    Fail(usize, Exception),
    /// The peer has ended its side.
    PeerClosed,
    /// The connection is gone.
    PeerReset,
    /// The server shuts down.
    Drain,
    /// Somebody ends the connection.
    Abort(Reason),
}

/// Answers by function code: 65..=72 later, 73 not at all, 74 discarded, 75 refused, 76 too long, 77 with nothing, and
/// any other with its own request.
#[derive(Debug, Default)]
pub(super) struct Stub {
    pub(super) deferred: Vec<RequestId>,
}

impl Service for Stub {
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        match request.function() {
            65..=72 => {
                self.deferred.extend(request.id);
                Answer::LATER
            }
            73 => Answer::Silent,
            74 => Answer::Discard(Discard::UnknownUnit),
            75 => Answer::Exception(Exception::ILLEGAL_DATA_ADDRESS),
            76 => Answer::Reply { len: reply.len() + 1 },
            77 => Answer::Reply { len: 0 },
            _ => {
                reply[..request.pdu.len()].copy_from_slice(request.pdu);
                Answer::Reply { len: request.pdu.len() }
            }
        }
    }
}

impl Subject for Served {
    type Machine = Connection<Vec<u8>, Vec<Transaction>>;
    type Op = Op;
    type Note = Vec<u8>;

    const NAME: &'static str = "modbus server connection";
    /// Every report, one transmit for each reply where they leave one by one, and the outputs that come once.
    const DRAIN_BOUND: usize = 32 + MAX_BUFFER / LEAST_FRAME;

    fn fresh(seed: u64) -> Self {
        let Setting { config, buffer, places, appetite } = Setting::of(seed);
        let connection = Connection::new(config, vec![0; buffer], vec![Transaction::EMPTY; places], Instant::ORIGIN);
        Self { connection, service: Stub::default(), unread: Vec::new(), appetite, blocked: false, planned: Vec::new() }
    }

    fn machine(&mut self) -> &mut Self::Machine {
        &mut self.connection
    }

    fn draw(&mut self, rng: &mut Rng, _now: Instant) -> Op {
        let shown = if self.blocked { self.connection.transmit().concat().len() } else { 0 };
        draw(rng, !self.unread.is_empty(), shown, self.service.deferred.len(), &mut self.planned)
    }

    fn apply(&mut self, now: Instant, op: &Op) -> Result<(), Error> {
        let input = match op {
            Op::Receive(bytes) => return self.offer(now, bytes),
            Op::Offer => return self.offer(now, &[]),
            Op::Sent(len) => {
                self.connection.handle_input(now, Input::Transmitted { len: *len })?;
                self.blocked = false;
                return Ok(());
            }
            Op::Reply(nth, pdu) => Input::Replied { id: self.service.deferred[*nth], pdu },
            Op::Fail(nth, exception) => Input::Failed { id: self.service.deferred[*nth], exception: *exception },
            Op::PeerClosed => Input::PeerClosed,
            Op::PeerReset => Input::PeerReset,
            Op::Drain => Input::Drain,
            Op::Abort(reason) => Input::Abort { reason: *reason },
        };
        self.connection.handle_input(now, input)
    }

    fn carry_out(&mut self, now: Instant, output: Output) -> Vec<u8> {
        if output != Output::Transmit {
            return Vec::new();
        }
        let shown = self.connection.transmit().concat();
        assert!(!shown.is_empty(), "a transmit of nothing");
        let takes = match self.appetite.below(4) {
            0 => 0,
            1 => self.appetite.index(shown.len() + 1),
            _ => shown.len(),
        };
        // A socket that has taken less than all is full; it takes more when the script says so.
        if takes == shown.len() {
            self.connection.handle_input(now, Input::Transmitted { len: takes }).expect("what was shown may leave");
        } else {
            self.blocked = true;
        }
        shown
    }
}

impl Served {
    fn offer(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        let offered = [&self.unread, bytes].concat();
        if offered.is_empty() {
            return Ok(());
        }
        let input = Input::Received { bytes: &offered, service: &mut self.service };
        self.connection.handle_input(now, input)?;
        let taken = self.connection.taken();
        assert!(taken <= offered.len(), "{taken} bytes taken of {}", offered.len());
        self.unread = offered[taken..].to_vec();
        self.send_unasked(now);
        Ok(())
    }

    /// A driver may send what is shown before it drains, and now and then this one does.
    fn send_unasked(&mut self, now: Instant) {
        let shown = self.connection.transmit().concat().len();
        if !self.blocked && shown > 0 && self.appetite.chance(1, 3) {
            let len = 1 + self.appetite.index(shown);
            self.connection.handle_input(now, Input::Transmitted { len }).expect("what was shown may leave");
        }
    }
}

/// The next input, for a connection that has left bytes untaken, shows so many to a socket that is full, and has deferred
/// so many requests.
pub(super) fn draw(rng: &mut Rng, unread: bool, shown: usize, seen: usize, planned: &mut Vec<u8>) -> Op {
    if unread && rng.chance(1, 2) {
        return Op::Offer;
    }
    if shown > 0 && rng.chance(1, 3) {
        return Op::Sent(if rng.chance(1, 8) { shown + 1 } else { rng.index(shown + 1) });
    }
    match rng.below(32) {
        0..=7 if seen > 0 => Op::Reply(recent(rng, seen), pdu(rng)),
        8..=10 if seen > 0 => Op::Fail(recent(rng, seen), exception(rng)),
        11 if rng.chance(1, 4) && !unread => Op::PeerClosed,
        12 if rng.chance(1, 16) => Op::PeerReset,
        13 if rng.chance(1, 6) => Op::Drain,
        14 if rng.chance(1, 16) => Op::Abort(*rng.pick(&Reason::ALL)),
        15 => Op::Sent(rng.index(3)),
        _ => Op::Receive(next_piece(rng, planned)),
    }
}

/// The next segment from the peer: whole frames, parts of them, and rarely something that is none.
fn next_piece(rng: &mut Rng, planned: &mut Vec<u8>) -> Vec<u8> {
    while planned.len() < 20 || rng.chance(1, 3) {
        planned.extend(frame(rng));
    }
    let most = planned.len();
    let len = if rng.chance(1, 2) { most } else { 1 + rng.index(most.min(20)) };
    planned.drain(..len).collect()
}

/// What follows from the seed.
pub(crate) struct Setting {
    pub(crate) config: Config,
    pub(crate) buffer: usize,
    pub(crate) places: usize,
    pub(super) appetite: Rng,
}

impl Setting {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5EED);
        let buffer = match rng.below(16) {
            0 => MIN_BUFFER - 1 - rng.index(MIN_BUFFER),
            1..=4 => MIN_BUFFER + rng.index(8),
            5..=9 => MIN_BUFFER + rng.index(2000),
            _ => MAX_BUFFER,
        };
        let mut setting = Self { buffer, places: rng.index(17), config: config(&mut rng), appetite: rng.fork() };
        // Last, so that seeds that are known keep what they stand for.
        if rng.chance(1, 3) {
            let rate = Rate { per_second: *rng.pick(&[0, 1, 50, 5000]), burst: *rng.pick(&[1, 4, 20]) };
            setting.config.request_rate = Some(rate);
            setting.config.rate_action = *rng.pick(&[RateAction::Busy, RateAction::Pause]);
        }
        setting
    }
}

fn config(rng: &mut Rng) -> Config {
    let mut timeout = || Duration::from_micros(*rng.pick(&[0, 1, 1000, 50_000, 1_000_000, 10_000_000]));
    let (request_timeout, frame_timeout, idle_timeout, write_timeout, linger) =
        (timeout(), timeout(), timeout(), timeout(), timeout());
    Config {
        max_outstanding: u8::try_from(rng.between(1, 16)).expect("at most 16"),
        overflow: if rng.chance(1, 2) { Overflow::Busy } else { Overflow::Wait },
        coalesce: rng.chance(1, 2),
        request_timeout,
        frame_timeout,
        idle_timeout,
        write_timeout,
        linger,
        ..Config::DEFAULT
    }
}

fn frame(rng: &mut Rng) -> Vec<u8> {
    let most = *rng.pick(&[4, 4, 20, mbap::MAX_PDU]);
    let mut pdu = vec![0; 1 + rng.index(most)];
    pdu[0] = if rng.chance(1, 2) { 65 + rng.byte() % 8 } else { rng.byte() };
    let mut frame = mbap::header(rng.word(), rng.byte(), pdu.len()).to_vec();
    match rng.below(100) {
        0..=5 => frame[3] = 1,
        6 => frame[5] = 1,
        7 => frame[4] = 1,
        _ => {}
    }
    frame.extend(pdu);
    frame
}

/// Mostly one of the last few, at times one that must be gone.
fn recent(rng: &mut Rng, seen: usize) -> usize {
    if rng.chance(1, 8) { rng.index(seen) } else { seen - 1 - rng.index(seen.min(6)) }
}

fn pdu(rng: &mut Rng) -> Vec<u8> {
    let len = *rng.pick(&[0, 1, 2, 2, 10, 100, mbap::MAX_PDU, mbap::MAX_PDU + 1]);
    rng.bytes(len)
}

fn exception(rng: &mut Rng) -> Exception {
    Exception::new(rng.byte()).unwrap_or(Exception::SERVER_DEVICE_FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::check;

    #[test]
    fn a_connection_obeys_the_laws_and_every_kind_of_action_was_tried() {
        let coverage = check::<Served>(1500, 120);
        for (what, times) in [
            ("inputs", coverage.inputs),
            ("refusals", coverage.refusals),
            ("outputs", coverage.outputs),
            ("timeouts", coverage.timeouts),
            ("early timeouts", coverage.early_timeouts),
        ] {
            assert!(times > 1000 || std::env::var_os(crate::rng::SEED_VARIABLE).is_some(), "{what}: {times}");
        }
    }
}
