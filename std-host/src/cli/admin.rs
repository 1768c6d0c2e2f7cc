//! A client of the admin socket of a running host.

use super::{AdminSocket, Failure};
use serde_json::{Map, Value, json};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wharf_host::admin::lines::{MAX_REPLY, PROTOCOL};
use wharf_host::admin::runtime;
use wharf_host::run::Status;

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a host.
pub(super) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    asked: u64,
}

/// A line that belongs to a request.
enum Line {
    Event { event: Value, missed: u64 },
    Outcome(Value),
}

impl Client {
    /// Connects to the host that is meant: the named one, or the only one there is.
    pub(super) fn connect(admin: &AdminSocket) -> Result<Self, Failure> {
        let (path, stream) = match &admin.path {
            Some(path) => {
                let stream = UnixStream::connect(path).map_err(|error| unreachable(path, &error))?;
                (path.clone(), stream)
            }
            None => only_one(&runtime::directory())?,
        };
        let mut client = Self { path, stream: BufReader::new(stream), asked: 0 };
        client.patience(Some(PATIENCE))?;
        let greeting = client.line()?;
        match greeting.get("protocol").and_then(Value::as_u64) {
            Some(PROTOCOL) => Ok(client),
            Some(other) => Err(client.broken(&format!("the host speaks protocol {other}, not {PROTOCOL}"))),
            None => Err(client.broken("its first line does not say which protocol it speaks")),
        }
    }

    /// Asks, and waits for the outcome.
    pub(super) fn ask(
        &mut self,
        verb: &str,
        name: Option<&str>,
        arguments: &Map<String, Value>,
    ) -> Result<Value, Failure> {
        let id = self.send(verb, name, arguments)?;
        match self.next(id)? {
            Line::Outcome(value) => Ok(value),
            Line::Event { .. } => Err(self.broken("there is an event that nobody asked for")),
        }
    }

    /// Asks, and gives every event to `each`, with how many were missed before it, until that has had enough or there are no
    /// more.
    pub(super) fn watch(
        &mut self,
        verb: &str,
        name: Option<&str>,
        arguments: &Map<String, Value>,
        mut each: impl FnMut(&Value, u64) -> io::Result<bool>,
    ) -> Result<(), Failure> {
        let id = self.send(verb, name, arguments)?;
        // Nothing may happen for any time.
        self.patience(None)?;
        while let Line::Event { event, missed } = self.next(id)? {
            if !each(&event, missed)? {
                break;
            }
        }
        Ok(())
    }

    fn send(&mut self, verb: &str, name: Option<&str>, arguments: &Map<String, Value>) -> Result<u64, Failure> {
        self.asked += 1;
        let request = json!({ "id": self.asked, "protocol": PROTOCOL, "verb": verb, "name": name, "args": arguments });
        let line = format!("{request}\n");
        self.stream.get_mut().write_all(line.as_bytes()).map_err(|error| unreachable(&self.path, &error))?;
        Ok(self.asked)
    }

    fn next(&mut self, id: u64) -> Result<Line, Failure> {
        let mut line = self.line()?;
        if line.get("id") != Some(&json!(id)) {
            return Err(self.broken("a line belongs to no request"));
        }
        if let Some(event) = line.remove("event") {
            let missed = line.get("missed").and_then(Value::as_u64).unwrap_or(0);
            return Ok(Line::Event { event, missed });
        }
        if let Some(value) = line.remove("ok") {
            return Ok(Line::Outcome(value));
        }
        let error = line.get("error");
        let text = |key| error.and_then(|error| error.get(key)).and_then(Value::as_str);
        let (Some(kind), Some(message)) = (text("kind"), text("message")) else {
            return Err(self.broken("a line is neither an event nor an outcome"));
        };
        let status = match kind {
            "usage" => Status::Usage,
            "unavailable" => Status::Unreachable,
            _ => Status::Refused,
        };
        Err(Failure::Ended(status, message.to_owned()))
    }

    fn line(&mut self) -> Result<Map<String, Value>, Failure> {
        let mut line = Vec::new();
        let bound = MAX_REPLY as u64 + 1;
        let read = self.stream.by_ref().take(bound).read_until(b'\n', &mut line);
        read.map_err(|error| unreachable(&self.path, &error))?;
        if line.is_empty() {
            return Err(unreachable(&self.path, &io::Error::new(ErrorKind::ConnectionReset, "the host has ended")));
        }
        match serde_json::from_slice(&line) {
            Ok(Value::Object(object)) if line.last() == Some(&b'\n') => Ok(object),
            _ => Err(self.broken("a line is no JSON object")),
        }
    }

    fn patience(&self, patience: Option<Duration>) -> Result<(), Failure> {
        let stream = self.stream.get_ref();
        let set = stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        set.map_err(|error| unreachable(&self.path, &error))
    }

    fn broken(&self, why: &str) -> Failure {
        Failure::Ended(Status::Protocol, format!("{}: no admin socket of a host: {why}", self.path.display()))
    }
}

/// The only socket in the runtime directory on which somebody answers.
fn only_one(directory: &Path) -> Result<(PathBuf, UnixStream), Failure> {
    let sockets = runtime::sockets(directory);
    let sockets = sockets.map_err(|error| unreachable(directory, &error))?;
    let mut live: Vec<_> =
        sockets.into_iter().filter_map(|path| Some((UnixStream::connect(&path).ok()?, path))).collect();
    if live.len() > 1 {
        let names: Vec<_> = live.iter().map(|(_, path)| format!("\n  --admin {}", path.display())).collect();
        return Err(Failure::Usage(format!("several hosts run, say which one is meant:{}", names.concat())));
    }
    let Some((stream, path)) = live.pop() else {
        let message = format!(
            "no host answers in {}\n  start one (`wharf run`), or name the socket of one that runs elsewhere (`--admin SOCKET`)",
            directory.display()
        );
        return Err(Failure::Ended(Status::Unreachable, message));
    };
    Ok((path, stream))
}

fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let kind = error.kind();
    let why = if kind == ErrorKind::NotFound {
        "there is no such socket: is the host running?".to_owned()
    } else if kind == ErrorKind::ConnectionRefused {
        "nobody answers there: the host has ended".to_owned()
    } else if kind == ErrorKind::WouldBlock || kind == ErrorKind::TimedOut {
        format!("the host does not answer within {PATIENCE:?}")
    } else if kind == ErrorKind::PermissionDenied {
        format!("{error}: the socket is its owner's alone")
    } else {
        error.to_string()
    };
    Failure::Ended(Status::Unreachable, format!("{}: {why}", path.display()))
}
