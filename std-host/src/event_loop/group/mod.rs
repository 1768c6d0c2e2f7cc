//! Many loops: one on each of several threads, started, stopped and counted as one.
//!
//! ```
//! use wharf_host::event_loop::{Group, GroupListener, Handler, ListenOptions, Socket, Spread};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Data = ();
//!     fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
//!         if s.write(bytes).is_ok_and(|taken| taken < bytes.len()) {
//!             s.close(1); // a client that sends and never reads
//!         }
//!     }
//! }
//!
//! let listener = GroupListener::new("127.0.0.1:0".parse()?, ListenOptions::default(), Spread::default());
//! let everywhere = listener.clone();
//! let group = Group::start(2, move |_index, lp| {
//!     let key = lp.context(Echo);
//!     everywhere.listen(lp, key)?;
//!     Ok(())
//! })?;
//! println!("listening on {}", listener.local_addr());
//! group.stop(); // from any thread, or on any loop by `LoopMut::stop`
//! let stats = group.join()?;
//! assert_eq!(stats.accepted, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a group lives
//!
//! The loops are made and set up one after the other, each on its own thread, and none runs before all are set up. If
//! one cannot be, [`Group::start`] says why, and the others are closed.
//!
//! While the [`Group`] exists, no loop ends for want of work; [`Group::join`] lets them, and waits. A group ends as
//! one: a loop that is stopped, that fails or in which a callback panics stops all the others. Dropping a group stops
//! it and waits.

mod inbox;
mod listener;

pub use listener::{GroupListener, Spread};

pub(in crate::event_loop) use inbox::Inbox;

use super::{Error, Handle, Loop, LoopMut, LoopOptions, Stats};
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// How many loops a group has, and what they are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// How many loops there are, each on a thread of its own. 0, the default, is one for each core of this process.
    pub loops: usize,
    /// The bounds of each loop.
    pub each: LoopOptions,
    /// What the threads are called, before a hyphen and the loop's index; systems may show only the beginning. `loop`.
    pub name: String,
    /// Keeps each thread on a core of its own, in turn if there are more loops than cores. Linux only. Off.
    pub pin: bool,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self { loops: 0, each: LoopOptions::default(), name: "loop".to_owned(), pin: false }
    }
}

impl GroupOptions {
    fn count(&self) -> usize {
        // A system that does not tell how many cores there are gets the least that works.
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        if self.loops == 0 { cores() } else { self.loops }
    }
}

/// Loops on threads of their own. `Send` and `Sync`, whatever `T` is.
pub struct Group<T: 'static = ()> {
    common: Arc<Common<T>>,
    /// Handles that keep the loops alive, until `join`.
    keepers: Vec<Handle<T>>,
    threads: Vec<JoinHandle<Result<(), Error>>>,
}

/// What the threads of a group share.
struct Common<T: 'static> {
    /// All loops, once they are set up; `None` if one of them could not be.
    handles: OnceLock<Option<Vec<Handle<T>>>>,
    /// The loop that failed first. The others ended because of it.
    failed: OnceLock<usize>,
    /// What each loop had counted when it ended.
    ended: Vec<OnceLock<Stats>>,
}

impl Group {
    /// Runs `loops` loops, or one for each core if that is 0. `setup` is called on each loop's thread with its index,
    /// from 0 and in order.
    ///
    /// # Errors
    /// What `setup` returned for one of the loops, or [`Error::Io`] if the system has no descriptors or threads left.
    ///
    /// # Panics
    /// With whatever `setup` panics with.
    pub fn start<F>(loops: usize, setup: F) -> Result<Self, Error>
    where
        F: Fn(usize, &mut LoopMut<'_>) -> Result<(), Error> + Send + Sync + 'static,
    {
        Self::with_options(GroupOptions { loops, ..GroupOptions::default() }, |_| (), setup)
    }
}

impl<T> Group<T> {
    /// [`Group::start`] with other options than the usual ones, and with a value for each loop, which `data` makes on
    /// that loop's thread.
    ///
    /// # Errors
    /// As for [`Group::start`]; [`Error::Io`] also if threads cannot be pinned.
    ///
    /// # Panics
    /// With whatever `data` or `setup` panics with.
    pub fn with_options<D, F>(options: GroupOptions, data: D, setup: F) -> Result<Self, Error>
    where
        D: Fn(usize) -> T + Send + Sync + 'static,
        F: Fn(usize, &mut LoopMut<'_, T>) -> Result<(), Error> + Send + Sync + 'static,
    {
        let common = Arc::new(Common::new(options.count()));
        let mut group = Self { common: Arc::clone(&common), keepers: Vec::new(), threads: Vec::new() };
        let given = Arc::new((options, data, setup));
        for index in 0..common.ended.len() {
            let (report, reported) = sync_channel(1);
            let (common, given) = (Arc::clone(&common), Arc::clone(&given));
            let name = format!("{}-{index}", given.0.name);
            let failed = |source| Error::io("start", format_args!("thread {name}"), source);
            let body = move || {
                let set_up = || {
                    let (options, data, setup) = &*given;
                    if options.pin {
                        pin(index).map_err(|source| Error::io("pin", format_args!("loop {index}"), source))?;
                    }
                    let mut lp = Loop::with_options(data(index), options.each)?;
                    setup(index, &mut lp.loop_mut())?;
                    Ok(lp)
                };
                live(index, &common, &report, set_up)
            };
            group.threads.push(thread::Builder::new().name(name.clone()).spawn(body).map_err(failed)?);
            match reported.recv() {
                Ok(Ok(handle)) => group.keepers.push(handle),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let panicked = group.threads.pop().map(JoinHandle::join);
                    drop(group);
                    propagate(panicked.expect("the thread has just been added"))?;
                    unreachable!("a thread that ends without a report has panicked");
                }
            }
        }
        for keeper in &group.keepers {
            keeper.keep_alive(true);
        }
        // From here on the loops run.
        let _ = common.handles.set(Some(group.keepers.clone()));
        Ok(group)
    }

    /// The loops, by index.
    #[must_use]
    pub fn handles(&self) -> &[Handle<T>] {
        self.common.handles()
    }

    /// Ends all loops after their present iteration. May be repeated.
    pub fn stop(&self) {
        self.common.stop();
    }

    /// What all loops have counted so far, those that have ended included. Waits for each loop in turn.
    ///
    /// # Errors
    /// As for [`Handle::call`], but for [`Error::Ended`].
    pub fn stats(&self) -> Result<Stats, Error> {
        let of = |(handle, ended): (&Handle<T>, &OnceLock<Stats>)| match handle.call(|lp| lp.stats()) {
            Err(Error::Ended) => Ok(*ended.wait()),
            other => other,
        };
        self.handles().iter().zip(&self.common.ended).map(of).sum()
    }

    /// Waits until all loops have ended: because the group was stopped, or because nothing keeps any of them alive.
    /// Returns what they have counted. Not for the group's own threads.
    ///
    /// # Errors
    /// As for [`Loop::run`], from the loop that failed first.
    ///
    /// # Panics
    /// With whatever a callback has panicked with, in the loop that failed first.
    pub fn join(mut self) -> Result<Stats, Error> {
        self.keepers.clear();
        let mut outcomes: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        if let Some(first) = self.common.failed.get() {
            outcomes.swap(0, *first);
        }
        outcomes.into_iter().try_for_each(propagate)?;
        Ok(self.common.ended.iter().map(|stats| *stats.wait()).sum())
    }
}

impl<T> Drop for Group<T> {
    fn drop(&mut self) {
        // Unless the loops run already, they never will.
        let _ = self.common.handles.set(None);
        self.stop();
        let own = thread::current().id();
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != own) {
            // Who wants to hear of errors and panics joins; a panic has been printed by its thread.
            drop(thread.join());
        }
    }
}

impl<T> fmt::Debug for Group<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("loops", &self.handles().len()).finish_non_exhaustive()
    }
}

impl<T> Common<T> {
    fn new(count: usize) -> Self {
        let ended = std::iter::repeat_with(OnceLock::new).take(count).collect();
        Self { handles: OnceLock::new(), failed: OnceLock::new(), ended }
    }

    fn handles(&self) -> &[Handle<T>] {
        self.handles.get().and_then(Option::as_deref).unwrap_or_default()
    }

    fn stop(&self) {
        self.handles().iter().for_each(Handle::stop);
    }
}

/// The life of one thread: sets its loop up, tells how that went, waits for the others and runs.
fn live<T>(
    index: usize,
    common: &Common<T>,
    report: &SyncSender<Result<Handle<T>, Error>>,
    set_up: impl FnOnce() -> Result<Loop<T>, Error>,
) -> Result<(), Error> {
    let mut lp = match set_up() {
        Ok(lp) => lp,
        Err(error) => {
            let _ = report.send(Err(error));
            return Ok(());
        }
    };
    // Whoever starts the group is waiting for it.
    let _ = report.send(Ok(lp.handle()));
    if common.handles.wait().is_none() {
        return Ok(());
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| lp.run()));
    let _ = common.ended[index].set(lp.loop_mut().stats());
    let orderly = matches!(outcome, Ok(Ok(())));
    if !orderly {
        // A second failure is a consequence, or comes too late.
        let _ = common.failed.set(index);
        let how = if outcome.is_err() { "panicked" } else { "failed" };
        tracing::error!("loop {index} has {how}: all loops of its group end");
    }
    if !orderly || lp.core.shared.is_stopping() {
        common.stop();
    }
    propagate(outcome)
}

/// Goes on with what a thread or a call came to, its panic included.
fn propagate(outcome: Result<Result<(), Error>, Box<dyn Any + Send>>) -> Result<(), Error> {
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Keeps the calling thread on one of the cores that it may use.
#[cfg(target_os = "linux")]
fn pin(index: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let mut own = CpuSet::new();
    own.set(cores[index % cores.len()]);
    Ok(sched_setaffinity(None, &own)?)
}

#[cfg(not(target_os = "linux"))]
fn pin(_: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
