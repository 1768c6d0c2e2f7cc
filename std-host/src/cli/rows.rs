//! Values as they are shown: to people in three columns, to programs in JSON.

use super::Shared;
use super::target::{Kind, Table};
use serde_json::{Value as Json, json};
use wharf_core::modbus::typed::{Value, decode_string};
use wharf_host::config::modbus::OBJECT_NAMES;

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Address, or what stands for one.
    pub(super) label: String,
    /// The raw data.
    pub(super) hex: String,
    /// The value for people.
    pub(super) text: String,
    /// The value for programs: mostly one.
    pub(super) json: Vec<Json>,
}

pub(super) fn bit_row(table: Table, address: u32, bit: bool, shared: &Shared) -> Row {
    let label = table.label(address, shared.reference);
    Row { label, hex: u8::from(bit).to_string(), text: bit.to_string(), json: vec![json!(bit)] }
}

pub(super) fn word_row(table: Table, address: u32, words: &[u16], kind: Kind, shared: &Shared) -> Row {
    let label = table.label(address, shared.reference);
    let hex = words.iter().map(|word| format!("{word:04X}")).collect::<Vec<_>>().join(" ");
    let (text, json) = match kind {
        Kind::Number(number) => {
            let value = Value::decode(number, shared.order, words).expect("words come in chunks of the type's width");
            (value.to_string(), number_json(value))
        }
        Kind::Text(_) | Kind::Bool => {
            let mut bytes = vec![0; words.len() * 2];
            let text = decode_string(shared.order, words, &mut bytes).expect("the order was checked beforehand");
            let text = String::from_utf8_lossy(text).into_owned();
            (format!("{text:?}"), Json::String(text))
        }
    };
    Row { label, hex, text, json: vec![json] }
}

/// A number in JSON, in the shortest form that reads back; what JSON has no number for is a string.
fn number_json(value: Value) -> Json {
    match value {
        Value::U16(value) => json!(value),
        Value::I16(value) => json!(value),
        Value::U32(value) => json!(value),
        Value::I32(value) => json!(value),
        Value::U64(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::F32(_) | Value::F64(_) => {
            let text = value.to_string();
            let real = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            real.map_or(Json::String(text), Json::Number)
        }
    }
}

pub(super) fn u16_row(index: usize, word: u16) -> Row {
    Row { label: index.to_string(), hex: format!("{word:04X}"), text: word.to_string(), json: vec![json!(word)] }
}

pub(super) fn u8_row(index: usize, byte: u8, text: String) -> Row {
    Row { label: index.to_string(), hex: format!("{byte:02X}"), text, json: vec![json!(byte)] }
}

pub(super) fn object_row(id: u8, value: &[u8]) -> Row {
    let text = String::from_utf8_lossy(value).into_owned();
    let name = OBJECT_NAMES.get(usize::from(id)).map_or_else(|| format!("0x{id:02X}"), |name| (*name).to_owned());
    Row {
        label: name.clone(),
        hex: hex(value),
        text: text.clone(),
        json: vec![json!({ "id": id, "name": name, "text": text })],
    }
}

/// Bytes that only the device's maker knows how to cut: in one line for people, one by one for programs.
pub(super) fn bytes_row(bytes: &[u8]) -> Row {
    Row {
        label: "0".to_owned(),
        hex: hex(bytes),
        text: bytes.escape_ascii().to_string(),
        json: bytes.iter().map(|byte| json!(byte)).collect(),
    }
}

/// What an event of the log tells (AP 6.10).
pub(super) fn event_name(event: u8) -> String {
    match event {
        0x00 => "restarted",
        0x04 => "listen-only begun",
        0x80.. => "received",
        0x40.. => "sent",
        _ => "unknown",
    }
    .to_owned()
}

/// Bytes as pairs of hex digits with spaces between them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_are_printed_in_their_shortest_form() {
        assert_eq!(number_json(Value::F32(0.1)).to_string(), "0.1");
        assert_eq!(number_json(Value::F64(f64::NAN)).to_string(), "\"NaN\"");
    }
}
