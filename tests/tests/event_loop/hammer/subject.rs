//! The handler of all sockets, which act at random in every callback.

use super::acts::{act, carry_out, detach, finish, pause_a_little, set_timeouts};
use super::begin::{Layer, hand_over};
use super::model::Name;
use super::{Own, Shared, Waits, say};
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    CloseReason, Closed, ConnectFailed, Error, Handler, LoopMut, Opened, PreOpen, RawSocket, Socket,
};
use wharf_tests::rng::Rng;
use wharf_tests::text::HEADER;

/// One of a loop's handlers.
pub(crate) struct Subject {
    pub(crate) shared: Rc<Shared>,
    pub(crate) rng: Rng,
    /// On which loop.
    pub(crate) number: usize,
    /// Reads by hand.
    pub(crate) manual: bool,
    /// Of what listens for TLS.
    pub(crate) secure: bool,
}

impl Subject {
    /// The last thing in every callback, for the socket may have moved to the other handler, or left, after it.
    fn react(&mut self, s: &mut Socket<'_, (), Own>) {
        let Self { shared, rng, .. } = self;
        let name = s.data().name;
        if shared.rough && shared.closing.get() {
            return finish(shared, s.loop_mut(), name);
        }
        match (shared.rough, rng.below(90)) {
            (_, 0..3) if !s.is_closed() => self.move_on(s),
            (true, choice) => {
                let whom = if choice < 12 { *rng.pick(&shared.model.borrow().open_on(self.number)) } else { name };
                act(shared, rng, s.loop_mut(), whom);
            }
            (false, 3..12) => pause_a_little(shared, rng, s.loop_mut(), name),
            (false, 12..14) => detach(shared, s.loop_mut(), name),
            (false, 14..17) if !s.data().sleeps => set_timeouts(shared, rng, s.loop_mut(), name),
            (false, _) => {}
        }
    }

    /// What was heard may be what it has waited for.
    fn go_on(&mut self, s: &mut Socket<'_, (), Own>) {
        if !self.shared.rough && s.data().waits != Waits::Never && s.data().plan == 0 && !s.is_closed() {
            carry_out(&self.shared, &mut self.rng, s);
        }
        self.react(s);
    }

    /// To the handler that reads in the other way.
    fn move_on(&self, s: &mut Socket<'_, (), Own>) {
        let other = self.shared.lanes.borrow()[self.number].keys[usize::from(!self.manual)];
        let own = std::mem::take(s.data());
        s.move_to(other, own).unwrap();
    }

    /// It may have slept until now.
    fn wake(&mut self, s: &mut Socket<'_, (), Own>) {
        if std::mem::take(&mut s.data().sleeps) {
            carry_out(&self.shared, &mut self.rng, s);
        }
        self.react(s);
    }

    /// How much a polite socket sends in all: mostly little.
    fn plan(&mut self, how: Opened) -> u64 {
        let least = HEADER as u64;
        if how == Opened::Accepted && self.rng.chance(1, 4) {
            // Of two sides one has to tell its name.
            return 0;
        }
        if self.rng.chance(1, 8) {
            let much = self.rng.between(0, 5 << 20).min(self.shared.spare.get());
            self.shared.spare.set(self.shared.spare.get() - much);
            return least + much;
        }
        self.rng.between(least, self.shared.most)
    }
}

impl Handler for Subject {
    type Data = Own;

    fn manual_read(&self) -> bool {
        self.manual
    }

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        let Self { shared, rng, .. } = self;
        if !shared.rough {
            return PreOpen::Keep;
        }
        match rng.below(100) {
            0 => PreOpen::Reject,
            1 => PreOpen::Reset,
            2 => {
                let fd = raw.take().expect("the real system has descriptors left");
                if shared.places.borrow().contain(raw.peer()) {
                    // It may connect still, and is given up: nothing will be heard of it.
                    shared.failed.set(shared.failed.get() + 1);
                } else if rng.chance(3, 4) {
                    let (to, key) = shared.somewhere(rng);
                    let layer = Layer::of_server(shared, self.secure);
                    hand_over((&to, key), fd.into(), layer, Own::default());
                }
                PreOpen::Take
            }
            _ => PreOpen::Keep,
        }
    }

    fn open(&mut self, s: &mut Socket<'_, (), Own>, how: Opened) {
        let (id, now, secure) = (s.id(), s.now(), s.tls_version().is_some());
        let mut model = self.shared.model.borrow_mut();
        if s.data().name == Name::default() {
            s.data().name = model.name();
        }
        let name = s.data().name;
        let first = model.opened(name, id, self.number, secure);
        drop(model);
        say(&self.shared, s.loop_mut(), name, &format!("{how:?}"), 0);
        if first && !self.shared.rough {
            let plan = self.plan(how);
            (s.data().plan, s.data().sleeps) = (plan, self.rng.chance(1, 40));
            s.data().waits = match how {
                Opened::Connected if self.rng.chance(2, 3) => Waits::ForAll,
                Opened::Accepted if plan > 0 && self.rng.chance(2, 3) => Waits::ForEnd,
                Opened::Accepted | Opened::Connected | Opened::Adopted => Waits::Never,
            };
            self.shared.model.borrow_mut().told(name).plan = plan;
        }
        if s.data().sleeps {
            // Once more on each loop: a timeout does not go along.
            let mut model = self.shared.model.borrow_mut();
            let stay = &mut model.told(name).stay;
            if self.rng.chance(1, 4) {
                s.set_long_timeout(1).unwrap();
                stay.set_long_timeout(now, 1);
            } else {
                s.set_timeout(1).unwrap();
                stay.set_timeout(now, 1, None);
            }
        } else if !self.shared.rough {
            carry_out(&self.shared, &mut self.rng, s);
        }
        self.react(s);
    }

    fn data(&mut self, s: &mut Socket<'_, (), Own>, bytes: &[u8]) {
        let (name, now) = (s.data().name, s.now());
        assert!(!self.manual, "{name:?} reads by hand");
        self.shared.model.borrow_mut().data(name, bytes, now);
        say(&self.shared, s.loop_mut(), name, "data", bytes.len() as u64);
        self.go_on(s);
    }

    fn readable(&mut self, s: &mut Socket<'_, (), Own>) {
        let (name, now) = (s.data().name, s.now());
        assert!(self.manual, "{name:?} does not read by hand");
        self.shared.model.borrow_mut().told(name);
        if self.rng.chance(1, 20) {
            // What it leaves is for the other handler.
            return self.move_on(s);
        }
        for _ in 0..self.rng.between(1, 3) {
            let most = self.rng.between(1, self.shared.most);
            match s.read(usize::try_from(most).unwrap()) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => self.shared.model.borrow_mut().data(name, &bytes, now),
                Err(Error::WouldBlock | Error::Closed) => break,
                Err(error) => panic!("{name:?} cannot read: {error}"),
            }
        }
        say(&self.shared, s.loop_mut(), name, "readable", 0);
        self.go_on(s);
    }

    fn writable(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        self.shared.model.borrow_mut().writable(name);
        say(&self.shared, s.loop_mut(), name, "writable", 0);
        if !self.shared.rough {
            carry_out(&self.shared, &mut self.rng, s);
        }
        self.react(s);
    }

    fn drained(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        self.shared.model.borrow_mut().drained(name);
        assert_eq!(s.queued(), 0);
        say(&self.shared, s.loop_mut(), name, "drained", 0);
        self.react(s);
    }

    fn end(&mut self, s: &mut Socket<'_, (), Own>) {
        let name = s.data().name;
        self.shared.model.borrow_mut().ended(name);
        say(&self.shared, s.loop_mut(), name, "end", 0);
        let shut = self.shared.model.borrow_mut().told(name).shut;
        if shut {
            // Another loop may have told our end.
            assert!(s.is_shut_down(), "{name:?} has forgotten its end");
        } else if self.shared.rough && self.rng.chance(1, 2) {
            finish(&self.shared, s.loop_mut(), name);
        }
        self.go_on(s);
    }

    fn timeout(&mut self, s: &mut Socket<'_, (), Own>) {
        let (name, now) = (s.data().name, s.now());
        self.shared.model.borrow_mut().timeout(name, now);
        say(&self.shared, s.loop_mut(), name, "timeout", 0);
        self.wake(s);
    }

    fn long_timeout(&mut self, s: &mut Socket<'_, (), Own>) {
        let (name, now) = (s.data().name, s.now());
        self.shared.model.borrow_mut().long_timeout(name, now);
        say(&self.shared, s.loop_mut(), name, "long timeout", 0);
        self.wake(s);
    }

    fn close(&mut self, lp: &mut LoopMut<'_>, closed: Closed<Own>) {
        let name = closed.data.name;
        say(&self.shared, lp, name, &format!("close {:?}", closed.reason), closed.received);
        if matches!(closed.reason, CloseReason::HandshakeFailed(_) | CloseReason::HandshakeTimeout) {
            assert!(self.shared.rough, "{closed:?}");
            self.shared.model.borrow_mut().unopened(&closed);
            let begun = u64::from(name != Name::default());
            return self.shared.failed.set(self.shared.failed.get() + begun);
        }
        let leaves = matches!(closed.reason, CloseReason::Detached);
        let (detached, mut own) = self.shared.model.borrow_mut().closed(name, closed);
        assert_eq!(detached.is_some(), leaves, "{name:?}");
        let Some(detached) = detached else { return };
        own.plan += if self.shared.rough { 0 } else { detached.unsent.len() as u64 };
        let own_keys = self.shared.lanes.borrow()[self.number].keys;
        match self.rng.below(3) {
            // To the same loop, at once.
            0 => assert!(lp.adopt(detached.stream, *self.rng.pick(&own_keys), own).is_ok()),
            1 => {
                let delay = Duration::from_micros(self.rng.below(100_000));
                let key = *self.rng.pick(&own_keys);
                let mut held = Some((detached.stream, own));
                let adopt = move |lp: &mut LoopMut<'_>, _| {
                    let (stream, own) = held.take().expect("it fires once");
                    assert!(lp.adopt(stream, key, own).is_ok());
                };
                lp.add_timer(delay, None, adopt).unwrap();
            }
            _ => {
                let (to, key) = self.shared.somewhere(&mut self.rng);
                hand_over((&to, key), detached.stream, Layer::Plain, own);
            }
        }
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_>, failed: ConnectFailed<Own>) {
        // Otherwise there is somebody who listens.
        assert!(self.shared.rough, "{failed:?}");
        self.shared.failed.set(self.shared.failed.get() + 1);
    }
}
