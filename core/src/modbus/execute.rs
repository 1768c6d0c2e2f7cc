//! Executes a decoded request: a request and a model in, a reply PDU out.
//!
//! The checks that need the model come here, in the order of the function's own figure; nothing is done before all of
//! them have passed. Nothing allocates, and the reply is written once, where it will be sent from.

use super::data::{Model, Operation, TableKind};
use super::diagnostics::{Bus, Diagnostics};
use super::pdu::{
    Exception, MAX_FIFO_ENTRIES, MEI_DEVICE_IDENTIFICATION, Request, Span, Words, Writer, bytes_for_bits,
    request::{Diagnostic, FileReads, FileWrites, ReadCode},
};
use super::service::ReplyPdu;

/// What an executed request leaves to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Executed {
    /// The reply PDU is in the first `len` bytes, 1..=253.
    Reply {
        /// Its length in bytes.
        len: usize,
    },
    /// No reply is due: listen-only mode has begun, or has just ended.
    Silent,
}

/// Executes `request` on `model` and writes the reply PDU to the front of `out`.
///
/// # Errors
/// The exception to send; then neither the model nor the diagnostics have changed.
pub fn execute<M: Model + ?Sized>(
    model: &mut M,
    diagnostics: &mut Diagnostics,
    bus: &Bus,
    request: &Request<'_>,
    out: &mut ReplyPdu,
) -> Result<Executed, Exception> {
    let mut w = Writer::new(out);
    w.byte(request.function());
    match *request {
        Request::ReadCoils(span) => read_bits(model, TableKind::Coils, span, &mut w)?,
        Request::ReadDiscreteInputs(span) => read_bits(model, TableKind::Discrete, span, &mut w)?,
        Request::ReadHoldingRegisters(span) => read_registers(model, TableKind::Holding, span, &mut w)?,
        Request::ReadInputRegisters(span) => read_registers(model, TableKind::Input, span, &mut w)?,
        Request::WriteSingleCoil { address, value } => {
            model.write_coils(Span { start: address, quantity: 1 }, &[u8::from(value)])?;
            w.word(address).word(if value { 0xFF00 } else { 0 });
        }
        Request::WriteSingleRegister { address, value } => {
            let bytes = value.to_be_bytes();
            let values = Words::new(&bytes).ok_or(Exception::SERVER_DEVICE_FAILURE)?;
            model.write_holding(Span { start: address, quantity: 1 }, values)?;
            w.word(address).word(value);
        }
        Request::ReadExceptionStatus => {
            w.byte(model.exception_status());
        }
        Request::Diagnostics(diagnostic) => {
            if !diagnose(diagnostics, bus, diagnostic, &mut w) {
                return Ok(Executed::Silent);
            }
        }
        Request::GetCommEventCounter => {
            w.word(diagnostics.status()).word(diagnostics.events());
        }
        Request::GetCommEventLog => event_log(diagnostics, bus, &mut w),
        Request::WriteMultipleCoils { span, bits } => {
            model.write_coils(span, bits)?;
            w.word(span.start).word(span.quantity);
        }
        Request::WriteMultipleRegisters { span, values } => {
            model.write_holding(span, values)?;
            w.word(span.start).word(span.quantity);
        }
        Request::ReportServerId => {
            let server = model.server_id();
            w.count(server.id.len().saturating_add(1).saturating_add(server.extra.len()));
            w.bytes(server.id).byte(if server.run { 0xFF } else { 0 }).bytes(server.extra);
        }
        Request::ReadFileRecord(groups) => read_files(model, groups, &mut w)?,
        Request::WriteFileRecord(groups) => {
            write_files(model, groups)?;
            return echo(request, out);
        }
        Request::MaskWriteRegister { address, and, or } => {
            model.mask_holding(address, and, or)?;
            w.word(address).word(and).word(or);
        }
        Request::ReadWriteMultipleRegisters { read, write, values } => {
            model.check_holding(Operation::Read, read)?;
            model.write_holding(write, values)?;
            read_registers(model, TableKind::Holding, read, &mut w)?;
        }
        Request::ReadFifoQueue { pointer } => read_queue(model, pointer, &mut w)?,
        Request::ReadDeviceIdentification { code, object } => identify(model, code, object, &mut w)?,
    }
    w.finish().map(|len| Executed::Reply { len }).ok_or(Exception::SERVER_DEVICE_FAILURE)
}

fn read_bits<M: Model + ?Sized>(model: &M, table: TableKind, span: Span, w: &mut Writer<'_>) -> Result<(), Exception> {
    let bytes = bytes_for_bits(span.quantity);
    model.read_bits(table, span, w.count(bytes).reserve(bytes))
}

fn read_registers<M: Model + ?Sized>(
    model: &M,
    table: TableKind,
    span: Span,
    w: &mut Writer<'_>,
) -> Result<(), Exception> {
    let bytes = usize::from(span.quantity).saturating_mul(2);
    model.read_registers(table, span, w.count(bytes).reserve(bytes))
}

/// Acts on a sub-function and writes its reply; false where none is due (AP 6.8.1).
fn diagnose(diagnostics: &mut Diagnostics, bus: &Bus, diagnostic: Diagnostic<'_>, w: &mut Writer<'_>) -> bool {
    w.word(diagnostic.sub_function());
    match diagnostic {
        Diagnostic::ReturnQueryData(data) => {
            w.bytes(data);
        }
        Diagnostic::RestartCommunications { clear_log } => {
            if diagnostics.restart(clear_log, bus) {
                return false;
            }
            w.word(if clear_log { 0xFF00 } else { 0 });
        }
        Diagnostic::ReturnDiagnosticRegister => {
            w.word(diagnostics.register);
        }
        Diagnostic::ChangeAsciiDelimiter(delimiter) => {
            diagnostics.set_ascii_delimiter(delimiter);
            w.bytes(&[delimiter, 0]);
        }
        Diagnostic::ForceListenOnly => {
            diagnostics.force_listen_only();
            return false;
        }
        Diagnostic::ClearCounters => {
            diagnostics.clear(bus);
            w.word(0);
        }
        Diagnostic::ReturnCounter(kind) => {
            w.word(diagnostics.counter(kind, bus));
        }
        // There is no overrun on TCP, so there is nothing to clear.
        Diagnostic::ClearOverrun => {
            w.word(0);
        }
    }
    true
}

fn event_log(diagnostics: &Diagnostics, bus: &Bus, w: &mut Writer<'_>) {
    let events = diagnostics.log();
    w.count(events.len().saturating_add(6));
    w.word(diagnostics.status()).word(diagnostics.events());
    w.word(diagnostics.counter(super::pdu::request::CounterKind::BusMessages, bus));
    for event in events {
        w.byte(event);
    }
}

/// Refuses with the 02 of any group before the 08 of any other: an absent record is the request's fault, a damaged one
/// is found only by reading.
fn check_groups<M: Model + ?Sized>(
    model: &M,
    operation: Operation,
    groups: impl Iterator<Item = super::pdu::request::FileSpan>,
) -> Result<(), Exception> {
    let mut damaged = Ok(());
    for group in groups {
        match model.check_file(operation, group) {
            Err(Exception::MEMORY_PARITY_ERROR) => damaged = Err(Exception::MEMORY_PARITY_ERROR),
            other => other?,
        }
    }
    damaged
}

fn read_files<M: Model + ?Sized>(model: &M, groups: FileReads<'_>, w: &mut Writer<'_>) -> Result<(), Exception> {
    check_groups(model, Operation::Read, groups.iter())?;
    let bytes = |length: u16| usize::from(length).saturating_mul(2);
    w.count(groups.iter().fold(0, |sum: usize, group| sum.saturating_add(2).saturating_add(bytes(group.length))));
    for group in groups.iter() {
        w.count(bytes(group.length).saturating_add(1)).byte(group.kind);
        model.read_file(group, w.reserve(bytes(group.length)));
    }
    Ok(())
}

fn write_files<M: Model + ?Sized>(model: &mut M, groups: FileWrites<'_>) -> Result<(), Exception> {
    check_groups(model, Operation::Write, groups.iter().map(|(group, _)| group))?;
    for (group, records) in groups.iter() {
        model.write_file(group, records);
    }
    Ok(())
}

fn echo(request: &Request<'_>, out: &mut ReplyPdu) -> Result<Executed, Exception> {
    request.encode(out).map(|len| Executed::Reply { len }).ok_or(Exception::SERVER_DEVICE_FAILURE)
}

fn read_queue<M: Model + ?Sized>(model: &M, pointer: u16, w: &mut Writer<'_>) -> Result<(), Exception> {
    let entries = model.queue_len(pointer).ok_or(Exception::ILLEGAL_DATA_ADDRESS)?;
    if entries > MAX_FIFO_ENTRIES {
        return Err(Exception::ILLEGAL_DATA_VALUE);
    }
    let bytes = entries.saturating_mul(2);
    // At most 64 and 31, so neither has a high byte.
    w.byte(0).count(bytes.saturating_add(2)).byte(0).count(entries);
    model.read_queue(pointer, w.reserve(bytes));
    Ok(())
}

/// The last object of each category (AP 6.21).
const LAST_BASIC: u8 = 0x02;
const LAST_REGULAR: u8 = 0x7F;
const LAST_EXTENDED: u8 = 0xFF;

fn identify<M: Model + ?Sized>(model: &M, code: ReadCode, object: u8, w: &mut Writer<'_>) -> Result<(), Exception> {
    let exists = |id: u8| model.object(id).is_some();
    let (first, last) = match code {
        ReadCode::Basic => (object, LAST_BASIC),
        ReadCode::Regular => (object, LAST_REGULAR),
        ReadCode::Extended => (object, LAST_EXTENDED),
        ReadCode::Individual if exists(object) => (object, object),
        ReadCode::Individual => return Err(Exception::ILLEGAL_DATA_ADDRESS),
    };
    // An object to begin with that the category does not have starts the stream again (AP 6.21).
    let first = if first <= last && exists(first) { first } else { 0 };
    let conformity = if (0x80..=LAST_EXTENDED).any(exists) {
        0x83
    } else if (0x03..=LAST_REGULAR).any(exists) {
        0x82
    } else {
        0x81
    };
    let mut room = super::mbap::MAX_PDU.saturating_sub(7);
    let (mut count, mut next) = (0u8, None);
    for id in first..=last {
        let Some(value) = model.object(id) else { continue };
        let len = value.len().saturating_add(2);
        if len > room {
            next = Some(id);
            break;
        }
        room = room.saturating_sub(len);
        count = count.saturating_add(1);
    }
    let more = if next.is_some() { 0xFF } else { 0x00 };
    w.bytes(&[MEI_DEVICE_IDENTIFICATION, code as u8, conformity, more, next.unwrap_or(0), count]);
    let objects = (first..=last).filter_map(|id| model.object(id).map(|value| (id, value)));
    for (id, value) in objects.take(usize::from(count)) {
        w.byte(id).count(value.len()).bytes(value);
    }
    Ok(())
}
