//! A running host, asked over its admin socket and over HTTP by clients of every sort.

mod harness;
mod http;
mod runtime;
mod socket;
mod status;
