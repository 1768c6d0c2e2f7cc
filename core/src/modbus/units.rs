//! Who answers: the units of a server, and its policies for unit 0, unit 255 and unknown units (MG 4.4.1.2, SL 2.1).
//!
//! [`Units`] is the [`Service`] that most servers want. It routes a request to one unit, to all of them, or to
//! nobody; each [`Unit`] has a device, diagnostics, the functions it knows and handlers for functions of the user's
//! own. What a unit does with a request, in order: count and log it, stay silent in listen-only mode, look the function
//! up (01), decode it (01, 03), execute it.

pub mod changes;
pub mod mirror;
#[cfg(test)]
mod tests;

pub use changes::{Cause, Change, Observer, Place};
pub use mirror::Mirror;

use super::data::{Device, NoHandler, Storage};
use super::diagnostics::{Bus, Completion, Diagnostics};
use super::execute::{Executed, execute};
use super::pdu::{Exception, MEI_DEVICE_IDENTIFICATION, Request, function};
use super::service::{Answer, Answerer, Discard, Indication, ReplyPdu, RequestId, Service};
use changes::Spot;
use core::time::Duration;

/// What unit 0 means (SL 2.1 makes it broadcast, MG 4.4.1.2 the device itself).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UnitZero {
    /// Unit 0 if there is one, else the default device.
    #[default]
    Device,
    /// Writes run on all enabled units and nobody replies; anything else is discarded.
    Broadcast,
    /// The same, and the default device executes and answers, anything else too.
    BroadcastReply,
    /// Everything is discarded.
    Ignore,
}

/// What unit 255 means (MG 4.4.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Unit255 {
    /// Unit 255 if there is one, else the default device.
    #[default]
    Device,
    /// A unit like any other.
    Unit,
    /// Everything is discarded.
    Ignore,
}

/// What happens to a request for a unit that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UnknownUnit {
    /// Exception 0B.
    #[default]
    TargetFailed,
    /// Exception 0A.
    PathUnavailable,
    /// It is discarded.
    Silent,
    /// The default device answers.
    Default,
}

/// The policies of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Policies {
    /// Unit 0.
    pub unit_0: UnitZero,
    /// Unit 255.
    pub unit_255: Unit255,
    /// Units that are not there, or not enabled.
    pub unknown_unit: UnknownUnit,
    /// The unit that is the default device, where the server has none of its own; the lowest unit if absent.
    pub default_unit: Option<u8>,
}

/// A set of function codes 1..=127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FunctionSet([u32; 4]);

impl FunctionSet {
    /// No function.
    pub const EMPTY: Self = Self([0; 4]);

    /// The 19 public functions.
    #[must_use]
    pub fn public() -> Self {
        function::PUBLIC.iter().fold(Self::EMPTY, |set, code| set.with(*code))
    }

    /// The public functions without those that AP titles "serial line only": 7, 8, 11, 12 and 17.
    #[must_use]
    pub fn without_serial() -> Self {
        function::SERIAL.iter().fold(Self::public(), |set, code| set.without(*code))
    }

    /// The set with `code` in it. 0 and 128..=255 are no function codes and leave the set as it is.
    #[must_use]
    pub fn with(mut self, code: u8) -> Self {
        let place = Self::place(code);
        if let Some((word, bit)) = place.and_then(|(word, bit)| Some((self.0.get_mut(word)?, bit))) {
            *word |= bit;
        }
        self
    }

    /// The set without `code`.
    #[must_use]
    pub fn without(mut self, code: u8) -> Self {
        let place = Self::place(code);
        if let Some((word, bit)) = place.and_then(|(word, bit)| Some((self.0.get_mut(word)?, bit))) {
            *word &= !bit;
        }
        self
    }

    /// Whether `code` is in the set.
    #[must_use]
    pub fn contains(&self, code: u8) -> bool {
        Self::place(code).is_some_and(|(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0))
    }

    fn place(code: u8) -> Option<(usize, u32)> {
        (1..=127).contains(&code).then(|| (usize::from(code / 32), 1 << (code % 32)))
    }
}

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
    /// The name to answer by later, where the connection can remember one.
    pub id: Option<RequestId>,
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
    serial: u32,
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

    /// Takes one request and counts how it ended. `serials` are those that have been given.
    fn serve(&mut self, bus: &Bus, serials: &mut u32, call: &Call<'_>, pdu: &[u8], reply: &mut ReplyPdu) -> Answer {
        self.diagnostics.received(call.broadcast);
        if self.diagnostics.is_listen_only() && !RESTARTS.contains(&pdu) {
            self.diagnostics.completed(call.function, Completion::Ignored);
            return Answer::Discard(Discard::ListenOnly);
        }
        let answer = self.answer(bus, call, pdu, reply);
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

    fn takes_broadcast(&self, pdu: &[u8]) -> bool {
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
fn is_write(pdu: &[u8]) -> bool {
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

/// The units of a server, over a list in ascending order of id.
pub struct Units<S: Storage> {
    units: S::Of<Unit<S>>,
    own_default: Option<Unit<S>>,
    /// The policies; a change is in force from the next request on.
    pub policies: Policies,
    bus: Bus,
    /// The last serial that a unit was given.
    serials: u32,
    mirrors: Option<S::Of<Mirror>>,
    /// Somebody wants to hear of writes.
    observed: bool,
    /// Units note what is written to them: somebody wants to hear of it, or there are mirrors.
    marking: bool,
    /// The application has been at a unit since its last step was ended.
    loose: bool,
}

impl<S: Storage> core::fmt::Debug for Units<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Units").field("policies", &self.policies).field("units", &self.units.as_ref()).finish()
    }
}

/// The units are not in ascending order of id, or one id stands twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The second unit of a pair that is out of order.
    Unordered {
        /// Its id.
        id: u8,
    },
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unordered { id } => write!(f, "unit {id} is not above the unit before it"),
        }
    }
}

impl core::error::Error for Error {}

/// Who a request is for.
enum Route {
    /// The unit at this place of the list.
    Unit(usize),
    /// The default device.
    Default,
    /// Every unit; the default device answers if `reply`.
    All { reply: bool },
    /// Nobody, and the client hears of it.
    Refused(Exception),
    /// Nobody, in silence.
    Discarded(Discard),
}

impl<S: Storage<Handler: Handler<S>>> Units<S> {
    /// Units in ascending order of id. `own_default` is a default device apart from them, whose id does not matter.
    ///
    /// # Errors
    /// When the units are not in ascending order.
    pub fn new(units: S::Of<Unit<S>>, own_default: Option<Unit<S>>, policies: Policies) -> Result<Self, Error> {
        ascending(units.as_ref())?;
        let (bus, mirrors, [observed, marking, loose]) = (Bus::default(), None, [false; 3]);
        Ok(Self { units, own_default, policies, bus, serials: 0, mirrors, observed, marking, loose })
    }

    /// The units, in ascending order of id.
    #[must_use]
    pub fn units(&self) -> &[Unit<S>] {
        self.units.as_ref()
    }

    /// The unit with this id, enabled or not.
    #[must_use]
    pub fn unit(&self, id: u8) -> Option<&Unit<S>> {
        self.units.as_ref().get(self.find(id)?)
    }

    /// The unit with this id, enabled or not, to be changed. [`Units::settle`] ends a step of changes.
    pub fn unit_mut(&mut self, id: u8) -> Option<&mut Unit<S>> {
        let at = self.find(id)?;
        self.loose = self.marking;
        self.units.as_mut().get_mut(at)
    }

    /// The default device apart from the units, if the server has one.
    #[must_use]
    pub const fn own_default(&self) -> Option<&Unit<S>> {
        self.own_default.as_ref()
    }

    /// The default device apart from the units, to be changed as a unit is.
    pub const fn own_default_mut(&mut self) -> Option<&mut Unit<S>> {
        self.loose = self.marking;
        self.own_default.as_mut()
    }

    /// The unit that answers at present who asks for this id: that unit or the default device, as the policies say.
    #[must_use]
    pub fn answering(&self, id: u8) -> Option<&Unit<S>> {
        let default = || match (&self.own_default, self.default_place()) {
            (Some(own), _) => Some(own),
            (None, Some(at)) => self.units.as_ref().get(at),
            (None, None) => None,
        };
        match self.route(id) {
            Route::Unit(at) => self.units.as_ref().get(at),
            Route::Default | Route::All { reply: true } => default(),
            Route::All { reply: false } | Route::Refused(_) | Route::Discarded(_) => None,
        }
    }

    /// Replaces the list of units, for storage that can grow; live connections see it with their next request, and mirrors
    /// copy what there is now.
    ///
    /// # Errors
    /// The new list comes back if it is not in ascending order.
    pub fn replace(&mut self, units: S::Of<Unit<S>>) -> Result<S::Of<Unit<S>>, S::Of<Unit<S>>> {
        if ascending(units.as_ref()).is_err() {
            return Err(units);
        }
        let replaced = core::mem::replace(&mut self.units, units);
        self.switch_marks();
        self.copy_all();
        Ok(replaced)
    }

    /// The service for one connection, which `connection` names to handlers.
    pub const fn serving(&mut self, connection: u64) -> Serving<'_, S> {
        Serving { units: self, connection, observer: None }
    }

    /// Counts the end of a request that was answered [`Answer::Later`], for the unit that put it off, whoever has its id
    /// now. That unit may be gone.
    pub fn finished(&mut self, answerer: Answerer, code: u8, completion: Completion) {
        let Answerer(serial) = answerer;
        let mut units = self.units.as_mut().iter_mut().chain(self.own_default.as_mut());
        if let Some(unit) = units.find(|unit| unit.serial == serial && serial != 0) {
            unit.diagnostics.resumed();
            unit.diagnostics.completed(code, completion);
        }
    }

    /// A stream ended inside a frame: the one loss that a connection reports when no service is at hand.
    pub const fn truncated(&mut self) {
        self.bus.lost();
    }

    fn find(&self, id: u8) -> Option<usize> {
        self.units.as_ref().binary_search_by_key(&id, |unit| unit.id).ok()
    }

    /// The place of an enabled unit.
    fn enabled(&self, id: u8) -> Option<usize> {
        self.find(id).filter(|at| self.units.as_ref().get(*at).is_some_and(|unit| unit.enabled))
    }

    /// The place of the unit that serves as default device, where the server has none of its own.
    fn default_place(&self) -> Option<usize> {
        let named = self.policies.default_unit.and_then(|id| self.enabled(id));
        named.or_else(|| self.units.as_ref().iter().position(|unit| unit.enabled))
    }

    fn default_spot(&self) -> Option<Spot> {
        if self.own_default.is_some() { Some(Spot::Own) } else { self.default_place().map(Spot::Unit) }
    }

    fn default_device(&mut self) -> Option<&mut Unit<S>> {
        let spot = self.default_spot()?;
        self.at_mut(spot)
    }

    fn route(&self, id: u8) -> Route {
        let or_default = match (id, self.policies.unit_0, self.policies.unit_255) {
            (0, UnitZero::Broadcast, _) => return Route::All { reply: false },
            (0, UnitZero::BroadcastReply, _) => return Route::All { reply: true },
            (0, UnitZero::Ignore, _) | (255, _, Unit255::Ignore) => return Route::Discarded(Discard::IgnoredUnit),
            (0, UnitZero::Device, _) | (255, _, Unit255::Device) => true,
            _ => self.policies.unknown_unit == UnknownUnit::Default,
        };
        match (self.enabled(id), self.policies.unknown_unit) {
            (Some(at), _) => Route::Unit(at),
            (None, _) if or_default && self.default_spot().is_some() => Route::Default,
            (None, UnknownUnit::Silent) => Route::Discarded(Discard::UnknownUnit),
            (None, UnknownUnit::PathUnavailable) => Route::Refused(Exception::GATEWAY_PATH_UNAVAILABLE),
            (None, UnknownUnit::TargetFailed | UnknownUnit::Default) => {
                Route::Refused(Exception::GATEWAY_TARGET_FAILED)
            }
        }
    }

    /// Lets one unit serve, and ends that step; `None` if there is no such unit.
    fn serve(
        &mut self,
        spot: Spot,
        call: &Call<'_>,
        pdu: &[u8],
        out: &mut ReplyPdu,
        observer: &mut dyn Observer,
    ) -> Option<Answer> {
        let (bus, mut serials) = (self.bus, self.serials);
        let answer = self.at_mut(spot)?.serve(&bus, &mut serials, call, pdu, out);
        self.serials = serials;
        if self.marking {
            self.settle_at(spot, Cause::Client(call.connection), observer);
        }
        Some(answer)
    }

    /// Runs a broadcast on every enabled unit that takes it, and lets the default device answer if `reply`.
    fn broadcast(
        &mut self,
        call: &Call<'_>,
        pdu: &[u8],
        reply: bool,
        out: &mut ReplyPdu,
        observer: &mut dyn Observer,
    ) -> Answer {
        let answering = if reply && self.own_default.is_none() { self.default_place() } else { None };
        // With nobody there a write has still run on every unit.
        let mut taken = !self.units.as_ref().iter().any(|unit| unit.enabled) && is_write(pdu);
        for at in 0..self.units.as_ref().len() {
            let takes = self.units.as_ref().get(at).is_some_and(|unit| unit.enabled && unit.takes_broadcast(pdu));
            if Some(at) != answering && takes {
                taken = true;
                let _unsent = self.serve(Spot::Unit(at), &Call { broadcast: true, ..*call }, pdu, out, observer);
            }
        }
        match self.default_spot() {
            Some(spot) if reply => self.serve(spot, call, pdu, out, observer).unwrap_or(NOBODY),
            _ if taken => Answer::Silent,
            _ => Answer::Discard(Discard::BroadcastRead),
        }
    }
}

/// What a client hears where nobody is left to answer.
const NOBODY: Answer = Answer::Exception(Exception::GATEWAY_TARGET_FAILED);

fn ascending<S: Storage>(units: &[Unit<S>]) -> Result<(), Error> {
    let mut last = None;
    for unit in units {
        if last.is_some_and(|last| unit.id <= last) {
            return Err(Error::Unordered { id: unit.id });
        }
        last = Some(unit.id);
    }
    Ok(())
}

/// The units at the service of one connection, for the length of one input.
pub struct Serving<'u, S: Storage> {
    units: &'u mut Units<S>,
    connection: u64,
    observer: Option<&'u mut dyn Observer>,
}

impl<S: Storage> core::fmt::Debug for Serving<'_, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Serving").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl<'u, S: Storage> Serving<'u, S> {
    /// Has `observer` hear of what requests write, if [`Units::observe`] says that somebody wants to.
    #[must_use]
    pub fn observed(self, observer: &'u mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }
}

impl<S: Storage<Handler: Handler<S>>> Serving<'_, S> {
    /// Counts a request that ended before its unit saw it.
    fn unserved(&mut self, request: &Indication<'_>, completion: Completion) {
        self.units.bus.received();
        let unit = match self.units.route(request.unit) {
            Route::Unit(at) => self.units.units.as_mut().get_mut(at),
            Route::Default => self.units.default_device(),
            Route::All { .. } | Route::Refused(_) | Route::Discarded(_) => None,
        };
        if let Some(unit) = unit {
            unit.diagnostics.received(false);
            unit.diagnostics.completed(request.function(), completion);
        }
    }
}

impl<S: Storage<Handler: Handler<S>>> Service for Serving<'_, S> {
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        let Self { units, connection, observer } = self;
        let mut nobody = ();
        let observer: &mut dyn Observer = match observer {
            Some(observer) => *observer,
            None => &mut nobody,
        };
        units.bus.received();
        if units.loose {
            units.settle(Cause::Api, observer);
        }
        let (&function, data) = request.pdu.split_first().unwrap_or((&0, &[]));
        let call =
            Call { unit: request.unit, function, data, broadcast: false, connection: *connection, id: request.id };
        let spot = match units.route(request.unit) {
            Route::Unit(at) => Some(Spot::Unit(at)),
            Route::Default => units.default_spot(),
            Route::All { reply: answered } => {
                return units.broadcast(&call, request.pdu, answered, reply, observer);
            }
            Route::Refused(exception) => return Answer::Exception(exception),
            Route::Discarded(reason) => return Answer::Discard(reason),
        };
        spot.and_then(|spot| units.serve(spot, &call, request.pdu, reply, observer)).unwrap_or(NOBODY)
    }

    fn refused(&mut self, request: &Indication<'_>, exception: Exception) {
        self.unserved(request, Completion::Exception { exception, replied: true });
    }

    fn peek(&mut self, unit: u8, pdu: &[u8], reply: &mut ReplyPdu) -> Option<usize> {
        let reads = matches!(pdu, [1..=4, ..]);
        let request = Request::decode(pdu).ok().filter(|_| reads)?;
        let bus = self.units.bus;
        let unit = match self.units.route(unit) {
            Route::Unit(at) => self.units.units.as_mut().get_mut(at)?,
            Route::Default => self.units.default_device()?,
            Route::All { .. } | Route::Refused(_) | Route::Discarded(_) => return None,
        };
        if handler_for(unit.handlers.as_mut(), pdu).is_some() {
            return None;
        }
        match execute(&mut unit.device, &mut Diagnostics::new(), &bus, &request, reply) {
            Ok(Executed::Reply { len }) => Some(len),
            Ok(Executed::Silent) | Err(_) => None,
        }
    }

    fn prevented(&mut self, request: &Indication<'_>, exception: Option<Exception>) {
        let told = exception.map(|exception| Completion::Exception { exception, replied: true });
        self.unserved(request, told.unwrap_or(Completion::Ignored));
    }

    fn discarded(&mut self, reason: Discard) {
        match reason {
            Discard::ProtocolId | Discard::LengthShort | Discard::LengthLong => self.units.bus.lost(),
            Discard::Truncated
            | Discard::FrameTimeout
            | Discard::UnknownUnit
            | Discard::IgnoredUnit
            | Discard::BroadcastRead
            | Discard::ListenOnly
            | Discard::Held
            | Discard::Draining => {}
        }
    }
}
