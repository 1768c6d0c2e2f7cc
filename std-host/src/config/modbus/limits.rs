//! `[[modbus.server]]`: the keys that limit who may connect and how often, and requests (section 7.1).

use super::{RateAction, WhenFull};
use crate::config::error::Kind;
use crate::config::print::{integer, list, table, text};
use crate::config::reader::Item;
use toml::Value;
use wharf_core::network::Network;
use wharf_core::rate::Rate;

/// The names of [`WhenFull`].
pub(super) const WHEN_FULL: [(&str, WhenFull); 2] = [("reject", WhenFull::Reject), ("evict", WhenFull::Evict)];
/// The names of [`RateAction`].
pub(super) const RATE_ACTION: [(&str, RateAction); 2] = [("busy", RateAction::Busy), ("pause", RateAction::Pause)];

/// A list of addresses and ranges.
pub(in crate::config) fn networks(item: &Item<'_>) -> Option<Vec<Network>> {
    const ACCEPTED: &str = "a list of IP addresses and ranges such as [\"192.0.2.7\", \"10.0.0.0/8\", \"fd00::/8\"]";
    item.each(ACCEPTED, |item| {
        let network = item.text()?.parse::<Network>();
        network.map_err(|error| item.note(Kind::NotAccepted, error.to_string(), Some(ACCEPTED.to_owned()))).ok()
    })
}

/// The same, of which there must be some.
pub(super) fn some_networks(item: &Item<'_>) -> Option<Vec<Network>> {
    let networks = networks(item)?;
    if networks.is_empty() && item.list("").is_some_and(|list| list.is_empty()) {
        let message = "found an empty list, which would let nobody in";
        item.note(Kind::NotAccepted, message, Some("at least one address".to_owned()));
    }
    Some(networks)
}

/// `{ per_second, burst }`, or false. Without `burst` it is a second's worth.
pub(super) fn rate(item: &Item<'_>) -> Option<Option<Rate>> {
    if item.is_flag() {
        if item.flag()? {
            item.refuse("false, or a table with per_second, burst");
        }
        return Some(None);
    }
    if !item.is_table() {
        item.mistyped("false, or a table with per_second, burst");
        return None;
    }
    item.table(|r| {
        let per_second = r.need("per_second", "1..=1000000", |item| item.integer(1..=1_000_000));
        let burst = r.or("burst", per_second.unwrap_or(1), |item| item.integer(1..=1_000_000));
        per_second.map(|per_second| Rate { per_second, burst })
    })
}

pub(in crate::config) fn print_networks(networks: &[Network]) -> Value {
    list(networks, |network| text(&network.to_string()))
}

pub(super) fn print_rate(rate: Option<Rate>) -> Value {
    rate.map_or(Value::Boolean(false), |rate| {
        Value::Table(table([("per_second", integer(rate.per_second)), ("burst", integer(rate.burst))]))
    })
}

/// The name under which a choice stands in a file.
pub(super) fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> Value {
    let found = names.iter().find(|(_, named)| named == value);
    text(found.map_or("", |(name, _)| name))
}
