//! The data of a device: blocks, access, files, queues, identity (section 4).

use std::collections::BTreeMap;

/// The objects 0..=2 that always exist (AP 6.21).
pub(super) const DEFAULT_IDENTITY: [(u8, &str); 3] = [(0, "Wharf"), (1, "wharf"), (2, env!("CARGO_PKG_VERSION"))];
/// The names of the identification objects 0..=6 (AP 6.21).
pub const OBJECT_NAMES: [&str; 7] = ["vendor", "product", "revision", "url", "name", "model", "application"];

/// One of the four tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Single bits, read and written.
    Coils,
    /// Single bits, read by clients.
    Discrete,
    /// Registers, read by clients.
    Input,
    /// Registers, read and written.
    Holding,
}

impl Table {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Coils, Self::Discrete, Self::Input, Self::Holding];

    /// The name in a plant file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::Discrete => "discrete",
            Self::Input => "input",
            Self::Holding => "holding",
        }
    }

    /// Whether its entries are bits rather than registers.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::Discrete)
    }

    /// Whether clients may write to it at all.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Coils | Self::Holding)
    }
}

/// Consecutive addresses that exist, and what they start as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where.
    pub table: Table,
    /// The first address.
    pub start: u16,
    /// How many entries, 1..=65536, with `start + len <= 65536`.
    pub len: u32,
    /// What they start as.
    pub fill: Fill,
}

impl Block {
    /// `len` entries from address 0, all zero.
    #[must_use]
    pub const fn zeroed(table: Table, len: u32) -> Self {
        Self { table, start: 0, len, fill: Fill::Value(0) }
    }
}

/// What a block starts as. In a table of bits every value is 0 or 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Every entry has this value.
    Value(u16),
    /// The first entries have these values, the others are zero. At most `len`.
    Values(Vec<u16>),
    /// Tables of bits only: the first entry is bit 0 of the first byte; those not covered are zero. At most
    /// `len / 8` bytes, rounded up; spare bits mean nothing.
    Bits(Vec<u8>),
    /// Every entry has a random value.
    Random(Random),
}

/// Uniform random values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    /// The least value.
    pub min: u16,
    /// The greatest value, not below `min`.
    pub max: u16,
    /// The seed; `None` takes one made from the server's.
    pub seed: Option<u64>,
}

/// What clients may do with a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRange {
    /// Where.
    pub table: Table,
    /// The first address.
    pub start: u16,
    /// How many addresses, 1..=65536, with `start + len <= 65536`.
    pub len: u32,
    /// What is allowed. For tables that clients never write, `ReadOnly` or `None`.
    pub access: Access,
}

/// What clients may do; the application may always read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `rw`
    ReadWrite,
    /// `ro`
    ReadOnly,
    /// `wo`
    WriteOnly,
    /// `none`
    None,
}

/// A file of 16-bit records (AP 6.14, 6.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// 1..=65535.
    pub number: u16,
    /// How many records, 1..=10000.
    pub records: u16,
    /// What the first records start as; the others are zero. At most `records`.
    pub values: Vec<u16>,
    /// Whether function 21 is refused.
    pub read_only: bool,
    /// Ranges of records, first and last, that answer 08. All within the file.
    pub parity_error: Vec<(u16, u16)>,
}

/// A queue of registers (AP 6.18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its address, apart from those of the tables.
    pub pointer: u16,
    /// What it starts with, oldest first; above 31 entries function 24 answers 03.
    pub values: Vec<u16>,
}

/// Device identification (AP 6.21).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Objects 0..=2 always, 3..=6 and 128..=255 where given; each at most 244 bytes.
    pub objects: BTreeMap<u8, String>,
}

/// The reply to function 17 (AP 6.13): `id`, the run indicator, `extra`; at most 251 bytes in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerId {
    /// At least one byte.
    pub id: Vec<u8>,
    /// FF if true, else 00.
    pub run: bool,
    /// Whatever follows.
    pub extra: Vec<u8>,
}

impl Default for ServerId {
    fn default() -> Self {
        Self { id: b"Wharf".to_vec(), run: true, extra: Vec::new() }
    }
}
