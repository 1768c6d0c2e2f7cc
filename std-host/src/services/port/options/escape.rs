//! Bytes in a line of printable text: `\r`, `\n`, `\t`, `\\`, and `\xHH` for any byte.

use std::fmt::Write;

/// What the text of bytes may hold, for messages.
pub(super) const ESCAPES: &str = r"\r, \n, \t, \\, \xHH";

/// The bytes that `text` says. What is not ASCII stands for its UTF-8.
///
/// # Errors
/// The backslash sequence that is none.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, sequence) = rest.split_at(at);
        bytes.extend_from_slice(plain.as_bytes());
        let Some((byte, len)) = one(sequence) else {
            let chars = if sequence.starts_with("\\x") { 4 } else { 2 };
            return Err(sequence.chars().take(chars).collect());
        };
        bytes.push(byte);
        rest = &sequence[len..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// The byte of the sequence that `text` begins with, and the length of that.
fn one(text: &str) -> Option<(u8, usize)> {
    Some(match text.as_bytes().get(1)? {
        b'r' => (b'\r', 2),
        b'n' => (b'\n', 2),
        b't' => (b'\t', 2),
        b'\\' => (b'\\', 2),
        b'x' => {
            let digits = text.get(2..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            (u8::from_str_radix(digits, 16).ok()?, 4)
        }
        _ => return None,
    })
}

/// The bytes as printable ASCII that [`parse`] reads.
#[must_use]
pub(crate) fn print(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    print_to(&mut text, bytes);
    text
}

/// Appends the same to `text`.
pub(crate) fn print_to(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a string takes whatever it is given"),
        }
    }
}
