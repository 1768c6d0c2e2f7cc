//! A report for programs.

use super::about::object;
use super::{Level, Report, Seat, Seated, word};
use crate::services::port::tally::REASONS;
use serde_json::{Map, Value, json};

impl Report {
    /// The report as an object. Spans are in seconds, queues and counts in bytes.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut all = Map::new();
        self.about.put_head(&mut all);
        let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
        put("slots", self.slots.into());
        put("taken", self.taken.into());
        put("on_full", self.on_full.as_str().into());
        if self.about.level >= Level::Slots {
            let (port, totals) = (&self.counters, &self.totals);
            put("accepted", port.accepted.into());
            put("refused", json!({ "full": port.full, "denied": port.denied }));
            put("exhausted", port.exhausted.into());
            put("rx", totals.rx.into());
            put("tx", totals.tx.into());
            self.about.put_lines(&mut all);
            let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
            put("clients", self.seats.iter().map(|seat| self.seat(seat)).collect());
        }
        if self.about.level >= Level::All {
            let (port, totals) = (&self.counters, &self.totals);
            let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
            put("lost", port.lost.into());
            put("unread", totals.unread.into());
            put("unsent", totals.unsent.into());
            put("overflowed", totals.overflowed.into());
            let left = REASONS.iter().zip(totals.departed).filter(|(_, count)| *count > 0);
            put("left", left.map(|(reason, count)| ((*reason).to_owned(), Value::from(count))).collect());
            self.about.put_options(&mut all);
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
        if self.about.level >= Level::All {
            let [rx, tx] = seat.longest;
            put("longest", json!({ "rx": rx, "tx": tx }));
            if let Some(client) = seat.client {
                put("deadline", client.deadline.map(|deadline| deadline.as_secs_f64()).into());
            }
            put("options", object(&seat.options));
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
