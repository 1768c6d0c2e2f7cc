//! The laws of the event loop, on loopback sockets.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{
    CloseReason, Closed, ConnectFailed, ConnectOptions, ContextKey, Error, Handler, Hook, ListenOptions, Loop, LoopMut,
    LoopOptions, Opened, PreOpen, RawSocket, Signal, Socket, SocketId, Why,
};

type Log = Rc<RefCell<Vec<String>>>;
type Act = Box<dyn FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8])>;

/// Writes down its callbacks, gathers the bytes in the data, and lets the test act in each callback.
struct Probe {
    log: Log,
    act: Act,
}

impl Probe {
    fn say(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }
}

impl Handler for Probe {
    type Data = Vec<u8>;

    fn open(&mut self, s: &mut Socket<'_, (), Vec<u8>>, how: Opened) {
        self.say(format!("open {how:?}"));
        (self.act)("open", s, &[]);
        self.say("opened");
    }

    fn data(&mut self, s: &mut Socket<'_, (), Vec<u8>>, bytes: &[u8]) {
        s.data().extend_from_slice(bytes);
        (self.act)("data", s, bytes);
    }

    fn writable(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        (self.act)("writable", s, &[]);
    }

    fn drained(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        self.say("drained");
        (self.act)("drained", s, &[]);
    }

    fn end(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        self.say(format!("end after {}", s.data().len()));
        (self.act)("end", s, &[]);
        let _ = s.finish();
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<Vec<u8>>) {
        self.say(format!("close {:?} with {} bytes", closed.reason, closed.data.len()));
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_>, failed: ConnectFailed<Vec<u8>>) {
        self.say(format!("connect_error with {} bytes: {}", failed.data.len(), failed.error));
    }
}

struct Bench {
    lp: Loop,
    log: Log,
    key: ContextKey<Probe>,
    addr: SocketAddr,
}

fn bench(act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static) -> Bench {
    bench_with(LoopOptions::default(), act)
}

fn bench_with(options: LoopOptions, act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static) -> Bench {
    let mut lp = Loop::with_options((), options).unwrap();
    let log = Log::default();
    let key = lp.loop_mut().context(Probe { log: Rc::clone(&log), act: Box::new(act) });
    let id = lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = lp.loop_mut().listener(id).unwrap().local_addr();
    Bench { lp, log, key, addr }
}

impl Bench {
    /// Runs until so many sockets have been closed.
    fn run_to_closed(&mut self, count: u64) {
        let closed = move |lp: &mut LoopMut<'_>| {
            let s = lp.stats();
            s.closed_peer + s.closed_reset + s.closed_local + s.closed_failed >= count
        };
        assert!(self.lp.run_until(closed).unwrap());
    }

    fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}

fn quiet(_: &str, _: &mut Socket<'_, (), Vec<u8>>, _: &[u8]) {}

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
fn defer_before_run_and_after_end() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let handle = lp.handle();
    handle.defer(|lp| lp.data().push(1)).unwrap();
    handle.defer_shared(Arc::new(|lp: &mut LoopMut<'_, Vec<i32>>| lp.data().push(2))).unwrap();
    handle.defer_fn(|lp| lp.data().push(3)).unwrap();
    assert!(!handle.is_running() && lp.loop_mut().data().is_empty());
    lp.run().unwrap();
    assert_eq!(*lp.loop_mut().data(), [1, 2, 3]);
    let owned = String::from("given back");
    let rejected = handle.defer(move |_| drop(owned)).unwrap_err();
    assert_eq!(rejected.why, Why::Ended);
    assert!(matches!(handle.call(|_| ()), Err(Error::Ended)));
    assert!(matches!(lp.run(), Err(Error::Ended)));
    assert!(!handle.is_running());
}

#[test]
fn a_full_queue_gives_the_closure_back() {
    let mut lp = Loop::with_options((), LoopOptions { deferred_limit: 2, ..LoopOptions::default() }).unwrap();
    let handle = lp.handle();
    handle.defer(|_| ()).unwrap();
    handle.defer(|_| ()).unwrap();
    assert_eq!(handle.defer(|_| ()).unwrap_err().why, Why::Full);
    lp.turn(Some(Duration::ZERO)).unwrap();
    handle.defer(|_| ()).unwrap();
    assert_eq!((lp.loop_mut().stats().deferred_rejected, lp.loop_mut().stats().deferred_run), (1, 2));
}

#[test]
fn calls_from_other_threads_are_all_run_in_order_with_fewer_wake_ups_than_calls() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    let senders: Vec<_> = (0..4_usize)
        .map(|sender| {
            let handle = handle.clone();
            thread::spawn(move || {
                for number in 0..5000_usize {
                    handle.defer(move |lp| lp.data().push((sender, number))).unwrap();
                }
                handle.call(|lp| lp.data().len()).unwrap()
            })
        })
        .collect();
    assert!(lp.run_until(|lp| lp.stats().deferred_run == 20_004).unwrap());
    for sender in senders {
        assert!(sender.join().unwrap() >= 5000);
    }
    for sender in 0..4 {
        let numbers: Vec<usize> = lp.loop_mut().data().iter().filter(|(s, _)| *s == sender).map(|(_, n)| *n).collect();
        assert!(numbers.iter().copied().eq(0..5000));
    }
    let stats = lp.loop_mut().stats();
    assert_eq!(stats.wake_ups + stats.coalesced, 20_004);
    assert!(stats.wake_ups < 20_004, "{stats:?}");
}

#[test]
fn a_handle_knows_its_thread_and_refuses_to_wait_for_itself() {
    let mut lp = Loop::with_data(None).unwrap();
    let handle = lp.handle();
    let inside = handle.clone();
    handle
        .defer(move |lp| {
            let refused = matches!(inside.call(|_| ()), Err(Error::OnLoopThread));
            let elsewhere = inside.clone();
            let other = thread::spawn(move || elsewhere.is_on_loop_thread()).join().unwrap();
            *lp.data() = Some((inside.is_on_loop_thread(), other, inside.is_running(), refused));
        })
        .unwrap();
    lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*lp.loop_mut().data(), Some((true, false, true, true)));
    assert!(!handle.is_on_loop_thread() && handle.is_running());
}

#[test]
fn a_kept_loop_lives_until_its_handle_lets_it_go() {
    let mut lp = Loop::new().unwrap();
    let handle = lp.handle();
    handle.keep_alive(true);
    let other = thread::spawn(move || handle.call(|lp| lp.iteration()).unwrap());
    lp.run().unwrap();
    assert!(other.join().unwrap() >= 1);
}

#[test]
fn a_deferring_call_cannot_starve_io() {
    fn again(lp: &mut LoopMut<'_>) {
        lp.handle().defer_fn(again).unwrap();
    }
    let mut bench = bench(|what, s, bytes| {
        if what == "data" {
            assert_eq!(s.write(bytes).unwrap(), bytes.len());
        }
    });
    bench.lp.handle().defer_fn(again).unwrap();
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        let mut back = [0; 5];
        for _ in 0..100 {
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"hello");
        }
    });
    bench.run_to_closed(1);
    client.join().unwrap();
    let mut lp = bench.lp.loop_mut();
    // One batch before the poll and one after it: never a call more.
    let (iterations, run) = (lp.iteration(), lp.stats().deferred_run);
    assert_eq!(run, 2 * iterations, "{:?}", lp.stats());
    lp.stop();
}

#[test]
fn hooks_and_iteration_run_once_each() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    set.before_poll(|lp| {
        let n = lp.iteration();
        lp.data().push(format!("{n} first"));
        if n == 1 {
            let handle = lp.handle();
            handle.defer(|lp| lp.data().push("deferred".into())).unwrap();
            lp.add_timer(Duration::ZERO, None, move |lp, _| {
                lp.data().push("timer".into());
                handle.defer(|lp| lp.data().push("deferred by the timer".into())).unwrap();
            })
            .unwrap();
        }
        if n < 3 { Hook::Busy } else { Hook::Idle }
    });
    set.before_poll(|lp| {
        lp.data().push("second".into());
        Hook::Idle
    });
    set.after_poll(|lp| lp.data().push("after".into()));
    // The first two do not wait, because a hook is busy.
    for wait in [None, None, Some(Duration::ZERO)] {
        lp.turn(wait).unwrap();
    }
    let log = lp.loop_mut().data().join(", ");
    assert_eq!(
        log,
        "1 first, second, deferred, timer, deferred by the timer, after, 2 first, second, after, 3 first, second, after"
    );
}

#[test]
fn callbacks_never_nest() {
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            let (addr, id) = (s.peer_addr().unwrap(), s.id());
            let lp = s.loop_mut();
            assert!(lp.stream(id).is_ok() && addr.ip().is_loopback());
            s.close(5);
            assert!(s.is_closed());
            assert!(matches!(s.write(b"x"), Err(Error::Closed)));
        }
    });
    let client = TcpStream::connect(bench.addr).unwrap();
    bench.run_to_closed(1);
    drop(client);
    assert_eq!(bench.log(), ["open Accepted", "opened", "close Local { code: 5 } with 0 bytes"]);
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

const MUCH: usize = 8 << 20;

fn pattern() -> Vec<u8> {
    (0..=250).cycle().take(MUCH).collect()
}

/// The socket sends [`MUCH`] bytes by `send`, which is called in `open` and in `writable` until all are taken.
fn arrives_whole(send: impl Fn(&mut Socket<'_, (), Vec<u8>>, &[u8]) -> usize + 'static) {
    let (all, mut at) = (pattern(), 0);
    // The client reads nothing before the first write, or the system might take all of it at once.
    let (started, start) = std::sync::mpsc::channel();
    let mut bench = bench(move |what, s, _| {
        if (what == "open" || what == "writable") && at < all.len() {
            at += send(s, &all[at..]);
            started.send(()).unwrap();
            if at == all.len() {
                s.shutdown().unwrap();
            }
        }
    });
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let (mut stream, mut all) = (TcpStream::connect(addr).unwrap(), Vec::new());
        start.recv().unwrap();
        stream.read_to_end(&mut all).unwrap();
        (all, start)
    });
    bench.run_to_closed(1);
    assert!(client.join().unwrap().0 == pattern());
    let stats = bench.lp.loop_mut().stats();
    assert!(stats.short_writes > 0 && stats.bytes_out == MUCH as u64 && stats.queued == 0, "{stats:?}");
}

#[test]
fn a_short_write_in_writable_is_resumed() {
    arrives_whole(|s, rest| s.write(rest).unwrap());
    arrives_whole(|s, rest| {
        let (head, body) = rest.split_at(rest.len() / 3);
        s.write2(head, body).unwrap()
    });
    arrives_whole(|s, rest| {
        let taken = s.write_now(rest).unwrap();
        assert_eq!(s.queued(), 0);
        taken
    });
    arrives_whole(|s, rest| s.write_now2(&rest[..1], &rest[1..]).unwrap());
}

#[test]
fn writable_comes_once_per_short_acceptance() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let (seen, (filled, amounts)) = (Rc::clone(&log), std::sync::mpsc::channel());
    let mut bench = bench(move |what, s, bytes| match (what, bytes) {
        ("data", b"fill") => {
            let mut amount = 0;
            loop {
                let taken = s.write_now(&[0; 65_536]).unwrap();
                amount += taken;
                if taken == 0 {
                    break;
                }
            }
            seen.borrow_mut().push("short");
            filled.send(amount).unwrap();
        }
        ("data", _) => assert_eq!(s.write(bytes).unwrap(), bytes.len()),
        ("writable", _) => seen.borrow_mut().push("writable"),
        _ => {}
    });
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let (mut stream, mut back) = (TcpStream::connect(addr).unwrap(), vec![0; 65_536]);
        for _ in 0..3 {
            stream.write_all(b"fill").unwrap();
            let mut left = amounts.recv().unwrap();
            while left > 0 {
                left -= stream.read(&mut back).unwrap();
            }
            // Each of these gives the socket a turn, with all the room that it could want.
            for _ in 0..20 {
                stream.write_all(b"ping").unwrap();
                stream.read_exact(&mut back[..4]).unwrap();
                assert_eq!(&back[..4], b"ping");
            }
        }
    });
    bench.run_to_closed(1);
    client.join().unwrap();
    assert_eq!(*log.borrow(), ["short", "writable", "short", "writable", "short", "writable"]);
}

#[test]
fn a_queue_has_a_limit_and_tells_when_it_has_drained() {
    let options = LoopOptions { tx_limit: 10_000, ..LoopOptions::default() };
    let mut bench = bench_with(options, |what, s, _| match what {
        "open" => {
            // Fill what the system takes, so that the rest has to be queued.
            while s.write_now(&[1; 65_536]).unwrap() > 0 {}
            assert_eq!(s.write(&[2; 15_000]).unwrap(), 10_000);
            assert_eq!((s.queued(), s.write(&[3]).unwrap()), (10_000, 0));
            assert!(matches!(s.write_now(&[4]), Err(Error::NotEmpty)));
        }
        "drained" => assert_eq!(s.queued(), 0),
        "writable" => {
            assert!(s.queued() <= 5000);
            s.finish().unwrap();
        }
        _ => {}
    });
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let (mut stream, mut all) = (TcpStream::connect(addr).unwrap(), Vec::new());
        stream.read_to_end(&mut all).unwrap();
        all.iter().filter(|byte| **byte == 2).count()
    });
    bench.run_to_closed(1);
    assert_eq!(client.join().unwrap(), 10_000);
    assert_eq!(bench.lp.loop_mut().stats().queued_peak, 10_000);
    assert!(bench.log().last().unwrap().starts_with("close Local { code: 0 }"), "{:?}", bench.log());
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
fn a_panic_in_a_callback_unwinds_out_of_run_and_closes_all() {
    let mut bench = bench(|what, _, _| assert!(what != "data", "on purpose"));
    let handle = bench.lp.handle();
    let mut clients = [TcpStream::connect(bench.addr).unwrap(), TcpStream::connect(bench.addr).unwrap()];
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 2).unwrap());
    clients[0].write_all(b"x").unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| bench.lp.run())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(handle.defer(|_| ()).unwrap_err().why, Why::Ended);
    assert!(!handle.is_running() && !handle.is_on_loop_thread());
    // The loop still exists, but its descriptors are closed.
    assert_eq!(clients[1].read(&mut [0; 1]).unwrap(), 0);
    assert!(TcpStream::connect(bench.addr).is_err());
    assert!(matches!(bench.lp.run(), Err(Error::Ended)));
}

#[test]
fn stopping_closes_every_socket_with_close() {
    let mut bench = bench(|what, s, _| {
        if what == "data" {
            s.loop_mut().stop();
        }
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    client.write_all(b"abc").unwrap();
    bench.lp.run().unwrap();
    assert_eq!(bench.log(), ["open Accepted", "opened", "close LoopEnded with 3 bytes"]);
    assert_eq!(client.read(&mut [0; 1]).map_err(|error| error.kind()), Ok(0));
}

#[test]
fn a_signal_is_a_callback_on_the_loop() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    set.on_signal(&[Signal::User1, Signal::Terminate], |lp, signal| {
        lp.data().push(signal);
        if signal == Signal::Terminate {
            lp.stop();
        } else {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        }
    })
    .unwrap();
    set.handle().keep_alive(true);
    let handle = set.handle();
    handle.keep_alive(true);
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1).unwrap();
    lp.run().unwrap();
    assert_eq!(*lp.loop_mut().data(), [Signal::User1, Signal::Terminate]);
}

#[test]
fn timers_fire_in_order_never_early_and_not_in_the_step_that_armed_them() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    let start = set.now();
    for (name, millis) in [("b", 5), ("a", 2), ("c", 5)] {
        set.add_timer(Duration::from_millis(millis), None, move |lp, tick| {
            assert!(lp.now() >= start.saturating_add(Duration::from_millis(millis)) && lp.now() >= tick.scheduled);
            let n = lp.iteration();
            lp.data().push((name, n));
            lp.add_timer(Duration::ZERO, None, move |lp, _| {
                assert_eq!(lp.iteration(), n + 1);
                lp.data().push(("next", n + 1));
            })
            .unwrap();
        })
        .unwrap();
    }
    lp.run().unwrap();
    let names: Vec<_> = lp.loop_mut().data().iter().map(|(name, _)| *name).filter(|name| *name != "next").collect();
    assert_eq!((names, lp.loop_mut().data().len()), (vec!["a", "b", "c"], 6));
}

#[test]
fn a_repeating_timer_keeps_its_phase_and_merges_what_it_missed() {
    let mut lp = Loop::with_data((Vec::new(), 0)).unwrap();
    let ms = Duration::from_millis;
    let id = lp
        .loop_mut()
        .add_timer(ms(2), Some(ms(2)), move |lp, tick| {
            if lp.data().0.is_empty() {
                // A callback that overruns several ticks.
                let until = std::time::Instant::now() + ms(9);
                while std::time::Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
            lp.data().0.push(tick.scheduled);
            // What was missed before the first tick lies before the span that is measured.
            let first = lp.data().0.len() == 1;
            lp.data().1 += if first { 1 } else { 1 + tick.missed };
            if lp.data().0.len() == 4 {
                lp.close(tick.id).unwrap();
            }
        })
        .unwrap();
    lp.run().unwrap();
    assert!(matches!(lp.loop_mut().reset(id, ms(1), None), Err(Error::Stale)));
    let (ticks, counted) = lp.loop_mut().data().clone();
    let span = ticks[3].as_micros() - ticks[0].as_micros();
    assert_eq!(span, (counted - 1) * 2000);
    assert!(counted >= 4 + 3, "{counted}");
}

#[test]
fn a_timer_can_be_replaced_reset_disarmed_and_kept() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let ms = Duration::from_millis;
    let mut set = lp.loop_mut();
    let kept = set.add_idle_timer(move |lp, tick| {
        lp.data().push("kept");
        if lp.data().len() < 3 {
            lp.reset(tick.id, ms(1), None).unwrap();
        }
    });
    assert_eq!(set.remaining(kept).unwrap(), None);
    set.reset_at(kept, set.now()).unwrap();
    let other = set.add_timer(Duration::from_secs(1000), None, |lp, _| lp.data().push("never")).unwrap();
    assert!(set.remaining(other).unwrap().unwrap() > Duration::from_secs(999));
    set.disarm(other).unwrap();
    let own = set
        .add_timer(ms(1), None, |lp, tick| lp.replace(tick.id, |lp, _| lp.data().push("replaced")).unwrap())
        .unwrap();
    lp.turn(Some(ms(10))).unwrap();
    lp.run_until(|lp| lp.remaining(own).is_err()).unwrap();
    lp.run().unwrap();
    assert_eq!(*lp.loop_mut().data(), ["kept", "kept", "kept"]);
}

#[test]
fn timer_spans_out_of_range_are_refused() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let max = u64::from(u32::MAX);
    let longest = Duration::from_millis(max);
    let id = set.add_timer(longest, Some(longest), |_, _| ()).unwrap();
    assert!(set.remaining(id).unwrap().unwrap() >= longest);
    let asked = |result: Result<_, Error>| match result {
        Err(Error::OutOfRange { asked, max }) => (asked, max),
        _ => panic!("not refused"),
    };
    assert_eq!(asked(set.reset(id, longest + Duration::from_millis(1), None)), (max + 1, max));
    assert_eq!(asked(set.reset(id, Duration::ZERO, Some(Duration::ZERO))), (0, 1));
}

#[test]
fn a_socket_is_reached_from_a_timer_and_its_own_data_is_busy_in_a_callback() {
    let found = Rc::new(RefCell::new(None));
    let (slot, key_slot) = (Rc::clone(&found), Rc::new(RefCell::new(None::<ContextKey<Probe>>)));
    let keys = Rc::clone(&key_slot);
    let mut bench = bench(move |what, s, _| {
        if what == "open" {
            let (id, key) = (s.id(), keys.borrow().unwrap());
            assert!(matches!(s.loop_mut().user(key, id), Err(Error::Busy)));
            assert!(matches!(s.loop_mut().with_socket(key, id, |_| ()), Err(Error::Busy)));
            let slot = Rc::clone(&slot);
            s.loop_mut()
                .add_timer(Duration::ZERO, None, move |lp, _| {
                    lp.user(key, id).unwrap().extend_from_slice(b"from the timer");
                    assert_eq!(lp.sockets(key).collect::<Vec<_>>(), [id]);
                    lp.with_socket(key, id, |s| {
                        let (data, stream) = s.split();
                        stream.write(data).unwrap();
                        stream.finish().unwrap();
                    })
                    .unwrap();
                    *slot.borrow_mut() = Some(id);
                })
                .unwrap();
        }
    });
    *key_slot.borrow_mut() = Some(bench.key);
    let addr = bench.addr;
    let client = thread::spawn(move || {
        let mut text = String::new();
        TcpStream::connect(addr).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    bench.run_to_closed(1);
    assert_eq!(client.join().unwrap(), "from the timer");
    assert!(found.borrow().is_some());
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
    assert_eq!(bench.log(), [format!("connect_error with 4 bytes: connect to {gone}: connection refused")]);
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
fn a_listener_pauses_by_hand_and_at_max_sockets() {
    let mut bench = bench(quiet);
    let key = bench.key;
    let options = ListenOptions { max_sockets: Some(1), ..ListenOptions::default() };
    let id = bench.lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, options).unwrap();
    let mut set = bench.lp.loop_mut();
    let mut listener = set.listener(id).unwrap();
    let addr = listener.local_addr();
    listener.pause();
    let clients = [TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap()];
    bench.lp.turn(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(bench.lp.loop_mut().stats().accepted, 0);
    bench.lp.loop_mut().listener(id).unwrap().resume();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(bench.lp.loop_mut().stats().accepted, 1);
    assert_eq!(bench.lp.loop_mut().listener(id).unwrap().sockets(), 1);
    let [first, second] = clients;
    drop(first);
    assert!(bench.lp.run_until(|lp| lp.stats().accepted == 2).unwrap());
    drop(second);
    bench.lp.loop_mut().listener(id).unwrap().close();
    bench.run_to_closed(2);
    assert!(matches!(bench.lp.loop_mut().listener(id), Err(Error::Stale)));
    assert!(TcpStream::connect(addr).is_err());
}

/// Rejects the first connection and takes the second out.
#[derive(Default)]
struct Doorman {
    seen: u32,
    taken: Rc<RefCell<Vec<std::os::fd::OwnedFd>>>,
}

impl Handler for Doorman {
    type Data = ();

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        self.seen += 1;
        assert!(raw.peer_addr().ip().is_loopback() && raw.as_fd().is_some());
        raw.set_buffers(Some(65_536), None).unwrap();
        if self.seen == 1 {
            return PreOpen::Reject;
        }
        self.taken.borrow_mut().push(raw.take().unwrap());
        assert!(raw.take().is_none() && raw.as_fd().is_none());
        PreOpen::Take
    }

    fn open(&mut self, _: &mut Socket<'_, (), ()>, _: Opened) {
        panic!("nothing is kept");
    }
}

#[test]
fn pre_open_rejects_and_takes() {
    let mut lp = Loop::new().unwrap();
    let doorman = Doorman::default();
    let taken = Rc::clone(&doorman.taken);
    let mut set = lp.loop_mut();
    let key = set.context(doorman);
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    let (mut first, mut second) = (TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap());
    assert!(lp.run_until(|lp| lp.stats().refused == 2).unwrap());
    assert_eq!(first.read(&mut [0; 1]).unwrap(), 0);
    let mut out = TcpStream::from(taken.borrow_mut().pop().unwrap());
    out.set_nonblocking(false).unwrap();
    second.write_all(b"x").unwrap();
    assert_eq!(out.read(&mut [0; 1]).unwrap(), 1);
}

#[test]
fn only_what_is_not_unrefed_keeps_the_loop_alive() {
    let mut bench = bench(quiet);
    let mut set = bench.lp.loop_mut();
    let timer = set.add_timer(Duration::from_secs(3600), None, |_, _| ()).unwrap();
    set.unref_timer(timer, true).unwrap();
    let key = bench.key;
    let id = bench.lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    bench.lp.loop_mut().listener(id).unwrap().unref(true);
    assert_eq!(bench.lp.turn(Some(Duration::ZERO)).unwrap(), wharf_host::event_loop::Turn::Alive);
    bench.lp.loop_mut().listener(id).unwrap().close();
    let first = bench.lp.loop_mut().listener(id).is_err();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert!(first);
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
