//! The laws of the event loop, on loopback sockets.

mod certificates;
mod connecting;
mod datagrams;
mod deferred;
mod errors;
mod gathering;
mod group;
mod harness;
mod iteration;
mod listening;
mod provider;
mod reading;
mod scripted;
mod statistics;
mod streams;
mod timers;
mod tls;
mod unix;
mod writing;
