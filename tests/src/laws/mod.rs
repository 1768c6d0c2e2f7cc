//! The six laws of [`wharf_core::machine`] as one suite over any machine.
//!
//! A [`Subject`] is a machine with its driver's side. The suite draws a random script for it, records the *trace*
//! (what came out, what was refused, how long it would wait), checks on the way the laws that can be seen in one run
//! (1, 3, 6), and then replays the script: as it was (law 5), with early timeouts strewn in (law 2), and without the
//! inputs that were refused (law 4). A replay must give the same trace.
//!
//! It does not judge whether the outputs are the right ones: that is for the scenarios of each protocol.

pub mod client;
pub mod connection;
pub mod faulty;
pub mod port_datagrams;
pub mod port_server;
mod toys;

use crate::rng::{self, Rng, SEED_VARIABLE};
use core::fmt::{self, Debug};
use core::time::Duration;
use wharf_core::{Instant, Machine, Step};

/// A machine and its driver's side, built from a seed.
pub trait Subject {
    /// The machine under test.
    type Machine: Machine;
    /// An input as a script keeps it: owned, so that it can be replayed.
    type Op: Clone + Debug;
    /// What the driver saw when it carried an output out, such as the bytes that were ready to be sent.
    type Note: PartialEq + Debug;

    /// What it is called in a failure.
    const NAME: &'static str;
    /// The most outputs between an input and the next [`Step::Wait`]; follows from the machine's storage.
    const DRAIN_BOUND: usize;

    /// A fresh machine. The same seed gives the same one.
    fn fresh(seed: u64) -> Self;

    /// The machine itself.
    fn machine(&mut self) -> &mut Self::Machine;

    /// Draws the next input. It may look at the machine's state and should at times draw one that is refused.
    fn draw(&mut self, rng: &mut Rng, now: Instant) -> Self::Op;

    /// Hands an input to the machine. `Err` if the machine refused it; then the driver's side has not changed either.
    ///
    /// # Errors
    /// The machine's own.
    fn apply(&mut self, now: Instant, op: &Self::Op) -> Result<(), <Self::Machine as Machine>::Error>;

    /// Carries an output out. May hand inputs to the machine at once, as a driver does that has written some bytes.
    fn carry_out(&mut self, now: Instant, output: <Self::Machine as Machine>::Output) -> Self::Note;
}

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number, 1..=6.
    pub law: u8,
    /// The seed of the script.
    pub seed: u64,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {} broken with {SEED_VARIABLE}={}: {}", self.law, self.seed, self.what)
    }
}

/// What a run has exercised. A suite that never saw a refusal has said nothing about law 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Inputs taken.
    pub inputs: usize,
    /// Inputs refused.
    pub refusals: usize,
    /// Outputs carried out.
    pub outputs: usize,
    /// Timeouts at or after their deadline.
    pub timeouts: usize,
    /// Timeouts before their deadline.
    pub early_timeouts: usize,
}

impl Coverage {
    const fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.refusals += other.refusals;
        self.outputs += other.outputs;
        self.timeouts += other.timeouts;
        self.early_timeouts += other.early_timeouts;
    }
}

/// Runs `seeds` scripts of `steps` actions each, or the one that `WHARF_SEED` names.
///
/// # Panics
/// At the first broken law, with the seed and the end of the script.
pub fn check<S: Subject>(seeds: u64, steps: usize) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in rng::seeds(seeds) {
        match run::<S>(seed, steps) {
            Ok(seen) => coverage.add(seen),
            Err(violation) => panic!("{}: {violation}", S::NAME),
        }
    }
    coverage
}

/// One script from one seed, held against all six laws.
///
/// # Errors
/// The first law that was broken.
pub fn run<S: Subject>(seed: u64, steps: usize) -> Result<Coverage, Violation> {
    let mut rng = Rng::new(seed);
    let (mut bench, mut trace) = Bench::<S>::start(seed)?;
    let mut script = Vec::with_capacity(steps);
    for _ in 0..steps {
        let action = bench.draw(&mut rng);
        script.push(action.clone());
        bench.act(&action, &mut trace).map_err(|violation| violation.after(&script))?;
    }
    let mut coverage = bench.coverage;

    Bench::<S>::replay(5, seed, &script, &trace, |_| Handling::Same)?;
    Bench::<S>::replay(4, seed, &script, &trace, |action| match action {
        Traced { refused: true, .. } => Handling::Omit,
        Traced { refused: false, .. } => Handling::Same,
    })?;
    let mut times = rng.fork();
    let early = Bench::<S>::replay(2, seed, &script, &trace, |action| {
        let latest = action.deadline.map_or(Instant::MAX, |deadline| before(deadline, 1));
        let until = latest.min(action.at);
        if until < action.now || latest < action.now || times.chance(1, 3) {
            return Handling::Same;
        }
        Handling::EarlyTimeout(Instant::from_micros(times.between(action.now.as_micros(), until.as_micros())))
    })?;
    coverage.early_timeouts = early;
    Ok(coverage)
}

/// One step of a script.
#[derive(Clone, Debug)]
struct Action<Op> {
    at: Instant,
    what: What<Op>,
}

#[derive(Clone, Debug)]
enum What<Op> {
    Input(Op),
    Timeout,
}

/// All that one action did.
struct Entry<O, N> {
    outputs: Vec<(O, N)>,
    refused: Option<String>,
    deadline: Option<Instant>,
}

impl<O: PartialEq, N: PartialEq> PartialEq for Entry<O, N> {
    fn eq(&self, other: &Self) -> bool {
        self.outputs == other.outputs && self.refused == other.refused && self.deadline == other.deadline
    }
}

impl<O: Debug, N: Debug> Debug for Entry<O, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, refused: {:?}, waits for {:?}", self.outputs, self.refused, self.deadline)
    }
}

type Trace<S> = Vec<Entry<<<S as Subject>::Machine as Machine>::Output, <S as Subject>::Note>>;

/// What a replay may look at when it decides about an action.
struct Traced {
    now: Instant,
    at: Instant,
    deadline: Option<Instant>,
    refused: bool,
}

enum Handling {
    Same,
    Omit,
    EarlyTimeout(Instant),
}

struct Bench<S> {
    subject: S,
    seed: u64,
    now: Instant,
    deadline: Option<Instant>,
    coverage: Coverage,
}

impl<S: Subject> Bench<S> {
    fn start(seed: u64) -> Result<(Self, Trace<S>), Violation> {
        let mut bench =
            Self { subject: S::fresh(seed), seed, now: Instant::ORIGIN, deadline: None, coverage: Coverage::default() };
        let outputs = bench.drain()?;
        let entry = Entry { outputs, refused: None, deadline: bench.deadline };
        Ok((bench, vec![entry]))
    }

    /// The next action: mostly an input, else a timeout on time or late; at times an input after a missed deadline.
    fn draw(&mut self, rng: &mut Rng) -> Action<S::Op> {
        let due = self.deadline.filter(|deadline| *deadline < Instant::MAX);
        if let Some(deadline) = due
            && rng.chance(1, 4)
        {
            let late = if rng.chance(1, 2) { 0 } else { rng.below(10_000) };
            let at = deadline.max(self.now).saturating_add(Duration::from_micros(late));
            return Action { at, what: What::Timeout };
        }
        let pause = *rng.pick(&[0, 0, 0, 1, 100, 1000, 50_000, 1_000_000]);
        let mut at = self.now.saturating_add(Duration::from_micros(rng.between(0, pause)));
        if let Some(deadline) = due
            && rng.chance(7, 8)
        {
            at = at.min(before(deadline, 1)).max(self.now);
        }
        Action { at, what: What::Input(self.subject.draw(rng, at)) }
    }

    fn act(&mut self, action: &Action<S::Op>, trace: &mut Trace<S>) -> Result<(), Violation> {
        let waited = self.deadline;
        self.now = action.at;
        let refused = match &action.what {
            What::Input(op) => self.subject.apply(self.now, op).err().map(|error| format!("{error:?}")),
            What::Timeout => {
                self.subject.machine().handle_timeout(self.now);
                None
            }
        };
        let outputs = self.drain()?;
        match &action.what {
            What::Input(_) if refused.is_some() => {
                self.coverage.refusals += 1;
                if !outputs.is_empty() || self.deadline != waited {
                    return Err(self.violation(
                        4,
                        format!(
                            "after a refusal ({refused:?}) came {outputs:?} and the wait went from {waited:?} to {:?}",
                            self.deadline
                        ),
                    ));
                }
            }
            What::Input(_) => self.coverage.inputs += 1,
            What::Timeout => {
                self.coverage.timeouts += 1;
                if self.deadline.is_some_and(|deadline| deadline <= self.now) {
                    return Err(self.violation(
                        3,
                        format!("after a timeout at {:?} the machine waits for {:?}", self.now, self.deadline),
                    ));
                }
            }
        }
        trace.push(Entry { outputs, refused, deadline: self.deadline });
        Ok(())
    }

    /// Drains the machine under laws 1 and 6 and keeps the deadline it named.
    #[expect(clippy::type_complexity, reason = "an output and its note, both spelled by the subject's traits")]
    fn drain(&mut self) -> Result<Vec<(<S::Machine as Machine>::Output, S::Note)>, Violation> {
        let mut outputs = Vec::new();
        loop {
            match self.subject.machine().poll_output() {
                Step::Do(output) => {
                    if outputs.len() == S::DRAIN_BOUND {
                        return Err(self.violation(6, format!("more than {} outputs in one drain", S::DRAIN_BOUND)));
                    }
                    let note = self.subject.carry_out(self.now, output);
                    outputs.push((output, note));
                }
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    break;
                }
            }
        }
        self.coverage.outputs += outputs.len();
        for _ in 0..2 {
            let again = self.subject.machine().poll_output();
            if again != Step::Wait(self.deadline) {
                return Err(self.violation(1, format!("waited for {:?}, polled again: {again:?}", self.deadline)));
            }
        }
        Ok(outputs)
    }

    /// Plays a script again, changed as `handling` says, and compares the traces. Gives the number of early timeouts.
    fn replay(
        law: u8,
        seed: u64,
        script: &[Action<S::Op>],
        expected: &Trace<S>,
        mut handling: impl FnMut(&Traced) -> Handling,
    ) -> Result<usize, Violation> {
        let (mut bench, mut trace) = Self::start(seed)?;
        let differs = |position: usize, bench: &Self, trace: &Trace<S>| {
            let script = script.get(..position).unwrap_or_default();
            bench.violation(law, format!("expected {:?}, got {:?}", expected.get(position), trace.last())).after(script)
        };
        if trace.first() != expected.first() {
            return Err(differs(0, &bench, &trace));
        }
        let mut early = 0;
        for (position, (action, entry)) in script.iter().zip(expected.iter().skip(1)).enumerate() {
            let traced =
                Traced { now: bench.now, at: action.at, deadline: bench.deadline, refused: entry.refused.is_some() };
            match handling(&traced) {
                Handling::Same => {}
                Handling::Omit => continue,
                Handling::EarlyTimeout(at) => {
                    early += 1;
                    let waited = bench.deadline;
                    bench.now = at;
                    bench.subject.machine().handle_timeout(at);
                    let outputs = bench.drain()?;
                    if !outputs.is_empty() || bench.deadline != waited {
                        let what = format!(
                            "a timeout at {at:?}, before {waited:?}, gave {outputs:?} and a wait for {:?}",
                            bench.deadline
                        );
                        return Err(bench.violation(law, what).after(script.get(..position).unwrap_or_default()));
                    }
                }
            }
            bench
                .act(action, &mut trace)
                .map_err(|violation| violation.after(script.get(..=position).unwrap_or_default()))?;
            if trace.last() != Some(entry) {
                return Err(differs(position + 1, &bench, &trace));
            }
        }
        Ok(early)
    }

    fn violation(&self, law: u8, what: String) -> Violation {
        Violation { law, seed: self.seed, what }
    }
}

impl Violation {
    /// Adds the end of the script that led here.
    fn after<Op: Debug>(mut self, script: &[Action<Op>]) -> Self {
        const SHOWN: usize = 12;
        let skipped = script.len().saturating_sub(SHOWN);
        self.what.push_str(&format!("\nafter {} actions, the last of them:", script.len()));
        for action in &script[skipped..] {
            self.what.push_str(&format!("\n  {:?} {:?}", action.at, action.what));
        }
        self
    }
}

/// `micros` before `instant`, not before the origin.
const fn before(instant: Instant, micros: u64) -> Instant {
    Instant::from_micros(instant.as_micros().saturating_sub(micros))
}
