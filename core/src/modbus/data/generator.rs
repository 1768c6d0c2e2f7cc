//! Values that a simulator makes up: counters, ramps, sines, random walks.
//!
//! A [`Generator`] answers for a tick, counted from 0, what a point of some type holds then. It knows no time: whoever
//! drives it counts ticks, and leaves out those that came too late. The same description and tick give the same value,
//! whatever was asked before; a random walk keeps its place, so that going on is cheap, and starts anew when it is asked
//! for the past.
//!
//! Values for integers are rounded half away from zero and saturate; those for a `bool` saturate to 0 or 1. Text has no
//! generator. Copies of other addresses are not here: see [`Mirror`](super::super::units).

use super::point::{Datum, PointType};
use crate::modbus::typed::{Type, Value};
use crate::random::SplitMix64;

/// What makes up values.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Generator {
    /// Always the same.
    Constant(Value),
    /// Counts.
    Counter(Counter),
    /// Rises from one value to another.
    Ramp(Ramp),
    /// Swings.
    Sine(Sine),
    /// Wanders.
    RandomWalk(RandomWalk),
}

/// `start + step * tick`, wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counter {
    /// The value of tick 0.
    pub start: i64,
    /// What each tick adds.
    pub step: i64,
    /// Values are 0 to less than this, not 0. Without it they wrap as the type does; reals do not wrap.
    pub modulo: Option<u64>,
}

/// Equal steps from one value to another, which is reached exactly: the last step may be shorter.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ramp {
    /// The value of tick 0.
    pub from: f64,
    /// The other end, above or below.
    pub to: f64,
    /// How far one tick goes, above 0.
    pub step: f64,
    /// What comes after the end.
    pub wrap: Wrap,
}

/// What a ramp does when it has reached its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Wrap {
    /// It starts anew with the next tick.
    #[default]
    Saw,
    /// It goes back in the same way.
    Triangle,
    /// It stays.
    Hold,
}

/// `mean + amplitude * sin(2 pi (time / period + phase))`, with an error below 1e-6 of the amplitude.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sine {
    /// The middle.
    pub mean: f64,
    /// How far it swings to both sides.
    pub amplitude: f64,
    /// The time of one turn in microseconds, not 0.
    pub period: u64,
    /// Where it starts, in turns.
    pub phase: f64,
    /// The time between two ticks in microseconds.
    pub every: u64,
}

/// A walk in random steps that is reflected where it would leave its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RandomWalk {
    start: f64,
    step: f64,
    min: f64,
    max: f64,
    seed: u64,
    /// The tick of `value`, and the source as it is then.
    tick: u64,
    value: f64,
    source: SplitMix64,
}

impl RandomWalk {
    /// A walk from `start`, which is moved into `min..=max`; each tick adds a uniform value of `-step..=step`, for
    /// integers a whole one.
    #[must_use]
    pub const fn new(start: f64, step: f64, min: f64, max: f64, seed: u64) -> Self {
        let start = between(start, min, max);
        Self { start, step, min, max, seed, tick: 0, value: start, source: SplitMix64::new(seed) }
    }

    /// Takes time in proportion to the ticks since it was last asked.
    fn at(&mut self, tick: u64, whole: bool) -> f64 {
        if tick < self.tick {
            *self = Self::new(self.start, self.step, self.min, self.max, self.seed);
        }
        while self.tick < tick {
            self.tick = self.tick.saturating_add(1);
            let step = if whole { self.whole_step() } else { self.real_step() };
            let next = self.value + step;
            let next = if next > self.max { self.max - (next - self.max) } else { next };
            let next = if next < self.min { self.min + (self.min - next) } else { next };
            self.value = between(next, self.min, self.max);
        }
        self.value
    }

    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    const fn whole_step(&mut self) -> f64 {
        let step = (self.step + 0.5) as u64;
        let values = (step as u128).saturating_mul(2).saturating_add(1);
        let drawn = (self.source.draw() as u128).saturating_mul(values) >> 64;
        drawn as f64 - step as f64
    }

    const fn real_step(&mut self) -> f64 {
        const ONE: f64 = ((1_u64 << 53) - 1) as f64;
        let fraction = (self.source.draw() >> 11) as f64 / ONE;
        self.step * (2.0 * fraction - 1.0)
    }
}

impl Counter {
    fn at(&self, tick: u64, kind: PointType) -> Sample {
        let (start, step, tick) = (i128::from(self.start), i128::from(self.step), i128::from(tick));
        let range = self.modulo.map(i128::from).or_else(|| range(kind));
        let Some(range) = range.filter(|range| *range > 0) else {
            return Sample::Whole(start.saturating_add(step.saturating_mul(tick)));
        };
        // Both factors are below 2^64 here, so the product of unsigned numbers is exact.
        let rest = |value: i128| value.checked_rem_euclid(range).unwrap_or(0).unsigned_abs();
        let far = rest(step).saturating_mul(rest(tick)).checked_rem(range.unsigned_abs()).unwrap_or(0);
        let value = rest(start.saturating_add(far.cast_signed()));
        Sample::Whole(match (self.modulo, kind) {
            (None, PointType::Number(kind)) => wrapped(kind, value),
            _ => value.cast_signed(),
        })
    }
}

impl Ramp {
    fn at(&self, tick: u64) -> f64 {
        let range = if self.to < self.from { self.from - self.to } else { self.to - self.from };
        let strokes = self.strokes(range);
        if strokes == 0 {
            return self.from;
        }
        let (back, steps) = match self.wrap {
            Wrap::Hold => (false, tick.min(strokes)),
            Wrap::Saw => (false, rest(tick, strokes.saturating_add(1))),
            Wrap::Triangle => {
                let place = rest(tick, strokes.saturating_mul(2));
                (place > strokes, if place > strokes { place.saturating_sub(strokes) } else { place })
            }
        };
        let gone = self.step * steps as f64;
        match if back { (self.to, self.from) } else { (self.from, self.to) } {
            (_, end) if gone >= range || steps == strokes => end,
            (begin, end) if end < begin => begin - gone,
            (begin, _) => begin + gone,
        }
    }

    /// How many ticks it takes from one end to the other; 0 if it cannot move.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    fn strokes(&self, range: f64) -> u64 {
        /// What rounding may add to a quotient that should be whole.
        const SLACK: f64 = 1e-12;
        let moves = self.step > 0.0 && range > 0.0;
        if !moves {
            return 0;
        }
        let exact = (range / self.step) * (1.0 - SLACK);
        let whole = (exact as u64).min(u64::MAX / 4);
        if whole as f64 >= exact { whole } else { whole.saturating_add(1) }
    }
}

impl Sine {
    fn at(&self, tick: u64) -> f64 {
        let time = u128::from(tick).saturating_mul(self.every.into());
        let place = time.checked_rem(self.period.into()).unwrap_or(0);
        self.mean + self.amplitude * sine(place as f64 / self.period.max(1) as f64 + fraction(self.phase))
    }
}

impl Generator {
    /// What a point of this type holds at `tick`; `None` for text.
    pub fn at(&mut self, tick: u64, kind: PointType) -> Option<Datum<'static>> {
        let sample = match self {
            Self::Constant(value) => Sample::of(*value),
            Self::Counter(counter) => counter.at(tick, kind),
            Self::Ramp(ramp) => Sample::Real(ramp.at(tick)),
            Self::Sine(sine) => Sample::Real(sine.at(tick)),
            Self::RandomWalk(walk) => Sample::Real(walk.at(tick, !is_real(kind))),
        };
        match kind {
            PointType::Bool => Some(Datum::Bool(matches!(sample.value(Type::I64), Value::I64(value) if value > 0))),
            PointType::Number(kind) => Some(Datum::Number(sample.value(kind))),
            PointType::Text { .. } => None,
        }
    }
}

/// A value before it has a type.
enum Sample {
    Whole(i128),
    Real(f64),
}

impl Sample {
    fn of(value: Value) -> Self {
        match value {
            Value::U16(value) => Self::Whole(value.into()),
            Value::I16(value) => Self::Whole(value.into()),
            Value::U32(value) => Self::Whole(value.into()),
            Value::I32(value) => Self::Whole(value.into()),
            Value::U64(value) => Self::Whole(value.into()),
            Value::I64(value) => Self::Whole(value.into()),
            Value::F32(value) => Self::Real(value.into()),
            Value::F64(value) => Self::Real(value),
        }
    }

    fn value(&self, kind: Type) -> Value {
        match *self {
            Self::Whole(value) => Value::from_integer(kind, value),
            Self::Real(value) => Value::from_real(kind, value),
        }
    }
}

const fn is_real(kind: PointType) -> bool {
    matches!(kind, PointType::Number(Type::F32 | Type::F64))
}

/// How many values a type has, if it is one of integers.
const fn range(kind: PointType) -> Option<i128> {
    match kind {
        PointType::Bool => Some(2),
        PointType::Number(Type::U16 | Type::I16) => Some(1 << 16),
        PointType::Number(Type::U32 | Type::I32) => Some(1 << 32),
        PointType::Number(Type::U64 | Type::I64) => Some(1 << 64),
        PointType::Number(Type::F32 | Type::F64) | PointType::Text { .. } => None,
    }
}

/// A value below the range of its type, as the type has it: the upper half is negative where there is a sign.
fn wrapped(kind: Type, value: u128) -> i128 {
    let [.., a, b, c, d, e, f, g, h] = value.to_be_bytes();
    match kind {
        Type::I16 => i16::from_be_bytes([g, h]).into(),
        Type::I32 => i32::from_be_bytes([e, f, g, h]).into(),
        Type::I64 => i64::from_be_bytes([a, b, c, d, e, f, g, h]).into(),
        Type::U16 | Type::U32 | Type::U64 | Type::F32 | Type::F64 => value.cast_signed(),
    }
}

fn rest(value: u64, of: u64) -> u64 {
    value.checked_rem(of).unwrap_or(0)
}

/// What is nearest to `value` in `min..=max`; `min` for what is no number.
const fn between(value: f64, min: f64, max: f64) -> f64 {
    if value > max {
        max
    } else if value >= min {
        value
    } else {
        min
    }
}

/// The part behind the point, 0 to below 1.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates; numbers that great have no such part")]
const fn fraction(value: f64) -> f64 {
    let rest = value - value as i64 as f64;
    if rest < 0.0 {
        rest + 1.0
    } else if rest < 1.0 {
        rest
    } else {
        0.0
    }
}

/// The sine of so many turns, by its Taylor polynomial on the quarter next to 0.
const fn sine(turns: f64) -> f64 {
    let place = fraction(turns);
    let near = if place < 0.25 {
        place
    } else if place < 0.75 {
        0.5 - place
    } else {
        place - 1.0
    };
    let x = near * core::f64::consts::TAU;
    let square = x * x;
    // 1/3!, 1/5! and so on; the first term left out is below 6e-8.
    let mut sum = -1.0 / 39_916_800.0;
    sum = sum * square + 1.0 / 362_880.0;
    sum = sum * square - 1.0 / 5_040.0;
    sum = sum * square + 1.0 / 120.0;
    sum = sum * square - 1.0 / 6.0;
    x + x * square * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SplitMix64 as Random;
    use std::time::Duration;
    use std::vec::Vec;

    const REAL: PointType = PointType::Number(Type::F64);

    fn number(datum: Option<Datum<'_>>) -> f64 {
        let Some(Datum::Number(value)) = datum else { panic!("{datum:?} is no number") };
        match value {
            Value::F64(value) => value,
            Value::F32(value) => value.into(),
            Value::U16(value) => value.into(),
            Value::I16(value) => value.into(),
            Value::U32(value) => value.into(),
            Value::I32(value) => value.into(),
            Value::U64(value) => value as f64,
            Value::I64(value) => value as f64,
        }
    }

    fn first(generator: Generator, kind: PointType, ticks: u64) -> Vec<f64> {
        let mut generator = generator;
        (0..ticks).map(|tick| number(generator.at(tick, kind))).collect()
    }

    fn ramp(from: f64, to: f64, step: f64, wrap: Wrap) -> Generator {
        Generator::Ramp(Ramp { from, to, step, wrap })
    }

    #[test]
    fn a_counter_wraps_as_its_type_does_or_below_its_modulo() {
        let counter = |start, step, modulo| Generator::Counter(Counter { start, step, modulo });
        let i16s = PointType::Number(Type::I16);
        assert_eq!(first(counter(32_766, 1, None), i16s, 4), [32_766.0, 32_767.0, -32_768.0, -32_767.0]);
        assert_eq!(first(counter(65_535, 2, None), PointType::Number(Type::U16), 3), [65_535.0, 1.0, 3.0]);
        let u32s = PointType::Number(Type::U32);
        assert_eq!(first(counter(4_294_967_295, 2, None), u32s, 3), [4_294_967_295.0, 1.0, 3.0]);
        assert_eq!(first(counter(8, 1, Some(10)), REAL, 4), [8.0, 9.0, 0.0, 1.0]);
        assert_eq!(first(counter(1, -2, Some(10)), i16s, 4), [1.0, 9.0, 7.0, 5.0]);
        assert_eq!(first(counter(-1, -2, None), REAL, 3), [-1.0, -3.0, -5.0], "reals do not wrap");
        let mut bits = counter(0, 1, None);
        assert!((0..6).all(|tick| bits.at(tick, PointType::Bool) == Some(Datum::Bool(tick % 2 == 1))));
        let mut longs = counter(-3, i64::MIN, None);
        let expected = Value::I64((-3_i64).wrapping_add(i64::MIN.wrapping_mul(u64::MAX.cast_signed())));
        assert_eq!(longs.at(u64::MAX, PointType::Number(Type::I64)), Some(Datum::Number(expected)));
    }

    #[test]
    fn counters_are_what_one_addition_at_a_time_gives() {
        let mut random = Random::new(7);
        for _ in 0..200 {
            let (start, step) = (random.next().cast_signed(), random.next().cast_signed());
            let mut counter = Generator::Counter(Counter { start, step, modulo: None });
            let mut value = start;
            for tick in 0..50 {
                assert_eq!(counter.at(tick, PointType::Number(Type::I64)), Some(Datum::Number(Value::I64(value))));
                let low = u16::from_be_bytes([(value >> 8) as u8, value as u8]);
                assert_eq!(counter.at(tick, PointType::Number(Type::U16)), Some(Datum::Number(Value::U16(low))));
                value = value.wrapping_add(step);
            }
        }
    }

    #[test]
    fn a_ramp_reaches_both_ends_exactly_and_wraps_as_it_is_told() {
        let saw = [0.0, 1.0, 2.0, 3.0, 0.0, 1.0];
        assert_eq!(first(ramp(0.0, 3.0, 1.0, Wrap::Saw), REAL, 6), saw);
        assert_eq!(first(ramp(0.0, 3.0, 1.0, Wrap::Triangle), REAL, 8), [0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.0, 1.0]);
        assert_eq!(first(ramp(0.0, 3.0, 1.0, Wrap::Hold), REAL, 6), [0.0, 1.0, 2.0, 3.0, 3.0, 3.0]);
        assert_eq!(first(ramp(5.0, -2.0, 3.0, Wrap::Triangle), REAL, 8), [5.0, 2.0, -1.0, -2.0, 1.0, 4.0, 5.0, 2.0]);
        assert_eq!(first(ramp(0.0, 10.0, 4.0, Wrap::Saw), REAL, 5), [0.0, 4.0, 8.0, 10.0, 0.0]);
        assert_eq!(first(ramp(0.0, 0.9, 0.3, Wrap::Saw), REAL, 5), [0.0, 0.3, 0.6, 0.9, 0.0]);
        assert_eq!(first(ramp(7.0, 7.0, 1.0, Wrap::Saw), REAL, 3), [7.0; 3]);
        assert_eq!(first(ramp(7.0, 9.0, 0.0, Wrap::Hold), REAL, 3), [7.0; 3]);
        assert_eq!(first(ramp(0.0, 2.0, 0.5, Wrap::Saw), PointType::Number(Type::I16), 5), [0.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn ramps_are_what_one_step_at_a_time_gives() {
        let mut random = Random::new(11);
        for _ in 0..300 {
            let (from, to) = (random.below(200) as f64 - 100.0, random.below(200) as f64 - 100.0);
            let step = 1.0 + random.below(50) as f64;
            let wrap = random.pick(&[Wrap::Saw, Wrap::Triangle, Wrap::Hold]);
            let values = first(ramp(from, to, step, wrap), REAL, 200);
            let (mut value, mut goal) = (from, to);
            for (tick, got) in values.iter().enumerate() {
                assert_eq!(*got, value, "tick {tick} of {from}..{to} by {step}, {wrap:?}");
                if value == goal {
                    match wrap {
                        Wrap::Hold => continue,
                        Wrap::Saw => {
                            value = from;
                            continue;
                        }
                        Wrap::Triangle => goal = if goal == to { from } else { to },
                    }
                }
                value = if goal > value { goal.min(value + step) } else { goal.max(value - step) };
            }
        }
    }

    #[test]
    fn a_sine_is_the_sine_of_a_library_but_for_a_millionth() {
        let mut random = Random::new(3);
        for _ in 0..20_000 {
            let period = 1 + random.below(100_000_000);
            let every = 1 + random.below(10_000_000);
            let tick = random.below(1_000_000);
            let phase = random.below(4000) as f64 / 1000.0 - 2.0;
            let mut swing = Generator::Sine(Sine { mean: 3.0, amplitude: 2.0, period, phase, every });
            let turns = (tick * every % period) as f64 / period as f64 + phase;
            let expected = 3.0 + 2.0 * (turns * std::f64::consts::TAU).sin();
            let got = number(swing.at(tick, REAL));
            assert!((got - expected).abs() < 2e-6, "{got} instead of {expected} at {turns} turns");
        }
    }

    #[test]
    fn a_sine_starts_in_its_middle_and_goes_up() {
        let minute = Duration::from_secs(60).as_micros() as u64;
        let quarter = minute / 4;
        let swing = |phase| Generator::Sine(Sine { mean: 10.0, amplitude: 5.0, period: minute, phase, every: quarter });
        let i16s = PointType::Number(Type::I16);
        assert_eq!(first(swing(0.0), i16s, 5), [10.0, 15.0, 10.0, 5.0, 10.0]);
        assert_eq!(first(swing(0.25), i16s, 4), [15.0, 10.0, 5.0, 10.0]);
        assert_eq!(first(swing(-0.25), i16s, 2), [5.0, 10.0]);
    }

    #[test]
    fn a_walk_goes_whole_steps_on_integers_and_never_leaves_its_bounds() {
        let walk = |seed| Generator::RandomWalk(RandomWalk::new(0.0, 3.0, -5.0, 5.0, seed));
        for (kind, whole) in [(PointType::Number(Type::I16), true), (REAL, false)] {
            let values = first(walk(1), kind, 5000);
            assert!(values.iter().all(|value| (-5.0..=5.0).contains(value)));
            assert!(values.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= 3.0));
            assert_eq!(values.iter().all(|value| value.fract() == 0.0), whole);
            assert_ne!(values, first(walk(2), kind, 5000));
            if whole {
                let steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
                assert!((-3..=3).all(|step| steps.contains(&f64::from(step))), "each step occurs");
                assert!((-5..=5).all(|place| values.contains(&f64::from(place))), "each place occurs");
            }
        }
    }

    #[test]
    fn a_walk_on_integers_stands_on_whole_numbers_and_is_not_rounded_to_them() {
        let mut walk = Generator::RandomWalk(RandomWalk::new(0.0, 3.0, -50.0, 50.0, 1));
        for tick in 1..100 {
            let whole = number(walk.at(tick, PointType::Number(Type::I16)));
            assert_eq!(number(walk.at(tick, REAL)), whole, "tick {tick}");
        }
    }

    #[test]
    fn a_walk_is_reflected_like_one_that_adds_and_looks() {
        let (min, max, step, seed) = (-2.5, 4.0, 2.0, 99);
        let values = first(Generator::RandomWalk(RandomWalk::new(1.0, step, min, max, seed)), REAL, 1000);
        let mut random = Random::new(seed);
        let mut value: f64 = 1.0;
        for got in values {
            assert!((got - value).abs() < 1e-9, "{got} instead of {value}");
            value += step * (2.0 * (random.next() >> 11) as f64 / ((1u64 << 53) - 1) as f64 - 1.0);
            if value > max {
                value = 2.0 * max - value;
            }
            if value < min {
                value = 2.0 * min - value;
            }
        }
    }

    #[test]
    fn a_start_outside_of_the_bounds_begins_at_the_nearer_one() {
        let mut walk = Generator::RandomWalk(RandomWalk::new(0.0, 1.0, 10.0, 20.0, 1));
        assert_eq!(number(walk.at(0, REAL)), 10.0);
        let mut walk = Generator::RandomWalk(RandomWalk::new(30.0, 1.0, 10.0, 10.0, 1));
        assert_eq!(number(walk.at(9, REAL)), 10.0);
    }

    #[test]
    fn the_same_seed_and_tick_give_the_same_value_in_any_order_and_after_a_pause() {
        let mut random = Random::new(5);
        let makes = [
            Generator::Constant(Value::U16(9)),
            Generator::Counter(Counter { start: 3, step: 7, modulo: Some(100) }),
            ramp(0.0, 100.0, 7.0, Wrap::Triangle),
            Generator::Sine(Sine { mean: 1.0, amplitude: 9.0, period: 977, phase: 0.1, every: 13 }),
            Generator::RandomWalk(RandomWalk::new(0.0, 5.0, -50.0, 50.0, 4)),
        ];
        for make in makes {
            let values = first(make, REAL, 300);
            let mut asked = make;
            for _ in 0..300 {
                let tick = random.below(300);
                assert_eq!(number(asked.at(tick, REAL)), values[tick as usize], "{make:?} at {tick}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_the_type_saturates_and_text_has_no_generator() {
        let mut great = ramp(0.0, 1e30, 1e30, Wrap::Hold);
        assert_eq!(great.at(1, PointType::Number(Type::U16)), Some(Datum::Number(Value::U16(u16::MAX))));
        assert_eq!(great.at(1, PointType::Bool), Some(Datum::Bool(true)));
        let mut below = ramp(0.0, -9.0, 9.0, Wrap::Hold);
        assert_eq!(below.at(1, PointType::Number(Type::U32)), Some(Datum::Number(Value::U32(0))));
        assert_eq!(below.at(1, PointType::Bool), Some(Datum::Bool(false)));
        assert_eq!(below.at(1, PointType::Text { registers: 2 }), None);
    }
}
