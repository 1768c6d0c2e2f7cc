//! Names: threads that wait for the system's resolver, so that the loop does not.

use crate::event_loop::net::{Resolved, Wake};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

/// Looks a host up and gives it the port; called on a thread of its own, and may take its time.
pub type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Names that may wait for a thread.
const QUEUE: usize = 256;

/// The threads, which start with the first names. Dropping it ends them; one that is looking a name up ends after that,
/// and nobody waits for it.
pub(super) struct Resolver {
    desk: Arc<Desk>,
    limit: usize,
}

/// What the loop and the threads share.
struct Desk {
    lookup: Lookup,
    state: Mutex<State>,
    /// A copy of "there are answers", so that a loop without any takes no lock.
    answered: AtomicBool,
    work: Condvar,
    /// Weak, so that a thread with a slow name does not keep the loop's waker.
    wake: Weak<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Query>,
    answers: VecDeque<Resolved>,
    /// Queries that are being looked up and whose answers nobody wants any more.
    unwanted: Vec<u64>,
    threads: usize,
    /// Threads that are looking a name up.
    busy: usize,
    ended: bool,
}

struct Query {
    id: u64,
    host: String,
    port: u16,
}

impl Resolver {
    pub(super) fn new(lookup: Lookup, limit: usize, wake: &Wake) -> Self {
        let (state, answered, work) = (Mutex::default(), AtomicBool::new(false), Condvar::new());
        let desk = Desk { lookup, state, answered, work, wake: Arc::downgrade(wake) };
        Self { desk: Arc::new(desk), limit: limit.max(1) }
    }

    pub(super) fn resolve(&self, id: u64, host: &str, port: u16) -> io::Result<()> {
        let mut state = self.desk.lock();
        // What an idle thread is about to take does not wait.
        if state.queue.len() + state.busy >= QUEUE + self.limit {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        if state.busy + state.queue.len() >= state.threads && state.threads < self.limit {
            let desk = Arc::clone(&self.desk);
            match thread::Builder::new().name("resolver".to_owned()).spawn(move || desk.serve()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(error),
                Err(error) => tracing::warn!(%error, "one resolver thread less than there should be"),
            }
        }
        state.queue.push_back(Query { id, host: host.to_owned(), port });
        self.desk.work.notify_one();
        Ok(())
    }

    /// Takes a query back that has not been given its answer by [`Resolver::next`].
    pub(super) fn forget(&self, id: u64) {
        let mut state = self.desk.lock();
        let before = state.queue.len() + state.answers.len();
        state.queue.retain(|query| query.id != id);
        state.answers.retain(|answer| answer.query != id);
        if state.queue.len() + state.answers.len() == before {
            state.unwanted.push(id);
        }
    }

    pub(super) fn next(&self) -> Option<Resolved> {
        if !self.desk.answered.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.desk.lock();
        let answer = state.answers.pop_front();
        self.desk.answered.store(!state.answers.is_empty(), Ordering::Release);
        answer
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.ended = true;
        state.queue.clear();
        self.desk.work.notify_all();
    }
}

impl Desk {
    /// The life of a thread.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if state.ended {
                return;
            }
            let Some(Query { id, host, port }) = state.queue.pop_front() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy += 1;
            drop(state);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.lookup)(&host, port)));
            let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("the resolver panicked")));
            state = self.lock();
            state.busy -= 1;
            if state.ended {
                return;
            }
            if let Some(at) = state.unwanted.iter().position(|unwanted| *unwanted == id) {
                state.unwanted.swap_remove(at);
                continue;
            }
            state.answers.push_back(Resolved { query: id, outcome });
            self.answered.store(true, Ordering::Release);
            if let Some(wake) = self.wake.upgrade() {
                wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A lookup, which alone could panic, runs without the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resolver of the system.
pub(super) fn system() -> Lookup {
    Arc::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A resolver whose threads wait for leave to answer, and what tells that one has begun.
    fn slow() -> (Resolver, mpsc::Receiver<String>, mpsc::Sender<()>, mpsc::Receiver<()>, Wake) {
        let (begun, begins) = mpsc::channel();
        let (leave, leaves) = mpsc::channel::<()>();
        let leaves = Mutex::new(leaves);
        let (woke, wakes) = mpsc::channel();
        let wake: Wake = Arc::new(move || woke.send(()).expect("the test waits for it"));
        let lookup: Lookup = Arc::new(move |host, port| {
            begun.send(host.to_owned()).map_err(io::Error::other)?;
            leaves.lock().unwrap().recv().map_err(io::Error::other)?;
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        });
        (Resolver::new(lookup, 2, &wake), begins, leave, wakes, wake)
    }

    #[test]
    fn the_queue_is_bounded_and_a_name_taken_back_leaves_room() {
        let (resolver, begins, leave, wakes, _wake) = slow();
        for id in 0..QUEUE as u64 + 2 {
            resolver.resolve(id, "name", 9).unwrap();
        }
        assert_eq!(resolver.resolve(999, "more", 9).unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!((begins.recv().unwrap(), begins.recv().unwrap()), ("name".to_owned(), "name".to_owned()));
        resolver.forget(QUEUE as u64);
        resolver.resolve(999, "more", 9).unwrap();
        assert_eq!(resolver.resolve(999, "more", 9).unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        // One that is being looked up is forgotten too, and its thread goes on to the next name.
        resolver.forget(0);
        leave.send(()).unwrap();
        leave.send(()).unwrap();
        wakes.recv().unwrap();
        begins.recv().unwrap();
        let answer = resolver.next().unwrap();
        assert!(answer.query > 0 && answer.outcome.unwrap() == ["127.0.0.1:9".parse().unwrap()]);
        assert!(resolver.next().is_none_or(|answer| answer.query > 0));
    }

    #[test]
    fn threads_start_when_they_are_needed_and_end_with_the_resolver() {
        let (resolver, begins, leave, wakes, wake) = slow();
        let threads = |resolver: &Resolver| resolver.desk.lock().threads;
        assert_eq!(threads(&resolver), 0);
        for id in 0..3 {
            resolver.resolve(id, "name", 9).unwrap();
            begins.recv().unwrap();
            leave.send(()).unwrap();
            wakes.recv().unwrap();
        }
        assert_eq!(threads(&resolver), 1);
        resolver.resolve(4, "slow", 9).unwrap();
        resolver.resolve(5, "slow", 9).unwrap();
        assert_eq!(threads(&resolver), 2);
        begins.recv().unwrap();
        begins.recv().unwrap();
        // Dropping does not wait for the names, and the waker is free at once.
        drop(resolver);
        assert_eq!(Arc::strong_count(&wake), 1);
        drop(wake);
        // Both threads end once they have their answer: nobody else holds the other end.
        drop(leave);
        assert!(begins.recv().is_err());
    }
}
