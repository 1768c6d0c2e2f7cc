//! What `wharf modbus write` writes, as a job: judged before anything is sent, then done over one connection, in as many
//! requests as its size takes. No value is ever cut in two by a split.

use super::Client;
use super::parts::{SPACE, addresses, expect_room, in_space, kind_of, width};
use crate::cli::WriteValues;
use crate::cli::rows::{Row, bit_row, word_row};
use crate::cli::target::{Kind, Mask, Table};
use crate::cli::transport::NoReply;
use serde_json::json;
use wharf_core::modbus::pdu::{MAX_WRITE_BITS, MAX_WRITE_REGISTERS, Request, Span, Words};
use wharf_core::modbus::typed::{Order, Type, Value, encode_string};

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum WriteJob {
    Bits(Vec<bool>),
    Words { kind: Kind, words: Vec<u16> },
    Mask(Mask),
}

impl WriteJob {
    pub(super) fn new(write: &WriteValues, address: u16) -> Result<Self, String> {
        let WriteValues { table, shared, .. } = write;
        if !matches!(table, Table::Coils | Table::Holding) {
            return Err(format!("{table} cannot be written: only coils and holding can"));
        }
        let kind = kind_of(*table, shared)?;
        if let Some(mask) = write.mask {
            if *table == Table::Coils || shared.kind.is_some() {
                return Err("--mask is for single holding registers".to_owned());
            }
            return Ok(Self::Mask(mask));
        }
        let count = u32::try_from(write.values.len()).unwrap_or(u32::MAX);
        expect_room(address, count.saturating_mul(u32::from(width(kind))), SPACE)?;
        if kind == Kind::Bool {
            return write.values.iter().map(|text| parse_bit(text)).collect::<Result<_, _>>().map(Self::Bits);
        }
        if write.single && width(kind) > 1 {
            return Err(format!("--single writes one register: {kind} has {}", width(kind)));
        }
        if width(kind) > MAX_WRITE_REGISTERS {
            return Err(format!("a string to write has at most {MAX_WRITE_REGISTERS} registers"));
        }
        let values: Result<Vec<_>, _> = write.values.iter().map(|text| encode(kind, shared.order, text)).collect();
        Ok(Self::Words { kind, words: values?.concat() })
    }

    pub(super) fn kind_name(&self) -> String {
        match self {
            Self::Bits(_) => "bool".to_owned(),
            Self::Words { kind, .. } => kind.to_string(),
            Self::Mask(_) => "mask".to_owned(),
        }
    }

    pub(super) fn run(&self, client: &mut Client<'_>, address: u16, single: bool) -> Result<(), NoReply> {
        let one = |address: u32| Span { start: in_space(address), quantity: 1 };
        match self {
            Self::Mask(Mask { and, or }) => {
                let request = Request::MaskWriteRegister { address, and: *and, or: *or };
                client.order_done(1, one(address.into()), &request)
            }
            Self::Bits(bits) if single => addresses(address, 1).zip(bits).try_for_each(|(address, bit)| {
                let request = Request::WriteSingleCoil { address: in_space(address), value: *bit };
                client.order_done(total(bits.len()), one(address), &request)
            }),
            Self::Words { words, .. } if single => addresses(address, 1).zip(words).try_for_each(|(address, word)| {
                let request = Request::WriteSingleRegister { address: in_space(address), value: *word };
                client.order_done(total(words.len()), one(address), &request)
            }),
            Self::Bits(bits) => {
                let parts = bits.chunks(usize::from(MAX_WRITE_BITS));
                addresses(address, MAX_WRITE_BITS).zip(parts).try_for_each(|(address, part)| {
                    let span = Span { start: in_space(address), quantity: in_space(part.len()) };
                    client.order_done(total(bits.len()), span, &Request::WriteMultipleCoils { span, bits: &pack(part) })
                })
            }
            Self::Words { kind, words } => {
                let step = MAX_WRITE_REGISTERS / width(*kind) * width(*kind);
                addresses(address, step).zip(words.chunks(usize::from(step))).try_for_each(|(address, part)| {
                    let span = Span { start: in_space(address), quantity: in_space(part.len()) };
                    let bytes: Vec<u8> = part.iter().flat_map(|word| word.to_be_bytes()).collect();
                    let values = Words::new(&bytes).expect("two bytes a register are an even number");
                    client.order_done(total(words.len()), span, &Request::WriteMultipleRegisters { span, values })
                })
            }
        }
    }

    pub(super) fn rows(&self, write: &WriteValues, start: u16) -> Vec<Row> {
        let WriteValues { table, shared, .. } = write;
        match self {
            Self::Bits(bits) => {
                addresses(start, 1).zip(bits).map(|(address, bit)| bit_row(*table, address, *bit, shared)).collect()
            }
            Self::Words { kind, words } => {
                let values = words.chunks_exact(usize::from(width(*kind)));
                addresses(start, width(*kind))
                    .zip(values)
                    .map(|(address, words)| word_row(*table, address, words, *kind, shared))
                    .collect()
            }
            Self::Mask(Mask { and, or }) => [("and", and), ("or", or)]
                .map(|(text, word)| {
                    let label = table.label(u32::from(start), shared.reference);
                    Row { label, hex: format!("{word:04X}"), text: text.to_owned(), json: vec![json!(word)] }
                })
                .to_vec(),
        }
    }
}

/// How many entries a job writes; it was checked that they fit the table.
fn total(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

fn parse_bit(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "on" => Ok(true),
        "0" | "false" | "off" => Ok(false),
        _ => Err(format!("{text:?} is no bit: 0, 1, false, true, off, on")),
    }
}

fn encode(kind: Kind, order: Order, text: &str) -> Result<Vec<u16>, String> {
    let mut words = vec![0; usize::from(width(kind))];
    let (encoded, accepted) = match kind {
        Kind::Text(registers) => {
            let accepted = format!("has {} bytes: {kind} holds {}", text.len(), 2 * registers);
            (encode_string(order, text.as_bytes(), &mut words), accepted)
        }
        Kind::Number(number) => (
            Value::parse(number, text).and_then(|value| value.encode(order, &mut words)),
            format!("is no {kind}: {}", range(number)),
        ),
        Kind::Bool => return Err("bits are not registers".to_owned()),
    };
    encoded.map(|()| words).map_err(|_| format!("{text:?} {accepted}"))
}

/// The values of a type, for a message.
fn range(number: Type) -> String {
    match number {
        Type::U16 => format!("0..={}", u16::MAX),
        Type::I16 => format!("{}..={}", i16::MIN, i16::MAX),
        Type::U32 => format!("0..={}", u32::MAX),
        Type::I32 => format!("{}..={}", i32::MIN, i32::MAX),
        Type::U64 => format!("0..={}", u64::MAX),
        Type::I64 => format!("{}..={}", i64::MIN, i64::MAX),
        Type::F32 | Type::F64 => "a number such as -1.5 or 2e9, inf or NaN".to_owned(),
    }
}

/// Bits as they stand on the wire: the first is bit 0.
fn pack(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |packed, bit| packed << 1 | u8::from(*bit))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_packed_from_bit_zero() {
        let bits = [true, false, true, true, false, false, true, true, true, true, false];
        assert_eq!(pack(&bits), [0xCD, 0x03]);
    }
}
