//! The verbs `get`, `set` and `reset`: values by the name of a point or by `unit/table/address`.

use crate::admin::answer::{Outcome, Refusal};
use crate::admin::arguments::Arguments;
use crate::config::modbus::point::{self, Address, Datum, Number};
use crate::services::modbus::points::{Reading, Refused, Typed};
use crate::services::modbus::running::Running;
use serde_json::{Map, Value, json};
use wharf_core::modbus::data::PointError;
use wharf_core::modbus::typed::{self, Order};

/// The most values at a time, so that the reply stays below its bound.
const MOST_VALUES: u64 = 8192;

/// Which values are meant.
pub(super) struct Place {
    target: String,
    typed: Typed,
}

impl Place {
    pub(super) fn read(arguments: &mut Arguments) -> Result<Self, Refusal> {
        let target = arguments.text("target")?;
        let kind = arguments.option_text("type")?.map(|text| {
            let accepted = "`type` is u16, i16, u32, i32, f32, u64, i64, f64, string(N) or bool";
            point::parse_type(&text).ok_or_else(|| Refusal::usage(accepted))
        });
        let order = arguments.option_text("order")?.map(|text| {
            let known = Order::ALL.into_iter().find(|order| order.name() == text);
            known.ok_or_else(|| Refusal::usage("`order` is abcd, cdab, badc or dcba"))
        });
        let bit = arguments.option_number("bit", 15)?.and_then(|bit| u8::try_from(bit).ok());
        Ok(Self { target, typed: Typed { kind: kind.transpose()?, order: order.transpose()?, bit } })
    }

    /// Reads one value, and says where the one after it is.
    fn get(&self, server: &Running<'_>) -> Result<(Reading, Option<Self>), Refused> {
        let reading = server.get(&self.target, self.typed)?;
        let next = match &reading.name {
            Some(_) => None,
            None => Address::parse(&self.target).and_then(|here| {
                let address = here.address.checked_add(reading.at.len())?;
                Some(Self { target: Address { address, ..here }.to_string(), typed: self.typed })
            }),
        };
        Ok((reading, next))
    }

    /// Reads so many values, one behind the other.
    fn get_all(&self, server: &Running<'_>, count: u64) -> Result<Vec<(String, Reading)>, Refusal> {
        let mut all = Vec::new();
        let mut here = Self { target: self.target.clone(), typed: self.typed };
        loop {
            let (reading, next) = here.get(server).map_err(refused)?;
            let is_point = reading.name.is_some();
            all.push((here.target, reading));
            if all.len() as u64 >= count {
                return Ok(all);
            }
            here = match next {
                Some(next) => next,
                None if is_point => return Err(Refusal::usage("a point is one value")),
                None => return Err(refused(PointError::Range.into())),
            };
        }
    }
}

/// `get`: values one behind the other.
pub(super) fn get(server: &Running<'_>, place: &Place, count: Option<u64>) -> Outcome {
    let count = count.unwrap_or(1);
    if !(1..=MOST_VALUES).contains(&count) {
        return Err(Refusal::usage(format!("`count` is 1..={MOST_VALUES}")));
    }
    Ok(describe(&place.get_all(server, count)?))
}

/// `set`: values one behind the other, all or none.
pub(super) fn set(server: &mut Running<'_>, place: &Place, values: &[String]) -> Outcome {
    let count = values.len() as u64;
    if !(1..=MOST_VALUES).contains(&count) {
        return Err(Refusal::usage(format!("there are 1 to {MOST_VALUES} `values`")));
    }
    let before = place.get_all(server, count)?;
    for ((_, reading), value) in before.iter().zip(values) {
        let kind = reading.at.kind();
        if Datum::parse(kind, value).is_none() {
            return Err(Refusal::usage(format!("{value:?} is no {kind}")));
        }
    }
    for ((target, _), value) in before.iter().zip(values) {
        server.set(target, place.typed, value).map_err(refused)?;
    }
    Ok(describe(&place.get_all(server, count)?))
}

/// `reset`: a point, a block, a table, a unit or everything.
pub(super) fn reset(server: &mut Running<'_>, what: Option<&str>) -> Outcome {
    Ok(json!({ "entries": server.reset(what).map_err(refused)? }))
}

fn describe(readings: &[(String, Reading)]) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    if let Some((_, first)) = readings.first() {
        if let Some(name) = &first.name {
            put("point", json!(name));
        }
        put("unit", first.unit.map_or_else(|| json!("default"), |unit| json!(unit)));
        put("table", json!(first.at.table().name()));
        put("address", json!(first.at.address()));
        put("type", json!(first.at.kind().to_string()));
        put("step", json!(first.at.len()));
    }
    put("values", readings.iter().map(|(_, reading)| plain(&reading.value)).collect());
    Value::Object(object)
}

fn plain(value: &Datum) -> Value {
    match value {
        Datum::Bool(bit) => json!(bit),
        Datum::Number(Number(number)) => json_of(*number),
        Datum::Text(text) => json!(text),
    }
}

/// A number in JSON, in the shortest form that reads back; what JSON has no number for is a string.
fn json_of(value: typed::Value) -> Value {
    match value {
        typed::Value::U16(value) => json!(value),
        typed::Value::I16(value) => json!(value),
        typed::Value::U32(value) => json!(value),
        typed::Value::I32(value) => json!(value),
        typed::Value::U64(value) => json!(value),
        typed::Value::I64(value) => json!(value),
        typed::Value::F32(_) | typed::Value::F64(_) => {
            let text = value.to_string();
            let real = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            real.map_or(Value::String(text), Value::Number)
        }
    }
}

/// What is not there is refused; what cannot be meant is wrong usage.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn refused(refused: Refused) -> Refusal {
    let message = refused.to_string();
    match refused {
        Refused::NoUnit(_)
        | Refused::NoBlock(_)
        | Refused::Unknown(_)
        | Refused::Point(PointError::Absent | PointError::Range) => Refusal::refused(message),
        Refused::TypeOfPoint(_) | Refused::Point(_) => Refusal::usage(message),
    }
}
