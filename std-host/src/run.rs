//! Runs a plant, and says how it ended.

use crate::config::Plant;

/// How a command of `wharf` ended; the discriminant is the process's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Everything was done. A reader who closed our standard output counts as satisfied.
    Done = 0,
    /// The remote side said no, by an exception reply.
    Refused = 1,
    /// The command line or a file is wrong.
    Usage = 2,
    /// Nobody could be reached, time ran out, or an address or name cannot be had.
    Unreachable = 3,
    /// The peer broke the protocol.
    Protocol = 4,
}

/// Runs `plant` until it is told to end.
///
/// # Errors
/// What kept the plant from running, and the status that the process should end with.
pub fn run(plant: &Plant) -> Result<Status, (Status, String)> {
    Err((Status::Usage, format!("running a plant of {} servers is not available in this build", plant.modbus.len())))
}
