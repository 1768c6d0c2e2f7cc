//! PDUs: the 19 public function codes, as requests and replies (AP 6.1 to 6.21).
//!
//! [`request`] decodes what a server receives and encodes what a client sends; [`reply`] is the way back. Both are
//! plain functions over slices that borrow from the wire. Nothing here knows a data model: whether an address exists is
//! asked later, in `execute`. Wire integers are big-endian; addresses are PDU addresses, 0..=65535.

pub mod reply;
pub mod request;

pub use reply::{Reply, ReplyError};
pub use request::Request;

use core::num::NonZeroU8;

/// The public function codes (AP 5.1).
pub mod function {
    /// Read Coils (AP 6.1).
    pub const READ_COILS: u8 = 1;
    /// Read Discrete Inputs (AP 6.2).
    pub const READ_DISCRETE_INPUTS: u8 = 2;
    /// Read Holding Registers (AP 6.3).
    pub const READ_HOLDING_REGISTERS: u8 = 3;
    /// Read Input Registers (AP 6.4).
    pub const READ_INPUT_REGISTERS: u8 = 4;
    /// Write Single Coil (AP 6.5).
    pub const WRITE_SINGLE_COIL: u8 = 5;
    /// Write Single Register (AP 6.6).
    pub const WRITE_SINGLE_REGISTER: u8 = 6;
    /// Read Exception Status (AP 6.7).
    pub const READ_EXCEPTION_STATUS: u8 = 7;
    /// Diagnostics (AP 6.8).
    pub const DIAGNOSTICS: u8 = 8;
    /// Get Comm Event Counter (AP 6.9).
    pub const GET_COMM_EVENT_COUNTER: u8 = 11;
    /// Get Comm Event Log (AP 6.10).
    pub const GET_COMM_EVENT_LOG: u8 = 12;
    /// Write Multiple Coils (AP 6.11).
    pub const WRITE_MULTIPLE_COILS: u8 = 15;
    /// Write Multiple Registers (AP 6.12).
    pub const WRITE_MULTIPLE_REGISTERS: u8 = 16;
    /// Report Server ID (AP 6.13).
    pub const REPORT_SERVER_ID: u8 = 17;
    /// Read File Record (AP 6.14).
    pub const READ_FILE_RECORD: u8 = 20;
    /// Write File Record (AP 6.15).
    pub const WRITE_FILE_RECORD: u8 = 21;
    /// Mask Write Register (AP 6.16).
    pub const MASK_WRITE_REGISTER: u8 = 22;
    /// Read/Write Multiple Registers (AP 6.17).
    pub const READ_WRITE_MULTIPLE_REGISTERS: u8 = 23;
    /// Read FIFO Queue (AP 6.18).
    pub const READ_FIFO_QUEUE: u8 = 24;
    /// Encapsulated Interface Transport (AP 6.19); MEI type 14 is Read Device Identification (AP 6.21).
    pub const ENCAPSULATED_INTERFACE: u8 = 43;

    /// Every public function code, in order.
    pub const PUBLIC: [u8; 19] = [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43];
    /// Those that AP titles "serial line only" (AP 6.7 to 6.10, 6.13).
    pub const SERIAL: [u8; 5] = [7, 8, 11, 12, 17];
}

/// MEI type of Read Device Identification, the only one served (AP 6.21).
pub const MEI_DEVICE_IDENTIFICATION: u8 = 14;
/// Set in the function code of an exception reply (AP 7).
pub const EXCEPTION_FLAG: u8 = 0x80;
/// Most bits that one request may read (AP 6.1, 6.2).
pub const MAX_READ_BITS: u16 = 2000;
/// Most bits that one request may write (AP 6.11).
pub const MAX_WRITE_BITS: u16 = 1968;
/// Most registers that one request may read (AP 6.3, 6.4, 6.17).
pub const MAX_READ_REGISTERS: u16 = 125;
/// Most registers that Write Multiple Registers may write (AP 6.12).
pub const MAX_WRITE_REGISTERS: u16 = 123;
/// Most registers that Read/Write Multiple Registers may write (AP 6.17).
pub const MAX_READ_WRITE_REGISTERS: u16 = 121;
/// Most entries of a FIFO queue that can be read (AP 6.18).
pub const MAX_FIFO_ENTRIES: usize = 31;
/// Most events in the communication event log (AP 6.10).
pub const MAX_EVENTS: usize = 64;
/// Most bytes that one identification object may have, so that it fits a reply of its own (AP 6.21).
pub const MAX_OBJECT: usize = 244;
/// Most bytes of a server id, run status and additional data together (AP 6.13).
pub const MAX_SERVER_ID: usize = 251;

/// The code of an exception reply, 1..=255 (AP 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exception(NonZeroU8);

impl Exception {
    /// 01: the function is not known to the unit, or not allowed.
    pub const ILLEGAL_FUNCTION: Self = Self::literal(0x01);
    /// 02: an address is absent or not permitted.
    pub const ILLEGAL_DATA_ADDRESS: Self = Self::literal(0x02);
    /// 03: the structure of the request contradicts itself or a limit. Never said of a register's value.
    pub const ILLEGAL_DATA_VALUE: Self = Self::literal(0x03);
    /// 04: the unit failed while it carried out the request.
    pub const SERVER_DEVICE_FAILURE: Self = Self::literal(0x04);
    /// 05: accepted, and will take long.
    pub const ACKNOWLEDGE: Self = Self::literal(0x05);
    /// 06: busy; ask again later.
    pub const SERVER_DEVICE_BUSY: Self = Self::literal(0x06);
    /// 07: a program command was refused. Gone from the list of AP 7, still counted by AP 6.8.
    pub const NEGATIVE_ACKNOWLEDGE: Self = Self::literal(0x07);
    /// 08: a file record failed its consistency check.
    pub const MEMORY_PARITY_ERROR: Self = Self::literal(0x08);
    /// 0A: no path to that unit.
    pub const GATEWAY_PATH_UNAVAILABLE: Self = Self::literal(0x0A);
    /// 0B: the unit did not respond.
    pub const GATEWAY_TARGET_FAILED: Self = Self::literal(0x0B);

    /// The PDU of the reply that says this of a request of `function` (AP 7).
    #[must_use]
    pub const fn reply(self, function: u8) -> [u8; 2] {
        [function | EXCEPTION_FLAG, self.code()]
    }

    /// The exception with this code, or `None` for 0, which no exception has.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        match NonZeroU8::new(code) {
            Some(code) => Some(Self(code)),
            None => None,
        }
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0.get()
    }

    /// The name that AP 7 gives the code, in lower case, or `"unknown"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.code() {
            0x01 => "illegal function",
            0x02 => "illegal data address",
            0x03 => "illegal data value",
            0x04 => "server device failure",
            0x05 => "acknowledge",
            0x06 => "server device busy",
            0x07 => "negative acknowledge",
            0x08 => "memory parity error",
            0x0A => "gateway path unavailable",
            0x0B => "gateway target device failed to respond",
            _ => "unknown",
        }
    }

    const fn literal(code: u8) -> Self {
        match Self::new(code) {
            Some(exception) => exception,
            None => Self(NonZeroU8::MIN),
        }
    }
}

impl core::fmt::Display for Exception {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "exception {:02x} ({})", self.code(), self.name())
    }
}

impl core::error::Error for Exception {}

/// A run of addresses. May reach past 65535; whoever resolves it refuses that with exception 02.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Span {
    /// The first address.
    pub start: u16,
    /// How many.
    pub quantity: u16,
}

impl Span {
    /// The address after the last one, at most 131070; a span within the address space ends at 65536 or before.
    #[must_use]
    pub const fn end(self) -> u32 {
        (self.start as u32).saturating_add(self.quantity as u32)
    }
}

/// Registers as they stand on the wire: two bytes each, high byte first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// The registers in `bytes`, or `None` if there is half a register.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len().is_multiple_of(2) { Some(Self(bytes)) } else { None }
    }

    /// The bytes on the wire.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// How many registers.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a request never carries none")]
    pub const fn len(self) -> usize {
        self.0.len() / 2
    }

    /// The registers in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u16> + Clone + 'a {
        self.0.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair))
    }
}

impl core::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Words<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8]:02x}", self.0);
    }
}

/// Bytes that hold this many bits, packed.
#[must_use]
pub const fn bytes_for_bits(bits: u16) -> usize {
    (bits as usize).div_ceil(8)
}

/// Fills a reply from the front. A write that does not fit is dropped whole and makes [`Writer::finish`] say `None`.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    full: bool,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0, full: false }
    }

    /// The next `len` bytes, for the caller to fill; empty if they do not fit.
    pub(crate) fn reserve(&mut self, len: usize) -> &mut [u8] {
        let end = self.at.saturating_add(len);
        match self.out.get_mut(self.at..end) {
            Some(room) => {
                self.at = end;
                room
            }
            None => {
                self.full = true;
                &mut []
            }
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let room = self.reserve(bytes.len());
        if room.len() == bytes.len() {
            room.copy_from_slice(bytes);
        }
        self
    }

    pub(crate) fn byte(&mut self, byte: u8) -> &mut Self {
        self.bytes(&[byte])
    }

    pub(crate) fn word(&mut self, word: u16) -> &mut Self {
        self.bytes(&word.to_be_bytes())
    }

    /// A length as one byte. Longer ones do not fit a PDU, so they count as full.
    pub(crate) fn count(&mut self, len: usize) -> &mut Self {
        match u8::try_from(len) {
            Ok(len) => self.byte(len),
            Err(_) => {
                self.full = true;
                self
            }
        }
    }

    /// The bytes written, or `None` if any did not fit.
    pub(crate) fn finish(&self) -> Option<usize> {
        (!self.full).then_some(self.at)
    }
}
