//! What a fault is: its kind, whom it is aimed at, and when it acts.
//!
//! Everything here is plain data with public fields. Names of keys are those of the plant file.

use super::target::Target;
use crate::modbus::pdu::Exception;
use crate::random::{Probability, SplitMix64};
use core::time::Duration;
use heapless::Vec;

/// Most bytes of a [`Fault::payload`]: a frame of the greatest length.
pub const MAX_PAYLOAD: usize = crate::modbus::mbap::MAX_FRAME;
/// Most cut points of a [`Kind::Split`].
pub const MAX_CUTS: usize = 8;

/// Where a [`Kind::Split`] cuts, in any order; 0 is no cut.
pub type CutPoints = [u16; MAX_CUTS];
/// The bytes that `extra` and `unsolicited` may bring along.
pub type Payload = Vec<u8, MAX_PAYLOAD>;

/// Something that goes wrong on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A fault that is not enabled is not even looked at.
    pub enabled: bool,
    /// What it does.
    pub kind: Kind,
    /// `bytes`: what [`Kind::Extra`] appends with [`ExtraMode::Append`], and what [`Kind::Unsolicited`] sends in place of
    /// the reply; empty for all others.
    pub payload: Payload,
    /// Whom it is aimed at.
    pub target: Target,
    /// When it is in force.
    pub window: Window,
    /// Which of its matches it acts on.
    pub quota: Quota,
    /// How likely it is to act on one of those.
    pub probability: Probability,
    /// From which all of its random choices follow.
    pub seed: u64,
}

impl Fault {
    /// An enabled fault of this kind that always acts on everything, with seed 0.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            enabled: true,
            kind,
            payload: Vec::new(),
            target: Target::ANY,
            window: Window::ALWAYS,
            quota: Quota::EVERY,
            probability: Probability::ALWAYS,
            seed: 0,
        }
    }
}

/// The seed of a fault that was given none: made from that of its server and from its name, so that it stays the same
/// wherever the fault stands in the plant, and that two faults of a server, or one on two servers, go ways of their own.
///
/// It is the first draw of a source whose seed is the FNV-1a hash (64 bits) of the name, combined with the server's by
/// exclusive or.
#[must_use]
pub fn seed_of(server: u64, name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    SplitMix64::new(server ^ hash).draw()
}

/// When a fault is in force, counted from the start of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Window {
    /// Not before.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub from: Duration,
    /// Not from then on.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub until: Option<Duration>,
    /// On for the first span, off for the second, over and over, beginning with `from`. Never off if the second is zero.
    #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
    pub cycle: Option<(Duration, Duration)>,
}

impl Window {
    /// From the start on.
    pub const ALWAYS: Self = Self { from: Duration::ZERO, until: None, cycle: None };
}

/// Which matches a fault acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Quota {
    /// The first so many matches pass.
    pub skip: u64,
    /// Of the others, the `every`-th, twice that, and so on; 0 is the same as 1.
    pub every: u64,
    /// After so many actions it stops.
    pub max: Option<u64>,
    /// Whose matches and actions are counted.
    pub scope: Scope,
}

impl Quota {
    /// All of them.
    pub const EVERY: Self = Self { skip: 0, every: 1, max: None, scope: Scope::Server };
}

/// Whose matches count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Scope {
    /// Those of all connections.
    #[default]
    Server,
    /// Those of each connection by itself.
    Connection,
}

/// What a fault does. The stages are those in which faults on one reply follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// Stage 1: no reply.
    NoResponse {
        /// Whether the request takes effect.
        execute: bool,
    },
    /// Stage 1: this exception in place of the reply.
    Exception {
        /// Which.
        code: Exception,
        /// Whether the request takes effect.
        execute: bool,
    },
    /// Stage 1: a normal reply of functions 1..=4 and 23 carries another quantity than was asked for. Entries beyond those
    /// that can be read are 0.
    WrongCount(Count),
    /// Stage 2: another function code. The mark of an exception stays, except with `Fixed`.
    WrongFunction(FunctionMode),
    /// Stage 2: bytes behind the function code.
    Corrupt {
        /// How each is changed.
        mode: CorruptMode,
        /// The first, counted from the byte behind the code; random if absent.
        offset: Option<u8>,
        /// How many, one after the other.
        count: u8,
    },
    /// Stage 2: a shorter PDU, of at least its function code.
    Truncate {
        /// What stays.
        keep: Keep,
        /// Whether the length field follows.
        relength: bool,
    },
    /// Stage 2: bytes behind the PDU.
    Extra {
        /// Which.
        mode: ExtraMode,
        /// How many; with `Append` those of the payload, whatever this says.
        count: u8,
        /// Whether the length field follows.
        relength: bool,
    },
    /// Stage 3: another unit id.
    WrongUnit(UnitMode),
    /// Stage 3: another transaction id.
    WrongTransaction(TransactionMode),
    /// Stage 3: this protocol id.
    WrongProtocol(u16),
    /// Stage 3: another length field; the bytes stay.
    WrongLength(LengthMode),
    /// Stage 4: the reply comes later, by `delay` and 0..=`jitter` more.
    Delay {
        /// At least so much.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        delay: Duration,
        /// At most so much more; at most 71 minutes of it count.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        jitter: Duration,
    },
    /// Stage 5: the frame is sent again.
    Duplicate {
        /// So many times more.
        copies: u8,
        /// So long after the one before.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        gap: Duration,
    },
    /// Stage 5: the reply leaves after later ones.
    Reorder {
        /// After so many.
        behind: u16,
        /// Or after so long.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        wait: Duration,
    },
    /// Stage 5: a frame that nobody asked for: the payload or, if that is empty, the reply under another transaction id.
    Unsolicited {
        /// When it leaves.
        when: Moment,
        /// The transaction id that a copy of the reply bears.
        transaction: u16,
    },
    /// Stage 5: the frame leaves in pieces.
    Split {
        /// Where one ends and the next begins, in bytes from the frame's front; 0 is none.
        at: CutPoints,
        /// How long each piece waits.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        gap: Duration,
    },
    /// Stage 5: the frame leaves in pieces of one size.
    Dribble {
        /// Bytes of a piece; 0 is the same as 1.
        chunk: u16,
        /// How long each piece waits.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        gap: Duration,
    },
    /// The connection ends.
    Close {
        /// How.
        how: How,
        /// Before the reply, which is lost then, or after it.
        when: Order,
        /// How long after that.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        delay: Duration,
    },
    /// The connection ends inside the reply.
    CutFrame {
        /// So many bytes of it leave; never all of them.
        bytes: u16,
        /// How it ends.
        how: How,
        /// How long after the last of them.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        delay: Duration,
    },
    /// A FIN; what comes is thrown away; then the connection closes.
    HalfClose {
        /// How long until it does; for ever if zero.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        span: Duration,
    },
    /// Nothing is read, so that the peer's window fills.
    StopReading {
        /// For so long; for ever if zero.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        span: Duration,
        /// What comes after.
        then: Then,
    },
    /// The connection stays, what comes is thrown away, and nothing is answered.
    HoldOpen {
        /// For so long; for ever if zero.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        span: Duration,
        /// What comes after.
        then: Then,
    },
    /// A new connection is accepted and ended.
    AcceptClose {
        /// How.
        how: How,
        /// How long after it was accepted.
        #[cfg_attr(feature = "defmt", defmt(Debug2Format))]
        delay: Duration,
    },
    /// Nobody is accepted.
    StallAccept,
    /// The listeners are closed, and opened again when the fault is over.
    Refuse,
}

/// The quantity that a [`Kind::WrongCount`] makes of the one that was asked for: at least 1, at most what fits a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Count {
    /// This one.
    Exactly(u16),
    /// So many more, or fewer.
    By(i16),
}

/// The function code that a [`Kind::WrongFunction`] makes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FunctionMode {
    /// The next one; 1 after 127.
    Increment,
    /// This byte.
    Fixed(u8),
    /// Another of 1..=127.
    Random,
    /// A write for a read and the reverse: 1 and 5, 2 and 15, 3 and 16, 4 and 6; 3 for 22 and 23; else the next one.
    SwapReadWrite,
}

/// What a [`Kind::Corrupt`] makes of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CorruptMode {
    /// One bit of it changes.
    Flip,
    /// This byte.
    Set(u8),
    /// Another byte.
    Random,
}

/// What a [`Kind::Truncate`] leaves of a PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Keep {
    /// The function code.
    HeaderOnly,
    /// So many bytes.
    FixedBytes(u8),
    /// So many millionths of it, rounded down.
    Fraction(u32),
    /// All but so many bytes.
    AllBut(u8),
}

/// What a [`Kind::Extra`] adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ExtraMode {
    /// Random bytes.
    Random,
    /// The payload.
    Append,
    /// The last byte, again.
    DuplicateLast,
}

/// The unit id that a [`Kind::WrongUnit`] makes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UnitMode {
    /// The next one; 0 after 255.
    Increment,
    /// This one.
    Fixed(u8),
    /// Another.
    Random,
    /// 255 less it.
    Swap,
}

/// The transaction id that a [`Kind::WrongTransaction`] makes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TransactionMode {
    /// The next one; 0 after 65535.
    Increment,
    /// This one.
    Fixed(u16),
    /// Another.
    Random,
    /// Its bytes exchanged.
    SwapBytes,
}

/// The length field that a [`Kind::WrongLength`] makes of another; it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LengthMode {
    /// So much more, or less.
    Delta(i16),
    /// This one.
    Fixed(u16),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum How {
    /// With a FIN.
    Fin,
    /// With a reset.
    Rst,
}

/// Before a reply, or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Order {
    /// Before it.
    Before,
    /// After it.
    After,
}

/// When an unsolicited frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Moment {
    /// Before the reply.
    Before,
    /// After the reply.
    After,
    /// Once the connection has been quiet for so long after the reply; never if zero.
    Idle(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] Duration),
}

/// What comes after a fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Then {
    /// The connection goes on.
    Resume,
    /// It ends with a FIN.
    Close,
    /// It ends with a reset.
    Reset,
}

impl Kind {
    /// Its name in plant files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoResponse { .. } => "no_response",
            Self::Exception { .. } => "exception",
            Self::WrongCount(_) => "wrong_count",
            Self::WrongFunction(_) => "wrong_function",
            Self::Corrupt { .. } => "corrupt",
            Self::Truncate { .. } => "truncate",
            Self::Extra { .. } => "extra",
            Self::WrongUnit(_) => "wrong_unit",
            Self::WrongTransaction(_) => "wrong_transaction",
            Self::WrongProtocol(_) => "wrong_protocol",
            Self::WrongLength(_) => "wrong_length",
            Self::Delay { .. } => "delay",
            Self::Duplicate { .. } => "duplicate",
            Self::Reorder { .. } => "reorder",
            Self::Unsolicited { .. } => "unsolicited",
            Self::Split { .. } => "split",
            Self::Dribble { .. } => "dribble",
            Self::Close { .. } => "close",
            Self::CutFrame { .. } => "cut_frame",
            Self::HalfClose { .. } => "half_close",
            Self::StopReading { .. } => "stop_reading",
            Self::HoldOpen { .. } => "hold_open",
            Self::AcceptClose { .. } => "accept_close",
            Self::StallAccept => "stall_accept",
            Self::Refuse => "refuse",
        }
    }

    /// Where it acts.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self {
            Self::NoResponse { .. } | Self::Exception { .. } | Self::WrongCount(_) => Stage::Answer,
            Self::WrongFunction(_) | Self::Corrupt { .. } | Self::Truncate { .. } | Self::Extra { .. } => Stage::Pdu,
            Self::WrongUnit(_) | Self::WrongTransaction(_) | Self::WrongProtocol(_) | Self::WrongLength(_) => {
                Stage::Header
            }
            Self::Delay { .. } => Stage::Delay,
            Self::Duplicate { .. }
            | Self::Reorder { .. }
            | Self::Unsolicited { .. }
            | Self::Split { .. }
            | Self::Dribble { .. } => Stage::Wire,
            Self::Close { .. }
            | Self::CutFrame { .. }
            | Self::HalfClose { .. }
            | Self::StopReading { .. }
            | Self::HoldOpen { .. } => Stage::Connection,
            Self::AcceptClose { .. } => Stage::Accept,
            Self::StallAccept | Self::Refuse => Stage::Listener,
        }
    }

    /// Whether it keeps a request from taking effect.
    #[must_use]
    pub const fn prevents_execution(&self) -> bool {
        matches!(self, Self::NoResponse { execute: false } | Self::Exception { execute: false, .. })
    }
}

/// Where in the course of things a fault acts, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stage {
    /// Stage 1: which reply there is.
    Answer,
    /// Stage 2: its PDU.
    Pdu,
    /// Stage 3: its header.
    Header,
    /// Stage 4: when it leaves.
    Delay,
    /// Stage 5: how it leaves.
    Wire,
    /// What becomes of the connection.
    Connection,
    /// Whether a connection begins.
    Accept,
    /// Whether there is anybody to connect to.
    Listener,
}
