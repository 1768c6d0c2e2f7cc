//! One TLS connection without I/O: ciphertext in, plaintext out, and the other way round.
//!
//! ```text
//! Hello ──► Handshake ──► Traffic
//!   └─ refused ┴─ failed ──┴──► Failed: an alert may wait to be sent
//! ```
//!
//! A server begins at `Hello`: which configuration answers is decided by what the client says. Handshaking goes by
//! steps, because a step is what costs time. Plaintext comes out as much as there is room for, and what there is no
//! room for stays inside, encrypted as long as possible. What is to be sent waits inside until
//! [`Session::transmit`] has found a taker for it.

use super::config::{ClientHello, NameChoice, TlsClientConfig, TlsConfig};
use super::provider::{self, TlsVersion};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{AcceptedAlert, Acceptor};
use rustls::{ClientConnection, Connection, HandshakeKind};
use std::fmt;
use std::io::{IoSlice, Read, Write};
use std::sync::Arc;

/// A fatal `unrecognized_name` (RFC 6066, 3) in the clear, which is how alerts are before a server has answered.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

pub(in crate::event_loop) struct Session {
    side: Side,
    /// Ciphertext that has arrived and cannot be used yet, from `used` on.
    inbox: Vec<u8>,
    used: usize,
    /// Bytes that are decrypted and not yet asked for.
    plain: usize,
    /// The peer has ended its side in the orderly way.
    peer_ended: bool,
    /// An alert from before there was a connection that could send it.
    alert: Vec<u8>,
    failure: Option<Failure>,
    server_tag: Option<u64>,
    /// The most that should be encrypted ahead.
    batch: usize,
    /// The server name that the client asked for.
    asked: Option<Box<str>>,
}

enum Side {
    Hello(Box<Acceptor>, TlsConfig),
    /// A client before its first step, which makes the keys.
    Start(TlsClientConfig, ServerName<'static>),
    Connected(Box<Connection>),
    Failed,
}

/// Why a session has come to nothing.
#[derive(Clone, Debug)]
pub(in crate::event_loop) enum Failure {
    Tls(rustls::Error),
    /// A client asked for a name for which there is nothing.
    UnknownName,
}

/// What a handshake step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_loop) enum Step {
    /// The peer has to say more.
    Blocked,
    /// The handshake is done.
    Done,
}

impl Failure {
    /// The error as users see it: that of the library where it has one.
    pub(in crate::event_loop) fn into_source(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            Self::Tls(error) => Box::new(error),
            Self::UnknownName => Box::new(self),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::UnknownName => f.write_str("no certificate for the name that the client asks for"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl Session {
    pub(in crate::event_loop) fn server(config: &TlsConfig) -> Self {
        Self::new(Side::Hello(Box::default(), config.clone()))
    }

    pub(in crate::event_loop) fn client(config: &TlsClientConfig, expected: ServerName<'static>) -> Self {
        Self::new(Side::Start(config.clone(), expected))
    }

    const fn new(side: Side) -> Self {
        Self {
            side,
            inbox: Vec::new(),
            used: 0,
            plain: 0,
            peer_ended: false,
            alert: Vec::new(),
            failure: None,
            server_tag: None,
            batch: 0,
            asked: None,
        }
    }

    /// Whether the next handshake step needs no ciphertext: a client's first.
    pub(in crate::event_loop) const fn speaks_first(&self) -> bool {
        matches!(self.side, Side::Start(..))
    }

    /// Goes one step on with what has arrived. What it did not need stays inside. `ask` chooses for a client whose name
    /// is not known.
    ///
    /// # Errors
    /// The handshake has failed; an alert may have to be transmitted.
    pub(in crate::event_loop) fn handshake(
        &mut self,
        mut cipher: &[u8],
        ask: impl FnOnce(&ClientHello<'_>) -> NameChoice,
    ) -> Result<Step, Failure> {
        let outcome = match &self.side {
            Side::Start(..) => self.start(),
            Side::Hello(..) => self.hello(&mut cipher, ask),
            Side::Connected(_) => {
                while self.is_handshaking() && self.failure.is_none() && self.pull(&mut cipher) {}
                // What is wrong behind the end of a handshake is told after what was decrypted before it.
                self.failure.clone().filter(|_| self.is_handshaking()).map_or(Ok(()), Err)
            }
            Side::Failed => self.failure.clone().map_or(Ok(()), Err),
        };
        self.keep(cipher);
        match outcome {
            Ok(()) if self.is_handshaking() => Ok(Step::Blocked),
            Ok(()) => Ok(Step::Done),
            Err(error) => {
                self.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Decrypts into `plain`, as much as it has room for, and returns how much that was. Less than the room means that
    /// all of `cipher` has been used; else the rest stays inside.
    ///
    /// # Errors
    /// Ciphertext that no peer would send. All plaintext before it has been returned by then.
    pub(in crate::event_loop) fn decrypt(&mut self, mut cipher: &[u8], plain: &mut [u8]) -> Result<usize, Failure> {
        let mut count = 0;
        while count < plain.len() {
            if self.plain > 0 {
                count += self.take(&mut plain[count..]);
            } else if let Some(failure) = self.failure.clone() {
                // What was decrypted before it comes first.
                match self.take(&mut plain[count..]) {
                    0 if count == 0 => return Err(failure),
                    0 => break,
                    more => count += more,
                }
            } else if !self.pull(&mut cipher) {
                break;
            }
        }
        self.keep(cipher);
        Ok(count)
    }

    /// Whether [`Session::decrypt`] has something to say without more ciphertext.
    pub(in crate::event_loop) fn has_input(&self) -> bool {
        self.plain > 0 || self.used < self.inbox.len() || self.failure.is_some()
    }

    /// Encrypts all of `plain`.
    pub(in crate::event_loop) fn encrypt(&mut self, plain: &[IoSlice<'_>]) -> usize {
        let Side::Connected(connection) = &mut self.side else { return 0 };
        connection.writer().write_vectored(plain).expect("a buffer without a limit takes everything")
    }

    /// How much should be encrypted before it can be transmitted: some full records.
    pub(in crate::event_loop) const fn batch(&self) -> usize {
        self.batch
    }

    /// Ends our side, after what was encrypted.
    pub(in crate::event_loop) fn close_notify(&mut self) {
        if let Side::Connected(connection) = &mut self.side {
            connection.send_close_notify();
        }
    }

    /// Whether the peer has ended its side in the orderly way, and all that came before has been returned.
    pub(in crate::event_loop) const fn peer_has_ended(&self) -> bool {
        self.peer_ended && self.plain == 0
    }

    /// Whether ciphertext waits to be sent.
    pub(in crate::event_loop) fn wants_transmit(&self) -> bool {
        !self.alert.is_empty() || matches!(&self.side, Side::Connected(connection) if connection.wants_write())
    }

    /// Offers what waits to be sent to `sink`, in one call, and forgets what it took.
    ///
    /// # Errors
    /// Those of the sink.
    pub(in crate::event_loop) fn transmit(&mut self, sink: &mut dyn Write) -> std::io::Result<usize> {
        if !self.alert.is_empty() {
            let taken = sink.write(&self.alert)?;
            self.alert.drain(..taken);
            return Ok(taken);
        }
        match &mut self.side {
            Side::Connected(connection) => connection.write_tls(sink),
            Side::Hello(..) | Side::Start(..) | Side::Failed => Ok(0),
        }
    }

    pub(in crate::event_loop) fn alpn(&self) -> Option<&[u8]> {
        self.connection()?.alpn_protocol()
    }

    /// What the client asked for, or the name that the server had to prove.
    pub(in crate::event_loop) fn server_name(&self) -> Option<&str> {
        self.asked.as_deref()
    }

    pub(in crate::event_loop) const fn server_tag(&self) -> Option<u64> {
        self.server_tag
    }

    pub(in crate::event_loop) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection().and_then(|connection| connection.peer_certificates()).unwrap_or_default()
    }

    pub(in crate::event_loop) fn resumed(&self) -> bool {
        self.connection().is_some_and(|connection| connection.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    pub(in crate::event_loop) fn version(&self) -> Option<TlsVersion> {
        TlsVersion::of(self.connection()?.protocol_version()?)
    }

    /// The cipher suite by its registered name.
    pub(in crate::event_loop) fn cipher(&self) -> Option<String> {
        self.connection()?.negotiated_cipher_suite().map(|suite| provider::standard_name(suite.suite()))
    }

    fn connection(&self) -> Option<&Connection> {
        match &self.side {
            Side::Connected(connection) => Some(connection),
            Side::Hello(..) | Side::Start(..) | Side::Failed => None,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.connection().is_none_or(|connection| connection.is_handshaking())
    }

    fn start(&mut self) -> Result<(), Failure> {
        if let Side::Start(config, expected) = &self.side {
            self.asked = Some(expected.to_str().into());
            let config = Arc::clone(&config.config);
            let small = config.max_fragment_size.is_some();
            let connection = ClientConnection::new(config, expected.clone())?;
            self.connected(Connection::Client(connection), small);
        }
        Ok(())
    }

    /// Reads the client's hello and lets the configuration that fits answer it.
    fn hello(&mut self, cipher: &mut &[u8], ask: impl FnOnce(&ClientHello<'_>) -> NameChoice) -> Result<(), Failure> {
        let Side::Hello(acceptor, config) = &mut self.side else { return Ok(()) };
        let accepted = loop {
            if cipher.is_empty() {
                return Ok(());
            }
            // A whole read at a time, of which the acceptor takes a part.
            acceptor.read_tls(cipher).map_err(|error| rustls::Error::General(error.to_string()))?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => break accepted,
                Err((error, alert)) => return Err(self.refused(error, alert)),
            }
        };
        let hello = ClientHello { hello: accepted.client_hello() };
        self.asked = hello.server_name().map(Into::into);
        let Some((config, tag)) = config.choose(&hello, ask) else {
            self.side = Side::Failed;
            self.alert = UNRECOGNIZED_NAME.to_vec();
            return Err(Failure::UnknownName);
        };
        self.server_tag = tag;
        let small = config.max_fragment_size.is_some();
        match accepted.into_connection(config) {
            Ok(connection) => self.connected(Connection::Server(connection), small),
            Err((error, alert)) => return Err(self.refused(error, alert)),
        }
        Ok(())
    }

    fn connected(&mut self, mut connection: Connection, small: bool) {
        self.batch = if small { 4 * 4096 } else { 4 * 16_384 };
        // How much is encrypted ahead is the caller's business.
        connection.set_buffer_limit(None);
        self.side = Side::Connected(Box::new(connection));
    }

    fn refused(&mut self, error: rustls::Error, mut alert: AcceptedAlert) -> Failure {
        self.side = Side::Failed;
        alert.write_all(&mut self.alert).expect("a vector takes everything");
        error.into()
    }

    /// Decrypts a piece of what has arrived. False if there was nothing to decrypt.
    fn pull(&mut self, cipher: &mut &[u8]) -> bool {
        let Side::Connected(connection) = &mut self.side else { return false };
        if self.peer_ended {
            // Nothing that follows the end counts (RFC 8446, 6.1).
            *cipher = &[];
            (self.inbox, self.used) = (Vec::new(), 0);
        }
        let kept = &self.inbox[self.used..];
        let pulled = if !kept.is_empty() {
            let mut rest = kept;
            let pulled = connection.read_tls(&mut rest);
            self.used = self.inbox.len() - rest.len();
            pulled
        } else if !cipher.is_empty() {
            connection.read_tls(cipher)
        } else {
            return false;
        };
        if self.used == self.inbox.len() {
            (self.inbox, self.used) = (Vec::new(), 0);
        }
        let processed = match pulled {
            Ok(_) => connection.process_new_packets(),
            Err(error) => Err(rustls::Error::General(error.to_string())),
        };
        match processed {
            Ok(state) => (self.plain, self.peer_ended) = (state.plaintext_bytes_to_read(), state.peer_has_closed()),
            Err(error) => self.failure = Some(error.into()),
        }
        true
    }

    /// Hands out what is decrypted already.
    fn take(&mut self, plain: &mut [u8]) -> usize {
        let Side::Connected(connection) = &mut self.side else { return 0 };
        let count = connection.reader().read(plain).unwrap_or(0);
        self.plain = self.plain.saturating_sub(count);
        count
    }

    fn keep(&mut self, cipher: &[u8]) {
        if !cipher.is_empty() && !self.peer_ended {
            self.inbox.drain(..std::mem::take(&mut self.used));
            self.inbox.extend_from_slice(cipher);
        }
    }
}
