//! `modbus read` and `write`, against a scripted server.

use crate::Act::{AwaitEnd, Expect, Send};
use crate::{Server, bytes, json, json_without_rtt, nobody, status, stderr, stdout, wharf};

#[test]
fn registers_are_read_into_a_table() {
    let server = Server::start([vec![
        Expect("0001 0000 0006 01 03 000A 0002"),
        Send("0001 0000 0007 01 03 04 0037 FFFF"),
        AwaitEnd,
    ]]);
    let output = server.run("read", &["holding", "10", "2"]);
    assert_eq!(status(&output), 0, "{output:?}");
    assert_eq!(stdout(&output), "address  hex   value\n     10  0037  55\n     11  FFFF  65535\n");
}

#[test]
fn json_has_the_documented_shape() {
    let server = Server::start([vec![Expect("0001 0000 0006 01 03 000A 0001"), Send("0001 0000 0005 01 03 02 FFC9")]]);
    let output = server.run("read", &["holding", "40011", "--ref", "--type", "i16", "--json"]);
    assert_eq!(
        json_without_rtt(&output),
        serde_json::json!({ "unit": 1, "table": "holding", "address": 10, "type": "i16", "values": [-55] })
    );
    assert!(
        stdout(&output).starts_with("{\"unit\":1,\"table\":\"holding\",\"address\":10,\"type\":\"i16\",\"values\":")
    );
}

#[test]
fn typed_values_are_read_in_every_order() {
    for (order, data) in [("abcd", "47F12000"), ("cdab", "200047F1"), ("badc", "F1470020"), ("dcba", "0020F147")] {
        let reply: &'static str = format!("0001 0000 0007 07 04 04 {data}").leak();
        let server = Server::start([vec![Expect("0001 0000 0006 07 04 0003 0002"), Send(reply)]]);
        let output = server.run("read", &["input", "3", "--unit", "7", "--type", "f32", "--order", order, "--json"]);
        assert_eq!(json(&output)["values"], serde_json::json!([123_456.0]), "{order}");
    }
}

#[test]
fn strings_are_read_and_written() {
    let server =
        Server::start([vec![Expect("0001 0000 0006 01 03 0000 0002"), Send("0001 0000 0007 01 03 04 6F6B 0000")]]);
    let output = server.run("read", &["holding", "0", "--type", "string(2)", "--json"]);
    assert_eq!(json(&output)["values"], serde_json::json!(["ok"]));
    let server = Server::start([vec![
        Expect("0001 0000 000B 01 10 0000 0002 04 6F6B 0000"),
        Send("0001 0000 0006 01 10 0000 0002"),
    ]]);
    assert_eq!(status(&server.run("write", &["holding", "0", "ok", "--type", "string(2)"])), 0);
}

#[test]
fn bits_are_read_from_both_tables() {
    for (table, function) in [("coils", "01"), ("discrete", "02")] {
        let request: &'static str = format!("0001 0000 0006 01 {function} 0008 000A").leak();
        let reply: &'static str = format!("0001 0000 0005 01 {function} 02 0502").leak();
        let server = Server::start([vec![Expect(request), Send(reply)]]);
        let output = server.run("read", &[table, "0x8", "10", "--json"]);
        let (on, off) = (true, false);
        assert_eq!(json(&output)["values"], serde_json::json!([on, off, on, off, off, off, off, off, off, on]));
    }
}

#[test]
fn long_reads_are_split_between_values() {
    // 63 values of two registers: 62 fit a request of at most 125 registers.
    let values = "00000000".repeat(61);
    let first: &'static str = format!("0001 0000 00FB 01 03 F8 {values} 00000007").leak();
    let server = Server::start([vec![
        Expect("0001 0000 0006 01 03 0000 007C"),
        Send(first),
        Expect("0002 0000 0006 01 03 007C 0002"),
        Send("0002 0000 0007 01 03 04 00000009"),
    ]]);
    let output = server.run("read", &["holding", "0", "63", "--type", "u32", "--json"]);
    let values = json(&output)["values"].clone();
    assert_eq!(values.as_array().unwrap().len(), 63);
    assert_eq!((&values[61], &values[62]), (&serde_json::json!(7), &serde_json::json!(9)));
}

#[test]
fn long_writes_are_split_at_123_registers() {
    let first: &'static str = format!("0001 0000 00FD 01 10 0005 007B F6 {}", "0001".repeat(123)).leak();
    let server = Server::start([vec![
        Expect(first),
        Send("0001 0000 0006 01 10 0005 007B"),
        Expect("0002 0000 0009 01 10 0080 0001 02 0001"),
        Send("0002 0000 0006 01 10 0080 0001"),
    ]]);
    let values = vec!["1"; 124];
    let output = server.run("write", &[["holding", "5"].as_slice(), &values].concat());
    assert_eq!(status(&output), 0, "{output:?}");
}

#[test]
fn every_way_to_write_sends_its_own_function() {
    let cases: [(&[&str], &'static str, &'static str); 5] = [
        (&["coils", "3", "1", "0", "true"], "0001 0000 0008 01 0F 0003 0003 01 05", "0001 0000 0006 01 0F 0003 0003"),
        (&["coils", "3", "on", "--single"], "0001 0000 0006 01 05 0003 FF00", "0001 0000 0006 01 05 0003 FF00"),
        (
            &["holding", "3", "-2", "--type", "i16", "--single"],
            "0001 0000 0006 01 06 0003 FFFE",
            "0001 0000 0006 01 06 0003 FFFE",
        ),
        (
            &["holding", "3", "123456.0", "--type", "f32", "--order", "cdab"],
            "0001 0000 000B 01 10 0003 0002 04 2000 47F1",
            "0001 0000 0006 01 10 0003 0002",
        ),
        (
            &["holding", "4", "--mask", "0xF2,0x25"],
            "0001 0000 0008 01 16 0004 00F2 0025",
            "0001 0000 0008 01 16 0004 00F2 0025",
        ),
    ];
    for (arguments, request, reply) in cases {
        let output = Server::start([vec![Expect(request), Send(reply)]]).run("write", arguments);
        assert_eq!(status(&output), 0, "{arguments:?} {output:?}");
    }
}

#[test]
fn what_was_written_is_printed_like_what_is_read() {
    let server =
        Server::start([vec![Expect("0001 0000 0009 01 10 000A 0001 02 0037"), Send("0001 0000 0006 01 10 000A 0001")]]);
    let output = server.run("write", &["holding", "10", "55", "--json"]);
    assert_eq!(
        json_without_rtt(&output),
        serde_json::json!({ "unit": 1, "table": "holding", "address": 10, "type": "u16", "values": [55] })
    );
}

#[test]
fn the_other_readings_send_their_own_functions() {
    let cases: [(&[&str], &'static str, &'static str, serde_json::Value); 7] = [
        (
            &["file:4", "9", "2"],
            "0001 0000 000A 01 14 07 06 0004 0009 0002",
            "0001 0000 0009 01 14 06 05 06 000D 00FE",
            serde_json::json!([13, 254]),
        ),
        (
            &["fifo", "1246"],
            "0001 0000 0004 01 18 04DE",
            "0001 0000 000A 01 18 0006 0002 01B8 1284",
            serde_json::json!([440, 4740]),
        ),
        (&["server-id"], "0001 0000 0002 01 11", "0001 0000 0005 01 11 02 57FF", serde_json::json!([0x57, 0xFF])),
        (&["status"], "0001 0000 0002 01 07", "0001 0000 0003 01 07 6D", serde_json::json!([0x6D])),
        (&["diag:11"], "0001 0000 0006 01 08 000B 0000", "0001 0000 0006 01 08 000B 0102", serde_json::json!([258])),
        (
            &["events"],
            "0001 0000 0002 01 0C",
            "0001 0000 000B 01 0C 08 0000 0108 0121 2000",
            serde_json::json!([0x20, 0]),
        ),
        (
            &["identity", "0"],
            "0001 0000 0005 01 2B 0E 04 00",
            "0001 0000 000D 01 2B 0E 04 83 00 00 01 00 03 616263",
            serde_json::json!([{ "id": 0, "name": "vendor", "text": "abc" }]),
        ),
    ];
    for (arguments, request, reply, values) in cases {
        let rest = [arguments, &["--json"]].concat();
        let output = Server::start([vec![Expect(request), Send(reply)]]).run("read", &rest);
        assert_eq!(json(&output)["values"], values, "{arguments:?} {output:?}");
    }
}

#[test]
fn identification_is_followed_to_its_end() {
    let server = Server::start([vec![
        Expect("0001 0000 0005 01 2B 0E 03 00"),
        Send("0001 0000 000B 01 2B 0E 03 83 FF 01 01 00 01 61"),
        Expect("0002 0000 0005 01 2B 0E 03 01"),
        Send("0002 0000 000B 01 2B 0E 03 83 00 00 01 80 01 62"),
    ]]);
    let output = server.run("read", &["identity"]);
    assert_eq!(stdout(&output), "address  hex  value\n vendor  61   a\n   0x80  62   b\n", "{output:?}");
}

#[test]
fn identification_that_goes_round_in_circles_is_broken_off() {
    let server = Server::start([vec![
        Expect("0001 0000 0005 01 2B 0E 03 00"),
        Send("0001 0000 000B 01 2B 0E 03 83 FF 00 01 00 01 61"),
    ]]);
    let output = server.run("read", &["identity"]);
    assert_eq!(status(&output), 4, "{output:?}");
    assert!(stderr(&output).contains("do not come to an end"), "{output:?}");
}

#[test]
fn an_exception_ends_with_1() {
    let script = || [vec![Expect("0001 0000 0006 01 03 0000 0001"), Send("0001 0000 0003 01 83 02")]];
    let output = Server::start(script()).run("read", &["holding", "0", "--json", "--retries", "3"]);
    assert_eq!(status(&output), 1);
    assert_eq!(
        json(&output),
        serde_json::json!({ "unit": 1, "table": "holding", "address": 0, "type": "u16", "error": "exception",
                            "code": 2, "name": "illegal data address" })
    );
    let output = Server::start(script()).run("read", &["holding", "0"]);
    assert!(stderr(&output).ends_with(" unit 1: exception 02 (illegal data address)\n"), "{output:?}");
    assert_eq!(stdout(&output), "");
}

#[test]
fn silence_ends_with_3_after_every_retry() {
    let silent = || vec![Expect("0001 0000 0006 01 03 0000 0001"), AwaitEnd];
    let server = Server::start([silent(), silent()]);
    let output = server.run("read", &["holding", "0", "--json", "--timeout", "50ms", "--retries", "1"]);
    assert_eq!((status(&output), &json(&output)["error"]), (3, &serde_json::json!("timeout")));
}

#[test]
fn a_retry_may_succeed() {
    let server = Server::start([
        vec![Expect("0001 0000 0006 01 03 0000 0001")],
        vec![Expect("0001 0000 0006 01 03 0000 0001"), Send("0001 0000 0005 01 03 02 0001")],
    ]);
    let output = server.run("read", &["holding", "0", "--retries", "1"]);
    assert_eq!(status(&output), 0, "{output:?}");
}

#[test]
fn nobody_there_ends_with_3() {
    let (_holder, address) = nobody();
    let output = wharf(&["modbus", "read", &address, "holding", "0", "--json"]);
    assert_eq!((status(&output), &json(&output)["error"]), (3, &serde_json::json!("connect")));
}

#[test]
fn replies_that_break_the_protocol_end_with_4_and_show_their_bytes() {
    let cases: [(&str, &'static str, &str); 8] = [
        ("garbage", "4854 5450 2F31 2E31", "mbap length 12081 is above 254"),
        ("wrong transaction id", "0002 0000 0005 01 03 02 0001", "transaction id 2 instead of 1"),
        ("wrong protocol id", "0001 0001 0005 01 03 02 0001", "protocol id 1 instead of 0"),
        ("wrong unit", "0001 0000 0005 02 03 02 0001", "unit id 2 instead of 1"),
        ("wrong function", "0001 0000 0005 01 04 02 0001", "reply of function 4 to a request of function 3"),
        ("wrong count", "0001 0000 0007 01 03 04 0001 0002", "reply does not fit its request"),
        ("cut short", "0001 0000 0005 01 03", "the connection ended inside the reply"),
        ("too long", "0001 0000 0005 01 03 02 0001 FF", "1 bytes too many"),
    ];
    for (name, reply, why) in cases {
        let server = Server::start([vec![Expect("0001 0000 0006 01 03 0000 0001"), Send(reply)]]);
        let output = server.run("read", &["holding", "0", "--json", "--retries", "2"]);
        let object = json(&output);
        assert_eq!((status(&output), &object["error"]), (4, &serde_json::json!("protocol")), "{name}: {object}");
        assert_eq!(object["detail"], why, "{name}");
        let received: Vec<_> = bytes(reply).iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(object["bytes"], received.join(" "), "{name}");
    }
}

#[test]
fn a_reply_in_many_segments_is_put_together() {
    let server = Server::start([vec![
        Expect("0001 0000 0006 01 03 0000 0001"),
        Send("00"),
        Send("01"),
        Send("0000"),
        Send("00"),
        Send("0501"),
        Send("0302"),
        Send("00"),
        Send("2A"),
    ]]);
    let output = server.run("read", &["holding", "0", "--json"]);
    assert_eq!(json(&output)["values"], serde_json::json!([42]));
}
