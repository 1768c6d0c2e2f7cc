//! TLS in the simulated world: the laws of a plain socket, time that is exact, and peers that do TLS by hand.
//!
//! Ciphertext and random numbers differ from run to run, and so would lengths if signatures were of ECDSA. With Ed25519
//! and the same certificates every message has the same length in every run, so that a seed repeats a run to the byte.

mod by_hand;
mod certificates;
mod handshakes;
mod runs;
mod stages;
mod traffic;

use crate::harness::{Bench, Log, Probe, any};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use wharf_host::event_loop::{ListenOptions, LoopOptions, Pem, Socket, TlsBuilder, TlsClientConfig, TlsConfig};
use wharf_tests::sim_net::{Faults, Peer, Sim};

pub(crate) type Probed<'a> = Socket<'a, (), Vec<u8>>;

/// The one certificate of all servers.
fn identity() -> &'static (String, String) {
    static MADE: OnceLock<(String, String)> = OnceLock::new();
    MADE.get_or_init(new_identity)
}

/// A certificate of `localhost` that vouches for itself, and its key, as PEM.
fn new_identity() -> (String, String) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    // One that depends on the key would be of any length.
    params.serial_number = Some(1.into());
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity().0.as_bytes()).unwrap()
}

/// Who vouches for everybody.
pub(crate) fn authority() -> Pem {
    Pem::bytes(identity().0.clone())
}

pub(crate) fn with_identity(builder: TlsBuilder) -> TlsBuilder {
    let (certificate, key) = identity();
    builder.certificate(Pem::bytes(certificate.clone())).key(Pem::bytes(key.clone()))
}

pub(crate) fn builder() -> TlsBuilder {
    with_identity(TlsBuilder::new())
}

fn server() -> TlsConfig {
    builder().server().unwrap()
}

pub(crate) fn client_builder() -> TlsBuilder {
    TlsBuilder::new().ca(authority())
}

fn client() -> TlsClientConfig {
    client_builder().client().unwrap().expecting("localhost").unwrap()
}

/// One loop with one listener, for TLS.
fn bench_with(
    mut sim: Sim,
    options: LoopOptions,
    config: &TlsConfig,
    act: impl FnMut(&str, &mut Probed<'_>, &[u8]) + 'static,
) -> Bench {
    sim.add_loop((), options);
    let log = Log::default();
    let mut lp = sim.lp(0);
    let key = lp.context(Probe::new(&log, act));
    let listener = lp.listen_tls(any(), key, config, ListenOptions::default()).unwrap();
    let addr = lp.listener(listener).unwrap().local_addr();
    Bench { sim, log, key, listener, addr }
}

fn bench(act: impl FnMut(&str, &mut Probed<'_>, &[u8]) + 'static) -> Bench {
    bench_with(Sim::strict(), LoopOptions::default(), &server(), act)
}

/// Strict, with room for a lot on the way.
fn roomy_bench(act: impl FnMut(&str, &mut Probed<'_>, &[u8]) + 'static) -> Bench {
    let sim = Sim::new(0, Faults { capacity: 4 << 20..=4 << 20, ..Faults::none() });
    bench_with(sim, LoopOptions::default(), &server(), act)
}

/// A client or server by hand: what it has to say waits until [`Guest::exchange`].
struct Guest {
    peer: Peer,
    tls: Connection,
    /// What has come out.
    plain: Vec<u8>,
    /// Of each record of the server its length, header included.
    records: Vec<usize>,
    unread: Vec<u8>,
}

impl Guest {
    fn new(bench: &Bench) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        Self::with(bench.connect(), tls.into())
    }

    /// The server of a client.
    fn serve(client: Peer) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity().1.as_bytes()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate()], key).unwrap();
        Self::with(client, ServerConnection::new(Arc::new(config)).unwrap().into())
    }

    fn with(peer: Peer, mut tls: Connection) -> Self {
        tls.set_buffer_limit(None);
        Self { peer, tls, plain: Vec::new(), records: Vec::new(), unread: Vec::new() }
    }

    /// A guest that has shaken hands.
    fn open(bench: &mut Bench) -> Self {
        let mut guest = Self::new(bench);
        guest.talk(bench);
        assert!(!guest.tls.is_handshaking());
        guest
    }

    fn write(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
    }

    /// What waits to be sent.
    fn sealed(&mut self) -> Vec<u8> {
        let mut sealed = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut sealed).unwrap();
        }
        sealed
    }

    /// Sends and takes what there is. False if that was nothing.
    fn exchange(&mut self) -> bool {
        let mut moved = false;
        while self.tls.wants_write() && self.tls.write_tls(&mut Sink(&self.peer)).is_ok() {
            moved = true;
        }
        let arrived = self.peer.receive();
        self.unread.extend_from_slice(&arrived);
        while let [_, _, _, high, low, ..] = self.unread[..] {
            let length = 5 + usize::from(u16::from_be_bytes([high, low]));
            if self.unread.len() < length {
                break;
            }
            self.records.push(length);
            self.unread.drain(..length);
        }
        let mut rest = &arrived[..];
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
            self.tls.process_new_packets().unwrap();
            // At the end in order it has nothing more, and before that it would block.
            let _ = self.tls.reader().read_to_end(&mut self.plain);
        }
        moved || !arrived.is_empty()
    }

    /// Goes on until neither side has anything to say. No time passes.
    fn talk(&mut self, bench: &mut Bench) {
        while self.exchange() {
            bench.sim.run_for(Duration::ZERO);
        }
    }

    /// Ends this side in order.
    fn end(&mut self, bench: &mut Bench) {
        self.tls.send_close_notify();
        self.talk(bench);
        self.peer.end();
        bench.sim.run_for(Duration::ZERO);
    }
}

/// The way to the other side.
struct Sink<'a>(&'a Peer);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(bytes);
        if sent == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(sent) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A context that writes down what happens, on the loop of a bench.
fn probe(
    bench: &mut Bench,
    act: impl FnMut(&str, &mut Probed<'_>, &[u8]) + 'static,
) -> wharf_host::event_loop::ContextKey<Probe> {
    let log = Rc::clone(&bench.log);
    bench.lp().context(Probe::new(&log, act))
}
