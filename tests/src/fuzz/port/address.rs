//! Address text: one reading, and one place for what is wrong.

use crate::fuzz::Source;
use crate::naive::port::address::{self as naive, Fault, Host, Reading};
use std::net::{Ipv4Addr, Ipv6Addr};
use wharf_core::port::address::{self, Address, Error, MAX_TEXT, Protocol};

/// Reads the bytes as an address text, and then a text that is composed of parts that they choose, whole and with one
/// character changed. A second reader that tries every cut of the grammar says what comes out.
///
/// # Panics
/// When the two do not agree, a composed text is refused, an address does not print as itself, or an error points out of
/// the text.
pub fn port_address(data: &[u8]) {
    let _ = reads_the_same(&String::from_utf8_lossy(data));
    let mut source = Source::new(data);
    let (text, expected) = composed(&mut source);
    assert_eq!(reads_the_same(&text), Ok(expected), "{text:?} is composed of valid parts");
    let _ = reads_the_same(&changed(&text, &mut source));
}

fn reads_the_same(text: &str) -> Result<Reading, (Fault, usize)> {
    let expected = naive::read(text);
    let parsed = address::parse(text);
    assert_eq!(parsed.map(reading).map_err(fault), expected, "{text:?}");
    match parsed {
        Ok(address) => {
            let printed = address.to_string();
            assert!(printed.len() <= MAX_TEXT, "{printed:?}");
            assert_eq!(address::parse(&printed), Ok(address), "{text:?} prints as {printed:?}");
        }
        Err(error) => assert!(text.is_char_boundary(error.offset()), "{error} points out of {text:?}"),
    }
    expected
}

fn reading(address: Address<'_>) -> Reading {
    let host = match address.host {
        address::Host::Any => Host::Any,
        address::Host::Localhost => Host::Localhost,
        address::Host::V4(address) => Host::V4(address.octets()),
        address::Host::V6 { address, zone } => Host::V6(address.segments(), zone.map(str::to_owned)),
        address::Host::Name(name) => Host::Name(name.to_owned()),
    };
    Reading { host, port: address.port, udp: address.protocol == Protocol::Udp }
}

fn fault(error: Error) -> (Fault, usize) {
    let fault = match error {
        Error::Empty { .. } => Fault::Empty,
        Error::TooLong { .. } => Fault::TooLong,
        Error::NotAscii { .. } => Fault::NotAscii,
        Error::NoPort { .. } => Fault::NoPort,
        Error::BadPort { .. } => Fault::BadPort,
        Error::PortRange { .. } => Fault::PortRange,
        Error::Unbracketed { .. } => Fault::Unbracketed,
        Error::NoBracket { .. } => Fault::NoBracket,
        Error::BadHost { .. } => Fault::BadHost,
        Error::UnknownProtocol { .. } => Fault::UnknownProtocol,
        Error::Trailing { .. } => Fault::Trailing,
        other => panic!("the table has no {other:?}"),
    };
    (fault, error.offset())
}

/// A text of at most 283 bytes, and what it means.
fn composed(source: &mut Source<'_>) -> (String, Reading) {
    let before = blanks(source, 0);
    let (host_text, host) = composed_host(source);
    let port = u16::from_be_bytes([source.byte(), source.byte()]);
    let width = usize::from(source.byte() % 6);
    let (protocol, udp) = match source.byte() % 3 {
        0 => (String::new(), false),
        1 => (blanks(source, 1) + &cased("tcp", source), false),
        _ => (blanks(source, 1) + &cased("udp", source), true),
    };
    let after = blanks(source, 0);
    let text = format!("{before}{host_text}:{port:0width$}{protocol}{after}");
    (text, Reading { host, port, udp })
}

fn composed_host(source: &mut Source<'_>) -> (String, Host) {
    match source.byte() % 5 {
        0 => (String::new(), Host::Any),
        1 => (cased("localhost", source), Host::Localhost),
        2 => {
            let bytes = [0; 4].map(|_: u8| source.byte());
            let host = if bytes == [0; 4] { Host::Any } else { Host::V4(bytes) };
            (Ipv4Addr::from(bytes).to_string(), host)
        }
        3 => composed_ipv6(source),
        _ => composed_name(source),
    }
}

fn composed_ipv6(source: &mut Source<'_>) -> (String, Host) {
    let spelling = source.byte();
    // Each bit of the first byte keeps a group, so that there are zeros to leave out.
    let kept = source.byte();
    let groups: [u16; 8] =
        std::array::from_fn(
            |at| {
                if kept >> at & 1 == 0 { 0 } else { u16::from_be_bytes([source.byte(), source.byte()]) }
            },
        );
    let width = usize::from(spelling >> 2 & 3) + 1;
    let written = groups.map(|group| format!("{group:0width$x}"));
    let [high, low] = [groups[6], groups[7]].map(u16::to_be_bytes);
    let text = match spelling & 3 {
        0 => written.join(":"),
        1 => format!("{}:{}", written[..6].join(":"), Ipv4Addr::new(high[0], high[1], low[0], low[1])),
        2 => match groups.iter().position(|group| *group == 0) {
            Some(at) => format!("{}::{}", written[..at].join(":"), written[at + 1..].join(":")),
            None => written.join(":"),
        },
        _ => Ipv6Addr::from(groups).to_string(),
    };
    let text = if spelling & 16 == 0 { text } else { text.to_uppercase() };
    let zone = (spelling & 32 != 0).then(|| {
        let len = usize::from(source.byte() % 15) + 1;
        characters(source, len, "._-")
    });
    let text = zone.as_ref().map_or_else(|| format!("[{text}]"), |zone| format!("[{text}%{zone}]"));
    (text, Host::V6(groups, zone))
}

fn composed_name(source: &mut Source<'_>) -> (String, Host) {
    let mut name = String::new();
    let mut last = String::from("x");
    for _ in 0..source.byte() % 8 {
        let len = usize::from(source.byte() % 63) + 1;
        let label = characters(source, len, "_");
        if name.len() + last.len() + 1 + label.len() <= 252 {
            name = name + &last + ".";
            last = label;
        }
    }
    // So that it is a label, and neither digits alone nor `localhost`.
    last.replace_range(..1, "x");
    if last.len() > 2 {
        last.replace_range(1..2, "-");
    }
    name += &last;
    if source.byte() % 2 == 1 {
        name.push('.');
    }
    (name.clone(), Host::Name(name))
}

/// So many letters, digits and characters out of `more`.
fn characters(source: &mut Source<'_>, len: usize, more: &str) -> String {
    let all: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(more.chars()).collect();
    (0..len).map(|_| all[usize::from(source.byte()) % all.len()]).collect()
}

/// The word in upper and lower case.
fn cased(word: &str, source: &mut Source<'_>) -> String {
    let upper = u16::from_be_bytes([source.byte(), source.byte()]);
    let case = |(at, letter): (usize, char)| if upper >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter };
    word.chars().enumerate().map(case).collect()
}

/// At least so many blanks, and no more than seven.
fn blanks(source: &mut Source<'_>, least: u8) -> String {
    let choice = source.byte();
    let len = (choice % 8).max(least);
    (0..len).map(|at| if choice >> at & 8 == 0 { ' ' } else { '\t' }).collect()
}

/// The text with one character replaced, put in or taken out.
fn changed(text: &str, source: &mut Source<'_>) -> String {
    let mut text: Vec<char> = text.chars().collect();
    let at = usize::from(u16::from_be_bytes([source.byte(), source.byte()])) % text.len();
    let [how, new] = [source.byte(), source.byte()];
    match how % 3 {
        0 => text[at] = char::from(new),
        1 => text.insert(at, char::from(new)),
        _ => drop(text.remove(at)),
    }
    text.into_iter().collect()
}
