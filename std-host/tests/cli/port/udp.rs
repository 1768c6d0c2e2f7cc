//! The same for UDP ports, which have no slots.

use super::{Folder, PATIENCE, assert_documented, metrics};
use crate::{json, status, stderr, stdout};
use rustix::process::Signal;
use std::net::UdpSocket;

fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

#[test]
fn serve_opens_a_udp_port_or_says_why_it_cannot() {
    let folder = Folder::new();
    let host = folder.start(&["port", "serve", "dev", "127.0.0.1:0 udp", "--echo"]);
    let address = host.address();
    let peer = peer();
    peer.send_to(b"hello", &address).unwrap();
    let mut received = [0; 10];
    assert_eq!(peer.recv(&mut received).unwrap(), 5);
    assert_eq!(host.end(), (0, String::new()));

    let taken = format!("{} udp", peer.local_addr().unwrap());
    let output = folder.run(&["--log", "off", "port", "serve", "dev", &taken, "--echo"]);
    let said = stderr(&output);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, ""), "{said}");
    assert!(said.contains("address in use") && said.contains("(`ss -lunp` names it)"), "{said}");
}

#[test]
fn report_and_status_show_a_udp_port_among_others() {
    let folder = Folder::new();
    let text = "[[port]]\nname = \"u\"\naddress = \"127.0.0.1:0 udp\"\nmode = \"echo\"\n\
                [[port]]\nname = \"t\"\naddress = \"127.0.0.1:0\"\nslots = 1\n";
    std::fs::write(folder.0.join("hall.toml"), text).unwrap();
    let host = folder.start(&["--log", "off", "run", "hall.toml"]);
    let [u, t] = [(); 2].map(|()| host.address());
    let peer = peer();
    peer.send_to(b"hello", &u).unwrap();
    peer.recv(&mut [0; 8]).unwrap();
    let counts = "  received 1  sent 1  rx 5 B  tx 5 B  queued rx 0 tx 0\n";
    let report = folder.report_with(counts);
    let first = format!("port u  connected  {u} udp  fifo\n{counts}port t  connected  {t} tcp  slots 0 of 1");
    assert!(report.starts_with(&first), "{report}");
    let whole = folder.told(&["port", "report", "u", "-l", "2"]);
    let lost = "  empty 0  truncated 0  dropped_full 0  unread 0  kernel_dropped 0  failed 0\n";
    assert!(whole.contains(lost) && whole.ends_with("\n  options  mode=echo\n"), "{whole}");
    let told = json(&folder.run(&["port", "report", "u", "-l", "2", "--json"]));
    assert_eq!((&told["udp"], &told["received"], &told["failed"]), (&"fifo".into(), &1.into(), &0.into()));
    let shown = folder.told(&["status"]);
    assert!(shown.contains(&format!("\nport u: listen {u}; received 1; sent 1\nport t: listen {t}; ")), "{shown}");
}

#[test]
fn set_changes_an_option_of_a_udp_port_and_drop_says_that_there_is_nobody() {
    let folder = Folder::new();
    let host = folder.start(&["port", "serve", "dev", "127.0.0.1:0 udp", "--echo"]);
    let address = host.address();
    assert_eq!(folder.told(&["port", "set", "dev", "peer_ttl", "60000ms"]), "dev peer_ttl 1m\n");
    assert_eq!(folder.told(&["port", "set", "dev", "trace_mask", "driver"]), "dev trace_mask driver\n");
    assert_eq!(folder.told(&["port", "set", "dev", "trace_file", "%p.trace"]), "dev trace_file %p.trace\n");
    assert_eq!(folder.told(&["port", "set", "dev:0", "trace", "rx"]), "dev:0 trace rx\n");
    let peer = peer();
    peer.send_to(b"traced", &address).unwrap();
    peer.recv(&mut [0; 8]).unwrap();
    for (arguments, why) in [
        (&["drop", "dev:0"][..], "dev is a UDP port: it has no clients, and so nobody to drop"),
        (&["set", "dev", "depth", "3"], "dev: option depth cannot be changed while the port exists"),
        (&["set", "dev", "idle_any", "3s"], "dev: option idle_any is only for tcp ports"),
        (&["set", "dev", "peer_tll", "3s"], "dev: there is no option \"peer_tll\", did you mean \"peer_ttl\"?"),
        (&["set", "dev:1", "peer_ttl", "3s"], "there is no dev:1: dev is a UDP port, without slots"),
    ] {
        let output = folder.run(&[&["port"][..], arguments].concat());
        assert_eq!((status(&output), stderr(&output)), (1, format!("wharf: {why}\n")), "{arguments:?}");
    }
    assert_eq!(host.end(), (0, String::new()));
    let trace = folder.read("dev.trace");
    let line = format!("Z dev {} < 6 traced\n", peer.local_addr().unwrap());
    assert!(trace.ends_with(&line) && trace.lines().count() == 1, "{trace}");
}

#[test]
fn a_log_has_the_address_of_the_peer_before_each_datagram_and_survives_a_rotation() {
    let folder = Folder::new();
    let host = folder.start(&["port", "serve", "dev", "127.0.0.1:0 udp", "--log-file", "dev.log"]);
    let address = host.address();
    let peer = peer();
    peer.send_to(b"one\r\n", &address).unwrap();
    folder.report_with("\n  log lines 1 lost 0\n");
    let from = peer.local_addr().unwrap();
    let ends_with = |file: &str, bytes: &str| {
        let log = folder.read(file);
        assert!(log.ends_with(&format!("Z dev {from} {bytes}\n")), "{log}");
    };
    ends_with("dev.log", "one\\r\\n");
    if !super::is_deaf_to_hangups() {
        std::fs::rename(folder.0.join("dev.log"), folder.0.join("dev.log.1")).unwrap();
        host.signal(Signal::HUP);
        // Until the host has heard of it, lines go on to the old file.
        let end = std::time::Instant::now() + PATIENCE;
        while folder.read("dev.log").is_empty() {
            assert!(std::time::Instant::now() < end);
            peer.send_to(b"two", &address).unwrap();
        }
        ends_with("dev.log", "two");
    }
    assert_eq!(host.end().0, 0);
}

#[test]
fn metrics_of_a_udp_port_are_there_from_the_start_and_count() {
    let folder = Folder::new();
    let text =
        "[admin]\nlisten = \"127.0.0.1:0\"\n[[port]]\nname = \"dev\"\naddress = \"127.0.0.1:0 udp\"\nmode = \"echo\"\n";
    std::fs::write(folder.0.join("hall.toml"), text).unwrap();
    let host = folder.start(&["--log", "off", "run", "hall.toml"]);
    let address = host.address();
    let http = host.line().strip_prefix("admin http://").unwrap().to_owned();
    let at_first = metrics(&http);
    for line in &at_first {
        assert!(line.contains("{port=\"dev\""), "{line}");
        assert!(
            line == "wharf_port_up{port=\"dev\"} 1" || (line.contains("_total{") && line.ends_with(" 0")),
            "{line}"
        );
    }
    let peer = peer();
    peer.send_to(b"12345", &address).unwrap();
    peer.recv(&mut [0; 8]).unwrap();
    peer.send_to(b"", &address).unwrap();
    peer.recv(&mut [0; 8]).unwrap();
    folder.report_with("  received 2  sent 2 ");
    let changed: Vec<_> = metrics(&http).into_iter().filter(|line| !at_first.contains(line)).collect();
    let expected = [
        "wharf_port_datagrams_total{port=\"dev\",direction=\"rx\"} 2",
        "wharf_port_datagrams_total{port=\"dev\",direction=\"tx\"} 2",
        "wharf_port_datagrams_empty_total{port=\"dev\"} 1",
        "wharf_port_bytes_total{port=\"dev\",direction=\"rx\"} 5",
        "wharf_port_bytes_total{port=\"dev\",direction=\"tx\"} 5",
    ];
    assert_eq!(changed, expected);
    assert_documented(&at_first);
}
