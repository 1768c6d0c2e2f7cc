//! What a request PDU names: which entries of what it reads and writes, without judging it.
//!
//! Whoever decides about a request before it is decoded looks here. [`accesses`] never fails: it names what the bytes
//! that are there say, as they say it. A span may be empty, longer than its function allows, or reach past the last
//! address; what is cut short before its span is complete names nothing. For every request that
//! [`Request::decode`](super::pdu::Request::decode) accepts, these are exactly the entries that it names and then reads and
//! writes. What a device has made of entries that a request does not name is not among them: function 7 shows the coils
//! that are set to be its status.

use super::data::TableKind;
use super::pdu::{Span, function};

/// What entries are entries of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Area {
    /// One of the tables, by address.
    Table(TableKind),
    /// The file of this number, by record, whatever the reference type.
    File(u16),
    /// The queues, by pointer address.
    Queues,
}

/// Entries that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Access {
    /// What they are entries of.
    pub area: Area,
    /// The first and how many, as asked.
    pub span: Span,
    /// Whether they are to be written, rather than read.
    pub writes: bool,
}

/// What a PDU names, in its order:
///
/// | function | accesses |
/// | --- | --- |
/// | 1..=4 | what is read |
/// | 5, 6, 15, 16, 22 | what is written; 22 keeps bits of it and shows none |
/// | 20, 21 | a run of records for each group that is there with its head; 21 ends with a group whose records are cut short |
/// | 23 | what is read, then what is written |
/// | 24 | the queue's pointer |
/// | any other | none: 7 among them, which may show coils, and the user's own functions |
///
/// A user's handler for one of these codes may do something else; the accesses are those of the built-in function.
#[must_use]
#[inline]
pub const fn accesses(pdu: &[u8]) -> Accesses<'_> {
    let Some((&code, data)) = pdu.split_first() else { return Accesses(Rest::Spans([None; 2])) };
    let (table, writes) = match code {
        function::READ_COILS => (TableKind::Coils, false),
        function::READ_DISCRETE_INPUTS => (TableKind::Discrete, false),
        function::READ_HOLDING_REGISTERS => (TableKind::Holding, false),
        function::READ_INPUT_REGISTERS => (TableKind::Input, false),
        function::WRITE_SINGLE_COIL | function::WRITE_MULTIPLE_COILS => (TableKind::Coils, true),
        function::WRITE_SINGLE_REGISTER
        | function::WRITE_MULTIPLE_REGISTERS
        | function::MASK_WRITE_REGISTER
        | function::READ_WRITE_MULTIPLE_REGISTERS => (TableKind::Holding, true),
        function::READ_FIFO_QUEUE => return Accesses(Rest::Spans([access(Area::Queues, one(data), false), None])),
        function::READ_FILE_RECORD => return Accesses(Rest::Groups { bytes: behind(data, 1), write: false }),
        function::WRITE_FILE_RECORD => return Accesses(Rest::Groups { bytes: behind(data, 1), write: true }),
        _ => return Accesses(Rest::Spans([None; 2])),
    };
    let area = Area::Table(table);
    Accesses(Rest::Spans(match code {
        function::WRITE_SINGLE_COIL | function::WRITE_SINGLE_REGISTER | function::MASK_WRITE_REGISTER => {
            [access(area, one(data), writes), None]
        }
        function::READ_WRITE_MULTIPLE_REGISTERS => {
            [access(area, run(data), false), access(area, run(behind(data, 4)), true)]
        }
        _ => [access(area, run(data), writes), None],
    }))
}

/// The addresses that a request PDU names first, for events and logs: the read span of function 23, the pointer of 24, and
/// none for the functions without addresses and for files.
#[must_use]
#[inline]
pub fn first_span(pdu: &[u8]) -> Option<Span> {
    accesses(pdu).next().filter(|access| !matches!(access.area, Area::File(_))).map(|access| access.span)
}

/// The accesses of a PDU; made by [`accesses`].
#[derive(Clone, Debug)]
pub struct Accesses<'a>(Rest<'a>);

#[derive(Clone, Debug)]
enum Rest<'a> {
    Spans([Option<Access>; 2]),
    /// Groups of a file request, the records behind each if they are to be written.
    Groups {
        bytes: &'a [u8],
        write: bool,
    },
}

impl Iterator for Accesses<'_> {
    type Item = Access;

    #[inline]
    fn next(&mut self) -> Option<Access> {
        match &mut self.0 {
            Rest::Spans([first, second]) => {
                let next = first.take();
                *first = second.take();
                next
            }
            Rest::Groups { bytes, write } => {
                let (&[_, f0, f1, r0, r1, l0, l1], rest) = bytes.split_first_chunk::<7>()?;
                let span = Span { start: u16::from_be_bytes([r0, r1]), quantity: u16::from_be_bytes([l0, l1]) };
                let records = if *write { usize::from(span.quantity).saturating_mul(2) } else { 0 };
                *bytes = behind(rest, records);
                Some(Access { area: Area::File(u16::from_be_bytes([f0, f1])), span, writes: *write })
            }
        }
    }
}

/// Every group takes bytes, and of spans there are two at most.
impl core::iter::FusedIterator for Accesses<'_> {}

const fn access(area: Area, span: Option<Span>, writes: bool) -> Option<Access> {
    match span {
        Some(span) => Some(Access { area, span, writes }),
        None => None,
    }
}

/// First address and quantity.
const fn run(data: &[u8]) -> Option<Span> {
    match data.first_chunk::<4>() {
        Some(&[a0, a1, q0, q1]) => {
            Some(Span { start: u16::from_be_bytes([a0, a1]), quantity: u16::from_be_bytes([q0, q1]) })
        }
        None => None,
    }
}

/// One address.
const fn one(data: &[u8]) -> Option<Span> {
    match data.first_chunk::<2>() {
        Some(address) => Some(Span { start: u16::from_be_bytes(*address), quantity: 1 }),
        None => None,
    }
}

/// What follows the first `len` bytes.
const fn behind(bytes: &[u8], len: usize) -> &[u8] {
    match bytes.split_at_checked(len) {
        Some((_, rest)) => rest,
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const fn named(area: Area, start: u16, quantity: u16, writes: bool) -> Access {
        Access { area, span: Span { start, quantity }, writes }
    }

    fn all(pdu: &[u8]) -> Vec<Access> {
        accesses(pdu).collect()
    }

    #[test]
    fn every_function_names_what_it_reads_and_what_it_writes() {
        let tables = [
            (1, TableKind::Coils, false),
            (2, TableKind::Discrete, false),
            (3, TableKind::Holding, false),
            (4, TableKind::Input, false),
            (15, TableKind::Coils, true),
            (16, TableKind::Holding, true),
        ];
        for (code, table, writes) in tables {
            assert_eq!(all(&[code, 1, 2, 3, 4]), [named(Area::Table(table), 0x0102, 0x0304, writes)], "{code}");
        }
        for (code, table) in [(5, TableKind::Coils), (6, TableKind::Holding), (22, TableKind::Holding)] {
            assert_eq!(all(&[code, 1, 2, 3, 4, 5, 6]), [named(Area::Table(table), 0x0102, 1, true)], "{code}");
        }
        let holding = Area::Table(TableKind::Holding);
        let both = [named(holding, 1, 2, false), named(holding, 0x0304, 5, true)];
        assert_eq!(all(&[23, 0, 1, 0, 2, 3, 4, 0, 5, 10]), both);
        assert_eq!(all(&[24, 0x04, 0xDE]), [named(Area::Queues, 1246, 1, false)]);
        for code in [0, 7, 8, 11, 12, 17, 43, 65, 100, 0x83, 255] {
            assert_eq!(all(&[code, 14, 1, 0, 1, 0, 1, 0, 1]), [], "{code}");
        }
    }

    #[test]
    fn a_file_request_names_a_run_of_records_for_each_group() {
        let reads = [20, 14, 6, 0, 4, 0, 1, 0, 2, 6, 0, 3, 0, 9, 0, 1];
        assert_eq!(all(&reads), [named(Area::File(4), 1, 2, false), named(Area::File(3), 9, 1, false)]);
        // The records of the first group are skipped, although they look like a head.
        let writes = [21, 22, 6, 0, 4, 0, 1, 0, 4, 6, 0, 9, 0, 9, 0, 9, 0, 6, 0, 3, 0, 9, 0, 0];
        assert_eq!(all(&writes), [named(Area::File(4), 1, 4, true), named(Area::File(3), 9, 0, true)]);
        let foreign = [20, 7, 1, 0, 4, 0, 1, 0, 2];
        assert_eq!(all(&foreign), [named(Area::File(4), 1, 2, false)], "whatever the reference type");
    }

    #[test]
    fn what_is_cut_short_names_what_is_there_whole() {
        let whole: [(&[u8], &[usize]); 6] = [
            (&[3, 0, 1, 0, 2], &[5]),
            (&[6, 0, 1, 0, 2], &[3]),
            (&[16, 0, 1, 0, 1, 2, 0, 5], &[5]),
            (&[23, 0, 1, 0, 2, 0, 3, 0, 1, 2, 0, 5], &[5, 9]),
            (&[20, 14, 6, 0, 4, 0, 1, 0, 2, 6, 0, 3, 0, 9, 0, 1], &[9, 16]),
            (&[21, 18, 6, 0, 4, 0, 1, 0, 1, 0, 7, 6, 0, 3, 0, 9, 0, 1, 0, 8], &[9, 18]),
        ];
        for (pdu, ends) in whole {
            let full = all(pdu);
            assert_eq!(full.len(), ends.len(), "{pdu:?}");
            for len in 0..=pdu.len() {
                let there = ends.iter().filter(|end| **end <= len).count();
                assert_eq!(all(&pdu[..len]), full[..there], "{len} bytes of {pdu:?}");
            }
        }
    }

    #[test]
    fn the_first_span_is_that_of_tables_and_queues() {
        let span = |start, quantity| Some(Span { start, quantity });
        for code in [1, 2, 3, 4, 15, 16, 23] {
            assert_eq!(first_span(&[code, 1, 2, 3, 4]), span(0x0102, 0x0304), "function {code}");
            assert_eq!(first_span(&[code, 1, 2, 3]), None, "function {code}");
        }
        for code in [5, 6, 22, 24] {
            assert_eq!(first_span(&[code, 1, 2]), span(0x0102, 1), "function {code}");
        }
        for code in [7, 8, 11, 12, 17, 43, 65] {
            assert_eq!(first_span(&[code, 1, 2, 3, 4]), None, "function {code}");
        }
        for code in [20, 21] {
            assert_eq!(first_span(&[code, 7, 6, 0, 4, 0, 1, 0, 2]), None, "function {code}");
        }
    }

    #[test]
    fn nothing_is_judged() {
        let holding = Area::Table(TableKind::Holding);
        assert_eq!(all(&[3, 0xFF, 0xFF, 0xFF, 0xFF]), [named(holding, 0xFFFF, 0xFFFF, false)]);
        assert_eq!(all(&[3, 0, 0, 0, 0]), [named(holding, 0, 0, false)]);
        assert_eq!(all(&[5, 0, 1, 0x12, 0x34]), [named(Area::Table(TableKind::Coils), 1, 1, true)]);
        assert_eq!(all(&[21, 0, 6, 0, 4, 0, 1, 0xFF, 0xFF, 1]), [named(Area::File(4), 1, 0xFFFF, true)]);
        // As many groups as a PDU can hold.
        let mut most = vec![20, 251];
        most.extend([6, 0, 1, 0, 0, 0, 0].repeat(35));
        assert_eq!(accesses(&most).count(), 35);
    }
}
