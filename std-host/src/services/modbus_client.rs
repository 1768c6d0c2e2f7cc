//! Modbus TCP clients on the event loop.
//!
//! [`Clients`] drives one machine of the core ([`wharf_core::modbus::client`]) per connection: bytes to the machine, what
//! it shows to the socket, its deadline to a timer. What to ask, and what to make of the answers, is decided by an
//! [`Asker`], which all connections share; each has data of its own besides.
//!
//! Requests that are asked in one callback leave in one write. It does not connect again by itself.

use crate::event_loop::{
    CloseReason, Closed, ConnectFailed, ConnectOptions, ContextKey, Error, Handler, LoopMut, MAX_SPAN, Opened, Socket,
    SocketId, Stream, Target, TimerId,
};
use std::cell::{OnceCell, RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;
use wharf_core::modbus::client::{
    self, Config, Connection, Discard, Done, Input, MIN_BUFFER, Output, Reason, Transaction,
};
use wharf_core::modbus::mbap::MAX_FRAME;
use wharf_core::modbus::pdu::Reply;
use wharf_core::{Instant, Machine, Step};

type ClientMachine = Connection<Vec<u8>, Vec<Transaction>>;

/// Who asks. Calls never nest.
#[expect(unused_variables, reason = "the defaults ignore what the names document")]
pub trait Asker: 'static {
    /// What belongs to each connection.
    type Data: Default + 'static;

    /// A connection is there.
    fn opened(&mut self, line: &mut Line<'_, Self::Data>) {}

    /// A request has ended. Every request that was taken ends once, before its connection does.
    fn done(&mut self, line: &mut Line<'_, Self::Data>, done: &Done);

    /// A frame was thrown away: late, or nobody asked for it.
    fn discarded(&mut self, line: &mut Line<'_, Self::Data>, reason: Discard, transaction: u16) {}

    /// A connection has ended, or did not come about. Its id is stale.
    fn closed(&mut self, id: SocketId, data: Self::Data, ended: Ended) {}
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// It did not come about.
    NotConnected(Error),
    /// It was there, and what the machine says of its end.
    Closed(Reason),
    /// It was there, and the system failed.
    Failed(Error),
}

/// One connection, as an [`Asker`] sees it.
#[derive(Debug)]
pub struct Line<'a, D> {
    machine: &'a mut ClientMachine,
    data: &'a mut D,
    now: Instant,
    rest: &'a [u8],
}

impl<D> Line<'_, D> {
    /// What belongs to this connection.
    pub const fn data(&mut self) -> &mut D {
        self.data
    }

    /// Loop time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Asks. The timeout is zero for none.
    ///
    /// # Errors
    /// As [`client::Error`] says; nothing is asked then.
    pub fn ask(&mut self, tag: u64, unit: u8, pdu: &[u8], timeout: Duration, retries: u8) -> Result<(), client::Error> {
        self.machine.handle_input(self.now, Input::Ask { tag, unit, pdu, timeout, retries })
    }

    /// The reply that [`Asker::done`] is called for, if it ended by one.
    #[must_use]
    pub fn reply(&self) -> Option<Reply<'_>> {
        self.machine.reply()
    }

    /// The frame that [`Asker::done`] or [`Asker::discarded`] is called for, if there is one.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        self.machine.frame()
    }

    /// What came behind that frame and is yet to be looked at.
    #[must_use]
    pub const fn rest(&self) -> &[u8] {
        self.rest
    }

    /// Requests that have not ended.
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        self.machine.outstanding()
    }

    /// The transaction id of the request that was asked last.
    #[must_use]
    pub const fn last_transaction(&self) -> u16 {
        self.machine.last_transaction()
    }

    /// Takes no more requests, and ends the connection when the last one has ended. Means nothing once it has.
    pub fn drain(&mut self) {
        let _ = self.machine.handle_input(self.now, Input::Drain);
    }

    /// Ends the connection. Means nothing once it has ended.
    pub fn abort(&mut self) {
        let _ = self.machine.handle_input(self.now, Input::Abort);
    }
}

/// Client connections of one kind on one loop.
pub struct Clients<A: Asker> {
    shared: Rc<Shared<A>>,
}

impl<A: Asker> std::fmt::Debug for Clients<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// What all connections share.
struct Shared<A: Asker> {
    /// The context of the sockets; set before there are any.
    key: OnceCell<ContextKey<Sockets<A>>>,
    asker: RefCell<A>,
    config: Config,
}

impl<A: Asker> Shared<A> {
    fn key(&self) -> ContextKey<Sockets<A>> {
        *self.key.get().expect("clients have their context before they connect")
    }
}

impl<A: Asker> Clients<A> {
    /// Connections whose machines have this configuration; each has as many transactions as may be outstanding.
    pub fn new<T>(lp: &mut LoopMut<'_, T>, config: Config, asker: A) -> Self {
        let shared = Rc::new(Shared { key: OnceCell::new(), asker: RefCell::new(asker), config });
        let key = lp.context(Sockets { shared: Rc::clone(&shared) });
        shared.key.get_or_init(|| key);
        Self { shared }
    }

    /// Connects; [`Asker::opened`] or [`Asker::closed`] follows. Without a timeout it waits as long as timers can.
    ///
    /// # Errors
    /// As [`LoopMut::connect`] without a handler's callback; out of range is a timeout above [`MAX_SPAN`].
    pub fn connect<T: 'static>(
        &self,
        lp: &mut LoopMut<'_, T>,
        to: impl Into<Target>,
        data: A::Data,
        timeout: Option<Duration>,
    ) -> Result<SocketId, Error> {
        // The loop counts in milliseconds, and a wait of none would be over before it began.
        let timeout = timeout.unwrap_or(MAX_SPAN).max(Duration::from_millis(1));
        let link = Link { data, ..Link::default() };
        lp.connect(to, self.shared.key(), link, ConnectOptions { timeout, ..ConnectOptions::default() })
    }

    /// Lets `f` use a connection, from outside of the asker's calls.
    ///
    /// # Errors
    /// [`Error::Stale`] if the connection has ended, [`Error::Busy`] within a call of the asker's.
    pub fn with<T: 'static, R>(
        &self,
        lp: &mut LoopMut<'_, T>,
        id: SocketId,
        f: impl FnOnce(&mut Line<'_, A::Data>) -> R,
    ) -> Result<R, Error> {
        lp.with_socket(self.shared.key(), id, |s| {
            drive(s, |link, stream| {
                let given = f(&mut link.line(stream.now(), &[]));
                link.settle(&self.shared, stream);
                given
            })
        })
    }

    /// Lets a connection end when its last request has.
    pub fn drain<T: 'static>(&self, lp: &mut LoopMut<'_, T>, id: SocketId) {
        // One that has ended needs no end.
        let _ = lp.with_socket(self.shared.key(), id, |s| {
            drive(s, |link, stream| link.input(&self.shared, stream, Input::Drain));
        });
    }

    /// Ends a connection, whatever stage it is at. One that is there has its last calls first.
    pub fn abort<T: 'static>(&self, lp: &mut LoopMut<'_, T>, id: SocketId) {
        // One that has ended, or is ended by the first line, needs no more.
        let _ = lp.with_socket(self.shared.key(), id, |s| {
            drive(s, |link, stream| link.input(&self.shared, stream, Input::Abort));
        });
        let _ = lp.cancel(id);
    }

    /// Who asks.
    ///
    /// # Panics
    /// Within a call of the asker's.
    #[must_use]
    pub fn asker(&self) -> RefMut<'_, A> {
        self.shared.asker.borrow_mut()
    }
}

/// What belongs to one socket.
struct Link<D> {
    machine: ClientMachine,
    data: D,
    timer: Option<TimerId>,
    /// What the timer is armed for, at the earliest.
    armed: Option<Instant>,
    deadline: Option<Instant>,
    /// The machine has bytes that may leave, and the socket is not known to be full.
    transmit: bool,
    over: Option<Reason>,
}

impl<D: Default> Default for Link<D> {
    fn default() -> Self {
        Self {
            machine: Connection::new(Config::DEFAULT, Vec::new(), Vec::new()),
            data: D::default(),
            timer: None,
            armed: None,
            deadline: None,
            transmit: false,
            over: None,
        }
    }
}

impl<D: Default + 'static> Link<D> {
    const fn line<'a>(&'a mut self, now: Instant, rest: &'a [u8]) -> Line<'a, D> {
        Line { machine: &mut self.machine, data: &mut self.data, now, rest }
    }

    /// An input other than bytes. One that comes too late for the machine means nothing any more.
    fn input<A: Asker<Data = D>, T>(&mut self, shared: &Shared<A>, stream: &mut Stream<'_, T>, input: Input<'_>) {
        if self.machine.handle_input(stream.now(), input).is_ok() {
            self.settle(shared, stream);
        }
    }

    fn received<A: Asker<Data = D>, T>(&mut self, shared: &Shared<A>, stream: &mut Stream<'_, T>, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.machine.handle_input(stream.now(), Input::Received { bytes: rest }).is_ok() {
            rest = &rest[self.machine.taken()..];
            self.drain(shared, stream.now(), rest);
        }
        self.settle(shared, stream);
    }

    /// Does all that can be done now.
    fn settle<A: Asker<Data = D>, T>(&mut self, shared: &Shared<A>, stream: &mut Stream<'_, T>) {
        self.drain(shared, stream.now(), &[]);
        while self.transmit_some(stream) {
            self.drain(shared, stream.now(), &[]);
        }
        if self.over.is_some() {
            stream.close(0);
        }
    }

    /// Sends once; whether the socket took anything.
    fn transmit_some<T>(&mut self, stream: &mut Stream<'_, T>) -> bool {
        let [first, second] = self.machine.transmit();
        if !self.transmit || first.is_empty() && second.is_empty() {
            return false;
        }
        self.transmit = false;
        // An error here is followed by the socket's `close`, which tells why.
        let len = stream.write_now2(first, second).unwrap_or(0);
        len > 0 && self.machine.handle_input(stream.now(), Input::Transmitted { len }).is_ok()
    }

    /// Carries out what the machine wants. Sending waits until all bytes of a read are with the machine.
    fn drain<A: Asker<Data = D>>(&mut self, shared: &Shared<A>, now: Instant, rest: &[u8]) {
        loop {
            match self.machine.poll_output() {
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    return;
                }
                Step::Do(Output::Transmit) => self.transmit = true,
                Step::Do(Output::Done(done)) => shared.asker.borrow_mut().done(&mut self.line(now, rest), &done),
                Step::Do(Output::Discarded { reason, transaction }) => {
                    shared.asker.borrow_mut().discarded(&mut self.line(now, rest), reason, transaction);
                }
                Step::Do(Output::Close { reason }) => self.over = Some(reason),
            }
        }
    }

    /// Arms the timer if the deadline has come nearer. A timer that fires early costs a call; one that is moved with every
    /// request would cost more.
    fn arm<T>(&mut self, lp: &mut LoopMut<'_, T>) {
        let (Some(deadline), Some(timer)) = (self.deadline, self.timer) else { return };
        if self.armed.is_none_or(|armed| deadline < armed) {
            // A deadline beyond the range of timers is looked at again when the farthest timer fires.
            let due = deadline.min(lp.now().saturating_add(MAX_SPAN));
            lp.reset_at(timer, due).expect("the timer lives as long as its connection");
            self.armed = Some(due);
        }
    }
}

/// Lets `f` act on a connection, then sees to its timer.
fn drive<T, D: Default + 'static, R>(
    s: &mut Socket<'_, T, Link<D>>,
    f: impl FnOnce(&mut Link<D>, &mut Stream<'_, T>) -> R,
) -> R {
    let (link, stream) = s.split();
    let given = f(link, stream);
    let (link, lp) = s.parts();
    link.arm(lp);
    given
}

/// The handler of the sockets.
struct Sockets<A: Asker> {
    shared: Rc<Shared<A>>,
}

impl<T: 'static, A: Asker> Handler<T> for Sockets<A> {
    type Data = Link<A::Data>;

    fn open(&mut self, s: &mut Socket<'_, T, Self::Data>, _: Opened) {
        let (shared, socket) = (Rc::clone(&self.shared), s.id());
        let timer = s.loop_mut().add_idle_timer(move |lp, _| {
            let _ = lp.with_socket(shared.key(), socket, |s| {
                drive(s, |link, stream| {
                    link.armed = None;
                    link.machine.handle_timeout(stream.now());
                    link.settle(&shared, stream);
                });
            });
        });
        let config = self.shared.config;
        let places = usize::from(config.max_outstanding.max(1));
        let link = s.data();
        link.timer = Some(timer);
        // Room for the first and for each further request, besides the received frame.
        let buffer = vec![0; MIN_BUFFER + (places - 1) * MAX_FRAME];
        link.machine = Connection::new(config, buffer, vec![Transaction::EMPTY; places]);
        drive(s, |link, stream| {
            self.shared.asker.borrow_mut().opened(&mut link.line(stream.now(), &[]));
            link.settle(&self.shared, stream);
        });
    }

    fn data(&mut self, s: &mut Socket<'_, T, Self::Data>, bytes: &[u8]) {
        drive(s, |link, stream| link.received(&self.shared, stream, bytes));
    }

    fn writable(&mut self, s: &mut Socket<'_, T, Self::Data>) {
        drive(s, |link, stream| {
            link.transmit = true;
            link.settle(&self.shared, stream);
        });
    }

    fn end(&mut self, s: &mut Socket<'_, T, Self::Data>) {
        drive(s, |link, stream| link.input(&self.shared, stream, Input::PeerClosed));
    }

    fn close(&mut self, lp: &mut LoopMut<'_, T>, closed: Closed<Self::Data>) {
        let (mut link, id) = (closed.data, closed.id);
        if let Some(timer) = link.timer {
            // The timer is this connection's own, and nothing else ends it.
            let _ = lp.close(timer);
        }
        let (input, error) = match closed.reason {
            CloseReason::PeerReset => (Input::PeerReset, None),
            CloseReason::Failed(error) | CloseReason::HandshakeFailed(error) => (Input::PeerReset, Some(error)),
            CloseReason::Peer | CloseReason::Truncated => (Input::PeerClosed, None),
            CloseReason::Local { .. }
            | CloseReason::Aborted
            | CloseReason::Detached
            | CloseReason::HandshakeTimeout
            | CloseReason::LoopEnded => (Input::Abort, None),
        };
        // A machine that has closed by itself refuses the news.
        let _ = link.machine.handle_input(lp.now(), input);
        link.drain(&self.shared, lp.now(), &[]);
        let reason = link.over.unwrap_or(Reason::Aborted);
        let ended = error.map_or(Ended::Closed(reason), Ended::Failed);
        self.shared.asker.borrow_mut().closed(id, link.data, ended);
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_, T>, failed: ConnectFailed<Self::Data>) {
        self.shared.asker.borrow_mut().closed(failed.id, failed.data.data, Ended::NotConnected(failed.error));
    }
}
