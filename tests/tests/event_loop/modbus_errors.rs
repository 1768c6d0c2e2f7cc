//! A Modbus server under which the system fails.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use wharf_core::modbus::server::Reason;
use wharf_host::admin::exposition::Exposition;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::modbus::{Event, Operation, Response, Server};
use wharf_tests::sim_net::Sim;

/// FC3 of one register, and the reply.
const REQUEST: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1];
const REPLY: [u8; 11] = [0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 0];

#[test]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
fn a_write_that_fails_is_told_and_counted_before_the_connection_that_it_ends() {
    let mut sim = Sim::strict();
    sim.add_loop((), LoopOptions::default());
    let described = Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 1)],
        ..Described::new("cut")
    };
    let told = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&told);
    let server = Server::bind(&mut sim.lp(0), &described, move |event| seen.borrow_mut().push(event.clone())).unwrap();
    let peer = sim.world.connect(server.local_addrs().next().unwrap()).unwrap();
    assert_eq!(peer.send(&REQUEST), REQUEST.len());
    sim.run_until(|_| peer.receive() == REPLY);
    told.borrow_mut().clear();

    sim.world.fail_writing(Some(ErrorKind::HostUnreachable));
    assert_eq!(peer.send(&REQUEST), REQUEST.len());
    sim.run_until(|_| peer.ended().is_some());
    sim.world.fail_writing(None);
    assert!(peer.receive().is_empty());
    let told = told.borrow();
    let [
        Event::Processed { .. },
        Event::Error { operation: Operation::Write, message },
        Event::Disconnected { reason: Reason::IoError, .. },
    ] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert!(message.starts_with("write to 127.0.0.1:"), "{message}");
    let metrics = server.with(&mut sim.lp(0), |running| running.metrics());
    assert_eq!(Operation::ALL.map(|operation| metrics.errors(operation)), [0, 0, 1, 0]);
    let responses = [Response::Ok, Response::None].map(|status| metrics.responses(status));
    assert_eq!((metrics.closed(Reason::IoError), responses), (1, [1, 1]));
    let mut text = Exposition::default();
    metrics.expose(&mut text);
    let line = "wharf_modbus_errors_total{server=\"cut\",operation=\"write\"} 1\n";
    assert!(text.to_string().contains(line), "{text}");
}
