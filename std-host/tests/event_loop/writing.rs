//! Bytes to the peer: all of them, in order, within bounds.

use crate::harness::{bench, bench_with};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::thread;
use wharf_host::event_loop::{Error, LoopOptions, Socket};

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
