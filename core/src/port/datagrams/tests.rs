//! Scenarios of one port, each small enough to read. What the specification names is among the scenarios of the suite; the
//! laws and the fuzz body are there too.

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
fn a_cache_is_filled_only_while_it_is_empty_and_a_ring_always() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"one", b"two"]);
    assert_eq!((rig.kernel.len(), rig.port.pending().rx), (1, 3));
    assert_eq!(rig.bytes(), Some(b"one".to_vec()));
    assert_eq!((rig.kernel.len(), rig.port.pending().rx), (0, 3));
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.arrive(&[b"one", b"two"]);
    assert_eq!((rig.kernel.len(), rig.port.pending().rx), (0, 6));
}

#[test]
fn a_port_in_asyn_mode_is_read_only() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"one"]);
    rig.bytes();
    for to in [To::Peer(peer(1)), To::LastRead, To::Everyone] {
        assert_eq!(rig.refused(Input::Requested(Command::Write { to, bytes: b"x" })), Error::ReadOnly);
    }
    assert!(rig.wire.is_empty());
}

#[test]
fn an_empty_datagram_is_counted_and_only_a_ring_keeps_it() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"", b"x"]);
    assert_eq!(rig.told(), [Event::DataReady]);
    assert_eq!(rig.read(9), Some((b"x".to_vec(), Eom::END)));
    assert_eq!(rig.read(9), None);
    assert_eq!(rig.port.counters().empty, 1);
    let mut cursor = rig.port.cursor();
    rig.command(Command::Subscribed { count: 1 });
    rig.arrive(&[b""]);
    assert_eq!((rig.told(), rig.all(&mut cursor)), (vec![Event::DataReady], vec![Ok(vec![])]));
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.arrive(&[b"", b"x"]);
    assert_eq!(rig.read(9), Some((vec![], Eom::END)));
    assert_eq!(rig.read(9), Some((b"x".to_vec(), Eom::END)));
    assert_eq!(rig.port.counters().empty, 1);
}

#[test]
fn the_longest_datagram_arrives_whole_and_one_that_is_longer_than_the_ring_is_cut_and_flagged() {
    for mode in [ASYN, FIFO] {
        let mut rig = Rig::up(mode, 256 << 10, 64);
        for len in [MAX_PAYLOAD_V4, MAX_PAYLOAD] {
            rig.arrive(&[&vec![7; len]]);
            assert_eq!(rig.bytes().map(|bytes| bytes.len()), Some(len));
            rig.input(Input::TurnStarted);
        }
        assert_eq!(rig.port.counters().truncated, 0);
        let mut rig = Rig::up(mode, 64, 4);
        rig.arrive(&[&[7; 65]]);
        rig.port.handle_input(rig.now, Input::Requested(Command::Read { room: 100 })).unwrap();
        let piece = rig.port.piece().unwrap();
        assert_eq!((piece.bytes.concat(), piece.truncated, piece.eom), (vec![7; 64], true, Eom::END));
        let Counters { truncated, bytes, .. } = rig.port.counters();
        assert_eq!((truncated, bytes), (1, 65));
    }
}

#[test]
fn what_the_system_has_cut_is_flagged() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.port.handle_input(rig.now, Input::Readable).unwrap();
    let _ = rig.port.poll_output();
    rig.port.handle_input(rig.now, Input::Datagram { peer: peer(3), bytes: b"cut", truncated: true }).unwrap();
    rig.port.handle_input(rig.now, Input::Requested(Command::Read { room: 3 })).unwrap();
    let piece = rig.port.piece().unwrap();
    assert_eq!((piece.truncated, piece.peer, piece.at), (true, peer(3), rig.now));
    assert_eq!(rig.port.counters().truncated, 1);
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
fn a_full_ring_drops_the_newest_or_the_oldest_and_tells_how_many() {
    for (overflow, left) in [(Overflow::DropNewest, [b"1", b"2"]), (Overflow::DropOldest, [b"4", b"5"])] {
        let mut rig = Rig::up(Config { overflow, ..FIFO }, 64, 2);
        let mut cursor = rig.port.cursor();
        rig.command(Command::Read { room: 1 });
        rig.command(Command::Subscribed { count: 1 });
        for bytes in [b"1", b"2", b"3", b"4", b"5"] {
            rig.arrive(&[bytes]);
        }
        let overflows = rig.told().into_iter().filter(|event| *event == Event::Overflowed { lost: 1 }).count();
        assert_eq!((overflows, rig.port.counters().dropped_full), (3, 3));
        assert_eq!([rig.bytes(), rig.bytes(), rig.bytes()], [Some(left[0].to_vec()), Some(left[1].to_vec()), None]);
        let [first, second] = left.map(|bytes| Ok(bytes.to_vec()));
        let seen = rig.all(&mut cursor);
        match overflow {
            Overflow::DropNewest => assert_eq!(seen, [first, second, Err(3)]),
            Overflow::DropOldest => assert_eq!(seen, [Err(3), first, second]),
        }
    }
}

#[test]
fn bytes_can_be_what_is_full_and_as_many_go_as_must() {
    let mut rig = Rig::up(Config { overflow: Overflow::DropOldest, ..FIFO }, 64, 9);
    rig.arrive(&[&[1; 20], &[2; 20], &[3; 20], &[4; 40]]);
    assert_eq!(rig.port.counters().dropped_full, 2);
    assert_eq!([rig.bytes(), rig.bytes()], [Some(vec![3; 20]), Some(vec![4; 40])]);
    let mut rig = Rig::up(FIFO, 64, 9);
    rig.arrive(&[&[1; 20], &[2; 50], &[3; 44]]);
    assert_eq!([rig.bytes(), rig.bytes()], [Some(vec![1; 20]), Some(vec![3; 44])]);
}

#[test]
fn a_datagram_that_a_reader_has_begun_is_never_torn() {
    let mut rig = Rig::up(Config { overflow: Overflow::DropOldest, ..FIFO }, 64, 1);
    rig.arrive(&[b"0123"]);
    assert_eq!(rig.read(2), Some((b"01".to_vec(), Eom::CNT)));
    rig.arrive(&[b"4567"]);
    assert_eq!(rig.read(4), Some((b"23".to_vec(), Eom::END)));
    assert_eq!((rig.read(4), rig.port.counters().dropped_full), (None, 1));
}

#[test]
fn the_rest_of_a_datagram_is_kept_or_counted_as_lost() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.arrive(&[b"0123456789", b"x"]);
    assert_eq!(rig.read(4), Some((b"0123".to_vec(), Eom::CNT)));
    rig.command(Command::Set(Setting::Rest(Rest::Discard)));
    assert_eq!(rig.read(4), Some((b"4567".to_vec(), Eom::CNT)));
    assert_eq!(rig.read(1), Some((b"x".to_vec(), Eom::CNT | Eom::END)));
    assert_eq!(rig.port.counters().unread, 1);
}

#[test]
fn a_slow_subscriber_loses_alone_and_is_told_how_many() {
    let mut rig = Rig::up(FIFO, 64, 3);
    rig.command(Command::Subscribed { count: 2 });
    let (mut slow, mut quick) = (rig.port.cursor(), rig.port.cursor());
    for nth in 0..10 {
        rig.arrive(&[&[nth]]);
        assert_eq!(rig.all(&mut quick), [Ok(vec![nth])]);
    }
    assert_eq!(rig.all(&mut slow), [Err(7), Ok(vec![7]), Ok(vec![8]), Ok(vec![9])]);
    assert_eq!(rig.port.counters().dropped_full, 0);
}

#[test]
fn what_the_reader_has_read_or_flushed_is_still_there_for_subscribers() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.command(Command::Subscribed { count: 1 });
    let mut cursor = rig.port.cursor();
    rig.arrive(&[b"a", b"b", b"c"]);
    rig.bytes();
    let mut unread = rig.port.cursor_at_unread();
    rig.port.handle_input(rig.now, Input::Requested(Command::Flush)).unwrap();
    assert_eq!((rig.port.flushed(), rig.bytes()), (2, None));
    assert_eq!(rig.all(&mut cursor), [Ok(b"a".to_vec()), Ok(b"b".to_vec()), Ok(b"c".to_vec())]);
    assert_eq!(rig.all(&mut unread), [Ok(b"b".to_vec()), Ok(b"c".to_vec())]);
    assert_eq!(rig.port.counters().unread, 0);
}

#[test]
fn with_subscribers_a_slow_reader_has_the_cache_for_a_second() {
    let mut rig = Rig::up(ASYN, 64, 4);
    assert_eq!(rig.read(1), None);
    rig.command(Command::Subscribed { count: 1 });
    let mut cursor = rig.port.cursor();
    rig.arrive(&[b"AB", b"CD"]);
    let arrived = rig.now;
    assert_eq!(rig.read(1), Some((b"A".to_vec(), Eom::CNT)));
    assert_eq!(rig.all(&mut cursor), [Ok(b"AB".to_vec())]);
    assert_eq!(rig.wait(), arrived.saturating_add(SECOND));
    assert_eq!(rig.all(&mut cursor), [Ok(b"CD".to_vec())]);
    assert_eq!(rig.port.counters().unread, 1);
    assert_eq!(rig.read(9), Some((b"CD".to_vec(), Eom::END)));
    assert_eq!(rig.drain(), None);
}

#[test]
fn a_reader_that_leaves_lets_the_cache_go_and_without_subscribers_it_is_kept_for_ever() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"1", b"2", b"3"]);
    assert_eq!((rig.drain(), rig.port.pending().rx, rig.kernel.len()), (None, 1, 2));
    rig.read(1);
    rig.command(Command::Subscribed { count: 1 });
    assert_eq!(rig.kernel.len(), 1);
    rig.command(Command::Leave);
    assert_eq!((rig.kernel.len(), rig.port.pending().rx, rig.port.counters().unread), (0, 0, 0));
}

#[test]
fn the_first_subscriber_gets_what_was_cached_before_it_came() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.arrive(&[b"1", b"2"]);
    rig.told();
    let mut cursor = rig.port.cursor_at_unread();
    rig.command(Command::Subscribed { count: 1 });
    assert_eq!(rig.told(), [Event::DataReady, Event::DataReady]);
    assert_eq!(rig.all(&mut cursor), [Ok(b"1".to_vec()), Ok(b"2".to_vec())]);
}

#[test]
fn a_turn_has_its_budget_even_for_empty_datagrams() {
    let mut rig = Rig::up(Config { budget: 640, ..FIFO }, 4096, 64);
    rig.arrive(&[&[][..]; 25]);
    assert_eq!((rig.yields, rig.kernel.len()), (1, 15));
    rig.input(Input::TurnStarted);
    assert_eq!((rig.yields, rig.kernel.len()), (2, 5));
    rig.input(Input::TurnStarted);
    assert_eq!((rig.yields, rig.kernel.len()), (2, 0));
    rig.input(Input::TurnStarted);
    rig.arrive(&[&[0; 639], &[0; 600], &[0; 9]]);
    assert_eq!((rig.yields, rig.kernel.len()), (3, 1));
}

#[test]
fn sending_and_receiving_have_budgets_of_their_own() {
    let mut rig = Rig::up(Config { budget: 100, ..FIFO }, 4096, 64);
    rig.takes = false;
    for _ in 0..4 {
        rig.write(To::Peer(peer(1)), &[0; 60]);
    }
    rig.takes = true;
    rig.input(Input::Writable);
    assert_eq!((rig.wire.len(), rig.yields), (2, 1));
    rig.arrive(&[b"x"]);
    assert_eq!((rig.kernel.len(), rig.yields), (0, 1));
    rig.input(Input::TurnStarted);
    assert_eq!((rig.wire.len(), rig.port.pending().tx), (4, 0));
}

#[test]
fn a_socket_that_takes_nothing_is_left_alone_until_it_does() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.takes = false;
    rig.write(To::Peer(peer(1)), b"one");
    rig.write(To::Peer(peer(2)), b"");
    assert_eq!(rig.drain(), None);
    rig.takes = true;
    assert_eq!((rig.drain(), rig.wire.len(), rig.port.pending().tx), (None, 0, 3));
    rig.input(Input::Writable);
    assert_eq!(rig.wire, [(peer(1), b"one".to_vec()), (peer(2), vec![])]);
    assert_eq!(rig.port.counters().sent, 2);
}

#[test]
fn output_has_64_places_and_its_bytes_and_then_is_full() {
    let mut rig = Rig::up(FIFO, 64, 4);
    rig.takes = false;
    let write = |bytes| Input::Requested(Command::Write { to: To::Peer(peer(1)), bytes });
    for _ in 0..63 {
        rig.input(write(b"x"));
    }
    assert_eq!(rig.refused(write(b"xx")), Error::Full { places: 1, room: 1 });
    rig.input(write(b""));
    assert_eq!(rig.refused(write(b"")), Error::Full { places: 0, room: 1 });
    assert_eq!(rig.refused(write(&[0; 65])), Error::TooLong { len: 65, max: 64 });
    rig.command(Command::Close);
    assert_eq!((rig.port.pending().tx, rig.port.counters().failed), (0, 64));
}

#[test]
fn a_payload_is_bounded_by_the_peers_protocol() {
    let mut rig = Rig::up(FIFO, 256 << 10, 4);
    let write = |to, bytes| Input::Requested(Command::Write { to: To::Peer(to), bytes });
    let longest = vec![0; MAX_PAYLOAD + 1];
    let v6 = SocketAddr::from((core::net::Ipv6Addr::LOCALHOST, 9));
    for (to, max) in [(peer(1), MAX_PAYLOAD_V4), (v6, MAX_PAYLOAD)] {
        assert_eq!(rig.refused(write(to, &longest[..=max])), Error::TooLong { len: max + 1, max });
        rig.input(write(to, &longest[..max]));
        rig.input(Input::TurnStarted);
    }
    assert_eq!(rig.wire.len(), 2);
}

#[test]
fn a_write_to_the_last_read_answers_its_sender() {
    let mut rig = Rig::up(FIFO, 64, 4);
    let write = Input::Requested(Command::Write { to: To::LastRead, bytes: b"answer" });
    assert_eq!(rig.refused(write), Error::NoPeer);
    rig.arrive_from(peer(1), &[b"a"]);
    rig.arrive_from(peer(2), &[b"b"]);
    assert_eq!(rig.refused(write), Error::NoPeer);
    rig.bytes();
    rig.input(write);
    rig.bytes();
    rig.input(write);
    assert_eq!(rig.wire, [(peer(1), b"answer".to_vec()), (peer(2), b"answer".to_vec())]);
}

#[test]
fn a_broadcast_tells_each_outcome_and_stores_its_payload_once() {
    let mut rig = Rig::up(FIFO, 64, 1);
    rig.write(To::Everyone, b"nobody");
    assert_eq!((rig.wire.len(), rig.port.outcomes().count()), (0, 0));
    (1..=3).for_each(|port| rig.arrive_from(peer(port), &[b"x"]));
    rig.takes = false;
    (0..62).for_each(|_| rig.write(To::Peer(peer(9)), b""));
    let broadcast = |bytes| Input::Requested(Command::Write { to: To::Everyone, bytes });
    rig.port.handle_input(rig.now, broadcast(&[7; 64])).unwrap();
    let outcomes = |rig: &Rig| rig.port.outcomes().map(|(peer, outcome)| (peer.port(), outcome)).collect::<Vec<_>>();
    assert_eq!(outcomes(&rig), [(1, Outcome::Queued), (2, Outcome::Queued), (3, Outcome::Full)]);
    assert_eq!(rig.port.pending().tx, 128);
    rig.port.handle_input(rig.now, broadcast(&[7; 65])).unwrap();
    assert_eq!(outcomes(&rig), [1, 2, 3].map(|port| (port, Outcome::TooLong)));
    rig.port.handle_input(rig.now, Input::TurnStarted).unwrap();
    assert_eq!(outcomes(&rig), []);
    rig.takes = true;
    rig.input(Input::Writable);
    assert_eq!(rig.wire[62..], [(peer(1), vec![7; 64]), (peer(2), vec![7; 64])]);
    rig.write(To::Peer(peer(4)), &[8; 64]);
    assert_eq!(rig.wire[64], (peer(4), vec![8; 64]));
}

#[test]
fn a_broadcast_reaches_64_peers_of_the_last_minute() {
    let mut rig = Rig::up(FIFO, 64, 1);
    for port in 1..=64 {
        rig.arrive_from(peer(port), &[b"x"]);
    }
    rig.arrive_from(peer(1), &[b"x"]);
    rig.arrive_from(peer(65), &[b"x"]);
    rig.write(To::Everyone, b"all");
    let mut reached: Vec<u16> = rig.wire.drain(..).map(|(peer, _)| peer.port()).collect();
    reached.sort_unstable();
    assert_eq!(reached, [&[1][..], &(3..=65).collect::<Vec<_>>()].concat());
    rig.now = rig.now.saturating_add(Duration::from_micros(59_999_999));
    rig.arrive_from(peer(7), &[b"x"]);
    rig.write(To::Everyone, b"still");
    assert_eq!(rig.wire.drain(..).count(), 64);
    rig.now = rig.now.saturating_add(Duration::from_micros(1));
    rig.write(To::Everyone, b"late");
    assert_eq!(rig.wire, [(peer(7), b"late".to_vec())]);
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
fn a_read_into_nothing_is_refused_and_does_not_make_a_reader() {
    let mut rig = Rig::up(ASYN, 64, 4);
    rig.command(Command::Subscribed { count: 1 });
    assert_eq!(rig.refused(Input::Requested(Command::Read { room: 0 })), Error::EmptyBuffer);
    rig.arrive(&[b"1", b"2"]);
    assert_eq!((rig.kernel.len(), rig.drain()), (0, None));
}

#[test]
fn errors_read_as_sentences_without_a_capital() {
    let error = Error::TooLong { len: 65, max: 64 };
    assert_eq!(error.to_string(), "datagram of 65 bytes is longer than 64");
}
