//! The device ports once more, as plainly as they can be written.

pub mod address;
pub mod datagrams;
pub mod framing;
pub mod server;
