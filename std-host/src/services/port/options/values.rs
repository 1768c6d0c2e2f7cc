//! The types of the values.

use crate::event_loop;
use crate::services::port::trace;
use std::time::Duration;
use wharf_core::network::Network;
use wharf_core::port::address::{self, Address, Protocol};

/// A value whose type is not known here: what lies between a text, a plant file and a field of the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Span(Millis),
    Number(u32),
    Flag(bool),
    /// The place among the names of the form.
    Choice(usize),
    Bytes(Vec<u8>),
    Networks(Vec<Network>),
    Watermarks(Watermarks),
    Keepalive(Option<event_loop::Keepalive>),
    /// Bits, each with a name.
    Set(u8),
    Text(String),
}

/// What a field of the options is made from and turned into.
pub(super) trait Field: Sized {
    /// The value of the field.
    fn value(&self) -> Value;
    /// The field with this value; `None` if that is of another type.
    fn from_value(value: Value) -> Option<Self>;
}

/// A span of whole milliseconds, 1..=4294967295; 0 is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u32);

impl Millis {
    /// Off.
    pub const OFF: Self = Self(0);

    /// The span, unless it is off.
    #[must_use]
    pub fn span(self) -> Option<Duration> {
        (self != Self::OFF).then(|| self.as_duration())
    }

    /// The span; zero is off.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

/// Parts of the send queue, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// `HighWater` when so much is in use, 1..=100.
    pub high: u8,
    /// `LowWater` when no more than this is left, below `high`.
    pub low: u8,
}

impl Watermarks {
    /// These marks, if `low` is below `high` and both are in 0..=100.
    #[must_use]
    pub const fn new(high: u8, low: u8) -> Option<Self> {
        if low < high && high <= 100 { Some(Self { high, low }) } else { None }
    }
}

/// Where a port listens: a text of the grammar of [`wharf_core::port::address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressText(String);

impl AddressText {
    /// The address that `text` says.
    ///
    /// # Errors
    /// When it says none.
    pub fn parse(text: &str) -> Result<Self, address::Error> {
        Ok(Self(address::parse(text)?.to_string()))
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> Address<'_> {
        address::parse(&self.0).expect("what an address prints parses")
    }

    /// The address in its usual form, with its protocol.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is spoken there.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.address().protocol
    }
}

/// An enum whose values have names.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $(
                #[doc = concat!("`", $text, "`: ")]
                $(#[$item])*
                $variant,
            )+
        }

        impl $name {
            /// Every value, in the order of [`Self::NAMES`].
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The names, as a plant file has them.
            pub const NAMES: &'static [&'static str] = &[$($text),+];
        }

        impl Field for $name {
            fn value(&self) -> Value {
                Value::Choice(Self::ALL.iter().position(|value| value == self).unwrap_or_default())
            }

            fn from_value(value: Value) -> Option<Self> {
                if let Value::Choice(place) = value { Self::ALL.get(place).copied() } else { None }
            }
        }
    )+};
}

choices! {
    /// What the peer's end means for our output (section 8).
    HalfClose {
        /// once the program has neither read nor written for `half_close_linger`, the queue is sent and the connection
        /// closed.
        Drain = "drain",
        /// output goes on until the program ends it.
        Keep = "keep",
    }

    /// What becomes of a message that does not fit into the send queue (section 6).
    Overflow {
        /// it is refused whole.
        Reject = "reject",
        /// what fits is taken.
        Partial = "partial",
        /// the client is closed.
        Disconnect = "disconnect",
        /// the oldest messages make room, whole ones, and none that has begun to leave.
        DropOldest = "drop_oldest",
    }

    /// What happens to a client that comes when no slot is free (section 7).
    OnFull {
        /// it is closed.
        Close = "close",
        /// it gets `full_text` and the end.
        Text = "text",
        /// it waits in the system's backlog.
        Hold = "hold",
        /// it replaces the client that has been connected the longest.
        KickOldest = "kick_oldest",
        /// it replaces the client that has been idle the longest, if that is at least `kick_after`.
        KickIdle = "kick_idle",
    }

    /// Which free slot a newcomer gets (section 7).
    Pick {
        /// the lowest.
        First = "first",
        /// the next one after that of the last newcomer, round and round.
        Rotate = "rotate",
    }

    /// Who gets messages (section 5).
    Consumer {
        /// bytes wait for `read`.
        Pull = "pull",
        /// each message goes to the subscribers at once and is consumed.
        Push = "push",
        /// subscribers get each message once framed, readers consume on their own.
        Both = "both",
    }

    /// What a UDP port keeps (section 9).
    Udp {
        /// one datagram; the port is read-only.
        Asyn = "asyn",
        /// as many datagrams as `depth` and `rx_queue` have room for.
        Fifo = "fifo",
    }

    /// What becomes of the part of a datagram that a read did not take (section 9).
    Rest {
        /// the next read goes on with it.
        Keep = "keep",
        /// it is lost, and counted.
        Discard = "discard",
    }

    /// Which datagram is dropped when the ring is full (section 9).
    Drop {
        /// the one that has just come.
        Newest = "newest",
        /// the oldest ones.
        Oldest = "oldest",
    }

    /// What the host does by itself with what clients send (section 13).
    Mode {
        /// nothing: a program reads and writes.
        None = "none",
        /// each client gets its own bytes back.
        Echo = "echo",
        /// each client's bytes go to all others.
        Broker = "broker",
        /// each message goes to `log_file`.
        Log = "log",
    }

    /// Where `localhost` is (section 3).
    Localhost {
        /// 127.0.0.1.
        Loopback = "loopback",
        /// every IPv4 interface, as asyn has it.
        Any = "any",
    }

    /// What becomes of the clients of a port that stops listening (section 4).
    OnDisconnect {
        /// they are closed.
        Drop = "drop",
        /// they stay.
        Keep = "keep",
    }

    /// The direction of the transfers that are traced (section 11).
    Traced {
        /// none.
        None = "none",
        /// those from clients.
        Rx = "rx",
        /// those to clients.
        Tx = "tx",
        /// all.
        Both = "both",
    }
}

/// The sets of bits.
macro_rules! sets {
    ($($type:ty),+) => {$(
        impl Field for $type {
            fn value(&self) -> Value {
                Value::Set(self.bits())
            }

            fn from_value(value: Value) -> Option<Self> {
                if let Value::Set(bits) = value { Self::from_bits(bits) } else { None }
            }
        }
    )+};
}

sets!(trace::Levels, trace::Formats, trace::Parts);

/// The fields that are values by themselves.
macro_rules! fields {
    ($($type:ty = $variant:ident),+ $(,)?) => {$(
        impl Field for $type {
            fn value(&self) -> Value {
                Value::$variant(self.clone())
            }

            fn from_value(value: Value) -> Option<Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }
        }
    )+};
}

fields! {
    Millis = Span,
    u32 = Number,
    bool = Flag,
    Vec<u8> = Bytes,
    Vec<Network> = Networks,
    Watermarks = Watermarks,
    Option<event_loop::Keepalive> = Keepalive,
    String = Text,
}

impl Field for u16 {
    fn value(&self) -> Value {
        Value::Number((*self).into())
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Number(number) = value { Self::try_from(number).ok() } else { None }
    }
}

impl Field for AddressText {
    fn value(&self) -> Value {
        Value::Text(self.0.clone())
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { Self::parse(&text).ok() } else { None }
    }
}
