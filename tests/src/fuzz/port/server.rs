//! A scripted server port against a naive one.
//!
//! # Script
//!
//! Eight bytes of [`crate::port::setting`], then operations: the low half of a byte names one, its operands follow. A slot is a byte,
//! modulo one more than there are slots; the one too many stands for ids that are stale or were never given.
//!
//! | low half | operation, operands |
//! | --- | --- |
//! | 0 | the next turn; or up to 20 clients that come in one: how many, from which network |
//! | 1 | a client comes: from which network |
//! | 2 | a peer sends: slot, bytes; with the high bit, so many times 97 of them |
//! | 3 | a peer takes what we send: slot, bytes; 255 stands for all there is |
//! | 4 | a peer ends, breaks off or hangs up: slot, how |
//! | 5 | readiness that means nothing: slot, which |
//! | 6 | how the driver works: bits of [`Manner`], bytes of a read, bytes of a write |
//! | 7 | an answer that was put off is given, or found out and not given yet: which |
//! | 8 | a message for one client: slot, bytes, mode |
//! | 9 | a message for all: bytes, mode |
//! | A | the program reads: slot, room, whether in time |
//! | B | the program flushes, shuts down, drops or aborts: slot, what |
//! | C | the port is opened, closed, breaks, or lacks descriptors: what |
//! | D | an option is set: slot, which, value |
//! | E | time passes, up to the deadline or not up to it: how |
//! | F | inputs that must be refused: slot |

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the script and its driver look at a few kinds of a thing at a time"
)]

mod checking;
mod driving;
mod kernel;

use super::super::Source;
use crate::naive::port::server::{Port, Setup};
use crate::port::{Heap, port_option, server, setting, slot_option, terminator};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use kernel::{Answer, Kernel, Socket};
use wharf_core::port::server::{
    AcceptFailure, Command, Error, Failure, Input, Mode, Next, OnClose, OpenFailure, Output, Reason, Server,
    SlotOption, To,
};
use wharf_core::slots::SlotId;
use wharf_core::{Instant, Machine, Step};

/// More operations than this prove nothing new and only slow the fuzzer down.
const MAX_OPERATIONS: usize = 400;
/// Outputs in one drain that are too many for any queue.
const DRAIN_BOUND: usize = 600_000;
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5025);

/// Plays a script on a port and on a naive one.
///
/// # Panics
/// When the port does what the naive one says it must not, or leaves undone what it must do.
pub fn port_server(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(&mut source);
    rig.drain();
    for _ in 0..MAX_OPERATIONS {
        if source.is_empty() {
            break;
        }
        let operation = source.byte();
        rig.operate(operation, &mut source);
        rig.settle();
    }
    rig.finish();
}

/// How the driver works.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// Answers are put off until the script gives them.
    postpones: bool,
    /// A new client cannot be registered and fails at once.
    admission_fails: bool,
    open_fails: bool,
    most_read: usize,
    most_written: usize,
    window: usize,
}

/// A question of the port that is not answered yet.
#[derive(Debug)]
struct Pending {
    question: Output,
    /// The answer, if the system has given it already.
    found: Option<Answer>,
}

/// The port, the naive port, and the driver of both.
struct Rig {
    server: Server<Heap>,
    model: Port,
    slots: u8,
    now: Instant,
    deadline: Option<Instant>,
    kernel: Kernel,
    pending: Vec<Pending>,
    manner: Manner,
    yielded: bool,
    /// Ids that are stale, and one that never was.
    gone: Vec<SlotId>,
    /// What happened, for whoever has to find out why it went wrong; kept with `WHARF_TRACE` in the environment.
    trace: Option<Vec<String>>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(trace) = self.trace.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("{}", trace.join("\n"));
        }
    }
}

impl Rig {
    fn new(source: &mut Source<'_>) -> Self {
        let bytes: [u8; 8] = core::array::from_fn(|_| source.byte());
        let (config, memory) = setting(bytes);
        let setup = Setup {
            slots: memory.slots,
            allow: memory.allow.iter().map(|_| (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 24)).collect(),
            terminators: memory.terminators,
            boundaries: memory.boundaries,
        };
        let slots = u8::try_from(setup.slots).expect("few");
        let mut rig = Self {
            model: Port::new(&config, setup),
            server: server(config, memory).expect("a configuration that can be"),
            slots,
            now: Instant::ORIGIN,
            deadline: None,
            kernel: Kernel::default(),
            pending: Vec::new(),
            manner: Manner {
                postpones: false,
                admission_fails: false,
                open_fails: false,
                most_read: usize::MAX,
                most_written: usize::MAX,
                window: 1 << 20,
            },
            yielded: false,
            gone: vec![SlotId::from_bits(7 << 32 | u64::from(slots))],
            trace: std::env::var_os("WHARF_TRACE").map(|_| Vec::new()),
        };
        let eos = bytes[6];
        for option in [SlotOption::InputEos(terminator(eos)), SlotOption::OutputEos(terminator(eos >> 2))] {
            let _too_many = rig.ask(Command::Set { index: None, option });
        }
        let _accepted = rig.ask(Command::Open);
        rig
    }

    fn operate(&mut self, operation: u8, source: &mut Source<'_>) {
        let high = operation >> 4;
        match operation & 15 {
            0 if high < 8 => self.turn(),
            0 => {
                let (count, network) = (source.byte() % 20, source.byte());
                for _ in 0..count {
                    if self.kernel.waiting.is_none() {
                        self.come(network);
                        self.drain();
                    }
                }
            }
            1 => self.come(source.byte()),
            2 => {
                let (slot, len) = (source.byte(), usize::from(source.byte()));
                let len = if high & 8 == 0 { len } else { 97 * len };
                self.peer(slot, |socket| socket.send(len), |slot| Input::Readable { slot });
            }
            3 => {
                let (slot, len) = (source.byte(), usize::from(source.byte()));
                let len = if len == 255 { 1 << 20 } else { len };
                self.peer(slot, |socket| socket.window += len, |slot| Input::Writable { slot });
            }
            4 => self.end(source),
            5 => {
                let (slot, which) = (source.byte(), source.byte());
                let Some(slot) = self.id(slot) else { return };
                let input = match which % 3 {
                    0 => Input::Readable { slot },
                    1 => Input::Writable { slot },
                    _ => Input::HungUp { slot },
                };
                let _stale = self.give(input);
            }
            6 => {
                let (read, written) = (usize::from(source.byte()), usize::from(source.byte()));
                let most = |len| if len == 0 { usize::MAX } else { len };
                self.manner = Manner {
                    postpones: high & 1 != 0,
                    admission_fails: high & 2 != 0,
                    open_fails: high & 4 != 0,
                    most_read: most(read),
                    most_written: most(written),
                    window: if high & 8 == 0 { 1 << 20 } else { written },
                };
            }
            7 => {
                let which = usize::from(source.byte());
                self.resolve(which, high & 8 != 0);
            }
            8 => {
                let (slot, len) = (source.byte(), usize::from(source.byte()));
                if let Some(slot) = self.id(slot) {
                    self.write(To::Slot(slot), len, high);
                }
            }
            9 => {
                let len = usize::from(source.byte());
                let but = if high & 8 == 0 { None } else { self.id(source.byte()) };
                self.write(but.map_or(To::All, To::Others), len, high);
            }
            10 => {
                let (slot, room) = (source.byte(), source.byte());
                self.read(u32::from(slot % (self.slots + 1)), room, high);
            }
            11 => {
                let (slot, what) = (source.byte(), source.byte());
                if let Some(slot) = self.id(slot) {
                    self.leave(slot, what);
                }
            }
            12 => self.listener(source.byte()),
            13 => self.option(source),
            14 => self.pass(source.byte()),
            _ => self.refusals(source.byte()),
        }
    }

    /// A client comes to a door at which nobody waits yet.
    fn come(&mut self, network: u8) {
        let peer = self.kernel.caller(network);
        if self.give(Input::Accepted { peer }).is_ok() {
            self.kernel.waiting = Some(peer);
        }
    }

    /// Something happens at the other end of a client's connection, which the port is told by an edge.
    fn peer(&mut self, slot: u8, act: impl FnOnce(&mut Socket), edge: impl FnOnce(SlotId) -> Input<'static>) {
        let Some(id) = self.id(slot) else { return };
        let Some(socket) = self.kernel.sockets.get_mut(&id) else { return };
        act(socket);
        let _told = self.give(edge(id));
    }

    fn end(&mut self, source: &mut Source<'_>) {
        let (slot, how) = (source.byte(), source.byte());
        let kind = failure(how >> 3);
        match how & 7 {
            0 | 1 => self.peer(slot, |socket| socket.fin = true, |slot| Input::Readable { slot }),
            2 => self.peer(slot, |socket| socket.fin = true, |slot| Input::HungUp { slot }),
            3 | 4 => self.peer(slot, |socket| socket.broken = Some(kind), |slot| Input::HungUp { slot }),
            _ => {
                if let Some(slot) = self.id(slot) {
                    let _told = self.give(Input::Failed { slot, kind });
                }
            }
        }
    }

    /// A message for one or for all.
    fn write(&mut self, to: To, len: usize, high: u8) {
        let mode = if high & 1 == 0 { Mode::Policy } else { Mode::Feed };
        let len = if high & 2 == 0 { len } else { len * 3 };
        let bytes: Vec<u8> = (0..len).map(|at| b'A' + u8::try_from(at % 26).expect("a letter")).collect();
        let _full = self.ask(Command::Write { to, bytes: &bytes, mode, terminate: high & 4 == 0 });
    }

    /// The program reads, as it is shown: a piece, the end, or as many bytes as it likes.
    fn read(&mut self, index: u32, room: u8, high: u8) {
        let room = if room == 255 { usize::MAX } else { usize::from(room) };
        let Some(Next::Piece(piece)) = self.piece(index, room, high & 1 != 0) else { return };
        if piece.eom == wharf_core::port::framing::Eom::END {
            self.ask(Command::TakeEnd { index }).expect("an end that is owed can be taken");
        } else {
            let slot = self.server.id_at(index).expect("whoever has bytes is there");
            self.ask(Command::Consume { slot, len: piece.taken() }).expect("a piece can be taken");
        }
    }

    fn leave(&mut self, slot: SlotId, what: u8) {
        let command = match what & 7 {
            0 | 1 => Command::Flush { slot },
            2 | 3 => Command::ShutDown { slot },
            4 | 5 => Command::Drop { slot, reason: [Reason::LocalClosed, Reason::ReadTimeout][usize::from(what & 1)] },
            6 => Command::Abort { slot },
            _ => Command::Consume { slot, len: usize::from(what >> 3) },
        };
        let _refused = self.ask(command);
    }

    fn listener(&mut self, what: u8) {
        let _refused = match what & 7 {
            0 | 1 => self.ask(Command::Open),
            2 => self.ask(Command::Close(OnClose::Drop)),
            3 => self.ask(Command::Close(OnClose::Keep)),
            4 => self.give(Input::AcceptFailed { kind: AcceptFailure::Transient }),
            5 | 6 => self.give(Input::AcceptFailed { kind: AcceptFailure::Exhausted }),
            _ => self.give(Input::AcceptFailed { kind: AcceptFailure::Fatal }),
        };
    }

    fn option(&mut self, source: &mut Source<'_>) {
        let (slot, which, value) = (source.byte(), source.byte(), source.byte());
        let index = (which & 0x40 != 0).then_some(u32::from(slot % (self.slots + 1)));
        let _refused = match which % 18 {
            14.. => self.ask(Command::SetPort(port_option(which % 18 - 14, value))),
            which => self.ask(Command::Set { index, option: slot_option(which, value) }),
        };
    }

    fn pass(&mut self, how: u8) {
        if self.yielded {
            self.turn();
            self.drain();
        }
        // Whole milliseconds, in which a port's timers count.
        let by = |millis: u64| self.now.saturating_add(Duration::from_millis(millis));
        let span = u64::from(how >> 2);
        let early = how & 3 == 3;
        match (self.deadline, how & 3) {
            (_, 0) => self.pass_until(by(span)),
            (_, 1) => self.pass_until(by(100 * span)),
            (Some(deadline), _) if deadline > self.now => {
                if early {
                    let before = Instant::from_micros(deadline.as_micros() - 1);
                    self.server.handle_timeout(before);
                    assert_eq!(self.server.poll_output(), Step::Wait(self.deadline), "after an early timeout");
                }
                self.now = deadline;
            }
            _ => {}
        }
    }

    /// No deadline is passed by: what runs out first acts first.
    pub(super) fn pass_until(&mut self, end: Instant) {
        while let Some(deadline) = self.deadline.filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.settle();
        }
        self.now = end;
    }

    /// What fits no question, and whom nobody knows.
    fn refusals(&mut self, which: u8) {
        let Some(slot) = self.id(which) else { return };
        let asked = |pending: &Pending| match pending.question {
            Output::Read { slot: other, max } => (other == slot).then_some(max),
            _ => None,
        };
        let wrong = match self.pending.iter().find_map(asked) {
            Some(max) => vec![
                self.give(Input::Received { slot, bytes: &[], more: true }),
                self.give(Input::Received { slot, bytes: &vec![0; max + 1], more: false }),
            ],
            None => vec![
                self.give(Input::Received { slot, bytes: &[1], more: true }),
                self.give(Input::ReadBlocked { slot }),
                self.give(Input::Ended { slot }),
            ],
        };
        let shown = self.server.transmit(slot).concat().len();
        let wrong = wrong.into_iter().chain([0, shown + 1].map(|len| self.give(Input::Transmitted { slot, len })));
        for answer in wrong.collect::<Vec<_>>() {
            assert!(answer.is_err(), "an answer that fits no question was taken");
        }
        let too_many = self.server.received(slot).concat().len() + 1;
        assert!(self.ask(Command::Consume { slot, len: too_many }).is_err(), "more bytes were consumed than there are");
        let index = u32::from(self.slots);
        let slots = index;
        assert_eq!(self.ask(Command::TakeEnd { index }), Err(Error::NoSuchSlot { index, slots }));
        let option = SlotOption::IdleRx(1);
        assert_eq!(self.ask(Command::Set { index: Some(index), option }), Err(Error::NoSuchSlot { index, slots }));
        if !self.pending.iter().any(|pending| pending.question == Output::Listen) {
            assert!(self.give(Input::Opened { local: LOCAL }).is_err());
            assert!(self.give(Input::OpenFailed { kind: OpenFailure::InUse }).is_err());
        }
        if self.kernel.waiting.is_some() {
            let peer = LOCAL;
            assert_eq!(self.give(Input::Accepted { peer }), Err(Error::Undecided));
        }
    }

    /// The client in a slot; for the slot behind the last, somebody who has left or never was.
    fn id(&self, slot: u8) -> Option<SlotId> {
        let index = slot % (self.slots + 1);
        if index == self.slots {
            return self.gone.get(usize::from(slot) % self.gone.len()).copied();
        }
        self.server.id_at(u32::from(index))
    }
}

const fn failure(choice: u8) -> Failure {
    [Failure::Reset, Failure::BrokenPipe, Failure::TimedOut, Failure::Unreachable, Failure::Other]
        [(choice % 5) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, seeds};

    #[test]
    fn random_scripts_agree() {
        for seed in seeds(2000) {
            let mut rng = Rng::new(seed);
            let len = 8 + rng.index(300);
            println!("WHARF_SEED={seed}");
            port_server(&rng.bytes(len));
        }
    }
}
