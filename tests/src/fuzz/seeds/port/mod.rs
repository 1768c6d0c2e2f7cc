//! Seeds for the device ports.

mod address;
mod framing;

pub(super) use address::texts;
pub(super) use framing::framing;
