//! What is told of writes, and what mirrors make of them.

use super::mirror::{MirrorError, Side};
use super::*;
use crate::modbus::data::{
    BitTable, Block, Datum, Device, FileEntry, Files, Identity, Point, PointType, Queues, RegisterTable, Static,
    TableKind,
};
use crate::modbus::typed::{Order, Value};
use crate::testing::SplitMix64;
use std::boxed::Box;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

/// Writes coil 7 and input register 3 of its device.
struct Meddler;

impl Handler<Static<Self>> for Meddler {
    fn call(&mut self, _: &Call<'_>, device: &mut Device<Static<Self>>, _: &mut [u8]) -> Answer {
        device.coils.set_bit(7, true);
        device.input.set_register(3, 9);
        Answer::Reply { len: 0 }
    }
}

type S = Static<Meddler>;

fn leak<T>(values: Vec<T>) -> &'static mut [T] {
    Box::leak(values.into_boxed_slice())
}

/// A hundred of each from address 0 on, in two blocks, and file 1 of a hundred records.
fn unit(id: u8) -> Unit<S> {
    let blocks = || leak(vec![Block::new(0, 30), Block::new(30, 70)]);
    let bits = || BitTable::new(blocks(), leak(vec![0; 13]), leak(vec![])).unwrap();
    let registers = || RegisterTable::new(blocks(), leak(vec![0; 100]), leak(vec![])).unwrap();
    let files = Files::new(leak(vec![FileEntry::new(1, 100, false)]), leak(vec![0; 100]), leak(vec![])).unwrap();
    let device = Device {
        coils: bits(),
        discrete: bits(),
        input: registers(),
        holding: registers(),
        files,
        queues: Queues::new(leak(vec![]), leak(vec![])).unwrap(),
        identity: Identity::new(leak(vec![]), b"".as_slice(), b"".as_slice()).unwrap(),
    };
    Unit::new(id, device, leak(vec![Registered { function: 65, handler: Meddler }]))
}

fn units(policies: Policies) -> Units<S> {
    let mut units = Units::new(leak(vec![unit(1), unit(2)]), Some(unit(0)), policies).unwrap();
    units.observe(true);
    units
}

/// Asks by connection 5, and gives the answer and what was told.
fn ask(units: &mut Units<S>, unit: u8, pdu: &[u8]) -> (Answer, Vec<Change>) {
    let mut changes = Vec::new();
    let mut observer = |change: &Change| changes.push(*change);
    let mut reply = [0; 253];
    let answer =
        units.serving(5).observed(&mut observer).serve(&Indication { id: None, transaction: 0, unit, pdu }, &mut reply);
    (answer, changes)
}

fn settled(units: &mut Units<S>, cause: Cause) -> Vec<Change> {
    let mut changes = Vec::new();
    units.settle(cause, &mut |change: &Change| changes.push(*change));
    changes
}

fn told(place: Place, start: u16, len: u32, changed: bool) -> Change {
    Change { unit: Some(1), place, start, len, changed, cause: Cause::Client(5) }
}

const COILS: Place = Place::Table(TableKind::Coils);
const HOLDING: Place = Place::Table(TableKind::Holding);
const INPUT: Place = Place::Table(TableKind::Input);

#[test]
fn every_function_that_writes_tells_what_it_wrote_and_whether_that_is_new() {
    type Writes<'a> = (&'a [u8], Vec<(Place, u16, u32)>);
    let writes: [Writes<'_>; 7] = [
        (&[5, 0, 3, 0xFF, 0], vec![(COILS, 3, 1)]),
        (&[6, 0, 4, 0, 1], vec![(HOLDING, 4, 1)]),
        (&[15, 0, 25, 0, 10, 2, 0xFF, 3], vec![(COILS, 25, 10)]),
        (&[16, 0, 29, 0, 2, 4, 0, 1, 0, 0], vec![(HOLDING, 29, 2)]),
        (&[22, 0, 50, 0, 0, 0, 7], vec![(HOLDING, 50, 1)]),
        (&[23, 0, 0, 0, 1, 0, 60, 0, 1, 2, 0, 5], vec![(HOLDING, 60, 1)]),
        (
            &[21, 20, 6, 0, 1, 0, 9, 0, 2, 0, 0, 0, 1, 6, 0, 1, 0, 11, 0, 1, 0, 5],
            vec![(Place::File(1), 9, 2), (Place::File(1), 11, 1)],
        ),
    ];
    for (pdu, expected) in writes {
        let mut units = units(Policies::default());
        for changed in [true, false] {
            let (answer, changes) = ask(&mut units, 1, pdu);
            assert!(matches!(answer, Answer::Reply { .. }), "{pdu:?}");
            let expected: Vec<_> = expected.iter().map(|(place, at, len)| told(*place, *at, *len, changed)).collect();
            assert_eq!(changes, expected, "{pdu:?}");
        }
    }
}

#[test]
fn what_is_refused_or_only_read_is_not_told() {
    let mut units = units(Policies::default());
    let requests: [&[u8]; 7] = [
        &[6, 0, 100, 0, 1],
        &[16, 0, 99, 0, 2, 4, 0, 1, 0, 1],
        &[23, 0, 99, 0, 2, 0, 0, 0, 1, 2, 0, 5],
        &[21, 18, 6, 0, 1, 0, 9, 0, 1, 0, 1, 6, 0, 2, 0, 0, 0, 1, 0, 5],
        &[5, 0, 0, 0x12, 0x34],
        &[3, 0, 0, 0, 10],
        &[20, 7, 6, 0, 1, 0, 0, 0, 1],
    ];
    for pdu in requests {
        assert_eq!(ask(&mut units, 1, pdu).1, [], "{pdu:?}");
    }
}

#[test]
fn what_a_handler_writes_is_told_as_its_clients_doing() {
    let mut units = units(Policies::default());
    assert_eq!(ask(&mut units, 1, &[65]).1, [told(COILS, 7, 1, true), told(INPUT, 3, 1, true)]);
}

#[test]
fn a_broadcast_is_told_by_each_unit_and_the_default_device_has_no_number() {
    let mut units = units(Policies { unit_0: UnitZero::BroadcastReply, ..Policies::default() });
    let (answer, changes) = ask(&mut units, 0, &[6, 0, 4, 0, 1]);
    assert_eq!(answer, Answer::Reply { len: 5 });
    let by = |unit| Change { unit, ..told(HOLDING, 4, 1, true) };
    assert_eq!(changes, [by(Some(1)), by(Some(2)), by(None)]);
}

#[test]
fn a_step_of_the_application_is_told_when_it_ends_or_before_the_next_request() {
    let mut units = units(Policies::default());
    let api = |unit, at| Change { unit, cause: Cause::Api, ..told(HOLDING, at, 2, true) };
    assert!(units.unit_mut(2).unwrap().device.holding.store(7, &[1, 2]));
    assert!(units.own_default_mut().unwrap().device.holding.store(8, &[1, 2]));
    assert_eq!(settled(&mut units, Cause::Api), [api(Some(2), 7), api(None, 8)]);
    assert_eq!(settled(&mut units, Cause::Api), []);
    assert!(units.unit_mut(2).unwrap().device.holding.store(9, &[1, 2]));
    assert_eq!(ask(&mut units, 1, &[6, 0, 4, 0, 1]).1, [api(Some(2), 9), told(HOLDING, 4, 1, true)]);
}

#[test]
fn the_step_of_one_unit_ends_without_those_of_the_others() {
    let mut units = units(Policies::default());
    let api = |unit, at| Change { unit, cause: Cause::Api, ..told(HOLDING, at, 2, true) };
    assert!(units.unit_mut(1).unwrap().device.holding.store(6, &[1, 2]));
    assert!(units.unit_mut(2).unwrap().device.holding.store(7, &[1, 2]));
    assert!(units.own_default_mut().unwrap().device.holding.store(8, &[1, 2]));
    for (unit, changes) in [(Some(9), vec![]), (Some(2), vec![api(Some(2), 7)]), (None, vec![api(None, 8)])] {
        let mut heard = Vec::new();
        units.settle_unit(unit, Cause::Api, &mut |change: &Change| heard.push(*change));
        assert_eq!(heard, changes);
    }
    assert_eq!(settled(&mut units, Cause::Api), [api(Some(1), 6)]);
}

#[test]
fn places_causes_and_refusals_are_told_by_name() {
    assert_eq!([HOLDING, Place::File(3)].map(|place| place.to_string()), ["holding", "file 3"]);
    let causes = [Cause::Client(5), Cause::Api, Cause::Generator, Cause::Mirror];
    assert_eq!(causes.map(|cause| cause.to_string()), ["client(5)", "api", "generator", "mirror"]);
    assert_eq!(causes.map(Cause::name), ["client", "api", "generator", "mirror"]);
    assert_eq!(MirrorError::Unsound { at: 2 }.to_string(), "the sides of mirror 2 do not go together");
    assert_eq!(MirrorError::Chained { at: 0 }.to_string(), "mirror 0 copies to the source or the copy of another");
}

#[test]
fn nothing_is_noted_while_nobody_observes() {
    let mut units = units(Policies::default());
    units.observe(false);
    assert_eq!(ask(&mut units, 1, &[6, 0, 4, 0, 1]).1, []);
    units.unit_mut(1).unwrap().device.holding.set_register(1, 1);
    assert!(!units.unit(1).unwrap().device.is_marked());
    units.observe(true);
    assert_eq!(settled(&mut units, Cause::Api), [], "what was before is not told");
    assert_eq!(ask(&mut units, 1, &[6, 0, 4, 0, 2]).1, [told(HOLDING, 4, 1, true)]);
}

#[test]
fn a_unit_that_comes_later_is_observed_too() {
    let mut units = units(Policies::default());
    assert!(units.replace(leak(vec![unit(1), unit(9)])).is_ok());
    let (_, changes) = ask(&mut units, 9, &[6, 0, 4, 0, 1]);
    assert_eq!(changes, [Change { unit: Some(9), ..told(HOLDING, 4, 1, true) }]);
}

const fn side(unit: Option<u8>, table: TableKind, start: u16) -> Side {
    Side { unit, table, start }
}

#[test]
fn a_mirror_follows_in_the_same_step_whoever_writes() {
    let mut units = units(Policies::default());
    let source = side(Some(1), TableKind::Holding, 10);
    let copy = side(Some(2), TableKind::Input, 20);
    let own = side(None, TableKind::Holding, 0);
    let mirrors = vec![Mirror { source, copy, len: 5 }, Mirror { source, copy: own, len: 1 }];
    assert_eq!(units.set_mirrors(leak(mirrors)), Ok(()));
    let mirrored = |unit, place, start, len| Change { unit, cause: Cause::Mirror, ..told(place, start, len, true) };
    let (_, changes) = ask(&mut units, 1, &[16, 0, 8, 0, 4, 8, 0, 1, 0, 2, 0, 3, 0, 4]);
    let copies = [mirrored(Some(2), INPUT, 20, 2), mirrored(None, HOLDING, 0, 1)];
    assert_eq!(changes, [told(HOLDING, 8, 4, true), copies[0], copies[1]]);
    let input = |units: &Units<S>| {
        (19..26).map(|at| units.unit(2).unwrap().device.input.register(at).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(input(&units), [0, 3, 4, 0, 0, 0, 0]);
    assert_eq!(units.own_default().unwrap().device.holding.register(0), Some(3));
    let point =
        Point::new(TableKind::Holding, 13, PointType::Number(crate::modbus::typed::Type::U32), Order::Abcd, None);
    let device = &mut units.unit_mut(1).unwrap().device;
    device.write_point(&point.unwrap(), Datum::Number(Value::U32(0x0007_0008))).unwrap();
    let generated = Change { cause: Cause::Generator, ..told(HOLDING, 13, 2, true) };
    assert_eq!(settled(&mut units, Cause::Generator), [generated, mirrored(Some(2), INPUT, 23, 2)]);
    assert_eq!(input(&units), [0, 3, 4, 0, 7, 8, 0]);
    assert!(units.unit_mut(2).unwrap().device.input.set_register(20, 99));
    settled(&mut units, Cause::Api);
    assert_eq!(input(&units)[1], 99, "what is written to a copy stays until its source is written");
}

#[test]
fn mirrors_work_without_an_observer_and_begin_with_a_copy() {
    let mut units = units(Policies::default());
    units.observe(false);
    units.unit_mut(1).unwrap().device.coils.set_bit(31, true);
    let source = side(Some(1), TableKind::Coils, 29);
    let mirror = Mirror { source, copy: side(Some(1), TableKind::Discrete, 3), len: 70 };
    assert_eq!(units.set_mirrors(leak(vec![mirror])), Ok(()));
    let bit = |units: &Units<S>, at| units.unit(1).unwrap().device.discrete.bit(at).unwrap();
    assert!(bit(&units, 5) && !bit(&units, 4));
    ask(&mut units, 1, &[5, 0, 98, 0xFF, 0]);
    assert!(bit(&units, 72) && !bit(&units, 71));
}

#[test]
fn a_mirror_of_many_registers_copies_each_of_them() {
    let mut units = units(Policies::default());
    let values: Vec<u16> = (1..=100).collect();
    assert!(units.unit_mut(1).unwrap().device.holding.store(0, &values));
    let (source, copy) = (side(Some(1), TableKind::Holding, 0), side(Some(2), TableKind::Input, 0));
    assert_eq!(units.set_mirrors(leak(vec![Mirror { source, copy, len: 100 }])), Ok(()));
    let copied = |at| units.unit(2).unwrap().device.input.register(at);
    assert!((0..100).map(copied).eq((1..=100).map(Some)));
}

#[test]
fn a_mirror_copies_nothing_while_its_addresses_are_absent() {
    let mut units = units(Policies::default());
    let mirror =
        Mirror { source: side(Some(1), TableKind::Holding, 0), copy: side(Some(2), TableKind::Holding, 50), len: 60 };
    assert_eq!(units.set_mirrors(leak(vec![mirror])), Ok(()));
    assert_eq!(ask(&mut units, 1, &[6, 0, 55, 0, 1]).1.len(), 1, "its copy would lie at 105");
    assert_eq!(ask(&mut units, 1, &[6, 0, 5, 0, 1]).1.len(), 2);
    assert!(units.replace(leak(vec![unit(1)])).is_ok());
    assert_eq!(ask(&mut units, 1, &[6, 0, 5, 0, 2]).1.len(), 1);
    assert!(units.replace(leak(vec![unit(1), unit(2)])).is_ok());
    assert_eq!(ask(&mut units, 1, &[6, 0, 5, 0, 3]).1.len(), 2);
}

#[test]
fn mirrors_of_mirrors_and_sides_that_do_not_go_together_are_refused() {
    let mut units = units(Policies::default());
    let (a, b, c) = (
        side(Some(1), TableKind::Holding, 0),
        side(Some(1), TableKind::Holding, 10),
        side(Some(1), TableKind::Holding, 20),
    );
    let mirror = |source, copy, len| Mirror { source, copy, len };
    let unsound = |at| Err(MirrorError::Unsound { at });
    let chained = |at| Err(MirrorError::Chained { at });
    let bits = side(Some(1), TableKind::Coils, 0);
    let end = side(Some(1), TableKind::Holding, 65_535);
    for (mirrors, outcome) in [
        (vec![mirror(a, b, 10), mirror(a, c, 10)], Ok(())),
        (vec![mirror(a, b, 11)], chained(0)),
        (vec![mirror(a, b, 10), mirror(b, c, 1)], chained(0)),
        (vec![mirror(b, c, 1), mirror(a, b, 1)], chained(1)),
        (vec![mirror(a, side(Some(1), TableKind::Holding, 5), 6)], chained(0)),
        (
            vec![mirror(a, c, 5), mirror(side(Some(1), TableKind::Input, 0), side(Some(1), TableKind::Holding, 24), 1)],
            chained(0),
        ),
        (vec![mirror(a, bits, 1)], unsound(0)),
        (vec![mirror(a, b, 0)], unsound(0)),
        // What has no address lies nowhere, and spoils no other mirror.
        (vec![mirror(a, b, 2), mirror(c, side(Some(1), TableKind::Holding, 11), 0)], unsound(1)),
        (vec![mirror(a, c, 10), mirror(a, end, 2)], unsound(1)),
    ] {
        let shown = std::format!("{mirrors:?}");
        assert_eq!(units.set_mirrors(leak(mirrors)), outcome, "{shown}");
    }
}

#[test]
fn mirrors_are_what_copying_everything_after_every_write_gives() {
    let mut random = SplitMix64::new(21);
    for _ in 0..60 {
        let mut units = units(Policies::default());
        let table = random.pick(&[TableKind::Coils, TableKind::Holding]);
        let to = if table.is_bits() { TableKind::Discrete } else { TableKind::Input };
        let len = 1 + random.below(80) as u32;
        let (from, at) = (random.below(u64::from(101 - len)) as u16, random.below(u64::from(101 - len)) as u16);
        let mirror = Mirror { source: side(Some(1), table, from), copy: side(Some(2), to, at), len };
        assert_eq!(units.set_mirrors(leak(vec![mirror])), Ok(()));
        for _ in 0..40 {
            let start = random.below(90) as u16;
            let quantity = 1 + random.below(10) as u16;
            let mut pdu = vec![if table.is_bits() { 15 } else { 16 }];
            pdu.extend(start.to_be_bytes());
            pdu.extend(quantity.to_be_bytes());
            let bytes = if table.is_bits() { usize::from(quantity).div_ceil(8) } else { 2 * usize::from(quantity) };
            pdu.push(bytes as u8);
            pdu.extend((0..bytes).map(|_| random.next() as u8));
            let (_, changes) = ask(&mut units, 1, &pdu);
            let end = u32::from(start) + u32::from(quantity);
            let meets = u32::from(start) < u32::from(from) + len && u32::from(from) < end;
            assert_eq!(changes.len(), 1 + usize::from(meets), "{pdu:?} {mirror:?}");
            for i in 0..len as u16 {
                let (source, copy) = (&units.unit(1).unwrap().device, &units.unit(2).unwrap().device);
                assert_eq!(
                    source.coils.bit(from + i).filter(|_| table.is_bits()),
                    copy.discrete.bit(at + i).filter(|_| table.is_bits())
                );
                assert_eq!(
                    source.holding.register(from + i).filter(|_| !table.is_bits()),
                    copy.input.register(at + i).filter(|_| !table.is_bits())
                );
            }
        }
    }
}
