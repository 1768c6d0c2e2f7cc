use super::*;
use wharf_core::Step;

/// Sends back what it gets, holds at most `room` bytes, and closes after a second of silence.
#[derive(Debug)]
struct Echo {
    room: usize,
    held: Vec<u8>,
    seen: Vec<(Instant, usize)>,
    orders: VecDeque<Order>,
    idle_at: Option<Instant>,
    paused: bool,
    stuck: bool,
    closed: bool,
}

const IDLE: Duration = Duration::from_secs(1);

impl Echo {
    fn new(room: usize) -> Self {
        Self {
            room,
            held: Vec::new(),
            seen: Vec::new(),
            orders: VecDeque::new(),
            idle_at: None,
            paused: false,
            stuck: false,
            closed: false,
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.idle_at = None;
        self.orders.push_back(Order::Close { reset: false });
    }
}

impl End for Echo {
    fn received(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room - self.held.len());
        self.held.extend(&bytes[..taken]);
        self.seen.push((now, taken));
        self.idle_at = Some(now.saturating_add(IDLE));
        if taken > 0 {
            self.orders.push_back(Order::Transmit);
        }
        if self.held.len() == self.room && !self.paused {
            self.paused = true;
            self.orders.push_back(Order::Pause);
        }
        taken
    }

    fn peer_closed(&mut self, _now: Instant) {
        self.close();
    }

    fn peer_reset(&mut self, _now: Instant) {
        self.close();
    }

    fn timeout(&mut self, now: Instant) {
        if !self.stuck && self.idle_at.is_some_and(|at| at <= now) {
            self.close();
        }
    }

    fn poll(&mut self, _now: Instant) -> Step<Order> {
        self.orders.pop_front().map_or(Step::Wait(self.idle_at), Step::Do)
    }

    fn transmit(&mut self) -> Vec<u8> {
        self.held.clone()
    }

    fn transmitted(&mut self, now: Instant, len: usize) {
        self.held.drain(..len);
        self.idle_at = Some(now.saturating_add(IDLE));
        if self.paused {
            self.paused = false;
            self.orders.push_back(Order::Resume);
        }
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn the_clock_jumps_exactly_to_the_deadline() {
    let mut world = World::new(1);
    let id = world.connect(Echo::new(100), Link::direct(), Script::new().wait(ms(5)).send(*b"hi"));
    world.run_until_quiet();
    assert_eq!(world.now(), Instant::from_millis(5));
    assert_eq!(world.step(), Some(Instant::from_millis(1005)), "the deadline, to the microsecond");
    assert_eq!(world.connection(id).closed_at(), Some(Instant::from_millis(1005)));
    world.run_until_over();
    assert_eq!(world.connection(id).peer.received(), b"hi");
    assert_eq!(world.connection(id).peer.ended(), Some((Instant::from_millis(1005), Ending::Fin)));
}

#[test]
fn every_link_delivers_all_bytes_in_order() {
    let mut segments = Vec::new();
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let message = rng.bytes(500);
        let link = Link::random(&mut rng);
        let mut world = World::new(seed);
        let room = 1 + rng.index(40);
        let script = Script::new().send(message.clone()).until_read(500).shut();
        let id = world.connect(Echo::new(room), link, script);
        world.run_until_over();
        let connection = world.connection(id);
        assert_eq!(connection.peer.received(), message, "seed {seed}, {link:?}");
        assert!(connection.peer.is_done(), "seed {seed}, {link:?}");
        segments.push(connection.end.seen.len());
    }
    assert!(segments.iter().any(|&n| n <= 20) && segments.iter().any(|&n| n >= 500), "the links differ: {segments:?}");
}

#[test]
fn connections_overtake_each_other_and_the_seed_decides_which() {
    let order = |seed| {
        let mut world = World::new(seed);
        let link = Link { delay: (ms(0), ms(10)), ..Link::direct() };
        for _ in 0..4 {
            let _ = world.connect(Echo::new(100), link, Script::new().send(*b"x"));
        }
        world.run_until_quiet();
        let mut first: Vec<_> = (0..4).map(|id| (world.connection(id).end.seen[0].0, id)).collect();
        first.sort_unstable();
        first.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    };
    let orders: Vec<_> = (0..30).map(order).collect();
    assert!(orders.iter().any(|found| *found != [0, 1, 2, 3]), "they do");
    assert_eq!(orders, (0..30).map(order).collect::<Vec<_>>(), "and the same seed gives the same order");
}

#[test]
fn a_cut_lets_exactly_so_many_bytes_through() {
    for how in [Ending::Fin, Ending::Reset] {
        let cut = Some(Cut { after: 3, how });
        let mut world = World::new(3);
        let link = Link { split: Split::Bytes, cut_to_host: cut, ..Link::direct() };
        let id = world.connect(Echo::new(100), link, Script::new().send(*b"abcdef"));
        world.run_until_over();
        let taken: usize = world.connection(id).end.seen.iter().map(|(_, taken)| taken).sum();
        assert_eq!(taken, 3, "{how:?}");
        assert!(world.connection(id).closed_at().is_some());

        let link = Link { cut_to_host: None, cut_to_peer: cut, ..link };
        let id = world.connect(Echo::new(100), link, Script::new().send(*b"abcdef"));
        world.run_until_over();
        assert_eq!(world.connection(id).peer.received(), b"abc");
        assert_eq!(world.connection(id).peer.ended().map(|(_, how)| how), Some(how));
    }
}

#[test]
fn a_peer_that_does_not_read_fills_its_window_and_no_more() {
    let mut world = World::new(4);
    let link = Link { window: 10, ..Link::direct() };
    let script = Script::new().stop_reading().send(vec![7; 40]).wait(ms(500)).read_again().send(vec![8; 60]);
    let id = world.connect(Echo::new(20), link, script);
    world.run_for(ms(499));
    assert_eq!(world.connection(id).peer.received(), b"");
    assert_eq!(world.connection(id).end.held.len(), 20, "the end is full");
    assert!(world.connection(id).is_paused());
    assert_eq!(world.connection(id).unread_by_host(), 10, "and so is the link");
    world.run_for(ms(100));
    assert_eq!(
        world.connection(id).peer.received(),
        [[7; 40].as_slice(), &[8; 60]].concat(),
        "once it reads, all arrives"
    );
}

#[test]
fn a_close_over_unread_input_becomes_a_reset_that_destroys_replies() {
    let mut world = World::new(5);
    let link = Link { delay: (ms(10), ms(10)), ..Link::direct() };
    let id = world.connect(Echo::new(100), link, Script::new().send(*b"ab"));
    world.run_for(ms(10));
    world.touch(id, |end, _| end.close());
    world.run_for(ms(5));
    let late = world.connect(Echo::new(100), link, Script::new().send(*b"ab").wait(ms(15)).send(*b"cd"));
    world.run_for(ms(11));
    world.touch(late, |end, _| end.close());
    world.run_until_over();
    assert_eq!(world.connection(id).peer.ended().map(|(_, how)| how), Some(Ending::Fin));
    assert_eq!(world.connection(late).peer.ended().map(|(_, how)| how), Some(Ending::Reset));
}

#[test]
fn bytes_come_before_the_fin_that_follows_them() {
    let mut world = World::new(6);
    let link = Link { split: Split::Bytes, window: 3, ..Link::direct() };
    let id = world.connect(Echo::new(1), link, Script::new().send(*b"abcdefgh").shut());
    world.run_until_over();
    assert_eq!(world.connection(id).peer.received(), b"abcdefgh");
}

#[test]
#[should_panic(expected = "time stands still")]
fn a_machine_whose_deadline_stays_fails_the_test() {
    let mut world = World::new(7);
    let end = Echo { stuck: true, ..Echo::new(10) };
    let _ = world.connect(end, Link::direct(), Script::new().send(*b"x"));
    world.run_until_over();
}

#[test]
#[should_panic(expected = "a drain did not end")]
fn a_machine_that_never_waits_fails_the_test() {
    #[derive(Debug)]
    struct Busy;
    impl End for Busy {
        fn received(&mut self, _: Instant, bytes: &[u8]) -> usize {
            bytes.len()
        }
        fn peer_closed(&mut self, _: Instant) {}
        fn peer_reset(&mut self, _: Instant) {}
        fn timeout(&mut self, _: Instant) {}
        fn poll(&mut self, _: Instant) -> Step<Order> {
            Step::Do(Order::Nothing)
        }
        fn transmit(&mut self) -> Vec<u8> {
            Vec::new()
        }
        fn transmitted(&mut self, _: Instant, _: usize) {}
    }
    let _ = World::new(8).connect(Busy, Link::direct(), Script::new());
}
