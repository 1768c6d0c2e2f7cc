//! What one iteration does, and how a loop ends.

use crate::harness::{Bench, Log, Probe, bench, bench_with, quiet, spin};
use crate::scripted::{Does, Scripted};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::{
    ConnectOptions, Context, Error, Hook, ListenOptions, Loop, LoopMut, LoopOptions, Packets, Signal, SocketId, Turn,
    Udp, UdpHandler, UdpOptions, Why,
};

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
    assert_eq!(bench.lp.loop_mut().stats().sockets, 0);
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
    let turn = |bench: &mut Bench| bench.lp.turn(Some(Duration::ZERO)).unwrap();
    let mut bench = bench(quiet);
    let hour = Duration::from_secs(3600);
    let mut set = bench.lp.loop_mut();
    let listener = set.listen("127.0.0.1:0".parse().unwrap(), bench.key, ListenOptions::default()).unwrap();
    let timer = set.add_timer(hour, None, |_, _| ()).unwrap();
    bench.lp.loop_mut().listener(bench.listener).unwrap().close();
    assert_eq!(turn(&mut bench), Turn::Alive);
    bench.lp.loop_mut().unref_timer(timer, true).unwrap();
    assert_eq!(turn(&mut bench), Turn::Alive, "a listener is enough");
    bench.lp.loop_mut().listener(listener).unwrap().unref(true);
    assert_eq!(turn(&mut bench), Turn::Idle);
    bench.lp.loop_mut().unref_timer(timer, false).unwrap();
    assert_eq!(turn(&mut bench), Turn::Alive, "a timer is enough");
    bench.lp.loop_mut().disarm(timer).unwrap();
    assert_eq!(turn(&mut bench), Turn::Idle, "it has to be armed");
    bench.lp.run().unwrap();
    assert!(bench.lp.loop_mut().listener(listener).is_err(), "the end closes what is unrefed too");
}

#[test]
fn a_loop_that_a_deferred_call_leaves_without_a_reason_does_not_wait() {
    // The second call is queued in step 7 and runs in step 2 of the next iteration, before the poll.
    let mut lp = Loop::new().unwrap();
    let timer = lp.loop_mut().add_timer(Duration::from_secs(3600), None, |_, _| ()).unwrap();
    lp.loop_mut()
        .add_timer(Duration::ZERO, None, move |lp, _| {
            let handle = lp.handle();
            let close = move |lp: &mut LoopMut<'_>| lp.close(timer).unwrap();
            handle.clone().defer(move |_| handle.defer(close).unwrap()).unwrap();
        })
        .unwrap();
    lp.run().unwrap();
}

#[test]
fn a_loop_goes_on_after_run_until_and_turns() {
    let mut lp = Loop::new().unwrap();
    lp.loop_mut().add_timer(Duration::ZERO, Some(Duration::from_millis(1)), |_, _| ()).unwrap();
    assert!(lp.run_until(|lp| lp.stats().timers_fired == 2).unwrap());
    assert!(lp.run_until(|_| true).unwrap(), "one iteration comes first");
    let before = lp.loop_mut().iteration();
    assert_eq!(lp.turn(Some(Duration::ZERO)).unwrap(), Turn::Alive);
    assert_eq!(lp.loop_mut().iteration(), before + 1);
    lp.loop_mut().stop();
    assert!(!lp.run_until(|_| false).unwrap());
    assert!(matches!(lp.turn(None), Err(Error::Ended)));
}

#[test]
fn of_sockets_that_never_have_enough_another_is_first_in_every_iteration() {
    // The sockets have bytes left all the time: each gives one byte per iteration.
    let order = Rc::new(RefCell::new(Vec::new()));
    let served = Rc::clone(&order);
    let options = LoopOptions { read_budget: 1, ..LoopOptions::default() };
    let mut bench = bench_with(options, move |what, s, _| {
        if what == "data" {
            served.borrow_mut().push(s.id());
        }
    });
    let mut clients = [(); 3].map(|()| TcpStream::connect(bench.addr).unwrap());
    for client in &mut clients {
        client.write_all(&[0; 64]).unwrap();
    }
    let key = bench.key;
    let least = |lp: &LoopMut<'_>| lp.sockets(key).map(|id| lp.user(key, id).unwrap().len()).min();
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 3 && least(lp) >= Some(1)).unwrap());
    order.borrow_mut().clear();
    for _ in 0..9 {
        bench.lp.turn(None).unwrap();
    }
    let order = order.borrow();
    let firsts: Vec<SocketId> = order.chunks_exact(3).map(|round| round[0]).collect();
    assert_eq!(firsts.len(), 9);
    for three in firsts.windows(3) {
        assert!(three[0] != three[1] && three[1] != three[2] && three[2] != three[0], "{firsts:?}");
    }
}

#[test]
fn one_iteration_accepts_no_more_than_the_budget() {
    let options = LoopOptions { accept_budget: 2, ..LoopOptions::default() };
    let mut bench = bench_with(options, quiet);
    let _clients: Vec<_> = (0..7).map(|_| TcpStream::connect(bench.addr).unwrap()).collect();
    let mut opened = 0;
    while opened < 7 {
        bench.lp.turn(None).unwrap();
        let now = bench.lp.loop_mut().stats().opened;
        assert!(now - opened <= 2, "{} at once", now - opened);
        opened = now;
    }
}

#[test]
fn a_hook_that_a_hook_adds_has_its_turn_in_the_next_iteration() {
    let mut lp = Loop::with_data(Vec::new()).unwrap();
    lp.loop_mut().before_poll(|lp| {
        if lp.iteration() == 1 {
            lp.before_poll(|lp| {
                let n = lp.iteration();
                lp.data().push(("before", n));
                Hook::Idle
            });
            lp.after_poll(|lp| {
                let n = lp.iteration();
                lp.data().push(("after", n));
            });
        }
        Hook::Busy
    });
    for _ in 0..2 {
        lp.turn(None).unwrap();
    }
    assert_eq!(*lp.loop_mut().data(), [("after", 1), ("before", 2), ("after", 2)]);
}

#[test]
fn what_is_unrefed_does_not_keep_the_loop_alive_by_being_busy() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let (tick, mut ticks) = (Duration::from_millis(1), 0);
    let late = move |_: &mut LoopMut<'_>, _| {
        // Due again before it is over.
        spin(2 * tick);
        ticks += 1;
        assert!(ticks < 20, "nothing keeps the loop alive");
    };
    let timer = set.add_timer(Duration::ZERO, Some(tick), late).unwrap();
    set.unref_timer(timer, true).unwrap();
    lp.run().unwrap();

    let mut lp = Loop::with_options((), LoopOptions { read_budget: 1, ..LoopOptions::default() }).unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Context::builder::<(), ()>());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&[0; 1000]).unwrap();
    let id = set.adopt(ours, key, ()).unwrap();
    set.stream(id).unwrap().unref(true);
    lp.run().unwrap();
    assert!(lp.loop_mut().stats().bytes_in < 1000);
}

#[test]
fn bounds_of_zero_let_one_through() {
    let none =
        LoopOptions { receive_buffer: 0, read_budget: 0, accept_budget: 0, timer_budget: 0, ..LoopOptions::default() };
    let mut bench = bench_with(none, |what, s, _| {
        if what == "data" && s.data().len() == 3 {
            s.loop_mut().add_timer(Duration::ZERO, None, |lp, _| lp.stop()).unwrap();
        }
    });
    let mut client = TcpStream::connect(bench.addr).unwrap();
    client.write_all(b"abc").unwrap();
    let stopped = |lp: &mut LoopMut<'_>| lp.stats().timers_fired == 1;
    assert!(bench.lp.run_until(move |lp| stopped(lp) || lp.iteration() == 1000).unwrap());
    assert!(stopped(&mut bench.lp.loop_mut()));
}

#[test]
fn a_panic_in_pre_open_closes_the_descriptor_at_hand() {
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Context::builder::<(), ()>().on_pre_open(|_| panic!("on purpose")));
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let mut client = TcpStream::connect(set.listener(id).unwrap().local_addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| lp.run())).is_err());
    assert_eq!(client.read(&mut [0; 1]).map_err(|error| error.kind()), Ok(0));
}

#[test]
fn time_between_turns_is_nobodys_callback() {
    let system = Scripted::new(&[("192.0.2.1:80", Does::Accept(0))], 0);
    let mut lp = Loop::with_net((), LoopOptions::default(), Box::new(system.clone()));
    let slow = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&slow);
    let on_close = move |lp: &mut LoopMut<'_>, _| seen.borrow_mut().push((lp.stats().slow_callbacks, lp.now()));
    let key = lp.loop_mut().context(Context::builder::<(), ()>().on_close(on_close));
    for _ in 0..2 {
        lp.loop_mut().connect("192.0.2.1:80", key, (), ConnectOptions::default()).unwrap();
    }
    assert!(lp.run_until(|lp| lp.stats().opened == 2).unwrap());
    let hour = Duration::from_secs(3600);
    system.pass(hour);
    drop(lp);
    let now = Instant::ORIGIN.saturating_add(hour);
    assert_eq!(*slow.borrow(), [(0, now), (0, now)]);
}

#[test]
fn a_loop_that_cannot_poll_ends_with_all_its_callbacks() {
    let system = Scripted::new(&[("192.0.2.1:80", Does::Accept(0))], 0);
    let mut lp = Loop::with_net((), LoopOptions::default(), Box::new(system.clone()));
    let log = Log::default();
    let key = lp.loop_mut().context(Probe::new(&log, quiet).wordy());
    lp.loop_mut().connect("192.0.2.1:80", key, Vec::new(), ConnectOptions::default()).unwrap();
    assert!(lp.run_until(|lp| lp.stats().opened == 1).unwrap());
    system.0.borrow_mut().breaks = true;
    assert!(matches!(lp.turn(None), Err(Error::Io { op: "poll", .. })));
    assert_eq!(log.borrow()[2..], ["close LoopEnded with 0 bytes"]);
    assert!(!lp.handle().is_running() && matches!(lp.run(), Err(Error::Ended)));
}

#[test]
fn a_key_of_another_loop_is_stale() {
    let (mut one, mut other) = (bench(quiet), bench(quiet));
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let id = one.lp.loop_mut().adopt(ours, one.key, Vec::new()).unwrap();
    let (spare, _peer) = UnixStream::pair().unwrap();
    let mut set = one.lp.loop_mut();
    assert!(matches!(set.adopt(spare, other.key, Vec::new()), Err(Error::Stale)));
    assert!(matches!(set.listen(other.addr, other.key, ListenOptions::default()), Err(Error::Stale)));
    assert!(matches!(set.user(other.key, id), Err(Error::Stale)));
    assert!(matches!(set.with_socket(other.key, id, |_| ()), Err(Error::Stale)));
    assert_eq!((set.sockets(other.key).count(), set.sockets(one.key).count()), (0, 1));
    assert!(matches!(set.stream(id).unwrap().move_to(other.key, Vec::new()), Err(Error::Stale)));
    assert_eq!(other.lp.loop_mut().sockets(other.key).count(), 0);
}

#[test]
fn an_id_of_another_loop_is_stale() {
    let any = "127.0.0.1:0".parse().unwrap();
    let made = [(); 2].map(|()| {
        let mut bench = bench(quiet);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (key, mut set) = (bench.key, bench.lp.loop_mut());
        let socket = set.adopt(ours, key, Vec::new()).unwrap();
        let udp = set.bind_udp(any, Deaf, UdpOptions::default()).unwrap();
        let timer = set.add_timer(Duration::from_secs(1000), None, |_, _| ()).unwrap();
        (bench, theirs, socket, udp, timer)
    });
    let [(mut one, _theirs, ..), (other, _peer, socket, udp, timer)] = made;
    let (key, mut set) = (one.key, one.lp.loop_mut());
    assert!(matches!(set.stream(socket), Err(Error::Stale)));
    assert!(matches!(set.cancel(socket), Err(Error::Stale)));
    assert!(matches!(set.user(key, socket), Err(Error::Stale)));
    assert!(matches!(set.detach(socket), Err(Error::Stale)));
    assert!(matches!(set.listener(other.listener), Err(Error::Stale)));
    assert!(matches!(set.udp(udp), Err(Error::Stale)));
    assert!(matches!(set.remaining(timer), Err(Error::Stale)));
    assert!(matches!(set.close(timer), Err(Error::Stale)));
}

/// Hears packets and does nothing with them.
struct Deaf;

impl UdpHandler for Deaf {
    fn packets(&mut self, _: &mut Udp<'_, ()>, _: Packets<'_>) {}
}

#[test]
fn an_id_from_before_the_end_of_the_loop_is_stale_after_it() {
    let mut lp = Loop::new().unwrap();
    let before = lp.loop_mut().add_idle_timer(|_, _| ());
    lp.run().unwrap();
    let after = lp.loop_mut().add_idle_timer(|_, _| ());
    assert_ne!(before, after);
    assert!(matches!(lp.loop_mut().remaining(before), Err(Error::Stale)));
}

#[test]
fn a_panic_in_the_data_of_a_new_socket_closes_its_descriptor() {
    #[derive(Debug)]
    struct Fragile;
    impl Default for Fragile {
        fn default() -> Self {
            panic!("on purpose")
        }
    }
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Context::builder::<(), Fragile>());
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let mut client = TcpStream::connect(set.listener(id).unwrap().local_addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let handle = lp.handle();
    let panic = catch_unwind(AssertUnwindSafe(|| lp.run())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(handle.defer(|_| ()).unwrap_err().why, Why::Ended);
    // The loop still exists, but its descriptors are closed.
    assert_eq!(client.read(&mut [0; 1]).map_err(|error| error.kind()), Ok(0));
}
