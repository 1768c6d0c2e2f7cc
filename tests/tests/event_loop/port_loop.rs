//! What a TCP port has from its loop, in the simulated world: the receive buffer, which is also that of others, and the time.

use crate::harness::{Log, Probe, any};
use crate::port_bench::{Bench, FIRST, bench, bench_in, send};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::port::server::{DownReason, OpenFailure};
use wharf_host::event_loop::ListenOptions;
use wharf_host::services::port::{Event, Running, Subscriber};
use wharf_tests::sim_net::{Peer, Sim, World};

#[test]
fn what_has_come_is_read_although_another_service_has_the_buffer_at_that_moment() {
    let mut bench = bench(&[("slots", "1"), ("rx_queue", "64")]);
    let client = bench.connect();
    let sent: Vec<u8> = (0..200).collect();
    send(&client, &sent);
    bench.settle();
    let received = |bench: &mut Bench| bench.with(|port| port.seated(0)).unwrap().1.queued_rx;
    assert_eq!(received(&mut bench), 64, "the queue is full, and the rest waits in the system");
    // The other service makes room in the queue while the bytes that it was given lie in the buffer of the loop.
    let read = Rc::new(RefCell::new(Vec::new()));
    let (port, taken) = (bench.port.clone(), Rc::clone(&read));
    let other = Probe::new(&Log::default(), move |what, s, _| {
        if what == "data" {
            let mut buffer = [0; 64];
            let read = port.with(s.loop_mut(), |port| port.read(FIRST, &mut buffer)).unwrap();
            taken.borrow_mut().extend_from_slice(&buffer[..read.len]);
        }
    });
    let mut lp = bench.sim.lp(0);
    let key = lp.context(other);
    let listener = lp.listen(any(), key, ListenOptions::default()).unwrap();
    let to = lp.listener(listener).unwrap().local_addr();
    let prompter = bench.sim.world.connect(to).expect("the backlog has room");
    bench.settle();
    for count in 1..=4_usize {
        send(&prompter, b"go");
        bench.settle();
        assert_eq!(*read.borrow(), sent[..(64 * count).min(200)]);
        let rest = 200_usize.saturating_sub(64 * count);
        assert_eq!(received(&mut bench), rest.min(64) as u64, "nothing but the room has told the port to go on");
    }
}

#[test]
fn a_port_whose_name_is_found_late_counts_from_then() {
    let sim = Sim::strict();
    let taken = sim.world.listen("127.0.0.1:5025".parse().unwrap());
    sim.world.name("ioc-7.lab", Duration::from_secs(5), &["127.0.0.1".parse().unwrap()]);
    let mut bench = bench_in(sim, "ioc-7.lab:5025", &[("slots", "1"), ("reopen", "1s"), ("idle_rx", "3s")]);
    let millis = |bench: &mut Bench, count| bench.sim.run_for(Duration::from_millis(count));
    millis(&mut bench, 4999);
    assert_eq!(*bench.events.borrow(), []);
    millis(&mut bench, 1);
    let down = Event::PortDown { reason: DownReason::OpenFailed(OpenFailure::InUse) };
    assert_eq!(*bench.events.borrow(), [down]);
    drop(taken);
    // A second until the name is asked for again, and five until it is found; from its call both would be over sooner.
    millis(&mut bench, 5999);
    assert_eq!((*bench.events.borrow()).as_slice(), [down], "nothing is too early");
    millis(&mut bench, 1);
    let local = "127.0.0.1:5025".parse().unwrap();
    assert_eq!((*bench.events.borrow()).as_slice(), [down, Event::PortUp { local }], "and nothing too late");
    // So do the clients.
    let _idle = bench.connect();
    millis(&mut bench, 2998);
    assert_eq!(bench.left(), []);
    millis(&mut bench, 2);
    assert_eq!(bench.left().len(), 1);
}

/// Takes a while at the first bytes of slot 0, in which the other client goes on sending.
struct Slow {
    world: World,
    other: Peer,
}

impl Subscriber for Slow {
    fn event(&mut self, _: &mut Running<'_>, event: &Event) {
        if matches!(event, Event::DataReady { slot } if slot.index() == 0) {
            self.world.jump(Duration::from_micros(850));
            send(&self.other, b"y");
        }
    }
}

#[test]
fn an_idle_time_begins_with_the_last_byte_and_not_with_the_iteration_that_brings_it() {
    let mut bench = bench(&[("slots", "2"), ("idle_rx", "20ms")]);
    let (first, other) = (bench.connect(), bench.connect());
    send(&first, b"x");
    send(&other, b"x");
    let slow = Slow { world: bench.sim.world.clone(), other };
    bench.with(|port| port.subscribe(Box::new(slow)));
    bench.sim.run_for(Duration::from_micros(20_849));
    assert_eq!(bench.left().iter().map(|left| left.0).collect::<Vec<_>>(), [0], "the other has sent 850 us later");
    bench.sim.run_for(Duration::from_millis(2));
    assert_eq!(bench.left().len(), 2);
}

#[test]
fn a_name_that_is_not_found_is_asked_for_again_after_a_while_that_begins_with_the_answer() {
    let sim = Sim::strict();
    sim.world.name("ioc-7.lab", Duration::from_secs(5), &[]);
    let mut bench = bench_in(sim, "ioc-7.lab:5025", &[("slots", "1"), ("reopen", "1s")]);
    for (millis, downs) in [(4999, 0), (1, 1), (5999, 1), (1, 2), (5999, 2), (1, 3)] {
        bench.sim.run_for(Duration::from_millis(millis));
        assert_eq!(bench.events.borrow().len(), downs);
    }
}
