//! A simulated world in virtual time: peers that follow scripts, links that split, delay and cut, and hosts that
//! drive one machine per connection.
//!
//! Nothing sleeps. [`World::step`] finds the earliest thing that can happen (a segment arrives, a peer wakes, a
//! machine's deadline comes), puts the clock exactly there and lets that one thing happen; of several at one instant
//! the seed picks. So connections overtake each other while each keeps its own order, and a timeout of an hour costs
//! nothing.
//!
//! The world is the driver: it offers bytes and keeps those that were not taken, stops at a pause, writes what fits the
//! peer's window and reports it, and closes. As a kernel does, it answers a close over unread input with a reset,
//! which destroys what was still on its way to the peer.
//!
//! A machine that never stops asking for work fails the test instead of hanging it ([`DRAIN_BOUND`], [`STEP_BOUND`]).

mod link;
mod peer;
#[cfg(test)]
mod tests;

pub use link::{Cut, Ending, Link, Split};
pub use peer::{Peer, Script};

use crate::rng::Rng;
use core::time::Duration;
use link::{Arrival, Way};
use std::collections::VecDeque;
use wharf_core::Instant;

/// Outputs in one drain after which the world gives up.
pub const DRAIN_BOUND: usize = 100_000;
/// Steps at one instant, and steps of one run, after which the world gives up: (at one instant, in one run).
pub const STEP_BOUND: (usize, usize) = (200_000, 5_000_000);

/// What an output of a connection's machine asks its driver to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Write what [`End::transmit`] shows.
    Transmit,
    /// Stop reading.
    Pause,
    /// Read again.
    Resume,
    /// End the writing side.
    CloseWrite,
    /// End the connection, with a reset or without.
    Close {
        /// With RST.
        reset: bool,
    },
    /// Nothing; the end has noted it for itself.
    Nothing,
}

/// A connection's machine with all that belongs to it, as the world drives it.
pub trait End {
    /// Offers bytes that were read. Gives how many were taken.
    fn received(&mut self, now: Instant, bytes: &[u8]) -> usize;
    /// The peer has ended its side; all its bytes have been taken.
    fn peer_closed(&mut self, now: Instant);
    /// The peer has reset the connection.
    fn peer_reset(&mut self, now: Instant);
    /// The deadline has come.
    fn timeout(&mut self, now: Instant);
    /// The machine's next output, or its deadline.
    fn poll(&mut self, now: Instant) -> wharf_core::Step<Order>;
    /// What may leave now.
    fn transmit(&mut self) -> Vec<u8>;
    /// So many bytes of it have left.
    fn transmitted(&mut self, now: Instant, len: usize);
}

/// A connection: a peer, a link and the host's end.
#[derive(Debug)]
pub struct Connection<E> {
    /// The host's end.
    pub end: E,
    /// The peer and what it has seen.
    pub peer: Peer,
    to_host: Way,
    to_peer: Way,
    host: Host,
}

/// The driver's own state, what a kernel and an event loop would hold.
#[derive(Debug, Default)]
struct Host {
    unread: VecDeque<u8>,
    fin_arrived: bool,
    fin_told: bool,
    paused: bool,
    write_wanted: bool,
    write_closed: bool,
    closed_at: Option<Instant>,
    deadline: Option<Instant>,
}

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    PeerWakes,
    HostReceives,
    PeerReceives,
    Deadline,
}

/// See the module.
#[derive(Debug)]
pub struct World<E> {
    now: Instant,
    rng: Rng,
    connections: Vec<Connection<E>>,
    steps_now: usize,
}

impl<E: End> World<E> {
    /// An empty world. All its choices follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { now: Instant::ORIGIN, rng: Rng::new(seed), connections: Vec::new(), steps_now: 0 }
    }

    /// The time it is.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Opens a connection at this instant. Gives its index.
    pub fn connect(&mut self, end: E, link: Link, script: Script) -> usize {
        let mut peer = Peer::new(script);
        peer.wake_at = Some(self.now);
        let mut connection = Connection {
            end,
            peer,
            to_host: Way::new(link, link.cut_to_host, self.rng.fork()),
            to_peer: Way::new(link, link.cut_to_peer, self.rng.fork()),
            host: Host::default(),
        };
        connection.settle(self.now);
        self.connections.push(connection);
        self.connections.len() - 1
    }

    /// One connection.
    ///
    /// # Panics
    /// When `index` did not come from [`World::connect`].
    #[must_use]
    pub fn connection(&self, index: usize) -> &Connection<E> {
        &self.connections[index]
    }

    /// Hands something to the end of one connection, as a program would that shares its thread, and drains it.
    pub fn touch<T>(&mut self, index: usize, act: impl FnOnce(&mut E, Instant) -> T) -> T {
        let connection = &mut self.connections[index];
        let given = act(&mut connection.end, self.now);
        connection.settle(self.now);
        given
    }

    /// When the next thing happens, if anything ever does.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.connections.iter().flat_map(Connection::events).map(|(at, _)| at).min().map(|at| at.max(self.now))
    }

    /// Puts the clock to the next thing that happens and lets it happen. Gives the time, or `None` if nothing is left.
    ///
    /// # Panics
    /// When time stands still for more than [`STEP_BOUND`] steps.
    pub fn step(&mut self) -> Option<Instant> {
        let at = self.next_at()?;
        if at > self.now {
            self.steps_now = 0;
        }
        self.steps_now += 1;
        assert!(self.steps_now <= STEP_BOUND.0, "time stands still at {at:?}: some machine is never satisfied");
        self.now = at;
        let due: Vec<(usize, Event)> = self
            .connections
            .iter()
            .enumerate()
            .flat_map(|(index, connection)| connection.events().map(move |(when, event)| (index, when, event)))
            .filter(|(_, when, _)| *when <= at)
            .map(|(index, _, event)| (index, event))
            .collect();
        let (index, event) = *self.rng.pick(&due);
        self.connections[index].happen(at, event);
        Some(at)
    }

    /// Lets everything happen up to `span` from now and puts the clock there.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.now.saturating_add(span);
        self.run_while(|world| world.next_at().is_some_and(|at| at <= until));
        self.now = self.now.max(until);
        self.steps_now = 0;
    }

    /// Runs until no segment is under way and no peer is about to wake. Deadlines of machines that lie beyond that
    /// are left alone.
    pub fn run_until_quiet(&mut self) {
        self.run_while(|world| {
            world.connections.iter().flat_map(Connection::events).any(|(_, event)| event != Event::Deadline)
        });
    }

    /// Runs until nothing is left, deadlines included.
    pub fn run_until_over(&mut self) {
        self.run_while(|world| world.next_at().is_some());
    }

    fn run_while(&mut self, mut more: impl FnMut(&Self) -> bool) {
        let mut steps = 0;
        while more(self) {
            steps += 1;
            assert!(steps <= STEP_BOUND.1, "still busy after {steps} steps");
            let _ = self.step();
        }
    }
}

impl<E> Connection<E> {
    /// When the host closed the connection.
    #[must_use]
    pub const fn closed_at(&self) -> Option<Instant> {
        self.host.closed_at
    }

    /// Whether the host has been told to stop reading.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.host.paused
    }

    /// Bytes that have arrived at the host and wait for its machine.
    #[must_use]
    pub fn unread_by_host(&self) -> usize {
        self.host.unread.len()
    }

    /// The deadline the machine named last.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.host.deadline
    }

    fn events(&self) -> impl Iterator<Item = (Instant, Event)> {
        let deadline = if self.host.closed_at.is_some() { None } else { self.host.deadline };
        [
            (self.peer.wake_at, Event::PeerWakes),
            (self.to_host.next_at(), Event::HostReceives),
            (self.to_peer.next_at(), Event::PeerReceives),
            (deadline, Event::Deadline),
        ]
        .into_iter()
        .filter_map(|(at, event)| at.map(|at| (at, event)))
    }
}

impl<E: End> Connection<E> {
    fn happen(&mut self, now: Instant, event: Event) {
        match event {
            Event::PeerWakes => self.peer.wake_at = None,
            Event::HostReceives => match self.to_host.arrive() {
                Some(Arrival::Bytes(bytes)) if self.host.closed_at.is_some() => {
                    // A kernel answers data for a socket that is gone with a reset.
                    self.to_host.consumed(bytes.len());
                    self.to_peer.end(now, Ending::Reset);
                }
                Some(Arrival::Bytes(bytes)) => self.host.unread.extend(bytes),
                Some(Arrival::End(Ending::Fin)) => self.host.fin_arrived = true,
                Some(Arrival::End(Ending::Reset)) => {
                    self.host.unread.clear();
                    self.to_peer.shut();
                    if self.host.closed_at.is_none() {
                        self.end.peer_reset(now);
                    }
                }
                None => {}
            },
            Event::PeerReceives => match self.to_peer.arrive() {
                Some(Arrival::Bytes(bytes)) => self.peer.unread.extend(bytes),
                Some(Arrival::End(how)) => {
                    let read = self.peer.read(now);
                    self.to_peer.consumed(read);
                    self.peer.end(now, how);
                    if how == Ending::Reset {
                        self.to_host.shut();
                        self.peer.give_up();
                    }
                }
                None => {}
            },
            Event::Deadline => self.end.timeout(now),
        }
        self.settle(now);
    }

    /// Lets the peer and the host do all they can do at this instant.
    fn settle(&mut self, now: Instant) {
        loop {
            let read = self.peer.read(now);
            self.to_peer.consumed(read);
            self.drain(now);
            let progress = self.play(now) | self.feed(now) | self.write(now) | (read > 0);
            if !progress {
                return;
            }
        }
    }

    /// Plays the peer's script as far as it goes now.
    fn play(&mut self, now: Instant) -> bool {
        let mut progress = false;
        if self.peer.wake_at.is_some_and(|at| at > now) {
            return false;
        }
        self.peer.wake_at = None;
        let (seen, ended) = (self.peer.received().len(), self.peer.ended().is_some());
        loop {
            let stubborn = self.peer.stubborn;
            let Some(act) = self.peer.current() else {
                if ended && !stubborn && !self.peer.shut {
                    self.peer.shut = true;
                    self.to_host.end(now, Ending::Fin);
                    return true;
                }
                return progress;
            };
            match act {
                peer::Act::Send(bytes) => {
                    let written = self.to_host.write(now, bytes);
                    bytes.drain(..written);
                    progress |= written > 0;
                    if !bytes.is_empty() {
                        return progress;
                    }
                }
                peer::Act::Wait(span) => {
                    let wake_at = now.saturating_add(*span);
                    self.peer.advance();
                    self.peer.wake_at = Some(wake_at);
                    return progress;
                }
                peer::Act::Await(total) if seen < *total => return progress,
                peer::Act::AwaitEnd if !ended => return progress,
                peer::Act::Await(_) | peer::Act::AwaitEnd => {}
                peer::Act::StopReading => self.peer.reading = false,
                peer::Act::ReadAgain => self.peer.reading = true,
                peer::Act::Shut => {
                    self.peer.shut = true;
                    self.to_host.end(now, Ending::Fin);
                }
                peer::Act::Reset => {
                    self.peer.shut = true;
                    self.to_host.end(now, Ending::Reset);
                }
            }
            self.peer.advance();
            progress = true;
        }
    }

    /// Offers the machine what has arrived.
    fn feed(&mut self, now: Instant) -> bool {
        if self.host.closed_at.is_some() || self.host.paused {
            return false;
        }
        if self.host.unread.is_empty() {
            if self.host.fin_arrived && !self.host.fin_told {
                self.host.fin_told = true;
                self.end.peer_closed(now);
                return true;
            }
            return false;
        }
        let taken = self.end.received(now, self.host.unread.make_contiguous());
        assert!(taken <= self.host.unread.len(), "took {taken} of {} bytes", self.host.unread.len());
        self.host.unread.drain(..taken);
        self.to_host.consumed(taken);
        taken > 0
    }

    /// Writes what may leave and fits the window.
    fn write(&mut self, now: Instant) -> bool {
        if !self.host.write_wanted || self.host.write_closed || self.host.closed_at.is_some() {
            return false;
        }
        let bytes = self.end.transmit();
        if bytes.is_empty() {
            self.host.write_wanted = false;
            return false;
        }
        let written = self.to_peer.write(now, &bytes);
        if written > 0 {
            self.end.transmitted(now, written);
        }
        written > 0
    }

    /// Carries out what the machine orders until it waits.
    fn drain(&mut self, now: Instant) {
        for _ in 0..DRAIN_BOUND {
            match self.end.poll(now) {
                wharf_core::Step::Wait(deadline) => {
                    self.host.deadline = deadline;
                    return;
                }
                wharf_core::Step::Do(order) => {
                    assert!(self.host.closed_at.is_none() || order == Order::Nothing, "{order:?} after the close");
                    match order {
                        Order::Transmit => {
                            self.host.write_wanted = true;
                            let _ = self.write(now);
                        }
                        Order::Pause => self.host.paused = true,
                        Order::Resume => self.host.paused = false,
                        Order::CloseWrite => self.close_write(now),
                        Order::Close { reset } => self.close(now, reset),
                        Order::Nothing => {}
                    }
                }
            }
        }
        panic!("a drain did not end after {DRAIN_BOUND} outputs");
    }

    fn close_write(&mut self, now: Instant) {
        if !self.host.write_closed {
            self.host.write_closed = true;
            self.to_peer.end(now, Ending::Fin);
        }
    }

    fn close(&mut self, now: Instant, reset: bool) {
        if reset || !self.host.unread.is_empty() {
            self.to_peer.end(now, Ending::Reset);
        } else {
            self.close_write(now);
        }
        self.host.closed_at = Some(now);
        self.host.write_closed = true;
    }
}
