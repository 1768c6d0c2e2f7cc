//! The laws of the event loop, on loopback sockets.

mod datagrams;
mod deferred;
mod harness;
mod iteration;
mod listening;
mod streams;
mod timers;
mod writing;
