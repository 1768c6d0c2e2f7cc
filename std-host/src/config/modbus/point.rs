//! The points of a device: typed values with names, and what makes them up (section 4).

pub(super) mod print;
pub(super) mod read;

use super::Table;
use std::fmt;
use std::time::Duration;
use wharf_core::modbus::data::point::MAX_TEXT;
use wharf_core::modbus::data::{self, PointType, TableKind, generator::Wrap};
use wharf_core::modbus::typed::{self, Order, Type};

/// A typed value with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Unique within the server.
    pub name: String,
    /// Where.
    pub table: Table,
    /// The first address. All of them exist in the device, and no other point of it has one of them, but that bits of one
    /// register may be points of their own.
    pub address: u16,
    /// What it holds; always a `bool` in a table of bits.
    pub kind: PointType,
    /// How its bytes lie in its registers.
    pub order: Order,
    /// Which bit of its register it is, for a `bool` in a table of registers.
    pub bit: Option<u8>,
    /// What it starts as, of its type; `None` leaves what its block says.
    pub value: Option<Datum>,
    /// What goes on to write it.
    pub generator: Option<Generator>,
}

/// A value of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// Of a `bool`.
    Bool(bool),
    /// Of a number.
    Number(Number),
    /// Of text.
    Text(String),
}

impl Datum {
    /// Reads a value from text; `None` if it is none of this type.
    #[must_use]
    pub fn parse(kind: PointType, text: &str) -> Option<Self> {
        match kind {
            PointType::Bool => match text {
                "true" | "1" | "on" => Some(Self::Bool(true)),
                "false" | "0" | "off" => Some(Self::Bool(false)),
                _ => None,
            },
            PointType::Number(kind) => typed::Value::parse(kind, text).ok().map(|value| Self::Number(Number(value))),
            PointType::Text { registers } => {
                (text.len() <= 2 * usize::from(registers)).then(|| Self::Text(text.to_owned()))
            }
        }
    }
}

impl<'a> From<&'a Datum> for data::Datum<'a> {
    fn from(datum: &'a Datum) -> Self {
        match datum {
            Datum::Bool(bit) => Self::Bool(*bit),
            Datum::Number(Number(value)) => Self::Number(*value),
            Datum::Text(text) => Self::Text(text.as_bytes()),
        }
    }
}

impl From<data::Datum<'_>> for Datum {
    /// Text that is no UTF-8 loses what is not.
    fn from(datum: data::Datum<'_>) -> Self {
        match datum {
            data::Datum::Bool(bit) => Self::Bool(bit),
            data::Datum::Number(value) => Self::Number(Number(value)),
            data::Datum::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
        }
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(bit) => bit.fmt(f),
            Self::Number(Number(value)) => value.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A number that equals itself: reals are compared bit by bit.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub typed::Value);

impl Number {
    fn registers(self) -> [u16; 4] {
        let mut registers = [0; 4];
        let len = self.0.kind().registers();
        self.0.encode(Order::Abcd, &mut registers[..len]).expect("there are as many registers as the type has");
        registers
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.kind() == other.0.kind() && self.registers() == other.registers()
    }
}

impl Eq for Number {}

/// A finite real that equals itself.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Real {}

/// What goes on to write a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generator {
    /// It makes up a value every so often.
    Every {
        /// The time between two values, 1 ms or more.
        every: Duration,
        /// The values.
        values: Values,
    },
    /// It copies other addresses whenever those are written.
    Mirror {
        /// What it copies, all of which exists and is of bits where the point's table is.
        source: Address,
        /// How many entries, 1..=65536; so many exist from the point's address on.
        len: u32,
    },
}

/// Values that are made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// Always the same, of the point's type.
    Constant(Datum),
    /// `start + step * tick`, within 0..`modulo` or, without it, wrapped as the type does.
    Counter {
        /// The first value.
        start: i64,
        /// What each tick adds.
        step: i64,
        /// One above the greatest value.
        modulo: Option<u64>,
    },
    /// From one value to another.
    Ramp {
        /// The first value.
        from: Real,
        /// The other end.
        to: Real,
        /// How far one tick goes, above 0.
        step: Real,
        /// What comes after the end.
        wrap: Wrap,
    },
    /// A sine.
    Sine {
        /// Its middle.
        mean: Real,
        /// How far it swings.
        amplitude: Real,
        /// The time of one turn.
        period: Duration,
        /// Where it starts, in turns.
        phase: Real,
    },
    /// Random steps.
    RandomWalk {
        /// The first value.
        start: Real,
        /// The longest step.
        step: Real,
        /// The least value; `None` is that of the type.
        min: Option<Real>,
        /// The greatest value; `None` is that of the type.
        max: Option<Real>,
        /// `None` is one made from the server's seed and the name of the point.
        seed: Option<u64>,
    },
}

/// Reads a type such as `u16` or `string(8)`; `None` if it is none.
#[must_use]
pub fn parse_type(text: &str) -> Option<PointType> {
    if text == "bool" {
        return Some(PointType::Bool);
    }
    if let Some(number) = typed::Type::ALL.into_iter().find(|kind| kind.name() == text) {
        return Some(PointType::Number(number));
    }
    let registers = text.strip_prefix("string(")?.strip_suffix(')')?.parse().ok()?;
    (1..=MAX_TEXT).contains(&registers).then_some(PointType::Text { registers })
}

/// `unit/table/address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The unit; `None` is the default device of its own, written `default`.
    pub unit: Option<u8>,
    /// The table.
    pub table: Table,
    /// The address.
    pub address: u16,
}

impl Address {
    /// Reads `1/holding/40` or `1/holding/0x28`; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let unit = parts.next()?;
        let unit = if unit == "default" { None } else { Some(number(unit)?.try_into().ok()?) };
        let table = parts.next()?;
        let table = Table::ALL.into_iter().find(|known| known.name() == table)?;
        let address = number(parts.next()?)?;
        parts.next().is_none().then_some(Self { unit, table, address })
    }
}

fn number(text: &str) -> Option<u16> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // `from_str_radix` would take a sign as well.
    u16::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Some(unit) => unit.fmt(f)?,
            None => f.write_str("default")?,
        }
        write!(f, "/{}/{}", self.table.name(), self.address)
    }
}

/// The least and the greatest value of a type.
pub(crate) fn limits(kind: PointType) -> (f64, f64) {
    match kind {
        PointType::Bool | PointType::Text { .. } => (0.0, 1.0),
        PointType::Number(Type::U16) => (0.0, u16::MAX.into()),
        PointType::Number(Type::I16) => (i16::MIN.into(), i16::MAX.into()),
        PointType::Number(Type::U32) => (0.0, u32::MAX.into()),
        PointType::Number(Type::I32) => (i32::MIN.into(), i32::MAX.into()),
        PointType::Number(Type::U64) => (0.0, u64::MAX as f64),
        PointType::Number(Type::I64) => (i64::MIN as f64, i64::MAX as f64),
        PointType::Number(Type::F32) => (f32::MIN.into(), f32::MAX.into()),
        PointType::Number(Type::F64) => (f64::MIN, f64::MAX),
    }
}

impl From<Table> for TableKind {
    fn from(table: Table) -> Self {
        match table {
            Table::Coils => Self::Coils,
            Table::Discrete => Self::Discrete,
            Table::Input => Self::Input,
            Table::Holding => Self::Holding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_unit_table_and_entry() {
        let holding = |unit, address| Some(Address { unit, table: Table::Holding, address });
        assert_eq!(Address::parse("1/holding/40"), holding(Some(1), 40));
        assert_eq!(Address::parse("0xFF/holding/0xFFFF"), holding(Some(255), 65_535));
        assert_eq!(Address::parse("default/holding/0"), holding(None, 0));
        for wrong in ["", "1/holding", "256/holding/0", "1/holding/65536", "1/x/0", "1/holding/0/0", "+1/holding/0"] {
            assert_eq!(Address::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(holding(None, 7).map(|address| address.to_string()), Some("default/holding/7".to_owned()));
        assert_eq!(holding(Some(9), 7).map(|address| address.to_string()), Some("9/holding/7".to_owned()));
    }

    #[test]
    fn a_number_that_is_none_equals_itself_and_zero_has_a_sign() {
        let real = |value| Number(typed::Value::F64(value));
        assert_eq!(real(f64::NAN), real(f64::NAN));
        assert_ne!(real(0.0), real(-0.0));
        assert_ne!(Number(typed::Value::U16(1)), Number(typed::Value::I16(1)));
    }
}
