//! What arrives: batches, single packets, what is known of them, and how much is taken.

use super::{Bench, Log, Probe, Seen, V4, V6, bench, bench_with, quiet};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use wharf_host::event_loop::{Ecn, Error, LoopOptions, UdpOptions};

#[test]
fn a_bound_udp_socket_receives() {
    for addr in [V4, V6] {
        let mut bench = bench(addr);
        let sent: Vec<Vec<u8>> = (0..10_u8).map(|n| vec![n; 7 * usize::from(n) + 1]).collect();
        for payload in &sent {
            bench.outside.send_to(payload, bench.addr).unwrap();
        }
        bench.run_to_packets(10);
        // Nothing comes a second time.
        bench.turn();
        assert_eq!(bench.payloads(), sent);
        assert_eq!(bench.lp.loop_mut().stats().datagrams_in, 10);
    }
}

#[test]
fn an_empty_packet_is_a_packet() {
    let mut bench = bench(V4);
    for payload in [&b""[..], b"x", b""] {
        bench.outside.send_to(payload, bench.addr).unwrap();
    }
    bench.turn();
    assert_eq!(bench.log(), [Seen::Batch(vec![vec![], b"x".to_vec(), vec![]])]);
}

#[test]
fn a_packet_tells_its_peer_local_address_interface_and_congestion() {
    for (any, addr) in [("0.0.0.0:0", V4), ("[::]:0", V6), ("[::]:0", V4)] {
        let seen = Rc::new(RefCell::new(None));
        let taken = Rc::clone(&seen);
        let mut bench = bench_with(any, LoopOptions::default(), move |_, _, batch| {
            let packet = batch.unwrap().get(0).unwrap();
            *taken.borrow_mut() = Some((packet.peer, packet.local, packet.interface, packet.ecn));
        });
        let from = UdpSocket::bind(addr).unwrap();
        if addr == V4 {
            socket2::SockRef::from(&from).set_tos_v4(0b10).unwrap();
        }
        let to = SocketAddr::new(from.local_addr().unwrap().ip(), bench.addr.port());
        from.send_to(b"x", to).unwrap();
        bench.run_to_packets(1);
        let (peer, local, interface, ecn) = seen.take().unwrap();
        assert_eq!(peer, from.local_addr().unwrap());
        if cfg!(target_os = "linux") {
            let meant = if addr == V4 { Ecn::Capable0 } else { Ecn::NotCapable };
            assert_eq!((local, ecn), (Some(to.ip()), Some(meant)));
            assert!(interface.is_some_and(|index| index > 0));
        }
    }
}

#[test]
fn a_packet_longer_than_its_place_is_truncated() {
    let truncated = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&truncated);
    let options = LoopOptions { udp_payload: 4, ..LoopOptions::default() };
    let mut bench = bench_with(V4, options, move |_, _, batch| {
        seen.borrow_mut().extend(batch.unwrap().iter().map(|packet| packet.truncated));
    });
    for payload in [&b"four"[..], b"fives", b"two"] {
        bench.outside.send_to(payload, bench.addr).unwrap();
    }
    bench.run_to_packets(3);
    assert_eq!(bench.payloads(), [&b"four"[..], b"five", b"two"]);
    assert_eq!(*truncated.borrow(), [false, true, false]);
    assert_eq!(bench.lp.loop_mut().stats().datagrams_truncated, 1);
}

#[test]
fn the_longest_packet_fits_the_largest_place() {
    let options = LoopOptions { udp_batch: 1, udp_payload: 65_535, ..LoopOptions::default() };
    let mut bench = bench_with(V4, options, quiet);
    let longest = vec![9; 65_507];
    bench.outside.send_to(&longest, bench.addr).unwrap();
    bench.run_to_packets(1);
    assert_eq!(bench.payloads(), [longest]);
    assert_eq!(bench.lp.loop_mut().stats().datagrams_truncated, 0);
}

fn send_numbers(bench: &Bench, numbers: std::ops::Range<u8>) {
    for number in numbers {
        bench.outside.send_to(&[number], bench.addr).unwrap();
    }
}

fn lengths(log: &[Seen]) -> Vec<usize> {
    log.iter().map(|seen| if let Seen::Batch(payloads) = seen { payloads.len() } else { panic!("{seen:?}") }).collect()
}

#[test]
fn more_packets_than_a_batch_come_in_several() {
    let options = LoopOptions { udp_batch: 8, udp_payload: 100, ..LoopOptions::default() };
    let mut bench = bench_with(V4, options, quiet);
    send_numbers(&bench, 0..100);
    bench.run_to_packets(100);
    assert_eq!(bench.payloads(), (0..100).map(|number| vec![number]).collect::<Vec<_>>());
    assert!(lengths(&bench.log()).iter().all(|&len| len <= 8));
    if cfg!(target_os = "linux") {
        assert_eq!(lengths(&bench.log()), [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 4]);
        // The short batch said that there was no more.
        assert_eq!(bench.lp.loop_mut().stats().datagram_reads, 13);
    }
}

#[test]
fn one_iteration_takes_a_bounded_number_of_packets_and_the_rest_needs_no_event() {
    // 1000 bytes of 100 each are less than a batch, 6400 are two.
    for (read_budget, turns) in [(1000, [32, 64, 96, 100]), (6400, [64, 100, 100, 100])] {
        let options = LoopOptions { read_budget, udp_payload: 100, ..LoopOptions::default() };
        let mut bench = bench_with(V4, options, quiet);
        send_numbers(&bench, 0..100);
        let mut seen = [0; 4];
        for count in &mut seen {
            bench.turn();
            *count = bench.payloads().len();
        }
        assert_eq!(seen, turns);
    }
}

#[test]
fn a_flooded_socket_leaves_turns_to_others() {
    let options = LoopOptions { udp_batch: 4, read_budget: 1, ..LoopOptions::default() };
    let mut bench = bench_with(V4, options, quiet);
    let quiet_log = Log::default();
    let other = bench.lp.loop_mut().bind_udp(V4.parse().unwrap(), Probe::new(&quiet_log, quiet), UdpOptions::default());
    let other = bench.lp.loop_mut().udp(other.unwrap()).unwrap().local_addr().unwrap();
    send_numbers(&bench, 0..100);
    for round in 1..=5 {
        bench.outside.send_to(b"x", other).unwrap();
        bench.turn();
        assert_eq!((quiet_log.borrow().len(), bench.payloads().len()), (round, 4 * round));
    }
}

#[test]
fn a_limit_lets_so_many_through_and_pause_none() {
    let mut bench = bench(V4);
    send_numbers(&bench, 0..20);
    bench.udp(|u| u.limit_packets(3)).unwrap();
    bench.turn();
    bench.turn();
    assert_eq!(bench.payloads().len(), 3);
    bench.udp(|u| u.limit_packets(2)).unwrap();
    bench.turn();
    assert_eq!(bench.payloads().len(), 5);
    bench.udp(|u| u.pause().unwrap());
    send_numbers(&bench, 20..21);
    bench.turn();
    assert_eq!(bench.payloads().len(), 5);
    bench.udp(|u| u.resume().unwrap());
    bench.turn();
    // The system kept the rest, and nobody had to send for it to come.
    assert_eq!(bench.payloads(), (0..21).map(|number| vec![number]).collect::<Vec<_>>());
}

#[test]
fn a_pause_inside_the_callback_ends_the_turn() {
    let options = LoopOptions { udp_batch: 2, ..LoopOptions::default() };
    let mut bench = bench_with(V4, options, |_, u, _| u.pause().unwrap());
    send_numbers(&bench, 0..10);
    bench.turn();
    bench.turn();
    assert_eq!(bench.log(), [Seen::Batch(vec![vec![0], vec![1]])]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_system_drops_is_counted() {
    let mut bench = bench(V4);
    let raw = |u: &mut wharf_host::event_loop::Udp<'_, ()>| {
        socket2::SockRef::from(&u.raw().unwrap()).set_recv_buffer_size(1).unwrap();
    };
    bench.udp(raw);
    for _ in 0..60 {
        bench.outside.send_to(&[0; 1000], bench.addr).unwrap();
    }
    bench.turn();
    let kept = bench.payloads().len() as u64;
    assert!(kept < 60);
    // The counter travels with a packet that comes after the drops, and is not counted twice.
    for _ in 0..2 {
        bench.outside.send_to(b"x", bench.addr).unwrap();
        bench.turn();
    }
    let dropped = bench.udp(|u| u.dropped());
    assert_eq!((dropped, bench.lp.loop_mut().stats().datagrams_dropped), (60 - kept, 60 - kept));
}

#[cfg(target_os = "linux")]
#[test]
fn an_echo_at_saturation_needs_an_eighth_of_a_call_per_packet_and_direction() {
    let options = LoopOptions::default();
    let mut bench = bench_with(V4, options, |_, u, batch| {
        let batch = batch.unwrap();
        let mut back = [wharf_host::event_loop::Out::default(); 64];
        for (out, packet) in back.iter_mut().zip(batch) {
            *out = wharf_host::event_loop::Out::to(packet.peer, packet.payload);
        }
        assert_eq!(u.send(&back[..batch.len()]).unwrap(), batch.len());
    });
    let rounds = 50_u64;
    for _ in 0..rounds {
        send_numbers(&bench, 0..100);
        bench.run_until(|_, lp| lp.stats().datagrams_in % 100 == 0);
        for number in 0..100 {
            assert_eq!(bench.heard(), (vec![number], bench.addr));
        }
    }
    let stats = bench.lp.loop_mut().stats();
    assert_eq!((stats.datagrams_in, stats.datagrams_out), (rounds * 100, rounds * 100));
    assert!(8 * stats.datagram_reads <= stats.datagrams_in, "{stats:?}");
    assert!(8 * stats.datagram_writes <= stats.datagrams_out, "{stats:?}");
    println!(
        "{:.4} receiving and {:.4} sending calls and {:.4} polls a packet",
        stats.datagram_reads as f64 / stats.datagrams_in as f64,
        stats.datagram_writes as f64 / stats.datagrams_out as f64,
        stats.polls as f64 / stats.datagrams_in as f64,
    );
}

#[test]
fn ipv4_peers_of_an_ipv6_socket_are_shown_as_ipv4() {
    let mut bench = bench_with("[::]:0", LoopOptions::default(), |_, u, batch| {
        let peer = batch.unwrap().get(0).unwrap().peer;
        assert!(matches!(peer.ip(), IpAddr::V4(_)));
        assert_eq!(u.send(&[wharf_host::event_loop::Out::to(peer, b"back")]).unwrap(), 1);
    });
    let v4 = UdpSocket::bind(V4).unwrap();
    v4.send_to(b"x", ("127.0.0.1", bench.addr.port())).unwrap();
    bench.run_to_packets(1);
    assert_eq!(super::hear(&v4).0, b"back");
}

#[test]
fn sockets_with_room_for_longer_packets_share_a_loop_with_others() {
    let mut bench = bench(V4);
    let log = Log::default();
    let options = UdpOptions { payload: Some(65_535), ..UdpOptions::default() };
    let long = bench.lp.loop_mut().bind_udp(V4.parse().unwrap(), Probe::new(&log, quiet), options).unwrap();
    let to = bench.lp.loop_mut().udp(long).unwrap().local_addr().unwrap();
    let payload: Vec<u8> = (0..=255).cycle().take(65_507).collect();
    for _ in 0..3 {
        bench.outside.send_to(&payload, to).unwrap();
        bench.outside.send_to(&payload, bench.addr).unwrap();
        bench.outside.send_to(b"short", to).unwrap();
        bench.turn();
    }
    let whole = Seen::Batch(vec![payload.clone(), b"short".to_vec()]);
    assert_eq!(*log.borrow(), [whole.clone(), whole.clone(), whole]);
    assert_eq!(bench.payloads(), vec![payload[..2048].to_vec(); 3]);
}

#[test]
fn a_socket_with_longer_packets_can_be_bound_inside_packets() {
    let log = Log::default();
    let (inner, mut done) = (Rc::clone(&log), false);
    let bound = Rc::new(RefCell::new(None));
    let tell = Rc::clone(&bound);
    let mut bench = bench_with(V4, LoopOptions::default(), move |_, u, _| {
        if !std::mem::replace(&mut done, true) {
            let options = UdpOptions { payload: Some(9000), ..UdpOptions::default() };
            let id = u.loop_mut().bind_udp(V4.parse().unwrap(), Probe::new(&inner, quiet), options).unwrap();
            *tell.borrow_mut() = Some(u.loop_mut().udp(id).unwrap().local_addr().unwrap());
            // One with shorter packets behind it takes nothing away from it.
            let probe = Probe::new(&Log::default(), quiet);
            u.loop_mut().bind_udp(V4.parse().unwrap(), probe, UdpOptions::default()).unwrap();
        }
    });
    bench.outside.send_to(b"go", bench.addr).unwrap();
    bench.run_to_packets(1);
    let to = bound.borrow().unwrap();
    bench.outside.send_to(&[7; 9000], to).unwrap();
    bench.outside.send_to(b"on", bench.addr).unwrap();
    bench.run_to_packets(3);
    assert_eq!(*log.borrow(), [Seen::Batch(vec![vec![7; 9000]])]);
    assert_eq!(bench.payloads(), [b"go", b"on"]);
}

#[test]
fn a_payload_out_of_range_is_refused() {
    let mut bench = bench(V4);
    for payload in [0, 65_536] {
        let options = UdpOptions { payload: Some(payload), ..UdpOptions::default() };
        let probe = Probe::new(&Log::default(), quiet);
        let refused = bench.lp.loop_mut().bind_udp(V4.parse().unwrap(), probe, options).unwrap_err();
        assert!(matches!(refused, Error::OutOfRange { asked, .. } if asked == payload as u64), "{refused}");
    }
}

#[test]
fn one_packet_is_taken_at_once_whatever_the_limit() {
    let mut bench = bench(V4);
    let take = |bench: &mut Bench| {
        let mut taken = None;
        let told = bench.udp(|u| u.receive_now(|packet| taken = Some(packet.payload.to_vec()))).unwrap();
        assert_eq!(told, taken.is_some());
        taken
    };
    bench.udp(|u| u.limit_packets(0)).unwrap();
    assert_eq!(take(&mut bench), None, "nothing has come");
    for payload in [b"1", b"2", b"3"] {
        bench.outside.send_to(payload, bench.addr).unwrap();
    }
    bench.turn();
    assert_eq!([take(&mut bench), take(&mut bench)], [Some(b"1".to_vec()), Some(b"2".to_vec())]);
    bench.turn();
    assert_eq!(bench.log(), [], "the limit still holds");
    bench.udp(|u| u.limit_packets(u64::MAX)).unwrap();
    bench.run_to_packets(3);
    assert_eq!(bench.log(), [Seen::Batch(vec![b"3".to_vec()])]);
    assert_eq!(take(&mut bench), None);
    let refused = bench.udp(|u| {
        u.close();
        u.receive_now(|_| {})
    });
    assert!(matches!(refused, Err(Error::Closed)));
}

#[test]
fn nothing_is_taken_inside_packets() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let tell = Rc::clone(&seen);
    let options = LoopOptions { udp_batch: 1, ..LoopOptions::default() };
    let mut bench = bench_with(V4, options, move |_, u, _| {
        tell.borrow_mut().push(u.receive_now(|_| {}).unwrap());
    });
    for payload in [b"1", b"2"] {
        bench.outside.send_to(payload, bench.addr).unwrap();
    }
    bench.run_to_packets(2);
    assert_eq!((bench.payloads(), seen.take()), (vec![b"1".to_vec(), b"2".to_vec()], vec![false, false]));
}
