//! Configurations that are wrong in every way, and sessions that talk to each other in memory.

mod building;
mod sessions;
