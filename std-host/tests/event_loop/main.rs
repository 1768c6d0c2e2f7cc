//! The laws of the event loop, on loopback sockets.

mod deferred;
mod harness;
mod iteration;
mod listening;
mod statistics;
mod streams;
mod timers;
mod writing;
