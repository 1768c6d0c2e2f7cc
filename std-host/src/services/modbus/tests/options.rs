//! What accepted sockets are made of: their descriptors can be reached only from inside.

use super::super::{Event, Operation, Response, Server};
use crate::admin::exposition::Exposition;
use crate::config::modbus::{Keepalive, Server as Described, Unit};
use crate::event_loop::{Loop, LoopMut};
use socket2::SockRef;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

/// Lets `look` see the descriptor of a connection that this server has accepted.
fn accepted<R>(described: Described, look: impl FnOnce(&SockRef<'_>) -> R) -> R {
    let described = Described { listen: vec!["127.0.0.1:0".parse().unwrap()], ..described };
    let mut lp = Loop::new().unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &described, |event| {
        assert!(!matches!(event, Event::Error { .. }), "{event}");
    })
    .unwrap();
    let client = TcpStream::connect(server.local_addrs().next().unwrap()).unwrap();
    assert!(lp.run_until(|lp| lp.stats().opened == 1).unwrap());
    let mut set = lp.loop_mut();
    let id = set.sockets(server.shared.key()).next().unwrap();
    let seen = look(&SockRef::from(&set.stream(id).unwrap().raw().unwrap()));
    drop(client);
    seen
}

#[test]
fn keepalive_is_set_on_accepted_sockets_as_described() {
    let keepalive_of = |keepalive| {
        accepted(Described { keepalive, ..Described::new("kept") }, |socket| {
            let times = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
            socket.keepalive().unwrap().then(|| (times, socket.tcp_keepalive_retries().unwrap()))
        })
    };
    let seconds = Duration::from_secs;
    assert_eq!(keepalive_of(Described::new("default").keepalive), Some(((seconds(60), seconds(15)), 4)));
    let other = Keepalive { idle_seconds: 7, interval_seconds: 3, probes: 2 };
    assert_eq!(keepalive_of(Some(other)), Some(((seconds(7), seconds(3)), 2)));
    assert_eq!(keepalive_of(None), None);
}

#[test]
fn nodelay_is_set_on_accepted_sockets_as_described() {
    for nodelay in [true, false] {
        let set = accepted(Described { nodelay, ..Described::new("plain") }, |socket| socket.tcp_nodelay().unwrap());
        assert_eq!(set, nodelay);
    }
}

#[test]
fn buffers_are_set_on_accepted_sockets_as_described() {
    let buffers_of = |receive_buffer, send_buffer| {
        accepted(Described { receive_buffer, send_buffer, ..Described::new("sized") }, |socket| {
            (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap())
        })
    };
    let system = buffers_of(None, None);
    let (receive, send) = buffers_of(Some(10_000), Some(20_000));
    // Linux doubles what it is asked for.
    assert!([10_000, 20_000].contains(&receive) && receive != system.0, "{receive} {system:?}");
    assert!([20_000, 40_000].contains(&send) && send != system.1, "{send} {system:?}");
}

/// Linux takes at most 127 probes.
#[test]
#[cfg(target_os = "linux")]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
fn an_option_that_cannot_be_set_is_told_and_counted_and_the_client_served() {
    let described = Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        keepalive: Some(Keepalive { idle_seconds: 60, interval_seconds: 15, probes: 128 }),
        units: vec![Unit::with_size(1, 1)],
        ..Described::new("wished")
    };
    let mut lp = Loop::new().unwrap();
    let told = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&told);
    let server = Server::bind(&mut lp.loop_mut(), &described, move |event| {
        if let Event::Error { operation, message } = event {
            seen.borrow_mut().push((*operation, message.clone()));
        }
    })
    .unwrap();
    let mut clients = [(); 2].map(|()| TcpStream::connect(server.local_addrs().next().unwrap()).unwrap());
    for client in &mut clients {
        client.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]).unwrap();
    }
    let (ask, told) = (|lp: &mut LoopMut<'_, ()>| server.with(lp, |server| server.metrics()), told);
    assert!(lp.run_until(|lp| ask(lp).responses(Response::Ok) == 2).unwrap());
    for client in &mut clients {
        client.read_exact(&mut [0; 11]).unwrap();
    }
    let told = told.borrow();
    assert_eq!(told.len(), 2, "{told:?}");
    for (operation, message) in told.iter() {
        assert_eq!(*operation, Operation::Option);
        assert!(message.starts_with("set keepalive on 127.0.0.1:"), "{message}");
    }
    let metrics = ask(&mut lp.loop_mut());
    assert_eq!(Operation::ALL.map(|operation| metrics.errors(operation)), [0, 0, 0, 2]);
    let mut text = Exposition::default();
    metrics.expose(&mut text);
    let line = "wharf_modbus_errors_total{server=\"wished\",operation=\"option\"} 2\n";
    assert!(text.to_string().contains(line), "{text}");
}
