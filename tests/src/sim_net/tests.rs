//! The world itself, asked as a loop asks it.

use super::{Ended, Faults, Peer, Route, SimNet, World};
use crate::rng::Rng;
use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::net::{ConnectOptions, ListenOptions, Net, NetId, Ready};

fn poll(net: &mut SimNet, wait: Option<Duration>) -> Vec<Ready> {
    let mut ready = Vec::new();
    net.poll(wait, &mut ready).unwrap();
    ready
}

fn at_once(net: &mut SimNet) -> Vec<Ready> {
    poll(net, Some(Duration::ZERO))
}

const fn ready(token: u64, read: bool, write: bool, hung_up: bool) -> Ready {
    Ready { token, read, write, hung_up }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A loop's side with token 2, watched, and the peer's.
fn connected(world: &World) -> (SimNet, NetId, Peer) {
    let mut net = world.net();
    let listener = net.listen(any(), &ListenOptions::default()).unwrap();
    net.watch(listener, 1, false).unwrap();
    let peer = world.connect(net.local_addr(listener).unwrap()).unwrap();
    assert_eq!(at_once(&mut net), [ready(1, true, false, false)]);
    let (id, from) = net.accept(listener).unwrap();
    assert_eq!(from, peer.local_addr());
    net.watch(id, 2, false).unwrap();
    (net, id, peer)
}

#[test]
fn an_edge_comes_once_and_only_where_there_was_nothing() {
    let world = World::strict();
    let (mut net, id, peer) = connected(&world);
    assert_eq!(at_once(&mut net), []);
    assert_eq!(peer.send(b"ab"), 2);
    assert_eq!(at_once(&mut net), [ready(2, true, false, false)]);
    assert_eq!(peer.send(b"c"), 1);
    assert_eq!(at_once(&mut net), []);
    let mut buf = [0; 9];
    assert_eq!((net.read(id, &mut buf).unwrap(), &buf[..3]), (3, &b"abc"[..]));
    assert_eq!(net.read(id, &mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    // What is out of date when the poll comes is not told.
    assert_eq!(peer.send(b"d"), 1);
    assert_eq!(net.read(id, &mut buf).unwrap(), 1);
    assert_eq!(at_once(&mut net), []);
    // Watching again tells what is possible.
    assert_eq!(peer.send(b"e"), 1);
    assert_eq!(at_once(&mut net), [ready(2, true, false, false)]);
    net.watch(id, 3, true).unwrap();
    assert_eq!(at_once(&mut net), [ready(3, true, true, false)]);
    assert_eq!(at_once(&mut net), []);
}

#[test]
fn an_end_is_an_edge_of_its_own_and_shows_behind_the_bytes() {
    let world = World::strict();
    let (mut net, id, peer) = connected(&world);
    assert_eq!(peer.send(b"ab"), 2);
    assert_eq!(at_once(&mut net), [ready(2, true, false, false)]);
    peer.end();
    assert_eq!(at_once(&mut net), [ready(2, true, false, true)]);
    let mut buf = [0; 9];
    assert_eq!((net.read(id, &mut buf).unwrap(), net.read(id, &mut buf).unwrap()), (2, 0));
    assert_eq!(net.write(id, &[IoSlice::new(b"x"), IoSlice::new(b"yz")]).unwrap(), 3);
    assert_eq!((peer.receive(), peer.ended()), (b"xyz".to_vec(), None));
    net.end_output(id).unwrap();
    assert_eq!(peer.ended(), Some(Ended::InOrder));
    assert_eq!(net.write(id, &[IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn room_is_announced_after_a_short_write_and_if_it_is_watched() {
    let world = World::new(0, Faults { capacity: 4..=4, ..Faults::none() });
    let (mut net, id, peer) = connected(&world);
    let five = [IoSlice::new(b"12345")];
    assert_eq!(net.write(id, &five).unwrap(), 4);
    net.watch(id, 2, true).unwrap();
    assert_eq!(at_once(&mut net), []);
    assert_eq!(net.write(id, &five).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(peer.receive_at_most(1), b"1");
    assert_eq!(at_once(&mut net), [ready(2, false, true, false)]);
    // Nobody was turned away since, so nobody waits.
    assert_eq!(peer.receive().len(), 3);
    assert_eq!(at_once(&mut net), []);
}

#[test]
fn a_reset_shows_on_both_sides_and_ends_both() {
    let world = World::strict();
    let (mut net, id, peer) = connected(&world);
    net.watch(id, 2, true).unwrap();
    assert_eq!(at_once(&mut net), [ready(2, false, true, false)]);
    assert_eq!(peer.send(b"ab"), 2);
    peer.reset();
    assert_eq!(at_once(&mut net), [ready(2, true, true, true)]);
    let mut buf = [0; 9];
    assert_eq!(net.read(id, &mut buf).unwrap(), 2);
    assert_eq!(net.read(id, &mut buf).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(net.read(id, &mut buf).unwrap(), 0);
    // The other way round: a close over unread bytes is one.
    let (mut net, id, peer) = connected(&world);
    assert_eq!(peer.send(b"ab"), 2);
    net.close(id, false);
    assert_eq!(peer.ended(), Some(Ended::Reset));
    assert_eq!(peer.send(b"c"), 0);
}

#[test]
fn a_connection_comes_about_after_its_time_is_refused_or_is_never_heard_of() {
    let world = World::strict();
    let mut net = world.net();
    let listener = world.listen(any());
    let (slow, gone, silent) = (listener.addr(), "10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    world.route(slow, Route::Slow(Duration::from_secs(3)));
    world.route(silent, Route::Silent);
    let ids = [slow, gone, silent].map(|to| net.connect(to, &ConnectOptions::default()).unwrap());
    for (id, token) in ids.into_iter().zip(0..) {
        net.watch(id, token, true).unwrap();
    }
    assert_eq!(poll(&mut net, None), [ready(1, true, true, true)]);
    assert_eq!(net.connected(ids[1]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(!net.connected(ids[0]).unwrap() && !net.connected(ids[2]).unwrap());
    assert_eq!(poll(&mut net, None), [ready(0, false, true, false)]);
    assert!(net.connected(ids[0]).unwrap());
    assert_eq!(world.now(), Instant::from_millis(3000));
    assert_eq!(net.write(ids[0], &[IoSlice::new(b"hi")]).unwrap(), 2);
    assert_eq!(listener.accept().unwrap().receive(), b"hi");
    assert_eq!(poll(&mut net, Some(Duration::from_secs(60))), [ready(0, true, false, true)]);
    assert_eq!(poll(&mut net, Some(Duration::from_secs(60))), []);
    assert_eq!(world.now(), Instant::from_millis(63_000));
}

#[test]
fn descriptors_run_out_and_names_are_used_again_at_once() {
    let world = World::strict();
    let (mut net, id, _peer) = connected(&world);
    assert_eq!(world.open(), 2);
    world.limit_descriptors(Some(2));
    let error = net.connect("10.0.0.1:1".parse().unwrap(), &ConnectOptions::default()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(24));
    net.close(id, false);
    assert_eq!(net.connect("10.0.0.1:1".parse().unwrap(), &ConnectOptions::default()).unwrap(), id);
    assert_eq!(world.calls().strays, 0);
    assert_eq!(net.accept(id).unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(world.calls().strays, 1);
}

#[test]
fn a_full_backlog_holds_a_connection_back() {
    let world = World::strict();
    let mut net = world.net();
    let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
    let listener = net.listen(any(), &options).unwrap();
    let addr = net.local_addr(listener).unwrap();
    let first = world.connect(addr).unwrap();
    assert!(world.connect(addr).is_none());
    let second = net.connect(addr, &ConnectOptions::default()).unwrap();
    net.watch(second, 7, true).unwrap();
    assert_eq!(poll(&mut net, Some(Duration::from_millis(1500))), []);
    assert!(!net.connected(second).unwrap());
    assert_eq!(net.accept(listener).unwrap().1, first.local_addr());
    assert_eq!(poll(&mut net, None), [ready(7, false, true, false)]);
}

#[test]
fn whatever_is_cut_short_goes_on_by_an_edge() {
    for seed in crate::rng::seeds(200) {
        let mut rng = Rng::new(seed);
        let mut faults = Faults::harmless(&mut rng);
        (faults.short, faults.would_block) = (500, 300);
        let world = World::new(seed, Faults::none());
        let (mut net, id, peer) = connected(&world);
        world.set_faults(faults);
        let (mut sent, mut got, mut latch) = (0, Vec::new(), false);
        let all = rng.bytes(500);
        for _ in 0..100_000 {
            sent += peer.send(&all[sent..]);
            let events = poll(&mut net, Some(Duration::from_millis(50)));
            latch |= events.iter().any(|event| event.token == 2 && event.read);
            let mut buf = [0; 64];
            while latch {
                match net.read(id, &mut buf) {
                    // As the loop does: a short read is the last.
                    Ok(count) => {
                        got.extend_from_slice(&buf[..count]);
                        latch = count == buf.len();
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock, "seed {seed}");
                        latch = false;
                    }
                }
            }
            if got.len() == all.len() {
                break;
            }
        }
        assert!(got == all, "{} of {} bytes arrived with seed {seed}", got.len(), all.len());
    }
}
