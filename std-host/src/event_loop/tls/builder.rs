//! Builds configurations and finds out what is wrong with them.

use super::config::{TlsClientConfig, TlsConfig};
use super::pem::Pem;
use super::provider::{self, LONGEST_ROTATION};
use crate::event_loop::Error;
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Whether a server asks its clients for certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientVerification {
    /// It does not ask.
    None,
    /// A client may show one; one that does not come from the CA ends the handshake.
    Optional,
    /// A client without one that comes from the CA is turned away.
    Required,
}

/// Gathers settings, then checks them all: [`TlsBuilder::server`] or [`TlsBuilder::client`].
#[derive(Clone, Debug)]
pub struct TlsBuilder {
    certificate: Option<Pem>,
    key: Option<Pem>,
    passphrase: Option<Passphrase>,
    ca: Vec<Pem>,
    system_roots: bool,
    client_verification: Option<ClientVerification>,
    alpn: Vec<Vec<u8>>,
    versions: Vec<String>,
    ciphers: Vec<String>,
    dh_parameters: Option<Pem>,
    refuse_unknown_names: bool,
    tickets: Option<Duration>,
    session_cache: usize,
    low_memory: bool,
}

/// The largest record of low memory, its header of five bytes included.
const SMALL_RECORD: usize = 4096 + 5;
/// Sessions that are remembered unless told otherwise.
const SESSIONS: usize = 256;

/// What opens a key; wiped when the builder is gone, and never printed.
#[derive(Clone)]
struct Passphrase(Zeroizing<String>);

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl Default for TlsBuilder {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            passphrase: None,
            ca: Vec::new(),
            system_roots: false,
            client_verification: None,
            alpn: Vec::new(),
            versions: Vec::new(),
            ciphers: Vec::new(),
            dh_parameters: None,
            refuse_unknown_names: false,
            tickets: Some(LONGEST_ROTATION),
            session_cache: SESSIONS,
            low_memory: false,
        }
    }
}

impl TlsBuilder {
    /// No certificate, both versions, all ciphers of the provider, resumption on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The own certificate, followed by those that lead to the CA. Servers need one; clients may have one.
    #[must_use]
    pub fn certificate(mut self, chain: Pem) -> Self {
        self.certificate = Some(chain);
        self
    }

    /// The private key of the certificate: PKCS#8, PKCS#1 or SEC1, or encrypted PKCS#8 together with a passphrase.
    #[must_use]
    pub fn key(mut self, key: Pem) -> Self {
        self.key = Some(key);
        self
    }

    /// What opens an encrypted key. It is wiped from memory when the configuration has been built.
    #[must_use]
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.passphrase = Some(Passphrase(Zeroizing::new(passphrase.into())));
        self
    }

    /// Certificates that peers' certificates must come from. May be repeated.
    #[must_use]
    pub fn ca(mut self, certificates: Pem) -> Self {
        self.ca.push(certificates);
        self
    }

    /// Peers' certificates may come from whatever the system trusts. The default of clients without a CA.
    #[must_use]
    pub const fn system_roots(mut self) -> Self {
        self.system_roots = true;
        self
    }

    /// Whether a server asks for certificates. It does not.
    #[must_use]
    pub const fn client_verification(mut self, verification: ClientVerification) -> Self {
        self.client_verification = Some(verification);
        self
    }

    /// Application protocols, the most wanted first. A client and a server that both have some and share none end the
    /// handshake.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Versions of TLS, `1.2` and `1.3`. Both.
    #[must_use]
    pub fn versions<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.versions = names.into_iter().map(Into::into).collect();
        self
    }

    /// Cipher suites by their registered names (`TLS_AES_128_GCM_SHA256`), the most wanted first. A server that has a
    /// list follows its own order, not the client's. All of the provider's.
    #[must_use]
    pub fn ciphers<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.ciphers = names.into_iter().map(Into::into).collect();
        self
    }

    /// Parameters of finite-field Diffie-Hellman, which is not offered: a configuration with them is refused, so that
    /// nobody believes that they are in use.
    #[must_use]
    pub fn dh_parameters(mut self, parameters: Pem) -> Self {
        self.dh_parameters = Some(parameters);
        self
    }

    /// A client that asks for no known name, and for which the handler has nothing, is refused instead of getting the
    /// default certificate.
    #[must_use]
    pub const fn refuse_unknown_names(mut self) -> Self {
        self.refuse_unknown_names = true;
        self
    }

    /// How long a server uses one key for tickets, 1 s to 6 h; a ticket is good for at most twice as long. `None`: no
    /// tickets, sessions are in the cache alone. 6 h.
    #[must_use]
    pub const fn tickets(mut self, rotation: Option<Duration>) -> Self {
        self.tickets = rotation;
        self
    }

    /// Sessions that a server or a client remembers, in its memory; the oldest goes first. 0: none. 256.
    #[must_use]
    pub const fn session_cache(mut self, sessions: usize) -> Self {
        self.session_cache = sessions;
        self
    }

    /// Sends records of at most 4 KiB, and encrypts no more ahead of a slow peer than a few of them.
    #[must_use]
    pub const fn low_memory(mut self) -> Self {
        self.low_memory = true;
        self
    }

    /// A configuration for servers.
    ///
    /// # Errors
    /// [`Error::Config`] with the setting that is missing or wrong, [`Error::Io`] for a file that cannot be read.
    pub fn server(self) -> Result<TlsConfig, Error> {
        let (provider, versions) = self.basis()?;
        let identity = self.identity(&provider)?.ok_or_else(|| Error::config("certificate", "a server needs one"))?;
        let required = match self.client_verification.unwrap_or(ClientVerification::None) {
            ClientVerification::None if self.ca.is_empty() && !self.system_roots => None,
            ClientVerification::None => {
                return Err(Error::config("ca", "a server that asks for no certificates has no use for it"));
            }
            ClientVerification::Optional => Some(false),
            ClientVerification::Required => Some(true),
        };
        let verifier = match required {
            Some(required) => {
                let roots = Arc::new(self.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
                let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
                verifier.build().map_err(|error| Error::config("ca", error))?
            }
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let builder = builder.map_err(|error| Error::config("ciphers", error))?.with_client_cert_verifier(verifier);
        let mut config = builder.with_cert_resolver(identity);
        config.alpn_protocols.clone_from(&self.alpn);
        config.ignore_client_order = !self.ciphers.is_empty();
        config.max_fragment_size = self.low_memory.then_some(SMALL_RECORD);
        if let Some(rotation) = self.tickets {
            config.ticketer = provider::ticketer(rotation)?;
        }
        if self.session_cache == 0 {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        } else {
            config.session_storage = ServerSessionMemoryCache::new(self.session_cache);
        }
        Ok(TlsConfig::new(config, self.refuse_unknown_names))
    }

    /// A configuration for clients.
    ///
    /// # Errors
    /// As for [`TlsBuilder::server`].
    pub fn client(self) -> Result<TlsClientConfig, Error> {
        if self.client_verification.is_some() {
            return Err(Error::config("client_verification", "is a setting of servers"));
        }
        if self.refuse_unknown_names {
            return Err(Error::config("refuse_unknown_names", "is a setting of servers"));
        }
        let (provider, versions) = self.basis()?;
        let identity = self.identity(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let builder = builder.map_err(|error| Error::config("ciphers", error))?.with_root_certificates(self.roots()?);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.max_fragment_size = self.low_memory.then_some(SMALL_RECORD);
        config.resumption = match self.session_cache {
            0 => Resumption::disabled(),
            sessions => Resumption::store(Arc::new(ClientSessionMemoryCache::new(sessions))),
        };
        Ok(TlsClientConfig::new(config))
    }

    /// What servers and clients have in common.
    fn basis(&self) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), Error> {
        if self.dh_parameters.is_some() {
            return Err(Error::config("dh_parameters", "not applicable: keys are agreed on elliptic curves alone"));
        }
        if let Some(wrong) = self.alpn.iter().find(|name| !(1..=255).contains(&name.len())) {
            return Err(Error::config("alpn", format_args!("a name has 1 to 255 bytes, not {}", wrong.len())));
        }
        Ok((Arc::new(provider::provider(&self.ciphers)?), provider::versions(&self.versions)?))
    }

    /// The own certificate with its key.
    fn identity(&self, provider: &CryptoProvider) -> Result<Option<Arc<SingleCertAndKey>>, Error> {
        let (chain, key) = match (&self.certificate, &self.key) {
            (Some(chain), Some(key)) => (chain, key),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(Error::config("key", "missing: the certificate needs its key")),
            (None, Some(_)) => return Err(Error::config("certificate", "missing: the key needs its certificate")),
        };
        let certificates = chain.certificates("certificate")?;
        let opened = key.private_key(self.passphrase.as_ref().map(|passphrase| passphrase.0.as_str()))?;
        let certified = CertifiedKey::from_der(certificates, opened, provider);
        let certified = certified.map_err(|error| {
            if error == rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
                key.wrong("key", format_args!("does not fit the certificate of {chain}"))
            } else if matches!(error, rustls::Error::InvalidCertificate(_)) {
                chain.wrong("certificate", error)
            } else {
                key.wrong("key", error)
            }
        })?;
        Ok(Some(Arc::new(SingleCertAndKey::from(certified))))
    }

    /// Whom to trust; never nobody.
    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for pem in &self.ca {
            for certificate in pem.certificates("ca")? {
                roots.add(certificate).map_err(|error| pem.wrong("ca", error))?;
            }
        }
        if self.system_roots || self.ca.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            // A system may hold certificates that nobody can use, which is no reason to use none.
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let reason = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
                return Err(Error::config("system_roots", reason));
            }
        }
        Ok(roots)
    }
}
