//! Whether a connection begins at all (8.3).

use crate::harness::{Client, End, Faulty, fault, read, serve, serve_with};
use crate::harness::{PATIENCE, frame, holding};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use wharf_core::modbus::server::Reason;
use wharf_host::services::modbus::Event;
use wharf_tests::loopback;

#[test]
fn a_connection_is_accepted_and_ended() {
    for (keys, how) in [("", End::Reset), ("how = 'fin'", End::Fin)] {
        let server = serve(&format!("{{ name = 'f', kind = 'accept_close', max = 1, {keys} }}"));
        assert_eq!(Client::ended(server.address(), &[]), (how, vec![]));
        assert_eq!(server.ended(), Reason::Fault);
        server.connect().is_served();
        assert_eq!(server.counts("f"), [2, 2, 1, 0]);
    }
}

#[test]
fn a_connection_is_ended_some_time_after_it_was_accepted() {
    let server = serve("{ name = 'f', kind = 'accept_close', delay = '60ms' }");
    let begun = Instant::now();
    let mut client = server.connect();
    client.send(&frame(1, 1, &read(3, 1)));
    assert_eq!(client.end(), (End::Reset, vec![]));
    assert!(begun.elapsed() >= Duration::from_millis(60));
}

#[test]
fn only_peers_that_are_aimed_at_are_turned_away() {
    let server = serve("{ name = 'f', kind = 'accept_close', peers = ['10.0.0.0/8', '::1'] }");
    server.connect().is_served();
    assert_eq!(server.counts("f"), [1, 0, 0, 0]);
}

#[test]
fn nobody_is_accepted_until_the_window_closes() {
    let server = serve("{ name = 'f', kind = 'stall_accept', until = '200ms' }");
    let mut client = server.connect();
    client.is_served();
    assert!(server.before.elapsed() >= Duration::from_millis(200));
    assert_eq!(server.counts("f"), [1, 1, 1, 0]);
    server.connect().is_served();
}

#[test]
fn accepting_stops_and_goes_on_at_run_time_and_connections_stay() {
    let server = serve("{ name = 'f', kind = 'stall_accept', enabled = false }");
    let mut early = server.connect();
    early.is_served();
    assert!(server.fault("f", true, None).unwrap());
    let mut late = server.connect();
    late.send(&frame(1, 1, &read(3, 1)));
    early.is_served();
    assert_eq!(server.connections().unwrap().len(), 1);
    assert!(server.fault("f", false, None).unwrap());
    late.sees(&frame(1, 1, &holding(3, 1)));
    early.is_served();
}

/// A server whose port nobody else is given while it does not listen.
fn serve_apart(fault: &str) -> Faulty {
    serve_with(&format!("listen = ['{}:0']", loopback::own()), fault)
}

fn refuses(server: &Faulty) -> bool {
    match TcpStream::connect_timeout(&server.address(), PATIENCE) {
        Ok(mut stream) => {
            // A connection that was complete before the listener closed is reset.
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            true
        }
    }
}

#[test]
fn nobody_listens_while_connections_are_refused_and_then_the_same_port_does_again() {
    let listen = format!("listen = ['{}:0', '{}:0']", loopback::own(), loopback::own());
    let server = serve_with(&listen, "{ name = 'f', kind = 'refuse', enabled = false }");
    let mut early = server.connect();
    early.is_served();
    assert!(server.fault("f", true, None).unwrap());
    assert!(refuses(&server));
    early.is_served();
    let told = server.until(|event| match event {
        Event::Fault { id, fault, request } => Some((*id, fault.to_string(), *request)),
        _ => None,
    });
    assert_eq!(told, (None, "f".to_owned(), None));
    assert!(server.fault("f", false, None).unwrap());
    for address in server.local_addrs() {
        Client::connect(*address).is_served();
    }
    early.is_served();
    // With nobody connected the server waits for the end of the fault all the same.
    assert!(server.fault("f", true, None).unwrap());
    drop(early);
    server.fault("f", false, None).unwrap();
    server.connect().is_served();
}

#[test]
fn listeners_come_back_by_themselves_when_a_window_closes() {
    let server = serve_apart("{ name = 'f', kind = 'refuse', until = '150ms' }");
    let mut client = loop {
        match TcpStream::connect(server.address()) {
            Ok(_) => break server.connect(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
    };
    client.is_served();
    assert!(server.before.elapsed() >= Duration::from_millis(150));
}

#[test]
fn connections_are_refused_for_a_while_from_now_on() {
    let server = serve_apart("{ name = 'f', kind = 'refuse', enabled = false }");
    let begun = Instant::now();
    assert!(server.fault("f", true, Some(Duration::from_millis(100))).unwrap());
    let mut client = loop {
        match TcpStream::connect(server.address()) {
            Ok(_) => break server.connect(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
    };
    client.is_served();
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[test]
fn a_port_that_somebody_takes_meanwhile_is_asked_for_again() {
    let server = serve_apart("{ name = 'f', kind = 'refuse', enabled = false }");
    server.fault("f", true, None).unwrap();
    let other = std::net::TcpListener::bind(server.address()).unwrap();
    server.fault("f", false, None).unwrap();
    let told = server.until(|event| match event {
        Event::Error { message, .. } => Some(message.clone()),
        _ => None,
    });
    assert!(told.starts_with(&format!("listen on {}: ", server.address())), "{told}");
    drop(other);
    let mut client = loop {
        match TcpStream::connect(server.address()) {
            Ok(_) => break server.connect(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
    };
    client.is_served();
}

#[test]
fn a_cycle_opens_and_closes_the_listeners_over_and_over() {
    let server = serve_apart("{ name = 'f', kind = 'refuse', cycle = { on = '30ms', off = '30ms' } }");
    // It has closed at least three times when it has begun to act that often.
    while server.counts("f")[2] < 3 {
        std::thread::yield_now();
    }
    assert!(server.before.elapsed() >= Duration::from_millis(120));
    assert!(server.remove_fault("f").unwrap());
    server.connect().is_served();
}

#[test]
fn a_server_that_refuses_or_stalls_shuts_down_at_once() {
    for kind in ["refuse", "stall_accept"] {
        serve(&format!("{{ name = 'f', kind = '{kind}' }}")).stop();
    }
    // One that has a connection, too.
    let server =
        serve(&format!("{{ name = 'g', kind = 'refuse', from = '10ms' }}, {}", fault("delay", "delay = '1h'")));
    while server.counts("g")[2] == 0 {
        std::thread::yield_now();
    }
    server.stop();
}
