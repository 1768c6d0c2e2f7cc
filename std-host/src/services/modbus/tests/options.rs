//! What accepted sockets are made of: their descriptors can be reached only from inside.

use super::super::{Event, Server};
use crate::config::modbus::{Keepalive, Server as Described};
use crate::event_loop::Loop;
use socket2::SockRef;
use std::net::TcpStream;
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
