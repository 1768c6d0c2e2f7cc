//! The way from threads to the loop: a queue of calls, and what has the loop look at it.

use super::transfer::{Answer, Ask, State, Transfer};
use crate::event_loop::{ContextKey, Handle, LoopMut, Rejected, Why};
use crate::services::port::clients::Clients;
use crate::services::port::error::Error;
use crate::services::port::running::Running;
use crate::services::port::site::Site;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Calls that the queue has room for from the beginning; more threads at once make it grow.
const CALLS: usize = 64;

/// The calls of a port that its loop has not seen.
pub(in crate::services::port) struct Calls {
    inbox: Mutex<Inbox>,
    reach: OnceLock<Box<dyn Reach>>,
    /// The thread of the loop.
    thread: ThreadId,
}

struct Inbox {
    came: VecDeque<Arc<Transfer>>,
    ended: bool,
}

impl Calls {
    /// Made on the thread of the loop.
    pub(in crate::services::port) fn new() -> Self {
        Self {
            inbox: Mutex::new(Inbox { came: VecDeque::with_capacity(CALLS), ended: false }),
            reach: OnceLock::new(),
            thread: thread::current().id(),
        }
    }

    /// Says where the port is. Once, before any call.
    pub(in crate::services::port) fn reach<T: 'static>(&self, lp: &LoopMut<'_, T>, key: ContextKey<Clients>) {
        self.reach.get_or_init(|| remote(lp.handle(), key));
    }

    /// Makes a call and waits for its answer. `prepare` gives it its bytes, `take` takes what came of it.
    pub(super) fn call<R>(
        &self,
        pool: &Pool,
        ask: Ask,
        timeout: Option<Duration>,
        prepare: impl FnOnce(&mut State),
        take: impl FnOnce(Answer, &mut State) -> R,
    ) -> Result<R, Error> {
        if thread::current().id() == self.thread {
            return Err(Error::OnLoopThread);
        }
        let patient = timeout.is_none_or(|timeout| !timeout.is_zero());
        let transfer = pool.take();
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
        f: impl FnOnce(&mut Running<'_>) -> R + Send + 'static,
    ) -> Result<R, Error> {
        if thread::current().id() == self.thread {
            return Err(Error::OnLoopThread);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |port| {
            // Nobody can have stopped waiting: the receiver is on the stack of a thread that is blocked in `recv`.
            let _ = sender.send(f(port));
        });
        self.reach.get().ok_or(Error::Ended)?.run(job);
        receiver.recv().map_err(|_| Error::Ended)
    }

    /// Has the loop look at a call, for the first time or again. After the end of the loop it is answered here.
    pub(super) fn push(&self, transfer: &Arc<Transfer>) {
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
    pub(super) fn swap(&self, empty: &mut VecDeque<Arc<Transfer>>) {
        std::mem::swap(&mut self.inbox().came, empty);
    }

    /// The loop has ended: what came is given back, and nothing comes any more.
    pub(super) fn end(&self) -> VecDeque<Arc<Transfer>> {
        let mut inbox = self.inbox();
        inbox.ended = true;
        std::mem::take(&mut inbox.came)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // A panic under this lock leaves the queue whole.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// The transfers of one handle that no call uses: as many as it ever had calls at once. Each keeps its buffer.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Arc<Transfer>>>);

impl Pool {
    fn take(&self) -> Arc<Transfer> {
        self.idle().pop().unwrap_or_else(Transfer::new)
    }

    fn give(&self, transfer: Arc<Transfer>) {
        self.idle().push(transfer);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Arc<Transfer>>> {
        // A panic under this lock leaves the list whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Job = Box<dyn FnOnce(&mut Running<'_>) + Send>;

/// The way to a port, whatever the data of its loop are.
trait Reach: Send + Sync {
    /// Has the loop look at the calls that came.
    fn look(&self);
    /// Has the loop do a job; after its end the job is dropped.
    fn run(&self, job: Job);
}

/// The one kind of [`Reach`].
struct Remote<T: 'static, F> {
    handle: Handle<T>,
    key: ContextKey<Clients>,
    look: Arc<F>,
}

fn remote<T: 'static>(handle: Handle<T>, key: ContextKey<Clients>) -> Box<dyn Reach> {
    let look = Arc::new(move |lp: &mut LoopMut<'_, T>| site(lp, key).look(lp));
    Box::new(Remote { handle, key, look })
}

fn site<T: 'static>(lp: &LoopMut<'_, T>, key: ContextKey<Clients>) -> Rc<Site> {
    let site = lp.handler(key).map(|clients| Rc::clone(&clients.site));
    site.expect("a deferred call runs on its own loop, and inside no callback")
}

impl<T, F> Reach for Remote<T, F>
where
    F: Fn(&mut LoopMut<'_, T>) + Send + Sync + 'static,
{
    fn look(&self) {
        if let Err(Rejected { why: Why::Full, f: look }) = self.handle.defer_shared(Arc::clone(&self.look)) {
            // Nobody would ask again. A loop that has ended answers by its end.
            let _ = self.handle.defer_always(move |lp| look(lp));
        }
    }

    fn run(&self, job: Job) {
        let key = self.key;
        // Dropped after the end of the loop, which its sender takes for the answer.
        let _ = self.handle.defer_always(move |lp| site(lp, key).with(lp, job));
    }
}
