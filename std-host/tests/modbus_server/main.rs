//! The running `wharf` and its Modbus servers, on real sockets of the loopback interface.

mod admission;
mod authorisation;
mod discards;
mod handle;
mod handlers;
mod harness;
mod hostile;
mod in_process;
mod limits;
mod metrics;
mod points;
mod shutdown;
mod startup;
mod threads;
mod timeouts;
