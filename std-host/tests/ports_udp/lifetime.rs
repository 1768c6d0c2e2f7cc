//! How a UDP port opens, closes and opens again.

use crate::harness::{Heard, PATIENCE, V4, bench, options};
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use wharf_core::port::datagrams::OpenFailure;
use wharf_core::port::framing::Eom;
use wharf_host::event_loop::{Loop, Turn};
use wharf_host::services::port::udp::{Event, Reason, UdpServer};
use wharf_host::services::port::{Addr, Error};

#[test]
fn udp_tells_its_real_port() {
    for (address, ip) in
        [(V4, "127.0.0.1"), ("[::1]:0 udp", "::1"), ("localhost:0 udp", "127.0.0.1"), (":0 udp", "0.0.0.0")]
    {
        let mut bench = bench(&options(address, &[]), false);
        let local = bench.addr();
        assert_eq!((local.ip().to_string().as_str(), local.port() > 0), (ip, true));
        assert_eq!(bench.with(|port| port.local_addr()), Some(local));
        assert_eq!(*bench.log.borrow(), [Heard::Event(Event::PortUp { local })]);
    }
}

#[test]
fn a_name_is_resolved_and_really_bound() {
    let lookup = |_: &str, port: u16| Ok(vec![([127, 0, 0, 1], port).into()]);
    let mut lp = Loop::with_lookup((), Default::default(), std::sync::Arc::new(lookup)).unwrap();
    let options = options("device.example:0 udp", &[]);
    let port = UdpServer::bind(&mut lp.loop_mut(), &options, |_| {}).unwrap();
    assert_eq!(port.local_addr(), None, "the answer takes its time");
    assert!(lp.run_until(|_| port.local_addr().is_some()).unwrap());
    assert_eq!(port.local_addr().unwrap().ip().to_string(), "127.0.0.1");
}

#[test]
fn a_port_that_is_closed_while_its_name_is_looked_up_binds_nothing() {
    let lookup = |_: &str, port: u16| Ok(vec![([127, 0, 0, 1], port).into()]);
    let mut lp = Loop::with_lookup((), Default::default(), std::sync::Arc::new(lookup)).unwrap();
    let options = options("device.example:0 udp", &[]);
    let port = UdpServer::bind(&mut lp.loop_mut(), &options, |_| {}).unwrap();
    port.shutdown(&mut lp.loop_mut());
    // Nothing keeps the loop alive once the answer has come.
    let end = Instant::now() + PATIENCE;
    while lp.turn(Some(Duration::from_millis(50))).unwrap() != Turn::Idle {
        assert!(Instant::now() < end && port.local_addr().is_none(), "something is bound");
    }
    assert_eq!(port.local_addr(), None);
}

#[test]
fn a_failed_bind_is_down_and_is_tried_again() {
    let holder = UdpSocket::bind((wharf_tests::loopback::own(), 0)).unwrap();
    let address = format!("{} udp", holder.local_addr().unwrap());
    let mut bench = bench(&options(&address, &[("reopen", "1ms")]), false);
    assert_eq!(bench.port.local_addr(), None);
    let reason = Reason::NotOpened(OpenFailure::AddressInUse);
    assert_eq!(*bench.log.borrow(), [Heard::Event(Event::PortDown { reason })]);
    let why = bench.port.failure().unwrap();
    assert!(why.contains(&holder.local_addr().unwrap().to_string()), "{why}");
    let peer = bench.peer.local_addr().unwrap();
    assert_eq!(bench.with(|port| port.reply(peer, b"x")), Err(Error::PortDown { why: Some(why) }));
    let local = holder.local_addr().unwrap();
    drop(holder);
    bench.run_until(|port| port.local_addr().is_some());
    assert_eq!(bench.addr(), local);
}

#[test]
fn a_port_is_closed_and_opened_any_number_of_times() {
    let mut bench = bench(&options(V4, &[]), false);
    for round in 0..3 {
        bench.send(b"unread");
        bench.receive(round + 1);
        bench.with(|port| {
            port.disconnect();
        });
        assert_eq!((bench.port.local_addr(), bench.read(8)), (None, Err(Error::NotConnected)));
        assert_eq!(bench.with(|port| port.flush(Addr::Port)), Err(Error::NotConnected));
        assert_eq!(bench.with(|port| port.counters().unread), round + 1);
        bench.with(|port| {
            port.connect();
        });
        let local = bench.addr();
        let closed = Heard::Event(Event::PortDown { reason: Reason::PortClosed });
        assert!(bench.log.borrow().ends_with(&[closed, Heard::Event(Event::PortUp { local })]));
    }
    bench.send(b"x");
    bench.receive(4);
    assert_eq!(bench.read(8), Ok((b"x".to_vec(), Eom::END)));
}

#[test]
fn an_address_is_changed_while_the_port_is_down_and_not_while_it_is_up() {
    let mut bench = bench(&options(V4, &[]), false);
    let refused = bench.with(|port| port.set_option(Addr::Port, "address", "127.0.0.2:0 udp")).unwrap_err();
    assert!(refused.to_string().contains("disconnect it first"), "{refused}");
    bench.with(|port| {
        port.disconnect();
    });
    bench.with(|port| port.set_option(Addr::Port, "address", "localhost:0 udp")).unwrap();
    bench.with(|port| {
        port.connect();
    });
    assert_eq!(bench.with(|port| port.option(Addr::Port, "address")), Ok("localhost:0 udp".to_owned()));
    assert!(bench.port.local_addr().is_some());
}

#[test]
fn a_multicast_address_is_refused_in_words() {
    let mut bench = bench(&options("239.1.2.3:0 udp", &[("auto_connect", "false")]), false);
    bench.with(|port| {
        port.connect();
    });
    assert_eq!(bench.port.local_addr(), None);
    assert_eq!(bench.port.failure().unwrap(), "bind 239.1.2.3:0: multicast addresses are not supported");
}

#[test]
fn options_of_another_kind_of_port_are_refused() {
    let mut lp = Loop::new().unwrap();
    for (options, why) in [
        (options("127.0.0.1:0", &[]), "make port dev: \"127.0.0.1:0 tcp\" is no UDP address: add udp"),
        (options(V4, &[("mode", "broker")]), "make port dev: mode is \"broker\", and the port is udp"),
    ] {
        let error = UdpServer::bind(&mut lp.loop_mut(), &options, |_| {}).unwrap_err();
        assert_eq!(error.to_string(), why);
    }
}
