//! The way from threads to a port on its loop: calls that wait, as every kind of port has them.
//!
//! A thread puts its call into a queue, has the loop look at it, and sleeps until the loop has answered; [`Transfer`] is
//! one such call, [`Calls`] the queue, `reach` what has the loop look, [`Arrivals`] the loop's side of the queue, and
//! [`Places`] counts who waits there in which line. What the calls are, and who is served when, is each port's own, as a
//! [`Face`] says. `events` is a queue the other way, and `threaded` a port with a loop and a thread of its own.

mod arrivals;
mod events;
mod reach;
mod threaded;
mod transfer;

pub(super) use arrivals::{Arrivals, Line, Places, is_first};
pub use events::Events;
pub(super) use events::{Feed, Item, pair};
pub use threaded::Threaded;
pub(super) use threaded::start;
pub(super) use transfer::{Notes, State, Transfer};

use super::error::Error;
use crate::event_loop::LoopMut;
use reach::{Job, Reach};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Calls that the queue has room for from the beginning; more threads at once make it grow.
const CALLS: usize = 64;

/// One kind of port, on its loop, as its calls see it.
pub(super) trait Face: Sized + 'static {
    /// What a call asks for.
    type Ask: Copy + Debug + Send + 'static;
    /// What the loop says.
    type Answer: Debug + Send + 'static;
    /// What the loop writes down about a call that is under way.
    type Notes: Notes + Send + 'static;
    /// The port as whoever is on its loop sees it.
    type Running<'a>;

    /// Calls have come.
    fn look<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>);

    /// Lets `job` act on the port and carries out what follows.
    fn run<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, job: impl FnOnce(&mut Self::Running<'_>));
}

/// The calls of a port that its loop has not seen.
pub(super) struct Calls<F: Face> {
    inbox: Mutex<Inbox<F>>,
    reach: OnceLock<Box<dyn Reach<F>>>,
    /// The thread of the loop.
    thread: ThreadId,
}

struct Inbox<F: Face> {
    came: VecDeque<Arc<Transfer<F>>>,
    ended: bool,
}

impl<F: Face> Calls<F> {
    /// Made on the thread of the loop.
    pub(super) fn new() -> Self {
        Self {
            inbox: Mutex::new(Inbox { came: VecDeque::with_capacity(CALLS), ended: false }),
            reach: OnceLock::new(),
            thread: thread::current().id(),
        }
    }

    /// Says where the port is: `find` finds it on its loop. Once, before any call.
    pub(super) fn reach<T: 'static>(
        &self,
        lp: &LoopMut<'_, T>,
        find: impl Fn(&LoopMut<'_, T>) -> Rc<F> + Copy + Send + Sync + 'static,
    ) {
        self.reach.get_or_init(|| reach::remote(lp.handle(), find));
    }

    /// Makes a call and waits for its answer. `prepare` gives it its bytes, `take` takes what came of it.
    pub(super) fn call<R>(
        &self,
        pool: &Pool<F>,
        ask: F::Ask,
        timeout: Option<Duration>,
        prepare: impl FnOnce(&mut State<F>),
        take: impl FnOnce(F::Answer, &mut State<F>) -> R,
    ) -> Result<R, Error> {
        if thread::current().id() == self.thread {
            return Err(Error::OnLoopThread);
        }
        let patient = timeout.is_none_or(|timeout| !timeout.is_zero());
        let transfer = pool.take(ask);
        {
            let mut state = transfer.state();
            state.begin(ask, patient);
            prepare(&mut state);
        }
        // What ends after the end of time has no limit.
        let end = timeout.filter(|_| patient).and_then(|timeout| Instant::now().checked_add(timeout));
        self.push(&transfer);
        let answer = transfer.wait(end, || self.push(&transfer));
        let result = answer.map(|answer| take(answer, &mut transfer.state()));
        pool.give(transfer);
        result
    }

    /// Has the loop call `f` with the port, and waits for what it returns.
    pub(super) fn run<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut F::Running<'_>) -> R + Send + 'static,
    ) -> Result<R, Error> {
        if thread::current().id() == self.thread {
            return Err(Error::OnLoopThread);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let job: Job<F> = Box::new(move |port: &mut F::Running<'_>| {
            // Nobody can have stopped waiting: the receiver is on the stack of a thread that is blocked in `recv`.
            let _ = sender.send(f(port));
        });
        self.reach.get().ok_or(Error::Ended)?.run(job);
        receiver.recv().map_err(|_| Error::Ended)
    }

    /// Has the loop look at a call, for the first time or again. After the end of the loop it is answered here.
    pub(super) fn push(&self, transfer: &Arc<Transfer<F>>) {
        let mut inbox = self.inbox();
        if inbox.ended {
            drop(inbox);
            return transfer.answer(&mut transfer.state(), Err(Error::Ended));
        }
        let first = inbox.came.is_empty();
        inbox.came.push_back(Arc::clone(transfer));
        drop(inbox);
        if let Some(reach) = self.reach.get().filter(|_| first) {
            reach.look();
        }
    }

    /// Exchanges the queue for an empty one.
    fn swap(&self, empty: &mut VecDeque<Arc<Transfer<F>>>) {
        std::mem::swap(&mut self.inbox().came, empty);
    }

    /// The loop has ended: what came is given back, and nothing comes any more.
    fn end(&self) -> VecDeque<Arc<Transfer<F>>> {
        let mut inbox = self.inbox();
        inbox.ended = true;
        std::mem::take(&mut inbox.came)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox<F>> {
        // A panic under this lock leaves the queue whole.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Face> Debug for Calls<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// The transfers of one handle that no call uses: as many as it ever had calls at once. Each keeps its buffer.
pub(super) struct Pool<F: Face>(Mutex<Vec<Arc<Transfer<F>>>>);

impl<F: Face> Pool<F> {
    fn take(&self, ask: F::Ask) -> Arc<Transfer<F>> {
        self.idle().pop().unwrap_or_else(|| Transfer::new(ask))
    }

    fn give(&self, transfer: Arc<Transfer<F>>) {
        self.idle().push(transfer);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Arc<Transfer<F>>>> {
        // A panic under this lock leaves the list whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Face> Default for Pool<F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
