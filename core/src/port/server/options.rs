//! What can be configured. Spans are whole milliseconds in a `u32`, 1..=4 294 967 295; 0 is off.

use super::{Error, MAX_QUEUE, MAX_TEXT, MIN_QUEUE, SLOT_BUDGET};
use heapless::Vec;

/// What is fixed when the port is made, and what it starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of each slot's receive queue, [`MIN_QUEUE`]..=[`MAX_QUEUE`].
    pub rx_queue: u32,
    /// Bytes of each slot's send queue, likewise.
    pub tx_queue: u32,
    /// Bytes that a slot may move in each direction in a turn, likewise.
    pub slot_budget: u32,
    /// Which free slot a newcomer gets.
    pub pick: Pick,
    /// What the port starts with.
    pub port: PortOptions,
    /// What every slot starts with.
    pub slots: Options,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rx_queue: 16 << 10,
            tx_queue: 16 << 10,
            slot_budget: SLOT_BUDGET,
            pick: Pick::First,
            port: PortOptions::DEFAULT,
            slots: Options::DEFAULT,
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), Error> {
        let fits = |len: &u32| (MIN_QUEUE..=MAX_QUEUE).contains(len);
        if self.slots.watermarks.is_valid() && [self.rx_queue, self.tx_queue, self.slot_budget].iter().all(fits) {
            Ok(())
        } else {
            Err(Error::BadValue)
        }
    }
}

/// Which free slot a newcomer gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Pick {
    /// The lowest.
    #[default]
    First,
    /// The next one after that of the last newcomer, round and round.
    Rotate,
}

/// What can be set for each slot. Terminators are set by [`SlotOption`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Options {
    /// Without a byte received for so long, the client is aborted. Off by default.
    pub idle_rx: u32,
    /// Without a byte either way. Off by default.
    pub idle_any: u32,
    /// Without a byte taken by the system while output is queued. 30 s.
    pub write_stuck: u32,
    /// The longest time for sending the queue and awaiting the peer's end before closing. 2 s.
    pub linger: u32,
    /// After the peer's end, since the program last read or wrote, with [`HalfClose::Drain`]. 1 s.
    pub half_close_linger: u32,
    /// After the peer's end, reset or hang-up, since the program last read, before unread bytes are given up. 5 s.
    pub unread: u32,
    /// What the peer's end means for our output.
    pub half_close: HalfClose,
    /// What becomes of a message that does not fit.
    pub overflow: Overflow,
    /// When [`Event::HighWater`](super::Event::HighWater) and `LowWater` are told.
    pub watermarks: Watermarks,
    /// Whether terminators count at all.
    pub process_eos: bool,
    /// Whether what a client sends is queued for itself as it comes, as far as there is room, for as long as it may be sent
    /// output. Once its input has ended and all is sent, it is dropped. Until then neither `unread` nor `half_close_linger`
    /// counts, but `write_stuck` alone; where that is off, they do.
    pub echo: bool,
}

impl Options {
    /// What a slot starts with unless told otherwise.
    pub const DEFAULT: Self = Self {
        idle_rx: 0,
        idle_any: 0,
        write_stuck: 30_000,
        linger: 2_000,
        half_close_linger: 1_000,
        unread: 5_000,
        half_close: HalfClose::Drain,
        overflow: Overflow::Reject,
        watermarks: Watermarks { high: 75, low: 25 },
        process_eos: true,
        echo: false,
    };
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the peer's end means for our output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HalfClose {
    /// Once the program has neither read nor written for `half_close_linger`, the queue is sent and the connection closed.
    #[default]
    Drain,
    /// Output goes on until the program ends it.
    Keep,
}

/// What becomes of a message that does not fit into the send queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Overflow {
    /// It is refused whole.
    #[default]
    Reject,
    /// What fits is taken, without the terminator.
    Partial,
    /// The client is closed.
    Disconnect,
    /// The oldest messages make room, whole ones, and none that has begun to leave. Messages that even so do not fit are
    /// refused. Without [boundaries](super::Storage::Boundaries) it is not to be had.
    DropOldest,
}

/// Parts of the send queue, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Watermarks {
    /// `HighWater` when so much is in use, 1..=100.
    pub high: u8,
    /// `LowWater` when no more than this is left, below `high`.
    pub low: u8,
}

impl Watermarks {
    /// Whether `low < high <= 100`.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.low < self.high && self.high <= 100
    }

    /// The queue lengths for a queue of so many bytes: at or above the first is high, at or below the second is low.
    pub(super) fn lengths(self, queue: u32) -> (u32, u32) {
        let part = |percent: u8| u64::from(queue).saturating_mul(u64::from(percent));
        let whole = |hundredths: u64| u32::try_from(hundredths / 100).unwrap_or(u32::MAX);
        (whole(part(self.high).saturating_add(99)), whole(part(self.low)))
    }
}

/// What can be set for the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOptions {
    /// What happens to a newcomer when no slot is free.
    pub on_full: OnFull,
    /// With [`OnFull::KickIdle`]: how long a client must have been idle to be replaced.
    pub kick_after: u32,
    /// How long the port stays down before it tries to listen again.
    pub reopen: u32,
    /// Whether it tries again at all.
    pub auto_connect: bool,
    /// What a newcomer is told with [`OnFull::Text`].
    pub full_text: Vec<u8, MAX_TEXT>,
    /// What one is told that the allow list does not name; nothing if it is empty.
    pub deny_text: Vec<u8, MAX_TEXT>,
}

impl PortOptions {
    /// What a port starts with unless told otherwise.
    pub const DEFAULT: Self = Self {
        on_full: OnFull::Close,
        kick_after: 0,
        reopen: 1_000,
        auto_connect: true,
        full_text: Vec::new(),
        deny_text: Vec::new(),
    };
}

impl Default for PortOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What happens to a newcomer when no slot is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OnFull {
    /// It is closed.
    #[default]
    Close,
    /// It is told why, then closed.
    Text,
    /// It waits in the system's backlog.
    Hold,
    /// It replaces the client that has been connected the longest.
    KickOldest,
    /// It replaces the client that has been idle the longest, if that is at least `kick_after`.
    KickIdle,
}

/// An option of a slot and its new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotOption<'a> {
    /// [`Options::idle_rx`].
    IdleRx(u32),
    /// [`Options::idle_any`].
    IdleAny(u32),
    /// [`Options::write_stuck`].
    WriteStuck(u32),
    /// [`Options::linger`].
    Linger(u32),
    /// [`Options::half_close_linger`].
    HalfCloseLinger(u32),
    /// [`Options::unread`].
    Unread(u32),
    /// [`Options::half_close`].
    HalfClose(HalfClose),
    /// [`Options::overflow`].
    Overflow(Overflow),
    /// [`Options::watermarks`].
    Watermarks(Watermarks),
    /// [`Options::process_eos`].
    ProcessEos(bool),
    /// [`Options::echo`].
    Echo(bool),
    /// What ends a message that comes in; empty is off. It counts for every byte that is not delivered yet.
    InputEos(&'a [u8]),
    /// What is put behind a message that goes out; empty is off.
    OutputEos(&'a [u8]),
}

/// An option of the port and its new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortOption<'a> {
    /// [`PortOptions::on_full`].
    OnFull(OnFull),
    /// [`PortOptions::kick_after`].
    KickAfter(u32),
    /// [`PortOptions::reopen`].
    Reopen(u32),
    /// [`PortOptions::auto_connect`].
    AutoConnect(bool),
    /// [`PortOptions::full_text`], at most [`MAX_TEXT`] bytes.
    FullText(&'a [u8]),
    /// [`PortOptions::deny_text`], likewise.
    DenyText(&'a [u8]),
}
