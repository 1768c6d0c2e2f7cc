//! What a request asks for, as faults see it.

use crate::modbus::data::TableKind;
use crate::modbus::pdu::{Span, function};

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
        let function = pdu.first().copied().unwrap_or(0);
        let word = |at: usize| match pdu.get(at..at.saturating_add(2)) {
            Some(&[high, low]) => Some(u16::from_be_bytes([high, low])),
            _ => None,
        };
        let span = |at: usize| Some(Span { start: word(at)?, quantity: word(at.saturating_add(2))? });
        let one = || Some(Span { start: word(1)?, quantity: 1 });
        let (table, spans) = match function {
            function::READ_COILS | function::WRITE_MULTIPLE_COILS => (TableKind::Coils, [span(1), None]),
            function::READ_DISCRETE_INPUTS => (TableKind::Discrete, [span(1), None]),
            function::READ_INPUT_REGISTERS => (TableKind::Input, [span(1), None]),
            function::READ_HOLDING_REGISTERS | function::WRITE_MULTIPLE_REGISTERS => {
                (TableKind::Holding, [span(1), None])
            }
            function::WRITE_SINGLE_COIL => (TableKind::Coils, [one(), None]),
            function::WRITE_SINGLE_REGISTER | function::MASK_WRITE_REGISTER => (TableKind::Holding, [one(), None]),
            function::READ_WRITE_MULTIPLE_REGISTERS => (TableKind::Holding, [span(1), span(5)]),
            _ => (TableKind::Holding, [None, None]),
        };
        Self { unit, function, spans: spans.map(|span| span.map(|span| (table, span))) }
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
