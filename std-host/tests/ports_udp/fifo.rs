//! `udp = "fifo"`: a ring of datagrams, and answers.

use crate::harness::{CNT_END, Heard, LONGEST, V4, V6, bench, hear, options, pattern, peer};
use std::net::UdpSocket;
use wharf_core::port::framing::Eom;
use wharf_host::services::port::udp::{Event, Outcome};
use wharf_host::services::port::{Addr, Error};

#[test]
fn each_udp_peer_gets_its_own_reply() {
    for (address, from) in [(V4, "127.0.0.1:0"), (V6, "[::1]:0"), ("[::]:0 udp", "127.0.0.1:0")] {
        let mut bench = bench(&options(address, &[]), false);
        let to = (from.parse::<std::net::SocketAddr>().unwrap().ip(), bench.addr().port());
        let peers: Vec<UdpSocket> = (0..20).map(|_| peer(from)).collect();
        for (name, peer) in peers.iter().enumerate() {
            peer.send_to(name.to_string().as_bytes(), to).unwrap();
        }
        bench.receive(20);
        bench.with(|port| {
            let (mut buffer, mut callers) = ([0; 16], Vec::new());
            for _ in 0..20 {
                let read = port.read(Addr::Slot(0), &mut buffer).unwrap();
                let origin = read.from.unwrap();
                assert_eq!(origin.peer.is_ipv4(), from == "127.0.0.1:0", "an IPv4 peer is shown as one");
                let name = String::from_utf8(buffer[..read.len].to_vec()).unwrap();
                // To the one last read, and, when another is that, by name.
                port.write(Addr::Slot(0), format!("first {name}").as_bytes()).unwrap();
                callers.push((origin.peer, name));
            }
            for (caller, name) in callers.into_iter().rev() {
                port.reply(caller, format!("second {name}").as_bytes()).unwrap();
            }
        });
        for (name, peer) in peers.iter().enumerate() {
            assert_eq!(hear(peer), format!("first {name}").into_bytes());
            assert_eq!(hear(peer), format!("second {name}").into_bytes());
        }
        assert_eq!(bench.with(|port| (port.counters().sent, port.counters().failed, port.pending().tx)), (40, 0, 0));
    }
}

#[test]
fn a_broadcast_reaches_every_peer_heard_and_tells_each_outcome() {
    let mut bench = bench(&options(V4, &[]), false);
    assert_eq!(bench.with(|port| port.write(Addr::Port, b"nobody")), Ok(0));
    let peers: Vec<UdpSocket> = (0..3).map(|_| peer("127.0.0.1:0")).collect();
    for peer in &peers {
        peer.send_to(b"here", bench.addr()).unwrap();
    }
    bench.receive(3);
    let told = bench.with(|port| port.broadcast(b"to all")).unwrap();
    let outcomes: Vec<_> = peers.iter().map(|peer| (peer.local_addr().unwrap(), Outcome::Queued)).collect();
    assert_eq!((told.queued, told.accepted, told.outcomes), (3, 18, outcomes));
    for peer in &peers {
        assert_eq!(hear(peer), b"to all");
    }
}

#[test]
fn datagrams_of_every_length_arrive_whole_and_are_answered_whole() {
    for (address, longest) in LONGEST {
        let mut bench = bench(&options(address, &[]), true);
        let sent = [pattern(0), pattern(1), pattern(longest)];
        for (count, payload) in (1..).zip(&sent) {
            bench.send(payload);
            bench.receive(count);
            assert_eq!(bench.read(70_000), Ok((payload.clone(), Eom::END)), "{} bytes", payload.len());
            assert_eq!(bench.with(|port| port.write(Addr::Slot(0), payload)), Ok(payload.len()));
            assert_eq!(bench.answer(), *payload);
        }
        assert_eq!(bench.datagrams(), sent);
        let counters = bench.with(|port| port.counters());
        assert_eq!((counters.truncated, counters.empty, counters.bytes), (0, 1, longest as u64 + 1));
        let peer = bench.peer.local_addr().unwrap();
        let refused = bench.with(|port| port.reply(peer, &pattern(longest + 1)));
        assert_eq!(refused, Err(Error::TooLong { len: longest + 1, max: longest }));
    }
}

#[test]
fn a_datagram_larger_than_the_ring_is_cut_and_flagged() {
    let mut bench = bench(&options(V4, &[("rx_queue", "64")]), false);
    bench.send(&pattern(64));
    bench.receive(1);
    let mut buffer = [0; 100];
    let whole = bench.with(|port| port.read(Addr::Port, &mut buffer)).unwrap();
    assert_eq!((whole.len, whole.eom, whole.from.unwrap().truncated), (64, Eom::END, false));
    bench.send(&pattern(65));
    bench.receive(2);
    let cut = bench.with(|port| port.read(Addr::Port, &mut buffer)).unwrap();
    assert_eq!((cut.len, cut.eom, cut.from.unwrap().truncated), (64, Eom::END, true));
    assert_eq!(buffer[..64], pattern(64));
    assert_eq!(bench.with(|port| port.counters().truncated), 1);
}

#[test]
fn what_a_read_did_not_take_is_kept_or_discarded() {
    let mut bench = bench(&options(V4, &[]), false);
    bench.send(b"0123456789");
    bench.send(b"ab");
    bench.receive(2);
    assert_eq!(bench.with(|port| port.pending().rx), 12);
    assert_eq!(bench.read(4), Ok((b"0123".to_vec(), Eom::CNT)));
    bench.with(|port| port.set_option(Addr::Slot(0), "rest", "discard")).unwrap();
    assert_eq!(bench.with(|port| port.option(Addr::Port, "rest")), Ok("discard".to_owned()));
    assert_eq!(bench.read(4), Ok((b"4567".to_vec(), Eom::CNT)));
    assert_eq!(bench.read(2), Ok((b"ab".to_vec(), CNT_END)));
    assert_eq!(bench.read(2), Err(Error::WouldBlock));
    assert_eq!(bench.with(|port| port.counters().unread), 1);
}

#[test]
fn a_subscriber_is_told_how_many_a_full_ring_has_dropped() {
    let mut bench = bench(&options(V4, &[("depth", "2")]), true);
    // A reader that takes part and does not read.
    assert_eq!(bench.read(1), Err(Error::WouldBlock));
    (1..=5).for_each(|n| bench.send(&[n]));
    bench.receive(5);
    assert_eq!(bench.datagrams(), [[1], [2]]);
    assert_eq!(bench.with(|port| port.counters().dropped_full), 3);
    assert_eq!(bench.read(9), Ok((vec![1], Eom::END)));
    bench.send(&[6]);
    bench.receive(6);
    let peer = bench.peer.local_addr().unwrap();
    let log = bench.log.borrow();
    let heard: Vec<_> = log.iter().filter(|heard| !matches!(heard, Heard::Event(_))).cloned().collect();
    let datagram = |n| Heard::Datagram(vec![n], peer);
    // Each is told when it is dropped.
    assert_eq!(heard, [datagram(1), datagram(2), Heard::Lost(1), Heard::Lost(1), Heard::Lost(1), datagram(6)]);
    assert!(log.contains(&Heard::Event(Event::Overflowed { lost: 1 })));
}

#[test]
fn a_peer_that_cannot_be_reached_is_counted_and_work_goes_on() {
    let mut bench = bench(&options(V4, &[]), false);
    let local = bench.addr();
    // It hears another peer alone, and keeps others from its address.
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
    gone.connect("127.0.0.1:9").unwrap();
    let nobody = gone.local_addr().unwrap();
    bench.with(|port| port.reply(nobody, b"anybody?")).unwrap();
    bench.run_until(|port| port.counters().failed > 0);
    assert_eq!(bench.with(|port| port.counters().failed), 1);
    bench.send(b"still here?");
    bench.receive(1);
    assert_eq!(bench.read(64), Ok((b"still here?".to_vec(), Eom::END)));
    assert_eq!(bench.with(|port| port.write(Addr::Slot(0), b"yes")), Ok(3));
    assert_eq!(bench.answer(), b"yes");
    assert_eq!(bench.addr(), local, "it was never closed");
}

#[test]
fn nobody_is_answered_before_anything_is_read() {
    let mut bench = bench(&options(V4, &[]), false);
    bench.send(b"x");
    bench.receive(1);
    assert_eq!(bench.with(|port| port.write(Addr::Slot(0), b"y")), Err(Error::NobodyToAnswer));
}
