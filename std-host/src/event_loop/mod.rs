//! The event loop: one thread drives sockets, timers and calls from other threads, through callbacks.
//!
//! Make a [`Loop`], give it a context for every kind of socket ([`LoopMut::context`] of a [`Handler`]), listen or
//! connect, and [`Loop::run`]:
//!
//! ```
//! use wharf_host::event_loop::{Handler, ListenOptions, Loop, Opened, Socket};
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
//! let mut echo = Loop::new()?;
//! let mut lp = echo.loop_mut();
//! let key = lp.context(Echo);
//! lp.listen("127.0.0.1:0".parse()?, key, ListenOptions::default())?;
//! lp.stop(); // or on a signal, or from another thread through `lp.handle()`
//! echo.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The iteration
//!
//! 1. `before_poll` hooks. 2. One batch of deferred calls. 3. Gathered writes leave. 4. Poll, without waiting if there
//!    is work left. 5. `now` is taken; readiness is dispatched. 6. Timers. 7. One batch of deferred calls. 8. Gathered
//!    writes leave; `close` callbacks; descriptors and ids are released. 9. `after_poll` hooks.
//!
//! Every step is bounded ([`LoopOptions`]). What a callback causes comes later, never inside the call that caused it.

mod address;
mod backoff;
mod builder;
mod context;
mod datagrams;
mod deferred;
mod error;
mod group;
mod handle;
mod handler;
mod histograms;
mod listener;
mod loop_mut;
#[cfg(test)]
mod model;
pub mod net;
mod resolve;
mod shared;
mod signals;
mod state;
mod stats;
mod stream;
mod sync;
mod timers;
mod tls;

pub use address::{Address, Target};
pub use builder::{Context, ContextBuilder};
pub use context::ContextKey;
pub use datagrams::{Packet, Packets, Udp, UdpHandler, UdpId};
pub use deferred::{Plain, Rejected, Why};
pub use error::{CloseReason, Error};
pub use group::{Group, GroupListener, GroupOptions, Spread};
pub use handle::Handle;
pub use handler::{AcceptFailed, Closed, ConnectFailed, Handler, Keepalive, Opened, PreOpen, RawSocket};
pub use histograms::Histograms;
pub use listener::{Listener, ListenerId};
pub use loop_mut::LoopMut;
pub use net::{ConnectOptions, ListenOptions};
pub use net::{Ecn, Membership, Out, UdpOptions};
pub use net::{Lookup, UnixListenOptions};
pub use signals::Signal;
pub use stats::Stats;
pub use stream::Released;
pub use stream::{AnyStream, Detached};
pub use stream::{Received, Socket, SocketId, Stream, Traffic};
pub use timers::{Tick, TimerId};
pub use tls::{ClientHello, ClientVerification, NameChoice, Pem, TlsBuilder, TlsClientConfig, TlsConfig, TlsVersion};
pub use wharf_core::timers::MAX_SPAN;

use net::Net;
use net::OsNet;
use state::Core;
use std::fmt;
use std::time::Duration;

/// The bounds of a loop. The receive buffer and the budgets are at least 1, whatever they are set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopOptions {
    /// Bytes of the one buffer into which all sockets receive. 256 KiB.
    pub receive_buffer: usize,
    /// Bytes that one socket may read in an iteration. 64 KiB. Each packet counts as `udp_payload` bytes, and one batch
    /// is always allowed.
    pub read_budget: usize,
    /// Accepts of one listener in an iteration. 64.
    pub accept_budget: u32,
    /// Timers in an iteration. 1024.
    pub timer_budget: u32,
    /// Steps of TLS handshakes, over all sockets, in an iteration. 5. None is begun 50 us after the first, whatever the
    /// budget says: on a slow processor that leaves one.
    pub handshake_budget: u32,
    /// The longest wait for a TLS handshake, in whole milliseconds. 10 s.
    pub handshake_timeout: Duration,
    /// Bytes that one socket may queue. 1 MiB.
    pub tx_limit: usize,
    /// Deferred calls that may wait. 65 536.
    pub deferred_limit: usize,
    /// Packets that are received together, 1 to 64. 32.
    pub udp_batch: usize,
    /// Bytes of a received packet that there is room for, 1 to 65 535. 2048.
    pub udp_payload: usize,
    /// A callback longer than this is logged and counted. 50 ms.
    pub slow_callback: Duration,
    /// Threads that look names up, started when they are needed. 2.
    pub resolver_threads: usize,
    /// Of so many iterations, and of so many batches of deferred calls, one is measured for the [`Histograms`]; 0 is
    /// off. 61: a prime, so that no rhythm of a program hides behind it.
    pub sample_every: u32,
}

impl Default for LoopOptions {
    fn default() -> Self {
        Self {
            receive_buffer: 256 * 1024,
            read_budget: 64 * 1024,
            accept_budget: 64,
            timer_budget: 1024,
            handshake_budget: 5,
            handshake_timeout: Duration::from_secs(10),
            tx_limit: 1024 * 1024,
            deferred_limit: 65_536,
            udp_batch: 32,
            udp_payload: 2048,
            slow_callback: Duration::from_millis(50),
            resolver_threads: 2,
            sample_every: 61,
        }
    }
}

/// What a `before_poll` hook has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Nothing: the loop may wait.
    Idle,
    /// There is work for the next iteration, which comes without waiting.
    Busy,
}

/// What [`Loop::turn`] leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something keeps the loop alive.
    Alive,
    /// Nothing does; [`Loop::run`] would end here. More turns are possible.
    Idle,
    /// The loop was stopped, and everything has been closed.
    Ended,
}

/// An event loop with a value `T` of the user's. It stays on the thread that made it.
pub struct Loop<T: 'static = ()> {
    core: Core<T>,
}

impl Loop {
    /// A loop without a value.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no descriptors left.
    pub fn new() -> Result<Self, Error> {
        Self::with_data(())
    }
}

impl<T> Loop<T> {
    /// A loop with a value that every callback reaches by [`LoopMut::data`].
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no descriptors left.
    pub fn with_data(data: T) -> Result<Self, Error> {
        Self::with_options(data, LoopOptions::default())
    }

    /// A loop with other bounds than the usual ones.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no descriptors left.
    pub fn with_options(data: T, options: LoopOptions) -> Result<Self, Error> {
        Ok(Self::with_net(data, options, Box::new(OsNet::new(options.resolver_threads, None)?)))
    }

    /// A loop that looks names up by `lookup` in place of the system's resolver. It is called on the resolver threads.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no descriptors left.
    pub fn with_lookup(data: T, options: LoopOptions, lookup: Lookup) -> Result<Self, Error> {
        Ok(Self::with_net(data, options, Box::new(OsNet::new(options.resolver_threads, Some(lookup))?)))
    }

    /// A loop over another system than the real one.
    pub fn with_net(data: T, options: LoopOptions, net: Box<dyn Net>) -> Self {
        Self { core: Core::new(data, options, net) }
    }

    /// The operations of the loop, for setting it up and between turns.
    pub const fn loop_mut(&mut self) -> LoopMut<'_, T> {
        LoopMut { core: &mut self.core }
    }

    /// What reaches the loop from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle<T> {
        Handle::new(std::sync::Arc::clone(&self.core.shared))
    }

    /// Runs until `stop` or until nothing keeps the loop alive, then closes everything.
    ///
    /// # Errors
    /// [`Error::Io`] if polling fails, after everything has been closed; [`Error::Ended`] if the loop has ended before.
    ///
    /// # Panics
    /// With whatever a callback panics with; all sockets are closed then.
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_until(|_| false).map(|_| ())
    }

    /// [`Loop::run`] that stops, without ending the loop, when `f` is true after an iteration. True if it did; false if
    /// the loop has ended.
    ///
    /// # Errors
    /// As for [`Loop::run`].
    ///
    /// # Panics
    /// As [`Loop::run`].
    pub fn run_until(&mut self, mut f: impl FnMut(&mut LoopMut<'_, T>) -> bool) -> Result<bool, Error> {
        self.core.refuse_if_ended()?;
        self.core.take_time();
        let mut running = Running::new(&mut self.core);
        loop {
            running.iterate(Wait::WhileAlive)?;
            if f(&mut LoopMut { core: running.core }) {
                running.leave();
                return Ok(true);
            }
            if running.core.shared.is_stopping() || !running.core.is_alive() {
                running.core.end();
                running.leave();
                return Ok(false);
            }
        }
    }

    /// One iteration, which waits for events at most `max_wait` (for ever if `None`), whatever keeps the loop alive.
    /// After `stop` it closes everything.
    ///
    /// # Errors
    /// As for [`Loop::run`].
    ///
    /// # Panics
    /// As [`Loop::run`].
    pub fn turn(&mut self, max_wait: Option<Duration>) -> Result<Turn, Error> {
        self.core.refuse_if_ended()?;
        self.core.take_time();
        let mut running = Running::new(&mut self.core);
        running.iterate(Wait::AtMost(max_wait))?;
        let outcome = if running.core.shared.is_stopping() {
            running.core.end();
            Turn::Ended
        } else if running.core.is_alive() {
            Turn::Alive
        } else {
            Turn::Idle
        };
        running.leave();
        Ok(outcome)
    }
}

impl<T> Drop for Loop<T> {
    fn drop(&mut self) {
        if !self.core.ended {
            let running = Running::new(&mut self.core);
            if !std::thread::panicking() {
                running.core.end();
                running.leave();
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Loop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loop")
            .field("data", &self.core.data)
            .field("iteration", &self.core.iteration)
            .finish_non_exhaustive()
    }
}

/// How long poll may wait when nothing is due.
#[derive(Clone, Copy)]
enum Wait {
    /// For ever, but not at all when nothing keeps the loop alive.
    WhileAlive,
    /// So long, for ever if `None`.
    AtMost(Option<Duration>),
}

/// The loop while its thread is inside. Unless it is left in an orderly way, a callback has panicked.
struct Running<'a, T: 'static> {
    core: &'a mut Core<T>,
    orderly: bool,
}

impl<'a, T> Running<'a, T> {
    fn new(core: &'a mut Core<T>) -> Self {
        core.shared.enter();
        Self { core, orderly: false }
    }

    /// One iteration. A loop that cannot poll ends.
    fn iterate(&mut self, wait: Wait) -> Result<(), Error> {
        let outcome = self.core.iterate(wait);
        if outcome.is_err() {
            self.core.end();
            self.orderly = true;
        }
        outcome
    }

    fn leave(mut self) {
        self.orderly = true;
    }
}

impl<T> Drop for Running<'_, T> {
    fn drop(&mut self) {
        if !self.orderly {
            self.core.abandon();
        }
        self.core.shared.leave();
    }
}

impl<T> Core<T> {
    /// One iteration, in the nine steps of the module's description.
    fn iterate(&mut self, wait: Wait) -> Result<(), Error> {
        self.begin_iteration();
        let hooks = self.run_before_poll();

        let called = self.run_deferred();
        self.run_openings();

        self.send_gathered();

        // Asked here and not before the deferred calls, which may have taken the last reason to wait.
        let max_wait = match wait {
            Wait::WhileAlive => (!self.is_alive()).then_some(Duration::ZERO),
            Wait::AtMost(max_wait) => max_wait,
        };
        // Whoever has the loop do one iteration, or looks at it after each, is to see what the calls have done.
        let busy = hooks == Hook::Busy || called || self.is_busy() || self.shared.is_stopping();
        let wait = if busy || !self.shared.park() {
            Some(Duration::ZERO)
        } else {
            let deadline = self.timers.next().map(|due| due.saturating_duration_since(self.net.now()));
            [deadline, max_wait].into_iter().flatten().min()
        };
        self.stats.polls += 1;
        let before = self.is_measured().then(|| self.net.now());
        self.net.poll(wait, &mut self.events).map_err(|source| Error::io("poll", "the system", source))?;

        self.take_time();
        if let Some(before) = before {
            self.histograms.poll_wait.record(self.now.saturating_duration_since(before));
        }
        self.dispatch();

        self.run_timers();
        self.run_openings();

        self.run_deferred();
        self.run_openings();

        self.send_gathered();
        // What fails to open after a close waits for the next iteration: whoever connects again at every failure must
        // not keep the loop here.
        self.run_closings();
        self.run_openings();
        self.drop_moved();
        self.objects.reclaim();
        self.timers.reclaim();

        self.run_after_poll();
        Ok(())
    }
}
