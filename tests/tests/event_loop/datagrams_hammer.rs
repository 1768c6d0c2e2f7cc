//! Many UDP sockets under random scripts: what is sent arrives once and in order where nothing harmful happens, and
//! where it does, nothing arrives that was not sent to the one who gets it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{Error, LoopMut, LoopOptions, Out, Packets, Udp, UdpHandler, UdpId, UdpOptions};
use wharf_tests::rng::{Rng, seeds};
use wharf_tests::sim_net::{Faults, Sim};

/// Somebody who is not there.
const GONE: &str = "127.0.0.1:9";

/// From whom to whom.
type Way = (SocketAddr, SocketAddr);

/// What all sockets share.
#[derive(Default)]
struct Shared {
    /// Packets sent on each way, and to nobody: each carries its number and where it goes.
    sent: BTreeMap<Way, u32>,
    /// The numbers that have arrived.
    arrived: BTreeMap<Way, Vec<u32>>,
    gone: u32,
    errors: u32,
    /// Named errors, of all.
    named: u32,
    closed: Vec<(UdpId, SocketAddr)>,
    trace: Vec<String>,
}

struct Subject {
    shared: Rc<RefCell<Shared>>,
    rng: Rng,
    own: SocketAddr,
    others: Rc<RefCell<Vec<SocketAddr>>>,
    /// Packets that it will still send.
    plan: u32,
    /// What `send` did not take: `drained` is owed.
    owed: bool,
    rough: bool,
}

impl Subject {
    fn say(&self, lp: &LoopMut<'_>, what: &str, number: u64) {
        let line = format!("{} {} {what} {number}", lp.now().as_micros(), self.own);
        self.shared.borrow_mut().trace.push(line);
    }

    /// Sends until there is no more, or no room.
    fn carry_out(&mut self, u: &mut Udp<'_, ()>) {
        while self.plan > 0 && !u.is_closed() {
            let count = u32::try_from(self.rng.between(1, 10)).unwrap().min(self.plan);
            let (mut shared, others) = (self.shared.borrow_mut(), self.others.borrow());
            let mut packets = Vec::new();
            for _ in 0..count {
                let nobody = self.rng.chance(1, 20);
                let to = if nobody { GONE.parse().unwrap() } else { *self.rng.pick(&others) };
                let before = packets.iter().filter(|(other, _)| *other == to).count();
                let number = shared.sent.get(&(self.own, to)).copied().unwrap_or(0) + u32::try_from(before).unwrap();
                packets.push((to, format!("{number} {} {to}", self.own)));
            }
            let out: Vec<_> = packets.iter().map(|(to, text)| Out::to(*to, text.as_bytes())).collect();
            let taken = u.send(&out).expect("nothing is wrong with the packets themselves");
            assert!(!self.owed || taken == 0, "taken before `drained`");
            for (to, _) in &packets[..taken] {
                shared.gone += u32::from(*to == GONE.parse().unwrap());
                *shared.sent.entry((self.own, *to)).or_default() += 1;
            }
            self.plan -= u32::try_from(taken).unwrap();
            if taken < out.len() {
                self.owed = true;
                return;
            }
        }
    }

    fn check_open(&self, u: &Udp<'_, ()>) {
        assert!(!self.shared.borrow().closed.contains(&(u.id(), self.own)), "a callback after the close");
    }

    fn react(&mut self, u: &mut Udp<'_, ()>) {
        match self.rng.below(40) {
            0 | 1 => {
                // A pause that a timer ends.
                u.limit_packets(self.rng.below(3)).unwrap();
                let id = u.id();
                let resume = move |lp: &mut LoopMut<'_>, _| {
                    if let Ok(mut udp) = lp.udp(id) {
                        udp.resume().unwrap();
                    }
                };
                u.loop_mut().add_timer(Duration::from_micros(self.rng.below(5000)), None, resume).unwrap();
            }
            2 if self.rough && self.rng.chance(1, 5) => {
                self.shared.borrow_mut().closed.push((u.id(), self.own));
                u.close();
            }
            _ => {}
        }
    }
}

impl UdpHandler for Subject {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        self.check_open(u);
        for packet in batch {
            let text = std::str::from_utf8(packet.payload).unwrap();
            let mut words = text.split(' ');
            let number: u32 = words.next().unwrap().parse().unwrap();
            let (from, to): (SocketAddr, SocketAddr) =
                (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
            assert_eq!((packet.peer, packet.local, packet.truncated), (from, Some(to.ip()), false));
            assert_eq!(to, self.own, "it was sent to somebody else");
            let mut shared = self.shared.borrow_mut();
            assert!(number < shared.sent[&(from, to)], "it was never sent");
            shared.arrived.entry((from, to)).or_default().push(number);
        }
        self.say(u.loop_mut(), "packets", batch.len() as u64);
        self.carry_out(u);
        self.react(u);
    }

    fn drained(&mut self, u: &mut Udp<'_, ()>) {
        self.check_open(u);
        assert!(std::mem::take(&mut self.owed), "`drained` without a cause");
        self.say(u.loop_mut(), "drained", 0);
        self.carry_out(u);
        self.react(u);
    }

    fn error(&mut self, u: &mut Udp<'_, ()>, error: Error) {
        self.check_open(u);
        let mut shared = self.shared.borrow_mut();
        shared.errors += 1;
        let text = error.to_string();
        let gone = shared.closed.iter().map(|(_, addr)| *addr).chain([GONE.parse().unwrap()]);
        let named = gone.map(|addr| format!("reach {addr}: connection refused")).any(|line| line == text);
        let nameless = format!("receive on {}: connection refused", self.own);
        assert!(named || (self.rough && text == nameless), "{text}");
        shared.named += u32::from(named);
        drop(shared);
        self.say(u.loop_mut(), &text, 0);
    }
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("WHARF_SEED={} repeats this", self.0);
        }
    }
}

fn run(seed: u64, rough: bool) -> Shared {
    let mut rng = Rng::new(seed);
    let faults = if rough { Faults::all(&mut rng) } else { Faults::harmless(&mut rng) };
    let mut sim = Sim::new(rng.next_u64(), Faults { exhausted: 0, ..faults });
    let shared = Rc::new(RefCell::new(Shared::default()));
    let others = Rc::new(RefCell::new(Vec::new()));
    let loops = 1 + rng.index(2);
    let mut ids = Vec::new();
    for lp in 0..loops {
        let udp_batch = *rng.pick(&[1, 3, 32]);
        sim.add_loop((), LoopOptions { udp_batch, read_budget: rng.index(20_000) + 1, ..LoopOptions::default() });
        for _ in 0..rng.between(1, 4) {
            let subject = Subject {
                shared: Rc::clone(&shared),
                rng: rng.fork(),
                own: GONE.parse().unwrap(),
                others: Rc::clone(&others),
                plan: u32::try_from(rng.below(200)).unwrap(),
                owed: false,
                rough,
            };
            let at = "127.0.0.1:0".parse().unwrap();
            let id = sim.lp(lp).bind_udp(at, subject, UdpOptions::default()).unwrap();
            let own = sim.lp(lp).udp(id).unwrap().local_addr().unwrap();
            sim.lp(lp).with_udp(id, |subject: &mut Subject, _| subject.own = own).unwrap();
            others.borrow_mut().push(own);
            ids.push((lp, id));
        }
    }
    for &(lp, id) in &ids {
        sim.lp(lp).with_udp(id, |subject: &mut Subject, u| subject.carry_out(u)).unwrap();
    }
    sim.run_until_idle();
    assert_eq!(sim.world.calls().strays, 0);
    let open = ids.len() - shared.borrow().closed.len();
    assert_eq!(sim.world.open(), open);
    for &(lp, id) in &ids {
        if let Ok(owed) = sim.lp(lp).with_udp(id, |subject: &mut Subject, _| subject.owed) {
            assert!(!owed, "`drained` never came");
        }
    }
    drop(sim);
    Rc::try_unwrap(shared).unwrap_or_else(|_| panic!("the handlers are gone with their loops")).into_inner()
}

#[test]
fn polite_packets_arrive_once_and_in_order() {
    let (mut packets, mut errors) = (0, 0);
    for seed in seeds(60) {
        let _seed = Seed(seed);
        let shared = run(seed, false);
        for (way, sent) in &shared.sent {
            if way.1 != GONE.parse().unwrap() {
                let arrived = shared.arrived.get(way).cloned().unwrap_or_default();
                assert_eq!(arrived, (0..*sent).collect::<Vec<_>>(), "{way:?}");
                packets += sent;
            }
        }
        // Those that come together are merged.
        assert_eq!(shared.errors, shared.named);
        assert!(shared.errors <= shared.gone && (shared.errors > 0) == (shared.gone > 0));
        errors += shared.errors;
    }
    assert!(std::env::var_os(wharf_tests::rng::SEED_VARIABLE).is_some() || (packets > 1000 && errors > 50));
}

#[test]
fn rough_packets_are_none_that_were_not_sent() {
    let (mut lost, mut doubled, mut overtaken, mut named, mut nameless) = (0, 0, 0, 0, 0);
    for seed in seeds(60) {
        let _seed = Seed(seed);
        let shared = run(seed, true);
        for (way, arrived) in &shared.arrived {
            let mut distinct = arrived.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert!(arrived.len() <= 2 * distinct.len(), "more than a doubled packet: {way:?}");
            lost += shared.sent[way] as usize - distinct.len();
            doubled += arrived.len() - distinct.len();
            overtaken += usize::from(!arrived.is_sorted());
        }
        named += shared.named;
        nameless += shared.errors - shared.named;
    }
    let seen = format!("{lost} lost, {doubled} doubled, {overtaken} overtaken, {named} and {nameless} errors");
    let all = lost > 0 && doubled > 0 && overtaken > 0 && named > 0 && nameless > 0;
    assert!(std::env::var_os(wharf_tests::rng::SEED_VARIABLE).is_some() || all, "{seen}");
}

#[test]
fn the_same_seed_gives_the_same_trace_of_packets() {
    for seed in seeds(5) {
        let _seed = Seed(seed);
        for rough in [false, true] {
            let [first, second] = [(); 2].map(|()| run(seed, rough).trace);
            assert_eq!(first, second);
        }
    }
}
