//! Many loops: how a group starts, serves and ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::event_loop::{
    ContextKey, Error, Group, GroupListener, GroupOptions, Handle, Handler, ListenOptions, ListenerId, Loop, LoopMut,
    LoopOptions, Opened, Socket, Spread, Turn, Why,
};
use wharf_host::services::modbus::{Event, Server};

/// Tells every client which loop it is on, then echoes. The value of a loop is its index.
struct Greeter;

impl Handler<usize> for Greeter {
    type Data = ();

    fn open(&mut self, s: &mut Socket<'_, usize, ()>, how: Opened) {
        assert_eq!(how, Opened::Accepted);
        let index = u8::try_from(*s.loop_mut().data()).unwrap();
        assert_eq!(s.write(&[index]).unwrap(), 1);
    }

    fn data(&mut self, s: &mut Socket<'_, usize, ()>, bytes: &[u8]) {
        assert!(bytes != b"panic", "on purpose");
        assert_eq!(s.write(bytes).unwrap(), bytes.len());
    }
}

/// A group of greeters, with the listener of each loop.
struct Greeters {
    group: Group<usize>,
    listeners: Vec<ListenerId>,
    addr: SocketAddr,
}

fn greeters(loops: usize, options: ListenOptions, spread: Spread) -> Greeters {
    let listener = GroupListener::new("127.0.0.1:0".parse().unwrap(), options, spread);
    let (everywhere, listeners) = (listener.clone(), Arc::new(Mutex::new(Vec::new())));
    let opened = Arc::clone(&listeners);
    let options = GroupOptions { loops, ..GroupOptions::default() };
    let setup = move |index: usize, lp: &mut LoopMut<'_, usize>| {
        assert_eq!(*lp.data(), index);
        let key = lp.context(Greeter);
        let id = everywhere.listen(lp, key)?;
        assert_eq!(lp.listener(id)?.local_addr(), everywhere.local_addr());
        opened.lock().unwrap().push(id);
        Ok(())
    };
    let group = Group::with_options(options, |index| index, setup).unwrap();
    let listeners = listeners.lock().unwrap().clone();
    Greeters { group, listeners, addr: listener.local_addr() }
}

impl Greeters {
    fn close_listener(&self, index: usize) {
        let id = self.listeners[index];
        self.group.handles()[index].call(move |lp| lp.listener(id).unwrap().close()).unwrap();
    }
}

/// Connects, and says which loop answered.
fn greeted(addr: SocketAddr) -> (TcpStream, u8) {
    let mut client = TcpStream::connect(addr).unwrap();
    let index = greeting(&mut client);
    (client, index)
}

fn greeting(client: &mut TcpStream) -> u8 {
    let mut index = [0];
    client.read_exact(&mut index).unwrap();
    index[0]
}

/// Reads to the end, which may be a reset.
fn is_turned_away(client: &mut TcpStream) -> bool {
    client.read(&mut [0]).map_or(true, |read| read == 0)
}

fn in_turn() -> Greeters {
    greeters(2, ListenOptions::default(), Spread::InTurn)
}

#[test]
fn every_loop_has_its_own_thread_and_is_set_up_in_order() {
    let (sender, order) = channel();
    let options = GroupOptions { loops: 3, name: "test".to_owned(), ..GroupOptions::default() };
    let setup = move |index, _: &mut LoopMut<'_, usize>| {
        sender.send((index, thread::current().name().unwrap().to_owned())).unwrap();
        Ok(())
    };
    let group = Group::with_options(options, |index| 10 * index, setup).unwrap();
    let set_up: Vec<_> = order.try_iter().collect();
    assert_eq!(set_up, [(0, "test-0".to_owned()), (1, "test-1".to_owned()), (2, "test-2".to_owned())]);
    let runs =
        |handle: &Handle<usize>| handle.call(|lp| (*lp.data(), thread::current().name().unwrap().to_owned())).unwrap();
    let running: Vec<_> = group.handles().iter().map(runs).collect();
    assert_eq!(running, [(0, "test-0".to_owned()), (10, "test-1".to_owned()), (20, "test-2".to_owned())]);
}

#[test]
fn there_is_a_loop_for_each_core_unless_told_otherwise() {
    let group = Group::start(0, |_, _| Ok(())).unwrap();
    assert_eq!(group.handles().len(), thread::available_parallelism().unwrap().get());
}

#[cfg(target_os = "linux")]
#[test]
fn a_pinned_loop_stays_on_one_core() {
    use rustix::thread::sched_getaffinity;
    let options = GroupOptions { loops: 3, pin: true, ..GroupOptions::default() };
    let group = Group::with_options(options, |_| (), |_, _| Ok(())).unwrap();
    let allowed = sched_getaffinity(None).unwrap();
    for (index, handle) in group.handles().iter().enumerate() {
        let own = handle.call(|_| sched_getaffinity(None).unwrap()).unwrap();
        let cores = |set: &rustix::thread::CpuSet| -> Vec<usize> {
            (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
        };
        let allowed = cores(&allowed);
        assert_eq!(cores(&own), [allowed[index % allowed.len()]]);
    }
}

#[test]
fn connections_that_are_handed_over_land_on_the_loops_in_turn() {
    let greeters = in_turn();
    let clients: Vec<_> = (0..6).map(|_| greeted(greeters.addr)).collect();
    let order: Vec<u8> = clients.iter().map(|(_, index)| *index).collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 1]);
    for (mut client, index) in clients {
        client.write_all(&[b'a' + index]).unwrap();
        assert_eq!(greeting(&mut client), b'a' + index);
    }
    let of = |handle: &Handle<usize>| handle.call(|lp| lp.stats()).unwrap();
    let [first, second] = [&greeters.group.handles()[0], &greeters.group.handles()[1]].map(of);
    assert_eq!((first.accepted, first.taken, first.refused), (3, 6, 0));
    assert_eq!((second.accepted, second.taken, second.refused), (3, 0, 0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_that_spreads_uses_the_listeners_of_all_loops() {
    let greeters = greeters(2, ListenOptions::default(), Spread::default());
    // The system chooses by a hash of the client's port, so that a thousand clients miss a loop once in 2^999 runs.
    let mut seen = [false; 2];
    let clients = (0..1000).take_while(|_| {
        let (_client, index) = greeted(greeters.addr);
        seen[usize::from(index)] = true;
        seen != [true; 2]
    });
    let clients = clients.count() as u64 + 1;
    let stats = greeters.group.stats().unwrap();
    assert_eq!((stats.accepted, stats.taken), (clients, 0));
    assert_eq!(seen, [true; 2]);
}

#[test]
fn a_loop_that_has_closed_its_listener_is_passed_over() {
    let greeters = in_turn();
    greeters.close_listener(0);
    let (_first, _second) = (greeted(greeters.addr), greeted(greeters.addr));
    assert_eq!((_first.1, _second.1), (1, 1));
}

#[test]
fn the_last_listener_of_a_group_closes_the_door() {
    let greeters = in_turn();
    let (client, _) = greeted(greeters.addr);
    greeters.close_listener(1);
    greeters.close_listener(0);
    drop(client);
    // With nothing to listen for and nobody to serve, both loops end by themselves.
    let stats = greeters.group.join().unwrap();
    assert_eq!((stats.accepted, stats.closed_ended), (1, 0));
    assert!(TcpStream::connect(greeters.addr).is_err());
}

#[test]
fn a_group_that_has_closed_its_last_listener_listens_again_at_once() {
    let zero = Some(Duration::ZERO);
    let listener = GroupListener::new("127.0.0.1:0".parse().unwrap(), ListenOptions::default(), Spread::InTurn);
    let mut loops = [0, 1].map(|index| Loop::with_data(index).unwrap());
    let keys = loops.each_mut().map(|lp| lp.loop_mut().context(Greeter));
    let first = listener.listen(&mut loops[0].loop_mut(), keys[0]).unwrap();
    let addr = listener.local_addr();
    let close = |lp: &mut Loop<usize>, id| lp.loop_mut().listener(id).unwrap().close();
    let greets = |loops: &mut [Loop<usize>; 2], index: u8| {
        let mut client = TcpStream::connect(addr).unwrap();
        let before = loops[usize::from(index)].loop_mut().stats().accepted;
        while loops[usize::from(index)].loop_mut().stats().accepted == before {
            loops.iter_mut().for_each(|lp| assert!(lp.turn(zero).is_ok()));
        }
        assert_eq!(greeting(&mut client), index);
    };
    // In the same breath, after the listener is gone, and after all that follows from it.
    let mut last = first;
    for turns in 0..4 {
        close(&mut loops[0], last);
        for _ in 0..turns {
            loops[0].turn(zero).unwrap();
        }
        last = listener.listen(&mut loops[0].loop_mut(), keys[0]).unwrap();
        assert_eq!(loops[0].loop_mut().listener(last).unwrap().local_addr(), addr);
        greets(&mut loops, 0);
    }
    // The other loop as well, whoever accepts for it.
    for turns in 0..4 {
        close(&mut loops[0], last);
        for _ in 0..turns {
            loops[0].turn(zero).unwrap();
        }
        let other = listener.listen(&mut loops[1].loop_mut(), keys[1]).unwrap();
        greets(&mut loops, 1);
        last = listener.listen(&mut loops[0].loop_mut(), keys[0]).unwrap();
        close(&mut loops[1], other);
        loops[1].turn(zero).unwrap();
    }
    // What nobody takes up again goes, and keeps no loop alive.
    close(&mut loops[0], last);
    loops.iter_mut().for_each(|lp| lp.run().unwrap());
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_loop_listens_anew_when_the_one_that_accepted_for_all_has_ended() {
    let listener = GroupListener::new("127.0.0.1:0".parse().unwrap(), ListenOptions::default(), Spread::InTurn);
    let mut loops = [0, 1].map(|index| Loop::with_data(index).unwrap());
    let ids = loops.each_mut().map(|lp| {
        let key = lp.loop_mut().context(Greeter);
        (key, listener.listen(&mut lp.loop_mut(), key).unwrap())
    });
    let [mut first, mut second] = loops;
    first.loop_mut().stop();
    first.run().unwrap();
    assert!(TcpStream::connect(listener.local_addr()).is_err());
    let (key, id) = ids[1];
    second.loop_mut().listener(id).unwrap().close();
    let id = listener.listen(&mut second.loop_mut(), key).unwrap();
    let mut client = TcpStream::connect(listener.local_addr()).unwrap();
    assert!(second.run_until(|lp| lp.stats().accepted == 1).unwrap());
    assert_eq!(greeting(&mut client), 1);
    // It closes as well, and nothing else keeps the loop alive.
    drop(client);
    second.loop_mut().listener(id).unwrap().close();
    second.run().unwrap();
}

#[test]
fn the_door_of_a_group_closes_although_its_loop_has_no_room_for_calls() {
    let listener = GroupListener::new("127.0.0.1:0".parse().unwrap(), ListenOptions::default(), Spread::InTurn);
    let each = LoopOptions { deferred_limit: 1, ..LoopOptions::default() };
    let mut lp = Loop::with_options(0, each).unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Greeter);
    let id = listener.listen(&mut set, key).unwrap();
    // Step 8 lets the listener go; the queue is full by then.
    let handle = set.handle();
    handle.defer(move |lp| lp.listener(id).unwrap().close()).unwrap();
    set.add_timer(Duration::ZERO, None, |lp, _| {
        let handle = lp.handle();
        let again = handle.clone();
        handle.defer(move |_| again.defer(|_| ()).unwrap()).unwrap();
    })
    .unwrap();
    for _ in 0..5 {
        lp.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(lp.turn(Some(Duration::ZERO)).unwrap(), Turn::Idle);
    assert!(TcpStream::connect(listener.local_addr()).is_err());
}

#[test]
fn a_full_loop_keeps_a_backlog_and_beyond_it_clients_are_turned_away() {
    let options = ListenOptions { max_sockets: Some(1), backlog: 4, ..ListenOptions::default() };
    let greeters = greeters(2, options, Spread::InTurn);
    let (first, second) = (greeted(greeters.addr), greeted(greeters.addr));
    assert_eq!((first.1, second.1), (0, 1));
    let handed_over = || greeters.group.handles()[0].call(|lp| lp.stats().taken).unwrap();
    let mut waiting: Vec<_> = (1..=8)
        .map(|number| {
            let client = TcpStream::connect(greeters.addr).unwrap();
            // The system's backlog is as short: it must not be what is full.
            while handed_over() < 2 + number {}
            client
        })
        .collect();
    assert!(is_turned_away(&mut TcpStream::connect(greeters.addr).unwrap()));
    drop(first);
    assert_eq!(greeting(&mut waiting[0]), 0);
    drop(second);
    assert_eq!(greeting(&mut waiting[1]), 1);
    assert_eq!(greeters.group.stats().unwrap().accepted, 4);
}

/// What becomes of a client that waits in the backlog when the listener closes.
fn closed_with_one_waiting(options: ListenOptions) -> (u64, std::io::Result<usize>) {
    let mut lp = Loop::with_data(7).unwrap();
    let mut set = lp.loop_mut();
    let key: ContextKey<Greeter> = set.context(Greeter);
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, options).unwrap();
    let mut client = TcpStream::connect(set.listener(id).unwrap().local_addr()).unwrap();
    set.listener(id).unwrap().close();
    lp.turn(Some(Duration::ZERO)).unwrap();
    (lp.loop_mut().stats().accepted, client.read(&mut [0]))
}

#[test]
fn closing_one_of_several_listeners_first_drains_its_backlog() {
    let (accepted, read) = closed_with_one_waiting(ListenOptions { reuse_port: true, ..ListenOptions::default() });
    assert_eq!((accepted, read.unwrap()), (1, 1));
    // One that is alone does not: nobody expects to be served by it any more.
    let (accepted, read) = closed_with_one_waiting(ListenOptions::default());
    assert!(accepted == 0 && read.is_err(), "{read:?}");
}

#[test]
fn stopping_from_any_thread_ends_every_loop() {
    let greeters = in_turn();
    let (client, _) = greeted(greeters.addr);
    thread::scope(|scope| scope.spawn(|| greeters.group.stop()).join().unwrap());
    let stats = greeters.group.join().unwrap();
    assert_eq!((stats.opened, stats.closed_ended), (1, 1));
    assert!(TcpStream::connect(greeters.addr).is_err());
    drop(client);
}

#[test]
fn a_loop_that_is_stopped_stops_its_group() {
    for index in 0..2 {
        let greeters = in_turn();
        let others = greeters.group.handles().to_vec();
        others[index].stop();
        greeters.group.join().unwrap();
        assert!(others.iter().all(|handle| handle.defer(|_| ()).is_err_and(|rejected| rejected.why == Why::Ended)));
    }
}

#[test]
fn a_panic_in_one_loop_stops_the_group_and_is_passed_on_by_join() {
    let greeters = in_turn();
    let ((mut bystander, zero), (mut villain, one)) = (greeted(greeters.addr), greeted(greeters.addr));
    assert_eq!((zero, one), (0, 1));
    villain.write_all(b"panic").unwrap();
    assert!(is_turned_away(&mut bystander) && is_turned_away(&mut villain));
    let handles = greeters.group.handles().to_vec();
    let panic = catch_unwind(AssertUnwindSafe(|| greeters.group.join())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    assert!(handles.iter().all(|handle| !handle.is_running()));
}

#[test]
fn a_dropped_group_has_ended() {
    let greeters = in_turn();
    let handles = greeters.group.handles().to_vec();
    drop(greeters.group);
    assert!(handles.iter().all(|handle| handle.defer(|_| ()).is_err_and(|rejected| rejected.why == Why::Ended)));
    assert!(TcpStream::connect(greeters.addr).is_err());
}

/// Starts three loops of which the second goes wrong in its setup; the handles of those that were set up.
fn with_a_bad_setup(go_wrong: fn() -> Error) -> (Result<Group, Error>, Vec<Handle>) {
    let handles = Arc::new(Mutex::new(Vec::new()));
    let set_up = Arc::clone(&handles);
    let group = Group::start(3, move |index, lp| {
        if index == 1 {
            return Err(go_wrong());
        }
        set_up.lock().unwrap().push(lp.handle());
        Ok(())
    });
    let handles = handles.lock().unwrap().clone();
    (group, handles)
}

#[test]
fn a_setup_that_fails_on_one_loop_is_returned_and_the_others_end() {
    let (group, handles) = with_a_bad_setup(|| Error::OutOfRange { asked: 1, max: 0 });
    assert!(matches!(group, Err(Error::OutOfRange { asked: 1, max: 0 })));
    // The first was set up and has never run; the third was not tried.
    let [first] = &handles[..] else { panic!("{handles:?}") };
    assert_eq!(first.defer(|_| ()).unwrap_err().why, Why::Ended);
}

#[test]
fn a_panic_in_a_setup_is_passed_on_by_start() {
    let panic = catch_unwind(|| with_a_bad_setup(|| panic!("on purpose"))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
}

#[test]
fn loops_without_work_live_until_join() {
    let group = Group::start(2, |_, _| Ok(())).unwrap();
    // Two calls can share an iteration; of four, the last comes later than the first.
    for handle in group.handles() {
        let iterations = [(); 4].map(|()| handle.call(|lp| lp.iteration()).unwrap());
        assert!(iterations[3] > iterations[0], "{iterations:?}");
    }
    group.join().unwrap();
}

#[test]
fn counters_are_summed_over_all_loops_those_that_have_ended_included() {
    let group = Group::start(3, |_, _| Ok(())).unwrap();
    for (index, handle) in group.handles().iter().enumerate() {
        for _ in 0..10_usize.pow(u32::try_from(index).unwrap()) {
            handle.defer_fn(|_| ()).unwrap();
        }
    }
    // The questions are deferred calls as well, one a loop.
    assert_eq!(group.stats().unwrap().deferred_run, 111 + 3);
    let inside = group.handles()[0].clone();
    let all = Arc::new(group);
    let same = Arc::clone(&all);
    let refused = inside.call(move |_| matches!(same.stats(), Err(Error::OnLoopThread))).unwrap();
    assert!(refused);
    let group = Arc::into_inner(all).expect("the call is over");
    group.stop();
    // Some may still answer and others have ended; what they counted is known all the same.
    let known = group.stats().unwrap();
    assert!(known.deferred_run > 111 + 3, "{known:?}");
    assert_eq!(group.join().unwrap().deferred_run, known.deferred_run);
}

#[test]
fn two_modbus_servers_on_two_loops_are_served_at_once() {
    // Each write is answered only when the other server is in the middle of one.
    let (both, addrs) = (Arc::new(Barrier::new(2)), Arc::new(Mutex::new(Vec::new())));
    let bound = Arc::clone(&addrs);
    let group = Group::start(2, move |index, lp| {
        let described = Described {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            units: vec![Unit::with_size(1, 10 * (1 + u32::try_from(index).unwrap()))],
            ..Described::new("server")
        };
        let both = Arc::clone(&both);
        let meet = move |event: &Event| {
            if matches!(event, Event::Changed(_)) {
                both.wait();
            }
        };
        let server = Server::bind(lp, &described, meet)?;
        bound.lock().unwrap().extend(server.local_addrs());
        Ok(())
    })
    .unwrap();
    let ask = |addr: SocketAddr| {
        let mut client = TcpStream::connect(addr).unwrap();
        for _ in 0..10 {
            let mut echo = [0; 12];
            client.write_all(&[0, 1, 0, 0, 0, 6, 1, 6, 0, 5, 0, 1]).unwrap();
            client.read_exact(&mut echo).unwrap();
            assert_eq!(echo[7], 6);
            client.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 15, 0, 1]).unwrap();
            let mut header = [0; 8];
            client.read_exact(&mut header).unwrap();
            let mut rest = vec![0; usize::from(header[5]) - 2];
            client.read_exact(&mut rest).unwrap();
            // Only the second server has a register 15.
            assert_eq!(header[7], if addr == addrs.lock().unwrap()[0] { 0x83 } else { 3 });
        }
    };
    let both = addrs.lock().unwrap().clone();
    thread::scope(|scope| both.iter().for_each(|addr| drop(scope.spawn(|| ask(*addr)))));
    group.stop();
    assert_eq!(group.join().unwrap().accepted, 2);
}
