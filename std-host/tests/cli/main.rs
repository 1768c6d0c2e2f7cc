//! The command line, as a user meets it: help, `check`, and `modbus read` and `write` against a scripted server.

mod bench;
mod hostile;
mod polling;
mod port;
#[cfg(target_os = "linux")]
mod port_memory;
mod scan;
mod signals;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;

/// One thing that the scripted server does on a connection. Bytes are hex digits.
enum Act {
    /// Reads as many bytes as these and checks that they are these.
    Expect(&'static str),
    /// Sends them.
    Send(&'static str),
    /// Waits until the client closes.
    AwaitEnd,
}
use Act::{AwaitEnd, Expect, Send};

/// A server that plays one script per connection, in order, and checks every byte it receives.
struct Server {
    address: String,
    thread: JoinHandle<()>,
}

impl Server {
    fn start<const N: usize>(connections: [Vec<Act>; N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            for acts in connections {
                let (stream, _) = listener.accept().unwrap();
                play(stream, acts);
            }
        });
        Self { address, thread }
    }

    /// Runs `wharf modbus VERB ADDRESS REST...` and waits for the script to end.
    fn run(self, verb: &str, rest: &[&str]) -> Output {
        let output = wharf(&[&["modbus", verb, &self.address], rest, patience(rest)].concat());
        // A script that still waits for a connection gets an empty one and fails, where it would wait for ever.
        drop(TcpStream::connect(&self.address));
        self.thread.join().unwrap_or_else(|_| panic!("not as written: {output:?}"));
        output
    }
}

fn play(mut stream: TcpStream, acts: Vec<Act>) {
    stream.set_nodelay(true).unwrap();
    for act in acts {
        match act {
            Expect(hex) => {
                let expected = bytes(hex);
                let mut received = vec![0; expected.len()];
                stream.read_exact(&mut received).unwrap();
                assert_eq!(received, expected);
            }
            Send(hex) => stream.write_all(&bytes(hex)).unwrap(),
            AwaitEnd => assert_eq!(stream.read(&mut [0]).unwrap(), 0),
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// What gives requests to a server of this machine time enough, if nothing else is said of it.
fn patience(arguments: &[&str]) -> &'static [&'static str] {
    if arguments.contains(&"--timeout") { &[] } else { &["--timeout", "30s"] }
}

/// `wharf`, whose hosts nobody finds who asks for those of this machine.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.env("WHARF_RUNTIME_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/cli"));
    command
}

fn wharf(arguments: &[&str]) -> Output {
    program().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// An address at which nobody answers as long as what holds it is there.
fn nobody() -> (socket2::Socket, String) {
    let holder = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    holder.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap().to_string();
    (holder, address)
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Without what a host says of callbacks that took long, which on a machine with much else to do they may.
fn stderr(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.split_inclusive('\n').filter(|line| !line.contains(" WARN slow callback ")).collect()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The object without the one member that no test can know.
fn json_without_rtt(output: &Output) -> serde_json::Value {
    let mut object = json(output);
    assert!(object["rtt_us"].is_u64(), "{object}");
    object.as_object_mut().unwrap().remove("rtt_us");
    object
}

#[test]
fn every_command_has_help_with_examples_and_exit_statuses() {
    let commands: [&[&str]; 17] = [
        &[],
        &["run"],
        &["check"],
        &["status"],
        &["modbus"],
        &["modbus", "serve"],
        &["modbus", "read"],
        &["modbus", "write"],
        &["modbus", "scan"],
        &["modbus", "bench"],
        &["modbus", "control"],
        &["port"],
        &["port", "serve"],
        &["port", "report"],
        &["port", "drop"],
        &["port", "set"],
        &["completions"],
    ];
    for command in commands {
        let output = wharf(&[command, &["--help"]].concat());
        let text = stdout(&output);
        assert_eq!(status(&output), 0, "{command:?}");
        assert!(text.contains("Examples:\n  wharf "), "{command:?}: {text}");
        assert!(text.contains("  4  the peer broke the protocol"), "{command:?}: {text}");
    }
    assert_eq!(stdout(&wharf(&["--version"])), concat!("wharf ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let wrong: [&[&str]; 29] = [
        &["sing"],
        &["modbus", "read", "127.0.0.1:1"],
        &["modbus", "read", "127.0.0.1:1", "coil", "0"],
        &["modbus", "read", "127.0.0.1:1", "holding"],
        &["modbus", "read", "127.0.0.1:1", "holding", "65535", "2"],
        &["modbus", "read", "127.0.0.1:1", "holding", "65535", "--type", "f32"],
        &["modbus", "read", "127.0.0.1:1", "holding", "0", "--type", "bool"],
        &["modbus", "read", "127.0.0.1:1", "status", "0"],
        &["modbus", "read", "127.0.0.1:1", "holding", "30001", "--ref"],
        &["modbus", "read", "127.0.0.1:1", "diag:19"],
        &["modbus", "write", "127.0.0.1:1", "input", "0", "1"],
        &["modbus", "write", "127.0.0.1:1", "holding", "0", "65536"],
        &["modbus", "write", "127.0.0.1:1", "holding", "0"],
        &["modbus", "write", "127.0.0.1:1", "holding", "0", "x", "--type", "string(124)"],
        &["modbus", "write", "127.0.0.1:1", "holding", "0", "1", "--type", "u32", "--single"],
        &["modbus", "read", "127.0.0.1:1", "file:1", "0", "--type", "string(125)"],
        &["modbus", "read", "127.0.0.1:1", "holding", "0", "--type", "string(2)", "--order", "cdab"],
        &["modbus", "read", "127.0.0.1:1", "holding", "0", "-n", "3"],
        &["modbus", "read", "127.0.0.1:1", "holding", "0", "--every", "0"],
        &["modbus", "read", "127.0.0.1:1", "holding", "0", "--every", "1s", "-n", "0"],
        &["modbus", "bench", "127.0.0.1:1", "--mix", "fc3x126"],
        &["modbus", "bench", "127.0.0.1:1", "--mix", "fc3x2", "--address", "65535"],
        &["modbus", "bench", "127.0.0.1:1", "--depth", "0"],
        &["modbus", "scan", "127.0.0.1:1", "--units", "256"],
        &["modbus", "scan", "127.0.0.1:1", "--probe", "fifo:1"],
        &["modbus", "scan", "127.0.0.1:1", "--parallel", "0"],
        &["modbus", "serve", "--units", "9-3"],
        &["run", "--threads", "0"],
        &["run", "--threads", "1025"],
    ];
    for arguments in wrong {
        let output = wharf(arguments);
        assert_eq!((status(&output), stdout(&output).as_str()), (2, ""), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&wharf(&["completions", shell]));
        assert!(script.contains("modbus") && script.contains("log-file"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_counts_as_success() {
    let mut child = program().arg("check").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((status(&output), stderr(&output).as_str()), (0, ""));
}

/// `wharf modbus serve --log info` on a port of its own, once it is ready, and its address.
fn serving(stderr: Stdio) -> (Child, String) {
    let mut child = program()
        .args(["modbus", "serve", "--listen", "127.0.0.1:0", "--log", "info"])
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim_end().strip_prefix("listening ").unwrap().to_owned())
}

#[test]
fn a_server_outlives_a_standard_error_that_cannot_be_written() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (mut child, address) = serving(full.into());
    let outputs = [(); 3].map(|()| wharf(&["modbus", "read", &address, "holding", "0", "--timeout", "30s"]));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(outputs.map(|output| status(&output)), [0; 3]);
}

#[test]
fn a_log_that_no_terminal_shows_has_no_escape_sequences() {
    let (mut child, address) = serving(Stdio::piped());
    child.kill().unwrap();
    let log = stderr(&child.wait_with_output().unwrap());
    assert!(log.contains(&format!("listening on {address}")), "{log:?}");
    assert!(!log.contains('\x1b'), "{log:?}");
}

#[test]
fn an_empty_plant_is_no_plant() {
    let path = std::env::temp_dir().join(format!("wharf-empty-{}.toml", std::process::id()));
    std::fs::write(&path, "[loop]\n").unwrap();
    let name = path.to_str().unwrap();
    let outputs = [&["check", name][..], &["run", name], &["modbus", "serve", name]].map(wharf);
    let programs = wharf(&["check", "--json", name]);
    std::fs::remove_file(&path).unwrap();
    let said = format!("{name}: modbus.server: missing; accepted: one [[modbus.server]] or [[port]] or more\n");
    for output in outputs {
        assert_eq!((status(&output), stdout(&output).as_str(), stderr(&output)), (2, "", said.clone()));
    }
    assert_eq!(status(&programs), 2);
    assert_eq!(json(&programs)["errors"][0]["error"], "missing");
}

#[test]
fn a_plant_with_a_port_is_printed_as_it_reads() {
    let path = std::env::temp_dir().join(format!("wharf-port-{}.toml", std::process::id()));
    let text =
        "[[port]]\nname = \"dev\"\naddress = \"127.0.0.1:0\"\nslots = 2\nlog_file = \"dev.log\"\nmode = \"log\"\n";
    std::fs::write(&path, text).unwrap();
    let name = path.to_str().unwrap();
    let check = wharf(&["check", name]);
    std::fs::write(&path, &check.stdout).unwrap();
    let again = wharf(&["check", name]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(status(&check), 0, "{}", stderr(&check));
    let log = format!("log_file = \"{}\"\n", path.with_file_name("dev.log").display());
    assert!(stdout(&check).contains(&log), "{}", stdout(&check));
    assert_eq!(stdout(&again), stdout(&check));
}

#[test]
fn a_wrong_argument_is_told_what_is_accepted() {
    let write = ["modbus", "write", "127.0.0.1:1", "holding", "0"];
    let read = ["modbus", "read", "127.0.0.1:1", "holding"];
    let wrong: [(&[&str], &[&str], &str); 7] = [
        (&["modbus", "serve"], &["--listen", "5020"], "such as 127.0.0.1:5020 or [::1]:5020"),
        (&write, &["65536"], "\"65536\" is no u16: 0..=65535"),
        (&write, &["-32769", "--type", "i16"], "\"-32769\" is no i16: -32768..=32767"),
        (&write, &["x", "--type", "f32"], "\"x\" is no f32: a number"),
        (&write, &["toolong", "--type", "string(2)"], "\"toolong\" has 7 bytes: string(2) holds 4"),
        (&read, &["0", "0x10001"], "1..=65536"),
        (&read, &["65535", "0x2"], "2 entries from 65535 on: the last is 65535"),
    ];
    for (command, arguments, accepted) in wrong {
        let output = wharf(&[command, arguments].concat());
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(stderr(&output).contains(accepted), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn check_prints_a_plant_that_checks_again() {
    let first = wharf(&["check"]);
    assert_eq!(status(&first), 0);
    let path = std::env::temp_dir().join(format!("wharf-check-{}.toml", std::process::id()));
    std::fs::write(&path, &first.stdout).unwrap();
    let second = wharf(&["check", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(stdout(&second), stdout(&first));
    let plant = json(&wharf(&["check", "--json"]));
    assert_eq!(plant["plant"]["modbus"]["server"][0]["listen"][0], "127.0.0.1:5020");
}

#[test]
fn check_names_every_problem_and_ends_with_2() {
    let path = std::env::temp_dir().join(format!("wharf-wrong-{}.toml", std::process::id()));
    std::fs::write(&path, "[loop]\ntimer_budget = 0\npinn = true\n").unwrap();
    let name = path.to_str().unwrap();
    let (people, programs) = (wharf(&["check", name]), wharf(&["check", "--json", name]));
    let run = wharf(&["run", name]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!((status(&people), status(&programs), status(&run)), (2, 2, 2));
    let text = stderr(&people);
    assert!(
        text.starts_with(&format!("{name}:2:16: loop.timer_budget: found 0; accepted: 1..=1000000\n{name}:3:1: ")),
        "{text}"
    );
    assert_eq!(stderr(&run), text);
    let errors = json(&programs);
    assert_eq!(
        errors["errors"][0],
        serde_json::json!({ "file": name, "line": 2, "column": 16, "key": "loop.timer_budget", "error": "not_accepted",
                            "message": "found 0", "accepted": "1..=1000000" })
    );
    assert_eq!(errors["errors"][1]["error"], "unknown_key");
}

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
