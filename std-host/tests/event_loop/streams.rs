//! What a socket sees, from `open` to `close`.

use crate::harness::{bench, bench_with, quiet};
use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{CloseReason, ConnectOptions, Error, LoopOptions, SocketId};

#[test]
fn a_socket_sees_open_then_its_bytes_then_end_then_one_close() {
    let mut bench = bench(quiet);
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(&[7; 300_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 0);
    });
    bench.run_to_closed(1);
    client.join().unwrap();
    assert_eq!(bench.log(), ["open Accepted", "opened", "end after 300000", "close Peer with 300000 bytes"]);
}

#[test]
fn bytes_behind_a_half_close_arrive() {
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            s.write(b"bye").unwrap();
            s.shutdown().unwrap();
            assert!(s.is_shut_down());
            assert!(matches!(s.write(b"x"), Err(Error::ShutDown)));
        }
    });
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"bye");
        stream.write_all(&[1; 1000]).unwrap();
    });
    bench.run_to_closed(1);
    client.join().unwrap();
    assert_eq!(bench.log(), ["open Accepted", "opened", "end after 1000", "close Peer with 1000 bytes"]);
}

#[test]
fn a_paused_socket_is_served_later_without_a_new_edge() {
    let mut bench = bench(|what, s, _| match what {
        "open" => s.limit_read(3).unwrap(),
        "data" if s.data().len() == 3 => {
            let id = s.id();
            s.loop_mut()
                .add_timer(Duration::from_millis(1), None, move |lp, _| lp.stream(id).unwrap().resume().unwrap())
                .unwrap();
        }
        _ => {}
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    client.write_all(b"abcdefgh").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    bench.run_to_closed(1);
    assert_eq!(bench.log()[2..], ["end after 8", "close Peer with 8 bytes"]);
}

#[test]
fn one_iteration_reads_no_more_than_the_budget() {
    let options = LoopOptions { read_budget: 1000, receive_buffer: 300, ..LoopOptions::default() };
    let in_iteration = Rc::new(RefCell::new((0, 0)));
    let seen = Rc::clone(&in_iteration);
    let mut bench = bench_with(options, move |what, s, bytes| {
        if what == "data" {
            let now = s.loop_mut().iteration();
            let mut seen = seen.borrow_mut();
            let before = if seen.0 == now { seen.1 } else { 0 };
            *seen = (now, before + bytes.len());
            assert!(bytes.len() <= 300 && seen.1 <= 1000, "{seen:?}");
        }
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    client.write_all(&[0; 50_000]).unwrap();
    drop(client);
    bench.run_to_closed(1);
    assert_eq!(bench.log()[2..], ["end after 50000", "close Peer with 50000 bytes"]);
}

#[test]
fn a_request_costs_one_read_and_one_write() {
    let mut bench = bench(|what, s, bytes| {
        if what == "data" {
            s.write(bytes).unwrap();
        }
    });
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let (mut stream, mut back) = (TcpStream::connect(addr).unwrap(), [0; 12]);
        for _ in 0..200 {
            stream.write_all(&[9; 12]).unwrap();
            stream.read_exact(&mut back).unwrap();
        }
    });
    bench.run_to_closed(1);
    client.join().unwrap();
    let stats = bench.lp.loop_mut().stats();
    // The last read finds the end.
    assert_eq!((stats.reads, stats.writes, stats.bytes_in, stats.bytes_out), (201, 200, 2400, 2400));
    assert_eq!(stats.false_events, 0, "{stats:?}");
}

#[test]
fn an_abort_is_a_reset_for_the_peer() {
    let mut bench = bench(|what, s, _| {
        if what == "data" {
            s.abort();
        }
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    client.write_all(b"x").unwrap();
    bench.run_to_closed(1);
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(bench.log().last().unwrap(), "close Aborted with 1 bytes");
}

#[test]
fn a_reset_by_the_peer_is_the_reason_of_the_close() {
    let mut bench = bench(quiet);
    let client = TcpStream::connect(bench.addr).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 1).unwrap());
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    bench.run_to_closed(1);
    assert_eq!(bench.log().last().unwrap(), "close PeerReset with 0 bytes");
}

#[test]
fn a_closed_id_is_stale() {
    let ids = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&ids);
    let mut bench = bench(move |what, s, _| {
        if what == "open" {
            seen.borrow_mut().push(s.id());
            s.close(0);
        }
    });
    let key = bench.key;
    for round in 1..=3 {
        let client = TcpStream::connect(bench.addr).unwrap();
        bench.run_to_closed(round);
        drop(client);
        let mut lp = bench.lp.loop_mut();
        for id in ids.borrow().iter() {
            assert!(matches!(lp.stream(*id), Err(Error::Stale)));
            assert!(matches!(lp.user(key, *id), Err(Error::Stale)));
            assert!(matches!(lp.with_socket(key, *id, |_| ()), Err(Error::Stale)));
        }
    }
    let ids = ids.borrow();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

#[test]
fn close_inside_every_callback() {
    for place in ["open", "data", "writable", "drained", "end"] {
        for other in [false, true] {
            let ids: Rc<RefCell<Vec<SocketId>>> = Rc::default();
            let seen = Rc::clone(&ids);
            let mut bench = bench(move |what, s, _| {
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
            let streams = [TcpStream::connect(bench.addr).unwrap(), TcpStream::connect(bench.addr).unwrap()];
            let clients = streams.map(|mut stream| {
                thread::spawn(move || {
                    // The server may be gone at any point.
                    let _ = stream.write_all(b"hello");
                    let (mut ones, mut buffer) = (0, vec![0; 65_536]);
                    while ["writable", "drained"].contains(&place) && ones < 1 << 20 {
                        let Ok(count @ 1..) = stream.read(&mut buffer) else { break };
                        ones += buffer[..count].iter().filter(|byte| **byte == 1).count();
                    }
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = stream.read_to_end(&mut buffer);
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

#[test]
fn a_connection_opens_or_fails_once() {
    let mut bench = bench(|what, s, bytes| match what {
        "open" if s.data() == b"client" => assert_eq!(s.write(b"ping").unwrap(), 4),
        "data" if s.data().starts_with(b"client") => s.close(1),
        "data" => assert_eq!(s.write(bytes).unwrap(), 4),
        _ => {}
    });
    let (addr, key) = (bench.addr, bench.key);
    let options = ConnectOptions::default();
    bench.lp.loop_mut().connect(addr, key, b"client".to_vec(), options).unwrap();
    bench.run_to_closed(2);
    let log = bench.log();
    for line in ["open Connected", "open Accepted", "close Local { code: 1 } with 10 bytes"] {
        assert_eq!(log.iter().filter(|entry| *entry == line).count(), 1, "{line}: {log:?}");
    }

    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    bench.log.borrow_mut().clear();
    let id = bench.lp.loop_mut().connect(gone, key, b"data".to_vec(), options).unwrap();
    let cancelled = bench.lp.loop_mut().connect(addr, key, Vec::new(), options).unwrap();
    bench.lp.loop_mut().stream(cancelled).unwrap().cancel().unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().connect_failed == 1).unwrap());
    assert!(matches!(bench.lp.loop_mut().stream(id), Err(Error::Stale)));
    assert_eq!(bench.log(), [format!("connect_error after 1 with 4 bytes: connect to {gone}: connection refused")]);
}

#[test]
fn an_adopted_stream_opens_in_the_same_iteration() {
    let mut bench = bench(quiet);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let key = bench.key;
    bench.lp.loop_mut().adopt(client, key, b"own".to_vec()).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(bench.log(), ["open Adopted", "opened"]);
    drop(listener.accept().unwrap());
    bench.run_to_closed(1);
    assert_eq!(bench.log()[2..], ["end after 3", "close Peer with 3 bytes"]);
}

#[test]
fn a_socket_that_makes_another_as_it_opens_cannot_hold_the_loop() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let key = Rc::new(RefCell::new(None));
    let (own, left) = (Rc::clone(&key), RefCell::new(60));
    let mut bench = bench(move |what, s, _| {
        if what == "open" && *left.borrow() > 0 {
            *left.borrow_mut() -= 1;
            let another = TcpStream::connect(addr).unwrap();
            s.loop_mut().adopt(another, own.borrow().unwrap(), Vec::new()).unwrap();
        }
    });
    *key.borrow_mut() = Some(bench.key);
    bench.lp.loop_mut().adopt(TcpStream::connect(addr).unwrap(), bench.key, Vec::new()).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    let opened = bench.lp.loop_mut().stats().opened;
    assert!((1..20).contains(&opened), "{opened} in one iteration");
    // None is forgotten.
    for _ in 0..61 {
        bench.lp.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(bench.lp.loop_mut().stats().opened, 61);
}

#[test]
fn a_stream_whose_peer_is_gone_can_be_adopted_and_heard_to_the_end() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    theirs.write_all(b"last words").unwrap();
    drop(theirs);
    ours.shutdown(Shutdown::Write).unwrap();
    // Both ends are over, and the system does not know who the peer was.
    while ours.peer_addr().is_ok() {
        thread::yield_now();
    }
    bench.lp.loop_mut().adopt(ours, key, Vec::new()).unwrap();
    bench.run_to_closed(1);
    assert_eq!(bench.log(), ["open Adopted", "opened", "end after 10", "close Peer with 10 bytes"]);
}

#[test]
fn a_close_reason_carries_what_the_system_said() {
    let reason = CloseReason::Failed(Error::Io {
        op: "read from",
        object: "10.0.0.1:80".into(),
        source: ErrorKind::TimedOut.into(),
    });
    assert!(matches!(reason, CloseReason::Failed(error) if error.to_string() == "read from 10.0.0.1:80: timed out"));
}
