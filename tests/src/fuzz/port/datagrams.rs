//! A UDP port under a script, beside a port in plain lists.
//!
//! The first six bytes choose mode, storage, budget and timeouts; then come operations, the low four bits of each
//! saying which, bit 7 that the outputs are left for the next one to drain:
//!
//! | operation | reads | does |
//! | --- | --- | --- |
//! | 0 | length, peer, times | a datagram comes, cut if bit 4 is set; with bit 5 so many, each in a turn of its own |
//! | 1 | | the socket has nothing, or else (bit 4) takes nothing |
//! | 2 | | a receive, or else (bit 4) a send, fails, for good if bit 5 is set |
//! | 3 | | the datagram leaves; with bit 4 all that may |
//! | 4 | | a turn begins, or the socket is readable or writable: bits 4 and 5 |
//! | 5 | | open; with bit 4 close |
//! | 6 | | the socket is opened, is not, is shut; with bits 4 and 5 whichever was asked for |
//! | 7 | room | reads |
//! | 8 | count | flushes, the reader leaves, subscribers come and go: bits 4 and 5 |
//! | 9 | length, peer | writes to a peer, to the one last read, to all: bits 4 and 5; with bit 6 seventy times |
//! | 10 | span | time passes, in units that bits 4 and 5 choose |
//! | 11 | | the clock is put to the deadline |
//! | 12 | | a timeout that nobody asked for |
//! | 13 | value | sets what bits 4 to 6 choose |
//! | 14 | | a subscriber goes on by one, or (bit 6) begins anew, from now or from what is unread (bit 5) |
//! | 15 | total | the system has dropped so many |

use super::super::Source;
use crate::naive::port::datagrams::{Act, Choices, Counts, Port, Read, Refusal, Share, Whom, Why};
use core::time::Duration;
use std::net::{Ipv6Addr, SocketAddr};
use wharf_core::port::datagrams::{
    Command, Config, Counters, Cursor, Datagrams, Error, Event, Failure, Input, Kind, MAX_PAYLOAD, Mode, Next,
    OpenFailure, Outcome, Output, Overflow, Reason, Record, Rest, Setting, To,
};
use wharf_core::port::framing::Eom;
use wharf_core::{Instant, Machine, Step};

/// More operations than this prove nothing new and only slow the fuzzer down.
const MAX_OPERATIONS: usize = 400;
const SPANS: [u64; 4] = [0, 1, 1000, 1_000_000];

/// Plays a script on a port and on the naive one.
///
/// # Panics
/// When they differ, or the port breaks its contract.
pub fn port_datagrams(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(&mut source);
    for _ in 0..MAX_OPERATIONS {
        if source.is_empty() {
            break;
        }
        let operation = source.byte();
        rig.operate(operation, &mut source);
        rig.agree();
        if operation & 0x80 == 0 {
            rig.drain();
        }
    }
    rig.drain();
}

struct Rig {
    port: Datagrams<Vec<u8>, Vec<Record>, Vec<u8>>,
    naive: Port,
    now: u64,
    cursors: [(Cursor, u64); 2],
    /// What the last read, flush or broadcast gave, by the naive port.
    read: Option<Read>,
    flushed: usize,
    shares: Vec<(SocketAddr, Share)>,
    serial: u8,
}

impl Rig {
    fn new(source: &mut Source<'_>) -> Self {
        let flags = source.byte();
        let [rx, depth, tx, budget, spans] = [(); 5].map(|()| source.byte());
        let span = |at: u8| SPANS[usize::from(spans >> at & 3)];
        let choices = Choices {
            asyn: flags & 1 > 0,
            rx: 64 + usize::from(rx),
            depth: 1 + usize::from(depth % 8),
            tx: 64 + usize::from(tx),
            budget: 64 * (1 + u64::from(budget % 16)),
            cache_hold: span(0),
            peer_ttl: span(2),
            reopen: span(4),
            auto_connect: flags & 2 == 0,
            discard_rest: flags & 4 > 0,
            drop_oldest: flags & 8 > 0,
        };
        let config = Config {
            mode: if choices.asyn { Mode::Asyn } else { Mode::Fifo },
            cache_hold: Duration::from_micros(choices.cache_hold),
            rest: if choices.discard_rest { Rest::Discard } else { Rest::Keep },
            overflow: if choices.drop_oldest { Overflow::DropOldest } else { Overflow::DropNewest },
            peer_ttl: Duration::from_micros(choices.peer_ttl),
            reopen: Duration::from_micros(choices.reopen),
            auto_connect: choices.auto_connect,
            budget: u32::try_from(choices.budget).expect("a small budget"),
        };
        let (rx, records, tx) = (vec![0; choices.rx], vec![Record::EMPTY; choices.depth], vec![0; choices.tx]);
        let port = Datagrams::new(config, rx, records, tx).expect("storage and timeouts are within their bounds");
        let cursor = port.cursor();
        Self {
            port,
            naive: Port::new(choices),
            now: 5,
            cursors: [(cursor, 0); 2],
            read: None,
            flushed: 0,
            shares: Vec::new(),
            serial: 0,
        }
    }

    fn operate(&mut self, operation: u8, source: &mut Source<'_>) {
        let choice = operation >> 4 & 3;
        match operation & 15 {
            0 => {
                let (bytes, peer) = (self.payload(source.byte()), address(source.byte()));
                let times = if choice & 2 > 0 { source.byte() % 80 } else { 1 };
                for nth in 0..times {
                    if times > 1 {
                        self.input(Input::TurnStarted, |naive, _| {
                            naive.turn();
                            Ok(())
                        });
                        self.drain();
                    }
                    let mut peer = peer;
                    peer.set_port(peer.port().wrapping_add(nth.into()));
                    let truncated = choice & 1 > 0;
                    self.input(Input::Datagram { peer, bytes: &bytes, truncated }, |naive, now| {
                        naive.datagram(now, peer, &bytes, truncated)
                    });
                }
            }
            1 if choice & 1 == 0 => self.input(Input::Blocked, |naive, _| naive.blocked()),
            1 => self.input(Input::SendBlocked, |naive, _| naive.send_blocked()),
            2 => {
                let (failure, fatal) = match choice & 2 {
                    0 => (Failure::Transient, None),
                    _ => (Failure::Fatal(Kind::Unreachable), Some(0)),
                };
                let receive = choice & 1 == 0;
                let input = if receive { Input::Failed { failure } } else { Input::SendFailed { failure } };
                self.input(input, |naive, _| naive.failed(receive, fatal));
            }
            3 => {
                for _ in 0..if choice & 1 > 0 { 64 } else { 1 } {
                    self.input(Input::Sent, |naive, _| naive.sent());
                    self.drain();
                }
            }
            4 => match choice {
                0 => self.input(Input::Readable, |naive, _| naive.edge(true)),
                1 => self.input(Input::Writable, |naive, _| naive.edge(false)),
                _ => self.input(Input::TurnStarted, |naive, _| {
                    naive.turn();
                    Ok(())
                }),
            },
            5 if choice & 1 == 0 => self.command(Command::Open, |naive, _| {
                naive.open();
                Ok(())
            }),
            5 => self.command(Command::Close, |naive, _| {
                naive.close();
                Ok(())
            }),
            6 => {
                let local = address(0);
                let kind = OpenFailure::Denied;
                if matches!(choice, 0 | 3) {
                    self.input(Input::Opened { local }, |naive, _| naive.opened(local));
                }
                if choice == 1 {
                    self.input(Input::OpenFailed { kind }, |naive, now| naive.open_failed(now, 0));
                }
                if matches!(choice, 2 | 3) {
                    self.input(Input::Shut, Port::shut);
                }
            }
            7 => self.read_into(usize::from(source.byte())),
            8 => match choice {
                0 => self.flush(),
                1 => self.command(Command::Leave, |naive, _| {
                    naive.leave();
                    Ok(())
                }),
                _ => {
                    let count = usize::from(source.byte() % 3);
                    self.command(Command::Subscribed { count }, |naive, now| {
                        naive.subscribed(now, count);
                        Ok(())
                    });
                }
            },
            9 => {
                let (bytes, peer) = (self.payload(source.byte()), address(source.byte()));
                let (to, whom) = match choice {
                    0 => (To::Peer(peer), Whom::Peer(peer)),
                    1 => (To::LastRead, Whom::LastRead),
                    _ => (To::Everyone, Whom::Everyone),
                };
                for _ in 0..if operation & 0x40 > 0 { 70 } else { 1 } {
                    let mut shares = None;
                    self.command(Command::Write { to, bytes: &bytes }, |naive, now| {
                        shares = Some(naive.write(now, whom, &bytes)?);
                        Ok(())
                    });
                    if let Some(shares) = shares {
                        self.shares = shares;
                    }
                }
            }
            10 => self.now += u64::from(source.byte()) * [1, 100, 10_000, 1_000_000][usize::from(choice)],
            11 => {
                self.drain();
                if let Step::Wait(Some(deadline)) = self.port.poll_output() {
                    self.now = self.now.max(deadline.as_micros());
                    self.time_out();
                    self.drain();
                    let Step::Wait(next) = self.port.poll_output() else { panic!("it was drained") };
                    assert!(next.is_none_or(|next| next.as_micros() > self.now), "late for {next:?}");
                }
            }
            12 => self.time_out(),
            13 => self.set(operation >> 4 & 7, source.byte()),
            14 => self.subscriber(usize::from(choice & 1), operation & 0x40 > 0, choice & 2 > 0),
            _ => {
                let total = u64::from(source.byte());
                self.input(Input::KernelDropped { total }, |naive, _| naive.kernel_dropped(total));
            }
        }
    }

    /// Bytes by which it can be told from others, as far as a queue has room for them.
    fn payload(&mut self, length: u8) -> Vec<u8> {
        let length = match length {
            0..=250 => usize::from(length),
            251 => 320,
            252 => 1000,
            253 => 65_507,
            254 => MAX_PAYLOAD,
            255 => MAX_PAYLOAD + 1,
        };
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let told = (0..=u8::MAX).cycle().take(length.min(320)).map(|nth| nth.wrapping_mul(7).wrapping_add(serial));
        let mut bytes: Vec<u8> = told.collect();
        bytes.resize(length, 0);
        bytes
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    fn input(&mut self, input: Input<'_>, naive: impl FnOnce(&mut Port, u64) -> Result<(), Refusal>) {
        let expected = naive(&mut self.naive, self.now);
        let got = self.port.handle_input(self.now(), input).map_err(refusal);
        assert_eq!(got, expected, "{input:?}");
        if got.is_ok() {
            (self.read, self.flushed) = (None, 0);
            self.shares.clear();
        }
    }

    fn command(&mut self, command: Command<'_>, naive: impl FnOnce(&mut Port, u64) -> Result<(), Refusal>) {
        self.input(Input::Requested(command), naive);
    }

    fn read_into(&mut self, room: usize) {
        let mut read = None;
        self.command(Command::Read { room }, |naive, _| {
            read = naive.read(room)?;
            Ok(())
        });
        if read.is_some() {
            self.read = read;
        }
    }

    fn flush(&mut self) {
        let mut flushed = 0;
        self.command(Command::Flush, |naive, _| {
            flushed = naive.flush()?;
            Ok(())
        });
        if flushed > 0 {
            self.flushed = flushed;
        }
    }

    fn time_out(&mut self) {
        self.port.handle_timeout(self.now());
        self.naive.timeout(self.now);
    }

    fn set(&mut self, what: u8, value: u8) {
        let span = SPANS[usize::from(value & 3)];
        let odd = value & 1 > 0;
        let setting = match what {
            0 => Setting::CacheHold(Duration::from_micros(span)),
            1 => Setting::PeerTtl(Duration::from_micros(span)),
            2 => Setting::Reopen(Duration::from_micros(span)),
            3 => Setting::AutoConnect(odd),
            4 => Setting::Rest(if odd { Rest::Discard } else { Rest::Keep }),
            _ => Setting::Overflow(if odd { Overflow::DropOldest } else { Overflow::DropNewest }),
        };
        self.command(Command::Set(setting), |naive, _| {
            let choices = &mut naive.choices;
            match what {
                0 => choices.cache_hold = span,
                1 => choices.peer_ttl = span,
                2 => choices.reopen = span,
                3 => choices.auto_connect = odd,
                4 => choices.discard_rest = odd,
                _ => choices.drop_oldest = odd,
            }
            Ok(())
        });
    }

    fn subscriber(&mut self, which: usize, anew: bool, unread: bool) {
        let (cursor, naive) = &mut self.cursors[which];
        if anew {
            let (end, first) = self.naive.cursors();
            (*cursor, *naive) = if unread { (self.port.cursor_at_unread(), first) } else { (self.port.cursor(), end) };
            return;
        }
        let got = self.port.next(cursor).map(|next| match next {
            Next::Lost(lost) => Err(lost),
            Next::Datagram(datagram) => Ok(Read {
                bytes: datagram.bytes.concat(),
                eom: 4,
                peer: datagram.peer,
                cut: datagram.truncated,
                at: datagram.at.as_micros(),
            }),
        });
        assert_eq!(got, self.naive.next(naive), "what is next for subscriber {which}");
    }

    fn drain(&mut self) {
        loop {
            let step = self.port.poll_output();
            let expected = self.naive.act();
            match step {
                Step::Do(output) => assert_eq!(Some(self.act(output)), expected),
                Step::Wait(deadline) => {
                    assert_eq!(expected, None);
                    assert_eq!(deadline.map(Instant::as_micros), self.naive.deadline());
                    assert_eq!(self.port.poll_output(), Step::Wait(deadline), "a drained port stays drained");
                    break;
                }
            }
        }
        self.agree();
    }

    fn act(&self, output: Output) -> Act {
        match output {
            Output::Bind => Act::Bind,
            Output::Unbind => Act::Unbind,
            Output::Receive { max } => {
                assert_eq!(max, MAX_PAYLOAD);
                Act::Receive
            }
            Output::Send { peer } => Act::Send(peer, self.port.transmit().concat()),
            Output::Yield => Act::Yield,
            Output::Notify(Event::PortUp { local }) => Act::Up(local),
            Output::Notify(Event::DataReady) => Act::Ready,
            Output::Notify(Event::Overflowed { lost }) => Act::Overflowed(lost),
            Output::Notify(Event::PortDown { reason }) => Act::Down(match reason {
                Reason::PortClosed => Why::Closed,
                Reason::Failed(kind) => Why::Failed(u8::from(kind != Kind::Unreachable)),
                Reason::NotOpened(kind) => Why::NotOpened(u8::from(kind != OpenFailure::Denied)),
            }),
        }
    }

    /// All that can be seen without asking for anything.
    fn agree(&self) {
        let piece = self.port.piece().map(|piece| Read {
            bytes: piece.bytes.concat(),
            eom: piece.eom.bits(),
            peer: piece.peer,
            cut: piece.truncated,
            at: piece.at.as_micros(),
        });
        assert_eq!(piece, self.read, "what was read");
        assert!(piece.is_none_or(|piece| piece.eom & Eom::EOS.bits() == 0), "a datagram has no terminator");
        assert_eq!(self.port.flushed(), self.flushed, "what was flushed");
        assert_eq!(self.port.local_addr(), self.naive.local(), "whether it is up");
        let pending = self.port.pending();
        assert_eq!((pending.rx, pending.tx), self.naive.pending(), "what waits");
        assert_eq!(counts(self.port.counters()), self.naive.counts);
        let shares: Vec<_> = self.port.outcomes().map(|(peer, outcome)| (peer, share(outcome))).collect();
        assert_eq!(shares, self.shares, "what became of the broadcast");
    }
}

/// Peers of both families.
fn address(which: u8) -> SocketAddr {
    if which.is_multiple_of(3) {
        (Ipv6Addr::LOCALHOST, u16::from(which) + 1000).into()
    } else {
        ([10, 0, 0, 1], u16::from(which) + 1000).into()
    }
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::NotConnected => Refusal::NotConnected,
        Error::NotAsked => Refusal::NotAsked,
        Error::Oversized { .. } => Refusal::Oversized,
        Error::EmptyBuffer => Refusal::EmptyBuffer,
        Error::ReadOnly => Refusal::ReadOnly,
        Error::NoPeer => Refusal::NoPeer,
        Error::TooLong { max, .. } => Refusal::TooLong(max),
        Error::Full { places, room } => Refusal::Full(places, room),
        Error::BadTimeout { .. } | Error::Depth { .. } | Error::QueueSize { .. } | _ => {
            panic!("{error} was never asked for")
        }
    }
}

fn share(outcome: Outcome) -> Share {
    match outcome {
        Outcome::Queued => Share::Queued,
        Outcome::Full => Share::Full,
        Outcome::TooLong => Share::TooLong,
    }
}

fn counts(counters: Counters) -> Counts {
    let Counters { received, bytes, empty, truncated, dropped_full, unread, kernel_dropped, failed, sent } = counters;
    Counts { received, bytes, empty, truncated, dropped_full, unread, kernel_dropped, failed, sent }
}
