//! Writes that are held back for a moment, so that they leave together.

use crate::harness::{bench, bench_with, quiet};
use std::cell::RefCell;
use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;
use wharf_host::event_loop::{Error, Hook, LoopMut, LoopOptions, Socket, SocketId};

type Probed<'a, 'b> = &'a mut Socket<'b, (), Vec<u8>>;

/// Runs `act` once, in `open`, and then closes after what was written. Returns what the client got and the writes that
/// the system took.
fn open_with(act: impl Fn(Probed<'_, '_>) + 'static) -> (Vec<u8>, u64) {
    let mut bench = bench(move |what, s, _| {
        if what == "open" {
            act(s);
        } else if what == "drained" {
            panic!("nothing waited, so nothing drained");
        }
        let _ = s.shutdown();
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        got
    });
    bench.run_to_closed(1);
    (reader.join().unwrap(), bench.lp.loop_mut().stats().writes)
}

#[test]
fn corked_writes_leave_together_at_the_end_of_the_callback() {
    let (got, writes) = open_with(|s| {
        s.cork().unwrap();
        for word in [b"one ", b"two ", b"six "] {
            assert_eq!(s.write(word).unwrap(), 4);
        }
        assert_eq!(s.write2(b"and", b" ten").unwrap(), 7);
        assert_eq!(s.queued(), 19);
        assert_eq!(s.loop_mut().stats().writes, 0);
    });
    assert_eq!((got.as_slice(), writes), (b"one two six and ten".as_slice(), 1));
}

#[test]
fn a_flush_ends_the_cork() {
    let (got, writes) = open_with(|s| {
        s.cork().unwrap();
        s.write(b"now").unwrap();
        s.flush().unwrap();
        assert_eq!((s.queued(), s.loop_mut().stats().writes), (0, 1));
        s.write(b"direct").unwrap();
        assert_eq!((s.queued(), s.loop_mut().stats().writes), (0, 2));
    });
    assert_eq!((got.as_slice(), writes), (b"nowdirect".as_slice(), 2));
}

#[test]
fn a_plain_write_takes_along_what_was_gathered_before_it() {
    let (got, writes) = open_with(|s| {
        s.write_more(b"head ").unwrap();
        s.write_more(b"neck ").unwrap();
        assert_eq!((s.queued(), s.loop_mut().stats().writes), (10, 0));
        s.write2(b"body ", b"tail").unwrap();
        assert_eq!((s.queued(), s.loop_mut().stats().writes), (0, 1));
        s.write_more(b"!").unwrap();
        assert_eq!(s.queued(), 1);
    });
    // The last one is sent by the end that `shutdown` asks for.
    assert_eq!((got.as_slice(), writes), (b"head neck body tail!".as_slice(), 2));
}

#[test]
fn write_now_sends_what_was_gathered_first() {
    let (got, _) = open_with(|s| {
        s.write_more(b"first ").unwrap();
        assert_eq!(s.write_now(b"second").unwrap(), 6);
        assert_eq!(s.queued(), 0);
    });
    assert_eq!(got, b"first second");
}

#[test]
fn no_more_is_gathered_than_a_block() {
    let size = 16 * 1024;
    let (got, writes) = open_with(move |s| {
        s.cork().unwrap();
        s.write(&vec![1; size]).unwrap();
        assert_eq!((s.queued(), s.loop_mut().stats().writes), (size, 0));
        s.write(b"over").unwrap();
        assert_eq!((s.queued(), s.loop_mut().stats().writes), (0, 1));
        s.write(b"under").unwrap();
        assert_eq!((s.queued(), s.loop_mut().stats().writes), (5, 1));
    });
    assert_eq!((got.len(), writes), (size + 9, 2));
}

#[test]
fn the_cork_of_another_socket_lets_the_first_go() {
    let ids: Rc<RefCell<Vec<SocketId>>> = Rc::default();
    let seen = Rc::clone(&ids);
    let mut bench = bench(move |what, s, _| {
        if what != "open" {
            return;
        }
        seen.borrow_mut().push(s.id());
        let [first, second] = seen.borrow()[..] else { return };
        let lp = s.loop_mut();
        for (at, id) in [(0, first), (1, second)] {
            let mut stream = lp.stream(id).unwrap();
            stream.cork().unwrap();
            stream.write(b"x").unwrap();
            assert_eq!(lp.stats().writes, at, "the cork of one ends the other's");
        }
    });
    let clients = [TcpStream::connect(bench.addr).unwrap(), TcpStream::connect(bench.addr).unwrap()];
    assert!(bench.lp.run_until(|lp| lp.stats().writes == 2).unwrap());
    for mut client in clients {
        client.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn gathered_writes_leave_in_steps_three_and_eight() {
    let mut bench = bench(quiet);
    let ids: Rc<RefCell<Vec<SocketId>>> = Rc::default();
    let _client = TcpStream::connect(bench.addr).unwrap();
    let key = bench.key;
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 1).unwrap());
    ids.borrow_mut().extend(bench.lp.loop_mut().sockets(key));
    let id = ids.borrow()[0];
    // A hook comes before step 3, a callback of step 5 before step 8.
    let mut hooks = 0;
    bench.lp.loop_mut().before_poll(move |lp| {
        hooks += 1;
        if hooks == 1 {
            lp.stream(id).unwrap().write_more(b"hook").unwrap();
            assert_eq!(lp.stats().writes, 0);
        }
        Hook::Busy
    });
    let writes = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&writes);
    bench
        .lp
        .loop_mut()
        .add_timer(std::time::Duration::ZERO, None, move |lp, _| {
            seen.borrow_mut().push(lp.stats().writes);
            lp.stream(id).unwrap().write_more(b"timer").unwrap();
            seen.borrow_mut().push(lp.stats().writes);
        })
        .unwrap();
    let seen = Rc::clone(&writes);
    bench.lp.loop_mut().after_poll(move |lp| seen.borrow_mut().push(lp.stats().writes));
    bench.lp.turn(None).unwrap();
    assert_eq!(*writes.borrow(), [1, 1, 2]);
}

#[test]
fn a_cork_lasts_no_longer_than_its_callback() {
    let mut bench = bench(quiet);
    let _client = TcpStream::connect(bench.addr).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 1).unwrap());
    let id = bench.lp.loop_mut().sockets(bench.key).next().unwrap();
    let now = std::time::Duration::ZERO;
    let corks = move |lp: &mut LoopMut<'_>, _| {
        let mut stream = lp.stream(id).unwrap();
        stream.cork().unwrap();
        stream.write(b"corked").unwrap();
        assert_eq!(stream.queued(), 6);
    };
    bench.lp.loop_mut().add_timer(now, None, corks).unwrap();
    let looks = move |lp: &mut LoopMut<'_>, _| assert_eq!(lp.stream(id).unwrap().queued(), 0);
    bench.lp.loop_mut().add_timer(now, None, looks).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().timers_fired == 2).unwrap());
}

#[test]
fn bytes_that_are_gathered_and_stuck_drain_like_others() {
    const MUCH: usize = 16 << 20;
    let options = LoopOptions { tx_limit: 64 * 1024, ..LoopOptions::default() };
    let left = Rc::new(RefCell::new(MUCH));
    let drained = Rc::new(RefCell::new(0));
    let count = Rc::clone(&drained);
    let mut bench = bench_with(options, move |what, s, _| {
        if what == "drained" {
            *count.borrow_mut() += 1;
        }
        if what == "open" || what == "writable" {
            let mut left = left.borrow_mut();
            s.cork().unwrap();
            while *left > 0 {
                let part = [7; 1000];
                let taken = s.write(&part[..part.len().min(*left)]).unwrap();
                *left -= taken;
                if taken < part.len() {
                    break;
                }
            }
            if *left == 0 {
                s.shutdown().unwrap();
            }
        }
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    // The client reads nothing before the system has had enough.
    assert!(bench.lp.run_until(|lp| lp.stats().queued > 0).unwrap());
    let reader = std::thread::spawn(move || {
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        got.len()
    });
    bench.run_to_closed(1);
    assert_eq!(reader.join().unwrap(), MUCH);
    assert!(*drained.borrow() > 0);
}

#[test]
fn a_closed_or_shut_down_socket_gathers_nothing() {
    let (got, _) = open_with(|s| {
        s.write_more(b"kept").unwrap();
        s.shutdown().unwrap();
        assert!(matches!(s.cork(), Err(Error::ShutDown)));
        assert!(matches!(s.write_more(b"lost"), Err(Error::ShutDown)));
        assert!(matches!(s.flush(), Err(Error::ShutDown)));
    });
    assert_eq!(got, b"kept");
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            s.cork().unwrap();
            s.write(b"dropped").unwrap();
            s.close(3);
            assert!(matches!(s.flush(), Err(Error::Closed)));
        }
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    bench.run_to_closed(1);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(bench.lp.loop_mut().stats().unsent, 7);
}
