//! `SplitMix64`: random choices that follow from a seed. No source of secrets.

/// A seeded source. Two with one seed give the same values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A source whose values follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A value of `0..=greatest`, each as likely as any other within one in 2^32.
    pub const fn up_to(&mut self, greatest: u32) -> u32 {
        let range = (greatest as u64).saturating_add(1);
        ((self.draw() >> 32).wrapping_mul(range) >> 32) as u32
    }

    /// Whether an event of this probability happens, by the top 53 bits of a draw. Certain ones draw nothing.
    pub const fn happens(&mut self, probability: Probability) -> bool {
        if probability.0 >= ONE {
            return true;
        }
        probability.0 > 0 && self.draw() >> 11 < probability.0
    }
}

/// A probability in units of 2^-53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Probability(u64);

const ONE: u64 = 1 << 53;

impl Probability {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(ONE);

    /// This many of 2^53; more are always.
    #[must_use]
    pub const fn from_fraction(of_2_53: u64) -> Self {
        Self(if of_2_53 > ONE { ONE } else { of_2_53 })
    }

    /// 0.0..=1.0; anything else is never or always, and what is no number is never.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and 2^53 is exact")]
    pub const fn from_f64(value: f64) -> Self {
        Self::from_fraction((value * 9_007_199_254_740_992.0) as u64)
    }

    /// The same as a number, 0.0..=1.0, without loss.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "no more than 2^53, which is exact")]
    pub const fn to_f64(self) -> f64 {
        self.0 as f64 / ONE as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // Reference values of SplitMix64 with seed 1234567.
        let mut source = SplitMix64::new(1_234_567);
        assert_eq!(
            [source.draw(), source.draw(), source.draw()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn the_top_53_bits_of_a_draw_are_its_fraction() {
        let fraction = 6_457_827_717_110_365_317 >> 11;
        let happens = |of_2_53| SplitMix64::new(1_234_567).happens(Probability::from_fraction(of_2_53));
        assert_eq!([fraction - 1, fraction, fraction + 1].map(happens), [false, false, true]);
    }

    #[test]
    fn a_bounded_draw_reaches_both_bounds_and_no_more() {
        let mut source = SplitMix64::new(1);
        let mut seen = [false; 4];
        for _ in 0..200 {
            seen[source.up_to(3) as usize] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert_eq!(source.up_to(0), 0);
        assert!((0..100).any(|_| source.up_to(u32::MAX) > u32::MAX / 2));
    }

    #[test]
    fn an_event_happens_as_often_as_its_probability_says() {
        let mut source = SplitMix64::new(2);
        let happened = (0..10_000).filter(|_| source.happens(Probability::from_f64(0.1))).count();
        assert!((900..1100).contains(&happened), "{happened}");
        assert!((0..100).all(|_| source.happens(Probability::ALWAYS)));
        assert!((0..100).all(|_| !source.happens(Probability::from_f64(-1.0))));
        assert_eq!(Probability::from_f64(f64::NAN), Probability::NEVER);
        assert_eq!(Probability::from_f64(7.0), Probability::ALWAYS);
        for value in [0.0, 0.1, 0.5, 1.0] {
            let probability = Probability::from_f64(value);
            assert_eq!(Probability::from_f64(probability.to_f64()), probability);
            assert!((probability.to_f64() - value).abs() < 1e-15);
        }
    }
}
