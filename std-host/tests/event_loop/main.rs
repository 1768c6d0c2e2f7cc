//! The laws of the event loop, on loopback sockets.

mod deferred;
mod group;
mod harness;
mod iteration;
mod listening;
mod streams;
mod timers;
mod writing;
