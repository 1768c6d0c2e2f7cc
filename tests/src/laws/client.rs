//! A Modbus client connection under the laws.
//!
//! Its configuration, its storage and the socket's appetite follow from the seed: buffers from one that is too short to
//! roomy ones, 0..=20 places, limits below and above them. The server answers rightly, wrongly, twice, late, or with
//! noise, in segments that cross frames.

use super::Subject;
use crate::requests;
use crate::rng::Rng;
use crate::vectors::frame;
use core::time::Duration;
use wharf_core::modbus::client::{Config, Connection, Error, Input, MIN_BUFFER, Output, Transaction};
use wharf_core::modbus::mbap;
use wharf_core::{Instant, Machine};

/// Places, at most.
const MAX_PLACES: usize = 20;

/// A connection with a driver whose socket takes some bytes, all, or none.
#[derive(Debug)]
pub struct Asking {
    connection: Connection<Vec<u8>, Vec<Transaction>>,
    /// Bytes that were offered and not taken.
    unread: Vec<u8>,
    /// How much the socket takes, transmit by transmit.
    appetite: Rng,
    /// Whether a `Transmit` waits for the socket.
    blocked: bool,
    /// Every byte that has left.
    sent: Vec<u8>,
    /// Frames that the server has yet to send, the bytes it has begun with, and how much of what it got it has looked at;
    /// only `draw` looks at them.
    planned: Vec<Vec<u8>>,
    begun: Vec<u8>,
    seen: usize,
    asked: u64,
}

/// One input.
#[derive(Clone, Debug)]
pub enum Op {
    /// A question: its PDU, timeout and retries.
    Ask(u64, Vec<u8>, Duration, u8),
    /// Bytes come, behind those that are unread.
    Receive(Vec<u8>),
    /// What is unread is offered again.
    Offer,
    /// The socket took this many bytes.
    Sent(usize),
    /// The server has ended its side.
    PeerClosed,
    /// The connection is gone.
    PeerReset,
    /// No more questions.
    Drain,
    /// Somebody ends the connection.
    Abort,
}

impl Subject for Asking {
    type Machine = Connection<Vec<u8>, Vec<Transaction>>;
    type Op = Op;
    type Note = Vec<u8>;

    const NAME: &'static str = "modbus client connection";
    /// Every request ends once, then a transmit, a discard, a close.
    const DRAIN_BOUND: usize = MAX_PLACES + 4;

    fn fresh(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xC11E);
        let buffer = match rng.below(8) {
            0 => MIN_BUFFER - 1 - rng.index(MIN_BUFFER),
            1..=3 => MIN_BUFFER + rng.index(30),
            _ => MIN_BUFFER + rng.index(4000),
        };
        let frame_timeout = Duration::from_micros(*rng.pick(&[0, 1, 1000, 50_000, 10_000_000]));
        let config = Config { max_outstanding: u16::try_from(rng.below(24)).expect("below 24"), frame_timeout };
        let places = vec![Transaction::EMPTY; rng.index(MAX_PLACES + 1)];
        Self {
            connection: Connection::new(config, vec![0; buffer], places),
            unread: Vec::new(),
            appetite: rng.fork(),
            blocked: false,
            sent: Vec::new(),
            planned: Vec::new(),
            begun: Vec::new(),
            seen: 0,
            asked: 0,
        }
    }

    fn machine(&mut self) -> &mut Self::Machine {
        &mut self.connection
    }

    fn draw(&mut self, rng: &mut Rng, _now: Instant) -> Op {
        if !self.unread.is_empty() && rng.chance(1, 2) {
            return Op::Offer;
        }
        if self.blocked && rng.chance(1, 3) {
            let shown = self.connection.transmit().concat().len();
            return Op::Sent(if rng.chance(1, 8) { shown + 1 } else { rng.index(shown + 1) });
        }
        match rng.below(64) {
            0 if rng.chance(1, 4) => Op::PeerClosed,
            1 if rng.chance(1, 8) => Op::PeerReset,
            2 if rng.chance(1, 4) => Op::Drain,
            3 if rng.chance(1, 8) => Op::Abort,
            4..=6 => Op::Sent(rng.index(3)),
            7..=35 => {
                self.asked += 1;
                let timeout = Duration::from_micros(*rng.pick(&[0, 1, 1000, 50_000, 1_000_000, 10_000_000]));
                let retries = *rng.pick(&[0, 0, 1, 3]);
                Op::Ask(self.asked, pdu(rng), timeout, retries)
            }
            _ => Op::Receive(self.next_piece(rng)),
        }
    }

    fn apply(&mut self, now: Instant, op: &Op) -> Result<(), Error> {
        let input = match op {
            Op::Ask(tag, pdu, timeout, retries) => {
                Input::Ask { tag: *tag, unit: 1, pdu, timeout: *timeout, retries: *retries }
            }
            Op::Receive(bytes) => return self.offer(now, bytes),
            Op::Offer => return self.offer(now, &[]),
            Op::Sent(len) => {
                let shown = self.connection.transmit().concat();
                self.connection.handle_input(now, Input::Transmitted { len: *len })?;
                self.sent.extend(&shown[..*len]);
                self.blocked = false;
                return Ok(());
            }
            Op::PeerClosed => Input::PeerClosed,
            Op::PeerReset => Input::PeerReset,
            Op::Drain => Input::Drain,
            Op::Abort => Input::Abort,
        };
        self.connection.handle_input(now, input)
    }

    fn carry_out(&mut self, now: Instant, output: Output) -> Vec<u8> {
        match output {
            Output::Done(_) => [self.connection.frame(), format!("{:?}", self.connection.reply()).as_bytes()].concat(),
            Output::Discarded { .. } | Output::Close { .. } => self.connection.frame().to_vec(),
            Output::Transmit => {
                let shown = self.connection.transmit().concat();
                assert!(!shown.is_empty(), "a transmit of nothing");
                let takes = match self.appetite.below(4) {
                    0 => 0,
                    1 => self.appetite.index(shown.len() + 1),
                    _ => shown.len(),
                };
                // A socket that has taken less than all is full; it takes more when the script says so.
                if takes == shown.len() {
                    self.connection
                        .handle_input(now, Input::Transmitted { len: takes })
                        .expect("what was shown may leave");
                    self.sent.extend(&shown);
                } else {
                    self.blocked = true;
                }
                shown
            }
        }
    }
}

impl Asking {
    fn offer(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        let offered = [&self.unread, bytes].concat();
        if offered.is_empty() {
            return Ok(());
        }
        self.connection.handle_input(now, Input::Received { bytes: &offered })?;
        let taken = self.connection.taken();
        assert!(taken <= offered.len(), "{taken} bytes taken of {}", offered.len());
        self.unread = offered[taken..].to_vec();
        Ok(())
    }

    /// The next segment from the server: replies to what has left, right or wrong, and rarely something else.
    fn next_piece(&mut self, rng: &mut Rng) -> Vec<u8> {
        if let Ok(mbap::Decoded::Frame { frame: asked, len }) = mbap::decode(&self.sent[self.seen..])
            && rng.chance(3, 4)
        {
            self.seen += len;
            let answer = answer(rng, asked.pdu);
            let unit = if rng.chance(1, 20) { asked.unit ^ 2 } else { asked.unit };
            let copies = if rng.chance(1, 12) { 2 } else { 1 };
            self.planned.extend(vec![frame(asked.transaction, unit, &answer); copies]);
        }
        match rng.below(80) {
            0..=5 => self.planned.push(frame(rng.word(), 1, &[3, 2, 0, 1])),
            6 => self.planned.push(requests::noise(rng)),
            _ => {}
        }
        while !self.planned.is_empty() && (self.begun.is_empty() || rng.chance(1, 2)) {
            // Any of them, so that replies overtake each other.
            let next = rng.index(self.planned.len());
            self.begun.extend(self.planned.swap_remove(next));
        }
        if self.begun.is_empty() {
            self.begun.extend(frame(rng.word() % 8, 1, &[3, 2, 0, 1]));
        }
        let most = self.begun.len();
        let len = if rng.chance(1, 2) { most } else { 1 + rng.index(most.min(20)) };
        self.begun.drain(..len).collect()
    }
}

/// Mostly short questions, at times any, and rarely one of no legal length.
fn pdu(rng: &mut Rng) -> Vec<u8> {
    match rng.below(16) {
        0 => vec![3; *rng.pick(&[0, 254])],
        1..=4 => requests::draw(rng),
        5..=8 => vec![6, 0, rng.byte(), 0, rng.byte()],
        _ => vec![3, 0, rng.byte(), 0, 1 + rng.byte() % 4],
    }
}

/// An answer to a request: mostly what it calls for.
fn answer(rng: &mut Rng, pdu: &[u8]) -> Vec<u8> {
    match rng.below(16) {
        0 => vec![pdu[0] | 0x80, rng.byte() % 12],
        1 => vec![pdu[0].wrapping_add(1)],
        2 => {
            let len = 1 + rng.index(253);
            rng.bytes(len)
        }
        _ if pdu[0] == 3 && pdu.len() == 5 => {
            let len = pdu[4].saturating_mul(2);
            [&[3, len][..], &rng.bytes(len.into())].concat()
        }
        _ => pdu.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::check;

    #[test]
    fn a_client_connection_obeys_the_laws_and_every_kind_of_action_was_tried() {
        let coverage = check::<Asking>(1500, 120);
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
