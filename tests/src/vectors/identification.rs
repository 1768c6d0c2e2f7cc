//! Function 43/14 (AP 6.21).

use super::{Vector, cat, vector};

/// A reply: read code, conformity, the object to go on with if more follow, and the objects.
fn reply(code: u8, conformity: u8, next: Option<u8>, objects: &[(u8, &[u8])]) -> Vec<u8> {
    let count = u8::try_from(objects.len()).expect("few objects");
    let more = if next.is_some() { 0xFF } else { 0 };
    let mut reply = vec![43, 14, code, conformity, more, next.unwrap_or(0), count];
    for (id, text) in objects {
        reply.extend([*id, u8::try_from(text.len()).expect("at most 244 bytes")]);
        reply.extend(*text);
    }
    reply
}

const BASIC: [(u8, &[u8]); 3] = [(0, b"Wharf"), (1, b"boiler"), (2, b"1.0")];
const REGULAR: [(u8, &[u8]); 7] = [
    (0, b"Wharf"),
    (1, b"boiler"),
    (2, b"1.0"),
    (3, b"https://example.invalid"),
    (4, b"Wharf boiler"),
    (5, b"B-12"),
    (6, b"heating"),
];
const SMALL: [(u8, &[u8]); 3] = [(0, b"a"), (1, b"b"), (2, b"c")];

pub(super) fn vectors() -> Vec<Vector> {
    let (x, y) = ([b'x'; 244], [b'y'; 244]);
    let extended: Vec<(u8, &[u8])> = REGULAR.iter().copied().chain([(0x80, b"hall 3".as_slice())]).collect();
    let mut all = vec![
        vector("the basic objects", "3.3, 3.4").ask([43, 14, 1, 0], reply(1, 0x83, None, &BASIC)),
        vector("the regular objects", "3.3").ask([43, 14, 2, 0], reply(2, 0x83, None, &REGULAR)),
        vector("the extended objects come in as many replies as they need", "3.3")
            .ask([43, 14, 3, 0], reply(3, 0x83, Some(0x81), &extended))
            .ask([43, 14, 3, 0x81], reply(3, 0x83, Some(0x82), &[(0x81, &x)]))
            .ask([43, 14, 3, 0x82], reply(3, 0x83, Some(0xFF), &[(0x82, &y)]))
            .ask([43, 14, 3, 0xFF], reply(3, 0x83, None, &[(0xFF, b"end")])),
        vector("a reply may begin in the middle and counts the objects in it", "3.3, 3.4")
            .ask([43, 14, 1, 1], reply(1, 0x83, None, &BASIC[1..]))
            .ask([43, 14, 1, 2], reply(1, 0x83, None, &BASIC[2..]))
            .ask([43, 14, 2, 5], reply(2, 0x83, None, &REGULAR[5..]))
            .ask([43, 14, 3, 6], reply(3, 0x83, Some(0x81), &extended[6..])),
        vector("an object outside the set of the code restarts at 0", "3.3")
            .ask([43, 14, 1, 3], reply(1, 0x83, None, &BASIC))
            .ask([43, 14, 1, 0x80], reply(1, 0x83, None, &BASIC))
            .ask([43, 14, 2, 7], reply(2, 0x83, None, &REGULAR))
            .ask([43, 14, 2, 0x80], reply(2, 0x83, None, &REGULAR))
            .ask([43, 14, 2, 0xFF], reply(2, 0x83, None, &REGULAR)),
        vector("an object that does not exist restarts at 0", "3.3, AP 6.21")
            .ask([43, 14, 3, 7], reply(3, 0x83, Some(0x81), &extended))
            .ask([43, 14, 3, 0x90], reply(3, 0x83, Some(0x81), &extended))
            .at(2, [43, 14, 2, 4], reply(2, 0x81, None, &SMALL)),
        vector("one object of 244 bytes fills a reply", "3.3")
            .at(4, [43, 14, 1, 0], reply(1, 0x81, Some(1), &[(0, &[b'p'; 244])]))
            .at(4, [43, 14, 1, 1], reply(1, 0x81, Some(2), &[(1, &[b'q'; 244])]))
            .at(4, [43, 14, 1, 2], reply(1, 0x81, None, &[(2, &[b'r'; 244])]))
            .at(4, [43, 14, 4, 0], reply(4, 0x81, None, &[(0, &[b'p'; 244])])),
        vector("a single object is named by code 4", "3.3")
            .ask([43, 14, 4, 0], reply(4, 0x83, None, &[(0, b"Wharf")]))
            .ask([43, 14, 4, 5], reply(4, 0x83, None, &[(5, b"B-12")]))
            .ask([43, 14, 4, 0x81], reply(4, 0x83, None, &[(0x81, &x)]))
            .ask([43, 14, 4, 0xFF], reply(4, 0x83, None, &[(0xFF, b"end")])),
        vector("conformity follows from the highest object there is", "3.3")
            .at(2, [43, 14, 1, 0], reply(1, 0x81, None, &SMALL))
            .at(2, [43, 14, 3, 0], reply(3, 0x81, None, &SMALL))
            .at(3, [43, 14, 1, 0], reply(1, 0x82, None, &SMALL))
            .at(3, [43, 14, 2, 0], reply(2, 0x82, None, &[SMALL.as_slice(), &[(5, b"m")]].concat()))
            .at(3, [43, 14, 4, 5], reply(4, 0x82, None, &[(5, b"m")])),
    ];
    all.extend(refusals());
    all
}

fn refusals() -> Vec<Vector> {
    vec![
        vector("code 4 of an object that does not exist is 02", "3.2, 3.4")
            .refuse([43, 14, 4, 7], 2)
            .refuse([43, 14, 4, 0x90], 2)
            .refuse_at(2, [43, 14, 4, 3], 2),
        vector("a read code other than 1 to 4 is 03, before the object is looked for", "3.2, 3.4")
            .refuse([43, 14, 0, 0], 3)
            .refuse([43, 14, 5, 0], 3)
            .refuse([43, 14, 0xFF, 0], 3)
            .refuse([43, 14, 5, 0x90], 3),
        vector("another MEI type is 01", "3.1 (6), 11")
            .refuse([43, 13, 0, 0], 1)
            .refuse([43, 200, 0, 0], 1)
            .refuse([43, 13], 1)
            .refuse([43, 0], 1)
            .refuse([43, 15, 1, 0], 1),
        vector("identification has exactly 4 bytes and needs its MEI type first", "3.1 (6), (7)")
            .refuse([43], 3)
            .refuse([43, 14], 3)
            .refuse([43, 14, 1], 3)
            .refuse([43, 14, 5], 3)
            .refuse([43, 14, 1, 0, 0], 3)
            .refuse(cat(&[&[43, 14, 4, 0x90, 0]]), 3),
    ]
}
