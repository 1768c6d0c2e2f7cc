//! Signals: a flag for each, and a pipe that ends the poll.

use crate::event_loop::Signal;
use mio::{Interest, Registry, Token};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signals that a loop watches. Dropping it gives them back.
pub(super) struct Signals {
    pipe: mio::net::UnixStream,
    /// Duplicated for every signal that is watched.
    sender: UnixStream,
    watched: Vec<(Signal, Arc<AtomicBool>, Vec<signal_hook::SigId>)>,
    /// The pipe has reported something: flags may be up.
    pub(super) pending: bool,
}

impl Signals {
    pub(super) fn new(registry: &Registry, name: Token) -> io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        let mut pipe = mio::net::UnixStream::from_std(receiver);
        registry.register(&mut pipe, name, Interest::READABLE)?;
        Ok(Self { pipe, sender, watched: Vec::new(), pending: false })
    }

    pub(super) fn watch(&mut self, signal: Signal) -> io::Result<()> {
        if self.watched.iter().all(|(known, ..)| *known != signal) {
            let arrived = Arc::new(AtomicBool::new(false));
            // Actions run in the order of their registration: the flag stands before the poll ends.
            let flag = signal_hook::flag::register(signal.number(), Arc::clone(&arrived))?;
            let sender = self.sender.try_clone()?;
            let wake = signal_hook::low_level::pipe::register(signal.number(), sender)?;
            self.watched.push((signal, arrived, vec![flag, wake]));
        }
        Ok(())
    }

    /// The next signal that has arrived.
    pub(super) fn next(&mut self) -> Option<Signal> {
        if !self.pending {
            return None;
        }
        // Emptied before the flags are looked at: a signal that comes after that makes a new edge.
        let mut scrap = [0; 64];
        while matches!(self.pipe.read(&mut scrap), Ok(1..)) {}
        let arrived = self.watched.iter().find(|(_, arrived, _)| arrived.swap(false, Ordering::AcqRel));
        self.pending = arrived.is_some();
        arrived.map(|(signal, ..)| *signal)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (.., actions) in &self.watched {
            for action in actions {
                signal_hook::low_level::unregister(*action);
            }
        }
    }
}
