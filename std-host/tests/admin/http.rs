//! `/metrics` and `/status` over HTTP, for scrapers and for whoever else comes.

use crate::harness::{Folder, Host, servers};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// A host with HTTP.
fn host(folder: &Folder) -> Host {
    folder.host("hall", &format!("[admin]\nlisten = \"127.0.0.1:0\"\n{}", servers(&["a"])))
}

/// One response.
#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    /// Reads one; `bodiless` if it is one to HEAD.
    fn read(stream: &mut TcpStream, bodiless: bool) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {head:?}"));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = vec![0; if bodiless { 0 } else { header(&head, "Content-Length").unwrap().parse().unwrap() }];
        stream.read_exact(&mut body).unwrap();
        Self { status, body: String::from_utf8(body).unwrap(), head }
    }

    fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: wharf\r\n\r\n")
}

/// Asks on a new connection.
fn ask(host: &Host, text: &str) -> (Response, TcpStream) {
    let mut stream = host.http();
    stream.write_all(text.as_bytes()).unwrap();
    (Response::read(&mut stream, text.starts_with("HEAD")), stream)
}

fn has_ended(mut stream: TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn metrics_and_status_are_served() {
    let folder = Folder::new();
    let host = host(&folder);
    let (metrics, _) = ask(&host, &request("GET", "/metrics?name=x"));
    assert_eq!(
        (metrics.status, metrics.header("Content-Type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    assert!(
        metrics.body.contains("\n# TYPE wharf_loop_iterations_total counter\nwharf_loop_iterations_total{loop=\"0\"} ")
    );
    assert!(metrics.body.ends_with('\n'));
    for line in ["# TYPE wharf_modbus_connections_total counter", "wharf_modbus_connections_active{server=\"a\"} 0"] {
        assert!(metrics.body.lines().any(|found| found == line), "{line}\n{}", metrics.body);
    }
    let (status, _) = ask(&host, &request("GET", "/status"));
    assert_eq!((status.status, status.header("Content-Type")), (200, Some("application/json")));
    let told: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!((&told["plant"], &told["listen"]), (&"hall".into(), &host.http.unwrap().to_string().into()));
    assert_eq!(told["entries"][0]["name"], "a");
    assert!(told["entries"][0]["metrics"]["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert!(status.header("Date").unwrap().ends_with(" GMT"));
}

#[test]
fn head_has_the_head_of_get_and_no_body() {
    let folder = Folder::new();
    let host = host(&folder);
    let (head, mut stream) = ask(&host, &request("HEAD", "/metrics"));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.header("Content-Length").unwrap().parse::<usize>().unwrap() > 1000);
    stream.write_all(request("HEAD", "/").as_bytes()).unwrap();
    assert_eq!(Response::read(&mut stream, true).status, 404);
    stream.write_all(request("GET", "/").as_bytes()).unwrap();
    assert_eq!(Response::read(&mut stream, false).status, 404);
}

#[test]
fn other_paths_and_methods_are_refused() {
    let folder = Folder::new();
    let host = host(&folder);
    for path in ["/", "/metrics/", "/METRICS", "/%6detrics", "/status/../metrics", "*"] {
        assert_eq!(ask(&host, &request("GET", path)).0.status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "BREW"] {
        let (refused, mut stream) = ask(&host, &request(method, "/metrics"));
        assert_eq!((refused.status, refused.header("Allow")), (405, Some("GET, HEAD")), "{method}");
        stream.write_all(request("GET", "/metrics").as_bytes()).unwrap();
        assert_eq!(Response::read(&mut stream, false).status, 200);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let folder = Folder::new();
    let host = host(&folder);
    let mut stream = host.http();
    let paths = ["/status", "/nothing", "/metrics", "/status", "/metrics"];
    let all: String = paths.iter().cycle().take(500).map(|path| request("GET", path)).collect();
    let mut sender = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        sender.write_all(all.as_bytes()).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    for path in paths.iter().cycle().take(500) {
        let response = Response::read(&mut stream, false);
        let as_expected = match *path {
            "/status" => response.body.starts_with('{'),
            "/metrics" => response.body.starts_with("# HELP"),
            _ => response.status == 404,
        };
        assert!(as_expected, "{path}: {response:?}");
    }
    sending.join().unwrap();
    assert!(has_ended(stream));
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let folder = Folder::new();
    let host = host(&folder);
    let mut stream = host.http();
    stream.set_nodelay(true).unwrap();
    for byte in request("GET", "/status").into_bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(Response::read(&mut stream, false).status, 200);
}

#[test]
fn the_connection_ends_when_the_client_wants_it_or_a_body_follows() {
    let folder = Folder::new();
    let host = host(&folder);
    for text in [
        "GET /status HTTP/1.0\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /status HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let (response, stream) = ask(&host, text);
        assert_eq!((response.status, response.header("Connection")), (200, Some("close")), "{text}");
        assert!(has_ended(stream), "{text}");
    }
    let (refused, stream) = ask(&host, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    assert_eq!(refused.status, 405);
    assert!(has_ended(stream));
}

#[test]
fn what_is_no_request_is_refused_and_ends() {
    let folder = Folder::new();
    let host = host(&folder);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(70));
    for (text, status) in [
        ("GET /metrics HTTP/1.1\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\n\n", 400),
        ("{\"verb\":\"status\"}\n\n", 400),
        ("GET /metrics HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (long.as_str(), 431),
        (many.as_str(), 431),
    ] {
        let (refused, stream) = ask(&host, text);
        assert_eq!((refused.status, refused.header("Connection")), (status, Some("close")), "{text:.60}");
        assert!(has_ended(stream), "{text:.60}");
    }
    // Bytes without an end, and a head that never ends.
    let mut stream = host.http();
    let _ = stream.write_all(&[b'x'; 1 << 20]);
    assert_eq!(Response::read(&mut stream, false).status, 431);
    assert_eq!(ask(&host, &request("GET", "/status")).0.status, 200);
}

#[test]
fn newcomers_get_in_whoever_holds_on() {
    let folder = Folder::new();
    let host = host(&folder);
    let holding: Vec<_> = (0..100).map(|_| host.http()).collect();
    assert_eq!(ask(&host, &request("GET", "/status")).0.status, 200);
    drop(holding);
}

#[test]
fn an_address_that_cannot_be_had_keeps_the_host_from_starting() {
    let folder = Folder::new();
    let host = host(&folder);
    let plant = format!("[admin]\nlisten = {}\n{}", host.http.unwrap().port(), servers(&["a"]));
    std::fs::write(folder.path().join("second.toml"), plant).unwrap();
    let second = folder.run(&["run", "second.toml"]);
    assert_eq!((second.status, second.stdout.as_str()), (3, ""));
    assert!(second.stderr.contains(&host.http.unwrap().to_string()), "{}", second.stderr);
    assert!(!folder.socket("second").exists());
}
