//! The laws of the event loop, on loopback sockets.

mod connecting;
mod deferred;
mod harness;
mod iteration;
mod listening;
mod scripted;
mod streams;
mod timers;
mod writing;
