//! Handshakes that fail, that take too long, and that come in crowds; and sockets from elsewhere.

use super::{Reader, bench, bench_with, end, read_all, with_client};
use crate::certificates::{Authority, dial};
use crate::harness::quiet;
use rustls::ClientConfig;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{
    ConnectOptions, Error, Handler, ListenOptions, LoopOptions, Socket, SocketId, TlsBuilder,
};

#[test]
fn a_connection_whose_handshake_fails_did_not_come_about() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), quiet);
    let client = TlsBuilder::new().ca(authority.pem()).client().unwrap();
    let (addr, key, options) = (bench.addr, bench.key, ConnectOptions::default());
    // The certificate is for another name than the address.
    bench.lp.loop_mut().connect_tls(addr, key, b"data".to_vec(), &client, options).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().connect_failed == 1 && lp.stats().closed_failed == 1).unwrap());
    let mut log = bench.log();
    log.sort();
    assert!(log[0].starts_with("close HandshakeFailed(Tls"), "{log:?}");
    assert!(
        log[1].starts_with(&format!("connect_error after 1 with 4 bytes: TLS with {addr}: invalid peer cert")),
        "{log:?}"
    );
    assert_eq!(log.len(), 2);

    // One that expects the right name opens.
    bench.log.borrow_mut().clear();
    let client = client.expecting("localhost").unwrap();
    let id = bench.lp.loop_mut().connect_tls(addr, key, Vec::new(), &client, options).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 2).unwrap());
    let mut lp = bench.lp.loop_mut();
    assert_eq!(lp.stream(id).unwrap().server_name(), Some("localhost"));
    lp.stream(id).unwrap().close(3);
}

#[test]
fn what_is_no_tls_never_opens() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), quiet);
    let mut client = TcpStream::connect(bench.addr).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    bench.run_to_closed(1);
    let mut alert = Vec::new();
    client.read_to_end(&mut alert).unwrap();
    assert_eq!((alert[0], alert.len()), (21, 7));
    let mut silent = bench.log();
    assert!(silent.len() == 1 && silent[0].starts_with("close HandshakeFailed(Tls"), "{silent:?}");

    // One that leaves in the middle.
    drop(TcpStream::connect(bench.addr).unwrap());
    bench.run_to_closed(2);
    silent = bench.log();
    assert!(silent[1].starts_with("close HandshakeFailed(Io { op: \"handshake with\""), "{silent:?}");
}

#[test]
fn a_handshake_has_its_time() {
    let authority = Authority::new();
    let options = LoopOptions { handshake_timeout: Duration::from_millis(20), ..LoopOptions::default() };
    let mut bench = bench_with(&authority.server("localhost"), options, quiet);
    let silent = TcpStream::connect(bench.addr).unwrap();
    bench.run_to_closed(1);
    assert_eq!(bench.log(), ["close HandshakeTimeout with 0 bytes"]);
    drop(silent);

    bench.log.borrow_mut().clear();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, key) = (silent.local_addr().unwrap(), bench.key);
    let client = TlsBuilder::new().ca(authority.pem()).client().unwrap();
    bench.lp.loop_mut().connect_tls(addr, key, Vec::new(), &client, ConnectOptions::default()).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().connect_failed == 1).unwrap());
    assert_eq!(bench.log(), [format!("connect_error after 1 with 0 bytes: handshake with {addr}: timed out")]);
    assert_eq!(bench.lp.loop_mut().stats().handshakes_failed, 2);
}

#[test]
fn a_handshake_can_be_cancelled_and_ends_with_the_loop() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), quiet);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, key, options) = (silent.local_addr().unwrap(), bench.key, ConnectOptions::default());
    let client = TlsBuilder::new().ca(authority.pem()).client().unwrap();
    let ids = [0, 1].map(|_| bench.lp.loop_mut().connect_tls(addr, key, Vec::new(), &client, options).unwrap());
    let guest = TcpStream::connect(bench.addr).unwrap();
    // Each of the two has said its hello, and the guest is accepted.
    assert!(bench.lp.run_until(|lp| lp.stats().handshake_steps == 2 && lp.stats().accepted == 1).unwrap());
    let mut lp = bench.lp.loop_mut();
    assert!(matches!(lp.stream(ids[0]).unwrap().write(b"x"), Err(Error::NotOpen)));
    lp.stream(ids[0]).unwrap().cancel().unwrap();
    lp.stop();
    bench.lp.run().unwrap();
    let mut log = bench.log();
    log.sort();
    assert_eq!(log, ["close LoopEnded with 0 bytes", "connect_error after 1 with 0 bytes: the loop has ended"]);
    drop(guest);
}

#[test]
fn both_ends_may_be_adopted() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), |what, s, bytes| match what {
        "open" if s.data() == b"client" => assert_eq!(s.write(b"ping").unwrap(), 4),
        "data" if s.data().starts_with(b"client") => s.finish().unwrap(),
        "data" => assert_eq!(s.write(bytes).unwrap(), bytes.len()),
        _ => {}
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let theirs = listener.accept().unwrap().0;
    let (server, client) = (authority.server("localhost"), TlsBuilder::new().ca(authority.pem()).client().unwrap());
    let key = bench.key;
    let mut lp = bench.lp.loop_mut();
    let nobody = lp.adopt_tls_client(ours.try_clone().unwrap(), key, Vec::new(), &client).unwrap_err();
    assert!(nobody.to_string().starts_with("server_name: "), "{nobody}");
    lp.adopt_tls(theirs, key, Vec::new(), &server).unwrap();
    lp.adopt_tls_client(ours, key, b"client".to_vec(), &client.expecting("localhost").unwrap()).unwrap();
    bench.run_to_closed(2);
    let log = bench.log();
    assert_eq!(log.iter().filter(|line| *line == "open Adopted").count(), 2, "{log:?}");
    assert!(log.contains(&"close Local { code: 0 } with 10 bytes".to_owned()), "{log:?}");
}

#[test]
fn a_tls_socket_can_change_its_context_with_bytes_inside() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), |what, s, bytes| {
        if what == "open" {
            s.limit_read(4).unwrap();
        }
        assert!(what != "data" || bytes == b"move");
    });
    let seen = Rc::new(RefCell::new(Vec::new()));
    let other = bench.lp.loop_mut().context(Reader(Rc::clone(&seen)));
    let key = bench.key;
    bench.lp.loop_mut().after_poll(move |lp| {
        let ids: Vec<SocketId> = lp.sockets(key).collect();
        for id in ids {
            if lp.user(key, id).unwrap().len() == 4 {
                lp.stream(id).unwrap().move_to(other, ()).unwrap();
                lp.stream(id).unwrap().resume().unwrap();
            }
        }
    });
    with_client(&mut bench, &authority, |client| {
        client.write_all(b"move and more").unwrap();
        end(client);
        assert_eq!(read_all(client), b"");
    });
    assert_eq!(*seen.borrow(), b" and more");
}

#[test]
fn a_loop_that_ends_says_so_to_its_peers() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), |what, s, _| {
        if what == "data" {
            s.loop_mut().stop();
        }
    });
    let (addr, config) = (bench.addr, authority.client());
    let client = thread::spawn(move || {
        let mut client = dial(addr, &config, "localhost");
        client.write_all(b"abc").unwrap();
        read_all(&mut client)
    });
    bench.lp.run().unwrap();
    assert_eq!(client.join().unwrap(), b"");
    assert_eq!(bench.log(), ["open Accepted", "opened", "close LoopEnded with 3 bytes"]);
}

#[test]
fn close_inside_every_tls_callback() {
    let authority = Authority::new();
    for place in ["open", "data", "writable", "drained", "end"] {
        for other in [false, true] {
            let ids: Rc<RefCell<Vec<SocketId>>> = Rc::default();
            let seen = Rc::clone(&ids);
            let mut bench = bench(&authority.server("localhost"), move |what, s, _| {
                if what == "open" {
                    seen.borrow_mut().push(s.id());
                    while s.write_now(&[0; 65_536]).unwrap() > 0 {}
                    s.write(&[1; 2 << 20]).unwrap();
                }
                if what == place && seen.borrow().len() == 2 {
                    let own = s.id();
                    for id in seen.borrow().iter().filter(|id| (**id == own) != other) {
                        // It may have been closed, by the same callback of the other socket.
                        let _ = s.loop_mut().stream(*id).map(|mut stream| stream.close(9));
                    }
                }
            });
            let both = Arc::new(Barrier::new(2));
            let clients = [0, 1].map(|_| {
                let (both, addr, config) = (Arc::clone(&both), bench.addr, authority.client());
                thread::spawn(move || {
                    let mut client = dial(addr, &config, "localhost");
                    // Whoever has got a byte is open, or was.
                    let _ = client.read(&mut [0; 1]);
                    both.wait();
                    // The server may be gone at any point.
                    let _ = client.write_all(b"hello");
                    let (mut ones, mut buffer) = (0, vec![0; 65_536]);
                    while ["writable", "drained"].contains(&place) && ones < 1 << 19 {
                        let Ok(count @ 1..) = client.read(&mut buffer) else { break };
                        ones += buffer[..count].iter().filter(|byte| **byte == 1).count();
                    }
                    client.conn.send_close_notify();
                    let _ = client.flush();
                    let _ = client.read_to_end(&mut buffer);
                })
            });
            bench.run_to_closed(2);
            clients.into_iter().for_each(|client| client.join().unwrap());
            let log = bench.log();
            let count = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
            assert_eq!((count("open "), count("close ")), (2, 2), "{place} {other} {log:?}");
            assert!(count("close Local { code: 9 }") >= 1, "{place} {other} {log:?}");
            let stats = bench.lp.loop_mut().stats();
            assert_eq!((stats.sockets, stats.queued), (0, 0));
        }
    }
}

/// A client's first words.
fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut client = rustls::ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        assert_eq!(s.write(bytes).unwrap(), bytes.len());
    }
}

#[test]
fn a_rush_of_handshakes_leaves_echo_alive() {
    const RUSH: usize = 500;
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), quiet);
    let mut lp = bench.lp.loop_mut();
    let key = lp.context(Echo);
    let id = lp.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = lp.listener(id).unwrap().local_addr();
    let mut echo = TcpStream::connect(addr).unwrap();
    echo.set_nonblocking(true).unwrap();
    let hello = hello(&authority.client());
    let rush = || {
        let mut client = TcpStream::connect(bench.addr).unwrap();
        client.write_all(&hello).unwrap();
        client
    };
    let clients: Vec<_> = std::iter::repeat_with(rush).take(RUSH).collect();

    let (mut steps, mut turns, mut echoes, mut asked, mut fullest) = (0, 0, 0, false, 0);
    while steps < RUSH as u64 {
        if !asked {
            echo.write_all(b"x").unwrap();
            asked = true;
        }
        bench.lp.turn(Some(Duration::ZERO)).unwrap();
        turns += 1;
        if echo.read(&mut [0; 1]).is_ok_and(|count| count == 1) {
            (echoes, asked) = (echoes + 1, false);
        }
        let stats = bench.lp.loop_mut().stats();
        assert!(stats.handshake_steps - steps <= 5, "{stats:?}");
        (steps, fullest) = (stats.handshake_steps, fullest.max(stats.handshakes_waiting));
    }
    assert!(turns >= RUSH / 5 && fullest > RUSH as u64 / 2, "{turns} {fullest}");
    // An echo may need a turn more for its way through the system, but the handshakes do not delay it.
    assert!(echoes * 2 >= turns - 1, "{echoes} echoes in {turns} iterations");
    drop(clients);
    bench.run_to_closed(RUSH as u64);
    assert_eq!(bench.lp.loop_mut().stats().handshakes_waiting, 0);
}
