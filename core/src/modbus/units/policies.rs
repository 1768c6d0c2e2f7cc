//! The policies of a server about unit ids, and which functions a unit knows.

use crate::modbus::pdu::function;

/// What unit 0 means (SL 2.1 makes it broadcast, MG 4.4.1.2 the device itself).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UnitZero {
    /// Unit 0 if there is one, else the default device.
    #[default]
    Device,
    /// Writes run on all enabled units and nobody replies; anything else is discarded.
    Broadcast,
    /// The same, and the default device executes and answers, anything else too.
    BroadcastReply,
    /// Everything is discarded.
    Ignore,
}

/// What unit 255 means (MG 4.4.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Unit255 {
    /// Unit 255 if there is one, else the default device.
    #[default]
    Device,
    /// A unit like any other.
    Unit,
    /// Everything is discarded.
    Ignore,
}

/// What happens to a request for a unit that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UnknownUnit {
    /// Exception 0B.
    #[default]
    TargetFailed,
    /// Exception 0A.
    PathUnavailable,
    /// It is discarded.
    Silent,
    /// The default device answers.
    Default,
}

/// The policies of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Policies {
    /// Unit 0.
    pub unit_0: UnitZero,
    /// Unit 255.
    pub unit_255: Unit255,
    /// Units that are not there, or not enabled.
    pub unknown_unit: UnknownUnit,
    /// The unit that is the default device, where the server has none of its own; the lowest unit if absent.
    pub default_unit: Option<u8>,
}

/// A set of function codes 1..=127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FunctionSet([u32; 4]);

impl FunctionSet {
    /// No function.
    pub const EMPTY: Self = Self([0; 4]);

    /// The 19 public functions.
    #[must_use]
    pub fn public() -> Self {
        function::PUBLIC.iter().fold(Self::EMPTY, |set, code| set.with(*code))
    }

    /// The public functions without those that AP titles "serial line only": 7, 8, 11, 12 and 17.
    #[must_use]
    pub fn without_serial() -> Self {
        function::SERIAL.iter().fold(Self::public(), |set, code| set.without(*code))
    }

    /// The set with `code` in it. 0 and 128..=255 are no function codes and leave the set as it is.
    #[must_use]
    pub fn with(mut self, code: u8) -> Self {
        let place = Self::place(code);
        if let Some((word, bit)) = place.and_then(|(word, bit)| Some((self.0.get_mut(word)?, bit))) {
            *word |= bit;
        }
        self
    }

    /// The set without `code`.
    #[must_use]
    pub fn without(mut self, code: u8) -> Self {
        let place = Self::place(code);
        if let Some((word, bit)) = place.and_then(|(word, bit)| Some((self.0.get_mut(word)?, bit))) {
            *word &= !bit;
        }
        self
    }

    /// Whether `code` is in the set.
    #[must_use]
    pub fn contains(&self, code: u8) -> bool {
        Self::place(code).is_some_and(|(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0))
    }

    fn place(code: u8) -> Option<(usize, u32)> {
        (1..=127).contains(&code).then(|| (usize::from(code / 32), 1 << (code % 32)))
    }
}
