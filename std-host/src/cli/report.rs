//! What `wharf modbus read` and `write` print: a table for people, or one JSON object.

use super::complain;
use super::rows::{Row, hex};
use super::target::{Host, Table};
use super::transport::NoReply;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::time::Duration;
use wharf_host::run::Status;

/// What was asked, of whom.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) host: &'a Host,
    pub(super) unit: u8,
    pub(super) table: Table,
    pub(super) address: Option<u16>,
    /// The name of the type.
    pub(super) kind: String,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: Result<Vec<Row>, NoReply>,
    /// From each request to its reply, summed over all of them.
    pub(super) round_trip: Duration,
}

impl Subject<'_> {
    /// Prints the outcome and says with which status the process ends.
    pub(super) fn report(&self, outcome: &Outcome, as_json: bool, out: &mut dyn Write) -> io::Result<Status> {
        if as_json {
            writeln!(out, "{}", self.object(outcome))?;
        } else {
            match &outcome.result {
                Ok(rows) => print_table(rows, out)?,
                Err(failure) => complain(&format!("{} unit {}: {}", self.host, self.unit, sentence(failure))),
            }
        }
        Ok(match &outcome.result {
            Ok(_) => Status::Done,
            Err(NoReply::Exception(_)) => Status::Refused,
            Err(NoReply::Connect(_) | NoReply::Timeout) => Status::Unreachable,
            Err(NoReply::Protocol { .. }) => Status::Protocol,
        })
    }

    fn object(&self, outcome: &Outcome) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value| drop(object.insert(key.to_owned(), value));
        put("unit", json!(self.unit));
        put("table", json!(self.table.to_string()));
        if let Some(address) = self.address {
            put("address", json!(address));
        }
        put("type", json!(self.kind));
        match &outcome.result {
            Ok(rows) => {
                put("values", rows.iter().map(|row| row.json.clone()).collect());
                put("rtt_us", json!(u64::try_from(outcome.round_trip.as_micros()).unwrap_or(u64::MAX)));
            }
            Err(NoReply::Exception(exception)) => {
                put("error", json!("exception"));
                put("code", json!(exception.code()));
                put("name", json!(exception.name()));
            }
            Err(NoReply::Timeout) => put("error", json!("timeout")),
            Err(NoReply::Connect(why)) => {
                put("error", json!("connect"));
                put("detail", json!(why));
            }
            Err(NoReply::Protocol { why, bytes }) => {
                put("error", json!("protocol"));
                put("detail", json!(why));
                put("bytes", json!(hex(bytes)));
            }
        }
        Value::Object(object)
    }
}

fn sentence(failure: &NoReply) -> String {
    match failure {
        NoReply::Connect(why) => why.clone(),
        NoReply::Timeout => "no reply in time".to_owned(),
        NoReply::Exception(exception) => exception.to_string(),
        NoReply::Protocol { why, bytes } => format!("broken reply: {why} (received: {})", hex(bytes)),
    }
}

fn print_table(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let width = |title: &str, column: fn(&Row) -> &str| {
        rows.iter().map(|row| column(row).chars().count()).fold(title.len(), usize::max)
    };
    let (label, hex) = (width("address", |row| &row.label), width("hex", |row| &row.hex));
    writeln!(out, "{:>label$}  {:<hex$}  value", "address", "hex")?;
    for row in rows {
        writeln!(out, "{:>label$}  {:<hex$}  {}", row.label, row.hex, row.text)?;
    }
    Ok(())
}
