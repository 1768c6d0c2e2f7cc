//! UDP ports in the simulated world: receiving that fails, and books that balance whatever the network does.

use crate::harness::any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::port::datagrams::Kind;
use wharf_core::port::framing::Eom;
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::port::options::{Drop, Options, Rest, Udp};
use wharf_host::services::port::udp::{Event, Reason, Received, RunningUdp, UdpServer, UdpSubscriber};
use wharf_host::services::port::{Addr, Error};
use wharf_tests::rng::{self, Rng};
use wharf_tests::sim_net::{Faults, Sim, UdpPeer};

/// Steps of one script.
const STEPS: usize = 300;

/// What a subscriber was told.
#[derive(Debug, Default)]
struct Told {
    events: Vec<Event>,
    /// Bytes and sender of each datagram.
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    lost: u64,
}

struct Clerk {
    told: Rc<RefCell<Told>>,
    datagrams: bool,
}

impl UdpSubscriber for Clerk {
    fn hears_datagrams(&self) -> bool {
        self.datagrams
    }

    fn event(&mut self, _: &mut RunningUdp<'_>, event: &Event) {
        self.told.borrow_mut().events.push(*event);
    }

    fn datagram(&mut self, _: &mut RunningUdp<'_>, datagram: &Received<'_>) {
        self.told.borrow_mut().datagrams.push((datagram.peer, datagram.bytes.to_vec()));
    }

    fn lost(&mut self, _: &mut RunningUdp<'_>, count: u64) {
        self.told.borrow_mut().lost += count;
    }
}

/// A port in a world.
struct Stage {
    sim: Sim,
    port: UdpServer,
    told: Rc<RefCell<Told>>,
}

fn stage(seed: u64, faults: Faults, options: &Options, datagrams: bool) -> Stage {
    let mut sim = Sim::new(seed, faults);
    sim.add_loop((), LoopOptions::default());
    let told = Rc::new(RefCell::new(Told::default()));
    let clerk = Clerk { told: Rc::clone(&told), datagrams };
    let port = UdpServer::bind(&mut sim.lp(0), options, |port| port.subscribe(Box::new(clerk))).unwrap();
    Stage { sim, port, told }
}

impl Stage {
    fn with<R>(&mut self, f: impl FnOnce(&mut RunningUdp<'_>) -> R) -> R {
        self.port.with(&mut self.sim.lp(0), f)
    }

    fn read(&mut self, room: usize) -> Result<(Vec<u8>, Eom), Error> {
        let mut buffer = vec![0; room];
        let read = self.with(|port| port.read(Addr::Slot(0), &mut buffer))?;
        buffer.truncate(read.len);
        Ok((buffer, read.eom))
    }
}

#[test]
fn a_receive_failure_is_neither_data_nor_the_end() {
    for (udp, nothing) in [(Udp::Asyn, Ok((vec![], Eom::NONE))), (Udp::Fifo, Err(Error::WouldBlock))] {
        let mut options = Options::new("dev", "127.0.0.1:7000 udp").unwrap();
        options.udp = udp;
        let mut stage = stage(0, Faults::none(), &options, false);
        let local = stage.port.local_addr().unwrap();
        let peer = stage.sim.world.bind_udp(any());

        // What the system is short of now is counted, and work goes on with what comes then.
        stage.sim.world.fail_receiving(Some(ErrorKind::OutOfMemory));
        peer.send(local, b"kept");
        stage.sim.run_for(Duration::from_secs(30));
        assert_eq!(stage.read(64), nothing);
        let counters = stage.with(|port| port.counters());
        assert_eq!((counters.received, counters.bytes, counters.failed), (0, 0, 1));
        let calls = stage.sim.world.calls().receives;
        assert!(calls < 30, "{calls} calls: receiving that fails is no reason to spin");
        stage.sim.world.fail_receiving(None);
        stage.sim.run_for(Duration::from_secs(5));
        assert_eq!(stage.read(64), Ok((b"kept".to_vec(), Eom::END)));

        // A socket of no more use takes the port down, which opens it again.
        stage.sim.world.fail_receiving(Some(ErrorKind::PermissionDenied));
        peer.send(local, b"gone with the socket");
        stage.sim.run_for(Duration::from_millis(999));
        assert_eq!((stage.port.local_addr(), stage.read(64)), (None, Err(Error::NotConnected)));
        stage.sim.world.fail_receiving(None);
        stage.sim.run_for(Duration::from_millis(2));
        assert_eq!((stage.port.local_addr(), stage.read(64)), (Some(local), nothing));
        peer.send(local, b"news");
        stage.sim.run_for(Duration::from_millis(1));
        assert_eq!(stage.read(64), Ok((b"news".to_vec(), Eom::END)));
        let reason = Reason::Failed(Kind::Other);
        let up = Event::PortUp { local };
        assert_eq!(
            stage.told.borrow().events,
            [up, Event::DataReady, Event::PortDown { reason }, up, Event::DataReady]
        );
    }
}

#[test]
fn a_failure_while_a_reader_fetches_is_told_and_paused_like_any_other() {
    let mut options = Options::new("dev", "127.0.0.1:7000 udp").unwrap();
    options.udp = Udp::Asyn;
    let mut stage = stage(0, Faults::none(), &options, false);
    let (local, peer) = (stage.port.local_addr().unwrap(), stage.sim.world.bind_udp(any()));
    peer.send(local, b"first");
    peer.send(local, b"second");
    stage.sim.run_for(Duration::from_millis(1));
    stage.sim.world.fail_receiving(Some(ErrorKind::OutOfMemory));
    // The next one is fetched by this read, which fails unseen by the reader.
    assert_eq!(stage.read(64), Ok((b"first".to_vec(), Eom::END)));
    assert_eq!(stage.read(64), Ok((vec![], Eom::NONE)));
    stage.sim.run_for(Duration::from_secs(30));
    let calls = stage.sim.world.calls().receives;
    assert!(calls < 30, "{calls} calls");
    assert_eq!(stage.with(|port| port.counters().failed), 1);
    stage.sim.world.fail_receiving(None);
    stage.sim.run_for(Duration::from_secs(5));
    assert_eq!(stage.read(64), Ok((b"second".to_vec(), Eom::END)));
}

/// Who sends to the port, and what it has sent and got.
struct Caller {
    peer: UdpPeer,
    sent: BTreeMap<Vec<u8>, u64>,
    got: u64,
}

/// What a program did that reads and answers.
#[derive(Debug, Default)]
struct Program {
    /// Datagrams read to their end.
    read: u64,
    /// Answers that the port took, by whom they are for.
    answers: BTreeMap<SocketAddr, BTreeMap<Vec<u8>, u64>>,
}

fn random_options(rng: &mut Rng) -> Options {
    let mut options = Options::new("dev", "127.0.0.1:7000 udp").unwrap();
    options.depth = *rng.pick(&[1, 3, 64]);
    options.rx_queue = *rng.pick(&[64, 500, 256 << 10]);
    options.rest = *rng.pick(&[Rest::Keep, Rest::Discard]);
    options.drop = *rng.pick(&[Drop::DropNewest, Drop::DropOldest]);
    options
}

/// Plays one script. `lossy`: the network loses, doubles and reorders.
fn play(seed: u64, lossy: bool) -> (u64, u64) {
    let mut rng = Rng::new(seed);
    let options = random_options(&mut rng);
    let faults = if lossy { Faults::all(&mut rng) } else { Faults::harmless(&mut rng) };
    let doubles = faults.duplicated > 0;
    let mut stage = stage(seed, faults, &options, true);
    // Descriptors may have run out, and the port then tries again.
    while stage.port.local_addr().is_none() {
        stage.sim.run_for(Duration::from_secs(1));
    }
    let to = stage.port.local_addr().unwrap();
    let mut callers: Vec<_> =
        (0..4).map(|_| Caller { peer: stage.sim.world.bind_udp(any()), sent: BTreeMap::new(), got: 0 }).collect();
    let mut program = Program::default();
    assert_eq!(stage.read(1), Err(Error::WouldBlock));
    for step in 0..STEPS {
        match rng.below(8) {
            0..=2 => {
                let caller = &mut callers[rng.index(4)];
                let len = rng.index(90);
                // Each but the shortest is like no other.
                let mut payload = format!("{step} ").into_bytes();
                payload.resize(len, b'.');
                caller.peer.send(to, &payload);
                *caller.sent.entry(payload).or_default() += 1;
            }
            3..=5 => act(&mut stage, &mut rng, &mut program),
            _ => stage.sim.run_for(Duration::from_micros(rng.below(20_000))),
        }
    }
    stage.sim.run_for(Duration::from_secs(30));
    for caller in &mut callers {
        let answers = program.answers.get(&caller.peer.addr());
        for (from, answer) in caller.peer.receive() {
            assert_eq!(from, to);
            assert!(answers.is_some_and(|answers| answers.contains_key(&answer)), "{answer:?} was never answered");
            caller.got += 1;
        }
    }
    balance(&mut stage, &callers, &program, lossy, doubles);
    let counters = stage.with(|port| port.counters());
    (counters.received, counters.dropped_full)
}

fn act(stage: &mut Stage, rng: &mut Rng, program: &mut Program) {
    let mut buffer = vec![0; 1 + rng.index(100)];
    let read = match stage.with(|port| port.read(Addr::Slot(0), &mut buffer)) {
        Ok(read) => read,
        Err(error) => return assert_eq!(error, Error::WouldBlock),
    };
    let peer = read.from.unwrap().peer;
    program.read += u64::from(read.eom.contains(Eom::END));
    let answer = buffer[..read.len].to_vec();
    match stage.with(|port| port.write(Addr::Slot(0), &answer)) {
        Ok(accepted) => {
            assert_eq!(accepted, answer.len());
            *program.answers.entry(peer).or_default().entry(answer).or_default() += 1;
        }
        Err(error) => assert!(matches!(error, Error::Full { .. }), "{error:?}"),
    }
}

/// Everything that came is where it belongs, and nothing is there that was not sent.
fn balance(stage: &mut Stage, callers: &[Caller], program: &Program, lossy: bool, doubles: bool) {
    let (counters, pending) = stage.with(|port| (port.counters(), port.pending()));
    let told = stage.told.borrow();
    assert_eq!(counters.received, told.datagrams.len() as u64 + told.lost, "told of each, or that it is lost");
    let mut heard: BTreeMap<SocketAddr, BTreeMap<&[u8], u64>> = BTreeMap::new();
    for (peer, bytes) in &told.datagrams {
        *heard.entry(*peer).or_default().entry(bytes).or_default() += 1;
    }
    for (peer, datagrams) in &heard {
        let caller = callers.iter().find(|caller| caller.peer.addr() == *peer).expect("one of the peers");
        for (bytes, times) in datagrams {
            // Those that are longer than the ring are cut to it.
            let sent: u64 =
                caller.sent.iter().filter(|(sent, _)| sent.starts_with(bytes)).map(|(_, times)| times).sum();
            assert!(*times <= sent * (1 + u64::from(doubles)), "{bytes:?} {times} times");
        }
    }
    let sent: u64 = callers.iter().flat_map(|caller| caller.sent.values()).sum();
    let answered: u64 = program.answers.values().flat_map(BTreeMap::values).sum();
    let got: u64 = callers.iter().map(|caller| caller.got).sum();
    assert_eq!((counters.sent, counters.failed, pending.tx), (answered, 0, 0));
    assert!(lossy || (counters.received, counters.kernel_dropped, got) == (sent, 0, answered), "{counters:?}");
    assert!(doubles || (counters.received <= sent && got <= answered), "{counters:?}");
    drop(told);
    let mut left = 0;
    while let Ok((_, eom)) = stage.read(1000) {
        left += u64::from(eom.contains(Eom::END));
    }
    // The reader has taken part from the beginning, so that every datagram is accounted for.
    assert_eq!(counters.received, program.read + counters.unread + counters.dropped_full + left, "{counters:?}");
}

#[test]
fn books_balance_whatever_a_network_loses_doubles_and_reorders() {
    let mut all = (0, 0);
    for seed in rng::seeds(100) {
        println!("{}={seed}", rng::SEED_VARIABLE);
        let (received, dropped) = play(seed, seed % 2 == 0);
        all = (all.0 + received, all.1 + dropped);
    }
    if std::env::var_os(rng::SEED_VARIABLE).is_none() && std::env::var_os(rng::COUNT_VARIABLE).is_none() {
        assert!(all.0 > 1000 && all.1 > 10, "scripts without a full ring have said nothing about it: {all:?}");
    }
}
