//! A system that takes a few packets at a time and says when it takes more: what `drained` means, without luck.

use super::{Log, Probe, Seen, quiet};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::net::{Arena, ConnectOptions, ListenOptions, More, Net, NetId, PacketInfo, Ready, Wake};
use wharf_host::event_loop::{Loop, LoopOptions, Out, Signal, UdpId, UdpOptions};

/// What the test and the system share.
#[derive(Default)]
struct Script {
    /// Packets that the system takes before it is full.
    room: usize,
    /// It has become possible to write: an event for those who watch for it.
    edge: bool,
    watched: Option<(u64, bool)>,
    sent: Vec<Vec<u8>>,
    /// Errors that the next calls find in place of a packet.
    errors: Vec<io::ErrorKind>,
    /// The same for calls that receive.
    read_errors: Vec<io::ErrorKind>,
    /// Packets that reached nobody, kept by the system.
    unreached: Vec<(SocketAddr, io::ErrorKind)>,
    /// What the receiving calls find.
    arriving: Vec<Vec<u8>>,
    watches: usize,
    calls: usize,
}

#[derive(Clone, Default)]
struct Narrow(Rc<RefCell<Script>>);

fn unsupported<V>() -> io::Result<V> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Net for Narrow {
    fn now(&mut self) -> Instant {
        Instant::ORIGIN
    }

    fn poll(&mut self, _: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut script = self.0.borrow_mut();
        if let Some((token, write)) = script.watched {
            let write = write && std::mem::take(&mut script.edge);
            let read = !script.arriving.is_empty() || !script.read_errors.is_empty();
            if read || write {
                ready.push(Ready { token, read, write, hung_up: false });
            }
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        Arc::new(|| {})
    }

    fn bind_udp(&mut self, _: SocketAddr, _: &UdpOptions) -> io::Result<NetId> {
        Ok(NetId(0))
    }

    fn watch(&mut self, _: NetId, token: u64, write: bool) -> io::Result<()> {
        let mut script = self.0.borrow_mut();
        script.watched = Some((token, write));
        // What is possible already is reported once.
        script.edge = write && script.room > 0;
        script.watches += 1;
        Ok(())
    }

    fn send_packets(&mut self, _: NetId, packets: &[Out<'_>]) -> io::Result<usize> {
        let mut script = self.0.borrow_mut();
        script.calls += 1;
        if !script.errors.is_empty() {
            return Err(script.errors.remove(0).into());
        }
        let taken = script.room.min(packets.len());
        script.room -= taken;
        script.sent.extend(packets[..taken].iter().map(|packet| packet.payload.to_vec()));
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn receive_packets(&mut self, _: NetId, arena: &mut Arena, max: usize) -> io::Result<More> {
        let mut script = self.0.borrow_mut();
        if !script.read_errors.is_empty() {
            return Err(script.read_errors.remove(0).into());
        }
        let count = script.arriving.len().min(max);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for payload in script.arriving.drain(..count) {
            assert!(arena.push(PacketInfo::from(PEER), &payload));
        }
        Ok(More::Maybe)
    }

    fn next_unreached(&mut self, _: NetId) -> Option<(SocketAddr, io::Error)> {
        let mut script = self.0.borrow_mut();
        let (to, why) = if script.unreached.is_empty() { None } else { Some(script.unreached.remove(0)) }?;
        Some((to, why.into()))
    }

    fn close(&mut self, _: NetId, _: bool) {
        self.0.borrow_mut().watched = None;
    }

    fn local_addr(&self, _: NetId) -> io::Result<SocketAddr> {
        Ok(PEER)
    }

    fn fd(&self, _: NetId) -> Option<BorrowedFd<'_>> {
        None
    }

    fn take(&mut self, _: NetId) -> Option<OwnedFd> {
        None
    }

    fn next_signal(&mut self) -> Option<Signal> {
        None
    }

    fn listen(&mut self, _: SocketAddr, _: &ListenOptions) -> io::Result<NetId> {
        unsupported()
    }

    fn accept(&mut self, _: NetId) -> io::Result<(NetId, SocketAddr)> {
        unsupported()
    }

    fn shed(&mut self, _: NetId) -> Option<SocketAddr> {
        None
    }

    fn connect(&mut self, _: SocketAddr, _: &ConnectOptions) -> io::Result<NetId> {
        unsupported()
    }

    fn connected(&mut self, _: NetId) -> io::Result<bool> {
        unsupported()
    }

    fn adopt(&mut self, _: TcpStream) -> io::Result<NetId> {
        unsupported()
    }

    fn read(&mut self, _: NetId, _: &mut [u8]) -> io::Result<usize> {
        unsupported()
    }

    fn write(&mut self, _: NetId, _: &[IoSlice<'_>]) -> io::Result<usize> {
        unsupported()
    }

    fn end_output(&mut self, _: NetId) -> io::Result<()> {
        unsupported()
    }

    fn watch_signal(&mut self, _: Signal) -> io::Result<()> {
        unsupported()
    }
}

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

struct Stage {
    lp: Loop,
    net: Narrow,
    log: Log,
    id: UdpId,
}

fn stage(room: usize, probe: impl FnOnce(&Log) -> Probe) -> Stage {
    let net = Narrow::default();
    net.0.borrow_mut().room = room;
    let mut lp = Loop::with_net((), LoopOptions::default(), Box::new(net.clone()));
    let log = Log::default();
    let id = lp.loop_mut().bind_udp(PEER, probe(&log), UdpOptions::default()).unwrap();
    Stage { lp, net, log, id }
}

impl Stage {
    fn send(&mut self, payloads: &[&[u8]]) -> usize {
        let out: Vec<Out<'_>> = payloads.iter().map(|payload| Out::to(PEER, payload)).collect();
        self.lp.loop_mut().udp(self.id).unwrap().send(&out).unwrap()
    }

    /// The system takes so many more, and says so.
    fn make_room(&mut self, room: usize) {
        let mut script = self.net.0.borrow_mut();
        (script.room, script.edge) = (room, true);
    }

    fn turn(&mut self) {
        self.lp.turn(Some(Duration::ZERO)).unwrap();
    }

    fn drained(&self) -> usize {
        self.log.borrow().iter().filter(|seen| **seen == Seen::Drained).count()
    }
}

#[test]
fn a_udp_sender_hears_drained() {
    let mut stage = stage(2, |log| Probe::new(log, quiet));
    assert_eq!(stage.send(&[b"1", b"2", b"3", b"4"]), 2);
    assert_eq!(stage.drained(), 0, "callbacks never nest");
    stage.turn();
    assert_eq!(stage.drained(), 0, "there is no room yet");
    stage.make_room(5);
    stage.turn();
    assert_eq!(stage.drained(), 1);
    stage.make_room(5);
    for _ in 0..3 {
        stage.turn();
    }
    assert_eq!(stage.drained(), 1, "once");
    assert_eq!(stage.send(&[b"3", b"4"]), 2);
    stage.make_room(5);
    stage.turn();
    assert_eq!(stage.drained(), 1, "a call that took all owes nothing");
    assert_eq!(stage.net.0.borrow().sent, [b"1", b"2", b"3", b"4"]);
}

#[test]
fn nothing_overtakes_the_rest_before_drained() {
    let mut stage = stage(1, |log| Probe::new(log, quiet));
    assert_eq!(stage.send(&[b"1", b"2"]), 1);
    stage.make_room(5);
    let calls = stage.net.0.borrow().calls;
    assert_eq!(stage.send(&[b"3"]), 0);
    assert_eq!(stage.net.0.borrow().calls, calls, "the system is not asked");
    stage.turn();
    assert_eq!(stage.drained(), 1, "once for both calls");
}

#[test]
fn a_short_send_in_drained_is_resumed() {
    let payloads: Rc<Vec<[u8; 1]>> = Rc::new((0..100).map(|number| [number]).collect());
    let (rest, mut at) = (Rc::clone(&payloads), 0);
    let mut stage = stage(0, |log| {
        Probe::new(log, move |what, u, _| {
            assert_eq!(what, "drained");
            let out: Vec<Out<'_>> = rest[at..].iter().map(|payload| Out::to(PEER, payload)).collect();
            at += u.send(&out).unwrap();
        })
    });
    assert_eq!(stage.send(&[b"x"]), 0);
    for _ in 0..50 {
        stage.make_room(3);
        stage.turn();
    }
    assert_eq!(stage.net.0.borrow().sent, *payloads);
    assert_eq!(stage.drained(), 34, "33 short sends and the first refusal");
}

#[test]
fn write_interest_lasts_only_while_drained_is_owed() {
    let mut stage = stage(1, |log| Probe::new(log, quiet));
    assert_eq!(stage.net.0.borrow().watches, 1);
    assert_eq!(stage.send(&[b"1", b"2"]), 1);
    assert!(stage.net.0.borrow().watched.unwrap().1);
    stage.make_room(9);
    stage.turn();
    assert_eq!(stage.drained(), 1);
    assert!(!stage.net.0.borrow().watched.unwrap().1);
    assert_eq!(stage.net.0.borrow().watches, 3);
}

#[test]
fn room_that_came_before_the_interest_is_heard_of() {
    // The system is full, and has room again before the loop could watch for it: there will be no edge of its own.
    let mut stage = stage(3, |log| Probe::new(log, quiet));
    stage.net.0.borrow_mut().errors = vec![io::ErrorKind::WouldBlock];
    assert_eq!(stage.send(&[b"1"]), 0);
    stage.turn();
    assert_eq!(stage.drained(), 1);
}

#[test]
fn an_interruption_is_no_error() {
    let mut stage = stage(3, |log| Probe::new(log, quiet));
    stage.net.0.borrow_mut().errors = vec![io::ErrorKind::Interrupted; 2];
    assert_eq!(stage.send(&[b"1"]), 1);
    stage.turn();
    assert_eq!(*stage.log.borrow(), []);
}

#[test]
fn an_earlier_packets_error_before_a_full_system_is_told_too() {
    let mut stage = stage(0, |log| Probe::new(log, quiet));
    stage.net.0.borrow_mut().errors = vec![io::ErrorKind::ConnectionRefused];
    assert_eq!(stage.send(&[b"1"]), 0);
    stage.make_room(1);
    stage.turn();
    let refused = Seen::Error(format!("receive on {PEER}: connection refused"));
    assert_eq!(*stage.log.borrow(), [refused, Seen::Drained]);
}

#[test]
fn two_errors_are_one_earlier_packets_and_one_its_own() {
    let mut stage = stage(9, |log| Probe::new(log, quiet));
    stage.net.0.borrow_mut().errors = vec![io::ErrorKind::ConnectionRefused, io::ErrorKind::PermissionDenied];
    let refused = stage.lp.loop_mut().udp(stage.id).unwrap().send(&[Out::to(PEER, b"1")]).unwrap_err();
    assert_eq!(refused.to_string(), format!("send to {PEER}: permission denied"));
    stage.turn();
    assert_eq!(*stage.log.borrow(), [Seen::Error(format!("receive on {PEER}: connection refused"))]);
    assert!(stage.net.0.borrow().sent.is_empty());
}

#[test]
fn an_error_that_comes_with_a_name_and_then_without_is_told_once() {
    // The system keeps the packet a moment before it raises the error.
    let mut stage = stage(9, |log| Probe::new(log, quiet));
    let far: SocketAddr = "10.0.0.7:7".parse().unwrap();
    let refused = Seen::Error(format!("reach {far}: connection refused"));
    for sending in [true, false] {
        let mut script = stage.net.0.borrow_mut();
        script.unreached = vec![(far, io::ErrorKind::ConnectionRefused)];
        let errors = if sending { &mut script.errors } else { &mut script.read_errors };
        *errors = vec![io::ErrorKind::ConnectionRefused; 2];
        drop(script);
        assert_eq!(stage.send(&[b"1"]), 1);
        stage.turn();
        stage.turn();
        assert_eq!(stage.log.take(), std::slice::from_ref(&refused), "sending: {sending}");
    }
    assert_eq!(stage.net.0.borrow().sent.len(), 2);
}

#[test]
fn packets_come_from_any_system() {
    let mut stage = stage(0, |log| Probe::new(log, quiet));
    stage.net.0.borrow_mut().arriving = vec![b"one".to_vec(), vec![], vec![5; 3000]];
    stage.turn();
    let meant = Seen::Batch(vec![b"one".to_vec(), vec![], vec![5; 2048]]);
    assert_eq!(*stage.log.borrow(), [meant]);
    assert_eq!(stage.lp.loop_mut().stats().datagrams_truncated, 1);
}
