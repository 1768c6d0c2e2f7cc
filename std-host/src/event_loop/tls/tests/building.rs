//! What a configuration is made of, and how it is refused.

use crate::event_loop::Error;
use crate::event_loop::tls::testing::Authority;
use crate::event_loop::tls::{ClientVerification, Pem, TlsBuilder};
use std::path::Path;
use std::time::Duration;

/// A file that `openssl` wrote.
fn file(name: &str) -> Pem {
    Pem::file(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name))
}

fn pair(certificate: &str, key: &str) -> TlsBuilder {
    TlsBuilder::new().certificate(file(certificate)).key(file(key))
}

/// The key and the reason of the error that `builder` ends with.
fn refusal(builder: TlsBuilder) -> (String, String) {
    let error = builder.server().unwrap_err();
    let Error::Config { key, reason } = error else { panic!("{error}") };
    (key, reason)
}

#[test]
fn keys_open_in_every_form() {
    pair("rsa.pem", "rsa_pkcs8.pem").server().unwrap();
    pair("rsa.pem", "rsa_pkcs1.pem").server().unwrap();
    pair("ec.pem", "ec_sec1.pem").server().unwrap();
    pair("rsa.pem", "rsa_encrypted.pem").passphrase("wharf").server().unwrap();
    pair("ec.pem", "ec_scrypt.pem").passphrase("wharf").server().unwrap();
}

#[test]
fn certificates_and_keys_may_lie_in_one_text() {
    let text = ["ec_scrypt.pem", "ec.pem"].map(|name| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)).unwrap()
    });
    let text = format!("Bag Attributes: none\n{}", text.concat().replace('\n', "\r\n"));
    let both = TlsBuilder::new().certificate(Pem::bytes(text.clone())).key(Pem::bytes(text));
    both.passphrase("wharf").server().unwrap();
}

#[test]
fn an_encrypted_key_needs_the_right_passphrase() {
    let (key, reason) = refusal(pair("rsa.pem", "rsa_encrypted.pem"));
    assert_eq!(key, "passphrase");
    assert!(reason.contains("rsa_encrypted.pem is encrypted"), "{reason}");
    let (key, reason) = refusal(pair("rsa.pem", "rsa_encrypted.pem").passphrase("fraw"));
    assert_eq!(key, "key");
    assert!(reason.contains("does not open by the passphrase"), "{reason}");
}

#[test]
fn the_old_form_of_encryption_is_refused_with_the_command_that_converts_it() {
    let (key, reason) = refusal(pair("rsa.pem", "rsa_legacy.pem").passphrase("wharf"));
    assert_eq!(key, "key");
    assert!(reason.contains("openssl pkcs8 -topk8 -v2 aes256 -in /") && reason.contains("rsa_legacy.pem"), "{reason}");
}

#[test]
fn a_key_that_does_not_fit_is_refused() {
    for (certificate, key) in [("rsa.pem", "ec_sec1.pem"), ("ec.pem", "rsa_pkcs8.pem")] {
        let (setting, reason) = refusal(pair(certificate, key));
        assert_eq!(setting, "key");
        assert!(reason.contains("does not fit the certificate of /") && reason.contains(certificate), "{reason}");
    }
    let authority = Authority::new();
    let (ours, theirs) = (authority.identity(&["localhost"]), authority.identity(&["localhost"]));
    let mixed = TlsBuilder::new().certificate(Pem::bytes(ours.certificate)).key(Pem::bytes(theirs.key));
    assert!(refusal(mixed).1.contains("does not fit"));
}

#[test]
fn what_is_missing_or_no_pem_is_named() {
    let missing = pair("none.pem", "ec_sec1.pem").server().unwrap_err();
    assert!(matches!(missing, Error::Io { op: "read", .. }) && missing.to_string().contains("none.pem"), "{missing}");
    assert_eq!(refusal(TlsBuilder::new()).0, "certificate");
    assert_eq!(refusal(TlsBuilder::new().certificate(file("ec.pem"))).0, "key");
    assert_eq!(refusal(TlsBuilder::new().key(file("ec_sec1.pem"))).0, "certificate");
    assert!(refusal(pair("ec_sec1.pem", "ec_sec1.pem")).1.contains("holds no certificate"));
    assert!(refusal(pair("ec.pem", "ec.pem")).1.contains("holds no private key"));
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let damaged = TlsBuilder::new().certificate(Pem::bytes(damaged)).key(file("ec_sec1.pem"));
    assert_eq!(refusal(damaged).0, "certificate");
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    assert_eq!(refusal(TlsBuilder::new().certificate(Pem::bytes(cut)).key(file("ec_sec1.pem"))).0, "certificate");
}

#[test]
fn settings_that_do_not_apply_are_refused() {
    let good = || pair("ec.pem", "ec_sec1.pem");
    assert_eq!(refusal(good().dh_parameters(file("ec.pem"))).0, "dh_parameters");
    assert_eq!(refusal(good().ca(file("ec.pem"))).0, "ca");
    assert_eq!(refusal(good().alpn([""])).0, "alpn");
    assert_eq!(refusal(good().alpn(["a".repeat(256)])).0, "alpn");
    assert_eq!(refusal(good().versions(["1.1"])).0, "versions");
    assert_eq!(refusal(good().ciphers(["RC4"])).0, "ciphers");
    // A cipher of one version alone leaves none for the other.
    assert_eq!(refusal(good().ciphers(["TLS_AES_128_GCM_SHA256"]).versions(["1.2"])).0, "ciphers");
    assert_eq!(refusal(good().tickets(Some(Duration::from_millis(1)))).0, "tickets");
    let client = || TlsBuilder::new().ca(file("ec.pem"));
    let verified = client().client_verification(ClientVerification::None).client().unwrap_err();
    assert!(verified.to_string().starts_with("client_verification: "), "{verified}");
    let refusing = client().refuse_unknown_names().client().unwrap_err();
    assert!(refusing.to_string().starts_with("refuse_unknown_names: "), "{refusing}");
    let name = client().client().unwrap().expecting("no name").unwrap_err();
    assert!(name.to_string().starts_with("server_name: "), "{name}");
}

#[test]
fn a_secret_is_never_printed() {
    let builder = TlsBuilder::new().key(Pem::bytes("a secret key")).passphrase("a secret phrase");
    assert!(!format!("{builder:?}").contains("secret"), "{builder:?}");
}
