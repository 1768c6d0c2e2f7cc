//! Section 3.1, check (5), on whole connections: what comes before the hook, and what is told of a refusal.

use crate::talk::{open, read, takes_all, value};
use wharf_core::Instant;
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server::{Config, Outcome};
use wharf_tests::fixture::{Denial, Denied, LATER, Plant, Table};
use wharf_tests::modbus::Server;
use wharf_tests::vectors::{frame, hex};
use wharf_tests::world::Script;

/// The standard plant, whose unit 1 shows no holding register and defers nothing.
fn denying() -> Plant {
    let denial = |what| Denial { unit: 1, what };
    let denials = vec![denial(Denied::Reading(Table::Holding, 0, 65535)), denial(Denied::Function(LATER))];
    Plant { denials, ..Plant::standard() }
}

const REFUSED: Outcome = Outcome::Exception(Exception::ILLEGAL_FUNCTION);

#[test]
fn a_refusal_is_told_as_exception_01_and_other_requests_go_on() {
    let write = frame(2, 1, &[6, 0, 0, 0, 1]);
    let stream = [read(1), write.clone(), frame(3, 1, &[LATER]), frame(4, 9, &[3, 0, 0, 0, 1])].concat();
    let (_, mut world, id) = open(&denying(), Config::DEFAULT, Script::new().send(stream));
    world.run_until_quiet();
    let connection = world.connection(id);
    let refused = |transaction, code: u8| frame(transaction, 1, &[code | 0x80, 1]);
    let expected = [refused(1, 3), write, refused(3, LATER), frame(4, 9, &[0x83, 0x0B])].concat();
    assert_eq!(hex(connection.peer.received()), hex(&expected));
    let outcomes: Vec<_> = connection.end.processed.iter().map(|processed| processed.outcome).collect();
    let nobody = Outcome::Exception(Exception::GATEWAY_TARGET_FAILED);
    assert_eq!(outcomes, [REFUSED, Outcome::Ok, REFUSED, nobody]);
    assert!(connection.end.processed.iter().all(|processed| !processed.deferred));
    let span = connection.end.processed[0].span.expect("the request names its span");
    assert_eq!((span.start, span.quantity), (0, 1));
}

#[test]
fn a_free_place_comes_before_the_hook() {
    let denials = vec![Denial { unit: 1, what: Denied::Reading(Table::Holding, 0, 65535) }];
    let plant = Plant { denials, ..Plant::standard() };
    let config = Config { max_outstanding: 1, ..Config::DEFAULT };
    let stream = [frame(1, 1, &[LATER]), read(2)].concat();
    let (_, mut world, id) = open(&plant, config, Script::new().send(stream));
    world.run_until_quiet();
    assert_eq!(hex(world.connection(id).peer.received()), hex(&frame(2, 1, &[0x83, 6])));
}

#[test]
fn a_hook_that_changes_acts_on_live_connections_from_the_next_request_on() {
    let server = Server::new(&denying());
    let mut served = server.accept(0, Config::DEFAULT, 4096, 16, Instant::ORIGIN);
    assert_eq!(hex(&takes_all(&mut served, &read(1))), hex(&frame(1, 1, &[0x83, 1])));
    let hook = server.units.borrow_mut().authorisation.take();
    assert_eq!(hex(&takes_all(&mut served, &read(2))), hex(&value(2)));
    // Half a request comes under the one, and the rest under the other.
    let (begin, end) = (&read(3)[..6], &read(3)[6..]);
    assert_eq!(takes_all(&mut served, begin), [0; 0]);
    server.units.borrow_mut().authorisation = hook;
    assert_eq!(hex(&takes_all(&mut served, end)), hex(&frame(3, 1, &[0x83, 1])));
}
