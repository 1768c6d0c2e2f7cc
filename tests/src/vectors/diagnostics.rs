//! Functions 8, 11 and 12, and what they count.

use super::{Vector, cat, frame, span, vector};
use crate::fixture::{LATER, REFUSE, SILENT, UnitZero};

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = simple();
    all.extend(counters());
    all.extend(restart());
    all.extend(listen_only());
    all.extend(events());
    all
}

/// A frame of another protocol, which is lost.
const FOREIGN: [u8; 12] = [0, 9, 0, 1, 0, 6, 1, 3, 0, 0, 0, 1];

/// A request of function 8 with one data word.
const fn diag(sub_function: u8, data: u16) -> [u8; 5] {
    let [high, low] = data.to_be_bytes();
    [8, 0, sub_function, high, low]
}

/// A reply of function 12.
fn log(count: u16, messages: u16, events: &[u8]) -> Vec<u8> {
    let n = u8::try_from(6 + events.len()).expect("at most 64 events");
    cat(&[&[12, n, 0, 0], &count.to_be_bytes(), &messages.to_be_bytes(), events])
}

fn simple() -> Vec<Vector> {
    let longest = cat(&[&[8, 0, 0], &[0xA5; 250]]);
    vec![
        vector("diagnostics 0 echoes any data of even length", "3.2, 3.3, AP 6.8")
            .echo([8, 0, 0, 0xA5, 0x37])
            .echo([8, 0, 0])
            .echo([8, 0, 0, 1, 2, 3, 4])
            .echo(longest)
            .refuse([8, 0, 0, 1], 3)
            .refuse([8, 0, 0, 1, 2, 3], 3),
        vector("diagnostics need a sub-function", "3.1 (6)").refuse([8], 3).refuse([8, 0], 3),
        vector("unknown sub-functions are 01, whatever their data", "3.3, 11")
            .refuse(diag(19, 0), 1)
            .refuse(diag(21, 0), 1)
            .refuse(diag(5, 0), 1)
            .refuse(diag(9, 0), 1)
            .refuse(diag(22, 0), 1)
            .refuse(diag(19, 7), 1)
            .refuse([8, 0, 19], 1)
            .refuse([8, 0, 21, 0], 1)
            .refuse([8, 1, 0, 0, 0], 1)
            .refuse([8, 0xFF, 0xFF, 0, 0], 1),
        vector("diagnostics 2 reads the diagnostic register", "3.3")
            .ask(diag(2, 0), diag(2, 0xCAFE))
            .at(2, diag(2, 0), diag(2, 0))
            .refuse(diag(2, 1), 3)
            .refuse([8, 0, 2], 3)
            .refuse([8, 0, 2, 0, 0, 0, 0], 3),
        vector("diagnostics 3 takes a character and a zero", "3.3, 12.1")
            .echo(diag(3, 0x0A00))
            .echo(diag(3, 0))
            .refuse(diag(3, 0x000A), 3)
            .refuse(diag(3, 0x0A0A), 3)
            .refuse([8, 0, 3], 3),
        vector("the wrong data for a diagnostic is 03", "3.3")
            .refuse(diag(1, 1), 3)
            .refuse(diag(1, 0xFFFF), 3)
            .refuse(diag(1, 0x00FF), 3)
            .refuse([8, 0, 1], 3)
            .refuse(diag(4, 1), 3)
            .refuse(diag(10, 1), 3)
            .refuse(diag(11, 1), 3)
            .refuse(diag(12, 0xFF00), 3)
            .refuse(diag(13, 1), 3)
            .refuse(diag(14, 1), 3)
            .refuse(diag(15, 1), 3)
            .refuse(diag(16, 1), 3)
            .refuse(diag(17, 1), 3)
            .refuse(diag(18, 1), 3)
            .refuse(diag(20, 1), 3)
            .refuse([8, 0, 11, 0], 3)
            .refuse([8, 0, 11, 0, 0, 0, 0], 3)
            .ask(span(3, 0, 1), [3, 2, 0x11, 0]),
    ]
}

fn counters() -> Vec<Vector> {
    let broadcast = |plant: &mut crate::fixture::Plant| plant.unit_0 = UnitZero::Broadcast;
    vec![
        vector("a fresh unit has counted this very request and nothing else", "3.3")
            .ask(diag(11, 0), diag(11, 1))
            .ask(diag(12, 0), diag(12, 0))
            .ask(diag(13, 0), diag(13, 0))
            .ask(diag(14, 0), diag(14, 4))
            .ask(diag(15, 0), diag(15, 0))
            .ask(diag(16, 0), diag(16, 0))
            .ask(diag(17, 0), diag(17, 0))
            .ask(diag(18, 0), diag(18, 0))
            .ask(diag(11, 0), diag(11, 9)),
        vector("counter 11 counts frames for any unit, 14 those for this one", "3.3")
            .at(2, span(3, 0, 1), [3, 2, 0, 0])
            .refuse_at(9, span(3, 0, 1), 0x0B)
            .ask(diag(11, 0), diag(11, 3))
            .ask(diag(14, 0), diag(14, 2))
            .at(2, diag(14, 0), diag(14, 2)),
        vector("counter 12 counts frames lost to their protocol id", "3.3, 2 (3)")
            .bytes(FOREIGN, [])
            .bytes([0, 9, 0xFF, 0xFF, 0, 2, 1, 7], [])
            .ask(diag(12, 0), diag(12, 2))
            .ask(diag(11, 0), diag(11, 2))
            .ask(diag(14, 0), diag(14, 3)),
        vector("counter 13 counts exceptions", "3.3")
            .refuse(span(3, 0, 0), 3)
            .refuse(span(3, 100, 1), 2)
            .refuse([100], 1)
            .refuse(diag(13, 1), 3)
            .ask(diag(13, 0), diag(13, 4))
            .ask(diag(13, 0), diag(13, 4))
            .at(2, diag(13, 0), diag(13, 0)),
        vector("counter 15 counts requests without a reply", "3.3")
            .silent([SILENT])
            .silent([SILENT])
            .ask(diag(15, 0), diag(15, 2)),
        vector("counters 16 and 17 count replies 07 and 06", "3.3, 3.4")
            .refuse([REFUSE, 7], 7)
            .refuse([REFUSE, 6], 6)
            .refuse([REFUSE, 6], 6)
            .ask(diag(16, 0), diag(16, 1))
            .ask(diag(17, 0), diag(17, 2))
            .ask(diag(13, 0), diag(13, 3)),
        vector("broadcasts are counted, refused ones and the missing replies too", "3.3, 5")
            .plant(broadcast)
            .silent_at(0, span(6, 0, 1))
            .silent_at(0, span(6, 5000, 1))
            .ask(diag(14, 0), diag(14, 3))
            .ask(diag(13, 0), diag(13, 1))
            .ask(diag(15, 0), diag(15, 2))
            .at(2, diag(15, 0), diag(15, 2))
            .at(2, diag(13, 0), diag(13, 1)),
        vector("diagnostics 10 zeroes all counters and the diagnostic register of its unit", "3.3")
            .bytes(FOREIGN, [])
            .refuse([REFUSE, 6], 6)
            .refuse([REFUSE, 7], 7)
            .silent([SILENT])
            .at(2, span(3, 0, 1), [3, 2, 0, 0])
            .echo(diag(10, 0))
            .ask(diag(11, 0), diag(11, 1))
            .ask(diag(13, 0), diag(13, 0))
            .ask(diag(14, 0), diag(14, 3))
            .ask(diag(15, 0), diag(15, 0))
            .ask(diag(16, 0), diag(16, 0))
            .ask(diag(2, 0), diag(2, 0))
            .at(2, diag(14, 0), diag(14, 2))
            .at(2, diag(11, 0), diag(11, 13))
            .at(2, diag(12, 0), diag(12, 1))
            .ask(diag(12, 0), diag(12, 0))
            .ask(diag(17, 0), diag(17, 0))
            .ask(diag(18, 0), diag(18, 0)),
        vector("diagnostics 20 zeroes counter 18 alone", "3.3")
            .refuse(span(3, 0, 0), 3)
            .echo(diag(20, 0))
            .ask(diag(18, 0), diag(18, 0))
            .ask(diag(13, 0), diag(13, 1))
            .ask(diag(2, 0), diag(2, 0xCAFE)),
        counters_wrap(),
    ]
}

/// 65536 frames in one input would be a large vector; 65535 requests of one function each are sent in a few steps.
fn counters_wrap() -> Vector {
    let mut vector = vector("counters wrap after 65535", "3.3");
    for _ in 0..5 {
        let many: Vec<u8> = frame(1, 2, &[17]).repeat(13_107);
        vector = vector.bytes(many, frame(1, 2, &[17, 2, 2, 0]).repeat(13_107));
    }
    vector.at(2, diag(14, 0), diag(14, 0)).ask(diag(11, 0), diag(11, 1))
}

fn restart() -> Vec<Vector> {
    vec![
        vector("a restart echoes and zeroes the counters 11 to 18 and the event count", "3.3")
            .bytes(FOREIGN, [])
            .ask([7], [7, 0x6D])
            .ask(diag(12, 0), diag(12, 1))
            .refuse([REFUSE, 6], 6)
            .refuse([REFUSE, 7], 7)
            .silent([SILENT])
            .echo(diag(1, 0))
            .ask(diag(11, 0), diag(11, 1))
            .ask(diag(13, 0), diag(13, 0))
            .ask(diag(14, 0), diag(14, 3))
            .ask(diag(15, 0), diag(15, 0))
            .ask(diag(16, 0), diag(16, 0))
            .ask(diag(17, 0), diag(17, 0))
            .ask(diag(12, 0), diag(12, 0))
            .ask(diag(18, 0), diag(18, 0))
            // The restart itself and the eight reads.
            .ask([11], [11, 0, 0, 0, 9]),
        vector("a restart leaves data, diagnostic register and connection as they are", "3.3")
            .echo(span(6, 0, 77))
            .echo(diag(1, 0xFF00))
            .ask(span(3, 0, 1), [3, 2, 0, 77])
            .ask(diag(2, 0), diag(2, 0xCAFE)),
        vector("a restart is logged as 00 and keeps the log, unless it says FF00", "3.3, AP 6.10")
            .echo(diag(1, 0))
            .ask([12], log(1, 1, &[0x80, 0x40, 0x00, 0x80]))
            .echo(diag(1, 0xFF00))
            .ask([12], log(1, 1, &[0x80, 0x40, 0x00])),
        vector("a restart of one unit leaves the others alone", "3.3")
            .at(2, span(3, 0, 1), [3, 2, 0, 0])
            .echo(diag(1, 0xFF00))
            .at(2, diag(14, 0), diag(14, 2))
            .at(2, [12], log(2, 4, &[0x80, 0x40, 0x80, 0x40, 0x80])),
    ]
}

fn listen_only() -> Vec<Vector> {
    vec![
        vector("in listen-only mode nothing is answered or done until a restart, which is silent too", "3.3, AP 6.8")
            .silent(diag(4, 0))
            .silent(span(3, 0, 1))
            .silent(span(6, 0, 77))
            .silent([100])
            .silent([LATER])
            .silent(diag(0, 0xA537))
            .silent(diag(14, 0))
            .silent(diag(10, 0))
            .silent([12])
            .silent(diag(4, 0))
            .silent(diag(1, 0))
            .ask(span(3, 0, 1), [3, 2, 0x11, 0])
            .ask(diag(14, 0), diag(14, 2)),
        vector("a restart that clears the log ends listen-only mode as well", "3.3")
            .silent(diag(4, 0))
            .silent(diag(1, 0xFF00))
            .ask(diag(0, 0x1234), diag(0, 0x1234))
            .echo(diag(1, 0)),
        vector("a wrong restart does not end listen-only mode", "3.3, 3.1 (4)")
            .silent(diag(4, 0))
            .silent(diag(1, 1))
            .silent(span(3, 0, 1))
            .silent(diag(1, 0))
            .ask(span(3, 0, 1), [3, 2, 0x11, 0]),
        vector("listen-only mode is that of one unit", "3.3")
            .silent(diag(4, 0))
            .at(2, span(3, 0, 1), [3, 2, 0, 0])
            .silent(span(3, 0, 1)),
        vector("requests in listen-only mode are counted and logged", "3.3, AP 6.10")
            .silent(diag(4, 0))
            .silent(span(3, 0, 1))
            .silent(diag(1, 0))
            // Newest first: 12 itself; the restart's end, mark and receipt; the read's; 8/4's end, mark and receipt.
            .ask([12], log(1, 1, &[0x80, 0x40, 0x00, 0xA0, 0x60, 0xA0, 0x60, 0x04, 0x80])),
        vector("a unit that refuses listen-only mode answers 01 and goes on", "3.3").refuse_at(3, diag(4, 0), 1).at(
            3,
            span(3, 0, 1),
            [3, 2, 0, 7],
        ),
    ]
}

fn events() -> Vec<Vector> {
    let mut long = vector("the log keeps the 64 newest events", "3.3, AP 6.10");
    for _ in 0..40 {
        long = long.ask(span(3, 0, 1), [3, 2, 0x11, 0]);
    }
    long = long.ask([12], log(40, 41, &[0x80, 0x40].repeat(32)));
    vec![
        long,
        vector("the event count is of requests without exception, function 11 itself never", "3.3, 3.4")
            .ask([11], [11, 0, 0, 0, 0])
            .ask([11], [11, 0, 0, 0, 0])
            .ask(span(3, 0, 1), [3, 2, 0x11, 0])
            .refuse(span(3, 0, 0), 3)
            .ask([11], [11, 0, 0, 0, 1])
            .ask([7], [7, 0x6D])
            .ask(diag(0, 1), diag(0, 1))
            .ask([11], [11, 0, 0, 0, 3])
            .at(2, [11], [11, 0, 0, 0, 0])
            .refuse([11, 0], 3),
        vector("function 12 adds to the event count", "3.4")
            .ask([12], log(0, 1, &[0x80]))
            .ask([11], [11, 0, 0, 0, 1])
            .refuse([12, 0], 3),
        vector("diagnostics 10 zeroes the event count and is then counted itself", "3.3")
            .ask([7], [7, 0x6D])
            .ask([7], [7, 0x6D])
            .echo(diag(10, 0))
            .ask([11], [11, 0, 0, 0, 1]),
        vector("function 12 sees its own receipt first", "3.3")
            .ask([12], log(0, 1, &[0x80]))
            .ask([12], log(1, 2, &[0x80, 0x40, 0x80]))
            .at(2, [12], log(0, 3, &[0x80])),
        vector("exceptions are logged by their groups", "3.3, AP 6.10")
            .refuse([REFUSE, 1], 1)
            .refuse([REFUSE, 2], 2)
            .refuse([REFUSE, 3], 3)
            .refuse([REFUSE, 4], 4)
            .refuse([REFUSE, 5], 5)
            .refuse([REFUSE, 6], 6)
            .refuse([REFUSE, 7], 7)
            .refuse([REFUSE, 8], 8)
            .ask(
                [12],
                log(
                    0,
                    9,
                    &[
                        0x80, 0x40, 0x80, 0x48, 0x80, 0x44, 0x80, 0x44, 0x80, 0x42, 0x80, 0x41, 0x80, 0x41, 0x80, 0x41,
                        0x80,
                    ],
                ),
            ),
        vector("a silent request is logged as sent, too", "3.3")
            .silent([SILENT])
            .refuse(span(3, 0, 0), 3)
            .ask([12], log(1, 3, &[0x80, 0x41, 0x80, 0x40, 0x80])),
        vector("broadcasts are logged as such and counted as events", "3.3")
            .plant(|plant| plant.unit_0 = UnitZero::Broadcast)
            .silent_at(0, span(6, 0, 1))
            .silent_at(0, span(6, 5000, 1))
            .ask([12], log(1, 3, &[0x80, 0x41, 0xC0, 0x40, 0xC0])),
        vector("the status word is FFFF while another request of the unit is deferred", "3.3")
            .bytes(cat(&[&frame(1, 1, &[LATER]), &frame(2, 1, &[11]), &frame(3, 2, &[11])]), [])
            .step(
                super::Does::Answer { nth: 0, pdu: vec![LATER] },
                cat(&[&frame(1, 1, &[LATER]), &frame(2, 1, &[11, 0xFF, 0xFF, 0, 0]), &frame(3, 2, &[11, 0, 0, 0, 0])]),
                false,
            )
            .ask([11], [11, 0, 0, 0, 1]),
    ]
}
