//! A UDP port on a loop, one who hears everything that happens at it, and a peer.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};
use wharf_core::port::framing::Eom;
use wharf_host::event_loop::Loop;
use wharf_host::services::port::options::Options;
use wharf_host::services::port::udp::{Event, Received, RunningUdp, UdpServer, UdpSubscriber};
use wharf_host::services::port::{Addr, Error};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const V4: &str = "127.0.0.1:0 udp";
pub(crate) const V6: &str = "[::1]:0 udp";
/// The longest payloads over both families.
pub(crate) const LONGEST: [(&str, usize); 2] = [(V4, 65_507), (V6, 65_527)];
/// Why a read ended.
pub(crate) const CNT_END: Eom = Eom::CNT.union(Eom::END);

/// What a subscriber was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Event(Event),
    Datagram(Vec<u8>, SocketAddr),
    Lost(u64),
}

pub(crate) type Log = Rc<RefCell<Vec<Heard>>>;

/// Writes down what it is told.
pub(crate) struct Clerk {
    log: Log,
    datagrams: bool,
}

impl UdpSubscriber for Clerk {
    fn hears_datagrams(&self) -> bool {
        self.datagrams
    }

    fn event(&mut self, _: &mut RunningUdp<'_>, event: &Event) {
        self.log.borrow_mut().push(Heard::Event(*event));
    }

    fn datagram(&mut self, _: &mut RunningUdp<'_>, datagram: &Received<'_>) {
        self.log.borrow_mut().push(Heard::Datagram(datagram.bytes.to_vec(), datagram.peer));
    }

    fn lost(&mut self, _: &mut RunningUdp<'_>, count: u64) {
        self.log.borrow_mut().push(Heard::Lost(count));
    }
}

/// A loop with one port, and a peer that talks to it.
pub(crate) struct Bench {
    pub(crate) lp: Loop,
    pub(crate) port: UdpServer,
    pub(crate) log: Log,
    pub(crate) peer: UdpSocket,
}

/// The options of a port with these keys set.
pub(crate) fn options(address: &str, keys: &[(&str, &str)]) -> Options {
    let mut options = Options::new("dev", address).unwrap();
    for (key, value) in keys {
        options.set(key, value).unwrap();
    }
    options
}

/// A port whose events are heard, and with `datagrams` its datagrams too.
pub(crate) fn bench(options: &Options, datagrams: bool) -> Bench {
    let (mut lp, log) = (Loop::new().unwrap(), Log::default());
    let clerk = Clerk { log: Rc::clone(&log), datagrams };
    let port = UdpServer::bind(&mut lp.loop_mut(), options, |port| port.subscribe(Box::new(clerk))).unwrap();
    let v6 = port.local_addr().is_some_and(|local| local.is_ipv6());
    let peer = peer(if v6 { "[::1]:0" } else { "127.0.0.1:0" });
    Bench { lp, port, log, peer }
}

pub(crate) fn peer(address: &str) -> UdpSocket {
    let peer = UdpSocket::bind(address).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

impl Bench {
    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut RunningUdp<'_>) -> R) -> R {
        self.port.with(&mut self.lp.loop_mut(), f)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.local_addr().expect("the port is up")
    }

    pub(crate) fn send(&self, payload: &[u8]) {
        assert_eq!(self.peer.send_to(payload, self.addr()).unwrap(), payload.len());
    }

    /// Runs the loop until `done` is true of the port, which is soon unless something is wrong.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&mut RunningUdp<'_>) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !self.with(&mut done) {
            assert!(Instant::now() < end, "what was waited for has not come: {:?}", self.log);
            self.lp.turn(Some(Duration::from_millis(50))).unwrap();
        }
    }

    /// Runs the loop until so many datagrams have been received.
    pub(crate) fn receive(&mut self, count: u64) {
        self.run_until(|port| port.counters().received >= count);
    }

    pub(crate) fn read(&mut self, room: usize) -> Result<(Vec<u8>, Eom), Error> {
        let mut buffer = vec![b'-'; room];
        let read = self.with(|port| port.read(Addr::Slot(0), &mut buffer))?;
        buffer.truncate(read.len);
        Ok((buffer, read.eom))
    }

    /// The datagrams that the subscriber has got.
    pub(crate) fn datagrams(&self) -> Vec<Vec<u8>> {
        let datagram = |heard: &Heard| if let Heard::Datagram(bytes, _) = heard { Some(bytes.clone()) } else { None };
        self.log.borrow().iter().filter_map(datagram).collect()
    }

    /// The next datagram that the peer gets.
    pub(crate) fn answer(&self) -> Vec<u8> {
        hear(&self.peer)
    }
}

pub(crate) fn hear(peer: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 65_536];
    let len = peer.recv(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(len).collect()
}
