//! Seeds for the device ports.

pub(super) mod datagrams;
