//! Why a read ended: the end-of-message reason.

use core::ops::{BitOr, BitOrAssign};

/// A set of reasons for which a read ended. None of them means that more may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Eom(u8);

impl Eom {
    /// No reason: the message goes on, or there was nothing.
    pub const NONE: Self = Self(0);
    /// The caller's buffer was filled, or more than fits it is left.
    pub const CNT: Self = Self(1);
    /// A terminator was found and removed.
    pub const EOS: Self = Self(2);
    /// The client's input has ended, or this is the last byte of a datagram.
    pub const END: Self = Self(4);

    /// Whether every reason of `other` is among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The reasons as bits: 1 for CNT, 2 for EOS, 4 for END.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Eom {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Eom {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}
