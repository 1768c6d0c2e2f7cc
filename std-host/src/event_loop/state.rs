//! What the loop consists of, and what every part of it uses.
//!
//! Here and in the parts, what an iteration or an event can do without is `#[cold]` or `#[inline(never)]`: the kernel's
//! work drives the loop's code out of the processor's caches between any two events, so the way of all events is to be
//! short.

use super::context::AnyContext;
use super::datagrams::{self, UdpState};
use super::deferred::Call;
use super::histograms::{Histograms, Sampler};
use super::listener::ListenerState;
use super::net::{Net, Ready};
use super::resolve::Names;
use super::shared::Shared;
use super::stream::{Handshakes, LastWord, Pool, StreamState};
use super::timers::Timers;
use super::{Error, Hook, LoopMut, LoopOptions, Signal, Stats};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::slots::{Entry, Full, SlotId, SlotTable};

pub(super) type BeforePoll<T> = Box<dyn FnMut(&mut LoopMut<'_, T>) -> Hook>;
pub(super) type AfterPoll<T> = Box<dyn FnMut(&mut LoopMut<'_, T>)>;
pub(super) type OnSignal<T> = Box<dyn FnMut(&mut LoopMut<'_, T>, Signal)>;

/// Sockets that there is room for in one round from the start: as many as the system names at a time.
const ROUND: usize = 1024;
/// From the ids of one loop to those of the next, in generations: 2^32 divided by the golden ratio, so that any number
/// of loops starts as far apart as can be. A thousand loops are a million reuses of one place from each other.
const APART: u32 = 0x9e37_79b9;

/// Callbacks that took longer move `now`: those of more than a millisecond, by a clock that may be 0.1 ms behind.
const LONG_CALLBACK: Duration = Duration::from_micros(900);

/// All of a loop but the right to run it.
pub(super) struct Core<T: 'static> {
    /// Tells the keys of this loop from those of others.
    pub(super) number: u32,
    /// At which the ids of this loop start, so that those of other loops are stale here.
    generation: u32,
    pub(super) net: Box<dyn Net>,
    pub(super) options: LoopOptions,
    pub(super) data: T,
    pub(super) now: Instant,
    /// The last reading of the clock, for the length of callbacks.
    pub(super) mark: Instant,
    pub(super) iteration: u64,
    pub(super) objects: SlotTable<Object<T>, Vec<Entry<Object<T>>>>,
    pub(super) contexts: Vec<Rc<dyn AnyContext<T>>>,
    pub(super) shared: Arc<Shared<Call<T>>>,
    /// The queue of deferred calls that senders do not append to; empty but while a batch runs.
    batch: VecDeque<Call<T>>,
    pub(super) events: Vec<Ready>,
    /// Objects with a latch to be served, each at most once.
    pub(super) ready: Vec<SlotId>,
    /// The memory of `ready` in the round before, for the next.
    round: Vec<SlotId>,
    /// The index of the object that goes before the others that are left over, or of the next one that is.
    first: u32,
    /// Sockets whose `open` or connecting is to come.
    pub(super) opening: Vec<SlotId>,
    /// Sockets whose last callback is to come, with what it will say, and listeners to be released.
    pub(super) closing: Vec<(SlotId, Option<LastWord>)>,
    /// The shared receive buffer; empty while a callback has it.
    pub(super) receive: Rc<Cell<Vec<u8>>>,
    /// What the `readable` that runs may still read; unlimited outside of one.
    pub(super) read_left: usize,
    /// The socket that gathers its writes until the end of the callback.
    pub(super) corked: Option<SlotId>,
    /// Sockets that gather their writes until the next step that sends them.
    pub(super) gathered: Vec<SlotId>,
    /// Context and place of data whose sockets were moved away.
    pub(super) moved: Vec<(u32, u32)>,
    /// Ciphertext on its way from the system into a TLS session; empty before the first.
    pub(super) cipher: Vec<u8>,
    pub(super) handshakes: Handshakes,
    pub(super) pool: Pool,
    pub(super) datagrams: datagrams::Shared,
    pub(super) timers: Timers<T>,
    pub(super) names: Names<T>,
    pub(super) before_poll: Vec<BeforePoll<T>>,
    pub(super) after_poll: Vec<AfterPoll<T>>,
    pub(super) on_signal: Vec<(Vec<Signal>, OnSignal<T>)>,
    pub(super) stats: Stats,
    pub(super) histograms: Box<Histograms>,
    /// The last iteration that was measured, or the next one that will be.
    measured: u64,
    /// Sockets and listeners that keep the loop alive.
    pub(super) alive: usize,
    pub(super) ended: bool,
}

/// What an id of the loop names.
pub(super) enum Object<T: 'static> {
    Stream(StreamState),
    Listener(ListenerState),
    Udp(Box<UdpState<T>>),
}

impl<T: 'static> Core<T> {
    pub(super) fn new(data: T, mut options: LoopOptions, mut net: Box<dyn Net>) -> Self {
        for bytes in [&mut options.receive_buffer, &mut options.read_budget] {
            *bytes = (*bytes).max(1);
        }
        for count in [&mut options.accept_budget, &mut options.timer_budget, &mut options.handshake_budget] {
            *count = (*count).max(1);
        }
        let now = net.now();
        let batches = Sampler::new(options.sample_every);
        let shared = Shared::new(net.waker(), net.clock(), options.deferred_limit, batches);
        let receive = vec![0; options.receive_buffer];
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let generation = number.wrapping_mul(APART);
        Self {
            number,
            generation,
            net,
            options,
            data,
            now,
            mark: now,
            iteration: 0,
            objects: SlotTable::new(Vec::new()),
            contexts: Vec::new(),
            shared: Arc::new(shared),
            batch: VecDeque::new(),
            events: Vec::with_capacity(ROUND),
            ready: Vec::with_capacity(ROUND),
            round: Vec::with_capacity(ROUND),
            first: 0,
            opening: Vec::new(),
            closing: Vec::new(),
            receive: Rc::new(Cell::new(receive)),
            read_left: usize::MAX,
            corked: None,
            gathered: Vec::new(),
            moved: Vec::new(),
            cipher: Vec::new(),
            handshakes: Handshakes::default(),
            pool: Pool::new(),
            datagrams: datagrams::Shared::default(),
            timers: Timers::new(generation, options.timer_budget),
            names: Names::new(),
            before_poll: Vec::new(),
            after_poll: Vec::new(),
            on_signal: Vec::new(),
            stats: Stats::default(),
            histograms: Box::default(),
            measured: if options.sample_every == 0 { u64::MAX } else { 1 },
            alive: 0,
            ended: false,
        }
    }

    pub(super) fn add_object(&mut self, object: Object<T>) -> SlotId {
        self.objects.insert(object).unwrap_or_else(|Full(object)| {
            let capacity = (self.objects.capacity() as usize * 2).max(16);
            let unused = || Entry::starting_at(self.generation);
            self.objects.grow(|entries| entries.resize_with(capacity, unused));
            self.objects.insert(object).expect("the table has just grown")
        })
    }

    pub(super) fn context(&self, index: u32) -> Rc<dyn AnyContext<T>> {
        Rc::clone(&self.contexts[index as usize])
    }

    /// Whether the loop has a reason to go on. Work of what is unrefed is none.
    pub(super) fn is_alive(&self) -> bool {
        self.alive + self.timers.alive > 0
            || self.shared.is_kept_alive()
            || self.shared.is_waiting()
            || !self.opening.is_empty()
            || !self.closing.is_empty()
    }

    /// Whether there is work that no event will announce.
    pub(super) fn is_busy(&self) -> bool {
        self.shared.is_waiting()
            || !self.ready.is_empty()
            || !self.opening.is_empty()
            || !self.closing.is_empty()
            || !self.handshakes.is_empty()
            || self.names.is_busy()
            || self.timers.next().is_some_and(|due| due <= self.now)
    }

    pub(super) fn begin_iteration(&mut self) {
        self.iteration += 1;
        self.stats.iterations += 1;
        if self.iteration > self.measured {
            self.measured = self.measured.saturating_add(self.options.sample_every.into());
        }
    }

    /// Whether the present iteration goes into the histograms.
    pub(super) const fn is_measured(&self) -> bool {
        self.iteration == self.measured
    }

    pub(super) fn take_time(&mut self) {
        self.now = self.net.now();
        self.mark = self.now;
    }

    /// What follows every callback: a cork ends, and a long callback is looked at.
    #[inline]
    pub(super) fn after_callback(&mut self, kind: &'static str) {
        if self.corked.is_some() {
            self.uncork();
        }
        let to = self.net.glance();
        // Most callbacks are over before a glance shows another time.
        if to > self.mark || self.is_measured() {
            self.look_at_clock(kind, to);
        }
    }

    /// Takes note of how long a callback took. `now` follows the clock if it was more than a millisecond.
    #[cold]
    fn look_at_clock(&mut self, kind: &'static str, glance: Instant) {
        let from = self.mark;
        let to = if self.is_measured() { self.net.now() } else { glance };
        self.mark = to;
        if to.saturating_duration_since(self.now) > LONG_CALLBACK {
            self.now = to;
        }
        let took = to.saturating_duration_since(from);
        if self.is_measured() {
            self.histograms.callback.record(took);
        }
        if took > self.options.slow_callback {
            self.stats.slow_callbacks += 1;
            tracing::warn!(kind, ?took, "slow callback");
        }
    }

    /// Steps 2 and 7: the deferred calls present at the swap. Whether there were any.
    #[inline]
    pub(super) fn run_deferred(&mut self) -> bool {
        self.shared.is_waiting() && self.run_batch()
    }

    #[inline(never)]
    fn run_batch(&mut self) -> bool {
        if let Some(since) = self.shared.swap(&mut self.batch) {
            let now = self.net.now();
            self.histograms.deferred_delay.record(now.saturating_duration_since(since));
        }
        let any = !self.batch.is_empty();
        while let Some(call) = self.batch.pop_front() {
            self.stats.deferred_run += 1;
            call.run(&mut LoopMut { core: self });
            self.after_callback("deferred call");
        }
        any
    }

    pub(super) fn run_before_poll(&mut self) -> Hook {
        if self.before_poll.is_empty() {
            return Hook::Idle;
        }
        let mut answer = Hook::Idle;
        // A hook that is added by a hook has its turn in the next iteration.
        let mut hooks = std::mem::take(&mut self.before_poll);
        for hook in &mut hooks {
            if hook(&mut LoopMut { core: self }) == Hook::Busy {
                answer = Hook::Busy;
            }
            self.after_callback("before_poll");
        }
        hooks.append(&mut self.before_poll);
        self.before_poll = hooks;
        answer
    }

    pub(super) fn run_after_poll(&mut self) {
        if self.after_poll.is_empty() {
            return;
        }
        let mut hooks = std::mem::take(&mut self.after_poll);
        for hook in &mut hooks {
            hook(&mut LoopMut { core: self });
            self.after_callback("after_poll");
        }
        hooks.append(&mut self.after_poll);
        self.after_poll = hooks;
    }

    pub(super) fn run_signals(&mut self) {
        if self.on_signal.is_empty() {
            return;
        }
        while let Some(arrived) = self.net.next_signal() {
            let mut watchers = std::mem::take(&mut self.on_signal);
            for (signals, f) in &mut watchers {
                if signals.contains(&arrived) {
                    f(&mut LoopMut { core: self }, arrived);
                    self.after_callback("signal");
                }
            }
            watchers.append(&mut self.on_signal);
            self.on_signal = watchers;
        }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            deferred_rejected: self.shared.rejected.load(Ordering::Relaxed),
            wake_ups: self.shared.wake_ups.load(Ordering::Relaxed),
            coalesced: self.shared.coalesced(),
            queued: self.pool.queued(),
            handshakes_waiting: self.handshakes.len() as u64,
            ..self.stats
        }
    }

    /// Drops the data of sockets that changed their context.
    pub(super) fn drop_moved(&mut self) {
        while let Some((context, place)) = self.moved.pop() {
            self.context(context).forget(place);
        }
    }

    /// Marks an object to be served in the next round.
    #[inline(never)]
    pub(super) fn mark_ready(&mut self, id: SlotId) {
        let queued = match self.objects.get_mut(id) {
            Some(Object::Stream(stream)) => &mut stream.in_ready,
            Some(Object::Listener(listener)) => &mut listener.in_ready,
            Some(Object::Udp(udp)) => &mut udp.in_ready,
            None => return,
        };
        if !std::mem::replace(queued, true) {
            self.ready.push(id);
        }
    }

    /// Step 5: serves first what the system has named, in its order, which is that of arrival; then what is left over from
    /// the iteration before, beginning at another socket every time. So nobody waits for those who never have enough, nor
    /// does one of them always wait for the others.
    pub(super) fn dispatch(&mut self) {
        self.run_signals();
        self.run_names();
        self.run_openings();

        // What is marked from now on is served in the next round.
        let mut left_over = std::mem::replace(&mut self.ready, std::mem::take(&mut self.round));
        let mut events = std::mem::take(&mut self.events);
        self.stats.events += events.len() as u64;
        for event in events.drain(..) {
            self.serve_named(&event);
        }
        self.events = events;
        if !left_over.is_empty() {
            self.serve_left_over(&left_over);
            left_over.clear();
        }
        self.round = left_over;
        self.run_handshakes();
        self.run_openings();
    }

    /// Serves what is left over from the round before.
    #[inline(never)]
    fn serve_left_over(&mut self, left_over: &[SlotId]) {
        // The next one in the order of the table after the one that was first last time.
        let distance = |id: &SlotId| id.index().wrapping_sub(self.first);
        let first = (0..left_over.len()).min_by_key(|&at| distance(&left_over[at])).unwrap_or(0);
        if let Some(id) = left_over.get(first) {
            self.first = id.index().wrapping_add(1);
        }
        let (late, early) = left_over.split_at(first);
        for &id in early.iter().chain(late) {
            match self.objects.get_mut(id) {
                Some(Object::Stream(stream)) => {
                    stream.in_ready = false;
                    self.serve_stream(id);
                }
                Some(Object::Listener(listener)) => {
                    listener.in_ready = false;
                    self.serve_listener(id);
                }
                Some(Object::Udp(udp)) => {
                    udp.in_ready = false;
                    self.serve_udp(id);
                }
                None => {}
            }
        }
    }

    /// Sets the latches that an event names and serves them, unless the object has its turn later anyway.
    fn serve_named(&mut self, event: &Ready) {
        let id = SlotId::from_bits(event.token);
        match self.objects.get_mut(id) {
            Some(Object::Stream(stream)) => {
                stream.latch(event);
                if !stream.in_ready {
                    self.serve_stream(id);
                }
            }
            Some(Object::Listener(listener)) => {
                listener.latched |= event.read;
                if !listener.in_ready {
                    self.serve_listener(id);
                }
            }
            Some(Object::Udp(udp)) => {
                udp.latch(event);
                if !udp.in_ready {
                    self.serve_udp(id);
                }
            }
            None => {}
        }
    }

    /// Closes everything with its callbacks and refuses what comes later.
    pub(super) fn end(&mut self) {
        self.ended = true;
        // A loop may be dropped long after its last turn.
        self.take_time();
        self.stats.deferred_dropped += self.shared.end().len() as u64;
        let ids: Vec<SlotId> = self.objects.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.end_object(id);
        }
        self.end_names();
        self.run_closings();
        self.finish_end();
    }

    /// Gives everything back without a callback: a callback has panicked.
    pub(super) fn abandon(&mut self) {
        self.ended = true;
        self.stats.deferred_dropped += (self.shared.end().len() + self.batch.len()) as u64;
        for (_, object) in self.objects.iter() {
            match object {
                Object::Stream(stream) => stream.nets().for_each(|net| self.net.close(net, false)),
                Object::Listener(listener) => listener.net.into_iter().for_each(|net| self.net.close(net, false)),
                Object::Udp(udp) => self.net.close(udp.net(), false),
            }
        }
        self.abandon_names();
        self.objects = SlotTable::new(Vec::new());
        self.pool = Pool::new();
        self.stats.sockets = 0;
        self.finish_end();
    }

    fn finish_end(&mut self) {
        self.timers.clear();
        self.names = Names::new();
        self.batch.clear();
        self.ready.clear();
        self.opening.clear();
        self.closing.clear();
        self.handshakes.clear();
        self.alive = 0;
    }

    pub(super) fn refuse_if_ended(&self) -> Result<(), Error> {
        if self.ended { Err(Error::Ended) } else { Ok(()) }
    }
}
