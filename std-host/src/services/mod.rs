//! The systems of a plant on the event loop. A service drives machines of the core; it knows sockets and no protocol.

pub mod modbus;
pub mod modbus_client;
pub mod port;
