//! SIGINT and SIGTERM for commands that end in order: the first asks for the end, the second for no more waiting.

use std::cell::Cell;
use std::rc::Rc;
use wharf_host::event_loop::{Error, LoopMut, Signal};

/// How often the user has asked for the end. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupts(Rc<Cell<u32>>);

impl Interrupts {
    /// From now on the signals end waits of this loop, where somebody looks here, rather than the process.
    pub(super) fn watch<T>(lp: &mut LoopMut<'_, T>) -> Result<Self, Error> {
        let interrupts = Self::default();
        let count = Rc::clone(&interrupts.0);
        lp.on_signal(&[Signal::Interrupt, Signal::Terminate], move |_, _| count.set(count.get().saturating_add(1)))?;
        Ok(interrupts)
    }

    /// How many signals have come.
    pub(super) fn count(&self) -> u32 {
        self.0.get()
    }

    /// Whether the user wants no more.
    pub(super) fn any(&self) -> bool {
        self.count() > 0
    }
}
