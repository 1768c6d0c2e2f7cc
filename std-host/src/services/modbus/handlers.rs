//! Function codes of the user's own, and replies that come later, from any thread.
//!
//! A unit answers each function code by itself, not at all, or by a [`Handler`]: [`Running::set_function`]. A handler
//! that cannot answer at once takes an [`Answerer`] from its [`Call`] and gives it to whoever can.
//!
//! [`Running::set_function`]: super::Running::set_function

use super::event::ConnectionId;
use super::{Device, Handle, Heap, Unit};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wharf_core::modbus::pdu::{Exception, function};
use wharf_core::modbus::service::{self, RequestId};
use wharf_core::modbus::units;

/// The most bytes behind a function code (AP 4.1).
pub(super) const MAX_DATA: usize = 252;

/// A request that a handler is to answer.
#[derive(Debug)]
pub struct Call<'a> {
    /// The unit asked for.
    pub unit: u8,
    /// The function code.
    pub function: u8,
    /// What follows the function code, 0..=252 bytes.
    pub data: &'a [u8],
    /// Whether every unit gets it and nobody is answered.
    pub broadcast: bool,
    /// The connection it came by.
    pub connection: ConnectionId,
    /// The role that the client has shown a certificate for; `None` on plain TCP.
    pub role: Option<&'a str>,
    id: Option<RequestId>,
    home: Option<&'a Handle>,
}

/// What a handler has to say.
#[derive(Debug)]
pub enum Answer {
    /// A normal reply: what follows the function code, at most 252 bytes. More is answered with exception 04, and told by
    /// an event.
    Reply(Vec<u8>),
    /// An exception, 1..=255. 0 is none: it is answered with 04, and told by an event.
    Exception(u8),
    /// Somebody else will answer: see [`Call::later`].
    Later(Later),
    /// Nobody is answered.
    Silent,
}

/// The answer that comes later; made by [`Call::later`].
#[derive(Debug)]
pub struct Later(Arc<AtomicBool>);

/// Answers a function code of one unit, on the thread of the server's loop, and so must not block. A function or closure
/// `FnMut(&Call<'_>, &mut Device) -> Answer` is one.
pub trait Handler: Send {
    /// Answers one request.
    fn call(&mut self, call: &Call<'_>, device: &mut Device) -> Answer;

    /// Whether it takes broadcasts.
    fn takes_broadcasts(&self) -> bool {
        false
    }
}

impl<F: FnMut(&Call<'_>, &mut Device) -> Answer + Send> Handler for F {
    fn call(&mut self, call: &Call<'_>, device: &mut Device) -> Answer {
        self(call, device)
    }
}

impl Call<'_> {
    /// The answer to return now, and what gives the real one, on any thread, within `request_timeout`.
    #[must_use]
    pub fn later(&self) -> (Answer, Answerer) {
        let armed = Arc::new(AtomicBool::new(false));
        let request = self.home.zip(self.id).map(|(home, id)| {
            let Self { unit, function, connection, .. } = *self;
            let request = Request { unit, function, connection, id, armed: Arc::clone(&armed) };
            (home.clone(), request)
        });
        (Answer::Later(Later(armed)), Answerer { request })
    }
}

/// Answers a request that a handler has put off. If it is dropped instead, the client gets exception 04 at once rather
/// than 06 after `request_timeout`.
///
/// An answer that comes too late, to a connection that has ended or to a request that its handler has answered after
/// all is dropped, and counted in `wharf_modbus_late_replies_total`.
pub struct Answerer {
    /// `None` once it has answered, and where nobody waits.
    request: Option<(Handle, Request)>,
}

/// A request that was put off.
pub(super) struct Request {
    pub(super) unit: u8,
    pub(super) function: u8,
    pub(super) connection: ConnectionId,
    pub(super) id: RequestId,
    armed: Arc<AtomicBool>,
}

impl Request {
    /// Whether its handler has really put it off; known on the loop, after the handler's call.
    pub(super) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }
}

/// What an [`Answerer`] has to say.
pub(super) enum Given {
    Reply(Vec<u8>),
    Exception(u8),
    /// Nothing: it was dropped.
    Dropped,
}

impl Answerer {
    /// A normal reply, as [`Answer::Reply`].
    pub fn reply(self, data: impl Into<Vec<u8>>) {
        self.give(Given::Reply(data.into()));
    }

    /// An exception, as [`Answer::Exception`].
    pub fn exception(self, code: u8) {
        self.give(Given::Exception(code));
    }

    fn give(mut self, given: Given) {
        self.send(given);
    }

    fn send(&mut self, given: Given) {
        if let Some((home, request)) = self.request.take() {
            home.defer_always(move |server| server.answer(&request, given));
        }
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.send(Given::Dropped);
    }
}

impl fmt::Debug for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answerer").finish_non_exhaustive()
    }
}

/// Who answers a function code of a unit.
pub enum Function {
    /// Wharf itself; one of the 19 public functions.
    BuiltIn,
    /// Nobody: exception 01.
    Off,
    /// A handler. One for 43 gets every MEI type but 14.
    Handler(Box<dyn Handler>),
}

impl Function {
    /// A handler that is a function or closure.
    pub fn handler(handler: impl Handler + 'static) -> Self {
        Self::Handler(Box::new(handler))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BuiltIn => "BuiltIn",
            Self::Off => "Off",
            Self::Handler(_) => "Handler",
        })
    }
}

/// Why a function code cannot be answered so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FunctionRefused {
    /// 0 and 128..=255 are no function codes.
    Code(u8),
    /// There is no built-in function of this code.
    NoBuiltIn(u8),
    /// There is no such unit.
    NoUnit(u8),
}

impl fmt::Display for FunctionRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code} is no function code: those are 1..=127"),
            Self::NoBuiltIn(code) => write!(f, "there is no built-in function {code}"),
            Self::NoUnit(unit) => write!(f, "there is no unit {unit}"),
        }
    }
}

impl std::error::Error for FunctionRefused {}

/// Says who answers a function code of a unit, from its next request on.
///
/// # Errors
/// When the code is no function code, or has no built-in function.
pub fn set_function(unit: &mut Unit, code: u8, function: Function) -> Result<(), FunctionRefused> {
    if !(1..=127).contains(&code) {
        return Err(FunctionRefused::Code(code));
    }
    if matches!(function, Function::BuiltIn) && !function::PUBLIC.contains(&code) {
        return Err(FunctionRefused::NoBuiltIn(code));
    }
    unit.handlers.retain(|entry| entry.function != code);
    match function {
        Function::BuiltIn => unit.functions = unit.functions.with(code),
        Function::Off => unit.functions = unit.functions.without(code),
        Function::Handler(handler) => {
            unit.handlers.push(units::Registered { function: code, handler: BoxedHandler { handler, home: None } });
        }
    }
    Ok(())
}

/// A [`Handler`] as the core sees it.
pub struct BoxedHandler {
    handler: Box<dyn Handler>,
    /// The server that it belongs to.
    home: Option<Handle>,
}

impl fmt::Debug for BoxedHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedHandler").finish_non_exhaustive()
    }
}

impl BoxedHandler {
    /// It belongs to this server from now on.
    pub(super) fn settle(&mut self, home: &Handle) {
        self.home = Some(home.clone());
    }

    fn complain(&self, call: &units::Call<'_>, wrong: Wrong) {
        let Some(home) = &self.home else { return };
        let message = complaint(call.connection, call.unit, call.function, wrong);
        home.defer_always(move |server| server.handler_failed(message));
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy)]
pub(super) enum Wrong {
    Length(usize),
    Exception,
}

/// What is told of a handler that has given a wrong answer.
pub(super) fn complaint(connection: ConnectionId, unit: u8, function: u8, wrong: Wrong) -> String {
    let what = match wrong {
        Wrong::Length(len) => format!("a reply of {len} bytes, and {MAX_DATA} is the most"),
        Wrong::Exception => "exception 0, which is none".to_owned(),
    };
    format!("handler of unit {unit} function {function} gave connection {connection} {what}; it was answered 04")
}

impl units::Handler<Heap> for BoxedHandler {
    fn call(&mut self, call: &units::Call<'_>, device: &mut Device, reply: &mut [u8]) -> service::Answer {
        let asked = Call {
            unit: call.unit,
            function: call.function,
            data: call.data,
            broadcast: call.broadcast,
            connection: call.connection,
            role: call.role,
            id: call.id,
            home: self.home.as_ref(),
        };
        match self.handler.call(&asked, device) {
            Answer::Reply(data) => match reply.get_mut(..data.len()) {
                Some(room) => {
                    room.copy_from_slice(&data);
                    service::Answer::Reply { len: data.len() }
                }
                None => {
                    self.complain(call, Wrong::Length(data.len()));
                    service::Answer::Exception(Exception::SERVER_DEVICE_FAILURE)
                }
            },
            Answer::Exception(code) => service::Answer::Exception(Exception::new(code).unwrap_or_else(|| {
                self.complain(call, Wrong::Exception);
                Exception::SERVER_DEVICE_FAILURE
            })),
            Answer::Later(Later(armed)) => {
                armed.store(!call.broadcast && call.id.is_some(), Ordering::Release);
                service::Answer::LATER
            }
            Answer::Silent => service::Answer::Silent,
        }
    }

    fn takes_broadcasts(&self) -> bool {
        self.handler.takes_broadcasts()
    }
}
