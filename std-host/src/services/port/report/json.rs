//! A report for programs.

use super::{Level, Report, Seat, Seated, word};
use crate::services::port::lines::LineCounts;
use crate::services::port::tally::REASONS;
use serde_json::{Map, Value, json};

impl Report {
    /// The report as an object. Spans are in seconds, queues and counts in bytes.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
        put("name", self.name.as_str().into());
        put("connected", self.local.is_some().into());
        put("local", self.local.map(|local| local.to_string()).into());
        put("address", self.address.as_str().into());
        put("failure", self.failure.as_deref().into());
        put("slots", self.slots.into());
        put("taken", self.taken.into());
        put("on_full", self.on_full.as_str().into());
        if self.level >= Level::Slots {
            let (port, totals) = (&self.counters, &self.totals);
            put("accepted", port.accepted.into());
            put("refused", json!({ "full": port.full, "denied": port.denied }));
            put("exhausted", port.exhausted.into());
            put("rx", totals.rx.into());
            put("tx", totals.tx.into());
            put("trace_lines", lines(self.trace));
            put("log_lines", self.log.map(lines).into());
            put("clients", self.seats.iter().map(|seat| self.seat(seat)).collect());
        }
        if self.level >= Level::All {
            let (port, totals) = (&self.counters, &self.totals);
            put("lost", port.lost.into());
            put("unread", totals.unread.into());
            put("unsent", totals.unsent.into());
            put("overflowed", totals.overflowed.into());
            let left = REASONS.iter().zip(totals.departed).filter(|(_, count)| *count > 0);
            put("left", left.map(|(reason, count)| ((*reason).to_owned(), Value::from(count))).collect());
            put("masks", options(&self.masks));
            put("options", options(&self.options));
        }
        all
    }

    fn seat(&self, seat: &Seat) -> Value {
        let mut all = Map::new();
        let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
        put("name", self.child_name(seat.index).into());
        put("state", seat.client.map_or("free", |client| word(client.state)).into());
        if let Some(client) = &seat.client {
            client_facts(client, &mut put);
        }
        if let Some((reason, ago)) = seat.last {
            put("last", json!({ "reason": reason.to_string(), "seconds_ago": ago.as_secs_f64() }));
        }
        if self.level >= Level::All {
            let [rx, tx] = seat.longest;
            put("longest", json!({ "rx": rx, "tx": tx }));
            if let Some(client) = seat.client {
                put("deadline", client.deadline.map(|deadline| deadline.as_secs_f64()).into());
            }
            put("options", options(&seat.options));
        }
        all.into()
    }
}

fn client_facts(client: &Seated, put: &mut impl FnMut(&str, Value) -> Option<Value>) {
    let Seated { slot, peer, counters, .. } = client;
    put("peer", peer.to_string().into());
    put("id", slot.to_string().into());
    put("up", client.up.as_secs_f64().into());
    put("idle", client.idle.as_secs_f64().into());
    put("rx", counters.received.into());
    put("tx", counters.sent.into());
    put("queued", json!({ "rx": counters.queued_rx, "tx": counters.queued_tx }));
    put("stuck", client.stuck.map(|stuck| stuck.as_secs_f64()).into());
}

fn lines(LineCounts { written, lost }: LineCounts) -> Value {
    json!({ "written": written, "lost": lost })
}

fn options(options: &[(&'static str, String)]) -> Value {
    options.iter().map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str()))).collect()
}
