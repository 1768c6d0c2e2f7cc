//! Addresses that hold what other addresses hold.
//!
//! A mirror copies its source in the same step in which the source is written, whoever writes it: nobody sees the one
//! without the other. It may lie in another unit. What is written to the copy itself stays until the source is written.
//! No mirror copies from another, so a write is followed by one round of copies and no more.

use super::changes::{Cause, Change, Observer, Place};
use super::{Handler, Units};
use crate::modbus::data::{Storage, TableKind};
use crate::modbus::pdu::Span;

/// One end of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Side {
    /// The unit; `None` is the default device apart from the units.
    pub unit: Option<u8>,
    /// The table.
    pub table: TableKind,
    /// The first address.
    pub start: u16,
}

/// A copy of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Mirror {
    /// What is copied.
    pub source: Side,
    /// Where it is copied to.
    pub copy: Side,
    /// How many entries, 1..=65536.
    pub len: u32,
}

impl Mirror {
    /// Whether all of its addresses can be, and both sides hold bits or both registers.
    fn is_sound(&self) -> bool {
        let fits = |side: &Side| u32::from(side.start).saturating_add(self.len) <= 0x1_0000;
        let alike = self.source.table.is_bits() == self.copy.table.is_bits();
        self.len > 0 && alike && fits(&self.source) && fits(&self.copy)
    }
}

/// Why mirrors are refused; those before stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MirrorError {
    /// Mirror `at` has no addresses or too many, or bits on one side and registers on the other.
    Unsound {
        /// Its place in the list.
        at: usize,
    },
    /// Mirror `at` copies to where a mirror copies from, or to where another one copies to.
    Chained {
        /// Its place in the list.
        at: usize,
    },
}

impl core::fmt::Display for MirrorError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unsound { at } => write!(f, "the sides of mirror {at} do not go together"),
            Self::Chained { at } => write!(f, "mirror {at} copies to the source or the copy of another"),
        }
    }
}

impl core::error::Error for MirrorError {}

impl<S: Storage<Handler: Handler<S>>> Units<S> {
    /// Sets the mirrors, in place of those before, and has them copy. Where addresses are absent nothing is copied.
    ///
    /// # Errors
    /// When one is unsound, or would copy to the source or the copy of another.
    pub fn set_mirrors(&mut self, mirrors: S::Of<Mirror>) -> Result<(), MirrorError> {
        let list = mirrors.as_ref();
        for (at, mirror) in list.iter().enumerate() {
            if !mirror.is_sound() {
                return Err(MirrorError::Unsound { at });
            }
            let spoilt = list.iter().enumerate().any(|(other_at, other)| {
                meet(mirror.copy, mirror.len, other.source, other.len)
                    || other_at != at && meet(mirror.copy, mirror.len, other.copy, other.len)
            });
            if spoilt {
                return Err(MirrorError::Chained { at });
            }
        }
        self.mirrors = Some(mirrors);
        self.switch_marks();
        self.copy_all();
        Ok(())
    }

    /// Has every mirror copy all of its source, and tells nobody.
    pub fn copy_all(&mut self) {
        for at in 0..self.mirror_count() {
            if let Some(mirror) = self.mirror(at) {
                let first = u32::from(mirror.source.start);
                let _untold = self.copy(&mirror, first, first.saturating_add(mirror.len));
            }
        }
    }

    /// The mirrors follow what was written to `first..end` of a table.
    pub(super) fn follow(
        &mut self,
        unit: Option<u8>,
        table: TableKind,
        first: u32,
        end: u32,
        observer: &mut dyn Observer,
    ) {
        for at in 0..self.mirror_count() {
            let Some(mirror) =
                self.mirror(at).filter(|mirror| (mirror.source.unit, mirror.source.table) == (unit, table))
            else {
                continue;
            };
            let begin = u32::from(mirror.source.start);
            let (first, end) = (first.max(begin), end.min(begin.saturating_add(mirror.len)));
            if let Some(change) = self.copy(&mirror, first, end) {
                observer.written(&change);
            }
        }
    }

    pub(super) fn has_mirrors(&self) -> bool {
        self.mirror_count() > 0
    }

    fn mirror_count(&self) -> usize {
        self.mirrors.as_ref().map_or(0, |mirrors| mirrors.as_ref().len())
    }

    fn mirror(&self, at: usize) -> Option<Mirror> {
        self.mirrors.as_ref()?.as_ref().get(at).copied()
    }

    /// Copies `first..end` of a source, if there is any of it and all of it and of the copy exist.
    fn copy(&mut self, mirror: &Mirror, first: u32, end: u32) -> Option<Change> {
        let (source, copy) = (self.spot(mirror.source.unit)?, self.spot(mirror.copy.unit)?);
        let len = end.checked_sub(first).filter(|len| *len > 0)?;
        let begin = u16::try_from(first).ok()?;
        let start = mirror.copy.start.checked_add(begin.checked_sub(mirror.source.start)?)?;
        let (from, to) = (self.at(source)?, self.at(copy)?);
        let stop = u32::from(start).saturating_add(len);
        if !from.device.has(mirror.source.table, begin, end) || !to.device.has(mirror.copy.table, start, stop) {
            return None;
        }
        let mut changed = false;
        for (at, to) in (first..end).zip(u32::from(start)..).step_by(AT_ONCE.into()) {
            let quantity = u16::try_from(end.saturating_sub(at)).unwrap_or(AT_ONCE).min(AT_ONCE);
            let span = |start| Some(Span { start: u16::try_from(start).ok()?, quantity });
            let mut entries = [0; AT_ONCE as usize * 2];
            if self.at(source)?.device.peek(mirror.source.table, span(at)?, &mut entries) {
                changed |= self.at_mut(copy)?.device.poke(mirror.copy.table, span(to)?, &entries);
            }
        }
        let place = Place::Table(mirror.copy.table);
        Some(Change { unit: mirror.copy.unit, place, start, len, changed, cause: Cause::Mirror })
    }
}

/// Entries that are copied at once.
const AT_ONCE: u16 = 64;

/// Whether two runs have an entry in common.
fn meet(a: Side, a_len: u32, b: Side, b_len: u32) -> bool {
    let (a_first, b_first) = (u32::from(a.start), u32::from(b.start));
    a_len.min(b_len) > 0
        && (a.unit, a.table) == (b.unit, b.table)
        && a_first < b_first.saturating_add(b_len)
        && b_first < a_first.saturating_add(a_len)
}
