//! Running hosts with a runtime directory of their own, and clients of their admin sockets.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that no other test has, with a runtime directory; it goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Paths of sockets are short: not below the target directory.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wharf-admin-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.0.join("run")
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.runtime().join(format!("{name}.sock"))
    }

    /// The names in the runtime directory.
    pub(crate) fn sockets(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.runtime()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// `wharf` with these arguments, here and in the runtime directory of this folder.
    pub(crate) fn wharf(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(arguments).env("WHARF_RUNTIME_DIR", self.runtime()).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    /// Runs `wharf` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(&self.wharf(arguments).output().unwrap())
    }

    /// Starts a command that is a host with one server, or with those of the plant that it runs.
    pub(crate) fn start(&self, command: &mut Command) -> Host {
        Host::start(&self.0, command)
    }

    /// A host that runs this plant under this name, as soon as its listeners are open.
    pub(crate) fn host(&self, name: &str, plant: &str) -> Host {
        let file = self.0.join(format!("{name}.toml"));
        std::fs::write(&file, plant).unwrap();
        self.start(&mut self.wharf(&["run", file.to_str().unwrap()]))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let status = output.status.code().unwrap();
        Self { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 0, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A plant of servers with these names, each on a port of the system's choice.
pub(crate) fn servers(names: &[&str]) -> String {
    names.iter().map(|name| format!("[[modbus.server]]\nname = {name:?}\nlisten = [\"127.0.0.1:0\"]\n")).collect()
}

/// A running host, killed when dropped.
pub(crate) struct Host {
    child: Child,
    log: PathBuf,
    /// Of the lines `listening ADDRESS`.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Of the line `admin http://ADDRESS`.
    pub(crate) http: Option<SocketAddr>,
}

impl Host {
    fn start(folder: &Path, command: &mut Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // A pipe that nobody reads would fill.
        let log = folder.join(format!("{}.log", COUNT.fetch_add(1, Ordering::Relaxed)));
        let child = command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut host = Self { addresses: Vec::new(), http: None, child, log };
        let file = command.get_args().nth(1).map(|file| folder.join(file));
        let plant = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let mut lines = BufReader::new(host.child.stdout.take().unwrap()).lines();
        for _ in 0..plant.matches("[[modbus.server]]").count().max(1) {
            let line = lines.next().unwrap_or_else(|| panic!("{}", host.log())).unwrap();
            host.addresses.push(line.strip_prefix("listening ").unwrap().parse().unwrap());
        }
        if plant.lines().any(|line| line.starts_with("listen = \"127")) {
            let line = lines.next().unwrap().unwrap();
            host.http = Some(line.strip_prefix("admin http://").unwrap().parse().unwrap());
        }
        host
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it in order; its exit status and its log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        let status = self.child.wait().unwrap().code();
        (status, self.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn http(&self) -> TcpStream {
        let stream = TcpStream::connect(self.http.unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of an admin socket, past the greeting.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream: BufReader::new(stream) };
        assert_eq!(client.line()["protocol"], 1);
        client
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        self.stream.get_ref()
    }

    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn line(&mut self) -> Value {
        self.try_line().expect("a line")
    }

    /// The next line, or `None` at the end.
    pub(crate) fn try_line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
    }

    /// What comes of a verb without arguments.
    pub(crate) fn ask(&mut self, verb: &str) -> Value {
        self.send(format!("{}\n", json!({ "id": verb, "verb": verb })));
        let line = self.line();
        assert_eq!(line["id"], verb);
        line
    }

    /// The plant whose host answers.
    pub(crate) fn plant(&mut self) -> String {
        self.ask("status")["ok"]["plant"].as_str().unwrap().to_owned()
    }
}

impl Write for &Client {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
