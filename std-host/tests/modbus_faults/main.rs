//! Faults at real sockets (specification, section 8): what a client sees of each kind, byte for byte.
//!
//! That something comes not too early is asserted; that it comes not too late is not.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for some events among all")]

mod answering;
mod composing;
mod connections;
mod control;
mod documented;
mod frames;
mod harness;
mod listening;
mod required;
mod sending;
