//! What clients of a running host send: heads of HTTP requests, and lines of JSON.
//!
//! Both bodies take a stream as `mbap_stream` does: how many lengths, the lengths of the pieces, and the bytes. In the bytes
//! `FF b n` stands for 256 × n times `b`, or for one FF if n is 0, so that bounds are within a fuzzer's reach. What is behind
//! [`MAX_STREAM`] bytes is left out.

use super::framing::split;
use serde_json::{Value, json};
use wharf_host::admin::fuzzing::{Head, Heads, LONGEST_HEAD, Lines, Request};
use wharf_host::admin::lines::{MAX_LINE, PROTOCOL};

/// More bytes prove nothing new and only slow the fuzzer down.
const MAX_STREAM: usize = 80 << 10;
/// So many lines are read again, one by one.
const MAX_LINES: usize = 100;

/// Streams of HTTP requests: the same comes out however they are cut, heads end where their first empty line does, and what
/// is accepted says what a second reading of it says.
///
/// # Panics
/// When something does not hold.
pub fn http_head(data: &[u8]) {
    let (lengths, stream) = stream(data);
    let (mut heads, mut found) = (Heads::default(), Vec::new());
    'stream: for segment in split(&stream, lengths) {
        let mut rest = segment;
        while !rest.is_empty() {
            let room = heads.room();
            assert!(room > 0, "a head that fills its room is refused or taken out");
            let (piece, after) = rest.split_at(room.min(rest.len()));
            heads.push(piece);
            rest = after;
            loop {
                match heads.take() {
                    Ok(None) => break,
                    Ok(Some(head)) => found.push(Ok(head)),
                    Err(status) => {
                        found.push(Err(status));
                        break 'stream;
                    }
                }
            }
        }
    }
    let mut rest = stream.as_slice();
    for found in &found {
        let end = end_of_head(rest);
        match found {
            Ok(head) => {
                assert_eq!(Some(head.len), end, "{head:?}");
                let (text, after) = rest.split_at(head.len);
                says_the_same(head, text);
                rest = after;
            }
            Err(431) if end.is_none_or(|end| end > LONGEST_HEAD) => assert!(rest.len() >= LONGEST_HEAD),
            Err(status) => {
                let text = &rest[..end.expect("what is refused is whole")];
                assert!(!matches!(plainly(text), Some(Ok(_))), "{status} to {}", text.escape_ascii());
                let many = text.iter().filter(|byte| **byte == b'\n').count() > 64;
                assert!([400, 505].contains(status) || *status == 431 && many, "{status} to {}", text.escape_ascii());
                rest = &[];
            }
        }
    }
    if !matches!(found.last(), Some(Err(_))) {
        assert!(end_of_head(rest).is_none() && rest.len() < LONGEST_HEAD, "{} stays", rest.escape_ascii());
    }
}

/// Behind the first empty line that follows another.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    (begin..=bytes.len()).find(|end| [&b"\n\n"[..], b"\n\r\n"].iter().any(|empty| bytes[begin..*end].ends_with(empty)))
}

/// Method, path, and whether the connection is used again.
type Plain = (String, String, bool);

/// A head by the letter of RFC 9112, if it is spelled like one; an error if it breaks a rule or a bound all the same.
fn plainly(head: &[u8]) -> Option<Result<Plain, ()>> {
    let text = std::str::from_utf8(head).ok()?.trim_start_matches(['\r', '\n']);
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let token = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let [method, target, version] = lines.next()?.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let (mut hosts, mut keep, mut count) = (0, version == "HTTP/1.1", 0);
    let sound = target.starts_with('/') && target.chars().all(|c| c.is_ascii_alphanumeric() || "/?=&-_.".contains(c));
    if !token(method) || !sound || !["HTTP/1.0", "HTTP/1.1"].contains(&version) {
        return None;
    }
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        let visible = value.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if !token(name) || !visible {
            return None;
        }
        count += 1;
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "connection" => keep &= !value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close")),
            "transfer-encoding" => keep = false,
            "content-length" => keep &= value.trim().chars().all(|digit| digit == '0'),
            _ => {}
        }
    }
    let path = target.split('?').next()?.to_owned();
    let fits = count <= 64 && hosts <= 1 && (hosts == 1 || version == "HTTP/1.0") && head.len() <= LONGEST_HEAD;
    Some(if fits { Ok((method.to_owned(), path, keep)) } else { Err(()) })
}

fn says_the_same(head: &Head, text: &[u8]) {
    if let Some(plain) = plainly(text) {
        let (method, path, keep_alive) = plain.unwrap_or_else(|()| panic!("{} is no request", text.escape_ascii()));
        let method = if ["GET", "HEAD"].contains(&method.as_str()) { method } else { String::new() };
        assert_eq!((head.method, &head.path, head.keep_alive), (method.as_str(), &path, keep_alive));
    }
    // What is accepted without being plain: its first line has three parts, of which the path is one.
    let line = text.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let parts: Vec<_> = line.split(|byte| *byte == b' ').filter(|part| !part.is_empty()).collect();
    let [method, target, version] = parts.as_slice() else { panic!("{}", line.escape_ascii()) };
    assert!([&b"HTTP/1.0"[..], b"HTTP/1.1"].contains(version), "{}", line.escape_ascii());
    assert!(head.method.is_empty() || head.method.as_bytes() == *method);
    let contained = head.path.is_empty() || target.windows(head.path.len()).any(|part| part == head.path.as_bytes());
    assert!(contained || head.path == "/", "{} of {}", head.path, line.escape_ascii());
    assert!(!head.path.contains(['?', '#']) && text.len() <= LONGEST_HEAD);
}

/// Lines of JSON: they are those of the stream however it is cut, and a line is a request or is refused as a second reading
/// of the rules says.
///
/// # Panics
/// When something does not hold.
pub fn admin_lines(data: &[u8]) {
    let (lengths, stream) = stream(data);
    let (mut lines, mut found) = (Lines::default(), Vec::new());
    'stream: for segment in split(&stream, lengths) {
        let mut rest = segment;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(lines.room().min(rest.len()));
            lines.push(piece);
            rest = after;
            loop {
                match lines.take() {
                    Ok(Some(line)) => found.push(Some(line)),
                    Ok(None) => break,
                    Err(()) => {
                        found.push(None);
                        break 'stream;
                    }
                }
            }
        }
    }
    if found.last() != Some(&None) {
        let rest = lines.rest();
        assert!(rest.len() < MAX_LINE);
        found.push(Some(rest));
    }
    let mut expected = Vec::new();
    for line in stream.split(|byte| *byte == b'\n') {
        let fits = line.len() < MAX_LINE;
        expected.push(fits.then(|| line.to_vec()));
        if !fits {
            break;
        }
    }
    assert!(found == expected, "{} lines instead of {}", found.len(), expected.len());
    found.iter().flatten().take(MAX_LINES).for_each(|line| is_read_by_the_rules(line));
}

fn is_read_by_the_rules(line: &[u8]) {
    let parsed = Request::parse(line);
    let Ok(Value::Object(object)) = serde_json::from_slice(line) else {
        let (id, message) = parsed.expect_err("a line is an object");
        assert!(id.is_null() && message.starts_with("a line is one JSON object"), "{message}");
        return;
    };
    let id = object.get("id").cloned().unwrap_or_default();
    let simple = id.is_null() || id.is_string() || id.is_number();
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let known = |key: &String| ["id", "protocol", "verb", "name", "args"].contains(&key.as_str());
    let name_fits = matches!(object.get("name"), None | Some(Value::Null | Value::String(_)));
    let version = object.get("protocol").unwrap_or(&Value::Null);
    let version_fits = !object.contains_key("protocol") || *version == json!(PROTOCOL);
    let arguments_fit = object.get("args").is_none_or(Value::is_object);
    let fits = simple && object.keys().all(known) && name_fits && version_fits && arguments_fit;
    match (parsed, text("verb").filter(|_| fits)) {
        (Ok(request), Some(verb)) => {
            let arguments = object.get("args").and_then(Value::as_object).cloned().unwrap_or_default();
            assert_eq!(request, Request { id, verb, name: text("name"), arguments });
        }
        (Err((of, message)), None) => {
            assert_eq!(of, if simple { id } else { Value::Null }, "{message}");
            assert!(!message.is_empty());
        }
        (parsed, verb) => panic!("{parsed:?} where the verb is {verb:?}: {}", line.escape_ascii()),
    }
}

/// The lengths of pieces, and the stream with its runs written out.
fn stream(data: &[u8]) -> (&[u8], Vec<u8>) {
    let (count, rest) = data.split_first().map_or((0, data), |(count, rest)| (usize::from(*count), rest));
    let (lengths, mut packed) = rest.split_at(count.min(rest.len()));
    let mut stream = Vec::new();
    while let Some((first, rest)) = packed.split_first().filter(|_| stream.len() < MAX_STREAM) {
        packed = rest;
        match (first, rest) {
            (0xFF, [byte, times @ 1..=255, rest @ ..]) => {
                stream.resize(stream.len() + 256 * usize::from(*times), *byte);
                packed = rest;
            }
            (0xFF, [_, 0, rest @ ..]) => {
                stream.push(0xFF);
                packed = rest;
            }
            _ => stream.push(*first),
        }
    }
    stream.truncate(MAX_STREAM);
    (lengths, stream)
}
