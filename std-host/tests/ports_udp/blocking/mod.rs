//! UDP ports as threads use them: a port on a thread of its own, peers, and waits that all end.

mod answering;
mod hearing;
mod lifetime;
mod partial;
mod reading;

use crate::harness::{PATIENCE, V4, options, peer};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wharf_core::port::framing::Eom;
use wharf_host::services::port::udp::{UdpPort, UdpServer};
use wharf_host::services::port::{Addr, Error, Threaded};

/// As a timeout: how long a test waits for what must come.
const PATIENT: Option<Duration> = Some(PATIENCE);
/// One attempt.
const AT_ONCE: Option<Duration> = Some(Duration::ZERO);
/// So short that it may well pass.
const SOON: Option<Duration> = Some(Duration::from_millis(20));
const ALL: Addr = Addr::Port;
const ONE: Addr = Addr::Slot(0);

/// A port that is up.
fn port(keys: &[(&str, &str)]) -> Threaded<UdpPort> {
    let port = UdpServer::spawn(options(V4, keys)).unwrap();
    port.connect(PATIENT).unwrap();
    port
}

fn local(port: &UdpPort) -> SocketAddr {
    port.local_addr().expect("the port is up")
}

/// A peer of its own for a port.
fn caller(port: &UdpPort) -> UdpSocket {
    let peer = peer("127.0.0.1:0");
    peer.connect(local(port)).unwrap();
    peer
}

/// The bytes of a read, and why they end there.
fn read(port: &UdpPort, room: usize, timeout: Option<Duration>) -> Result<(Vec<u8>, Eom), Error> {
    let mut buffer = vec![b'-'; room];
    let read = port.read(ONE, &mut buffer, timeout)?;
    buffer.truncate(read.len);
    Ok((buffer, read.eom))
}

/// What a call gives that must not wait, though it would be allowed to for ever.
fn at_once<R: Send + 'static>(port: &UdpPort, call: impl FnOnce(&UdpPort) -> R + Send + 'static) -> R {
    let (port, (sender, receiver)) = (port.clone(), mpsc::channel());
    // It ends with the loop at the latest.
    thread::spawn(move || sender.send(call(&port)));
    receiver.recv_timeout(PATIENCE).expect("the call waits for nothing")
}

/// What a thread has got, whose call is to end. If it does not, it ends with the loop at the latest.
fn ended<R>(thread: JoinHandle<R>) -> R {
    until(|| thread.is_finished());
    thread.join().unwrap()
}

/// Waits until `what` is so.
fn until(mut what: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "it does not come to be");
        thread::yield_now();
    }
}

/// Waits until so many calls wait on the loop.
fn until_waiting(port: &UdpPort, count: usize) {
    until(|| port.run(|port| port.waiting()).unwrap() == count);
}

/// Waits until so many datagrams have been received.
fn until_received(port: &UdpPort, count: u64) {
    until(|| port.run(|port| port.counters().received).unwrap() >= count);
}
