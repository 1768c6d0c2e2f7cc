//! A server and its handle in one process (specification, 7.2, 7.3 and 5).

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for some events among all")]

use crate::harness::{Client, End, PATIENCE};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use wharf_core::modbus::server::{Reason, State};
use wharf_host::config::modbus::{Server as Described, Unit as DescribedUnit};
use wharf_host::event_loop::{Error, Loop, LoopOptions};
use wharf_host::services::modbus::{Event, Handle, Server, Subscriber, Threaded, Unit, unit};

fn described() -> Described {
    Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![DescribedUnit::with_size(1, 10)],
        ..Described::new("inside")
    }
}

fn spawn() -> Threaded {
    Server::spawn(described()).unwrap()
}

fn connect(server: &Handle) -> Client {
    Client::connect(server.local_addrs()[0])
}

/// The next event for which `f` has something.
fn until<R>(events: &Subscriber, f: impl Fn(&Event) -> Option<R>) -> R {
    loop {
        let event = events.next_within(PATIENCE).expect("the event comes");
        if let Some(found) = f(&event) {
            return found;
        }
    }
}

/// A unit whose holding registers all hold `value`.
fn filled(id: u8, value: u16) -> Unit {
    let mut unit = unit(&DescribedUnit::with_size(id, 10), 0).unwrap();
    for address in 0..10 {
        assert!(unit.device.holding.set_register(address, value));
    }
    unit
}

#[test]
fn a_server_of_a_library_starts_serves_and_stops_in_order() {
    let listen = vec![(wharf_tests::loopback::own(), 0).into()];
    let server = Server::spawn(Described { listen, ..described() }).unwrap();
    let events = server.subscribe(1024);
    let mut client = connect(&server);
    client.is_served();
    assert!(!server.is_shutdown() && !server.is_stopped());
    let address = server.local_addrs()[0];
    server.stop().unwrap();
    assert_eq!(client.end(), (End::Fin, vec![]));
    assert!(matches!(
        until(&events, |event| matches!(event, Event::Stopped { .. }).then(|| event.clone())),
        Event::Stopped { graceful: true, cut: 0 }
    ));
    assert!(events.try_next().is_none(), "nothing comes after Stopped");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_server_that_is_dropped_cuts_its_connections() {
    let server = Server::spawn(Described { shutdown_timeout: None, ..described() }).unwrap();
    let mut client = connect(&server);
    client.is_served();
    let handle = Handle::clone(&server);
    drop(server);
    client.end();
    assert!(handle.is_stopped() && handle.is_shutdown());
    assert!(matches!(handle.connections(), Err(Error::Ended)));
    handle.shutdown();
}

#[test]
fn an_address_in_use_is_named_where_the_server_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::spawn(Described { listen: vec![address], ..described() }).unwrap_err();
    assert!(error.to_string().starts_with(&format!("listen on {address}: ")), "{error}");
}

#[test]
fn live_connections_see_units_come_change_and_go_with_their_next_request() {
    let server = spawn();
    let events = server.subscribe(1024);
    let mut client = connect(&server);
    let read = [3, 0, 0, 0, 1];
    assert_eq!(client.ask(2, &read), [0x83, 0x0B]);
    assert!(server.add_unit(filled(2, 22)).unwrap().is_none());
    assert_eq!(client.ask(2, &read), [3, 2, 0, 22]);
    let replaced = server.add_unit(filled(2, 33)).unwrap().expect("unit 2 was there");
    assert_eq!((replaced.id, replaced.device.holding.register(9)), (2, Some(22)));
    assert_eq!(client.ask(2, &read), [3, 2, 0, 33]);
    let wrote = server.with_unit(2, |unit| unit.device.holding.set_register(0, 44)).unwrap();
    assert_eq!(wrote, Some(true));
    assert_eq!(client.ask(2, &read), [3, 2, 0, 44]);
    server.with_unit(2, |unit| unit.enabled = false).unwrap().unwrap();
    assert_eq!(client.ask(2, &read), [0x83, 0x0B]);
    server.with_unit(2, |unit| unit.enabled = true).unwrap().unwrap();
    assert_eq!(client.ask(2, &read), [3, 2, 0, 44], "a unit that is not enabled keeps its data");
    let removed = server.remove_unit(2).unwrap().expect("unit 2 is there");
    assert_eq!(removed.device.holding.register(0), Some(44));
    assert_eq!(client.ask(2, &read), [0x83, 0x0B]);
    assert!(server.remove_unit(2).unwrap().is_none());
    assert!(server.with_unit(2, |_| ()).unwrap().is_none());
    // A unit that was taken out can come back, here in the place of the first.
    assert!(server.call(|server| server.add_unit(filled(0, 1))).unwrap().is_none());
    assert_eq!(server.call(|server| server.units()).unwrap(), [0, 1]);
    let told: Vec<_> = std::iter::from_fn(|| events.try_next())
        .filter_map(|event| match event {
            Event::UnitAdded { unit, replaced } => Some((unit, Some(replaced))),
            Event::UnitRemoved { unit } => Some((unit, None)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(2, Some(false)), (2, Some(true)), (2, None), (0, Some(false))]);
}

#[test]
fn a_unit_keeps_its_id_whatever_is_done_to_it() {
    let server = spawn();
    server.add_unit(filled(2, 2)).unwrap();
    server.with_unit(1, |unit| *unit = filled(9, 9)).unwrap().unwrap();
    let mut client = connect(&server);
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]), [3, 2, 0, 9]);
    assert_eq!(client.ask(2, &[3, 0, 0, 0, 1]), [3, 2, 0, 2]);
    assert_eq!(client.ask(9, &[3, 0, 0, 0, 1]), [0x83, 0x0B]);
}

#[test]
fn connections_are_listed_with_what_they_did() {
    let server = spawn();
    let (mut first, mut second) = (connect(&server), connect(&server));
    first.is_served();
    second.is_served();
    assert_eq!(first.ask(1, &[3, 0, 200, 0, 1]), [0x83, 2]);
    assert_eq!(first.ask(7, &[3, 0, 0, 0, 1]), [0x83, 0x0B]);
    let list = server.connections().unwrap();
    let [one, two] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((one.id, two.id), (1, 2));
    assert_eq!(one.peer, first.stream.local_addr().unwrap());
    assert_eq!(one.local, Some(server.local_addrs()[0]));
    assert_eq!((one.state, one.outstanding), (State::Open, 0));
    let did = one.statistics;
    assert_eq!((did.requests, did.ok, did.exceptions, did.unanswered, did.discards), (3, 1, 2, 0, 0));
    assert_eq!((did.bytes_in, did.bytes_out), (3 * 12, 11 + 9 + 9));
    assert_eq!(did.units.iter().collect::<Vec<_>>(), [1, 7]);
    let last = did.last_request_at.expect("there were requests");
    assert!(did.connected_at <= last && last <= std::time::SystemTime::now());
    assert_eq!(two.statistics.requests, 1);
}

#[test]
fn a_connection_is_closed_by_its_id_and_no_other() {
    let server = spawn();
    let events = server.subscribe(1024);
    let (mut first, mut second) = (connect(&server), connect(&server));
    first.is_served();
    second.is_served();
    assert!(server.close(1).unwrap());
    assert_eq!(first.end().0, End::Reset);
    let ended = until(&events, |event| match event {
        Event::Disconnected { id, reason, .. } => Some((*id, *reason)),
        _ => None,
    });
    assert_eq!(ended, (1, Reason::Kicked));
    assert!(!server.close(1).unwrap() && !server.close(3).unwrap());
    second.is_served();
}

#[test]
fn connected_is_the_first_and_disconnected_the_last_event_of_a_connection_once_each() {
    let server = spawn();
    let events = server.subscribe(1024);
    let mut client = connect(&server);
    client.is_served();
    // A frame of another protocol, and a length that cannot be.
    client.send(&[0, 1, 0, 1, 0, 2, 1, 3, 0, 1, 0, 0, 0, 0]);
    assert_eq!(client.end().0, End::Fin);
    drop(client);
    server.stop().unwrap();
    let told: Vec<_> = std::iter::from_fn(|| events.try_next())
        .map(|event| match event {
            Event::Connected { .. } => "connected",
            Event::Processed { .. } => "processed",
            Event::Discarded { .. } => "discarded",
            Event::Disconnected { reason: Reason::BadFrame, .. } => "bad frame",
            Event::Stopped { .. } => "stopped",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["connected", "processed", "discarded", "discarded", "bad frame", "stopped"]);
}

#[test]
fn a_subscriber_that_does_not_listen_misses_the_oldest_events_and_nobody_waits() {
    let server = spawn();
    let (slow, quick) = (server.subscribe(4), server.subscribe(1024));
    let mut client = connect(&server);
    for _ in 0..10 {
        client.is_served();
    }
    // The event of the last request is told after its reply has been made.
    let mut processed = 0;
    while processed < 10 {
        processed += until(&quick, |event| Some(u32::from(matches!(event, Event::Processed { .. }))));
    }
    assert_eq!((slow.missed(), quick.missed(), server.events_missed()), (7, 0, 7));
    let kept: Vec<_> = std::iter::from_fn(|| slow.try_next()).collect();
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|event| matches!(event, Event::Processed { .. })), "the newest are kept: {kept:?}");
    drop(slow);
    client.is_served();
    until(&quick, |event| matches!(event, Event::Processed { .. }).then_some(()));
    assert_eq!(server.events_missed(), 7, "nobody is left who could miss any");
}

#[test]
fn a_subscriber_on_a_loop_is_woken_once_for_all_that_has_come() {
    let server = spawn();
    let (sender, woken) = channel();
    let events = server.subscribe_waking(1024, move || sender.send(()).unwrap());
    let mut client = connect(&server);
    woken.recv_timeout(PATIENCE).unwrap();
    client.is_served();
    client.is_served();
    assert!(woken.try_recv().is_err(), "the queue has not been empty since");
    while events.try_next().is_some() {}
    client.is_served();
    woken.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_call_on_the_loops_own_thread_is_refused_and_a_deferred_one_runs() {
    let mut lp = Loop::new().unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &described(), |_| ()).unwrap();
    let handle = server.handle();
    // Before the loop runs, its thread is known all the same.
    assert!(matches!(handle.connections(), Err(Error::OnLoopThread)));
    let (sender, receiver) = channel();
    let inner = handle.clone();
    handle
        .defer(move |server| {
            let refused = inner.with_unit(1, |_| ()).unwrap_err();
            assert!(matches!(refused, Error::OnLoopThread));
            inner.defer(move |server| sender.send(server.units()).unwrap()).unwrap();
            assert_eq!(server.name(), "inside");
        })
        .unwrap();
    assert!(lp.run_until(|_| !receiver.try_iter().collect::<Vec<_>>().is_empty()).unwrap());
    let units = server.with(&mut lp.loop_mut(), |server| server.units());
    assert_eq!(units, [1]);
}

#[test]
fn a_shutdown_before_run_admits_nobody_tells_so_and_returns() {
    let mut lp = Loop::with_options((), LoopOptions { deferred_limit: 1, ..LoopOptions::default() }).unwrap();
    let (sender, told) = channel();
    let server = Server::bind(&mut lp.loop_mut(), &described(), move |event| sender.send(event.clone()).unwrap());
    let handle = server.unwrap().handle();
    let mut waiting = connect(&handle);
    // However full the queue of calls is.
    handle.defer(|_| ()).unwrap();
    assert!(matches!(handle.defer(|_| ()), Err(Error::Full)));
    let other = handle.clone();
    thread::spawn(move || other.shutdown()).join().unwrap();
    assert!(handle.is_shutdown() && !handle.is_stopped());
    lp.run().unwrap();
    assert!(handle.is_stopped());
    let told: Vec<_> = told.try_iter().collect();
    assert!(matches!(told.as_slice(), [Event::Started { .. }, Event::Stopped { graceful: true, cut: 0 }]), "{told:?}");
    assert_eq!(waiting.end().0, End::Reset);
}

#[test]
fn a_shutdown_repeated_before_run_stops_once() {
    let mut lp = Loop::new().unwrap();
    let (sender, told) = channel();
    let server = Server::bind(&mut lp.loop_mut(), &described(), move |event| sender.send(event.clone()).unwrap());
    let handle = server.unwrap().handle();
    for _ in 0..3 {
        handle.shutdown();
    }
    lp.run().unwrap();
    handle.shutdown();
    assert_eq!(told.try_iter().filter(|event| matches!(event, Event::Stopped { .. })).count(), 1);
}

#[test]
fn a_shutdown_wakes_idle_connections_and_a_second_one_cuts_the_rest() {
    let patient = Described {
        shutdown_timeout: None,
        write_timeout: None,
        linger: Some(Duration::from_secs(600)),
        send_buffer: Some(4096),
        units: vec![DescribedUnit::with_size(1, 125)],
        ..described()
    };
    let server = Server::spawn(patient).unwrap();
    // Whatever the stuck one has sent and is not answered any more makes an event.
    let events = server.subscribe(1 << 20);
    let (mut stuck, mut idle) = (connect(&server), connect(&server));
    idle.is_served();
    stuck.get_stuck();
    server.shutdown();
    assert_eq!(idle.end(), (End::Fin, vec![]));
    drop(idle);
    let ended = |id| {
        move |event: &Event| match event {
            Event::Disconnected { id: ended, reason, .. } if *ended == id => Some(*reason),
            _ => None,
        }
    };
    assert_eq!(until(&events, ended(2)), Reason::Shutdown);
    server.shutdown();
    assert_eq!(until(&events, ended(1)), Reason::ShutdownForced);
    assert_eq!(stuck.end().0, End::Reset);
    let stopped = until(&events, |event| match event {
        Event::Stopped { graceful, cut } => Some((*graceful, *cut)),
        _ => None,
    });
    assert_eq!(stopped, (false, 1));
    server.wait().unwrap();
}
