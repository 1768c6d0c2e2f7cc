//! A running server as other threads see it.

use super::connections::Connections;
use super::event::ConnectionId;
use super::faults::FaultReport;
use super::handlers::{Function, FunctionRefused};
use super::running::{ConnectionReport, OnLoop, Running};
use super::subscribers::{Subscriber, Subscribers};
use super::{Metrics, Unit};
use crate::config::modbus as plant;
use crate::event_loop::{self, ContextKey, Error, LoopMut, Rejected, Why};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Reaches a server from any thread: `Send + Sync + Clone`. It may outlive the server and its loop.
///
/// Whatever waits for an answer needs a loop that is run by another thread meanwhile; on the loop's own thread it is
/// refused with [`Error::OnLoopThread`], and [`Handle::defer`] takes its place.
#[derive(Clone)]
pub struct Handle {
    reach: Arc<dyn Reach>,
    common: Arc<Common>,
}

/// What the server and its handles share.
pub(super) struct Common {
    pub(super) name: String,
    addresses: OnceLock<Vec<SocketAddr>>,
    /// The thread of the loop.
    thread: ThreadId,
    asked: AtomicBool,
    stopped: AtomicBool,
    pub(super) subscribers: Subscribers,
}

impl Common {
    /// Made on the thread of the loop.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            addresses: OnceLock::new(),
            thread: thread::current().id(),
            asked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            subscribers: Subscribers::default(),
        }
    }

    pub(super) fn listening(&self, addresses: Vec<SocketAddr>) {
        self.addresses.get_or_init(|| addresses);
    }

    pub(super) fn local_addrs(&self) -> &[SocketAddr] {
        self.addresses.get().map_or(&[], Vec::as_slice)
    }

    pub(super) fn ask_to_shut_down(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// Notes that the server has ended; false if that was known.
    pub(super) fn stop(&self) -> bool {
        !self.stopped.swap(true, Ordering::AcqRel)
    }
}

impl Handle {
    pub(super) fn new<T>(handle: event_loop::Handle<T>, key: ContextKey<Connections>, common: Arc<Common>) -> Self {
        Self { reach: Arc::new(Remote { handle, key }), common }
    }

    /// The name of the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.common.name
    }

    /// The addresses really bound, in order of the description.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.common.local_addrs()
    }

    /// Has the loop call `f` with the server, and does not wait. The calls of one thread run in their order; before the
    /// loop runs they are kept.
    ///
    /// # Errors
    /// [`Error::Full`] if too many calls are waiting, [`Error::Ended`] after the end of the loop. `f` is dropped then.
    pub fn defer(&self, f: impl FnOnce(&mut Running<'_>) + Send + 'static) -> Result<(), Error> {
        self.reach.defer(Box::new(f))
    }

    /// [`Handle::defer`] that no full queue refuses. After the end of the loop `f` is dropped.
    pub(super) fn defer_always(&self, f: impl FnOnce(&mut Running<'_>) + Send + 'static) {
        self.reach.defer_always(Box::new(f));
    }

    /// Has the loop call `f` with the server, and waits for what it returns.
    ///
    /// # Errors
    /// As for [`Handle::defer`], and [`Error::OnLoopThread`] on the loop's own thread, which would wait for itself.
    pub fn call<R: Send + 'static>(&self, f: impl FnOnce(&mut Running<'_>) -> R + Send + 'static) -> Result<R, Error> {
        if thread::current().id() == self.common.thread {
            return Err(Error::OnLoopThread);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        self.defer(move |server| {
            // Nobody can have stopped waiting: the receiver is on the stack of a thread that is blocked in `recv`.
            let _ = sender.send(f(server));
        })?;
        receiver.recv().map_err(|_| Error::Ended)
    }

    /// [`Running::add_unit`]: what it replaced.
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn add_unit(&self, unit: Unit) -> Result<Option<Unit>, Error> {
        self.call(|server| server.add_unit(unit))
    }

    /// [`Running::remove_unit`]: what was taken out.
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn remove_unit(&self, id: u8) -> Result<Option<Unit>, Error> {
        self.call(move |server| server.remove_unit(id))
    }

    /// [`Running::with_unit`]: what `f` returned, `None` if there is no such unit.
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn with_unit<R: Send + 'static>(
        &self,
        id: u8,
        f: impl FnOnce(&mut Unit) -> R + Send + 'static,
    ) -> Result<Option<R>, Error> {
        self.call(move |server| server.with_unit(id, f))
    }

    /// [`Running::set_function`].
    ///
    /// # Errors
    /// As for [`Handle::call`]; within, why the function cannot be answered so.
    pub fn set_function(&self, unit: u8, code: u8, function: Function) -> Result<Result<(), FunctionRefused>, Error> {
        self.call(move |server| server.set_function(unit, code, function))
    }

    /// [`Running::connections`].
    ///
    /// # Errors
    /// As for [`Handle::call`].
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    pub fn connections(&self) -> Result<Vec<ConnectionReport>, Error> {
        self.call(|server| server.connections())
    }

    /// [`Running::close`]: whether there was such a connection.
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn close(&self, id: ConnectionId) -> Result<bool, Error> {
        self.call(move |server| server.close(id))
    }

    /// [`Running::metrics`].
    ///
    /// # Errors
    /// As for [`Handle::call`].
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    pub fn metrics(&self) -> Result<Metrics, Error> {
        self.call(|server| server.metrics())
    }

    /// [`Running::faults`].
    ///
    /// # Errors
    /// As for [`Handle::call`].
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    pub fn faults(&self) -> Result<Vec<FaultReport>, Error> {
        self.call(|server| server.faults())
    }

    /// [`Running::fault`]: whether there was such a fault.
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn fault(&self, name: &str, on: bool, span: Option<Duration>) -> Result<bool, Error> {
        let name = name.to_owned();
        self.call(move |server| server.fault(&name, on, span))
    }

    /// [`Running::put_fault`]: whether one of its name was there.
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn put_fault(&self, fault: plant::Fault) -> Result<bool, Error> {
        self.call(move |server| server.put_fault(&fault))
    }

    /// [`Running::remove_fault`]: whether it was there.
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn remove_fault(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        self.call(move |server| server.remove_fault(&name))
    }

    /// [`Running::clear_faults`].
    ///
    /// # Errors
    /// As for [`Handle::call`].
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    pub fn clear_faults(&self) -> Result<(), Error> {
        self.call(|server| server.clear_faults())
    }

    /// Hears of every event from now on, or from the beginning if the loop has not run yet. A queue of `capacity` events
    /// (at least one) keeps those that nobody has taken; 1024 is usual.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Subscriber {
        self.common.subscribers.add(capacity, None)
    }

    /// [`Handle::subscribe`] for who cannot wait, such as a loop: `wake` is called, on the server's thread, when an event
    /// comes into an empty queue. It must not block.
    #[must_use]
    pub fn subscribe_waking(&self, capacity: usize, wake: impl Fn() + Send + Sync + 'static) -> Subscriber {
        self.common.subscribers.add(capacity, Some(Box::new(wake)))
    }

    /// Events that subscribers have missed, all of them together.
    #[must_use]
    pub fn events_missed(&self) -> u64 {
        self.common.subscribers.missed()
    }

    /// Lets the server end: the first call in order, a second one by force, as
    /// [`Server::shutdown`](super::Server::shutdown). It does not wait and is never lost: before the loop runs it lets
    /// nobody in. After the end it does nothing.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    pub fn shutdown(&self) {
        self.common.ask_to_shut_down();
        self.reach.defer_always(Box::new(|server| server.shutdown()));
    }

    /// Whether anybody has called for a shutdown.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.common.asked.load(Ordering::Acquire)
    }

    /// Whether the server has ended: [`Event::Stopped`](super::Event::Stopped) was told.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.common.stopped.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("name", &self.name()).finish_non_exhaustive()
    }
}

type Job = Box<dyn FnOnce(&mut Running<'_>) + Send>;

/// The way to a server, whatever the data of its loop are.
trait Reach: Send + Sync {
    fn defer(&self, job: Job) -> Result<(), Error>;
    /// The same for what nobody could repeat; after the end of the loop it is dropped.
    fn defer_always(&self, job: Job);
}

/// The one kind of [`Reach`].
struct Remote<T: 'static> {
    handle: event_loop::Handle<T>,
    key: ContextKey<Connections>,
}

impl<T> Remote<T> {
    fn on_loop(&self, job: Job) -> impl FnOnce(&mut LoopMut<'_, T>) + Send + 'static {
        let key = self.key;
        move |lp| {
            let shared = lp.handler(key).map(|connections| Rc::clone(&connections.shared));
            let shared = shared.expect("a deferred call runs on its own loop, and inside no callback");
            job(&mut Running::new(&mut OnLoop { lp, shared }));
        }
    }
}

impl<T> Reach for Remote<T> {
    fn defer(&self, job: Job) -> Result<(), Error> {
        self.handle.defer(self.on_loop(job)).map_err(|Rejected { why, .. }| match why {
            Why::Ended => Error::Ended,
            Why::Full => Error::Full,
        })
    }

    fn defer_always(&self, job: Job) {
        // A loop that has ended has nothing left to do.
        let _ = self.handle.defer_always(self.on_loop(job));
    }
}
