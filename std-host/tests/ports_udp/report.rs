//! What a UDP port tells of itself.

use crate::harness::{V4, bench, options};
use std::net::UdpSocket;
use wharf_host::services::port::Addr;
use wharf_host::services::port::report::Level;

#[test]
fn report_answers_while_the_port_is_up_and_while_it_is_down() {
    for mode in ["fifo", "asyn"] {
        let mut bench = bench(&options(V4, &[("udp", mode)]), false);
        let head = format!("port dev  connected  {} udp  {mode}\n", bench.addr());
        let counts = "  received 0  sent 0  rx 0 B  tx 0 B  queued rx 0 tx 0\n";
        assert_eq!(bench.with(|port| port.report(Level::Line)).to_string(), head);
        assert_eq!(bench.with(|port| port.report(Level::Slots)).to_string(), format!("{head}{counts}"));
        bench.with(|port| {
            port.disconnect();
        });
        let down = bench.with(|port| port.report(Level::Line));
        assert_eq!(down.to_string(), format!("port dev  down  127.0.0.1:0 udp  {mode}\n"));
        assert_eq!(down.about.failure, None, "closing is no failure");
    }
}

#[test]
fn every_counter_has_its_place() {
    let mut bench = bench(&options(V4, &[("depth", "2"), ("rx_queue", "64")]), false);
    let local = bench.addr();
    // One for the reader that is cut, and then one without room.
    bench.send(&[b'x'; 100]);
    bench.send(b"late");
    bench.receive(2);
    let report = bench.with(|port| port.report(Level::Slots));
    assert_eq!((report.queued.rx, report.queued.tx), (64, 0));
    assert_eq!(bench.read(100).unwrap().0.len(), 64);
    bench.with(|port| port.write(Addr::Slot(0), b"twelve bytes")).unwrap();
    bench.answer();
    bench.send(b"");
    bench.send(b"unread");
    bench.receive(4);
    // What is queued when the port closes is given up.
    bench.with(|port| {
        port.write(Addr::Slot(0), b"unsent").unwrap();
        assert_eq!(port.report(Level::Slots).queued.tx, 6);
        port.disconnect();
    });
    let report = bench.with(|port| port.report(Level::All));
    let expected = "port dev  down  127.0.0.1:0 udp  fifo\n  \
                    received 4  sent 1  rx 110 B  tx 12 B  queued rx 0 tx 0\n  \
                    empty 1  truncated 1  dropped_full 1  unread 2  kernel_dropped 0  failed 1\n  \
                    longest queues rx 64 tx 12\n  \
                    masks  trace=none  trace_mask=error,driver,warning  trace_io=escape  trace_info=time,port\n  \
                    options  rx_queue=64  depth=2\n";
    assert_eq!(report.to_string(), expected);
    let masks = serde_json::json!({
        "trace": "none", "trace_mask": "error,driver,warning", "trace_io": "escape", "trace_info": "time,port",
    });
    let expected = serde_json::json!({
        "name": "dev", "connected": false, "local": null, "address": "127.0.0.1:0 udp", "failure": null, "udp": "fifo",
        "received": 4, "sent": 1, "rx": 110, "tx": 12, "queued": { "rx": 0, "tx": 0 },
        "trace_lines": { "written": 0, "lost": 0 }, "log_lines": null,
        "empty": 1, "truncated": 1, "dropped_full": 1, "unread": 2, "kernel_dropped": 0, "failed": 1,
        "longest": { "rx": 64, "tx": 12 }, "deadline": null,
        "masks": masks, "options": { "rx_queue": "64", "depth": "2" },
    });
    assert_eq!(serde_json::Value::Object(report.to_json()), expected);
    drop(bench);
    assert!(UdpSocket::bind(local).is_ok(), "the address is free again");
}

#[test]
fn each_level_tells_more() {
    let mut bench = bench(&options(V4, &[]), false);
    let mut keys = |level| bench.with(|port| port.report(level).to_json().into_iter().map(|(key, _)| key)).collect();
    let levels: [Vec<String>; 3] = [Level::Line, Level::Slots, Level::All].map(&mut keys);
    assert_eq!(levels[0], ["name", "connected", "local", "address", "failure", "udp"]);
    assert_eq!(levels[1][6..], ["received", "sent", "rx", "tx", "queued", "trace_lines", "log_lines"]);
    let last = ["empty", "truncated", "dropped_full", "unread", "kernel_dropped", "failed", "longest", "deadline"];
    assert_eq!(levels[2][13..], [&last[..], &["masks", "options"]].concat());
    assert!(levels[2].starts_with(&levels[1]) && levels[1].starts_with(&levels[0]), "{levels:?}");
}

#[test]
fn a_port_that_cannot_be_opened_says_why_and_that_it_tries_again() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("{} udp", holder.local_addr().unwrap());
    let mut bench = bench(&options(&address, &[("reopen", "10m"), ("mode", "echo")]), false);
    let report = bench.with(|port| port.report(Level::All));
    let text = report.to_string();
    let why = bench.port.failure().unwrap();
    assert!(text.starts_with(&format!("port dev  down  {address}  fifo\n  last failure: {why}\n")), "{text}");
    assert!(text.contains("\n  longest queues rx 0 tx 0  deadline in "), "{text}");
    assert!(text.ends_with("\n  options  mode=echo  reopen=10m\n"), "{text}");
    let json = report.to_json();
    let deadline = json["deadline"].as_f64().unwrap();
    assert!(deadline > 0.0 && deadline <= 600.0, "{deadline}");
    assert_eq!(json["failure"], why);
}

#[test]
fn the_longest_queue_is_kept_when_it_has_been_read() {
    let mut bench = bench(&options(V4, &[]), false);
    bench.send(b"abc");
    bench.send(b"de");
    bench.receive(2);
    // No report sees it while it is there.
    assert_eq!(bench.with(|port| port.pending().rx), 5);
    bench.read(8).unwrap();
    bench.read(8).unwrap();
    let report = bench.with(|port| port.report(Level::Line));
    assert_eq!((report.queued.rx, report.longest), (0, [5, 0]));
}

#[test]
fn nothing_waits_for_a_reader_who_never_came_while_there_are_subscribers() {
    let mut bench = bench(&options(V4, &[]), true);
    bench.send(b"heard");
    bench.receive(1);
    let report = bench.with(|port| port.report(Level::Line));
    assert_eq!((report.queued.rx, report.longest), (0, [0, 0]));
    // One who comes after all may have what is still there, and from now on it waits.
    assert_eq!(bench.read(8).unwrap().0, b"heard");
    bench.send(b"read");
    bench.receive(2);
    let report = bench.with(|port| port.report(Level::Line));
    assert_eq!((report.queued.rx, report.longest), (4, [4, 0]));
}
