//! A server's connection on which things go wrong.
//!
//! It wraps a [`server::Connection`] and obeys the same contract; without faults it hands everything through. A reply that a
//! fault acts on is *kept back*: to the connection within it is a deferred request, which holds its transaction and its
//! place in the order of replies. When its turn has come, because all replies before it have left, this machine sends the
//! reply itself, as it was made, and then lets the connection within go on.
//!
//! # States
//!
//! * *Open*: as the connection within.
//! * *Stopped*: nothing is read, replies leave.
//! * *Holding*: nothing leaves; requests are thrown away as `held`, and nothing times out.
//! * *Half closed*: our FIN is sent; the same.
//! * *Ending*: the same, until the connection is closed or reset.
//!
//! A drain ends every wait that faults have made.
//!
//! # Storage
//!
//! A place for each reply that is kept back, [`Held`]: as many as there are transactions, and one more for a frame that waits
//! for a quiet time. What finds no place is not altered, and counted as suppressed.

mod kept;
mod phases;
#[cfg(test)]
mod tests;

use super::Faults;
use super::fault::How;
use super::held::{Emission, Held};
use crate::machine::{Machine, Step};
use crate::modbus::mbap::MAX_PDU;
use crate::modbus::pdu::Exception;
use crate::modbus::server::{self, Config, Error, Outcome, Output, Reason, Rest, Transaction};
use crate::modbus::service::{RequestId, Service};
use crate::time::{Instant, earliest};
use core::time::Duration;
use phases::Phase;

/// A connection over a buffer `B`, a list `T` of [`Transaction`]s and a list `H` of [`Held`] replies.
#[derive(Debug)]
pub struct Connection<B, T, H> {
    inner: server::Connection<B, T>,
    held: H,
    /// Places of `held` in use.
    in_use: usize,
    phase: Phase,
    emission: Option<Emission>,
    /// No wait lasts any longer.
    hurry: bool,
    /// Whether the last bytes offered were left untouched.
    untaken: bool,
    /// The last input from the peer, or the last byte sent.
    active_since: Instant,
    /// Since when the peer takes nothing of a kept reply.
    stuck_since: Instant,
    inner_paused: bool,
    inner_fin: bool,
    inner_close: Option<(Reason, bool)>,
    inner_deadline: Option<Instant>,
    transmit_asked: bool,
    pause_said: bool,
}

/// What the driver reports: as to a [`server::Connection`], and whoever decides what goes wrong.
pub enum Input<'a> {
    /// See [`server::Input::Received`].
    Received {
        /// The bytes, at least one.
        bytes: &'a [u8],
        /// Whoever answers.
        service: &'a mut dyn Service,
        /// Whoever decides what goes wrong.
        faults: Option<&'a mut dyn Faults>,
    },
    /// See [`server::Input::Transmitted`].
    Transmitted {
        /// How many of those bytes that [`Connection::transmit`] showed.
        len: usize,
    },
    /// See [`server::Input::Replied`].
    Replied {
        /// The request.
        id: RequestId,
        /// The reply, 1..=253 bytes.
        pdu: &'a [u8],
        /// Whoever decides what goes wrong.
        faults: Option<&'a mut dyn Faults>,
    },
    /// See [`server::Input::Failed`].
    Failed {
        /// The request.
        id: RequestId,
        /// Why.
        exception: Exception,
        /// Whoever decides what goes wrong.
        faults: Option<&'a mut dyn Faults>,
    },
    /// See [`server::Input::PeerClosed`].
    PeerClosed,
    /// See [`server::Input::PeerReset`].
    PeerReset,
    /// See [`server::Input::Drain`].
    Drain,
    /// See [`server::Input::Abort`].
    Abort {
        /// Why.
        reason: Reason,
    },
    /// The connection is to end for a fault of its own, as [`Acting::accepted`](super::Acting::accepted) said.
    EndAfter {
        /// How.
        how: How,
        /// After how long.
        delay: Duration,
    },
}

impl core::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Received { bytes, .. } => f.debug_struct("Received").field("bytes", bytes).finish_non_exhaustive(),
            Self::Transmitted { len } => f.debug_struct("Transmitted").field("len", len).finish(),
            Self::Replied { id, pdu, .. } => {
                f.debug_struct("Replied").field("id", id).field("pdu", pdu).finish_non_exhaustive()
            }
            Self::Failed { id, exception, .. } => {
                f.debug_struct("Failed").field("id", id).field("exception", exception).finish_non_exhaustive()
            }
            Self::PeerClosed => f.write_str("PeerClosed"),
            Self::PeerReset => f.write_str("PeerReset"),
            Self::Drain => f.write_str("Drain"),
            Self::Abort { reason } => f.debug_struct("Abort").field("reason", reason).finish(),
            Self::EndAfter { how, delay } => {
                f.debug_struct("EndAfter").field("how", how).field("delay", delay).finish()
            }
        }
    }
}

impl<B, T, H> Connection<B, T, H> {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub const fn new(config: Config, buffer: B, transactions: T, held: H, now: Instant) -> Self {
        Self {
            inner: server::Connection::new(config, buffer, transactions, now),
            held,
            in_use: 0,
            phase: Phase::Open,
            emission: None,
            hurry: false,
            untaken: false,
            active_since: now,
            stuck_since: now,
            inner_paused: false,
            inner_fin: false,
            inner_close: None,
            inner_deadline: None,
            transmit_asked: false,
            pause_said: false,
        }
    }

    /// See [`server::Connection::taken`].
    #[must_use]
    pub const fn taken(&self) -> usize {
        if self.untaken { 0 } else { self.inner.taken() }
    }

    /// Requests that are accepted and not answered yet, those included whose reply a fault keeps back.
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        self.inner.outstanding()
    }

    /// Whether the storage holds nothing.
    #[must_use]
    pub const fn is_vacant(&self) -> bool {
        self.in_use == 0 && self.inner.is_vacant()
    }

    /// What the connection is doing, as of its last output.
    #[must_use]
    pub const fn state(&self) -> server::State {
        match self.phase {
            Phase::Open => self.inner.state(),
            Phase::Stopped { .. } => server::State::Paused,
            Phase::Holding { .. } | Phase::HalfClosed { .. } | Phase::Ending { .. } => server::State::Held,
        }
    }

    /// Whether the connection has ended, or is told to.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// Whether what may leave belongs to a reply that was kept back, whose report follows when all of it has left.
    #[must_use]
    pub const fn sends_kept(&self) -> bool {
        self.emission.is_some()
    }

    /// The places for replies that are kept back. They may be added to at any time, and taken away while the connection is
    /// [vacant](Self::is_vacant).
    pub const fn held_mut(&mut self) -> &mut H {
        &mut self.held
    }

    /// See [`server::Connection::rest`]. No reply is kept back, and no fault has begun to end the connection.
    #[must_use]
    pub fn rest(&self) -> Option<Rest> {
        let busy = self.in_use > 0 || self.emission.is_some() || self.phase != Phase::Open;
        let said = self.inner_paused || self.inner_fin || self.inner_close.is_some() || self.pause_said || self.hurry;
        self.inner.rest().filter(|_| !busy && !said)
    }

    /// See [`server::Connection::resume`].
    ///
    /// # Errors
    /// The rest comes back if this machine serves a connection that is not at rest.
    pub fn resume(&mut self, rest: Rest) -> Result<(), Rest> {
        if self.rest().is_none() {
            return Err(rest);
        }
        self.untaken = false;
        self.transmit_asked = false;
        self.inner.go_on(rest);
        Ok(())
    }

    /// Replaces the storage of a [vacant](Self::is_vacant) connection and gives the old one back.
    ///
    /// # Errors
    /// The new storage comes back if the old one is in use.
    pub fn exchange(&mut self, buffer: B, transactions: T, held: H) -> Result<(B, T, H), (B, T, H)> {
        if !self.is_vacant() {
            return Err((buffer, transactions, held));
        }
        match self.inner.exchange(buffer, transactions) {
            Ok((buffer, transactions)) => Ok((buffer, transactions, core::mem::replace(&mut self.held, held))),
            Err((buffer, transactions)) => Err((buffer, transactions, held)),
        }
    }
}

impl<B, T, H> Connection<B, T, H>
where
    B: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[Transaction]> + AsMut<[Transaction]>,
    H: AsRef<[Held]> + AsMut<[Held]>,
{
    /// What may leave now, in at most two parts.
    #[must_use]
    pub fn transmit(&self) -> [&[u8]; 2] {
        if self.is_plain() {
            return self.inner.transmit();
        }
        match &self.emission {
            _ if !self.sends() => [&[], &[]],
            Some(emission) => self.place(emission.place).map_or([&[], &[]], |held| emission.shown(held)),
            // Frames are counted one by one while a reply waits for others to pass it.
            None if self.is_passed() => [self.inner.front(), &[]],
            None => self.inner.transmit(),
        }
    }

    /// Whether anything may leave now.
    #[must_use]
    pub fn has_output(&self) -> bool {
        if self.is_plain() { self.inner.has_output() } else { self.shown() > 0 }
    }

    /// Whether no fault has anything to do with the connection at present.
    const fn is_plain(&self) -> bool {
        self.in_use == 0 && matches!(self.phase, Phase::Open) && self.emission.is_none()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.is_plain() {
            return self.inner_deadline;
        }
        let phase = match self.phase {
            Phase::Open => None,
            Phase::Stopped { until, .. } | Phase::Holding { until, .. } | Phase::HalfClosed { until, .. } => until,
            Phase::Ending { at, .. } => Some(at),
        };
        let inner = self.inner_deadline.filter(|_| !self.is_frozen());
        earliest(phase, earliest(inner, self.kept_deadline()))
    }
}

impl<B, T, H> Machine for Connection<B, T, H>
where
    B: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[Transaction]> + AsMut<[Transaction]>,
    H: AsRef<[Held]> + AsMut<[Held]>,
{
    type Input<'a> = Input<'a>;
    type Output = Output;
    type Error = Error;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        match input {
            Input::Received { bytes, service, faults } => self.receive(now, bytes, service, faults)?,
            Input::Transmitted { len } => self.transmitted(now, len)?,
            Input::Replied { id, pdu, faults } => {
                let fits = (1..=MAX_PDU).contains(&pdu.len());
                let at = self.awaited(id).filter(|_| fits);
                if !at.is_some_and(|at| self.answered(now, at, id, (pdu, Outcome::Ok), faults, false)) {
                    self.check_open(id)?;
                    self.inner.handle_input(now, server::Input::Replied { id, pdu })?;
                }
            }
            Input::Failed { id, exception, faults } => {
                if !self.fail(now, id, exception, faults, false) {
                    self.check_open(id)?;
                    self.inner.handle_input(now, server::Input::Failed { id, exception })?;
                }
            }
            Input::PeerClosed => self.inner.handle_input(now, server::Input::PeerClosed)?,
            Input::PeerReset => self.inner.handle_input(now, server::Input::PeerReset)?,
            Input::Drain => {
                self.drain(now);
                if !self.is_closed() {
                    self.inner.handle_input(now, server::Input::Drain)?;
                }
            }
            Input::Abort { reason } => self.inner.handle_input(now, server::Input::Abort { reason })?,
            Input::EndAfter { how, delay } => self.phase = Phase::Ending { at: now.saturating_add(delay), how },
        }
        self.advance(now);
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.stuck_deadline().is_some_and(|deadline| deadline <= now) {
            self.inner.cut(now, Reason::WriteStuck, true);
            return self.advance(now);
        }
        self.lapse(now);
        if !self.is_frozen() {
            while let Some(id) = self.overdue(now) {
                // Where no fault has to do with it, it times out below.
                let _kept = self.fail(now, id, Exception::SERVER_DEVICE_BUSY, None, true);
            }
            self.inner.handle_timeout(now);
        }
        self.advance(now);
    }

    #[inline]
    fn poll_output(&mut self) -> Step<Output> {
        match self.inner.report() {
            Some(report) => Step::Do(report),
            None => match self.waits() {
                Some(deadline) => {
                    self.inner_deadline = deadline;
                    debug_assert_eq!(self.poll_reported(), Step::Wait(deadline), "a short way round, not another way");
                    Step::Wait(deadline)
                }
                None => self.poll_reported(),
            },
        }
    }
}

impl<B, T, H> Connection<B, T, H>
where
    B: AsRef<[u8]> + AsMut<[u8]>,
    T: AsRef<[Transaction]> + AsMut<[Transaction]>,
    H: AsRef<[Held]> + AsMut<[Held]>,
{
    /// As [`server::Connection::waits`], where no fault has anything to do with the connection either.
    #[inline]
    fn waits(&self) -> Option<Option<Instant>> {
        let said = self.pause_said == self.inner_paused && self.transmit_asked == self.inner.has_output();
        let quiet = self.is_plain() && said && !self.inner_fin && self.inner_close.is_none();
        if quiet { self.inner.waits() } else { None }
    }

    /// What is to be done once there is nothing to report.
    fn poll_reported(&mut self) -> Step<Output> {
        loop {
            match self.inner.poll_reported() {
                // Reports have been taken already; if one came, it would not be lost.
                Step::Do(report @ (Output::Processed(_) | Output::Discarded(_))) => return Step::Do(report),
                Step::Do(Output::Transmit) => {}
                Step::Do(Output::Pause) => self.inner_paused = true,
                Step::Do(Output::Resume) => self.inner_paused = false,
                Step::Do(Output::CloseWrite) => self.inner_fin = true,
                Step::Do(Output::Close { reason, reset }) => self.inner_close = Some((reason, reset)),
                Step::Wait(deadline) => {
                    self.inner_deadline = deadline;
                    break;
                }
            }
        }
        if let Some((reason, reset)) = self.inner_close.take() {
            return Step::Do(Output::Close { reason, reset });
        }
        if self.is_closed() {
            return Step::Wait(None);
        }
        if !self.has_output() {
            self.transmit_asked = false;
        } else if !core::mem::replace(&mut self.transmit_asked, true) {
            return Step::Do(Output::Transmit);
        }
        let paused = self.inner_paused || matches!(self.phase, Phase::Stopped { .. });
        if core::mem::replace(&mut self.pause_said, paused) != paused {
            return Step::Do(if paused { Output::Pause } else { Output::Resume });
        }
        match &mut self.phase {
            Phase::HalfClosed { said: said @ false, .. } => {
                *said = true;
                return Step::Do(Output::CloseWrite);
            }
            Phase::Open | Phase::Stopped { .. } if core::mem::take(&mut self.inner_fin) => {
                return Step::Do(Output::CloseWrite);
            }
            Phase::Open
            | Phase::Stopped { .. }
            | Phase::Holding { .. }
            | Phase::HalfClosed { .. }
            | Phase::Ending { .. } => {}
        }
        Step::Wait(self.deadline())
    }
}
