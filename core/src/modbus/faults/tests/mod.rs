//! What section 8 says of faults, rule by rule: whom they are aimed at ([`target`]), when they are in force ([`window`]),
//! which matches they act on ([`quota`]), what they do to bytes ([`bytes`]), how they go together ([`order`]), and what the
//! service behind them hears ([`service`]).

mod bytes;
mod order;
mod quota;
mod service;
mod target;
mod window;

use super::*;
use crate::modbus::pdu::Exception;
use crate::random::SplitMix64;
use core::net::IpAddr;
use core::time::Duration;
use std::vec;
use std::vec::Vec;

const SILENCE: Kind = Kind::NoResponse { execute: true };

/// Connections of one server and its faults. Each connection has counts of its own.
struct Server {
    plan: Plan<Vec<Entry>>,
    tallies: Vec<Vec<Tally>>,
    peer: Option<IpAddr>,
}

impl Server {
    fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        let entries = (1..).map(FaultId).zip(faults).map(|(id, fault)| Entry::new(id, fault)).collect();
        let plan = Plan::new(entries, Instant::ORIGIN);
        Self { tallies: vec![vec![Tally::EMPTY; plan.tallies()]; 3], plan, peer: None }
    }

    /// What is decided about a request of a connection.
    fn ask_on(&mut self, connection: usize, now: Instant, asked: &Asked, ended: Ended) -> Decision {
        let mut acting = self.plan.acting(self.peer, &mut self.tallies[connection]);
        let mut decision = Decision::NONE;
        acting.choose(now, asked, &mut decision);
        let ended = if decision.prevents_execution() { Ended::Silent } else { ended };
        acting.judge(now, asked, ended, &mut decision);
        decision
    }

    /// The same of the first connection, at the start; whose request ends well.
    fn ask(&mut self, asked: &Asked) -> Decision {
        self.ask_on(0, Instant::ORIGIN, asked, Ended::Normal)
    }

    /// Checked, matched, applied and suppressed, of the fault at a place of the file.
    fn counts(&self, place: usize) -> [u64; 4] {
        let Statistics { checked, matched, applied, suppressed, .. } = self.plan.entries[place].statistics;
        [checked, matched, applied, suppressed]
    }
}

fn fault(kind: Kind) -> Fault {
    Fault::new(kind)
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

/// A request to unit 1 for a function, an address and what follows it: mostly a quantity.
fn asks(function: u8, start: u16, quantity: u16) -> Asked {
    let [a, b] = start.to_be_bytes();
    let [c, d] = quantity.to_be_bytes();
    Asked::new(1, &[function, a, b, c, d])
}

/// The names of those that act, in order.
fn named(decision: &Decision) -> Vec<u32> {
    decision.choices().iter().map(|choice| choice.fault.0).collect()
}

fn exception(code: u8, execute: bool) -> Kind {
    Kind::Exception { code: Exception::new(code).unwrap(), execute }
}
