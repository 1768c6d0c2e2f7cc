//! What sockets do: from callbacks, from timers and from deferred calls.

use crate::subject::Own;
use crate::world::{Here, Manner};
use std::time::Duration;
use wharf_host::event_loop::{Error, LoopMut, SocketId, Traffic};
use wharf_tests::rng::Rng;
use wharf_tests::text::text;

/// Sends until there is no more or no room, then ends our side. One that sleeps does so when its timeout is told.
pub(crate) fn carry_out(s: &mut Own<'_>) {
    if s.data().shut || s.data().sleeps {
        return;
    }
    while s.data().accepted < s.data().plan {
        let left = s.data().plan - s.data().accepted;
        let wanted = size(&mut s.loop_mut().data().rng).min(usize::try_from(left).unwrap_or(usize::MAX));
        if write(s, wanted) < wanted {
            return;
        }
    }
    s.data().shut = true;
    s.shutdown().unwrap();
}

/// The last thing in every callback, for the socket may have moved to another handler, or left, after it.
pub(crate) fn react(manner: Manner, s: &mut Own<'_>) {
    let rng = &mut s.loop_mut().data().rng;
    match (manner.rough, rng.below(60)) {
        (true, 0..6) => nudge(s.loop_mut(), 1),
        (true, 6..40) => act(s, manner),
        (false, 0..2) => move_on(s, manner),
        (false, 2) => detach(s),
        (false, 3..6) if !s.data().sleeps => set_timeouts(s),
        (false, 6..10) => pause_a_little(s),
        _ => {}
    }
}

/// Acts on rough sockets, whatever they are doing. One whose callback is running is left out.
pub(crate) fn nudge(lp: &mut LoopMut<'_, Here>, times: usize) {
    for manual in [false, true] {
        let manner = Manner { rough: true, manual };
        let key = lp.data().key(manner);
        let ids: Vec<SocketId> = lp.sockets(key).collect();
        for _ in 0..times.min(ids.len()) {
            let id = *lp.data().rng.pick(&ids);
            // Stale: it has just moved to the other handler.
            match lp.with_socket(key, id, |s| act(s, manner)) {
                Ok(()) | Err(Error::Busy | Error::Stale) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Anything that can be done with a socket.
fn act(s: &mut Own<'_>, manner: Manner) {
    if !s.data().stay.open {
        // Neither is heard of one that is cancelled, nor of its peer if it had one on another loop.
        let heard_of = s.data().number > 0;
        if !heard_of && s.loop_mut().data().rng.chance(1, 50) {
            let closed = s.is_closed();
            assert_eq!(s.cancel().is_err(), closed);
        }
        return;
    }
    let closed = s.is_closed();
    assert!(closed || !s.data().stay.gone, "{:?} is not closed after a close", s.data());
    s.data().acts = s.data().acts.saturating_sub(1);
    let rng = &mut s.loop_mut().data().rng;
    let (choice, much) = (rng.below(100), size(rng));
    let choice = if s.data().acts == 0 { 40 + choice % 12 } else { choice };
    let limit = much as u64;
    let outcome = match choice {
        0..40 => {
            write(s, much);
            return;
        }
        40..46 => return finish(s),
        46..49 => {
            s.data().stay.gone = true;
            return s.close(3);
        }
        49..52 => {
            s.data().stay.gone = true;
            return s.abort();
        }
        52..58 => s.pause().inspect(|()| s.data().stay.limit = Some(0)),
        58..62 => s.limit_read(limit).inspect(|()| s.data().stay.limit = Some(limit)),
        62..76 => s.resume().inspect(|()| s.data().stay.limit = None),
        76..79 => s.shutdown().inspect(|()| s.data().shut = true),
        79 => s.shutdown_read().inspect(|()| s.data().stay.deaf = true),
        80..84 => return move_on(s, manner),
        84..88 => return detach(s),
        88..94 => return set_timeouts(s),
        _ => return,
    };
    assert_eq!(outcome.is_err(), closed, "{:?}: {choice} came to {outcome:?}", s.data());
}

/// A number of bytes: mostly small.
fn size(rng: &mut Rng) -> usize {
    let most = match rng.below(100) {
        0 => 5 * 1024 * 1024,
        1..20 => 200_000,
        _ => 2000,
    };
    1 + rng.index(most)
}

/// Writes in one of the ways and returns what was taken. Nothing if it could not be tried.
fn write(s: &mut Own<'_>, much: usize) -> usize {
    let bytes = text(s.data().number, s.data().accepted, much);
    let direct = s.queued() == 0;
    let rng = &mut s.loop_mut().data().rng;
    let (way, corks, flushes) = (rng.below(6), rng.chance(1, 10), rng.chance(1, 10));
    let (head, body) = bytes.split_at(rng.index(much + 1));
    // A side that can send no more is refused by the write too.
    if corks {
        let _ = s.cork();
    }
    let outcome = match way {
        0 if direct => s.write_now(&bytes),
        1 if direct => s.write_now2(head, body),
        2 => s.write2(head, body),
        3 => s.write_more(&bytes),
        _ => s.write(&bytes),
    };
    let queued = s.queued();
    if flushes {
        let _ = s.flush();
    }
    s.data().wrote(much, &outcome, queued);
    outcome.unwrap_or(0)
}

pub(crate) fn finish(s: &mut Own<'_>) {
    let closed = s.is_closed();
    assert_eq!(s.finish().is_err(), closed, "{:?}", s.data());
    if !closed {
        s.data().shut = true;
        let stay = &mut s.data().stay;
        (stay.deaf, stay.timeout, stay.long_timeout) = (true, None, None);
    }
}

/// To the handler that reads in the other way.
fn move_on(s: &mut Own<'_>, manner: Manner) {
    if s.is_closed() {
        return;
    }
    let other = s.loop_mut().data().key(Manner { manual: !manner.manual, ..manner });
    let side = std::mem::take(s.data());
    s.move_to(other, side).unwrap();
}

fn detach(s: &mut Own<'_>) {
    let id = s.id();
    match s.loop_mut().detach(id) {
        Ok(detached) => {
            let stay = &mut s.data().stay;
            (stay.leaving, stay.gone) = (Some(detached), true);
        }
        Err(Error::Closed | Error::NotEmpty) => {}
        Err(Error::Io { op: "detach", .. }) if s.tls_version().is_some() => {}
        Err(error) => panic!("{:?} cannot leave: {error}", s.data()),
    }
}

/// Timeouts that may fire before the socket is closed, and some that surely do not.
fn set_timeouts(s: &mut Own<'_>) {
    let now = s.now();
    let rng = &mut s.loop_mut().data().rng;
    let (seconds, minutes) = (*rng.pick(&[0, 1, 1, 2, 4_294_967]), *rng.pick(&[0, 1, 71_582]));
    let after = |seconds: u32| (seconds > 0).then(|| now.saturating_add(Duration::from_secs(seconds.into())));
    let set = match rng.below(4) {
        0 => s.set_idle_timeout(seconds, Traffic::Rx).map(|()| s.data().stay.timeout = after(seconds)),
        1 => s.set_idle_timeout(seconds, Traffic::Any).map(|()| s.data().stay.timeout = after(seconds)),
        2 => s.set_timeout(seconds).map(|()| s.data().stay.timeout = after(seconds)),
        _ => s.set_long_timeout(minutes).map(|()| s.data().stay.long_timeout = after(minutes * 60)),
    };
    assert!(set.is_ok() || s.is_closed() || s.data().stay.deaf, "{:?}: {set:?}", s.data());
}

/// Ended by a timer.
fn pause_a_little(s: &mut Own<'_>) {
    if s.is_closed() {
        return;
    }
    let rng = &mut s.loop_mut().data().rng;
    let (limit, span) = (rng.below(2) * rng.below(3000), Duration::from_millis(rng.below(20)));
    s.limit_read(limit).unwrap();
    s.data().stay.limit = Some(limit);
    let id = s.id();
    let resume = move |lp: &mut LoopMut<'_, Here>, _| {
        for manual in [false, true] {
            let key = lp.data().key(Manner { rough: false, manual });
            // It may have moved, left or been closed.
            let _ = lp.with_socket(key, id, |s| s.resume().map(|()| s.data().stay.limit = None));
        }
    };
    s.loop_mut().add_timer(span, None, resume).unwrap();
}
