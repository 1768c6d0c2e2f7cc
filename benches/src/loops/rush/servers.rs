//! Echo servers with two doors, plain and TLS, on one thread: what listens where is in the answer to a line on the input.

use crate::loops::servers::wharf::{Echo, answer};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use wharf_host::event_loop::{Error, ListenOptions, Loop, LoopOptions, Pem, TlsBuilder};

/// What a server answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Where it speaks TLS.
    pub tls: SocketAddr,
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What Wharf has by default; the same for tokio.
#[cfg(feature = "peers")]
const BACKLOG: u32 = 512;

/// A certificate that nobody checks, and its key: P-256, as most servers have.
fn identity() -> io::Result<rcgen::CertifiedKey<rcgen::KeyPair>> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)
}

/// Serves on Wharf's loop, with so many steps of handshakes in an iteration.
///
/// # Errors
/// Those of the loop.
pub fn wharf(address: SocketAddr, handshake_budget: u32) -> io::Result<()> {
    let identity = identity()?;
    let (certificate, key) = (Pem::bytes(identity.cert.pem()), Pem::bytes(identity.signing_key.serialize_pem()));
    let failed = |error: Error| io::Error::other(error.to_string());
    let tls = TlsBuilder::new().certificate(certificate).key(key).server().map_err(failed)?;
    // The clients have the lowest priority and starve on a busy machine; tokio waits for as long as they like.
    let handshake_timeout = Duration::from_secs(3600);
    let options = LoopOptions { handshake_budget, handshake_timeout, ..LoopOptions::default() };
    let mut lp = Loop::with_options((), options).map_err(failed)?;
    let mut set = lp.loop_mut();
    let key = set.context(Echo);
    let plain = set.listen(address, key, ListenOptions::default()).map_err(failed)?;
    let secret = set.listen_tls(ANY, key, &tls, ListenOptions::default()).map_err(failed)?;
    let mut bound = |id| set.listener(id).map(|listener| listener.local_addr()).map_err(failed);
    let (plain, tls) = (bound(plain)?, bound(secret)?);
    answer(move || Answer { tls });
    println!("listening {plain}");
    lp.run().map_err(failed)
}

/// Serves on tokio's current-thread runtime with tokio-rustls: a task for each connection, which shakes hands first.
///
/// # Errors
/// Those of the runtime, of the certificate, of binding and of accept(2).
#[cfg(feature = "peers")]
pub fn tokio(address: SocketAddr) -> io::Result<()> {
    use crate::loops::servers::tokio::{accept, converse};
    use rustls::ServerConfig;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use std::sync::Arc;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio_rustls::TlsAcceptor;

    let identity = identity()?;
    let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![identity.cert.der().clone()], key.into())
        })
        .map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let plain = TcpListener::bind(address).await?;
        // By itself tokio has room for 128 that wait, and the rest of a rush would come again a second later.
        let socket = TcpSocket::new_v4()?;
        socket.bind(ANY)?;
        let secret = socket.listen(BACKLOG)?;
        let tls = secret.local_addr()?;
        answer(move || Answer { tls });
        println!("listening {}", plain.local_addr()?);
        tokio::spawn(async move {
            while let Ok((stream, _)) = secret.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    stream.set_nodelay(true)?;
                    converse(acceptor.accept(stream).await?).await
                });
            }
        });
        accept(plain).await
    })
}
