//! The language of the admin socket: a JSON object a line, of bounded length.
//!
//! What comes in is cut into lines, and a request is one of them. Replies are lines too: the host's first tells who it is,
//! every other one carries the `id` of the request that it belongs to.

use super::answer::{Kind, Outcome, Refusal};
use serde_json::{Map, Value, json};

/// The version of this language. A change that an older client would misread adds one.
pub const PROTOCOL: u64 = 1;
/// The longest line of a client, its end included.
pub const MAX_LINE: usize = 64 << 10;
/// The longest line of the host, its end included.
pub const MAX_REPLY: usize = 1 << 20;

/// What has come in and makes no line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// So many of them were lines that have been taken out. They go all at once, or short lines would cost a move each of
    /// what comes behind.
    taken: usize,
    /// Up to here there is no end of a line behind those.
    looked: usize,
}

/// What stands first among what has come in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, without its end.
    Line(Vec<u8>),
    /// No whole line; there is room for so many bytes more, at least one.
    More(usize),
    /// A line that is too long. Where the next one begins is not known.
    TooLong,
}

impl Lines {
    /// Takes bytes, at most as many as there is room for.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken >= MAX_LINE {
            self.forget_taken();
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self) -> Next {
        let end = self.bytes[self.looked..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.looked + end) else {
            self.forget_taken();
            self.looked = self.bytes.len();
            let room = self.room();
            return if room == 0 { Next::TooLong } else { Next::More(room) };
        };
        let line = self.bytes[self.taken..end].to_vec();
        (self.taken, self.looked) = (end + 1, end + 1);
        if line.len() >= MAX_LINE { Next::TooLong } else { Next::Line(line) }
    }

    /// How many bytes there is room for; for who has had the last whole line.
    pub(super) fn room(&self) -> usize {
        MAX_LINE.saturating_sub(self.bytes.len() - self.taken)
    }

    /// What is left after the last end of a line: the last line, of a client that has ended.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.forget_taken();
        self.looked = 0;
        std::mem::take(&mut self.bytes)
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..self.taken);
        self.looked = self.looked.saturating_sub(self.taken);
        self.taken = 0;
    }
}

/// What a client asks for.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// Comes back with every reply.
    pub(super) id: Value,
    pub(super) verb: String,
    /// The entry of the plant that is meant.
    pub(super) name: Option<String>,
    pub(super) arguments: Map<String, Value>,
}

impl Request {
    /// Reads a line. A refusal comes with the id to which it belongs, as far as that could be read.
    pub(super) fn parse(line: &[u8]) -> Result<Self, (Value, Refusal)> {
        let anonymous = |message: String| (Value::Null, Refusal::usage(message));
        let object = match serde_json::from_slice(line) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(anonymous("a line is one JSON object".to_owned())),
            Err(error) => return Err(anonymous(format!("a line is one JSON object: {error}"))),
        };
        let mut object = object;
        let id = object.shift_remove("id").unwrap_or_default();
        if !matches!(id, Value::Null | Value::String(_) | Value::Number(_)) {
            return Err(anonymous("`id` is a string or a number".to_owned()));
        }
        Self::read(object, &id).map_err(|message| (id, Refusal::usage(message)))
    }

    fn read(object: Map<String, Value>, id: &Value) -> Result<Self, String> {
        let (mut verb, mut name, mut arguments) = (None, None, Map::new());
        for (key, value) in object {
            match (key.as_str(), value) {
                ("protocol", version) if version == json!(PROTOCOL) => {}
                ("protocol", version) => return Err(format!("this host speaks protocol {PROTOCOL}, not {version}")),
                ("verb", Value::String(text)) => verb = Some(text),
                ("name", Value::String(text)) => name = Some(text),
                ("name", Value::Null) => {}
                ("args", Value::Object(object)) => arguments = object,
                ("verb" | "name", _) => return Err(format!("`{key}` is a string")),
                ("args", _) => return Err("`args` is an object".to_owned()),
                _ => return Err(format!("unknown member {key:?}; accepted: id, protocol, verb, name, args")),
            }
        }
        let verb = verb.ok_or("`verb` is missing")?;
        Ok(Self { id: id.clone(), verb, name, arguments })
    }
}

/// The first line of a host.
pub(super) fn greeting(plant: &str) -> Vec<u8> {
    let (version, process) = (env!("CARGO_PKG_VERSION"), std::process::id());
    line(&json!({ "wharf": version, "protocol": PROTOCOL, "plant": plant, "pid": process }))
}

/// The last line that belongs to a request.
pub(super) fn outcome(id: &Value, outcome: &Outcome) -> Vec<u8> {
    let bytes = match outcome {
        Ok(value) => line(&json!({ "id": id, "ok": value })),
        Err(refusal) => return refused(id, refusal),
    };
    if bytes.len() > MAX_REPLY {
        let message = format!("the reply has more than {MAX_REPLY} bytes: ask for less at a time");
        return refused(id, &Refusal { kind: Kind::Refused, message });
    }
    bytes
}

/// A line on the way to the outcome. `missed` events were lost before it.
pub(super) fn event(id: &Value, event: &Value, missed: u64) -> Vec<u8> {
    if missed > 0 {
        line(&json!({ "id": id, "event": event, "missed": missed }))
    } else {
        line(&json!({ "id": id, "event": event }))
    }
}

fn refused(id: &Value, refusal: &Refusal) -> Vec<u8> {
    line(&json!({ "id": id, "error": { "kind": refusal.kind.name(), "message": refusal.message } }))
}

fn line(object: &Value) -> Vec<u8> {
    let mut line = object.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> (Value, String) {
        let (id, refusal) = Request::parse(line.as_bytes()).unwrap_err();
        assert_eq!(refusal.kind, Kind::Usage, "{line}");
        (id, refusal.message)
    }

    #[test]
    fn lines_are_cut_wherever_the_bytes_are() {
        let text = b"{}\n\n{\"verb\":\"status\"}\nrest";
        for size in 1..=text.len() {
            let (mut lines, mut cut) = (Lines::default(), Vec::new());
            for part in text.chunks(size) {
                lines.push(part);
                while let Next::Line(line) = lines.next() {
                    cut.push(line);
                }
            }
            assert_eq!(cut, [&b"{}"[..], b"", b"{\"verb\":\"status\"}"], "{size}");
            assert_eq!(lines.rest(), b"rest");
            assert_eq!(lines.next(), Next::More(MAX_LINE));
        }
    }

    #[test]
    fn lines_that_were_taken_do_not_pile_up_while_others_wait() {
        let mut lines = Lines::default();
        lines.push(b"first\n");
        for _ in 0..100_000 {
            lines.push(b"next\n");
            assert!(matches!(lines.next(), Next::Line(_)));
            assert!(lines.bytes.len() < 2 * MAX_LINE, "{} bytes", lines.bytes.len());
        }
        assert_eq!((lines.next(), lines.room()), (Next::Line(b"next".to_vec()), MAX_LINE));
        assert_eq!(lines.next(), Next::More(MAX_LINE));
    }

    #[test]
    fn a_line_has_a_bound_and_so_has_what_waits_for_its_end() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_LINE - 1]);
        assert_eq!(lines.next(), Next::More(1));
        lines.push(b"\n");
        assert!(matches!(lines.next(), Next::Line(line) if line.len() == MAX_LINE - 1));
        lines.push(&vec![b'x'; MAX_LINE]);
        assert_eq!(lines.next(), Next::TooLong);
    }

    #[test]
    fn a_request_has_an_id_a_verb_a_name_and_arguments() {
        let line = br#"{"id":7,"protocol":1,"verb":"modbus.get","name":"hall","args":{"point":"t"}}"#;
        let arguments = Map::from_iter([("point".to_owned(), json!("t"))]);
        let (verb, name) = ("modbus.get".to_owned(), Some("hall".to_owned()));
        assert_eq!(Request::parse(line), Ok(Request { id: json!(7), verb, name, arguments }));
        let bare = Request::parse(br#" {"verb":"status","name":null} "#).unwrap();
        assert_eq!((bare.id, bare.name, bare.arguments.len()), (Value::Null, None, 0));
    }

    #[test]
    fn what_is_no_request_is_refused_under_its_id() {
        assert_eq!(refusal("[]").1, "a line is one JSON object");
        assert!(refusal("{").1.starts_with("a line is one JSON object: "));
        assert!(refusal("\u{7f}").1.starts_with("a line is one JSON object: "));
        assert!(refusal(&"[".repeat(60_000)).1.contains("recursion limit"));
        assert!(Request::parse(b"\xff\xfe").is_err());
        assert_eq!(refusal(r#"{"id":[],"verb":"a"}"#), (Value::Null, "`id` is a string or a number".to_owned()));
        for (line, message) in [
            (r#"{"id":"x"}"#, "`verb` is missing"),
            (r#"{"id":"x","verb":1}"#, "`verb` is a string"),
            (r#"{"id":"x","verb":"a","args":[]}"#, "`args` is an object"),
            (r#"{"id":"x","verb":"a","protocol":2}"#, "this host speaks protocol 1, not 2"),
            (r#"{"id":"x","verb":"a","arg":{}}"#, "unknown member \"arg\"; accepted: id, protocol, verb, name, args"),
        ] {
            assert_eq!(refusal(line), (json!("x"), message.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_reply_that_is_too_long_is_a_refusal() {
        let long = Ok(Value::String("x".repeat(MAX_REPLY)));
        let reply: Value = serde_json::from_slice(&outcome(&json!(1), &long)).unwrap();
        assert_eq!((&reply["id"], &reply["error"]["kind"]), (&json!(1), &json!("refused")));
        assert_eq!(outcome(&Value::Null, &Ok(json!(2))), b"{\"id\":null,\"ok\":2}\n");
        assert_eq!(event(&json!("a"), &json!(2), 3), b"{\"id\":\"a\",\"event\":2,\"missed\":3}\n");
    }
}
