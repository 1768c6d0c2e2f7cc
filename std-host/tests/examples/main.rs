//! Every example runs and does what its first lines say.

mod calls;
mod datagrams;
mod group;
mod modbus;
#[path = "../event_loop/provider.rs"]
mod provider;
mod sockets;
mod tls;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running example, killed when it is dropped.
struct Example {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Example {
    /// Starts an example that cargo has built beside this test.
    fn start(name: &str, arguments: &[&str]) -> Self {
        let child = Command::new(path(name)).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("cannot start the example {name} ({error}); `cargo build --examples` makes it")
        });
        let out = BufReader::new(child.stdout.take().expect("the output is piped"));
        Self { child, out }
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The address in its next line, `listening on ADDRESS`.
    fn address(&mut self) -> SocketAddr {
        let line = self.line();
        line.strip_prefix("listening on ").unwrap_or_else(|| panic!("not an address: {line:?}")).parse().unwrap()
    }

    /// Sends the signal of Ctrl-C and waits for a clean end.
    fn interrupt(mut self) {
        self.signal();
        self.ends();
    }

    /// Sends the signal of Ctrl-C.
    fn signal(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Waits for a clean end.
    fn ends(&mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `target/PROFILE/examples/NAME`, from `target/PROFILE/deps/THIS_TEST`.
fn path(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

#[test]
fn user_code_needs_no_unsafe() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(source.lines().any(|line| line == "#![forbid(unsafe_code)]"), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 9, "{seen} examples");
}
