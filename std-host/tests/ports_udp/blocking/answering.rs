//! Datagrams that go out, and to whom.

use super::{ALL, AT_ONCE, ONE, PATIENT, caller, port, read};
use crate::harness::{LONGEST, hear, options, pattern, peer};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use wharf_core::port::framing::Eom;
use wharf_host::services::port::Error;
use wharf_host::services::port::udp::{Outcome, UdpBroadcast, UdpServer};

#[test]
fn each_udp_peer_gets_its_own_reply() {
    let port = port(&[]);
    let peers: Vec<UdpSocket> = (0..20).map(|_| caller(&port)).collect();
    for (name, peer) in peers.iter().enumerate() {
        peer.send(name.to_string().as_bytes()).unwrap();
    }
    // By whomever it is read, an answer goes to its sender.
    let (reader, after) = (port.port(), port.port());
    thread::spawn(move || {
        let mut callers = Vec::new();
        for _ in 0..20 {
            let mut buffer = [0; 16];
            let read = reader.read(ONE, &mut buffer, PATIENT).unwrap();
            let (name, from) = (&buffer[..read.len], read.from.unwrap().peer);
            assert_eq!(reader.peer(ALL), Ok(Some(from)));
            assert_eq!(reader.write(ONE, &[b"first ", name].concat(), PATIENT), Ok(6 + read.len));
            callers.push((from, name.to_vec()));
        }
        // By name, whoever was read last.
        for (from, name) in callers.into_iter().rev() {
            reader.reply(from, &[b"second ", name.as_slice()].concat(), AT_ONCE).unwrap();
        }
    })
    .join()
    .unwrap();
    for (name, peer) in peers.iter().enumerate() {
        assert_eq!(hear(peer), format!("first {name}").into_bytes());
        assert_eq!(hear(peer), format!("second {name}").into_bytes());
    }
    // The last one read is answered as often as one likes.
    after.write(ONE, b"again", PATIENT).unwrap();
    let last = after.peer(ONE).unwrap().unwrap();
    let last = peers.iter().find(|peer| peer.local_addr().unwrap() == last).unwrap();
    assert_eq!(hear(last), b"again");
    after.drain(ONE, PATIENT).unwrap();
    assert_eq!(after.run(|port| (port.counters().sent, port.counters().failed)), Ok((41, 0)));
}

#[test]
fn a_broadcast_tells_each_outcome() {
    let port = port(&[]);
    assert_eq!(port.write(ALL, b"nobody", PATIENT), Ok(0));
    assert_eq!(port.broadcast(b"nobody", None), Ok(UdpBroadcast::default()));
    let peers: Vec<UdpSocket> = (0..3).map(|_| caller(&port)).collect();
    for peer in &peers {
        peer.send(b"here").unwrap();
        read(&port, 8, PATIENT).unwrap();
    }
    let mut told = UdpBroadcast { queued: 9, accepted: 9, outcomes: vec![] };
    for timeout in [AT_ONCE, PATIENT, None] {
        port.broadcast_into(b"to all", timeout, &mut told).unwrap();
        let outcomes: Vec<(SocketAddr, Outcome)> =
            peers.iter().map(|peer| (peer.local_addr().unwrap(), Outcome::Queued)).collect();
        assert_eq!(told, UdpBroadcast { queued: 3, accepted: 18, outcomes });
        peers.iter().for_each(|peer| assert_eq!(hear(peer), b"to all"));
    }
    assert_eq!(port.write(ALL, b"sum", PATIENT), Ok(9));
    peers.iter().for_each(|peer| assert_eq!(hear(peer), b"sum"));
    // One that can never go is told so, and nobody waits for it.
    let long = port.broadcast(&pattern(65_508), None).unwrap();
    assert_eq!((long.queued, long.accepted), (0, 0));
    assert!(long.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::TooLong) && long.outcomes.len() == 3);
}

#[test]
fn datagrams_of_every_length_arrive_whole_and_are_answered_whole() {
    for (address, longest) in LONGEST {
        let port = UdpServer::spawn(options(address, &[])).unwrap();
        port.connect(PATIENT).unwrap();
        let to = port.local_addr().unwrap();
        let caller = peer(if to.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" });
        for payload in [pattern(0), pattern(1), pattern(longest)] {
            caller.send_to(&payload, to).unwrap();
            assert_eq!(read(&port, 70_000, PATIENT), Ok((payload.clone(), Eom::END)), "{} bytes", payload.len());
            assert_eq!(port.write(ONE, &payload, PATIENT), Ok(payload.len()));
            assert_eq!(hear(&caller), payload);
        }
        caller.send_to(&pattern(longest), to).unwrap();
        let exact = read(&port, longest, PATIENT).unwrap();
        assert_eq!(exact, (pattern(longest), crate::harness::CNT_END));
        let back = caller.local_addr().unwrap();
        let refused = port.reply(back, &pattern(longest + 1), None);
        assert_eq!(refused, Err(Error::TooLong { len: longest + 1, max: longest }));
    }
}

#[test]
fn nobody_is_answered_before_anything_is_read() {
    let port = port(&[]);
    let caller = caller(&port);
    caller.send(b"unread").unwrap();
    super::until_received(&port, 1);
    assert_eq!(port.peer(ONE), Ok(None));
    assert_eq!(super::at_once(&port, |port| port.write(ONE, b"y", None)), Err(Error::NobodyToAnswer));
}
