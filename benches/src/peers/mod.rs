//! Servers of other projects, each in the shape its own documentation shows, with unit 1 and 10000 holding registers.
//!
//! They are given what a user with care would give them: `TCP_NODELAY`, whole frames whatever the segmentation, and
//! writes gathered where the library leaves the writing to its user.

#[cfg(feature = "peers")]
pub mod rmodbus;
#[cfg(feature = "peers")]
pub mod tokio_modbus;

/// Holding registers of each peer, from address 0.
pub const REGISTERS: u16 = 10_000;
