//! The one provider of cryptography, and what it offers by name.

use crate::event_loop::Error;
use rustls::crypto::{CryptoProvider, GetRandomFailed};
use rustls::server::ProducesTickets;
use rustls::{CipherSuite, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "aws-lc")]
use rustls::crypto::aws_lc_rs as chosen;
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
use rustls::crypto::ring as chosen;
#[cfg(not(any(feature = "ring", feature = "aws-lc")))]
compile_error!("TLS needs a provider of cryptography: build with the feature `ring` or `aws-lc`");

/// The longest use of one ticket key; the provider's own rotation would come before a longer one.
pub(super) const LONGEST_ROTATION: Duration = Duration::from_secs(6 * 60 * 60);

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    pub(super) const fn of(version: ProtocolVersion) -> Option<Self> {
        if matches!(version, ProtocolVersion::TLSv1_2) {
            Some(Self::Tls12)
        } else if matches!(version, ProtocolVersion::TLSv1_3) {
            Some(Self::Tls13)
        } else {
            None
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

/// The provider with the cipher suites of `names` alone, in their order; with its own if there are none.
pub(super) fn provider(names: &[String]) -> Result<CryptoProvider, Error> {
    let mut provider = chosen::default_provider();
    if !names.is_empty() {
        let offered: Vec<_> = std::mem::take(&mut provider.cipher_suites);
        provider.cipher_suites = names.iter().map(|name| cipher(name, &offered)).collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

/// The versions of `names`; all if there are none.
pub(super) fn versions(names: &[String]) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    if names.is_empty() {
        return Ok(rustls::ALL_VERSIONS.to_vec());
    }
    let version = |name: &String| match name.as_str() {
        "1.2" => Ok(&rustls::version::TLS12),
        "1.3" => Ok(&rustls::version::TLS13),
        _ => Err(Error::config("versions", format_args!("no version {name}; there are 1.2 and 1.3"))),
    };
    names.iter().map(version).collect()
}

/// What makes tickets, with a new key after every `rotation`. A ticket is taken for at most twice that.
pub(super) fn ticketer(rotation: Duration) -> Result<Arc<dyn ProducesTickets>, Error> {
    #[derive(Debug)]
    struct OneKey(Arc<dyn ProducesTickets>);

    impl ProducesTickets for OneKey {
        fn enabled(&self) -> bool {
            true
        }

        fn lifetime(&self) -> u32 {
            self.0.lifetime()
        }

        fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
            self.0.encrypt(plain)
        }

        fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
            self.0.decrypt(cipher)
        }
    }

    fn fresh() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
        let made = chosen::Ticketer::new().map_err(|_| GetRandomFailed)?;
        Ok(Box::new(OneKey(made)))
    }

    if rotation < Duration::from_secs(1) || rotation > LONGEST_ROTATION {
        return Err(Error::config("tickets", "a key is used between 1 s and 6 h"));
    }
    let seconds = u32::try_from(rotation.as_secs()).unwrap_or(u32::MAX);
    let rotator = rustls::ticketer::TicketRotator::new(seconds, fresh);
    Ok(Arc::new(rotator.map_err(|error| Error::config("tickets", error))?))
}

fn cipher(name: &str, offered: &[SupportedCipherSuite]) -> Result<SupportedCipherSuite, Error> {
    let known = offered.iter().find(|suite| standard_name(suite.suite()) == name);
    known.copied().ok_or_else(|| {
        let there: Vec<_> = offered.iter().map(|suite| standard_name(suite.suite())).collect();
        let hint = if name.contains("_DHE_") { "; finite-field Diffie-Hellman is not offered" } else { "" };
        Error::config("ciphers", format_args!("no cipher {name}{hint}; there are {}", there.join(", ")))
    })
}

/// The name in the registry of IANA; the library marks the suites of TLS 1.3 by a prefix of its own.
pub(super) fn standard_name(suite: CipherSuite) -> String {
    suite.as_str().unwrap_or_default().replace("TLS13_", "TLS_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphers_are_chosen_by_their_registered_names_in_order() {
        let names = ["TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"].map(String::from);
        let suites = provider(&names).unwrap().cipher_suites;
        assert_eq!(suites.iter().map(|suite| standard_name(suite.suite())).collect::<Vec<_>>(), names);
        assert!(provider(&[]).unwrap().cipher_suites.len() > 2);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_what_there_is() {
        let error = provider(&["TLS_NULL".into()]).unwrap_err().to_string();
        assert!(error.starts_with("ciphers: no cipher TLS_NULL; there are TLS_AES_"), "{error}");
        let error = provider(&["TLS_DHE_RSA_WITH_AES_128_GCM_SHA256".into()]).unwrap_err().to_string();
        assert!(error.contains("finite-field"), "{error}");
        let error = versions(&["1.1".into()]).unwrap_err().to_string();
        assert_eq!(error, "versions: no version 1.1; there are 1.2 and 1.3");
    }

    #[test]
    fn tickets_live_for_two_rotations() {
        let tickets = ticketer(Duration::from_secs(60)).unwrap();
        assert_eq!((tickets.enabled(), tickets.lifetime()), (true, 120));
        let ticket = tickets.encrypt(b"state").unwrap();
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"state");
        assert!(ticketer(Duration::ZERO).is_err() && ticketer(LONGEST_ROTATION * 2).is_err());
    }
}
