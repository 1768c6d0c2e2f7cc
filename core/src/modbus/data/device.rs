//! A whole device: four tables, files, queues and an identity.

use super::marks::{Mark, TableMarks};
use super::{BitTable, BuildError, Files, Model, Operation, Queues, RegisterTable, ServerId, Storage, TableKind};
use crate::modbus::pdu::{Exception, MAX_OBJECT, MAX_SERVER_ID, Span, Words, request::FileSpan};

/// A device over the caller's storage. Its parts are public: the application may read and write them at any time.
pub struct Device<S: Storage> {
    /// Bits that clients read and write.
    pub coils: BitTable<S>,
    /// Bits that clients only read.
    pub discrete: BitTable<S>,
    /// Registers that clients only read.
    pub input: RegisterTable<S>,
    /// Registers that clients read and write.
    pub holding: RegisterTable<S>,
    /// Files of records.
    pub files: Files<S>,
    /// FIFO queues.
    pub queues: Queues<S>,
    /// Who the device says it is.
    pub identity: Identity<S>,
}

impl<S: Storage> core::fmt::Debug for Device<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Device")
            .field("coils", &self.coils)
            .field("discrete", &self.discrete)
            .field("input", &self.input)
            .field("holding", &self.holding)
            .field("files", &self.files)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

/// Who a device says it is, and how it is.
pub struct Identity<S: Storage> {
    objects: S::Of<(u8, S::Text)>,
    id: S::Text,
    extra: S::Text,
    /// The run indicator of Report Server ID.
    pub run: bool,
    /// What Read Exception Status says, unless `status_coils` is set.
    pub exception_status: u8,
    /// The first of eight coils that Read Exception Status says instead; absent ones read 0.
    pub status_coils: Option<u16>,
}

impl<S: Storage> core::fmt::Debug for Identity<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Identity").field("run", &self.run).finish_non_exhaustive()
    }
}

impl<S: Storage> Identity<S> {
    /// An identity of objects in ascending order of id, and the id and additional data of Report Server ID.
    ///
    /// # Errors
    /// When ids are not ascending or lie in 07..=7F (reserved by AP 6.21), or a text is too long.
    pub fn new(objects: S::Of<(u8, S::Text)>, id: S::Text, extra: S::Text) -> Result<Self, BuildError> {
        let mut last = None;
        for (object, text) in objects.as_ref() {
            if last.is_some_and(|last| *object <= last) {
                return Err(BuildError::Overlap { start: u16::from(*object) });
            }
            if (0x07..0x80).contains(object) {
                return Err(BuildError::OutOfRange { start: u16::from(*object), len: 1 });
            }
            let len = text.as_ref().len();
            if len > MAX_OBJECT {
                return Err(BuildError::TextLong { len });
            }
            last = Some(*object);
        }
        server_id_fits(id.as_ref(), extra.as_ref())?;
        Ok(Self { objects, id, extra, run: true, exception_status: 0, status_coils: None })
    }

    /// Changes an object that is there, and returns what it was; objects come and go with a new identity.
    ///
    /// # Errors
    /// The text comes back if it has more than 244 bytes or there is no such object.
    pub fn set_object(&mut self, id: u8, text: S::Text) -> Result<S::Text, S::Text> {
        let objects = self.objects.as_mut();
        let at = objects.binary_search_by_key(&id, |(id, _)| *id).ok().filter(|_| text.as_ref().len() <= MAX_OBJECT);
        match at.and_then(|at| objects.get_mut(at)) {
            Some((_, object)) => Ok(core::mem::replace(object, text)),
            None => Err(text),
        }
    }

    /// Changes the id and the additional data of Report Server ID.
    ///
    /// # Errors
    /// When they have more than 250 bytes together; then they stay.
    pub fn set_server_id(&mut self, id: S::Text, extra: S::Text) -> Result<(), BuildError> {
        server_id_fits(id.as_ref(), extra.as_ref())?;
        (self.id, self.extra) = (id, extra);
        Ok(())
    }

    fn object(&self, id: u8) -> Option<&[u8]> {
        let objects = self.objects.as_ref();
        match objects.binary_search_by_key(&id, |(id, _)| *id).ok().and_then(|at| objects.get(at)) {
            Some((_, text)) => Some(text.as_ref()),
            None if id <= 2 => Some(&[]),
            None => None,
        }
    }
}

const fn server_id_fits(id: &[u8], extra: &[u8]) -> Result<(), BuildError> {
    let len = id.len().saturating_add(1).saturating_add(extra.len());
    if len > MAX_SERVER_ID { Err(BuildError::TextLong { len }) } else { Ok(()) }
}

impl<S: Storage> Device<S> {
    /// Sets the exception that a client gets where access forbids what it asks; 02 unless set.
    pub const fn set_denied(&mut self, denied: Exception) {
        self.coils.set_denied(denied);
        self.discrete.set_denied(denied);
        self.input.set_denied(denied);
        self.holding.set_denied(denied);
    }
}

/// For those who watch over writes, whoever makes them.
impl<S: Storage> Device<S> {
    pub(crate) fn switch_marks(&mut self, on: bool) {
        TableKind::ALL.into_iter().for_each(|table| self.marks_mut(table).switch(on));
        self.files.marks.switch(on);
    }

    /// Whether anything has been written since the marks were taken.
    pub(crate) fn is_marked(&self) -> bool {
        let Self { coils, discrete, input, holding, files, .. } = self;
        let tables = [&coils.marks, &discrete.marks, &input.marks, &holding.marks];
        !files.marks.is_empty() || tables.iter().any(|marks| !marks.is_empty())
    }

    /// What has been written to a table since its marks were taken.
    pub(crate) fn take_marks(&mut self, table: TableKind) -> impl Iterator<Item = Mark> + use<S> {
        self.marks_mut(table).take().into_iter()
    }

    const fn marks_mut(&mut self, table: TableKind) -> &mut TableMarks {
        match table {
            TableKind::Coils => &mut self.coils.marks,
            TableKind::Discrete => &mut self.discrete.marks,
            TableKind::Input => &mut self.input.marks,
            TableKind::Holding => &mut self.holding.marks,
        }
    }

    /// Whether all addresses from `start` to below `end` exist.
    pub(crate) fn has(&self, table: TableKind, start: u16, end: u32) -> bool {
        match table {
            TableKind::Coils => self.coils.offset_of(start, end),
            TableKind::Discrete => self.discrete.offset_of(start, end),
            TableKind::Input => self.input.offset_of(start, end),
            TableKind::Holding => self.holding.offset_of(start, end),
        }
        .is_some()
    }

    /// Reads entries, bits packed and registers in two bytes, whatever clients may do there; false if one is absent.
    pub(crate) fn peek(&self, table: TableKind, span: Span, out: &mut [u8]) -> bool {
        match table {
            TableKind::Coils => self.coils.peek(span, out),
            TableKind::Discrete => self.discrete.peek(span, out),
            TableKind::Input => self.input.peek(span, out),
            TableKind::Holding => self.holding.peek(span, out),
        }
    }

    /// Sets entries without a mark; whether that made a difference.
    pub(crate) fn poke(&mut self, table: TableKind, span: Span, bytes: &[u8]) -> bool {
        match table {
            TableKind::Coils => self.coils.poke(span, bytes),
            TableKind::Discrete => self.discrete.poke(span, bytes),
            TableKind::Input => self.input.poke(span, bytes),
            TableKind::Holding => self.holding.poke(span, bytes),
        }
    }
}

impl<S: Storage> Model for Device<S> {
    fn read_bits(&self, table: TableKind, span: Span, out: &mut [u8]) -> Result<(), Exception> {
        match table {
            TableKind::Coils => self.coils.read(span, out),
            TableKind::Discrete => self.discrete.read(span, out),
            TableKind::Input | TableKind::Holding => Err(Exception::ILLEGAL_DATA_ADDRESS),
        }
    }

    fn write_coils(&mut self, span: Span, bits: &[u8]) -> Result<(), Exception> {
        self.coils.write(span, bits)
    }

    fn read_registers(&self, table: TableKind, span: Span, out: &mut [u8]) -> Result<(), Exception> {
        match table {
            TableKind::Input => self.input.read(span, out),
            TableKind::Holding => self.holding.read(span, out),
            TableKind::Coils | TableKind::Discrete => Err(Exception::ILLEGAL_DATA_ADDRESS),
        }
    }

    fn check_holding(&self, operation: Operation, span: Span) -> Result<(), Exception> {
        self.holding.check(operation, span)
    }

    fn write_holding(&mut self, span: Span, values: Words<'_>) -> Result<(), Exception> {
        self.holding.write(span, values)
    }

    fn mask_holding(&mut self, address: u16, and: u16, or: u16) -> Result<(), Exception> {
        self.holding.mask(address, and, or)
    }

    fn check_file(&self, operation: Operation, span: FileSpan) -> Result<(), Exception> {
        self.files.check(operation, span)
    }

    fn read_file(&self, span: FileSpan, out: &mut [u8]) {
        self.files.read(span, out);
    }

    fn write_file(&mut self, span: FileSpan, records: Words<'_>) {
        self.files.write(span, records);
    }

    fn queue_len(&self, pointer: u16) -> Option<usize> {
        self.queues.len(pointer)
    }

    fn read_queue(&self, pointer: u16, out: &mut [u8]) {
        self.queues.read(pointer, out);
    }

    fn object(&self, id: u8) -> Option<&[u8]> {
        self.identity.object(id)
    }

    fn server_id(&self) -> ServerId<'_> {
        ServerId { id: self.identity.id.as_ref(), run: self.identity.run, extra: self.identity.extra.as_ref() }
    }

    fn exception_status(&self) -> u8 {
        let Some(first) = self.identity.status_coils else { return self.identity.exception_status };
        (0..8u16)
            .filter(|bit| first.checked_add(*bit).and_then(|address| self.coils.bit(address)) == Some(true))
            .fold(0, |status, bit| status | 1 << bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::data::Static;
    use std::vec;

    fn identity(objects: &[(u8, usize)]) -> Result<Identity<Static>, BuildError> {
        let objects: vec::Vec<(u8, &[u8])> = objects.iter().map(|(id, len)| (*id, &*vec![b'x'; *len].leak())).collect();
        Identity::new(objects.leak(), b"".as_slice(), b"".as_slice())
    }

    #[test]
    fn an_identity_has_objects_of_244_bytes_at_most_and_none_that_is_reserved() {
        assert!(identity(&[(0, 244), (6, 244), (0x80, 0), (0xFF, 244)]).is_ok());
        for id in [0, 6, 0x80, 0xFF] {
            assert_eq!(identity(&[(id, 245)]).unwrap_err(), BuildError::TextLong { len: 245 });
        }
        for id in [7, 0x7F] {
            assert_eq!(identity(&[(id, 1)]).unwrap_err(), BuildError::OutOfRange { start: id.into(), len: 1 });
        }
    }

    #[test]
    fn the_basic_objects_are_always_there() {
        let identity = identity(&[(1, 3)]).unwrap();
        let lengths = [0, 1, 2, 3, 0x80].map(|id| identity.object(id).map(<[u8]>::len));
        assert_eq!(lengths, [Some(0), Some(3), Some(0), None, None]);
    }

    #[test]
    fn an_identity_can_be_changed_within_its_bounds() {
        static LONG: [u8; 251] = [b'x'; 251];
        let objects = std::vec![(0, b"a".as_slice()), (0x80, b"b".as_slice())].leak();
        let mut identity: Identity<Static> = Identity::new(objects, b"id".as_slice(), b"more".as_slice()).unwrap();
        assert_eq!(identity.set_object(0x80, b"new"), Ok(b"b".as_slice()));
        assert_eq!(identity.object(0x80), Some(b"new".as_slice()));
        assert_eq!(identity.set_object(0x81, b"new"), Err(b"new".as_slice()), "there is none");
        assert_eq!(identity.set_object(0, &LONG[..245]), Err(&LONG[..245]));
        assert_eq!(identity.set_object(0, &LONG[..244]), Ok(b"a".as_slice()));
        assert_eq!(identity.set_server_id(&LONG[..200], &LONG[..51]), Err(BuildError::TextLong { len: 252 }));
        assert_eq!((identity.id, identity.extra), (b"id".as_slice(), b"more".as_slice()));
        assert_eq!(identity.set_server_id(&LONG[..200], &LONG[..50]), Ok(()));
        assert_eq!((identity.id.len(), identity.extra.len()), (200, 50));
    }
}
