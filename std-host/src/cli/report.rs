//! What `wharf modbus read` and `write` print: a table for people, or a JSON object a line.

use super::complain;
use super::rows::{Row, hex};
use super::target::{Host, Table};
use super::transport::NoReply;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::time::Duration;
use wharf_core::modbus::pdu::Span;
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
    /// What was asked for last, if that was a part of the whole.
    pub(super) part: Option<Span>,
    /// From each request to its reply, summed over all of them.
    pub(super) round_trip: Duration,
}

/// Prints outcomes one below the other.
#[derive(Debug)]
pub(super) struct Printer<'a> {
    subject: Subject<'a>,
    as_json: bool,
    /// The widths of time, label and data, once there is a heading.
    widths: Option<[usize; 3]>,
}

impl<'a> Printer<'a> {
    pub(super) const fn new(subject: Subject<'a>, as_json: bool) -> Self {
        Self { subject, as_json, widths: None }
    }

    /// Prints an outcome and says with which status the process ends; `at` is the time of a poll since the first.
    pub(super) fn print(&mut self, outcome: &Outcome, at: Option<Duration>, out: &mut dyn Write) -> io::Result<Status> {
        if self.as_json {
            writeln!(out, "{}", self.subject.object(outcome, at))?;
        } else {
            match &outcome.result {
                Ok(rows) => self.print_rows(rows, at, out)?,
                Err(failure) => {
                    let Subject { host, unit, .. } = &self.subject;
                    complain(&format!("{host} unit {unit}: {}{}", sentence(failure), place(outcome.part)));
                }
            }
        }
        Ok(status(&outcome.result))
    }

    fn print_rows(&mut self, rows: &[Row], at: Option<Duration>, out: &mut dyn Write) -> io::Result<()> {
        let time = at.map(|at| format!("{}.{:03}", at.as_secs(), at.subsec_millis()));
        let [mut times, label, hex] = self.widths.unwrap_or_else(|| {
            let width = |title: &str, column: fn(&Row) -> &str| {
                rows.iter().map(|row| column(row).chars().count()).fold(title.len(), usize::max)
            };
            [8, width("address", |row| &row.label), width("hex", |row| &row.hex)]
        });
        times = if time.is_some() { times } else { 0 };
        let gap = if time.is_some() { "  " } else { "" };
        if self.widths.is_none() {
            let title = if time.is_some() { "time" } else { "" };
            writeln!(out, "{title:>times$}{gap}{:>label$}  {:<hex$}  value", "address", "hex")?;
            self.widths = Some([times, label, hex]);
        }
        let time = time.unwrap_or_default();
        for row in rows {
            writeln!(out, "{time:>times$}{gap}{:>label$}  {:<hex$}  {}", row.label, row.hex, row.text)?;
        }
        Ok(())
    }
}

/// The status with which a process ends whose last outcome this is.
pub(super) const fn status<T>(result: &Result<T, NoReply>) -> Status {
    match result {
        Ok(_) | Err(NoReply::Interrupted) => Status::Done,
        Err(NoReply::Exception(_)) => Status::Refused,
        Err(NoReply::Connect(_) | NoReply::Timeout) => Status::Unreachable,
        Err(NoReply::Protocol { .. }) => Status::Protocol,
    }
}

/// A failure as the members `error` and those that go with it.
pub(super) fn failure_json(failure: &NoReply) -> Vec<(&'static str, Value)> {
    match failure {
        NoReply::Exception(exception) => {
            vec![("error", json!("exception")), ("code", json!(exception.code())), ("name", json!(exception.name()))]
        }
        NoReply::Timeout => vec![("error", json!("timeout"))],
        NoReply::Connect(why) => vec![("error", json!("connect")), ("detail", json!(why))],
        NoReply::Protocol { why, bytes } => {
            vec![("error", json!("protocol")), ("detail", json!(why)), ("bytes", json!(hex(bytes)))]
        }
        NoReply::Interrupted => vec![("error", json!("interrupted"))],
    }
}

/// A failure in words.
pub(super) fn sentence(failure: &NoReply) -> String {
    match failure {
        NoReply::Connect(why) => why.clone(),
        NoReply::Timeout => "no reply in time".to_owned(),
        NoReply::Exception(exception) => exception.to_string(),
        NoReply::Protocol { why, bytes } => format!("broken reply: {why} (received: {})", hex(bytes)),
        NoReply::Interrupted => "interrupted".to_owned(),
    }
}

impl Subject<'_> {
    fn object(&self, outcome: &Outcome, at: Option<Duration>) -> Value {
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
                put("values", rows.iter().flat_map(|row| row.json.clone()).collect());
                put("rtt_us", json!(u64::try_from(outcome.round_trip.as_micros()).unwrap_or(u64::MAX)));
            }
            Err(failure) => {
                failure_json(failure).into_iter().for_each(|(key, value)| put(key, value));
                if let Some(Span { start, quantity }) = outcome.part {
                    put("at", json!({ "address": start, "count": quantity }));
                }
            }
        }
        if let Some(at) = at {
            put("elapsed_ms", json!(u64::try_from(at.as_millis()).unwrap_or(u64::MAX)));
        }
        Value::Object(object)
    }
}

/// Which part of a whole a failure is about.
fn place(part: Option<Span>) -> String {
    part.map_or_else(String::new, |span| format!(", at {}..={}", span.start, span.end() - 1))
}
