//! The pure half of Wharf: device-I/O protocols as state machines.
//!
//! Nothing in this crate performs I/O, allocates, reads a clock or draws a random number. A *driver* reports what
//! happened and when; a [`Machine`] answers with what to do next and by when it wants to be woken. The same machines
//! run on a microcontroller, behind the host's event loop and inside the simulated world of the test suite.
//!
//! Start with [`machine`]: it is the one contract that every protocol here obeys.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests cut values down on purpose"))]
// A panic in a parser is a remote crash, so whatever could panic on input is denied outside of tests.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used,
    )
)]

#[cfg(test)]
extern crate std;

mod log;
pub mod machine;
pub mod modbus;
pub mod network;
pub mod port;
pub mod random;
pub mod rate;
pub mod slots;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod time;
pub mod timers;

pub use machine::{Machine, Step};
pub use time::Instant;
