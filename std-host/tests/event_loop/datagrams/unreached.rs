//! Packets that reach nobody, of sockets that are not connected: which peer it was, once, and nothing else suffers.

#![cfg(target_os = "linux")]

use super::{Bench, Seen, V4, V6, bench, bench_with};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use wharf_host::event_loop::{LoopOptions, Out};

/// An address that answers nobody, and what keeps others from it.
fn nobody(any: &str) -> (UdpSocket, SocketAddr) {
    let holder = UdpSocket::bind(any).unwrap();
    holder.connect((holder.local_addr().unwrap().ip(), 9)).unwrap();
    let addr = holder.local_addr().unwrap();
    (holder, addr)
}

fn refused(by: SocketAddr) -> Seen {
    Seen::Error(format!("reach {by}: connection refused"))
}

fn send(bench: &mut Bench, to: SocketAddr, payload: &[u8]) {
    assert_eq!(bench.udp(|u| u.send(&[Out::to(to, payload)])).unwrap(), 1);
}

/// Nothing more happens, however often the loop turns, and nothing is asked for without end.
fn is_at_rest(bench: &mut Bench) {
    let (log, before) = (bench.log(), bench.lp.loop_mut().stats());
    for _ in 0..10 {
        bench.turn();
    }
    let after = bench.lp.loop_mut().stats();
    assert_eq!(bench.log(), log);
    assert_eq!((after.events, after.datagram_reads), (before.events, before.datagram_reads), "it spins");
}

#[test]
fn an_unreachable_peer_of_an_unconnected_socket_is_an_error_once() {
    for (bound, peer) in [(V4, V4), (V6, V6), ("0.0.0.0:0", V4), ("[::]:0", V6), ("[::]:0", V4)] {
        let mut bench = bench(bound);
        let (_holder, gone) = nobody(peer);
        send(&mut bench, gone, b"x");
        bench.run_until(|log, _| !log.is_empty());
        bench.turn();
        assert_eq!(bench.log(), [refused(gone)], "from {bound}");
        is_at_rest(&mut bench);
        let stats = bench.lp.loop_mut().stats();
        assert_eq!(stats.false_events, 0, "the event had a reason");
        // The socket lives on, in both directions.
        let addr = SocketAddr::new(bench.outside_addr.ip(), bench.addr.port());
        bench.outside.send_to(b"alive", addr).unwrap();
        bench.run_to_packets(1);
        let to = bench.outside_addr;
        send(&mut bench, to, b"back");
        assert_eq!((bench.payloads(), bench.heard().0), (vec![b"alive".to_vec()], b"back".to_vec()));
    }
}

#[test]
fn each_unreachable_peer_is_named_and_no_packet_suffers() {
    let mut bench = bench(V4);
    let ((_one, one), (_two, two)) = (nobody(V4), nobody(V4));
    let good = bench.outside_addr;
    // On loopback each answer is there before the next packet leaves.
    let all = [one, good, two, good, one, good].map(|to| Out::to(to, b"x"));
    assert_eq!(bench.udp(|u| u.send(&all)).unwrap(), 6);
    send(&mut bench, good, b"y");
    bench.run_until(|log, _| !log.is_empty());
    bench.turn();
    let mut log = bench.log();
    log.dedup();
    assert!(log == [refused(one), refused(two)] || log == [refused(one), refused(two), refused(one)], "{log:?}");
    let heard = [(); 4].map(|()| bench.heard().0);
    assert_eq!(heard, [b"x", b"x", b"x", b"y"]);
    is_at_rest(&mut bench);
}

#[test]
fn an_error_that_waits_costs_the_next_call_nothing() {
    // The answer is there before the send, and before the packet that arrives.
    let mut bench = bench(V4);
    let (_holder, gone) = nobody(V4);
    send(&mut bench, gone, b"x");
    let to = bench.outside_addr;
    send(&mut bench, to, b"next");
    assert_eq!(bench.heard().0, b"next");
    send(&mut bench, gone, b"x");
    bench.outside.send_to(b"in", bench.addr).unwrap();
    bench.run_to_packets(1);
    bench.turn();
    assert_eq!(bench.payloads(), [b"in"]);
    let errors: Vec<_> = bench.log().into_iter().filter(|seen| matches!(seen, Seen::Error(_))).collect();
    assert!(errors.iter().all(|error| *error == refused(gone)) && (1..=2).contains(&errors.len()), "{errors:?}");
    is_at_rest(&mut bench);
}

#[test]
fn a_paused_socket_hears_of_unreachable_peers_too() {
    let mut bench = bench(V4);
    let (_holder, gone) = nobody(V4);
    bench.udp(|u| u.pause().unwrap());
    send(&mut bench, gone, b"x");
    bench.run_until(|log, _| !log.is_empty());
    assert_eq!(bench.log(), [refused(gone)]);
    is_at_rest(&mut bench);
    bench.outside.send_to(b"later", bench.addr).unwrap();
    bench.turn();
    bench.udp(|u| u.resume().unwrap());
    bench.run_to_packets(1);
    assert_eq!(bench.payloads(), [b"later"]);
}

#[test]
fn what_is_wrong_with_a_packet_itself_is_told_by_its_call_alone() {
    let mut bench = bench(V4);
    let to = bench.outside_addr;
    let (_holder, gone) = nobody(V4);
    send(&mut bench, gone, b"x");
    // The second is refused so late that the system keeps it too.
    for len in [70_000, 65_508] {
        let error = bench.udp(|u| u.send(&[Out::to(to, &vec![0; len])])).unwrap_err();
        assert!(error.to_string().starts_with(&format!("send to {to}: ")), "{error}");
    }
    bench.run_until(|log, _| !log.is_empty());
    bench.turn();
    assert_eq!(bench.log(), [refused(gone)]);
    is_at_rest(&mut bench);
}

#[test]
fn a_handler_that_answers_an_error_with_another_packet_does_not_hold_the_loop() {
    let (_holder, gone) = nobody(V4);
    let mut bench = bench_with(V4, LoopOptions::default(), move |what, u, _| {
        if what == "error" {
            assert_eq!(u.send(&[Out::to(gone, b"again")]).unwrap(), 1);
        }
    });
    send(&mut bench, gone, b"x");
    for _ in 0..5 {
        bench.lp.turn(Some(Duration::from_secs(1))).unwrap();
    }
    let told = bench.log().len();
    assert!((3..=5 * 65).contains(&told), "{told} errors in 5 iterations");
    bench.lp.loop_mut().udp(bench.id).unwrap().close();
    bench.turn();
}
