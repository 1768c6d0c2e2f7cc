//! What one iteration does, and how a loop ends.

use crate::harness::{bench, quiet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use wharf_host::event_loop::{Error, Hook, ListenOptions, Loop, Signal, Why};

#[test]
fn hooks_and_iteration_run_once_each() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    set.before_poll(|lp| {
        let n = lp.iteration();
        lp.data().push(format!("{n} first"));
        if n == 1 {
            let handle = lp.handle();
            handle.defer(|lp| lp.data().push("deferred".into())).unwrap();
            lp.add_timer(Duration::ZERO, None, move |lp, _| {
                lp.data().push("timer".into());
                handle.defer(|lp| lp.data().push("deferred by the timer".into())).unwrap();
            })
            .unwrap();
        }
        if n < 3 { Hook::Busy } else { Hook::Idle }
    });
    set.before_poll(|lp| {
        lp.data().push("second".into());
        Hook::Idle
    });
    set.after_poll(|lp| lp.data().push("after".into()));
    // The first two do not wait, because a hook is busy.
    for wait in [None, None, Some(Duration::ZERO)] {
        lp.turn(wait).unwrap();
    }
    let log = lp.loop_mut().data().join(", ");
    assert_eq!(
        log,
        "1 first, second, deferred, timer, deferred by the timer, after, 2 first, second, after, 3 first, second, after"
    );
}

#[test]
fn callbacks_never_nest() {
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            let (addr, id) = (s.peer_addr().unwrap(), s.id());
            let lp = s.loop_mut();
            assert!(lp.stream(id).is_ok() && addr.ip().is_loopback());
            s.close(5);
            assert!(s.is_closed());
            assert!(matches!(s.write(b"x"), Err(Error::Closed)));
        }
    });
    let client = TcpStream::connect(bench.addr).unwrap();
    bench.run_to_closed(1);
    drop(client);
    assert_eq!(bench.log(), ["open Accepted", "opened", "close Local { code: 5 } with 0 bytes"]);
}

#[test]
fn a_panic_in_a_callback_unwinds_out_of_run_and_closes_all() {
    let mut bench = bench(|what, _, _| assert!(what != "data", "on purpose"));
    let handle = bench.lp.handle();
    let mut clients = [TcpStream::connect(bench.addr).unwrap(), TcpStream::connect(bench.addr).unwrap()];
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 2).unwrap());
    clients[0].write_all(b"x").unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| bench.lp.run())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(handle.defer(|_| ()).unwrap_err().why, Why::Ended);
    assert!(!handle.is_running() && !handle.is_on_loop_thread());
    // The loop still exists, but its descriptors are closed.
    assert_eq!(clients[1].read(&mut [0; 1]).unwrap(), 0);
    assert!(TcpStream::connect(bench.addr).is_err());
    assert!(matches!(bench.lp.run(), Err(Error::Ended)));
}

#[test]
fn stopping_closes_every_socket_with_close() {
    let mut bench = bench(|what, s, _| {
        if what == "data" {
            s.loop_mut().stop();
        }
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    client.write_all(b"abc").unwrap();
    bench.lp.run().unwrap();
    assert_eq!(bench.log(), ["open Accepted", "opened", "close LoopEnded with 3 bytes"]);
    assert_eq!(client.read(&mut [0; 1]).map_err(|error| error.kind()), Ok(0));
}

#[test]
fn a_signal_is_a_callback_on_the_loop() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    let mut set = lp.loop_mut();
    set.on_signal(&[Signal::User1, Signal::Terminate], |lp, signal| {
        lp.data().push(signal);
        if signal == Signal::Terminate {
            lp.stop();
        } else {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        }
    })
    .unwrap();
    set.handle().keep_alive(true);
    let handle = set.handle();
    handle.keep_alive(true);
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1).unwrap();
    lp.run().unwrap();
    assert_eq!(*lp.loop_mut().data(), [Signal::User1, Signal::Terminate]);
}

#[test]
fn only_what_is_not_unrefed_keeps_the_loop_alive() {
    let mut bench = bench(quiet);
    let mut set = bench.lp.loop_mut();
    let timer = set.add_timer(Duration::from_secs(3600), None, |_, _| ()).unwrap();
    set.unref_timer(timer, true).unwrap();
    let key = bench.key;
    let id = bench.lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    bench.lp.loop_mut().listener(id).unwrap().unref(true);
    assert_eq!(bench.lp.turn(Some(Duration::ZERO)).unwrap(), wharf_host::event_loop::Turn::Alive);
    bench.lp.loop_mut().listener(id).unwrap().close();
    let first = bench.lp.loop_mut().listener(id).is_err();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert!(first);
}
