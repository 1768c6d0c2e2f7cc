//! Clients with the provider of cryptography that the host was built with. Where several are built in, the library
//! chooses none by itself.

#[cfg(feature = "aws-lc")]
use rustls::crypto::aws_lc_rs as chosen;
#[cfg(not(feature = "aws-lc"))]
use rustls::crypto::ring as chosen;
use rustls::{ClientConfig, ConfigBuilder, SupportedProtocolVersion, WantsVerifier};
use std::sync::Arc;

/// The beginning of a client's configuration.
pub(crate) fn client_builder(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let provider = Arc::new(chosen::default_provider());
    ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap()
}
