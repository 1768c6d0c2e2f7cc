//! What `wharf modbus scan` has found out about a unit, for people and for programs.

use crate::cli::rows::hex;
use serde_json::{Map, Value, json};
use std::fmt;
use wharf_core::modbus::client::{Done, Outcome, Reason};
use wharf_core::modbus::pdu::Exception;
use wharf_host::config::modbus::OBJECT_NAMES;

/// What came of the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Answers {
        micros: u32,
    },
    Exception(Exception),
    Silent,
    Broken {
        why: String,
        bytes: Vec<u8>,
    },
    Lost(Reason),
    /// The user did not wait for it.
    Interrupted,
}

impl Finding {
    /// What a request's end means; `frame` is what came.
    pub(super) fn of(done: &Done, frame: &[u8]) -> Self {
        let broken = |why: String| Self::Broken { why, bytes: frame.to_vec() };
        match done.outcome {
            Outcome::Reply => Self::Answers { micros: done.micros },
            Outcome::Exception(exception) => Self::Exception(exception),
            Outcome::Timeout => Self::Silent,
            Outcome::Broken(breach) => broken(breach.to_string()),
            Outcome::Lost(reason @ (Reason::BadFrame(_) | Reason::Truncated)) => broken(reason.to_string()),
            Outcome::Lost(reason) => Self::Lost(reason),
        }
    }
}

/// All that is known of a unit.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) unit: u8,
    pub(super) finding: Option<Finding>,
    pub(super) identity: Vec<(u8, Vec<u8>)>,
    pub(super) server_id: Option<Vec<u8>>,
    /// Nothing more will be known.
    pub(super) over: bool,
    /// A connection was lost over it.
    pub(super) lost: bool,
}

impl Report {
    /// The titles of the columns of its `Display`.
    pub(super) const HEADING: &str = "unit  answer                                  rtt ms  identity; server id";

    pub(super) const fn new(unit: u8) -> Self {
        Self { unit, finding: None, identity: Vec::new(), server_id: None, over: false, lost: false }
    }

    /// Nobody waits for what is still to be known.
    pub(super) fn interrupt(&mut self) {
        if !self.over {
            self.finding.get_or_insert(Finding::Interrupted);
            self.over = true;
        }
    }

    /// Whether it shares a line with others like it, where people read.
    pub(super) fn shares_line(&self) -> bool {
        matches!(self.finding, Some(Finding::Silent | Finding::Interrupted))
    }

    /// One line of JSON.
    pub(super) fn object(&self) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value| drop(object.insert(key.to_owned(), value));
        put("unit", json!(self.unit));
        match &self.finding {
            Some(Finding::Answers { micros }) => {
                put("answer", json!("reply"));
                put("rtt_us", json!(micros));
            }
            Some(Finding::Exception(exception)) => {
                put("answer", json!("exception"));
                put("code", json!(exception.code()));
                put("name", json!(exception.name()));
            }
            Some(Finding::Silent) | None => put("answer", json!("silent")),
            Some(Finding::Broken { why, bytes }) => {
                put("answer", json!("protocol"));
                put("detail", json!(why));
                put("bytes", json!(hex(bytes)));
            }
            Some(Finding::Lost(reason)) => {
                put("answer", json!("connect"));
                put("detail", json!(reason.to_string()));
            }
            Some(Finding::Interrupted) => put("answer", json!("interrupted")),
        }
        if !self.identity.is_empty() {
            let objects = self.identity.iter().map(|(id, value)| (object_name(*id), json!(text(value)))).collect();
            put("identity", Value::Object(objects));
        }
        if let Some(bytes) = &self.server_id {
            put("server_id", json!(bytes));
        }
        Value::Object(object)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answer, rtt) = match &self.finding {
            Some(Finding::Answers { micros }) => ("answers".to_owned(), format!("{:.3}", f64::from(*micros) / 1000.0)),
            Some(Finding::Exception(exception)) => (exception.to_string(), String::new()),
            Some(Finding::Silent) | None => ("silent".to_owned(), String::new()),
            Some(Finding::Broken { why, bytes }) => {
                (format!("broken reply: {why} (received: {})", hex(bytes)), String::new())
            }
            Some(Finding::Lost(reason)) => (reason.to_string(), String::new()),
            Some(Finding::Interrupted) => ("interrupted".to_owned(), String::new()),
        };
        let objects: Vec<_> = self.identity.iter().map(|(_, value)| text(value)).collect();
        let server_id = self.server_id.as_ref().map(|bytes| bytes.escape_ascii().to_string());
        let who: Vec<_> =
            [Some(objects.join(", ")).filter(|who| !who.is_empty()), server_id].into_iter().flatten().collect();
        let line = format!("{:>4}  {answer:<36}  {rtt:>8}  {}", self.unit, who.join("; "));
        f.write_str(line.trim_end())
    }
}

fn object_name(id: u8) -> String {
    OBJECT_NAMES.get(usize::from(id)).map_or_else(|| format!("0x{id:02X}"), |name| (*name).to_owned())
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
