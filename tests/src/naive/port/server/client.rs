//! One client of the naive port: two plain queues, what it is told, and when its time is up.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule names the few cases that it is about")]

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use wharf_core::Instant;
use wharf_core::port::server::{
    BOUNDARIES, Counters, Event, HalfClose, How, Options, Output, Reason, State, Watermarks,
};
use wharf_core::slots::SlotId;

/// A message in the send queue.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// What of it has not left.
    pub(super) bytes: Vec<u8>,
    /// Whether a part of it has left.
    pub(super) begun: bool,
}

/// An output that has to come.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) output: Output,
    /// Whether it may be left out as well.
    pub(super) optional: bool,
    /// Whether a `Close` may be of either kind.
    pub(super) either: bool,
}

/// What a timeout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timeout {
    IdleRx,
    IdleAny,
    WriteStuck,
    Linger,
    HalfClose,
    Unread,
}

impl Timeout {
    /// Why a client leaves at once when it is over.
    pub(super) const fn reason(self) -> Option<Reason> {
        match self {
            Self::IdleRx => Some(Reason::IdleRx),
            Self::IdleAny => Some(Reason::IdleAny),
            Self::WriteStuck => Some(Reason::WriteStuck),
            Self::Linger | Self::HalfClose | Self::Unread => None,
        }
    }
}

/// Everything that belongs to one stay.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "plain facts, each of its own")]
pub(super) struct Client {
    pub(super) id: SlotId,
    pub(super) peer: SocketAddr,
    pub(super) state: State,
    pub(super) rx: Vec<u8>,
    pub(super) tx: VecDeque<Message>,
    pub(super) received: u64,
    pub(super) consumed: u64,
    pub(super) flushed: u64,
    pub(super) unread: u64,
    pub(super) accepted: u64,
    pub(super) sent: u64,
    pub(super) dropped: u64,
    pub(super) unsent: u64,
    pub(super) can_read: bool,
    pub(super) can_write: bool,
    /// The most that the read may give that was asked for, and whether an edge has come since.
    pub(super) reading: Option<usize>,
    pub(super) read_edge: bool,
    /// How many bytes were shown to be written, and whether an edge has come since.
    pub(super) writing: Option<usize>,
    pub(super) write_edge: bool,
    pub(super) read_budget: usize,
    pub(super) write_budget: usize,
    /// The peer's end has been seen.
    pub(super) ended: bool,
    /// The program wants our output to end once the queue is sent.
    pub(super) shutting: bool,
    /// Our output has ended.
    pub(super) shut: bool,
    /// Why it leaves, once that is certain.
    pub(super) reason: Option<Reason>,
    /// What else it may be said to leave for, because all of that ran out together.
    pub(super) or_else: Vec<Reason>,
    pub(super) closing: bool,
    /// Nobody reads what it sends: it has that back.
    pub(super) gets_all_back: bool,
    pub(super) was_high: bool,
    pub(super) told_high: bool,
    pub(super) connected: Instant,
    pub(super) last_rx: Instant,
    pub(super) last_tx: Instant,
    /// Since when output has been queued without a pause.
    pub(super) queued_since: Instant,
    pub(super) flushing_since: Instant,
    /// Unread bytes of a peer that has hung up were given up, and so is what else it sent.
    pub(super) gives_up: bool,
    /// A hang-up was seen, and no answer to a read has explained it.
    pub(super) hung_up: bool,
    /// When the end, a reset or a hang-up of the peer was seen.
    pub(super) gone_since: Option<Instant>,
    /// When its end was.
    pub(super) ended_since: Instant,
    pub(super) last_program_read: Instant,
    pub(super) last_program_write: Instant,
    pub(super) owed: VecDeque<Owed>,
}

impl Client {
    pub(super) fn new(id: SlotId, peer: SocketAddr, now: Instant, budget: usize) -> Self {
        let mut new = Self {
            id,
            peer,
            state: State::Open,
            rx: Vec::new(),
            tx: VecDeque::new(),
            received: 0,
            consumed: 0,
            flushed: 0,
            unread: 0,
            accepted: 0,
            sent: 0,
            dropped: 0,
            unsent: 0,
            can_read: false,
            can_write: true,
            reading: None,
            read_edge: false,
            writing: None,
            write_edge: false,
            read_budget: budget,
            write_budget: budget,
            ended: false,
            shutting: false,
            shut: false,
            reason: None,
            or_else: Vec::new(),
            closing: false,
            gets_all_back: false,
            was_high: false,
            told_high: false,
            connected: now,
            last_rx: now,
            last_tx: now,
            queued_since: now,
            flushing_since: now,
            gives_up: false,
            hung_up: false,
            gone_since: None,
            ended_since: now,
            last_program_read: now,
            last_program_write: now,
            owed: VecDeque::new(),
        };
        new.tell(Event::Connected { slot: id, peer });
        new
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            received: self.received,
            consumed: self.consumed,
            flushed: self.flushed,
            unread: self.unread,
            queued_rx: self.rx.len() as u64,
            accepted: self.accepted,
            sent: self.sent,
            dropped: self.dropped,
            unsent: self.unsent,
            queued_tx: self.queued() as u64,
        }
    }

    /// Bytes of the send queue in use.
    pub(super) fn queued(&self) -> usize {
        self.tx.iter().map(|message| message.bytes.len()).sum()
    }

    pub(super) fn tx_bytes(&self) -> Vec<u8> {
        self.tx.iter().flat_map(|message| message.bytes.clone()).collect()
    }

    pub(super) fn owe(&mut self, output: Output) {
        self.owed.push_back(Owed { output, optional: false, either: false });
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.owe(Output::Notify(event));
    }

    /// Whether the input of the socket is of interest: kept or discarded.
    pub(super) fn reads(&self) -> bool {
        !self.ended && matches!(self.state, State::Open | State::LocalEnded | State::Flushing)
    }

    /// A read has been answered.
    pub(super) fn read_over(&mut self, more: bool) {
        self.can_read = more || self.read_edge;
        if !self.can_read {
            // Whoever has really hung up has an end or an error to be read. An edge in between may be that of the hang-up.
            (self.hung_up, self.gives_up) = (false, false);
            self.gone_since = self.gone_since.filter(|_| self.ended);
        }
    }

    /// Whether what is queued may still leave.
    pub(super) fn sends(&self) -> bool {
        !self.shut && matches!(self.state, State::Open | State::PeerEnded | State::Flushing)
    }

    /// Whether the program may still write.
    pub(super) fn takes_output(&self) -> bool {
        !self.shutting && matches!(self.state, State::Open | State::PeerEnded)
    }

    /// Bytes that a read may still add to the receive queue, or throw away.
    pub(super) fn rx_room(&self, queue: usize) -> usize {
        if self.state == State::Flushing || self.gives_up { usize::MAX } else { queue - self.rx.len() }
    }

    /// The messages that may be dropped for a newer one, the oldest first, by their place in the queue: none that has begun
    /// to leave or is being written.
    pub(super) fn droppable(&self) -> Vec<usize> {
        let mut before = 0;
        let mut droppable = Vec::new();
        for (at, message) in self.tx.iter().enumerate() {
            if !message.begun && before >= self.writing.unwrap_or(0) {
                droppable.push(at);
            }
            before += message.bytes.len();
        }
        droppable
    }

    /// Puts a message into the queue, where there is room for it.
    pub(super) fn queue(&mut self, bytes: &[u8], now: Instant) {
        if self.queued() == 0 {
            self.queued_since = now;
        }
        self.accepted += bytes.len() as u64;
        let is_told_apart = self.tx.len() < BOUNDARIES;
        match self.tx.back_mut() {
            Some(last) if !is_told_apart => last.bytes.extend_from_slice(bytes),
            _ if bytes.is_empty() => {}
            _ => self.tx.push_back(Message { bytes: bytes.to_vec(), begun: false }),
        }
    }

    /// The system has taken the first `len` bytes of the queue.
    pub(super) fn take_sent(&mut self, mut len: usize, now: Instant) {
        self.sent += len as u64;
        self.last_tx = now;
        while len > 0 {
            let Some(first) = self.tx.front_mut() else { return };
            let taken = len.min(first.bytes.len());
            first.bytes.drain(..taken);
            first.begun = true;
            len -= taken;
            if first.bytes.is_empty() {
                self.tx.pop_front();
            }
        }
    }

    /// Gives up what nobody has read.
    pub(super) fn give_up_input(&mut self) {
        self.unread += self.rx.len() as u64;
        self.rx.clear();
    }

    /// The send queue has grown: tells if it is full enough for that.
    pub(super) fn watch_high(&mut self, marks: Watermarks, queue: usize) {
        if !self.was_high && self.queued() * 100 >= queue * usize::from(marks.high) {
            self.was_high = true;
            self.tell(Event::HighWater { slot: self.id });
        }
    }

    /// The send queue has shrunk: tells if it is empty enough for that.
    pub(super) fn watch_low(&mut self, marks: Watermarks, queue: usize) {
        if self.was_high && self.queued() * 100 <= queue * usize::from(marks.low) {
            self.was_high = false;
            // News that nobody has heard yet need not be told once they are old.
            let high = Output::Notify(Event::HighWater { slot: self.id });
            let unheard = self.owed.iter().any(|owed| owed.output == high);
            self.owed.iter_mut().filter(|owed| owed.output == high).for_each(|owed| owed.optional = true);
            let output = Output::Notify(Event::LowWater { slot: self.id });
            self.owed.push_back(Owed { output, optional: unheard, either: false });
        }
    }

    /// The slot is on its way out: only `Closed` is awaited.
    ///
    /// Without `how` it does not matter how it is closed.
    pub(super) fn close(&mut self, reason: Reason, how: Option<How>) {
        if self.closing {
            return;
        }
        let has_rest_for_itself = self.gets_all_back && self.takes_output();
        self.closing = true;
        self.state = State::Closing;
        // What was asked is of no interest any more.
        (self.reading, self.writing) = (None, None);
        self.reason = self.reason.or(Some(reason));
        if has_rest_for_itself || !self.is_from_peer() {
            self.give_up_input();
        }
        self.unsent += self.queued() as u64;
        self.tx.clear();
        let slot = self.id;
        let output = Output::Close { slot, how: how.unwrap_or(How::Graceful) };
        self.owed.push_back(Owed { output, optional: false, either: how.is_none() });
    }

    pub(super) fn is_from_peer(&self) -> bool {
        matches!(self.reason, Some(Reason::PeerClosed | Reason::PeerReset | Reason::Failed(_)))
    }

    /// Sends the rest, then closes.
    pub(super) fn flush(&mut self, reason: Reason, now: Instant) {
        self.state = State::Flushing;
        self.reason = self.reason.or(Some(reason));
        self.flushing_since = now;
        if !self.is_from_peer() {
            self.give_up_input();
        }
    }

    /// Whether it has ended and everything that it sent is back with it.
    pub(super) fn has_all_back(&self, options: &Options) -> bool {
        let echoes = options.echo && self.takes_output();
        echoes && self.state == State::PeerEnded && self.rx.is_empty() && self.tx.is_empty()
    }

    /// Sends back what it has sent, as far as that fits.
    pub(super) fn echo(&mut self, options: &Options, queue: usize, now: Instant) {
        if !options.echo || !self.takes_output() {
            return;
        }
        let ready = Output::Notify(Event::DataReady { slot: self.id });
        self.owed.retain(|owed| owed.output != ready);
        let len = self.rx.len().min(queue - self.queued());
        let back: Vec<u8> = self.rx.drain(..len).collect();
        if !back.is_empty() {
            self.consumed += back.len() as u64;
            (self.last_program_read, self.last_program_write) = (now, now);
            self.queue(&back, now);
            self.watch_high(options.watermarks, queue);
        }
    }

    /// What follows from where it stands, without any new input.
    pub(super) fn follow(&mut self) {
        let slot = self.id;
        let is_sent = self.tx.is_empty();
        match self.state {
            State::Open if self.shutting && is_sent => {
                self.state = State::LocalEnded;
                self.shut = true;
                self.owe(Output::ShutdownWrite { slot });
            }
            State::PeerEnded if self.shutting && is_sent => {
                self.owed.push_back(Owed { output: Output::ShutdownWrite { slot }, optional: true, either: false });
                self.close(Reason::PeerClosed, Some(How::Graceful));
            }
            State::LocalEnded if self.ended => self.close(Reason::PeerClosed, Some(How::Graceful)),
            State::Flushing if is_sent && self.ended => {
                if !self.shut {
                    self.owed.push_back(Owed { output: Output::ShutdownWrite { slot }, optional: true, either: false });
                }
                self.close(Reason::PeerClosed, Some(How::Graceful));
            }
            State::Flushing if is_sent && !self.shut => {
                self.shut = true;
                self.owe(Output::ShutdownWrite { slot });
            }
            _ => {}
        }
    }

    /// Every timeout that runs, and its end.
    pub(super) fn timeouts(&self, options: &Options) -> Vec<(Instant, Timeout)> {
        let mut all = Vec::new();
        let mut runs = |what, since: Instant, millis: u32| {
            if millis > 0 {
                all.push((since.saturating_add(Duration::from_millis(u64::from(millis))), what));
            }
        };
        if matches!(self.state, State::Open | State::PeerEnded | State::LocalEnded) {
            if !self.ended {
                runs(Timeout::IdleRx, self.last_rx, options.idle_rx);
            }
            runs(Timeout::IdleAny, self.last_rx.max(self.last_tx), options.idle_any);
            if !self.tx.is_empty() {
                runs(Timeout::WriteStuck, self.last_tx.max(self.queued_since), options.write_stuck);
            }
        }
        if self.state == State::Flushing {
            runs(Timeout::Linger, self.flushing_since, options.linger);
        }
        if let Some(gone) = self.gone_since {
            let read = self.last_program_read;
            // Where bytes go back by themselves, that is all there is to be done.
            let echoes = options.echo && self.takes_output() && options.write_stuck > 0;
            if self.state == State::PeerEnded && options.half_close == HalfClose::Drain && !echoes {
                let since = self.ended_since.max(read).max(self.last_program_write);
                runs(Timeout::HalfClose, since, options.half_close_linger);
            }
            if !self.rx.is_empty() && self.state != State::Closing && !echoes {
                runs(Timeout::Unread, gone.max(read), options.unread);
            }
        }
        all
    }
}
