//! Scenarios: `wharf-core` against the vector table, the naive server and the simulated world.

mod client;
mod compare;
mod connections;
mod data;
mod seeds;
mod vectors;
