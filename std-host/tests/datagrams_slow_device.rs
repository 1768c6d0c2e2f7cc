//! A system whose own queue is full: a network of its own, whose loopback is slow, or short of room. A test binary of
//! its own, because it starts processes, in which descriptors of other tests would linger for a moment.

#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::rc::Rc;
use std::thread;
use wharf_host::event_loop::{Error, Loop, Out, Packets, Udp, UdpHandler, UdpId, UdpOptions};

const MARK: &str = "WHARF_TEST_OWN_NETWORK";
const SLOW: &str = "ip link set lo up && tc qdisc add dev lo root tbf rate 80mbit burst 20k limit 10m";
const SHORT: &str = "ip link set lo up && tc qdisc add dev lo root tbf rate 80mbit burst 5k limit 10k";

#[test]
fn a_udp_sender_hears_drained_from_a_slow_device() {
    in_a_network_of_its_own("a_udp_sender_hears_drained_from_a_slow_device", SLOW, send_through_a_slow_device);
}

#[test]
fn what_a_device_drops_is_lost_like_any_other_packet() {
    in_a_network_of_its_own("what_a_device_drops_is_lost_like_any_other_packet", SHORT, || {
        let outside = UdpSocket::bind(ANY).unwrap();
        let to = outside.local_addr().unwrap();
        let (mut lp, id, seen) = sender();
        for _ in 0..20 {
            assert_eq!(send(&mut lp, id, to, &[7; 1000]), 64);
            assert_eq!(lp.loop_mut().udp(id).unwrap().send(&[Out::to(to, &[7; 1000])]).unwrap(), 1);
        }
        lp.turn(Some(std::time::Duration::ZERO)).unwrap();
        assert_eq!((seen.errors.get(), seen.drained.get()), (0, 0));
        outside.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let arrived = std::iter::from_fn(|| outside.recv(&mut [0; 2000]).ok()).count();
        assert!(arrived > 0 && arrived < 20 * 65, "{arrived} arrived");
    });
}

/// Runs `body` in a process of its own, in a network that `setup` makes, where that is possible.
fn in_a_network_of_its_own(test: &str, setup: &str, body: fn()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let possible = Command::new("unshare").args(["-rn", "sh", "-c", setup]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return println!("skipped: there is no network of its own to be had (unshare, ip, tc)");
    }
    let again = format!("{setup} && exec \"$0\" --nocapture --exact {test}");
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare").args(["-rn", "sh", "-c", &again]).arg(this).env(MARK, "1").status();
    assert!(status.unwrap().success());
}

const ANY: &str = "127.0.0.1:0";

/// How often a sender was called.
#[derive(Default)]
struct Seen {
    drained: Cell<u32>,
    errors: Cell<u32>,
}

struct Sender(Rc<Seen>);

impl UdpHandler for Sender {
    fn packets(&mut self, _: &mut Udp<'_, ()>, _: Packets<'_>) {
        panic!("nobody answers");
    }

    fn drained(&mut self, _: &mut Udp<'_, ()>) {
        self.0.drained.set(self.0.drained.get() + 1);
    }

    fn error(&mut self, _: &mut Udp<'_, ()>, _: Error) {
        self.0.errors.set(self.0.errors.get() + 1);
    }
}

fn sender() -> (Loop, UdpId, Rc<Seen>) {
    let (mut lp, seen) = (Loop::new().unwrap(), Rc::<Seen>::default());
    let id = lp.loop_mut().bind_udp(ANY.parse().unwrap(), Sender(Rc::clone(&seen)), UdpOptions::default()).unwrap();
    (lp, id, seen)
}

fn send_through_a_slow_device() {
    let outside = UdpSocket::bind(ANY).unwrap();
    let to = outside.local_addr().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = [0; 2000];
        while outside.recv(&mut bytes).unwrap() != 1 {}
    });
    let (mut lp, id, seen) = sender();
    for round in 1..=5 {
        // The device is slower than this loop, so that the socket's share of memory fills up.
        while send(&mut lp, id, to, &[7; 1000]) == 64 {}
        assert_eq!(send(&mut lp, id, to, &[7; 1000]), 0);
        assert_eq!(seen.drained.get(), round - 1);
        let told = Rc::clone(&seen);
        assert!(lp.run_until(move |_| told.drained.get() == round).unwrap());
        lp.turn(Some(std::time::Duration::ZERO)).unwrap();
        assert_eq!(seen.drained.get(), round, "once");
    }
    // The device drops what is beyond its own bounds, so that the last word may need repeating.
    while !reader.is_finished() {
        send(&mut lp, id, to, b"x");
        lp.turn(Some(std::time::Duration::from_millis(1))).unwrap();
    }
    reader.join().unwrap();
}

/// Offers 64 packets and returns how many were taken.
fn send(lp: &mut Loop, id: UdpId, to: SocketAddr, payload: &[u8]) -> usize {
    lp.loop_mut().udp(id).unwrap().send(&[Out::to(to, payload); 64]).unwrap()
}
