//! Sparse tables: sorted blocks of addresses over packed bits or registers.
//!
//! The values of all blocks lie one behind the other in one slice, in order of address. Blocks that touch are therefore
//! neighbours in storage too, and a request that crosses from one into the next is a single run of values.

use super::marks::TableMarks;
use super::{BuildError, Operation, Storage, masked};
use crate::modbus::pdu::{Exception, Span, Words};

/// A run of addresses that exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Block {
    start: u16,
    len: u32,
    /// Where its values begin in the table's slice, in values; set when the table is built.
    offset: u32,
}

impl Block {
    /// `len` addresses, 1..=65536, from `start` on. The range is checked when a table is built of it.
    #[must_use]
    pub const fn new(start: u16, len: u32) -> Self {
        Self { start, len, offset: 0 }
    }

    /// The first address.
    #[must_use]
    pub const fn start(self) -> u16 {
        self.start
    }

    /// How many addresses.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no block of a table is empty")]
    pub const fn len(self) -> u32 {
        self.len
    }

    /// The address after the last.
    const fn end(self) -> u32 {
        (self.start as u32).saturating_add(self.len)
    }
}

/// What clients may do with a range. The application may always do both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Access {
    /// Read and write.
    #[default]
    ReadWrite,
    /// Read only.
    ReadOnly,
    /// Write only.
    WriteOnly,
    /// Neither.
    None,
}

impl Access {
    const fn permits(self, operation: Operation) -> bool {
        match operation {
            Operation::Read => matches!(self, Self::ReadWrite | Self::ReadOnly),
            Operation::Write => matches!(self, Self::ReadWrite | Self::WriteOnly),
        }
    }
}

/// A range of addresses with an access of its own; addresses outside of all ranges are [`Access::ReadWrite`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AccessRange {
    /// The first address.
    pub start: u16,
    /// How many addresses, 1..=65536.
    pub len: u32,
    /// What clients may do there.
    pub access: Access,
}

impl AccessRange {
    const fn end(self) -> u32 {
        (self.start as u32).saturating_add(self.len)
    }
}

/// A table of bits, eight to a byte: coils or discrete inputs.
pub type BitTable<S> = Table<u8, S>;
/// A table of registers: input or holding registers.
pub type RegisterTable<S> = Table<u16, S>;

/// A sparse table over the caller's storage. `V` is the unit of storage: a byte of eight bits, or a register.
pub struct Table<V: 'static, S: Storage> {
    blocks: S::Of<Block>,
    values: S::Of<V>,
    access: S::Of<AccessRange>,
    denied: Exception,
    pub(crate) marks: TableMarks,
}

impl<V, S: Storage> core::fmt::Debug for Table<V, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Table")
            .field("blocks", &self.blocks.as_ref())
            .field("access", &self.access.as_ref())
            .finish_non_exhaustive()
    }
}

impl<V, S: Storage> Table<V, S> {
    fn build(
        mut blocks: S::Of<Block>,
        values: S::Of<V>,
        access: S::Of<AccessRange>,
        values_per_slot: usize,
    ) -> Result<Self, BuildError> {
        let mut offset = 0u32;
        let mut free = 0u32;
        for block in blocks.as_mut() {
            claim(&mut free, block.start, block.len)?;
            block.offset = offset;
            offset = offset.saturating_add(block.len);
        }
        let mut free = 0u32;
        for range in access.as_ref() {
            claim(&mut free, range.start, range.len)?;
        }
        let needed = usize::try_from(offset).unwrap_or(usize::MAX).div_ceil(values_per_slot.max(1));
        let got = values.as_ref().len();
        if got < needed {
            return Err(BuildError::StorageShort { needed, got });
        }
        Ok(Self { blocks, values, access, denied: Exception::ILLEGAL_DATA_ADDRESS, marks: TableMarks::new() })
    }

    /// Sets the exception that a client gets where [`Access`] forbids what it asks; 02 unless set.
    pub const fn set_denied(&mut self, denied: Exception) {
        self.denied = denied;
    }

    /// The blocks, in order of address.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        self.blocks.as_ref()
    }

    /// Whether a client may do this to all of `span`.
    ///
    /// # Errors
    /// 02 where an address is absent, the table's own exception where one is not permitted.
    pub fn check(&self, operation: Operation, span: Span) -> Result<(), Exception> {
        self.permitted(operation, span).map(|_| ())
    }

    /// Where the values of `span` begin, if a client may do this to all of it.
    #[inline]
    fn permitted(&self, operation: Operation, span: Span) -> Result<usize, Exception> {
        let offset = self.offset(span).ok_or(Exception::ILLEGAL_DATA_ADDRESS)?;
        let ranges = self.access.as_ref();
        if !ranges.is_empty() {
            let start = u32::from(span.start);
            let touched = ranges.iter().filter(|range| range.end() > start && u32::from(range.start) < span.end());
            if touched.clone().any(|range| !range.access.permits(operation)) {
                return Err(self.denied);
            }
        }
        Ok(offset)
    }

    /// Where the values of `span` begin in the slice, if all of its addresses exist.
    fn offset(&self, span: Span) -> Option<usize> {
        self.offset_of(span.start, span.end())
    }

    /// Where the values from `start` to below `stop` begin in the slice, if all of these addresses exist.
    #[inline]
    pub(crate) fn offset_of(&self, start: u16, stop: u32) -> Option<usize> {
        let blocks = self.blocks.as_ref();
        let after = blocks.partition_point(|block| block.start <= start);
        let mut rest = blocks.get(after.checked_sub(1)?..)?.iter();
        let first = *rest.next()?;
        let mut end = first.end();
        if u32::from(start) >= end {
            return None;
        }
        while stop > end {
            let next = rest.next().filter(|next| u32::from(next.start) == end)?;
            end = next.end();
        }
        let inside = start.saturating_sub(first.start);
        usize::try_from(first.offset.saturating_add(u32::from(inside))).ok()
    }
}

impl<S: Storage> BitTable<S> {
    /// A table of bits over `values`, eight to a byte; blocks and access ranges are given in ascending order.
    ///
    /// # Errors
    /// When blocks or ranges overlap, reach past 65536, or the values are too few.
    pub fn new(blocks: S::Of<Block>, values: S::Of<u8>, access: S::Of<AccessRange>) -> Result<Self, BuildError> {
        Self::build(blocks, values, access, 8)
    }

    /// Reads for a client into exactly the bytes for the span, spare bits 0.
    ///
    /// # Errors
    /// As [`Table::check`].
    pub fn read(&self, span: Span, out: &mut [u8]) -> Result<(), Exception> {
        let offset = self.permitted(Operation::Read, span)?;
        copy_bits(self.values.as_ref(), offset, span.quantity, out);
        Ok(())
    }

    /// Writes for a client.
    ///
    /// # Errors
    /// As [`Table::check`].
    pub fn write(&mut self, span: Span, bits: &[u8]) -> Result<(), Exception> {
        let offset = self.permitted(Operation::Write, span)?;
        self.store_at(offset, span, bits);
        Ok(())
    }

    /// The bit at `address`, whatever clients may do there.
    #[must_use]
    pub fn bit(&self, address: u16) -> Option<bool> {
        let offset = self.offset(Span { start: address, quantity: 1 })?;
        let mut bit = [0];
        copy_bits(self.values.as_ref(), offset, 1, &mut bit);
        Some(bit != [0])
    }

    /// Sets the bit at `address`, whatever clients may do there; false if there is none.
    pub fn set_bit(&mut self, address: u16, value: bool) -> bool {
        let span = Span { start: address, quantity: 1 };
        let Some(offset) = self.offset(span) else { return false };
        self.store_at(offset, span, &[u8::from(value)]);
        true
    }

    fn store_at(&mut self, offset: usize, span: Span, bits: &[u8]) {
        if self.marks.is_on() {
            let changed = bits_differ(self.values.as_ref(), offset, span.quantity, bits);
            self.marks.table(span.start, span.quantity.into(), changed);
        }
        store_bits(self.values.as_mut(), offset, span.quantity, bits);
    }

    /// Reads bits that exist, packed, whatever clients may do there.
    pub(crate) fn peek(&self, span: Span, out: &mut [u8]) -> bool {
        self.offset(span).map(|offset| copy_bits(self.values.as_ref(), offset, span.quantity, out)).is_some()
    }

    /// Sets bits that exist without a mark; whether that made a difference.
    pub(crate) fn poke(&mut self, span: Span, bits: &[u8]) -> bool {
        let Some(offset) = self.offset(span) else { return false };
        let changed = bits_differ(self.values.as_ref(), offset, span.quantity, bits);
        store_bits(self.values.as_mut(), offset, span.quantity, bits);
        changed
    }
}

impl<S: Storage> RegisterTable<S> {
    /// A table of registers over `values`; blocks and access ranges are given in ascending order.
    ///
    /// # Errors
    /// When blocks or ranges overlap, reach past 65536, or the values are too few.
    pub fn new(blocks: S::Of<Block>, values: S::Of<u16>, access: S::Of<AccessRange>) -> Result<Self, BuildError> {
        Self::build(blocks, values, access, 1)
    }

    /// Reads for a client into exactly two bytes per register.
    ///
    /// # Errors
    /// As [`Table::check`].
    pub fn read(&self, span: Span, out: &mut [u8]) -> Result<(), Exception> {
        let offset = self.permitted(Operation::Read, span)?;
        copy_registers(self.values.as_ref().get(offset..).unwrap_or_default(), out);
        Ok(())
    }

    /// Writes for a client.
    ///
    /// # Errors
    /// As [`Table::check`].
    pub fn write(&mut self, span: Span, values: Words<'_>) -> Result<(), Exception> {
        let offset = self.permitted(Operation::Write, span)?;
        let changed = store_words(self.values.as_mut().get_mut(offset..).unwrap_or_default(), values.as_bytes());
        if self.marks.is_on() {
            self.marks.table(span.start, values.len(), changed);
        }
        Ok(())
    }

    /// Masks one register for a client, who need not be allowed to read it (AP 6.16).
    ///
    /// # Errors
    /// As [`Table::check`].
    pub fn mask(&mut self, address: u16, and: u16, or: u16) -> Result<(), Exception> {
        let offset = self.permitted(Operation::Write, Span { start: address, quantity: 1 })?;
        let current = self.values.as_ref().get(offset).copied().unwrap_or_default();
        self.store_at(offset, address, core::iter::once(masked(current, and, or)));
        Ok(())
    }

    /// The register at `address`, whatever clients may do there.
    #[must_use]
    pub fn register(&self, address: u16) -> Option<u16> {
        let offset = self.offset(Span { start: address, quantity: 1 })?;
        self.values.as_ref().get(offset).copied()
    }

    /// Sets the register at `address`, whatever clients may do there; false if there is none.
    pub fn set_register(&mut self, address: u16, value: u16) -> bool {
        self.store(address, &[value])
    }

    /// Reads registers from `start` on, whatever clients may do there; false, and `out` as it was, if one is absent.
    pub fn load(&self, start: u16, out: &mut [u16]) -> bool {
        let Some(offset) = self.run(start, out.len()) else { return false };
        let values = self.values.as_ref().get(offset..).unwrap_or_default();
        out.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
        true
    }

    /// Sets registers from `start` on, whatever clients may do there; false, and nothing changed, if one is absent.
    pub fn store(&mut self, start: u16, values: &[u16]) -> bool {
        let Some(offset) = self.run(start, values.len()) else { return false };
        self.store_at(offset, start, values.iter().copied());
        true
    }

    fn store_at(&mut self, offset: usize, start: u16, values: impl ExactSizeIterator<Item = u16> + Clone) {
        let slots = self.values.as_mut().get_mut(offset..).unwrap_or_default();
        if self.marks.is_on() {
            let changed = slots.iter().copied().zip(values.clone()).any(|(slot, value)| slot != value);
            self.marks.table(start, values.len(), changed);
        }
        slots.iter_mut().zip(values).for_each(|(slot, value)| *slot = value);
    }

    /// Reads registers that exist, two bytes each, whatever clients may do there.
    pub(crate) fn peek(&self, span: Span, out: &mut [u8]) -> bool {
        let Some(offset) = self.offset(span) else { return false };
        let end = usize::from(span.quantity).saturating_mul(2).min(out.len());
        let values = self.values.as_ref().get(offset..).unwrap_or_default();
        copy_registers(values, out.get_mut(..end).unwrap_or_default());
        true
    }

    /// Sets registers that exist without a mark; whether that made a difference.
    pub(crate) fn poke(&mut self, span: Span, bytes: &[u8]) -> bool {
        let Some(offset) = self.offset(span) else { return false };
        let end = usize::from(span.quantity).saturating_mul(2);
        let slots = self.values.as_mut().get_mut(offset..).unwrap_or_default();
        store_words(slots, bytes.get(..end).unwrap_or(bytes))
    }

    /// Where so many registers from `start` on begin in the slice, if all exist.
    fn run(&self, start: u16, len: usize) -> Option<usize> {
        let quantity = u16::try_from(len).ok().filter(|quantity| *quantity > 0)?;
        self.offset(Span { start, quantity })
    }
}

/// Takes `len` addresses from `start` on, the first of which must be `free` or later.
fn claim(free: &mut u32, start: u16, len: u32) -> Result<(), BuildError> {
    let end = u32::from(start).saturating_add(len);
    if len == 0 || end > 0x1_0000 {
        return Err(BuildError::OutOfRange { start, len });
    }
    if u32::from(start) < *free {
        return Err(BuildError::Overlap { start });
    }
    *free = end;
    Ok(())
}

/// Copies the first of `values` to `out`, two bytes each, as many as both have. Apart from its callers, because here the
/// compiler knows that the two do not overlap, and moves eight at a time.
#[inline(never)]
fn copy_registers(values: &[u16], out: &mut [u8]) {
    for (pair, value) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
        *pair = value.to_be_bytes();
    }
}

/// Stores registers as they stand on the wire, as many as both have; whether any was another before. Apart from its callers
/// as [`copy_registers`] is.
#[inline(never)]
fn store_words(slots: &mut [u16], bytes: &[u8]) -> bool {
    let mut differences = 0;
    for (slot, pair) in slots.iter_mut().zip(bytes.as_chunks::<2>().0) {
        let value = u16::from_be_bytes(*pair);
        differences |= *slot ^ value;
        *slot = value;
    }
    differences != 0
}

/// Copies `quantity` bits from bit `offset` of `bits` on to the front of `out`; spare bits of its last byte are 0.
fn copy_bits(bits: &[u8], offset: usize, quantity: u16, out: &mut [u8]) {
    let (first, shift) = (offset / 8, offset % 8);
    let mut source = bits.get(first..).unwrap_or_default().iter().copied();
    let mut low = source.next().unwrap_or(0);
    let mut left = usize::from(quantity);
    for byte in out {
        let high = source.next().unwrap_or(0);
        let [shifted, _] = (u16::from_le_bytes([low, high]) >> shift).to_le_bytes();
        *byte = shifted & low_bits(left);
        left = left.saturating_sub(8);
        low = high;
    }
}

/// Whether `quantity` bits from bit `offset` of `bits` on are others than the first of `source`.
fn bits_differ(bits: &[u8], offset: usize, quantity: u16, source: &[u8]) -> bool {
    let mut left = usize::from(quantity);
    (offset..).step_by(8).zip(source).any(|(at, byte)| {
        let (mut was, here) = ([0], left.min(8));
        left = left.saturating_sub(8);
        copy_bits(bits, at, u16::try_from(here).unwrap_or(0), &mut was);
        was != [byte & low_bits(here)]
    })
}

/// Stores the first `quantity` bits of `source` from bit `offset` of `bits` on; the bits beside them stay.
fn store_bits(bits: &mut [u8], offset: usize, quantity: u16, source: &[u8]) {
    let (first, shift) = (offset / 8, offset % 8);
    let mut left = usize::from(quantity);
    for (at, &byte) in (first..).zip(source) {
        let value = (u16::from(byte) << shift).to_le_bytes();
        let mask = (u16::from(low_bits(left)) << shift).to_le_bytes();
        let touched = bits.get_mut(at..).unwrap_or_default();
        for ((slot, value), mask) in touched.iter_mut().zip(value).zip(mask) {
            *slot = (*slot & !mask) | (value & mask);
        }
        left = left.saturating_sub(8);
    }
}

/// A byte with its lowest `bits` bits set, all eight if there are more.
fn low_bits(bits: usize) -> u8 {
    let unused = 8usize.saturating_sub(bits);
    u32::try_from(unused).ok().and_then(|unused| 0xFFu8.checked_shr(unused)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::data::Static;
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    fn leak<T>(values: Vec<T>) -> &'static mut [T] {
        Box::leak(values.into_boxed_slice())
    }

    fn registers(
        blocks: &[(u16, u32)],
        access: Vec<AccessRange>,
        len: usize,
    ) -> Result<RegisterTable<Static>, BuildError> {
        let blocks = blocks.iter().map(|&(start, len)| Block::new(start, len)).collect();
        RegisterTable::new(leak(blocks), leak((0..len).map(|v| v as u16).collect()), leak(access))
    }

    fn span(start: u16, quantity: u16) -> Span {
        Span { start, quantity }
    }

    #[test]
    fn a_request_crosses_blocks_that_touch_and_stops_at_a_gap() {
        let table = registers(&[(10, 5), (15, 5), (30, 1)], vec![], 11).unwrap();
        let mut out = [0; 12];
        assert_eq!(table.read(span(13, 6), &mut out), Ok(()));
        assert_eq!(out, [0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]);
        for (start, quantity, there) in [
            (9, 1, false),
            (10, 10, true),
            (10, 11, false),
            (19, 1, true),
            (19, 2, false),
            (20, 1, false),
            (30, 1, true),
            (31, 1, false),
            (65535, 1, false),
        ] {
            assert_eq!(table.check(Operation::Read, span(start, quantity)).is_ok(), there, "{start} {quantity}");
        }
    }

    #[test]
    fn the_whole_address_space_is_one_block_and_nothing_wraps() {
        let table = registers(&[(0, 65536)], vec![], 65536).unwrap();
        assert_eq!(table.register(65535), Some(65535));
        assert_eq!(table.check(Operation::Write, span(65535, 1)), Ok(()));
        assert_eq!(table.check(Operation::Write, span(65535, 2)), Err(Exception::ILLEGAL_DATA_ADDRESS));
    }

    #[test]
    fn overlap_range_and_short_storage_are_refused() {
        assert_eq!(registers(&[(0, 5), (4, 1)], vec![], 6).unwrap_err(), BuildError::Overlap { start: 4 });
        assert_eq!(registers(&[(8, 1), (4, 1)], vec![], 6).unwrap_err(), BuildError::Overlap { start: 4 });
        assert_eq!(registers(&[(65535, 2)], vec![], 6).unwrap_err(), BuildError::OutOfRange { start: 65535, len: 2 });
        assert_eq!(registers(&[(0, 0)], vec![], 6).unwrap_err(), BuildError::OutOfRange { start: 0, len: 0 });
        assert_eq!(registers(&[(0, 7)], vec![], 6).unwrap_err(), BuildError::StorageShort { needed: 7, got: 6 });
    }

    #[test]
    fn access_binds_clients_and_not_the_application() {
        let access = vec![
            AccessRange { start: 2, len: 2, access: Access::ReadOnly },
            AccessRange { start: 4, len: 1, access: Access::WriteOnly },
            AccessRange { start: 5, len: 1, access: Access::None },
        ];
        let mut table = registers(&[(0, 8)], access, 8).unwrap();
        let can = |table: &RegisterTable<Static>, operation, start, quantity| {
            table.check(operation, span(start, quantity)).is_ok()
        };
        assert!(can(&table, Operation::Read, 0, 4) && !can(&table, Operation::Read, 3, 2));
        assert!(can(&table, Operation::Write, 0, 2) && !can(&table, Operation::Write, 1, 2));
        assert!(can(&table, Operation::Write, 4, 1) && !can(&table, Operation::Write, 4, 2));
        assert!(can(&table, Operation::Write, 6, 2) && !can(&table, Operation::Read, 5, 1));
        assert_eq!(table.mask(4, 0, 0xABCD), Ok(()), "a write-only register can be masked");
        assert_eq!(table.register(4), Some(0xABCD));
        assert!(table.set_register(5, 9) && !table.set_register(8, 9));
        table.set_denied(Exception::SERVER_DEVICE_FAILURE);
        assert_eq!(table.check(Operation::Read, span(5, 1)), Err(Exception::SERVER_DEVICE_FAILURE));
        assert_eq!(table.check(Operation::Read, span(7, 2)), Err(Exception::ILLEGAL_DATA_ADDRESS));
    }

    #[test]
    fn bits_at_any_offset_are_what_one_bit_at_a_time_gives() {
        let mut random = crate::testing::SplitMix64::new(1);
        let mut next = |below: u64| random.below(below) as u16;
        let mut table: BitTable<Static> =
            BitTable::new(leak(vec![Block::new(3, 100)]), leak(vec![0; 13]), leak(vec![])).unwrap();
        let mut model = [false; 103];
        for _ in 0..5000 {
            let start = 3 + next(100);
            let quantity = 1 + next(u64::from(103 - start));
            let bytes = usize::from(quantity).div_ceil(8);
            let source: Vec<u8> = (0..bytes).map(|_| next(256) as u8).collect();
            table.write(span(start, quantity), &source).unwrap();
            for i in 0..usize::from(quantity) {
                model[usize::from(start) + i] = source[i / 8] >> (i % 8) & 1 == 1;
            }
            let start = 3 + next(100);
            let quantity = 1 + next(u64::from(103 - start));
            let mut out = vec![0xAA; usize::from(quantity).div_ceil(8)];
            table.read(span(start, quantity), &mut out).unwrap();
            for i in 0..out.len() * 8 {
                let expected = i < usize::from(quantity) && model[usize::from(start) + i];
                assert_eq!(out[i / 8] >> (i % 8) & 1 == 1, expected, "{start} + {i} of {quantity}");
            }
        }
        assert!((3..103).all(|address| table.bit(address) == Some(model[usize::from(address)])));
    }
}
