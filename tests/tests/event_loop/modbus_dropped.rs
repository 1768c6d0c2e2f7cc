//! Replies of a Modbus server that never leave.

use std::time::Duration;
use wharf_host::config;
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::modbus::{Response, Server};
use wharf_tests::sim_net::{Faults, Sim};

const PLANT: &str = r#"
[[modbus.server]]
name = "stops"
listen = ["127.0.0.1:0"]
fault = [{ name = "s", kind = "stop_reading", for = "100ms", then = "close", addresses = [3, 3] }]
[[modbus.server.unit]]
id = 1
block = [{ table = "holding", start = 0, len = 200 }]
"#;
/// Of FC3 of 125 registers.
const REPLY: usize = 259;

#[test]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
fn a_reply_that_waits_when_its_connection_has_been_stopped_long_enough_is_dropped_and_not_ok() {
    let mut sim = Sim::strict();
    // The first reply fits into the socket, and no second one.
    sim.world.set_faults(Faults { capacity: 300..=300, ..Faults::none() });
    sim.add_loop((), LoopOptions::default());
    let described = config::parse(PLANT, "plant.toml").unwrap().modbus.remove(0);
    let server = Server::bind(&mut sim.lp(0), &described, |_| ()).unwrap();
    let peer = sim.world.connect(server.local_addrs().next().unwrap()).unwrap();
    sim.run_for(Duration::from_millis(1));
    let ask = |transaction: u8, address: u8| [0, transaction, 0, 0, 0, 6, 1, 3, 0, address, 0, 125];
    let asked = [ask(1, 3), ask(2, 10), ask(3, 10), ask(4, 10)].concat();
    assert_eq!(peer.send(&asked), asked.len());
    sim.run_for(Duration::from_millis(99));
    let mut got = peer.receive().len();
    // What the client has made room for is sent when the time is over, and the rest is not.
    sim.world.jump(Duration::from_secs(1));
    while peer.ended().is_none() {
        sim.run_for(Duration::from_millis(1));
        got += peer.receive().len();
    }
    drop(peer);
    sim.run_for(Duration::from_secs(1));
    let metrics = server.with(&mut sim.lp(0), |running| running.metrics());
    let responses = [Response::Ok, Response::Exception, Response::None].map(|status| metrics.responses(status));
    assert_eq!(got / REPLY, 2, "{got} bytes");
    assert_eq!(responses, [2, 0, 2]);
}
