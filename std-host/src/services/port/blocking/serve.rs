//! What is tried for a call, each time that something has happened.

use super::ask::{Answer, Ask, Pending, Share, State, Whom};
use crate::services::port::error::Error;
use crate::services::port::running::{Addr, Running};
use wharf_core::port::server::{self, Command, Counters, Mode, Outcome, Reason, To};
use wharf_core::slots::SlotId;

/// What an attempt came to.
pub(super) enum Tried {
    Answered(Result<Answer, Error>),
    Later,
}

impl Tried {
    /// What may have to wait is [`Error::WouldBlock`].
    fn of(result: Result<Answer, Error>) -> Self {
        match result {
            Err(Error::WouldBlock) => Self::Later,
            answer => Self::Answered(answer),
        }
    }
}

/// Does what a call asks for, as far as that can be done now. A reader whose time is over gets what there is.
pub(super) fn attempt(port: &mut Running<'_>, state: &mut State) -> Tried {
    Tried::of(match state.ask {
        Ask::Connect => port.local_addr().map(|_| Answer::DONE).ok_or(Error::WouldBlock),
        // It comes here once the listening socket is closed.
        Ask::Disconnect(_) | Ask::Broadcast => Ok(Answer::DONE),
        Ask::Read(whom) => read(port, state, whom),
        Ask::Write(whom) => write(port, state, whom),
        Ask::Drain(Whom { addr: Addr::Port, .. }) => drain_all(port, state),
        Ask::Drain(whom) => drain(port, state, whom),
        Ask::ShutDown(whom) => client(port, whom).and_then(|slot| {
            port.command(Command::ShutDown { slot })?;
            Ok(Answer::DONE)
        }),
        Ask::Flush(whom) => client(port, whom).and_then(|slot| {
            let discarded = port.command(Command::Flush { slot })?.discarded;
            Ok(Answer { len: discarded as usize, ..Answer::DONE })
        }),
        Ask::Drop(whom) => end(port, whom, |slot| Command::Drop { slot, reason: Reason::LocalClosed }),
        Ask::Abort(whom) => end(port, whom, |slot| Command::Abort { slot }),
        Ask::AwaitClient(whom) => await_client(port, whom),
        Ask::Who(whom) => pinned(port, whom).map(|()| {
            let slot = index(whom).and_then(|index| port.slot_at(index));
            Answer { slot, peer: slot.and_then(|slot| port.peer_of(slot)), ..Answer::DONE }
        }),
        Ask::Pending(whom) => pinned(port, whom).map(|()| Answer { pending: pending(port, whom.addr), ..Answer::DONE }),
    })
}

/// The answer to a call that could not be served in time.
pub(super) fn too_late(port: &mut Running<'_>, state: &State) -> Result<Answer, Error> {
    if let Ask::Read(whom) = state.ask {
        read_timed_out(port, state, whom);
    } else if let Ask::Drain(whom) = state.ask {
        let left = match state.notes.client.map(|slot| port.counters(slot)) {
            Some(counters) => counters.map_or(0, |counters| state.notes.mark.saturating_sub(sent(&counters))),
            None => pending(port, whom.addr).tx,
        };
        return Err(Error::Timeout { bytes: to_usize(left) });
    }
    behind(state)
}

/// The same for one that was not the first of its line.
pub(super) fn behind(state: &State) -> Result<Answer, Error> {
    Err(Error::Timeout { bytes: state.notes.done })
}

fn read(port: &mut Running<'_>, state: &mut State, whom: Whom) -> Result<Answer, Error> {
    pinned(port, whom)?;
    let room = state.len;
    let read = match port.read_within(whom.addr, &mut state.bytes, room, false) {
        Err(Error::WouldBlock) if state.overdue => {
            let read = port.read_within(whom.addr, &mut state.bytes, room, true)?;
            read_timed_out(port, state, whom);
            read
        }
        other => other?,
    };
    Ok(Answer { len: read.len, eom: read.eom, slot: read.slot, ..Answer::DONE })
}

/// A reader that could wait has had its time.
fn read_timed_out(port: &mut Running<'_>, state: &State, whom: Whom) {
    let Some(index) = index(whom).filter(|_| state.patient) else { return };
    if port.drops_on_read_timeout(index)
        && let Some(slot) = port.slot_at(index)
    {
        // Refused only by one that is gone already.
        let _ = port.command(Command::Drop { slot, reason: Reason::ReadTimeout });
    }
}

fn write(port: &mut Running<'_>, state: &mut State, whom: Whom) -> Result<Answer, Error> {
    let slot = match state.notes.client {
        Some(slot) => slot,
        None => *state.notes.client.insert(client(port, whom)?),
    };
    match queue(port, slot, &state.bytes[state.notes.done..state.len], state.notes.done > 0) {
        Ok(queued) => state.notes.done += queued,
        // It is leaving, or has left.
        Err(Error::Stale | Error::OutputEnded) if !port.state(slot).is_some_and(is_there) => {
            return Err(gone(whom));
        }
        Err(error) => return Err(error),
    }
    if state.notes.done == state.len { Ok(Answer::DONE) } else { Err(Error::WouldBlock) }
}

/// Queues what fits of a message, whose beginning may be queued already: how much that was, and [`Error::WouldBlock`] if
/// it was nothing. A message that fits into the queue goes there whole, unless `overflow` wants it in parts; a longer one
/// goes in pieces.
fn queue(port: &mut Running<'_>, slot: SlotId, bytes: &[u8], begun: bool) -> Result<usize, Error> {
    let drops_oldest = port.drops_oldest(slot.index());
    let mut write = |mode| match port.queue_now(To::Slot(slot), bytes, mode, true) {
        // What `overflow = "disconnect"` takes nothing of has cost the connection.
        Ok(receipt) if receipt.accepted == 0 && !bytes.is_empty() => Err(Error::OutputEnded),
        Ok(receipt) => Ok(receipt.accepted),
        Err(Error::Full { .. }) => Err(Error::WouldBlock),
        Err(error) => Err(error),
    };
    if begun {
        return write(Mode::Feed);
    }
    match write(Mode::Policy) {
        // Its pieces could be dropped for a newer message while others are still to come.
        Err(error @ Error::TooLong { .. }) if drops_oldest => Err(error),
        Err(Error::TooLong { .. }) => write(Mode::Feed),
        queued => queued,
    }
}

/// Notes for whom a message for all is.
pub(super) fn begin_broadcast(port: &Running<'_>, state: &mut State) -> Result<(), Error> {
    if port.local_addr().is_none() {
        return Err(Error::PortDown { why: port.failure() });
    }
    for index in 0..port.slots() {
        let client = port.slot_at(index);
        let outcome = if client.is_some() { Outcome::Full } else { Outcome::Free };
        state.notes.shares.push(Share { client, outcome });
    }
    Ok(())
}

/// Queues what fits of a message for all, for one slot. Whether more of it is to come.
pub(super) fn share(port: &mut Running<'_>, state: &mut State, index: u32) -> bool {
    let len = state.len;
    let Some(Share { client: Some(slot), outcome }) = state.notes.shares.get_mut(index as usize) else { return false };
    let done = match *outcome {
        Outcome::Full => 0,
        Outcome::Partial { accepted } => accepted as usize,
        Outcome::Queued | Outcome::Closed | Outcome::Free => return false,
    };
    let queued = queue(port, *slot, &state.bytes[done..len], done > 0);
    *outcome = match queued {
        Ok(queued) if done + queued == len => Outcome::Queued,
        Ok(queued) => Outcome::Partial { accepted: u32::try_from(done + queued).unwrap_or(u32::MAX) },
        Err(Error::WouldBlock) => return true,
        Err(_) => Outcome::Closed,
    };
    matches!(outcome, Outcome::Partial { .. })
}

fn drain(port: &Running<'_>, state: &mut State, whom: Whom) -> Result<Answer, Error> {
    let slot = match state.notes.client {
        Some(slot) => slot,
        None => {
            let slot = *state.notes.client.insert(client(port, whom)?);
            state.notes.mark = port.counters(slot).map_or(0, |counters| counters.accepted);
            slot
        }
    };
    match port.counters(slot) {
        Some(counters) if counters.unsent == 0 => {
            if sent(&counters) < state.notes.mark {
                Err(Error::WouldBlock)
            } else {
                Ok(Answer::DONE)
            }
        }
        // What it had not sent is lost.
        Some(_) | None => Err(gone(whom)),
    }
}

/// Bytes that have left the queue.
const fn sent(counters: &Counters) -> u64 {
    counters.accepted.saturating_sub(counters.queued_tx)
}

/// Every slot need be seen once without output.
fn drain_all(port: &Running<'_>, state: &mut State) -> Result<Answer, Error> {
    while let Ok(index) = u32::try_from(state.notes.mark) {
        if index >= port.slots() {
            break;
        }
        let counters = port.slot_at(index).and_then(|slot| port.counters(slot));
        if counters.is_some_and(|counters| counters.queued_tx > 0) {
            return Err(Error::WouldBlock);
        }
        state.notes.mark += 1;
    }
    Ok(Answer::DONE)
}

fn await_client(port: &Running<'_>, whom: Whom) -> Result<Answer, Error> {
    pinned(port, whom)?;
    let is_there = |slot: &SlotId| port.state(*slot).is_some_and(is_there);
    let found = match index(whom) {
        Some(index) => port.slot_at(index).filter(is_there),
        None => (0..port.slots()).find_map(|index| port.slot_at(index).filter(is_there)),
    };
    found.map(|slot| Answer { slot: Some(slot), ..Answer::DONE }).ok_or(Error::WouldBlock)
}

/// Whether there is somebody to read from or to write to.
const fn is_there(state: server::State) -> bool {
    use server::State;
    match state {
        State::Open | State::PeerEnded | State::LocalEnded | State::Residue => true,
        State::Flushing | State::Closing | State::Gone => false,
    }
}

fn pending(port: &Running<'_>, addr: Addr) -> Pending {
    let slots = match addr {
        Addr::Port => 0..port.slots(),
        Addr::Slot(index) => u32::from(index)..u32::from(index) + 1,
    };
    let counters = slots.filter_map(|index| port.counters(port.slot_at(index)?));
    counters.fold(Pending::default(), |sum, counters| Pending {
        rx: sum.rx + counters.queued_rx,
        tx: sum.tx + counters.queued_tx,
    })
}

fn end(port: &mut Running<'_>, whom: Whom, command: impl FnOnce(SlotId) -> Command<'static>) -> Result<Answer, Error> {
    pinned(port, whom)?;
    let slot = index(whom).and_then(|index| port.slot_at(index));
    let found = slot.is_some_and(|slot| port.command(command(slot)).is_ok());
    Ok(Answer { found, ..Answer::DONE })
}

/// The client that a call is about.
fn client(port: &Running<'_>, whom: Whom) -> Result<SlotId, Error> {
    pinned(port, whom)?;
    index(whom).and_then(|index| port.slot_at(index)).ok_or(Error::NotConnected)
}

/// Refuses a call that is about a client which has left.
fn pinned(port: &Running<'_>, whom: Whom) -> Result<(), Error> {
    match whom.client {
        Some(slot) if port.slot_at(slot.index()) != Some(slot) => Err(Error::Stale),
        Some(_) | None => Ok(()),
    }
}

/// The client that a call is about has left while it waited.
const fn gone(whom: Whom) -> Error {
    match whom.client {
        Some(_) => Error::Stale,
        None => Error::NotConnected,
    }
}

const fn index(whom: Whom) -> Option<u32> {
    match whom.addr {
        Addr::Port => None,
        Addr::Slot(index) => Some(index as u32),
    }
}

/// Lossless wherever queues of that size can exist.
fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
