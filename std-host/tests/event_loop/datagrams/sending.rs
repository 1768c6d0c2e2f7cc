//! What leaves: to whom, how much, and what is said of what did not arrive.

use super::{Seen, V4, V6, bench, hear, nobody};
use std::net::{SocketAddr, UdpSocket};
use wharf_host::event_loop::{Error, Loop, Out, UdpOptions};

#[test]
fn ipv6_destinations_are_kept() {
    let mut bench = bench(V6);
    let (from, to) = (bench.addr, bench.outside_addr);
    let other = UdpSocket::bind(V6).unwrap();
    let payloads = [&b"one"[..], b"", &[6; 1000]];
    let mut out: Vec<Out<'_>> = payloads.iter().map(|payload| Out::to(to, payload)).collect();
    out.push(Out::to(other.local_addr().unwrap(), b"other"));
    assert_eq!(bench.udp(|u| u.send(&out)).unwrap(), 4);
    for payload in payloads {
        assert_eq!(bench.heard(), (payload.to_vec(), from));
    }
    assert_eq!(hear(&other), (b"other".to_vec(), from));
}

#[test]
fn both_families_leave_by_one_call() {
    let mut bench = bench("[::]:0");
    let v4 = UdpSocket::bind(V4).unwrap();
    let (v4_addr, v6_addr) = (v4.local_addr().unwrap(), bench.outside_addr);
    let sent =
        bench.udp(|u| u.send(&[Out::to(v4_addr, b"four"), Out::to(v6_addr, b"six"), Out::to(v4_addr, b"again")]));
    assert_eq!(sent.unwrap(), 3);
    let port = bench.addr.port();
    assert_eq!(hear(&v4), (b"four".to_vec(), SocketAddr::from(([127, 0, 0, 1], port))));
    assert_eq!(hear(&v4).0, b"again");
    assert_eq!(bench.heard().0, b"six");
}

#[test]
fn a_call_takes_more_packets_than_the_system_takes_at_once() {
    let mut bench = bench(V4);
    let payloads: Vec<[u8; 1]> = (0..150).map(|number| [number]).collect();
    let to = bench.outside_addr;
    let out: Vec<Out<'_>> = payloads.iter().map(|payload| Out::to(to, payload)).collect();
    assert_eq!(bench.udp(|u| u.send(&out)).unwrap(), 150);
    for payload in payloads {
        assert_eq!(bench.heard().0, payload);
    }
    let stats = bench.lp.loop_mut().stats();
    assert_eq!(stats.datagrams_out, 150);
    assert!(!cfg!(target_os = "linux") || stats.datagram_writes == 3);
    assert_eq!(bench.udp(|u| u.send(&[])).unwrap(), 0);
    bench.turn();
    assert_eq!(bench.log(), [], "nothing was refused");
}

#[test]
fn a_connected_socket_speaks_with_its_peer_alone() {
    let mut bench = bench(V4);
    let (addr, peer) = (bench.addr, bench.outside_addr);
    let nobody = bench.udp(|u| u.send(&[Out::connected(b"x")])).unwrap_err();
    assert!(nobody.to_string().starts_with("send to nobody: "), "{nobody}");
    bench.udp(|u| u.connect(peer)).unwrap();
    assert_eq!(bench.udp(|u| u.peer_addr()), Some(peer));
    assert_eq!(bench.udp(|u| u.send(&[Out::connected(b"one"), Out::connected(b"two")])).unwrap(), 2);
    assert_eq!((bench.heard(), bench.heard().0), ((b"one".to_vec(), addr), b"two".to_vec()));
    let stranger = UdpSocket::bind(V4).unwrap();
    stranger.send_to(b"strange", addr).unwrap();
    bench.outside.send_to(b"known", addr).unwrap();
    bench.run_to_packets(1);
    bench.turn();
    assert_eq!(bench.payloads(), [b"known"]);
}

#[test]
fn a_disconnected_socket_keeps_its_address_and_hears_everybody() {
    for any in [V4, "0.0.0.0:0", V6, "[::]:0"] {
        let mut bench = bench(any);
        let addr = SocketAddr::new(bench.outside_addr.ip(), bench.addr.port());
        let (bound, peer) = (bench.addr, bench.outside_addr);
        bench.udp(|u| u.connect(peer)).unwrap();
        bench.udp(|u| u.disconnect().unwrap());
        assert_eq!(bench.udp(|u| u.local_addr()).unwrap(), bound);
        assert_eq!(bench.udp(|u| u.peer_addr()), None);
        let stranger = UdpSocket::bind(bench.outside_addr.ip().to_string() + ":0").or_else(|_| UdpSocket::bind(V6));
        stranger.unwrap().send_to(b"strange", addr).unwrap();
        bench.run_to_packets(1);
        assert_eq!(bench.payloads(), [b"strange"]);
        assert!(bench.udp(|u| u.send(&[Out::connected(b"x")])).is_err());
        assert_eq!(bench.udp(|u| u.send(&[Out::to(peer, b"y")])).unwrap(), 1);
        assert_eq!(bench.heard().0, b"y");
    }
}

#[test]
fn a_connected_socket_changes_its_peer() {
    let mut bench = bench("0.0.0.0:0");
    let (second, first) = (UdpSocket::bind("127.0.0.2:0"), bench.outside_addr);
    let Ok(second) = second else { return println!("skipped: this system has no 127.0.0.2") };
    bench.udp(|u| u.connect(first)).unwrap();
    bench.udp(|u| u.connect(second.local_addr().unwrap())).unwrap();
    assert_eq!(bench.udp(|u| u.send(&[Out::connected(b"x")])).unwrap(), 1);
    let (payload, from) = hear(&second);
    assert_eq!((payload, from.port()), (b"x".to_vec(), bench.addr.port()));
    second.send_to(b"y", from).unwrap();
    bench.run_to_packets(1);
    assert_eq!(bench.payloads(), [b"y"]);
}

#[test]
fn an_unreachable_peer_is_an_error_and_the_socket_lives_on() {
    let mut bench = bench(V4);
    let (_holder, gone) = nobody();
    bench.udp(|u| u.connect(gone)).unwrap();
    assert_eq!(bench.udp(|u| u.send(&[Out::connected(b"x")])).unwrap(), 1);
    bench.run_until(|log, _| !log.is_empty());
    assert_eq!(bench.log(), [Seen::Error(format!("reach {gone}: connection refused"))]);
    bench.udp(|u| u.disconnect().unwrap());
    bench.outside.send_to(b"alive", bench.addr).unwrap();
    bench.run_to_packets(1);
    assert_eq!(bench.payloads(), [b"alive"]);
}

#[test]
fn an_error_of_an_earlier_packet_is_not_the_next_ones() {
    let mut bench = bench(V4);
    let (_holder, gone) = nobody();
    bench.udp(|u| u.connect(gone)).unwrap();
    // Each finds the answer to the one before.
    for _ in 0..3 {
        assert_eq!(bench.udp(|u| u.send(&[Out::connected(b"x")])).unwrap(), 1);
    }
    bench.run_until(|log, _| !log.is_empty());
    bench.turn();
    assert!(bench.log().iter().all(|seen| *seen == Seen::Error(format!("reach {gone}: connection refused"))));
}

#[test]
fn a_batch_to_an_unreachable_peer_leaves_whole() {
    let mut bench = bench(V4);
    let (_holder, gone) = nobody();
    bench.udp(|u| u.connect(gone)).unwrap();
    assert_eq!(bench.udp(|u| u.send(&[Out::connected(b"x"); 10])).unwrap(), 10);
    bench.run_until(|log, _| !log.is_empty());
    assert!(!bench.log().contains(&Seen::Drained));
}

#[test]
fn an_error_belongs_to_the_first_packet_of_its_call() {
    let mut bench = bench(V4);
    let huge = vec![0; 70_000];
    let (good, bad) = (Out::to(bench.outside_addr, b"x"), Out::to(bench.outside_addr, &huge));
    let to = bench.outside_addr;
    let refused = bench.udp(|u| u.send(&[bad, good])).unwrap_err();
    assert!(matches!(&refused, Error::Io { op: "send to", object, .. } if *object == to.to_string()), "{refused}");
    assert_eq!(bench.udp(|u| u.send(&[good, bad, good])).unwrap(), 1);
    assert_eq!(bench.log(), [], "callbacks never nest");
    bench.turn();
    bench.turn();
    assert_eq!(bench.log(), [Seen::Drained]);
    assert!(bench.udp(|u| u.send(&[bad, good])).is_err());
    assert_eq!(bench.udp(|u| u.send(&[good])).unwrap(), 1);
    bench.turn();
    assert_eq!(bench.log(), [Seen::Drained], "an error owes nothing");
    assert_eq!((bench.heard().0, bench.heard().0), (b"x".to_vec(), b"x".to_vec()));
    bench.outside.set_nonblocking(true).unwrap();
    assert!(bench.outside.recv(&mut [0]).is_err());
}

#[test]
fn a_destination_of_the_wrong_family_is_an_error() {
    let mut bench = bench(V4);
    let v6: SocketAddr = "[::1]:9".parse().unwrap();
    let error = bench.udp(|u| u.send(&[Out::to(v6, b"x")])).unwrap_err();
    assert!(error.to_string().starts_with("send to [::1]:9: "), "{error}");
    let mut lp = Loop::new().unwrap();
    let options = UdpOptions { v6only: true, ..UdpOptions::default() };
    let handler = super::Probe::new(&bench.log, super::quiet);
    let id = lp.loop_mut().bind_udp("[::]:0".parse().unwrap(), handler, options).unwrap();
    assert!(lp.loop_mut().udp(id).unwrap().send(&[Out::to(bench.outside_addr, b"x")]).is_err());
}
