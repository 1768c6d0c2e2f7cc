//! TLS 1.2 and 1.3, by `rustls` with the cryptography of one provider, which is chosen when Wharf is built.
//!
//! ```text
//! TlsBuilder ──► TlsConfig (servers) ──┐
//!          └───► TlsClientConfig ──────┴─► Session: ciphertext ⇄ plaintext, without I/O
//! ```
//!
//! Everything that can be wrong with certificates, keys and lists is found when a configuration is built, never at the
//! first client. A [`TlsConfig`] and a [`TlsClientConfig`] are cheap to clone and may be shared by any number of loops.
//!
//! # What it does not do
//!
//! Early data (0-RTT), renegotiation, revocation lists, keys in hardware, and finite-field Diffie-Hellman.

mod builder;
mod config;
mod names;
mod pem;
mod provider;
mod session;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use builder::{ClientVerification, TlsBuilder};
pub use config::{ClientHello, NameChoice, TlsClientConfig, TlsConfig};
pub use pem::Pem;
pub use provider::TlsVersion;

pub(super) use session::{Session, Step};
