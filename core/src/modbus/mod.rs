//! Modbus: framing, codecs, data, execution, and connections as machines.
//!
//! From the wire to the store and back: [`mbap`] cuts frames, [`pdu`] reads requests. The clauses cited are those of
//! the Application Protocol V1.1b3 (AP), Messaging on TCP/IP V1.0b (MG) and Serial Line V1.02 (SL).

pub mod mbap;
pub mod pdu;
pub mod typed;
