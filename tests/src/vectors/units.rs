//! Who answers: section 5.

use super::{Does, Vector, cat, frame, span, vector, w};
use crate::fixture::{ECHO, LATER, UnitLast, UnitZero, Unknown, WILLING, small_device};

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = policies();
    all.extend(broadcasts());
    all.push(deferred_broadcast());
    all.extend(order());
    all
}

fn value(value: u16) -> Vec<u8> {
    cat(&[&[3, 2], &w(value)])
}

fn policies() -> Vec<Vector> {
    vec![
        vector("units have data of their own", "5")
            .echo(span(6, 0, 77))
            .at(2, span(3, 0, 1), value(0))
            .at(2, span(6, 0, 5), span(6, 0, 5))
            .ask(span(3, 0, 1), value(77)),
        vector("an unknown unit is 0B, whatever the request", "5, 3.1 (3)")
            .refuse_at(9, span(3, 0, 1), 0x0B)
            .refuse_at(9, span(3, 0, 0), 0x0B)
            .refuse_at(9, [100], 0x0B)
            .refuse_at(254, [3], 0x0B)
            .at(9, [0x83, 0], [0x83, 0x0B]),
        vector("an unknown unit may be 0A", "5").plant(|plant| plant.unknown_unit = Unknown::NoPath).refuse_at(
            9,
            span(3, 0, 1),
            0x0A,
        ),
        vector("an unknown unit may be silent", "5, 2 (6)")
            .plant(|plant| plant.unknown_unit = Unknown::Silent)
            .silent_at(9, span(3, 0, 1))
            .ask(span(3, 0, 1), value(0x1100)),
        vector("an unknown unit may be the default device, and keeps its id in the reply", "5")
            .plant(|plant| plant.unknown_unit = Unknown::Default)
            .at(9, span(3, 0, 1), value(0x1100))
            .at(9, span(6, 0, 77), span(6, 0, 77))
            .ask(span(3, 0, 1), value(77)),
        vector("units 0 and 255 are the default device, which is that of the lowest unit", "5, 3.4")
            .at(0, span(3, 0, 1), value(0x1100))
            .at(255, span(3, 1, 1), value(0x1101))
            .at(255, span(6, 0, 9), span(6, 0, 9))
            .at(0, span(3, 0, 1), value(9)),
        vector("units 0 and 255 are devices of their own where there are any", "5")
            .plant(|plant| {
                plant.units.insert(0, (0, small_device()));
                plant.units.push((255, small_device()));
            })
            .at(0, span(6, 0, 10), span(6, 0, 10))
            .at(255, span(6, 0, 11), span(6, 0, 11))
            .at(0, span(3, 0, 1), value(10))
            .at(255, span(3, 0, 1), value(11))
            .ask(span(3, 0, 1), value(0x1100)),
        vector("units 0 and 255 may be ignored", "5, 2 (6)")
            .plant(|plant| (plant.unit_0, plant.unit_255) = (UnitZero::Ignore, UnitLast::Ignore))
            .silent_at(0, span(6, 0, 1))
            .silent_at(255, span(6, 0, 2))
            .ask(span(3, 0, 1), value(0x1100)),
        vector("unit 255 may be a unit like any other", "5").plant(|plant| plant.unit_255 = UnitLast::Unit).refuse_at(
            255,
            span(3, 0, 1),
            0x0B,
        ),
        vector("unit 255 as a unit follows the policy for unknown ones", "5")
            .plant(|plant| (plant.unit_255, plant.unknown_unit) = (UnitLast::Unit, Unknown::Silent))
            .silent_at(255, span(3, 0, 1)),
        vector("denied access gives the exception that the device names", "4")
            .at(3, span(3, 0, 2), [3, 4, 0, 7, 0, 8])
            .refuse_at(3, span(3, 2, 1), 1)
            .refuse_at(3, span(3, 1, 2), 1)
            .refuse_at(3, span(6, 2, 1), 1)
            .refuse_at(3, span(3, 0, 126), 3)
            .refuse_at(3, span(3, 4, 1), 2),
    ]
}

fn broadcasts() -> Vec<Vector> {
    let all_units = |plant: &mut crate::fixture::Plant| plant.unit_0 = UnitZero::Broadcast;
    let with_reply = |plant: &mut crate::fixture::Plant| plant.unit_0 = UnitZero::BroadcastReply;
    let everywhere = |vector: Vector, word: u16| {
        vector.ask(span(3, 0, 1), value(word)).at(2, span(3, 0, 1), value(word)).at(4, span(3, 0, 1), value(word))
    };
    vec![
        everywhere(
            vector("a broadcast write runs on every unit and is not answered", "5, SL 2.1")
                .plant(all_units)
                .silent_at(0, span(6, 0, 0xBEEF)),
            0xBEEF,
        )
        .at(3, span(3, 0, 1), value(0xBEEF)),
        everywhere(
            vector("function 16 takes broadcasts", "5").plant(all_units).silent_at(0, [16, 0, 0, 0, 1, 2, 0x12, 0x34]),
            0x1234,
        )
        .at(3, span(3, 0, 1), value(7)), // function 16 is off there
        everywhere(
            vector("function 22 takes broadcasts", "5").plant(all_units).silent_at(0, [22, 0, 0, 0, 0, 0x43, 0x21]),
            0x4321,
        ),
        vector("functions 5 and 15 take broadcasts", "5")
            .plant(all_units)
            .silent_at(0, [5, 0, 1, 0xFF, 0])
            .ask(span(1, 0, 8), [1, 1, 0x4B])
            .at(2, span(1, 0, 8), [1, 1, 0x02])
            .silent_at(0, [15, 0, 0, 0, 8, 1, 0xA5])
            .ask(span(1, 0, 8), [1, 1, 0xA5])
            .at(2, span(1, 0, 8), [1, 1, 0xA5]),
        vector("function 21 takes broadcasts", "5")
            .plant(all_units)
            .silent_at(0, [21, 9, 6, 0, 1, 0, 0, 0, 1, 0x12, 0x34])
            .ask([20, 7, 6, 0, 1, 0, 0, 0, 1], [20, 4, 3, 6, 0x12, 0x34]),
        vector("units that must refuse a broadcast do not stop the others", "5")
            .plant(all_units)
            .silent_at(0, span(6, 5, 99))
            .ask(span(3, 5, 1), value(99))
            .at(2, span(3, 5, 1), value(99))
            .refuse_at(3, span(3, 5, 1), 2),
        vector("a broadcast read is thrown away", "5, 2 (6)")
            .plant(all_units)
            .silent_at(0, span(3, 0, 1))
            .silent_at(0, [23, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 1])
            .silent_at(0, [7])
            .silent_at(0, [8, 0, 0, 1, 2])
            .silent_at(0, [43, 14, 1, 0])
            .silent_at(0, [100])
            .silent_at(0, [ECHO, 1])
            .silent_at(0, [WILLING])
            .ask(span(3, 0, 1), value(0x1100)),
        everywhere(
            vector("with broadcast_reply the default device answers for all", "5").plant(with_reply).at(
                0,
                span(6, 0, 8),
                span(6, 0, 8),
            ),
            8,
        )
        .at(0, span(3, 0, 1), value(8))
        .at(0, [7], [7, 0x6D])
        .refuse_at(0, span(6, 5000, 1), 2)
        .refuse_at(0, [100], 1),
    ]
}

/// A request that the default device answers later, under the number that means all units.
fn deferred_broadcast() -> Vector {
    vector("a deferred request to unit 0 ends for the device that answers it", "5, 3.3")
        .plant(|plant| plant.unit_0 = UnitZero::BroadcastReply)
        .bytes(frame(1, 0, &[LATER]), [])
        .step(Does::Answer { nth: 0, pdu: vec![LATER] }, frame(1, 0, &[LATER]), false)
        .ask([11], [11, 0, 0, 0, 1])
}

fn order() -> Vec<Vector> {
    vec![
        vector("the function code comes before length, values and addresses", "3.1")
            .refuse([100, 1, 2, 3], 1)
            .refuse_at(3, [1, 0], 1)
            .refuse_at(3, span(1, 5000, 0), 1),
        vector("the length of the PDU comes before its values and addresses", "3.1 (7)")
            .refuse([3, 0x13, 0x88, 0, 1, 0], 3)
            .refuse([6, 0x13, 0x88, 0], 3)
            .refuse([22, 0x13, 0x88, 0, 0, 0, 0, 0], 3),
        vector("values come before addresses", "3.1 (8), 3.4")
            .refuse(span(1, 5000, 2001), 3)
            .refuse(span(3, 5000, 126), 3)
            .refuse([5, 0x13, 0x88, 0, 1], 3)
            .refuse([16, 0x13, 0x88, 0, 0, 0], 3),
    ]
}
