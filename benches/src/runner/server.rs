//! A server in a process of its own, killed when its owner lets go of it.

use crate::machine;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a server may take until it says where it listens.
const START_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct ServerProcess {
    child: Child,
    pub(super) address: SocketAddr,
    pub(super) pinned: bool,
}

impl ServerProcess {
    /// Starts `command` on `core` and waits for its line `listening ADDRESS`.
    pub(super) fn start(command: &[OsString], core: usize) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("an empty command")?;
        let name = program.to_string_lossy();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let (mut child, pinned) = machine::spawn_on(core, &mut command).map_err(|error| format!("{name}: {error}"))?;
        let stdout = child.stdout.take().expect("stdout is piped by the line above");
        let (found, address) = mpsc::channel();
        // The thread reads on to the end, so that a talkative server never blocks on a full pipe.
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|len| len > 0) {
                if let Some(address) = listening(&line) {
                    // Nobody waits any more once the start has timed out.
                    let _ = found.send(address);
                    let _ = std::io::copy(&mut reader.by_ref(), &mut std::io::sink());
                    return;
                }
                line.clear();
            }
        });
        let address = address.recv_timeout(START_WITHIN);
        // From here on the guard ends the child, whatever comes.
        let guard = |address| Self { child, address, pinned };
        match address {
            Ok(address) => Ok(guard(address)),
            Err(_) => {
                drop(guard(SocketAddr::from(([0, 0, 0, 0], 0))));
                Err(format!("{name} did not say where it listens"))
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, only to reap.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of a line `listening ADDRESS`, whatever follows it.
fn listening(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("listening ")?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_its_line_alone() {
        assert_eq!(listening("listening 127.0.0.1:502\n"), Some(SocketAddr::from(([127, 0, 0, 1], 502))));
        assert_eq!(listening("listening [::1]:502 modbus\n"), "[::1]:502".parse().ok());
        assert_eq!(listening("not listening 127.0.0.1:502\n"), None);
        assert_eq!(listening("listening nowhere\n"), None);
    }

    #[test]
    fn a_server_that_ends_without_its_line_is_an_error_that_names_it() {
        let trouble = ServerProcess::start(&["true".into()], 0).map(|server| server.address).unwrap_err();
        assert!(trouble.contains("true"), "{trouble}");
        let trouble = ServerProcess::start(&["/no/such/server".into()], 0).map(|server| server.address).unwrap_err();
        assert!(trouble.contains("/no/such/server"), "{trouble}");
    }
}
