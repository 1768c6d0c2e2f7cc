//! Bodies for the device ports.

mod framing;

pub use framing::port_framing;
