//! Mirrors and observers: nobody sees a source without its copy, and whoever listens hears of everything.
//!
//! | byte | step |
//! | --- | --- |
//! | 0..=2 | request: the unit, the length of the PDU, the PDU |
//! | 3, 4 | request of function 16, 15: the unit, the start, the quantity, and the values or the bits |
//! | 5 | the application writes: unit, table, start, quantity, values |
//! | 6 | the application ends its step |
//! | 7 | somebody listens from now on, or nobody, by the lowest bit of the next byte |
//! | 8 | units 1 and 2 in place of all, or all again, in their first state, by the lowest bit of the next byte |
//! | 9 | other mirrors, as at the beginning |
//!
//! Before the steps comes what unit 0 means, and mirrors: how many, and for each its two sides (unit, table, start) and
//! its length. Whatever is above a limit wraps.

use super::{Source, plant};
use crate::fixture::Plant;
use crate::modbus::{Boxed, units};
use wharf_core::modbus::data::TableKind;
use wharf_core::modbus::mbap::MAX_PDU;
use wharf_core::modbus::service::{Answer, Indication, Service};
use wharf_core::modbus::units::mirror::{MirrorError, Side};
use wharf_core::modbus::units::{Cause, Change, Mirror, Place, Unit, UnitZero, Units};

/// A unit and a table of it.
type Where = (u8, TableKind);

/// What every entry holds that exists: by unit, by the place of its table and by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Values(Vec<[Vec<Option<u16>>; 4]>);

/// Addresses of the fixture: the first so many, and the last sixteen.
const LOW: u16 = 160;
const HIGH: u16 = 0xFFF0;

impl Values {
    fn of(&self, unit: u8, table: TableKind, at: u16) -> Option<u16> {
        self.0.get(usize::from(unit))?[table as usize].get(Self::place(at)?).copied().flatten()
    }

    fn place(at: u16) -> Option<usize> {
        match at {
            0..LOW => Some(at.into()),
            HIGH.. => Some((LOW + (at - HIGH)).into()),
            _ => None,
        }
    }

    fn addresses() -> impl Iterator<Item = u16> {
        (0..LOW).chain(HIGH..=0xFFFF)
    }
}

/// More of them prove nothing new and only slow the fuzzer down.
const MAX_STEPS: usize = 60;
/// The connection of every request.
const CLIENT: Cause = Cause::Client(5);

/// Mirrors hold what their sources hold from the end of every step on, and every change is told: against a copy of all
/// values, and a second rule for what follows a write.
///
/// # Panics
/// When something does not hold.
pub fn mirrors(data: &[u8]) {
    let mut source = Source::new(data);
    let mut stage = Stage::new(source.byte());
    stage.set_mirrors(&mut source);
    for _ in 0..MAX_STEPS {
        if source.is_empty() {
            break;
        }
        stage.step(&mut source);
    }
    stage.settle();
}

/// The units under test, and what is known of them.
struct Stage {
    plant: Plant,
    units: Units<Boxed>,
    mirrors: Vec<Mirror>,
    observed: bool,
    /// The application has not ended its step.
    loose: bool,
    /// What was there when everything had been told last.
    before: Values,
}

impl Stage {
    fn new(unit_0: u8) -> Self {
        let plant = plant();
        let (mut units, _) = units(&plant);
        units.policies.unit_0 = match unit_0 % 4 {
            0 => UnitZero::Device,
            1 => UnitZero::Broadcast,
            2 => UnitZero::BroadcastReply,
            _ => UnitZero::Ignore,
        };
        units.observe(true);
        let before = values(&units);
        Self { plant, units, mirrors: Vec::new(), observed: true, loose: false, before }
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.byte() % 10 {
            0..=2 => {
                let (unit, len) = (source.byte() % 5, usize::from(source.byte()).clamp(1, MAX_PDU));
                let pdu = source.take(len);
                if !pdu.is_empty() {
                    self.ask(unit, pdu);
                }
            }
            code @ (3 | 4) => {
                let (unit, start, quantity) = (source.byte() % 5, start(source), source.byte() % 100 + 1);
                let len = if code == 3 { 2 * usize::from(quantity) } else { usize::from(quantity).div_ceil(8) };
                let mut pdu = vec![if code == 3 { 16 } else { 15 }];
                pdu.extend(start.to_be_bytes());
                pdu.extend([0, quantity, u8::try_from(len).expect("200 at most")]);
                pdu.extend((0..len).map(|_| source.byte()));
                self.ask(unit, &pdu);
            }
            5 => {
                let (side, quantity) = (side(source), source.byte() % 20 + 1);
                let values: Vec<_> = (0..quantity).map(|_| source.byte().into()).collect();
                if let Some(unit) = side.unit.and_then(|id| self.units.unit_mut(id)) {
                    write(unit, side, &values);
                    self.loose = true;
                }
            }
            6 => self.settle(),
            7 => {
                // What has not been told yet is told now, and not forgotten.
                self.settle();
                self.observed = source.byte() & 1 == 1;
                self.units.observe(self.observed);
            }
            8 => {
                self.settle();
                let all = source.byte() & 1 == 1;
                let (mut fresh, _) = units(&self.plant);
                let list = fresh.replace(Box::default()).unwrap_or_else(|_| panic!("no unit is in order"));
                let few: Box<[_]> = list.into_iter().filter(|unit| all || unit.id < 3).collect();
                assert!(self.units.replace(few).is_ok());
                self.copied();
            }
            _ => self.set_mirrors(source),
        }
    }

    fn set_mirrors(&mut self, source: &mut Source<'_>) {
        self.settle();
        let count = source.byte() % 4;
        let mirrors: Vec<_> = (0..count)
            .map(|_| Mirror { source: side(source), copy: side(source), len: u32::from(source.byte()) })
            .collect();
        let expected = verdict(&mirrors);
        assert_eq!(self.units.set_mirrors(mirrors.clone().into()), expected, "{mirrors:?}");
        if expected.is_ok() {
            self.mirrors = mirrors;
            self.copied();
        }
    }

    /// All mirrors have copied, and nobody was told.
    fn copied(&mut self) {
        let now = values(&self.units);
        for mirror in &self.mirrors {
            if exist(&now, mirror.source, 0..mirror.len) && exist(&now, mirror.copy, 0..mirror.len) {
                for at in 0..mirror.len {
                    assert_eq!(value(&now, mirror.copy, at), value(&now, mirror.source, at), "{mirror:?} {at}");
                }
            }
        }
        self.before = now;
    }

    fn ask(&mut self, unit: u8, pdu: &[u8]) {
        if self.loose {
            self.settle();
        }
        let mut told = Vec::new();
        let mut observer = |change: &Change| told.push(*change);
        let mut reply = [0; MAX_PDU];
        let indication = Indication { id: None, transaction: 0, unit, pdu };
        let serving = self.units.serving(5);
        let answer = if self.observed {
            serving.observed(&mut observer).serve(&indication, &mut reply)
        } else {
            let mut serving = serving;
            serving.serve(&indication, &mut reply)
        };
        let now = values(&self.units);
        let written = written(pdu);
        if !self.observed {
            told.clear();
            if matches!(answer, Answer::Reply { .. }) && !self.is_broadcast(unit) {
                for (place, start, len) in &written {
                    let change = Change {
                        unit: self.units.answering(unit).map(|unit| unit.id),
                        place: *place,
                        start: *start,
                        len: *len,
                        changed: false,
                        cause: CLIENT,
                    };
                    told.push(change);
                    told.extend(self.followers(&now, &change));
                }
                self.mirrors_are_right(&now, &told);
            } else {
                assert!(self.is_broadcast(unit) || now == self.before, "{answer:?} to {pdu:02X?}");
            }
            self.before = now;
            return;
        }
        let direct: Vec<_> = told.iter().filter(|change| change.cause == CLIENT).copied().collect();
        if self.is_broadcast(unit) {
            assert!(direct.iter().all(|change| written.contains(&(change.place, change.start, change.len))));
        } else if matches!(answer, Answer::Reply { .. }) {
            let told: Vec<_> = direct.iter().map(|change| (change.place, change.start, change.len)).collect();
            assert_eq!(told, written, "{pdu:02X?}");
            let by = self.units.answering(unit).map(|unit| unit.id);
            assert!(direct.iter().all(|change| change.unit == by));
        } else {
            assert_eq!(told, [], "{answer:?} to {pdu:02X?}");
        }
        self.is_told(&now, &told, CLIENT);
        if !self.is_broadcast(unit) {
            self.news_is_news(&now, &told);
        }
        self.before = now;
    }

    /// A run that was written once in a step is said to be changed if any of it is.
    fn news_is_news(&self, now: &Values, told: &[Change]) {
        for change in told {
            let (Some(unit), Place::Table(table)) = (change.unit, change.place) else { continue };
            let side = Side { unit: Some(unit), table, start: change.start };
            let address = |at| change.start + u16::try_from(at).expect("runs are short here");
            let once = |at| told.iter().filter(|other| covers(other, (unit, table), address(at))).count() == 1;
            if (0..change.len).all(once) {
                let differs = (0..change.len).any(|at| value(now, side, at) != value(&self.before, side, at));
                assert_eq!(change.changed, differs, "{change:?}");
            }
        }
    }

    fn is_broadcast(&self, unit: u8) -> bool {
        unit == 0 && matches!(self.units.policies.unit_0, UnitZero::Broadcast | UnitZero::BroadcastReply)
    }

    fn settle(&mut self) {
        self.loose = false;
        let mut told = Vec::new();
        self.units.settle(Cause::Api, &mut |change: &Change| told.push(*change));
        let now = values(&self.units);
        if self.observed {
            self.is_told(&now, &told, Cause::Api);
        } else {
            self.mirrors_are_right(&now, &told);
        }
        self.before = now;
    }

    /// What was told is all that has happened, mirrors follow at once, and they are right.
    fn is_told(&self, now: &Values, told: &[Change], cause: Cause) {
        let mut expected = Vec::new();
        for change in told.iter().filter(|change| change.cause == cause) {
            expected.push((change.unit, change.place, change.start, change.len, cause));
            let followers = self.followers(now, change);
            expected.extend(followers.iter().map(|copy| (copy.unit, copy.place, copy.start, copy.len, copy.cause)));
        }
        let order: Vec<_> = told.iter().map(|it| (it.unit, it.place, it.start, it.len, it.cause)).collect();
        assert_eq!(order, expected);
        for unit in (0..5).filter(|_| *now != self.before) {
            for table in TableKind::ALL {
                for at in Values::addresses() {
                    let same = now.of(unit, table, at) == self.before.of(unit, table, at);
                    let covers = |change: &&Change| covers(change, (unit, table), at);
                    let is_told = same || told.iter().filter(covers).any(|change| change.changed);
                    assert!(is_told, "unit {unit} {} {at}", table.name());
                }
            }
        }
        self.mirrors_are_right(now, told);
    }

    /// The copies that a write of a source is followed by.
    fn followers(&self, now: &Values, change: &Change) -> Vec<Change> {
        let Place::Table(table) = change.place else { return Vec::new() };
        let mut copies = Vec::new();
        for mirror in &self.mirrors {
            if (mirror.source.unit, mirror.source.table) != (change.unit, table) {
                continue;
            }
            let inside = |at: &u32| {
                let address = u32::from(mirror.source.start) + at;
                (u32::from(change.start)..u32::from(change.start) + change.len).contains(&address)
            };
            let run: Vec<u32> = (0..mirror.len).filter(inside).collect();
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if exist(now, mirror.source, *first..last + 1) && exist(now, mirror.copy, *first..last + 1) {
                let start = mirror.copy.start + u16::try_from(*first).expect("mirrors are short here");
                let place = Place::Table(mirror.copy.table);
                let len = last + 1 - first;
                copies.push(Change { unit: mirror.copy.unit, place, start, len, changed: false, cause: Cause::Mirror });
            }
        }
        copies
    }

    /// Where a copy was written last by its mirror it holds what its source holds, and where nothing was written it holds what it
    /// held.
    fn mirrors_are_right(&self, now: &Values, told: &[Change]) {
        for mirror in &self.mirrors {
            let (Some(unit), table) = (mirror.copy.unit, mirror.copy.table) else { continue };
            for at in 0..mirror.len {
                let address = u32::from(mirror.copy.start) + at;
                let Some(copy) = value(now, mirror.copy, at) else { continue };
                let address = u16::try_from(address).expect("it exists");
                match told.iter().rev().find(|change| covers(change, (unit, table), address)) {
                    Some(change) if change.cause == Cause::Mirror => {
                        assert_eq!(Some(copy), value(now, mirror.source, at), "{mirror:?} {at}");
                    }
                    Some(_) => {}
                    None => assert_eq!(Some(copy), value(&self.before, mirror.copy, at), "{mirror:?} {at}"),
                }
            }
        }
    }
}

fn start(source: &mut Source<'_>) -> u16 {
    // The fixture has entries at small addresses and at the last.
    match source.byte() {
        at @ 0..=0xF7 => at.into(),
        at => 0xFF00 | u16::from(at),
    }
}

fn side(source: &mut Source<'_>) -> Side {
    let byte = source.byte();
    let table = TableKind::ALL[usize::from(byte >> 4) % 4];
    Side { unit: Some(byte % 16 % 5), table, start: start(source) }
}

fn write(unit: &mut Unit<Boxed>, side: Side, values: &[u16]) {
    let device = &mut unit.device;
    match side.table {
        TableKind::Holding => drop(device.holding.store(side.start, values)),
        TableKind::Input => drop(device.input.store(side.start, values)),
        TableKind::Coils => drop(device.coils.set_bit(side.start, values[0] & 1 == 1)),
        TableKind::Discrete => drop(device.discrete.set_bit(side.start, values[0] & 1 == 1)),
    }
}

/// What mirrors are refused for, entry by entry.
fn verdict(mirrors: &[Mirror]) -> Result<(), MirrorError> {
    let entries = |side: Side, len| (0..len).map(move |at| (side.unit, side.table, u32::from(side.start) + at));
    for (at, mirror) in mirrors.iter().enumerate() {
        let ends = [mirror.source, mirror.copy].map(|side| u32::from(side.start) + mirror.len);
        let alike = mirror.source.table.is_bits() == mirror.copy.table.is_bits();
        if mirror.len == 0 || ends.iter().any(|end| *end > 65_536) || !alike {
            return Err(MirrorError::Unsound { at });
        }
        for (other_at, other) in mirrors.iter().enumerate() {
            let meets = |side: Side| {
                let theirs: Vec<_> = entries(side, other.len).collect();
                entries(mirror.copy, mirror.len).any(|entry| theirs.contains(&entry))
            };
            if meets(other.source) || other_at != at && meets(other.copy) {
                return Err(MirrorError::Chained { at });
            }
        }
    }
    Ok(())
}

/// What a request writes if it is carried out.
fn written(pdu: &[u8]) -> Vec<(Place, u16, u32)> {
    let word = |at: usize| pdu.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (coils, holding) = (Place::Table(TableKind::Coils), Place::Table(TableKind::Holding));
    match pdu[0] {
        5 => vec![(coils, word(1), 1)],
        6 | 22 => vec![(holding, word(1), 1)],
        15 => vec![(coils, word(1), word(3).into())],
        16 => vec![(holding, word(1), word(3).into())],
        23 => vec![(holding, word(5), word(7).into())],
        21 => {
            let (mut groups, mut at) = (Vec::new(), 2);
            while at + 7 <= pdu.len() {
                groups.push((Place::File(word(at + 1)), word(at + 3), word(at + 5).into()));
                at += 7 + 2 * usize::from(word(at + 5));
            }
            groups
        }
        _ => Vec::new(),
    }
}

fn values(units: &Units<Boxed>) -> Values {
    let of = |id: u8| {
        let Some(device) = units.unit(id).map(|unit| &unit.device) else { return Default::default() };
        TableKind::ALL.map(|table| {
            let blocks = match table {
                TableKind::Coils => device.coils.blocks(),
                TableKind::Discrete => device.discrete.blocks(),
                TableKind::Input => device.input.blocks(),
                TableKind::Holding => device.holding.blocks(),
            };
            let mut entries = vec![None; usize::from(LOW) + 16];
            for at in blocks.iter().flat_map(|block| (block.start()..=u16::MAX).zip(0..block.len())) {
                let at = at.0;
                entries[Values::place(at).expect("the fixture is small")] = match table {
                    TableKind::Coils => device.coils.bit(at).map(u16::from),
                    TableKind::Discrete => device.discrete.bit(at).map(u16::from),
                    TableKind::Input => device.input.register(at),
                    TableKind::Holding => device.holding.register(at),
                };
            }
            entries
        })
    };
    Values((0..5).map(of).collect())
}

fn value(values: &Values, side: Side, at: u32) -> Option<u16> {
    values.of(side.unit?, side.table, u16::try_from(u32::from(side.start) + at).ok()?)
}

fn exist(values: &Values, side: Side, mut run: std::ops::Range<u32>) -> bool {
    run.all(|at| value(values, side, at).is_some())
}

fn covers(change: &Change, (unit, table): Where, at: u16) -> bool {
    let run = u32::from(change.start)..u32::from(change.start) + change.len;
    change.unit == Some(unit) && change.place == Place::Table(table) && run.contains(&at.into())
}
