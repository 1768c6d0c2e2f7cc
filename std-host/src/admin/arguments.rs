//! The arguments of a verb, asked for one by one; what nobody asked for is a mistake.

use super::answer::Refusal;
use crate::config::scalar::parse_span;
use serde_json::{Map, Value};
use std::time::Duration;

/// Arguments that are left.
pub(crate) struct Arguments(pub(crate) Map<String, Value>);

impl Arguments {
    /// A text that must be there.
    pub(crate) fn text(&mut self, key: &str) -> Result<String, Refusal> {
        self.option_text(key)?.ok_or_else(|| Refusal::usage(format!("`{key}` is missing")))
    }

    pub(crate) fn option_text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::usage(format!("`{key}` is a string"))),
        }
    }

    /// A number that must be there.
    pub(crate) fn number(&mut self, key: &str, most: u64) -> Result<u64, Refusal> {
        self.option_number(key, most)?.ok_or_else(|| Refusal::usage(format!("`{key}` is missing")))
    }

    pub(crate) fn option_number(&mut self, key: &str, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_u64().filter(|number| *number <= most);
        number.map(Some).ok_or_else(|| Refusal::usage(format!("`{key}` is a number, 0..={most}")))
    }

    /// A unit id that must be there.
    pub(crate) fn unit(&mut self, key: &str) -> Result<u8, Refusal> {
        let id = self.number(key, u8::MAX.into())?;
        Ok(u8::try_from(id).unwrap_or(u8::MAX))
    }

    /// A span such as `"30s"`.
    pub(crate) fn option_span(&mut self, key: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.option_text(key)? else { return Ok(None) };
        let span = parse_span(&text).filter(|span| !span.is_zero());
        let wrong = || Refusal::usage(format!("`{key}` is a number with a unit (us, ms, s, m, h) such as \"30s\""));
        span.map(Some).ok_or_else(wrong)
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, Refusal> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Refusal::usage(format!("`{key}` is true or false"))),
        }
    }

    /// A list of texts; numbers and flags count as the text that they are written as.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Vec<String>, Refusal> {
        let wrong = || Refusal::usage(format!("`{key}` is a list of values"));
        let Some(Value::Array(values)) = self.take(key) else { return Err(wrong()) };
        let text = |value| match value {
            Value::String(text) => Ok(text),
            Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(wrong()),
        };
        values.into_iter().map(text).collect()
    }

    /// Refuses what is left.
    pub(crate) fn end(self) -> Result<(), Refusal> {
        let Some(key) = self.0.keys().next() else { return Ok(()) };
        Err(Refusal::usage(format!("unknown argument {key:?}")))
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.shift_remove(key).filter(|value| !value.is_null())
    }
}
