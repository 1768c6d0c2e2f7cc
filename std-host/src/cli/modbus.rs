//! `wharf modbus read` and `wharf modbus write`.
//!
//! A command becomes a job: what to ask for, judged before anything is sent. A job is done over one connection, split
//! into as many requests as its size takes; no value is ever cut in two by a split. Where there is no connection or no
//! reply, `--retries` does the whole job again on a new connection.

use super::report::{Outcome, Subject};
use super::rows::{Row, bit_row, event_name, object_row, printable, u8_row, u16_row, word_row};
use super::target::{Kind, Mask, Table};
use super::transport::{Connection, NoReply};
use super::{Failure, Read, Shared, WriteValues};
use crate::cli::target::Host;
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};
use wharf_core::modbus::mbap::MAX_FRAME;
use wharf_core::modbus::pdu::request::{FileReads, ReadCode};
use wharf_core::modbus::pdu::{
    MAX_READ_BITS, MAX_READ_REGISTERS, MAX_WRITE_BITS, MAX_WRITE_REGISTERS, Reply, Request, Span, Words, function,
};
use wharf_core::modbus::typed::{Order, Type, Value, encode_string};
use wharf_host::run::Status;

/// Addresses of one table.
const SPACE: u32 = 65_536;
/// Records of one file (AP 6.14).
const RECORDS: u32 = 10_000;
/// Most records that one group of Read File Record returns within a PDU of 253 bytes.
const MAX_READ_RECORDS: u16 = 124;
/// The only reference type (AP 6.14).
const REFERENCE_TYPE: u8 = 6;

/// Carries out `wharf modbus read`.
pub(super) fn read(read: &Read, out: &mut dyn Write) -> Result<Status, Failure> {
    let job = ReadJob::new(read).map_err(Failure::Usage)?;
    let outcome = attempt(&read.host, &read.shared, |client| job.run(client, &read.shared));
    let subject = Subject {
        host: &read.host,
        unit: read.shared.unit,
        table: read.table,
        address: job.address(),
        kind: job.kind_name(),
    };
    Ok(subject.report(&outcome, read.shared.json, out)?)
}

/// Carries out `wharf modbus write`.
pub(super) fn write(write: &WriteValues, out: &mut dyn Write) -> Result<Status, Failure> {
    let address = write.table.address(&write.address, write.shared.reference).map_err(Failure::Usage)?;
    let job = WriteJob::new(write, address).map_err(Failure::Usage)?;
    let outcome = attempt(&write.host, &write.shared, |client| {
        job.run(client, address, write.single)?;
        Ok(job.rows(write, address))
    });
    let subject = Subject {
        host: &write.host,
        unit: write.shared.unit,
        table: write.table,
        address: Some(address),
        kind: job.kind_name(),
    };
    Ok(subject.report(&outcome, write.shared.json, out)?)
}

/// One connection and the time spent waiting on it.
struct Client {
    connection: Connection,
    unit: u8,
    buffer: [u8; MAX_FRAME],
    round_trip: Duration,
}

impl Client {
    fn ask(&mut self, request: &Request<'_>) -> Result<Reply<'_>, NoReply> {
        let begin = Instant::now();
        let reply = self.connection.ask(self.unit, request, &mut self.buffer);
        self.round_trip += begin.elapsed();
        reply
    }

    fn order_done(&mut self, request: &Request<'_>) -> Result<(), NoReply> {
        self.ask(request).map(drop)
    }
}

fn attempt(host: &Host, shared: &Shared, job: impl Fn(&mut Client) -> Result<Vec<Row>, NoReply>) -> Outcome {
    let mut retries = shared.retries;
    loop {
        let (result, round_trip) = match Connection::open(host, shared.timeout.0) {
            Ok(connection) => {
                let unit = shared.unit;
                let mut client = Client { connection, unit, buffer: [0; MAX_FRAME], round_trip: Duration::ZERO };
                (job(&mut client), client.round_trip)
            }
            Err(failure) => (Err(failure), Duration::ZERO),
        };
        if retries == 0 || !matches!(result, Err(NoReply::Connect(_) | NoReply::Timeout)) {
            return Outcome { result, round_trip };
        }
        retries -= 1;
    }
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ReadJob {
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
    fn new(read: &Read) -> Result<Self, String> {
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

    fn address(self) -> Option<u16> {
        match self {
            Self::Bits { start, .. } | Self::Words { start, .. } => Some(start),
            Self::Fifo { pointer } => Some(pointer),
            Self::Identity { object } => object.map(u16::from),
            Self::ServerId | Self::Status | Self::Diag { .. } | Self::Events => None,
        }
    }

    fn kind_name(self) -> String {
        match self {
            Self::Bits { .. } => "bool".to_owned(),
            Self::Words { kind, .. } => kind.to_string(),
            Self::Fifo { .. } | Self::Diag { .. } => "u16".to_owned(),
            Self::Identity { .. } => "object".to_owned(),
            Self::ServerId | Self::Status | Self::Events => "u8".to_owned(),
        }
    }

    fn run(self, client: &mut Client, shared: &Shared) -> Result<Vec<Row>, NoReply> {
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
                Ok(bytes.iter().zip(0..).map(|(byte, index)| u8_row(index, *byte, printable(*byte))).collect())
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

/// What to write.
#[derive(Clone, Debug, PartialEq)]
enum WriteJob {
    Bits(Vec<bool>),
    Words { kind: Kind, words: Vec<u16> },
    Mask(Mask),
}

impl WriteJob {
    fn new(write: &WriteValues, address: u16) -> Result<Self, String> {
        let WriteValues { table, shared, .. } = write;
        if !matches!(table, Table::Coils | Table::Holding) {
            return Err(format!("{table} cannot be written: only coils and holding can"));
        }
        let kind = kind_of(*table, shared)?;
        if let Some(mask) = write.mask {
            if *table == Table::Coils || shared.kind.is_some() {
                return Err("--mask is for single holding registers".to_owned());
            }
            return Ok(Self::Mask(mask));
        }
        let count = u32::try_from(write.values.len()).unwrap_or(u32::MAX);
        expect_room(address, count.saturating_mul(u32::from(width(kind))), SPACE)?;
        if kind == Kind::Bool {
            return write.values.iter().map(|text| parse_bit(text)).collect::<Result<_, _>>().map(Self::Bits);
        }
        if write.single && width(kind) > 1 {
            return Err(format!("--single writes one register: {kind} has {}", width(kind)));
        }
        if width(kind) > MAX_WRITE_REGISTERS {
            return Err(format!("a string to write has at most {MAX_WRITE_REGISTERS} registers"));
        }
        let values: Result<Vec<_>, _> = write.values.iter().map(|text| encode(kind, shared.order, text)).collect();
        Ok(Self::Words { kind, words: values?.concat() })
    }

    fn kind_name(&self) -> String {
        match self {
            Self::Bits(_) => "bool".to_owned(),
            Self::Words { kind, .. } => kind.to_string(),
            Self::Mask(_) => "mask".to_owned(),
        }
    }

    fn run(&self, client: &mut Client, address: u16, single: bool) -> Result<(), NoReply> {
        match self {
            Self::Mask(Mask { and, or }) => {
                client.order_done(&Request::MaskWriteRegister { address, and: *and, or: *or })
            }
            Self::Bits(bits) if single => addresses(address, 1).zip(bits).try_for_each(|(address, bit)| {
                client.order_done(&Request::WriteSingleCoil { address: in_space(address), value: *bit })
            }),
            Self::Words { words, .. } if single => addresses(address, 1).zip(words).try_for_each(|(address, word)| {
                client.order_done(&Request::WriteSingleRegister { address: in_space(address), value: *word })
            }),
            Self::Bits(bits) => {
                let parts = bits.chunks(usize::from(MAX_WRITE_BITS));
                addresses(address, MAX_WRITE_BITS).zip(parts).try_for_each(|(address, part)| {
                    let span = Span { start: in_space(address), quantity: in_space(part.len()) };
                    client.order_done(&Request::WriteMultipleCoils { span, bits: &pack(part) })
                })
            }
            Self::Words { kind, words } => {
                let step = MAX_WRITE_REGISTERS / width(*kind) * width(*kind);
                addresses(address, step).zip(words.chunks(usize::from(step))).try_for_each(|(address, part)| {
                    let span = Span { start: in_space(address), quantity: in_space(part.len()) };
                    let bytes: Vec<u8> = part.iter().flat_map(|word| word.to_be_bytes()).collect();
                    let values = Words::new(&bytes).expect("two bytes a register are an even number");
                    client.order_done(&Request::WriteMultipleRegisters { span, values })
                })
            }
        }
    }

    fn rows(&self, write: &WriteValues, start: u16) -> Vec<Row> {
        let WriteValues { table, shared, .. } = write;
        match self {
            Self::Bits(bits) => {
                addresses(start, 1).zip(bits).map(|(address, bit)| bit_row(*table, address, *bit, shared)).collect()
            }
            Self::Words { kind, words } => {
                let values = words.chunks_exact(usize::from(width(*kind)));
                addresses(start, width(*kind))
                    .zip(values)
                    .map(|(address, words)| word_row(*table, address, words, *kind, shared))
                    .collect()
            }
            Self::Mask(Mask { and, or }) => [("and", and), ("or", or)]
                .map(|(text, word)| {
                    let label = table.label(u32::from(start), shared.reference);
                    Row { label, hex: format!("{word:04X}"), text: text.to_owned(), json: json!(word) }
                })
                .to_vec(),
        }
    }
}

/// The type of the values, which must suit the table.
fn kind_of(table: Table, shared: &Shared) -> Result<Kind, String> {
    match (table.is_bits(), shared.kind) {
        (true, None | Some(Kind::Bool)) => Ok(Kind::Bool),
        (true, Some(kind)) => Err(format!("{table} has bits: --type {kind} is for registers")),
        (false, Some(Kind::Bool)) => Err(format!("{table} has registers: --type bool is for coils and discrete")),
        (false, Some(Kind::Text(_))) if !matches!(shared.order, Order::Abcd | Order::Badc) => {
            Err(format!("strings have order abcd or badc, not {}", shared.order.name()))
        }
        (false, kind) => Ok(kind.unwrap_or(Kind::Number(Type::U16))),
    }
}

fn expect_room(start: u16, entries: u32, space: u32) -> Result<(), String> {
    if u32::from(start).saturating_add(entries) <= space {
        return Ok(());
    }
    Err(format!("{entries} entries from {start} on: the last is {}", space - 1))
}

/// Registers that one value takes; a bit takes one place too.
fn width(kind: Kind) -> u16 {
    match kind {
        Kind::Bool => 1,
        Kind::Number(number) => in_space(number.registers()),
        Kind::Text(registers) => registers,
    }
}

fn words_per_request(table: Table) -> u16 {
    if matches!(table, Table::File(_)) { MAX_READ_RECORDS } else { MAX_READ_REGISTERS }
}

/// `start` and every `step`-th address after it, without end.
fn addresses(start: u16, step: u16) -> impl Iterator<Item = u32> {
    (u32::from(start)..).step_by(usize::from(step))
}

/// Narrows what [`expect_room`] has seen to be within the address space.
fn in_space<T: TryInto<u16>>(address: T) -> u16 {
    address.try_into().ok().expect("start and length were checked to be within the table")
}

/// The requests that cover `total` entries from `start` on, at most `most` each.
fn spans(start: u16, total: u32, most: u16) -> impl Iterator<Item = Span> {
    let end = u32::from(start) + total;
    addresses(start, most)
        .take_while(move |begin| *begin < end)
        .map(move |begin| Span { start: in_space(begin), quantity: in_space((end - begin).min(u32::from(most))) })
}

fn read_bits(client: &mut Client, table: Table, start: u16, count: u32) -> Result<Vec<bool>, NoReply> {
    let mut bits = Vec::new();
    for span in spans(start, count, MAX_READ_BITS) {
        let request = if table == Table::Coils { Request::ReadCoils(span) } else { Request::ReadDiscreteInputs(span) };
        let Reply::Bits(bytes) = client.ask(&request)? else { mismatch() };
        let unpacked = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        bits.extend(unpacked.take(usize::from(span.quantity)));
    }
    Ok(bits)
}

fn read_words(client: &mut Client, table: Table, start: u16, count: u32, kind: Kind) -> Result<Vec<u16>, NoReply> {
    let width = width(kind);
    let mut words = Vec::new();
    for span in spans(start, count * u32::from(width), words_per_request(table) / width * width) {
        match table {
            Table::File(number) => {
                let mut group = [0; 7];
                let fields = [number, span.start, span.quantity].map(u16::to_be_bytes);
                group.iter_mut().zip([REFERENCE_TYPE].iter().chain(fields.iter().flatten())).for_each(|(g, f)| *g = *f);
                let reads = FileReads::new(&group).expect("one group of at most 124 records fits a reply");
                let Reply::FileRecords(groups) = client.ask(&Request::ReadFileRecord(reads))? else { mismatch() };
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
                let Reply::Registers(registers) = client.ask(&request)? else { mismatch() };
                words.extend(registers.iter());
            }
        }
    }
    Ok(words)
}

/// All identification objects, or one.
fn identity(client: &mut Client, object: Option<u8>) -> Result<Vec<Row>, NoReply> {
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

fn parse_bit(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "on" => Ok(true),
        "0" | "false" | "off" => Ok(false),
        _ => Err(format!("{text:?} is no bit: 0, 1, false, true, off, on")),
    }
}

fn encode(kind: Kind, order: Order, text: &str) -> Result<Vec<u16>, String> {
    let mut words = vec![0; usize::from(width(kind))];
    let (encoded, accepted) = match kind {
        Kind::Text(registers) => {
            let accepted = format!("has {} bytes: {kind} holds {}", text.len(), 2 * registers);
            (encode_string(order, text.as_bytes(), &mut words), accepted)
        }
        Kind::Number(number) => (
            Value::parse(number, text).and_then(|value| value.encode(order, &mut words)),
            format!("is no {kind}: {}", range(number)),
        ),
        Kind::Bool => return Err("bits are not registers".to_owned()),
    };
    encoded.map(|()| words).map_err(|_| format!("{text:?} {accepted}"))
}

/// The values of a type, for a message.
fn range(number: Type) -> String {
    match number {
        Type::U16 => format!("0..={}", u16::MAX),
        Type::I16 => format!("{}..={}", i16::MIN, i16::MAX),
        Type::U32 => format!("0..={}", u32::MAX),
        Type::I32 => format!("{}..={}", i32::MIN, i32::MAX),
        Type::U64 => format!("0..={}", u64::MAX),
        Type::I64 => format!("{}..={}", i64::MIN, i64::MAX),
        Type::F32 | Type::F64 => "a number such as -1.5 or 2e9, inf or NaN".to_owned(),
    }
}

/// Bits as they stand on the wire: the first is bit 0.
fn pack(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |packed, bit| packed << 1 | u8::from(*bit))).collect()
}

/// For the `else` of a pattern that [`Reply::decode`] guarantees.
fn mismatch() -> ! {
    unreachable!("a decoded reply has the shape of its request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_the_range_once_and_in_order() {
        let spans: Vec<_> = spans(65_286, 250, 124).map(|span| (span.start, span.quantity)).collect();
        assert_eq!(spans, [(65_286, 124), (65_410, 124), (65_534, 2)]);
    }

    #[test]
    fn bits_are_packed_from_bit_zero() {
        let bits = [true, false, true, true, false, false, true, true, true, true, false];
        assert_eq!(pack(&bits), [0xCD, 0x03]);
    }
}
