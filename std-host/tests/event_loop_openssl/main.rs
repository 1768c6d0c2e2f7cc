//! `openssl s_client` against TLS on the loop: a client that shares no code with it. Without the program these tests do
//! nothing; the gate says so. They are a test binary of their own because they start processes, which hold the
//! listeners of other tests open until they have become what they are to be.

#[expect(dead_code, reason = "a part of it serves other tests")]
#[path = "../event_loop/certificates.rs"]
mod certificates;
#[expect(dead_code, reason = "a part of it serves other tests")]
#[path = "../event_loop/harness.rs"]
mod harness;
#[path = "../event_loop/provider.rs"]
mod provider;

use crate::certificates::Authority;
use crate::harness::{Bench, bench_on};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;
use wharf_host::event_loop::{ClientVerification, ListenOptions, LoopOptions, TlsConfig};

/// What a server knows of a client that has opened: version, server name, protocol, certificates shown, resumed.
type Known = (String, Option<String>, Option<String>, usize, bool);

struct Server {
    bench: Bench,
    known: Rc<RefCell<Vec<Known>>>,
    closed: u64,
    files: PathBuf,
}

fn is_installed() -> bool {
    Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
}

impl Server {
    /// An echo server; `name` tells its files from those of other tests.
    fn new(name: &str, authority: &Authority, config: &TlsConfig) -> Self {
        let files = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("openssl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("ca.pem"), authority.certificate()).unwrap();
        let known: Rc<RefCell<Vec<Known>>> = Rc::default();
        let seen = Rc::clone(&known);
        let bench = bench_on(
            LoopOptions::default(),
            move |what, s, bytes| match what {
                "open" => {
                    let alpn = s.alpn().map(|name| String::from_utf8(name.to_vec()).unwrap());
                    let version = s.tls_version().unwrap().to_string();
                    let name = s.server_name().map(str::to_owned);
                    seen.borrow_mut().push((version, name, alpn, s.peer_certificates().count(), s.resumed()));
                }
                "data" => assert_eq!(s.write(bytes).unwrap(), bytes.len()),
                _ => {}
            },
            |lp, key, addr| lp.listen_tls(addr, key, config, ListenOptions::default()).unwrap(),
        );
        Self { bench, known, closed: 0, files }
    }

    fn file(&self, name: &str) -> String {
        self.files.join(name).to_str().unwrap().to_owned()
    }

    /// Says a line with `s_client` and these arguments, and hears it again. What the server knew of the client, and
    /// what `s_client` printed; `None` if there was no echo.
    fn talk(&mut self, arguments: &[&str]) -> (Option<Known>, String) {
        let mut all = vec!["-CAfile".to_owned(), self.file("ca.pem"), "-verify_return_error".to_owned()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let addr = self.bench.addr;
        let client = thread::spawn(move || s_client(addr, &all));
        self.closed += 1;
        self.bench.run_to_closed(self.closed);
        let printed = client.join().unwrap();
        (self.known.borrow_mut().pop(), printed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

fn s_client(addr: SocketAddr, arguments: &[String]) -> String {
    let mut command = Command::new("openssl");
    command.arg("s_client").arg("-connect").arg(addr.to_string()).args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl starts");
    let (mut input, mut said) = (child.stdin.take().unwrap(), String::new());
    // It may have given up already.
    let _ = input.write_all(b"hello\n");
    let mut output = BufReader::new(child.stdout.take().unwrap());
    // What it prints of the session may be cut in the middle of a line by what it has received.
    while output.read_line(&mut said).unwrap() > 0 && !said.ends_with("hello\n") {}
    // The end of its input ends it, in the orderly way.
    drop(input);
    output.read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn openssl_speaks_both_versions_and_resumes() {
    if !is_installed() {
        return;
    }
    let authority = Authority::new();
    let mut server = Server::new("versions", &authority, &authority.server("localhost"));
    let session = server.file("session");
    for (option, version) in [("-tls1_2", "1.2"), ("-tls1_3", "1.3")] {
        for (resumed, file) in [(false, "-sess_out"), (true, "-sess_in")] {
            let (known, printed) = server.talk(&[option, file, &session, "-servername", "localhost"]);
            let name = Some("localhost".to_owned());
            assert_eq!(known, Some((version.to_owned(), name, None, 0, resumed)), "{printed}");
            assert!(printed.contains("hello\n") && printed.contains(if resumed { "\nReused" } else { "\nNew" }));
            assert!(printed.contains("Verify return code: 0 (ok)"), "{printed}");
        }
    }
    let log = server.bench.log();
    assert_eq!(log.iter().filter(|line| *line == "close Peer with 6 bytes").count(), 4, "{log:?}");
}

#[test]
fn openssl_asks_for_names_and_protocols() {
    if !is_installed() {
        return;
    }
    let authority = Authority::new();
    let config = authority.builder("localhost").alpn(["h2", "echo"]).server().unwrap();
    let other = authority.builder("*.example.org").alpn(["echo"]).server().unwrap();
    config.add_server_name("*.example.org", &other, 1).unwrap();
    let mut server = Server::new("names", &authority, &config);
    for (name, offered, agreed) in [
        ("localhost", "echo,h2", Some("h2")),
        ("a.example.org", "h2,echo", Some("echo")),
        ("a.example.org", "h2", None),
    ] {
        let (known, printed) = server.talk(&["-servername", name, "-verify_hostname", name, "-alpn", offered]);
        let expected =
            agreed.map(|agreed| ("1.3".to_owned(), Some(name.to_owned()), Some(agreed.to_owned()), 0, false));
        assert_eq!(known, expected, "{printed}");
        assert_eq!(printed.contains("hello\n"), agreed.is_some(), "{printed}");
    }
    let (known, printed) = server.talk(&["-noservername", "-alpn", "echo"]);
    assert_eq!(known.and_then(|known| known.1), None, "{printed}");
}

#[test]
fn openssl_shows_a_certificate_and_meets_the_ciphers() {
    if !is_installed() {
        return;
    }
    let authority = Authority::new();
    let ciphers = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    let config = authority.builder("localhost").client_verification(ClientVerification::Required).ca(authority.pem());
    let mut server = Server::new("certificates", &authority, &config.ciphers(ciphers).server().unwrap());
    let (certificate, key) = (server.file("client.pem"), server.file("key.pem"));
    let identity = authority.identity("client");
    std::fs::write(&certificate, &identity.certificate).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    for (version, cipher) in [("-tls1_2", "ECDHE-ECDSA-AES256-GCM-SHA384"), ("-tls1_3", "TLS_CHACHA20_POLY1305_SHA256")]
    {
        let (known, printed) = server.talk(&[version, "-cert", &certificate, "-key", &key]);
        // It may add the authority's to its own.
        assert!(known.is_some_and(|known| known.3 > 0), "{printed}");
        assert!(printed.contains(&format!("Cipher is {cipher}")), "{printed}");
        let (known, printed) = server.talk(&[version]);
        assert!(known.is_none() && !printed.contains("hello\n"), "{printed}");
        assert!(printed.contains("alert") && printed.contains("certificate"), "{printed}");
    }
    let (known, printed) = server.talk(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
    assert!(known.is_none() && printed.contains("handshake failure"), "{printed}");
}
