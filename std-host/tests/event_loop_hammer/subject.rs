//! The handler of all sockets. A *polite* one sends what it has planned, going on at `writable` alone, ends its side
//! and hears its peer to the end; a *rough* one does anything at any time.

use crate::acts::{carry_out, react};
use crate::begin::{Layer, hand_over};
use crate::side::Side;
use crate::world::{Here, Manner, lock};
use std::time::Duration;
use wharf_host::event_loop::{
    CloseReason, Closed, ConnectFailed, Error, Handler, LoopMut, Opened, PreOpen, RawSocket, Socket,
};
use wharf_tests::rng::Rng;
use wharf_tests::text::HEADER;

pub(crate) struct Subject {
    pub(crate) manner: Manner,
    pub(crate) rng: Rng,
}

pub(crate) type Own<'a> = Socket<'a, Here, Side>;

impl Handler<Here> for Subject {
    type Data = Side;

    fn manual_read(&self) -> bool {
        self.manner.manual
    }

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        if self.rng.chance(1, 4) {
            // Small enough for short writes, and not so small that the system waits before it sends.
            raw.set_buffers(Some(64 * 1024), None).unwrap();
        }
        match self.rng.below(200) {
            0 if self.manner.rough => PreOpen::Reject,
            1 if self.manner.rough => PreOpen::Reset,
            2 if self.manner.rough => {
                assert!(raw.take().is_some());
                PreOpen::Take
            }
            _ => PreOpen::Keep,
        }
    }

    fn open(&mut self, s: &mut Own<'_>, how: Opened) {
        let rough = self.manner.rough;
        s.data().secure = s.tls_version().is_some();
        let (side, lp) = s.parts();
        let Here { world, rng, .. } = lp.data();
        world.moved();
        lock(&world.seen).opened += 1;
        if side.number == 0 {
            side.number = world.number();
            side.rough = rough;
            side.plan = plan(rng, how);
            side.acts = rng.between(1, 40);
            side.sleeps = !rough && rng.chance(1, 50);
            side.ticket.get_or_insert_with(|| world.ticket());
        }
        assert_eq!(side.rough, rough);
        side.opened();
        if side.sleeps {
            // Once more on each loop: it does not go along.
            side.stay.timeout = Some(lp.now().saturating_add(Duration::from_secs(1)));
            s.set_timeout(1).unwrap();
        } else if !rough {
            carry_out(s);
        }
        react(self.manner, s);
    }

    fn data(&mut self, s: &mut Own<'_>, bytes: &[u8]) {
        assert!(!self.manner.manual, "{:?} reads by hand", s.data());
        s.loop_mut().data().world.moved();
        s.data().data(bytes);
        react(self.manner, s);
    }

    fn readable(&mut self, s: &mut Own<'_>) {
        assert!(self.manner.manual, "{:?} does not read by hand", s.data());
        s.data().told();
        s.loop_mut().data().world.moved();
        for _ in 0..3 {
            let most = 1 + s.loop_mut().data().rng.index(100_000);
            let (side, stream) = s.split();
            match stream.read(most) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => side.data(&bytes),
                Err(Error::WouldBlock | Error::Closed) => break,
                Err(error) => panic!("{side:?} cannot read: {error}"),
            }
        }
        react(self.manner, s);
    }

    fn writable(&mut self, s: &mut Own<'_>) {
        s.data().writable();
        if !self.manner.rough {
            carry_out(s);
        }
        react(self.manner, s);
    }

    fn drained(&mut self, s: &mut Own<'_>) {
        s.data().drained();
        assert_eq!(s.queued(), 0);
        react(self.manner, s);
    }

    fn end(&mut self, s: &mut Own<'_>) {
        s.data().end();
        if s.data().shut {
            // Also if another loop has told our end.
            assert!(s.is_shut_down(), "{:?} has forgotten its end", s.data());
        } else if self.manner.rough && s.loop_mut().data().rng.chance(1, 2) {
            crate::acts::finish(s);
        }
        react(self.manner, s);
    }

    fn timeout(&mut self, s: &mut Own<'_>) {
        let now = s.now();
        let due = s.data().told().stay.timeout.take().expect("a timeout is told when it was set, and once");
        assert!(now >= due, "a timeout of {due:?} at {now:?}");
        if std::mem::take(&mut s.data().sleeps) {
            carry_out(s);
        }
        react(self.manner, s);
    }

    fn long_timeout(&mut self, s: &mut Own<'_>) {
        let now = s.now();
        let due = s.data().told().stay.long_timeout.take().expect("a timeout is told when it was set, and once");
        assert!(now >= due, "a timeout of {due:?} at {now:?}");
        react(self.manner, s);
    }

    fn close(&mut self, lp: &mut LoopMut<'_, Here>, closed: Closed<Side>) {
        let here = lp.data();
        here.world.moved();
        if !closed.data.stay.open {
            lock(&here.world.seen).unopened += 1;
            let shook = matches!(closed.reason, CloseReason::HandshakeFailed(_));
            assert!(shook && closed.data.number == 0 && self.manner.rough, "{closed:?}");
            return;
        }
        let (side, reason, detached) = Side::closed(closed, &mut lock(&here.world.seen));
        match detached {
            Some(detached) => {
                assert!(matches!(reason, CloseReason::Detached), "{reason:?}");
                let manner = Manner { rough: self.manner.rough, manual: self.rng.chance(1, 2) };
                hand_over(here, manner, detached.stream, Layer::Plain, side);
            }
            None => {
                let mut side = side;
                // Held until the report is there.
                let _ticket = side.ticket.take();
                here.world.report(side.report(&reason));
            }
        }
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_, Here>, failed: ConnectFailed<Side>) {
        // Otherwise there is somebody who listens.
        assert!(self.manner.rough, "{failed:?}");
    }
}

/// How much a side will send in all: mostly little.
fn plan(rng: &mut Rng, how: Opened) -> u64 {
    let most = match rng.below(20) {
        0 => 5 * 1024 * 1024,
        1..=5 => 100_000,
        _ => 2000,
    };
    // Of two sides one has to tell its name.
    if how == Opened::Accepted && rng.chance(1, 8) { 0 } else { rng.between(HEADER as u64, most) }
}
