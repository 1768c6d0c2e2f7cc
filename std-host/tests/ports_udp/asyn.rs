//! `udp = "asyn"`: a cache of one datagram, as drivers of EPICS know it (sections 9 and 15 of the ports specification).

use crate::harness::{Bench, CNT_END, Heard, LONGEST, V4, V6, bench, options, pattern};
use wharf_core::port::framing::Eom;
use wharf_host::services::port::udp::Event;
use wharf_host::services::port::{Addr, Error};

const ASYN: &[(&str, &str)] = &[("udp", "asyn")];

/// A port to which these datagrams have been sent, the first of which is cached.
fn cached(datagrams: &[&[u8]]) -> Bench {
    let mut bench = bench(&options(V4, ASYN), false);
    datagrams.iter().for_each(|payload| bench.send(payload));
    bench.receive(1);
    bench
}

/// Reads by count, each of which is possible at once.
fn reads(bench: &mut Bench, rooms: &[usize]) -> Vec<(Vec<u8>, Eom)> {
    rooms.iter().map(|room| bench.read(*room).unwrap()).collect()
}

#[test]
fn partial_reads_return_no_old_byte_and_progress_at_count_1() {
    let long = pattern(200);
    let mut bench = cached(&[&long, b"HI"]);
    assert_eq!(reads(&mut bench, &[4096, 4096]), [(long, Eom::END), (b"HI".to_vec(), Eom::END)]);

    let mut bench = cached(&[b"0123456789", b"AB"]);
    assert_eq!(
        reads(&mut bench, &[4, 4, 4]),
        [(b"0123".to_vec(), Eom::CNT), (b"4567".to_vec(), Eom::CNT), (b"89".to_vec(), Eom::END),]
    );
    assert_eq!(
        reads(&mut bench, &[1, 1, 1]),
        [(b"A".to_vec(), Eom::CNT), (b"B".to_vec(), CNT_END), (vec![], Eom::NONE),]
    );

    let mut bench = cached(&[b"12345678"]);
    assert_eq!(reads(&mut bench, &[8, 64]), [(b"12345678".to_vec(), CNT_END), (vec![], Eom::NONE)]);

    let mut bench = cached(&[b"AB", b"CD"]);
    assert_eq!(reads(&mut bench, &[1]), [(b"A".to_vec(), Eom::CNT)]);
    assert_eq!(bench.with(|port| (port.pending().rx, port.flush(Addr::Port))), (1, Ok(1)));
    assert_eq!(reads(&mut bench, &[4]), [(b"CD".to_vec(), Eom::END)]);
}

#[test]
fn an_empty_cache_is_no_bytes_and_no_reason_at_both_addresses() {
    let mut bench = bench(&options(V4, ASYN), false);
    assert_eq!(bench.read(64), Ok((vec![], Eom::NONE)));
    let mut buffer = [0; 8];
    let read = bench.with(|port| port.read(Addr::Port, &mut buffer)).unwrap();
    assert_eq!((read.len, read.eom, read.from), (0, Eom::NONE, None));
    assert_eq!(bench.read(0), Err(Error::EmptyBuffer));
    let other = bench.with(|port| port.read(Addr::Slot(1), &mut buffer));
    assert_eq!(other, Err(Error::OutOfRange { addr: 1, slots: 1 }));
}

#[test]
fn only_one_datagram_is_taken_from_the_system_until_it_is_read() {
    let mut bench = cached(&[b"1", b"2", b"3"]);
    // As often as the loop may look, the others wait in the system.
    for _ in 0..5 {
        bench.lp.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
    assert_eq!(bench.with(|port| (port.counters().received, port.pending().rx)), (1, 1));
    assert_eq!(bench.read(8), Ok((b"1".to_vec(), Eom::END)));
    assert_eq!(bench.with(|port| (port.counters().received, port.pending().rx)), (2, 1));
}

#[test]
fn ten_datagrams_without_reader_give_ten_events() {
    for address in [V4, V6] {
        let mut bench = bench(&options(address, ASYN), true);
        let sent: Vec<Vec<u8>> = (0..10).map(|n| pattern(n * 7)).collect();
        sent.iter().for_each(|payload| bench.send(payload));
        bench.receive(10);
        assert_eq!(bench.datagrams(), sent);
        let ready = bench.log.borrow().iter().filter(|heard| **heard == Heard::Event(Event::DataReady)).count();
        assert_eq!(ready, 10);
        let counters = bench.with(|port| port.counters());
        assert_eq!((counters.received, counters.empty, counters.unread), (10, 1, 0));
    }
}

#[test]
fn a_port_in_asyn_mode_sends_nothing() {
    let mut bench = cached(&[b"x"]);
    let peer = bench.peer.local_addr().unwrap();
    bench.read(4).unwrap();
    assert_eq!(bench.with(|port| port.write(Addr::Slot(0), b"y")), Err(Error::ReadOnly));
    assert_eq!(bench.with(|port| port.write(Addr::Port, b"y")), Err(Error::ReadOnly));
    assert_eq!(bench.with(|port| port.reply(peer, b"y")), Err(Error::ReadOnly));
}

#[test]
fn datagrams_of_every_length_arrive_whole() {
    for (address, longest) in LONGEST {
        for subscriber in [false, true] {
            let mut bench = bench(&options(address, ASYN), subscriber);
            let sent = [pattern(0), pattern(1), pattern(longest)];
            for (count, payload) in (1..).zip(&sent) {
                bench.send(payload);
                bench.receive(count);
                if !subscriber && !payload.is_empty() {
                    assert_eq!(bench.read(70_000), Ok((payload.clone(), Eom::END)), "{} bytes", payload.len());
                }
            }
            assert_eq!(bench.datagrams(), if subscriber { sent.to_vec() } else { vec![] });
            assert_eq!(bench.with(|port| port.counters().truncated), 0);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_system_drops_is_counted() {
    let mut bench = cached(&[b"first"]);
    // Nobody reads, so the system keeps what it has room for.
    let flood = 20_000;
    (0..flood).for_each(|_| bench.send(b"more"));
    let mut read = 0;
    while bench.read(8).unwrap().1 == Eom::END {
        read += 1;
        bench.lp.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
    // The next one tells what was lost before it.
    bench.send(b"last");
    bench.run_until(|port| port.pending().rx > 0);
    let counters = bench.with(|port| port.counters());
    assert_eq!(counters.received, read + 1);
    assert!(counters.kernel_dropped > 0 && counters.received + counters.kernel_dropped == flood + 2, "{counters:?}");
}
