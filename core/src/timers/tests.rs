//! The wheel against a naive list of deadlines, at the ends of its ranges and over long jumps.

use super::*;
use crate::testing::SplitMix64;
use std::vec::Vec;
use std::{format, println, vec};

const fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

const fn us(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn wheel(keys: usize) -> Wheel<Vec<Node>> {
    Wheel::new(vec![Node::EMPTY; keys])
}

fn drain(wheel: &mut Wheel<Vec<Node>>, now: Instant) -> Vec<u32> {
    core::iter::from_fn(|| wheel.expired(now)).collect()
}

impl SplitMix64 {
    /// A span in microseconds, up to the longest, with every order of magnitude about as likely as any other.
    fn span(&mut self) -> u64 {
        const MAX: u64 = u32::MAX as u64 * 1000;
        match self.below(8) {
            0 => self.pick(&[0, 1, 999, 1000, 255_000, 256_000, 65_536_000, MAX - 1, MAX]),
            _ => {
                let bits = self.below(43);
                self.below(1 << bits).min(MAX)
            }
        }
    }
}

/// The same promise kept the slow way: a list that is searched.
#[derive(Default)]
struct Model {
    armed: Vec<(u64, u64, u32)>,
    arming: u64,
    reported: u64,
}

impl Model {
    fn instant(tick: u64) -> Instant {
        us(u64::try_from(u128::from(tick) * 1000).unwrap_or(u64::MAX))
    }

    /// The last millisecond that has begun.
    fn begun(now: Instant) -> u64 {
        let begun = now.as_micros() / 1000;
        // The last instant that can be named belongs to the millisecond that it cuts short.
        if Self::instant(begun + 1) <= now { begun + 1 } else { begun }
    }

    fn arm(&mut self, key: u32, now: Instant, deadline: Instant) {
        self.cancel(key);
        if self.armed.is_empty() {
            self.reported = self.reported.max(Self::begun(now));
        }
        let mut tick = deadline.as_micros().div_ceil(1000);
        if deadline <= now && Self::instant(tick) > now {
            tick -= 1;
        }
        self.arming += 1;
        self.armed.push((tick.max(self.reported), self.arming, key));
    }

    fn cancel(&mut self, key: u32) -> bool {
        let before = self.armed.len();
        self.armed.retain(|&(_, _, other)| other != key);
        before != self.armed.len()
    }

    fn first(&self) -> Option<(u64, u64, u32)> {
        self.armed.iter().min().copied()
    }

    fn expired(&mut self, now: Instant) -> Option<u32> {
        let Some((tick, _, key)) = self.first().filter(|&(tick, _, _)| Self::instant(tick) <= now) else {
            self.reported = self.reported.max(Self::begun(now));
            return None;
        };
        self.cancel(key);
        self.reported = tick;
        Some(key)
    }
}

#[test]
fn random_scripts_give_what_a_searched_list_gives() {
    const WINDOW: u64 = (1 << 32) * 1000;
    let starts = [0, 1, WINDOW - 40_000, 7 * WINDOW - 1, 12_345 * WINDOW + 9_999, u64::MAX - 3 * WINDOW];
    for seed in 0..240_u64 {
        println!("seed {seed}");
        let mut random = SplitMix64::new(seed);
        let keys = random.pick(&[1, 2, 40]);
        let (mut wheel, mut model) = (wheel(keys), Model::default());
        let mut now = us(random.pick(&starts));
        for _ in 0..600 {
            let key = u32::try_from(random.below(keys as u64)).unwrap();
            match random.below(8) {
                0..=3 => {
                    let deadline = match random.below(6) {
                        0 => us(now.as_micros().saturating_sub(random.span())),
                        // Some instants are used often, so that keys share them.
                        1 => us((now.as_micros() / 5000 * 5000).saturating_add(5000 * random.below(3))),
                        _ => us(now.as_micros().saturating_add(random.span())),
                    };
                    wheel.arm(key, now, deadline).unwrap();
                    model.arm(key, now, deadline);
                }
                4 => assert_eq!(wheel.cancel(key), model.cancel(key)),
                5 => {
                    now = us(now.as_micros().saturating_add(random.span()));
                    if random.below(2) == 0 {
                        assert_eq!(wheel.expired(now), model.expired(now));
                    }
                }
                6 => now = wheel.next().map_or(now, |next| next.max(now)),
                _ => loop {
                    let (got, expected) = (wheel.expired(now), model.expired(now));
                    assert_eq!(got, expected);
                    if got.is_none() {
                        assert!(wheel.next().is_none_or(|next| next > now));
                        break;
                    }
                },
            }
            let first = model.first().map(|(tick, _, _)| Model::instant(tick));
            assert_eq!(wheel.next().is_some(), first.is_some());
            assert!(wheel.next() <= first);
            assert_eq!(wheel.len() as usize, model.armed.len());
            assert_eq!(wheel.is_empty(), model.armed.is_empty());
            for &(tick, _, key) in &model.armed {
                assert_eq!(wheel.deadline(key), Some(Model::instant(tick)));
            }
        }
    }
}

#[test]
fn a_deadline_is_rounded_up_and_never_early() {
    let mut wheel = wheel(1);
    wheel.arm(0, us(100), us(1001)).unwrap();
    assert_eq!(wheel.deadline(0), Some(us(2000)));
    assert_eq!(wheel.next(), Some(us(2000)));
    assert_eq!(wheel.expired(us(1999)), None);
    assert_eq!(wheel.expired(us(2000)), Some(0));
    assert_eq!(wheel.deadline(0), None);
}

#[test]
fn a_deadline_not_after_now_is_due_at_once() {
    let mut wheel = wheel(3);
    assert_eq!(wheel.expired(us(5_000)), None);
    wheel.arm(0, us(5_500), us(5_500)).unwrap();
    wheel.arm(1, us(5_500), us(3)).unwrap();
    wheel.arm(2, us(5_500), us(5_501)).unwrap();
    assert_eq!(drain(&mut wheel, us(5_500)), [0, 1]);
    assert_eq!(wheel.next(), Some(us(6_000)));
}

#[test]
fn keys_come_by_deadline_then_by_arming_through_every_cascade() {
    for base in [0, 0xff, 0xffff, 0xff_fff0, 0xffff_fff0, 0x5_ffff_ff00] {
        for span in [3, 256, 300, 65_536, 70_000, 1 << 24, (1 << 24) + 77, u64::from(u32::MAX) - 2000] {
            let mut wheel = wheel(6);
            assert_eq!(wheel.expired(ms(base)), None);
            wheel.arm(4, ms(base), ms(base + span)).unwrap();
            wheel.arm(1, ms(base), ms(base + span + 1)).unwrap();
            wheel.arm(3, ms(base), ms(base + span)).unwrap();
            wheel.arm(5, ms(base), ms(base + span - 1)).unwrap();
            // Closer by, so that the same tick is armed from another `current`.
            assert_eq!(wheel.expired(ms(base + span - 2)), None);
            wheel.arm(0, ms(base + span - 2), ms(base + span)).unwrap();
            wheel.arm(4, ms(base + span - 2), ms(base + span)).unwrap();
            assert_eq!(drain(&mut wheel, ms(base + span - 1)), [5]);
            assert_eq!(drain(&mut wheel, ms(base + span + 900)), [3, 0, 4, 1], "base {base} span {span}");
            assert!(wheel.is_empty());
        }
    }
}

#[test]
fn both_ends_of_the_range_are_taken_and_one_beyond_is_refused() {
    for now in [us(0), us(999), ms(u64::from(u32::MAX)), ms(1 << 40)] {
        let mut wheel = wheel(1);
        let last = now.saturating_add(MAX_SPAN);
        wheel.arm(0, now, now).unwrap();
        assert_eq!(wheel.expired(now), Some(0));
        wheel.arm(0, now, last).unwrap();
        assert_eq!(wheel.expired(us(last.as_micros() - 1)), None);
        assert_eq!(wheel.deadline(0), Some(ms(last.as_micros().div_ceil(1000))));
        let asked = MAX_SPAN + Duration::from_micros(1);
        let refused = wheel.arm(0, now, now.saturating_add(asked));
        assert_eq!(refused, Err(Error::OutOfRange { asked, max: MAX_SPAN }));
        assert_eq!(wheel.deadline(0), Some(ms(last.as_micros().div_ceil(1000))), "a refusal changes nothing");
        assert_eq!(wheel.expired(ms(last.as_micros().div_ceil(1000))), Some(0));
    }
}

#[test]
fn the_far_list_is_sorted_anew_when_a_window_turns() {
    const WINDOW: u64 = 1 << 32;
    let mut wheel = wheel(4);
    // Nothing was reported for three windows, so `current` is still at the origin.
    wheel.arm(0, ms(3 * WINDOW - 5), ms(3 * WINDOW + 9)).unwrap();
    wheel.arm(1, ms(3 * WINDOW - 5), ms(3 * WINDOW - 1)).unwrap();
    wheel.arm(2, ms(3 * WINDOW - 5), ms(3 * WINDOW)).unwrap();
    wheel.arm(3, ms(3 * WINDOW - 5), ms(4 * WINDOW - 6)).unwrap();
    assert_eq!(wheel.expired(ms(3 * WINDOW - 5)), None);
    assert_eq!(drain(&mut wheel, ms(3 * WINDOW - 1)), [1]);
    assert_eq!(wheel.next(), Some(ms(3 * WINDOW)));
    assert_eq!(drain(&mut wheel, ms(3 * WINDOW)), [2]);
    assert_eq!(wheel.next(), Some(ms(3 * WINDOW + 9)));
    assert_eq!(drain(&mut wheel, ms(9 * WINDOW)), [0, 3]);
}

#[test]
fn next_moves_on_when_the_key_it_was_early_for_is_gone() {
    const WINDOW: u64 = 1 << 32;
    let mut wheel = wheel(2);
    wheel.arm(0, ms(WINDOW - 1), ms(WINDOW + 5)).unwrap();
    wheel.arm(1, ms(WINDOW + 1), ms(2 * WINDOW)).unwrap();
    assert!(wheel.cancel(0));
    let mut calls = 0;
    while let Some(next) = wheel.next() {
        calls += 1;
        if wheel.expired(next).is_some() {
            assert_eq!(next, ms(2 * WINDOW));
        }
        assert!(wheel.next().is_none_or(|later| later > next));
    }
    assert!(calls <= 6, "{calls} wake-ups for one key");
}

#[test]
fn a_jump_of_many_days_reports_everything_in_order() {
    let mut wheel = wheel(400);
    let mut random = SplitMix64::new(3);
    let mut expected: Vec<_> = (0..400_u32).map(|key| (random.below(u64::from(u32::MAX)), key)).collect();
    for &(at, key) in &expected {
        wheel.arm(key, ms(0), ms(at)).unwrap();
    }
    expected.sort_unstable();
    let keys: Vec<_> = expected.iter().map(|&(_, key)| key).collect();
    assert_eq!(drain(&mut wheel, ms(1 << 41)), keys);
    assert_eq!(wheel.next(), None);
}

#[test]
fn the_last_nameable_instant_can_be_a_deadline() {
    let mut wheel = wheel(2);
    let now = us(u64::MAX - 5_000_000);
    wheel.arm(0, now, Instant::MAX).unwrap();
    wheel.arm(1, now, us(u64::MAX - 616)).unwrap();
    assert_eq!(drain(&mut wheel, us(u64::MAX - 1)), [1]);
    assert_eq!(wheel.next(), Some(Instant::MAX));
    assert_eq!(wheel.expired(Instant::MAX), Some(0));
    assert_eq!(wheel.expired(Instant::MAX), None);
    assert_eq!(wheel.next(), None);
}

#[test]
fn a_clock_that_goes_back_reports_nothing_until_it_has_caught_up() {
    let mut wheel = wheel(1);
    assert_eq!(wheel.expired(ms(1000)), None);
    wheel.arm(0, ms(10), ms(20)).unwrap();
    assert_eq!(wheel.expired(ms(500)), None);
    assert_eq!(wheel.next(), Some(ms(1000)));
    assert_eq!(wheel.expired(ms(1000)), Some(0));
}

#[test]
fn a_key_without_a_node_is_refused() {
    let mut none = Wheel::new([Node::EMPTY; 0]);
    assert_eq!(none.arm(0, ms(0), ms(1)), Err(Error::NoSuchKey { key: 0, capacity: 0 }));
    assert!(!none.cancel(0));
    assert_eq!((none.deadline(0), none.next(), none.expired(ms(9))), (None, None, None));
    let mut two = wheel(2);
    assert_eq!(two.arm(u32::MAX, ms(0), ms(1)), Err(Error::NoSuchKey { key: u32::MAX, capacity: 2 }));
    let text = format!("{}", two.arm(2, ms(0), ms(1)).unwrap_err());
    assert_eq!(text, "key 2 is not below the capacity 2");
}

#[test]
fn growing_keeps_what_is_armed_and_shrinking_disarms_everything() {
    let mut wheel = wheel(1);
    wheel.arm(0, ms(0), ms(70_000)).unwrap();
    wheel.grow(|nodes| nodes.resize(3, Node { tick: 1, prev: 0, next: 0 }));
    assert_eq!((wheel.capacity(), wheel.len()), (3, 1));
    assert!(!wheel.cancel(2), "added nodes are empty whatever they held");
    wheel.arm(2, ms(0), ms(70_000)).unwrap();
    assert_eq!(drain(&mut wheel, ms(70_000)), [0, 2]);
    wheel.arm(0, ms(70_000), ms(70_001)).unwrap();
    wheel.arm(2, ms(70_000), ms(1 << 32)).unwrap();
    wheel.grow(|nodes| nodes.truncate(1));
    assert_eq!((wheel.len(), wheel.next(), wheel.expired(ms(80_000))), (0, None, None));
    wheel.arm(0, ms(80_000), ms(80_001)).unwrap();
    assert_eq!(wheel.expired(ms(80_001)), Some(0));
}

#[test]
fn a_wheel_can_be_a_static() {
    static WHEEL: std::sync::Mutex<Wheel<[Node; 2]>> = std::sync::Mutex::new(Wheel::new([Node::EMPTY; 2]));
    let mut wheel = WHEEL.lock().unwrap();
    wheel.arm(1, ms(0), ms(1)).unwrap();
    assert_eq!(wheel.expired(ms(1)), Some(1));
}
