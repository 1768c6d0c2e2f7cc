//! Modbus clients and a Modbus server on one loop, in the simulated world: sockets that take and give one byte at a time,
//! events that come late, merged or for nothing, and connections that break.

use std::collections::HashMap;
use std::time::Duration;
use wharf_core::modbus::client::{Config, Done, Outcome};
use wharf_core::modbus::pdu::Reply;
use wharf_host::event_loop::{Loop, LoopOptions, SocketId};
use wharf_host::services::modbus::Server;
use wharf_host::services::modbus_client::{Asker, Clients, Ended, Line};
use wharf_tests::rng::{Rng, SEED_VARIABLE, seeds};
use wharf_tests::sim_net::{Faults, World};

const PLANT: &str =
    "[[modbus.server]]\nname = \"plant\"\nlisten = [\"127.0.0.1:502\"]\n[[modbus.server.unit]]\nid = 1\n";
const CONNECTIONS: u16 = 3;
const DEPTH: u16 = 4;
const REQUESTS: u64 = 40;

/// What one connection is at: its number, from 1, and how many requests it has asked.
#[derive(Debug, Default)]
struct Progress {
    number: u16,
    asked: u64,
    open: HashMap<u64, u16>,
}

/// Asks function 23 again and again: each request writes a value to a register of its own connection, and reads it in the
/// same step. So every reply has one right value, in whatever order requests are answered.
#[derive(Default)]
struct Writer {
    answered: u64,
    failed: u64,
    closed: u32,
    unconnected: u32,
}

impl Writer {
    fn fill(line: &mut Line<'_, Progress>) {
        while line.outstanding() < usize::from(DEPTH) && line.data().asked < REQUESTS {
            let progress = line.data();
            let (tag, register) = (progress.asked, progress.number);
            let value = register << 8 | u16::try_from(tag).unwrap();
            let ([r1, r0], [v1, v0]) = (register.to_be_bytes(), value.to_be_bytes());
            let pdu = [23, r1, r0, 0, 1, r1, r0, 0, 1, 2, v1, v0];
            if line.ask(tag, 1, &pdu, Duration::ZERO, 0).is_err() {
                return;
            }
            line.data().asked += 1;
            assert_eq!(line.data().open.insert(tag, value), None);
        }
        if line.outstanding() == 0 && line.data().asked == REQUESTS {
            line.drain();
        }
    }
}

impl Asker for Writer {
    type Data = Progress;

    fn opened(&mut self, line: &mut Line<'_, Progress>) {
        Self::fill(line);
    }

    fn done(&mut self, line: &mut Line<'_, Progress>, done: &Done) {
        let value = line.data().open.remove(&done.tag).expect("every request ends once");
        match done.outcome {
            Outcome::Reply => {
                let Some(Reply::Registers(words)) = line.reply() else { panic!("no registers") };
                assert!(words.iter().eq([value]), "{words:?} instead of {value}");
                self.answered += 1;
            }
            Outcome::Lost(_) => self.failed += 1,
            Outcome::Exception(_) | Outcome::Timeout | Outcome::Broken(_) => panic!("{done:?}"),
        }
        Self::fill(line);
    }

    fn closed(&mut self, _: SocketId, progress: Progress, ended: Ended) {
        assert!(progress.open.is_empty(), "what was asked has ended before: {:?}", progress.open);
        self.closed += 1;
        self.unconnected += u32::from(matches!(ended, Ended::NotConnected(_)));
    }
}

/// A server and its clients; what has become of the clients when all of them have ended.
fn write_on(mut lp: Loop) -> Writer {
    let plant = wharf_host::config::parse(PLANT, "plant.toml").unwrap();
    let mut set = lp.loop_mut();
    let mut server = Server::bind(&mut set, &plant.modbus[0], |_| {}).unwrap();
    let config = Config { max_outstanding: DEPTH, frame_timeout: Duration::ZERO };
    let clients = Clients::new(&mut set, config, Writer::default());
    for number in 1..=CONNECTIONS {
        let progress = Progress { number, ..Progress::default() };
        clients.connect(&mut set, "127.0.0.1:502", progress, None).unwrap();
    }
    let hour = Duration::from_secs(3600);
    set.add_timer(hour, None, |_, _| panic!("the clients hang")).unwrap();
    assert!(lp.run_until(|_| clients.asker().closed == u32::from(CONNECTIONS)).unwrap());
    server.shutdown(&mut lp.loop_mut());
    std::mem::take(&mut *clients.asker())
}

#[test]
fn every_request_is_answered_right_whatever_the_system_does_to_the_bytes() {
    let all = u64::from(CONNECTIONS) * REQUESTS;
    let options = LoopOptions::default();
    let strict = write_on(Loop::with_net((), options, Box::new(World::strict().net())));
    assert_eq!((strict.answered, strict.failed, strict.unconnected), (all, 0, 0));
    for seed in seeds(60) {
        let world = World::new(seed, Faults::harmless(&mut Rng::new(seed)));
        let writer = write_on(Loop::with_net((), options, Box::new(world.net())));
        assert_eq!((writer.answered, writer.failed, writer.unconnected), (all, 0, 0), "{SEED_VARIABLE}={seed}");
    }
}

#[test]
fn every_request_ends_once_when_connections_break() {
    let (mut answered, mut failed) = (0, 0);
    for seed in seeds(100) {
        let mut rng = Rng::new(seed);
        // Resets only: a world without descriptors or listeners has no clients to look at.
        let faults = Faults { resets: rng.between(1, 300), ..Faults::harmless(&mut rng) };
        println!("{SEED_VARIABLE}={seed}");
        let writer = write_on(Loop::with_net((), LoopOptions::default(), Box::new(World::new(seed, faults).net())));
        assert!(writer.answered + writer.failed <= u64::from(CONNECTIONS) * REQUESTS);
        answered += writer.answered;
        failed += writer.failed;
    }
    assert!(answered > 500 && failed > 50, "{answered} answered, {failed} failed");
}
