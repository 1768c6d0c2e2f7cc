//! A Modbus server connection with faults under the laws.
//!
//! All that [`connection`] has, and up to four faults at random, which may be switched while requests
//! are under way. Some connections have fewer places for replies that are kept back than they need.

use super::Subject;
use super::connection::{self, MAX_BUFFER, Setting, Stub};
use crate::faults;
use crate::rng::Rng;
use core::time::Duration;
use wharf_core::modbus::faults::{Connection, Entry, FaultId, Held, How, Input, MAX_ALTERED, Plan, Tally};
use wharf_core::modbus::server::{Error, Output, State, Transaction};
use wharf_core::{Instant, Machine};

/// Faults of one connection, at most.
const MAX_FAULTS: usize = 4;
/// Copies of a frame, and frames beside it, that so many faults ask for at most.
const MAX_COPIES: usize = 4 * MAX_FAULTS + 1;

/// A connection on which things go wrong, with its driver.
#[derive(Debug)]
pub struct Faulty {
    connection: Connection<Vec<u8>, Vec<Transaction>, Vec<Held>>,
    service: Stub,
    plan: Plan<Vec<Entry>>,
    tallies: Vec<Tally>,
    /// Bytes that were offered and not taken.
    unread: Vec<u8>,
    /// How much the socket takes, transmit by transmit.
    appetite: Rng,
    /// Whether a `Transmit` waits for the socket.
    blocked: bool,
    /// What the peer has yet to send; only `draw` looks at it.
    planned: Vec<u8>,
}

/// One input.
#[derive(Clone, Debug)]
pub enum Op {
    /// As to a connection without faults.
    Plain(connection::Op),
    /// A fault says that the connection is to end.
    EndAfter(How, Duration),
    /// A fault is switched, for good or for a while. The machine does not hear of it.
    Switch(usize, bool, Option<Duration>),
}

impl Subject for Faulty {
    type Machine = Connection<Vec<u8>, Vec<Transaction>, Vec<Held>>;
    type Op = Op;
    type Note = Vec<u8>;

    const NAME: &'static str = "modbus server connection with faults";
    /// Every byte that may be kept back in a piece of its own, and all that the connection within may say.
    const DRAIN_BOUND: usize = 18 * MAX_COPIES * MAX_ALTERED + 32 + MAX_BUFFER;

    fn fresh(seed: u64) -> Self {
        let Setting { config, buffer, places, appetite } = Setting::of(seed);
        let mut rng = Rng::new(seed ^ 0xFA17);
        let count = rng.index(MAX_FAULTS + 1);
        let mut fault = || faults::fault(faults::KINDS, &mut || rng.byte());
        let entries = (0..).map(FaultId).zip((0..count).map(|_| fault())).map(|(id, fault)| Entry::new(id, fault));
        let plan = Plan::new(entries.collect::<Vec<_>>(), Instant::ORIGIN);
        let held = if rng.chance(1, 8) { rng.index(places + 1) } else { places + 1 };
        Self {
            connection: Connection::new(
                config,
                vec![0; buffer],
                vec![Transaction::EMPTY; places],
                vec![Held::EMPTY; held],
                Instant::ORIGIN,
            ),
            service: Stub::default(),
            tallies: vec![Tally::EMPTY; plan.tallies()],
            plan,
            unread: Vec::new(),
            appetite,
            blocked: false,
            planned: Vec::new(),
        }
    }

    fn machine(&mut self) -> &mut Self::Machine {
        &mut self.connection
    }

    fn draw(&mut self, rng: &mut Rng, _now: Instant) -> Op {
        if rng.chance(1, 40) && !self.plan.entries.is_empty() {
            let span = rng.chance(1, 2).then(|| faults::span(rng.byte()));
            return Op::Switch(rng.index(self.plan.entries.len()), rng.chance(2, 3), span);
        }
        if rng.chance(1, 400) {
            let how = *rng.pick(&[How::Fin, How::Rst]);
            return Op::EndAfter(how, faults::span(rng.byte()));
        }
        let shown = if self.blocked { self.connection.transmit().concat().len() } else { 0 };
        let unread = !self.unread.is_empty();
        Op::Plain(connection::draw(rng, unread, shown, self.service.deferred.len(), &mut self.planned))
    }

    fn apply(&mut self, now: Instant, op: &Op) -> Result<(), Error> {
        use connection::Op as Plain;
        let faults = &mut self.plan.acting(None, &mut self.tallies);
        let input = match op {
            Op::Switch(at, on, span) => {
                let until = span.map(|span| now.saturating_add(span));
                self.plan.entries[*at].enable(*on, until);
                return Ok(());
            }
            Op::EndAfter(how, delay) => Input::EndAfter { how: *how, delay: *delay },
            Op::Plain(Plain::Receive(bytes)) => return self.offer(now, bytes),
            Op::Plain(Plain::Offer) => return self.offer(now, &[]),
            Op::Plain(Plain::Sent(len)) => {
                self.connection.handle_input(now, Input::Transmitted { len: *len })?;
                self.blocked = false;
                return Ok(());
            }
            Op::Plain(Plain::Reply(nth, pdu)) => {
                Input::Replied { id: self.service.deferred[*nth], pdu, faults: Some(faults) }
            }
            Op::Plain(Plain::Fail(nth, exception)) => {
                Input::Failed { id: self.service.deferred[*nth], exception: *exception, faults: Some(faults) }
            }
            Op::Plain(Plain::PeerClosed) => Input::PeerClosed,
            Op::Plain(Plain::PeerReset) => Input::PeerReset,
            Op::Plain(Plain::Drain) => Input::Drain,
            Op::Plain(Plain::Abort(reason)) => Input::Abort { reason: *reason },
        };
        self.connection.handle_input(now, input)
    }

    fn carry_out(&mut self, now: Instant, output: Output) -> Vec<u8> {
        if output != Output::Transmit {
            return Vec::new();
        }
        assert_ne!(self.connection.state(), State::Held, "nothing leaves a connection that is held");
        let shown = self.connection.transmit().concat();
        assert!(!shown.is_empty(), "a transmit of nothing");
        let takes = match self.appetite.below(4) {
            0 => 0,
            1 => self.appetite.index(shown.len() + 1),
            _ => shown.len(),
        };
        // A socket that has taken less than all is full; it takes more when the script says so.
        if takes == shown.len() {
            self.connection.handle_input(now, Input::Transmitted { len: takes }).expect("what was shown may leave");
        } else {
            self.blocked = true;
        }
        shown
    }
}

impl Faulty {
    fn offer(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        let offered = [&self.unread, bytes].concat();
        if offered.is_empty() {
            return Ok(());
        }
        let faults = &mut self.plan.acting(None, &mut self.tallies);
        let input = Input::Received { bytes: &offered, service: &mut self.service, faults: Some(faults) };
        self.connection.handle_input(now, input)?;
        let taken = self.connection.taken();
        assert!(taken <= offered.len(), "{taken} bytes taken of {}", offered.len());
        self.unread = offered[taken..].to_vec();
        self.send_unasked(now);
        Ok(())
    }

    /// A driver may send what is shown before it drains, and now and then this one does.
    fn send_unasked(&mut self, now: Instant) {
        let shown = self.connection.transmit().concat().len();
        if !self.blocked && shown > 0 && self.appetite.chance(1, 3) {
            let len = 1 + self.appetite.index(shown);
            self.connection.handle_input(now, Input::Transmitted { len }).expect("what was shown may leave");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::check;

    #[test]
    fn a_connection_with_faults_obeys_the_laws_and_every_kind_of_action_was_tried() {
        let coverage = check::<Faulty>(3000, 120);
        for (what, times) in [
            ("inputs", coverage.inputs),
            ("refusals", coverage.refusals),
            ("outputs", coverage.outputs),
            ("timeouts", coverage.timeouts),
            ("early timeouts", coverage.early_timeouts),
        ] {
            assert!(times > 1000 || std::env::var_os(crate::rng::SEED_VARIABLE).is_some(), "{what}: {times}");
        }
    }
}
