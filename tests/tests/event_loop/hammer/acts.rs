//! What sockets do: from callbacks, from timers and between the iterations.

use super::model::Name;
use super::{Own, Shared};
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{Error, LoopMut, Socket, Traffic};
use wharf_tests::rng::Rng;
use wharf_tests::text::text;

/// Anything that can be done with a socket, from anywhere.
pub(crate) fn act(shared: &Shared, rng: &mut Rng, lp: &mut LoopMut<'_>, name: Name) {
    let choice = rng.below(100);
    match choice {
        0..46 => {
            let much = size(shared, rng);
            write(shared, rng, lp, name, much);
            return;
        }
        46..48 => return finish(shared, lp, name),
        48..51 => return detach(shared, lp, name),
        51..55 => return set_timeouts(shared, rng, lp, name),
        _ => {}
    }
    let mut model = shared.model.borrow_mut();
    let side = model.side(name);
    let mut stream = lp.stream(side.id).expect("it is not stale before its `close`");
    let closed = stream.is_closed();
    assert!(closed || !side.stay.gone, "{name:?} is not closed after a close");
    let stay = &mut side.stay;
    let outcome = match choice {
        55..62 => {
            stay.limit = 0;
            stream.pause()
        }
        62..67 => {
            stay.limit = rng.between(1, shared.most);
            stream.limit_read(stay.limit)
        }
        67..82 => {
            stay.limit = u64::MAX;
            stream.resume()
        }
        82..85 => {
            // One that has been detached is shut down by nobody.
            side.shut |= !closed;
            stream.shutdown()
        }
        85 => {
            (stay.deaf, stay.limit) = (true, u64::MAX);
            stream.shutdown_read()
        }
        86 | 87 => {
            stay.gone = true;
            return stream.close(3);
        }
        88 | 89 => {
            stay.gone = true;
            return stream.abort();
        }
        _ => return,
    };
    assert_eq!(outcome.is_err(), closed, "{name:?}: {choice} came to {outcome:?}");
}

/// Sends until there is no more or no room, then ends our side, if that waits for nothing. One that sleeps does so when
/// its timeout is told.
pub(crate) fn carry_out(shared: &Shared, rng: &mut Rng, s: &mut Socket<'_, (), Own>) {
    let name = s.data().name;
    if s.data().sleeps || shared.model.borrow_mut().told(name).shut {
        return;
    }
    while s.data().plan > 0 {
        let some = rng.between(1, shared.most.max(s.data().plan / 2));
        let wanted = s.data().plan.min(some);
        let taken = write(shared, rng, s.loop_mut(), name, wanted);
        s.data().plan -= taken;
        if taken < wanted {
            return;
        }
    }
    let waits = s.data().waits;
    if shared.model.borrow().has_heard(name, waits) {
        shared.model.borrow_mut().told(name).shut = true;
        s.shutdown().unwrap();
    }
}

pub(crate) fn finish(shared: &Shared, lp: &mut LoopMut<'_>, name: Name) {
    let mut model = shared.model.borrow_mut();
    let side = model.side(name);
    let mut stream = lp.stream(side.id).expect("it is not stale before its `close`");
    let closed = stream.is_closed();
    assert_eq!(stream.finish().is_err(), closed, "{name:?}");
    if !closed {
        side.shut = true;
        (side.stay.deaf, side.stay.timeout, side.stay.long_timeout) = (true, None, None);
    }
}

/// Takes the socket out of its loop; its `close` hands it over.
pub(crate) fn detach(shared: &Shared, lp: &mut LoopMut<'_>, name: Name) {
    let mut model = shared.model.borrow_mut();
    let side = model.side(name);
    match lp.detach(side.id) {
        Ok(_) if side.secure => panic!("{name:?} has left without its TLS"),
        Ok(detached) => (side.stay.leaving, side.stay.gone) = (Some(detached), true),
        Err(Error::Closed | Error::NotEmpty) => {}
        Err(Error::Io { op: "detach", .. }) if side.secure => {}
        Err(error) => panic!("{name:?} cannot leave: {error}"),
    }
}

/// Timeouts that may fire before the socket is closed, and some that surely do not.
pub(crate) fn set_timeouts(shared: &Shared, rng: &mut Rng, lp: &mut LoopMut<'_>, name: Name) {
    // Between the iterations the loop has not asked for the time.
    let now = shared.world.now();
    let mut model = shared.model.borrow_mut();
    let side = model.side(name);
    let mut stream = lp.stream(side.id).expect("it is not stale before its `close`");
    let (seconds, minutes) = (*rng.pick(&[0, 1, 1, 2, 4_294_967]), *rng.pick(&[0, 1, 71_582]));
    let idle = *rng.pick(&[None, Some(Traffic::Rx), Some(Traffic::Any)]);
    let set = match (rng.chance(1, 4), idle) {
        (true, _) => stream.set_long_timeout(minutes).inspect(|()| side.stay.set_long_timeout(now, minutes)),
        (false, None) => stream.set_timeout(seconds).inspect(|()| side.stay.set_timeout(now, seconds, idle)),
        (false, Some(traffic)) => {
            stream.set_idle_timeout(seconds, traffic).inspect(|()| side.stay.set_timeout(now, seconds, idle))
        }
    };
    assert!(set.is_ok() || stream.is_closed() || side.stay.deaf, "{name:?}: {set:?}");
}

/// Ended by a timer.
pub(crate) fn pause_a_little(shared: &Rc<Shared>, rng: &mut Rng, lp: &mut LoopMut<'_>, name: Name) {
    let mut model = shared.model.borrow_mut();
    let side = model.side(name);
    let id = side.id;
    let mut stream = lp.stream(id).expect("it is not stale before its `close`");
    if stream.is_closed() {
        return;
    }
    side.stay.limit = rng.below(2) * rng.below(3000);
    stream.limit_read(side.stay.limit).unwrap();
    let shared = Rc::clone(shared);
    let resume = move |lp: &mut LoopMut<'_>, _| {
        // It may have left or been closed.
        let open = lp.stream(id).ok().filter(|stream| !stream.is_closed());
        if let Some(mut stream) = open {
            shared.model.borrow_mut().told(name).stay.limit = u64::MAX;
            stream.resume().unwrap();
        }
    };
    lp.add_timer(Duration::from_micros(rng.below(20_000)), None, resume).unwrap();
}

/// A number of bytes: mostly small.
fn size(shared: &Shared, rng: &mut Rng) -> u64 {
    if rng.chance(1, 100) {
        let much = rng.between(1, 5 << 20).min(shared.spare.get());
        shared.spare.set(shared.spare.get() - much);
        return much.max(1);
    }
    rng.between(1, shared.most)
}

/// Writes in one of the ways and returns what was taken. Nothing if it could not be tried.
fn write(shared: &Shared, rng: &mut Rng, lp: &mut LoopMut<'_>, name: Name, much: u64) -> u64 {
    let mut model = shared.model.borrow_mut();
    let side = model.side(name);
    let Ok(mut stream) = lp.stream(side.id) else { panic!("{name:?} is stale before its `close`") };
    if side.shut && !stream.is_shut_down() {
        // Another loop has told our end, of which this one does not know.
        return 0;
    }
    let bytes = text(name.0, side.accepted, usize::try_from(much).unwrap());
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
