//! One blocking call, on its way from a thread to the loop and back.
//!
//! A call *waits* on its thread until the loop has *answered* it. The thread alone watches the time: when that is over it
//! says so and waits on for the last word of the loop, so that no byte is given to a reader that has gone.

use super::Face;
use crate::services::port::error::Error;
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the loop writes down about a call that is under way.
pub(in crate::services::port) trait Notes: Debug + Default {
    /// A new call begins. Memory is kept for it.
    fn clear(&mut self);
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is none.
    Idle,
    /// The loop has not seen it.
    Asked,
    /// The loop knows of it.
    Waiting,
}

/// A call, and the buffer that it lends to the next one.
pub(in crate::services::port) struct Transfer<F: Face> {
    state: Mutex<State<F>>,
    answered: Condvar,
}

/// What the thread and the loop tell each other.
pub(in crate::services::port) struct State<F: Face> {
    phase: Phase,
    pub(in crate::services::port) ask: F::Ask,
    /// The thread can wait no longer: the next attempt is the last.
    pub(in crate::services::port) overdue: bool,
    /// It could have waited.
    pub(in crate::services::port) patient: bool,
    /// It only grows. A message, or room for what is read.
    pub(in crate::services::port) bytes: Vec<u8>,
    /// Bytes of the message, or the room of who reads, which may be more than any queue can fill.
    pub(in crate::services::port) len: usize,
    pub(in crate::services::port) notes: F::Notes,
    answer: Option<Result<F::Answer, Error>>,
}

impl<F: Face> Transfer<F> {
    pub(in crate::services::port) fn new(ask: F::Ask) -> Arc<Self> {
        let state = State {
            phase: Phase::Idle,
            ask,
            overdue: false,
            patient: false,
            bytes: Vec::new(),
            len: 0,
            notes: F::Notes::default(),
            answer: None,
        };
        Arc::new(Self { state: Mutex::new(state), answered: Condvar::new() })
    }

    pub(in crate::services::port) fn state(&self) -> MutexGuard<'_, State<F>> {
        // A panic under this lock ends the loop, or the thread that waits; no other call sees what is left.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a call. One that has an answer keeps it.
    pub(in crate::services::port) fn answer(&self, state: &mut State<F>, answer: Result<F::Answer, Error>) {
        if state.phase != Phase::Idle {
            state.phase = Phase::Idle;
            state.answer = Some(answer);
            self.answered.notify_one();
        }
    }

    /// Waits for the answer. At `end` the loop is asked, by `hurry`, for what it can say by then.
    pub(in crate::services::port) fn wait(
        &self,
        mut end: Option<Instant>,
        hurry: impl Fn(),
    ) -> Result<F::Answer, Error> {
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

impl<F: Face> State<F> {
    /// Begins a call that has no bytes.
    pub(in crate::services::port) fn begin(&mut self, ask: F::Ask, patient: bool) {
        self.phase = Phase::Asked;
        self.ask = ask;
        self.overdue = !patient;
        self.patient = patient;
        self.len = 0;
        self.notes.clear();
        self.answer = None;
    }

    /// The loop sees it. Whether that is for the first time.
    pub(super) fn arrive(&mut self) -> bool {
        let is_new = self.phase == Phase::Asked;
        if is_new {
            self.phase = Phase::Waiting;
        }
        is_new
    }

    pub(in crate::services::port) fn is_waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    /// Gives it a message.
    pub(in crate::services::port) fn put(&mut self, message: &[u8]) {
        self.reserve(message.len());
        self.bytes[..message.len()].copy_from_slice(message);
        self.len = message.len();
    }

    /// Sees to it that the buffer has so many bytes.
    pub(in crate::services::port) fn reserve(&mut self, len: usize) {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
    }
}
