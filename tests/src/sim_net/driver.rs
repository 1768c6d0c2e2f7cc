//! Runs loops in a world.

use super::{Faults, World};
use std::time::Duration;
use wharf_host::event_loop::{Loop, LoopMut, LoopOptions, Turn};

/// Iterations of one run after which a [`Sim`] gives up.
pub const STEP_BOUND: usize = 1_000_000;

/// A world with one or several loops. They run in turn on one thread; the same seed gives the same run.
#[derive(Debug)]
pub struct Sim<T: 'static = ()> {
    /// The world, for peers, routes and the clock.
    pub world: World,
    loops: Vec<Option<Loop<T>>>,
    step_bound: usize,
}

impl<T> Sim<T> {
    /// No loops yet, in a strict world.
    #[must_use]
    pub fn strict() -> Self {
        Self::in_world(World::strict())
    }

    /// No loops yet, in a world with faults.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::in_world(World::new(seed, faults))
    }

    fn in_world(world: World) -> Self {
        Self { world, loops: Vec::new(), step_bound: STEP_BOUND }
    }

    /// Another bound than [`STEP_BOUND`].
    #[must_use]
    pub const fn with_step_bound(mut self, steps: usize) -> Self {
        self.step_bound = steps;
        self
    }

    /// One more loop. Loops are numbered from 0.
    pub fn add_loop(&mut self, data: T, options: LoopOptions) -> usize {
        self.loops.push(Some(Loop::with_net(data, options, Box::new(self.world.net()))));
        self.loops.len() - 1
    }

    /// A loop's operations, between its iterations.
    ///
    /// # Panics
    /// If the loop has ended.
    pub fn lp(&mut self, number: usize) -> LoopMut<'_, T> {
        // What is done with it may give the loop something to do.
        self.world.ask_all_again();
        self.loops[number].as_mut().expect("the loop has not ended").loop_mut()
    }

    /// Whether a loop has ended by `stop`.
    #[must_use]
    pub fn has_ended(&self, number: usize) -> bool {
        self.loops[number].is_none()
    }

    /// One iteration of every loop. False once nothing can happen any more.
    ///
    /// # Panics
    /// When a callback does.
    pub fn step(&mut self) -> bool {
        for place in &mut self.loops {
            let Some(running) = place else { continue };
            if running.turn(None).expect("the simulated poll does not fail") == Turn::Ended {
                *place = None;
            }
            if self.world.is_at_rest() {
                return false;
            }
        }
        self.loops.iter().any(Option::is_some)
    }

    /// Lets so much virtual time pass, or less if a callback moves the clock further.
    ///
    /// # Panics
    /// When a callback does, and after [`STEP_BOUND`] iterations.
    pub fn run_for(&mut self, span: Duration) {
        let horizon = self.world.now().saturating_add(span);
        self.world.set_horizon(Some(horizon));
        self.run(|_| false);
        self.world.set_horizon(None);
    }

    /// Runs until nothing can happen any more: every loop waits, nothing is on its way, and no timer is armed.
    ///
    /// # Panics
    /// When a callback does, and after [`STEP_BOUND`] iterations: of a livelock, or of a timer that repeats for ever.
    pub fn run_until_idle(&mut self) {
        self.run(|_| false);
    }

    /// Runs until `f` is true after an iteration of every loop.
    ///
    /// # Panics
    /// When nothing can happen any more and `f` is still false, else as [`Sim::run_until_idle`].
    pub fn run_until(&mut self, f: impl FnMut(&mut Self) -> bool) {
        assert!(self.run(f), "nothing can happen any more, and what was waited for has not come");
    }

    fn run(&mut self, mut f: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..self.step_bound {
            let goes_on = self.step();
            if f(self) {
                return true;
            }
            if !goes_on {
                return false;
            }
        }
        panic!(
            "no rest after {} iterations, at {:?}: a livelock, or a timer that repeats for ever",
            self.step_bound,
            self.world.now()
        );
    }
}
