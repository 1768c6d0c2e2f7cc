//! Points: typed values at addresses of a device.
//!
//! A [`Point`] says where a value lies and how its registers are read: a number over 1, 2 or 4 registers, text over up to
//! 125, or a single bit, which is an entry of a bit table or a bit of a register. A device reads and writes it whole, for
//! the application: access that is forbidden to clients does not matter here. What does not fit is refused, and then
//! nothing has changed.

use super::{Device, RegisterTable, Storage, TableKind};
use crate::modbus::typed::{self, Order, Type, Value, decode_string, encode_string};

/// The most registers that text can have, so that one request reads it (AP 6.3).
pub const MAX_TEXT: u16 = 125;
/// The most bytes of text.
pub const MAX_TEXT_BYTES: usize = 250;

/// What a point holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PointType {
    /// `bool`: a bit.
    Bool,
    /// A number.
    Number(Type),
    /// `string(n)`: text, padded with NUL.
    Text {
        /// How many registers it has, 1..=125.
        registers: u16,
    },
}

impl core::fmt::Display for PointType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Number(kind) => f.write_str(kind.name()),
            Self::Text { registers } => write!(f, "string({registers})"),
        }
    }
}

/// A value of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Datum<'a> {
    /// Of a `bool`.
    Bool(bool),
    /// Of a number.
    Number(Value),
    /// Of text, up to its first NUL.
    Text(&'a [u8]),
}

/// Where a value lies, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Point {
    table: TableKind,
    address: u16,
    kind: PointType,
    order: Order,
    bit: Option<u8>,
}

/// Why a point cannot be, or cannot be read or written. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PointError {
    /// Coils and discrete inputs hold bits and nothing else.
    OnlyBits,
    /// In a register a `bool` needs to say which bit, 0..=15; nothing else may.
    Bit,
    /// Text has `abcd` or `badc`, a `bool` has `abcd`.
    Order,
    /// Text has 1..=125 registers.
    Registers,
    /// The point ends after address 65535.
    Range,
    /// Not every address of the point exists.
    Absent,
    /// The value is of another type.
    NotA(PointType),
    /// The text is longer than its registers.
    TooLong,
}

impl core::fmt::Display for PointError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::OnlyBits => f.write_str("coils and discrete inputs hold values of type bool only"),
            Self::Bit => f.write_str("a bool in a register, and nothing else, says which bit of 0 to 15 it is"),
            Self::Order => f.write_str("strings have order abcd or badc, bits have none"),
            Self::Registers => write!(f, "a string has 1 to {MAX_TEXT} registers"),
            Self::Range => f.write_str("the value ends after address 65535"),
            Self::Absent => f.write_str("not all of its addresses exist"),
            Self::NotA(kind) => write!(f, "not a value of type {kind}"),
            Self::TooLong => f.write_str("the text is longer than its registers"),
        }
    }
}

impl core::error::Error for PointError {}

impl Point {
    /// A point of one table. `bit` is for a `bool` in a register.
    ///
    /// # Errors
    /// When the parts do not go together.
    pub fn new(
        table: TableKind,
        address: u16,
        kind: PointType,
        order: Order,
        bit: Option<u8>,
    ) -> Result<Self, PointError> {
        let of_bits = matches!(table, TableKind::Coils | TableKind::Discrete);
        if of_bits && kind != PointType::Bool {
            return Err(PointError::OnlyBits);
        }
        let needs_bit = kind == PointType::Bool && !of_bits;
        if needs_bit != bit.is_some() || bit.is_some_and(|bit| bit > 15) {
            return Err(PointError::Bit);
        }
        let ordered = match kind {
            PointType::Bool => order == Order::Abcd,
            PointType::Number(_) => true,
            PointType::Text { .. } => matches!(order, Order::Abcd | Order::Badc),
        };
        if !ordered {
            return Err(PointError::Order);
        }
        if matches!(kind, PointType::Text { registers } if !(1..=MAX_TEXT).contains(&registers)) {
            return Err(PointError::Registers);
        }
        let point = Self { table, address, kind, order, bit };
        if u32::from(address).saturating_add(point.len().into()) > 0x1_0000 {
            return Err(PointError::Range);
        }
        Ok(point)
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> TableKind {
        self.table
    }

    /// The first address.
    #[must_use]
    pub const fn address(&self) -> u16 {
        self.address
    }

    /// How many entries of the table it takes, 1..=125.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no point is empty")]
    pub fn len(&self) -> u16 {
        match self.kind {
            PointType::Bool => 1,
            PointType::Number(kind) => u16::try_from(kind.registers()).unwrap_or(u16::MAX),
            PointType::Text { registers } => registers,
        }
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> PointType {
        self.kind
    }

    /// How its bytes lie in its registers.
    #[must_use]
    pub const fn order(&self) -> Order {
        self.order
    }

    /// Which bit of its register it is, for a `bool` in a register.
    #[must_use]
    pub const fn bit(&self) -> Option<u8> {
        self.bit
    }
}

impl<S: Storage> Device<S> {
    /// Reads a point; `text` is where text goes.
    ///
    /// # Errors
    /// [`PointError::Absent`] where an address does not exist.
    pub fn read_point<'t>(&self, point: &Point, text: &'t mut [u8; MAX_TEXT_BYTES]) -> Result<Datum<'t>, PointError> {
        let table = match point.table {
            TableKind::Coils => return self.coils.bit(point.address).map(Datum::Bool).ok_or(PointError::Absent),
            TableKind::Discrete => return self.discrete.bit(point.address).map(Datum::Bool).ok_or(PointError::Absent),
            TableKind::Input => &self.input,
            TableKind::Holding => &self.holding,
        };
        let mut registers = [0; MAX_TEXT as usize];
        let registers = registers.get_mut(..usize::from(point.len())).unwrap_or_default();
        if !table.load(point.address, registers) {
            return Err(PointError::Absent);
        }
        match point.kind {
            PointType::Bool => {
                let mask = bit_mask(point.bit);
                Ok(Datum::Bool(registers.iter().any(|register| register & mask != 0)))
            }
            PointType::Number(kind) => Value::decode(kind, point.order, registers).map(Datum::Number),
            PointType::Text { .. } => decode_string(point.order, registers, text).map(Datum::Text),
        }
        .map_err(|error| explained(error, point.kind))
    }

    /// Writes a point in one step.
    ///
    /// # Errors
    /// [`PointError::Absent`] where an address does not exist, [`PointError::NotA`] and [`PointError::TooLong`] for a
    /// value that does not fit.
    pub fn write_point(&mut self, point: &Point, datum: Datum<'_>) -> Result<(), PointError> {
        let not_a = Err(PointError::NotA(point.kind));
        let table = match (point.table, datum) {
            (TableKind::Coils, Datum::Bool(bit)) => return present(self.coils.set_bit(point.address, bit)),
            (TableKind::Discrete, Datum::Bool(bit)) => return present(self.discrete.set_bit(point.address, bit)),
            (TableKind::Coils | TableKind::Discrete, Datum::Number(_) | Datum::Text(_)) => return not_a,
            (TableKind::Input, _) => &mut self.input,
            (TableKind::Holding, _) => &mut self.holding,
        };
        let mut registers = [0; MAX_TEXT as usize];
        let registers = registers.get_mut(..usize::from(point.len())).unwrap_or_default();
        match (point.kind, datum) {
            (PointType::Bool, Datum::Bool(bit)) => return write_bit(table, point, bit),
            (PointType::Number(kind), Datum::Number(value)) if value.kind() == kind => {
                value.encode(point.order, registers).map_err(|error| explained(error, point.kind))?;
            }
            (PointType::Text { .. }, Datum::Text(text)) => {
                encode_string(point.order, text, registers).map_err(|error| explained(error, point.kind))?;
            }
            (PointType::Bool | PointType::Number(_) | PointType::Text { .. }, _) => return not_a,
        }
        present(table.store(point.address, registers))
    }
}

fn write_bit<S: Storage>(table: &mut RegisterTable<S>, point: &Point, bit: bool) -> Result<(), PointError> {
    let mask = bit_mask(point.bit);
    let register = table.register(point.address).ok_or(PointError::Absent)?;
    present(table.set_register(point.address, if bit { register | mask } else { register & !mask }))
}

fn bit_mask(bit: Option<u8>) -> u16 {
    1u16.checked_shl(bit.unwrap_or(0).into()).unwrap_or(0)
}

const fn present(written: bool) -> Result<(), PointError> {
    if written { Ok(()) } else { Err(PointError::Absent) }
}

const fn explained(error: typed::Error, kind: PointType) -> PointError {
    match error {
        typed::Error::Length { .. } => PointError::TooLong,
        typed::Error::StringOrder(_) => PointError::Order,
        typed::Error::NotA(_) => PointError::NotA(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::data::{BitTable, Block, Files, Identity, Queues, Static};
    use std::string::ToString;
    use std::vec;

    /// Ten of each, from 5 on, registers in two blocks that touch.
    fn device() -> Device<Static> {
        let bits = || BitTable::new(vec![Block::new(5, 10)].leak(), vec![0; 2].leak(), vec![].leak()).unwrap();
        let registers = || {
            let blocks = vec![Block::new(5, 4), Block::new(9, 6)];
            RegisterTable::new(blocks.leak(), vec![0; 10].leak(), vec![].leak()).unwrap()
        };
        Device {
            coils: bits(),
            discrete: bits(),
            input: registers(),
            holding: registers(),
            files: Files::new(vec![].leak(), vec![].leak(), vec![].leak()).unwrap(),
            queues: Queues::new(vec![].leak(), vec![].leak()).unwrap(),
            identity: Identity::new(vec![].leak(), b"".as_slice(), b"".as_slice()).unwrap(),
        }
    }

    fn point(table: TableKind, address: u16, kind: PointType) -> Point {
        Point::new(table, address, kind, Order::Abcd, None).unwrap()
    }

    #[test]
    fn every_type_reads_back_what_was_written_in_every_order_it_knows() {
        let mut device = device();
        let numbers = [
            Value::U16(7),
            Value::I16(-7),
            Value::U32(1 << 20),
            Value::I32(-(1 << 20)),
            Value::F32(1.5),
            Value::U64(1 << 40),
            Value::I64(-(1 << 40)),
            Value::F64(-2.5),
        ];
        let mut text = [0; MAX_TEXT_BYTES];
        for table in [TableKind::Input, TableKind::Holding] {
            for (value, order) in numbers.iter().flat_map(|value| Order::ALL.map(|order| (*value, order))) {
                let point = Point::new(table, 7, PointType::Number(value.kind()), order, None).unwrap();
                assert_eq!(device.write_point(&point, Datum::Number(value)), Ok(()));
                assert_eq!(device.read_point(&point, &mut text), Ok(Datum::Number(value)), "{order:?}");
            }
            let point = Point::new(table, 6, PointType::Text { registers: 3 }, Order::Badc, None).unwrap();
            assert_eq!(device.write_point(&point, Datum::Text(b"hello")), Ok(()));
            assert_eq!(device.read_point(&point, &mut text), Ok(Datum::Text(b"hello")));
        }
        assert_eq!(device.holding.register(6), Some(0x6568), "bytes are swapped");
        for table in [TableKind::Coils, TableKind::Discrete] {
            let point = point(table, 14, PointType::Bool);
            assert_eq!(device.write_point(&point, Datum::Bool(true)), Ok(()));
            assert_eq!(device.read_point(&point, &mut text), Ok(Datum::Bool(true)));
        }
    }

    #[test]
    fn a_bit_of_a_register_leaves_the_others_alone() {
        let mut device = device();
        assert!(device.holding.set_register(8, 0x8001));
        let mut text = [0; MAX_TEXT_BYTES];
        for (bit, value, after) in [(4, true, 0x8011), (0, false, 0x8010), (15, false, 0x0010), (4, true, 0x0010)] {
            let point = Point::new(TableKind::Holding, 8, PointType::Bool, Order::Abcd, Some(bit)).unwrap();
            assert_eq!(device.write_point(&point, Datum::Bool(value)), Ok(()));
            assert_eq!(device.holding.register(8), Some(after));
            assert_eq!(device.read_point(&point, &mut text), Ok(Datum::Bool(value)));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut device = device();
        let long = point(TableKind::Holding, 12, PointType::Number(Type::U64));
        let mut text = [0; MAX_TEXT_BYTES];
        assert_eq!(device.write_point(&long, Datum::Number(Value::U64(u64::MAX))), Err(PointError::Absent));
        assert_eq!(device.read_point(&long, &mut text), Err(PointError::Absent));
        let word = point(TableKind::Holding, 12, PointType::Number(Type::U16));
        let not_a = Err(PointError::NotA(word.kind()));
        assert_eq!(device.write_point(&word, Datum::Number(Value::I16(1))), not_a);
        assert_eq!(device.write_point(&word, Datum::Bool(true)), not_a);
        let name = point(TableKind::Holding, 12, PointType::Text { registers: 2 });
        assert_eq!(device.write_point(&name, Datum::Text(b"hello")), Err(PointError::TooLong));
        let coil = point(TableKind::Coils, 4, PointType::Bool);
        assert_eq!(device.write_point(&coil, Datum::Bool(true)), Err(PointError::Absent));
        assert_eq!(device.read_point(&coil, &mut text), Err(PointError::Absent));
        let coil = point(TableKind::Coils, 5, PointType::Bool);
        assert_eq!(device.write_point(&coil, Datum::Number(Value::U16(1))), Err(PointError::NotA(PointType::Bool)));
        assert!((5..15).all(|at| device.holding.register(at) == Some(0) && device.coils.bit(at) == Some(false)));
    }

    #[test]
    fn a_point_whose_parts_do_not_go_together_is_refused() {
        use TableKind::{Coils, Holding, Input};
        let u16s = PointType::Number(Type::U16);
        let u64s = PointType::Number(Type::U64);
        let text = |registers| PointType::Text { registers };
        let abcd = Order::Abcd;
        for (table, address, kind, order, bit, error) in [
            (Coils, 0, u16s, abcd, None, PointError::OnlyBits),
            (Coils, 0, PointType::Bool, abcd, Some(1), PointError::Bit),
            (Holding, 0, PointType::Bool, abcd, None, PointError::Bit),
            (Holding, 0, PointType::Bool, abcd, Some(16), PointError::Bit),
            (Input, 0, u16s, abcd, Some(1), PointError::Bit),
            (Holding, 0, PointType::Bool, Order::Badc, Some(1), PointError::Order),
            (Holding, 0, text(2), Order::Cdab, None, PointError::Order),
            (Holding, 0, text(0), abcd, None, PointError::Registers),
            (Holding, 0, text(126), abcd, None, PointError::Registers),
            (Holding, 65_533, u64s, abcd, None, PointError::Range),
        ] {
            assert_eq!(
                Point::new(table, address, kind, order, bit),
                Err(error),
                "{table:?} {kind:?} {order:?} {bit:?}"
            );
        }
        assert!(Point::new(Holding, 65_532, u64s, Order::Dcba, None).is_ok());
        assert!(Point::new(Holding, 0, text(125), Order::Badc, None).is_ok());
    }

    #[test]
    fn a_point_tells_what_it_was_made_of() {
        let text = PointType::Text { registers: 3 };
        for (table, address, kind, order, bit, len) in [
            (TableKind::Holding, 7, PointType::Number(Type::F64), Order::Cdab, None, 4),
            (TableKind::Input, 65_535, PointType::Bool, Order::Abcd, Some(15), 1),
            (TableKind::Input, 2, text, Order::Badc, None, 3),
        ] {
            let point = Point::new(table, address, kind, order, bit).unwrap();
            assert_eq!((point.table(), point.address(), point.kind()), (table, address, kind));
            assert_eq!((point.order(), point.bit(), point.len()), (order, bit, len));
        }
    }

    #[test]
    fn types_are_spelled_as_in_plants_and_errors_say_what_is_wrong() {
        let kinds = [PointType::Bool, PointType::Number(Type::F32), PointType::Text { registers: 8 }];
        assert_eq!(kinds.map(|kind| kind.to_string()), ["bool", "f32", "string(8)"]);
        assert_eq!(PointError::NotA(PointType::Bool).to_string(), "not a value of type bool");
        assert_eq!(PointError::Registers.to_string(), "a string has 1 to 125 registers");
        assert_eq!(PointError::Absent.to_string(), "not all of its addresses exist");
    }
}
