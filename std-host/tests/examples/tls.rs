//! The example with TLS.

use crate::Example;
use crate::provider::client_builder;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

#[test]
fn the_tls_echo_server_gives_back_what_it_gets() {
    let file = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name);
        path.to_str().unwrap().to_owned()
    };
    let mut echo = Example::start("echo_tls", &[&file("ec.pem"), &file("ec_sec1.pem")]);
    let addr = echo.address();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ec.pem")).unwrap()).unwrap();
    let config = Arc::new(client_builder(rustls::ALL_VERSIONS).with_root_certificates(roots).with_no_client_auth());
    for resumed in [false, true] {
        let connection = ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap()).unwrap();
        let mut client = StreamOwned::new(connection, TcpStream::connect(addr).unwrap());
        let bytes: Vec<u8> = (0..=250).cycle().take(100_000).collect();
        client.write_all(&bytes).unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert!(back == bytes);
        assert_eq!(echo.line(), format!("TLS 1.3, resumed: {resumed}"));
        assert_eq!(echo.line(), "closed: Peer");
    }
    echo.interrupt();
}
