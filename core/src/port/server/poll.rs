//! What the driver must do for one client: derived from its record, never queued.

use super::Output;
use super::client::{Ending, News, State};
use super::event::Event;
use super::place::Place;

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

impl Place<'_> {
    /// What comes next. This is the one place that decides whether a read or a transmit is due.
    pub(super) fn work(&self) -> Work {
        let client = &*self.client;
        if !client.news.is_empty() {
            return Work::Now(Task::Tell);
        }
        match client.state {
            State::Gone => return Work::Now(Task::Disconnect),
            State::Closing if !client.close_said => return Work::Now(Task::Close),
            State::Closing | State::Residue => return Work::Nothing,
            State::Open | State::PeerEnded | State::LocalEnded | State::Flushing => {}
        }
        let (rx_budget, tx_budget) = client.budget(self.turn, self.budget);
        let mut late = false;
        if client.sends() && client.offered == 0 && !client.tx.is_empty() && client.writable {
            match client.tx.len().min(tx_budget) {
                0 => late = true,
                len => return Work::Now(Task::Transmit { len }),
            }
        }
        let ends = match client.ending {
            Ending::Open => client.state == State::Flushing,
            Ending::Shutting => true,
            Ending::Shut => false,
        };
        if ends && client.tx.is_empty() {
            return Work::Now(Task::ShutdownWrite);
        }
        let room = if client.discards() { u32::MAX } else { client.rx.room(self.rx_capacity()) };
        if client.hears() && client.asked == 0 && client.readable && room > 0 {
            match room.min(rx_budget) {
                0 => late = true,
                max => return Work::Now(Task::Read { max }),
            }
        }
        if late { Work::NextTurn } else { Work::Nothing }
    }

    /// Hands a task to the driver.
    pub(super) fn start(&mut self, task: Task) -> Output {
        let slot = self.id;
        match task {
            Task::Tell => Output::Notify(self.tell()),
            Task::Disconnect => {
                let unsent = self.client.counters().unsent;
                let (reason, unread) = (self.reason(), self.client.unread);
                Output::Notify(Event::Disconnected { slot, reason, unread, unsent })
            }
            Task::Close => {
                self.client.close_said = true;
                Output::Close { slot, how: self.client.how }
            }
            Task::Transmit { len } => {
                self.client.offered = len;
                Output::Transmit { slot }
            }
            Task::ShutdownWrite => {
                self.output_ended();
                Output::ShutdownWrite { slot }
            }
            Task::Read { max } => {
                self.client.asked = max;
                Output::Read { slot, max: usize::try_from(max).unwrap_or(usize::MAX) }
            }
        }
    }

    /// The first event that is not told yet.
    fn tell(&mut self) -> Event {
        let slot = self.id;
        let mut is_next = |news| self.client.news.withdraw(news);
        if is_next(News::CONNECTED) {
            Event::Connected { slot, peer: self.client.peer }
        } else if is_next(News::DATA) {
            Event::DataReady { slot }
        } else if is_next(News::ENDED) {
            Event::InputEnded { slot }
        } else if is_next(News::LOST) {
            Event::Overflowed { slot, lost: core::mem::take(&mut self.client.lost).into() }
        } else if is_next(News::HIGH) {
            Event::HighWater { slot }
        } else {
            is_next(News::LOW);
            Event::LowWater { slot }
        }
    }
}
