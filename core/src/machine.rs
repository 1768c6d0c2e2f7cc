//! The contract that every protocol in this crate obeys.
//!
//! # The driver's loop
//!
//! It is the same on a host, on a microcontroller and in a simulation:
//!
//! ```text
//! loop {
//!     while let Step::Do(output) = machine.poll_output() { act on output }
//!     wait for an event or for the deadline that Step::Wait named
//!     machine.handle_input(now, event)   or   machine.handle_timeout(now)
//! }
//! ```
//!
//! A deadline can be read only from a drained machine, so a driver that sleeps until it can never sleep through
//! queued work.
//!
//! # The six laws
//!
//! One generic suite checks them over every machine, under random and fuzzed scripts:
//!
//! 1. A drained machine stays drained: after [`Step::Wait`], polling again gives the same `Wait` until the next input
//!    or timeout.
//! 2. An early timeout changes nothing: `handle_timeout(t)` before the deadline is a no-op.
//! 3. After `handle_timeout(t)` and a drain, the deadline is later than `t`.
//! 4. A refused input changes nothing: after an `Err` the machine behaves as if the call had not been made.
//! 5. The same script gives the same trace of outputs.
//! 6. A drain ends within a bound that depends on the machine's storage alone.
//!
//! # Time
//!
//! `now` never goes back between two calls on one machine. A driver whose clock does go back passes the latest value
//! it has already used.

use crate::time::Instant;
use core::fmt::Debug;

/// A pure state machine: inputs and time go in, outputs and a deadline come out.
pub trait Machine {
    /// What the driver reports. May borrow bytes for the length of the call.
    type Input<'a>;
    /// What the driver must do. Bytes never travel in an output: they wait in the machine until the driver takes them.
    type Output: Copy + Debug + PartialEq;
    /// Why an input was refused. A refused input changes nothing.
    type Error: core::error::Error;

    /// Takes one input.
    ///
    /// # Errors
    /// When the input does not fit the machine's state; then nothing has changed.
    fn handle_input(&mut self, now: Instant, input: Self::Input<'_>) -> Result<(), Self::Error>;

    /// Reports that the deadline named by the last [`Step::Wait`] has come. An early call is a no-op.
    fn handle_timeout(&mut self, now: Instant);

    /// The next thing to do, or how long to wait once there is nothing left.
    fn poll_output(&mut self) -> Step<Self::Output>;
}

/// One answer of [`Machine::poll_output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "an output that is not carried out is lost"]
pub enum Step<O> {
    /// Carry this out, then poll again.
    Do(O),
    /// The machine is drained. It wants [`Machine::handle_timeout`] at this instant, or never if there is none.
    Wait(Option<Instant>),
}
