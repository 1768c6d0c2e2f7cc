//! What can be judged from inside alone. What a port does is held against its specification by the scenarios.

use super::*;
use crate::slots::Entry;
use crate::time::Instant;
use crate::{Machine, Step};
use std::vec::Vec;

#[test]
fn a_record_of_a_client_takes_192_bytes_at_most() {
    assert!(size_of::<Client>() <= 192, "{}", size_of::<Client>());
    assert!(size_of::<Seat>() <= 80, "{}", size_of::<Seat>());
}

/// Storage of vectors.
#[derive(Debug)]
struct Heap;

impl Storage for Heap {
    type Clients = Vec<Entry<Client>>;
    type Seats = Vec<Seat>;
    type Timers = Vec<crate::timers::Node>;
    type Bytes = Vec<u8>;
    type Boundaries = Vec<u32>;
    type Terminators = Vec<crate::port::framing::Terminator>;
    type Allow = Vec<crate::network::Network>;
}

fn server(slots: usize) -> Server<Heap> {
    let config = Config::default();
    let parts = Parts {
        clients: std::iter::repeat_with(Entry::default).take(slots).collect(),
        seats: std::vec![Seat::EMPTY; slots],
        timers: std::vec![crate::timers::Node::EMPTY; slots],
        bytes: std::vec![0; slots * 32768],
        boundaries: std::vec![0; slots * BOUNDARIES],
        terminators: Vec::new(),
        allow: Vec::new(),
    };
    Server::new(config, parts).unwrap()
}

fn drain(server: &mut Server<Heap>) -> Vec<Output> {
    let mut outputs = Vec::new();
    while let Step::Do(output) = server.poll_output() {
        outputs.push(output);
        assert!(outputs.len() < 1000);
    }
    outputs
}

#[test]
fn one_client_is_served_from_its_first_byte_to_its_last() {
    let mut server = server(2);
    let now = Instant::ORIGIN;
    let local: SocketAddr = "127.0.0.1:5025".parse().unwrap();
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    let tell = |server: &mut Server<Heap>, input| {
        server.handle_input(now, input).unwrap();
        drain(server)
    };
    assert_eq!(tell(&mut server, Input::Requested(Command::Open)), [Output::Listen]);
    assert_eq!(tell(&mut server, Input::Opened { local }), [Output::Notify(Event::PortUp { local })]);
    let outputs = tell(&mut server, Input::Accepted { peer });
    let slot = server.id_at(0).unwrap();
    assert_eq!(outputs, [Output::Admit { slot }, Output::Notify(Event::Connected { slot, peer })]);
    assert_eq!(tell(&mut server, Input::Readable { slot }), [Output::Read { slot, max: 16384 }]);
    let outputs = tell(&mut server, Input::Received { slot, bytes: b"*IDN?", more: true });
    assert_eq!(outputs, [Output::Notify(Event::DataReady { slot }), Output::Read { slot, max: 16379 }]);
    assert_eq!(tell(&mut server, Input::ReadBlocked { slot }), []);
    let Next::Piece(piece) = server.piece(0, 100, false) else { panic!("bytes are there") };
    assert_eq!((piece.len, server.received(slot)), (5, [&b"*IDN?"[..], b""]));
    tell(&mut server, Input::Requested(Command::Consume { slot, len: 5 }));
    let answer = Command::Write { to: To::Slot(slot), bytes: b"Wharf", mode: Mode::Policy, terminate: true };
    assert_eq!(tell(&mut server, Input::Requested(answer)), [Output::Transmit { slot }]);
    assert_eq!(server.transmit(slot).concat(), b"Wharf");
    assert_eq!(tell(&mut server, Input::Transmitted { slot, len: 5 }), []);
    assert_eq!(tell(&mut server, Input::HungUp { slot }), [Output::Read { slot, max: 16384 }]);
    assert_eq!(tell(&mut server, Input::Ended { slot }), [Output::Notify(Event::InputEnded { slot })]);
    let drop = Command::Drop { slot, reason: Reason::PeerClosed };
    let close = Output::Close { slot, how: How::Graceful };
    assert_eq!(tell(&mut server, Input::Requested(drop)), [Output::ShutdownWrite { slot }, close]);
    let gone = Event::Disconnected { slot, reason: Reason::PeerClosed, unread: 0, unsent: 0 };
    assert_eq!(tell(&mut server, Input::Closed { slot }), [Output::Notify(gone)]);
    assert_eq!(server.id_at(0), None);
}

#[test]
fn clients_that_are_dropped_after_the_port_is_down_do_not_delay_a_later_closing() {
    let mut server = server(2);
    let now = Instant::ORIGIN;
    let at: SocketAddr = "127.0.0.1:5025".parse().unwrap();
    let tell = |server: &mut Server<Heap>, input| {
        server.handle_input(now, input).unwrap();
        drain(server)
    };
    let down = Output::Notify(Event::PortDown { reason: DownReason::Closed });
    tell(&mut server, Input::Requested(Command::Close(OnClose::Drop)));
    tell(&mut server, Input::Requested(Command::Open));
    tell(&mut server, Input::Opened { local: at });
    tell(&mut server, Input::Accepted { peer: at });
    assert_eq!(tell(&mut server, Input::Requested(Command::Close(OnClose::Keep))), [Output::Unlisten]);
    assert_eq!(tell(&mut server, Input::Shut), [down]);
}

#[test]
fn a_port_that_is_wanted_again_before_it_was_up_does_not_wait_for_clients_at_its_next_closing() {
    let mut server = server(2);
    let now = Instant::ORIGIN;
    let at: SocketAddr = "127.0.0.1:5025".parse().unwrap();
    let tell = |server: &mut Server<Heap>, input| {
        server.handle_input(now, input).unwrap();
        drain(server)
    };
    tell(&mut server, Input::Requested(Command::Open));
    assert_eq!(tell(&mut server, Input::Requested(Command::Close(OnClose::Drop))), []);
    assert_eq!(tell(&mut server, Input::Requested(Command::Open)), []);
    tell(&mut server, Input::Opened { local: at });
    tell(&mut server, Input::Accepted { peer: at });
    tell(&mut server, Input::Requested(Command::Close(OnClose::Keep)));
    let down = Output::Notify(Event::PortDown { reason: DownReason::Closed });
    assert_eq!(tell(&mut server, Input::Shut), [down]);
}
