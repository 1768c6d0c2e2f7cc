//! Plain values as TOML values, for printing the effective plant.

use super::scalar::{format_size, format_span};
use std::time::Duration;
use toml::{Table, Value};

/// A table with these keys, in this order.
pub(super) fn table<const N: usize>(keys: [(&str, Value); N]) -> Table {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

pub(super) fn list<T>(values: &[T], print: impl FnMut(&T) -> Value) -> Value {
    Value::Array(values.iter().map(print).collect())
}

pub(super) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

pub(super) fn integer(integer: impl Into<i64>) -> Value {
    Value::Integer(integer.into())
}

/// A span, `"0"` if it is off.
pub(super) fn span(span: Option<Duration>) -> Value {
    Value::String(format_span(span.unwrap_or_default()))
}

pub(super) fn size(bytes: u32) -> Value {
    Value::String(format_size(u64::from(bytes)))
}
