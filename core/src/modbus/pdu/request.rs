//! Requests: decoded by servers, encoded by clients.
//!
//! [`Request::decode`] accepts exactly what the standard lets a client send, and what it accepts encodes back to the
//! same bytes. It applies the checks that need no data model, in the order of the function's own figure: the code is
//! known (01), the PDU is as long as its fields demand (03), the fields are within their limits (03).

use super::{
    Exception, MAX_READ_BITS, MAX_READ_REGISTERS, MAX_READ_WRITE_REGISTERS, MAX_WRITE_BITS, MAX_WRITE_REGISTERS,
    MEI_DEVICE_IDENTIFICATION, Span, Words, Writer, bytes_for_bits, function,
};
use crate::modbus::mbap::MAX_PDU;

/// A request of one of the 19 public function codes, its data borrowed from the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Request<'a> {
    /// 1: 1..=2000 coils (AP 6.1).
    ReadCoils(Span),
    /// 2: 1..=2000 discrete inputs (AP 6.2).
    ReadDiscreteInputs(Span),
    /// 3: 1..=125 holding registers (AP 6.3).
    ReadHoldingRegisters(Span),
    /// 4: 1..=125 input registers (AP 6.4).
    ReadInputRegisters(Span),
    /// 5: one coil (AP 6.5).
    WriteSingleCoil {
        /// The coil.
        address: u16,
        /// FF00 on the wire if set, 0000 if not.
        value: bool,
    },
    /// 6: one holding register (AP 6.6).
    WriteSingleRegister {
        /// The register.
        address: u16,
        /// Any value.
        value: u16,
    },
    /// 7 (AP 6.7).
    ReadExceptionStatus,
    /// 8 (AP 6.8).
    Diagnostics(Diagnostic<'a>),
    /// 11 (AP 6.9).
    GetCommEventCounter,
    /// 12 (AP 6.10).
    GetCommEventLog,
    /// 15: 1..=1968 coils (AP 6.11).
    WriteMultipleCoils {
        /// The coils.
        span: Span,
        /// Packed, the first coil in bit 0; spare bits of the last byte mean nothing.
        bits: &'a [u8],
    },
    /// 16: 1..=123 holding registers (AP 6.12).
    WriteMultipleRegisters {
        /// First address and quantity.
        span: Span,
        /// Their values.
        values: Words<'a>,
    },
    /// 17 (AP 6.13).
    ReportServerId,
    /// 20 (AP 6.14).
    ReadFileRecord(FileReads<'a>),
    /// 21 (AP 6.15).
    WriteFileRecord(FileWrites<'a>),
    /// 22: stores (current AND `and`) OR (`or` AND NOT `and`) (AP 6.16).
    MaskWriteRegister {
        /// The register.
        address: u16,
        /// Bits to keep.
        and: u16,
        /// Bits to set where none are kept.
        or: u16,
    },
    /// 23: writes 1..=121 holding registers, then reads 1..=125 (AP 6.17).
    ReadWriteMultipleRegisters {
        /// What to read, as it is after the write.
        read: Span,
        /// Where to write.
        write: Span,
        /// What to write.
        values: Words<'a>,
    },
    /// 24 (AP 6.18).
    ReadFifoQueue {
        /// The queue's own address, apart from the tables.
        pointer: u16,
    },
    /// 43/14 (AP 6.21).
    ReadDeviceIdentification {
        /// Which category, or one object.
        code: ReadCode,
        /// The object to begin with.
        object: u8,
    },
}

/// A sub-function of Diagnostics (AP 6.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Diagnostic<'a> {
    /// 0: returns these bytes, an even number up to 250.
    ReturnQueryData(&'a [u8]),
    /// 1: zeroes counters and ends listen-only mode.
    RestartCommunications {
        /// FF00: the event log is cleared first.
        clear_log: bool,
    },
    /// 2.
    ReturnDiagnosticRegister,
    /// 3: sets the end delimiter of the ASCII transmission mode.
    ChangeAsciiDelimiter(u8),
    /// 4.
    ForceListenOnly,
    /// 10: zeroes counters and the diagnostic register.
    ClearCounters,
    /// 11..=18.
    ReturnCounter(CounterKind),
    /// 20.
    ClearOverrun,
}

/// A counter that Diagnostics can return; the discriminant is its sub-function (AP 6.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
pub enum CounterKind {
    /// Well-formed frames the server received, for any unit.
    BusMessages = 11,
    /// Frames lost to a broken header.
    BusErrors = 12,
    /// Exceptions, those of broadcasts too.
    Exceptions = 13,
    /// Requests to this unit, broadcasts too.
    Messages = 14,
    /// Requests left without a reply.
    NoResponse = 15,
    /// Replies with exception 07.
    NegativeAcknowledges = 16,
    /// Replies with exception 06.
    Busy = 17,
    /// Characters overrun: none on TCP.
    Overruns = 18,
}

/// What Read Device Identification asks for (AP 6.21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum ReadCode {
    /// Objects 00..=02, as a stream.
    Basic = 1,
    /// Objects 00..=7F, as a stream.
    Regular = 2,
    /// Objects 00..=FF, as a stream.
    Extended = 3,
    /// One object.
    Individual = 4,
}

/// A run of records in a file, as one group of a request names it (AP 6.14, 6.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FileSpan {
    /// The reference type; only 6 is defined.
    pub kind: u8,
    /// The file.
    pub file: u16,
    /// The first record.
    pub record: u16,
    /// Records of 16 bits, not 0.
    pub length: u16,
}

/// The groups of Read File Record: 1..=35 of seven bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FileReads<'a>(&'a [u8]);

impl<'a> FileReads<'a> {
    /// The groups in `bytes`, or exception 03 if they cannot be: 7..=245 bytes, whole groups, none empty, and a reply
    /// that fits 253 bytes.
    ///
    /// # Errors
    /// Exception 03.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Exception> {
        if !(7..=245).contains(&bytes.len()) || !bytes.len().is_multiple_of(GROUP_LEN) {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        }
        let groups = Self(bytes);
        let reply = groups.iter().fold(2, |len: usize, group| {
            len.saturating_add(2).saturating_add(usize::from(group.length).saturating_mul(2))
        });
        if reply > MAX_PDU || groups.iter().any(|group| group.length == 0) {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        }
        Ok(groups)
    }

    /// The groups in order.
    pub fn iter(self) -> impl Iterator<Item = FileSpan> + 'a {
        self.0.as_chunks::<GROUP_LEN>().0.iter().map(file_span)
    }
}

/// The groups of Write File Record, each followed by its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FileWrites<'a>(&'a [u8]);

impl<'a> FileWrites<'a> {
    /// The groups in `bytes`, or exception 03 if they cannot be: 9..=251 bytes, groups that fill them exactly, none
    /// empty.
    ///
    /// # Errors
    /// Exception 03.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Exception> {
        if !(9..=251).contains(&bytes.len()) {
            return Err(Exception::ILLEGAL_DATA_VALUE);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (group, _, after) = split_write_group(rest).ok_or(Exception::ILLEGAL_DATA_VALUE)?;
            if group.length == 0 {
                return Err(Exception::ILLEGAL_DATA_VALUE);
            }
            rest = after;
        }
        Ok(Self(bytes))
    }

    /// The groups in order, each with its records.
    pub fn iter(self) -> impl Iterator<Item = (FileSpan, Words<'a>)> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (group, words, after) = split_write_group(rest)?;
            rest = after;
            Some((group, words))
        })
    }
}

impl<'a> Request<'a> {
    /// Decodes a request PDU.
    ///
    /// # Errors
    /// Exception 01 for a function code, sub-function or MEI type that is not public, or for no bytes at all;
    /// exception 03 for a PDU that is not as its own fields demand.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, Exception> {
        let (&code, data) = pdu.split_first().ok_or(Exception::ILLEGAL_FUNCTION)?;
        match code {
            function::READ_COILS => read(data, MAX_READ_BITS).map(Self::ReadCoils),
            function::READ_DISCRETE_INPUTS => read(data, MAX_READ_BITS).map(Self::ReadDiscreteInputs),
            function::READ_HOLDING_REGISTERS => read(data, MAX_READ_REGISTERS).map(Self::ReadHoldingRegisters),
            function::READ_INPUT_REGISTERS => read(data, MAX_READ_REGISTERS).map(Self::ReadInputRegisters),
            function::WRITE_SINGLE_COIL => {
                let [address, value] = words(data)?;
                match value {
                    0x0000 => Ok(Self::WriteSingleCoil { address, value: false }),
                    0xFF00 => Ok(Self::WriteSingleCoil { address, value: true }),
                    _ => Err(Exception::ILLEGAL_DATA_VALUE),
                }
            }
            function::WRITE_SINGLE_REGISTER => {
                words(data).map(|[address, value]| Self::WriteSingleRegister { address, value })
            }
            function::READ_EXCEPTION_STATUS => nothing(data).map(|()| Self::ReadExceptionStatus),
            function::DIAGNOSTICS => diagnostic(data).map(Self::Diagnostics),
            function::GET_COMM_EVENT_COUNTER => nothing(data).map(|()| Self::GetCommEventCounter),
            function::GET_COMM_EVENT_LOG => nothing(data).map(|()| Self::GetCommEventLog),
            function::WRITE_MULTIPLE_COILS => {
                let (span, bits) = write(data)?;
                limit(span.quantity, MAX_WRITE_BITS)?;
                exactly(bits, bytes_for_bits(span.quantity)).map(|bits| Self::WriteMultipleCoils { span, bits })
            }
            function::WRITE_MULTIPLE_REGISTERS => {
                let (span, bytes) = write(data)?;
                limit(span.quantity, MAX_WRITE_REGISTERS)?;
                registers(bytes, span.quantity).map(|values| Self::WriteMultipleRegisters { span, values })
            }
            function::REPORT_SERVER_ID => nothing(data).map(|()| Self::ReportServerId),
            function::READ_FILE_RECORD => counted(data).and_then(FileReads::new).map(Self::ReadFileRecord),
            function::WRITE_FILE_RECORD => counted(data).and_then(FileWrites::new).map(Self::WriteFileRecord),
            function::MASK_WRITE_REGISTER => {
                words(data).map(|[address, and, or]| Self::MaskWriteRegister { address, and, or })
            }
            function::READ_WRITE_MULTIPLE_REGISTERS => {
                let (head, rest) = data.split_first_chunk::<4>().ok_or(Exception::ILLEGAL_DATA_VALUE)?;
                let [start, quantity] = words(head)?;
                let (write, bytes) = write(rest)?;
                limit(quantity, MAX_READ_REGISTERS)?;
                limit(write.quantity, MAX_READ_WRITE_REGISTERS)?;
                registers(bytes, write.quantity).map(|values| Self::ReadWriteMultipleRegisters {
                    read: Span { start, quantity },
                    write,
                    values,
                })
            }
            function::READ_FIFO_QUEUE => words(data).map(|[pointer]| Self::ReadFifoQueue { pointer }),
            function::ENCAPSULATED_INTERFACE => match *data {
                [] => Err(Exception::ILLEGAL_DATA_VALUE),
                [MEI_DEVICE_IDENTIFICATION, ref rest @ ..] => identification(rest),
                [..] => Err(Exception::ILLEGAL_FUNCTION),
            },
            _ => Err(Exception::ILLEGAL_FUNCTION),
        }
    }

    /// Writes the PDU to the front of `out` and returns its bytes, or `None` where it does not fit. A buffer of 253
    /// bytes takes every request that [`Request::decode`] accepts.
    #[must_use]
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut w = Writer::new(out);
        w.byte(self.function());
        match *self {
            Self::ReadCoils(span)
            | Self::ReadDiscreteInputs(span)
            | Self::ReadHoldingRegisters(span)
            | Self::ReadInputRegisters(span) => w.word(span.start).word(span.quantity),
            Self::WriteSingleCoil { address, value } => w.word(address).word(if value { 0xFF00 } else { 0 }),
            Self::WriteSingleRegister { address, value } => w.word(address).word(value),
            Self::ReadExceptionStatus | Self::GetCommEventCounter | Self::GetCommEventLog | Self::ReportServerId => {
                &mut w
            }
            Self::Diagnostics(diagnostic) => {
                w.word(diagnostic.sub_function());
                match diagnostic {
                    Diagnostic::ReturnQueryData(data) => w.bytes(data),
                    Diagnostic::RestartCommunications { clear_log } => w.word(if clear_log { 0xFF00 } else { 0 }),
                    Diagnostic::ChangeAsciiDelimiter(delimiter) => w.bytes(&[delimiter, 0]),
                    Diagnostic::ReturnDiagnosticRegister
                    | Diagnostic::ForceListenOnly
                    | Diagnostic::ClearCounters
                    | Diagnostic::ReturnCounter(_)
                    | Diagnostic::ClearOverrun => w.word(0),
                }
            }
            Self::WriteMultipleCoils { span, bits } => {
                w.word(span.start).word(span.quantity).count(bits.len()).bytes(bits)
            }
            Self::WriteMultipleRegisters { span, values } => {
                let bytes = values.as_bytes();
                w.word(span.start).word(span.quantity).count(bytes.len()).bytes(bytes)
            }
            Self::ReadFileRecord(FileReads(bytes)) | Self::WriteFileRecord(FileWrites(bytes)) => {
                w.count(bytes.len()).bytes(bytes)
            }
            Self::MaskWriteRegister { address, and, or } => w.word(address).word(and).word(or),
            Self::ReadWriteMultipleRegisters { read, write, values } => {
                let bytes = values.as_bytes();
                w.word(read.start).word(read.quantity).word(write.start).word(write.quantity);
                w.count(bytes.len()).bytes(bytes)
            }
            Self::ReadFifoQueue { pointer } => w.word(pointer),
            Self::ReadDeviceIdentification { code, object } => {
                w.bytes(&[MEI_DEVICE_IDENTIFICATION, code as u8, object])
            }
        };
        w.finish()
    }

    /// The function code.
    #[must_use]
    pub const fn function(&self) -> u8 {
        match self {
            Self::ReadCoils(_) => function::READ_COILS,
            Self::ReadDiscreteInputs(_) => function::READ_DISCRETE_INPUTS,
            Self::ReadHoldingRegisters(_) => function::READ_HOLDING_REGISTERS,
            Self::ReadInputRegisters(_) => function::READ_INPUT_REGISTERS,
            Self::WriteSingleCoil { .. } => function::WRITE_SINGLE_COIL,
            Self::WriteSingleRegister { .. } => function::WRITE_SINGLE_REGISTER,
            Self::ReadExceptionStatus => function::READ_EXCEPTION_STATUS,
            Self::Diagnostics(_) => function::DIAGNOSTICS,
            Self::GetCommEventCounter => function::GET_COMM_EVENT_COUNTER,
            Self::GetCommEventLog => function::GET_COMM_EVENT_LOG,
            Self::WriteMultipleCoils { .. } => function::WRITE_MULTIPLE_COILS,
            Self::WriteMultipleRegisters { .. } => function::WRITE_MULTIPLE_REGISTERS,
            Self::ReportServerId => function::REPORT_SERVER_ID,
            Self::ReadFileRecord(_) => function::READ_FILE_RECORD,
            Self::WriteFileRecord(_) => function::WRITE_FILE_RECORD,
            Self::MaskWriteRegister { .. } => function::MASK_WRITE_REGISTER,
            Self::ReadWriteMultipleRegisters { .. } => function::READ_WRITE_MULTIPLE_REGISTERS,
            Self::ReadFifoQueue { .. } => function::READ_FIFO_QUEUE,
            Self::ReadDeviceIdentification { .. } => function::ENCAPSULATED_INTERFACE,
        }
    }
}

impl Diagnostic<'_> {
    /// The sub-function code.
    #[must_use]
    pub const fn sub_function(self) -> u16 {
        match self {
            Self::ReturnQueryData(_) => 0,
            Self::RestartCommunications { .. } => 1,
            Self::ReturnDiagnosticRegister => 2,
            Self::ChangeAsciiDelimiter(_) => 3,
            Self::ForceListenOnly => 4,
            Self::ClearCounters => 10,
            Self::ReturnCounter(kind) => kind as u16,
            Self::ClearOverrun => 20,
        }
    }
}

impl FileSpan {
    /// First record and quantity.
    #[must_use]
    pub const fn records(self) -> Span {
        Span { start: self.record, quantity: self.length }
    }
}

/// What a PDU has room for behind function and sub-function (AP 6.8.1).
const MAX_QUERY_DATA: usize = MAX_PDU - 3;
/// Reference type, file, record and length of one group (AP 6.14).
const GROUP_LEN: usize = 7;

fn file_span(&[kind, f0, f1, r0, r1, l0, l1]: &[u8; GROUP_LEN]) -> FileSpan {
    FileSpan {
        kind,
        file: u16::from_be_bytes([f0, f1]),
        record: u16::from_be_bytes([r0, r1]),
        length: u16::from_be_bytes([l0, l1]),
    }
}

fn split_write_group(bytes: &[u8]) -> Option<(FileSpan, Words<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<GROUP_LEN>()?;
    let group = file_span(head);
    let (records, rest) = rest.split_at_checked(usize::from(group.length).saturating_mul(2))?;
    Some((group, Words::new(records)?, rest))
}

/// `data` as exactly N words.
fn words<const N: usize>(data: &[u8]) -> Result<[u16; N], Exception> {
    let (pairs, []) = data.as_chunks::<2>() else { return Err(Exception::ILLEGAL_DATA_VALUE) };
    let pairs: &[[u8; 2]; N] = pairs.try_into().map_err(|_| Exception::ILLEGAL_DATA_VALUE)?;
    Ok(pairs.map(u16::from_be_bytes))
}

fn nothing(data: &[u8]) -> Result<(), Exception> {
    exactly(data, 0).map(|_| ())
}

fn exactly(bytes: &[u8], len: usize) -> Result<&[u8], Exception> {
    if bytes.len() == len { Ok(bytes) } else { Err(Exception::ILLEGAL_DATA_VALUE) }
}

fn limit(quantity: u16, most: u16) -> Result<(), Exception> {
    if (1..=most).contains(&quantity) { Ok(()) } else { Err(Exception::ILLEGAL_DATA_VALUE) }
}

fn read(data: &[u8], most: u16) -> Result<Span, Exception> {
    let [start, quantity] = words(data)?;
    limit(quantity, most)?;
    Ok(Span { start, quantity })
}

/// Start, quantity, byte count and exactly that many bytes.
fn write(data: &[u8]) -> Result<(Span, &[u8]), Exception> {
    let (head, rest) = data.split_first_chunk::<4>().ok_or(Exception::ILLEGAL_DATA_VALUE)?;
    let [start, quantity] = words(head)?;
    Ok((Span { start, quantity }, counted(rest)?))
}

/// A byte count and exactly that many bytes.
fn counted(data: &[u8]) -> Result<&[u8], Exception> {
    let (&count, bytes) = data.split_first().ok_or(Exception::ILLEGAL_DATA_VALUE)?;
    exactly(bytes, usize::from(count))
}

fn registers(bytes: &[u8], quantity: u16) -> Result<Words<'_>, Exception> {
    Words::new(bytes).filter(|words| words.len() == usize::from(quantity)).ok_or(Exception::ILLEGAL_DATA_VALUE)
}

fn diagnostic(data: &[u8]) -> Result<Diagnostic<'_>, Exception> {
    let (&sub, data) = data.split_first_chunk::<2>().ok_or(Exception::ILLEGAL_DATA_VALUE)?;
    let zero = |data: &[u8]| match *data {
        [0, 0] => Ok(()),
        _ => Err(Exception::ILLEGAL_DATA_VALUE),
    };
    let counter = match u16::from_be_bytes(sub) {
        0 if data.len().is_multiple_of(2) && data.len() <= MAX_QUERY_DATA => {
            return Ok(Diagnostic::ReturnQueryData(data));
        }
        0 => return Err(Exception::ILLEGAL_DATA_VALUE),
        1 => {
            return match *data {
                [0x00, 0] => Ok(Diagnostic::RestartCommunications { clear_log: false }),
                [0xFF, 0] => Ok(Diagnostic::RestartCommunications { clear_log: true }),
                _ => Err(Exception::ILLEGAL_DATA_VALUE),
            };
        }
        2 => return zero(data).map(|()| Diagnostic::ReturnDiagnosticRegister),
        3 => {
            return match *data {
                [delimiter, 0] => Ok(Diagnostic::ChangeAsciiDelimiter(delimiter)),
                _ => Err(Exception::ILLEGAL_DATA_VALUE),
            };
        }
        4 => return zero(data).map(|()| Diagnostic::ForceListenOnly),
        10 => return zero(data).map(|()| Diagnostic::ClearCounters),
        11 => CounterKind::BusMessages,
        12 => CounterKind::BusErrors,
        13 => CounterKind::Exceptions,
        14 => CounterKind::Messages,
        15 => CounterKind::NoResponse,
        16 => CounterKind::NegativeAcknowledges,
        17 => CounterKind::Busy,
        18 => CounterKind::Overruns,
        20 => return zero(data).map(|()| Diagnostic::ClearOverrun),
        _ => return Err(Exception::ILLEGAL_FUNCTION),
    };
    zero(data).map(|()| Diagnostic::ReturnCounter(counter))
}

fn identification(data: &[u8]) -> Result<Request<'_>, Exception> {
    let [code, object] = *data else { return Err(Exception::ILLEGAL_DATA_VALUE) };
    let code = match code {
        1 => ReadCode::Basic,
        2 => ReadCode::Regular,
        3 => ReadCode::Extended,
        4 => ReadCode::Individual,
        _ => return Err(Exception::ILLEGAL_DATA_VALUE),
    };
    Ok(Request::ReadDeviceIdentification { code, object })
}

#[cfg(test)]
mod tests;
