//! Certificates for tests, made on the spot.

use super::{Pem, TlsBuilder};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A CA and what it signs.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn pem(&self) -> Pem {
        Pem::bytes(self.0.pem())
    }

    pub(super) fn identity(&self, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub(super) fn server(&self, names: &[&str]) -> TlsBuilder {
        self.identity(names).builder()
    }

    /// A client that trusts this CA alone.
    pub(super) fn client(&self) -> TlsBuilder {
        TlsBuilder::new().ca(self.pem())
    }
}

impl Identity {
    pub(super) fn builder(&self) -> TlsBuilder {
        TlsBuilder::new().certificate(Pem::bytes(self.certificate.clone())).key(Pem::bytes(self.key.clone()))
    }
}
