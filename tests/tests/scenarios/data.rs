//! What is written, by whom, and who hears of it: sections 4 and 5.

use wharf_core::modbus::data::{Datum, Point, PointType, TableKind};
use wharf_core::modbus::server::Config;
use wharf_core::modbus::service::{Answer, Discard, Indication, Service as _};
use wharf_core::modbus::typed::{Order, Type, Value};
use wharf_core::modbus::units::{Cause, Change, Place, Units};
use wharf_core::{Instant, Step};
use wharf_tests::fixture::{Plant, Table, UnitZero};
use wharf_tests::modbus::{Boxed, Served, Server, units};
use wharf_tests::requests;
use wharf_tests::rng::{Rng, SEED_VARIABLE, seeds};
use wharf_tests::vectors::{frame, hex};
use wharf_tests::world::{End as _, Order as Do};

const WRITE: [u8; 5] = [6, 0, 0, 0, 1];
const READ: [u8; 5] = [3, 0, 0, 0, 1];

#[test]
fn a_broadcast_write_that_finds_no_unit_is_no_broadcast_read() {
    let discarded = |pdu: &[u8]| {
        let server = Server::new(&Plant { unit_0: UnitZero::Broadcast, ..Plant::default() });
        let mut served = accept(&server, 0);
        assert!(ask(&mut served, &frame(1, 0, pdu)).is_empty());
        served.discarded
    };
    assert_eq!(discarded(&WRITE), []);
    assert_eq!(discarded(&READ), [Discard::BroadcastRead]);
}

fn accept(server: &Server, name: u64) -> Served {
    server.accept(name, Config::DEFAULT, 5000, 16, Instant::ORIGIN)
}

/// Offers bytes, which are all taken, and gives what is sent in return.
fn ask(served: &mut Served, bytes: &[u8]) -> Vec<u8> {
    assert_eq!(served.received(Instant::ORIGIN, bytes), bytes.len());
    let mut sent = Vec::new();
    while let Step::Do(order) = served.poll(Instant::ORIGIN) {
        if order == Do::Transmit {
            let bytes = served.transmit();
            served.transmitted(Instant::ORIGIN, bytes.len());
            sent.extend(bytes);
        }
    }
    sent
}

/// All entries of a unit that the fixture has.
fn entries(plant: &Plant, units: &Units<Boxed>, id: u8) -> Vec<(Place, u16, u16)> {
    let (_, described) = plant.units.iter().find(|(unit, _)| *unit == id).unwrap();
    let device = &units.unit(id).unwrap().device;
    let tables = described.blocks.iter().flat_map(|block| {
        (block.start..=u16::MAX).take(block.values.len()).map(|at| match block.table {
            Table::Coils => (Place::Table(TableKind::Coils), at, device.coils.bit(at).unwrap().into()),
            Table::Discrete => (Place::Table(TableKind::Discrete), at, device.discrete.bit(at).unwrap().into()),
            Table::Input => (Place::Table(TableKind::Input), at, device.input.register(at).unwrap()),
            Table::Holding => (Place::Table(TableKind::Holding), at, device.holding.register(at).unwrap()),
        })
    });
    let files = described.files.iter().flat_map(|file| {
        let records = device.files.records(file.number).unwrap();
        (0..).zip(records).map(|(at, record)| (Place::File(file.number), at, *record))
    });
    tables.chain(files).collect()
}

fn covers(change: &Change, place: Place, at: u16) -> bool {
    let first = u32::from(change.start);
    change.place == place && (first..first + change.len).contains(&at.into())
}

/// A request that writes, or would if it were right.
fn writing(rng: &mut Rng) -> Vec<u8> {
    loop {
        let pdu = requests::draw(rng);
        if matches!(pdu[0], 5 | 6 | 15 | 16 | 21..=23) {
            return pdu;
        }
    }
}

#[test]
fn what_a_request_changes_is_told_and_what_is_told_is_so() {
    for seed in seeds(4) {
        let context = format!("{SEED_VARIABLE}={seed}");
        let mut rng = Rng::new(seed);
        let plant = Plant { unit_0: UnitZero::BroadcastReply, ..Plant::standard() };
        let (mut units, _) = units(&plant);
        units.observe(true);
        let (mut told, mut new) = (0, 0);
        let state = |units: &_| [1, 2, 3, 4].map(|id| entries(&plant, units, id));
        let mut before = state(&units);
        for _ in 0..100 {
            let unit = *rng.pick(&[0, 1, 1, 1, 2]);
            let pdu = writing(&mut rng);
            let mut changes = Vec::new();
            let mut observer = |change: &Change| changes.push(*change);
            let mut reply = [0; 253];
            let request = Indication { id: None, transaction: 0, unit, pdu: &pdu };
            let answer = units.serving(77).observed(&mut observer).serve(&request, &mut reply);
            let after = state(&units);
            for (id, (before, after)) in (1..).zip(before.iter().zip(&after)) {
                let changes: Vec<_> = changes.iter().filter(|change| change.unit == Some(id)).collect();
                let differ = before.iter().zip(after).filter(|(before, after)| before.2 != after.2);
                let different: Vec<(Place, u16)> = differ.map(|(_, (place, at, _))| (*place, *at)).collect();
                for (place, at) in &different {
                    let found = changes.iter().any(|change| change.changed && covers(change, *place, *at));
                    assert!(found, "{context}: {place} {at} of unit {id} after {}", hex(&pdu));
                }
                for change in changes {
                    let is_new = different.iter().any(|(place, at)| covers(change, *place, *at));
                    // Two groups of one request may undo each other.
                    let undone = matches!(change.place, Place::File(_));
                    assert!(change.changed == is_new || undone, "{context}: {change:?} after {}", hex(&pdu));
                    assert_eq!(change.cause, Cause::Client(77));
                }
            }
            if unit != 0 && !matches!(answer, Answer::Reply { .. }) {
                assert_eq!(changes, [], "{context}: refused, {}", hex(&pdu));
            }
            before = after;
            told += changes.len();
            new += changes.iter().filter(|change| change.changed).count();
        }
        assert!(told > new && new > 10, "{context}: {told} and {new} show too little");
    }
}

/// The registers of a reply to function 3 or 23, or the records of one to function 20.
fn values(reply: &[u8]) -> Vec<u16> {
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
    match reply {
        [_, _, _, _, _, _, _, 3 | 23, count, data @ ..] if data.len() == usize::from(*count) => {
            data.chunks(2).map(word).collect()
        }
        [_, _, _, _, _, _, _, 20, 10, 5, 6, a, b, c, d, 3, 6, e, f] => {
            [[*a, *b], [*c, *d], [*e, *f]].iter().map(|pair| word(pair)).collect()
        }
        _ => panic!("{}", hex(reply)),
    }
}

#[test]
fn nobody_sees_half_a_write() {
    let fill = |head: &[u8], value: u16, count: usize| [head, &value.to_be_bytes().repeat(count)].concat();
    let groups = |value: u16| {
        let [high, low] = value.to_be_bytes();
        let first = [6, 0, 1, 0, 5, 0, 2, high, low, high, low];
        [&[21, 20][..], &first, &[6, 0, 4, 0, 9, 0, 1, high, low]].concat()
    };
    let writes: [&dyn Fn(u16) -> Vec<u8>; 3] = [
        &|value| fill(&[16, 0, 20, 0, 10, 20], value, 10),
        &|value| fill(&[23, 0, 0, 0, 1, 0, 20, 0, 10, 20], value, 10),
        &groups,
    ];
    let read = frame(9, 1, &[3, 0, 20, 0, 10]);
    let records = frame(9, 1, &[20, 14, 6, 0, 1, 0, 5, 0, 2, 6, 0, 4, 0, 9, 0, 1]);
    let server = Server::new(&Plant::standard());
    let (mut writer, mut reader) = (accept(&server, 1), accept(&server, 2));
    let begin = [fill(&[16, 0, 20, 0, 10, 20], 0, 10), groups(0)];
    begin.iter().for_each(|pdu| drop(ask(&mut writer, &frame(0, 1, pdu))));
    let long = Point::new(TableKind::Holding, 20, PointType::Number(Type::U64), Order::Abcd, None).unwrap();
    let mut seen = Vec::new();
    for value in 1..60 {
        let write = frame(value, 1, &writes[usize::from(value) % 3](value));
        for byte in &write {
            ask(&mut writer, &[*byte]);
            for request in [&read, &records] {
                let values = values(&ask(&mut reader, request));
                assert!(values.iter().all(|other| *other == values[0]), "{values:?} while {} arrives", hex(&write));
                seen.push(values[0]);
            }
        }
        if value % 3 != 2 {
            let typed = Value::U64(u64::from(value) * 0x0001_0001_0001_0001 + 0x0100_0100_0100_0100);
            let mut units = server.units.borrow_mut();
            units.unit_mut(1).unwrap().device.write_point(&long, Datum::Number(typed)).unwrap();
            drop(units);
            let values = values(&ask(&mut reader, &read));
            assert!(values[..4].iter().all(|other| *other == values[0]), "{values:?} after a typed write");
            ask(&mut writer, &frame(value, 1, &writes[0](value)));
        }
    }
    assert!((1..60).all(|value| seen.contains(&value)), "the reader sees every write");
}
