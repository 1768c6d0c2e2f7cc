//! Points that go on to change: their values are made up in the core, their ticks come from timers of the loop.
//!
//! There is one timer for each time between two values, and none without generators. All values of one tick are written
//! in one step of the loop, between requests. Ticks that the loop is too late for are left out.

use super::Heap;
use super::Shared;
use super::points::{Described, Points, unit_mut, write};
use crate::config::modbus as plant;
use crate::config::modbus::point::{Datum, Values, limits};
use crate::event_loop::{LoopMut, Tick};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use wharf_core::modbus::data::generator::{Counter, Generator, Ramp, RandomWalk, Sine};
use wharf_core::modbus::data::{Device, Point};
use wharf_core::modbus::units::{Cause, Change, Units};

/// What makes up the values of a point.
#[derive(Debug)]
pub(super) struct Made {
    every: Duration,
    values: Source,
}

#[derive(Debug)]
enum Source {
    /// Always this.
    Constant(Datum),
    Generator(Generator),
}

impl Made {
    pub(super) fn new(every: Duration, values: &Values, point: &plant::Point, seed: u64) -> Self {
        let values = match values {
            Values::Constant(value) => Source::Constant(value.clone()),
            Values::Counter { start, step, modulo } => {
                Source::Generator(Generator::Counter(Counter { start: *start, step: *step, modulo: *modulo }))
            }
            Values::Ramp { from, to, step, wrap } => {
                Source::Generator(Generator::Ramp(Ramp { from: from.0, to: to.0, step: step.0, wrap: *wrap }))
            }
            Values::Sine { mean, amplitude, period, phase } => Source::Generator(Generator::Sine(Sine {
                mean: mean.0,
                amplitude: amplitude.0,
                period: micros(*period),
                phase: phase.0,
                every: micros(every),
            })),
            Values::RandomWalk { start, step, min, max, seed: own } => {
                let (least, greatest) = limits(point.kind);
                let (min, max) = (min.map_or(least, |min| min.0), max.map_or(greatest, |max| max.0));
                let seed = own.unwrap_or_else(|| seed ^ hash(&point.name));
                Source::Generator(Generator::RandomWalk(RandomWalk::new(start.0, step.0, min, max, seed)))
            }
        };
        Self { every, values }
    }

    /// Writes the value of a tick.
    pub(super) fn write(&mut self, device: &mut Device<Heap>, at: &Point, tick: u64) {
        match &mut self.values {
            Source::Constant(value) => write(device, at, (&*value).into()),
            Source::Generator(generator) => {
                if let Some(datum) = generator.at(tick, at.kind()) {
                    write(device, at, datum);
                }
            }
        }
    }
}

/// Starts the timers. The values of tick 0 are there already.
pub(super) fn start<T>(lp: &mut LoopMut<'_, T>, shared: &Rc<Shared>) {
    let points = shared.points.borrow();
    let made = points.devices.iter().flat_map(|device| &device.points).filter_map(|point| point.made.as_ref());
    let periods: BTreeSet<Duration> = made.map(|made| made.every).collect();
    for every in periods {
        let shared = Rc::clone(shared);
        let mut now = 0;
        let timer = lp.add_timer(every, Some(every), move |lp, tick: Tick| {
            if shared.has_ended() {
                // Its own timer is there as long as its callback runs.
                let _ = lp.close(tick.id);
                return;
            }
            now += 1 + tick.missed;
            let (mut points, mut units) = (shared.points.borrow_mut(), shared.units.borrow_mut());
            points.tick(&mut units, every, now, &mut shared.changes.borrow_mut());
            drop((points, units));
            shared.tell_changes();
        });
        // A loop on which nothing else is left ends.
        let unref = timer.and_then(|timer| lp.unref_timer(timer, true));
        unref.expect("a time of the plant is within the range of timers");
    }
}

impl Points {
    /// Writes the points that have a value every so often.
    fn tick(&mut self, units: &mut Units<Heap>, every: Duration, tick: u64, changes: &mut Vec<Change>) {
        let mut observer = |change: &Change| changes.push(*change);
        for Described { unit, points, .. } in &mut self.devices {
            for point in points {
                let Some(made) = point.made.as_mut().filter(|made| made.every == every) else { continue };
                let Some(found) = unit_mut(units, *unit) else { break };
                made.write(&mut found.device, &point.at, tick);
                units.settle_unit(*unit, Cause::Generator, &mut observer);
            }
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// FNV-1a, so that points of one server go different ways.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}
