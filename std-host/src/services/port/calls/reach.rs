//! What has a loop look at the calls of threads, whatever its data are.

use super::Face;
use crate::event_loop::{Handle, LoopMut, Rejected, Why};
use std::rc::Rc;
use std::sync::Arc;

/// What a thread has the loop do with a port.
pub(super) type Job<F> = Box<dyn FnOnce(&mut <F as Face>::Running<'_>) + Send>;

/// The way to a port.
pub(super) trait Reach<F: Face>: Send + Sync {
    /// Has the loop look at the calls that came.
    fn look(&self);
    /// Has the loop do a job; after its end the job is dropped.
    fn run(&self, job: Job<F>);
}

/// The one kind of [`Reach`].
struct Remote<T: 'static, L, P> {
    handle: Handle<T>,
    look: Arc<L>,
    find: P,
}

pub(super) fn remote<T: 'static, F: Face>(
    handle: Handle<T>,
    find: impl Fn(&LoopMut<'_, T>) -> Rc<F> + Copy + Send + Sync + 'static,
) -> Box<dyn Reach<F>> {
    let look = Arc::new(move |lp: &mut LoopMut<'_, T>| find(lp).look(lp));
    Box::new(Remote { handle, look, find })
}

impl<T, F, L, P> Reach<F> for Remote<T, L, P>
where
    F: Face,
    L: Fn(&mut LoopMut<'_, T>) + Send + Sync + 'static,
    P: Fn(&LoopMut<'_, T>) -> Rc<F> + Copy + Send + Sync + 'static,
{
    fn look(&self) {
        if let Err(Rejected { why: Why::Full, f: look }) = self.handle.defer_shared(Arc::clone(&self.look)) {
            // Nobody would ask again. A loop that has ended answers by its end.
            let _ = self.handle.defer_always(move |lp| look(lp));
        }
    }

    fn run(&self, job: Job<F>) {
        let find = self.find;
        // Dropped after the end of the loop, which its sender takes for the answer.
        let _ = self.handle.defer_always(move |lp| find(lp).run(lp, job));
    }
}
