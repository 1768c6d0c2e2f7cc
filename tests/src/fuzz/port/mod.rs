//! Bodies for the device ports.

mod address;

pub use address::port_address;
