//! Requests and replies: what is accepted encodes back, and a client can read what a server answers.

use super::{Source, plant};
use crate::modbus::{Boxed, units};
use wharf_core::modbus::access::{Access, Area, accesses, first_span};
use wharf_core::modbus::data::{Device, Model, TableKind};
use wharf_core::modbus::diagnostics::Bus;
use wharf_core::modbus::execute::{Executed, execute};
use wharf_core::modbus::mbap::MAX_PDU;
use wharf_core::modbus::pdu::{Exception, Reply, ReplyError, Request, Span};

/// Decodes a request, encodes it back, executes it, and reads the reply as a client does. The first byte is the length of
/// the request; what comes behind it is read as a reply of its own.
///
/// # Panics
/// When something of that does not fit.
pub fn request(data: &[u8]) {
    let mut source = Source::new(data);
    let len = usize::from(source.byte());
    let (pdu, noise) = (source.take(len), source.0);
    let span = first_span(pdu);
    let mut named = accesses(pdu);
    assert_eq!(named.clone().find(|access| !matches!(access.area, Area::File(_))).map(|access| access.span), span);
    assert!(named.clone().count() <= MAX_PDU / 7, "they come to an end");
    let request = match Request::decode(pdu) {
        Ok(request) => request,
        Err(exception) => {
            assert!([1, 3].contains(&exception.code()), "{exception} before any data was looked at");
            return;
        }
    };
    assert_eq!(Some(&request.function()), pdu.first());
    let mut encoded = [0xAA; MAX_PDU];
    let written = request.encode(&mut encoded).expect("253 bytes take every request that is accepted");
    assert_eq!(encoded[..written], *pdu);
    assert_eq!(request.encode(&mut encoded[..written - 1]), None, "one byte less is too short");
    touches(&request, |area, span, writes| assert_eq!(named.next(), Some(Access { area, span, writes })));
    assert_eq!(named.next(), None);
    if let Some(span) = span {
        assert_eq!(span.start.to_be_bytes(), pdu[1..3]);
    }
    let _whatever = Reply::decode(&request, noise);

    let (mut units, _) = units(&plant());
    let unit = units.unit_mut(1).expect("the plant has a unit 1");
    let mut reply = [0xAA; MAX_PDU];
    match execute(&mut unit.device, &mut unit.diagnostics, &Bus::default(), &request, &mut reply) {
        Ok(Executed::Reply { len }) => {
            let reply = &reply[..len];
            let decoded = Reply::decode(&request, reply);
            assert!(decoded.is_ok(), "a client reads {reply:02X?} as {decoded:?}");
            assert!(Reply::decode(&request, &reply[..len - 1]).is_err(), "a byte is missing");
            holds_what_the_device_holds(&request, decoded.expect("checked"), &unit.device);
        }
        Ok(Executed::Silent) => assert_eq!(pdu, [8, 0, 4, 0, 0], "only the begin of listen-only mode is silent here"),
        Err(exception) => {
            let reply = [pdu[0] | 0x80, exception.code()];
            assert_eq!(Reply::decode(&request, &reply), Err(ReplyError::Exception(exception)));
            let allowed = if matches!(pdu[0], 20 | 21) { [2, 8] } else { [2, 3] };
            assert!(allowed.contains(&exception.code()), "{exception} to function {}", pdu[0]);
            assert!(exception != Exception::ILLEGAL_DATA_VALUE || pdu[0] == 24, "a 03 is for the codec to say");
        }
    }
}

/// Tells what a request that was decoded reads and writes, in its order.
fn touches(request: &Request<'_>, mut told: impl FnMut(Area, Span, bool)) {
    let one = |start| Span { start, quantity: 1 };
    match *request {
        Request::ReadCoils(span) => told(Area::Table(TableKind::Coils), span, false),
        Request::ReadDiscreteInputs(span) => told(Area::Table(TableKind::Discrete), span, false),
        Request::ReadHoldingRegisters(span) => told(Area::Table(TableKind::Holding), span, false),
        Request::ReadInputRegisters(span) => told(Area::Table(TableKind::Input), span, false),
        Request::WriteSingleCoil { address, .. } => told(Area::Table(TableKind::Coils), one(address), true),
        Request::WriteMultipleCoils { span, .. } => told(Area::Table(TableKind::Coils), span, true),
        Request::WriteSingleRegister { address, .. } | Request::MaskWriteRegister { address, .. } => {
            told(Area::Table(TableKind::Holding), one(address), true);
        }
        Request::WriteMultipleRegisters { span, .. } => told(Area::Table(TableKind::Holding), span, true),
        Request::ReadWriteMultipleRegisters { read, write, .. } => {
            told(Area::Table(TableKind::Holding), read, false);
            told(Area::Table(TableKind::Holding), write, true);
        }
        Request::ReadFileRecord(groups) => {
            groups.iter().for_each(|group| told(Area::File(group.file), group.records(), false));
        }
        Request::WriteFileRecord(groups) => {
            groups.iter().for_each(|(group, _)| told(Area::File(group.file), group.records(), true));
        }
        Request::ReadFifoQueue { pointer } => told(Area::Queues, one(pointer), false),
        Request::ReadExceptionStatus
        | Request::Diagnostics(_)
        | Request::GetCommEventCounter
        | Request::GetCommEventLog
        | Request::ReportServerId
        | Request::ReadDeviceIdentification { .. } => {}
    }
}

fn holds_what_the_device_holds(request: &Request<'_>, reply: Reply<'_>, device: &Device<Boxed>) {
    let addresses = |span: Span| span.start..=span.start + (span.quantity - 1);
    match (*request, reply) {
        (Request::ReadCoils(span), Reply::Bits(bits)) => bits_are(bits, addresses(span).map(|at| device.coils.bit(at))),
        (Request::ReadDiscreteInputs(span), Reply::Bits(bits)) => {
            bits_are(bits, addresses(span).map(|at| device.discrete.bit(at)));
        }
        (
            Request::ReadHoldingRegisters(span) | Request::ReadWriteMultipleRegisters { read: span, .. },
            Reply::Registers(words),
        ) => {
            assert!(words.iter().map(Some).eq(addresses(span).map(|at| device.holding.register(at))));
        }
        (Request::ReadInputRegisters(span), Reply::Registers(words)) => {
            assert!(words.iter().map(Some).eq(addresses(span).map(|at| device.input.register(at))));
        }
        (Request::WriteSingleRegister { address, value }, Reply::Written) => {
            assert_eq!(device.holding.register(address), Some(value));
        }
        (Request::WriteSingleCoil { address, value }, Reply::Written) => {
            assert_eq!(device.coils.bit(address), Some(value));
        }
        (Request::WriteMultipleRegisters { span, values }, Reply::Written) => {
            assert!(values.iter().map(Some).eq(addresses(span).map(|at| device.holding.register(at))));
        }
        (Request::WriteMultipleCoils { span, bits }, Reply::Written) => {
            for (nth, at) in addresses(span).enumerate() {
                assert_eq!(device.coils.bit(at), Some(bits[nth / 8] >> (nth % 8) & 1 == 1), "coil {at}");
            }
        }
        (Request::ReadFileRecord(groups), Reply::FileRecords(records)) => {
            for (group, words) in groups.iter().zip(records.iter()) {
                let file = device.files.records(group.file).expect("it was read");
                let first = usize::from(group.record);
                assert!(words.iter().eq(file[first..first + usize::from(group.length)].iter().copied()));
            }
            assert_eq!(groups.iter().count(), records.iter().count());
        }
        (Request::ReadFifoQueue { pointer }, Reply::Registers(words)) => {
            assert_eq!(device.queue_len(pointer), Some(words.len()));
        }
        (Request::ReadDeviceIdentification { object, .. }, Reply::Identification(identification)) => {
            for (id, value) in identification.objects() {
                assert_eq!(device.object(id), Some(value));
            }
            assert!(identification.objects().count() > 0, "no object from {object} on");
        }
        (Request::ReadExceptionStatus, Reply::ExceptionStatus(status)) => assert_eq!(status, device.exception_status()),
        (
            Request::MaskWriteRegister { .. }
            | Request::WriteFileRecord(_)
            | Request::Diagnostics(_)
            | Request::GetCommEventCounter
            | Request::GetCommEventLog
            | Request::ReportServerId,
            _,
        ) => {}
        (request, reply) => panic!("{reply:?} to {request:?}"),
    }
}

fn bits_are(bits: &[u8], expected: impl Iterator<Item = Option<bool>>) {
    let expected: Vec<_> = expected.collect();
    for nth in 0..bits.len() * 8 {
        let expected = expected.get(nth).copied().unwrap_or(Some(false));
        assert_eq!(Some(bits[nth / 8] >> (nth % 8) & 1 == 1), expected, "bit {nth}");
    }
}
