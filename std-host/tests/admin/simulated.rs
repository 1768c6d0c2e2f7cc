//! The admin socket and HTTP in a simulated world: every timeout in virtual time, and every accident of a system from a
//! seed.

use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wharf_host::admin::answer::{Call, Next, Refusal, Reply};
use wharf_host::admin::host::Host;
use wharf_host::admin::open;
use wharf_host::config::admin::{Admin, Socket};
use wharf_host::event_loop::{Handle, LoopOptions};
use wharf_tests::rng::Rng;
use wharf_tests::sim_net::{Ended, Faults, Peer, Sim};

const SOCKET: &str = "/run/wharf/hall.sock";
/// A name of no link, so that no test depends on how long a word is.
const STATUS: &str = "GET /status HTTP/1.1\r\nHost: a\r\n\r\n";

/// A host with one service `toy`, whose verbs are:
/// * `echo`, which answers with its arguments, from the loop;
/// * `late`, which answers when the test says so;
/// * `flood`, a stream that never has nothing.
struct Scene {
    sim: Sim,
    http: SocketAddr,
    late: Arc<Mutex<VecDeque<Reply>>>,
    /// Events that the flood has made.
    made: Arc<AtomicU64>,
    _alive: Handle,
}

fn scene(mut sim: Sim) -> Scene {
    sim.add_loop((), LoopOptions::default());
    let host = Arc::new(Host::new("hall", 1));
    let handle = sim.lp(0).handle();
    handle.keep_alive(true);
    let (late, made) = (Arc::new(Mutex::new(VecDeque::new())), Arc::new(AtomicU64::new(0)));
    let (own, waiting, count) = (handle.clone(), Arc::clone(&late), Arc::clone(&made));
    let echo = move |Call { arguments, reply }: Call| {
        let _ = own.defer(move |_| reply.send(&Ok(Value::Object(arguments))));
    };
    host.registry
        .entry("toy", "a")
        .verb("echo", echo)
        .verb("late", move |call| waiting.lock().unwrap().push_back(call.reply))
        .verb("flood", move |call| {
            let count = Arc::clone(&count);
            call.reply.stream(move || {
                let number = count.fetch_add(1, Ordering::Relaxed);
                Next::Event { event: json!({ "number": number, "padding": "x".repeat(1000) }), missed: 0 }
            });
        });
    let settings = Admin { socket: Socket::At(SOCKET.into()), listen: Some("127.0.0.1:0".parse().unwrap()) };
    open(&mut sim.lp(0), &host, &settings).unwrap();
    let http = host.ways().listen.unwrap();
    Scene { sim, http, late, made, _alive: handle }
}

/// In a world whose sockets have room for few bytes.
fn narrow() -> Scene {
    scene(Sim::new(0, Faults { capacity: 64..=64, ..Faults::none() }))
}

impl Scene {
    fn pass(&mut self, seconds: u64) {
        self.sim.run_for(Duration::from_secs(seconds));
    }

    fn http(&mut self) -> Client {
        Client::new(self.sim.world.connect(self.http).expect("the backlog has room"))
    }

    fn admin(&mut self) -> Client {
        Client::new(self.sim.world.connect_unix(SOCKET).expect("the backlog has room"))
    }

    /// Lets everything happen that can without a timer of more than a moment.
    fn settle(&mut self) {
        self.sim.run_for(Duration::from_millis(100));
    }

    /// Sends all, taking what comes meanwhile.
    fn send(&mut self, client: &Client, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let sent = client.peer.send(bytes);
            bytes = &bytes[sent..];
            self.settle();
            client.take();
        }
    }

    /// Takes until nothing more comes.
    fn drain(&mut self, client: &Client) {
        while {
            self.settle();
            client.take() > 0
        } {}
    }
}

/// One side of a connection, and what has come there.
struct Client {
    peer: Peer,
    seen: RefCell<Vec<u8>>,
}

impl Client {
    fn new(peer: Peer) -> Self {
        Self { peer, seen: RefCell::default() }
    }

    fn take(&self) -> usize {
        let bytes = self.peer.receive();
        self.seen.borrow_mut().extend_from_slice(&bytes);
        bytes.len()
    }

    fn text(&self) -> String {
        self.take();
        String::from_utf8(self.seen.borrow().clone()).unwrap()
    }

    /// The whole lines.
    fn lines(&self) -> Vec<Value> {
        let text = self.text();
        // The last may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn responses(&self) -> usize {
        self.text().matches("HTTP/1.1 ").count()
    }
}

fn request(id: impl Into<Value>, verb: &str) -> String {
    format!("{}\n", json!({ "id": id.into(), "verb": verb }))
}

#[test]
fn a_head_that_does_not_become_whole_is_not_waited_for() {
    let mut scene = scene(Sim::strict());
    let (silent, slow) = (scene.http(), scene.http());
    // A byte now and then does not make it whole.
    for _ in 0..9 {
        assert_eq!(slow.peer.send(b"G"), 1);
        scene.pass(1);
        assert_eq!((slow.peer.ended(), silent.peer.ended()), (None, None));
    }
    scene.pass(3);
    assert_eq!((slow.peer.ended(), silent.peer.ended()), (Some(Ended::InOrder), Some(Ended::InOrder)));
}

#[test]
fn a_connection_that_is_not_used_again_ends_and_one_that_is_lives_on() {
    let mut scene = scene(Sim::strict());
    let (used, unused) = (scene.http(), scene.http());
    scene.send(&unused, STATUS.as_bytes());
    for round in 1..=4 {
        scene.send(&used, STATUS.as_bytes());
        assert_eq!((used.responses(), used.peer.ended()), (round, None));
        scene.pass(50);
    }
    assert_eq!((unused.responses(), unused.peer.ended()), (1, Some(Ended::InOrder)));
}

#[test]
fn the_next_head_has_its_own_time_to_become_whole() {
    let mut scene = scene(Sim::strict());
    let client = scene.http();
    scene.send(&client, format!("{STATUS}GET").as_bytes());
    assert_eq!(client.responses(), 1);
    scene.pass(9);
    assert_eq!(client.peer.ended(), None);
    scene.pass(3);
    assert_eq!(client.peer.ended(), Some(Ended::InOrder));
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_and_one_that_takes_little_is_not() {
    let mut scene = narrow();
    let (http, slow_http) = (scene.http(), scene.http());
    let (admin, slow_admin) = (scene.admin(), scene.admin());
    for client in [&http, &slow_http] {
        assert_eq!(client.peer.send(STATUS.as_bytes()), STATUS.len());
    }
    for client in [&admin, &slow_admin] {
        let text = request(1, "status");
        assert_eq!(client.peer.send(text.as_bytes()), text.len());
    }
    for _ in 0..4 {
        scene.pass(20);
        for client in [&slow_http, &slow_admin] {
            assert!(!client.peer.receive_at_most(40).is_empty());
            assert_eq!(client.peer.ended(), None);
        }
    }
    // A reset takes the bytes along that had arrived, or comes after them.
    for client in [&http, &admin] {
        client.take();
        scene.settle();
        assert!(client.peer.ended().is_some());
    }
}

#[test]
fn a_client_has_eight_requests_in_work_and_the_rest_wait() {
    let mut scene = scene(Sim::strict());
    let client = scene.admin();
    let all: String = (0..20).map(|id| request(id, "toy.late")).collect();
    scene.send(&client, all.as_bytes());
    assert_eq!(scene.late.lock().unwrap().len(), 8);
    // Others are answered meanwhile.
    let other = scene.admin();
    scene.send(&other, request(1, "toy.echo").as_bytes());
    assert_eq!(other.lines().len(), 2);
    let answer = |scene: &mut Scene, outcome| {
        let reply = scene.late.lock().unwrap().pop_back().unwrap();
        reply.send(&outcome);
        scene.settle();
    };
    answer(&mut scene, Ok(json!("done")));
    assert_eq!(client.lines()[1], json!({ "id": 7, "ok": "done" }));
    assert_eq!(scene.late.lock().unwrap().len(), 8);
    answer(&mut scene, Err(Refusal::refused("no")));
    assert_eq!(client.lines()[2], json!({ "id": 8, "error": { "kind": "refused", "message": "no" } }));
    // A service that forgets a request answers too.
    while let Some(reply) = { scene.late.lock().unwrap().pop_front() } {
        drop(reply);
        scene.settle();
    }
    let lines = client.lines();
    assert_eq!(lines.len(), 21);
    assert!(lines[3..].iter().all(|line| line["error"]["kind"] == "unavailable"));
}

#[test]
fn a_client_that_takes_nothing_is_not_read_from() {
    let mut scene = scene(Sim::strict());
    let client = scene.admin();
    let requests = request(1, "status").repeat(100);
    let mut sent = 0;
    loop {
        let taken = client.peer.send(requests.as_bytes());
        scene.sim.run_for(Duration::from_millis(1));
        sent += taken;
        if taken == 0 {
            break;
        }
        assert!(sent < 1 << 20, "the host takes whatever it is sent");
    }
    assert_eq!(client.peer.ended(), None);
    // Once it takes what there is, the host goes on.
    scene.drain(&client);
    assert!(client.peer.send(requests.as_bytes()) > 0);
}

#[test]
fn an_answer_that_comes_too_late_is_nobodys() {
    let mut scene = scene(Sim::strict());
    for _ in 0..3 {
        let client = scene.admin();
        scene.send(&client, request(1, "toy.late").as_bytes());
        drop(client);
        scene.settle();
    }
    let next = scene.admin();
    for reply in std::mem::take(&mut *scene.late.lock().unwrap()) {
        reply.send(&Ok(json!("late")));
    }
    scene.settle();
    assert_eq!(next.lines().len(), 1);
}

#[test]
fn a_stream_is_asked_at_a_pace_and_only_while_its_client_takes() {
    let mut scene = scene(Sim::strict());
    let client = scene.admin();
    scene.send(&client, request(1, "toy.flood").as_bytes());
    let begin = scene.made.load(Ordering::Relaxed);
    for _ in 0..100 {
        scene.sim.run_for(Duration::from_millis(10));
        client.take();
    }
    let made = scene.made.load(Ordering::Relaxed) - begin;
    // 256 of them every 10 ms at most, and not much less.
    assert!((3_000..=26_000).contains(&made), "{made}");
    scene.drain(&Client::new(scene.sim.world.connect_unix(SOCKET).unwrap()));
    // Nothing is taken: what has been made is bounded by what may wait, and an event has a kilobyte.
    let before = scene.made.load(Ordering::Relaxed);
    scene.pass(20);
    let waiting = scene.made.load(Ordering::Relaxed) - before;
    assert!(waiting < 200, "{waiting}");
    // Then it goes on where it was, with nothing lost.
    for _ in 0..50 {
        scene.sim.run_for(Duration::from_millis(10));
        client.take();
    }
    let numbers: Vec<_> = client.lines()[1..].iter().map(|line| line["event"]["number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
    assert!(scene.made.load(Ordering::Relaxed) > before + waiting);
    // Another is answered in between.
    let other = scene.admin();
    scene.send(&other, request(1, "toy.echo").as_bytes());
    assert_eq!(other.lines().len(), 2);
    // Who goes takes the stream along.
    drop(client);
    scene.settle();
    let at_rest = scene.made.load(Ordering::Relaxed);
    scene.pass(1);
    assert_eq!(scene.made.load(Ordering::Relaxed), at_rest);
}

#[test]
fn every_request_is_answered_once_whatever_the_system_does() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut scene = scene(Sim::new(seed, Faults::harmless(&mut rng)));
        let client = scene.admin();
        let all: String = (0..60).map(|id| request(id, if id % 3 == 0 { "status" } else { "toy.echo" })).collect();
        scene.send(&client, all.as_bytes());
        client.peer.end();
        for _ in 0..1000 {
            scene.drain(&client);
            if client.peer.ended().is_some() {
                break;
            }
        }
        let mut ids: Vec<_> = client.lines()[1..].iter().map(|line| line["id"].as_u64().unwrap()).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..60), "seed {seed}");
        assert_eq!(client.peer.ended(), Some(Ended::InOrder), "seed {seed}");
    }
}

#[test]
fn pipelined_heads_are_answered_in_order_whatever_the_system_does() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut scene = scene(Sim::new(seed, Faults::harmless(&mut rng)));
        let client = scene.http();
        let paths = ["/status", "/nothing", "/metrics"];
        let all: String = paths.iter().cycle().take(30).map(|path| STATUS.replace("/status", path)).collect();
        scene.send(&client, all.as_bytes());
        client.peer.end();
        for _ in 0..1000 {
            scene.drain(&client);
            if client.peer.ended().is_some() {
                break;
            }
        }
        let text = client.text();
        let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("Content-Type: ")).collect();
        let expected = ["application/json", "text/plain; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"];
        assert_eq!(types, expected.into_iter().cycle().take(30).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(client.peer.ended(), Some(Ended::InOrder), "seed {seed}");
    }
}
