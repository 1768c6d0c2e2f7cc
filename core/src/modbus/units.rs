//! Who answers: the units of a server, and its policies for unit 0, unit 255 and unknown units (MG 4.4.1.2, SL 2.1).
//!
//! [`Units`] is the [`Service`] that most servers want. It routes a request to one unit, to all of them, or to
//! nobody; each [`Unit`] has a device, diagnostics, the functions it knows and handlers for functions of the user's
//! own. What a unit does with a request, in order: count and log it, stay silent in listen-only mode, ask the authorisation
//! hook (01), look the function up (01), decode it (01, 03), execute it.

pub mod changes;
pub mod mirror;
mod policies;
#[cfg(test)]
mod tests;
mod unit;

pub use changes::{Cause, Change, Observer, Place};
pub use mirror::Mirror;
pub use policies::{FunctionSet, Policies, Unit255, UnitZero, UnknownUnit};
pub use unit::{Call, Handler, Registered, Unit};

use super::data::Storage;
use super::diagnostics::{Bus, Completion};
use super::pdu::Exception;
use super::service::{Answer, Answerer, Discard, Indication, ReplyPdu, Service};
use changes::Spot;
use unit::{Common, is_write};

/// The units of a server, over a list in ascending order of id.
pub struct Units<S: Storage> {
    units: S::Of<Unit<S>>,
    own_default: Option<Unit<S>>,
    /// The policies; a change is in force from the next request on.
    pub policies: Policies,
    /// Who may do what, where not everybody may do everything; a change is in force from the next request on.
    pub authorisation: Option<S::Authorisation>,
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
        let authorisation = None;
        Ok(Self { units, own_default, policies, authorisation, bus, serials: 0, mirrors, observed, marking, loose })
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
        Serving { units: self, connection, role: None, observer: None }
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

    #[inline]
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

    /// One unit, and what it needs of the rest.
    #[inline]
    fn split(&mut self, spot: Spot) -> Option<(&mut Unit<S>, Common<'_, S::Authorisation>)> {
        let Self { units, own_default, authorisation, bus, serials, .. } = self;
        let (unit, name) = match spot {
            Spot::Unit(at) => {
                let unit = units.as_mut().get_mut(at)?;
                let id = unit.id;
                (unit, Some(id))
            }
            Spot::Own => (own_default.as_mut()?, None),
        };
        Some((unit, Common { bus, serials, authorisation: authorisation.as_mut(), name }))
    }

    /// Lets one unit serve, and ends that step; `None` if there is no such unit.
    #[inline]
    fn serve(
        &mut self,
        spot: Spot,
        call: &Call<'_>,
        pdu: &[u8],
        out: &mut ReplyPdu,
        observer: &mut dyn Observer,
    ) -> Option<Answer> {
        let (unit, common) = self.split(spot)?;
        let answer = unit.serve(common, call, pdu, out);
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
    role: Option<&'u str>,
    observer: Option<&'u mut dyn Observer>,
}

impl<S: Storage> core::fmt::Debug for Serving<'_, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Serving").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl<'u, S: Storage> Serving<'u, S> {
    /// The client's role, which handlers and the authorisation hook see; `None`, the null role, unless this is called.
    #[must_use]
    pub fn in_role(self, role: Option<&'u str>) -> Self {
        Self { role, ..self }
    }

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
    #[inline]
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        let Self { units, connection, role, observer } = self;
        let mut nobody = ();
        let observer: &mut dyn Observer = match observer {
            Some(observer) => *observer,
            None => &mut nobody,
        };
        units.bus.received();
        if units.loose {
            units.settle(Cause::Api, observer);
        }
        let call = Call { connection: *connection, role: *role, id: request.id, ..Call::of(request.unit, request.pdu) };
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
        let call = Call { connection: self.connection, role: self.role, ..Call::of(unit, pdu) };
        let spot = match self.units.route(unit) {
            Route::Unit(at) => Spot::Unit(at),
            Route::Default => self.units.default_spot()?,
            Route::All { .. } | Route::Refused(_) | Route::Discarded(_) => return None,
        };
        let (unit, common) = self.units.split(spot)?;
        unit.peek(common, &call, pdu, reply)
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
