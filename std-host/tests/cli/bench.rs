//! `wharf modbus bench`.

use crate::{bytes, nobody, patience, program, serving, status, stderr, stdout, wharf};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server says to the nth request of a connection; `None` ends it.
type Answer = fn(u32, &[u8]) -> Option<Vec<u8>>;

/// A server of requests of so many bytes that answers as `answer` says, on as many connections as come.
struct Hostile {
    address: String,
    /// The place in its connection of each request that has come.
    asked: Receiver<u32>,
}

impl Hostile {
    fn new(len: usize, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, asked) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, tell) = (stream.unwrap(), tell.clone());
                std::thread::spawn(move || {
                    let mut request = vec![0; len];
                    for nth in 0.. {
                        if stream.read_exact(&mut request).is_err() {
                            return;
                        }
                        // A test that has seen enough listens no more.
                        let _ = tell.send(nth);
                        let Some(reply) = answer(nth, &request) else { return };
                        if stream.write_all(&reply).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// Loads it until a request has come with this place in its connection, and then so many `more`, however long that
    /// takes; the status and the figures.
    fn bench(&self, rest: &[&str], place: u32, more: usize) -> (i32, Value) {
        let arguments =
            [&["modbus", "bench", &self.address, "--json", "--duration", "1h"], rest, patience(rest)].concat();
        let mut command = program();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let mut asked = std::iter::from_fn(|| self.asked.recv_timeout(PATIENCE).ok());
        let all_came = asked.any(|nth| nth == place) && asked.take(more).count() == more;
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(all_came, "{output:?}");
        figures(&output)
    }
}

/// The right reply to a read of one register.
fn right(request: &[u8]) -> Vec<u8> {
    [&request[..2], &bytes("0000 0005"), &request[6..8], &bytes("02 0007")].concat()
}

fn bench(address: &str, duration: &str, rest: &[&str]) -> (i32, Value) {
    figures(&wharf(&[&["modbus", "bench", address, "--json", "--duration", duration], rest, patience(rest)].concat()))
}

fn figures(output: &Output) -> (i32, Value) {
    assert_eq!(stdout(output).lines().count(), 1, "{output:?}");
    (status(output), serde_json::from_slice(&output.stdout).unwrap())
}

fn no_errors() -> Value {
    json!({ "timeout": 0, "protocol": 0, "connect": 0, "exception": {} })
}

#[test]
fn a_sound_server_gets_every_request_answered_right() {
    let (mut server, address) = serving(Stdio::null());
    let mix = "fc1x2000,fc2x9,fc3x125,fc4x1,fc5,fc6,fc15x1968,fc16x123,fc22,fc23x121";
    // Long enough for a machine that has much else to do.
    let (one, figures) = bench(&address, "1s", &["--connections", "3", "--depth", "5", "--mix", mix]);
    let (two, quick) = bench(&address, "200ms", &[]);
    let people = wharf(&["modbus", "bench", &address, "--duration", "50ms", "--depth", "16"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!((one, &figures["errors"]), (0, &no_errors()), "{figures}");
    assert_eq!((&figures["connections"], &figures["depth"], &figures["strays"]), (&json!(3), &json!(5), &json!(0)));
    assert_eq!(figures["mix"].as_array().unwrap().len(), 10);
    let number = |name: &str| figures[name].as_f64().unwrap();
    assert!(number("requests") > 0.0 && number("seconds") >= 1.0, "{figures}");
    assert!((number("rate") - number("requests") / number("seconds")).abs() < 1.0, "{figures}");
    assert!(number("p50_us") <= number("p90_us") && number("p99_us") <= number("p999_us"), "{figures}");
    assert!(number("p999_us") <= number("max_us"), "{figures}");
    assert_eq!((two, &quick["mix"], &quick["depth"]), (0, &json!(["fc3x10"]), &json!(1)));
    let text = stdout(&people);
    assert!(text.starts_with("load        1 connections, 16 deep, fc3x10\ntime        "), "{text}");
    for line in ["requests    ", "errors      0\n", "p50         ", "p99.9       ", "max         "] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn exceptions_are_counted_by_code_and_end_with_1() {
    let (mut server, address) = serving(Stdio::null());
    let (code, figures) = bench(&address, "1s", &["--address", "9999", "--mix", "fc3x1,fc3x2"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(code, 1, "{figures}");
    assert!(figures["errors"]["exception"]["2"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["requests"].as_u64().unwrap() > 0, "the others are answered: {figures}");
}

#[test]
fn silence_is_counted_and_ends_with_3() {
    let server = Hostile::new(12, |nth, request| Some(if nth == 3 { Vec::new() } else { right(request) }));
    let (code, figures) = server.bench(&["--mix", "fc3x1", "--timeout", "2s"], 3, 2);
    assert_eq!(code, 3, "{figures}");
    assert!(figures["errors"]["timeout"].as_u64().unwrap() >= 1, "{figures}");
    assert!(figures["requests"].as_u64().unwrap() > 3, "it goes on: {figures}");
}

#[test]
fn replies_that_are_none_are_counted_and_end_with_4() {
    let wrong: [(&str, Answer); 5] = [
        ("unit", |nth, request| {
            let mut reply = right(request);
            reply[6] ^= u8::from(nth == 3);
            Some(reply)
        }),
        ("function", |nth, request| {
            let mut reply = right(request);
            reply[7] ^= u8::from(nth == 3);
            Some(reply)
        }),
        ("count", |nth, request| {
            let mut reply = right(request);
            reply[8] ^= u8::from(nth == 3);
            Some(reply)
        }),
        ("length 0", |nth, request| {
            let mut reply = right(request);
            reply[5] *= u8::from(nth != 3);
            Some(reply)
        }),
        ("length 65535", |nth, request| {
            let mut reply = right(request);
            reply[4..6].fill(if nth == 3 { 0xFF } else { 5 });
            reply[4] = if nth == 3 { 0xFF } else { 0 };
            Some(reply)
        }),
    ];
    for (what, answer) in wrong {
        let (code, figures) = Hostile::new(12, answer).bench(&["--mix", "fc3x1"], 3, 1);
        assert_eq!(code, 4, "{what}: {figures}");
        assert!(figures["errors"]["protocol"].as_u64().unwrap() > 0, "{what}: {figures}");
        assert!(figures["requests"].as_u64().unwrap() > 0, "{what}: {figures}");
    }
}

#[test]
fn replies_given_twice_and_to_nothing_are_strays_and_no_errors() {
    let server = Hostile::new(12, |_, request| {
        let mut unasked = right(request);
        unasked[0] ^= 0x80;
        Some([unasked, right(request), right(request)].concat())
    });
    let (code, figures) = server.bench(&["--mix", "fc3x1"], 10, 0);
    assert_eq!((code, &figures["errors"]), (0, &no_errors()), "{figures}");
    assert!(figures["requests"].as_u64().unwrap() >= 10, "{figures}");
    assert!(figures["strays"].as_u64() >= figures["requests"].as_u64(), "{figures}");
}

#[test]
fn a_lost_connection_is_an_error_and_is_opened_again() {
    let server = Hostile::new(12, |nth, request| (nth < 5).then(|| right(request)));
    let (code, figures) = server.bench(&["--mix", "fc3x1"], 5, 7);
    assert_eq!(code, 3, "{figures}");
    assert!(figures["errors"]["connect"].as_u64().unwrap() >= 2, "{figures}");
    assert!(figures["requests"].as_u64().unwrap() >= 10, "{figures}");
}

#[test]
fn values_that_are_not_those_just_written_are_found_out() {
    // Function 23 of one register: 19 bytes, of which the last two are written.
    let server = Hostile::new(19, |nth, request| {
        let value = [request[17], request[18] ^ u8::from(nth == 7)];
        Some([&request[..2], &bytes("0000 0005"), &request[6..8], &[2], &value].concat())
    });
    let (code, figures) = server.bench(&["--mix", "fc23x1"], 7, 1);
    assert_eq!((code, &figures["errors"]["protocol"]), (4, &json!(1)), "{figures}");
}

#[test]
fn nobody_there_ends_with_3_and_without_figures() {
    let (_holder, address) = nobody();
    let output: Output = wharf(&["modbus", "bench", &address, "--json"]);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, ""));
    assert!(stderr(&output).contains(&format!("{address}: cannot connect to ")), "{output:?}");
}
