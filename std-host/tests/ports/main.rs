//! TCP ports as threads use them, on real sockets of the loopback interface.

mod clients;
mod connecting;
mod events;
mod harness;
mod options;
mod reading;
mod writing;
