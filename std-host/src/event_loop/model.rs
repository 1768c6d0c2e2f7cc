//! Every interleaving of a loop and its handles, explored by loom.
//!
//! `shared` here is `shared.rs` itself, compiled once more over loom's primitives. A loop that sleeps although it
//! should be awake is a deadlock, which loom reports; one that goes round and round and does not see a call runs into
//! loom's bound. The twin at the end shows that the model would notice: it is the queue rewritten, right or with one
//! mistake.

#[expect(clippy::duplicate_mod, reason = "what is modelled has to be what runs")]
#[path = "shared.rs"]
mod shared;

mod sync {
    pub(super) use loom::sync::Mutex;
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicUsize};
    // Counters, and the number of the loop's thread, which only that thread has to see: they decide nothing between
    // threads, and loom would try every order of them.
    pub(super) use std::sync::atomic::AtomicU64;

    use loom::sync::MutexGuard;
    use std::sync::atomic::Ordering;

    pub(super) fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
        mutex.lock().expect("nothing panics under this lock")
    }

    pub(super) fn this_thread() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        loom::thread_local!(static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed));
        NUMBER.with(|number| *number)
    }
}

use crate::event_loop::deferred::Why;
use crate::event_loop::histograms::Sampler;
use crate::event_loop::net::Wake;
use loom::sync::Notify;
use loom::thread;
use shared::Shared;
use std::collections::VecDeque;
// Loom's own would turn a deadlock that it finds into an abort: its drop takes part in the model.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A call: its sender, and its number among the calls of that sender.
type Call = (u8, u8);

/// The part of `Shared` that the twin has as well.
trait Subject {
    fn push(&self, call: Call) -> Result<(), Why>;
    fn is_waiting(&self) -> bool;
    fn park(&self) -> bool;
    fn swap(&self, batch: &mut VecDeque<Call>);
}

impl Subject for Shared<Call> {
    fn push(&self, call: Call) -> Result<(), Why> {
        self.push(call, |call| call).map_err(|(why, back)| {
            assert_eq!(back, call, "another call was given back");
            why
        })
    }

    fn is_waiting(&self) -> bool {
        self.is_waiting()
    }

    fn park(&self) -> bool {
        self.park()
    }

    fn swap(&self, batch: &mut VecDeque<Call>) {
        assert!(self.swap(batch).is_none(), "there is no clock that could have measured");
    }
}

/// What the system's waker and poll are to a loop.
struct Bell {
    rung: Notify,
    times: AtomicU64,
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Self { rung: Notify::new(), times: AtomicU64::new(0) })
    }

    fn wake(self: &Arc<Self>) -> Wake {
        let bell = Arc::clone(self);
        Arc::new(move || {
            bell.times.fetch_add(1, Ordering::Relaxed);
            bell.rung.notify();
        })
    }
}

const LIMIT: usize = 8;

fn shared(bell: &Arc<Bell>, limit: usize) -> Arc<Shared<Call>> {
    let shared = Arc::new(Shared::new(bell.wake(), None, limit, Sampler::new(1)));
    shared.enter();
    shared
}

/// Explores a scenario and returns how many interleavings it had. Threads are taken off in the middle of their work at
/// most `preemptions` times.
fn explore(preemptions: usize, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        scenario();
    });
    count.load(Ordering::Relaxed)
}

/// The deferred calls of `Loop::run`: steps 2, 4 and 7, until `total` calls have arrived. How often it waited, too.
fn run(subject: &impl Subject, bell: &Bell, total: usize) -> (Vec<Call>, u64) {
    let (mut ran, mut batch, mut waits) = (Vec::new(), VecDeque::new(), 0);
    while ran.len() < total {
        subject.swap(&mut batch);
        if batch.is_empty() && subject.park() {
            bell.rung.wait();
            waits += 1;
            subject.swap(&mut batch);
        }
        ran.extend(batch.drain(..));
    }
    (ran, waits)
}

fn numbers_of(calls: &[Call], sender: u8) -> Vec<u8> {
    calls.iter().filter(|call| call.0 == sender).map(|call| call.1).collect()
}

/// Two senders with two calls each, and a loop that sleeps when it sees nothing to do.
fn two_senders<S: Subject + Send + Sync + 'static>(make: impl Fn(&Arc<Bell>) -> Arc<S>) {
    let bell = Bell::new();
    let subject = make(&bell);
    let senders = [0, 1].map(|sender| {
        let subject = Arc::clone(&subject);
        thread::spawn(move || [0, 1].map(|number| subject.push((sender, number)).unwrap()))
    });
    let (ran, waits) = run(&*subject, &bell, 4);
    for sender in senders {
        sender.join().unwrap();
    }
    assert_eq!((numbers_of(&ran, 0), numbers_of(&ran, 1)), (vec![0, 1], vec![0, 1]));
    assert!(!subject.is_waiting());
    // Loom lets a wait end for nothing too.
    assert!(bell.times.load(Ordering::Relaxed) <= waits, "at most one wake for every wait");
}

#[test]
fn no_call_is_lost_or_overtaken_and_a_loop_that_waits_is_woken_once() {
    let explored = explore(2, || two_senders(|bell| shared(bell, LIMIT)));
    assert!(explored > 1000, "{explored}");
}

#[test]
fn a_call_of_the_loop_itself_wakes_nobody_and_does_not_wait() {
    let explored = explore(3, || {
        let bell = Bell::new();
        let shared = shared(&bell, LIMIT);
        let sender = Arc::clone(&shared);
        let sender = thread::spawn(move || {
            assert!(!sender.is_on_loop_thread());
            Subject::push(&*sender, (1, 0)).unwrap();
        });
        Subject::push(&*shared, (0, 0)).unwrap();
        let (ran, waits) = run(&*shared, &bell, 2);
        sender.join().unwrap();
        assert_eq!((numbers_of(&ran, 0), numbers_of(&ran, 1)), (vec![0], vec![0]));
        let wakes = bell.times.load(Ordering::Relaxed);
        assert!(wakes <= waits && wakes + shared.coalesced() == 2, "only a loop that waits is woken");
    });
    assert!(explored > 10, "{explored}");
}

#[test]
fn at_the_end_every_call_has_run_or_is_left_or_was_refused() {
    let explored = explore(3, || {
        let bell = Bell::new();
        let shared = shared(&bell, 2);
        let senders = [0, 1].map(|sender| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || [0, 1].map(|number| Subject::push(&*shared, (sender, number))))
        });
        let mut calls = VecDeque::new();
        Subject::swap(&*shared, &mut calls);
        let ran = calls.len();
        calls.append(&mut shared.end());
        assert!(!shared.is_waiting() && !shared.is_running() && calls.len() <= ran + 2);
        assert_eq!(Subject::push(&*shared, (9, 9)), Err(Why::Ended));
        assert_eq!(shared.push_always((9, 9), |call| call), Err((Why::Ended, (9, 9))));
        assert!(shared.has_ended());
        shared.leave();
        for (sender, results) in senders.into_iter().map(|sender| sender.join().unwrap()).enumerate() {
            let sender = u8::try_from(sender).unwrap();
            let taken: Vec<u8> = (0..).zip(results).filter(|(_, result)| result.is_ok()).map(|(n, _)| n).collect();
            assert_eq!(numbers_of(calls.make_contiguous(), sender), taken);
            // Once the loop has ended, it stays so.
            assert!(results[0] != Err(Why::Ended) || results[1] == Err(Why::Ended));
        }
        assert!(shared.end().is_empty() && !shared.is_waiting());
    });
    assert!(explored > 100, "{explored}");
}

#[test]
fn a_loop_that_sleeps_hears_stop_and_the_last_keeper_go() {
    let explored = explore(3, || {
        let bell = Bell::new();
        let shared = shared(&bell, LIMIT);
        shared.add_keeper();
        let (stops, lets_go) = (Arc::clone(&shared), Arc::clone(&shared));
        let stops = thread::spawn(move || stops.stop());
        let lets_go = thread::spawn(move || lets_go.remove_keeper());
        while shared.is_kept_alive() {
            bell.rung.wait();
        }
        while !shared.is_stopping() {
            bell.rung.wait();
        }
        stops.join().unwrap();
        lets_go.join().unwrap();
    });
    assert!(explored > 10, "{explored}");
}

// --- the twin --------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    None,
    /// A swap lowers `waiting` after it has let go of the lock.
    LoweredOutsideTheLock,
    /// A sender raises `waiting` before it takes the lock.
    RaisedOutsideTheLock,
    /// A loop that is about to wait does not say so.
    WaitsInSecret,
    /// A loop says that it is about to wait without another look at the queue.
    WaitsBlindly,
    /// A sender wakes before its call is in the queue.
    WakesTooSoon,
}

struct Twin {
    mistake: Mistake,
    queue: sync::Mutex<(VecDeque<Call>, bool)>,
    waiting: sync::AtomicBool,
    wake: Wake,
}

impl Subject for Twin {
    fn push(&self, call: Call) -> Result<(), Why> {
        if self.mistake == Mistake::RaisedOutsideTheLock {
            self.waiting.store(true, Ordering::Release);
        }
        let mut queue = sync::lock(&self.queue);
        let wake = !std::mem::replace(&mut queue.1, true);
        if wake && self.mistake == Mistake::WakesTooSoon {
            drop(queue);
            (self.wake)();
            queue = sync::lock(&self.queue);
        }
        queue.0.push_back(call);
        if self.mistake != Mistake::RaisedOutsideTheLock {
            self.waiting.store(true, Ordering::Release);
        }
        drop(queue);
        if wake && self.mistake != Mistake::WakesTooSoon {
            (self.wake)();
        }
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    fn park(&self) -> bool {
        if self.mistake == Mistake::WaitsBlindly {
            let idle = !self.is_waiting();
            sync::lock(&self.queue).1 &= !idle;
            return idle;
        }
        let mut queue = sync::lock(&self.queue);
        let idle = queue.0.is_empty();
        queue.1 &= !idle || self.mistake == Mistake::WaitsInSecret;
        idle
    }

    fn swap(&self, batch: &mut VecDeque<Call>) {
        if !self.is_waiting() {
            return;
        }
        let mut queue = sync::lock(&self.queue);
        std::mem::swap(&mut queue.0, batch);
        if self.mistake == Mistake::LoweredOutsideTheLock {
            drop(queue);
            self.waiting.store(false, Ordering::Release);
        } else {
            self.waiting.store(false, Ordering::Release);
        }
    }
}

fn explore_twin(mistake: Mistake) -> usize {
    explore(2, move || {
        two_senders(|bell| {
            let queue = sync::Mutex::new((VecDeque::new(), true));
            Arc::new(Twin { mistake, queue, waiting: sync::AtomicBool::new(false), wake: bell.wake() })
        });
    })
}

#[test]
fn a_twin_without_a_mistake_passes() {
    assert!(explore_twin(Mistake::None) > 1000);
}

#[test]
#[should_panic(expected = "maximum number of branches")]
fn lowering_the_flag_outside_the_lock_hides_a_call() {
    explore_twin(Mistake::LoweredOutsideTheLock);
}

#[test]
#[should_panic(expected = "maximum number of branches")]
fn raising_the_flag_outside_the_lock_hides_a_call() {
    explore_twin(Mistake::RaisedOutsideTheLock);
}

#[test]
#[should_panic(expected = "deadlock")]
fn waiting_without_saying_so_loses_a_wake() {
    explore_twin(Mistake::WaitsInSecret);
}

#[test]
#[should_panic(expected = "deadlock")]
fn waiting_without_another_look_loses_a_wake() {
    explore_twin(Mistake::WaitsBlindly);
}

#[test]
#[should_panic(expected = "deadlock")]
fn waking_before_the_call_is_queued_loses_a_wake() {
    explore_twin(Mistake::WakesTooSoon);
}
