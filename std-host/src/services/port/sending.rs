//! How whoever is on the loop of a port sends: to a client, or to all of them.

use super::error::Error;
use super::running::{Addr, Running};
use super::trace::{Direction, Levels};
use wharf_core::port::server::{Command, Mode, Outcome, Receipt, State, To};
use wharf_core::slots::SlotId;

/// What a message for all came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broadcast {
    /// Clients that have all of it queued.
    pub queued: u32,
    /// Bytes queued, over all clients.
    pub accepted: usize,
    /// The slots, in order, and what became of the message for each.
    pub outcomes: Vec<Outcome>,
}

impl Running<'_> {
    /// Queues a message for a slot, or for every client: then what is taken is the sum.
    ///
    /// # Errors
    /// [`Error::NotConnected`] if nobody is there, [`Error::Full`], [`Error::TooLong`], [`Error::OutputEnded`]; for the
    /// whole port [`Error::PortDown`].
    pub fn write(&mut self, addr: Addr, bytes: &[u8]) -> Result<usize, Error> {
        match addr {
            Addr::Port => self.queue(To::All, bytes, Mode::Policy, true).map(|receipt| receipt.accepted),
            Addr::Slot(_) => {
                let slot = self.client(addr)?;
                self.write_to(slot, bytes)
            }
        }
    }

    /// Queues a message for exactly this client.
    ///
    /// # Errors
    /// As for [`Running::write`], and [`Error::Stale`] once it has left.
    pub fn write_to(&mut self, slot: SlotId, bytes: &[u8]) -> Result<usize, Error> {
        self.queue(To::Slot(slot), bytes, Mode::Policy, true).map(|receipt| receipt.accepted)
    }

    /// Queues a message for every client. No client keeps it from another.
    ///
    /// # Errors
    /// [`Error::PortDown`].
    pub fn broadcast(&mut self, bytes: &[u8]) -> Result<Broadcast, Error> {
        let mut result = Broadcast::default();
        self.broadcast_into(bytes, &mut result).map(|()| result)
    }

    /// [`Running::broadcast`] into a result that is used again, so that nothing is allocated for it.
    ///
    /// # Errors
    /// As for [`Running::broadcast`]; `result` stays as it was then.
    pub fn broadcast_into(&mut self, bytes: &[u8], result: &mut Broadcast) -> Result<(), Error> {
        if self.site().desk.has_begun_any() {
            self.check_up()?;
            let Broadcast { queued, accepted, outcomes } = result;
            *queued = 0;
            outcomes.clear();
            let sum = self.queue_for_each(None, bytes, Mode::Policy, true, |outcome| {
                *queued += u32::from(outcome == Outcome::Queued);
                outcomes.push(outcome);
            });
            *accepted = sum.accepted;
            return Ok(());
        }
        result.accepted = self.queue(To::All, bytes, Mode::Policy, true)?.accepted;
        let machine = self.site().machine.borrow();
        result.queued = machine.outcome_totals().queued;
        result.outcomes.clear();
        result.outcomes.extend(machine.outcomes().map(|(_, outcome)| outcome));
        Ok(())
    }

    /// Queues a message, but never into the middle of one that another thread is still writing.
    pub(super) fn queue(&mut self, to: To, bytes: &[u8], mode: Mode, terminate: bool) -> Result<Receipt, Error> {
        let but = match to {
            To::Slot(slot) if self.site().desk.has_begun(slot.index()) => return Err(Error::Full { room: 0 }),
            To::Slot(_) => None,
            To::All => Some(None),
            To::Others(slot) => Some(Some(slot)),
        };
        if let Some(but) = but.filter(|_| self.site().desk.has_begun_any()) {
            self.check_up()?;
            return Ok(self.queue_for_each(but, bytes, mode, terminate, |_| ()));
        }
        self.queue_now(to, bytes, mode, terminate)
    }

    /// Queues a message, or the next piece of one.
    pub(super) fn queue_now(&mut self, to: To, bytes: &[u8], mode: Mode, terminate: bool) -> Result<Receipt, Error> {
        let receipt = self.command(Command::Write { to, bytes, mode, terminate })?;
        let slot = if let To::Slot(slot) = to { Some(slot) } else { None };
        if slot.and_then(|slot| self.state(slot)) == Some(State::Closing) {
            // There was no room, and `overflow = "disconnect"` says what that costs.
            return Err(Error::OutputEnded);
        }
        let taken = bytes.len().min(receipt.accepted);
        self.site().trace(slot, Levels::DEVICE, Direction::Tx, [&bytes[..taken], &[]], "write");
        Ok(receipt)
    }

    /// Queues a message for every client, one after the other, but not for those that are in the middle of one. `each` gets
    /// what became of it for each slot, in order.
    fn queue_for_each(
        &mut self,
        but: Option<SlotId>,
        bytes: &[u8],
        mode: Mode,
        terminate: bool,
        mut each: impl FnMut(Outcome),
    ) -> Receipt {
        let mut sum = Receipt::default();
        for index in 0..self.slots() {
            let queued = match self.slot_at(index).filter(|slot| but != Some(*slot)) {
                Some(slot) => self.queue(To::Slot(slot), bytes, mode, terminate).map(Some),
                None => Ok(None),
            };
            each(match queued {
                Ok(None) => Outcome::Free,
                Ok(Some(Receipt { accepted, .. })) => {
                    sum.accepted += accepted;
                    match u32::try_from(accepted).unwrap_or(u32::MAX) {
                        _ if accepted == bytes.len() => Outcome::Queued,
                        // What does not fit has cost the connection.
                        0 => Outcome::Closed,
                        accepted => Outcome::Partial { accepted },
                    }
                }
                Err(Error::Full { .. } | Error::TooLong { .. }) => Outcome::Full,
                Err(_) => Outcome::Closed,
            });
        }
        sum
    }

    /// Refuses a message for all while the port is down.
    fn check_up(&self) -> Result<(), Error> {
        if self.local_addr().is_some() { Ok(()) } else { Err(Error::PortDown { why: self.failure() }) }
    }
}
