//! Typed access: numbers and strings over consecutive registers, in four orders.
//!
//! Plain functions over slices. The standard knows registers of 16 bits and nothing wider; devices put wider values
//! into consecutive registers as they please, and the four [`Order`]s name what they do. With the bytes of a value
//! called A (most significant) to D, `abcd` is the order of the wire, `cdab` reverses the registers, `badc` swaps the
//! bytes in each register, and `dcba` does both. Values of 64 bits follow the same rule.
//!
//! What does not fit is refused, never clipped. Single bits are not here: a coil is a `bool`, and a bit of a register
//! is a shift.

use core::fmt;

/// How the bytes of a value lie in its registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Order {
    /// `abcd`: most significant register and byte first.
    #[default]
    Abcd,
    /// `cdab`: registers reversed.
    Cdab,
    /// `badc`: bytes swapped in each register.
    Badc,
    /// `dcba`: both.
    Dcba,
}

impl Order {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Abcd, Self::Cdab, Self::Badc, Self::Dcba];

    /// The name, as plants and the command line spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abcd => "abcd",
            Self::Cdab => "cdab",
            Self::Badc => "badc",
            Self::Dcba => "dcba",
        }
    }

    const fn reverses_registers(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }

    /// A register as it is in `abcd` order, and back.
    const fn swap(self, register: u16) -> u16 {
        match self {
            Self::Abcd | Self::Cdab => register,
            Self::Badc | Self::Dcba => register.swap_bytes(),
        }
    }
}

/// The type of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Type {
    /// 16 bits, unsigned.
    U16,
    /// 16 bits, two's complement.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, two's complement.
    I32,
    /// IEEE 754 binary32.
    F32,
    /// 64 bits, unsigned.
    U64,
    /// 64 bits, two's complement.
    I64,
    /// IEEE 754 binary64.
    F64,
}

impl Type {
    /// All of them.
    pub const ALL: [Self; 8] = [Self::U16, Self::I16, Self::U32, Self::I32, Self::F32, Self::U64, Self::I64, Self::F64];

    /// The name, as plants and the command line spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    /// How many registers a value takes: 1, 2 or 4.
    #[must_use]
    pub const fn registers(self) -> usize {
        match self {
            Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
        }
    }
}

/// A number of one of the types.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Value {
    /// [`Type::U16`]
    U16(u16),
    /// [`Type::I16`]
    I16(i16),
    /// [`Type::U32`]
    U32(u32),
    /// [`Type::I32`]
    I32(i32),
    /// [`Type::F32`]
    F32(f32),
    /// [`Type::U64`]
    U64(u64),
    /// [`Type::I64`]
    I64(i64),
    /// [`Type::F64`]
    F64(f64),
}

/// Why a value and its registers, or a value and its type, do not fit each other. Nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The slice has another length than the value.
    Length {
        /// The length that fits.
        expected: usize,
        /// The length of the slice.
        actual: usize,
    },
    /// The text is no number of this type.
    NotA(Type),
    /// Strings know the orders `abcd` and `badc` only.
    StringOrder(Order),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, actual } => write!(f, "length is {actual} instead of {expected}"),
            Self::NotA(kind) => write!(f, "not a value of type {}", kind.name()),
            Self::StringOrder(order) => write!(f, "order {} is not for strings", order.name()),
        }
    }
}

impl core::error::Error for Error {}

impl Value {
    /// Reads a value from exactly as many registers as its type takes.
    ///
    /// # Errors
    /// [`Error::Length`] for any other number of registers.
    pub fn decode(kind: Type, order: Order, registers: &[u16]) -> Result<Self, Error> {
        expect_length(kind.registers(), registers.len())?;
        let join = |bits: u64, register: &u16| bits << 16 | u64::from(order.swap(*register));
        let bits = if order.reverses_registers() {
            registers.iter().rev().fold(0, join)
        } else {
            registers.iter().fold(0, join)
        };
        let [.., e, f, g, h] = bits.to_be_bytes();
        let half = [e, f, g, h];
        Ok(match kind {
            Type::U16 => Self::U16(u16::from_be_bytes([g, h])),
            Type::I16 => Self::I16(i16::from_be_bytes([g, h])),
            Type::U32 => Self::U32(u32::from_be_bytes(half)),
            Type::I32 => Self::I32(i32::from_be_bytes(half)),
            Type::F32 => Self::F32(f32::from_be_bytes(half)),
            Type::U64 => Self::U64(bits),
            Type::I64 => Self::I64(bits.cast_signed()),
            Type::F64 => Self::F64(f64::from_bits(bits)),
        })
    }

    /// Writes the value to exactly as many registers as its type takes.
    ///
    /// # Errors
    /// [`Error::Length`] for any other number of registers.
    pub fn encode(self, order: Order, registers: &mut [u16]) -> Result<(), Error> {
        expect_length(self.kind().registers(), registers.len())?;
        let bits = match self {
            Self::U16(value) => u64::from(value),
            Self::I16(value) => u64::from(value.cast_unsigned()),
            Self::U32(value) => u64::from(value),
            Self::I32(value) => u64::from(value.cast_unsigned()),
            Self::F32(value) => u64::from(value.to_bits()),
            Self::U64(value) => value,
            Self::I64(value) => value.cast_unsigned(),
            Self::F64(value) => value.to_bits(),
        };
        let [a, b, c, d, e, f, g, h] = bits.to_be_bytes();
        let least_first = [[g, h], [e, f], [c, d], [a, b]].map(|pair| order.swap(u16::from_be_bytes(pair)));
        if order.reverses_registers() {
            registers.iter_mut().zip(least_first).for_each(|(register, part)| *register = part);
        } else {
            registers.iter_mut().rev().zip(least_first).for_each(|(register, part)| *register = part);
        }
        Ok(())
    }

    /// Reads a number from text: decimal, with `0x` hexadecimal, and for reals as Rust spells them.
    ///
    /// # Errors
    /// [`Error::NotA`] if the text is no number or the number does not fit the type: an integer out of range, a
    /// fraction for an integer, a finite real that would become infinite.
    pub fn parse(kind: Type, text: &str) -> Result<Self, Error> {
        let value = match kind {
            Type::U16 => integer(text).map(Self::U16),
            Type::I16 => integer(text).map(Self::I16),
            Type::U32 => integer(text).map(Self::U32),
            Type::I32 => integer(text).map(Self::I32),
            Type::U64 => integer(text).map(Self::U64),
            Type::I64 => integer(text).map(Self::I64),
            Type::F32 => {
                text.parse().ok().filter(|real: &f32| !real.is_infinite() || says_infinite(text)).map(Self::F32)
            }
            Type::F64 => {
                text.parse().ok().filter(|real: &f64| !real.is_infinite() || says_infinite(text)).map(Self::F64)
            }
        };
        value.ok_or(Error::NotA(kind))
    }

    /// The value of this type that is nearest to an integer.
    #[must_use]
    pub fn from_integer(kind: Type, integer: i128) -> Self {
        match kind {
            Type::U16 => Self::U16(saturated(integer, u16::MIN, u16::MAX)),
            Type::I16 => Self::I16(saturated(integer, i16::MIN, i16::MAX)),
            Type::U32 => Self::U32(saturated(integer, u32::MIN, u32::MAX)),
            Type::I32 => Self::I32(saturated(integer, i32::MIN, i32::MAX)),
            Type::U64 => Self::U64(saturated(integer, u64::MIN, u64::MAX)),
            Type::I64 => Self::I64(saturated(integer, i64::MIN, i64::MAX)),
            Type::F32 => Self::F32(integer as f32),
            Type::F64 => Self::F64(integer as f64),
        }
    }

    /// The value of this type that is nearest to a real: integers are rounded half away from zero, what is beyond the
    /// type becomes its greatest or least finite value, and what is no number becomes 0 in an integer.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    pub fn from_real(kind: Type, real: f64) -> Self {
        match kind {
            Type::F32 => Self::F32((real as f32).clamp(f32::MIN, f32::MAX)),
            Type::F64 => Self::F64(real.clamp(f64::MIN, f64::MAX)),
            Type::U16 | Type::I16 | Type::U32 | Type::I32 | Type::U64 | Type::I64 => {
                let whole = real as i128;
                let rest = real - whole as f64;
                let away = i128::from(rest >= 0.5).saturating_sub(i128::from(rest <= -0.5));
                Self::from_integer(kind, whole.saturating_add(away))
            }
        }
    }

    /// The type of the value.
    #[must_use]
    pub const fn kind(self) -> Type {
        match self {
            Self::U16(_) => Type::U16,
            Self::I16(_) => Type::I16,
            Self::U32(_) => Type::U32,
            Self::I32(_) => Type::I32,
            Self::F32(_) => Type::F32,
            Self::U64(_) => Type::U64,
            Self::I64(_) => Type::I64,
            Self::F64(_) => Type::F64,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U16(value) => value.fmt(f),
            Self::I16(value) => value.fmt(f),
            Self::U32(value) => value.fmt(f),
            Self::I32(value) => value.fmt(f),
            Self::F32(value) => value.fmt(f),
            Self::U64(value) => value.fmt(f),
            Self::I64(value) => value.fmt(f),
            Self::F64(value) => value.fmt(f),
        }
    }
}

/// Reads the text in `registers` up to the first NUL: two bytes a register, into `out`, of which the text is returned.
///
/// # Errors
/// [`Error::StringOrder`] for `cdab` and `dcba`; [`Error::Length`] if `out` has fewer than two bytes a register.
pub fn decode_string<'o>(order: Order, registers: &[u16], out: &'o mut [u8]) -> Result<&'o [u8], Error> {
    expect_string_order(order)?;
    let (expected, actual) = (registers.len().saturating_mul(2), out.len());
    let out = out.get_mut(..expected).ok_or(Error::Length { expected, actual })?;
    for (pair, register) in out.chunks_exact_mut(2).zip(registers) {
        pair.copy_from_slice(&order.swap(*register).to_be_bytes());
    }
    Ok(out.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// Writes `text` to `registers`, two bytes a register, padded with NUL.
///
/// # Errors
/// [`Error::StringOrder`] for `cdab` and `dcba`; [`Error::Length`] if the text is longer than the registers.
pub fn encode_string(order: Order, text: &[u8], registers: &mut [u16]) -> Result<(), Error> {
    expect_string_order(order)?;
    let room = registers.len().saturating_mul(2);
    if text.len() > room {
        return Err(Error::Length { expected: room, actual: text.len() });
    }
    let mut bytes = text.iter().copied().chain(core::iter::repeat(0));
    for register in registers {
        let mut byte = || bytes.next().unwrap_or_default();
        *register = order.swap(u16::from_be_bytes([byte(), byte()]));
    }
    Ok(())
}

const fn expect_length(expected: usize, actual: usize) -> Result<(), Error> {
    if expected == actual { Ok(()) } else { Err(Error::Length { expected, actual }) }
}

const fn expect_string_order(order: Order) -> Result<(), Error> {
    if order.reverses_registers() { Err(Error::StringOrder(order)) } else { Ok(()) }
}

/// A decimal or hexadecimal integer that fits `T`.
fn integer<T: TryFrom<i128>>(text: &str) -> Option<T> {
    let number = match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with(['+', '-']) => i128::from_str_radix(digits, 16),
        _ => text.parse(),
    };
    T::try_from(number.ok()?).ok()
}

fn saturated<T: TryFrom<i128> + Copy>(integer: i128, least: T, greatest: T) -> T {
    T::try_from(integer).unwrap_or(if integer < 0 { least } else { greatest })
}

/// Whether a real that came out infinite was meant to be: `inf`, `-inf`, `infinity` in any case.
fn says_infinite(text: &str) -> bool {
    text.trim_start_matches(['+', '-']).starts_with(['i', 'I'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn each_order_stores_the_example_of_the_specification() {
        let stored = [[0x47F1, 0x2000], [0x2000, 0x47F1], [0xF147, 0x0020], [0x0020, 0xF147]];
        for (order, expected) in Order::ALL.into_iter().zip(stored) {
            let mut registers = [0; 2];
            Value::F32(123_456.0).encode(order, &mut registers).unwrap();
            assert_eq!(registers, expected, "{order:?}");
            assert_eq!(Value::decode(Type::F32, order, &registers), Ok(Value::F32(123_456.0)), "{order:?}");
        }
    }

    #[test]
    fn wider_values_follow_the_same_rule() {
        let stored = [
            [0x0123, 0x4567, 0x89AB, 0xCDEF],
            [0xCDEF, 0x89AB, 0x4567, 0x0123],
            [0x2301, 0x6745, 0xAB89, 0xEFCD],
            [0xEFCD, 0xAB89, 0x6745, 0x2301],
        ];
        for (order, expected) in Order::ALL.into_iter().zip(stored) {
            let mut registers = [0; 4];
            Value::U64(0x0123_4567_89AB_CDEF).encode(order, &mut registers).unwrap();
            assert_eq!(registers, expected, "{order:?}");
        }
    }

    #[test]
    fn every_type_reads_back_what_it_wrote_in_every_order() {
        let values = [
            Value::U16(0xFEDC),
            Value::I16(-2),
            Value::U32(0xFEDC_BA98),
            Value::I32(-123_456),
            Value::F32(-0.1),
            Value::U64(u64::MAX - 1),
            Value::I64(i64::MIN + 1),
            Value::F64(1.0e-300),
        ];
        for (value, kind) in values.into_iter().zip(Type::ALL) {
            assert_eq!(value.kind(), kind);
            for order in Order::ALL {
                let mut registers = [0; 4];
                let registers = &mut registers[..kind.registers()];
                value.encode(order, registers).unwrap();
                assert_eq!(Value::decode(kind, order, registers), Ok(value), "{kind:?} {order:?}");
            }
        }
    }

    #[test]
    fn registers_of_another_number_are_refused() {
        let refused = Err(Error::Length { expected: 2, actual: 1 });
        assert_eq!(Value::decode(Type::U32, Order::Abcd, &[1]), refused);
        let mut registers = [7; 3];
        let refused = Err(Error::Length { expected: 2, actual: 3 });
        assert_eq!(Value::U32(1).encode(Order::Abcd, &mut registers), refused);
        assert_eq!(registers, [7; 3]);
    }

    #[test]
    fn text_that_does_not_fit_is_refused() {
        assert_eq!(Value::parse(Type::U16, "0xFFFF"), Ok(Value::U16(0xFFFF)));
        assert_eq!(Value::parse(Type::I16, "-32768"), Ok(Value::I16(i16::MIN)));
        assert_eq!(Value::parse(Type::U64, "18446744073709551615"), Ok(Value::U64(u64::MAX)));
        assert_eq!(Value::parse(Type::F32, "-inf"), Ok(Value::F32(f32::NEG_INFINITY)));
        assert_eq!(Value::parse(Type::F64, "1e300"), Ok(Value::F64(1e300)));
        let wrong = [
            (Type::U16, "65536"),
            (Type::U16, "-1"),
            (Type::U16, "1.5"),
            (Type::U16, "0x-1"),
            (Type::U16, ""),
            (Type::I16, "0x8000"),
            (Type::I64, "9223372036854775808"),
            (Type::F32, "1e39"),
            (Type::F64, "-1e999"),
            (Type::F64, "x"),
        ];
        for (kind, text) in wrong {
            assert_eq!(Value::parse(kind, text), Err(Error::NotA(kind)), "{kind:?} {text:?}");
        }
        assert_eq!(Error::NotA(Type::F32).to_string(), "not a value of type f32");
    }

    #[test]
    fn reals_are_rounded_half_away_from_zero_and_saturate() {
        let rounded = [(0.5, 1), (-0.5, -1), (1.5, 2), (2.5, 3), (-2.5, -3), (0.49999, 0), (-7.4, -7), (1e9, 32_767)];
        for (real, expected) in rounded {
            assert_eq!(Value::from_real(Type::I16, real), Value::I16(expected), "{real}");
        }
        assert_eq!(Value::from_real(Type::U16, -3.0), Value::U16(0));
        assert_eq!(Value::from_real(Type::U64, 1e30), Value::U64(u64::MAX));
        assert_eq!(Value::from_real(Type::I64, f64::NEG_INFINITY), Value::I64(i64::MIN));
        assert_eq!(Value::from_real(Type::I32, f64::NAN), Value::I32(0));
        assert_eq!(Value::from_real(Type::F32, 1e300), Value::F32(f32::MAX));
        assert_eq!(Value::from_real(Type::F64, f64::INFINITY), Value::F64(f64::MAX));
        assert_eq!(Value::from_integer(Type::I16, -40_000), Value::I16(i16::MIN));
        assert_eq!(Value::from_integer(Type::U32, i128::MAX), Value::U32(u32::MAX));
        assert_eq!(Value::from_integer(Type::F32, 3), Value::F32(3.0));
    }

    #[test]
    fn strings_are_padded_and_read_up_to_the_first_nul() {
        let (mut registers, mut out) = ([0xFFFF; 3], [0; 6]);
        encode_string(Order::Abcd, b"abc", &mut registers).unwrap();
        assert_eq!(registers, [0x6162, 0x6300, 0]);
        assert_eq!(decode_string(Order::Abcd, &registers, &mut out), Ok(b"abc".as_slice()));
        encode_string(Order::Badc, b"abcdef", &mut registers).unwrap();
        assert_eq!(registers, [0x6261, 0x6463, 0x6665]);
        assert_eq!(decode_string(Order::Badc, &registers, &mut out), Ok(b"abcdef".as_slice()));
    }

    #[test]
    fn strings_refuse_what_is_too_long_and_orders_that_reverse_registers() {
        let mut registers = [7; 1];
        let refused = Err(Error::Length { expected: 2, actual: 3 });
        assert_eq!(encode_string(Order::Abcd, b"abc", &mut registers), refused);
        assert_eq!(encode_string(Order::Cdab, b"a", &mut registers), Err(Error::StringOrder(Order::Cdab)));
        assert_eq!(registers, [7]);
        let refused = Err(Error::Length { expected: 2, actual: 1 });
        assert_eq!(decode_string(Order::Abcd, &registers, &mut [0]), refused);
        assert_eq!(decode_string(Order::Dcba, &registers, &mut [0; 2]), Err(Error::StringOrder(Order::Dcba)));
    }
}
