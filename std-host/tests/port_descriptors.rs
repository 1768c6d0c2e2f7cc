//! A port leaves no descriptor behind: its own test binary, because descriptors are counted for the whole process.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use wharf_host::services::port::options::Options;
use wharf_host::services::port::{Addr, OnClose, Server};
use wharf_tests::loopback;

const PATIENT: Option<Duration> = Some(Duration::from_secs(30));

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thousand_reconnects_admit_nobody_between_and_leak_nothing() {
    let mut options = Options::new("dev", &format!("{}:0", loopback::own())).unwrap();
    options.set("slots", "2").unwrap();
    let port = Server::spawn(options).unwrap();
    port.connect(PATIENT).unwrap();
    let before = descriptors();
    for _ in 0..1000 {
        port.connect(PATIENT).unwrap();
        let address = port.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(PATIENT).unwrap();
        port.wait_client(Addr::Port, PATIENT).unwrap();
        // One may be on its way while the port closes: it gets a slot or is closed, and is not left waiting.
        let mut late = TcpStream::connect(address).unwrap();
        late.set_read_timeout(PATIENT).unwrap();
        port.disconnect(OnClose::Drop).unwrap();
        let accepted = port.run(|port| port.totals().accepted).unwrap();
        TcpStream::connect(address).expect_err("nobody is let in");
        let _ = (client.read(&mut [0; 1]), late.read(&mut [0; 1]));
        assert_eq!(port.run(|port| port.totals().accepted), Ok(accepted), "nobody has been let in");
        drop((client, late));
    }
    port.connect(PATIENT).unwrap();
    // What was refused last is about to be closed.
    let end = Instant::now() + PATIENT.unwrap();
    while descriptors() != before {
        assert!(Instant::now() < end, "{} descriptors, and {before} before", descriptors());
        thread::yield_now();
    }
    assert_eq!((port.slot_id(Addr::Slot(0)), port.slot_id(Addr::Slot(1))), (Ok(None), Ok(None)));
}
