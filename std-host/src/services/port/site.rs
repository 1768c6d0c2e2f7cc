//! A port on its loop: the machine, the sockets of its clients, and what carries the one's outputs out on the others.
//!
//! Every callback comes here with an input and leaves by [`Site::drive`], which carries out what the machine asks for
//! until it asks for nothing more. What a subscriber does to the port meanwhile is an input like any other, and is
//! carried out by the drive that is under way.

use super::blocking::Desk;
use super::clients::{self, Clients};
use super::common::Common;
use super::delivery::Delivery;
use super::describe::describe;
use super::heap::Heap;
use super::listening;
use super::log::Messages;
use super::options::{Consumer, Options, SlotOptions};
use super::running::Running;
use super::subscribers::Subscribers;
use super::tally::{Totals, Watch};
use super::trace::{Direction, Levels};
use super::traces::{self, Traces, Whom};
use crate::event_loop::{ContextKey, Error, ListenerId, LoopMut, MAX_SPAN, SocketId, Stream, TimerId};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use wharf_core::port::server::{DownReason, Event, Failure, How, Input, Output, Server, State};
use wharf_core::slots::SlotId;
use wharf_core::{Instant, Machine, Step};

/// A port with everything that its sockets, its timer and its handles reach.
pub(super) struct Site {
    pub(super) common: Arc<Common>,
    pub(super) options: RefCell<Options>,
    /// The options of slots that have had one set by themselves.
    pub(super) own_options: RefCell<HashMap<u32, SlotOptions>>,
    pub(super) machine: RefCell<Server<Heap>>,
    pub(super) subscribers: RefCell<Subscribers>,
    /// The calls of other threads.
    pub(super) desk: Desk,
    delivery: RefCell<Delivery>,
    pub(super) totals: RefCell<Totals>,
    /// What the host sees of each slot.
    watches: Box<[Cell<Watch>]>,
    pub(super) traces: Traces,
    /// Where messages go with `mode = "log"`.
    pub(super) log: Option<Messages>,
    /// The context of the sockets; set before there are any.
    pub(super) key: OnceCell<ContextKey<Clients>>,
    pub(super) listener: Cell<Option<ListenerId>>,
    /// Connections that are told why they are refused, and how many bytes of their input will be thrown away.
    pub(super) refused: RefCell<HashMap<SocketId, usize>>,
    /// Slots whose sockets have options that are not set yet.
    pub(super) untuned: RefCell<Vec<u32>>,
    /// The socket of each slot.
    sockets: Box<[Cell<Option<SocketId>>]>,
    /// The slot of each socket that has one.
    slots: RefCell<HashMap<SocketId, SlotId>>,
    /// Connections that nothing is decided about. The machine hears of one at a time, which is the first.
    arrivals: RefCell<VecDeque<Arrival>>,
    /// The first of them is before the machine.
    judging: Cell<bool>,
    /// The iteration of the loop for which a turn has been started.
    iteration: Cell<u64>,
    /// The machine wants a turn although nothing happens.
    yields: Cell<bool>,
    /// The latest instant that the machine knows of.
    now: Cell<Instant>,
    timer: OnceCell<TimerId>,
    armed: Cell<Option<Instant>>,
    driving: Cell<bool>,
    /// The port has been told to end.
    pub(super) stopping: Cell<bool>,
}

/// A connection that nothing is decided about.
struct Arrival {
    /// `None` once it has gone again.
    socket: Option<SocketId>,
    peer: SocketAddr,
    /// It has become readable meanwhile, and whether it has hung up. The loop tells that once.
    stirred: Option<bool>,
}

impl Site {
    pub(super) fn new(common: Arc<Common>, options: Options, machine: Server<Heap>, log: Option<Messages>) -> Self {
        let slots = machine.slots() as usize;
        let traces = Traces::new(&common.name);
        traces.set(std::iter::once(&options.slot));
        Self {
            common,
            options: RefCell::new(options),
            own_options: RefCell::new(HashMap::new()),
            machine: RefCell::new(machine),
            subscribers: RefCell::new(Subscribers::default()),
            desk: Desk::new(slots),
            delivery: RefCell::new(Delivery::default()),
            totals: RefCell::default(),
            watches: vec![Cell::default(); slots].into(),
            traces,
            log,
            key: OnceCell::new(),
            listener: Cell::new(None),
            refused: RefCell::new(HashMap::new()),
            untuned: RefCell::new(Vec::new()),
            sockets: vec![Cell::new(None); slots].into(),
            slots: RefCell::new(HashMap::new()),
            arrivals: RefCell::new(VecDeque::new()),
            judging: Cell::new(false),
            iteration: Cell::new(0),
            yields: Cell::new(false),
            now: Cell::new(Instant::ORIGIN),
            timer: OnceCell::new(),
            armed: Cell::new(None),
            driving: Cell::new(false),
            stopping: Cell::new(false),
        }
    }

    /// Gives the port its timer. Once, before anything else.
    pub(super) fn set_timer<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>) {
        let life = Life(Rc::clone(self));
        let timer = lp.add_idle_timer(move |lp, _| {
            let Life(site) = &life;
            site.armed.set(None);
            site.wake(lp);
        });
        self.timer.get_or_init(|| timer);
    }

    /// Time has passed, or somebody has asked for something.
    pub(super) fn wake<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>) {
        let now = self.begin(lp);
        self.machine.borrow_mut().handle_timeout(now);
        self.drive(lp);
    }

    /// Begins a turn if this is a new iteration of the loop. The time.
    pub(super) fn begin<T: 'static>(&self, lp: &mut LoopMut<'_, T>) -> Instant {
        // Spans begin here. By the time of the loop, which may be a millisecond behind, they would end too early.
        let now = lp.clock().max(self.now.get());
        self.now.set(now);
        if self.iteration.replace(lp.iteration()) != lp.iteration() {
            self.yields.set(false);
            self.tell(now, Input::TurnStarted);
        }
        now
    }

    /// Tells the machine what happened to it and carries out what follows.
    pub(super) fn input<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, input: Input<'_>) {
        let now = self.begin(lp);
        self.tell(now, input);
        self.drive(lp);
    }

    /// Lets `f` act on the port and carries out what follows.
    pub(super) fn with<T: 'static, R>(
        self: &Rc<Self>,
        lp: &mut LoopMut<'_, T>,
        f: impl FnOnce(&mut Running<'_>) -> R,
    ) -> R {
        let now = self.begin(lp);
        let result = f(&mut Running::new(self, now));
        self.drive(lp);
        result
    }

    /// The port at the time of the present callback.
    pub(super) fn running(&self) -> Running<'_> {
        Running::new(self, self.now.get())
    }

    /// Tells the machine what happened. What it refuses comes from a client that has just left its slot.
    pub(super) fn tell(&self, now: Instant, input: Input<'_>) {
        if let Err(error) = self.machine.borrow_mut().handle_input(now, input) {
            tracing::trace!("{}: {input:?} refused: {error}", self.common.name);
        }
    }

    /// The same at the time of the present callback.
    pub(super) fn tell_now(&self, input: Input<'_>) {
        self.tell(self.now.get(), input);
    }

    /// Carries out what the machine asks for.
    pub(super) fn drive<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>) {
        if self.driving.replace(true) {
            return;
        }
        loop {
            let step = self.machine.borrow_mut().poll_output();
            match &step {
                Step::Do(output) => self.act(lp, output),
                Step::Wait(_) if self.present_arrival() || self.desk.serve(self) => {}
                Step::Wait(deadline) => {
                    self.tune(lp);
                    self.arm(lp, *deadline);
                    break;
                }
            }
        }
        self.driving.set(false);
    }

    /// Sets options of sockets that were changed, or that a slot has for itself.
    #[inline]
    fn tune<T: 'static>(&self, lp: &mut LoopMut<'_, T>) {
        while let Some(index) = self.untuned.borrow_mut().pop() {
            let Some(socket) = self.sockets.get(index as usize).and_then(Cell::get) else { continue };
            let Ok(stream) = lp.stream(socket) else { continue };
            if let Err(error) = self.with_slot_options(index, |options| clients::tune(&stream, options)) {
                tracing::warn!("{}:{index}: {error}", self.common.name);
            }
        }
    }

    /// Sees to it that the machine gets its next call in time.
    fn arm<T: 'static>(&self, lp: &mut LoopMut<'_, T>, deadline: Option<Instant>) {
        let due = if self.yields.get() { Some(lp.now()) } else { deadline };
        let Some(timer) = self.timer.get().copied().filter(|_| self.armed.replace(due) != due) else { return };
        // It lives as long as the loop, and after that there is nothing to be in time for.
        let _ = match due {
            Some(due) => lp.reset_at(timer, due.min(lp.now().saturating_add(MAX_SPAN))),
            None => lp.disarm(timer),
        };
    }

    #[inline]
    fn act<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, output: &Output) {
        if let Output::Read { slot, max } = *output {
            self.read(lp, slot, max);
        } else if let Output::Transmit { slot } = *output {
            self.transmit(lp, slot);
            self.desk.touch(slot.index());
        } else if let Output::Notify(event) = output {
            self.notify(event);
        } else {
            self.manage(lp, *output);
        }
    }

    /// Carries out what does not come with every message.
    #[inline(never)]
    fn manage<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, output: Output) {
        match output {
            Output::Listen => listening::listen(lp, self),
            Output::Unlisten => {
                listening::unlisten(lp, self);
                self.tell_now(Input::Shut);
            }
            Output::PauseAccept => listening::pause(lp, self, true),
            Output::ResumeAccept => listening::pause(lp, self, false),
            Output::Admit { slot } => self.admit(slot),
            Output::Refuse { why } => {
                if let Some(socket) = self.decided().and_then(|arrival| arrival.socket) {
                    clients::refuse(lp, self, socket, why);
                }
            }
            // It waits where it is.
            Output::Park => {}
            Output::ShutdownWrite { slot } => {
                if let Some(mut stream) = self.stream(lp, slot) {
                    // A socket that is about to close needs no end of output.
                    let _ = stream.shutdown();
                }
            }
            Output::Close { slot, how } => {
                self.close(lp, slot, how);
                self.desk.touch(slot.index());
            }
            Output::Yield => self.yields.set(true),
            Output::Read { .. } | Output::Transmit { .. } | Output::Notify(_) => {
                unreachable!("it is carried out by `act`")
            }
            other => unreachable!("the driver does not know {other:?}"),
        }
    }

    #[inline(never)]
    fn notify(&self, event: &Event) {
        tracing::debug!("{}: {event:?}", self.common.name);
        self.totals.borrow_mut().count(event);
        if self.traces.is_on() {
            let slot = traces::slot_of(event);
            self.with_whom(slot, |whom| {
                self.traces.event(whom, traces::level(event), |text| text.push_str(&describe(whom.port, event)));
            });
        }
        self.with_subscribers(|subscribers, port| subscribers.tell(port, event));
        if let Event::DataReady { slot } | Event::InputEnded { slot } = *event {
            self.deliver(slot);
        } else if let Event::Disconnected { slot, .. } = *event {
            self.delivery.borrow_mut().forget(slot);
        }
        self.touch(event);
    }

    /// Gives the subscribers the messages of a client that are theirs.
    fn deliver(&self, slot: SlotId) {
        self.with_subscribers(|subscribers, port| self.delivery.borrow_mut().deliver(subscribers, port, slot));
    }

    /// Whoever is told something may subscribe others, who hear of what comes next.
    fn with_subscribers(&self, f: impl FnOnce(&mut Subscribers, &mut Running<'_>)) {
        let mut subscribers = self.subscribers.take();
        f(&mut subscribers, &mut self.running());
        self.subscribers.borrow_mut().join(subscribers);
    }

    /// Calls of other threads may wait for this.
    fn touch(&self, event: &Event) {
        if let Event::Connected { slot, .. }
        | Event::DataReady { slot }
        | Event::InputEnded { slot }
        | Event::Disconnected { slot, .. } = *event
        {
            self.desk.touch(slot.index());
        } else if matches!(event, Event::PortUp { .. }) {
            self.desk.opened();
        } else if matches!(event, Event::PortDown { reason: DownReason::OpenFailed(_) }) {
            self.desk.not_opened(self.common.failure().as_deref());
        }
    }

    /// One read. The loop has a buffer for all sockets, so a byte is copied once on its way into the queue.
    fn read<T: 'static>(&self, lp: &mut LoopMut<'_, T>, slot: SlotId, max: usize) {
        let received = self.stream(lp, slot).and_then(|mut stream| match stream.read(max) {
            Ok(bytes) => Some(bytes),
            Err(Error::Busy) => {
                // Somebody else on the loop holds its buffer: the socket is asked to come again. One that is about to
                // close will not.
                let _ = stream.resume();
                None
            }
            Err(_) => None,
        });
        let now = self.now.get();
        match received {
            Some(bytes) if bytes.is_empty() => {
                if self.copies(slot) {
                    self.delivery.borrow_mut().end(slot);
                }
                self.tell(now, Input::Ended { slot });
            }
            Some(bytes) => {
                self.totals.borrow_mut().rx += bytes.len() as u64;
                self.trace(Some(slot), Levels::DRIVER, Direction::Rx, [&bytes, &[]], concat!("site.rs:", line!()));
                // What the machine throws away is for nobody.
                let is_kept = self.copies(slot) && self.machine.borrow().keeps(slot);
                self.tell(now, Input::Received { slot, bytes: &bytes, more: bytes.may_be_more() });
                if is_kept {
                    self.delivery.borrow_mut().copy(slot, &bytes);
                    self.deliver(slot);
                }
                self.watch_queues(slot);
            }
            // Nothing is there, or the socket is about to close, which is told then.
            None => self.tell(now, Input::ReadBlocked { slot }),
        }
    }

    /// Whether subscribers get what a client sends besides readers.
    fn copies(&self, slot: SlotId) -> bool {
        self.with_slot_options(slot.index(), |options| options.consumer == Consumer::Both)
    }

    /// The options of a slot: its own, or those of the port.
    pub(super) fn with_slot_options<R>(&self, index: u32, f: impl FnOnce(&SlotOptions) -> R) -> R {
        match self.own_options.borrow().get(&index) {
            Some(own) => f(own),
            None => f(&self.options.borrow().slot),
        }
    }

    /// Traces bytes that went one way, of a client or of the port as a whole, if that is wanted.
    #[inline]
    pub(super) fn trace(
        &self,
        slot: Option<SlotId>,
        level: Levels,
        direction: Direction,
        bytes: [&[u8]; 2],
        source: &str,
    ) {
        if self.traces.is_on() {
            self.with_whom(slot, |whom| self.traces.bytes(whom, level, direction, bytes, source));
        }
    }

    fn with_whom(&self, slot: Option<SlotId>, f: impl FnOnce(Whom<'_>)) {
        let port = self.common.name.as_str();
        match slot.and_then(|slot| u16::try_from(slot.index()).ok()) {
            Some(index) => {
                self.with_slot_options(index.into(), |options| {
                    f(Whom { port, slot: Some(index), peer: None, options });
                });
            }
            None => f(Whom { port, slot: None, peer: None, options: &self.options.borrow().slot }),
        }
    }

    /// An option of the port or of a slot has changed.
    pub(super) fn options_changed(&self) {
        let (options, own) = (self.options.borrow(), self.own_options.borrow());
        self.traces.set(std::iter::once(&options.slot).chain(own.values()));
    }

    /// Has the files of trace and log opened again, if there are any; whether there are.
    pub(super) fn reopen_files(&self) -> bool {
        let (options, own) = (self.options.borrow(), self.own_options.borrow());
        let traces = self.traces.reopen(std::iter::once(&options.slot).chain(own.values()));
        self.log.iter().for_each(Messages::reopen);
        traces || self.log.is_some()
    }

    /// What the host sees of a slot.
    pub(super) fn watch(&self, index: u32) -> Watch {
        self.watches.get(index as usize).map(Cell::get).unwrap_or_default()
    }

    fn with_watch(&self, index: u32, f: impl FnOnce(&mut Watch)) {
        if let Some(cell) = self.watches.get(index as usize) {
            let mut watch = cell.get();
            f(&mut watch);
            cell.set(watch);
        }
    }

    fn watch_queues(&self, slot: SlotId) {
        let queued = self.machine.borrow().queued(slot);
        self.with_watch(slot.index(), |watch| watch.see(queued));
    }

    fn transmit<T: 'static>(&self, lp: &mut LoopMut<'_, T>, slot: SlotId) {
        let now = self.now.get();
        let stream = self.stream(lp, slot);
        let taken = {
            let machine = self.machine.borrow();
            let [first, second] = machine.transmit(slot);
            let taken = stream.and_then(|mut stream| stream.write_now2(first, second).ok()).unwrap_or(0);
            if taken > 0 {
                let pieces = [&first[..taken.min(first.len())], &second[..taken.saturating_sub(first.len())]];
                self.trace(Some(slot), Levels::DRIVER, Direction::Tx, pieces, concat!("site.rs:", line!()));
            }
            let queued = machine.queued(slot);
            self.with_watch(slot.index(), |watch| {
                // The queue is never longer than right before something is taken from it.
                watch.see(queued);
                watch.took(now, taken, first.len() + second.len());
            });
            taken
        };
        self.totals.borrow_mut().tx += taken as u64;
        if taken == 0 {
            self.tell(now, Input::WriteBlocked { slot });
        } else {
            self.tell(now, Input::Transmitted { slot, len: taken });
        }
    }

    /// Closes a client's socket, whose last callback says that it is closed. One that has had it is closed.
    fn close<T: 'static>(&self, lp: &mut LoopMut<'_, T>, slot: SlotId, how: How) {
        match self.stream(lp, slot) {
            Some(mut stream) if how == How::Abort => stream.abort(),
            Some(mut stream) => stream.close(0),
            None => self.tell_now(Input::Closed { slot }),
        }
    }

    /// The socket of a client; none once it has had its last callback.
    fn stream<'a, T: 'static>(&self, lp: &'a mut LoopMut<'_, T>, slot: SlotId) -> Option<Stream<'a, T>> {
        let socket = self.sockets.get(slot.index() as usize).and_then(Cell::get)?;
        lp.stream(socket).ok()
    }

    /// The slot of a socket.
    pub(super) fn slot(&self, socket: SocketId) -> Option<SlotId> {
        self.slots.borrow().get(&socket).copied()
    }

    /// A connection has come.
    pub(super) fn arrived<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, socket: SocketId, peer: SocketAddr) {
        // An IPv4 client of an IPv6 socket is an IPv4 client.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        self.arrivals.borrow_mut().push_back(Arrival { socket: Some(socket), peer, stirred: None });
        self.begin(lp);
        self.drive(lp);
    }

    /// Has the machine decide about the next connection, unless it is at another.
    fn present_arrival(&self) -> bool {
        if self.judging.get() {
            return false;
        }
        let Some(peer) = self.arrivals.borrow().front().map(|arrival| arrival.peer) else { return false };
        self.judging.set(true);
        self.tell_now(Input::Accepted { peer });
        true
    }

    /// A connection has become readable. If nothing is decided about it the machine hears that when it is admitted.
    pub(super) fn stirred(&self, socket: SocketId, hung_up: bool) {
        let mut arrivals = self.arrivals.borrow_mut();
        if let Some(arrival) = arrivals.iter_mut().find(|arrival| arrival.socket == Some(socket)) {
            arrival.stirred = Some(hung_up);
        }
    }

    /// The first connection is decided about. It has no socket any more if it has gone.
    fn decided(&self) -> Option<Arrival> {
        self.judging.set(false);
        self.arrivals.borrow_mut().pop_front()
    }

    fn admit(&self, slot: SlotId) {
        let (socket, stirred) = self.decided().map_or((None, None), |arrival| (arrival.socket, arrival.stirred));
        if let Some(place) = self.sockets.get(slot.index() as usize) {
            place.set(socket);
        }
        self.with_watch(slot.index(), |watch| watch.stuck = None);
        match socket {
            Some(socket) => {
                self.slots.borrow_mut().insert(socket, slot);
                if self.own_options.borrow().contains_key(&slot.index()) {
                    self.untuned.borrow_mut().push(slot.index());
                }
                match stirred {
                    Some(true) => self.tell_now(Input::HungUp { slot }),
                    Some(false) => self.tell_now(Input::Readable { slot }),
                    None => {}
                }
            }
            None => self.tell_now(Input::Failed { slot, kind: Failure::Other }),
        }
    }

    /// A socket has had its last callback.
    pub(super) fn left<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, socket: SocketId, kind: Failure) {
        let Some(slot) = self.slots.borrow_mut().remove(&socket) else {
            let mut arrivals = self.arrivals.borrow_mut();
            let judged = usize::from(self.judging.get());
            if let Some(at) = arrivals.iter().position(|arrival| arrival.socket == Some(socket)) {
                // One that the machine is at is decided about first.
                if at < judged {
                    arrivals[at].socket = None;
                } else {
                    arrivals.remove(at);
                }
            }
            return;
        };
        if let Some(place) = self.sockets.get(slot.index() as usize) {
            place.set(None);
        }
        let now = self.begin(lp);
        if self.machine.borrow().state(slot) == Some(State::Closing) {
            // Refused if it has not been asked for yet; then the answer to that follows.
            self.tell(now, Input::Closed { slot });
        } else {
            self.tell(now, Input::Failed { slot, kind });
        }
        self.drive(lp);
    }
}

/// Held by the loop, which drops it when it ends: then nobody answers any more.
struct Life(Rc<Site>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.common.set_local(None);
        self.0.desk.end();
        // Those that hear of the port, too, hear no more.
        drop(self.0.subscribers.try_borrow_mut().map(|mut subscribers| std::mem::take(&mut *subscribers)));
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("name", &self.common.name).finish_non_exhaustive()
    }
}
