//! What the two sides agree on: names, keys, certificates, versions, sessions.

use super::{bench, end, read_all};
use crate::certificates::{Authority, dial};
use crate::harness::quiet;
use crate::provider::client_builder;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use wharf_host::event_loop::{
    ClientHello, ClientVerification, CloseReason, Closed, ConnectOptions, Error, Handler, ListenOptions, Loop, LoopMut,
    NameChoice, Opened, Pem, Socket, TlsBuilder, TlsConfig, TlsVersion,
};

/// Writes down what its sockets know about their TLS, and answers for one more name.
struct Names {
    seen: Rc<RefCell<Vec<String>>>,
    late: TlsConfig,
}

impl Handler for Names {
    type Data = ();

    fn server_name(&mut self, hello: &ClientHello<'_>) -> NameChoice {
        let name = hello.server_name().unwrap_or("nothing");
        self.seen.borrow_mut().push(format!("asked for {name}"));
        match name {
            "late.example.org" => NameChoice::Config(self.late.clone()),
            "refused.example.org" => NameChoice::Refuse,
            _ => NameChoice::Default,
        }
    }

    fn open(&mut self, s: &mut Socket<'_, (), ()>, _: Opened) {
        self.seen.borrow_mut().push(format!("{} {:?}", s.server_name().unwrap_or("nothing"), s.server_tag()));
        s.close(0);
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<()>) {
        if let CloseReason::HandshakeFailed(error) = closed.reason {
            self.seen.borrow_mut().push(error.to_string().split_once(": ").unwrap().1.to_owned());
        }
    }
}

#[test]
fn names_come_and_go_at_run_time() {
    let authority = Authority::new();
    let config = authority.server("localhost");
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Names { seen: Rc::clone(&seen), late: authority.server("late.example.org") });
    let id = set.listen_tls("127.0.0.1:0".parse().unwrap(), key, &config, ListenOptions::default()).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    let client_config = authority.client();
    let mut ended = 0;
    let mut ask = |name: &'static str| {
        let client_config = Arc::clone(&client_config);
        let client = thread::spawn(move || {
            let mut client = dial(addr, &client_config, name);
            client.read(&mut [0; 1]).map_err(|error| error.to_string())
        });
        ended += 1;
        assert!(lp.run_until(|lp| lp.stats().closed_local + lp.stats().closed_failed == ended).unwrap());
        (client.join().unwrap(), seen.borrow_mut().drain(..).collect::<Vec<_>>().join(", "))
    };
    let (failed, said) = ask("a.example.org");
    assert!(failed.unwrap_err().contains("not valid for name"), "{said}");
    assert!(said.starts_with("asked for a.example.org, "), "{said}");

    config.add_server_name("a.example.org", &authority.server("a.example.org"), 7).unwrap();
    config.add_server_name("*.example.org", &authority.server("*.example.org"), 8).unwrap();
    assert_eq!(ask("a.example.org"), (Ok(0), "a.example.org Some(7)".into()));
    assert_eq!(ask("b.example.org"), (Ok(0), "b.example.org Some(8)".into()));
    assert!(config.remove_server_name("*.example.org") && !config.remove_server_name("*.example.org"));
    assert_eq!(ask("a.example.org"), (Ok(0), "a.example.org Some(7)".into()));
    assert_eq!(ask("late.example.org"), (Ok(0), "asked for late.example.org, late.example.org None".into()));
    assert_eq!(ask("localhost"), (Ok(0), "asked for localhost, localhost None".into()));
    let (refused, said) = ask("refused.example.org");
    assert!(refused.unwrap_err().contains("UnrecognisedName"));
    assert_eq!(said, "asked for refused.example.org, no certificate for the name that the client asks for");
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

#[test]
fn an_encrypted_key_opens() {
    for (certificate, key) in [("rsa.pem", "rsa_encrypted.pem"), ("ec.pem", "ec_scrypt.pem")] {
        let builder = || TlsBuilder::new().certificate(Pem::file(file(certificate))).key(Pem::file(file(key)));
        assert!(matches!(builder().server(), Err(Error::Config { key, .. }) if key == "passphrase"));
        let config = builder().passphrase("wharf").server().unwrap();
        let mut bench = bench(&config, quiet);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file(certificate)).unwrap()).unwrap();
        let client = client_builder(rustls::ALL_VERSIONS).with_root_certificates(roots).with_no_client_auth();
        let addr = bench.addr;
        let client = thread::spawn(move || {
            let mut client = dial(addr, &Arc::new(client), "localhost");
            client.write_all(b"hello").unwrap();
            end(&mut client);
            read_all(&mut client)
        });
        bench.run_to_closed(1);
        client.join().unwrap();
        assert_eq!(bench.log()[2..], ["end after 5", "close Peer with 5 bytes"]);
    }
}

#[test]
fn a_client_shows_a_certificate_as_the_server_asks() {
    use ClientVerification::{None, Optional, Required};
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, bad) = (authority.identity("client"), stranger.identity("client"));
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        for (mode, identity, shown) in [
            (None, Some(&good), Some(0)),
            (Optional, Option::None, Some(0)),
            (Optional, Some(&good), Some(1)),
            (Optional, Some(&bad), Option::None),
            (Required, Option::None, Option::None),
            (Required, Some(&good), Some(1)),
        ] {
            let config = authority.builder("localhost").client_verification(mode);
            let config = if mode == None { config } else { config.ca(authority.pem()) };
            let mut bench = bench(&config.server().unwrap(), move |what, s, _| {
                if what == "open" {
                    assert_eq!(Some(s.peer_certificates().count()), shown);
                    s.close(1);
                }
            });
            let (addr, client) = (bench.addr, authority.client_with(versions, identity));
            let client = thread::spawn(move || {
                let mut client = dial(addr, &client, "localhost");
                client.read(&mut [0; 1]).map_err(|error| error.to_string())
            });
            bench.run_to_closed(1);
            let heard = client.join().unwrap();
            let (log, stats) = (bench.log(), bench.lp.loop_mut().stats());
            if shown.is_some() {
                assert_eq!(log, ["open Accepted", "opened", "close Local { code: 1 } with 0 bytes"]);
                assert_eq!((heard, stats.handshakes, stats.handshakes_failed), (Ok(0), 1, 0));
            } else {
                assert!(log.len() == 1 && log[0].starts_with("close HandshakeFailed(Tls {"), "{log:?}");
                assert!(heard.unwrap_err().contains("fatal alert"));
                assert_eq!((stats.handshakes, stats.handshakes_failed, stats.closed_failed), (0, 1, 1));
            }
        }
    }
}

#[test]
fn a_socket_knows_what_was_agreed_on() {
    let authority = Authority::new();
    for (version, tls, cipher) in [
        ("1.2", TlsVersion::Tls12, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("1.3", TlsVersion::Tls13, "TLS_CHACHA20_POLY1305_SHA256"),
    ] {
        let config = authority.builder("127.0.0.1").versions([version]).ciphers([cipher]).alpn(["h2", "echo"]);
        let log = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&log);
        let mut bench = bench(&config.server().unwrap(), move |what, s, _| {
            if what == "open" {
                let agreed = (s.tls_version(), s.tls_cipher(), s.alpn().map(<[u8]>::to_vec));
                assert_eq!(agreed, (Some(tls), Some(cipher.to_owned()), Some(b"echo".to_vec())));
                seen.borrow_mut().push((
                    s.peer_certificates().count(),
                    s.server_name().map(str::to_owned),
                    s.resumed(),
                ));
                s.finish().unwrap();
            }
        });
        let client = TlsBuilder::new().ca(authority.pem()).alpn(["echo"]).client().unwrap();
        let key = bench.key;
        bench.lp.loop_mut().connect_tls(bench.addr, key, Vec::new(), &client, ConnectOptions::default()).unwrap();
        bench.run_to_closed(2);
        let mut log = log.borrow_mut();
        log.sort();
        // An address is no name to ask for.
        assert_eq!(*log, [(0, None, false), (1, Some("127.0.0.1".to_owned()), false)]);
    }
}

#[test]
fn a_plain_socket_has_no_answers_about_tls() {
    let mut bench = crate::harness::bench(|what, s, _| {
        if what == "open" {
            assert_eq!((s.tls_version(), s.tls_cipher(), s.alpn(), s.server_name()), (None, None, None, None));
            assert_eq!((s.server_tag(), s.peer_certificates().count(), s.resumed()), (None, 0, false));
            s.close(0);
        }
    });
    let client = TcpStream::connect(bench.addr).unwrap();
    bench.run_to_closed(1);
    drop(client);
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    for (version, tickets) in [("1.2", true), ("1.2", false), ("1.3", true), ("1.3", false)] {
        let mut config = authority.builder("127.0.0.1").versions([version]);
        if !tickets {
            config = config.tickets(None);
        }
        let resumed = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&resumed);
        let mut bench = bench(&config.server().unwrap(), move |what, s, bytes| match what {
            "open" => {
                seen.borrow_mut().push(s.resumed());
                s.write(b"hello").unwrap();
            }
            // The tickets have come before this.
            "data" if bytes == b"hello" => s.finish().unwrap(),
            _ => {}
        });
        let client = TlsBuilder::new().ca(authority.pem()).client().unwrap();
        for round in 1..=3 {
            let key = bench.key;
            bench.lp.loop_mut().connect_tls(bench.addr, key, Vec::new(), &client, ConnectOptions::default()).unwrap();
            bench.run_to_closed(2 * round);
        }
        assert_eq!(*resumed.borrow(), [false, false, true, true, true, true], "{version} {tickets}");
        assert_eq!(bench.lp.loop_mut().stats().handshakes_resumed, 4);
    }
}
