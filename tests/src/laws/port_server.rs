//! A server port under the laws.
//!
//! Its configuration and its storage follow from the seed. The driver answers some questions at once and puts others off
//! until the script answers them, rightly or wrongly, in any order or never.

#![expect(clippy::wildcard_enum_match_arm, reason = "a driver answers few of the outputs")]

use super::Subject;
use crate::port::{Heap, port_option, server, setting, slot_option};
use crate::rng::Rng;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use wharf_core::port::server::{
    AcceptFailure, Command, Error, Failure, Input, Mode, Next, OnClose, OpenFailure, Output, Reason, Server, To,
};
use wharf_core::slots::SlotId;
use wharf_core::{Instant, Machine};

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5025);
/// The most slots that a drawn port has.
const MOST_SLOTS: usize = 20;

/// A port and its driver.
#[derive(Debug)]
pub struct Ported {
    server: Server<Heap>,
    /// Every id that was given, and one that never will be.
    known: Vec<SlotId>,
    /// Questions without an answer.
    pending: Vec<Output>,
    callers: u16,
    /// Which questions are answered at once.
    haste: Rng,
}

/// One input. Clients are named by the order in which they came, questions by the order in which they were asked.
#[derive(Clone, Debug)]
pub enum Op {
    /// A turn begins.
    Turn,
    /// A connection from one of two networks, or none that could be accepted.
    Come(Result<u8, AcceptFailure>),
    /// Readable, writable, or hung up.
    Edge(usize, u8),
    /// The answer to a question that was put off.
    Answer(usize, Answer),
    /// The same, to a client of whom it was perhaps not asked.
    Unasked(usize, Answer),
    /// The listening socket is to be opened or closed.
    Listen(Option<OnClose>),
    /// A message: for whom, the message, whether it is fed, whether it is ended.
    Write(Option<usize>, Vec<u8>, bool, bool),
    /// So many bytes are done with.
    Consume(usize, usize),
    /// The end of input is.
    TakeEnd(u32),
    /// Flush, shut down, drop or abort.
    Leave(usize, u8),
    /// An option of a slot or of all, and its value.
    Set(Option<u32>, u8, u8),
    /// An option of the port.
    SetPort(u8, u8),
}

/// What a system may say.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Bytes were read, and whether there may be more.
    Received(Vec<u8>, bool),
    /// Nothing was.
    ReadBlocked,
    /// The end was.
    Ended,
    /// Bytes were written.
    Transmitted(usize),
    /// None were.
    WriteBlocked,
    /// The connection broke.
    Failed(Failure),
    /// What was asked for is done: closed, shut, opened.
    Done,
    /// It could not be opened.
    OpenFailed,
}

impl Subject for Ported {
    type Machine = Server<Heap>;
    type Op = Op;
    type Note = Vec<u8>;

    const NAME: &'static str = "port server";
    /// For each slot every kind of output once, those that come back after an answer at once a second time, and the
    /// outputs of the port itself.
    const DRAIN_BOUND: usize = 16 + 20 * MOST_SLOTS;

    fn fresh(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x9027);
        let mut bytes: [u8; 8] = core::array::from_fn(|_| rng.byte());
        // Queues that a turn could not empty have no place in a drain that is bounded by the number of slots.
        bytes[3] &= 0x33;
        let (config, memory) = setting(bytes);
        let server = server(config, memory).expect("a configuration that can be");
        let nobody = SlotId::from_bits(9 << 32 | u64::from(server.slots()));
        Self { server, known: vec![nobody], pending: Vec::new(), callers: 0, haste: rng.fork() }
    }

    fn machine(&mut self) -> &mut Server<Heap> {
        &mut self.server
    }

    fn draw(&mut self, rng: &mut Rng, _now: Instant) -> Op {
        let who = self.recent(rng);
        let index = rng.below(u64::from(self.server.slots()) + 1);
        let index = u32::try_from(index).expect("few slots");
        match rng.below(40) {
            0..=5 => Op::Turn,
            6..=10 => Op::Come(Ok(rng.byte() & 1)),
            11 => Op::Come(Err(*rng.pick(&[
                AcceptFailure::Transient,
                AcceptFailure::Exhausted,
                AcceptFailure::Exhausted,
                AcceptFailure::Fatal,
            ]))),
            12..=15 => Op::Edge(who, rng.byte()),
            16..=24 if !self.pending.is_empty() => {
                let which = rng.index(self.pending.len());
                let answer = self.answer_to(self.pending[which], rng);
                Op::Answer(which, answer)
            }
            25 => Op::Unasked(who, self.answer_to(Output::Read { slot: self.known[who], max: 9 }, rng)),
            26 => Op::Unasked(who, self.answer_to(Output::Transmit { slot: self.known[who] }, rng)),
            27 if rng.chance(1, 3) => Op::Listen(*rng.pick(&[None, None, Some(OnClose::Keep), Some(OnClose::Drop)])),
            28..=30 => {
                let to = rng.chance(2, 3).then_some(who);
                let len = *rng.pick(&[0, 1, 9, 50, 64, 300]);
                Op::Write(to, rng.bytes(len), rng.chance(1, 4), rng.chance(3, 4))
            }
            31..=33 => match self.server.piece(index, *rng.pick(&[1, 9, usize::MAX]), rng.chance(1, 2)) {
                Next::Piece(piece) if piece.taken() > 0 => Op::Consume(self.at(index), piece.taken()),
                Next::Piece(_) => Op::TakeEnd(index),
                Next::Wait | Next::NotConnected => Op::Consume(who, rng.index(70)),
            },
            34 => Op::TakeEnd(index),
            35 | 36 => Op::Leave(who, rng.byte()),
            37 => Op::Set(rng.chance(1, 2).then_some(index), rng.byte(), rng.byte()),
            38 => Op::SetPort(rng.byte(), rng.byte()),
            _ => Op::Listen(None),
        }
    }

    fn apply(&mut self, now: Instant, op: &Op) -> Result<(), Error> {
        let command = match *op {
            Op::Turn => return self.server.handle_input(now, Input::TurnStarted),
            Op::Come(Err(kind)) => return self.server.handle_input(now, Input::AcceptFailed { kind }),
            Op::Come(Ok(network)) => {
                let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, network, 7)), self.callers);
                self.server.handle_input(now, Input::Accepted { peer })?;
                self.callers = self.callers.wrapping_add(1);
                return Ok(());
            }
            Op::Edge(who, which) => {
                let slot = self.known[who];
                let edge = match which % 3 {
                    0 => Input::Readable { slot },
                    1 => Input::Writable { slot },
                    _ => Input::HungUp { slot },
                };
                return self.server.handle_input(now, edge);
            }
            Op::Answer(which, ref answer) => {
                self.tell(now, self.pending[which], answer)?;
                self.pending.remove(which);
                return Ok(());
            }
            Op::Unasked(who, ref answer) => return self.unasked(now, self.known[who], answer),
            Op::Listen(None) => Command::Open,
            Op::Listen(Some(clients)) => Command::Close(clients),
            Op::Write(to, ref bytes, fed, terminate) => {
                let to = to.map_or(To::All, |who| To::Slot(self.known[who]));
                Command::Write { to, bytes, mode: if fed { Mode::Feed } else { Mode::Policy }, terminate }
            }
            Op::Consume(who, len) => Command::Consume { slot: self.known[who], len },
            Op::TakeEnd(index) => Command::TakeEnd { index },
            Op::Leave(who, how) => {
                let slot = self.known[who];
                match how % 8 {
                    0 | 1 => Command::Flush { slot },
                    2 | 3 => Command::ShutDown { slot },
                    4 | 5 => Command::Drop { slot, reason: Reason::LocalClosed },
                    _ => Command::Abort { slot },
                }
            }
            Op::Set(index, which, value) => Command::Set { index, option: slot_option(which, value) },
            Op::SetPort(which, value) => Command::SetPort(port_option(which, value)),
        };
        self.server.handle_input(now, Input::Requested(command))
    }

    fn carry_out(&mut self, now: Instant, output: Output) -> Vec<u8> {
        match output {
            Output::Admit { slot } => self.known.push(slot),
            Output::Refuse { why } => return self.server.farewell(why).to_vec(),
            Output::Transmit { slot } => {
                let shown = self.server.transmit(slot).concat();
                assert!(!shown.is_empty(), "a transmit of nothing");
                self.ask(now, output, &Answer::Transmitted(shown.len()));
                return shown;
            }
            Output::Read { .. } => self.ask(now, output, &Answer::ReadBlocked),
            Output::Close { .. } | Output::Listen | Output::Unlisten => self.ask(now, output, &Answer::Done),
            _ => {}
        }
        Vec::new()
    }
}

impl Ported {
    /// Answers a question at once, or later.
    fn ask(&mut self, now: Instant, question: Output, answer: &Answer) {
        if self.haste.chance(1, 2) {
            self.tell(now, question, answer).expect("the answer fits the question");
        } else {
            self.pending.push(question);
        }
    }

    fn tell(&mut self, now: Instant, question: Output, answer: &Answer) -> Result<(), Error> {
        let input = match (question, answer) {
            (Output::Read { slot, .. } | Output::Transmit { slot }, answer) => return self.unasked(now, slot, answer),
            (Output::Close { slot, .. }, _) => Input::Closed { slot },
            (Output::Listen, Answer::OpenFailed) => Input::OpenFailed { kind: OpenFailure::InUse },
            (Output::Listen, _) => Input::Opened { local: LOCAL },
            _ => Input::Shut,
        };
        self.server.handle_input(now, input)
    }

    fn unasked(&mut self, now: Instant, slot: SlotId, answer: &Answer) -> Result<(), Error> {
        let input = match answer {
            Answer::Received(bytes, more) => Input::Received { slot, bytes, more: *more },
            Answer::ReadBlocked => Input::ReadBlocked { slot },
            Answer::Ended => Input::Ended { slot },
            Answer::Transmitted(len) => Input::Transmitted { slot, len: *len },
            Answer::WriteBlocked => Input::WriteBlocked { slot },
            Answer::Failed(kind) => Input::Failed { slot, kind: *kind },
            Answer::Done | Answer::OpenFailed => Input::Closed { slot },
        };
        self.server.handle_input(now, input)
    }

    /// Mostly an answer that fits, at times one that is too long.
    fn answer_to(&self, question: Output, rng: &mut Rng) -> Answer {
        let failed = Answer::Failed(*rng.pick(&[Failure::Reset, Failure::BrokenPipe]));
        match question {
            Output::Read { max, .. } => match rng.below(16) {
                0 => Answer::Received(vec![0; max + 1], true),
                1..=9 => {
                    let len = 1 + rng.index(max.min(100));
                    Answer::Received((0..len).map(|_| *rng.pick(b"ab\r\n")).collect(), rng.chance(1, 2))
                }
                10..=12 => Answer::ReadBlocked,
                13 | 14 => Answer::Ended,
                _ => failed,
            },
            Output::Transmit { slot } => {
                let shown = self.server.transmit(slot).concat().len();
                match rng.below(16) {
                    0 => Answer::Transmitted(shown + 1),
                    1..=6 => Answer::Transmitted(shown),
                    7..=10 => Answer::Transmitted(rng.index(shown + 1)),
                    11..=14 => Answer::WriteBlocked,
                    _ => failed,
                }
            }
            Output::Listen if rng.chance(1, 4) => Answer::OpenFailed,
            _ => Answer::Done,
        }
    }

    /// Mostly somebody who is there, by the place among all that were.
    fn recent(&self, rng: &mut Rng) -> usize {
        let seen = self.known.len();
        if rng.chance(1, 8) { rng.index(seen) } else { seen - 1 - rng.index(seen.min(6)) }
    }

    fn at(&self, index: u32) -> usize {
        let id = self.server.id_at(index);
        self.known.iter().position(|known| Some(*known) == id).unwrap_or(0)
    }
}
