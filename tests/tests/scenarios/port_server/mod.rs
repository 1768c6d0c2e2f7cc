//! A server port in virtual time: what its specification says, sentence by sentence.

#![expect(clippy::wildcard_enum_match_arm, reason = "a scenario is about a few kinds of events and outputs")]

mod accepting;
mod broadcasting;
mod bytes;
mod echo;
mod ending;
mod full;
mod harness;
mod identity;
mod laws;
mod listening;
mod questions;
mod timeouts;
