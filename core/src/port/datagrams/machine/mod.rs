//! The machine itself: what each input and deadline does to a port.

mod calls;
mod checks;
mod phases;

use super::outbox::{Outbox, Outcome};
use super::peers::Peers;
use super::ring::{Cursor, Next, Record, Ring, Taken};
use super::{
    Command, Config, Counters, Error, Event, Input, MAX_DEPTH, Mode, Output, Overflow, Pending, Piece, QUEUE_BYTES,
    Reason, Rest, Setting, To,
};
use crate::machine::{Machine, Step};
use crate::port::framing::Eom;
use crate::time::{Instant, earliest, expiry};
use calls::Direction;
use checks::check_timeout;
use core::net::SocketAddr;
use core::ops::Range;
use phases::{Phase, Then};

/// A UDP port over received bytes `B`, a [`Record`] for each received datagram `R`, and bytes to be sent `T`.
#[derive(Debug)]
pub struct Datagrams<B, R, T> {
    config: Config,
    ring: Ring<B, R>,
    outbox: Outbox<T>,
    peers: Peers,
    counters: Counters,
    phase: Phase,
    rx: Direction,
    tx: Direction,
    /// Whether this turn's `Yield` is out.
    yielded: bool,
    subscribers: usize,
    /// Whether the reader takes part.
    reading: bool,
    /// Since when the cache keeps subscribers waiting for the next datagram.
    held_since: Instant,
    last_read: Option<SocketAddr>,
    /// What the system has dropped since the socket was opened.
    kernel_total: u64,
    untold: Untold,
    shown: Shown,
}

/// Events that the driver has not been told.
#[derive(Debug)]
struct Untold {
    up: Option<SocketAddr>,
    down: Option<Reason>,
    lost: u64,
    ready: bool,
}

/// What the last input gave.
#[derive(Debug)]
struct Shown {
    piece: Option<(Taken, Eom)>,
    flushed: usize,
    broadcast: bool,
}

impl Shown {
    const NOTHING: Self = Self { piece: None, flushed: 0, broadcast: false };
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, R: AsRef<[Record]> + AsMut<[Record]>, T: AsRef<[u8]> + AsMut<[u8]>>
    Datagrams<B, R, T>
{
    /// A port that is down. `rx` holds received bytes, `records` one [`Record::EMPTY`] for each datagram of the ring,
    /// and `tx` bytes to be sent; in asyn mode, nothing is ever sent and `tx` may be empty.
    ///
    /// # Errors
    /// [`Error::Depth`] unless there are 1..=[`MAX_DEPTH`] records, [`Error::QueueSize`] unless `rx`, and in FIFO mode
    /// `tx`, has as many bytes as [`QUEUE_BYTES`] says, [`Error::BadTimeout`] if a timeout is too long.
    pub fn new(config: Config, rx: B, records: R, tx: T) -> Result<Self, Error> {
        let (ring, outbox) = (Ring::new(rx, records), Outbox::new(tx));
        if !(1..=MAX_DEPTH).contains(&ring.depth()) {
            return Err(Error::Depth { got: ring.depth() });
        }
        let sizes = [Some(ring.capacity()), (config.mode == Mode::Fifo).then(|| outbox.capacity())];
        if let Some(got) = sizes.into_iter().flatten().find(|size| !QUEUE_BYTES.contains(size)) {
            return Err(Error::QueueSize { got });
        }
        for timeout in [config.cache_hold, config.peer_ttl, config.reopen] {
            check_timeout(timeout)?;
        }
        Ok(Self {
            config,
            ring,
            outbox,
            peers: Peers::new(),
            counters: Counters::default(),
            phase: Phase::Down,
            rx: Direction::NEW,
            tx: Direction::NEW,
            yielded: false,
            subscribers: 0,
            reading: false,
            held_since: Instant::ORIGIN,
            last_read: None,
            kernel_total: 0,
            untold: Untold { up: None, down: None, lost: 0, ready: false },
            shown: Shown::NOTHING,
        })
    }

    /// What the last [`Command::Read`] gave, until the next input; `None` if there was nothing.
    #[must_use]
    pub fn piece(&self) -> Option<Piece<'_>> {
        let (taken, eom) = self.shown.piece?;
        let Taken { peer, at, truncated, start, len, .. } = taken;
        Some(Piece { bytes: self.ring.show(start, len), eom, peer, truncated, at })
    }

    /// How many bytes the last [`Command::Flush`] threw away, until the next input.
    #[must_use]
    pub const fn flushed(&self) -> usize {
        self.shown.flushed
    }

    /// What became of each peer's copy of the last [`To::Everyone`], until the next input.
    pub fn outcomes(&self) -> impl Iterator<Item = (SocketAddr, Outcome)> {
        self.peers.outcomes().filter(|_| self.shown.broadcast)
    }

    /// The payload of the datagram that [`Output::Send`] asks to send, which may lie in two parts.
    #[must_use]
    pub fn transmit(&self) -> [&[u8]; 2] {
        self.outbox.transmit()
    }

    /// A cursor in front of the next datagram to come.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.ring.end()
    }

    /// A cursor in front of the first datagram that is still unread, for a subscriber that is to get the backlog too.
    /// The first subscriber of a port in asyn mode had better be one: a datagram that is cached when it comes, and that
    /// nobody reads, is announced to it and then given up.
    #[must_use]
    pub fn cursor_at_unread(&self) -> Cursor {
        self.ring.unread()
    }

    /// What is next for a subscriber, and moves its cursor behind that; `None` if it has had everything.
    pub fn next(&self, cursor: &mut Cursor) -> Option<Next<'_>> {
        self.ring.next(cursor)
    }

    /// The address to which the socket is bound; `None` while the port is not up.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        match self.phase {
            Phase::Up { local } => Some(local),
            Phase::Down | Phase::Opening { .. } | Phase::Closing { .. } | Phase::Waiting { .. } => None,
        }
    }

    /// Whether the socket is neither open nor about to be, nor has yet to be given up. It may be tried again later.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Down | Phase::Waiting { .. })
    }

    /// Who sent the datagram last read, whom [`To::LastRead`] answers.
    #[must_use]
    pub const fn last_read(&self) -> Option<SocketAddr> {
        self.last_read
    }

    /// Bytes that wait to be read and to be sent.
    #[must_use]
    pub const fn pending(&self) -> Pending {
        Pending { rx: self.ring.unread_bytes(), tx: self.outbox.waiting() }
    }

    /// The numbers of the datagrams that wait to be sent, those of a broadcast one for each peer. The first that was ever
    /// queued is 0. One whose number is below them has been sent, or given up.
    #[must_use]
    pub fn outgoing(&self) -> Range<u64> {
        self.outbox.numbers()
    }

    /// Whether what is kept is owed to the reader, and so must not go without being counted: it takes part, or there are no
    /// subscribers, and then it may come yet.
    #[must_use]
    pub const fn is_owed(&self) -> bool {
        self.reading || self.subscribers == 0
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// How the port behaves at present.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }

    fn obey(&mut self, now: Instant, command: Command<'_>) {
        match command {
            Command::Open => match &mut self.phase {
                Phase::Opening { .. } | Phase::Up { .. } => {}
                Phase::Closing { then, .. } => *then = Then::Open,
                Phase::Down | Phase::Waiting { .. } => self.phase = Phase::Opening { asked: false },
            },
            Command::Close => self.close(),
            Command::Read { room } => self.read(room),
            Command::Flush => {
                self.shown.flushed = self.ring.unread_bytes();
                self.skip_all();
            }
            Command::Leave => {
                self.reading = false;
                // What has been announced is given up now, what has not is when it has been.
                if self.is_for_subscribers_alone() && !self.untold.ready {
                    self.ring.skip();
                }
            }
            Command::Subscribed { count } => {
                if self.subscribers == 0 && count > 0 && self.config.mode == Mode::Asyn && self.ring.kept() > 0 {
                    // It came before there was anybody to hear of it.
                    (self.untold.ready, self.held_since) = (true, now);
                }
                self.subscribers = count;
            }
            Command::Write { to: To::Everyone, bytes } => {
                self.outbox.share(self.peers.reach(now, self.config.peer_ttl), bytes);
                self.shown.broadcast = true;
            }
            Command::Write { to: To::Peer(peer), bytes } => self.outbox.push(peer, bytes),
            Command::Write { to: To::LastRead, bytes } => {
                if let Some(peer) = self.last_read {
                    self.outbox.push(peer, bytes);
                }
            }
            Command::Set(setting) => match setting {
                Setting::CacheHold(timeout) => self.config.cache_hold = timeout,
                Setting::Rest(rest) => self.config.rest = rest,
                Setting::Overflow(overflow) => self.config.overflow = overflow,
                Setting::PeerTtl(timeout) => self.config.peer_ttl = timeout,
                Setting::Reopen(timeout) => self.config.reopen = timeout,
                Setting::AutoConnect(auto_connect) => self.config.auto_connect = auto_connect,
            },
        }
    }

    fn read(&mut self, room: usize) {
        self.reading = true;
        let Some(taken) = self.ring.take(room) else { return };
        self.last_read = Some(taken.peer);
        let filled = if taken.len == room { Eom::CNT } else { Eom::NONE };
        let ended = if taken.left == 0 { Eom::END } else { Eom::NONE };
        if taken.left > 0 && self.config.mode == Mode::Fifo && self.config.rest == Rest::Discard {
            self.ring.skip();
            count(&mut self.counters.unread, 1);
        }
        self.shown.piece = Some((taken, filled | ended));
    }

    fn receive(&mut self, now: Instant, peer: SocketAddr, bytes: &[u8], truncated: bool) {
        let stored = bytes.get(..self.ring.capacity()).unwrap_or(bytes);
        let truncated = truncated || stored.len() < bytes.len();
        count(&mut self.counters.received, 1);
        count(&mut self.counters.bytes, bytes.len());
        count(&mut self.counters.empty, usize::from(bytes.is_empty()));
        count(&mut self.counters.truncated, usize::from(truncated));
        let kept = match self.config.mode {
            Mode::Asyn => {
                self.held_since = now;
                !bytes.is_empty()
            }
            Mode::Fifo => {
                self.peers.hear(now, peer);
                if !self.make_room(stored.len()) {
                    crate::log::discard("datagrams", "dropped_full");
                    self.ring.pass();
                    return;
                }
                true
            }
        };
        self.ring.push(now, peer, stored, truncated, kept);
        self.untold.ready |= kept || self.subscribers > 0;
    }

    /// Whether there is room for a datagram beside those that are kept, after what may go has gone.
    fn make_room(&mut self, len: usize) -> bool {
        while !self.ring.has_room(len) {
            if self.is_owed() {
                count(&mut self.counters.dropped_full, 1);
                count(&mut self.untold.lost, 1);
                if self.config.overflow == Overflow::DropNewest || self.ring.is_begun() {
                    return false;
                }
            }
            if !self.ring.skip() {
                return false;
            }
        }
        true
    }

    fn skip_all(&mut self) {
        while self.ring.skip() {}
    }

    /// Whether the cache is there for subscribers alone, and is empty again once they have heard of a datagram.
    fn is_for_subscribers_alone(&self) -> bool {
        self.config.mode == Mode::Asyn && !self.is_owed()
    }

    /// When the cache is taken from a slow reader.
    fn hold_deadline(&self) -> Option<Instant> {
        let held = self.config.mode == Mode::Asyn && self.reading && self.subscribers > 0 && self.ring.kept() > 0;
        expiry(self.held_since, self.config.cache_hold).filter(|_| held)
    }

    fn event(&mut self) -> Option<Event> {
        if let Some(local) = self.untold.up.take() {
            return Some(Event::PortUp { local });
        }
        if core::mem::take(&mut self.untold.ready) {
            if self.is_for_subscribers_alone() {
                self.ring.skip();
            }
            return Some(Event::DataReady);
        }
        let lost = core::mem::take(&mut self.untold.lost);
        if lost > 0 {
            return Some(Event::Overflowed { lost });
        }
        self.untold.down.take().map(|reason| Event::PortDown { reason })
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>, R: AsRef<[Record]> + AsMut<[Record]>, T: AsRef<[u8]> + AsMut<[u8]>> Machine
    for Datagrams<B, R, T>
{
    type Input<'a> = Input<'a>;
    type Output = Output;
    type Error = Error;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), Error> {
        self.check(&input)?;
        self.shown = Shown::NOTHING;
        match input {
            Input::TurnStarted => (self.rx.spent, self.tx.spent, self.yielded) = (0, 0, false),
            Input::Opened { local } => {
                self.phase = Phase::Up { local };
                self.untold.up = Some(local);
                (self.rx.ready, self.tx.ready, self.kernel_total) = (true, true, 0);
            }
            Input::OpenFailed { kind } => {
                self.untold.down = Some(Reason::NotOpened(kind));
                self.phase = if self.config.auto_connect { self.later(now) } else { Phase::Down };
            }
            Input::Shut => {
                let then = if let Phase::Closing { then, .. } = self.phase { then } else { Then::Stay };
                self.phase = match then {
                    Then::Stay => Phase::Down,
                    Then::Open => Phase::Opening { asked: false },
                    Then::Retry => self.later(now),
                };
            }
            Input::Readable => self.rx.ready = true,
            Input::Writable => self.tx.ready = true,
            Input::Datagram { peer, bytes, truncated } => {
                self.rx.answered(bytes.len());
                self.receive(now, peer, bytes, truncated);
            }
            Input::Blocked => self.rx.blocked(),
            Input::Failed { failure } => {
                self.rx.answered(0);
                self.fail(failure);
            }
            Input::Sent => {
                let len = self.outbox.pop().unwrap_or(0);
                self.tx.answered(len);
                count(&mut self.counters.sent, 1);
            }
            Input::SendBlocked => self.tx.blocked(),
            Input::SendFailed { failure } => {
                self.outbox.pop();
                self.tx.answered(0);
                self.fail(failure);
            }
            Input::KernelDropped { total } => {
                let more = total.saturating_sub(self.kernel_total);
                self.counters.kernel_dropped = self.counters.kernel_dropped.saturating_add(more);
                self.kernel_total = self.kernel_total.max(total);
            }
            Input::Requested(command) => self.obey(now, command),
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.open_deadline()) {
            self.phase = Phase::Opening { asked: false };
        }
        if due(self.hold_deadline()) {
            crate::log::discard("datagrams", "unread");
            count(&mut self.counters.unread, 1);
            self.ring.skip();
        }
    }

    fn poll_output(&mut self) -> Step<Output> {
        if let Some(event) = self.event() {
            return Step::Do(Output::Notify(event));
        }
        let output = match &mut self.phase {
            Phase::Opening { asked } => (!core::mem::replace(asked, true)).then_some(Output::Bind),
            Phase::Closing { asked, .. } => (!core::mem::replace(asked, true)).then_some(Output::Unbind),
            Phase::Up { .. } => self.call(),
            Phase::Down | Phase::Waiting { .. } => None,
        };
        output.map_or_else(|| Step::Wait(earliest(self.open_deadline(), self.hold_deadline())), Step::Do)
    }
}

fn count(counter: &mut u64, more: usize) {
    *counter = counter.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
}
