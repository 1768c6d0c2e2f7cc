//! The six laws over every machine of `wharf-core`.

use wharf_core::modbus::server::{Config, Connection, Error, Input, Output, Overflow, Reason, Transaction};
use wharf_core::{Instant, Machine};
use wharf_tests::fixture::{LATER, Plant};
use wharf_tests::laws::{self, Subject};
use wharf_tests::modbus::{Served, Server};
use wharf_tests::requests;
use wharf_tests::rng::Rng;
use wharf_tests::vectors::frame;
use wharf_tests::world::{End, Order};

/// A connection with a socket that takes all, some or none of what it is given.
struct Bench {
    served: Served,
    server: Server,
    socket: Rng,
    /// Came, and was not taken yet.
    unread: Vec<u8>,
    write_wanted: bool,
    /// The rest of a frame whose begin was drawn; it belongs to the script, not to the driver.
    tail: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Op {
    Bytes(Vec<u8>),
    Transmitted(usize),
    Replied { nth: usize, pdu: Vec<u8> },
    Failed { nth: usize, code: u8 },
    PeerClosed,
    PeerReset,
    Drain,
    Abort(Reason),
}

impl Bench {
    fn shown(&self) -> usize {
        self.served.connection.transmit().iter().map(|part| part.len()).sum()
    }
}

impl Subject for Bench {
    type Machine = Connection<Vec<u8>, Vec<Transaction>>;
    type Op = Op;
    type Note = (Order, Vec<u8>);

    const NAME: &'static str = "modbus::server::Connection";
    /// One `Transmit` per reply that the largest buffer holds when each leaves by itself, and the reports.
    const DRAIN_BOUND: usize = 4096 / 9 + 16 + 8;

    fn fresh(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let spans = [1, 500, 20_000, 1_000_000, 10_000_000].map(core::time::Duration::from_micros);
        // Most timeouts end the connection, and with it all that a script can show.
        let lethal = |rng: &mut Rng| if rng.chance(1, 2) { *rng.pick(&spans) } else { core::time::Duration::ZERO };
        let config = Config {
            max_outstanding: u8::try_from(rng.between(1, 16)).expect("at most 16"),
            overflow: *rng.pick(&[Overflow::Busy, Overflow::Wait]),
            coalesce: rng.chance(1, 2),
            request_timeout: *rng.pick(&spans),
            frame_timeout: lethal(&mut rng),
            idle_timeout: lethal(&mut rng),
            write_timeout: lethal(&mut rng),
            linger: lethal(&mut rng),
        };
        let buffer = *rng.pick(&[520, 521, 600, 1040, 4096]);
        let places = *rng.pick(&[0, 1, 3, 16]);
        let server = Server::new(&Plant::standard());
        let served = server.accept(0, config, buffer, places, Instant::ORIGIN);
        Self { served, server, socket: rng.fork(), unread: Vec::new(), write_wanted: false, tail: Vec::new() }
    }

    fn machine(&mut self) -> &mut Self::Machine {
        &mut self.served.connection
    }

    fn draw(&mut self, rng: &mut Rng, _now: Instant) -> Op {
        let deferred = self.server.deferrals.borrow().len();
        match rng.below(300) {
            0 if rng.chance(1, 2) => {
                rng.pick(&[Op::PeerReset, Op::Drain, Op::Abort(Reason::Kicked), Op::Abort(Reason::Evicted)]).clone()
            }
            0..=2 => Op::PeerClosed,
            3..60 => {
                let shown = self.shown();
                Op::Transmitted(if rng.chance(1, 4) { rng.index(shown + 20) } else { shown })
            }
            60..120 if deferred > 0 => {
                // Mostly the newest ones, which are still open.
                let nth = deferred - 1 - rng.index(deferred.min(8));
                let len = *rng.pick(&[0, 1, 2, 100, 253, 254]);
                Op::Replied { nth, pdu: [vec![LATER], rng.bytes(300)].concat()[..len].to_vec() }
            }
            120..135 if deferred > 0 => Op::Failed { nth: rng.index(deferred), code: 1 + rng.byte() / 2 },
            135 => Op::Bytes(requests::noise(rng)),
            _ => {
                let mut bytes = core::mem::take(&mut self.tail);
                for _ in 0..rng.between(1, 4) {
                    let pdu = if rng.chance(1, 2) { vec![LATER] } else { requests::draw(rng) };
                    bytes.extend(frame(rng.word(), *rng.pick(&[1, 1, 1, 2, 9]), &pdu));
                }
                let len = if rng.chance(1, 3) { 1 + rng.index(bytes.len()) } else { bytes.len() };
                self.tail = bytes.split_off(len);
                Op::Bytes(bytes)
            }
        }
    }

    fn apply(&mut self, now: Instant, op: &Op) -> Result<(), Error> {
        match op {
            Op::Bytes(bytes) => {
                let offered = [self.unread.as_slice(), bytes].concat();
                let taken = self.served.offer(now, &offered)?;
                self.unread = offered[taken..].to_vec();
                Ok(())
            }
            Op::Transmitted(len) => {
                // A driver reports what its socket took after it was asked to write, and only then.
                if !self.write_wanted && *len <= self.shown() && *len > 0 {
                    return Ok(());
                }
                self.served.input(now, Input::Transmitted { len: *len })?;
                self.write_wanted = false;
                Ok(())
            }
            Op::Replied { nth, pdu } => self.served.answer(now, *nth, Ok(pdu)),
            Op::Failed { nth, code } => self.served.answer(now, *nth, Err(*code)),
            Op::PeerClosed => self.served.input(now, Input::PeerClosed),
            Op::PeerReset => self.served.input(now, Input::PeerReset),
            Op::Drain => self.served.input(now, Input::Drain),
            Op::Abort(reason) => self.served.input(now, Input::Abort { reason: *reason }),
        }
    }

    fn carry_out(&mut self, now: Instant, output: Output) -> Self::Note {
        let bytes = self.served.transmit();
        let order = self.served.note(output);
        if output == Output::Transmit {
            assert!(!self.write_wanted, "a second Transmit before the report of the first");
            assert!(!bytes.is_empty(), "a Transmit with nothing to send");
            self.write_wanted = true;
            if self.socket.chance(1, 2) {
                self.served.transmitted(now, bytes.len());
                self.write_wanted = false;
            }
        }
        (order, bytes)
    }
}

#[test]
fn a_modbus_connection_obeys_the_laws() {
    let coverage = laws::check::<Bench>(1500, 80);
    if std::env::var_os(wharf_tests::rng::SEED_VARIABLE).is_none() {
        for (what, times) in [
            ("inputs", coverage.inputs),
            ("refusals", coverage.refusals),
            ("outputs", coverage.outputs),
            ("timeouts", coverage.timeouts),
            ("early timeouts", coverage.early_timeouts),
        ] {
            assert!(times > 2000, "{what}: {times}, {coverage:?}");
        }
    }
}

#[test]
fn the_bench_is_a_machine_and_a_driver() {
    fn machine<M: Machine>(_: &M) {}
    machine(Bench::fresh(0).machine());
}
