//! `wharf modbus bench`.

use crate::{bytes, serving, status, stderr, stdout, wharf};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};

/// What a server says to the nth request of a connection; `None` ends it.
type Answer = fn(u32, &[u8]) -> Option<Vec<u8>>;

/// A server that answers every request as `answer` says, on as many connections as come, until the test ends.
fn hostile(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 12];
                for nth in 0.. {
                    if stream.read_exact(&mut request).is_err() {
                        return;
                    }
                    let Some(reply) = answer(nth, &request) else { return };
                    if stream.write_all(&reply).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The right reply to a read of one register.
fn right(request: &[u8]) -> Vec<u8> {
    [&request[..2], &bytes("0000 0005"), &request[6..8], &bytes("02 0007")].concat()
}

fn bench(address: &str, duration: &str, rest: &[&str]) -> (i32, Value) {
    let output = wharf(&[&["modbus", "bench", address, "--json", "--duration", duration], rest].concat());
    assert_eq!(stdout(&output).lines().count(), 1, "{output:?}");
    (status(&output), serde_json::from_slice(&output.stdout).unwrap())
}

fn no_errors() -> Value {
    json!({ "timeout": 0, "protocol": 0, "connect": 0, "exception": {} })
}

#[test]
fn a_sound_server_gets_every_request_answered_right() {
    let (mut server, address) = serving(Stdio::null());
    let mix = "fc1x2000,fc2x9,fc3x125,fc4x1,fc5,fc6,fc15x1968,fc16x123,fc22,fc23x121";
    let (one, figures) = bench(&address, "200ms", &["--connections", "3", "--depth", "5", "--mix", mix]);
    let (two, quick) = bench(&address, "200ms", &[]);
    let people = wharf(&["modbus", "bench", &address, "--duration", "50ms", "--depth", "16"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!((one, &figures["errors"]), (0, &no_errors()), "{figures}");
    assert_eq!((&figures["connections"], &figures["depth"], &figures["strays"]), (&json!(3), &json!(5), &json!(0)));
    assert_eq!(figures["mix"].as_array().unwrap().len(), 10);
    let number = |name: &str| figures[name].as_f64().unwrap();
    assert!(number("requests") > 0.0 && number("seconds") >= 0.2, "{figures}");
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
    let (code, figures) = bench(&address, "200ms", &["--address", "9999", "--mix", "fc3x1,fc3x2"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(code, 1, "{figures}");
    assert!(figures["errors"]["exception"]["2"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["requests"].as_u64().unwrap() > 0, "the others are answered: {figures}");
}

#[test]
fn silence_is_counted_and_ends_with_3() {
    let address = hostile(|nth, request| Some(if nth == 3 { Vec::new() } else { right(request) }));
    let (code, figures) = bench(&address, "1s", &["--mix", "fc3x1", "--timeout", "300ms"]);
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
        let address = hostile(answer);
        let (code, figures) = bench(&address, "200ms", &["--mix", "fc3x1"]);
        assert_eq!(code, 4, "{what}: {figures}");
        assert!(figures["errors"]["protocol"].as_u64().unwrap() > 0, "{what}: {figures}");
        assert!(figures["requests"].as_u64().unwrap() > 0, "{what}: {figures}");
    }
}

#[test]
fn replies_given_twice_and_to_nothing_are_strays_and_no_errors() {
    let address = hostile(|_, request| {
        let mut unasked = right(request);
        unasked[0] ^= 0x80;
        Some([unasked, right(request), right(request)].concat())
    });
    let (code, figures) = bench(&address, "200ms", &["--mix", "fc3x1"]);
    assert_eq!((code, &figures["errors"]), (0, &no_errors()), "{figures}");
    assert!(figures["strays"].as_u64() >= figures["requests"].as_u64(), "{figures}");
}

#[test]
fn a_lost_connection_is_an_error_and_is_opened_again() {
    let address = hostile(|nth, request| (nth < 5).then(|| right(request)));
    let (code, figures) = bench(&address, "1s", &["--mix", "fc3x1"]);
    assert_eq!(code, 3, "{figures}");
    assert!(figures["errors"]["connect"].as_u64().unwrap() >= 2, "{figures}");
    assert!(figures["requests"].as_u64().unwrap() >= 10, "{figures}");
}

#[test]
fn values_that_are_not_those_just_written_are_found_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        // Function 23 of one register: 19 bytes, of which the last two are written.
        let mut request = [0; 19];
        for nth in 0.. {
            if stream.read_exact(&mut request).is_err() {
                return;
            }
            let value = [request[17], request[18] ^ u8::from(nth == 7)];
            let reply = [&request[..2], &bytes("0000 0005"), &request[6..8], &[2], &value].concat();
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
    });
    let (code, figures) = bench(&address, "200ms", &["--mix", "fc23x1"]);
    assert_eq!((code, &figures["errors"]["protocol"]), (4, &json!(1)), "{figures}");
}

#[test]
fn nobody_there_ends_with_3_and_without_figures() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let output: Output = wharf(&["modbus", "bench", &address, "--json"]);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, ""));
    assert!(stderr(&output).contains(&format!("{address}: cannot connect to ")), "{output:?}");
}
