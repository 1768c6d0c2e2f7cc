//! The names of trace files.

use std::fmt;
use std::fmt::Write;

/// A pattern for the name of a file: `%p` is the name of the port, `%i` the slot (-1 for the port as a whole), `%%` a
/// percent sign. It borrows from the text that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName<'a>(&'a str);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileNameError {
    /// The byte of the percent sign behind which no `p`, `i` or `%` stands.
    pub offset: usize,
}

impl fmt::Display for FileNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no %p, %i or %% at byte {}", self.offset)
    }
}

impl std::error::Error for FileNameError {}

impl<'a> FileName<'a> {
    /// Reads a pattern.
    ///
    /// # Errors
    /// At the first percent sign that stands for nothing.
    pub fn parse(text: &'a str) -> Result<Self, FileNameError> {
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let sign = &rest[at..];
            if !["%p", "%i", "%%"].iter().any(|known| sign.starts_with(known)) {
                return Err(FileNameError { offset: text.len() - sign.len() });
            }
            rest = &sign[2..];
        }
        Ok(Self(text))
    }

    /// The pattern that stands for exactly this name.
    #[must_use]
    pub fn literally(name: &str) -> String {
        name.replace('%', "%%")
    }

    /// The name of the file for a slot of a port, or for the port as a whole.
    #[must_use]
    pub fn of(self, port: &str, slot: Option<u16>) -> String {
        let mut name = String::with_capacity(self.0.len() + port.len());
        let mut chars = self.0.chars();
        while let Some(char) = chars.next() {
            match (char, if char == '%' { chars.next() } else { None }) {
                ('%', Some('p')) => name.push_str(port),
                ('%', Some('i')) => {
                    let number = slot.map_or(-1, i32::from);
                    write!(name, "{number}").expect("a string takes whatever it is given");
                }
                // A percent sign stands for itself behind another one, and nothing else can stand there.
                (char, _) => name.push(char),
            }
        }
        name
    }
}
