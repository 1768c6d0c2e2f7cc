//! Random requests that are worth asking: near the limits of every function and of the fixture's addresses.

use crate::fixture::{ECHO, LATER, REFUSE, SILENT, WILLING};
use crate::rng::Rng;

/// A request PDU, 1..=253 bytes: mostly well-formed, at times short, long, or noise.
pub fn draw(rng: &mut Rng) -> Vec<u8> {
    let mut pdu = well_formed(rng);
    match rng.below(20) {
        0 => pdu.truncate(1 + rng.index(pdu.len())),
        1 => pdu.push(rng.byte()),
        2 => {
            let at = rng.index(pdu.len());
            pdu[at] = rng.byte();
        }
        3 => {
            let len = 1 + rng.index(253);
            pdu = rng.bytes(len);
        }
        _ => {}
    }
    pdu.truncate(253);
    pdu
}

/// Bytes that are no frames, or frames of another protocol, or lengths that cannot be.
pub fn noise(rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => {
            let len = rng.index(40);
            rng.bytes(1 + len)
        }
        1 => vec![0, 1, 0, 0, 0, rng.byte() % 2],
        2 => vec![0, 1, 0, 0, 1 + rng.byte() / 2, rng.byte()],
        _ => {
            let body = 1 + rng.index(20);
            let length = u8::try_from(body + 1).expect("at most 21");
            [vec![0, 1, rng.byte() | 1, 0, 0, length], rng.bytes(body + 1)].concat()
        }
    }
}

fn well_formed(rng: &mut Rng) -> Vec<u8> {
    let code = *rng.pick(&[
        1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43, ECHO, LATER, SILENT, REFUSE, WILLING,
        0,
    ]);
    let mut pdu = vec![code];
    let words = |pdu: &mut Vec<u8>, words: &[u16]| pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    match code {
        1 | 2 => words(&mut pdu, &[address(rng), count(rng, 2000)]),
        3 | 4 => words(&mut pdu, &[address(rng), count(rng, 125)]),
        5 => words(&mut pdu, &[address(rng), *rng.pick(&[0, 0xFF00, 0xFF00, 1])]),
        6 => words(&mut pdu, &[address(rng), rng.word()]),
        8 => {
            let sub_function = *rng.pick(&[0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]);
            words(&mut pdu, &[sub_function, *rng.pick(&[0, 0, 0, 0, 0xFF00, 0x0A00, 7])]);
        }
        15 => {
            let count = count(rng, 1968);
            many(rng, &mut pdu, count, usize::from(count).div_ceil(8));
        }
        16 => {
            let count = count(rng, 123);
            many(rng, &mut pdu, count, 2 * usize::from(count));
        }
        20 => {
            let groups: Vec<u8> = (0..rng.between(1, 5)).flat_map(|_| group(rng).0).collect();
            pdu.push(u8::try_from(groups.len()).expect("few groups"));
            pdu.extend(groups);
        }
        21 => {
            let mut groups = Vec::new();
            for _ in 0..rng.between(1, 3) {
                let (head, records) = group(rng);
                groups.extend(head);
                groups.extend(rng.bytes((2 * records).min(300)));
            }
            pdu.push(u8::try_from(groups.len()).unwrap_or(255));
            pdu.extend(groups);
        }
        22 => words(&mut pdu, &[address(rng), rng.word(), rng.word()]),
        23 => {
            words(&mut pdu, &[address(rng), count(rng, 125)]);
            let count = count(rng, 121);
            many(rng, &mut pdu, count, 2 * usize::from(count));
        }
        24 => words(&mut pdu, &[*rng.pick(&[1246, 1300, 1331, 1332, 0])]),
        43 => pdu.extend([14, rng.byte() % 6, *rng.pick(&[0, 1, 3, 6, 7, 0x80, 0x81, 0x82, 0xFF])]),
        ECHO => {
            let len = rng.index(253);
            pdu.extend(rng.bytes(len));
        }
        REFUSE => pdu.push(rng.byte() % 12),
        _ => {}
    }
    pdu
}

/// Address, quantity, byte count and data.
fn many(rng: &mut Rng, pdu: &mut Vec<u8>, count: u16, bytes: usize) {
    pdu.extend([address(rng).to_be_bytes(), count.to_be_bytes()].concat());
    pdu.push(u8::try_from(bytes).unwrap_or(255));
    pdu.extend(rng.bytes(bytes.min(300)));
}

/// The begin of a group of a file request, and its records.
fn group(rng: &mut Rng) -> (Vec<u8>, usize) {
    let file: u16 = *rng.pick(&[1, 1, 2, 3, 4, 65535, 0, 9]);
    let first: u16 = *rng.pick(&[0, 1, 4, 8, 9, 10, 13, 19, 198, 199, 9999, 10000]);
    let records: u16 = *rng.pick(&[0, 1, 1, 1, 2, 5, 30, 62, 124, 125]);
    let kind = if rng.chance(1, 20) { rng.byte() } else { 6 };
    let words = [file, first, records].iter().flat_map(|word| word.to_be_bytes()).collect();
    ([vec![kind], words].concat(), usize::from(records))
}

/// An address at or near an edge of the fixture, or anywhere.
fn address(rng: &mut Rng) -> u16 {
    let edge = *rng.pick(&[
        0, 1, 5, 9, 50, 96, 99, 100, 199, 200, 250, 299, 300, 389, 400, 499, 600, 609, 610, 619, 620, 629, 630, 640,
        2299, 2300, 2319, 2329, 2339, 2399, 65519, 65520, 65529, 65530, 65534, 65535,
    ]);
    match rng.below(20) {
        0 => rng.word(),
        _ => edge,
    }
}

/// A quantity: often small, often at a limit.
fn count(rng: &mut Rng, most: u16) -> u16 {
    match rng.below(10) {
        0 => *rng.pick(&[0, most, most + 1, 65535]),
        1 => 1 + u16::try_from(rng.below(u64::from(most))).expect("below a 16-bit limit"),
        _ => 1 + u16::try_from(rng.below(12)).expect("below 12"),
    }
}
