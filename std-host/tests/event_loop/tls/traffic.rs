//! Bytes through TLS: all of them, in order, within bounds, and how each side ends.

use super::{MUCH, Probed, Reader, bench, bench_with, end, pattern, read_all, with_client};
use crate::certificates::{Authority, dial};
use crate::harness::quiet;
use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{
    CloseReason, Closed, ConnectOptions, Error, Handler, ListenOptions, Loop, LoopMut, LoopOptions, Opened, TlsBuilder,
};

#[test]
fn a_tls_socket_sees_open_then_its_bytes_then_end_then_one_close() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), quiet);
    let back = with_client(&mut bench, &authority, |client| {
        client.write_all(&[7; 300_000]).unwrap();
        end(client);
        read_all(client)
    });
    assert_eq!(back, b"");
    assert_eq!(bench.log(), ["open Accepted", "opened", "end after 300000", "close Peer with 300000 bytes"]);
    let stats = bench.lp.loop_mut().stats();
    assert_eq!((stats.handshakes, stats.handshakes_failed, stats.handshakes_resumed), (1, 0, 0));
    assert!(stats.bytes_in > 300_000 && stats.handshakes_waiting == 0, "{stats:?}");
}

/// Sends the pattern and gathers what comes back.
struct Sender {
    all: Vec<u8>,
    at: usize,
}

impl Sender {
    fn send(&mut self, s: &mut Probed<'_>) {
        self.at += s.write(&self.all[self.at..]).unwrap();
        if self.at == self.all.len() && !s.is_shut_down() {
            s.shutdown().unwrap();
        }
    }
}

impl Handler for Sender {
    type Data = Vec<u8>;

    fn open(&mut self, s: &mut Probed<'_>, how: Opened) {
        assert_eq!(how, Opened::Connected);
        self.send(s);
    }

    fn data(&mut self, s: &mut Probed<'_>, bytes: &[u8]) {
        s.data().extend_from_slice(bytes);
    }

    fn writable(&mut self, s: &mut Probed<'_>) {
        if self.at < self.all.len() {
            self.send(s);
        }
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<Vec<u8>>) {
        assert!(matches!(closed.reason, CloseReason::Peer), "{:?}", closed.reason);
        assert!(closed.data == self.all);
        assert_eq!((closed.sent, closed.received, closed.unsent), (MUCH as u64, MUCH as u64, 0));
    }
}

#[test]
fn an_echo_between_two_sockets_of_one_loop_returns_every_byte() {
    /// Sends what is owed, and takes no more while something is.
    fn pump(s: &mut Probed<'_>) {
        let (owed, stream) = s.split();
        let taken = stream.write(owed).unwrap();
        owed.drain(..taken);
        if owed.is_empty() { stream.resume().unwrap() } else { stream.pause().unwrap() }
    }
    let authority = Authority::new();
    for version in ["1.2", "1.3"] {
        let config = authority.builder("127.0.0.1").versions([version]).server().unwrap();
        let options = LoopOptions { tx_limit: 100_000, ..LoopOptions::default() };
        let mut bench = bench_with(&config, options, |what, s, _| match what {
            "data" | "writable" => pump(s),
            _ => {}
        });
        let client = TlsBuilder::new().ca(authority.pem()).client().unwrap();
        let mut lp = bench.lp.loop_mut();
        let key = lp.context(Sender { all: pattern(), at: 0 });
        lp.connect_tls(bench.addr, key, Vec::new(), &client, ConnectOptions::default()).unwrap();
        bench.run_to_closed(2);
        assert_eq!(bench.log().last().unwrap(), "close Peer with 0 bytes");
        let stats = bench.lp.loop_mut().stats();
        assert!(stats.short_writes > 0 && stats.queued == 0 && stats.queued_peak <= 200_000, "{stats:?}");
    }
}

/// The socket sends the pattern by `send`, which is called in `open` and in `writable` until all is taken.
fn arrives_whole(send: impl Fn(&mut Probed<'_>, &[u8]) -> usize + 'static) {
    let authority = Authority::new();
    let (all, mut at) = (pattern(), 0);
    // The client reads nothing before the first write, or the system might take all of it at once.
    let (started, start) = std::sync::mpsc::channel();
    let mut bench = bench(&authority.server("localhost"), move |what, s, _| {
        if (what == "open" || what == "writable") && at < all.len() {
            at += send(s, &all[at..]);
            started.send(()).unwrap();
            if at == all.len() {
                s.shutdown().unwrap();
            }
        }
    });
    let (back, _start) = with_client(&mut bench, &authority, |client| {
        client.flush().unwrap();
        start.recv().unwrap();
        let back = read_all(client);
        end(client);
        (back, start)
    });
    assert!(back == pattern());
    let stats = bench.lp.loop_mut().stats();
    assert!(stats.short_writes > 0 && stats.bytes_out > MUCH as u64 && stats.queued == 0, "{stats:?}");
    assert!(bench.log().last().unwrap().starts_with("close Peer"), "{:?}", bench.log());
}

#[test]
fn a_short_write_is_resumed_by_every_kind_of_write() {
    arrives_whole(|s, rest| s.write(rest).unwrap());
    arrives_whole(|s, rest| {
        let (head, body) = rest.split_at(rest.len() / 3);
        s.write2(head, body).unwrap()
    });
    arrives_whole(|s, rest| s.write_now(rest).unwrap());
    arrives_whole(|s, rest| s.write_now2(&rest[..1], &rest[1..]).unwrap());
    arrives_whole(|s, rest| {
        s.cork().unwrap();
        rest.chunks(1000).map_while(|chunk| Some(s.write(chunk).unwrap()).filter(|taken| *taken > 0)).sum()
    });
}

#[test]
fn small_writes_fill_one_record() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), |what, s, bytes| match bytes {
        b"more" if what == "data" => {
            for _ in 0..1000 {
                assert_eq!(s.write_more(b"0123456789").unwrap(), 10);
            }
        }
        b"cork" if what == "data" => {
            s.cork().unwrap();
            for _ in 0..1000 {
                assert_eq!(s.write(b"0123456789").unwrap(), 10);
            }
        }
        _ => {}
    });
    with_client(&mut bench, &authority, |client| {
        for word in [b"more", b"cork"] {
            client.write_all(word).unwrap();
            // The library's reader hands out one record at a time.
            let mut buffer = [0; 20_000];
            assert_eq!(client.read(&mut buffer).unwrap(), 10_000);
        }
        end(client);
    });
}

#[test]
fn the_queue_counts_what_the_user_wrote() {
    let authority = Authority::new();
    let options = LoopOptions { tx_limit: 10_000, ..LoopOptions::default() };
    let (filled, fill) = std::sync::mpsc::channel();
    let mut bench = bench_with(&authority.server("localhost"), options, move |what, s, _| match what {
        "open" => {
            let mut all = 0;
            loop {
                let taken = s.write_now(&[1; 65_536]).unwrap();
                all += taken;
                if taken < 65_536 || s.queued() > 0 {
                    break;
                }
            }
            assert_eq!(s.write_now(&[1]).unwrap(), 0);
            // Ciphertext of whole records waits, and is counted as what it was.
            let sealed = s.queued();
            assert!((1..=65_536).contains(&sealed), "{sealed}");
            assert_eq!(s.write(&[2; 15_000]).unwrap(), 10_000_usize.saturating_sub(sealed));
            filled.send(all).unwrap();
        }
        "drained" => assert_eq!(s.queued(), 0),
        "writable" => {
            assert!(s.queued() <= 5000);
            s.finish().unwrap();
        }
        _ => {}
    });
    let (all, ones) = with_client(&mut bench, &authority, move |client| {
        client.flush().unwrap();
        let all = fill.recv().unwrap();
        let back = read_all(client);
        end(client);
        (all, back.iter().filter(|byte| **byte == 1).count())
    });
    assert_eq!(ones, all);
    let log = bench.log();
    assert_eq!(log.iter().filter(|line| *line == "drained").count(), 1, "{log:?}");
    assert!(log.last().unwrap().starts_with("close Local { code: 0 }"), "{log:?}");
}

#[test]
fn limit_read_counts_plain_bytes() {
    let authority = Authority::new();
    let stops = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&stops);
    let mut bench = bench(&authority.server("localhost"), move |what, s, _| {
        if what == "open" {
            s.limit_read(3).unwrap();
        }
        // Bytes come to a stop here exactly, in the middle of a record that has arrived as a whole.
        let next = match s.data().len() {
            3 => 20_000,
            20_003 => u64::MAX,
            _ => return,
        };
        let (id, stops) = (s.id(), Rc::clone(&seen));
        let go_on = move |lp: &mut LoopMut<'_>, _| {
            stops.borrow_mut().push(next);
            lp.stream(id).unwrap().limit_read(next).unwrap();
        };
        s.loop_mut().add_timer(Duration::from_millis(1), None, go_on).unwrap();
    });
    with_client(&mut bench, &authority, |client| {
        client.write_all(b"abcdefgh").unwrap();
        client.write_all(&[0; 50_000]).unwrap();
        end(client);
        assert_eq!(read_all(client), b"");
    });
    assert_eq!(*stops.borrow(), [20_000, u64::MAX]);
    assert_eq!(bench.log()[2..], ["end after 50008", "close Peer with 50008 bytes"]);
}

#[test]
fn a_handler_may_read_by_itself() {
    let authority = Authority::new();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Reader(Rc::clone(&seen)));
    let server = authority.server("localhost");
    let id = set.listen_tls("127.0.0.1:0".parse().unwrap(), key, &server, ListenOptions::default()).unwrap();
    let addr = set.listener(id).unwrap().local_addr();
    let config = authority.client();
    let client = thread::spawn(move || {
        let mut client = dial(addr, &config, "localhost");
        client.write_all(&[5; 20_000]).unwrap();
        end(&mut client);
        read_all(&mut client)
    });
    assert!(lp.run_until(|lp| lp.stats().opened == 1 && lp.stats().sockets == 0).unwrap());
    assert_eq!(client.join().unwrap(), b"");
    assert_eq!(*seen.borrow(), [5; 20_000]);
}

#[test]
fn each_side_may_end_first_and_the_other_goes_on() {
    let authority = Authority::new();
    let mut ours = bench(&authority.server("localhost"), |what, s, _| {
        if what == "open" {
            s.write(b"bye").unwrap();
            s.shutdown().unwrap();
            assert!(s.is_shut_down());
            assert!(matches!(s.write(b"x"), Err(Error::ShutDown)));
        }
    });
    with_client(&mut ours, &authority, |client| {
        assert_eq!(read_all(client), b"bye");
        client.write_all(&[1; 100_000]).unwrap();
        end(client);
    });
    assert_eq!(ours.log(), ["open Accepted", "opened", "end after 100000", "close Peer with 100000 bytes"]);

    let mut theirs = bench(&authority.server("localhost"), |what, s, _| {
        if what == "end" {
            assert_eq!(s.write(&[2; 500_000]).unwrap(), 500_000);
        }
    });
    let back = with_client(&mut theirs, &authority, |client| {
        client.write_all(b"bye").unwrap();
        end(client);
        read_all(client)
    });
    assert!(back == [2; 500_000]);
    let log = theirs.log();
    assert_eq!((&*log[2], &**log.last().unwrap()), ("end after 3", "close Peer with 3 bytes"), "{log:?}");
}

#[test]
fn a_missing_close_notify_is_truncation() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), quiet);
    with_client(&mut bench, &authority, |client| {
        client.write_all(&[7; 300_000]).unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        // The server says its end, because nothing of its own is lost.
        let _ = client.read_to_end(&mut Vec::new());
    });
    assert_eq!(bench.log(), ["open Accepted", "opened", "close Truncated with 300000 bytes"]);
    assert_eq!(bench.lp.loop_mut().stats().closed_failed, 1);
}

#[test]
fn whoever_finishes_or_discards_misses_no_close_notify() {
    let authority = Authority::new();
    for word in ["finish", "discard"] {
        let mut bench = bench(&authority.server("localhost"), move |what, s, _| match what {
            "open" if word == "finish" => s.finish().unwrap(),
            "open" => {
                s.shutdown_read().unwrap();
                s.write(b"bye").unwrap();
                s.shutdown().unwrap();
            }
            _ => {}
        });
        let back = with_client(&mut bench, &authority, |client| {
            client.write_all(b"whatever").unwrap();
            let back = read_all(client);
            client.sock.shutdown(Shutdown::Write).unwrap();
            back
        });
        assert_eq!(back, if word == "finish" { &b""[..] } else { b"bye" });
        let reason = if word == "finish" { "Local { code: 0 }" } else { "Peer" };
        assert_eq!(bench.log()[2..], [format!("close {reason} with 0 bytes")]);
    }
}

#[test]
fn a_close_that_loses_nothing_is_no_truncation_for_the_peer() {
    let authority = Authority::new();
    let mut closing = bench(&authority.server("localhost"), |what, s, _| {
        if what == "data" {
            s.write(b"bye").unwrap();
            s.close(5);
        }
    });
    let back = with_client(&mut closing, &authority, |client| {
        client.write_all(b"x").unwrap();
        read_all(client)
    });
    assert_eq!(back, b"bye");

    let mut aborting = bench(&authority.server("localhost"), |what, s, _| {
        if what == "data" {
            s.abort();
        }
    });
    let error = with_client(&mut aborting, &authority, |client| {
        client.write_all(b"x").unwrap();
        client.read(&mut [0; 1]).unwrap_err().kind()
    });
    assert_eq!(error, ErrorKind::ConnectionReset);
    assert_eq!(aborting.log().last().unwrap(), "close Aborted with 1 bytes");
}

#[test]
fn a_damaged_record_closes_the_socket_after_the_good_ones() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), quiet);
    let heard = with_client(&mut bench, &authority, |client| {
        client.write_all(b"good").unwrap();
        client.sock.write_all(&[23, 3, 3, 0, 20]).unwrap();
        client.sock.write_all(&[0; 20]).unwrap();
        client.read(&mut [0; 1]).unwrap_err().to_string()
    });
    assert!(heard.contains("BadRecordMac"), "{heard}");
    let last = bench.log().last().unwrap().clone();
    assert!(last.starts_with("close Failed(Tls { object: \"127.0.0.1:") && last.ends_with("with 4 bytes"), "{last}");
}

#[test]
fn a_new_key_in_the_middle_is_answered() {
    let authority = Authority::new();
    let mut bench = bench(&authority.server("localhost"), |what, s, bytes| {
        if what == "data" {
            s.write(bytes).unwrap();
        }
    });
    with_client(&mut bench, &authority, |client| {
        let mut back = [0; 4];
        for _ in 0..3 {
            client.write_all(b"ping").unwrap();
            client.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"ping");
            client.conn.refresh_traffic_keys().unwrap();
        }
        end(client);
        assert_eq!(read_all(client), b"");
    });
}
