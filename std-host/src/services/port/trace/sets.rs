//! The masks of trace. Their bits are those of asyn, so that the numbers of an operator's scripts keep their meaning.

/// A set of named bits.
macro_rules! set {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $bit:ident = $value:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(u8);

        impl $name {
            $($(#[$item])* pub const $bit: Self = Self($value);)+
            /// Nothing.
            pub const NONE: Self = Self(0);
            /// The names of the bits.
            pub const NAMES: &'static [(&'static str, u8)] = &[$(($text, $value)),+];

            /// The set with these bits, if each has a name.
            #[must_use]
            pub const fn from_bits(bits: u8) -> Option<Self> {
                if bits & !($($value)|+) == 0 { Some(Self(bits)) } else { None }
            }

            /// The bits.
            #[must_use]
            pub const fn bits(self) -> u8 {
                self.0
            }

            /// Everything that is in either.
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether all of `other` is in it.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
        }
    };
}

set! {
    /// What is traced: `trace_mask`.
    Levels {
        /// What went wrong.
        ERROR = 1 "error",
        /// What a program reads and writes.
        DEVICE = 2 "device",
        /// Messages, once framed.
        FILTER = 4 "filter",
        /// Bytes, as the system takes and gives them.
        DRIVER = 8 "driver",
        /// What happens to the port and its clients.
        FLOW = 16 "flow",
        /// What may be wrong.
        WARNING = 32 "warning",
    }
}

set! {
    /// How bytes are shown: `trace_io`. With none of these only their number is.
    Formats {
        /// Behind the number; what is no printable ASCII is a dot.
        ASCII = 1 "ascii",
        /// Behind the number, with backslash sequences; it goes before [`Formats::ASCII`].
        ESCAPE = 2 "escape",
        /// In rows of offset, 16 bytes, and the same as characters.
        HEX = 4 "hex",
    }
}

set! {
    /// What stands before the bytes: `trace_info`.
    Parts {
        /// The time in UTC, to the microsecond.
        TIME = 1 "time",
        /// The name of the port or its child, and the address of who is at the other end of a port without children.
        PORT = 2 "port",
        /// What in the host has written this, in brackets.
        SOURCE = 4 "source",
        /// Its thread, in brackets.
        THREAD = 8 "thread",
    }
}
