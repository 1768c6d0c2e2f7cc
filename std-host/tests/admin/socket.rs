//! The admin socket: its language, and clients that are slow, rude or many.

use crate::harness::{Client, Folder, PATIENCE, servers};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn error(kind: &str, message: &str) -> Value {
    json!({ "kind": kind, "message": message })
}

#[test]
fn the_first_line_says_who_speaks_and_how() {
    let folder = Folder::new();
    let host = folder.host("hall", &servers(&["a"]));
    let mut line = String::new();
    BufReader::new(UnixStream::connect(folder.socket("hall")).unwrap()).read_line(&mut line).unwrap();
    let greeting: Value = serde_json::from_str(&line).unwrap();
    let expected = json!({ "wharf": env!("CARGO_PKG_VERSION"), "protocol": 1, "plant": "hall", "pid": host.id() });
    assert_eq!(greeting, expected);
}

#[test]
fn the_status_names_every_entry_on_every_loop() {
    let folder = Folder::new();
    let host = folder.host("hall", &format!("[loop]\nthreads = 2\n{}", servers(&["a", "b", "c"])));
    let _connection = std::net::TcpStream::connect(host.addresses[1]).unwrap();
    let mut client = Client::connect(&folder.socket("hall"));
    let status = client.ask("status")["ok"].clone();
    assert_eq!((&status["plant"], &status["loops"], &status["pid"]), (&json!("hall"), &json!(2), &json!(host.id())));
    assert_eq!(status["socket"], folder.socket("hall").to_str().unwrap());
    let entries = status["entries"].as_array().unwrap();
    for ((entry, name), address) in entries.iter().zip(["a", "b", "c"]).zip(&host.addresses) {
        assert_eq!((&entry["system"], &entry["name"]), (&json!("modbus"), &json!(name)));
        assert_eq!((&entry["listen"], &entry["units"]), (&json!([address.to_string()]), &json!([1])));
    }
    assert_eq!(entries.len(), 3);
    let metrics = client.ask("metrics")["ok"].as_str().unwrap().to_owned();
    assert!(metrics.contains("wharf_loop_sockets{loop=\"0\"}") && metrics.contains("wharf_loop_sockets{loop=\"1\"}"));
}

#[test]
fn each_reply_carries_the_id_of_its_request() {
    let folder = Folder::new();
    let _host = folder.host("hall", &servers(&["a"]));
    let mut client = Client::connect(&folder.socket("hall"));
    client.send(
        "{\"id\":1,\"verb\":\"status\"}\n{\"id\":\"two\",\"verb\":\"nothing\"}\n\n{\"verb\":\"verbs\"}\n{\"id\":4}\n",
    );
    let mut replies: Vec<_> = (0..4).map(|_| client.line()).collect();
    replies.sort_by_key(|reply| reply["id"].to_string());
    let [two, one, four, none] = replies.as_slice() else { panic!("{replies:?}") };
    assert_eq!((&one["id"], &one["ok"]["plant"]), (&json!(1), &json!("hall")));
    let unknown = "there is no verb \"nothing\" here: `verbs` lists those that are";
    assert_eq!(*two, json!({ "id": "two", "error": error("usage", unknown) }));
    assert_eq!(none["id"], Value::Null);
    assert!(none["ok"]["own"].as_array().unwrap().contains(&json!("status")));
    assert_eq!(*four, json!({ "id": 4, "error": error("usage", "`verb` is missing") }));
}

#[test]
fn what_is_no_request_is_refused_and_the_next_is_answered() {
    let folder = Folder::new();
    let _host = folder.host("hall", &servers(&["a"]));
    let mut client = Client::connect(&folder.socket("hall"));
    let deep = "[".repeat(50_000);
    for wrong in ["GET / HTTP/1.1", "[]", "{", "\u{0}\u{1}", "{\"verb\":\"status\",\"args\":{\"x\":1}}", &deep] {
        client.send(format!("{wrong}\n"));
        assert_eq!(client.line()["error"]["kind"], "usage", "{wrong}");
        assert_eq!(client.plant(), "hall");
    }
    client.send(b"\xff\xfe\n");
    assert_eq!(client.line()["error"]["kind"], "usage");
}

#[test]
fn a_line_without_an_end_is_cut_off_at_its_bound() {
    let folder = Folder::new();
    let _host = folder.host("hall", &servers(&["a"]));
    let mut client = Client::connect(&folder.socket("hall"));
    // The host may end before all is sent.
    let _ = (&client).write_all(&vec![b' '; 1 << 20]);
    assert_eq!(client.line()["error"], error("usage", "a line has at most 65536 bytes"));
    assert_eq!(client.try_line(), None);
    assert_eq!(Client::connect(&folder.socket("hall")).plant(), "hall");
}

#[test]
fn a_client_that_ends_its_side_gets_everything_that_it_has_asked_for() {
    let folder = Folder::new();
    let _host = folder.host("hall", &servers(&["a"]));
    let mut client = Client::connect(&folder.socket("hall"));
    // More than are in work at a time, and the last without the end of its line.
    let requests: Vec<_> = (0..40).map(|id| json!({ "id": id, "verb": "status" }).to_string()).collect();
    client.send(requests.join("\n"));
    client.stream().shutdown(Shutdown::Write).unwrap();
    let mut ids: Vec<_> = (0..40).map(|_| client.line()["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..40));
    assert_eq!(client.try_line(), None);
}

#[test]
fn a_client_that_never_reads_is_not_read_from_and_holds_nobody_up() {
    let folder = Folder::new();
    let _host = folder.host("hall", &servers(&["a"]));
    let deaf = Client::connect(&folder.socket("hall"));
    deaf.stream().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    let stuck = loop {
        match (&deaf).write(b"{\"verb\":\"metrics\"}\n") {
            Ok(count) => sent += count,
            Err(error) => break error.kind(),
        }
        assert!(sent < 16 << 20, "the host takes whatever it is sent");
        if sent % 1024 < 20 {
            assert_eq!(Client::connect(&folder.socket("hall")).plant(), "hall");
        }
    };
    assert_eq!(stuck, ErrorKind::WouldBlock);
    assert_eq!(Client::connect(&folder.socket("hall")).plant(), "hall");
}

#[test]
fn of_too_many_clients_the_one_that_was_quiet_longest_goes() {
    let folder = Folder::new();
    let _host = folder.host("hall", &servers(&["a"]));
    let mut first = Client::connect(&folder.socket("hall"));
    let mut others: Vec<_> = (0..15).map(|_| Client::connect(&folder.socket("hall"))).collect();
    assert_eq!(first.plant(), "hall");
    // There is room for 16: of all these it is the first of the others that has said nothing for longest.
    let mut newcomer = Client::connect(&folder.socket("hall"));
    assert_eq!(newcomer.plant(), "hall");
    let gone = others.remove(0);
    let end = gone.stream().take(1).read(&mut [0]);
    assert!(matches!(&end, Ok(0)) || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert_eq!(first.plant(), "hall");
    for mut other in others {
        assert_eq!(other.plant(), "hall");
    }
}

#[test]
fn clients_do_not_keep_a_host_that_ends() {
    let folder = Folder::new();
    let host = folder.host("hall", &servers(&["a"]));
    let mut client = Client::connect(&folder.socket("hall"));
    assert_eq!(client.plant(), "hall");
    client.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(host.end().0, Some(0));
    assert!(!folder.socket("hall").exists());
    let mut rest = [0];
    assert!(!matches!(client.stream().read(&mut rest), Ok(1)));
}
