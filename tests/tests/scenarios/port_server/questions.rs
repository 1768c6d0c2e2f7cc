//! Questions, their answers, and what comes between them, step by step: here the driver is the test itself.

use super::harness::{LOCAL, plain};
use core::time::Duration;
use wharf_core::port::server::{Command, Error, Event, Input, OnFull, Output, Server};
use wharf_core::slots::SlotId;
use wharf_core::{Instant, Machine, Step};
use wharf_tests::port::{Heap, Memory, server};

/// A port with a client whose receive queue is full, driven step by step.
pub(super) fn by_hand() -> (Server<Heap>, SlotId) {
    let mut port = server(plain(OnFull::Close), Memory::of(1)).unwrap();
    let now = Instant::ORIGIN;
    let mut tell = |input: Input<'_>| {
        port.handle_input(now, input).unwrap();
        drain(&mut port)
    };
    tell(Input::Requested(Command::Open));
    tell(Input::Opened { local: LOCAL });
    let outputs = tell(Input::Accepted { peer: LOCAL });
    let Output::Admit { slot } = outputs[0] else { panic!("{outputs:?}") };
    tell(Input::Readable { slot });
    tell(Input::Received { slot, bytes: &[b'x'; 64], more: true });
    (port, slot)
}

pub(super) fn drain(port: &mut Server<Heap>) -> Vec<Output> {
    core::iter::from_fn(|| match port.poll_output() {
        Step::Do(output) => Some(output),
        Step::Wait(_) => None,
    })
    .collect()
}

#[test]
fn an_edge_between_a_question_and_its_answer_is_not_forgotten() {
    let (mut port, slot) = by_hand();
    let now = Instant::ORIGIN.saturating_add(Duration::from_millis(1));
    port.handle_input(now, Input::Requested(Command::Flush { slot })).unwrap();
    assert_eq!(drain(&mut port), [Output::Read { slot, max: 64 }]);
    // The driver finds nothing, bytes come, and only then does it get to report what it found.
    port.handle_input(now, Input::Readable { slot }).unwrap();
    port.handle_input(now, Input::ReadBlocked { slot }).unwrap();
    assert_eq!(drain(&mut port), [Output::Read { slot, max: 64 }], "no other edge will come for these bytes");
}

#[test]
fn a_read_that_has_left_nothing_is_repeated_only_after_an_edge() {
    let (mut port, slot) = by_hand();
    let now = Instant::ORIGIN;
    let read = [Output::Read { slot, max: 64 }];
    let mut step = |input: Input<'_>| {
        port.handle_input(now, input).unwrap();
        let mut outputs = drain(&mut port);
        outputs.retain(|output| !matches!(output, Output::Notify(_)));
        outputs
    };
    let flush = || Input::Requested(Command::Flush { slot });
    let last = || Input::Received { slot, bytes: b"z", more: false };
    assert_eq!(step(flush()), read);
    assert_eq!(step(last()), [], "nothing is left to be read");
    assert_eq!(step(flush()), []);
    assert_eq!(step(Input::Readable { slot }), read);
    // Bytes come behind those that the driver has just taken and not reported yet.
    assert_eq!(step(Input::Readable { slot }), []);
    assert_eq!(step(last()), [Output::Read { slot, max: 63 }], "no other edge will come for these bytes");
}

#[test]
fn a_peer_that_has_left_nothing_behind_its_bytes_has_not_hung_up() {
    let (mut port, slot) = by_hand();
    let now = Instant::ORIGIN;
    port.handle_input(now, Input::HungUp { slot }).unwrap();
    port.handle_input(now, Input::Requested(Command::Flush { slot })).unwrap();
    assert_eq!(drain(&mut port), [Output::Read { slot, max: 64 }]);
    port.handle_input(now, Input::Received { slot, bytes: b"z", more: false }).unwrap();
    drain(&mut port);
    assert_eq!(port.poll_output(), Step::Wait(None), "bytes of a peer that is there wait for a reader for ever");
}

#[test]
fn nobody_is_there_any_more_once_the_socket_is_closed_even_before_that_is_told() {
    let (mut port, slot) = by_hand();
    let now = Instant::ORIGIN;
    port.handle_input(now, Input::Requested(Command::Abort { slot })).unwrap();
    assert!(matches!(drain(&mut port)[..], [Output::Close { .. }]));
    port.handle_input(now, Input::Closed { slot }).unwrap();
    let late = [
        Input::Readable { slot },
        Input::Writable { slot },
        Input::HungUp { slot },
        Input::ReadBlocked { slot },
        Input::WriteBlocked { slot },
        Input::Received { slot, bytes: b"z", more: true },
        Input::Transmitted { slot, len: 1 },
    ];
    for input in late {
        assert_eq!(port.handle_input(now, input), Err(Error::Stale { slot }), "{input:?}");
    }
    assert!(matches!(drain(&mut port)[..], [Output::Notify(Event::Disconnected { .. })]));
}
