//! UDP ports over a socket that is a list: partial reads, subscribers, failures, floods and many peers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use wharf_core::port::datagrams::{
    Command, Config, Counters, Cursor, Datagrams, Error, Event, Failure, Input, MAX_PAYLOAD_V4, Mode, Next, Output,
    Overflow, Record, To,
};
use wharf_core::port::framing::Eom;
use wharf_core::{Instant, Machine, Step};
use wharf_tests::laws::{self, port_datagrams::Udp};
use wharf_tests::rng::{Rng, SEED_VARIABLE, seeds};

const ASYN: Config = Config { mode: Mode::Asyn, ..Config::DEFAULT };
const FIFO: Config = Config::DEFAULT;

/// A whole datagram, or how many were lost.
type Got = Result<Vec<u8>, u64>;

/// What a receive finds.
enum Found {
    Datagram(SocketAddr, Vec<u8>),
    Failure,
}

struct Port {
    machine: Datagrams<Vec<u8>, Vec<Record>, Vec<u8>>,
    kernel: VecDeque<Found>,
    sent: Vec<(SocketAddr, Vec<u8>)>,
    /// A subscriber and what it got; it listens at every event.
    subscriber: Option<(Cursor, Vec<Got>)>,
    events: Vec<Event>,
    now: Instant,
}

impl Port {
    /// One that is up, with queues of the default sizes.
    fn new(config: Config) -> Self {
        Self::with(config, 256 << 10, 64)
    }

    fn with(config: Config, rx: usize, depth: usize) -> Self {
        let (rx, records, tx) = (vec![0; rx], vec![Record::EMPTY; depth], vec![0; 64 << 10]);
        let machine = Datagrams::new(config, rx, records, tx).expect("storage is within its bounds");
        let (kernel, sent, events) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut port = Self { machine, kernel, sent, subscriber: None, events, now: Instant::from_millis(1) };
        port.input(Input::Requested(Command::Open)).expect("an open is never refused");
        assert!(matches!(port.events.drain(..).as_slice(), [Event::PortUp { .. }]));
        port
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), Error> {
        self.machine.handle_input(self.now, input)?;
        self.drain();
        Ok(())
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            let found;
            let input = match self.machine.poll_output() {
                Step::Wait(deadline) => return deadline,
                Step::Do(Output::Bind) => Input::Opened { local: peer(0) },
                Step::Do(Output::Unbind) => Input::Shut,
                Step::Do(Output::Receive { .. }) => {
                    found = self.kernel.pop_front();
                    match &found {
                        Some(Found::Datagram(peer, bytes)) => Input::Datagram { peer: *peer, bytes, truncated: false },
                        Some(Found::Failure) => Input::Failed { failure: Failure::Transient },
                        None => Input::Blocked,
                    }
                }
                Step::Do(Output::Send { peer }) => {
                    self.sent.push((peer, self.machine.transmit().concat()));
                    Input::Sent
                }
                Step::Do(Output::Yield) => Input::TurnStarted,
                Step::Do(Output::Notify(event)) => {
                    self.events.push(event);
                    self.listen();
                    continue;
                }
            };
            self.machine.handle_input(self.now, input).expect("what was asked is taken");
        }
    }

    fn subscribe(&mut self) {
        self.subscriber = Some((self.machine.cursor(), Vec::new()));
        self.input(Input::Requested(Command::Subscribed { count: 1 })).expect("a subscriber is never refused");
    }

    fn listen(&mut self) {
        let Some((cursor, got)) = &mut self.subscriber else { return };
        while let Some(next) = self.machine.next(cursor) {
            got.push(match next {
                Next::Datagram(datagram) => Ok(datagram.bytes.concat()),
                Next::Lost(lost) => Err(lost),
            });
        }
    }

    fn got(&self) -> &[Got] {
        self.subscriber.as_ref().map_or(&[], |(_, got)| got)
    }

    fn arrive(&mut self, found: impl IntoIterator<Item = Found>) {
        self.kernel.extend(found);
        self.input(Input::Readable).expect("the port is up");
    }

    fn come(&mut self, datagrams: &[&[u8]]) {
        self.arrive(datagrams.iter().map(|bytes| Found::Datagram(peer(1), bytes.to_vec())));
    }

    /// The bytes and why they end there; nothing and no reason where there is nothing.
    fn read(&mut self, count: usize) -> (Vec<u8>, Eom) {
        self.read_from(count).map_or((Vec::new(), Eom::NONE), |(_, bytes, eom)| (bytes, eom))
    }

    fn read_from(&mut self, count: usize) -> Option<(SocketAddr, Vec<u8>, Eom)> {
        let input = Input::Requested(Command::Read { room: count });
        self.machine.handle_input(self.now, input).expect("the port is up");
        let read = self.machine.piece().map(|piece| (piece.peer, piece.bytes.concat(), piece.eom));
        self.drain();
        read
    }

    fn flush(&mut self) -> usize {
        self.machine.handle_input(self.now, Input::Requested(Command::Flush)).expect("the port is up");
        let flushed = self.machine.flushed();
        self.drain();
        flushed
    }

    fn write(&mut self, to: To, bytes: &[u8]) -> Result<(), Error> {
        self.input(Input::Requested(Command::Write { to, bytes }))
    }

    fn counters(&self) -> Counters {
        self.machine.counters()
    }

    fn ready(&self) -> usize {
        self.events.iter().filter(|event| **event == Event::DataReady).count()
    }
}

fn peer(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn read(bytes: &[u8], eom: Eom) -> (Vec<u8>, Eom) {
    (bytes.to_vec(), eom)
}

#[test]
fn a_udp_port_obeys_the_laws_and_every_kind_of_action_was_tried() {
    let coverage = laws::check::<Udp>(1500, 120);
    for (what, times) in [
        ("inputs", coverage.inputs),
        ("refusals", coverage.refusals),
        ("outputs", coverage.outputs),
        ("timeouts", coverage.timeouts),
        ("early timeouts", coverage.early_timeouts),
    ] {
        assert!(times > 1000 || std::env::var_os(SEED_VARIABLE).is_some(), "{what}: {times}");
    }
}

#[test]
fn udp_partial_reads_of_more_than_a_datagram_give_one_each() {
    let mut port = Port::new(ASYN);
    port.come(&[&[7; 200], b"HI"]);
    assert_eq!(port.read(4096), read(&[7; 200], Eom::END));
    assert_eq!(port.read(4096), read(b"HI", Eom::END));
}

#[test]
fn udp_partial_reads_of_less_than_a_datagram_give_it_in_parts() {
    let mut port = Port::new(ASYN);
    port.come(&[b"0123456789"]);
    assert_eq!(port.read(4), read(b"0123", Eom::CNT));
    assert_eq!(port.read(4), read(b"4567", Eom::CNT));
    assert_eq!(port.read(4), read(b"89", Eom::END));
    port.come(&[b"AB"]);
    assert_eq!(port.read(1), read(b"A", Eom::CNT));
    assert_eq!(port.read(1), read(b"B", Eom::CNT | Eom::END));
    assert_eq!(port.read(1), read(b"", Eom::NONE));
}

#[test]
fn udp_partial_reads_of_just_a_datagram_and_of_nothing() {
    let mut port = Port::new(ASYN);
    port.come(&[b"01234567"]);
    assert_eq!(port.read(8), read(b"01234567", Eom::CNT | Eom::END));
    assert_eq!(port.read(64), read(b"", Eom::NONE));
    assert_eq!(port.drain(), None);
}

#[test]
fn udp_partial_reads_after_a_flush_begin_with_the_next_datagram() {
    let mut port = Port::new(ASYN);
    port.come(&[b"AB", b"CD"]);
    assert_eq!(port.read(1), read(b"A", Eom::CNT));
    assert_eq!(port.flush(), 1);
    assert_eq!(port.read(4), read(b"CD", Eom::END));
}

#[test]
fn ten_datagrams_without_reader_give_ten_events() {
    let ten: Vec<Vec<u8>> = (0..10).map(|nth| vec![nth; usize::from(nth) + 1]).collect();
    let slices: Vec<&[u8]> = ten.iter().map(Vec::as_slice).collect();
    for config in [ASYN, FIFO] {
        let mut port = Port::new(config);
        port.subscribe();
        port.come(&slices);
        assert_eq!(port.got(), ten.iter().cloned().map(Ok).collect::<Vec<_>>());
        assert_eq!((port.ready(), port.drain()), (10, None));
        assert_eq!((port.counters().unread, port.counters().dropped_full), (0, 0));
    }
}

#[test]
fn a_subscriber_gets_every_datagram_whole_however_a_reader_reads() {
    for seed in seeds(100) {
        let mut rng = Rng::new(seed);
        let mut port = Port::with(*rng.pick(&[ASYN, FIFO]), 4096, 64);
        port.subscribe();
        let mut expected = Vec::new();
        for nth in 0..50 {
            let datagram = vec![nth; rng.index(12)];
            port.come(&[&datagram]);
            expected.push(Ok(datagram));
            for _ in 0..rng.index(4) {
                port.read(1 + rng.index(9));
            }
            if rng.chance(1, 5) {
                port.flush();
            }
        }
        while let Some(deadline) = port.drain() {
            port.now = deadline;
            port.machine.handle_timeout(deadline);
        }
        assert_eq!(port.got(), expected, "{SEED_VARIABLE}={seed}");
    }
}

#[test]
fn a_receive_failure_is_neither_data_nor_the_end() {
    for config in [ASYN, FIFO] {
        let mut port = Port::new(config);
        port.subscribe();
        port.arrive([Found::Failure, Found::Failure]);
        assert_eq!(port.read(9), read(b"", Eom::NONE));
        assert_eq!((port.events.as_slice(), port.got()), (&[][..], &[][..]));
        port.arrive([Found::Failure, Found::Datagram(peer(1), b"AB".to_vec()), Found::Failure]);
        assert_eq!(port.read(1), read(b"A", Eom::CNT));
        port.arrive([Found::Failure]);
        assert_eq!(port.read(9), read(b"B", Eom::END));
        assert_eq!(port.read(9), read(b"", Eom::NONE));
        let Counters { failed, received, bytes, .. } = port.counters();
        assert_eq!((failed, received, bytes), (5, 1, 2));
        assert_eq!(port.events, [Event::DataReady]);
    }
}

#[test]
fn partial_reads_return_no_old_byte_and_progress_at_count_1() {
    for config in [ASYN, FIFO] {
        let mut port = Port::with(config, 64, 4);
        // More than the ring has room for, one after another, so that old bytes are where new ones come.
        for round in 0..40_u8 {
            let datagram: Vec<u8> = (0..1 + round % 30).map(|nth| round.wrapping_mul(30).wrapping_add(nth)).collect();
            port.come(&[&datagram]);
            for (nth, byte) in datagram.iter().enumerate() {
                let end = if nth + 1 == datagram.len() { Eom::END } else { Eom::NONE };
                assert_eq!(port.read(1), (vec![*byte], Eom::CNT | end), "byte {nth} of datagram {round}");
            }
            assert_eq!(port.read(1), read(b"", Eom::NONE));
        }
    }
}

#[test]
fn reader_and_flush_race_cleanly() {
    for seed in seeds(200) {
        let mut rng = Rng::new(seed);
        let mut port = Port::new(*rng.pick(&[ASYN, FIFO]));
        let (mut arrived, mut taken, mut flushed) = (0, 0, 0);
        // The datagram that is being read, and where the next byte of it is.
        let mut begun: Option<(u8, usize)> = None;
        let mut latest = None;
        for nth in 0..=200_u8 {
            match rng.below(3) {
                0 => {
                    let datagram: Vec<u8> = (0..rng.below(5)).flat_map(|at| [nth, at.to_le_bytes()[0]]).collect();
                    arrived += datagram.len();
                    port.come(&[&datagram]);
                }
                1 => {
                    let pending = port.machine.pending().rx;
                    let bytes = port.flush();
                    assert_eq!(bytes, pending, "{SEED_VARIABLE}={seed}");
                    flushed += bytes;
                    begun = None;
                }
                _ => {
                    let (bytes, eom) = port.read(2 * (1 + rng.index(3)));
                    taken += bytes.len();
                    for pair in bytes.chunks(2) {
                        let (which, at) = begun.unwrap_or((pair[0], 0));
                        assert_eq!(pair, [which, at.to_le_bytes()[0]], "{SEED_VARIABLE}={seed}");
                        begun = Some((which, at + 1));
                    }
                    assert_eq!(begun.is_some(), !bytes.is_empty(), "{SEED_VARIABLE}={seed}");
                    if let Some((which, _)) = begun {
                        assert!(latest.is_none_or(|latest| latest <= which), "{SEED_VARIABLE}={seed}");
                        latest = Some(which);
                    }
                    if eom.contains(Eom::END) {
                        begun = None;
                    }
                }
            }
        }
        while port.machine.pending().rx > 0 {
            flushed += port.flush();
        }
        assert_eq!(arrived, taken + flushed, "{SEED_VARIABLE}={seed}");
    }
}

#[test]
fn each_udp_peer_gets_its_own_reply() {
    let mut port = Port::new(FIFO);
    let peers: Vec<u16> = (1..=30).collect();
    port.arrive(peers.iter().map(|port| Found::Datagram(peer(*port), port.to_be_bytes().to_vec())));
    let mut expected = Vec::new();
    while let Some((from, bytes, _)) = port.read_from(9) {
        port.write(To::LastRead, &bytes).expect("there is room");
        expected.push((from, bytes));
    }
    assert_eq!(expected, peers.iter().map(|port| (peer(*port), port.to_be_bytes().to_vec())).collect::<Vec<_>>());
    assert_eq!(port.sent, expected);
    // By name, whoever was read last. All of them wait before the first goes.
    let by_name: Vec<_> = expected.into_iter().rev().collect();
    for (from, bytes) in &by_name {
        let write = Input::Requested(Command::Write { to: To::Peer(*from), bytes });
        port.machine.handle_input(port.now, write).expect("there is room");
    }
    port.drain();
    assert_eq!(port.sent[30..], by_name);
    assert_eq!(port.counters().sent, 60);
}

#[test]
fn who_was_read_last_and_what_waits_to_be_sent_are_told() {
    let mut port = Port::new(FIFO);
    port.arrive([Found::Datagram(peer(1), b"x".to_vec()), Found::Datagram(peer(2), b"y".to_vec())]);
    assert_eq!((port.machine.last_read(), port.machine.outgoing()), (None, 0..0));
    port.read(1);
    assert_eq!(port.machine.last_read(), Some(peer(1)));
    // Nothing is carried out between these, so that all of it waits.
    for to in [To::LastRead, To::Everyone, To::Peer(peer(9))] {
        let write = Input::Requested(Command::Write { to, bytes: b"" });
        port.machine.handle_input(port.now, write).expect("there is room");
    }
    assert_eq!(port.machine.outgoing(), 0..4, "empty ones count, and for each peer");
    port.drain();
    assert_eq!((port.machine.outgoing(), port.sent.len()), (4..4, 4));
    port.read(1);
    assert_eq!(port.machine.last_read(), Some(peer(2)));
    // What is given up is behind it, too.
    port.machine
        .handle_input(port.now, Input::Requested(Command::Write { to: To::LastRead, bytes: b"z" }))
        .expect("room");
    assert_eq!(port.machine.outgoing(), 4..5);
    port.input(Input::Requested(Command::Close)).expect("a close is never refused");
    assert_eq!((port.machine.outgoing(), port.sent.len()), (5..5, 4));
    assert_eq!(port.machine.last_read(), Some(peer(2)));
}

#[test]
fn datagrams_of_0_1_and_65507_bytes_arrive_whole_and_are_echoed() {
    let mut port = Port::new(FIFO);
    let longest: Vec<u8> = (0..=250).cycle().take(MAX_PAYLOAD_V4).collect();
    let datagrams = [&[][..], b"x", &longest];
    port.come(&datagrams);
    for datagram in datagrams {
        assert_eq!(port.read(70_000), read(datagram, Eom::END));
        port.write(To::LastRead, datagram).expect("there is room");
    }
    assert_eq!(port.sent, datagrams.map(|datagram| (peer(1), datagram.to_vec())));
    assert_eq!((port.counters().empty, port.counters().truncated), (1, 0));
}

#[test]
fn a_flood_that_nobody_reads_is_counted_and_neither_stalls_nor_grows() {
    for (overflow, first) in [(Overflow::DropNewest, 0), (Overflow::DropOldest, 936)] {
        let mut port = Port::with(Config { overflow, ..FIFO }, 256 << 10, 64);
        for nth in 0..1000_u16 {
            port.come(&[&nth.to_be_bytes()]);
        }
        assert_eq!(port.kernel.len(), 0);
        let Counters { received, dropped_full, .. } = port.counters();
        assert_eq!((received, dropped_full), (1000, 936));
        for nth in first..first + 64_u16 {
            assert_eq!(port.read(9), read(&nth.to_be_bytes(), Eom::END));
        }
        assert_eq!(port.read(9), read(b"", Eom::NONE));
    }
    let mut port = Port::new(ASYN);
    for nth in 0..1000_u16 {
        port.come(&[&nth.to_be_bytes()]);
    }
    assert_eq!((port.kernel.len(), port.machine.pending().rx), (999, 2));
}
