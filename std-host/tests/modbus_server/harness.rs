//! A `wharf` process, a Modbus client, and waits that all end.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program.
pub(crate) const WHARF: &str = env!("CARGO_BIN_EXE_wharf");

/// Writes a plant file that no other test has.
pub(crate) fn plant_file(text: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("modbus-server-{}-{count}.toml", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A plant with one server on a port of the system's choice; `keys` are further keys of the server.
pub(crate) fn one_server(keys: &str) -> String {
    format!("[[modbus.server]]\nname = \"plant\"\nlisten = [\"127.0.0.1:0\"]\n{keys}\n")
}

/// Runs `wharf` to its end.
pub(crate) fn wharf(arguments: &[&str]) -> Output {
    Command::new(WHARF).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A running `wharf`, killed when dropped.
pub(crate) struct Wharf {
    child: Child,
    /// Addresses of the lines `listening ADDRESS`, in order.
    pub(crate) addresses: Vec<SocketAddr>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Wharf {
    /// `wharf run` with this plant, as soon as so many listeners are open.
    pub(crate) fn run(plant: &str, listeners: usize) -> Self {
        let path = plant_file(plant);
        Self::start(Command::new(WHARF).arg("run").arg(path), listeners)
    }

    /// Starts a command that ends up as `wharf`, and waits until so many listeners are open.
    pub(crate) fn start(command: &mut Command, listeners: usize) -> Self {
        // Whoever asks for the hosts of this machine is not to find those of tests.
        command.env("WHARF_RUNTIME_DIR", PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("run"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        let mut wharf = Self { child, addresses: Vec::new(), stdout, stderr };
        for _ in 0..listeners {
            let line = wharf.stdout.recv_timeout(PATIENCE).expect("a line for each listener");
            let address = line.strip_prefix("listening ").unwrap_or_else(|| panic!("{line:?}"));
            wharf.addresses.push(address.parse().unwrap());
        }
        wharf
    }

    /// The address of the first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The number of the process.
    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for a line of the log that contains `what`, and returns it. Lines before it are forgotten.
    pub(crate) fn logged(&self, what: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {what:?} in the log ({error}): {seen:#?}"),
            }
        }
    }

    /// Waits until the process ends by itself, and returns its exit status and the rest of its log.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        // Its standard output ends when it does.
        loop {
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the process does not end: {:?}", self.rest_of_log()),
            }
        }
        let status = self.child.wait().unwrap();
        (status.code(), self.rest_of_log())
    }

    /// Without what it says of callbacks that took long, which on a machine with much else to do they may.
    fn rest_of_log(&mut self) -> String {
        // Ended already, unless the test is about to fail.
        let _ = self.child.kill();
        self.stderr.iter().filter(|line| !line.contains(" WARN slow callback ")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Wharf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// A connection to a Modbus server.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) transaction: u16,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, transaction: 0 }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The reply PDU to a request PDU, its header checked.
    pub(crate) fn ask(&mut self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        self.try_ask(unit, pdu).unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    pub(crate) fn try_ask(&mut self, unit: u8, pdu: &[u8]) -> std::io::Result<Vec<u8>> {
        self.transaction = self.transaction.wrapping_add(1);
        self.stream.write_all(&frame(self.transaction, unit, pdu))?;
        self.reply(self.transaction, unit)
    }

    pub(crate) fn reply(&mut self, transaction: u16, unit: u8) -> std::io::Result<Vec<u8>> {
        let mut header = [0; 7];
        self.stream.read_exact(&mut header)?;
        let [t1, t0] = transaction.to_be_bytes();
        let length = u16::from_be_bytes([header[4], header[5]]);
        assert_eq!((&header[..4], header[6]), (&[t1, t0, 0, 0][..], unit));
        let mut pdu = vec![0; usize::from(length) - 1];
        self.stream.read_exact(&mut pdu)?;
        Ok(pdu)
    }

    /// Asks for holding register 0, to see that the connection is served.
    pub(crate) fn is_served(&mut self) {
        let reply = self.ask(1, &[3, 0, 0, 0, 1]);
        assert_eq!((reply.len(), &reply[..2]), (4, &[3, 2][..]));
    }

    /// Sends requests and reads nothing, until the server takes no more because its replies find no room.
    pub(crate) fn get_stuck(&mut self) {
        // A server that has room for replies has its turn in that time, also on a machine with much else to do.
        self.stream.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        let requests = more_than_fits();
        let mut sent = 0;
        loop {
            // From the place where the last write stopped, so that all frames are whole.
            match self.stream.write(&requests[sent % requests.len()..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads until the server ends the connection; how, and what came before.
    pub(crate) fn end(&mut self) -> (End, Vec<u8>) {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => (End::Fin, bytes),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (End::Reset, bytes),
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
}

/// A whole frame.
pub(crate) fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap();
    let [[t1, t0], [l1, l0]] = [transaction.to_be_bytes(), length.to_be_bytes()];
    [&[t1, t0, 0, 0, l1, l0, unit], pdu].concat()
}

/// Requests for more replies than the buffers on the way hold if the server's send buffer is small.
pub(crate) fn more_than_fits() -> Vec<u8> {
    frame(1, 1, &[3, 0, 0, 0, 125]).repeat(4000)
}
