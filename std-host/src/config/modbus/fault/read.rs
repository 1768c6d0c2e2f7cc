//! Reads `fault` of a server. A kind has keys of its own; which of the others it has follows from where it acts: one that
//! acts on listeners knows no requests.

use super::{Fault, TABLES};
use crate::config::error::Kind as Problem;
use crate::config::modbus::read::{bytes, seed};
use crate::config::reader::{Item, Reader, Seen};
use std::time::Duration;
use wharf_core::modbus::faults::{
    self, Addresses, ByteSet, CorruptMode, Count, CutPoints, ExtraMode, FunctionMode, How, Keep, Kind, LengthMode,
    MAX_ALTERED, MAX_CUTS, MAX_PAYLOAD, MAX_PEERS, Moment, Order, Payload, Peers, Quota, Relation, Reply, Scope, Stage,
    Target, Then, TransactionMode, UnitMode, Window,
};
use wharf_core::modbus::mbap::MAX_PDU;
use wharf_core::modbus::pdu::{Exception, MAX_READ_BITS};
use wharf_core::network::Network;
use wharf_core::random::Probability;

/// Reads the keys of one kind.
type Keys = fn(&mut Reader<'_>) -> Option<(Kind, Payload)>;

/// The kinds.
const KINDS: [(&str, Keys); 25] = [
    ("no_response", |r| plain(Kind::NoResponse { execute: execute(r, true) })),
    ("exception", exception),
    ("wrong_count", wrong_count),
    ("wrong_function", |r| plain(Kind::WrongFunction(wrong_function(r)))),
    ("corrupt", |r| plain(corrupt(r))),
    ("truncate", |r| plain(truncate(r))),
    ("extra", extra),
    ("wrong_unit", |r| plain(Kind::WrongUnit(wrong_unit(r)))),
    ("wrong_transaction", |r| plain(Kind::WrongTransaction(wrong_transaction(r)))),
    ("wrong_protocol", |r| plain(Kind::WrongProtocol(r.or("value", 1, |item| item.integer(1..=u16::MAX))))),
    ("wrong_length", |r| plain(Kind::WrongLength(wrong_length(r)))),
    ("delay", |r| plain(Kind::Delay { delay: span(r, "delay", SECOND), jitter: span(r, "jitter", NONE) })),
    ("duplicate", |r| plain(duplicate(r))),
    ("reorder", |r| plain(reorder(r))),
    ("unsolicited", unsolicited),
    ("split", |r| plain(split(r))),
    ("dribble", |r| plain(dribble(r))),
    ("close", |r| plain(close(r))),
    ("cut_frame", |r| plain(cut_frame(r))),
    ("half_close", |r| plain(Kind::HalfClose { span: span(r, "for", millis(5_000)) })),
    ("stop_reading", |r| plain(Kind::StopReading { span: span(r, "for", HALF_A_MINUTE), then: then(r, Then::Resume) })),
    ("hold_open", |r| plain(Kind::HoldOpen { span: span(r, "for", HALF_A_MINUTE), then: then(r, Then::Close) })),
    ("accept_close", |r| plain(Kind::AcceptClose { how: how(r, How::Rst), delay: span(r, "delay", NONE) })),
    ("stall_accept", |_| plain(Kind::StallAccept)),
    ("refuse", |_| plain(Kind::Refuse)),
];
/// Kinds that make sense on a serial line only.
const PLANNED_KINDS: [&str; 6] = ["crc", "partial", "early_reply", "char_gap", "collision", "byte_jitter"];

const NONE: Duration = Duration::ZERO;
const SECOND: Duration = millis(1_000);
const HALF_A_MINUTE: Duration = millis(30_000);
/// A cut further back leaves a frame whole, however long other faults have made it.
const LAST_CUT: u16 = 758;
/// Bytes of a longest PDU behind its function code.
const BEHIND_CODE: u8 = 252;
const _: () = assert!(LAST_CUT as usize + 1 == MAX_ALTERED && BEHIND_CODE as usize + 1 == MAX_PDU);

/// The faults of a server, in file order.
pub(in crate::config::modbus) fn faults(item: &Item<'_>) -> Option<Vec<Fault>> {
    let mut names = Seen::new("a name that is unique within the server");
    item.each("a list of tables", |item| item.table(|r| fault(r, &mut names)).flatten())
}

fn fault(r: &mut Reader<'_>, names: &mut Seen<String>) -> Option<Fault> {
    let name = r.need("name", "a name that is unique within the server", |item| {
        let name = item.line_of_text(64)?;
        names.add(name.clone(), &item);
        Some(name)
    });
    let keys = r.need("kind", &kinds(), |item| kind(&item));
    let Some(keys) = keys else {
        // Without a kind nobody knows which keys there may be.
        r.entries();
        return None;
    };
    let enabled = r.or("enabled", true, |item| item.flag());
    let (kind, payload) = keys(r)?;
    let mut what = faults::Fault { enabled, payload, ..faults::Fault::new(kind) };
    let stage = kind.stage();
    if stage < Stage::Accept {
        what.target = target(r, &kind);
        what.quota.scope = r.or("scope", Scope::Server, |item| {
            item.choice(&[("server", Scope::Server), ("connection", Scope::Connection)])
        });
    } else if stage == Stage::Accept {
        what.target.peers = peers(r);
    }
    what.window = window(r);
    let mut own_seed = None;
    if stage < Stage::Listener {
        what.quota = Quota { scope: what.quota.scope, ..quota(r) };
        what.probability = r.or("probability", Probability::ALWAYS, |item| item.fraction().map(Probability::from_f64));
        own_seed = r.option("seed", |item| seed(&item));
    }
    Some(Fault { name: name?, seed: own_seed, what })
}

fn kind(item: &Item<'_>) -> Option<Keys> {
    if PLANNED_KINDS.into_iter().any(|planned| item.is_not_yet(planned)) { None } else { item.choice(&KINDS) }
}

fn kinds() -> String {
    KINDS.map(|(name, _)| format!("\"{name}\"")).join(", ")
}

#[expect(clippy::unnecessary_wraps, reason = "what the kinds have in common")]
fn plain(kind: Kind) -> Option<(Kind, Payload)> {
    Some((kind, Payload::new()))
}

/// Whom a fault on requests is aimed at.
fn target(r: &mut Reader<'_>, kind: &Kind) -> Target {
    let units = r.option("units", |item| set(&item, "a list of unit ids"));
    let functions = r.option("functions", |item| set(&item, "a list of function codes"));
    let peers = peers(r);
    let table = r.option("table", |item| item.choice(&TABLES));
    let reply = r.option("reply", |item| {
        const CHOICES: [(&str, Reply); 3] =
            [("any", Reply::Any), ("normal", Reply::Normal), ("exception", Reply::Exception)];
        let reply = item.choice(&CHOICES)?;
        if reply != Reply::Any && kind.prevents_execution() {
            let accepted = "with `reply` only execute = true, because a request must run before it has an outcome";
            item.note(Problem::Conflict, "found beside execute = false", Some(accepted.to_owned()));
        }
        Some(reply)
    });
    Target {
        units,
        functions,
        peers,
        table,
        addresses: addresses(r),
        quantity: r.option("quantity", |item| pair(&item, "[min, max]")),
        reply: reply.unwrap_or_default(),
    }
}

/// A list of bytes, each once, and at least one.
fn set(item: &Item<'_>, what: &str) -> Option<ByteSet> {
    let mut seen = Seen::new("each value once");
    let set: Vec<u8> = item.each(what, |item| {
        let byte = item.integer(0..=u8::MAX)?;
        seen.add(byte, &item);
        Some(byte)
    })?;
    not_empty(item)?;
    Some(set.into_iter().collect())
}

/// Whom an empty list is aimed at is not clear: nobody, or anybody.
fn not_empty(item: &Item<'_>) -> Option<()> {
    if item.list("a list")?.is_empty() {
        item.note(Problem::NotAccepted, "found an empty list", Some("at least one, or no such key".to_owned()));
        return None;
    }
    Some(())
}

fn peers(r: &mut Reader<'_>) -> Peers {
    r.or("peers", Peers::new(), |item| {
        const ACCEPTED: &str = "an IP address or a range, such as \"10.1.0.7\" or \"10.1.0.0/16\"";
        let peers = item.each("a list of IP addresses and ranges", |item| match item.text()?.parse::<Network>() {
            Ok(network) => Some(network),
            Err(error) => {
                item.note(Problem::NotAccepted, error.to_string(), Some(ACCEPTED.to_owned()));
                None
            }
        })?;
        not_empty(&item)?;
        let peers = Peers::from_slice(&peers);
        if peers.is_err() {
            item.note(Problem::TooMany, "found too many", Some(format!("at most {MAX_PEERS}; ranges hold more")));
        }
        peers.ok()
    })
}

fn addresses(r: &mut Reader<'_>) -> Option<Addresses> {
    let range = r.item("addresses");
    let has_range = range.is_some();
    let relation = r.option("match", |item| {
        const CHOICES: [(&str, Relation); 3] =
            [("overlap", Relation::Overlap), ("within", Relation::Within), ("start", Relation::Start)];
        if !has_range {
            let message = "found without `addresses`, to which it says how a request must lie";
            item.note(Problem::Dangling, message, Some("addresses = [first, last] beside it".to_owned()));
        }
        item.choice(&CHOICES)
    });
    let (first, last) = pair(&range?, "[first, last]")?;
    Some(Addresses { first, last, relation: relation.unwrap_or_default() })
}

/// Two values, the second not below the first.
fn pair(item: &Item<'_>, what: &str) -> Option<(u16, u16)> {
    let elements = item.list(what)?;
    let [first, last] = elements.as_slice() else {
        item.refuse(what);
        return None;
    };
    let first = first.integer(0..=u16::MAX)?;
    Some((first, last.integer(first..=u16::MAX)?))
}

/// When a fault is in force.
fn window(r: &mut Reader<'_>) -> Window {
    let from = span(r, "from", NONE);
    let until = r.option("until", |item| {
        let until = item.span_or_off()?;
        if until.is_some_and(|until| until <= from) {
            item.refuse("later than `from`, or \"0\" for no end");
        }
        until
    });
    let cycle = r.option("cycle", |item| {
        item.table(|r| {
            let on = r.need("on", "how long it is in force", |item| {
                let on = item.span_or_off()?;
                if on.is_none() {
                    item.refuse("more than 0");
                }
                on
            });
            let off = r.need("off", "how long it is not", |item| item.span_or_off().map(Option::unwrap_or_default));
            on.zip(off)
        })?
    });
    Window { from, until, cycle }
}

fn quota(r: &mut Reader<'_>) -> Quota {
    let most = i64::MAX.unsigned_abs();
    let d = Quota::EVERY;
    Quota {
        skip: r.or("skip", d.skip, |item| item.integer(0..=most)),
        every: r.or("every", d.every, |item| item.integer(1..=most)),
        max: r.option("max", |item| item.integer(1..=most)),
        ..d
    }
}

fn span(r: &mut Reader<'_>, key: &'static str, default: Duration) -> Duration {
    r.or(key, default, |item| item.span_or_off().map(Option::unwrap_or_default))
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn execute(r: &mut Reader<'_>, default: bool) -> bool {
    r.or("execute", default, |item| item.flag())
}

fn how(r: &mut Reader<'_>, default: How) -> How {
    r.or("how", default, |item| item.choice(&[("fin", How::Fin), ("rst", How::Rst)]))
}

fn then(r: &mut Reader<'_>, default: Then) -> Then {
    r.or("then", default, |item| {
        item.choice(&[("resume", Then::Resume), ("close", Then::Close), ("reset", Then::Reset)])
    })
}

/// The key `mode`: which of those named.
fn mode(r: &mut Reader<'_>, names: &[&'static str]) -> &'static str {
    let choices: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    r.or("mode", names[0], |item| item.choice(&choices))
}

fn relength(r: &mut Reader<'_>) -> bool {
    r.or("relength", true, |item| item.flag())
}

/// The key `bytes`: a frame at most.
fn payload(r: &mut Reader<'_>) -> Payload {
    r.or("bytes", Payload::new(), |item| {
        let payload = Payload::from_slice(&bytes(&item)?);
        if payload.is_err() {
            item.note(Problem::TooMany, "found too many bytes", Some(format!("at most {MAX_PAYLOAD} bytes")));
        }
        payload.ok()
    })
}

fn exception(r: &mut Reader<'_>) -> Option<(Kind, Payload)> {
    let code = r.or("code", 4, |item| item.integer(1..=u8::MAX));
    let execute = execute(r, false);
    plain(Kind::Exception { code: Exception::new(code)?, execute })
}

fn wrong_count(r: &mut Reader<'_>) -> Option<(Kind, Payload)> {
    let count = r.item("count");
    let has_count = count.is_some();
    let delta = r.option("delta", |item| {
        if has_count {
            item.note(Problem::Conflict, "found beside `count`", Some("one of count, delta".to_owned()));
        }
        item.integer(i16::MIN..=i16::MAX)
    });
    let count = count.and_then(|item| item.integer(1..=MAX_READ_BITS));
    plain(Kind::WrongCount(count.map_or(Count::By(delta.unwrap_or(-1)), Count::Exactly)))
}

fn wrong_function(r: &mut Reader<'_>) -> FunctionMode {
    let mode = mode(r, &["increment", "fixed", "random", "swap_rw"]);
    let value = r.or("value", 0xFF, |item| item.integer(0..=u8::MAX));
    match mode {
        "fixed" => FunctionMode::Fixed(value),
        "random" => FunctionMode::Random,
        "swap_rw" => FunctionMode::SwapReadWrite,
        _ => FunctionMode::Increment,
    }
}

fn corrupt(r: &mut Reader<'_>) -> Kind {
    let mode = mode(r, &["flip", "set", "random"]);
    let offset = r.option("offset", |item| item.integer(0..=BEHIND_CODE - 1));
    let count = r.or("count", 1, |item| item.integer(1..=BEHIND_CODE));
    let value = r.or("value", 0, |item| item.integer(0..=u8::MAX));
    let mode = match mode {
        "set" => CorruptMode::Set(value),
        "random" => CorruptMode::Random,
        _ => CorruptMode::Flip,
    };
    Kind::Corrupt { mode, offset, count }
}

fn truncate(r: &mut Reader<'_>) -> Kind {
    let mode = mode(r, &["header_only", "fixed_bytes", "percentage", "remove_last"]);
    let bytes = r.or("bytes", 1, |item| item.integer(1..=BEHIND_CODE + 1));
    let millionths = r.or("percentage", 500_000, |item| item.fraction().map(millionths));
    let keep = match mode {
        "fixed_bytes" => Keep::FixedBytes(bytes),
        "percentage" => Keep::Fraction(millionths),
        "remove_last" => Keep::AllBut(bytes),
        _ => Keep::HeaderOnly,
    };
    Kind::Truncate { keep, relength: relength(r) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value is within 0.0..=1.0")]
fn millionths(fraction: f64) -> u32 {
    (fraction * 1e6).round() as u32
}

fn extra(r: &mut Reader<'_>) -> Option<(Kind, Payload)> {
    let mode = match mode(r, &["random", "append", "duplicate_last"]) {
        "append" => ExtraMode::Append,
        "duplicate_last" => ExtraMode::DuplicateLast,
        _ => ExtraMode::Random,
    };
    let payload = payload(r);
    let count = r.or("count", 4, |item| item.integer(1..=u8::MAX));
    let payload = if mode == ExtraMode::Append { payload } else { Payload::new() };
    Some((Kind::Extra { mode, count, relength: relength(r) }, payload))
}

fn wrong_unit(r: &mut Reader<'_>) -> UnitMode {
    let mode = mode(r, &["increment", "fixed", "random", "swap"]);
    let value = r.or("value", 0xFF, |item| item.integer(0..=u8::MAX));
    match mode {
        "fixed" => UnitMode::Fixed(value),
        "random" => UnitMode::Random,
        "swap" => UnitMode::Swap,
        _ => UnitMode::Increment,
    }
}

fn wrong_transaction(r: &mut Reader<'_>) -> TransactionMode {
    let mode = mode(r, &["increment", "fixed", "random", "swap_bytes"]);
    let value = r.or("value", 0xFFFF, |item| item.integer(0..=u16::MAX));
    match mode {
        "fixed" => TransactionMode::Fixed(value),
        "random" => TransactionMode::Random,
        "swap_bytes" => TransactionMode::SwapBytes,
        _ => TransactionMode::Increment,
    }
}

fn wrong_length(r: &mut Reader<'_>) -> LengthMode {
    if mode(r, &["delta", "fixed"]) == "fixed" {
        LengthMode::Fixed(r.or("value", 1, |item| item.integer(0..=u16::MAX)))
    } else {
        LengthMode::Delta(r.or("value", 1, |item| item.integer(i16::MIN..=i16::MAX)))
    }
}

fn duplicate(r: &mut Reader<'_>) -> Kind {
    let copies = r.or("copies", 1, |item| item.integer(1..=u8::MAX));
    Kind::Duplicate { copies, gap: span(r, "gap", NONE) }
}

fn reorder(r: &mut Reader<'_>) -> Kind {
    let behind = r.or("behind", 1, |item| item.integer(1..=u16::MAX));
    Kind::Reorder { behind, wait: span(r, "wait", millis(50)) }
}

fn unsolicited(r: &mut Reader<'_>) -> Option<(Kind, Payload)> {
    let when = r.or("when", "after", |item| item.choice(&[("before", "before"), ("after", "after"), ("idle", "idle")]));
    let idle = span(r, "idle", SECOND);
    let payload = payload(r);
    let transaction = r.or("transaction", 0xFFFF, |item| {
        if !payload.is_empty() {
            item.note(Problem::Conflict, "found beside `bytes`", Some("one of bytes, transaction".to_owned()));
        }
        item.integer(0..=u16::MAX)
    });
    let when = match when {
        "before" => Moment::Before,
        "idle" => Moment::Idle(idle),
        _ => Moment::After,
    };
    Some((Kind::Unsolicited { when, transaction }, payload))
}

fn split(r: &mut Reader<'_>) -> Kind {
    let at = r.or("at", cuts(&[7]), |item| {
        let at = item.each("a list of places in a frame", |item| item.integer(1..=LAST_CUT))?;
        if !(1..=MAX_CUTS).contains(&at.len()) {
            item.note(Problem::TooMany, format!("found {} places", at.len()), Some(format!("1 to {MAX_CUTS} places")));
        }
        Some(cuts(&at))
    });
    Kind::Split { at, gap: span(r, "gap", millis(20)) }
}

/// These places, as many as there is room for.
fn cuts(at: &[u16]) -> CutPoints {
    let mut cuts = CutPoints::default();
    for (slot, place) in cuts.iter_mut().zip(at) {
        *slot = *place;
    }
    cuts
}

fn dribble(r: &mut Reader<'_>) -> Kind {
    let chunk = r.or("chunk", 1, |item| item.integer(1..=LAST_CUT));
    Kind::Dribble { chunk, gap: span(r, "gap", millis(5)) }
}

fn close(r: &mut Reader<'_>) -> Kind {
    let how = how(r, How::Fin);
    let when = r.or("when", Order::After, |item| item.choice(&[("before", Order::Before), ("after", Order::After)]));
    Kind::Close { how, when, delay: span(r, "delay", NONE) }
}

fn cut_frame(r: &mut Reader<'_>) -> Kind {
    let bytes = r.or("bytes", 4, |item| item.integer(1..=LAST_CUT));
    Kind::CutFrame { bytes, how: how(r, How::Fin), delay: span(r, "delay", millis(50)) }
}
