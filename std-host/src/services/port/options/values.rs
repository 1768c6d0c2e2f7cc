//! The types of the values.

use crate::event_loop;
use crate::services::port::trace;
use std::time::Duration;
use wharf_core::network::Network;
use wharf_core::port::address::{self, Address, Protocol};
use wharf_core::port::datagrams::{Mode as Udp, Overflow as Drop, Rest};
use wharf_core::port::server::{HalfClose, OnFull, Overflow, Pick, Watermarks};

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
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// Their names, as a plant file has them, in the same order.
    const NAMES: &'static [&'static str];
}

impl<T: Choice> Field for T {
    fn value(&self) -> Value {
        let place = T::ALL.iter().position(|value| value == self);
        Value::Choice(place.expect("every value has a name"))
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Choice(place) = value { T::ALL.get(place).copied() } else { None }
    }
}

/// The names of enums of the core.
macro_rules! names {
    ($($name:ident { $($variant:ident = $text:literal),+ $(,)? })+) => {$(
        impl Choice for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            const NAMES: &'static [&'static str] = &[$($text),+];
        }
    )+};
}

names! {
    HalfClose { Drain = "drain", Keep = "keep" }
    Overflow { Reject = "reject", Partial = "partial", Disconnect = "disconnect", DropOldest = "drop_oldest" }
    OnFull {
        Close = "close",
        Text = "text",
        Hold = "hold",
        KickOldest = "kick_oldest",
        KickIdle = "kick_idle",
    }
    Pick { First = "first", Rotate = "rotate" }
    Udp { Asyn = "asyn", Fifo = "fifo" }
    Rest { Keep = "keep", Discard = "discard" }
    Drop { DropNewest = "newest", DropOldest = "oldest" }
}

/// Enums with names.
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

        names! { $name { $($variant = $text),+ } }
    )+};
}

choices! {
    /// Who gets messages (section 5).
    Consumer {
        /// bytes wait for `read`.
        Pull = "pull",
        /// each message goes to the subscribers at once and is consumed.
        Push = "push",
        /// subscribers get each message once framed, readers consume on their own.
        Both = "both",
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
