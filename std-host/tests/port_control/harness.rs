//! A port on a loop of its own that the test runs, and clients beside it.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use wharf_host::event_loop::Loop;
use wharf_host::services::port::options::Options;
use wharf_host::services::port::report::{Level, Report};
use wharf_host::services::port::{Running, Server};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port, and its loop.
pub(crate) struct Bench {
    lp: Loop,
    pub(crate) port: Server,
}

impl Bench {
    /// A port `dev` on a port of the system's choice, with these options besides.
    pub(crate) fn new(options: &[(&str, &str)]) -> Self {
        let mut described = Options::new("dev", "127.0.0.1:0").unwrap();
        for (key, value) in options {
            described.set(key, value).unwrap();
        }
        let mut lp = Loop::new().unwrap();
        let port = Server::bind(&mut lp.loop_mut(), &described, |_| ()).unwrap();
        Self { lp, port }
    }

    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut Running<'_>) -> R) -> R {
        self.port.with(&mut self.lp.loop_mut(), f)
    }

    pub(crate) fn report(&mut self, level: Level) -> Report {
        self.with(|port| port.report(level))
    }

    /// Runs the loop until the port is as it is to be.
    pub(crate) fn run_until(&mut self, mut f: impl FnMut(&mut Running<'_>) -> bool) {
        let port = self.port.clone();
        let end = std::time::Instant::now() + PATIENCE;
        while !port.with(&mut self.lp.loop_mut(), &mut f) {
            assert!(std::time::Instant::now() < end, "{}", self.report(Level::All));
            self.lp.turn(Some(Duration::from_millis(10))).unwrap();
        }
    }

    /// A client that has its slot.
    pub(crate) fn client(&mut self) -> TcpStream {
        let before = self.with(|port| port.totals().accepted);
        let stream = TcpStream::connect(self.port.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        self.run_until(|port| port.totals().accepted > before);
        stream
    }

    /// Sends from a client, and runs until the port has received it.
    pub(crate) fn send(&mut self, client: &mut TcpStream, bytes: &[u8]) {
        let before = self.report(Level::Line).totals.rx;
        client.write_all(bytes).unwrap();
        self.run_until(|port| port.report(Level::Line).totals.rx >= before + bytes.len() as u64);
    }

    /// Ends the loop, and with it the port.
    pub(crate) fn end(self) {
        drop(self);
    }
}
