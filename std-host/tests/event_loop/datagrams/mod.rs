//! Datagrams, and a UDP socket that writes down what happens to it.

mod lifetime;
mod narrow;
mod options;
mod receiving;
mod sending;
mod unreached;

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{Error, Loop, LoopMut, LoopOptions, Packets, Udp, UdpHandler, UdpId, UdpOptions};

pub(crate) const V4: &str = "127.0.0.1:0";
pub(crate) const V6: &str = "[::1]:0";

/// What happened to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Batch(Vec<Vec<u8>>),
    Drained,
    Error(String),
}

pub(crate) type Log = Rc<RefCell<Vec<Seen>>>;
pub(crate) type Act = Box<dyn FnMut(&str, &mut Udp<'_, ()>, Option<Packets<'_>>)>;

/// Writes down its callbacks and lets the test act in each.
pub(crate) struct Probe {
    log: Log,
    act: Act,
}

impl Probe {
    pub(crate) fn new(log: &Log, act: impl FnMut(&str, &mut Udp<'_, ()>, Option<Packets<'_>>) + 'static) -> Self {
        Self { log: Rc::clone(log), act: Box::new(act) }
    }
}

impl UdpHandler for Probe {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        let payloads: Vec<_> = batch.iter().map(|packet| packet.payload.to_vec()).collect();
        assert_eq!(payloads.len(), batch.len());
        self.log.borrow_mut().push(Seen::Batch(payloads));
        (self.act)("packets", u, Some(batch));
    }

    fn drained(&mut self, u: &mut Udp<'_, ()>) {
        self.log.borrow_mut().push(Seen::Drained);
        (self.act)("drained", u, None);
    }

    fn error(&mut self, u: &mut Udp<'_, ()>, error: Error) {
        self.log.borrow_mut().push(Seen::Error(error.to_string()));
        (self.act)("error", u, None);
    }
}

/// A loop with one UDP socket, and a socket beside it.
pub(crate) struct Bench {
    pub(crate) lp: Loop,
    pub(crate) log: Log,
    pub(crate) id: UdpId,
    pub(crate) addr: SocketAddr,
    pub(crate) outside: UdpSocket,
    pub(crate) outside_addr: SocketAddr,
}

pub(crate) fn bench(addr: &str) -> Bench {
    bench_with(addr, LoopOptions::default(), quiet)
}

pub(crate) fn bench_with(
    addr: &str,
    options: LoopOptions,
    act: impl FnMut(&str, &mut Udp<'_, ()>, Option<Packets<'_>>) + 'static,
) -> Bench {
    let mut lp = Loop::with_options((), options).unwrap();
    let log = Log::default();
    let id = lp.loop_mut().bind_udp(addr.parse().unwrap(), Probe::new(&log, act), UdpOptions::default()).unwrap();
    let addr = lp.loop_mut().udp(id).unwrap().local_addr().unwrap();
    let outside = UdpSocket::bind(if addr.is_ipv6() { V6 } else { V4 }).unwrap();
    outside.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let outside_addr = outside.local_addr().unwrap();
    Bench { lp, log, id, addr, outside, outside_addr }
}

pub(crate) fn quiet(_: &str, _: &mut Udp<'_, ()>, _: Option<Packets<'_>>) {}

impl Bench {
    /// Acts on the socket between two iterations.
    pub(crate) fn udp<R>(&mut self, f: impl FnOnce(&mut Udp<'_, ()>) -> R) -> R {
        f(&mut self.lp.loop_mut().udp(self.id).unwrap())
    }

    /// An iteration that does not wait: loopback delivers within the call that sends.
    pub(crate) fn turn(&mut self) {
        self.lp.turn(Some(Duration::ZERO)).unwrap();
    }

    /// Runs until `done` is true of what has been seen, which is at once unless something is wrong.
    pub(crate) fn run_until(&mut self, mut done: impl FnMut(&[Seen], &mut LoopMut<'_>) -> bool) {
        let log = Rc::clone(&self.log);
        let too_long = |_: &mut LoopMut<'_>, _| panic!("nothing more happens");
        let guard = self.lp.loop_mut().add_timer(Duration::from_secs(10), None, too_long).unwrap();
        assert!(self.lp.run_until(move |lp| done(&log.borrow(), lp)).unwrap());
        self.lp.loop_mut().close(guard).unwrap();
    }

    /// Runs until so many packets have been received.
    pub(crate) fn run_to_packets(&mut self, count: u64) {
        self.run_until(|_, lp| lp.stats().datagrams_in >= count);
    }

    pub(crate) fn log(&self) -> Vec<Seen> {
        self.log.borrow().clone()
    }

    /// All payloads so far, in order.
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        let batch = |seen: Seen| if let Seen::Batch(payloads) = seen { payloads } else { Vec::new() };
        self.log().into_iter().flat_map(batch).collect()
    }

    /// The next packet that the socket beside the loop receives.
    pub(crate) fn heard(&self) -> (Vec<u8>, SocketAddr) {
        hear(&self.outside)
    }
}

pub(crate) fn hear(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65_536];
    let (len, peer) = socket.recv_from(&mut bytes).unwrap();
    bytes.truncate(len);
    (bytes, peer)
}

/// An address that answers nobody here, and a socket that keeps others from it: it hears another peer alone.
pub(crate) fn nobody() -> (UdpSocket, SocketAddr) {
    let holder = UdpSocket::bind(V4).unwrap();
    holder.connect("127.0.0.1:9").unwrap();
    let addr = holder.local_addr().unwrap();
    (holder, addr)
}

/// What lies behind the socket's descriptor, as long as it is open.
#[cfg(target_os = "linux")]
pub(crate) struct Behind {
    descriptor: std::path::PathBuf,
    socket: std::path::PathBuf,
}

#[cfg(target_os = "linux")]
impl Behind {
    pub(crate) fn is_open(&self) -> bool {
        // The number may be in use again, but a socket's name in the system is not.
        std::fs::read_link(&self.descriptor).is_ok_and(|socket| socket == self.socket)
    }
}

#[cfg(target_os = "linux")]
impl Bench {
    pub(crate) fn behind(&mut self) -> Behind {
        use std::os::fd::AsRawFd;
        let number = self.udp(|u| u.raw().unwrap().as_raw_fd());
        let descriptor = std::path::PathBuf::from(format!("/proc/self/fd/{number}"));
        let socket = std::fs::read_link(&descriptor).unwrap();
        Behind { descriptor, socket }
    }
}
