//! Seeds for the device ports.

mod address;
pub(super) mod datagrams;
mod framing;
mod server;

pub(super) use address::texts;
pub(super) use framing::framing;
pub(super) use server::servers;
