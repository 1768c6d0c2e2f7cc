//! One unit: its device, what it knows, and what it does with a request.

use super::policies::FunctionSet;
use crate::modbus::authorisation::{AccessRequest, Authorisation};
use crate::modbus::data::{Device, NoHandler, Storage};
use crate::modbus::diagnostics::{Bus, Completion, Diagnostics};
use crate::modbus::execute::{Executed, execute};
use crate::modbus::pdu::{Exception, MEI_DEVICE_IDENTIFICATION, Request, function};
use crate::modbus::service::{Answer, Answerer, Discard, ReplyPdu, RequestId};
use core::time::Duration;

/// A request as a handler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Call<'a> {
    /// The unit asked for.
    pub unit: u8,
    /// The function code.
    pub function: u8,
    /// What follows the function code, 0..=252 bytes.
    pub data: &'a [u8],
    /// Whether every unit gets it and nobody replies.
    pub broadcast: bool,
    /// The connection it came by, as its driver names it.
    pub connection: u64,
    /// The role of the client; `None` is the null role, that of whoever comes without a certificate.
    pub role: Option<&'a str>,
    /// The name to answer by later, where the connection can remember one.
    pub id: Option<RequestId>,
}

impl<'a> Call<'a> {
    /// A request of nobody in particular.
    pub(super) fn of(unit: u8, pdu: &'a [u8]) -> Self {
        let (&function, data) = pdu.split_first().unwrap_or((&0, &[]));
        Self { unit, function, data, broadcast: false, connection: 0, role: None, id: None }
    }

    /// The same request as an authorisation hook sees it, of the unit of this name.
    pub(super) const fn access(&self, name: Option<u8>, pdu: &'a [u8]) -> AccessRequest<'a> {
        let Self { unit: asked, broadcast, connection, role, .. } = *self;
        AccessRequest { role, unit: name, asked, broadcast, connection, pdu }
    }
}

/// Answers a function code in the user's own way. It must not block.
pub trait Handler<S: Storage> {
    /// Answers one request. `reply` takes what follows the function code; with [`Answer::Reply`], `len` counts those
    /// 0..=252 bytes. A greater `len` is answered with exception 04.
    fn call(&mut self, call: &Call<'_>, device: &mut Device<S>, reply: &mut [u8]) -> Answer;

    /// Whether it takes broadcasts.
    fn takes_broadcasts(&self) -> bool {
        false
    }
}

impl<S: Storage> Handler<S> for NoHandler {
    fn call(&mut self, _: &Call<'_>, _: &mut Device<S>, _: &mut [u8]) -> Answer {
        match *self {}
    }
}

/// A handler and the function code that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered<H> {
    /// 1..=127; it goes before the built-in function of that code. One for 43 gets every MEI type but 14.
    pub function: u8,
    /// Who answers.
    pub handler: H,
}

/// One unit of a server.
pub struct Unit<S: Storage> {
    /// Its unit identifier.
    pub id: u8,
    /// A unit that is not enabled is unknown, and keeps its data.
    pub enabled: bool,
    /// Its data.
    pub device: Device<S>,
    /// Its counters and log.
    pub diagnostics: Diagnostics,
    /// The built-in functions that it knows.
    pub functions: FunctionSet,
    /// Whether a client may send it into listen-only mode.
    pub listen_only: bool,
    /// How much later its replies leave. A driver that can delay replies does so; nothing here does.
    pub response_delay: Duration,
    /// Its own functions.
    pub handlers: S::Of<Registered<S::Handler>>,
    /// By which requests that it has put off find it; 0 before the first of them.
    pub(super) serial: u32,
}

/// What a unit needs of the server that it belongs to.
pub(super) struct Common<'c, A> {
    pub(super) bus: &'c Bus,
    /// Those that have been given.
    pub(super) serials: &'c mut u32,
    pub(super) authorisation: Option<&'c mut A>,
    /// What the unit is called: its id, and nothing if it is the default device apart from the units.
    pub(super) name: Option<u8>,
}

impl<S: Storage> core::fmt::Debug for Unit<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unit")
            .field("id", &self.id)
            .field("enabled", &self.enabled)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl<S: Storage<Handler: Handler<S>>> Unit<S> {
    /// An enabled unit that knows every public function and has these handlers.
    #[must_use]
    pub fn new(id: u8, device: Device<S>, handlers: S::Of<Registered<S::Handler>>) -> Self {
        Self {
            id,
            enabled: true,
            device,
            diagnostics: Diagnostics::new(),
            functions: FunctionSet::public(),
            listen_only: true,
            response_delay: Duration::ZERO,
            handlers,
            serial: 0,
        }
    }

    /// Forgets the requests that it has put off: they are still answered, and count for nobody. For a unit that leaves its
    /// server, so that it can join another.
    pub const fn retire(&mut self) {
        self.serial = 0;
        self.diagnostics.forget_deferred();
    }

    /// Takes one request and counts how it ended.
    #[inline]
    pub(super) fn serve(
        &mut self,
        common: Common<'_, S::Authorisation>,
        call: &Call<'_>,
        pdu: &[u8],
        reply: &mut ReplyPdu,
    ) -> Answer {
        let Common { bus, serials, authorisation, name } = common;
        self.diagnostics.received(call.broadcast);
        let listens = self.diagnostics.is_listen_only();
        let passes = !listens || RESTARTS.contains(&pdu);
        let denied = passes && authorisation.is_some_and(|hook| !hook.permits(&call.access(name, pdu)));
        if listens && (denied || !passes) {
            self.diagnostics.completed(call.function, Completion::Ignored);
            return Answer::Discard(Discard::ListenOnly);
        }
        let answer =
            if denied { Answer::Exception(Exception::ILLEGAL_FUNCTION) } else { self.answer(bus, call, pdu, reply) };
        if let Some(completion) = completion(answer, call.broadcast) {
            self.diagnostics.completed(call.function, completion);
            return answer;
        }
        self.diagnostics.deferred();
        if self.serial == 0 {
            *serials = serials.wrapping_add(1).max(1);
            self.serial = *serials;
        }
        Answer::Later(Answerer(self.serial))
    }

    fn answer(&mut self, bus: &Bus, call: &Call<'_>, pdu: &[u8], reply: &mut ReplyPdu) -> Answer {
        if let Some(handler) = handler_for(self.handlers.as_mut(), pdu) {
            return custom(handler, call, &mut self.device, reply);
        }
        let forbidden = !self.listen_only && pdu.starts_with(&FORCE_LISTEN_ONLY);
        if forbidden || !self.functions.contains(call.function) {
            return Answer::Exception(Exception::ILLEGAL_FUNCTION);
        }
        let executed = Request::decode(pdu)
            .and_then(|request| execute(&mut self.device, &mut self.diagnostics, bus, &request, reply));
        match executed {
            Ok(Executed::Reply { len }) => Answer::Reply { len },
            Ok(Executed::Silent) => Answer::Silent,
            Err(exception) => Answer::Exception(exception),
        }
    }

    /// Reads for functions 1..=4 that no handler answers and the authorisation hook permits, and counts nothing.
    pub(super) fn peek(
        &mut self,
        common: Common<'_, S::Authorisation>,
        call: &Call<'_>,
        pdu: &[u8],
        reply: &mut ReplyPdu,
    ) -> Option<usize> {
        let Common { bus, authorisation, name, .. } = common;
        let is_own = matches!(pdu, [1..=4, ..]) && handler_for(self.handlers.as_mut(), pdu).is_none();
        let request = Request::decode(pdu).ok().filter(|_| is_own)?;
        if authorisation.is_some_and(|hook| !hook.permits(&call.access(name, pdu))) {
            return None;
        }
        match execute(&mut self.device, &mut Diagnostics::new(), bus, &request, reply) {
            Ok(Executed::Reply { len }) => Some(len),
            Ok(Executed::Silent) | Err(_) => None,
        }
    }

    pub(super) fn takes_broadcast(&self, pdu: &[u8]) -> bool {
        match self.handlers.as_ref().iter().find(|entry| answers(entry, pdu)) {
            Some(entry) => entry.handler.takes_broadcasts(),
            None => is_write(pdu),
        }
    }
}

/// Function 8, sub-function 1, with the data it takes: the one request that a unit in listen-only mode acts on.
const RESTARTS: [&[u8]; 2] = [&[function::DIAGNOSTICS, 0, 1, 0, 0], &[function::DIAGNOSTICS, 0, 1, 0xFF, 0]];
/// Function 8, sub-function 4.
const FORCE_LISTEN_ONLY: [u8; 3] = [function::DIAGNOSTICS, 0, 4];
/// The built-in functions that make sense for all units at once (SL 2.1): the writes.
const BROADCAST_FUNCTIONS: [u8; 6] = [5, 6, 15, 16, 21, 22];

/// Whether it is one of the built-in functions that make sense for all units at once.
pub(super) fn is_write(pdu: &[u8]) -> bool {
    pdu.first().is_some_and(|code| BROADCAST_FUNCTIONS.contains(code))
}

fn answers<H>(entry: &Registered<H>, pdu: &[u8]) -> bool {
    let identification = pdu.starts_with(&[function::ENCAPSULATED_INTERFACE, MEI_DEVICE_IDENTIFICATION]);
    (1..=127).contains(&entry.function) && pdu.first() == Some(&entry.function) && !identification
}

fn handler_for<'h, H>(handlers: &'h mut [Registered<H>], pdu: &[u8]) -> Option<&'h mut H> {
    handlers.iter_mut().find(|entry| answers(entry, pdu)).map(|entry| &mut entry.handler)
}

fn custom<S: Storage, H: Handler<S> + ?Sized>(
    handler: &mut H,
    call: &Call<'_>,
    device: &mut Device<S>,
    reply: &mut ReplyPdu,
) -> Answer {
    let [code, room @ ..] = reply;
    *code = call.function;
    let longest = room.len();
    match handler.call(call, device, room) {
        Answer::Reply { len } if len > longest => Answer::Exception(Exception::SERVER_DEVICE_FAILURE),
        Answer::Reply { len } => Answer::Reply { len: len.saturating_add(1) },
        Answer::Later(_) if call.broadcast => Answer::Silent,
        Answer::Later(_) if call.id.is_none() => Answer::Exception(Exception::SERVER_DEVICE_BUSY),
        other @ (Answer::Exception(_) | Answer::Later(_) | Answer::Silent | Answer::Discard(_)) => other,
    }
}

/// How a request ended for the counters, or `None` if it has not yet.
fn completion(answer: Answer, broadcast: bool) -> Option<Completion> {
    match answer {
        Answer::Reply { .. } if broadcast => Some(Completion::Silent),
        Answer::Reply { .. } => Some(Completion::Replied),
        Answer::Exception(exception) => Some(Completion::Exception { exception, replied: !broadcast }),
        Answer::Silent => Some(Completion::Silent),
        Answer::Discard(_) => Some(Completion::Ignored),
        Answer::Later(_) => None,
    }
}
