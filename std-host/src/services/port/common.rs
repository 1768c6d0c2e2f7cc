//! What a port and its handles have a share in, on whatever thread they are.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The part of a port that any thread may look at.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) name: String,
    pub(super) slots: u32,
    /// Bytes of each slot's receive queue.
    pub(super) rx_queue: usize,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    local: Option<SocketAddr>,
    /// Why the port is not up, for people.
    failure: Option<String>,
}

impl Common {
    pub(super) fn new(name: &str, slots: u32, rx_queue: usize) -> Self {
        Self { name: name.to_owned(), slots, rx_queue, told: Mutex::default() }
    }

    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.told().local
    }

    pub(super) fn set_local(&self, local: Option<SocketAddr>) {
        let mut told = self.told();
        told.local = local;
        if local.is_some() {
            told.failure = None;
        }
    }

    /// Why the port could not be opened the last time, if it could not.
    pub(super) fn failure(&self) -> Option<String> {
        self.told().failure.clone()
    }

    /// The port could not be opened. Whether that is news: a port that tries again and again fails in one way most often.
    pub(super) fn set_failure(&self, failure: String) -> bool {
        let failure = Some(failure);
        std::mem::replace(&mut self.told().failure, failure.clone()) != failure
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // A panic under this lock leaves both values whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
