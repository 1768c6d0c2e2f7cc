//! The port goes up and down.

use super::harness::{Bench, LOCAL, plain};
use wharf_core::port::server::{
    AcceptFailure, Command, DownReason, Error, Event, Mode, OnClose, OnFull, OpenFailure, Output, PortOption, Reason,
    Refusal, State, To,
};
use wharf_tests::port::Memory;

fn down() -> Bench {
    Bench::down(plain(OnFull::Close), Memory::of(3))
}

#[test]
fn port_up_says_where_it_listens_and_comes_before_any_client() {
    let mut bench = down();
    assert_eq!((bench.server.is_up(), bench.server.local()), (false, None));
    bench.come();
    bench.ask(Command::Open).unwrap();
    assert_eq!((bench.server.is_up(), bench.server.local()), (true, Some(LOCAL)));
    assert_eq!(bench.events[0], Event::PortUp { local: LOCAL });
    assert!(matches!(bench.events[1], Event::Connected { .. }));
    let before = bench.outputs.len();
    bench.ask(Command::Open).unwrap();
    assert_eq!(bench.outputs.len(), before, "to open a port that is up does nothing");
}

#[test]
fn a_failed_bind_is_down() {
    let mut bench = down();
    bench.open_fails = Some(OpenFailure::InUse);
    bench.ask(Command::Open).unwrap();
    assert_eq!(bench.events, [Event::PortDown { reason: DownReason::OpenFailed(OpenFailure::InUse) }]);
    assert_eq!((bench.server.is_up(), bench.server.local(), bench.descriptors), (false, None, 0));
    for _ in 0..3 {
        let tries = |bench: &Bench| bench.outputs.iter().filter(|output| **output == Output::Listen).count();
        let before = tries(&bench);
        bench.sleep(999);
        assert_eq!(tries(&bench), before);
        bench.sleep(1);
        assert_eq!(tries(&bench), before + 1, "it is tried again every `reopen`");
    }
    bench.open_fails = None;
    bench.sleep(1000);
    assert!(bench.server.is_up());
    assert_eq!(bench.events.last(), Some(&Event::PortUp { local: LOCAL }));
}

#[test]
fn a_port_without_auto_connect_is_not_tried_again() {
    let mut bench = down();
    bench.ask(Command::SetPort(PortOption::AutoConnect(false))).unwrap();
    bench.open_fails = Some(OpenFailure::Denied);
    bench.ask(Command::Open).unwrap();
    bench.open_fails = None;
    bench.sleep(3_600_000);
    assert!(!bench.server.is_up());
    bench.ask(Command::Open).unwrap();
    assert!(bench.server.is_up(), "whoever asks again is heard");
}

#[test]
fn a_broken_listener_takes_the_port_down_and_it_comes_up_again() {
    let mut bench = Bench::new(plain(OnFull::Close), 2);
    let who = bench.client();
    bench.news();
    bench.accept_fails.push_back(AcceptFailure::Fatal);
    bench.run();
    assert_eq!(bench.news(), [Event::PortDown { reason: DownReason::AcceptFailed }]);
    assert!(!bench.server.is_up());
    bench.sends(who, b"still here");
    bench.run();
    assert_eq!(bench.read_all(0), b"still here");
    bench.news();
    bench.sleep(999);
    assert_eq!(bench.news(), []);
    bench.sleep(1);
    assert_eq!(bench.news(), [Event::PortUp { local: LOCAL }]);
}

#[test]
fn disconnect_keep_leaves_the_clients() {
    let mut bench = Bench::new(plain(OnFull::Close), 2);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.ask(Command::Close(OnClose::Keep)).unwrap();
    assert_eq!(bench.events.last(), Some(&Event::PortDown { reason: DownReason::Closed }));
    assert!(!bench.server.is_up() && !bench.is_listening());
    assert_eq!(bench.server.state(slot), Some(State::Open));
    bench.sends(who, b"in");
    bench.run();
    assert_eq!(bench.read_all(0), b"in");
    bench.write(slot, b"out").unwrap();
    assert_eq!(bench.peers[who].got, b"out");
    assert_eq!(bench.broadcast(b"all"), Err(Error::PortDown));
    for _ in 0..3 {
        bench.ask(Command::Open).unwrap();
        assert!(bench.server.is_up());
        bench.ask(Command::Close(OnClose::Keep)).unwrap();
        assert!(!bench.server.is_up());
    }
    bench.ask(Command::Open).unwrap();
    let second = bench.client();
    assert_eq!(bench.slot(second).index(), 1, "the first one sits where it sat");
}

#[test]
fn disconnect_drop_lets_nobody_in_and_ends_with_port_down() {
    let mut bench = Bench::new(plain(OnFull::Close), 3);
    let all: [_; 3] = core::array::from_fn(|_| bench.client());
    for who in all {
        bench.deafen(who);
        bench.write(bench.slot(who), b"rest").unwrap();
    }
    bench.news();
    bench.ask(Command::Close(OnClose::Drop)).unwrap();
    assert_eq!(bench.news(), [], "the clients are still sent their rest");
    let late = bench.come();
    bench.run();
    assert_eq!(bench.peers[late].slot, None);
    for who in all {
        bench.takes(who, 100);
        bench.ends(who);
    }
    bench.run();
    let slots = all.map(|who| bench.slot(who));
    let left = slots.map(|slot| Event::Disconnected { slot, reason: Reason::PortClosed, unread: 0, unsent: 0 });
    let told: Vec<_> = bench.news().into_iter().filter(|event| !matches!(event, Event::InputEnded { .. })).collect();
    assert_eq!(told, [left[0], left[1], left[2], Event::PortDown { reason: DownReason::Closed }]);
    assert!(all.iter().all(|&who| bench.peers[who].got == b"rest" && bench.peers[who].saw_end));
    assert_eq!(bench.descriptors, 0);
    bench.ask(Command::Open).unwrap();
    assert_eq!(bench.slot(late).index(), 0);
}

#[test]
fn a_port_that_closes_waits_no_longer_than_linger() {
    let mut bench = Bench::new(plain(OnFull::Close), 2);
    let deaf = bench.client();
    bench.deafen(deaf);
    bench.write(bench.slot(deaf), b"rest").unwrap();
    bench.news();
    bench.ask(Command::Close(OnClose::Drop)).unwrap();
    bench.sleep(1999);
    assert_eq!(bench.news(), []);
    bench.sleep(1);
    let slot = bench.slot(deaf);
    let left = Event::Disconnected { slot, reason: Reason::PortClosed, unread: 0, unsent: 4 };
    assert_eq!(bench.news(), [left, Event::PortDown { reason: DownReason::Closed }]);
}

#[test]
fn a_connection_that_was_accepted_before_the_port_went_down_is_refused() {
    let mut bench = Bench::new(plain(OnFull::KickOldest), 1);
    bench.client();
    let parked = bench.come();
    bench.turn();
    assert!(bench.outputs.contains(&Output::Park));
    assert_eq!(bench.peers[parked].slot, None);
    bench.ask(Command::Close(OnClose::Keep)).unwrap();
    bench.sleep(10);
    assert_eq!(bench.peers[parked].refused, Some(Refusal::Down));
    assert_eq!(bench.descriptors, 0);
}

#[test]
fn a_broadcast_without_a_port_is_an_error_and_without_clients_a_success() {
    let mut bench = down();
    let message = Command::Write { to: To::All, bytes: b"x", mode: Mode::Policy, terminate: true };
    assert_eq!(bench.ask(message), Err(Error::PortDown));
    bench.ask(Command::Open).unwrap();
    assert_eq!(bench.ask(message), Ok(()));
    assert_eq!(bench.server.receipt().accepted, 0);
}
