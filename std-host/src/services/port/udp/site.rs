//! A UDP port on its loop: the machine, its socket, and what carries the one's outputs out on the other.
//!
//! Every callback comes here with an input and leaves by [`Site::drive`], which carries out what the machine asks for
//! until it asks for nothing more. What a subscriber does to the port meanwhile is an input like any other, and is
//! carried out by the drive that is under way.

use super::binding;
use super::blocking::Desk;
use super::heap::Machine as PortMachine;
use super::running::RunningUdp;
use super::seen::Seen;
use super::socket;
use super::subscribers::Subscribers;
use crate::event_loop::{Error, LoopMut, MAX_SPAN, Out, Packet, TimerId, UdpId};
use crate::services::port::common::Common;
use crate::services::port::log::Messages;
use crate::services::port::options::{Options, Udp};
use crate::services::port::trace::{Direction, Levels};
use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use wharf_core::port::datagrams::{Command, Event, Input, Output, Pending};
use wharf_core::{Instant, Machine, Step};

/// A port with everything that its socket, its timer and its handles reach.
pub(super) struct Site {
    pub(super) common: Arc<Common>,
    pub(super) options: RefCell<Options>,
    pub(super) machine: RefCell<PortMachine>,
    pub(super) subscribers: RefCell<Subscribers>,
    /// How many of them get datagrams, also while they hear something.
    pub(super) hearers: Cell<usize>,
    /// What is seen of the port from outside.
    pub(super) seen: Seen,
    /// The calls of other threads.
    pub(super) desk: Desk,
    pub(super) socket: Cell<Option<UdpId>>,
    /// The number of the last attempt to open the socket.
    attempt: Cell<u64>,
    /// The attempt that goes on once the last socket is gone.
    pub(super) put_off: Cell<Option<u64>>,
    /// Iterations of the loop that have yet to begin until the last socket is surely gone.
    releasing: Cell<u8>,
    /// One datagram in one piece: on its way to subscribers, or to the system.
    whole: RefCell<Vec<u8>>,
    /// Datagrams that the system has dropped on this socket, as far as the machine was told.
    dropped: Cell<u64>,
    /// The iteration of the loop for which a turn has been started.
    iteration: Cell<u64>,
    /// The machine wants a turn although nothing happens.
    yields: Cell<bool>,
    /// The latest instant that the machine knows of.
    now: Cell<Instant>,
    timer: OnceCell<TimerId>,
    armed: Cell<Option<Instant>>,
    /// When the machine wants to be called if nothing happens before.
    deadline: Cell<Option<Instant>>,
    /// The port is not to be opened again.
    pub(super) stopping: Cell<bool>,
    driving: Cell<bool>,
}

impl Site {
    pub(super) fn new(common: Arc<Common>, options: Options, machine: PortMachine, log: Option<Messages>) -> Self {
        Self {
            seen: Seen::new(&options, log),
            common,
            options: RefCell::new(options),
            machine: RefCell::new(machine),
            subscribers: RefCell::default(),
            hearers: Cell::new(0),
            desk: Desk::new(),
            socket: Cell::new(None),
            attempt: Cell::new(0),
            put_off: Cell::new(None),
            releasing: Cell::new(0),
            whole: RefCell::default(),
            dropped: Cell::new(0),
            iteration: Cell::new(0),
            yields: Cell::new(false),
            now: Cell::new(Instant::ORIGIN),
            timer: OnceCell::new(),
            armed: Cell::new(None),
            deadline: Cell::new(None),
            stopping: Cell::new(false),
            driving: Cell::new(false),
        }
    }

    /// Gives the port its timer. Once, before anything else.
    pub(super) fn set_timer<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>) {
        let life = Life(Rc::clone(self));
        let timer = lp.add_idle_timer(move |lp, _| {
            let Life(site) = &life;
            site.armed.set(None);
            let now = site.begin(lp);
            binding::resume(lp, site);
            site.machine.borrow_mut().handle_timeout(now);
            site.drive(lp);
        });
        self.timer.get_or_init(|| timer);
    }

    /// Begins a turn if this is a new iteration of the loop. The time.
    pub(super) fn begin<T: 'static>(&self, lp: &mut LoopMut<'_, T>) -> Instant {
        let now = lp.clock().max(self.now.get());
        self.now.set(now);
        if self.iteration.replace(lp.iteration()) != lp.iteration() {
            self.yields.set(false);
            self.release();
            self.forget_left();
            self.tell_now(Input::TurnStarted);
        }
        now
    }

    /// Tells the machine what happened to it and carries out what follows.
    pub(super) fn input<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, input: Input<'_>) {
        self.begin(lp);
        self.tell_now(input);
        self.drive(lp);
    }

    /// Lets `f` act on the port and carries out what follows.
    pub(super) fn with<T: 'static, R>(
        self: &Rc<Self>,
        lp: &mut LoopMut<'_, T>,
        f: impl FnOnce(&mut RunningUdp<'_>) -> R,
    ) -> R {
        self.begin(lp);
        let result = f(&mut self.running());
        self.drive(lp);
        result
    }

    /// The port at the time of the present callback.
    pub(super) fn running(&self) -> RunningUdp<'_> {
        RunningUdp::new(self, self.now.get())
    }

    /// Those who want to hear no more take no part in what comes.
    fn forget_left(&self) {
        let left = self.subscribers.borrow_mut().forget_left();
        if left > 0 {
            let count = self.hearers.get() - left;
            self.hearers.set(count);
            self.tell_now(Input::Requested(Command::Subscribed { count }));
        }
    }

    /// Tells the machine what happened. What it refuses comes from a socket that has just been given up.
    pub(super) fn tell_now(&self, input: Input<'_>) {
        if let Err(error) = self.machine.borrow_mut().handle_input(self.now.get(), input) {
            tracing::trace!("{}: {input:?} refused: {error}", self.common.name);
        }
    }

    /// A packet of a batch has come. The loop bounds the batch, and so the packet has a turn of its own.
    pub(super) fn packet<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, packet: &Packet<'_>) {
        self.begin(lp);
        self.tell_now(Input::TurnStarted);
        self.take(packet);
        self.drive(lp);
    }

    /// The answer to `Receive`.
    fn take(&self, packet: &Packet<'_>) {
        let Packet { peer, payload: bytes, truncated, .. } = *packet;
        self.trace(Some(peer), Levels::DRIVER, Direction::Rx, [bytes, &[]], concat!("site.rs:", line!()));
        self.forget_left();
        self.tell_now(Input::Datagram { peer, bytes, truncated });
        self.see_queues();
    }

    /// The system has dropped so many datagrams on this socket.
    pub(super) fn dropped(&self, total: u64) {
        if self.dropped.replace(total) != total {
            self.seen.warn(&self.options, format_args!("the system has dropped {total} datagrams of this socket"));
            self.tell_now(Input::KernelDropped { total });
        }
    }

    /// Begins an attempt to open the socket, or gives up those under way.
    pub(super) fn next_attempt(&self) -> u64 {
        self.attempt.set(self.attempt.get() + 1);
        self.attempt.get()
    }

    /// The last socket is closed. It is gone at the end of the iteration, which is the next one if this is between two.
    pub(super) fn begin_release(&self) {
        self.releasing.set(2);
        self.yields.set(true);
    }

    pub(super) const fn is_releasing(&self) -> bool {
        self.releasing.get() > 0
    }

    /// An iteration has begun.
    fn release(&self) {
        let left = self.releasing.get().saturating_sub(1);
        if self.releasing.replace(left) > 0 {
            // An attempt goes on when the timer fires.
            self.yields.set(left > 0 || self.put_off.get().is_some());
            self.desk.touch();
        }
    }

    /// The attempt under way.
    pub(super) const fn this_attempt(&self) -> u64 {
        self.attempt.get()
    }

    /// Whether this is still the attempt under way.
    pub(super) fn is_attempt(&self, attempt: u64) -> bool {
        self.attempt.get() == attempt
    }

    /// Carries out what the machine asks for.
    pub(super) fn drive<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>) {
        if self.driving.replace(true) {
            return;
        }
        loop {
            let step = self.machine.borrow_mut().poll_output();
            match step {
                Step::Do(output) => self.act(lp, output),
                Step::Wait(_) if self.desk.serve(self) => {}
                Step::Wait(deadline) => {
                    self.arm(lp, deadline);
                    break;
                }
            }
        }
        self.driving.set(false);
    }

    /// Sees to it that the machine gets its next call in time.
    fn arm<T: 'static>(&self, lp: &mut LoopMut<'_, T>, deadline: Option<Instant>) {
        self.deadline.set(deadline);
        let due = if self.yields.get() { Some(lp.now()) } else { deadline };
        let Some(timer) = self.timer.get().copied().filter(|_| self.armed.replace(due) != due) else { return };
        let armed = match due {
            Some(due) => lp.reset_at(timer, due.min(lp.now().saturating_add(MAX_SPAN))),
            None => lp.disarm(timer),
        };
        armed.expect("the timer lives as long as its port");
    }

    fn act<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, output: Output) {
        match output {
            Output::Bind => {
                self.dropped.set(0);
                binding::bind(lp, self);
            }
            Output::Unbind => binding::unbind(lp, self),
            Output::Receive { .. } => self.receive(lp),
            Output::Send { peer } => {
                self.send(lp, peer);
                self.desk.touch();
            }
            Output::Yield => self.yields.set(true),
            Output::Notify(event) => self.notify(&event),
        }
    }

    /// In FIFO mode the loop takes what comes, in asyn mode one packet for each time that it is asked.
    fn receive<T: 'static>(&self, lp: &mut LoopMut<'_, T>) {
        if self.options.borrow().udp == Udp::Fifo {
            return;
        }
        let Some(Ok(mut socket)) = self.socket.get().map(|id| lp.udp(id)) else { return };
        let received = socket.receive_now(|packet| self.take(&packet));
        let dropped = socket.dropped();
        if received.is_ok_and(|received| !received) {
            socket.limit_packets(1).expect("the socket is open");
        }
        self.dropped(dropped);
    }

    fn send<T: 'static>(&self, lp: &mut LoopMut<'_, T>, peer: SocketAddr) {
        // The queue is never longer than right before something is taken from it.
        self.see_queues();
        let sent = {
            let (machine, mut whole) = (self.machine.borrow(), self.whole.borrow_mut());
            let payload = match machine.transmit() {
                [payload, []] => payload,
                parts => {
                    join(&mut whole, parts);
                    &whole
                }
            };
            let sent = self.socket.get().map(|id| lp.udp(id)?.send(&[Out::to(peer, payload)]));
            if let Some(Ok(1..)) = sent {
                self.seen.sent(payload.len());
                self.trace(Some(peer), Levels::DRIVER, Direction::Tx, [payload, &[]], concat!("site.rs:", line!()));
            }
            sent
        };
        self.tell_now(match sent {
            Some(Ok(1..)) => Input::Sent,
            // `drained` tells when it can go on.
            Some(Ok(0)) => Input::SendBlocked,
            Some(Err(error)) => {
                self.failed(&error);
                Input::SendFailed { failure: socket::sending_failure(&error) }
            }
            None => Input::SendBlocked,
        });
    }

    /// A call on the socket has failed, which says nothing about the next.
    pub(super) fn failed(&self, error: &Error) {
        tracing::debug!("{}: {error}", self.common.name);
        self.seen.warn(&self.options, format_args!("{error}"));
    }

    /// Traces bytes that went one way, if that is wanted.
    pub(super) fn trace(
        &self,
        peer: Option<SocketAddr>,
        level: Levels,
        direction: Direction,
        bytes: [&[u8]; 2],
        source: &str,
    ) {
        self.seen.trace(&self.options, peer, level, direction, bytes, source);
    }

    /// Bytes that wait for the reader, and to be sent. What is there and owed to no reader waits for nobody.
    pub(super) fn queued(&self) -> Pending {
        let machine = self.machine.borrow();
        let Pending { rx, tx } = machine.pending();
        Pending { rx: if machine.is_owed() { rx } else { 0 }, tx }
    }

    fn see_queues(&self) {
        self.seen.queues(self.queued());
    }

    /// When the machine wants to be called if nothing happens before.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    fn notify(&self, event: &Event) {
        tracing::debug!("{}: {event:?}", self.common.name);
        self.seen.event(&self.options, event);
        // Whoever is told may subscribe others, who hear of what comes next.
        let mut subscribers = self.subscribers.take();
        let port = &mut self.running();
        subscribers.tell(port, event);
        // What was dropped on its arrival is told at once, and not when the next one comes.
        if matches!(event, Event::DataReady | Event::Overflowed { .. }) {
            let mut whole = self.whole.take();
            subscribers.deliver(port, &self.machine, &mut whole);
            self.whole.replace(whole);
        }
        self.subscribers.borrow_mut().join(subscribers);
        self.desk.told(event, || self.common.failure());
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

/// Puts the parts of a datagram together.
pub(super) fn join(whole: &mut Vec<u8>, parts: [&[u8]; 2]) {
    whole.clear();
    parts.iter().for_each(|part| whole.extend_from_slice(part));
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("name", &self.common.name).finish_non_exhaustive()
    }
}
