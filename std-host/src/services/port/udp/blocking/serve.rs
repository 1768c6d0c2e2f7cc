//! What is tried for a call of a UDP port, each time that something has happened.

use super::ask::{Answer, Ask, State};
use crate::services::port::udp::running::RunningUdp;
use crate::services::port::{Addr, Error};
use wharf_core::port::datagrams::Outcome;

/// What an attempt came to.
pub(super) enum Tried {
    Answered(Result<Answer, Error>),
    /// It may wait; if its time is over, this is what is said.
    Later(Error),
}

/// Notes what a call is about at the time when it is made.
pub(super) fn begin(port: &RunningUdp<'_>, state: &mut State) {
    if state.ask == Ask::Write {
        state.notes.to = port.last_read();
    } else if state.ask == Ask::Drain {
        state.notes.end = port.outgoing().end;
    }
}

/// Does what a call asks for, as far as that can be done now.
pub(super) fn attempt(port: &mut RunningUdp<'_>, state: &mut State) -> Tried {
    let tried = match state.ask {
        Ask::Connect => port.local_addr().map(|_| Answer::DONE).ok_or(Error::WouldBlock),
        Ask::Disconnect if port.is_releasing() => Err(Error::WouldBlock),
        Ask::Disconnect => Ok(Answer::DONE),
        Ask::Read => read(port, state),
        Ask::Write => write(port, state),
        Ask::Reply(peer) => port.reply(peer, &state.bytes[..state.len]).map(|()| Answer::DONE),
        Ask::Broadcast => broadcast(port, state),
        Ask::Drain => drain(port, state),
        Ask::Flush => port.flush(Addr::Port).map(|len| Answer { len, ..Answer::DONE }),
        Ask::Leave => {
            port.leave();
            Ok(Answer::DONE)
        }
        Ask::Peer => Ok(Answer { peer: port.last_read(), ..Answer::DONE }),
        Ask::Pending => Ok(Answer { pending: port.pending(), ..Answer::DONE }),
    };
    match tried {
        Err(Error::WouldBlock) => {
            let bytes = if state.ask == Ask::Drain { port.pending().tx } else { 0 };
            Tried::Later(Error::Timeout { bytes })
        }
        Err(error @ Error::Full { .. }) => Tried::Later(error),
        answer => Tried::Answered(answer),
    }
}

/// The answer to a call whose time is over with others ahead of it. A datagram for all tells what became of it all the same.
pub(super) fn behind(port: &mut RunningUdp<'_>, state: &mut State) -> Result<Answer, Error> {
    match state.ask {
        Ask::Broadcast => broadcast(port, state),
        Ask::Write | Ask::Reply(_) => Err(Error::Full { room: 0 }),
        Ask::Connect
        | Ask::Disconnect
        | Ask::Read
        | Ask::Drain
        | Ask::Flush
        | Ask::Leave
        | Ask::Peer
        | Ask::Pending => Err(Error::Timeout { bytes: 0 }),
    }
}

/// The answer to a call that waits at a port which goes down; `None` if it waits for something else.
pub(super) fn down(state: &State, why: Option<&str>) -> Option<Result<Answer, Error>> {
    match state.ask {
        Ask::Read | Ask::Drain => Some(Err(Error::NotConnected)),
        Ask::Broadcast if state.notes.is_shared => Some(Ok(Answer::DONE)),
        Ask::Write | Ask::Reply(_) | Ask::Broadcast => Some(Err(Error::PortDown { why: why.map(str::to_owned) })),
        Ask::Connect | Ask::Disconnect | Ask::Flush | Ask::Leave | Ask::Peer | Ask::Pending => None,
    }
}

fn read(port: &mut RunningUdp<'_>, state: &mut State) -> Result<Answer, Error> {
    let read = port.read(Addr::Port, &mut state.bytes[..state.len])?;
    Ok(Answer { len: read.len, eom: read.eom, from: read.from, ..Answer::DONE })
}

fn write(port: &mut RunningUdp<'_>, state: &mut State) -> Result<Answer, Error> {
    let bytes = &state.bytes[..state.len];
    match state.notes.to {
        Some(peer) => port.reply(peer, bytes)?,
        // There was nobody when the call was made.
        None => port.write(Addr::Slot(0), bytes).map(|_| ())?,
    }
    Ok(Answer::DONE)
}

/// Queues a datagram for all: for whom there is room at once, then for the others in their order.
fn broadcast(port: &mut RunningUdp<'_>, state: &mut State) -> Result<Answer, Error> {
    let (bytes, notes) = (&state.bytes[..state.len], &mut state.notes);
    if !notes.is_shared {
        port.share(bytes, &mut notes.outcomes)?;
        notes.is_shared = true;
    }
    for (peer, outcome) in notes.outcomes.iter_mut().filter(|(_, outcome)| *outcome == Outcome::Full) {
        match port.reply(*peer, bytes) {
            Ok(()) => *outcome = Outcome::Queued,
            Err(error @ Error::Full { .. }) if !state.overdue => return Err(error),
            Err(_) => return Ok(Answer::DONE),
        }
    }
    Ok(Answer::DONE)
}

fn drain(port: &RunningUdp<'_>, state: &State) -> Result<Answer, Error> {
    if port.local_addr().is_none() {
        return Err(Error::NotConnected);
    }
    if port.outgoing().start < state.notes.end { Err(Error::WouldBlock) } else { Ok(Answer::DONE) }
}
