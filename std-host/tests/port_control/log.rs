//! `mode = "log"`: what clients send, appended to a file.

use crate::folder::{Folder, lines_of};
use crate::harness::Bench;
use wharf_host::services::port::report::Level;

#[test]
fn each_message_is_a_line_with_the_name_of_its_slot() {
    let folder = Folder::new();
    let file = folder.path("dev.log");
    let mut bench = Bench::new(&[("mode", "log"), ("log_file", &file), ("slots", "2"), ("input_eos", "\\n")]);
    let (mut first, mut second) = (bench.client(), bench.client());
    bench.send(&mut first, b"one\ntw");
    bench.send(&mut second, b"three\n\n");
    bench.send(&mut first, b"o\x1b[2J\r\nrest");
    drop(first);
    bench.run_until(|port| port.report(Level::Line).taken == 1);
    bench.end();
    let expected = ["dev:0 one", "dev:1 three", "dev:1 ", "dev:0 two\\x1b[2J\\r", "dev:0 rest"];
    // The order of two clients is not what this is about.
    let (mut lines, mut expected) = (lines_of(&file), expected.map(str::to_owned).to_vec());
    for lines in [&mut lines, &mut expected] {
        lines.sort_by_key(|line| line[..5].to_owned());
    }
    assert_eq!(lines, expected);
}

#[test]
fn a_slow_disk_costs_lines_and_no_client() {
    let folder = Folder::new();
    let pipe = folder.pipe("slow");
    let mut bench = Bench::new(&[("mode", "log"), ("log_file", &pipe), ("input_eos", "\\n")]);
    let mut client = bench.client();
    let mut block = vec![b'x'; 8 * 1024];
    block.push(b'\n');
    for _ in 0..400 {
        bench.send(&mut client, &block);
    }
    let report = bench.report(Level::Slots);
    let counts = report.about.log.unwrap();
    assert!(counts.lost > 0 && counts.written == 0, "{counts:?}");
    assert_eq!(report.taken, 1);
    let text = report.to_string();
    assert!(text.contains(&format!("\n  log lines 0 lost {}\n", counts.lost)), "{text}");
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap().lines().count() as u64);
    bench.end();
    assert_eq!(reader.join().unwrap(), 400 - counts.lost);
}

#[test]
fn a_log_that_cannot_be_written_is_refused_before_anything_is_opened() {
    use wharf_host::event_loop::Loop;
    use wharf_host::services::port::{Server, options::Options};
    let folder = Folder::new();
    let file = folder.path("missing/dev.log");
    let mut described = Options::new("dev", "127.0.0.1:0").unwrap();
    described.set("mode", "log").unwrap();
    described.set("log_file", &file).unwrap();
    let mut lp = Loop::new().unwrap();
    let refused = Server::bind(&mut lp.loop_mut(), &described, |_| ()).unwrap_err();
    assert_eq!(refused.to_string(), format!("append to {file} for port dev: entity not found"));
}

#[test]
fn a_file_that_was_moved_away_is_made_anew_when_asked() {
    let folder = Folder::new();
    let (file, moved) = (folder.path("log"), folder.path("log.1"));
    let mut bench = Bench::new(&[("mode", "log"), ("log_file", &file), ("input_eos", "\\n")]);
    let mut client = bench.client();
    bench.send(&mut client, b"one\n");
    bench.run_until(|port| port.report(Level::Line).about.log.unwrap().written == 1);
    std::fs::rename(&file, &moved).unwrap();
    assert!(bench.with(|port| port.reopen_files()));
    bench.send(&mut client, b"two\n");
    bench.end();
    assert_eq!([lines_of(&moved), lines_of(&file)], [["dev:0 one"], ["dev:0 two"]]);
    let mut without = Bench::new(&[("trace", "both"), ("trace_file", "stderr")]);
    assert!(!without.with(|port| port.reopen_files()), "standard error is no file");
}
