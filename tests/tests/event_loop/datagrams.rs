//! UDP sockets in the simulated world: what is owed to their users, exactly once each.

use crate::harness::any;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::{Ecn, Error, LoopOptions, Membership, Out, Packets, Udp, UdpHandler, UdpId, UdpOptions};
use wharf_tests::sim_net::{Faults, Sim};

pub(crate) type Log = Rc<RefCell<Vec<String>>>;

/// Writes down its callbacks and lets the test act in each.
pub(crate) struct Probe<F> {
    log: Log,
    act: F,
}

impl<F: FnMut(&str, &mut Udp<'_, ()>) + 'static> UdpHandler for Probe<F> {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        let texts: Vec<_> = batch.iter().map(|packet| String::from_utf8_lossy(packet.payload).into_owned()).collect();
        self.log.borrow_mut().push(texts.join(" "));
        (self.act)("packets", u);
    }

    fn drained(&mut self, u: &mut Udp<'_, ()>) {
        self.log.borrow_mut().push("drained".to_owned());
        (self.act)("drained", u);
    }

    fn error(&mut self, u: &mut Udp<'_, ()>, error: Error) {
        self.log.borrow_mut().push(error.to_string());
        (self.act)("error", u);
    }
}

/// One loop with one UDP socket.
struct Stage {
    sim: Sim,
    log: Log,
    id: UdpId,
    addr: SocketAddr,
}

fn quiet(_: &str, _: &mut Udp<'_, ()>) {}

fn stage(faults: Faults, act: impl FnMut(&str, &mut Udp<'_, ()>) + 'static) -> Stage {
    stage_at(any(), faults, LoopOptions::default(), act)
}

fn stage_at(
    at: SocketAddr,
    faults: Faults,
    options: LoopOptions,
    act: impl FnMut(&str, &mut Udp<'_, ()>) + 'static,
) -> Stage {
    let mut sim = Sim::new(0, faults);
    sim.add_loop((), options);
    let log = Log::default();
    let id = sim.lp(0).bind_udp(at, Probe { log: Rc::clone(&log), act }, UdpOptions::default()).unwrap();
    let addr = sim.lp(0).udp(id).unwrap().local_addr().unwrap();
    Stage { sim, log, id, addr }
}

impl Stage {
    fn udp<R>(&mut self, f: impl FnOnce(&mut Udp<'_, ()>) -> R) -> R {
        f(&mut self.sim.lp(0).udp(self.id).unwrap())
    }

    fn send(&mut self, to: SocketAddr, payloads: &[&[u8]]) -> usize {
        let out: Vec<_> = payloads.iter().map(|payload| Out::to(to, payload)).collect();
        self.udp(|u| u.send(&out)).unwrap()
    }

    /// What has been written down since the last time.
    fn seen(&mut self) -> Vec<String> {
        self.sim.run_until_idle();
        self.log.take()
    }
}

#[test]
fn a_udp_sender_hears_drained() {
    let faults = Faults { pace: Duration::from_millis(1), send_buffer: 4..=4, ..Faults::none() };
    let mut stage = stage(faults, quiet);
    let peer = stage.sim.world.bind_udp(any());
    assert_eq!(stage.send(peer.addr(), &[b"1", b"2", b"3", b"4", b"5", b"6"]), 4);
    assert_eq!(stage.send(peer.addr(), &[b"7"]), 0, "nothing overtakes the rest");
    stage.sim.run_for(Duration::from_micros(2500));
    assert_eq!(stage.log.take(), [""; 0], "half the buffer is full");
    assert_eq!(stage.seen(), ["drained"]);
    assert_eq!(peer.receive().len(), 4);
    assert_eq!(stage.sim.world.now(), Instant::from_millis(4));
    assert_eq!(stage.send(peer.addr(), &[b"5", b"6"]), 2);
    assert_eq!(stage.seen(), [""; 0], "all was taken");
    assert_eq!(peer.receive().len(), 2);
}

#[test]
fn a_sender_that_goes_on_at_drained_sends_all_in_order() {
    let faults = Faults { pace: Duration::from_millis(1), send_buffer: 5..=5, ..Faults::none() };
    let (to, mut next) = ("127.0.0.1:9000".parse().unwrap(), 0_u8);
    let mut stage = stage(faults, move |what, u| {
        assert_eq!(what, "drained");
        while next < 100 && u.send(&[Out::to(to, &[next])]).unwrap() == 1 {
            next += 1;
        }
    });
    let peer = stage.sim.world.bind_udp(to);
    assert_eq!(stage.send(to, &[&b"x"[..]; 6]), 5);
    let seen = stage.seen();
    let payloads: Vec<_> = peer.receive().into_iter().skip(5).map(|(_, payload)| payload).collect();
    assert_eq!(payloads, (0..100).map(|number| vec![number]).collect::<Vec<_>>());
    assert!(seen.len() >= 20 && seen.iter().all(|seen| seen == "drained"));
}

#[test]
fn a_bound_udp_socket_receives() {
    for at in [any(), "[::1]:0".parse().unwrap()] {
        let mut stage = stage_at(at, Faults::none(), LoopOptions::default(), quiet);
        let peer = stage.sim.world.bind_udp(at);
        for text in ["one", "", "three"] {
            peer.send(stage.addr, text.as_bytes());
        }
        assert_eq!(stage.seen(), ["one  three"]);
        peer.send(stage.addr, b"four");
        assert_eq!(stage.seen(), ["four"]);
        assert_eq!(stage.seen(), [""; 0], "nothing comes twice");
        let stats = stage.sim.lp(0).stats();
        assert_eq!((stats.datagrams_in, stats.false_events), (4, 0));
    }
}

#[test]
fn ipv6_destinations_are_kept() {
    let mut stage = stage_at("[::]:0".parse().unwrap(), Faults::none(), LoopOptions::default(), quiet);
    let world = &stage.sim.world;
    let [one, two, four] = ["[::1]:0", "[fd00::2]:0", "127.0.0.1:0"].map(|at| world.bind_udp(at.parse().unwrap()));
    let out = [(&one, "a"), (&two, "b"), (&four, "c"), (&one, "d")].map(|(to, text)| (to.addr(), text));
    let sent = stage.udp(|u| u.send(&out.map(|(to, text)| Out::to(to, text.as_bytes()))));
    assert_eq!(sent.unwrap(), 4);
    let from = |ip: &str| SocketAddr::new(ip.parse().unwrap(), stage.addr.port());
    assert_eq!(one.receive(), [(from("::1"), b"a".to_vec()), (from("::1"), b"d".to_vec())]);
    assert_eq!(two.receive(), [(from("::1"), b"b".to_vec())]);
    assert_eq!(four.receive(), [(from("127.0.0.1"), b"c".to_vec())]);
}

#[test]
fn a_packet_tells_all_that_is_known_of_it() {
    struct Show(Rc<RefCell<Vec<String>>>);
    impl UdpHandler for Show {
        fn packets(&mut self, _: &mut Udp<'_, ()>, batch: Packets<'_>) {
            for p in batch {
                let line = format!("{} {:?} {:?} {:?} {}", p.peer, p.local, p.interface, p.ecn, p.truncated);
                self.0.borrow_mut().push(line);
            }
        }
    }
    let mut sim = Sim::strict();
    sim.add_loop((), LoopOptions { udp_payload: 4, ..LoopOptions::default() });
    let log = Rc::default();
    let at = "[::]:7000".parse().unwrap();
    sim.lp(0).bind_udp(at, Show(Rc::clone(&log)), UdpOptions::default()).unwrap();
    let peer = sim.world.bind_udp("127.0.0.1:5000".parse().unwrap());
    peer.send("127.0.0.1:7000".parse().unwrap(), b"four");
    peer.mark(Ecn::CongestionExperienced);
    peer.send("127.0.0.1:7000".parse().unwrap(), b"fives");
    sim.run_until_idle();
    let whole = "127.0.0.1:5000 Some(127.0.0.1) Some(1) Some(NotCapable) false";
    let cut = "127.0.0.1:5000 Some(127.0.0.1) Some(1) Some(CongestionExperienced) true";
    assert_eq!(log.take(), [whole, cut]);
    assert_eq!(sim.lp(0).stats().datagrams_truncated, 1);
}

#[test]
fn a_limit_lets_so_many_through_and_pause_none() {
    let mut stage = stage(Faults::none(), quiet);
    let peer = stage.sim.world.bind_udp(any());
    stage.udp(|u| u.limit_packets(3)).unwrap();
    for number in 0..8 {
        peer.send(stage.addr, format!("{number}").as_bytes());
    }
    assert_eq!(stage.seen(), ["0 1 2"]);
    stage.udp(|u| u.limit_packets(2)).unwrap();
    assert_eq!(stage.seen(), ["3 4"]);
    stage.udp(|u| u.pause().unwrap());
    peer.send(stage.addr, b"8");
    assert_eq!(stage.seen(), [""; 0]);
    // The edge has been told: nobody has to send for the rest to come.
    stage.udp(|u| u.resume().unwrap());
    assert_eq!(stage.seen(), ["5 6 7 8"]);
    assert_eq!(stage.udp(|u| u.dropped()), 0);
}

#[test]
fn what_the_system_drops_is_counted_once() {
    let mut stage = stage(Faults { receive_queue: 3..=3, ..Faults::none() }, quiet);
    let peer = stage.sim.world.bind_udp(any());
    for text in ["1", "2", "3", "4", "5"] {
        peer.send(stage.addr, text.as_bytes());
    }
    assert_eq!(stage.seen(), ["1 2 3"]);
    for text in ["6", "7"] {
        peer.send(stage.addr, text.as_bytes());
        assert_eq!(stage.seen(), [text]);
    }
    assert_eq!((stage.udp(|u| u.dropped()), stage.sim.lp(0).stats().datagrams_dropped), (2, 2));
}

#[test]
fn an_unreachable_peer_is_an_error_and_the_socket_lives_on() {
    let gone: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let refused = format!("reach {gone}: connection refused");
    for connected in [true, false] {
        let mut stage = stage(Faults::none(), quiet);
        if connected {
            stage.udp(|u| u.connect(gone)).unwrap();
        }
        assert_eq!(stage.send(gone, &[b"x"]), 1);
        assert_eq!(stage.seen(), [refused.as_str()]);
        // One that is told of is not told again, by whatever call comes next.
        let peer = stage.sim.world.bind_udp(any());
        stage.udp(|u| u.disconnect().unwrap());
        assert_eq!(stage.send(peer.addr(), &[b"y"]), 1);
        peer.send(stage.addr, b"back");
        assert_eq!(stage.seen(), ["back"]);
        assert_eq!(peer.receive().len(), 1);
    }
}

#[test]
fn each_unreachable_peer_is_named_and_the_packets_between_arrive() {
    let mut stage = stage(Faults::none(), quiet);
    let peer = stage.sim.world.bind_udp(any());
    let (one, two) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.2:2".parse().unwrap());
    let all = [one, peer.addr(), two, peer.addr(), one].map(|to| Out::to(to, b"x"));
    assert_eq!(stage.udp(|u| u.send(&all)).unwrap(), 5);
    let told = stage.seen();
    assert_eq!(told, [one, two].map(|to: SocketAddr| format!("reach {to}: connection refused")), "merged");
    assert_eq!(peer.receive().len(), 2);
}

#[test]
fn an_error_without_a_name_is_told_too() {
    let mut stage = stage(Faults { nameless: 1000, ..Faults::none() }, quiet);
    let gone: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let local = stage.addr;
    assert_eq!(stage.send(gone, &[b"x"]), 1);
    assert_eq!(stage.seen(), [format!("receive on {local}: connection refused")]);
    stage.udp(|u| u.connect(gone)).unwrap();
    assert_eq!(stage.send(gone, &[b"x"]), 1);
    assert_eq!(stage.seen(), [format!("reach {gone}: connection refused")]);
}

#[test]
fn errors_of_new_packets_make_no_pause() {
    // Nothing but the packets sent in between tells them from one that does not go away.
    let gone: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let mut again = 3;
    let mut stage = stage(Faults { nameless: 1000, ..Faults::none() }, move |what, u| {
        if what == "error" && again > 0 {
            again -= 1;
            assert_eq!(u.send(&[Out::connected(b"again")]).unwrap(), 1);
        }
    });
    stage.udp(|u| u.connect(gone)).unwrap();
    assert_eq!(stage.send(gone, &[b"x"]), 1);
    assert_eq!(stage.seen(), [(); 4].map(|()| format!("reach {gone}: connection refused")));
    assert_eq!(stage.sim.world.now(), Instant::ORIGIN);
}

#[test]
fn a_receive_error_that_does_not_go_away_is_told_once_and_tried_ever_less_often() {
    let mut stage = stage(Faults::none(), quiet);
    let (peer, local) = (stage.sim.world.bind_udp(any()), stage.addr);
    stage.sim.world.fail_receiving(Some(ErrorKind::PermissionDenied));
    peer.send(stage.addr, b"kept");
    stage.sim.run_for(Duration::from_secs(60));
    assert_eq!(stage.log.take(), [format!("receive on {local}: permission denied")]);
    // Twice at once, then after 0.1, 0.2, 0.4 .. 3.2 and every 5 seconds.
    let calls = stage.sim.world.calls().receives;
    assert!((2 + 6 + 9..=2 + 6 + 12).contains(&calls), "{calls} calls");
    // Another error is another matter, and told.
    stage.sim.world.fail_receiving(Some(ErrorKind::OutOfMemory));
    stage.sim.run_for(Duration::from_secs(60));
    assert_eq!(stage.log.take(), [format!("receive on {local}: out of memory")]);
    // It goes away: what waits is received within the longest pause, and the next failure is news.
    stage.sim.world.fail_receiving(None);
    stage.sim.run_for(Duration::from_secs(5));
    assert_eq!(stage.log.take(), ["kept"]);
    stage.sim.world.fail_receiving(Some(ErrorKind::OutOfMemory));
    peer.send(stage.addr, b"later");
    let calls = stage.sim.world.calls().receives;
    stage.sim.run_for(Duration::from_millis(99));
    assert_eq!(stage.log.take(), [format!("receive on {local}: out of memory")]);
    assert_eq!(stage.sim.world.calls().receives, calls + 2);
    // A pause ends with its socket.
    stage.sim.lp(0).udp(stage.id).unwrap().close();
    let now = stage.sim.world.now();
    let calls = stage.sim.world.calls().receives;
    stage.sim.run_until_idle();
    assert_eq!((stage.sim.world.calls().receives, stage.sim.world.calls().strays), (calls, 0));
    assert_eq!(stage.sim.world.now(), now, "no timer is left");
}

#[test]
fn groups_and_broadcasts_reach_those_who_asked() {
    let group = "239.1.2.3".parse().unwrap();
    let mut stage = stage_at("0.0.0.0:7000".parse().unwrap(), Faults::none(), LoopOptions::default(), quiet);
    let peer = stage.sim.world.bind_udp(any());
    let to_group = SocketAddr::new(group, 7000);
    peer.send(to_group, b"early");
    stage.udp(|u| u.join(Membership::of(group))).unwrap();
    assert!(stage.udp(|u| u.join(Membership::of(group))).is_err(), "it is in already");
    peer.send(to_group, b"in");
    let own = [Out::to(to_group, b"own")];
    assert_eq!(stage.udp(|u| u.send(&own)).unwrap(), 1);
    stage.udp(|u| u.set_multicast_loop(false)).unwrap();
    assert_eq!(stage.udp(|u| u.send(&own)).unwrap(), 1);
    stage.udp(|u| u.leave(Membership::of(group))).unwrap();
    peer.send(to_group, b"late");
    assert_eq!(stage.seen(), ["in own"]);
    let everybody = [Out::to("255.255.255.255:7000".parse().unwrap(), b"all")];
    let refused = stage.udp(|u| u.send(&everybody)).unwrap_err();
    assert_eq!(refused.to_string(), "send to 255.255.255.255:7000: permission denied");
    stage.udp(|u| u.set_broadcast(true)).unwrap();
    assert_eq!(stage.udp(|u| u.send(&everybody)).unwrap(), 1);
    assert_eq!(stage.seen(), ["all"]);
}

#[test]
fn a_flooded_socket_leaves_turns_to_others() {
    let options = LoopOptions { udp_batch: 4, read_budget: 1, ..LoopOptions::default() };
    let mut stage = stage_at(any(), Faults::none(), options, quiet);
    let other = Log::default();
    let handler = Probe { log: Rc::clone(&other), act: quiet };
    let id = stage.sim.lp(0).bind_udp(any(), handler, UdpOptions::default()).unwrap();
    let beside = stage.sim.lp(0).udp(id).unwrap().local_addr().unwrap();
    let peer = stage.sim.world.bind_udp(any());
    for _ in 0..100 {
        peer.send(stage.addr, b"x");
    }
    for round in 1..=5 {
        peer.send(beside, b"y");
        stage.sim.step();
        assert_eq!((other.borrow().len(), stage.log.borrow().len()), (round, round));
    }
    // Both are flooded: they take turns.
    for _ in 0..80 {
        peer.send(beside, b"y");
    }
    for _ in 0..20 {
        stage.sim.step();
    }
    let (here, there) = (stage.log.borrow().len(), other.borrow().len());
    assert!(here == 25 && there == 25, "{here} and {there}");
}

#[test]
fn a_flooded_socket_has_one_turn_in_an_iteration() {
    let options = LoopOptions { udp_batch: 4, read_budget: 1, ..LoopOptions::default() };
    let mut stage = stage_at(any(), Faults { false_events: 1000, ..Faults::none() }, options, quiet);
    let flooded = Log::default();
    let handler = Probe { log: Rc::clone(&flooded), act: quiet };
    let id = stage.sim.lp(0).bind_udp(any(), handler, UdpOptions::default()).unwrap();
    let addr = stage.sim.lp(0).udp(id).unwrap().local_addr().unwrap();
    let peer = stage.sim.world.bind_udp(any());
    for _ in 0..40 {
        peer.send(addr, b"x");
    }
    for batches in 1..=10 {
        // With this event comes one for the flooded socket, whose turn comes anyway.
        peer.send(stage.addr, b"y");
        stage.sim.step();
        assert_eq!(flooded.borrow().len(), batches);
    }
}

/// Each of these is reached once, in a socket that has another beside it.
#[test]
fn close_inside_every_callback() {
    for at in ["packets", "drained", "error"] {
        for own in [true, false] {
            let faults = Faults { pace: Duration::from_millis(1), send_buffer: 1..=1, ..Faults::none() };
            let whom = Rc::new(RefCell::new(Vec::<UdpId>::new()));
            let act = |whom: &Rc<RefCell<Vec<UdpId>>>| {
                let (whom, closed) = (Rc::clone(whom), Rc::new(RefCell::new(false)));
                move |what: &str, u: &mut Udp<'_, ()>| {
                    assert!(!*closed.borrow(), "{what} after the close");
                    let me = u.id();
                    let others: Vec<_> = whom.borrow().iter().copied().filter(|id| own == (*id == me)).collect();
                    if what == at && !others.is_empty() {
                        *closed.borrow_mut() = own;
                        for id in others {
                            // Closed already, if that has done the same.
                            let Ok(mut other) = u.loop_mut().udp(id) else { continue };
                            other.close();
                        }
                        assert_eq!(u.is_closed(), own);
                        assert_eq!(
                            u.send(&[Out::to(any(), b"x")]).is_err_and(|error| matches!(error, Error::Closed)),
                            own
                        );
                    }
                }
            };
            let mut stage = stage(faults, act(&whom));
            let handler = Probe { log: Rc::clone(&stage.log), act: act(&whom) };
            let second = stage.sim.lp(0).bind_udp(any(), handler, UdpOptions::default()).unwrap();
            let peer = stage.sim.world.bind_udp(any());
            *whom.borrow_mut() = vec![stage.id, second];
            let gone = Out::to("127.0.0.1:9".parse().unwrap(), b"x");
            for id in [stage.id, second] {
                let mut lp = stage.sim.lp(0);
                let mut udp = lp.udp(id).unwrap();
                let addr = udp.local_addr().unwrap();
                assert_eq!(udp.send(&[gone, gone]).unwrap(), 1);
                peer.send(addr, b"hello");
            }
            let seen = stage.seen();
            let context = format!("{at}, own: {own}: {seen:?}");
            let open = stage.sim.lp(0).stats().sockets;
            assert_eq!(open, if own { 0 } else { 1 }, "{context}");
            assert_eq!((stage.sim.world.open() as u64, stage.sim.world.calls().strays), (open, 0), "{context}");
            assert!(seen.iter().any(|seen| seen.starts_with(match at {
                "packets" => "hello",
                "drained" => "drained",
                _ => "reach 127.0.0.1:9",
            })));
        }
    }
}

#[test]
fn loops_of_one_world_speak_with_each_other() {
    let mut sim = Sim::new(0, Faults { latency: Duration::from_millis(3), ..Faults::none() });
    let log = Log::default();
    let mut addrs = Vec::new();
    for lp in 0..3 {
        sim.add_loop((), LoopOptions::default());
        let next = addrs.last().copied();
        let act = move |what: &str, u: &mut Udp<'_, ()>| {
            if let (Some(next), "packets") = (next, what) {
                assert_eq!(u.send(&[Out::to(next, b"on")]).unwrap(), 1);
            }
        };
        let id = sim.lp(lp).bind_udp(any(), Probe { log: Rc::clone(&log), act }, UdpOptions::default()).unwrap();
        addrs.push(sim.lp(lp).udp(id).unwrap().local_addr().unwrap());
    }
    let peer = sim.world.bind_udp(any());
    peer.send(addrs[2], b"go");
    sim.run_until_idle();
    assert_eq!(log.take(), ["go", "on", "on"]);
    for lp in 0..3 {
        assert_eq!(sim.lp(lp).stats().datagrams_in, 1);
    }
}
