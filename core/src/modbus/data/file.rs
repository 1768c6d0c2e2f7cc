//! Files of 16-bit records (AP 6.14, 6.15).

use super::marks::FileMarks;
use super::{BuildError, Operation, Storage};
use crate::modbus::pdu::{Exception, Words, request::FileSpan};

/// The only reference type that AP 6.14 defines.
const REFERENCE_TYPE: u8 = 6;
/// The highest record that can be named (AP 6.14).
const MAX_RECORD: u16 = 9999;

/// A file: number 1..=65535 and 1..=10000 records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FileEntry {
    /// The file's number, not 0.
    pub number: u16,
    /// How many records it has, 1..=10000.
    pub records: u16,
    /// Clients may only read it.
    pub read_only: bool,
    offset: usize,
}

impl FileEntry {
    /// A file that clients may read and, unless `read_only`, write.
    #[must_use]
    pub const fn new(number: u16, records: u16, read_only: bool) -> Self {
        Self { number, records, read_only, offset: 0 }
    }
}

/// Records that answer with exception 08, as if their consistency check had failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ParityRange {
    /// The file.
    pub number: u16,
    /// The first damaged record.
    pub first: u16,
    /// The last damaged record.
    pub last: u16,
}

/// The files of a device, in ascending order of number, their records one behind the other.
pub struct Files<S: Storage> {
    entries: S::Of<FileEntry>,
    records: S::Of<u16>,
    parity: S::Of<ParityRange>,
    pub(crate) marks: FileMarks,
}

impl<S: Storage> core::fmt::Debug for Files<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Files")
            .field("entries", &self.entries.as_ref())
            .field("parity", &self.parity.as_ref())
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Files<S> {
    /// Files over the records of all of them.
    ///
    /// # Errors
    /// When numbers are 0 or not ascending, a file is empty or too long, or the records are too few.
    pub fn new(
        mut entries: S::Of<FileEntry>,
        records: S::Of<u16>,
        parity: S::Of<ParityRange>,
    ) -> Result<Self, BuildError> {
        let (mut needed, mut last) = (0usize, 0);
        for entry in entries.as_mut() {
            if entry.records == 0 || entry.records > MAX_RECORD.saturating_add(1) || entry.number == 0 {
                return Err(BuildError::OutOfRange { start: entry.number, len: u32::from(entry.records) });
            }
            if entry.number <= last {
                return Err(BuildError::Overlap { start: entry.number });
            }
            last = entry.number;
            entry.offset = needed;
            needed = needed.saturating_add(usize::from(entry.records));
        }
        let got = records.as_ref().len();
        if got < needed {
            return Err(BuildError::StorageShort { needed, got });
        }
        Ok(Self { entries, records, parity, marks: FileMarks::new() })
    }

    /// The records of a file, for the application.
    #[must_use]
    pub fn records(&self, number: u16) -> Option<&[u16]> {
        let entry = self.entry(number)?;
        self.records.as_ref().get(entry.offset..)?.get(..usize::from(entry.records))
    }

    /// Sets records of a file from `first` on, for the application; false, and nothing changed, if one is absent.
    pub fn store(&mut self, number: u16, first: u16, values: &[u16]) -> bool {
        let there = self.records(number).and_then(|all| all.get(usize::from(first)..)).unwrap_or_default().len();
        let fits = !values.is_empty() && values.len() <= there;
        if fits {
            self.store_some(number, first, values.iter().copied());
        }
        fits
    }

    fn store_some(&mut self, number: u16, first: u16, values: impl ExactSizeIterator<Item = u16> + Clone) {
        let Some(entry) = self.entry(number) else { return };
        let begin = entry.offset.saturating_add(first.into());
        let records = self.records.as_mut().get_mut(begin..).unwrap_or_default();
        if self.marks.is_on() {
            let changed = records.iter().copied().zip(values.clone()).any(|(record, value)| record != value);
            self.marks.records(number, first, values.len(), changed);
        }
        records.iter_mut().zip(values).for_each(|(record, value)| *record = value);
    }

    /// Whether a client may do this to a group of records.
    ///
    /// # Errors
    /// 02 where type, file, or a record is absent or the file read-only; 08 where a record is damaged.
    pub fn check(&self, operation: Operation, span: FileSpan) -> Result<(), Exception> {
        let there = span.kind == REFERENCE_TYPE && span.record <= MAX_RECORD;
        let entry = self.entry(span.file).filter(|_| there).ok_or(Exception::ILLEGAL_DATA_ADDRESS)?;
        if span.records().end() > u32::from(entry.records) || (entry.read_only && operation == Operation::Write) {
            return Err(Exception::ILLEGAL_DATA_ADDRESS);
        }
        let damaged = self.parity.as_ref().iter().any(|range| {
            range.number == span.file && range.last >= span.record && u32::from(range.first) < span.records().end()
        });
        if damaged { Err(Exception::MEMORY_PARITY_ERROR) } else { Ok(()) }
    }

    /// Reads a group that [`Files::check`] has passed.
    pub fn read(&self, span: FileSpan, out: &mut [u8]) {
        let records = self.records(span.file).and_then(|all| all.get(usize::from(span.record)..)).unwrap_or_default();
        for (pair, record) in out.as_chunks_mut::<2>().0.iter_mut().zip(records) {
            *pair = record.to_be_bytes();
        }
    }

    /// Writes a group that [`Files::check`] has passed.
    pub fn write(&mut self, span: FileSpan, values: Words<'_>) {
        self.store_some(span.file, span.record, values.iter());
    }

    fn entry(&self, number: u16) -> Option<FileEntry> {
        let entries = self.entries.as_ref();
        let at = entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        entries.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::data::Static;

    fn files() -> Files<Static> {
        let entries = std::vec![FileEntry::new(1, 10_000, false), FileEntry::new(4, 10, true)].leak();
        let parity = std::vec![ParityRange { number: 1, first: 90, last: 99 }].leak();
        Files::new(entries, std::vec![0; 10_010].leak(), parity).unwrap()
    }

    fn span(kind: u8, file: u16, record: u16, length: u16) -> FileSpan {
        FileSpan { kind, file, record, length }
    }

    #[test]
    fn a_group_lies_inside_of_its_file() {
        let files = files();
        let read = |span| files.check(Operation::Read, span);
        assert_eq!(read(span(6, 1, 9999, 1)), Ok(()));
        for absent in [
            span(5, 1, 0, 1),
            span(6, 0, 0, 1),
            span(6, 2, 0, 1),
            span(6, 1, 9999, 2),
            span(6, 1, 10_000, 1),
            span(6, 4, 9, 2),
        ] {
            assert_eq!(read(absent), Err(Exception::ILLEGAL_DATA_ADDRESS), "{absent:?}");
        }
        assert_eq!(files.check(Operation::Write, span(6, 4, 0, 1)), Err(Exception::ILLEGAL_DATA_ADDRESS));
    }

    #[test]
    fn damaged_records_answer_with_a_parity_error_at_both_ends_of_their_range() {
        let files = files();
        for (record, length, damaged) in [(88, 2, false), (88, 3, true), (99, 1, true), (100, 5, false), (0, 200, true)]
        {
            let got = files.check(Operation::Read, span(6, 1, record, length));
            assert_eq!(got == Err(Exception::MEMORY_PARITY_ERROR), damaged, "{record} + {length}");
        }
    }

    #[test]
    fn files_do_not_share_records() {
        let mut files = files();
        files.write(span(6, 1, 9998, 2), Words::new(&[1, 2, 3, 4]).unwrap());
        let mut out = [9; 2];
        files.read(span(6, 4, 0, 1), &mut out);
        assert_eq!((out, &files.records(1).unwrap()[9998..]), ([0, 0], &[0x0102, 0x0304][..]));
    }
}
