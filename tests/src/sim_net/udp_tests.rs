//! The world's UDP sockets, asked as a loop asks them.

use super::{Faults, SimNet, World};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use wharf_host::event_loop::net::{Arena, Membership, More, Net, NetId, Out, Ready, UdpOptions, UdpSetting};

fn at(addr: &str) -> SocketAddr {
    addr.parse().unwrap()
}

/// What a poll that does not wait tells: reading, writing, hang-up.
fn events(net: &mut SimNet) -> Vec<(bool, bool, bool)> {
    let mut ready = Vec::new();
    net.poll(Some(Duration::ZERO), &mut ready).unwrap();
    ready.into_iter().map(|Ready { read, write, hung_up, .. }| (read, write, hung_up)).collect()
}

fn bound(world: &World, addr: &str, options: UdpOptions) -> (SimNet, NetId, SocketAddr) {
    let mut net = world.net();
    let id = net.bind_udp(at(addr), &options).unwrap();
    net.watch(id, 1, false).unwrap();
    let addr = net.local_addr(id).unwrap();
    (net, id, addr)
}

/// What is received by one call, and whether there may be more.
fn receive(net: &mut SimNet, id: NetId, max: usize) -> Result<(usize, More), ErrorKind> {
    let mut arena = Arena::new(8, 100);
    let more = net.receive_packets(id, &mut arena, max).map_err(|error| error.kind())?;
    Ok((arena.len(), more))
}

#[test]
fn a_packet_is_an_edge_only_where_there_was_none() {
    let world = World::strict();
    let (mut net, id, addr) = bound(&world, "127.0.0.1:0", UdpOptions::default());
    let peer = world.bind_udp(at("127.0.0.1:0"));
    assert_eq!(events(&mut net), []);
    peer.send(addr, b"1");
    assert_eq!(events(&mut net), [(true, false, false)]);
    peer.send(addr, b"2");
    assert_eq!(events(&mut net), []);
    assert_eq!(receive(&mut net, id, 1), Ok((1, More::Maybe)));
    assert_eq!(receive(&mut net, id, 5), Ok((1, More::No)));
    assert_eq!(receive(&mut net, id, 5), Err(ErrorKind::WouldBlock));
    peer.send(addr, b"3");
    assert_eq!(events(&mut net), [(true, false, false)]);
    // Watching again tells what is possible.
    net.watch(id, 1, true).unwrap();
    assert_eq!(events(&mut net), [(true, true, false)]);
}

#[test]
fn a_full_buffer_says_when_half_of_it_is_free() {
    let faults = Faults { pace: Duration::from_millis(1), send_buffer: 4..=4, ..Faults::none() };
    let world = World::new(0, faults);
    let (mut net, id, _) = bound(&world, "127.0.0.1:0", UdpOptions::default());
    let peer = world.bind_udp(at("127.0.0.1:0"));
    net.watch(id, 1, true).unwrap();
    assert_eq!(events(&mut net), [(false, true, false)]);
    let six = [Out::to(peer.addr(), b"x"); 6];
    assert_eq!(net.send_packets(id, &six).unwrap(), 4);
    assert_eq!(net.send_packets(id, &six).unwrap_err().kind(), ErrorKind::WouldBlock);
    for (after, told) in [(1, 0), (2, 0), (3, 1), (4, 0)] {
        world.jump(Duration::from_millis(1));
        assert_eq!(events(&mut net).len(), told, "after {after} ms");
        assert_eq!(peer.receive().len(), 1);
    }
}

#[test]
fn addresses_of_their_own_come_before_those_of_all_and_connected_ones_before_both() {
    let world = World::strict();
    let shared = UdpOptions { reuse_port: true, ..UdpOptions::default() };
    let peer = world.bind_udp(at("127.0.0.1:5000"));
    let to = at("127.0.0.1:7000");
    let mut all: Vec<_> =
        ["[::]:7000", "0.0.0.0:7000", "127.0.0.1:7000"].into_iter().map(|addr| bound(&world, addr, shared)).collect();
    while let Some((mut net, id, _)) = all.pop() {
        peer.send(to, b"x");
        assert_eq!(receive(&mut net, id, 1).unwrap().0, 1);
        // A connected socket hears its peer alone.
        net.connect_udp(id, Some(at("127.0.0.1:5001"))).unwrap();
        peer.send(to, b"x");
        assert_eq!(receive(&mut net, id, 1), Err(ErrorKind::WouldBlock));
        assert_eq!(peer.next_unreached().is_some(), all.is_empty());
        for (net, id, _) in &mut all {
            let _ = receive(net, *id, 1);
        }
    }
}

#[test]
fn an_address_is_shared_only_by_those_who_say_so() {
    let world = World::strict();
    let shared = UdpOptions { reuse_port: true, ..UdpOptions::default() };
    let only_v6 = UdpOptions { v6only: true, ..UdpOptions::default() };
    let (mut net, _, _) = bound(&world, "127.0.0.1:7000", shared);
    for (addr, options, free) in [
        ("127.0.0.1:7000", UdpOptions::default(), false),
        ("0.0.0.0:7000", UdpOptions::default(), false),
        ("[::]:7000", UdpOptions::default(), false),
        ("[::]:7000", only_v6, true),
        ("127.0.0.2:7000", UdpOptions::default(), true),
        ("127.0.0.1:7000", shared, true),
    ] {
        let outcome = net.bind_udp(at(addr), &options).map_err(|error| error.kind());
        assert_eq!(outcome.is_ok(), free, "{addr}: {outcome:?}");
        assert!(free || outcome == Err(ErrorKind::AddrInUse));
    }
}

#[test]
fn a_packet_that_reaches_nobody_fails_the_next_call_unless_it_is_asked_for() {
    let world = World::strict();
    let (mut net, id, _) = bound(&world, "127.0.0.1:0", UdpOptions::default());
    let gone = [at("127.0.0.1:8"), at("127.0.0.1:9")];
    let good = world.bind_udp(at("127.0.0.1:0"));
    assert_eq!(net.send_packets(id, &[Out::to(gone[0], b"x")]).unwrap(), 1);
    assert_eq!(events(&mut net), [(true, false, true)]);
    let next = [Out::to(good.addr(), b"x")];
    assert_eq!(net.send_packets(id, &next).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(net.send_packets(id, &next).unwrap(), 1);
    // It is still kept. Taking all takes the error along.
    assert_eq!(net.send_packets(id, &gone.map(|to| Out::to(to, b"x"))).unwrap(), 1);
    assert_eq!(net.next_unreached(id).unwrap().0, gone[0]);
    assert_eq!(net.send_packets(id, &next).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(net.next_unreached(id).unwrap().0, gone[0]);
    assert!(net.next_unreached(id).is_none());
    assert_eq!(receive(&mut net, id, 1), Err(ErrorKind::WouldBlock));
    assert_eq!(net.send_packets(id, &next).unwrap(), 1);
}

#[test]
fn what_is_wrong_with_a_packet_is_said_of_the_first_alone() {
    let world = World::strict();
    let (mut net, id, _) = bound(&world, "127.0.0.1:0", UdpOptions::default());
    let peer = world.bind_udp(at("127.0.0.1:0"));
    let (good, long) = (Out::to(peer.addr(), b"x"), vec![0; 65_508]);
    for (bad, why) in [
        (Out::to(peer.addr(), &long), ErrorKind::InvalidInput),
        (Out::connected(b"x"), ErrorKind::InvalidInput),
        (Out::to(at("127.0.0.1:0"), b"x"), ErrorKind::InvalidInput),
        (Out::to(at("[::1]:9"), b"x"), ErrorKind::Unsupported),
        (Out::to(at("255.255.255.255:9"), b"x"), ErrorKind::PermissionDenied),
    ] {
        assert_eq!(net.send_packets(id, &[bad, good]).unwrap_err().kind(), why);
        assert_eq!(net.send_packets(id, &[good, bad, good]).unwrap(), 1);
    }
    assert_eq!(peer.receive().len(), 5);
}

#[test]
fn a_group_hears_the_senders_that_it_wants() {
    let world = World::strict();
    let (mut net, id, _) = bound(&world, "0.0.0.0:7000", UdpOptions::default());
    let [wanted, other] = ["127.0.0.1:0", "127.0.0.2:0"].map(|addr| world.bind_udp(at(addr)));
    let group = "239.0.0.1".parse().unwrap();
    let with = Membership { source: Some(wanted.addr().ip()), ..Membership::of(group) };
    net.set_udp(id, &UdpSetting::Join(with)).unwrap();
    for peer in [&wanted, &other] {
        peer.send(SocketAddr::new(group, 7000), b"x");
    }
    assert_eq!(receive(&mut net, id, 8).unwrap().0, 1);
    assert!(other.next_unreached().is_none(), "a group cannot be unreachable");
    for (wrong, why) in [
        (Membership::of("10.0.0.1".parse().unwrap()), ErrorKind::InvalidInput),
        (Membership::of("ff02::1".parse().unwrap()), ErrorKind::InvalidInput),
        (Membership { interface: Some(2), ..Membership::of(group) }, ErrorKind::NotFound),
    ] {
        assert_eq!(net.set_udp(id, &UdpSetting::Join(wrong)).unwrap_err().kind(), why);
    }
    let unknown = UdpSetting::Leave(Membership::of(group));
    assert_eq!(net.set_udp(id, &unknown).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn packets_are_lost_doubled_and_overtaken_as_the_seed_says() {
    for (faults, check) in [
        (Faults { lost: 500, ..Faults::none() }, (|n, _| n < 700) as fn(usize, bool) -> bool),
        (Faults { duplicated: 500, ..Faults::none() }, |n, ordered| n > 1300 && ordered),
        (Faults { overtaken: 500, ..Faults::none() }, |n, ordered| n == 1000 && !ordered),
        (Faults { latency: Duration::from_millis(9), ..Faults::none() }, |n, ordered| n == 1000 && ordered),
    ] {
        let runs = [(); 2].map(|()| {
            let world = World::new(7, faults.clone());
            let (mut net, id, addr) = bound(&world, "127.0.0.1:0", UdpOptions::default());
            let peer = world.bind_udp(at("127.0.0.1:0"));
            for number in 0..1000_u32 {
                peer.send(addr, &number.to_be_bytes());
            }
            world.jump(Duration::from_secs(1));
            let _ = events(&mut net);
            let mut arena = Arena::new(3000, 4);
            while net.receive_packets(id, &mut arena, 64).is_ok() {}
            format!("{arena:?}")
        });
        assert_eq!(runs[0], runs[1], "the same seed, the same fate");
        let world = World::new(7, faults);
        let (from, to) = (world.bind_udp(at("127.0.0.1:0")), world.bind_udp(at("127.0.0.1:0")));
        for number in 0..1000_u32 {
            from.send(to.addr(), &number.to_be_bytes());
        }
        world.jump(Duration::from_secs(1));
        let _ = events(&mut world.net());
        let arrived: Vec<_> = to.receive().into_iter().map(|(_, payload)| payload).collect();
        assert!(check(arrived.len(), arrived.is_sorted()), "{} arrived", arrived.len());
    }
}
