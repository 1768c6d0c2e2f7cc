//! A system whose own queue is full: a network of its own, whose loopback is slow. A test binary of its own, because it
//! starts processes, in which descriptors of other tests would linger for a moment.

#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::rc::Rc;
use std::thread;
use wharf_host::event_loop::{Loop, Out, Packets, Udp, UdpHandler, UdpId, UdpOptions};

const MARK: &str = "WHARF_TEST_SLOW_LOOPBACK";
const SLOW: &str = "ip link set lo up && tc qdisc add dev lo root tbf rate 80mbit burst 20k limit 10m";

#[test]
fn a_udp_sender_hears_drained_from_a_slow_device() {
    if std::env::var_os(MARK).is_some() {
        return send_through_a_slow_device();
    }
    let possible = Command::new("unshare").args(["-rn", "sh", "-c", SLOW]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return println!("skipped: there is no network of its own to be had (unshare, ip, tc)");
    }
    let again = format!("{SLOW} && exec \"$0\" --nocapture");
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare").args(["-rn", "sh", "-c", &again]).arg(this).env(MARK, "1").status();
    assert!(status.unwrap().success());
}

struct Sender {
    drained: Rc<Cell<u32>>,
}

impl UdpHandler for Sender {
    fn packets(&mut self, _: &mut Udp<'_, ()>, _: Packets<'_>) {
        panic!("nobody answers");
    }

    fn drained(&mut self, _: &mut Udp<'_, ()>) {
        self.drained.set(self.drained.get() + 1);
    }
}

fn send_through_a_slow_device() {
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = outside.local_addr().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = [0; 2000];
        while outside.recv(&mut bytes).unwrap() != 1 {}
    });
    let drained = Rc::new(Cell::new(0));
    let mut lp = Loop::new().unwrap();
    let sender = Sender { drained: Rc::clone(&drained) };
    let any = "127.0.0.1:0".parse().unwrap();
    let id = lp.loop_mut().bind_udp(any, sender, UdpOptions::default()).unwrap();
    for round in 1..=5 {
        // The device is slower than this loop, so that the socket's share of memory fills up.
        while send(&mut lp, id, to, &[7; 1000]) == 64 {}
        assert_eq!(send(&mut lp, id, to, &[7; 1000]), 0);
        assert_eq!(drained.get(), round - 1);
        let seen = Rc::clone(&drained);
        assert!(lp.run_until(move |_| seen.get() == round).unwrap());
        lp.turn(Some(std::time::Duration::ZERO)).unwrap();
        assert_eq!(drained.get(), round, "once");
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
