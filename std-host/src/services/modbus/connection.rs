//! One socket and its machine: bytes to the machine, outputs to the socket, deadlines to a timer.
//!
//! A connection with nothing on its way is *at rest* and has no machine; whatever happens to it borrows one.

use super::Shared;
use super::admission::Activity;
use super::event::{ConnectionId, Event, Statistics};
use super::faults::Tallies;
use super::metrics::Response;
use super::storage::{Heap, Work};
use crate::event_loop::{LoopMut, Stream, TimerId};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use wharf_core::modbus::diagnostics::Completion;
use wharf_core::modbus::faults::{self, Faults};
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::{Input, Outcome, Output, Processed, Reason, Rest, State};
use wharf_core::modbus::service::{Answer, Discard, Indication, ReplyPdu, Service};
use wharf_core::modbus::units::{Change, Serving};
use wharf_core::{Instant, Machine, Step};

/// How many requests and discards of one connection are worked off before others have their turn.
const TURN: u64 = 64;

/// What belongs to one connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: ConnectionId,
    pub(super) address: Option<SocketAddr>,
    pub(super) timer: Option<TimerId>,
    standing: Standing,
    tallies: Tallies,
    /// Requests in flight that the metrics know of: at most 16.
    in_flight: u8,
    /// The socket takes nothing at present.
    full: bool,
    /// What the machine says about reading.
    paused: bool,
    /// Bytes wait for the next turn.
    has_more: bool,
    /// The loop does not read.
    held: bool,
    /// What the timer is armed for, at the earliest; never is `Instant::MAX`.
    armed: Instant,
    /// When the machine wants to be called; never is `Instant::MAX`.
    deadline: Instant,
    reason: Option<Reason>,
    /// What admission sees of it, if it looks.
    pub(super) activity: Option<Rc<Activity>>,
    counts: Statistics,
}

#[derive(Debug)]
enum Standing {
    AtRest(Rest),
    Working(Box<Work>),
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            id: 0,
            address: None,
            timer: None,
            standing: Standing::AtRest(Rest::new(Instant::ORIGIN)),
            tallies: Tallies::default(),
            in_flight: 0,
            full: false,
            paused: false,
            has_more: false,
            held: false,
            armed: Instant::MAX,
            deadline: Instant::MAX,
            reason: None,
            activity: None,
            counts: Statistics::default(),
        }
    }
}

impl Peer {
    /// A connection that was accepted just now from this address.
    pub(super) fn new(id: ConnectionId, address: Option<SocketAddr>, now: Instant) -> Self {
        Self { id, address, standing: Standing::AtRest(Rest::new(now)), ..Self::default() }
    }

    /// What it did so far.
    pub(super) const fn statistics(&self) -> Statistics {
        self.counts
    }

    pub(super) const fn state(&self) -> State {
        match &self.standing {
            Standing::AtRest(_) => State::Open,
            Standing::Working(work) => work.machine.state(),
        }
    }

    /// Requests that are accepted and not answered yet.
    pub(super) const fn outstanding(&self) -> usize {
        match &self.standing {
            Standing::AtRest(_) => 0,
            Standing::Working(work) => work.machine.outstanding(),
        }
    }

    /// The socket is there, and with it the first deadline, or a fault that ends it.
    pub(super) fn opened<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) {
        self.counts.connected_at = shared.world_time(stream.now());
        self.work(shared, stream, |peer, work, stream| {
            let now = work.time(shared, stream);
            let ends = shared.faults.borrow_mut().accepted(now, peer.ip(), &mut peer.tallies);
            let Some((how, delay, fault)) = ends else { return };
            peer.counts.faults += 1;
            shared.emit(&Event::Fault { id: Some(peer.id), fault, request: None });
            work.machine.handle_input(now, faults::Input::EndAfter { how, delay }).expect("a new connection is open");
        });
    }

    /// Bytes have come.
    pub(super) fn received<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>, bytes: &[u8]) {
        self.counts.bytes_in += bytes.len() as u64;
        shared.metrics.borrow_mut().bytes_in += bytes.len() as u64;
        self.work(shared, stream, |peer, work, stream| {
            let mut taken = 0;
            if work.leftover.is_empty() {
                taken = peer.offer(shared, work, stream, bytes);
            }
            work.leftover.extend(&bytes[taken..]);
        });
    }

    /// The socket takes bytes again.
    pub(super) fn writable<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) {
        self.full = false;
        if matches!(self.standing, Standing::Working(_)) {
            self.work(shared, stream, |_, _, _| ());
        }
    }

    /// An input other than bytes. One that comes too late for the machine means nothing any more.
    pub(super) fn input<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>, input: Input<'_>) {
        self.answered(shared, stream, input);
    }

    /// The answer to a request that was put off, or why there is none; whether anybody still waited for it.
    pub(super) fn answered<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>, input: Input<'_>) -> bool {
        let mut taken = false;
        self.work(shared, stream, |peer, work, stream| {
            let now = work.time(shared, stream);
            let mut board = shared.faults.borrow_mut();
            let mut deciding = board.deciding(peer.ip(), &mut peer.tallies);
            let faults = deciding.as_mut().map(|faults| faults as &mut dyn Faults);
            taken = work.machine.handle_input(now, with_faults(input, faults)).is_ok();
            drop(board);
            shared.tell_faults(peer.id);
        });
        taken
    }

    /// The timer has fired, perhaps for a deadline that has moved since.
    pub(super) fn timeout<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) {
        self.armed = Instant::MAX;
        self.work(shared, stream, |_, work, stream| {
            let now = work.time(shared, stream);
            work.machine.handle_timeout(now);
        });
    }

    /// The socket is gone; why, if the machine does not know yet.
    pub(super) fn gone(&mut self, shared: &Shared, now: Instant, input: Input<'_>) -> Reason {
        let mut work = self.take_work(shared);
        let now = work.now.max(now);
        // A machine that has closed by itself refuses the news.
        let _ = work.machine.handle_input(now, with_faults(input, None));
        while let Step::Do(output) = work.machine.poll_output() {
            self.note(shared, &mut work, now, output);
        }
        self.account(shared, &work);
        // What is still here will never leave.
        let dropped = work.unsent.drop_all();
        if dropped > 0 {
            shared.metrics.borrow_mut().dropped(dropped);
        }
        shared.pool.borrow_mut().renew(work, shared.faults.borrow().is_active());
        self.reason.unwrap_or(Reason::IoError)
    }

    /// Arms the timer for the next turn if bytes wait for it, or if the deadline has come nearer. A timer that fires early
    /// costs a call; one that is moved with every request would cost more.
    pub(super) fn arm<T>(&mut self, lp: &mut LoopMut<'_, T>, timer: TimerId) {
        if self.has_more {
            self.armed = lp.now();
            lp.reset_at(timer, self.armed).expect("the timer lives as long as its connection");
        } else if self.deadline < self.armed {
            // A deadline beyond the range of timers is looked at again when the farthest timer fires.
            let farthest = lp.now().saturating_add(crate::event_loop::MAX_SPAN);
            let due = self.deadline.min(farthest);
            lp.reset_at(timer, due).expect("the timer lives as long as its connection");
            self.armed = due;
        }
    }

    /// Whether the machine has said its last word.
    pub(super) const fn is_over(&self) -> bool {
        self.reason.is_some()
    }

    fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip())
    }

    /// Lets `f` act on the machine, then does all that can be done now, and rests if nothing is left.
    fn work<T>(
        &mut self,
        shared: &Shared,
        stream: &mut Stream<'_, T>,
        f: impl FnOnce(&mut Self, &mut Work, &mut Stream<'_, T>),
    ) {
        let mut work = self.take_work(shared);
        work.turn_ends = self.handled() + TURN;
        f(self, &mut work, stream);
        self.settle(shared, &mut work, stream);
        self.account(shared, &work);
        self.has_more = !work.leftover.is_empty() && !self.paused && !self.is_over();
        self.hold(stream, self.paused || self.has_more);
        match work.machine.rest() {
            Some(rest) if work.leftover.is_empty() => {
                self.standing = Standing::AtRest(rest);
                shared.pool.borrow_mut().take_back(work, shared.faults.borrow().is_active());
            }
            _ => self.standing = Standing::Working(work),
        }
    }

    /// The machine of this connection. Whoever takes it puts it back, unless the connection is gone.
    fn take_work(&mut self, shared: &Shared) -> Box<Work> {
        let left = Standing::AtRest(Rest::new(Instant::ORIGIN));
        match std::mem::replace(&mut self.standing, left) {
            Standing::Working(work) => work,
            Standing::AtRest(rest) => {
                let mut work = shared.pool.borrow_mut().lend();
                work.machine.resume(rest).expect("the machines of the pool are at rest");
                work
            }
        }
    }

    /// Offers bytes until the machine takes no more; how many it took. It may still have something to say then.
    fn offer<T>(&mut self, shared: &Shared, work: &mut Work, stream: &mut Stream<'_, T>, bytes: &[u8]) -> usize {
        let now = work.time(shared, stream);
        let mut done = 0;
        while done < bytes.len() && !self.is_over() && self.handled() < work.turn_ends {
            let mut units = shared.units.borrow_mut();
            let mut changes = shared.changes.borrow_mut();
            let mut observer = |change: &Change| changes.push(*change);
            let mut service = Asked { units: units.serving(self.id).observed(&mut observer), asked: false };
            let mut board = shared.faults.borrow_mut();
            let mut deciding = board.deciding(self.ip(), &mut self.tallies);
            let faulty = deciding.is_some();
            if faulty {
                shared.pool.borrow().lend_places(work);
            }
            let faults = deciding.as_mut().map(|faults| faults as &mut dyn Faults);
            let input = Input::Received { bytes: &bytes[done..], service: &mut service };
            if work.machine.handle_input(now, with_faults(input, faults)).is_err() {
                return bytes.len();
            }
            drop(board);
            if service.asked {
                self.counts.last_request_at = Some(shared.world_time(stream.now()));
                if let Some(activity) = &self.activity {
                    activity.last_request.set(stream.now());
                }
            }
            drop((units, changes));
            shared.tell_changes();
            if faulty {
                shared.tell_faults(self.id);
            }
            let taken = work.machine.taken();
            done += taken;
            if done < bytes.len() {
                self.drain(shared, work, stream);
                if taken == 0 && !self.transmit_some(shared, work, stream) {
                    break;
                }
            }
        }
        done
    }

    /// Does all that can be done now: sends, hears what the machine has to say, and takes what was left over.
    fn settle<T>(&mut self, shared: &Shared, work: &mut Work, stream: &mut Stream<'_, T>) {
        loop {
            // Replies leave before anybody is told of them. Whatever sends drains the machine after it.
            if !self.transmit_some(shared, work, stream) {
                self.drain(shared, work, stream);
            }
            while self.transmit_some(shared, work, stream) {}
            if work.leftover.is_empty() || self.paused || self.is_over() {
                break;
            }
            let leftover = std::mem::take(&mut work.leftover);
            let taken = self.offer(shared, work, stream, leftover.bytes());
            work.leftover = leftover;
            work.leftover.take(taken);
            if taken == 0 {
                break;
            }
        }
    }

    /// What ends a turn: a client must not keep others waiting by asking for much at once.
    const fn handled(&self) -> u64 {
        self.counts.requests + self.counts.discards
    }

    /// Has the loop read from the socket, or not.
    fn hold<T>(&mut self, stream: &mut Stream<'_, T>, hold: bool) {
        if self.held != hold && !self.is_over() {
            self.held = hold;
            let done = if hold { stream.pause() } else { stream.resume() };
            if let Err(error) = done {
                tracing::trace!(%error, hold, "too late for the socket");
            }
        }
    }

    /// Sends once what may leave, asked or not, and drains the machine after it; whether the socket took anything.
    fn transmit_some<T>(&mut self, shared: &Shared, work: &mut Work, stream: &mut Stream<'_, T>) -> bool {
        if self.full || !work.machine.has_output() {
            return false;
        }
        let [first, second] = work.machine.transmit();
        // An error here is followed by the socket's `close`, which tells why.
        let len = stream.write_now2(first, second).unwrap_or(0);
        if len == 0 {
            self.full = true;
            return false;
        }
        // Replies have left now, however long it takes to tell of them.
        let left = stream.clock();
        self.counts.bytes_out += len as u64;
        let kept = work.machine.sends_kept();
        let now = work.time(shared, stream);
        work.machine
            .handle_input(now, faults::Input::Transmitted { len })
            .expect("no more was sent than the machine showed");
        self.drain(shared, work, stream);
        let mut metrics = shared.metrics.borrow_mut();
        metrics.bytes_out += len as u64;
        if !kept {
            work.unsent.sent(len, left, |status, replies, took| metrics.replied(status, replies, took));
        }
        true
    }

    /// Carries out what the machine wants. Sending is looked after elsewhere, when all bytes of a read are with the machine.
    fn drain<T>(&mut self, shared: &Shared, work: &mut Work, stream: &mut Stream<'_, T>) {
        loop {
            match work.machine.poll_output() {
                // The most frequent of all means nothing to the socket. Apart from the others it saves a twentieth.
                Step::Do(Output::Processed(request)) => self.processed(shared, work, stream.now(), &request),
                Step::Do(output) => {
                    self.note(shared, work, stream.now(), output);
                    carry_out(output, stream);
                }
                Step::Wait(deadline) => {
                    self.deadline = deadline.unwrap_or(Instant::MAX);
                    return;
                }
            }
        }
    }

    /// What an output means apart from the socket.
    fn note(&mut self, shared: &Shared, work: &mut Work, now: Instant, output: Output) {
        match output {
            Output::Transmit | Output::CloseWrite => {}
            Output::Pause => self.paused = true,
            Output::Resume => self.paused = false,
            Output::Close { reason, .. } => self.reason = Some(reason),
            Output::Processed(request) => self.processed(shared, work, now, &request),
            Output::Discarded(reason) => {
                if reason == Discard::Truncated {
                    shared.units.borrow_mut().truncated();
                }
                self.counts.discards += 1;
                shared.emit(&Event::Discarded { id: self.id, reason });
            }
        }
    }

    /// A request is done with.
    #[inline]
    fn processed(&mut self, shared: &Shared, work: &mut Work, now: Instant, request: &Processed) {
        if request.deferred {
            shared.units.borrow_mut().finished(request.answerer, request.function, completion(request));
        }
        self.counts.processed(request);
        owe(shared, work, now, request);
        shared.processed(self.id, request);
    }

    /// Tells the metrics of requests that have begun or ended to wait, and admission whether anything is in flight.
    fn account(&mut self, shared: &Shared, work: &Work) {
        let in_flight = u8::try_from(work.machine.outstanding()).unwrap_or(u8::MAX);
        if in_flight != self.in_flight {
            let count = &mut shared.metrics.borrow_mut().requests_in_flight;
            *count = *count + u64::from(in_flight) - u64::from(self.in_flight);
            self.in_flight = in_flight;
        }
        if let Some(activity) = &self.activity {
            activity.in_flight.set(in_flight > 0 || work.machine.has_output());
        }
    }
}

/// Notes a reply that is on its way.
fn owe(shared: &Shared, work: &mut Work, now: Instant, request: &Processed) {
    let status = match request.outcome {
        Outcome::Ok => Response::Ok,
        Outcome::Exception(_) => Response::Exception,
        Outcome::None => return,
    };
    if request.kept {
        // It has left already.
        shared.metrics.borrow_mut().replied(status, 1, Duration::from_micros(request.micros.into()));
        return;
    }
    let arrived = Instant::from_micros(now.as_micros().saturating_sub(request.micros.into()));
    work.unsent.push(arrived, request.bytes_out, status);
}

/// The units, and whether they were asked for anything.
struct Asked<'u> {
    units: Serving<'u, Heap>,
    asked: bool,
}

impl Service for Asked<'_> {
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        self.asked = true;
        self.units.serve(request, reply)
    }

    fn refused(&mut self, request: &Indication<'_>, exception: Exception) {
        self.asked = true;
        self.units.refused(request, exception);
    }

    fn peek(&mut self, unit: u8, pdu: &[u8], reply: &mut ReplyPdu) -> Option<usize> {
        self.units.peek(unit, pdu, reply)
    }

    fn prevented(&mut self, request: &Indication<'_>, exception: Option<Exception>) {
        self.asked = true;
        self.units.prevented(request, exception);
    }

    fn discarded(&mut self, reason: Discard) {
        self.units.discarded(reason);
    }
}

/// An input of the inner machine as the outer one takes it.
fn with_faults<'a, 'b: 'a>(input: Input<'b>, faults: Option<&'a mut dyn Faults>) -> faults::Input<'a> {
    match input {
        Input::Received { bytes, service } => faults::Input::Received { bytes, service, faults },
        Input::Transmitted { len } => faults::Input::Transmitted { len },
        Input::Replied { id, pdu } => faults::Input::Replied { id, pdu, faults },
        Input::Failed { id, exception } => faults::Input::Failed { id, exception, faults },
        Input::PeerClosed => faults::Input::PeerClosed,
        Input::PeerReset => faults::Input::PeerReset,
        Input::Drain => faults::Input::Drain,
        Input::Abort { reason } => faults::Input::Abort { reason },
    }
}

/// What an output means for the socket. One that is closed already has all of this behind it.
fn carry_out<T>(output: Output, stream: &mut Stream<'_, T>) {
    let done = match output {
        Output::CloseWrite => stream.shutdown(),
        Output::Close { reset, .. } => {
            if reset {
                stream.abort();
            } else {
                stream.close(0);
            }
            Ok(())
        }
        Output::Transmit | Output::Pause | Output::Resume | Output::Processed(_) | Output::Discarded(_) => Ok(()),
    };
    if let Err(error) = done {
        tracing::trace!(%error, ?output, "too late for the socket");
    }
}

fn completion(request: &Processed) -> Completion {
    match request.outcome {
        Outcome::Ok => Completion::Replied,
        Outcome::Exception(exception) => Completion::Exception { exception, replied: true },
        // The connection ended before the answer came: nothing says that the request was carried out.
        Outcome::None => Completion::Ignored,
    }
}
