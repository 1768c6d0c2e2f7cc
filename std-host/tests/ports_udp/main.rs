//! UDP ports of a device on real sockets of the loopback interface, on a loop of the test and in a running `wharf`.

mod asyn;
mod blocking;
mod fifo;
mod harness;
mod lifetime;
mod process;
