//! The processes of a side-by-side run: servers, clients, and the programs that cargo has to build for them.

use crate::machine;
use crate::measure::Failure;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// How long a server may take until it says where it listens, or answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server in a process of its own, killed when its owner lets go of it.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it runs on the cores that were asked for.
    pub pinned: bool,
}

impl ServerProcess {
    /// Starts `command` on `cores` and waits for its line `listening ADDRESS`, or `Listening on port PORT`.
    ///
    /// # Errors
    /// Why there is no such server.
    pub fn start(command: &[OsString], cores: &[usize]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("an empty command")?;
        let name = program.to_string_lossy();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let (mut child, pinned) = machine::spawn_on(cores, &mut command).map_err(|error| format!("{name}: {error}"))?;
        let stdout = child.stdout.take().expect("stdout is piped by the line above");
        let (found, address) = mpsc::channel();
        let (say, answers) = mpsc::channel();
        // The thread reads on to the end, so that a talkative server never blocks on a full pipe.
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|len| len > 0) {
                // Nobody waits any more once the start has timed out or the server has been let go.
                if let Some(address) = listening(&line) {
                    let _ = found.send(address);
                } else if line.starts_with('{') {
                    let _ = say.send(line.clone());
                }
                line.clear();
            }
        });
        let found = address.recv_timeout(PATIENCE);
        // From here on the guard ends the child, whatever comes.
        let stdin = child.stdin.take();
        let mut guard = Self { child, stdin, answers, address: SocketAddr::from(([0, 0, 0, 0], 0)), pinned };
        guard.address = found.map_err(|_| format!("{name} did not say where it listens"))?;
        Ok(guard)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks the server, by an empty line, what it has counted; it answers with a line of JSON.
    ///
    /// # Errors
    /// When it does not answer, or not so.
    pub fn ask<A: DeserializeOwned>(&mut self) -> Result<A, String> {
        let silent = |why: &dyn std::fmt::Display| format!("the server does not answer: {why}");
        let stdin = self.stdin.as_mut().ok_or_else(|| silent(&"it has no input"))?;
        stdin.write_all(b"\n").map_err(|error| silent(&error))?;
        let line = self.answers.recv_timeout(PATIENCE).map_err(|error| silent(&error))?;
        serde_json::from_str(&line).map_err(|error| format!("the server answers {line:?}: {error}"))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, only to reap.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a client that prints its outcome as JSON, on `core`; says whether it is so.
///
/// # Errors
/// `not run: ...`, when it cannot be started.
pub fn start_client(client: &mut Command, core: usize) -> Result<(Child, bool), String> {
    machine::spawn_on(&[core], client.stdout(Stdio::piped())).map_err(|error| format!("not run: the client: {error}"))
}

/// Waits for the outcome of a client.
///
/// # Errors
/// As a table says it: `wrong: ...` or `not run: ...`.
pub fn outcome<M: DeserializeOwned>(client: Child) -> Result<M, String> {
    let output = client.wait_with_output().map_err(|error| format!("not run: the client: {error}"))?;
    let outcome: Result<M, Failure> = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("not run: the client ended with {} and no figures: {error}", output.status))?;
    outcome.map_err(|failure| failure.in_a_table())
}

/// The binary `name` of `package` in this workspace: built anew by the cargo that runs `program`, else the one beside
/// it.
///
/// # Errors
/// Why there is none, and the command that would make it.
pub fn locate(program: &Path, package: &str, name: &str) -> Result<PathBuf, String> {
    let folder = program.parent().ok_or("the program has no folder")?;
    let binary = folder.join(name);
    let arguments = ["build", "--release", "-p", package, "--bin", name];
    let build = format!("cargo {}", arguments.join(" "));
    if let (Some(cargo), Some(target)) = (std::env::var_os("CARGO"), folder.parent())
        && folder.ends_with("release")
    {
        eprintln!("building: {build}");
        let status = Command::new(cargo).args(arguments).arg("--target-dir").arg(target).stdout(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("this failed: {build}"));
        }
    }
    if binary.is_file() { Ok(binary) } else { Err(format!("no {}; make it by: {build}", binary.display())) }
}

/// The address of a line `listening ADDRESS`, whatever follows it, or of `Listening on port PORT` on loopback.
fn listening(line: &str) -> Option<SocketAddr> {
    if let Some(rest) = line.strip_prefix("listening ") {
        return rest.split_whitespace().next()?.parse().ok();
    }
    let rest = line.strip_prefix("Listening on port ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some(SocketAddr::from((Ipv4Addr::LOCALHOST, rest[..digits].parse().ok()?)))
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
        // What the example of uSockets says.
        assert_eq!(listening("Listening on port 3000...\n"), Some(SocketAddr::from(([127, 0, 0, 1], 3000))));
    }

    #[test]
    fn a_server_answers_what_it_is_asked() {
        let script = "echo listening 127.0.0.1:9; while read line; do echo noise; echo '{\"reads\":7}'; done";
        let mut server = ServerProcess::start(&["sh".into(), "-c".into(), script.into()], &[0]).unwrap();
        assert_eq!(server.ask::<serde_json::Value>().unwrap()["reads"], 7);
        assert_eq!(server.ask::<serde_json::Value>().unwrap()["reads"], 7);
    }

    #[test]
    fn a_server_that_ends_without_its_line_is_an_error_that_names_it() {
        let trouble = ServerProcess::start(&["true".into()], &[0]).map(|server| server.address).unwrap_err();
        assert!(trouble.contains("true"), "{trouble}");
        let trouble = ServerProcess::start(&["/no/such/server".into()], &[0]).map(|server| server.address).unwrap_err();
        assert!(trouble.contains("/no/such/server"), "{trouble}");
    }
}
