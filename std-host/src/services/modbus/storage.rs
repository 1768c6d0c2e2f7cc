//! Heap memory for the machines of the core.
//!
//! An idle connection owns neither buffer nor machine: [`Pool`] lends one while there is a partial frame, a reply, a
//! deferred request or an ending, and takes it back afterwards.

use super::handlers::BoxedHandler;
use super::unsent::Unsent;
use wharf_core::Instant;
use wharf_core::modbus::data::Storage;
use wharf_core::modbus::mbap::MAX_FRAME;
use wharf_core::modbus::server::{Config, Connection, Transaction};

/// Devices and units in vectors.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

impl Storage for Heap {
    type Of<T: 'static> = Vec<T>;
    type Text = Box<[u8]>;
    type Handler = BoxedHandler;
}

/// A machine with its storage, for one connection at a time.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) machine: Connection<Vec<u8>, Vec<Transaction>>,
    pub(super) unsent: Unsent,
    /// Bytes that the machine had no room for. Reading is paused meanwhile.
    pub(super) leftover: Vec<u8>,
}

impl Work {
    /// Whether anything waits to be sent.
    pub(super) fn has_output(&self) -> bool {
        self.machine.transmit().iter().any(|part| !part.is_empty())
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
    /// How many it keeps: about 180 KB.
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
                machine: Connection::new(self.config, buffer, transactions, Instant::ORIGIN),
                unsent: Unsent::default(),
                leftover: Vec::new(),
            })
        })
    }

    /// Takes back a machine at rest.
    pub(super) fn take_back(&mut self, work: Box<Work>) {
        if self.free.len() < Self::MOST {
            self.free.push(work);
        }
    }

    /// Takes back a machine whose connection has ended.
    pub(super) fn renew(&mut self, mut work: Box<Work>) {
        if let Ok((buffer, transactions)) = work.machine.exchange(Vec::new(), Vec::new()) {
            work.machine = Connection::new(self.config, buffer, transactions, Instant::ORIGIN);
            work.leftover.clear();
            self.take_back(work);
        }
    }
}
