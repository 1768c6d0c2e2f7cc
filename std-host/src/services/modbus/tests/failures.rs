//! What is hard to bring about from outside: failures and orders that need a hand on the loop.

use super::super::connection::Peer;
use super::super::*;
use crate::event_loop::{AcceptFailed, Address, CloseReason, Closed, Handler, Loop, LoopOptions};
use std::io::Write;
use std::net::TcpStream;
use wharf_core::modbus::server::Reason;

type Events = Rc<RefCell<Vec<Event>>>;

/// A server on loopback, its address, and what it has told.
fn serve(lp: &mut Loop, described: plant::Server) -> (Server, SocketAddr, Events) {
    let described = plant::Server { listen: vec!["127.0.0.1:0".parse().unwrap()], ..described };
    let events = Events::default();
    let seen = Rc::clone(&events);
    let server =
        Server::bind(&mut lp.loop_mut(), &described, move |event| seen.borrow_mut().push(event.clone())).unwrap();
    let address = server.local_addrs().next().unwrap();
    (server, address, events)
}

fn described() -> plant::Server {
    plant::Server { units: vec![plant::Unit::with_size(1, 10)], ..plant::Server::new("m") }
}

/// Runs the loop until an event is there; a minute is a failure.
fn run_until(lp: &mut Loop, events: &Events, found: impl Fn(&Event) -> bool) {
    let minute = Duration::from_secs(60);
    let guard = lp.loop_mut().add_timer(minute, None, |_, _| panic!("the event never came")).unwrap();
    assert!(lp.run_until(|_| events.borrow().iter().any(&found)).unwrap());
    lp.loop_mut().close(guard).unwrap();
}

#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
fn counted(server: &Server, lp: &mut LoopMut<'_, ()>) -> Metrics {
    server.with(lp, |server| server.metrics())
}

fn connections(shared: &Rc<Shared>) -> Connections {
    Connections {
        shared: Rc::clone(shared),
        admission: Admission::new(&described()),
        options: Options::new(&described()),
    }
}

#[test]
fn a_reset_is_seen_behind_requests_that_have_no_room() {
    // A read holds requests whose replies fit, so that the failed write comes before the pause.
    let options = LoopOptions { receive_buffer: 64, ..LoopOptions::default() };
    let mut lp = Loop::with_options((), options).unwrap();
    let (_server, address, events) = serve(&mut lp, plant::Server { write_timeout: None, ..described() });
    let client = TcpStream::connect(address).unwrap();
    let read = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 10];
    (&client).write_all(&read.repeat(1000)).unwrap();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    run_until(&mut lp, &events, |event| matches!(event, Event::Disconnected { reason: Reason::PeerReset, .. }));
}

#[test]
fn a_connection_is_cut_once_however_often_a_shutdown_is_repeated() {
    let mut lp = Loop::new().unwrap();
    let (mut server, address, events) = serve(&mut lp, described());
    let _client = TcpStream::connect(address).unwrap();
    run_until(&mut lp, &events, |event| matches!(event, Event::Connected { .. }));
    for _ in 0..3 {
        server.shutdown(&mut lp.loop_mut());
    }
    run_until(&mut lp, &events, |event| matches!(event, Event::Stopped { .. }));
    let last = events.borrow().last().cloned();
    assert!(matches!(last, Some(Event::Stopped { graceful: false, cut: 1 })), "{last:?}");
}

#[test]
fn a_client_turned_away_without_descriptors_is_reported_as_rejected() {
    let mut lp = Loop::new().unwrap();
    let (server, _, events) = serve(&mut lp, described());
    let client: SocketAddr = "127.0.0.1:4000".parse().unwrap();
    let mut connections = connections(&server.shared);
    for refused in [Some(client), None] {
        let refused = refused.map(Address::Inet);
        let failed = AcceptFailed::Exhausted { error: Error::Ended, pause: Duration::from_millis(100), refused };
        let listener = server.shared.listeners.borrow().sockets[0].0.unwrap();
        connections.accept_error(&mut lp.loop_mut(), listener, failed);
    }
    let rejected = |event: &Event| {
        if let Event::Rejected { peer, reason: Rejection::Descriptors } = event { Some(*peer) } else { None }
    };
    assert_eq!(events.borrow().iter().filter_map(rejected).collect::<Vec<_>>(), [client]);
    assert_eq!(events.borrow().iter().filter(|event| matches!(event, Event::Error { .. })).count(), 2);
    let metrics = counted(&server, &mut lp.loop_mut());
    assert_eq!((metrics.rejected(Rejection::Descriptors), metrics.errors(Operation::Accept)), (1, 2));
}

#[test]
fn a_failure_of_the_system_is_told_before_the_connection_that_it_ends() {
    let mut lp = Loop::new().unwrap();
    let (server, address, events) = serve(&mut lp, described());
    let _client = TcpStream::connect(address).unwrap();
    run_until(&mut lp, &events, |event| matches!(event, Event::Connected { .. }));
    let shared = Rc::clone(&server.shared);
    let mut lp = lp.loop_mut();
    let id = lp.sockets(shared.key()).next().unwrap();
    let source = std::io::ErrorKind::TimedOut.into();
    let failure = Error::Io { op: "read from", object: "192.0.2.7:4000".to_owned(), source };
    let closed = Closed {
        id,
        data: Box::new(Peer::new(7, Some("192.0.2.7:4000".parse().unwrap()), lp.now())),
        reason: CloseReason::Failed(failure),
        unsent: 0,
        received: 0,
        sent: 0,
    };
    let mut connections = connections(&shared);
    connections.close(&mut lp, closed);
    let events = events.borrow();
    let [
        ..,
        Event::Error { operation: Operation::Read, message },
        Event::Disconnected { id: 7, reason: Reason::IoError, .. },
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert!(message.starts_with("read from 192.0.2.7:4000: "), "{message}");
    drop(events);
    let metrics = counted(&server, &mut lp);
    assert_eq!((metrics.errors(Operation::Read), metrics.closed(Reason::IoError)), (1, 1));
}
