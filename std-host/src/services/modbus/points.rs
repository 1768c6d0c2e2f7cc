//! Values of a running server by name or address: read, set, put back to what they began as.
//!
//! What the plant says of its data stays known here, apart from the data: where points are, and what blocks and points
//! begin with. It goes by unit id. A unit that is taken out leaves its points without a place, and one that takes its
//! place gets them.

use super::device::{SEED_OF_DEFAULT, fill};
use super::generators::Made;
use super::running::Running;
use super::{Heap, Unit};
use crate::config::modbus as plant;
use crate::config::modbus::point::{Address, Datum, Generator};
use std::fmt;
use wharf_core::modbus::data::point::MAX_TEXT_BYTES;
use wharf_core::modbus::data::{Device, Point, PointError, PointType, TableKind};
use wharf_core::modbus::typed::{Order, Type};
use wharf_core::modbus::units::mirror::Side;
use wharf_core::modbus::units::{Cause, Mirror, Units};

/// How to take the entries at an address; points have a type of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// `bool` for bits and else `u16`, unless given.
    pub kind: Option<PointType>,
    /// `abcd`, unless given.
    pub order: Option<Order>,
    /// For a `bool` in a register.
    pub bit: Option<u8>,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The name, if it is a point.
    pub name: Option<String>,
    /// The unit; `None` is the default device of its own.
    pub unit: Option<u8>,
    /// Where, and of which type.
    pub at: Point,
    /// The value.
    pub value: Datum,
}

/// Why a value cannot be read or written. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It is no address and no point of the plant has this name.
    Unknown(String),
    /// There is no such unit.
    NoUnit(Option<u8>),
    /// No block of the plant is there.
    NoBlock(String),
    /// A point has a type, an order and a bit of its own.
    TypeOfPoint(String),
    /// What is there does not fit.
    Point(PointError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => write!(f, "{text:?} is no point, and no unit/table/address such as 1/holding/40"),
            Self::NoUnit(Some(unit)) => write!(f, "there is no unit {unit}"),
            Self::NoUnit(None) => f.write_str("there is no default device of its own"),
            Self::NoBlock(text) => write!(f, "no block of the plant is at {text}"),
            Self::TypeOfPoint(name) => write!(f, "the point {name} has a type, an order and a bit of its own"),
            Self::Point(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<PointError> for Refused {
    fn from(error: PointError) -> Self {
        Self::Point(error)
    }
}

/// What the plant says of the data of a server.
#[derive(Debug, Default)]
pub(super) struct Points {
    pub(super) devices: Vec<Described>,
}

/// What it says of one device.
#[derive(Debug)]
pub(super) struct Described {
    /// `None` is the default device of its own.
    pub(super) unit: Option<u8>,
    blocks: Vec<plant::Block>,
    /// For blocks of random values without a seed.
    seed: u64,
    pub(super) points: Vec<Known>,
}

/// A point and what it begins with.
#[derive(Debug)]
pub(super) struct Known {
    name: String,
    pub(super) at: Point,
    value: Option<Datum>,
    pub(super) made: Option<Made>,
    /// What it copies, and how many entries of that.
    mirror: Option<(Address, u32)>,
}

impl Points {
    pub(super) fn new(server: &plant::Server) -> Self {
        let units = server.units.iter().map(|unit| (Some(unit.id), &unit.device, unit.id.into()));
        let own = match &server.default_device {
            plant::DefaultDevice::Own(device) => Some((None, &**device, SEED_OF_DEFAULT)),
            plant::DefaultDevice::LowestUnit | plant::DefaultDevice::Unit(_) => None,
        };
        let described = |(unit, device, salt): (_, &plant::Device, u64)| Described {
            unit,
            blocks: device.blocks.clone(),
            seed: server.seed.wrapping_add(salt),
            points: device.points.iter().map(|point| Known::new(point, server.seed)).collect(),
        };
        Self { devices: units.chain(own).map(described).collect() }
    }

    /// Writes what every point begins with.
    pub(super) fn begin(&mut self, units: &mut Units<Heap>) {
        for described in &mut self.devices {
            if let Some(unit) = unit_mut(units, described.unit) {
                described.points.iter_mut().for_each(|point| point.begin(&mut unit.device));
            }
        }
    }

    /// What copies what.
    pub(super) fn mirrors(&self) -> Vec<Mirror> {
        let points = self.devices.iter().flat_map(|device| device.points.iter().map(move |point| (device.unit, point)));
        let mirror = |(unit, point): (_, &Known)| {
            let (source, len) = point.mirror?;
            let source = Side { unit: source.unit, table: source.table.into(), start: source.address };
            let copy = Side { unit, table: point.at.table(), start: point.at.address() };
            Some(Mirror { source, copy, len })
        };
        points.filter_map(mirror).collect()
    }

    fn named(&self, name: &str) -> Option<(&Described, &Known)> {
        let points = self.devices.iter().flat_map(|device| device.points.iter().map(move |point| (device, point)));
        points.into_iter().find(|(_, point)| point.name == name)
    }

    /// Where a value is: the unit, the place, and the name of the point if it is one.
    fn find(&self, target: &str, typed: Typed) -> Result<(Option<u8>, Point, Option<String>), Refused> {
        if let Some((device, point)) = self.named(target) {
            if typed != Typed::default() {
                return Err(Refused::TypeOfPoint(point.name.clone()));
            }
            return Ok((device.unit, point.at, Some(point.name.clone())));
        }
        let Some(address) = Address::parse(target) else { return Err(Refused::Unknown(target.to_owned())) };
        let bits = address.table.is_bits() || typed.bit.is_some();
        let kind = typed.kind.unwrap_or(if bits { PointType::Bool } else { PointType::Number(Type::U16) });
        let order = typed.order.unwrap_or_default();
        let at = Point::new(address.table.into(), address.address, kind, order, typed.bit)?;
        Ok((address.unit, at, None))
    }

    /// Puts entries of a device back to what they began as; how many.
    fn reset(&mut self, units: &mut Units<Heap>, scope: &Scope) -> Result<u64, Refused> {
        let mut entries = 0;
        for described in self.devices.iter_mut().filter(|described| scope.has_unit(described.unit)) {
            let Some(unit) = unit_mut(units, described.unit) else { continue };
            for block in described.blocks.iter().filter(|block| scope.touches(block)) {
                let begin = u32::from(block.start);
                let (first, end) = scope.part(begin, begin + block.len);
                let values = fill(block, described.seed);
                put(&mut unit.device, block.table, first, &values[(first - begin) as usize..(end - begin) as usize]);
                entries += u64::from(end - first);
            }
            for point in described.points.iter_mut().filter(|point| scope.has_point(&point.at)) {
                point.begin(&mut unit.device);
            }
        }
        // A copy is what its source is, not what its block began as.
        units.copy_all();
        Ok(entries)
    }

    /// What a text asks to be reset.
    fn scope(&self, what: Option<&str>) -> Result<Scope, Refused> {
        let Some(what) = what else { return Ok(Scope::All) };
        if let Some((device, point)) = self.named(what) {
            let first = u32::from(point.at.address());
            let span = Some((first, first + u32::from(point.at.len())));
            return Ok(Scope::Of { unit: device.unit, table: Some(point.at.table()), span });
        }
        if let Some(address) = Address::parse(what) {
            let described = self.devices.iter().find(|device| device.unit == address.unit);
            let blocks = described.ok_or(Refused::NoUnit(address.unit))?.blocks.iter();
            let at = u32::from(address.address);
            let mut blocks = blocks.filter(|block| block.table == address.table);
            let around = |block: &&plant::Block| {
                let begin = u32::from(block.start);
                (begin..begin + block.len).contains(&at)
            };
            let block = blocks.find(around).ok_or_else(|| Refused::NoBlock(what.to_owned()))?;
            let begin = u32::from(block.start);
            let span = Some((begin, begin + block.len));
            return Ok(Scope::Of { unit: address.unit, table: Some(address.table.into()), span });
        }
        // A whole unit, or a table of one, is like an address without its end.
        let whole = [format!("{what}/coils/0"), format!("{what}/0")];
        let Some(address) = whole.iter().find_map(|text| Address::parse(text)) else {
            return Err(Refused::Unknown(what.to_owned()));
        };
        if !self.devices.iter().any(|device| device.unit == address.unit) {
            return Err(Refused::NoUnit(address.unit));
        }
        let table = what.contains('/').then(|| address.table.into());
        Ok(Scope::Of { unit: address.unit, table, span: None })
    }
}

impl Known {
    fn new(point: &plant::Point, seed: u64) -> Self {
        let at = Point::new(point.table.into(), point.address, point.kind, point.order, point.bit);
        let (made, mirror) = match &point.generator {
            Some(Generator::Every { every, values }) => (Some(Made::new(*every, values, point, seed)), None),
            Some(Generator::Mirror { source, len }) => (None, Some((*source, *len))),
            None => (None, None),
        };
        Self {
            name: point.name.clone(),
            at: at.expect("the plant was checked when it was read"),
            value: point.value.clone(),
            made,
            mirror,
        }
    }

    /// Writes what it begins with: its value, or else the first that is made up.
    fn begin(&mut self, device: &mut Device<Heap>) {
        match (&self.value, &mut self.made) {
            (Some(value), _) => write(device, &self.at, value.into()),
            (None, Some(made)) => made.write(device, &self.at, 0),
            (None, None) => {}
        }
    }
}

/// Writes a point whose unit may have been exchanged for one without its addresses: then it rests.
pub(super) fn write(device: &mut Device<Heap>, at: &Point, datum: wharf_core::modbus::data::Datum<'_>) {
    if let Err(error) = device.write_point(at, datum) {
        tracing::debug!("{:?} {}: {error}", at.table(), at.address());
    }
}

/// What is to be reset.
enum Scope {
    All,
    Of { unit: Option<u8>, table: Option<TableKind>, span: Option<(u32, u32)> },
}

impl Scope {
    fn has_unit(&self, id: Option<u8>) -> bool {
        match self {
            Self::All => true,
            Self::Of { unit, .. } => *unit == id,
        }
    }

    /// The part of `first..end` that is to be reset, empty if none is.
    fn part(&self, first: u32, end: u32) -> (u32, u32) {
        match self {
            Self::All | Self::Of { span: None, .. } => (first, end),
            Self::Of { span: Some((begin, stop)), .. } => (first.max(*begin), end.min(*stop)),
        }
    }

    fn has_table(&self, kind: TableKind) -> bool {
        match self {
            Self::All | Self::Of { table: None, .. } => true,
            Self::Of { table: Some(table), .. } => *table == kind,
        }
    }

    fn touches(&self, block: &plant::Block) -> bool {
        let begin = u32::from(block.start);
        let (first, end) = self.part(begin, begin + block.len);
        self.has_table(block.table.into()) && first < end
    }

    fn has_point(&self, at: &Point) -> bool {
        let begin = u32::from(at.address());
        let (first, end) = self.part(begin, begin + u32::from(at.len()));
        self.has_table(at.table()) && first < end
    }
}

/// Writes consecutive entries of a table, whatever clients may do there.
fn put(device: &mut Device<Heap>, table: plant::Table, first: u32, values: &[u16]) {
    const AT_ONCE: usize = 1 << 12;
    for (start, values) in (first..).step_by(AT_ONCE).zip(values.chunks(AT_ONCE)) {
        let start = u16::try_from(start).expect("a block ends at address 65535 or before");
        // Addresses of a unit that has taken the place of the plant's own may be absent.
        let _there = match table {
            plant::Table::Coils => bits(start, values).all(|(at, bit)| device.coils.set_bit(at, bit)),
            plant::Table::Discrete => bits(start, values).all(|(at, bit)| device.discrete.set_bit(at, bit)),
            plant::Table::Input => device.input.store(start, values),
            plant::Table::Holding => device.holding.store(start, values),
        };
    }
}

fn bits(start: u16, values: &[u16]) -> impl Iterator<Item = (u16, bool)> {
    (start..=u16::MAX).zip(values).map(|(address, value)| (address, *value != 0))
}

/// The unit of an id, or the default device of its own.
pub(super) fn unit_mut(units: &mut Units<Heap>, id: Option<u8>) -> Option<&mut Unit> {
    match id {
        Some(id) => units.unit_mut(id),
        None => units.own_default_mut(),
    }
}

impl Running<'_> {
    /// Reads a value. `target` is the name of a point, or `unit/table/address`, where the unit may be `default`.
    ///
    /// # Errors
    /// When there is no such thing, or what is there is not of this type.
    pub fn get(&self, target: &str, typed: Typed) -> Result<Reading, Refused> {
        let shared = self.shared();
        let (unit, at, name) = shared.points.borrow().find(target, typed)?;
        let units = shared.units.borrow();
        let found = match unit {
            Some(id) => units.unit(id),
            None => units.own_default(),
        };
        let device = &found.ok_or(Refused::NoUnit(unit))?.device;
        let mut text = [0; MAX_TEXT_BYTES];
        let value = device.read_point(&at, &mut text)?.into();
        Ok(Reading { name, unit, at, value })
    }

    /// Writes a value, which is given as text, in one step, and returns what there is now. What clients may do there does
    /// not matter.
    ///
    /// # Errors
    /// When there is no such thing, or the value does not fit. Nothing has changed then.
    pub fn set(&mut self, target: &str, typed: Typed, value: &str) -> Result<Reading, Refused> {
        let shared = self.shared();
        let (unit, at, _) = shared.points.borrow().find(target, typed)?;
        let datum = Datum::parse(at.kind(), value).ok_or(PointError::NotA(at.kind()))?;
        shared.step(Cause::Api, |units| {
            let found = unit_mut(units, unit).ok_or(Refused::NoUnit(unit))?;
            found.device.write_point(&at, (&datum).into()).map_err(Refused::Point)
        })?;
        self.get(target, typed)
    }

    /// Puts data back to what the plant says they begin as, points included, and returns how many entries there are. `what`
    /// is the name of a point, `unit/table/address` for the block around it, `unit/table`, `unit`, or nothing for all.
    /// Files, queues and identity stay as they are.
    ///
    /// # Errors
    /// When there is no such thing in the plant.
    pub fn reset(&mut self, what: Option<&str>) -> Result<u64, Refused> {
        let shared = self.shared();
        let scope = shared.points.borrow().scope(what)?;
        shared.step(Cause::Api, |units| shared.points.borrow_mut().reset(units, &scope))
    }

    /// The names of all points, in order of the plant.
    #[must_use]
    pub fn points(&self) -> Vec<String> {
        let points = self.shared().points.borrow();
        points.devices.iter().flat_map(|device| &device.points).map(|point| point.name.clone()).collect()
    }
}
