//! Echo servers on Wharf's loop and on others, one thread each. They say `listening ADDRESS` when they do.

pub mod bare;
#[cfg(feature = "peers")]
pub mod tokio;
pub mod wharf;

use serde::{Deserialize, Serialize};

/// The most bytes that a server takes in one read: the same for all.
pub const BUFFER: usize = 64 * 1024;

/// What a server has counted of itself, in answer to a line on its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Bytes received.
    pub bytes_in: u64,
    /// Calls of read.
    pub reads: u64,
    /// Calls of write.
    pub writes: u64,
    /// Calls of poll.
    pub polls: u64,
    /// Times round the loop.
    pub iterations: u64,
    /// Sockets that are open.
    pub sockets: u64,
}
