//! Who may connect, and what accepted sockets are set to.

use super::event::Rejection;
use crate::config::modbus as plant;
use crate::event_loop::{Error, Keepalive, PreOpen, RawSocket};
use std::time::Duration;

/// The limits and options of a server's newcomers.
pub(super) struct Admission {
    max_connections: usize,
    reset: bool,
    keepalive: Option<Keepalive>,
    receive_buffer: Option<usize>,
    send_buffer: Option<usize>,
}

impl Admission {
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
            max_connections: described.max_connections as usize,
            reset: described.reject_with == plant::RejectWith::Reset,
            keepalive,
            receive_buffer: described.receive_buffer.map(|bytes| bytes as usize),
            send_buffer: described.send_buffer.map(|bytes| bytes as usize),
        }
    }

    /// Why a newcomer is turned away, with so many connections there already.
    pub(super) const fn refuses(&self, active: usize) -> Option<Rejection> {
        if active >= self.max_connections { Some(Rejection::Limit) } else { None }
    }

    /// How a newcomer is turned away.
    pub(super) const fn rejection(&self) -> PreOpen {
        if self.reset { PreOpen::Reset } else { PreOpen::Reject }
    }

    /// Sets the options of an accepted socket.
    pub(super) fn options(&self, raw: &RawSocket<'_>) -> Result<(), Error> {
        raw.set_keepalive(self.keepalive)?;
        raw.set_buffers(self.send_buffer, self.receive_buffer)
    }
}
