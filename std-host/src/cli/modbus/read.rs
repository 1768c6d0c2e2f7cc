//! What `wharf modbus read` reads, as a job: judged before anything is sent, then done over one connection, in as many
//! requests as its size takes. No value is ever cut in two by a split.

use super::Client;
use super::parts::{SPACE, addresses, expect_room, kind_of, mismatch, spans, width, words_per_request};
use crate::cli::rows::{Row, bit_row, bytes_row, event_name, object_row, u8_row, u16_row, word_row};
use crate::cli::target::{Kind, Table};
use crate::cli::transport::NoReply;
use crate::cli::{Read, Shared};
use wharf_core::modbus::pdu::request::{FileReads, ReadCode};
use wharf_core::modbus::pdu::{MAX_READ_BITS, Reply, Request, Words, function};

/// Records of one file (AP 6.14).
const RECORDS: u32 = 10_000;
/// The only reference type (AP 6.14).
const REFERENCE_TYPE: u8 = 6;

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ReadJob {
    Bits { table: Table, start: u16, count: u32 },
    Words { table: Table, start: u16, count: u32, kind: Kind },
    Fifo { pointer: u16 },
    Identity { object: Option<u8> },
    ServerId,
    Status,
    Diag { sub: u16, data: u16 },
    Events,
}

impl ReadJob {
    pub(super) fn new(read: &Read) -> Result<Self, String> {
        let Read { table, shared, .. } = read;
        let address = read.address.as_deref().map(|text| table.address(text, shared.reference)).transpose()?;
        let needed = || address.ok_or_else(|| format!("{table} needs an address"));
        let single = |job| match (shared.kind, read.count) {
            (Some(_), _) => Err(format!("--type is not for {table}")),
            (None, Some(_)) => Err(format!("COUNT is not for {table}")),
            (None, None) => Ok(job),
        };
        let alone = |job| if address.is_some() { Err(format!("{table} has no address")) } else { single(job) };
        let count = read.count.unwrap_or(1);
        match *table {
            Table::Coils | Table::Discrete => {
                kind_of(*table, shared)?;
                expect_room(needed()?, count, SPACE)?;
                Ok(Self::Bits { table: *table, start: needed()?, count })
            }
            Table::Input | Table::Holding | Table::File(_) => {
                let kind = kind_of(*table, shared)?;
                let space = if matches!(table, Table::File(_)) { RECORDS } else { SPACE };
                let registers = u32::from(width(kind)).saturating_mul(count);
                expect_room(needed()?, registers, space)?;
                if matches!(kind, Kind::Text(registers) if registers > words_per_request(*table)) {
                    return Err(format!("a string in {table} has at most {} registers", words_per_request(*table)));
                }
                Ok(Self::Words { table: *table, start: needed()?, count, kind })
            }
            Table::Fifo => single(Self::Fifo { pointer: needed()? }),
            Table::Identity => {
                let object = address.map(u8::try_from).transpose().map_err(|_| "objects are 0..=255".to_owned())?;
                single(Self::Identity { object })
            }
            Table::ServerId => alone(Self::ServerId),
            Table::Status => alone(Self::Status),
            Table::Events => alone(Self::Events),
            Table::Diag(sub) => {
                let data = address.unwrap_or(0);
                if Request::decode(&diagnostic(sub, data)).is_err() {
                    return Err(format!("sub-function {sub} with data {data:04X} does not exist"));
                }
                single(Self::Diag { sub, data })
            }
        }
    }

    pub(super) fn address(self) -> Option<u16> {
        match self {
            Self::Bits { start, .. } | Self::Words { start, .. } => Some(start),
            Self::Fifo { pointer } => Some(pointer),
            Self::Identity { object } => object.map(u16::from),
            Self::ServerId | Self::Status | Self::Diag { .. } | Self::Events => None,
        }
    }

    pub(super) fn kind_name(self) -> String {
        match self {
            Self::Bits { .. } => "bool".to_owned(),
            Self::Words { kind, .. } => kind.to_string(),
            Self::Fifo { .. } | Self::Diag { .. } => "u16".to_owned(),
            Self::Identity { .. } => "object".to_owned(),
            Self::ServerId | Self::Status | Self::Events => "u8".to_owned(),
        }
    }

    pub(super) fn run(self, client: &mut Client<'_>, shared: &Shared) -> Result<Vec<Row>, NoReply> {
        match self {
            Self::Bits { table, start, count } => {
                let bits = read_bits(client, table, start, count)?;
                Ok(addresses(start, 1).zip(bits).map(|(address, bit)| bit_row(table, address, bit, shared)).collect())
            }
            Self::Words { table, start, count, kind } => {
                let words = read_words(client, table, start, count, kind)?;
                let values = words.chunks_exact(usize::from(width(kind)));
                Ok(addresses(start, width(kind))
                    .zip(values)
                    .map(|(address, words)| word_row(table, address, words, kind, shared))
                    .collect())
            }
            Self::Fifo { pointer } => {
                let Reply::Registers(words) = client.ask(&Request::ReadFifoQueue { pointer })? else { mismatch() };
                Ok(words.iter().zip(0..).map(|(word, index)| u16_row(index, word)).collect())
            }
            Self::Identity { object } => identity(client, object),
            Self::ServerId => {
                let Reply::ServerId(bytes) = client.ask(&Request::ReportServerId)? else { mismatch() };
                Ok(vec![bytes_row(bytes)])
            }
            Self::Status => {
                let Reply::ExceptionStatus(status) = client.ask(&Request::ReadExceptionStatus)? else { mismatch() };
                Ok(vec![u8_row(0, status, format!("{status:08b}"))])
            }
            Self::Diag { sub, data } => {
                let pdu = diagnostic(sub, data);
                let request = Request::decode(&pdu).expect("the sub-function and its data were checked beforehand");
                let Reply::Diagnostics(bytes) = client.ask(&request)? else { mismatch() };
                let words =
                    bytes.chunks_exact(2).map(|pair| pair.iter().fold(0, |word, byte| word << 8 | u16::from(*byte)));
                Ok(words.zip(0..).map(|(word, index)| u16_row(index, word)).collect())
            }
            Self::Events => {
                let Reply::EventLog { log, .. } = client.ask(&Request::GetCommEventLog)? else { mismatch() };
                Ok(log.iter().zip(0..).map(|(event, index)| u8_row(index, *event, event_name(*event))).collect())
            }
        }
    }
}

fn read_bits(client: &mut Client<'_>, table: Table, start: u16, count: u32) -> Result<Vec<bool>, NoReply> {
    let mut bits = Vec::new();
    for span in spans(start, count, MAX_READ_BITS) {
        let request = if table == Table::Coils { Request::ReadCoils(span) } else { Request::ReadDiscreteInputs(span) };
        let Reply::Bits(bytes) = client.ask_for(count, span, &request)? else { mismatch() };
        let unpacked = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        bits.extend(unpacked.take(usize::from(span.quantity)));
    }
    Ok(bits)
}

fn read_words(client: &mut Client<'_>, table: Table, start: u16, count: u32, kind: Kind) -> Result<Vec<u16>, NoReply> {
    let width = width(kind);
    let mut words = Vec::new();
    let total = count * u32::from(width);
    for span in spans(start, total, words_per_request(table) / width * width) {
        match table {
            Table::File(number) => {
                let mut group = [0; 7];
                let fields = [number, span.start, span.quantity].map(u16::to_be_bytes);
                group.iter_mut().zip([REFERENCE_TYPE].iter().chain(fields.iter().flatten())).for_each(|(g, f)| *g = *f);
                let reads = FileReads::new(&group).expect("one group of at most 124 records fits a reply");
                let request = Request::ReadFileRecord(reads);
                let Reply::FileRecords(groups) = client.ask_for(total, span, &request)? else { mismatch() };
                words.extend(groups.iter().flat_map(Words::iter));
            }
            Table::Input
            | Table::Holding
            | Table::Coils
            | Table::Discrete
            | Table::Fifo
            | Table::Identity
            | Table::ServerId
            | Table::Status
            | Table::Diag(_)
            | Table::Events => {
                let is_input = table == Table::Input;
                let request =
                    if is_input { Request::ReadInputRegisters(span) } else { Request::ReadHoldingRegisters(span) };
                let Reply::Registers(registers) = client.ask_for(total, span, &request)? else { mismatch() };
                words.extend(registers.iter());
            }
        }
    }
    Ok(words)
}

/// All identification objects, or one.
fn identity(client: &mut Client<'_>, object: Option<u8>) -> Result<Vec<Row>, NoReply> {
    let code = if object.is_some() { ReadCode::Individual } else { ReadCode::Extended };
    let mut rows = Vec::new();
    let mut next = Some(object.unwrap_or(0));
    while let Some(object) = next {
        let Reply::Identification(part) = client.ask(&Request::ReadDeviceIdentification { code, object })? else {
            mismatch()
        };
        rows.extend(part.objects().map(|(id, value)| object_row(id, value)));
        next = part.next.filter(|_| code == ReadCode::Extended);
        if next.is_some_and(|next| next <= object) {
            let why = "the objects that follow do not come to an end".to_owned();
            return Err(NoReply::Protocol { why, bytes: Vec::new() });
        }
    }
    Ok(rows)
}

/// The PDU of a diagnostic request.
fn diagnostic(sub: u16, data: u16) -> [u8; 5] {
    let ([s1, s0], [d1, d0]) = (sub.to_be_bytes(), data.to_be_bytes());
    [function::DIAGNOSTICS, s1, s0, d1, d0]
}
