//! Heap memory for the machines of the core.
//!
//! An idle connection owns no buffer: [`Pool`] lends one while there is a partial frame, a reply or a deferred request,
//! and takes it back afterwards.

use super::handlers::BoxedHandler;
use super::unsent::Unsent;
use wharf_core::modbus::data::Storage;
use wharf_core::modbus::faults::Held;
use wharf_core::modbus::mbap::MAX_FRAME;
use wharf_core::modbus::server::Transaction;

/// Devices and units in vectors.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

impl Storage for Heap {
    type Of<T: 'static> = Vec<T>;
    type Text = Box<[u8]>;
    type Handler = BoxedHandler;
}

/// What a busy connection stands on.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) buffer: Vec<u8>,
    pub(super) transactions: Vec<Transaction>,
    /// None where there were no faults when it was lent.
    pub(super) held: Vec<Held>,
    pub(super) unsent: Unsent,
}

/// Storage for as many connections as have ever been busy at the same time.
#[derive(Debug)]
pub(super) struct Pool {
    free: Vec<Block>,
    free_held: Vec<Vec<Held>>,
    max_outstanding: usize,
}

impl Pool {
    pub(super) const fn new(max_outstanding: usize) -> Self {
        Self { free: Vec::new(), free_held: Vec::new(), max_outstanding }
    }

    /// Storage for a partial frame, for a largest reply to every request that may be outstanding, and for one more.
    pub(super) fn lend(&mut self) -> Block {
        self.free.pop().unwrap_or_else(|| {
            let frames = 2 + self.max_outstanding;
            Block {
                buffer: vec![0; frames * MAX_FRAME],
                transactions: vec![Transaction::EMPTY; self.max_outstanding],
                held: Vec::new(),
                unsent: Unsent::default(),
            }
        })
    }

    /// Places for the replies that faults keep back: for every request that may be outstanding, and for a frame that waits
    /// for a quiet time.
    pub(super) fn lend_held(&mut self) -> Vec<Held> {
        self.free_held.pop().unwrap_or_else(|| vec![Held::EMPTY; self.max_outstanding + 1])
    }

    pub(super) fn take_back(&mut self, mut block: Block) {
        let held = std::mem::take(&mut block.held);
        if !held.is_empty() {
            self.free_held.push(held);
        }
        self.free.push(block);
    }
}
