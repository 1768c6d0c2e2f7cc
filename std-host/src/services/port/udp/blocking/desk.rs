//! The calls of a UDP port that wait, on the loop.
//!
//! Readers stand in one line and writers in another, and only the first of a line is served: datagrams come to readers in
//! the order of their calls, and go out in the order of theirs. Whatever may concern who waits *touches* the lines, which
//! are served once the machine has nothing more to do. Who can wait no longer is turned away where the first cannot be served.

use super::ask::{Ask, State, Transfer};
use super::serve::{self, Tried};
use crate::services::port::Error;
use crate::services::port::calls::{self, Arrivals, Calls, Places};
use crate::services::port::udp::running::RunningUdp;
use crate::services::port::udp::site::Site;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use wharf_core::port::datagrams::{Event, Reason};

type Line = calls::Line<Site>;

/// The calls of a port that its loop has seen and not answered.
pub(in crate::services::port::udp) struct Desk {
    arrivals: Arrivals<Site>,
    lines: RefCell<Lines>,
    /// Without any that is taken nothing need be touched.
    places: Places,
    touched: Cell<bool>,
    /// A call whose time is over may be behind others.
    is_late: Cell<bool>,
}

#[derive(Default)]
struct Lines {
    readers: Line,
    writers: Line,
    /// They do not get in each other's way.
    others: Line,
}

impl Lines {
    const fn line(&mut self, ask: Ask) -> &mut Line {
        match ask {
            Ask::Read => &mut self.readers,
            Ask::Write | Ask::Reply(_) | Ask::Broadcast => &mut self.writers,
            Ask::Connect | Ask::Disconnect | Ask::Drain | Ask::Flush | Ask::Leave | Ask::Peer | Ask::Pending => {
                &mut self.others
            }
        }
    }
}

impl Desk {
    /// Made on the thread of the loop.
    pub(in crate::services::port::udp) fn new() -> Self {
        Self {
            arrivals: Arrivals::new(),
            lines: RefCell::default(),
            places: Places::default(),
            touched: Cell::new(false),
            is_late: Cell::new(false),
        }
    }

    pub(in crate::services::port::udp) const fn calls(&self) -> &Arc<Calls<Site>> {
        self.arrivals.calls()
    }

    /// How many calls wait.
    pub(in crate::services::port::udp) const fn waiting(&self) -> usize {
        self.places.taken()
    }

    /// Something has happened that a call may wait for.
    pub(in crate::services::port::udp) fn touch(&self) {
        self.touched.set(self.places.taken() > 0);
    }

    /// So may this be; `failure` is why the port could not be opened, if it could not.
    pub(in crate::services::port::udp) fn told(&self, event: &Event, failure: impl FnOnce() -> Option<String>) {
        match event {
            Event::PortUp { .. } | Event::DataReady => self.touch(),
            Event::PortDown { reason } if self.places.taken() > 0 => {
                let why = failure();
                if matches!(reason, Reason::NotOpened(_)) {
                    self.not_opened(why.as_deref());
                }
                self.went_down(why.as_deref());
            }
            Event::PortDown { .. } | Event::Overflowed { .. } => {}
        }
    }

    /// The port could not be opened, or is not to be any more: who waits for it need not wait longer.
    pub(in crate::services::port::udp) fn not_opened(&self, why: Option<&str>) {
        self.places.retain(&mut self.lines.borrow_mut().others, |transfer| {
            let mut state = transfer.state();
            let waits = state.ask == Ask::Connect;
            if waits {
                transfer.answer(&mut state, Err(Error::PortDown { why: why.map(str::to_owned) }));
            }
            !waits
        });
    }

    /// What was unread and unsent is given up, and nobody waits for it any more.
    fn went_down(&self, why: Option<&str>) {
        let Lines { readers, writers, others } = &mut *self.lines.borrow_mut();
        for line in [readers, writers, others] {
            self.places.retain(line, |transfer| {
                let mut state = transfer.state();
                let answer = serve::down(&state, why);
                let stays = answer.is_none();
                if let Some(answer) = answer {
                    transfer.answer(&mut state, answer);
                }
                stays
            });
        }
    }

    /// Sees to the calls that have just come. Those that may wait are answered by [`Desk::serve`] at the earliest.
    pub(in crate::services::port::udp) fn receive(&self, port: &mut RunningUdp<'_>) {
        self.arrivals.receive(|transfer, state, is_late| {
            if !is_late {
                self.begin(port, transfer, state);
            }
            if state.overdue {
                self.is_late.set(true);
                self.touch();
            }
        });
    }

    /// Serves whoever waits for what has happened. Whether the machine may have something to do then.
    pub(in crate::services::port::udp) fn serve(&self, site: &Site) -> bool {
        if !self.touched.take() {
            return false;
        }
        let port = &mut site.running();
        let Lines { readers, writers, others } = &mut *self.lines.borrow_mut();
        let is_late = self.is_late.take();
        if readers.front().is_some_and(|transfer| serve_one(port, transfer)) {
            self.places.pop(readers);
            // In asyn mode the machine fetches the next datagram before the next reader is served.
            self.touch();
            self.is_late.set(is_late);
        } else if is_late {
            self.turn_away(port, readers);
        }
        while writers.front().is_some_and(|transfer| serve_one(port, transfer)) {
            self.places.pop(writers);
        }
        if is_late {
            self.turn_away(port, writers);
        }
        self.serve_others(port, others);
        true
    }

    /// The loop has ended, and with it every call.
    pub(in crate::services::port::udp) fn end(&self) {
        let mut all = Line::new();
        // Only a panic leaves them in use.
        if let Ok(mut lines) = self.lines.try_borrow_mut() {
            let Lines { readers, writers, others } = &mut *lines;
            all.extend(readers.drain(..).chain(writers.drain(..)).chain(others.drain(..)));
        }
        self.arrivals.end(all);
    }

    /// A call begins.
    fn begin(&self, port: &mut RunningUdp<'_>, transfer: &Arc<Transfer>, state: &mut State) {
        serve::begin(port, state);
        if state.ask == Ask::Connect {
            port.connect();
        } else if state.ask == Ask::Disconnect {
            port.disconnect();
        } else if state.ask.is_instant() {
            try_one(port, transfer, state);
            return;
        }
        self.places.join(self.lines.borrow_mut().line(state.ask), transfer);
        self.touch();
    }

    /// Answers those whose time is over, with others ahead of them.
    fn turn_away(&self, port: &mut RunningUdp<'_>, line: &mut Line) {
        self.places.retain(line, |transfer| {
            let mut state = transfer.state();
            let is_late = state.overdue;
            if is_late {
                let answer = serve::behind(port, &mut state);
                transfer.answer(&mut state, answer);
            }
            !is_late
        });
    }

    fn serve_others(&self, port: &mut RunningUdp<'_>, line: &mut Line) {
        let mut late = false;
        self.places.retain(line, |transfer| {
            let mut state = transfer.state();
            let served = try_one(port, transfer, &mut state);
            late |= served && state.ask == Ask::Connect && port.local_addr().is_none();
            !served
        });
        // A port that was to be opened by a call which has failed is down, unless others still wait for it.
        if late && !line.iter().any(|transfer| transfer.state().ask == Ask::Connect) {
            port.withdraw();
        }
    }
}

/// Serves one call if that can be done now. Whether it has its answer.
fn serve_one(port: &mut RunningUdp<'_>, transfer: &Transfer) -> bool {
    try_one(port, transfer, &mut transfer.state())
}

fn try_one(port: &mut RunningUdp<'_>, transfer: &Transfer, state: &mut State) -> bool {
    let answer = match serve::attempt(port, state) {
        Tried::Answered(answer) => answer,
        Tried::Later(error) if state.overdue => Err(error),
        Tried::Later(_) => return false,
    };
    transfer.answer(state, answer);
    true
}
