//! What scenarios of server connections share: a server of the standard plant, requests to it and their replies.

use wharf_core::modbus::server::Config;
use wharf_core::{Instant, Step};
use wharf_tests::fixture::Plant;
use wharf_tests::modbus::{Served, Server};
use wharf_tests::vectors::frame;
use wharf_tests::world::{End as _, Link, Order, Script, World};

/// Milliseconds since the begin.
pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A request for the first holding register of unit 1.
pub(crate) fn read(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &[3, 0, 0, 0, 1])
}

/// The reply to it.
pub(crate) fn value(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &[3, 2, 0x11, 0])
}

/// A connection to a server of its own, over so many bytes of storage.
pub(crate) fn standard(config: Config, buffer: usize) -> (Server, Served) {
    let server = Server::new(&Plant::standard());
    let served = server.accept(0, config, buffer, 16, Instant::ORIGIN);
    (server, served)
}

/// A world with one connection to a server of its own, on the best of links.
pub(crate) fn open(plant: &Plant, config: Config, script: Script) -> (Server, World<Served>, usize) {
    let server = Server::new(plant);
    let served = server.accept(0, config, 4096, 16, Instant::ORIGIN);
    let mut world = World::new(1);
    let id = world.connect(served, Link::direct(), script);
    (server, world, id)
}

/// Offers bytes to a connection whose socket takes everything, until all are taken; what it sends.
pub(crate) fn takes_all(served: &mut Served, bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut sent) = (bytes, Vec::new());
    loop {
        while let Step::Do(order) = served.poll(Instant::ORIGIN) {
            if order == Order::Transmit {
                let bytes = served.transmit();
                served.transmitted(Instant::ORIGIN, bytes.len());
                sent.extend(bytes);
            }
        }
        if rest.is_empty() {
            return sent;
        }
        let taken = served.received(Instant::ORIGIN, rest);
        assert!(taken > 0, "a socket that takes everything leaves room");
        rest = &rest[taken..];
    }
}
