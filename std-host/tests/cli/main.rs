//! The command line, as a user meets it: what all commands have, `check`, and a scripted server for those that ask one.

mod bench;
mod hostile;
mod polling;
mod port;
#[cfg(target_os = "linux")]
mod port_memory;
mod scan;
mod signals;
mod transfers;

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
