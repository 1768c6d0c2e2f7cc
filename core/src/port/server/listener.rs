//! The listening socket: when it is opened, closed and opened again.

use super::event::{DownReason, OpenFailure};
use super::options::PortOptions;
use super::{Error, Output};
use crate::time::{self, Instant};
use core::net::SocketAddr;
use core::time::Duration;

/// The listening socket of a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    phase: Phase,
    /// The program wants it to be open.
    wanted: bool,
    /// Until when it stays closed after a failure.
    reopen_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    /// `Listen` is not answered yet.
    Opening,
    Up {
        local: SocketAddr,
        told: bool,
    },
    /// It is to be closed, or `shut` already, and `PortDown` will be told.
    Closing {
        said: bool,
        shut: bool,
        reason: DownReason,
    },
}

/// What the port does next about its listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Do(Output),
    Up(SocketAddr),
    Down(DownReason),
}

impl Listener {
    pub(super) const DOWN: Self = Self { phase: Phase::Down, wanted: false, reopen_at: None };

    /// Where it listens.
    pub(super) const fn local(&self) -> Option<SocketAddr> {
        match self.phase {
            Phase::Up { local, .. } => Some(local),
            Phase::Down | Phase::Opening | Phase::Closing { .. } => None,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    pub(super) const fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down)
    }

    pub(super) const fn open(&mut self) {
        self.wanted = true;
        self.reopen_at = None;
    }

    pub(super) const fn close(&mut self) {
        self.wanted = false;
        self.reopen_at = None;
        let reason = DownReason::Closed;
        // While it is being opened, the answer to `Listen` comes first.
        if self.is_up() {
            self.phase = Phase::Closing { said: false, shut: false, reason };
        }
    }

    pub(super) fn opened(&mut self, local: SocketAddr) -> Result<(), Error> {
        if self.phase != Phase::Opening {
            return Err(Error::Unasked);
        }
        self.phase = Phase::Up { local, told: false };
        if !self.wanted {
            self.close();
        }
        Ok(())
    }

    pub(super) fn open_failed(&mut self, now: Instant, kind: OpenFailure, options: &PortOptions) -> Result<(), Error> {
        if self.phase != Phase::Opening {
            return Err(Error::Unasked);
        }
        let reason = if self.wanted { DownReason::OpenFailed(kind) } else { DownReason::Closed };
        self.phase = Phase::Closing { said: true, shut: true, reason };
        self.retry(now, options);
        Ok(())
    }

    /// The listening socket is broken.
    pub(super) fn broke(&mut self) {
        if self.is_up() {
            self.phase = Phase::Closing { said: false, shut: false, reason: DownReason::AcceptFailed };
        }
    }

    pub(super) fn shut(&mut self, now: Instant, options: &PortOptions) -> Result<(), Error> {
        let Phase::Closing { said: true, shut: false, reason } = self.phase else { return Err(Error::Unasked) };
        self.phase = Phase::Closing { said: true, shut: true, reason };
        if reason == DownReason::AcceptFailed {
            self.retry(now, options);
        }
        Ok(())
    }

    /// After a failure the port comes up again by itself, later or not at all.
    fn retry(&mut self, now: Instant, options: &PortOptions) {
        self.reopen_at = time::expiry(now, Duration::from_millis(options.reopen.into()));
        self.wanted &= options.auto_connect && self.reopen_at.is_some();
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.reopen_at
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.reopen_at = self.reopen_at.filter(|at| *at > now);
    }

    /// What comes next. `vacant` says that no client keeps the port from being down.
    pub(super) fn poll(&mut self, vacant: bool) -> Option<News> {
        match &mut self.phase {
            Phase::Down if self.wanted && self.reopen_at.is_none() => {
                self.phase = Phase::Opening;
                Some(News::Do(Output::Listen))
            }
            Phase::Up { local, told } if !*told => {
                *told = true;
                Some(News::Up(*local))
            }
            Phase::Closing { said, .. } if !*said => {
                *said = true;
                Some(News::Do(Output::Unlisten))
            }
            Phase::Closing { shut: true, reason, .. } if vacant => {
                let reason = *reason;
                self.phase = Phase::Down;
                Some(News::Down(reason))
            }
            Phase::Down | Phase::Opening | Phase::Up { .. } | Phase::Closing { .. } => None,
        }
    }
}
