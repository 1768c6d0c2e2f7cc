//! What every side-by-side run shares: peers in changing order, medians, and ratios within a round.
//!
//! A computer that does other work too is slower in one minute than in the next. Two peers are therefore compared only
//! with what the other did in the same round, a second before or after, and the middle of those ratios is the figure.

/// The order of `count` peers in this round of load number `load`: another one begins each time, and every other round
/// goes backwards, so that no peer always follows the same one.
#[must_use]
pub fn order(count: usize, round: usize, load: usize) -> Vec<usize> {
    let first = round + load;
    (0..count).map(|place| (first + if round.is_multiple_of(2) { place } else { count - place }) % count).collect()
}

/// The middle value, or the mean of the middle two. Zero of nothing.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.len() % 2, values.get(half)) {
        (_, None) => 0.0,
        (0, Some(upper)) => f64::midpoint(values[half - 1], *upper),
        (_, Some(middle)) => *middle,
    }
}

/// (highest - lowest) / median, in per cent.
#[must_use]
pub fn spread(values: &[f64]) -> f64 {
    let (low, high) = values.iter().fold((f64::MAX, 0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
    100.0 * (high - low) / median(values.to_vec())
}

/// What the ratios of all rounds come to. The quartiles say how far to trust the median: half of the rounds lie between
/// them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The middle of the ratios.
    pub median: f64,
    /// The first and the third quartile, between values in proportion.
    pub quartiles: [f64; 2],
    /// How many rounds there were.
    pub rounds: usize,
}

/// The ratio of `ours` to `theirs`, round by round. `None` unless both have a figure for every round.
#[must_use]
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Ratio> {
    let whole = !ours.is_empty() && ours.len() == theirs.len();
    whole.then(|| {
        let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(our, their)| our / their).collect();
        ratios.sort_by(f64::total_cmp);
        let quartiles = [quarter(&ratios, 1), quarter(&ratios, 3)];
        Ratio { median: median(ratios), quartiles, rounds: ours.len() }
    })
}

/// The value below which so many quarters of the `sorted` ones lie.
fn quarter(sorted: &[f64], quarters: usize) -> f64 {
    let place = quarters * (sorted.len() - 1);
    let (below, rest) = (sorted[place / 4], place % 4);
    let above = sorted[(place / 4 + 1).min(sorted.len() - 1)];
    #[expect(clippy::cast_precision_loss, reason = "it is below 4")]
    let part = rest as f64 / 4.0;
    below + (above - below) * part
}

/// The rounds of one peer under one load: figures, or why there are none (`wrong: ...`, `not run: ...`).
#[derive(Clone, Debug)]
pub struct Rounds<M>(
    /// One entry for each round.
    pub Vec<Result<M, String>>,
);

impl<M> Rounds<M> {
    /// The first reason why there are no figures: one bad round spoils all of them.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        if self.0.is_empty() {
            return Some("not run");
        }
        self.0.iter().find_map(|round| round.as_ref().err().map(String::as_str))
    }

    /// One figure of each round; `None` where a round went wrong or has no such figure.
    pub fn column(&self, figure: impl Fn(&M) -> Option<f64>) -> Option<Vec<f64>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.iter().map(|round| round.as_ref().ok().and_then(&figure)).collect()
    }
}

impl<M> Default for Rounds<M> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Runs `measure(peer, load)` for each round, load and peer in changing order, and calls `say` before each load of each
/// round. A peer that has failed under a load in the first round is spared the others.
///
/// The result is indexed by load, then by peer.
pub fn run<M>(
    (peers, loads, rounds): (usize, usize, usize),
    mut say: impl FnMut(usize, usize),
    mut measure: impl FnMut(usize, usize) -> Result<M, String>,
) -> Vec<Vec<Rounds<M>>> {
    let mut results: Vec<Vec<Rounds<M>>> =
        (0..loads).map(|_| (0..peers).map(|_| Rounds::default()).collect()).collect();
    for round in 0..rounds {
        for (load, row) in results.iter_mut().enumerate() {
            say(round, load);
            for peer in order(peers, round, load) {
                // A peer that has once failed under this load has lost the row: spend no more time on it.
                if round == 0 || row[peer].trouble().is_none() {
                    row[peer].0.push(measure(peer, load));
                }
            }
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_peer_has_its_turn_in_every_round_begins_some_and_does_not_always_follow_the_same_one() {
        let mut firsts = BTreeSet::new();
        let mut before_the_last = BTreeSet::new();
        for round in 0..4 {
            let order = order(4, round, 0);
            firsts.insert(order[0]);
            before_the_last.extend(order.windows(2).filter(|pair| pair[1] == 3).map(|pair| pair[0]));
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 4);
        }
        assert_eq!(firsts.len(), 4);
        assert_eq!(before_the_last, BTreeSet::from([0, 2]));
        assert_ne!(order(4, 0, 0), order(4, 0, 1));
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median(vec![]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_ratio_compares_within_rounds_and_not_medians() {
        // The computer was ten times slower in the last two rounds; we were always twice as fast.
        let twice = Ratio { median: 2.0, quartiles: [2.0; 2], rounds: 5 };
        assert_eq!(ratio(&[200.0, 220.0, 20.0, 24.0, 22.0], &[100.0, 110.0, 10.0, 12.0, 11.0]), Some(twice));
        assert_eq!(ratio(&[1.0], &[1.0, 1.0]), None);
        assert_eq!(ratio(&[], &[]), None);
    }

    #[test]
    fn half_of_the_rounds_lie_between_the_quartiles() {
        let of = |ours: &[f64]| ratio(ours, &vec![1.0; ours.len()]).unwrap();
        assert_eq!(of(&[5.0, 1.0, 4.0, 2.0, 3.0]), Ratio { median: 3.0, quartiles: [2.0, 4.0], rounds: 5 });
        assert_eq!(of(&[4.0, 3.0, 2.0, 1.0]), Ratio { median: 2.5, quartiles: [1.75, 3.25], rounds: 4 });
        assert_eq!(of(&[7.0]), Ratio { median: 7.0, quartiles: [7.0; 2], rounds: 1 });
    }

    #[test]
    fn a_peer_that_failed_in_the_first_round_is_not_asked_again() {
        let mut asked = [0; 2];
        let results = run(
            (2, 1, 3),
            |_, _| (),
            |peer, _| {
                asked[peer] += 1;
                if peer == 0 { Err("not run: gone".to_owned()) } else { Ok(asked[1]) }
            },
        );
        assert_eq!(asked, [1, 3]);
        assert_eq!(results[0][0].trouble(), Some("not run: gone"));
        assert_eq!(results[0][1].column(|&n| Some(f64::from(n))), Some(vec![1.0, 2.0, 3.0]));
    }
}
