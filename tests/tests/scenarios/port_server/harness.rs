//! A port in virtual time: the machine, a driver that carries its outputs out at once, and peers on the other side.
//!
//! Peers act, then [`Bench::run`] lets the port see it: turn by turn, until nothing is left to be told and no turn is
//! asked for. Nothing else ever begins a turn. [`Bench::sleep`] goes from deadline to deadline, and through none early.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use wharf_core::network::Network;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{
    AcceptFailure, Command, Config, Error, Event, Failure, How, Input, Mode, Next, OnFull, OpenFailure, Options,
    Outcome, Output, PortOptions, Receipt, Refusal, Server, To,
};
use wharf_core::slots::SlotId;
use wharf_core::{Instant, Machine, Step};
use wharf_tests::port::{Heap, Memory, server};

pub(super) const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5025);
/// Turns, and outputs of one drain, after which a port is said to spin.
const TOO_MANY: usize = 10_000;

/// Somebody at the other end, by the order in which they came.
pub(super) type Who = usize;

/// One of them, and what it has seen.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) slot: Option<SlotId>,
    /// What it was sent.
    pub(super) got: Vec<u8>,
    /// Our end has reached it.
    pub(super) saw_end: bool,
    pub(super) closed: Option<How>,
    pub(super) refused: Option<Refusal>,
    /// Bytes that it still takes.
    pub(super) window: usize,
    outgoing: VecDeque<u8>,
    ended: bool,
    broken: Option<Failure>,
    edges: VecDeque<Edge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Readable,
    Writable,
    HungUp,
}

/// What a read gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Bytes(Vec<u8>, Eom),
    End,
    Nothing,
    NotConnected,
}

/// The port, its driver and its peers.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) server: Server<Heap>,
    pub(super) now: Instant,
    pub(super) peers: Vec<Peer>,
    /// Everything that was told, and everything that was to be done.
    pub(super) events: Vec<Event>,
    pub(super) outputs: Vec<Output>,
    pub(super) turns: usize,
    /// What the next attempts to listen, to accept and to register a client come to.
    pub(super) open_fails: Option<OpenFailure>,
    pub(super) accept_fails: VecDeque<AcceptFailure>,
    pub(super) admission_fails: bool,
    /// Descriptors in use: clients, those that wait for a decision, and the listening socket.
    pub(super) descriptors: usize,
    deadline: Option<Instant>,
    listening: bool,
    muted: bool,
    backlog: VecDeque<Who>,
    deciding: Option<Who>,
    seated: BTreeMap<SlotId, Who>,
    yielded: bool,
}

/// So many slots, nothing that ends a client for being idle, and no terminators.
pub(super) fn plain(on_full: OnFull) -> Config {
    Config {
        rx_queue: 64,
        tx_queue: 64,
        port: PortOptions { on_full, ..PortOptions::DEFAULT },
        slots: Options::DEFAULT,
        ..Config::default()
    }
}

impl Bench {
    /// A port that listens.
    pub(super) fn new(config: Config, slots: usize) -> Self {
        let mut bench = Self::down(config, Memory::of(slots));
        bench.ask(Command::Open).expect("a port can be opened");
        assert!(bench.server.is_up());
        bench
    }

    pub(super) fn allowing(config: Config, slots: usize, network: &str) -> Self {
        let allow: Vec<Network> = vec![network.parse().expect("a network")];
        let mut bench = Self::down(config, Memory { allow, ..Memory::of(slots) });
        bench.ask(Command::Open).expect("a port can be opened");
        bench
    }

    /// A port that does not listen yet.
    pub(super) fn down(config: Config, memory: Memory) -> Self {
        Self {
            server: server(config, memory).expect("a configuration that can be"),
            now: Instant::ORIGIN,
            peers: Vec::new(),
            events: Vec::new(),
            outputs: Vec::new(),
            turns: 0,
            open_fails: None,
            accept_fails: VecDeque::new(),
            admission_fails: false,
            descriptors: 0,
            deadline: None,
            listening: false,
            muted: false,
            backlog: VecDeque::new(),
            deciding: None,
            seated: BTreeMap::new(),
            yielded: false,
        }
    }

    /// Somebody connects, and waits to be accepted.
    pub(super) fn come(&mut self) -> Who {
        let number = u16::try_from(self.peers.len()).expect("few peers");
        self.come_from(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), number))
    }

    pub(super) fn come_from(&mut self, address: SocketAddr) -> Who {
        let who = self.peers.len();
        self.peers.push(Peer {
            address,
            slot: None,
            got: Vec::new(),
            saw_end: false,
            closed: None,
            refused: None,
            window: usize::MAX,
            outgoing: VecDeque::new(),
            ended: false,
            broken: None,
            edges: VecDeque::new(),
        });
        self.backlog.push_back(who);
        who
    }

    /// Somebody connects and is given a slot at once.
    pub(super) fn client(&mut self) -> Who {
        let who = self.come();
        self.run();
        assert!(self.peers[who].slot.is_some(), "{:?} is no client", self.peers[who]);
        who
    }

    pub(super) fn sends(&mut self, who: Who, bytes: &[u8]) {
        let peer = &mut self.peers[who];
        assert!(!peer.ended, "it has ended its output");
        peer.outgoing.extend(bytes);
        peer.edges.push_back(Edge::Readable);
    }

    pub(super) fn ends(&mut self, who: Who) {
        self.peers[who].ended = true;
        self.peers[who].edges.push_back(Edge::Readable);
    }

    /// A reset or another failure, as an edge and in answer to the next read or write.
    pub(super) fn breaks(&mut self, who: Who, kind: Failure) {
        self.peers[who].broken = Some(kind);
        self.peers[who].edges.push_back(Edge::HungUp);
    }

    /// A hang-up without an error: both directions are over.
    pub(super) fn hangs_up(&mut self, who: Who) {
        self.peers[who].ended = true;
        self.peers[who].edges.push_back(Edge::HungUp);
    }

    /// It takes so many bytes more, then no more.
    pub(super) fn takes(&mut self, who: Who, bytes: usize) {
        self.peers[who].window = bytes;
        self.peers[who].edges.push_back(Edge::Writable);
    }

    /// It takes nothing from now on.
    pub(super) fn deafen(&mut self, who: Who) {
        self.peers[who].window = 0;
    }

    pub(super) fn slot(&self, who: Who) -> SlotId {
        self.peers[who].slot.expect("it was given a slot")
    }

    /// Lets the port see all that has happened.
    pub(super) fn run(&mut self) {
        for _ in 0..TOO_MANY {
            self.drain();
            let edges = self.seated.values().any(|&who| !self.peers[who].edges.is_empty());
            if !(edges || self.may_accept() || self.yielded) {
                return;
            }
            self.turn();
        }
        panic!("the port asks for turn after turn");
    }

    /// One batch of events: first of the listening socket, then of the clients.
    pub(super) fn turn(&mut self) {
        self.turns += 1;
        self.yielded = false;
        self.tell(Input::TurnStarted);
        while self.may_accept() {
            if let Some(kind) = self.accept_fails.pop_front() {
                self.tell(Input::AcceptFailed { kind });
                continue;
            }
            let Some(who) = self.backlog.pop_front() else { break };
            self.deciding = Some(who);
            self.descriptors += 1;
            self.tell(Input::Accepted { peer: self.peers[who].address });
        }
        let seated: Vec<(SlotId, Who)> = self.seated.iter().map(|(&slot, &who)| (slot, who)).collect();
        for (slot, who) in seated {
            while let Some(edge) = self.peers[who].edges.pop_front() {
                let told = self.give(match edge {
                    Edge::Readable => Input::Readable { slot },
                    Edge::Writable => Input::Writable { slot },
                    Edge::HungUp => Input::HungUp { slot },
                });
                assert!(matches!(told, Ok(()) | Err(Error::Stale { .. })), "{told:?}");
            }
        }
    }

    /// No connection could be taken from the listening socket, in the turn that goes on.
    pub(super) fn cannot_accept(&mut self, kind: AcceptFailure) {
        self.tell(Input::AcceptFailed { kind });
    }

    /// Time passes, deadline by deadline.
    pub(super) fn sleep(&mut self, millis: u64) {
        let end = self.now.saturating_add(Duration::from_millis(millis));
        self.run();
        for _ in 0..TOO_MANY {
            let Some(deadline) = self.deadline.filter(|deadline| *deadline <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(deadline);
            self.server.handle_timeout(self.now);
            self.run();
        }
        panic!("the port is woken again and again");
    }

    /// When the port wants to be woken, in milliseconds from the origin.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        self.deadline.map(|deadline| deadline.as_micros().div_ceil(1000))
    }

    pub(super) fn millis(&self) -> u64 {
        self.now.as_micros() / 1000
    }

    pub(super) fn ask(&mut self, command: Command<'_>) -> Result<(), Error> {
        let answer = self.server.handle_input(self.now, Input::Requested(command));
        self.run();
        answer
    }

    /// A message for one client; what the receipt says of it.
    pub(super) fn write(&mut self, slot: SlotId, bytes: &[u8]) -> Result<Receipt, Error> {
        let command = Command::Write { to: To::Slot(slot), bytes, mode: Mode::Policy, terminate: true };
        self.server.handle_input(self.now, Input::Requested(command))?;
        let receipt = self.server.receipt();
        self.run();
        Ok(receipt)
    }

    /// A message for all; what became of it in each slot.
    pub(super) fn broadcast(&mut self, bytes: &[u8]) -> Result<Vec<Outcome>, Error> {
        let command = Command::Write { to: To::All, bytes, mode: Mode::Policy, terminate: true };
        self.server.handle_input(self.now, Input::Requested(command))?;
        let outcomes = self.server.outcomes().map(|(_, outcome)| outcome).collect();
        self.run();
        Ok(outcomes)
    }

    /// A read of a slot, with room for so many bytes.
    pub(super) fn read_upto(&mut self, index: u32, room: usize) -> Got {
        match self.server.piece(index, room, false) {
            Next::Wait => Got::Nothing,
            Next::NotConnected => Got::NotConnected,
            Next::Piece(piece) if piece.eom == Eom::END => {
                self.ask(Command::TakeEnd { index }).expect("an end that is shown can be taken");
                Got::End
            }
            Next::Piece(piece) => {
                let slot = self.server.id_at(index).expect("whoever has bytes is there");
                let bytes = self.server.received(slot).concat()[..piece.len].to_vec();
                self.ask(Command::Consume { slot, len: piece.taken() }).expect("a piece that is shown can be taken");
                Got::Bytes(bytes, piece.eom)
            }
        }
    }

    pub(super) fn read(&mut self, index: u32) -> Got {
        self.read_upto(index, usize::MAX)
    }

    /// Every byte that a slot has now.
    pub(super) fn read_all(&mut self, index: u32) -> Vec<u8> {
        let mut all = Vec::new();
        while let Got::Bytes(bytes, _) = self.read(index) {
            all.extend(bytes);
        }
        all
    }

    /// What was told since the last call.
    pub(super) fn news(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listening && !self.muted
    }

    fn may_accept(&self) -> bool {
        let somebody = !self.backlog.is_empty() || !self.accept_fails.is_empty();
        self.listening && !self.muted && self.deciding.is_none() && somebody
    }

    fn give(&mut self, input: Input<'_>) -> Result<(), Error> {
        let answer = self.server.handle_input(self.now, input);
        self.drain();
        answer
    }

    fn tell(&mut self, input: Input<'_>) {
        let shown = format!("{input:?}");
        self.give(input).unwrap_or_else(|error| panic!("{shown}: {error}"));
    }

    fn drain(&mut self) {
        for _ in 0..TOO_MANY {
            match self.server.poll_output() {
                Step::Do(output) => self.carry_out(output),
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
        panic!("a drain without end");
    }

    fn carry_out(&mut self, output: Output) {
        self.outputs.push(output);
        let now = self.now;
        let tell = |server: &mut Server<Heap>, input: Input<'_>| {
            server.handle_input(now, input).expect("the answer to a question is taken");
        };
        match output {
            Output::Listen => {
                let answer = match self.open_fails {
                    Some(kind) => Input::OpenFailed { kind },
                    None => Input::Opened { local: LOCAL },
                };
                self.listening = self.open_fails.is_none();
                self.descriptors += usize::from(self.listening);
                self.muted = false;
                tell(&mut self.server, answer);
            }
            Output::Unlisten => {
                self.listening = false;
                self.descriptors -= 1;
                tell(&mut self.server, Input::Shut);
            }
            Output::PauseAccept => assert!(!std::mem::replace(&mut self.muted, true), "paused twice"),
            Output::ResumeAccept => assert!(std::mem::take(&mut self.muted), "resumed twice"),
            Output::Admit { slot } => {
                let who = self.deciding.take().expect("somebody waits");
                self.peers[who].slot = Some(slot);
                assert_eq!(self.seated.insert(slot, who), None, "an id is given twice");
                if self.admission_fails {
                    tell(&mut self.server, Input::Failed { slot, kind: Failure::Other });
                }
            }
            Output::Refuse { why } => {
                let who = self.deciding.take().expect("somebody waits");
                self.peers[who].refused = Some(why);
                self.peers[who].got.extend(self.server.farewell(why));
                self.descriptors -= 1;
            }
            Output::Read { slot, max } => {
                let peer = &mut self.peers[self.seated[&slot]];
                let len = max.min(peer.outgoing.len());
                let bytes: Vec<u8> = peer.outgoing.drain(..len).collect();
                let answer = match (peer.broken, peer.ended) {
                    (Some(kind), _) if len == 0 => Input::Failed { slot, kind },
                    (None, true) if len == 0 => Input::Ended { slot },
                    (None, false) if len == 0 => Input::ReadBlocked { slot },
                    _ => {
                        // A short read says that nothing is left, unless an end or an error is.
                        let more = len == max || peer.ended || peer.broken.is_some();
                        Input::Received { slot, bytes: &bytes, more }
                    }
                };
                tell(&mut self.server, answer);
            }
            Output::Transmit { slot } => {
                let shown = self.server.transmit(slot).concat();
                let peer = &mut self.peers[self.seated[&slot]];
                assert!(!peer.saw_end && !shown.is_empty());
                let len = shown.len().min(peer.window);
                peer.window -= len;
                peer.got.extend(&shown[..len]);
                let answer = match (peer.broken, len) {
                    (Some(kind), _) => Input::Failed { slot, kind },
                    (None, 0) => Input::WriteBlocked { slot },
                    (None, len) => Input::Transmitted { slot, len },
                };
                tell(&mut self.server, answer);
            }
            Output::ShutdownWrite { slot } => {
                let peer = &mut self.peers[self.seated[&slot]];
                assert!(!std::mem::replace(&mut peer.saw_end, true), "our output ends twice");
            }
            Output::Close { slot, how } => {
                let who = self.seated.remove(&slot).expect("only what is open is closed");
                self.peers[who].closed = Some(how);
                self.descriptors -= 1;
                tell(&mut self.server, Input::Closed { slot });
            }
            Output::Yield => self.yielded = true,
            Output::Notify(event) => self.events.push(event),
            Output::Park => {}
            other => panic!("{other:?} is new"),
        }
    }
}
