//! The calls of threads as they come to the loop, and the lines in which they wait there.

use super::{Calls, Face, State, Transfer};
use crate::services::port::error::Error;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

/// Calls in the order in which they came.
pub(in crate::services::port) type Line<F> = VecDeque<Arc<Transfer<F>>>;

/// The calls of a port that have just come to its loop.
pub(in crate::services::port) struct Arrivals<F: Face> {
    calls: Arc<Calls<F>>,
    /// None is taken out before it is answered or stands in a line.
    came: RefCell<Line<F>>,
}

impl<F: Face> Arrivals<F> {
    /// Made on the thread of the loop.
    pub(in crate::services::port) fn new() -> Self {
        Self { calls: Arc::new(Calls::new()), came: RefCell::default() }
    }

    pub(in crate::services::port) const fn calls(&self) -> &Arc<Calls<F>> {
        &self.calls
    }

    /// Sees to each of them: `see` hears of one that is new, or, with true, of one that waits and whose time is over.
    pub(in crate::services::port) fn receive(&self, mut see: impl FnMut(&Arc<Transfer<F>>, &mut State<F>, bool)) {
        let mut came = self.came.borrow_mut();
        self.calls.swap(&mut came);
        while let Some(transfer) = came.front() {
            let mut state = transfer.state();
            if state.arrive() {
                see(transfer, &mut state, false);
            } else if state.is_waiting() && state.overdue {
                see(transfer, &mut state, true);
            }
            // Another was answered before it came here a second time.
            drop(state);
            came.pop_front();
        }
    }

    /// The loop has ended, and with it every call: those that are on their way, and those of `lines`.
    pub(in crate::services::port) fn end(&self, lines: impl IntoIterator<Item = Arc<Transfer<F>>>) {
        let mut all = self.calls.end();
        // Only a panic leaves it in use.
        if let Ok(mut came) = self.came.try_borrow_mut() {
            all.extend(came.drain(..));
        }
        for transfer in all.into_iter().chain(lines) {
            transfer.answer(&mut transfer.state(), Err(Error::Ended));
        }
    }
}

/// How many places in lines are taken.
#[derive(Debug, Default)]
pub(in crate::services::port) struct Places(Cell<usize>);

impl Places {
    pub(in crate::services::port) const fn taken(&self) -> usize {
        self.0.get()
    }

    pub(in crate::services::port) fn join<F: Face>(&self, line: &mut Line<F>, transfer: &Arc<Transfer<F>>) {
        line.push_back(Arc::clone(transfer));
        self.0.set(self.0.get() + 1);
    }

    /// Takes the first out of a line.
    pub(in crate::services::port) fn pop<F: Face>(&self, line: &mut Line<F>) {
        if line.pop_front().is_some() {
            self.0.set(self.0.get() - 1);
        }
    }

    pub(in crate::services::port) fn leave<F: Face>(&self, line: &mut Line<F>, transfer: &Arc<Transfer<F>>) {
        self.retain(line, |other| !Arc::ptr_eq(other, transfer));
    }

    /// Takes out of a line whoever need not wait any more. Whether there was anybody.
    pub(in crate::services::port) fn retain<F: Face>(
        &self,
        line: &mut Line<F>,
        mut waits: impl FnMut(&Arc<Transfer<F>>) -> bool,
    ) -> bool {
        let before = line.len();
        line.retain(|transfer| waits(transfer));
        let left = before - line.len();
        self.0.set(self.0.get() - left);
        left > 0
    }
}

/// Whether a call is the first of a line.
pub(in crate::services::port) fn is_first<F: Face>(line: &Line<F>, transfer: &Arc<Transfer<F>>) -> bool {
    line.front().is_some_and(|first| Arc::ptr_eq(first, transfer))
}
