//! The memory of a port, which is the caller's.

use super::client::Client;
use super::event::Reason;
use super::options::{Config, Options};
use super::{Error, MAX_SLOTS};
use crate::network::Network;
use crate::port::framing::Terminator;
use crate::slots::Entry;
use crate::time::Instant;
use crate::timers::Node;

/// Boundaries of queued messages that are kept for each slot.
pub const BOUNDARIES: usize = 64;

/// What the storage of a port is made of: arrays or `static` slices on a chip, boxed slices on a host.
pub trait Storage {
    /// One entry for each slot, 1..=[`MAX_SLOTS`].
    type Clients: AsRef<[Entry<Client>]> + AsMut<[Entry<Client>]>;
    /// One for each slot.
    type Seats: AsRef<[Seat]> + AsMut<[Seat]>;
    /// One for each slot.
    type Timers: AsRef<[Node]> + AsMut<[Node]>;
    /// The queues: `rx_queue + tx_queue` bytes for each slot.
    type Bytes: AsRef<[u8]> + AsMut<[u8]>;
    /// [`BOUNDARIES`] for each slot, or none at all: then no slot can have
    /// [`Overflow::DropOldest`](super::Overflow::DropOldest).
    type Boundaries: AsRef<[u32]> + AsMut<[u32]>;
    /// As many different terminators as the slots may have.
    type Terminators: AsRef<[Terminator]> + AsMut<[Terminator]>;
    /// Who may come in; everybody if it is empty.
    type Allow: AsRef<[Network]>;
}

/// The memory of one port.
#[derive(Debug)]
pub struct Parts<S: Storage> {
    /// Made of [`Entry::EMPTY`].
    pub clients: S::Clients,
    /// Made of [`Seat::EMPTY`].
    pub seats: S::Seats,
    /// Made of [`Node::EMPTY`].
    pub timers: S::Timers,
    /// Anything.
    pub bytes: S::Bytes,
    /// Anything.
    pub boundaries: S::Boundaries,
    /// Made of [`Terminator::OFF`].
    pub terminators: S::Terminators,
    /// Who may come in.
    pub allow: S::Allow,
}

impl<S: Storage> Parts<S> {
    /// Whether there is room for what `config` says; the number of slots.
    pub(super) fn check(&self, config: &Config) -> Result<usize, Error> {
        let slots = self.clients.as_ref().len();
        let seats = self.seats.as_ref().len();
        let timers = self.timers.as_ref().len();
        let queues = u64::from(config.rx_queue).saturating_add(u64::from(config.tx_queue));
        let bytes = queues.saturating_mul(u64::try_from(slots).unwrap_or(u64::MAX));
        let boundaries = self.boundaries.as_ref().len();
        let fits = (1..=MAX_SLOTS).contains(&slots)
            && seats == slots
            && timers == slots
            && u64::try_from(self.bytes.as_ref().len()).is_ok_and(|len| len >= bytes)
            && (boundaries == 0 || boundaries >= slots.saturating_mul(BOUNDARIES));
        if fits { Ok(slots) } else { Err(Error::Storage) }
    }
}

/// Borrowed slices as storage, for `static` memory.
#[derive(Debug)]
pub struct Slices<'a>(core::marker::PhantomData<&'a mut ()>);

impl<'a> Storage for Slices<'a> {
    type Clients = &'a mut [Entry<Client>];
    type Seats = &'a mut [Seat];
    type Timers = &'a mut [Node];
    type Bytes = &'a mut [u8];
    type Boundaries = &'a mut [u32];
    type Terminators = &'a mut [Terminator];
    type Allow = &'a [Network];
}

/// What belongs to a slot whoever sits in it.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    pub(super) options: Options,
    /// Its input terminator among those of the port; 0 is off.
    pub(super) input_eos: u8,
    /// Its output terminator, likewise.
    pub(super) output_eos: u8,
    /// A reader is owed the news that the last client's input has ended.
    pub(super) end_owed: bool,
    /// Why and when the last client left.
    pub(super) last: Option<(Reason, Instant)>,
    pub(super) link: super::schedule::Link,
}

impl Seat {
    /// The seat of a slot that was never used.
    pub const EMPTY: Self = Self {
        options: Options::DEFAULT,
        input_eos: 0,
        output_eos: 0,
        end_owed: false,
        last: None,
        link: super::schedule::Link::NONE,
    };
}

impl Default for Seat {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The terminator with this number; 0 is off.
pub(super) fn terminator(terminators: &[Terminator], number: u8) -> &Terminator {
    const OFF: &Terminator = &Terminator::OFF;
    usize::from(number).checked_sub(1).and_then(|at| terminators.get(at)).unwrap_or(OFF)
}

/// The memory of the queues of one slot.
pub(super) fn chunk<'a>(bytes: &'a [u8], index: u32, config: &Config) -> &'a [u8] {
    bytes.get(chunk_range(index, config)).unwrap_or_default()
}

pub(super) fn chunk_mut<'a>(bytes: &'a mut [u8], index: u32, config: &Config) -> &'a mut [u8] {
    bytes.get_mut(chunk_range(index, config)).unwrap_or_default()
}

fn chunk_range(index: u32, config: &Config) -> core::ops::Range<usize> {
    let len = to_usize(config.rx_queue).saturating_add(to_usize(config.tx_queue));
    let start = to_usize(index).saturating_mul(len);
    start..start.saturating_add(len)
}

/// Lossless wherever storage of that size can exist.
pub(super) fn to_usize(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
