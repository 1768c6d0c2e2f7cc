//! `[[port]]`: a device port, with the keys of [`OPTIONS`].
//!
//! A string holds a value as the command line has it, but that bytes have the escapes of TOML; numbers, true and false,
//! lists and tables are taken where a value is one.

use super::error::Kind;
use super::modbus::limits;
use super::modbus::read::Unique;
use super::print::{integer, list, table, text};
use super::reader::{Item, Reader};
use crate::event_loop::Keepalive;
use crate::services::port::options::form::{Form, KEEPALIVE, KEEPALIVE_PROBES, KEEPALIVE_SECONDS};
use crate::services::port::options::values::Value;
use crate::services::port::options::{
    AddressText, Conflict, Key, LONGEST_NAME, Localhost, OPTIONS, Options, Watermarks,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use toml::{Table, Value as Toml};
use wharf_core::port::address::{Host, Protocol};

/// One `[[port]]`.
pub(super) fn read(r: &mut Reader<'_>, unique: &mut Unique) -> Options {
    let name = r.need("name", &Form::Name.accepted(), |item| {
        let name = item.name_within(LONGEST_NAME)?;
        unique.names.add(name.clone(), &item);
        Some(name)
    });
    let mut place = None;
    let address = r.need("address", &Form::Address.accepted(), |item| {
        let Value::Text(text) = of_text(&item, Form::Address)? else { return None };
        place = Some(item);
        AddressText::parse(&text).ok()
    });
    let mut port = Options::with(name.unwrap_or_default(), address.unwrap_or_else(|| Options::default().address));
    let before = r.problems();
    // Which keys there may be depends on the address, and on `udp`, which therefore stands before them in the table; how long
    // queues are unless told otherwise depends on `mode`, likewise.
    let mut kind_is_known = place.is_some();
    let mut items = Vec::new();
    for key in OPTIONS.iter().filter(|key| !matches!(key.name, "name" | "address")) {
        let item = r.item(key.name);
        match &item {
            Some(item) if key.ports.has(&port) || !kind_is_known => match value(item, key.form) {
                Some(value) => port.put(key, value),
                None => kind_is_known &= key.name != "udp",
            },
            Some(item) => item.note(Kind::Conflict, format!("this key is only for {}", key.ports), None),
            None if key.name == "slots" && key.ports.has(&port) && kind_is_known => {
                r.missing(key.name, &key.accepted());
            }
            None => {}
        }
        items.extend(item.map(|item| (key.name, item)));
    }
    let Some(place) = place else { return port };
    if r.problems() == before {
        for Conflict { key, message, accepted } in port.conflicts() {
            let item = items.iter().find(|(name, _)| *name == key);
            let item = &item.expect("what is not there has its default, and those go together").1;
            item.note(Kind::Conflict, message, Some(accepted.to_owned()));
        }
    }
    if let Some(address) = socket(&port) {
        unique.addresses.add(address, &place);
    }
    port
}

/// The address that nobody else can listen on, as far as that can be told without asking the system.
fn socket(port: &Options) -> Option<SocketAddr> {
    let address = port.address.address();
    if address.protocol != Protocol::Tcp || address.port == 0 || port.reuse_port {
        return None;
    }
    let ip = match address.host {
        Host::Any => Ipv4Addr::UNSPECIFIED.into(),
        Host::Localhost => match port.localhost {
            Localhost::Loopback => Ipv4Addr::LOCALHOST.into(),
            Localhost::Any => Ipv4Addr::UNSPECIFIED.into(),
        },
        Host::V4(address) => address.into(),
        Host::V6 { address, zone: None } => address.into(),
        Host::V6 { .. } | Host::Name(_) => return None,
    };
    Some(SocketAddr::new(ip, address.port))
}

/// The value of a key.
fn value(item: &Item<'_>, form: Form) -> Option<Value> {
    match form {
        Form::Flag => item.flag().map(Value::Flag),
        Form::Count(least, most) => item.integer(least..=most).map(Value::Number),
        Form::Size(least, most) => item.size(least..=most).map(Value::Number),
        Form::Choice(names) => {
            let places: Vec<_> = names.iter().enumerate().map(|(place, name)| (*name, place)).collect();
            item.choice(&places).map(Value::Choice)
        }
        Form::Bytes(_) => {
            let bytes = form.bytes(super::modbus::read::bytes(item)?);
            bytes.map_err(|why| item.note(Kind::NotAccepted, format!("found {why}"), Some(form.accepted()))).ok()
        }
        Form::Networks if item.is_list() => limits::networks(item).map(Value::Networks),
        Form::Watermarks if item.is_list() => watermarks(item).map(Value::Watermarks),
        Form::Keepalive if item.is_flag() => item.flag().map(|on| Value::Keepalive(on.then_some(KEEPALIVE))),
        Form::Keepalive if item.is_table() => keepalive(item).map(|keepalive| Value::Keepalive(Some(keepalive))),
        Form::Set(names) if item.is_integer() => {
            let bits = item.integer(0..=names.iter().fold(0, |bits, (_, bit)| bits | bit))?;
            Some(Value::Set(bits))
        }
        Form::Span
        | Form::Networks
        | Form::Watermarks
        | Form::Keepalive
        | Form::Set(_)
        | Form::Address
        | Form::Name
        | Form::Path
        | Form::FileName => of_text(item, form),
    }
}

/// The value of a string.
fn of_text(item: &Item<'_>, form: Form) -> Option<Value> {
    if !item.is_text() {
        item.mistyped(form.accepted());
        return None;
    }
    let value = form.parse(item.text()?);
    let refuse = |why| item.note(Kind::NotAccepted, format!("found {}: {why}", item.found()), Some(form.accepted()));
    value.map_err(refuse).ok()
}

fn watermarks(item: &Item<'_>) -> Option<Watermarks> {
    let accepted = || "a high and a lower low mark in percent such as [75, 25]".to_owned();
    let marks = item.each(&accepted(), |item| item.integer(0..=100))?;
    let marks = if let [high, low] = marks[..] { Some(Watermarks { high, low }) } else { None };
    let marks = marks.filter(|marks| marks.is_valid());
    if marks.is_none() {
        item.refuse(accepted());
    }
    marks
}

fn keepalive(item: &Item<'_>) -> Option<Keepalive> {
    let span = |seconds: u32| Duration::from_secs(seconds.into());
    item.table(|r| Keepalive {
        idle: r.or("idle", KEEPALIVE.idle, |item| item.whole_seconds(KEEPALIVE_SECONDS).map(span)),
        interval: r.or("interval", KEEPALIVE.interval, |item| item.whole_seconds(KEEPALIVE_SECONDS).map(span)),
        probes: r.or("probes", KEEPALIVE.probes, |item| item.integer(KEEPALIVE_PROBES)),
    })
}

/// A port as it would stand in a plant file, with every key that it has.
pub(super) fn print(port: &Options) -> Toml {
    let keys = OPTIONS.iter().filter(|key| key.ports.has(port));
    Toml::Table(keys.map(|key| (key.name.to_owned(), printed(key, port))).collect::<Table>())
}

fn printed(key: &Key, port: &Options) -> Toml {
    match key.value(port) {
        Value::Flag(flag) => Toml::Boolean(flag),
        Value::Number(number) if matches!(key.form, Form::Count(..)) => integer(number),
        Value::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(string) => Toml::String(string),
            Err(error) => list(error.as_bytes(), |byte| integer(*byte)),
        },
        Value::Networks(networks) => limits::print_networks(&networks),
        Value::Watermarks(Watermarks { high, low }) => list(&[high, low], |mark| integer(*mark)),
        Value::Keepalive(None) => Toml::Boolean(false),
        Value::Keepalive(Some(Keepalive { idle, interval, probes })) => {
            let seconds = |span: Duration| text(&format!("{}s", span.as_secs()));
            let (idle, interval) = (seconds(idle), seconds(interval));
            Toml::Table(table([("idle", idle), ("interval", interval), ("probes", integer(probes))]))
        }
        value @ (Value::Span(_) | Value::Number(_) | Value::Choice(_) | Value::Set(_) | Value::Text(_)) => {
            Toml::String(key.form.print(&value))
        }
    }
}
