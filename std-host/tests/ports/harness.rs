//! A port on a thread of its own, clients, and waits that all end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use wharf_core::port::server::Reason;
use wharf_core::slots::SlotId;
use wharf_host::services::port::options::Options;
use wharf_host::services::port::{Addr, Event, Events, Port, Server, Threaded, Told};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The same as a timeout.
pub(crate) const PATIENT: Option<Duration> = Some(PATIENCE);
/// One attempt.
pub(crate) const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
/// So short that it may well pass.
pub(crate) const SOON: Option<Duration> = Some(Duration::from_millis(20));

/// What a client has left is there until it is read, and the client until it is told to go: for tests whose threads may have
/// to wait for a processor longer than a port waits for its program.
pub(crate) const UNHURRIED: [(&str, &str); 3] = [("half_close_linger", "10m"), ("unread", "10m"), ("linger", "10m")];

/// The options of a port on the loopback interface.
pub(crate) fn options(keys: &[(&str, &str)]) -> Options {
    let mut options = Options::new("dev", "127.0.0.1:0").unwrap();
    for (key, value) in keys {
        options.set(key, value).unwrap();
    }
    options
}

/// A port that listens.
pub(crate) fn port(keys: &[(&str, &str)]) -> Threaded {
    let port = Server::spawn(options(keys)).unwrap();
    port.connect(PATIENT).unwrap();
    port
}

pub(crate) const fn slot(index: u16) -> Addr {
    Addr::Slot(index)
}

/// A client that waits no longer than a test does.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    /// One that is in its slot when this returns, which must be the next to be taken.
    pub(crate) fn seated(port: &Port, index: u16) -> Self {
        let client = Self::connect(port.local_addr().unwrap());
        port.wait_client(slot(index), PATIENT).unwrap();
        assert_eq!(port.peer(slot(index)).unwrap(), Some(client.address()));
        client
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(PATIENT).unwrap();
        stream.set_write_timeout(PATIENT).unwrap();
        Self(stream)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// All that comes until the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn end(&self) {
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// Waits until `what` is so.
pub(crate) fn until(mut what: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "it does not come to be");
        thread::yield_now();
    }
}

/// Waits until so many calls wait on the loop.
pub(crate) fn until_waiting(port: &Port, count: usize) {
    until(|| port.run(|port| port.waiting()).unwrap() == count);
}

/// Waits until so many bytes of a slot are to be read.
pub(crate) fn until_received(port: &Port, index: u16, bytes: u64) {
    until(|| port.pending(slot(index)).unwrap().rx == bytes);
}

/// Who has left, and why.
pub(crate) fn departure(event: &Event) -> Option<(SlotId, Reason)> {
    if let Event::Disconnected { slot, reason, .. } = event { Some((*slot, *reason)) } else { None }
}

/// The next event for which `pick` has something.
pub(crate) fn event<R>(events: &Events, pick: impl Fn(&Event) -> Option<R>) -> R {
    loop {
        let told = events.next(PATIENT).expect("it is told in time");
        if let Told::Event(event) = told
            && let Some(picked) = pick(&event)
        {
            return picked;
        }
    }
}
