//! Function codes as such, the serial functions without state, and handlers.

use super::{Does, Vector, cat, frame, span, vector};
use crate::fixture::{ECHO, LATER, REFUSE, SILENT};

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = codes();
    all.extend(serial());
    all.extend(handlers());
    all.extend(deferred());
    all
}

/// Codes that no standard and no handler of the fixture defines.
fn undefined() -> impl Iterator<Item = u8> {
    (1..=127).filter(|code| !matches!(code, 1..=8 | 11 | 12 | 15..=17 | 20..=24 | 43 | 65..=69))
}

fn codes() -> Vec<Vector> {
    let mut unregistered = vector("every unregistered function code is 01, whatever follows it", "3.1 (6), 3.2, 11");
    for code in undefined() {
        unregistered = unregistered.refuse([code], 1).refuse([code, 0, 0, 0, 1], 1);
    }
    let mut high = vector("codes from 128 on keep their top bit and are 01", "3.1, 11");
    for code in 128..=255_u8 {
        high = high.ask([code, 0, 0, 0, 1], [code, 1]);
    }
    vec![
        unregistered,
        high,
        vector("function 0 is 80 01", "3.1, 11").ask([0], [0x80, 1]).ask([0, 0, 0, 0, 1], [0x80, 1]),
        vector("the example codes of section 11", "11").ask([0x64], [0xE4, 1]).ask([0x83], [0x83, 1]),
        vector("functions that a unit does not have are 01 before anything else is judged", "3.2, 3.1 (6)")
            .at(3, span(3, 0, 2), [3, 4, 0, 7, 0, 8])
            .refuse_at(3, span(4, 0, 1), 1)
            .refuse_at(3, span(1, 0, 0), 1)
            .refuse_at(3, [16], 1)
            .refuse_at(3, [17], 1)
            .refuse_at(3, [7, 0], 1)
            .refuse_at(3, [22, 0, 0, 0, 0, 0, 0], 1)
            .at(3, span(6, 0, 5), span(6, 0, 5)),
        vector("serial functions can be off", "3.2")
            .plant(|plant| plant.no_serial_functions = true)
            .refuse([7], 1)
            .refuse([8, 0, 0, 1, 2], 1)
            .refuse([8], 1)
            .refuse([11], 1)
            .refuse([12], 1)
            .refuse([17], 1)
            .ask(span(3, 0, 1), [3, 2, 0x11, 0]),
    ]
}

fn serial() -> Vec<Vector> {
    vec![
        vector("function 7 reads the exception status", "3.2, 3.4, AP 6.7")
            .ask([7], [7, 0x6D])
            .at(2, [7], [7, 0])
            .refuse([7, 0], 3)
            .refuse([7, 0, 0, 0, 1], 3),
        vector("function 17 gives id, run indicator and extra bytes", "3.2, AP 6.13")
            .ask([17], cat(&[&[17, 10, 0xB4, 0xFF], b"LMB3.1.6"]))
            .at(2, [17], [17, 2, 2, 0])
            .refuse([17, 0], 3),
        vector("a server id has up to 251 bytes", "3.2").at(
            4,
            [17],
            cat(&[&[17, 251], &[0x44; 100], &[0xFF], &[0x55; 150]]),
        ),
    ]
}

fn handlers() -> Vec<Vector> {
    let full: Vec<u8> = cat(&[&[ECHO], &[0x5A; 252]]);
    vec![
        vector("a handler answers with 0 to 252 bytes after the code", "3.3")
            .echo([ECHO])
            .echo([ECHO, 1, 2, 3])
            .echo(full),
        vector("a handler may refuse with any exception", "3.3")
            .refuse([REFUSE, 1], 1)
            .refuse([REFUSE, 0x0F], 0x0F)
            .refuse([REFUSE, 0xFF], 0xFF),
        vector("exception 0 of a handler becomes 04", "11").refuse([REFUSE, 0], 4),
        vector("a handler may be silent", "3.3").silent([SILENT]).ask(span(3, 0, 1), [3, 2, 0x11, 0]),
    ]
}

fn deferred() -> Vec<Vector> {
    let answer = |nth, pdu: &[u8]| Does::Answer { nth, pdu: pdu.to_vec() };
    let read = |transaction| frame(transaction, 1, &span(3, 0, 1));
    let value = |transaction| frame(transaction, 1, &[3, 2, 0x11, 0]);
    let later = |transaction| frame(transaction, 1, &[LATER]);
    let mut busy =
        vector("the 17th deferred request is 06 at once, ahead of the replies that are pending", "6.2, 3.4, 11");
    for transaction in 0..16 {
        busy = busy.bytes(later(transaction), []);
    }
    busy = busy.bytes(later(16), frame(16, 1, &[LATER | 0x80, 6]));
    busy = busy.step(answer(0, &[LATER, 1]), frame(0, 1, &[LATER, 1]), false).bytes(later(17), []);
    for nth in 1..17 {
        let transaction = if nth == 16 { 17 } else { u16::try_from(nth).expect("few requests") };
        busy = busy.step(answer(nth, &[LATER, 2]), frame(transaction, 1, &[LATER, 2]), false);
    }
    vec![
        busy,
        vector("a deferred reply is sent when it comes", "3.3, 6.2").bytes(later(7), []).step(
            answer(0, &[LATER, 9, 8]),
            frame(7, 1, &[LATER, 9, 8]),
            false,
        ),
        vector("a deferred request may fail", "6.1").bytes(later(7), []).step(
            Does::Fail { nth: 0, code: 0x0B },
            frame(7, 1, &[LATER | 0x80, 0x0B]),
            false,
        ),
        vector("replies leave in order of arrival", "6.2")
            .bytes(cat(&[&later(1), &read(2), &later(3), &read(4)]), [])
            .step(answer(1, &[LATER, 3]), [].to_vec(), false)
            .step(
                answer(0, &[LATER, 1]),
                cat(&[&frame(1, 1, &[LATER, 1]), &value(2), &frame(3, 1, &[LATER, 3]), &value(4)]),
                false,
            ),
        vector("execution does not wait for deferred requests", "6.2")
            .bytes(cat(&[&later(1), &frame(2, 1, &span(6, 0, 5)), &frame(3, 1, &span(3, 0, 1))]), [])
            .step(
                answer(0, &[LATER]),
                cat(&[&frame(1, 1, &[LATER]), &frame(2, 1, &span(6, 0, 5)), &frame(3, 1, &[3, 2, 0, 5])]),
                false,
            ),
        vector("equal transaction ids are two transactions", "6.1")
            .bytes(cat(&[&later(5), &later(5)]), [])
            .step(answer(1, &[LATER, 2]), [].to_vec(), false)
            .step(answer(0, &[LATER, 1]), cat(&[&frame(5, 1, &[LATER, 1]), &frame(5, 1, &[LATER, 2])]), false),
        vector("a peer that has ended its side still gets a deferred reply, then FIN", "6.1")
            .bytes(cat(&[&later(1), &read(2)]), [])
            .step(Does::Fin, [].to_vec(), false)
            .step(answer(0, &[LATER]), cat(&[&frame(1, 1, &[LATER]), &value(2)]), true),
        vector("a bad length behind a deferred request still lets it be answered", "2 (2)")
            .bytes(cat(&[&later(1), &[0, 2, 0, 0, 0, 0]]), [])
            .step(answer(0, &[LATER]), frame(1, 1, &[LATER]), true),
    ]
}
