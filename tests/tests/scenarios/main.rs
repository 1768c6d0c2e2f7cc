//! Scenarios: `wharf-core` against the laws, the vector table, the naive server and the simulated world.

mod compare;
mod connections;
mod laws;
mod seeds;
mod vectors;
