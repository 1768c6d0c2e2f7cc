//! Who hears of writes: they are gathered in the course of a step, and told as events when it is over.

use super::{Event, Heap, Shared};
use wharf_core::modbus::units::{Cause, Change, Units};

impl Shared {
    /// Lets `f` act on the units in one step: nobody sees half of it, mirrors have followed at its end, and then it is told.
    pub(super) fn step<R>(&self, cause: Cause, f: impl FnOnce(&mut Units<Heap>) -> R) -> R {
        let mut units = self.units.borrow_mut();
        let mut changes = self.changes.borrow_mut();
        let outcome = f(&mut units);
        units.settle(cause, &mut |change: &Change| changes.push(*change));
        drop((units, changes));
        self.tell_changes();
        outcome
    }

    /// Tells what has been written.
    pub(super) fn tell_changes(&self) {
        if self.changes.borrow().is_empty() {
            return;
        }
        let mut changes = self.changes.take();
        for change in changes.drain(..) {
            self.emit(&Event::Changed(change));
        }
        // Its room is kept, so that a write allocates nothing.
        let mut later = self.changes.borrow_mut();
        if later.is_empty() {
            *later = changes;
        }
    }
}
