//! Functions 20, 21 and 24.

use super::{Vector, cat, vector, w, ws};
use crate::fixture::record;

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = reads();
    all.extend(writes());
    all.extend(queues());
    all
}

/// A group of a read: type 6, file, record, records.
fn group(file: u16, first: u16, count: u16) -> Vec<u8> {
    cat(&[&[6], &w(file), &w(first), &w(count)])
}

fn read(groups: &[&[u8]]) -> Vec<u8> {
    let groups = groups.concat();
    cat(&[&[20, u8::try_from(groups.len()).expect("a PDU is short")], &groups])
}

fn write(groups: &[&[u8]]) -> Vec<u8> {
    let groups = groups.concat();
    cat(&[&[21, u8::try_from(groups.len()).expect("a PDU is short")], &groups])
}

/// The reply to one group of a read.
fn records(file: u16, first: u16, count: u16) -> Vec<u8> {
    let len = u8::try_from(1 + 2 * count).expect("a PDU is short");
    cat(&[&[len, 6], &ws((first..first + count).map(|at| record(file, at)))])
}

fn reads() -> Vec<Vector> {
    vec![
        vector("records of several files are read", "3.2, AP 6.14").ask(
            [20, 14, 6, 0, 4, 0, 1, 0, 2, 6, 0, 1, 0, 9, 0, 2],
            [20, 12, 5, 6, 0x40, 1, 0x40, 2, 5, 6, 0x10, 9, 0x10, 0x0A],
        ),
        vector("a reply of file records may have 253 bytes and no more", "3.2, 3.4, 11")
            .ask(read(&[&group(4, 0, 124)]), cat(&[&[20, 250], &records(4, 0, 124)]))
            .refuse(read(&[&group(4, 0, 125)]), 3)
            .refuse(read(&[&group(4, 0, 65535)]), 3)
            .ask(
                read(&[&group(4, 0, 62), &group(1, 5, 61)]),
                cat(&[&[20, 250], &records(4, 0, 62), &records(1, 5, 61)]),
            )
            .refuse(read(&[&group(4, 0, 62), &group(1, 5, 62)]), 3),
        vector("35 groups are the most there can be read", "3.2, AP 6.14")
            .ask(read(&[&group(1, 7, 1).repeat(35)]), cat(&[&[20, 140], &records(1, 7, 1).repeat(35)]))
            .refuse(cat(&[&[20, 251], &group(1, 7, 1).repeat(35), &[6, 0, 1, 0, 0, 0]]), 3)
            .refuse(cat(&[&[20, 252], &group(1, 7, 1).repeat(35)]), 3),
        vector("groups of a read that do not fit their count are 03", "3.2, 3.1 (7)")
            .refuse([20], 3)
            .refuse([20, 0], 3)
            .refuse([20, 6, 6, 0, 1, 0, 0, 0], 3)
            .refuse([20, 8, 6, 0, 1, 0, 0, 0, 1, 0], 3)
            .refuse([20, 7, 6, 0, 1, 0, 0, 0], 3)
            .refuse([20, 7, 6, 0, 1, 0, 0, 0, 1, 0], 3)
            .refuse([20, 14, 6, 0, 1, 0, 0, 0, 1], 3)
            .refuse([20, 7], 3),
        vector("a group of no records is 03", "3.2")
            .refuse(read(&[&group(1, 0, 0)]), 3)
            .refuse(read(&[&group(1, 0, 1), &group(1, 0, 0)]), 3),
        vector("a file that is not there is 02", "3.2")
            .refuse(read(&[&group(0, 0, 1)]), 2)
            .refuse(read(&[&group(9, 0, 1)]), 2)
            .refuse(read(&[&group(65534, 0, 1)]), 2)
            .ask(read(&[&group(65535, 4, 1)]), [20, 4, 3, 6, 0xF0, 4])
            .refuse_at(2, read(&[&group(1, 0, 1)]), 2),
        vector("a reference type other than 6 is 02", "3.2")
            .refuse([20, 7, 5, 0, 1, 0, 0, 0, 1], 2)
            .refuse([20, 7, 7, 0, 1, 0, 0, 0, 1], 2)
            .refuse([20, 7, 0, 0, 1, 0, 0, 0, 1], 2),
        vector("records past the file are 02", "3.2")
            .ask(read(&[&group(1, 199, 1)]), [20, 4, 3, 6, 0x10, 0xC7])
            .refuse(read(&[&group(1, 199, 2)]), 2)
            .refuse(read(&[&group(1, 200, 1)]), 2)
            .refuse(read(&[&group(1, 65535, 1)]), 2)
            .refuse(read(&[&group(1, 65535, 2)]), 2),
        vector("record 9999 is the last there can be", "3.2, AP 6.14")
            .ask(read(&[&group(4, 9999, 1)]), [20, 4, 3, 6, 0x67, 0x0F])
            .refuse(read(&[&group(4, 9999, 2)]), 2)
            .refuse(read(&[&group(4, 10000, 1)]), 2),
        vector("every group counts, and 03 of any comes before 02 of any", "3.1 (8), 11")
            .refuse(read(&[&group(1, 0, 1), &group(9, 0, 1)]), 2)
            .refuse(read(&[&group(9, 0, 1), &group(1, 0, 0)]), 3)
            .refuse(read(&[&group(9, 0, 125)]), 3)
            .refuse([20, 14, 5, 0, 1, 0, 0, 0, 1, 6, 0, 1, 0, 0, 0, 0], 3),
        vector("records with a parity error are 08", "3.2, AP 7")
            .ask(read(&[&group(3, 9, 1)]), [20, 4, 3, 6, 0x30, 9])
            .refuse(read(&[&group(3, 9, 2)]), 8)
            .refuse(read(&[&group(3, 10, 1)]), 8)
            .refuse(read(&[&group(3, 12, 1)]), 8)
            .refuse(read(&[&group(3, 0, 20)]), 8)
            .ask(read(&[&group(3, 13, 1)]), [20, 4, 3, 6, 0x30, 0x0D])
            .refuse(read(&[&group(1, 0, 1), &group(3, 11, 1)]), 8),
        vector("02 of any group comes before 08 of any", "3.1 (8), (9)")
            .refuse(read(&[&group(3, 11, 1), &group(9, 0, 1)]), 2)
            .refuse(read(&[&group(3, 11, 10)]), 2),
    ]
}

fn writes() -> Vec<Vector> {
    let long: Vec<u8> = ws((0..122).map(|i| 0xE000 + i));
    vec![
        vector("records of several files are written", "3.2, AP 6.15")
            .echo([21, 13, 6, 0, 4, 0, 7, 0, 3, 6, 0xAF, 4, 0xBE, 0x10, 0x0D])
            .ask(read(&[&group(4, 6, 5)]), [20, 12, 11, 6, 0x40, 6, 6, 0xAF, 4, 0xBE, 0x10, 0x0D, 0x40, 0x0A])
            .echo(write(&[&group(1, 199, 1), &[1, 2], &group(65535, 0, 2), &[3, 4, 5, 6]]))
            .ask(
                read(&[&group(1, 198, 2), &group(65535, 0, 3)]),
                [20, 14, 5, 6, 0x10, 0xC6, 1, 2, 7, 6, 3, 4, 5, 6, 0xF0, 2],
            ),
        vector("251 bytes of groups are the most there can be written", "3.2, 3.4, 11")
            .echo(write(&[&group(1, 0, 122), &long]))
            .ask(read(&[&group(1, 0, 123)]), cat(&[&[20, 248, 247, 6], &long, &w(record(1, 122))]))
            .refuse(cat(&[&[21, 253], &group(1, 0, 123), &long]), 3),
        vector("groups of a write that do not fill their count exactly are 03", "3.2")
            .refuse([21], 3)
            .refuse([21, 0], 3)
            .refuse([21, 8, 6, 0, 1, 0, 0, 0, 1, 0], 3)
            .refuse([21, 9, 6, 0, 1, 0, 0, 0, 1, 0], 3)
            .refuse([21, 9, 6, 0, 1, 0, 0, 0, 1, 0, 0, 0], 3)
            .refuse([21, 10, 6, 0, 1, 0, 0, 0, 1, 0, 0, 0], 3)
            .refuse([21, 9, 6, 0, 1, 0, 0, 0, 2, 0, 0], 3)
            .refuse([21, 11, 6, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0], 3)
            .refuse([21, 16, 6, 0, 1, 0, 0, 0, 1, 0, 0, 6, 0, 1, 0, 1, 0, 1], 3)
            .refuse([21, 11, 6, 0, 1, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0], 3)
            .ask(read(&[&group(1, 0, 1)]), [20, 4, 3, 6, 0x10, 0]),
        vector("a group that writes no records is 03", "3.2")
            .refuse([21, 7, 6, 0, 1, 0, 0, 0, 0], 3)
            .refuse(write(&[&group(1, 0, 1), &[0, 0], &group(1, 0, 0)]), 3)
            .refuse(write(&[&group(1, 0, 0), &group(1, 0, 1), &[0, 0]]), 3)
            .ask(read(&[&group(1, 0, 1)]), [20, 4, 3, 6, 0x10, 0]),
        vector("records that may not be written are 02", "3.2")
            .refuse(write(&[&group(2, 0, 1), &[0, 0]]), 2)
            .refuse(write(&[&group(0, 0, 1), &[0, 0]]), 2)
            .refuse(write(&[&group(9, 0, 1), &[0, 0]]), 2)
            .refuse(write(&[&group(1, 199, 2), &[0, 0, 0, 0]]), 2)
            .refuse(write(&[&group(4, 10000, 1), &[0, 0]]), 2)
            .refuse([21, 9, 7, 0, 1, 0, 0, 0, 1, 0, 0], 2)
            .ask(read(&[&group(2, 0, 1), &group(1, 199, 1)]), [20, 8, 3, 6, 0x20, 0, 3, 6, 0x10, 0xC7]),
        vector("all groups are written or none", "3.2, 11")
            .refuse(write(&[&group(1, 0, 1), &[0, 0], &group(9, 0, 1), &[0, 0]]), 2)
            .refuse(write(&[&group(1, 0, 1), &[0, 0], &group(2, 0, 1), &[0, 0]]), 2)
            .refuse(write(&[&group(1, 0, 1), &[0, 0], &group(3, 11, 1), &[0, 0]]), 8)
            .refuse(write(&[&group(3, 11, 1), &[0, 0], &group(1, 0, 1), &[0, 0]]), 8)
            .ask(read(&[&group(1, 0, 1)]), [20, 4, 3, 6, 0x10, 0]),
        vector("the order of checks of a file write is 03, 02, 08", "3.1")
            .refuse(write(&[&group(9, 0, 1), &[0, 0], &group(1, 0, 0)]), 3)
            .refuse(write(&[&group(3, 11, 1), &[0, 0], &group(9, 0, 1), &[0, 0]]), 2)
            .refuse(write(&[&group(3, 11, 1), &[0, 0], &group(1, 0, 0)]), 3),
    ]
}

fn queues() -> Vec<Vector> {
    vec![
        vector("a queue is read and nothing is removed", "3.2, AP 6.18")
            .ask([24, 4, 0xDE], [24, 0, 6, 0, 2, 0x01, 0xB8, 0x12, 0x84])
            .ask([24, 4, 0xDE], [24, 0, 6, 0, 2, 0x01, 0xB8, 0x12, 0x84]),
        vector("an empty queue has a count of 0", "3.2").ask(cat(&[&[24], &w(1300)]), [24, 0, 2, 0, 0]),
        vector("31 entries can be read and 32 are 03", "3.2, AP 6.18")
            .ask(cat(&[&[24], &w(1331)]), cat(&[&[24, 0, 64, 0, 31], &ws((0..31).map(|i| 0x7000 + i))]))
            .refuse(cat(&[&[24], &w(1332)]), 3),
        vector("02 of function 24 means that there is no queue", "3.2, 3.4")
            .refuse([24, 0, 0], 2)
            .refuse(cat(&[&[24], &w(1247)]), 2)
            .refuse([24, 0xFF, 0xFF], 2)
            .refuse_at(2, [24, 4, 0xDE], 2),
        vector("a read of a queue has exactly 3 bytes", "3.1 (7)")
            .refuse([24], 3)
            .refuse([24, 4], 3)
            .refuse([24, 4, 0xDE, 0], 3)
            .refuse([24, 0, 0, 0], 3),
    ]
}
