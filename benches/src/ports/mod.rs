//! Device ports beside others: what `port-bench` measures.
//!
//! * [`echo`]: the echo of a port beside bare `mio`, with the load of [`crate::loops::client`].
//! * [`broadcast`]: the broker of a port beside `ncat --broker`; [`fan`] is its load.
//! * [`deaf`]: what the others at a broker feel of a client that never reads.
//! * [`idle`]: what ten thousand clients cost that do nothing, and what an active one feels of them.
//! * [`servers`]: a port in a process of its own.

pub mod broadcast;
pub mod deaf;
pub mod echo;
pub mod fan;
pub mod idle;
pub mod servers;
