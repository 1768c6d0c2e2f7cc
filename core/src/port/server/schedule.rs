//! Which slots have something to do, the one that was served least recently first.
//!
//! Two lists go through the seats: *due* in this turn, and *later*, whose slots have used up what one may move in a turn.
//! A slot is in one of them at most, and in one of them whenever something is to be done for it.

use super::storage::Seat;

/// The neighbours of a slot in its list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    prev: u32,
    next: u32,
    list: Option<Turn>,
}

impl Link {
    pub(super) const NONE: Self = Self { prev: NIL, next: NIL, list: None };
}

/// When a slot is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    This,
    Next,
}

/// The two lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    due: List,
    later: List,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

impl Schedule {
    pub(super) const EMPTY: Self = Self { due: List::EMPTY, later: List::EMPTY };

    /// The slot to look at next.
    pub(super) const fn first(&self) -> Option<u32> {
        if self.due.first == NIL { None } else { Some(self.due.first) }
    }

    /// Whether a slot has something to do in the next turn.
    pub(super) const fn is_late(&self) -> bool {
        self.later.first != NIL
    }

    /// Puts a slot at the end of a list, unless it is in that one already.
    pub(super) fn add(&mut self, seats: &mut [Seat], index: u32, turn: Turn) {
        match link(seats, index) {
            Some(Link { list, .. }) if *list == Some(turn) => return,
            Some(_) => self.remove(seats, index),
            None => return,
        }
        let list = match turn {
            Turn::This => &mut self.due,
            Turn::Next => &mut self.later,
        };
        let prev = core::mem::replace(&mut list.last, index);
        match link(seats, prev) {
            Some(before) => before.next = index,
            None => list.first = index,
        }
        if let Some(link) = link(seats, index) {
            *link = Link { prev, next: NIL, list: Some(turn) };
        }
    }

    /// The slot that is looked at next is the last of those that are due now.
    pub(super) fn rotate(&mut self, seats: &mut [Seat]) {
        let first = self.due.first;
        if first != self.due.last {
            self.remove(seats, first);
            self.add(seats, first, Turn::This);
        }
    }

    /// Takes a slot out of the list that it is in.
    pub(super) fn remove(&mut self, seats: &mut [Seat], index: u32) {
        let Some(place) = link(seats, index) else { return };
        let Link { prev, next, list } = core::mem::replace(place, Link::NONE);
        let list = match list {
            Some(Turn::This) => &mut self.due,
            Some(Turn::Next) => &mut self.later,
            None => return,
        };
        match link(seats, prev) {
            Some(before) => before.next = next,
            None => list.first = next,
        }
        match link(seats, next) {
            Some(after) => after.prev = prev,
            None => list.last = prev,
        }
    }

    /// The next turn has come: whoever waited for it is due, behind those that still are. The first of them comes last, so
    /// that among slots which are always busy another one is the first in every turn.
    pub(super) fn turn(&mut self, seats: &mut [Seat]) {
        let first = self.later.first;
        self.remove(seats, first);
        while self.later.first != NIL {
            self.add(seats, self.later.first, Turn::This);
        }
        self.add(seats, first, Turn::This);
    }
}

impl List {
    const EMPTY: Self = Self { first: NIL, last: NIL };
}

/// No slot.
const NIL: u32 = u32::MAX;

fn link(seats: &mut [Seat], index: u32) -> Option<&mut Link> {
    seats.get_mut(usize::try_from(index).ok()?).map(|seat| &mut seat.link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn drain(schedule: &mut Schedule, seats: &mut [Seat]) -> Vec<u32> {
        let mut order = Vec::new();
        while let Some(first) = schedule.first() {
            schedule.remove(seats, first);
            order.push(first);
        }
        order
    }

    #[test]
    fn slots_come_in_the_order_in_which_they_became_due_and_once_each() {
        let (mut schedule, mut seats) = (Schedule::EMPTY, [Seat::EMPTY; 5]);
        for index in [3, 1, 3, 4, 0, 1] {
            schedule.add(&mut seats, index, Turn::This);
        }
        schedule.remove(&mut seats, 4);
        schedule.remove(&mut seats, 2);
        schedule.add(&mut seats, 9, Turn::This);
        schedule.rotate(&mut seats);
        assert_eq!(drain(&mut schedule, &mut seats), [1, 0, 3]);
        schedule.rotate(&mut seats);
        schedule.add(&mut seats, 2, Turn::This);
        schedule.rotate(&mut seats);
        assert_eq!(drain(&mut schedule, &mut seats), [2]);
        assert_eq!(drain(&mut schedule, &mut seats), []);
    }

    #[test]
    fn what_waits_for_the_next_turn_comes_behind_what_is_due() {
        let (mut schedule, mut seats) = (Schedule::EMPTY, [Seat::EMPTY; 5]);
        for (index, turn) in [(0, Turn::Next), (1, Turn::This), (2, Turn::Next), (2, Turn::This), (4, Turn::Next)] {
            schedule.add(&mut seats, index, turn);
        }
        assert!(schedule.is_late());
        schedule.turn(&mut seats);
        assert!(!schedule.is_late());
        assert_eq!(drain(&mut schedule, &mut seats), [1, 2, 4, 0]);
    }
}
