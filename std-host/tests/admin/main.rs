//! A running host, asked over its admin socket and over HTTP by clients of every sort.

mod control;
mod harness;
mod http;
mod runtime;
mod simulated;
mod socket;
mod status;
