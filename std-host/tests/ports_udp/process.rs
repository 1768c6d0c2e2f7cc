//! UDP ports of a running `wharf`.

use crate::harness::{PATIENCE, hear, pattern, peer};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A running `wharf`, killed when dropped.
struct Wharf {
    child: Child,
    lines: Receiver<String>,
}

impl Wharf {
    fn run(name: &str, plant: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("ports-udp-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, plant).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        // Whoever asks for the hosts of this machine is not to find those of tests.
        command.arg("run").arg(path).env("WHARF_RUNTIME_DIR", folder.join("run"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// Where the next port listens.
    fn address(&self) -> SocketAddr {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line for each port");
        line.strip_prefix("listening ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
    }
}

impl Drop for Wharf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_plant_runs_udp_ports_beside_others_and_echo_answers_each_sender_with_its_own() {
    let mut wharf = Wharf::run(
        "echo",
        "[[port]]\nname = \"t\"\naddress = \"127.0.0.1:0\"\nslots = 1\n\
         [[port]]\nname = \"u\"\naddress = \"127.0.0.1:0 udp\"\nmode = \"echo\"\n\
         [[port]]\nname = \"v\"\naddress = \"[::1]:0 udp\"\nmode = \"echo\"\n\
         [[port]]\nname = \"w\"\naddress = \"127.0.0.1:0 udp\"\nudp = \"asyn\"\n",
    );
    let [_, v4, v6, asyn] = [(); 4].map(|()| wharf.address());
    assert!(v4.is_ipv4() && v6.is_ipv6() && asyn.is_ipv4());
    for (to, from, longest) in [(v4, "127.0.0.1:0", 65_507), (v6, "[::1]:0", 65_527)] {
        let peers = [peer(from), peer(from)];
        for len in [0, 1, 100, longest] {
            for (first, peer) in (0..).zip(&peers) {
                let mut payload = pattern(len);
                payload.iter_mut().take(1).for_each(|byte| *byte = first);
                peer.send_to(&payload, to).unwrap();
                assert_eq!(hear(peer), payload);
            }
        }
    }
    kill_process(Pid::from_child(&wharf.child), Signal::TERM).unwrap();
    assert_eq!(wharf.child.wait().unwrap().code(), Some(0));
}
