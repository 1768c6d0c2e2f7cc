//! `mode = "log"`: each datagram is a line of a file.

use crate::folder::{Folder, lines_of};
use crate::harness::{CNT_END, V4, V6, bench, options, peer};
use wharf_host::event_loop::Loop;
use wharf_host::services::port::report::Level;
use wharf_host::services::port::udp::UdpServer;

#[test]
fn each_datagram_is_a_line_with_the_address_of_its_peer() {
    let folder = Folder::new();
    for (address, mode) in [(V4, "fifo"), (V6, "fifo"), (V4, "asyn")] {
        let file = folder.path(&format!("{}.{mode}", &address[..3]));
        let mut bench = bench(&options(address, &[("udp", mode), ("mode", "log"), ("log_file", &file)]), false);
        let other = peer(if address == V6 { "[::1]:0" } else { "127.0.0.1:0" });
        // The terminator of a line is no more than a byte of a datagram.
        bench.send(b"one\ntwo\x1b[2J\r\n");
        bench.receive(1);
        other.send_to(b"", bench.addr()).unwrap();
        bench.receive(2);
        bench.send(&[b'x'; 65_507]);
        bench.receive(3);
        let [first, second] = [&bench.peer, &other].map(|peer| peer.local_addr().unwrap());
        drop(bench);
        let long = format!("dev {first} {}", "x".repeat(65_507));
        let expected = [format!("dev {first} one\\ntwo\\x1b[2J\\r\\n"), format!("dev {second} "), long];
        assert!(lines_of(&file) == expected, "{address} {mode}");
    }
}

#[test]
fn a_reader_gets_what_is_logged_too() {
    let folder = Folder::new();
    let file = folder.path("log");
    let mut bench = bench(&options(V4, &[("mode", "log"), ("log_file", &file)]), false);
    assert!(bench.read(8).is_err(), "from now on the reader takes part");
    bench.send(b"both");
    bench.receive(1);
    assert_eq!(bench.read(4), Ok((b"both".to_vec(), CNT_END)));
    bench.run_until(|port| port.report(Level::Slots).about.log.unwrap().written == 1);
    let report = bench.with(|port| port.report(Level::Slots));
    assert!(report.to_string().ends_with("\n  log lines 1 lost 0\n"), "{report}");
}

#[test]
fn a_slow_disk_costs_lines_and_no_datagram() {
    let folder = Folder::new();
    let pipe = folder.pipe("slow");
    let mut bench = bench(&options(V4, &[("mode", "log"), ("log_file", &pipe)]), false);
    for round in 1..=400 {
        bench.send(&[b'x'; 8 * 1024]);
        bench.receive(round);
    }
    let report = bench.with(|port| port.report(Level::Line));
    let counts = report.about.log.unwrap();
    assert!(counts.lost > 0 && counts.written == 0, "{counts:?}");
    assert_eq!((report.counters.dropped_full, report.counters.kernel_dropped), (0, 0));
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap().lines().count() as u64);
    drop(bench);
    assert_eq!(reader.join().unwrap(), 400 - counts.lost);
}

#[test]
fn a_log_that_cannot_be_written_is_refused_before_anything_is_opened() {
    let folder = Folder::new();
    let file = folder.path("missing/dev.log");
    let mut lp = Loop::new().unwrap();
    let described = options(V4, &[("mode", "log"), ("log_file", &file)]);
    let refused = UdpServer::bind(&mut lp.loop_mut(), &described, |_| panic!("there is a port")).unwrap_err();
    assert_eq!(refused.to_string(), format!("append to {file} for port dev: entity not found"));
}

#[test]
fn files_that_were_moved_away_are_made_anew_when_asked() {
    let folder = Folder::new();
    let files = ["log", "trace"].map(|name| folder.path(name));
    let trace = [("trace", "rx"), ("trace_mask", "driver"), ("trace_file", &files[1])];
    let mut bench = bench(&options(V4, &[&[("mode", "log"), ("log_file", &files[0])], &trace[..]].concat()), false);
    let peer = bench.peer.local_addr().unwrap();
    bench.send(b"one");
    bench.run_until(|port| {
        let about = port.report(Level::Line).about;
        (about.log.unwrap().written, about.trace.written) == (1, 1)
    });
    let moved = files.each_ref().map(|file| format!("{file}.1"));
    files.iter().zip(&moved).for_each(|(file, moved)| std::fs::rename(file, moved).unwrap());
    assert!(bench.with(|port| port.reopen_files()));
    bench.send(b"two");
    bench.receive(2);
    drop(bench);
    for (file, bytes) in [(&moved[0], "one"), (&files[0], "two")] {
        assert_eq!(lines_of(file), [format!("dev {peer} {bytes}")]);
    }
    for (file, bytes) in [(&moved[1], "one"), (&files[1], "two")] {
        assert_eq!(lines_of(file), [format!("dev {peer} < 3 {bytes}")]);
    }
    let mut without = self::bench(&options(V4, &[("trace", "both"), ("trace_file", "stderr")]), false);
    assert!(!without.with(|port| port.reopen_files()), "standard error is no file");
}
