//! `udp = "asyn"` for threads: the partial reads of section 15 of the ports specification, and who keeps the cache.

use super::{ALL, AT_ONCE, ONE, PATIENT, SOON, at_once, caller, port, read, until, until_received};
use crate::harness::{CNT_END, PATIENCE, pattern};
use std::net::UdpSocket;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use wharf_core::port::framing::Eom;
use wharf_host::services::port::udp::{Event, RunningUdp, UdpPort, UdpTold};
use wharf_host::services::port::{Error, Events, Threaded};

const ASYN: (&str, &str) = ("udp", "asyn");

/// A port to which these datagrams have been sent, the first of which is cached.
fn cached(datagrams: &[&[u8]]) -> (Threaded<UdpPort>, UdpSocket) {
    let port = port(&[ASYN]);
    let caller = caller(&port);
    datagrams.iter().for_each(|payload| assert_eq!(caller.send(payload).unwrap(), payload.len()));
    until_received(&port, 1);
    (port, caller)
}

/// Reads by count. None of them waits, whatever it is allowed to.
fn reads(port: &UdpPort, rooms: &[usize]) -> Vec<(Vec<u8>, Eom)> {
    let timeouts = [None, AT_ONCE, PATIENT].into_iter().cycle();
    rooms
        .iter()
        .zip(timeouts)
        .map(|(&room, timeout)| at_once(port, move |port| read(port, room, timeout)).unwrap())
        .collect()
}

#[test]
fn partial_reads_of_more_than_a_datagram_give_one_each() {
    let long = pattern(200);
    let (port, _caller) = cached(&[&long, b"HI"]);
    assert_eq!(reads(&port, &[4096, 4096]), [(long, Eom::END), (b"HI".to_vec(), Eom::END)]);
}

#[test]
fn partial_reads_of_less_than_a_datagram_give_it_in_parts() {
    let (port, _caller) = cached(&[b"0123456789"]);
    let parts = [(b"0123".to_vec(), Eom::CNT), (b"4567".to_vec(), Eom::CNT), (b"89".to_vec(), Eom::END)];
    assert_eq!(reads(&port, &[4, 4, 4]), parts);

    let (port, _caller) = cached(&[b"AB"]);
    let parts = [(b"A".to_vec(), Eom::CNT), (b"B".to_vec(), CNT_END), (vec![], Eom::NONE)];
    assert_eq!(reads(&port, &[1, 1, 1]), parts);
}

#[test]
fn partial_reads_of_just_a_datagram_and_of_nothing() {
    let (port, _caller) = cached(&[b"12345678"]);
    assert_eq!(reads(&port, &[8]), [(b"12345678".to_vec(), CNT_END)]);
    for timeout in [None, PATIENT, SOON, AT_ONCE] {
        assert_eq!(at_once(&port, move |port| read(port, 64, timeout)), Ok((vec![], Eom::NONE)));
    }
    let nothing = port.read(ALL, &mut [0; 64], PATIENT).unwrap();
    assert_eq!((nothing.len, nothing.from), (0, None));
}

#[test]
fn partial_reads_after_a_flush_begin_with_the_next_datagram() {
    let (port, _caller) = cached(&[b"AB", b"CD"]);
    assert_eq!(reads(&port, &[1]), [(b"A".to_vec(), Eom::CNT)]);
    assert_eq!((port.pending(ONE).unwrap().rx, port.flush(ONE)), (1, Ok(1)));
    assert_eq!(reads(&port, &[4]), [(b"CD".to_vec(), Eom::END)]);
    assert_eq!(port.flush(ONE), Ok(0));
}

#[test]
fn ten_datagrams_with_subscribers_only_are_ten_deliveries() {
    let port = port(&[ASYN]);
    let (events, caller) = (port.subscribe().unwrap(), caller(&port));
    let sent: Vec<_> = (0..10).map(|number| pattern(number * 7)).collect();
    sent.iter().for_each(|payload| assert_eq!(caller.send(payload).unwrap(), payload.len()));
    assert_eq!((0..10).map(|_| datagram(&events)).collect::<Vec<_>>(), sent);
    // With the last one all has been told, once the loop answers.
    let counters = port.run(|port| port.counters()).unwrap();
    assert_eq!((counters.received, counters.empty, counters.unread), (10, 1, 0));
    assert_eq!(events.try_next(), None, "each once");
}

/// The next datagram that a subscriber gets.
fn datagram(events: &Events<UdpTold>) -> Vec<u8> {
    loop {
        if let UdpTold::Datagram { bytes, .. } = events.next(PATIENT).expect("it is told in time") {
            return bytes;
        }
    }
}

#[test]
fn readers_that_call_together_get_a_datagram_each() {
    // Often enough the loop sees their calls at once.
    for mode in ["asyn", "fifo"].into_iter().cycle().take(60) {
        let port = port(&[("udp", mode)]);
        let caller = caller(&port);
        for payload in [b"1", b"2", b"3"] {
            caller.send(payload).unwrap();
        }
        until_received(&port, if mode == "asyn" { 1 } else { 3 });
        let (release, held) = hold(&port);
        let (sender, receiver) = mpsc::channel();
        for timeout in [AT_ONCE, None, PATIENT] {
            let (reader, sender) = (port.port(), sender.clone());
            // It ends with the loop at the latest.
            thread::spawn(move || sender.send(read(&reader, 8, timeout)));
        }
        thread::yield_now();
        drop(release);
        held.join().unwrap();
        let mut got: Vec<_> =
            (0..3).map(|_| receiver.recv_timeout(PATIENCE).expect("there is one for each").unwrap()).collect();
        got.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        assert_eq!(got, ["1", "2", "3"].map(|text| (text.as_bytes().to_vec(), Eom::END)), "{mode}");
    }
}

/// Holds the loop until the sender is dropped.
fn hold(port: &UdpPort) -> (Sender<()>, JoinHandle<()>) {
    let ((release, released), (hold, is_held)) = (mpsc::channel(), mpsc::channel());
    let port = port.clone();
    let held = thread::spawn(move || {
        let wait = move |_: &mut RunningUdp<'_>| {
            hold.send(()).unwrap();
            let _ = released.recv();
        };
        port.run(wait).unwrap();
    });
    is_held.recv().unwrap();
    (release, held)
}

#[test]
fn a_port_in_asyn_mode_is_read_only() {
    let (port, caller) = cached(&[b"x"]);
    assert_eq!(reads(&port, &[4]), [(b"x".to_vec(), Eom::END)]);
    let to = caller.local_addr().unwrap();
    assert_eq!(at_once(&port, |port| port.write(ONE, b"y", None)), Err(Error::ReadOnly));
    assert_eq!(at_once(&port, |port| port.write(ALL, b"y", None)), Err(Error::ReadOnly));
    assert_eq!(at_once(&port, |port| port.broadcast(b"y", None)), Err(Error::ReadOnly));
    assert_eq!(at_once(&port, move |port| port.reply(to, b"y", None)), Err(Error::ReadOnly));
    port.drain(ONE, None).unwrap();
}

#[test]
fn a_reader_takes_part_from_its_first_read_until_it_leaves() {
    // The cache is held without limit, so that nothing depends on time.
    let port = port(&[ASYN, ("cache_hold", "0")]);
    let (events, caller) = (port.subscribe().unwrap(), caller(&port));
    let send = |text: &[u8]| {
        caller.send(text).unwrap();
        assert_eq!(datagram(&events), text);
    };
    send(b"before");
    assert_eq!(port.pending(ONE).unwrap().rx, 0, "there was no reader");
    assert_eq!(reads(&port, &[8]), [(vec![], Eom::NONE)]);
    send(b"kept");
    assert_eq!(port.pending(ONE).unwrap().rx, 4);
    caller.send(b"next").unwrap();
    assert_eq!(reads(&port, &[8]), [(b"kept".to_vec(), Eom::END)]);
    assert_eq!(datagram(&events), b"next");
    port.leave().unwrap();
    assert_eq!(port.pending(ONE).unwrap().rx, 0);
    send(b"without");
    assert_eq!(port.pending(ONE).unwrap().rx, 0);
    // It may come again.
    assert_eq!(reads(&port, &[8]), [(vec![], Eom::NONE)]);
    send(b"kept again");
    assert_eq!(port.pending(ONE).unwrap().rx, 10);
    assert_eq!(port.run(|port| port.counters().unread), Ok(0));
}

#[test]
fn who_watches_or_has_gone_is_no_subscriber() {
    let port = port(&[ASYN]);
    let (watch, gone, caller) = (port.watch().unwrap(), port.subscribe().unwrap(), caller(&port));
    drop(gone);
    caller.send(b"for a reader yet to come").unwrap();
    until(|| watch.next(PATIENT).unwrap() == UdpTold::Event(Event::DataReady));
    assert_eq!(reads(&port, &[64]), [(b"for a reader yet to come".to_vec(), Eom::END)]);
    assert_eq!(watch.try_next(), None, "it hears of events alone");
}
