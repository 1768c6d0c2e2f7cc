//! Seeds for the device ports.

mod address;
pub(super) mod datagrams;
mod framing;

pub(super) use address::texts;
pub(super) use framing::framing;
