//! The loop as callbacks see it.

use super::context::{AnyContext, Bound, ContextKey};
use super::handler::Handler;
use super::state::Core;
use super::{Error, Handle, Histograms, Hook, Signal, SocketId, Stats};
use std::cell::RefMut;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use wharf_core::Instant;

/// Every operation of the loop, inside callbacks and deferred calls.
pub struct LoopMut<'a, T: 'static = ()> {
    pub(super) core: &'a mut Core<T>,
}

impl<T> LoopMut<'_, T> {
    /// The user's value.
    pub const fn data(&mut self) -> &mut T {
        &mut self.core.data
    }

    /// Loop time: microseconds since the loop was made. It stands still during short callbacks.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.core.now
    }

    /// The clock of [`LoopMut::now`], read anew.
    #[must_use]
    pub fn clock(&mut self) -> Instant {
        self.core.net.now()
    }

    /// The number of the present iteration, from 1; 0 before the first.
    #[must_use]
    pub const fn iteration(&self) -> u64 {
        self.core.iteration
    }

    /// What reaches this loop from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle<T> {
        Handle::new(Arc::clone(&self.core.shared))
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The distributions so far, of a sample.
    #[must_use]
    pub const fn histograms(&self) -> &Histograms {
        &self.core.histograms
    }

    /// Ends the loop after the present iteration.
    pub fn stop(&mut self) {
        self.core.shared.stop();
    }

    /// Makes a context of a handler. Contexts last as long as the loop.
    pub fn context<H: Handler<T>>(&mut self, handler: H) -> ContextKey<H> {
        let index = u32::try_from(self.core.contexts.len()).expect("there are fewer than 2^32 contexts");
        let manual_read = handler.manual_read();
        self.core.contexts.push(Rc::new(Bound::<H, H::Data>::new(handler, manual_read)));
        ContextKey::new(self.core.number, index)
    }

    /// The data of another socket.
    ///
    /// # Errors
    /// [`Error::Stale`] if the id or the key names nothing here, [`Error::Busy`] for a socket whose callback is
    /// running.
    pub fn user<H: Handler<T>>(&self, key: ContextKey<H>, id: SocketId) -> Result<RefMut<'_, H::Data>, Error> {
        let place = self.place(key, id)?;
        self.typed(key)?.table.borrow(place)
    }

    /// The handler of a context.
    ///
    /// # Errors
    /// [`Error::Stale`] if the key names nothing here, [`Error::Busy`] inside one of its callbacks.
    pub fn handler<H: Handler<T>>(&self, key: ContextKey<H>) -> Result<RefMut<'_, H>, Error> {
        self.typed(key)?.handler()
    }

    /// The sockets of a context that have not had their last callback.
    pub fn sockets<H: Handler<T>>(&self, key: ContextKey<H>) -> impl Iterator<Item = SocketId> {
        self.typed(key).into_iter().flat_map(|context| context.table.ids())
    }

    /// Calls `f` at the begin of every iteration, after the hooks registered before.
    pub fn before_poll(&mut self, f: impl FnMut(&mut LoopMut<'_, T>) -> Hook + 'static) {
        self.core.before_poll.push(Box::new(f));
    }

    /// Calls `f` at the end of every iteration, after the hooks registered before.
    pub fn after_poll(&mut self, f: impl FnMut(&mut LoopMut<'_, T>) + 'static) {
        self.core.after_poll.push(Box::new(f));
    }

    /// Calls `f` on the loop when one of `signals` arrives; the process does not end by it then. Signals of one kind
    /// that arrive together may be merged. A watched signal does not keep the loop alive.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says.
    pub fn on_signal(
        &mut self,
        signals: &[Signal],
        f: impl FnMut(&mut LoopMut<'_, T>, Signal) + 'static,
    ) -> Result<(), Error> {
        for &signal in signals {
            let watched = self.core.net.watch_signal(signal);
            watched.map_err(|source| Error::io("watch", format_args!("signal {}", signal.number()), source))?;
        }
        self.core.on_signal.push((signals.to_vec(), Box::new(f)));
        Ok(())
    }

    /// The context of a key, unless the key is another loop's.
    pub(super) fn typed<H: Handler<T>>(&self, key: ContextKey<H>) -> Result<&Bound<H, H::Data>, Error> {
        let own = key.owner == self.core.number;
        let context = self.core.contexts.get(key.index as usize).filter(|_| own).ok_or(Error::Stale)?;
        Self::downcast::<H>(&**context).ok_or(Error::Stale)
    }

    pub(super) fn downcast<H: Handler<T>>(context: &dyn AnyContext<T>) -> Option<&Bound<H, H::Data>> {
        context.as_any().downcast_ref()
    }

    /// Where the data of a socket lies, which has to belong to the context.
    pub(super) fn place<H>(&self, key: ContextKey<H>, id: SocketId) -> Result<u32, Error> {
        let own = key.owner == self.core.number;
        let stream = self.core.stream(id.0).filter(|stream| stream.context == key.index && own).ok_or(Error::Stale)?;
        Ok(stream.place)
    }
}

impl<T> fmt::Debug for LoopMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopMut")
            .field("now", &self.now())
            .field("iteration", &self.iteration())
            .finish_non_exhaustive()
    }
}
