//! Who may do what: section 3.1 (5).

use super::{Vector, cat, span, vector, w, ws};
use crate::fixture::{Denial, Denied, ECHO, Table, UnitZero, Unknown, WILLING};

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = spans();
    all.extend(order());
    all.extend(units());
    all
}

fn denying<const N: usize>(name: &'static str, denied: [Denied; N]) -> Vector {
    vector(name, "3.1 (5)").plant(|plant| plant.denials = denied.map(|what| Denial { unit: 1, what }).to_vec())
}

fn spans() -> Vec<Vector> {
    let writing = |first, last| Denied::Writing(Table::Holding, first, last);
    let reading = |first, last| Denied::Reading(Table::Holding, first, last);
    let group = |file: u16, record: u16, records: u16| cat(&[&[6], &w(file), &w(record), &w(records)]);
    vec![
        denying("a write that the hook refuses is 01 and writes nothing", [writing(5, 6)])
            .refuse_at(1, span(6, 5, 1), 1)
            .refuse_at(1, cat(&[&span(16, 4, 2), &[4], &ws([1, 2])]), 1)
            .refuse_at(1, cat(&[&[22], &ws([6, 0, 1])]), 1)
            .ask(span(3, 4, 3), cat(&[&[3, 6], &ws([0x1104, 0x1105, 0x1106])]))
            .echo(span(6, 4, 1))
            .echo(span(6, 7, 1)),
        denying("the hook sees both spans of function 23", [reading(0, 0), writing(9, 9)])
            .refuse_at(1, cat(&[&[23], &ws([0, 1, 20, 1]), &[2], &w(1)]), 1)
            .refuse_at(1, cat(&[&[23], &ws([1, 1, 8, 2]), &[4], &ws([1, 2])]), 1)
            .ask(cat(&[&[23], &ws([9, 1, 0, 1]), &[2], &w(7)]), cat(&[&[23, 2], &w(0x1109)])),
        denying("the hook sees every group of a file request", [Denied::File(4)])
            .refuse_at(1, cat(&[&[20, 14], &group(1, 0, 1), &group(4, 0, 1)]), 1)
            .refuse_at(1, cat(&[&[21, 18], &group(1, 0, 1), &w(9), &group(4, 0, 1), &w(9)]), 1)
            .ask(cat(&[&[20, 7], &group(1, 0, 1)]), cat(&[&[20, 4, 3, 6], &w(0x1000)])),
        denying("the hook sees the pointer of a queue", [Denied::Queue(1246)])
            .refuse_at(1, [24, 0x04, 0xDE], 1)
            .ask([24, 0x05, 0x14], [24, 0, 2, 0, 0]),
        denying("bits and registers at one address are not the same to the hook", [writing(0, 9), reading(0, 9)])
            .echo(span(5, 0, 0xFF00))
            .ask(span(4, 0, 1), cat(&[&[4, 2], &w(0x8000)])),
    ]
}

fn order() -> Vec<Vector> {
    let all_writes = || [Denied::Writing(Table::Holding, 0, 65535), Denied::Function(100), Denied::Function(8)];
    vec![
        denying("the hook comes before length, values and addresses", all_writes())
            .refuse_at(1, cat(&[&span(6, 0, 1), &[0]]), 1)
            .refuse_at(1, cat(&[&span(16, 0, 200), &[0]]), 1)
            .refuse_at(1, span(6, 5000, 1), 1)
            .refuse_at(1, [8], 1),
        denying("a PDU too short to name a span is 03 if its function is not refused", all_writes())
            .refuse_at(1, [6, 0], 3)
            .refuse_at(1, [16, 0, 0, 0], 3)
            .refuse_at(1, [23, 0, 0, 0, 1, 0], 3)
            .refuse_at(1, [21], 3),
        denying("listen-only mode comes before the hook", [Denied::Function(3)])
            .silent_at(1, [8, 0, 4, 0, 0])
            .silent_at(1, span(3, 0, 1))
            .silent_at(1, [8, 0, 1, 0, 0])
            .refuse_at(1, span(3, 0, 1), 1),
        denying("a handler is not called if the hook refuses", [Denied::Function(ECHO)])
            .refuse_at(1, [ECHO, 1, 2], 1)
            .ask([WILLING], [WILLING]),
        denying("what the hook refuses counts as an exception and is no event", [Denied::Function(3)])
            .refuse_at(1, span(3, 0, 1), 1)
            .refuse_at(1, span(3, 0, 1), 1)
            .ask([8, 0, 13, 0, 0], [8, 0, 13, 0, 2])
            .ask([11], [11, 0, 0, 0, 1]),
    ]
}

fn units() -> Vec<Vector> {
    let lowest = || vec![Denial { unit: 1, what: Denied::Writing(Table::Holding, 0, 9) }];
    vec![
        vector("the hook decides by the unit that answers, whichever id was asked for", "3.1 (5), 5")
            .plant(|plant| (plant.denials, plant.unknown_unit) = (lowest(), Unknown::Default))
            .refuse_at(0, span(6, 0, 1), 1)
            .refuse_at(255, span(6, 0, 1), 1)
            .refuse_at(9, span(6, 0, 1), 1)
            .at(2, span(6, 0, 1), span(6, 0, 1)),
        vector("each unit checks a broadcast for itself and the others still write", "3.1 (5), 5")
            .plant(|plant| (plant.denials, plant.unit_0) = (lowest(), UnitZero::Broadcast))
            .silent_at(0, span(6, 0, 77))
            .ask(span(3, 0, 1), cat(&[&[3, 2], &w(0x1100)]))
            .at(2, span(3, 0, 1), [3, 2, 0, 77])
            .ask([8, 0, 13, 0, 0], [8, 0, 13, 0, 1])
            .at(2, [8, 0, 13, 0, 0], [8, 0, 13, 0, 0]),
        vector("the unit that answers a broadcast answers 01 if the hook refuses", "3.1 (5), 5")
            .plant(|plant| (plant.denials, plant.unit_0) = (lowest(), UnitZero::BroadcastReply))
            .refuse_at(0, span(6, 0, 77), 1)
            .at(2, span(3, 0, 1), [3, 2, 0, 77]),
    ]
}
