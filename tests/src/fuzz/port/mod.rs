//! Bodies for the device ports.

mod address;
mod datagrams;
mod framing;
mod server;

pub use address::port_address;
pub use datagrams::port_datagrams;
pub use framing::port_framing;
pub use server::port_server;
