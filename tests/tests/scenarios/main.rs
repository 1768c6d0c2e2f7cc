//! Scenarios: `wharf-core` against the vector table, the naive server and the simulated world.

mod authorisation;
mod client;
mod compare;
mod connections;
mod data;
mod faults;
mod framing;
mod hostile;
mod order;
mod port_datagrams;
mod port_server;
mod seeds;
mod talk;
mod vectors;
