//! How connections begin: through a listener, as a pair, or from outside of the loops.

use crate::raw::{Raw, dial};
use crate::side::Side;
use crate::world::{At, Here, Manner, Ticket, lock};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use wharf_host::event_loop::{AnyStream, ConnectOptions, LoopMut, Released};

/// Begins as many connections as are wanted now.
pub(crate) fn begin(lp: &mut LoopMut<'_, Here>) {
    let world = Arc::clone(&lp.data().world);
    if world.handles.get().is_none() {
        return;
    }
    while let Some(ticket) = world.begin() {
        begin_one(lp, ticket);
    }
}

fn begin_one(lp: &mut LoopMut<'_, Here>, ticket: Ticket) {
    let here = lp.data();
    let place = here.rng.pick(&lock(&here.world.places)).clone();
    let manner = Manner { rough: place.rough, manual: here.rng.chance(1, 2) };
    match here.rng.below(10) {
        0 => {
            let (one, other) = UnixStream::pair().unwrap();
            let (first, second) = (Side::begun(ticket), Side::begun(here.world.ticket()));
            let [client, server] = place.at.layers();
            hand_over(here, manner, one, client, first);
            hand_over(here, manner, other, server, second);
        }
        1 => {
            let [client, _] = place.at.layers();
            hand_over(here, manner, place.at.plain(), client, Side::begun(ticket));
        }
        2 => {
            let (world, rng) = (Arc::clone(&here.world), here.rng.fork());
            thread::spawn(move || Raw::new(rng, place.rough).live(dial(&place.at, &world), &world, ticket));
        }
        choice => connect(lp, manner, place.at, choice < 5, Side::begun(ticket)),
    }
}

fn connect(lp: &mut LoopMut<'_, Here>, manner: Manner, at: At, by_name: bool, side: Side) {
    let (key, options) = (lp.data().key(manner), ConnectOptions::default());
    let world = Arc::clone(&lp.data().world);
    let id = match (at, &world.tls) {
        (At::Tls(addr), Some(tls)) => lp.connect_tls(addr, key, side, &tls.client, options),
        (At::Tcp(addr) | At::Tls(addr), _) if by_name => lp.connect(addr.to_string(), key, side, options),
        (At::Tcp(addr) | At::Tls(addr), _) => lp.connect(addr, key, side, options),
        (At::Unix(path), _) => lp.connect(path, key, side, options),
    };
    if manner.rough && lp.data().rng.chance(1, 50) {
        lp.cancel(id.unwrap()).unwrap();
    }
}

/// What is put on a plain stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Plain,
    TlsClient,
    TlsServer,
}

impl At {
    /// The layers of a client and of a server.
    const fn layers(&self) -> [Layer; 2] {
        match self {
            Self::Tcp(_) | Self::Unix(_) => [Layer::Plain, Layer::Plain],
            Self::Tls(_) => [Layer::TlsClient, Layer::TlsServer],
        }
    }

    fn plain(&self) -> AnyStream {
        match self {
            Self::Tcp(addr) | Self::Tls(addr) => TcpStream::connect(addr).unwrap().into(),
            Self::Unix(path) => UnixStream::connect(path).unwrap().into(),
        }
    }
}

/// Gives a stream to any of the loops.
pub(crate) fn hand_over(here: &mut Here, manner: Manner, stream: impl Into<Released>, layer: Layer, side: Side) {
    let stream = stream.into();
    let handles = here.world.handles.get().expect("connections begin after the loops have started");
    let handle = here.rng.pick(handles);
    let adopt = move |lp: &mut LoopMut<'_, Here>| {
        let (key, world) = (lp.data().key(manner), Arc::clone(&lp.data().world));
        let adopted = match (layer, &world.tls) {
            (Layer::TlsClient, Some(tls)) => lp.adopt_tls_client(stream.into_stream(), key, side, &tls.client),
            (Layer::TlsServer, Some(tls)) => lp.adopt_tls(stream.into_stream(), key, side, &tls.server),
            (_, _) => lp.adopt(stream, key, side),
        };
        adopted.unwrap();
    };
    assert!(handle.defer(adopt).is_ok(), "no loop has ended");
}
