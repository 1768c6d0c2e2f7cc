//! Many TLS clients at once, and a few plain connections whose latency they may spoil.
//!
//! The plain connections are a closed loop on the main thread, as in [`crate::loops::client`]. A second thread rests for a
//! while and then connects all TLS clients at once; each shakes hands, sends one message and awaits its echo. Both share a
//! core, so the second thread has the lowest priority there is: what an echo takes is then the server's doing. The clients
//! are made, with their hellos, before the clock starts, and do not check certificates, so that they cost less than the
//! server's part.

use crate::loops::client::Connection;
use crate::measure::{Failure, Latency, histogram};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What to do to which server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it echoes.
    pub plain: SocketAddr,
    /// Where it echoes over TLS.
    pub tls: SocketAddr,
    /// Plain connections; at least 1.
    pub connections: usize,
    /// TLS clients that come at once.
    pub handshakes: usize,
    /// How often they come; at least 1.
    pub rushes: usize,
    /// The counted time without them before each rush.
    pub calm: Duration,
    /// How long one echo, or one rush, may take.
    pub patience: Duration,
}

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Of plain echoes without a rush.
    pub calm: Latency,
    /// Of plain echoes that a rush had a part in.
    pub rush: Latency,
    /// How many of those there were.
    pub echoes: u64,
    /// From the first connect of a rush to its last echo, in milliseconds; the mean of all rushes.
    pub rush_ms: f64,
    /// Whether the TLS clients had the lowest priority.
    pub stepped_back: bool,
}

const MESSAGE: &[u8; 12] = b"Hello there!";
/// After a rush the server closes what is left of it; that is not counted.
const PAUSE: Duration = Duration::from_millis(30);

/// The steps of a run: pause, calm and rush for each rush, and then the end.
const PHASES: usize = 3;
const CALM: usize = 1;
const RUSH: usize = 2;
const END: usize = usize::MAX;

/// Runs all and gives the figures.
///
/// # Errors
/// The first thing that went wrong; then the run has no figures.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    if options.connections == 0 || options.rushes == 0 {
        return Err(Failure::Usage("connections and rushes must each be at least one".into()));
    }
    let (step, calm) = (AtomicUsize::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let rushes = scope.spawn(|| {
            let outcome = rushes(options, &step, &calm);
            // However it ended, the echoes must end too.
            step.store(END, Ordering::Release);
            outcome
        });
        let echoes = echoes(options, &step, &calm)?;
        let (took, stepped_back) = rushes.join().expect("it returns its failures")?;
        Ok(Outcome {
            calm: Latency::of(&echoes.calm),
            rush: Latency::of(&echoes.rush),
            echoes: echoes.rush.len(),
            rush_ms: took.as_secs_f64() * 1e3 / options.rushes as f64,
            stepped_back,
        })
    })
}

fn system(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Unreachable(format!("{what}: {error}"))
}

/// Where echoes are counted.
struct Echoes {
    calm: Histogram<u64>,
    rush: Histogram<u64>,
    /// The step that was last seen, the one seen before it, and when it changed.
    step: usize,
    before: usize,
    changed: Instant,
}

impl Echoes {
    fn new(now: Instant) -> Self {
        Self { calm: histogram(), rush: histogram(), step: 0, before: 0, changed: now }
    }

    /// Counts an echo that ends in `step`. It belongs to a rush if any of the steps that it has seen is one, and to the
    /// calm if that is all it has seen.
    fn count(&mut self, begun: Instant, now: Instant, step: usize) {
        if step != self.step {
            (self.before, self.step, self.changed) = (self.step, step, now);
        }
        let first = if begun <= self.changed { self.before } else { step };
        // The end comes after a rush and is seen in its stead.
        let last = if step == END { first.max(self.before) } else { step };
        let nanos = u64::try_from(now.saturating_duration_since(begun).as_nanos()).unwrap_or(u64::MAX);
        if (first..=last).any(|step| step % PHASES == RUSH) {
            self.rush.saturating_record(nanos);
        } else if first == step && step % PHASES == CALM {
            self.calm.saturating_record(nanos);
        }
    }
}

/// Echoes until the step is the end. `calm` is how many are counted as calm.
fn echoes(options: &Options, step: &AtomicUsize, calm: &AtomicU64) -> Result<Echoes, Failure> {
    let mut poll = Poll::new().map_err(system("epoll"))?;
    let mut connections = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        let mut connection = Connection::open(options.plain, options.patience).map_err(system("connect"))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut connection.stream, Token(index), interest).map_err(system("epoll_ctl"))?;
        connections.push(connection);
    }
    let mut last_echo = Instant::now();
    for connection in &mut connections {
        connection.send(MESSAGE, last_echo)?;
    }
    let mut echoes = Echoes::new(last_echo);
    let mut buffer = vec![0; 4096];
    let mut events = Events::with_capacity(1024);
    while connections.iter().any(|connection| !connection.quiet) {
        match poll.poll(&mut events, Some(Duration::from_millis(20))) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(system("epoll_wait")(error)),
        }
        for event in &events {
            let echoed = |begun, now| {
                let step = step.load(Ordering::Acquire);
                echoes.count(begun, now, step);
                calm.store(echoes.calm.len(), Ordering::Release);
                step != END
            };
            last_echo = connections[event.token().0].ready(MESSAGE, &mut buffer, echoed)?.unwrap_or(last_echo);
        }
        if last_echo.elapsed() > options.patience {
            return Err(Failure::Wrong(format!("no echo within {:?}", options.patience)));
        }
    }
    Ok(echoes)
}

/// Gives the time of all rushes together, and whether this thread has the lowest priority.
fn rushes(options: &Options, step: &AtomicUsize, calm: &AtomicU64) -> Result<(Duration, bool), Failure> {
    let stepped_back = step_back();
    let config = Arc::new(config()?);
    let mut took = Duration::ZERO;
    for rush in 0..options.rushes {
        let begin = |phase: usize| step.store(PHASES * rush + phase, Ordering::Release);
        let clients: Result<Vec<_>, _> = (0..options.handshakes).map(|_| Client::new(&config)).collect();
        let mut clients = clients?;
        thread::sleep(PAUSE);
        let (before, calm_from) = (calm.load(Ordering::Acquire), Instant::now());
        begin(CALM);
        thread::sleep(options.calm);
        // On a busy computer not one echo may have come so soon.
        while calm.load(Ordering::Acquire) == before && calm_from.elapsed() < options.patience {
            thread::sleep(PAUSE);
        }
        begin(RUSH);
        let begun = Instant::now();
        all(&mut clients, options)?;
        took += begun.elapsed();
        step.store(PHASES * (rush + 1), Ordering::Release);
    }
    Ok((took, stepped_back))
}

/// Has the calling thread run only when no other wants to; says whether it is so. The libraries here have no safe call
/// for it, `chrt` of util-linux has.
fn step_back() -> bool {
    let id = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut command = Command::new("chrt");
    command.args(["--idle", "--pid", "0", &id]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Connects all and sees them through.
fn all(clients: &mut [Client], options: &Options) -> Result<(), Failure> {
    let mut poll = Poll::new().map_err(system("epoll"))?;
    for (index, client) in clients.iter_mut().enumerate() {
        let mut stream = TcpStream::connect(options.tls).map_err(system("connect"))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), interest).map_err(system("epoll_ctl"))?;
        client.stream = Some(stream);
    }
    let mut events = Events::with_capacity(1024);
    let (mut left, begun) = (clients.len(), Instant::now());
    while left > 0 {
        match poll.poll(&mut events, Some(Duration::from_millis(20))) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(system("epoll_wait")(error)),
        }
        for event in &events {
            let client = &mut clients[event.token().0];
            if !client.is_done() {
                client.ready()?;
                left -= usize::from(client.is_done());
            }
        }
        if begun.elapsed() > options.patience {
            return Err(Failure::Wrong(format!("{left} handshakes are not done within {:?}", options.patience)));
        }
    }
    Ok(())
}

/// A TLS client that sends one message.
struct Client {
    tls: ClientConnection,
    stream: Option<TcpStream>,
    asked: bool,
    /// Bytes of the echo that have come.
    back: usize,
}

impl Client {
    fn new(config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        let name = ServerName::try_from("localhost").expect("it is a name");
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(|error| unusable(&error))?;
        Ok(Self { tls, stream: None, asked: false, back: 0 })
    }

    const fn is_done(&self) -> bool {
        self.back == MESSAGE.len()
    }

    fn ready(&mut self) -> Result<(), Failure> {
        let lost = |error: &dyn std::fmt::Display| Failure::Wrong(format!("a handshake is lost: {error}"));
        let stream = self.stream.as_mut().expect("it is registered with its stream");
        let waits = |error: &io::Error| {
            // A socket that is yet to be connected has no room either.
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
        };
        loop {
            if !self.asked && !self.tls.is_handshaking() {
                self.tls.writer().write_all(MESSAGE).map_err(|error| lost(&error))?;
                self.asked = true;
            }
            while self.tls.wants_write() {
                match self.tls.write_tls(stream) {
                    Ok(_) => {}
                    Err(error) if waits(&error) => return Ok(()),
                    Err(error) => return Err(lost(&error)),
                }
            }
            match self.tls.read_tls(stream) {
                Ok(0) => return Err(lost(&"closed by the server")),
                Ok(_) => self.tls.process_new_packets().map_err(|error| lost(&error))?,
                Err(error) if waits(&error) => return Ok(()),
                Err(error) => return Err(lost(&error)),
            };
            let mut buffer = [0; 2 * MESSAGE.len()];
            match self.tls.reader().read(&mut buffer) {
                Ok(len) if MESSAGE[self.back..].starts_with(&buffer[..len]) => self.back += len,
                Ok(_) => return Err(Failure::Wrong("other bytes than were sent over TLS".into())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(lost(&error)),
            }
        }
    }
}

fn unusable(error: &rustls::Error) -> Failure {
    Failure::Unreachable(format!("TLS: {error}"))
}

/// A client that shakes hands in full every time.
fn config() -> Result<ClientConfig, Failure> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Takes any certificate: it is the server that is measured.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_belongs_to_a_rush_if_it_saw_any_of_it_and_to_the_calm_if_it_saw_nothing_else() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut echoes = Echoes::new(start);
        let mut both = |begun, now, step| {
            echoes.count(at(begun), at(now), step);
            (echoes.calm.len(), echoes.rush.len())
        };
        // In the pause, then begun in it, then all in the calm.
        assert_eq!(both(1, 2, 0), (0, 0));
        assert_eq!(both(2, 4, CALM), (0, 0));
        assert_eq!(both(5, 6, CALM), (1, 0));
        // Begun in the calm, all in the rush, and ended after it.
        assert_eq!(both(6, 9, RUSH), (1, 1));
        assert_eq!(both(10, 11, RUSH), (1, 2));
        assert_eq!(both(11, 13, PHASES), (1, 3));
        assert_eq!(both(14, 15, PHASES), (1, 3));
        // So slow that it saw the whole of the next rush.
        assert_eq!(both(15, 16, PHASES + CALM), (1, 3));
        assert_eq!(both(17, 30, 2 * PHASES), (1, 4));
        assert_eq!(both(31, 32, 2 * PHASES + RUSH), (1, 5));
        assert_eq!(both(33, 34, END), (1, 6));
        assert_eq!(both(35, 36, END), (1, 6));
    }
}
