//! What becomes of a message for one client, or for all.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule names the few cases that it is about")]

use super::client::Client;
use super::{Listening, Port, count};
use wharf_core::port::server::{Error, Event, Mode, Outcome, Output, Overflow, Reason, To};
use wharf_core::slots::SlotId;

/// A message and what goes with it.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) mode: Mode,
    pub(super) terminate: bool,
}

/// What is to be done with a message, before anything is.
enum Plan {
    /// All of it, and the terminator, once so many of the droppable messages are gone.
    Whole { drop: usize },
    /// So many bytes, without the terminator.
    Part { accepted: usize },
    /// Nothing, and the client is closed.
    Close,
    /// Nothing.
    Refuse(Error),
}

impl Port {
    pub(super) fn write(&mut self, to: To, message: &Message<'_>) -> Result<(), Error> {
        match to {
            To::Slot(id) => {
                let at = id.index() as usize;
                if !self.client(id)?.takes_output() {
                    return Err(Error::OutputEnded { slot: id });
                }
                match self.plan(at, message) {
                    Plan::Refuse(error) => Err(error),
                    plan => {
                        let (accepted, lost) = self.carry_out(at, message, &plan);
                        self.receipt = (accepted, lost, 0);
                        Ok(())
                    }
                }
            }
            To::All => self.broadcast(message, None),
            To::Others(but) => self.broadcast(message, Some(but)),
        }
    }

    fn broadcast(&mut self, message: &Message<'_>, but: Option<SlotId>) -> Result<(), Error> {
        if !matches!(self.listening, Listening::Yes { .. }) {
            return Err(Error::PortDown);
        }
        let mut outcomes = Vec::new();
        for at in 0..self.slots.len() {
            let outcome = match &self.slots[at].client {
                None => Outcome::Free,
                Some(client) if but == Some(client.id) => Outcome::Free,
                Some(client) if !client.takes_output() => Outcome::Closed,
                Some(_) => {
                    let plan = self.plan(at, message);
                    let (accepted, lost) = self.carry_out(at, message, &plan);
                    self.receipt.0 += accepted;
                    self.receipt.1 += lost;
                    match plan {
                        Plan::Whole { .. } => Outcome::Queued,
                        Plan::Part { accepted } => Outcome::Partial { accepted: count(accepted) },
                        Plan::Close => Outcome::Closed,
                        Plan::Refuse(_) => Outcome::Full,
                    }
                }
            };
            outcomes.push((count(at), outcome));
        }
        self.outcomes = outcomes;
        Ok(())
    }

    fn plan(&self, at: usize, message: &Message<'_>) -> Plan {
        let bytes = message.bytes;
        let slot = &self.slots[at];
        let Some(client) = &slot.client else { return Plan::Close };
        let eos = if slot.options.process_eos && message.terminate { slot.output_eos.len() } else { 0 };
        let (len, max) = (bytes.len() + eos, self.tx_queue);
        let free = max - client.queued();
        if len <= free {
            return Plan::Whole { drop: 0 };
        }
        let room = free.saturating_sub(eos);
        // A part never looks like the whole, even where only the terminator does not fit.
        let fits = free.min(bytes.len().saturating_sub(1));
        if message.mode == Mode::Feed {
            return part(fits, Error::Full { room });
        }
        let refusal = if len > max { Error::TooLong { len, max } } else { Error::Full { room } };
        match slot.options.overflow {
            Overflow::Reject => Plan::Refuse(refusal),
            Overflow::Partial => part(fits, Error::Full { room }),
            Overflow::Disconnect => Plan::Close,
            Overflow::DropOldest => {
                let sizes: Vec<usize> = client.droppable().iter().map(|&at| client.tx[at].bytes.len()).collect();
                let enough = (1..=sizes.len()).find(|&count| free + sizes[..count].iter().sum::<usize>() >= len);
                enough.map_or(Plan::Refuse(refusal), |drop| Plan::Whole { drop })
            }
        }
    }

    /// Bytes accepted and bytes lost.
    fn carry_out(&mut self, at: usize, Message { bytes, terminate, .. }: &Message<'_>, plan: &Plan) -> (usize, u64) {
        let (now, queue) = (self.now, self.tx_queue);
        let slot = &mut self.slots[at];
        let Some(client) = &mut slot.client else { return (0, 0) };
        let mut message = bytes.to_vec();
        let mut lost = 0;
        match *plan {
            Plan::Whole { drop } => {
                if slot.options.process_eos && *terminate {
                    message.extend_from_slice(&slot.output_eos);
                }
                lost = drop_oldest(client, drop);
            }
            Plan::Part { accepted } => message.truncate(accepted),
            Plan::Close => {
                client.close(Reason::Overflow, None);
                return (0, 0);
            }
            Plan::Refuse(_) => return (0, 0),
        }
        client.queue(&message, now);
        client.last_program_write = now;
        client.watch_high(slot.options.watermarks, queue);
        (message.len().min(bytes.len()), lost)
    }
}

/// A part of a message, if there is anything in it.
const fn part(accepted: usize, refusal: Error) -> Plan {
    if accepted == 0 { Plan::Refuse(refusal) } else { Plan::Part { accepted } }
}

fn drop_oldest(client: &mut Client, count: usize) -> u64 {
    let gone: Vec<usize> = client.droppable().into_iter().take(count).collect();
    let mut lost = 0;
    for &at in gone.iter().rev() {
        lost += client.tx.remove(at).map_or(0, |message| message.bytes.len() as u64);
    }
    client.dropped += lost;
    if lost > 0 {
        overflowed(client, client.id, lost);
    }
    lost
}

/// What is not told yet is told together.
fn overflowed(client: &mut Client, slot: SlotId, mut lost: u64) {
    client.owed.retain(|owed| match owed.output {
        Output::Notify(Event::Overflowed { lost: before, .. }) => {
            lost += before;
            false
        }
        _ => true,
    });
    client.tell(Event::Overflowed { slot, lost });
}
