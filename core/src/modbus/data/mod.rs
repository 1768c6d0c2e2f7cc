//! What a unit's requests act on: the four tables, files, queues and identity (AP 4.3, 4.4).
//!
//! [`Model`] is the face that `execute` sees; whoever maps requests onto hardware implements it. [`Device`] is the
//! model that most servers want: sparse [`tables`](table), [`files`](mod@file) and [`queues`](queue) over storage that the
//! caller brings, described once by a [`Storage`] family: `&'static mut` slices on a microcontroller ([`Static`]),
//! boxed slices on a host. [`Points`](point) are typed values in it, [`generators`](generator) make values up.
//!
//! Every operation is all or nothing: a request that is refused has changed nothing.

pub mod device;
pub mod file;
pub mod generator;
pub(crate) mod marks;
pub mod point;
pub mod queue;
pub mod table;

pub use device::{Device, Identity};
pub use file::{FileEntry, Files, ParityRange};
pub use generator::Generator;
pub use point::{Datum, Point, PointError, PointType};
pub use queue::{Queue, Queues};
pub use table::{Access, AccessRange, BitTable, Block, RegisterTable};

use super::authorisation::{Authorisation, NoAuthorisation};
use super::pdu::{Exception, Span, Words, request::FileSpan};
use core::marker::PhantomData;

/// One of the four tables (AP 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TableKind {
    /// Bits that clients read and write.
    Coils,
    /// Bits that clients only read.
    Discrete,
    /// Registers that clients only read.
    Input,
    /// Registers that clients read and write.
    Holding,
}

impl TableKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Coils, Self::Discrete, Self::Input, Self::Holding];

    /// The name, as plants and the command line spell it.
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
}

/// What a client wants to do with a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Operation {
    /// Read it.
    Read,
    /// Write it.
    Write,
}

/// The id, run indicator and additional data of Report Server ID (AP 6.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ServerId<'a> {
    /// The device's own identifier.
    pub id: &'a [u8],
    /// Whether the device runs: FF or 00 on the wire.
    pub run: bool,
    /// Anything more; the three together have at most 251 bytes.
    pub extra: &'a [u8],
}

/// The data behind a unit, as requests see it.
///
/// Bits travel packed, the first in bit 0; registers travel as two bytes, high byte first. A method that answers `Err`
/// has changed nothing. The provided methods describe a device without files, queues and identity.
pub trait Model {
    /// Fills `out`, which has exactly the bytes for `span.quantity` bits, from coils or discrete inputs; spare bits 0.
    ///
    /// # Errors
    /// The exception to send, 02 where an address is absent.
    fn read_bits(&self, table: TableKind, span: Span, out: &mut [u8]) -> Result<(), Exception>;

    /// Writes coils from packed bits; spare bits mean nothing.
    ///
    /// # Errors
    /// The exception to send, 02 where an address is absent.
    fn write_coils(&mut self, span: Span, bits: &[u8]) -> Result<(), Exception>;

    /// Fills `out`, which has exactly two bytes per register, from input or holding registers.
    ///
    /// # Errors
    /// The exception to send, 02 where an address is absent.
    fn read_registers(&self, table: TableKind, span: Span, out: &mut [u8]) -> Result<(), Exception>;

    /// Whether a client may do this to all of `span` in the holding registers.
    ///
    /// # Errors
    /// The exception to send, 02 where an address is absent.
    fn check_holding(&self, operation: Operation, span: Span) -> Result<(), Exception>;

    /// Writes holding registers.
    ///
    /// # Errors
    /// The exception to send, 02 where an address is absent.
    fn write_holding(&mut self, span: Span, values: Words<'_>) -> Result<(), Exception>;

    /// Stores (current AND `and`) OR (`or` AND NOT `and`) in one holding register (AP 6.16).
    ///
    /// # Errors
    /// The exception to send, 02 where the register cannot be written.
    fn mask_holding(&mut self, address: u16, and: u16, or: u16) -> Result<(), Exception> {
        let span = Span { start: address, quantity: 1 };
        self.check_holding(Operation::Write, span)?;
        let mut current = [0; 2];
        self.read_registers(TableKind::Holding, span, &mut current)?;
        let value = masked(u16::from_be_bytes(current), and, or).to_be_bytes();
        Words::new(&value).map_or(Ok(()), |value| self.write_holding(span, value))
    }

    /// Whether a client may do this to the records of one group (AP 6.14, 6.15).
    ///
    /// # Errors
    /// The exception to send: 02 where file or record is absent, 08 where the records are damaged.
    fn check_file(&self, _operation: Operation, _span: FileSpan) -> Result<(), Exception> {
        Err(Exception::ILLEGAL_DATA_ADDRESS)
    }

    /// Fills `out` with the records of a group that [`Model::check_file`] has passed.
    fn read_file(&self, _span: FileSpan, _out: &mut [u8]) {}

    /// Writes the records of a group that [`Model::check_file`] has passed.
    fn write_file(&mut self, _span: FileSpan, _records: Words<'_>) {}

    /// How many entries the queue at `pointer` holds, or `None` if there is none (AP 6.18).
    fn queue_len(&self, _pointer: u16) -> Option<usize> {
        None
    }

    /// Fills `out` with the entries of the queue at `pointer`, oldest first, and removes none.
    fn read_queue(&self, _pointer: u16, _out: &mut [u8]) {}

    /// The identification object `id`, at most 244 bytes. Objects 0..=2 always exist (AP 6.21).
    fn object(&self, id: u8) -> Option<&[u8]> {
        (id <= 2).then_some(&[])
    }

    /// What Report Server ID says (AP 6.13).
    fn server_id(&self) -> ServerId<'_> {
        ServerId { id: &[], run: true, extra: &[] }
    }

    /// What Read Exception Status says (AP 6.7).
    fn exception_status(&self) -> u8 {
        0
    }
}

/// Which kind of slices a [`Device`] and its unit stand on.
pub trait Storage: Sized + 'static {
    /// A slice of values, for the life of the device.
    type Of<T: 'static>: AsRef<[T]> + AsMut<[T]>;
    /// Bytes that do not change, such as a vendor's name.
    type Text: AsRef<[u8]> + 'static;
    /// What answers function codes of the user's own, a [`Handler`](super::units::Handler); [`NoHandler`] if there are
    /// none.
    type Handler: 'static;
    /// What says who may do what; [`NoAuthorisation`] if everybody may do everything.
    type Authorisation: Authorisation + 'static;
}

/// The handler of a unit that has none. It cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHandler {}

/// The storage of a microcontroller: slices of static memory.
#[derive(Clone, Copy, Debug)]
pub struct Static<H = NoHandler, A = NoAuthorisation>(PhantomData<(H, A)>);

impl<H: 'static, A: Authorisation + 'static> Storage for Static<H, A> {
    type Of<T: 'static> = &'static mut [T];
    type Text = &'static [u8];
    type Handler = H;
    type Authorisation = A;
}

/// Why a device cannot be built over the storage that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BuildError {
    /// Two entries overlap, or the list is not in ascending order.
    Overlap {
        /// Where the second one starts.
        start: u16,
    },
    /// An entry is empty or reaches past its last possible address.
    OutOfRange {
        /// Where it starts.
        start: u16,
        /// How many addresses it claims.
        len: u32,
    },
    /// The storage has too few values for the entries.
    StorageShort {
        /// Values needed.
        needed: usize,
        /// Values there.
        got: usize,
    },
    /// An identification object has more than 244 bytes, or the server id and its data more than 251.
    TextLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl core::fmt::Display for BuildError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Overlap { start } => write!(f, "entry at {start} overlaps or precedes the one before it"),
            Self::OutOfRange { start, len } => write!(f, "entry at {start} with {len} addresses is out of range"),
            Self::StorageShort { needed, got } => write!(f, "storage holds {got} values of the {needed} needed"),
            Self::TextLong { len } => write!(f, "text of {len} bytes is too long"),
        }
    }
}

impl core::error::Error for BuildError {}

/// The value that Mask Write Register stores (AP 6.16).
pub(crate) const fn masked(current: u16, and: u16, or: u16) -> u16 {
    (current & and) | (or & !and)
}
