//! The loops that run deferred calls: Wharf's, a bare `mio` one with a locked queue, and tokio's with a channel.

use super::State;
use mio::{Events, Poll, Token, Waker};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use wharf_host::event_loop::{Handle, Loop};

/// Calls that may wait.
const LIMIT: usize = 65_536;

/// A loop in a thread of its own, as its callers see it.
pub(super) trait Target: Clone + Send + 'static {
    /// Starts the loop over `state`. Its thread calls `pin` first, and gives the answer back with the state at its end.
    fn start(pin: impl FnOnce() -> bool + Send + 'static, state: State) -> io::Result<(Self, Running)>;

    /// Has the loop run `f`. False if too many calls are waiting.
    fn send(&self, f: impl FnOnce(&mut State) + Send + 'static) -> bool;

    /// How often the loop was woken, if it counts that.
    fn wake_ups(&self) -> Option<u64>;

    /// Ends the loop.
    fn stop(self);
}

pub(super) type Running = JoinHandle<(State, bool)>;
type Call = Box<dyn FnOnce(&mut State) + Send>;

#[derive(Clone)]
pub(super) struct Wharf(Handle<Option<State>>);

impl Target for Wharf {
    fn start(pin: impl FnOnce() -> bool + Send + 'static, state: State) -> io::Result<(Self, Running)> {
        let (found, handle) = mpsc::channel();
        let thread = thread::spawn(move || {
            let pinned = pin();
            let mut lp = Loop::with_data(Some(state)).expect("there are descriptors left");
            let handle = lp.handle();
            handle.keep_alive(true);
            found.send(handle.clone()).expect("the other side waits for it");
            let mut state = None;
            lp.run_until(|lp| {
                let stops = lp.data().as_ref().is_some_and(|state| state.stops);
                if stops {
                    state = lp.data().take();
                }
                stops
            })
            .expect("polling does not fail");
            (state.expect("the loop ends only by `stop`"), pinned)
        });
        let handle = handle.recv().map_err(io::Error::other)?;
        Ok((Self(handle), thread))
    }

    fn send(&self, f: impl FnOnce(&mut State) + Send + 'static) -> bool {
        self.0.defer(move |lp| f(lp.data().as_mut().expect("there is a state until the end"))).is_ok()
    }

    fn wake_ups(&self) -> Option<u64> {
        self.0.call(|lp| lp.stats().wake_ups).ok()
    }

    fn stop(self) {
        let _ = self.0.defer(|lp| lp.data().as_mut().expect("there is a state until the end").stops = true);
    }
}

/// The least that can be done: append under a lock, wake if the queue was empty, take all at once.
#[derive(Clone)]
pub(super) struct Bare(Arc<Shared>);

struct Shared {
    queue: Mutex<Vec<Call>>,
    waker: Waker,
    wake_ups: AtomicU64,
    stops: AtomicBool,
}

impl Target for Bare {
    fn start(pin: impl FnOnce() -> bool + Send + 'static, mut state: State) -> io::Result<(Self, Running)> {
        let mut poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(0))?;
        let queue = Mutex::new(Vec::new());
        let (wake_ups, stops) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { queue, waker, wake_ups, stops });
        let ours = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let pinned = pin();
            let mut events = Events::with_capacity(16);
            let mut batch = Vec::new();
            while !ours.stops.load(Ordering::Acquire) {
                // An interruption is as good as an event here.
                let _ = poll.poll(&mut events, None);
                std::mem::swap(&mut *ours.queue.lock().unwrap_or_else(PoisonError::into_inner), &mut batch);
                for call in batch.drain(..) {
                    call(&mut state);
                }
            }
            (state, pinned)
        });
        Ok((Self(shared), thread))
    }

    fn send(&self, f: impl FnOnce(&mut State) + Send + 'static) -> bool {
        let call = Box::new(f);
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= LIMIT {
            return false;
        }
        queue.push(call);
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.0.wake_ups.fetch_add(1, Ordering::Relaxed);
            self.0.waker.wake().expect("the kernel has memory for a counter that exists");
        }
        true
    }

    fn wake_ups(&self) -> Option<u64> {
        Some(self.0.wake_ups.load(Ordering::Relaxed))
    }

    fn stop(self) {
        self.0.stops.store(true, Ordering::Release);
        self.0.waker.wake().expect("the kernel has memory for a counter that exists");
    }
}

/// A task that receives calls from a bounded channel.
#[cfg(feature = "peers")]
#[derive(Clone)]
pub(super) struct Tokio(tokio::sync::mpsc::Sender<Call>);

#[cfg(feature = "peers")]
impl Target for Tokio {
    fn start(pin: impl FnOnce() -> bool + Send + 'static, mut state: State) -> io::Result<(Self, Running)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (sender, mut calls) = tokio::sync::mpsc::channel::<Call>(LIMIT);
        let thread = thread::spawn(move || {
            let pinned = pin();
            runtime.block_on(async {
                while let Some(call) = calls.recv().await {
                    call(&mut state);
                }
            });
            (state, pinned)
        });
        Ok((Self(sender), thread))
    }

    fn send(&self, f: impl FnOnce(&mut State) + Send + 'static) -> bool {
        self.0.try_send(Box::new(f)).is_ok()
    }

    fn wake_ups(&self) -> Option<u64> {
        None
    }

    fn stop(self) {}
}
