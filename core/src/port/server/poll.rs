//! What the driver must do for one client: derived from its record, never queued.

use super::Output;
use super::client::{Client, Ending, News, State};
use super::event::Event;
use crate::slots::SlotId;

/// What is to be done for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Something, in this turn.
    Now(Task),
    /// Something, but only in the next turn.
    NextTurn,
    /// Nothing until something happens.
    Nothing,
}

/// One thing to do for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Tell,
    Disconnect,
    Close,
    Transmit { len: u32 },
    ShutdownWrite,
    Read { max: u32 },
}

/// What a client may do in this turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The number of the turn.
    pub(super) turn: u16,
    /// Bytes that a slot may move in each direction in a turn.
    pub(super) budget: u32,
    /// Bytes of a receive queue.
    pub(super) rx_queue: u32,
}

impl Client {
    /// What comes next. This is the one place that decides whether a read or a transmit is due.
    #[inline]
    pub(super) fn work(&self, bounds: Bounds) -> Work {
        if !self.news.is_empty() {
            return Work::Now(Task::Tell);
        }
        match self.state {
            State::Gone => return Work::Now(Task::Disconnect),
            State::Closing if !self.close_said => return Work::Now(Task::Close),
            State::Closing | State::Residue => return Work::Nothing,
            State::Open | State::PeerEnded | State::LocalEnded | State::Flushing => {}
        }
        let (rx_budget, tx_budget) = self.budget(bounds.turn, bounds.budget);
        let mut late = false;
        if self.sends() && self.offered == 0 && !self.tx.is_empty() && self.writable {
            match self.tx.len().min(tx_budget) {
                0 => late = true,
                len => return Work::Now(Task::Transmit { len }),
            }
        }
        let ends = match self.ending {
            Ending::Open => self.state == State::Flushing,
            Ending::Shutting => true,
            Ending::Shut => false,
        };
        if ends && self.tx.is_empty() {
            return Work::Now(Task::ShutdownWrite);
        }
        let room = if self.discards() { u32::MAX } else { self.rx.room(bounds.rx_queue) };
        if self.hears() && self.asked == 0 && self.readable && room > 0 {
            match room.min(rx_budget) {
                0 => late = true,
                max => return Work::Now(Task::Read { max }),
            }
        }
        if late { Work::NextTurn } else { Work::Nothing }
    }

    /// Hands a task to the driver.
    #[inline]
    pub(super) fn start(&mut self, slot: SlotId, task: Task) -> Output {
        match task {
            Task::Tell => Output::Notify(self.tell(slot)),
            Task::Disconnect => {
                let unsent = self.counters().unsent;
                let (reason, unread) = (self.reason(), self.unread);
                Output::Notify(Event::Disconnected { slot, reason, unread, unsent })
            }
            Task::Close => {
                self.close_said = true;
                Output::Close { slot, how: self.how }
            }
            Task::Transmit { len } => {
                self.offered = len;
                Output::Transmit { slot }
            }
            Task::ShutdownWrite => Output::ShutdownWrite { slot },
            Task::Read { max } => {
                self.asked = max;
                Output::Read { slot, max: usize::try_from(max).unwrap_or(usize::MAX) }
            }
        }
    }

    /// The first event that is not told yet.
    fn tell(&mut self, slot: SlotId) -> Event {
        let mut is_next = |news| self.news.withdraw(news);
        if is_next(News::CONNECTED) {
            Event::Connected { slot, peer: self.peer }
        } else if is_next(News::DATA) {
            Event::DataReady { slot }
        } else if is_next(News::ENDED) {
            Event::InputEnded { slot }
        } else if is_next(News::LOST) {
            Event::Overflowed { slot, lost: core::mem::take(&mut self.lost).into() }
        } else if is_next(News::HIGH) {
            Event::HighWater { slot }
        } else {
            is_next(News::LOW);
            Event::LowWater { slot }
        }
    }
}
