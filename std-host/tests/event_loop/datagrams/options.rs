//! Options: shared ports, broadcast, groups.

use super::{Bench, Log, Probe, Seen, V4, V6, bench, bench_with, quiet};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use wharf_host::event_loop::{Error, LoopOptions, Membership, Out, Udp, UdpOptions};

#[test]
fn a_port_is_shared_only_by_those_who_say_so() {
    let mut bench = bench(V4);
    let mut bind = |addr: SocketAddr, reuse_port| {
        let options = UdpOptions { reuse_port, ..UdpOptions::default() };
        bench.lp.loop_mut().bind_udp(addr, Probe::new(&Log::default(), quiet), options)
    };
    let first = bind(V4.parse().unwrap(), true).unwrap();
    let taken = bench.addr;
    let refused = bind(taken, true).unwrap_err();
    assert_eq!(refused.to_string(), format!("bind {taken}: address in use"));
    let shared = bench.lp.loop_mut().udp(first).unwrap().local_addr().unwrap();
    let mut again = |reuse_port| {
        let options = UdpOptions { reuse_port, ..UdpOptions::default() };
        bench.lp.loop_mut().bind_udp(shared, Probe::new(&Log::default(), quiet), options)
    };
    assert!(again(false).is_err());
    assert!(again(true).is_ok());
}

#[test]
fn broadcast_has_to_be_allowed() {
    let mut bench = bench(V4);
    let everybody = [Out::to("127.255.255.255:9".parse().unwrap(), b"x")];
    let refused = bench.udp(|u| u.send(&everybody)).unwrap_err();
    assert_eq!(refused.to_string(), "send to 127.255.255.255:9: permission denied");
    bench.udp(|u| u.set_broadcast(true)).unwrap();
    assert_eq!(bench.udp(|u| u.send(&everybody)).unwrap(), 1);
    bench.udp(|u| u.set_broadcast(false)).unwrap();
    assert!(bench.udp(|u| u.send(&everybody)).is_err());
}

/// The index of the loopback interface: every packet tells it.
fn loopback() -> Option<u32> {
    let index = Rc::new(Cell::new(None));
    let seen = Rc::clone(&index);
    let mut bench = bench_with(V4, LoopOptions::default(), move |_, _, batch| {
        seen.set(batch.unwrap().get(0).unwrap().interface);
    });
    bench.outside.send_to(b"x", bench.addr).unwrap();
    bench.run_to_packets(1);
    index.get()
}

const GROUPS: [(&str, &str, &str); 2] = [("0.0.0.0:0", V4, "239.87.72.82"), ("[::]:0", V6, "ff01::8748:5246")];

/// A socket that may be in a group, and one beside it that sends to the group over loopback.
fn members(any: &str, one: &str, group: &str, interface: u32) -> Option<(Bench, Membership, SocketAddr, UdpSocket)> {
    let group: IpAddr = group.parse().unwrap();
    let member = Membership { interface: Some(interface), ..Membership::of(group) };
    let bench = bench(any);
    let to = SocketAddr::new(group, bench.addr.port());
    let sender = UdpSocket::bind(one).unwrap();
    if group.is_ipv6() {
        socket2::SockRef::from(&sender).set_multicast_if_v6(interface).unwrap();
    }
    if let Err(error) = sender.send_to(b"0", to) {
        println!("skipped: this system's loopback carries no packets to {group}: {error}");
        return None;
    }
    Some((bench, member, to, sender))
}

#[test]
fn a_member_of_a_group_hears_it_until_it_leaves() {
    let Some(interface) = loopback() else { return println!("skipped: the system does not tell interfaces") };
    for (any, one, group) in GROUPS {
        let Some((mut bench, member, to, sender)) = members(any, one, group, interface) else { continue };
        // That somebody else on this host is a member makes nobody else one.
        let bystander = Probe::new(&Log::default(), quiet);
        let bystander = bench.lp.loop_mut().bind_udp(any.parse().unwrap(), bystander, UdpOptions::default()).unwrap();
        bench.lp.loop_mut().udp(bystander).unwrap().join(member).unwrap();
        sender.send_to(b"0", to).unwrap();
        bench.turn();
        assert_eq!(bench.log(), [], "not a member yet");
        bench.udp(|u| u.join(member)).unwrap();
        sender.send_to(b"1", to).unwrap();
        bench.run_to_packets(1);
        bench.udp(|u| u.leave(member)).unwrap();
        sender.send_to(b"2", to).unwrap();
        sender.send_to(b"3", SocketAddr::new(sender.local_addr().unwrap().ip(), to.port())).unwrap();
        bench.run_to_packets(2);
        assert_eq!(bench.payloads(), [b"1", b"3"]);
        let error = bench.udp(|u| u.leave(member)).unwrap_err();
        assert!(matches!(&error, Error::Io { op: "leave", object, .. } if object == group), "{error}");
    }
}

#[test]
fn a_membership_with_a_source_hears_it_alone() {
    let Some(interface) = loopback() else { return println!("skipped: the system does not tell interfaces") };
    for ((any, one, group), other) in GROUPS.into_iter().zip(["127.0.0.2", "2001:db8::1"]) {
        let Some((mut bench, member, to, sender)) = members(any, one, group, interface) else { continue };
        let here = sender.local_addr().unwrap().ip();
        let other = Membership { source: Some(other.parse().unwrap()), ..member };
        bench.udp(|u| u.join(other)).unwrap();
        sender.send_to(b"unwanted", to).unwrap();
        bench.udp(|u| u.leave(other)).unwrap();
        let wanted = Membership { source: Some(here), ..member };
        bench.udp(|u| u.join(wanted)).unwrap();
        sender.send_to(b"wanted", to).unwrap();
        bench.run_to_packets(1);
        assert_eq!(bench.payloads(), [b"wanted"]);
        bench.udp(|u| u.leave(wanted)).unwrap();
        let mixed = Membership { source: Some(if to.is_ipv4() { [0; 16].into() } else { [0; 4].into() }), ..member };
        assert!(bench.udp(|u| u.join(mixed)).is_err());
    }
}

#[test]
fn a_packet_to_a_group_says_which() {
    let Some(interface) = loopback() else { return println!("skipped: the system does not tell interfaces") };
    let seen = Rc::new(Cell::new(None));
    let local = Rc::clone(&seen);
    let mut bench = bench_with("0.0.0.0:0", LoopOptions::default(), move |_, _, batch| {
        local.set(batch.unwrap().get(0).unwrap().local);
    });
    let (_, one, group) = GROUPS[0];
    let group: IpAddr = group.parse().unwrap();
    bench.udp(|u| u.join(Membership { interface: Some(interface), ..Membership::of(group) })).unwrap();
    let sender = UdpSocket::bind(one).unwrap();
    if sender.send_to(b"x", SocketAddr::new(group, bench.addr.port())).is_err() {
        return println!("skipped: this system's loopback carries no packets to {group}");
    }
    bench.run_to_packets(1);
    assert_eq!(seen.get(), Some(group));
}

#[test]
fn what_a_socket_sends_to_a_group_can_be_kept_from_this_host() {
    for (addr, ttl, set) in [(V4, 7_u8, true), (V6, 9, false)] {
        let mut bench = bench(addr);
        let check = |u: &mut Udp<'_, ()>| {
            u.set_multicast_loop(set).unwrap();
            u.set_multicast_ttl(ttl).unwrap();
            let raw = u.raw().unwrap();
            let socket = socket2::SockRef::from(&raw);
            if addr == V4 {
                (socket.multicast_loop_v4().unwrap(), socket.multicast_ttl_v4().unwrap())
            } else {
                (socket.multicast_loop_v6().unwrap(), socket.multicast_hops_v6().unwrap())
            }
        };
        assert_eq!(bench.udp(check), (set, u32::from(ttl)));
        bench.udp(|u| u.set_multicast_loop(!set)).unwrap();
        assert_eq!(bench.log(), Vec::<Seen>::new());
    }
}
