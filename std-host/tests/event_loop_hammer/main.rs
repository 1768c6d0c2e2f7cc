//! The hammer: random connections over real sockets, each byte of which is checked.
//!
//! A group of one or two loops holds both sides of most connections; the rest are blocking clients. Sockets act in
//! callbacks, timers and calls that another thread defers, and go from loop to loop. `tests/tests/event_loop/hammer.rs`
//! of `wharf-tests` does the same in the simulated world, where a seed repeats everything; here it repeats the choices,
//! and the system adds its own order.
//!
//! `WHARF_SEED=N` and `WHARF_HAMMER_CONNECTIONS=N` take the place of the numbers of the test.
#![cfg(target_os = "linux")]

mod acts;
mod begin;
mod raw;
mod side;
mod subject;
mod world;

use acts::nudge;
use begin::begin;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use subject::Subject;
use wharf_host::event_loop::{
    Error, Group, GroupOptions, Handle, ListenOptions, LoopMut, LoopOptions, Stats, UnixListenOptions,
};
use wharf_tests::rng::{Rng, seeds};
use world::{At, Here, Manner, Place, Tls, Waited, World, lock};

/// How long nothing may happen to any socket.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says with which seed a test has failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("WHARF_SEED={} repeats this", self.0);
        }
    }
}

#[test]
fn random_connections_lose_nothing_and_leave_nothing() {
    let wanted = std::env::var("WHARF_HAMMER_CONNECTIONS");
    let wanted = wanted.map_or(300, |text| text.parse().expect("WHARF_HAMMER_CONNECTIONS is a number"));
    for seed in seeds(2) {
        let _seed = Seed(seed);
        println!("WHARF_SEED={seed} WHARF_HAMMER_CONNECTIONS={wanted}");
        // The paths of all listeners are in one directory.
        let folder = std::env::temp_dir().join(format!("wharf-hammer-{}-{seed}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let before = descriptors();
        hammer(seed, wanted, &folder);
        assert_eq!(descriptors(), before, "descriptors are left");
        // Refused if a path is left.
        fs::remove_dir(&folder).unwrap();
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn hammer(seed: u64, wanted: u64, folder: &Path) {
    let mut rng = Rng::new(seed);
    // A few worlds have no TLS, because in those every byte can be counted.
    let tls = (!seed.is_multiple_of(4)).then(Tls::new);
    let loops = if seed.is_multiple_of(2) { 1 } else { 2 };
    let world = Arc::new(World::new(wanted, tls));
    let group = start(&world, &mut rng, loops, folder.to_owned());
    let listening = descriptors();
    world.handles.set(group.handles().to_vec()).expect("there is one group");
    let (stop, stops) = mpsc::channel();
    let disturber = {
        let (handles, rng) = (group.handles().to_vec(), rng.fork());
        thread::spawn(move || disturb(&handles, rng, &stops))
    };

    wait(&world, &group);
    let closed: usize = group.handles().iter().map(|handle| handle.call(close_listeners).unwrap()).sum();
    // Some may have been accepted last.
    wait(&world, &group);
    drop(stop);
    disturber.join().unwrap();
    for handle in group.handles() {
        handle.call(close_nudger).unwrap();
    }
    // Clients that are gone may have left a handshake behind, which nobody holds a ticket for.
    while group.stats().unwrap().sockets > 0 {
        thread::yield_now();
    }
    assert_eq!(descriptors(), listening - closed, "descriptors are left while the loops live");
    // Not stopped: nothing is left that would keep the loops alive.
    let stats = group.join().unwrap();
    check(&world, &stats);
    side::settle(std::mem::take(&mut lock(&world.reports)));
    println!("{stats:?}");
}

/// Loops that listen for polite and rough clients.
fn start(world: &Arc<World>, rng: &mut Rng, loops: usize, folder: PathBuf) -> Group<Here> {
    let least = *rng.pick(&[1, 1000, 70_000]);
    let each = LoopOptions {
        tx_limit: *rng.pick(&[1000, 20_000, 200_000, 1024 * 1024]),
        receive_buffer: least + rng.index(200_000),
        read_budget: least + rng.index(200_000),
        ..LoopOptions::default()
    };
    let options = GroupOptions { loops, each, ..GroupOptions::default() };
    let (seed, world) = (rng.next_u64(), Arc::clone(world));
    let data = move |index: usize| {
        let (world, rng) = (Arc::clone(&world), Rng::new(seed.wrapping_add(index as u64)));
        Here { world, rng, keys: Vec::new(), listeners: Vec::new(), nudger: None }
    };
    Group::with_options(options, data, move |index, lp| set_up(index, lp, &folder)).unwrap()
}

fn set_up(index: usize, lp: &mut LoopMut<'_, Here>, folder: &Path) -> Result<(), Error> {
    for manner in Manner::ALL {
        let rng = lp.data().rng.fork();
        let key = lp.context(Subject { manner, rng });
        lp.data().keys.push(key);
    }
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    for rough in [false, true] {
        let manual = lp.data().rng.chance(1, 2);
        let key = lp.data().key(Manner { rough, manual });
        let tcp = lp.listen(any, key, ListenOptions::default())?;
        let addr = lp.listener(tcp)?.local_addr();
        let path = folder.join(format!("{index}-{rough}"));
        let unix = lp.listen_unix(&path, key, UnixListenOptions::default())?;
        let world = Arc::clone(&lp.data().world);
        lp.data().listeners.extend([tcp, unix]);
        lock(&world.places).extend([At::Tcp(addr), At::Unix(path)].map(|at| Place { rough, at }));
        if let Some(tls) = &world.tls {
            let secure = lp.listen_tls(any, key, &tls.server, ListenOptions::default())?;
            let at = At::Tls(lp.listener(secure)?.local_addr());
            lp.data().listeners.push(secure);
            lock(&world.places).push(Place { rough, at });
        }
    }
    let each = Duration::from_millis(1);
    let nudger = lp.add_timer(each, Some(each), |lp: &mut LoopMut<'_, Here>, _| {
        begin(lp);
        nudge(lp, 4);
    })?;
    lp.data().nudger = Some(nudger);
    Ok(())
}

/// Has sockets acted on by deferred calls, of all three kinds.
fn disturb(handles: &[Handle<Here>], mut rng: Rng, stops: &mpsc::Receiver<()>) {
    let shared = Arc::new(|lp: &mut LoopMut<'_, Here>| nudge(lp, 2));
    while let Err(mpsc::RecvTimeoutError::Timeout) = stops.recv_timeout(Duration::from_micros(rng.below(3000))) {
        let (handle, times) = (rng.pick(handles).clone(), rng.index(3));
        let taken = match rng.below(3) {
            0 => handle.defer(move |lp| nudge(lp, times)).is_ok(),
            1 => handle.defer_shared(Arc::clone(&shared)).is_ok(),
            _ => handle.defer_fn(|lp| nudge(lp, 1)).is_ok(),
        };
        if !taken {
            // A loop has panicked, which the test will say.
            return;
        }
    }
}

fn close_listeners(lp: &mut LoopMut<'_, Here>) -> usize {
    let listeners = std::mem::take(&mut lp.data().listeners);
    for id in &listeners {
        lp.listener(*id).expect("nobody else closes it").close();
    }
    listeners.len()
}

fn close_nudger(lp: &mut LoopMut<'_, Here>) {
    let nudger = lp.data().nudger.take().expect("it is closed once");
    lp.close(nudger).expect("it repeats");
}

fn wait(world: &World, group: &Group<Here>) {
    match world.wait(PATIENCE) {
        Waited::Over => {}
        Waited::Failed => panic!("a side was lost in a panic"),
        Waited::Stuck => {
            for handle in group.handles() {
                // Past the harness, which shows nothing if a loop never ends.
                let seen = handle.defer(|lp| drop(write!(std::io::stderr(), "{}", summary(lp))));
                assert!(seen.is_ok(), "nothing has happened for a long time, and a loop has ended");
            }
            // What the loops have to say is said first: `stats` comes after it.
            panic!("nothing has happened for a long time: {:?}", group.stats());
        }
    }
}

/// The sockets that exist.
fn summary(lp: &mut LoopMut<'_, Here>) -> String {
    let mut lines = String::new();
    for manner in Manner::ALL {
        let key = lp.data().key(manner);
        let ids: Vec<_> = lp.sockets(key).collect();
        for id in ids {
            let line = lp.with_socket(key, id, |s| format!("{manner:?} queued {} {s:?}\n", s.queued()));
            lines += &line.unwrap_or_default();
        }
    }
    lines
}

/// What the loops have counted fits what their handlers have seen.
fn check(world: &World, stats: &Stats) {
    let seen = *lock(&world.seen);
    let ours = stats.closed_local + stats.closed_aborted;
    let closed = stats.closed_peer + stats.closed_reset + ours + stats.closed_failed;
    assert_eq!((stats.opened, closed), (seen.opened, seen.opened + seen.unopened), "{stats:?}");
    assert_eq!((seen.closed, stats.closed_ended), (seen.opened, 0), "{stats:?}");
    assert_eq!((stats.sockets, stats.queued, stats.handshakes_waiting), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.unsent, stats.discarded), (seen.unsent, seen.discarded), "{stats:?}");
    let plain = (seen.received, seen.sent);
    if world.tls.is_none() {
        assert_eq!((stats.bytes_in, stats.bytes_out), plain, "{stats:?}");
    }
}
