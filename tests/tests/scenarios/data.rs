//! What is written, by whom, and who hears of it: sections 4 and 5.

use wharf_core::Instant;
use wharf_core::modbus::server::Config;
use wharf_core::modbus::service::Discard;
use wharf_tests::fixture::{Plant, UnitZero};
use wharf_tests::modbus::Server;
use wharf_tests::vectors::frame;
use wharf_tests::world::End as _;

const WRITE: [u8; 5] = [6, 0, 0, 0, 1];
const READ: [u8; 5] = [3, 0, 0, 0, 1];

#[test]
fn a_broadcast_write_that_finds_no_unit_is_no_broadcast_read() {
    let discarded = |pdu: &[u8]| {
        let server = Server::new(&Plant { unit_0: UnitZero::Broadcast, ..Plant::default() });
        let mut served = server.accept(0, Config::DEFAULT, 1000, 16, Instant::ORIGIN);
        served.received(Instant::ORIGIN, &frame(1, 0, pdu));
        while !matches!(served.poll(Instant::ORIGIN), wharf_core::Step::Wait(_)) {}
        assert!(served.transmit().is_empty());
        served.discarded
    };
    assert_eq!(discarded(&WRITE), []);
    assert_eq!(discarded(&READ), [Discard::BroadcastRead]);
}
