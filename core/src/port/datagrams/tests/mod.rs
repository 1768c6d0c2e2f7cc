//! Scenarios of one port, each small enough to read. What the specification names is among the scenarios of the suite;
//! the laws and the fuzz body are there too.

mod reading;
mod writing;

use super::*;
use crate::machine::{Machine, Step};
use std::collections::VecDeque;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

const SECOND: Duration = Duration::from_secs(1);
const LOCAL: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 5025);
const ASYN: Config = Config { mode: Mode::Asyn, ..Config::DEFAULT };
const FIFO: Config = Config::DEFAULT;

fn peer(port: u16) -> SocketAddr {
    ([10, 0, 0, 7], port).into()
}

/// A port with its driver: what waits in the kernel, what was sent, and what was told.
struct Rig {
    port: Datagrams<Vec<u8>, Vec<Record>, Vec<u8>>,
    now: Instant,
    kernel: VecDeque<(SocketAddr, Vec<u8>)>,
    wire: Vec<(SocketAddr, Vec<u8>)>,
    told: Vec<Event>,
    yields: usize,
    /// Whether the socket takes datagrams.
    takes: bool,
}

impl Rig {
    /// A port that is up, with this many bytes each way and this many records.
    fn up(config: Config, bytes: usize, depth: usize) -> Self {
        let mut rig = Self::down(config, bytes, depth);
        rig.command(Command::Open);
        assert_eq!(rig.told(), [Event::PortUp { local: LOCAL }]);
        rig
    }

    fn down(config: Config, bytes: usize, depth: usize) -> Self {
        let port = Datagrams::new(config, vec![0; bytes], vec![Record::EMPTY; depth], vec![0; bytes]).unwrap();
        let now = Instant::from_millis(1000);
        Self { port, now, kernel: VecDeque::new(), wire: vec![], told: vec![], yields: 0, takes: true }
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            let input = match self.port.poll_output() {
                Step::Wait(deadline) => return deadline,
                Step::Do(Output::Bind) => Input::Opened { local: LOCAL },
                Step::Do(Output::Unbind) => Input::Shut,
                Step::Do(Output::Receive { .. }) => {
                    self.receive();
                    continue;
                }
                Step::Do(Output::Send { peer }) if self.takes => {
                    self.wire.push((peer, self.port.transmit().concat()));
                    Input::Sent
                }
                Step::Do(Output::Send { .. }) => Input::SendBlocked,
                Step::Do(Output::Yield) => {
                    self.yields += 1;
                    continue;
                }
                Step::Do(Output::Notify(event)) => {
                    self.told.push(event);
                    continue;
                }
            };
            self.port.handle_input(self.now, input).unwrap();
        }
    }

    fn receive(&mut self) {
        let came = self.kernel.pop_front();
        let input = came.as_ref().map_or(Input::Blocked, |(peer, bytes)| Input::Datagram {
            peer: *peer,
            bytes,
            truncated: false,
        });
        self.port.handle_input(self.now, input).unwrap();
    }

    fn input(&mut self, input: Input<'_>) -> Option<Instant> {
        self.port.handle_input(self.now, input).unwrap();
        self.drain()
    }

    fn command(&mut self, command: Command<'_>) {
        self.input(Input::Requested(command));
    }

    fn refused(&mut self, input: Input<'_>) -> Error {
        self.port.handle_input(self.now, input).unwrap_err()
    }

    /// These come from one peer.
    fn arrive(&mut self, datagrams: &[&[u8]]) {
        self.arrive_from(peer(1), datagrams);
    }

    fn arrive_from(&mut self, peer: SocketAddr, datagrams: &[&[u8]]) {
        self.kernel.extend(datagrams.iter().map(|bytes| (peer, bytes.to_vec())));
        self.input(Input::Readable);
    }

    fn read(&mut self, room: usize) -> Option<(Vec<u8>, Eom)> {
        self.port.handle_input(self.now, Input::Requested(Command::Read { room })).unwrap();
        let read = self.port.piece().map(|piece| (piece.bytes.concat(), piece.eom));
        self.drain();
        read
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.read(100_000).map(|(bytes, _)| bytes)
    }

    fn write(&mut self, to: To, bytes: &[u8]) {
        self.command(Command::Write { to, bytes });
    }

    fn told(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.told)
    }

    /// Waits for the deadline.
    fn wait(&mut self) -> Instant {
        let deadline = self.drain().expect("there is a deadline");
        self.now = deadline;
        self.port.handle_timeout(deadline);
        self.drain();
        deadline
    }

    fn all(&mut self, cursor: &mut Cursor) -> Vec<Result<Vec<u8>, u64>> {
        let mut all = vec![];
        while let Some(next) = self.port.next(cursor) {
            all.push(match next {
                Next::Datagram(datagram) => Ok(datagram.bytes.concat()),
                Next::Lost(lost) => Err(lost),
            });
        }
        all
    }
}

#[test]
fn the_shortest_storage_and_the_longest_timeouts_are_taken_and_nothing_beyond() {
    let make = |config, rx, depth, tx| {
        Datagrams::new(config, vec![0; rx], vec![Record::EMPTY; depth], vec![0; tx]).map(|_| ())
    };
    assert_eq!(make(FIFO, 64, 1, 64), Ok(()));
    assert_eq!(make(ASYN, 64, MAX_DEPTH, 0), Ok(()));
    assert_eq!(make(FIFO, 63, 1, 64), Err(Error::QueueSize { got: 63 }));
    assert_eq!(make(FIFO, 64, 1, 63), Err(Error::QueueSize { got: 63 }));
    assert_eq!(make(FIFO, (16 << 20) + 1, 1, 64), Err(Error::QueueSize { got: (16 << 20) + 1 }));
    assert_eq!(make(FIFO, 64, 0, 64), Err(Error::Depth { got: 0 }));
    assert_eq!(make(FIFO, 64, MAX_DEPTH + 1, 64), Err(Error::Depth { got: MAX_DEPTH + 1 }));
    assert_eq!(make(Config { peer_ttl: MAX_TIMEOUT, ..FIFO }, 64, 1, 64), Ok(()));
    let asked = MAX_TIMEOUT + Duration::from_nanos(1);
    assert_eq!(make(Config { reopen: asked, ..FIFO }, 64, 1, 64), Err(Error::BadTimeout { asked }));
    let mut rig = Rig::up(FIFO, 64, 1);
    assert_eq!(rig.refused(Input::Requested(Command::Set(Setting::CacheHold(asked)))), Error::BadTimeout { asked });
    assert_eq!(rig.port.config(), FIFO);
}

#[test]
fn a_port_comes_up_and_goes_down_any_number_of_times_and_says_so_once_each() {
    let mut rig = Rig::down(FIFO, 64, 4);
    assert_eq!((rig.drain(), rig.port.local_addr()), (None, None));
    for _ in 0..3 {
        rig.command(Command::Open);
        rig.command(Command::Open);
        assert_eq!((rig.port.local_addr(), rig.told()), (Some(LOCAL), vec![Event::PortUp { local: LOCAL }]));
        rig.command(Command::Close);
        rig.command(Command::Close);
        let down = Event::PortDown { reason: Reason::PortClosed };
        assert_eq!((rig.port.local_addr(), rig.told()), (None, vec![down]));
    }
}

#[test]
fn a_port_that_cannot_be_opened_says_why_and_tries_again_if_it_is_to() {
    let failed = Input::OpenFailed { kind: OpenFailure::AddressInUse };
    let told = [Event::PortDown { reason: Reason::NotOpened(OpenFailure::AddressInUse) }];
    for (config, again) in [
        (FIFO, Some(SECOND)),
        (Config { reopen: Duration::ZERO, ..FIFO }, None),
        (Config { auto_connect: false, ..FIFO }, None),
    ] {
        let mut rig = Rig::down(config, 64, 4);
        rig.port.handle_input(rig.now, Input::Requested(Command::Open)).unwrap();
        assert_eq!(rig.port.poll_output(), Step::Do(Output::Bind));
        let deadline = rig.input(failed);
        assert_eq!((rig.told(), rig.port.local_addr()), (told.to_vec(), None));
        assert_eq!(deadline, again.map(|span| rig.now.saturating_add(span)));
        if again.is_some() {
            rig.wait();
        } else {
            rig.command(Command::Open);
        }
        assert_eq!(rig.told(), [Event::PortUp { local: LOCAL }]);
    }
}

#[test]
fn a_port_is_down_unless_it_is_open_or_about_to_be() {
    let mut rig = Rig::down(FIFO, 64, 4);
    assert!(rig.port.is_down());
    rig.port.handle_input(rig.now, Input::Requested(Command::Open)).unwrap();
    assert!(!rig.port.is_down());
    assert_eq!(rig.port.poll_output(), Step::Do(Output::Bind));
    assert!(!rig.port.is_down());
    rig.input(Input::OpenFailed { kind: OpenFailure::Denied });
    assert!(rig.port.is_down(), "it waits to be tried again");
    rig.wait();
    assert!(!rig.port.is_down());
    rig.port.handle_input(rig.now, Input::Requested(Command::Close)).unwrap();
    assert!(!rig.port.is_down(), "its socket is still there");
    rig.drain();
    assert!(rig.port.is_down());
}

#[test]
fn a_fatal_failure_takes_the_port_down_and_it_is_opened_again_after_a_second() {
    for send in [false, true] {
        let mut rig = Rig::up(FIFO, 64, 4);
        rig.arrive(&[b"unread", b"too"]);
        rig.told();
        let failure = Failure::Fatal(Kind::Unreachable);
        let (input, output) = if send {
            let command = Command::Write { to: To::Peer(peer(1)), bytes: b"unsent" };
            rig.port.handle_input(rig.now, Input::Requested(command)).unwrap();
            (Input::SendFailed { failure }, Output::Send { peer: peer(1) })
        } else {
            rig.port.handle_input(rig.now, Input::Readable).unwrap();
            (Input::Failed { failure }, Output::Receive { max: MAX_PAYLOAD })
        };
        assert_eq!(rig.port.poll_output(), Step::Do(output));
        let deadline = rig.input(input);
        assert_eq!(rig.told(), [Event::PortDown { reason: Reason::Failed(Kind::Unreachable) }]);
        assert_eq!(deadline, Some(rig.now.saturating_add(SECOND)));
        let Counters { unread, failed, .. } = rig.port.counters();
        assert_eq!((unread, failed), (2, 1));
        assert_eq!(rig.refused(Input::Requested(Command::Read { room: 9 })), Error::NotConnected);
        rig.wait();
        assert_eq!((rig.told(), rig.bytes()), (vec![Event::PortUp { local: LOCAL }], None));
    }
}

#[test]
fn a_port_that_is_closed_while_it_fails_or_opens_stays_closed_and_one_that_is_opened_opens_at_once() {
    for reopen in [false, true] {
        let mut rig = Rig::up(FIFO, 64, 4);
        rig.port.handle_input(rig.now, Input::Readable).unwrap();
        let _ = rig.port.poll_output();
        rig.port.handle_input(rig.now, Input::Failed { failure: Failure::Fatal(Kind::Other) }).unwrap();
        let command = if reopen { Command::Open } else { Command::Close };
        rig.port.handle_input(rig.now, Input::Requested(command)).unwrap();
        assert_eq!(rig.drain(), None);
        assert_eq!(rig.port.local_addr().is_some(), reopen);
    }
    let mut rig = Rig::down(FIFO, 64, 4);
    rig.port.handle_input(rig.now, Input::Requested(Command::Open)).unwrap();
    assert_eq!(rig.port.poll_output(), Step::Do(Output::Bind));
    rig.port.handle_input(rig.now, Input::Requested(Command::Close)).unwrap();
    assert_eq!(rig.refused(Input::Opened { local: LOCAL }), Error::NotAsked);
    assert_eq!((rig.drain(), rig.told()), (None, vec![Event::PortDown { reason: Reason::PortClosed }]));
    assert_eq!(rig.port.local_addr(), None);
}

#[test]
fn every_open_that_is_taken_back_ends_in_port_down() {
    let mut rig = Rig::down(FIFO, 64, 4);
    let down = Event::PortDown { reason: Reason::PortClosed };
    let ask = |rig: &mut Rig, command| rig.port.handle_input(rig.now, Input::Requested(command)).unwrap();
    ask(&mut rig, Command::Open);
    ask(&mut rig, Command::Close);
    assert_eq!((rig.drain(), rig.told()), (None, vec![down]));
    rig.command(Command::Open);
    ask(&mut rig, Command::Close);
    assert_eq!(rig.port.poll_output(), Step::Do(Output::Notify(down)));
    ask(&mut rig, Command::Open);
    ask(&mut rig, Command::Close);
    rig.told();
    assert_eq!((rig.drain(), rig.told()), (None, vec![down]));
}

#[test]
fn answers_that_fit_no_request_are_refused() {
    let mut rig = Rig::up(FIFO, 64, 4);
    let failure = Failure::Transient;
    let datagram = |bytes| Input::Datagram { peer: peer(1), bytes, truncated: false };
    for input in [
        datagram(b"x"),
        Input::Blocked,
        Input::Failed { failure },
        Input::Sent,
        Input::SendBlocked,
        Input::SendFailed { failure },
        Input::Opened { local: LOCAL },
        Input::OpenFailed { kind: OpenFailure::Other },
        Input::Shut,
    ] {
        assert_eq!(rig.refused(input), Error::NotAsked, "{input:?}");
    }
    rig.port.handle_input(rig.now, Input::Readable).unwrap();
    assert_eq!(rig.port.poll_output(), Step::Do(Output::Receive { max: MAX_PAYLOAD }));
    let (len, max) = (MAX_PAYLOAD + 1, MAX_PAYLOAD);
    let longer = vec![0; len];
    assert_eq!(rig.refused(datagram(&longer)), Error::Oversized { len, max });
    assert_eq!(rig.port.counters(), Counters::default());
    rig.input(datagram(b"x"));
    rig.command(Command::Close);
    for input in [Input::Readable, Input::Writable, Input::KernelDropped { total: 1 }] {
        assert_eq!(rig.refused(input), Error::NotConnected, "{input:?}");
    }
    for command in [Command::Flush, Command::Read { room: 1 }, Command::Write { to: To::Everyone, bytes: b"" }] {
        assert_eq!(rig.refused(Input::Requested(command)), Error::NotConnected, "{command:?}");
    }
}

#[test]
fn what_the_kernel_drops_is_counted_once_and_anew_for_each_socket() {
    let mut rig = Rig::up(FIFO, 64, 1);
    for total in [3, 3, 5] {
        rig.input(Input::KernelDropped { total });
    }
    assert_eq!(rig.port.counters().kernel_dropped, 5);
    rig.command(Command::Close);
    rig.command(Command::Open);
    rig.input(Input::KernelDropped { total: 2 });
    assert_eq!(rig.port.counters().kernel_dropped, 7);
}

#[test]
fn errors_read_as_sentences_without_a_capital() {
    let error = Error::TooLong { len: 65, max: 64 };
    assert_eq!(error.to_string(), "datagram of 65 bytes is longer than 64");
}

#[test]
fn a_machine_is_as_small_as_its_docs_say() {
    let size = size_of::<Datagrams<&mut [u8], &mut [Record], &mut [u8]>>();
    assert!(size <= 8 << 10, "{size} bytes");
}
