//! Replies, as a client reads them: against the request that they answer.
//!
//! A reply cannot be read alone: how many bits a Read Coils reply carries, and whether a write was echoed right, only
//! its request tells. What a server sends is written by `execute` straight into its transmit storage.

use super::{
    EXCEPTION_FLAG, Exception, MAX_FIFO_ENTRIES, MEI_DEVICE_IDENTIFICATION, Request, Words, bytes_for_bits,
    request::{Diagnostic, FileReads, ReadCode},
};

/// A reply that fits its request, its data borrowed from the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reply<'a> {
    /// 1, 2: the bits asked for, packed, the first in bit 0.
    Bits(&'a [u8]),
    /// 3, 4, 23 and 24: registers.
    Registers(Words<'a>),
    /// 5, 6, 15, 16, 21 and 22: done, and echoed as the standard says.
    Written,
    /// 7: eight outputs of the device's own choice.
    ExceptionStatus(u8),
    /// 8: the data word or, for sub-function 0, what was sent.
    Diagnostics(&'a [u8]),
    /// 11.
    EventCounter {
        /// FFFF while another command is being processed.
        status: u16,
        /// Requests completed.
        events: u16,
    },
    /// 12.
    EventLog {
        /// FFFF while another command is being processed.
        status: u16,
        /// Requests completed.
        events: u16,
        /// Frames received.
        messages: u16,
        /// At most 64 event bytes, newest first.
        log: &'a [u8],
    },
    /// 17: id, run status and additional data; only the device's maker knows where one ends.
    ServerId(&'a [u8]),
    /// 20: the records of each group.
    FileRecords(FileRecords<'a>),
    /// 43/14.
    Identification(Identification<'a>),
}

/// The groups of a Read File Record reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FileRecords<'a>(&'a [u8]);

impl<'a> FileRecords<'a> {
    /// The records of each group, in order of the request.
    pub fn iter(self) -> impl Iterator<Item = Words<'a>> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (words, after) = split_file_group(rest)?;
            rest = after;
            Some(words)
        })
    }
}

/// One reply of Read Device Identification (AP 6.21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Identification<'a> {
    /// 81, 82 or 83: the highest category that the device has.
    pub conformity: u8,
    /// The object to go on with, if more follow.
    pub next: Option<u8>,
    objects: &'a [u8],
}

impl<'a> Identification<'a> {
    /// Ids and values of the objects in this reply.
    pub fn objects(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.objects;
        core::iter::from_fn(move || {
            let (id, value, after) = split_object(rest)?;
            rest = after;
            Some((id, value))
        })
    }
}

/// Why a PDU is no reply to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ReplyError {
    /// The server refused: a proper reply, and the connection is in order.
    Exception(Exception),
    /// Another function code: this reply belongs to something else, or the server is broken.
    WrongFunction {
        /// The code that was asked for.
        asked: u8,
        /// The code that came.
        got: u8,
    },
    /// Lengths, counts or echoed fields are not what the request calls for.
    Malformed,
}

impl core::fmt::Display for ReplyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exception(exception) => exception.fmt(f),
            Self::WrongFunction { asked, got } => write!(f, "reply of function {got} to a request of function {asked}"),
            Self::Malformed => f.write_str("reply does not fit its request"),
        }
    }
}

impl core::error::Error for ReplyError {}

impl<'a> Reply<'a> {
    /// Reads `pdu` as the reply to `request`.
    ///
    /// # Errors
    /// An exception reply, another function's reply, or one that does not fit the request.
    pub fn decode(request: &Request<'_>, pdu: &'a [u8]) -> Result<Self, ReplyError> {
        let (&code, data) = pdu.split_first().ok_or(ReplyError::Malformed)?;
        let asked = request.function();
        if code == asked | EXCEPTION_FLAG {
            let &[exception] = data else { return Err(ReplyError::Malformed) };
            return Err(Exception::new(exception).map_or(ReplyError::Malformed, ReplyError::Exception));
        }
        if code != asked {
            return Err(ReplyError::WrongFunction { asked, got: code });
        }
        decode_data(request, data).ok_or(ReplyError::Malformed)
    }
}

/// The data behind the function code, or `None` if it does not fit the request.
fn decode_data<'a>(request: &Request<'_>, data: &'a [u8]) -> Option<Reply<'a>> {
    match *request {
        Request::ReadCoils(span) | Request::ReadDiscreteInputs(span) => {
            counted(data).filter(|bits| bits.len() == bytes_for_bits(span.quantity)).map(Reply::Bits)
        }
        Request::ReadHoldingRegisters(span)
        | Request::ReadInputRegisters(span)
        | Request::ReadWriteMultipleRegisters { read: span, .. } => counted(data)
            .and_then(Words::new)
            .filter(|words| words.len() == usize::from(span.quantity))
            .map(Reply::Registers),
        Request::WriteSingleCoil { address, value } => echoed(data, &[address, if value { 0xFF00 } else { 0 }]),
        Request::WriteSingleRegister { address, value } => echoed(data, &[address, value]),
        Request::WriteMultipleCoils { span, .. } | Request::WriteMultipleRegisters { span, .. } => {
            echoed(data, &[span.start, span.quantity])
        }
        Request::MaskWriteRegister { address, and, or } => echoed(data, &[address, and, or]),
        Request::ReadExceptionStatus => match *data {
            [status] => Some(Reply::ExceptionStatus(status)),
            _ => None,
        },
        Request::Diagnostics(diagnostic) => {
            let (sub, data) = data.split_first_chunk::<2>()?;
            let fits = match diagnostic {
                Diagnostic::ReturnQueryData(sent) => data == sent,
                Diagnostic::RestartCommunications { .. }
                | Diagnostic::ReturnDiagnosticRegister
                | Diagnostic::ChangeAsciiDelimiter(_)
                | Diagnostic::ForceListenOnly
                | Diagnostic::ClearCounters
                | Diagnostic::ReturnCounter(_)
                | Diagnostic::ClearOverrun => data.len() == 2,
            };
            (fits && u16::from_be_bytes(*sub) == diagnostic.sub_function()).then_some(Reply::Diagnostics(data))
        }
        Request::GetCommEventCounter => {
            let &[s0, s1, e0, e1] = data else { return None };
            Some(Reply::EventCounter { status: u16::from_be_bytes([s0, s1]), events: u16::from_be_bytes([e0, e1]) })
        }
        Request::GetCommEventLog => {
            let (&[s0, s1, e0, e1, m0, m1], log) = counted(data)?.split_first_chunk::<6>()?;
            Some(Reply::EventLog {
                status: u16::from_be_bytes([s0, s1]),
                events: u16::from_be_bytes([e0, e1]),
                messages: u16::from_be_bytes([m0, m1]),
                log,
            })
        }
        Request::ReportServerId => counted(data).map(Reply::ServerId),
        Request::ReadFileRecord(groups) => file_records(groups, counted(data)?).map(Reply::FileRecords),
        Request::WriteFileRecord(_) => {
            let mut sent = [0; super::super::mbap::MAX_PDU];
            let len = request.encode(&mut sent)?;
            (sent.get(1..len) == Some(data)).then_some(Reply::Written)
        }
        Request::ReadFifoQueue { .. } => {
            let (&[b0, b1, c0, c1], values) = data.split_first_chunk::<4>()?;
            let (bytes, count) = (u16::from_be_bytes([b0, b1]), u16::from_be_bytes([c0, c1]));
            let words = Words::new(values)?;
            let fits = words.len() == usize::from(count)
                && words.len() <= MAX_FIFO_ENTRIES
                && usize::from(bytes) == values.len().saturating_add(2);
            fits.then_some(Reply::Registers(words))
        }
        Request::ReadDeviceIdentification { code, .. } => identification(code, data).map(Reply::Identification),
    }
}

/// A byte count and exactly that many bytes.
fn counted(data: &[u8]) -> Option<&[u8]> {
    let (&count, bytes) = data.split_first()?;
    (bytes.len() == usize::from(count)).then_some(bytes)
}

fn echoed<'a>(data: &'a [u8], words: &[u16]) -> Option<Reply<'a>> {
    Words::new(data)?.iter().eq(words.iter().copied()).then_some(Reply::Written)
}

fn split_file_group(bytes: &[u8]) -> Option<(Words<'_>, &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    let (group, rest) = rest.split_at_checked(usize::from(len))?;
    let (_kind, records) = group.split_first()?;
    Some((Words::new(records)?, rest))
}

fn file_records<'a>(asked: FileReads<'_>, bytes: &'a [u8]) -> Option<FileRecords<'a>> {
    let mut rest = bytes;
    for group in asked.iter() {
        let (words, after) = split_file_group(rest)?;
        if words.len() != usize::from(group.length) {
            return None;
        }
        rest = after;
    }
    rest.is_empty().then_some(FileRecords(bytes))
}

fn split_object(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[id, len], rest) = bytes.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(len))?;
    Some((id, value, rest))
}

fn identification(asked: ReadCode, data: &[u8]) -> Option<Identification<'_>> {
    let (&[mei, code, conformity, more, next, count], objects) = data.split_first_chunk::<6>()?;
    if mei != MEI_DEVICE_IDENTIFICATION || code != asked as u8 {
        return None;
    }
    let mut rest = objects;
    for _ in 0..count {
        (_, _, rest) = split_object(rest)?;
    }
    let next = match more {
        0x00 => None,
        0xFF => Some(next),
        _ => return None,
    };
    rest.is_empty().then_some(Identification { conformity, next, objects })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::pdu::Span;

    fn decode<'a>(request: &[u8], reply: &'a [u8]) -> Result<Reply<'a>, ReplyError> {
        Reply::decode(&Request::decode(request).unwrap(), reply)
    }

    #[test]
    fn a_reply_carries_what_its_request_asked_for_and_no_more() {
        let request = [3, 0, 0x6B, 0, 2];
        let Ok(Reply::Registers(words)) = decode(&request, &[3, 4, 2, 0x2B, 0, 100]) else { panic!() };
        assert!(words.iter().eq([0x022B, 100]));
        assert_eq!(decode(&request, &[3, 2, 2, 0x2B]), Err(ReplyError::Malformed));
        assert_eq!(decode(&request, &[3, 4, 2, 0x2B, 0, 100, 0]), Err(ReplyError::Malformed));
        assert_eq!(decode(&request, &[0x83, 2]), Err(ReplyError::Exception(Exception::ILLEGAL_DATA_ADDRESS)));
        assert_eq!(decode(&request, &[0x83, 0]), Err(ReplyError::Malformed));
        assert_eq!(decode(&request, &[4, 2, 0, 0]), Err(ReplyError::WrongFunction { asked: 3, got: 4 }));
        assert_eq!(decode(&request, &[]), Err(ReplyError::Malformed));
    }

    #[test]
    fn a_write_is_done_only_if_it_is_echoed() {
        assert_eq!(decode(&[5, 0, 1, 0xFF, 0], &[5, 0, 1, 0xFF, 0]), Ok(Reply::Written));
        assert_eq!(decode(&[5, 0, 1, 0xFF, 0], &[5, 0, 1, 0, 0]), Err(ReplyError::Malformed));
        assert_eq!(decode(&[16, 0, 1, 0, 1, 2, 0, 9], &[16, 0, 1, 0, 1]), Ok(Reply::Written));
        assert_eq!(decode(&[16, 0, 1, 0, 1, 2, 0, 9], &[16, 0, 1, 0, 2]), Err(ReplyError::Malformed));
        let file = [21, 9, 6, 0, 4, 0, 7, 0, 1, 1, 2];
        assert_eq!(decode(&file, &file), Ok(Reply::Written));
    }

    #[test]
    fn structured_replies_are_taken_apart() {
        let request = Request::ReadFileRecord(FileReads::new(&[6, 0, 4, 0, 1, 0, 2]).unwrap());
        let Ok(Reply::FileRecords(records)) = Reply::decode(&request, &[20, 6, 5, 6, 0x0D, 0xFE, 0, 0x20]) else {
            panic!()
        };
        assert!(records.iter().next().unwrap().iter().eq([0x0DFE, 0x20]));
        let id = [43, 14, 1, 0x81, 0xFF, 2, 2, 0, 1, b'a', 1, 2, b'b', b'c'];
        let Ok(Reply::Identification(id)) = decode(&[43, 14, 1, 0], &id) else { panic!() };
        assert_eq!((id.conformity, id.next), (0x81, Some(2)));
        assert!(id.objects().eq([(0, &b"a"[..]), (1, &b"bc"[..])]));
        let Ok(Reply::Registers(fifo)) = decode(&[24, 4, 0xDE], &[24, 0, 6, 0, 2, 1, 0xB8, 0x12, 0x84]) else {
            panic!()
        };
        assert!(fifo.iter().eq([0x01B8, 0x1284]));
        let bits = Request::ReadCoils(Span { start: 0, quantity: 9 });
        assert_eq!(Reply::decode(&bits, &[1, 2, 0xFF, 1]), Ok(Reply::Bits(&[0xFF, 1])));
        assert_eq!(Reply::decode(&bits, &[1, 1, 0xFF]), Err(ReplyError::Malformed));
    }
}
