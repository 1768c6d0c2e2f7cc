//! Sockets that are read by hand, and sockets that change their context.

use crate::harness::{Log, bench, quiet};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    Context, ContextBuilder, Error, ListenOptions, Loop, LoopMut, LoopOptions, Socket, SocketId,
};

type Reader = ContextBuilder<(), Vec<u8>>;

fn listening(reader: Reader) -> (Loop, SocketAddr) {
    let mut lp = Loop::new().unwrap();
    let key = lp.loop_mut().context(reader);
    let id = lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = lp.loop_mut().listener(id).unwrap().local_addr();
    (lp, addr)
}

fn closed(lp: &mut LoopMut<'_>) -> bool {
    lp.stats().closed_peer + lp.stats().closed_local + lp.stats().closed_reset > 0
}

/// A context that writes down what it reads, `max` bytes at a time and `times` in a callback.
fn reader(log: &Log, max: usize, times: usize) -> Reader {
    let (log, ended) = (Rc::clone(log), Rc::clone(log));
    Context::builder::<(), Vec<u8>>()
        .on_readable(move |s| {
            for _ in 0..times {
                let said = match s.read(max) {
                    Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Err(error) => error.to_string(),
                };
                log.borrow_mut().push(said);
            }
        })
        .on_end(move |s| {
            ended.borrow_mut().push("end".into());
            s.finish().unwrap();
        })
}

#[test]
fn what_is_left_is_offered_again_without_a_new_edge() {
    let log = Log::default();
    let (mut lp, addr) = listening(reader(&log, 4, 1));
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"one two three").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(lp.run_until(closed).unwrap());
    assert_eq!(log.borrow().concat(), "one two threeend");
    // "", the end of the input, was read before `end` came.
    assert_eq!(log.borrow()[log.borrow().len() - 2..], ["", "end"]);
}

#[test]
fn nothing_there_would_block() {
    let log = Log::default();
    let (mut lp, addr) = listening(reader(&log, 100, 2));
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"all").unwrap();
    let seen = Rc::clone(&log);
    assert!(lp.run_until(move |_| seen.borrow().len() == 2).unwrap());
    assert_eq!(*log.borrow(), ["all", "there is nothing to read now"]);
}

#[test]
fn a_read_says_whether_there_may_be_more() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    let reader = Context::builder::<(), Vec<u8>>().on_readable(move |s| {
        for most in [1, 2, 3] {
            match s.read(most) {
                Ok(bytes) if bytes.is_empty() => {
                    return seen.borrow_mut().push(format!("end: {}", bytes.may_be_more()));
                }
                Ok(bytes) => seen.borrow_mut().push(format!("{} of {most}: {}", bytes.len(), bytes.may_be_more())),
                Err(error) => seen.borrow_mut().push(error.to_string()),
            }
        }
    });
    let (mut lp, addr) = listening(reader);
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"abcd").unwrap();
    let told = Rc::clone(&log);
    assert!(lp.run_until(move |_| told.borrow().len() == 3).unwrap());
    // A read that was filled cannot know; one that was not has found the end of what there is.
    assert_eq!(log.borrow_mut().split_off(0), ["1 of 1: true", "2 of 2: true", "1 of 3: false"]);
    // Behind these there is an end that the system has told of already.
    let mut ended = TcpStream::connect(addr).unwrap();
    ended.write_all(b"abcd").unwrap();
    ended.shutdown(Shutdown::Write).unwrap();
    assert!(lp.run_until(closed).unwrap());
    assert_eq!(*log.borrow(), ["1 of 1: true", "2 of 2: true", "1 of 3: true", "end: false"]);
}

#[test]
fn a_handler_that_does_not_read_is_not_asked_again() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    let lazy = Context::builder::<(), Vec<u8>>().on_readable(move |s| {
        seen.borrow_mut().push("readable".into());
        let id = s.id();
        // Somebody else reads, later.
        let seen = Rc::clone(&seen);
        let delay = std::time::Duration::from_millis(1);
        let read = move |lp: &mut LoopMut<'_>, _| {
            let bytes = lp.stream(id).unwrap().read(100).unwrap();
            seen.borrow_mut().push(String::from_utf8_lossy(&bytes).into_owned());
        };
        s.loop_mut().add_timer(delay, None, read).unwrap();
    });
    let (mut lp, addr) = listening(lazy);
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"late").unwrap();
    let seen = Rc::clone(&log);
    assert!(lp.run_until(move |_| seen.borrow().len() == 2).unwrap());
    assert_eq!(*log.borrow(), ["readable", "late"]);
}

#[test]
fn bytes_read_by_hand_can_be_written_at_once_and_are_limited_like_others() {
    let echo = Context::builder::<(), Vec<u8>>().on_readable(|s| {
        s.limit_read(3).unwrap();
        let bytes = s.read(100).unwrap();
        assert!(bytes.len() <= 3);
        assert!(matches!(s.read(1), Err(Error::WouldBlock | Error::Busy)));
        s.write(&bytes).unwrap();
        drop(bytes);
        s.resume().unwrap();
    });
    let (mut lp, addr) = listening(echo);
    let client = std::thread::spawn(move || {
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"echo me").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        got
    });
    assert!(lp.run_until(closed).unwrap());
    drop(lp);
    assert_eq!(client.join().unwrap(), "echo me");
}

#[test]
fn the_buffer_is_busy_in_a_data_callback_and_while_bytes_are_held() {
    let mut bench = bench(|what, s, _| {
        if what == "data" {
            assert!(matches!(s.read(1), Err(Error::Busy | Error::WouldBlock)));
            s.finish().unwrap();
        }
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    client.write_all(&[1; 300_000]).unwrap();
    bench.run_to_closed(1);
    let holder = Context::builder::<(), Vec<u8>>().on_readable(|s| {
        let held = s.read(1).unwrap();
        assert!(matches!(s.read(1), Err(Error::Busy)));
        assert_eq!(*held, *b"a");
        drop(held);
        assert_eq!(*s.read(9).unwrap(), *b"bc");
        s.close(0);
        assert!(matches!(s.read(1), Err(Error::Closed)));
    });
    let (mut lp, addr) = listening(holder);
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"abc").unwrap();
    assert!(lp.run_until(closed).unwrap());
}

#[test]
fn a_hang_up_is_known_before_it_is_read() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    let watcher = Context::builder::<(), Vec<u8>>().on_readable(move |s| {
        seen.borrow_mut().push(format!("hung up: {}", s.is_hung_up()));
        while s.read(100).is_ok_and(|bytes| !bytes.is_empty()) {}
    });
    let (mut lp, addr) = listening(watcher);
    TcpStream::connect(addr).unwrap();
    assert!(lp.run_until(closed).unwrap());
    assert_eq!(log.borrow().last().unwrap(), "hung up: true");
}

#[test]
fn a_moved_socket_calls_its_new_handler_with_the_bytes_that_are_left() {
    let log = Log::default();
    let mut bench = bench(quiet);
    let mut lp = bench.lp.loop_mut();
    let (said, over) = (Rc::clone(&log), Rc::clone(&log));
    let upgraded = Context::builder::<(), String>()
        .on_open(|_, _| panic!("it is open already"))
        .on_data(move |s, bytes| {
            let text = format!("{}{}", s.data(), String::from_utf8_lossy(bytes));
            said.borrow_mut().push(text);
        })
        .on_close(move |_, closed| over.borrow_mut().push(format!("closed with {:?}", closed.data)));
    let upgraded = lp.context(upgraded);
    let plain = Context::builder::<(), Vec<u8>>().on_data(move |s: &mut Socket<'_, (), Vec<u8>>, bytes| {
        s.data().extend_from_slice(bytes);
        s.limit_read(0).unwrap();
        s.move_to(upgraded, "new: ".to_owned()).unwrap();
        // The old data is there until the end of the callback, but under the new key only.
        assert_eq!(s.data(), b"first");
        let id = s.id();
        assert_eq!(*s.loop_mut().user(upgraded, id).unwrap(), "new: ");
        assert_eq!(s.loop_mut().sockets(upgraded).collect::<Vec<_>>(), [id]);
        s.resume().unwrap();
    });
    let plain = lp.context(plain);
    let id = lp.listen("127.0.0.1:0".parse().unwrap(), plain, ListenOptions::default()).unwrap();
    let addr = lp.listener(id).unwrap().local_addr();
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"first").unwrap();
    let seen = Rc::clone(&log);
    bench.lp.run_until(move |lp| lp.sockets(plain).count() == 0 && lp.sockets(upgraded).count() == 1).unwrap();
    client.write_all(b"second").unwrap();
    bench.lp.run_until(move |_| !seen.borrow().is_empty()).unwrap();
    drop(client);
    bench.run_to_closed(1);
    assert_eq!(*log.borrow(), ["new: second", "closed with \"new: \""]);
}

#[test]
fn a_socket_moves_between_reading_by_hand_and_being_given_bytes() {
    let log = Log::default();
    let mut lp = Loop::new().unwrap();
    let said = Rc::clone(&log);
    let given = Context::builder::<(), ()>()
        .on_data(move |_, bytes| said.borrow_mut().push(String::from_utf8_lossy(bytes).into_owned()));
    let given = lp.loop_mut().context(given);
    let said = Rc::clone(&log);
    let by_hand = Context::builder::<(), ()>().on_readable(move |s| {
        let head = s.read(5).unwrap();
        said.borrow_mut().push(String::from_utf8_lossy(&head).into_owned());
        s.move_to(given, ()).unwrap();
    });
    let by_hand = lp.loop_mut().context(by_hand);
    let id = lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), by_hand, ListenOptions::default()).unwrap();
    let addr = lp.loop_mut().listener(id).unwrap().local_addr();
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"head:body").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(lp.run_until(closed).unwrap());
    assert_eq!(log.borrow().concat(), "head:body");
    assert_eq!(log.borrow()[0], "head:");
    client.read_exact(&mut []).unwrap();
}

#[test]
fn a_failure_to_send_closes_a_socket_that_nobody_reads() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    let lazy = Context::builder::<(), Vec<u8>>()
        .on_readable(|_| ())
        .on_close(move |_, closed| seen.borrow_mut().push(format!("{:?}", closed.reason)));
    let mut lp = Loop::new().unwrap();
    let key = lp.loop_mut().context(lazy);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let id = lp.loop_mut().adopt(ours, key, Vec::new()).unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();
    drop(theirs);
    assert_eq!(lp.loop_mut().stream(id).unwrap().write(b"x").unwrap(), 0);
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*log.borrow(), ["PeerReset"]);
}

#[test]
fn whoever_finds_the_share_of_an_iteration_used_up_is_asked_again() {
    // The first asks for the other's bytes when it has used up the share of both.
    let asked = Rc::new(Cell::new(0));
    let seen = Rc::clone(&asked);
    let reader = Context::builder::<(), Option<SocketId>>().on_readable(move |s| match *s.data() {
        Some(other) => {
            if s.read(4).is_err() {
                return;
            }
            let outcome = s.loop_mut().stream(other).unwrap().read(4);
            assert!(matches!(outcome, Err(Error::WouldBlock)));
        }
        None => seen.set(seen.get() + 1),
    });
    let mut lp = Loop::with_options((), LoopOptions { read_budget: 4, ..LoopOptions::default() }).unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(reader);
    let ((first, mut to_first), (second, mut to_second)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let second = set.adopt(second, key, None).unwrap();
    set.adopt(first, key, Some(second)).unwrap();
    to_second.write_all(b"more").unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(asked.get(), 1, "it has left what there is");
    to_first.write_all(b"some").unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(asked.get(), 2);
}
