//! SplitMix64: a small random source whose every choice follows from a seed.
//!
//! Tests must be repeatable, so nothing here reads a clock or the system's entropy. It is no source of secrets.

/// The environment variable that replaces a suite's own seeds by one.
pub const SEED_VARIABLE: &str = "WHARF_SEED";
/// The environment variable that says how many seeds a suite takes, in place of its own number.
pub const COUNT_VARIABLE: &str = "WHARF_SEEDS";

/// A seeded random source.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A source whose whole sequence follows from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next byte.
    pub const fn byte(&mut self) -> u8 {
        self.next_u64().to_be_bytes()[0]
    }

    /// The next 16 bits.
    pub const fn word(&mut self) -> u16 {
        let bytes = self.next_u64().to_be_bytes();
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    /// A number in `0..bound`, or 0 if `bound` is 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("a product of two 64-bit numbers has 128 bits")
    }

    /// A number in `low..=high`; `low` if the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low).checked_add(1) {
            Some(width) => low.saturating_add(self.below(width)),
            None => self.next_u64(),
        }
    }

    /// An index below `len`, or 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        let bound = u64::try_from(len).expect("a length fits 64 bits");
        usize::try_from(self.below(bound)).expect("a number below a length is an index")
    }

    /// True `times` out of `of` times.
    pub fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    /// One of `choices`, which must not be empty.
    ///
    /// # Panics
    /// When there is nothing to choose from.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        assert!(!choices.is_empty(), "nothing to choose from");
        &choices[self.index(choices.len())]
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// A source of its own, so that what one consumer draws does not shift what another one sees.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }
}

/// The seeds of one run: `0..count`, or as many as [`COUNT_VARIABLE`] says, or the one that [`SEED_VARIABLE`] names.
/// Both are decimal, or hexadecimal after `0x`.
///
/// # Panics
/// When a variable is set to what is not a number: a run that silently took other seeds would prove nothing.
#[must_use]
pub fn seeds(count: u64) -> Vec<u64> {
    let set = |variable| std::env::var(variable).ok().map(|text| parse(variable, &text));
    set(SEED_VARIABLE).map_or_else(|| (0..set(COUNT_VARIABLE).unwrap_or(count)).collect(), |seed| vec![seed])
}

fn parse(variable: &str, text: &str) -> u64 {
    let text = text.trim();
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    parsed.unwrap_or_else(|_| panic!("{variable}={text} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_bounded_number_reaches_both_ends_and_goes_no_further() {
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 4];
        for _ in 0..1000 {
            let number = rng.between(3, 6);
            seen[usize::try_from(number - 3).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&times| times > 150), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.between(9, 9), 9);
    }

    #[test]
    fn seeds_are_read_as_decimal_or_hexadecimal() {
        assert_eq!(parse(SEED_VARIABLE, "17"), 17);
        assert_eq!(parse(SEED_VARIABLE, "0xFf"), 255);
    }
}
