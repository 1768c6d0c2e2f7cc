//! Checks the checker: one right machine, and one broken machine for each law, which the suite must catch.
#![cfg(test)]

use super::{Coverage, Subject, run};
use crate::rng::Rng;
use core::time::Duration;
use std::collections::VecDeque;
use wharf_core::{Instant, Machine, Step};

/// How the toy is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Law 1: each poll of a drained machine moves the deadline.
    RestlessWait,
    /// Law 2: an early timeout restarts the countdown.
    EarlyTimeoutRestarts,
    /// Law 2: an early timeout is counted, which shows only in a later output.
    EarlyTimeoutRemembered,
    /// Law 3: an expired deadline stays.
    DeadlineStays,
    /// Law 4: a refused input is counted, which shows only in a later output.
    RefusalRemembered,
    /// Law 5: outputs depend on where the machine lies in memory.
    Unrepeatable,
    /// Law 6: an echo begets itself.
    EndlessDrain,
}

/// A kettle: echoes numbers, refuses those above 9, and whistles one second after the last one.
#[derive(Debug)]
struct Kettle {
    flaw: Flaw,
    queue: VecDeque<u32>,
    whistle_at: Option<Instant>,
    secret: u32,
    salt: u32,
}

#[derive(Debug)]
struct TooBig;

impl core::fmt::Display for TooBig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the number is above 9")
    }
}

impl core::error::Error for TooBig {}

const SIMMER: Duration = Duration::from_secs(1);

impl Machine for Kettle {
    type Input<'a> = u32;
    type Output = u32;
    type Error = TooBig;

    fn handle_input(&mut self, now: Instant, input: u32) -> Result<(), TooBig> {
        if input > 9 {
            if self.flaw == Flaw::RefusalRemembered {
                self.secret += 1;
            }
            return Err(TooBig);
        }
        self.queue.push_back(input + 10 * self.secret + self.salt);
        self.whistle_at = Some(now.saturating_add(SIMMER));
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) {
        let Some(at) = self.whistle_at else { return };
        if now < at {
            match self.flaw {
                Flaw::EarlyTimeoutRestarts => self.whistle_at = Some(now.saturating_add(SIMMER)),
                Flaw::EarlyTimeoutRemembered => self.secret += 1,
                Flaw::None
                | Flaw::RestlessWait
                | Flaw::DeadlineStays
                | Flaw::RefusalRemembered
                | Flaw::Unrepeatable
                | Flaw::EndlessDrain => {}
            }
            return;
        }
        self.queue.push_back(1000);
        if self.flaw != Flaw::DeadlineStays {
            self.whistle_at = None;
        }
    }

    fn poll_output(&mut self) -> Step<u32> {
        if let Some(number) = self.queue.pop_front() {
            if self.flaw == Flaw::EndlessDrain && number == 7 {
                self.queue.push_back(7);
            }
            return Step::Do(number);
        }
        let wait = self.whistle_at;
        if self.flaw == Flaw::RestlessWait {
            self.whistle_at = wait.map(|at| at.saturating_add(Duration::from_micros(1)));
        }
        Step::Wait(wait)
    }
}

/// A kettle on the suite's bench. The flaw is a const parameter because a subject is built from a seed alone.
struct OnBench<const FLAW: u8>(Kettle);

const FLAWS: [Flaw; 8] = [
    Flaw::None,
    Flaw::RestlessWait,
    Flaw::EarlyTimeoutRestarts,
    Flaw::EarlyTimeoutRemembered,
    Flaw::DeadlineStays,
    Flaw::RefusalRemembered,
    Flaw::Unrepeatable,
    Flaw::EndlessDrain,
];

impl<const FLAW: u8> Subject for OnBench<FLAW> {
    type Machine = Kettle;
    type Op = u32;
    type Note = u32;

    const NAME: &'static str = "toy";
    const DRAIN_BOUND: usize = 2;

    fn fresh(_seed: u64) -> Self {
        use core::sync::atomic::{AtomicU32, Ordering};
        static MADE: AtomicU32 = AtomicU32::new(0);
        let flaw = FLAWS[usize::from(FLAW)];
        let salt = if flaw == Flaw::Unrepeatable { MADE.fetch_add(1, Ordering::Relaxed) } else { 0 };
        Self(Kettle { flaw, queue: VecDeque::new(), whistle_at: None, secret: 0, salt })
    }

    fn machine(&mut self) -> &mut Kettle {
        &mut self.0
    }

    fn draw(&mut self, rng: &mut Rng, _now: Instant) -> u32 {
        u32::from(rng.byte() % 12)
    }

    fn apply(&mut self, now: Instant, op: &u32) -> Result<(), TooBig> {
        self.0.handle_input(now, *op)
    }

    fn carry_out(&mut self, _now: Instant, output: u32) -> u32 {
        output
    }
}

/// The laws that 20 scripts found broken.
fn broken<const FLAW: u8>() -> Vec<u8> {
    let mut laws: Vec<u8> =
        (0..20).filter_map(|seed| run::<OnBench<FLAW>>(seed, 60).err()).map(|violation| violation.law).collect();
    laws.sort_unstable();
    laws.dedup();
    laws
}

#[test]
fn a_right_machine_passes_and_every_kind_of_action_was_tried() {
    let mut coverage = Coverage::default();
    for seed in 0..20 {
        coverage.add(run::<OnBench<0>>(seed, 60).unwrap());
    }
    for (what, times) in [
        ("inputs", coverage.inputs),
        ("refusals", coverage.refusals),
        ("outputs", coverage.outputs),
        ("timeouts", coverage.timeouts),
        ("early timeouts", coverage.early_timeouts),
    ] {
        assert!(times > 20, "{what}: {times}");
    }
}

#[test]
fn a_wait_that_moves_breaks_law_1() {
    assert_eq!(broken::<1>(), [1]);
}

#[test]
fn an_early_timeout_that_acts_breaks_law_2() {
    assert_eq!(broken::<2>(), [2]);
}

#[test]
fn an_early_timeout_that_is_remembered_breaks_law_2() {
    assert_eq!(broken::<3>(), [2]);
}

#[test]
fn an_expired_deadline_that_stays_breaks_law_3() {
    assert_eq!(broken::<4>(), [3]);
}

#[test]
fn a_refusal_that_is_remembered_breaks_law_4() {
    assert_eq!(broken::<5>(), [4]);
}

#[test]
fn outputs_that_do_not_repeat_break_law_5() {
    assert_eq!(broken::<6>(), [5]);
}

#[test]
fn a_drain_without_end_breaks_law_6() {
    assert_eq!(broken::<7>(), [6]);
}

#[test]
#[should_panic(expected = "WHARF_SEED=")]
fn a_failure_names_its_seed() {
    let _ = super::check::<OnBench<4>>(20, 60);
}
