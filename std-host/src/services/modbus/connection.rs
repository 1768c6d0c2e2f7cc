//! One socket and its machine: bytes to the machine, outputs to the socket, deadlines to a timer.

use super::Shared;
use super::admission::Activity;
use super::event::{ConnectionId, Event, Statistics};
use super::metrics::Response;
use super::storage::{Block, Heap};
use super::unsent::Unsent;
use crate::event_loop::{LoopMut, Stream, TimerId};
use std::net::SocketAddr;
use std::rc::Rc;
use wharf_core::modbus::diagnostics::Completion;
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::{Config, Connection, Input, Outcome, Output, Processed, Reason, State, Transaction};
use wharf_core::modbus::service::{Answer, Discard, Indication, ReplyPdu, Service};
use wharf_core::modbus::units::{Change, Serving};
use wharf_core::{Instant, Machine, Step};

/// What belongs to one connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: ConnectionId,
    pub(super) address: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) timer: Option<TimerId>,
    machine: Connection<Vec<u8>, Vec<Transaction>>,
    /// Whether the machine stands on storage of the pool.
    lent: bool,
    unsent: Unsent,
    /// Requests in flight that the metrics know of.
    in_flight: usize,
    /// The machine has bytes that may leave, and the socket is not known to be full.
    transmit: bool,
    paused: bool,
    /// Bytes that the machine had no room for. Reading is paused meanwhile.
    leftover: Vec<u8>,
    /// What the timer is armed for, at the earliest.
    armed: Option<Instant>,
    deadline: Option<Instant>,
    reason: Option<Reason>,
    connected_at: Instant,
    last_request_at: Option<Instant>,
    /// What admission sees of it.
    pub(super) activity: Rc<Activity>,
    /// Without the times, which are those of the loop.
    counts: Statistics,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            id: 0,
            address: None,
            local: None,
            timer: None,
            machine: Connection::new(Config::DEFAULT, Vec::new(), Vec::new(), Instant::ORIGIN),
            lent: false,
            unsent: Unsent::default(),
            in_flight: 0,
            transmit: false,
            paused: false,
            leftover: Vec::new(),
            armed: None,
            deadline: None,
            reason: None,
            connected_at: Instant::ORIGIN,
            last_request_at: None,
            activity: Rc::default(),
            counts: Statistics::default(),
        }
    }
}

impl Peer {
    /// A connection that was accepted just now, from the first of these addresses at the second.
    pub(super) fn new(
        id: ConnectionId,
        (address, local): (Option<SocketAddr>, Option<SocketAddr>),
        config: Config,
        now: Instant,
    ) -> Self {
        let machine = Connection::new(config, Vec::new(), Vec::new(), now);
        let connection = Self { id, address, local, machine, connected_at: now, ..Self::default() };
        connection.activity.last_request.set(now);
        connection
    }

    /// What it did so far.
    pub(super) fn statistics(&self, shared: &Shared) -> Statistics {
        Statistics {
            connected_at: shared.world_time(self.connected_at),
            last_request_at: self.last_request_at.map(|at| shared.world_time(at)),
            ..self.counts
        }
    }

    pub(super) const fn state(&self) -> State {
        self.machine.state()
    }

    /// Requests that are accepted and not answered yet.
    pub(super) const fn outstanding(&self) -> usize {
        self.machine.outstanding()
    }

    /// The socket is there, and with it the first deadline.
    pub(super) fn opened<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) {
        self.settle(shared, stream);
    }

    /// Bytes have come.
    pub(super) fn received<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>, bytes: &[u8]) {
        self.counts.bytes_in += bytes.len() as u64;
        shared.metrics.borrow_mut().bytes_in += bytes.len() as u64;
        if self.leftover.is_empty() {
            let taken = self.offer(shared, stream, bytes);
            self.leftover.extend_from_slice(&bytes[taken..]);
        } else {
            self.leftover.extend_from_slice(bytes);
        }
        self.settle(shared, stream);
    }

    /// The socket takes bytes again.
    pub(super) fn writable<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) {
        self.transmit = true;
        self.settle(shared, stream);
    }

    /// An input other than bytes. One that comes too late for the machine means nothing any more.
    pub(super) fn input<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>, input: Input<'_>) {
        if self.machine.handle_input(stream.now(), input).is_ok() {
            self.settle(shared, stream);
        }
    }

    /// The answer to a request that was put off, or why there is none; whether anybody still waited for it.
    pub(super) fn answered<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>, input: Input<'_>) -> bool {
        let taken = self.machine.handle_input(stream.now(), input).is_ok();
        if taken {
            self.settle(shared, stream);
        }
        taken
    }

    /// The timer has fired, perhaps for a deadline that has moved since.
    pub(super) fn timeout<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) {
        self.armed = None;
        self.machine.handle_timeout(stream.now());
        self.settle(shared, stream);
    }

    /// The socket is gone; why, if the machine does not know yet.
    pub(super) fn gone(&mut self, shared: &Shared, now: Instant, input: Input<'_>) -> Reason {
        // A machine that has closed by itself refuses the news.
        let _ = self.machine.handle_input(now, input);
        while let Step::Do(output) = self.machine.poll_output() {
            self.note(shared, now, output);
        }
        self.give_back(shared);
        self.reason.unwrap_or(Reason::IoError)
    }

    /// Arms the timer if the deadline has come nearer. A timer that fires early costs a call; one that is moved with every
    /// request would cost more.
    pub(super) fn arm<T>(&mut self, lp: &mut LoopMut<'_, T>, timer: TimerId) {
        let Some(deadline) = self.deadline else { return };
        if self.armed.is_none_or(|armed| deadline < armed) {
            // A deadline beyond the range of timers is looked at again when the farthest timer fires.
            let farthest = lp.now().saturating_add(crate::event_loop::MAX_SPAN);
            let due = deadline.min(farthest);
            lp.reset_at(timer, due).expect("the timer lives as long as its connection");
            self.armed = Some(due);
        }
    }

    /// Whether the machine has said its last word.
    pub(super) const fn is_over(&self) -> bool {
        self.reason.is_some()
    }

    /// Offers bytes until the machine takes no more; how many it took.
    fn offer<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>, bytes: &[u8]) -> usize {
        self.borrow_storage(shared);
        let mut done = 0;
        while done < bytes.len() && !self.is_over() {
            let mut units = shared.units.borrow_mut();
            let mut changes = shared.changes.borrow_mut();
            let mut observer = |change: &Change| changes.push(*change);
            let mut service = Asked { units: units.serving(self.id).observed(&mut observer), asked: false };
            let input = Input::Received { bytes: &bytes[done..], service: &mut service };
            if self.machine.handle_input(stream.now(), input).is_err() {
                return bytes.len();
            }
            if service.asked {
                self.last_request_at = Some(stream.now());
                self.activity.last_request.set(stream.now());
            }
            drop((units, changes));
            shared.tell_changes();
            let taken = self.machine.taken();
            done += taken;
            self.drain(shared, stream);
            if taken == 0 && !self.transmit_some(shared, stream) {
                break;
            }
        }
        done
    }

    /// Does all that can be done now: sends, takes what was left over, and gives back storage that holds nothing.
    fn settle<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) {
        self.drain(shared, stream);
        loop {
            while self.transmit_some(shared, stream) {}
            if self.leftover.is_empty() || self.paused || self.is_over() {
                break;
            }
            let bytes = std::mem::take(&mut self.leftover);
            let taken = self.offer(shared, stream, &bytes);
            self.leftover.extend_from_slice(&bytes[taken..]);
            if taken == 0 {
                break;
            }
        }
        self.give_back(shared);
    }

    /// Sends once; whether the socket took anything.
    fn transmit_some<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) -> bool {
        let [first, second] = self.machine.transmit();
        if !self.transmit || first.is_empty() && second.is_empty() {
            return false;
        }
        self.transmit = false;
        // An error here is followed by the socket's `close`, which tells why.
        let len = stream.write_now2(first, second).unwrap_or(0);
        if len == 0 {
            return false;
        }
        self.counts.bytes_out += len as u64;
        self.machine
            .handle_input(stream.now(), Input::Transmitted { len })
            .expect("no more was sent than the machine showed");
        let mut metrics = shared.metrics.borrow_mut();
        metrics.bytes_out += len as u64;
        let now = stream.clock();
        self.unsent.sent(len, now, |status, replies, took| metrics.replied(status, replies, took));
        if self.machine.outstanding() == 0 && !self.has_output() {
            self.unsent.all_sent(now, |status, replies, took| metrics.replied(status, replies, took));
        }
        drop(metrics);
        self.drain(shared, stream);
        true
    }

    /// Carries out what the machine wants. Sending waits until all bytes of a read are with the machine.
    fn drain<T>(&mut self, shared: &Shared, stream: &mut Stream<'_, T>) {
        loop {
            match self.machine.poll_output() {
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                Step::Do(output) => {
                    self.note(shared, stream.now(), output);
                    carry_out(output, stream);
                }
            }
        }
    }

    /// What an output means apart from the socket.
    fn note(&mut self, shared: &Shared, now: Instant, output: Output) {
        match output {
            Output::Transmit => self.transmit = true,
            Output::Pause => self.paused = true,
            Output::Resume => self.paused = false,
            Output::CloseWrite => {}
            Output::Close { reason, .. } => self.reason = Some(reason),
            Output::Processed(request) => {
                if request.deferred {
                    shared.units.borrow_mut().finished(request.answerer, request.function, completion(&request));
                }
                self.counts.processed(&request);
                self.owe(now, &request);
                shared.emit(&Event::Processed { id: self.id, request });
            }
            Output::Discarded(reason) => {
                if reason == Discard::Truncated {
                    shared.units.borrow_mut().truncated();
                }
                self.counts.discards += 1;
                shared.emit(&Event::Discarded { id: self.id, reason });
            }
        }
    }

    /// Whether anything waits to be sent.
    fn has_output(&self) -> bool {
        self.machine.transmit().iter().any(|part| !part.is_empty())
    }

    /// Notes a reply that is on its way.
    fn owe(&mut self, now: Instant, request: &Processed) {
        let status = match request.outcome {
            Outcome::Ok => Response::Ok,
            Outcome::Exception(_) => Response::Exception,
            Outcome::None => return,
        };
        let arrived = Instant::from_micros(now.as_micros().saturating_sub(request.micros.into()));
        self.unsent.push(arrived, request.bytes_out, status);
    }

    fn borrow_storage(&mut self, shared: &Shared) {
        if !self.lent {
            let block = shared.pool.borrow_mut().lend();
            self.exchange(block);
            self.lent = true;
        }
    }

    /// Gives back storage that holds nothing. Ends whatever may have begun or ended requests.
    fn give_back(&mut self, shared: &Shared) {
        let in_flight = self.machine.outstanding();
        if in_flight != self.in_flight {
            let count = &mut shared.metrics.borrow_mut().requests_in_flight;
            *count = *count + in_flight as u64 - self.in_flight as u64;
            self.in_flight = in_flight;
        }
        self.activity.in_flight.set(in_flight > 0 || self.has_output());
        if self.lent && self.machine.is_vacant() {
            // What is still here will never leave: the machine has closed.
            let dropped = self.unsent.drop_all();
            if dropped > 0 {
                shared.metrics.borrow_mut().dropped(dropped);
            }
            let block = self.exchange(Block::default());
            shared.pool.borrow_mut().take_back(block);
            self.lent = false;
        }
    }

    fn exchange(&mut self, block: Block) -> Block {
        let Block { buffer, transactions, unsent } = block;
        let exchanged = self.machine.exchange(buffer, transactions);
        let (buffer, transactions) = exchanged.expect("a machine without storage, or a vacant one, can exchange it");
        Block { buffer, transactions, unsent: std::mem::replace(&mut self.unsent, unsent) }
    }
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

    fn discarded(&mut self, reason: Discard) {
        self.units.discarded(reason);
    }
}

/// What an output means for the socket. One that is closed already has all of this behind it.
fn carry_out<T>(output: Output, stream: &mut Stream<'_, T>) {
    let done = match output {
        Output::Pause => stream.pause(),
        Output::Resume => stream.resume(),
        Output::CloseWrite => stream.shutdown(),
        Output::Close { reset, .. } => {
            if reset {
                stream.abort();
            } else {
                stream.close(0);
            }
            Ok(())
        }
        Output::Transmit | Output::Processed(_) | Output::Discarded(_) => Ok(()),
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
