//! Functions 3, 4, 6, 16, 22 and 23.

use super::{Vector, cat, span, vector, w, ws};
use crate::fixture::{holding, input};

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = reads();
    all.extend(writes());
    all.extend(masks());
    all.extend(read_writes());
    all
}

fn reads() -> Vec<Vector> {
    vec![
        vector("holding registers are read", "3.2, AP 6.3")
            .ask(span(3, 0, 1), [3, 2, 0x11, 0x00])
            .ask(span(3, 98, 2), [3, 4, 0x11, 0x62, 0x11, 0x63]),
        vector("input registers are a table of their own", "3.2, AP 6.4")
            .ask(span(4, 0, 1), [4, 2, 0x80, 0x00])
            .ask(span(4, 8, 3), [4, 6, 0x80, 0x08, 0x80, 0x09, 0x80, 0x0A]),
        vector("125 registers are the most there can be read", "3.2, AP 6.3, AP 6.4")
            .ask(span(3, 200, 125), cat(&[&[3, 250], &ws((200..325).map(holding))]))
            .refuse(span(3, 200, 126), 3)
            .ask(span(4, 200, 125), cat(&[&[4, 250], &ws((200..325).map(input))]))
            .refuse(span(4, 200, 126), 3),
        vector("no registers and too many registers are 03 even where there are none", "3.2, 3.4, 11")
            .refuse(span(3, 0, 0), 3)
            .refuse(span(3, 5000, 0), 3)
            .refuse(span(3, 5000, 126), 3)
            .refuse(span(3, 65535, 126), 3)
            .refuse(span(3, 0, 65535), 3)
            .refuse(span(4, 0, 0), 3)
            .refuse(span(4, 5000, 126), 3),
        vector("a read of registers has exactly 5 bytes", "3.1 (7), 11")
            .refuse([3], 3)
            .refuse([3, 0, 0], 3)
            .refuse([3, 0, 0, 0], 3)
            .refuse([3, 0, 0, 0, 1, 0], 3)
            .refuse([3, 0, 0, 0, 1, 0, 0], 3)
            .refuse([4, 0, 0], 3)
            .refuse([4, 0, 0, 0, 1, 0, 0], 3),
        vector("registers that are not there are 02", "3.1, 11")
            .ask(span(3, 96, 4), cat(&[&[3, 8], &ws((96..100).map(holding))]))
            .refuse(span(3, 96, 5), 2)
            .refuse(span(3, 100, 1), 2)
            .refuse(span(3, 199, 2), 2)
            .refuse(span(4, 100, 1), 2)
            .refuse(span(4, 65534, 1), 2),
        vector("the last register has address 65535 and none follows it", "3.1, 11")
            .ask(span(3, 65535, 1), cat(&[&[3, 2], &w(holding(65535))]))
            .refuse(span(3, 65535, 2), 2)
            .refuse(span(3, 65530, 7), 2)
            .ask(span(4, 65535, 1), [4, 2, 0x7F, 0xFF])
            .refuse(span(4, 65535, 125), 2),
        vector("a read of registers crosses blocks that touch", "4")
            .ask(span(3, 299, 2), cat(&[&[3, 4], &w(holding(299)), &w(holding(300))])),
        vector("registers that may not be read are 02", "4")
            .ask(span(3, 600, 10), cat(&[&[3, 20], &ws((600..610).map(holding))]))
            .refuse(span(3, 610, 1), 2)
            .refuse(span(3, 609, 2), 2)
            .refuse(span(3, 620, 1), 2)
            .ask(span(3, 630, 1), cat(&[&[3, 2], &w(holding(630))]))
            .ask(span(4, 389, 1), cat(&[&[4, 2], &w(input(389))]))
            .refuse(span(4, 389, 2), 2)
            .refuse(span(4, 390, 1), 2),
    ]
}

fn writes() -> Vec<Vector> {
    let long: Vec<u8> = ws((0..123).map(|i| 0xC000 + i));
    vec![
        vector("a register is written and keeps any value", "3.2, AP 6.6")
            .echo([6, 0, 1, 0, 3])
            .ask(span(3, 1, 1), [3, 2, 0, 3])
            .echo([6, 0, 1, 0xFF, 0xFF])
            .ask(span(3, 0, 3), [3, 6, 0x11, 0x00, 0xFF, 0xFF, 0x11, 0x02])
            .echo([6, 0xFF, 0xFF, 0x12, 0x34])
            .ask(span(3, 65535, 1), [3, 2, 0x12, 0x34]),
        vector("a register that is not there or not writable is 02", "3.2, 4")
            .refuse(span(6, 100, 1), 2)
            .refuse(span(6, 600, 1), 2)
            .refuse(span(6, 620, 1), 2)
            .ask(span(3, 600, 1), cat(&[&[3, 2], &w(holding(600))]))
            .echo(span(6, 610, 1)),
        vector("a write of one register has exactly 5 bytes", "3.1 (7)")
            .refuse([6], 3)
            .refuse([6, 0, 1, 0], 3)
            .refuse([6, 0, 1, 0, 3, 0], 3)
            .refuse([6, 0x13, 0x88, 0], 3)
            .ask(span(3, 1, 1), [3, 2, 0x11, 0x01]),
        vector("several registers are written", "3.2, AP 6.12")
            .ask([16, 0, 1, 0, 2, 4, 0, 0x0A, 1, 2], [16, 0, 1, 0, 2])
            .ask(span(3, 0, 4), [3, 8, 0x11, 0x00, 0, 0x0A, 1, 2, 0x11, 0x03]),
        vector("123 registers are the most there can be written", "3.2, 11")
            .ask(cat(&[&span(16, 200, 123), &[246], &long]), span(16, 200, 123))
            .ask(span(3, 200, 124), cat(&[&[3, 248], &long, &w(holding(323))]))
            .refuse(cat(&[&span(16, 200, 124), &[248], &long]), 3)
            .refuse(cat(&[&span(16, 200, 124), &[246], &long]), 3)
            .refuse(cat(&[&span(16, 5000, 124), &[246], &long]), 3),
        vector("a register write whose byte count does not fit is 03 and writes nothing", "3.2, 11")
            .refuse([16, 0, 0, 0, 0, 0], 3)
            .refuse([16, 0, 0, 0, 1, 1, 0], 3)
            .refuse([16, 0, 0, 0, 1, 3, 0, 0, 0], 3)
            .refuse([16, 0, 0, 0, 2, 2, 0, 0], 3)
            .refuse([16, 0, 0, 0, 1, 4, 0, 0, 0, 0], 3)
            .refuse([16, 0, 0, 0, 2, 4, 0, 0, 0], 3)
            .refuse([16, 0, 0, 0, 2, 4, 0, 0, 0, 0, 0], 3)
            .refuse([16, 0, 0, 0, 2], 3)
            .refuse([16, 0, 0, 0x80, 1, 2, 0, 0], 3)
            .refuse([16, 0x13, 0x88, 0, 1, 4, 0, 0, 0, 0], 3)
            .ask(span(3, 0, 2), [3, 4, 0x11, 0x00, 0x11, 0x01]),
        vector("a register write that is refused writes nothing at all", "3.1")
            .refuse(cat(&[&span(16, 98, 3), &[6, 0, 0, 0, 0, 0, 0]]), 2)
            .ask(span(3, 98, 2), [3, 4, 0x11, 0x62, 0x11, 0x63])
            .refuse(cat(&[&span(16, 609, 2), &[4, 0, 0, 0, 0]]), 2)
            .refuse(cat(&[&span(16, 619, 2), &[4, 0, 0, 0, 0]]), 2)
            .refuse(cat(&[&span(16, 65535, 2), &[4, 0, 0, 0, 0]]), 2)
            .ask(span(3, 65535, 1), cat(&[&[3, 2], &w(holding(65535))])),
        vector("a write of registers crosses blocks that touch", "4")
            .ask(cat(&[&span(16, 299, 2), &[4, 1, 2, 3, 4]]), span(16, 299, 2))
            .ask(span(3, 298, 4), cat(&[&[3, 8], &w(holding(298)), &[1, 2, 3, 4], &w(holding(301))])),
    ]
}

fn masks() -> Vec<Vector> {
    vec![
        vector("a mask write gives (current and A) or (O and not A)", "3.2, AP 6.16")
            .echo([6, 0, 4, 0, 0x12])
            .echo([22, 0, 4, 0, 0xF2, 0, 0x25])
            .ask(span(3, 4, 1), [3, 2, 0, 0x17])
            .echo([22, 0, 4, 0, 0, 0xAB, 0xCD])
            .ask(span(3, 4, 1), [3, 2, 0xAB, 0xCD])
            .echo([22, 0, 4, 0xFF, 0xFF, 0x12, 0x34])
            .ask(span(3, 4, 1), [3, 2, 0xAB, 0xCD]),
        vector("a mask write needs the right to write alone", "3.2, 4")
            .refuse([22, 0, 100, 0, 0, 0, 0], 2)
            .refuse(cat(&[&[22], &w(600), &[0, 0, 0, 0]]), 2)
            .refuse(cat(&[&[22], &w(620), &[0, 0, 0, 0]]), 2)
            .echo(cat(&[&[22], &w(610), &[0, 0, 0, 0]]))
            .ask(span(3, 600, 1), cat(&[&[3, 2], &w(holding(600))])),
        vector("a mask write has exactly 7 bytes", "3.1 (7), 3.4")
            .refuse([22], 3)
            .refuse([22, 0, 4, 0, 0, 0], 3)
            .refuse([22, 0, 4, 0, 0, 0, 0, 0], 3)
            .refuse([22, 0x13, 0x88, 0, 0, 0], 3)
            .ask(span(3, 4, 1), [3, 2, 0x11, 0x04]),
    ]
}

fn read_writes() -> Vec<Vector> {
    let read_write = |read: u16, r: u16, write: u16, count: u16, n: u8, data: &[u8]| {
        cat(&[&[23], &w(read), &w(r), &w(write), &w(count), &[n], data])
    };
    let long: Vec<u8> = ws((0..121).map(|i| 0xD000 + i));
    vec![
        vector("function 23 reads what it has just written", "3.2, AP 6.17")
            .ask(read_write(0, 4, 1, 2, 4, &[0, 0xFF, 0xEE, 0]), [23, 8, 0x11, 0, 0, 0xFF, 0xEE, 0, 0x11, 3])
            .ask(read_write(3, 1, 14, 3, 6, &[0, 1, 0, 2, 0, 3]), [23, 2, 0x11, 3])
            .ask(span(3, 14, 3), [3, 6, 0, 1, 0, 2, 0, 3]),
        vector("function 23 reads up to 125 and writes up to 121 registers", "3.2, AP 6.17")
            .ask(read_write(200, 125, 300, 121, 242, &long), {
                cat(&[&[23, 250], &ws((200..300).map(holding)), &long[..50]])
            })
            .ask(span(3, 300, 122), cat(&[&[3, 244], &long, &w(holding(421))]))
            .refuse(read_write(200, 126, 0, 1, 2, &[0, 0]), 3)
            .refuse(read_write(200, 0, 0, 1, 2, &[0, 0]), 3)
            .refuse(read_write(200, 1, 0, 0, 0, &[]), 3)
            .refuse(read_write(200, 1, 300, 122, 242, &long), 3)
            .refuse(read_write(200, 1, 300, 122, 244, &long), 3)
            .ask(span(3, 0, 1), [3, 2, 0x11, 0]),
        vector("function 23 whose byte count does not fit is 03 and writes nothing", "3.2")
            .refuse(read_write(0, 1, 0, 1, 1, &[0]), 3)
            .refuse(read_write(0, 1, 0, 1, 4, &[0, 0, 0, 0]), 3)
            .refuse(read_write(0, 1, 0, 2, 2, &[0, 0]), 3)
            .refuse(read_write(0, 1, 0, 2, 4, &[0, 0, 0]), 3)
            .refuse(read_write(0, 1, 0, 1, 2, &[0, 0, 0]), 3)
            .refuse([23, 0, 0, 0, 1, 0, 0, 0, 1], 3)
            .refuse([23], 3)
            .ask(span(3, 0, 1), [3, 2, 0x11, 0]),
        vector("function 23 checks all its values before any of its addresses", "3.1 (8), 3.4")
            .refuse(read_write(5000, 1, 0, 0, 0, &[]), 3)
            .refuse(read_write(5000, 0, 0, 1, 2, &[0, 0]), 3)
            .refuse(read_write(0, 126, 5000, 1, 2, &[0, 0]), 3)
            .refuse(read_write(5000, 1, 5000, 1, 4, &[0, 0, 0, 0]), 3),
        vector("function 23 with one bad span does nothing", "3.2, 11")
            .refuse(read_write(5000, 1, 0, 1, 2, &[0, 0]), 2)
            .refuse(read_write(98, 3, 0, 1, 2, &[0, 0]), 2)
            .refuse(read_write(65535, 2, 0, 1, 2, &[0, 0]), 2)
            .refuse(read_write(610, 1, 0, 1, 2, &[0, 0]), 2)
            .ask(span(3, 0, 1), [3, 2, 0x11, 0])
            .refuse(read_write(0, 1, 5000, 1, 2, &[0, 0]), 2)
            .refuse(read_write(0, 1, 99, 2, 4, &[0, 0, 0, 0]), 2)
            .refuse(read_write(0, 1, 600, 1, 2, &[0, 0]), 2)
            .refuse(read_write(0, 1, 65535, 2, 4, &[0, 0, 0, 0]), 2)
            .ask(span(3, 99, 1), [3, 2, 0x11, 0x63])
            .ask(read_write(0, 1, 610, 1, 2, &[0, 0]), [23, 2, 0x11, 0]),
    ]
}
