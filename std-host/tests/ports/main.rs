//! TCP ports as threads use them, on real sockets of the loopback interface.

mod clients;
mod connecting;
mod ended;
mod events;
mod harness;
mod options;
mod reading;
#[cfg(target_os = "linux")]
mod sockets;
mod writing;
