//! The authorisation hook of the naive server (section 3.1, check 5), entry by entry.

use crate::fixture::{Denial, Denied, Table};

/// Whether anything forbids a request to a unit.
pub(super) fn deny(denials: &[Denial], unit: u8, pdu: &[u8]) -> bool {
    denials.iter().filter(|denial| denial.unit == unit).any(|denial| match denial.what {
        Denied::Function(code) => pdu[0] == code,
        Denied::Reading(table, first, last) => {
            reads(pdu).is_some_and(|(read, start, count)| read == table && meet(start, count, first, last))
        }
        Denied::Writing(table, first, last) => {
            writes(pdu).is_some_and(|(written, start, count)| written == table && meet(start, count, first, last))
        }
        Denied::File(number) => files(pdu).contains(&number),
        Denied::Queue(pointer) => pdu[0] == 24 && word(pdu, 1) == Some(pointer),
    })
}

fn meet(start: u16, count: u16, first: u16, last: u16) -> bool {
    (0..u32::from(count)).any(|offset| (u32::from(first)..=u32::from(last)).contains(&(u32::from(start) + offset)))
}

fn word(pdu: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*pdu.get(at)?, *pdu.get(at + 1)?]))
}

fn reads(pdu: &[u8]) -> Option<(Table, u16, u16)> {
    let table = match pdu[0] {
        1 => Table::Coils,
        2 => Table::Discrete,
        3 | 23 => Table::Holding,
        4 => Table::Input,
        _ => return None,
    };
    Some((table, word(pdu, 1)?, word(pdu, 3)?))
}

fn writes(pdu: &[u8]) -> Option<(Table, u16, u16)> {
    match pdu[0] {
        5 => Some((Table::Coils, word(pdu, 1)?, 1)),
        6 | 22 => Some((Table::Holding, word(pdu, 1)?, 1)),
        15 => Some((Table::Coils, word(pdu, 1)?, word(pdu, 3)?)),
        16 => Some((Table::Holding, word(pdu, 1)?, word(pdu, 3)?)),
        23 => Some((Table::Holding, word(pdu, 5)?, word(pdu, 7)?)),
        _ => None,
    }
}

/// The files of the groups whose seven bytes are there.
fn files(pdu: &[u8]) -> Vec<u16> {
    let mut files = Vec::new();
    let mut at = 2;
    while matches!(pdu[0], 20 | 21) && at + 7 <= pdu.len() {
        files.extend(word(pdu, at + 1));
        let records = word(pdu, at + 5).map_or(0, usize::from);
        at += 7 + if pdu[0] == 21 { 2 * records } else { 0 };
    }
    files
}
