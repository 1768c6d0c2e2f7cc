//! Many connections under random scripts, against the model.
//!
//! A *polite* world keeps all its promises, and so do its handlers: each sends what it has planned, going on at
//! `writable` alone, and then ends its side. Nothing may be lost and nothing may hang. In a *rough* one connections
//! break, descriptors run out, the clock jumps, and handlers close and abort themselves and each other at any time;
//! what arrives must still be right as far as it comes.

use crate::model::{Model, Name};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    Closed, ConnectFailed, ConnectOptions, ContextKey, Error, Handler, ListenOptions, LoopMut, LoopOptions, Opened,
    Socket, Stats,
};
use wharf_tests::rng::{Rng, seeds};
use wharf_tests::sim_net::{Faults, Sim};

type Keys = Rc<RefCell<Vec<ContextKey<Subject>>>>;

/// One of a loop's handlers: its sockets act at random.
struct Subject {
    model: Rc<RefCell<Model>>,
    rng: Rng,
    lp: usize,
    rough: bool,
    /// Reads by hand.
    manual: bool,
    /// The handlers of this loop: one that reads by hand and one that does not.
    keys: Keys,
    /// Bytes of the longest write.
    most: u64,
    /// New sockets end at once.
    closing: Rc<RefCell<bool>>,
    /// Connections that failed.
    failed: Rc<RefCell<u64>>,
}

#[derive(Default)]
struct Own {
    name: Name,
    /// Bytes that a polite socket will still send.
    plan: u64,
}

impl Subject {
    fn say(&self, lp: &LoopMut<'_>, name: Name, what: &str, number: u64) {
        let side = if name.client { "client" } else { "server" };
        let line = format!("{} {side} {} {what} {number}", lp.now().as_micros(), name.port);
        self.model.borrow_mut().trace.push(line);
    }

    /// Sends until there is no more or no room.
    fn carry_out(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        while s.data().plan > 0 {
            let wanted = s.data().plan.min(self.rng.between(1, self.most));
            let taken = write(&mut self.rng, &self.model, s.loop_mut(), name, wanted);
            s.data().plan -= taken;
            if taken < wanted {
                return;
            }
        }
        self.model.borrow_mut().told(name).shut = true;
        s.shutdown().unwrap();
    }

    /// The last thing in every callback, for the socket may have been moved to the other handler after it.
    fn react(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        if self.rough && *self.closing.borrow() {
            finish(&self.model, s.loop_mut(), name);
        } else if !s.is_closed() && self.rng.chance(1, 30) {
            let other = self.keys.borrow()[usize::from(!self.manual)];
            let own = std::mem::take(s.data());
            s.move_to(other, own).unwrap();
        } else if self.rough {
            let others = self.model.borrow().open_on(self.lp);
            let whom = if self.rng.chance(1, 10) { *self.rng.pick(&others) } else { name };
            act(&mut self.rng, &self.model, s.loop_mut(), whom, self.most);
        } else if !s.is_closed() && self.rng.chance(1, 10) {
            // A pause that a timer ends.
            let limit = self.rng.below(2) * self.rng.below(3000);
            self.model.borrow_mut().told(name).limit = limit;
            s.limit_read(limit).unwrap();
            let (model, id) = (Rc::clone(&self.model), s.id());
            let resume = move |lp: &mut LoopMut<'_>, _| {
                let open = lp.stream(id).ok().filter(|stream| !stream.is_closed());
                if let Some(mut stream) = open {
                    model.borrow_mut().told(name).limit = u64::MAX;
                    stream.resume().unwrap();
                }
            };
            s.loop_mut().add_timer(Duration::from_micros(self.rng.below(20_000)), None, resume).unwrap();
        }
    }
}

impl Handler for Subject {
    type Data = Own;

    fn manual_read(&self) -> bool {
        self.manual
    }

    fn open(&mut self, s: &mut Socket<'_, (), Own>, how: Opened) {
        let client = how == Opened::Connected;
        let addr = if client { s.local_addr().unwrap() } else { s.peer_addr().unwrap() };
        let name = Name { port: addr.port(), client };
        let plan = if self.rough { 0 } else { self.rng.below(2) * self.rng.below(self.most * 2) };
        *s.data() = Own { name, plan };
        let id = s.id();
        self.model.borrow_mut().opened(name, id, self.lp);
        self.say(s.loop_mut(), name, "opened", 0);
        if !self.rough {
            self.carry_out(s);
        }
        self.react(s);
    }

    fn data(&mut self, s: &mut Socket<'_, (), Own>, bytes: &[u8]) {
        let name = s.data().name;
        assert!(!self.manual, "{name:?} reads by hand");
        self.model.borrow_mut().data(name, bytes);
        self.say(s.loop_mut(), name, "data", bytes.len() as u64);
        self.react(s);
    }

    fn readable(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        assert!(self.manual, "{name:?} does not read by hand");
        self.model.borrow_mut().told(name);
        for _ in 0..self.rng.between(1, 3) {
            let most = self.rng.between(1, self.most);
            match s.read(usize::try_from(most).unwrap()) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => self.model.borrow_mut().data(name, &bytes),
                Err(Error::WouldBlock | Error::Closed) => break,
                Err(error) => panic!("{name:?} cannot read: {error}"),
            }
        }
        self.say(s.loop_mut(), name, "readable", 0);
        self.react(s);
    }

    fn writable(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        self.model.borrow_mut().writable(name);
        self.say(s.loop_mut(), name, "writable", 0);
        if !self.rough {
            self.carry_out(s);
        }
        self.react(s);
    }

    fn drained(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        self.model.borrow_mut().drained(name);
        assert_eq!(s.queued(), 0);
        self.say(s.loop_mut(), name, "drained", 0);
        self.react(s);
    }

    fn end(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        self.model.borrow_mut().ended(name);
        self.say(s.loop_mut(), name, "end", 0);
        if self.rough && self.rng.chance(1, 2) {
            finish(&self.model, s.loop_mut(), name);
        }
        self.react(s);
    }

    fn close(&mut self, lp: &mut LoopMut<'_>, closed: Closed<Own>) {
        let name = closed.data.name;
        self.say(lp, name, &format!("close {:?}", closed.reason), closed.received);
        self.model.borrow_mut().closed(name, closed);
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_>, _: ConnectFailed<Own>) {
        *self.failed.borrow_mut() += 1;
    }
}

/// Writes in one of the four ways and returns what was taken. Nothing if it could not be tried.
fn write(rng: &mut Rng, model: &Rc<RefCell<Model>>, lp: &mut LoopMut<'_>, name: Name, much: u64) -> u64 {
    let mut model = model.borrow_mut();
    let side = &model.sides[&name];
    let bytes: Vec<u8> = (side.accepted..side.accepted + much).map(|offset| name.byte(offset)).collect();
    let Ok(mut stream) = lp.stream(side.id) else { panic!("{name:?} is stale before its `close`") };
    let (head, body) = bytes.split_at(rng.index(bytes.len() + 1));
    let direct = stream.queued() == 0;
    // A side that can send no more is refused by the write too.
    if rng.chance(1, 10) {
        let _ = stream.cork();
    }
    let outcome = match rng.below(6) {
        0 if direct => stream.write_now(&bytes),
        1 if direct => stream.write_now2(head, body),
        2 => stream.write2(head, body),
        3 => stream.write_more(&bytes),
        _ => stream.write(&bytes),
    };
    let queued = stream.queued();
    if rng.chance(1, 10) {
        let _ = stream.flush();
    }
    let taken = *outcome.as_ref().unwrap_or(&0) as u64;
    model.wrote(name, much, outcome, queued);
    taken
}

fn finish(model: &Rc<RefCell<Model>>, lp: &mut LoopMut<'_>, name: Name) {
    let mut model = model.borrow_mut();
    let side = model.sides.get_mut(&name).expect("the caller has seen it open");
    let mut stream = lp.stream(side.id).expect("it is not stale before its `close`");
    let closed = stream.is_closed();
    assert_eq!(stream.finish().is_err(), closed, "{name:?}");
    if !closed {
        (side.shut, side.deaf) = (true, true);
    }
}

/// Anything that can be done with a socket, from anywhere.
fn act(rng: &mut Rng, model: &Rc<RefCell<Model>>, lp: &mut LoopMut<'_>, name: Name, most: u64) {
    let choice = rng.below(100);
    if choice < 50 {
        let much = rng.between(1, most);
        write(rng, model, lp, name, much);
        return;
    }
    if choice < 52 {
        return finish(model, lp, name);
    }
    let mut model = model.borrow_mut();
    let side = model.sides.get_mut(&name).expect("the caller has seen it open");
    let mut stream = lp.stream(side.id).expect("it is not stale before its `close`");
    let closed = stream.is_closed();
    assert!(closed || !side.gone, "{name:?} is not closed after a close");
    let outcome = match choice {
        52..60 => {
            side.limit = 0;
            stream.pause()
        }
        60..66 => {
            side.limit = rng.between(1, most);
            stream.limit_read(side.limit)
        }
        66..82 => {
            side.limit = u64::MAX;
            stream.resume()
        }
        82..85 => {
            side.shut = true;
            stream.shutdown()
        }
        85 => {
            (side.deaf, side.limit) = (true, u64::MAX);
            stream.shutdown_read()
        }
        86 | 87 => {
            side.gone = true;
            return stream.close(3);
        }
        88 | 89 => {
            side.gone = true;
            return stream.abort();
        }
        _ => return,
    };
    assert_eq!(outcome.is_err(), closed, "{name:?}: {choice} came to {outcome:?}");
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

/// What a run leaves behind.
struct Run {
    model: Model,
    stats: Vec<Stats>,
}

/// One or two loops with a listener on the last, and connections from all.
fn run(seed: u64, rough: bool) -> Run {
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
    let most = if *faults.capacity.start() >= 1000 && rng.chance(1, 2) { 200_000 } else { 1000 };
    let model = Rc::new(RefCell::new(Model { breaks: faults.resets > 0, ..Model::default() }));
    let (closing, failed) = (Rc::new(RefCell::new(false)), Rc::new(RefCell::new(0)));
    let mut sim = Sim::new(rng.next_u64(), faults);
    let mut keys: Vec<ContextKey<Subject>> = Vec::new();
    let loops = 1 + rng.index(2);
    for lp in 0..loops {
        let least = *rng.pick(&[1, 100, 70_000]);
        let options = LoopOptions {
            tx_limit: rng.index(2000) * rng.index(100) + 1,
            receive_buffer: rng.index(100_000) + least,
            read_budget: rng.index(100_000) + least,
            ..LoopOptions::default()
        };
        sim.add_loop((), options);
        let own = Keys::default();
        for manual in [false, true] {
            let (model, closing, failed) = (Rc::clone(&model), Rc::clone(&closing), Rc::clone(&failed));
            let (rng, keys) = (rng.fork(), Rc::clone(&own));
            let subject = Subject { model, rng, lp, rough, manual, keys, most, closing, failed };
            let key = sim.lp(lp).context(subject);
            own.borrow_mut().push(key);
        }
        let first = *rng.pick(&own.borrow());
        keys.push(first);
    }
    let server = loops - 1;
    let listen = "127.0.0.1:0".parse().unwrap();
    let listener = sim.lp(server).listen(listen, keys[server], ListenOptions::default()).unwrap();
    let addr = sim.lp(server).listener(listener).unwrap().local_addr();

    let count = rng.between(1, 12);
    for on in keys.into_iter().enumerate() {
        connect_at_times(&mut sim, &mut rng, on, addr, count);
    }
    if rough {
        sim.run_for(Duration::from_millis(20 * count));
        disturb(&mut sim, &mut rng, &model, most);
        *closing.borrow_mut() = true;
        for lp in 0..loops {
            let open = model.borrow().open_on(lp);
            for name in open {
                finish(&model, &mut sim.lp(lp), name);
            }
        }
    }
    sim.run_until_idle();
    assert_eq!(sim.world.open(), 1, "descriptors are left: {:?}", model.borrow().unsettled());
    sim.lp(server).listener(listener).unwrap().close();
    sim.run_until_idle();
    assert_eq!((sim.world.open(), sim.world.calls().strays), (0, 0));

    let stats: Vec<Stats> = (0..loops).map(|lp| sim.lp(lp).stats()).collect();
    let begun = count * loops as u64;
    let opened = model.borrow().sides.keys().filter(|name| name.client).count() as u64;
    assert_eq!(opened + *failed.borrow(), begun, "connections begun");
    drop(sim);
    let model = Rc::try_unwrap(model).expect("the handlers are gone with their loops").into_inner();
    Run { model, stats }
}

fn connect_at_times(sim: &mut Sim, rng: &mut Rng, on: (usize, ContextKey<Subject>), addr: SocketAddr, count: u64) {
    for _ in 0..count {
        let connect = move |lp: &mut LoopMut<'_>, _| {
            lp.connect(addr, on.1, Own::default(), ConnectOptions::default()).unwrap();
        };
        let delay = Duration::from_micros(rng.below(2) * rng.below(100_000));
        sim.lp(on.0).add_timer(delay, None, connect).unwrap();
    }
}

/// Acts on sockets between the iterations too, for those that would never hear anything.
fn disturb(sim: &mut Sim, rng: &mut Rng, model: &Rc<RefCell<Model>>, most: u64) {
    for _ in 0..rng.below(30) {
        for lp in 0..sim.loops() {
            let open = model.borrow().open_on(lp);
            for name in open {
                act(rng, model, &mut sim.lp(lp), name, most);
            }
        }
        sim.run_for(Duration::from_micros(rng.below(50_000)));
    }
}

fn check(run: &Run) {
    for stats in &run.stats {
        let ours = stats.closed_local + stats.closed_aborted;
        let closed = stats.closed_peer + stats.closed_reset + ours + stats.closed_failed;
        assert_eq!((stats.opened, stats.sockets, stats.queued), (closed, 0, 0), "{stats:?}");
    }
    let opened: u64 = run.stats.iter().map(|stats| stats.opened).sum();
    assert_eq!(opened, run.model.sides.len() as u64);
}

#[test]
fn polite_streams_lose_nothing_and_never_hang() {
    for seed in seeds(40) {
        let _seed = Seed(seed);
        let run = run(seed, false);
        check(&run);
        run.model.settle_whole();
    }
}

#[test]
fn rough_streams_keep_their_order_and_end_once() {
    for seed in seeds(40) {
        let _seed = Seed(seed);
        let run = run(seed, true);
        check(&run);
        run.model.settle();
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_of_callbacks() {
    for seed in seeds(5) {
        let _seed = Seed(seed);
        for rough in [false, true] {
            let [first, second] = [(); 2].map(|()| run(seed, rough).model.trace);
            assert!(!first.is_empty() && first == second);
        }
    }
}
