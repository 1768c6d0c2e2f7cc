//! The requests of the load and the one right reply to each.
//!
//! Everything is written down byte by byte after the Modbus Application Protocol V1.1b3, sections 6.3 (function 3),
//! 6.12 (16) and 6.17 (23), and the Messaging guide V1.0b, section 3.1.3 (the header).
//!
//! The registers of the server under load are split so that every reply has exactly one right value, at any number of
//! connections:
//!
//! | registers | content |
//! | --- | --- |
//! | 0..200 | [`pattern`] of the address, written once before the run; function 3 reads here |
//! | 200..323 | [`pattern`] xor the tag of the last write; function 16 writes here, and the end of the run reads it back |
//! | 400.. | ten registers for each connection, [`pattern`] xor a fresh tag; function 23 writes and reads them at once |

use std::fmt;
use std::str::FromStr;

/// Registers 0..200 are read by function 3.
pub const READ_AREA: u16 = 200;
/// The first register that function 16 writes.
pub const WRITE_START: u16 = 200;
/// How many registers function 16 writes: the most that fit its PDU (AP 6.12).
pub const WRITE_QUANTITY: u16 = 123;
/// The first register of the connections' own registers.
pub const OWN_START: u16 = 400;
/// How many registers each connection owns: what function 23 writes and reads.
pub const OWN_QUANTITY: u16 = 10;
/// What the bare echo server fills its replies with.
pub const ECHO_FILL: u8 = 0xA5;
/// Bytes of the header: transaction, protocol, length, unit (MG 3.1.3).
pub const HEADER: usize = 7;

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Function 3, ten registers: 12 bytes ask, 29 answer.
    ReadTen,
    /// Function 3, 125 registers, the most there can be: 12 bytes ask, 259 answer.
    ReadMost,
    /// Function 16, 123 registers, the most there can be: 259 bytes ask, 12 answer.
    WriteMost,
    /// Function 23, ten registers written and the same ten read: 37 bytes ask, 29 answer.
    ReadWrite,
}

impl Operation {
    /// All kinds, in the order of the table.
    pub const ALL: [Self; 4] = [Self::ReadTen, Self::ReadMost, Self::WriteMost, Self::ReadWrite];

    /// The name on the command line and in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadTen => "fc3x10",
            Self::ReadMost => "fc3x125",
            Self::WriteMost => "fc16x123",
            Self::ReadWrite => "fc23",
        }
    }

    /// Bytes of a request, header and all.
    #[must_use]
    pub const fn request_len(self) -> usize {
        self.function().request_len(self.quantity())
    }

    /// Bytes of the right reply, header and all.
    #[must_use]
    pub const fn reply_len(self) -> usize {
        self.function().reply_len(self.quantity())
    }

    /// Registers touched by one request.
    #[must_use]
    pub const fn quantity(self) -> u16 {
        match self {
            Self::ReadTen => 10,
            Self::ReadMost => 125,
            Self::WriteMost => WRITE_QUANTITY,
            Self::ReadWrite => OWN_QUANTITY,
        }
    }

    /// The function that is asked for.
    #[must_use]
    pub const fn function(self) -> Function {
        match self {
            Self::ReadTen | Self::ReadMost => Function::Read,
            Self::WriteMost => Function::Write,
            Self::ReadWrite => Function::ReadWrite,
        }
    }
}

/// A function of the standard, as far as the load asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// 3, read holding registers.
    Read,
    /// 16, write multiple registers.
    Write,
    /// 23, read and write multiple registers; here always the same ones.
    ReadWrite,
}

impl Function {
    const fn code(self) -> u8 {
        match self {
            Self::Read => 3,
            Self::Write => 16,
            Self::ReadWrite => 23,
        }
    }

    /// Bytes of a frame that asks for `quantity` registers.
    #[must_use]
    pub const fn request_len(self, quantity: u16) -> usize {
        HEADER
            + match self {
                Self::Read => 5,
                Self::Write => 6 + 2 * quantity as usize,
                Self::ReadWrite => 10 + 2 * quantity as usize,
            }
    }

    /// Bytes of the frame that answers it.
    #[must_use]
    pub const fn reply_len(self, quantity: u16) -> usize {
        HEADER
            + match self {
                Self::Read | Self::ReadWrite => 2 + 2 * quantity as usize,
                Self::Write => 5,
            }
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == text)
            .ok_or_else(|| format!("no load {text:?}; there are fc3x10, fc3x125, fc16x123, fc23"))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One request, with all that its right reply depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Transaction id, copied to the reply.
    pub transaction: u16,
    /// Unit id, copied to the reply.
    pub unit: u8,
    /// What is asked.
    pub function: Function,
    /// The first register.
    pub address: u16,
    /// How many registers; at most 125.
    pub quantity: u16,
    /// What [`pattern`] is xored with to give the registers' values; 0 for what is only read.
    pub tag: u16,
}

impl Ticket {
    /// Appends the request to `out`.
    pub fn encode_request(&self, out: &mut Vec<u8>) {
        let Self { function, address, quantity, .. } = *self;
        self.header(function.request_len(quantity), out);
        out.push(function.code());
        push(out, address);
        push(out, quantity);
        match function {
            Function::Read => {}
            Function::Write => self.counted_values(out),
            Function::ReadWrite => {
                push(out, address);
                push(out, quantity);
                self.counted_values(out);
            }
        }
    }

    /// Appends the one right reply to `out`.
    pub fn encode_reply(&self, out: &mut Vec<u8>) {
        let Self { function, address, quantity, .. } = *self;
        self.header(function.reply_len(quantity), out);
        out.push(function.code());
        match function {
            Function::Read | Function::ReadWrite => self.counted_values(out),
            Function::Write => {
                push(out, address);
                push(out, quantity);
            }
        }
    }

    fn header(&self, frame: usize, out: &mut Vec<u8>) {
        push(out, self.transaction);
        push(out, 0);
        // Length counts the unit id and the PDU.
        push(out, u16::try_from(frame - (HEADER - 1)).expect("no frame of the load is above 260 bytes"));
        out.push(self.unit);
    }

    fn counted_values(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(2 * self.quantity).expect("no load moves above 125 registers"));
        for register in self.address..self.address + self.quantity {
            push(out, pattern(register) ^ self.tag);
        }
    }
}

/// The value that the load keeps in a register: no two registers of one request are alike, nor are a value's bytes.
#[must_use]
pub const fn pattern(register: u16) -> u16 {
    register.wrapping_mul(0x9E37) ^ 0x5AC3
}

/// The bytes at the front of `received`, if they are the whole right reply.
///
/// `Ok(None)` means that they are right so far and that more must come.
///
/// # Errors
/// What is wrong with the reply, in words, as soon as one byte of it is.
pub fn verify(expected: &[u8], received: &[u8]) -> Result<Option<usize>, String> {
    let present = expected.len().min(received.len());
    if expected[..present] == received[..present] {
        return Ok((present == expected.len()).then_some(present));
    }
    Err(explain(expected, received))
}

fn push(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Why `received` is not `expected`: called only where some byte differs.
fn explain(expected: &[u8], received: &[u8]) -> String {
    let at = expected.iter().zip(received).position(|(a, b)| a != b).unwrap_or(0);
    if let (Some(function), Some([answered, code, ..])) = (expected.get(HEADER), received.get(HEADER..))
        && *answered == function | 0x80
        && at >= 4
    {
        return format!("exception {code:02X} to function {function}");
    }
    let field = match at {
        0 | 1 => "transaction id",
        2 | 3 => "protocol id",
        4 | 5 => "length",
        6 => "unit id",
        7 => "function",
        _ => "data",
    };
    format!("{field}: byte {at} is {:02X}, not {:02X}", received[at], expected[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(operation: Operation, address: u16, tag: u16) -> Ticket {
        let (function, quantity) = (operation.function(), operation.quantity());
        Ticket { transaction: 0x1234, unit: 1, function, address, quantity, tag }
    }

    fn request(ticket: &Ticket) -> Vec<u8> {
        let mut out = Vec::new();
        ticket.encode_request(&mut out);
        assert_eq!(out.len(), ticket.function.request_len(ticket.quantity));
        out
    }

    fn reply(ticket: &Ticket) -> Vec<u8> {
        let mut out = Vec::new();
        ticket.encode_reply(&mut out);
        assert_eq!(out.len(), ticket.function.reply_len(ticket.quantity));
        out
    }

    #[test]
    fn a_read_of_ten_registers_is_these_bytes() {
        let ticket = ticket(Operation::ReadTen, 2, 0);
        assert_eq!(request(&ticket), [0x12, 0x34, 0, 0, 0, 6, 1, 3, 0, 2, 0, 10]);
        assert_eq!(
            reply(&ticket),
            [
                0x12, 0x34, 0, 0, 0, 23, 1, 3, 20, 0x66, 0xAD, 0x80, 0x66, 0x22, 0x1F, 0x4D, 0xD0, 0xEF, 0x89, 0x09,
                0x42, 0xAB, 0x7B, 0xD5, 0x2C, 0x74, 0xE5, 0x96, 0x9E
            ]
        );
    }

    #[test]
    fn a_read_of_the_most_registers_has_a_length_field_of_253_in_its_reply() {
        let ticket = ticket(Operation::ReadMost, 75, 0);
        assert_eq!(request(&ticket), [0x12, 0x34, 0, 0, 0, 6, 1, 3, 0, 75, 0, 125]);
        assert_eq!(reply(&ticket)[..9], [0x12, 0x34, 0, 0, 0, 253, 1, 3, 250]);
        assert_eq!(reply(&ticket).len(), 259);
    }

    #[test]
    fn a_write_of_the_most_registers_is_answered_with_address_and_quantity() {
        let ticket = ticket(Operation::WriteMost, 200, 0xFFFF);
        let bytes = request(&ticket);
        assert_eq!(bytes.len(), 259);
        assert_eq!(bytes[..13], [0x12, 0x34, 0, 0, 0, 253, 1, 16, 0, 200, 0, 123, 246]);
        assert_eq!(bytes[13..15], (!pattern(200)).to_be_bytes());
        assert_eq!(bytes[257..], (!pattern(322)).to_be_bytes());
        assert_eq!(reply(&ticket), [0x12, 0x34, 0, 0, 0, 6, 1, 16, 0, 200, 0, 123]);
    }

    #[test]
    fn a_read_and_write_is_answered_with_what_it_wrote() {
        let ticket = ticket(Operation::ReadWrite, 400, 1);
        let bytes = request(&ticket);
        assert_eq!(bytes[..17], [0x12, 0x34, 0, 0, 0, 31, 1, 23, 1, 0x90, 0, 10, 1, 0x90, 0, 10, 20]);
        assert_eq!(reply(&ticket)[..9], [0x12, 0x34, 0, 0, 0, 23, 1, 23, 20]);
        assert_eq!(reply(&ticket)[9..], bytes[17..]);
        assert_eq!(bytes[17..19], (pattern(400) ^ 1).to_be_bytes());
    }

    #[test]
    fn the_registers_of_one_request_are_all_different() {
        let values: std::collections::BTreeSet<u16> = (0..1000).map(pattern).collect();
        assert_eq!(values.len(), 1000);
    }

    #[test]
    fn any_wrong_byte_is_seen_and_named() {
        let right = reply(&ticket(Operation::ReadTen, 0, 0));
        assert_eq!(verify(&right, &right), Ok(Some(29)));
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 0x40;
            assert!(verify(&right, &wrong).is_err(), "byte {at}");
            assert!(verify(&right, &wrong[..=at]).is_err(), "byte {at}, the rest still to come");
        }
        let mut wrong = right.clone();
        wrong[0] ^= 1;
        assert_eq!(verify(&right, &wrong), Err("transaction id: byte 0 is 13, not 12".into()));
        assert_eq!(verify(&right, &[0x12, 0x34, 0, 0, 0, 3, 1, 0x83, 2]), Err("exception 02 to function 3".into()));
    }

    #[test]
    fn half_a_reply_is_neither_right_nor_wrong_and_what_follows_a_reply_is_left() {
        let right = reply(&ticket(Operation::WriteMost, 200, 7));
        for present in 0..right.len() {
            assert_eq!(verify(&right, &right[..present]), Ok(None));
        }
        let mut more = right.clone();
        more.extend_from_slice(&right[..5]);
        assert_eq!(verify(&right, &more), Ok(Some(12)));
    }

    #[test]
    fn names_of_loads_round_trip() {
        for operation in Operation::ALL {
            assert_eq!(operation.name().parse(), Ok(operation));
        }
        assert!("fc4".parse::<Operation>().is_err());
    }
}
