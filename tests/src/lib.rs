//! What every Wharf machine is held against: the laws, the simulated world, the naive models and the fuzz bodies.
//!
//! * [`laws`]: the six laws of the machine contract as one suite over any machine.
//! * `sim_net` (feature `host`, on by default): the system under the event loop, in virtual time and full of faults.
//! * `probe` (feature `host`): a handler that writes down what happens to it.
//! * [`world`]: peers, links and a clock in virtual time, for scenarios with many connections.
//! * [`fixture`], [`vectors`], [`naive`]: a plant of Modbus devices, the table of what it must answer, and a second
//!   implementation that shares nothing with the first. [`requests`] draws more of them at random.
//! * [`modbus`]: the server of `wharf-core` over that plant, plugged into all of the above.
//! * [`faults`]: faults at random.
//! * [`port`]: a device port on the heap.
//! * [`loopback`]: addresses of which no other test is given a port.
//! * [`text`]: what the sides of a random connection send, each byte of which is checked.
//! * [`fuzz`]: what the targets in `fuzz/` do with their bytes.
//!
//! Every random choice follows from a seed that a failure prints; `WHARF_SEED` runs that one again, and
//! `WHARF_SEEDS` says how many to run ([`rng`]).

pub mod faults;
pub mod fixture;
pub mod fuzz;
pub mod laws;
pub mod loopback;
pub mod modbus;
pub mod naive;
pub mod port;
#[cfg(feature = "host")]
pub mod probe;
pub mod requests;
pub mod rng;
#[cfg(feature = "host")]
pub mod sim_net;
pub mod text;
pub mod vectors;
pub mod world;

/// A plant file with every key of the host, of a server, of a unit and of a port that takes no other thing along, none at its
/// default.
pub const EVERYTHING: &str = include_str!("everything.toml");
