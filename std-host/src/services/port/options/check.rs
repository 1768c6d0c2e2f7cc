//! What values have to do with each other.

use super::{Consumer, Mode, OnFull, Options, Udp};
use std::fmt;
use wharf_core::port::address::Protocol;

/// Two values that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key whose value is to blame.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What could be there instead.
    pub accepted: &'static str,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.message)
    }
}

impl std::error::Error for Conflict {}

impl Options {
    /// Whether all values go together.
    ///
    /// # Errors
    /// The first two that do not.
    pub fn check(&self) -> Result<(), Conflict> {
        self.conflicts().next().map_or(Ok(()), Err)
    }

    /// All values that do not go together.
    pub(crate) fn conflicts(&self) -> impl Iterator<Item = Conflict> {
        match self.address.protocol() {
            Protocol::Tcp => [self.text(), self.input_eos(), self.output_eos(), self.log(), self.consumer()],
            Protocol::Udp => [self.log(), self.writer(), None, None, None],
        }
        .into_iter()
        .flatten()
    }

    fn text(&self) -> Option<Conflict> {
        (self.on_full == OnFull::Text && self.full_text.is_empty()).then(|| Conflict {
            key: "on_full",
            message: "is \"text\", and full_text is empty".to_owned(),
            accepted: "\"text\" with a full_text of 1 to 256 bytes",
        })
    }

    fn input_eos(&self) -> Option<Conflict> {
        terminator("input_eos", &self.slot.input_eos, "rx_queue", self.rx_queue)
    }

    fn output_eos(&self) -> Option<Conflict> {
        terminator("output_eos", &self.slot.output_eos, "tx_queue", self.tx_queue)
    }

    /// A port that serves its clients by itself reads what they send by itself.
    fn consumer(&self) -> Option<Conflict> {
        (self.mode != Mode::None && self.slot.consumer == Consumer::Push).then(|| Conflict {
            key: "consumer",
            message: "is \"push\", and mode is not \"none\"".to_owned(),
            accepted: "\"pull\" or \"both\" with mode \"echo\", \"broker\" or \"log\"",
        })
    }

    fn log(&self) -> Option<Conflict> {
        match (self.mode, self.log_file.is_empty()) {
            (Mode::Log, true) => Some(Conflict {
                key: "mode",
                message: "is \"log\", and there is no log_file".to_owned(),
                accepted: "\"log\" with a log_file",
            }),
            (Mode::None | Mode::Echo | Mode::Broker, false) => Some(Conflict {
                key: "log_file",
                message: "is there, and mode is not \"log\"".to_owned(),
                accepted: "a log_file with mode \"log\"",
            }),
            _ => None,
        }
    }

    /// Whether a UDP port writes as its mode wants.
    fn writer(&self) -> Option<Conflict> {
        let (message, accepted) = match (self.mode, self.udp) {
            (Mode::Broker, Udp::Fifo) => ("is \"broker\", and the port is udp", "\"none\", \"echo\", \"log\""),
            (Mode::Broker, Udp::Asyn) => ("is \"broker\", and the port is udp", "\"none\", \"log\""),
            (Mode::Echo, Udp::Asyn) => ("is \"echo\", and an asyn port is read-only", "\"none\", \"log\""),
            (Mode::None | Mode::Echo | Mode::Log, _) => return None,
        };
        Some(Conflict { key: "mode", message: message.to_owned(), accepted })
    }
}

/// A terminator takes at most half of its queue.
fn terminator(key: &'static str, bytes: &[u8], queue: &str, capacity: u32) -> Option<Conflict> {
    (bytes.len() > capacity as usize / 2).then(|| Conflict {
        key,
        message: format!("has {} bytes, which is more than half of {queue}, {capacity}", bytes.len()),
        accepted: "at most 255 bytes and half of the queue",
    })
}
