//! What a reader gets, when, and in which order.

use super::{
    ALL, AT_ONCE, ONE, PATIENT, SOON, at_once, caller, ended, port, read, until, until_received, until_waiting,
};
use crate::harness::{CNT_END, PATIENCE};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wharf_core::port::datagrams::Pending;
use wharf_core::port::framing::Eom;
use wharf_host::services::port::report::Level;
use wharf_host::services::port::udp::{Origin, Outcome, UdpPort};
use wharf_host::services::port::{Addr, Error};

#[test]
fn a_waiting_reader_is_woken_by_a_datagram() {
    let port = port(&[]);
    let caller = caller(&port);
    for timeout in [None, PATIENT] {
        let reader = port.port();
        thread::scope(|scope| {
            let waits = scope.spawn(move || {
                let mut buffer = [b'-'; 8];
                (reader.read(ONE, &mut buffer, timeout), buffer)
            });
            until_waiting(&port, 1);
            let before = port.run(|port| port.now()).unwrap();
            caller.send(b"hello").unwrap();
            let (read, buffer) = waits.join().unwrap();
            let read = read.unwrap();
            assert_eq!((&buffer, read.len, read.eom), (b"hello---", 5, Eom::END));
            let Origin { peer, truncated, at } = read.from.unwrap();
            assert_eq!((peer, truncated), (caller.local_addr().unwrap(), false));
            assert!(at >= before, "it came after it was waited for");
        });
    }
}

#[test]
fn readers_are_served_in_the_order_of_their_calls() {
    let port = port(&[]);
    let caller = caller(&port);
    let texts = ["nought", "one", "two", "three", "four"];
    thread::scope(|scope| {
        let readers: Vec<_> = (0..texts.len())
            .map(|number| {
                let reader = port.port();
                let waits = scope.spawn(move || read(&reader, 16, PATIENT));
                until_waiting(&port, number + 1);
                waits
            })
            .collect();
        // Who cannot wait goes as it came, and so does who waits a little behind them.
        assert_eq!(read(&port, 16, AT_ONCE), Err(Error::Timeout { bytes: 0 }));
        assert_eq!(read(&port, 16, SOON), Err(Error::Timeout { bytes: 0 }));
        assert_eq!(port.run(|port| port.waiting()), Ok(texts.len()));
        // On one socket they come in the order in which they were sent.
        texts.iter().for_each(|text| assert_eq!(caller.send(text.as_bytes()).unwrap(), text.len()));
        let got: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap().unwrap()).collect();
        assert_eq!(got, texts.map(|text| (text.as_bytes().to_vec(), Eom::END)));
    });
}

#[test]
fn a_waiting_reader_blocks_nobody() {
    let port = port(&[]);
    let caller = caller(&port);
    let (reader, peer) = (port.port(), caller.local_addr().unwrap());
    caller.send(b"first").unwrap();
    assert_eq!(read(&port, 8, PATIENT), Ok((b"first".to_vec(), Eom::END)));
    let waits = thread::spawn(move || read(&reader, 8, None));
    until_waiting(&port, 1);
    assert_eq!(at_once(&port, |port| port.write(ONE, b"answer", None)), Ok(6));
    assert_eq!(at_once(&port, |port| port.write(ALL, b"to all", None)), Ok(6));
    assert_eq!(at_once(&port, move |port| port.reply(peer, b"by name", None)), Ok(()));
    let told = at_once(&port, |port| port.broadcast(b"once more", None)).unwrap();
    assert_eq!(told.outcomes, [(peer, Outcome::Queued)]);
    for text in ["answer", "to all", "by name", "once more"] {
        assert_eq!(crate::harness::hear(&caller), text.as_bytes());
    }
    assert_eq!(at_once(&port, |port| port.drain(ALL, None)), Ok(()));
    assert_eq!(at_once(&port, |port| port.flush(ONE)), Ok(0));
    assert_eq!(at_once(&port, |port| port.peer(ONE)), Ok(Some(peer)));
    assert_eq!(at_once(&port, |port| port.pending(ONE)), Ok(Pending { rx: 0, tx: 0 }));
    assert_eq!(at_once(&port, UdpPort::leave), Ok(()));
    assert_eq!(at_once(&port, |port| port.connect(None)), Ok(()));
    let report = at_once(&port, |port| port.run(|port| port.report(Level::Slots).to_string())).unwrap();
    assert!(report.contains("received 1  sent 4"), "{report}");
    assert_eq!(port.run(|port| port.waiting()), Ok(1), "none of this ends the read");
    caller.send(b"second").unwrap();
    assert_eq!(ended(waits), Ok((b"second".to_vec(), Eom::END)));
}

#[test]
fn nothing_in_time_is_a_timeout_and_a_reader_that_has_gone_takes_nothing_along() {
    let port = port(&[]);
    let caller = caller(&port);
    for timeout in [AT_ONCE, SOON, AT_ONCE, SOON] {
        assert_eq!(read(&port, 8, timeout), Err(Error::Timeout { bytes: 0 }));
    }
    assert_eq!(port.run(|port| port.waiting()), Ok(0));
    caller.send(b"for the next").unwrap();
    until_received(&port, 1);
    assert_eq!(read(&port, 20, AT_ONCE), Ok((b"for the next".to_vec(), Eom::END)));
}

#[test]
fn a_rest_is_kept_or_lost_and_an_empty_datagram_is_an_end() {
    let port = port(&[]);
    let caller = caller(&port);
    caller.send(b"0123456789").unwrap();
    caller.send(b"").unwrap();
    caller.send(b"abcdefgh").unwrap();
    caller.send(b"ij").unwrap();
    assert_eq!(read(&port, 4, PATIENT), Ok((b"0123".to_vec(), Eom::CNT)));
    assert_eq!(read(&port, 6, PATIENT), Ok((b"456789".to_vec(), CNT_END)));
    assert_eq!(read(&port, 6, PATIENT), Ok((vec![], Eom::END)));
    port.set_option(ONE, "rest", "discard").unwrap();
    assert_eq!(port.option(ALL, "rest"), Ok("discard".to_owned()));
    assert_eq!(read(&port, 4, PATIENT), Ok((b"abcd".to_vec(), Eom::CNT)));
    assert_eq!(read(&port, 4, PATIENT), Ok((b"ij".to_vec(), Eom::END)));
    assert_eq!(port.run(|port| port.counters().unread), Ok(1));
}

#[test]
fn what_cannot_be_read_into_or_from_is_refused_at_once() {
    let port = port(&[]);
    let caller = caller(&port);
    assert_eq!(at_once(&port, |port| port.read(ONE, &mut [], None)), Err(Error::EmptyBuffer));
    let outside = Error::OutOfRange { addr: 1, slots: 1 };
    let other = Addr::Slot(1);
    assert_eq!(at_once(&port, move |port| port.read(other, &mut [0; 1], None)), Err(outside.clone()));
    assert_eq!(at_once(&port, move |port| port.write(other, b"x", None)), Err(outside.clone()));
    assert_eq!(port.drain(other, None), Err(outside.clone()));
    assert_eq!(port.flush(other), Err(outside.clone()));
    assert_eq!(port.peer(other), Err(outside.clone()));
    assert_eq!(port.pending(other), Err(outside.clone()));
    assert_eq!(port.option(other, "rest"), Err(outside));
    // Nothing has changed by all that.
    caller.send(b"still").unwrap();
    let read = port.read(ALL, &mut [0; 70_000], PATIENT).unwrap();
    assert_eq!((read.len, read.eom), (5, Eom::END));
}

#[test]
fn reader_and_flush_race_cleanly() {
    const DATAGRAMS: u32 = 20_000;
    /// As many are on their way at a time as the system surely has room for.
    const AHEAD: u32 = 50;
    let port = port(&[("depth", "4096")]);
    let caller = caller(&port);
    let (reader, flusher) = (port.port(), port.port());
    let done = AtomicBool::new(false);
    let (pieces, flushed) = thread::scope(|scope| {
        // Each datagram is a number twice, and takes two reads.
        let pieces = scope.spawn(move || {
            let (mut buffer, mut pieces) = ([0; 4], Vec::new());
            loop {
                match reader.read(ONE, &mut buffer, None) {
                    Ok(read) => {
                        assert_eq!(read.len, 4);
                        pieces.push((u32::from_be_bytes(buffer), read.eom));
                    }
                    Err(error) => {
                        assert_eq!(error, Error::NotConnected);
                        return pieces;
                    }
                }
            }
        });
        let flushed = scope.spawn(|| {
            let mut flushed = 0;
            while !done.load(Ordering::Relaxed) {
                flushed += flusher.flush(ONE).unwrap();
            }
            flushed
        });
        for number in 1..=DATAGRAMS {
            let half = number.to_be_bytes();
            caller.send(&[half, half].concat()).unwrap();
            if number % AHEAD == 0 {
                until_received(&port, number.into());
            }
        }
        until_received(&port, DATAGRAMS.into());
        until(|| port.pending(ONE).unwrap().rx == 0);
        done.store(true, Ordering::Relaxed);
        let flushed = flushed.join().unwrap();
        port.disconnect().unwrap();
        (pieces.join().unwrap(), flushed)
    });
    let counters = port.run(|port| port.counters()).unwrap();
    assert_eq!((counters.received, counters.dropped_full), (DATAGRAMS.into(), 0));
    assert_eq!(4 * pieces.len() + flushed, 8 * DATAGRAMS as usize, "each byte is read or flushed, and once");
    // A second half comes right after its first; what is flushed between them is the second half alone.
    let mut last = (0, CNT_END);
    for (number, eom) in pieces {
        if eom == Eom::CNT {
            assert!(number > last.0, "{number} comes too late or twice");
        } else {
            assert_eq!(((number, Eom::CNT), eom), (last, CNT_END), "a second half without its first");
        }
        last = (number, eom);
    }
}

#[test]
fn many_readers_get_each_datagram_once() {
    const DATAGRAMS: u32 = 5000;
    let port = port(&[("depth", "4096")]);
    let caller = caller(&port);
    let mut numbers: Vec<u32> = thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|number| {
                let reader = port.port();
                scope.spawn(move || {
                    let (mut buffer, mut numbers) = ([0; 8], Vec::new());
                    loop {
                        // Some give up now and then, and come again: one at once, and one while others wait.
                        let timeout = [None, AT_ONCE, Some(Duration::from_micros(20)), PATIENT][number];
                        match reader.read(ONE, &mut buffer, timeout) {
                            Ok(_) => numbers.push(u32::from_be_bytes(buffer[..4].try_into().unwrap())),
                            Err(Error::Timeout { bytes: 0 }) => thread::yield_now(),
                            Err(error) => {
                                assert_eq!(error, Error::NotConnected);
                                return numbers;
                            }
                        }
                    }
                })
            })
            .collect();
        for number in 0..DATAGRAMS {
            caller.send(&number.to_be_bytes()).unwrap();
            if number % 50 == 49 {
                until_received(&port, u64::from(number) + 1);
            }
        }
        let end = Instant::now() + PATIENCE;
        while port.run(|port| port.counters().received < u64::from(DATAGRAMS) || port.pending().rx > 0).unwrap() {
            assert!(Instant::now() < end, "not all is read");
        }
        port.disconnect().unwrap();
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..DATAGRAMS), "each once");
}
