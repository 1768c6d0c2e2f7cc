//! A TCP port.

use crate::opaque::{any, memory, now, print, sink};
use core::hint::black_box;
use wharf_core::Machine;
use wharf_core::network::Network;
use wharf_core::port::framing::Terminator;
use wharf_core::port::server::{
    Client, Config, Error, Failure, Input, Parts, Reason, Refusal, Seat, Server, Slices, Watermarks,
};
use wharf_core::slots::{Entry, SlotId};
use wharf_core::timers::Node;

pub(crate) fn check() {
    let mut clients = any([const { Entry::<Client>::EMPTY }; 2]);
    let mut seats = any([Seat::EMPTY; 2]);
    let mut timers = any([Node::EMPTY; 2]);
    let mut bytes = any([0; 256]);
    let mut boundaries = any([0; 128]);
    let mut terminators = any([Terminator::OFF; 2]);
    let parts = Parts::<Slices<'_>> {
        clients: memory(&mut clients),
        seats: memory(&mut seats),
        timers: memory(&mut timers),
        bytes: memory(&mut bytes),
        boundaries: memory(&mut boundaries),
        terminators: memory(&mut terminators),
        allow: any::<&[Network]>(&[]),
    };
    match any(Server::new(any(Config::default()), parts)) {
        Ok(mut server) => {
            drive(&mut server);
            look(&server);
        }
        Err(error) => print(&error),
    }
    print(&any(Error::Unasked));
    print(&any(Reason::Kicked));
    print(&any(Failure::Other));
    sink((any(Reason::Kicked).is_from_peer(), any(Watermarks { high: 0, low: 0 }).is_valid()));
}

/// What changes a port.
fn drive(server: &mut Server<Slices<'_>>) {
    sink(black_box(&mut *server).handle_input(now(), any(Input::TurnStarted)));
    black_box(&mut *server).handle_timeout(now());
    sink(black_box(&mut *server).poll_output());
    sink(black_box(&mut *server).piece(any(0), any(0), any(false)));
    sink(black_box(&mut *server).room(slot()));
    sink(black_box(server).replace_allow(any::<&[Network]>(&[])));
}

/// What asks a port.
fn look(server: &Server<Slices<'_>>) {
    let server = black_box(server);
    sink((server.is_up(), server.is_down(), server.local(), server.slots(), server.taken()));
    sink((
        server.id_at(any(0)),
        server.peer(slot()),
        server.state(slot()),
        server.queued(slot()),
        server.keeps(slot()),
    ));
    sink((server.counters(slot()), server.totals(), server.seated(slot()), server.departed(any(0))));
    sink((server.options(any(0)), server.port_options(), server.terminators(any(0)), server.allow()));
    sink((server.received(slot()), server.transmit(slot()), server.farewell(any(Refusal::Full)), server.receipt()));
    server.outcomes().for_each(sink);
    sink(server.outcome_totals());
}

fn slot() -> SlotId {
    SlotId::from_bits(any(0))
}
