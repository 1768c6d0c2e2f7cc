//! Ending sockets from every callback, on the socket itself and on another.

use crate::harness::any;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    Closed, ConnectFailed, ConnectOptions, Error, Handler, ListenOptions, LoopMut, LoopOptions, Opened, Socket,
    SocketId,
};
use wharf_tests::sim_net::{Faults, Sim};

const CALLBACKS: [&str; 8] = ["open", "data", "writable", "drained", "end", "close", "connect_error", "timer"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Close,
    Abort,
    Finish,
}

/// What the test and the handler share.
struct Plan {
    /// In which callback it happens, once.
    at: Option<&'static str>,
    how: How,
    /// On the socket at hand and not on all others.
    own: bool,
    open: Vec<SocketId>,
    /// Sockets that may only hear `close`.
    gone: Vec<SocketId>,
    closes: usize,
}

impl Plan {
    fn end(&mut self, lp: &mut LoopMut<'_>, id: SocketId) {
        let mut stream = lp.stream(id).expect("open sockets are not stale");
        match self.how {
            How::Close => stream.close(1),
            How::Abort => stream.abort(),
            How::Finish => drop(stream.finish()),
        }
        if self.how != How::Finish {
            self.gone.push(id);
        }
    }
}

#[derive(Clone)]
struct Ender(Rc<RefCell<Plan>>);

impl Ender {
    fn reach(&self, what: &str, lp: &mut LoopMut<'_>, me: Option<SocketId>) {
        let plan = &mut *self.0.borrow_mut();
        if let Some(me) = me {
            assert!(!plan.gone.contains(&me), "{what} after the close");
        }
        if plan.at == Some(what) {
            plan.at = None;
            for id in plan.open.clone() {
                if me.is_none() || plan.own == (me == Some(id)) {
                    plan.end(lp, id);
                }
            }
        }
    }
}

impl Handler for Ender {
    type Data = ();

    fn open(&mut self, s: &mut Socket<'_, (), ()>, _: Opened) {
        let id = s.id();
        self.0.borrow_mut().open.push(id);
        assert!(s.write_now(&[1; 150]).unwrap() < 150);
        self.reach("open", s.loop_mut(), Some(id));
    }

    fn data(&mut self, s: &mut Socket<'_, (), ()>, _: &[u8]) {
        let id = s.id();
        self.reach("data", s.loop_mut(), Some(id));
    }

    fn writable(&mut self, s: &mut Socket<'_, (), ()>) {
        assert_eq!(s.write(&[1; 150]).unwrap(), 150);
        let id = s.id();
        self.reach("writable", s.loop_mut(), Some(id));
    }

    fn drained(&mut self, s: &mut Socket<'_, (), ()>) {
        let id = s.id();
        self.reach("drained", s.loop_mut(), Some(id));
    }

    fn end(&mut self, s: &mut Socket<'_, (), ()>) {
        let id = s.id();
        self.reach("end", s.loop_mut(), Some(id));
        // Refused if that has closed it.
        let _ = s.finish();
    }

    fn close(&mut self, lp: &mut LoopMut<'_>, closed: Closed<()>) {
        let mut plan = self.0.borrow_mut();
        let before = plan.open.len();
        plan.open.retain(|id| *id != closed.id);
        assert_eq!(plan.open.len() + 1, before, "closed twice, or without `open`");
        plan.closes += 1;
        drop(plan);
        self.reach("close", lp, None);
    }

    fn connect_error(&mut self, lp: &mut LoopMut<'_>, _: ConnectFailed<()>) {
        self.reach("connect_error", lp, None);
    }
}

/// Three sockets whose peers send, read all and end; a connection that fails; and a timer.
fn run(at: &'static str, how: How, own: bool) {
    let plan = Plan { at: Some(at), how, own, open: Vec::new(), gone: Vec::new(), closes: 0 };
    let ender = Ender(Rc::new(RefCell::new(plan)));
    let mut sim = Sim::new(0, Faults { capacity: 100..=100, ..Faults::none() });
    sim.add_loop((), LoopOptions::default());
    let mut lp = sim.lp(0);
    let key = lp.context(ender.clone());
    let listener = lp.listen(any(), key, ListenOptions::default()).unwrap();
    let addr = lp.listener(listener).unwrap().local_addr();
    lp.connect("10.0.0.1:1", key, (), ConnectOptions::default()).unwrap();
    let peers = [(); 3].map(|()| sim.world.connect(addr).unwrap());
    sim.run_until_idle();
    let timer = ender.clone();
    sim.lp(0).add_timer(Duration::ZERO, None, move |lp, _| timer.reach("timer", lp, None)).unwrap();
    for peer in &peers {
        let _ = peer.send(b"some bytes");
    }
    for _ in 0..10 {
        sim.run_until_idle();
        for peer in &peers {
            let _ = peer.receive();
        }
    }
    for peer in &peers {
        peer.end();
    }
    sim.run_until_idle();
    let context = format!("{how:?} in {at}, own: {own}");
    let plan = ender.0.borrow();
    assert!(plan.at.is_none(), "{context}: it never came");
    assert_eq!((plan.closes, plan.open.len()), (3, 0), "{context}");
    assert_eq!((sim.world.open(), sim.world.calls().strays), (1, 0), "{context}");
    let stats = sim.lp(0).stats();
    assert_eq!((stats.opened, stats.sockets, stats.queued), (3, 0, 0), "{context}");
}

#[test]
fn close_inside_every_callback() {
    for at in CALLBACKS {
        for how in [How::Close, How::Abort, How::Finish] {
            for own in [true, false] {
                run(at, how, own);
            }
        }
    }
}

#[test]
fn a_timer_closes_itself_and_others_inside_its_callback() {
    let mut sim = Sim::strict();
    sim.add_loop(0, LoopOptions::default());
    let mut lp = sim.lp(0);
    let span = Duration::from_millis(5);
    let other = lp.add_timer(span * 2, None, |_, _| panic!("it was closed")).unwrap();
    let due_too = lp.add_timer(span, None, |_, _| panic!("it was closed, though it was due")).unwrap();
    let first = lp.add_timer(Duration::from_millis(4), Some(span), move |lp, tick| {
        *lp.data() += 1;
        for id in [tick.id, other, due_too] {
            lp.close(id).unwrap();
        }
    });
    let first = first.unwrap();
    sim.world.jump(Duration::from_millis(20));
    sim.run_until_idle();
    assert_eq!(*sim.lp(0).data(), 1);
    for id in [first, other, due_too] {
        assert!(matches!(sim.lp(0).close(id), Err(Error::Stale)));
    }
}
