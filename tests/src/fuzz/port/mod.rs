//! Bodies for the device ports.

mod address;
mod framing;

pub use address::port_address;
pub use framing::port_framing;
