//! One conversation with a server: a client connection on a loop of its own, and a thread that waits for each answer.
//!
//! It belongs to the command line alone. It asks one thing at a time; so whatever comes and is no answer to that breaks the
//! protocol, and after any failure but an exception the connection is dropped.

use super::interrupts::Interrupts;
use super::target::Host;
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::modbus::client::{Config, Discard, Done, Outcome, Reason};
use wharf_core::modbus::mbap::{HEADER_LEN, MAX_PDU};
use wharf_core::modbus::pdu::{Exception, Reply, Request};
use wharf_host::event_loop::{Error, Loop, LoopOptions, SocketId};
use wharf_host::services::modbus_client::{Asker, Clients, Ended, Line};

/// Why there is no normal reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// No connection, or it ended before a byte of the reply came.
    Connect(String),
    /// The time was over.
    Timeout,
    /// The server answered with an exception.
    Exception(Exception),
    /// What came is no reply to the request.
    Protocol {
        /// What is wrong with it.
        why: String,
        /// What came.
        bytes: Vec<u8>,
    },
    /// The user wants no more.
    Interrupted,
}

/// One request at a time has its timeout, and nothing is asked twice on one connection.
const CONFIG: Config = Config { max_outstanding: 1, frame_timeout: Duration::ZERO };

/// A loop for one command, which nobody watches for slow callbacks.
pub(super) fn new_loop() -> Result<Loop, Error> {
    Loop::with_options((), LoopOptions { slow_callback: Duration::MAX, ..LoopOptions::default() })
}

/// A server to talk to, connected or not.
pub(super) struct Session {
    lp: Loop,
    clients: Clients<Listener>,
    host: Host,
    timeout: Option<Duration>,
    id: Option<SocketId>,
    interrupts: Interrupts,
    /// From each request to its reply, summed.
    round_trip: Duration,
    /// The frame of the last reply.
    reply: Vec<u8>,
}

/// Writes down what happens.
#[derive(Default)]
struct Listener {
    /// The connection that matters; what an earlier one still has to say does not.
    id: Option<SocketId>,
    opened: bool,
    answer: Option<Result<(), NoReply>>,
    /// The frame of the last normal reply.
    frame: Vec<u8>,
    /// Why the connection has ended.
    ended: Option<String>,
    round_trip: Duration,
}

impl Asker for Listener {
    type Data = ();

    fn opened(&mut self, _: &mut Line<'_, ()>) {
        self.opened = true;
    }

    fn done(&mut self, line: &mut Line<'_, ()>, done: &Done) {
        self.round_trip = Duration::from_micros(done.micros.into());
        let (frame, rest) = (line.frame(), line.rest());
        let broken = |why: String| NoReply::Protocol { why, bytes: [frame, rest].concat() };
        let too_many = || (!rest.is_empty()).then(|| broken(format!("{} bytes too many", rest.len())));
        let answer = match done.outcome {
            Outcome::Reply => too_many().map_or(Ok(()), Err),
            Outcome::Exception(exception) => Err(too_many().unwrap_or(NoReply::Exception(exception))),
            Outcome::Timeout => Err(NoReply::Timeout),
            Outcome::Broken(breach) => Err(broken(breach.to_string())),
            Outcome::Lost(Reason::Truncated | Reason::FrameTimeout) => {
                Err(broken("the connection ended inside the reply".to_owned()))
            }
            Outcome::Lost(Reason::BadFrame(error)) => Err(broken(error.to_string())),
            Outcome::Lost(Reason::PeerClosed) => {
                Err(NoReply::Connect("the server closed the connection without a reply".to_owned()))
            }
            Outcome::Lost(reason @ (Reason::PeerReset | Reason::Finished | Reason::Aborted)) => {
                Err(NoReply::Connect(format!("the connection failed: {reason}")))
            }
        };
        self.frame = frame.to_vec();
        // What was found first stays: after that nothing is to be believed.
        self.answer.get_or_insert(answer);
    }

    fn discarded(&mut self, line: &mut Line<'_, ()>, reason: Discard, transaction: u16) {
        let why = match reason {
            Discard::Late if transaction == line.last_transaction() => {
                format!("a second reply under transaction id {transaction}")
            }
            Discard::Late | Discard::Unsolicited => {
                format!("transaction id {transaction} instead of {}", line.last_transaction())
            }
            Discard::ProtocolId { protocol } => format!("protocol id {protocol} instead of 0"),
        };
        let bytes = line.frame().to_vec();
        self.answer.get_or_insert(Err(NoReply::Protocol { why, bytes }));
    }

    fn closed(&mut self, id: SocketId, (): (), ended: Ended) {
        let why = match ended {
            Ended::NotConnected(error) => format!("cannot {error}"),
            Ended::Closed(reason) => reason.to_string(),
            Ended::Failed(error) => format!("the connection failed: {error}"),
        };
        if self.id == Some(id) {
            self.ended = Some(why);
        }
    }
}

impl Session {
    /// Nothing is connected yet. With `interruptible`, SIGINT and SIGTERM end a wait rather than the process.
    pub(super) fn new(host: &Host, timeout: Option<Duration>, interruptible: bool) -> Result<Self, Error> {
        let mut lp = new_loop()?;
        let clients = Clients::new(&mut lp.loop_mut(), CONFIG, Listener::default());
        let interrupts = if interruptible { Interrupts::watch(&mut lp.loop_mut())? } else { Interrupts::default() };
        let host = host.clone();
        Ok(Self { lp, clients, host, timeout, id: None, interrupts, round_trip: Duration::ZERO, reply: Vec::new() })
    }

    /// Whether there was a connection when it was last used, and nothing is known of its end.
    pub(super) fn is_connected(&mut self) -> bool {
        self.forget_ended();
        self.id.is_some()
    }

    /// Why the connection has ended since it was last used, if it has.
    pub(super) fn lost(&mut self) -> Option<String> {
        // A loop that cannot look around fails the next request with its reason.
        let _ = self.glance();
        self.forget_ended()
    }

    /// Whether the user wants no more.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupts.any()
    }

    /// The time spent waiting for replies since it was last asked for.
    pub(super) fn take_round_trip(&mut self) -> Duration {
        std::mem::take(&mut self.round_trip)
    }

    /// Connects, if need be.
    pub(super) fn connect(&mut self) -> Result<(), NoReply> {
        self.glance()?;
        if self.is_connected() {
            return Ok(());
        }
        *self.clients.asker() = Listener::default();
        let to = (self.host.name.as_str(), self.host.port);
        let begun = self.clients.connect(&mut self.lp.loop_mut(), to, (), self.timeout);
        let id = begun.map_err(|error| NoReply::Connect(format!("cannot {error}")))?;
        self.id = Some(id);
        self.clients.asker().id = Some(id);
        self.run_until(|listener| listener.opened || listener.ended.is_some())?;
        self.forget_ended().map_or(Ok(()), |why| Err(NoReply::Connect(why)))
    }

    /// Drops the connection, if there is one.
    pub(super) fn disconnect(&mut self) {
        if let Some(id) = self.id.take() {
            self.clients.asker().id = None;
            self.clients.abort(&mut self.lp.loop_mut(), id);
        }
    }

    /// Sends `request` to `unit` over the connection that there is, waits for its reply, and returns it.
    pub(super) fn ask(&mut self, unit: u8, request: &Request<'_>) -> Result<Reply<'_>, NoReply> {
        let mut pdu = [0; MAX_PDU];
        let len = request.encode(&mut pdu).expect("253 bytes hold every request that is in bounds");
        let timeout = self.timeout.unwrap_or_default();
        self.glance()?;
        let lost = || NoReply::Connect("the connection is closed".to_owned());
        let id = self.id.ok_or_else(lost)?;
        let asked = self.clients.with(&mut self.lp.loop_mut(), id, |line| line.ask(0, unit, &pdu[..len], timeout, 0));
        if !matches!(asked, Ok(Ok(()))) {
            let why = self.forget_ended();
            return Err(why.map_or_else(lost, NoReply::Connect));
        }
        self.run_until(|listener| listener.answer.is_some())?;
        let listener = &mut *self.clients.asker();
        self.round_trip += listener.round_trip;
        listener.answer.take().unwrap_or(Err(NoReply::Timeout))?;
        self.reply.clone_from(&listener.frame);
        let reply = Reply::decode(request, self.reply.get(HEADER_LEN..).unwrap_or_default());
        Ok(reply.expect("the machine has decoded it as the reply to this request"))
    }

    /// Waits, with an eye on the connection, until `due` on the loop's clock or until the user wants no more.
    pub(super) fn wait_until(&mut self, due: Instant) -> Result<(), Error> {
        loop {
            let left = due.saturating_duration_since(self.lp.loop_mut().now());
            if left.is_zero() || self.is_interrupted() {
                return Ok(());
            }
            self.lp.turn(Some(left))?;
        }
    }

    /// The loop's clock, as of now.
    pub(super) fn now(&mut self) -> Result<Instant, Error> {
        self.lp.turn(Some(Duration::ZERO))?;
        Ok(self.lp.loop_mut().now())
    }

    /// Looks what has happened meanwhile, and what time it is.
    fn glance(&mut self) -> Result<(), NoReply> {
        self.now().map(drop).map_err(|error| NoReply::Connect(error.to_string()))
    }

    fn run_until(&mut self, over: impl Fn(&Listener) -> bool) -> Result<(), NoReply> {
        let (clients, interrupts) = (&self.clients, &self.interrupts);
        let ran = self.lp.run_until(|_| over(&clients.asker()) || interrupts.any());
        match ran {
            Ok(_) if self.is_interrupted() => Err(NoReply::Interrupted),
            Ok(_) => Ok(()),
            Err(error) => Err(NoReply::Connect(error.to_string())),
        }
    }

    /// Lets go of a connection that has ended, and says why it has.
    fn forget_ended(&mut self) -> Option<String> {
        let why = self.clients.asker().ended.take()?;
        self.id = None;
        Some(why)
    }
}
