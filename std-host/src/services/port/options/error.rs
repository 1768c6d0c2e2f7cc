//! Why an option was not set, in words for people.

use super::table::{Key, OPTIONS, Ports};
use crate::config::nearest;
use std::fmt;

/// The most characters of a value that a message repeats.
const QUOTED: usize = 60;

/// Why an option was not set. The old value stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionError {
    /// There is no such key.
    Unknown {
        /// What was asked for.
        key: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// The key has no such value.
    BadValue {
        /// The key.
        key: &'static str,
        /// What was to be its value.
        value: String,
        /// Why not.
        why: String,
        /// What is accepted.
        accepted: String,
    },
    /// The key cannot be set once the port is made.
    Fixed {
        /// The key.
        key: &'static str,
    },
    /// The key can be set only while the port is down.
    Up {
        /// The key.
        key: &'static str,
    },
    /// The key is one of the whole port, and not of one slot.
    PortOnly {
        /// The key.
        key: &'static str,
    },
    /// The key means nothing on such a port.
    OtherPort {
        /// The key.
        key: &'static str,
        /// The ports that have it.
        ports: Ports,
    },
}

impl OptionError {
    pub(super) fn unknown(key: &str) -> Self {
        let names: Vec<_> = OPTIONS.iter().map(|key| key.name).collect();
        Self::Unknown { key: key.to_owned(), meant: nearest(key, &names) }
    }

    pub(super) fn bad(key: &Key, value: &str, why: impl fmt::Display) -> Self {
        Self::BadValue { key: key.name, value: value.to_owned(), why: why.to_string(), accepted: key.accepted() }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { key, meant } => {
                write!(f, "there is no option {}", Quoted(key))?;
                match meant {
                    Some(meant) => write!(f, ", did you mean \"{meant}\"?"),
                    None => {
                        let names: Vec<_> = OPTIONS.iter().map(|key| key.name).collect();
                        write!(f, "; accepted: {}", names.join(", "))
                    }
                }
            }
            Self::BadValue { key, value, why, accepted } => {
                write!(f, "option {key} cannot be {}: {why}; accepted: {accepted}", Quoted(value))
            }
            Self::Fixed { key } => write!(f, "option {key} cannot be changed while the port exists"),
            Self::Up { key } => {
                write!(f, "option {key} can be changed only while the port is down: disconnect it first")
            }
            Self::PortOnly { key } => {
                write!(f, "option {key} belongs to the whole port and cannot be set for one slot")
            }
            Self::OtherPort { key, ports } => write!(f, "option {key} is only for {ports}"),
        }
    }
}

impl std::error::Error for OptionError {}

/// A text in quotes, cut if it is long.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED) {
            Some((end, _)) => write!(f, "{:?} and more", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}
