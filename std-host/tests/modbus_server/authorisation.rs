//! The authorisation hook of a server in a program (specification, 3.1 check 5).

use crate::harness::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::Outcome;
use wharf_host::config::modbus::{Server as Described, Unit, UnitZero};
use wharf_host::services::modbus::{AccessRequest, Area, Event, Handle, Server, TableKind, Threaded};

fn described() -> Described {
    Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 10), Unit::with_size(2, 10)],
        ..Described::new("guarded")
    }
}

fn connect(server: &Threaded) -> Client {
    Client::connect(server.local_addrs()[0])
}

fn writes(request: &AccessRequest<'_>) -> bool {
    request.accesses().any(|access| access.writes)
}

#[test]
fn what_a_hook_refuses_is_01_writes_nothing_and_is_counted_and_told_as_that() {
    let server = Server::spawn(described()).unwrap();
    let events = server.subscribe(64);
    server
        .set_authorisation(|request| {
            request.function() != 8
                && request.accesses().all(|access| {
                    !access.writes || access.area != Area::Table(TableKind::Holding) || access.span.end() <= 5
                })
        })
        .unwrap();
    let mut client = connect(&server);
    assert_eq!(client.ask(1, &[6, 0, 4, 0, 7]), [6, 0, 4, 0, 7]);
    assert_eq!(client.ask(1, &[16, 0, 4, 0, 2, 4, 0, 8, 0, 9]), [0x90, 1]);
    assert_eq!(client.ask(1, &[23, 0, 0, 0, 1, 0, 5, 0, 1, 2, 0, 9]), [0x97, 1]);
    assert_eq!(client.ask(1, &[8, 0, 0, 1, 2]), [0x88, 1]);
    assert_eq!(client.ask(1, &[6, 0]), [0x86, 3], "what names no span writes nothing");
    assert_eq!(client.ask(1, &[3, 0, 4, 0, 2]), [3, 4, 0, 7, 0, 0]);
    let metrics = server.metrics().unwrap();
    assert_eq!([1, 3].map(|code| metrics.exceptions(code)), [3, 1]);
    drop(client);
    let mut refused = Vec::new();
    while let Some(event) = events.next_within(crate::harness::PATIENCE) {
        if let Event::Processed { request, .. } = &event
            && request.outcome == Outcome::Exception(Exception::ILLEGAL_FUNCTION)
        {
            refused.push(request.function);
        }
        if matches!(event, Event::Disconnected { .. }) {
            break;
        }
    }
    assert_eq!(refused, [16, 23, 8]);
}

#[test]
fn a_hook_is_set_changed_and_taken_away_by_any_thread_while_clients_are_connected() {
    let server = Server::spawn(described()).unwrap();
    let mut client = connect(&server);
    let mut outcomes = || [client.ask(1, &[3, 0, 0, 0, 1])[0], client.ask(1, &[6, 0, 0, 0, 0])[0]];
    let elsewhere = |f: fn(&Handle)| {
        let handle = Handle::clone(&server);
        thread::spawn(move || f(&handle)).join().unwrap();
    };
    assert_eq!(outcomes(), [3, 6], "without one everybody may do everything");
    elsewhere(|handle| handle.set_authorisation(|request| !writes(request)).unwrap());
    assert_eq!(outcomes(), [3, 0x86]);
    elsewhere(|handle| handle.set_authorisation(writes).unwrap());
    assert_eq!(outcomes(), [0x83, 6]);
    elsewhere(|handle| handle.clear_authorisation().unwrap());
    assert_eq!(outcomes(), [3, 6]);
}

#[test]
fn a_hook_that_is_set_before_anybody_is_let_in_is_asked_about_the_first_request() {
    let asked = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&asked);
    let server = Server::spawn_with(described(), move |server| {
        server.set_authorisation(move |request| {
            assert_eq!((request.role, request.unit, request.asked), (None, Some(1), 255));
            assert_eq!((request.connection, request.broadcast), (1, false));
            counting.fetch_add(1, Ordering::Relaxed);
            false
        });
    })
    .unwrap();
    assert_eq!(connect(&server).ask(255, &[3, 0, 0, 0, 1]), [0x83, 1]);
    server.stop().unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn each_unit_asks_about_a_broadcast_for_itself() {
    let server = Server::spawn(Described { unit_0: UnitZero::Broadcast, ..described() }).unwrap();
    server.set_authorisation(|request| !(request.broadcast && request.unit == Some(1))).unwrap();
    let mut client = connect(&server);
    client.send(&crate::harness::frame(1, 0, &[6, 0, 3, 0, 9]));
    assert_eq!(client.ask(1, &[3, 0, 3, 0, 1]), [3, 2, 0, 0]);
    assert_eq!(client.ask(2, &[3, 0, 3, 0, 1]), [3, 2, 0, 9]);
    assert_eq!(client.ask(1, &[8, 0, 13, 0, 0]), [8, 0, 13, 0, 1], "the refusal is an exception of unit 1");
    assert_eq!(client.ask(2, &[8, 0, 13, 0, 0]), [8, 0, 13, 0, 0]);
}
