//! The record of one client's stay in a slot.

use super::How;
use super::event::Reason;
use super::options::{HalfClose, Options};
use super::ring::Ring;
use super::written::{Boundaries, Outcome};
use crate::port::framing::Scan;
use crate::time::{self, Instant};
use core::net::SocketAddr;
use core::time::Duration;

/// What a client is doing; see the [module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// Both directions are open.
    Open,
    /// The peer has ended its output.
    PeerEnded,
    /// We have ended ours.
    LocalEnded,
    /// The queue is sent, then our output ends, then the peer's end is awaited.
    Flushing,
    /// The socket is to be closed.
    Closing,
    /// The socket is gone, bytes are left to be read.
    Residue,
    /// Nothing is left; `Disconnected` comes next.
    Gone,
}

/// What has become of a client's bytes: `received = consumed + flushed + unread + queued_rx` and
/// `accepted = sent + unsent + dropped + queued_tx`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counters {
    /// Bytes taken from the network.
    pub received: u64,
    /// Of them, read by the program; terminators included.
    pub consumed: u64,
    /// Discarded by the program.
    pub flushed: u64,
    /// Given up unread.
    pub unread: u64,
    /// Waiting to be read.
    pub queued_rx: u64,
    /// Bytes taken from the program; terminators included.
    pub accepted: u64,
    /// Of them, taken by the system.
    pub sent: u64,
    /// Left over when the connection ended.
    pub unsent: u64,
    /// Dropped for newer ones.
    pub dropped: u64,
    /// Waiting to be sent.
    pub queued_tx: u64,
}

/// One client. Only its size is of interest outside: storage is made of `Entry<Client>`.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) peer: SocketAddr,
    pub(super) state: State,
    /// The class under which the port counts it at present.
    pub(super) class: Class,
    /// Why it leaves; the first reason stands.
    pub(super) reason: Option<Reason>,
    pub(super) how: How,
    pub(super) close_said: bool,

    pub(super) rx: Ring,
    pub(super) scan: Scan,
    pub(super) received: u64,
    pub(super) flushed: u64,
    pub(super) unread: u64,
    /// The most that the `Read` under way may bring; 0 without one.
    pub(super) asked: u32,
    pub(super) readable: bool,
    /// An edge has come while a `Read` is under way, whose answer may be older.
    pub(super) readable_again: bool,
    pub(super) hung_up: bool,
    /// What else comes of a peer that has hung up is given up at once.
    pub(super) gives_up: bool,
    pub(super) input_ended: bool,

    pub(super) tx: Ring,
    pub(super) boundaries: Boundaries,
    pub(super) accepted: u64,
    pub(super) dropped: u64,
    /// Bytes that the `Transmit` under way shows; 0 without one.
    pub(super) offered: u32,
    pub(super) writable: bool,
    /// The same for a `Transmit`.
    pub(super) writable_again: bool,
    pub(super) ending: Ending,
    pub(super) outcome: Outcome,

    pub(super) opened: Instant,
    pub(super) last_rx: Instant,
    pub(super) last_any: Instant,
    /// Since when the system takes nothing of what is queued.
    pub(super) stuck_since: Instant,
    /// When the program last read, or the peer's end was seen.
    pub(super) read_at: Instant,
    /// While the peer has ended: when the program last read or wrote. While flushing: since when.
    pub(super) since: Instant,

    /// The turn for which the budgets were used, modulo 2^16: a client that was idle for just so long may have to wait for the
    /// next one.
    turn: u16,
    rx_spent: u32,
    tx_spent: u32,
    pub(super) news: News,
    /// `HighWater` has been told, or is about to be.
    pub(super) above: bool,
    /// Bytes dropped that nobody has been told of.
    pub(super) lost: u32,
}

/// Events of a client that are still to be told; the lowest bit is told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News(u8);

impl News {
    pub(super) const CONNECTED: Self = Self(1);
    pub(super) const DATA: Self = Self(2);
    pub(super) const ENDED: Self = Self(4);
    pub(super) const LOST: Self = Self(8);
    pub(super) const HIGH: Self = Self(16);
    pub(super) const LOW: Self = Self(32);

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn add(&mut self, news: Self) {
        self.0 |= news.0;
    }

    /// Takes news back; whether there were any.
    pub(super) const fn withdraw(&mut self, news: Self) -> bool {
        let before = self.0;
        self.0 &= !news.0;
        before != self.0
    }
}

/// How far our output is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Open,
    /// It ends once the queue is sent.
    Shutting,
    Shut,
}

/// What a client means for one who looks for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It is here to stay.
    Staying,
    /// Its queue is sent and only the peer's end is awaited.
    Drained,
    /// Only unread bytes are left of it.
    Residue,
    /// Its slot is about to be free.
    Leaving,
}

/// A span that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    WriteStuck,
    IdleRx,
    IdleAny,
    Unread,
    HalfClose,
    Linger,
}

impl Client {
    pub(super) fn new(peer: SocketAddr, now: Instant) -> Self {
        Self {
            peer,
            state: State::Open,
            class: Class::Staying,
            reason: None,
            how: How::Graceful,
            close_said: false,
            rx: Ring::EMPTY,
            scan: Scan::START,
            received: 0,
            flushed: 0,
            unread: 0,
            asked: 0,
            readable: false,
            readable_again: false,
            hung_up: false,
            gives_up: false,
            input_ended: false,
            tx: Ring::EMPTY,
            boundaries: Boundaries::NONE,
            accepted: 0,
            dropped: 0,
            offered: 0,
            writable: true,
            writable_again: false,
            ending: Ending::Open,
            outcome: Outcome::Free,
            opened: now,
            last_rx: now,
            last_any: now,
            stuck_since: now,
            read_at: now,
            since: now,
            turn: 0,
            rx_spent: 0,
            tx_spent: 0,
            news: News::CONNECTED,
            above: false,
            lost: 0,
        }
    }

    /// Why it leaves, or would.
    pub(super) fn reason(&self) -> Reason {
        self.reason.unwrap_or(Reason::LocalClosed)
    }

    /// Whether the program may still queue output.
    pub(super) const fn takes_output(&self) -> bool {
        matches!(self.state, State::Open | State::PeerEnded) && matches!(self.ending, Ending::Open)
    }

    /// Whether what it sends is queued for itself.
    pub(super) const fn echoes(&self, options: &Options) -> bool {
        options.echo && self.takes_output()
    }

    /// Whether queued output is still to be sent.
    pub(super) const fn sends(&self) -> bool {
        matches!(self.state, State::Open | State::PeerEnded | State::Flushing)
    }

    /// Whether the socket is still to be read.
    pub(super) const fn hears(&self) -> bool {
        matches!(self.state, State::Open | State::LocalEnded | State::Flushing) && !self.input_ended
    }

    /// Whether what comes is thrown away.
    pub(super) const fn discards(&self) -> bool {
        matches!(self.state, State::Flushing) || self.gives_up
    }

    /// Whether no more bytes will come to be read.
    pub(super) const fn input_over(&self) -> bool {
        self.input_ended || matches!(self.state, State::Flushing | State::Closing | State::Residue | State::Gone)
    }

    pub(super) const fn class_now(&self) -> Class {
        match self.state {
            State::Closing | State::Gone => Class::Leaving,
            State::Residue => Class::Residue,
            State::Flushing if matches!(self.ending, Ending::Shut) => Class::Drained,
            State::Open | State::PeerEnded | State::LocalEnded | State::Flushing => Class::Staying,
        }
    }

    /// What the client may still receive and send in this turn, of so many bytes.
    pub(super) const fn budget(&self, turn: u16, all: u32) -> (u32, u32) {
        if self.turn == turn {
            (all.saturating_sub(self.rx_spent), all.saturating_sub(self.tx_spent))
        } else {
            (all, all)
        }
    }

    pub(super) const fn spend(&mut self, turn: u16, rx: u32, tx: u32) {
        if self.turn != turn {
            (self.turn, self.rx_spent, self.tx_spent) = (turn, 0, 0);
        }
        self.rx_spent = self.rx_spent.saturating_add(rx);
        self.tx_spent = self.tx_spent.saturating_add(tx);
    }

    /// When the client is to be looked at if nothing happens before.
    pub(super) fn deadline(&self, options: &Options) -> Option<Instant> {
        let is_quiet = self.state == State::Open && self.tx.is_empty() && !self.input_ended && !self.hung_up;
        if is_quiet && options.idle_rx == 0 && options.idle_any == 0 {
            // Nothing ends a client that is merely silent.
            return None;
        }
        let mut first = None;
        self.spans(options, |_, end| first = Some(first.map_or(end, |first: Instant| first.min(end))));
        first
    }

    /// The first span that has run out.
    pub(super) fn expired(&self, options: &Options, now: Instant) -> Option<Expiry> {
        let mut first = None;
        self.spans(options, |expiry, end| first = first.or((end <= now).then_some(expiry)));
        first
    }

    /// Every span that runs, and when it is over.
    #[inline]
    fn spans(&self, options: &Options, mut runs: impl FnMut(Expiry, Instant)) {
        let open = matches!(self.state, State::Open | State::PeerEnded | State::LocalEnded);
        let ending = self.input_ended || self.hung_up || self.state == State::Residue;
        // What is still on its way back to the client is neither unread nor over: if the client takes nothing, output is stuck.
        let echoes = self.echoes(options) && options.write_stuck > 0;
        let unread = ending && !self.rx.is_empty() && self.state != State::Closing && !echoes;
        let half = self.state == State::PeerEnded && options.half_close == HalfClose::Drain && !echoes;
        let mut span = |expiry: Expiry, is_on: bool, since: Instant, millis: u32| {
            if is_on && let Some(end) = time::expiry(since, Duration::from_millis(millis.into())) {
                runs(expiry, end);
            }
        };
        span(Expiry::WriteStuck, open && !self.tx.is_empty(), self.stuck_since, options.write_stuck);
        span(Expiry::IdleRx, open && !self.input_ended, self.last_rx, options.idle_rx);
        span(Expiry::IdleAny, open, self.last_any, options.idle_any);
        span(Expiry::Unread, unread, self.read_at, options.unread);
        span(Expiry::HalfClose, half, self.since, options.half_close_linger);
        span(Expiry::Linger, self.state == State::Flushing, self.since, options.linger);
    }

    pub(super) fn counters(&self) -> Counters {
        let (queued_rx, queued) = (u64::from(self.rx.len()), u64::from(self.tx.len()));
        let over = matches!(self.state, State::Closing | State::Residue | State::Gone);
        let (unsent, queued_tx) = if over { (queued, 0) } else { (0, queued) };
        let without = |all: u64, parts: [u64; 3]| parts.into_iter().fold(all, u64::saturating_sub);
        Counters {
            received: self.received,
            consumed: without(self.received, [self.flushed, self.unread, queued_rx]),
            flushed: self.flushed,
            unread: self.unread,
            queued_rx,
            accepted: self.accepted,
            sent: without(self.accepted, [self.dropped, queued, 0]),
            unsent,
            dropped: self.dropped,
            queued_tx,
        }
    }
}
