//! Trace of a UDP port: what goes over it, with the address of the peer where a child's name would stand.

use crate::folder::{Folder, lines_of};
use crate::harness::{Bench, V4, bench, hear, options, peer};
use std::net::UdpSocket;
use wharf_core::port::framing::Eom;
use wharf_host::services::port::Addr;
use wharf_host::services::port::report::Level;
use wharf_host::services::port::udp::{RunningUdp, UdpSubscriber};

/// One more who gets every datagram.
struct Deaf;

impl UdpSubscriber for Deaf {}

/// A port whose trace goes to this file, with these options besides.
fn traced(file: &str, keys: &[(&str, &str)]) -> Bench {
    bench(&options(V4, &[&[("trace", "both"), ("trace_file", file)], keys].concat()), false)
}

/// The lines that a port has written when it ends, with words for the addresses of these sockets. That the port is up is
/// none of them.
fn lines(bench: Bench, file: &str, names: &[(&UdpSocket, &str)]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|(socket, name)| (socket.local_addr().unwrap(), *name)).collect();
    names.push((bench.peer.local_addr().unwrap(), "PEER"));
    drop(bench);
    let named = |line: String| names.iter().fold(line, |line, (at, name)| line.replace(&at.to_string(), name));
    let lines = if std::path::Path::new(file).exists() { lines_of(file) } else { Vec::new() };
    lines.into_iter().map(named).filter(|line| !line.starts_with("dev listens on ")).collect()
}

#[test]
fn both_directions_are_written_with_the_peer_and_their_true_length() {
    let folder = Folder::new();
    let keys = [("mode", "echo"), ("trace_limit", "4"), ("trace_mask", "driver")];
    let mut bench = traced(&folder.path("%p%i.trace"), &keys);
    bench.send(b"*IDN?\r\n");
    bench.run_until(|port| port.counters().sent == 1);
    assert_eq!(bench.answer(), b"*IDN?\r\n");
    bench.send(b"");
    bench.run_until(|port| port.counters().sent == 2);
    // A port without slots is its own number, -1.
    let file = folder.path("dev-1.trace");
    assert_eq!(lines(bench, &file, &[]), ["dev PEER < 7 *IDN", "dev PEER > 7 *IDN", "dev PEER < 0", "dev PEER > 0"]);
}

#[test]
fn one_direction_alone_can_be_traced() {
    let folder = Folder::new();
    for (way, expected) in [("rx", "dev PEER < 2 ab"), ("tx", "dev PEER > 2 ab")] {
        let file = folder.path(way);
        let mut bench = traced(&file, &[("mode", "echo"), ("trace", way), ("trace_mask", "driver")]);
        bench.send(b"ab");
        bench.run_until(|port| port.counters().sent == 1);
        assert_eq!(lines(bench, &file, &[]), [expected]);
    }
}

#[test]
fn bytes_are_shown_in_rows_if_that_is_wanted() {
    let folder = Folder::new();
    let file = folder.path("rows");
    let keys = [("trace_io", "hex"), ("trace_info", "port"), ("trace_mask", "driver"), ("trace", "rx")];
    let mut bench = traced(&file, &keys);
    bench.send(b"0123456789abcdef\n");
    bench.receive(1);
    let peer = bench.peer.local_addr().unwrap();
    drop(bench);
    let expected = format!(
        "dev {peer} < 17\n0000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef\n\
         0010  0a                                               .\n"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
}

#[test]
fn each_level_has_its_own_lines() {
    let folder = Folder::new();
    for (level, expected) in [
        ("driver", &["dev PEER < 4 ab\\r\\n", "dev PEER < 4 full", "dev PEER > 2 OK"][..]),
        ("device", &["dev PEER < 3 ab\\r", "dev PEER < 1 \\n", "dev PEER > 2 OK"]),
        ("filter", &["dev PEER < 4 ab\\r\\n"]),
        ("flow", &["dev is down: closed"]),
        ("warning", &["dev lost 1 datagrams because its ring was full"]),
        ("none", &[]),
    ] {
        let file = folder.path(level);
        let mut bench = traced(&file, &[("trace_mask", level), ("depth", "1")]);
        // Two of them, who are shown the same.
        bench.with(|port| [(); 2].map(|()| port.subscribe(Box::new(Deaf))));
        // The reader takes part from now on.
        assert!(bench.read(3).is_err());
        bench.send(b"ab\r\n");
        bench.send(b"full");
        bench.receive(2);
        assert_eq!(bench.read(3), Ok((b"ab\r".to_vec(), Eom::CNT)));
        assert_eq!(bench.read(3), Ok((b"\n".to_vec(), Eom::END)));
        bench.with(|port| port.write(Addr::Slot(0), b"OK")).unwrap();
        assert_eq!(bench.answer(), b"OK");
        bench.with(|port| {
            port.disconnect();
        });
        assert_eq!(lines(bench, &file, &[]), expected, "{level}");
    }
}

#[test]
fn a_broadcast_is_one_line_and_a_datagram_for_each_peer() {
    let folder = Folder::new();
    for (level, expected) in [
        ("device", &["dev > 2 hi"][..]),
        ("driver", &["dev PEER < 1 a", "dev OTHER < 1 b", "dev PEER > 2 hi", "dev OTHER > 2 hi"]),
    ] {
        let file = folder.path(level);
        let mut bench = traced(&file, &[("trace_mask", level)]);
        bench.with(|port| port.broadcast(b"nobody")).unwrap();
        let other = peer("127.0.0.1:0");
        bench.send(b"a");
        bench.receive(1);
        other.send_to(b"b", bench.addr()).unwrap();
        bench.receive(2);
        assert_eq!(bench.with(|port| port.write(Addr::Port, b"hi")), Ok(4));
        assert_eq!((bench.answer(), hear(&other)), (b"hi".to_vec(), b"hi".to_vec()));
        assert_eq!(lines(bench, &file, &[(&other, "OTHER")]), expected, "{level}");
    }
}

#[test]
fn a_datagram_that_cannot_be_delivered_is_a_warning_and_a_port_that_cannot_be_opened_an_error() {
    let folder = Folder::new();
    let file = folder.path("warning");
    let mut bench = traced(&file, &[("trace_mask", "warning")]);
    let gone = peer("127.0.0.1:0");
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    bench.with(|port| port.reply(nobody, b"anybody?")).unwrap();
    bench.run_until(|port| port.counters().failed == 1);
    let told = lines(bench, &file, &[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("dev: ") && told[0].contains("connection refused"), "{told:?}");

    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = folder.path("error");
    let address = format!("{} udp", holder.local_addr().unwrap());
    let keys = [("trace", "rx"), ("trace_mask", "error"), ("trace_file", &file), ("reopen", "0")];
    let bench = self::bench(&options(&address, &keys), false);
    assert_eq!(lines(bench, &file, &[]), ["dev is down: the address is in use"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_system_drops_is_a_warning() {
    let folder = Folder::new();
    let file = folder.path("trace");
    let mut bench = traced(&file, &[("trace_mask", "warning")]);
    // More than the system has room for, while nobody takes it from there.
    (0..200).for_each(|_| bench.send(&[b'x'; 60_000]));
    bench.receive(1);
    // The next one tells what was lost before it.
    bench.send(b"last");
    bench.run_until(|port| port.counters().kernel_dropped > 0);
    let report = bench.with(|port| port.report(Level::All));
    let dropped = report.counters.kernel_dropped;
    assert!(report.to_string().contains(&format!("  kernel_dropped {dropped}  ")), "{report}");
    let expected = format!("dev: the system has dropped {dropped} datagrams of this socket");
    let lines = lines(bench, &file, &[]);
    assert!(lines.contains(&expected), "{lines:?}");
}

#[test]
fn trace_is_set_while_the_port_runs_by_either_address() {
    let folder = Folder::new();
    let file = folder.path("trace");
    let mut bench = traced(&file, &[("trace", "none"), ("trace_mask", "driver")]);
    let set = |port: &mut RunningUdp<'_>, addr, value| {
        port.set_option(addr, "trace", value).unwrap();
        [Addr::Port, Addr::Slot(0)].map(|addr| port.option(addr, "trace").unwrap())
    };
    for (count, (addr, value)) in
        (1..).zip([(Addr::Slot(0), "rx"), (Addr::Port, "none"), (Addr::Port, "both"), (Addr::Slot(0), "tx")])
    {
        assert_eq!(bench.with(|port| set(port, addr, value)), [value, value]);
        bench.send(value.as_bytes());
        bench.receive(count);
    }
    bench.with(|port| port.set_option(Addr::Slot(0), "trace_io", "none")).unwrap();
    bench.read(9).unwrap();
    bench.with(|port| port.write(Addr::Slot(0), b"shown?")).unwrap();
    bench.answer();
    assert_eq!(lines(bench, &file, &[]), ["dev PEER < 2 rx", "dev PEER < 4 both", "dev PEER > 6"]);
}

#[test]
fn a_slow_sink_costs_lines_and_no_datagram() {
    let folder = Folder::new();
    let pipe = folder.pipe("slow");
    let mut bench = traced(&pipe, &[("mode", "echo"), ("trace_limit", "64k"), ("trace_io", "hex")]);
    let block = vec![b'x'; 16 * 1024];
    for round in 1..=100 {
        bench.send(&block);
        bench.run_until(|port| port.counters().sent == round);
        assert_eq!(bench.answer(), block);
    }
    let report = bench.with(|port| port.report(Level::Slots));
    let counts = report.about.trace;
    assert!(counts.lost > 0 && counts.written == 0, "{counts:?}");
    let text = report.to_string();
    assert!(text.ends_with(&format!("\n  trace lines 0 lost {}\n", counts.lost)), "{text}");
    // What is queued has somewhere to go, so that the end of the port need not wait for it.
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    drop(bench);
    assert!(reader.join().unwrap().contains(" < 16384\n"));
}
