//! Modbus TCP servers on the event loop.
//!
//! A [`Server`] listens, admits, and drives one machine of the core per connection; who answers, and what, is decided in
//! the core. It belongs to one loop, and everything that it shares lies in one place that its sockets and timers reach.
//! Whoever is not on the loop has a [`Handle`]; what it asks for is done by [`Running`], on the loop.

mod admission;
mod authorisation;
mod changes;
mod connection;
mod connections;
pub mod control;
mod device;
mod event;
mod faults;
mod generators;
mod handle;
mod handlers;
mod listeners;
mod metrics;
mod observer;
mod options;
mod points;
mod running;
mod storage;
mod subscribers;
#[cfg(test)]
mod tests;
mod threaded;
mod unsent;

pub use authorisation::{Access, AccessRequest, Accesses, Area, Authorisation};
pub use device::unit;
pub use event::{ConnectionId, Event, Operation, Rejection, Statistics, UnitSet};
pub use faults::FaultReport;
pub use handle::Handle;
pub use handlers::{Answer, Answerer, BoxedHandler, Call, Function, FunctionRefused, Handler, Later, set_function};
pub use metrics::{Metrics, Response, Timeout};
pub use observer::Observer;
pub use points::{Reading, Refused, Typed};
pub use running::{ConnectionReport, Running};
pub use storage::Heap;
pub use subscribers::Subscriber;
pub use threaded::Threaded;
pub use wharf_core::modbus::data::TableKind;
pub use wharf_core::modbus::server::State;

/// The data of a unit on a host.
pub type Device = wharf_core::modbus::data::Device<Heap>;
/// A unit of a server on a host.
pub type Unit = wharf_core::modbus::units::Unit<Heap>;

use crate::config::modbus as plant;
use crate::event_loop::{ContextKey, Error, LoopMut, SocketId};
use admission::Admission;
use connections::Connections;
use faults::Board;
use handle::Common;
use listeners::Listeners;
use options::Options;
use points::Points;
use running::OnLoop;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use storage::Pool;
use wharf_core::Instant;
use wharf_core::modbus::server::Processed;
use wharf_core::modbus::units::{Change, Units};

/// What all connections of a server share.
struct Shared {
    /// The context of the sockets; set before there are any.
    key: OnceCell<ContextKey<Connections>>,
    units: RefCell<Units<Heap>>,
    points: RefCell<Points>,
    /// What has been written and not been told yet.
    changes: RefCell<Vec<Change>>,
    pool: RefCell<Pool>,
    observer: Box<dyn Observer>,
    metrics: RefCell<Metrics>,
    /// The server for its handlers; set before there is a connection.
    handle: OnceCell<Handle>,
    /// What the handles have a share in.
    common: Arc<Common>,
    faults: RefCell<Board>,
    listeners: RefCell<Listeners>,
    shutdown_timeout: Option<Duration>,
    seed: u64,
    /// The sockets of the connections.
    sockets: RefCell<HashMap<ConnectionId, SocketId>>,
    accepted: Cell<ConnectionId>,
    stopping: Cell<bool>,
    cut: Cell<u64>,
    /// The same moment on the clock of the loop and on that of the world.
    epoch: (Instant, SystemTime),
}

impl Shared {
    fn key(&self) -> ContextKey<Connections> {
        *self.key.get().expect("a server has its context before it listens")
    }

    fn emit(&self, event: &Event) {
        self.metrics.borrow_mut().count(event);
        self.tell(event);
    }

    /// A request is done with. There are more of these than of all other events, so it takes no way round.
    fn processed(&self, id: ConnectionId, request: &Processed) {
        self.metrics.borrow_mut().processed(request);
        let subscribers = &self.common.subscribers;
        if !subscribers.is_empty() || self.observer.hears_requests() {
            self.tell(&Event::Processed { id, request: *request });
        }
    }

    fn tell(&self, event: &Event) {
        self.observer.event(event);
        self.common.subscribers.tell(event);
    }

    fn active(&self) -> usize {
        self.sockets.borrow().len()
    }

    /// Says that the server has ended, once nothing is left of it.
    fn stopped(&self) {
        if self.has_ended() && self.common.stop() {
            let cut = self.cut.get();
            self.emit(&Event::Stopped { graceful: cut == 0, cut });
        }
    }

    /// Whether nothing is left of it.
    fn has_ended(&self) -> bool {
        self.stopping.get() && self.active() == 0
    }

    /// An instant of the loop as a time of the world.
    fn world_time(&self, at: Instant) -> SystemTime {
        self.epoch.1 + at.saturating_duration_since(self.epoch.0)
    }
}

/// A server on a loop. Dropping it changes nothing: the loop keeps its sockets.
pub struct Server {
    shared: Rc<Shared>,
    handle: Handle,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("listeners", &self.shared.listeners.borrow().addresses()).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the listeners of a server; all of them, or none. `observer` sees every event of the server, on the loop.
    ///
    /// # Errors
    /// [`Error::Io`] with operation, address and cause.
    ///
    /// # Panics
    /// If the description contradicts itself, as one that was read from a file never does: overlapping blocks, units
    /// twice.
    pub fn bind<T>(
        lp: &mut LoopMut<'_, T>,
        described: &plant::Server,
        observer: impl Fn(&Event) + 'static,
    ) -> Result<Self, Error> {
        Self::bind_observed(lp, described, observer::EveryEvent(observer))
    }

    /// The same for an observer that may not want to hear of every request.
    ///
    /// # Errors
    /// As [`Server::bind`].
    ///
    /// # Panics
    /// As [`Server::bind`].
    pub fn bind_observed<T>(
        lp: &mut LoopMut<'_, T>,
        described: &plant::Server,
        observer: impl Observer + 'static,
    ) -> Result<Self, Error> {
        let mut units = device::units(described).expect("the plant was checked when it was read");
        let mut points = Points::new(described);
        points.begin(&mut units);
        units.set_mirrors(points.mirrors()).expect("the plant was checked when it was read");
        units.observe(true);
        let common = Arc::new(Common::new(&described.name));
        let started_at = SystemTime::now();
        let started = lp.clock();
        let faults = Board::new(described, &units, started);
        let shared = Rc::new(Shared {
            key: OnceCell::new(),
            units: RefCell::new(units),
            points: RefCell::new(points),
            changes: RefCell::default(),
            pool: RefCell::new(Pool::new(device::connection(described))),
            observer: Box::new(observer),
            metrics: RefCell::new(Metrics::new(&described.name, started_at)),
            handle: OnceCell::new(),
            common: Arc::clone(&common),
            faults: RefCell::new(faults),
            listeners: RefCell::new(Listeners::new(described)),
            shutdown_timeout: described.shutdown_timeout,
            seed: described.seed,
            sockets: RefCell::default(),
            accepted: Cell::new(0),
            stopping: Cell::new(false),
            cut: Cell::new(0),
            epoch: (started, started_at),
        });
        let (admission, options) = (Admission::new(described), Options::new(described));
        let key = lp.context(Connections { shared: Rc::clone(&shared), admission, options });
        shared.key.get_or_init(|| key);
        listeners::open(lp, &shared, described)?;
        let addresses = shared.listeners.borrow().addresses();
        for &address in &addresses {
            shared.emit(&Event::Started { address });
        }
        common.listening(addresses);
        listeners::follow(lp, &shared);
        generators::start(lp, &shared);
        let handle = shared.handle.get_or_init(|| Handle::new(lp.handle(), key, common)).clone();
        Ok(Self { shared, handle })
    }

    /// The addresses really bound, in order of the description.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.handle.local_addrs().iter().copied()
    }

    /// What reaches the server from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The server itself, for whoever is on its loop: between turns, or inside a callback of something else.
    pub fn with<T, R>(&self, lp: &mut LoopMut<'_, T>, f: impl FnOnce(&mut Running<'_>) -> R) -> R {
        f(&mut Running::new(&mut OnLoop { lp, shared: Rc::clone(&self.shared) }))
    }

    /// The first call closes the listeners and lets every connection end in order, by force after `shutdown_timeout`. The
    /// second call, and any other, cuts at once. [`Event::Stopped`] comes last.
    pub fn shutdown<T>(&mut self, lp: &mut LoopMut<'_, T>) {
        self.shared.common.ask_to_shut_down();
        running::shutdown(lp, &self.shared);
    }
}
