//! What becomes of the connection (8.3).

use crate::harness::{Client, End, fault, frame, holding, read, serve, serve_with};
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};
use wharf_core::modbus::server::{Reason, State};
use wharf_host::services::modbus::Response;

/// Two seconds: long enough for what a test does meanwhile, also on a machine that has much else to do.
const WHILE: &str = "2s";

fn reply() -> Vec<u8> {
    frame(1, 1, &holding(3, 2))
}

fn asked(client: &mut Client) {
    client.send(&frame(1, 1, &read(3, 2)));
}

#[test]
fn a_connection_ends_after_the_reply_or_before_it_by_fin_or_reset() {
    let cases = [
        ("", End::Fin, reply()),
        ("how = 'rst'", End::Reset, reply()),
        ("when = 'before'", End::Fin, vec![]),
        ("when = 'before', how = 'rst'", End::Reset, vec![]),
    ];
    for (keys, how, bytes) in cases {
        let server = serve(&fault("close", keys));
        let mut client = server.connect();
        asked(&mut client);
        assert_eq!(client.end(), (how, bytes), "{keys}");
        drop(client);
        assert_eq!(server.ended(), Reason::Fault);
        // Only the one connection.
        server.connect().is_served();
    }
}

#[test]
fn a_connection_ends_some_time_after_the_reply() {
    let server = serve(&fault("close", "delay = '60ms'"));
    let mut client = server.connect();
    let begun = Instant::now();
    asked(&mut client);
    assert_eq!(client.end(), (End::Fin, reply()));
    assert!(begun.elapsed() >= Duration::from_millis(60));
}

#[test]
fn each_connection_ends_after_so_many_requests() {
    let server = serve(&fault("close", "skip = 2, scope = 'connection'"));
    for _ in 0..2 {
        let mut client = server.connect();
        for _ in 0..2 {
            client.asks(&read(3, 2), &reply());
        }
        asked(&mut client);
        assert_eq!(client.end(), (End::Fin, reply()));
    }
}

#[test]
fn connections_end_every_so_often_across_reconnects() {
    let server = serve(&fault("close", "every = 3"));
    let mut first = server.connect();
    first.asks(&read(3, 2), &reply());
    let mut second = server.connect();
    second.asks(&read(3, 2), &reply());
    asked(&mut first);
    assert_eq!(first.end(), (End::Fin, reply()));
    second.asks(&read(3, 2), &reply());
    second.asks(&read(3, 2), &reply());
    asked(&mut second);
    assert_eq!(second.end(), (End::Fin, reply()));
}

#[test]
fn a_cut_frame_is_the_beginning_of_the_reply_and_then_the_end() {
    for (keys, how, len) in
        [("", End::Fin, 4), ("bytes = 9, how = 'rst'", End::Reset, 9), ("bytes = 700", End::Fin, 12)]
    {
        let server = serve(&fault("cut_frame", keys));
        let mut client = server.connect();
        let begun = Instant::now();
        asked(&mut client);
        client.sees(&reply()[..len]);
        assert_eq!(client.end(), (how, vec![]), "{keys}");
        assert!(begun.elapsed() >= Duration::from_millis(50));
        drop(client);
        assert_eq!(server.ended(), Reason::Fault);
    }
}

#[test]
fn a_half_closed_connection_reads_on_and_answers_nothing() {
    let server = serve(&fault("half_close", &format!("for = '{WHILE}'")));
    let mut client = server.connect();
    let begun = Instant::now();
    asked(&mut client);
    assert_eq!(client.end(), (End::Fin, reply()));
    // The other direction is open: this is read and thrown away.
    client.send(&frame(2, 1, &read(3, 2)));
    assert_eq!(server.ended(), Reason::Fault);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(server.counts("f")[1], 1, "a request on a half-closed connection is none");
    assert_eq!(server.metrics().unwrap().bytes_in, 24);
}

/// Sends requests until the server takes no more.
fn fill(client: &mut Client) {
    client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let requests = frame(1, 2, &read(9, 1)).repeat(1000);
    let mut sent = 0;
    loop {
        match client.stream.write(&requests[sent % requests.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_server_that_stops_reading_lets_the_window_fill() {
    let server = serve_with("receive_buffer = '8k'", &fault("stop_reading", "for = '0', max = 1"));
    let mut client = server.connect();
    client.asks(&read(3, 2), &reply());
    fill(&mut client);
    assert_eq!(server.metrics().unwrap().requests(3), 1);
    assert_eq!(server.connections().unwrap()[0].state, State::Paused);
    server.connect().is_served();
    server.stop();
}

#[test]
fn reading_goes_on_after_a_while_or_the_connection_ends() {
    let server = serve(&fault("stop_reading", "for = '80ms'"));
    let mut client = server.connect();
    let begun = Instant::now();
    client.asks(&read(3, 2), &reply());
    client.is_served();
    assert!(begun.elapsed() >= Duration::from_millis(80));
    for (then, how) in [("close", End::Fin), ("reset", End::Reset)] {
        let server = serve(&fault("stop_reading", &format!("for = '80ms', then = '{then}'")));
        let mut client = server.connect();
        let begun = Instant::now();
        asked(&mut client);
        assert_eq!(client.end(), (how, reply()));
        assert!(begun.elapsed() >= Duration::from_millis(80));
        drop(client);
        assert_eq!(server.ended(), Reason::Fault);
    }
}

#[test]
fn a_held_connection_stays_open_and_answers_nothing() {
    let server = serve(&fault("hold_open", &format!("for = '{WHILE}', max = 1")));
    let mut client = server.connect();
    let begun = Instant::now();
    client.asks(&read(3, 2), &reply());
    asked(&mut client);
    assert_eq!(client.end(), (End::Fin, vec![]));
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(server.metrics().unwrap().discards(wharf_core::modbus::service::Discard::Held), 1);
    drop(client);
    assert_eq!(server.ended(), Reason::Fault);
    let server = serve(&fault("hold_open", &format!("for = '{WHILE}', max = 1, then = 'resume'")));
    let mut client = server.connect();
    client.asks(&read(3, 2), &reply());
    let report = &server.connections().unwrap()[0];
    assert_eq!((report.state, report.statistics.faults), (State::Held, 1));
    while server.connections().unwrap()[0].state == State::Held {
        std::thread::yield_now();
    }
    client.is_served();
    let server = serve(&fault("hold_open", "for = '50ms', then = 'reset'"));
    let mut client = server.connect();
    asked(&mut client);
    assert_eq!(client.end(), (End::Reset, reply()));
}

#[test]
fn a_reply_that_an_ending_leaves_behind_counts_as_none() {
    for how in ["fin", "rst"] {
        let server = serve(&fault("close", &format!("how = '{how}', addresses = [3, 3]")));
        let mut client = server.connect();
        client.send(&[frame(1, 1, &read(3, 2)), frame(2, 1, &read(9, 1))].concat());
        let (_, bytes) = client.end();
        assert_eq!(bytes, reply());
        drop(client);
        assert_eq!(server.ended(), Reason::Fault);
        let metrics = server.metrics().unwrap();
        assert_eq!((metrics.responses(Response::Ok), metrics.responses(Response::None)), (1, 1), "{how}");
    }
}
