//! SIGINT and SIGTERM during `wharf modbus bench` and `scan`.

use crate::{bytes, program, status, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{self, Receiver};

/// A server on as many connections as come: `answer` says what to send for a request of 12 bytes, by its place in its
/// connection. Every request is told as soon as it is there.
fn server(answer: fn(u32, &[u8; 12]) -> Vec<u8>) -> (String, Receiver<(u32, [u8; 12])>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let mut request = [0; 12];
                for nth in 0.. {
                    // A test that has seen enough listens no more.
                    if stream.read_exact(&mut request).is_err() || stream.write_all(&answer(nth, &request)).is_err() {
                        return;
                    }
                    let _ = tell.send((nth, request));
                }
            });
        }
    });
    (address, told)
}

/// The right reply to a read of one register.
fn right(request: &[u8; 12]) -> Vec<u8> {
    [&request[..2], &bytes("0000 0005"), &request[6..8], &bytes("02 0007")].concat()
}

fn start(verb: &str, address: &str, rest: &[&str]) -> Child {
    let arguments = [&["modbus", verb, address], rest].concat();
    program().args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn end(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

const BENCH: [&str; 4] = ["--mix", "fc3x1", "--duration", "1h"];

#[test]
fn a_signal_ends_a_bench_with_what_was_measured() {
    for (signal, form) in [(Signal::INT, &["--json"][..]), (Signal::TERM, &[])] {
        let (address, told) = server(|_, request| right(request));
        let child = start("bench", &address, &[&BENCH, form].concat());
        // The fourth request follows the third reply.
        assert!(told.iter().any(|(nth, _)| nth == 3));
        send(&child, signal);
        let output = end(child);
        assert_eq!((status(&output), stderr(&output).as_str()), (0, ""), "{output:?}");
        if form.is_empty() {
            let text = stdout(&output);
            let time = text.lines().find(|line| line.starts_with("time  ")).unwrap();
            assert!(time.ends_with(" s, interrupted") && text.contains("\nerrors      0\n"), "{text}");
            continue;
        }
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&figures["interrupted"], &figures["errors"]["connect"]), (&json!(true), &json!(0)), "{figures}");
        assert!(figures["requests"].as_u64().unwrap() >= 3 && figures["seconds"].as_f64().unwrap() > 0.0, "{figures}");
    }
}

#[test]
fn a_bench_that_is_interrupted_says_what_went_wrong_by_its_status() {
    let (address, told) = server(|nth, request| match nth {
        1 => [&request[..2], &bytes("0000 0003 01 83 02")].concat(),
        _ => right(request),
    });
    let child = start("bench", &address, &BENCH);
    assert!(told.iter().any(|(nth, _)| nth == 3));
    send(&child, Signal::INT);
    assert_eq!(status(&end(child)), 1);
}

#[test]
fn a_second_signal_does_not_wait_for_what_is_outstanding() {
    let (address, told) = server(|nth, request| if nth < 3 { right(request) } else { Vec::new() });
    let child = start("bench", &address, &[&BENCH[..], &["--timeout", "1h", "--json"]].concat());
    assert!(told.iter().any(|(nth, _)| nth == 3));
    // Of different kinds: they come as two, even at the same time.
    send(&child, Signal::INT);
    send(&child, Signal::TERM);
    let output = end(child);
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((status(&output), &figures["requests"]), (0, &json!(3)), "{output:?}");
    assert_eq!(figures["errors"]["connect"], 0, "what was outstanding does not count");
}

/// Units other than 2 are silent; 2 is behind a gateway that does not reach it.
fn gateway() -> (String, Receiver<(u32, [u8; 12])>) {
    server(|_, request| match request[6] {
        2 => [&request[..2], &bytes("0000 0003 02 83 0B")].concat(),
        _ => Vec::new(),
    })
}

/// Scans units 1 to 4 of it over two connections until 1 and 3 have been asked and 2 has answered.
fn interrupted_scan(signal: Signal, form: &[&str]) -> Output {
    let (address, told) = gateway();
    let arguments = ["--units", "1-4", "--parallel", "2", "--timeout", "1h"];
    let child = start("scan", &address, &[&arguments, form].concat());
    let mut asked: Vec<_> = told.iter().map(|(_, request)| request[6]).take(3).collect();
    asked.sort_unstable();
    assert_eq!(asked, [1, 2, 3]);
    send(&child, signal);
    end(child)
}

#[test]
fn a_signal_ends_a_scan_with_what_was_found() {
    let output = interrupted_scan(Signal::INT, &[]);
    let lines = "\n   2  exception 0b (gateway target device failed to respond)\ninterrupted: 1,3-4\n";
    assert!(stdout(&output).ends_with(lines), "{output:?}");
    assert_eq!((status(&output), stderr(&output).as_str()), (0, ""), "{output:?}");

    let output = interrupted_scan(Signal::TERM, &["--json"]);
    let answers: Vec<_> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: Value| (line["unit"].as_u64().unwrap(), line["answer"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [(1, "interrupted"), (2, "exception"), (3, "interrupted"), (4, "interrupted")];
    assert_eq!(answers, expected.map(|(unit, answer)| (unit, answer.to_owned())));
    assert_eq!(status(&output), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_while_connecting_ends_at_once_with_3() {
    // A backlog that is full, so that nobody else is answered.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _filler = std::net::TcpStream::connect(address).unwrap();

    let interrupted = |verb, form: &[&str]| {
        let child = start(verb, &address.to_string(), &[&["--timeout", "0"], form].concat());
        // Until the child has a socket that has sent its SYN (state 02 of the table).
        let peer = format!("0100007F:{:04X} 02 ", address.port());
        while !std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&peer) {
            std::thread::yield_now();
        }
        send(&child, Signal::INT);
        end(child)
    };
    let output = interrupted("bench", &["--json"]);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, ""), "{output:?}");
    assert!(stderr(&output).ends_with(": interrupted before all connections were open\n"), "{output:?}");
    let output = interrupted("scan", &["--units", "5", "--json"]);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, "{\"unit\":5,\"answer\":\"interrupted\"}\n"));
    let output = interrupted("scan", &[]);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, "interrupted: 0-255\n"), "{output:?}");
}
