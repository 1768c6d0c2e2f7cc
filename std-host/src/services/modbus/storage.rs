//! Heap memory for the machines of the core.
//!
//! An idle connection owns neither buffer nor machine: [`Pool`] lends one while there is a partial frame, a reply, a
//! deferred request or an ending, and takes it back afterwards.

use super::Shared;
use super::authorisation::Authorisation;
use super::handlers::BoxedHandler;
use super::unsent::Unsent;
use crate::event_loop::Stream;
use wharf_core::Instant;
use wharf_core::modbus::data::Storage;
use wharf_core::modbus::faults::{Connection, Held};
use wharf_core::modbus::mbap::MAX_FRAME;
use wharf_core::modbus::server::{Config, Transaction};

/// Devices and units in vectors.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

impl Storage for Heap {
    type Of<T: 'static> = Vec<T>;
    type Text = Box<[u8]>;
    type Handler = BoxedHandler;
    type Authorisation = Authorisation;
}

/// A machine with its storage, for one connection at a time.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) machine: Connection<Vec<u8>, Vec<Transaction>, Vec<Held>>,
    /// What the machine was told last that the time is.
    pub(super) now: Instant,
    pub(super) unsent: Unsent,
    /// Bytes that the machine had no room for, or no turn. Reading is held meanwhile.
    pub(super) leftover: Leftover,
    /// How many requests and discards of its connection end this turn.
    pub(super) turn_ends: u64,
}

/// Bytes that are taken from the front.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    bytes: Vec<u8>,
    taken: usize,
}

impl Leftover {
    pub(super) const fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        // What is gone is moved out of the way when it is more than what is there, so that a byte moves once or twice.
        if 2 * self.taken >= self.bytes.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` bytes are done with.
    pub(super) fn take(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }
}

impl Work {
    /// The time, which never goes back. Where faults make replies wait it is read anew, so that no wait is short; else it is
    /// that of the loop's turn, which costs nothing.
    pub(super) fn time<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) -> Instant {
        let now = if shared.faults.borrow().is_active() { stream.clock() } else { stream.now() };
        self.now = self.now.max(now);
        self.now
    }
}

/// Machines of one configuration for whoever is busy. It keeps no more than suffice where many are busy by turns, so
/// that one moment in which all were costs nothing afterwards.
#[derive(Debug)]
pub(super) struct Pool {
    #[expect(clippy::vec_box, reason = "boxes are lent, so that no machine is ever moved")]
    free: Vec<Box<Work>>,
    config: Config,
}

impl Pool {
    /// How many it keeps: about 180 KB, and 1.2 MB where there are faults.
    const MOST: usize = 32;

    pub(super) const fn new(config: Config) -> Self {
        Self { free: Vec::new(), config }
    }

    /// A machine at rest, with room for a partial frame, for a largest reply to every request that may be outstanding,
    /// and for one more.
    pub(super) fn lend(&mut self) -> Box<Work> {
        self.free.pop().unwrap_or_else(|| {
            let places = usize::from(self.config.max_outstanding);
            let (buffer, transactions) = (vec![0; (2 + places) * MAX_FRAME], vec![Transaction::EMPTY; places]);
            Box::new(Work {
                machine: Connection::new(self.config, buffer, transactions, Vec::new(), Instant::ORIGIN),
                now: Instant::ORIGIN,
                unsent: Unsent::default(),
                leftover: Leftover::default(),
                turn_ends: 0,
            })
        })
    }

    /// Sees to it that a machine has places for the replies that faults keep back: for every request that may be
    /// outstanding, and for a frame that waits for a quiet time.
    pub(super) fn lend_places(&self, work: &mut Work) {
        let held = work.machine.held_mut();
        if held.is_empty() {
            held.resize(usize::from(self.config.max_outstanding) + 1, Held::EMPTY);
        }
    }

    /// Takes back a machine at rest, with its places for replies that faults keep back if there are `faults`.
    pub(super) fn take_back(&mut self, mut work: Box<Work>, faults: bool) {
        if !faults {
            *work.machine.held_mut() = Vec::new();
        }
        if self.free.len() < Self::MOST {
            self.free.push(work);
        }
    }

    /// Takes back a machine whose connection has ended.
    pub(super) fn renew(&mut self, mut work: Box<Work>, faults: bool) {
        if let Ok((buffer, transactions, held)) = work.machine.exchange(Vec::new(), Vec::new(), Vec::new()) {
            work.machine = Connection::new(self.config, buffer, transactions, held, Instant::ORIGIN);
            work.leftover.clear();
            self.take_back(work, faults);
        }
    }
}
