//! Options of a UDP port that runs.

use crate::harness::{PATIENCE, V4, bench, options};
use std::net::UdpSocket;
use std::sync::Arc;
use wharf_host::event_loop::Loop;
use wharf_host::services::port::udp::UdpServer;
use wharf_host::services::port::{Addr, Error};

#[test]
fn what_may_be_set_is_set_by_either_address_and_read_as_it_is_written() {
    let common = [
        ("auto_connect", "false", "false"),
        ("reopen", "1500ms", "1500ms"),
        ("trace", "both", "both"),
        ("trace_limit", "1024", "1KiB"),
        ("trace_mask", "9", "error,driver"),
        ("trace_io", "HEX", "hex"),
        ("trace_info", "none", "none"),
        ("trace_file", "stderr", "stderr"),
    ];
    let fifo = [("rest", "discard", "discard"), ("drop", "oldest", "oldest"), ("peer_ttl", "60s", "1m")];
    let asyn = [("cache_hold", "2000ms", "2s")];
    for (mode, own) in [("fifo", &fifo[..]), ("asyn", &asyn)] {
        for addr in [Addr::Port, Addr::Slot(0)] {
            let mut bench = bench(&options(V4, &[("udp", mode)]), false);
            for (key, value, shown) in common.iter().chain(own) {
                bench.with(|port| port.set_option(addr, key, value)).unwrap();
                let read = bench.with(|port| [Addr::Port, Addr::Slot(0)].map(|addr| port.option(addr, key).unwrap()));
                assert_eq!(read, [*shown, shown], "{key}");
            }
        }
    }
}

#[test]
fn what_cannot_be_set_says_why_and_stays() {
    for (mode, cases) in [
        (
            "fifo",
            &[
                ("name", "option name cannot be changed while the port exists"),
                ("udp", "option udp cannot be changed while the port exists"),
                ("mode", "option mode cannot be changed while the port exists"),
                ("log_file", "option log_file cannot be changed while the port exists"),
                ("rx_queue", "option rx_queue cannot be changed while the port exists"),
                ("depth", "option depth cannot be changed while the port exists"),
                ("reuse_port", "option reuse_port can be changed only while the port is down: disconnect it first"),
                ("slots", "option slots is only for tcp ports"),
                ("tx_queue", "option tx_queue is only for tcp ports"),
                ("on_full", "option on_full is only for tcp ports"),
                ("allow", "option allow is only for tcp ports"),
                ("idle_rx", "option idle_rx is only for tcp ports"),
                ("linger", "option linger is only for tcp ports"),
                ("input_eos", "option input_eos is only for tcp ports"),
                ("consumer", "option consumer is only for tcp ports"),
                ("overflow", "option overflow is only for tcp ports"),
                ("keepalive", "option keepalive is only for tcp ports"),
                ("cache_hold", "option cache_hold is only for udp ports with udp = \"asyn\""),
                ("reopens", "there is no option \"reopens\", did you mean \"reopen\"?"),
            ][..],
        ),
        (
            "asyn",
            &[
                ("rest", "option rest is only for udp ports with udp = \"fifo\""),
                ("peer_ttl", "option peer_ttl is only for udp ports with udp = \"fifo\""),
                ("rx_queue", "option rx_queue is only for tcp ports, and udp ports with udp = \"fifo\""),
            ],
        ),
    ] {
        let mut bench = bench(&options(V4, &[("udp", mode)]), false);
        for (key, why) in cases {
            let refused = bench.with(|port| port.set_option(Addr::Port, key, "1"));
            assert_eq!(refused, Err(Error::Option((*why).to_owned())), "{key}");
        }
        let refused = bench.with(|port| port.set_option(Addr::Slot(0), "reopen", "soon")).unwrap_err().to_string();
        assert!(refused.starts_with("option reopen cannot be \"soon\": "), "{refused}");
        assert_eq!(bench.with(|port| port.option(Addr::Port, "reopen")), Ok("1s".to_owned()));
        let beyond = Error::OutOfRange { addr: 1, slots: 1 };
        assert_eq!(bench.with(|port| port.set_option(Addr::Slot(1), "reopen", "2s")), Err(beyond.clone()));
        assert_eq!(bench.with(|port| port.option(Addr::Slot(1), "reopen")), Err(beyond));
    }
}

#[test]
fn an_address_that_cannot_be_had_is_changed_while_the_port_waits_to_try_again() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("{} udp", holder.local_addr().unwrap());
    let mut bench = bench(&options(&address, &[("reopen", "1ms")]), false);
    assert_eq!(bench.port.local_addr(), None);
    bench.with(|port| port.set_option(Addr::Port, "address", V4)).unwrap();
    bench.run_until(|port| port.local_addr().is_some());
    assert_ne!(bench.addr(), holder.local_addr().unwrap());
}

#[test]
fn an_address_is_not_changed_under_a_port_that_is_about_to_be_bound() {
    let lookup = |_: &str, port: u16| Ok(vec![([127, 0, 0, 1], port).into()]);
    let mut lp = Loop::with_lookup((), Default::default(), Arc::new(lookup)).unwrap();
    let port = UdpServer::bind(&mut lp.loop_mut(), &options("device.example:0 udp", &[]), |_| {}).unwrap();
    assert_eq!(port.local_addr(), None, "its name is still looked up");
    let refused = port.with(&mut lp.loop_mut(), |port| port.set_option(Addr::Port, "address", "127.0.0.2:0 udp"));
    assert!(refused.unwrap_err().to_string().contains("disconnect it first"));
    let end = std::time::Instant::now() + PATIENCE;
    while port.local_addr().is_none() {
        assert!(std::time::Instant::now() < end);
        lp.turn(Some(PATIENCE)).unwrap();
    }
    let shown = port.with(&mut lp.loop_mut(), |port| port.option(Addr::Port, "address"));
    assert_eq!(
        (port.local_addr().unwrap().ip().to_string().as_str(), shown.as_deref()),
        ("127.0.0.1", Ok("device.example:0 udp"))
    );
}
