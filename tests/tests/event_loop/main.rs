//! The event loop of `wharf-host` in the simulated world, where time is exact and every accident has a seed.

mod both_worlds;
mod connecting;
mod harness;
mod iteration;
mod listening;
mod streams;
mod timeouts;
