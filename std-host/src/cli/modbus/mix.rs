//! What `wharf modbus bench` asks: kinds of request, taken in turn.

use std::fmt;
use std::str::FromStr;
use wharf_core::modbus::mbap::MAX_PDU;
use wharf_core::modbus::pdu::{
    MAX_READ_BITS, MAX_READ_REGISTERS, MAX_READ_WRITE_REGISTERS, MAX_WRITE_BITS, MAX_WRITE_REGISTERS, Reply, Request,
    Span, Words, bytes_for_bits, function,
};

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) function: u8,
    quantity: u16,
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no request: such as fc3x10 (functions 1 to 6, 15, 16, 22, 23)");
        let (code, quantity) =
            text.strip_prefix("fc").map(|rest| rest.split_once('x').unwrap_or((rest, "1"))).ok_or_else(wrong)?;
        let (Ok(function), Ok(quantity)) = (code.parse(), quantity.parse()) else { return Err(wrong()) };
        let most = most(function).ok_or_else(wrong)?;
        if !(1..=most).contains(&quantity) {
            return Err(format!("{text:?}: function {function} takes 1..={most} at once"));
        }
        Ok(Self { function, quantity })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fc{}x{}", self.function, self.quantity)
    }
}

/// The greatest quantity of a function that can be asked for.
const fn most(function: u8) -> Option<u16> {
    Some(match function {
        function::READ_COILS | function::READ_DISCRETE_INPUTS => MAX_READ_BITS,
        function::READ_HOLDING_REGISTERS | function::READ_INPUT_REGISTERS => MAX_READ_REGISTERS,
        function::WRITE_SINGLE_COIL | function::WRITE_SINGLE_REGISTER | function::MASK_WRITE_REGISTER => 1,
        function::WRITE_MULTIPLE_COILS => MAX_WRITE_BITS,
        function::WRITE_MULTIPLE_REGISTERS => MAX_WRITE_REGISTERS,
        function::READ_WRITE_MULTIPLE_REGISTERS => MAX_READ_WRITE_REGISTERS,
        _ => return None,
    })
}

impl Load {
    /// Entries that it touches.
    pub(super) const fn quantity(self) -> u16 {
        self.quantity
    }

    /// Writes the request for `start` on, whose values are all `value`, to the front of `pdu`; its length.
    pub(super) fn encode(self, start: u16, value: u16, pdu: &mut [u8; MAX_PDU]) -> usize {
        let span = Span { start, quantity: self.quantity };
        let mut data = [0; MAX_PDU];
        for (slot, byte) in data.iter_mut().zip(value.to_be_bytes().into_iter().cycle()) {
            *slot = byte;
        }
        let words = Words::new(data.get(..2 * usize::from(self.quantity)).unwrap_or_default());
        let values = words.expect("two bytes a register are an even number");
        let request = match self.function {
            function::READ_COILS => Request::ReadCoils(span),
            function::READ_DISCRETE_INPUTS => Request::ReadDiscreteInputs(span),
            function::READ_INPUT_REGISTERS => Request::ReadInputRegisters(span),
            function::WRITE_SINGLE_COIL => Request::WriteSingleCoil { address: start, value: value & 1 == 1 },
            function::WRITE_SINGLE_REGISTER => Request::WriteSingleRegister { address: start, value },
            function::MASK_WRITE_REGISTER => Request::MaskWriteRegister { address: start, and: 0, or: value },
            function::WRITE_MULTIPLE_COILS => {
                let bits = data.get(..bytes_for_bits(self.quantity)).unwrap_or_default();
                Request::WriteMultipleCoils { span, bits }
            }
            function::WRITE_MULTIPLE_REGISTERS => Request::WriteMultipleRegisters { span, values },
            function::READ_WRITE_MULTIPLE_REGISTERS => {
                Request::ReadWriteMultipleRegisters { read: span, write: span, values }
            }
            _ => Request::ReadHoldingRegisters(span),
        };
        request.encode(pdu).expect("253 bytes hold every request that is in bounds")
    }

    /// Whether a reply that fits the request has the right values, as far as these can be known: function 23 reads what it
    /// has just written, in one step.
    pub(super) fn is_right(self, reply: Option<Reply<'_>>, value: u16) -> bool {
        match reply {
            Some(Reply::Registers(words)) if self.function == function::READ_WRITE_MULTIPLE_REGISTERS => {
                words.iter().all(|word| word == value)
            }
            Some(_) => true,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_by_function_and_quantity_within_their_limits() {
        for text in ["fc1x2000", "fc3x125", "fc6x1", "fc15x1968", "fc16x123", "fc22x1", "fc23x121"] {
            assert_eq!(text.parse::<Load>().unwrap().to_string(), text);
        }
        assert_eq!("fc3".parse(), Ok(Load { function: 3, quantity: 1 }));
        for wrong in
            ["", "3x10", "fc", "fcx", "fc3x", "fc3x0", "fc3x126", "fc5x2", "fc7", "fc16x124", "fc23x122", "fc3x-1"]
        {
            assert!(wrong.parse::<Load>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_kind_is_a_request_that_a_server_takes() {
        let mut pdu = [0; MAX_PDU];
        for text in ["fc1x9", "fc2x9", "fc3x9", "fc4x9", "fc5", "fc6", "fc15x9", "fc16x9", "fc22", "fc23x9"] {
            let load: Load = text.parse().unwrap();
            let len = load.encode(5, 0x1234, &mut pdu);
            assert_eq!(Request::decode(&pdu[..len]).map(|request| request.function()), Ok(load.function), "{text}");
        }
    }

    #[test]
    fn what_was_written_and_read_in_one_step_is_compared() {
        let load: Load = "fc23x2".parse().unwrap();
        let reply = |bytes| Words::new(bytes).map(Reply::Registers);
        assert!(load.is_right(reply(&[0x12, 0x34, 0x12, 0x34]), 0x1234));
        assert!(!load.is_right(reply(&[0x12, 0x34, 0x12, 0x35]), 0x1234));
        assert!(!load.is_right(None, 0x1234));
    }
}
