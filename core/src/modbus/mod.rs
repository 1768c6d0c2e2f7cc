//! Modbus: framing, codecs, data, execution, and connections as machines.
//!
//! From the wire to the store and back: [`mbap`] cuts frames, [`pdu`] reads requests, [`units`] finds who answers,
//! [`execute`] does it on the model of [`data`] and counts in [`diagnostics`]. [`authorisation`] is who may do it, judged by
//! what [`access`] finds that a request names. [`server`] ties them to one connection; [`service`] is the seam where
//! another answerer can take the place of `units`. [`client`] is the other end, one connection that asks. [`typed`] reads
//! numbers and strings out of registers.
//!
//! The clauses cited are those of the Application Protocol V1.1b3 (AP), Messaging on TCP/IP V1.0b (MG) and Serial Line
//! V1.02 (SL).

pub mod access;
pub mod authorisation;
pub mod client;
pub mod data;
pub mod diagnostics;
pub mod execute;
pub mod faults;
pub mod mbap;
mod moves;
pub mod pdu;
pub mod server;
pub mod service;
pub mod typed;
pub mod units;

#[cfg(test)]
mod tests;
