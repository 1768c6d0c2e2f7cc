//! Many connections under random scripts, against the model.
//!
//! A *polite* world keeps all its promises, and so do its handlers: each sends what it has planned, going on at
//! `writable` alone, and then ends its side. Nothing may be lost and nothing may hang. In a *rough* one connections
//! break, descriptors run out, the clock jumps, and handlers close and abort themselves and each other at any time;
//! what arrives must still be right as far as it comes. In both, sockets go from handler to handler and, if they are
//! plain, from loop to loop. Most worlds have TLS as well; in the others every byte of the system can be counted.
//!
//! `std-host/tests/event_loop_hammer` does the same over the real system. `WHARF_SEED=N`, `WHARF_SEEDS=N` and
//! `WHARF_HAMMER_CONNECTIONS=N` take the place of the numbers of the tests.

mod acts;
mod begin;
mod model;
mod subject;

use acts::{act, finish};
use begin::{Places, Tls, begin};
use model::{Model, Name};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use subject::Subject;
use wharf_host::event_loop::{ContextKey, Handle, ListenerId, LoopMut, LoopOptions, Stats};
use wharf_tests::rng::{Rng, seeds};
use wharf_tests::sim_net::{Faults, Sim, World};

/// Connections that live at one time, at most.
const CROWD: u64 = 100;

/// What the handlers of a run share.
struct Shared {
    rough: bool,
    world: World,
    model: RefCell<Model>,
    tls: Option<Tls>,
    lanes: RefCell<Vec<Lane>>,
    places: RefCell<Places>,
    /// Bytes of the longest usual write.
    most: u64,
    /// Bytes that may be written beyond that in all.
    spare: Cell<u64>,
    /// New sockets end at once.
    closing: Cell<bool>,
    /// Connections that were begun and failed, or of which nothing was to be heard.
    failed: Cell<u64>,
}

/// A loop as the others see it.
#[derive(Clone)]
struct Lane {
    handle: Handle,
    /// Its handlers: one that reads by hand and one that does not.
    keys: [ContextKey<Subject>; 2],
    /// Through which connections of TLS are accepted.
    door: ContextKey<Subject>,
}

/// The data of a socket: it goes along.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// 0 before it has opened, unless it was begun by us.
    name: Name,
    /// Bytes that a polite socket will still send.
    plan: u64,
    /// It sends nothing before a timeout.
    sleeps: bool,
    waits: Waits,
}

/// What a polite socket hears before it ends its side. Where one waits for all bytes and the other for the end, no end
/// comes behind the bytes that would wake up a loop which has forgotten some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Waits {
    #[default]
    Never,
    /// All that its peer sends.
    ForAll,
    /// The peer's end.
    ForEnd,
}

impl Shared {
    /// Any of the handlers of any loop.
    fn somewhere(&self, rng: &mut Rng) -> (Handle, ContextKey<Subject>) {
        let lanes = self.lanes.borrow();
        let lane = rng.pick(&lanes);
        (lane.handle.clone(), *rng.pick(&lane.keys))
    }
}

/// Says with which seed a test has failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("WHARF_SEED={} repeats this", self.0);
        }
    }
}

/// What the environment asks for.
fn wanted() -> Option<u64> {
    let text = std::env::var("WHARF_HAMMER_CONNECTIONS").ok()?;
    Some(text.parse().expect("WHARF_HAMMER_CONNECTIONS is a number"))
}

/// What a run leaves behind.
struct Run {
    model: Model,
    has_tls: bool,
    stats: Vec<Stats>,
}

/// Some loops with listeners, and connections from all to all: as many as are wanted, or some.
fn run(seed: u64, rough: bool, wanted: Option<u64>) -> Run {
    let mut rng = Rng::new(seed);
    let faults = match (rng.below(4), rough) {
        (0, _) => {
            let least = *rng.pick(&[1, 1000, 65_536]);
            Faults { capacity: least..=least * 2, ..Faults::none() }
        }
        (_, false) => Faults::harmless(&mut rng),
        (_, true) => Faults::all(&mut rng),
    };
    // A byte at a time, a lot takes for ever.
    let roomy = *faults.capacity.start() >= 1000;
    let most = if roomy && rng.chance(1, 2) { 200_000 } else { 1000 };
    let spare = if roomy && faults.short == 0 && faults.would_block < 100 { 12 << 20 } else { 0 };
    let model = Model::new(&faults);
    let mut sim = Sim::new(rng.next_u64(), faults);
    let shared = Rc::new(Shared {
        rough,
        world: sim.world.clone(),
        model: RefCell::new(model),
        tls: rng.chance(3, 4).then(|| Tls::new(&mut rng)),
        lanes: RefCell::default(),
        places: RefCell::default(),
        most,
        spare: Cell::new(spare),
        closing: Cell::new(false),
        failed: Cell::new(0),
    });
    let loops = 1 + rng.index(3);
    for number in 0..loops {
        add_loop(&mut sim, &mut rng, &shared, number);
    }
    let listeners = listen(&mut sim, &mut rng, &shared);

    let mut left = wanted.unwrap_or_else(|| rng.between(1, 24));
    while left > 0 {
        let crowd = left.min(CROWD);
        left -= crowd;
        live(&mut sim, &mut rng, &shared, crowd);
        let open = sim.world.open();
        assert_eq!(open, listeners.len(), "descriptors are left: {:?}", shared.model.borrow().unsettled());
    }
    for (number, id) in listeners {
        sim.lp(number).listener(id).unwrap().close();
    }
    sim.run_until_idle();
    assert_eq!((sim.world.open(), sim.world.calls().strays), (0, 0));
    shared.places.borrow().check_gone(&sim.world);

    let stats: Vec<Stats> = (0..loops).map(|number| sim.lp(number).stats()).collect();
    drop(sim);
    let Ok(shared) = Rc::try_unwrap(shared) else { panic!("the handlers are gone with their loops") };
    let (model, has_tls) = (shared.model.into_inner(), shared.tls.is_some());
    assert_eq!(model.begun_and_opened() + shared.failed.get(), model.begun(), "connections begun");
    Run { model, has_tls, stats }
}

fn add_loop(sim: &mut Sim, rng: &mut Rng, shared: &Rc<Shared>, number: usize) {
    let least = *rng.pick(&[1, 100, 70_000]);
    // A byte at a time, and late, a handshake takes minutes.
    let hour = Duration::from_secs(3600);
    let spans = [Duration::from_millis(1), Duration::from_millis(200), Duration::from_secs(10), hour];
    let options = LoopOptions {
        handshake_budget: *rng.pick(&[1, 2, 5]),
        handshake_timeout: if shared.rough { *rng.pick(&spans) } else { hour },
        tx_limit: *rng.pick(&[1, 1000, 200_000, 6 << 20]) + rng.index(2000),
        receive_buffer: rng.index(100_000) + least,
        read_budget: rng.index(100_000) + least,
        ..LoopOptions::default()
    };
    sim.add_loop((), options);
    let mut lp = sim.lp(number);
    let mut context = |manual, secure| {
        let (shared, rng) = (Rc::clone(shared), rng.fork());
        lp.context(Subject { shared, rng, number, manual, secure })
    };
    let (keys, door) = ([false, true].map(|manual| context(manual, false)), context(number % 2 == 1, true));
    shared.lanes.borrow_mut().push(Lane { handle: lp.handle(), keys, door });
}

/// The listeners, and on which loop each is.
fn listen(sim: &mut Sim, rng: &mut Rng, shared: &Shared) -> Vec<(usize, ListenerId)> {
    let mut listeners = Vec::new();
    for number in 0..sim.loops() {
        let lane = shared.lanes.borrow()[number].clone();
        let mut places = shared.places.borrow_mut();
        for id in places.listen(&mut sim.lp(number), number, (&lane, rng), shared.tls.as_ref()) {
            listeners.push((number, id));
        }
    }
    listeners
}

/// A crowd of connections from the first to the last.
fn live(sim: &mut Sim, rng: &mut Rng, shared: &Rc<Shared>, count: u64) {
    shared.closing.set(false);
    begin_at_times(sim, rng, shared, count);
    if shared.rough {
        sim.run_for(Duration::from_millis(10 * count));
        disturb(sim, rng, shared);
        shared.closing.set(true);
        // What is begun from now on ends by itself.
        sim.run_for(Duration::from_millis(10 * count));
        for number in 0..sim.loops() {
            let open = shared.model.borrow().open_on(number);
            for name in open {
                finish(shared, &mut sim.lp(number), name);
            }
        }
    }
    sim.run_until_idle();
}

/// The first are begun at once, the others one after the other.
fn begin_at_times(sim: &mut Sim, rng: &mut Rng, shared: &Rc<Shared>, count: u64) {
    for at in 0..count {
        let (number, shared, mut rng) = (rng.index(sim.loops()), Rc::clone(shared), rng.fork());
        let at_once = at < 20 && rng.chance(1, 2);
        let delay = if at_once { Duration::ZERO } else { Duration::from_micros(rng.below(10_000 * at.max(10))) };
        sim.lp(number).add_timer(delay, None, move |lp, _| begin(&shared, &mut rng, lp, number)).unwrap();
    }
}

/// Acts on sockets between the iterations too, for those that would never hear anything.
fn disturb(sim: &mut Sim, rng: &mut Rng, shared: &Shared) {
    for _ in 0..rng.below(30) {
        for number in 0..sim.loops() {
            let open = shared.model.borrow().open_on(number);
            for name in open {
                act(shared, rng, &mut sim.lp(number), name);
            }
        }
        // Timeouts take seconds, and minutes.
        let most = *rng.pick(&[50, 50, 50, 50, 50, 50, 5_000, 150_000]);
        sim.run_for(Duration::from_micros(rng.below(most * 1000)));
    }
}

/// What the loops have counted fits what their handlers have seen.
fn check(run: &Run) {
    let (mut opened, mut all_closed, mut handshakes, mut bytes) = (0, 0, [0; 2], [0; 4]);
    for stats in &run.stats {
        let ours = stats.closed_local + stats.closed_aborted;
        let closed = stats.closed_peer + stats.closed_reset + ours + stats.closed_failed;
        assert_eq!((stats.sockets, stats.queued, stats.handshakes_waiting), (0, 0, 0), "{stats:?}");
        (opened, all_closed) = (opened + stats.opened, all_closed + closed);
        handshakes = [handshakes[0] + stats.handshakes, handshakes[1] + stats.handshakes_failed];
        let counted = [stats.bytes_in, stats.bytes_out, stats.unsent, stats.discarded];
        for (sum, count) in bytes.iter_mut().zip(counted) {
            *sum += count;
        }
    }
    let seen = run.model.seen;
    assert_eq!((opened, opened, all_closed), (seen.opened, seen.closed, seen.closed + seen.unopened));
    assert_eq!(handshakes[0], seen.secure, "handshakes done");
    // Those of clients are failures to connect.
    assert!(handshakes[1] >= seen.unopened, "{handshakes:?} {seen:?}");
    assert_eq!(bytes[2..], [seen.unsent, seen.discarded]);
    // With TLS the loop counts what the system has moved.
    let exact = bytes[..2] == [seen.received, seen.sent];
    assert!(exact || run.has_tls && bytes[0] >= seen.received && bytes[1] >= seen.sent, "{bytes:?} {seen:?}");
}

/// What is said of a socket in the trace.
fn say(shared: &Shared, lp: &LoopMut<'_>, name: Name, what: &str, number: u64) {
    let line = format!("{} {} {what} {number}", lp.now().as_micros(), name.0);
    shared.model.borrow_mut().trace.push(line);
}

#[test]
fn polite_streams_lose_nothing_and_never_hang() {
    for seed in seeds(40) {
        let _seed = Seed(seed);
        let run = run(seed, false, wanted());
        check(&run);
        run.model.settle_whole();
    }
}

#[test]
fn rough_streams_keep_their_order_and_end_once() {
    for seed in seeds(40) {
        let _seed = Seed(seed);
        let run = run(seed, true, wanted());
        check(&run);
        run.model.settle();
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_of_callbacks() {
    for seed in seeds(5) {
        let _seed = Seed(seed);
        for rough in [false, true] {
            let [first, second] = [(); 2].map(|()| run(seed, rough, None).model.trace);
            let differs = first.iter().zip(&second).find(|(one, other)| one != other);
            assert_eq!((differs, first.len()), (None, second.len()));
            // Where everything breaks, it may be that nobody opens.
            assert!(rough || !first.is_empty());
        }
    }
}

#[test]
fn the_scripts_leave_nothing_out() {
    let told = [
        "Accepted",
        "Adopted",
        "Connected",
        "close Aborted",
        "close Detached",
        "close HandshakeFailed",
        "close HandshakeTimeout",
        "close Local",
        "close Peer",
        "close PeerReset",
        "close Truncated",
        "data",
        "drained",
        "end",
        "long timeout",
        "readable",
        "timeout",
        "writable",
    ];
    let traces = (0..20).flat_map(|seed| [false, true].map(|rough| run(seed, rough, None).model.trace));
    let lines: Vec<String> = traces.flatten().collect();
    for what in told {
        let is_it = |line: &&String| line.split(' ').skip(2).collect::<Vec<_>>().join(" ").starts_with(what);
        assert!(lines.iter().any(|line| is_it(&line)), "nobody was told {what}");
    }
}
