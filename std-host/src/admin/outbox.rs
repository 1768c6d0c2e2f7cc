//! What an admin client has yet to take, and which clients there is room for.

use crate::event_loop::{Error, LoopMut, SocketId, Stream};
use std::cell::RefCell;
use std::collections::VecDeque;
use wharf_core::Instant;

/// What does not fit the queue of the socket. Who fills it sees to its bound.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<u8>,
}

impl Outbox {
    /// Sends, behind what waits.
    pub(super) fn push<T>(&mut self, stream: &mut Stream<'_, T>, bytes: &[u8]) -> Result<(), Error> {
        let taken = if self.waiting.is_empty() { stream.write(bytes)? } else { 0 };
        self.waiting.extend(&bytes[taken..]);
        Ok(())
    }

    /// Sends what waits, as far as there is room: for `writable`.
    pub(super) fn flush<T>(&mut self, stream: &mut Stream<'_, T>) -> Result<(), Error> {
        while let (first @ [_, ..], _) = self.waiting.as_slices() {
            match stream.write(first)? {
                0 => return Ok(()),
                taken => drop(self.waiting.drain(..taken)),
            }
        }
        // What a long reply needed goes back.
        self.waiting = VecDeque::new();
        Ok(())
    }

    /// Whether everything is in the queue of the socket.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that the client has yet to take.
    pub(super) fn len<T>(&self, stream: &Stream<'_, T>) -> usize {
        self.waiting.len() + stream.queued()
    }
}

/// The clients of one kind. Whoever comes gets in; if there is no room, the one that was quiet longest goes.
#[derive(Debug)]
pub(super) struct Guests {
    most: usize,
    /// With the time of their last sign of life.
    present: RefCell<Vec<(SocketId, Instant)>>,
}

impl Guests {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, present: RefCell::new(Vec::new()) }
    }

    pub(super) fn welcome<T>(&self, lp: &mut LoopMut<'_, T>, guest: SocketId) {
        let mut present = self.present.borrow_mut();
        if present.len() >= self.most
            && let Some(quiet) = (0..present.len()).min_by_key(|index| present[*index].1)
        {
            let (quiet, _) = present.remove(quiet);
            // One that is about to close anyway needs no push.
            let _ = lp.stream(quiet).map(|mut stream| stream.abort());
        }
        present.push((guest, lp.now()));
    }

    /// A guest has asked for something, or taken something.
    pub(super) fn heard(&self, guest: SocketId, now: Instant) {
        if let Some(present) = self.present.borrow_mut().iter_mut().find(|(id, _)| *id == guest) {
            present.1 = now;
        }
    }

    pub(super) fn gone(&self, guest: SocketId) {
        self.present.borrow_mut().retain(|(id, _)| *id != guest);
    }
}
