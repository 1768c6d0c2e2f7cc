//! Bodies for the device ports.

mod datagrams;

pub use datagrams::port_datagrams;
