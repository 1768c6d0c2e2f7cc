//! Faults at random, each from a few bytes: those of a fuzzer, or of a seeded source. Zeros give plain ones: they are
//! enabled, aimed at everything, in force all the time, and always act.

use core::time::Duration;
use wharf_core::modbus::data::TableKind;
use wharf_core::modbus::faults::{
    Addresses, ByteSet, CorruptMode, Count, ExtraMode, Fault, FunctionMode, How, Keep, Kind, LengthMode, MAX_CUTS,
    Moment, Order, Payload, Quota, Relation, Reply, Scope, Target, Then, TransactionMode, UnitMode, Window,
};
use wharf_core::modbus::pdu::Exception;
use wharf_core::random::Probability;

/// Most bytes of a payload, so that those of a whole plan find room.
const MAX_PAYLOAD: u8 = 40;

/// A fault of the kind that `kind` names among the first `kinds` of [`KINDS`], whose other properties follow from what
/// `byte` gives.
pub fn fault(kinds: usize, byte: &mut dyn FnMut() -> u8) -> Fault {
    let kind = kind(usize::from(byte()) % kinds.clamp(1, KINDS), byte);
    let which = byte();
    let mut fault = Fault { enabled: which & 0x80 == 0, ..Fault::new(kind) };
    if which & 1 != 0 {
        fault.target = target(byte);
    }
    if which & 2 != 0 {
        fault.window = window(byte);
    }
    if which & 4 != 0 {
        fault.quota = quota(byte());
    }
    if which & 8 != 0 {
        fault.probability = match byte() {
            0 => Probability::NEVER,
            part => Probability::from_f64(f64::from(part) / 255.0),
        };
    }
    if which & 16 != 0 {
        fault.seed = byte().into();
    }
    if which & 32 != 0 && matches!(kind, Kind::Extra { .. } | Kind::Unsolicited { .. }) {
        let len = byte() % (MAX_PAYLOAD + 1);
        fault.payload = Payload::from_iter((0..len).map(|_| byte()));
    }
    fault
}

/// How many kinds [`fault`] knows: 17 on replies, 5 on a connection, and 3 that concern no request.
pub const KINDS: usize = 25;
/// Those of them on replies, which come first.
pub const REPLY_KINDS: usize = 17;

fn kind(which: usize, byte: &mut dyn FnMut() -> u8) -> Kind {
    let how = |byte: u8| if byte & 1 == 0 { How::Fin } else { How::Rst };
    let then = |byte: u8| [Then::Resume, Then::Close, Then::Reset][usize::from(byte % 3)];
    match which {
        0 => Kind::NoResponse { execute: byte() & 1 == 0 },
        1 => {
            let code = Exception::new(byte()).unwrap_or(Exception::SERVER_DEVICE_FAILURE);
            Kind::Exception { code, execute: byte() & 1 != 0 }
        }
        2 => Kind::WrongCount(match byte() {
            exactly if exactly & 1 == 0 => Count::Exactly(u16::from(exactly / 2)),
            by => Count::By(i16::from(by.cast_signed() / 8)),
        }),
        3 => Kind::WrongFunction(match byte() {
            0 => FunctionMode::Increment,
            1 => FunctionMode::Random,
            2 => FunctionMode::SwapReadWrite,
            value => FunctionMode::Fixed(value),
        }),
        4 => {
            let mode = byte();
            let mode = [CorruptMode::Flip, CorruptMode::Random, CorruptMode::Set(mode)][usize::from(mode % 3)];
            let (offset, count) = (byte(), byte());
            Kind::Corrupt { mode, offset: (offset > 0).then_some(offset - offset.min(1)), count: 1 + count % 9 }
        }
        5 => {
            let (mode, bytes) = (byte(), byte());
            let fraction = Keep::Fraction(u32::from(bytes) * 4000);
            let keep = [Keep::HeaderOnly, Keep::FixedBytes(bytes), fraction, Keep::AllBut(bytes)];
            Kind::Truncate { keep: keep[usize::from(mode & 3)], relength: mode & 4 == 0 }
        }
        6 => {
            let (mode, count) = (byte(), byte());
            let modes = [ExtraMode::Random, ExtraMode::DuplicateLast, ExtraMode::Append];
            Kind::Extra { mode: modes[usize::from(mode % 3)], count, relength: mode & 0x80 == 0 }
        }
        7 => Kind::WrongUnit(match byte() {
            0 => UnitMode::Increment,
            1 => UnitMode::Random,
            2 => UnitMode::Swap,
            value => UnitMode::Fixed(value),
        }),
        8 => Kind::WrongTransaction(match byte() {
            0 => TransactionMode::Increment,
            1 => TransactionMode::Random,
            2 => TransactionMode::SwapBytes,
            value => TransactionMode::Fixed(u16::from_be_bytes([value, byte()])),
        }),
        9 => Kind::WrongProtocol(u16::from_be_bytes([byte(), byte()])),
        10 => Kind::WrongLength(match byte() {
            fixed if fixed & 1 != 0 => LengthMode::Fixed(u16::from_be_bytes([fixed, byte()])),
            delta => LengthMode::Delta(i16::from(delta.cast_signed()) * 200),
        }),
        11 => Kind::Delay { delay: span(byte()), jitter: span(byte()) },
        12 => Kind::Duplicate { copies: byte() % 5, gap: span(byte()) },
        13 => Kind::Reorder { behind: u16::from(byte() % 5), wait: span(byte()) },
        14 => {
            let (when, idle) = (byte(), byte());
            let when = [Moment::After, Moment::Before, Moment::Idle(span(idle))][usize::from(when % 3)];
            Kind::Unsolicited { when, transaction: 0xFF00 | u16::from(byte()) }
        }
        15 => {
            let mut at = [0; MAX_CUTS];
            let points = 1 + usize::from(byte() % 8);
            at[..points].fill_with(|| u16::from(byte() % 40));
            Kind::Split { at, gap: span(byte()) }
        }
        16 => Kind::Dribble { chunk: u16::from(byte() % 40), gap: span(byte()) },
        17 => {
            let end = byte();
            let when = if end & 2 == 0 { Order::After } else { Order::Before };
            Kind::Close { how: how(end), when, delay: span(byte()) }
        }
        18 => Kind::CutFrame { bytes: u16::from(byte() % 20), how: how(byte()), delay: span(byte()) },
        19 => Kind::HalfClose { span: span(byte()) },
        20 => Kind::StopReading { span: span(byte()), then: then(byte()) },
        21 => Kind::HoldOpen { span: span(byte()), then: then(byte()) },
        22 => Kind::AcceptClose { how: how(byte()), delay: span(byte()) },
        23 => Kind::StallAccept,
        _ => Kind::Refuse,
    }
}

/// From nothing to half a minute.
#[must_use]
pub fn span(byte: u8) -> Duration {
    let factor = u64::from(byte / 8);
    let unit = [0, 1, 100, 1000, 1000, 20_000, 100_000, 1_000_000][usize::from(byte % 8)];
    Duration::from_micros(factor * unit)
}

fn target(byte: &mut dyn FnMut() -> u8) -> Target {
    let which = byte();
    let mut target = Target::ANY;
    let some = |byte: &mut dyn FnMut() -> u8| -> ByteSet { (0..=byte() % 3).map(|_| byte() % 25).collect() };
    if which & 1 != 0 {
        target.units = Some(some(byte));
    }
    if which & 2 != 0 {
        target.functions = Some(some(byte));
    }
    if which & 4 != 0 {
        let tables = [TableKind::Coils, TableKind::Discrete, TableKind::Input, TableKind::Holding];
        target.table = Some(tables[usize::from(byte() & 3)]);
    }
    if which & 8 != 0 {
        let (first, len) = (byte(), byte());
        let relation = [Relation::Overlap, Relation::Within, Relation::Start][usize::from(len % 3)];
        target.addresses =
            Some(Addresses { first: first.into(), last: u16::from(first) + u16::from(len / 3), relation });
    }
    if which & 16 != 0 {
        let least = u16::from(byte() % 16);
        target.quantity = Some((least, least + u16::from(byte())));
    }
    if which & 32 != 0 {
        let networks = ["10.0.0.0/9", "10.0.0.1", "2001:db8::/32"];
        let network = networks[usize::from(byte() % 3)].parse().expect("it is a network");
        target.peers.push(network).expect("the first finds room");
    }
    target.reply = [Reply::Any, Reply::Normal, Reply::Exception, Reply::Any][usize::from(which >> 6)];
    target
}

fn window(byte: &mut dyn FnMut() -> u8) -> Window {
    let which = byte();
    let mut window = Window::ALWAYS;
    if which & 1 != 0 {
        window.from = span(byte());
    }
    if which & 2 != 0 {
        window.until = Some(span(byte()));
    }
    if which & 4 != 0 {
        window.cycle = Some((span(byte()), span(byte())));
    }
    window
}

fn quota(byte: u8) -> Quota {
    Quota {
        skip: u64::from(byte & 3),
        every: u64::from(byte >> 2 & 3),
        max: (byte & 0x10 != 0).then_some(u64::from(byte >> 5 & 3)),
        scope: if byte & 0x80 == 0 { Scope::Server } else { Scope::Connection },
    }
}
