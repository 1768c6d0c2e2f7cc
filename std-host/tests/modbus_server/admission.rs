//! Who may connect, and how fast they may ask (specification, 7.1).

use crate::harness::{Client, End, PATIENCE, Wharf, one_server};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};

/// A connection from another address of the loopback network.
fn from(local: &str, wharf: &Wharf) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let local: SocketAddr = format!("{local}:0").parse().unwrap();
    socket.bind(&local.into()).unwrap();
    socket.connect(&wharf.address().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client { stream, transaction: 0 }
}

/// How a connection from an address ends that gets nothing.
fn turned_away(local: &str, wharf: &Wharf) -> End {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let local: SocketAddr = format!("{local}:0").parse().unwrap();
    socket.bind(&local.into()).unwrap();
    let ended = socket.connect(&wharf.address().into()).and_then(|()| {
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_to_end(&mut Vec::new())
    });
    match ended {
        Ok(0) => End::Fin,
        // It may come before the system reports that it has connected.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        other => panic!("{other:?}"),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn only_addresses_that_are_allowed_get_in() {
    let wharf = Wharf::run(&one_server("allow = [\"127.0.0.1\", \"127.1.0.0/16\"]"), 1);
    from("127.0.0.1", &wharf).is_served();
    from("127.1.200.3", &wharf).is_served();
    assert_eq!(turned_away("127.0.0.2", &wharf), End::Reset);
    let line = wharf.logged("rejected (not_allowed)");
    assert!(line.contains("connection from 127.0.0.2:"), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_address_has_no_more_connections_than_max_per_address() {
    let wharf = Wharf::run(&one_server("max_per_address = 2\nreject_with = \"fin\""), 1);
    let mut two = [from("127.0.0.1", &wharf), from("127.0.0.1", &wharf)];
    two.iter_mut().for_each(Client::is_served);
    assert_eq!(turned_away("127.0.0.1", &wharf), End::Fin);
    wharf.logged("rejected (per_address)");
    from("127.0.0.2", &wharf).is_served();
    let [first, mut second] = two;
    drop(first);
    wharf.logged("connection 1 ended");
    from("127.0.0.1", &wharf).is_served();
    second.is_served();
}

#[cfg(target_os = "linux")]
#[test]
fn connections_of_an_address_beyond_its_rate_are_turned_away() {
    // One more an hour or so is as good as never.
    let wharf = Wharf::run(&one_server("accept_rate = { per_second = 1, burst = 3 }\nmax_connections = 100"), 1);
    let started = std::time::Instant::now();
    let mut admitted = 0;
    for _ in 0..40 {
        let socket = TcpStream::connect(wharf.address());
        let served = socket.is_ok_and(|stream| {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Client { stream, transaction: 0 }.try_ask(1, &[3, 0, 0, 0, 1]).is_ok()
        });
        admitted += u64::from(served);
    }
    let regained = started.elapsed().as_secs() + 1;
    assert!((3..=3 + regained).contains(&admitted), "{admitted} in {regained} s");
    wharf.logged("rejected (rate)");
    from("127.0.0.9", &wharf).is_served();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_server_evicts_whoever_asked_longest_ago() {
    let keys = "max_connections = 3\nwhen_full = \"evict\"\npriority = [\"127.0.0.7\"]\npriority_max = 1";
    let wharf = Wharf::run(&one_server(keys), 1);
    let mut priority = from("127.0.0.7", &wharf);
    priority.is_served();
    let mut three: Vec<_> = (0..3).map(|_| wharf.connect()).collect();
    three.iter_mut().for_each(Client::is_served);
    // Half a request is none. The oldest asks again, so the second has been quiet longest.
    three[1].send(&[0, 1, 0]);
    three[0].is_served();
    let mut newcomer = wharf.connect();
    newcomer.is_served();
    assert_eq!(three[1].end(), (End::Fin, vec![]));
    wharf.logged("connection 3 ended (evicted)");
    for client in [&mut three[0], &mut newcomer, &mut priority] {
        client.is_served();
    }
    // The same again, whoever it is but the one with priority, which counts apart.
    let mut another = wharf.connect();
    another.is_served();
    wharf.logged("connection 4 ended (evicted)");
    assert_eq!(three[2].end(), (End::Fin, vec![]));
    priority.is_served();
}

#[cfg(target_os = "linux")]
#[test]
fn priority_gets_in_beyond_the_limit() {
    let keys = "max_connections = 1\npriority = [\"127.0.0.7\"]\npriority_max = 2\nallow = [\"127.0.0.1\"]";
    let wharf = Wharf::run(&one_server(keys), 1);
    let mut only = wharf.connect();
    only.is_served();
    assert_eq!(turned_away("127.0.0.1", &wharf), End::Reset);
    wharf.logged("rejected (limit)");
    let mut two = [from("127.0.0.7", &wharf), from("127.0.0.7", &wharf)];
    two.iter_mut().for_each(Client::is_served);
    assert_eq!(turned_away("127.0.0.7", &wharf), End::Reset);
    wharf.logged("rejected (not_allowed)");
    only.is_served();
}

#[test]
fn requests_beyond_the_rate_are_busy() {
    let wharf = Wharf::run(&one_server("request_rate = { per_second = 1, burst = 5 }"), 1);
    let started = std::time::Instant::now();
    let mut client = wharf.connect();
    let replies: Vec<_> = (0..50).map(|_| client.ask(1, &[3, 0, 0, 0, 1])).collect();
    assert!(replies[..5].iter().all(|reply| reply[0] == 3), "{replies:?}");
    let served = replies.iter().filter(|reply| reply[0] == 3).count() as u64;
    assert!(served <= 6 + started.elapsed().as_secs(), "{served}");
    assert!(replies.iter().all(|reply| reply[0] == 3 || *reply == [0x83, 6]));
    // Each connection has a rate of its own.
    wharf.connect().is_served();
}

#[test]
fn requests_beyond_the_rate_wait_unread_if_told_to() {
    let keys = "request_rate = { per_second = 50, burst = 2 }\nrate_action = \"pause\"";
    let wharf = Wharf::run(&one_server(keys), 1);
    let started = std::time::Instant::now();
    let mut client = wharf.connect();
    let requests: Vec<u8> = (1..=12).flat_map(|number| crate::harness::frame(number, 1, &[3, 0, 0, 0, 1])).collect();
    client.send(&requests);
    for number in 1..=12 {
        assert_eq!(client.reply(number, 1).unwrap(), [3, 2, 0, 0]);
    }
    // Ten of them had to wait for a permit, and never less than that long.
    assert!(started.elapsed() >= std::time::Duration::from_millis(200));
}
