//! Timers: how many can be added, reset and cancelled in a second while so many others are armed.
//!
//! Peers are tokio's wheel (feature `peers`) and the ordered map of the standard library, which is what a program without
//! a loop would take. Deadlines lie between a second and an hour ahead, so that none comes during a run; all choices are
//! drawn before the clock starts.

mod wheels;

use super::Common;
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio};
use clap::Args;
use std::io;
use std::time::{Duration, Instant};
use wheels::{Map, Timers, Wharf};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// What every command has.
    #[command(flatten)]
    pub common: Common,
    /// Operations of each kind in a run
    #[arg(long, default_value_t = 100_000)]
    operations: usize,
    /// How many timers stand while a run operates on them and on others
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000")]
    standing: Vec<usize>,
}

const PEERS: [&str; 3] = ["wharf", "tokio", "map"];
/// A reset of one of a few timers that are reset again and again, as those of busy connections are; of any of them.
const OPERATIONS: [&str; 4] = ["insert", "reset", "reset of any", "cancel"];
/// How many timers are reset again and again.
const BUSY: usize = 1000;

/// Nanoseconds per operation.
type Costs = [f64; OPERATIONS.len()];

/// Measures and reports.
///
/// # Errors
/// When there are no descriptors left for a loop.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let standing = if common.quick { vec![100, 1000] } else { arguments.standing.clone() };
    let operations = common.pick(arguments.operations, 500).max(1);
    let rounds = common.rounds(5);
    let mut report = Report::new("timers");
    let pinned = crate::machine::pin(&[common.server_core]);
    let say = |round: usize, load: usize| eprintln!("round {}/{rounds}: {} timers", round + 1, standing[load]);
    let figures = rounds::run((PEERS.len(), standing.len(), rounds), say, |peer, load| {
        let draw = Draw::new(standing[load].max(1), operations);
        match PEERS[peer] {
            "wharf" => Wharf::new().map(|mut timers| measure(&mut timers, &draw)),
            "map" => Ok(measure(&mut Map::new(), &draw)),
            #[cfg(feature = "peers")]
            _ => wheels::Tokio::new().map(|mut timers| measure(&mut timers, &draw)),
            #[cfg(not(feature = "peers"))]
            _ => Err("not run: built without the feature `peers`".to_owned()),
        }
    });
    report.fact("pinned", common.cores(pinned));
    let method = format!("medians of {rounds} rounds of {operations} operations of each kind");
    report.fact(
        "method",
        format!(
            "{method}; a reset is of one of {BUSY} timers that are reset again and again, or of any of them; \
             ratios are medians of the ratios within a round [and their quartiles]"
        ),
    );
    report.tables.push(costs(&standing, &figures));
    report.tables.push(growth(&standing, &figures));
    Ok(report)
}

/// All choices of a run, the same for every peer.
struct Draw {
    standing: Vec<Duration>,
    /// New timers come and go in batches of this size.
    batch: usize,
    fresh: Vec<Duration>,
    /// Which of the standing timers is reset, and to what.
    busy: Vec<(usize, Duration)>,
    any: Vec<(usize, Duration)>,
    /// The order in which a batch is cancelled.
    cancels: Vec<usize>,
}

impl Draw {
    fn new(standing: usize, operations: usize) -> Self {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let batch = standing.min(operations).min(10_000);
        let mut cancels: Vec<usize> = (0..batch).collect();
        for at in (1..batch).rev() {
            cancels.swap(at, random.below(at + 1));
        }
        let few: Vec<usize> = (0..BUSY.min(standing)).map(|_| random.below(standing)).collect();
        Self {
            standing: (0..standing).map(|_| random.delay()).collect(),
            batch,
            fresh: (0..operations / batch * batch).map(|_| random.delay()).collect(),
            busy: (0..operations).map(|at| (few[at % few.len()], random.delay())).collect(),
            any: (0..operations).map(|_| (random.below(standing), random.delay())).collect(),
            cancels,
        }
    }
}

/// A small generator of numbers (xorshift64), from a fixed seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(1000 + self.next() % 3_599_000)
    }
}

fn measure<W: Timers>(timers: &mut W, draw: &Draw) -> Costs {
    let mut ids: Vec<W::Id> = draw.standing.iter().map(|delay| timers.insert(*delay)).collect();
    timers.settle();

    let mut batch = Vec::with_capacity(draw.batch);
    let (mut inserting, mut cancelling) = (Duration::ZERO, Duration::ZERO);
    for delays in draw.fresh.chunks(draw.batch) {
        let begin = Instant::now();
        batch.extend(delays.iter().map(|delay| Some(timers.insert(*delay))));
        inserting += begin.elapsed();
        let begin = Instant::now();
        for &at in &draw.cancels {
            timers.cancel(batch[at].take().expect("each is cancelled once"));
        }
        timers.settle();
        cancelling += begin.elapsed();
        batch.clear();
    }
    let mut resetting = |resets: &[(usize, Duration)]| {
        let begin = Instant::now();
        for &(at, delay) in resets {
            timers.reset(&mut ids[at], delay);
        }
        begin.elapsed()
    };
    let (busy, any) = (resetting(&draw.busy), resetting(&draw.any));
    #[expect(clippy::cast_precision_loss, reason = "a few million operations")]
    let each = |time: Duration, operations: usize| time.as_nanos() as f64 / operations as f64;
    let fresh = draw.fresh.len();
    [each(inserting, fresh), each(busy, draw.busy.len()), each(any, draw.any.len()), each(cancelling, fresh)]
}

fn costs(standing: &[usize], figures: &[Vec<Rounds<Costs>>]) -> Table {
    let columns = [
        "timers",
        "<loop",
        "inserts/s",
        "resets/s",
        "resets/s of any",
        "cancels/s",
        "wharf's inserts to it",
        "wharf's resets to it",
        "wharf's resets of any to it",
        "wharf's cancels to it",
    ];
    let mut table = Table::new("Operations per second while so many timers are armed", &columns);
    for (count, rows) in standing.iter().zip(figures) {
        for (at, rounds) in rows.iter().enumerate() {
            let head = vec![Cell::count(*count as u64), PEERS[at].into()];
            if let Some(trouble) = rounds.trouble() {
                table.push_trouble(head, trouble);
                continue;
            }
            let rates = |rounds: &Rounds<Costs>, of: usize| rounds.column(|costs| Some(1e9 / costs[of]));
            let rate = (0..OPERATIONS.len()).map(|of| Cell::number(rates(rounds, of).map(median), 0));
            let to_ours = (0..OPERATIONS.len()).map(|of| {
                let both = rates(&rows[0], of).filter(|_| at > 0).zip(rates(rounds, of));
                Cell::ratio(both.and_then(|(ours, theirs)| ratio(&ours, &theirs)), 2)
            });
            table.rows.push(head.into_iter().chain(rate).chain(to_ours).collect());
        }
    }
    table
}

fn growth(standing: &[usize], figures: &[Vec<Rounds<Costs>>]) -> Table {
    let columns: Vec<&str> = ["timers", "<loop"].into_iter().chain(OPERATIONS).collect();
    let least = standing.first().copied().unwrap_or(0);
    let mut table = Table::new(format!("Cost of an operation, to its cost among {least}"), &columns);
    for (count, rows) in standing.iter().zip(figures).skip(1) {
        for (at, rounds) in rows.iter().enumerate() {
            let head = vec![Cell::count(*count as u64), PEERS[at].into()];
            if let Some(trouble) = rounds.trouble() {
                table.push_trouble(head, trouble);
                continue;
            }
            let cost = |rounds: &Rounds<Costs>, of: usize| rounds.column(|costs| Some(costs[of]));
            let grown = (0..OPERATIONS.len()).map(|of| {
                let both = cost(rounds, of).zip(cost(&figures[0][at], of));
                Cell::ratio(both.and_then(|(many, few)| ratio(&many, &few)), 2)
            });
            table.rows.push(head.into_iter().chain(grown).collect());
        }
    }
    table
}
