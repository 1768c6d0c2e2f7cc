//! `wharf modbus control`: everything acts on the running server, and a client of that server sees it.

use crate::harness::{Client, Done, Folder, Host, PATIENCE, servers};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

const PLANT: &str = r#"
[[modbus.server]]
name = "hall"
listen = ["127.0.0.1:0"]
[[modbus.server.unit]]
id = 1
block = [
  { table = "coils", start = 0, len = 8 }, { table = "input", start = 0, len = 4, values = [7, 8, 9, 10] },
  { table = "holding", start = 0, len = 100 }, { table = "holding", start = 65534, len = 2 },
]
access = [{ table = "holding", start = 0, len = 100, access = "ro" }]
point = [{ name = "temperature", table = "holding", address = 10, type = "f32", order = "cdab", value = 20.5 }]
"#;

fn control(folder: &Folder, arguments: &[&str]) -> Done {
    folder.run(&[&["modbus", "control"], arguments].concat())
}

/// What a command prints that does what it is asked to.
#[track_caller]
fn done(folder: &Folder, arguments: &[&str]) -> String {
    let done = control(folder, arguments);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{arguments:?}");
    done.stdout
}

/// Asserts how a command ends that does not, and what it says.
#[track_caller]
fn refused(folder: &Folder, arguments: &[&str], status: i32, message: &str) {
    let done = control(folder, arguments);
    assert_eq!((done.status, done.stdout.as_str()), (status, ""), "{arguments:?}");
    assert_eq!(done.stderr, format!("wharf: {message}\n"), "{arguments:?}");
}

/// Sends a request to a Modbus server, and reads the reply.
fn ask(stream: &mut TcpStream, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u8::try_from(pdu.len() + 1).unwrap();
    stream.write_all(&[&[0, 1, 0, 0, 0, length, unit], pdu].concat()).unwrap();
    let mut header = [0; 7];
    stream.read_exact(&mut header).unwrap();
    let mut reply = vec![0; usize::from(header[5]) - 1];
    stream.read_exact(&mut reply).unwrap();
    reply
}

fn connect(host: &Host, server: usize) -> TcpStream {
    let stream = TcpStream::connect(host.addresses[server]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn values_are_read_and_written_whatever_clients_may_do() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    let mut stream = connect(&host, 0);
    assert_eq!(done(&folder, &["get", "1/input/0", "4"]), "1/input/0  7\n1/input/1  8\n1/input/2  9\n1/input/3  10\n");
    assert_eq!(done(&folder, &["set", "1/input/1", "0x10", "65535"]), "1/input/1  16\n1/input/2  65535\n");
    assert_eq!(ask(&mut stream, 1, &[4, 0, 0, 0, 4]), [4, 8, 0, 7, 0, 16, 255, 255, 0, 10]);
    // Clients may only read here.
    assert_eq!(ask(&mut stream, 1, &[6, 0, 20, 0, 1]), [0x86, 2]);
    assert_eq!(done(&folder, &["set", "1/holding/20", "--type", "i32", "-5"]), "1/holding/20  -5\n");
    assert_eq!(ask(&mut stream, 1, &[3, 0, 20, 0, 2]), [3, 4, 255, 255, 255, 251]);
    assert_eq!(
        done(&folder, &["set", "1/coils/2", "true", "0", "on"]),
        "1/coils/2  true\n1/coils/3  false\n1/coils/4  true\n"
    );
    assert_eq!(ask(&mut stream, 1, &[1, 0, 0, 0, 8]), [1, 1, 0b0001_0100]);
    // What the client writes, the command reads.
    assert_eq!(ask(&mut stream, 1, &[5, 0, 0, 255, 0]), [5, 0, 0, 255, 0]);
    assert_eq!(done(&folder, &["get", "1/coils/0"]), "1/coils/0  true\n");
    assert_eq!(done(&folder, &["set", "1/holding/30", "--type", "string(3)", "Wharf"]), "1/holding/30  Wharf\n");
    assert_eq!(done(&folder, &["get", "1/holding/20", "--type", "bool", "--bit", "15"]), "1/holding/20  true\n");
    let told = control(&folder, &["get", "1/holding/20", "--type", "i32", "--json"]).json();
    assert_eq!(told, json!({ "unit": 1, "table": "holding", "address": 20, "type": "i32", "step": 2, "values": [-5] }));
}

#[test]
fn points_are_known_by_name() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    assert_eq!(done(&folder, &["points"]), "temperature\n");
    assert_eq!(done(&folder, &["get", "temperature"]), "temperature  20.5\n");
    assert_eq!(done(&folder, &["set", "hall/temperature", "123456.0"]), "temperature  123456.0\n");
    assert_eq!(ask(&mut connect(&host, 0), 1, &[3, 0, 10, 0, 2]), [3, 4, 0x20, 0, 0x47, 0xF1]);
    assert_eq!(control(&folder, &["get", "temperature", "--json"]).json()["point"], "temperature");
    assert_eq!(done(&folder, &["reset", "temperature"]).split(' ').next(), Some("2"));
    assert_eq!(done(&folder, &["get", "temperature"]), "temperature  20.5\n");
    refused(
        &folder,
        &["get", "pressure"],
        1,
        "\"pressure\" is no point, and no unit/table/address such as 1/holding/40",
    );
    refused(&folder, &["get", "temperature", "2"], 2, "a point is one value");
}

#[test]
fn a_set_that_cannot_be_whole_changes_nothing() {
    let folder = Folder::new();
    let _host = folder.host("hall", PLANT);
    refused(&folder, &["set", "1/input/2", "1", "2", "3"], 1, "not all of its addresses exist");
    refused(&folder, &["set", "1/input/0", "1", "x"], 2, "\"x\" is no u16");
    refused(&folder, &["set", "1/input/0", "65536"], 2, "\"65536\" is no u16");
    refused(&folder, &["set", "1/holding/65534", "1", "2", "3"], 1, "the value ends after address 65535");
    assert_eq!(done(&folder, &["get", "1/input/0", "4"]), "1/input/0  7\n1/input/1  8\n1/input/2  9\n1/input/3  10\n");
    assert_eq!(done(&folder, &["get", "1/holding/65534", "2"]), "1/holding/65534  0\n1/holding/65535  0\n");
    refused(&folder, &["get", "9/input/0"], 1, "there is no unit 9");
    refused(&folder, &["get", "1/input/4"], 1, "not all of its addresses exist");
    refused(&folder, &["get", "1/input/0", "0"], 2, "`count` is 1..=8192");
    assert_eq!(control(&folder, &["get", "1/input/0", "--type", "u8"]).status, 2);
    assert_eq!(control(&folder, &["get", "1/input/0", "--order", "acbd"]).status, 2);
}

#[test]
fn data_go_back_to_what_the_plant_says() {
    let folder = Folder::new();
    let _host = folder.host("hall", PLANT);
    done(&folder, &["set", "1/input/0", "1", "1"]);
    done(&folder, &["set", "1/holding/0", "5"]);
    assert_eq!(done(&folder, &["reset", "1/input"]), "4 entries reset\n");
    assert_eq!(done(&folder, &["get", "1/input/0", "2"]), "1/input/0  7\n1/input/1  8\n");
    assert_eq!(done(&folder, &["get", "1/holding/0"]), "1/holding/0  5\n");
    assert_eq!(control(&folder, &["reset", "--json"]).json(), json!({ "entries": 8 + 4 + 100 + 2 }));
    assert_eq!(done(&folder, &["get", "1/holding/0"]), "1/holding/0  0\n");
    refused(&folder, &["reset", "4"], 1, "there is no unit 4");
}

#[test]
fn units_come_and_go_while_clients_are_connected() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    let mut stream = connect(&host, 0);
    assert_eq!(ask(&mut stream, 7, &[3, 0, 0, 0, 1]), [0x83, 0x0B]);
    assert_eq!(done(&folder, &["unit", "add", "7", "--size", "10"]), "unit 7 added\n");
    assert_eq!(ask(&mut stream, 7, &[3, 0, 9, 0, 1]), [3, 2, 0, 0]);
    assert_eq!(ask(&mut stream, 7, &[3, 0, 10, 0, 1]), [0x83, 2]);
    assert_eq!(done(&folder, &["units"]), "unit 1  enabled true\nunit 7  enabled true\n");
    refused(&folder, &["unit", "add", "7"], 1, "there is a unit 7 already: ask for it to be replaced");
    assert_eq!(done(&folder, &["unit", "add", "7", "--replace", "--size", "11"]), "unit 7 replaced\n");
    assert_eq!(ask(&mut stream, 7, &[3, 0, 10, 0, 1]), [3, 2, 0, 0]);
    assert_eq!(done(&folder, &["unit", "remove", "7"]), "unit 7 removed\n");
    assert_eq!(ask(&mut stream, 7, &[3, 0, 0, 0, 1]), [0x83, 0x0B]);
    refused(&folder, &["unit", "remove", "7"], 1, "there is no unit 7");
    assert_eq!(control(&folder, &["unit", "add", "256"]).status, 2);
}

#[test]
fn faults_are_switched_from_the_next_request_on() {
    let folder = Folder::new();
    let fault = r#"fault = [{ name = "busy", kind = "exception", code = 6, functions = [4], enabled = false }]"#;
    let plant = PLANT.replacen("listen = [\"127.0.0.1:0\"]\n", &format!("listen = [\"127.0.0.1:0\"]\n{fault}\n"), 1);
    let host = folder.host("hall", &plant);
    let mut stream = connect(&host, 0);
    let mut read = || ask(&mut stream, 1, &[4, 0, 0, 0, 1]);
    assert_eq!(read(), [4, 2, 0, 7]);
    assert_eq!(done(&folder, &["fault", "on", "busy"]), "fault busy on\n");
    assert_eq!(read(), [0x84, 6]);
    let told = control(&folder, &["fault", "list", "--json"]).json();
    assert_eq!((&told["name"], &told["kind"]), (&json!("busy"), &json!("exception")));
    assert_eq!((&told["enabled"], &told["until"], &told["applied"]), (&json!(true), &Value::Null, &json!(1)));
    assert_eq!(done(&folder, &["fault", "off", "busy"]), "fault busy off\n");
    assert_eq!(read(), [4, 2, 0, 7]);
    done(&folder, &["fault", "on", "busy", "--for", "1h"]);
    assert_eq!(read(), [0x84, 6]);
    assert!(control(&folder, &["fault", "list", "--json"]).json()["until"].is_number());
    assert!(done(&folder, &["fault", "list"]).starts_with("name busy  kind exception  enabled true  until "));
    refused(&folder, &["fault", "on", "slow"], 1, "there is no fault \"slow\"");
    let spans = "`for` is a number with a unit (us, ms, s, m, h) such as \"30s\"";
    refused(&folder, &["fault", "on", "busy", "--for", "5"], 2, spans);
}

#[test]
fn connections_are_listed_and_closed() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    let (mut one, mut two) = (connect(&host, 0), connect(&host, 0));
    ask(&mut one, 1, &[4, 0, 0, 0, 1]);
    ask(&mut one, 1, &[4, 0, 4, 0, 1]);
    ask(&mut two, 1, &[4, 0, 0, 0, 1]);
    let shown = done(&folder, &["connections", "--json"]);
    let all: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((&first["id"], &first["peer"]), (&json!(1), &json!(one.local_addr().unwrap().to_string())));
    assert_eq!((&first["requests"], &first["ok"], &first["exceptions"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!((&first["units"], &first["state"], &first["bytes_in"]), (&json!([1]), &json!("open"), &json!(24)));
    assert_eq!(second["local"], json!(host.addresses[0].to_string()));
    assert!(done(&folder, &["connections"]).starts_with("id 1  peer 127.0.0.1:"));
    assert_eq!(done(&folder, &["close", "1"]), "connection 1 closed\n");
    assert!(!matches!(one.read(&mut [0]), Ok(1)));
    ask(&mut two, 1, &[4, 0, 0, 0, 1]);
    refused(&folder, &["close", "1"], 1, "there is no connection 1");
}

#[test]
fn more_connections_than_one_reply_holds_are_all_listed() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    let mut open: Vec<_> = (0..501).map(|_| connect(&host, 0)).collect();
    // The last has been accepted, and so have those before it.
    ask(open.last_mut().unwrap(), 1, &[4, 0, 0, 0, 1]);
    assert_eq!(done(&folder, &["connections", "--json"]).lines().count(), 501);
}

#[test]
fn the_status_has_the_counters_of_the_server() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    ask(&mut connect(&host, 0), 1, &[4, 0, 0, 0, 1]);
    let told = control(&folder, &["status", "--json"]).json();
    assert_eq!(told["listen"], json!([host.addresses[0].to_string()]));
    assert!(told["metrics"]["requests_per_second"].as_f64().unwrap() > 0.0, "{told}");
    let shown = done(&folder, &["status"]);
    assert!(shown.starts_with(&format!("listen  {}\nconnections  ", host.addresses[0])), "{shown}");
    assert!(shown.contains("\nunits  1\n") && shown.contains("\nmetrics.uptime_seconds  "), "{shown}");
}

#[test]
fn of_several_servers_one_has_to_be_named_and_each_is_reached_on_its_loop() {
    let folder = Folder::new();
    let host = folder.host("hall", &format!("[loop]\nthreads = 3\n{}", servers(&["a", "b", "c"])));
    refused(&folder, &["units"], 2, "there are several, name one of them: a, b, c");
    refused(&folder, &["units", "--server", "d"], 2, "there is no \"d\" here: a, b, c");
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let value = (index + 1).to_string();
        done(&folder, &["--server", name, "set", "1/holding/0", &value]);
        let reply = ask(&mut connect(&host, index), 1, &[3, 0, 0, 0, 1]);
        assert_eq!(reply, [3, 2, 0, u8::try_from(index + 1).unwrap()]);
    }
    assert_eq!(done(&folder, &["get", "1/holding/0", "--server", "b"]), "1/holding/0  2\n");
    refused(&folder, &["get", "x/point"], 2, "there is no \"x\" here: a, b, c");
}

#[test]
fn events_are_watched_as_they_come() {
    let folder = Folder::new();
    let _host = folder.host("hall", PLANT);
    for (json, expected) in [
        (&["--json"][..], r#"{"event":"UnitAdded","text":"unit 9 replaced","unit":9,"replaced":true}"#),
        (&[], "unit 9 replaced"),
    ] {
        done(&folder, &["unit", "add", "9", "--replace"]);
        let mut command = folder.wharf(&[&["modbus", "control", "watch", "-n", "3"], json].concat());
        let watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let watching = std::thread::spawn(|| watching.wait_with_output().unwrap());
        // What happens before it has subscribed is not seen: so something happens until it has seen enough.
        while !watching.is_finished() {
            done(&folder, &["unit", "add", "9", "--replace"]);
        }
        let output = watching.join().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{expected}\n").repeat(3));
    }
}

#[test]
fn only_the_events_that_are_asked_for_are_told_with_their_facts() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    let mut client = Client::connect(&folder.socket("hall"));
    client.send("{\"id\":1,\"verb\":\"modbus.watch\",\"args\":{\"events\":[\"Processed\",\"UnitRemoved\"]}}\n");
    // The subscription is there when a later request of the same client has been answered.
    assert_eq!(client.ask("modbus.units")["ok"], json!([{ "unit": 1, "enabled": true }]));
    ask(&mut connect(&host, 0), 1, &[3, 0, 0, 0, 2]);
    ask(&mut connect(&host, 0), 1, &[3, 0, 99, 0, 2]);
    done(&folder, &["unit", "remove", "1"]);
    let events = [client.line(), client.line(), client.line()];
    let [read, failed, removed] = events.each_ref().map(|line| {
        assert_eq!(line["id"], 1, "{line}");
        line["event"].clone()
    });
    assert_eq!((&read["event"], &read["id"], &read["unit"]), (&json!("Processed"), &json!(1), &json!(1)));
    assert_eq!((&read["function"], &read["start"], &read["quantity"]), (&json!(3), &json!(0), &json!(2)));
    assert_eq!((&read["outcome"], &read["bytes_in"], &read["bytes_out"]), (&json!("ok"), &json!(12), &json!(13)));
    assert_eq!((&failed["outcome"], &failed["code"]), (&json!("exception"), &json!(2)));
    assert_eq!(removed, json!({ "event": "UnitRemoved", "text": "unit 1 removed", "unit": 1 }));
    // A client that ends its side has its streams ended.
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.line(), json!({ "id": 1, "ok": null }));
    assert_eq!(client.try_line(), None);
    let mut client = Client::connect(&folder.socket("hall"));
    client.send("{\"verb\":\"modbus.watch\",\"args\":{\"events\":[\"Eclipse\"]}}\n");
    assert_eq!(client.line()["error"]["kind"], "usage");
}

#[test]
fn writes_are_watched_whoever_makes_them() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    let mut client = Client::connect(&folder.socket("hall"));
    client.send("{\"id\":1,\"verb\":\"modbus.watch\",\"args\":{\"events\":[\"Changed\"]}}\n");
    assert!(client.ask("modbus.units")["ok"].is_array());
    ask(&mut connect(&host, 0), 1, &[5, 0, 3, 255, 0]);
    done(&folder, &["set", "1/input/1", "70", "80"]);
    let facts = |line: &Value| {
        let event = &line["event"];
        ["table", "start", "len", "changed", "cause", "id"].map(|key| event[key].clone())
    };
    let first = client.line();
    assert_eq!(facts(&first), [json!("coils"), json!(3), json!(1), json!(true), json!("client"), json!(1)]);
    assert_eq!(first["event"]["text"], "unit 1 coils 3..=3 written by client(1)");
    let second = facts(&client.line());
    assert_eq!((&second[0], &second[1], &second[4]), (&json!("input"), &json!(1), &json!("api")));
}

#[test]
fn a_watch_ends_with_its_server() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    let mut client = Client::connect(&folder.socket("hall"));
    client.send("{\"id\":1,\"verb\":\"modbus.watch\",\"args\":{\"events\":[\"Rejected\"]}}\n");
    assert!(client.ask("modbus.units")["ok"].is_array());
    assert_eq!(host.end().0, Some(0));
    // The host may end before there is time for the outcome.
    let last = client.try_line();
    assert!(last.is_none() || last == Some(json!({ "id": 1, "ok": null })), "{last:?}");
}

#[test]
fn a_watcher_that_does_not_read_misses_events_and_learns_how_many() {
    let folder = Folder::new();
    let host = folder.host("hall", PLANT);
    let mut client = Client::connect(&folder.socket("hall"));
    client.send("{\"id\":1,\"verb\":\"modbus.watch\",\"args\":{\"events\":[\"Processed\"]}}\n");
    assert!(client.ask("modbus.units")["ok"].is_array());
    let mut stream = connect(&host, 0);
    let requests: Vec<u8> = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1].repeat(1000);
    let mut replies = vec![0; 11 * 1000];
    let mut asker = Client::connect(&folder.socket("hall"));
    let mut none_missed = || {
        let metrics = asker.ask("metrics")["ok"].as_str().unwrap().to_owned();
        metrics.lines().any(|line| line.starts_with("wharf_modbus_events_missed_total{") && line.ends_with(" 0"))
    };
    // No more than it takes, for a client that takes nothing is cut off after a while.
    let mut sent = 0;
    while none_missed() {
        stream.write_all(&requests).unwrap();
        stream.read_exact(&mut replies).unwrap();
        sent += 1000;
    }
    // Whoever asks is answered meanwhile.
    assert_eq!(done(&folder, &["get", "1/input/0"]), "1/input/0  7\n");
    let (mut told, mut missed) = (0, 0);
    while told + missed < sent {
        let line = client.line();
        assert_eq!(line["event"]["event"], "Processed");
        told += 1;
        missed += line["missed"].as_u64().unwrap_or(0);
    }
    assert_eq!(told + missed, sent);
    assert!(missed > 0 && told > 0, "{told} told, {missed} missed");
}

#[test]
fn arguments_that_a_verb_does_not_have_are_refused_before_anything_is_done() {
    let folder = Folder::new();
    let _host = folder.host("hall", PLANT);
    let mut client = Client::connect(&folder.socket("hall"));
    let mut error = |verb: &str, arguments: Value| {
        client.send(format!("{}\n", json!({ "verb": verb, "args": arguments })));
        let error = client.line()["error"].clone();
        assert_eq!(error["kind"], "usage", "{verb} {arguments}: {error}");
        error["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(error("modbus.units", json!({ "unit": 1 })), "unknown argument \"unit\"");
    assert_eq!(error("modbus.unit.remove", json!({ "unit": 1, "force": true })), "unknown argument \"force\"");
    assert_eq!(error("modbus.unit.remove", json!({ "unit": 256 })), "`unit` is a number, 0..=255");
    assert_eq!(error("modbus.unit.remove", json!({})), "`unit` is missing");
    assert_eq!(error("modbus.unit.add", json!({ "unit": 2, "size": 0 })), "`size` is 1..=65536");
    assert_eq!(error("modbus.set", json!({ "target": "1/input/0", "values": "1" })), "`values` is a list of values");
    assert_eq!(error("modbus.set", json!({ "target": "1/input/0", "values": [[]] })), "`values` is a list of values");
    assert_eq!(error("modbus.set", json!({ "target": "1/input/0", "values": [] })), "there are 1 to 8192 `values`");
    assert_eq!(error("modbus.get", json!({ "target": 1 })), "`target` is a string");
    assert_eq!(error("modbus.get", json!({ "target": "1/input/0", "bit": 16 })), "`bit` is a number, 0..=15");
    assert_eq!(error("modbus.close", json!({ "id": -1 })), format!("`id` is a number, 0..={}", u64::MAX));
    assert_eq!(done(&folder, &["units"]), "unit 1  enabled true\n");
}
