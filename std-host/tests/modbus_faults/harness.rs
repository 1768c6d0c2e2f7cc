//! A server with faults on a thread of its own, and a client that looks at bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::time::{Duration, Instant};
use wharf_core::modbus::server::Reason;
use wharf_host::services::modbus::{Event, FaultReport, Handle, Server, Subscriber, Threaded};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and what it has told since it was started.
pub(crate) struct Faulty {
    server: Threaded,
    pub(crate) events: Subscriber,
    /// Not later than its start.
    pub(crate) before: Instant,
}

impl Deref for Faulty {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.server
    }
}

/// A server whose faults are these inline tables. Holding register N of unit 1 is 0x1000 + N, every third of its coils is
/// on; unit 2 has the same.
pub(crate) fn serve(faults: &str) -> Faulty {
    serve_with("", faults)
}

/// The same with further keys of the server.
pub(crate) fn serve_with(keys: &str, faults: &str) -> Faulty {
    let values = (0..100).map(|n| (0x1000 + n).to_string()).collect::<Vec<_>>().join(", ");
    let blocks = format!(
        "block = [{{ table = 'holding', start = 0, values = [{values}] }}, \
         {{ table = 'coils', start = 0, len = 64, bits = '49 92 24 49 92 24 49 92' }}]"
    );
    let listen = if keys.starts_with("listen") { "" } else { "listen = ['127.0.0.1:0']" };
    let text = format!(
        "[[modbus.server]]\nname = 'faulty'\n{listen}\n{keys}\nfault = [{faults}]\n\
         unit = [{{ id = 1, {blocks} }}, {{ id = 2, {blocks} }}]"
    );
    let plant = wharf_host::config::parse(&text, "plant.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let before = Instant::now();
    let server = Server::spawn(plant.modbus[0].clone()).unwrap();
    let events = server.subscribe(10_000);
    Faulty { server, events, before }
}

impl Faulty {
    pub(crate) fn address(&self) -> SocketAddr {
        self.local_addrs()[0]
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// A fault as it is now.
    pub(crate) fn report(&self, name: &str) -> FaultReport {
        let faults = self.faults().unwrap();
        faults.into_iter().find(|fault| &*fault.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// What a fault has counted: checked, matched, applied, suppressed.
    pub(crate) fn counts(&self, name: &str) -> [u64; 4] {
        let FaultReport { checked, matched, applied, suppressed, .. } = self.report(name);
        [checked, matched, applied, suppressed]
    }

    /// The next event for which `f` has something.
    pub(crate) fn until<R>(&self, f: impl Fn(&Event) -> Option<R>) -> R {
        loop {
            let event = self.events.next_within(PATIENCE).expect("the event comes");
            if let Some(found) = f(&event) {
                return found;
            }
        }
    }

    /// Why the next connection that ends does so.
    pub(crate) fn ended(&self) -> Reason {
        self.until(|event| match event {
            Event::Disconnected { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    /// Shuts down in order.
    pub(crate) fn stop(self) {
        self.server.stop().unwrap();
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Connects, sends, and reads until the server ends the connection, which it may do before all of that is done.
    pub(crate) fn ended(address: SocketAddr, bytes: &[u8]) -> (End, Vec<u8>) {
        let sent = Self::try_connect(address).and_then(|mut client| {
            client.stream.write_all(bytes)?;
            Ok(client)
        });
        match sent {
            Ok(mut client) => client.end(),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                (End::Reset, vec![])
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Asserts what comes next.
    #[track_caller]
    pub(crate) fn sees(&mut self, expected: &[u8]) {
        let came = self.take(expected.len());
        assert_eq!(came, expected);
    }

    /// Sends a request of transaction 1 for unit 1, and asserts what comes.
    #[track_caller]
    pub(crate) fn asks(&mut self, pdu: &[u8], expected: &[u8]) {
        self.send(&frame(1, 1, pdu));
        self.sees(expected);
    }

    /// That the connection is served, and that nothing came before the reply that tells so. No fault may be aimed at unit 2.
    #[track_caller]
    pub(crate) fn is_served(&mut self) {
        self.send(&frame(0x7E57, 2, &read(9, 1)));
        self.sees(&frame(0x7E57, 2, &holding(9, 1)));
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
    framed(transaction, u16::try_from(pdu.len() + 1).unwrap(), unit, pdu)
}

/// A frame with any length field.
pub(crate) fn framed(transaction: u16, length: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let [[t1, t0], [l1, l0]] = [transaction.to_be_bytes(), length.to_be_bytes()];
    [&[t1, t0, 0, 0, l1, l0, unit], pdu].concat()
}

/// A request for holding registers.
pub(crate) fn read(address: u8, quantity: u8) -> [u8; 5] {
    [3, 0, address, 0, quantity]
}

/// A request to write a holding register.
pub(crate) fn write(address: u8, value: u16) -> [u8; 5] {
    let [high, low] = value.to_be_bytes();
    [6, 0, address, high, low]
}

/// The honest reply to [`read`].
pub(crate) fn holding(address: u8, quantity: u8) -> Vec<u8> {
    let registers = (address..address + quantity).flat_map(|n| [0x10, n]);
    [3, 2 * quantity].into_iter().chain(registers).collect()
}

/// What a fault needs so that it leaves alone what [`Client::is_served`] asks.
pub(crate) const UNIT_1: &str = "units = [1]";

/// A fault of this kind with these keys, on unit 1.
pub(crate) fn fault(kind: &str, keys: &str) -> String {
    format!("{{ name = 'f', kind = '{kind}', {UNIT_1}, {keys} }}")
}
