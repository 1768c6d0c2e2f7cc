//! `wharf modbus scan`.

use crate::{AwaitEnd, Expect, Send, Server, nobody, program, serving, status, stderr, stdout, wharf};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

fn lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Without what no test can know.
fn without_rtt(mut object: Value) -> Value {
    if object["answer"] == "reply" {
        assert!(object["rtt_us"].is_u64(), "{object}");
        object.as_object_mut().unwrap().remove("rtt_us");
    }
    object
}

#[test]
fn every_unit_of_a_server_is_found_and_named_in_order() {
    let mut server = program()
        .args(["modbus", "serve", "--listen", "127.0.0.1:0", "--units", "1,7-9", "--size", "10"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening ").unwrap();
    let output = wharf(&["modbus", "scan", address, "--units", "1-254", "--json", "--timeout", "30s"]);
    let people = wharf(&["modbus", "scan", address, "--units", "6-7", "--timeout", "30s"]);
    let absent =
        wharf(&["modbus", "scan", address, "--units", "7", "--probe", "coils:10", "--json", "--timeout", "30s"]);
    server.kill().unwrap();
    server.wait().unwrap();
    let lines = lines(&output);
    assert_eq!((status(&output), lines.len()), (0, 254), "{output:?}");
    for (line, unit) in lines.into_iter().zip(1_u8..) {
        assert_eq!(line["unit"], json!(unit));
        if matches!(unit, 1 | 7..=9) {
            assert_eq!(line["answer"], "reply", "{line}");
            assert_eq!(line["identity"]["product"], "wharf", "{line}");
            assert_eq!(line["server_id"], json!(b"Wharf\xff"), "{line}");
        } else {
            let name = "gateway target device failed to respond";
            assert_eq!(line, json!({ "unit": unit, "answer": "exception", "code": 11, "name": name }));
        }
    }
    let text = stdout(&people);
    let rows: Vec<&str> = text.lines().collect();
    assert!(rows[0].starts_with("unit  answer ") && rows.len() == 3, "{text}");
    assert_eq!(rows[1], "   6  exception 0b (gateway target device failed to respond)");
    assert!(rows[2].starts_with("   7  answers ") && rows[2].ends_with("; Wharf\\xff"), "{text}");
    let absent = &lines_of_one(&absent);
    assert_eq!((&absent["code"], &absent["identity"]["product"]), (&json!(2), &json!("wharf")), "it is there");
}

fn lines_of_one(output: &Output) -> Value {
    let mut lines = lines(output);
    assert_eq!(lines.len(), 1, "{output:?}");
    lines.remove(0)
}

#[test]
fn every_way_to_answer_is_told_apart() {
    let server = Server::start([vec![
        Expect("0001 0000 0006 01 04 0005 0001"),
        Send("0001 0000 0005 01 04 02 0007"),
        Expect("0002 0000 0005 01 2B 0E 03 00"),
        Send("0002 0000 000B 01 2B 0E 03 83 FF 01 01 00 01 61"),
        Expect("0003 0000 0005 01 2B 0E 03 01"),
        Send("0003 0000 000B 01 2B 0E 03 83 00 00 01 80 01 62"),
        Expect("0004 0000 0002 01 11"),
        Send("0004 0000 0005 01 11 02 57FF"),
        Expect("0005 0000 0006 02 04 0005 0001"),
        Send("0005 0000 0003 02 84 02"),
        Expect("0006 0000 0005 02 2B 0E 03 00"),
        Send("0006 0000 0003 02 AB 01"),
        Expect("0007 0000 0002 02 11"),
        Send("0007 0000 0003 02 91 01"),
        Expect("0008 0000 0006 03 04 0005 0001"),
        Send("0008 0000 0003 03 84 0B"),
        Expect("0009 0000 0006 04 04 0005 0001"),
        Expect("000A 0000 0006 05 04 0005 0001"),
        // The reply to the silent unit, much too late, then that to the present one.
        Send("0009 0000 0005 04 04 02 0007 000A 0000 0005 05 03 02 0007"),
        AwaitEnd,
    ]]);
    let arguments = ["--units", "1-5", "--probe", "input:5", "--parallel", "1", "--timeout", "3s", "--json"];
    let output = server.run("scan", &arguments);
    let expected = [
        json!({ "unit": 1, "answer": "reply", "identity": { "vendor": "a", "0x80": "b" }, "server_id": [0x57, 0xFF] }),
        json!({ "unit": 2, "answer": "exception", "code": 2, "name": "illegal data address" }),
        json!({ "unit": 3, "answer": "exception", "code": 11, "name": "gateway target device failed to respond" }),
        json!({ "unit": 4, "answer": "silent" }),
        json!({ "unit": 5, "answer": "protocol", "detail": "reply of function 3 to a request of function 4",
                "bytes": "00 0A 00 00 00 05 05 03 02 00 07" }),
    ];
    let lines: Vec<_> = lines(&output).into_iter().map(without_rtt).collect();
    assert_eq!((status(&output), lines), (4, expected.to_vec()), "{output:?}");
}

#[test]
fn units_that_are_silent_share_a_line_and_nobody_at_all_ends_with_3() {
    let asked = |unit: &str| Expect(format!("000{unit} 0000 0006 0{unit} 03 0000 0001").leak());
    let server = Server::start([vec![asked("1"), asked("2"), asked("3"), AwaitEnd]]);
    let output = server.run("scan", &["--units", "1-3", "--parallel", "1", "--timeout", "20ms"]);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, "silent: 1-3\n"), "{output:?}");
}

#[test]
fn a_silent_unit_is_asked_again_as_often_as_retries_say() {
    let request = "0001 0000 0006 01 03 0000 0001";
    let server = Server::start([vec![
        Expect(request),
        Expect(request),
        Expect(request),
        Send("0001 0000 0003 01 83 0A"),
        AwaitEnd,
    ]]);
    let output = server.run("scan", &["--units", "1", "--timeout", "1s", "--retries", "2", "--json"]);
    assert_eq!((status(&output), &lines(&output)[0]["code"]), (0, &json!(10)), "{output:?}");
}

#[test]
fn a_unit_that_costs_the_connection_is_tried_once_more_and_the_others_go_on() {
    let server = Server::start([
        vec![Expect("0001 0000 0006 01 03 0000 0001")],
        vec![Expect("0001 0000 0006 01 03 0000 0001")],
        vec![Expect("0001 0000 0006 02 03 0000 0001"), Send("0001 0000 0003 02 83 0A")],
    ]);
    let output = server.run("scan", &["--units", "1-2", "--parallel", "1", "--json"]);
    let lines = lines(&output);
    assert_eq!((status(&output), lines.len()), (0, 2), "{output:?}");
    assert_eq!((&lines[0]["answer"], &lines[1]["code"]), (&json!("connect"), &json!(10)), "{output:?}");
}

#[test]
fn garbage_and_a_length_of_65535_end_with_4_and_show_their_bytes() {
    for (reply, why) in [
        ("4854 5450 2F31 2E31", "mbap length 12081 is above 254"),
        ("0001 0000 FFFF", "mbap length 65535 is above 254"),
        ("0001 0000 0000", "mbap length 0 is below 2"),
        ("0001 0000 0005 01", "the connection ended inside the reply"),
    ] {
        let server = Server::start([vec![Expect("0001 0000 0006 01 03 0000 0001"), Send(reply)]]);
        let output = server.run("scan", &["--units", "1", "--json"]);
        let line = lines_of_one(&output);
        assert_eq!((status(&output), &line["detail"]), (4, &json!(why)), "{output:?}");
        assert_eq!(line["bytes"].as_str().unwrap().replace(' ', ""), reply.replace(' ', ""));
    }
}

#[test]
fn a_server_of_one_connection_is_scanned_over_that_one() {
    let plant = std::env::temp_dir().join(format!("wharf-scan-{}.toml", std::process::id()));
    let text = "[[modbus.server]]\nname = \"one\"\nlisten = [\"127.0.0.1:0\"]\nmax_connections = 1\n\
                [[modbus.server.unit]]\nid = 200\n";
    std::fs::write(&plant, text).unwrap();
    let mut server =
        program().args(["modbus", "serve", plant.to_str().unwrap()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening ").unwrap();
    let output = wharf(&["modbus", "scan", address, "--units", "100-220", "--json", "--timeout", "30s"]);
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_file(&plant).unwrap();
    let lines = lines(&output);
    assert_eq!((status(&output), lines.len()), (0, 121), "{output:?}");
    assert!(
        lines.iter().all(|line| line["answer"] == if line["unit"] == 200 { "reply" } else { "exception" }),
        "{output:?}"
    );
}

#[test]
fn scanning_nobody_ends_with_3() {
    let (_holder, address) = nobody();
    let output = wharf(&["modbus", "scan", &address, "--json"]);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, ""));
    assert!(stderr(&output).contains(&format!("{address}: cannot connect to ")), "{output:?}");
    let (mut child, address) = serving(Stdio::null());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status(&wharf(&["modbus", "scan", &address])), 3);
}
