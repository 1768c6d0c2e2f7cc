//! What faults do to the bytes of a frame (stages 1 to 3). Each works on what the one before left.

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the kinds of faults")]

use super::asked::Asked;
use super::fault::{CorruptMode, Count, ExtraMode, FunctionMode, Keep, Kind, LengthMode, TransactionMode, UnitMode};
use crate::modbus::mbap::{HEADER_LEN, MAX_PDU};
use crate::modbus::pdu::{EXCEPTION_FLAG, MAX_READ_BITS, MAX_READ_REGISTERS, bytes_for_bits, function};
use crate::random::SplitMix64;
use heapless::Vec;

/// Most bytes that a frame can be made to have; what goes beyond is cut off.
pub const MAX_ALTERED: usize = 3 * MAX_PDU;

/// A whole frame, its header first.
pub type Frame = Vec<u8, MAX_ALTERED>;

/// The place of the length field, and of the unit id.
const LENGTH: usize = 4;
const UNIT: usize = 6;

/// Does what one fault does to a frame; how many of its bytes have changed, came or went.
pub(super) fn apply(kind: &Kind, payload: &[u8], mut source: SplitMix64, asked: &Asked, frame: &mut Frame) -> usize {
    let before = frame.clone();
    match *kind {
        Kind::WrongCount(count) => recount(frame, asked, count),
        Kind::WrongFunction(mode) => {
            if let Some(code) = frame.get_mut(HEADER_LEN) {
                *code = other_function(*code, mode, &mut source);
            }
        }
        Kind::Corrupt { mode, offset, count } => corrupt(frame, mode, offset, count, &mut source),
        Kind::Truncate { keep, relength } => {
            frame.truncate(HEADER_LEN.saturating_add(kept(pdu_len(frame), keep)));
            relength_if(frame, relength);
        }
        Kind::Extra { mode, count, relength } => {
            extend(frame, mode, count, payload, &mut source);
            relength_if(frame, relength);
        }
        Kind::WrongUnit(mode) => {
            if let Some(unit) = frame.get_mut(UNIT) {
                *unit = match mode {
                    UnitMode::Increment => unit.wrapping_add(1),
                    UnitMode::Fixed(value) => value,
                    UnitMode::Random => other_byte(*unit, &mut source),
                    UnitMode::Swap => !*unit,
                };
            }
        }
        Kind::WrongTransaction(mode) => change_word(frame, 0, |id| match mode {
            TransactionMode::Increment => id.wrapping_add(1),
            TransactionMode::Fixed(value) => value,
            TransactionMode::Random => other_word(id, &mut source),
            TransactionMode::SwapBytes => id.swap_bytes(),
        }),
        Kind::WrongProtocol(value) => change_word(frame, 2, |_| value),
        Kind::WrongLength(mode) => change_word(frame, LENGTH, |length| match mode {
            LengthMode::Delta(delta) => length.wrapping_add_signed(delta),
            LengthMode::Fixed(value) => value,
        }),
        _ => {}
    }
    let changed = before.iter().zip(frame.iter()).filter(|(old, new)| old != new).count();
    changed.saturating_add(before.len().abs_diff(frame.len()))
}

fn pdu_len(frame: &Frame) -> usize {
    frame.len().saturating_sub(HEADER_LEN)
}

/// The length field says what is there: the unit id and the PDU.
fn relength_if(frame: &mut Frame, relength: bool) {
    if relength {
        let length = u16::try_from(pdu_len(frame).saturating_add(1)).unwrap_or(u16::MAX);
        change_word(frame, LENGTH, |_| length);
    }
}

fn change_word(frame: &mut Frame, at: usize, f: impl FnOnce(u16) -> u16) {
    if let Some(bytes) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *bytes = f(u16::from_be_bytes(*bytes)).to_be_bytes();
    }
}

/// Makes a normal reply of 1..=4 and 23 one of another quantity.
fn recount(frame: &mut Frame, asked: &Asked, count: Count) {
    let most = match frame.get(HEADER_LEN) {
        Some(&(function::READ_COILS | function::READ_DISCRETE_INPUTS)) => MAX_READ_BITS,
        Some(
            &(function::READ_HOLDING_REGISTERS
            | function::READ_INPUT_REGISTERS
            | function::READ_WRITE_MULTIPLE_REGISTERS),
        ) => MAX_READ_REGISTERS,
        _ => return,
    };
    let Some(honest) = asked.quantity() else { return };
    let quantity = match count {
        Count::Exactly(quantity) => quantity,
        Count::By(delta) => honest.saturating_add_signed(delta),
    };
    let quantity = quantity.clamp(1, most);
    let bytes = if most == MAX_READ_BITS { bytes_for_bits(quantity) } else { usize::from(quantity).saturating_mul(2) };
    // Function code and byte count go before the data, which grows by zeros.
    let _fits = frame.resize(HEADER_LEN.saturating_add(2).saturating_add(bytes), 0);
    if let (Some(counted), Ok(bytes)) = (frame.get_mut(HEADER_LEN.saturating_add(1)), u8::try_from(bytes)) {
        *counted = bytes;
    }
    let spare = quantity % 8;
    if let Some(last) = frame.last_mut().filter(|_| most == MAX_READ_BITS && spare > 0) {
        *last &= (1_u8 << spare).wrapping_sub(1);
    }
    relength_if(frame, true);
}

fn other_function(code: u8, mode: FunctionMode, source: &mut SplitMix64) -> u8 {
    let (flag, honest) = (code & EXCEPTION_FLAG, code & !EXCEPTION_FLAG);
    let next = if honest >= 127 { 1 } else { honest.saturating_add(1) };
    flag | match mode {
        FunctionMode::Fixed(value) => return value,
        FunctionMode::Increment => next,
        FunctionMode::Random => {
            // One of the 126 others, counted on from the honest one.
            let step = u16::try_from(source.up_to(125)).unwrap_or(0).saturating_add(1);
            let other = u16::from(honest).saturating_sub(1).saturating_add(step) % 127;
            u8::try_from(other.saturating_add(1)).unwrap_or(next)
        }
        FunctionMode::SwapReadWrite => match honest {
            1 => 5,
            5 => 1,
            2 => 15,
            15 => 2,
            3 => 16,
            16 | 22 | 23 => 3,
            4 => 6,
            6 => 4,
            _ => next,
        },
    }
}

fn corrupt(frame: &mut Frame, mode: CorruptMode, offset: Option<u8>, count: u8, source: &mut SplitMix64) {
    let Some(data) = frame.get_mut(HEADER_LEN.saturating_add(1)..).filter(|data| !data.is_empty()) else { return };
    let start = match offset {
        Some(offset) => usize::from(offset),
        None => {
            let last = data.len().saturating_sub(usize::from(count).max(1));
            usize::try_from(source.up_to(u32::try_from(last).unwrap_or(0))).unwrap_or(0)
        }
    };
    for byte in data.iter_mut().skip(start).take(usize::from(count)) {
        *byte = match mode {
            CorruptMode::Flip => *byte ^ (1 << source.up_to(7)),
            CorruptMode::Set(value) => value,
            CorruptMode::Random => other_byte(*byte, source),
        };
    }
}

/// How many bytes of a PDU stay: at least its function code.
fn kept(len: usize, keep: Keep) -> usize {
    let kept = match keep {
        Keep::HeaderOnly => 1,
        Keep::FixedBytes(bytes) => usize::from(bytes),
        Keep::Fraction(millionths) => {
            let part = (len as u64).saturating_mul(u64::from(millionths)) / 1_000_000;
            usize::try_from(part).unwrap_or(len)
        }
        Keep::AllBut(bytes) => len.saturating_sub(usize::from(bytes)),
    };
    kept.clamp(1, len.max(1))
}

fn extend(frame: &mut Frame, mode: ExtraMode, count: u8, payload: &[u8], source: &mut SplitMix64) {
    let last = frame.last().copied().unwrap_or(0);
    let mut push = |byte| {
        // Beyond the room of a frame nothing more is added.
        let _full = frame.push(byte);
    };
    match mode {
        ExtraMode::Append => payload.iter().copied().for_each(push),
        ExtraMode::Random => (0..count).for_each(|_| push(source.draw().to_be_bytes()[0])),
        ExtraMode::DuplicateLast => (0..count).for_each(|_| push(last)),
    }
}

fn other_byte(honest: u8, source: &mut SplitMix64) -> u8 {
    honest.wrapping_add(u8::try_from(source.up_to(254)).unwrap_or(0)).wrapping_add(1)
}

fn other_word(honest: u16, source: &mut SplitMix64) -> u16 {
    honest.wrapping_add(u16::try_from(source.up_to(65_534)).unwrap_or(0)).wrapping_add(1)
}
