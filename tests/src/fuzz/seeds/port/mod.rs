//! Seeds for the device ports.

mod framing;

pub(super) use framing::framing;
