//! The laws of the event loop, on loopback sockets.

mod deferred;
mod gathering;
mod harness;
mod iteration;
mod listening;
mod reading;
mod streams;
mod timers;
mod writing;
