//! Writes a fault as it would stand in a plant file: every key that its kind has and its mode looks at.

use super::{Fault, TABLES};
use crate::config::print::{integer, list, table, text};
use crate::config::scalar::format_span;
use std::time::Duration;
use toml::{Table, Value};
use wharf_core::modbus::faults::{
    ByteSet, CorruptMode, Count, ExtraMode, FunctionMode, How, Keep, Kind, LengthMode, Moment, Order, Quota, Relation,
    Reply, Scope, Stage, Target, Then, TransactionMode, UnitMode, Window,
};
use wharf_core::random::Probability;

pub(in crate::config::modbus) fn fault(fault: &Fault) -> Value {
    let what = &fault.what;
    let stage = what.kind.stage();
    let mut keys = table([
        ("name", text(&fault.name)),
        ("kind", text(what.kind.name())),
        ("enabled", Value::Boolean(what.enabled)),
    ]);
    keys.extend(kind(&what.kind, &what.payload));
    if stage < Stage::Accept {
        keys.extend(target(&what.target));
        keys.extend(table([("scope", text(scope(what.quota.scope)))]));
    }
    if stage < Stage::Listener {
        keys.extend(some("peers", peers(&what.target)));
    }
    keys.extend(window(&what.window));
    if stage < Stage::Listener {
        keys.extend(quota(what.quota));
        keys.extend(table([("probability", probability(what.probability))]));
        keys.extend(some("seed", fault.seed.map(large)));
    }
    Value::Table(keys)
}

/// A key that may be absent.
fn some(key: &str, value: Option<Value>) -> Option<(String, Value)> {
    Some((key.to_owned(), value?))
}

fn large(number: u64) -> Value {
    integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn span(span: Duration) -> Value {
    text(&format_span(span))
}

fn byte_list(bytes: &[u8]) -> Value {
    list(bytes, |byte| integer(*byte))
}

fn kind(kind: &Kind, payload: &[u8]) -> Table {
    let flag = Value::Boolean;
    match *kind {
        Kind::NoResponse { execute } => table([("execute", flag(execute))]),
        Kind::Exception { code, execute } => table([("code", integer(code.code())), ("execute", flag(execute))]),
        Kind::WrongCount(Count::Exactly(count)) => table([("count", integer(count))]),
        Kind::WrongCount(Count::By(delta)) => table([("delta", integer(delta))]),
        Kind::WrongFunction(mode) => match mode {
            FunctionMode::Increment => moded("increment", None),
            FunctionMode::Fixed(value) => moded("fixed", Some(value.into())),
            FunctionMode::Random => moded("random", None),
            FunctionMode::SwapReadWrite => moded("swap_rw", None),
        },
        Kind::Corrupt { mode, offset, count } => {
            let mut keys = match mode {
                CorruptMode::Flip => moded("flip", None),
                CorruptMode::Set(value) => moded("set", Some(value.into())),
                CorruptMode::Random => moded("random", None),
            };
            keys.extend(some("offset", offset.map(integer)));
            keys.extend(table([("count", integer(count))]));
            keys
        }
        Kind::Truncate { keep, relength } => {
            let mut keys = match keep {
                Keep::HeaderOnly => table([("mode", text("header_only"))]),
                Keep::FixedBytes(bytes) => table([("mode", text("fixed_bytes")), ("bytes", integer(bytes))]),
                Keep::Fraction(millionths) => {
                    table([("mode", text("percentage")), ("percentage", Value::Float(f64::from(millionths) / 1e6))])
                }
                Keep::AllBut(bytes) => table([("mode", text("remove_last")), ("bytes", integer(bytes))]),
            };
            keys.extend(table([("relength", flag(relength))]));
            keys
        }
        Kind::Extra { mode, count, relength } => {
            let mode = match mode {
                ExtraMode::Random => "random",
                ExtraMode::Append => "append",
                ExtraMode::DuplicateLast => "duplicate_last",
            };
            let (bytes, count) = (byte_list(payload), integer(count));
            table([("mode", text(mode)), ("bytes", bytes), ("count", count), ("relength", flag(relength))])
        }
        Kind::WrongUnit(mode) => match mode {
            UnitMode::Increment => moded("increment", None),
            UnitMode::Fixed(value) => moded("fixed", Some(value.into())),
            UnitMode::Random => moded("random", None),
            UnitMode::Swap => moded("swap", None),
        },
        Kind::WrongTransaction(mode) => match mode {
            TransactionMode::Increment => moded("increment", None),
            TransactionMode::Fixed(value) => moded("fixed", Some(value.into())),
            TransactionMode::Random => moded("random", None),
            TransactionMode::SwapBytes => moded("swap_bytes", None),
        },
        Kind::WrongProtocol(value) => table([("value", integer(value))]),
        Kind::WrongLength(LengthMode::Delta(value)) => moded("delta", Some(value.into())),
        Kind::WrongLength(LengthMode::Fixed(value)) => moded("fixed", Some(value.into())),
        Kind::Delay { delay, jitter } => table([("delay", span(delay)), ("jitter", span(jitter))]),
        Kind::Duplicate { copies, gap } => table([("copies", integer(copies)), ("gap", span(gap))]),
        Kind::Reorder { behind, wait } => table([("behind", integer(behind)), ("wait", span(wait))]),
        Kind::Unsolicited { when, transaction } => unsolicited(when, transaction, payload),
        Kind::Split { at, gap } => {
            let at: Vec<u16> = at.into_iter().filter(|at| *at > 0).collect();
            table([("at", list(&at, |at| integer(*at))), ("gap", span(gap))])
        }
        Kind::Dribble { chunk, gap } => table([("chunk", integer(chunk)), ("gap", span(gap))]),
        Kind::Close { how: end, when, delay } => {
            let when = match when {
                Order::Before => "before",
                Order::After => "after",
            };
            table([("how", text(how(end))), ("when", text(when)), ("delay", span(delay))])
        }
        Kind::CutFrame { bytes, how: end, delay } => {
            table([("bytes", integer(bytes)), ("how", text(how(end))), ("delay", span(delay))])
        }
        Kind::HalfClose { span: lasts } => table([("for", span(lasts))]),
        Kind::StopReading { span: lasts, then: next } | Kind::HoldOpen { span: lasts, then: next } => {
            table([("for", span(lasts)), ("then", text(then(next)))])
        }
        Kind::AcceptClose { how: end, delay } => table([("how", text(how(end))), ("delay", span(delay))]),
        Kind::StallAccept | Kind::Refuse => Table::new(),
    }
}

/// The key `mode`, and `value` where the mode looks at it.
fn moded(mode: &str, value: Option<i64>) -> Table {
    let mut keys = table([("mode", text(mode))]);
    keys.extend(some("value", value.map(Value::Integer)));
    keys
}

fn unsolicited(when: Moment, transaction: u16, payload: &[u8]) -> Table {
    let mut keys = match when {
        Moment::Before => table([("when", text("before"))]),
        Moment::After => table([("when", text("after"))]),
        Moment::Idle(quiet) => table([("when", text("idle")), ("idle", span(quiet))]),
    };
    let reply = ("transaction", integer(transaction));
    keys.extend(table([if payload.is_empty() { reply } else { ("bytes", byte_list(payload)) }]));
    keys
}

const fn how(how: How) -> &'static str {
    match how {
        How::Fin => "fin",
        How::Rst => "rst",
    }
}

const fn then(then: Then) -> &'static str {
    match then {
        Then::Resume => "resume",
        Then::Close => "close",
        Then::Reset => "reset",
    }
}

const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Server => "server",
        Scope::Connection => "connection",
    }
}

/// All of it but the peers.
fn target(target: &Target) -> Table {
    let reply = match target.reply {
        Reply::Any => "any",
        Reply::Normal => "normal",
        Reply::Exception => "exception",
    };
    let mut keys = table([("reply", text(reply))]);
    let set = |set: ByteSet| byte_list(&set.iter().collect::<Vec<_>>());
    keys.extend(some("units", target.units.map(set)));
    keys.extend(some("functions", target.functions.map(set)));
    let named = TABLES.iter().find(|(_, kind)| Some(*kind) == target.table);
    keys.extend(some("table", named.map(|(name, _)| text(name))));
    if let Some(addresses) = target.addresses {
        let relation = match addresses.relation {
            Relation::Overlap => "overlap",
            Relation::Within => "within",
            Relation::Start => "start",
        };
        keys.extend(table([("addresses", pair((addresses.first, addresses.last))), ("match", text(relation))]));
    }
    keys.extend(some("quantity", target.quantity.map(pair)));
    keys
}

fn peers(target: &Target) -> Option<Value> {
    (!target.peers.is_empty()).then(|| list(&target.peers, |peer| text(&peer.to_string())))
}

fn pair((first, last): (u16, u16)) -> Value {
    list(&[first, last], |value| integer(*value))
}

fn window(window: &Window) -> Table {
    let mut keys = table([("from", span(window.from)), ("until", span(window.until.unwrap_or_default()))]);
    let cycle = |(on, off)| Value::Table(table([("on", span(on)), ("off", span(off))]));
    keys.extend(some("cycle", window.cycle.map(cycle)));
    keys
}

fn quota(quota: Quota) -> Table {
    let mut keys = table([("skip", large(quota.skip)), ("every", large(quota.every))]);
    keys.extend(some("max", quota.max.map(large)));
    keys
}

/// The number with the fewest digits that reads back as this probability.
fn probability(probability: Probability) -> Value {
    let exact = probability.to_f64();
    let digits = (0..17).map(|digits| format!("{exact:.digits$}"));
    let short = digits.filter_map(|text| text.parse().ok()).find(|short| Probability::from_f64(*short) == probability);
    Value::Float(short.unwrap_or(exact))
}
