//! `wharf modbus read --every`, and what a failure in the middle of a long read says.

use crate::{AwaitEnd, Expect, Send, Server, json, nobody, program, serving, status, stderr, stdout, wharf};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json as value;
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

const ASK: [&str; 2] = ["0001 0000 0006 01 03 0000 0001", "0002 0000 0006 01 03 0000 0001"];

fn lines(output: &Output) -> Vec<serde_json::Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_poll_is_a_block_of_rows_over_one_connection() {
    let server = Server::start([vec![
        Expect(ASK[0]),
        Send("0001 0000 0005 01 03 02 0007"),
        Expect(ASK[1]),
        Send("0002 0000 0005 01 03 02 0008"),
        AwaitEnd,
    ]]);
    let output = server.run("read", &["holding", "0", "--every", "1ms", "-n", "2"]);
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((status(&output), lines.len()), (0, 3), "{output:?}");
    assert_eq!(lines[0], "    time  address  hex   value");
    assert!(lines[1].ends_with("        0  0007  7") && lines[2].ends_with("        0  0008  8"), "{text}");
    let time = |line: &str| line[..8].trim().parse::<f64>().unwrap();
    assert!(time(lines[1]) < time(lines[2]), "{text}");
}

#[test]
fn each_poll_is_a_json_line_and_a_failed_one_shows_in_the_status() {
    let server = Server::start([vec![
        Expect(ASK[0]),
        Send("0001 0000 0003 01 83 02"),
        Expect(ASK[1]),
        Send("0002 0000 0005 01 03 02 0008"),
    ]]);
    let output = server.run("read", &["holding", "0", "--every", "5ms", "-n", "2", "--json"]);
    let lines = lines(&output);
    assert_eq!((status(&output), lines.len()), (1, 2), "{output:?}");
    assert_eq!((&lines[0]["error"], &lines[0]["code"]), (&value!("exception"), &value!(2)));
    assert_eq!(lines[1]["values"], value!([8]));
    assert!(lines[1]["elapsed_ms"].as_u64().unwrap() >= 5, "never early: {lines:?}");
}

#[test]
fn a_lost_connection_is_said_and_replaced_within_the_same_poll() {
    let first = || vec![Expect(ASK[0]), Send("0001 0000 0005 01 03 02 0007")];
    // The second connection ends when it has been asked, the first between two polls, which are a second apart so that it
    // has ended before it is asked.
    let server =
        Server::start([first(), vec![Expect(ASK[0]), Send("0001 0000 0005 01 03 02 0008"), Expect(ASK[1])], first()]);
    let output = server.run("read", &["holding", "0", "--every", "1s", "-n", "3", "--json"]);
    let values: Vec<_> = lines(&output).iter().map(|line| line["values"].clone()).collect();
    assert_eq!((status(&output), values), (0, vec![value!([7]), value!([8]), value!([7])]), "{output:?}");
    assert_eq!(stderr(&output).matches("the server closed the connection").count(), 2, "{output:?}");
    assert_eq!(stderr(&output).matches("; connecting again\n").count(), 2, "{output:?}");
}

#[test]
fn a_poll_without_a_reply_is_reported_and_the_next_begins_with_a_new_connection() {
    let server =
        Server::start([vec![Expect(ASK[0]), AwaitEnd], vec![Expect(ASK[0]), Send("0001 0000 0005 01 03 02 0008")]]);
    let output = server.run("read", &["holding", "0", "--every", "1ms", "-n", "2", "--json", "--timeout", "2s"]);
    let lines = lines(&output);
    assert_eq!((status(&output), lines.len()), (3, 2), "{output:?}");
    assert_eq!((&lines[0]["error"], &lines[1]["values"]), (&value!("timeout"), &value!([8])));
}

#[test]
fn polling_nobody_fails_every_time() {
    let (_holder, address) = nobody();
    let output = wharf(&["modbus", "read", &address, "holding", "0", "--every", "1ms", "-n", "3", "--json"]);
    let errors: Vec<_> = lines(&output).iter().map(|line| line["error"].clone()).collect();
    assert_eq!((status(&output), errors), (3, vec![value!("connect"); 3]));
}

/// Polls a running server without end, sends a signal after the first block, and gives the status.
fn interrupted(arguments: &[&str], signal: Signal) -> i32 {
    let (mut server, address) = serving(Stdio::null());
    let mut child =
        program().args([&["modbus", "read", &address], arguments].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = child.wait().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    status.code().expect("it ends by itself")
}

#[test]
fn a_signal_ends_polling_in_order() {
    assert_eq!(interrupted(&["holding", "0", "--every", "1h"], Signal::INT), 0);
    assert_eq!(interrupted(&["holding", "0", "--every", "1ms", "--json"], Signal::TERM), 0);
    assert_eq!(interrupted(&["holding", "60000", "--every", "1h", "--json"], Signal::INT), 1, "the last poll failed");
}

#[test]
fn a_failure_in_the_middle_of_a_long_job_names_its_span() {
    let script = || {
        let first: &'static str = format!("0001 0000 00FD 01 03 FA {}", "0001".repeat(125)).leak();
        [vec![
            Expect("0001 0000 0006 01 03 000A 007D"),
            Send(first),
            Expect("0002 0000 0006 01 03 0087 0005"),
            Send("0002 0000 0003 01 83 02"),
        ]]
    };
    let output = Server::start(script()).run("read", &["holding", "10", "130"]);
    assert!(stderr(&output).ends_with("exception 02 (illegal data address), at 135..=139\n"), "{output:?}");
    let output = Server::start(script()).run("read", &["holding", "10", "130", "--json"]);
    assert_eq!((status(&output), &json(&output)["at"]), (1, &value!({ "address": 135, "count": 5 })));
    let server = Server::start([vec![
        Expect("0001 0000 0006 01 05 0000 FF00"),
        Send("0001 0000 0006 01 05 0000 FF00"),
        Expect("0002 0000 0006 01 05 0001 0000"),
        Send("0002 0000 0003 01 85 04"),
    ]]);
    let output = server.run("write", &["coils", "0", "1", "0", "--single"]);
    assert!(stderr(&output).ends_with("exception 04 (server device failure), at 1..=1\n"), "{output:?}");
}

#[test]
fn a_server_id_is_one_line() {
    let script = [vec![Expect("0001 0000 0002 01 11"), Send("0001 0000 0008 01 11 05 57 68 72 66 FF")]];
    let output = Server::start(script).run("read", &["server-id"]);
    assert_eq!(stdout(&output), "address  hex             value\n      0  57 68 72 66 FF  Whrf\\xff\n", "{output:?}");
}
