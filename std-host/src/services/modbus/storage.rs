//! Heap memory for the machines of the core.
//!
//! An idle connection owns no buffer: [`Pool`] lends one while there is a partial frame, a reply or a deferred request,
//! and takes it back afterwards.

use super::handlers::BoxedHandler;
use super::unsent::Unsent;
use wharf_core::modbus::data::Storage;
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
    pub(super) unsent: Unsent,
}

/// Storage for as many connections as have ever been busy at the same time.
#[derive(Debug)]
pub(super) struct Pool {
    free: Vec<Block>,
    max_outstanding: usize,
}

impl Pool {
    pub(super) const fn new(max_outstanding: usize) -> Self {
        Self { free: Vec::new(), max_outstanding }
    }

    /// Storage for a partial frame, for a largest reply to every request that may be outstanding, and for one more.
    pub(super) fn lend(&mut self) -> Block {
        self.free.pop().unwrap_or_else(|| {
            let frames = 2 + self.max_outstanding;
            Block {
                buffer: vec![0; frames * MAX_FRAME],
                transactions: vec![Transaction::EMPTY; self.max_outstanding],
                unsent: Unsent::default(),
            }
        })
    }

    pub(super) fn take_back(&mut self, block: Block) {
        self.free.push(block);
    }
}
