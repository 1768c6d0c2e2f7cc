//! Certificates and keys out of PEM text (RFC 7468).

use crate::event_loop::Error;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Where PEM text comes from.
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Bytes(Zeroizing<Vec<u8>>),
}

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
/// What marks the form of encryption that is older than PKCS#8 (RFC 1421, 4.6.1.1).
const LEGACY: &[u8] = b"Proc-Type: 4,ENCRYPTED";

impl Pem {
    /// A file, read when the configuration is built.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// The text itself. It is wiped when it is no longer needed.
    pub fn bytes(text: impl Into<Vec<u8>>) -> Self {
        Self(Source::Bytes(Zeroizing::new(text.into())))
    }

    /// All certificates, in order; at least one.
    pub(super) fn certificates(&self, key: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
        let text = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(found) if found.is_empty() => Err(self.wrong(key, "holds no certificate")),
            Ok(found) => Ok(found),
            Err(error) => Err(self.wrong(key, error)),
        }
    }

    /// The first private key: PKCS#8, encrypted or not, PKCS#1 or SEC1.
    pub(super) fn private_key(&self, passphrase: Option<&str>) -> Result<PrivateKeyDer<'static>, Error> {
        let text = self.read()?;
        if text.windows(LEGACY.len()).any(|window| window == LEGACY) {
            let command = format!("openssl pkcs8 -topk8 -v2 aes256 -in {} -out NEW.pem", self.path_or("KEY.pem"));
            return Err(self.wrong("key", format_args!("is encrypted in the old form; convert it: {command}")));
        }
        if let Some(section) = encrypted_section(&text) {
            let passphrase = passphrase.ok_or_else(|| {
                Error::config("passphrase", format_args!("{self} is encrypted and no passphrase is given"))
            })?;
            return decrypt(section, passphrase).map_err(|reason| self.wrong("key", reason));
        }
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let nothing = matches!(error, PemError::NoItemsFound);
            if nothing { self.wrong("key", "holds no private key") } else { self.wrong("key", error) }
        })
    }

    /// An error about this text.
    pub(super) fn wrong(&self, key: &str, reason: impl fmt::Display) -> Error {
        Error::config(key, format_args!("{self}: {reason}"))
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        match &self.0 {
            Source::File(path) => {
                let text = std::fs::read(path).map_err(|source| Error::io("read", path.display(), source))?;
                Ok(Zeroizing::new(text))
            }
            Source::Bytes(text) => Ok(text.clone()),
        }
    }

    fn path_or(&self, stand_in: &str) -> String {
        match &self.0 {
            Source::File(path) => path.display().to_string(),
            Source::Bytes(_) => stand_in.to_owned(),
        }
    }
}

/// The path, or that there is none: never the text, which may be a key.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path_or("the given text"))
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pem").field(&self.path_or("the given text")).finish()
    }
}

/// The first section with the label of encrypted PKCS#8. What else is in the file may be anything.
fn encrypted_section(text: &[u8]) -> Option<&str> {
    let find = |from: usize, what: &str| {
        let at = text[from..].windows(what.len()).position(|window| window == what.as_bytes())?;
        Some((from + at, from + at + what.len()))
    };
    let (start, after) = find(0, &format!("-----BEGIN {ENCRYPTED}-----"))?;
    let (_, end) = find(after, &format!("-----END {ENCRYPTED}-----"))?;
    std::str::from_utf8(&text[start..end]).ok()
}

fn decrypt(section: &str, passphrase: &str) -> Result<PrivateKeyDer<'static>, String> {
    let damaged = |error: &dyn fmt::Display| format!("is not an encrypted PKCS#8 key: {error}");
    let (_, sealed) = SecretDocument::from_pem(section).map_err(|error| damaged(&error))?;
    let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes()).map_err(|error| damaged(&error))?;
    let open = sealed.decrypt(passphrase).map_err(|error| format!("does not open by the passphrase: {error}"))?;
    Ok(PrivatePkcs8KeyDer::from(open.as_bytes().to_vec()).into())
}
