//! What is wrong with a plant file: every problem at once, each with its place.

use std::fmt;

/// Everything that is wrong with one plant file, in the order of the file. Its [`fmt::Display`] is a line per problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The file, as the user named it.
    pub file: String,
    /// At least one problem.
    pub problems: Vec<Problem>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What sort of problem it is.
    pub kind: Kind,
    /// Where it is, unless the whole file is the problem.
    pub position: Option<Position>,
    /// The full path of the key, such as `modbus.server[0].unit[1].id`; empty for the file itself.
    pub key: String,
    /// What was found.
    pub message: String,
    /// What is accepted instead, where that can be said.
    pub accepted: Option<String>,
}

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

/// The sorts of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The file cannot be read.
    Unreadable,
    /// The file is not TOML. Nothing else is judged until it is.
    Syntax,
    /// No table of this kind has such a key.
    UnknownKey,
    /// The key or value is part of Wharf's plan, but this version does not implement it.
    NotSupported,
    /// A key that has no default is absent.
    Missing,
    /// The value is of another type.
    WrongType,
    /// The value has the right type but is not among those accepted.
    NotAccepted,
    /// The same name, id, number or address was given before.
    Duplicate,
    /// Two ranges share an address.
    Overlap,
    /// A list is longer than what it fills.
    TooMany,
    /// Two keys exclude each other.
    Conflict,
    /// The value names something that does not exist.
    Dangling,
}

impl Kind {
    /// The name in machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown_key",
            Self::NotSupported => "not_supported",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::NotAccepted => "not_accepted",
            Self::Duplicate => "duplicate",
            Self::Overlap => "overlap",
            Self::TooMany => "too_many",
            Self::Conflict => "conflict",
            Self::Dangling => "dangling",
        }
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", self.file)?;
            if let Some(Position { line, column }) = problem.position {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        self.accepted.as_ref().map_or(Ok(()), |accepted| write!(f, "; accepted: {accepted}"))
    }
}
