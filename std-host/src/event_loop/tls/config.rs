//! What a listener or a connection is given, and what a handler chooses from.

use super::names::{Named, Names};
use crate::event_loop::Error;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// How a server does TLS. Clones are the same configuration, with the same names.
#[derive(Clone)]
pub struct TlsConfig(Arc<Server>);

struct Server {
    default: Arc<ServerConfig>,
    names: RwLock<Names>,
    /// A client that asks for no known name is refused.
    refuses: bool,
}

/// How a client does TLS, and whom it expects. Clones share the cache of sessions.
#[derive(Clone)]
pub struct TlsClientConfig {
    pub(super) config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

/// What a client says before anything is decided.
pub struct ClientHello<'a> {
    pub(super) hello: rustls::server::ClientHello<'a>,
}

/// Which certificate a client gets: the answer of [`Handler::server_name`](crate::event_loop::Handler::server_name).
#[derive(Clone, Debug, Default)]
pub enum NameChoice {
    /// The listener's own, or a refusal if that is configured.
    #[default]
    Default,
    /// Everything as configured here; names that were added to this one do not count.
    Config(TlsConfig),
    /// None: the handshake fails.
    Refuse,
}

impl TlsConfig {
    pub(super) fn new(default: ServerConfig, refuses: bool) -> Self {
        Self(Arc::new(Server { default: Arc::new(default), names: RwLock::default(), refuses }))
    }

    /// Lets `config` answer new handshakes that ask for `pattern`: a host name, or `*.zone` for all names with one
    /// label before the zone. A name comes before its zone. What had the same pattern is replaced. `tag` is what
    /// [`Stream::server_tag`](crate::event_loop::Stream::server_tag) says of sockets that were chosen so.
    ///
    /// # Errors
    /// [`Error::Config`] for a pattern that no client can ask for.
    pub fn add_server_name(&self, pattern: &str, config: &Self, tag: u64) -> Result<(), Error> {
        let named = Named { config: config.default_config(), tag };
        self.0.names.write().unwrap_or_else(PoisonError::into_inner).add(pattern, named)
    }

    /// Takes a pattern out for new handshakes; sockets that exist stay. False if it was not there.
    pub fn remove_server_name(&self, pattern: &str) -> bool {
        self.0.names.write().unwrap_or_else(PoisonError::into_inner).remove(pattern)
    }

    pub(super) fn default_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.default)
    }

    /// The configuration for a client, and its tag; `None` if it is refused. `ask` decides if no name fits.
    pub(super) fn choose(
        &self,
        hello: &ClientHello<'_>,
        ask: impl FnOnce(&ClientHello<'_>) -> NameChoice,
    ) -> Option<(Arc<ServerConfig>, Option<u64>)> {
        let named = hello
            .server_name()
            .and_then(|name| self.0.names.read().unwrap_or_else(PoisonError::into_inner).find(name).cloned());
        if let Some(Named { config, tag }) = named {
            return Some((config, Some(tag)));
        }
        match ask(hello) {
            NameChoice::Config(other) => Some((other.default_config(), None)),
            NameChoice::Default if !self.0.refuses => Some((self.default_config(), None)),
            NameChoice::Default | NameChoice::Refuse => None,
        }
    }
}

impl TlsClientConfig {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self { config: Arc::new(config), name: None }
    }

    /// The same for a server that must prove to be `name`, a host name or an IP address. Without it the name is the one
    /// that is connected to.
    ///
    /// # Errors
    /// [`Error::Config`] for what is neither.
    pub fn expecting(&self, name: &str) -> Result<Self, Error> {
        let parsed = ServerName::try_from(name.to_owned());
        let name = parsed.map_err(|_| Error::config("server_name", format_args!("`{name}` is no name of a server")))?;
        Ok(Self { name: Some(name), ..self.clone() })
    }

    /// Whom the server must prove to be, if that is settled.
    pub(in crate::event_loop) const fn name(&self) -> Option<&ServerName<'static>> {
        self.name.as_ref()
    }
}

impl ClientHello<'_> {
    /// The name that the client asks for.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.hello.server_name()
    }

    /// The application protocols that the client offers, in its order.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        self.hello.alpn().into_iter().flatten()
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("names", &self.0.names)
            .field("refuses", &self.0.refuses)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClientConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientHello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHello").field("server_name", &self.server_name()).finish_non_exhaustive()
    }
}
