//! A UDP port under the laws.
//!
//! Mode, storage, budget and timeouts follow from the seed. Its socket answers most calls at once, with datagrams from
//! a few peers, nothing, or a failure; the other calls wait for the script, which also answers what was never asked.

use super::Subject;
use crate::rng::Rng;
use core::time::Duration;
use std::net::SocketAddr;
use wharf_core::port::datagrams::{
    Command, Config, Cursor, Datagrams, Error, Failure, Input, Kind, MAX_PAYLOAD, Mode, OpenFailure, Output, Overflow,
    Record, Rest, Setting, To,
};
use wharf_core::{Instant, Machine};

/// Calls that a turn's budget suffices for in each direction.
const CALLS: u32 = 12;
/// What a call costs at least.
const LEAST_COST: u32 = 64;

/// A port with its socket.
#[derive(Debug)]
pub struct Udp {
    port: Datagrams<Vec<u8>, Vec<Record>, Vec<u8>>,
    cursor: Cursor,
    /// How the socket answers, call by call.
    socket: Rng,
}

/// One input.
#[derive(Clone, Debug)]
pub enum Op {
    /// One that borrows nothing.
    Plain(Input<'static>),
    /// A datagram comes.
    Datagram(SocketAddr, Vec<u8>, bool),
    /// The program writes one.
    Write(To, Vec<u8>),
}

impl Subject for Udp {
    type Machine = Datagrams<Vec<u8>, Vec<Record>, Vec<u8>>;
    type Op = Op;
    /// All that shows, once the call has been answered.
    type Note = String;

    const NAME: &'static str = "udp port";
    /// Each call with two events, each send, and what goes with coming up and going down.
    const DRAIN_BOUND: usize = 4 * CALLS as usize + 12;

    fn fresh(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xDA7A);
        let mut span = || Duration::from_micros(*rng.pick(&[0, 1, 700, 20_000, 1_000_000]));
        let [cache_hold, peer_ttl, reopen] = [span(), span(), span()];
        let config = Config {
            mode: *rng.pick(&[Mode::Asyn, Mode::Fifo]),
            cache_hold,
            rest: *rng.pick(&[Rest::Keep, Rest::Discard]),
            overflow: *rng.pick(&[Overflow::DropNewest, Overflow::DropOldest]),
            peer_ttl,
            reopen,
            auto_connect: rng.chance(3, 4),
            budget: LEAST_COST * (1 + u32::from(rng.byte()) % CALLS),
        };
        let [rx, tx] = [(); 2].map(|()| vec![0; 64 + rng.index(200)]);
        let records = vec![Record::EMPTY; 1 + rng.index(9)];
        let port = Datagrams::new(config, rx, records, tx).expect("storage and timeouts are within their bounds");
        Self { cursor: port.cursor(), port, socket: rng.fork() }
    }

    fn machine(&mut self) -> &mut Self::Machine {
        &mut self.port
    }

    fn draw(&mut self, rng: &mut Rng, _now: Instant) -> Op {
        let input = match rng.below(40) {
            0..=5 => return datagram(rng),
            6..=9 => {
                let peer = To::Peer(peer(rng));
                let to = *rng.pick(&[To::Everyone, To::LastRead, peer]);
                return Op::Write(to, bytes(rng));
            }
            10..=12 => Input::TurnStarted,
            13 => opened(),
            14 => Input::OpenFailed { kind: OpenFailure::Other },
            15 | 16 => Input::Shut,
            17..=19 => Input::Readable,
            20 | 21 => Input::Writable,
            22 => Input::Blocked,
            23 => Input::Failed { failure: failure(rng) },
            24 => Input::Sent,
            25 => Input::SendBlocked,
            26 => Input::SendFailed { failure: failure(rng) },
            27 => Input::KernelDropped { total: rng.below(100) },
            28..=30 => Input::Requested(Command::Open),
            31 if rng.chance(1, 3) => Input::Requested(Command::Close),
            32 => Input::Requested(Command::Flush),
            33 => Input::Requested(Command::Leave),
            34 => Input::Requested(Command::Subscribed { count: rng.index(3) }),
            35 => Input::Requested(Command::Set(setting(rng))),
            _ => Input::Requested(Command::Read { room: rng.index(40) }),
        };
        Op::Plain(input)
    }

    fn apply(&mut self, now: Instant, op: &Op) -> Result<(), Error> {
        let input = match op {
            Op::Plain(input) => *input,
            Op::Datagram(peer, bytes, truncated) => Input::Datagram { peer: *peer, bytes, truncated: *truncated },
            Op::Write(to, bytes) => Input::Requested(Command::Write { to: *to, bytes }),
        };
        self.port.handle_input(now, input)
    }

    fn carry_out(&mut self, now: Instant, output: Output) -> String {
        let shown = format!("{:?} {:?}", self.port.piece(), self.port.outcomes().collect::<Vec<_>>());
        let rng = &mut self.socket;
        let sent = self.port.transmit().concat();
        let answers = rng.chance(7, 8);
        let answer = match output {
            Output::Bind if rng.chance(1, 8) => Op::Plain(Input::OpenFailed { kind: OpenFailure::Denied }),
            Output::Bind => Op::Plain(opened()),
            Output::Unbind => Op::Plain(Input::Shut),
            Output::Receive { .. } => match rng.below(16) {
                0..=4 => Op::Plain(Input::Blocked),
                5 => Op::Plain(Input::Failed { failure: failure(rng) }),
                _ => datagram(rng),
            },
            Output::Send { .. } => Op::Plain(match rng.below(8) {
                0 => Input::SendBlocked,
                1 => Input::SendFailed { failure: failure(rng) },
                _ => Input::Sent,
            }),
            Output::Yield | Output::Notify(_) => return self.note(&sent, &shown),
        };
        // The longest datagrams are refused, and then the call is still out.
        if answers && self.apply(now, &answer).is_err() {
            assert!(
                matches!(answer, Op::Datagram(_, bytes, _) if bytes.len() > MAX_PAYLOAD),
                "what was asked is taken"
            );
        }
        self.note(&sent, &shown)
    }
}

impl Udp {
    fn note(&mut self, sent: &[u8], shown: &str) -> String {
        let next = self.port.next(&mut self.cursor);
        format!(
            "{sent:?} {shown} {next:?} {:?} {:?} {:?}",
            self.port.pending(),
            self.port.counters(),
            self.port.local_addr()
        )
    }
}

fn opened() -> Input<'static> {
    Input::Opened { local: ([127, 0, 0, 1], 5025).into() }
}

fn datagram(rng: &mut Rng) -> Op {
    Op::Datagram(peer(rng), bytes(rng), rng.chance(1, 8))
}

fn peer(rng: &mut Rng) -> SocketAddr {
    ([10, 0, 0, 1], 1 + rng.word() % 70).into()
}

/// Mostly few, at times as many as a queue has or more, and rarely more than there can be.
fn bytes(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(64) {
        0 => MAX_PAYLOAD + 1,
        1..=8 => 60 + rng.index(240),
        9..=16 => 0,
        _ => rng.index(40),
    };
    vec![rng.byte(); len]
}

fn failure(rng: &mut Rng) -> Failure {
    if rng.chance(3, 4) { Failure::Transient } else { Failure::Fatal(Kind::Other) }
}

fn setting(rng: &mut Rng) -> Setting {
    let span = Duration::from_micros(*rng.pick(&[0, 1, 5000, 1_000_000, u64::MAX]));
    match rng.below(6) {
        0 => Setting::CacheHold(span),
        1 => Setting::PeerTtl(span),
        2 => Setting::Reopen(span),
        3 => Setting::AutoConnect(rng.chance(1, 2)),
        4 => Setting::Rest(*rng.pick(&[Rest::Keep, Rest::Discard])),
        _ => Setting::Overflow(*rng.pick(&[Overflow::DropNewest, Overflow::DropOldest])),
    }
}
