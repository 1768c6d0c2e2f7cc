//! Who hears of writes.
//!
//! Every successful write to the tables and files of a unit is told once, after the whole request or step that made it:
//! by whoever it was made, and whether anything is different now. Tables and files note their own writes, so nobody who
//! writes can forget to tell. Until somebody observes or a mirror is set, nothing is noted.
//!
//! An application that writes through [`Units::unit_mut`] ends its step with [`Units::settle`]; what it leaves is told,
//! as its own, before the next request.

use super::{Handler, Unit, Units};
use crate::modbus::data::marks::Mark;
use crate::modbus::data::{Storage, TableKind};

/// A write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Change {
    /// The unit; `None` is the default device apart from the units.
    pub unit: Option<u8>,
    /// What was written to.
    pub place: Place,
    /// The first entry.
    pub start: u16,
    /// How many entries, 1..=65536.
    pub len: u32,
    /// Whether any of them is another than before.
    pub changed: bool,
    /// Who did it.
    pub cause: Cause,
}

/// What can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Place {
    /// A table.
    Table(TableKind),
    /// The file of this number.
    File(u16),
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Cause {
    /// A request that came by this connection, as its driver names it.
    Client(u64),
    /// The application.
    Api,
    /// A generator.
    Generator,
    /// A mirror, because its source was written.
    Mirror,
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Table(table) => f.write_str(table.name()),
            Self::File(number) => write!(f, "file {number}"),
        }
    }
}

impl Cause {
    /// The name in events; a client has its connection besides.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Api => "api",
            Self::Generator => "generator",
            Self::Mirror => "mirror",
        }
    }
}

impl core::fmt::Display for Cause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Client(connection) => write!(f, "client({connection})"),
            Self::Api | Self::Generator | Self::Mirror => f.write_str(self.name()),
        }
    }
}

/// Hears of writes. It cannot look at the units meanwhile; they are as the change says.
pub trait Observer {
    /// A write is done.
    fn written(&mut self, change: &Change);
}

impl<F: FnMut(&Change)> Observer for F {
    fn written(&mut self, change: &Change) {
        self(change);
    }
}

/// Nobody.
impl Observer for () {
    fn written(&mut self, _: &Change) {}
}

/// One of the units, by its place.
#[derive(Clone, Copy)]
pub(super) enum Spot {
    /// In the list.
    Unit(usize),
    /// The default device apart from it.
    Own,
}

impl<S: Storage<Handler: Handler<S>>> Units<S> {
    /// Whether writes are noted, for observers. They are in any case while there are mirrors.
    pub fn observe(&mut self, observed: bool) {
        self.observed = observed;
        self.switch_marks();
    }

    /// Ends a step of the application: mirrors follow what was written to any unit since the last step, and `observer`
    /// hears of it.
    pub fn settle(&mut self, cause: Cause, observer: &mut dyn Observer) {
        self.loose = false;
        for at in 0..self.units.as_ref().len() {
            self.settle_at(Spot::Unit(at), cause, observer);
        }
        self.settle_at(Spot::Own, cause, observer);
    }

    /// The same for one unit alone; `None` is the default device apart from the units.
    pub fn settle_unit(&mut self, unit: Option<u8>, cause: Cause, observer: &mut dyn Observer) {
        if let Some(spot) = self.spot(unit) {
            self.settle_at(spot, cause, observer);
        }
    }

    #[inline]
    pub(super) fn settle_at(&mut self, spot: Spot, cause: Cause, observer: &mut dyn Observer) {
        if self.at_mut(spot).is_some_and(|unit| unit.device.is_marked()) {
            self.settle_marked(spot, cause, observer);
        }
    }

    fn settle_marked(&mut self, spot: Spot, cause: Cause, observer: &mut dyn Observer) {
        let Some(unit) = self.at_mut(spot) else { return };
        let device = &mut unit.device;
        let id = match spot {
            Spot::Unit(_) => Some(unit.id),
            Spot::Own => None,
        };
        let tables = TableKind::ALL.map(|table| (table, device.take_marks(table)));
        let files = device.files.marks.take();
        for (table, marks) in tables {
            for mark in marks {
                observer.written(&change(id, Place::Table(table), &mark, cause));
                let end = u32::from(mark.last).saturating_add(1);
                self.follow(id, table, mark.first.into(), end, observer);
            }
        }
        for mark in &files {
            observer.written(&change(id, Place::File(mark.file), mark, cause));
        }
    }

    /// Switches the marks of all units as is needed now.
    pub(super) fn switch_marks(&mut self) {
        self.marking = self.observed || self.has_mirrors();
        let on = self.marking;
        self.units.as_mut().iter_mut().chain(&mut self.own_default).for_each(|unit| unit.device.switch_marks(on));
    }

    pub(super) fn spot(&self, unit: Option<u8>) -> Option<Spot> {
        match unit {
            Some(id) => self.find(id).map(Spot::Unit),
            None => self.own_default.as_ref().map(|_| Spot::Own),
        }
    }

    pub(super) fn at_mut(&mut self, spot: Spot) -> Option<&mut Unit<S>> {
        match spot {
            Spot::Unit(at) => self.units.as_mut().get_mut(at),
            Spot::Own => self.own_default.as_mut(),
        }
    }

    pub(super) fn at(&self, spot: Spot) -> Option<&Unit<S>> {
        match spot {
            Spot::Unit(at) => self.units.as_ref().get(at),
            Spot::Own => self.own_default.as_ref(),
        }
    }
}

fn change(unit: Option<u8>, place: Place, mark: &Mark, cause: Cause) -> Change {
    let len = u32::from(mark.last).saturating_sub(mark.first.into()).saturating_add(1);
    Change { unit, place, start: mark.first, len, changed: mark.changed, cause }
}
