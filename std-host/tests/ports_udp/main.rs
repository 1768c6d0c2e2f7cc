//! UDP ports of a device on real sockets of the loopback interface, on a loop of the test and in a running `wharf`.

mod asyn;
mod blocking;
mod fifo;
#[path = "../port_control/folder.rs"]
mod folder;
mod harness;
mod lifetime;
mod log;
mod options;
mod process;
mod report;
mod trace;
