//! One blocking call, on its way from a thread to the loop and back.
//!
//! A call *waits* on its thread until the loop has *answered* it. The thread alone watches the time: when that is over it
//! says so and waits on for the last word of the loop, so that no byte is given to a reader that has gone.

use crate::services::port::error::Error;
use crate::services::port::running::Addr;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{OnClose, Outcome};
use wharf_core::slots::SlotId;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whom {
    pub(super) addr: Addr,
    /// Exactly this client.
    pub(super) client: Option<SlotId>,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Connect,
    Disconnect(OnClose),
    Read(Whom),
    Write(Whom),
    Broadcast,
    Drain(Whom),
    ShutDown(Whom),
    Flush(Whom),
    Drop(Whom),
    Abort(Whom),
    AwaitClient(Whom),
    Who(Whom),
    Pending(Whom),
}

impl Ask {
    /// What it is about; `None` if that can only be the whole port.
    pub(super) const fn whom(self) -> Option<Whom> {
        match self {
            Self::Connect | Self::Disconnect(_) | Self::Broadcast => None,
            Self::Read(whom)
            | Self::Write(whom)
            | Self::Drain(whom)
            | Self::ShutDown(whom)
            | Self::Flush(whom)
            | Self::Drop(whom)
            | Self::Abort(whom)
            | Self::AwaitClient(whom)
            | Self::Who(whom)
            | Self::Pending(whom) => Some(whom),
        }
    }

    /// Whether its first attempt is its last.
    pub(super) const fn is_instant(self) -> bool {
        match self {
            Self::ShutDown(_) | Self::Flush(_) | Self::Drop(_) | Self::Abort(_) | Self::Who(_) | Self::Pending(_) => {
                true
            }
            Self::Connect
            | Self::Disconnect(_)
            | Self::Read(_)
            | Self::Write(_)
            | Self::Broadcast
            | Self::Drain(_)
            | Self::AwaitClient(_) => false,
        }
    }
}

/// What the loop says. Each call has its own part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Bytes that were read, or discarded.
    pub(super) len: usize,
    pub(super) eom: Eom,
    /// Whose they are, or who is there.
    pub(super) slot: Option<SlotId>,
    pub(super) peer: Option<SocketAddr>,
    /// Whether somebody was there.
    pub(super) found: bool,
    pub(super) pending: Pending,
}

impl Answer {
    /// There is nothing to say.
    pub(super) const DONE: Self =
        Self { len: 0, eom: Eom::NONE, slot: None, peer: None, found: false, pending: Pending { rx: 0, tx: 0 } };
}

/// Bytes that wait in the queues of a slot, or of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Received and unread.
    pub rx: u64,
    /// Queued and not taken by the system.
    pub tx: u64,
}

/// What has become of a message for all, for one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Whom it is for, who may have left meanwhile. `None` if nobody was there.
    pub(super) client: Option<SlotId>,
    /// [`Outcome::Full`] and [`Outcome::Partial`] as long as it waits.
    pub(super) outcome: Outcome,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none.
    Idle,
    /// The loop has not seen it.
    Asked,
    /// The loop knows of it.
    Waiting,
}

/// A call, and the buffer that it lends to the next one.
#[derive(Debug)]
pub(super) struct Transfer {
    state: Mutex<State>,
    answered: Condvar,
}

/// What the thread and the loop tell each other.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) ask: Ask,
    /// The thread can wait no longer: the next attempt is the last.
    pub(super) overdue: bool,
    /// It could have waited.
    pub(super) patient: bool,
    /// It only grows. A message, or room for what is read.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the message, or the room of who reads, which may be more than any queue can fill.
    pub(super) len: usize,
    /// Bytes of the message that are queued.
    pub(super) done: usize,
    /// Whose bytes these are, or whose output is drained, since the first attempt.
    pub(super) client: Option<SlotId>,
    /// A drain: what its client must have sent, or the first slot that has not been seen empty.
    pub(super) mark: u64,
    /// A message for all: its slots, and how many of them it waits for.
    pub(super) shares: Vec<Share>,
    pub(super) awaited: usize,
    answer: Option<Result<Answer, Error>>,
}

impl Transfer {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            phase: Phase::Idle,
            ask: Ask::Connect,
            overdue: false,
            patient: false,
            bytes: Vec::new(),
            len: 0,
            done: 0,
            client: None,
            mark: 0,
            shares: Vec::new(),
            awaited: 0,
            answer: None,
        };
        Arc::new(Self { state: Mutex::new(state), answered: Condvar::new() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under this lock ends the loop, or the thread that waits; no other call sees what is left.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a call. One that has an answer keeps it.
    pub(super) fn answer(&self, state: &mut State, answer: Result<Answer, Error>) {
        if state.phase != Phase::Idle {
            state.phase = Phase::Idle;
            state.answer = Some(answer);
            self.answered.notify_one();
        }
    }

    /// Waits for the answer. At `end` the loop is asked, by `hurry`, for what it can say by then.
    pub(super) fn wait(&self, mut end: Option<Instant>, hurry: impl Fn()) -> Result<Answer, Error> {
        let mut state = self.state();
        loop {
            if let Some(answer) = state.answer.take() {
                return answer;
            }
            let Some(at) = end else {
                state = self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                state = self.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                end = None;
                state.overdue = true;
                drop(state);
                hurry();
                state = self.state();
            }
        }
    }
}

impl State {
    /// Begins a call that has no bytes.
    pub(super) fn begin(&mut self, ask: Ask, patient: bool) {
        self.phase = Phase::Asked;
        self.ask = ask;
        self.overdue = !patient;
        self.patient = patient;
        self.len = 0;
        self.done = 0;
        self.client = None;
        self.mark = 0;
        self.shares.clear();
        self.awaited = 0;
        self.answer = None;
    }

    /// Whether a message for all is to go to this slot and has not gone there whole.
    pub(super) fn awaits(&self, index: u32) -> bool {
        let share = self.shares.get(index as usize);
        share.is_some_and(|share| matches!(share.outcome, Outcome::Full | Outcome::Partial { .. }))
    }

    /// Whether some of a message is queued for this slot, and not all.
    pub(super) fn has_begun(&self, index: u32) -> bool {
        match self.shares.get(index as usize) {
            Some(share) => matches!(share.outcome, Outcome::Partial { .. }),
            None => self.done > 0,
        }
    }

    /// Gives it a message.
    pub(super) fn put(&mut self, message: &[u8]) {
        self.reserve(message.len());
        self.bytes[..message.len()].copy_from_slice(message);
        self.len = message.len();
    }

    /// Sees to it that the buffer has so many bytes.
    pub(super) fn reserve(&mut self, len: usize) {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
    }
}
