//! What users read and rely on, and no request shows by itself: names, texts, defaults, and who the default device is.

use super::data::queue::PushError;
use super::data::{
    BitTable, Block, BuildError, Device, Files, Identity, Model, Operation, Queues, RegisterTable, Static, TableKind,
};
use super::diagnostics::Diagnostics;
use super::mbap;
use super::pdu::request::Request;
use super::pdu::{Exception, Reply, ReplyError, Span, Words};
use super::server;
use super::service::{Answer, Discard, Indication, Service};
use super::typed::{Order, Type, Value};
use super::units::{self, Policies, Unit, UnitZero, Units, UnknownUnit};
use std::string::ToString;
use std::vec;
use std::vec::Vec;

#[test]
fn exceptions_have_the_names_of_the_standard() {
    let named: Vec<_> = (1..=12).map(|code| Exception::new(code).unwrap().name()).collect();
    let expected = [
        "illegal function",
        "illegal data address",
        "illegal data value",
        "server device failure",
        "acknowledge",
        "server device busy",
        "negative acknowledge",
        "memory parity error",
        "unknown",
        "gateway path unavailable",
        "gateway target device failed to respond",
        "unknown",
    ];
    assert_eq!(named, expected);
    assert_eq!(Exception::SERVER_DEVICE_BUSY.to_string(), "exception 06 (server device busy)");
}

#[test]
fn discards_and_orders_have_the_names_that_metrics_and_plants_spell() {
    let expected = [
        "protocol_id",
        "length_short",
        "length_long",
        "truncated",
        "frame_timeout",
        "unknown_unit",
        "ignored_unit",
        "broadcast_read",
        "listen_only",
        "held",
        "draining",
    ];
    assert_eq!(Discard::ALL.map(Discard::name), expected);
    assert_eq!(Discard::Truncated.to_string(), "truncated");
    assert_eq!(Order::ALL.map(Order::name), ["abcd", "cdab", "badc", "dcba"]);
}

#[test]
fn connections_and_their_ends_have_the_names_that_reports_and_metrics_spell() {
    let expected = [
        "peer_closed",
        "peer_reset",
        "idle",
        "frame_timeout",
        "write_stuck",
        "bad_frame",
        "evicted",
        "shutdown",
        "shutdown_forced",
        "fault",
        "kicked",
        "io_error",
    ];
    assert_eq!(server::Reason::ALL.map(server::Reason::name), expected);
    use server::State::{Closed, Closing, Draining, Held, Open, Paused};
    let states = [Open, Paused, Draining, Held, Closing, Closed].map(server::State::name);
    assert_eq!(states, ["open", "paused", "draining", "held", "closing", "closed"]);
}

#[test]
fn errors_say_what_is_wrong() {
    let said = [
        mbap::Error::LengthShort { length: 1 }.to_string(),
        BuildError::TextLong { len: 245 }.to_string(),
        PushError::Full.to_string(),
        ReplyError::Malformed.to_string(),
        units::Error::Unordered { id: 7 }.to_string(),
        Value::I16(-5).to_string(),
        server::Error::ReplyLength { len: 254 }.to_string(),
        server::Reason::BadFrame.to_string(),
    ];
    assert_eq!(said[0], "mbap length 1 is below 2");
    assert_eq!(said[1], "text of 245 bytes is too long");
    assert_eq!(said[4], "unit 7 is not above the unit before it");
    assert_eq!(said[5], "-5");
    assert_eq!(said[6..], ["reply of 254 bytes is not 1..=253 bytes", "bad_frame"]);
    assert!(said.iter().all(|text| !text.is_empty()), "{said:?}");
}

#[test]
fn a_sign_behind_0x_is_no_number() {
    assert!(Value::parse(Type::I16, "0x-5").is_err());
    assert_eq!(Value::parse(Type::I16, "0x5"), Ok(Value::I16(5)));
}

#[test]
fn each_length_and_echo_of_a_reply_is_judged_by_itself() {
    let malformed = Err(ReplyError::Malformed);
    let queue = Request::decode(&[24, 0, 9]).unwrap();
    assert!(Reply::decode(&queue, &[24, 0, 6, 0, 2, 1, 2, 3, 4]).is_ok());
    assert_eq!(Reply::decode(&queue, &[24, 0, 6, 0, 1, 1, 2, 3, 4]), malformed, "the count");
    assert_eq!(Reply::decode(&queue, &[24, 0, 5, 0, 2, 1, 2, 3, 4]), malformed, "the bytes");
    let long: Vec<u8> = [24, 0, 66, 0, 32].into_iter().chain([0; 64]).collect();
    assert_eq!(Reply::decode(&queue, &long), malformed, "more than a queue can show");
    let basic = Request::decode(&[43, 14, 1, 0]).unwrap();
    assert!(Reply::decode(&basic, &[43, 14, 1, 0x81, 0, 0, 0]).is_ok());
    assert_eq!(Reply::decode(&basic, &[43, 13, 1, 0x81, 0, 0, 0]), malformed, "the MEI type");
    assert_eq!(Reply::decode(&basic, &[43, 14, 2, 0x81, 0, 0, 0]), malformed, "the read code");
}

/// One register, and nothing else of its own.
#[derive(Default)]
struct OneRegister(u16);

impl Model for OneRegister {
    fn read_bits(&self, _: TableKind, _: Span, _: &mut [u8]) -> Result<(), Exception> {
        Err(Exception::ILLEGAL_DATA_ADDRESS)
    }

    fn write_coils(&mut self, _: Span, _: &[u8]) -> Result<(), Exception> {
        Err(Exception::ILLEGAL_DATA_ADDRESS)
    }

    fn read_registers(&self, _: TableKind, span: Span, out: &mut [u8]) -> Result<(), Exception> {
        self.check_holding(Operation::Read, span)?;
        out.copy_from_slice(&self.0.to_be_bytes());
        Ok(())
    }

    fn check_holding(&self, _: Operation, span: Span) -> Result<(), Exception> {
        if span == (Span { start: 9, quantity: 1 }) { Ok(()) } else { Err(Exception::ILLEGAL_DATA_ADDRESS) }
    }

    fn write_holding(&mut self, span: Span, values: Words<'_>) -> Result<(), Exception> {
        self.check_holding(Operation::Write, span)?;
        self.0 = values.iter().next().unwrap();
        Ok(())
    }
}

#[test]
fn a_model_that_provides_the_least_has_registers_that_can_be_masked_and_nothing_else() {
    let mut model = OneRegister(0x12);
    assert_eq!(model.mask_holding(9, 0xF2, 0x25), Ok(()));
    assert_eq!(model.0, 0x17, "the example of AP 6.16");
    assert_eq!(model.mask_holding(8, 0, 1), Err(Exception::ILLEGAL_DATA_ADDRESS));
    assert_eq!(model.queue_len(0), None);
    assert_eq!((0..=3).map(|id| model.object(id)).collect::<Vec<_>>(), [Some(&[][..]), Some(&[]), Some(&[]), None]);
    assert_eq!(model.exception_status(), 0);
    let Ok(Request::ReadFileRecord(groups)) = Request::decode(&[20, 7, 6, 0, 1, 0, 0, 0, 1]) else {
        panic!("it is a read of one record")
    };
    let group = groups.iter().next().unwrap();
    assert_eq!(model.check_file(Operation::Read, group), Err(Exception::ILLEGAL_DATA_ADDRESS));
}

/// A device whose holding register 0 is `mark`, with eight coils from 20 on.
fn device(mark: u16) -> Device<Static> {
    let registers = |values: Vec<u16>| {
        let block = Block::new(0, values.len() as u32);
        RegisterTable::new(vec![block].leak(), values.leak(), vec![].leak()).unwrap()
    };
    let bits = || BitTable::new(vec![Block::new(20, 8)].leak(), vec![0].leak(), vec![].leak()).unwrap();
    Device {
        coils: bits(),
        discrete: bits(),
        input: registers(vec![0]),
        holding: registers(vec![mark]),
        files: Files::new(vec![].leak(), vec![].leak(), vec![].leak()).unwrap(),
        queues: Queues::new(vec![].leak(), vec![].leak()).unwrap(),
        identity: Identity::new(vec![].leak(), b"".as_slice(), b"".as_slice()).unwrap(),
    }
}

#[test]
fn the_exception_status_is_a_byte_or_eight_coils() {
    let mut device = device(0);
    device.identity.exception_status = 0x5A;
    assert_eq!(device.exception_status(), 0x5A);
    device.identity.status_coils = Some(20);
    assert!(device.coils.set_bit(21, true) && device.coils.set_bit(27, true));
    assert_eq!(device.exception_status(), 0b1000_0010);
    device.identity.status_coils = Some(21);
    assert_eq!(device.exception_status(), 0b0100_0001, "coil 28 is absent");
    assert!(!device.coils.set_bit(28, true));
}

#[test]
fn a_device_without_texts_has_the_three_objects_that_always_exist() {
    let device = device(0);
    assert_eq!((device.object(0), device.object(2), device.object(3)), (Some(&[][..]), Some(&[][..]), None));
    assert!(device.queues.is_empty());
    assert_eq!((Block::new(7, 9).start(), Block::new(7, 9).len()), (7, 9));
}

#[test]
fn the_ascii_delimiter_is_a_line_feed_until_it_is_set() {
    let mut diagnostics = Diagnostics::new();
    assert_eq!(diagnostics.ascii_delimiter(), b'\n');
    diagnostics.set_ascii_delimiter(b'!');
    assert_eq!(diagnostics.ascii_delimiter(), b'!');
}

fn units(ids: &[u8], own: Option<u16>, policies: Policies) -> Units<Static> {
    let unit = |id, mark| Unit::new(id, device(mark), vec![].leak());
    let list: Vec<_> = ids.iter().map(|id| unit(*id, u16::from(*id))).collect();
    Units::new(list.leak(), own.map(|mark| unit(0, mark)), policies).unwrap()
}

/// What holding register 0 of the unit that answers for `unit` says.
fn mark(units: &mut Units<Static>, unit: u8) -> Result<u16, Answer> {
    let mut reply = [0; 253];
    let indication = Indication { transaction: 0, id: None, unit, pdu: &[3, 0, 0, 0, 1] };
    let answer = units.serving(1).serve(&indication, &mut reply);
    if answer == (Answer::Reply { len: 4 }) { Ok(u16::from_be_bytes([reply[2], reply[3]])) } else { Err(answer) }
}

#[test]
fn the_default_device_is_the_servers_own_then_the_one_named_then_the_lowest_enabled() {
    let policies = Policies { unknown_unit: UnknownUnit::Default, ..Policies::default() };
    assert_eq!(mark(&mut units(&[3, 5], Some(99), policies), 77), Ok(99));
    let named = Policies { default_unit: Some(5), ..policies };
    assert_eq!(mark(&mut units(&[3, 5], None, named), 77), Ok(5));
    let mut two = units(&[3, 5], None, policies);
    assert_eq!(mark(&mut two, 77), Ok(3));
    two.unit_mut(3).unwrap().enabled = false;
    assert_eq!(mark(&mut two, 77), Ok(5));
    assert_eq!((two.unit(3).unwrap().id, two.unit(4).is_none()), (3, true));
    let nobody = mark(&mut units(&[], None, policies), 77);
    assert_eq!(nobody, Err(Answer::Exception(Exception::GATEWAY_TARGET_FAILED)));
}

#[test]
fn a_broadcast_write_is_silent_and_a_broadcast_read_is_discarded() {
    let policies = Policies { unit_0: UnitZero::Broadcast, ..Policies::default() };
    let mut two = units(&[3, 5], None, policies);
    let mut serve = |pdu: &[u8]| {
        let indication = Indication { transaction: 0, id: None, unit: 0, pdu };
        two.serving(1).serve(&indication, &mut [0; 253])
    };
    assert_eq!(serve(&[6, 0, 0, 0, 42]), Answer::Silent);
    assert_eq!(serve(&[3, 0, 0, 0, 1]), Answer::Discard(Discard::BroadcastRead));
    assert_eq!((mark(&mut two, 3), mark(&mut two, 5)), (Ok(42), Ok(42)));
}

#[test]
fn units_out_of_order_are_refused() {
    let unit = |id| Unit::<Static>::new(id, device(0), vec![].leak());
    for ids in [[5, 3], [5, 5]] {
        let list = vec![unit(ids[0]), unit(ids[1])].leak();
        let refused = Units::<Static>::new(list, None, Policies::default()).map(|_| ());
        assert_eq!(refused, Err(units::Error::Unordered { id: ids[1] }));
    }
}

#[test]
fn a_truncated_frame_counts_as_lost() {
    let mut one = units(&[1], None, Policies::default());
    one.truncated();
    let mut reply = [0; 253];
    let indication = Indication { transaction: 0, id: None, unit: 1, pdu: &[8, 0, 12, 0, 0] };
    assert_eq!(one.serving(1).serve(&indication, &mut reply), Answer::Reply { len: 5 });
    assert_eq!(reply[..5], [8, 0, 12, 0, 1]);
}
