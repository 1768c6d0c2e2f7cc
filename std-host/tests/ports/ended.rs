//! Calls of threads when the loop of their port ends, and after it.

use crate::harness::{Client, PATIENCE, port, slot, until_waiting};
use std::sync::mpsc;
use std::thread;
use wharf_core::slots::SlotId;
use wharf_host::services::port::{Addr, Error, OnClose, Port, Subport};

/// A call, with nothing but whether it succeeds.
type Call = fn(&Port, &Subport, SlotId) -> Result<(), Error>;

/// Every call that asks the loop. None has a limit of time that could end it.
const CALLS: &[(&str, Call)] = &[
    ("connect", |port, _, _| port.connect(None)),
    ("disconnect drop", |port, _, _| port.disconnect(OnClose::Drop)),
    ("disconnect keep", |port, _, _| port.disconnect(OnClose::Keep)),
    ("read", |port, _, _| port.read(slot(0), &mut [0; 8], None).map(drop)),
    ("write", |port, _, _| port.write(slot(0), b"x", None).map(drop)),
    ("write to all", |port, _, _| port.write(Addr::Port, b"x", None).map(drop)),
    ("write_to", |port, _, id| port.write_to(id, b"x", None).map(drop)),
    ("broadcast", |port, _, _| port.broadcast(b"x", None).map(drop)),
    ("drain", |port, _, _| port.drain(slot(0), None)),
    ("drain all", |port, _, _| port.drain(Addr::Port, None)),
    ("shutdown", |port, _, _| port.shutdown(slot(0))),
    ("flush", |port, _, _| port.flush(slot(0)).map(drop)),
    ("drop_client", |port, _, _| port.drop_client(slot(0)).map(drop)),
    ("abort_client", |port, _, _| port.abort_client(slot(0)).map(drop)),
    ("wait_client", |port, _, _| port.wait_client(slot(0), None).map(drop)),
    ("wait for any client", |port, _, _| port.wait_client(Addr::Port, None).map(drop)),
    ("peer", |port, _, _| port.peer(slot(0)).map(drop)),
    ("slot_id", |port, _, _| port.slot_id(slot(0)).map(drop)),
    ("pending", |port, _, _| port.pending(Addr::Port).map(drop)),
    ("option", |port, _, _| port.option(Addr::Port, "linger").map(drop)),
    ("set_option", |port, _, _| port.set_option(Addr::Port, "linger", "1s")),
    ("subscribe", |port, _, _| port.subscribe().map(drop)),
    ("run", |port, _, _| port.run(|_| ())),
    ("connect of a subport", |_, child, _| child.connect()),
    ("pin", |_, child, _| child.pin().map(drop)),
    ("read of a subport", |_, child, _| child.read(&mut [0; 8], None).map(drop)),
    ("write of a subport", |_, child, _| child.write(b"x", None).map(drop)),
    ("drain of a subport", |_, child, _| child.drain(None)),
    ("disconnect of a subport", |_, child, _| child.disconnect().map(drop)),
    ("wait_client of a subport", |_, child, _| child.wait_client(None).map(drop)),
    ("set_option of a subport", |_, child, _| child.set_option("linger", "1s")),
];

#[test]
fn every_call_after_the_end_of_the_loop_says_so() {
    for in_order in [true, false] {
        let port = port(&[("slots", "2")]);
        let client = Client::seated(&port, 0);
        let (after, child, id) = (port.port(), port.subport(0).unwrap(), port.slot_id(slot(0)).unwrap().unwrap());
        let (pinned, events) = (child.pin().unwrap(), port.subscribe().unwrap());
        drop(client);
        if in_order {
            port.stop().unwrap();
        } else {
            drop(port);
        }
        let (tell, told) = mpsc::channel();
        // A call that hangs would keep its thread, and only that.
        thread::spawn(move || {
            for (name, call) in CALLS {
                tell.send((*name, call(&after, &child, id), call(&after, &pinned, id))).unwrap();
            }
            while events.next(None).is_some() {}
        });
        for (name, _) in CALLS {
            let answer = told.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(answer, (*name, Err(Error::Ended), Err(Error::Ended)));
        }
        let end = told.recv_timeout(PATIENCE);
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "and nothing is told any more");
    }
}

#[test]
fn calls_that_wait_end_with_the_loop() {
    let port = port(&[("slots", "2")]);
    let _client = Client::seated(&port, 0);
    let (tell, told) = mpsc::channel();
    let (waiter, reader, told_to_all) = (port.port(), port.port(), tell.clone());
    thread::spawn(move || tell.send(("wait", waiter.wait_client(slot(1), None).map(drop))));
    thread::spawn(move || told_to_all.send(("read", reader.read(slot(0), &mut [0; 8], None).map(drop))));
    until_waiting(&port, 2);
    // By force; the client is aborted before that.
    drop(port);
    let mut answers = [(); 2].map(|()| told.recv_timeout(PATIENCE).expect("it has its answer"));
    answers.sort_by_key(|(call, _)| *call);
    assert_eq!(answers, [("read", Err(Error::NotConnected)), ("wait", Err(Error::Ended))]);
}

#[test]
fn no_call_that_is_under_way_when_the_loop_ends_hangs() {
    for round in 0..20 {
        let port = port(&[("slots", "2")]);
        let client = Client::seated(&port, 0);
        let id = port.slot_id(slot(0)).unwrap().unwrap();
        let (tell, told) = mpsc::channel();
        for (name, call) in CALLS {
            let (port, child, tell) = (port.port(), port.subport(0).unwrap(), tell.clone());
            thread::spawn(move || {
                // Each is made again and again, until it hears of the end.
                while call(&port, &child, id) != Err(Error::Ended) {}
                tell.send(*name).unwrap();
            });
        }
        if round % 2 == 0 {
            drop(client);
        }
        drop(port);
        let mut left: Vec<_> = CALLS.iter().map(|(name, _)| *name).collect();
        while !left.is_empty() {
            let name = told.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{left:?}: {error}"));
            left.retain(|other| *other != name);
        }
    }
}
