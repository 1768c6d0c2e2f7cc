//! The loop as other threads see it.

use super::deferred::{Call, Plain, Rejected, Why};
use super::shared::Shared;
use super::{Error, LoopMut};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// Reaches a loop from any thread: `Send + Sync + Clone` whatever `T` is. It may outlive the loop.
pub struct Handle<T: 'static = ()> {
    shared: Arc<Shared<Call<T>>>,
    keeps: AtomicBool,
}

impl<T> Handle<T> {
    pub(super) const fn new(shared: Arc<Shared<Call<T>>>) -> Self {
        Self { shared, keeps: AtomicBool::new(false) }
    }

    /// Has the loop call `f` on its thread. Calls of one sender run in the order in which they were made. Before the
    /// first iteration they are kept.
    ///
    /// # Errors
    /// [`Rejected`] gives `f` back after the end of the loop or when `deferred_limit` calls are waiting.
    pub fn defer<F>(&self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce(&mut LoopMut<'_, T>) + Send + 'static,
    {
        self.shared.push(Box::new(f), |f| Call::Boxed(f)).map_err(|(why, f)| Rejected { why, f: *f })
    }

    /// [`Handle::defer`] that no full queue refuses: for the few calls that nobody could repeat.
    ///
    /// # Errors
    /// [`Rejected`] gives `f` back after the end of the loop.
    pub(crate) fn defer_always<F>(&self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce(&mut LoopMut<'_, T>) + Send + 'static,
    {
        self.shared.push_always(Box::new(f), |f| Call::Boxed(f)).map_err(|(why, f)| Rejected { why, f: *f })
    }

    /// [`Handle::defer`] without allocation, for a closure that is shared.
    ///
    /// # Errors
    /// As for [`Handle::defer`].
    pub fn defer_shared<F>(&self, f: Arc<F>) -> Result<(), Rejected<Arc<F>>>
    where
        F: Fn(&mut LoopMut<'_, T>) + Send + Sync + 'static,
    {
        self.shared.push(f, |f| Call::Shared(f)).map_err(|(why, f)| Rejected { why, f })
    }

    /// [`Handle::defer`] without allocation, for a plain function.
    ///
    /// # Errors
    /// As for [`Handle::defer`].
    pub fn defer_fn(&self, f: Plain<T>) -> Result<(), Rejected<Plain<T>>> {
        self.shared.push(f, Call::Plain).map_err(|(why, f)| Rejected { why, f })
    }

    /// Has the loop call `f` and waits for what it returns. The loop has to be run by another thread meanwhile, or
    /// this waits for ever.
    ///
    /// # Errors
    /// [`Error::OnLoopThread`] on the loop's own thread, [`Error::Full`], and [`Error::Ended`] if the loop ended before
    /// `f` had returned.
    pub fn call<R, F>(&self, f: F) -> Result<R, Error>
    where
        R: Send + 'static,
        F: FnOnce(&mut LoopMut<'_, T>) -> R + Send + 'static,
    {
        if self.is_on_loop_thread() {
            return Err(Error::OnLoopThread);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        self.defer(move |lp| {
            // Nobody can have stopped waiting: the receiver is on the stack of a thread that is blocked in `recv`.
            let _ = sender.send(f(lp));
        })
        .map_err(|rejected| match rejected.why {
            Why::Ended => Error::Ended,
            Why::Full => Error::Full,
        })?;
        receiver.recv().map_err(|_| Error::Ended)
    }

    /// Ends the loop after the present iteration. May be repeated.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Ends the loop's present or next wait. May be repeated.
    pub fn wake(&self) {
        self.shared.wake();
    }

    /// While any handle is set to `true`, the loop does not end for want of sockets and timers. Clones start with
    /// `false`, and dropping the handle takes its wish away.
    pub fn keep_alive(&self, keep: bool) {
        match (self.keeps.swap(keep, Ordering::AcqRel), keep) {
            (false, true) => self.shared.add_keeper(),
            (true, false) => self.shared.remove_keeper(),
            (false, false) | (true, true) => {}
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.shared.has_ended()
    }

    /// True only on the thread that is inside `run` or `turn`.
    #[must_use]
    pub fn is_on_loop_thread(&self) -> bool {
        self.shared.is_on_loop_thread()
    }

    /// True from the first iteration to the end.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.is_running()
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared))
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        self.keep_alive(false);
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("running", &self.is_running()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::histograms::Sampler;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_wish_that_is_overtaken_by_its_end_wakes_the_loop() {
        let wakes = Arc::new(AtomicU32::new(0));
        let woken = Arc::clone(&wakes);
        let wake = Arc::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        });
        let shared = Shared::<Call<()>>::new(wake, None, 1, Sampler::new(0));
        // Two threads that set one handle change the number of keepers after its flag, in any order.
        shared.remove_keeper();
        shared.add_keeper();
        assert!(!shared.is_kept_alive());
        assert_eq!(wakes.load(Ordering::Relaxed), 1, "it may have looked in between");
    }

    #[test]
    fn a_call_that_must_not_be_lost_needs_no_room() {
        let shared = Arc::new(Shared::new(Arc::new(|| ()), None, 1, Sampler::new(0)));
        let handle = Handle::<()>::new(Arc::clone(&shared));
        handle.defer(|_| ()).unwrap();
        assert_eq!(handle.defer(|_| ()).unwrap_err().why, Why::Full);
        handle.defer_always(|_| ()).unwrap();
        assert_eq!(shared.end().len(), 2);
        assert_eq!(handle.defer_always(|_| ()).unwrap_err().why, Why::Ended);
    }
}
