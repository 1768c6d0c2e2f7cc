//! A port on a loop of its own that the test runs, and clients beside it.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
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

/// A folder that no other test has; it goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wharf-port-control-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A pipe that nobody reads: whoever opens it for writing waits.
    pub(crate) fn pipe(&self, name: &str) -> String {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = self.path(name);
        mknodat(CWD, Path::new(&path), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The lines of a file without the moment that each begins with, which must be one.
pub(crate) fn lines_of(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let (moment, rest) = line.split_once(' ').unwrap();
            assert!(moment.len() == 27 && moment.ends_with('Z'), "{line:?}");
            rest.to_owned()
        })
        .collect()
}
