//! A TCP port on the loop in the simulated world: what its sockets see, exact in time.

use crate::port_bench::{FIRST, bench, bench_in, send};
use std::time::Duration;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Reason, Refusal};
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::port::options::Options;
use wharf_host::services::port::{Addr, Error, Event, OnClose, Server};
use wharf_tests::sim_net::{Ended, Faults, Peer, Sim};

#[test]
fn a_client_of_a_full_port_is_told_so_and_its_own_words_do_not_reset_the_text() {
    let mut bench = bench(&[("slots", "1"), ("on_full", "text"), ("full_text", r"busy\r\n")]);
    let _first = bench.connect();
    let second = bench.sim.world.connect(bench.port.local_addr().unwrap()).unwrap();
    send(&second, &[b'x'; 1000]);
    bench.settle();
    assert_eq!((second.receive(), second.ended()), (b"busy\r\n".to_vec(), Some(Ended::InOrder)));
    assert_eq!(bench.refusals(), [Refusal::Full]);
    assert_eq!(bench.with(|port| port.totals().full), 1);
    // It may go on talking for a while, and is cut in the end.
    bench.sim.run_for(Duration::from_millis(250));
    assert_eq!(bench.sim.world.open(), 2, "the listener and the first client");
}

#[test]
fn what_clients_say_before_they_are_admitted_is_heard() {
    // More than come in within two turns.
    let mut bench = bench(&[("slots", "40"), ("mode", "echo")]);
    let to = bench.port.local_addr().unwrap();
    let peers: Vec<_> = (0..40).map(|_| bench.sim.world.connect(to).expect("the backlog has room")).collect();
    peers.iter().for_each(|peer| send(peer, b"hello"));
    bench.settle();
    let unheard: Vec<_> = (0..40).filter(|at| peers[*at].receive() != b"hello").collect();
    assert_eq!(unheard, [0; 0]);
}

#[test]
fn farewells_are_bounded_in_number_and_one_that_talks_too_much_is_cut() {
    let mut bench = bench(&[("slots", "1"), ("on_full", "text"), ("full_text", "no")]);
    let _first = bench.connect();
    let to = bench.port.local_addr().unwrap();
    let others: Vec<_> = (0..20).map(|_| bench.sim.world.connect(to).unwrap()).collect();
    bench.settle();
    let told = others.iter().filter(|peer| peer.receive() == b"no").count();
    assert_eq!(told, 16);
    let talker = others.into_iter().next().unwrap();
    send(&talker, &[b'x'; 5000]);
    bench.settle();
    assert_eq!(talker.ended(), Some(Ended::Reset), "it was cut with bytes unread");
}

#[test]
fn a_client_that_is_not_allowed_is_told_so_or_closed() {
    let mut bench = bench(&[("slots", "1"), ("allow", "10.0.0.0/8"), ("deny_text", "go away")]);
    let peer = bench.connect();
    assert_eq!((peer.receive(), bench.refusals()), (b"go away".to_vec(), vec![Refusal::Denied]));
    bench.with(|port| port.set_option(Addr::Port, "allow", "10.0.0.0/8, 127.0.0.1")).unwrap();
    let peer = bench.connect();
    assert_eq!((peer.ended(), bench.with(|port| port.has_clients())), (None, true));
}

#[test]
fn with_hold_a_client_waits_until_a_slot_is_free() {
    let mut bench = bench(&[("slots", "1"), ("on_full", "hold")]);
    let first = bench.connect();
    let second = bench.connect();
    send(&second, b"me too");
    bench.settle();
    assert_eq!(bench.with(|port| port.peer(FIRST)), Ok(Some(first.local_addr())));
    assert!(bench.events.borrow().contains(&Event::AcceptPaused));
    first.reset();
    bench.settle();
    assert_eq!(bench.left(), [(0, Reason::PeerReset, 0, 0)]);
    assert_eq!(bench.with(|port| port.peer(FIRST)), Ok(Some(second.local_addr())));
    let mut buffer = [0; 10];
    assert_eq!(bench.with(|port| port.read(FIRST, &mut buffer)).unwrap().len, 6);
}

#[test]
fn without_descriptors_accepting_pauses_and_the_port_lives_on() {
    let mut bench = bench(&[("slots", "9")]);
    let first = bench.connect();
    bench.sim.world.limit_descriptors(Some(bench.sim.world.open()));
    let _waiting: Vec<_> = (0..3).filter_map(|_| bench.sim.world.connect(bench.port.local_addr().unwrap())).collect();
    bench.sim.run_for(Duration::from_secs(30));
    let paused = bench.events.borrow().iter().filter(|event| **event == Event::AcceptPaused).count();
    assert!((1..20).contains(&paused), "{paused} pauses in 30 s");
    bench.sim.world.limit_descriptors(None);
    send(&first, b"still here");
    bench.sim.run_for(Duration::from_secs(10));
    let mut buffer = [0; 20];
    assert_eq!(bench.with(|port| port.read(FIRST, &mut buffer)).unwrap().len, 10);
    let peer = bench.connect();
    bench.sim.run_for(Duration::from_secs(10));
    assert_eq!(peer.ended(), None);
    assert!(bench.with(|port| (0..9).any(|index| port.peer(Addr::Slot(index)) == Ok(Some(peer.local_addr())))));
}

#[test]
fn a_port_whose_address_is_taken_comes_up_when_it_is_free() {
    let mut sim = Sim::strict();
    let taken = sim.world.listen("127.0.0.1:5025".parse().unwrap());
    sim.add_loop((), LoopOptions::default());
    let options = Options::new("dev", "127.0.0.1:5025").unwrap();
    let port = Server::bind(&mut sim.lp(0), &options, |_| ()).unwrap();
    sim.run_for(Duration::from_millis(1));
    assert_eq!(port.local_addr(), None);
    let why = port.failure().unwrap();
    assert!(why.starts_with("listen on 127.0.0.1:5025: "), "{why}");
    let refused = port.with(&mut sim.lp(0), |port| port.broadcast(b"anybody?"));
    assert_eq!(refused, Err(Error::PortDown { why: Some(why) }));
    drop(taken);
    sim.run_for(Duration::from_millis(990));
    assert_eq!(port.local_addr(), None, "it tries again after a second, not before");
    sim.run_for(Duration::from_millis(10));
    assert_eq!(port.local_addr(), Some("127.0.0.1:5025".parse().unwrap()));
}

#[test]
fn a_name_is_resolved_and_its_addresses_are_tried_in_order() {
    let sim = Sim::strict();
    let _taken = sim.world.listen("127.0.0.1:5025".parse().unwrap());
    sim.world.name(
        "ioc-7.lab",
        Duration::from_millis(30),
        &["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()],
    );
    let mut bench = bench_in(sim, "ioc-7.lab:5025", &[("slots", "1")]);
    bench.sim.run_for(Duration::from_millis(29));
    assert_eq!(bench.port.local_addr(), None);
    bench.sim.run_for(Duration::from_millis(2));
    assert_eq!(bench.port.local_addr(), Some("127.0.0.2:5025".parse().unwrap()));
}

#[test]
fn a_name_that_is_none_fails_and_no_interface_is_bound_instead() {
    let mut bench = bench_in(Sim::strict(), "nowhere.lab:5025", &[("slots", "1"), ("auto_connect", "false")]);
    bench.connect_port();
    bench.sim.run_for(Duration::from_secs(10));
    assert_eq!(bench.port.local_addr(), None);
    assert!(bench.port.failure().unwrap().contains("nowhere.lab"), "{:?}", bench.port.failure());
    let downs = bench.events.borrow().iter().filter(|event| matches!(event, Event::PortDown { .. })).count();
    assert_eq!(downs, 1, "without auto_connect it is tried once");
}

#[test]
fn with_push_each_message_comes_at_once_and_nobody_has_to_read() {
    let mut bench = bench(&[("slots", "1"), ("input_eos", r"\r\n"), ("consumer", "push")]);
    let peer = bench.connect();
    send(&peer, b"one\r");
    bench.settle();
    assert_eq!(bench.messages.borrow().len(), 0);
    send(&peer, b"\ntwo\r\nthr");
    bench.settle();
    peer.end();
    bench.settle();
    let message = |bytes: &[u8], eom| (0, bytes.to_vec(), eom);
    assert_eq!(
        *bench.messages.borrow(),
        [message(b"one", Eom::EOS), message(b"two", Eom::EOS), message(b"thr", Eom::NONE)]
    );
    assert_eq!(bench.with(|port| port.read(FIRST, &mut [0; 9])), Err(Error::NotConnected));
}

#[test]
fn with_both_subscribers_get_messages_and_readers_the_same_bytes_at_their_own_pace() {
    let mut bench = bench(&[("slots", "1"), ("input_eos", ";"), ("consumer", "both")]);
    let peer = bench.connect();
    send(&peer, b"abcdef");
    bench.settle();
    let mut buffer = [0; 4];
    assert_eq!(bench.with(|port| port.read(FIRST, &mut buffer)).unwrap().eom, Eom::CNT);
    send(&peer, b"gh;x;");
    bench.settle();
    let message = |bytes: &[u8]| (0, bytes.to_vec(), Eom::EOS);
    assert_eq!(*bench.messages.borrow(), [message(b"abcdefgh"), message(b"x")]);
    let mut lens = Vec::new();
    while let Ok(read) = bench.with(|port| port.read(FIRST, &mut [0; 4])) {
        lens.push((read.len, read.eom));
    }
    assert_eq!(lens, [(4, Eom::CNT), (0, Eom::EOS), (1, Eom::EOS)]);
}

#[test]
fn an_echo_gives_everything_back_and_then_closes() {
    let sim = Sim::strict();
    sim.world.set_faults(Faults { capacity: 300..=300, ..Faults::none() });
    let mut bench =
        bench_in(sim, "127.0.0.1:0", &[("slots", "1"), ("mode", "echo"), ("rx_queue", "64"), ("tx_queue", "100")]);
    let peer = bench.connect();
    let sent: Vec<u8> = (0..20_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut done, mut back) = (0, Vec::new());
    while peer.ended().is_none() {
        done += peer.send(&sent[done..]);
        if done == sent.len() {
            peer.end();
        }
        bench.settle();
        back.extend(peer.receive());
    }
    assert!(back == sent);
    assert_eq!(bench.left(), [(0, Reason::PeerClosed, 0, 0)]);
}

#[test]
fn an_echo_client_that_never_reads_is_not_read_any_more_and_closed_in_the_end() {
    let sim = Sim::strict();
    sim.world.set_faults(Faults { capacity: 300..=300, ..Faults::none() });
    let mut bench =
        bench_in(sim, "127.0.0.1:0", &[("slots", "2"), ("mode", "echo"), ("rx_queue", "64"), ("tx_queue", "64")]);
    let deaf = bench.connect();
    for _ in 0..100 {
        let _ = deaf.send(&[b'x'; 1000]);
        bench.settle();
    }
    let (_, counters) = bench.with(|port| port.seated(0)).unwrap();
    assert_eq!((counters.queued_rx, counters.queued_tx), (64, 64));
    let other = bench.connect();
    send(&other, b"hello");
    bench.settle();
    assert_eq!(other.receive(), b"hello");
    bench.sim.run_for(Duration::from_secs(31));
    assert_eq!(bench.left(), [(0, Reason::WriteStuck, 64, 64)]);
}

#[test]
fn a_broker_gives_each_message_to_all_others_and_never_back() {
    let mut bench = bench(&[("slots", "3"), ("mode", "broker"), ("input_eos", r"\n")]);
    let peers = [(); 3].map(|()| bench.connect());
    send(&peers[0], b"half of ");
    bench.settle();
    send(&peers[1], b"b\n");
    bench.settle();
    send(&peers[0], b"a message\n");
    bench.settle();
    let heard = peers.each_ref().map(Peer::receive);
    assert_eq!(heard, [b"b\n".to_vec(), b"half of a message\n".to_vec(), b"b\nhalf of a message\n".to_vec()]);
}

#[test]
fn a_port_can_be_closed_and_opened_again_and_again() {
    let mut bench = bench(&[("slots", "2")]);
    for round in 0..5 {
        let peer = bench.connect();
        if round == 4 {
            bench.with(|port| {
                port.set_option(Addr::Port, "on_disconnect", "keep").unwrap();
                port.disconnect_as_set();
            });
        } else {
            bench.with(|port| port.disconnect(if round % 2 == 0 { OnClose::Drop } else { OnClose::Keep }));
        }
        bench.settle();
        assert_eq!(bench.port.local_addr(), None);
        peer.end();
        bench.with(|port| port.drop_client(FIRST)).unwrap();
        bench.settle();
        assert!(!bench.with(|port| port.has_clients()), "round {round}");
        bench.connect_port();
        bench.settle();
        assert!(bench.port.local_addr().is_some());
    }
    let ups = bench.events.borrow().iter().filter(|event| matches!(event, Event::PortUp { .. })).count();
    assert_eq!(ups, 6);
}

#[test]
fn options_are_set_for_one_slot_or_for_all_and_keep_their_values_when_refused() {
    let mut bench = bench(&[("slots", "2")]);
    let (second, all) = (Addr::Slot(1), Addr::Port);
    bench.with(|port| {
        port.set_option(second, "idle_rx", "5s").unwrap();
        assert_eq!(port.option(second, "idle_rx").unwrap(), "5s");
        assert_eq!(port.option(FIRST, "idle_rx").unwrap(), "0");
        port.set_option(all, "write_stuck", "7s").unwrap();
        assert_eq!(port.option(second, "write_stuck").unwrap(), "7s");
        assert_eq!(port.option(second, "idle_rx").unwrap(), "5s", "what else the slot has is its own");
        port.set_option(all, "idle_rx", "9s").unwrap();
        assert_eq!(port.option(second, "idle_rx").unwrap(), "9s");
        for (addr, key, value) in [
            (all, "idle_rx", "9"),
            (all, "slots", "4"),
            (second, "on_full", "hold"),
            (all, "nonsense", "1"),
            (Addr::Slot(2), "idle_rx", "1s"),
        ] {
            assert!(port.set_option(addr, key, value).is_err(), "{key} {value}");
        }
        assert_eq!(port.option(all, "idle_rx").unwrap(), "9s");
    });
    let _first = bench.connect();
    let _second = bench.connect();
    bench.sim.run_for(Duration::from_secs(8));
    assert_eq!(bench.left(), []);
    bench.sim.run_for(Duration::from_secs(2));
    assert_eq!(bench.left(), [(0, Reason::IdleRx, 0, 0), (1, Reason::IdleRx, 0, 0)]);
}

#[test]
fn a_loop_with_a_port_that_was_shut_down_ends() {
    let mut bench = bench(&[("slots", "2")]);
    let idle = bench.connect();
    bench.port.shutdown(&mut bench.sim.lp(0));
    bench.settle();
    assert_eq!(idle.ended(), Some(Ended::InOrder));
    assert_eq!(bench.left(), [], "the client has its time to end as well");
    bench.sim.run_until_idle();
    assert_eq!(bench.left(), [(0, Reason::PortClosed, 0, 0)]);
    assert!(matches!(bench.events.borrow().last(), Some(Event::PortDown { .. })));
}

#[test]
fn a_message_that_costs_the_connection_is_no_success() {
    let mut bench = bench(&[("slots", "1"), ("tx_queue", "64"), ("overflow", "disconnect"), ("output_eos", r"\n")]);
    let _deaf = bench.connect();
    bench.with(|port| {
        assert_eq!(port.write(FIRST, &[b'x'; 63]), Ok(63));
        assert_eq!(port.write(FIRST, b""), Err(Error::OutputEnded));
    });
    bench.settle();
    assert_eq!(bench.left(), [(0, Reason::Overflow, 0, 64)]);
}

#[test]
fn with_both_a_new_terminator_counts_for_every_byte_that_is_not_delivered() {
    let mut bench = bench(&[("slots", "1"), ("input_eos", r"\r\n"), ("consumer", "both")]);
    let peer = bench.connect();
    send(&peer, b"abc\r");
    bench.settle();
    bench.with(|port| port.set_option(FIRST, "input_eos", r"\n")).unwrap();
    send(&peer, b"\n");
    bench.settle();
    assert_eq!(*bench.messages.borrow(), [(0, b"abc\r".to_vec(), Eom::EOS)]);
}

#[test]
fn who_gets_messages_from_now_on_gets_those_that_wait() {
    let mut bench = bench(&[("slots", "1"), ("rx_queue", "64"), ("input_eos", ";")]);
    let peer = bench.connect();
    send(&peer, &[&b"one;two"[..], &[b'x'; 93]].concat());
    bench.settle();
    bench.with(|port| port.set_option(Addr::Port, "consumer", "push")).unwrap();
    bench.settle();
    let lens: Vec<_> = bench.messages.borrow().iter().map(|(_, bytes, eom)| (bytes.len(), *eom)).collect();
    assert_eq!(lens[..2], [(3, Eom::EOS), (64, Eom::CNT)], "the full queue is given as far as it goes");
    bench.with(|port| port.set_option(Addr::Port, "input_eos", "x")).unwrap();
    bench.settle();
    let given: usize = bench.messages.borrow().iter().map(|(_, bytes, _)| bytes.len()).sum();
    assert_eq!(given, 3 + 64, "what is left are terminators");
    assert_eq!(bench.messages.borrow().len(), 2 + 32);
}

#[test]
fn an_echo_waits_for_a_client_that_has_ended_and_reads_slowly() {
    let sim = Sim::strict();
    sim.world.set_faults(Faults { capacity: 300..=300, ..Faults::none() });
    let queues = [("slots", "1"), ("mode", "echo"), ("rx_queue", "64"), ("tx_queue", "64")];
    let mut bench = bench_in(sim, "127.0.0.1:0", &queues);
    let peer = bench.connect();
    let sent: Vec<u8> = (0..400_u32).map(|number| (number % 251) as u8).collect();
    let mut done = 0;
    while done < sent.len() {
        done += peer.send(&sent[done..]);
        bench.settle();
    }
    peer.end();
    bench.sim.run_for(Duration::from_secs(10));
    let mut back = Vec::new();
    while peer.ended().is_none() {
        back.extend(peer.receive());
        bench.settle();
    }
    back.extend(peer.receive());
    assert!(back == sent, "{} of {}: {:?}", back.len(), sent.len(), bench.events.borrow());
    assert_eq!(bench.left(), [(0, Reason::PeerClosed, 0, 0)]);
}

#[test]
fn a_port_that_serves_its_clients_by_itself_leaves_nothing_to_subscribers() {
    let mut options = Options::new("dev", "127.0.0.1:0").unwrap();
    options.set("mode", "echo").unwrap();
    options.set("consumer", "push").unwrap();
    assert_eq!(options.check().unwrap_err().key, "consumer");
}
