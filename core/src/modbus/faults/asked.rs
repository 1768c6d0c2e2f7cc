//! What a request asks for, as faults see it.

use crate::modbus::access::{Area, accesses};
use crate::modbus::data::TableKind;
use crate::modbus::pdu::Span;

/// A request without its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Asked {
    /// The unit asked for.
    pub unit: u8,
    /// The function code.
    pub function: u8,
    /// What it reads and writes in the tables; of function 23 first what it reads.
    spans: [Option<(TableKind, Span)>; 2],
}

impl Asked {
    /// No request.
    pub(super) const NOTHING: Self = Self { unit: 0, function: 0, spans: [None; 2] };

    /// What a PDU of 1..=253 bytes asks of a unit. One that is cut short names no span.
    #[must_use]
    pub fn new(unit: u8, pdu: &[u8]) -> Self {
        let mut spans = accesses(pdu).filter_map(|access| match access.area {
            Area::Table(table) => Some((table, access.span)),
            Area::File(_) | Area::Queues => None,
        });
        Self { unit, function: pdu.first().copied().unwrap_or(0), spans: [spans.next(), spans.next()] }
    }

    /// The spans that it names.
    pub fn spans(&self) -> impl Iterator<Item = (TableKind, Span)> + '_ {
        self.spans.iter().copied().flatten()
    }

    /// The quantity asked for; of function 23 the one to read.
    #[must_use]
    pub fn quantity(&self) -> Option<u16> {
        self.spans().next().map(|(_, span)| span.quantity)
    }
}
