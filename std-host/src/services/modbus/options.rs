//! What accepted sockets are set to, and how a newcomer is turned away.

use crate::config::modbus as plant;
use crate::event_loop::{Error, Keepalive, PreOpen, RawSocket};
use std::time::Duration;

/// The options of a server's sockets.
pub(super) struct Options {
    /// Whether a newcomer is turned away by a reset rather than a FIN.
    pub(super) reset: bool,
    keepalive: Option<Keepalive>,
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
}

impl Options {
    pub(super) fn new(described: &plant::Server) -> Self {
        let keepalive = described.keepalive.map(|keepalive| {
            let seconds = |seconds: u32| Duration::from_secs(seconds.into());
            Keepalive {
                idle: seconds(keepalive.idle_seconds),
                interval: seconds(keepalive.interval_seconds),
                probes: keepalive.probes,
            }
        });
        Self {
            reset: described.reject_with == plant::RejectWith::Reset,
            keepalive,
            receive_buffer: described.receive_buffer.map(|bytes| bytes as usize),
            send_buffer: described.send_buffer.map(|bytes| bytes as usize),
        }
    }

    /// How a newcomer is turned away.
    pub(super) const fn rejection(&self) -> PreOpen {
        if self.reset { PreOpen::Reset } else { PreOpen::Reject }
    }

    /// Sets the options of an accepted socket.
    pub(super) fn set(&self, raw: &RawSocket<'_>) -> Result<(), Error> {
        raw.set_keepalive(self.keepalive)?;
        raw.set_buffers(self.send_buffer, self.receive_buffer)
    }
}
