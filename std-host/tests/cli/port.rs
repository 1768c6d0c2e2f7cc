//! `wharf port`: a port served, reported on, and told what to do.

mod udp;

use crate::{json, status, stderr, stdout};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a runtime directory that no other test has; it goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Paths of sockets are short: not below the target directory.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wharf-cli-port-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn wharf(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(arguments).env("WHARF_RUNTIME_DIR", self.0.join("run")).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.wharf(arguments);
        finished(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Runs `wharf` to a good end; what it prints.
    fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!((status(&output), stderr(&output).as_str()), (0, ""), "{arguments:?}");
        stdout(&output)
    }

    /// Asks for a report at level 1 until it has this in it, for what a client has done may take its time to arrive.
    fn report_with(&self, text: &str) -> String {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let report = self.told(&["port", "report"]);
            if report.contains(text) {
                return report;
            }
            assert!(std::time::Instant::now() < end, "no {text:?} in {report}");
        }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }

    /// A host that these arguments start.
    fn start(&self, arguments: &[&str]) -> Host {
        let mut child = self.wharf(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = mpsc::channel();
        let told = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || told.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Host { child: Some(child), lines }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A host, killed when dropped.
struct Host {
    child: Option<Child>,
    lines: Receiver<String>,
}

impl Host {
    /// The next line of its standard output.
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    fn address(&self) -> String {
        let line = self.line();
        line.strip_prefix("listening ").unwrap_or_else(|| panic!("{line:?}")).to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Waits for it to end; its exit status, and what it has said.
    fn ended(mut self) -> (i32, String) {
        let output = finished(self.child.take().unwrap());
        (status(&output), stderr(&output))
    }

    fn end(self) -> (i32, String) {
        self.signal(Signal::TERM);
        self.ended()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for a process that has little to say; one that does not end is killed, and then has no status.
fn finished(mut child: Child) -> Output {
    let end = std::time::Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if std::time::Instant::now() > end {
            child.kill().unwrap();
            break;
        }
        std::thread::yield_now();
    }
    child.wait_with_output().unwrap()
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn exchange(stream: &mut TcpStream, sent: &[u8], received: &[u8]) {
    stream.write_all(sent).unwrap();
    let mut bytes = vec![0; received.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, received);
}

/// The metrics of the ports of a host.
fn metrics(http: &str) -> Vec<String> {
    let mut stream = connect(http);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().filter(|line| line.starts_with("wharf_port_")).map(str::to_owned).collect()
}

/// Whether everything that is counted is named in the documentation.
fn assert_documented(metrics: &[String]) {
    let documented = include_str!("../../../docs/ports-cli.md");
    for line in metrics {
        let name = line.split('{').next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn serve_echoes_until_a_signal_and_lets_its_clients_end_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let host = folder.start(&["port", "serve", "dev", "127.0.0.1:0", "--echo"]);
        let mut client = connect(&host.address());
        exchange(&mut client, b"hello", b"hello");
        host.signal(signal);
        // The end of an orderly close, and no reset.
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        assert_eq!(host.ended(), (0, String::new()));
    }
}

#[test]
fn a_broker_sends_to_all_others_up_to_its_slots() {
    let folder = Folder::new();
    let host = folder.start(&["port", "serve", "bus", "127.0.0.1:0", "--broker", "--slots", "2"]);
    let address = host.address();
    let (mut first, mut second) = (connect(&address), connect(&address));
    folder.report_with("accepted 2 ");
    first.write_all(b"to the other").unwrap();
    exchange(&mut second, b"", b"to the other");
    let mut third = connect(&address);
    assert!(matches!(third.read(&mut [0]), Ok(0) | Err(_)), "closed");
    folder.report_with("refused full 1 ");
}

#[test]
fn a_log_has_the_name_of_the_client_before_each_message() {
    let folder = Folder::new();
    let arguments = ["port", "serve", "dev", "127.0.0.1:0", "--log-file", "dev.log", "--eos", "\\r\\n"];
    let host = folder.start(&arguments);
    let mut client = connect(&host.address());
    client.write_all(b"one\r\ntwo\r\nrest").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(host.end(), (0, String::new()));
    let log = folder.read("dev.log");
    let messages: Vec<_> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(messages, ["dev:0 one", "dev:0 two", "dev:0 rest"]);
}

/// Under `nohup` a host is deaf to SIGHUP, and so it is in a test that was started there.
fn is_deaf_to_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    ignored.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[test]
fn a_hangup_opens_the_files_again_or_ends_a_host_without_files() {
    if is_deaf_to_hangups() {
        return;
    }
    let folder = Folder::new();
    let host = folder.start(&["port", "serve", "dev", "127.0.0.1:0", "--log-file", "dev.log", "--eos", "\\n"]);
    let mut client = connect(&host.address());
    client.write_all(b"one\n").unwrap();
    folder.report_with("log lines 1 ");
    std::fs::rename(folder.0.join("dev.log"), folder.0.join("dev.log.1")).unwrap();
    host.signal(Signal::HUP);
    // Until the host has heard of it, lines go on to the old file.
    let end = std::time::Instant::now() + PATIENCE;
    while folder.read("dev.log").is_empty() {
        assert!(std::time::Instant::now() < end);
        client.write_all(b"two\n").unwrap();
    }
    assert!(folder.read("dev.log").lines().all(|line| line.ends_with(" dev:0 two")));
    assert!(folder.read("dev.log.1").lines().next().unwrap().ends_with(" dev:0 one"));
    drop(client);
    assert_eq!(host.end().0, 0);

    let host = folder.start(&["port", "serve", "dev", "127.0.0.1:0", "--echo"]);
    host.address();
    host.signal(Signal::HUP);
    assert_eq!(host.ended(), (0, String::new()));
}

#[test]
fn trace_goes_to_standard_error_unless_a_file_is_named() {
    let folder = Folder::new();
    let arguments =
        ["port", "serve", "dev", "127.0.0.1:0", "--echo", "--trace", "rx:hex", "--set", "trace_mask=driver"];
    let host = folder.start(&arguments);
    exchange(&mut connect(&host.address()), b"*IDN?", b"*IDN?");
    let (code, said) = host.end();
    assert_eq!(code, 0);
    let (first, second) = said.split_once('\n').unwrap();
    assert!(first.ends_with("Z dev:0 < 5"), "{said}");
    assert_eq!(second, "0000  2a 49 44 4e 3f                                   *IDN?\n");

    let host = folder.start(&[&arguments[..], &["--set", "trace_file=%p.%i"]].concat());
    exchange(&mut connect(&host.address()), b"*IDN?", b"*IDN?");
    assert_eq!(host.end(), (0, String::new()));
    assert!(
        folder.read("dev.0").ends_with(" dev:0 < 5\n0000  2a 49 44 4e 3f                                   *IDN?\n")
    );
}

#[test]
fn report_shows_every_port_of_a_host_or_one() {
    let folder = Folder::new();
    let text = "[[port]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\nslots = 2\n\
                [[port]]\nname = \"b\"\naddress = \"127.0.0.1:0\"\nslots = 300\n";
    std::fs::write(folder.0.join("hall.toml"), text).unwrap();
    let host = folder.start(&["--log", "off", "run", "hall.toml"]);
    let [a, b] = [(); 2].map(|()| host.address());
    let heads = folder.told(&["port", "report", "-l", "0"]);
    let head = |name: &str, at: &str, taken, slots| {
        format!("port {name}  connected  {at} tcp  slots {taken} of {slots}  on_full close\n")
    };
    assert_eq!(heads, head("a", &a, 0, 2) + &head("b", &b, 0, 300));
    let client = connect(&b);
    let report = folder.report_with("  b:0    open        ");
    let peer = client.local_addr().unwrap();
    assert!(report.contains(&format!("  b:0    open        {peer}  id 0.")), "{report}");
    let one = folder.told(&["port", "report", "b"]);
    assert!(one.starts_with(&head("b", &b, 1, 300)), "{one}");
    let names: Vec<_> = one.lines().skip(2).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert_eq!(names, (0..300).map(|slot| format!("b:{slot}")).collect::<Vec<_>>(), "of several replies");
    let told = json(&folder.run(&["port", "report", "b", "--json"]));
    let clients = told["clients"].as_array().unwrap();
    assert_eq!((clients.len(), &clients[299]["name"]), (300, &"b:299".into()));
    assert_eq!((&told["local"], &clients[0]["peer"]), (&b.as_str().into(), &peer.to_string().into()));
    let shown = folder.told(&["status"]);
    assert!(shown.contains(&format!("\nport b: listen {b}; clients 1 of 300\n")), "{shown}");
}

#[test]
fn metrics_are_there_from_the_start_and_count() {
    let folder = Folder::new();
    let text = "[admin]\nlisten = \"127.0.0.1:0\"\n[[port]]\nname = \"dev\"\naddress = \"127.0.0.1:0\"\nslots = 1\n\
                mode = \"log\"\nlog_file = \"dev.log\"\n";
    std::fs::write(folder.0.join("hall.toml"), text).unwrap();
    let host = folder.start(&["--log", "off", "run", "hall.toml"]);
    let address = host.address();
    let http = host.line().strip_prefix("admin http://").unwrap().to_owned();
    let metrics = || metrics(&http);
    let at_first = metrics();
    let gauges = ["wharf_port_up{", "wharf_port_slots{", "wharf_port_clients{"];
    for line in &at_first {
        assert!(line.contains("{port=\"dev\""), "{line}");
        let is_gauge = gauges.iter().any(|gauge| line.starts_with(gauge));
        assert!(is_gauge || (line.contains("_total{") && line.ends_with(" 0")), "{line}");
    }
    let mut client = connect(&address);
    client.write_all(b"12345").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    folder.report_with("  dev:0  free        last PeerClosed ");
    folder.report_with("  log lines 1 lost 0\n");
    let changed: Vec<_> = metrics().into_iter().filter(|line| !at_first.contains(line)).collect();
    let expected = [
        "wharf_port_connections_total{port=\"dev\"} 1",
        "wharf_port_connections_closed_total{port=\"dev\",reason=\"PeerClosed\"} 1",
        "wharf_port_bytes_total{port=\"dev\",direction=\"rx\"} 5",
        "wharf_port_lines_total{port=\"dev\",kind=\"log\"} 1",
    ];
    assert_eq!(changed, expected);
    assert_documented(&at_first);
}

#[test]
fn drop_closes_a_client_in_order() {
    let folder = Folder::new();
    let host = folder.start(&["port", "serve", "dev", "127.0.0.1:0", "--echo", "--slots", "2"]);
    let address = host.address();
    let mut client = connect(&address);
    exchange(&mut client, b"a", b"a");
    assert_eq!(folder.told(&["port", "drop", "dev:0"]), "dev:0 dropped\n");
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    folder.report_with("  dev:0  free        last LocalClosed ");
    for (child, code, why) in [
        ("dev:1", 1, "wharf: nobody is connected to dev:1\n"),
        ("dev:2", 1, "wharf: there is no dev:2: the slots of dev are dev:0 to dev:1\n"),
        ("other:0", 2, "wharf: there is no \"other\" here: dev\n"),
    ] {
        let output = folder.run(&["port", "drop", child]);
        assert_eq!((status(&output), stderr(&output).as_str()), (code, why), "{child}");
    }
}

#[test]
fn set_changes_an_option_of_a_port_or_of_a_slot() {
    let folder = Folder::new();
    let host = folder.start(&["port", "serve", "dev", "127.0.0.1:0", "--echo", "--slots", "2"]);
    host.address();
    assert_eq!(folder.told(&["port", "set", "dev", "idle_any", "600s"]), "dev idle_any 10m\n");
    assert_eq!(folder.told(&["port", "set", "dev:1", "input_eos", "\\x03"]), "dev:1 input_eos \\x03\n");
    let report = folder.told(&["port", "report", "-l", "2"]);
    assert!(report.contains("\n  options  mode=echo  idle_any=10m\n"), "{report}");
    assert!(report.ends_with("\n  dev:1  free\n    options  input_eos=\\x03\n"), "{report}");
    for (arguments, why) in [
        (["dev", "slots", "3"], "wharf: dev: option slots cannot be changed while the port exists\n"),
        (["dev", "lingers", "3s"], "wharf: dev: there is no option \"lingers\", did you mean \"linger\"?\n"),
        (["dev:9", "linger", "3s"], "wharf: there is no dev:9: the slots of dev are dev:0 to dev:1\n"),
    ] {
        let output = folder.run(&[&["port", "set"][..], &arguments].concat());
        assert_eq!((status(&output), stderr(&output).as_str()), (1, why), "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_opened_ends_with_3_and_says_what_to_do() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = folder.0.join("missing/dev.log");
    for (arguments, cause, step) in [
        (&[&address, "--echo"][..], "address in use", "(`ss -ltnp` names it)"),
        (&["192.0.2.1:80", "--echo"], "address not available", "no interface of this machine has this address"),
        (&["nowhere.invalid:80", "--echo"], "resolve nowhere.invalid:80: ", "check how the name is written"),
        (&["127.0.0.1:0", "--log-file", file.to_str().unwrap()], "missing/dev.log", "make the folder"),
    ] {
        let output = folder.run(&[&["--log", "off", "port", "serve", "dev"], arguments].concat());
        let said = stderr(&output);
        assert_eq!((status(&output), stdout(&output).as_str()), (3, ""), "{said}");
        assert!(said.starts_with("wharf: ") && said.contains(cause) && said.contains(step), "{said}");
    }
    assert_eq!(status(&folder.run(&["port", "report"])), 3, "no host answers");
}

#[test]
fn a_plant_tries_again_until_the_address_can_be_had() {
    let folder = Folder::new();
    let taken = TcpListener::bind((wharf_tests::loopback::own(), 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = format!(
        "[loop]\nslow_callback = \"0\"\n[admin]\nsocket = false\n\
         [[port]]\nname = \"dev\"\naddress = \"{address}\"\nslots = 1\nmode = \"echo\"\nreopen = \"1ms\"\n"
    );
    std::fs::write(folder.0.join("hall.toml"), text).unwrap();
    let mut host = folder.start(&["run", "hall.toml"]);
    // It has found the address taken.
    let mut said = BufReader::new(host.child.as_mut().unwrap().stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("address in use"), "{line}");
    // Who talks must be heard.
    let listener = std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    drop(taken);
    assert_eq!(host.address(), address);
    exchange(&mut connect(&address), b"x", b"x");
    host.signal(Signal::TERM);
    assert_eq!(host.ended().0, 0);
    listener.join().unwrap().unwrap();
}

#[test]
fn a_wrong_port_ends_with_2_and_names_what_is_accepted() {
    let folder = Folder::new();
    let serve = ["port", "serve", "dev", ":0", "--echo"];
    for (arguments, why) in [
        (&["port", "serve", "dev", ":0"][..], "--echo|--broker|--log-file"),
        (&["port", "serve", "dev", ":0", "--echo", "--broker"], "cannot be used with"),
        (&["port", "serve", "dev:1", ":0", "--echo"], "option name cannot be \"dev:1\""),
        (&["port", "serve", "dev", ":0udp", "--echo"], "option address cannot be \":0udp\""),
        (&[&serve[..], &["--slots", "0"]].concat(), "accepted: 1..=65535"),
        (&[&serve[..], &["--on-full", "wait"]].concat(), "option on_full cannot be \"wait\""),
        (&[&serve[..], &["--on-full", "text"]].concat(), "full_text is empty"),
        (&[&serve[..], &["--allow", "10.0.0.0/33"]].concat(), "option allow cannot be"),
        (&[&serve[..], &["--eos", "\\q"]].concat(), "\\q is no escape"),
        (&[&serve[..], &["--trace", "both:octal"]].concat(), "option trace_io cannot be \"octal\""),
        (&[&serve[..], &["--set", "linger"]].concat(), "expected KEY=VALUE"),
        (&["port", "serve", "dev", ":0 udp", "--broker"], "accepted: \"none\", \"echo\", \"log\""),
        (&["port", "serve", "dev", ":0 udp", "--log-file", "f", "--eos", "x"], "input_eos is only for tcp ports"),
        (&[&serve[..], &["--set", "lingers=1s"]].concat(), "did you mean \"linger\"?"),
        (&[&serve[..], &["--set", "auto_connect=false"]].concat(), "serve opens its port by itself"),
        (&["port", "report", "-l", "3"], "0..=2"),
        (&["port", "drop", "dev"], "such as dev:0"),
        (&["port", "drop", "dev:x"], "\"x\" is no slot"),
        (&["port", "drop", "dev:+1"], "\"+1\" is no slot"),
        (&["port", "set", "dev:65536", "linger", "1s"], "\"65536\" is no slot"),
    ] {
        let output = folder.run(arguments);
        assert_eq!((status(&output), stdout(&output).as_str()), (2, ""), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(why), "{arguments:?}: {}", stderr(&output));
    }
}
