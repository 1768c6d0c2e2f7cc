//! Types, widths and spans: what reading and writing have in common.

use crate::cli::Shared;
use crate::cli::target::{Kind, Table};
use wharf_core::modbus::pdu::{MAX_READ_REGISTERS, Span};
use wharf_core::modbus::typed::{Order, Type};

/// Addresses of one table.
pub(super) const SPACE: u32 = 65_536;
/// Most records that one group of Read File Record returns within a PDU of 253 bytes.
const MAX_READ_RECORDS: u16 = 124;

/// The type of the values, which must suit the table.
pub(super) fn kind_of(table: Table, shared: &Shared) -> Result<Kind, String> {
    match (table.is_bits(), shared.kind) {
        (true, None | Some(Kind::Bool)) => Ok(Kind::Bool),
        (true, Some(kind)) => Err(format!("{table} has bits: --type {kind} is for registers")),
        (false, Some(Kind::Bool)) => Err(format!("{table} has registers: --type bool is for coils and discrete")),
        (false, Some(Kind::Text(_))) if !matches!(shared.order, Order::Abcd | Order::Badc) => {
            Err(format!("strings have order abcd or badc, not {}", shared.order.name()))
        }
        (false, kind) => Ok(kind.unwrap_or(Kind::Number(Type::U16))),
    }
}

pub(super) fn expect_room(start: u16, entries: u32, space: u32) -> Result<(), String> {
    if u32::from(start).saturating_add(entries) <= space {
        return Ok(());
    }
    Err(format!("{entries} entries from {start} on: the last is {}", space - 1))
}

/// Registers that one value takes; a bit takes one place too.
pub(super) fn width(kind: Kind) -> u16 {
    match kind {
        Kind::Bool => 1,
        Kind::Number(number) => in_space(number.registers()),
        Kind::Text(registers) => registers,
    }
}

pub(super) fn words_per_request(table: Table) -> u16 {
    if matches!(table, Table::File(_)) { MAX_READ_RECORDS } else { MAX_READ_REGISTERS }
}

/// `start` and every `step`-th address after it, without end.
pub(super) fn addresses(start: u16, step: u16) -> impl Iterator<Item = u32> {
    (u32::from(start)..).step_by(usize::from(step))
}

/// Narrows what [`expect_room`] has seen to be within the address space.
pub(super) fn in_space<T: TryInto<u16>>(address: T) -> u16 {
    address.try_into().ok().expect("start and length were checked to be within the table")
}

/// The requests that cover `total` entries from `start` on, at most `most` each.
pub(super) fn spans(start: u16, total: u32, most: u16) -> impl Iterator<Item = Span> {
    let end = u32::from(start) + total;
    addresses(start, most)
        .take_while(move |begin| *begin < end)
        .map(move |begin| Span { start: in_space(begin), quantity: in_space((end - begin).min(u32::from(most))) })
}

/// For the `else` of a pattern that `Reply::decode` guarantees.
pub(super) fn mismatch() -> ! {
    unreachable!("a decoded reply has the shape of its request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_the_range_once_and_in_order() {
        let spans: Vec<_> = spans(65_286, 250, 124).map(|span| (span.start, span.quantity)).collect();
        assert_eq!(spans, [(65_286, 124), (65_410, 124), (65_534, 2)]);
    }
}
