//! What faults do to the bytes of a frame (stages 1 to 3). Each works on what the one before left.

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the kinds of faults")]

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
///
/// `quantity` is that of the reply as far as it has one, and `honest` is the frame before any fault, to which nothing
/// random may lead back; `further` is a reply that is long enough for any quantity, or empty.
pub(super) fn apply(
    kind: &Kind,
    payload: &[u8],
    mut source: SplitMix64,
    quantity: &mut Option<u16>,
    (honest, further): (&Frame, &[u8]),
    frame: &mut Frame,
) -> usize {
    let before = frame.clone();
    match *kind {
        Kind::WrongCount(count) => recount(frame, further, quantity, count),
        Kind::WrongFunction(mode) => {
            if let (Some(code), Some(honest)) = (frame.get_mut(HEADER_LEN), honest.get(HEADER_LEN)) {
                *code = other_function(*code, *honest, mode, &mut source);
            }
        }
        Kind::Corrupt { mode, offset, count } => corrupt(frame, honest, mode, offset, count, &mut source),
        Kind::Truncate { keep, relength } => {
            frame.truncate(HEADER_LEN.saturating_add(kept(pdu_len(frame), keep)));
            relength_if(frame, relength);
        }
        Kind::Extra { mode, count, relength } => {
            extend(frame, honest, mode, count, payload, &mut source);
            relength_if(frame, relength);
        }
        Kind::WrongUnit(mode) => {
            if let (Some(unit), Some(honest)) = (frame.get_mut(UNIT), honest.get(UNIT)) {
                *unit = match mode {
                    UnitMode::Increment => unit.wrapping_add(1),
                    UnitMode::Fixed(value) => value,
                    UnitMode::Random => other_byte([*unit, *honest], &mut source),
                    UnitMode::Swap => !*unit,
                };
            }
        }
        Kind::WrongTransaction(mode) => change_word(frame, 0, |id| match mode {
            TransactionMode::Increment => id.wrapping_add(1),
            TransactionMode::Fixed(value) => value,
            TransactionMode::Random => {
                let honest = honest.first_chunk().copied().map_or(id, u16::from_be_bytes);
                other([id, honest], 0, u16::MAX, &mut source)
            }
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

/// The greatest quantity of a normal reply of this function, if it has one.
pub(super) const fn most(function: u8) -> Option<u16> {
    match function {
        function::READ_COILS | function::READ_DISCRETE_INPUTS => Some(MAX_READ_BITS),
        function::READ_HOLDING_REGISTERS | function::READ_INPUT_REGISTERS | function::READ_WRITE_MULTIPLE_REGISTERS => {
            Some(MAX_READ_REGISTERS)
        }
        _ => None,
    }
}

/// What a `wrong_count` makes of a quantity.
pub(super) fn counted(present: u16, count: Count, most: u16) -> u16 {
    let quantity = match count {
        Count::Exactly(quantity) => quantity,
        Count::By(delta) => present.saturating_add_signed(delta),
    };
    quantity.clamp(1, most)
}

/// Makes a normal reply of 1..=4 and 23 one of another quantity, counted from the one that it has. What it lacks is found in
/// `further`, a reply that is long enough, or else is 0.
fn recount(frame: &mut Frame, further: &[u8], present: &mut Option<u16>, count: Count) {
    let Some(most) = frame.get(HEADER_LEN).and_then(|code| most(*code)) else { return };
    let Some(honest) = *present else { return };
    let quantity = counted(honest, count, most);
    *present = Some(quantity);
    let bytes = if most == MAX_READ_BITS { bytes_for_bits(quantity) } else { usize::from(quantity).saturating_mul(2) };
    // Function code and byte count go before the data.
    let _fits = frame.resize(HEADER_LEN.saturating_add(2).saturating_add(bytes), 0);
    let data = frame.iter_mut().skip(HEADER_LEN.saturating_add(2));
    for (byte, read) in data.zip(further.get(2..).filter(|read| read.len() >= bytes).unwrap_or_default()) {
        *byte = *read;
    }
    if let (Some(counted), Ok(bytes)) = (frame.get_mut(HEADER_LEN.saturating_add(1)), u8::try_from(bytes)) {
        *counted = bytes;
    }
    let spare = quantity % 8;
    if let Some(last) = frame.last_mut().filter(|_| most == MAX_READ_BITS && spare > 0) {
        *last &= (1_u8 << spare).wrapping_sub(1);
    }
    relength_if(frame, true);
}

fn other_function(code: u8, honest: u8, mode: FunctionMode, source: &mut SplitMix64) -> u8 {
    let (flag, code) = (code & EXCEPTION_FLAG, code & !EXCEPTION_FLAG);
    let next = if code >= 127 { 1 } else { code.saturating_add(1) };
    flag | match mode {
        FunctionMode::Fixed(value) => return value,
        FunctionMode::Increment => next,
        FunctionMode::Random => {
            let others = [code, honest & !EXCEPTION_FLAG].map(u16::from);
            u8::try_from(other(others, 1, 127, source)).unwrap_or(next)
        }
        FunctionMode::SwapReadWrite => match code {
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

fn corrupt(
    frame: &mut Frame,
    honest: &Frame,
    mode: CorruptMode,
    offset: Option<u8>,
    count: u8,
    source: &mut SplitMix64,
) {
    let honest = honest.get(HEADER_LEN.saturating_add(1)..).unwrap_or_default();
    let Some(data) = frame.get_mut(HEADER_LEN.saturating_add(1)..).filter(|data| !data.is_empty()) else { return };
    let start = match offset {
        Some(offset) => usize::from(offset),
        None => {
            let last = data.len().saturating_sub(usize::from(count).max(1));
            usize::try_from(source.up_to(u32::try_from(last).unwrap_or(0))).unwrap_or(0)
        }
    };
    for (at, byte) in data.iter_mut().enumerate().skip(start).take(usize::from(count)) {
        let honest = honest.get(at).copied().unwrap_or(*byte);
        *byte = match mode {
            CorruptMode::Flip => flipped(*byte, honest, source),
            CorruptMode::Set(value) => value,
            CorruptMode::Random => other_byte([*byte, honest], source),
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

fn extend(frame: &mut Frame, honest: &Frame, mode: ExtraMode, count: u8, payload: &[u8], source: &mut SplitMix64) {
    let last = frame.last().copied().unwrap_or(0);
    match mode {
        // Beyond the room of a frame nothing more is added.
        ExtraMode::Append => payload.iter().for_each(|byte| {
            let _full = frame.push(*byte);
        }),
        ExtraMode::Random => (0..count).for_each(|_| {
            // Where a honest byte stood before it was cut off, it is not that one.
            let byte = honest.get(frame.len()).map(|honest| other_byte([*honest; 2], source));
            let byte = byte.unwrap_or_else(|| source.draw().to_be_bytes()[0]);
            let _full = frame.push(byte);
        }),
        ExtraMode::DuplicateLast => (0..count).for_each(|_| {
            let _full = frame.push(last);
        }),
    }
}

/// One bit changed, but not the one that makes it honest.
fn flipped(byte: u8, honest: u8, source: &mut SplitMix64) -> u8 {
    let changed = byte ^ honest;
    let bit = if changed.is_power_of_two() {
        let bit = source.up_to(6);
        bit.saturating_add(u32::from(bit >= changed.trailing_zeros()))
    } else {
        source.up_to(7)
    };
    byte ^ 1_u8.rotate_left(bit)
}

fn other_byte(others: [u8; 2], source: &mut SplitMix64) -> u8 {
    u8::try_from(other(others.map(u16::from), 0, 255, source)).unwrap_or(0)
}

/// A value of `least..=greatest`, which are many, that is neither of two others.
fn other(mut others: [u16; 2], least: u16, greatest: u16, source: &mut SplitMix64) -> u16 {
    others.sort_unstable();
    let [low, high] = others;
    let low = (low != high).then_some(low);
    let taken = || low.into_iter().chain([high]).filter(|other| (least..=greatest).contains(other));
    let steps = u32::from(greatest.saturating_sub(least)).saturating_sub(taken().map(|_| 1).sum());
    let value = u16::try_from(source.up_to(steps)).unwrap_or(0).saturating_add(least);
    taken().fold(value, |value, other| value.saturating_add(u16::from(value >= other)))
}
