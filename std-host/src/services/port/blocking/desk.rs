//! The calls that wait, on the loop.
//!
//! Readers of a slot stand in one line and writers in another, and only the first of a line is served; so bytes come to
//! readers in the order of their calls, and no message begins before the one ahead of it is queued whole. Whatever happens
//! to a slot *touches* it. Once the machine has nothing more to do, the lines of the slots that were touched are served,
//! and of no others: a port with thousands of readers that wait looks at the few for which there is something.

use super::ask::{Answer, Ask, State, Transfer};
use super::serve::{self, Tried};
use crate::services::port::calls::{self, Arrivals, Calls, Places, is_first};
use crate::services::port::error::Error;
use crate::services::port::running::{Addr, Running};
use crate::services::port::site::Site;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

type Queue = calls::Line<Site>;

/// The calls of a port that its loop has seen and not answered.
pub(in crate::services::port) struct Desk {
    arrivals: Arrivals<Site>,
    lines: RefCell<Lines>,
    /// Without any that is taken nothing need be touched.
    places: Places,
    marks: Box<[Mark]>,
    /// Slots whose first writer has begun its message.
    begun: Cell<usize>,
    touched: RefCell<Vec<u32>>,
    port_touched: Cell<bool>,
}

#[derive(Default)]
struct Lines {
    /// Slots for which a call has ever waited.
    slots: HashMap<u32, Line>,
    /// Calls about the whole port. They do not get in each other's way.
    port: Queue,
}

#[derive(Default)]
struct Line {
    readers: Queue,
    writers: Queue,
    /// They do not get in each other's way either.
    others: Queue,
}

/// What is known of a slot without looking into its lines.
#[derive(Debug, Default)]
struct Mark {
    touched: Cell<bool>,
    begun: Cell<bool>,
}

impl Desk {
    pub(in crate::services::port) fn new(slots: usize) -> Self {
        Self {
            arrivals: Arrivals::new(),
            lines: RefCell::default(),
            places: Places::default(),
            marks: std::iter::repeat_with(Mark::default).take(slots).collect(),
            begun: Cell::new(0),
            touched: RefCell::default(),
            port_touched: Cell::new(false),
        }
    }

    pub(in crate::services::port) const fn calls(&self) -> &Arc<Calls<Site>> {
        self.arrivals.calls()
    }

    /// How many places in lines are taken.
    pub(in crate::services::port) const fn waiting(&self) -> usize {
        self.places.taken()
    }

    /// Something has happened to a slot.
    pub(in crate::services::port) fn touch(&self, index: u32) {
        if self.places.taken() == 0 {
            return;
        }
        self.port_touched.set(true);
        if self.marks.get(index as usize).is_some_and(|mark| !mark.touched.replace(true)) {
            self.touched.borrow_mut().push(index);
        }
    }

    /// Something has happened to every slot.
    pub(in crate::services::port) fn touch_all(&self) {
        (0..).zip(&self.marks).for_each(|(index, _)| self.touch(index));
    }

    /// The port is open.
    pub(in crate::services::port) fn opened(&self) {
        self.port_touched.set(true);
    }

    /// The port could not be opened, or is not to be any more: who waits for it need not wait longer.
    pub(in crate::services::port) fn not_opened(&self, why: Option<&str>) {
        self.places.retain(&mut self.lines.borrow_mut().port, |transfer| {
            let mut state = transfer.state();
            let waits = state.ask == Ask::Connect;
            if waits {
                transfer.answer(&mut state, Err(Error::PortDown { why: why.map(str::to_owned) }));
            }
            !waits
        });
    }

    /// Whether a message for this slot is queued in part: no other may come between.
    pub(in crate::services::port) fn has_begun(&self, index: u32) -> bool {
        self.marks.get(index as usize).is_some_and(|mark| mark.begun.get())
    }

    /// Whether any message is.
    pub(in crate::services::port) const fn has_begun_any(&self) -> bool {
        self.begun.get() > 0
    }

    /// Sees to the calls that have just come. They are answered by [`Desk::serve`] at the earliest.
    pub(in crate::services::port) fn receive(&self, port: &mut Running<'_>) {
        self.arrivals.receive(|transfer, state, is_late| {
            if is_late {
                self.finish(transfer, state);
            } else {
                self.begin(port, transfer, state);
            }
        });
    }

    /// Serves whoever waits for what was touched. Whether the machine may have something to do then.
    #[inline]
    pub(in crate::services::port) fn serve(&self, site: &Site) -> bool {
        // Whatever touches a slot touches the port.
        self.port_touched.get() && self.serve_touched(site)
    }

    fn serve_touched(&self, site: &Site) -> bool {
        let mut served = false;
        loop {
            let next = self.touched.borrow_mut().pop();
            let Some(index) = next else { break };
            if let Some(mark) = self.marks.get(index as usize) {
                mark.touched.set(false);
            }
            if let Some(line) = self.lines.borrow_mut().slots.get_mut(&index) {
                served |= self.serve_line(&mut site.running(), index, line);
            }
        }
        if self.port_touched.take() {
            served |= self.serve_port(&mut site.running(), &mut self.lines.borrow_mut().port);
        }
        served
    }

    /// The loop has ended, and with it every call.
    pub(in crate::services::port) fn end(&self) {
        let mut all = Queue::new();
        // Only a panic leaves them in use.
        if let Ok(mut lines) = self.lines.try_borrow_mut() {
            all.append(&mut lines.port);
            for Line { readers, writers, others } in lines.slots.values_mut() {
                all.extend(readers.drain(..).chain(writers.drain(..)).chain(others.drain(..)));
            }
        }
        self.arrivals.end(all);
    }

    /// A call begins.
    fn begin(&self, port: &mut Running<'_>, transfer: &Arc<Transfer>, state: &mut State) {
        if state.ask == Ask::Connect {
            port.connect();
        } else if let Ask::Disconnect(clients) = state.ask {
            port.disconnect(clients);
        } else if state.ask == Ask::Broadcast {
            return self.begin_broadcast(port, transfer, state);
        } else if state.ask.is_instant() {
            try_one(port, transfer, state);
            return;
        }
        let mut lines = self.lines.borrow_mut();
        let Place { line, index, alone } = lines.place(state.ask);
        if state.overdue && !alone && !line.is_empty() {
            let answer = serve::too_late(port, state);
            return transfer.answer(state, answer);
        }
        self.places.join(line, transfer);
        self.touch_place(index);
    }

    /// A message for all begins: it is queued wherever nobody is ahead of it and there is room.
    fn begin_broadcast(&self, port: &mut Running<'_>, transfer: &Arc<Transfer>, state: &mut State) {
        if let Err(error) = serve::begin_broadcast(port, state) {
            return transfer.answer(state, Err(error));
        }
        let mut lines = self.lines.borrow_mut();
        for index in 0..port.slots() {
            if !state.notes.awaits(index) {
                continue;
            }
            let is_first = lines.slots.get(&index).is_none_or(|line| line.writers.is_empty());
            if is_first && !serve::share(port, state, index) {
                continue;
            }
            state.notes.awaited += 1;
            if !state.overdue {
                let line = lines.slots.entry(index).or_default();
                self.places.join(&mut line.writers, transfer);
                if is_first {
                    self.mark_begun(index, state.notes.has_begun(index));
                }
            }
        }
        if state.notes.awaited == 0 || state.overdue {
            transfer.answer(state, Ok(Answer::DONE));
        }
    }

    /// The time of a call is over.
    fn finish(&self, transfer: &Arc<Transfer>, state: &mut State) {
        let mut lines = self.lines.borrow_mut();
        if state.ask == Ask::Broadcast {
            for (index, _) in (0..).zip(&state.notes.shares).filter(|(index, _)| state.notes.awaits(*index)) {
                if let Some(line) = lines.slots.get_mut(&index) {
                    // Another writer may be in the middle of a message, with this one behind it.
                    let is_first = is_first(&line.writers, transfer);
                    self.places.leave(&mut line.writers, transfer);
                    if is_first {
                        self.mark_begun(index, false);
                    }
                    self.touch(index);
                }
            }
            return transfer.answer(state, Ok(Answer::DONE));
        }
        let Place { line, index, alone } = lines.place(state.ask);
        if alone || is_first(line, transfer) {
            // Its last attempt is the next.
            return self.touch_place(index);
        }
        self.places.leave(line, transfer);
        transfer.answer(state, serve::behind(state));
    }

    /// Serves the lines of one slot. Whether anybody was served.
    fn serve_line(&self, port: &mut Running<'_>, index: u32, line: &mut Line) -> bool {
        let mut served = false;
        while let Some(transfer) = line.readers.front() {
            if !serve_one(port, transfer) {
                break;
            }
            self.places.pop(&mut line.readers);
            served = true;
        }
        let mut begun = false;
        while let Some(transfer) = line.writers.front() {
            let mut state = transfer.state();
            let is_for_all = state.ask == Ask::Broadcast;
            let waits =
                if is_for_all { serve::share(port, &mut state, index) } else { !try_one(port, transfer, &mut state) };
            // Even a message that waits for more room may have had some.
            served = true;
            if waits {
                begun = state.notes.has_begun(index);
                break;
            }
            if is_for_all {
                state.notes.awaited -= 1;
                if state.notes.awaited == 0 {
                    transfer.answer(&mut state, Ok(Answer::DONE));
                }
            }
            drop(state);
            self.places.pop(&mut line.writers);
        }
        self.mark_begun(index, begun);
        self.serve_all(port, &mut line.others) || served
    }

    /// Serves the line of the whole port.
    fn serve_port(&self, port: &mut Running<'_>, line: &mut Queue) -> bool {
        let mut late = false;
        let served = self.places.retain(line, |transfer| {
            let mut state = transfer.state();
            let served = try_one(port, transfer, &mut state);
            late |= served && state.ask == Ask::Connect && port.local_addr().is_none();
            !served
        });
        // A port that was to be opened by a call which has failed is down, unless others still wait for it.
        if late && !line.iter().any(|transfer| transfer.state().ask == Ask::Connect) {
            port.withdraw();
        }
        served
    }

    /// Serves whoever can be served of those who do not get in each other's way.
    fn serve_all(&self, port: &mut Running<'_>, line: &mut Queue) -> bool {
        self.places.retain(line, |transfer| !serve_one(port, transfer))
    }

    fn touch_place(&self, index: Option<u32>) {
        match index {
            Some(index) => self.touch(index),
            None => self.port_touched.set(true),
        }
    }

    fn mark_begun(&self, index: u32, begun: bool) {
        let Some(mark) = self.marks.get(index as usize) else { return };
        match (mark.begun.replace(begun), begun) {
            (false, true) => self.begun.set(self.begun.get() + 1),
            (true, false) => self.begun.set(self.begun.get() - 1),
            (false, false) | (true, true) => {}
        }
    }
}

/// Where a call waits.
struct Place<'a> {
    line: &'a mut Queue,
    /// Of which slot; `None` for the whole port.
    index: Option<u32>,
    /// Whether nobody is ahead of it whoever is in the line.
    alone: bool,
}

impl Lines {
    fn place(&mut self, ask: Ask) -> Place<'_> {
        match ask.whom().map(|whom| whom.addr) {
            Some(Addr::Slot(index)) => {
                let index = u32::from(index);
                let line = self.slots.entry(index).or_default();
                let (line, alone) = if matches!(ask, Ask::Read(_)) {
                    (&mut line.readers, false)
                } else if matches!(ask, Ask::Write(_)) {
                    (&mut line.writers, false)
                } else {
                    (&mut line.others, true)
                };
                Place { line, index: Some(index), alone }
            }
            Some(Addr::Port) | None => Place { line: &mut self.port, index: None, alone: true },
        }
    }
}

/// Serves one call if that can be done now. Whether it has its answer.
fn serve_one(port: &mut Running<'_>, transfer: &Transfer) -> bool {
    try_one(port, transfer, &mut transfer.state())
}

fn try_one(port: &mut Running<'_>, transfer: &Transfer, state: &mut State) -> bool {
    let answer = match serve::attempt(port, state) {
        Tried::Answered(answer) => answer,
        Tried::Later if state.overdue => serve::too_late(port, state),
        Tried::Later => return false,
    };
    transfer.answer(state, answer);
    true
}

#[cfg(test)]
mod tests;
