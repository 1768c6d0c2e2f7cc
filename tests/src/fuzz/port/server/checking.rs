//! What must hold whenever the port waits, and at the end.

use super::Rig;
use crate::naive::port::framing::Read;
use crate::naive::port::server as naive;
use core::time::Duration;
use wharf_core::port::server::{Command, Next, OnClose, SlotOption};
use wharf_core::{Machine, Step};

impl Rig {
    /// What a reader gets next, which both must say alike.
    pub(super) fn piece(&mut self, index: u32, room: usize, timed_out: bool) -> Option<Next> {
        if room == 0 {
            return None;
        }
        let next = self.server.piece(index, room, timed_out);
        let expected = self.model.piece(index, room, timed_out);
        let shown = match next {
            Next::Piece(piece) => {
                let bytes =
                    self.server.id_at(index).map(|slot| self.server.received(slot).concat()).unwrap_or_default();
                let bytes = bytes[..piece.len].to_vec();
                naive::Next::Piece(Read { bytes, removed: piece.skip, eom: piece.eom.bits() })
            }
            Next::Wait => naive::Next::Wait,
            Next::NotConnected => naive::Next::NotConnected,
        };
        assert_eq!(shown, expected, "what a reader of slot {index} with room for {room} gets");
        Some(next)
    }

    /// What holds whenever the port waits.
    pub(super) fn check(&mut self) {
        assert_eq!(self.server.poll_output(), Step::Wait(self.deadline), "drained, and polled again");
        if let Err(wrong) = self.model.rest() {
            panic!("drained, but {wrong}");
        }
        if let Some(by) = self.model.deadline().filter(|by| *by > self.now) {
            assert!(self.deadline.is_some_and(|deadline| deadline <= by), "{:?} is later than {by:?}", self.deadline);
        }
        assert_eq!(self.server.is_up(), self.model.is_up());
        for index in 0..=u32::from(self.slots) {
            let id = self.server.id_at(index);
            assert_eq!(id, self.model.id_at(index), "who sits in slot {index}");
            // The naive reader looks at every byte each time.
            let is_long =
                id.is_some_and(|slot| self.server.received(slot).iter().map(|part| part.len()).sum::<usize>() > 500);
            let rooms = if is_long { &[][..] } else { &[1, 7, usize::MAX] };
            for &room in rooms {
                self.piece(index, room, false);
                self.piece(index, room, true);
            }
            let Some(slot) = id else { continue };
            assert_eq!(self.server.state(slot), self.model.state(slot), "state of {slot}");
            assert_eq!(self.server.peer(slot), self.model.peer(slot), "peer of {slot}");
            assert_eq!(self.server.received(slot).concat(), self.model.received(slot), "unread bytes of {slot}");
            let counters = self.server.counters(slot).expect("whoever is there is counted");
            assert_eq!(Some(counters), self.model.counters(slot), "counters of {slot}");
            let kept = counters.consumed + counters.flushed + counters.unread + counters.queued_rx;
            assert_eq!(counters.received, kept, "bytes in of {slot}");
            let left = counters.sent + counters.unsent + counters.dropped + counters.queued_tx;
            assert_eq!(counters.accepted, left, "bytes out of {slot}");
            assert_eq!(self.server.room(slot), self.model.room(slot), "room for {slot}");
        }
        for &slot in self.gone.iter().rev().take(3) {
            assert_eq!(self.server.state(slot), None);
            assert_eq!(self.server.counters(slot), None);
            assert!(self.server.received(slot).concat().is_empty() && self.server.transmit(slot).concat().is_empty());
        }
    }

    /// Every client leaves within bounded time, and the port goes down.
    pub(super) fn finish(&mut self) {
        (self.manner.postpones, self.manner.open_fails) = (false, false);
        (self.manner.most_read, self.manner.most_written) = (usize::MAX, usize::MAX);
        let _taken = self.ask(Command::Set { index: None, option: SlotOption::Linger(1000) });
        let _taken = self.ask(Command::Set { index: None, option: SlotOption::Unread(1000) });
        let _taken = self.ask(Command::Close(OnClose::Drop));
        self.settle();
        // What a peer has sent is thrown away by the budget of a turn.
        for _ in 0..5000 {
            while !self.pending.is_empty() {
                self.resolve(0, false);
                self.settle();
            }
            if self.yielded {
                // Turns take time, so that `linger` ends what has more than so many turns would bring.
                self.pass_until(self.now.saturating_add(Duration::from_millis(1)));
                self.turn();
            } else if let Some(deadline) = self.deadline {
                self.now = self.now.max(deadline);
            } else {
                break;
            }
            self.settle();
        }
        for index in 0..u32::from(self.slots) {
            assert_eq!(self.server.id_at(index), None, "everybody has left");
        }
        assert!(!self.server.is_up());
        assert_eq!(self.deadline, None, "a port that is down waits for nothing");
        assert!(self.kernel.sockets.is_empty() && self.kernel.waiting.is_none(), "every descriptor is released");
    }
}
