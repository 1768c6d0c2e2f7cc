//! Calls from other threads: how long one takes to run on a loop that has nothing else to do, and how many run when
//! callers do not wait. Every call is a boxed closure everywhere, and at most 65 536 may wait.

mod targets;

use super::Common;
use crate::machine;
use crate::measure::{Latency, histogram};
use crate::report::{Cell, Report, Table};
use crate::rounds::{self, Rounds, median, ratio, spread};
use clap::Args;
use hdrhistogram::Histogram;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use targets::{Bare, Target, Wharf};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// What every command has.
    #[command(flatten)]
    pub common: Common,
    /// Calls of one run for latency
    #[arg(long, default_value_t = 5000)]
    samples: u64,
    /// Calls of each thread in one run for throughput
    #[arg(long, default_value_t = 250_000)]
    calls: u64,
}

const PEERS: [&str; 3] = ["wharf", "mio", "tokio"];
const THREADS: [usize; 2] = [1, 4];
/// How long a caller leaves the loop alone after a call, so that the next finds it waiting.
const GAP: Duration = Duration::from_micros(20);

/// What the calls leave behind on the thread that runs them.
struct State {
    latency: Histogram<u64>,
    /// The calls of each caller so far.
    seen: [u64; 4],
    out_of_order: bool,
    ran: Arc<AtomicU64>,
    stops: bool,
}

impl State {
    fn run(&mut self, caller: usize, number: u64) {
        self.out_of_order |= self.seen[caller] != number;
        self.seen[caller] += 1;
        // One writer: no need for more than a store, and the callers' view of it is all that it is for.
        self.ran.store(self.seen.iter().sum(), Ordering::Release);
    }
}

/// One run.
#[derive(Clone, Debug)]
enum Outcome {
    Latency(Latency),
    Throughput { rate: f64, wake_ups: Option<u64> },
}

/// Measures and reports.
///
/// # Errors
/// None at present.
pub fn run(arguments: &Arguments) -> io::Result<Report> {
    let common = &arguments.common;
    let samples = common.pick(arguments.samples, 50);
    let calls = common.pick(arguments.calls, 500);
    let rounds = common.rounds(5);
    let mut report = Report::new("deferred");
    let mut pinned = true;
    // Load 0 is latency; the others are throughput.
    let say = |round: usize, load: usize| {
        let what = if load == 0 { "latency".to_owned() } else { format!("{} callers", THREADS[load - 1]) };
        eprintln!("round {}/{rounds}: {what}", round + 1);
    };
    let figures = rounds::run((PEERS.len(), 1 + THREADS.len(), rounds), say, |peer, load| {
        let job = match load.checked_sub(1) {
            None => Job::Latency { samples },
            Some(at) => Job::Throughput { callers: THREADS[at], calls },
        };
        match PEERS[peer] {
            "wharf" => measure::<Wharf>(common, job, &mut pinned),
            "mio" => measure::<Bare>(common, job, &mut pinned),
            #[cfg(feature = "peers")]
            _ => measure::<targets::Tokio>(common, job, &mut pinned),
            #[cfg(not(feature = "peers"))]
            _ => Err("not run: built without the feature `peers`".to_owned()),
        }
    });
    report.fact("pinned", common.cores(pinned));
    report.fact(
        "method",
        format!(
            "medians of {rounds} rounds of {samples} calls for latency and {calls} calls of each thread for throughput; \
             ratios are medians of the ratios within a round [and their quartiles]"
        ),
    );
    report.tables.push(latency(&figures[0]));
    report.tables.push(throughput(&figures[1..], calls));
    Ok(report)
}

#[derive(Clone, Copy)]
enum Job {
    Latency { samples: u64 },
    Throughput { callers: usize, calls: u64 },
}

fn measure<G: Target>(common: &Common, job: Job, pinned: &mut bool) -> Result<Outcome, String> {
    let ran = Arc::new(AtomicU64::new(0));
    let state = State { latency: histogram(), seen: [0; 4], out_of_order: false, ran: Arc::clone(&ran), stops: false };
    let core = common.server_core;
    let (target, thread) = G::start(move || machine::pin(&[core]), state).map_err(|why| format!("not run: {why}"))?;
    let (callers, calls) = match job {
        Job::Latency { samples } => (1, samples),
        Job::Throughput { callers, calls } => (callers, calls),
    };
    let begin = Instant::now();
    thread::scope(|scope| {
        for caller in 0..callers {
            let (target, ran) = (target.clone(), &ran);
            let core = common.client_core;
            scope.spawn(move || {
                let _ = machine::pin(&[core]);
                match job {
                    Job::Latency { .. } => call_and_wait(&target, ran, calls),
                    Job::Throughput { .. } => call(&target, caller, calls),
                }
            });
        }
    });
    wait_for(&ran, calls * callers as u64);
    let seconds = begin.elapsed().as_secs_f64();
    let wake_ups = target.wake_ups();
    target.stop();
    let (state, loop_pinned) = thread.join().map_err(|_| "wrong: the loop's thread panicked".to_owned())?;
    *pinned &= loop_pinned;
    if state.out_of_order || state.seen[..callers].iter().any(|&seen| seen != calls) {
        return Err("wrong: calls were lost or ran out of order".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "a few million calls")]
    Ok(match job {
        Job::Latency { .. } => Outcome::Latency(Latency::of(&state.latency)),
        Job::Throughput { .. } => Outcome::Throughput { rate: (calls * callers as u64) as f64 / seconds, wake_ups },
    })
}

fn call_and_wait<G: Target>(target: &G, ran: &AtomicU64, calls: u64) {
    for number in 0..calls {
        let sent = Instant::now();
        let accepted = target.send(move |state| {
            let nanos = u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX);
            state.latency.saturating_record(nanos);
            state.run(0, number);
        });
        assert!(accepted, "one call always fits");
        wait_for(ran, number + 1);
        let quiet = Instant::now();
        while quiet.elapsed() < GAP {
            std::hint::spin_loop();
        }
    }
}

fn call<G: Target>(target: &G, caller: usize, calls: u64) {
    for number in 0..calls {
        while !target.send(move |state| state.run(caller, number)) {
            // Full: the loop needs the time more than we do.
            thread::yield_now();
        }
    }
}

fn wait_for(ran: &AtomicU64, calls: u64) {
    while ran.load(Ordering::Acquire) < calls {
        thread::yield_now();
    }
}

fn latency(rows: &[Rounds<Outcome>]) -> Table {
    let columns = ["<loop", "p50 us", "p99 us", "wharf's p50 to it", "wharf's p99 to it"];
    let mut table = Table::new("From the call to its start on an idle loop", &columns);
    let p50 = |outcome: &Outcome| match outcome {
        Outcome::Latency(latency) => Some(latency.p50),
        Outcome::Throughput { .. } => None,
    };
    let p99 = |outcome: &Outcome| match outcome {
        Outcome::Latency(latency) => Some(latency.p99),
        Outcome::Throughput { .. } => None,
    };
    for (at, rounds) in rows.iter().enumerate() {
        let head = vec![PEERS[at].into()];
        match (rounds.trouble(), rounds.column(p50), rounds.column(p99)) {
            (None, Some(middle), Some(tail)) => {
                let to_ours = |figure: &dyn Fn(&Outcome) -> Option<f64>, theirs: &[f64]| {
                    let ours = rows[0].column(figure).filter(|_| at > 0);
                    Cell::ratio(ours.and_then(|ours| ratio(&ours, theirs)), 2)
                };
                let ratios = [to_ours(&p50, &middle), to_ours(&p99, &tail)];
                let figures = [Cell::Number(median(middle), 1), Cell::Number(median(tail), 1)];
                table.rows.push(head.into_iter().chain(figures).chain(ratios).collect());
            }
            (trouble, ..) => table.push_trouble(head, trouble.unwrap_or("not run")),
        }
    }
    table
}

fn throughput(loads: &[Vec<Rounds<Outcome>>], calls: u64) -> Table {
    let columns = ["callers", "<loop", "calls/s", "spread", "calls per wake-up", "wharf's rate to it"];
    let mut table = Table::new("Calls as fast as they can be made; none lost, all in order", &columns);
    let rate = |outcome: &Outcome| match outcome {
        Outcome::Throughput { rate, .. } => Some(*rate),
        Outcome::Latency(_) => None,
    };
    for (rows, callers) in loads.iter().zip(THREADS) {
        #[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
        let per_wake_up = |outcome: &Outcome| match outcome {
            Outcome::Throughput { wake_ups: Some(count), .. } => {
                Some(calls as f64 * callers as f64 / (*count).max(1) as f64)
            }
            Outcome::Throughput { .. } | Outcome::Latency(_) => None,
        };
        for (at, rounds) in rows.iter().enumerate() {
            let head = vec![Cell::count(callers as u64), PEERS[at].into()];
            match (rounds.trouble(), rounds.column(rate)) {
                (None, Some(rates)) => {
                    let ours = rows[0].column(rate).filter(|_| at > 0);
                    let figures = [
                        Cell::Number(median(rates.clone()), 0),
                        Cell::Percent(spread(&rates)),
                        Cell::number(rounds.column(per_wake_up).map(median), 1),
                        Cell::ratio(ours.and_then(|ours| ratio(&ours, &rates)), 2),
                    ];
                    table.rows.push(head.into_iter().chain(figures).collect());
                }
                (trouble, _) => table.push_trouble(head, trouble.unwrap_or("not run")),
            }
        }
    }
    table
}
