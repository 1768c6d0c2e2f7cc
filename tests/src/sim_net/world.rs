//! The clock, what is on its way, and all that several loops share.

use super::connection::Backlog;
use super::datagrams::{Datagram, UdpKey, UdpSocket};
use super::net::SimNet;
use super::poll::NetState;
use super::stream::End;
use super::tickets::Tickets;
use super::unix::Node;
use super::{Faults, Peer, PeerListener, UdpPeer};
use crate::rng::Rng;
use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::Signal;
use wharf_host::event_loop::net::{Resolved, UdpOptions};

/// One end of a connection. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndKey(pub(super) u64);

/// A listening socket. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListenerKey(pub(super) u64);

/// A simulated world; clones are the same world.
#[derive(Clone)]
pub struct World {
    state: Rc<RefCell<State>>,
}

/// What has been asked of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Polls.
    pub polls: u64,
    /// Accepts, sheds included.
    pub accepts: u64,
    /// Connects begun.
    pub connects: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Calls that receive datagrams.
    pub receives: u64,
    /// Calls that send datagrams.
    pub sends: u64,
    /// Calls with an id that was not open, or not of that kind.
    pub strays: u64,
}

/// What becomes of connections to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// They come about after so long, if somebody listens.
    Slow(Duration),
    /// They are refused after so long.
    Refused(Duration),
    /// Nothing ever comes back.
    Silent,
}

impl World {
    /// A strict world: everything follows from the calls alone.
    #[must_use]
    pub fn strict() -> Self {
        Self::new(0, Faults::none())
    }

    /// A world with faults, which follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = State {
            now: Instant::ORIGIN,
            horizon: None,
            at_rest: false,
            rests: 0,
            rng: Rng::new(seed),
            faults,
            nets: Vec::new(),
            ends: BTreeMap::new(),
            listeners: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            receive_failure: None,
            write_failure: None,
            flights: BTreeMap::new(),
            routes: BTreeMap::new(),
            names: BTreeMap::new(),
            paths: BTreeMap::new(),
            tickets: Tickets::default(),
            next: 0,
            next_port: 40_000,
            descriptors: None,
            calls: Calls::default(),
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// The system for one more loop.
    #[must_use]
    pub fn net(&self) -> SimNet {
        SimNet::new(self.clone())
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// Moves the clock forward at once, past whatever was due: the process was stopped, or a callback took so long.
    pub fn jump(&self, span: Duration) {
        let mut state = self.state();
        state.now = state.now.saturating_add(span);
    }

    /// Other faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The sockets that all loops together may have open.
    pub fn limit_descriptors(&self, most: Option<usize>) {
        self.state().descriptors = most;
    }

    /// What becomes of connections to `to` from now on.
    pub fn route(&self, to: SocketAddr, route: Route) {
        self.state().routes.insert(to, route);
    }

    /// What a host name stands for, and after which time that is known. A name that nobody has told of is unknown at
    /// once.
    pub fn name(&self, host: &str, after: Duration, addrs: &[IpAddr]) {
        self.state().names.insert(host.to_owned(), (after, addrs.to_vec()));
    }

    /// A connection that the test holds the other side of. `None` if nobody listens there or the backlog is full.
    #[must_use]
    pub fn connect(&self, to: SocketAddr) -> Option<Peer> {
        let end = self.state().connect_at_once(to)?;
        Some(Peer::new(self.clone(), end))
    }

    /// A listener that the test holds; port 0 chooses one.
    ///
    /// # Panics
    /// If the address is in use.
    #[must_use]
    pub fn listen(&self, addr: SocketAddr) -> PeerListener {
        let key = self.state().bind(addr, 512, false, None).expect("the address of a test's listener is free");
        PeerListener::new(self.clone(), key)
    }

    /// A UDP socket that the test holds; port 0 chooses one.
    ///
    /// # Panics
    /// If the address is in use.
    #[must_use]
    pub fn bind_udp(&self, addr: SocketAddr) -> UdpPeer {
        let key = self.state().bind_udp(addr, &UdpOptions::default()).expect("the address of a test's socket is free");
        UdpPeer::new(self.clone(), key)
    }

    /// Every call that receives datagrams fails from now on, until told otherwise.
    pub fn fail_receiving(&self, why: Option<ErrorKind>) {
        self.state().receive_failure = why;
    }

    /// Every write of a loop to a stream fails from now on, until told otherwise. Nothing else becomes of the connection.
    pub fn fail_writing(&self, why: Option<ErrorKind>) {
        self.state().write_failure = why;
    }

    /// Lets a signal arrive at every loop that watches it.
    pub fn raise(&self, signal: Signal) {
        self.state().raise(signal);
    }

    /// What has been asked so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// Sockets and listeners that loops have open, and tickets that nobody has dropped.
    #[must_use]
    pub fn open(&self) -> usize {
        let mut state = self.state();
        state.close_dropped_tickets();
        state.open()
    }

    pub(super) fn set_horizon(&self, horizon: Option<Instant>) {
        self.state().horizon = horizon;
    }

    /// Nobody is known to wait until his next poll.
    pub(super) fn ask_all_again(&self) {
        for net in &mut self.state().nets {
            net.ask_again();
        }
    }

    /// Whether the last poll found that nothing can happen any more, and nothing has been begun since.
    pub(super) fn is_at_rest(&self) -> bool {
        let state = self.state();
        state.at_rest && !state.is_stirred()
    }

    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("World").field("now", &state.now).field("open", &state.open()).finish_non_exhaustive()
    }
}

/// Something that is to happen at a time.
#[derive(Debug)]
pub(super) enum Flight {
    Bytes {
        to: EndKey,
        bytes: Vec<u8>,
    },
    Fin {
        to: EndKey,
    },
    Reset {
        to: EndKey,
    },
    /// A direction that was held goes on.
    ReleaseRead(EndKey),
    ReleaseWrite(EndKey),
    ReleaseListener(ListenerKey),
    ReleaseUdp {
        key: UdpKey,
        write: bool,
    },
    Datagram(Datagram),
    /// A datagram has left the buffer of its socket.
    DatagramLeft(UdpKey),
    /// A connection comes about or fails.
    Connect(EndKey),
    /// A loop learns what a name stands for.
    Answer {
        net: usize,
        answer: Resolved,
    },
}

pub(super) struct State {
    pub(super) now: Instant,
    /// The clock goes no further by itself.
    pub(super) horizon: Option<Instant>,
    /// The last poll found nothing, and nothing will happen before the horizon.
    pub(super) at_rest: bool,
    /// Polls in sequence that ended so.
    pub(super) rests: u32,
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) nets: Vec<NetState>,
    pub(super) ends: BTreeMap<EndKey, End>,
    pub(super) listeners: BTreeMap<ListenerKey, Backlog>,
    pub(super) datagrams: BTreeMap<UdpKey, UdpSocket>,
    /// What every call that receives datagrams says.
    pub(super) receive_failure: Option<ErrorKind>,
    pub(super) write_failure: Option<ErrorKind>,
    /// In order of time, then of departure.
    pub(super) flights: BTreeMap<(Instant, u64), Flight>,
    pub(super) routes: BTreeMap<SocketAddr, Route>,
    pub(super) names: BTreeMap<String, (Duration, Vec<IpAddr>)>,
    /// What is in the file system.
    pub(super) paths: BTreeMap<Box<Path>, Node>,
    pub(super) tickets: Tickets,
    next: u64,
    next_port: u16,
    pub(super) descriptors: Option<usize>,
    pub(super) calls: Calls,
}

impl State {
    /// A number that was not used before.
    pub(super) const fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn fresh_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == u16::MAX { 40_000 } else { port + 1 };
        port
    }

    /// True `chance` times out of 1000.
    pub(super) fn strikes(&mut self, chance: u64) -> bool {
        chance > 0 && self.rng.chance(chance, 1000)
    }

    /// Any span up to `most`.
    pub(super) fn span(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return most;
        }
        Duration::from_micros(self.rng.between(0, u64::try_from(most.as_micros()).unwrap_or(u64::MAX)))
    }

    pub(super) fn depart(&mut self, at: Instant, flight: Flight) {
        let number = self.fresh();
        self.flights.insert((at, number), flight);
    }

    /// Lets everything happen that is due.
    pub(super) fn deliver_due(&mut self) {
        while let Some(first) = self.flights.first_entry() {
            if first.key().0 > self.now {
                return;
            }
            let flight = first.remove();
            self.arrive(flight);
        }
    }

    pub(super) fn arrive(&mut self, flight: Flight) {
        match flight {
            Flight::Bytes { to, bytes } => self.bytes_arrive(to, &bytes),
            Flight::Fin { to } => self.fin_arrives(to),
            Flight::Reset { to } => self.reset_arrives(to),
            Flight::ReleaseRead(end) => self.release_read(end),
            Flight::ReleaseWrite(end) => self.release_write(end),
            Flight::ReleaseListener(key) => self.release_listener(key),
            Flight::ReleaseUdp { key, write } => self.release_udp(key, write),
            Flight::Datagram(packet) => self.datagram_arrives(&packet),
            Flight::DatagramLeft(key) => self.datagram_left(key),
            Flight::Connect(end) => self.connect_arrives(end),
            Flight::Answer { net, answer } => self.nets[net].answer(answer),
        }
    }

    /// Moves the clock to the next thing that can happen: an arrival or a deadline of a loop. False if there is none
    /// before the horizon.
    pub(super) fn advance(&mut self) -> bool {
        let arrival = self.flights.first_key_value().map(|((at, _), _)| *at);
        let deadlines = self.nets.iter().filter_map(NetState::deadline);
        let next = deadlines.chain(arrival).min();
        let (Some(at), horizon) = (next.filter(|at| self.horizon.is_none_or(|horizon| *at <= horizon)), self.horizon)
        else {
            self.now = self.horizon.unwrap_or(self.now).max(self.now);
            self.at_rest = true;
            return false;
        };
        self.now = self.now.max(at);
        if self.strikes(self.faults.jumps) {
            let far = self.now.saturating_add(self.span(self.faults.jump));
            self.now = horizon.map_or(far, |horizon| far.min(horizon));
        }
        true
    }

    pub(super) fn open(&self) -> usize {
        self.nets.iter().map(NetState::open).sum::<usize>() + self.tickets.count()
    }

    /// Whether one more descriptor can be had.
    pub(super) fn has_descriptor(&mut self) -> bool {
        self.descriptors.is_none_or(|most| self.open() < most) && !self.strikes(self.faults.exhausted)
    }
}
