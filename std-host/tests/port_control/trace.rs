//! Trace: what goes over a port, written down.

use crate::folder::{Folder, lines_of};
use crate::harness::Bench;
use std::io::Read;
use wharf_host::services::port::Addr;
use wharf_host::services::port::report::Level;

#[test]
fn both_directions_are_written_with_their_true_length() {
    let folder = Folder::new();
    let file = folder.path("%p-%i.trace");
    let mut bench = Bench::new(&[
        ("mode", "echo"),
        ("trace", "both"),
        ("trace_limit", "4"),
        ("trace_mask", "driver"),
        ("trace_file", &file),
    ]);
    let mut client = bench.client();
    bench.send(&mut client, b"*IDN?\r\n");
    bench.run_until(|port| port.report(Level::Line).totals.tx == 7);
    bench.end();
    assert_eq!(lines_of(&folder.path("dev-0.trace")), ["dev:0 < 7 *IDN", "dev:0 > 7 *IDN"]);
}

#[test]
fn one_direction_alone_can_be_traced() {
    let folder = Folder::new();
    let file = folder.path("trace");
    let mut bench = Bench::new(&[("mode", "echo"), ("trace", "tx"), ("trace_mask", "driver"), ("trace_file", &file)]);
    let mut client = bench.client();
    bench.send(&mut client, b"ab");
    bench.run_until(|port| port.report(Level::Line).totals.tx == 2);
    bench.end();
    assert_eq!(lines_of(&file), ["dev:0 > 2 ab"]);
}

#[test]
fn accept_keeps_a_childs_trace_masks() {
    let folder = Folder::new();
    let file = folder.path("%i");
    let mut bench = Bench::new(&[("mode", "echo"), ("slots", "2"), ("trace_file", &file)]);
    for (key, value) in [("trace", "rx"), ("trace_mask", "driver"), ("trace_io", "hex")] {
        bench.with(|port| port.set_option(Addr::Slot(1), key, value)).unwrap();
    }
    for n in 0..3 {
        let (mut first, mut second) = (bench.client(), bench.client());
        bench.send(&mut first, b"a");
        bench.send(&mut second, b"b");
        let masks = ["trace", "trace_mask", "trace_io"];
        let kept = bench.with(|port| masks.map(|key| port.option(Addr::Slot(1), key).unwrap()));
        assert_eq!(kept, ["rx", "driver", "hex"], "accept {n}");
        drop((first, second));
        bench.run_until(|port| port.report(Level::Line).taken == 0);
    }
    bench.end();
    let text = std::fs::read_to_string(folder.path("1")).unwrap();
    let heads = text.lines().filter(|line| line.ends_with(" dev:1 < 1")).count();
    let rows = text.lines().filter(|line| line.starts_with("0000  62 ")).count();
    assert_eq!((heads, rows, text.lines().count()), (3, 3, 6), "{text}");
    assert!(!std::path::Path::new(&folder.path("0")).exists(), "the other child is not traced");
}

#[test]
fn each_level_has_its_own_lines() {
    let folder = Folder::new();
    for (level, expected) in [
        ("driver", &["dev:0 < 4 ab\\r\\n", "dev:0 > 2 OK"][..]),
        ("device", &["dev:0 > 2 OK"]),
        ("filter", &["dev:0 < 2 ab"]),
        ("flow", &["dev:0 connected PEER"]),
        ("warning", &["dev refused PEER: no slot is free"]),
        ("none", &[]),
    ] {
        let file = folder.path(level);
        let options = [("trace", "both"), ("trace_mask", level), ("trace_file", &file)];
        let more = [("input_eos", "\\r\\n"), ("consumer", "push"), ("auto_connect", "true")];
        let mut bench = Bench::new(&[options, more].concat());
        let mut client = bench.client();
        bench.send(&mut client, b"ab\r\n");
        bench.with(|port| port.write(Addr::Slot(0), b"OK")).unwrap();
        bench.run_until(|port| port.report(Level::Line).totals.tx == 2);
        let other = std::net::TcpStream::connect(bench.port.local_addr().unwrap()).unwrap();
        bench.run_until(|port| port.totals().full == 1);
        let written = bench.report(Level::Line).about.trace;
        bench.end();
        let peers = [client.local_addr(), other.local_addr()].map(|address| address.unwrap().to_string());
        let name = |line: String| peers.iter().fold(line, |line, peer| line.replace(peer, "PEER"));
        let lines: Vec<_> = match std::path::Path::new(&file).exists() {
            true => lines_of(&file).into_iter().map(name).collect(),
            false => Vec::new(),
        };
        let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with("dev listens on")).collect();
        assert_eq!(lines, expected, "{level}");
        assert_eq!(written.lost, 0);
    }
}

#[test]
fn a_slow_sink_costs_lines_and_no_time_of_the_port() {
    let folder = Folder::new();
    let pipe = folder.pipe("slow");
    let mut bench = Bench::new(&[
        ("mode", "echo"),
        ("trace", "both"),
        ("trace_limit", "64k"),
        ("trace_io", "hex"),
        ("trace_file", &pipe),
    ]);
    let mut client = bench.client();
    let (block, mut echoed) = (vec![b'x'; 16 * 1024], vec![0; 16 * 1024]);
    for _ in 0..100 {
        bench.send(&mut client, &block);
        let all = bench.report(Level::Line).totals.rx;
        bench.run_until(|port| port.report(Level::Line).totals.tx == all);
        client.read_exact(&mut echoed).unwrap();
    }
    let counts = bench.report(Level::Line).about.trace;
    assert!(counts.lost > 0 && counts.written == 0, "{counts:?}");
    // What is queued has somewhere to go, so that the end of the port need not wait for it.
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    bench.end();
    assert!(reader.join().unwrap().contains(" dev:0 < "));
}
