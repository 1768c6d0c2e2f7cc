//! Writes points as they would stand in a plant file.

use super::{Datum, Generator, Number, Point, Real, Values};
use crate::config::print::{integer, span, table, text};
use toml::{Table, Value};
use wharf_core::modbus::data::{PointType, generator::Wrap};
use wharf_core::modbus::typed;

pub(in crate::config::modbus) fn point(point: &Point) -> Value {
    let mut keys = table([
        ("name", text(&point.name)),
        ("table", text(point.table.name())),
        ("address", integer(point.address)),
        ("type", text(&point.kind.to_string())),
    ]);
    if point.kind != PointType::Bool {
        keys.insert("order".to_owned(), text(point.order.name()));
    }
    keys.extend(point.bit.map(|bit| ("bit".to_owned(), integer(bit))));
    keys.extend(point.value.as_ref().map(|value| ("value".to_owned(), datum(value))));
    keys.extend(point.generator.as_ref().map(|made| ("generator".to_owned(), Value::Table(generator(made)))));
    Value::Table(keys)
}

fn datum(datum: &Datum) -> Value {
    match datum {
        Datum::Bool(bit) => Value::Boolean(*bit),
        Datum::Number(number) => self::number(*number),
        Datum::Text(string) => text(string),
    }
}

fn number(Number(value): Number) -> Value {
    match value {
        typed::Value::U16(value) => integer(value),
        typed::Value::I16(value) => integer(value),
        typed::Value::U32(value) => integer(value),
        typed::Value::I32(value) => integer(value),
        typed::Value::I64(value) => integer(value),
        // TOML's integers end at 2^63.
        typed::Value::U64(value) => i64::try_from(value).map_or_else(|_| text(&value.to_string()), Value::Integer),
        typed::Value::F32(value) => Value::Float(value.into()),
        typed::Value::F64(value) => Value::Float(value),
    }
}

fn generator(generator: &Generator) -> Table {
    let (every, values) = match generator {
        Generator::Mirror { source, len } => {
            return table([("kind", text("mirror")), ("source", text(&source.to_string())), ("len", integer(*len))]);
        }
        Generator::Every { every, values } => (*every, values),
    };
    let real = |real: &Real| Value::Float(real.0);
    let mut keys = match values {
        Values::Constant(value) => table([("kind", text("constant")), ("value", datum(value))]),
        Values::Counter { start, step, .. } => {
            table([("kind", text("counter")), ("start", integer(*start)), ("step", integer(*step))])
        }
        Values::Ramp { from, to, step, wrap } => table([
            ("kind", text("ramp")),
            ("from", real(from)),
            ("to", real(to)),
            ("step", real(step)),
            ("wrap", text(wrap_name(*wrap))),
        ]),
        Values::Sine { mean, amplitude, period, phase } => table([
            ("kind", text("sine")),
            ("mean", real(mean)),
            ("amplitude", real(amplitude)),
            ("period", span(Some(*period))),
            ("phase", real(phase)),
        ]),
        Values::RandomWalk { start, step, .. } => {
            table([("kind", text("random_walk")), ("start", real(start)), ("step", real(step))])
        }
    };
    keys.insert("every".to_owned(), span(Some(every)));
    let whole = |value: u64| integer(i64::try_from(value).unwrap_or(i64::MAX));
    match values {
        Values::Counter { modulo, .. } => keys.extend(modulo.map(|modulo| ("modulo".to_owned(), whole(modulo)))),
        Values::RandomWalk { min, max, seed, .. } => {
            keys.extend(min.as_ref().map(|min| ("min".to_owned(), real(min))));
            keys.extend(max.as_ref().map(|max| ("max".to_owned(), real(max))));
            keys.extend(seed.map(|seed| ("seed".to_owned(), whole(seed))));
        }
        Values::Constant(_) | Values::Ramp { .. } | Values::Sine { .. } => {}
    }
    keys
}

const fn wrap_name(wrap: Wrap) -> &'static str {
    match wrap {
        Wrap::Saw => "saw",
        Wrap::Triangle => "triangle",
        Wrap::Hold => "hold",
    }
}
