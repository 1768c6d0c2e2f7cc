//! Reads the points of a device from a plant file.

use super::{Address, Datum, Generator, Number, Point, Real, Values, limits};
use crate::config::error::Kind;
use crate::config::modbus::read::{seed, table};
use crate::config::modbus::{Block, DefaultDevice, Device, Table, Unit};
use crate::config::reader::{Item, Reader, Seen};
use std::time::Duration;
use wharf_core::modbus::data::{PointType, generator::Wrap};
use wharf_core::modbus::typed::{self, Order, Type};

/// What `type` may be.
const TYPES: &str = "\"u16\", \"i16\", \"u32\", \"i32\", \"f32\", \"u64\", \"i64\", \"f64\", \"string(N)\" of 1 to 125 registers, \"bool\"";
/// What `source` may be.
const SOURCE: &str = "\"unit/table/address\", such as \"1/input/0\"";
/// The shortest time between two values.
const SHORTEST: Duration = Duration::from_millis(1);
const GREATEST_MODULO: i128 = i64::MAX as i128;

/// What the points of one server have to agree on.
#[derive(Debug)]
pub(in crate::config::modbus) struct Points<'a> {
    names: Seen<String>,
    mirrors: Vec<Mirror<'a>>,
}

/// A mirror whose source is looked for when all units are known.
#[derive(Debug)]
struct Mirror<'a> {
    source: Item<'a>,
    unit: Option<u8>,
    table: Table,
    address: u16,
    from: Address,
    len: u32,
}

impl<'a> Points<'a> {
    pub(in crate::config::modbus) const fn new() -> Self {
        Self { names: Seen::new("a name that is unique among the points of the server"), mirrors: Vec::new() }
    }

    /// The points of a device: `unit` is what mirrors know it by, `None` the default device of its own. Without sound
    /// `blocks` it is not judged whether addresses exist.
    pub(in crate::config::modbus) fn read(
        &mut self,
        item: &Item<'a>,
        unit: Option<u8>,
        blocks: Option<&[Block]>,
    ) -> Option<Vec<Point>> {
        let mut place = Place { points: self, unit, blocks, taken: Vec::new() };
        item.each("a list of tables", |item| item.table(|r| place.point(r)).flatten())
    }

    /// Whether the sources of all mirrors exist, and are not themselves mirrors.
    pub(in crate::config::modbus) fn check_mirrors(&self, units: &[Unit], default: &DefaultDevice) {
        for mirror in &self.mirrors {
            let (from, len) = (mirror.from, mirror.len);
            let device: Option<&Device> = match (from.unit, default) {
                (Some(id), _) => units.iter().find(|unit| unit.id == id).map(|unit| &unit.device),
                (None, DefaultDevice::Own(own)) => Some(own),
                (None, DefaultDevice::LowestUnit | DefaultDevice::Unit(_)) => None,
            };
            let (first, end) = (u32::from(from.address), u32::from(from.address) + len);
            if !device.is_some_and(|device| exists(&device.blocks, from.table, first, end)) {
                let message = format!("found {from}, where {len} entries do not all exist");
                mirror.source.note(Kind::Dangling, message, Some("addresses of a unit of this server".to_owned()));
            }
            let copied = |other: &&Mirror<'_>| {
                let begin = u32::from(other.address);
                (other.unit, other.table) == (from.unit, from.table) && begin < end && first < begin + other.len
            };
            if let Some(other) = self.mirrors.iter().find(copied) {
                let message = format!("found {from}, which the mirror on line {} writes", other.source.line());
                mirror.source.note(Kind::Conflict, message, Some("addresses that no mirror writes".to_owned()));
            }
        }
    }
}

/// The device whose points are read.
struct Place<'p, 'a> {
    points: &'p mut Points<'a>,
    unit: Option<u8>,
    blocks: Option<&'p [Block]>,
    /// Table, first address, end, bits of the registers, line.
    taken: Vec<(Table, u32, u32, u16, usize)>,
}

impl<'a> Place<'_, 'a> {
    fn point(&mut self, r: &mut Reader<'a>) -> Option<Point> {
        let name = r.need("name", "a name that is unique among the points of the server", |item| {
            let name = item.name()?;
            self.points.names.add(name.clone(), &item);
            Some(name)
        });
        let table = table(r);
        let address = r.need("address", "0..=65535", |item| item.integer(0..=u16::MAX));
        let bit_item = r.item("bit");
        let kind = match r.item("type") {
            Some(item) => kind(&item, table),
            None if table.is_some_and(Table::is_bits) || bit_item.is_some() => Some(PointType::Bool),
            None => Some(PointType::Number(Type::U16)),
        };
        let order = r.or("order", Order::Abcd, |item| order(&item, kind));
        let bit = match (table, kind) {
            (Some(table), Some(kind)) => bit(r, bit_item.as_ref(), kind == PointType::Bool && !table.is_bits()),
            _ => None,
        };
        let value_item = r.item("value");
        let value = kind.and_then(|kind| datum(value_item.as_ref()?, kind));
        let generator = r.item("generator");
        let (name, table, address, kind) = (name?, table?, address?, kind?);
        let mut point = Point { name, table, address, kind, order, bit, value, generator: None };
        let made =
            generator.as_ref().map(|item| (item, item.table(|r| self.generator(r, &point, value_item.as_ref()))));
        point.generator = made.and_then(|(_, made)| made.flatten());
        let len = match &point.generator {
            Some(Generator::Mirror { len, .. }) => (*len).max(registers(kind)),
            _ => registers(kind),
        };
        self.claim(r, &point, len).then_some(point)
    }

    /// Whether the addresses of a point exist; that nobody else has them is noted.
    fn claim(&mut self, r: &Reader<'_>, point: &Point, len: u32) -> bool {
        let (table, first) = (point.table, u32::from(point.address));
        let end = first + len;
        let name = table.name();
        if end > 65_536 || self.blocks.is_some_and(|blocks| !exists(blocks, table, first, end)) {
            let message = format!("{name} {first}..={} do not all exist", end - 1);
            r.note(Kind::Dangling, message, Some("addresses in blocks of this unit".to_owned()));
            return false;
        }
        let bits = point.bit.map_or(u16::MAX, |bit| 1 << bit);
        let other = self
            .taken
            .iter()
            .find(|(other, begin, stop, mask, _)| *other == table && *begin < end && first < *stop && mask & bits != 0);
        if let Some((_, begin, stop, _, line)) = other {
            let message = format!("{name} {first}..={} overlaps {begin}..={} on line {line}", end - 1, stop - 1);
            r.note(Kind::Overlap, message, Some("addresses that no other point has".to_owned()));
        }
        self.taken.push((table, first, end, bits, r.line()));
        true
    }

    fn generator(&mut self, r: &mut Reader<'a>, point: &Point, value: Option<&Item<'a>>) -> Option<Generator> {
        #[derive(Clone, Copy, PartialEq)]
        enum Made {
            Constant,
            Counter,
            Ramp,
            Sine,
            RandomWalk,
            Mirror,
        }
        const OF_TEXT: &[(&str, Made)] = &[("constant", Made::Constant), ("mirror", Made::Mirror)];
        const OF_NUMBERS: &[(&str, Made)] = &[
            ("constant", Made::Constant),
            ("counter", Made::Counter),
            ("ramp", Made::Ramp),
            ("sine", Made::Sine),
            ("random_walk", Made::RandomWalk),
            ("mirror", Made::Mirror),
        ];
        let choices = if matches!(point.kind, PointType::Text { .. }) { OF_TEXT } else { OF_NUMBERS };
        let accepted = "\"constant\", \"counter\", \"ramp\", \"sine\", \"random_walk\", \"mirror\"";
        let made = r.need("kind", accepted, |item| item.choice(choices));
        let Some(made) = made else {
            // Which of its keys are good cannot be said.
            r.entries();
            return None;
        };
        if made == Made::Mirror {
            return self.mirror(r, point, value);
        }
        let every = r.or("every", Duration::from_secs(1), |item| item.span_of_at_least(SHORTEST));
        let values = match made {
            Made::Constant => Values::Constant(constant(r, point)?),
            Made::Counter => Values::Counter {
                start: r.or("start", 0, |item| item.integer(i64::MIN..=i64::MAX)),
                step: r.or("step", 1, |item| item.integer(i64::MIN..=i64::MAX)),
                modulo: r.option("modulo", |item| modulo(&item, point.kind)),
            },
            Made::Ramp => Values::Ramp {
                from: Real(r.or("from", 0.0, |item| item.real())),
                to: Real(r.or("to", 100.0, |item| item.real())),
                step: Real(r.or("step", 1.0, |item| real_above_zero(&item))),
                wrap: r.or("wrap", Wrap::Saw, |item| {
                    item.choice(&[("saw", Wrap::Saw), ("triangle", Wrap::Triangle), ("hold", Wrap::Hold)])
                }),
            },
            Made::Sine => Values::Sine {
                mean: Real(r.or("mean", 0.0, |item| item.real())),
                amplitude: Real(r.or("amplitude", 1.0, |item| item.real())),
                period: r.or("period", Duration::from_secs(60), |item| item.span_of_at_least(Duration::from_micros(1))),
                phase: Real(r.or("phase", 0.0, |item| item.real())),
            },
            Made::RandomWalk | Made::Mirror => random_walk(r, point.kind),
        };
        Some(Generator::Every { every, values })
    }

    fn mirror(&mut self, r: &mut Reader<'a>, point: &Point, value: Option<&Item<'a>>) -> Option<Generator> {
        if let Some(value) = value {
            value.note(Kind::Conflict, "found beside a mirror", Some("one of value, a mirror".to_owned()));
        }
        if point.bit.is_some() {
            r.note(Kind::Conflict, "a mirror copies whole registers", Some("a point without bit".to_owned()));
        }
        let len = r.or("len", registers(point.kind), |item| item.integer(1..=65_536 - u32::from(point.address)));
        let item = r.item("source");
        let Some(item) = item else {
            r.missing("source", SOURCE);
            return None;
        };
        let Some(source) = item.text().map(Address::parse)? else {
            item.refuse(SOURCE);
            return None;
        };
        if source.table.is_bits() != point.table.is_bits() {
            let tables = if point.table.is_bits() { "coils or discrete" } else { "input or holding" };
            item.refuse(format!("a source in {tables}, as {} holds", point.table.name()));
            return None;
        }
        let (unit, table, address) = (self.unit, point.table, point.address);
        self.points.mirrors.push(Mirror { source: item, unit, table, address, from: source, len });
        Some(Generator::Mirror { source, len })
    }
}

/// Entries of a table that a type takes.
fn registers(kind: PointType) -> u32 {
    match kind {
        PointType::Bool => 1,
        PointType::Number(kind) => u32::try_from(kind.registers()).unwrap_or(u32::MAX),
        PointType::Text { registers } => registers.into(),
    }
}

/// Whether every address from `first` to below `end` lies in a block.
fn exists(blocks: &[Block], table: Table, first: u32, end: u32) -> bool {
    let mut at = first;
    while at < end {
        let around = |block: &&Block| {
            let start = u32::from(block.start);
            block.table == table && (start..start + block.len).contains(&at)
        };
        let Some(block) = blocks.iter().find(around) else { return false };
        at = u32::from(block.start) + block.len;
    }
    true
}

fn kind(item: &Item<'_>, table: Option<Table>) -> Option<PointType> {
    let kind = super::parse_type(item.text()?);
    let of_bits = table.is_some_and(Table::is_bits);
    let kind = kind.filter(|kind| !of_bits || *kind == PointType::Bool);
    if kind.is_none() {
        item.refuse(if of_bits { "\"bool\"" } else { TYPES });
    }
    kind
}

fn order(item: &Item<'_>, kind: Option<PointType>) -> Option<Order> {
    let all = Order::ALL.map(|order| (order.name(), order));
    match kind {
        Some(PointType::Bool) => item.choice(&[("abcd", Order::Abcd)]),
        Some(PointType::Text { .. }) => item.choice(&[("abcd", Order::Abcd), ("badc", Order::Badc)]),
        Some(PointType::Number(_)) | None => item.choice(&all),
    }
}

/// The bit of a register, which a `bool` in one needs and nothing else may have.
fn bit(r: &Reader<'_>, item: Option<&Item<'_>>, needed: bool) -> Option<u8> {
    match (item, needed) {
        (Some(item), true) => item.integer(0..=15),
        (Some(item), false) => {
            let message = "found for what is no bool in a register";
            item.note(Kind::Conflict, message, Some("type = \"bool\" in input or holding".to_owned()));
            None
        }
        (None, true) => {
            r.missing("bit", "0..=15");
            None
        }
        (None, false) => None,
    }
}

fn datum(item: &Item<'_>, kind: PointType) -> Option<Datum> {
    match kind {
        PointType::Bool if item.is_flag() => item.flag().map(Datum::Bool),
        PointType::Bool => item.integer(0..=1_u8).map(|bit| Datum::Bool(bit == 1)),
        PointType::Text { registers } => {
            let text = item.text()?;
            let most = 2 * usize::from(registers);
            if text.len() > most {
                item.refuse(format!("at most {most} bytes"));
                return None;
            }
            Some(Datum::Text(text.to_owned()))
        }
        PointType::Number(kind) => {
            let accepted = || format!("a value of type {}", kind.name());
            // TOML's integers end at 2^63.
            let numeral = if kind == Type::U64 && item.is_text() {
                item.text().map(ToOwned::to_owned)
            } else {
                item.numeral(&accepted())
            }?;
            let value = typed::Value::parse(kind, &numeral).ok();
            if value.is_none() {
                item.refuse(accepted());
            }
            value.map(|value| Datum::Number(Number(value)))
        }
    }
}

/// The value of a constant; that of its point unless it has one of its own.
fn constant(r: &mut Reader<'_>, point: &Point) -> Option<Datum> {
    match r.item("value") {
        Some(item) => datum(&item, point.kind),
        None if point.value.is_some() => point.value.clone(),
        None => {
            r.missing("value", &format!("a value of type {}", point.kind));
            None
        }
    }
}

fn real_above_zero(item: &Item<'_>) -> Option<f64> {
    let real = item.real()?;
    if real <= 0.0 {
        item.refuse("a number above 0");
        return None;
    }
    Some(real)
}

fn modulo(item: &Item<'_>, kind: PointType) -> Option<u64> {
    let greatest = match kind {
        PointType::Bool => 2,
        PointType::Number(Type::I16) => 1 << 15,
        PointType::Number(Type::U16) => 1 << 16,
        PointType::Number(Type::I32) => 1 << 31,
        PointType::Number(Type::U32) => 1 << 32,
        PointType::Number(Type::I64 | Type::U64 | Type::F32 | Type::F64) | PointType::Text { .. } => GREATEST_MODULO,
    };
    item.integer(1..=greatest).and_then(|modulo| u64::try_from(modulo).ok())
}

fn random_walk(r: &mut Reader<'_>, kind: PointType) -> Values {
    let (least, greatest) = limits(kind);
    let min = r.option("min", |item| real_within(&item, least, greatest));
    let from = min.unwrap_or(least);
    let max = r.option("max", |item| real_within(&item, from, greatest));
    let to = max.unwrap_or(greatest);
    let start = r.item("start");
    let start = start.and_then(|item| real_within(&item, from, to)).unwrap_or_else(|| 0.0_f64.clamp(from, to));
    let step = r.or("step", 1.0_f64.min(to - from), |item| real_within(&item, 0.0, to - from));
    Values::RandomWalk {
        start: Real(start),
        step: Real(step),
        min: min.map(Real),
        max: max.map(Real),
        seed: r.option("seed", |item| seed(&item)),
    }
}

fn real_within(item: &Item<'_>, least: f64, greatest: f64) -> Option<f64> {
    let real = item.real()?;
    if !(least..=greatest).contains(&real) {
        item.refuse(format!("{least} to {greatest}"));
        return None;
    }
    Some(real)
}
