//! How a value is written as text, as on a command line; and within which bounds it is.
//!
//! A plant file has the same values in TOML: a string there holds the same text, and numbers, booleans, lists and tables
//! are taken where they say more (`config::port`). The bounds are here for both.

use super::escape::{self, ESCAPES};
use super::values::{AddressText, Millis, Value};
use crate::config::scalar;
use crate::event_loop::Keepalive;
use crate::services::port::trace::FileName;
use std::ops::RangeInclusive;
use std::time::Duration;
use wharf_core::network::Network;
use wharf_core::port::server::Watermarks;

/// The longest path, in bytes; what the system takes is its own business.
const LONGEST_PATH: usize = 4095;
/// The bounds of a span of [`Keepalive`], in seconds.
pub(crate) const KEEPALIVE_SECONDS: RangeInclusive<u32> = 1..=32_767;
/// The bounds of its probes.
pub(crate) const KEEPALIVE_PROBES: RangeInclusive<u32> = 1..=127;
/// What a `keepalive` without values of its own is.
pub(crate) const KEEPALIVE: Keepalive =
    Keepalive { idle: Duration::from_secs(15), interval: Duration::from_secs(5), probes: 3 };

/// What the values of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A span in whole milliseconds, or off.
    Span,
    /// Bytes, between these bounds.
    Size(u32, u32),
    /// A number, between these bounds.
    Count(u32, u32),
    /// True or false.
    Flag,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// At most so many bytes of any value.
    Bytes(usize),
    /// IP addresses and ranges.
    Networks,
    /// A high and a low mark.
    Watermarks,
    /// How silent peers are found out, or off.
    Keepalive,
    /// Any of these names, each of which is a bit.
    Set(&'static [(&'static str, u8)]),
    /// Where to listen.
    Address,
    /// The name of a port.
    Name,
    /// A path, or nothing.
    Path,
    /// A path with the escapes of [`FileName`]; `stderr`; or nothing.
    FileName,
}

impl Form {
    /// The value that `text` says.
    ///
    /// # Errors
    /// Why it says none, to be read behind "TEXT: ". [`Form::accepted`] is not repeated.
    pub(crate) fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Span => span(text).map(Value::Span),
            Self::Size(least, most) => {
                let bytes = scalar::parse_size(text).ok_or("not a size")?;
                within(bytes, least, most).map(Value::Number)
            }
            Self::Count(least, most) => {
                let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let number = digits.and_then(|digits| digits.parse::<u64>().ok()).ok_or("not a number")?;
                within(number, least, most).map(Value::Number)
            }
            Self::Flag => match text {
                "true" => Ok(Value::Flag(true)),
                "false" => Ok(Value::Flag(false)),
                _ => Err("neither true nor false".to_owned()),
            },
            Self::Choice(names) => {
                let place = names.iter().position(|name| *name == text);
                place.map(Value::Choice).ok_or_else(|| "not one of them".to_owned())
            }
            Self::Bytes(_) => {
                let bytes = escape::parse(text);
                self.bytes(bytes.map_err(|sequence| format!("{sequence} is no escape; {ESCAPES} are"))?)
            }
            Self::Networks => networks(text).map(Value::Networks),
            Self::Watermarks => watermarks(text).map(Value::Watermarks),
            Self::Keepalive => keepalive(text).map(Value::Keepalive),
            Self::Set(names) => set(text, names).map(Value::Set),
            Self::Address => match AddressText::parse(text) {
                Ok(address) => Ok(Value::Text(address.as_str().to_owned())),
                Err(error) => Err(error.to_string()),
            },
            Self::Name => match text {
                text if is_name(text) => Ok(Value::Text(text.to_owned())),
                _ => Err("not a name".to_owned()),
            },
            Self::Path | Self::FileName => self.path(text).map(Value::Text),
        }
    }

    /// The bytes as a value, if they are not too many.
    pub(crate) fn bytes(self, bytes: Vec<u8>) -> Result<Value, String> {
        if let Self::Bytes(most) = self
            && bytes.len() > most
        {
            return Err(format!("{} bytes", bytes.len()));
        }
        Ok(Value::Bytes(bytes))
    }

    fn path(self, text: &str) -> Result<String, String> {
        if text.len() > LONGEST_PATH || text.contains(char::is_control) {
            return Err(format!("more than {LONGEST_PATH} bytes, or control characters"));
        }
        if self == Self::FileName {
            FileName::parse(text).map_err(|error| error.to_string())?;
        }
        Ok(text.to_owned())
    }

    /// The text of a value of this form; [`Form::parse`] reads it as the same value.
    pub(crate) fn print(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Span(span)) => scalar::format_span(span.as_duration()),
            (Self::Size(..), Value::Number(bytes)) => scalar::format_size((*bytes).into()),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Flag(flag)) => flag.to_string(),
            (Self::Choice(names), Value::Choice(place)) => names.get(*place).copied().unwrap_or_default().to_owned(),
            (_, Value::Choice(place)) => place.to_string(),
            (_, Value::Bytes(bytes)) => escape::print(bytes),
            (_, Value::Networks(networks)) => joined(networks.iter().map(ToString::to_string)),
            (_, Value::Watermarks(Watermarks { high, low })) => format!("{high}/{low}"),
            (_, Value::Keepalive(None)) => "off".to_owned(),
            (_, Value::Keepalive(Some(Keepalive { idle, interval, probes }))) => {
                format!("{}s/{}s/{probes}", idle.as_secs(), interval.as_secs())
            }
            (_, Value::Set(0)) => "none".to_owned(),
            (Self::Set(names), Value::Set(bits)) => {
                joined(names.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name))
            }
            (_, Value::Set(bits)) => bits.to_string(),
            (_, Value::Text(text)) => text.clone(),
        }
    }

    /// What is accepted, for messages.
    pub(crate) fn accepted(self) -> String {
        let quoted = |names: &mut dyn Iterator<Item = &'static str>| {
            names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Span => {
                format!("whole milliseconds such as \"500ms\" or \"10m\", up to \"{}ms\", or \"0\" for off", u32::MAX)
            }
            Self::Size(least, most) => {
                format!("{} to {}", scalar::format_size(least.into()), scalar::format_size(most.into()))
            }
            Self::Count(least, most) => format!("{least}..={most}"),
            Self::Flag => "true or false".to_owned(),
            Self::Choice(names) => quoted(&mut names.iter().copied()),
            Self::Bytes(most) => format!("at most {most} bytes"),
            Self::Networks => {
                "IP addresses and ranges such as \"192.0.2.7\", \"10.0.0.0/8\", \"fd00::/8\"; none for all".to_owned()
            }
            Self::Watermarks => "a high and a lower low mark in percent such as \"75/25\"".to_owned(),
            Self::Keepalive => format!(
                "off, on, or idle time, interval and probes such as \"15s/5s/3\": {}s to {}s, {} to {}",
                KEEPALIVE_SECONDS.start(),
                KEEPALIVE_SECONDS.end(),
                KEEPALIVE_PROBES.start(),
                KEEPALIVE_PROBES.end()
            ),
            Self::Set(names) => {
                let bits = names.iter().fold(0, |bits, (_, bit)| bits | bit);
                format!("\"none\", any of {}, or 0..={bits}", quoted(&mut names.iter().map(|(name, _)| *name)))
            }
            Self::Address => "an address such as \"0.0.0.0:5025 tcp\", \"[::1]:7000 udp\" or \":5025\"".to_owned(),
            Self::Name => format!("1 to {} letters, digits, '.', '_' or '-'", super::LONGEST_NAME),
            Self::Path => format!("a path of at most {LONGEST_PATH} bytes"),
            Self::FileName => "a path, in which %p is the port, %i the slot and %% a percent sign; \"stderr\"; or \
                               nothing for the log"
                .to_owned(),
        }
    }
}

/// Whether a port may have this name (section 2).
pub(crate) fn is_name(text: &str) -> bool {
    (1..=super::LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn within(number: u64, least: u32, most: u32) -> Result<u32, String> {
    match u32::try_from(number) {
        Ok(number) if number < least => Err("too small".to_owned()),
        Ok(number) if number <= most => Ok(number),
        _ => Err("too large".to_owned()),
    }
}

fn span(text: &str) -> Result<Millis, String> {
    let span = scalar::parse_span(text).ok_or("not a span with a unit (us, ms, s, m, h)")?;
    if !span.subsec_micros().is_multiple_of(1000) {
        return Err("not whole milliseconds".to_owned());
    }
    u32::try_from(span.as_millis()).map(Millis).map_err(|_| "too long".to_owned())
}

/// The words of a list: commas and blanks stand between them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn joined<T: AsRef<str>>(words: impl Iterator<Item = T>) -> String {
    words.fold(String::new(), |text, word| {
        let comma = if text.is_empty() { "" } else { "," };
        text + comma + word.as_ref()
    })
}

fn networks(text: &str) -> Result<Vec<Network>, String> {
    let network = |word: &str| word.parse().map_err(|error| format!("\"{word}\": {error}"));
    words(text).map(network).collect()
}

fn watermarks(text: &str) -> Result<Watermarks, String> {
    let (high, low) = text.split_once('/').ok_or("no slash")?;
    let percent = |text: &str| match Form::Count(0, 100).parse(text) {
        Ok(Value::Number(number)) => u8::try_from(number).map_err(|_| "too large".to_owned()),
        Ok(_) => Err("not a number".to_owned()),
        Err(why) => Err(format!("\"{text}\": {why}")),
    };
    let marks = Watermarks { high: percent(high)?, low: percent(low)? };
    if marks.is_valid() { Ok(marks) } else { Err("the low mark is not below the high one".to_owned()) }
}

fn keepalive(text: &str) -> Result<Option<Keepalive>, String> {
    match text {
        "off" | "false" => return Ok(None),
        "on" | "true" => return Ok(Some(KEEPALIVE)),
        _ => {}
    }
    let parts: Vec<&str> = text.split('/').collect();
    let [idle, interval, probes] = parts[..] else { return Err("not three values with slashes between".to_owned()) };
    let seconds = |text: &str| {
        let span = scalar::parse_span(text).filter(|span| span.subsec_nanos() == 0);
        let fits = |span: &Duration| u32::try_from(span.as_secs()).is_ok_and(|s| KEEPALIVE_SECONDS.contains(&s));
        span.filter(fits).ok_or_else(|| format!("\"{text}\": not whole seconds within the bounds"))
    };
    match Form::Count(*KEEPALIVE_PROBES.start(), *KEEPALIVE_PROBES.end()).parse(probes) {
        Ok(Value::Number(probes)) => Ok(Some(Keepalive { idle: seconds(idle)?, interval: seconds(interval)?, probes })),
        Ok(_) => Err("not a number".to_owned()),
        Err(why) => Err(format!("\"{probes}\": {why}")),
    }
}

/// Names in any case, or the number that their bits make, in decimal or behind `0x`.
fn set(text: &str, names: &[(&str, u8)]) -> Result<u8, String> {
    let all = names.iter().fold(0, |bits, (_, bit)| bits | bit);
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // The standard library would take a sign, too.
    if digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && let Ok(bits) = u64::from_str_radix(digits, radix)
    {
        let bits = u8::try_from(bits).ok().filter(|bits| bits & !all == 0);
        return bits.ok_or_else(|| "a bit of it has no name".to_owned());
    }
    words(text).filter(|word| !word.eq_ignore_ascii_case("none")).try_fold(0, |bits, word| {
        let named = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        named.map(|(_, bit)| bits | bit).ok_or_else(|| format!("\"{word}\" is no name of it"))
    })
}
