//! How UDP sockets come and go.

use super::{Log, Probe, Seen, V4, bench, bench_with, quiet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{Error, Loop, LoopOptions, Out, Packets, Turn, Udp, UdpHandler, UdpOptions};

#[test]
fn a_closed_udp_socket_is_stale_and_hears_nothing() {
    let mut bench = bench(V4);
    bench.outside.send_to(b"x", bench.addr).unwrap();
    let mut lp = bench.lp.loop_mut();
    let mut udp = lp.udp(bench.id).unwrap();
    udp.close();
    udp.close();
    assert!(udp.is_closed() && udp.raw().is_none() && udp.peer_addr().is_none());
    let refused = [
        udp.send(&[Out::to(bench.addr, b"x")]).unwrap_err(),
        udp.connect(bench.addr).unwrap_err(),
        udp.disconnect().unwrap_err(),
        udp.pause().unwrap_err(),
        udp.set_broadcast(true).unwrap_err(),
        udp.local_addr().unwrap_err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Error::Closed)));
    udp.unref(true);
    assert!(matches!(lp.udp(bench.id), Err(Error::Stale)));
    assert!(matches!(lp.with_udp(bench.id, |_: &mut Probe, _| ()), Err(Error::Stale)));
    bench.turn();
    assert_eq!(bench.log(), []);
    // Its place can be had again, and the old id does not reach the newcomer.
    let handler = Probe::new(&bench.log, quiet);
    let id = bench.lp.loop_mut().bind_udp(V4.parse().unwrap(), handler, UdpOptions::default()).unwrap();
    assert_ne!(id, bench.id);
    assert!(matches!(bench.lp.loop_mut().udp(bench.id), Err(Error::Stale)));
}

#[test]
fn a_socket_closed_in_its_own_callback_gets_no_more() {
    let options = LoopOptions { udp_batch: 1, ..LoopOptions::default() };
    let mut bench = bench_with(V4, options, |_, u, _| u.close());
    #[cfg(target_os = "linux")]
    let behind = bench.behind();
    for _ in 0..3 {
        bench.outside.send_to(b"x", bench.addr).unwrap();
    }
    bench.turn();
    assert_eq!(bench.log(), [Seen::Batch(vec![b"x".to_vec()])]);
    assert_eq!(bench.lp.turn(Some(Duration::ZERO)).unwrap(), Turn::Idle);
    assert_eq!(bench.lp.loop_mut().stats().sockets, 0);
    #[cfg(target_os = "linux")]
    assert!(!behind.is_open());
}

#[test]
fn a_udp_socket_keeps_the_loop_alive_unless_told_otherwise() {
    let mut bench = bench(V4);
    assert_eq!(bench.lp.turn(Some(Duration::ZERO)).unwrap(), Turn::Alive);
    bench.udp(|u| u.unref(true));
    bench.udp(|u| u.unref(true));
    assert_eq!(bench.lp.turn(Some(Duration::ZERO)).unwrap(), Turn::Idle);
    bench.udp(|u| u.unref(false));
    assert_eq!(bench.lp.turn(Some(Duration::ZERO)).unwrap(), Turn::Alive);
    bench.lp.loop_mut().udp(bench.id).unwrap().close();
    bench.lp.run().unwrap();
}

#[test]
fn the_end_of_the_loop_closes_its_udp_sockets() {
    let mut bench = bench(V4);
    #[cfg(target_os = "linux")]
    let behind = bench.behind();
    assert_eq!(Rc::strong_count(&bench.log), 2);
    bench.lp.loop_mut().stop();
    bench.lp.run().unwrap();
    assert_eq!(Rc::strong_count(&bench.log), 1, "the handler is dropped");
    #[cfg(target_os = "linux")]
    assert!(!behind.is_open());
    let again = bench.lp.loop_mut().bind_udp(bench.addr, Probe::new(&bench.log, quiet), UdpOptions::default());
    assert!(matches!(again, Err(Error::Ended)));
}

#[test]
fn a_panic_in_a_callback_closes_the_socket() {
    let mut bench = bench_with(V4, LoopOptions::default(), |_, _, _| panic!("on purpose"));
    #[cfg(target_os = "linux")]
    let behind = bench.behind();
    bench.outside.send_to(b"x", bench.addr).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.lp.run()));
    assert!(caught.is_err());
    #[cfg(target_os = "linux")]
    assert!(!behind.is_open());
    assert!(matches!(bench.lp.run(), Err(Error::Ended)));
}

/// Counts packets.
#[derive(Default)]
struct Counter {
    packets: usize,
}

impl UdpHandler for Counter {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        self.packets += batch.len();
        let id = u.id();
        assert!(matches!(u.loop_mut().with_udp(id, |_: &mut Self, _| ()), Err(Error::Busy)));
    }
}

#[test]
fn a_handler_is_reached_by_the_id_of_its_socket() {
    let mut bench = bench(V4);
    let counter = Counter::default();
    let id = bench.lp.loop_mut().bind_udp(V4.parse().unwrap(), counter, UdpOptions::default()).unwrap();
    let addr = bench.lp.loop_mut().udp(id).unwrap().local_addr().unwrap();
    for _ in 0..3 {
        bench.outside.send_to(b"x", addr).unwrap();
    }
    bench.run_to_packets(3);
    let to = bench.outside_addr;
    let seen = bench.lp.loop_mut().with_udp(id, |counter: &mut Counter, u| {
        assert_eq!(u.send(&[Out::to(to, b"counted")]).unwrap(), 1);
        counter.packets
    });
    assert_eq!(seen.unwrap(), 3);
    assert_eq!(bench.heard().0, b"counted");
    assert!(matches!(bench.lp.loop_mut().with_udp(id, |_: &mut Probe, _| ()), Err(Error::Stale)));
}

#[test]
fn a_batch_or_payload_out_of_range_is_refused() {
    let usual = LoopOptions::default();
    let table = [
        (LoopOptions { udp_batch: 0, ..usual }, 0, 1),
        (LoopOptions { udp_batch: 65, ..usual }, 65, 64),
        (LoopOptions { udp_payload: 0, ..usual }, 0, 1),
        (LoopOptions { udp_payload: 65_536, ..usual }, 65_536, 65_535),
    ];
    for (options, wrong, bound) in table {
        let mut lp = Loop::with_options((), options).unwrap();
        let bind = lp.loop_mut().bind_udp(V4.parse().unwrap(), Counter::default(), UdpOptions::default());
        assert!(matches!(bind, Err(Error::OutOfRange { asked, max }) if (asked, max) == (wrong, bound)));
    }
}

#[test]
fn sockets_can_be_bound_in_callbacks() {
    let log = Log::default();
    let inner = Rc::clone(&log);
    let mut bench = bench_with(V4, LoopOptions::default(), move |_, u, batch| {
        let handler = Probe::new(&inner, quiet);
        let id = u.loop_mut().bind_udp(V4.parse().unwrap(), handler, UdpOptions::default()).unwrap();
        let addr = u.loop_mut().udp(id).unwrap().local_addr().unwrap();
        assert_eq!(u.send(&[Out::to(addr, batch.unwrap().get(0).unwrap().payload)]).unwrap(), 1);
    });
    bench.outside.send_to(b"on", bench.addr).unwrap();
    bench.run_to_packets(2);
    assert_eq!(*log.borrow(), [Seen::Batch(vec![b"on".to_vec()])]);
}

#[test]
fn a_handler_outlives_a_panic_that_somebody_catches() {
    let mut lp = Loop::new().unwrap();
    let id = lp.loop_mut().bind_udp(V4.parse().unwrap(), Counter::default(), UdpOptions::default()).unwrap();
    let outcome =
        catch_unwind(AssertUnwindSafe(|| lp.loop_mut().with_udp::<Counter, ()>(id, |_, _| panic!("on purpose"))));
    assert!(outcome.is_err());
    assert_eq!(lp.loop_mut().with_udp(id, |counter: &mut Counter, _| counter.packets).unwrap(), 0);
}
