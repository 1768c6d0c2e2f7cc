//! Device ports: TCP and UDP server sockets whose clients sit in slots with stable names.
//!
//! A port has a fixed number of slots. A client that connects gets the lowest free one, and slot `i` of the port `dev`
//! is called `dev:i` for as long as the port exists, whoever sits in it. So a program can be configured for `dev:0`
//! before any device has called.
//!
//! [`address`] reads the text that says where a port listens. [`server`] is the port itself, over TCP; [`datagrams`] is one
//! over UDP. [`framing`] finds where a message ends.

pub mod address;
pub mod datagrams;
pub mod framing;
pub mod server;
